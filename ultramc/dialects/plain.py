"""Excel without an add-in: RAND, RANDBETWEEN and RANDARRAY (functions/chance.py), alone or inside ``NORM.INV(RAND(), …)`` and its like.

A model that holds its iterations in rows, each with its own RAND(), is run as it is: one of our iterations is one
recalculation of all its rows.
"""

from __future__ import annotations

from ultramc.dialects.base import Dialect

DIALECT = Dialect("plain Excel")
