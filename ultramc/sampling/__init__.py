"""(seed, site, iteration) → uniform: the sampling methods by name, and the stream that all of them draw from."""

from __future__ import annotations

import difflib
from types import MappingProxyType

from ultramc.errors import InputError
from ultramc.sampling.base import (
    ITERATIONS,
    LARGEST_UNIFORM,
    SEEDS,
    SMALLEST_UNIFORM,
    WORDS_PER_BLOCK,
    FloatArray,
    Sampling,
    Site,
    WordArray,
    check_seed,
    fill_uniforms,
    new_seed,
    uniforms,
    whole,
)
from ultramc.sampling.independent import RANDOM, Antithetic, Random
from ultramc.sampling.job import Job
from ultramc.sampling.latin_hypercube import LatinHypercube
from ultramc.sampling.sobol import Sobol, sobol_points
from ultramc.sampling.tied import Tie, restored, strata_bytes

__all__ = [
    "ITERATIONS",
    "LARGEST_UNIFORM",
    "RANDOM",
    "SAMPLINGS",
    "SEEDS",
    "SMALLEST_UNIFORM",
    "WORDS_PER_BLOCK",
    "Antithetic",
    "FloatArray",
    "Job",
    "LatinHypercube",
    "Random",
    "Sampling",
    "Site",
    "Sobol",
    "Tie",
    "WordArray",
    "check_seed",
    "fill_uniforms",
    "new_seed",
    "restored",
    "sampling_of",
    "sobol_points",
    "strata_bytes",
    "uniforms",
    "whole",
]

SAMPLINGS = MappingProxyType({method.name: method for method in (RANDOM, Antithetic(), LatinHypercube(), Sobol())})


def sampling_of(sampling: object) -> Sampling:
    """The method by name, or the object given. Raises `InputError` for one that does not exist: nothing asked for is ignored."""
    if isinstance(sampling, Sampling):
        return sampling
    if isinstance(sampling, str) and sampling in SAMPLINGS:
        return SAMPLINGS[sampling]
    raise InputError(f"sampling={sampling!r} does not exist{_nearest(sampling)}; available: {', '.join(map(repr, SAMPLINGS))}")


def _nearest(sampling: object) -> str:
    close = difflib.get_close_matches(sampling.lower(), SAMPLINGS, 1) if isinstance(sampling, str) else []
    return f", did you mean {close[0]!r}?" if close else ""
