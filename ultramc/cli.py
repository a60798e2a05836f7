"""The command line: ultramc run | check | explain | bench.

Exit codes: 0 done, 1 failed, 2 wrong usage (an argument that makes no sense), 130 cancelled.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultramc.errors import InputError, NoOutputs, SimulationCancelled, UltramcError

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from ultramc.dialects.base import Settings

DONE, FAILED, USAGE, CANCELLED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    _show_what_can_be_shown()
    options = _parser().parse_args(arguments)
    try:
        code = int(options.command(options))
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Whoever read our output has gone; without this Python complains once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except KeyboardInterrupt as error:
        return _said(str(error) or "cancelled", CANCELLED)
    except (UltramcError, OSError) as error:
        return _said(str(error), _code_of(error))


def _show_what_can_be_shown() -> None:
    """A terminal that lacks a character of a picture shows a question mark."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _said(message: str, code: int) -> int:
    print(f"ultramc: {message}", file=sys.stderr)
    return code


def _code_of(error: Exception) -> int:
    if isinstance(error, SimulationCancelled):
        return CANCELLED
    return USAGE if isinstance(error, (InputError, NoOutputs)) else FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ultramc", description="Monte Carlo simulation of Excel workbooks, without Excel.")
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(required=True, metavar="run | check | explain | bench")
    _run_options(commands.add_parser("run", help="simulate a workbook"))
    _check_options(commands.add_parser("check", help="recalculate every formula and compare it with Excel's saved value"))
    _explain_options(commands.add_parser("explain", help="show the way of one cell, stop by stop"))
    _bench_options(commands.add_parser("bench", help="run a simulation on several engines, side by side"))
    return parser


def _version() -> str:
    from importlib.metadata import version

    return f"ultramc {version('ultramc')}"


def _run_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=_run)
    _model_options(parser)
    parser.add_argument("-n", "--iterations", type=int, metavar="N", help="needed where the workbook stores no number")
    _output_option(parser)
    parser.add_argument("--seed", type=int, help="0 ≤ seed < 2^64; that of the workbook, else drawn and shown, if left out")
    parser.add_argument("--engine", default="auto", help="a name; left out, numpy, or native for a long run where it works")
    parser.add_argument("--sampling", help="random, antithetic, latin_hypercube or sobol; that of the workbook, else random, if left out")
    parser.add_argument(
        "--check", choices=("raise", "warn", "off"), default="raise", help="what to do where the base case differs from Excel's"
    )
    parser.add_argument("--on-error", choices=("exclude", "raise"), default="exclude")
    parser.add_argument("--keep", choices=("samples", "summary"), default="samples", help="summary: any number of iterations, no samples")
    parser.add_argument("--checkpoint", metavar="FOLDER", help="keep finished iterations there, from which the same command goes on")
    parser.add_argument("--processes", type=int, metavar="N", help="compute in so many processes")
    parser.add_argument("--memory-limit", metavar="SIZE", help="such as 2GB")
    parser.add_argument("--json", metavar="FILE", help="write statistics as JSON; - for standard output")
    parser.add_argument("--samples", metavar="FILE.parquet", help="write all samples; FILE.csv as text")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def _model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="an .xlsx or .xlsm file")
    parser.add_argument(
        "-i",
        "--input",
        action="append",
        default=[],
        type=assignment,
        metavar='"REF=LAW"',
        help='such as "Costs!B4=Triangular(90,100,130)"',
    )
    parser.add_argument("--dialect", help='how draws are written in the sheet: "@RISK" or "plain Excel"; found out if left out')


def _output_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o",
        "--output",
        action="append",
        default=[],
        metavar="REF",
        help="a cell, range or name to collect; may be repeated; else those that the workbook declares",
    )


def assignment(text: str) -> tuple[str, object]:
    """``Sheet!A1=Triangular(1,2,3)`` → the reference and the distribution; wrong usage where it is neither."""
    from ultramc.distributions import parse_distribution

    reference, equals, law = text.rpartition("=") if "(" not in text else _before_law(text)
    if not equals:
        raise argparse.ArgumentTypeError(f'{text!r}: write REF=LAW, such as "Costs!B4=Triangular(90,100,130)"')
    try:
        return reference.strip(), parse_distribution(law.strip())
    except InputError as error:
        raise argparse.ArgumentTypeError(f"{reference.strip()}: {error}") from None


