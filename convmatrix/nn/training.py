"""The training loop and its response to Ctrl-C."""

from __future__ import annotations

import copy
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix import options as validate
from convmatrix.arrays import Array, refuse_masked
from convmatrix.atomic import require_writable
from convmatrix.nn.checkpoints import History, NonFiniteError, Run
from convmatrix.nn.optimisation import SGD, Loss, Optimiser, SoftmaxCrossEntropy, label_array
from convmatrix.progress import Progress, reporting

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from convmatrix.nn.layer import Layer

Metric = Callable[[Array, Array], float]
Callback = Callable[[History], Any]

__all__ = ["History", "NonFiniteError", "accuracy", "fit", "predict"]


def accuracy(output: Array, targets: Array) -> float:
    """Return the fraction of samples whose largest output is at their label.

    Examples
    --------
    >>> import numpy as np
    >>> accuracy(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1]))
    0.5
    """
    labels = label_array(targets)
    if output.ndim != 2 or not len(output) or labels.shape != output.shape[:1]:
        raise ValueError(
            f"outputs (samples, classes) have shape {output.shape}, but labels {labels.shape}; give at least one "
            "sample, and one label for each"
        )
    return float(np.mean(output.argmax(axis=1) == labels))


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
    allow_changes: bool = False,
    progress: Progress = None,
    rng: int | np.random.Generator = 0,
) -> History:
    """Train a network on mini-batches and return its history; the same seed gives bit-identical results.

    Parameters
    ----------
    network : Layer
        Usually a `Sequential`; its parameters are changed in place.
    x : array_like, shape (samples, ...)
        Real numbers.
    y : array_like, shape (samples, ...)
        Targets of the loss.
    epochs : int
        Total number of epochs, including those completed before training was resumed.
    loss : Loss, optional
        By default `SoftmaxCrossEntropy`.
    optimiser : Optimiser, optional
        By default ``SGD(0.01, momentum=0.9)``.
    batch_size : int
        The last batch of an epoch holds the remaining samples.
    validation : (x, y), optional
    metrics : dict of str to callable, optional
        ``metric(output, targets)``; by default `accuracy` if the targets are class labels.
    callbacks : iterable of callable
        Called with the `History` after each epoch; one that returns True ends the training.
    patience : int, optional
        Stop early when the validation loss has not fallen below its minimum for this number of epochs.
    checkpoint : path, optional
        File (.npz) to resume from if it exists, and to write after each epoch. If training is killed and called again
        with the same arguments, the result is bit-identical to that of an uninterrupted run. With a checkpoint, Ctrl-C
        (SIGINT) finishes the current step, writes the file and raises `KeyboardInterrupt`; a second Ctrl-C interrupts
        at once.
    checkpoint_steps : int, optional
        Also write the checkpoint each time this number of steps has been taken.
    settings : mapping of str to JSON values, optional
        Other settings on which training depends, such as the augmentation of the data. They are saved in the
        checkpoint, and a checkpoint with different settings is refused.
    allow_changes : bool
        Resume from a checkpoint although the data, the loss, the settings or the options of the optimiser, such as the
        learning rate, differ from those of the training that saved it. By default such a checkpoint is refused.
    progress : bool or callable, optional
        As for `convmatrix.progress.reporting`; a callable is told about every step.
    rng : int or numpy.random.Generator
        Determines the order of the samples.

    Returns
    -------
    History

    Raises
    ------
    ValueError, TypeError
        If inputs and targets do not fit each other, the network or the loss. Raised before the first step.
    OSError
        If the checkpoint cannot be written (raised before the first step), or if another training has written the file
        in the meantime (`FileExistsError`; that file is kept).
    NonFiniteError
        If the loss becomes NaN or infinite; the message names layer, step and batch. The checkpoint keeps the last
        finite state.

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
        raise ValueError(f"patience={patience} needs a validation loss; give validation=(x, y)")
    path = checkpoint_path(checkpoint, checkpoint_steps)
    inputs, targets = _check_data(network, loss, "training", x, y)
    _check_last_batch(network, inputs, batch_size)
    held_out = None if validation is None else _check_data(network, loss, "validation", *validation)
    if metrics is None:
        metrics = {"accuracy": accuracy} if targets.ndim == 1 and targets.dtype.kind in "iu" else {}
    run = Run(network, optimiser, loss, inputs, targets, batch_size, np.random.default_rng(rng), dict(settings or {}))
    if path is not None and path.exists():
        run.resume(path, allow_changes=allow_changes)
    history = run.history
    watchers = tuple(callbacks)
    n_steps = -(-len(inputs) // batch_size)
    with (
        reporting(progress, "training") as report,
        deferred_interrupts(wanted=path is not None) as interrupt,
    ):
        while history.epochs < epochs and not run.stopped:
            for step in run.steps():
                done = history.epochs * n_steps + step
                report(done, epochs * n_steps, f"epoch {history.epochs + 1}, loss {run.mean_loss:.4f}")
                if path is not None and (interrupt.requested or (checkpoint_steps and step % checkpoint_steps == 0)):
                    run.save(path)
                interrupt.raise_if_requested()
            history.loss.append(run.mean_loss)
            if held_out is not None or metrics:
                shown_x, shown_y = (inputs, targets) if held_out is None else held_out
                with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # checked in the next lines
                    output = predict(network, shown_x, batch_size)
                    mean = loss(output, shown_y)[0]
                if held_out is not None:
                    history.validation_loss.append(mean)
                    run.check_loss(mean, shown_x)
                for name, metric in metrics.items():
                    history.metrics.setdefault(name, []).append(float(metric(output, shown_y)))
            run.begin_epoch()
            answers = [watcher(history) for watcher in watchers]
            run.stopped = any(
                isinstance(answer, bool | np.bool_) and bool(answer) for answer in answers
            ) or _has_stalled(history, patience)
            if path is not None:
                run.save(path)
            interrupt.raise_if_requested()
    return history


def predict(network: Layer, x: ArrayLike, batch_size: int = 64) -> Array:
    """Return the network's outputs at inference, computed batch by batch.

    Examples
    --------
    >>> from convmatrix import nn
    >>> predict(nn.small(), np.ones((100, 1, 8, 8))).shape
    (100, 10)
    """
    refuse_masked("x", x)
    inputs = np.asarray(x)
    if inputs.ndim < 1 or not len(inputs):
        raise ValueError(f"x has shape {inputs.shape}, which holds no samples; give at least one")
    validate.integer("batch_size", batch_size, minimum=1)
    parts = [network.forward(inputs[start : start + batch_size]) for start in range(0, len(inputs), batch_size)]
    return np.concatenate(parts)


def _has_stalled(history: History, patience: int | None) -> bool:
    losses = history.validation_loss
    return patience is not None and len(losses) - 1 - int(np.argmin(losses)) >= patience


def checkpoint_path(checkpoint: str | Path | None, steps: int | None) -> Path | None:
    """Return the path of the checkpoint; raise an error if it cannot be written."""
    if steps is not None:
        validate.integer("checkpoint_steps", steps, minimum=1)
        if checkpoint is None:
            raise ValueError(f"checkpoint_steps={steps} needs a file to write; give checkpoint=path")
    if checkpoint is None:
        return None
    path = Path(checkpoint)
    if path.is_dir():
        raise ValueError(f"checkpoint {path} is a folder; give the name of a file")
    require_writable(path)
    return path


def _check_data(network: Layer, loss: Loss, what: str, x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """Return inputs and targets as arrays, validated against each other, the network and the loss."""
    refuse_masked(f"{what} inputs", x)
    inputs, targets = np.asarray(x), label_array(y)
    if inputs.dtype.kind not in "fiu":
        raise TypeError(f"{what} inputs must be real numbers, but have dtype {inputs.dtype}; convert them to float32")
    if inputs.ndim < 2 or not len(inputs):
        raise ValueError(
            f"{what} inputs must have shape (samples, ...) with at least one sample, but have shape {inputs.shape}"
        )
    if targets.ndim < 1 or len(targets) != len(inputs):
        raise ValueError(
            f"there are {len(inputs)} {what} inputs, but targets have shape {targets.shape}; give one per sample"
        )
    if not np.isfinite(inputs).all():
        bad = int(np.flatnonzero(~np.isfinite(inputs).reshape(len(inputs), -1).all(axis=1))[0])
        raise ValueError(f"{what} inputs hold values that are not finite, first in sample {bad}; clean the data")
    if targets.dtype.kind not in "fiu":
        raise TypeError(f"{what} targets must be labels or real numbers, but have dtype {targets.dtype}")
    if targets.dtype.kind == "f" and not np.isfinite(targets).all():
        raise ValueError(f"{what} targets hold values that are not finite; clean the data")
    loss.check(network.output_shape(inputs.shape[1:]), targets)
    return inputs, targets


def _check_last_batch(network: Layer, inputs: Array, batch_size: int) -> None:
    """Raise ValueError if a layer refuses a last batch of one sample, as `BatchNorm` does; the network is unchanged."""
    if len(inputs) % batch_size != 1 or len(inputs) == 1:
        return
    try:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # checked in the steps
            copy.deepcopy(network).forward(inputs[:1], training=True)
    except ValueError as error:
        error.add_note(
            f"the last of the batches of {batch_size} has one of the {len(inputs)} samples; give another batch_size"
        )
        raise


# --- interrupts ---------------------------------------------------------------------------------------------------


class Interrupt:
    """Whether Ctrl-C was pressed."""

    def __init__(self) -> None:
        self.requested = False

    def raise_if_requested(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed."""
        if self.requested:
            raise KeyboardInterrupt


@contextmanager
def deferred_interrupts(*, wanted: bool) -> Iterator[Interrupt]:
    """Defer the first interrupt (SIGINT) in the block; a second one is raised at once, as usual.

    The code in the block calls `Interrupt.raise_if_requested` where it is safe to stop. Nothing is changed if
    interrupts are not raised by Python itself: in other threads, or if the program handles or ignores SIGINT.
    """
    interrupt = Interrupt()
    ours = wanted and threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield interrupt
        return

    def defer(*_: Any) -> None:
        interrupt.requested = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, defer)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
