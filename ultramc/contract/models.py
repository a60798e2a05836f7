"""Whole models for the contract: small workbooks as data, and some that are put together at random from a fixed seed."""

from __future__ import annotations

import io
import random
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from xml.sax.saxutils import escape

from attrs import frozen

from ultramc.address import column_letters, parse_area
from ultramc.program import Program

Content = float | str


@frozen
class Model:
    """`cells`: address → number, text or formula; a formula may be filled to the right: "C3:H3". `inputs`: address → distribution."""

    cells: Mapping[str, Content]
    inputs: Mapping[str, str]
    outputs: tuple[str, ...]


MODELS: Mapping[str, Model] = {
    "project": Model(
        {
            "B1": 1000.0,
            "B2": 0.08,
            "B3": 120.0,
            "C5": 0.0,
            "D5:H5": "=C5+1",
            "C6": "=-B1",
            "D6": "=B3*4",
            "E6:H6": "=D6*(1+$B$2/2)-IF(D6>450,30,0)",
            "B8": "=NPV(B2,D6:H6)+C6",
            "B9": "=IRR(C6:H6)",
            "B10": "=SUM(D6:H6)/B1",
            "B11": "=PMT(B2/12,60,-B1)*60",
        },
        {"B1": "Triangular(900, 1000, 1300)", "B2": "PERT(0.05, 0.08, 0.12)", "B3": "Normal(120, 15)"},
        ("B8", "B9", "B10", "B11", "D6:H6"),
    ),
    "roll-forward": Model(
        {
            "B1": 0.01,
            "B2": 90.0,
            "C4": 5000.0,
            "D4:Z4": "=C7",
            "C5:Z5": "=C4*$B$1",
            "C6:Z6": "=MIN(C4+C5,$B$2*3)",
            "C7:Z7": "=C4+C5-C6",
            "B9": "=SUM(C5:Z5)",
            "B10": '=COUNTIF(C7:Z7,">0")',
            "B11": "=MAX(C7:Z7)-MIN(C7:Z7)",
        },
        {"B1": "Uniform(0.005, 0.02)", "B2": "LogNormal(90, 20)"},
        ("Z7", "B9", "B10", "B11"),
    ),
    "look-ups": Model(
        {
            **{f"A{row}": float(10 * row) for row in range(1, 8)},
            **{f"B{row}": float(row * row) for row in range(1, 8)},
            **{f"C{row}": text for row, text in enumerate(("north", "south", "north", "east", "south", "west", "north"), 1)},
            "E1": 33.0,
            "E2": 2.0,
            "E4": "=VLOOKUP(E1,A1:B7,2,TRUE)",
            "E5": "=INDEX(B1:B7,MATCH(E1,A1:A7,1))+INDEX(A1:B7,E2,2)",
            "E6": "=IFERROR(VLOOKUP(E1*3,A1:B7,2,FALSE),-1)",
            "E7": '=SUMIF(C1:C7,"north",B1:B7)*E2+SUMIF(A1:A7,">30",B1:B7)',
            "E8": "=CHOOSE(E2,E1,E1*2,E1*3)",
            "E9": "=LOOKUP(E1,A1:A7,B1:B7)",
        },
        {"E1": "Uniform(12, 75)", "E2": "IntUniform(1, 3)"},
        ("E4", "E5", "E6", "E7", "E8", "E9"),
    ),
    "errors and text": Model(
        {
            "A1": 0.0,
            "A2": 5.0,
            "B1": "=A2/A1",
            "B2": '=IF(A1=0,"none",IF(A1>1,"many",A2))',
            "B3": "=IFERROR(B1,0)+1",
            "B4": "=SQRT(A2-5)",
            "B5": '=IF(ISERROR(B4),"negative",B4)',
            "B6": "=SUM(B1,A2)",
            "B7": "=IF(ISTEXT(B2),1,2)",
        },
        {"A1": "Discrete([0, 1, 2], [0.2, 0.5, 0.3])", "A2": "Normal(5, 2)"},
        ("B1", "B2", "B3", "B4", "B5", "B6", "B7"),
    ),
    "statistics": Model(
        {
            "A1": 3.0,
            "A2": 2.0,
            "B1": "=A1",
            "B2:F2": "=A2*1.1+B1",
            "B4": "=MEDIAN(B2:F2)",
            "B5": "=STDEV(B2:F2)",
            "B6": "=PERCENTILE(B2:F2,0.3)",
            "B7": "=LARGE(B2:F2,2)-SMALL(B2:F2,2)",
            "B8": "=SUMPRODUCT(B2:F2,B2:F2)",
            "B9": "=RANK(A1,B2:F2)",
            "B10": "=NORMDIST(A1,3,1,TRUE)+EXP(-A2)+LN(A2)",
            "B11": "=CORREL(B2:F2,A12:E12)",
            "A12": 1.0,
            "B12:E12": "=A12*2-A1/9",
        },
        {"A1": "Gamma(2, 1.5)", "A2": "Weibull(1.5, 2)"},
        ("B4", "B5", "B6", "B7", "B8", "B9", "B10", "B11"),
    ),
    "dates and rounding": Model(
        {
            "A1": 45000.0,
            "A2": 17.3,
            "B1": "=EDATE(A1,3)",
            "B2": "=YEARFRAC(A1,B1,1)",
            "B3": "=WEEKDAY(A1)+MONTH(A1)*100",
            "B4": "=ROUND(A2,1)+ROUNDUP(A2,0)-INT(A2)",
            "B5": "=MOD(A2,3)-CEILING(A2,0.5)",
            "B6": "=DATE(2024,1+A2/4,1)",
        },
        {"A1": "IntUniform(44000, 46000)", "A2": "Uniform(-20, 20)"},
        ("B1", "B2", "B3", "B4", "B5", "B6"),
    ),
    "a circle that a switch turns off": Model(
        {"A1": 0.0, "A2": 7.0, "B1": "=IF(A1=1,B3,A2)", "B2": "=B1*2", "B3": "=B2+IF(A1=1,B1,1)"},
        {"A2": "Exponential(7)"},
        ("B3",),
    ),
}

