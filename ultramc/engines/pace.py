"""How many iterations make the next chunk: as many as suit the engine, as long as progress moves.

Whole canonical blocks, up to the edge of one; a part of a block only where a whole one would take too long. It never changes a
result, since engines give the same bits whatever the chunks.
"""

from __future__ import annotations

from attrs import define

from ultramc.engines.base import CANONICAL_BLOCK
from ultramc.engines.choice import numbers
from ultramc.program import Instruction, Program

LONG = 1.0  # seconds that a chunk may take, as far as can be told before
TOO_LONG = 1.5  # seconds after which chunks get shorter: progress moves every two, and a machine may be busy
FIRST = 0.25  # seconds for the first chunk, of which only a guess is known
GUESS = 1.5e-9  # seconds for a number that is computed, measured on the NumPy engine (portfolio of benchmarks/models.py)
SLOW = {"scalar_call": 200_000}  # as how many one number of these counts: YIELD 0.3 ms, others far less
SLOW_INVERSE = 700


@define
class Pace:
    """The size of chunks in one run. `largest`: what suits the engine; `fewest`: fewer iterations take as long as these."""

    size: int
    largest: int
    fewest: int = 1
    is_fixed: bool = False

    @classmethod
    def of(cls, guess: float, largest: int, fewest: int = 1) -> Pace:
        """Begins with what is short if an iteration takes `guess` seconds."""
        pace = cls(largest, largest, fewest)
        pace.size = pace._whole(FIRST / guess)
        return pace

    @classmethod
    def fixed(cls, size: int) -> Pace:
        """Chunks of one size, whatever they take."""
        return cls(size, size, is_fixed=True)

    def next(self, first: int, iterations: int) -> int:
        """How many iterations from `first` on, of `iterations` in the run."""
        size = self.size if self.is_fixed else self._to_an_edge(first)
        return min(size, iterations - first)

    def _to_an_edge(self, first: int) -> int:
        """Small chunks stay within a block, large ones end with one."""
        inside = first % CANONICAL_BLOCK
        return min(self.size, CANONICAL_BLOCK - inside) if self.size < CANONICAL_BLOCK else self.size - inside

    def took(self, count: int, seconds: float) -> None:
        """Learn from a chunk: one of few iterations seems slower than it is, so it can only show that more may be tried."""
        fitting = self._whole(LONG * count / max(seconds, 1e-9))
        if not self.is_fixed and (seconds > TOO_LONG or fitting > self.size):
            self.size = fitting

    def _whole(self, iterations: float) -> int:
        """As many blocks, or a power of two where that is less than one."""
        count = int(min(max(iterations, self.fewest), self.largest))
        return count // CANONICAL_BLOCK * CANONICAL_BLOCK if count >= CANONICAL_BLOCK else 1 << count.bit_length() - 1


def guessed_seconds(program: Program) -> float:
    """For one iteration. Right to a factor of a few, which is enough to begin with."""
    return GUESS * max(1, numbers(program.instructions, _cost))


def _cost(instruction: Instruction) -> int:
    return SLOW_INVERSE if instruction.op.endswith("_inverse") else SLOW.get(instruction.op, 1)
