"""Campaigns in separate processes, so that a target that ends its process is a finding and not the end."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from multiprocessing import connection
from typing import TYPE_CHECKING, Any, Final

from convmatrix.conformance.judging import Difference, Judgement, judge
from convmatrix.conformance.layer_cases import features
from convmatrix.conformance.trials import LayerOutcome, drawn_layer, find, outcomes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from convmatrix.conformance.expected_values import LayerValues
    from convmatrix.conformance.judging import Judge
    from convmatrix.conformance.layer_cases import LayerCase
    from convmatrix.conformance.target_names import TargetName
    from convmatrix.conformance.targets import TargetCall

MOST_CRASHES: Final = 20
"""Number of times that a process may end before its remaining layers are skipped."""


class _Worker:
    """One process, which runs every ``step``-th layer, and is started again after a crash."""

    def __init__(self, name: TargetName, seed: int, start: int, count: int, step: int) -> None:
        self.name, self.seed, self.next, self.count, self.step = name, seed, start, count, step
        self.crashes = 0
        self.start()

    def start(self) -> None:
        """Start a process for the remaining layers."""
        self.process, self.connection = _started(_run_layers, self.name, self.seed, self.next, self.count, self.step)


class Workers:
    """The processes of a campaign, as a context that ends them."""

    def __init__(self, name: TargetName, seed: int, count: int, jobs: int) -> None:
        self.seed, self.target = seed, name.load()
        self.isolated, self.crashed = IsolatedJudge(name), set[str]()
        jobs = min(jobs, count)
        self.workers = [_Worker(name, seed, start, count, jobs) for start in range(jobs)]

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        for worker in self.workers:
            _ended(worker.process, worker.connection)
        self.isolated.close()

    def outcomes(self, until: float | None) -> Iterator[LayerOutcome]:
        """Yield the outcomes of all processes as they come in, until the time is up."""
        active = {worker.connection: worker for worker in self.workers}
        while active:
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                return
            for ready in connection.wait(list(active), left):
                worker = active[ready]
                try:
                    message = worker.connection.recv()
                except (EOFError, ConnectionError):
                    del active[worker.connection]
                    if worker.next < worker.count:
                        yield self._crashed(worker)
                        if worker.crashes < MOST_CRASHES and worker.next < worker.count:
                            worker.start()
                            active[worker.connection] = worker
                    continue
                if isinstance(message, Exception):
                    raise message
                worker.next = message.number + worker.step
                yield message

    def _crashed(self, worker: _Worker) -> LayerOutcome:
        """Return the outcome of the layer at which a process ended; the first of each call is shrunk."""
        worker.process.join()
        worker.connection.close()
        worker.crashes += 1
        number = worker.next
        worker.next += worker.step
        call, case, values = drawn_layer(self.target, self.seed, number)
        finding = None
        if call.name not in self.crashed:
            self.crashed.add(call.name)
            difference = self.isolated(call, case, values).difference
            judge_layer: Judge = self.isolated
            if difference is None:  # only after the layers before it
                text = f"the process ended with status {worker.process.exitcode}, but not for this layer alone"
                difference, judge_layer = Difference("crash", "", text), lambda *_: Judgement()
            finding = find(self.target, call, number, case, values, difference, judge_layer)
        return LayerOutcome(number, call.name, tuple(features(case)), failed=True, finding=finding)


class IsolatedJudge:
    """A judge that runs calls in another process; the end of that process is a difference of the kind "crash"."""

    def __init__(self, name: TargetName) -> None:
        self.name = name
        self.process: Any = None
        self.connection: Any = None

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            _ended(self.process, self.connection)

    def __call__(self, call: TargetCall, case: LayerCase, values: LayerValues) -> Judgement:
        """Return the judgement of a layer by a worker process."""
        if self.process is None:
            self.process, self.connection = _started(_judge_layers, self.name)
        try:
            self.connection.send((case, values))
            judgement: Judgement = self.connection.recv()
        except (EOFError, ConnectionError):
            self.process.join()
            status = self.process.exitcode
            self.connection.close()
            self.process = self.connection = None
            return _crash(status)
        return judgement


def _started(function: Any, *arguments: Any) -> tuple[Any, Any]:
    """Return a new process and the connection to it; nothing is inherited from this process."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=function, args=(theirs, *arguments), daemon=True)
    process.start()
    theirs.close()
    return process, ours


def _ended(process: Any, pipe: Any) -> None:
    """End a process that was started here."""
    pipe.close()
    process.terminate()
    process.join()


def _run_layers(pipe: Any, name: TargetName, seed: int, start: int, count: int, step: int) -> None:
    """Send the outcome of each layer; runs in a separate process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends this one
    try:
        for outcome in outcomes(name.load(), seed, range(start, count, step)):
            pipe.send(outcome)
    except BrokenPipeError:
        return
    except Exception as error:
        with contextlib.suppress(Exception):
            pipe.send(error)


def _judge_layers(pipe: Any, name: TargetName) -> None:
    """Judge layers as they are received; runs in a separate process, which ends with the target if it cannot fork."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    target = name.load()
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            case, values = pipe.recv()
            call = target.call(case.call)
            if not hasattr(os, "fork"):
                pipe.send(judge(call, case, values))
                continue
            child = os.fork()
            if child == 0:
                pipe.send(judge(call, case, values))
                os._exit(0)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            if status:
                pipe.send(_crash(status))


def _crash(status: int) -> Judgement:
    return Judgement(Difference("crash", "", f"the process of the target ended, with status {status}"))
