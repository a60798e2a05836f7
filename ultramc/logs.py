"""The library's log: structlog over the standard logger ``ultramc``, silent until the host configures logging.

Nothing global is configured: hosts that use structlog themselves keep their configuration.
"""

from __future__ import annotations

import logging
from typing import Any

import structlog

logging.getLogger("ultramc").addHandler(logging.NullHandler())

log: Any = structlog.wrap_logger(
    logging.getLogger("ultramc"),
    processors=[structlog.stdlib.filter_by_level, structlog.processors.KeyValueRenderer(key_order=["event"])],
    wrapper_class=structlog.stdlib.BoundLogger,
    cache_logger_on_first_use=True,
)
