"""THE table of primitives: everything that an engine must be able to do, one row an op.

An operand is an array of shape (rows, columns, height, width, iterations): *rows × columns* are the cells of a block
of like formulas, *height × width* the array that each of them holds (1×1 but for ranges), and the iterations come
last and contiguous. Elementwise ops broadcast; a reduction runs over height and width, left to right and row by row,
accumulating, so that every engine and every chunking give the same bits. What does not vary by iteration has one
iteration, and is a constant.

`kind` is what the result holds: a number (float64), a mask (boolean), or a tag (uint8, see `values.Kind`).
"same" is the kind of the last operand. `tolerance` is relative, and 0 where engines must agree on every bit.
`reference.py` says in plain Python what each op means.
"""

from __future__ import annotations

from typing import Literal

from attrs import frozen

ResultKind = Literal["number", "mask", "tag", "same"]
ShapeRule = Literal[
    "elementwise",
    "reduce",
    "segments",
    "window",
    "transpose",
    "join",
    "gather",
    "search",
    "sort",
    "tied",
    "source",
    "scalar_call",
    "repeat",
    "loop",
]


@frozen
class Op:
    name: str
    arity: int | None  # None: any number of operands
    kind: ResultKind
    shape: ShapeRule
    tolerance: float
    meaning: str


EXACT = 0.0
LIBRARY = 1e-13  # libm, XLA and CUDA differ in the last digits of transcendental functions
SPECIAL = 1e-11  # inverse incomplete functions end on different iterates

