"""The contract is worth what it catches: engines that are wrong on purpose, and the check that must go red for each."""

import subprocess
import sys
import time
from hashlib import blake2b

import numpy as np
import pytest
from attrs import evolve

import ultramc as mc
from ultramc.contract import CASES, ContractViolation, engine_checks
from ultramc.contract.cases import ops_without_case, program_of
from ultramc.contract.checks import differing, plain_uniforms
from ultramc.contract.laws import LAWS
from ultramc.engines.base import Engine
from ultramc.engines.on_numpy import NumPyEngine
from ultramc.errors import UltramcError, UnsupportedOp
from ultramc.ops import OPS
from ultramc.program import Ref
from ultramc.sampling import RANDOM, Site


class Faithful(Engine):
    """Wraps the NumPy engine and changes nothing; the wrong ones change one thing."""

    name = "faithful"
    supports = NumPyEngine.supports

    def __init__(self):
        self.inner = NumPyEngine(threads=2)

    def availability(self):
        return self.inner.availability()

    def compile(self, program):
        self.refuse_unsupported(program)
        return self.inner.compile(program)

    def run(self, executable, job, first, count):
        return self.inner.run(executable, job, first, count)

    def bytes_per_iteration(self, executable):
        return self.inner.bytes_per_iteration(executable)


def with_payloads(chunk, change):
    return evolve(chunk, payloads=tuple(change(payload) for payload in chunk.payloads))


class Drifts(Faithful):
    """One unit in the last place."""

    def run(self, *arguments):
        return with_payloads(super().run(*arguments), lambda x: np.nextafter(x, np.inf))


class DriftsBeyondTolerance(Faithful):
    def run(self, *arguments):
        return with_payloads(super().run(*arguments), lambda x: x * (1 + 1e-12))


class SwallowsNaN(Faithful):
    def run(self, *arguments):
        return with_payloads(super().run(*arguments), lambda x: np.where(np.isnan(x), 0.0, x))


class SwallowsInfinity(Faithful):
    def run(self, *arguments):
        return with_payloads(super().run(*arguments), np.nan_to_num)


class LosesTheSignOfZero(Faithful):
    def run(self, *arguments):
        return with_payloads(super().run(*arguments), lambda x: x + 0.0)


class SinglePrecision(Faithful):
    def run(self, *arguments):
        with np.errstate(over="ignore"):
            return with_payloads(super().run(*arguments), lambda x: x.astype(np.float32).astype(np.float64))


class GivesSinglePrecision(Faithful):
    def run(self, *arguments):
        return with_payloads(super().run(*arguments), lambda x: x.astype(np.float32))


class KeepsState(Faithful):
    """As an engine with a generator of its own would."""

    runs = 0

    def run(self, executable, job, first, count):
        self.runs += 1
        return self.inner.run(executable, evolve(job, seed=(job.seed + self.runs) % 2**64), first, count)


class ReusesItsResults(Faithful):
    """Gives away views of buffers that the next chunk writes over."""

    def __init__(self):
        super().__init__()
        self.kept = {}

    def run(self, *arguments):
        def kept(payload):
            buffer = self.kept.setdefault(payload.shape, payload)
            buffer[:] = payload
            return buffer

        return with_payloads(super().run(*arguments), kept)


class DrawsOffByOne(Faithful):
    def run(self, executable, job, first, count):
        return evolve(self.inner.run(executable, job, first + 1, count), first=first)


class CutsTheTail(Faithful):
    """A millionth, of the largest value only."""

    def run(self, *arguments):
        return with_payloads(super().run(*arguments), lambda x: np.where(x == x.max(initial=-np.inf), x * (1 - 1e-6), x))


class RestartsEachChunk(Faithful):
    def run(self, executable, job, first, count):
        return evolve(self.inner.run(executable, job, 0, count), first=first)


class IgnoresTheSeed(Faithful):
    def run(self, executable, job, first, count):
        return self.inner.run(executable, evolve(job, seed=1), first, count)


class LosesHighBitsOfTheSeed(Faithful):
    def run(self, executable, job, first, count):
        return self.inner.run(executable, evolve(job, seed=job.seed % 2**32), first, count)


class IgnoresTheSampling(Faithful):
    def run(self, executable, job, first, count):
        return self.inner.run(executable, evolve(job, sampling=RANDOM), first, count)


class TakesTheChunkForTheRun(Faithful):
    """Replicates of what is at hand, not of the whole."""

    def run(self, executable, job, first, count):
        return evolve(self.inner.run(executable, evolve(job, iterations=count), 0, count), first=first)


