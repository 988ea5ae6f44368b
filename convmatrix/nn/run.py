"""The state of a training, and its single steps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix.nn.checkpoints import load_checkpoint, save_checkpoint
from convmatrix.nn.divergence import NonFiniteError, first_not_finite, not_finite, owner

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convmatrix.nn.layer import Layer
    from convmatrix.nn.losses import Loss
    from convmatrix.nn.optimisers import Optimiser

    Array = NDArray[Any]

_REMEDY = "lower the learning rate or look at the data"


@dataclass
class History:
    """What a training went through, one entry an epoch.

    Attributes
    ----------
    loss : list of float
        Mean training loss.
    validation_loss : list of float
        Empty without validation data.
    metrics : dict of str to list of float
        Of the validation data where there are any, else of the training data.
    """

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=dict)

    @property
    def epochs(self) -> int:
        """Epochs completed."""
        return len(self.loss)


class Run:
    """A training: all that a checkpoint holds, and the steps."""

    def __init__(
        self,
        network: Layer,
        optimiser: Optimiser,
        loss: Loss,
        inputs: Array,
        targets: Array,
        batch_size: int,
        rng: np.random.Generator,
    ) -> None:
        self.network, self.optimiser, self.loss = network, optimiser, loss
        self.inputs, self.targets, self.batch_size, self.rng = inputs, targets, batch_size, rng
        self.generators = {"order": rng} | {f"network.{n}": generator for n, generator in network.generators().items()}
        self.history = History()
        self.stopped = False
        self.settings: dict[str, Any] = {}  # what else the training depends on, as JSON holds it
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
        """Take the steps that are left of this epoch; yield the number of those done after each."""
        while self.done * self.batch_size < len(self.inputs):
            self._step(self.order[self.done * self.batch_size : (self.done + 1) * self.batch_size])
            yield self.done

    def _step(self, batch: Array) -> None:
        x, y = self.inputs[batch], self.targets[batch]
        states = {name: generator.bit_generator.state for name, generator in self.generators.items()}
        # Overflow is looked for below, where it can be said what it comes from.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            value, gradient = self.loss(self.network.forward(x, training=True), y)
            if not np.isfinite(value):
                for name, state in states.items():  # the same units are dropped again
                    self.generators[name].bit_generator.state = state
                source = first_not_finite(self.network, x, training=True)
                raise NonFiniteError(
                    f"the loss is {value} {self._place()}; the first numbers that are not finite come from {source}; "
                    + _REMEDY
                )
            self.network.parameter_gradients(gradient)
            gradients = self.network.gradients
            if bad := not_finite(gradients):
                raise NonFiniteError(
                    f"the gradient is not finite {self._place()}: that of {owner(self.network, bad[-1])}; {_REMEDY}"
                )
            self.optimiser.step(self.network.parameters, gradients)
        self.loss_sum += value * len(batch)
        self.done += 1

    def check_loss(self, value: float, inputs: Array) -> None:
        """Raise unless the validation loss is finite."""
        if np.isfinite(value):
            return
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            source = first_not_finite(self.network, inputs, training=False)
        raise NonFiniteError(
            f"the validation loss is {value} after epoch {self.history.epochs} (step {self.optimiser.steps} in all); "
            f"the first numbers that are not finite come from {source}; {_REMEDY}"
        )

    def _place(self) -> str:
        return f"in epoch {self.history.epochs + 1}, batch {self.done + 1} (step {self.optimiser.steps + 1} in all)"

    def save(self, path: Path) -> None:
        """Write a checkpoint, unless there is a number in it that is not finite."""
        if bad := not_finite(self.network.state()):
            raise NonFiniteError(
                f"after step {self.optimiser.steps} in all (epoch {self.history.epochs + 1}, batch {self.done}) there "
                f"are numbers that are not finite in the {owner(self.network, bad[0])}; {_REMEDY}"
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
        }
        save_checkpoint(path, self.network, self.optimiser, self.generators, progress, {"order": self.order})

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint."""
        found = load_checkpoint(path)
        order, progress = found.arrays["order"], found.progress
        if len(order) != len(self.inputs) or progress["batch_size"] != self.batch_size:
            raise ValueError(
                f"checkpoint {path} is of a training on {len(order)} samples in batches of {progress['batch_size']}, "
                f"but this one has {len(self.inputs)} in batches of {self.batch_size}; use the same, or another "
                "checkpoint file"
            )
        self._compare_settings(path, progress.get("settings", {}))
        found.restore(self.network, self.optimiser, self.generators)
        self.history = History(progress["loss"], progress["validation_loss"], progress["metrics"])
        self.stopped, self.done, self.loss_sum = progress["stopped"], progress["done"], progress["loss_sum"]
        self.order = order

    def _compare_settings(self, path: Path, stored: dict[str, Any]) -> None:
        own = json.loads(json.dumps(self.settings))
        for name in sorted(own.keys() | stored.keys()):
            there, here = (json.dumps(found.get(name, "absent")) for found in (stored, own))
            if there != here:
                raise ValueError(
                    f"checkpoint {path} is of a training with {name} {there}, but this one has {here}; use the same, "
                    "or another checkpoint file"
                )
