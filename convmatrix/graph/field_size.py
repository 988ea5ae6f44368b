"""Size and place of receptive fields, by formula."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convmatrix.geometry import ConvGeometry
from convmatrix.graph.chain import require_layers


@dataclass(frozen=True)
class FieldSize:
    """The receptive field of the units of the last layer, axis by axis; see `receptive_field_size`.

    Attributes
    ----------
    size : tuple of int
        Samples from the first to the last that a unit reads, those beyond the image included.
    stride : tuple of int
        By how many samples the field moves from one unit to the next (the effective stride).
    start : tuple of int
        Where the field of unit 0 begins; negative if it begins in the padding. Unit i reads samples
        ``start + i * stride`` to ``start + i * stride + size - 1``.
    input_shape, output_shape : tuple of int
        Spatial shapes of the input, and of the last layer.

    Examples
    --------
    >>> field = FieldSize(size=(5,), stride=(2,), start=(-1,), input_shape=(9,), output_shape=(4,))
    >>> field.extent((1,)), field.cut
    (((1, 5),), (((0, 1), (3, 4)),))
    """

    size: tuple[int, ...]
    stride: tuple[int, ...]
    start: tuple[int, ...]
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]

    def extent(self, position: Sequence[int]) -> tuple[tuple[int, int], ...]:
        """Return the first and the last sample of the field of a unit on each axis, those beyond the image included."""
        if len(position) != len(self.size):
            raise ValueError(
                f"position {tuple(position)} has {len(position)} entries, but there are {len(self.size)} axes"
            )
        corners = zip(self.start, self.stride, self.size, position, strict=True)
        return tuple((start + i * stride, start + i * stride + size - 1) for start, stride, size, i in corners)

    @property
    def uncut(self) -> tuple[tuple[int, int], ...]:
        """The range (first, end) of units, on each axis, whose fields lie inside the image; empty if first == end."""
        ranges = []
        axes = zip(self.start, self.stride, self.size, self.input_shape, self.output_shape, strict=True)
        for start, stride, size, n, outputs in axes:
            first = min(max(-(start // stride), 0), outputs)
            ranges.append((first, min(max((n - size - start) // stride + 1, first), outputs)))
        return tuple(ranges)

    @property
    def cut(self) -> tuple[tuple[tuple[int, int], tuple[int, int]], ...]:
        """The ranges (first, end) of units, at the low and at the high end of each axis, cut by the border."""
        ends = zip(self.uncut, self.output_shape, strict=True)
        return tuple(((0, first), (end, outputs)) for (first, end), outputs in ends)


def receptive_field_size(geometries: ConvGeometry | Sequence[ConvGeometry]) -> FieldSize:
    r"""Return size, effective stride and place of the receptive fields of the last layer, by formula.

    .. math:: r = 1 + \sum_l d_l (k_l - 1) \prod_{j<l} s_j, \qquad
              \text{start} = -\sum_l p_l \prod_{j<l} s_j

    on each axis, with kernel sizes k, strides s, dilations d and low padding p (Araujo, Norris, Sim, Computing
    receptive fields of convolutional neural networks, Distill 2019). Nothing is built. Where there are gaps, or
    the border cuts, a unit reads fewer samples of that range: `receptive_field` tells which.

    Parameters
    ----------
    geometries : ConvGeometry or sequence of ConvGeometry
        From the input on; pooling is a layer with a kernel too. Channels may be anything.

    Returns
    -------
    FieldSize

    Raises
    ------
    ValueError
        If spatial shapes do not fit together, or a layer is transposed.

    Examples
    --------
    >>> from convmatrix import ConvGeometry
    >>> field = receptive_field_size([ConvGeometry(16, 6), ConvGeometry(11, 6), ConvGeometry(6, 6)])
    >>> field.size, field.stride, field.output_shape
    ((16,), (1,), (1,))
    """
    chain = [geometries] if isinstance(geometries, ConvGeometry) else list(geometries)
    require_layers(chain)
    for number, layer in enumerate(chain):
        if not isinstance(layer, ConvGeometry):
            raise TypeError(
                f"layer {number} is a {type(layer).__name__}; give a ConvGeometry, such as pattern.geometry"
            )
    n_axes = len(chain[0].input_shape)
    size, stride, start = [1] * n_axes, [1] * n_axes, [0] * n_axes
    shape = chain[0].input_shape
    for number, layer in enumerate(chain):
        if layer.transposed:
            raise ValueError(
                f"layer {number} is transposed, and its units read different numbers of inputs; "
                "receptive_field gives the field of each"
            )
        if layer.input_shape != shape:
            raise ValueError(
                f"layer {number} reads spatial shape {layer.input_shape}, but layer {number - 1} gives {shape}; "
                "give the layers from the input on"
            )
        for axis in range(n_axes):
            size[axis] += layer.dilation[axis] * (layer.kernel_shape[axis] - 1) * stride[axis]
            start[axis] -= layer.padding[axis][0] * stride[axis]
            stride[axis] *= layer.stride[axis]
        shape = layer.output_shape
    return FieldSize(tuple(size), tuple(stride), tuple(start), chain[0].input_shape, shape)
