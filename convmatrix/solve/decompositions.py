"""The singular value decomposition of a layer's matrix in factored form: by blocks, or axis by axis."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy import fft

from convmatrix import memory
from convmatrix.arrays import EPSILON
from convmatrix.spectral.axis_transforms import dense_transform
from convmatrix.spectral.blocks import layer_blocks, n_pieces, on_cores, single_threaded_blas

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from convmatrix.arrays import Array
    from convmatrix.spectral.blocks import Blocks, WeightedLayer

MOST_WORK: Final = 5e9
"""Maximum number of multiplications for a dense decomposition to be preferred to iterations: one or two seconds."""

MOST_WORK_WITH_TRANSFORM: Final = 1e12
"""The same maximum if every axis has a transform, so that the work is due to many channels."""


@dataclass(frozen=True, eq=False)
class Decomposition:
    r"""Singular values, and maps between vectors and their coordinates along singular vectors.

    With a penalty it is a generalised decomposition: A = U c W^H and L = (others) s W^H in common coordinates, and the
    solution for the parameter lambda has the coordinates :math:`c \, u^H y / (c^2 + \lambda^2 q)` with q = s^2.

    All min(n_out, n_in) singular values are given; for a product of axes, some zeros may be missing. If the input is
    transformed with stride 1 on every axis, their first axes are the frequencies of the blocks.
    """

    values: NDArray[np.float64]
    to_left: Callable[[Array], Array]  # from columns y, (n_out, batch), to U^H y, (batch, *values.shape)
    from_left: Callable[[Array], Array]  # from coordinates z of that shape to U z, columns (n_out, batch)
    from_right: Callable[[Array], Array]  # from coordinates along v to columns x, (n_in, batch)
    route: str  # "transform", "separable" or "dense"
    blocks: Blocks | None = None
    penalty: NDArray[np.float64] | float = 1.0  # q, in a shape that broadcasts with the values

    def outside(self, y: Array, data: Array) -> float:
        """Return the squared norm of the part of y that is orthogonal to every u, given the coordinates of y."""
        return float(np.linalg.norm(y - self.from_left(data))) ** 2

    def inverse_power(self, signal_power: ArrayLike, layer: WeightedLayer, *, real: bool) -> NDArray[np.float64]:
        """Return the reciprocal of the signal's power, in a shape that broadcasts with `values`."""
        geometry = layer.geometry
        if self.blocks is None or self.blocks.shape != geometry.input_shape:
            raise ValueError(
                f"signal_power needs a layer whose input is transformed with stride 1, but {geometry!r} is not; set "
                "boundary='circular' (or 'symmetric' or 'antisymmetric' with a symmetric kernel), padding='same' and "
                "stride=1"
            )
        penalty = 1 / np.asarray(signal_power, dtype=np.float64)
        if real and not np.allclose(penalty, self.blocks.negate(penalty), rtol=1e-9, atol=0):
            raise ValueError(
                "signal_power differs between the frequencies f and -f, which is impossible for a real signal (kernel "
                "and y are real); make it symmetric, as numpy.fft.fftfreq(n) ** 2 is"
            )
        return penalty[..., None, None]  # the same for all groups and channels


def decompose(layer: WeightedLayer) -> Decomposition | None:
    """Return the cheapest exact decomposition of the matrix of a layer, or None if every one would take too long."""
    if not layer.geometry.transposed:
        return _cheapest(layer)
    # The blocks are those of the convolution C with A = C^T: A x = y is C^H conj(x) = conj(y).
    found = _cheapest(layer)
    if found is None:
        return None
    return replace(
        found,
        to_left=lambda y: found.to_left(y.conj()),
        from_left=lambda z: found.from_left(z).conj(),
        from_right=lambda z: found.from_right(z).conj(),
    )


