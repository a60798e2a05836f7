"""What a run draws."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from attrs import astuple, field, frozen
from numpy.typing import NDArray

from ultramc.errors import InputError
from ultramc.sampling.base import FloatArray, Sampling, Site, checked_range
from ultramc.sampling.independent import RANDOM
from ultramc.sampling.tied import Tie, ranked


@frozen(slots=False)
class Job:
    """What a run draws: none of it needs another compilation.

    `iterations` is the total that the sampling spans, `sites` all call sites of the program, which Sobol numbers.
    Raises `InputError` where the sampling cannot make so many iterations.
    """

    seed: int
    iterations: int
    sampling: Sampling = RANDOM
    sites: tuple[Site, ...] = ()
    _strata: dict[Tie, NDArray[np.int64]] = field(factory=dict, init=False, eq=False, repr=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.sampling.together(self.iterations)

    @property
    def together(self) -> int:
        """How many consecutive iterations form one replicate."""
        return self.sampling.together(self.iterations)

    def fill(self, site: Site, first: int, out: FloatArray) -> None:
        """Write the uniforms of iterations first … first + len(out) - 1 into `out`, float64 (count,), which need not be contiguous."""
        self.sampling.fill(self, site, first, out)

    def uniforms(self, site: Site, first: int, count: int) -> FloatArray:
        """The uniforms of iterations first … first + count - 1, float64 (count,)."""
        first, count = checked_range(first, count)
        draws = np.empty(count)
        self.fill(site, first, draws)
        return draws

    @cached_property
    def dimensions(self) -> Mapping[Site, int]:
        """The number of each site in order of address."""
        ordered = sorted(set(self.sites), key=astuple)
        return {site: number for number, site in enumerate(ordered)}

    def dimension(self, site: Site) -> int:
        """Raises `InputError` for a site that is not one of the job's."""
        try:
            return self.dimensions[site]
        except KeyError:
            raise InputError(f"{site} is not among the {len(self.sites):,} call sites of the job, so it has no dimension") from None

    def strata(self, tie: Tie) -> NDArray[np.int64]:
        """The restored strata of tied sites, int64 (sites, iterations): worked out once, by whichever thread comes first."""
        with self._lock:
            if tie not in self._strata:
                self._strata[tie] = ranked(self, tie)
        return self._strata[tie]

    @property
    def restores_strata(self) -> bool:
        """Whether tied draws have strata to restore."""
        return self.sampling.stratified

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled without what is cached."""
        return Job, (self.seed, self.iterations, self.sampling, self.sites)
