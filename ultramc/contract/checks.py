"""The checks that every engine passes, as (name, callable) pairs: a call returns, or raises ContractViolation.

For each case an engine agrees with `reference` within the op's tolerance, or refuses the op when it compiles; there is no
third outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from hashlib import blake2b
from types import MappingProxyType
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from ultramc import reference
from ultramc.address import RangeRef
from ultramc.contract.cases import ANY_KIND, BLOCK, CASES, CELL, TIE, Case, fixed, program_of, simulated, spread
from ultramc.contract.laws import LAWS, VARIANTS, program_of_law
from ultramc.contract.models import models, program_of_model
from ultramc.engines import registry
from ultramc.engines.base import CANONICAL_BLOCK, Chunk, Engine, Executable, Job, Threads, execute, fitted
from ultramc.engines.pace import Pace
from ultramc.errors import EngineUnavailable, UnsupportedOp
from ultramc.ops import OPS
from ultramc.program import Builder, Instruction, Program, Ref, Slot, constant
from ultramc.sampling import SAMPLINGS, Site

Check = Callable[[], None]

SEED = 20_26_11
LARGEST_SEED = 2**64 - 1
MEMORY = 2**30
IN_A_ROW = 64  # times the tolerance of an op, where errors of several add up


class ContractViolation(AssertionError):
    """An engine breaks the contract; the message says where, what it gave and what it should have given."""


def engine_checks(engine: Engine) -> Iterator[tuple[str, Check]]:
    """Every check for one engine. Names are stable: ``agrees: add, special values``, ``starts_anywhere`` and so on."""
    for case in CASES:
        yield f"agrees: {case.op}, {case.id}", partial(agrees, engine, case)
    for law in (*LAWS, *VARIANTS):
        yield f"draws: {law}", partial(draws_law, engine, law)
    for name in models():
        yield f"simulates: {name}", partial(simulates, engine, name)
    for name, check in CHECKS.items():
        yield name, partial(check, engine)


def _require(condition: object, message: str) -> None:
    if not condition:
        raise ContractViolation(message)


# One op


def agrees(engine: Engine, case: Case) -> None:
    """All iterations of a case in one chunk; and the same bits one iteration at a time."""
    program = program_of(case)
    lacking = set(program.ops()) - engine.supports
    if lacking:
        return _refuses(engine, program, lacking)
    executable = engine.compile(program)
    job = Job(SEED, case.iterations)
    want = [reference.evaluate(program, job, iteration) for iteration in range(case.iterations)]
    whole = engine.run(executable, job, 0, case.iterations)
    _compare(whole, program, want, _tolerance(program), case)
    singly = [engine.run(executable, job, iteration, 1) for iteration in range(case.iterations)]
    _require_equal_runs(singly, [whole], f"{case.op}, {case.id}, one iteration at a time against all at once")


def _tolerance(program: Program) -> float:
    return max(OPS[op].tolerance for op in program.ops())


Outcomes = Sequence[Sequence[tuple[Sequence[float], Sequence[float]]]]


def _compare(chunk: Chunk, program: Program, want: Outcomes, tolerance: float, case: Case) -> None:
    _require_form(chunk, program, len(want))
    for number, slot in enumerate(program.outputs):
        payloads = np.array([outcome[number][0] for outcome in want], dtype=np.float64).T
        tags = np.array([outcome[number][1] for outcome in want], dtype=np.uint8).T
        where = f"{case.op}, {case.id}, {slot.label}"
        _require_same(chunk.payloads[number], payloads, tolerance, where)
        found = chunk.tags[number]
        if found is not None:
            _require_same(found.astype(np.float64), tags.astype(np.float64), 0.0, f"{where}, tags")


def _require_form(chunk: Chunk, program: Program, count: int) -> None:
    """float64 payloads and uint8 tags, (cells, count) each, and tags exactly where they vary; on the host."""
    _require(chunk.count == count, f"a chunk of {chunk.count} iterations where {count} were asked for")
    _require(len(chunk.payloads) == len(chunk.tags) == len(program.outputs), "payloads and tags are not one for each output")
    for slot, payload, tag in zip(program.outputs, chunk.payloads, chunk.tags, strict=True):
        _require_array(payload, np.float64, (slot.cells.size, count), f"payload of {slot.label}")
        _require((tag is None) == isinstance(slot.tag, int), f"tags of {slot.label}: {'none' if tag is None else 'some'}, but {slot.tag}")
        if tag is not None:
            _require_array(tag, np.uint8, (slot.cells.size, count), f"tag of {slot.label}")


def _require_array(found: Any, dtype: Any, shape: tuple[int, int], what: str) -> None:
    _require(type(found) is np.ndarray, f"{what} is a {type(found).__name__}, not a NumPy array")
    _require(found.dtype == dtype, f"{what} has dtype {found.dtype}, not {np.dtype(dtype)}")
    _require(found.shape == shape, f"{what} has shape {found.shape}, not {shape}")


def differing(found: NDArray[np.float64], want: NDArray[np.float64], tolerance: float) -> NDArray[np.bool_]:
    """Where two arrays differ: NaN equals NaN, and without tolerance the sign of zero counts."""
    with np.errstate(invalid="ignore", over="ignore"):
        close = np.abs(found - want) <= tolerance * np.abs(want)
    same = (found == want) & ((np.signbit(found) == np.signbit(want)) | (tolerance > 0))
    return np.asarray(~(same | close & (tolerance > 0) & np.isfinite(want) | (np.isnan(found) & np.isnan(want))))


def _require_same(found: NDArray[np.float64], want: NDArray[np.float64], tolerance: float, where: str) -> None:
    wrong = differing(found, want, tolerance)
    if wrong.any():
        cell, iteration = (int(index) for index in np.argwhere(wrong)[0])
        got, wanted = found[cell, iteration].item(), want[cell, iteration].item()
        raise ContractViolation(
            f"{where}: cell {cell}, iteration {iteration} of the chunk is {got!r}, not {wanted!r} "
            f"(relative tolerance {tolerance:g}; {int(wrong.sum())} of {wrong.size} differ)"
        )


def _refuses(engine: Engine, program: Program, lacking: set[str]) -> None:
    """At compile time, naming the cell, the op and the engines that have it."""
    try:
        engine.compile(program)
    except UnsupportedOp as error:
        named = [op for op in lacking if repr(op) in str(error)]
        _require(named, f"refuses, but names none of the ops {sorted(lacking)}: {error}")
        cell = program.ops()[named[0]].cell
        _require(str(cell) in str(error), f"refuses, but does not name the cell {cell}: {error}")
        able = registry.engines_with(named[0])
        _require(all(name in str(error) for name in able), f"refuses, but does not name the engines that can, {able}: {error}")
        return
    raise ContractViolation(f"compiles a program with {sorted(lacking)}, which it does not support; UnsupportedOp is due")


def draws_law(engine: Engine, law: str) -> None:
    """Some iterations of a chunk, those among them that lie in the tails."""
    program, total = program_of_law(law), CANONICAL_BLOCK
    if _lacks(engine, program):
        return
    job = Job(SEED, total)
    chunk = engine.run(engine.compile(program), job, 0, total)
    _require_form(chunk, program, total)
    order = np.argsort(chunk.payloads[0][0])
    looked_at = sorted({*range(8), *order[:8].tolist(), *order[-8:].tolist()})
    want = [reference.evaluate(program, job, iteration) for iteration in looked_at]
    _compare(_picked(chunk, looked_at), program, want, IN_A_ROW * _tolerance(program), Case("uniform", law, ()))


def simulates(engine: Engine, name: str) -> None:
    """Some iterations of a whole model, and all of them in two chunks."""
    program, total = program_of_model(name), 1_000
    if _lacks(engine, program):
        return
    executable, job = engine.compile(program), Job(SEED, total)
    chunk = engine.run(executable, job, 0, total)
    _require_form(chunk, program, total)
    looked_at = (*range(24), total - 1)
    want = [reference.evaluate(program, job, iteration) for iteration in looked_at]
    _compare(_picked(chunk, looked_at), program, want, IN_A_ROW * _tolerance(program), Case("model", name, ()))
    parts = [engine.run(executable, job, *piece) for piece in _ranges(total, 613)]
    _require_equal_runs(parts, [chunk], f"{name}, chunks of 613 iterations against one of {total}")


# Whole programs


def model() -> Program:
    """Draws, arithmetic, choices, tags, reductions and views in one program, with outputs of all forms."""
    builder = Builder()
    builder.cell = CELL
    emit = builder.append
    number = constant
    u = emit("uniform", site=Site("Contract", 3, 2), shape=BLOCK)
    single = emit("uniform", site=Site("Contract", 9, 9, 1), shape=(1, 1, 1, 1))
    normal = emit("normal_quantile", u)
    growth = emit("exp", emit("mul", normal, single))
    power = emit("power", growth, emit("add", single, number(1.5)))
    grid = emit("as_array", power)
    total = emit("sum", grid)
    share = emit("div", emit("transpose", grid), total)
    late = emit("less", emit("modulo", emit("iteration", shape=(1, 1, 1, 1)), number(7.0)), single)
    tag = emit("select", late, np.full((1, 1, 1, 1, 1), 8, np.uint8), np.zeros((1, 1, 1, 1, 1), np.uint8))
    chosen = emit("select", late, total, emit("log", single))
    last = emit("window", grid, rows=1, columns=1, height=1, width=2, row_step=0, column_step=0, top=1, left=1)
    slots: list[tuple[str, Ref, Ref | int]] = [
        ("share", share, 0),
        ("chosen", chosen, tag),
        ("last", last, 0),
        ("draws", emit("as_array", u), 0),
        ("single", single, 0),
    ]
    outputs = tuple(Slot(label, _cells_like(ref), ref, tagged, ANY_KIND) for label, ref, tagged in slots)
    return Program(tuple(builder.instructions), outputs, ())


def _cells_like(ref: Ref) -> RangeRef:
    return RangeRef(CELL.sheet, 1, 1, ref.shape[2], ref.shape[3])


def counting() -> Program:
    """Its only output is the index of the iteration."""
    return program_of(Case("iteration", "index", (), {"shape": (1, 1, 1, 1)}))


def drawing(site: Site) -> Program:
    return program_of(Case("uniform", "one site", (), {"site": site, "shape": (1, 1, 1, 1)}))


def _lacks(engine: Engine, program: Program) -> bool:
    """True, after the refusal was checked, where the engine does not have every op."""
    lacking = set(program.ops()) - engine.supports
    if lacking:
        _refuses(engine, program, lacking)
    return bool(lacking)


def _ranges(total: int, size: int) -> list[tuple[int, int]]:
    return [(first, min(size, total - first)) for first in range(0, total, size)]


def _pieced(chunks: Sequence[Chunk]) -> list[NDArray[np.float64]]:
    """Payloads and tags of consecutive chunks, each as one array of 8-byte floats."""
    columns = zip(*([*chunk.payloads, *(tag for tag in chunk.tags if tag is not None)] for chunk in chunks), strict=True)
    return [np.concatenate(parts, axis=1).astype(np.float64) for parts in columns]


def _require_equal_runs(found: Sequence[Chunk], want: Sequence[Chunk], what: str) -> None:
    for number, (one, other) in enumerate(zip(_pieced(found), _pieced(want), strict=True)):
        _require_same(one, other, 0.0, f"{what}, array {number}")


def is_available(engine: Engine) -> None:
    availability = engine.availability()
    if not availability.available:
        raise EngineUnavailable(f"engine {engine.name!r} cannot run here: {availability.reason}")


def refuses_unknown_op(engine: Engine) -> None:
    """Also an engine that has every op of today meets an op of tomorrow."""
    ref = Ref(0, (1, 1, 1, 1), "number")
    program = Program((Instruction("op_of_tomorrow", (), (ref,), CELL),), (Slot("output", CELL, ref, 0, 1),), ())
    _refuses(engine, program, {"op_of_tomorrow"})


def agrees_on_a_model(engine: Engine) -> None:
    """A chunk of three blocks, looked at where blocks begin and end."""
    program, total = model(), 3 * CANONICAL_BLOCK
    if _lacks(engine, program):
        return
    job = Job(SEED, total)
    chunk = engine.run(engine.compile(program), job, 0, total)
    _require_form(chunk, program, total)
    looked_at = (0, 1, 7, CANONICAL_BLOCK - 1, CANONICAL_BLOCK, CANONICAL_BLOCK + 1000, total - 1)
    want = [reference.evaluate(program, job, iteration) for iteration in looked_at]
    tolerance = IN_A_ROW * _tolerance(program)
    _compare(_picked(chunk, looked_at), program, want, tolerance, Case("model", f"iterations {looked_at}", ()))


def does_not_depend_on_chunks(engine: Engine) -> None:
    program, total = model(), 2 * CANONICAL_BLOCK + 17
    if _lacks(engine, program):
        return
    executable, job = engine.compile(program), Job(SEED, total)
    whole = [engine.run(executable, job, 0, total)]
    for size, upto in ((4099, total), (CANONICAL_BLOCK, total), (7, 700), (1, 64)):
        parts = [engine.run(executable, job, *piece) for piece in _ranges(upto, size)]
        start = [_picked(whole[0], range(upto))]
        _require_equal_runs(parts, start, f"chunks of {size} iterations against one of {total}")


def _picked(chunk: Chunk, iterations: Sequence[int]) -> Chunk:
    tags = tuple(None if tag is None else tag[:, iterations] for tag in chunk.tags)
    return Chunk(chunk.first, len(iterations), tuple(payload[:, iterations] for payload in chunk.payloads), tags)


def keeps_nothing_between_chunks(engine: Engine) -> None:
    """Forwards, backwards, twice, and with another job in between: the same; and results are the caller's own."""
    program = model()
    if _lacks(engine, program):
        return
    executable, job = engine.compile(program), Job(SEED, 5000)
    pieces = _ranges(5000, 1000)
    forwards = [engine.run(executable, job, *piece) for piece in pieces]
    kept = _pieced(forwards)
    engine.run(executable, Job(SEED + 1, 5000), 0, 1000)
    backwards = [engine.run(executable, job, *piece) for piece in reversed(pieces)][::-1]
    _require_equal_runs(backwards, forwards, "chunks in reverse order")
    for before, after in zip(kept, _pieced(forwards), strict=True):
        _require_same(after, before, 0.0, "a result after later chunks were run")


