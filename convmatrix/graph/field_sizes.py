"""Size, stride and position of receptive fields, computed by formula."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING, Any

from convmatrix.display.tables import ShownAsTable, Table
from convmatrix.geometry import ConvGeometry
from convmatrix.network import (
    Concatenation,
    Convolution,
    FullyConnected,
    Input,
    Node,
    Opaque,
    PatternMap,
    Pooling,
    Rearrangement,
    Reduction,
    as_network,
)
from convmatrix.network.entrywise import Broadcasting
from convmatrix.network.normalisations import AlongAxes

if TYPE_CHECKING:
    from convmatrix.boundary import Axis


@dataclass(frozen=True)
class FieldSize(ShownAsTable):
    """Size and position of the receptive fields of a network's units, one value per axis; see `receptive_field_size`.

    Attributes
    ----------
    size : tuple of int
        Number of samples from the first to the last one that a unit reads, including those beyond the image.
    stride : tuple of int
        Number of samples by which the field moves from one unit to the next (the effective stride); 0 if all units have
        the same field, negative if the axis is reversed.
    start : tuple of int
        First sample of the field of unit 0; negative if it lies in the padding. Unit i reads samples
        ``start + i * stride`` to ``start + i * stride + size - 1``.
    input_shape, output_shape : tuple of int
        Spatial shapes of the input, and of the output.

    Examples
    --------
    >>> field = FieldSize(size=(5,), stride=(2,), start=(-1,), input_shape=(9,), output_shape=(4,))
    >>> field.extent((1,)), field.cut, field.centre
    (((1, 5),), (((0, 1), (3, 4)),), (1.0,))
    """

    size: tuple[int, ...]
    stride: tuple[int, ...]
    start: tuple[int, ...]
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]

    @property
    def centre(self) -> tuple[float, ...]:
        """Position of the centre of the field of unit 0 on each axis; that of unit i is ``centre + i * stride``."""
        return tuple(start + (size - 1) / 2 for start, size in zip(self.start, self.size, strict=True))

    def extent(self, position: Sequence[int]) -> tuple[tuple[int, int], ...]:
        """Return the first and last sample of a unit's field on each axis, including samples beyond the image."""
        if len(position) != len(self.size):
            raise ValueError(
                f"position {tuple(position)} has {len(position)} entries, but there are {len(self.size)} axes"
            )
        corners = zip(self.start, self.stride, self.size, position, strict=True)
        return tuple((start + i * stride, start + i * stride + size - 1) for start, stride, size, i in corners)

    @property
    def uncut(self) -> tuple[tuple[int, int], ...]:
        """The range (first, end), on each axis, of units whose fields lie inside the image; empty if first == end."""
        ranges = []
        axes = zip(self.start, self.stride, self.size, self.input_shape, self.output_shape, strict=True)
        for start, stride, size, n, outputs in axes:
            if not stride:
                inside = start >= 0 and start + size <= n
                ranges.append((0, outputs if inside else 0))
                continue
            least, most = (-start, n - size - start) if stride > 0 else (start + size - n, start)
            first = min(max(-(-least // abs(stride)), 0), outputs)
            ranges.append((first, min(max(most // abs(stride) + 1, first), outputs)))
        return tuple(ranges)

    @property
    def cut(self) -> tuple[tuple[tuple[int, int], tuple[int, int]], ...]:
        """The ranges (first, end), at the low and the high end of each axis, of units whose fields the border cuts."""
        ends = zip(self.uncut, self.output_shape, strict=True)
        return tuple(((0, first), (end, outputs)) for (first, end), outputs in ends)

    def _table(self) -> Table:
        uncut = [f"{first} to {end - 1}" if end > first else "none" for first, end in self.uncut]
        by_axis = {
            "size": self.size,
            "stride": self.stride,
            "first sample of unit 0": self.start,
            "centre of unit 0": self.centre,
            "input": self.input_shape,
            "units": self.output_shape,
            "units inside": uncut,
        }
        rows = [[str(axis), *map(str, values)] for axis, values in enumerate(zip(*by_axis.values(), strict=True))]
        return Table("Receptive field", [["axis", *by_axis], *rows])


@dataclass(frozen=True)
class _Windows:
    """The windows of a node's units on one axis: unit i reads ``size`` input samples from start + i * stride on."""

    size: int
    stride: int
    start: int
    n_units: int

    def through(self, axis: Axis) -> _Windows:
        """Return the windows of an axis's outputs, given that its samples have these windows."""
        first = replace(self, start=self.start - axis.pad_low * self.stride, n_units=axis.span).whole()
        return replace(first, stride=self.stride * axis.stride, n_units=axis.n_outputs)

    def whole(self) -> _Windows:
        """Return the window of one unit that reads all units."""
        reach = (self.n_units - 1) * self.stride
        return _Windows(self.size + abs(reach), self.stride, self.start + min(reach, 0), 1)

    def joined(self, other: _Windows) -> _Windows:
        """Return the smallest windows that contain both; raise a ValueError if they move by different strides."""
        n_units = max(self.n_units, other.n_units)
        a, b = (w if w.n_units == n_units else replace(w.whole(), n_units=n_units, stride=0) for w in (self, other))
        if n_units == 1:
            a, b = replace(a, stride=max(a.stride, b.stride)), replace(b, stride=max(a.stride, b.stride))
        if a.stride != b.stride:
            if a.stride and b.stride:
                raise ValueError(f"the strides are {a.stride} and {b.stride}")
            a, b = (replace(w.whole(), n_units=n_units, stride=0) if w.stride else w for w in (a, b))
        start = min(a.start, b.start)
        return _Windows(max(a.start + a.size, b.start + b.size) - start, a.stride, start, n_units)


def receptive_field_size(network: Any) -> FieldSize:
    r"""Return the size, effective stride and position of the receptive fields of a network's output, by formula.

    .. math:: r = 1 + \sum_l d_l (k_l - 1) \prod_{j<l} s_j, \qquad
              \text{start} = -\sum_l p_l \prod_{j<l} s_j

    on each axis, with kernel sizes k, strides s, dilations d and low padding p (Araujo, Norris, Sim, Computing
    receptive fields of convolutional neural networks, Distill 2019). Nothing is built. Where branches meet, the field
    is the smallest interval that contains the fields of all branches; a dense layer reads all positions. If there are
    gaps, or at the border, a unit reads only some samples of that range; `receptive_field` returns them.

    Parameters
    ----------
    network : Network, str, ConvGeometry, nn.Sequential or sequence of layers
        As for `convmatrix.network.as_network`. In a list that contains only geometries, the numbers of channels need
        not match.

    Returns
    -------
    FieldSize

    Raises
    ------
    ValueError
        If spatial shapes do not fit together, branches with different strides meet, or a node's units read different
        numbers of samples (transposed convolutions, resizing); the message names the node.

    Examples
    --------
    >>> from convmatrix import ConvGeometry
    >>> field = receptive_field_size([ConvGeometry(16, 6), ConvGeometry(11, 6), ConvGeometry(6, 6)])
    >>> field.size, field.stride, field.output_shape
    ((16,), (1,), (1,))
    >>> from convmatrix.network import as_network
    >>> receptive_field_size(as_network("vgg16").until("pool5")).size
    (212, 212)
    """
    if isinstance(network, list | tuple) and all(isinstance(layer, ConvGeometry) for layer in network):
        one = {"in_channels": 1, "out_channels": 1, "groups": 1, "connections": None}
        network = [replace(layer, **one) for layer in network]
    net = as_network(network)
    found = receptive_field_sizes(net)[net.outputs[0]]
    if isinstance(found, str):
        raise ValueError(found)
    return found


def receptive_field_sizes(network: Any) -> dict[str, FieldSize | str]:
    """Return the receptive field of the units of every node, by formula, in one pass over the network.

    Parameters
    ----------
    network : Network, str, nn.Sequential or sequence of layers
        As for `convmatrix.network.as_network`.

    Returns
    -------
    dict of str to FieldSize or str
        The field of each node. If a field has no size, or depends on a node whose field has none, a sentence that gives
        the reason.

    Examples
    --------
    >>> fields = receptive_field_sizes("lenet5")
    >>> [fields[name].size for name in ("input", "C1", "S2", "C3")]
    [(1, 1), (5, 5), (6, 6), (14, 14)]
    """
    net = as_network(network)
    spatial = net.input_shape[1:]
    if not spatial:
        reason = f"the input has shape {net.input_shape}, which has no spatial axes"
        return dict.fromkeys((node.name for node in net.nodes), reason)
    windows: dict[str, tuple[_Windows, ...] | str] = {}
    for node in net.nodes:
        windows[node.name] = _windows_or_reason(node, [windows[source] for source in node.inputs])
    return {name: axes if isinstance(axes, str) else _field_size(axes, spatial) for name, axes in windows.items()}


def _field_size(axes: tuple[_Windows, ...], input_shape: tuple[int, ...]) -> FieldSize:
    size, stride, start, n_units = zip(*map(astuple, axes), strict=True)
    return FieldSize(size, stride, start, input_shape, n_units)


def _windows_or_reason(node: Node, inputs: list[tuple[_Windows, ...] | str]) -> tuple[_Windows, ...] | str:
    """Return the windows of a node's outputs, or the reason why the node or one of its inputs has none."""
    known = []
    for given in inputs:
        if isinstance(given, str):
            return given
        known.append(given)
    if isinstance(node.operation, Opaque):
        operator = node.operation.operator
        return f"node {node.name!r} (opaque) reads unknown windows ({operator}); receptive_field allows for all inputs"
    if len({len(axes) for axes in known}) > 1:
        return f"node {node.name!r} joins branches ({', '.join(node.inputs)}) with different numbers of axes"
    try:
        return _node_windows(node, known)
    except ValueError as error:
        return str(error)


def _node_windows(node: Node, inputs: list[tuple[_Windows, ...]]) -> tuple[_Windows, ...]:
    """Return the windows of a node's outputs, one per spatial axis, from those of its inputs."""
    operation, shapes = node.operation, node.input_shapes
    if isinstance(operation, Input):
        return tuple(_Windows(1, 1, 0, n) for n in operation.shape[1:])
    geometry: ConvGeometry | None = None
    if isinstance(operation, Convolution):
        geometry = operation.geometry
    elif isinstance(operation, Pooling):
        geometry = operation.geometry(shapes[0])
    elif isinstance(operation, PatternMap):
        geometry = operation.pattern.geometry
    if geometry is not None and not geometry.transposed:
        return tuple(window.through(axis) for window, axis in zip(inputs[0], geometry.axes, strict=True))
    if isinstance(operation, FullyConnected) and (operation.flatten or len(shapes[0]) == 1):
        return tuple(window.whole() for window in inputs[0])
    if isinstance(operation, Rearrangement) and (moved := _rearranged(operation, inputs[0], node)) is not None:
        return moved
    if isinstance(operation, AlongAxes | Reduction):  # along the axis of a vector, all flattened entries are combined
        axes = range(len(inputs[0]) + 1) if len(shapes[0]) == 1 else operation.combined_axes(shapes[0])
        one = isinstance(operation, Reduction)
        whole = [w.whole() if one else replace(w.whole(), stride=0, n_units=w.n_units) for w in inputs[0]]
        return tuple(whole[axis - 1] if axis in axes else w for axis, w in enumerate(inputs[0], start=1))
    joins = isinstance(operation, Broadcasting) or (isinstance(operation, Concatenation) and operation.axis == 0)
    if joins and len(node.output_shape) - 1 in (0, len(inputs[0])):  # others give a vector axes that the image lacks
        # The last axis of a vector that broadcasts with an array is not a flattened axis.
        meets = [len(shape) == 1 < len(node.output_shape) for shape in shapes]
        given = [[w.whole() if met else w for w in axes] for met, axes in zip(meets, inputs, strict=True)]
        try:
            joined = [functools.reduce(_Windows.joined, axis) for axis in zip(*given, strict=True)]
            sized = zip(joined, node.output_shape[1:] or [w.n_units for w in joined], strict=True)
            return tuple(w if n == w.n_units else replace(w, n_units=n, stride=0) for w, n in sized)  # or broadcast
        except ValueError:
            raise ValueError(
                f"node {node.name!r} joins branches ({', '.join(node.inputs)}) whose receptive fields move by "
                "different strides; receptive_field gives the field of each unit"
            ) from None
    what = "transposed convolution" if geometry is not None else node.kind
    raise ValueError(
        f"node {node.name!r} ({what}) has units that read different numbers of inputs; receptive_field gives the field "
        "of each"
    )


def _rearranged(operation: Rearrangement, windows: tuple[_Windows, ...], node: Node) -> tuple[_Windows, ...] | None:
    """Return the windows after a rearrangement that does not mix spatial axes; None for other rearrangements."""
    spatial = node.input_shapes[0][1:]
    if operation.name == "flatten" or (operation.name == "reshape" and len(operation.options) == 1):
        return windows  # a dense layer that follows reads all positions
    if operation.name == "channel_shuffle":
        return windows
    if operation.name == "pad" and spatial:
        widths = operation.options[0][1:]
        return tuple(
            replace(w, start=w.start - low * w.stride, n_units=n + low + high)
            for w, (low, high), n in zip(windows, widths, spatial, strict=True)
        )
    if operation.name == "take":
        axis, start, stop, step = operation.options
        if axis == 0:
            return windows
        kept = range(spatial[axis - 1])[start:stop:step]
        moved = list(windows)
        w = moved[axis - 1]
        moved[axis - 1] = _Windows(w.size, w.stride * kept.step, w.start + kept.start * w.stride, len(kept))
        return tuple(moved)
    return None
