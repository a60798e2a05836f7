"""Nested lists, dictionaries, plain values and arrays in one stream: JSON, and behind it each array as NumPy writes it. Never pickled."""

from __future__ import annotations

import json
from typing import IO, Any

import numpy as np
from attrs import astuple, has

ARRAY, ITEMS = "array", "items"


def write(stream: IO[bytes], tree: Any) -> None:
    """Instances of attrs classes are written as lists of their fields."""
    arrays: list[Any] = []
    text = json.dumps(_packed(tree, arrays), ensure_ascii=False)
    for array in (np.frombuffer(text.encode(), np.uint8), *arrays):
        np.lib.format.write_array(stream, array, allow_pickle=False)


def _packed(tree: Any, arrays: list[Any]) -> Any:
    if isinstance(tree, np.ndarray):
        arrays.append(tree)
        return {ARRAY: len(arrays) - 1}
    if isinstance(tree, dict):
        return {ITEMS: [[key, _packed(value, arrays)] for key, value in tree.items()]}
    if has(type(tree)):
        tree = astuple(tree, recurse=False)
    return [_packed(each, arrays) for each in tree] if isinstance(tree, (list, tuple)) else tree


def read(stream: IO[bytes]) -> Any:
    """What was written, tuples and attrs classes as lists. Raises ValueError and its like for what is nothing of the kind."""
    text = np.lib.format.read_array(stream, allow_pickle=False).tobytes()
    return _unpacked(json.loads(text), stream)


def _unpacked(tree: Any, stream: IO[bytes]) -> Any:
    """Arrays come in the order in which they were met."""
    if isinstance(tree, list):
        return [_unpacked(each, stream) for each in tree]
    if not isinstance(tree, dict):
        return tree
    if ARRAY in tree:
        return np.lib.format.read_array(stream, allow_pickle=False)
    return {key: _unpacked(value, stream) for key, value in tree[ITEMS]}
