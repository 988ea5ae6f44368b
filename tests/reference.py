"""Independent oracle for any layer: ``numpy.pad``, then plain loops over positions, channels and taps.

Meant to be obviously right. It reads the fields of a `ConvGeometry` and nothing else of the package: neither
the one-axis rule nor the pattern. What a layer does is written down once, in `taps`, as a list of products

    output (or, transposed, input) at a position  ~  padded input (or output) at another  x  weight

and the four functions below are sums over that list, which is kept for the layers asked about last. Padding is
``numpy.pad``, one axis at a time; a transposed layer sends what it writes into the padding back to where ``numpy.pad``
would have read it, found by padding a basis.
"""

from __future__ import annotations

import functools
import math
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from convmatrix.geometry import ConvGeometry

    Array = NDArray[Any]
    Index = tuple[int, ...]

PAD_MODES: Final = {
    "zero": "constant",
    "circular": "wrap",
    "reflect": "reflect",
    "symmetric": "symmetric",
    "replicate": "edge",
}


def forward(geometry: ConvGeometry, weights: Array, x: Array) -> Array:
    """Return the output, (out_channels, *output_shape, *batch), for x of (in_channels, *input_shape, *batch)."""
    shape = (geometry.out_channels, *geometry.output_shape)
    batch = x.shape[1 + len(geometry.input_shape) :]
    y = np.zeros((*shape, *batch), dtype=np.result_type(weights, x))
    if geometry.transposed:
        return _scatter(geometry, weights, x, y)
    return _gather(geometry, weights, x, y)


def input_gradient(geometry: ConvGeometry, weights: Array, g: Array) -> Array:
    """Return the gradient of ``sum(g * y)`` in x, (in_channels, *input_shape); no conjugation."""
    x = np.zeros((geometry.in_channels, *geometry.input_shape), dtype=np.result_type(weights, g))
    if geometry.transposed:
        return _gather(geometry, weights, g, x)
    return _scatter(geometry, weights, g, x)


def weight_gradient(geometry: ConvGeometry, x: Array, g: Array) -> Array:
    """Return the gradient of ``sum(g * y)`` in the weights; no conjugation."""
    gradient = np.zeros(geometry.weight_shape, dtype=np.result_type(x, g))
    near, far = (x, g) if geometry.transposed else (g, x)
    position, read, weight = listed(geometry)
    np.add.at(gradient, weight, near[position] * pad(geometry, far)[read])
    return gradient


def matrix(geometry: ConvGeometry, weights: Array) -> Array:
    """Return the layer's dense matrix, in C order, by pushing every basis vector through `forward`."""
    basis = np.eye(geometry.n_in, dtype=weights.dtype)
    images = forward(geometry, weights, basis.reshape(geometry.in_channels, *geometry.input_shape, geometry.n_in))
    return images.reshape(geometry.n_out, geometry.n_in)


def pad(geometry: ConvGeometry, array: Array) -> Array:
    """Pad the spatial axes of (channels, *spatial, *batch), each by its own boundary."""
    for axis, (amount, boundary) in enumerate(zip(geometry.padding, geometry.boundary, strict=True), start=1):
        array = pad_axis(array, axis, amount, boundary)
    return array


def pad_axis(array: Array, axis: int, amount: tuple[int, int], boundary: str) -> Array:
    """Pad one axis, by `numpy.pad` or, for the antisymmetric boundary, sample by sample."""
    widths = [(0, 0)] * array.ndim
    widths[axis] = amount
    if boundary == "antireflect":
        return np.pad(array, widths, mode="reflect", reflect_type="odd")
    if boundary == "antisymmetric":
        size = array.shape[axis]
        return np.stack([_antisymmetric(array, axis, p) for p in range(-amount[0], size + amount[1])], axis=axis)
    return np.pad(array, widths, mode=PAD_MODES[boundary])  # type: ignore[call-overload]


def _antisymmetric(array: Array, axis: int, position: int) -> Array:
    """Return the samples at a position: mirrored in the ends, each time with the opposite sign, until inside."""
    size, sign = array.shape[axis], 1
    while not 0 <= position < size:
        position, sign = -1 - position if position < 0 else 2 * size - 1 - position, -sign
    return sign * array.take(position, axis=axis)


def taps(geometry: ConvGeometry) -> Iterator[tuple[Index, Index, Index]]:
    """Yield (near, far, weight) indices of every product of the layer.

    ``near`` is the side that the kernel moves along one position at a time: (channel, *position) of the output of a
    convolution, of the input of a transposed one. ``far`` is (channel, *position) in the padded other side. ``weight``
    indexes the weights.
    """
    positions = geometry.input_shape if geometry.transposed else geometry.output_shape
    pairs = list(_channel_pairs(geometry))
    for position in product(*map(range, positions)):
        kernel = _kernel_index(geometry, position)
        for tap in product(*map(range, geometry.kernel_shape)):
            read = [
                i * stride + t * dilation
                for i, t, stride, dilation in zip(position, tap, geometry.stride, geometry.dilation, strict=True)
            ]
            if geometry.flip:
                tap = tuple(size - 1 - t for size, t in zip(geometry.kernel_shape, tap, strict=True))
            for out_channel, in_channel, pair in pairs:
                near, far = (in_channel, out_channel) if geometry.transposed else (out_channel, in_channel)
                yield (near, *position), (far, *read), (*kernel, *pair, *tap)


