"""Finished iterations in a folder, from which a run that was killed goes on.

    manifest.json                 what the run is, and which parts are finished
    part-0-40960.npy, …           iterations 0 to 40,960: NumPy arrays one after the other, the payloads of each output, then its tags;
                                  of a run with keep="summary" one part, which is the summary of all before
    lock                          held while a run is at work

A part is written beside its place, synced and renamed, and only then named in the manifest, which is replaced in the same way: at
any moment the folder holds a checkpoint. Nothing in it is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from attrs import asdict, define, evolve, field, frozen
from numpy.typing import NDArray

from ultramc import packing
from ultramc.engines.base import Chunk, Engine
from ultramc.errors import CheckpointError, CheckpointMismatch, InputError
from ultramc.program import Slot
from ultramc.storage import write_whole

FORMAT = "ultramc checkpoint"
VERSION = 1
MANIFEST = "manifest.json"
LOCK = "lock"
LARGEST_PART = 2**26  # bytes: what a resumed run reads at once
SMALLEST_PART = 2**22  # bytes: less is not worth its sync, unless it is all there is
GUESS = (2**24, 0.1)  # bytes written, and seconds that they took, before anything is known
MOMENT = 0.05  # seconds of writing that any run may take

HINTS = {
    "program": "its formulas, constants or laws differ; NOW() and TODAY() are constants too, which now= sets",
    "fingerprint": "other libraries or another processor may give other bits",
    "engine_fingerprint": "another compiler or device may give other bits",
}


@frozen
class Part:
    """A file of finished iterations."""

    first: int
    count: int
    sha256: str

    @property
    def name(self) -> str:
        return f"part-{self.first}-{self.first + self.count}.npy"


@frozen
class Manifest:
    identity: Mapping[str, Any]
    attempt: int = 0
    parts: tuple[Part, ...] = ()

    @property
    def done(self) -> int:
        """Iterations."""
        return sum(part.count for part in self.parts)

    @classmethod
    def read(cls, path: Path) -> Manifest | None:
        """None where there is none. Raises CheckpointError for what is no manifest of this version."""
        try:
            found = json.loads(path.read_bytes())
            if (found["format"], found["version"]) != (FORMAT, VERSION):
                raise ValueError(f"format and version are {found['format']!r}, {found['version']!r}, not {FORMAT!r}, {VERSION}")
            return cls(found["identity"], found["attempt"], tuple(Part(**part) for part in found["parts"]))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CheckpointError(f"cannot read checkpoint {path.parent}: {error}; allow reading, or give another folder") from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise CheckpointError(f"{path} is no manifest that this ultramc reads: {error}; give another folder as checkpoint=") from error

    def write(self, path: Path) -> None:
        text = json.dumps({"format": FORMAT, "version": VERSION, **asdict(self)}, ensure_ascii=False, indent=1)
        write_whole(path, lambda stream: stream.write(text.encode()))
        _sync_folder(path.parent)


@frozen
class Checkpoint:
    """A folder in which a run keeps what it has finished, made where it is missing.

    `interval`: seconds between two writes; 0: all of it after every chunk, whatever that takes. `share`: of the run's time that
    writing may take. Where more samples come than can be written in it, the oldest are, and what is kept falls behind; a run
    that is cancelled keeps all. Raises InputError.
    """

    path: Path = field(converter=Path)
    interval: float = 5.0
    share: float = 0.015

    def __attrs_post_init__(self) -> None:
        if not self.interval >= 0:
            raise InputError(f"interval={self.interval!r} of a checkpoint: seconds, at least 0")
        if not 0 < self.share <= 1:
            raise InputError(f"share={self.share!r} of a checkpoint: above 0, at most 1")

    @classmethod
    def of(cls, given: Checkpoint | str | os.PathLike[str] | None) -> Checkpoint | None:
        return given if given is None or isinstance(given, Checkpoint) else cls(given)

    def stored(self) -> Manifest | None:
        """What a run finds here: the parts up to the first whose file is missing."""
        manifest = Manifest.read(self.path / MANIFEST)
        if manifest is None:
            return None
        missing = (number for number, part in enumerate(manifest.parts) if not (self.path / part.name).exists())
        return evolve(manifest, parts=manifest.parts[: next(missing, None)])

    @contextmanager
    def held(self, identity: Mapping[str, Any]) -> Iterator[Kept]:
        """For one run, which is refused where another is at work, or where what is stored is another's."""
        with _writing(self.path):
            self.path.mkdir(exist_ok=True)
            lock = (self.path / LOCK).open("ab")
        with lock:
            _lock(lock, self.path)
            found = self.stored()
            if found is None:
                self._refuse_others()
            kept = Kept(self, found or Manifest(identity))
            kept.refuse_other(identity)
            yield kept

    def _refuse_others(self) -> None:
        others = [path.name for path in self.path.iterdir() if not _is_ours(path.name)]
        if others:
            raise CheckpointError(f"{self.path} holds other files ({others[0]}) and no checkpoint; give an empty folder as checkpoint=")


