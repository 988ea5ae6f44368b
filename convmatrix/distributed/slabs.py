"""Row slabs of a layer's matrix on Dask workers: how they are cut, rebuilt from the kernel, mapped and reduced."""

from __future__ import annotations

import math
import sys
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Literal, Unpack

import numpy as np

from convmatrix import options as validate
from convmatrix.geometry import ConvGeometry, given_geometry
from convmatrix.matrices import conv_matrix, slab_columns
from convmatrix.memory import Estimate, MatrixTooLargeError, estimate, in_words
from convmatrix.options import LayerOptions, as_array, convert, takes_layer_options, weight_array

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike

    from convmatrix.arrays import Array

Rows = tuple[int, int]
Progress = bool | Callable[[int, int], None]

SLAB_BYTES: Final = 2**26
"""Bytes of a slab by default: long enough to hide the cost of a task, and small enough to be built quickly."""

_COPIES: Final = 2  # slabs in a worker's memory per thread: one, and as much again to build it and for the function
_USABLE: Final = 0.8  # share of a worker's memory, above which Dask pauses it
_SAMPLED: Final = 64  # slabs whose sizes are computed to find the largest
_MOST_LOSSES: Final = 5  # how often the kernel is sent again after all workers that held it died
_WAIT: Final = 60  # seconds to wait for a first worker
_REFRESH: Final = 2.0  # seconds after which threads are counted anew, for clusters that grow


