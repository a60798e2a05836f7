"""Where compiled programs are kept between runs: a folder of the user's, in which nobody else may write."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ultramc.errors import EngineUnavailable

KEPT = 1_000  # files of an engine


def cache_folder(engine: str) -> Path:
    """What lies in it is executed. Raises EngineUnavailable where others may write there."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "ultramc", engine)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & 0o022):
        raise EngineUnavailable(
            f"engine {engine!r} keeps compiled programs in {folder}, where others may write: make it yours alone (chmod 700), "
            "or set XDG_CACHE_HOME"
        )
    return folder


def forget_oldest(folder: Path) -> None:
    """Those that were not asked for longest; what is loaded stays loaded. Other processes may do the same meanwhile."""
    aged = []
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            if path.is_file():
                aged.append((path.stat().st_mtime, path))
    for _, path in sorted(aged)[:-KEPT]:
        path.unlink(missing_ok=True)


def is_kept(*paths: Path) -> bool:
    """Whether all are there; they count as asked for now."""
    try:
        for path in paths:
            os.utime(path)
    except FileNotFoundError:
        return False
    return True
