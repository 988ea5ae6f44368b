"""The state of a training run: its steps, its checkpoints, and the search for values that are not finite."""

from __future__ import annotations

import hashlib
import json
import math
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix.atomic import atomic_write
from convmatrix.display.tables import ShownAsTable, Table
from convmatrix.nn.sequential import Residual, Sequential

if TYPE_CHECKING:
    from convmatrix.arrays import Array
    from convmatrix.nn.layer import Layer
    from convmatrix.nn.optimisation import Loss, Optimiser

Generators = Mapping[str, np.random.Generator]

_FORMAT = "convmatrix training checkpoint 1"
_PARTS = ("network", "optimiser", "array")
_REMEDY = "lower the learning rate or check the data"


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
                    + _REMEDY
                )
            self.network.parameter_gradients(gradient)
            gradients = self.network.gradients
            if bad := not_finite(gradients):
                raise NonFiniteError(
                    f"the gradient is not finite {self._position()}, for {owner(self.network, bad[-1])}; {_REMEDY}"
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
            f"the first values that are not finite come from {source}; {_REMEDY}"
        )

    def _position(self) -> str:
        return f"in epoch {self.history.epochs + 1}, batch {self.done + 1} (step {self.optimiser.steps + 1} in total)"

    def save(self, path: Path) -> None:
        """Write a checkpoint; raise NonFiniteError if the network holds a value that is not finite."""
        if bad := not_finite(self.network.state()):
            raise NonFiniteError(
                f"after step {self.optimiser.steps} in total (epoch {self.history.epochs + 1}, batch {self.done}), "
                f"values are not finite in {owner(self.network, bad[0])}; {_REMEDY}"
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
                f"checkpoint {path} was written by another training since this one began or saved it last, and is "
                "kept; give each training a file of its own"
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
                f"this training has {len(self.inputs)} in batches of {self.batch_size}; use the same, or another "
                "checkpoint file"
            )
        if not allow_changes:
            self._require_same(path, progress["settings"], self.settings)
        found.check(self.network, self.optimiser, self.generators)
        if progress["fingerprint"] and not allow_changes:
            self._require_same(path, progress["fingerprint"], self.fingerprint)
        found.restore(self.network, self.optimiser, self.generators)
        self.history = History(progress["loss"], progress["validation_loss"], progress["metrics"])
        self.stopped, self.done, self.loss_sum = progress["stopped"], progress["done"], progress["loss_sum"]
        self.order = order
        self._saved = version

    @staticmethod
    def _require_same(path: Path, stored: Mapping[str, Any], own: Mapping[str, Any]) -> None:
        own = json.loads(json.dumps(own, default=_plain))
        for name in sorted(own.keys() | stored.keys()):
            values = [given.get(name, "absent") for given in (stored, own)]
            there, here = map(json.dumps, values)
            if there != here and values[0] != values[1]:  # NaN is the same as NaN, and 1 the same as 1.0
                raise ValueError(
                    f"checkpoint {path} was saved with {name} {there}, but this training has {here}; use the same, "
                    "another checkpoint file, or allow_changes=True"
                )


