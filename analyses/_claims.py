"""A claim: what was published, what was computed, how the two are compared, and the verdict."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

Verdict = Literal["reproduced", "checked", "failed"]


@dataclass(frozen=True)
class Claim:
    """One statement with its verdict. Make it with one of the four functions below, which also do the comparison.

    Attributes
    ----------
    statement : str
        What is claimed, in a few words.
    published : number, str, list or None
        The value as published, or its words ("over eight billion"); None where no value was published.
    source : str
        Where the value was published, or for a value not published why it must be so.
    computed : number, str or list
        The value that the analysis found.
    comparison : str
        How the two were compared.
    verdict : {"reproduced", "checked", "failed"}
        "reproduced" is kept for published values; a value that was not published is "checked".
    """

    statement: str
    published: Any
    source: str
    computed: Any
    comparison: str
    verdict: Verdict

    def record(self) -> dict[str, Any]:
        """Return the claim as a dictionary for JSON."""
        return asdict(self)


def published_equal(statement: str, computed: Any, *, published: Any, source: str) -> Claim:
    """Compare with a published value: reproduced if exactly equal.

    Examples
    --------
    >>> published_equal("nonzeros", 16, published=16, source="Fig. 1").verdict
    'reproduced'
    """
    found, value = plain(computed), plain(published)
    return Claim(statement, value, source, found, "exactly equal", "reproduced" if found == value else "failed")


def published_within(
    statement: str, computed: float, low: float, high: float, *, published: Any, source: str, rule: str
) -> Claim:
    """Compare with a published value or words: reproduced if ``low <= computed <= high``; ``rule`` says why this range.

    Examples
    --------
    >>> claim = published_within(
    ...     "speed-up", 59_733, 55_000, 65_000, published="roughly 60,000", source="Fig. 9.6", rule="rounded"
    ... )
    >>> claim.verdict, claim.comparison
    ('reproduced', 'between 55,000 and 65,000: rounded')
    """
    verdict: Verdict = "reproduced" if low <= computed <= high else "failed"
    return Claim(statement, plain(published), source, plain(computed), _range(low, high, rule), verdict)


def check_equal(statement: str, computed: Any, *, expected: Any, reason: str) -> Claim:
    """Check a value that was not published: it must equal ``expected`` exactly, for the ``reason`` given.

    Examples
    --------
    >>> check_equal("pixels that differ", 3, expected=0, reason="both are sums of the same integers").verdict
    'failed'
    """
    found, value = plain(computed), plain(expected)
    return Claim(
        statement, None, reason, found, f"exactly equal to {show(value)}", "checked" if found == value else "failed"
    )


def check_within(statement: str, computed: float, low: float, high: float, *, reason: str) -> Claim:
    """Check a value that was not published: ``low <= computed <= high`` must hold, for the ``reason`` given.

    Examples
    --------
    >>> check_within("scaled error", 2e-16, 0, 1e-13, reason="rounding of double precision").verdict
    'checked'
    """
    verdict: Verdict = "checked" if low <= computed <= high else "failed"
    return Claim(statement, None, reason, plain(computed), _range(low, high, reason), verdict)


def _range(low: float, high: float, reason: str) -> str:
    return f"between {show(plain(low))} and {show(plain(high))}: {reason}"


def plain(value: Any) -> Any:
    """Return a value as JSON knows it: NumPy scalars and arrays, tuples and sets become plain numbers and lists."""
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, (set, frozenset)):
        value = sorted(value)
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has neither nan nor inf
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"a claim holds numbers, strings and lists of them, but {value!r} is a {type(value).__name__}")


def show(value: Any) -> str:
    """Return a plain value as readers write it: thousands apart, fractions to eight digits.

    Examples
    --------
    >>> show(267960), show(1 / 3), show([[0, 1], [2, 3]]), show(None)
    ('267,960', '0.33333333', '{0, 1}, {2, 3}', '-')
    """
    if value is None:
        return "-"
    if isinstance(value, list):
        if all(isinstance(entry, list) for entry in value):
            return ", ".join("{" + show(entry) + "}" for entry in value)
        return ", ".join(show(entry) for entry in value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    if isinstance(value, float):
        return f"{value:,.8g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)
