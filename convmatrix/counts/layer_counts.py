"""The counts of one layer: units, connections, parameters, multiply-adds, bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from convmatrix import options as validate
from convmatrix.boundary import NOTHING, SIGNED, Axis
from convmatrix.counts.storage import NO_BYTES, StorageBytes, storage_bytes
from convmatrix.display.tables import ShownAsTable, Table, facts
from convmatrix.geometry import ConvGeometry
from convmatrix.memory import in_words
from convmatrix.read_counts import count_reads

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


Bias = Literal["channel", "unit"] | None
COUNTED = ("units", "connections", "connections_inside", "weights", "biases", "nonzeros", "macs", "entries")
_LISTED = 2**20  # number of entries of one axis listed at a time


@dataclass(frozen=True, repr=False)
class LayerCounts(ShownAsTable):
    """Counts of a layer or of a whole network, as exact Python integers.

    Attributes
    ----------
    name : str
    units : int
        Outputs of the layer.
    connections : int
        As published tables count them: every tap of every unit, including those that read padding, and one more
        connection per unit for its bias.
    connections_inside : int
        Taps that read a sample of the input, excluding padding and biases. These are the entries of the index pattern;
        a tap beyond an antireflective boundary reads several samples and has as many entries.
    weights, biases : int
        Number of trained weights and biases.
    nonzeros : int
        Stored entries of the layer's matrix, hence its multiply-adds. Taps that land on one sample share an entry, and
        fixed coefficients are part of its value: they are neither parameters nor multiplications of their own.
    macs : int
        Multiply-adds by the usual convention, which includes products with padding. Biases, pooling and normalisation
        are omitted, as in published counts.
    entries : int
        Entries of the matrix, zeros included: the weights of a dense layer of the same size.
    bytes : StorageBytes
        Bytes of the matrix stored dense, in CSR and in DIA format, and of the kernel alone.
    """

    name: str
    units: int = 0
    connections: int = 0
    connections_inside: int = 0
    weights: int = 0
    biases: int = 0
    nonzeros: int = 0
    macs: int = 0
    entries: int = 0
    bytes: StorageBytes = NO_BYTES

    @property
    def parameters(self) -> int:
        """Weights and biases together."""
        return self.weights + self.biases

    @property
    def density(self) -> float:
        """Fraction of the matrix that is stored, nonzeros / entries; 0 if there is no matrix."""
        return self.nonzeros / self.entries if self.entries else 0.0

    @property
    def sharing_factor(self) -> float | None:
        """Average number of uses of a weight, connections_inside / weights; None if either is zero."""
        return self.connections_inside / self.weights if self.weights and self.connections_inside else None

    def __repr__(self) -> str:
        return (
            f"LayerCounts({self.name!r}, units={self.units}, connections={self.connections}, "
            f"parameters={self.parameters}, nonzeros={self.nonzeros})"
        )

    def _table(self) -> Table:
        values = {name.replace("_", " "): f"{getattr(self, name):,}" for name in COUNTED}
        values["density"] = f"{self.density:.3g}"
        values["uses of a weight"] = "-" if self.sharing_factor is None else f"{self.sharing_factor:.4g}"
        for name, stored in vars(self.bytes).items():
            values[f"bytes, {name if name in ('dense', 'kernel') else name.upper()}"] = (
                "-" if stored is None else in_words(stored)
            )
        return facts(self.name, values)


def layer_counts(
    geometry: ConvGeometry, bias: Bias | bool = "channel", *, dtype: DTypeLike = np.float64, name: str = "layer"
) -> LayerCounts:
    r"""Return the counts of a convolution layer, by formula: neither matrix nor pattern is built.

    Counts are products over the axes. With P pairs of channels and, on axis a, :math:`m_a` positions of the kernel and
    :math:`k_a` taps, the layer has :math:`P \prod_a m_a k_a` taps, including those on padding. Those that read a sample
    number :math:`P \prod_a c_a`, where :math:`c_a` counts the pairs of position and tap of axis a that do; for k = 3,
    stride 1 and one sample of padding at both ends it is :math:`3 n - 2`.

    Parameters
    ----------
    geometry : ConvGeometry
        Of any size.
    bias : {"channel", "unit"}, bool or None
        One bias per output channel (the usual choice, also given by True), one per unit (as in LeCun et al. 1989), or
        none (also given by False).
    dtype : dtype
        The dtype of the values, for the counts of bytes.
    name : str

    Returns
    -------
    LayerCounts

    Raises
    ------
    ValueError
        If ``bias`` has another value.
    TypeError
        If the layer is not a `ConvGeometry`; use `network_counts` for networks.

    Examples
    --------
    The first layer of LeCun et al., Backpropagation applied to handwritten zip code recognition (1989):

    >>> from convmatrix import ConvGeometry
    >>> h1 = ConvGeometry((16, 16), (5, 5), out_channels=12, stride=2, padding=[(1, 2), (1, 2)])
    >>> counts = layer_counts(h1, bias="unit")
    >>> counts.units, counts.connections, counts.weights, counts.biases, counts.parameters
    (768, 19968, 300, 768, 1068)
    >>> counts.connections_inside, counts.macs
    (16428, 19200)

    A layer of any size can be counted, because nothing is built:

    >>> layer_counts(ConvGeometry((10**9, 10**9), (3, 3), padding="same")).nonzeros
    8999999988000000004
    """
    if not isinstance(geometry, ConvGeometry):
        raise TypeError(f"layer_counts takes a ConvGeometry, but was given {geometry!r} ({type(geometry).__name__})")
    if isinstance(bias, bool):
        bias = "channel" if bias else None
    if bias is not None:
        validate.one_of("bias", bias, ("channel", "unit"), " or None: one per output channel, one per unit, or none")
    macs, nonzeros = layer_macs(geometry), layer_nonzeros(geometry)
    return LayerCounts(
        name=name,
        units=geometry.n_out,
        connections=macs + (geometry.n_out if bias is not None else 0),
        connections_inside=_n_pairs(geometry) * math.prod(_axis_taps_inside(axis) for axis in geometry.axes),
        weights=geometry.n_weights,
        biases={"channel": geometry.out_channels, "unit": geometry.n_out, None: 0}[bias],
        nonzeros=nonzeros,
        macs=macs,
        entries=geometry.n_out * geometry.n_in,
        bytes=storage_bytes(geometry, nonzeros, validate.data_type(dtype)),
    )


def _n_pairs(geometry: ConvGeometry) -> int:
    """Return the number of connected pairs of output and input channel."""
    return geometry.n_weights // math.prod((*geometry.tile, *geometry.kernel_shape))


def layer_macs(geometry: ConvGeometry) -> int:
    """Return the number of multiply-adds of a layer, including those with padding, by formula."""
    taps: int = math.prod(axis.n_outputs * axis.n_taps for axis in geometry.axes)
    return _n_pairs(geometry) * taps


def layer_nonzeros(geometry: ConvGeometry) -> int:
    """Return the number of stored entries of a layer's matrix, by formula.

    Examples
    --------
    >>> layer_nonzeros(ConvGeometry((3, 3), (2, 2)))
    16
    """
    return _n_pairs(geometry) * math.prod(_axis_nonzeros(axis) for axis in geometry.axes)


def _axis_taps_inside(axis: Axis) -> int:
    """Return the number of (output, tap) pairs of an axis that read a sample; all, unless the boundary is zero.

    Beyond a signed boundary, every sample that a tap reads counts.
    """
    if axis.boundary in SIGNED:
        low, high = axis.inner_outputs
        beyond = _samples_read(axis, 0, low, by_tap=True) + _samples_read(axis, high, axis.n_outputs, by_tap=True)
        return beyond + int((high - low) * axis.n_taps)
    if axis.boundary != "zero":
        return int(axis.n_outputs * axis.n_taps)
    return count_reads(axis, (0, axis.n_outputs), (0, axis.n_samples))


def _axis_nonzeros(axis: Axis) -> int:
    """Return the number of (output, sample) pairs of an axis that some tap connects."""
    if axis.boundary == "zero":
        return _axis_taps_inside(axis)  # each tap of an output reads a different sample
    if axis.boundary == "circular":  # taps dilation apart, on a ring
        return int(axis.n_outputs * min(axis.n_taps, axis.n_samples // math.gcd(axis.dilation, axis.n_samples)))
    low, high = axis.inner_outputs
    beyond = _samples_read(axis, 0, low) + _samples_read(axis, high, axis.n_outputs)
    return beyond + int((high - low) * axis.n_taps)


def _samples_read(axis: Axis, start: int, stop: int, *, by_tap: bool = False) -> int:
    """Return how many distinct samples each output of a range (or each of its taps) reads, in total.

    They are counted in blocks for long kernels.
    """
    taps = np.arange(axis.n_taps, dtype=np.int64)
    block = max(_LISTED // axis.n_taps, 1)
    total = 0
    for first in range(start, stop, block):
        outputs = np.arange(first, min(first + block, stop), dtype=np.int64)[:, None]
        grid = (len(outputs), axis.n_taps)
        parts = [np.where(np.equal(factor, 0), NOTHING, sample) for sample, factor in axis.terms(outputs, taps)]
        read = np.stack([np.broadcast_to(part, grid) for part in parts], axis=-1)
        samples = np.sort(read if by_tap else read.reshape(len(outputs), 1, -1), axis=-1)  # (outputs, taps or 1, terms)
        new = (samples[..., 1:] != samples[..., :-1]) & (samples[..., 1:] != NOTHING)
        total += int(np.count_nonzero(samples[..., 0] != NOTHING)) + int(np.count_nonzero(new))
    return total
