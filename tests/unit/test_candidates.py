"""Finding one's way: which cells are offered, and in which order. Influence is worked out by hand."""

import pytest
from workbooks import workbook

import ultramc as mc

CELLS = {
    "A1": "Price",
    "B1": 10,
    "A2": "Volume",
    "B2": 1000,
    "A3": "Fixed cost",
    "B3": 2000,
    "A4": "Not used",
    "B4": 77,
    "A5": "Tax",
    "B5": 0,
    "A7": "Revenue",
    "B7": "=B1*B2",
    "A8": "Profit",
    "B8": "=(B7-B3)*(1-B5)",
    "A9": "Verdict",
    "B9": '=IF(B8>0,"good","bad")',
    "A10": "Squared price",
    "B10": "=B1^2",
}
CACHED = {"B7": 10_000, "B8": 8_000, "B9": "good", "B10": 100}


@pytest.fixture(scope="module")
def book():
    return mc.Workbook(workbook(CELLS, cached=CACHED))


def addresses(cells):
    return [cell.ref.a1 for cell in cells]


def test_outputs_are_numbers_that_no_formula_reads(book):
    assert addresses(book.candidate_outputs()) == ["B10"]


def test_outputs_that_rest_on_most_come_first():
    longer = workbook({key: value for key, value in CELLS.items() if key != "B9"})
    assert addresses(mc.Workbook(longer).candidate_outputs()) == ["B8", "B10"]


def test_outputs_carry_their_labels():
    longer = workbook({key: value for key, value in CELLS.items() if key != "B9"}, cached={"B8": 8_000})
    first = mc.Workbook(longer).candidate_outputs()[0]
    assert (str(first.ref), first.label, first.value, first.formula) == ("Model!B8", "Profit", 8_000, "(B7-B3)*(1-B5)")


def test_inputs_are_ordered_by_their_influence(book):
    """One percent more of B1 or B2 moves the profit by 100, of B3 by 20; a tax of 1 % (its saved value is 0) by 80."""
    assert addresses(book.candidate_inputs("B8")) == ["B1", "B2", "B5", "B3"]


def test_inputs_carry_labels_and_values(book):
    first = book.candidate_inputs("B10")[0]
    assert (str(first.ref), first.label, first.value) == ("Model!B1", "Price", 10)


def test_a_constant_has_no_inputs(book):
    assert addresses(book.candidate_inputs("B4")) == []


def test_a_range_counts_as_the_sum_of_its_moves(book):
    assert set(addresses(book.candidate_inputs("B7:B10"))) == {"B1", "B2", "B3", "B5"}


def test_where_the_path_is_not_understood_the_constants_are_listed_all_the_same():
    book = mc.Workbook(workbook({"A1": 1, "A2": 2, "B1": "=WEBSERVICE(A1)+A2"}))
    assert set(addresses(book.candidate_inputs("B1"))) == {"A1", "A2"}


def test_unknown_output(book):
    with pytest.raises(mc.ReferenceNotFound):
        book.candidate_inputs("Nowhere!A1")