@define(eq=False)
class Kept:
    """A checkpoint that a run holds."""

    place: Checkpoint
    manifest: Manifest
    _began: float = field(factory=time.monotonic)
    _due: float = 0.0
    _bytes: int = 0
    _seconds: float = 0.0

    @property
    def folder(self) -> Path:
        return self.place.path

    @property
    def done(self) -> int:
        return self.manifest.done

    def begin(self, engine: Engine) -> None:
        """Another attempt, with this engine. What was never finished goes."""
        identity = {"engine": engine.name, "engine_fingerprint": dict(engine.fingerprint())}
        self.refuse_other(identity)
        self.manifest = evolve(self.manifest, identity={**self.manifest.identity, **identity}, attempt=self.manifest.attempt + 1)
        with _writing(self.folder):
            self.manifest.write(self.folder / MANIFEST)
            finished = {MANIFEST, LOCK, *(part.name for part in self.manifest.parts)}
            for path in self.folder.iterdir():
                if _is_ours(path.name) and path.name not in finished:
                    path.unlink(missing_ok=True)
        self._due = time.monotonic() + self.place.interval

    def refuse_other(self, identity: Mapping[str, Any]) -> None:
        stored = self.manifest.identity
        differing = [name for name, value in identity.items() if name in stored and stored[name] != value]
        if differing:
            told = "; ".join(_difference(name, stored[name], identity[name]) for name in differing)
            raise CheckpointMismatch(
                f"the run kept in {self.folder} is another: {told}. Call run as it was called then, or give another folder as checkpoint="
            )

    def chunks(self, slots: tuple[Slot, ...]) -> Iterator[Chunk]:
        """What is finished, in order. Raises CheckpointError at a damaged part."""
        for part in self.manifest.parts:
            yield Chunk(part.first, part.count, *self._read(part, partial(_read_arrays, slots)))

    def state(self) -> Any:
        """What `replace` wrote, None where it did not. Raises CheckpointError where it is damaged."""
        return self._read(self.manifest.parts[0], packing.read) if self.manifest.parts else None

    def _read(self, part: Part, read: Callable[[IO[bytes]], Any]) -> Any:
        path = self.folder / part.name
        try:
            if _digest(path) != part.sha256:
                raise ValueError("its bytes are not those that were written")
            with path.open("rb") as stream:
                return read(stream)
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path} is damaged: {error}; delete this file to have what follows computed again") from error

    def keep(self, chunk_of: Callable[[int, int], Chunk], done: int, *, at_once: bool = False, whole: bool = False) -> None:
        """Iterations up to `done`, once it is time, as many as there is time for. Raises CheckpointError; earlier parts stay."""
        begun = time.monotonic()
        if done == self.done or not (at_once or begun >= self._due):
            return
        each = _bytes_per_iteration(chunk_of(self.done, 1))
        count = done - self.done if whole or not self.place.interval else self._affordable(done - self.done, each, begun)
        with self._writing(begun, count * each):
            self._write(chunk_of, self.done + count, max(1, LARGEST_PART // each))

    def replace(self, state: Any, done: int, size: int, *, at_once: bool = False, whole: bool = False) -> None:
        """The state of the first `done` iterations, of about `size` bytes, in place of that before, if it is time and there is some."""
        begun = time.monotonic()
        if done == self.done or not (at_once or begun >= self._due):
            return
        if whole or not self.place.interval or self._affordable(1, size, begun):
            outdated = [self.folder / part.name for part in self.manifest.parts]
            with self._writing(begun, size):
                self._add(Part(0, done, ""), lambda stream: packing.write(stream, state), ())
                for path in outdated:
                    path.unlink(missing_ok=True)

    @contextmanager
    def _writing(self, begun: float, size: int) -> Iterator[None]:
        """Takes note of the time that so many bytes take."""
        with _writing(self.folder):
            yield
        now = time.monotonic()
        self._bytes, self._seconds = self._bytes + size, self._seconds + now - begun
        self._due = now + self.place.interval

    def _affordable(self, count: int, each: int, now: float) -> int:
        """How many of `count` iterations of so many bytes can be written in the time that is left for it."""
        seconds = max(MOMENT, self.place.share * (now - self._began)) - self._seconds
        speed = (GUESS[0] + self._bytes) / (GUESS[1] + self._seconds)
        most = int(max(0.0, seconds) * speed / each)
        return count if most >= count else most if most * each >= SMALLEST_PART else 0

    def _write(self, chunk_of: Callable[[int, int], Chunk], done: int, most: int) -> None:
        while self.done < done:
            chunk = chunk_of(self.done, min(most, done - self.done))
            self._add(Part(chunk.first, chunk.count, ""), partial(_write_arrays, chunk), self.manifest.parts)

    def _add(self, part: Part, write: Callable[[IO[bytes]], object], others: tuple[Part, ...]) -> None:
        """A part, and then a manifest that names it and those others."""
        path = self.folder / part.name
        write_whole(path, write)
        manifest = evolve(self.manifest, parts=(*others, evolve(part, sha256=_digest(path))))
        _sync_folder(self.folder)
        manifest.write(self.folder / MANIFEST)
        self.manifest = manifest


def _difference(name: str, was: Any, now: Any) -> str:
    if isinstance(was, dict) and isinstance(now, dict):
        key = next(key for key in (was | now) if was.get(key) != now.get(key))
        name, was, now = f"{name} {key}", was.get(key), now.get(key)
    hint = HINTS.get(name.split()[0], "")
    return f"{name} was {was!r}, is {now!r}{f' ({hint})' if hint else ''}"


def _is_ours(name: str) -> bool:
    return name in (MANIFEST, LOCK) or name.startswith(("part-", ".part-", f".{MANIFEST}."))


def _bytes_per_iteration(chunk: Chunk) -> int:
    return sum(array.nbytes for array in (*chunk.payloads, *chunk.tags) if array is not None) or 1


def _write_arrays(chunk: Chunk, stream: IO[bytes]) -> None:
    for array in (*chunk.payloads, *chunk.tags):
        if array is not None:
            np.lib.format.write_array(stream, array, allow_pickle=False)


def _read_arrays(slots: Sequence[Slot], stream: IO[bytes]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Payloads, and then tags of those that have some."""
    payloads = tuple(_array(stream) for _ in slots)
    return payloads, tuple(None if isinstance(slot.tag, int) else _array(stream) for slot in slots)


def _array(stream: IO[bytes]) -> NDArray[Any]:
    read: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    return read


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"cannot write to checkpoint {folder}: {error}; what it holds stays. Make room or allow writing, then run again with it"
        ) from error


def _sync_folder(folder: Path) -> None:
    """So that the new name outlives a power cut, where folders can be synced."""
    if sys.platform != "win32":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _lock(file: IO[bytes], folder: Path) -> None:
    """The system lets go of it when the process ends, however it ends."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise CheckpointError(
            f"another run is at work in {folder} ({error}); wait for it, or give another folder as checkpoint="
        ) from error
