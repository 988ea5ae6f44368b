"""The layer that the options describe: its geometry and its weights."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix import memory
from convmatrix.cli.arrays import read_array
from convmatrix.cli.errors import DataError, UsageError
from convmatrix.cli.options import LAYER_DEFAULTS, option
from convmatrix.cli.shapes import by_x, geometry_of_kernel, geometry_of_weights

if TYPE_CHECKING:
    import argparse

    from numpy.typing import NDArray

    from convmatrix.geometry import ConvGeometry


@dataclass(frozen=True)
class Layer:
    """A layer as the options describe it; ``weights`` is None where only their shape was given."""

    geometry: ConvGeometry
    weights: NDArray[Any] | None
    seed: int | None = None

    def given_weights(self) -> NDArray[Any]:
        """Return the weights, without which there is no matrix."""
        if self.weights is None:
            raise UsageError("--kernel-shape gives no weights: add --random, or give --kernel")
        return self.weights


def read_layer(args: argparse.Namespace) -> Layer:
    """Return the layer that the options of `convmatrix.cli.options` describe."""
    _check_combinations(args)
    input_shape = option(args, "input_shape")
    options = {name: option(args, name) for name in LAYER_DEFAULTS}
    if options["connections"] is not None:
        options["connections"] = _read_connections(options["connections"], input_shape)
    if option(args, "kernel") is None:
        geometry = geometry_of_kernel(option(args, "kernel_shape"), input_shape, options)
        if not option(args, "random"):
            return Layer(geometry, None)
        seed = option(args, "seed")
        seed = secrets.randbits(32) if seed is None else seed  # reported, so that the draw can be repeated
        return Layer(geometry, _random_weights(geometry, seed, option(args, "dtype") or "float64"), seed)
    weights = read_array("--kernel", option(args, "kernel"))
    plain = options["sharing"] == "shared" and options["connections"] is None
    if plain and len(input_shape) == 1 and weights.ndim == 2 and 1 in weights.shape:
        weights = weights.reshape(-1)  # text has two axes even where it is one row or one column
    geometry = geometry_of_weights(weights.shape, input_shape, options)
    if weights.size == geometry.n_weights:
        weights = weights.reshape(geometry.weight_shape)
    return Layer(geometry, weights)


def _check_combinations(args: argparse.Namespace) -> None:
    kernel, kernel_shape, connections = (option(args, name) for name in ("kernel", "kernel_shape", "connections"))
    if kernel is None and kernel_shape is None:
        raise UsageError("no kernel: give --kernel, or --kernel-shape with --random")
    if option(args, "input_shape") is None:
        raise UsageError("no input shape: give --input-shape, such as 28x28")
    if option(args, "random") and kernel is not None:
        raise UsageError("--random draws the weights, but --kernel gives them: drop one of the two")
    if option(args, "seed") is not None and not option(args, "random"):
        raise UsageError("--seed is for --random: add --random, or drop --seed")
    if connections is not None and option(args, "groups") != 1:
        raise UsageError("--connections and --groups exclude each other: write the groups into the table")
    if any(option(args, "output_padding")) and not option(args, "transposed"):
        raise UsageError("--output-padding is for transposed layers: add --transposed, or drop it")
    if kernel == connections == "-":
        raise UsageError("--kernel and --connections cannot both be read from standard input: put one in a file")


def _read_connections(source: str, input_shape: tuple[int, ...]) -> NDArray[Any]:
    table = read_array("--connections", source)
    if table.ndim != 2 or not np.isin(table, (0, 1)).all():
        raise DataError(
            f"--connections {source} has shape {by_x(table.shape)} and entries from {table.min()} to {table.max()}: "
            "give a table of 0 and 1, one row an output channel, one column an input channel"
        )
    if len(input_shape) < 2 or input_shape[0] != table.shape[1]:
        raise DataError(
            f"--connections {source} has {table.shape[1]} columns, one an input channel, but --input-shape "
            f"{by_x(input_shape)} does not begin with {table.shape[1]} channels: make them agree"
        )
    return table.astype(bool)


def _random_weights(geometry: ConvGeometry, seed: int, dtype_name: str) -> NDArray[Any]:
    """Draw weights: standard normal ones, or integers from -9 to 9."""
    dtype, shape = np.dtype(dtype_name), geometry.weight_shape
    memory.require(
        3 * max(dtype.itemsize, 8) * geometry.n_weights,
        f"{geometry.n_weights} random weights",
        "shrink --kernel-shape, or ask for an estimate with --dry-run",
    )
    rng = np.random.default_rng(seed)
    if dtype.kind == "i":
        return rng.integers(-9, 10, size=shape).astype(dtype)
    drawn = rng.standard_normal(shape)
    return (drawn + 1j * rng.standard_normal(shape) if dtype.kind == "c" else drawn).astype(dtype)
