"""A border of constant background around each sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix import options as validate
from convmatrix.nn.layer import Layer, batch_first, batch_last, check_gradient, real, remembered

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]


class Pad(Layer):
    """Surrounds each channel by samples of one value, such as LeCun's background of -1 (Neural Computation 1(4), 1989).

    A convolution's own zero boundary reads zeros; with this layer in front, a convolution without padding reads any
    other value.

    Parameters
    ----------
    widths : sequence of (int, int)
        Samples before and behind, one pair a spatial axis.
    value : float

    Examples
    --------
    >>> import numpy as np
    >>> Pad([(1, 2)], value=-1.0).forward(np.array([[[5.0, 6.0]]]))
    array([[[-1.,  5.,  6., -1., -1.]]])
    """

    def __init__(self, widths: Sequence[tuple[int, int]], value: float = 0.0) -> None:
        super().__init__()
        self.widths = tuple(
            (validate.integer(f"widths[{axis}][0]", low, minimum=0), validate.integer(f"widths[{axis}][1]", high, 0))
            for axis, (low, high) in enumerate(widths)
        )
        self.value = float(value)
        self._output: tuple[int, ...] | None = None

    def forward(self, x: Array, *, training: bool = False) -> Array:
        """Return x with its border."""
        self._output = (len(x), *self.output_shape(x.shape[1:]))
        samples = batch_last(real(self, x))
        return batch_first(np.pad(samples, [(0, 0), *self.widths, (0, 0)], constant_values=self.value))

    def backward(self, g: Array) -> Array:
        """Return g without its border."""
        check_gradient(self, g, remembered(self, self._output))
        return batch_first(np.ascontiguousarray(batch_last(g)[self._inner(g.shape[1:])]))

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (channels, *padded)."""
        if len(input_shape) != 1 + len(self.widths):
            raise ValueError(
                f"{self!r} takes samples of a channel axis and {len(self.widths)} spatial ones, but was given samples "
                f"of shape {tuple(input_shape)}; give one pair of widths a spatial axis"
            )
        padded = (n + low + high for n, (low, high) in zip(input_shape[1:], self.widths, strict=True))
        return (input_shape[0], *padded)

    def reads(self, outputs: Array, input_shape: tuple[int, ...]) -> Array:
        """Return the samples inside the border."""
        return outputs[self._inner(outputs.shape)]

    def _inner(self, padded: tuple[int, ...]) -> tuple[slice, ...]:
        return (slice(None), *(slice(low, n - high) for n, (low, high) in zip(padded[1:], self.widths, strict=True)))

    def __repr__(self) -> str:
        return f"Pad({self.widths}, {self.value})"
