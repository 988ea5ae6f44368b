"""The verdict on one layer: run a call, compare its results with the exact ones, and say where they differ first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix.conformance.expected_values import RESULTS, exact_results, result_name
from convmatrix.conformance.rounding import ROUNDINGS, allowed_error
from convmatrix.conformance.targets import RefusedCaseError, without_numbers

if TYPE_CHECKING:
    from convmatrix.arrays import Array
    from convmatrix.conformance.expected_values import LayerValues
    from convmatrix.conformance.layer_cases import LayerCase
    from convmatrix.conformance.rounding import Rounding
    from convmatrix.conformance.targets import TargetCall


@dataclass(frozen=True)
class Difference:
    """How the results of a call differ from the exact ones.

    Attributes
    ----------
    kind : str
        "value", "shape", "type", or the name of an exception; "crash" if the process ended.
    result : str
        Which of `RESULTS` is meant; empty for exceptions.
    text : str
        What is wrong, in one sentence.
    expected, got : object
        The whole arrays, the shapes or the types.
    coordinates : tuple of int
        Of the first entry that differs.
    """

    kind: str
    result: str
    text: str
    expected: Any = None
    got: Any = None
    coordinates: tuple[int, ...] = ()

    @property
    def signature(self) -> tuple[str, str]:
        """Differences with equal signatures may have the same cause; exceptions are told apart by their messages."""
        return self.kind, self.result or without_numbers(self.text)


@dataclass(frozen=True)
class Judgement:
    """The verdict on one layer; it passes if there is neither a difference nor a refusal."""

    difference: Difference | None = None
    refusal: str | None = None


Judge = Callable[["TargetCall", "LayerCase", "LayerValues"], Judgement]


def judge(call: TargetCall, case: LayerCase, values: LayerValues) -> Judgement:
    """Run a call on a layer, and compare."""
    try:
        results, failure = call.run(case, values)
    except RefusedCaseError as refusal:
        return Judgement(refusal=without_numbers(str(refusal)))
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
    >>> from convmatrix.conformance.drawing import plain_case
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
    for name in RESULTS:
        if name not in results:
            continue
        expected, got = exact[name], np.asarray(results[name])
        what = result_name(name)
        if got.shape != expected.shape:
            text = f"{what} has the wrong shape: expected {expected.shape}, got {got.shape}"
            return Difference("shape", name, text, expected.shape, got.shape)
        if keeps_dtype and case.dtype != "bfloat16" and got.dtype != case.dtype:
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


def _beyond(got: Array, expected: Array, allowed: Any) -> Array:
    """Return where results differ by more than is allowed; values that are not finite always do."""
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(got.astype(np.longdouble if got.dtype.kind == "f" else object) - expected)
    return np.asarray(~(error <= allowed), dtype=bool)


def _hint(case: LayerCase, values: LayerValues, name: str, got: Array, expected: Array, rounding: Rounding) -> str:
    """Return which algorithm would explain a small difference, if there is one."""
    for other in ROUNDINGS[ROUNDINGS.index(rounding) + 1 :]:
        allowed = allowed_error(case, values, other)[name]
        if np.max(allowed, initial=0.0) < 0.5 and not _beyond(got, expected, allowed).any():
            return f"; all are within the bound for {other} algorithms, so it may be rounding"
    return ""


def _place(name: str, at: tuple[int, ...]) -> str:
    names: dict[str, tuple[str, ...]] = {"y": ("sample", "channel"), "dx": ("sample", "channel")}
    named = names.get(name, ("kernel", "channel") if name == "dw" else ("channel",))
    parts = [f"{word} {index}" for word, index in zip(named, at, strict=False)]
    rest = at[len(named) :]
    if rest:
        parts.append(f"{'tap' if name == 'dw' else 'position'} {', '.join(map(str, rest))}")
    return ", ".join(parts)


def _number(value: Any) -> str:
    number = float(value)
    return str(int(number)) if number.is_integer() else repr(number)
