"""Draws that no other iteration, or only the other of its pair, depends on: neither the run's length nor its other sites matter."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from attrs import frozen

from ultramc.sampling.base import FloatArray, Sampling, Site, checked_range, fill_uniforms, uniforms

if TYPE_CHECKING:
    from ultramc.sampling.job import Job


@frozen
class Random(Sampling):
    """Independent draws: iteration i of a site is uniform number i of its stream."""

    name: ClassVar[str] = "random"

    def together(self, iterations: int) -> int:
        return 1

    def fill(self, job: Job, site: Site, first: int, out: FloatArray) -> None:
        fill_uniforms(job.seed, site, first, out)


RANDOM = Random()


@frozen
class Antithetic(Sampling):
    """Pairs (u, 1 - u): iteration i takes uniform number i div 2, and where i is odd 1 - u, which is exact.

    Errors of the two cancel where the output is monotone in its inputs (Hammersley & Morton 1956). A pair is a replicate.
    """

    name: ClassVar[str] = "antithetic"

    def together(self, iterations: int) -> int:
        return 2

    def fill(self, job: Job, site: Site, first: int, out: FloatArray) -> None:
        first, count = checked_range(first, len(out))
        pairs = uniforms(job.seed, site, first // 2, (first + count + 1) // 2 - first // 2)
        begins_odd = first % 2
        out[begins_odd::2] = pairs[begins_odd:]
        np.subtract(1.0, pairs[: count - len(pairs[begins_odd:])], out=out[1 - begins_odd :: 2])
