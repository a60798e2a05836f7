"""The contract as text, and the page that shows which engine has which op."""

import subprocess
import sys

import pytest

from ultramc.contract import __main__ as command
from ultramc.contract import report as reporting
from ultramc.contract.report import table
from ultramc.engines import registry
from ultramc.engines.on_numpy import NumPyEngine


def test_the_page_is_as_the_table_says(repository):
    """Renew it with `python -m ultramc.contract --table`."""
    page = (repository / "docs/engines.md").read_text(encoding="utf-8")
    assert page.endswith(f"\n\n{table()}")


def test_the_table_needs_no_library_of_an_engine():
    program = (
        "import sys; from ultramc.contract.report import table; table(); print([name for name in ('jax', 'cupy') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_engines_are_reported_by_name(capsys, monkeypatch):
    """A few checks, for this to be short."""
    few = reporting.engine_checks
    monkeypatch.setattr(
        reporting, "engine_checks", lambda engine: [pair for pair in few(engine) if pair[0] == "agrees: tanh, special values"]
    )
    assert command.main(["--engines", "numpy"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "numpy: 1 check passed, 0 failed"
    assert [line.split(":")[0] for line in lines[1:]] == sorted(set(registry.registered()) - {"numpy"})
    assert all(": not run (" in line for line in lines[1:])


def test_what_fails_is_printed_with_its_reason(capsys, monkeypatch):
    def broken():
        raise RuntimeError("device lost")

    def violated():
        raise reporting.ContractViolation("cell 0 is 1.0, not 2.0")

    monkeypatch.setattr(
        reporting, "engine_checks", lambda engine: [("agrees: add", violated), ("broken", broken), ("agrees: sub", lambda: None)]
    )
    assert command.main(["--engines", "numpy"]) == 1
    assert (
        "numpy: agrees: add: cell 0 is 1.0, not 2.0\nnumpy: broken: RuntimeError: device lost\nnumpy: 1 check passed, 2 failed"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize("engines", ["no_such_engine", ""])
def test_an_engine_that_is_missing_fails(capsys, engines):
    assert command.main(["--engines", engines]) == 1


def test_an_engine_that_is_not_asked_for_is_said_not_to_run():
    assert any(line == "numpy: not run (not asked for)" for line in reporting.not_run(["native"]))
    assert isinstance(registry.made("numpy"), NumPyEngine)
