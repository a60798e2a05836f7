"""Runs that are killed, run out of disk, or meet another's checkpoint. Real processes, real signals; the bits are those of one run."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from workbooks import workbook

import ultramc as mc
from ultramc.contract.cases import CASES
from ultramc.engines.on_numpy import NumPyEngine
from ultramc.identity import _pieces, program_hash
from ultramc.testing import Recorder, assert_progress_contract

MODEL = {"A1": 100, "A2": 0.05, "B1": "=A1*(1+A2)^2", "B2": "=IF(A1>150,1/0,B1+1)", "B3": '=IF(A1>100,"high",A1)'}
INPUTS = {"A1": mc.Uniform(50, 160), "A2": mc.Uniform(0, 0.1)}
OUTPUTS = ("B1", "B2", "B3")
BOOK = workbook(MODEL)
SEED, COUNT, CHUNK = 5, 40_001, 1_000
LONG = 60  # seconds until a test that waits gives up


def simulation(inputs=INPUTS, **options):
    return mc.Simulation(BOOK, inputs=inputs, outputs=list(OUTPUTS), **options)


@pytest.fixture(scope="module")
def sim():
    return simulation()


@pytest.fixture(scope="module")
def expected(sim):
    return bits(sim.run(COUNT, seed=SEED))


def bits(result):
    columns = [variable.column for variable in (*result.outputs.values(), *result.inputs.values())]
    return [array.tobytes() for column in columns for array in (column.samples, column.tags) if array is not None]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "checkpoint"


def every_chunk(folder):
    return mc.Checkpoint(folder, interval=0)


def cancelled(sim, folder, after, **options):
    """A run that is cancelled once so many iterations are done. Its partial result."""
    token = mc.CancelToken()
    with pytest.raises(mc.SimulationCancelled) as caught:
        sim.run(
            COUNT,
            chunk=CHUNK,
            interval=0,
            cancel=token,
            progress=lambda event: token.cancel() if event.done >= after else None,
            **{"seed": SEED, "checkpoint": every_chunk(folder)} | options,
        )
    return caught.value.result


def manifest(folder):
    return json.loads((folder / "manifest.json").read_text())


class TestGoingOn:
    def test_after_a_cancellation(self, sim, folder, expected):
        done = cancelled(sim, folder, 3_000).iterations
        seen = Recorder()
        assert bits(sim.run(COUNT, seed=SEED, checkpoint=folder, progress=seen, interval=0)) == expected
        assert_progress_contract(seen, interval=0)
        assert {event.attempt for event in seen} == {2}
        assert next(event for event in seen if event.phase == "sample").phase_done == done
        assert min(event.done for event in seen) == done >= 3_000

    def test_nothing_is_computed_twice_but_what_is_compared(self, sim, folder, expected):
        done = cancelled(sim, folder, 3_000).iterations
        engine = Counting()
        assert bits(sim.run(COUNT, engine=engine, checkpoint=folder, validate=False)) == expected
        assert engine.ranges[0] == (0, 64)
        assert engine.ranges[1][0] == done
        assert sum(count for _, count in engine.ranges[1:]) == COUNT - done

    def test_a_finished_one_gives_its_result_at_once(self, sim, folder, expected):
        sim.run(COUNT, seed=SEED, checkpoint=folder)
        engine = Counting()
        assert bits(sim.run(COUNT, engine=engine, checkpoint=folder, validate=False)) == expected
        assert engine.ranges == [(0, 64)]

    def test_the_seed_that_was_drawn_is_kept(self, sim, folder):
        first = cancelled(sim, folder, 3_000, seed=None)
        assert sim.run(COUNT, checkpoint=folder).seed == first.seed

    @pytest.mark.parametrize("sampling", ["antithetic", "latin_hypercube", "sobol"])
    def test_every_sampling(self, sim, folder, sampling):
        options = {"seed": SEED, "sampling": sampling}
        token = mc.CancelToken()
        with pytest.raises(mc.SimulationCancelled):
            sim.run(
                2**13, checkpoint=every_chunk(folder), chunk=CHUNK, interval=0, cancel=token,
                progress=lambda event: token.cancel() if event.done else None, **options,
            )  # fmt: skip
        assert bits(sim.run(2**13, checkpoint=folder, **options)) == bits(sim.run(2**13, **options))

    def test_in_the_background(self, sim, folder, expected):
        cancelled(sim, folder, 3_000)
        assert bits(sim.start(COUNT, seed=SEED, checkpoint=folder).result(LONG)) == expected

    def test_large_parts_are_cut(self, sim, folder, expected, monkeypatch):
        monkeypatch.setattr("ultramc.checkpoint.LARGEST_PART", 100_000)
        sim.run(COUNT, seed=SEED, checkpoint=folder)
        sizes = [path.stat().st_size for path in folder.glob("part-*")]
        assert len(sizes) > 10
        assert max(sizes) < 102_000
        assert bits(sim.run(COUNT, checkpoint=folder)) == expected

    def test_what_there_is_no_time_to_write_is_computed_again(self, sim, folder, expected, monkeypatch):
        monkeypatch.setattr("ultramc.checkpoint.MOMENT", 0)
        sim.run(COUNT, seed=SEED, checkpoint=mc.Checkpoint(folder, share=1e-9))
        assert done_in(folder) == 0
        assert bits(sim.run(COUNT, checkpoint=folder)) == expected

    def test_what_is_cancelled_is_written_all_the_same(self, sim, folder, monkeypatch):
        monkeypatch.setattr("ultramc.checkpoint.MOMENT", 0)
        done = cancelled(sim, folder, 3_000, checkpoint=mc.Checkpoint(folder, share=1e-9)).iterations
        assert done_in(folder) == done


class Counting(NumPyEngine):
    """Remembers what it was asked for."""

    def __init__(self):
        super().__init__(threads=1)
        self.ranges = []

    def run(self, executable, job, first, count):
        self.ranges.append((first, count))
        return super().run(executable, job, first, count)


class Different(NumPyEngine):
    """As on a machine whose libraries differ in the last bit."""

    def run(self, executable, job, first, count):
        chunk = super().run(executable, job, first, count)
        chunk.payloads[0][0, 0] = np.nextafter(chunk.payloads[0][0, 0], np.inf)
        return chunk


OTHERS = {
    "seed": (simulation, {"seed": SEED + 1}),
    "iterations": (simulation, {"iterations": COUNT + 1}),
    "sampling": (simulation, {"sampling": mc.Antithetic()}),
    "inputs A1": (lambda: simulation({**INPUTS, "A1": mc.Uniform(50, 161)}), {}),
    "outputs B3": (lambda: mc.Simulation(BOOK, inputs=INPUTS, outputs=["B1", "B2"]), {}),
    "workbook_sha256": (lambda: mc.Simulation(workbook({**MODEL, "A3": 1}), inputs=INPUTS, outputs=list(OUTPUTS)), {}),
    "program": (lambda: mc.Simulation(workbook({**MODEL, "B1": "=A1*(1+A2)^3"}), inputs=INPUTS, outputs=list(OUTPUTS)), {}),
}


class TestRefusal:
    @pytest.mark.parametrize("named", OTHERS)
    def test_another_run(self, sim, folder, named):
        cancelled(sim, folder, 3_000)
        made, options = OTHERS[named]
        with pytest.raises(mc.CheckpointMismatch, match=rf"(: |; ){named} was .*another folder"):
            made().run(checkpoint=folder, **{"iterations": COUNT, "seed": SEED} | options)
        assert sim.run(COUNT, checkpoint=folder).iterations == COUNT

    def test_another_engine(self, sim, folder):
        cancelled(sim, folder, 3_000)
        engine = NumPyEngine()
        engine.name = "other"
        with pytest.raises(mc.CheckpointMismatch, match="engine was 'numpy', is 'other'"):
            sim.run(COUNT, engine=engine, checkpoint=folder, validate=False)

    @pytest.mark.parametrize("name", ["ultramc", "numpy", "transcendentals"])
    def test_another_fingerprint(self, sim, folder, name):
        cancelled(sim, folder, 3_000)
        stored = manifest(folder)
        stored["identity"]["fingerprint"][name] = "0.0.1"
        (folder / "manifest.json").write_text(json.dumps(stored))
        with pytest.raises(mc.CheckpointMismatch, match=f"fingerprint {name} was '0.0.1'"):
            sim.run(COUNT, checkpoint=folder)

    def test_other_bits(self, sim, folder):
        cancelled(sim, folder, 3_000)
        with pytest.raises(mc.CheckpointMismatch, match="now gives other bits"):
            sim.run(COUNT, engine=Different(), checkpoint=folder, validate=False)

    def test_two_at_once(self, sim, folder):
        refused = []

        def second(event):
            if event.done and not refused:
                with pytest.raises(mc.CheckpointError, match="another run is at work") as caught:
                    sim.run(COUNT, checkpoint=folder)
                refused.append(caught.value)

        assert sim.run(COUNT, seed=SEED, checkpoint=every_chunk(folder), chunk=CHUNK, interval=0, progress=second).callback_errors == ()
        assert refused

    def test_a_folder_of_other_things(self, sim, tmp_path):
        (tmp_path / "thesis.txt").write_text("mine")
        with pytest.raises(mc.CheckpointError, match=r"other files \(thesis.txt\)"):
            sim.run(COUNT, checkpoint=tmp_path)

    def test_a_strange_manifest(self, sim, folder):
        folder.mkdir()
        (folder / "manifest.json").write_text('{"format": "another"')
        with pytest.raises(mc.CheckpointError, match="is no manifest that this ultramc reads"):
            sim.run(COUNT, checkpoint=folder)

    @pytest.mark.parametrize("option", [{"interval": -1}, {"share": 0}, {"share": 2}], ids=str)
    def test_an_option_that_makes_no_sense(self, option):
        with pytest.raises(mc.InputError, match="{}={}".format(*next(iter(option.items())))):
            mc.Checkpoint("here", **option)


DAMAGE = {
    "truncated": lambda data: data[:-9],
    "empty": lambda data: b"",
    "one bit": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
}


class TestDamage:
    @pytest.mark.parametrize("how", DAMAGE)
    def test_is_noticed_and_computed_again_once_the_file_is_deleted(self, sim, folder, expected, how):
        cancelled(sim, folder, 6_000)
        part = folder / f"part-{3 * CHUNK}-{4 * CHUNK}.npy"
        part.write_bytes(DAMAGE[how](part.read_bytes()))
        with pytest.raises(mc.CheckpointError, match=f"{part.name} is damaged.*delete this file"):
            sim.run(COUNT, checkpoint=folder)
        part.unlink()
        seen = Recorder()
        assert bits(sim.run(COUNT, checkpoint=folder, progress=seen)) == expected
        assert_progress_contract(seen)
        assert seen[0].done == 3 * CHUNK

    def test_what_was_never_finished_goes(self, sim, folder, expected):
        cancelled(sim, folder, 3_000)
        strays = [folder / name for name in (".part-9-10.npy.ab.tmp", "part-9-10.npy", ".manifest.json.ab.tmp")]
        for path in strays:
            path.write_bytes(b"half")
        assert bits(sim.run(COUNT, checkpoint=folder)) == expected
        assert not any(path.exists() for path in strays)


HEAD = """
import os, resource, sys
import ultramc as mc
inputs = {"A1": mc.Uniform(50, 160), "A2": mc.Uniform(0, 0.1)}
sim = mc.Simulation(sys.argv[1], inputs=inputs, outputs=["B1", "B2", "B3"])
"""
RUNS = """
import time
print("ready", flush=True)
sim.run(40_001, seed=5, engine="numpy", chunk=200, checkpoint=mc.Checkpoint(sys.argv[2], 0), interval=0,
        progress=lambda event: time.sleep(0.005))
