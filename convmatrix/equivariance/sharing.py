"""From symmetry to sharing: the weights that a group ties together, and the patterns that it makes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from convmatrix import memory
from convmatrix import options as validate
from convmatrix.equivariance import actions
from convmatrix.options import index_dtype
from convmatrix.pattern import WeightPattern

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from convmatrix.geometry import ConvGeometry


def orbits(generators: Sequence[ArrayLike]) -> NDArray[np.int64]:
    """Return the orbit of each point under the group that permutations generate, numbered by first member.

    Examples
    --------
    >>> orbits([[1, 0, 2, 4, 3]])
    array([0, 0, 1, 2, 2])
    """
    steps = [actions.as_permutation(f"generators[{place}]", p) for place, p in enumerate(generators)]
    if not steps:
        raise ValueError("generators is empty; give at least one permutation")
    if len({len(step) for step in steps}) > 1:
        raise ValueError(f"generators permute {[len(step) for step in steps]} entries; they must agree")
    return _orbits(steps)


def _orbits(steps: Sequence[NDArray[np.integer]]) -> NDArray[np.int64]:
    size, n_steps = len(steps[0]), len(steps)
    targets = np.stack(steps, axis=1).ravel()  # point i leads to targets[i * n_steps : (i + 1) * n_steps]
    starts: NDArray[np.integer] = np.arange(0, size * n_steps + 1, n_steps, dtype=targets.dtype)
    graph = sparse.csr_array((np.ones(len(targets), dtype=np.int8), targets, starts), shape=(size, size))
    # Every point of a permutation lies on a cycle, so connected points are strongly connected.
    _, labels = csgraph.connected_components(graph, directed=True, connection="strong")
    return _numbered_by_first(labels)


def _numbered_by_first(labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """Renumber labels 0, 1, ... in the order in which they first occur."""
    n_labels = int(labels.max(initial=-1)) + 1
    first = np.full(n_labels, len(labels))
    first[labels[::-1]] = np.arange(len(labels))[::-1]
    number = np.empty(n_labels, dtype=np.int64)
    number[np.argsort(first)] = np.arange(n_labels)
    numbered: NDArray[np.int64] = number[labels]
    return numbered


def equivariant_pattern(output_generators: Sequence[ArrayLike], input_generators: Sequence[ArrayLike]) -> WeightPattern:
    """Return the pattern of all linear maps that commute with a group: one weight an orbit of index pairs.

    The g-th generators act together: a matrix A commutes with the group if and only if ``A[i, j] == A[q[i], p[j]]`` for
    each pair (q, p) of them, so that its entries are equal along the orbits of ``(i, j) -> (q[i], p[j])``. The orbits'
    0/1 matrices, `WeightPattern.tap`, are a basis of these maps.

    Parameters
    ----------
    output_generators, input_generators : sequence of array_like of int
        Permutations of the outputs and of the inputs, in pairs; of equal number, at least one.

    Returns
    -------
    WeightPattern
        With shape (n_out, n_in) and one weight an orbit, numbered by its first entry in C order. It has an entry for
        every index pair.

    Raises
    ------
    ValueError
        For generators that are no permutations, differ in length or do not pair up.

    Notes
    -----
    For the cyclic shift of n points the result is the circulant pattern. Maron, Ben-Hamu, Shamir, Lipman, Invariant
    and equivariant graph networks, ICLR 2019, count the weights for the symmetric group on pairs.

    Examples
    --------
    >>> from convmatrix.equivariance import cyclic_generators
    >>> shift = cyclic_generators(4)
    >>> equivariant_pattern(shift, shift).matrix([1, 2, 3, 4]).toarray()
    array([[1, 2, 3, 4],
           [4, 1, 2, 3],
           [3, 4, 1, 2],
           [2, 3, 4, 1]])
    """
    if len(output_generators) != len(input_generators):
        raise ValueError(
            f"there are {len(output_generators)} output generators and {len(input_generators)} input generators; they "
            f"act "
            "in pairs, so give as many of the one as of the other (actions.identity where a side does not move)"
        )
    if not output_generators:
        raise ValueError("no generators; give at least one pair, or actions.identity for the trivial group")
    outputs = [actions.as_permutation(f"output_generators[{place}]", p) for place, p in enumerate(output_generators)]
    inputs = [actions.as_permutation(f"input_generators[{place}]", p) for place, p in enumerate(input_generators)]
    for name, steps in (("output", outputs), ("input", inputs)):
        if len({len(step) for step in steps}) > 1:
            raise ValueError(f"{name}_generators permute {[len(step) for step in steps]} entries; they must agree")
    n_out, n_in = len(outputs[0]), len(inputs[0])
    n_pairs = n_out * n_in
    memory.require(
        n_pairs * (8 * len(outputs) + 48),
        f"the orbits of {n_out} x {n_in} index pairs",
        "take a smaller input, or one axis at a time: the orbits of a product of groups are products of orbits",
    )
    dtype = index_dtype(n_pairs * len(outputs))
    pairs: list[NDArray[np.integer]] = [
        (q[:, None] * n_in + p).ravel().astype(dtype) for q, p in zip(outputs, inputs, strict=True)
    ]
    return _full_pattern(n_out, n_in, _orbits(pairs))


def _full_pattern(n_out: int, n_in: int, labels: NDArray[np.int64]) -> WeightPattern:
    """Return the pattern with an entry for every index pair; ``labels`` are in order already."""
    dtype = index_dtype(len(labels))
    starts: NDArray[np.integer] = np.arange(0, len(labels) + 1, n_in).astype(dtype)
    columns: NDArray[np.integer] = np.tile(np.arange(n_in), n_out).astype(dtype)
    return WeightPattern((n_out, n_in), (int(labels.max()) + 1,), starts, columns, labels.astype(dtype))


# --- kernels tied by the point group ---------------------------------------------------------------------------------


def tied_taps(kernel_shape: int | Sequence[int], group: str = "D4") -> NDArray[np.int64]:
    """Return which free parameter each tap of a square kernel uses where a group ties taps.

    Parameters
    ----------
    kernel_shape : int or (int, int)
        A square; an int is its side.
    group : {"C4", "D4"}
        Quarter turns, or quarter turns and reflections.

    Returns
    -------
    array of int64, shape kernel_shape

    Examples
    --------
    >>> tied_taps(3, "D4")
    array([[0, 1, 0],
           [1, 2, 1],
           [0, 1, 0]])
    >>> tied_taps(5, "C4").max() + 1
    np.int64(7)
    """
    sizes = validate.shape("kernel_shape", kernel_shape)
    sizes = sizes * 2 if len(sizes) == 1 else sizes
    if len(sizes) != 2 or sizes[0] != sizes[1]:
        raise ValueError(f"kernel_shape={sizes} is no square; C4 and D4 act on squares, such as (3, 3)")
    return orbits(actions.point_group_generators(sizes[0], group=group)).reshape(sizes)


def tied_pattern(geometry: ConvGeometry, group: str = "D4") -> WeightPattern:
    """Return the pattern of a layer whose kernels are tied by C4 or D4, one set of free parameters a channel pair.

    Examples
    --------
    >>> import convmatrix as cm
    >>> from convmatrix.equivariance import check_quarter_turn
    >>> layer = cm.ConvGeometry((6, 6), (3, 3), padding="same")
    >>> tied = tied_pattern(layer, "C4")
    >>> tied.weight_shape, check_quarter_turn(layer, pattern=tied).holds
    ((1, 1, 3), True)
    """
    return tie(geometry.pattern(), tied_taps(geometry.kernel_shape, group))


def tie(pattern: WeightPattern, labels: ArrayLike) -> WeightPattern:
    """Return a pattern in which the taps of every kernel share parameters.

    Parameters
    ----------
    pattern : WeightPattern
        Whose weight shape ends in the shape of ``labels``.
    labels : array_like of int
        The parameter that each tap uses, 0 and up.

    Returns
    -------
    WeightPattern
        With ``weight_shape = (..., number of parameters)``.

    Examples
    --------
    >>> import convmatrix as cm
    >>> tie(cm.ConvGeometry(4, 3).pattern(), [0, 1, 0]).matrix([[[1, 5]]]).toarray()
    array([[1, 5, 1, 0],
           [0, 1, 5, 1]])
    """
    taps = np.asarray(labels)
    if taps.dtype.kind not in "iu" or taps.size == 0 or taps.min() < 0:
        raise ValueError(f"labels must be integers from 0 up, but are {taps.dtype} of shape {taps.shape}")
    lead = pattern.weight_shape[: len(pattern.weight_shape) - taps.ndim]
    if pattern.weight_shape[len(lead) :] != taps.shape:
        raise ValueError(
            f"labels have shape {taps.shape}, but the kernels have {pattern.weight_shape[len(lead) :]} "
            f"(weight_shape={pattern.weight_shape}); give a label for each tap"
        )
    n_labels = int(taps.max()) + 1
    kernel, tap = np.divmod(pattern.weight_index.astype(np.int64), taps.size)
    weights = kernel * n_labels + taps.ravel()[tap]
    return WeightPattern.from_triplets(pattern.shape, pattern.rows, pattern.cols, weights, (*lead, n_labels))
