"""Checkpoints: everything that a resumed training needs, in one file that is whole or not there."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix.io.atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from convmatrix.nn.layer import Layer
    from convmatrix.nn.optimisers import Optimiser

    Generators = Mapping[str, np.random.Generator]

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
    with replacing(Path(path)) as file:
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
