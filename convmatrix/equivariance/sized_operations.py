"""Network operations that know the shape of their input, so that a network can begin with them.

Version 0.1 described networks by these operations; `convmatrix.equivariance` exports them as ``Pooling`` and ``Bias``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from convmatrix import options as validate
from convmatrix.network import Pooling, Scale
from convmatrix.pattern import WeightPattern

if TYPE_CHECKING:
    from convmatrix.geometry import ConvGeometry

Shape = tuple[int, ...]


class WindowPooling(Pooling):
    """Pooling over the windows of a one-channel layer, channel by channel.

    Parameters
    ----------
    windows : ConvGeometry
        A one-channel layer, whose windows are pooled.
    channels : int
    kind : {"average", "max"}
        An average counts a sample as often as its window reads it; a maximum counts it once.

    Examples
    --------
    >>> import convmatrix as cm
    >>> WindowPooling(cm.ConvGeometry((4, 4), (2, 2), stride=2)).pattern()
    WeightPattern(shape=(4, 16), weight_shape=(1,), n_entries=16)
    """

    def __init__(
        self, windows: ConvGeometry, channels: int = 1, kind: Literal["average", "max", "sum"] = "average"
    ) -> None:
        validate.one_of("kind", kind, ("average", "max"))
        if (windows.in_channels, windows.out_channels) != (1, 1):
            raise ValueError(
                f"the windows of a pooling have one channel, but the geometry has in_channels={windows.in_channels} "
                f"and out_channels={windows.out_channels}; give channels= instead"
            )
        super().__init__(
            kind, windows.kernel_shape, windows.stride, windows.padding, windows.dilation, windows.boundary
        )
        object.__setattr__(self, "windows", windows)
        object.__setattr__(self, "sample_shape", (channels, *windows.input_shape))

    windows: ConvGeometry
    sample_shape: Shape

    def output_shape(self, input_shapes: Sequence[Shape]) -> Shape:
        """Return (channels, *positions)."""
        require_shape(self.kind, self.sample_shape, input_shapes[0])
        return super().output_shape(input_shapes)

    def pattern(self) -> WeightPattern:
        """Return the pattern, with a single weight, of the samples that each output reads."""
        one = self.windows.pattern()
        rows, cols = one.rows.astype(np.int64), one.cols.astype(np.int64)
        if self.method == "max":
            rows, cols = np.unique(np.stack([rows, cols]), axis=1)
        n_channels = self.sample_shape[0]
        channel = np.arange(n_channels)[:, None]
        rows, cols = ((channel * size + entries).ravel() for size, entries in zip(one.shape, (rows, cols), strict=True))
        shape = (n_channels * one.shape[0], n_channels * one.shape[1])
        return WeightPattern.from_triplets(shape, rows, cols, np.zeros(len(rows), dtype=np.int64), 1)


@dataclass(frozen=True, eq=False)
class AddedBias(Scale):
    """The addition of arbitrary biases: one per channel, or one per unit.

    Parameters
    ----------
    shape : int or tuple of int
        Spatial shape of the input.
    channels : int
    sharing : {"channel", "unit"}

    Examples
    --------
    >>> AddedBias((2, 2), channels=3).pattern()
    WeightPattern(shape=(12, 1), weight_shape=(3,), n_entries=12)
    """

    shape: Shape = ()
    channels: int = 1
    sharing: Literal["channel", "unit"] = "channel"
    kind: ClassVar[str] = "bias"

    def __init__(
        self, shape: int | Sequence[int], channels: int = 1, sharing: Literal["channel", "unit"] = "channel"
    ) -> None:
        validate.one_of("sharing", sharing, ("channel", "unit"))
        super().__init__(None, "channel")
        values = {"shape": validate.shape("shape", shape), "channels": channels, "sharing": sharing}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def sample_shape(self) -> Shape:
        """Shape of one sample of the input."""
        return (self.channels, *self.shape)

    def output_shape(self, input_shapes: Sequence[Shape]) -> Shape:
        """Return the shape of the input."""
        require_shape(self.kind, self.sample_shape, input_shapes[0])
        return input_shapes[0]

    def pattern(self) -> WeightPattern:
        """Return the pattern of the bias that each unit adds; its one input is the constant 1."""
        n_units = math.prod(self.shape)
        size = self.channels * n_units
        labels = np.arange(size) // (n_units if self.sharing == "channel" else 1)
        n_weights = self.channels if self.sharing == "channel" else size
        return WeightPattern.from_triplets(
            (size, 1), np.arange(size), np.zeros(size, dtype=np.int64), labels, n_weights
        )


def require_shape(kind: str, expected: Shape, given: Shape) -> None:
    """Raise ValueError unless an operation receives the input shape that it was created for."""
    if expected != given:
        raise ValueError(f"a {kind} of {expected} was given an input of shape {given}; make them agree")
