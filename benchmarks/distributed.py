"""Row slabs of a matrix larger than memory on two Dask workers, against one process, and with a worker killed."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np

import convmatrix as cm
from benchmarks import Context, Effort, Goal, Row, Table, ratio_of, side_by_side
from benchmarks._machine import process_status
from benchmarks._timing import one_core
from convmatrix.distributed import SlabOperator, SlabPlan, map_slabs, slab_plan
from convmatrix.memory import in_words

LIMIT: Final = 2 * 2**30
"""Bytes of memory that each of the two workers may use."""

ALLOCATOR: Final = {
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 2**26,
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 2**25,
}
"""Settings of Dask with which workers keep 64 MiB of memory that was freed, as other processes do under Linux.

By default Dask lets workers return it at once, and each large temporary array costs page faults.
"""


def layer(context: Context) -> cm.ConvGeometry:
    """Return the layer, whose matrix takes 4.8 GB, or in a quick run 16 MB."""
    channels, size = (8, 50) if context.quick else (64, 105)
    return cm.ConvGeometry((size, size), (3, 3), in_channels=channels, out_channels=channels, padding="same")


# --- what is asked of each slab ---------------------------------------------------------------------------------------


def row_norms(slab: Any) -> Any:
    """Return the norm of each row."""
    return np.sqrt(np.add.reduceat(slab.data * slab.data, slab.indptr[:-1]))


def degrees(slab: Any) -> Any:
    """Return the histogram of the number of entries of a row."""
    return np.bincount(np.diff(slab.indptr), minlength=1024)


def nonzeros(slab: Any) -> int:
    """Return the number of entries that are not zero."""
    return int(np.count_nonzero(slab.data))


def add(left: Any, right: Any) -> Any:
    """Return a sum."""
    return left + right


class Questions:
    """The questions, each answered by one process and by the workers."""

    def __init__(self, context: Context, client: Any) -> None:
        geometry = layer(context)
        rng = np.random.default_rng(0)
        self.kernel = rng.standard_normal(geometry.weight_shape)
        self.kernel[rng.random(self.kernel.shape) < 0.1] = 0.0  # stored, but not counted
        self.geometry, self.client = geometry, client
        self.x = rng.standard_normal(geometry.n_in)
        self.plans: dict[str, SlabPlan] = {}
        self.operators = {}
        for order in ("C", "F"):
            self.operators[order] = SlabOperator(self.kernel, geometry, client=client, order=order)
            self.plans[order] = self.operators[order].plan

    def slabs(self, order: str) -> Iterator[tuple[tuple[int, int], Any]]:
        """Yield the slabs one after another, in this process."""
        plan = self.plans[order]
        for number in range(plan.n_slabs):
            rows = plan.rows(number)
            yield rows, cm.conv_matrix(self.kernel, self.geometry, order=order, rows=rows)

    def answers(self) -> dict[str, tuple[str, Callable[[], Any], Callable[[], Any]]]:
        """Return for each question the order, and the functions that answer it in one process and on the workers."""

        def product(order: str) -> Any:
            result = np.empty(self.geometry.n_out)
            for (start, stop), slab in self.slabs(order):
                result[start:stop] = slab @ self.x
            return result

        def reduced(function: Callable[[Any], Any]) -> Any:
            total = None
            for _, slab in self.slabs("C"):
                found = function(slab)
                total = found if total is None else total + found
            return total

        def mapped(function: Callable[[Any], Any], reduce: Any = None) -> Any:
            return map_slabs(function, self.kernel, self.geometry, client=self.client, reduce=reduce)

        return {
            'A @ x, order "F"': ("F", lambda: product("F"), lambda: self.operators["F"] @ self.x),
            'A @ x, order "C"': ("C", lambda: product("C"), lambda: self.operators["C"] @ self.x),
            "row norms": (
                "C",
                lambda: np.concatenate([row_norms(slab) for _, slab in self.slabs("C")]),
                lambda: np.concatenate(mapped(row_norms)),
            ),
            "histogram of degrees": ("C", lambda: reduced(degrees), lambda: mapped(degrees, add)),
            "entries that are not zero": ("C", lambda: reduced(nonzeros), lambda: mapped(nonzeros, add)),
        }


# --- what workers are asked about themselves --------------------------------------------------------------------------


def _count_bytes() -> None:
    """Count all bytes that this worker reads from sockets from now on."""
    stream: Any = import_module("tornado.iostream").IOStream
    original = getattr(stream, "uncounted", stream.read_from_fd)
    received = [0]

    def read_from_fd(self: Any, buffer: Any) -> Any:
        count = original(self, buffer)
        received[0] += count or 0
        return count

    stream.uncounted, stream.received, stream.read_from_fd = original, received, read_from_fd


def _received() -> int:
    received: list[int] = import_module("tornado.iostream").IOStream.received
    return received[0]


def _reset_peak() -> None:
    """Start to measure the high-water mark of the resident set anew."""
    Path("/proc/self/clear_refs").write_text("5")


def _import() -> None:
    import_module("convmatrix.distributed")


@contextmanager
def two_workers() -> Iterator[Any]:
    """Yield a client of two worker processes, with one thread and 2 GiB each."""
    import dask
    from distributed import Client, LocalCluster

    with (
        dask.config.set(ALLOCATOR),
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            memory_limit=LIMIT,
            dashboard_address=":0",
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(2, timeout=60)
        client.run(_import)
        yield client


# --- topics -----------------------------------------------------------------------------------------------------------


def slabs(context: Context) -> Table:
    """Return the times of each question, taken in turns."""
    rows = []
    with two_workers() as client:
        questions = Questions(context, client)
        plan = questions.plans["C"]
        for name, (order, one, two) in questions.answers().items():
            context.report(name)
            client.run(_reset_peak)
            client.run(_count_bytes)
            answers: dict[str, Any] = {}

            def answer(who: str, ask: Callable[[], Any], answers: dict[str, Any] = answers) -> None:
                answers[who] = ask()

            def ask_on_one_core(name: str = name, one: Callable[[], Any] = one) -> None:
                with one_core() as pinned:
                    if not pinned:
                        raise RuntimeError(f"{name}: this system cannot keep a process on one core (Linux can)")
                    answer("one", one)

            contenders: dict[str, Callable[[], object]] = {
                "one core": ask_on_one_core,
                "one": partial(answer, "one", one),
                "two": partial(answer, "two", two),
            }
            times = side_by_side(contenders, Effort(1.0 if context.quick else 20.0, 1, 5), warm_up=False)
            received = sum(client.run(_received).values()) / len(times["two"]) / questions.plans[order].n_slabs
            allowed = plan.kernel_bytes + (questions.plans[order].part_bytes if "@" in name else 0)
            ratio = ratio_of(times["two"], times["one core"])
            cells: dict[str, str | int | float] = {
                "question": name,
                "one core, s": float(np.median(times["one core"])),
                "one process, s": float(np.median(times["one"])),
                "two workers, s": float(np.median(times["two"])),
                "ratio": ratio.median,
                "quartiles": ratio.quartiles,
                "to one process": ratio_of(times["two"], times["one"]).median,
                "difference": f"{_difference(answers['one'], answers['two']):.1g}",
                "largest worker, MB": max(client.run(process_status, "VmHWM").values()) / 1e6,
                "received per slab, kB": received / 1e3,
                "kernel and part, kB": allowed / 1e3,
            }
            rows.append(Row(cells, timings=times))
    matrix = plan.matrix
    return Table(
        f"Two workers of {in_words(LIMIT)}, a matrix of {in_words(matrix.bytes)}",
        f"{plan.geometry!r}: {matrix.nonzeros:,} entries in {plan.n_slabs} slabs of at most "
        f"{in_words(plan.slab_bytes)}. One process builds the same slabs by conv_matrix(rows=) and asks the same of "
        "them; the workers have one thread each. As conv_matrix fills large slabs with two threads, one process uses "
        "both cores already, and two workers can gain little on it. It was therefore also kept on one core, and the "
        "ratio, to which the goal applies, is two workers to one core; beside it two workers to one process. Received "
        "are all bytes that workers read from sockets, divided by the number of slabs; beside them the bytes of the "
        "kernel and of the largest part of x that a slab reads. The difference is relative to the largest value. "
        "Workers keep 64 MiB of freed memory, which they return at once by default.",
        rows,
        context.goal(Goal("ratio", "at most", 0.6)),
    )


def deaths(context: Context) -> Table:
    """Return the answers to a question of each kind while a worker is killed."""
    rows = []
    with two_workers() as client:
        questions = Questions(context, client)
        for name, (_, _, two) in questions.answers().items():
            if name not in ('A @ x, order "F"', "entries that are not zero"):
                continue
            context.report(f"{name}, a worker killed")
            start = time.perf_counter()
            expected = two()
            undisturbed = time.perf_counter() - start
            before = client.run(os.getpid)
            killer = threading.Timer(undisturbed / 2, os.kill, (next(iter(before.values())), signal.SIGKILL))
            killer.start()
            start = time.perf_counter()
            found = two()
            seconds = time.perf_counter() - start
            killer.join()
            killed = _replaced(client, before)
            client.run(_import)
            rows.append(
                Row(
                    {
                        "question": name,
                        "undisturbed, s": undisturbed,
                        "a worker killed, s": seconds,
                        "workers killed": killed,
                        "difference": f"{_difference(expected, found):.1g}",
                    }
                )
            )
    return Table(
        "A worker killed in the middle",
        "The same matrix and workers; one of them receives SIGKILL after half of the time, and is replaced by its "
        "nanny. The difference from the undisturbed answer is relative to the largest value.",
        rows,
    )


def _replaced(client: Any, before: dict[str, int]) -> int:
    """Return how many of the workers have died; wait until others have taken their places."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        workers = set(client.scheduler_info()["workers"])
        if len(workers) == len(before) and workers != set(before):
            return len(set(before) - workers)
        time.sleep(0.1)
    return 0


def _difference(expected: Any, found: Any) -> float:
    """Return the largest difference, relative to the largest value."""
    expected, found = np.asarray(expected), np.asarray(found)
    return float(np.abs(expected - found).max() / np.abs(expected).max())


def paper(_: Context) -> Table:
    """Return what a matrix of 3.7 TB would take."""
    geometry = cm.ConvGeometry((2160, 3840), (3, 3), in_channels=64, out_channels=64, padding="same")
    rows = []
    for order in ("C", "F"):
        plan = slab_plan(geometry, order=order)
        cells: dict[str, str | int | float] = {
            "order": order,
            "entries": plan.matrix.nonzeros,
            "slabs together": in_words(plan.slab_bytes * plan.n_slabs),
            "slabs": plan.n_slabs,
            "largest slab": in_words(plan.slab_bytes),
            "part of x per slab": in_words(plan.part_bytes),
            "x sent per product, at most": in_words(plan.part_bytes * plan.n_slabs),
        }
        rows.append(Row(cells))
    return Table("On paper: 64 -> 64 channels, 3 x 3, 3840 x 2160", "Computed by slab_plan; nothing is built.", rows)


TOPICS: Final = {"slabs": slabs, "deaths": deaths, "paper": paper}