_ROWS: tuple[tuple[str, int | None, ResultKind, ShapeRule, float, str], ...] = (
    # sources
    ("uniform", 0, "number", "source", EXACT, "the draws of the call sites of a block, in (0, 1), made as the job's sampling says"),
    ("iteration", 0, "number", "source", EXACT, "the absolute index of the iteration"),
    (
        "permute",
        1,
        "number",
        "tied",
        EXACT,
        "the operand, a normal score of tied call sites; where sampling has strata, the score in the stratum of its rank",
    ),
    # choice
    ("select", 3, "same", "elementwise", EXACT, "the second operand where the mask holds, else the third"),
    ("and", 2, "mask", "elementwise", EXACT, "both"),
    ("or", 2, "mask", "elementwise", EXACT, "either"),
    ("not", 1, "mask", "elementwise", EXACT, "the opposite"),
    # kinds
    ("kind_is", 1, "mask", "elementwise", EXACT, "the tag is one of the attribute `kinds` (a bit set)"),
    ("first_error", 2, "tag", "elementwise", EXACT, "the first tag where it is an error, else the second where it is one, else number"),
    # comparison
    ("equal", 2, "mask", "elementwise", EXACT, "equal, as IEEE compares"),
    ("less", 2, "mask", "elementwise", EXACT, "less, as IEEE compares"),
    ("less_equal", 2, "mask", "elementwise", EXACT, "less or equal, as IEEE compares"),
    ("near", 2, "mask", "elementwise", EXACT, "equal as Excel compares, to 15 digits: |x - y| ≤ 2^-51 (|x| + |y|)"),
    ("is_finite", 1, "mask", "elementwise", EXACT, "neither infinite nor NaN"),
    # arithmetic
    ("add", 2, "number", "elementwise", EXACT, "x + y"),
    ("sub", 2, "number", "elementwise", EXACT, "x - y"),
    ("mul", 2, "number", "elementwise", EXACT, "x * y"),
    ("div", 2, "number", "elementwise", EXACT, "x / y"),
    (
        "snap",
        3,
        "number",
        "elementwise",
        EXACT,
        "the first operand, or 0 where it is below 2^-49 of the larger of the other two (a final + or - in Excel)",
    ),
    ("neg", 1, "number", "elementwise", EXACT, "-x"),
    ("abs", 1, "number", "elementwise", EXACT, "|x|"),
    ("sign", 1, "number", "elementwise", EXACT, "-1, 0 or 1"),
    ("min", 2, "number", "elementwise", EXACT, "the smaller; NaN if either is"),
    ("max", 2, "number", "elementwise", EXACT, "the larger; NaN if either is"),
    ("power", 2, "number", "elementwise", LIBRARY, "x to the power y; 0^0 is 1"),
    ("sqrt", 1, "number", "elementwise", EXACT, "square root"),
    ("modulo", 2, "number", "elementwise", EXACT, "x - y floor(x / y), with the sign of y"),
    # rounding
    ("floor", 1, "number", "elementwise", EXACT, "the largest integer not above x"),
    ("ceil", 1, "number", "elementwise", EXACT, "the smallest integer not below x"),
    ("trunc", 1, "number", "elementwise", EXACT, "towards zero"),
    (
        "round_half",
        1,
        "number",
        "elementwise",
        EXACT,
        "to the nearest integer, halves away from zero; within 2^-49 of a half counts as one",
    ),
    (
        "mend",
        1,
        "number",
        "elementwise",
        EXACT,
        "the nearest integer where x is within 2^-49 |x| of it (undoes the error of scaling by a power of ten)",
    ),
    # transcendental
    ("exp", 1, "number", "elementwise", LIBRARY, "e^x"),
    ("expm1", 1, "number", "elementwise", LIBRARY, "e^x - 1"),
    ("log", 1, "number", "elementwise", LIBRARY, "natural logarithm"),
    ("log1p", 1, "number", "elementwise", LIBRARY, "log(1 + x)"),
    ("log10", 1, "number", "elementwise", LIBRARY, "decimal logarithm"),
    ("sin", 1, "number", "elementwise", LIBRARY, "sine"),
    ("cos", 1, "number", "elementwise", LIBRARY, "cosine"),
    ("tan", 1, "number", "elementwise", LIBRARY, "tangent"),
    ("asin", 1, "number", "elementwise", LIBRARY, "inverse sine"),
    ("acos", 1, "number", "elementwise", LIBRARY, "inverse cosine"),
    ("atan", 1, "number", "elementwise", LIBRARY, "inverse tangent"),
    ("atan2", 2, "number", "elementwise", LIBRARY, "the angle of the point (x = second, y = first)"),
    ("sinh", 1, "number", "elementwise", LIBRARY, "hyperbolic sine"),
    ("cosh", 1, "number", "elementwise", LIBRARY, "hyperbolic cosine"),
    ("tanh", 1, "number", "elementwise", LIBRARY, "hyperbolic tangent"),
    ("asinh", 1, "number", "elementwise", LIBRARY, "inverse hyperbolic sine"),
    ("acosh", 1, "number", "elementwise", LIBRARY, "inverse hyperbolic cosine"),
    ("atanh", 1, "number", "elementwise", LIBRARY, "inverse hyperbolic tangent"),
    # special
    ("erf", 1, "number", "elementwise", LIBRARY, "error function"),
    ("erfc", 1, "number", "elementwise", LIBRARY, "1 - erf(x)"),
    ("normal_cdf", 1, "number", "elementwise", LIBRARY, "standard normal distribution function"),
    ("normal_quantile", 1, "number", "elementwise", LIBRARY, "its inverse"),
    ("log_gamma", 1, "number", "elementwise", LIBRARY, "log |Gamma(x)|"),
    ("gamma_p", 2, "number", "elementwise", SPECIAL, "regularised lower incomplete gamma P(a, x)"),
    ("gamma_p_inverse", 2, "number", "elementwise", SPECIAL, "x with P(a, x) = p"),
    ("gamma_q", 2, "number", "elementwise", SPECIAL, "regularised upper incomplete gamma Q(a, x) = 1 - P(a, x)"),
    ("gamma_q_inverse", 2, "number", "elementwise", SPECIAL, "x with Q(a, x) = q"),
    ("beta_i", 3, "number", "elementwise", SPECIAL, "regularised incomplete beta I(a, b, x)"),
    ("beta_i_inverse", 3, "number", "elementwise", SPECIAL, "x with I(a, b, x) = p"),
    ("beta_i_upper_inverse", 3, "number", "elementwise", SPECIAL, "x with 1 - I(a, b, x) = q"),
    (
        "piecewise",
        2,
        "number",
        "elementwise",
        EXACT,
        "the quantile that the attribute `pieces` holds as polynomials, at P(X ≤ x) and 1 - P(X ≤ x)",
    ),
    # reduction over the cells of an array
    ("sum", 1, "number", "reduce", EXACT, "left to right, accumulating"),
    ("product", 1, "number", "reduce", EXACT, "left to right, accumulating"),
    ("minimum", 1, "number", "reduce", EXACT, "the smallest; NaN if one is"),
    ("maximum", 1, "number", "reduce", EXACT, "the largest; NaN if one is"),
    ("any", 1, "mask", "reduce", EXACT, "one holds"),
    ("all", 1, "mask", "reduce", EXACT, "all hold"),
    ("count", 1, "number", "reduce", EXACT, "how many hold"),
    ("first_true", 1, "number", "reduce", EXACT, "the 0-based position of the first that holds, row by row; -1 where none does"),
    ("last_true", 1, "number", "reduce", EXACT, "the 0-based position of the last that holds; -1 where none does"),
    (
        "segment_sum",
        1,
        "number",
        "segments",
        EXACT,
        "for each cell of a block the sum of the elements that the attribute `segments` names for it, left to right; 0 where it names none",
    ),
    ("first_error_of", 1, "tag", "reduce", EXACT, "the first tag that is an error, row by row; number where none is"),
    # shape
    (
        "window",
        1,
        "same",
        "window",
        EXACT,
        "for each cell of a block its height × width part of one array, which moves with the cell or not",
    ),
    ("transpose", 1, "same", "transpose", EXACT, "height and width exchanged"),
    ("as_array", 1, "same", "transpose", EXACT, "a block (rows × columns of cells) seen as one array of that height and width"),
    ("join", None, "same", "join", EXACT, "arrays placed side by side in one of attribute `size`, at attribute `places`"),
    (
        "gather",
        2,
        "same",
        "gather",
        EXACT,
        "the elements of the second operand at 0-based positions (row by row) given by the first; positions outside are clamped",
    ),
    # order
    ("sort", 1, "number", "sort", EXACT, "the elements of each array in ascending order, row by row"),
    ("search", 2, "number", "search", EXACT, "how many elements of the ascending array (second) are less than the first"),
    # control
    ("loop", None, "number", "loop", EXACT, "the body once per step, carrying values: see `program.Body`"),
    (
        "repeat",
        None,
        "number",
        "repeat",
        EXACT,
        "the body until every lane's step is done, each lane frozen when it is: see `program.Body`",
    ),
    # host
    ("scalar_call", None, "number", "scalar_call", EXACT, "a Python function of cell values, element by element"),
)

OPS: dict[str, Op] = {row[0]: Op(*row) for row in _ROWS}
