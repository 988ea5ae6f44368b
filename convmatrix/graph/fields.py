"""What a unit reads through several layers, exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from convmatrix.graph.chain import Layer, as_chain, flat_unit, matrix_shape, pattern_chain
from convmatrix.pattern import WeightPattern

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convmatrix.boundary import Axis
    from convmatrix.geometry import ConvGeometry


def receptive_field(patterns: Layer | Sequence[Layer], unit: int | Sequence[int]) -> NDArray[np.int64]:
    """Return the inputs that a unit reads through all layers, exactly, with padding and boundaries.

    The unit's row of the product of the layers' structures, computed by boolean products from the unit back: only rows
    that are needed are looked at. A layer given as a `ConvGeometry` is never built: its boolean matrix is a product
    over axes, and is applied one axis at a time.

    Parameters
    ----------
    patterns : WeightPattern, ConvGeometry or a sequence of them
        From the input on.
    unit : int or sequence of int
        The unit of the last layer: a flat index, or (channel, position on each axis) if the layer has a geometry.

    Returns
    -------
    array of int64
        Flat indices of inputs, ascending. For an input (C, H, W) ``numpy.unravel_index`` gives channels and positions.

    Raises
    ------
    ValueError, IndexError
        If layers do not fit together, or there is no such unit.

    Examples
    --------
    Goodfellow, Bengio, Courville, Deep Learning (2016), Fig. 9.4: deeper units see more.

    >>> from convmatrix import ConvGeometry
    >>> layer = ConvGeometry(5, 3, padding="same").pattern()
    >>> receptive_field(layer, 2), receptive_field([layer, layer], 2)
    (array([1, 2, 3]), array([0, 1, 2, 3, 4]))
    """
    chain = as_chain(patterns)
    seen = np.zeros(matrix_shape(chain[-1])[0], dtype=bool)
    seen[flat_unit(chain[-1], unit)] = True
    for layer in reversed(chain):
        seen = _read_by(layer, seen)
    return np.flatnonzero(seen)


def _read_by(layer: Layer, outputs: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the mask of the inputs that the outputs of a mask read: the transposed structure times the mask."""
    if isinstance(layer, WeightPattern):
        inputs = np.zeros(layer.shape[1], dtype=bool)
        rows = np.flatnonzero(outputs)
        starts, stops = layer.row_starts[rows].astype(np.int64), layer.row_starts[rows + 1].astype(np.int64)
        lengths = stops - starts
        places = np.arange(lengths.sum(), dtype=np.int64) + np.repeat(starts - np.cumsum(lengths) + lengths, lengths)
        inputs[layer.cols[places]] = True
        return inputs
    mask = _channels_read_by(layer, outputs.reshape(layer.out_channels, *layer.output_shape))
    for number, axis in enumerate(layer.axes, start=1):
        structure = _axis_structure(axis).T if not layer.transposed else _axis_structure(axis)
        moved = np.moveaxis(mask, number, 0)
        read = structure @ moved.reshape(len(moved), -1)  # (samples, all else)
        mask = np.moveaxis(read.reshape(structure.shape[0], *moved.shape[1:]), 0, number)
    return mask.ravel()


def _channels_read_by(geometry: ConvGeometry, outputs: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return, for each input channel, where an output of a channel that reads it is set; positions stay outputs."""
    if geometry.connections is not None:
        table = sparse.csr_array(np.array(geometry.connections, dtype=bool).T)
        flat = table @ outputs.reshape(len(outputs), -1)
        read: NDArray[np.bool_] = flat.reshape(-1, *outputs.shape[1:])
        return read
    by_group = outputs.reshape(geometry.groups, -1, *outputs.shape[1:]).any(axis=1)
    return by_group.repeat(geometry.in_channels // geometry.groups, axis=0)


def _axis_structure(axis: Axis) -> Any:
    """Return the boolean matrix of one axis of a convolution, (outputs, samples)."""
    outputs, taps = np.indices((axis.n_outputs, axis.n_taps))
    samples = axis.sample(outputs, taps)
    read = samples >= 0
    entries = np.ones(np.count_nonzero(read), dtype=bool)
    matrix = sparse.coo_array((entries, (outputs[read], samples[read])), shape=(axis.n_outputs, axis.n_samples))
    return matrix.tocsr()


def path_counts(patterns: Layer | Sequence[Layer], unit: int | Sequence[int]) -> NDArray[np.int64]:
    """Return how many paths lead from each input to a unit: how often the input reaches it through all layers.

    It is the unit's row of the product of the layers' matrices with every weight set to 1. For several equal layers it
    falls off towards the edge of the receptive field as a binomial does.

    Parameters
    ----------
    patterns : WeightPattern, ConvGeometry or a sequence of them
        From the input on.
    unit : int or sequence of int
        As for `receptive_field`.

    Returns
    -------
    array of int64, shape (n_in,)

    Raises
    ------
    OverflowError
        If there may be more paths than 64-bit integers count.

    Examples
    --------
    >>> from convmatrix import ConvGeometry
    >>> path_counts([ConvGeometry(7, 3).pattern(), ConvGeometry(5, 3).pattern()], 1)
    array([0, 1, 2, 3, 2, 1, 0])
    """
    chain = pattern_chain(patterns)
    most = math.prod(int(np.diff(pattern.row_starts).max(initial=0)) for pattern in chain)
    if most >= 2**63:
        raise OverflowError(
            f"there may be {most} paths to unit {unit}, but 64-bit integers count to {2**63 - 1}; take fewer layers, "
            "or receptive_field, which does not count"
        )
    counts: NDArray[np.int64] = np.zeros(chain[-1].shape[0], dtype=np.int64)
    counts[flat_unit(chain[-1], unit)] = 1
    for pattern in reversed(chain):
        ones = np.ones(pattern.n_entries, dtype=np.int64)
        multiplicity = sparse.csr_array((ones, pattern.cols, pattern.row_starts), shape=pattern.shape)
        counts = multiplicity.T @ counts
    return counts
