"""The geometry of a convolution layer: shapes in, shapes out, everything that its matrix depends on but the weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from convmatrix import options as validate
from convmatrix.boundary import Axis, Boundary, forward_axis, transposed_axis

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from convmatrix.pattern import WeightPattern

Padding = str | int | Sequence[int | str | tuple[int, int]]
Sharing = Literal["shared", "unshared"] | int | Sequence[int]


@dataclass(frozen=True, init=False, repr=False)
class ConvGeometry:
    r"""A convolution layer without its weights: validated, immutable, hashable.

    On every axis output *i* reads at tap *t* the position ``i * stride + t * dilation - padding_low``; beyond the ends
    the axis's boundary rule says which sample that is (`convmatrix.boundary`). With `n` samples, kernel size `k`,
    dilation `d`, stride `s` and padding :math:`(p_l, p_h)` an axis has

    .. math:: \lfloor (n + p_l + p_h - d(k-1) - 1) / s \rfloor + 1

    outputs, and a transposed layer :math:`(n - 1) s - p_l - p_h + d(k-1) + 1 + \text{output padding}`.

    Parameters
    ----------
    input_shape, kernel_shape : int or sequence of int
        Spatial shapes, one size an axis (an int is one axis). Any number of axes.
    in_channels, out_channels : int
    stride, dilation : int or sequence of int
        One for all axes, or one an axis.
    padding : str, int or sequence
        ``"valid"`` (none), ``"same"`` (``ceil(n / stride)`` outputs, the odd sample at the high end: ONNX SAME_UPPER),
        ``"same_lower"`` (at the low end), ``"full"`` (``dilation * (k - 1)`` at both ends), an int, or one entry an
        axis, each an int, a ``(low, high)`` pair or one of the words. For a transposed layer the padding is cropped
        from the output; ``"same"`` gives ``n * stride`` outputs.
    boundary : str or sequence of str
        ``"zero"``, ``"circular"``, ``"reflect"``, ``"symmetric"``, ``"replicate"``; one for all axes, or one an axis.
    groups : int
        Output channels of a group read the input channels of that group only. Divides both channel counts.
    connections : array_like of bool, shape (out_channels, in_channels), optional
        An arbitrary connection table, such as the one of LeNet-5's layer C3. Excludes ``groups > 1``.
    sharing : {"shared", "unshared"}, int or sequence of int
        ``"shared"``: one kernel for all positions. ``"unshared"``: one a position (a locally connected layer). A tile
        size an axis: output i uses kernel ``i mod tile`` (tiled convolution).
    flip : bool
        Reverse the kernel on every axis: convolution instead of cross-correlation.
    transposed : bool
        The layer whose matrix is the transpose of a convolution's (ConvTranspose of PyTorch and ONNX).
    output_padding : int or sequence of int
        Extra outputs at the high end of a transposed layer; smaller than the stride or the dilation.

    Attributes
    ----------
    output_shape : tuple of int
        Spatial shape of the output.
    weight_shape : tuple of int
        ``(out_channels, in_channels / groups, *kernel_shape)``; transposed ``(in_channels, out_channels / groups,
        *kernel_shape)``; with a connection table ``(number of connections, *kernel_shape)``, in row order of the table.
        Tiled and unshared layers have one such kernel a tile: ``(*tile, ...)``.
    n_in, n_out, n_weights : int
        Columns and rows of the matrix, and its weights.

    Raises
    ------
    ValueError, TypeError
        For anything that is no layer, with the numbers that disagree and the remedy.

    Examples
    --------
    >>> g = ConvGeometry((5, 5), (3, 3), in_channels=2, out_channels=4, padding="same", boundary="circular")
    >>> g
    ConvGeometry((5, 5), (3, 3), in_channels=2, out_channels=4, padding=((1, 1), (1, 1)), boundary='circular')
    >>> g.output_shape, g.weight_shape, (g.n_out, g.n_in)
    ((5, 5), (4, 2, 3, 3), (100, 50))
    """

    input_shape: tuple[int, ...]
    kernel_shape: tuple[int, ...]
    in_channels: int
    out_channels: int
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    boundary: tuple[Boundary, ...]
    groups: int
    connections: tuple[tuple[bool, ...], ...] | None
    sharing: Literal["shared", "unshared"] | tuple[int, ...]
    flip: bool
    transposed: bool
    output_padding: tuple[int, ...]

    def __init__(
        self,
        input_shape: int | Sequence[int],
        kernel_shape: int | Sequence[int],
        *,
        in_channels: int = 1,
        out_channels: int = 1,
        stride: int | Sequence[int] = 1,
        dilation: int | Sequence[int] = 1,
        padding: Padding = "valid",
        boundary: str | Sequence[str] = "zero",
        groups: int = 1,
        connections: ArrayLike | None = None,
        sharing: Sharing = "shared",
        flip: bool = False,
        transposed: bool = False,
        output_padding: int | Sequence[int] = 0,
    ) -> None:
        sizes = validate.shape("input_shape", input_shape)
        n_axes = len(sizes)
        taps = validate.shape("kernel_shape", kernel_shape)
        if len(taps) != n_axes:
            raise ValueError(
                f"kernel_shape has {len(taps)} axes ({taps}), but input_shape has {n_axes} ({sizes}); "
                "give one size for each spatial axis, without channels"
            )
        steps = validate.per_axis("stride", stride, n_axes, minimum=1)
        dilations = validate.per_axis("dilation", dilation, n_axes, minimum=1)
        extra = validate.per_axis("output_padding", output_padding, n_axes, minimum=0)
        transposed = validate.flag("transposed", transposed)
        if any(extra) and not transposed:
            raise ValueError(f"output_padding={extra} is for transposed layers only; set transposed=True or leave it 0")
        words_or_pairs = validate.padding(padding, n_axes)
        resolved = []
        for axis in range(n_axes):
            span = dilations[axis] * (taps[axis] - 1) + 1
            resolve = transposed_axis if transposed else forward_axis
            kernel = f"kernel_shape[{axis}]={taps[axis]}, dilation={dilations[axis]}"
            resolved.append(resolve(axis, sizes[axis], span, kernel, steps[axis], words_or_pairs[axis], extra[axis]))
            if transposed and extra[axis] >= max(steps[axis], dilations[axis]):
                raise ValueError(
                    f"output_padding[{axis}]={extra[axis]} must be smaller than the stride or the dilation "
                    f"(stride[{axis}]={steps[axis]}, dilation[{axis}]={dilations[axis]})"
                )
        in_channels = validate.integer("in_channels", in_channels, minimum=1)
        out_channels = validate.integer("out_channels", out_channels, minimum=1)
        groups = validate.integer("groups", groups, minimum=1)
        for name, count in (("in_channels", in_channels), ("out_channels", out_channels)):
            if count % groups:
                raise ValueError(f"groups={groups} does not divide {name}={count}; choose a divisor of both counts")
        table = validate.connections(connections, out_channels, in_channels, groups)

        values = {
            "input_shape": sizes,
            "kernel_shape": taps,
            "in_channels": in_channels,
            "out_channels": out_channels,
            "stride": steps,
            "dilation": dilations,
            "padding": tuple((low, high) for low, high, _, _ in resolved),
            "boundary": validate.boundaries(boundary, n_axes),
            "groups": groups,
            "connections": table,
            "sharing": validate.sharing(sharing, n_axes),
            "flip": validate.flag("flip", flip),
            "transposed": transposed,
            "output_padding": tuple(padding_out for _, _, padding_out, _ in resolved),
            "_output_shape": tuple(size for _, _, _, size in resolved),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    # --- shapes ------------------------------------------------------------------------------------------------------

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Spatial shape of the output."""
        shape: tuple[int, ...] = self.__dict__["_output_shape"]
        return shape

    @property
    def tile(self) -> tuple[int, ...]:
        """Kernels an axis: 1 where shared, the number of positions where unshared."""
        if self.sharing == "shared":
            return (1,) * len(self.kernel_shape)
        return self._positions if self.sharing == "unshared" else self.sharing

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weights: see the class."""
        tile = () if self.sharing == "shared" else self.tile
        if self.connections is not None:
            return (*tile, sum(map(sum, self.connections)), *self.kernel_shape)
        first, second = self.out_channels, self.in_channels
        if self.transposed:
            first, second = second, first
        return (*tile, first, second // self.groups, *self.kernel_shape)

    @property
    def n_in(self) -> int:
        """Columns of the matrix: input channels times input samples."""
        return self.in_channels * math.prod(self.input_shape)

    @property
    def n_out(self) -> int:
        """Rows of the matrix: output channels times output positions."""
        return self.out_channels * math.prod(self.output_shape)

    @property
    def n_weights(self) -> int:
        """Number of weights, the product of `weight_shape`."""
        return math.prod(self.weight_shape)

    @property
    def _positions(self) -> tuple[int, ...]:
        """Positions of the kernel: the outputs of the convolution, hence the inputs of a transposed layer."""
        return self.input_shape if self.transposed else self.output_shape

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The one-axis rules of the convolution; a transposed layer has those of the convolution it transposes."""
        positions, tile = self._positions, self.tile
        samples = self.output_shape if self.transposed else self.input_shape
        return tuple(
            Axis(
                n_outputs=positions[axis],
                n_samples=samples[axis],
                n_taps=self.kernel_shape[axis],
                stride=self.stride[axis],
                dilation=self.dilation[axis],
                pad_low=self.padding[axis][0],
                boundary=self.boundary[axis],
                flip=self.flip,
                tile=tile[axis],
            )
            for axis in range(len(samples))
        )

    @property
    def channel_pairs(self) -> NDArray[np.int64]:
        """The (output channel, input channel) pairs that share a kernel, in the order of the weights; (n_pairs, 2).

        For a transposed layer the order is that of its weights, by input channel.
        """
        if self.connections is not None:
            return np.argwhere(np.array(self.connections, dtype=bool)).astype(np.int64)
        first, second = self.out_channels, self.in_channels
        if self.transposed:
            first, second = second, first
        width = second // self.groups  # channels that one channel is paired with
        pairs = np.empty((first, width, 2), dtype=np.int64)
        numbers = np.arange(first, dtype=np.int64)[:, None]
        pairs[:, :, int(self.transposed)] = numbers
        pairs[:, :, int(not self.transposed)] = numbers // (first // self.groups) * width + np.arange(width)
        return pairs.reshape(-1, 2)

    # --- what is made from it ----------------------------------------------------------------------------------------

    def pattern(self) -> WeightPattern:
        """Return the sparse tensor T of the layer: which weight sits where in its matrix.

        Examples
        --------
        >>> ConvGeometry(4, 2).pattern().matrix([1, -1]).toarray()
        array([[ 1, -1,  0,  0],
               [ 0,  1, -1,  0],
               [ 0,  0,  1, -1]])
        """
        from convmatrix.pattern import layer_pattern

        return layer_pattern(self)

    def unfold_matrix(self, *, format: str = "csr", dtype: DTypeLike = np.float64) -> Any:
        """Return the fixed 0/1 matrix U of the factorisation ``A(w) = (W (x) I) U``; see `convmatrix.unfold_matrix`."""
        from convmatrix.matrices import geometry_unfold_matrix

        return geometry_unfold_matrix(self, format=format, dtype=dtype)

    # --- how it shows itself -----------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        parts = [repr(self.input_shape), repr(self.kernel_shape)]
        for name, value in self.options().items():
            parts.append(f"{name}={value!r}")
        return f"ConvGeometry({', '.join(parts)})"

    def options(self) -> dict[str, Any]:
        """Return the keyword arguments that differ from their defaults.

        ``ConvGeometry(input_shape, kernel_shape, **options)`` is this geometry again.

        Examples
        --------
        >>> ConvGeometry(6, 3, stride=2, boundary="reflect").options()
        {'stride': 2, 'boundary': 'reflect'}
        """
        n_axes = len(self.input_shape)
        defaults: dict[str, Any] = {
            "in_channels": 1,
            "out_channels": 1,
            "stride": 1,
            "dilation": 1,
            "padding": (0, 0),
            "boundary": "zero",
            "groups": 1,
            "connections": None,
            "sharing": "shared",
            "flip": False,
            "transposed": False,
            "output_padding": 0,
        }
        options: dict[str, Any] = {}
        for field in fields(self)[2:]:
            value, default = getattr(self, field.name), defaults[field.name]
            if value == default or value == (default,) * n_axes:
                continue
            if field.name in ("stride", "dilation", "boundary", "output_padding") and len(set(value)) == 1:
                value = value[0]
            options[field.name] = value
        return options

    def _repr_html_(self) -> str:
        from convmatrix.display import geometry_html

        return geometry_html(self)


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
