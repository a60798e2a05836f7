"""Models that the benchmarks run: each as a workbook, and by hand in NumPy from the same draws."""

from __future__ import annotations

import time
from collections.abc import Callable
from hashlib import blake2b
from io import BytesIO

import numpy as np
import openpyxl
from attrs import frozen
from openpyxl.utils import get_column_letter
from scipy.special import ndtri

import ultramc as mc
from ultramc.engines.base import Chunk, Executable, Job
from ultramc.engines.on_numpy import NumPyEngine

SEED = 42
PERIODS = 120
ROWS = 5_000


@frozen
class Model:
    simulation: mc.Simulation
    by_hand: Callable[[int], list[np.ndarray]]  # iterations → samples of the outputs, each (iterations,) or (iterations, cells)


def key(sheet: str) -> np.ndarray:
    """Of the draws of its cells."""
    return np.array([SEED, int.from_bytes(blake2b(sheet.lower().encode(), digest_size=8).digest(), "little")], dtype=np.uint64)


def uniforms(sheet: str, row: int, column: int, count: int) -> np.ndarray:
    """The draws of one cell: the five lines of docs/sampling.md."""
    counter = np.array([0, row, column, 0], dtype=np.uint64)
    raw = np.random.Philox(key=key(sheet), counter=counter).random_raw(count)
    return ((raw >> 12) + 0.5) * 2.0**-52


def normal(u: np.ndarray, law: mc.Normal) -> np.ndarray:
    return law.mean + law.std * ndtri(u)


def triangular(u: np.ndarray, law: mc.Triangular) -> np.ndarray:
    low, mode, high = law.minimum, law.mode, law.maximum
    rising = low + np.sqrt(u * (high - low) * (mode - low))
    falling = high - np.sqrt((1 - u) * (high - low) * (high - mode))
    return np.where(u < (mode - low) / (high - low), rising, falling)


def saved(book: openpyxl.Workbook) -> bytes:
    file = BytesIO()
    book.save(file)
    return file.getvalue()


ROLL_FORWARD_INPUTS = (
    ("growth", mc.Normal(0.003, 0.002)),
    ("inflation of price", mc.Normal(0.002, 0.001)),
    ("share of cost", mc.Normal(0.45, 0.03)),
    ("inflation of cost", mc.Normal(0.0025, 0.0005)),
    ("interest", mc.Normal(0.06, 0.005)),
    ("tax", mc.Normal(0.25, 0.01)),
    ("discount rate", mc.Normal(0.09, 0.01)),
    ("volume", mc.Normal(1000, 100)),
)
# name, value before the first period, formula: {x} is line x in the same period, {x-} in the period before
ROLL_FORWARD_LINES = (
    ("volume", "=B8", "={volume-}*(1+$B$1)"),
    ("price", 10, "={price-}*(1+$B$2)"),
    ("revenue", None, "={volume}*{price}"),
    ("cost", None, "={revenue}*$B$3"),
    ("fixed", 2500, "={fixed-}*(1+$B$4)"),
    ("margin", None, "={revenue}-{cost}-{fixed}"),
    ("interest", None, "={debt-}*$B$5/12"),
    ("before_tax", None, "={margin}-500-{interest}"),
    ("tax", None, "=MAX({before_tax},0)*$B$6"),
    ("available", None, "={margin}-{tax}"),
    ("repaid", None, "=MIN({debt-},MAX({available}-{interest},0)*0.6)"),
    ("debt", 60000, "={debt-}-{repaid}"),
    ("net", None, "={available}-{interest}-{repaid}"),
    ("cash", 0, "={cash-}+{net}"),
    ("factor", 1, "={factor-}/(1+$B$7/12)"),
    ("value", 0, "={value-}+{net}*{factor}"),
    ("lowest", 1e30, "=MIN({lowest-},{cash})"),
)
FIRST_LINE = 20


