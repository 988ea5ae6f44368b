"""The layers that a network is listed as: each with its shapes, and with counts of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from convmatrix import options as validate
from convmatrix.counts.layer import Bias, LayerCounts, layer_counts
from convmatrix.counts.storage import StorageBytes, csr_bytes, dia_bytes
from convmatrix.geometry import ConvGeometry

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

Shape = tuple[int, ...]
_NO_BYTES = StorageBytes(0, 0, 0, 0)


class NetworkLayer(Protocol):
    """What a network is a list of.

    ``sources`` names the layers that are read; empty, it is the one before. Shapes are channels first.
    """

    @property
    def name(self) -> str:
        """Name of the layer, unique in its network."""

    @property
    def sources(self) -> Sequence[str]:
        """Names of the layers that are read; empty for the one before."""

    @property
    def input_shape(self) -> Shape:
        """Shape of what is read."""

    @property
    def output_shape(self) -> Shape:
        """Shape of what is given."""

    def counts(self, dtype: DTypeLike) -> LayerCounts:
        """Return the counts of the layer."""


def _check_sizes(name: str, what: str, sizes: Shape) -> None:
    """Raise unless sizes are positive integers."""
    for place, size in enumerate(sizes):
        validate.integer(f"layer {name!r}: {what}[{place}]", size, minimum=1)


def no_counts(name: str, *, units: int = 0, weights: int = 0, biases: int = 0) -> LayerCounts:
    """Return the counts of a layer that connects and multiplies nothing.

    Examples
    --------
    >>> no_counts("image", units=256).connections
    0
    """
    return LayerCounts(name, units, 0, 0, weights, biases, 0, 0, 0, _NO_BYTES)


@dataclass(frozen=True)
class _SameShape:
    """A layer that gives what it reads, in the same shape."""

    name: str
    shape: Shape
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_sizes(self.name, "shape", self.shape)

    @property
    def input_shape(self) -> Shape:
        """Shape of what is read."""
        return self.shape

    @property
    def output_shape(self) -> Shape:
        """Shape of what is given."""
        return self.shape


@dataclass(frozen=True)
class Input(_SameShape):
    """What a network reads; its samples count as units.

    Examples
    --------
    >>> Input("image", (1, 16, 16)).counts(float).units
    256
    """

    def counts(self, dtype: DTypeLike = np.float64) -> LayerCounts:
        """Return the counts of the layer: units alone."""
        return no_counts(self.name, units=math.prod(self.shape))


@dataclass(frozen=True)
class Convolution:
    """A convolution layer with its biases; see `layer_counts`.

    Examples
    --------
    >>> c1 = Convolution("C1", ConvGeometry((32, 32), (5, 5), out_channels=6))
    >>> c1.output_shape, c1.counts().parameters
    ((6, 28, 28), 156)
    """

    name: str
    geometry: ConvGeometry
    bias: Bias = "channel"
    sources: tuple[str, ...] = ()

    @property
    def input_shape(self) -> Shape:
        """Shape of what is read."""
        return (self.geometry.in_channels, *self.geometry.input_shape)

    @property
    def output_shape(self) -> Shape:
        """Shape of what is given."""
        return (self.geometry.out_channels, *self.geometry.output_shape)

    def counts(self, dtype: DTypeLike = np.float64) -> LayerCounts:
        """Return the counts of the layer."""
        return layer_counts(self.geometry, self.bias, dtype=dtype, name=self.name)


@dataclass(frozen=True)
class Dense:
    """A fully connected layer, which reads its input flattened.

    ``trained=False`` is for connections with fixed coefficients, such as those of LeNet-5's radial basis functions:
    they are connections and multiply, but are no parameters.

    Examples
    --------
    >>> Dense("H3", 192, 30).counts().connections
    5790
    """

    name: str
    n_in: int
    n_out: int
    bias: bool = True
    trained: bool = True
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_sizes(self.name, "(n_in, n_out)", (self.n_in, self.n_out))

    @property
    def input_shape(self) -> Shape:
        """Shape of what is read."""
        return (self.n_in,)

    @property
    def output_shape(self) -> Shape:
        """Shape of what is given."""
        return (self.n_out,)

    def counts(self, dtype: DTypeLike = np.float64) -> LayerCounts:
        """Return the counts of the layer."""
        edges, biases, item = self.n_in * self.n_out, self.n_out if self.bias else 0, np.dtype(dtype).itemsize
        return LayerCounts(
            name=self.name,
            units=self.n_out,
            connections=edges + biases,
            connections_inside=edges,
            weights=edges if self.trained else 0,
            biases=biases if self.trained else 0,
            nonzeros=edges,
            macs=edges,
            entries=edges,
            bytes=StorageBytes(
                dense=edges * item,
                csr=csr_bytes(edges, self.n_out, self.n_in, item),
                dia=dia_bytes(self.n_in + self.n_out - 1, self.n_in, self.n_out, self.n_in, item),
                kernel=edges * item,
            ),
        )


@dataclass(frozen=True)
class Pooling:
    """Pooling, channel by channel: the maximum or the average of a window.

    It has connections, but neither weights nor, by the convention of published counts, multiply-adds.

    With ``trained=True`` it is the subsampling layer of LeNet-5 (LeCun et al. 1998): the sum of the window times one
    trained coefficient a channel, plus one trained bias a channel.

    Parameters
    ----------
    name : str
    input_shape : tuple of int
        Channels, then the spatial axes.
    window : int or sequence of int
    stride : int or sequence of int, optional
        By default the window: windows side by side.
    padding : int or sequence of int
    trained : bool

    Examples
    --------
    >>> s2 = Pooling("S2", (6, 28, 28), 2, trained=True)
    >>> s2.output_shape, s2.counts().connections, s2.counts().parameters
    ((6, 14, 14), 5880, 12)
    """

    name: str
    input_shape: Shape
    window: int | Sequence[int]
    stride: int | Sequence[int] | None = None
    padding: int | Sequence[int] = 0
    trained: bool = False
    sources: tuple[str, ...] = ()

    @property
    def geometry(self) -> ConvGeometry:
        """The layer as a convolution: one kernel a channel."""
        channels, *spatial = self.input_shape
        return ConvGeometry(
            spatial,
            validate.per_axis("window", self.window, len(spatial), minimum=1),
            in_channels=channels,
            out_channels=channels,
            groups=channels,
            stride=self.window if self.stride is None else self.stride,
            padding=self.padding,
        )

    @property
    def output_shape(self) -> Shape:
        """Shape of what is given."""
        return (self.input_shape[0], *self.geometry.output_shape)

    def counts(self, dtype: DTypeLike = np.float64) -> LayerCounts:
        """Return the counts of the layer."""
        counts = layer_counts(self.geometry, "channel" if self.trained else None, dtype=dtype, name=self.name)
        if self.trained:
            coefficients = self.input_shape[0]
            kernel = coefficients * np.dtype(dtype).itemsize
            return replace(counts, weights=coefficients, bytes=replace(counts.bytes, kernel=kernel))
        return replace(counts, weights=0, nonzeros=0, macs=0, entries=0, bytes=_NO_BYTES)


@dataclass(frozen=True)
class Normalisation(_SameShape):
    """Batch normalisation: a trained scale and a trained shift a channel; no units or connections of its own.

    Examples
    --------
    >>> Normalisation("bn1", (64, 112, 112)).counts().parameters
    128
    """

    def counts(self, dtype: DTypeLike = np.float64) -> LayerCounts:
        """Return the counts of the layer: parameters alone."""
        return no_counts(self.name, weights=self.shape[0], biases=self.shape[0])


@dataclass(frozen=True)
class Addition:
    """Where branches meet and are added; it counts nothing.

    Examples
    --------
    >>> Addition("sum", (64, 56, 56), ("main", "shortcut")).counts().parameters
    0
    """

    name: str
    shape: Shape
    sources: tuple[str, ...]

    def __post_init__(self) -> None:
        _check_sizes(self.name, "shape", self.shape)

    @property
    def input_shape(self) -> Shape:
        """Shape of what is read, of every branch."""
        return self.shape

    @property
    def output_shape(self) -> Shape:
        """Shape of what is given."""
        return self.shape

    def counts(self, dtype: DTypeLike = np.float64) -> LayerCounts:
        """Return the counts of the layer, all zero."""
        return no_counts(self.name)
