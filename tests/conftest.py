import os
from pathlib import Path

import pytest
from hypothesis import settings

from ultramc.engines import registry

# A busy machine makes deadlines flaky; CI repeats the same examples, so that a red run can be run again.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")

STAND_INS = {  # the CuPy engine without a GPU, for `--engines` alone
    "cupy_on_shim": "cupy_stand_in:OnShim",
    "cupy_on_ptx": "cupy_stand_in:OnPTX",
}


def pytest_addoption(parser):
    parser.addoption("--engines", help="engines for the contract, separated by commas; each must be there (default: all that are)")


def pytest_configure(config):
    """`config.stash["engines"]`: the names for the contract; each run of pytest has at least one."""
    asked = config.getoption("--engines")
    present = [info.name for info in registry.available_engines() if info.available]
    config.stash["engines"] = present if asked is None else [name.strip() for name in asked.split(",") if name.strip()]
    built_in, asked_for = registry.registered, {name: place for name, place in STAND_INS.items() if name in config.stash["engines"]}
    registry.registered = lambda: {**built_in(), **asked_for}
    if not config.stash["engines"]:
        raise pytest.UsageError("--engines names no engine; there are: " + ", ".join(registry.registered()))


def pytest_report_header(config):
    chosen = config.stash["engines"]
    left_out = [f"{info.name} ({info.reason or 'not asked for'})" for info in registry.available_engines() if info.name not in chosen]
    return f"engines: {', '.join(chosen)}; not run: {', '.join(left_out) or 'none'}"


def pytest_ignore_collect(collection_path, config):
    """What is tested of one engine alone is run where that engine is; the header lists the others as not run."""
    engine = collection_path.stem.removeprefix("test_on_").removesuffix("_chosen")
    return True if engine in {*registry.BUILT_IN, *STAND_INS} and engine not in config.stash["engines"] else None


@pytest.fixture(scope="session")
def repository() -> Path:
    return Path(__file__).parents[1]
