"""The models in C, see rivals.c: compiled with the flags of the native engine, and OpenMP for the threads."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from models import BANDS, CASH_FLOW_LAWS, CLASSES, ROLL_FORWARD_INPUTS, key, policies, premiums

from ultramc.engines.on_native import FLAGS, OPTIMISED, NativeEngine

THREADS = NativeEngine().threads


@cache
def library(*more: str) -> ctypes.CDLL:
    """With more flags."""
    with TemporaryDirectory() as folder:
        command = [shutil.which("cc") or "cc", *OPTIMISED, *FLAGS, "-fopenmp", *more]
        path = Path(folder, "rivals.so")
        subprocess.run([*command, "-o", path, Path(__file__).with_name("rivals.c"), "-lm"], check=True)
        return ctypes.CDLL(str(path))


def called(name: str, more: Sequence[str], threads: int, outputs: int, count: int, *arguments: np.ndarray | int) -> np.ndarray:
    """The outputs of a function of rivals.c, (outputs, count)."""
    out = np.empty((outputs, count))
    given = [
        ctypes.c_void_p(each.ctypes.data) if isinstance(each, np.ndarray) else ctypes.c_long(each) for each in (*arguments, out, count)
    ]
    library(*more)[name](*given, ctypes.c_int(threads))
    return out


def sites(rows: int) -> np.ndarray:
    """Those of column B of the sheet Model."""
    return np.array([[*key("Model").tolist(), row, 2] for row in range(1, rows + 1)], np.uint64)


def cash_flow(count: int, threads: int = THREADS, more: Sequence[str] = ()) -> list[np.ndarray]:
    volumes, prices, costs, trend = CASH_FLOW_LAWS
    laws = (volumes.minimum, volumes.mode, volumes.maximum, prices.mean, prices.std, costs.minimum, costs.maximum, trend.mean, trend.std)
    return list(called("cash_flow", more, threads, 1, count, sites(4), np.array(laws)))


def roll_forward(count: int, threads: int = THREADS, more: Sequence[str] = ()) -> list[np.ndarray]:
    laws = np.array([[law.mean, law.std] for _, law in ROLL_FORWARD_INPUTS])
    return list(called("roll_forward", more, threads, 3, count, sites(len(laws)), laws))


def portfolio(rows: int, count: int, threads: int = THREADS, more: Sequence[str] = ()) -> list[np.ndarray]:
    given, bands = np.column_stack([policies(rows)[1], premiums(rows)]), np.array(BANDS, float)
    out = called("portfolio", more, threads, CLASSES + 1, count, key("Portfolio"), given, bands, rows)
    return [out[:CLASSES].T, out[CLASSES]]
