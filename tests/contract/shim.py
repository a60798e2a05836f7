"""Kernels on a processor: source that is compiled for it, loaded, and launched as a grid of threads (`shim.c`)."""

from __future__ import annotations

import ctypes
import hashlib
import struct
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import ptx

HERE = Path(__file__).parent
EXTRA: tuple[str, ...] = ()  # options for every compilation: the sanitizers'


@cache
def folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="shim"))


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def built(source: str, name: str, *options: str) -> bytes:
    """A shared library. `name` ends in .c or .cpp."""
    path = folder() / f"{digest(' '.join(options) + source)}.{name}"
    path.write_text(source, encoding="utf-8")
    compiler, library = "g++" if path.suffix == ".cpp" else "gcc", path.with_suffix(".so")
    command = [compiler, *options, *EXTRA, f"-I{HERE}", "-shared", "-fPIC", "-w", "-o", str(library), str(path), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"{' '.join(command)}: {done.stderr[:3000]}")
    return library.read_bytes()


def built_of_ptx(text: str) -> bytes:
    """A shared library of what NVRTC made of kernels."""
    return built(ptx.translated(text), "ptx.c", "-std=gnu11", "-O1", "-ffp-contract=off", "-fno-strict-aliasing")


def loaded(library: bytes, mode: int = ctypes.DEFAULT_MODE) -> ctypes.CDLL:
    """With the runtime's names in place."""
    if mode != ctypes.RTLD_GLOBAL:
        runtime()
    path = folder() / f"{hashlib.sha256(library).hexdigest()}.so"
    if not path.exists():  # one that is loaded must not change
        path.write_bytes(library)
    return ctypes.CDLL(str(path), mode=mode)


@cache
def runtime() -> ctypes.CDLL:
    return loaded(built((HERE / "shim.c").read_text(encoding="utf-8"), "shim.c", "-O2"), ctypes.RTLD_GLOBAL)


def word(value) -> int:
    """A kernel's argument as 64 bits."""
    if isinstance(value, np.ndarray):
        assert value.flags.c_contiguous
        return value.ctypes.data
    if isinstance(value, float):
        return int.from_bytes(struct.pack("<d", value), "little")
    return int(value)


def launch(library: ctypes.CDLL, name: str, *arguments, grid: int = 1, block: int = 1) -> None:
    """Blocks of threads, each of which calls the function with its arguments as words."""
    words = (ctypes.c_uint64 * len(arguments))(*map(word, arguments))
    is_sound = runtime().launch(getattr(library, name), words, ctypes.c_uint64(grid), block)
    assert is_sound, f"{name}: a barrier that some threads of a block do not reach"