class ReducesInAnotherOrder(Faithful):
    """Down the columns."""

    def compile(self, program):
        instructions = []
        for instruction in program.instructions:
            if instruction.op == "sum":
                rows, columns, height, width = instruction.operands[0].shape[:4]
                turned = Ref(1_000_000 + len(instructions), (rows, columns, width, height), "number")
                instructions.append(evolve(instruction, op="transpose", results=(turned,)))
                instruction = evolve(instruction, operands=(turned,))
            instructions.append(instruction)
        return super().compile(evolve(program, instructions=tuple(instructions)))


class MutatesConstants(Faithful):
    def run(self, executable, job, first, count):
        chunk = super().run(executable, job, first, count)
        for instruction in executable.program.instructions:
            for operand in instruction.operands:
                if isinstance(operand, np.ndarray) and operand.flags.writeable and operand.dtype == np.float64:
                    operand += 1.0
        return chunk


class IgnoresTags(Faithful):
    def run(self, *arguments):
        chunk = super().run(*arguments)
        return evolve(chunk, tags=tuple(None if tag is None else np.zeros_like(tag) for tag in chunk.tags))


class DropsTags(Faithful):
    def run(self, *arguments):
        chunk = super().run(*arguments)
        return evolve(chunk, tags=(None,) * len(chunk.tags))