def runs_every_iteration(engine: Engine) -> None:
    program = counting()
    if _lacks(engine, program):
        return
    executable = engine.compile(program)
    for first, count in ((0, 1), (0, 5), (3, 1000), (CANONICAL_BLOCK, CANONICAL_BLOCK + 1), (2**40 + 1, 9)):
        chunk = engine.run(executable, Job(SEED, first + count), first, count)
        _require((chunk.first, chunk.count) == (first, count), f"asked for {count} from {first}, gave {chunk.count} from {chunk.first}")
        _require_form(chunk, program, count)
        want = np.arange(first, first + count, dtype=np.float64)[None]
        _require_same(chunk.payloads[0], want, 0.0, f"index of {count} iterations from {first}")


def runs_no_iteration(engine: Engine) -> None:
    program = model()
    if not _lacks(engine, program):
        executable = engine.compile(program)
        for first in (0, 5):
            _require_form(engine.run(executable, Job(SEED, 10), first, 0), program, 0)


def plain_uniforms(seed: int, site: Site, first: int, count: int) -> NDArray[np.float64]:
    """The definition of the draws, in plain NumPy: nothing of ultramc takes part."""
    sheet = int.from_bytes(blake2b(site.sheet.lower().encode(), digest_size=8).digest(), "little")
    key = np.array([seed, sheet], dtype=np.uint64)
    counter = np.array([first // 4, site.row, site.column, site.k], dtype=np.uint64)
    raw = np.random.Philox(key=key, counter=counter).random_raw(first % 4 + count)[first % 4 :]
    return np.asarray(((raw >> 12) + 0.5) * 2.0**-52, dtype=np.float64)


def draws_by_definition(engine: Engine) -> None:
    sites = Site("Contract", 1, 1), Site("Übersicht 2", 1_048_576, 16_384, 2**32 + 1)
    for site in sites:
        program = drawing(site)
        if _lacks(engine, program):
            return
        executable = engine.compile(program)
        for first in (0, 1, 4095, 2**31, 2**40 + 3):
            for seed in (0, SEED, LARGEST_SEED):
                found = engine.run(executable, Job(seed, first + 11), first, 11).payloads[0]
                _require_same(found, plain_uniforms(seed, site, first, 11)[None], 0.0, f"draws of {site} from {first} with seed {seed}")


def draws_as_the_sampling_says(engine: Engine) -> None:
    """Bit for bit those of the reference under every method, over several replicates, whatever the chunks."""
    program, total = model(), 16 * 625
    if _lacks(engine, program):
        return
    executable = engine.compile(program)
    looked_at = (0, 1, 624, 625, CANONICAL_BLOCK - 1, CANONICAL_BLOCK, total - 1)
    for name, sampling in SAMPLINGS.items():
        job = Job(SEED, total, sampling, program.sites())
        whole = [engine.run(executable, job, 0, total)]
        want = np.array([_draws(reference.evaluate(program, job, iteration)) for iteration in looked_at]).T
        _require_same(np.concatenate(whole[0].payloads[3:])[:, looked_at], want, 0.0, f"draws under {name} sampling")
        parts = [engine.run(executable, job, *piece) for piece in _ranges(total, 4099)]
        _require_equal_runs(parts, whole, f"{name} sampling, chunks of 4099 iterations against one of {total}")


def restores_strata(engine: Engine) -> None:
    """Tied draws bit for bit those of the reference: left alone, and in the strata of their ranks under Latin hypercube sampling."""
    (case,) = (case for case in CASES if case.op == "permute")
    program, total = program_of(case), 5
    if _lacks(engine, program):
        return
    executable = engine.compile(program)
    for sampling in (SAMPLINGS["sobol"], SAMPLINGS["latin_hypercube"]):
        job = Job(SEED, total, sampling, TIE.sites)
        want = np.array([[reference.evaluate(program, job, iteration)[0][0][0] for iteration in range(total)]])
        found = [engine.run(executable, job, *piece) for piece in _ranges(total, 2)]
        _require_same(np.concatenate([chunk.payloads[0] for chunk in found], axis=1), want, 0.0, f"tied draws under {sampling.name}")


def _draws(outcome: Sequence[tuple[Sequence[float], Sequence[float]]]) -> list[float]:
    """Those of the model's outputs that are the uniforms themselves."""
    return [number for payload, _ in outcome[3:] for number in payload]


def repeats_with_the_seed(engine: Engine) -> None:
    program = model()
    if _lacks(engine, program):
        return
    runs = [engine.run(engine.compile(program), Job(seed, 500), 0, 500) for seed in (SEED, SEED, SEED + 1)]
    _require_equal_runs(runs[1:2], runs[:1], "the same seed, compiled again")
    _require(not np.array_equal(runs[2].payloads[3], runs[0].payloads[3]), "another seed gives the same draws")


def does_not_depend_on_threads(engine: Engine) -> None:
    program = model()
    if _lacks(engine, program):
        return
    executable, total = engine.compile(program), 6 * CANONICAL_BLOCK + 100
    job = Job(SEED, total)
    pieces = _ranges(total, CANONICAL_BLOCK)
    alone = [engine.run(executable, job, *piece) for piece in pieces]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda piece: engine.run(executable, job, *piece), pieces))
    _require_equal_runs(together, alone, "four threads against one")
    received: list[Chunk] = []
    suited, size = fitted(engine, executable, MEMORY)
    with Threads(engine, suited, job, lambda: False) as crew:
        execute(crew, total, Pace.fixed(size), received.append)
    _require_equal_runs(received, alone, "the chunk loop against chunks one by one")


