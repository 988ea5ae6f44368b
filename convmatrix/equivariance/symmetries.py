"""The symmetries of a pattern: its cyclic shifts and its point group."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from convmatrix import options as validate
from convmatrix.display.tables import ShownAsTable, Table
from convmatrix.equivariance import actions
from convmatrix.equivariance.axis_shifts import RowIndex
from convmatrix.equivariance.comparison import broken_rows, separated
from convmatrix.pattern import WeightPattern

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray


Shift = tuple[int, ...]


@dataclass(frozen=True)
class PointSymmetry:
    """A symmetry of the grid: a permutation of its axes, followed by the reversal of some of them.

    Attributes
    ----------
    axes : tuple of int
        Axis a of the result is axis ``axes[a]`` of the array.
    reversed : tuple of bool
        Which axes of the result are then reversed.
    """

    axes: tuple[int, ...]
    reversed: tuple[bool, ...]

    def permutation(self, shape: Sequence[int], channels: int = 1) -> NDArray[np.int64]:
        """Return the permutation of the entries of an array (channels, *shape), whose shape the symmetry must preserve.

        Examples
        --------
        >>> PointSymmetry((1, 0), (True, False)).permutation((2, 2))
        array([1, 3, 0, 2])
        """
        places = np.arange(channels * int(np.prod(shape)), dtype=np.int64).reshape(channels, *shape)
        moved = places.transpose(0, *(1 + axis for axis in self.axes))
        if moved.shape != places.shape:
            raise ValueError(f"exchanging the axes {self.axes} changes shape {tuple(shape)} to {moved.shape[1:]}")
        return np.flip(moved, tuple(1 + axis for axis, back in enumerate(self.reversed) if back)).ravel()

    def __str__(self) -> str:
        if not any(self.reversed) and self.axes == tuple(range(len(self.axes))):
            return "identity"
        names = [f"{'-' if back else ''}{axis}" for axis, back in zip(self.axes, self.reversed, strict=True)]
        return f"axes ({', '.join(names)})"


@dataclass(frozen=True, repr=False)
class Symmetries(ShownAsTable):
    """The symmetries of a pattern.

    Attributes
    ----------
    shifts : tuple of (input shift, output shift)
        Every cyclic shift of the input that the pattern commutes with, including the identity, and the corresponding
        shift of the output. If outputs repeat and several shifts correspond, the lexicographically smallest one is
        given.
    point_group : tuple of PointSymmetry
        Every reflection and exchange of axes that commutes, acting on outputs and inputs alike, including the identity.
    """

    shifts: tuple[tuple[Shift, Shift], ...]
    point_group: tuple[PointSymmetry, ...]

    def __repr__(self) -> str:
        return f"Symmetries({len(self.shifts)} shifts, {len(self.point_group)} point symmetries)"

    def _table(self) -> Table:
        rows = [["symmetry", "of the input", "of the output"]]
        rows += [["shift", str(of_input), str(of_output)] for of_input, of_output in self.shifts]
        rows += [["point symmetry", str(element), str(element)] for element in self.point_group]
        return Table(f"{len(self.shifts)} shifts and {len(self.point_group)} point symmetries", rows, left=3)


def symmetries(
    pattern: WeightPattern, output_shape: Sequence[int] | None = None, input_shape: Sequence[int] | None = None
) -> Symmetries:
    """Return the cyclic shifts and point symmetries that commute with a pattern, for all weights.

    Parameters
    ----------
    pattern : WeightPattern
    output_shape, input_shape : sequence of int, optional
        Spatial shapes; by default those of the layer. The remaining factor of each size is the number of channels,
        which are not permuted.

    Returns
    -------
    Symmetries

    Notes
    -----
    Candidates are found from the images of one row among the rows of the pattern, and each is checked exactly on all
    rows. Products of symmetries are symmetries and are not checked again.

    Examples
    --------
    >>> import convmatrix as cm
    >>> found = symmetries(cm.ConvGeometry(6, 2, stride=2, boundary="circular").pattern())
    >>> found.shifts
    (((0,), (0,)), ((2,), (1,)), ((4,), (2,)))
    >>> [str(element) for element in found.point_group]
    ['identity']
    """
    validate.instance("pattern", pattern, WeightPattern, "for a layer pass geometry.pattern()")
    outputs, inputs = _shapes(pattern, output_shape, input_shape)
    channels_out = _channels(pattern.shape[0], outputs, "output_shape")
    channels_in = _channels(pattern.shape[1], inputs, "input_shape")
    pattern = separated(pattern)
    rows = RowIndex(pattern)
    found: dict[Shift, Shift] = {(0,) * len(inputs): (0,) * len(outputs)}
    place = np.unravel_index(rows.first, (channels_out, *outputs))

    def output_shifts(amount: Shift) -> Iterator[Shift]:
        """Yield the output shifts that correspond to a shift of the input."""
        p = actions.shift(inputs, amount, channels=channels_in)
        for row in rows.images(p):
            target = np.unravel_index(row, (channels_out, *outputs))
            moved = tuple(int(old - new) % n for old, new, n in zip(place[1:], target[1:], outputs, strict=True))
            q = actions.shift(outputs, moved, channels=channels_out)
            if target[0] == place[0] and not broken_rows(pattern, q, p).any():
                yield moved

    for amount in itertools.product(*map(range, inputs)):
        if amount in found:
            continue
        for moved in output_shifts(amount):
            _close(found, amount, moved, inputs, outputs)
            break
    stabiliser = list(output_shifts((0,) * len(inputs)))  # shifts of the output that change nothing
    first = {amount: min(_sum(moved, other, outputs) for other in stabiliser) for amount, moved in found.items()}
    group = []
    if len(inputs) == len(outputs):
        for axes in itertools.permutations(range(len(inputs))):
            if any(shape[axis] != shape[place] for shape in (inputs, outputs) for place, axis in enumerate(axes)):
                continue
            for back in itertools.product((False, True), repeat=len(axes)):
                element = PointSymmetry(axes, back)
                q, p = element.permutation(outputs, channels_out), element.permutation(inputs, channels_in)
                if q[rows.first] in rows.images(p) and not broken_rows(pattern, q, p).any():
                    group.append(element)
    return Symmetries(tuple(sorted(first.items())), tuple(group))


def _close(found: dict[Shift, Shift], amount: Shift, moved: Shift, inputs: Shift, outputs: Shift) -> None:
    """Add a pair of shifts, and its sums with all pairs found so far."""
    known = list(found.items())
    step_in, step_out = amount, moved
    while step_in not in dict(known):
        for old_in, old_out in known:
            found.setdefault(_sum(old_in, step_in, inputs), _sum(old_out, step_out, outputs))
        step_in, step_out = _sum(step_in, amount, inputs), _sum(step_out, moved, outputs)


def _sum(first: Shift, second: Shift, shape: Shift) -> Shift:
    return tuple((a + b) % n for a, b, n in zip(first, second, shape, strict=True))


def _shapes(
    pattern: WeightPattern, output_shape: Sequence[int] | None, input_shape: Sequence[int] | None
) -> tuple[Shift, Shift]:
    geometry = pattern.geometry
    if geometry is not None:
        output_shape = geometry.output_shape if output_shape is None else output_shape
        input_shape = geometry.input_shape if input_shape is None else input_shape
    if output_shape is None or input_shape is None:
        raise ValueError(
            f"the pattern of shape {pattern.shape} has no geometry, so its grid is unknown; give output_shape and "
            "input_shape"
        )
    return validate.shape("output_shape", output_shape), validate.shape("input_shape", input_shape)


def _channels(size: int, shape: Shift, name: str) -> int:
    places = int(np.prod(shape))
    if size % places:
        side = "rows" if name == "output_shape" else "columns"
        raise ValueError(f"{name}={shape} has {places} positions, which do not divide the {size} {side} of the pattern")
    return size // places
