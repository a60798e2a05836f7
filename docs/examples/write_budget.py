"""Write the example workbook: a five-year plan for one product, on three sheets.

    python docs/examples/write_budget.py [budget.xlsx]

It needs openpyxl, which saves formulas without values: Excel fills them in when it opens and saves the file.
"""

from __future__ import annotations

import sys
from itertools import pairwise

from openpyxl import Workbook
from openpyxl.styles import Alignment, Font
from openpyxl.workbook.defined_name import DefinedName
from openpyxl.worksheet.worksheet import Worksheet

MONEY = "#,##0;[Red]-#,##0"
PERCENT = "0.0%"
NUMBER = "#,##0"
FIRST_YEAR = 2027
YEARS = "BCDEF"

# row, label, value, number format, note
INPUTS = [
    (3, "Units sold in the first year", 12_000, NUMBER, "sales department, spring survey"),
    (4, "Unit cost", 100, MONEY, "supplier's offer, not yet signed"),
    (5, "Unit price", 165, MONEY, "list price less the usual discount"),
    (6, "Growth of units", 0.04, PERCENT, "a year"),
    (7, "Change of price", 0.015, PERCENT, "a year"),
    (8, "Change of cost", 0.025, PERCENT, "a year"),
    (9, "Fixed costs in the first year", 380_000, MONEY, "staff, rent, marketing"),
    (10, "Investment", 900_000, MONEY, "paid at the start"),
    (11, "Depreciation", 5, '0 "years"', "straight line"),
    (12, "Tax rate", 0.25, PERCENT, "no tax on a loss"),
    (13, "Discount rate", 0.09, PERCENT, "a year, at the end of each year"),
    (14, "Scenario", "Base", "General", "Low, Base or High"),
    (15, "Demand in this scenario", "=VLOOKUP(B14,A19:B21,2,FALSE)", PERCENT, "of the units above"),
]
SCENARIOS = [("Low", 0.85), ("Base", 1.0), ("High", 1.1)]
DISCOUNTS = [(0, 0.0), (10_000, 0.02), (13_000, 0.035), (16_000, 0.05)]

# row, label, formula of the first year, formula of the later years ({this} and {last} are columns), number format
PLAN = [
    (2, "Units", "=Inputs!$B$3*Inputs!$B$15", "={last}2*(1+Inputs!$B$6)", NUMBER),
    (3, "Unit price", "=Inputs!$B$5", "={last}3*(1+Inputs!$B$7)", "0.00"),
    (4, "Revenue", "={this}2*{this}3", "={this}2*{this}3", MONEY),
    (5, "Volume discount", *["=VLOOKUP({this}2,Inputs!$D$19:$E$22,2,TRUE)"] * 2, PERCENT),
    (6, "Unit cost before discount", "=Inputs!$B$4", "={last}6*(1+Inputs!$B$8)", "0.00"),
    (7, "Cost of goods", *["={this}2*{this}6*(1-{this}5)"] * 2, MONEY),
    (8, "Gross profit", *["={this}4-{this}7"] * 2, MONEY),
    (9, "Fixed costs", "=Inputs!$B$9", "={last}9*(1+Inputs!$B$8)", MONEY),
    (10, "Depreciation", *["=IF({this}1-$B$1<Inputs!$B$11,Inputs!$B$10/Inputs!$B$11,0)"] * 2, MONEY),
    (11, "Profit before tax", *["={this}8-{this}9-{this}10"] * 2, MONEY),
    (12, "Tax", *["=IF({this}11>0,{this}11*Inputs!$B$12,0)"] * 2, MONEY),
    (13, "Cash flow", *["={this}11-{this}12+{this}10"] * 2, MONEY),
    (14, "Cash since the start", "=-Inputs!$B$10+{this}13", "={last}14+{this}13", MONEY),
]

# row, label, formula, number format
SUMMARY = [
    (3, "Net present value", "=NPV(Inputs!B13,Plan!B13:F13)-Inputs!B10", MONEY),
    (4, "Revenue of five years", "=SUM(Plan!B4:F4)", MONEY),
    (5, "Gross margin", "=SUM(Plan!B8:F8)/B4", PERCENT),
    (6, "Worst year's cash flow", "=MIN(Plan!B13:F13)", MONEY),
    (7, "Cash at the end", "=Plan!F14", MONEY),
    (8, "Paid back within five years", '=IF(B7>=0,"yes","no")', "General"),
]

NAMES = {"growth": "Inputs!$B$6", "net_present_value": "Summary!$B$3"}


def write_budget(path: str) -> None:
    book = Workbook()
    write_inputs(book.active)
    write_plan(book.create_sheet("Plan"))
    write_summary(book.create_sheet("Summary"))
    for name, cell in NAMES.items():
        book.defined_names[name] = DefinedName(name, attr_text=cell)
    book.save(path)


def write_inputs(sheet: Worksheet) -> None:
    sheet.title = "Inputs"
    put_title(sheet, "Assumptions")
    for row, label, value, number_format, note in INPUTS:
        put_row(sheet, row, label, [value], number_format)
        sheet.cell(row, 3, note).font = Font(italic=True, color="808080")
    put_table(sheet, 1, ("Scenario", "Demand"), SCENARIOS)
    put_table(sheet, 4, ("Units from", "Volume discount"), DISCOUNTS)


def write_plan(sheet: Worksheet) -> None:
    put_row(sheet, 1, "Plan", [FIRST_YEAR, *(f"={last}1+1" for last in YEARS[:-1])], "0")
    for cell in sheet[1]:
        cell.font = Font(bold=True)
    for row, label, first, later, number_format in PLAN:
        formulas = [later.format(this=this, last=last) for last, this in pairwise(YEARS)]
        put_row(sheet, row, label, [first.format(this=YEARS[0]), *formulas], number_format)


def write_summary(sheet: Worksheet) -> None:
    put_title(sheet, "Is it worth it?")
    for row, label, formula, number_format in SUMMARY:
        put_row(sheet, row, label, [formula], number_format)


def put_title(sheet: Worksheet, title: str) -> None:
    sheet["A1"] = title
    sheet["A1"].font = Font(bold=True, size=14)


def put_row(sheet: Worksheet, row: int, label: str, values: list[object], number_format: str) -> None:
    sheet.cell(row, 1, label)
    sheet.column_dimensions["A"].width = 30
    for column, value in enumerate(values, start=2):
        cell = sheet.cell(row, column, value)
        cell.number_format = number_format
        cell.alignment = Alignment(horizontal="right")
        sheet.column_dimensions[cell.column_letter].width = 14


def put_table(sheet: Worksheet, column: int, heads: tuple[str, str], rows: list[tuple[object, float]]) -> None:
    for offset, head in enumerate(heads):
        sheet.cell(18, column + offset, head).font = Font(bold=True)
    for row, (key, share) in enumerate(rows, start=19):
        sheet.cell(row, column, key)
        sheet.cell(row, column + 1, share).number_format = PERCENT


if __name__ == "__main__":
    write_budget(sys.argv[1] if len(sys.argv) > 1 else "budget.xlsx")
