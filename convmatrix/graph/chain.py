"""Layers in a chain, from the input on, and the units of the last one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from convmatrix import options as validate
from convmatrix.geometry import ConvGeometry
from convmatrix.pattern import WeightPattern

Layer = WeightPattern | ConvGeometry


def as_chain(layers: Any) -> list[Any]:
    """Return layers as a list whose neighbours fit together."""
    chain = [layers] if isinstance(layers, WeightPattern | ConvGeometry) else list(layers)
    require_layers(chain)
    for number, layer in enumerate(chain):
        if not isinstance(layer, WeightPattern | ConvGeometry):
            raise TypeError(f"layer {number} is a {type(layer).__name__}; give a WeightPattern or a ConvGeometry")
    for number in range(1, len(chain)):
        outputs, inputs = matrix_shape(chain[number - 1])[0], matrix_shape(chain[number])[1]
        if outputs != inputs:
            raise ValueError(
                f"layer {number} reads {inputs} inputs, but layer {number - 1} gives {outputs}; "
                "give the layers from the input on"
            )
    return chain


def pattern_chain(layers: Any) -> list[WeightPattern]:
    """Return the patterns of layers whose neighbours fit together."""
    return [layer.pattern() if isinstance(layer, ConvGeometry) else layer for layer in as_chain(layers)]


def require_layers(chain: Sequence[Any]) -> None:
    """Raise if there is no layer."""
    if not chain:
        raise ValueError("the sequence of layers is empty; give at least one")


def matrix_shape(layer: Layer) -> tuple[int, int]:
    """Return the outputs and the inputs of a layer."""
    return layer.shape if isinstance(layer, WeightPattern) else (layer.n_out, layer.n_in)


def flat_unit(layer: Layer, unit: int | Sequence[int]) -> int:
    """Return the flat index of a unit."""
    n_units = matrix_shape(layer)[0]
    geometry = layer.geometry if isinstance(layer, WeightPattern) else layer
    if np.ndim(unit) == 0:
        index: tuple[int, ...] = (validate.integer("unit", unit),)
        sizes: tuple[int, ...] = (n_units,)
    else:
        if geometry is None:
            raise ValueError(
                f"unit={unit} is a place, but the pattern is no layer's; give a flat index below {n_units}"
            )
        index = tuple(validate.integer(f"unit[{axis}]", i) for axis, i in enumerate(np.asarray(unit).tolist()))
        sizes = (geometry.out_channels, *geometry.output_shape)
    if len(index) != len(sizes) or not all(0 <= i < n for i, n in zip(index, sizes, strict=True)):
        raise IndexError(
            f"unit {unit} does not exist; give a flat index below {n_units}"
            + (
                f", or (channel, *position) within {(geometry.out_channels, *geometry.output_shape)}"
                if geometry
                else ""
            )
        )
    return int(np.ravel_multi_index(index, sizes))
