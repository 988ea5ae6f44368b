"""A layer's equation in the coordinates of its singular vectors: from its blocks, or axis by axis."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import fft

from convmatrix import memory
from convmatrix.spectral._axes import dense_form, is_ring, suits_cosines
from convmatrix.spectral._threads import cores, on_cores, single_threaded_blas
from convmatrix.spectral.blocks import layer_blocks
from convmatrix.spectral.singular import decomposition_work
from convmatrix.weights import group_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convmatrix.geometry import ConvGeometry
    from convmatrix.spectral.blocks import Blocks

    Array = NDArray[Any]

MOST_WORK = 5e9
"""Multiplications of the largest dense decomposition that is preferred to iterations: a second or two."""

MOST_WORK_WITH_TRANSFORM = 1e12
"""The same where every axis has a transform, so that the work is that of many channels."""

_EPS = float(np.finfo(float).eps)


@dataclass(frozen=True, eq=False)
class Coordinates:
    """Singular values, the data along the left singular vectors, and the way back along the right ones.

    Attributes
    ----------
    values : array of float
        The singular values: all min(n_out, n_in) of them, or of a product of axes all but some zeros.
    data : array, same shape
        u^H y.
    outside : float
        Square of the norm of the part of y that no u reaches.
    back : callable
        From coordinates along v, an array of the same shape, to the flat vector x.
    route : {"transform", "separable", "dense"}
    frequencies : tuple of int or None
        Shape of the frequencies of the input, which come first in `values`; None where the input has no transform.
    waves : tuple of int
        The axes whose frequencies are those of complex waves, f and -f.
    """

    values: NDArray[np.float64]
    data: Array
    outside: float
    back: Callable[[Array], Array]
    route: str
    frequencies: tuple[int, ...] | None = None
    waves: tuple[int, ...] = ()


def layer_coordinates(geometry: ConvGeometry, weights: Array, y: Array) -> Coordinates | None:
    """Return the coordinates of y in the cheapest exact way there is, or None where all take too long."""
    if not geometry.transposed:
        return _cheapest(geometry, weights, y)
    # The blocks are those of the convolution C with A = C^T: A x = y is C^H conj(x) = conj(y).
    found = _cheapest(geometry, weights, y.conj())
    return None if found is None else replace(found, back=lambda z: found.back(z).conj())


def _cheapest(geometry: ConvGeometry, weights: Array, y: Array) -> Coordinates | None:
    work = decomposition_work(geometry, weights)
    if work <= MOST_WORK_WITH_TRANSFORM and _has_transform(geometry, weights):
        return _block_coordinates(geometry, weights, y)
    found = _separable_coordinates(geometry, weights, y)
    return _block_coordinates(geometry, weights, y) if found is None and work <= MOST_WORK else found


# --- by blocks: one small decomposition a frequency ------------------------------------------------------------------


def _block_coordinates(geometry: ConvGeometry, weights: Array, y: Array) -> Coordinates:
    blocks = layer_blocks(geometry, weights)
    whole = all(form.kind != "dense" for form in blocks.forms)
    rows, columns = blocks.block_shape
    memory.require(
        16 * 4 * math.prod((*blocks.shape, blocks.n_groups, rows, columns)),
        f"the decomposed blocks of {geometry!r}",
        "use fewer channels, or deconvolve parts of the data",
    )
    matrices = np.concatenate([blocks.at(first) for first in blocks.chunks(distinct=False)])
    sides = ("n_outputs", "n_inputs")
    if geometry.transposed:
        matrices, sides = matrices.conj().swapaxes(-1, -2), ("n_inputs", "n_outputs")
    u, values, v = _decompose_all(blocks, matrices)
    waves = _to_waves(blocks, y, sides[0])
    data = (u.conj().swapaxes(-1, -2) @ waves[..., None])[..., 0]

    def back(z: Array) -> Array:
        return _from_waves(blocks, (v @ z[..., None])[..., 0], sides[1])

    one_phase = all(getattr(form, sides[1]) == 1 for form in blocks.forms)
    frequencies = blocks.shape if whole and one_phase else None
    complex_axes = tuple(axis for axis, form in enumerate(blocks.forms) if form.kind == "fourier")
    outside = _square(waves - (u @ data[..., None])[..., 0])
    route = "transform" if whole else "dense"
    return Coordinates(values, data, outside, back, route, frequencies, complex_axes)


def _has_transform(geometry: ConvGeometry, weights: Array) -> bool:
    """Whether every axis is a ring or cosine-transformed, so that blocks are no larger than channels and phases."""
    n = len(geometry.kernel_shape)
    grouped = group_weights(geometry, weights)
    return all(
        is_ring(axis) or (suits_cosines(axis) and np.array_equal(grouped, np.flip(grouped, axis=place - n)))
        for place, axis in enumerate(geometry.axes)
    )


def _decompose_all(blocks: Blocks, matrices: Array) -> tuple[Array, NDArray[np.float64], Array]:
    """Return U, s, V of the matrices of all frequencies; for real weights those at -f are the conjugates."""
    stack = matrices.reshape(-1, *matrices.shape[-3:])
    counts = blocks.multiplicity.ravel()
    distinct = np.flatnonzero(counts)
    parts = np.array_split(distinct, min(8 * cores(), len(distinct), 1 + stack.nbytes // 2**18))
    with single_threaded_blas():
        found = on_cores(lambda part: _decompose(stack[part]), parts)
    mirrored = np.arange(len(stack)).reshape(blocks.shape)
    for axis, form in enumerate(blocks.forms):
        if form.kind == "fourier":
            mirrored = np.take(mirrored, -np.arange(form.n_frequencies) % form.n_frequencies, axis=axis)
    rest = np.flatnonzero(counts == 0)
    results = []
    for pieces in zip(*found, strict=True):
        whole = np.empty((len(stack), *pieces[0].shape[1:]), dtype=pieces[0].dtype)
        whole[distinct] = np.concatenate(pieces)
        whole[rest] = whole[mirrored.ravel()[rest]].conj()
        results.append(whole.reshape(*blocks.shape, *whole.shape[1:]))
    return results[0], results[1], results[2]


def _decompose(matrices: Array) -> tuple[Array, NDArray[np.float64], Array]:
    """Return U, s, V of a stack of matrices, U s V^H."""
    if matrices.shape[-2:] == (1, 1):
        values = np.abs(matrices[..., 0])
        phase = np.divide(matrices, values[..., None], out=np.ones_like(matrices), where=values[..., None] > 0)
        return phase, values, np.ones_like(matrices)
    u, values, vh = np.linalg.svd(matrices, full_matrices=False)
    return u, values, vh.conj().swapaxes(-1, -2)


def _to_waves(blocks: Blocks, vector: Array, side: str) -> Array:
    """Return a vector in the basis of the blocks: (*frequencies, groups, channels and phases)."""
    n = len(blocks.forms)
    split = [size for form in blocks.forms for size in (form.n_frequencies, getattr(form, side))]
    array = vector.reshape(blocks.n_groups, -1, *split)
    for place, form in enumerate(blocks.forms):
        axis = 2 + 2 * place
        if form.kind == "fourier":
            array = np.asarray(fft.fft(array, axis=axis, norm="ortho"))
        elif form.kind == "cosine":
            array = _on_parts(fft.dct, array, axis)
    order = [*(2 + 2 * a for a in range(n)), 0, 1, *(3 + 2 * a for a in range(n))]
    return array.transpose(order).reshape(*blocks.shape, blocks.n_groups, -1)


def _from_waves(blocks: Blocks, waves: Array, side: str) -> Array:
    """Return the vector of given coordinates: the inverse of `_to_waves`."""
    n = len(blocks.forms)
    phases = [getattr(form, side) for form in blocks.forms]
    array = waves.reshape(*blocks.shape, blocks.n_groups, -1, *phases)
    order = [n, n + 1]
    for axis in range(n):
        order += [axis, n + 2 + axis]
    array = array.transpose(order)
    for place, form in enumerate(blocks.forms):
        axis = 2 + 2 * place
        if form.kind == "fourier":
            array = np.asarray(fft.ifft(array, axis=axis, norm="ortho"))
        elif form.kind == "cosine":
            array = _on_parts(fft.idct, array, axis)
    return array.reshape(-1)


def _on_parts(transform: Any, array: Array, axis: int) -> Array:
    """Apply a real transform to real and imaginary part."""
    if array.dtype.kind != "c":
        return np.asarray(transform(array, axis=axis, norm="ortho"))
    real, imaginary = (transform(part, axis=axis, norm="ortho") for part in (array.real, array.imag))
    return np.asarray(real + 1j * imaginary)


# --- axis by axis: the matrix of a kernel of rank one is a Kronecker product -----------------------------------------


def _separable_coordinates(geometry: ConvGeometry, weights: Array, y: Array) -> Coordinates | None:
    """Return the coordinates by one decomposition an axis, for kernels that are outer products of one channel."""
    if (geometry.in_channels, geometry.out_channels) != (1, 1) or geometry.sharing != "shared":
        return None
    axes = geometry.axes
    work = sum(4.0 * axis.n_outputs * axis.n_samples * min(axis.n_outputs, axis.n_samples) for axis in axes)
    if work > MOST_WORK:
        return None
    factors = rank_one_factors(group_weights(geometry, weights).reshape(geometry.kernel_shape))
    if factors is None:
        return None
    decomposed = []
    for axis, factor in zip(axes, factors, strict=True):
        matrix = (dense_form(axis).spread @ factor).reshape(axis.n_outputs, axis.n_samples)
        matrix = matrix.conj().T if geometry.transposed else matrix
        u, s, vh = np.linalg.svd(matrix, full_matrices=False)
        decomposed.append((u, s, vh.conj().T))
    values: Array = np.ones(())
    for _, s, _ in decomposed:
        values = np.multiply.outer(values, s)
    whole = data = y.reshape([len(u) for u, _, _ in decomposed])
    for place, (u, _, _) in enumerate(decomposed):
        data = _along(u.conj().T, data, place)
    fitted = data
    for place, (u, _, _) in enumerate(decomposed):
        fitted = _along(u, fitted, place)

    def back(z: Array) -> Array:
        for place, (_, _, v) in enumerate(decomposed):
            z = _along(v, z, place)
        return z.reshape(-1)

    return Coordinates(values, data, _square(whole - fitted), back, "separable")


def rank_one_factors(kernel: Array) -> list[Array] | None:
    """Return vectors whose outer product is the kernel to rounding, or None."""
    largest = int(np.argmax(np.abs(kernel)))
    top, peak = kernel.flat[largest], np.unravel_index(largest, kernel.shape)
    factors: list[Array] = []
    for place in range(kernel.ndim):
        index: Any = (*peak[:place], slice(None), *peak[place + 1 :])
        factors.append(kernel[index] / (top if place else 1))
    product: Array = np.ones(())
    for factor in factors:
        product = np.multiply.outer(product, factor)
    return factors if np.abs(product - kernel).max() <= 8 * _EPS * np.abs(top) else None


def _square(array: Array) -> float:
    return float(np.linalg.norm(array)) ** 2


def _along(matrix: Array, array: Array, axis: int) -> Array:
    return np.moveaxis(np.tensordot(matrix, array, axes=(1, axis)), 0, axis)
