"""Chunks: whole blocks where a block is quick, parts where it is not, and never a jump back for a short chunk."""

import pytest
from workbooks import workbook

import ultramc as mc
from ultramc.engines.base import CANONICAL_BLOCK as BLOCK
from ultramc.engines.pace import GUESS, Pace, guessed_seconds


def sizes(pace, iterations, seconds_of):
    """The chunks of a run in which a chunk of n iterations takes `seconds_of(n)`."""
    done, found = 0, []
    while done < iterations:
        count = pace.next(done, iterations)
        found.append(count)
        pace.took(count, seconds_of(count))
        done += count
    return found


def edges(found):
    return {sum(found[:number]) % BLOCK for number in range(1, len(found))}


def test_a_fast_model_has_the_chunks_that_suit_its_engine_from_the_first():
    assert sizes(Pace.of(1e-7, 8 * BLOCK), 100_000, lambda n: 1e-7 * n) == [32768, 32768, 32768, 1696]


@pytest.mark.parametrize("each", [1e-6, 2e-5, 1e-4, 1e-3, 0.01, 0.3, 1.0])
@pytest.mark.parametrize("guess", [1e-7, 1e-5, 1e-3, 1.0])
def test_progress_moves_every_two_seconds_after_the_first_chunk(each, guess):
    found = sizes(Pace.of(guess, 8 * BLOCK), 40_000, lambda n: each * n)
    assert sum(found) == 40_000
    assert max(n * each for n in found[1:]) <= 2.0


@pytest.mark.parametrize("each", [3.0, 60.0])
def test_or_at_every_iteration(each):
    assert set(sizes(Pace.of(each, BLOCK), 20, lambda n: each * n)) == {1}


@pytest.mark.parametrize("guess", [2e-6, 5e-5, 1e-4, 1e-3, 1e-2])
def test_the_first_chunk_is_a_quarter_of_a_second_as_guessed(guess):
    assert Pace.of(guess, 8 * BLOCK).next(0, 10**6) * guess <= 0.25


def test_small_chunks_stay_within_a_block_and_large_ones_end_with_one():
    """An overhead of a tenth of a second makes small chunks look slow; they grow all the same."""
    found = sizes(Pace.of(1e-3, 8 * BLOCK), 200_000, lambda n: 0.1 + 1e-5 * n)
    assert found[0] == 128 and found[-1] <= found[-2] == 8 * BLOCK
    whole = [sum(found[: number + 1]) for number, count in enumerate(found[:-1]) if count >= BLOCK]
    assert whole and all(edge % BLOCK == 0 for edge in whole)


def test_a_small_chunk_ends_with_its_block():
    pace = Pace.of(1e-4, BLOCK)
    assert [pace.next(first, 10_000) for first in (0, 1_000, 4_000, 4_096, 9_999)] == [2_048, 2_048, 96, 2_048, 1]


def test_a_hiccup_makes_chunks_shorter_for_a_while():
    pace = Pace.of(1e-7, 8 * BLOCK)
    pace.took(32768, 4.0)
    assert pace.next(0, 10**6) == 2 * BLOCK
    pace.took(8192, 0.001)
    assert pace.next(0, 10**6) == 8 * BLOCK


def test_a_short_last_chunk_is_not_taken_for_a_slow_one():
    pace = Pace.of(1e-7, 8 * BLOCK)
    pace.took(1, 0.5)
    assert pace.next(0, 10**6) == 8 * BLOCK


def test_never_fewer_than_what_takes_as_long():
    assert set(sizes(Pace.of(1e-2, BLOCK, fewest=1024), 8 * 1024, lambda n: 10.0)) == {1024}


@pytest.mark.parametrize("size", [1, 97, 5000])
def test_a_size_that_was_asked_for_is_kept(size):
    found = sizes(Pace.fixed(size), 10_000, lambda n: 100.0)
    assert set(found[:-1]) <= {size} and sum(found) == 10_000


def guess(cells, output):
    return guessed_seconds(mc.Simulation(workbook(cells), inputs={"A1": mc.Normal(0, 1)}, outputs=[output]).compiled.program)


def test_the_guess_grows_with_what_is_computed():
    rows = [
        guess({"A1": 1, **{f"B{row}": f"=A1*{row}" for row in range(1, count + 1)}, "C1": f"=SUM(B1:B{count})"}, "C1")
        for count in (100, 1000)
    ]
    assert rows[1] == pytest.approx(10 * rows[0], rel=0.1)


def test_the_guess_counts_the_steps_of_a_loop():
    cells = {"A1": 1, "B1": "=A1", **{f"B{row}": f"=B{row - 1}*1.01+$A$1/(3+B{row - 1})-$A$1*B{row - 1}" for row in range(2, 1_001)}}
    assert guess(cells, "B1000") > 6 * 999 * GUESS


def test_the_guess_knows_that_python_is_slow():
    assert guess({"A1": 1, "B1": "=YIELD(40000,41000,0.05,90+A1,100,2)"}, "B1") > 1e-4 > 1e-6 > guess({"A1": 1, "B1": "=A1+3"}, "B1")
