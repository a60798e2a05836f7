import os
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine makes deadlines flaky; CI repeats the same examples, so that a red run can be run again.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")


@pytest.fixture(scope="session")
def repository() -> Path:
    return Path(__file__).parents[1]
