"""Exact checks at a given size of whether the tensor T is unchanged by permuting its rows and columns."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from convmatrix import options as validate
from convmatrix.equivariance import actions
from convmatrix.equivariance.axis_shifts import AxisShifts, geometry_axes, moved_output
from convmatrix.equivariance.comparison import broken_rows, permutation_array
from convmatrix.equivariance.verdict import Counterexample, Verdict
from convmatrix.geometry import ConvGeometry
from convmatrix.pattern import WeightPattern

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray


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
    if not isinstance(pattern, WeightPattern):
        raise TypeError(
            f"check takes a WeightPattern, not a {type(pattern).__name__}; for a layer pass geometry.pattern()"
        )
    q = permutation_array("output_permutation", output_permutation, pattern.shape[0], "outputs (rows)")
    p = permutation_array("input_permutation", input_permutation, pattern.shape[1], "inputs (columns)")
    broken = broken_rows(pattern, q, p)
    geometry = pattern.geometry
    if output_shape is None:
        output_shape = (len(q),) if geometry is None else _output_shape(geometry)
    counterexample = _counterexample(pattern, q, p, int(broken.argmax())) if broken.any() else None
    return Verdict(statement, broken.reshape(output_shape), counterexample)


def _counterexample(pattern: WeightPattern, q: NDArray[np.int64], p: NDArray[np.int64], row: int) -> Counterexample:
    """Return the first entry of a broken row for which the symmetry fails."""
    back = actions.inverse(p)

    def entries(of: int, columns: NDArray[np.integer]) -> Counter[tuple[int, int]]:
        stored = slice(int(pattern.row_starts[of]), int(pattern.row_starts[of + 1]))
        pairs = zip(pattern.weight_index[stored].tolist(), columns[pattern.cols[stored]].tolist(), strict=True)
        if pattern.coefficients is None:
            return Counter(pairs)
        found: Counter[tuple[int, int]] = Counter()
        for pair, factor in zip(pairs, pattern.coefficients[stored].tolist(), strict=True):
            found[pair] += factor
        return found

    own, moved = entries(row, np.arange(len(p))), entries(int(q[row]), back)
    weight, column = min(pair for pair in {*own, *moved} if own[pair] != moved[pair])
    multi = tuple(int(index) for index in np.unravel_index(weight, pattern.weight_shape))
    counts = own[weight, column], moved[weight, column]
    return Counterexample(multi, row, column, int(q[row]), int(p[column]), *counts)


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
    'no output shift answers: stride[0]=2 does not divide shift[0]=1; the rows are those for the closest output shift'
    """
    _require_geometry(geometry)
    amounts = validate.per_axis("shift", shift, len(geometry.input_shape), minimum=-(2**62))
    nominal = nominal_shift(geometry, amounts)
    moved = moved_output(geometry_axes(geometry), amounts, nominal)
    q = actions.shift(geometry.output_shape, moved, channels=geometry.out_channels)
    p = actions.shift(geometry.input_shape, amounts, channels=geometry.in_channels)
    verdict = check(geometry.pattern(), q, p, statement=shift_statement(amounts, moved))
    verdict = replace(verdict, output_shift=moved)
    if verdict.holds:
        return verdict
    return replace(
        verdict, reason=stride_reason((1,) * len(amounts) if geometry.transposed else geometry.stride, amounts)
    )


prove_equivariance = check_shift


def nominal_shift(geometry: ConvGeometry, shift: Sequence[int]) -> tuple[int | None, ...]:
    """Return the output shift that the stride implies for an input shift; None if the stride does not divide it."""
    pairs = zip(shift, geometry.stride, strict=True)
    if geometry.transposed:
        return tuple(amount * step for amount, step in pairs)
    return tuple(None if amount % step else amount // step for amount, step in pairs)


def stride_reason(stride: Sequence[int], shift: Sequence[int]) -> str:
    """Return a description of the strides that rule out a shift; empty if there are none."""
    ruled_out = [
        f"stride[{axis}]={step} does not divide shift[{axis}]={amount}"
        for axis, (step, amount) in enumerate(zip(stride, shift, strict=True))
        if amount % step
    ]
    if not ruled_out:
        return ""
    return f"no output shift answers: {', '.join(ruled_out)}; the rows are those for the closest output shift"


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
    kept, nothing_before, nothing_after = (np.ones((), dtype=bool) for _ in range(3))
    negated = np.zeros((), dtype=bool)
    for axis, amount, answer in zip(axes, shift, moved, strict=True):
        q = np.roll(np.arange(axis.n_out), answer)
        empty = np.diff(axis.pattern.row_starts) == 0
        same, opposite = axis.kept_rows(q, np.roll(np.arange(axis.n_in), amount))
        kept, negated = (
            np.logical_and.outer(kept, same) | np.logical_and.outer(negated, opposite),
            np.logical_and.outer(kept, opposite) | np.logical_and.outer(negated, same),
        )
        nothing_before = np.logical_and.outer(nothing_before, ~empty)
        nothing_after = np.logical_and.outer(nothing_after, ~empty[q])
    rows = ~(kept | ~(nothing_before | nothing_after))
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
    _require_geometry(geometry)
    q = actions.reflection(geometry.output_shape, axis, channels=geometry.out_channels)
    p = actions.reflection(geometry.input_shape, axis, channels=geometry.in_channels)
    statement = f"the reflection of axis {axis}"
    chosen = geometry.pattern() if pattern is None else pattern
    return check(chosen, q, p, statement=statement, output_shape=_output_shape(geometry))


def check_quarter_turn(
    geometry: ConvGeometry,
    turns: int = 1,
    *,
    axes: tuple[int, int] = (0, 1),
    pattern: WeightPattern | None = None,
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
    _require_geometry(geometry)
    q = actions.quarter_turn(geometry.output_shape, turns, axes=axes, channels=geometry.out_channels)
    p = actions.quarter_turn(geometry.input_shape, turns, axes=axes, channels=geometry.in_channels)
    statement = (
        f"the rotation by {turns} quarter turn{'' if turns == 1 else 's'} in the plane of axes {axes[0]} and {axes[1]}"
    )
    chosen = geometry.pattern() if pattern is None else pattern
    return check(chosen, q, p, statement=statement, output_shape=_output_shape(geometry))


def _output_shape(geometry: ConvGeometry) -> tuple[int, ...]:
    return (geometry.out_channels, *geometry.output_shape)


def _require_geometry(geometry: ConvGeometry) -> None:
    if not isinstance(geometry, ConvGeometry):
        raise TypeError(f"a ConvGeometry is needed, but this is a {type(geometry).__name__}; pass a pattern to check")
