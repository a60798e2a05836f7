import contextlib
import csv
import json
import zipfile

import numpy as np
import pytest

from ultramc import storage
from ultramc.address import CellRef
from ultramc.errors import MissingExtra, UnreadableResult
from ultramc.results import Column, Input, Output, Result
from ultramc.storage import load
from ultramc.values import ExcelError, Kind


def column(label, samples, **more):
    samples = np.asarray(samples, np.float64)
    cells = tuple(CellRef("Übung 'x'", 1, 1 + index) for index in range(samples.shape[1]))
    return Column(label, cells, (1, len(cells)), samples, **more)


@pytest.fixture
def result():
    number, text, error = Kind.NUMBER, Kind.TEXT, ExcelError.DIV0.kind
    tags = np.array([[number, text], [error, text], [number, number]], np.uint8)
    inputs = {"=price": Input(column("=price", [[1.5], [np.pi], [-0.0]], base=(ExcelError.NA,)), distribution="Normal(0, 1)")}
    samples = np.asfortranarray([[1e308, 0.0], [np.nan, 1.0], [5e-324, 2.5]])
    mixed = column("mixed", samples, tags=tags, texts=("=cmd|'/c calc'!A1", "plain"), base=(True, "old"), together=2)
    return Result(
        state="cancelled",
        iterations=3,
        engine="numpy",
        engine_reason="auto chose it",
        seed=2**64 - 1,
        sampling="random",
        elapsed=0.1,
        workbook="a.xlsx",
        workbook_sha256="00",
        outputs={"mixed": Output(mixed, inputs=inputs), "=price": Output(column("=price", [[1.0], [2], [3]]), inputs=inputs)},
        inputs=inputs,
        warnings=("w",),
        check="off",
        versions={"numpy": "2"},
    )


def bits(array):
    return None if array is None else (array.dtype, array.shape, array.tobytes())


def test_everything_comes_back(result, tmp_path):
    result.save(tmp_path / "run.npz")
    again = load(tmp_path / "run.npz")
    assert again.to_json() == result.to_json() and again.warnings == result.warnings and again.versions == result.versions
    for ours, theirs in zip(
        [*result.outputs.values(), *result.inputs.values()], [*again.outputs.values(), *again.inputs.values()], strict=True
    ):
        for name in ("label", "cells", "shape", "texts", "base", "together"):
            assert getattr(ours.column, name) == getattr(theirs.column, name)
        assert bits(ours.column.samples) == bits(theirs.column.samples) and bits(ours.column.tags) == bits(theirs.column.tags)
    assert again["mixed"].first_error == result["mixed"].first_error
    assert again.inputs["=price"].distribution == "Normal(0, 1)"


def test_no_iterations_come_back(result, tmp_path):
    empty = Result(
        **{name: getattr(result, name) for name in storage.PLAIN} | {"iterations": 0},
        outputs={"x": Output(column("x", np.empty((0, 2))))},
        inputs={},
    )
    empty.save(tmp_path / "run.npz")
    assert load(tmp_path / "run.npz")["x"].samples.shape == (0, 2)


def test_the_file_is_the_one_named_and_nothing_else(result, tmp_path):
    result.save(tmp_path / "no suffix")
    result.save(tmp_path / "no suffix")
    assert [path.name for path in tmp_path.iterdir()] == ["no suffix"]


def test_a_failed_save_leaves_the_old_file(result, tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    result.save(path)
    before = path.read_bytes()
    monkeypatch.setattr(np.lib.format, "write_array", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        result.save(path)
    assert path.read_bytes() == before and [found.name for found in tmp_path.iterdir()] == ["run.npz"]


def test_numpy_alone_can_read_it(result, tmp_path):
    result.save(tmp_path / "run.npz")
    with np.load(tmp_path / "run.npz") as archive:
        assert json.loads(archive["metadata"].tobytes())["format"] == "ultramc result"
        assert archive["inputs.0.samples"][1, 0] == np.pi


def rewritten(path, change, compression=zipfile.ZIP_STORED):
    """The file with its metadata changed."""
    with np.load(path) as archive:
        arrays = dict(archive)
    metadata = json.loads(arrays["metadata"].tobytes())
    change(metadata)
    arrays["metadata"] = np.frombuffer(json.dumps(metadata).encode(), np.uint8)
    (np.savez if compression == zipfile.ZIP_STORED else np.savez_compressed)(path, **arrays)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: m.update(version=3), "version is 3"),
        (lambda m: m.update(format="other"), "format is 'other'"),
        (lambda m: m.pop("seed"), "seed"),
        (lambda m: m["outputs"][0].update(cells=[]), "cells"),
        (lambda m: m["outputs"][0].update(cells=[[1]]), "CellRef"),
        (lambda m: m["outputs"][0].update(base=[{"error": "#BAD"}] * 2), "BAD"),
        (lambda m: m["outputs"].append(m["outputs"][0]), "outputs.2.samples"),
        (lambda m: m.update(outputs=5), "int"),
        (lambda m: m["outputs"][0].update(together=0), "replicates of 0 iterations"),
        (lambda m: m["outputs"][0].update(together="2"), "replicates of '2' iterations"),
    ],
)
def test_a_file_that_is_not_ours_is_refused_with_its_reason(result, tmp_path, change, reason):
    path = tmp_path / "run.npz"
    result.save(path)
    rewritten(path, change)
    with pytest.raises(UnreadableResult, match=reason):
        load(path)


