"""From the arguments of a call, a kernel's shape and options, to the geometry of the layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convmatrix import options as validate
from convmatrix.geometry import ConvGeometry, Padding

_DEFAULTS: dict[str, Any] = {
    "stride": 1,
    "dilation": 1,
    "padding": "valid",
    "boundary": "zero",
    "groups": 1,
    "flip": False,
    "output_padding": 0,
}


def layer_geometry(
    kernel_shape: Sequence[int],
    input_shape: int | Sequence[int],
    *,
    stride: int | Sequence[int] = 1,
    dilation: int | Sequence[int] = 1,
    padding: Padding = "valid",
    boundary: str | Sequence[str] = "zero",
    groups: int = 1,
    flip: bool = False,
    transposed: bool = False,
    output_padding: int | Sequence[int] = 0,
) -> ConvGeometry:
    """Return the geometry of a layer from the shapes of its kernel and of the array that it multiplies.

    Parameters
    ----------
    kernel_shape : sequence of int
        ``(*kernel)`` for one channel to one channel; else ``(C_out, C_in / groups, *kernel)``, or ``(C_in, C_out /
        groups, *kernel)`` for a transposed layer.
    input_shape : int or sequence of int
        ``(*spatial)`` for a one-channel kernel, else ``(C_in, *spatial)``.
    stride, dilation, padding, boundary, groups, flip, transposed, output_padding
        As for `ConvGeometry`.

    Examples
    --------
    >>> layer_geometry((8, 3, 5, 5), (3, 32, 32), stride=2)
    ConvGeometry((32, 32), (5, 5), in_channels=3, out_channels=8, stride=2)
    """
    kernel = validate.shape("the kernel's shape", kernel_shape)
    shape = validate.shape("input_shape", input_shape)
    groups = validate.integer("groups", groups, minimum=1)
    in_channels = out_channels = 1
    if len(kernel) == len(shape) + 1 and len(shape) > 1:
        channels, *spatial = shape
        first, second, *taps = kernel
        in_channels, out_channels = (first, second * groups) if transposed else (second * groups, first)
        if in_channels != channels:
            layout = "(C_in, C_out/groups, *kernel)" if transposed else "(C_out, C_in/groups, *kernel)"
            raise ValueError(
                f"the kernel reads {in_channels} channels (its shape {kernel} is {layout}, groups={groups}), but the "
                f"input has {channels} (input_shape={shape} is (C_in, *spatial)); make them equal"
            )
    elif len(kernel) == len(shape):
        spatial, taps = list(shape), list(kernel)
    else:
        raise ValueError(
            f"the kernel has {len(kernel)} axes (shape {kernel}), but input_shape={shape} has {len(shape)}; for one "
            "channel give both the same number of axes, for channels a kernel (C_out, C_in/groups, *kernel) and "
            "input_shape=(C_in, *spatial)"
        )
    return ConvGeometry(
        spatial,
        taps,
        in_channels=in_channels,
        out_channels=out_channels,
        stride=stride,
        dilation=dilation,
        padding=padding,
        boundary=boundary,
        groups=groups,
        flip=flip,
        transposed=transposed,
        output_padding=output_padding,
    )


def given_geometry(
    kernel_shape: Sequence[int],
    input_shape: int | Sequence[int] | ConvGeometry,
    options: dict[str, Any],
    *,
    transposed: bool = False,
) -> ConvGeometry:
    """Return the layer that a call describes: by an input shape and options, or by a `ConvGeometry` alone."""
    if not isinstance(input_shape, ConvGeometry):
        return layer_geometry(kernel_shape, input_shape, **options, transposed=transposed)
    given = [name for name, value in options.items() if not _is_default(value, _DEFAULTS[name])]
    if given:
        raise TypeError(f"{', '.join(given)} given beside a ConvGeometry, which has them already; drop one of the two")
    if transposed and not input_shape.transposed:
        raise ValueError("conv_transpose_matrix was given the geometry of a convolution; set transposed=True in it")
    return input_shape


def _is_default(value: Any, default: Any) -> bool:
    return type(value) is type(default) and bool(value == default)