# {v}: a cell of a line above, at this or an earlier period; {p}: the same line, one period before; {i}: an input; {n}: a number;
# {w}: a window of two periods
FORMULAS = (
    "{v}*{n}+{v}",
    "{v}*(1+{i}/10)",
    "{v}/{v}",
    "IF({v}>{n},{v},{v}-{n})",
    "MAX({v},{n})-MIN({v},{v})",
    "IFERROR({v}/({v}-{v}),{n})",
    "SUM({w})*{n}",
    "AVERAGE({w})+{v}",
    "EXP(-ABS({v})/9)",
    "SQRT(ABS({v}))",
    "AND({v}>0,{v}<{n})",
    "{p}*0.5+{v}",
    "{p}+{i}*{v}",
    "IF({p}>{n},{v},{p}+1)",
    "SUMPRODUCT({w},{w})",
    'COUNTIF({w},">1")',
)
LINES, PERIODS, GENERATED = 8, 6, 12


def generated(number: int) -> Model:
    """Two inputs, and lines of formulas, each filled to the right; the first of them grows by an input."""
    chance = random.Random(number)
    last, bottom = column_letters(2 + PERIODS), 3 + LINES
    cells: dict[str, Content] = {"A1": 2.0, "A2": 1.5, "B3": 1.0, f"C3:{last}3": "=B3*0.9+$A$1"}
    for row in range(4, bottom + 1):
        cells[f"B{row}"] = chance.choice((1.0, 0.0, 10.0))
        cells[f"C{row}:{last}{row}"] = "=" + _filled(chance.choice(FORMULAS), row, chance)
    return Model(cells, {"A1": "Normal(2, 1)", "A2": "Uniform(0.5, 3)"}, (f"{last}4:{last}{bottom}", f"C4:{last}4"))


