"""A layer as a linear map from its weights to the blocks of its matrix, with the transpose of that map."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from convmatrix.spectral.blocks import joined_order, multiplicities
from convmatrix.weights import group_weights, ungroup_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convmatrix.arrays import Array
    from convmatrix.spectral.axis_transforms import AxisTransform
    from convmatrix.spectral.blocks import WeightedLayer


@dataclass(frozen=True, eq=False)
class BlockMap:
    """A layer as a linear map from its weights to blocks, under transforms of its axes.

    Attributes
    ----------
    layer : WeightedLayer
    axes : tuple of AxisTransform
    """

    layer: WeightedLayer
    axes: tuple[AxisTransform, ...]

    @cached_property
    def symbols(self) -> list[Array]:
        """For each axis, the blocks of its weights, shape (frequencies, output phases, input phases, weights)."""
        found = []
        for axis in self.axes:
            phases = axis.output_phases, axis.input_phases
            spread = axis.spread.toarray().reshape(*phases, axis.n_shifts, -1)
            found.append(np.einsum("fs,rcst->frct", axis.response(np.arange(axis.n_frequencies)), spread))
        return found

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """How often the block of each frequency counts: those of -f are conjugates for real weights."""
        return multiplicities(self.axes, real=self.layer.weights.dtype.kind != "c")

    @cached_property
    def grams(self) -> list[tuple[Array, Array]]:
        """Eigenvalues and eigenvectors, for each axis, of the matrix of inner products of its weights' blocks."""
        real = self.layer.weights.dtype.kind != "c"
        grams = [np.einsum("frct,frcu->tu", symbol.conj(), symbol) for symbol in self.symbols]
        return [np.linalg.eigh(gram.real if real else gram) for gram in grams]

    @property
    def factor(self) -> float:
        """The largest number by which the map to all blocks stretches squared norms of weights."""
        return math.prod(float(values[-1]) for values, _ in self.grams)

    @property
    def block_shape(self) -> tuple[int, int]:
        """Rows and columns of a block."""
        return self.layer.block_shape(self.axes)

    @property
    def work(self) -> float:
        """Approximate number of multiplications of a step."""
        small, large = sorted(map(float, self.block_shape))
        frequencies = np.count_nonzero(self.counts)
        return 4.0 * self.layer.channels[0] * frequencies * small * small * (large + 4 * small)

    @property
    def entries(self) -> float:
        """Number of entries of all blocks."""
        rows, columns = self.block_shape
        return float(self.layer.channels[0]) * math.prod(axis.n_frequencies for axis in self.axes) * rows * columns

    def blocks(self, weights: Array) -> Array:
        """Return the distinct blocks of some weights, shape (blocks, rows, columns)."""
        n = len(self.axes)
        array = self._arranged(weights)
        for symbol in self.symbols:  # each axis in turn is the fourth, and is moved to the end
            array = np.tensordot(array, symbol, axes=(3, 3))
        # (groups, outputs, inputs, then frequencies, output phases and input phases of each axis)
        first = [3 + 3 * axis for axis in range(n)]
        array = array.transpose(*first, 0, 1, *(f + 1 for f in first), 2, *(f + 2 for f in first))
        rows, columns = self.block_shape
        return np.ascontiguousarray(array[self.counts > 0]).reshape(-1, rows, columns)

    def solve(self, weights: Array, penalty: float) -> Array:
        """Return the solution v of v + penalty * adjoint(blocks(v)) = weights."""
        array = self._arranged(weights)
        products = np.ones(1)
        for values, vectors in self.grams:  # each axis in turn is the fourth, and is moved to the end
            array = np.tensordot(array, vectors.conj(), axes=(3, 0))
            products = np.multiply.outer(products, values)
        array = array / (1 + penalty * products[0])
        for _, vectors in self.grams:
            array = np.tensordot(array, vectors, axes=(3, 1))
        return self._restored(array)

    def _arranged(self, weights: Array) -> Array:
        """Return weights as (groups, outputs, inputs, then the weights of each axis, its tile and taps together)."""
        array = group_weights(self.layer.geometry, weights).transpose(joined_order(len(self.axes)))
        return array.reshape(*array.shape[:3], *(symbol.shape[-1] for symbol in self.symbols))

    def _restored(self, array: Array) -> Array:
        """Return the inverse of `_arranged`."""
        shape, order = self.layer.grouped.shape, joined_order(len(self.axes))
        grouped = array.reshape([shape[place] for place in order]).transpose(np.argsort(order))
        return ungroup_weights(self.layer.geometry, grouped)

    def adjoint(self, blocks: Array) -> Array:
        """Return the transpose of `blocks`, for the sum of inner products over all frequencies."""
        n, (groups, outputs, inputs) = len(self.axes), self.layer.channels
        rows, columns = [a.output_phases for a in self.axes], [a.input_phases for a in self.axes]
        counts = self.counts[self.counts > 0]
        weighted = blocks.reshape(len(counts), groups, -1) * counts[:, None, None]
        full = np.zeros((*self.counts.shape, *weighted.shape[1:]), dtype=blocks.dtype)
        full[self.counts > 0] = weighted
        full = full.reshape(*self.counts.shape, groups, outputs, *rows, inputs, *columns)
        channels = [n, n + 1, 2 + 2 * n]
        order = [place for a in range(n) for place in (a, n + 2 + a, 2 * n + 3 + a)]
        full = full.transpose(*channels, *order)
        for symbol in self.symbols:
            full = np.tensordot(full, symbol.conj(), axes=((3, 4, 5), (0, 1, 2)))
        return self._restored(full if self.layer.weights.dtype.kind == "c" else full.real)
