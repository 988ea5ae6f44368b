"""Elementwise layers: the same scalar function at every unit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from convmatrix.nn.layer import Layer, check_gradient, real, remembered

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]


class Elementwise(Layer):
    """A layer that applies a scalar function at every unit; subclasses give the function and its slope."""

    def __init__(self) -> None:
        super().__init__()
        self._slope: Array | None = None

    def value_and_slope(self, x: Array) -> tuple[Array, Array]:
        """Return f(x) and f'(x)."""
        raise NotImplementedError

    def forward(self, x: Array, *, training: bool = False) -> Array:
        """Return f(x)."""
        y, self._slope = self.value_and_slope(real(self, x))
        return y

    def backward(self, g: Array) -> Array:
        """Return f'(x) g."""
        slope = remembered(self, self._slope)
        check_gradient(self, g, slope.shape)
        return g * slope


class ReLU(Elementwise):
    """max(x, 0); the slope at 0 is 0.

    Examples
    --------
    >>> import numpy as np
    >>> ReLU().forward(np.array([[-2.0, 3.0]]))
    array([[0., 3.]])
    """

    def value_and_slope(self, x: Array) -> tuple[Array, Array]:
        """Return max(x, 0) and its slope."""
        return np.maximum(x, 0), x > 0


class LeakyReLU(Elementwise):
    """x where x > 0, else ``slope * x``.

    Parameters
    ----------
    slope : float
        Of the negative side.

    Examples
    --------
    >>> import numpy as np
    >>> LeakyReLU(0.1).forward(np.array([[-2.0, 3.0]]))
    array([[-0.2,  3. ]])
    """

    def __init__(self, slope: float = 0.01) -> None:
        super().__init__()
        self.slope = slope

    def value_and_slope(self, x: Array) -> tuple[Array, Array]:
        """Return the function and its slope."""
        factor = np.where(x > 0, x.dtype.type(1), x.dtype.type(self.slope))
        return x * factor, factor

    def __repr__(self) -> str:
        return f"LeakyReLU({self.slope})"


class Sigmoid(Elementwise):
    """1 / (1 + exp(-x)).

    Examples
    --------
    >>> import numpy as np
    >>> Sigmoid().forward(np.array([[0.0]]))
    array([[0.5]])
    """

    def value_and_slope(self, x: Array) -> tuple[Array, Array]:
        """Return the function and its slope."""
        y = special.expit(x)
        return y, y * (1 - y)


class Tanh(Elementwise):
    """``scale * tanh(slope * x)``; LeCun's is ``Tanh(1.7159, 2 / 3)``.

    Parameters
    ----------
    scale, slope : float

    Examples
    --------
    >>> import numpy as np
    >>> Tanh(1.7159, 2 / 3).forward(np.array([[1.0]])).round(4)
    array([[1.]])
    """

    def __init__(self, scale: float = 1.0, slope: float = 1.0) -> None:
        super().__init__()
        self.scale, self.slope = scale, slope

    def value_and_slope(self, x: Array) -> tuple[Array, Array]:
        """Return the function and its slope."""
        kind = x.dtype.type
        y = np.tanh(x * kind(self.slope)) if self.slope != 1 else np.tanh(x)
        slope = kind(self.scale * self.slope) - kind(self.scale * self.slope) * (y * y)
        return (y * kind(self.scale) if self.scale != 1 else y), slope

    def __repr__(self) -> str:
        return f"Tanh({self.scale}, {self.slope})"


class GELU(Elementwise):
    """x times the normal distribution function of x: Hendrycks and Gimpel, 2016.

    Examples
    --------
    >>> import numpy as np
    >>> GELU().forward(np.array([[-1.0, 0.0, 1.0]])).round(4)
    array([[-0.1587,  0.    ,  0.8413]])
    """

    def value_and_slope(self, x: Array) -> tuple[Array, Array]:
        """Return the function and its slope."""
        kind = x.dtype.type
        phi = special.ndtr(x)
        density = np.exp(-x * x / 2) * kind(1 / math.sqrt(2 * math.pi))
        return x * phi, phi + x * density


class Softplus(Elementwise):
    """log(1 + exp(x)), without overflow.

    Examples
    --------
    >>> import numpy as np
    >>> Softplus().forward(np.array([[0.0, 1000.0]])).round(4)
    array([[6.931e-01, 1.000e+03]])
    """

    def value_and_slope(self, x: Array) -> tuple[Array, Array]:
        """Return the function and its slope."""
        return np.logaddexp(x, x.dtype.type(0)), special.expit(x)


class Flatten(Layer):
    """Samples of any shape as vectors, in C order.

    Examples
    --------
    >>> import numpy as np
    >>> Flatten().forward(np.ones((10, 3, 2, 2))).shape
    (10, 12)
    """

    def __init__(self) -> None:
        super().__init__()
        self._shape: tuple[int, ...] | None = None

    def forward(self, x: Array, *, training: bool = False) -> Array:
        """Return x as (batch, units)."""
        self._shape = x.shape
        return np.moveaxis(np.moveaxis(x, 0, -1).reshape(math.prod(x.shape[1:]), len(x)), -1, 0)

    def backward(self, g: Array) -> Array:
        """Return g in the shape of x."""
        batch, *sample = remembered(self, self._shape)
        check_gradient(self, g, (batch, math.prod(sample)))
        return np.moveaxis(np.moveaxis(g, 0, -1).reshape(*sample, batch), -1, 0)

    def reads(self, outputs: Array, input_shape: tuple[int, ...]) -> Array:
        """Return the same units in the shape of the input."""
        return outputs.reshape(input_shape)

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (units,)."""
        return (math.prod(input_shape),)
