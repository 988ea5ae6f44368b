"""Exact checks at a given size of whether the tensor T is unchanged by permuting its rows and columns."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from convmatrix import memory
from convmatrix import options as validate
from convmatrix.equivariance import actions
from convmatrix.equivariance.axis_shifts import AxisShifts, moved_output
from convmatrix.equivariance.comparison import broken_rows, permutation_array
from convmatrix.equivariance.long_axes import geometry_axes
from convmatrix.equivariance.verdict import Counterexample, Verdict
from convmatrix.geometry import ConvGeometry
from convmatrix.pattern import WeightPattern, layer_pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike


def check(
    pattern: WeightPattern,
    output_permutation: ArrayLike,
    input_permutation: ArrayLike,
    *,
    statement: str = "the given permutations",
    output_shape: Sequence[int] | None = None,
) -> Verdict:
    r"""Return whether a pattern is equivariant under two permutations, exactly and for all weights.

    With :math:`q` on the outputs and :math:`p` on the inputs, :math:`A(w) x[p] = (A(w) x)[q]` for all x and w if and
    only if

    .. math:: T_{ijk} = T_{q(i)\, p(j)\, k} \quad \text{for all } i, j, k.

    The check compares integers and does not sample. Its time is linear in the number of entries.

    Parameters
    ----------
    pattern : WeightPattern
    output_permutation, input_permutation : array_like of int, shapes (n_out,) and (n_in,)
        Entry i of the permuted vector is entry p[i] of the old one.
    statement : str, optional
        A description of the permutations, for the explanation.
    output_shape : sequence of int, optional
        Shape of the verdict's ``broken_rows``; by default that of the layer, or flat if the pattern has no geometry.

    Returns
    -------
    Verdict

    Raises
    ------
    ValueError
        If an array is not a permutation or has the wrong length.

    Examples
    --------
    >>> import numpy as np
    >>> import convmatrix as cm
    >>> shift = np.roll(np.arange(5), 1)
    >>> check(cm.ConvGeometry(5, 3, padding="same", boundary="circular").pattern(), shift, shift).holds
    True
    >>> check(cm.ConvGeometry(5, 3, padding="same").pattern(), shift, shift).broken_rows
    array([[ True,  True, False, False,  True]])
    """
    validate.instance("pattern", pattern, WeightPattern, "for a layer pass geometry.pattern()")
    q = permutation_array("output_permutation", output_permutation, pattern.shape[0], "outputs (rows)")
    p = permutation_array("input_permutation", input_permutation, pattern.shape[1], "inputs (columns)")
    broken = broken_rows(pattern, q, p)
    geometry = pattern.geometry
    if output_shape is None:
        output_shape = (len(q),) if geometry is None else geometry.full_output_shape
    counterexample = None
    if broken.any():
        row = int(broken.argmax())
        back = actions.inverse(p)
        own, moved = _row_entries(pattern, row), _row_entries(pattern, int(q[row]), lambda column: int(back[column]))
        counterexample = _counterexample(pattern.weight_shape, (row, own), (int(q[row]), moved), lambda j: int(p[j]))
    return Verdict(statement, broken.reshape(output_shape), counterexample)


def _row_entries(
    pattern: WeightPattern, row: int, place: Callable[[int], int] = lambda column: column
) -> Counter[tuple[int, int]]:
    """Return the coefficient of each (weight, place of a column) of a row of a pattern."""
    stored = slice(int(pattern.row_starts[row]), int(pattern.row_starts[row + 1]))
    pairs = zip(pattern.weight_index[stored].tolist(), map(place, pattern.cols[stored].tolist()), strict=True)
    if pattern.coefficients is None:
        return Counter(pairs)
    found: Counter[tuple[int, int]] = Counter()
    for pair, factor in zip(pairs, pattern.coefficients[stored].tolist(), strict=True):
        found[pair] += factor
    return found


def _counterexample(
    weight_shape: tuple[int, ...],
    own: tuple[int, Counter[tuple[int, int]]],
    other: tuple[int, Counter[tuple[int, int]]],
    image: Callable[[int], int],
) -> Counterexample:
    """Return the first entry for which the symmetry fails, given a broken row and, moved back, its image."""
    (row, here), (moved_row, there) = own, other
    weight, column = min(pair for pair in {*here, *there} if here[pair] != there[pair])
    multi = tuple(int(index) for index in np.unravel_index(weight, weight_shape))
    counts = here[weight, column], there[weight, column]
    return Counterexample(multi, row, column, moved_row, image(column), *counts)


def check_shift(geometry: ConvGeometry, shift: int | Sequence[int]) -> Verdict:
    """Return whether a layer commutes with a cyclic shift, exactly and for all weights.

    It does if shifting the input shifts the output by some amount. If several amounts qualify, the verdict reports
    ``shift / stride`` (``shift * stride`` for a transposed layer) if that is one of them, and otherwise the smallest.

    Parameters
    ----------
    geometry : ConvGeometry
    shift : int or sequence of int
        One integer for all axes, or one per axis; the input moves as in `numpy.roll`.

    Returns
    -------
    Verdict
        If there is no such output shift, its ``broken_rows`` are those for ``shift / stride``, or, if the stride does
        not divide the shift, for the closest output shift; ``reason`` then says so.

    Raises
    ------
    ValueError
        If the number of shifts is not the number of axes.

    Examples
    --------
    >>> import convmatrix as cm
    >>> check_shift(cm.ConvGeometry((8, 8), (3, 3), padding="same", boundary="circular"), (1, 0))
    Verdict(holds=True, broken_rows=0 of 64)
    >>> check_shift(cm.ConvGeometry((8, 8), (3, 3), padding="same"), (1, 0)).broken_rows[0].astype(int)
    array([[1, 1, 1, 1, 1, 1, 1, 1],
           [1, 1, 1, 1, 1, 1, 1, 1],
           [0, 0, 0, 0, 0, 0, 0, 0],
           [0, 0, 0, 0, 0, 0, 0, 0],
           [0, 0, 0, 0, 0, 0, 0, 0],
           [0, 0, 0, 0, 0, 0, 0, 0],
           [0, 0, 0, 0, 0, 0, 0, 0],
           [1, 1, 1, 1, 1, 1, 1, 1]])
    >>> check_shift(cm.ConvGeometry(8, 2, stride=2), 1).reason
    'no output shift matches: stride[0]=2 does not divide shift[0]=1; the rows are those for the closest output shift'
    """
    validate.instance("geometry", geometry, ConvGeometry, "for a pattern call check")
    amounts = validate.per_axis("shift", shift, len(geometry.input_shape), minimum=-(2**62))
    stride, nominal = geometry.stride, nominal_shift(amounts, geometry.stride)
    if geometry.transposed:
        stride, nominal = (1,) * len(amounts), tuple(a * s for a, s in zip(amounts, stride, strict=True))
    memory.require(
        8 * geometry.n_out, f"a verdict on the {geometry.n_out} rows of {geometry!r}", "check a smaller input"
    )
    axes = geometry_axes(geometry)
    moved = moved_output(axes, amounts, nominal)
    verdict = check_axes(axes, amounts, moved, stride, channels=geometry.out_channels, subject="the layer")
    if geometry.connections is not None:  # channels that read nothing keep all symmetries
        connected = np.zeros(geometry.out_channels, dtype=bool)
        connected[geometry.channel_pairs[:, 0]] = True
        broken = verdict.broken_rows & connected.reshape(-1, *(1,) * len(amounts))
        verdict = replace(verdict, broken_rows=broken, reason=verdict.reason if broken.any() else "")
    if verdict.holds:
        return verdict
    row = int(verdict.broken_rows.argmax())
    moved_row = _moved_place(row, geometry.full_output_shape, moved)
    inputs, back = geometry.full_input_shape, [-amount for amount in amounts]
    own, other = (layer_pattern(geometry, (of, of + 1)) for of in (row, moved_row))
    found = _counterexample(
        geometry.weight_shape,
        (row, _row_entries(own, 0)),
        (moved_row, _row_entries(other, 0, lambda column: _moved_place(column, inputs, back))),
        lambda column: _moved_place(column, inputs, amounts),
    )
    return replace(verdict, counterexample=found)


def _moved_place(place: int, shape: tuple[int, ...], amounts: Sequence[int]) -> int:
    """Return the flat index that a shift takes to a place of an array of ``shape``, channels first."""
    channel, *position = np.unravel_index(place, shape)
    back = [(int(i) - amount) % n for i, amount, n in zip(position, amounts, shape[1:], strict=True)]
    return int(np.ravel_multi_index((channel, *back), shape))


prove_equivariance = check_shift


def nominal_shift(shift: Sequence[int], stride: Sequence[int]) -> tuple[int | None, ...]:
    """Return the output shift that a stride implies for an input shift; None where the stride does not divide it."""
    return tuple(None if amount % step else amount // step for amount, step in zip(shift, stride, strict=True))


def stride_reason(stride: Sequence[int], shift: Sequence[int]) -> str:
    """Return a description of the strides that rule out a shift; empty if there are none."""
    ruled_out = [
        f"stride[{axis}]={step} does not divide shift[{axis}]={amount}"
        for axis, (step, amount) in enumerate(zip(stride, shift, strict=True))
        if amount % step
    ]
    if not ruled_out:
        return ""
    return f"no output shift matches: {', '.join(ruled_out)}; the rows are those for the closest output shift"


def shift_text(shift: Sequence[int]) -> str:
    """Return a shift as text."""
    return str(shift[0]) if len(shift) == 1 else f"({', '.join(map(str, shift))})"


def shift_statement(input_shift: Sequence[int], moved: Sequence[int]) -> str:
    """Return a description of a shift of input and output."""
    return f"the cyclic shift by {shift_text(input_shift)} of its input, {shift_text(moved)} of its output"


def check_axes(
    axes: Sequence[AxisShifts],
    shift: Sequence[int],
    moved: Sequence[int],
    stride: Sequence[int],
    *,
    channels: int,
    subject: str,
) -> Verdict:
    """Return whether an operation that is a product over its axes commutes with a pair of shifts.

    A row is intact if each axis preserves its factor of the row, an even number of them up to a sign, or if the row
    reads nothing before and after the shift.
    """
    kept, filled_before, filled_after = (np.ones((), dtype=bool) for _ in range(3))
    negated = np.zeros((), dtype=bool)
    for axis, amount, output_amount in zip(axes, shift, moved, strict=True):
        filled = axis.filled()
        same, opposite = axis.kept(output_amount, amount), axis.kept(output_amount, amount, -1)
        kept, negated = (
            np.logical_and.outer(kept, same) | np.logical_and.outer(negated, opposite),
            np.logical_and.outer(kept, opposite) | np.logical_and.outer(negated, same),
        )
        filled_before = np.logical_and.outer(filled_before, filled)
        filled_after = np.logical_and.outer(filled_after, np.roll(filled, output_amount))
    rows = ~kept & (filled_before | filled_after)
    return Verdict(
        shift_statement(shift, moved),
        np.broadcast_to(rows, (channels, *rows.shape)).copy(),
        subject=subject,
        output_shift=tuple(moved),
        reason=stride_reason(stride, shift) if rows.any() else "",
    )


def check_reflection(geometry: ConvGeometry, axis: int, *, pattern: WeightPattern | None = None) -> Verdict:
    """Return whether a layer commutes with the reflection of an axis, for all weights of its pattern.

    Parameters
    ----------
    geometry : ConvGeometry
    axis : int
    pattern : WeightPattern, optional
        A pattern in which more weights are tied, for instance by `tied_pattern`; by default that of the layer.

    Examples
    --------
    >>> import convmatrix as cm
    >>> check_reflection(cm.ConvGeometry(5, 3, padding="same"), 0).holds
    False
    """
    validate.instance("geometry", geometry, ConvGeometry, "for a pattern call check")
    q = actions.reflection(geometry.output_shape, axis, channels=geometry.out_channels)
    p = actions.reflection(geometry.input_shape, axis, channels=geometry.in_channels)
    return _check_action(geometry, pattern, q, p, f"the reflection of axis {axis}")


def check_quarter_turn(
    geometry: ConvGeometry, turns: int = 1, *, axes: tuple[int, int] = (0, 1), pattern: WeightPattern | None = None
) -> Verdict:
    """Return whether a layer commutes with a rotation by quarter turns, for all weights of its pattern.

    Parameters
    ----------
    geometry : ConvGeometry
    turns : int
    axes : (int, int)
    pattern : WeightPattern, optional
        As for `check_reflection`.

    Examples
    --------
    >>> import convmatrix as cm
    >>> layer = cm.ConvGeometry((5, 5), (3, 3), padding="same")
    >>> check_quarter_turn(layer).holds, check_quarter_turn(layer, 4).holds
    (False, True)
    """
    validate.instance("geometry", geometry, ConvGeometry, "for a pattern call check")
    q = actions.quarter_turn(geometry.output_shape, turns, axes=axes, channels=geometry.out_channels)
    p = actions.quarter_turn(geometry.input_shape, turns, axes=axes, channels=geometry.in_channels)
    statement = (
        f"the rotation by {turns} quarter turn{'' if turns == 1 else 's'} in the plane of axes {axes[0]} and {axes[1]}"
    )
    return _check_action(geometry, pattern, q, p, statement)


def _check_action(
    geometry: ConvGeometry, pattern: WeightPattern | None, q: ArrayLike, p: ArrayLike, statement: str
) -> Verdict:
    shape = geometry.full_output_shape
    return check(geometry.pattern() if pattern is None else pattern, q, p, statement=statement, output_shape=shape)
