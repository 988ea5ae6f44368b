r"""A convolutional restricted Boltzmann machine with probabilistic max-pooling.

Lee, Grosse, Ranganath, Ng, Convolutional deep belief networks for scalable unsupervised learning of hierarchical
representations, ICML 2009. Visible units v and binary detection units h have the energy

.. math:: E(v, h) = -h^T A(w) v - b^T h - c^T v

where A(w) is the matrix of a convolution layer. The detection units of a channel are divided into blocks, and states in
which two units of a block are on have probability 0. A pooling unit is on if a unit of its block is.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from convmatrix import options as validate
from convmatrix.nn.convolution import Conv
from convmatrix.nn.layer import Layer, Rng, as_real, check_sample, real_gradient, saved

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike

    from convmatrix.arrays import Array
    from convmatrix.geometry import ConvGeometry
    from convmatrix.nn.layer import TrainingProduct

Visible = Literal["binary", "real"]


class BoltzmannMachine(Layer):
    r"""A convolutional restricted Boltzmann machine with probabilistic max-pooling; as a layer, P(pooling unit on).

    With :math:`I = A(w) v / s^2 + b`, the probabilities of a detection unit and of a pooling unit with block B are

    .. math:: P(h_j = 1 | v) = \frac{e^{I_j}}{1 + \sum_B e^{I}}, \qquad P(p_B = 1 | v) = 1 - \frac{1}{1 + \sum_B e^{I}}

    Binary visible units (s = 1) have :math:`P(v_i = 1 | h) = 1 / (1 + e^{-(A^T h + c)_i})`. Real ones have the energy
    :math:`|v - c|^2 / (2 s^2) - h^T A v / s^2 - b^T h`, so that v given h is normal with mean :math:`A^T h + c` and
    standard deviation s.

    Parameters
    ----------
    geometry : ConvGeometry
        Any layer that is not transposed.
    pool : int or sequence of int
        Size of the blocks, which must divide the layer's output shape. 1 gives detection units without pooling.
    visible : {"binary", "real"}
    spread : float
        Standard deviation s of real visible units.
    border : {"sampled", "given"}
        Whether samples of all visible units are drawn, or only of those that no fewer detection units read than any
        other. The latter keeps the data at a border that few units reach, and trains the rest conditionally on it.
    scale : float
        Standard deviation of the initial weights.
    bias : float
        Initial bias of the detection units.
    dtype : dtype
        float32 or float64.
    rng : int or numpy.random.Generator

    Attributes
    ----------
    parameters : dict
        ``"weight"`` of shape ``geometry.weight_shape``, ``"bias"`` (b) of shape ``(C_out,)`` and ``"visible_bias"`` (c)
        of shape ``(C_in,)``.

    Examples
    --------
    >>> import numpy as np
    >>> import convmatrix as cm
    >>> machine = BoltzmannMachine(cm.ConvGeometry((8, 8), (3, 3), out_channels=5), pool=2)
    >>> v = np.zeros((10, 1, 8, 8))
    >>> h, p = machine.sample_hidden(v, np.random.default_rng(0))
    >>> h.shape, p.shape, machine.visible_mean(h).shape
    ((10, 5, 6, 6), (10, 5, 3, 3), (10, 1, 8, 8))
    """

    def __init__(
        self,
        geometry: ConvGeometry,
        pool: int | Sequence[int] = 2,
        *,
        visible: Visible = "binary",
        spread: float = 1.0,
        border: Literal["sampled", "given"] = "sampled",
        scale: float = 0.01,
        bias: float = 0.0,
        dtype: DTypeLike = np.float32,
        rng: Rng = 0,
    ) -> None:
        super().__init__()
        validate.one_of("visible", visible, ("binary", "real"))
        validate.one_of("border", border, ("sampled", "given"))
        if not (spread > 0 and math.isfinite(spread)):
            raise ValueError(f"spread must be positive, but is {spread}")
        if visible == "binary" and spread != 1:
            raise ValueError(f'spread={spread} is for real visible units; leave it out, or give visible="real"')
        self.convolution = Conv(
            geometry, bias=None, initialiser=lambda shape, _, __, rng: rng.normal(0, scale, shape), dtype=dtype, rng=rng
        )
        outputs = geometry.output_shape
        self.block = validate.per_axis("pool", pool, len(outputs), minimum=1)
        for axis, (size, block) in enumerate(zip(outputs, self.block, strict=True)):
            if size % block:
                raise ValueError(
                    f"blocks do not divide the detection units on axis {axis}: pool={block}, but the layer has "
                    f"{size} outputs; change the pool, the padding or the input"
                )
        self.geometry, self.visible, self.spread, self.border = geometry, visible, float(spread), border
        kind = self.convolution.parameters["weight"].dtype
        self.parameters["weight"] = self.convolution.parameters["weight"]  # the same array
        self.parameters["bias"] = np.full(geometry.out_channels, bias, dtype=kind)
        self.parameters["visible_bias"] = np.zeros(geometry.in_channels, dtype=kind)
        self._given: Array | None = None
        self._probabilities: tuple[Array, Array] | None = None

    # --- shapes ------------------------------------------------------------------------------------------------------

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the visible units, (C_in, *input_shape)."""
        return self.convolution.input_shape

    @property
    def hidden_shape(self) -> tuple[int, ...]:
        """Shape of the detection units, (C_out, *output_shape)."""
        return self.geometry.full_output_shape

    @property
    def pooled_shape(self) -> tuple[int, ...]:
        """Shape of the pooling units."""
        sizes = zip(self.geometry.output_shape, self.block, strict=True)
        return (self.geometry.out_channels, *(size // block for size, block in sizes))

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the pooling units."""
        check_sample(self, input_shape, self.input_shape)
        return self.pooled_shape

    @property
    def given(self) -> Array:
        """Which visible units keep their values when samples are drawn; see ``border``. Of shape `input_shape`."""
        if self._given is None:
            self._given = np.zeros(self.input_shape, dtype=bool)
            if self.border == "given":
                pattern = self.geometry.pattern()
                readers = np.asarray(pattern.matrix(np.ones(pattern.weight_shape, dtype=np.int64)).sum(axis=0)).ravel()
                self._given = (readers < readers.max()).reshape(self.input_shape)
        return self._given

    # --- the energy and its conditionals -----------------------------------------------------------------------------

    def energy(self, v: Array, h: Array) -> Array:
        """Return E(v, h) for each sample of a batch.

        Examples
        --------
        >>> import numpy as np
        >>> import convmatrix as cm
        >>> machine = BoltzmannMachine(cm.ConvGeometry(3, 2), dtype=np.float64)
        >>> machine.parameters["weight"][...] = [[[2, 3]]]
        >>> machine.energy(np.array([[[1.0, 1, 0]]]), np.array([[[1.0, 0]]]))
        array([-5.])
        """
        self._check_hidden(h)
        return self.visible_energy(v) - _inner(h, self.hidden_input(v))

    def visible_energy(self, v: Array) -> Array:
        """Return the terms of the energy that do not depend on the detection units, for each sample of a batch."""
        c = self._per_channel("visible_bias")
        return (
            _inner(v - c, v - c) / (2 * self.spread**2) if self.visible == "real" else -_inner(v, c + np.zeros_like(v))
        )

    def free_energy(self, v: Array) -> Array:
        r"""Return :math:`F(v) = -\log \sum_h e^{-E(v, h)}` for each sample of a batch."""
        blocks = to_blocks(self.hidden_input(v), self.block)
        largest = np.maximum(blocks.max(axis=-1), 0)
        total: Array = np.exp(-largest) + np.exp(blocks - largest[..., None]).sum(axis=-1)
        logarithms = np.asarray(largest + np.log(total)).reshape(len(v), -1)
        return np.asarray(self.visible_energy(v) - logarithms.sum(axis=1))

    def hidden_input(self, v: Array) -> Array:
        """Return I = A v / s^2 + b, of the shape of the detection units."""
        inputs: Array = self._convolve(v) / self.spread**2 + self._per_channel("bias")
        return inputs

    def hidden_probabilities(self, v: Array, above: Array | None = None) -> tuple[Array, Array]:
        """Return the probabilities that detection units and pooling units are on, given visible units.

        Parameters
        ----------
        v : array, shape (batch, *input_shape)
        above : array, shape (batch, *pooled_shape), optional
            Input of each pooling unit from a layer above, which is added to the input of all units of its block: Lee et
            al. 2009, section on hierarchical probabilistic inference.

        Returns
        -------
        detection, pooling : arrays of shape (batch, *hidden_shape) and (batch, *pooled_shape)
        """
        inputs = to_blocks(self.hidden_input(v), self.block)
        if above is not None:
            if above.shape != inputs.shape[:-1]:
                raise ValueError(
                    f"above must have one value per pooling unit, shape {inputs.shape[:-1]}, but has shape "
                    f"{above.shape}"
                )
            inputs += above[..., None]
        on, off = block_probabilities(inputs)
        return from_blocks(on, self.block), 1 - off

    def sample_hidden(self, v: Array, rng: Rng, above: Array | None = None) -> tuple[Array, Array]:
        """Draw detection units given visible units; return them, and the pooling units that follow from them."""
        probabilities, _ = self.hidden_probabilities(v, above)
        h = self.sample_blocks(probabilities, rng)
        return h, self.pool(h)

    def sample_blocks(self, probabilities: Array, rng: Rng) -> Array:
        """Return random detection units, at most one on per block, with given probabilities."""
        drawn = sample_one_of(to_blocks(probabilities, self.block), np.random.default_rng(rng))
        return from_blocks(drawn, self.block)

    def pool(self, h: Array) -> Array:
        """Return the pooling units of detection units: whether any unit of a block is on."""
        self._check_hidden(h)
        pooled: Array = to_blocks(h, self.block).max(axis=-1)
        return pooled

    def project(self, h: Array) -> Array:
        """Return A^T h, the input of the visible units from detection units."""
        self._check_hidden(h)
        weight = self.parameters["weight"]
        cotangent = np.ascontiguousarray(np.moveaxis(as_real(self, h, weight.dtype), 0, -1))
        back = self.convolution.multiplication.input_gradient(weight, cotangent)
        return np.moveaxis(back.reshape(*self.input_shape, len(h)), -1, 0)

    def visible_mean(self, h: Array) -> Array:
        """Return the mean of the visible units given detection units; for binary units, P(v = 1)."""
        inputs = self.project(h) + self._per_channel("visible_bias")
        return inputs if self.visible == "real" else _sigmoid(inputs)

    def sample_visible(self, mean: Array, rng: Rng) -> Array:
        """Return random visible units with given means."""
        rng = np.random.default_rng(rng)
        if self.visible == "real":
            return np.asarray(mean + self.spread * rng.standard_normal(mean.shape, dtype=mean.dtype))
        return (rng.random(mean.shape, dtype=mean.dtype) < mean).astype(mean.dtype)

    # --- gradients ---------------------------------------------------------------------------------------------------

    def statistics(self, v: Array, h: Array) -> dict[str, Array]:
        """Return the gradient of -E(v, h) with respect to each parameter, summed over a batch.

        The gradient of the log-likelihood is its mean over data v and h given v, minus its mean over the model.
        Probabilities in place of h give the mean over h given v.
        """
        self._convolve(v)
        self.convolution.parameter_gradients(h)
        spatial = tuple(range(2, v.ndim))
        c = self._per_channel("visible_bias") if self.visible == "real" else 0
        return {
            "weight": self.convolution.gradients["weight"] / self.spread**2,
            "bias": h.sum(axis=(0, *spatial)),
            "visible_bias": (v - c).sum(axis=(0, *spatial)) / self.spread**2,
        }

    def contrastive_divergence(self, v: Array, rng: Rng, steps: int = 1) -> tuple[dict[str, Array], Array, float]:
        """Return an estimate of the log-likelihood's gradient from a few steps of block Gibbs sampling from the data.

        Parameters
        ----------
        v : array, shape (batch, *input_shape)
            Data. Reconstructions are means of visible units given detection units that were drawn.
        rng : int or numpy.random.Generator
        steps : int

        Returns
        -------
        gradients : dict of str to array
            The estimate, summed over the batch.
        activation : array, shape (C_out,)
            Mean probability of the detection units of each channel, given the data.
        error : float
            Squared error of the last reconstruction divided by the sum of squares of the data, without ``given`` units.
        """
        rng = np.random.default_rng(rng)
        expected, _ = self.hidden_probabilities(v)
        gradients = self.statistics(v, expected)
        probabilities, reconstruction = expected, v
        for _ in range(steps):
            mean = self.visible_mean(self.sample_blocks(probabilities, rng))
            reconstruction = np.where(self.given, v, mean)
            probabilities, _ = self.hidden_probabilities(reconstruction)
        for name, value in self.statistics(reconstruction, probabilities).items():
            gradients[name] = gradients[name] - value
        activation = expected.mean(axis=(0, *range(2, expected.ndim)))
        return gradients, activation, self._relative_error(v, reconstruction)

    def reconstruction_error(self, v: Array) -> float:
        """Return the squared error of the mean reconstruction over the sum of squares of v, without given units."""
        mean = self.visible_mean(self.hidden_probabilities(v)[0])
        return self._relative_error(v, mean)

    def _relative_error(self, v: Array, reconstruction: Array) -> float:
        free = ~self.given
        squares = np.square(v, dtype=np.float64)[:, free].sum()
        return float(np.square(reconstruction - v, dtype=np.float64)[:, free].sum() / max(squares, 1e-300))

    # --- as a layer --------------------------------------------------------------------------------------------------

    def forward(self, x: Array, *, training: bool = False) -> Array:
        """Return P(pooling unit on) given visible units."""
        self.output_shape(x.shape[1:])
        on, off = block_probabilities(to_blocks(self.hidden_input(x), self.block))
        self._probabilities = (on, off)
        return 1 - off

    def backward(self, g: Array) -> Array:
        """Return the gradient with respect to the visible units, and set the gradients of weights and biases."""
        on, off = saved(self, self._probabilities)
        g = real_gradient(self, g, off.shape, off.dtype)
        inner = from_blocks(on * (off * g)[..., None], self.block)  # d(1 - off)/dI = on * off
        back = self.convolution.backward(inner) / self.spread**2
        self.gradients["weight"] = self.convolution.gradients["weight"] / self.spread**2
        self.gradients["bias"] = inner.sum(axis=(0, *range(2, inner.ndim)))
        self.gradients["visible_bias"] = np.zeros_like(self.parameters["visible_bias"])
        return np.asarray(back)

    def products(self, input_shape: tuple[int, ...] | None = None) -> list[TrainingProduct]:
        """Return the three products of the convolution."""
        return [p._replace(layer=type(self).__name__) for p in self.convolution.products(input_shape)]

    def _convolve(self, v: Array) -> Array:
        """Return A v, with the weights of this layer even if they were replaced by another array."""
        self.convolution.parameters["weight"] = self.parameters["weight"]
        return self.convolution.forward(v)

    def _per_channel(self, name: str) -> Array:
        """Return a bias so that it is added to (batch, channels, *spatial)."""
        return self.parameters[name].reshape(-1, *(1,) * len(self.geometry.input_shape))

    def _check_hidden(self, h: Array) -> None:
        if h.shape[1:] != self.hidden_shape:
            raise ValueError(f"{self!r} has detection units of shape {self.hidden_shape}, but got {h.shape[1:]}")

    def __repr__(self) -> str:
        return f"BoltzmannMachine({self.geometry!r}, pool={self.block}, visible={self.visible!r})"


# --- blocks ----------------------------------------------------------------------------------------------------------


def to_blocks(units: Array, block: Sequence[int]) -> Array:
    """Return ``(..., *spatial)`` as ``(..., *(spatial / block), units per block)``.

    Examples
    --------
    >>> import numpy as np
    >>> to_blocks(np.arange(6), (2,)).tolist()
    [[0, 1], [2, 3], [4, 5]]
    """
    lead, spatial = units.shape[: -len(block)], units.shape[-len(block) :]
    pairs = [part for size, step in zip(spatial, block, strict=True) for part in (size // step, step)]
    first = len(lead)
    order = (*range(first), *range(first, first + len(pairs), 2), *range(first + 1, first + len(pairs), 2))
    return units.reshape(*lead, *pairs).transpose(order).reshape(*lead, *pairs[::2], math.prod(block))


def from_blocks(blocks: Array, block: Sequence[int]) -> Array:
    """Return the units of blocks; the inverse of `to_blocks`.

    Examples
    --------
    >>> import numpy as np
    >>> from_blocks(to_blocks(np.arange(16).reshape(4, 4), (2, 2)), (2, 2))[1].tolist()
    [4, 5, 6, 7]
    """
    n = len(block)
    lead, pooled = blocks.shape[: -n - 1], blocks.shape[-n - 1 : -1]
    first = len(lead)
    order = (*range(first), *(axis for i in range(n) for axis in (first + i, first + n + i)))
    spatial = [size * step for size, step in zip(pooled, block, strict=True)]
    return blocks.reshape(*lead, *pooled, *block).transpose(order).reshape(*lead, *spatial)


def block_probabilities(inputs: Array) -> tuple[Array, Array]:
    """Return P(unit on) for each unit of blocks ``(..., units)``, and P(all off) of each block.

    It is a softmax over the units and the state with all units off, whose input is 0.

    Examples
    --------
    >>> import numpy as np
    >>> block_probabilities(np.log([2.0, 1.0]))
    (array([0.5 , 0.25]), array(0.25))
    """
    largest = np.maximum(inputs.max(axis=-1, keepdims=True), 0)  # so that no exponential overflows
    powers, off = np.exp(inputs - largest), np.exp(-largest)
    total = off + powers.sum(axis=-1, keepdims=True)
    return powers / total, (off / total)[..., 0]


def sample_one_of(probabilities: Array, rng: np.random.Generator) -> Array:
    """Return random blocks ``(..., units)`` with at most one unit on, by the probabilities of the units."""
    cumulative = np.cumsum(probabilities, axis=-1)
    before = np.concatenate([np.zeros_like(cumulative[..., :1]), cumulative[..., :-1]], axis=-1)
    drawn = rng.random((*probabilities.shape[:-1], 1), dtype=probabilities.dtype)
    return ((drawn >= before) & (drawn < cumulative)).astype(probabilities.dtype)


def _inner(a: Array, b: Array) -> Array:
    """Return the inner product of each sample of two batches."""
    product: Array = (a * b).reshape(len(a), -1).sum(axis=1)
    return product


def _sigmoid(x: Array) -> Any:
    """Return 1 / (1 + exp(-x)), without overflow."""
    half = np.tanh(x / 2)
    return (1 + half) / 2