def mutates_nothing(engine: Engine) -> None:
    """Constants of the program and attributes of its instructions are as before."""
    for case in CASES:
        program = program_of(case)
        if set(program.ops()) <= engine.supports:
            before = _snapshot(program)
            engine.run(engine.compile(program), Job(SEED, case.iterations), 0, case.iterations)
            _require(_snapshot(program) == before, f"{case.op}, {case.id}: constants or attributes of the program were changed")


def _snapshot(program: Program) -> list[object]:
    constants = [operand.tobytes() for each in program.instructions for operand in each.operands if isinstance(operand, np.ndarray)]
    return [constants, [tuple(each.attributes) for each in program.instructions], str(program)]


def computes_by_itself(engine: Engine) -> None:
    """While it compiles and runs, every other engine is out of order."""
    program = model()
    if _lacks(engine, program):
        return
    with ExitStack() as broken:
        for other in _others(engine):
            for method in ("compile", "run"):
                broken.enter_context(patch.object(other, method, _out_of_order(engine.name, other.name)))
        engine.run(engine.compile(program), Job(SEED, 100), 0, 100)


def _others(engine: Engine) -> list[type[Engine]]:
    classes = {type(registry.engine(info.name)) for info in registry.available_engines() if info.available}
    return [other for other in classes if not isinstance(engine, other)]