def _cheapest(layer: WeightedLayer) -> Decomposition | None:
    work = layer.decomposition_work
    if work <= MOST_WORK_WITH_TRANSFORM and "dense" not in layer.transform_names:
        return _by_blocks(layer)
    found = _by_axes(layer)
    return _by_blocks(layer) if found is None and work <= MOST_WORK else found


# --- by blocks: one small decomposition per frequency ----------------------------------------------------------------


def _by_blocks(layer: WeightedLayer) -> Decomposition:
    blocks = layer_blocks(layer)
    memory.require(
        16 * 4 * math.prod((*blocks.shape, blocks.n_groups, *blocks.block_shape)),
        f"the decomposed blocks of {layer.geometry!r}",
        "use fewer channels, or deconvolve parts of the data",
    )
    matrices = blocks.all()
    rows, columns = [a.output_phases for a in blocks.axes], [a.input_phases for a in blocks.axes]
    if layer.geometry.transposed:
        matrices, rows, columns = matrices.conj().swapaxes(-1, -2), columns, rows
    u, values, v = _decomposed_blocks(blocks, matrices)
    uh = u.conj().swapaxes(-1, -2)
    transformed = all(axis.name != "dense" for axis in blocks.axes)
    return Decomposition(
        values,
        lambda y: (uh @ _to_waves(blocks, y, rows)[..., None])[..., 0],
        lambda z: _from_waves(blocks, (u @ z[..., None])[..., 0], rows),
        lambda z: _from_waves(blocks, (v @ z[..., None])[..., 0], columns),
        "transform" if transformed else "dense",
        blocks if transformed and set(columns) == {1} else None,
    )


def _decomposed_blocks(blocks: Blocks, matrices: Array) -> tuple[Array, NDArray[np.float64], Array]:
    """Return U, s, V of the matrices of all frequencies; for real weights those at -f are the conjugates."""
    stack = matrices.reshape(-1, *matrices.shape[-3:])
    counts = blocks.multiplicity.ravel()
    distinct, rest = np.flatnonzero(counts), np.flatnonzero(counts == 0)
    pieces = np.array_split(distinct, min(n_pieces(stack), len(distinct)))
    with single_threaded_blas():
        found = on_cores(lambda piece: _svd(stack[piece]), pieces)
    mirrored = blocks.negate(np.arange(len(stack)).reshape(blocks.shape)).ravel()
    results = []
    for factors in zip(*found, strict=True):
        whole = np.empty((len(stack), *factors[0].shape[1:]), dtype=factors[0].dtype)
        whole[distinct] = np.concatenate(factors)
        whole[rest] = whole[mirrored[rest]].conj()
        results.append(whole.reshape(*blocks.shape, *whole.shape[1:]))
    return results[0], results[1], results[2]


def _svd(matrices: Array) -> tuple[Array, NDArray[np.float64], Array]:
    """Return the factors U, s, V of a stack of matrices U s V^H."""
    if matrices.shape[-2:] == (1, 1):
        values = np.abs(matrices[..., 0])
        phase = np.divide(matrices, values[..., None], out=np.ones_like(matrices), where=values[..., None] > 0)
        return phase, values, np.ones_like(matrices)
    u, values, vh = np.linalg.svd(matrices, full_matrices=False)
    return u, values, vh.conj().swapaxes(-1, -2)


def _to_waves(blocks: Blocks, columns: Array, phases: list[int]) -> Array:
    """Return columns in the basis of the blocks: (batch, *frequencies, groups, channels and phases)."""
    n = len(blocks.axes)
    sizes = [size for pair in zip(blocks.shape, phases, strict=True) for size in pair]
    array = columns.T.reshape(columns.shape[1], blocks.n_groups, -1, *sizes)
    array = _transformed(blocks, array, fft.fft, {"cosine": fft.dct, "sine": fft.dst})
    order = [0, *(3 + 2 * a for a in range(n)), 1, 2, *(4 + 2 * a for a in range(n))]
    return array.transpose(order).reshape(columns.shape[1], *blocks.shape, blocks.n_groups, -1)


