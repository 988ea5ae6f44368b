"""Where the axes of an image are in the arrays of a network: which array axis they lie along, or are part of.

A layout has, for each axis of a sample's array, the factors of its size from the outermost to the innermost one: whole
numbers, and the axes of the image as `Along`. An image (3, H, W) has the layout ``((3,), (H,), (W,))``; flattened to
tokens (H W, 3) it is ``((H, W), (3,))``. Splitting channels into blocks of pixels (DepthToSpace) is a reshape, a
transpose and a reshape, in which an axis H becomes H r.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from convmatrix.network.operations import Shape


class Along(NamedTuple):
    """An axis of the image, numbered from 0 without the channels."""

    axis: int


class BlockSize(int):
    """A number into which an image axis was cut, which might follow the size of the axis."""


Factor = int | Along
Layout = tuple[tuple[Factor, ...], ...]


class Regrouped(NamedTuple):
    """The layout of a reshaped array, and by which factor each image axis was split or repeated."""

    layout: Layout
    splits: dict[int, int]
    repeats: dict[int, int]


def image_layout(shape: Shape) -> Layout:
    """Return the layout of an image (channels, *spatial).

    Examples
    --------
    >>> image_layout((3, 8, 9))
    ((3,), (Along(axis=0),), (Along(axis=1),))
    """
    return (*((n,) for n in shape[:1]), *((Along(axis),) for axis in range(len(shape) - 1)))


def axes_in(layout: Sequence[Sequence[Factor]]) -> set[int]:
    """Return the image axes in a layout, or in a part of one."""
    return {factor.axis for factors in layout for factor in factors if isinstance(factor, Along)}


def single_axis(factors: Sequence[Factor]) -> int | None:
    """Return the image axis that an array axis lies along, if it is one and nothing else."""
    (factor, *others) = factors
    return factor.axis if isinstance(factor, Along) and not others else None


def array_axis(layout: Layout, axis: int) -> int | None:
    """Return the array axis that lies along an image axis and nothing else, if there is one."""
    return next((place for place, factors in enumerate(layout) if single_axis(factors) == axis), None)


def without(layout: Layout, axes: set[int], sizes: Mapping[int, int]) -> Layout:
    """Return a layout in which some image axes are numbers."""
    return tuple(
        _joined([sizes[f.axis] if isinstance(f, Along) and f.axis in axes else f for f in factors])
        for factors in layout
    )


def layout_shape(layout: Layout, sizes: Mapping[int, int]) -> Shape:
    """Return the shape of an array, given the sizes of the image axes in it."""
    return tuple(math.prod(sizes[f.axis] if isinstance(f, Along) else f for f in factors) for factors in layout)


def _joined(factors: Sequence[Factor]) -> tuple[Factor, ...]:
    """Return factors with neighbouring numbers multiplied, and those of 1 left out."""
    joined: list[Factor] = []
    for factor in factors:
        if isinstance(factor, int) and joined and isinstance(joined[-1], int):
            both = isinstance(factor, BlockSize) and isinstance(joined[-1], BlockSize)
            joined[-1] = (BlockSize if both else int)(joined[-1] * factor)
        elif factor != 1:
            joined.append(factor)
    return tuple(joined) or (1,)


def regroup(layout: Layout, sizes: Mapping[int, int], shape: Shape) -> Regrouped | None:
    """Return the layout of an array that is reshaped in C order, or None if axes are cut in no known way.

    An image axis that is cut in two is taken to be cut into blocks of a fixed size: the inner size is a number.

    Examples
    --------
    >>> H, W = Along(0), Along(1)
    >>> regroup(((4,), (H,), (W,)), {0: 6, 1: 8}, (1, 2, 2, 6, 8)).layout
    ((1,), (2,), (2,), (Along(axis=0),), (Along(axis=1),))
    >>> regroup(((1,), (H,), (2,), (W,), (2,)), {0: 6, 1: 8}, (1, 12, 16))
    Regrouped(layout=((1,), (Along(axis=0),), (Along(axis=1),)), splits={}, repeats={0: 2, 1: 2})
    """
    waiting = [factor for factors in layout for factor in factors if factor != 1][::-1]
    if any(sizes[axis] == 1 for axis in axes_in(layout)):
        return None  # it could be any of the axes of size 1
    splits: dict[int, int] = {}
    repeats: dict[int, int] = {}
    grouped: list[tuple[Factor, ...]] = []
    left = dict(sizes)
    for size in shape:
        taken: list[Factor] = []
        while size > 1:
            factor = waiting.pop()
            n = left[factor.axis] if isinstance(factor, Along) else factor
            if size % n == 0:
                taken.append(factor)
                size //= n
            elif n % size == 0:
                rest = BlockSize(n // size) if isinstance(factor, Along | BlockSize) else n // size
                waiting.append(rest)
                if isinstance(factor, Along):
                    splits[factor.axis], left[factor.axis] = n // size, size
                taken.append(factor if isinstance(factor, Along) else size)
                size = 1
            else:
                return None
        factors = _joined(taken)
        if len(factors) == 2 and isinstance(factors[0], Along) and isinstance(factors[1], int):
            repeats[factors[0].axis] = factors[1]
            factors = factors[:1]
        grouped.append(factors)
    return None if splits.keys() & repeats.keys() else Regrouped(tuple(grouped), splits, repeats)
