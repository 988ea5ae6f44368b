"""The training loop, its progress bar, and its response to Ctrl-C."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from convmatrix import options as validate
from convmatrix.nn.checkpoints import History, NonFiniteError, Run
from convmatrix.nn.optimisation import SGD, Loss, Optimiser, SoftmaxCrossEntropy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from convmatrix.nn.layer import Layer

    Array = NDArray[Any]


class Interrupt:
    """Remembers that there was an interrupt."""

    def __init__(self) -> None:
        self.requested = False


@contextmanager
def deferred_interrupts(*, wanted: bool) -> Iterator[Interrupt]:
    """Hold back the first interrupt (SIGINT) of the block; a second one is raised at once, as usual.

    Whoever opens the block looks at `Interrupt.requested` where it is safe to stop, and raises `KeyboardInterrupt`.
    Where interrupts are not Python's own to raise (in another thread, or where the program has its own handler or
    ignores them) everything stays as it was.
    """
    interrupt = Interrupt()
    ours = wanted and threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield interrupt
        return

    def remember(*_: Any) -> None:
        interrupt.requested = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, remember)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


class Progress:
    """Shows epoch, step and loss on a terminal, at most ten times a second; elsewhere nothing.

    Parameters
    ----------
    stream : text stream
    epochs, steps : int
    shown : bool, optional
        By default where the stream is a terminal.
    """

    def __init__(self, stream: TextIO, epochs: int, steps: int, *, shown: bool | None = None) -> None:
        self.stream, self.epochs, self.steps = stream, epochs, steps
        self.shown = stream.isatty() if shown is None else shown
        self._last = 0.0
        self._begun = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def show(self, epoch: int, step: int, loss: float) -> None:
        """Show how far the training is; ``epoch`` counts those completed."""
        now = time.monotonic()
        if not self.shown or (now - self._last < 0.1 and step < self.steps):
            return
        self._last, self._begun = now, True
        filled = 20 * step // self.steps
        bar = "#" * filled + "." * (20 - filled)
        self.stream.write(f"\repoch {epoch + 1}/{self.epochs} [{bar}] {step}/{self.steps} loss {loss:.4f} ")
        self.stream.flush()

    def close(self) -> None:
        """End the line, where there is one."""
        if self._begun:
            self._begun = False
            self.stream.write("\n")
            self.stream.flush()


Metric = Callable[["Array", "Array"], float]


Callback = Callable[[History], Any]


__all__ = ["History", "NonFiniteError", "accuracy", "fit", "predict"]


def accuracy(output: Array, targets: Array) -> float:
    """Return the part of samples whose largest output is at their label.

    Examples
    --------
    >>> import numpy as np
    >>> accuracy(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1]))
    0.5
    """
    return float(np.mean(output.argmax(axis=1) == targets))


def fit(
    network: Layer,
    x: ArrayLike,
    y: ArrayLike,
    *,
    epochs: int,
    loss: Loss | None = None,
    optimiser: Optimiser | None = None,
    batch_size: int = 64,
    validation: tuple[ArrayLike, ArrayLike] | None = None,
    metrics: dict[str, Metric] | None = None,
    callbacks: Iterable[Callback] = (),
    patience: int | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_steps: int | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: bool | None = None,
    rng: int | np.random.Generator = 0,
) -> History:
    """Train a network by mini-batches; the same seed gives the same bits.

    Parameters
    ----------
    network : Layer
        Usually a `Sequential`; its parameters are changed in place.
    x : array_like, shape (samples, ...)
        Real numbers.
    y : array_like, shape (samples, ...)
        Targets, as the loss takes them.
    epochs : int
        In all; a resumed training goes on to this number.
    loss : Loss, optional
        `SoftmaxCrossEntropy` by default.
    optimiser : Optimiser, optional
        ``SGD(0.01, momentum=0.9)`` by default.
    batch_size : int
        The last batch of an epoch takes what is left.
    validation : (x, y), optional
    metrics : dict of str to callable, optional
        ``metric(output, targets)``; `accuracy` by default where the targets are class labels.
    callbacks : iterable of callable
        Called with the `History` after each epoch; one that returns True ends the training.
    patience : int, optional
        Stop early when the validation loss has not fallen below its least for so many epochs.
    checkpoint : path, optional
        File (.npz) to resume from where it exists, and to write after each epoch. A training that was killed and is
        called again with the same arguments ends with the same bits as one that was not. Ctrl-C (SIGINT) then finishes
        the step, writes the file, and raises `KeyboardInterrupt`; a second one does not wait.
    checkpoint_steps : int, optional
        Write it also after every so many steps.
    settings : mapping of str to JSON values, optional
        What else the training depends on, such as its learning rate: kept in the checkpoint, and a checkpoint with
        other settings is refused.
    progress : bool, optional
        Show a bar on stderr; by default where that is a terminal.
    rng : int or numpy.random.Generator
        For the order of the samples.

    Returns
    -------
    History

    Raises
    ------
    ValueError, TypeError
        Before the first step: for data that do not fit each other, the network or the loss.
    NonFiniteError
        If the loss becomes NaN or infinite, with layer, step and batch; the checkpoint stays at the last good state.

    Examples
    --------
    >>> import numpy as np
    >>> from convmatrix import nn
    >>> x = np.array([[-1.0], [1.0]])
    >>> network = nn.Sequential([nn.Dense(1, 2)])
    >>> history = nn.fit(network, x, [0, 1], epochs=20, optimiser=nn.SGD(1.0))
    >>> history.metrics["accuracy"][-1]
    1.0
    """
    loss = SoftmaxCrossEntropy() if loss is None else loss
    optimiser = SGD(0.01, momentum=0.9) if optimiser is None else optimiser
    for name, value in (("epochs", epochs), ("batch_size", batch_size), ("patience", patience)):
        if value is not None:
            validate.integer(name, value, minimum=1)
    if patience is not None and validation is None:
        raise ValueError("patience watches the validation loss; give validation=(x, y)")
    path = _checkpoint_path(checkpoint, checkpoint_steps)
    inputs, targets = _check_data(network, loss, "training", x, y)
    held_out = None if validation is None else _check_data(network, loss, "validation", *validation)
    if metrics is None:
        metrics = {"accuracy": accuracy} if targets.ndim == 1 and targets.dtype.kind in "iu" else {}
    run = Run(network, optimiser, loss, inputs, targets, batch_size, np.random.default_rng(rng))
    run.settings = dict(settings or {})
    if path is not None and path.exists():
        run.resume(path)
    history = run.history
    watchers: Sequence[Callback] = tuple(callbacks)
    with (
        Progress(sys.stderr, epochs, -(-len(inputs) // batch_size), shown=progress) as bar,
        deferred_interrupts(wanted=path is not None) as interrupt,
    ):
        while history.epochs < epochs and not run.stopped:
            for step in run.steps():
                bar.show(history.epochs, step, run.mean_loss)
                if path is not None and (interrupt.requested or (checkpoint_steps and step % checkpoint_steps == 0)):
                    run.save(path)
                _stop_if(interrupt)
            history.loss.append(run.mean_loss)
            if held_out is not None or metrics:
                shown_x, shown_y = (inputs, targets) if held_out is None else held_out
                with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # the next lines look for these
                    output = predict(network, shown_x, batch_size)
                    mean = loss(output, shown_y)[0]
                if held_out is not None:
                    history.validation_loss.append(mean)
                    run.check_loss(history.validation_loss[-1], shown_x)
                for name, metric in metrics.items():
                    history.metrics.setdefault(name, []).append(float(metric(output, shown_y)))
            run.begin_epoch()
            answers = [watcher(history) for watcher in watchers]
            run.stopped = any(answer is True for answer in answers) or _is_stuck(history, patience)
            if path is not None:
                run.save(path)
            _stop_if(interrupt)
    return history


def predict(network: Layer, x: ArrayLike, batch_size: int = 64) -> Array:
    """Return the network's outputs, computed batch by batch, not in training.

    Examples
    --------
    >>> from convmatrix import nn
    >>> predict(nn.small(), np.ones((100, 1, 8, 8))).shape
    (100, 10)
    """
    inputs = np.asarray(x)
    if not len(inputs):
        raise ValueError(f"there is nothing to predict: x has shape {inputs.shape}; give at least one sample")
    validate.integer("batch_size", batch_size, minimum=1)
    parts = [network.forward(inputs[start : start + batch_size]) for start in range(0, len(inputs), batch_size)]
    return np.concatenate(parts)


def _stop_if(interrupt: Interrupt) -> None:
    if interrupt.requested:
        raise KeyboardInterrupt


def _is_stuck(history: History, patience: int | None) -> bool:
    losses = history.validation_loss
    return patience is not None and len(losses) - 1 - int(np.argmin(losses)) >= patience


def _checkpoint_path(checkpoint: str | Path | None, steps: int | None) -> Path | None:
    """Return the path, where a file can be written there."""
    if steps is not None:
        validate.integer("checkpoint_steps", steps, minimum=1)
        if checkpoint is None:
            raise ValueError(f"checkpoint_steps={steps} says when to write, but not where to; give checkpoint=path")
    if checkpoint is None:
        return None
    path = Path(checkpoint)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write the checkpoint {path}: its folder does not exist; create it first")
    if path.is_dir():
        raise ValueError(f"the checkpoint {path} is a folder; give a file")
    return path


def _check_data(network: Layer, loss: Loss, what: str, x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """Return inputs and targets as arrays that fit each other, the network and the loss."""
    inputs, targets = np.asarray(x), np.asarray(y)
    if inputs.dtype.kind not in "fiu":
        raise TypeError(
            f"the {what} inputs must be real numbers, but have dtype {inputs.dtype}; convert them to float32"
        )
    if inputs.ndim < 2 or not len(inputs):
        raise ValueError(f"the {what} inputs must be (samples, ...) with at least one sample, but are {inputs.shape}")
    if targets.ndim < 1 or len(targets) != len(inputs):
        raise ValueError(
            f"there are {len(inputs)} {what} inputs, but targets of shape {targets.shape}; give one a sample"
        )
    if not np.isfinite(inputs).all():
        bad = int(np.flatnonzero(~np.isfinite(inputs).reshape(len(inputs), -1).all(axis=1))[0])
        raise ValueError(f"the {what} inputs hold numbers that are not finite, first in sample {bad}; clean the data")
    if targets.dtype.kind not in "fiu":
        raise TypeError(f"the {what} targets must be labels or real numbers, but have dtype {targets.dtype}")
    if targets.dtype.kind == "f" and not np.isfinite(targets).all():
        raise ValueError(f"the {what} targets hold numbers that are not finite; clean the data")
    loss.check(network.output_shape(inputs.shape[1:]), targets)
    return inputs, targets
