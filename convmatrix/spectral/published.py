"""Published bounds on the norm of a convolution layer, named after their authors, for comparison with `norm_bounds`.

Not all of them hold for the layers used in practice; each docstring states the layers for which the bound holds. All
kernels have the shape (C_out, C_in, *kernel), or (*kernel) for one channel; stride and dilation are 1.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np

from convmatrix.geometry import ConvGeometry
from convmatrix.options import as_array
from convmatrix.spectral.axis_transforms import ring_transform
from convmatrix.spectral.blocks import Blocks, WeightedLayer, frobenius_norms, gram_bounds, layer_blocks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from convmatrix.arrays import Array


def _kernel(kernel: ArrayLike, n_axes: int) -> Array:
    """Return a kernel with its channel axes."""
    array = as_array(kernel)
    array = array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)
    if array.ndim == n_axes:
        return array[None, None]
    if array.ndim == n_axes + 2:
        return array
    raise ValueError(
        f"the kernel has shape {array.shape}, but {n_axes} spatial axes were given; its shape must be (*kernel) or "
        "(C_out, C_in, *kernel)"
    )


def _ring(kernel: Array, lengths: Sequence[int]) -> Blocks:
    """Return the blocks of a kernel on rings of these lengths."""
    outputs, inputs, *taps = kernel.shape
    geometry = ConvGeometry(
        tuple(lengths), taps, in_channels=inputs, out_channels=outputs, padding="same", boundary="circular"
    )
    return layer_blocks(
        WeightedLayer(geometry, kernel), [ring_transform(axis, axis.n_samples) for axis in geometry.axes]
    )


def sedghi(kernel: ArrayLike, spatial_shape: Sequence[int]) -> float:
    """Return the norm of the layer with its boundary replaced by a circular one.

    It is exact for circular layers, but not a bound for others: the norm with zero padding can be larger. Sedghi,
    Gupta, Long, The singular values of convolutional layers, ICLR 2019.

    Examples
    --------
    >>> round(sedghi([1, -2, 1], [3]), 4)
    3.0
    """
    return _ring(_kernel(kernel, len(spatial_shape)), spatial_shape).norm()


def longer_ring(kernel: ArrayLike, spatial_shape: Sequence[int]) -> float:
    """Return the norm on rings of n + (k - 1) / 2 samples, which bounds zero-padded layers with odd kernels.

    Examples
    --------
    >>> 2 + 2**0.5 <= longer_ring([1, -2, 1], [3])
    True
    """
    array = _kernel(kernel, len(spatial_shape))
    return _ring(array, [n + k // 2 for n, k in zip(spatial_shape, array.shape[2:], strict=True)]).norm()


def singla_feizi(kernel: ArrayLike, n_axes: int = 2) -> float:
    r"""Return :math:`\sqrt{k_1 \cdots k_D}` times the smallest norm of the kernel reshaped to a matrix.

    Every kernel axis is joined with the output channels or with the input channels: four matrices for two axes. It
    bounds circular and zero-padded layers of any size. Singla, Feizi, Fantastic four, ICLR 2021.

    Examples
    --------
    >>> round(singla_feizi([[1, 2], [3, 4]]), 4)
    10.93
    """
    array = _kernel(kernel, n_axes)
    least = math.inf
    for sides in itertools.product((True, False), repeat=n_axes):
        rows = [0, *(2 + axis for axis in range(n_axes) if sides[axis])]
        columns = [1, *(2 + axis for axis in range(n_axes) if not sides[axis])]
        matrix = array.transpose(*rows, *columns).reshape(math.prod(array.shape[axis] for axis in rows), -1)
        least = min(least, float(np.linalg.norm(matrix, 2)))
    return math.sqrt(math.prod(array.shape[2:])) * least


def grishina(kernel: ArrayLike, n_axes: int = 2, stride: int = 1, iterations: int = 60, starts: int = 6) -> float:
    r"""Return :math:`\sqrt{k_1 \cdots k_D}` times the spectral norm of the kernel as a tensor, as found by power steps.

    .. math:: \|K\|_\sigma = \max \Bigl| \sum_{o, i, t} K_{o i t_1 \ldots t_D} \, u_o v_i \prod_a x^a_{t_a} \Bigr|

    over complex vectors of norm one. It bounds circular and zero-padded layers of any size, because a plane wave is
    :math:`\sqrt{k_a}` times such a vector on each axis; with a stride s, the kernel is first split into its s phases,
    which count as input channels, with ceil(k / s) taps. Grishina, Gorbunov, Rakhuba, Tight and efficient upper bound
    on spectral norm of convolutional layers, ECCV 2024 (arXiv:2409.11859).

    The norm of a tensor is NP-hard to compute. As in the paper, it is approached from below, by the higher-order power
    method; here from the plane waves at which the symbol is largest. What is returned is therefore not proved to be a
    bound: the steps may end at a local maximum. `norm_bounds` has no such gap.

    Examples
    --------
    >>> round(grishina([1, -2, 1], n_axes=1), 4)  # the norm of [1, -2, 1] is sqrt(6)
    4.2426
    """
    array = _kernel(kernel, n_axes)
    scale = float(np.abs(array).max())
    if scale == 0:
        return 0.0
    array = array / scale  # so that squares do not underflow
    if stride > 1:
        rests = [-k % stride for k in array.shape[2:]]
        array = np.pad(array, [(0, 0), (0, 0), *((0, rest) for rest in rests)])
        sizes = [size for k in array.shape[2:] for size in (k // stride, stride)]
        array = array.reshape(*array.shape[:2], *sizes)
        phases = [3 + 2 * axis for axis in range(n_axes)]
        array = array.transpose(0, 1, *phases, *(2 + 2 * axis for axis in range(n_axes)))
        array = array.reshape(array.shape[0], -1, *array.shape[2 + n_axes :])
    taps = array.shape[2:]
    grid = [4 * k if k > 1 else 1 for k in taps]
    blocks = np.moveaxis(np.fft.fftn(array, grid, axes=tuple(range(2, 2 + n_axes))), (0, 1), (-2, -1))
    sizes_of = frobenius_norms(blocks)
    best = 0.0
    for place in np.argsort(-sizes_of, axis=None)[:starts]:
        frequency = np.unravel_index(place, sizes_of.shape)
        u, _, vh = np.linalg.svd(blocks[frequency])
        vectors: list[Array] = [u[:, 0].conj(), vh[0].conj()]
        for f, n, k in zip(frequency, grid, taps, strict=True):
            vectors.append(np.exp(-2j * np.pi * f * np.arange(k) / n) / math.sqrt(k))
        for _, mode in itertools.product(range(iterations), range(array.ndim)):
            partial = array
            for other in reversed(range(array.ndim)):
                if other != mode:
                    partial = np.tensordot(partial, vectors[other], axes=(other, 0))
            size = max(float(np.linalg.norm(partial)), 1e-300)  # zero for a start where the symbol is zero
            vectors[mode] = partial.conj() / size
            best = max(best, size)
    return math.sqrt(math.prod(taps)) * best * scale


def araujo(kernel: ArrayLike, n_axes: int = 2, grid: int = 50) -> float:
    """Return the largest Frobenius norm of the symbol on a grid of angles.

    As the grid grows, it converges to a bound on circular and zero-padded layers; on a finite grid it can be smaller
    than their norm. Araujo et al., On Lipschitz regularization of convolutional layers using Toeplitz matrix theory,
    AAAI 2021.

    Examples
    --------
    >>> round(araujo([1, -2, 1], n_axes=1), 4)
    4.0
    """
    array = _kernel(kernel, n_axes)
    lengths = [max(grid, 1)] * n_axes
    return max(_ring(array, lengths).map(lambda blocks, _: float(frobenius_norms(blocks).max())))


def delattre_circular(kernel: ArrayLike, spatial_shape: Sequence[int], iterations: int = 5) -> float:
    r"""Return the bound of the Gram iteration for circular layers.

    .. math:: \max_f \| B_f^{(t)} \|_F^{2^{-t}}, \qquad B^{(t+1)} = {B^{(t)}}^H B^{(t)}

    Delattre et al., Efficient bound of Lipschitz constant for convolutional layers by Gram iteration, ICML 2023.

    Examples
    --------
    >>> round(delattre_circular([1, -2, 1], [3]), 4)
    3.0
    """
    blocks = _ring(_kernel(kernel, len(spatial_shape)), spatial_shape)

    def bound(matrices: Array, _: NDArray[np.int64]) -> float:
        stack = matrices.reshape(-1, *matrices.shape[-2:])
        return float((gram_bounds(stack, iterations - 1) if iterations else frobenius_norms(stack)).max())

    return max(blocks.map(bound))


def delattre_zero(kernel: ArrayLike, n_axes: int = 2, iterations: int = 4) -> float:
    r"""Return the bound of the Gram iteration for zero-padded layers of any size.

    The kernel is correlated with itself t times. The norm of the layer to the power :math:`2^t` is then at most the
    largest row sum of moduli. Delattre, Barthelemy, Allauzen, Spectral norm of convolutional layers with circular and
    zero paddings, 2024.

    Examples
    --------
    >>> round(delattre_zero([1, -2, 1], n_axes=1, iterations=3), 4)
    4.0
    """
    from scipy import fft

    array = _kernel(kernel, n_axes)
    axes = tuple(range(2, 2 + n_axes))
    logarithm, power = 0.0, 1.0
    for _ in range(iterations):
        size = float(np.abs(array).max())
        if size == 0:
            return 0.0
        logarithm += power * math.log(size)
        array = array / size
        lengths = [2 * k - 1 for k in array.shape[2:]]
        waves = fft.fftn(array, lengths, axes=axes)
        product = np.einsum("oi...,oj...->ij...", waves.conj(), waves)
        array = np.roll(fft.ifftn(product, axes=axes), [k - 1 for k in array.shape[2:]], axis=axes)
        power /= 2
    rows = np.abs(array).sum(axis=(1, *axes))
    return math.exp(logarithm + power * math.log(float(rows.max())))


def grid_bound(kernel: ArrayLike, grid: int, n_axes: int = 2) -> float:
    r"""Return the largest norm of the symbol on a grid of N points per axis, times its maximum growth between them.

    .. math:: \sup_\omega \| B(\omega) \| \le \max_{grid} \| B \| \, \prod_a (1 - 2 d_a / N)^{-1/2},
              \qquad d_a = (k_a - 1) / 2, \quad N \ge 2 d_a + 1

    It bounds circular and zero-padded layers of any size.

    Examples
    --------
    >>> 4 <= grid_bound([1, -2, 1], 11, n_axes=1) <= 4.4
    True
    """
    array = _kernel(kernel, n_axes)
    longest = max(array.shape[2:])
    if grid < longest:
        raise ValueError(f"grid={grid} is shorter than the kernel's {longest} taps; the bound needs at least as many")
    factor: float = math.prod((1 - (k - 1) / grid) ** -0.5 for k in array.shape[2:])
    return _ring(array, [grid] * n_axes).norm() * factor