def _from_waves(blocks: Blocks, waves: Array, phases: list[int]) -> Array:
    """Return the columns with given coordinates in the basis of the blocks: the inverse of `_to_waves`."""
    n = len(blocks.axes)
    order = [0, n + 1, n + 2]
    for axis in range(n):
        order += [axis + 1, n + 3 + axis]
    array = waves.reshape(len(waves), *blocks.shape, blocks.n_groups, -1, *phases).transpose(order)
    return _transformed(blocks, array, fft.ifft, {"cosine": fft.idct, "sine": fft.idst}).reshape(len(waves), -1).T


def _transformed(blocks: Blocks, array: Array, fourier: Any, real: dict[str, Any]) -> Array:
    """Return an array of shape (batch, groups, channels, F, phases, F, phases, ...) transformed along every axis F."""
    for number, form in enumerate(blocks.axes):
        axis = 3 + 2 * number
        if form.name == "fourier":
            array = np.asarray(fourier(array, axis=axis, norm="ortho"))
        elif form.name != "dense":
            parts = (array.real, array.imag) if array.dtype.kind == "c" else (array,)
            found = [np.asarray(real[form.name](part, type=2, axis=axis, norm="ortho")) for part in parts]
            array = found[0] + 1j * found[1] if len(found) > 1 else found[0]
    return array


# --- axis by axis: the matrix of a kernel of rank one is a Kronecker product -----------------------------------------


def _by_axes(layer: WeightedLayer) -> Decomposition | None:
    """Return the decomposition as a product of one decomposition per axis, for one-channel rank-one kernels."""
    geometry = layer.geometry
    if (geometry.in_channels, geometry.out_channels) != (1, 1) or geometry.sharing != "shared":
        return None
    axes = geometry.axes
    work = sum(4.0 * axis.n_outputs * axis.n_samples * min(axis.n_outputs, axis.n_samples) for axis in axes)
    if work > MOST_WORK:
        return None
    factors = rank_one_factors(layer.grouped.reshape(geometry.kernel_shape))
    if factors is None:
        return None
    us, vs = [], []
    values: Array = np.ones(())
    for axis, factor in zip(axes, factors, strict=True):
        matrix = (dense_transform(axis).spread @ factor).reshape(axis.n_outputs, axis.n_samples)
        u, s, vh = np.linalg.svd(matrix.conj().T if geometry.transposed else matrix, full_matrices=False)
        us.append(u)
        vs.append(vh.conj().T)
        values = np.multiply.outer(values, s)
    sizes = [len(u) for u in us]
    return Decomposition(
        values,
        lambda y: _multiplied([u.conj().T for u in us], y.T.reshape(-1, *sizes)),
        lambda z: _multiplied(us, z).reshape(len(z), -1).T,
        lambda z: _multiplied(vs, z).reshape(len(z), -1).T,
        "separable",
    )


def rank_one_factors(kernel: Array) -> list[Array] | None:
    """Return vectors whose outer product is the kernel up to rounding, or None."""
    largest = int(np.argmax(np.abs(kernel)))
    top, peak = kernel.flat[largest], np.unravel_index(largest, kernel.shape)
    factors: list[Array] = []
    for axis in range(kernel.ndim):
        index: Any = (*peak[:axis], slice(None), *peak[axis + 1 :])
        factors.append(kernel[index] / (top if axis else 1))
    product: Array = np.ones(())
    for factor in factors:
        product = np.multiply.outer(product, factor)
    return factors if np.abs(product - kernel).max() <= 8 * EPSILON * np.abs(top) else None


def _multiplied(matrices: list[Array], array: Array) -> Array:
    """Return an array multiplied by one matrix along each axis after the first."""
    for axis, matrix in enumerate(matrices, start=1):
        array = np.moveaxis(np.tensordot(matrix, array, axes=(1, axis)), 0, axis)
    return array