"""
SUMMARY_RUNS = """
import time
print("ready", flush=True)
sim.run(300_001, seed=5, engine="numpy", keep="summary", chunk=4_000, checkpoint=mc.Checkpoint(sys.argv[2], 0), interval=0,
        progress=lambda event: time.sleep(0.005))
"""
FULL = """
resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000))
try:
    sim.run(40_001, seed=5, engine="numpy", chunk=50, checkpoint=mc.Checkpoint(sys.argv[2], 0))
except mc.CheckpointError as error:
    print(error, error.run.state, error.run.iterations > 0)
"""
READ_ONLY = """
from ultramc.identity import fingerprint
sim.run(10), fingerprint()  # all is loaded before the right to read it may go
if os.geteuid() == 0:
    os.seteuid(65534)
try:
    sim.run(40_001, seed=5, checkpoint=sys.argv[2], progress=lambda event: print(event.phase) if event.phase == "sample" else None)
except mc.CheckpointError as error:
    print(error, error.run)
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.xlsx"
    path.write_bytes(BOOK)
    return path


def started(script, *arguments):
    return subprocess.Popen([sys.executable, "-c", HEAD + script, *map(str, arguments)], stdout=subprocess.PIPE, text=True)


def output(script, *arguments):
    with started(script, *arguments) as process:
        text = process.communicate(timeout=LONG)[0]
    assert process.returncode == 0
    return text


