"""Products with the explicit matrix of a weight pattern, on all cores: forward, transposed, and with the gradient."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from scipy import sparse

from convmatrix import memory
from convmatrix.arrays import gather
from convmatrix.nn.layer import TrainingProduct
from convmatrix.spectral.blocks import cores, single_threaded_blas

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from convmatrix.arrays import Array
    from convmatrix.pattern import WeightPattern

_GATHERED: Final = 2**16  # entries of samples that a block product gathers at a time; they then stay in the cache
_LISTED: Final = 2**20  # entries of a pattern rearranged at a time, to bound memory use
_DENSE_ENTRIES: Final = 48  # entries of a block above which a dense product is faster than SciPy's sparse one
_WORTH_THREADS: Final = 2**20  # multiplications above which several threads are faster than one
_BLAS_THREADS: Final = 2**17  # multiplications of a dense product for which BLAS may start threads of its own
_RUN: Final = 2**10  # terms added in the precision of the samples; they also fit in the cache
_MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)


class MatrixMultiplication:
    r"""The explicit matrix A(w), with a value for each stored entry, which is replaced when the weights change.

    The values are stored in blocks of rows that have the same columns, such as the rows of all output channels at one
    position: a product gathers the samples of a block once and multiplies them by a dense matrix. Other rows are
    multiplied one by one, on all cores if Numba is installed, and otherwise by SciPy on one core.

    The terms of a sum are not added in the order of SciPy's product. Both results are within
    :math:`\gamma_n A(|w|) |x|` of the exact one, with :math:`\gamma_n = n u / (1 - n u)` for rows of n entries and the
    unit roundoff u (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1). Products with A and its
    transpose do not depend on the number of threads. For the weight gradient, each thread of the compiled loops adds up
    to 1024 terms in the precision of the samples, and these sums in double precision.
    ``input_shape`` and ``output_shape`` are those of one sample.
    """

    def __init__(self, pattern: WeightPattern, input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> None:
        self.pattern, self.input_shape, self.output_shape = pattern, input_shape, output_shape
        self._matrix: Any = None

    def matrix(self, weight: Array) -> Any:
        """Return A(w) as a SciPy array: the same object every time, with new values."""
        if self._matrix is None or self._matrix.dtype != weight.dtype:
            self._matrix = self.pattern.matrix(weight)
        else:
            self.pattern.values(weight, out=self._matrix.data)
        return self._matrix

    def forward(self, weight: Array, x: Array) -> Array:
        """Return A(w) x."""
        product = self._by_row.product(self._products(weight), x.reshape(self.pattern.shape[1], -1))
        return product.reshape(*self.output_shape, x.shape[-1])

    def input_gradient(self, weight: Array, g: Array) -> Array:
        """Return A(w)^T g."""
        product = self._by_column.product(self._products(weight), g.reshape(self.pattern.shape[0], -1))
        return product.reshape(*self.input_shape, g.shape[-1])

    def weight_gradient(self, x: Array, g: Array) -> Array:
        """Return the gradient with respect to the weights, by one inner product over the batch per triplet."""
        n_out, n_in = self.pattern.shape
        pattern, weights, factors = self.pattern.separated
        gradient = self._by_row.weight_gradient(x.reshape(n_in, -1), g.reshape(n_out, -1), pattern.n_weights)
        if pattern is not self.pattern:
            total = np.zeros(self.pattern.n_weights, dtype=gradient.dtype)
            np.add.at(total, weights, gradient * factors.astype(gradient.dtype))
            gradient = total
        return gradient.reshape(self.pattern.weight_shape)

    def _products(self, weight: Array) -> Array:
        """Return the products of coefficients and weights, which are the weights of the separated pattern."""
        pattern, weights, factors = self.pattern.separated
        return weight if pattern is self.pattern else weight.reshape(-1)[weights] * factors.astype(weight.dtype)

    def products(self, layer: str) -> list[TrainingProduct]:
        """Return the three products of the explicit matrix."""
        nonzeros = self.pattern.matrix(np.zeros(self.pattern.weight_shape, dtype=np.int8)).nnz
        steps = (
            ("forward", "A @ X", nonzeros),
            ("weight gradient", "T contracted with G and X", self.pattern.n_entries),
            ("input gradient", "A.T @ G", nonzeros),
        )
        return [TrainingProduct(layer, step, formula, self.pattern.shape, adds, adds) for step, formula, adds in steps]

    @cached_property
    def _by_row(self) -> _BlockedMatrix:
        p = self.pattern.separated.pattern
        return _BlockedMatrix(p.row_starts, p.cols, p.weight_index)

    @cached_property
    def _by_column(self) -> _BlockedMatrix:
        p = self.pattern.separated.pattern
        triplets: Any = sparse.csr_array((p.weight_index, p.cols, p.row_starts), shape=p.shape)
        by_column = triplets.tocsc()  # keeps several weights at one entry apart
        return _BlockedMatrix(by_column.indptr, by_column.indices, by_column.data)


@dataclass(frozen=True)
class _Stack:
    """A stack of m dense blocks of equal size, each with r rows that have the same k columns.

    Entries are ordered (block, row, column); the first one is at ``begin`` among the values of the matrix. A block
    that ``continues`` has the weights of the block before, in the next rows and columns.
    """

    rows: NDArray[np.intp]  # (m, r)
    columns: NDArray[np.intp]  # (m, k)
    continues: NDArray[np.bool_]  # (m,)
    begin: int

    @property
    def block_shape(self) -> tuple[int, int]:
        """Numbers of rows and columns of a block."""
        return self.rows.shape[1], self.columns.shape[1]

    @property
    def end(self) -> int:
        """The place after the last entry."""
        return self.begin + len(self.rows) * math.prod(self.block_shape)

    @property
    def is_dense(self) -> bool:
        """Whether the samples of a block are worth gathering for a dense product."""
        return self.block_shape[0] > 1 and math.prod(self.block_shape) >= _DENSE_ENTRIES

    def chunks(self, batch: int) -> list[_Stack]:
        """Return smaller stacks whose samples fit in the cache."""
        return self._cut(_GATHERED // (sum(self.block_shape) * max(batch, 1)))

    def split(self, parts: int) -> list[_Stack]:
        """Return about the given number of stacks of equal size."""
        return self._cut(-(-len(self.rows) // parts))

    def _cut(self, step: int) -> list[_Stack]:
        step, entries = max(step, 1), math.prod(self.block_shape)
        parts = [slice(start, start + step) for start in range(0, len(self.rows), step)]
        return [
            _Stack(self.rows[part], self.columns[part], self.continues[part], self.begin + part.start * entries)
            for part in parts
        ]

    def as_csr(self, blocks: Array, n_columns: int) -> Any:
        """Return the rows as a SciPy array, in the order of the stack."""
        rows, columns = self.block_shape
        indices = np.repeat(self.columns, rows, axis=0).ravel()
        starts = np.arange(0, len(indices) + 1, columns)
        return sparse.csr_array((blocks.ravel(), indices, starts), shape=(len(starts) - 1, n_columns))


class _BlockedMatrix:
    """A sparse matrix whose entries are weights, as stacks of dense blocks; made of triplets as in `WeightPattern`."""

    def __init__(
        self, starts: NDArray[np.integer], columns: NDArray[np.integer], weight_index: NDArray[np.integer]
    ) -> None:
        memory.require(
            len(columns) * (weight_index.itemsize + 8),
            f"the explicit matrix with {len(columns)} entries",
            'use method="unfold", which forms no matrix',
        )
        self.n_rows = len(starts) - 1
        self.weight_index = np.empty(len(columns), dtype=weight_index.dtype)  # of each entry, block by block
        self.stacks: list[_Stack] = []
        place = 0
        for rows in _equal_rows(np.asarray(starts), columns):
            first = starts[rows[:, 0]].astype(np.intp)
            count = int(starts[rows[0, 0] + 1]) - int(first[0])
            listed = columns[first[:, None] + np.arange(count)].astype(np.intp)
            stack = _Stack(rows, listed, np.zeros(len(rows), dtype=bool), place)
            for chunk in stack.chunks(1):
                entries = starts[chunk.rows].astype(np.intp)[:, :, None] + np.arange(count)
                index = weight_index[entries.reshape(len(entries), -1)]
                self.weight_index[chunk.begin : chunk.end] = index.ravel()
                chunk.continues[1:] = (index[1:] == index[:-1]).all(axis=1)
                for places in (chunk.rows, chunk.columns):
                    chunk.continues[1:] &= (places[1:] == places[:-1] + 1).all(axis=1)
            self.stacks.append(stack)
            place = stack.end
        self._values: Array = np.empty(0)
        self._weight: Array | None = None

    def product(self, weight: Array, x: Array) -> Array:
        """Return the matrix times x, shape (n_rows, batch)."""
        values, loops, x = self._values_of(weight), _compiled_loops(), np.ascontiguousarray(x)
        out = np.zeros((self.n_rows, x.shape[1]), dtype=np.result_type(values, x))

        def multiply(stack: _Stack) -> None:
            blocks = values[stack.begin : stack.end].reshape(-1, *stack.block_shape)
            if stack.is_dense:
                out[stack.rows] = blocks @ x.take(stack.columns, axis=0, mode="clip")
            elif loops is not None:
                loops.product(blocks, stack.rows, stack.columns, stack.continues, x, out)
            else:
                out[stack.rows.ravel()] = stack.as_csr(blocks, len(x)) @ x

        tasks: list[_Stack] = []
        for stack in self.stacks:
            row_by_row = [stack] if loops is None else stack.split(cores())
            tasks += stack.chunks(x.shape[1]) if stack.is_dense else row_by_row
        self._each(multiply, tasks, x.shape[1])
        return out

    def weight_gradient(self, x: Array, g: Array, n_weights: int) -> Array:
        """Return for each weight the sum of the inner products ``g[i] @ x[j]`` over its entries (i, j)."""
        loops, x, g = _compiled_loops(), np.ascontiguousarray(x), np.ascontiguousarray(g)

        workers = cores() if self._is_large(x.shape[1]) else 1
        chunks: list[_Stack] = []
        for stack in self.stacks:
            chunks += stack.chunks(x.shape[1]) if loops is None else stack.split(workers)
        totals = [np.zeros(n_weights) for _ in range(workers)]

        def add(worker: int) -> None:
            for stack in chunks[worker::workers]:
                total, index = totals[worker], self.weight_index[stack.begin : stack.end]
                if loops is not None:
                    index = index.reshape(-1, *stack.block_shape)
                    loops.gradient(index, stack.rows, stack.columns, stack.continues, x, g, total)
                    continue
                samples = x.take(stack.columns, axis=0, mode="clip")  # (m, k, batch)
                inner = (g.take(stack.rows, axis=0, mode="clip") @ samples.swapaxes(1, 2)).ravel()
                if n_weights <= 4 * len(index):
                    total += np.bincount(index, inner, minlength=n_weights)
                else:
                    np.add.at(total, index, inner.astype(total.dtype))

        self._each(add, range(workers), x.shape[1])
        for total in totals[1:]:
            totals[0] += total
        return totals[0].astype(np.result_type(x, g))

    def _values_of(self, weight: Array) -> Array:
        """Return the value of each entry; they are gathered again only if a weight has changed."""
        flat = weight.reshape(-1)
        if self._weight is None or self._values.dtype != flat.dtype:
            self._values = np.empty(len(self.weight_index), dtype=flat.dtype)
        elif np.array_equal(self._weight.view(np.uint8), flat.view(np.uint8)):  # bit by bit
            return self._values
        loops = _compiled_loops()
        fill = gather if loops is None else loops.gather
        self._each(
            lambda part: fill(flat, self.weight_index[part], self._values[part]),
            [slice(start, start + _LISTED) for start in range(0, len(self._values), _LISTED)],
            1,
        )
        self._weight = flat.copy()
        return self._values

    def _is_large(self, batch: int) -> bool:
        """Return whether a product is worth several threads."""
        return len(self.weight_index) * batch >= _WORTH_THREADS

    def _each(self, work: Callable[[Any], object], tasks: Sequence[Any], batch: int) -> None:
        """Do every task, on all cores if the product is large; each task writes to its own place."""
        waiting = iter(tasks)

        def run() -> None:
            for task in waiting:  # the threads take turns
                work(task)

        helpers = min(cores(), len(tasks)) - 1 if self._is_large(batch) else 0
        if helpers < 1:
            run()
            return
        large = any(math.prod(stack.block_shape) * batch >= _BLAS_THREADS for stack in self.stacks)
        with single_threaded_blas() if large else nullcontext():
            others = [_threads(os.getpid()).submit(run) for _ in range(helpers)]
            run()
            for other in others:
                other.result()


@cache
def _threads(process: int) -> ThreadPoolExecutor:
    """Return the threads of this process; a forked process needs its own."""
    return ThreadPoolExecutor(max(cores() - 1, 1))


def _equal_rows(starts: NDArray[np.integer], columns: NDArray[np.integer]) -> Iterator[NDArray[np.intp]]:
    """Yield arrays (m, r) of rows; the r rows of a group have the same columns, and all m groups equally many.

    Rows without entries are left out. Groups are in the order of their first rows.
    """
    counts = np.diff(starts)
    hashes = _row_hashes(starts, columns)
    for count in np.unique(counts[counts > 0]).tolist():
        rows = np.flatnonzero(counts == count)
        rows = rows[hashes[rows].argsort(kind="stable")]
        new = np.ones(len(rows), dtype=bool)
        step = max(_LISTED // count, 1)
        for start in range(1, len(rows), step):
            chunk = rows[start - 1 : start + step]
            listed = columns[starts[chunk].astype(np.intp)[:, None] + np.arange(count)]
            new[start : start + step] = (listed[1:] != listed[:-1]).any(axis=1)
        firsts = np.flatnonzero(new)
        sizes = np.diff(np.r_[firsts, len(rows)])
        for size in np.unique(sizes).tolist():
            groups = rows[firsts[sizes == size][:, None] + np.arange(size)]
            yield groups[groups[:, 0].argsort()]


def _row_hashes(starts: NDArray[np.integer], columns: NDArray[np.integer]) -> NDArray[np.uint64]:
    """Return a number for each row that is equal for rows with the same columns, and rarely for others."""
    hashes = np.zeros(len(starts) - 1, dtype=np.uint64)
    first = 0
    while first < len(hashes):
        last = max(int(np.searchsorted(starts, int(starts[first]) + _LISTED, side="right")) - 1, first + 1)
        mixed = (columns[starts[first] : starts[last]].astype(np.uint64) + np.uint64(1)) * _MULTIPLIER
        mixed ^= mixed >> np.uint64(29)
        mixed *= _MULTIPLIER  # overflow is intended
        sums = np.r_[np.uint64(0), np.cumsum(mixed, dtype=np.uint64)]
        hashes[first:last] = np.diff(sums[starts[first : last + 1] - starts[first]])
        first = last
    return hashes


# --- rows that share no columns --------------------------------------------------------------------------------------


class _Loops(NamedTuple):
    """Compiled functions that gather weights, and multiply row by row, without holding the interpreter lock."""

    gather: Callable[..., object]
    product: Callable[..., None]
    gradient: Callable[..., None]


@cache
def _compiled_loops() -> _Loops | None:
    """Return the loops compiled by Numba, or None if it is not installed."""
    try:
        import numba
    except ImportError:
        return None

    def gather(weights: Any, places: Any, out: Any) -> None:
        for entry in range(len(places)):
            out[entry] = weights[places[entry]]

    def product(blocks: Any, rows: Any, columns: Any, continues: Any, x: Any, out: Any) -> None:
        batch, samples, results = x.shape[1], x.reshape(-1), out.reshape(-1)
        tile = max(_RUN // max(batch, 1), 1)
        block = 0
        while block < len(blocks):
            run = 1  # blocks with the same weights along a diagonal are multiplied together
            while block + run < len(blocks) and continues[block + run] and run < tile:
                run += 1
            size = run * batch
            for row in range(blocks.shape[1]):
                i = rows[block, row] * batch
                target = results[i : i + size]
                entry = 0
                while entry + 4 <= blocks.shape[2]:  # four terms at a time, added in order: fewer loads and stores
                    a, b = blocks[block, row, entry], blocks[block, row, entry + 1]
                    c, d = blocks[block, row, entry + 2], blocks[block, row, entry + 3]
                    j, k = columns[block, entry] * batch, columns[block, entry + 1] * batch
                    first, second = samples[j : j + size], samples[k : k + size]
                    j, k = columns[block, entry + 2] * batch, columns[block, entry + 3] * batch
                    third, fourth = samples[j : j + size], samples[k : k + size]
                    for i in range(size):
                        target[i] = (((target[i] + a * first[i]) + b * second[i]) + c * third[i]) + d * fourth[i]
                    entry += 4
                for last in range(entry, blocks.shape[2]):
                    j, value = columns[block, last] * batch, blocks[block, row, last]
                    sample = samples[j : j + size]
                    for i in range(size):
                        target[i] += value * sample[i]
            block += run

    def gradient(index: Any, rows: Any, columns: Any, continues: Any, x: Any, g: Any, total: Any) -> None:
        batch, samples, cotangents, zero = x.shape[1], x.reshape(-1), g.reshape(-1), x.dtype.type(0)
        tile = max(_RUN // max(batch, 1), 1)
        block = 0
        while block < len(index):
            run = 1
            while block + run < len(index) and continues[block + run] and run < tile:
                run += 1
            for start in range(0, run * batch, _RUN):
                size = min(run * batch - start, _RUN)
                for row in range(0, index.shape[1], 2):  # two rows and three columns at a time: fewer loads
                    paired = row + 1 < index.shape[1]
                    i, k = rows[block, row] * batch + start, rows[block, row + paired] * batch + start
                    u, v = cotangents[i : i + size], cotangents[k : k + size]
                    column = 0
                    while column < index.shape[2]:
                        width = 3 if column + 2 < index.shape[2] else 1
                        i = columns[block, column] * batch + start
                        p = q = r = samples[i : i + size]
                        if width == 3:
                            j, k = columns[block, column + 1] * batch, columns[block, column + 2] * batch
                            q, r = samples[j + start : j + start + size], samples[k + start : k + start + size]
                        up = uq = ur = vp = vq = vr = zero
                        if paired and width == 3:
                            for i in range(size):
                                up += u[i] * p[i]
                                uq += u[i] * q[i]
                                ur += u[i] * r[i]
                                vp += v[i] * p[i]
                                vq += v[i] * q[i]
                                vr += v[i] * r[i]
                        elif width == 3:
                            for i in range(size):
                                up += u[i] * p[i]
                                uq += u[i] * q[i]
                                ur += u[i] * r[i]
                        else:
                            for i in range(size):
                                up += u[i] * p[i]
                            for i in range(size if paired else 0):
                                vp += v[i] * p[i]
                        for i in range(width):
                            total[index[block, row, column + i]] += (up, uq, ur)[i]
                            if paired:
                                total[index[block, row + 1, column + i]] += (vp, vq, vr)[i]
                        column += width
            block += run

    def compiled(function: Any, **options: Any) -> Any:
        try:
            return numba.njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:  # no directory for the cache can be written to, as in read-only containers
            return numba.njit(nogil=True, **options)(function)

    return _Loops(compiled(gather), compiled(product), compiled(gradient, fastmath={"reassoc", "contract", "nsz"}))
