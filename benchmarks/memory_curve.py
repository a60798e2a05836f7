"""Memory and time of runs with keep="summary" and keep="samples", by number of iterations: python benchmarks/memory_curve.py [exponent].

Each run in a process of its own, on the native engine; two inputs and one output, so three cells. Writes no file.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

LARGEST = 8  # a power of ten; 9 takes minutes
MOST_SAMPLES = 10**7


def model(folder: str) -> Path:
    import openpyxl

    book, path = openpyxl.Workbook(), Path(folder, "small.xlsx")
    for address, content in {"A1": 1, "A2": 2, "B1": "=A1*A2+EXP(A1/3)"}.items():
        book.active[address] = content
    book.save(path)
    return path


def measure(keep: str, iterations: int) -> str:
    import ultramc as mc

    with tempfile.TemporaryDirectory() as folder:
        sim = mc.Simulation(model(folder), inputs={"A1": mc.Normal(0, 1), "A2": mc.Uniform(1, 3)}, outputs=["B1"])
        result = sim.run(iterations, seed=1, engine="native", keep=keep)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return f"{keep:8} {iterations:>13,} {peak:9,.0f} MiB {result.elapsed:9.2f} s  mean {result['B1'].mean!r}"


def main(largest: int) -> None:
    for exponent in range(5, largest + 1):
        for keep in ("summary", "samples"):
            if keep == "summary" or 10**exponent <= MOST_SAMPLES:
                print(subprocess.check_output([sys.executable, __file__, keep, str(10**exponent)], text=True), end="", flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(measure(sys.argv[1], int(sys.argv[2])))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else LARGEST)
