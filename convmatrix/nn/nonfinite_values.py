"""Infinite and NaN values in training: the layer that they come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from convmatrix.nn.sequential import Residual, Sequential

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from convmatrix.arrays import Array
    from convmatrix.nn.layer import Layer

REMEDY: Final = "lower the learning rate or check the data"


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
