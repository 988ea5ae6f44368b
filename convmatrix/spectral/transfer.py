"""Eigenvalues of a layer, and its transfer function: the blocks themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from convmatrix.spectral._axes import dense_form, is_ring, ring_form
from convmatrix.spectral._layer import LayerOptions, read_layer
from convmatrix.spectral.blocks import Blocks, layer_blocks
from convmatrix.spectral.singular import MOST_WORK, affordable_blocks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from convmatrix.geometry import ConvGeometry

    Array = NDArray[Any]


def eigenvalues(
    kernel: ArrayLike, input_shape: int | Sequence[int] | ConvGeometry, **layer: Unpack[LayerOptions]
) -> NDArray[np.complex128]:
    r"""Return the eigenvalues of a layer's matrix, which must be square, the largest modulus first.

    They are the eigenvalues of the blocks of `singular_values` where outputs and inputs are transformed by the same
    basis: stride 1, as many output as input channels.

    Parameters
    ----------
    kernel, input_shape, **layer
        As for `singular_values`.

    Returns
    -------
    array of complex, shape (n_in,)

    Raises
    ------
    ValueError
        If the matrix is not square, or too large where an axis has no transform.

    Examples
    --------
    >>> eigenvalues([0.25, 0.5, 0.25], 4, padding="same", boundary="symmetric").real.round(4)
    array([1.    , 0.8536, 0.5   , 0.1464])
    """
    geometry, weights = read_layer(kernel, input_shape, **layer)
    if geometry.n_in != geometry.n_out:
        raise ValueError(
            f"eigenvalues are of square matrices, but the layer's is {geometry.n_out} x {geometry.n_in} "
            f"({geometry!r}); use singular_values"
        )
    blocks = affordable_blocks(geometry, weights, 4)
    same_basis = blocks.block_shape[0] == blocks.block_shape[1] and all(
        form.n_outputs == form.n_inputs for form in blocks.forms
    )
    if not same_basis:
        if 4.0 * geometry.n_in**3 * 4 > MOST_WORK:
            raise ValueError(
                f"the eigenvalues of {geometry!r} need the whole matrix, {geometry.n_in} x {geometry.n_in}, for its "
                "strides or channels keep blocks from having eigenvalues of their own; take a smaller input"
            )
        blocks = layer_blocks(geometry, weights, [dense_form(axis) for axis in geometry.axes])
        return _sorted_moduli(_ungrouped_eigenvalues(blocks))

    def work(matrices: Array, counts: NDArray[np.int64]) -> Array:
        values = np.linalg.eigvals(matrices).astype(np.complex128).reshape(len(matrices), -1)
        return np.concatenate([values.ravel(), values[counts == 2].conj().ravel()])

    return _sorted_moduli(np.concatenate(blocks.map(work)))


def _ungrouped_eigenvalues(blocks: Blocks) -> Array:
    """Return the eigenvalues of the matrix that groups of rectangular blocks make."""
    from scipy import linalg

    dense = blocks.at([0]).reshape(blocks.taps.shape[-3:])
    return np.linalg.eigvals(linalg.block_diag(*dense)).astype(np.complex128)


def _sorted_moduli(values: Array) -> NDArray[np.complex128]:
    return values[np.lexsort((values.imag, -values.real, -np.abs(values).round(12)))]


def transfer_function(
    kernel: ArrayLike,
    input_shape: int | Sequence[int] | ConvGeometry,
    **layer: Unpack[LayerOptions],
) -> NDArray[np.complex128]:
    r"""Return the symbol of a layer on a ring: the matrix that each frequency is multiplied by.

    An input wave :math:`x[l] = e^{2 \pi i f l / n}` becomes :math:`B_f` times itself, with

    .. math:: B_f = \sum_t w_t \, e^{2 \pi i f (t d - p) / n}

    for dilation d and low padding p. With stride s the input wave is given on its s interleaved parts,
    :math:`x[s l + r] = v_r e^{2 \pi i f l / m}`, m = n / s.

    Parameters
    ----------
    kernel, input_shape, **layer
        As for `singular_values`. Every axis must be a ring.

    Returns
    -------
    array of complex, shape (*frequencies, C_out, C_in * stride of all axes)
        For one channel to one channel and stride 1 of shape (*frequencies,). With groups the blocks of all groups are
        put into one, block diagonally. A transposed layer has the transposed blocks, of the frequency -f.

    Raises
    ------
    ValueError
        If an axis is not a ring.

    Examples
    --------
    >>> transfer_function([1, 3, 1], 4, padding="same", boundary="circular").real.round(12)
    array([5., 3., 1., 3.])
    """
    geometry, weights = read_layer(kernel, input_shape, **layer)
    for number, axis in enumerate(geometry.axes):
        if not is_ring(axis):
            raise ValueError(
                f"axis {number} is no ring: it has {axis.n_outputs} outputs of {axis.n_samples} samples at stride "
                f"{axis.stride} with boundary {axis.boundary!r}, tile {axis.tile}; a transfer function needs "
                "boundary='circular', padding='same' and a stride that divides the samples"
            )
    blocks = layer_blocks(geometry, weights, [ring_form(axis, axis.n_samples, axis.stride) for axis in geometry.axes])
    values = np.concatenate([blocks.at(first) for first in blocks.chunks(distinct=False)]).astype(np.complex128)
    if blocks.n_groups > 1:
        groups, rows, columns = values.shape[-3:]
        joined = np.zeros((*blocks.shape, groups, rows, groups, columns), dtype=np.complex128)
        for group in range(groups):
            joined[..., group, :, group, :] = values[..., group, :, :]
        values = joined.reshape(*blocks.shape, groups * rows, groups * columns)
    else:
        values = values[..., 0, :, :]
    if geometry.transposed:
        for place, size in enumerate(blocks.shape):
            values = np.take(values, -np.arange(size) % size, axis=place)
        values = values.swapaxes(-1, -2)
    return values[..., 0, 0] if values.shape[-2:] == (1, 1) else values
