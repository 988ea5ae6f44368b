"""Row slabs of a layer's matrix on Dask workers: how they are cut, rebuilt from the kernel, mapped and reduced."""

from __future__ import annotations

import math
import sys
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Literal, Unpack

import numpy as np

from convmatrix import options as validate
from convmatrix.display.tables import ShownAsTable, Table, facts
from convmatrix.geometry import ConvGeometry, given_geometry
from convmatrix.matrices import slab_boxes, slab_matrix
from convmatrix.memory import Estimate, MatrixTooLargeError, estimate, in_words
from convmatrix.options import LayerOptions, as_array, convert, takes_layer_options, weight_array
from convmatrix.progress import Progress, Step, reporting

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike

    from convmatrix.arrays import Array

Rows = tuple[int, int]

SLAB_BYTES: Final = 2**25
"""Bytes of a slab by default: large enough to be built quickly, and small enough to remain in a cache."""

_COPIES: Final = 2  # slabs in a worker's memory per thread: one, and as much again to build it and for the function
_USABLE: Final = 0.8  # share of a worker's memory, above which Dask pauses it
_TASKS: Final = 256  # tasks in all, unless they are shorter or longer than what follows
_LEAST_TASKS: Final = 16  # in all, if there are as many slabs: the function may take longer than its slab
_TASK_NONZEROS: Final = (2**24, 2**28)  # a tenth of a second, and a second or two
_SAMPLED: Final = 16  # slabs whose sizes are computed to find the largest
_MOST_LOSSES: Final = 5  # how often the kernel is sent again after all workers that held it died
_PATIENCE: Final = 20.0  # seconds until a result is asked for again
_WAIT: Final = 60  # seconds to wait for a first worker
_REFRESH: Final = 2.0  # seconds after which threads are counted anew, for clusters that grow


