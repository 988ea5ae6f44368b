"""Layers that act on every unit or channel separately: activation functions, batch normalisation, dropout."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from convmatrix import memory, network
from convmatrix import options as validate
from convmatrix.nn.layer import Layer, as_real, batch_first, float_dtype, real_gradient, saved

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from convmatrix.arrays import Array


class Activation(Layer):
    """Base class of layers that apply a scalar function to every entry, also called ``Elementwise``.

    Subclasses override `value_and_slope`.
    """

    _name: ClassVar[str] = ""  # name of the function in `convmatrix.network.FUNCTIONS`, if listed
    _constants: ClassVar[tuple[str, ...]] = ()  # names of its parameters, which are attributes of the layer

    def __init__(self) -> None:
        super().__init__()
        self._slope: Array | None = None

    def _constant_values(self) -> dict[str, float]:
        return {name: getattr(self, name) for name in self._constants}

    def value_and_slope(self, x: Array) -> tuple[Array, Array]:
        """Return f(x) and f'(x)."""
        function, constants = network.FUNCTIONS[self._name], self._constant_values()
        return function.value(x, **constants), function.slope(x, **constants)

    def forward(self, x: Array, *, training: bool = False) -> Array:
        """Return f(x)."""
        y, self._slope = self.value_and_slope(as_real(self, x))
        return y

    def backward(self, g: Array) -> Array:
        """Return f'(x) g."""
        slope = saved(self, self._slope)
        return real_gradient(self, g, slope.shape) * slope

    def operation(self, input_shape: tuple[int, ...]) -> network.Elementwise:
        """Return the elementwise operation."""
        if self._name:
            return network.Elementwise(self._name, self._constant_values())
        return network.Elementwise(type(self).__name__, function=lambda x: self.value_and_slope(x)[0])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(str, self._constant_values().values()))})"


Elementwise = Activation


class ReLU(Activation):
    """max(x, 0); the slope at 0 is 0.

    Examples
    --------
    >>> import numpy as np
    >>> ReLU().forward(np.array([[-2.0, 3.0]]))
    array([[0., 3.]])
    """

    _name = "relu"

    def value_and_slope(self, x: Array) -> tuple[Array, Array]:
        """Return the function and its slope."""
        return np.maximum(x, 0), ~(x <= 0)


class LeakyReLU(Activation):
    """x if x > 0, otherwise ``slope * x``.

    Parameters
    ----------
    slope : float
        Slope for negative x.

    Examples
    --------
    >>> import numpy as np
    >>> LeakyReLU(0.1).forward(np.array([[-2.0, 3.0]]))
    array([[-0.2,  3. ]])
    """

    _name, _constants = "leaky_relu", ("slope",)

    def __init__(self, slope: float = 0.01) -> None:
        super().__init__()
        validate.finite("slope", slope)
        self.slope = slope


class Sigmoid(Activation):
    """1 / (1 + exp(-x)).

    Examples
    --------
    >>> import numpy as np
    >>> Sigmoid().forward(np.array([[0.0]]))
    array([[0.5]])
    """

    _name = "sigmoid"


class Tanh(Activation):
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

    _name, _constants = "tanh", ("scale", "slope")

    def __init__(self, scale: float = 1.0, slope: float = 1.0) -> None:
        super().__init__()
        validate.finite("scale", scale)
        validate.finite("slope", slope)
        self.scale, self.slope = scale, slope

    def value_and_slope(self, x: Array) -> tuple[Array, Array]:
        """Return the function and its slope, from one evaluation of tanh."""
        kind = x.dtype.type
        y = np.tanh(x * kind(self.slope)) if self.slope != 1 else np.tanh(x)
        slope = kind(self.scale * self.slope) - kind(self.scale * self.slope) * (y * y)
        return (y * kind(self.scale) if self.scale != 1 else y), slope


class GELU(Activation):
    """x times the standard normal distribution function at x: Hendrycks and Gimpel, 2016.

    Examples
    --------
    >>> import numpy as np
    >>> GELU().forward(np.array([[-1.0, 0.0, 1.0]])).round(4)
    array([[-0.1587,  0.    ,  0.8413]])
    """

    _name = "gelu"


class Softplus(Activation):
    """log(1 + exp(x)), without overflow.

    Examples
    --------
    >>> import numpy as np
    >>> Softplus().forward(np.array([[0.0, 1000.0]])).round(4)
    array([[6.931e-01, 1.000e+03]])
    """

    _name = "softplus"