# --- sizes ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SlabPlan:
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
        """Bytes of the largest slab; of more than 64 slabs, the largest of 64 at equal distances."""
        return max(self.estimate(rows).bytes for rows in self._sample)

    def estimate(self, rows: Rows | None = None) -> Estimate:
        """Return the size of a slab, or of the whole matrix."""
        return estimate(self.geometry, dtype=self.dtype, order=self.order, rows=rows)

    @cached_property
    def part_bytes(self) -> int:
        """Bytes of the largest part of a vector of this dtype that a slab reads, among the same slabs."""
        largest = 0
        for rows in self._sample:
            _, index = slab_columns(self.geometry, rows, self.order)
            sizes = [entry.stop - entry.start if isinstance(entry, slice) else entry.size for entry in index]
            largest = max(largest, math.prod(sizes) * self.dtype.itemsize)
        return largest

    def __str__(self) -> str:
        rows, columns = self.matrix.shape
        return (
            f"matrix  {rows} x {columns}, {self.matrix.nonzeros} nonzeros, {in_words(self.matrix.bytes)}\n"
            f"slabs   {self.n_slabs} of {self.rows_per_slab} rows, at most {in_words(self.slab_bytes)} each\n"
            f"sent    {in_words(self.kernel_bytes)} once to each worker, "
            f"and at most {in_words(self.part_bytes)} of a vector per slab"
        )


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
    slabs   26215 of 2560 rows, at most 70.7 MB each
    sent    4.72 MB once to each worker, and at most 7.34 MB of a vector per slab
    """
    order = validate.order(order)
    dtype = np.dtype(dtype)
    if rows_per_slab is not None:
        rows = min(validate.integer("rows_per_slab", rows_per_slab, minimum=1), geometry.n_out)
        return SlabPlan(geometry, rows, order, dtype)
    rows = geometry.n_out
    for _ in range(2):  # once more, because indices of a slab may be shorter than those of the whole matrix
        first = (geometry.n_out - rows) // 2
        found = estimate(geometry, dtype=dtype, order=order, rows=(first, first + rows))
        rows = max(min(slab_bytes * rows // found.bytes, geometry.n_out), 1)
    block, sizes = 1, (geometry.out_channels, *geometry.output_shape)
    for size in reversed(sizes) if order == "C" else sizes:
        if block * size > rows:
            break
        block *= size
    return SlabPlan(geometry, rows // block * block, order, dtype)


# --- on the workers ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SlabLayer:
    """What a worker needs to rebuild any slab: the kernel and the layer."""

    weights: Array
    geometry: ConvGeometry
    order: Literal["C", "F"]

    def slab(self, rows: Rows) -> Any:
        """Return a slab of the matrix."""
        return conv_matrix(self.weights, self.geometry, order=self.order, rows=rows)


def _apply(layer: SlabLayer, rows: Rows, function: Callable[..., Any], with_rows: bool) -> Any:
    return function(layer.slab(rows), rows) if with_rows else function(layer.slab(rows))


def _combine(reduce: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    return reduce(left, right)


# --- on the client ----------------------------------------------------------------------------------------------------


def given_client(client: Any) -> Any:
    """Return a ``distributed.Client``: the given one, or by default the one created last."""
    try:
        distributed: Any = import_module("distributed")
    except ImportError as error:
        raise ImportError(
            f"convmatrix.distributed needs the packages dask and distributed ({error}); install them with "
            "pip install 'convmatrix[distributed]'"
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
        limits = [(info["memory_limit"] // info["nthreads"], name) for name, info in self._workers().items()]
        least, self._tightest = min(((limit, name) for limit, name in limits if limit), default=(2**62, ""))
        self._room = int(_USABLE * least)
        target = min(SLAB_BYTES, self._room // (4 * _COPIES))
        self.plan = slab_plan(made, rows_per_slab, order=order, dtype=weights.dtype, slab_bytes=target)
        self.require(per_task(self.plan))
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

    def _workers(self) -> dict[str, Any]:
        """Return what the scheduler knows of the workers; wait for the first one."""
        workers: dict[str, Any] = self.client.scheduler_info()["workers"]
        if not workers:
            self.client.wait_for_workers(1, timeout=_WAIT)
            workers = self.client.scheduler_info()["workers"]
        return workers

    def _most_waiting(self) -> int:
        """Return the number of slabs that may be waiting or running: two per thread, and one more."""
        counted, threads = self._counted
        if time.monotonic() - counted > _REFRESH:
            threads = sum(info["nthreads"] for info in self._workers().values())
            self._counted = time.monotonic(), threads
        return 2 * max(threads, 1) + 1

    def shared(self) -> list[Any]:
        """Return the layer and the other shared objects as futures; they are sent to all workers at once."""
        if not self._futures:
            self._workers()
            self._futures = self.client.scatter(self._objects, broadcast=True, hash=False)
        return self._futures

    def _submit(self, task: Callable[..., Any], number: int, arguments: Sequence[Any]) -> Any:
        """Return the future of ``task(layer, rows, *arguments)`` for a slab."""
        import dask

        layer, *_ = self.shared()
        key = f"{task.__name__.strip('_')}-slab-{number}-{uuid.uuid4().hex}"
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 PB"}):  # for parts of vectors
            return self.client.submit(task, layer, self.plan.rows(number), *arguments, key=key, pure=False)

    def ordered(
        self,
        task: Callable[..., Any],
        arguments: Callable[[int], Sequence[Any]],
        *,
        numbers: Sequence[int] | None = None,
        progress: Progress = False,
    ) -> Iterator[Any]:
        """Yield ``task(layer, rows, *arguments(number))`` of each slab, in order; few are computed ahead."""
        numbers = range(self.plan.n_slabs) if numbers is None else numbers
        done = losses = 0
        with _Bar(len(numbers), progress) as bar:
            while done < len(numbers):
                waiting: deque[Any] = deque()
                following = done
                try:
                    while done < len(numbers):
                        while following < len(numbers) and len(waiting) < self._most_waiting():
                            number = numbers[following]
                            waiting.append(self._submit(task, number, arguments(number)))
                            following += 1
                        result = self._result(waiting[0], numbers[done])
                        waiting.popleft()
                        done += 1
                        bar.show(done)
                        yield result
                except CancelledError as error:
                    losses = self._lost(losses, error)
                finally:
                    for future in waiting:
                        future.release()

    def reduced(
        self,
        task: Callable[..., Any],
        arguments: Callable[[int], Sequence[Any]],
        reduce: Callable[[], Any],
        *,
        progress: Progress = False,
    ) -> Any:
        """Return the results of all slabs, reduced on the workers in pairs of neighbours, then in pairs of pairs."""
        losses = 0
        while True:
            running: deque[tuple[int, Any]] = deque()
            partial: list[tuple[int, Any]] = []  # levels in the tree, which fall, and futures
            try:
                with _Bar(self.plan.n_slabs, progress) as bar:
                    for number in range(self.plan.n_slabs):
                        if len(running) >= self._most_waiting():
                            self._finish(running, bar)
                        future = self._submit(task, number, arguments(number))
                        running.append((number, future))
                        level = 0
                        while partial and partial[-1][0] == level:
                            future = self._pair(reduce, partial.pop()[1], future)
                            level += 1
                        partial.append((level, future))
                    while running:
                        self._finish(running, bar)
                future = partial.pop()[1]
                while partial:
                    future = self._pair(reduce, partial.pop()[1], future)
                return self._result(future, None)
            except CancelledError as error:
                losses = self._lost(losses, error)
            finally:
                for _, future in (*running, *partial):
                    future.release()

    def _pair(self, reduce: Callable[[], Any], left: Any, right: Any) -> Any:
        key = f"reduce-slabs-{uuid.uuid4().hex}"
        return self.client.submit(_combine, reduce(), left, right, key=key, pure=False, priority=1)

    def _finish(self, running: deque[tuple[int, Any]], bar: _Bar) -> None:
        """Wait for the first of the running slabs; its result stays on its worker."""
        from distributed.client import wait

        number, future = running[0]
        _ = wait([future])
        if future.status != "finished":
            self._result(future, number)
        running.popleft()
        bar.show(number + 1)

    def _result(self, future: Any, number: int | None) -> Any:
        """Return the result of a future; errors say in which rows they were raised."""
        from distributed.scheduler import KilledWorker

        where = "in the reduction"
        if number is not None:
            start, stop = self.plan.rows(number)
            where = f"in slab {number} of {self.plan.n_slabs}, rows {start} to {stop - 1} of the matrix"
        try:
            return future.result()
        except CancelledError:
            raise
        except KilledWorker as error:
            raise RuntimeError(
                f"several workers died {where}, the last one {error.last_worker.address}; a slab takes "
                f"{in_words(self.plan.slab_bytes)} besides what the function needs; if they ran out of memory, set "
                f"rows_per_slab below {self.plan.rows_per_slab}"
            ) from error
        except Exception as error:
            error.add_note(where)
            raise

    def _lost(self, losses: int, error: CancelledError) -> int:
        """Prepare to send the kernel again after all workers that held it died; return how often that happened."""
        if losses >= _MOST_LOSSES or self.client.status != "running":
            raise RuntimeError(
                f"the tasks were cancelled, or all workers died, {losses + 1} times (client {self.client.status}); "
                "see the logs of the workers"
            ) from error
        self._futures = []
        return losses + 1


class _Bar:
    """A progress bar on stderr, or a function that is told about progress, or nothing."""

    def __init__(self, total: int, wanted: Progress) -> None:
        self._total, self._wanted = total, wanted
        self._start = time.monotonic()
        self._drawn = False

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._drawn:
            print(file=sys.stderr, flush=True)

    def show(self, done: int) -> None:
        if callable(self._wanted):
            self._wanted(done, self._total)
        elif self._wanted:
            seconds = time.monotonic() - self._start
            left = seconds / done * (self._total - done)
            bar = "#" * (30 * done // self._total)
            text = f"\r[{bar:30}] {done} of {self._total} slabs, {seconds:.0f} s, {left:.0f} s left "
            print(text, end="", file=sys.stderr, flush=True)
            self._drawn = True


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
    progress: Progress = False,
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
        By default as many as `slab_plan` chooses for slabs of 64 MB, or of a tenth of a worker's memory per thread.
    client : distributed.Client, optional
        By default the client that was created last.
    reduce : callable, optional
        ``reduce(left, right)`` combines the results of neighbouring slabs on a worker. It must be associative; it need
        not be commutative, and must not modify its arguments. Pairs are reduced as a tree that depends only on the
        number of slabs, so rounding errors do not depend on the workers.
    with_rows : bool
        Call ``function(slab, (start, stop))``, with the range of rows.
    progress : bool or callable
        Show a bar on stderr, or call ``progress(done, of)`` after each slab.
    order, dtype
        As for `convmatrix.conv_matrix`.
    stride, dilation, padding, boundary, groups, connections, sharing, flip, transposed, output_padding
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
    >>> with Client(processes=False, n_workers=1, threads_per_worker=2, dashboard_address=None) as client:
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

    def arguments(_: int) -> tuple[Any, bool]:
        return tasks.shared()[1], with_rows

    if reduce is None:
        return list(tasks.ordered(_apply, arguments, progress=progress))
    return tasks.reduced(_apply, arguments, lambda: tasks.shared()[2], progress=progress)
