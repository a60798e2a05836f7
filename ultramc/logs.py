"""The library's log: structlog over the standard logger ``ultramc``, silent until the host configures logging.

Nothing global is configured: hosts that use structlog themselves keep their configuration.
"""

from __future__ import annotations

import logging
from typing import Any

import structlog
from structlog.typing import EventDict

logging.getLogger("ultramc").addHandler(logging.NullHandler())

_line = structlog.processors.KeyValueRenderer(key_order=["event", "run_id"], drop_missing=True)


def _with_traceback(logger: Any, name: str, event: EventDict) -> tuple[tuple[str], dict[str, Any]]:
    """A line for the standard logger, and the exception as that wants it."""
    exception = {"exc_info": event.pop("exc_info")} if "exc_info" in event else {}
    return (str(_line(logger, name, event)),), exception


log: Any = structlog.wrap_logger(
    logging.getLogger("ultramc"),
    processors=[structlog.stdlib.filter_by_level, structlog.contextvars.merge_contextvars, _with_traceback],
    wrapper_class=structlog.stdlib.BoundLogger,
    cache_logger_on_first_use=True,
)
