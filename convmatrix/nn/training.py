"""The training loop, its history, and the state of a run, which a checkpoint keeps."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix import options as validate
from convmatrix.arrays import Array, refuse_masked
from convmatrix.display.tables import ShownAsTable, Table
from convmatrix.nn.checkpoints import (
    checkpoint_path,
    checksum,
    deferred_interrupts,
    load_checkpoint,
    require_same,
    save_checkpoint,
)
from convmatrix.nn.nonfinite_values import REMEDY, NonFiniteError, first_not_finite, not_finite, owner
from convmatrix.nn.optimisation import SGD, Loss, Optimiser, SoftmaxCrossEntropy, label_array
from convmatrix.progress import Progress, reporting

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from convmatrix.nn.layer import Layer

__all__ = ["History", "NonFiniteError", "accuracy", "fit", "predict"]


@dataclass(repr=False)
class History(ShownAsTable):
    """Training history, one entry per epoch.

    Attributes
    ----------
    loss : list of float
        Mean training loss.
    validation_loss : list of float
        Validation loss; empty without validation data.
    metrics : dict of str to list of float
        Metrics of the validation data if there are any, otherwise of the training data.
    """

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=dict)

    @property
    def epochs(self) -> int:
        """Number of epochs completed."""
        return len(self.loss)

    def __repr__(self) -> str:
        last = [f"{name} {values[-1]:.4g}" for name, values in self._columns.items()]
        return f"History({', '.join([f'epochs {self.epochs}', *last])})"

    @property
    def _columns(self) -> dict[str, list[float]]:
        named = {"loss": self.loss, "validation loss": self.validation_loss, **self.metrics}
        return {name: values for name, values in named.items() if values}

    def _table(self) -> Table:
        columns = self._columns
        epochs = zip(*columns.values(), strict=False)
        rows = [[str(number), *(f"{value:.4g}" for value in values)] for number, values in enumerate(epochs, start=1)]
        return Table("Training", [["epoch", *columns], *rows], left=0)


_ALLOW = ", or allow_changes=True"

Metric = Callable[[Array, Array], float]
Callback = Callable[[History], Any]


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
        As for `convmatrix.progress.reporting`; a callable is called after every step.
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
        If the checkpoint cannot be written (raised before the first step), or if another run has written the file
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
            asked = any(isinstance(answer, bool | np.bool_) and bool(answer) for answer in answers)
            run.stopped = asked or _has_stalled(history, patience)
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


# --- the state of a run ---------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Run:
    """A training run: its steps, and everything that a checkpoint contains."""

    network: Layer
    optimiser: Optimiser
    loss: Loss
    inputs: Array
    targets: Array
    batch_size: int
    rng: np.random.Generator
    settings: dict[str, Any] = field(default_factory=dict)  # further settings of the run, as JSON values

    def __post_init__(self) -> None:
        network = {f"network.{name}": generator for name, generator in self.network.generators().items()}
        self.generators = {"order": self.rng} | network
        self.history = History()
        self.stopped = False
        self._saved: tuple[int, ...] | None = None  # the version of the checkpoint that this run read or wrote last
        self.begin_epoch()

    def begin_epoch(self) -> None:
        """Draw a new order of the samples."""
        self.order = self.rng.permutation(len(self.inputs))
        self.done = 0  # steps of this epoch
        self.loss_sum = 0.0  # over samples

    @property
    def mean_loss(self) -> float:
        """Mean loss of the samples seen in this epoch."""
        return self.loss_sum / max(min(self.done * self.batch_size, len(self.inputs)), 1)

    def steps(self) -> Iterator[int]:
        """Take the remaining steps of this epoch; after each, yield the number of steps taken."""
        while self.done * self.batch_size < len(self.inputs):
            self._step(self.order[self.done * self.batch_size : (self.done + 1) * self.batch_size])
            yield self.done

    def _step(self, batch: Array) -> None:
        x, y = self.inputs[batch], self.targets[batch]
        states = {name: generator.bit_generator.state for name, generator in self.generators.items()}
        # Overflow is checked for below, where the message can name its source.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            value, gradient = self.loss(self.network.forward(x, training=True), y)
            if not np.isfinite(value):
                for name, state in states.items():  # so that dropout drops the same units again
                    self.generators[name].bit_generator.state = state
                source = first_not_finite(self.network, x, training=True)
                raise NonFiniteError(
                    f"the loss is {value} {self._position()}; the first values that are not finite come from {source}; "
                    + REMEDY
                )
            self.network.parameter_gradients(gradient)
            gradients = self.network.gradients
            if bad := not_finite(gradients):
                raise NonFiniteError(
                    f"the gradient is not finite {self._position()}, for {owner(self.network, bad[-1])}; {REMEDY}"
                )
            self.optimiser.step(self.network.parameters, gradients)
        self.loss_sum += value * len(batch)
        self.done += 1

    def check_loss(self, value: float, inputs: Array) -> None:
        """Raise NonFiniteError unless the validation loss is finite."""
        if np.isfinite(value):
            return
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            source = first_not_finite(self.network, inputs, training=False)
        raise NonFiniteError(
            f"the validation loss is {value} after epoch {self.history.epochs} (step {self.optimiser.steps} in total); "
            f"the first values that are not finite come from {source}; {REMEDY}"
        )

    def _position(self) -> str:
        return f"in epoch {self.history.epochs + 1}, batch {self.done + 1} (step {self.optimiser.steps + 1} in total)"

    def save(self, path: Path) -> None:
        """Write a checkpoint; raise NonFiniteError if the network holds a value that is not finite."""
        if bad := not_finite(self.network.state()):
            raise NonFiniteError(
                f"after step {self.optimiser.steps} in total (epoch {self.history.epochs + 1}, batch {self.done}), "
                f"values are not finite in {owner(self.network, bad[0])}; {REMEDY}"
            )
        progress = {
            "loss": self.history.loss,
            "validation_loss": self.history.validation_loss,
            "metrics": self.history.metrics,
            "stopped": self.stopped,
            "done": self.done,
            "loss_sum": self.loss_sum,
            "batch_size": self.batch_size,
            "settings": self.settings,
            "fingerprint": self.fingerprint,
        }
        if _version(path) != self._saved:
            raise FileExistsError(
                f"checkpoint {path} was written by another run since this one began or saved it last, and is "
                "kept; give each run a file of its own"
            )
        save_checkpoint(path, self.network, self.optimiser, self.generators, progress, {"order": self.order})
        self._saved = _version(path)

    @cached_property
    def fingerprint(self) -> dict[str, Any]:
        """The data, the loss and the options of the optimiser, as JSON values; data by their checksums."""
        options: dict[str, Any] = {"inputs": checksum(self.inputs), "targets": checksum(self.targets)}
        options["loss"] = [type(self.loss).__name__, self.loss.options()]
        return options | {f"optimiser.{name}": value for name, value in self.optimiser.options().items()}

    def resume(self, path: Path, *, allow_changes: bool = False) -> None:
        """Continue from a checkpoint; if it belongs to another run, raise ValueError and change nothing.

        With ``allow_changes``, data, loss, settings and options of the optimiser may differ.
        """
        version = _version(path)
        found = load_checkpoint(path)
        order, progress = found.arrays["order"], found.progress
        if len(order) != len(self.inputs) or progress["batch_size"] != self.batch_size:
            raise ValueError(
                f"checkpoint {path} was saved with {len(order)} samples in batches of {progress['batch_size']}, but "
                f"this run has {len(self.inputs)} in batches of {self.batch_size}; use the same, or another "
                "checkpoint file"
            )
        if not allow_changes:
            require_same(path, progress["settings"], self.settings, _ALLOW)
        found.check(self.network, self.optimiser, self.generators)
        if progress["fingerprint"] and not allow_changes:
            require_same(path, progress["fingerprint"], self.fingerprint, _ALLOW)
        found.restore(self.network, self.optimiser, self.generators)
        self.history = History(progress["loss"], progress["validation_loss"], progress["metrics"])
        self.stopped, self.done, self.loss_sum = progress["stopped"], progress["done"], progress["loss_sum"]
        self.order = order
        self._saved = version


def _version(path: Path) -> tuple[int, ...] | None:
    """Return a signature of a file that changes when the file is replaced, or None if there is no file."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
