"""All singular values and singular vectors of a layer, from its blocks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

import numpy as np

from convmatrix import memory
from convmatrix.spectral._layer import LayerOptions, read_layer
from convmatrix.spectral._threads import on_cores
from convmatrix.spectral.blocks import Blocks, axis_kinds, layer_blocks
from convmatrix.weights import group_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from convmatrix.geometry import ConvGeometry

    Array = NDArray[Any]
    Triplet = tuple[Array, NDArray[np.float64], Array]

MOST_WORK = 2e13
"""Multiplications beyond which a decomposition is refused: a quarter of an hour or more."""


@overload
def singular_values(
    kernel: ArrayLike,
    input_shape: int | Sequence[int] | ConvGeometry,
    *,
    vectors: Literal[False] = False,
    **layer: Unpack[LayerOptions],
) -> NDArray[np.float64]: ...
@overload
def singular_values(
    kernel: ArrayLike,
    input_shape: int | Sequence[int] | ConvGeometry,
    *,
    vectors: Literal[True],
    **layer: Unpack[LayerOptions],
) -> Triplet: ...
def singular_values(
    kernel: ArrayLike,
    input_shape: int | Sequence[int] | ConvGeometry,
    *,
    vectors: bool = False,
    **layer: Unpack[LayerOptions],
) -> NDArray[np.float64] | Triplet:
    r"""Return all singular values of a layer's matrix, the largest first.

    An orthonormal change of basis, on each axis by itself, turns the matrix into small blocks :math:`B_f`, and the
    singular values are those of the blocks. An axis is transformed

    - by the discrete Fourier transform where it is a ring: a circular boundary, or no padding at all, with as many
      outputs as samples / stride. With stride s the input falls into s interleaved parts (its polyphase components),
      which count as channels. Kernels may be longer than the ring; they wrap around it.
    - by the DCT-II where the boundary is ``symmetric``, the kernel symmetric and centred, and the stride 1;
    - not at all elsewhere: its samples then count as channels.

    So the cost for circular layers of n frequencies and m channels is O(n m^3), for one channel O(n log n), and no
    matrix is formed; only layers without a ring and without symmetry need a dense decomposition, and must be small.
    With real kernels half of the frequencies are the conjugates of the others and are left out.

    Parameters
    ----------
    kernel : array_like
        As for `conv_matrix`; computed with in double precision.
    input_shape : int, sequence of int or ConvGeometry
        As for `conv_matrix`. A geometry may be of any kind: transposed, tiled, with a connection table.
    vectors : bool
        Return singular vectors as well; they fill dense matrices.
    **layer
        stride, dilation, padding, boundary, groups, flip, transposed, output_padding, as for `ConvGeometry`.

    Returns
    -------
    s : array of float, shape (min(n_out, n_in),)
    or, with vectors, (U, s, Vh)
        Such that ``A = U @ diag(s) @ Vh``, with U of shape (n_out, len(s)) and Vh of shape (len(s), n_in), real for a
        real kernel.

    Raises
    ------
    ValueError
        If an axis has no transform and is too long for a dense decomposition.
    MatrixTooLargeError
        If the blocks, or the vectors, would not fit in memory.

    References
    ----------
    Sedghi, Gupta, Long, The singular values of convolutional layers, ICLR 2019, for circular layers of stride 1.
    Strang, The discrete cosine transform, SIAM Review 41(1), 1999.

    Examples
    --------
    >>> singular_values([2, 7, -1], 20, padding="same", boundary="circular")[[0, -1]].round(10)
    array([8.00563364, 6.        ])
    >>> U, s, Vh = singular_values([1, 2], 4, vectors=True)
    >>> U.shape, s.round(3), Vh.shape
    ((3, 3), array([2.798, 2.236, 1.474]), (3, 4))
    """
    geometry, weights = read_layer(kernel, input_shape, **layer)
    blocks = affordable_blocks(geometry, weights, 4 if vectors else 1)
    if vectors:
        return _decompose(geometry, blocks)
    return sorted_values(blocks)


def sorted_values(blocks: Blocks) -> NDArray[np.float64]:
    """Return the singular values of all blocks, the largest first."""

    def work(matrices: Array, counts: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.repeat(block_singular_values(matrices), counts, axis=0).ravel()

    return -np.sort(-np.concatenate(blocks.map(work)))


def block_singular_values(matrices: Array) -> NDArray[np.float64]:
    """Return the singular values of a stack of matrices."""
    if min(matrices.shape[-2:]) == 1:
        return norms(matrices)[..., None]
    values: NDArray[np.float64] = np.linalg.svd(matrices, compute_uv=False)
    return values


def norms(matrices: Array) -> NDArray[np.float64]:
    """Return the Frobenius norms of a stack of matrices, whatever their scale."""
    scale = np.abs(matrices).max(axis=(-2, -1), initial=0.0)
    safe = np.where(scale > 0, scale, 1.0)[..., None, None]
    sizes: NDArray[np.float64] = scale * np.sqrt((np.abs(matrices / safe) ** 2).sum(axis=(-2, -1)))
    return sizes


def affordable_blocks(geometry: ConvGeometry, weights: Array, factor: int = 1) -> Blocks:
    """Return the blocks of a layer if a decomposition of them all is within reach."""
    work = decomposition_work(geometry, weights) * factor
    if work > MOST_WORK:
        raise ValueError(
            f"the singular values of {geometry!r} take about {work:.1e} multiplications, and {MOST_WORK:.0e} are the "
            "most that is tried: some of its axes are neither rings (circular, as many outputs as samples / stride) "
            "nor symmetric; use spectral_norm or norm_bounds, or a smaller input"
        )
    return layer_blocks(geometry, weights)


def decomposition_work(geometry: ConvGeometry, weights: Array) -> float:
    """Return about how many multiplications all singular values take, without making the blocks."""
    n = len(geometry.kernel_shape)
    grouped = group_weights(geometry, weights)
    groups, outputs, inputs = (float(size) for size in grouped.shape[n : n + 3])
    frequencies = 1.0
    for axis, kind in zip(geometry.axes, axis_kinds(geometry, weights), strict=True):
        if kind == "fourier":
            frequencies *= axis.n_outputs // axis.tile
            outputs, inputs = outputs * axis.tile, inputs * axis.stride * axis.tile
        elif kind == "cosine":
            frequencies *= axis.n_samples
        else:
            outputs, inputs = outputs * axis.n_outputs, inputs * axis.n_samples
    return 4 * frequencies * groups * outputs * inputs * min(outputs, inputs)


# --- vectors ---------------------------------------------------------------------------------------------------------


def _decompose(geometry: ConvGeometry, blocks: Blocks) -> Triplet:
    """Return U, s, Vh of the layer's matrix."""
    n_values = min(geometry.n_out, geometry.n_in)
    real = blocks.taps.dtype.kind != "c"
    size = 8 if real else 16
    memory.require(
        3 * size * n_values * (geometry.n_out + geometry.n_in),
        f"the singular vectors of {geometry!r}",
        "ask for the values alone",
    )

    def work(first: NDArray[np.int64]) -> list[Triplet]:
        counts = blocks.multiplicity[first]
        chosen = counts > 0
        frequencies = np.stack([first[np.nonzero(chosen)[0]], *np.nonzero(chosen)[1:]], axis=1)
        parts = []
        for frequency, count, stack in zip(frequencies, counts[chosen], blocks.at(first)[chosen], strict=True):
            basis = _waves(blocks, frequency)
            if real and count == 1 and stack.dtype.kind == "c":
                stack, basis = stack.real, basis.real  # which are real but for rounding
            for group, block in enumerate(stack):
                u, s, vh = np.linalg.svd(block, full_matrices=False)
                left = _spread(blocks, basis, u, group, outputs=True)
                right = _spread(blocks, basis, vh.conj().T, group, outputs=False)
                if real and count == 2:  # f and -f together: sqrt(2) times real and imaginary part
                    left = math.sqrt(2) * np.concatenate([left.real, left.imag], axis=1)
                    right = math.sqrt(2) * np.concatenate([right.real, right.imag], axis=1)
                    s = np.concatenate([s, s])
                parts.append((left, s, right))
        return parts

    _ = blocks._partial
    found = [part for chunk in on_cores(work, blocks.chunks(distinct=True)) for part in chunk]
    values = np.concatenate([s for _, s, _ in found])
    order = np.argsort(-values, kind="stable")
    U = np.concatenate([left for left, _, _ in found], axis=1)[:, order]
    V = np.concatenate([right for _, _, right in found], axis=1)[:, order]
    if geometry.transposed:  # A^T = conj(V) S U^T
        return V.conj(), values[order], U.T
    return U, values[order], V.conj().T


