"""Correlation of padded arrays and its adjoint, by matrix products over gathered windows or by FFT."""

from __future__ import annotations

import math
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.lib.stride_tricks import as_strided

from convmatrix._products.padding import zero_padded

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from convmatrix.arrays import Array

_BLAS_DTYPES: Final = "fdFD"
_BLOCK_ROWS: Final = 8  # maximum number of rows of a block; more rows would mean more products with zero
_ENTRIES: Final = 2**19  # entries gathered at a time; the products are then large enough for several threads
_ENTRIES_OF_FEW_ROWS: Final = 2**15  # the same if there are few rows, which stay in the cache; more threads do not help
_LARGEST_SPECTRUM: Final = 2**24  # maximum number of entries of the spectrum of a kernel with many channels


class DirectCorrelation:
    r"""The sum over taps of weights times samples.

    .. math:: y_{g,o,p} = \sum_{c,t} W_{p \bmod tile,\, g, o, c, t} \; x_{g,\, c,\, p \cdot stride + t \cdot dilation}

    The windows of many positions are gathered as columns and multiplied by the weights as a matrix. Products with few
    rows are slow. If a group has few outputs, neighbouring positions of the first axis therefore share one longer
    window, and the matrix has rows for each of them (a Toeplitz block).

    Parameters
    ----------
    weights : array, shape (*tile, groups, outputs, inputs, *kernel)
    positions, stride, dilation : sequence of int
        One number per spatial axis.
    block : int, optional
        Number of neighbouring positions that share a window; by default the fastest.

    Attributes
    ----------
    length : tuple of int
        Number of samples of the padded array on each axis.
    """

    def __init__(
        self,
        weights: Array,
        positions: Sequence[int],
        stride: Sequence[int],
        dilation: Sequence[int],
        block: int | None = None,
    ) -> None:
        n = len(positions)
        tile = tuple(min(sizes) for sizes in zip(weights.shape[:n], positions, strict=True))
        self.all_weights = weights.shape
        self.weights = weights[tuple(map(slice, tile))]
        self.groups, self.outputs, self.inputs = weights.shape[n : n + 3]
        kernel = weights.shape[n + 3 :]
        self.positions, self.stride, self.dilation, self.tile = tuple(positions), tuple(stride), tuple(dilation), tile
        if block is None:
            block, _ = best_block(self.weights, positions, stride, dilation)
        self.block = block
        # The samples that a block of positions reads are a common step apart.
        step = math.gcd(stride[0], dilation[0]) if block > 1 else dilation[0]
        matrix = _toeplitz_block(self.weights, n, block, stride[0] // step, dilation[0] // step)
        self.tap_step = (step, *dilation[1:])
        self.window = (self.inputs, *matrix.shape[-n:])
        self.matrix = matrix.reshape(*tile, self.groups, self.outputs * block, math.prod(self.window))
        self.period = (tile[0] * block, *tile[1:])
        self.repeats = tuple(-(-size // p) for size, p in zip(positions, self.period, strict=True))
        self.covered = tuple(q * p for q, p in zip(self.repeats, self.period, strict=True))  # positions, rounded up
        self.length = padded_length(self.covered, kernel, stride, dilation)

    def forward(self, x: Array) -> Array:
        """Return y, shape (groups, outputs, *positions, batch), for x of shape (groups, inputs, *length, batch)."""
        y = np.empty((self.groups, self.outputs, *self.covered, x.shape[-1]), dtype=x.dtype)
        windows, values = self._windows(x), self._values(y)
        entries = _ENTRIES if self.matrix.shape[-2] > _BLOCK_ROWS else _ENTRIES_OF_FEW_ROWS
        gathered = np.empty(min(max(entries, math.prod(self.window)), windows.size), dtype=x.dtype)
        for kernels, chunk in self._chunks(entries, x.shape[-1]):
            columns = windows[chunk]  # (*tile, groups, inputs, *taps, *repeats, batch)
            if math.prod(self.window) > self.inputs:
                buffer = gathered[: columns.size].reshape(columns.shape)
                np.copyto(buffer, columns)
                columns = buffer
            target = values[chunk]  # (*tile, groups, outputs, block, *repeats, batch)
            target[...] = _matmul(self.matrix[kernels], self._as_columns(columns, self.window)).reshape(target.shape)
        kept: Any = (..., *map(slice, self.positions), slice(None))
        return np.asarray(y[kept])

    def adjoint(self, y: Array) -> Array:
        """Return the transpose of `forward` times y: shape (groups, inputs, *length, batch)."""
        if self._mirror is not None:
            margins = [(k - 1) * d for k, d in zip(self._kernel, self.dilation, strict=True)]
            rests = [size - p - m for size, p, m in zip(self._mirror.length, self.positions, margins, strict=True)]
            return self._mirror.forward(zero_padded(y, [(0, 0), (0, 0), *zip(margins, rests, strict=True), (0, 0)]))
        y = self._extended(y)
        x = np.zeros((self.groups, self.inputs, *self.length, y.shape[-1]), dtype=y.dtype)
        windows, values = self._windows(x), self._values(y)
        transposed = self.matrix.swapaxes(-1, -2)
        one_tap = (slice(None),) * (len(self.positions) + 1)
        for kernels, chunk in self._chunks(_ENTRIES, y.shape[-1]):
            target = windows[chunk]
            rows = self._as_columns(values[chunk], (self.outputs, self.block))
            columns = _matmul(transposed[kernels], rows).reshape(target.shape)
            for tap in product(*map(range, self.window[1:])):
                # At one tap, all positions read different samples, so no sum is lost.
                index: Any = (..., *tap, *one_tap)
                np.add(target[index], columns[index], out=target[index])
        return x

    def weight_gradient(self, x: Array, y: Array) -> Array:
        """Return the gradient of ``sum(y * forward(x))`` with respect to the weights, in their shape.

        The last axis of both arrays is the batch, over which the gradient is summed.
        """
        y = self._extended(y)
        windows, values = self._windows(x), self._values(y)
        total = np.zeros(self.matrix.shape, dtype=x.dtype)
        for kernels, chunk in self._chunks(_ENTRIES, x.shape[-1]):
            columns = self._as_columns(np.ascontiguousarray(windows[chunk]), self.window)
            rows = self._as_columns(values[chunk], (self.outputs, self.block))
            total[kernels] += _matmul(rows, columns.swapaxes(-1, -2))
        n = len(self.positions)
        blocks = total.reshape(*self.tile, self.groups, self.outputs, self.block, *self.window)
        gradient = np.zeros(self.all_weights, dtype=x.dtype)
        used = gradient[tuple(map(slice, self.tile))]
        step, kernel = self.tap_step[0], self._kernel
        for position in range(self.block):
            first = position * self.stride[0] // step
            taken = slice(first, first + (kernel[0] - 1) * self.dilation[0] // step + 1, self.dilation[0] // step)
            index: Any = (*(slice(None),) * (n + 2), position, slice(None), taken)
            used += blocks[index]
        return gradient

    @property
    def _kernel(self) -> tuple[int, ...]:
        return tuple(self.weights.shape[-len(self.positions) :])

    @cached_property
    def _mirror(self) -> DirectCorrelation | None:
        """The adjoint as a correlation of zero-padded values with the reversed kernel, if that is less work."""
        n = len(self.positions)
        length = padded_length(self.positions, self._kernel, self.stride, self.dilation)
        if max(self.tile) > 1 or max(self.stride) > 1 or math.prod(length) > 2 * math.prod(self.positions):
            return None
        return DirectCorrelation(reversed_weights(self.weights, n), length, self.stride, self.dilation)

    def _extended(self, y: Array) -> Array:
        """Return y extended by zeros to all positions that blocks cover."""
        if self.covered == self.positions:
            return y
        rests = [c - p for c, p in zip(self.covered, self.positions, strict=True)]
        return zero_padded(y, [(0, 0), (0, 0), *((0, rest) for rest in rests), (0, 0)])

    def _windows(self, x: Array) -> Array:
        """Return a view of x as (*tile, groups, inputs, *taps, *repeats, batch)."""
        group, channel, *samples, batch = x.strides
        position = [s * stride for s, stride in zip(samples, self.stride, strict=True)]
        repeat = [s * period for s, period in zip(position, self.period, strict=True)]
        tap = [s * step for s, step in zip(samples, self.tap_step, strict=True)]
        shape = (*self.tile, self.groups, *self.window, *self.repeats, x.shape[-1])
        return as_strided(x, shape, (*position, group, channel, *tap, *repeat, batch))

    def _values(self, y: Array) -> Array:
        """Return a view of y as (*tile, groups, outputs, block, *repeats, batch)."""
        split = [(self.repeats[0], self.block, self.tile[0]), *zip(self.repeats[1:], self.tile[1:], strict=True)]
        y = y.reshape(self.groups, self.outputs, *(size for sizes in split for size in sizes), y.shape[-1])
        tile, repeats = [4, *range(6, y.ndim, 2)], [2, *range(5, y.ndim - 1, 2)]
        return y.transpose(*tile, 0, 1, 3, *repeats, y.ndim - 1)

    def _as_columns(self, array: Array, rows: tuple[int, ...]) -> Array:
        """Return an array (*tile, groups, *rows, *repeats, batch) as a stack of matrices."""
        return array.reshape(*array.shape[: len(self.tile) + 1], math.prod(rows), -1)

    def _chunks(self, entries: int, batch: int) -> Iterator[tuple[tuple[slice, ...], tuple[Any, ...]]]:
        """Yield the kernels (*tile, groups) and the index of each chunk of at most ``entries`` window entries."""
        sizes = (*self.tile, self.groups, *self.repeats, batch)
        room, cuts = max(entries // math.prod(self.window), 1), []
        for size in reversed(sizes):
            step = max(min(size, room), 1)
            room //= step
            cuts.append([slice(start, min(start + step, size)) for start in range(0, size, step)])
        n_kernel_axes = len(self.tile) + 1
        for chunk in product(*reversed(cuts)):
            yield chunk[:n_kernel_axes], (*chunk[:n_kernel_axes], ..., *chunk[n_kernel_axes:])


class FFTCorrelation:
    r"""The same sum as `DirectCorrelation` for one shared kernel, by the convolution theorem.

    .. math:: \hat y_{g,o}(\omega) = \sum_c \hat W_{g,o,c}(-\omega) \, \hat x_{g,c}(\omega)

    All positions of stride 1 are computed, and every stride-th one is kept. Errors are relative to the largest output,
    not to each output.

    Parameters
    ----------
    weights : array, shape (groups, outputs, inputs, *kernel)
        Real or complex floating point.
    positions, stride, dilation : sequence of int
    """

    def __init__(
        self, weights: Array, positions: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
    ) -> None:
        from scipy import fft

        kernel = weights.shape[3:]
        self.axes = tuple(range(2, 2 + len(kernel)))
        self.length = padded_length(positions, kernel, stride, dilation)
        last_position = padded_length(positions, [1] * len(kernel), stride, dilation)
        kept = (slice(0, last, step) for last, step in zip(last_position, stride, strict=True))
        self.kept: Any = (..., *kept, slice(None))
        self.real = weights.dtype.kind == "f"
        self.size = tuple(fft.next_fast_len(n, real=self.real) for n in self.length)
        spans = padded_length([1] * len(kernel), kernel, stride, dilation)
        dilated = np.zeros((*weights.shape[:3], *spans), dtype=weights.dtype)
        taps: Any = (..., *(slice(None, None, step) for step in dilation))
        dilated[taps] = weights
        axes = tuple(axis + 1 for axis in self.axes)
        transform: Any = fft.rfftn if self.real else fft.fftn
        self.spectrum = transform(dilated, s=self.size, axes=axes)
        # The spectrum at the negative frequencies.
        self.mirrored = self.spectrum.conj() if self.real else transform(dilated.conj(), s=self.size, axes=axes).conj()

    def forward(self, x: Array) -> Array:
        """Return y, shape (groups, outputs, *positions, batch), for x of shape (groups, inputs, *length, batch)."""
        return np.asarray(self._filter(x, self.mirrored)[self.kept])

    def adjoint(self, y: Array) -> Array:
        """Return the transpose of `forward` times y: shape (groups, inputs, *length, batch)."""
        stuffed = np.zeros((*y.shape[:2], *self.length, y.shape[-1]), dtype=y.dtype)
        stuffed[self.kept] = y
        samples: Any = (..., *map(slice, self.length), slice(None))
        return np.asarray(self._filter(stuffed, self.spectrum.swapaxes(1, 2))[samples])

    def _filter(self, x: Array, spectrum: Array) -> Array:
        """Return x, (groups, c, *samples, batch), filtered by a spectrum (groups, o, c, *frequencies)."""
        from scipy import fft

        transform: Any = fft.rfftn if self.real else fft.fftn
        inverse: Any = fft.irfftn if self.real else fft.ifftn
        transformed = transform(x, s=self.size, axes=self.axes)
        total = spectrum[:, :, 0, ..., None] * transformed[:, None, 0]
        for channel in range(1, transformed.shape[1]):
            total += spectrum[:, :, channel, ..., None] * transformed[:, None, channel]
        return np.asarray(inverse(total, s=self.size, axes=self.axes, overwrite_x=True))


def reversed_weights(weights: Array, n_axes: int) -> Array:
    """Return the weights of the adjoint for stride 1: the kernel is reversed, and inputs and outputs are exchanged."""
    return np.flip(weights.swapaxes(-n_axes - 2, -n_axes - 1), tuple(range(-n_axes, 0)))


def padded_length(
    positions: Sequence[int], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> tuple[int, ...]:
    """Return the number of samples that the positions read on each axis."""
    axes = zip(positions, kernel, stride, dilation, strict=True)
    return tuple((n - 1) * s + (k - 1) * d + 1 for n, k, s, d in axes)


def best_block(
    weights: Array, positions: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> tuple[int, float]:
    """Return the fastest block size of `DirectCorrelation`, and its time in nanoseconds for one batch column.

    The model has two measured terms: gathering an entry of a window, and multiplying it by the rows of the matrix, at a
    speed that grows with the number of rows. Only their ratio matters.
    """
    n = len(positions)
    groups, outputs, inputs = weights.shape[n : n + 3]
    kernel = weights.shape[n + 3 :]
    shared = max(weights.shape[:n]) == 1
    best = (1, math.inf)
    for block in range(1, min(positions[0], max(_BLOCK_ROWS // outputs, 1)) + 1):
        if block > 1 and not (shared and weights.dtype.char in _BLAS_DTYPES):
            break
        step = math.gcd(stride[0], dilation[0]) if block > 1 else dilation[0]
        taps = ((block - 1) * stride[0] + (kernel[0] - 1) * dilation[0]) // step + 1
        rows = block * outputs
        windows = -(-positions[0] // block) * math.prod(positions[1:]) * groups
        time = windows * inputs * taps * math.prod(kernel[1:]) * (0.7 + rows * 0.07 * (1 + 6 / rows))
        if time < best[1]:
            best = (block, time)
    return best


def fft_time(weights: Array, positions: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> float:
    """Return the approximate time of `FFTCorrelation` for one batch column, in nanoseconds; infinity if too large."""
    groups, outputs, inputs, *kernel = weights.shape
    samples = math.prod(padded_length(positions, kernel, stride, dilation))
    many_channels = outputs * inputs > 4 * (outputs + inputs)  # the spectrum would be larger than the data
    if many_channels and groups * outputs * inputs * samples > _LARGEST_SPECTRUM:
        return math.inf
    transforms = (inputs + outputs) * (0.7 * math.log2(samples) + 5)
    products = 3 * inputs * outputs
    return float(groups * samples * (transforms + products))


def _matmul(matrices: Array, columns: Array) -> Array:
    """Return products of stacks of matrices: by BLAS if it supports the dtype, else by einsum, faster than matmul."""
    if columns.shape[-2] == 1:  # outer products
        return np.asarray(matrices * columns)
    if columns.dtype.char in _BLAS_DTYPES:
        return np.asarray(matrices @ columns)
    return np.asarray(np.einsum("...mk,...kn->...mn", matrices, columns))


def _toeplitz_block(weights: Array, n_axes: int, block: int, stride: int, dilation: int) -> Array:
    """Return the kernel repeated at ``block`` positions: (..., outputs, block, inputs, taps, *kernel[1:])."""
    *leading, inputs, taps = weights.shape[: weights.ndim - n_axes + 1]
    other_axes = weights.shape[weights.ndim - n_axes + 1 :]
    if block == 1:
        return weights.reshape(*leading, 1, inputs, taps, *other_axes)
    span = (taps - 1) * dilation + 1
    matrix = np.zeros((*leading, block, inputs, (block - 1) * stride + span, *other_axes), dtype=weights.dtype)
    for position in range(block):
        taken = slice(position * stride, position * stride + span, dilation)
        rows: Any = (..., position, slice(None), taken, *map(slice, other_axes))
        matrix[rows] = weights
    return matrix
