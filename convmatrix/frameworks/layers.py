"""Reading layers of deep-learning frameworks by their attributes, without importing a framework."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix import options as validate
from convmatrix.arrays import from_tensor
from convmatrix.geometry import ConvGeometry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_BOUNDARY_OF_MODE: Final = {"zeros": "zero", "circular": "circular", "reflect": "reflect", "replicate": "replicate"}
_NEEDED: Final = (
    *("weight", "in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups"),
    "padding_mode",
)


def from_torch(layer: Any, input_shape: int | Sequence[int]) -> tuple[NDArray[Any], ConvGeometry]:
    """Return the kernel and the geometry of a PyTorch convolution layer.

    Parameters
    ----------
    layer : torch.nn.Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d or ConvTranspose3d
        Its weight, stride, padding, dilation, groups, padding_mode and output_padding are read. PyTorch itself is not
        imported. The bias is not part of the linear map and is not read; `Network.from_torch` reads it, too.
    input_shape : int or sequence of int
        Spatial shape of the layer's input, or ``(C_in, *spatial)``.

    Returns
    -------
    kernel : array
        A copy of the weights, ``(C_out, C_in / groups, *kernel)``, transposed ``(C_in, C_out / groups, *kernel)``.
        Half-precision weights come as float32, which holds them exactly.
    geometry : ConvGeometry

    Examples
    --------
    The matrix of a layer ``nn.Conv2d(3, 8, 3, padding=1)`` on 32 x 32 images::

        kernel, geometry = cm.from_torch(layer, (32, 32))
        A = cm.conv_matrix(kernel, geometry)

    Any object with the same attributes is accepted:

    >>> from types import SimpleNamespace
    >>> import numpy as np
    >>> layer = SimpleNamespace(
    ...     weight=np.ones((1, 1, 3)), in_channels=1, out_channels=1, kernel_size=(3,), stride=(2,), padding=(1,),
    ...     dilation=(1,), groups=1, padding_mode="circular", output_padding=(0,), transposed=False)
    >>> from_torch(layer, 8)[1]
    ConvGeometry((8,), (3,), stride=2, padding=((1, 1),), boundary='circular')
    """
    missing = [name for name in _NEEDED if not hasattr(layer, name)]
    if missing:
        raise TypeError(
            f"{type(layer).__name__} is not a convolution layer: it has no {', '.join(missing)}; "
            "give a Conv1d, Conv2d, Conv3d or a ConvTranspose layer, or read a whole module with "
            "Network.from_torch(module, input_shape)"
        )
    if not layer.in_channels:
        raise ValueError(
            f"{type(layer).__name__} is a lazy layer with in_channels=0: it has to see one input before it has "
            "weights; call layer(torch.zeros(1, *input_shape))"
        )
    taps = tuple(int(size) for size in layer.kernel_size)
    shape = validate.shape("input_shape", input_shape)
    if len(shape) == len(taps) + 1:
        if shape[0] != layer.in_channels:
            raise ValueError(
                f"input_shape={shape} has {shape[0]} channels, but the layer has in_channels={layer.in_channels}"
            )
        shape = shape[1:]
    if len(shape) != len(taps):
        raise ValueError(
            f"input_shape={shape} has {validate.axes_in_words(len(shape))}, but the layer has "
            f"{validate.axes_in_words(len(taps), 'spatial ')} (kernel_size={taps}); give (*spatial) or (C_in, *spatial)"
        )
    if layer.padding_mode not in _BOUNDARY_OF_MODE:
        raise ValueError(f"padding_mode={layer.padding_mode!r} is unknown; known are {', '.join(_BOUNDARY_OF_MODE)}")
    transposed = bool(getattr(layer, "transposed", False))
    padding = layer.padding if isinstance(layer.padding, str) else tuple(int(amount) for amount in layer.padding)
    geometry = ConvGeometry(
        shape,
        taps,
        in_channels=int(layer.in_channels),
        out_channels=int(layer.out_channels),
        stride=tuple(layer.stride),
        dilation=tuple(layer.dilation),
        padding=padding,
        boundary=_BOUNDARY_OF_MODE[layer.padding_mode],
        groups=int(layer.groups),
        transposed=transposed,
        output_padding=tuple(layer.output_padding) if transposed else 0,
    )
    kernel = _array(layer.weight)
    if kernel.shape != geometry.weight_shape:
        raise ValueError(
            f"the layer's weight has shape {kernel.shape}, but its attributes describe {geometry.weight_shape}; "
            "a lazy layer has to see one input before it has weights"
        )
    return kernel, geometry


def _array(weight: Any) -> NDArray[Any]:
    """Return a copy of a tensor or an array; half precision becomes float32."""
    array = np.array(from_tensor(weight))
    return array.astype(np.float32) if array.dtype == np.float16 else array
