"""Padding in numbers, and the number of outputs, on one axis."""

from __future__ import annotations

from typing import Final

_LARGEST_AXIS: Final = 2**62  # index arithmetic is int64


def forward_axis(
    axis: int, size: int, span: int, kernel: str, stride: int, padding: str | tuple[int, int], _: int
) -> tuple[int, int, int, int]:
    """Resolve (padding low, padding high, output padding, outputs) on one axis of a convolution."""
    if isinstance(padding, tuple):
        low, high = padding
    elif padding == "full":
        low = high = span - 1
    elif padding == "valid":
        low = high = 0
    else:
        low, high = _split(max((-(-size // stride) - 1) * stride + span - size, 0), padding)
    padded = size + low + high
    if span > padded:
        raise ValueError(
            f"kernel does not fit on axis {axis}: it spans {span} samples ({kernel}), "
            f"but the padded input has {padded} (input_shape[{axis}]={size}, padding=({low}, {high})); "
            "increase padding or shrink the kernel"
        )
    if padded >= _LARGEST_AXIS:
        raise ValueError(
            f"axis {axis} has {padded} padded samples, but index arithmetic is 64-bit and holds sizes below 2**62; "
            "shrink the input or the padding"
        )
    return low, high, 0, (padded - span) // stride + 1


def transposed_axis(
    axis: int, size: int, span: int, kernel: str, stride: int, padding: str | tuple[int, int], extra: int
) -> tuple[int, int, int, int]:
    """Resolve (padding low, padding high, output padding, outputs) on one axis of a transposed convolution."""
    full = (size - 1) * stride + span
    if isinstance(padding, tuple):
        low, high = padding
    elif padding == "full":
        low = high = span - 1
    elif padding == "valid":
        low = high = 0
    else:
        total = full + extra - size * stride
        low, high = _split(max(total, 0), padding)
        extra += max(-total, 0)  # a kernel shorter than the stride leaves the last outputs without a tap
    outputs = full - low - high + extra
    if outputs < 1:
        raise ValueError(
            f"transposed layer has no outputs on axis {axis}: padding=({low}, {high}) crops {low + high} of "
            f"{full + extra} samples (input_shape[{axis}]={size}, stride={stride}, {kernel}); reduce the padding"
        )
    if full + extra >= _LARGEST_AXIS:
        raise ValueError(
            f"axis {axis} has {full + extra} samples, but index arithmetic is 64-bit and holds sizes below 2**62; "
            "shrink the input or the stride"
        )
    return low, high, extra, outputs


def _split(total: int, word: str) -> tuple[int, int]:
    """Split the padding of "same": the odd sample at the high end, or at the low one for "same_lower"."""
    half = total // 2
    return (half, total - half) if word == "same" else (total - half, half)