def roll_forward(*, unrolled: bool = False) -> Model:
    """A debt roll-forward of 120 periods and 17 lines."""
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Model"
    for row, (name, law) in enumerate(ROLL_FORWARD_INPUTS, 1):
        sheet.cell(row, 1, name)
        sheet.cell(row, 2, law.mean)
    rows = {name: FIRST_LINE + index for index, (name, _, _) in enumerate(ROLL_FORWARD_LINES)}
    for name, start, formula in ROLL_FORWARD_LINES:
        sheet.cell(rows[name], 1, name)
        sheet.cell(rows[name], 2, start)
        for column in range(3, PERIODS + 3):
            here, before = get_column_letter(column), get_column_letter(column - 1)
            places = {other: f"{here}{row}" for other, row in rows.items()} | {f"{other}-": f"{before}{row}" for other, row in rows.items()}
            sheet.cell(rows[name], column, formula.format_map(places))
    last = get_column_letter(PERIODS + 2)
    inputs = {f"Model!B{row}": law for row, (_, law) in enumerate(ROLL_FORWARD_INPUTS, 1)}
    outputs = [f"Model!{last}{rows[name]}" for name in ("value", "lowest", "debt")]
    simulation = mc.Simulation(saved(book), inputs=inputs, outputs=outputs, unrolled=unrolled)

    def by_hand(count: int) -> list[np.ndarray]:
        draws = [normal(uniforms("Model", row, 2, count), law) for row, (_, law) in enumerate(ROLL_FORWARD_INPUTS, 1)]
        growth, price_inflation, share, cost_inflation, rate, tax_rate, discount, volume = draws
        price, fixed = 10.0, 2500.0
        debt, cash, factor, value, lowest = np.full(count, 60000.0), np.zeros(count), np.ones(count), np.zeros(count), np.full(count, 1e30)
        for _ in range(PERIODS):
            volume = volume * (1 + growth)
            price = price * (1 + price_inflation)
            revenue = volume * price
            fixed = fixed * (1 + cost_inflation)
            margin = revenue - revenue * share - fixed
            interest = debt * rate / 12
            available = margin - np.maximum(margin - 500 - interest, 0) * tax_rate
            repaid = np.minimum(debt, np.maximum(available - interest, 0) * 0.6)
            debt = debt - repaid
            net = available - interest - repaid
            cash = cash + net
            factor = factor / (1 + discount / 12)
            value = value + net * factor
            lowest = np.minimum(lowest, cash)
        return [value, lowest, debt]

    return Model(simulation, by_hand)


CASH_FLOW_LAWS = (mc.Triangular(800, 1000, 1300), mc.Normal(12, 1), mc.Uniform(6, 8), mc.Normal(0.03, 0.01))  # of B1 to B4


def cash_flow(*, unrolled: bool = False) -> Model:
    """Twenty formulas: five years of volume × margin less fixed cost, discounted."""
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Model"
    volumes, prices, costs, trend = CASH_FLOW_LAWS
    for row, law in enumerate(CASH_FLOW_LAWS, 1):
        sheet.cell(row, 2, law.mean)
    for year in range(5):
        column, before = get_column_letter(year + 2), get_column_letter(year + 1)
        sheet[f"{column}10"] = "=B1" if year == 0 else f"={before}10*(1+$B$4)"
        sheet[f"{column}11"] = f"={column}10*($B$2-$B$3)"
        sheet[f"{column}12"] = f"={column}11-1500"
        sheet[f"{column}13"] = f"={column}12/1.1^{year + 1}"
    sheet["B15"] = "=SUM(B13:F13)-8000"
    inputs = {f"Model!B{row}": law for row, law in enumerate(CASH_FLOW_LAWS, 1)}
    simulation = mc.Simulation(saved(book), inputs=inputs, outputs=["Model!B15"], unrolled=unrolled)

    def by_hand(count: int) -> list[np.ndarray]:
        u = [uniforms("Model", row, 2, count) for row in range(1, 5)]
        volume, price, growth = triangular(u[0], volumes), normal(u[1], prices), normal(u[3], trend)
        cost = costs.minimum + u[2] * (costs.maximum - costs.minimum)
        total = np.zeros(count)
        for year in range(1, 6):
            volume = volume if year == 1 else volume * (1 + growth)
            total = total + (volume * (price - cost) - 1500) / 1.1**year
        return [total - 8000]

    return Model(simulation, by_hand)


