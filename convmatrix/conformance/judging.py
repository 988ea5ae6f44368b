"""The verdict on one layer: run a call, compare its results with the exact ones, and say where they differ first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix.conformance.expected_values import LARGEST_VALUE, RESULTS, SIGNIFICANT_BITS, exact_results, magnitudes
from convmatrix.conformance.rounding import ROUNDINGS, allowed_error
from convmatrix.conformance.targets import ChangedArgumentError, RefusedCaseError, without_numbers

if TYPE_CHECKING:
    from convmatrix.arrays import Array
    from convmatrix.conformance.expected_values import LayerValues
    from convmatrix.conformance.layer_cases import LayerCase
    from convmatrix.conformance.rounding import Rounding
    from convmatrix.conformance.targets import TargetCall


@dataclass(frozen=True)
class Difference:
    """How the results of a call differ from the exact ones.

    The kind is "value", "shape", "type", "argument" if an argument was changed, "crash" if the process ended, or the
    name of an exception.
    """

    kind: str
    result: str  # which of `RESULTS`, or which argument; empty for exceptions
    text: str  # what is wrong, in one sentence
    expected: Any = None  # the whole array, the shape or the type
    got: Any = None
    coordinates: tuple[int, ...] = ()  # of the first entry that differs

    @property
    def signature(self) -> tuple[str, str]:
        """Differences with equal signatures may have the same cause; exceptions are distinguished by their messages."""
        return self.kind, self.result or without_numbers(self.text)


@dataclass(frozen=True)
class Judgement:
    """The verdict on one layer; it passes if there is neither a difference nor a refusal."""

    difference: Difference | None = None
    refusal: str | None = None


Judge = Callable[["TargetCall", "LayerCase", "LayerValues"], Judgement]


def judge(call: TargetCall, case: LayerCase, values: LayerValues) -> Judgement:
    """Run a call on a layer, and return how its results compare with the exact ones."""
    try:
        results, failure = call.run(case, values)
    except RefusedCaseError as refusal:
        return Judgement(refusal=without_numbers(str(refusal)))
    if isinstance(failure, ChangedArgumentError):
        return Judgement(Difference("argument", failure.name, str(failure)))
    difference = compare(case, values, results, call.rounding, keeps_dtype=call.keeps_dtype)
    if difference is None and failure is not None:
        kind = type(failure).__name__
        difference = Difference(kind, "", f"{kind}: {' '.join(str(failure).split())[:300]}")
    return Judgement(difference)


def compare(
    case: LayerCase,
    values: LayerValues,
    results: dict[str, Any],
    rounding: Rounding = "exact",
    *,
    keeps_dtype: bool = False,
) -> Difference | None:
    """Return the first difference between results and the exact ones, or None.

    Examples
    --------
    >>> from convmatrix.conformance.random_cases import plain_case
    >>> from convmatrix.conformance.expected_values import LayerValues
    >>> one = np.ones((1, 1, 3), dtype=int)
    >>> values = LayerValues(x=one, w=one[:, :, :2], b=None, g=one[:, :, :2])
    >>> compare(plain_case((3,), (2,)), values, {"y": np.array([[[2.0, 2.0]]])}) is None
    True
    >>> compare(plain_case((3,), (2,)), values, {"y": np.array([[[2.0, 3.0]]])}).text
    'the output differs in 1 of 2 entries, first at sample 0, channel 0, position 1: expected 2, got 3'
    """
    exact = exact_results(case, values)
    allowed = None
    for name, what in RESULTS.items():
        if name not in results:
            continue
        expected = exact[name]
        try:
            got = _numbers(results[name])
        except Exception as error:
            text = f"{what} is not an array of numbers: {' '.join(str(error).split())[:300]}"
            return Difference("type", name, text, case.dtype, type(results[name]).__name__)
        if got.shape != expected.shape:
            text = f"{what} has the wrong shape: expected {expected.shape}, got {got.shape}"
            return Difference("shape", name, text, expected.shape, got.shape)
        declared = hasattr(results[name], "dtype") and case.dtype != "bfloat16"
        if declared and (got.dtype != case.dtype if keeps_dtype else _has_fewer_digits(got.dtype, case.dtype)):
            text = f"{what} has the wrong type: expected {case.dtype}, got {got.dtype}"
            return Difference("type", name, text, case.dtype, str(got.dtype))
        if np.array_equal(got, expected):
            continue
        if allowed is None:
            allowed = allowed_error(case, values, rounding)
        wrong = _beyond(got, expected, allowed[name])
        if wrong.any():
            at = tuple(map(int, np.argwhere(wrong)[0]))
            text = (
                f"{what} differs in {int(wrong.sum())} of {wrong.size} entries, first at {_place(name, at)}: "
                f"expected {expected[at]}, got {_number(got[at])}{_hint(case, values, name, got, expected, rounding)}"
            )
            return Difference("value", name, text, expected, got, at)
    return None


def _numbers(result: Any) -> Array:
    """Return a result as an array; raise an error unless it holds numbers."""
    array = np.asarray(result)
    if array.dtype.kind == "O":
        array.astype(complex)
    elif array.dtype.kind not in "biufc":
        raise TypeError(f"its type is {array.dtype}")
    return array


def _has_fewer_digits(got: np.dtype[Any], asked: str) -> bool:
    """Return whether a type cannot hold the values of another; floating-point results are accepted for integers."""
    kind = np.dtype(asked).kind
    if got.kind == "f":
        return kind == "f" and np.finfo(got).nmant + 1 < SIGNIFICANT_BITS[asked]
    return got.kind in "biu" and (kind == "f" or got.itemsize < np.dtype(asked).itemsize)


def _beyond(got: Array, expected: Array, allowed: Any) -> Array:
    """Return where results differ by more than is allowed; values that are not finite always do."""
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(got.astype(np.longdouble if got.dtype.kind == "f" else object) - expected)
    return np.asarray(~(error <= allowed), dtype=bool)


def _hint(case: LayerCase, values: LayerValues, name: str, got: Array, expected: Array, rounding: Rounding) -> str:
    """Return which algorithm would explain a small difference, if there is one."""
    largest = max(int(np.abs(array).max(initial=0)) for array in values.arrays().values())
    if largest > LARGEST_VALUE and got.dtype.kind == "f":
        size = magnitudes(case, values)[name]
        if np.all(np.abs(got - expected) <= 2.0**-6 * size):
            return (
                f"; the values are large and the errors small, as if by arithmetic with fewer digits than {case.dtype}"
            )
    for other in ROUNDINGS[ROUNDINGS.index(rounding) + 1 :]:
        allowed = allowed_error(case, values, other)[name]
        if np.max(allowed, initial=0.0) < 0.5 and not _beyond(got, expected, allowed).any():
            return f"; all are within the bound for {other} algorithms, so it may be rounding"
    return ""


def _place(name: str, at: tuple[int, ...]) -> str:
    first = "kernel" if name == "dw" else "sample"
    named = ("channel",) if name == "db" else (first, "channel")
    parts = [f"{word} {index}" for word, index in zip(named, at, strict=False)]
    rest = at[len(named) :]
    if rest:
        parts.append(f"{'tap' if name == 'dw' else 'position'} {', '.join(map(str, rest))}")
    return ", ".join(parts)


def _number(value: Any) -> str:
    if isinstance(value, complex | np.complexfloating):
        return str(value)
    number = float(value)
    return str(int(number)) if number.is_integer() else repr(number)
