"""`python -m ultramc.contract`: the contract without a test framework. Exit code 1 where an engine breaks it or is missing.

Options: `--engines numpy,jax` (default: all that can run here), `--table` for the table of docs/engines.md.
"""

from __future__ import annotations

import argparse
import sys

from ultramc.contract.report import not_run, report, table
from ultramc.engines import registry


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ultramc.contract", description="Run the contract that every engine keeps.")
    parser.add_argument("--engines", help="names, separated by commas; each must be there (default: all that can run here)")
    parser.add_argument("--table", action="store_true", help="print which op each engine has, as docs/engines.md shows it")
    options = parser.parse_args(arguments)
    if options.table:
        print(table(), end="")
        return 0
    present = [info.name for info in registry.available_engines() if info.available]
    chosen = present if options.engines is None else [name.strip() for name in options.engines.split(",") if name.strip()]
    failed = False
    for name in chosen:
        found = report(name)
        print(found, flush=True)
        failed |= bool(found.failures)
    print(*not_run(chosen), sep="\n")
    return int(failed or not chosen)


if __name__ == "__main__":
    sys.exit(main())
