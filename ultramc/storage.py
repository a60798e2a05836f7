"""Results in files: one .npz that holds all samples, with the rest as JSON inside. Nothing in it is ever unpickled."""

from __future__ import annotations

import json
import math
import os
import secrets
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ultramc.address import CellRef
from ultramc.correlation import KINDS, Group, Rows
from ultramc.digest import Bins, Digest, Failure
from ultramc.errors import SamplesNotKept, UnreadableResult, optional
from ultramc.moments import Moments
from ultramc.report import spreadsheet_text
from ultramc.results import PLAIN, AnyColumn, Column, Digests, Input, Output, Result, Variable
from ultramc.values import ERROR_NAMES, FIRST_ERROR, Kind, number_text, to_json

FORMAT = "ultramc result"
VERSION = 1
SUMMARY_VERSION = 2  # of files that hold digests
ADDED = {"groups": (), "engine_reason": ""}  # which files of this version may lack

# What broken bytes make of the zip, NumPy and JSON readers, and what strange values make of our own code.
_UNREADABLE = (
    OSError,
    zipfile.BadZipFile,
    EOFError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    NotImplementedError,
    MemoryError,
    RecursionError,
)


def save(result: Result, path: str | os.PathLike[str]) -> None:
    arrays = _arrays("inputs", result.inputs) | _arrays("outputs", result.outputs)
    metadata = {
        "format": FORMAT,
        "version": SUMMARY_VERSION if result.keep == "summary" else VERSION,
        **{name: getattr(result, name) for name in PLAIN},
        "warnings": result.warnings,
        "groups": [_described_group(group) for group in result.groups],
        "inputs": [_described(label, variable) for label, variable in result.inputs.items()],
        "outputs": [_described(label, variable) for label, variable in result.outputs.items()],
    }
    arrays["metadata"] = np.frombuffer(json.dumps(metadata, ensure_ascii=False).encode(), np.uint8)
    write_whole(path, lambda stream: _write_arrays(stream, arrays))


def write_whole(path: str | os.PathLike[str], write: Callable[[IO[bytes]], object]) -> None:
    """Beside the target first, then renamed over it, so that no reader meets half a file."""
    target = Path(path)
    if not target.absolute().parent.is_dir():
        raise FileNotFoundError(f"{target}: there is no folder {target.parent}; make it first")
    beside = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    try:
        with beside.open("xb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)


def _write_arrays(stream: IO[bytes], arrays: Mapping[str, NDArray[Any]]) -> None:
    """What `numpy.savez` does, without its keyword names."""
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _arrays(role: str, variables: Mapping[str, Variable]) -> dict[str, NDArray[Any]]:
    """Named "outputs.0.samples", "outputs.0.tags", and so on."""
    found: dict[str, NDArray[Any]] = {}
    for index, variable in enumerate(variables.values()):
        name, column = f"{role}.{index}", variable.column
        if isinstance(column, Digests):
            parts = (_digest_arrays(f"{name}.{cell}", digest) for cell, digest in enumerate(column.digests))
            found |= {key: array for part in parts for key, array in part.items()}
        else:
            found |= {f"{name}.samples": column.samples} | ({} if column.tags is None else {f"{name}.tags": column.tags})
    return found


DIGEST_ARRAYS = ("counts", "sums", "squares", "lowest", "highest")


def _digest_arrays(name: str, digest: Digest) -> dict[str, NDArray[Any]]:
    """Named "outputs.0.0.counts", and so on."""
    own = {key: getattr(digest, key) for key in DIGEST_ARRAYS}
    arrays = own | {"edges": digest.bins.edges, **{f"moments.{key}": getattr(digest.moments, key) for key in MOMENTS}}
    return {f"{name}.{key}": array for key, array in arrays.items()}


MOMENTS = ("exponent", "mean", "sums")


def _described(key: str, variable: Variable) -> dict[str, Any]:
    column = variable.column
    return {
        "key": key,
        "label": column.label,
        "cells": list(map(_address, column.cells)),
        "shape": column.shape,
        "texts": column.texts,
        "base": [to_json(value) for value in column.base],
        "together": column.together,
        "distribution": variable.distribution if isinstance(variable, Input) else "",
        **(_described_digests(column) if isinstance(column, Digests) else {}),
    }


def _described_digests(column: Digests) -> dict[str, Any]:
    return {"excluded": column.excluded_iterations, "digests": list(map(_described_digest, column.digests))}


def _described_digest(digest: Digest) -> dict[str, Any]:
    failure = digest.failure
    return {
        "iterations": digest.iterations,
        "kinds": list(digest.kinds.items()),
        "texts": list(digest.texts.items()),
        "extremes": digest.extremes,
        "center": digest.bins.center,
        "exponent": digest.bins.exponent,
        "failure": failure and [failure.iteration, failure.kind, [[name, _nullable(values)] for name, values in failure.inputs.items()]],
    }


def _nullable(values: Sequence[float]) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values]