class BatchNorm(Layer):
    r"""Batch normalisation of each channel: Ioffe and Szegedy, ICML 2015, Algorithms 1 and 2.

    .. math:: y = \gamma (x - \mu) / \sqrt{\sigma^2 + \epsilon} + \beta

    In training, mean and variance are taken over the samples and positions of the batch, and update running averages;
    otherwise the running averages are used. The running variance is unbiased.

    Parameters
    ----------
    channels : int
    momentum : float
        Weight of the new batch in the running averages.
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
        if not 0 < validate.real("momentum", momentum) <= 1:
            raise ValueError(f"momentum must lie in (0, 1], but is {momentum}")
        if not 0 < validate.real("epsilon", epsilon) < math.inf:
            raise ValueError(f"epsilon must be positive and finite, but is {epsilon}")
        kind = float_dtype(dtype)
        self.channels = validate.integer("channels", channels, minimum=1)
        memory.require(4 * kind.itemsize * channels, f"BatchNorm of {channels} channels", "use fewer channels")
        self.momentum, self.epsilon = momentum, epsilon
        self.parameters["weight"] = np.ones(channels, dtype=kind)
        self.parameters["bias"] = np.zeros(channels, dtype=kind)
        self.running_mean = np.zeros(channels, dtype=kind)
        self.running_variance = np.ones(channels, dtype=kind)
        self._saved: tuple[Array, Array, bool] | None = None

    def forward(self, x: Array, *, training: bool = False) -> Array:
        """Return the normalised batch; in training, update the running averages."""
        self.output_shape(x.shape[1:])
        x = as_real(self, x, self.running_mean.dtype)
        mean, variance = self.running_mean, self.running_variance
        if training:
            count = x.size // self.channels
            if count < 2:
                raise ValueError(
                    f"{self!r} needs at least 2 values per channel in training, but got a batch of shape {x.shape}"
                )
            others, kind = (0, *range(2, x.ndim)), mean.dtype.type
            mean, variance = x.mean(axis=others), x.var(axis=others)
            unbiased = variance * kind(count / (count - 1))
            for running, new in ((self.running_mean, mean), (self.running_variance, unbiased)):
                running *= kind(1 - self.momentum)  # a difference of the two would lose digits
                running += kind(self.momentum) * new
        scale = 1 / np.sqrt(variance + variance.dtype.type(self.epsilon))
        normal = (x - self._spread(mean, x)) * self._spread(scale, x)
        self._saved = (normal, scale, training)
        return normal * self._spread(self.parameters["weight"], x) + self._spread(self.parameters["bias"], x)

    def backward(self, g: Array) -> Array:
        """Return dL/dx, and set the gradients of weight and bias."""
        normal, scale, training = saved(self, self._saved)
        g = real_gradient(self, g, normal.shape, normal.dtype)
        others = (0, *range(2, g.ndim))
        self.gradients["bias"] = g.sum(axis=others)
        self.gradients["weight"] = (g * normal).sum(axis=others)
        factor = self._spread(self.parameters["weight"] * scale, g)
        if not training:
            return np.asarray(g * factor)
        count = g.dtype.type(g.size // self.channels)
        mean = self._spread(self.gradients["bias"] / count, g)
        slope = self._spread(self.gradients["weight"] / count, g)
        return np.asarray((g - mean - normal * slope) * factor)

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the input."""
        if not input_shape or input_shape[0] != self.channels:
            raise ValueError(
                f"{self!r} accepts arrays of shape (batch, {self.channels}, ...), but got samples of shape "
                f"{tuple(input_shape)}"
            )
        return input_shape

    def operation(self, input_shape: tuple[int, ...]) -> network.Scale:
        """Return the scale and shift of each channel that the running averages define."""
        running: dict[str, Any] = {name: array.astype(np.float64) for name, array in self.state().items()}
        scale = running["weight"] / np.sqrt(running["running_variance"] + self.epsilon)
        return network.Scale(scale, running["bias"] - running["running_mean"] * scale)

    @staticmethod
    def _spread(values: Array, like: Array) -> Array:
        """Return one value per channel in a shape that broadcasts to a batch."""
        return values.reshape(-1, *(1,) * (like.ndim - 2))

    def state(self) -> dict[str, Array]:
        """Return the parameters and the running averages."""
        running = {"running_mean": self.running_mean, "running_variance": self.running_variance}
        return {**self.parameters, **running}

    def __repr__(self) -> str:
        return f"BatchNorm({self.channels})"


class Dropout(Layer):
    """Sets randomly chosen units to zero in training and scales up the others (Srivastava et al., JMLR 15, 2014).

    Parameters
    ----------
    rate : float
        Probability that a unit is set to zero.
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
        if not 0 <= validate.real("rate", rate) < 1:
            raise ValueError(f"rate must lie in [0, 1), but is {rate}")
        self.rate = rate
        self.rng = np.random.default_rng(rng)
        self._shape: tuple[int, ...] | None = None
        self._mask: Array | None = None  # None if no unit was set to zero

    def forward(self, x: Array, *, training: bool = False) -> Array:
        """Return x with units set to zero in training, otherwise x itself."""
        x = as_real(self, x)
        self._shape = x.shape
        if not training or self.rate == 0:
            self._mask = None
            return x
        kept = batch_first(self.rng.random((*x.shape[1:], len(x)))) >= self.rate
        self._mask = kept * x.dtype.type(1 / (1 - self.rate))
        return x * self._mask

    def backward(self, g: Array) -> Array:
        """Return g with the same units set to zero and the same scale."""
        g = real_gradient(self, g, saved(self, self._shape))
        return g if self._mask is None else g * self._mask

    def operation(self, input_shape: tuple[int, ...]) -> network.Elementwise:
        """Return the identity, because the layer does nothing at inference."""
        return network.Elementwise("identity")

    def generators(self) -> dict[str, np.random.Generator]:
        """Return the generator of the masks."""
        return {"rng": self.rng}

    def __repr__(self) -> str:
        return f"Dropout({self.rate})"