CLASSES = 8
RATES = [0.04 + 0.005 * number for number in range(CLASSES)]  # premium, of the sum insured
BANDS = ((0, 1.0), (0.5, 0.9), (1, 0.8), (1.5, 0.65), (2, 0.5))  # from this loss ratio on, the share of the loss that is retained
PORTFOLIO_COLUMNS = (
    ("draw", "=RAND()"),
    ("rate", "=VLOOKUP(A{row},$L$2:$M$9,2,FALSE)"),
    ("premium", "=B{row}*D{row}"),
    ("loss", "=B{row}*0.2*C{row}^3"),
    ("ratio", "=F{row}/E{row}"),
    ("retained", "=VLOOKUP(G{row},$O$2:$P$6,2,TRUE)"),
    ("result", "=E{row}-F{row}*H{row}"),
)


def policies(rows: int) -> tuple[list[int], list[float]]:
    """Class, from 1, and sum insured of each."""
    return [1 + row % CLASSES for row in range(rows)], [1000.0 * (1 + row % 17) for row in range(rows)]


def premiums(rows: int) -> np.ndarray:
    """Of each policy, the sum insured times the rate of its class."""
    classes, sums = policies(rows)
    return np.array(sums) * np.array(RATES)[np.array(classes) - 1]


def portfolio(rows: int = ROWS, *, unrolled: bool = False) -> Model:
    """A portfolio of policies, one a row: a draw, two lookups, the result; then results by class and their total."""
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Portfolio"
    classes, sums = policies(rows)
    sheet.append(["class", "sum", *(name for name, _ in PORTFOLIO_COLUMNS)])
    for row, given in enumerate(zip(classes, sums, strict=True), 2):
        sheet.append([*given, *(formula.format(row=row) for _, formula in PORTFOLIO_COLUMNS)])
    last = rows + 1
    for number, rate in enumerate(RATES, 1):
        row = number + 1
        for column, value in zip("LMRS", (number, rate, number, f"=SUMIF($A$2:$A${last},R{row},$I$2:$I${last})"), strict=True):
            sheet[f"{column}{row}"] = value
    for row, (limit, share) in enumerate(BANDS, 2):
        sheet[f"O{row}"], sheet[f"P{row}"] = limit, share
    sheet["S10"] = "=SUM(S2:S9)"
    simulation = mc.Simulation(saved(book), outputs=["Portfolio!S2:S9", "Portfolio!S10"], unrolled=unrolled)

    code, insured = np.array(classes) - 1, np.array(sums)[:, None]
    premium = premiums(rows)[:, None]
    limits, shares = (np.array(column) for column in zip(*BANDS, strict=True))
    membership = (np.arange(CLASSES)[:, None] == code).astype(float)

    def by_hand(count: int) -> list[np.ndarray]:
        drawn = np.array([uniforms("Portfolio", row, 3, count) for row in range(2, last + 1)])
        loss = insured * 0.2 * drawn**3
        retained = shares[np.searchsorted(limits, loss / premium, side="right") - 1]
        by_class = membership @ (premium - loss * retained)
        return [by_class.T, by_class.sum(axis=0)]

    return Model(simulation, by_hand)


def two_cells() -> mc.Simulation:
    book = openpyxl.Workbook()
    book.active["A1"], book.active["B1"] = 1, "=A1*2"
    return mc.Simulation(saved(book), inputs={"A1": mc.Uniform(0, 1)}, outputs=["B1"])


class Waiting(NumPyEngine):
    """Half a second for each thousand iterations asked for at once; looks at other numbers of them are free."""

    name = "waiting"

    def run(self, executable: Executable, job: Job, first: int, count: int) -> Chunk:
        time.sleep(0.0005 * count if count == 1_000 else 0.0)
        return super().run(executable, job, first, count)