class RunsHalf(Faithful):
    """And says that it did all."""

    def run(self, executable, job, first, count):
        chunk = self.inner.run(executable, job, first, (count + 1) // 2)
        return evolve(with_payloads(chunk, lambda x: np.resize(x, (len(x), count))), count=count)


class SaysThatItRanHalf(Faithful):
    def run(self, executable, job, first, count):
        return self.inner.run(executable, job, first, (count + 1) // 2)


class SlipsAfterTheFirstBlock(Faithful):
    def run(self, executable, job, first, count):
        chunk = super().run(executable, job, first, count)
        return with_payloads(chunk, lambda x: np.where(np.arange(first, first + count) < 5000, x, x * 1.5))


class RefusesAtRun(Faithful):
    """An op that it lacks is noticed too late."""

    supports = NumPyEngine.supports - {"tanh"}

    def compile(self, program):
        return self.inner.compile(program)

    def run(self, executable, job, first, count):
        self.refuse_unsupported(executable.program)
        return super().run(executable, job, first, count)


class RefusesWithoutReason(Faithful):
    supports = NumPyEngine.supports - {"tanh"}

    def compile(self, program):
        if "tanh" in program.ops():
            raise UnsupportedOp("no")
        return self.inner.compile(program)


class CompilesAnything(Faithful):
    def compile(self, program):
        return self.inner.compile(program) if set(program.ops()) <= self.supports else None


class SharesItsScratch(Faithful):
    """One set of buffers for all threads: here, the range that is being run."""

    def run(self, executable, job, first, count):
        self.first = first
        time.sleep(0.002)
        return evolve(self.inner.run(executable, job, self.first, count), first=first)


class LosesItsWayInLongPrograms(Faithful):
    """As one would that keeps too few values at hand."""

    def compile(self, program):
        return program, super().compile(program)

    def run(self, executable, *arguments):
        program, plan = executable
        chunk = super().run(plan, *arguments)
        return with_payloads(chunk, lambda x: x + 1) if len(program.instructions) > 100 else chunk


class HasNoThreads(Faithful):
    @property
    def threads(self):
        return 0


class IsNotThere(Faithful):
    def availability(self):
        return evolve(self.inner.availability(), available=False, reason="no such device; install one")


WRONG = [
    (Drifts, "agrees: add, special values"),
    (DriftsBeyondTolerance, "agrees: exp, special values"),
    (SwallowsNaN, "agrees: mul, special values"),
    (SwallowsInfinity, "agrees: div, special values"),
    (LosesTheSignOfZero, "agrees: neg, special values"),
    (SinglePrecision, "agrees: sqrt, special values"),
    (GivesSinglePrecision, "runs_every_iteration"),
    (KeepsState, "keeps_nothing_between_chunks"),
    (ReusesItsResults, "keeps_nothing_between_chunks"),
    (DrawsOffByOne, "draws_by_definition"),
    (DrawsOffByOne, "agrees: uniform, cell"),
    (DrawsOffByOne, "draws: Normal(100, 15)"),
    (CutsTheTail, "draws: Gamma(2.5, 1.5)"),
    (RestartsEachChunk, "does_not_depend_on_chunks"),
    (IgnoresTheSeed, "repeats_with_the_seed"),
    (IgnoresTheSampling, "draws_as_the_sampling_says"),
    (TakesTheChunkForTheRun, "draws_as_the_sampling_says"),
    (LosesHighBitsOfTheSeed, "draws_by_definition"),
    (ReducesInAnotherOrder, "agrees: sum, order"),
    (MutatesConstants, "mutates_nothing"),
    (MutatesConstants, "compiles_once"),
    (IgnoresTags, "agrees: first_error, each with each"),
    (DropsTags, "agrees: first_error, each with each"),
    (RunsHalf, "runs_every_iteration"),
    (LosesItsWayInLongPrograms, "simulates: project"),
    (DropsTags, "simulates: errors and text"),
    (DrawsOffByOne, "simulates: generated 3"),
    (SaysThatItRanHalf, "runs_every_iteration"),
    (SlipsAfterTheFirstBlock, "agrees_on_a_model"),
    (RefusesAtRun, "agrees: tanh, special values"),
    (RefusesWithoutReason, "agrees: tanh, special values"),
    (CompilesAnything, "refuses_unknown_op"),
    (SharesItsScratch, "does_not_depend_on_threads"),
    (HasNoThreads, "says_what_it_needs"),
    (Faithful, "computes_by_itself"),
]


@pytest.mark.parametrize(("wrong", "name"), WRONG, ids=lambda value: getattr(value, "__name__", value))
def test_a_wrong_engine_is_caught(wrong, name):
    check = dict(engine_checks(wrong()))[name]
    with pytest.raises((ContractViolation, UltramcError)):
        check()


def test_a_missing_engine_is_caught():
    with pytest.raises(UltramcError, match="no such device; install one"):
        dict(engine_checks(IsNotThere()))["is_available"]()


@pytest.mark.parametrize("name", [name for name, _ in engine_checks(Faithful()) if name != "computes_by_itself"])
def test_a_faithful_wrapper_passes(name):
    dict(engine_checks(Faithful()))[name]()


class RefusesCleanly(Faithful):
    supports = NumPyEngine.supports - {"tanh", "scalar_call"}


@pytest.mark.parametrize("name", ["agrees: tanh, special values", "agrees: scalar_call, tag", "agrees: add, special values"])
def test_a_clean_refusal_passes(name):
    dict(engine_checks(RefusesCleanly()))[name]()


def test_every_op_has_a_case_and_every_case_its_op():
    assert ops_without_case() == set()
    assert {case.op for case in CASES} <= set(OPS)
    for case in CASES:
        assert case.op in program_of(case).ops(), case


def test_every_distribution_is_drawn():
    """By name, as the public names of ultramc say."""
    public = {name for name in mc.__all__ if isinstance(getattr(mc, name), type) and issubclass(getattr(mc, name), mc.Distribution)}
    assert {law.split("(")[0] for law in LAWS} == public - {"Distribution", "FromSciPy"}


def test_names_of_checks_are_unique():
    names = [name for name, _ in engine_checks(NumPyEngine())]
    assert len(names) == len(set(names))


def test_an_engine_that_is_asked_for_and_missing_fails(pytester_run):
    status, output = pytester_run("--engines=numpy,no_such_engine", "-k", "tanh or no_such_engine")
    assert status == 1
    assert "no engine 'no_such_engine'" in output
    assert "engines: numpy, no_such_engine; not run: " in output


@pytest.fixture
def pytester_run(repository):
    def run(*arguments):
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/contract/test_contract.py", *arguments]
        done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.mark.parametrize(
    ("found", "want", "tolerance", "differs"),
    [
        (np.nan, np.nan, 0.0, False),
        (np.nan, 0.0, 0.0, True),
        (0.0, np.nan, 1e-9, True),
        (0.0, -0.0, 0.0, True),
        (0.0, -0.0, 1e-9, False),
        (np.inf, np.inf, 1e-9, False),
        (np.inf, -np.inf, 1e-9, True),
        (1e308, np.inf, 1e-9, True),
        (np.inf, 1e308, 1e-9, True),
        (1.0, np.nextafter(1.0, 2.0), 0.0, True),
        (1.0, np.nextafter(1.0, 2.0), 1e-13, False),
        (1.0 + 1e-12, 1.0, 1e-13, True),
        (1e-300, 0.0, 1e-9, True),
    ],
)
def test_what_counts_as_different(found, want, tolerance, differs):
    assert differing(np.array([[found]]), np.array([[want]]), tolerance).item() is differs


def test_draws_far_out_follow_from_those_at_the_start():
    """The checks' own oracle steps over blocks by the counter; here it is held against five lines that do not."""
    site = Site("S", 1, 1)
    key = np.array([7, int.from_bytes(blake2b(b"s", digest_size=8).digest(), "little")], dtype=np.uint64)
    raw = np.random.Philox(key=key, counter=np.array([0, 1, 1, 0], dtype=np.uint64)).random_raw(20)
    assert plain_uniforms(7, site, 6, 14).tolist() == (((raw >> 12) + 0.5) * 2.0**-52)[6:].tolist()
