"""Engines of others, found by their entry points; one that breaks hides none of the rest."""

import pytest

import ultramc as mc
from ultramc.contract.report import not_run
from ultramc.engines import registry

BROKEN = {  # name: (source of its module, what is said of it)
    "raises": ("1 / 0", "cannot be loaded: ZeroDivisionError: division by zero"),
    "needs_a_library": ("import no_such_library", "cannot be loaded: ModuleNotFoundError: No module named 'no_such_library'"),
    "has_none": ("", "cannot be loaded: AttributeError: module 'module_of_has_none' has no attribute 'Made'"),
    "is_none": ("Made = dict", "is registered at module_of_is_none:Made, which makes no ultramc.Engine"),
    "cannot_be_made": ("class Made:\n    def __init__(self): raise OSError('no device')", "cannot be loaded: OSError: no device"),
    "is_unsure": (
        "from ultramc.engines.on_numpy import NumPyEngine\nclass Made(NumPyEngine):\n    def availability(self): 1 / 0",
        "it does not say whether it can run here: ZeroDivisionError: division by zero",
    ),
}


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Modules with an entry point for each."""
    monkeypatch.syspath_prepend(tmp_path)
    information = tmp_path / "others-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")

    def install(sources):
        points = [f"{name} = module_of_{name}:Made" for name in sources]
        (information / "entry_points.txt").write_text("\n".join(("[ultramc.engines]", *points)))
        for name, source in sources.items():
            (tmp_path / f"module_of_{name}.py").write_text(source)

    return install


def test_what_breaks_is_listed_with_its_reason_and_hides_no_other(installed):
    installed({name: source for name, (source, _) in BROKEN.items()})
    found = {info.name: info for info in mc.available_engines()}
    for name, (_, reason) in BROKEN.items():
        assert not found[name].available
        assert reason in found[name].reason
    assert found["numpy"].available
    assert "numpy" in registry.engines_with("tanh")
    assert {line.partition(":")[0] for line in not_run(["numpy"])} >= set(BROKEN)


def test_what_breaks_can_be_asked_for_and_says_why(installed):
    installed({"raises": "1 / 0"})
    with pytest.raises(mc.EngineUnavailable, match="engine 'raises' cannot be loaded: ZeroDivisionError: division by zero"):
        registry.engine("raises")


def test_an_engine_of_others_is_found_by_its_name(installed):
    installed({"other": "from ultramc.engines.on_numpy import NumPyEngine\nclass Made(NumPyEngine):\n    name = 'other'"})
    assert registry.engine("other").name == "other"
    assert "other" in registry.engines_with("tanh")


def test_a_built_in_name_is_not_taken_over(installed):
    installed({"numpy": "raise SystemExit('not ours')"})
    assert type(registry.engine("numpy")).__module__ == "ultramc.engines.on_numpy"


def test_there_is_no_engine_auto():
    """It is a choice for a run, see `engines.choice`."""
    with pytest.raises(mc.InputError, match="no engine 'auto'"):
        registry.engine("auto")
