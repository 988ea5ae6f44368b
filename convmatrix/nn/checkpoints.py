"""The state of a training: single steps, checkpoints, and the search for numbers that are not finite."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix.atomic import atomic_write
from convmatrix.nn.sequential import Residual, Sequential

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from convmatrix.nn.layer import Layer
    from convmatrix.nn.optimisation import Loss, Optimiser

    Array = NDArray[Any]
    Generators = Mapping[str, np.random.Generator]


class NonFiniteError(FloatingPointError):
    """A number became NaN or infinite; the training stopped, and wrote no checkpoint since."""


def first_not_finite(network: Layer, x: Array, *, training: bool) -> str:
    """Say which layer first puts out a number that is not finite; the network's state stays as it is."""
    kept = {name: array.copy() for name, array in network.state().items()}
    steps = _outputs(network, x, "", training)
    found = next(((place, layer) for place, layer, y in steps if not np.isfinite(y).all()), None)
    network.load_state(kept)
    if found is None:
        return "the loss itself"
    place, layer = found
    return f"layer {place}, {layer!r}" if place else repr(layer)


def not_finite(arrays: dict[str, Array]) -> list[str]:
    """Return the names of arrays that hold a NaN or an infinity."""
    return [name for name, array in arrays.items() if not np.isfinite(array).all()]


def owner(network: Layer, name: str) -> str:
    """Say which layer of a network has a parameter."""
    layer, place, rest = network, [], name
    while isinstance(layer, Sequential | Residual):
        head, _, rest = rest.partition(".")
        layer = layer.layers[int(head)] if isinstance(layer, Sequential) else getattr(layer, head)
        place.append(head)
    return f"{rest} of layer {'.'.join(place)}, {layer!r}" if place else f"{rest} of {layer!r}"


def _outputs(layer: Layer, x: Array, place: str, training: bool) -> Iterator[tuple[str, Layer, Array]]:
    """Yield place, layer and output, innermost layers first; the last is the layer's own."""
    inner = f"{place}." if place else ""
    y = x
    if isinstance(layer, Sequential):
        for number, part in enumerate(layer.layers):
            for found in _outputs(part, y, f"{inner}{number}", training):
                yield found
                last = found[2]
            y = last
    elif isinstance(layer, Residual):
        sides = []
        for name, part in layer.parts:
            for found in _outputs(part, x, f"{inner}{name}", training):
                yield found
                last = found[2]
            sides.append(last)
        y = sides[0] + (sides[1] if len(sides) > 1 else x)
    else:
        y = layer.forward(x, training=training)
    yield place, layer, y


_FORMAT = "convmatrix training checkpoint 1"


_PARTS = ("network", "optimiser", "array")


def save_checkpoint(
    path: str | Path,
    network: Layer,
    optimiser: Optimiser,
    generators: Generators,
    progress: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
) -> None:
    """Write network, optimiser, the states of generators, and the training's own progress.

    Parameters
    ----------
    path : str or Path
        Of the .npz file; an old one is replaced when the new one is complete.
    network : Layer
    optimiser : Optimiser
    generators : mapping of str to numpy.random.Generator
    progress : mapping
        What JSON holds: numbers, texts, lists.
    arrays : mapping of str to array
        Further arrays, such as the order of the samples.
    """
    contents = {
        "progress": dict(progress),
        "optimiser": type(optimiser).__name__,
        "generators": {name: generator.bit_generator.state for name, generator in generators.items()},
    }
    members: dict[str, Any] = {"format": np.array(_FORMAT), "contents": np.array(json.dumps(contents, default=_plain))}
    for part, states in zip(_PARTS, (network.state(), optimiser.state(), arrays), strict=True):
        members |= {f"{part}/{name}": array for name, array in states.items()}
    with atomic_write(path) as file:
        np.savez(file, allow_pickle=False, **members)


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds; `restore` puts it into a network, an optimiser and generators."""

    path: Path
    progress: dict[str, Any]
    arrays: dict[str, NDArray[Any]]
    network: dict[str, NDArray[Any]]
    optimiser: tuple[str, dict[str, NDArray[Any]]]
    generators: dict[str, Any]

    def restore(self, network: Layer, optimiser: Optimiser, generators: Generators) -> None:
        """Put the states into objects made as those that were saved.

        Raises
        ------
        ValueError
            If network, optimiser or generators are others. Nothing has been changed then.
        """
        own = {name: (array.shape, array.dtype) for name, array in network.state().items()}
        stored = {name: (array.shape, array.dtype) for name, array in self.network.items()}
        different = sorted(name for name in own.keys() | stored.keys() if own.get(name) != stored.get(name))
        if different:
            there, here = (_in_words(found.get(different[0])) for found in (stored, own))
            raise ValueError(
                f"checkpoint {self.path} is of another network: {different[0]} is {there} there and {here} here; build "
                "the network as it was, or start a new checkpoint"
            )
        kind, states = self.optimiser
        if kind != type(optimiser).__name__:
            raise ValueError(
                f"checkpoint {self.path} is of a training by {kind}, but this one is by {type(optimiser).__name__}; "
                f"use {kind}, or start a new checkpoint"
            )
        kinds = {name: generator.bit_generator.state["bit_generator"] for name, generator in generators.items()}
        stored_kinds = {name: state["bit_generator"] for name, state in self.generators.items()}
        if kinds != stored_kinds:
            raise ValueError(
                f"checkpoint {self.path} was written with the generators {stored_kinds}, but there are {kinds} here; "
                "build the network as it was, and give rng= as it was"
            )
        network.load_state(self.network)
        optimiser.load_state(states)
        for name, state in self.generators.items():
            generators[name].bit_generator.state = state


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If the file is no checkpoint, or is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            members = {name: archive[name] for name in archive.files}
        if str(members["format"]) != _FORMAT:
            raise ValueError(f"its format is {members['format']!s:.60}")
        contents = json.loads(str(members["contents"]))
        parts: dict[str, dict[str, Any]] = {part: {} for part in _PARTS}
        for name, array in members.items():
            part, slash, rest = name.partition("/")
            if slash:
                parts[part][rest] = array
        optimiser = (contents["optimiser"], parts["optimiser"])
        return Checkpoint(
            path, contents["progress"], parts["array"], parts["network"], optimiser, contents["generators"]
        )
    except (ValueError, OSError, KeyError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"checkpoint {path} cannot be read: {error}; it is damaged, or no checkpoint of a training"
        ) from error


def _in_words(found: tuple[tuple[int, ...], np.dtype[Any]] | None) -> str:
    return "absent" if found is None else f"{found[1]} of shape {found[0]}"


def _plain(value: Any) -> Any:
    """Return a NumPy number or array as JSON holds it (some generators keep their state in arrays)."""
    return value.tolist()


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