def _waves(blocks: Blocks, frequency: NDArray[np.int64]) -> Array:
    """Return the basis function of a frequency, one axis for each axis of the layer."""
    wave: Array = np.ones(())
    for form, f in zip(blocks.forms, frequency, strict=True):
        wave = np.multiply.outer(wave, form.basis(np.array([f]))[:, 0])
    return wave


def _spread(blocks: Blocks, wave: Array, vectors: Array, group: int, *, outputs: bool) -> Array:
    """Return vectors of a block as vectors of the layer: phases times basis function, in the rows of a group."""
    phases = [form.n_outputs if outputs else form.n_inputs for form in blocks.forms]
    n = len(phases)
    channels = vectors.shape[0] // math.prod(phases)
    by_phase = vectors.reshape(channels, *phases, -1)  # (channels, *phases, vectors)
    full = np.multiply.outer(by_phase, wave)  # (channels, *phases, vectors, *points)
    order = [0]
    for axis in range(n):  # position = points * phases + phase
        order += [n + 2 + axis, 1 + axis]
    rows = full.transpose(*order, n + 1).reshape(-1, vectors.shape[1])
    result = np.zeros((blocks.n_groups * len(rows), vectors.shape[1]), dtype=rows.dtype)
    result[group * len(rows) : (group + 1) * len(rows)] = rows
    return result
