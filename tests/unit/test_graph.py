"""Regions, precedents, order and cycles."""

from __future__ import annotations

from formula_cases import workbook
from hypothesis import given
from hypothesis import strategies as st

from ultramc.address import CellRef, RangeRef
from ultramc.graph import Graph, merged, strongly_connected

CELLS = st.sets(st.tuples(st.integers(1, 8), st.integers(1, 8)), min_size=1)


def _graph(cells: dict[str, object]) -> Graph:
    return Graph.of(workbook(cells))


def _places(graph: Graph) -> list[str]:
    return [region.place.a1 for region in graph.regions]


def test_filled_formulas_are_one_region() -> None:
    graph = _graph({f"{column}{row}": f"=$A{row}*{column}$1" for row in range(2, 5) for column in "BCD"})
    assert _places(graph) == ["B2:D4"]


def test_a_formula_that_differs_splits_a_region() -> None:
    formulas: dict[str, object] = {f"B{row}": f"=A{row}+1" for row in range(1, 6)}
    assert _places(_graph({**formulas, "B3": "=A3+2"})) == ["B1:B2", "B3", "B4:B5"]


@given(CELLS)
def test_rectangles_cover_each_cell_once(cells: set[tuple[int, int]]) -> None:
    covered = [
        (row, column)
        for top, left, bottom, right in merged(sorted(cells))
        for row in range(top, bottom + 1)
        for column in range(left, right + 1)
    ]
    assert sorted(covered) == sorted(cells)


def test_overlapping_is_a_plain_intersection() -> None:
    graph = _graph({"B2": "=A1", "B3": "=A2", "C9": "=A1*2", "E2": "=B2", "E3": "=B3", "F2": "=C2", "F3": "=C3"})
    for top in range(1, 10):
        for left in range(1, 7):
            area = RangeRef("Sheet1", top, left, top + 2, left + 1)
            expected = {region.index for region in graph.regions if region.place.intersection(area)}
            assert {region.index for region in graph.overlapping(area)} == expected
            assert len(list(graph.overlapping(area))) == len(expected)


def test_whole_columns_and_rows_are_precedents() -> None:
    graph = _graph({"B5": "=1+1", "D3": "=2+2", "F1": "=SUM(B:B)", "G1": "=SUM(3:3)", "H1": "=SUM(A1:XFD9)-1"})
    index = {region.place.a1: region.index for region in graph.regions}
    assert graph.precedents(graph.regions[index["F1"]]) == [index["B5"]]
    assert graph.precedents(graph.regions[index["G1"]]) == [index["D3"]]
    assert set(graph.precedents(graph.regions[index["H1"]])) == set(index.values())


def test_precedents_come_first() -> None:
    cells: dict[str, object] = {"A1": "=B1+C1", "B1": "=C1*2", "C1": "=D1", "E1": "=A1&D1"}
    graph = _graph(cells)
    order = [graph.regions[index].place.a1 for (index,) in graph.order()]
    assert [order.index(cell) for cell in ("C1", "B1", "A1", "E1")] == sorted(order.index(cell) for cell in ("C1", "B1", "A1", "E1"))


def test_a_circle_is_one_group() -> None:
    graph = _graph({"A1": "=B1+1", "B1": "=C1*2", "C1": "=A1", "D1": "=A1"})
    assert [len(group) for group in graph.order()] == [3, 1]


def test_a_chain_of_100_000_needs_no_recursion() -> None:
    groups = strongly_connected([0], lambda node: [node + 1] if node < 100_000 else [])
    assert len(groups) == 100_001 and groups[0] == [100_000] and groups[-1] == [0]


@given(st.dictionaries(st.integers(0, 9), st.lists(st.integers(0, 9), max_size=4)))
def test_groups_are_those_that_reach_each_other(edges: dict[int, list[int]]) -> None:
    def reached(start: int) -> set[int]:
        found, waiting = {start}, [start]
        while waiting:
            fresh = set(edges.get(waiting.pop(), [])) - found
            found |= fresh
            waiting += fresh
        return found

    groups = strongly_connected(range(10), lambda node: edges.get(node, []))
    position = {node: place for place, group in enumerate(groups) for node in group}
    assert sorted(position) == list(range(10))
    for node in range(10):
        mutual = {other for other in reached(node) if node in reached(other)}
        assert set(groups[position[node]]) == mutual
        assert all(position[other] <= position[node] for other in reached(node))


def test_region_at() -> None:
    graph = _graph({"B2": "=A1", "B3": "=A2"})
    assert graph.region_at(CellRef("Sheet1", 3, 2)) is graph.regions[0]
    assert graph.region_at(CellRef("Sheet1", 4, 2)) is None


def test_a_text_that_is_no_formula_keeps_its_error() -> None:
    graph = _graph({"A1": "=1+*2", "A2": "=3"})
    bad = graph.regions[0]
    assert bad.tree is None and bad.error is not None and "Sheet1!A1" in str(bad.error)
