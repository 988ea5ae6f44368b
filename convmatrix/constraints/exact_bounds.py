r"""Bounds of linear functions of a network on a box, in integers: no rounding, no floating point.

A number t is represented by the integer :math:`2^p t`. What such integers cannot represent is rounded in the safe
direction, so every bound is valid for the network in real arithmetic. A larger p makes bounds tighter; any p makes
them valid.

The one rule for rectifiers: if :math:`l \le t \le u`, then for **every** number q

.. math:: a \max(t, 0) \ge -q t + \min_{s \in \{l, u, 0\} \cap [l, u]} (a \max(s, 0) + q s)

because the function in the minimum is linear on both sides of 0. With the best q, however found, these are the bounds
of linear programming (E. Wong and J. Z. Kolter, Provable defenses against adversarial examples, 2018).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from convmatrix.constraints.normal_form import NormalForm
    from convmatrix.constraints.properties import HalfSpace

_MOST_BITS: Final = 2**15

Equation = tuple[tuple[int, ...], tuple[int, ...], int]


@dataclass(frozen=True)
class Bounds:
    """Bounds of every variable of a normal form, as integers times ``2**-bits``."""

    lower: list[int]
    upper: list[int]

    def copy(self) -> Bounds:
        """Return a copy that can be narrowed independently."""
        return Bounds(list(self.lower), list(self.upper))

    def narrow(self, variable: int, lower: int | None = None, upper: int | None = None) -> None:
        """Add a bound of a variable, in place."""
        if lower is not None:
            self.lower[variable] = max(self.lower[variable], lower)
        if upper is not None:
            self.upper[variable] = min(self.upper[variable], upper)


def terms_of(space: HalfSpace, form: NormalForm) -> list[tuple[int, Fraction]]:
    """Return the variables and coefficients of a half-space; outputs may share the variable of an input."""
    inputs, outputs = form.variables[form.input], form.variables[form.output]
    return [(int(inputs[i]), a) for i, a in space.inputs] + [(int(outputs[j]), c) for j, c in space.outputs]


class UnsafeSet:
    """An intersection of half-spaces in the variables of a normal form, with integer coefficients.

    Each half-space has the coefficients of its variables on the left, a right side, and may be strict. Both sides are
    multiplied by ``scale``, the least common denominator.
    """

    def __init__(self, spaces: Sequence[HalfSpace], form: NormalForm) -> None:
        terms = [terms_of(space, form) for space in spaces]
        numbers = [*(space.right for space in spaces), *(factor for row in terms for _, factor in row)]
        self.scale = 1
        for number in numbers:
            self.scale = math.lcm(self.scale, number.denominator)
            if self.scale.bit_length() > _MOST_BITS:
                raise ValueError(f"the fractions of a property have no common denominator of {_MOST_BITS} bits")
        self.left: list[dict[int, int]] = [{} for _ in spaces]
        for left, row in zip(self.left, terms, strict=True):
            for variable, factor in row:
                left[variable] = left.get(variable, 0) + int(factor * self.scale)
        self.right = [int(space.right * self.scale) for space in spaces]
        self.strict = [space.strict for space in spaces]

    def excluded(self, excess: int, weights: Mapping[int, int]) -> bool:
        """Return whether a lower bound of the weighted sum of excesses shows that no point is in all half-spaces.

        Within them the sum is not positive, and it is negative if the inequality of a positive weight is strict.
        """
        return excess > 0 or (excess == 0 and any(weight > 0 and self.strict[row] for row, weight in weights.items()))


class ExactForm:
    """A normal form with integer coefficients, in which linear functions are bounded; its own bounds are not used.

    Bounds and multipliers are integers times ``2**-bits``, coefficients of the equations integers times ``2**-shift``:
    they are exact. ``rectifiers`` maps each rectified variable to its source, whose positive part it is, in the order
    of the definitions. A variable that is defined twice, or uses one that is not yet defined, raises a ValueError.
    """

    def __init__(self, form: NormalForm, bits: int = 64) -> None:
        self.bits = bits
        self.inputs: list[int] = form.variables[form.input].tolist()
        starts, columns = form.equations.indptr.tolist(), form.equations.indices.tolist()
        values = [value.as_integer_ratio() for value in form.equations.data.tolist()]
        constants = [value.as_integer_ratio() for value in (-form.right).tolist()]
        self.shift = max((bottom.bit_length() - 1 for _, bottom in [*values, *constants]), default=0)
        scaled = [(top << self.shift) // bottom for top, bottom in values]
        self.equations: dict[int, Equation] = {}
        self.rectifiers: dict[int, int] = {}
        self.order: list[int] = list(self.inputs)
        known = set(self.inputs)
        for kind, start, stop in form.order.tolist():
            for number in range(start, stop):
                if kind == 0:
                    own = int(form.defines[number])
                    body = {columns[place]: scaled[place] for place in range(starts[number], starts[number + 1])}
                    if body.pop(own, 0) != -(1 << self.shift):
                        raise ValueError(f"equation {number} does not define variable {own}")
                    used = tuple(body)
                    top, bottom = constants[number]
                    constant = (top << self.shift) // bottom
                    self.equations[own] = (used, tuple(body.values()), constant)
                else:
                    own, used = int(form.post[number]), (int(form.pre[number]),)
                    self.rectifiers[own] = used[0]
                if own in known or not known.issuperset(used):
                    raise ValueError(f"variable {own} is defined twice, or uses one that is defined later")
                known.add(own)
                self.order.append(own)
        if len(known) != form.n_variables:
            raise ValueError(f"{form.n_variables - len(known)} variables have no definition")
        self.n_variables = form.n_variables

    def grid(self, lower: Sequence[float], upper: Sequence[float]) -> tuple[list[int], list[int]]:
        """Return a box in integers, rounded outwards."""
        scale = 1 << self.bits
        return (
            [math.floor(Fraction(bound) * scale) for bound in lower],
            [math.ceil(Fraction(bound) * scale) for bound in upper],
        )

    def propagate(self, lower: Sequence[int], upper: Sequence[int]) -> Bounds:
        """Return bounds of all variables from those of the inputs, by interval arithmetic."""
        bounds = Bounds([0] * self.n_variables, [0] * self.n_variables)
        low, high = bounds.lower, bounds.upper
        for variable, least, most in zip(self.inputs, lower, upper, strict=True):
            low[variable], high[variable] = least, most
        for variable in self.order[len(self.inputs) :]:
            source = self.rectifiers.get(variable)
            if source is not None:
                low[variable], high[variable] = max(low[source], 0), max(high[source], 0)
                continue
            used, factors, constant = self.equations[variable]
            least = most = constant << self.bits
            for factor, j in zip(factors, used, strict=True):
                if factor > 0:
                    least += factor * low[j]
                    most += factor * high[j]
                else:
                    least += factor * high[j]
                    most += factor * low[j]
            low[variable], high[variable] = least >> self.shift, -(-most >> self.shift)
        return bounds

    def minimum(self, terms: Mapping[int, int], bounds: Bounds, slopes: Mapping[int, int] | None = None) -> int:
        r"""Return a lower bound of a linear function :math:`\sum_j t_j v_j` of the variables.

        Definitions are substituted from the last to the first: an equation exactly, a rectifier by the rule above. The
        coefficient of a variable is first rounded down, and the remainder, which is not negative, times the variable
        is at least the remainder times its lower bound.

        Terms are :math:`2^{bits} t_j` for each variable, and slopes :math:`2^{bits} q` for rectified ones: any integers
        are valid, and a missing one is chosen by `slope`. The result is the bound times ``2**(2 * bits + shift)``.
        """
        bits, shift, slopes = self.bits, self.shift, slopes or {}
        low, high = bounds.lower, bounds.upper
        waiting = [0] * self.n_variables  # coefficients, times 2**(bits + shift)
        for variable, factor in terms.items():
            waiting[variable] = factor << shift
        total = 0
        for variable in reversed(self.order):
            full = waiting[variable]
            if not full and variable not in slopes:
                continue
            equation = self.equations.get(variable)
            source = self.rectifiers.get(variable)
            if equation is None and source is None:
                total += full * (low[variable] if full > 0 else high[variable])
                continue
            factor = full >> shift
            total += (full - (factor << shift)) * low[variable]
            if equation is not None:
                used, factors, constant = equation
                for j, other in zip(used, factors, strict=True):
                    waiting[j] += factor * other
                total += (factor * constant) << bits
            elif source is not None:
                least, most = low[source], high[source]
                q = slopes.get(variable)
                if q is None:
                    q = slope(factor, least, most)
                waiting[source] -= q << shift
                ends = [factor * max(least, 0) + q * least, factor * max(most, 0) + q * most]
                if least < 0 < most:
                    ends.append(0)
                total += min(ends) << shift
        return total

    def excess(
        self, unsafe: UnsafeSet, weights: Mapping[int, int], bounds: Bounds, slopes: Mapping[int, int] | None = None
    ) -> int:
        """Return a lower bound of a weighted sum of the excesses of half-spaces: left sides minus right sides.

        Weights, by the numbers of half-spaces, are times ``2**bits`` and not negative; slopes are those of `minimum`
        before coefficients are multiplied by ``unsafe.scale``. The result is the bound times
        ``unsafe.scale * 2**(2 * bits + shift)``.
        """
        terms: dict[int, int] = {}
        right = 0
        for number, weight in weights.items():
            if weight < 0:
                raise ValueError(f"the weight {weight} of half-space {number} is negative")
            right += weight * unsafe.right[number]
            for variable, factor in unsafe.left[number].items():
                terms[variable] = terms.get(variable, 0) + weight * factor
        scaled = {variable: q * unsafe.scale for variable, q in (slopes or {}).items()}
        return self.minimum(terms, bounds, scaled) - (right << (self.bits + self.shift))

    def tighten(self, bounds: Bounds, variable: int, slopes: Sequence[Mapping[int, int] | None] = (None, None)) -> None:
        """Narrow the bounds of a variable in place by `minimum`, with slopes for its lower and its upper bound."""
        one, scale = 1 << self.bits, self.bits + self.shift
        bounds.narrow(variable, lower=self.minimum({variable: one}, bounds, slopes[0]) >> scale)
        bounds.narrow(variable, upper=-(self.minimum({variable: -one}, bounds, slopes[1]) >> scale))

    def tighten_all(self, bounds: Bounds, most: int | None = None, stop: Callable[[], bool] | None = None) -> int:
        """Narrow bounds in place, and return how many sources of rectified variables were tightened.

        Sources of unknown sign are tightened in the order of definitions, at most ``most`` of them, until ``stop``
        returns true; the bounds of all rectified variables follow from those of their sources.
        """
        tightened = 0
        inputs = set(self.inputs)
        for variable, source in self.rectifiers.items():
            # Bounds of variables that depend directly on the inputs are already the best possible.
            deep = source in self.equations and not inputs.issuperset(self.equations[source][0])
            if deep and bounds.lower[source] < 0 < bounds.upper[source] and (most is None or tightened < most):
                if stop is not None and stop():
                    most = tightened
                else:
                    self.tighten(bounds, source)
                    tightened += 1
            bounds.narrow(variable, max(bounds.lower[source], 0), max(bounds.upper[source], 0))
        return tightened


def slope(factor: int, lower: int, upper: int) -> int:
    """Return a good q for the rule of rectifiers: that of the smallest triangle."""
    if lower >= 0:
        return -factor
    if upper <= 0:
        return 0
    if factor < 0:
        return -factor * upper // (upper - lower)
    return -factor if upper >= -lower else 0
