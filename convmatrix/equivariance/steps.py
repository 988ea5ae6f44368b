"""What a network has beside convolutions: pooling, functions of each entry, biases; as patterns where they have one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from convmatrix import options as validate
from convmatrix.geometry import ConvGeometry
from convmatrix.pattern import WeightPattern


@dataclass(frozen=True)
class Pooling:
    """Pooling over the windows of a layer: each channel by itself, no weights.

    Attributes
    ----------
    geometry : ConvGeometry
        The windows. It has one channel; ``channels`` says how many there are.
    channels : int
    kind : {"average", "max"}
        An average counts a sample as often as a window reads it, a maximum once.

    Examples
    --------
    >>> import convmatrix as cm
    >>> Pooling(cm.ConvGeometry((4, 4), (2, 2), stride=2)).pattern()
    WeightPattern(shape=(4, 16), weight_shape=(1,), n_entries=16)
    """

    geometry: ConvGeometry
    channels: int = 1
    kind: Literal["average", "max"] = "average"

    def __post_init__(self) -> None:
        if self.kind not in ("average", "max"):
            raise ValueError(f"kind {self.kind!r} is unknown; choose average or max")
        g = self.geometry
        if (g.in_channels, g.out_channels) != (1, 1):
            raise ValueError(
                f"the windows of a pooling have one channel, but the geometry has in_channels={g.in_channels} and "
                f"out_channels={g.out_channels}; give channels= to Pooling instead"
            )

    def pattern(self) -> WeightPattern:
        """Return which samples each output reads, as a pattern of one weight."""
        one = self.geometry.pattern()
        rows, cols = one.rows.astype(np.int64), one.cols.astype(np.int64)
        if self.kind == "max":
            rows, cols = np.unique(np.stack([rows, cols]), axis=1)
        channel = np.arange(self.channels)[:, None]
        rows = (channel * one.shape[0] + rows).ravel()
        cols = (channel * one.shape[1] + cols).ravel()
        shape = (self.channels * one.shape[0], self.channels * one.shape[1])
        return WeightPattern.from_triplets(shape, rows, cols, np.zeros(len(rows), dtype=np.int64), 1)


@dataclass(frozen=True)
class Elementwise:
    """A function of each entry by itself, whichever: a ReLU, a tanh. It commutes with every permutation.

    Examples
    --------
    >>> Elementwise("ReLU")
    Elementwise(name='ReLU')
    """

    name: str = "elementwise function"


@dataclass(frozen=True)
class Bias:
    """Biases that are added: one a channel, or one a unit.

    Attributes
    ----------
    shape : tuple of int
        Spatial shape of what they are added to.
    channels : int
    sharing : {"channel", "unit"}

    Examples
    --------
    >>> Bias((2, 2), channels=3).pattern()
    WeightPattern(shape=(12, 1), weight_shape=(3,), n_entries=12)
    """

    shape: tuple[int, ...]
    channels: int = 1
    sharing: Literal["channel", "unit"] = "channel"

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", validate.shape("shape", self.shape))
        if self.sharing not in ("channel", "unit"):
            raise ValueError(f"sharing {self.sharing!r} is unknown; choose channel or unit")

    def pattern(self) -> WeightPattern:
        """Return which bias each unit adds, as a pattern with one input, the constant 1."""
        n_units = math.prod(self.shape)
        size = self.channels * n_units
        labels = np.arange(size) // (n_units if self.sharing == "channel" else 1)
        n_weights = self.channels if self.sharing == "channel" else size
        return WeightPattern.from_triplets(
            (size, 1), np.arange(size), np.zeros(size, dtype=np.int64), labels, n_weights
        )


Step = ConvGeometry | Pooling | Elementwise | Bias
