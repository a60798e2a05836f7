"""The command line from outside: what it prints, what it writes, how it ends."""

import json
import os
import signal
import subprocess
import sys
from importlib.metadata import version

import numpy as np
import pandas as pd
import pytest
from workbooks import five_lines, workbook

from ultramc.cli import main

CELLS = {"A1": 100, "A2": 0.05, "B1": "=A1*(1+A2)", "B2": "=1/(A2>0.04)", "B3": "=B1+1"}
NAMES = {"total": "Model!$B$1"}
PRICE = "A1=Uniform(50, 150)"
GROWTH = "A2=Uniform(minimum=0, maximum=0.1)"


@pytest.fixture
def model(tmp_path, monkeypatch):
    """The name of a workbook in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.xlsx").write_bytes(workbook(CELLS, names=NAMES, cached={"B1": 105, "B2": 1, "B3": 106}))
    return "model.xlsx"


def ended(capsys, *arguments):
    """Exit code, standard output and standard error."""
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as stopped:
        code = stopped.code
    told = capsys.readouterr()
    assert "Traceback" not in told.err
    return code, told.out, told.err


class TestRun:
    def test_prints_the_statistics(self, model, capsys):
        code, out, _ = ended(capsys, "run", model, "-n", 1000, "-i", PRICE, "-o", "total", "--seed", 5)
        assert code == 0
        assert "1,000 iterations" in out and "seed 5" in out and "total" in out and "2 matched" not in out

    def test_json(self, model, capsys):
        arguments = (
            "run",
            model,
            "-n",
            1000,
            "-i",
            PRICE,
            "-i",
            GROWTH,
            "-o",
            "total",
            "-o",
            "Model!B2",
            "--seed",
            5,
            "--json",
            "out.json",
        )
        assert ended(capsys, *arguments)[0] == 0
        with open("out.json", encoding="utf-8") as stream:
            told = json.load(stream)
        assert (told["state"], told["iterations"], told["engine"], told["seed"]) == ("completed", 1000, "numpy", 5)
        price, growth = 50 + 100 * five_lines(5, 1, 1, 1000), 0.1 * five_lines(5, 2, 1, 1000)
        total = price * (1 + growth)
        output = told["outputs"]["total"]
        assert output["cell"] == "Model!B1"
        assert output["mean"] == pytest.approx(total.mean(), rel=1e-12)
        assert output["std"] == pytest.approx(total.std(ddof=1), rel=1e-12)
        assert output["standard_error"] == pytest.approx(total.std(ddof=1) / 1000**0.5, rel=1e-12)
        assert output["percentiles"]["95"] == pytest.approx(np.percentile(total, 95), rel=1e-12)
        assert output["errors"] == {}
        assert told["outputs"]["Model!B2"]["errors"] == {"#DIV/0!": int((growth <= 0.04).sum())}
        assert set(told["inputs"]) == {"A1", "A2"}

    def test_json_alone_on_standard_output(self, model, capsys):
        code, out, _ = ended(capsys, "run", model, "-n", 10, "-i", PRICE, "-o", "total", "--json", "-")
        assert code == 0 and json.loads(out)["state"] == "completed"

    def test_samples_as_parquet(self, model, capsys):
        assert ended(capsys, "run", model, "-n", 100, "-i", PRICE, "-o", "total", "--seed", 5, "--samples", "s.parquet")[0] == 0
        frame = pd.read_parquet("s.parquet")
        np.testing.assert_array_equal(frame["A1"], 50 + 100 * five_lines(5, 1, 1, 100))
        assert len(frame["total"]) == 100

    def test_samples_as_text(self, model, capsys):
        assert ended(capsys, "run", model, "-n", 100, "-i", PRICE, "-o", "total", "--seed", 5, "--samples", "s.csv")[0] == 0
        np.testing.assert_allclose(pd.read_csv("s.csv")["A1"], 50 + 100 * five_lines(5, 1, 1, 100))

    def test_the_same_seed_gives_the_same_file(self, model, capsys):
        for name in ("a.parquet", "b.parquet"):
            ended(capsys, "run", model, "-n", 100, "-i", PRICE, "-o", "total", "--seed", 5, "--samples", name)
        assert pd.read_parquet("a.parquet").equals(pd.read_parquet("b.parquet"))

    def test_a_seed_that_was_drawn_is_shown(self, model, capsys):
        _, out, _ = ended(capsys, "run", model, "-n", 10, "-i", PRICE, "-o", "total", "--json", "-")
        assert 0 <= json.loads(out)["seed"] < 2**64


class TestWhatTheWorkbookStores:
    STORED = {"RiskNumIterations": "300", "RiskUseFixedSeed": "TRUE", "RiskFixedSeed": "77", "RiskSamplingType": "3"}
    CELLS = {"A1": "=RiskUniform(10,20)", "B1": '=RiskOutput("profit")+A1*2', "B2": "=A1+RAND()"}

    @pytest.fixture
    def stored(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "stored.xlsx").write_bytes(workbook(self.CELLS, names=self.STORED))
        return "stored.xlsx"

    def test_is_used_and_shown(self, stored, capsys):
        code, out, _ = ended(capsys, "run", stored, "--json", "out.json")
        assert code == 0
        assert "dialect: @RISK; stored iterations: 300; stored seed: 77; stored sampling: latin_hypercube" in out
        with open("out.json", encoding="utf-8") as stream:
            told = json.load(stream)
        assert list(told["outputs"]) == ["profit"]
        assert (told["iterations"], told["seed"], told["sampling"]) == (300, 77, "latin_hypercube")

    def test_gives_way_to_what_is_asked_for(self, stored, capsys):
        arguments = ("run", stored, "-n", 40, "--seed", 5, "--sampling", "random", "-o", "B2", "--json", "-")
        told = json.loads(ended(capsys, *arguments)[1])
        assert (told["iterations"], told["seed"], told["sampling"], list(told["outputs"])) == (40, 5, "random", ["B2"])

    def test_another_dialect(self, stored, capsys):
        code, _, err = ended(capsys, "run", stored, "--dialect", "plain", "-n", 10, "-o", "B1")
        assert code == 1 and "RISK" in err
        assert "RISK" in ended(capsys, "explain", stored, "--dialect", "plain", "B1")[2]

    def test_plain_workbooks_store_nothing(self, model, capsys):
        assert ended(capsys, "run", model, "-n", 10, "-i", PRICE, "-o", "total")[1].endswith("dialect: plain Excel\n")


WRONG_USAGE = [
    ((), "required"),
    (("frobnicate",), "invalid choice"),
    (("run", "model.xlsx", "-o", "total"), "-n 100000"),
    (("run", "model.xlsx", "-n", 10, "-o", "total", "--dialect", "Lotus"), "dialect='Lotus'"),
    (("run", "model.xlsx", "-n", "many", "-o", "total"), "many"),
    (("run", "model.xlsx", "-n", 0, "-o", "total"), "iterations=0"),
    (("run", "model.xlsx", "-n", 10, "-o", "total", "--seed", -1), "seed=-1"),
    (("run", "model.xlsx", "-n", 10, "-o", "total", "--engine", "abacus"), "abacus"),
    (("run", "model.xlsx", "-n", 10, "-o", "total", "--sampling", "sobolev"), "did you mean 'sobol'"),
    (("run", "model.xlsx", "-n", 10, "-o", "total", "--memory-limit", "lots"), "lots"),
    (("run", "model.xlsx", "-n", 10, "-o", "total", "-i", "A1"), "REF=LAW"),
    (("run", "model.xlsx", "-n", 10, "-o", "total", "-i", "A1=Norml(1,2)"), "Norml"),
    (("run", "model.xlsx", "-n", 10, "-o", "total", "-i", "A1=Normal(1,-2)"), "-2"),
    (("run", "model.xlsx", "-n", 10, "-o", "total", "-i", "A1=__import__('os').getcwd()"), "A1: "),
    (("run", "model.xlsx", "-n", 10, "-o", "total", "-i", PRICE, "-i", "A1=Normal(1,2)"), "'A1' is given twice"),
    (("run", "model.xlsx", "-n", 10, "-o", "total", "-i", "A1=5", "-i", "Model!A1=6"), "Model!A1 is given twice"),
    (("run", "model.xlsx", "-n", 10, "-o", "total", "-i", "C7=Normal(1,2)"), "Model!C7 is blank"),
    (("run", "model.xlsx", "-n", 10, "-o", "total", "--json", "no/such/folder/out.json"), "no folder no/such/folder"),
    (("run", "model.xlsx", "-n", 10, "-o", "total", "--samples", "no/such/s.parquet"), "no folder"),
    (("check", "model.xlsx", "--json", "no/such/out.json"), "no folder"),
    (("run", "model.xlsx", "-n", 10), "Model!B3"),  # no output named: the candidates
    (("check",), "MODEL"),
    (("explain", "model.xlsx"), "CELL"),
]

FAILURES = [
    (("run", "model.xlsx", "-n", 10, "-o", "Nowhere!B1"), "no sheet 'Nowhere'"),
    (("run", "missing.xlsx", "-n", 10, "-o", "total"), "missing.xlsx"),
    (("run", ".", "-n", 10, "-o", "total"), "."),
    (("run", "text.xlsx", "-n", 10, "-o", "total"), "text.xlsx: is no Excel workbook"),
    (("check", "text.xlsx"), "text.xlsx: is no Excel workbook"),
    (("explain", "text.xlsx", "A1"), "text.xlsx: is no Excel workbook"),
    (("run", "cut.xlsx", "-n", 10, "-o", "total"), "cut.xlsx"),
    (("check", "model.xlsx", "--json", "."), "."),
    (("explain", "model.xlsx", "Nowhere!B1"), "no sheet 'Nowhere'"),
    (("run", "model.xlsx", "-n", 10**9, "-o", "total", "--memory-limit", "1MB"), "1,000,000 are allowed"),
    (("run", "model.xlsx", "-n", 10, "-o", "B2", "-i", "A2=0.01"), "B2 is an error in every one of 10 iterations: #DIV/0!"),
    (("run", "model.xlsx", "-n", 99, "-o", "B2", "-i", GROWTH, "--on-error", "raise"), "Model!B2 is #DIV/0! in iteration"),
    (("run", "differs.xlsx", "-n", 10, "-o", "B2"), "Model!B1: 4.0, Excel has 5.0"),
    (("run", "web.xlsx", "-n", 10, "-o", "B1", "-i", "A1=Normal(1,1)"), "Model!B1: function WEBSERVICE"),
    (("run", "circle.xlsx", "-n", 10, "-o", "B1", "-i", "A1=Normal(1,1)"), "Model!B1 → Model!B2 → Model!B1"),
]


@pytest.fixture
def strange(model):
    """Beside the model: a text file, half a workbook, and workbooks that cannot be run."""
    files = {
        "text.xlsx": b"hello",
        "cut.xlsx": workbook(CELLS)[:2000],
        "differs.xlsx": workbook({"A1": 2, "B1": "=A1*2", "B2": "=B1+1"}, cached={"B1": 5, "B2": 6}),
        "web.xlsx": workbook({"A1": 1, "B1": "=WEBSERVICE(A1)"}),
        "circle.xlsx": workbook({"A1": 1, "B1": "=A1+B2", "B2": "=B1/2"}),
    }
    for name, content in files.items():
        with open(name, "wb") as stream:
            stream.write(content)


class TestHowItEnds:
    @pytest.mark.parametrize(("arguments", "says"), WRONG_USAGE)
    def test_wrong_usage(self, strange, capsys, arguments, says):
        code, out, err = ended(capsys, *arguments)
        assert (code, out) == (2, "") and says in err

    @pytest.mark.parametrize(("arguments", "says"), FAILURES)
    def test_failure(self, strange, capsys, arguments, says):
        code, out, err = ended(capsys, *arguments)
        assert (code, out) == (1, "") and says in err
        assert err.startswith("ultramc: ")

    def test_a_difference_may_be_accepted(self, strange, capsys):
        code, out, _ = ended(capsys, "run", "differs.xlsx", "-n", 10, "-o", "B2", "--check", "warn")
        assert code == 0 and "accepted by check='warn'" in out


class TestCheck:
    def test_all_matched(self, model, capsys):
        code, out, _ = ended(capsys, "check", model, "--json", "check.json")
        assert code == 0 and "3 matched" in out
        with open("check.json", encoding="utf-8") as stream:
            told = json.load(stream)
        assert {key: told[key] for key in ("workbook", "formula_cells", "matched", "mismatched", "uncached", "unsupported")} == {
            **dict.fromkeys(("formula_cells", "matched"), 3),
            **dict.fromkeys(("mismatched", "uncached", "unsupported"), 0),
            "workbook": "model.xlsx",
        }
        assert told["cells"]["Model!B1"] == {"value": 105.0, "cached": 105.0, "status": "matched", "reason": ""}

    def test_a_difference(self, strange, capsys):
        code, out, _ = ended(capsys, "check", "differs.xlsx")
        assert code == 1 and "Model!B1: 4.0, Excel has 5.0" in out

    def test_an_unsupported_function(self, strange, capsys):
        code, out, _ = ended(capsys, "check", "web.xlsx", "--json", "-")
        assert code == 1 and json.loads(out)["cells"]["Model!B1"]["status"] == "unsupported"


def test_explain(model, capsys):
    code, out, _ = ended(capsys, "explain", model, "total", "-i", PRICE)
    assert code == 0
    assert out.startswith("Model!B1\n") and "A1 ~ Uniform(minimum=50, maximum=150)" in out


def test_version(capsys):
    assert ended(capsys, "--version") == (0, f"ultramc {version('ultramc')}\n", "")


# As a process of its own.


def process(*arguments, **options):
    command = [sys.executable, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8", **options)


def test_python_m(model):
    running = process("-m", "ultramc", "check", model)
    out, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (0, "") and "3 matched" in out


LOUD = "import logging, sys; logging.basicConfig(level=logging.INFO); from ultramc.cli import main; sys.exit(main())"


def test_ctrl_c(model):
    running = process("-c", LOUD, "run", model, "-n", 50_000_000, "-i", PRICE, "-o", "total", "--memory-limit", "8GB")
    assert "run started" in running.stderr.readline()
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert (running.returncode, out) == (130, "")
    assert "cancelled" in err and "Traceback" not in err


def test_a_reader_that_goes_away_is_no_accident(model):
    running = process("-m", "ultramc", "run", model, "-n", 10, "-i", PRICE, "-o", "total", "--json", "-")
    running.stdout.close()
    assert running.stderr.read() == ""
    assert running.wait(timeout=60) == 1
    running.stderr.close()


def test_a_narrow_terminal_shows_what_it_can(model):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    running = process("-m", "ultramc", "run", model, "-n", 10, "-i", PRICE, "-o", "total", env=environment)
    out, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (0, "") and "total" in out


QUIET = """
import sys
import ultramc as mc
mc.Simulation(sys.argv[1], inputs={"A1": mc.Normal(1, 1)}, outputs=["B1"]).run(10)
mc.check(sys.argv[1])
"""
CONFIGURED = """
import logging, sys
logging.basicConfig(level=logging.INFO, format="%(name)s %(message)s")
import ultramc as mc
mc.Simulation(sys.argv[1], inputs={"A1": mc.Normal(1, 1)}, outputs=["B1"]).run(10, seed=3)
"""


def test_the_library_prints_nothing_by_itself(model):
    running = process("-W", "error", "-c", QUIET, model)
    assert running.communicate(timeout=60) == ("", "")
    assert running.returncode == 0


def test_a_host_that_configures_logging_sees_the_run(model):
    _, err = process("-c", CONFIGURED, model).communicate(timeout=60)
    first, last = err.splitlines()
    assert first.startswith("ultramc ") and "run started" in first and "iterations=10" in first and "seed=3" in first
    assert "run completed" in last


@pytest.mark.parametrize(
    "command", [["-m", "ultramc"], [os.path.join(os.path.dirname(sys.executable), "ultramc")]], ids=["module", "script"]
)
def test_processes_and_a_checkpoint(model, tmp_path, command):
    """Each process of a pool imports what was started; a second run takes all from the folder."""
    arguments = ["run", model, "-n", "20000", "-i", PRICE, "-o", "total", "--seed", "5", "--engine", "numpy", "--json", "-"]
    wanted = _stated(command, *arguments)
    for _ in range(2):
        assert _stated(command, *arguments, "--processes", "2", "--checkpoint", "kept") == wanted
    manifest = json.loads((tmp_path / "kept" / "manifest.json").read_text())
    assert manifest["attempt"] == 2 and sum(part["count"] for part in manifest["parts"]) == 20_000


def _stated(command, *arguments):
    done = subprocess.run([sys.executable, *command, *arguments], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["outputs"]


def test_no_processes_are_refused(model, capsys):
    code, _, said = ended(capsys, "run", model, "-n", 10, "-i", PRICE, "-o", "total", "--processes", 0)
    assert code == 2 and "--processes=0: a whole number of at least 1" in said


def test_keep_summary(model, capsys, tmp_path):
    arguments = ("run", model, "-n", 2_000, "-o", "total", "-i", PRICE, "--seed", 1, "--check", "off", "--quiet")
    written = []
    for keep in ("samples", "summary"):
        code, _, _ = ended(capsys, *arguments, "--keep", keep, "--json", tmp_path / f"{keep}.json")
        assert code == 0
        written.append(json.loads((tmp_path / f"{keep}.json").read_text())["outputs"]["total"])
    assert written[1]["mean"] == pytest.approx(written[0]["mean"], rel=1e-12) and written[1]["maximum"] == written[0]["maximum"]
    code, _, said = ended(capsys, *arguments, "--keep", "summary", "--samples", tmp_path / "samples.csv")
    assert code == 2 and "--samples" in said
