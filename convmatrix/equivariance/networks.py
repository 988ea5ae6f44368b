"""Whole networks: each step's equivariance, and which shifts survive the strides."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from convmatrix import options as validate
from convmatrix.equivariance import actions
from convmatrix.equivariance.checks import check, output_shift, shift_statement
from convmatrix.equivariance.steps import Bias, Elementwise, Pooling, Step
from convmatrix.equivariance.verdict import Verdict
from convmatrix.geometry import ConvGeometry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Shift = tuple[int, ...]


@dataclass(frozen=True)
class NetworkVerdict:
    """Whether a sequence of steps commutes with a shift of its input, step by step.

    The steps are judged one by one, for every weight of each. Where a step fails, the network fails for some weights.

    Attributes
    ----------
    shifts : tuple of tuple of int
        The shift of the input, and of each step's output.
    verdicts : tuple of Verdict
        One a step.
    """

    shifts: tuple[Shift, ...]
    verdicts: tuple[Verdict, ...]

    @property
    def holds(self) -> bool:
        """Whether every step commutes with its shift."""
        return all(verdict.holds for verdict in self.verdicts)

    def __bool__(self) -> bool:
        return self.holds

    def explain(self) -> str:
        """Return the verdicts in words, a line a step.

        Examples
        --------
        >>> import convmatrix as cm
        >>> layer = cm.ConvGeometry(8, 2, stride=2, boundary="circular")
        >>> print(check_network([layer, Elementwise("relu")], 2).explain())
        step 0: proved, the layer commutes with the cyclic shift by 2 of its input, 1 of its output
        step 1: proved, relu commutes with every permutation
        The network commutes with the shift by (2,) of its input, (1,) of its output.
        """
        lines = []
        for place, verdict in enumerate(self.verdicts):
            text = verdict.explain().splitlines()
            broken = "" if verdict.holds else f"; {text[1]}"
            lines.append(f"step {place}: {text[0][0].lower()}{text[0][1:].replace(':', ',', 1).rstrip('.')}{broken}")
        verb = "commutes" if self.holds else "does not commute, for every weight,"
        lines.append(
            f"The network {verb} with the shift by {self.shifts[0]} of its input, {self.shifts[-1]} of its output."
        )
        return "\n".join(lines)


def check_network(steps: Sequence[Step], shift: int | Sequence[int]) -> NetworkVerdict:
    """Decide, step by step and for every weight, whether a network commutes with a cyclic shift.

    Parameters
    ----------
    steps : sequence of ConvGeometry, Pooling, Elementwise or Bias
        The first one must have a shape. Shapes and channels must follow from one step to the next.
    shift : int or sequence of int
        Of the input. Each stride divides it on the way.

    Returns
    -------
    NetworkVerdict

    Raises
    ------
    ValueError
        If a stride does not divide the shift that reaches it, or shapes do not follow.

    Examples
    --------
    >>> import convmatrix as cm
    >>> layer = cm.ConvGeometry(8, 3, padding="same", boundary="circular")
    >>> check_network([layer, Bias((8,)), Elementwise()], 1).holds
    True
    >>> check_network([layer, Bias((8,), sharing="unit")], 1).holds
    False
    """
    _require_chain(steps)
    first = next(step for step in steps if not isinstance(step, Elementwise))
    amounts = validate.per_axis("shift", shift, len(_input(first)[1]), minimum=-(2**62))
    shifts, verdicts = [amounts], []
    for step in steps:
        verdict, amounts = _check_step(step, amounts)
        shifts.append(amounts)
        verdicts.append(verdict)
    return NetworkVerdict(tuple(shifts), tuple(verdicts))


def _check_step(step: Step, amounts: Shift) -> tuple[Verdict, Shift]:
    if isinstance(step, Elementwise):
        return Verdict("every permutation", np.zeros(1, dtype=bool), subject=step.name), amounts
    channels_in, shape_in = _input(step)
    channels_out, shape_out = _output(step)
    moved = amounts
    if isinstance(step, Bias):
        p: NDArray[np.int64] = actions.identity(1)
        subject = f"the bias a {step.sharing}"
    else:
        moved = output_shift(step if isinstance(step, ConvGeometry) else step.geometry, amounts)
        p = actions.shift(shape_in, amounts, channels=channels_in)
        subject = "the layer" if isinstance(step, ConvGeometry) else f"the {step.kind} pooling"
    q = actions.shift(shape_out, moved, channels=channels_out)
    statement = shift_statement(amounts, moved)
    verdict = check(step.pattern(), q, p, statement=statement, output_shape=(channels_out, *shape_out))
    return replace(verdict, subject=subject), moved


def surviving_shifts(steps: Sequence[Step]) -> tuple[int, ...]:
    """Return which shifts a network commutes with for every weight: on each axis the multiples of one number.

    The shifts that survive form a subgroup, and layers are products over their axes, so that one number an axis says it
    all. It is the size of the input where only the identity survives.

    Parameters
    ----------
    steps : sequence of ConvGeometry, Pooling, Elementwise or Bias

    Returns
    -------
    tuple of int, one an axis of the input

    Examples
    --------
    >>> import convmatrix as cm
    >>> ring = cm.ConvGeometry(24, 3, padding="same", boundary="circular")
    >>> pool = Pooling(cm.ConvGeometry(24, 2, stride=2))
    >>> strided = cm.ConvGeometry(12, 3, stride=3, padding=[(1, 1)], boundary="circular")
    >>> surviving_shifts([ring, pool, strided])
    (6,)
    """
    _require_chain(steps)
    first = next(step for step in steps if not isinstance(step, Elementwise))
    shape = _input(first)[1]
    return tuple(_surviving(steps, axis, size) for axis, size in enumerate(shape))


def _surviving(steps: Sequence[Step], axis: int, size: int) -> int:
    """Return the smallest shift of one axis that survives."""
    one_axis = [_on_axis(step, axis) for step in steps]
    for amount in range(1, size):
        moved: Shift = (amount,)
        for step in one_axis:
            try:
                verdict, moved = _check_step(step, moved)
            except ValueError:  # a stride that does not divide the shift
                break
            if not verdict.holds:
                break
        else:
            return amount
    return size


def _on_axis(step: Step, axis: int) -> Step:
    """Return a step on one of its axes, with one channel: what it does to shifts of that axis."""
    if isinstance(step, Elementwise):
        return step
    if isinstance(step, Bias):
        return Bias((step.shape[axis],), sharing=step.sharing)
    if isinstance(step, Pooling):
        return Pooling(_axis_geometry(step.geometry, axis), kind=step.kind)
    return _axis_geometry(step, axis)


def _axis_geometry(geometry: ConvGeometry, axis: int) -> ConvGeometry:
    g = geometry
    return ConvGeometry(
        g.input_shape[axis],
        g.kernel_shape[axis],
        stride=g.stride[axis],
        dilation=g.dilation[axis],
        padding=[g.padding[axis]],
        boundary=g.boundary[axis],
        sharing=g.sharing if isinstance(g.sharing, str) else g.sharing[axis],
        flip=g.flip,
        transposed=g.transposed,
        output_padding=g.output_padding[axis],
    )


def _input(step: ConvGeometry | Pooling | Bias) -> tuple[int, Shift]:
    if isinstance(step, ConvGeometry):
        return step.in_channels, step.input_shape
    if isinstance(step, Pooling):
        return step.channels, step.geometry.input_shape
    return step.channels, step.shape


def _output(step: ConvGeometry | Pooling | Bias) -> tuple[int, Shift]:
    if isinstance(step, ConvGeometry):
        return step.out_channels, step.output_shape
    if isinstance(step, Pooling):
        return step.channels, step.geometry.output_shape
    return step.channels, step.shape


def _require_chain(steps: Sequence[Step]) -> None:
    """Raise unless each step takes what the one before it gives."""
    before: tuple[int, tuple[int, Shift]] | None = None
    for place, step in enumerate(steps):
        if not isinstance(step, ConvGeometry | Pooling | Elementwise | Bias):
            raise TypeError(
                f"step {place} is a {type(step).__name__}; steps are ConvGeometry, Pooling, Elementwise or Bias"
            )
        if isinstance(step, Elementwise):
            continue
        if before is not None and _input(step) != before[1]:
            (channels, shape), (given, given_shape) = _input(step), before[1]
            raise ValueError(
                f"step {place} takes {channels} channels of {shape}, but step {before[0]} gives {given} of "
                f"{given_shape}; "
                "make them agree"
            )
        before = place, _output(step)
    if before is None:
        raise ValueError("the network has no step with a shape; give at least one layer, pooling or bias")
