"""The one helper of the families: it appends layers to a network that is being described, and keeps their shapes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from convmatrix import ConvGeometry
from convmatrix.network import (
    Addition,
    Concatenation,
    Convolution,
    Elementwise,
    FullyConnected,
    Input,
    Network,
    Node,
    Normalisation,
    Operation,
    Pooling,
    Product,
    Scale,
)

Shape = tuple[int, ...]


def divisible(value: float, divisor: int = 8) -> int:
    """Return the nearest multiple of a divisor, at least one; the next one if the nearest is more than 10% too small.

    This is how MobileNets and their successors scale numbers of channels (Sandler et al., 2018).
    """
    nearest = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return nearest if nearest >= 0.9 * value else nearest + divisor


class Layers:
    """A network without weights that is being described, layer by layer.

    Each method appends to the layer named by ``source``, by default ``last``, and returns the name of what it appended.
    """

    def __init__(self, *input_shape: int) -> None:
        self.nodes = [Node("input", Input(input_shape))]
        self.last = "input"
        self._shapes: dict[str, Shape] = {"input": input_shape}

    def shape(self, name: str = "") -> Shape:
        """Return the shape of the output of a layer."""
        return self._shapes[name or self.last]

    def network(self, name: str, *outputs: str) -> Network:
        """Return the network, with the last layer as its output if none are named."""
        return Network(self.nodes, outputs or [self.last], name)

    def add(self, operation: Operation, *sources: str) -> str:
        """Append any operation."""
        sources = tuple(source or self.last for source in sources) or (self.last,)
        name = f"{operation.kind} {len(self.nodes)}"
        self._shapes[name] = operation.output_shape([self._shapes[source] for source in sources])
        self.nodes.append(Node(name, operation, sources))
        self.last = name
        return name

    # --- convolutions ------------------------------------------------------------------------------------------------

    def convolution(
        self,
        channels: int,
        taps: int | tuple[int, int],
        stride: int = 1,
        *,
        padding: Any = None,
        groups: int = 1,
        bias: bool = False,
        source: str = "",
    ) -> str:
        """Append a convolution; by default it is padded by half a kernel."""
        ins, *sizes = self.shape(source)
        kernel = (taps, taps) if isinstance(taps, int) else taps
        geometry = ConvGeometry(
            sizes,
            kernel,
            in_channels=ins,
            out_channels=channels,
            stride=stride,
            padding=[(n // 2, n // 2) for n in kernel] if padding is None else padding,
            groups=groups,
        )
        return self.add(Convolution(geometry, bias=bias), source)

    def normalised(
        self,
        channels: int,
        taps: int | tuple[int, int],
        stride: int = 1,
        function: str = "relu",
        **options: Any,
    ) -> str:
        """Append a convolution, the batch normalisation of its output and a function, which is left out if empty."""
        self.convolution(channels, taps, stride, **options)
        self.add(Scale("channel", "channel"))
        return self.function(function) if function else self.last

    def depthwise(self, taps: int, stride: int = 1, function: str = "relu", source: str = "") -> str:
        """Append a normalised depthwise convolution."""
        channels = self.shape(source)[0]
        return self.normalised(channels, taps, stride, function, groups=channels, source=source)

    def squeeze_excite(self, channels: int, function: str = "relu", gate: str = "sigmoid") -> str:
        """Append the product of a layer with a gate per channel (Hu, Shen, Sun, 2018)."""
        source, outs = self.last, self.shape()[0]
        self.add(Pooling("average", None))
        self.convolution(channels, 1, bias=True)
        self.function(function)
        self.convolution(outs, 1, bias=True)
        self.function(gate)
        return self.add(Product(), source, self.last)

    # --- other layers ------------------------------------------------------------------------------------------------

    def function(self, name: str, source: str = "") -> str:
        """Append a function of each entry."""
        return self.add(Elementwise(name), source)

    def batch_norm(self, function: str = "relu", source: str = "") -> str:
        """Append a batch normalisation and a function."""
        self.add(Scale("channel", "channel"), source)
        return self.function(function)

    def layer_norm(self, axis: int = -1, source: str = "") -> str:
        """Append a normalisation along one axis of the sample, with a trained scale and shift."""
        self.add(Normalisation((axis,)), source)
        shape = [1] * len(self.shape())
        shape[axis] = self.shape()[axis]
        return self.add(Scale(np.ones(shape), np.zeros(shape)))

    def pool(self, taps: int, stride: int, padding: int = 0, *, ceil: bool = False, source: str = "") -> str:
        """Append a maximum pooling."""
        return self.add(Pooling("max", taps, stride, padding, ceil_mode=ceil), source)

    def average(self, taps: int | None = None, stride: int | None = None, padding: int = 0, source: str = "") -> str:
        """Append an average pooling, by default over the whole map."""
        return self.add(Pooling("average", taps, stride, padding), source)

    def dense(self, channels: int, *, bias: bool = True, flatten: bool = True, source: str = "") -> str:
        """Append a fully connected layer, or one along the last axis."""
        shape = self.shape(source)
        n_in = math.prod(shape) if flatten else shape[-1]
        return self.add(FullyConnected(n_in, channels, bias=bias, flatten=flatten), source)

    def sum(self, *sources: str) -> str:
        """Append a sum."""
        return self.add(Addition(), *sources)

    def join(self, *sources: str, axis: int = 0) -> str:
        """Append a concatenation."""
        return self.add(Concatenation(axis), *sources)

    def classify(self, channels: int = 1000) -> str:
        """Append a global average and a fully connected layer."""
        self.average()
        return self.dense(channels)
