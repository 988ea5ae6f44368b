"""A claim: what was published, what was computed, how the two are compared, and the verdict."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, get_args

import numpy as np

Verdict = Literal["reproduced", "checked", "failed", "skipped"]
VERDICTS: Final = get_args(Verdict)


@dataclass(frozen=True)
class Claim:
    """One statement with its verdict. Make it with one of the functions below, which also do the comparison.

    Attributes
    ----------
    key : str
        A short name that stays when the statement is reworded, unique within its analysis: lower-case words and numbers
        joined by hyphens. Other characters are replaced.
    statement : str
        What is claimed, in a few words.
    published : number, str, list or None
        The value as published, or its words ("over eight billion"); None where no value was published.
    source : str
        Where the value was published, or for a value not published why it must be so.
    computed : number, str or list
        The value that the analysis found.
    accepted : str
        Which computed values are accepted: ``"= 16"`` or ``"0 to 1e-13"``.
    rule : str
        Why these values are accepted; empty for a published value that must be met exactly.
    verdict : {"reproduced", "checked", "failed", "skipped"}
        "reproduced" is for published values, "checked" for values that were not published, "skipped" for a comparison
        that was not made.
    """

    key: str
    statement: str
    published: Any
    source: str
    computed: Any
    accepted: str
    rule: str
    verdict: Verdict

    def __post_init__(self) -> None:
        key = re.sub(r"[^a-z0-9.]+", "-", self.key.lower()).strip("-")
        object.__setattr__(self, "key", key)

    def record(self) -> dict[str, Any]:
        """Return the claim as a dictionary for JSON."""
        return asdict(self)


def published_equal(key: str, statement: str, computed: Any, *, published: Any, source: str) -> Claim:
    """Compare with a published value: reproduced if exactly equal.

    Examples
    --------
    >>> published_equal("nonzeros", "nonzeros", 16, published=16, source="Fig. 1").verdict
    'reproduced'
    """
    found, value = plain(computed), plain(published)
    verdict: Verdict = "reproduced" if found == value else "failed"
    return Claim(key, statement, value, source, found, f"= {show(value)}", "", verdict)


def published_within(
    key: str, statement: str, computed: float, bounds: tuple[float, float], *, published: Any, source: str, rule: str
) -> Claim:
    """Compare with a published value or words: reproduced if it lies within the bounds; ``rule`` says why these.

    Examples
    --------
    >>> words = {"published": "roughly 60,000", "source": "Fig. 9.6", "rule": "rounded"}
    >>> claim = published_within("speed-up", "speed-up", 59_733, (55_000, 65_000), **words)
    >>> claim.verdict, claim.accepted
    ('reproduced', '55,000 to 65,000')
    """
    verdict: Verdict = "reproduced" if bounds[0] <= computed <= bounds[1] else "failed"
    return Claim(key, statement, plain(published), source, plain(computed), _range(*bounds), rule, verdict)


def check_equal(key: str, statement: str, computed: Any, *, expected: Any, reason: str) -> Claim:
    """Check a value that was not published: it must equal ``expected`` exactly, for the ``reason`` given.

    Examples
    --------
    >>> check_equal("pixels", "pixels that differ", 3, expected=0, reason="both are sums of the same integers").verdict
    'failed'
    """
    found, value = plain(computed), plain(expected)
    verdict: Verdict = "checked" if found == value else "failed"
    return Claim(key, statement, None, reason, found, f"= {show(value)}", reason, verdict)


def check_within(key: str, statement: str, computed: float, bounds: tuple[float, float], *, reason: str) -> Claim:
    """Check a value that was not published: it must lie within the bounds, for the ``reason`` given.

    Examples
    --------
    >>> check_within("error", "scaled error", 2e-16, (0, 1e-13), reason="rounding of double precision").verdict
    'checked'
    """
    verdict: Verdict = "checked" if bounds[0] <= computed <= bounds[1] else "failed"
    return Claim(key, statement, None, reason, plain(computed), _range(*bounds), reason, verdict)


def skipped(key: str, statement: str, *, reason: str) -> Claim:
    """Record a comparison that was not made, for the ``reason`` given, such as a package that is not installed.

    Examples
    --------
    >>> skipped("pytorch", "the same network in PyTorch", reason="PyTorch is not installed").verdict
    'skipped'
    """
    return Claim(key, statement, None, reason, None, "", reason, "skipped")


def _range(low: float, high: float) -> str:
    """Return a range in words; one without an end is open on that side."""
    if math.isinf(high):
        return f"at least {show(plain(low))}"
    return f"at most {show(plain(high))}" if math.isinf(low) else f"{show(plain(low))} to {show(plain(high))}"


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
