"""The little languages of the options: ``3x32x32``, ``0:1x2``, ``zero,circular``, ``10:20``.

Numbers an axis are joined by x, as shapes are written; commas do as well.

Each function turns the text of one option into its value, or raises `argparse.ArgumentTypeError` with an example.
Options that take one entry an axis always become tuples; a single entry serves all axes (see `convmatrix.cli.layer`).
"""

from __future__ import annotations

import re
from argparse import ArgumentTypeError

from convmatrix.boundary import BOUNDARIES
from convmatrix.options import PADDING_WORDS, called_here


def _whole_number(text: str) -> int | None:
    """Return the number; None for anything but ASCII digits, of which 64-bit numbers have at most 18 to spare."""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def _parts(text: str) -> list[str]:
    """Return the entries of one option, which x or commas join."""
    return re.split("[x,]", text)


def _numbers(text: str, minimum: int, what: str, example: str) -> tuple[int, ...]:
    numbers = []
    for part in _parts(text):
        number = _whole_number(part)
        if number is None or number < minimum:
            raise ArgumentTypeError(f"{text!r} is no {what}: write whole numbers from {minimum} up, such as {example}")
        numbers.append(number)
    return tuple(numbers)


def shape(text: str) -> tuple[int, ...]:
    """Return a shape: ``3x32x32``."""
    return _numbers(text, 1, "shape", "28 or 3x32x32")


def steps(text: str) -> tuple[int, ...]:
    """Return positive numbers, one an axis: ``2`` or ``2x1``."""
    return _numbers(text, 1, "step an axis", "2 or 2x1")


def amounts(text: str) -> tuple[int, ...]:
    """Return numbers from 0 up, one an axis: ``1`` or ``1x0``."""
    return _numbers(text, 0, "amount an axis", "1 or 1x0")


def count(text: str) -> int:
    """Return a whole number of at least 1."""
    number = _whole_number(text)
    if not number:
        raise ArgumentTypeError(f"{text!r} is no count: write a whole number from 1 up")
    return number


def seed(text: str) -> int:
    """Return a whole number of at least 0."""
    number = _whole_number(text)
    if number is None:
        raise ArgumentTypeError(f"{text!r} is no seed: write a whole number from 0 up")
    return number


def padding(text: str) -> tuple[str | tuple[int, int], ...]:
    """Return a padding word or a (low, high) pair an axis: ``same``, ``1x2``, ``0:1x2:3``, ``samex0:2``."""
    entries: list[str | tuple[int, int]] = []
    for part in text.split(",") if "," in text else text.split("x"):
        if part in PADDING_WORDS:
            entries.append(part)
            continue
        low, colon, high = part.partition(":")
        pair = _whole_number(low), _whole_number(high if colon else low)
        if pair[0] is None or pair[1] is None:
            raise ArgumentTypeError(
                f"{part!r} is no padding: write {', '.join(PADDING_WORDS)}, a number, or low:high; "
                "join axes by x, such as 1x0:2"
            )
        entries.append((pair[0], pair[1]))
    return tuple(entries)


def boundary(text: str) -> tuple[str, ...]:
    """Return a boundary an axis: ``circular`` or ``zero,circular``."""
    words = tuple(text.split(","))
    for word in words:
        if word not in BOUNDARIES:
            raise ArgumentTypeError(
                f"{word!r} is no boundary: choose from {', '.join(BOUNDARIES)}{called_here(word)}; join axes by commas"
            )
    return words


def sharing(text: str) -> str | tuple[int, ...]:
    """Return ``shared``, ``unshared`` or a tile an axis: ``2`` or ``2x2``."""
    if text in ("shared", "unshared"):
        return text
    try:
        return _numbers(text, 1, "tile", "2x2")
    except ArgumentTypeError:
        raise ArgumentTypeError(f"{text!r} is no sharing: write shared, unshared, or a tile such as 2x2") from None


def rows(text: str) -> tuple[int, int | None]:
    """Return a range of rows ``a:b``; ``a`` left out is 0, ``b`` left out (None) is the last row and all before."""
    low, colon, high = text.partition(":")
    start = _whole_number(low) if low else 0
    stop = _whole_number(high) if high else None
    if not colon or start is None or (high and stop is None) or (stop is not None and stop <= start):
        raise ArgumentTypeError(f"{text!r} is no range of rows: write first:end, such as 0:100, with first below end")
    return start, stop
