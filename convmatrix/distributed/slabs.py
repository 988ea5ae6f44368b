"""Row slabs of a layer's matrix on Dask workers: rebuilt from the kernel, mapped and reduced."""

from __future__ import annotations

import math
import sys
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Unpack

import numpy as np

from convmatrix import options as validate
from convmatrix.distributed.slab_sizes import SLAB_BYTES, Rows, SlabPlan, slab_plan
from convmatrix.distributed.workers import given_client, workers_of
from convmatrix.geometry import ConvGeometry, given_geometry
from convmatrix.matrices import layer_matrix
from convmatrix.memory import MatrixTooLargeError, in_words, require
from convmatrix.options import LayerOptions, as_array, convert, takes_layer_options, weight_array
from convmatrix.progress import Progress, Step, reporting

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike

    from convmatrix.arrays import Array

_COPIES: Final = 2  # slabs in a worker's memory per thread: one, and as much again to build it and for the function
_USABLE: Final = 0.8  # share of a worker's memory, above which Dask pauses it
_MOST_LOSSES: Final = 5  # how often the kernel is sent again after all workers that held it died
_PATIENCE: Final = 20.0  # seconds until a result is asked for again
_FAN_IN: Final = 4  # results that one task reduces, a power of two; limits the tasks, and the results on one worker
_REFRESH: Final = 2.0  # seconds after which threads are counted anew, for clusters that grow


# --- on the workers ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class SlabLayer:
    """The kernel and the layer, from which a worker rebuilds any slab."""

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
            used: list[Array] = []

            def empty(length: int, dtype: Any, used: list[Array] = used) -> Array:
                used.append(self._buffer(length, dtype))
                return used[-1][:length]

            try:
                slab = layer_matrix(self.weights, self.geometry, self.order, rows=rows, empty=empty)
                result = function(slab, rows)
            except Exception as error:
                error.add_note(f"in rows {rows[0]} to {rows[1] - 1} of the matrix of {self.geometry!r:.500}")
                raise
            del slab
            while used:
                buffer = used.pop()
                if sys.getrefcount(buffer) == 2:  # this name and the argument
                    self._buffers.append(buffer)
            yield result

    def _buffer(self, length: int, dtype: Any) -> Array:
        """Return an unused array of at least this length: the one used last if it fits, otherwise a new one."""
        try:
            last = self._buffers.pop()
        except IndexError:
            last = np.zeros(0)
        if len(last) >= length and last.dtype == dtype:
            return last
        n_bytes = length * np.dtype(dtype).itemsize
        require(n_bytes, lambda: f"a slab of {self.geometry!r:.500}", "set a smaller rows_per_slab")
        return np.empty(length, dtype=dtype)


def _apply(
    layer: SlabLayer,
    ranges: Sequence[Rows],
    with_rows: bool,
    function: Callable[..., Any],
    reduce: Callable[[Any, Any], Any] | None = None,
) -> Any:
    """Return the results of some slabs: as a list, or reduced."""
    results = layer.each(ranges, function if with_rows else lambda slab, _: function(slab))
    return list(results) if reduce is None else _reduced(((0, result) for result in results), reduce)


def _combine(levels: Sequence[int], results: Sequence[Any], reduce: Callable[[Any, Any], Any]) -> Any:
    """Return the reduction of adjacent results of tasks, which Dask passes as a separate sequence."""
    return _reduced(zip(levels, results, strict=True), reduce)


def _reduced(results: Iterable[tuple[int, Any]], reduce: Callable[[Any, Any], Any]) -> Any:
    """Return the reduction of adjacent results as a tree; results of equal level cover equal numbers of slabs."""
    partial: list[tuple[int, Any]] = []
    for level, result in results:
        while partial and partial[-1][0] == level:
            result = reduce(partial.pop()[1], result)
            level += 1
        partial.append((level, result))
    _, total = partial.pop()
    while partial:  # from the right
        total = reduce(partial.pop()[1], total)
    return total


# --- on the client ----------------------------------------------------------------------------------------------------


class SlabTasks:
    """The slabs of one layer as tasks of a client: sent in a bounded number, sent again if workers are lost.

    Parameters
    ----------
    kernel, geometry, rows_per_slab, client, order, dtype, **options
        As for `map_slabs`.
    shared : sequence
        Objects that each worker receives once, besides the kernel.
    task_bytes : callable, optional
        ``task_bytes(plan)`` returns the bytes that a task needs besides its slab.

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
        task_bytes: Callable[[SlabPlan], int] = lambda _: 0,
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
        self.require(task_bytes(self.plan))
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

    @property
    def are_several_per_thread(self) -> bool:
        """Whether there are more tasks than may be waiting or running."""
        return self.plan.n_slabs > self.per_task * self._most_waiting()

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

        Slightly more tasks than there are threads are computed ahead.
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

        As the number of slabs of a task is a power of two, this is the same tree as if each were a separate task.
        """
        running: deque[tuple[Any, int]] = deque()
        partial: list[tuple[int, Any]] = []
        done = 0

        def combined(group: Sequence[tuple[int, Any]]) -> Any:
            if len(group) == 1:
                return group[0][1]
            levels, results = zip(*group, strict=True)
            key = f"reduce-slabs-{uuid.uuid4().hex}"
            return self.client.submit(_combine, levels, results, self.shared()[-1], key=key, pure=False, priority=1)

        try:
            for first in range(0, self.plan.n_slabs, self.per_task):
                numbers = range(first, min(first + self.per_task, self.plan.n_slabs))
                if len(running) >= self._most_waiting():
                    done += self._finish(running)
                    report(done, self.plan.n_slabs, "")
                future = self._submit(task, numbers, arguments(numbers))
                running.append((future, len(numbers)))
                partial.append((0, future))
                while len(partial) >= _FAN_IN and partial[-_FAN_IN][0] == partial[-1][0]:
                    partial[-_FAN_IN:] = [(partial[-1][0] + 1, combined(partial[-_FAN_IN:]))]
            total: list[tuple[int, Any]] = []
            while partial:  # from the right: results of equal level, with the total of all that follow
                first = [level for level, _ in partial].index(partial[-1][0])
                total = [(-1, combined([*partial[first:], *total]))]
                del partial[first:]
            partial = total
            while running:
                done += self._finish(running)
                report(done, self.plan.n_slabs, "")
            return self._result(total[0][1])
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
        By default the number chosen by `slab_plan` for slabs of 32 MB, or a tenth of the memory of a worker's thread.
    client : distributed.Client, optional
        By default the client that was created last.
    reduce : callable, optional
        ``reduce(left, right)`` combines the results of neighbouring slabs on a worker. It must be associative; it need
        not be commutative, and must not modify its arguments. Pairs are reduced as a tree that depends only on the
        number of slabs, so rounding errors do not depend on the workers.
    with_rows : bool
        Call ``function(slab, (start, stop))``, with the range of rows.
    progress : bool or callable, optional
        As for `convmatrix.progress.reporting`; a callable is called after every slab.
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
