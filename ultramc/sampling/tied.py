"""Sites that are drawn together: their normal scores are combined, and each keeps its Latin hypercube strata all the same.

Combining scores moves a draw out of its stratum. Under Latin hypercube sampling the rank of the combined score within its
replicate is a stratum again: the strata are restored, and the rank correlations are those of the combined scores (the
reordering of Iman & Conover, "A distribution-free approach to inducing rank correlation", Comm. Stat. B 11, 1982).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ultramc.sampling.base import LARGEST_UNIFORM, SMALLEST_UNIFORM, FloatArray, Site, fill_uniforms

if TYPE_CHECKING:
    from ultramc.sampling.job import Job

EDGE = 1e-9  # of a stratum: draws stay so far inside, for the way to a score and back not to carry them over


@frozen
class Tie:
    """Sites whose normal scores become factor · z: a lower triangular factor with rows of unit length."""

    sites: tuple[Site, ...]
    factor: tuple[tuple[float, ...], ...]

    def scores(self, job: Job, first: int, count: int) -> FloatArray:
        """The combined scores (sites, count), summed in the order that a program sums them in."""
        from scipy.special import ndtri

        z = ndtri(np.stack([job.uniforms(site, first, count) for site in self.sites]))
        return np.stack([combined(weights, z) for weights in self.factor])


def combined(weights: tuple[float, ...], z: FloatArray) -> FloatArray:
    """Σ weight · z, left to right, zeros skipped."""
    total: FloatArray = np.zeros(z.shape[1])
    for weight, scores in zip(weights, z, strict=True):
        if weight:
            total += weight * scores
    return total


def restored(job: Job, tie: Tie, member: int, first: int, out: FloatArray) -> None:
    """Write the scores of one site in iterations first … first + len(out) - 1, each in the stratum that its rank says."""
    from scipy.special import ndtri

    fill_uniforms(job.seed, tie.sites[member].further.further, first, out)
    strata = job.strata(tie)[member, first : first + len(out)]
    probability = (strata + np.clip(out, EDGE, 1 - EDGE)) / job.together
    ndtri(np.clip(probability, SMALLEST_UNIFORM, LARGEST_UNIFORM), out=out)


def ranked(job: Job, tie: Tie) -> NDArray[np.int64]:
    """The stratum of each site in each iteration, (sites, iterations): its rank within the replicate."""
    scores = tie.scores(job, 0, job.iterations).reshape(len(tie.sites), -1, job.together)
    order = np.argsort(scores, axis=2, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(job.together), axis=2)
    return ranks.reshape(len(tie.sites), -1)


def strata_bytes(job: Job, ties: Iterable[Tie]) -> int:
    """What `Job.strata` of these ties take at the most: 8 bytes a site and iteration, three times that and a row while one is ranked."""
    sites = [len(tie.sites) for tie in ties] if job.restores_strata else []
    return 8 * job.iterations * (sum(sites) + 2 * max(sites) + 1) if sites else 0
