"""What two runs must have in common to give the same bits: compared before one goes on where the other stopped."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import fields, has

from ultramc.functions.kit import Texts
from ultramc.program import Program
from ultramc.running import versions
from ultramc.sampling import Job

if TYPE_CHECKING:
    from ultramc.simulation import Simulation


def identity(simulation: Simulation, job: Job) -> dict[str, Any]:
    """All but the engine, as JSON has it."""
    return {
        "workbook_sha256": simulation.workbook.sha256,
        "inputs": {given.label: given.described() for given in simulation.inputs},
        "outputs": {label: str(place) for label, place in simulation.outputs.items()},
        "iterations": job.iterations,
        "seed": job.seed,
        "sampling": repr(job.sampling),
        "fingerprint": fingerprint(),
        "program": program_hash(simulation.compiled.program),
    }


@cache
def fingerprint() -> dict[str, str]:
    """Library versions, the kind of processor, and a hash of what its libraries make of transcendental functions."""
    return {**versions(), "machine": platform.machine(), "transcendentals": _transcendentals()}


def _transcendentals() -> str:
    from scipy.special import gammaln, ndtri

    x = np.linspace(2.0**-10, 1 - 2.0**-10, 1_023)
    values = [np.exp(x), np.log(x), np.sin(x), np.cos(x), np.tan(x), np.tanh(x), np.expm1(x), np.log1p(x), x**0.3, ndtri(x), gammaln(x)]
    return hashlib.sha256(b"".join(value.tobytes() for value in values)).hexdigest()


def program_hash(program: Program) -> str:
    """Of structure and constants. Raises TypeError for an attribute of a kind that it does not know."""
    hashed = hashlib.sha256()
    for piece in _pieces(program):
        hashed.update(len(piece).to_bytes(8, "little") + piece)
    return hashed.hexdigest()


def _pieces(value: Any) -> Iterator[bytes]:
    yield type(value).__name__.encode()
    if has(type(value)):
        for attribute in fields(type(value)):
            yield from _pieces(getattr(value, attribute.name))
    else:
        yield from next(write for kind, write in _WRITTEN if isinstance(value, kind))(value)


def _array(value: Any) -> Iterator[bytes]:
    yield f"{value.dtype.str} {value.shape}".encode()
    yield value.tobytes()


def _sequence(value: Any) -> Iterator[bytes]:
    yield str(len(value)).encode()
    for item in value:
        yield from _pieces(item)


def _mapping(value: Any) -> Iterator[bytes]:
    return _sequence(sorted(value.items()))


def _plain(value: Any) -> Iterator[bytes]:
    yield repr(value).encode()


def _named(value: Any) -> Iterator[bytes]:
    """A function of ours, by its name: what it encloses comes from the workbook, whose hash is compared too."""
    yield f"{value.__module__}.{value.__qualname__}".encode()


def _partial(value: Any) -> Iterator[bytes]:
    return _sequence((value.func, value.args, value.keywords))


def _texts(value: Any) -> Iterator[bytes]:
    """It grows as it is used; the program has a tuple of what it needs."""
    yield b""


def _unknown(value: Any) -> Iterator[bytes]:
    raise TypeError(f"a program with {value!r} in it has no hash")


_WRITTEN: tuple[tuple[Any, Callable[[Any], Iterator[bytes]]], ...] = (
    ((np.ndarray, np.generic), _array),
    ((tuple, list), _sequence),
    (Mapping, _mapping),
    ((str, int, float, complex, bytes, type(None)), _plain),
    ((FunctionType, type), _named),
    (partial, _partial),
    (Texts, _texts),
    (object, _unknown),
)
