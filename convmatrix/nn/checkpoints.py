"""Checkpoints of training runs: the file, its checks, and Ctrl-C deferred until it is written."""

from __future__ import annotations

import hashlib
import json
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix import options as validate
from convmatrix.atomic import atomic_write, require_writable
from convmatrix.io.file_checks import BoundedReader
from convmatrix.io.npz import NumpyArchive
from convmatrix.nn.nonfinite_values import not_finite

if TYPE_CHECKING:
    from convmatrix.arrays import Array
    from convmatrix.nn.layer import Layer
    from convmatrix.nn.optimisation import Optimiser

Generators = Mapping[str, np.random.Generator]

_FORMAT = "convmatrix training checkpoint 1"
_PARTS = ("network", "optimiser", "array")


# --- files -----------------------------------------------------------------------------------------------------------


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


def save_checkpoint(
    path: str | Path,
    network: Layer,
    optimiser: Optimiser,
    generators: Generators,
    progress: Mapping[str, Any],
    arrays: Mapping[str, Array],
) -> None:
    """Write the states of a network, an optimiser and random generators, and the progress of the run, to an .npz file.

    ``progress`` holds JSON values, and ``arrays`` other arrays, such as the order of the samples. An existing file is
    replaced once the new one is complete.
    """
    contents = {
        "progress": dict(progress),
        "optimiser": type(optimiser).__name__,
        "generators": {name: generator.bit_generator.state for name, generator in generators.items()},
    }
    text = json.dumps(contents, default=plain_values)
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
        self, network: Layer, optimiser: Optimiser, generators: Generators, trained: Mapping[str, Array] | None = None
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
                f"checkpoint {self.path} was saved with optimiser {kind}, but this run uses "
                f"{type(optimiser).__name__}; use {kind}, or another checkpoint file"
            )
        kinds = {name: generator.bit_generator.state["bit_generator"] for name, generator in generators.items()}
        stored_kinds = {name: state["bit_generator"] for name, state in self.generators.items()}
        if kinds != stored_kinds:
            raise ValueError(
                f"checkpoint {self.path} was saved with the generators {stored_kinds}, but this run has {kinds}; "
                "build the network in the same way, and give the same kind of rng="
            )
        try:
            optimiser.check_state(self.optimiser[1], network.parameters if trained is None else trained)
            for name, state in self.generators.items():
                type(generators[name].bit_generator)(0).state = state  # raises unless the state is one of this kind
        except (ValueError, TypeError, KeyError, OverflowError, AttributeError) as error:
            raise _unreadable(self.path, error) from error

    def restore(
        self, network: Layer, optimiser: Optimiser, generators: Generators, trained: Mapping[str, Array] | None = None
    ) -> None:
        """Copy the states into objects for which `check` raises no error; otherwise change nothing."""
        self.check(network, optimiser, generators, trained)
        network.load_state(self.network)
        optimiser.load_state(self.optimiser[1])
        for name, state in self.generators.items():
            generators[name].bit_generator.state = state


def load_checkpoint(path: str | Path, check: Callable[[Checkpoint], None] | None = None) -> Checkpoint:
    """Return the contents of a checkpoint file; raise ValueError if it is damaged or is not a checkpoint.

    ``check`` is called with the contents, and raises ValueError unless progress and arrays are those of a kind of
    training; by default that of `fit`.
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
_ERRORS: Final = (ValueError, OSError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


def _unreadable(path: Path, error: BaseException) -> ValueError:
    reason = str(error) or type(error).__name__
    return ValueError(
        f"checkpoint {path} cannot be read: {reason}; it is damaged, or is not a checkpoint of a training run"
    )


def require_types(kinds: Mapping[str, type | tuple[type, ...]], values: Any, what: str) -> None:
    """Raise ValueError unless a dictionary holds values of the given types."""
    if not isinstance(values, dict):
        raise ValueError(f"{what} is a {type(values).__name__}, but must be a dictionary")
    for name, kind in kinds.items():
        if not isinstance(values.get(name), kind) or (kind is int and isinstance(values[name], bool)):
            raise ValueError(f"{name} of {what} is {values.get(name)!s:.60}, which has the wrong type")


def require_same(path: Path, stored: Mapping[str, Any], own: Mapping[str, Any], remedy: str = "") -> None:
    """Raise ValueError if a setting of a run differs from that in its checkpoint; both are JSON values."""
    own = json.loads(json.dumps(own, default=plain_values))
    for name in sorted(own.keys() | stored.keys()):
        values = [given.get(name, "absent") for given in (stored, own)]
        there, here = map(json.dumps, values)
        if there != here and values[0] != values[1]:  # NaN is the same as NaN, and 1 the same as 1.0
            raise ValueError(
                f"checkpoint {path} was saved with {name} {there}, but this run has {here}; use the same, or another "
                f"checkpoint file{remedy}"
            )


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
    with path.open("rb", buffering=0) as raw, BoundedReader(raw) as file:
        archive = NumpyArchive(file)
        if compressed := [name for name in archive if archive.is_compressed(name)]:
            raise ValueError(f"its member {compressed[0]!r:.60} is compressed")
        return {name.removesuffix(".npy"): archive.array(archive.header(name)) for name in archive}


def plain_values(value: Any) -> Any:
    """Return an array, such as the states of some generators contain, or a NumPy number as JSON values."""
    return value.tolist()


def checksum(array: Array) -> str:
    """Return a checksum of dtype, shape and entries of an array; byte order, and the size of labels, do not matter."""
    labels = array.ndim == 1 and array.dtype.kind in "iu"
    array = array.astype(np.int64 if labels else array.dtype.newbyteorder("="), copy=False)
    text = hashlib.blake2b(f"{array.dtype} {array.shape}".encode(), digest_size=8)
    text.update(np.ascontiguousarray(array).data.cast("B") if array.size else b"")
    return text.hexdigest()


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