# --- sizes ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SlabPlan(ShownAsTable):
    """How the matrix of a layer is cut in slabs of rows, and what each takes; see `slab_plan`.

    Attributes
    ----------
    geometry : ConvGeometry
    rows_per_slab : int
        The last slab may have fewer rows.
    order : {"C", "F"}
    dtype : dtype
        That of the kernel and the matrix.
    """

    geometry: ConvGeometry
    rows_per_slab: int
    order: Literal["C", "F"]
    dtype: np.dtype[Any]

    @property
    def n_slabs(self) -> int:
        """Number of slabs."""
        return -(-self.geometry.n_out // self.rows_per_slab)

    def rows(self, number: int) -> Rows:
        """Return the first row of a slab, and the first row after it."""
        return number * self.rows_per_slab, min((number + 1) * self.rows_per_slab, self.geometry.n_out)

    @cached_property
    def matrix(self) -> Estimate:
        """The size of the whole matrix."""
        return self.estimate()

    def _table(self) -> Table:
        matrix = self.matrix
        values = {
            "matrix": f"{self.geometry.n_out:,} x {self.geometry.n_in:,}, {in_words(matrix.bytes)}",
            "slabs": f"{self.n_slabs:,} of {self.rows_per_slab:,} rows",
            "largest slab": in_words(self.slab_bytes),
            "kernel": f"{self.dtype}, {in_words(self.kernel_bytes)}",
        }
        return facts("Slabs of rows", values)

    @property
    def kernel_bytes(self) -> int:
        """Bytes of the kernel, which each worker receives once."""
        return self.geometry.n_weights * self.dtype.itemsize

    @property
    def _sample(self) -> list[Rows]:
        """The rows of all slabs, or of some at equal distances, with the first and the last."""
        count = min(self.n_slabs, _SAMPLED)
        return [self.rows(number * (self.n_slabs - 1) // max(count - 1, 1)) for number in range(count)]

    @cached_property
    def slab_bytes(self) -> int:
        """Bytes of the largest slab; of more than 16 slabs, the largest of 16 at equal distances."""
        return max(self.estimate(rows).bytes for rows in self._sample)

    def estimate(self, rows: Rows | None = None) -> Estimate:
        """Return the size of a slab, or of the whole matrix."""
        return estimate(self.geometry, dtype=self.dtype, order=self.order, rows=rows)

    @cached_property
    def part_bytes(self) -> int:
        """Bytes of the largest part of a vector of this dtype that a slab reads, among the same slabs."""
        return max(part_size(self, rows) for rows in self._sample) * self.dtype.itemsize

    @cached_property
    def per_task(self) -> int:
        """Number of slabs that one task computes, one after another: a power of two, whatever the workers are."""
        least, most = _TASK_NONZEROS
        wanted = min(max(self.matrix.nonzeros // _TASKS, least), most)
        slabs = min(wanted * self.n_slabs // max(self.matrix.nonzeros, 1), self.n_slabs // _LEAST_TASKS)
        slabs = max(slabs, 1)
        return int(2 ** (slabs.bit_length() - 1))

    def __str__(self) -> str:
        rows, columns = self.matrix.shape
        return (
            f"matrix  {rows} x {columns}, {self.matrix.nonzeros} nonzeros, {in_words(self.matrix.bytes)}\n"
            f"slabs   {self.n_slabs} of {self.rows_per_slab} rows, at most {in_words(self.slab_bytes)} each\n"
            f"sent    {in_words(self.kernel_bytes)} once to each worker, "
            f"and at most {in_words(self.part_bytes)} of a vector per slab"
        )


def part_size(plan: SlabPlan, rows: Rows) -> int:
    """Return the number of entries of a vector that rows of a matrix read; an upper bound for rows of several boxes."""
    _, boxes = slab_boxes(plan.geometry, rows, plan.order)
    return min(sum(math.prod(map(len, axes)) for axes in boxes), plan.geometry.n_in)


def slab_plan(
    geometry: ConvGeometry,
    rows_per_slab: int | None = None,
    *,
    order: str = "C",
    dtype: DTypeLike = np.float64,
    slab_bytes: int = SLAB_BYTES,
) -> SlabPlan:
    """Return how the matrix of a layer is cut in slabs, and the sizes of matrix, slabs and messages, without a client.

    Parameters
    ----------
    geometry : ConvGeometry
    rows_per_slab : int, optional
        By default as many rows as fill ``slab_bytes``, where possible a multiple of the rows of a whole line or plane
        of the output, of which a slab reads a box of the input.
    order, dtype
        As for `convmatrix.conv_matrix`. With ``order="F"`` the rows of a position, one per channel, are adjacent, so
        that a slab of a layer with many channels reads a much smaller part of the input.
    slab_bytes : int

    Examples
    --------
    >>> from convmatrix import ConvGeometry
    >>> print(slab_plan(ConvGeometry((512, 512), (3, 3), in_channels=256, out_channels=256, padding="same")))
    matrix  67108864 x 67108864, 154216431616 nonzeros, 2.47 TB
    slabs   65536 of 1024 rows, at most 28.3 MB each
    sent    4.72 MB once to each worker, and at most 4.19 MB of a vector per slab
    """
    order = validate.order(order)
    dtype = np.dtype(dtype)
    if rows_per_slab is not None:
        rows = min(validate.integer("rows_per_slab", rows_per_slab, minimum=1), geometry.n_out)
        return SlabPlan(geometry, rows, order, dtype)
    sizes = (geometry.out_channels, *geometry.output_shape)
    sizes = sizes if order == "C" else sizes[::-1]
    middle = geometry.n_out * (sizes[0] // 2 * 2 + 1) // (2 * sizes[0])  # far from any border
    rows, block = geometry.n_out, 1
    for _ in range(2):  # once more, because indices of a slab may be shorter than those of the whole matrix
        first = max(min(middle, geometry.n_out - rows), 0)
        found = estimate(geometry, dtype=dtype, order=order, rows=(first, first + rows))
        rows = max(min(slab_bytes * rows // found.bytes, geometry.n_out), 1)
    for size in reversed(sizes):
        if block * size > rows:
            # As many blocks as divide the next larger one, so that no slab extends over two of those.
            count = next(count for count in range(rows // block, 0, -1) if size % count == 0)
            block *= count if 4 * count * block > rows else rows // block
            break
        block *= size
    return SlabPlan(geometry, block, order, dtype)


# --- on the workers ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class SlabLayer:
    """What a worker needs to rebuild any slab: the kernel and the layer."""

    weights: Array
    geometry: ConvGeometry
    order: Literal["C", "F"]
    _buffers: list[Array] = field(default_factory=list, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return SlabLayer, (self.weights, self.geometry, self.order)

    def each(self, ranges: Sequence[Rows], function: Callable[[Any, Rows], Any]) -> Iterator[Any]:
        """Yield ``function(slab, rows)`` for some slabs, one after another, in memory that is used again.

        Fresh memory would cost as much as the entries themselves. It is not used again if the result still refers to
        it, as a view of ``slab.data`` does.
        """
        for rows in ranges:
            buffers = [self._take(), self._take()]
            following = iter(range(2))

            def empty(length: int, dtype: Any, buffers: list[Array] = buffers, following: Any = following) -> Array:
                number = next(following)
                if len(buffers[number]) < length or buffers[number].dtype != dtype:
                    buffers[number] = np.empty(length, dtype=dtype)
                part: Array = buffers[number][:length]
                return part

            try:
                slab = slab_matrix(self.weights, self.geometry, rows, self.order, empty)
                result = function(slab, rows)
            except Exception as error:
                error.add_note(f"in rows {rows[0]} to {rows[1] - 1} of the matrix of {self.geometry!r:.500}")
                raise
            del slab, empty
            while buffers:
                buffer = buffers.pop()
                if sys.getrefcount(buffer) == 2:  # this name and the argument
                    self._buffers.append(buffer)
            yield result

    def _take(self) -> Array:
        """Return an array that is not used; an empty one if there is none."""
        try:
            return self._buffers.pop()
        except IndexError:
            return np.zeros(0)


def _apply(
    layer: SlabLayer,
    ranges: Sequence[Rows],
    with_rows: bool,
    function: Callable[..., Any],
    reduce: Callable[[Any, Any], Any] | None = None,
) -> Any:
    """Return the results of some slabs: as a list, or reduced."""
    results = layer.each(ranges, function if with_rows else lambda slab, _: function(slab))
    if reduce is None:
        return list(results)
    partial: list[tuple[int, Any]] = []
    for result in results:
        _append(partial, result, reduce)
    return _total(partial, reduce)


def _append(partial: list[tuple[int, Any]], result: Any, reduce: Callable[[Any, Any], Any]) -> None:
    """Append a result to a tree: while the last partial result is of as many slabs as this one, reduce the two."""
    level = 0
    while partial and partial[-1][0] == level:
        result = reduce(partial.pop()[1], result)
        level += 1
    partial.append((level, result))


def _total(partial: list[tuple[int, Any]], reduce: Callable[[Any, Any], Any]) -> Any:
    """Return the reduction of the partial results, from the right."""
    _, result = partial.pop()
    while partial:
        result = reduce(partial.pop()[1], result)
    return result


def _combine(left: Any, right: Any, reduce: Callable[[Any, Any], Any]) -> Any:
    return reduce(left, right)


# --- on the client ----------------------------------------------------------------------------------------------------


def given_client(client: Any) -> Any:
    """Return a ``distributed.Client``: the given one, or by default the one created last."""
    try:
        distributed: Any = import_module("distributed")
    except ImportError as error:
        raise ImportError(
            f"convmatrix.distributed needs the packages dask and distributed ({error}); install them with "
            "pip install 'dask[distributed]'"
        ) from error
    if client is None:
        try:
            client = distributed.default_client()
        except ValueError:
            raise ValueError(
                "client=None, and there is no client in this process; create one with distributed.Client(), or give "
                "client="
            ) from None
    if not isinstance(client, distributed.Client) or client.asynchronous:
        kind = "an asynchronous client" if isinstance(client, distributed.Client) else f"a {type(client).__name__}"
        raise TypeError(f"client must be a distributed.Client that is not asynchronous, but is {kind}")
    if client.status != "running":
        raise ValueError(f"the client is {client.status}, but must be running; create another distributed.Client()")
    return client


def workers_of(client: Any) -> dict[str, Any]:
    """Return what the scheduler knows of all workers; wait for a first one, and raise TimeoutError if none comes."""
    every = {"n_workers": -1}  # some versions of distributed return five by default
    workers: dict[str, Any] = client.scheduler_info(**every)["workers"]
    if not workers:
        try:
            client.wait_for_workers(1, timeout=_WAIT)
        except TimeoutError as error:
            raise TimeoutError(
                f"the client {client!r:.200} has no workers: none came within {_WAIT} seconds; start one, for instance "
                "with cluster.scale(1)"
            ) from error
        workers = client.scheduler_info(**every)["workers"]
    return workers


class SlabTasks:
    """The slabs of one layer as tasks of a client: sent in a bounded number, sent again if workers are lost.

    Parameters
    ----------
    kernel, geometry, rows_per_slab, client, order, dtype, **options
        As for `map_slabs`.
    shared : sequence
        Objects that each worker receives once, besides the kernel.
    per_task : callable, optional
        ``per_task(plan)`` returns the bytes that a task needs besides its slab.

    Raises
    ------
    MatrixTooLargeError
        If a slab does not fit in the memory of a worker.
    """

    def __init__(
        self,
        kernel: ArrayLike,
        geometry: int | Sequence[int] | ConvGeometry,
        rows_per_slab: int | None,
        client: Any,
        *,
        order: str,
        dtype: DTypeLike | None,
        options: LayerOptions,
        shared: Sequence[Any] = (),
        per_task: Callable[[SlabPlan], int] = lambda _: 0,
    ) -> None:
        weights = convert(as_array(kernel), dtype)
        made = given_geometry(weights.shape, geometry, options)
        weights = weight_array(weights, made.weight_shape, made).copy()
        weights.flags.writeable = False
        self.layer = SlabLayer(weights, made, validate.order(order))
        self.client = given_client(client)
        limits = [(info["memory_limit"] // info["nthreads"], name) for name, info in workers_of(self.client).items()]
        least, self._tightest = min(((limit, name) for limit, name in limits if limit), default=(2**62, ""))
        self._room = int(_USABLE * least)
        target = min(SLAB_BYTES, self._room // (4 * _COPIES))
        self.plan = slab_plan(made, rows_per_slab, order=order, dtype=weights.dtype, slab_bytes=target)
        self.require(per_task(self.plan))
        self.per_task = self.plan.per_task
        self._objects = [self.layer, *shared]
        self._futures: list[Any] = []
        self._counted = (-math.inf, 0)

    def require(self, n_bytes: int) -> None:
        """Raise `MatrixTooLargeError` if a task that needs these bytes besides its slab does not fit on a worker."""
        plan = self.plan
        needed = _COPIES * plan.slab_bytes + plan.kernel_bytes + n_bytes
        if needed > self._room:
            fewer = max(plan.rows_per_slab * self._room // (2 * needed), 1)
            raise MatrixTooLargeError(
                f"a slab of {plan.rows_per_slab} rows of {plan.geometry!r:.500} takes {in_words(plan.slab_bytes)}, and "
                f"its task about {in_words(needed)}, but the worker {self._tightest} has {in_words(self._room)} per "
                f"thread ({_USABLE:.0%} of its memory_limit); "
                + (f"set rows_per_slab={fewer}" if fewer < plan.rows_per_slab else "give it more memory per thread")
            )

    def _most_waiting(self) -> int:
        """Return the number of slabs that may be waiting or running: two per thread, and one more."""
        counted, threads = self._counted
        if time.monotonic() - counted > _REFRESH:
            threads = sum(info["nthreads"] for info in workers_of(self.client).values())
            self._counted = time.monotonic(), threads
        return 2 * max(threads, 1) + 1

    def shared(self) -> list[Any]:
        """Return the layer and the other shared objects as futures; they are sent to all workers at once."""
        if not self._futures:
            workers_of(given_client(self.client))
            self._futures = self.client.scatter(self._objects, broadcast=True, hash=False)
        return self._futures

    def _submit(self, task: Callable[..., Any], numbers: Sequence[int], arguments: Sequence[Any]) -> Any:
        """Return the future of ``task(layer, ranges, *arguments)`` for some slabs."""
        import dask

        layer = self.shared()[0]
        ranges = [self.plan.rows(number) for number in numbers]
        key = f"{task.__name__.strip('_')}-slabs-{uuid.uuid4().hex}"
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 PB"}):  # for parts of vectors
            return self.client.submit(task, layer, ranges, *arguments, key=key, pure=False)

    def ordered(
        self,
        task: Callable[..., Any],
        arguments: Callable[[Sequence[int]], Sequence[Any]],
        *,
        numbers: Sequence[int] | None = None,
        progress: Progress = None,
    ) -> Iterator[tuple[Sequence[int], Any]]:
        """Yield the numbers of some slabs and ``task(layer, ranges, *arguments(numbers))``, in order, for all slabs.

        A few more tasks are computed ahead than there are threads.
        """
        given_client(self.client)  # which may have been closed in the meantime
        numbers = range(self.plan.n_slabs) if numbers is None else numbers
        groups = [numbers[first : first + self.per_task] for first in range(0, len(numbers), self.per_task)]
        done = losses = 0
        with reporting(progress, "slabs") as report:
            while done < len(groups):
                waiting: deque[Any] = deque()
                following = done
                try:
                    while done < len(groups):
                        while following < len(groups) and len(waiting) < self._most_waiting():
                            waiting.append(self._submit(task, groups[following], arguments(groups[following])))
                            following += 1
                        result = self._result(waiting[0])
                        waiting.popleft()
                        done += 1
                        report(min(done * self.per_task, len(numbers)), len(numbers), "")
                        yield groups[done - 1], result
                except CancelledError as error:
                    losses = self._lost(losses, error)
                finally:
                    for future in waiting:
                        future.release()

    def reduced(
        self,
        task: Callable[..., Any],
        arguments: Callable[[Sequence[int]], Sequence[Any]],
        *,
        progress: Progress = None,
    ) -> Any:
        """Return the reduction of ``task(layer, ranges, *arguments(numbers))`` of all slabs; see `_reduce_once`."""
        losses = 0
        while True:
            try:
                with reporting(progress, "slabs") as report:
                    return self._reduce_once(task, arguments, report)
            except CancelledError as error:
                losses = self._lost(losses, error)

    def _reduce_once(
        self, task: Callable[..., Any], arguments: Callable[[Sequence[int]], Sequence[Any]], report: Step
    ) -> Any:
        """Return the reduction of all slabs, on the workers; the last shared object is the function that reduces two.

        As the number of slabs of a task is a power of two, this is the same tree as if each were a task of its own.
        """
        running: deque[tuple[Any, int]] = deque()
        partial: list[tuple[int, Any]] = []
        done = 0

        def pair(left: Any, right: Any) -> Any:
            key = f"reduce-slabs-{uuid.uuid4().hex}"
            return self.client.submit(_combine, left, right, self.shared()[-1], key=key, pure=False, priority=1)

        try:
            for first in range(0, self.plan.n_slabs, self.per_task):
                numbers = range(first, min(first + self.per_task, self.plan.n_slabs))
                if len(running) >= self._most_waiting():
                    done += self._finish(running)
                    report(done, self.plan.n_slabs, "")
                future = self._submit(task, numbers, arguments(numbers))
                running.append((future, len(numbers)))
                _append(partial, future, pair)
            while running:
                done += self._finish(running)
                report(done, self.plan.n_slabs, "")
            return self._result(_total(partial, pair))
        finally:
            for future in (*(future for future, _ in running), *(future for _, future in partial)):
                future.release()

    def _finish(self, running: deque[tuple[Any, int]]) -> int:
        """Wait for the first of the running tasks, and return its number of slabs; its result stays on its worker."""
        from distributed.client import wait

        future, count = running[0]
        _ = wait([future])
        if future.status != "finished":
            self._result(future)
        running.popleft()
        return count

    def _result(self, future: Any) -> Any:
        """Return the result of a future."""
        from distributed.client import wait
        from distributed.scheduler import KilledWorker

        patience = _PATIENCE
        try:
            _ = wait([future])
            while True:
                try:
                    return future.result(timeout=patience)
                except TimeoutError:  # the worker that was asked for the result may have left; others may have it now
                    if future.status == "error":
                        raise
                    patience *= 2
        except KilledWorker as error:
            raise RuntimeError(
                f"several workers died in the same task, the last one {error.last_worker.address}; a slab takes "
                f"{in_words(self.plan.slab_bytes)} besides what the function needs; if they ran out of memory, set "
                f"rows_per_slab below {self.plan.rows_per_slab}"
            ) from error

    def _lost(self, losses: int, error: CancelledError) -> int:
        """Prepare to send the kernel again after all workers that held it died; return how often that happened."""
        if losses >= _MOST_LOSSES or self.client.status != "running":
            raise RuntimeError(
                f"the tasks were cancelled, or all workers died, {losses + 1} times (client {self.client.status}); "
                "see the logs of the workers"
            ) from error
        self._futures = []
        return losses + 1


@takes_layer_options()
def map_slabs(
    function: Callable[..., Any],
    kernel: ArrayLike,
    geometry: int | Sequence[int] | ConvGeometry,
    rows_per_slab: int | None = None,
    *,
    client: Any = None,
    reduce: Callable[[Any, Any], Any] | None = None,
    with_rows: bool = False,
    progress: Progress = None,
    order: str = "C",
    dtype: DTypeLike | None = None,
    **options: Unpack[LayerOptions],
) -> Any:
    r"""Return the results of a function of every slab of rows of a layer's matrix, computed on Dask workers.

    With slabs :math:`A_1, \dots, A_n`, which stacked make up the matrix A, it returns :math:`[f(A_1), \dots, f(A_n)]`
    or, with a reduction, :math:`f(A_1) \circ \dots \circ f(A_n)`. Workers build each slab from the kernel, which they
    receive once, and drop it after use.

    Parameters
    ----------
    function : callable
        ``function(slab)`` with a slab as a `scipy.sparse.csr_array` of shape (rows, n_in). The result is sent back, so
        it should be small. The function may run more than once for a slab, if its worker dies.
    kernel : array_like
        As for `convmatrix.conv_matrix`.
    geometry : ConvGeometry, int or sequence of int
        The layer, or its input shape as for `convmatrix.conv_matrix`, with the options of the layer as keywords.
    rows_per_slab : int, optional
        By default as many as `slab_plan` chooses for slabs of 32 MB, or a tenth of the memory of a worker's thread.
    client : distributed.Client, optional
        By default the client that was created last.
    reduce : callable, optional
        ``reduce(left, right)`` combines the results of neighbouring slabs on a worker. It must be associative; it need
        not be commutative, and must not modify its arguments. Pairs are reduced as a tree that depends only on the
        number of slabs, so rounding errors do not depend on the workers.
    with_rows : bool
        Call ``function(slab, (start, stop))``, with the range of rows.
    progress : bool or callable, optional
        As for `convmatrix.progress.reporting`; a callable is told about every slab.
    order, dtype
        As for `convmatrix.conv_matrix`.
    stride, dilation, padding, boundary, groups, connections, sharing, flip, transposed, output_padding, output_shape
        As for `ConvGeometry`.

    Returns
    -------
    list, or what ``reduce`` returns
        One result per slab, in the order of the rows.

    Raises
    ------
    MatrixTooLargeError
        If a slab does not fit in the memory of a worker; nothing is sent.
    ImportError
        If dask or distributed is not installed.
    RuntimeError
        If the same slab kills several workers, or the cluster is lost.
    TimeoutError
        If there are no workers, and none come within a minute.
    Exception
        What the function raises, with a note that gives the rows.

    Notes
    -----
    Twice as many slabs as the workers have threads are waiting or running at a time, so that memory use is bounded
    whatever the size of the matrix. If a worker dies, Dask computes again what it had; if all workers that held the
    kernel die, it is sent again. An interrupt (Ctrl-C) withdraws what has not been started.

    Examples
    --------
    Row norms, in order, and the exact number of nonzeros of a matrix:

    >>> import numpy as np
    >>> import convmatrix as cm
    >>> from distributed import Client
    >>> def row_norms(slab):
    ...     return np.sqrt((slab * slab).sum(axis=1))
    >>> with Client(processes=False, n_workers=1, threads_per_worker=2, dashboard_address=":0") as client:
    ...     norms = map_slabs(row_norms, [3, 4], 1000, 100, client=client)
    ...     nonzeros = map_slabs(lambda slab: slab.nnz, [3, 4], 1000, 100, client=client, reduce=int.__add__)
    >>> len(norms), np.unique(np.concatenate(norms)), nonzeros
    (10, array([5.]), 1998)
    """
    called: dict[str, Any] = {"function": function} | ({} if reduce is None else {"reduce": reduce})
    for name, value in called.items():
        if not callable(value):
            raise TypeError(f"{name} must be callable, but is a {type(value).__name__}")
    tasks = SlabTasks(
        kernel,
        geometry,
        rows_per_slab,
        client,
        order=order,
        dtype=dtype,
        options=options,
        shared=list(called.values()),
    )

    def arguments(_: Sequence[int]) -> list[Any]:
        return [with_rows, *tasks.shared()[1:]]

    if reduce is not None:
        return tasks.reduced(_apply, arguments, progress=progress)
    return [result for _, results in tasks.ordered(_apply, arguments, progress=progress) for result in results]