def done_in(folder):
    stored = mc.Checkpoint(folder).stored()
    return stored.done if stored else 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
class TestKilled:
    def test_twenty_times_in_a_row(self, model, folder, expected):
        """Each some way after it was ready, so that start, parts and manifests are hit; what is done never shrinks."""
        chance, done = random.Random(1), [0]
        for _ in range(20):
            with started(RUNS, model, folder) as process:
                process.stdout.readline()
                time.sleep(chance.uniform(0.0, 0.4))
                process.kill()
            assert process.returncode in (0, -signal.SIGKILL)
            done.append(done_in(folder))
        assert all(later >= earlier for earlier, later in pairwise(done))
        assert sum(later > earlier for earlier, later in pairwise(done)) > 3
        assert bits(simulation().run(COUNT, checkpoint=folder)) == expected


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
class TestWriting:
    def test_a_full_disk_keeps_what_was_finished(self, model, folder, expected):
        """Parts are smaller than the limit; the manifest, which grows with each, comes to it."""
        said = output(FULL, model, folder)
        assert re.search(r"cannot write to checkpoint .*Make room.* failed True$", said)
        assert 0 < done_in(folder) < COUNT
        assert bits(simulation().run(COUNT, checkpoint=folder)) == expected

    def test_a_folder_that_may_not_be_written(self, model):
        with tempfile.TemporaryDirectory() as parent:
            Path(parent).chmod(0o555)
            said = output(READ_ONLY, model, Path(parent) / "checkpoint")
            Path(parent).chmod(0o755)
        assert re.match(r"cannot write to checkpoint .* allow writing.* None$", said)


