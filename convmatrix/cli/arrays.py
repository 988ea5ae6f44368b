"""Arrays that users hand in: a JSON literal, a file (.npy, .json, .csv, .txt), or standard input."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix.cli.errors import DataError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TEXT_SUFFIXES: Final = (".json", ".csv", ".txt", "")
_MOST_AXES: Final = 64  # of a NumPy array
_LARGEST_INTEGER: Final = 2**64 - 1


def read_array(option: str, source: str) -> NDArray[Any]:
    """Return the array that an option names.

    Text is JSON where it begins with ``[``, else a table: one line a row, entries between blanks, commas or semicolons,
    ``#`` begins a comment. Numbers may be complex (in JSON as strings, ``"1+2j"``). Nothing is ever unpickled.
    """
    if source.lstrip().startswith("["):
        try:
            return _from_json(source)
        except ValueError as error:
            raise UsageError(f"argument {option}: {error}") from None
    name = "standard input" if source == "-" else source
    try:
        if source == "-":
            if sys.stdin is None:
                raise DataError("cannot read standard input: it is closed")
            return _from_text(sys.stdin.read())
        suffix = Path(source).suffix.lower()
        if suffix == ".npy":
            return _from_npy(source)
        if suffix in _TEXT_SUFFIXES:
            return _from_text(Path(source).read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError:
        raise DataError(f"cannot read {name}: it is not UTF-8 text") from None
    except OSError as error:
        raise DataError(f"cannot read {name}: {error.strerror or error}") from None
    except ValueError as error:
        raise DataError(f"cannot read {name}: {error}") from None
    raise DataError(
        f"cannot read {name}: its name ends in {suffix}; give .npy, .json, .csv, .txt, or - for text on stdin"
    )


def _from_npy(path: str) -> NDArray[Any]:
    # Mapping the file checks its size against the header before any memory is taken, and cannot unpickle.
    try:
        mapped = np.lib.format.open_memmap(path, mode="r")
    except OSError:
        raise
    except Exception as error:  # a damaged header fails in many ways, SyntaxError and EOFError among them
        raise ValueError(f"it is no array of numbers in .npy format ({_first_line(error)})") from None
    _require_numbers(mapped)
    return np.array(mapped, dtype=mapped.dtype.newbyteorder("="))


def _from_text(text: str) -> NDArray[Any]:
    text = text.removeprefix("\ufeff")
    return _from_json(text) if text.lstrip().startswith("[") else _from_table(text)


def _from_json(text: str) -> NDArray[Any]:
    try:
        nested = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    shape = []
    level = nested
    while isinstance(level, list):
        shape.append(len(level))
        level = level[0] if level else None
    if len(shape) > _MOST_AXES:
        raise ValueError(f"it has {len(shape)} axes, but an array has at most {_MOST_AXES}")
    return _to_array(_leaves(nested, shape, ()), shape)


def _leaves(nested: Any, shape: list[int], place: tuple[int, ...]) -> list[int | float | complex]:
    """Return the numbers of nested lists in order, provided that the lists have the given lengths."""
    depth = len(place)
    where = "".join(f"[{index}]" for index in place)
    if depth == len(shape):
        return [_json_number(nested, where)]
    if not isinstance(nested, list):
        raise ValueError(f"entry {where} is {nested!r}, but its neighbours are lists of {shape[depth]}; even them out")
    if len(nested) != shape[depth]:
        raise ValueError(
            f"list {where} has {len(nested)} entries, but the first one at its level has {shape[depth]}; even them out"
        )
    return [leaf for index, part in enumerate(nested) for leaf in _leaves(part, shape, (*place, index))]


def _json_number(value: Any, where: str) -> int | float | complex:
    if isinstance(value, str):
        return _number(value, f"entry {where}")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"entry {where} is {json.dumps(value)}, which is no number")
    return value


def _from_table(text: str) -> NDArray[Any]:
    lines = [(number, line.split("#")[0].strip()) for number, line in enumerate(text.splitlines(), start=1)]
    lines = [(number, line) for number, line in lines if line]
    table = [
        [_number(cell, f"line {number}, entry {place}") for place, cell in enumerate(_cells(line), start=1)]
        for number, line in lines
    ]
    if not table:
        raise ValueError("it holds no numbers")
    for (number, _), row in zip(lines, table, strict=True):
        if len(row) != len(table[0]):
            raise ValueError(f"line {number} has {len(row)} entries, but line {lines[0][0]} has {len(table[0])}")
    return _to_array([entry for row in table for entry in row], [len(table), len(table[0])])


def _cells(line: str) -> list[str]:
    return re.split(r"\s*[,;]\s*|\s+", line)


def _number(text: str, where: str) -> int | float | complex:
    """Return a number in the narrowest of the three kinds."""
    if "_" not in text:  # Python reads 1_000, nobody else does
        for kind in (int, float, complex):
            try:
                return kind(text)
            except ValueError:
                continue
    raise ValueError(f"{where} is {text!r}, which is no number")


def _to_array(numbers: list[int | float | complex], shape: list[int]) -> NDArray[Any]:
    if not numbers:
        raise ValueError("it holds no numbers")
    return np.array(numbers, dtype=_dtype_of(numbers)).reshape(shape)


def _dtype_of(numbers: list[int | float | complex]) -> type[np.number[Any]]:
    """Return a type that holds the numbers; NumPy's own choice would round integers that no one type holds."""
    integers = [number for number in numbers if isinstance(number, int)]
    if len(integers) < len(numbers) and all(abs(number) <= _LARGEST_INTEGER for number in integers):
        return np.complex128 if any(isinstance(number, complex) for number in numbers) else np.float64
    if len(integers) == len(numbers):
        for kind in (np.int64, np.uint64):
            if np.iinfo(kind).min <= min(integers) and max(integers) <= np.iinfo(kind).max:
                return kind
    raise ValueError("it holds integers beyond 64 bits; write them as floats, such as 1e20")


def _require_numbers(array: NDArray[Any]) -> None:
    if array.dtype.kind not in "biufc":
        raise ValueError(f"it holds {array.dtype}, which are no numbers")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