def _version(path: Path) -> tuple[int, ...] | None:
    """Return what changes when a file is replaced, or None if there is no file."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _plain(value: Any) -> Any:
    """Return an array, such as the states of some generators contain, or a NumPy number as JSON values."""
    return value.tolist()


def checksum(array: Array) -> str:
    """Return a checksum of dtype, shape and entries of an array; byte order, and the size of labels, do not matter."""
    labels = array.ndim == 1 and array.dtype.kind in "iu"
    array = array.astype(np.int64 if labels else array.dtype.newbyteorder("="), copy=False)
    text = hashlib.blake2b(f"{array.dtype} {array.shape}".encode(), digest_size=8)
    text.update(np.ascontiguousarray(array).data.cast("B") if array.size else b"")
    return text.hexdigest()


# --- files -----------------------------------------------------------------------------------------------------------


def save_checkpoint(
    path: str | Path,
    network: Layer,
    optimiser: Optimiser,
    generators: Generators,
    progress: Mapping[str, Any],
    arrays: Mapping[str, Array],
) -> None:
    """Write the states of a network, an optimiser and random generators, and the progress of the run.

    Parameters
    ----------
    path : str or Path
        The .npz file to write. An existing file is replaced once the new one is complete.
    network : Layer
    optimiser : Optimiser
    generators : mapping of str to numpy.random.Generator
    progress : mapping of str to JSON values
    arrays : mapping of str to array
        Other arrays, such as the order of the samples.
    """
    contents = {
        "progress": dict(progress),
        "optimiser": type(optimiser).__name__,
        "generators": {name: generator.bit_generator.state for name, generator in generators.items()},
    }
    text = json.dumps(contents, default=_plain)
    members: dict[str, Any] = {"format": np.array(_FORMAT), "contents": np.array(text)}
    for part, states in zip(_PARTS, (network.state(), optimiser.state(), arrays), strict=True):
        members |= {f"{part}/{name}": array for name, array in states.items()}
    with atomic_write(path) as file:
        np.savez(file, allow_pickle=False, **members)


@dataclass(frozen=True)
class Checkpoint:
    """Contents of a checkpoint file; `restore` copies them into a network, an optimiser and generators."""

    path: Path
    progress: dict[str, Any]
    arrays: dict[str, Array]
    network: dict[str, Array]
    optimiser: tuple[str, dict[str, Array]]
    generators: dict[str, Any]

    def check(
        self,
        network: Layer,
        optimiser: Optimiser,
        generators: Generators,
        trained: Mapping[str, Array] | None = None,
    ) -> None:
        """Raise ValueError unless the objects were created in the same way as those saved.

        The optimiser changes the ``trained`` parameters; by default all those of the network.
        """
        own, stored = (
            {name: f"{array.dtype} of shape {array.shape}" for name, array in state.items()}
            for state in (network.state(), self.network)
        )
        for name in sorted(own.keys() | stored.keys()):
            there, here = (arrays.get(name, "absent") for arrays in (stored, own))
            if there != here:
                raise ValueError(
                    f"checkpoint {self.path} was saved with another network: {name} is {there} there and {here} here; "
                    "build the network in the same way, or use another checkpoint file"
                )
        kind = self.optimiser[0]
        if kind != type(optimiser).__name__:
            raise ValueError(
                f"checkpoint {self.path} was saved with optimiser {kind}, but this training uses "
                f"{type(optimiser).__name__}; use {kind}, or another checkpoint file"
            )
        kinds = {name: generator.bit_generator.state["bit_generator"] for name, generator in generators.items()}
        stored_kinds = {name: state["bit_generator"] for name, state in self.generators.items()}
        if kinds != stored_kinds:
            raise ValueError(
                f"checkpoint {self.path} was saved with the generators {stored_kinds}, but this training has {kinds}; "
                "build the network in the same way, and give the same kind of rng="
            )
        try:
            optimiser.check_state(self.optimiser[1], network.parameters if trained is None else trained)
            for name, state in self.generators.items():
                type(generators[name].bit_generator)(0).state = state  # raises unless the state is one of this kind
        except (ValueError, TypeError, KeyError, OverflowError, AttributeError) as error:
            raise _unreadable(self.path, error) from error

    def restore(
        self,
        network: Layer,
        optimiser: Optimiser,
        generators: Generators,
        trained: Mapping[str, Array] | None = None,
    ) -> None:
        """Copy the states into objects that were created in the same way as those saved.

        Raises
        ------
        ValueError
            If network, optimiser or generators differ. In this case nothing is changed.
        """
        self.check(network, optimiser, generators, trained)
        network.load_state(self.network)
        optimiser.load_state(self.optimiser[1])
        for name, state in self.generators.items():
            generators[name].bit_generator.state = state


def load_checkpoint(path: str | Path, check: Callable[[Checkpoint], None] | None = None) -> Checkpoint:
    """Return the contents of a checkpoint file.

    Parameters
    ----------
    path : str or Path
    check : callable
        Called with the contents; raises ValueError unless progress and arrays are those of a kind of training. By
        default that of `fit`.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file is damaged or is not a checkpoint.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {path} does not exist")
    try:
        members = _read_arrays(path)
        if str(members["format"]) != _FORMAT:
            raise ValueError(f"its format is {members['format']!s:.60}")
        contents = json.loads(str(members["contents"]))
        parts: dict[str, dict[str, Array]] = {part: {} for part in _PARTS}
        for name, array in members.items():
            part, slash, rest = name.partition("/")
            if slash:
                parts[part][rest] = array
        require_types({"progress": dict, "optimiser": str, "generators": dict}, contents, "contents")
        progress = {"settings": {}, "fingerprint": {}} | contents["progress"]
        for name, state in contents["generators"].items():
            require_types({"bit_generator": str}, state, f"the generator {name}")
        if bad := not_finite(parts["network"]):
            raise ValueError(f"{bad[0]} holds values that are not finite")
        optimiser = (contents["optimiser"], parts["optimiser"])
        found = Checkpoint(path, progress, parts["array"], parts["network"], optimiser, contents["generators"])
        (check or _check_run)(found)
    except (*_ERRORS, MemoryError) as error:
        raise _unreadable(path, error) from error
    return found


_PROGRESS: Final[dict[str, type | tuple[type, ...]]] = {
    "loss": list,
    "validation_loss": list,
    "metrics": dict,
    "stopped": bool,
    "done": int,
    "loss_sum": (int, float),
    "batch_size": int,
    "settings": dict,
    "fingerprint": dict,
}
_ERRORS: Final = (
    *(ValueError, OSError, KeyError, EOFError, TypeError, AttributeError, OverflowError, RecursionError),
    *(zipfile.BadZipFile, NotImplementedError, RuntimeError, struct.error),
)


