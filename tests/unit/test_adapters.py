"""What other libraries show of a run. The libraries are the real ones."""

import logging
import threading

import pytest
import structlog
from workbooks import workbook

import ultramc as mc
from ultramc.adapters.on_structlog import LogLines
from ultramc.adapters.on_tqdm import Bar
from ultramc.engines.on_numpy import NumPyEngine


@pytest.fixture(scope="module")
def sim():
    return mc.Simulation(workbook({"A1": 1, "B1": "=A1*2"}), inputs={"A1": mc.Uniform(0, 1)}, outputs=["B1"])


class Stops(NumPyEngine):
    """Dies, or is cancelled, in its third chunk."""

    name = "stops"

    def __init__(self, token=None):
        super().__init__()
        self.token = token

    def run(self, executable, job, first, count):
        if first == 200 and self.token is None:
            raise MemoryError("no room")
        if first == 200:
            self.token.cancel("enough")
        return super().run(executable, job, first, count)


def stopped(sim, progress, token=None):
    with pytest.raises((MemoryError, mc.SimulationCancelled)):
        sim.run(1_000, engine=Stops(token), chunk=100, validate=False, progress=progress, interval=0, cancel=token)


class TestBar:
    def test_shows_where_the_run_stands(self, sim, capsys):
        sim.run(1_000, progress=Bar(desc="mine"), chunk=100, interval=0)
        shown = capsys.readouterr().err
        last = shown.split("\r")[-1]
        assert "mine: 100%" in last and "1.00k/1.00k" in last
        assert shown.endswith("\n")

    def test_a_place_that_is_told_twice_or_never_is_not_added_up(self, sim, capsys):
        seen = mc.testing.Recorder()
        sim.run(1_000, progress=seen, chunk=100, interval=0)
        bar = Bar()
        for event in [*seen[:8], seen[7], seen[7], seen[-1]]:
            bar(event)
        assert "1.00k/1.00k" in capsys.readouterr().err.split("\r")[-1]

    @pytest.mark.parametrize(("token", "says"), [(None, "failed"), (mc.CancelToken(), "cancelled")])
    def test_a_run_that_stopped_does_not_look_done(self, sim, capsys, token, says):
        bar = Bar()
        stopped(sim, bar, token)
        last = capsys.readouterr().err.split("\r")[-1]
        assert says in last and "100%" not in last and last.endswith("\n")
        sim.run(1_000, progress=bar)
        assert "1.00k/1.00k" in capsys.readouterr().err.split("\r")[-1]

    def test_shows_the_phase_until_iterations_move(self, sim, capsys):
        sim.run(1_000, progress=Bar(), interval=0)
        shown = capsys.readouterr().err
        assert all(phase in shown for phase in ("check", "compile", "summarise")) and "sample" not in shown

    def test_has_no_thread_that_watches_it(self, sim):
        """tqdm starts one with its first bar, unless it is told not to; nobody else's bars are told."""
        import tqdm

        before, names = threading.enumerate(), set()

        def look(event):
            names.update(type(thread).__name__ for thread in threading.enumerate() if thread not in before)

        sim.run(1_000, progress=[Bar(), look])
        assert names <= {"Thread"}
        assert tqdm.tqdm.monitor_interval > 0


class TestLogLines:
    def test_to_the_library_s_own_logger(self, sim, caplog):
        with caplog.at_level(logging.INFO, "ultramc"):
            sim.run(1_000, progress=LogLines(), chunk=100, interval=0)
        lines = [record.message for record in caplog.records if "event='progress'" in record.message]
        sampled = [line for line in lines if "phase='sample'" in line]
        assert len(sampled) == 11 and "iterations=1000 of=1000" in sampled[-1]

    def test_to_a_logger_of_the_host_s(self, sim):
        with structlog.testing.capture_logs() as captured:
            sim.run(1_000, progress=LogLines(structlog.get_logger(), "debug"), interval=0)
        assert {line["log_level"] for line in captured} == {"debug"}
        assert (captured[0]["event"], captured[0]["state"], captured[-1]["state"]) == ("state", "running", "completed")
        assert len({line["run_id"] for line in captured}) == 1

    @pytest.mark.parametrize(
        ("token", "level", "told"),
        [
            (None, "error", {"error": "MemoryError: no room"}),
            (mc.CancelToken(), "warning", {"reason": "cancelled after 300 of 1,000 iterations: enough"}),
        ],
    )
    def test_an_accident_is_logged_as_one(self, sim, token, level, told):
        with structlog.testing.capture_logs() as captured:
            stopped(sim, LogLines(structlog.get_logger()), token)
        assert captured[-1]["log_level"] == level and told.items() <= captured[-1].items()