def test_a_file_without_a_reason_has_an_engine_that_was_asked_for(result, tmp_path):
    result.save(tmp_path / "run.npz")
    rewritten(tmp_path / "run.npz", lambda m: m.pop("engine_reason"))
    assert load(tmp_path / "run.npz").engine_reason == ""


def test_a_file_without_replicates_has_independent_iterations(result, tmp_path):
    result.save(tmp_path / "run.npz")
    rewritten(tmp_path / "run.npz", lambda m: [entry.pop("together") for entry in m["outputs"] + m["inputs"]])
    assert load(tmp_path / "run.npz").together == 1


def test_compressed_files_are_refused_before_unpacking(result, tmp_path):
    result.save(tmp_path / "run.npz")
    rewritten(tmp_path / "run.npz", lambda m: None, zipfile.ZIP_DEFLATED)
    with pytest.raises(UnreadableResult, match="compressed"):
        load(tmp_path / "run.npz")


def test_pickles_are_refused(tmp_path):
    np.savez(tmp_path / "run.npz", metadata=np.array([{"a": 1}], dtype=object))
    with pytest.raises(UnreadableResult, match="allow_pickle"):
        load(tmp_path / "run.npz")


def test_every_truncation_is_refused(result, tmp_path):
    path = tmp_path / "run.npz"
    result.save(path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(UnreadableResult, match=r"run\.npz"):
            load(path)


def test_a_changed_byte_never_escapes_as_another_error(result, tmp_path):
    path = tmp_path / "run.npz"
    result.save(path)
    whole, generator = path.read_bytes(), np.random.default_rng(6)
    for place in generator.integers(0, len(whole), 300):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        with contextlib.suppress(UnreadableResult):
            load(path)


def test_a_missing_file_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.npz")


# Frames.


def test_frame_has_a_column_per_cell(result):
    frame = result.to_frame()
    assert list(frame.columns) == ["=price", "mixed['Übung ''x'''!A1]", "mixed['Übung ''x'''!B1]", "=price (output)"]
    assert frame.shape == (3, 4)
    assert frame.iloc[:, 1].isna().tolist() == [False, True, False]
    assert frame.iloc[:, 2].tolist() == ["=cmd|'/c calc'!A1", "plain", "2.5"]


def test_parquet_comes_back(result, tmp_path):
    import pandas

    result.to_parquet(tmp_path / "run.parquet")
    pandas.testing.assert_frame_equal(pandas.read_parquet(tmp_path / "run.parquet"), result.to_frame())


def test_a_spreadsheet_runs_nothing_of_a_csv(result, tmp_path):
    result.to_csv(tmp_path / "run.csv")
    rows = list(csv.reader((tmp_path / "run.csv").read_text(encoding="utf-8").splitlines()))
    assert rows[0][0] == "'=price" and rows[1][2] == "'=cmd|'/c calc'!A1" and rows[2][2] == "plain"
    assert float(rows[3][0]) == 0 and rows[2][1] == ""
    assert float(rows[2][0]) == np.pi


def test_without_pandas_the_command_is_named(result, monkeypatch, tmp_path):
    import sys

    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtra, match=r'pip install "ultramc\[parquet\]"'):
        result.to_frame()
    with pytest.raises(ImportError):
        result.to_parquet(tmp_path / "x")


def test_a_missing_folder_is_named_and_not_the_file_beside(result, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"run\.npz: there is no folder .*none; make it first"):
        result.save(tmp_path / "none" / "run.npz")
