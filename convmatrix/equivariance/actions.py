"""Group actions on arrays as permutations: shifts, reflections, quarter turns, and their products.

A permutation p is an index array: entry i of the permuted vector is entry p[i] of the old one, ``permuted = x[p]``.
Arrays are (channels, *shape), flattened in C order; the actions act on the spatial axes only. ``compose(p, q)`` first
permutes by p, then by q.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from convmatrix import memory
from convmatrix import options as validate
from convmatrix.arrays import as_permutation as as_permutation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Permutation = NDArray[np.int64]


def _flat_indices(shape: int | Sequence[int], channels: int) -> NDArray[np.int64]:
    """Return the flat index of every entry, shape (channels, *shape)."""
    sizes = validate.shape("shape", shape)
    channels = validate.integer("channels", channels, minimum=1)
    size = channels * math.prod(sizes)
    memory.require(16 * size, f"a permutation of {size} units", "use a smaller layer")
    return np.arange(size, dtype=np.int64).reshape(channels, *sizes)


def shift(shape: int | Sequence[int], amount: int | Sequence[int], *, channels: int = 1) -> Permutation:
    """Return the permutation of the cyclic shift by `numpy.roll`; the amount is one integer, or one per axis.

    Examples
    --------
    >>> shift(5, 1)
    array([4, 0, 1, 2, 3])
    """
    indices = _flat_indices(shape, channels)
    n_axes = indices.ndim - 1
    amounts = validate.per_axis("shift", amount, n_axes, minimum=-(2**62))
    return np.roll(indices, amounts, axis=tuple(range(1, n_axes + 1))).ravel()


def reflection(shape: int | Sequence[int], axis: int, *, channels: int = 1) -> Permutation:
    """Return the permutation that reverses one spatial axis.

    Examples
    --------
    >>> reflection((2, 3), 1)
    array([2, 1, 0, 5, 4, 3])
    """
    indices = _flat_indices(shape, channels)
    return np.flip(indices, _spatial_axis("axis", axis, indices.ndim - 1)).ravel()


def quarter_turn(
    shape: int | Sequence[int], turns: int = 1, *, axes: tuple[int, int] = (0, 1), channels: int = 1
) -> Permutation:
    """Return the permutation of a rotation by quarter turns (`numpy.rot90`) in the plane of two spatial axes.

    Examples
    --------
    >>> quarter_turn((2, 2))
    array([1, 3, 0, 2])
    """
    indices = _flat_indices(shape, channels)
    if len(axes) != 2:
        raise ValueError(f"axes={axes!r} has {len(axes)} entries; a quarter turn needs two, such as (0, 1)")
    first, second = (_spatial_axis(f"axes[{number}]", axis, indices.ndim - 1) for number, axis in enumerate(axes))
    if first == second:
        raise ValueError(f"axes={tuple(axes)} are the same; a quarter turn needs two different axes")
    if indices.shape[first] != indices.shape[second]:
        raise ValueError(
            f"a quarter turn needs two axes of equal size, but axes {tuple(axes)} of shape {indices.shape[1:]} have "
            f"sizes {indices.shape[first]} and {indices.shape[second]}; make them equal, or compose two reflections "
            "for a half turn"
        )
    turns = validate.integer("turns", turns)
    return np.rot90(indices, turns, axes=(first, second)).ravel()


def _spatial_axis(name: str, axis: int, n_axes: int) -> int:
    axis = validate.integer(name, axis)
    if not -n_axes <= axis < n_axes:
        raise ValueError(
            f"{name}={axis} does not exist; the shape has {validate.axes_in_words(n_axes)}, from 0 to {n_axes - 1}"
        )
    return 1 + axis % n_axes


def identity(size: int) -> Permutation:
    """Return the identity permutation.

    Examples
    --------
    >>> identity(3)
    array([0, 1, 2])
    """
    return np.arange(validate.integer("size", size, minimum=1), dtype=np.int64)


def channel_permutation(order: ArrayLike, shape: int | Sequence[int]) -> Permutation:
    """Return the permutation that reorders channels: channel c of the result is channel ``order[c]``.

    Examples
    --------
    >>> channel_permutation([1, 0], 2)
    array([2, 3, 0, 1])
    """
    channels = as_permutation("order", order)
    return _flat_indices(shape, len(channels))[channels].ravel()


def compose(first: ArrayLike, then: ArrayLike) -> Permutation:
    """Return the composition of two permutations, applying ``first`` first: ``x[compose(p, q)] == x[p][q]``.

    Examples
    --------
    >>> compose(shift(5, 1), shift(5, 3))
    array([1, 2, 3, 4, 0])
    """
    p, q = as_permutation("first", first), as_permutation("then", then)
    if len(p) != len(q):
        raise ValueError(
            f"first permutes {len(p)} entries, but then permutes {len(q)}; give permutations of equal size"
        )
    return p[q]


def inverse(permutation: ArrayLike) -> Permutation:
    """Return the inverse of a permutation.

    Examples
    --------
    >>> inverse([1, 2, 0])
    array([2, 0, 1])
    """
    p = as_permutation("permutation", permutation)
    result = np.empty_like(p)
    result[p] = np.arange(len(p))
    return result


def product(first: ArrayLike, second: ArrayLike) -> Permutation:
    """Return the action on pairs (i, j), flattened in C order: the first permutation acts on i, the second on j.

    Examples
    --------
    >>> product([1, 0], [0, 1, 2])
    array([3, 4, 5, 0, 1, 2])
    """
    p, q = as_permutation("first", first), as_permutation("second", second)
    return (p[:, None] * len(q) + q).ravel()


def permutations(name: str, values: Iterable[ArrayLike]) -> list[Permutation]:
    """Return permutations of the same number of entries, at least one; otherwise raise an error that calls them name.

    Examples
    --------
    >>> permutations("generators", [[1, 0, 2]])
    [array([1, 0, 2])]
    """
    validate.instance(name, values, Iterable, "give a list of permutations")
    found = [as_permutation(f"{name}[{number}]", p) for number, p in enumerate(values)]
    if not found:
        raise ValueError(f"{name} is empty; give at least one permutation, such as identity(n)")
    if len({len(p) for p in found}) > 1:
        raise ValueError(
            f"{name} permute {[len(p) for p in found]} entries; they must permute the same number of entries"
        )
    return found


def cyclic_generators(size: int) -> list[Permutation]:
    """Return the generator of the cyclic group of ``size`` points on a circle.

    Examples
    --------
    >>> cyclic_generators(3)
    [array([2, 0, 1])]
    """
    return [shift(size, 1)]


def dihedral_generators(size: int) -> list[Permutation]:
    """Return generators of the dihedral group: the symmetries of a regular polygon, acting on its ``size`` corners.

    Examples
    --------
    >>> len(generated_group(dihedral_generators(5)))
    10
    """
    return [shift(size, 1), reflection(size, 0)]


def symmetric_generators(size: int) -> list[Permutation]:
    """Return generators of the symmetric group on ``size`` points: a transposition and a cycle.

    Examples
    --------
    >>> len(generated_group(symmetric_generators(4)))
    24
    """
    swap = identity(size)
    swap[:2] = swap[:2][::-1]
    return [swap, shift(size, 1)]


def torus_generators(shape: int | Sequence[int], *, channels: int = 1) -> list[Permutation]:
    """Return generators of all cyclic shifts: the shift by one along each axis.

    Examples
    --------
    >>> torus_generators((2, 2))
    [array([2, 3, 0, 1]), array([1, 0, 3, 2])]
    """
    n_axes = len(validate.shape("shape", shape))
    return [shift(shape, np.eye(n_axes, dtype=int)[axis].tolist(), channels=channels) for axis in range(n_axes)]


def point_group_generators(size: int, *, group: str = "D4", channels: int = 1) -> list[Permutation]:
    """Return generators of C4 (quarter turns) or D4 (quarter turns and reflections) on a square grid.

    Examples
    --------
    >>> [len(generated_group(point_group_generators(3, group=group))) for group in ("C4", "D4")]
    [4, 8]
    """
    validate.one_of("group", group, ("C4", "D4"))
    turn = quarter_turn((size, size), channels=channels)
    return [turn] if group == "C4" else [turn, reflection((size, size), 1, channels=channels)]


def generated_group(generators: Sequence[ArrayLike], *, largest: int = 100_000) -> list[Permutation]:
    """Return all elements of the group generated by permutations, beginning with the identity.

    Examples
    --------
    >>> generated_group([shift(3, 1)])
    [array([0, 1, 2]), array([2, 0, 1]), array([1, 2, 0])]
    """
    steps = permutations("generators", generators)
    found = {identity(len(steps[0])).tobytes(): identity(len(steps[0]))}
    waiting = deque(found.values())
    while waiting:
        element = waiting.popleft()
        for step in steps:
            moved = element[step]
            if moved.tobytes() not in found:
                if len(found) >= largest:
                    raise ValueError(f"the group has more than {largest} elements; raise largest= to list them")
                found[moved.tobytes()] = moved
                waiting.append(moved)
    return list(found.values())
