"""Engines side by side: what is timed, what is not and why, and how it is shown."""

import pytest
from workbooks import workbook

import ultramc as mc
from ultramc.cli import main
from ultramc.engines.base import Availability, Engine
from ultramc.engines.on_numpy import NumPyEngine

MODEL = {"A1": 100, "A2": 0.05, "B1": "=A1*(1+A2)^5"}


class Other(Engine):
    """NumPy by another name, a little off if so asked; `log` is shared, to see who ran when."""

    supports = NumPyEngine.supports

    def __init__(self, name, log, *, factor=1.0, lacking=()):
        self.name, self.log, self.factor = name, log, factor
        self.supports = NumPyEngine.supports - set(lacking)
        self.inner = NumPyEngine()

    def availability(self):
        return Availability(self.name != "absent", "no such device; install one")

    def compile(self, program):
        self.refuse_unsupported(program)
        return self.inner.compile(program)

    def run(self, executable, job, first, count):
        chunk = self.inner.run(executable, job, first, count)
        for payload in chunk.payloads:
            payload *= self.factor
        if job.iterations == count:
            self.log.append(self.name)
        return chunk

    def bytes_per_iteration(self, executable):
        return self.inner.bytes_per_iteration(executable)


def simulation():
    return mc.Simulation(workbook(MODEL), inputs={"A1": mc.Normal(100, 5), "A2": mc.Uniform(0, 0.1)}, outputs=["B1"])


def compared(*engines, **arguments):
    return mc.benchmark(simulation(), engines, iterations=2_000, **arguments)


def test_rounds_alternate_after_all_are_compared():
    log = []
    found = compared(Other("one", log), Other("two", log), rounds=3)
    assert log == ["one", "two"] + 3 * ["one", "two"]
    assert [len(row.seconds) for row in found.rows] == [3, 3]


def test_numbers_follow_from_the_seconds():
    found = compared("numpy", Other("other", []))
    first, second = found.rows
    assert first.iterations_per_second == pytest.approx(2_000 / sorted(first.seconds)[1])
    assert (found.speed(first), found.speed(second)) == (1.0, pytest.approx(first.median / second.median))
    assert min(first.bytes, second.bytes) > 2_000
    assert second.agreement == "the first 2,000 iterations on other agree with NumPy to 0.0e+00"


def test_what_cannot_be_timed_says_why():
    log = []
    found = compared("numpy", Other("wrong", log, factor=1.001), Other("lacking", log, lacking=["uniform"]), Other("absent", log))
    reasons = [row.refusal for row in found.rows]
    assert [len(row.seconds) for row in found.rows] == [3, 0, 0, 0]
    assert reasons[1].startswith("engine 'wrong': validation failed – simulation not executed: B1 is ")
    assert "has no op 'uniform'" in reasons[2]
    assert "cannot run here: no such device" in reasons[3]
    shown = repr(found)
    assert all(f"{row.engine}: {row.refusal}" in shown for row in found.rows[1:])


class Breaks(Other):
    """In a way of its own, in the run or already when it compiles."""

    def compile(self, program):
        if self.name == "breaks at once":
            raise RuntimeError("no room on the device")
        return super().compile(program)

    def run(self, executable, job, first, count):
        if len(self.log) > 1:
            raise RuntimeError("device lost")
        return super().run(executable, job, first, count)


def test_an_engine_that_breaks_does_not_hide_the_others():
    found = compared(Breaks("breaks at once", []), Breaks("breaks later", []), "numpy")
    assert [row.refusal for row in found.rows] == ["RuntimeError: no room on the device", "RuntimeError: device lost", ""]
    assert [len(row.seconds) for row in found.rows] == [0, 0, 3]


def test_one_engine_may_be_named_alone():
    assert [row.engine for row in mc.benchmark(simulation(), "numpy", iterations=100).rows] == ["numpy"]
    with pytest.raises(mc.InputError, match="engines= names none"):
        mc.benchmark(simulation(), [], iterations=100)


def test_what_is_compiled_already_is_compiled_again():
    made, engine = simulation(), Other("other", [])
    first = made.executable(engine)
    mc.benchmark(made, [engine], iterations=100)
    assert made.executable(engine) is not first


def test_nothing_to_time_is_an_error():
    with pytest.raises(mc.EngineError, match=r"no engine could be timed: absent: .* cannot run here"):
        compared(Other("absent", []))


@pytest.mark.parametrize(("arguments", "text"), [({"rounds": 0}, "rounds"), ({"seed": -1}, "seed")])
def test_nonsense_is_refused(arguments, text):
    with pytest.raises(mc.InputError, match=text):
        compared("numpy", **arguments)


def test_it_is_a_table_a_frame_and_a_picture():
    found = compared("numpy", Other("<other>", []))
    assert "&lt;other&gt;" in found._repr_html_()
    assert list(found.to_frame()["engine"]) == ["numpy", "<other>"]
    assert [label.get_text() for label in found.plot().axes[0].get_yticklabels()] == ["numpy", "<other>"]


def test_from_the_command_line(tmp_path, capsys):
    path = tmp_path / "model.xlsx"
    path.write_bytes(workbook(MODEL))
    assert main(["bench", str(path), "-i", "A1=Normal(100,5)", "-o", "B1", "-n", "500", "--engines", "numpy"]) == 0
    assert "model.xlsx: engines side by side · 500 iterations, median of 3 rounds" in capsys.readouterr().out