def test_every_op_has_a_hash_that_a_run_leaves_alone():
    for case in CASES:
        list(_pieces(case.attributes))
    book = workbook({"A1": 1, "B1": "=YIELD(45000,47000,0.05,95+A1,100,2)", "B2": '=IF(A1>1,"more",TEXT(2,"0.0"))'})
    sim = mc.Simulation(book, inputs={"A1": mc.Uniform(0, 2)}, outputs=["B1", "B2"])
    before = program_hash(sim.compiled.program)
    sim.run(100, seed=1, check="off")
    assert program_hash(sim.compiled.program) == before
    assert program_hash(mc.Simulation(book, inputs={"A1": mc.Uniform(0, 2)}, outputs=["B1", "B2"]).compiled.program) == before


def test_the_hash_of_a_program_is_the_same_in_another_process(sim, model):
    script = "from ultramc.identity import _pieces, program_hash; print(program_hash(sim.compiled.program))"
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", HEAD + script, str(model)], capture_output=True, text=True, env=environment, check=True, timeout=LONG
    )
    assert done.stdout.strip() == program_hash(sim.compiled.program)


# Summaries


LONGER = 300_001  # more than four stretches of 65,536


def digests(result, tmp_path):
    """All that a summary is made of, as its file holds it."""
    result.save(tmp_path / "result.npz")
    with np.load(tmp_path / "result.npz") as archive:
        described = json.loads(archive["metadata"].tobytes())
        return [described["inputs"], described["outputs"], {name: archive[name].tobytes() for name in archive.files if name != "metadata"}]


