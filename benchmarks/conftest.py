"""At the end of a run, what rivals took: see test_rivals.py."""

from ratios import SECONDS, table

YARDSTICKS = ("NumPy by hand", "C by hand", "C by hand, one thread")


def pytest_configure(config):
    config.stash[SECONDS] = {}


def pytest_terminal_summary(terminalreporter, config):
    seconds = config.stash[SECONDS]
    for name in dict.fromkeys(name for name, _ in seconds):
        rows = {who: taken for (work, who), taken in seconds.items() if work == name}
        terminalreporter.write_line(f"\n{table(name, rows, *YARDSTICKS).text()}")
