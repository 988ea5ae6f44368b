"""The geometry of a convolution layer: everything that its matrix depends on except the weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, Unpack

import numpy as np

from convmatrix import options as validate
from convmatrix.boundary import SIGNED, Axis, Boundary, forward_axis, sized_padding, transposed_axis
from convmatrix.options import LAYER_OPTIONS, LayerOptions, takes_layer_options

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from convmatrix.geometry_views import WeightPattern


@dataclass(frozen=True, init=False, repr=False)
class ConvGeometry:
    r"""A convolution layer without its weights: validated, immutable, hashable.

    On every axis, tap *t* of output *i* reads position ``i * stride + t * dilation - padding_low``. Beyond the ends
    the boundary rule determines which sample that is (`convmatrix.boundary`). An axis with `n` samples, kernel size
    `k`, dilation `d`, stride `s` and padding :math:`(p_l, p_h)` has

    .. math:: \lfloor (n + p_l + p_h - d(k-1) - 1) / s \rfloor + 1

    outputs, and a transposed layer :math:`(n - 1) s - p_l - p_h + d(k-1) + 1 + \text{output padding}`.

    Parameters
    ----------
    input_shape, kernel_shape : int or sequence of int
        Spatial shapes, one size per axis, for any number of axes. An int is a shape of one axis.
    in_channels, out_channels : int
    stride, dilation : int or sequence of int
        A scalar for all axes, or one value per axis.
    padding : str, int or sequence
        ``"valid"`` (none), ``"same"`` (``ceil(n / stride)`` outputs, the odd sample at the high end: ONNX SAME_UPPER),
        ``"same_lower"`` (at the low end), ``"full"`` (``dilation * (k - 1)`` at both ends), an int, or one entry per
        axis, each an int, a ``(low, high)`` pair or one of the words. For a transposed layer the padding is cropped
        from the output; ``"same"`` gives ``n * stride`` outputs.
    boundary : str or sequence of str
        ``"zero"``, ``"circular"``, ``"reflect"`` (the edge sample is not repeated: ``mirror`` of `scipy.ndimage`),
        ``"symmetric"`` (it is repeated: ``reflect`` of `scipy.ndimage`, "reflexive" or "Neumann" elsewhere),
        ``"replicate"``, ``"antireflect"`` (reflected in the end samples, 2 x_0 - x_p: the odd ``reflect`` of
        `numpy.pad`, "antireflective" elsewhere) or ``"antisymmetric"`` (-x mirrored, with the edge sample repeated);
        one for all axes, or one per axis. It has no effect without padding.
    groups : int
        Number of channel groups. The output channels of a group read only the input channels of that group. Must divide
        both channel counts.
    connections : array_like of bool, shape (out_channels, in_channels), optional
        Which input channels each output channel reads, as in layer C3 of LeNet-5. Cannot be combined with
        ``groups > 1``.
    sharing : {"shared", "unshared"}, int or sequence of int
        ``"shared"``: one kernel for all positions. ``"unshared"``: one kernel per position (a locally connected layer).
        An int, or one tile size per axis: output i uses kernel ``i mod tile`` (tiled convolution).
    flip : bool
        Reverse the kernel on every axis: convolution instead of cross-correlation.
    transposed : bool
        Whether the layer is a transposed convolution, whose matrix is the transpose of that of a convolution
        (ConvTranspose in PyTorch and ONNX).
    output_padding : int or sequence of int
        Extra outputs at the high end of a transposed layer; smaller than the stride or the dilation.
    output_shape : int or sequence of int, optional
        Spatial shape of the output of a transposed layer. With ``padding="same"`` (then the default) or
        ``"same_lower"``, the excess is cropped, or a deficit added as output padding, as for ConvTranspose of ONNX.
        With any other padding, the output padding follows, as from ``output_size`` in PyTorch.

    Attributes
    ----------
    output_shape : tuple of int
        Spatial shape of the output.
    weight_shape : tuple of int
        ``(out_channels, in_channels / groups, *kernel_shape)``; for a transposed layer ``(in_channels, out_channels /
        groups, *kernel_shape)``; with a connection table ``(number of connections, *kernel_shape)``, in the row order
        of the table. Tiled and unshared layers have one such kernel per tile position: ``(*tile, ...)``.
    n_in, n_out, n_weights : int
        Number of columns and of rows of the matrix, and number of weights.

    Raises
    ------
    ValueError, TypeError
        If the arguments do not define a valid layer; the message gives the numbers that disagree and the remedy.

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

    @takes_layer_options()
    def __init__(
        self,
        input_shape: int | Sequence[int],
        kernel_shape: int | Sequence[int],
        *,
        in_channels: int = 1,
        out_channels: int = 1,
        **options: Unpack[LayerOptions],
    ) -> None:
        sizes = validate.shape("input_shape", input_shape)
        n_axes = len(sizes)
        taps = validate.shape("kernel_shape", kernel_shape)
        if len(taps) != n_axes:
            raise ValueError(
                f"kernel_shape has {validate.axes_in_words(len(taps))} ({taps}), but input_shape has {n_axes} "
                f"({sizes}); give one size for each spatial axis, without channels"
            )
        checked = {
            name: option.check(name, options.get(name, option.default), n_axes)
            for name, option in LAYER_OPTIONS.items()
        }
        wanted = checked.pop("output_shape")
        if wanted is not None and "padding" not in options:
            checked["padding"] = ("same",) * n_axes
        stride, dilation, extra = checked["stride"], checked["dilation"], checked["output_padding"]
        transposed = checked["transposed"]
        if any(extra) and not transposed:
            raise ValueError(f"output_padding={extra} is for transposed layers only; set transposed=True or leave it 0")
        if wanted is not None and not transposed:
            raise ValueError(f"output_shape={wanted} is for transposed layers only; set transposed=True or drop it")
        resolve = transposed_axis if transposed else forward_axis
        resolved = []
        for axis in range(n_axes):
            span = dilation[axis] * (taps[axis] - 1) + 1
            kernel = f"kernel_shape[{axis}]={taps[axis]}, dilation={dilation[axis]}"
            layer = (sizes[axis], span, kernel, stride[axis], checked["padding"][axis], extra[axis])
            if wanted is not None:
                most = max(stride[axis], dilation[axis]) - 1
                layer = (*layer[:4], *sized_padding(axis, wanted[axis], *layer, most))
            resolved.append(resolve(axis, *layer))
            if transposed and extra[axis] >= max(stride[axis], dilation[axis]):
                raise ValueError(
                    f"output_padding[{axis}]={extra[axis]} must be smaller than the stride or the dilation "
                    f"(stride[{axis}]={stride[axis]}, dilation[{axis}]={dilation[axis]})"
                )
        in_channels = validate.integer("in_channels", in_channels, minimum=1)
        out_channels = validate.integer("out_channels", out_channels, minimum=1)
        groups = checked["groups"]
        for name, count in (("in_channels", in_channels), ("out_channels", out_channels)):
            if count % groups:
                raise ValueError(f"groups={groups} does not divide {name}={count}; choose a divisor of both counts")
        values = {
            "input_shape": sizes,
            "kernel_shape": taps,
            "in_channels": in_channels,
            "out_channels": out_channels,
            **checked,
            "padding": tuple((low, high) for low, high, _, _ in resolved),
            "connections": validate.connections(checked["connections"], out_channels, in_channels, groups),
            "output_padding": tuple(amount for _, _, amount, _ in resolved),
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
        """Number of kernels along each axis: 1 where shared, the number of positions where unshared."""
        if self.sharing == "shared":
            return (1,) * len(self.kernel_shape)
        return self.positions if self.sharing == "unshared" else self.sharing

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weights, as described for the class."""
        tile = () if self.sharing == "shared" else self.tile
        if self.connections is not None:
            return (*tile, sum(map(sum, self.connections)), *self.kernel_shape)
        first, second = self.out_channels, self.in_channels
        if self.transposed:
            first, second = second, first
        return (*tile, first, second // self.groups, *self.kernel_shape)

    @property
    def n_in(self) -> int:
        """Number of columns of the matrix: input channels times input samples."""
        return self.in_channels * math.prod(self.input_shape)

    @property
    def n_out(self) -> int:
        """Number of rows of the matrix: output channels times output positions."""
        return self.out_channels * math.prod(self.output_shape)

    @property
    def n_weights(self) -> int:
        """Number of weights, the product of `weight_shape`."""
        return math.prod(self.weight_shape)

    @property
    def full_input_shape(self) -> tuple[int, ...]:
        """Shape of the input with its channels, ``(in_channels, *input_shape)``."""
        return (self.in_channels, *self.input_shape)

    @property
    def full_output_shape(self) -> tuple[int, ...]:
        """Shape of the output with its channels, ``(out_channels, *output_shape)``."""
        return (self.out_channels, *self.output_shape)

    @property
    def positions(self) -> tuple[int, ...]:
        """Spatial shape of the kernel's positions: outputs of a convolution, inputs of a transposed one."""
        return self.input_shape if self.transposed else self.output_shape

    @property
    def samples(self) -> tuple[int, ...]:
        """Spatial shape of what the kernel covers: inputs of a convolution, outputs of a transposed one."""
        return self.output_shape if self.transposed else self.input_shape

    @property
    def sample_channels(self) -> int:
        """Number of channels of the samples: of the input, or of the output of a transposed layer."""
        return self.out_channels if self.transposed else self.in_channels

    @property
    def has_coefficients(self) -> bool:
        """Whether a boundary is signed: it reads sums of samples with coefficients other than 1."""
        return any(word in SIGNED for word in self.boundary)

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The one-axis rule of each axis; for a transposed layer, that of the underlying convolution."""
        positions, samples, tile = self.positions, self.samples, self.tile
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
        """The connected (output channel, input channel) pairs in the order of the weights, shape (n_pairs, 2).

        The weights of a transposed layer are ordered by input channel.
        """
        if self.connections is not None:
            return np.argwhere(np.array(self.connections, dtype=bool)).astype(np.int64)
        first, second = self.out_channels, self.in_channels
        if self.transposed:
            first, second = second, first
        width = second // self.groups  # channels connected to one channel
        pairs = np.empty((first, width, 2), dtype=np.int64)
        numbers = np.arange(first, dtype=np.int64)[:, None]
        pairs[:, :, int(self.transposed)] = numbers
        pairs[:, :, int(not self.transposed)] = numbers // (first // self.groups) * width + np.arange(width)
        return pairs.reshape(-1, 2)

    # --- pattern and matrix ------------------------------------------------------------------------------------------

    def pattern(self) -> WeightPattern:
        """Return the sparse tensor T of the layer, which records where each weight occurs in the matrix.

        Examples
        --------
        >>> ConvGeometry(4, 2).pattern().matrix([1, -1]).toarray()
        array([[ 1, -1,  0,  0],
               [ 0,  1, -1,  0],
               [ 0,  0,  1, -1]])
        """
        from convmatrix.geometry_views import layer_pattern

        return layer_pattern(self)

    def unfold_matrix(self, *, format: str = "csr", dtype: DTypeLike = np.float64) -> Any:
        """Return the fixed 0/1 matrix U of the factorisation ``A(w) = (W (x) I) U``; see `convmatrix.unfold_matrix`."""
        from convmatrix.geometry_views import geometry_unfold_matrix

        return geometry_unfold_matrix(self, format=format, dtype=dtype)

    # --- representations ---------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        parts = [repr(self.input_shape), repr(self.kernel_shape)]
        for name, value in self.options().items():
            parts.append(f"{name}={value!r}")
        return f"ConvGeometry({', '.join(parts)})"

    def options(self) -> dict[str, Any]:
        """Return the keyword arguments that differ from their defaults.

        ``ConvGeometry(input_shape, kernel_shape, **options)`` recreates the geometry.

        Examples
        --------
        >>> ConvGeometry(6, 3, stride=2, boundary="reflect").options()
        {'stride': 2, 'boundary': 'reflect'}
        """
        defaults = {name: option.default for name, option in LAYER_OPTIONS.items()}
        defaults |= {"in_channels": 1, "out_channels": 1, "padding": (0, 0)}
        options: dict[str, Any] = {}
        for field in fields(self)[2:]:
            value, default = getattr(self, field.name), defaults[field.name]
            if value == default or value == (default,) * len(self.input_shape):
                continue
            if field.name in ("stride", "dilation", "boundary", "output_padding") and len(set(value)) == 1:
                value = value[0]
            options[field.name] = value
        return options

    def _repr_html_(self) -> str:
        from convmatrix.geometry_views import geometry_html

        return geometry_html(self)


def layer_geometry(
    kernel_shape: Sequence[int], input_shape: int | Sequence[int], **options: Unpack[LayerOptions]
) -> ConvGeometry:
    """Return the geometry of a layer from the shapes of its kernel and of the array that it multiplies.

    Parameters
    ----------
    kernel_shape : sequence of int
        ``(*kernel)`` for one input and one output channel; otherwise ``(C_out, C_in / groups, *kernel)``, or ``(C_in,
        C_out / groups, *kernel)`` for a transposed layer. With ``sharing``, the tile axes come first. With
        ``connections``, ``(n_connections, *kernel)``, or ``(C_out, C_in, *kernel)`` if all positions share the kernel.
    input_shape : int or sequence of int
        ``(*spatial)`` for a one-channel kernel, otherwise ``(C_in, *spatial)``.
    **options
        As for `ConvGeometry`.

    Examples
    --------
    >>> layer_geometry((8, 3, 5, 5), (3, 32, 32), stride=2)
    ConvGeometry((32, 32), (5, 5), in_channels=3, out_channels=8, stride=2)
    """
    kernel = validate.shape("the kernel's shape", kernel_shape)
    shape = validate.shape("input_shape", input_shape)
    if options.get("connections") is not None:
        return _connected_geometry(kernel, shape, options)
    tiled = not isinstance(options.get("sharing", ""), str) or options.get("sharing") == "unshared"
    return _tiled_geometry(kernel, shape, options) if tiled else _plain_geometry(kernel, shape, options)


def _plain_geometry(kernel: tuple[int, ...], shape: tuple[int, ...], options: LayerOptions) -> ConvGeometry:
    """Return the layer of a kernel without tile axes."""
    if len(kernel) == len(shape):
        return ConvGeometry(shape, kernel, **options)
    if len(kernel) != len(shape) + 1 or len(shape) == 1:
        raise ValueError(
            f"the kernel has {validate.axes_in_words(len(kernel))} (shape {kernel}), but input_shape={shape} has "
            f"{len(shape)}; for one channel give both the same number of axes, for channels a kernel "
            "(C_out, C_in/groups, *kernel) and input_shape=(C_in, *spatial), the shape of the input and not its "
            "samples"
        )
    groups = validate.integer("groups", options.get("groups", 1), minimum=1)
    transposed = validate.flag("transposed", options.get("transposed", False))
    first, second = kernel[:2]
    in_channels, out_channels = (first, second * groups) if transposed else (second * groups, first)
    if in_channels != shape[0]:
        layout = "(C_in, C_out/groups, *kernel)" if transposed else "(C_out, C_in/groups, *kernel)"
        remedy = _channels_remedy(kernel, shape, 1 if transposed else groups)
        raise ValueError(
            f"the kernel reads {in_channels} channels (its shape {kernel} is {layout}, groups={groups}), but the "
            f"input has {shape[0]} (input_shape={shape} is (C_in, *spatial)); {remedy}"
        )
    return ConvGeometry(shape[1:], kernel[2:], in_channels=in_channels, out_channels=out_channels, **options)


def _channels_remedy(kernel: tuple[int, ...], shape: tuple[int, ...], groups: int) -> str:
    """Return the remedy for a kernel with the wrong number of channels, which may be due to a different layout."""
    if groups > 1 and kernel[1] == shape[0]:
        return "a kernel holds the channels of one group only, C_in / groups; give those, or omit groups"
    if kernel[0] == 1 and len(kernel) == len(shape) + 1:
        return (
            f"for an image without a channel axis give a kernel of {len(shape)} axes, kernel[0], or for one channel "
            f"input_shape={(1, *shape)} and a kernel of shape {(1, *kernel)}"
        )
    if kernel[-2] == shape[0]:
        return "transpose a kernel with channels last, as in Keras and Flax: numpy.moveaxis(kernel, (-1, -2), (0, 1))"
    if kernel[-2] == shape[-1]:
        return (
            "put the channels first: the input as (C_in, *spatial), and a kernel of Keras or Flax by "
            "numpy.moveaxis(kernel, (-1, -2), (0, 1))"
        )
    return "make them equal"


def _tiled_geometry(weights: tuple[int, ...], shape: tuple[int, ...], options: LayerOptions) -> ConvGeometry:
    """Return the layer of a kernel with one tile axis per spatial axis, for one channel or several."""
    axes, fitting, failures = len(shape), [], []
    for n_tile, n_kernel in ((axes, axes), (axes - 1, axes + 1)):
        tile, kernel = weights[:n_tile], weights[n_tile:]
        if n_tile == axes and kernel[:-axes] == (1, 1):  # with one channel, the channel axes are optional
            kernel = kernel[2:]
        if not n_tile or len(kernel) != n_kernel:
            continue
        try:
            geometry = _plain_geometry(kernel, shape, options)
            if geometry.tile != tile:
                raise ValueError(f"the kernel {weights} has {tile} tiles, but the layer has {geometry.tile}")
            fitting.append(geometry)
        except ValueError as error:
            failures.append(error)
    if len(fitting) == 1:
        return fitting[0]
    if not fitting and len(failures) == 1:
        raise failures[0]
    reason = (
        "fits both one channel and several; give a ConvGeometry. The shapes are" if fitting else "does not fit. Give"
    )
    raise ValueError(
        f"a kernel of shape {weights} on input_shape={shape} with sharing={options['sharing']!r} {reason} "
        "(*tile, *kernel) and input_shape=(*spatial) for one channel, (*tile, C_out, C_in/groups, *kernel) and "
        "input_shape=(C_in, *spatial) for several, with one tile axis per spatial axis"
    )


def _connected_geometry(weights: tuple[int, ...], shape: tuple[int, ...], options: LayerOptions) -> ConvGeometry:
    """Return the layer of a kernel with one entry per connection, or with all channels."""
    table = validate.array("connections", options["connections"])
    n_axes = len(shape) - 1
    if table.ndim != 2 or n_axes < 1 or shape[0] != table.shape[1]:
        raise ValueError(
            f"connections has shape {table.shape}, a table (C_out, C_in), but input_shape={shape}; give "
            "input_shape=(C_in, *spatial) with as many channels as the table has columns"
        )
    if len(weights) <= n_axes:
        raise ValueError(
            f"the kernel has {validate.axes_in_words(len(weights))} (shape {weights}), but with connections and "
            f"input_shape={shape} it needs {n_axes + 1}, (n_connections, *kernel)"
        )
    out_channels, in_channels = table.shape
    return ConvGeometry(shape[1:], weights[-n_axes:], in_channels=in_channels, out_channels=out_channels, **options)


def axis_geometry(geometry: ConvGeometry, axis: int) -> ConvGeometry:
    """Return one axis of a layer, with one channel.

    Examples
    --------
    >>> axis_geometry(ConvGeometry((8, 6), (3, 2), stride=(2, 1), in_channels=4), 0)
    ConvGeometry((8,), (3,), stride=2)
    """
    g = geometry
    options: Any = {"flip": g.flip, "transposed": g.transposed, "sharing": g.sharing}
    per_axis = ["stride", "dilation", "padding", "boundary", "output_padding"]
    for name in per_axis if isinstance(g.sharing, str) else (*per_axis, "sharing"):
        options[name] = [getattr(g, name)[axis]]
    return ConvGeometry(g.input_shape[axis], g.kernel_shape[axis], **options)


def array_shape(geometry: ConvGeometry, *, inputs: bool) -> tuple[int, ...]:
    """Return the shape of an input or output array of a layer, without the channel axis from one channel to one.

    Examples
    --------
    >>> layer = ConvGeometry((6, 8), (3, 3), out_channels=4)
    >>> array_shape(layer, inputs=True), array_shape(layer, inputs=False)
    ((1, 6, 8), (4, 4, 6))
    """
    shape = geometry.full_input_shape if inputs else geometry.full_output_shape
    return shape if geometry.in_channels * geometry.out_channels > 1 else shape[1:]


def given_geometry(
    kernel_shape: Sequence[int], input_shape: int | Sequence[int] | ConvGeometry, options: LayerOptions
) -> ConvGeometry:
    """Return the layer that is described by an input shape and options, or by a `ConvGeometry` alone."""
    if not isinstance(input_shape, ConvGeometry):
        return layer_geometry(kernel_shape, input_shape, **options)
    defaults = {name: LAYER_OPTIONS[name].default for name in options}
    given = [
        name for name, value in options.items() if type(value) is not type(defaults[name]) or value != defaults[name]
    ]
    if given:
        pronoun = "them" if len(given) > 1 else "it"
        raise TypeError(
            f"{', '.join(given)} given beside a ConvGeometry, which has {pronoun} already; drop one of the two"
        )
    return input_shape