@pytest.fixture(scope="module")
def whole(sim, tmp_path_factory):
    return digests(sim.run(LONGER, seed=SEED, keep="summary", engine="numpy"), tmp_path_factory.mktemp("whole"))


class TestSummaries:
    def stop(self, sim, folder, after, **options):
        token = mc.CancelToken()
        options = {"seed": SEED, "keep": "summary", "engine": "numpy", "checkpoint": every_chunk(folder), "chunk": 10_000} | options
        with pytest.raises(mc.SimulationCancelled):
            sim.run(LONGER, cancel=token, interval=0, progress=lambda event: token.cancel() if event.done >= after else None, **options)

    @pytest.mark.parametrize("after", [60_000, 70_000, 200_000, 290_000])
    def test_go_on_with_the_same_bits(self, sim, folder, whole, tmp_path, after):
        self.stop(sim, folder, after)
        parts = [path.name for path in folder.glob("part-*")]
        assert parts == ([f"part-0-{mc.Checkpoint(folder).stored().done}.npy"] if after > 65_536 + 10_000 else parts[:1])
        assert digests(sim.run(LONGER, keep="summary", engine="numpy", checkpoint=folder), tmp_path) == whole

    @pytest.mark.parametrize("sampling", ["antithetic", "latin_hypercube", "sobol", mc.LatinHypercube(replicates=1)])
    def test_of_every_sampling(self, sim, folder, tmp_path, sampling):
        options = {"keep": "summary", "sampling": sampling, "engine": "numpy"}
        self.stop(sim, folder, 150_000, sampling=sampling)
        resumed = digests(sim.run(LONGER, checkpoint=folder, **options), tmp_path)
        assert resumed == digests(sim.run(LONGER, seed=SEED, **options), tmp_path)

    def test_a_finished_one_gives_its_result_at_once(self, sim, folder, whole, tmp_path):
        class Counted(NumPyEngine):
            executed = 0

            def run(self, executable, job, first, count):
                self.executed += count
                return super().run(executable, job, first, count)

        engine = Counted()
        for _ in range(2):
            result = sim.run(LONGER, seed=SEED, keep="summary", engine=engine, validate=False, checkpoint=folder)
        assert digests(result, tmp_path) == whole
        assert engine.executed == LONGER + 64

    def test_samples_and_summaries_do_not_go_on_from_each_other(self, sim, folder):
        self.stop(sim, folder, 100_000)
        with pytest.raises(mc.CheckpointMismatch, match="keep was 'summary', is 'samples'"):
            sim.run(LONGER, engine="numpy", checkpoint=folder)

    def test_a_damaged_one_is_noticed(self, sim, folder):
        self.stop(sim, folder, 100_000)
        (part,) = folder.glob("part-*")
        part.write_bytes(part.read_bytes()[:-1])
        with pytest.raises(mc.CheckpointError, match="is damaged: its bytes are not those that were written"):
            sim.run(LONGER, keep="summary", engine="numpy", checkpoint=folder)
        part.unlink()
        assert sim.run(LONGER, keep="summary", engine="numpy", checkpoint=folder).iterations == LONGER

    def test_on_an_engine_whose_strata_are_looked_at(self, sim, folder, whole, tmp_path):
        class Stratified(NumPyEngine):
            strata = 5

        self.stop(sim, folder, 200_000, engine=Stratified())
        assert digests(sim.run(LONGER, keep="summary", engine=Stratified(), checkpoint=folder), tmp_path) == whole

    @pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
    def test_killed_again_and_again(self, model, folder, whole, tmp_path):
        chance, done = random.Random(2), [0]
        for _ in range(8):
            with started(SUMMARY_RUNS, model, folder) as process:
                process.stdout.readline()
                time.sleep(chance.uniform(0.1, 0.6))
                process.kill()
            done.append(done_in(folder))
        assert done == sorted(done) and done[-1] > 65_536
        assert digests(simulation().run(LONGER, keep="summary", engine="numpy", checkpoint=folder), tmp_path) == whole
