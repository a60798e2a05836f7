"""CUDA source → cubin, by NVRTC, which needs no GPU. Each is kept in the user's cache folder, with what the assembler said of it."""

from __future__ import annotations

import hashlib
import os
import re
import struct
import tempfile
from pathlib import Path
from typing import Any

from attrs import frozen

from ultramc.engines.cache import cache_folder, forget_oldest, is_kept
from ultramc.errors import EngineError

OPTIONS = (
    "--fmad=false",  # products and sums are rounded one by one, as everywhere
    "--std=c++17",
    "--device-as-default-execution-space",
    "--disable-warnings",
    "--ptxas-options=-v",
)
UNKNOWN_DEVICE = "; one that is older than the GPU does not know it: pip install --upgrade nvidia-cuda-nvrtc-cu12"
SPILLED = re.compile(r"(\d+) bytes spill stores")
REGISTERS = re.compile(r"Used (\d+) registers")


@frozen
class Cubin:
    """`registers` of the kernel that takes most; `spilled`: bytes that kernels put into memory because they have no more of them."""

    path: Path
    registers: int
    spilled: int


def compiled(nvrtc: Any, text: str, architecture: str) -> Cubin:
    """From the cache or from NVRTC. Raises EngineError with what NVRTC said."""
    key = hashlib.sha256("\n".join((text, *OPTIONS, architecture, str(nvrtc.getVersion()))).encode()).hexdigest()
    folder = cache_folder("cupy")
    path, said = folder / f"{key}.cubin", folder / f"{key}.log"
    if is_kept(path, said):
        return _described(path, said.read_text(encoding="utf-8"))
    binary, log = translated(nvrtc, text, architecture)
    _write(said, log.encode())
    _write(path, binary)
    forget_oldest(folder)
    return _described(path, log)


def translated(nvrtc: Any, text: str, architecture: str) -> tuple[bytes, str]:
    """A cubin for an architecture such as "sm_90", or PTX for one such as "compute_90", and the log."""
    program = nvrtc.createProgram(text, "program.cu", (), ())
    try:
        try:
            nvrtc.compileProgram(program, (*OPTIONS, f"--gpu-architecture={architecture}"))
        except nvrtc.NVRTCError as error:
            hint = UNKNOWN_DEVICE if "INVALID_OPTION" in str(error) else ""
            raise EngineError(f"engine 'cupy': NVRTC failed ({error}{hint}): {nvrtc.getProgramLog(program)[:2000]}") from error
        found = _whole(nvrtc.getCUBIN(program)) if architecture.startswith("sm_") else nvrtc.getPTX(program)
        return found, str(nvrtc.getProgramLog(program))
    finally:
        nvrtc.destroyProgram(program)


def _whole(elf: bytes) -> bytes:
    """CuPy cuts the last byte off, as if it ended a text; its headers say how long an ELF file is."""
    programs, sections = struct.unpack_from("<QQ", elf, 0x20)
    program_size, program_count, section_size, section_count = struct.unpack_from("<HHHH", elf, 0x36)
    return elf.ljust(max(programs + program_size * program_count, sections + section_size * section_count), b"\0")


def _described(path: Path, log: str) -> Cubin:
    return Cubin(path, max(map(int, REGISTERS.findall(log)), default=0), sum(map(int, SPILLED.findall(log))))


def _write(path: Path, content: bytes) -> None:
    """Beside its place first, then renamed, so that nobody reads half a file."""
    handle, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    os.replace(name, path)
