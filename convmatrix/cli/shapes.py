"""From the shape of a kernel, or of weights, to the geometry of a layer."""

from __future__ import annotations

from typing import Any

from convmatrix.cli.errors import DataError, UsageError
from convmatrix.geometry import ConvGeometry, layer_geometry

Shape = tuple[int, ...]


def geometry_of_kernel(kernel_shape: Shape, input_shape: Shape, options: dict[str, Any]) -> ConvGeometry:
    """Return the layer of one kernel, as `conv_matrix` reads it: without tile axes, unconnected channels included.

    ``options`` are those of `ConvGeometry`, the ones with an entry an axis as tuples of one or all entries.
    """
    channels = len(kernel_shape) == len(input_shape) + 1 and len(input_shape) > 1
    n_axes = len(input_shape) - channels
    common = {name: options[name] for name in ("groups", "flip", "transposed")}
    for name in ("stride", "dilation", "padding", "boundary", "output_padding"):
        common[name] = _entry_an_axis(name, options[name], n_axes)
    layer = layer_geometry(kernel_shape, input_shape, **common)
    sharing = options["sharing"]
    if sharing == "shared" and options["connections"] is None:
        return layer
    if not isinstance(sharing, str):
        sharing = _entry_an_axis("sharing", sharing, n_axes)
    extra = {"connections": options["connections"], "sharing": sharing}
    return ConvGeometry(layer.input_shape, layer.kernel_shape, **{**layer.options(), **extra})


def _entry_an_axis(name: str, entries: tuple[Any, ...], n_axes: int) -> tuple[Any, ...]:
    if len(entries) not in (1, n_axes):
        raise UsageError(
            f"--{name.replace('_', '-')} has {len(entries)} entries, but the layer has {n_axes} spatial "
            f"{'axes' if n_axes > 1 else 'axis'}: give one for all axes, or one an axis"
        )
    return entries if len(entries) == n_axes else entries * n_axes


def geometry_of_weights(weight_shape: Shape, input_shape: Shape, options: dict[str, Any]) -> ConvGeometry:
    """Return the layer whose weights have the given shape, tile axes included.

    There are as many tile axes as spatial axes, so that tiled weights may be read as one channel or as several: a tile
    with an entry an axis settles it, else the reading that fits is taken.
    """
    n_input, sharing, table = len(input_shape), options["sharing"], options["connections"]
    if sharing == "shared":
        tile_axes = [0]
    elif isinstance(sharing, tuple) and len(sharing) > 1:
        tile_axes = [len(sharing)]
    elif table is not None or n_input == 1:
        tile_axes = [max(n_input - 1, 1)]
    else:
        tile_axes = [n_input, n_input - 1]

    fitting: list[ConvGeometry] = []
    failures: list[Exception] = []
    for n_tile in tile_axes:
        kernel_shape = weight_shape[n_tile:]
        if table is not None:
            taps = kernel_shape[max(len(kernel_shape) - n_input + 1, 0) :]
            kernel_shape = (*(table.shape[::-1] if options["transposed"] else table.shape), *taps)
        try:
            geometry = geometry_of_kernel(kernel_shape, input_shape, options)
            check_layout(weight_shape, geometry)
            fitting.append(geometry)
        except (ValueError, DataError, UsageError) as error:
            failures.append(error)
    if len(fitting) > 1:
        one, several = (by_x(geometry.tile) for geometry in fitting)
        way_out = f"write --sharing {several}" if len(fitting[1].tile) > 1 else "use convmatrix.ConvGeometry in Python"
        raise UsageError(
            f"weights of shape {by_x(weight_shape)} on an input of {by_x(input_shape)} may be one channel or several: "
            f"for one write --sharing {one}, for several {way_out}"
        )
    if fitting:
        return fitting[0]
    if len(failures) == 1:
        raise failures[0]
    raise DataError(
        f"weights of shape {by_x(weight_shape)} fit neither as one channel ({failures[0]}) "
        f"nor as several ({failures[1]})"
    )


def check_layout(weight_shape: Shape, geometry: ConvGeometry) -> None:
    """Raise unless weights of this shape are those of a layer; single channels may be left out."""
    layouts = [geometry.weight_shape]
    if geometry.connections is not None and geometry.sharing == "shared":
        layouts.append((geometry.out_channels, geometry.in_channels, *geometry.kernel_shape))
    elif geometry.connections is None and geometry.in_channels == geometry.out_channels == 1:
        tile = () if geometry.sharing == "shared" else geometry.tile
        layouts.insert(0, (*tile, *geometry.kernel_shape))
    if weight_shape not in layouts:
        raise DataError(
            f"the weights have shape {by_x(weight_shape)}, but this layer's have {' or '.join(map(by_x, layouts))} "
            f"({geometry.n_weights} weights): reshape the kernel, or change --input-shape and the layer options"
        )


def by_x(shape: Shape) -> str:
    """Return a shape as users write it.

    Examples
    --------
    >>> by_x((3, 32, 32))
    '3x32x32'
    """
    return "x".join(map(str, shape))
