"""A layer in the frequency domain: one small matrix per frequency, without the layer's own matrix."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cache, cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, TypeVar, Unpack

import numpy as np

from convmatrix import memory
from convmatrix.arrays import EPSILON, scaled_to_one
from convmatrix.geometry import given_geometry
from convmatrix.options import as_array, weight_array
from convmatrix.progress import report_step
from convmatrix.spectral.axis_transforms import (
    AxisTransform,
    axis_transform,
    has_affine,
    is_centred,
    most_reads,
    multiply_along,
    transform_name,
)
from convmatrix.weights import group_weights

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from convmatrix.arrays import Array
    from convmatrix.geometry import ConvGeometry
    from convmatrix.options import LayerOptions
    from convmatrix.spectral.axis_transforms import TransformName

Item = TypeVar("Item")
Result = TypeVar("Result")

MODERATE_WORK: Final = 2e11
"""Maximum number of multiplications that are spent without an explicit request: about ten seconds."""

_CHUNK: Final = 2**26  # bytes of blocks computed at a time
_PIECE: Final = 2**18  # minimum number of bytes of blocks per core
_POWERS: Final = 4  # of the Gram matrices, to find those with large eigenvalues
_LARGE_GRAM: Final = 128  # rows of matrices for which half of a product saves time
_BATCH_ENTRIES: Final = 2**12  # of matrices that are decomposed together


@dataclass(frozen=True, eq=False)
class WeightedLayer:
    """A layer with its weights, in double precision and finite; see `read_layer`."""

    geometry: ConvGeometry
    weights: Array

    @cached_property
    def grouped(self) -> Array:
        """The weights in the layout of a correlation, shape (*tile, groups, outputs, inputs, *kernel)."""
        return group_weights(self.geometry, self.weights)

    def scaled(self) -> tuple[WeightedLayer, float]:
        """Return the layer with weights of modulus at most one, and a power of two that makes up for it.

        Products of the scaled weights neither over- nor underflow. A layer of zeros is returned as it is.
        """
        weights, scale = scaled_to_one(self.weights)
        return WeightedLayer(self.geometry, weights), scale

    @property
    def channels(self) -> tuple[int, int, int]:
        """Number of groups, and of outputs and inputs of a group."""
        n = len(self.geometry.kernel_shape)
        groups, outputs, inputs = self.grouped.shape[n : n + 3]
        return groups, outputs, inputs

    def block_shape(self, axes: Sequence[AxisTransform]) -> tuple[int, int]:
        """Return the number of rows and columns of a block under given transforms of the axes."""
        _, outputs, inputs = self.channels
        rows = outputs * math.prod(axis.output_phases for axis in axes)
        return rows, inputs * math.prod(axis.input_phases for axis in axes)

    @cached_property
    def transform_names(self) -> tuple[TransformName, ...]:
        """The transform that diagonalises each axis, or ``"dense"``."""
        pairs = zip(self.geometry.axes, self._symmetric, strict=True)
        return tuple(transform_name(axis, symmetric=symmetric) for axis, symmetric in pairs)

    @cached_property
    def similar_names(self) -> tuple[TransformName, ...]:
        """The same, or ``"affine"`` where an antireflective axis has known eigenvectors that are not orthogonal."""
        found = zip(self.geometry.axes, self._symmetric, self.transform_names, strict=True)
        return tuple("affine" if name == "dense" and s and has_affine(axis) else name for axis, s, name in found)

    @cached_property
    def _symmetric(self) -> tuple[bool, ...]:
        """Whether all kernels are symmetric along each axis, which matters on centred axes only."""
        n, kernels = len(self.geometry.kernel_shape), self.grouped
        return tuple(
            is_centred(axis) and np.array_equal(kernels, np.flip(kernels, axis=number - n))
            for number, axis in enumerate(self.geometry.axes)
        )

    def transforms(self, names: Sequence[TransformName] | None = None) -> list[AxisTransform]:
        """Return the transform of each axis, by default that of `transform_names`."""
        names = self.transform_names if names is None else names
        return [axis_transform(axis, name) for axis, name in zip(self.geometry.axes, names, strict=True)]

    @property
    def decomposition_work(self) -> float:
        """Approximate number of multiplications for computing all singular values."""
        return self.work_of(self.transform_names)

    def work_of(self, names: Sequence[TransformName]) -> float:
        """Return the approximate number of multiplications for decomposing all blocks under given transforms."""
        groups, outputs, inputs = (float(size) for size in self.channels)
        frequencies = 1.0
        for axis, name in zip(self.geometry.axes, names, strict=True):
            if name == "fourier":
                frequencies *= axis.n_outputs // axis.tile
                outputs, inputs = outputs * axis.tile, inputs * axis.stride * axis.tile
            elif name != "dense":
                frequencies *= axis.n_samples
            else:
                outputs, inputs = outputs * axis.n_outputs, inputs * axis.n_samples
        return 4 * frequencies * groups * outputs * inputs * min(outputs, inputs)

    @property
    def schur_number(self) -> float:
        """A bound on the norm of the layer of moduli: the root of the largest sums of rows and columns.

        Columns are those of the channels, times the squared norm of the matrix by which a tap reads samples: with the
        outputs y = sum_t |w_t| (P_t x), the Cauchy-Schwarz inequality over the taps and channels of each output leaves
        the sum of its weights and a sum of |w_t| (P_t x)^2.
        """
        n = len(self.geometry.kernel_shape)
        moduli = np.abs(self.grouped).sum(axis=tuple(range(-n, 0)))  # (*tile, groups, outputs, inputs)
        reads = math.prod(float(single) for _, single in map(most_reads, self.geometry.axes))
        rows = float(moduli.sum(axis=-1).max())
        columns = float(moduli.sum(axis=tuple(range(n))).sum(axis=-2).max()) * reads
        return math.sqrt(rows * columns) * (1 + 16 * self.weights.size * EPSILON)


def read_layer(
    kernel: ArrayLike, input_shape: int | Sequence[int] | ConvGeometry, **layer: Unpack[LayerOptions]
) -> WeightedLayer:
    """Return the layer described by the arguments of `convmatrix.conv_matrix` and all options of a layer."""
    weights = as_array(kernel)
    geometry = given_geometry(weights.shape, input_shape, layer)
    weights = weight_array(weights, geometry.weight_shape, geometry)
    weights = weights.astype(np.complex128 if weights.dtype.kind == "c" else np.float64)
    if not np.isfinite(weights).all():
        bad = int(np.size(weights) - np.isfinite(weights).sum())
        raise ValueError(f"the kernel has {bad} infinite or NaN entries, for which no spectrum exists; replace them")
    return WeightedLayer(geometry, weights)


@dataclass(frozen=True, eq=False)
class Blocks:
    """The blocks of a layer: ``A = (basis of the outputs) diag(B_f) (basis of the inputs)^H`` in each channel group.

    For a transposed layer, the blocks are those of the underlying convolution.

    Attributes
    ----------
    axes : tuple of AxisTransform
    taps : array, shape (*shifts, groups, outputs, inputs)
        Outputs are (channel, *output phases), inputs (channel, *input phases).
    """

    axes: tuple[AxisTransform, ...]
    taps: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of frequencies along each axis."""
        return tuple(axis.n_frequencies for axis in self.axes)

    @property
    def block_shape(self) -> tuple[int, int]:
        """Rows and columns of a block."""
        return self.taps.shape[-2], self.taps.shape[-1]

    @property
    def n_groups(self) -> int:
        """Number of blocks per frequency."""
        return int(self.taps.shape[-3])

    def negate(self, array: Array) -> Array:
        """Return an array of shape (*frequencies, ...) with frequency -f in place of f."""
        return _negated(self.axes, array)

    @cached_property
    def multiplicity(self) -> NDArray[np.int64]:
        """How often the block of each frequency is counted, shape `shape`; see `multiplicities`."""
        return multiplicities(self.axes, real=self.taps.dtype.kind != "c")

    @cached_property
    def _transformed(self) -> Array:
        """The taps with all axes transformed, including the first one only if it yields all frequencies at once."""
        array = self.taps
        for number in reversed(range(0 if self.axes[0].is_fast else 1, len(self.axes))):
            array = self.axes[number].apply(array, number)
        return array

    def rounding(self) -> float:
        """Return a bound on the 2-norm of the error of any block, from the moduli of the weights."""
        units = sum(axis.rounding() for axis in self.axes)
        sums = np.abs(self.taps).sum(axis=tuple(range(len(self.axes))))  # (groups, outputs, inputs)
        largest = float(frobenius_norms(sums).max())
        return units * EPSILON * largest * (2 if self.taps.dtype.kind == "c" else 1)

    def at(self, first: Sequence[int] | NDArray[np.int64]) -> Array:
        """Return the blocks of some frequencies of the first axis: (frequencies, *rest, groups, outputs, inputs)."""
        index = np.asarray(first, dtype=np.int64)
        if self.axes[0].is_fast:
            return np.asarray(self._transformed[index])
        return multiply_along(self.axes[0].response(index), self._transformed, 0)

    def chunks(self, *, distinct: bool) -> list[NDArray[np.int64]]:
        """Return the frequencies of the first axis in chunks of moderate size; with ``distinct``, those that count."""
        size = math.prod((*self.shape[1:], *self.taps.shape[-3:])) * 16
        what = f"the blocks of {math.prod(self.shape)} frequencies, each {self.n_groups} x {self.block_shape},"
        remedy = "use spectral_norm or norm_bounds, which need fewer, or a smaller layer"
        memory.require(16 * self.shape[0], what, remedy)
        first = np.arange(self.shape[0])
        if distinct:
            first = first[self.multiplicity.reshape(len(first), -1).any(axis=1)]
        n_chunks = min(max(-(-len(first) * size // _CHUNK), 1), len(first))
        needed = size * (self.axes[0].n_shifts + 2 * -(-len(first) // n_chunks))
        if needed >= memory.NEGLIGIBLE:
            memory.require(needed, what, remedy)
        _ = self._transformed  # computed here so that threads do not each compute it
        return np.array_split(first, n_chunks)

    def map(self, function: Callable[[Array, NDArray[np.int64]], Result]) -> list[Result]:
        """Return ``function(blocks, multiplicities)`` for parts of all distinct blocks, computed on all cores.

        The blocks have the shape (n, groups, outputs, inputs). `MAP_CHUNKS` may compute them elsewhere.
        """
        chunks = self.chunks(distinct=True)
        return [result for results in MAP_CHUNKS.get()(self, function, chunks) for result in results]

    def map_chunk(
        self, function: Callable[[Array, NDArray[np.int64]], Result], first: NDArray[np.int64]
    ) -> list[Result]:
        """Return the results of `map` for some frequencies of the first axis."""
        with single_threaded_blas():
            counts = self.multiplicity[first]
            blocks, counts = self.at(first)[counts > 0], counts[counts > 0]
            parts = n_pieces(blocks)
            pieces = list(zip(np.array_split(blocks, parts), np.array_split(counts, parts), strict=True))
            return on_cores(lambda piece: function(*piece), pieces)

    def __reduce__(self) -> tuple[Any, ...]:
        return Blocks, (self.axes, self.taps)  # without cached values

    def all(self) -> Array:
        """Return the blocks of all frequencies, shape (*shape, groups, outputs, inputs)."""
        return np.concatenate([self.at(first) for first in self.chunks(distinct=False)])

    def counted(self) -> Array:
        """Return the blocks of all frequencies whose `multiplicity` is not 0, shape (n, groups, outputs, inputs)."""
        chunks = self.chunks(distinct=True)
        return np.concatenate([self.at(first)[self.multiplicity[first] > 0] for first in chunks])

    def joined(self) -> Array:
        """Return the blocks of all frequencies, groups on the diagonal: (*shape, groups * outputs, groups * inputs)."""
        blocks = self.all()
        groups, rows, columns = blocks.shape[-3:]
        result = np.zeros((*self.shape, groups, rows, groups, columns), dtype=blocks.dtype)
        for group in range(groups):
            result[..., group, :, group, :] = blocks[..., group, :, :]
        return result.reshape(*self.shape, groups * rows, groups * columns)

    def norm(self) -> float:
        """Return the largest singular value of all blocks; see `largest_singular_value`."""
        return self._distinct()._largest(largest_singular_value)

    def _largest(self, of_stack: Callable[[Array, float], float]) -> float:
        """Return the largest value of all blocks, from a function of a stack and of a value that is exceeded."""

        def largest(matrices: Array, _: NDArray[np.int64]) -> float:
            best[0] = max(best[0], of_stack(matrices.reshape(-1, *matrices.shape[-2:]), best[0]))
            return best[0]

        best = [0.0]  # of all parts so far, on all cores
        return max(self.map(largest))

    def gram_norm(self) -> tuple[float, float]:
        r"""Return the largest singular value of all blocks on rings from their Gram matrices, and a bound on its error.

        With the taps :math:`T_a`, :math:`B_f B_f^H = \sum_k G_k e^{2 \pi i f k / F}`, :math:`G_k = \sum_a T_{a + k}
        T_a^H`, so the products are computed once for all frequencies. Their rounding limits the accuracy.
        """
        distinct = self._distinct()
        shifts = [axis.n_shifts for axis in distinct.axes]
        taps = wide(distinct.taps)
        products = np.zeros((*(2 * n - 1 for n in shifts), *taps.shape[-3:-1], taps.shape[-2]), dtype=taps.dtype)
        for one, other in itertools.product(np.ndindex(*shifts), repeat=2):
            if one >= other:
                place = tuple(n - 1 + a - b for n, a, b in zip(shifts, one, other, strict=True))
                products[place] += taps[one] @ taps[other].conj().swapaxes(-1, -2)
        for place in np.ndindex(*products.shape[: len(shifts)]):
            opposite = tuple(2 * (n - 1) - a for n, a in zip(shifts, place, strict=True))
            if place < opposite:
                products[place] = products[opposite].conj().swapaxes(-1, -2)
        axes = [replace(a, first_shift=1 - n, n_shifts=2 * n - 1) for a, n in zip(distinct.axes, shifts, strict=True)]
        square = Blocks(tuple(axes), products)._largest(largest_eigenvalue)
        sums = np.abs(taps).sum(axis=tuple(range(len(shifts))))
        units = 2 * math.prod(shifts) * taps.shape[-1] + sum(axis.rounding() for axis in axes) + 64 * taps.shape[-2]
        error = 4 * units * EPSILON * float(frobenius_norms(sums).max()) ** 2
        value = math.sqrt(square)
        return value, math.sqrt(square + error) - value

    def _distinct(self) -> Blocks:
        """Return fewer and smaller blocks with the same largest singular value.

        The weights of one shift are multiplied by a number of modulus one, and phases that no weight reads are zero.
        """
        read = np.asarray(self.taps.any(axis=tuple(range(self.taps.ndim - 2))))
        read[0, 0] |= not read.any()
        rows, columns = np.flatnonzero(read.any(axis=1)), np.flatnonzero(read.any(axis=0))
        return Blocks(tuple(axis.distinct() for axis in self.axes), self.taps[..., rows[:, None], columns])


def multiplicities(axes: Sequence[AxisTransform], *, real: bool) -> NDArray[np.int64]:
    """Return how often the block of each frequency is counted.

    With real weights the block at -f is the conjugate of the one at f, so one of them counts twice and the other
    not at all.
    """
    counts = np.ones([axis.n_frequencies for axis in axes], dtype=np.int64)
    if real:
        own = np.arange(counts.size).reshape(counts.shape)
        other = _negated(axes, own)
        counts[own < other] = 2
        counts[own > other] = 0
    return counts


def _negated(axes: Sequence[AxisTransform], array: Array) -> Array:
    """Return an array of shape (*frequencies, ...) with frequency -f in place of f."""
    for number, axis in enumerate(axes):
        array = axis.negate(array, number)
    return array


def _chunks_here(blocks: Blocks, function: Callable[..., Any], chunks: list[NDArray[np.int64]]) -> list[list[Any]]:
    """Return the results of each chunk, computed in this process one after another."""
    found = []
    for place, first in enumerate(chunks, start=1):
        found.append(blocks.map_chunk(function, first))
        report_step(place, len(chunks), "parts of the blocks")
    return found


MAP_CHUNKS: Final[ContextVar[Callable[[Blocks, Callable[..., Any], list[Any]], list[list[Any]]]]] = ContextVar(
    "MAP_CHUNKS", default=_chunks_here
)
"""How `Blocks.map` goes through its chunks; `convmatrix.distributed` sets it on a worker to share them with others."""


def layer_blocks(layer: WeightedLayer, axes: Sequence[AxisTransform] | None = None) -> Blocks:
    """Return the blocks of a layer under given transforms of its axes; by default those that diagonalise it."""
    axes = layer.transforms() if axes is None else axes
    n = len(axes)
    groups, outputs, inputs = layer.channels
    rows, columns = layer.block_shape(axes)
    needed = 2 * math.prod(axis.n_shifts for axis in axes) * groups * rows * columns * layer.grouped.itemsize
    if needed >= memory.NEGLIGIBLE:
        memory.require(
            needed,
            f"the blocks of {layer.geometry!r}, {rows} x {columns} each",
            "use spectral_norm or norm_bounds, which need no blocks",
        )
    sizes = [tile * taps for tile, taps in zip(layer.geometry.tile, layer.geometry.kernel_shape, strict=True)]
    array = layer.grouped.transpose(joined_order(n)).reshape(groups, outputs, inputs, *sizes)
    for axis in axes:  # each axis in turn is the fourth, and is moved to the end
        array = np.moveaxis(array, 3, 0)
        rest = array.shape[1:]
        array = (axis.spread @ array.reshape(len(array), -1)).reshape(
            axis.output_phases, axis.input_phases, axis.n_shifts, *rest
        )
        array = np.moveaxis(array, (0, 1, 2), (-3, -2, -1))
    order = [*(5 + 3 * a for a in range(n)), 0, 1, *(3 + 3 * a for a in range(n)), 2, *(4 + 3 * a for a in range(n))]
    shifts = tuple(axis.n_shifts for axis in axes)
    taps = np.ascontiguousarray(array.transpose(order)).reshape(*shifts, groups, rows, columns)
    return Blocks(tuple(axes), taps)


def joined_order(n_axes: int) -> list[int]:
    """Return the axes of grouped weights (*tile, groups, outputs, inputs, *taps) with tile and taps together."""
    channels = [n_axes, n_axes + 1, n_axes + 2]
    return [*channels, *(place for axis in range(n_axes) for place in (axis, n_axes + 3 + axis))]


def spread_rounding(layer: WeightedLayer, axes: Sequence[AxisTransform]) -> float:
    """Return a bound on the norm of the error of `layer_blocks` where several weights belong to one shift."""
    reads = (axis.spread.tocoo().coords[0] for axis in axes)
    merged = math.prod(int(np.unique(row, return_counts=True)[1].max(initial=1)) for row in reads)
    return 2 * merged * EPSILON * layer.schur_number if merged > 1 else 0.0


# --- stacks of matrices ----------------------------------------------------------------------------------------------


def wide(stack: Array) -> Array:
    """Return a stack of matrices if they have no more rows than columns, otherwise their adjoints."""
    return stack if stack.shape[-2] <= stack.shape[-1] else stack.conj().swapaxes(-1, -2)


def single_precision(array: Array) -> Array:
    """Return real numbers as float32, and complex ones as complex64."""
    return array.astype(np.complex64 if array.dtype.kind == "c" else np.float32)


def singular_values_of(matrices: Array) -> NDArray[np.float64]:
    """Return the singular values of each matrix in a stack."""
    if min(matrices.shape[-2:]) == 1:
        return frobenius_norms(matrices)[..., None]
    values: NDArray[np.float64] = np.linalg.svd(matrices, compute_uv=False)
    return values


def largest_singular_value(stack: Array, known: float = 0.0) -> float:
    r"""Return the largest singular value of all matrices in a stack, or ``known`` if that is larger.

    Few matrices are decomposed. For each of the others, a Cholesky factorisation of :math:`\mu^2 I - B B^H` shows that
    no singular value exceeds the largest one found: :math:`\mu` is smaller than that by the rounding errors of the
    factorisation (see `convmatrix.spectral.norm_certificates`).
    """
    scale = 2.0 ** (math.frexp(float(np.abs(stack).max(initial=0.0)))[1] - 1)
    if known >= 2 * scale * math.sqrt(stack.shape[-2] * stack.shape[-1]):  # which bounds the Frobenius norms
        return known
    if min(stack.shape[-2:]) <= 2 or scale < 1e-290:
        return max(known, float(singular_values_of(stack).max(initial=0.0)))
    stack = stack / scale
    small = wide(stack)
    gram = gram_matrices(small)
    rounding = gamma((4 if gram.dtype.kind == "c" else 1) * (small.shape[-1] + 2))
    errors = np.trace(gram, axis1=-2, axis2=-1).real * rounding * (1 + rounding)

    def largest(chosen: NDArray[np.int64]) -> float:
        return float(singular_values_of(small[chosen]).max())

    return max(known, _largest_root(gram, errors, known / scale, largest) * scale)


def gram_matrices(stack: Array) -> Array:
    """Return the product B B^H of every matrix in a stack; only one triangle of large ones is computed."""
    if stack.shape[-2] < _LARGE_GRAM:
        return np.asarray(stack @ stack.conj().swapaxes(-1, -2))
    from scipy.linalg import blas

    name = {"f": "ssyrk", "d": "dsyrk", "F": "cherk", "D": "zherk"}[stack.dtype.char]
    product, trans = getattr(blas, name), 2 if stack.dtype.kind == "c" else 1
    result = np.empty((*stack.shape[:-1], stack.shape[-2]), dtype=stack.dtype)
    for matrix, gram in zip(stack, result, strict=True):
        lower = product(1.0, matrix.T, trans=trans).T
        np.add(lower, np.tril(lower, -1).conj().T, out=gram)
    return result


def largest_eigenvalue(stack: Array, known: float = 0.0) -> float:
    """Return the largest eigenvalue of all positive semidefinite matrices in a stack, or ``known`` if it is larger.

    As in `largest_singular_value`, only a few of them are decomposed.
    """
    if stack.shape[-1] <= 2:
        return max(known, float(np.linalg.eigvalsh(stack).max(initial=0.0)))

    def largest(chosen: NDArray[np.int64]) -> float:
        return math.sqrt(max(float(np.linalg.eigvalsh(stack[chosen])[:, -1].max()), 0.0))

    found = _largest_root(stack, np.zeros(len(stack)), math.sqrt(known), largest)
    return max(known, found**2 * (1 + 2 * EPSILON))


def _largest_root(gram: Array, errors: Array, best: float, largest: Callable[[NDArray[np.int64]], float]) -> float:
    """Return the root of the largest eigenvalue of all Gram matrices, or ``best`` if it is larger.

    ``largest`` returns the value for some of them; ``errors`` are bounds on the norms of the errors of each.
    """
    size = gram.shape[-1]
    vectors, sizes = np.random.default_rng(0).standard_normal((size, 1)).astype(gram.dtype), np.ones(len(gram))
    for _ in range(_POWERS):
        vectors = gram @ (vectors / np.maximum(sizes, 1e-300)[:, None, None])
        sizes = np.linalg.norm(vectors[..., 0], axis=-1)
    order = np.argsort(-sizes)
    of_factors = 2 * gamma((4 if gram.dtype.kind == "c" else 1) * (size + 2)) * size + 2 * EPSILON
    remaining = [order[1:], order[:1]] if sizes[order[0]] > best**2 else [order]
    while remaining:
        chosen = remaining.pop()
        square = best**2 * (1 - of_factors) - float(errors[chosen].max(initial=0.0))
        if not len(chosen) or (sizes[chosen[0]] <= square and _all_below(gram[chosen], square)):
            continue
        if len(chosen) * size**2 <= max(_BATCH_ENTRIES, size**2):
            best = max(best, largest(chosen))
        else:  # those that are likely to be larger come first
            remaining += [chosen[len(chosen) // 2 :], chosen[: len(chosen) // 2]]
    return best


def _all_below(gram: Array, square: float) -> bool:
    """Return whether Cholesky factorisations of ``square * I - gram`` run to their end."""
    if square <= 0:
        return False
    shifted = -gram
    diagonal = np.arange(gram.shape[-1])
    shifted[:, diagonal, diagonal] += square
    try:
        np.linalg.cholesky(shifted)
    except np.linalg.LinAlgError:
        return False
    return True


def gamma(terms: float) -> float:
    r"""Return :math:`\gamma_k = k u / (1 - k u)`, the relative error of a sum of k products."""
    return terms * EPSILON / (2 - terms * EPSILON)


def frobenius_norms(matrices: Array) -> NDArray[np.float64]:
    """Return the Frobenius norm of each matrix in a stack, without over- or underflow."""
    scale = np.maximum(np.abs(matrices).max(axis=(-2, -1), initial=0.0), 1e-290)  # whose inverse does not overflow
    norms: NDArray[np.float64] = np.sqrt((np.abs(matrices / scale[..., None, None]) ** 2).sum(axis=(-2, -1)))
    with np.errstate(over="ignore"):  # norms above the largest float64 are infinite
        norms *= scale
    return norms


def gram_bounds(stack: Array, squarings: int) -> NDArray[np.float64]:
    r"""Return an upper bound on the largest singular value of each matrix, from powers of its Gram matrix.

    .. math:: \sigma_1(B) \le \| (B^H B)^{2^k} \|_F^{1 / 2^{k+1}}

    Delattre et al. (ICML 2023) call this the Gram iteration. The bound is inflated to allow for rounding: the relative
    error of a product of n x n matrices is at most n^2 rounding units in the norm.
    """
    scale = frobenius_norms(stack)
    safe = np.maximum(scale, 1e-290)
    matrices = stack / safe[:, None, None]
    small = wide(matrices)
    gram = small @ small.conj().swapaxes(-1, -2)
    logarithms = np.log(safe)
    power = 0.5
    for _ in range(squarings):
        size = np.maximum(frobenius_norms(gram), 1e-300)
        logarithms += power * np.log(size)
        gram /= size[:, None, None]
        gram = gram @ gram
        power /= 2
    logarithms += power * np.log(np.maximum(frobenius_norms(gram), 1e-300))
    n, inner = small.shape[-2:]
    slack = 8 * n * (inner + n + 8) * EPSILON
    bounds: NDArray[np.float64] = np.where(scale > 0, np.exp(logarithms) * (1 + slack), 0.0)
    return bounds


# --- cores -----------------------------------------------------------------------------------------------------------


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def n_pieces(stack: Array) -> int:
    """Return the number of pieces into which to split a stack of matrices so that all cores are busy."""
    return min(8 * cores(), len(stack), 1 + stack.nbytes // _PIECE)


def on_cores(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Return ``work(item)`` for every item, computed by one thread per core."""
    workers = min(cores(), len(items))
    if workers <= 1:
        return [work(item) for item in items]
    with single_threaded_blas(), ThreadPoolExecutor(workers) as pool:
        return list(pool.map(work, items))


_blas: dict[str, Any] = {"lock": Lock(), "users": 0, "limits": None}


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Limit BLAS to one thread if threadpoolctl is installed; otherwise do nothing.

    OpenBLAS uses threads even for matrices of 100 rows, and its threads and those of `on_cores` would then wait for one
    another.
    """
    controller = _blas_controller()
    if controller is None:
        yield
        return
    with _blas["lock"]:
        if _blas["users"] == 0:
            _blas["limits"] = controller.limit(limits=1, user_api="blas")
        _blas["users"] += 1
    try:
        yield
    finally:
        with _blas["lock"]:
            _blas["users"] -= 1
            if _blas["users"] == 0:
                _blas["limits"].restore_original_limits()


@cache
def _blas_controller() -> Any:
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    return ThreadpoolController()
