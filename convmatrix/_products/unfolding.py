"""Correlation of a batch by dense products with partly unfolded samples (memory-efficient convolution)."""

from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.lib.stride_tricks import as_strided

from convmatrix._products.correlation import reversed_weights

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from convmatrix.arrays import Array

_ENTRIES: Final = 2**22  # entries unfolded at a time: they fit in a large cache, and products use several threads
_FEW_OUTPUTS: Final = 8


class UnfoldedCorrelation:
    r"""The sum over taps of weights times samples, for one shared kernel.

    .. math:: y_{g,o,p} = \sum_{c,t} W_{g, o, c, t} \; x_{g,\, c,\, p \cdot stride + t \cdot dilation - low}

    Arrays are ``(groups, channels, *spatial, batch)``; x is zero beyond its ends.

    Samples are unfolded along all axes but the first, with rows of the first axis outermost. A row of outputs then
    reads one contiguous block of rows, which overlaps with the block of the next row of outputs, so that the taps of
    the first axis need no copies: M. Cho and D. Brand, MEC: memory-efficient convolution, ICML 2017.

    Parameters
    ----------
    weights : array, shape (groups, outputs, inputs, *kernel)
    samples, positions, stride, dilation, low : sequence of int
        One number per spatial axis: samples of x, outputs, stride, dilation, and zeros in front of x.
    """

    def __init__(
        self,
        weights: Array,
        samples: Sequence[int],
        positions: Sequence[int],
        stride: Sequence[int],
        dilation: Sequence[int],
        low: Sequence[int],
    ) -> None:
        self.groups, self.outputs, self.inputs, *kernel = weights.shape
        self.weights = weights
        self.kernel, self.samples, self.positions = tuple(kernel), tuple(samples), tuple(positions)
        self.stride, self.dilation, self.low = tuple(stride), tuple(dilation), tuple(low)
        # Taps outermost, as in the unfolded rows: (groups, outputs, taps * inputs).
        self.matrix = np.moveaxis(weights, 2, -1).reshape(self.groups, self.outputs, -1)
        self.is_pointwise = math.prod(self.kernel) == 1 and self.samples == self.positions and not any(self.low)

    @staticmethod
    def fits(kernel: Sequence[int], positions: Sequence[int], dilation: Sequence[int], outputs: int) -> bool:
        """Return whether this method applies to a layer and is faster, as for several outputs and long rows."""
        return (kernel[0] == 1 or dilation[0] == 1) and outputs >= 4 and (len(kernel) > 1 or positions[0] == 1)

    def forward(self, x: Array) -> Array:
        """Return the correlation y."""
        y = np.empty((self.groups, self.outputs, *self.positions, x.shape[-1]), dtype=x.dtype)
        if self.is_pointwise:
            np.matmul(self.matrix, self._flat(x), out=self._flat(y))
            return y
        for rows, windows in self._unfolded(x):
            self._multiply(windows, self._by_row(y)[:, rows])
        return y

    def _multiply(self, windows: Array, y: Array) -> None:
        """Write the product of the matrix and windows to y, (groups, rows, outputs, other positions * batch)."""
        count = y.shape[1]
        pairs = count // 2 if self.outputs <= _FEW_OUTPUTS and self.stride[0] == 1 else 0
        if pairs:
            # Two rows of outputs share one longer window, because products with few rows are slow.
            width = self.matrix.shape[-1]
            step = width // self.kernel[0]
            both = np.zeros((self.groups, 2 * self.outputs, width + step), dtype=y.dtype)
            both[:, : self.outputs, :width] = self.matrix
            both[:, self.outputs :, step:] = self.matrix
            group, row, *inner = windows.strides
            shape = (self.groups, pairs, width + step, windows.shape[-1])
            shared = as_strided(windows, shape, (group, 2 * row, *inner))
            values = np.matmul(both[:, None], shared)  # (groups, pairs, both rows of outputs, columns)
            y[:, : 2 * pairs] = values.reshape(self.groups, 2 * pairs, self.outputs, windows.shape[-1])
        if 2 * pairs < count:
            np.matmul(self.matrix[:, None], windows[:, 2 * pairs :], out=y[:, 2 * pairs :])

    def weight_gradient(self, x: Array, g: Array) -> Array:
        """Return the gradient of ``sum(g * y)`` with respect to the weights."""
        total = np.zeros((self.groups, self.matrix.shape[-1], self.outputs), dtype=x.dtype)  # tall is faster
        if self.is_pointwise:
            np.matmul(self._flat(x), self._flat(g).swapaxes(-1, -2), out=total)
        else:
            for rows, windows in self._unfolded(x):
                total += np.matmul(windows, self._by_row(g)[:, rows].swapaxes(-1, -2)).sum(axis=1)
        shaped = total.reshape(self.groups, *self.kernel, self.inputs, self.outputs)
        return np.moveaxis(shaped, (-1, -2), (1, 2))

    def input_gradient(self, g: Array) -> Array:
        """Return the transpose of `forward` times g."""
        if self.is_pointwise:
            x = np.empty((self.groups, self.inputs, *self.samples, g.shape[-1]), dtype=g.dtype)
            np.matmul(self.matrix.swapaxes(-1, -2), self._flat(g), out=self._flat(x))
            return x
        mirror = self._mirror()
        return self._fold(g) if mirror is None else mirror.forward(g)

    def _mirror(self) -> UnfoldedCorrelation | None:
        """Return the transpose as a correlation with the reversed kernel, if that is less work."""
        lows = tuple((k - 1) * d - low for k, d, low in zip(self.kernel, self.dilation, self.low, strict=True))
        if max(self.stride) > 1 or min(lows) < 0 or math.prod(self.samples) > 2 * math.prod(self.positions):
            return None
        weights = reversed_weights(self.weights, len(self.kernel))
        return UnfoldedCorrelation(weights, self.positions, self.samples, self.stride, self.dilation, lows)

    def _fold(self, g: Array) -> Array:
        """Return the transpose times g, summed over rows of outputs."""
        batch = g.shape[-1]
        x = np.zeros((self.groups, self.inputs, *self.samples, batch), dtype=g.dtype)
        by_row, transposed = self._by_row(g), self.matrix.swapaxes(-1, -2)
        source = x.swapaxes(1, 2)  # (groups, rows, inputs, ...)
        rest = self.positions[1:]
        for position in range(self.positions[0]):
            columns = np.matmul(transposed, by_row[:, position])
            columns = columns.reshape(self.groups, *self.kernel, self.inputs, *rest, batch)
            for tap in product(*map(range, self.kernel)):
                row = position * self.stride[0] + tap[0] * self.dilation[0] - self.low[0]
                if 0 <= row < self.samples[0]:
                    near, far = self._ranges(tap[1:])
                    there: Any = (slice(None), row, slice(None), *far)
                    here: Any = (slice(None), *tap, slice(None), *near)
                    source[there] += columns[here]
        return x

    def _unfolded(self, x: Array) -> Iterator[tuple[slice, Array]]:
        """Yield rows of outputs and their windows, (groups, rows, taps * inputs, other positions * batch).

        The array of windows is reused for the next rows.
        """
        taps, rest, batch = self.kernel[1:], self.positions[1:], x.shape[-1]
        columns = math.prod(rest) * batch
        row_entries = self.groups * math.prod(taps) * self.inputs * columns
        window, step = self.kernel[0], self.stride[0]
        fitting = (_ENTRIES // max(row_entries, 1) - window) // step + 1
        n_rows = max(min(fitting, self.positions[0]), 1)
        depth = (n_rows - 1) * step + window
        buffer = np.empty((self.groups, depth, *taps, self.inputs, *rest, batch), dtype=x.dtype)
        height = math.prod(taps) * self.inputs
        item = buffer.itemsize
        for start in range(0, self.positions[0], n_rows):
            count = min(n_rows, self.positions[0] - start)
            self._unfold_rows(x, start * step - self.low[0], buffer[:, : (count - 1) * step + window])
            shape = (self.groups, count, window * height, columns)
            strides = (depth * height * columns * item, step * height * columns * item, columns * item, item)
            yield slice(start, start + count), as_strided(buffer, shape, strides)

    def _unfold_rows(self, x: Array, first: int, buffer: Array) -> None:
        """Write the rows of x from ``first`` on, unfolded along all other axes."""
        inside = slice(max(-first, 0), max(min(self.samples[0] - first, buffer.shape[1]), max(-first, 0)))
        buffer[:, : inside.start] = 0
        buffer[:, inside.stop :] = 0
        source = x.swapaxes(1, 2)[:, first + inside.start : first + inside.stop]  # (groups, rows, inputs, ...)
        for tap in product(*map(range, self.kernel[1:])):
            own: Any = (slice(None), inside, *tap)
            target = buffer[own]  # (groups, rows, inputs, ...)
            near, far = self._ranges(tap)
            for axis, (read, size) in enumerate(zip(near, self.positions[1:], strict=True)):
                before: Any = (slice(None),) * (3 + axis)
                if read.start > 0:
                    target[(*before, slice(0, read.start))] = 0
                if read.stop < size:
                    target[(*before, slice(read.stop, None))] = 0
            here: Any = (slice(None), slice(None), slice(None), *near)
            there: Any = (slice(None), slice(None), slice(None), *far)
            target[here] = source[there]

    def _ranges(self, tap: Sequence[int]) -> tuple[list[slice], list[slice]]:
        """Return, for all axes but the first, the positions at which a tap reads samples, and those samples."""
        near, far = [], []
        sizes = (self.samples, self.positions, self.stride, self.dilation, self.low)
        axes = zip(tap, *(size[1:] for size in sizes), strict=True)
        for t, n, count, stride, dilation, low in axes:
            offset = t * dilation - low
            start = min(max(-(offset // stride), 0), count)
            stop = max(min((n - 1 - offset) // stride + 1, count), start)
            near.append(slice(start, stop))
            first = start * stride + offset
            far.append(slice(first, first + (stop - start - 1) * stride + 1, stride) if stop > start else slice(0, 0))
        return near, far

    def _flat(self, array: Array) -> Array:
        """Return (groups, channels, *spatial, batch) as a stack of matrices."""
        return array.reshape(*array.shape[:2], -1)

    def _by_row(self, array: Array) -> Array:
        """Return a view of (groups, channels, rows, ...) as (groups, rows, channels, others)."""
        return array.reshape(*array.shape[:3], -1).swapaxes(1, 2)
