"""PyTorch in float64 as the oracle, for the layers that PyTorch has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convmatrix.geometry import ConvGeometry

    Array = NDArray[Any]

torch.set_num_threads(1)  # layers this small are not worth dividing

PAD_MODES: Final = {"zero": "constant", "circular": "circular", "reflect": "reflect", "replicate": "replicate"}
CONVOLUTIONS: Final = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
TRANSPOSED: Final = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}


def has_layer(geometry: ConvGeometry) -> bool:
    """Whether PyTorch has this layer: weights shared, one boundary for all padded axes, padding within its limits.

    ``torch.nn.functional.pad`` wraps at most once around (padding <= n), reflects at most once (padding < n), and knows
    no symmetric boundary; its transposed convolutions know the zero boundary only.
    """
    padded = [
        (boundary, max(amount), size)
        for boundary, amount, size in zip(geometry.boundary, geometry.padding, geometry.input_shape, strict=True)
        if any(amount)
    ]
    boundaries = {boundary for boundary, _, _ in padded}
    if len(geometry.input_shape) > 3 or geometry.connections is not None or geometry.sharing != "shared":
        return False
    if geometry.transposed:
        return boundaries <= {"zero"}
    limits = {"circular": 0, "reflect": -1}
    return (
        len(boundaries) <= 1
        and boundaries <= PAD_MODES.keys()
        and all(most <= size + limits[b] for b, most, size in padded if b in limits)
    )


def products(geometry: ConvGeometry, weights: Array, x: Array, g: Array) -> tuple[Array, Array, Array]:
    """Return (output, input gradient, weight gradient) of PyTorch, for the output gradient g."""
    kernel = torch.tensor(weights, requires_grad=True)
    sample = torch.tensor(x, requires_grad=True)
    n_axes = len(geometry.input_shape)
    used = kernel.flip(tuple(range(2, 2 + n_axes))) if geometry.flip else kernel
    layer = _transposed if geometry.transposed else _convolution
    y = layer(geometry, used, sample.unsqueeze(0)).squeeze(0)
    x_gradient, w_gradient = torch.autograd.grad(y, (sample, kernel), torch.tensor(g))
    return y.detach().numpy(), x_gradient.numpy(), w_gradient.numpy()


def _convolution(geometry: ConvGeometry, kernel: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    boundaries = {b for b, amount in zip(geometry.boundary, geometry.padding, strict=True) if any(amount)}
    if boundaries:
        amounts = [amount for pair in reversed(geometry.padding) for amount in pair]  # the last axis first
        x = functional.pad(x, amounts, mode=PAD_MODES[boundaries.pop()])
    convolve = CONVOLUTIONS[len(geometry.input_shape)]
    return convolve(x, kernel, stride=geometry.stride, dilation=geometry.dilation, groups=geometry.groups)


def _transposed(geometry: ConvGeometry, kernel: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    native = all(low == high for low, high in geometry.padding)
    y = TRANSPOSED[len(geometry.input_shape)](
        x,
        kernel,
        stride=geometry.stride,
        padding=[low for low, _ in geometry.padding] if native else 0,
        output_padding=geometry.output_padding,
        groups=geometry.groups,
        dilation=geometry.dilation,
    )
    if not native:  # PyTorch crops both ends alike
        ends = [slice(low, size - high) for (low, high), size in zip(geometry.padding, y.shape[2:], strict=True)]
        y = y[:, :, *ends]
    return y
