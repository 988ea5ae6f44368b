"""Numbers that stop being finite: where they come from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix.nn.network import Residual, Sequential

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convmatrix.nn.layer import Layer

    Array = NDArray[Any]


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