MATRICES = ("asked", "scores", "factor")  # of a group


def _described_group(group: Group) -> dict[str, Any]:
    matrices = {name: getattr(group, name) for name in MATRICES}
    return {"kind": group.kind, "cells": list(map(_address, group.cells)), **matrices, "repaired": group.repaired}


def _address(cell: CellRef) -> tuple[str, int, int]:
    return cell.sheet, cell.row, cell.column


def load(path: str | os.PathLike[str]) -> Result:
    """A result that `Result.save` wrote. UnreadableResult for any other file or a version that this one does not know."""
    try:
        with Path(path).open("rb") as stream:
            _refuse_compressed(stream)
            with np.load(stream, allow_pickle=False) as archive:
                return _restored(archive)
    except FileNotFoundError:
        raise
    except _UNREADABLE as error:
        reason = f"{os.fspath(path)} is no result that this ultramc reads: {error}"
        raise UnreadableResult(f"{reason}; save it again with Result.save") from error


def _refuse_compressed(stream: IO[bytes]) -> None:
    """`save` stores without compression, so that no file can unpack to more than its own size."""
    with zipfile.ZipFile(stream) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise ValueError("it is compressed")
    stream.seek(0)


def _restored(archive: Mapping[str, NDArray[Any]]) -> Result:
    metadata = ADDED | json.loads(archive["metadata"].tobytes())
    if metadata.get("format") != FORMAT:
        raise ValueError(f"its format is {metadata.get('format')!r}, not {FORMAT!r}")
    if metadata.get("version") not in (VERSION, SUMMARY_VERSION):
        raise ValueError(f"its version is {metadata.get('version')!r}, this ultramc reads {VERSION} and {SUMMARY_VERSION}")
    inputs = {entry["key"]: Input(column, distribution=entry["distribution"]) for entry, column in _columns(metadata, "inputs", archive)}
    outputs = {entry["key"]: Output(column, inputs=inputs) for entry, column in _columns(metadata, "outputs", archive)}
    plain = {name: metadata[name] for name in PLAIN}
    groups = tuple(map(_group, metadata["groups"]))
    return Result(**plain, warnings=tuple(metadata["warnings"]), inputs=inputs, outputs=outputs, groups=groups)


def _group(entry: dict[str, Any]) -> Group:
    cells = tuple(CellRef(*cell) for cell in entry["cells"])
    if entry["kind"] not in KINDS:
        raise ValueError(f"a correlation of kind {entry['kind']!r}")
    asked, scores, factor = (_matrix(entry[name], len(cells)) for name in MATRICES)
    return Group(cells, entry["kind"], asked, scores, factor, entry["repaired"])


def _matrix(rows: Any, size: int) -> Rows:
    matrix = np.array(rows, np.float64)
    if matrix.shape != (size, size):
        raise ValueError(f"a correlation matrix of shape {matrix.shape} for {size} cells")
    return tuple(map(tuple, matrix.tolist()))


