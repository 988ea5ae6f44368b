"""Input and output of the command: arrays and numbers in, results on standard output, messages on standard error."""

from __future__ import annotations

import json
import os
import re
import sys
from argparse import ArgumentTypeError
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TextIO

import numpy as np

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

YES, NO, ERROR = 0, 1, 2
"""Exit statuses: success, or the answer yes; the answer no; an error in the options or in the data."""

_TEXT_SUFFIXES: Final = (".json", ".csv", ".txt", "")
_MOST_AXES: Final = 64  # of a NumPy array
_LARGEST_INTEGER: Final = 2**64 - 1


class CommandError(Exception):
    """An error in the options or in the data; its message is printed as one line."""


# --- writing ----------------------------------------------------------------------------------------------------------


def say(text: str, file: TextIO | None = None) -> None:
    """Print a text; characters outside the output's encoding are escaped."""
    file = sys.stdout if file is None else file
    encoding = getattr(file, "encoding", None) or "utf-8"
    with writing_output():
        print(text.encode(encoding, "backslashreplace").decode(encoding), file=file, flush=True)


def say_json(value: dict[str, Any]) -> None:
    """Print one JSON object on one line."""
    say(json.dumps(value))


def say_result(args: Namespace, record: Callable[[], dict[str, Any]], text: Callable[[], str]) -> None:
    """Print a result as text, or as JSON if that was requested; only one of the two is computed."""
    say(json.dumps(record()) if args.json else text())


def complain(message: str, kind: str = "error") -> None:
    """Print one line on standard error, if it is open."""
    if sys.stderr is not None:
        with suppress(OSError):
            print(f"convmatrix: {kind}: {' '.join(message.split())}", file=sys.stderr)


def binary_output() -> BinaryIO:
    """Return standard output as a binary stream, unless it is a terminal."""
    if sys.stdout is None:
        raise CommandError("cannot write to standard output: it is closed")
    if sys.stdout.isatty():
        raise CommandError("-o - writes bytes, and standard output is a terminal: redirect it, or give -o FILE")
    return sys.stdout.buffer


