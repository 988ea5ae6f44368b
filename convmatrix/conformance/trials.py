"""One layer after another: drawn, run, judged, and shrunk if it fails."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from convmatrix.conformance.expected_values import LARGEST_VALUE, amplitude, draw_values, largest_amplitude
from convmatrix.conformance.judging import Difference, judge
from convmatrix.conformance.layer_cases import LayerCase, features
from convmatrix.conformance.random_cases import draw_case
from convmatrix.conformance.reproducing_scripts import reproducing_script
from convmatrix.conformance.rounding import is_decisive
from convmatrix.conformance.shrinking import shrink

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from convmatrix.conformance.expected_values import LayerValues
    from convmatrix.conformance.judging import Judge
    from convmatrix.conformance.targets import TargetCall, TargetLibrary

MOST_REPEATED: Final = 1
"""Failures of one call and kind that are shrunk to a known finding; others with its options are counted only."""

MOST_SHRUNK: Final = 20
"""Largest number of failures of one call and kind that a process shrinks."""

LARGE_VALUES_EVERY: Final = 4
"""Every fourth layer has integers as large as exactness allows, which shows arithmetic with too few digits."""


@dataclass(frozen=True)
class Finding:
    """A failure, shrunk: a minimal layer, its integers, how the target differs, and a program that reproduces it.

    ``first`` is the number of the drawn layer, and ``count`` how many failures were shrunk to layers that use the same
    options.
    """

    call: str
    first: int
    case: LayerCase
    values: LayerValues
    difference: Difference
    script: str
    count: int = 1

    @property
    def signature(self) -> tuple[object, ...]:
        """Findings with equal signatures are listed once."""
        fields = self.case.plain_fields() if self.difference.result else ()
        return self.call, *self.difference.signature, self.case.transposed, fields


@dataclass(frozen=True)
class LayerOutcome:
    """The outcome of one layer: it passed, was refused, or failed; failures that are only counted have no finding."""

    number: int
    call: str
    features: tuple[str, ...]
    refusal: str | None = None
    failed: bool = False
    finding: Finding | None = None


def drawn_layer(target: TargetLibrary, seed: int, number: int) -> tuple[TargetCall, LayerCase, LayerValues]:
    """Return the layer with a number: a call of the target, the layer and its integers.

    The layers of algorithms that round are such that bounds are below 1/2; see `convmatrix.conformance.rounding`.
    """
    rng = np.random.default_rng((seed, number))
    call = target.calls[int(rng.integers(len(target.calls)))]
    for _ in range(200):
        case = draw_case(call.name, call.offers, rng)
        if call.rounding == "exact":
            largest_value = largest_amplitude(case) if number % LARGE_VALUES_EVERY == LARGE_VALUES_EVERY - 1 else None
            return call, case, draw_values(case, rng, largest_value)
        for largest in range(min(amplitude(case), LARGEST_VALUE), 0, -1):
            values = draw_values(case, rng, largest)
            if is_decisive(case, values, call.rounding):
                return call, case, values
    raise ValueError(
        f"{call.name}: no layer has a bound below 1/2 for rounding={call.rounding!r}; declare types with more digits"
    )


def outcomes(
    target: TargetLibrary, seed: int, numbers: Iterable[int], judge_layer: Judge = judge
) -> Iterator[LayerOutcome]:
    """Yield the outcome of each layer, in the order of the numbers."""
    known: dict[tuple[object, ...], list[set[str]]] = {}  # the options that findings of one kind need
    repeated = Counter[tuple[object, ...]]()
    for number in numbers:
        call, case, values = drawn_layer(target, seed, number)
        kinds = tuple(features(case))
        judgement = judge_layer(call, case, values)
        difference = judgement.difference
        finding = None
        if difference is not None:
            alike = call.name, *difference.signature
            needed = known.setdefault(alike, [])
            explained = any(options <= set(case.plain_fields()) for options in needed)
            if not (explained and repeated[alike] >= MOST_REPEATED) and len(needed) < MOST_SHRUNK:
                finding = find(target, call, number, case, values, difference, judge_layer)
                options = set(finding.case.plain_fields())
                repeated[alike] += options in needed
                needed.append(options)
        yield LayerOutcome(number, call.name, kinds, judgement.refusal, difference is not None, finding)


def find(
    target: TargetLibrary,
    call: TargetCall,
    number: int,
    case: LayerCase,
    values: LayerValues,
    difference: Difference,
    judge_layer: Judge,
) -> Finding:
    """Return the finding for a failed layer."""
    case, values, difference = shrink(call, case, values, difference, judge_layer)
    script = reproducing_script(target, call, case, values, difference)
    return Finding(call.name, number, case, values, difference, script)
