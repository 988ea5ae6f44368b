"""Properties of networks: unions of sets of inputs and outputs that must not be reached, in rational numbers."""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix import options as validate
from convmatrix.network import as_network

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from convmatrix.network import Network

    Box = tuple[NDArray[np.float64], NDArray[np.float64]]

Terms = tuple[tuple[int, Fraction], ...]


@dataclass(frozen=True)
class HalfSpace:
    r"""A linear inequality in the inputs x and the outputs y of a network, both raveled.

    .. math:: \sum_i a_i x_i + \sum_j c_j y_j \le d

    Attributes
    ----------
    inputs, outputs : tuple of (int, Fraction)
        Indices and coefficients; floats and integers are converted exactly.
    right : Fraction
        d.
    strict : bool
        Whether the inequality is <.

    Raises
    ------
    ValueError
        If a number is not finite, or exceeds the largest float64.
    """

    inputs: Terms
    outputs: Terms
    right: Fraction
    strict: bool = False

    def __post_init__(self) -> None:
        for name in ("inputs", "outputs"):
            terms = tuple((operator.index(index), _fraction(factor)) for index, factor in getattr(self, name))
            object.__setattr__(self, name, terms)
        object.__setattr__(self, "right", _fraction(self.right))
        object.__setattr__(self, "strict", bool(self.strict))

    def excess(self, x: Sequence[Any], y: Sequence[Any]) -> Any:
        """Return the left side minus the right side: exact for fractions and integers."""
        left = sum((a * x[i] for i, a in self.inputs), Fraction(0))
        return sum((c * y[j] for j, c in self.outputs), left) - self.right

    def contains(self, x: Sequence[Any], y: Sequence[Any]) -> bool:
        """Return whether the inequality holds."""
        excess = self.excess(x, y)
        return bool(excess < 0 or (excess == 0 and not self.strict))

    def __str__(self) -> str:
        terms = [(a, f"x[{i}]") for i, a in self.inputs] + [(c, f"y[{j}]") for j, c in self.outputs]
        text = ""
        for factor, name in terms:
            sign = ("-" if factor < 0 else "") if not text else (" - " if factor < 0 else " + ")
            size = abs(factor)
            text += f"{sign}{name}" if size == 1 else f"{sign}{_short(size)} {name}"
        return f"{text or '0'} {'<' if self.strict else '<='} {_short(self.right)}"


def _fraction(value: Any) -> Fraction:
    """Return a number exactly, even if it is a NumPy number, whose integers overflow."""
    try:
        exact = Fraction(value.item() if isinstance(value, np.generic) else value)
    except (OverflowError, ValueError) as error:
        raise ValueError(f"coefficients and bounds must be finite numbers, but one is {value!r}") from error
    if abs(exact) > sys.float_info.max:
        size = math.log10(abs(exact.numerator)) - math.log10(exact.denominator)
        raise ValueError(f"coefficients and bounds must not exceed 1.8e308, but one is about 1e{size:.0f}")
    return exact


def _short(value: Fraction) -> str:
    return str(value) if value.denominator == 1 and abs(value) < 10**15 else f"{float(value):.6g}"


@dataclass(frozen=True)
class Property:
    """A property of a network: no input, with its output, lies in any of the unsafe sets.

    Attributes
    ----------
    unsafe : tuple of tuple of HalfSpace
        Each unsafe set is an intersection of half-spaces. The property holds on a box if no input of the box, with the
        network's output, lies in any of them.
    name : str

    Examples
    --------
    >>> from fractions import Fraction
    >>> high = HalfSpace((), ((0, Fraction(-1)),), Fraction(-2))
    >>> Property(((high,),), "the output stays below 2")
    Property('the output stays below 2': never -y[0] <= -2)
    """

    unsafe: tuple[tuple[HalfSpace, ...], ...]
    name: str = "property"

    def reached(self, x: Sequence[Any], y: Sequence[Any]) -> int | None:
        """Return the number of the first unsafe set that contains x and y, exact for fractions; None if none does."""
        for number, spaces in enumerate(self.unsafe):
            if all(space.contains(x, y) for space in spaces):
                return number
        return None

    def check(self, n_inputs: int, n_outputs: int) -> None:
        """Raise ValueError if the property refers to an input or an output that the network does not have."""
        for space in {space for spaces in self.unsafe for space in spaces}:
            for what, terms, size in (("input", space.inputs, n_inputs), ("output", space.outputs, n_outputs)):
                wrong = [index for index, _ in terms if not 0 <= index < size]
                if wrong:
                    raise ValueError(
                        f"{self.name} refers to {what} {wrong[0]}, but the network has {size} {what}s (0 to {size - 1})"
                    )

    def __repr__(self) -> str:
        shown = [" and ".join(map(str, spaces[:3])) + (" ..." if len(spaces) > 3 else "") for spaces in self.unsafe[:3]]
        more = f", and {len(self.unsafe) - 3} more" if len(self.unsafe) > 3 else ""
        return f"Property({self.name!r}: never {', or '.join(shown)}{more})"


def exact_terms(coefficients: Mapping[int, Any]) -> Terms:
    """Return indices and coefficients as fractions, in order and without zeros."""
    return tuple((index, _fraction(value)) for index, value in sorted(coefficients.items()) if value)


def with_output(network: Any, name: str | None) -> Network:
    """Return a network up to the node of a name, or up to its output if there is only one."""
    whole = as_network(network)
    if name is None and len(whole.outputs) > 1:
        raise ValueError(
            f"{whole.name} has {len(whole.outputs)} outputs, {', '.join(whole.outputs[:9])}, "
            "but a property refers to one; choose it by name= (on the command line, --output)"
        )
    return whole.until(whole.outputs[0] if name is None else name)


