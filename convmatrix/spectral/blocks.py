"""A layer as one small matrix a frequency, without the layer's own matrix."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from convmatrix import memory
from convmatrix.spectral._axes import SHORT, AxisForm, Kind, apply_along, axis_form, is_ring, suits_cosines
from convmatrix.spectral._threads import cores, on_cores, single_threaded_blas
from convmatrix.weights import group_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convmatrix.geometry import ConvGeometry

    Array = NDArray[Any]

Result = TypeVar("Result")

_CHUNK = 2**26  # bytes of blocks that are made at a time


@dataclass(frozen=True, eq=False)
class Blocks:
    """The blocks of a layer: ``A = (outputs' basis) diag(B_f) (inputs' basis)^H``, a group of channels apart.

    A transposed layer has the blocks of the convolution that it transposes.

    Attributes
    ----------
    forms : tuple of AxisForm
    taps : array, shape (*shifts, groups, outputs, inputs)
        Outputs are (channel, *output phases), inputs (channel, *input phases).
    """

    forms: tuple[AxisForm, ...]
    taps: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """Frequencies an axis."""
        return tuple(form.n_frequencies for form in self.forms)

    @property
    def block_shape(self) -> tuple[int, int]:
        """Rows and columns of a block."""
        return self.taps.shape[-2], self.taps.shape[-1]

    @property
    def n_groups(self) -> int:
        """Blocks a frequency."""
        return int(self.taps.shape[-3])

    @cached_property
    def multiplicity(self) -> NDArray[np.int64]:
        """How often the block of each frequency is counted, shape `shape`.

        With real weights the block at -f is the conjugate of the one at f: one of the two counts twice, the other not
        at all.
        """
        counts = np.ones(self.shape, dtype=np.int64)
        if self.taps.dtype.kind == "c":
            return counts
        own: NDArray[np.int64] = np.arange(counts.size).reshape(self.shape)
        other = own
        for axis, form in enumerate(self.forms):
            if form.kind == "fourier":
                other = np.take(other, -np.arange(form.n_frequencies) % form.n_frequencies, axis=axis)
        counts[own < other] = 2
        counts[own > other] = 0
        return counts

    @cached_property
    def _partial(self) -> Array:
        """The taps with every axis but the first transformed."""
        array = self.taps
        for axis in reversed(range(1, len(self.forms))):
            array = self.forms[axis].transform(array, axis)
        return self.forms[0].transform(array, 0) if self._whole else array

    @property
    def _whole(self) -> bool:
        """Whether the first axis is transformed at once, for its many shifts."""
        return self.forms[0].kind == "fourier" and self.forms[0].n_shifts > SHORT

    def rounding(self) -> float:
        """Return a bound on the 2-norm of the error of any block, from the moduli of the weights."""
        units = sum(form.rounding() for form in self.forms)
        sums = np.abs(self.taps).sum(axis=tuple(range(len(self.forms))))  # (groups, outputs, inputs)
        largest = float(np.sqrt((sums**2).sum(axis=(1, 2)).max()))
        return units * float(np.finfo(float).eps) * largest * (2 if self.taps.dtype.kind == "c" else 1)

    def at(self, first: Sequence[int] | NDArray[np.int64]) -> Array:
        """Return the blocks of some frequencies of the first axis: (frequencies, *rest, groups, outputs, inputs)."""
        index = np.asarray(first, dtype=np.int64)
        if self._whole:
            return np.asarray(self._partial[index])
        return apply_along(self.forms[0].response(index), self._partial, 0)

    def chunks(self, *, distinct: bool) -> list[NDArray[np.int64]]:
        """Return ranges of first frequencies of a moderate size; with ``distinct`` those with a multiplicity only."""
        size = math.prod((*self.shape[1:], *self.taps.shape[-3:])) * 16
        first = np.arange(self.shape[0])
        if distinct:
            first = first[self.multiplicity.reshape(len(first), -1).any(axis=1)]
        n_chunks = min(max(-(-len(first) * size // _CHUNK), 1), len(first))
        memory.require(
            size * (self.forms[0].n_shifts + 2 * -(-len(first) // n_chunks)),
            f"the blocks of {math.prod(self.shape)} frequencies, each {self.n_groups} x {self.block_shape},",
            "take spectral_norm or norm_bounds, which need fewer, or a smaller layer",
        )
        return np.array_split(first, n_chunks)

    def map(self, function: Callable[[Array, NDArray[np.int64]], Result]) -> list[Result]:
        """Call ``function(blocks, multiplicities)`` for parts of all distinct blocks, on all cores.

        Blocks have the shape (n, groups, outputs, inputs); those at one frequency count as often as it is said.
        """
        results: list[Result] = []
        with single_threaded_blas():
            for first in self.chunks(distinct=True):
                counts = self.multiplicity[first]
                blocks, counts = self.at(first)[counts > 0], counts[counts > 0]
                parts = min(8 * cores(), len(blocks), 1 + blocks.nbytes // 2**18)
                pieces = list(zip(np.array_split(blocks, parts), np.array_split(counts, parts), strict=True))
                results += on_cores(lambda piece: function(*piece), pieces)
        return results


def axis_kinds(geometry: ConvGeometry, weights: Array) -> tuple[Kind, ...]:
    """Return how each axis of a layer becomes diagonal, or that it stays dense."""
    n = len(geometry.kernel_shape)
    grouped = group_weights(geometry, weights)
    kinds: list[Kind] = []
    for place, axis in enumerate(geometry.axes):
        symmetric = suits_cosines(axis) and np.array_equal(grouped, np.flip(grouped, axis=place - n))
        kinds.append("fourier" if is_ring(axis) else "cosine" if symmetric else "dense")
    return tuple(kinds)


def layer_blocks(geometry: ConvGeometry, weights: Array, forms: Sequence[AxisForm] | None = None) -> Blocks:
    """Return the blocks of a layer, exact in the forms that suit its axes, or in given ones."""
    n = len(geometry.kernel_shape)
    grouped = group_weights(geometry, weights)  # (*tile, groups, outputs, inputs, *kernel)
    if forms is None:
        kinds = axis_kinds(geometry, weights)
        forms = [axis_form(axis, symmetric=kind == "cosine") for axis, kind in zip(geometry.axes, kinds, strict=True)]
    groups, outputs, inputs = grouped.shape[n : n + 3]
    rows, columns = (math.prod(sizes) for sizes in zip(*((f.n_outputs, f.n_inputs) for f in forms), strict=True))
    n_shifts = math.prod(form.n_shifts for form in forms)
    memory.require(
        2 * n_shifts * groups * outputs * rows * inputs * columns * grouped.itemsize,
        f"the blocks of {geometry!r}, {outputs * rows} x {inputs * columns} each",
        "use spectral_norm or norm_bounds, which need no blocks",
    )
    joined = [n, n + 1, n + 2]
    for axis in range(n):
        joined += [axis, n + 3 + axis]
    sizes = [tile * taps for tile, taps in zip(geometry.tile, geometry.kernel_shape, strict=True)]
    array = grouped.transpose(joined).reshape(groups, outputs, inputs, *sizes)
    for form in forms:  # the axis in turn is the fourth; what it becomes goes to the end
        array = np.moveaxis(array, 3, 0)
        rest = array.shape[1:]
        array = (form.spread @ array.reshape(len(array), -1)).reshape(
            form.n_outputs, form.n_inputs, form.n_shifts, *rest
        )
        array = np.moveaxis(array, (0, 1, 2), (-3, -2, -1))
    order = [*(5 + 3 * a for a in range(n)), 0, 1, *(3 + 3 * a for a in range(n)), 2, *(4 + 3 * a for a in range(n))]
    shifts = tuple(form.n_shifts for form in forms)
    taps = np.ascontiguousarray(array.transpose(order)).reshape(*shifts, groups, outputs * rows, inputs * columns)
    return Blocks(tuple(forms), taps)
