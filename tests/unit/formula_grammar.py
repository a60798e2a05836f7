"""Random formulas over a small sheet in which every kind of value occurs, fixed and uncertain."""

from __future__ import annotations

from hypothesis import strategies as st
from openpyxl.formula.translate import Translator

from ultramc.values import Scalar, kind_of

# The uncertain cells, and what they hold in each iteration; the first is the saved value
UNCERTAIN: dict[str, tuple[float, ...]] = {
    "A1": (2.0, 1.0, 0.0, -3.0, 2.5, 7.0),
    "A2": (3.0, 2.0, 1.0, 0.0, -1.5, 4.0),
    "A3": (1.0, 5.0, 1.0, 0.5, 1e200, -2.0),
}
ITERATIONS = 6
CELLS: dict[str, object] = {
    **{address: values[0] for address, values in UNCERTAIN.items()},
    **{"A4": 4.0, "A5": 5.0, "A6": 6.0},
    **{"B1": "apple", "B2": "3", "B4": True, "B5": "pear", "B6": -1.5},
    **{
        "C1": "=A1>1",
        "C2": '=IF(A1>1.5,"apple","pear")',
        "C3": "=1/(A2-1)",
        "C4": '=IF(A2>1,"",A1)',
        "C5": "=A1*10",
        "C6": "=IF(A3>1,NA(),A2)",
    },
    **{f"D{row}": float(row) for row in range(1, 7)},
    **{f"E{row}": text for row, text in enumerate(("apple", "banana", "cherry", "pear", "plum", "zebra"), 1)},
    **{"F1": "=A1+1", "F2": "=A2+2", "F3": "=A3+3", "F4": "=A1+A2", "F5": "=F4*2", "F6": "=ABS(A1)+10"},
}

ATOMS = st.sampled_from(
    [
        "A1",
        "A$2",
        "$A3",
        "F1",
        "C1",
        "C3",
        "C4",
        "C5",
        "C6",
        "B1",
        "B2",
        "B3",
        "B4",
        "D2",
        "0",
        "1",
        "2",
        "-1",
        "0.5",
        "3.7",
        "1E308",
        '"4"',
        "TRUE",
        '"x"',
        "#N/A",
    ]
)
RANGES = st.sampled_from(
    [
        "A1:A3",
        "$A$1:$A$6",
        "B1:B6",
        "$C$1:$C$6",
        "$D$1:$D$6",
        "E1:E6",
        "$F$1:$F$6",
        "A1:F1",
        "$A$1:$F$6",
        "A$1:A3",
        "G1:G3",
        "A:A",
        "{1,2,3}",
        '{1;2;"apple"}',
    ]
)
CRITERIA = st.sampled_from(
    ['">1"', '"<>"', '"="', '""', '"apple"', '"a*"', "A1", "D2", '"<=3"', "B3", '"<>apple"', '">="&D2', "E1", "TRUE", "C1", '"?*"']
)
ORDER = st.sampled_from(["0", "FALSE"])
_OPERATORS = st.sampled_from(["+", "-", "*", "/", "^", "=", "<", ">", "<>", "<=", ">="])

ONE = [
    "ABS",
    "SIGN",
    "EXP",
    "INT",
    "SQRT",
    "LN",
    "EVEN",
    "ODD",
    "NOT",
    "ISNUMBER",
    "ISTEXT",
    "ISERROR",
    "ISNA",
    "ISBLANK",
    "ISLOGICAL",
    "N",
    "TYPE",
    "TRUNC",
    "ATAN",
    "COSH",
]
TWO = [
    "ROUND",
    "ROUNDUP",
    "ROUNDDOWN",
    "MOD",
    "QUOTIENT",
    "POWER",
    "MROUND",
    "CEILING",
    "FLOOR",
    "CEILING.MATH",
    "ATAN2",
    "IFERROR",
    "IFNA",
    "LOG",
]
MANY = ["SUM", "PRODUCT", "MIN", "MAX", "COUNT", "COUNTA", "AVERAGE", "AND", "OR", "XOR", "SUMSQ", "AVERAGEA", "MAXA", "MINA"]


def _call(names: list[str], *parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(lambda name, *arguments: f"{name}({','.join(arguments)})", st.sampled_from(names), *parts)


def _larger(part: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds(lambda left, operator, right: f"({left}{operator}{right})", part, _OPERATORS, part),
        st.builds(lambda operand: f"-{operand}", part),
        _call(ONE, part),
        _call(TWO, part, part),
        _call(MANY, RANGES),
        _call(MANY, RANGES, ATOMS),  # a reference that IF or CHOOSE picks by cell counts as its value: not compared here
        _call(["IF"], part, part, part),
        _call(["IF"], part, part),
        _call(["IFS"], part, part, part, part),
        _call(["SWITCH"], part, part, part, part, part),
        _call(["CHOOSE"], part, part, part),
        _call(
            ["SUMIF", "AVERAGEIF"],
            st.sampled_from(["A1:A6", "$B$1:$B$6", "$C$1:$C$6", "E1:E6", "A:A"]),
            CRITERIA,
            st.sampled_from(["D1:D6", "$F$1:$F$6", "A$1"]),
        ),
        _call(["COUNTIF"], st.sampled_from(["A1:A6", "$B$1:$B$6", "$C$1:$C$6", "E1:E6", "A:A", "G1:G3"]), CRITERIA),
        _call(["SUMIFS", "MAXIFS", "AVERAGEIFS"], st.just("$F$1:$F$6"), st.sampled_from(["$D$1:$D$6", "$C$1:$C$6", "B1:B6"]), CRITERIA),
        _call(["MATCH"], part, RANGES, ORDER),
        _call(["MATCH"], part, st.sampled_from(["$D$1:$D$6", "$F$1:$F$6", "$A$1:$A$6"])),
        _call(["VLOOKUP"], part, st.sampled_from(["$D$1:$F$6", "A1:C6", "$A$1:$F$6"]), st.sampled_from(["1", "2", "3", "9"]), ORDER),
        _call(["VLOOKUP"], part, st.sampled_from(["$D$1:$F$6"]), st.sampled_from(["1", "2", "3", "D2"])),
        _call(["INDEX"], st.sampled_from(["$D$1:$D$6", "$F$1:$F$6", "E1:E6"]), st.sampled_from(["1", "2", "D2", "ABS(A1)+1"])),
        _call(["XLOOKUP"], part, st.just("$D$1:$D$6"), st.sampled_from(["$E$1:$E$6", "$F$1:$F$6"])),
        _call(["SUMPRODUCT"], st.sampled_from(["$D$1:$D$6", "$F$1:$F$6"]), st.sampled_from(["$A$1:$A$6", "$F$1:$F$6"])),
    )


FORMULAS = _larger(st.recursive(ATOMS, _larger, max_leaves=4))


def filled(formula: str, rows: int = 3) -> dict[str, str]:
    """A formula in Z1, filled down."""
    return {f"Z{row}": Translator("=" + formula, origin="Z1").translate_formula(f"Z{row}") for row in range(1, rows + 1)}


def same(found: Scalar, expected: Scalar) -> bool:
    """The same kind, and numbers to within what `pow` may differ by between one element and many."""
    if kind_of(found) != kind_of(expected):
        return False
    if isinstance(found, float) and isinstance(expected, float):
        return found == expected or abs(found - expected) <= 1e-12 * max(abs(found), abs(expected))
    return found == expected
