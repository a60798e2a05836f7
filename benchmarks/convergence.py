"""How fast the error of a mean falls with the number of iterations, under each sampling: a plot for the docs, and a table.

    python benchmarks/convergence.py docs/images/convergence.svg

The model is a net present value over ten years, from a price, a volume, a cost, two growth rates and a discount rate. The error
is the root mean square over seeds of the difference to the mean of a Sobol run of 2^20 iterations.
"""

from __future__ import annotations

import sys
from io import BytesIO

import numpy as np
import openpyxl
from openpyxl.utils import get_column_letter

import ultramc as mc

SEEDS = range(1, 25)
SIZES = [2**power for power in range(6, 17)]
SAMPLINGS = {
    "random": mc.Random(),
    "antithetic": mc.Antithetic(),
    "latin_hypercube": mc.LatinHypercube(replicates=1),
    "sobol": mc.Sobol(replicates=1),
}
INPUTS = {
    "B1": mc.Triangular(9, 10, 12),
    "B2": mc.LogNormal(1000, 150),
    "B3": mc.PERT(4, 5, 8),
    "B4": mc.Normal(0.02, 0.01),
    "B5": mc.Normal(0.03, 0.01),
    "B6": mc.Uniform(0.07, 0.1),
}


def cash_flow() -> mc.Simulation:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Plan"
    for row, law in enumerate(INPUTS.values(), 1):
        sheet.cell(row, 2, law.mean)
    for year in range(10):
        column = get_column_letter(3 + year)
        sheet[f"{column}8"] = f"=$B$1*(1+$B$4)^{year}*$B$2-$B$3*(1+$B$5)^{year}*$B$2-1500"
        sheet[f"{column}9"] = f"=MAX({column}8,0)*0.25"
        sheet[f"{column}10"] = f"={column}8-{column}9"
    sheet["B12"] = "=NPV($B$6,C10:L10)-15000"
    file = BytesIO()
    book.save(file)
    return mc.Simulation(file.getvalue(), inputs={f"Plan!{cell}": law for cell, law in INPUTS.items()}, outputs={"NPV": "Plan!B12"})


def errors(simulation: mc.Simulation) -> dict[str, np.ndarray]:
    """Root mean square error of the mean, by sampling: (sizes,)."""
    exact = float(np.mean([simulation.run(2**20, seed=seed, sampling="sobol", check="off")["NPV"].mean for seed in (101, 102)]))
    found = {}
    for name, sampling in SAMPLINGS.items():
        means = [
            [simulation.run(size, seed=seed, sampling=sampling, check="off", validate=False)["NPV"].mean for seed in SEEDS]
            for size in SIZES
        ]
        found[name] = np.sqrt(np.mean((np.array(means, float) - exact) ** 2, axis=1))
    return found


def slope(error: np.ndarray) -> float:
    """Of log error against log n, from 2^8 on."""
    return float(np.polyfit(np.log(SIZES[2:]), np.log(error[2:]), 1)[0])


def table(found: dict[str, np.ndarray]) -> str:
    lines = [f"| sampling | exponent | error at n = {SIZES[-1]:,} | variance, random ÷ this |", "| --- | --: | --: | --: |"]
    for name, error in found.items():
        ratio = (found["random"][-1] / error[-1]) ** 2
        lines.append(f"| {name} | {slope(error):.2f} | {error[-1]:.3g} | {ratio:,.0f} |")
    return "\n".join(lines)


def plot(found: dict[str, np.ndarray], path: str) -> None:
    import matplotlib

    matplotlib.use("agg")
    matplotlib.rcParams["svg.hashsalt"] = "ultramc"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    for (name, error), marker in zip(found.items(), "os^D", strict=True):
        axes.loglog(SIZES, error, marker=marker, markersize=4, label=f"{name} ({slope(error):.2f})", base=2)
    axes.set(xlabel="iterations", ylabel="error of the mean NPV (root mean square over 24 seeds)")
    axes.grid(alpha=0.3)
    axes.legend(title="sampling (fitted exponent)")
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    measured = errors(cash_flow())
    print(table(measured))
    if len(sys.argv) > 1:
        plot(measured, sys.argv[1])
