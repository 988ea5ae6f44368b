"""A layer's matrix as a linear operator whose products run on Dask workers, one row slab at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Unpack

import numpy as np
from scipy.sparse import issparse

from convmatrix import memory
from convmatrix.distributed.slab_sizes import Rows, SlabPlan, part_size
from convmatrix.distributed.slabs import SlabLayer, SlabTasks
from convmatrix.geometry import array_shape
from convmatrix.matrices import slab_columns
from convmatrix.operator import CheckedOperator
from convmatrix.options import LayerOptions, takes_layer_options

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike

    from convmatrix.arrays import Array
    from convmatrix.geometry import ConvGeometry
    from convmatrix.progress import Progress

_MESSAGE: Final = 2**24  # bytes of a part of a vector above which a task multiplies by fewer slabs
_PAGE: Final = 2**21  # bytes of the pages in which a system hands out large arrays when they are first written


def _multiply_all(layer: SlabLayer, ranges: Sequence[Rows], X: Array) -> Array:
    """Return the product of adjacent slabs with the columns X; (rows, batch)."""
    return np.concatenate(list(layer.each(ranges, lambda slab, _: slab @ X)))


def _multiply(layer: SlabLayer, ranges: Sequence[Rows], part: Array) -> Array:
    """Return the product of adjacent slabs with the columns X, given the part of X that they read; (rows, batch)."""
    shape, index = slab_columns(layer.geometry, _joined(ranges), layer.order)
    # Only the pages of this array that are written take memory.
    X = np.zeros((layer.geometry.n_in, part.shape[-1]), dtype=part.dtype)
    X.reshape(*shape, -1)[index] = part
    return _multiply_all(layer, ranges, X)


def _multiply_adjoint(layer: SlabLayer, ranges: Sequence[Rows], part: Array) -> Array:
    """Return the product of the adjoint of adjacent slabs with rows of Y: the part that may differ from zero."""
    first, _ = _joined(ranges)
    conjugate = part.conj()

    def multiply(slab: Any, rows: Rows) -> tuple[Rows, Array]:
        return rows, np.asarray(slab.T @ conjugate[rows[0] - first : rows[1] - first])

    total: Array = np.zeros(0)
    for rows, product in layer.each(ranges, multiply):
        if len(total):
            shape, index = slab_columns(layer.geometry, rows, layer.order)
            total.reshape(*shape, -1)[index] += product.reshape(*shape, -1)[index]
        else:
            total = product
    shape, index = slab_columns(layer.geometry, _joined(ranges), layer.order)
    return np.ascontiguousarray(total.reshape(*shape, -1)[index]).conj()


def _joined(ranges: Sequence[Rows]) -> Rows:
    return ranges[0][0], ranges[-1][1]


class SlabOperator(CheckedOperator):
    r"""A layer's matrix as a SciPy linear operator, whose products are computed by slabs of rows on Dask workers.

    For every product, workers build each slab :math:`A_i` from the kernel, which they receive once, and drop it
    afterwards. For ``A @ x`` a worker receives only the entries of x that its slabs read, and returns :math:`A_i x`; if
    one task after another reads most of x, and x takes at most 16 MB, it receives x once instead. For ``A.H @ y`` it
    receives the rows :math:`y_i` and returns the nonzero part of :math:`A_i^H y_i`. These are added in the order of the
    slabs, so that results do not depend on the workers. All of `scipy.sparse.linalg` works on it, for instance
    ``svds``.

    Parameters
    ----------
    kernel : array_like
        As for `convmatrix.conv_matrix`.
    geometry : ConvGeometry, int or sequence of int
        The layer, or its input shape as for `convmatrix.conv_matrix`, with the options of the layer as keywords.
    rows_per_slab, client, order, dtype, progress
        As for `map_slabs`. With many channels, ``order="F"`` sends much less: see `slab_plan`.
    stride, dilation, padding, boundary, groups, connections, sharing, flip, transposed, output_padding, output_shape
        As for `ConvGeometry`.

    Attributes
    ----------
    shape, dtype
        Those of the matrix.
    plan : SlabPlan
        How it is cut in slabs.
    dims, dimsd : tuple of int
        Shapes of the arrays that vectors stand for, as for `convmatrix.ConvOperator`.

    Raises
    ------
    MatrixTooLargeError
        If a slab does not fit in the memory of a worker, or a result in that of this process.

    See Also
    --------
    convmatrix.ConvOperator : The same map on one machine, without a matrix, and in most cases faster.

    Examples
    --------
    >>> import numpy as np
    >>> from distributed import Client
    >>> from scipy.sparse.linalg import svds
    >>> with Client(processes=False, n_workers=1, threads_per_worker=2, dashboard_address=":0") as client:
    ...     A = SlabOperator([1.0, -2, 1], 12, 6, client=client, padding="same")
    ...     image, values = A @ np.arange(12), svds(A, 1, ncv=11, return_singular_vectors=False, rng=0)
    >>> image[:2], image[-1], values.round(4)
    (array([1., 0.]), np.float64(-12.0), array([3.9419]))
    """

    @takes_layer_options()
    def __init__(
        self,
        kernel: ArrayLike,
        geometry: int | Sequence[int] | ConvGeometry,
        rows_per_slab: int | None = None,
        *,
        client: Any = None,
        progress: Progress = None,
        order: str = "C",
        dtype: DTypeLike | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        self._tasks = SlabTasks(
            kernel,
            geometry,
            rows_per_slab,
            client,
            order=order,
            dtype=dtype,
            options=options,
            task_bytes=lambda plan: _vector_bytes(plan, 1, plan.dtype),
        )
        self.plan = self._tasks.plan
        while self._tasks.per_task > 1 and self._message_bytes() > _MESSAGE:
            self._tasks.per_task //= 2
        self._progress = progress
        super().__init__(self.plan.dtype, (self.plan.geometry.n_out, self.plan.geometry.n_in))

    @property
    def dims(self) -> tuple[int, ...]:
        """Shape of the array that the operator multiplies, as in PyLops."""
        shape = array_shape(self.plan.geometry, inputs=True)
        return shape if self.plan.order == "C" else shape[::-1]

    @property
    def dimsd(self) -> tuple[int, ...]:
        """Shape of the product as an array, as in PyLops."""
        shape = array_shape(self.plan.geometry, inputs=False)
        return shape if self.plan.order == "C" else shape[::-1]

    def _matmat(self, X: Array) -> Array:
        X, product = self._prepared(X, 0)

        def part(numbers: Sequence[int]) -> list[Array]:
            shape, index = slab_columns(self.plan.geometry, self._range(numbers), self.plan.order)
            return [np.ascontiguousarray(X.reshape(*shape, -1)[index])]

        sent: list[Any] = []  # the future of X, which follows the future of the layer

        def whole(_: Sequence[int]) -> list[Any]:
            layer = self._tasks.shared()[0]
            if layer not in sent[:1]:  # at first, or because all workers that held both have died
                sent[:] = layer, self._tasks.client.scatter(X, broadcast=True, hash=False)
            return sent[1:]

        task, given = (_multiply_all, whole) if self._sends_whole(X) else (_multiply, part)
        for numbers, found in self._tasks.ordered(task, given, progress=self._progress):
            product[slice(*self._range(numbers))] = found
        return product

    def _sends_whole(self, X: Array) -> bool:
        """Return whether each worker receives X once: if a task reads most of it, and workers have several tasks."""
        most_of_it = 2 * self._message_bytes() >= self.plan.geometry.n_in * self.plan.dtype.itemsize
        return X.nbytes <= _MESSAGE and most_of_it and self._tasks.are_several_per_thread

    def _rmatmat(self, X: Array) -> Array:
        X, product = self._prepared(X, 1)

        def part(numbers: Sequence[int]) -> list[Array]:
            return [X[slice(*self._range(numbers))]]

        for numbers, found in self._tasks.ordered(_multiply_adjoint, part, progress=self._progress):
            shape, index = slab_columns(self.plan.geometry, self._range(numbers), self.plan.order)
            product.reshape(*shape, -1)[index] += found
        return product

    def _range(self, numbers: Sequence[int]) -> Rows:
        """Return the rows of adjacent slabs."""
        return _joined([self.plan.rows(numbers[0]), self.plan.rows(numbers[-1])])

    def _message_bytes(self) -> int:
        """Return the bytes of the part of a vector that a task in the middle reads, with several slabs per task."""
        middle = self.plan.n_slabs // 2
        rows = self._range(range(middle, min(middle + self._tasks.per_task, self.plan.n_slabs)))
        return part_size(self.plan, rows) * self.plan.dtype.itemsize

    def _prepared(self, X: Any, side: int) -> tuple[Array, Array]:
        """Return the columns to multiply as an array, and zeros for the product, whose length is ``shape[side]``."""
        if issparse(X):
            raise TypeError("SlabOperator multiplies dense arrays, but this one is sparse; call its .toarray() first")
        X = np.asarray(X)
        if X.dtype.kind not in "biufc":
            raise TypeError(
                f"an array of dtype {X.dtype} cannot be multiplied by an operator of dtype {self.dtype}; convert it, "
                "for instance with x.astype(float)"
            )
        given = np.dtype(np.float32) if X.dtype == np.float16 else X.dtype  # SciPy does not multiply half precision
        dtype = np.result_type(self.dtype, given)
        memory.require(
            self.shape[side] * X.shape[1] * dtype.itemsize,
            lambda: f"the product, of shape {(self.shape[side], X.shape[1])} and dtype {dtype},",
            "multiply by fewer columns at a time",
        )
        self._tasks.require(_vector_bytes(self.plan, X.shape[1], dtype))
        return np.ascontiguousarray(X, dtype=given), np.zeros((self.shape[side], X.shape[1]), dtype=dtype)


def _vector_bytes(plan: SlabPlan, batch: int, dtype: np.dtype[Any]) -> int:
    """Return the bytes that a task needs for the vectors that it multiplies: parts, results, and written pages."""
    item = batch * dtype.itemsize
    part = plan.part_bytes // plan.dtype.itemsize * item
    whole = plan.geometry.n_in * item
    scattered = part + 2 * _PAGE * plan.geometry.in_channels  # a part is at least one stretch per channel
    return min(scattered, whole) + part + 2 * plan.rows_per_slab * item
