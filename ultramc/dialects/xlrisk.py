"""XLRisk, known and not yet supported: its functions share names with @RISK's and mean other things.

``RiskLogNorm(mu, sigma)`` takes the moments of the logarithm there. Without functions here, each is refused by name where an
output needs it; ``dialect="@RISK"`` reads them as @RISK does all the same. Its settings are on a sheet of its own.
"""

from __future__ import annotations

from ultramc.dialects.base import Dialect

SHEET = "xlrisk"
DIALECT = Dialect("XLRisk")