def _before_law(text: str) -> tuple[str, str, str]:
    """The law may hold ``=`` itself: Normal(mean=1, std=2)."""
    before, _, _ = text.partition("(")
    reference, equals, name = before.rpartition("=")
    return reference, equals, name + text[len(before) :]


def _run(options: argparse.Namespace) -> int:
    from ultramc.simulation import Simulation

    _check_folder(options.samples)
    _check_folder(options.json)
    if options.samples and options.keep == "summary":
        raise InputError("--samples writes what --keep summary does not keep; leave one of them out")
    simulation = Simulation(options.model, inputs=_inputs(options), outputs=options.output or None, dialect=options.dialect)
    with _pool(options.processes) as executor:
        result = simulation.run(
            options.iterations,
            engine=options.engine,
            seed=options.seed,
            sampling=options.sampling,
            check=options.check,
            on_error=options.on_error,
            keep=options.keep,
            progress=not options.quiet and sys.stderr.isatty(),
            memory_limit=options.memory_limit,
            checkpoint=options.checkpoint,
            executor=executor,
        )
    if options.samples:
        write = result.to_csv if options.samples.lower().endswith(".csv") else result.to_parquet
        write(options.samples)
    if options.json:
        _write(options.json, result.to_json())
    if options.json != "-":
        print(result)
        print(f"dialect: {simulation.graph.dialect.name}{_stored(simulation.settings)}")
    return DONE


def _pool(processes: int | None) -> AbstractContextManager[Executor | None]:
    from ultramc.arguments import at_least_one
    from ultramc.executors import process_pool

    return nullcontext() if processes is None else process_pool(at_least_one("--processes", processes))


def _bench_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=_bench)
    _model_options(parser)
    _output_option(parser)
    parser.add_argument("-n", "--iterations", type=int, metavar="N", default=100_000)
    parser.add_argument("--seed", type=int, default=0, help="0 ≤ seed < 2^64")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engines", help="names, separated by commas; all that can run here, if left out")


def _bench(options: argparse.Namespace) -> int:
    from ultramc.benchmarking import benchmark
    from ultramc.simulation import Simulation

    simulation = Simulation(options.model, inputs=_inputs(options), outputs=options.output or None, dialect=options.dialect)
    engines = None if options.engines is None else [name.strip() for name in options.engines.split(",") if name.strip()]
    found = benchmark(simulation, engines, iterations=options.iterations, seed=options.seed, rounds=options.rounds)
    print(found)
    return FAILED if any(row.refusal for row in found.rows) else DONE


def _stored(settings: Settings) -> str:
    """What the workbook stores for its simulation, all of which holds unless the command says otherwise."""
    stored = {
        "iterations": f"{settings.iterations:,}" if settings.iterations is not None else "",
        "seed": str(settings.seed) if settings.seed is not None else "",
        "sampling": settings.sampling.name if settings.sampling is not None else "",
    }
    return "".join(f"; stored {name}: {value}" for name, value in stored.items() if value)


def _inputs(options: argparse.Namespace) -> dict[str, Any]:
    inputs: dict[str, Any] = {}
    for reference, law in options.input:
        if reference in inputs:
            raise InputError(f"input {reference!r} is given twice; name it once")
        inputs[reference] = law
    return inputs


def _check_folder(target: str | None) -> None:
    """Raises InputError where a file could not be written anyway, before the work is done."""
    if target and not Path(target).absolute().parent.is_dir():
        raise InputError(f"{target}: there is no folder {Path(target).parent}; make it first")


def _write(target: str, text: str) -> None:
    if target == "-":
        print(text)
    else:
        Path(target).write_text(text + "\n", encoding="utf-8")


def _check_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=_check)
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("--json", metavar="FILE", help="write every formula cell as JSON; - for standard output")


def _check(options: argparse.Namespace) -> int:
    from ultramc.checking import check

    _check_folder(options.json)
    report = check(options.model)
    if options.json:
        _write(options.json, json.dumps(report.to_json(), ensure_ascii=False))
    if options.json != "-":
        print(report)
    return DONE if report.passed else FAILED


def _explain_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=_explain)
    _model_options(parser)
    parser.add_argument("cell", metavar="CELL", help="a cell or a name")


def _explain(options: argparse.Namespace) -> int:
    from ultramc.simulation import Simulation

    simulation = Simulation(options.model, inputs=_inputs(options), outputs=[options.cell], dialect=options.dialect)
    print(simulation.explain(options.cell))
    return DONE
