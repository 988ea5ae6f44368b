"""Shrink a failing layer to a minimal one, by a fixed list of simplifications; nothing is random but the integers.

A simplification is kept if the call still differs in the same way. When none is left, pairs of them are tried, because
some can only be made together (a smaller input and a smaller kernel). Then entries of the arrays become 0 or 1.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import chain, combinations
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from convmatrix.conformance.expected_values import LARGEST_VALUE, LayerValues, draw_values, largest_amplitude

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from convmatrix.conformance.judging import Difference, Judge
    from convmatrix.conformance.layer_cases import LayerCase
    from convmatrix.conformance.offers import Offers
    from convmatrix.conformance.targets import TargetCall

    Change = Callable[[LayerCase], LayerCase | None]

MOST_RUNS: Final = 4000
"""Calls of the target for one failure."""

_DRAWS: Final = 2  # of integers for each simpler layer: one may hide the fault by accident
_LARGEST_ARRAY: Final = 200


class _Shrinker:
    def __init__(self, call: TargetCall, difference: Difference, judge: Judge, most_runs: int, large: bool) -> None:
        self.large = large  # whether the failure may need large integers
        self.call, self.wanted, self.judge = call, difference.signature, judge
        self.runs = most_runs

    def differs(self, case: LayerCase, values: LayerValues) -> Difference | None:
        """Return the difference for a layer, if it is of the wanted kind."""
        self.runs -= 1
        difference = self.judge(self.call, case, values).difference
        return difference if difference is not None and difference.signature == self.wanted else None

    def try_case(self, case: LayerCase, draws: int) -> tuple[LayerValues, Difference] | None:
        """Return integers for which a layer differs, and the difference."""
        limits = [None] * draws + [largest_amplitude(case)] * self.large
        for seed, largest in enumerate(limits):
            if self.runs <= 0:
                return None
            values = draw_values(case, np.random.default_rng(seed), largest)
            difference = self.differs(case, values)
            if difference is not None:
                return values, difference
        return None


def shrink(
    call: TargetCall,
    case: LayerCase,
    values: LayerValues,
    difference: Difference,
    judge: Judge,
    most_runs: int = MOST_RUNS,
) -> tuple[LayerCase, LayerValues, Difference]:
    """Return a minimal layer that differs in the same way, its integers, and the difference."""
    large = any(np.abs(array).max(initial=0) > LARGEST_VALUE for array in values.arrays().values())
    shrinker = _Shrinker(call, difference, judge, most_runs, large)
    best = case, values, difference
    while shrinker.runs > 0:
        for smaller, draws in _simpler(call, best[0]):
            found = shrinker.try_case(smaller, draws)
            if found is not None:
                best = smaller, *found
                break
        else:
            break
    return best[0], *_simplify_values(shrinker, *best)


def _simpler(call: TargetCall, case: LayerCase) -> Iterator[tuple[LayerCase, int]]:
    """Yield simpler layers within the call's offers, and how often to draw integers for them."""
    changes = list(_changes(case, call.offers))
    seen = {case}
    singles = [(change,) for change in changes]
    for some in chain(singles, combinations(changes, 2)):
        changed: LayerCase | None = case
        for change in some:
            changed = change(changed) if changed is not None else None
        if changed is None or changed in seen:
            continue
        seen.add(changed)
        if call.offers.allow(changed) and _size(changed, call.offers) < _size(case, call.offers):
            yield changed, _DRAWS if len(some) == 1 else 1


def _size(case: LayerCase, offers: Offers) -> tuple[float, ...]:
    """Return the key that shrinking decreases: axes, then sizes and options, then multiplications, then settings."""
    geometry = case.geometry
    work = math.prod((case.batch + 1, *case.input_shape, *geometry.output_shape, *case.kernel_shape))
    channels = case.in_channels + case.out_channels + case.groups
    pads = sum(low + high for low, high in geometry.padding)
    steps = sum(case.stride) + sum(case.dilation) + sum(case.output_padding)
    options = sum(b != "zero" for b in case.boundary) + case.flip + case.bias + case.transposed
    words = 0 if case.padding == "valid" else 1 + (not isinstance(case.padding, str))
    sizes = sum(case.input_shape) + sum(case.kernel_shape) + sum(geometry.output_shape)
    settings = sum(value != offers.settings[name][0] for name, value in case.settings)
    return (case.n_axes, sizes + 2 * channels + pads + steps + 2 * options + case.batch + words, work, settings)


