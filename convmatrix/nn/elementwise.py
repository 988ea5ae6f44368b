"""Layers that treat every unit or channel separately: activation functions, batch normalisation, dropout."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from convmatrix import options as validate
from convmatrix.nn.layer import Layer, check_gradient, float_dtype, real, remembered

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

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


class BatchNorm(Layer):
    r"""Batch normalisation of each channel: Ioffe and Szegedy, ICML 2015, Algorithms 1 and 2.

    .. math:: y = \gamma (x - \mu) / \sqrt{\sigma^2 + \epsilon} + \beta

    with mean and variance over batch and positions in training, and their running means else. The running variance is
    the unbiased one.

    Parameters
    ----------
    channels : int
    momentum : float
        Weight of the new batch in the running means.
    epsilon : float
    dtype : dtype

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[[1.0, 2.0]], [[3.0, 6.0]]], dtype=np.float32)
    >>> y = BatchNorm(1).forward(x, training=True)
    >>> bool(abs(y.mean()) < 1e-6 and abs(y.var() - 1) < 1e-4)
    True
    """

    def __init__(
        self, channels: int, *, momentum: float = 0.1, epsilon: float = 1e-5, dtype: DTypeLike = np.float32
    ) -> None:
        super().__init__()
        if not 0 < momentum <= 1:
            raise ValueError(f"momentum must lie in (0, 1], but is {momentum}")
        if not epsilon > 0:
            raise ValueError(f"epsilon must be positive, but is {epsilon}")
        kind = float_dtype(dtype)
        self.channels = validate.integer("channels", channels, minimum=1)
        self.momentum, self.epsilon = momentum, epsilon
        self.parameters["weight"] = np.ones(channels, dtype=kind)
        self.parameters["bias"] = np.zeros(channels, dtype=kind)
        self.running_mean = np.zeros(channels, dtype=kind)
        self.running_variance = np.ones(channels, dtype=kind)
        self._cache: tuple[Array, Array, bool] | None = None

    def forward(self, x: Array, *, training: bool = False) -> Array:
        """Return the normalised batch; in training the running means move."""
        self.output_shape(x.shape[1:])
        x = real(self, x, self.running_mean.dtype)
        others = (0, *range(2, x.ndim))
        count = x.size // self.channels
        if training:
            if count < 2:
                raise ValueError(f"{self!r} needs at least 2 values a channel in training, but was given {x.shape}")
            mean = x.mean(axis=others)
            variance = x.var(axis=others)
            kind = self.running_mean.dtype.type
            self.running_mean += kind(self.momentum) * (mean - self.running_mean)
            self.running_variance += kind(self.momentum) * (
                variance * kind(count / (count - 1)) - self.running_variance
            )
        else:
            mean, variance = self.running_mean, self.running_variance
        scale = 1 / np.sqrt(variance + variance.dtype.type(self.epsilon))
        normal = (x - self._spread(mean, x)) * self._spread(scale, x)
        self._cache = (normal, scale, training)
        return normal * self._spread(self.parameters["weight"], x) + self._spread(self.parameters["bias"], x)

    def backward(self, g: Array) -> Array:
        """Return dL/dx, and set the gradients of weight and bias."""
        normal, scale, training = remembered(self, self._cache)
        check_gradient(self, g, normal.shape)
        g = real(self, g, normal.dtype)
        others = (0, *range(2, g.ndim))
        count = g.size // self.channels
        self.gradients["bias"] = g.sum(axis=others)
        self.gradients["weight"] = (g * normal).sum(axis=others)
        factor = self._spread(self.parameters["weight"] * scale, g)
        if not training:
            return np.asarray(g * factor)
        mean = self._spread(self.gradients["bias"] / g.dtype.type(count), g)
        slope = self._spread(self.gradients["weight"] / g.dtype.type(count), g)
        return np.asarray((g - mean - normal * slope) * factor)

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the input's."""
        if not input_shape or input_shape[0] != self.channels:
            raise ValueError(
                f"{self!r} takes arrays (batch, {self.channels}, ...), but was given samples of shape {input_shape}"
            )
        return input_shape

    @staticmethod
    def _spread(values: Array, like: Array) -> Array:
        return values.reshape(-1, *(1,) * (like.ndim - 2))

    def state(self) -> dict[str, Array]:
        """Return parameters and running means."""
        return {
            **self.parameters,
            "running_mean": self.running_mean,
            "running_variance": self.running_variance,
        }

    def __repr__(self) -> str:
        return f"BatchNorm({self.channels})"


class Dropout(Layer):
    """Sets a random part of the units to zero in training, and scales the others up: Srivastava et al., JMLR 15, 2014.

    Parameters
    ----------
    rate : float
        Probability of a zero.
    rng : int or numpy.random.Generator

    Examples
    --------
    >>> import numpy as np
    >>> y = Dropout(0.5).forward(np.ones((1, 1000)), training=True)
    >>> sorted(set(y.ravel().tolist()))
    [0.0, 2.0]
    """

    def __init__(self, rate: float = 0.5, *, rng: int | np.random.Generator = 0) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"rate must lie in [0, 1), but is {rate}")
        self.rate = rate
        self.rng = np.random.default_rng(rng)
        self._mask: Array | None = None

    def forward(self, x: Array, *, training: bool = False) -> Array:
        """Return the thinned batch in training, x itself else."""
        x = real(self, x)
        if not training or self.rate == 0:
            self._mask = None
            return x
        kept = np.moveaxis(self.rng.random((*x.shape[1:], len(x))), -1, 0) >= self.rate
        self._mask = kept * x.dtype.type(1 / (1 - self.rate))
        return x * self._mask

    def backward(self, g: Array) -> Array:
        """Return g at the units that were kept, scaled alike."""
        return g if self._mask is None else g * self._mask

    def generators(self) -> dict[str, np.random.Generator]:
        """Return the generator of the masks."""
        return {"rng": self.rng}

    def __repr__(self) -> str:
        return f"Dropout({self.rate})"
