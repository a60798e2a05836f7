"""Coercion, kinds and errors, on known values and on simulated ones."""

from __future__ import annotations

import numpy as np
import pytest

from ultramc.functions.kit import ANY, ERROR, NUMBER, TEXT, ZERO, Kit, Texts, Value, tag_of
from ultramc.program import FALSE, TRUE, Builder, Ref, constant, shape_of
from ultramc.values import ExcelError, Scalar

DIV0, NA, NUM, VALUE = ExcelError.DIV0, ExcelError.NA, ExcelError.NUM, ExcelError.VALUE
MIXED: list[Scalar] = [2.5, True, "3", "x", "", None, NA, "TRUE"]


@pytest.fixture
def kit() -> Kit:
    return Kit(Builder(), Texts())


def _row(kit: Kit, values: list[Scalar]) -> Value:
    return kit.array([values])


def test_scalars_come_back(kit: Kit) -> None:
    assert kit.scalars(_row(kit, MIXED)) == MIXED


def test_numbers_as_excel_reads_operands(kit: Kit) -> None:
    assert kit.scalars(kit.to_number(_row(kit, MIXED))) == [2.5, 1.0, 3.0, VALUE, VALUE, 0.0, NA, VALUE]


def test_conditions_as_excel_reads_them(kit: Kit) -> None:
    mask, errors = kit.to_mask(_row(kit, [0.0, 2.0, False, None, "TRUE", "false", "x", DIV0]))
    found = [
        error if isinstance(error, ExcelError) else bool(truth)
        for truth, error in zip(np.asarray(mask).ravel(), kit.scalars(errors), strict=True)
    ]
    assert found == [False, True, False, False, True, False, VALUE, DIV0]


def test_an_overflow_is_num_even_as_a_condition(kit: Kit) -> None:
    _, errors = kit.to_mask(Value(constant(np.inf)))
    assert kit.scalars(errors) == [NUM]


def test_the_leftmost_error_wins(kit: Kit) -> None:
    first, second = _row(kit, [1.0, NA, 1.0, NA]), _row(kit, [DIV0, DIV0, 1.0, 1.0])
    assert kit.scalars(kit.with_tag(constant(7.0), kit.error_tag((first, second)))) == [DIV0, NA, 7.0, NA]


def test_the_first_failure_that_a_body_reports_wins(kit: Kit) -> None:
    def body(kit: Kit, x: object) -> object:
        kit.fail(TRUE, NUM)
        kit.fail(TRUE, DIV0)
        return x

    assert kit.scalars(kit.elementwise(body, [kit.number(1.0)])) == [NUM]
    assert kit.scalars(kit.elementwise(body, [kit.error(NA)])) == [NA]


def test_settled_numbers_are_finite(kit: Kit) -> None:
    assert kit.scalars(kit.settled(Value(np.array([1.0, np.inf, np.nan, -1e308]).reshape(1, 1, 1, 4, 1)))) == [1.0, NUM, NUM, -1e308]


def test_choose_moves_payload_and_kind(kit: Kit) -> None:
    mask = np.array([True, False]).reshape(1, 1, 1, 2, 1)
    assert kit.scalars(kit.choose(mask, kit.text("yes"), kit.error(DIV0))) == ["yes", DIV0]
    assert kit.choose(FALSE, kit.text("yes"), kit.blank()).kinds == kit.blank().kinds


def test_arrays_that_do_not_fit_are_filled_up_with_na(kit: Kit) -> None:
    first, second = kit.aligned((kit.array([[1.0], [2.0], [3.0]]), kit.array([[10.0], [20.0]])))
    assert kit.scalars(first) == [1.0, 2.0, 3.0] and kit.scalars(second) == [10.0, 20.0, NA]


def test_what_cannot_fail_has_no_tag(kit: Kit) -> None:
    draw = kit.builder.parameter((1, 1, 1, 1), interval=(0.0, 1.0))
    assert kit.settled(Value(draw)).kinds == NUMBER
    ratio = kit.fail_where(Value(draw), kit.emit("equal", kit.emit("add", draw, 1.0), ZERO), DIV0)
    assert ratio.kinds == NUMBER and isinstance(ratio.tag, int)


def test_stretching_repeats_rows_and_columns(kit: Kit) -> None:
    narrow = Value(np.arange(6.0).reshape(1, 1, 2, 3, 1), np.array([0, 8], dtype=np.uint8).reshape(1, 1, 2, 1, 1), NUMBER | ERROR)
    assert shape_of(tag_of(kit.stretched(narrow))) == (1, 1, 2, 3)
    simulated = kit.stretch(kit.builder.parameter((1, 1, 2, 1)), 2, 3)
    assert isinstance(simulated, Ref) and simulated.shape == (1, 1, 2, 3)


def test_texts_sort_without_case() -> None:
    texts = Texts()
    codes = [texts.code(text) for text in ("b", "A", "a", "B", "aa")]
    assert codes == [0, 1, 2, 3, 4] and texts.code("b") == 0
    assert texts.ranks().ravel().tolist()[:5] == [2.0, 0.0, 0.0, 2.0, 1.0]


def test_a_scalar_body_is_given_python_values_and_errors_pass(kit: Kit) -> None:
    seen: list[tuple[Scalar, ...]] = []

    def body(*arguments: Scalar) -> Scalar:
        seen.append(arguments)
        return 1 / 0 if arguments[0] == "fail" else 5.0

    found = kit.scalar_function(body, (_row(kit, ["a", "fail", NA]), kit.number(2.0)), "TEST")
    assert kit.scalars(found) == [5.0, NUM, NA]
    assert seen == [("a", 2.0), ("fail", 2.0)]


def test_is_kind_is_decided_by_the_kinds_that_may_occur(kit: Kit) -> None:
    value = Value(kit.builder.parameter((1, 1, 1, 1)), kit.builder.parameter((1, 1, 1, 1), "tag"), NUMBER | TEXT)
    assert kit.is_kind(value, ERROR) is FALSE and kit.is_kind(value, ANY) is TRUE
    assert isinstance(kit.is_kind(value, TEXT), Ref)
