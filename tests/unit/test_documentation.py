"""What the pages list is what exists."""

import inspect
import re

import pytest

from ultramc import errors


def error_classes():
    return [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.UltramcError)]


@pytest.fixture(scope="module")
def errors_page(repository):
    return (repository / "docs/errors.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", error_classes(), ids=lambda kind: kind.__name__)
def test_every_error_is_drawn_with_the_builtin_that_it_also_is(kind, errors_page):
    builtins = [base.__name__ for base in kind.__bases__ if not issubclass(base, errors.UltramcError) and base is not Exception]
    drawn = rf"{kind.__name__} +\({', '.join(builtins)}\)" if builtins else rf"(─ )?{kind.__name__}\b(?! +\()"
    assert re.search(drawn, errors_page), f"docs/errors.md does not show {kind.__name__} with {builtins}"


def test_the_page_lists_no_error_that_is_gone(errors_page):
    drawn = set(re.findall(r"─ (\w+)", errors_page)) | {"UltramcError"}
    assert drawn == {kind.__name__ for kind in error_classes()}


def test_every_page_is_in_the_navigation(repository):
    navigation = (repository / "mkdocs.yml").read_text(encoding="utf-8")
    assert [page.name for page in (repository / "docs").glob("*.md") if page.name not in navigation] == []