def _unreadable(path: Path, error: BaseException) -> ValueError:
    reason = str(error) or type(error).__name__
    return ValueError(
        f"checkpoint {path} cannot be read: {reason}; it is damaged, or is not a checkpoint of a training"
    )


def require_types(kinds: Mapping[str, type | tuple[type, ...]], values: Any, what: str) -> None:
    """Raise ValueError unless a dictionary holds values of the given types."""
    if not isinstance(values, dict):
        raise ValueError(f"{what} is a {type(values).__name__}, but must be a dictionary")
    for name, kind in kinds.items():
        if not isinstance(values.get(name), kind) or (kind is int and isinstance(values[name], bool)):
            raise ValueError(f"{name} of {what} is {values.get(name)!s:.60}, which has the wrong type")


def require_numbers(numbers: Any) -> None:
    """Raise ValueError unless all entries of a history are numbers."""
    if not all(isinstance(number, int | float) for number in numbers):
        raise ValueError(f"its history holds {numbers!s:.60}, but consists of numbers")


def _check_run(found: Checkpoint) -> None:
    """Raise ValueError unless a checkpoint is that of a `Run`, with steps of an epoch and an order of its samples."""
    progress = found.progress
    require_types(_PROGRESS, progress, "progress")
    for numbers in (progress["loss"], progress["validation_loss"], *progress["metrics"].values()):
        require_numbers(numbers)
    order = found.arrays["order"]
    count, done, size = order.size, progress["done"], progress["batch_size"]
    if order.ndim != 1 or order.dtype.kind not in "iu" or not np.array_equal(np.sort(order), np.arange(count)):
        raise ValueError(f"the order of the samples, of shape {order.shape}, is not a permutation")
    if size < 1 or not 0 <= done <= -(-count // size):
        raise ValueError(f"it was saved after {done} steps of an epoch with {count} samples in batches of {size}")


def _read_arrays(path: Path) -> dict[str, Array]:
    """Return the arrays of an uncompressed .npz file; no array is larger than its part of the file."""
    arrays: dict[str, Array] = {}
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if info.compress_type != zipfile.ZIP_STORED or name in arrays:
                raise ValueError(f"its member {name!r:.60} is compressed, or occurs twice")
            with archive.open(info) as member:
                version = np.lib.format.read_magic(member)
                if version not in _HEADERS:
                    raise ValueError(f"its member {name!r:.60} has version {version} of NumPy's format")
                shape, column_major, dtype = _HEADERS[version](member)
                content = member.read()
            if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(content):
                raise ValueError(f"its member {name!r:.60} holds {len(content)} bytes, but declares {dtype} {shape}")
            entries = np.frombuffer(bytearray(content), dtype)
            arrays[name] = entries.reshape(shape, order="F" if column_major else "C")
    return arrays


_HEADERS: Final[dict[tuple[int, int], Any]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


# --- values that are not finite --------------------------------------------------------------------------------------


class NonFiniteError(FloatingPointError):
    """Raised if a value becomes NaN or infinite; training stops, and the last checkpoint remains valid."""


def not_finite(arrays: Mapping[str, Array]) -> list[str]:
    """Return the names of the arrays that contain NaN or infinity."""
    return [name for name, array in arrays.items() if not np.isfinite(array).all()]


def first_not_finite(network: Layer, x: Array, *, training: bool) -> str:
    """Return a description of the first layer whose output is not finite; the network's state is not changed."""
    kept = {name: array.copy() for name, array in network.state().items()}
    outputs = _outputs(network, x, "", training)
    found = next(((name, layer) for name, layer, y in outputs if not np.isfinite(y).all()), None)
    network.load_state(kept)
    if found is None:
        return "the loss itself"
    name, layer = found
    return f"layer {name}, {layer!r}" if name else repr(layer)


def owner(network: Layer, name: str) -> str:
    """Return a description of the layer that a parameter belongs to."""
    layer, places, rest = network, [], name
    while isinstance(layer, Sequential | Residual):
        place, _, rest = rest.partition(".")
        layer = dict(layer.parts)[place]
        places.append(place)
    return f"{rest} of layer {'.'.join(places)}, {layer!r}" if places else f"{rest} of {layer!r}"


def _outputs(layer: Layer, x: Array, name: str, training: bool) -> Iterator[tuple[str, Layer, Array]]:
    """Yield name, layer and output, innermost layers first; the last is the layer itself."""
    prefix, y = f"{name}." if name else "", x
    if isinstance(layer, Sequential):
        for place, part in layer.parts:
            for found in _outputs(part, y, f"{prefix}{place}", training):
                yield found
            y = found[2]
    elif isinstance(layer, Residual):
        ends = []
        for place, part in layer.parts:
            for found in _outputs(part, x, f"{prefix}{place}", training):
                yield found
            ends.append(found[2])
        y = ends[0] + (ends[1] if len(ends) > 1 else x)
    else:
        y = layer.forward(x, training=training)
    yield name, layer, y