@contextmanager
def writing_output() -> Iterator[None]:
    """Raise `CommandError` for failed writes to standard output; a closed pipe remains a BrokenPipeError."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CommandError(f"cannot write to standard output: {error.strerror or error}") from None


def flush_output() -> None:
    """Flush standard output."""
    if sys.stdout is not None:
        with writing_output():
            sys.stdout.flush()


def discard_output() -> None:
    """Flush standard output, or discard its buffer if that fails, because Python would report an error at exit."""
    try:
        flush_output()
    except (BrokenPipeError, CommandError):
        with suppress(OSError), Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


# --- reading ----------------------------------------------------------------------------------------------------------


def whole_number(text: str) -> int | None:
    """Return the number given by at most 18 ASCII digits, so that it fits in 64 bits, otherwise None."""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def _integer(what: str, least: int) -> Callable[[str], int]:
    """Return the type of an option that is an integer of at least ``least``."""

    def convert(text: str) -> int:
        number = whole_number(text)
        if number is None or number < least:
            raise ArgumentTypeError(f"{text!r} is not a {what}: give an integer of at least {least}")
        return number

    return convert


def number_type(what: str, allowed: Callable[[float], bool], remedy: str) -> Callable[[str], float]:
    """Return the type of an option that is a number for which ``allowed`` holds."""

    def convert(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = float("nan")
        if not allowed(number):
            raise ArgumentTypeError(f"{text!r} is not a {what}: {remedy}")
        return number

    return convert


count, seed = _integer("count", 1), _integer("seed", 0)
seconds = number_type("time", lambda number: 0 < number < 1e9, "give a positive number of seconds")


def check_input(path: str) -> None:
    """Raise, before any work is done, if there is no file at this path."""
    if not Path(path).is_file():
        raise CommandError(
            f"cannot read {path}: {'it is a folder' if Path(path).is_dir() else 'there is no such file'}"
        )


def check_output(option: str, path: str, suffixes: tuple[str, ...]) -> None:
    """Raise, before any work is done, if a result cannot be written to this path."""
    target = Path(path)
    if target.suffix.lower() not in suffixes:
        choice = ", which selects the format" if len(suffixes) > 1 else ""
        raise CommandError(f"{option} {path}: the name must end in {', '.join(suffixes)}{choice}")
    if not target.parent.is_dir():
        raise CommandError(f"cannot write {path}: the folder {target.parent} does not exist; create it first")
    if target.is_dir():
        raise CommandError(f"cannot write {path}: it is a folder; give the name of a file")


def read_array(option: str, source: str) -> NDArray[Any]:
    """Return the array given by an option: a JSON literal, a file (.npy, .json, .csv, .txt), or - for standard input.

    Text that begins with ``[`` is JSON. Other text is a table: one row per line, entries separated by blanks, commas or
    semicolons, ``#`` starts a comment. Numbers may be complex (in JSON as strings, ``"1+2j"``). Nothing is unpickled.
    """
    if source.lstrip().startswith("["):
        try:
            return _from_json(source)
        except ValueError as error:
            raise CommandError(f"argument {option}: {error}") from None
    name = "standard input" if source == "-" else source
    try:
        if source == "-":
            if sys.stdin is None:
                raise CommandError("cannot read standard input: it is closed")
            return _from_text(sys.stdin.read())
        suffix = Path(source).suffix.lower()
        if suffix == ".npy":
            return _from_npy(source)
        if suffix in _TEXT_SUFFIXES:
            return _from_text(Path(source).read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError:
        raise CommandError(f"cannot read {name}: it is not UTF-8 text") from None
    except OSError as error:
        raise CommandError(f"cannot read {name}: {error.strerror or error}") from None
    except ValueError as error:
        raise CommandError(f"cannot read {name}: {error}") from None
    raise CommandError(
        f"cannot read {name}: its name ends in {suffix}; give .npy, .json, .csv, .txt, or - for text on stdin"
    )


def _from_npy(path: str) -> NDArray[Any]:
    # Mapping compares the size of the file with its header before any memory is allocated, and cannot unpickle.
    try:
        mapped = np.lib.format.open_memmap(path, mode="r")
    except OSError:
        raise
    except Exception as error:  # a damaged header fails in many ways, SyntaxError and EOFError among them
        raise ValueError(f"it is not an array of numbers in .npy format ({first_line(error)})") from None
    if mapped.dtype.kind not in "biufc":
        raise ValueError(f"it contains {mapped.dtype}, which are not numbers")
    return np.array(mapped, dtype=mapped.dtype.newbyteorder("="))


def _from_text(text: str) -> NDArray[Any]:
    text = text.removeprefix("\ufeff")
    return _from_json(text) if text.lstrip().startswith("[") else _from_table(text)


def _from_json(text: str) -> NDArray[Any]:
    try:
        nested = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
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


def _leaves(nested: Any, shape: list[int], position: tuple[int, ...]) -> list[int | float | complex]:
    """Return the numbers in nested lists in order; raise unless the lists have the lengths ``shape``."""
    depth = len(position)
    where = "".join(f"[{index}]" for index in position)
    if depth == len(shape):
        return [_json_number(nested, where)]
    if not isinstance(nested, list):
        raise ValueError(
            f"entry {where} is {nested!r}, but its neighbours are lists of {shape[depth]}; make them alike"
        )
    if len(nested) != shape[depth]:
        raise ValueError(
            f"list {where} has {len(nested)} entries, but the first at its level has {shape[depth]}; make them equal"
        )
    return [leaf for index, part in enumerate(nested) for leaf in _leaves(part, shape, (*position, index))]


def _json_number(value: Any, where: str) -> int | float | complex:
    if isinstance(value, str):
        return _number(value, f"entry {where}")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"entry {where} is {json.dumps(value)}, which is not a number")
    return value


def _from_table(text: str) -> NDArray[Any]:
    lines = [(number, line.split("#")[0].strip()) for number, line in enumerate(text.splitlines(), start=1)]
    lines = [(number, line) for number, line in lines if line]
    table = [
        [_number(cell, f"line {number}, entry {entry}") for entry, cell in enumerate(_cells(line), start=1)]
        for number, line in lines
    ]
    if not table:
        raise ValueError("it contains no numbers")
    for (number, _), row in zip(lines, table, strict=True):
        if len(row) != len(table[0]):
            raise ValueError(f"line {number} has {len(row)} entries, but line {lines[0][0]} has {len(table[0])}")
    return _to_array([entry for row in table for entry in row], [len(table), len(table[0])])


def _cells(line: str) -> list[str]:
    if "," in line and (";" in line or re.search(r"[^\s,]\s+[^\s,]", line)):
        raise ValueError(
            f"{line[:40]!r} has commas between other separators, as decimal commas would be; write decimal points, and "
            "one kind of separator"
        )
    return re.split(r"\s*[,;]\s*|\s+", line)


def _number(text: str, where: str) -> int | float | complex:
    """Return a number as an int, float or complex, whichever applies first."""
    if "_" not in text and text.isascii():  # 1_000 and digits of other scripts are numbers in Python only
        for kind in (int, float, complex):
            try:
                return kind(text)
            except ValueError:
                continue
    raise ValueError(f"{where} is {text!r}, which is not a number")


def _to_array(numbers: list[int | float | complex], shape: list[int]) -> NDArray[Any]:
    if not numbers:
        raise ValueError("it contains no numbers")
    return np.array(numbers, dtype=_dtype_of(numbers)).reshape(shape)


def _dtype_of(numbers: list[int | float | complex]) -> type[np.number[Any]]:
    """Return a dtype for the numbers; NumPy's own choice would round integers that no single dtype can represent."""
    integers = [number for number in numbers if isinstance(number, int)]
    if len(integers) < len(numbers) and all(abs(number) <= _LARGEST_INTEGER for number in integers):
        return np.complex128 if any(isinstance(number, complex) for number in numbers) else np.float64
    if len(integers) == len(numbers):
        for kind in (np.int64, np.uint64):
            if np.iinfo(kind).min <= min(integers) and max(integers) <= np.iinfo(kind).max:
                return kind
    raise ValueError("it contains integers beyond 64 bits; write them as floats, such as 1e20")


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or the name of its type if there is none."""
    return (str(error).splitlines() or [type(error).__name__])[0]
