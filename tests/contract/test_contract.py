"""Each engine, each check. `pytest --engines=numpy,jax` chooses; an engine that is asked for and missing fails."""

import pytest

from ultramc.contract import engine_checks
from ultramc.engines import registry
from ultramc.errors import UltramcError


def checks_of(name):
    try:
        return [(f"{name}: {title}", check) for title, check in engine_checks(registry.engine(name))]
    except UltramcError as error:
        reason = str(error)
        return [(f"{name}: is there", lambda: pytest.fail(reason))]


def pytest_generate_tests(metafunc):
    if "check" in metafunc.fixturenames:
        checks = [pair for name in metafunc.config.stash["engines"] for pair in checks_of(name)]
        metafunc.parametrize("check", [check for _, check in checks], ids=[title for title, _ in checks])


def test_engine(check):
    check()