def output_is_largest(network: Any, label: int, *, name: str | None = None) -> Property:
    """Return the property that one output is larger than all others: the class of a sample does not change.

    Parameters
    ----------
    network : Network, or anything that describes one
    label : int
        The index of the output, in C order. A tie with another output is unsafe.
    name : str, optional
        The output node; needed if there are several.

    Raises
    ------
    ValueError
        If there is no such output, or no other one.

    Examples
    --------
    >>> from convmatrix.network import FullyConnected, Network
    >>> output_is_largest(Network([FullyConnected(2, 3)]), 1)
    Property('output 1 is the largest': never -y[0] + y[1] <= 0, or y[1] - y[2] <= 0)
    """
    n_outputs = math.prod(with_output(network, name).output_shape)
    if not 0 <= validate.integer("label", label) < n_outputs or n_outputs < 2:
        raise ValueError(
            f"output {label} is compared with the others, but the network has {n_outputs} output"
            f"{'' if n_outputs == 1 else 's'}"
        )
    others = [other for other in range(n_outputs) if other != label]
    unsafe = [(HalfSpace((), exact_terms({label: 1, other: -1}), Fraction(0)),) for other in others]
    return Property(tuple(unsafe), f"output {label} is the largest")


def outputs_at_most(matrix: ArrayLike, bound: ArrayLike) -> Property:
    r"""Return the property that linear functions of the raveled outputs stay within bounds, :math:`C y \le d`.

    Parameters
    ----------
    matrix : array_like, shape (k, n_outputs)
        C.
    bound : array_like, shape (k,), or one number
        d.

    Raises
    ------
    ValueError
        If the shapes do not fit, or an entry is not finite.

    Examples
    --------
    >>> outputs_at_most([[1, 0], [0, -1]], [3, 0.5])
    Property('C y <= d': never -y[0] < -3, or y[1] < -0.5)
    """
    C = validate.array("matrix", matrix)
    if C.ndim != 2 or C.dtype.kind not in "fiub":
        raise ValueError(f"matrix must be a real array (k, n_outputs), but has shape {C.shape} and dtype {C.dtype}")
    try:
        d = np.broadcast_to(validate.array("bound", bound), len(C))
    except ValueError:
        raise ValueError(f"bound has shape {np.shape(bound)}, but matrix has {len(C)} rows") from None
    if not (np.isfinite(C).all() and np.isfinite(d).all()):
        raise ValueError("matrix and bound must be finite")
    unsafe = []
    for row, most in zip(C.tolist(), d.tolist(), strict=True):
        terms = exact_terms(dict(enumerate(row)))
        unsafe.append((HalfSpace((), tuple((j, -c) for j, c in terms), -Fraction(most), strict=True),))
    return Property(tuple(unsafe), "C y <= d")


def box_around(x: ArrayLike, radius: ArrayLike, low: float = -math.inf, high: float = math.inf) -> Box:
    """Return the box of the inputs that differ from x by at most a radius in every entry.

    Parameters
    ----------
    x : array_like
        The centre, a sample.
    radius : array_like
        One number, or one per entry.
    low, high : float
        Bounds of all entries, such as 0 and 1 for an image.

    Returns
    -------
    lower, upper : arrays of float64, the shape of x
        x minus and plus the radius, rounded to the nearest float64, and clipped.

    Examples
    --------
    >>> box_around([0.0, 0.5], 0.25, low=0)
    (array([0.  , 0.25]), array([0.25, 0.75]))
    """
    centre, size = (
        np.asarray(validate.array(name, value), np.float64) for name, value in (("x", x), ("radius", radius))
    )
    if not (np.isfinite(centre).all() and np.isfinite(size).all() and (size >= 0).all()):
        raise ValueError("x and radius must be finite, and radius must not be negative")
    return np.clip(centre - size, low, high), np.clip(centre + size, low, high)


def unsafe_box(
    spaces: Sequence[HalfSpace], lower: Sequence[float], upper: Sequence[float]
) -> tuple[Any, Any, list[int]]:
    """Return the part of a box that half-spaces of a single input leave, and the numbers of the others.

    The part is the smallest box of float64 that contains it with its boundary; if it is empty, also because an
    inequality is strict, a lower bound exceeds the upper one. The others are not bounds of the box, or not exactly.
    """
    low, high, rest = list(lower), list(upper), []
    excluded: dict[tuple[int, bool], float] = {}  # ends that a strict inequality leaves out
    for number, space in enumerate(spaces):
        if space.outputs or len(space.inputs) != 1:
            rest.append(number)
            continue
        ((index, factor),) = space.inputs
        near = _outward(space.right / factor, up=factor > 0) if factor else math.inf
        if math.isinf(near):
            rest.append(number)
            continue
        if Fraction(near) * factor != space.right:
            rest.append(number)
        elif space.strict:
            excluded[index, factor > 0] = (min if factor > 0 else max)(near, excluded.get((index, factor > 0), near))
        if factor > 0:
            high[index] = min(high[index], near)
        else:
            low[index] = max(low[index], near)
    for (index, above), end in excluded.items():
        if low[index] >= end if above else high[index] <= end:
            low[index], high[index] = 1.0, 0.0
    return low, high, rest


def near_float(value: Fraction | float) -> float:
    """Return the float64 nearest to a number; inf if it exceeds the largest one."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _outward(value: Fraction, *, up: bool) -> float:
    """Return the least float64 that is not below a number, or the largest that is not above it."""
    near = near_float(value)
    if math.isfinite(near) and ((near < value) if up else (near > value)):
        near = math.nextafter(near, math.inf if up else -math.inf)
    return near