def _changes(case: LayerCase, offers: Offers) -> Iterator[Change]:
    """Yield simplifications, the boldest first; a change returns None where it does not apply."""
    if case.n_axes > 1:
        yield from (_without_axis(axis) for axis in range(case.n_axes))
    yield _set(batch=1)
    yield _set(groups=1, in_channels=1, out_channels=1)
    yield _set(bias=False)
    yield _set(flip=False)
    yield _set_axes("boundary", "zero")
    yield _set(padding="valid")
    yield _set_axes("padding", (0, 0))
    if case.groups > 1:
        yield _set(groups=2, in_channels=2, out_channels=2)
        yield _set(groups=case.groups - 1, in_channels=case.groups - 1, out_channels=case.groups - 1)
    for name in ("in_channels", "out_channels"):
        yield _number(name, case.groups)
    yield _set(groups=1)
    yield _set(batch=2)
    for name, least in (("input_shape", 1), ("kernel_shape", 1), ("stride", 1), ("dilation", 1), ("output_padding", 0)):
        if name in ("stride", "dilation", "output_padding"):
            yield _set_axes(name, least)
        for axis in range(case.n_axes):
            yield _entry(name, axis, 0, least)
            yield _entry(name, axis, 2, least)
            yield _entry(name, axis, 1, least)
    for axis in range(case.n_axes):
        for end in (0, 1):
            yield _pad(axis, [end], lambda n: 0)
            yield _pad(axis, [end], lambda n: n // 2)
            yield _pad(axis, [end], lambda n: n - 1)
        yield _pad(axis, [0, 1], lambda n: n - 1)
    for name, choice in offers.settings.items():
        yield _setting(name, choice[0])


def _set(**values: Any) -> Change:
    return lambda case: replace(case, **values)


def _set_axes(name: str, value: Any) -> Change:
    def change(case: LayerCase) -> LayerCase:
        entries: Any = (value,) * case.n_axes
        return replace(case, **{name: entries})

    return change


def _number(name: str, step: int) -> Change:
    def change(case: LayerCase) -> LayerCase | None:
        number: Any = getattr(case, name) - step
        return replace(case, **{name: number}) if number >= 1 else None

    return change


def _entry(name: str, axis: int, parts: int, least: int) -> Change:
    """Return a change of one entry: to the least value (0 parts), by one (1 part), or to a half (2 parts)."""

    def change(case: LayerCase) -> LayerCase | None:
        entries: list[Any] = list(getattr(case, name))
        if axis >= len(entries):
            return None
        old = entries[axis]
        entries[axis] = (least, old - 1, (old + 1) // 2)[parts]
        return replace(case, **{name: cast("Any", tuple(entries))}) if least <= entries[axis] < old else None

    return change


def _pad(axis: int, ends: list[int], smaller: Callable[[int], int]) -> Change:
    def change(case: LayerCase) -> LayerCase | None:
        if isinstance(case.padding, str) or axis >= case.n_axes:
            return None
        pairs = [list(pair) for pair in case.padding]
        for end in ends:
            pairs[axis][end] = smaller(pairs[axis][end])
        if min(pairs[axis]) < 0:
            return None
        return replace(case, padding=tuple((low, high) for low, high in pairs))

    return change


def _setting(name: str, plain: str) -> Change:
    return lambda case: replace(
        case, settings=tuple((key, plain if key == name else old) for key, old in case.settings)
    )


def _without_axis(axis: int) -> Change:
    names = ("input_shape", "kernel_shape", "stride", "dilation", "boundary", "output_padding")

    def change(case: LayerCase) -> LayerCase | None:
        if case.n_axes < 2 or axis >= case.n_axes:
            return None
        fewer: dict[str, Any] = {name: _dropped(getattr(case, name), axis) for name in names}
        padding = case.padding if isinstance(case.padding, str) else _dropped(case.padding, axis)
        return replace(case, **fewer, padding=padding)

    return change


def _dropped(entries: tuple[Any, ...], axis: int) -> tuple[Any, ...]:
    return entries[:axis] + entries[axis + 1 :]


def _simplify_values(
    shrinker: _Shrinker, case: LayerCase, values: LayerValues, difference: Difference
) -> tuple[LayerValues, Difference]:
    """Return the arrays with every entry 0 or 1 that can be, and the difference."""
    for name, array in values.arrays().items():
        if array.size > _LARGEST_ARRAY:
            continue
        for place in np.ndindex(array.shape):
            for value in (0, 1):
                if getattr(values, name)[place] == value or shrinker.runs <= 0:
                    break
                simpler = getattr(values, name).copy()
                simpler[place] = value
                changed = replace(values, **{name: simpler})
                found = shrinker.differs(case, changed)
                if found is not None:
                    values, difference = changed, found
                    break
    return values, difference