def _columns(metadata: dict[str, Any], role: str, archive: Mapping[str, NDArray[Any]]) -> Iterator[tuple[dict[str, Any], AnyColumn]]:
    for index, entry in enumerate(metadata[role]):
        yield entry, _column(f"{role}.{index}", entry, archive)


def _column(name: str, entry: dict[str, Any], archive: Mapping[str, NDArray[Any]]) -> AnyColumn:
    named: dict[str, Any] = {
        "label": entry["label"],
        "cells": tuple(CellRef(*cell) for cell in entry["cells"]),
        "shape": tuple(entry["shape"]),
        "texts": tuple(entry["texts"]),
        "base": tuple(ERROR_NAMES[value["error"]] if isinstance(value, dict) else value for value in entry["base"]),
        "together": entry.get("together", 1),
    }
    if "digests" not in entry:
        samples = archive[f"{name}.samples"].astype(np.float64, copy=False)
        return Column(samples=samples, tags=archive.get(f"{name}.tags"), **named)
    digests = tuple(_digest(f"{name}.{cell}", each, archive) for cell, each in enumerate(entry["digests"]))
    return Digests(digests=digests, excluded_iterations=entry["excluded"], **named)


def _digest(name: str, entry: dict[str, Any], archive: Mapping[str, NDArray[Any]]) -> Digest:
    return Digest(
        iterations=entry["iterations"],
        kinds=dict(entry["kinds"]),
        texts=dict(entry["texts"]),
        extremes=tuple(entry["extremes"]),
        moments=Moments(*(archive[f"{name}.moments.{key}"] for key in MOMENTS)),
        bins=Bins(archive[f"{name}.edges"], entry["center"], entry["exponent"]),
        **{key: archive[f"{name}.{key}"] for key in DIGEST_ARRAYS},
        failure=None if entry["failure"] is None else _failure(*entry["failure"]),
    )


def _failure(iteration: int, kind: int, inputs: list[tuple[str, list[float | None]]]) -> Failure:
    return Failure(iteration, kind, {name: tuple(math.nan if value is None else value for value in values) for name, values in inputs})


# Frames.


def to_frame(result: Result) -> Any:
    if result.keep == "summary":
        raise SamplesNotKept('a frame holds samples, and they were not kept; run with keep="samples"')
    inputs, outputs = dict(result.inputs.flat()), dict(result.outputs.flat())
    columns = inputs | {f"{label} (output)" if label in inputs else label: cell for label, cell in outputs.items()}
    return optional("pandas", "parquet").DataFrame({label: _exported(cell) for label, cell in columns.items()})


def to_csv(result: Result, path: str | os.PathLike[str]) -> None:
    frame = to_frame(result).rename(columns=spreadsheet_text)
    for label, values in frame.items():
        if values.dtype.kind != "f":
            frame[label] = values.map(spreadsheet_text, na_action="ignore")
    write_whole(path, lambda stream: frame.to_csv(stream, index=False, encoding="utf-8"))


def to_parquet(result: Result, path: str | os.PathLike[str]) -> None:
    optional("pyarrow", "parquet")
    frame = to_frame(result)
    write_whole(path, lambda stream: frame.to_parquet(stream, engine="pyarrow", index=False))


def _exported(cell: Variable) -> Any:
    """Float64, or a list of text and None where the cell holds text in some iteration."""
    if not cell.categories:
        return cell.samples
    assert isinstance(cell.column, Column) and cell.column.tags is not None
    return [
        _exported_text(*pair, cell.column.texts)
        for pair in zip(cell.column.tags[:, 0].tolist(), cell.column.samples[:, 0].tolist(), strict=True)
    ]


def _exported_text(kind: int, payload: float, texts: Sequence[str]) -> str | None:
    if kind == Kind.TEXT:
        return texts[int(payload)]
    return None if kind >= FIRST_ERROR or math.isnan(payload) else number_text(payload)