def _out_of_order(name: str, other: str) -> Callable[..., Executable]:
    def fail(*arguments: object, **keywords: object) -> Executable:
        raise ContractViolation(f"engine {name!r} uses engine {other!r}; none falls back to another")

    return fail


def says_what_it_needs(engine: Engine) -> None:
    """Bytes, blocks and threads are whole numbers that the chunk loop can use."""
    program = model()
    if _lacks(engine, program):
        return
    executable = engine.compile(program)
    for what, number in {
        "bytes_per_iteration": engine.bytes_per_iteration(executable),
        "chunk_blocks": engine.chunk_blocks(executable),
        "threads": engine.threads,
    }.items():
        _require(isinstance(number, int) and number >= 1, f"{what} is {number!r}; a whole number of at least 1 is needed")


def compiles_once(engine: Engine) -> None:
    """Seed, total and range are the job's: one executable serves them all, in any order of size."""
    program = program_of(Case("mul", "compiled once", (simulated((1.0, 2.0, 3.0)), fixed(spread((1, 1, 2, 2), 1), (1, 1, 2, 2)))))
    if _lacks(engine, program):
        return
    executable = engine.compile(program)
    want = [reference.evaluate(program, Job(SEED, 3), iteration) for iteration in range(3)]
    for count in (3, 1, 2, 3):
        _compare(engine.run(executable, Job(SEED, count), 0, count), program, want[:count], 0.0, Case("mul", f"{count} iterations", ()))


CHECKS = MappingProxyType(
    {
        check.__name__: check
        for check in (
            is_available,
            says_what_it_needs,
            refuses_unknown_op,
            agrees_on_a_model,
            does_not_depend_on_chunks,
            does_not_depend_on_threads,
            keeps_nothing_between_chunks,
            compiles_once,
            runs_every_iteration,
            runs_no_iteration,
            draws_by_definition,
            draws_as_the_sampling_says,
            restores_strata,
            repeats_with_the_seed,
            mutates_nothing,
            computes_by_itself,
        )
    }
)