def _filled(template: str, row: int, chance: random.Random) -> str:
    """As it stands in column C."""
    filled: Mapping[str, Callable[[], str]] = {
        "v": lambda: f"{chance.choice('BC')}{chance.randint(3, row - 1)}",
        "p": lambda: f"B{row}",
        "i": lambda: chance.choice(("$A$1", "$A$2")),
        "n": lambda: chance.choice(("0", "1", "2", "0.5", "10")),
        "w": lambda: "B{0}:C{0}".format(chance.randint(3, row - 1)),
    }
    return re.sub(r"\{(\w)\}", lambda found: filled[found[1]](), template)


@cache
def models() -> Mapping[str, Model]:
    return {**MODELS, **{f"generated {number}": generated(number) for number in range(GENERATED)}}


@cache
def program_of_model(name: str) -> Program:
    """What a simulation of the model compiles."""
    from ultramc.distributions import parse_distribution
    from ultramc.simulation import Simulation

    model = models()[name]
    inputs = {cell: parse_distribution(law) for cell, law in model.inputs.items()}
    return Simulation(workbook(model.cells), inputs=inputs, outputs=list(model.outputs)).compiled.program


# A workbook is a zip file of five parts

_TYPES = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_NAMESPACE = "http://schemas.openxmlformats.org"
_PARTS = {
    "[Content_Types].xml": f'<Types xmlns="{_NAMESPACE}/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPES}.sheet.main+xml"/>'
    f'<Override PartName="/xl/sheet.xml" ContentType="{_TYPES}.worksheet+xml"/></Types>',
    "_rels/.rels": f'<Relationships xmlns="{_NAMESPACE}/package/2006/relationships"><Relationship Id="a" Target="xl/workbook.xml" '
    f'Type="{_NAMESPACE}/officeDocument/2006/relationships/officeDocument"/></Relationships>',
    "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_NAMESPACE}/package/2006/relationships"><Relationship Id="a" '
    f'Target="sheet.xml" Type="{_NAMESPACE}/officeDocument/2006/relationships/worksheet"/></Relationships>',
    "xl/workbook.xml": f'<workbook xmlns="{_NAMESPACE}/spreadsheetml/2006/main" xmlns:r="{_NAMESPACE}/officeDocument/2006/relationships">'
    '<sheets><sheet name="Model" sheetId="1" r:id="a"/></sheets></workbook>',
}


def workbook(cells: Mapping[str, Content]) -> bytes:
    """A file with one sheet, Model; no saved values."""
    rows: dict[int, dict[int, str]] = {}
    for address, content in cells.items():
        for row, column, text in _elements(address, content):
            rows.setdefault(row, {})[column] = text
    body = "".join(f'<row r="{row}">{"".join(each[column] for column in sorted(each))}</row>' for row, each in sorted(rows.items()))
    sheet = f'<worksheet xmlns="{_NAMESPACE}/spreadsheetml/2006/main"><sheetData>{body}</sheetData></worksheet>'
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in {**_PARTS, "xl/sheet.xml": sheet}.items():
            archive.writestr(name, part)
    return stream.getvalue()


def _elements(address: str, content: Content) -> Iterator[tuple[int, int, str]]:
    """Row, column and XML of each cell. A formula that is filled has one text, for all cells: a shared formula."""
    area = parse_area(address)
    assert area is not None, address
    row, left, _, right = area
    for column in range(left, right + 1):
        at = f'<c r="{column_letters(column)}{row}"'
        if isinstance(content, float):
            yield row, column, f"{at}><v>{content!r}</v></c>"
        elif not content.startswith("="):
            yield row, column, f'{at} t="inlineStr"><is><t>{escape(content)}</t></is></c>'
        else:
            text = escape(content[1:]) if column == left else ""
            shared = f't="shared" si="{row * 100 + left}" ref="{address}"' if right > left else ""
            yield row, column, f"{at}><f {shared}>{text}</f></c>"