@functools.lru_cache(maxsize=100)
def listed(geometry: ConvGeometry) -> tuple[tuple[Array, ...], ...]:
    """Return `taps` as arrays: for ``near``, ``far`` and ``weight`` the indices along each axis."""
    sides = zip(*taps(geometry), strict=True)
    return tuple(tuple(np.array(side, dtype=np.int64).T) for side in sides)


def triplets(geometry: ConvGeometry) -> list[tuple[int, int, int, int]]:
    """Return the (row, column, weight, coefficient) of every entry of T, in C order, sorted."""
    near_shape, far_shape = (geometry.out_channels, *geometry.output_shape), geometry.input_shape
    if geometry.transposed:
        near_shape, far_shape = (geometry.in_channels, *geometry.input_shape), geometry.output_shape
    padded = [size + low + high for size, (low, high) in zip(far_shape, geometry.padding, strict=True)]
    reads, samples = _reads(geometry, far_shape), math.prod(far_shape)
    found = []
    for near, (channel, *read), weight in taps(geometry):
        one = int(np.ravel_multi_index(near, near_shape))
        index = int(np.ravel_multi_index(weight, geometry.weight_shape))
        for sample, coefficient in reads[int(np.ravel_multi_index(read, padded))]:
            other = channel * samples + sample
            found.append((*((other, one) if geometry.transposed else (one, other)), index, coefficient))
    return sorted(found)


def structure(geometry: ConvGeometry) -> Array:
    """Return which entries of the matrix some weight occurs in."""
    read = np.zeros((geometry.n_out, geometry.n_in), dtype=bool)
    for row, column, _, _ in triplets(geometry):
        read[row, column] = True
    return read


def padded_basis(geometry: ConvGeometry, spatial: tuple[int, ...]) -> Array:
    """Return the matrix (padded positions, samples) of the padding, by padding every basis vector."""
    basis = np.eye(math.prod(spatial), dtype=np.int64).reshape(1, *spatial, -1)
    return pad(geometry, basis)[0].reshape(-1, basis.shape[-1])


def _reads(geometry: ConvGeometry, spatial: tuple[int, ...]) -> list[list[tuple[int, int]]]:
    """Return the (sample, coefficient) pairs that are read at each padded position, flat."""
    rows = padded_basis(geometry, spatial)
    return [[(int(j), int(row[j])) for j in np.flatnonzero(row)] for row in rows]


def _channel_pairs(geometry: ConvGeometry) -> Iterator[tuple[int, int, Index]]:
    """Yield (out channel, in channel, channel part of the weight's index) of every connected pair."""
    connected = 0
    outs = geometry.out_channels // geometry.groups  # in a group
    ins = geometry.in_channels // geometry.groups
    for out_channel, in_channel in product(range(geometry.out_channels), range(geometry.in_channels)):
        if geometry.connections is not None:
            if geometry.connections[out_channel][in_channel]:
                yield out_channel, in_channel, (connected,)
                connected += 1
        elif out_channel // outs == in_channel // ins:
            pair = (in_channel, out_channel % outs) if geometry.transposed else (out_channel, in_channel % ins)
            yield out_channel, in_channel, pair


def _kernel_index(geometry: ConvGeometry, position: Index) -> Index:
    """Return which of the kernels of a tiled or unshared layer is used at a position."""
    if geometry.sharing == "shared":
        return ()
    if geometry.sharing == "unshared":
        return position
    return tuple(i % size for i, size in zip(position, geometry.sharing, strict=True))


def _gather(geometry: ConvGeometry, weights: Array, far: Array, near: Array) -> Array:
    """Add to every near sample what it reads."""
    position, read, weight = listed(geometry)
    products = (weights[weight] * pad(geometry, far)[read].T).T  # the last axes are those of the batch
    np.add.at(near, position, products)
    return near


def _scatter(geometry: ConvGeometry, weights: Array, near: Array, far: Array) -> Array:
    """Add every near sample to all that it is read from, the transpose of `_gather`."""
    spatial, batch = far.shape[1 : 1 + len(geometry.input_shape)], far.shape[1 + len(geometry.input_shape) :]
    padded = [size + low + high for size, (low, high) in zip(spatial, geometry.padding, strict=True)]
    position, read, weight = listed(geometry)
    sums = np.zeros((far.shape[0], *padded, *batch), dtype=far.dtype)
    np.add.at(sums, read, (weights[weight] * near[position].T).T)
    sums = sums.reshape(far.shape[0], -1, math.prod(batch))
    return far + (padded_basis(geometry, spatial).T @ sums).reshape(far.shape)
