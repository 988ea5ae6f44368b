r"""The penalty :math:`\|L x\|` of generalised Tikhonov regularisation: differences, convolutions, other operators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np
from scipy.sparse import issparse
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from convmatrix.operator import ConvOperator, SizedOperator
from convmatrix.spectral.blocks import WeightedLayer, layer_blocks, read_layer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from convmatrix.arrays import Array
    from convmatrix.geometry import ConvGeometry
    from convmatrix.spectral.axis_transforms import TransformName

PenaltyWord = Literal["gradient", "laplacian"]
PENALTIES: Final[tuple[PenaltyWord, ...]] = get_args(PenaltyWord)


class Differences(SizedOperator):
    r"""The differences :math:`x_{i+1} - x_i` of neighbours along every spatial axis: the discrete gradient.

    Its shape is (axes * n, n): a difference is stored at the first of its two samples. The last sample of an axis has
    no next one, and the difference there is zero; on a ring, the first sample follows the last. The norm is at most
    :math:`2 \sqrt{axes}`, because no difference is larger than the sum of two samples. Channels are not connected.
    """

    def __init__(self, n_channels: int, shape: tuple[int, ...], rings: Sequence[bool]) -> None:
        self.array_shape = (n_channels, *shape)
        self.rings = tuple(rings)
        size = n_channels * int(np.prod(shape))
        super().__init__(np.dtype(np.float64), (len(shape) * size, size))

    @property
    def norm_bound(self) -> float:
        """An upper bound on the norm."""
        return 2.0 * float(np.sqrt(len(self.rings)))

    def of(self, X: Array) -> Array:
        """Return the differences of columns (n, batch) as an array (axes, n, batch)."""
        x = X.reshape(*self.array_shape, -1)
        result = np.zeros((len(self.rings), *x.shape), dtype=np.result_type(X.dtype, np.float64))
        for axis, ring in enumerate(self.rings, start=1):
            out: Array = result[axis - 1]
            along: Any = (slice(None),) * axis
            np.subtract(x[*along, 1:], x[*along, :-1], out=out[*along, :-1])
            if ring:
                np.subtract(x[*along, 0], x[*along, -1], out=out[*along, -1])
        return result.reshape(len(self.rings), *X.shape)

    def adjoint_of(self, Q: Array) -> Array:
        """Return the adjoint of `of`: columns (n, batch) from an array (axes, n, batch)."""
        q = Q.reshape(len(self.rings), *self.array_shape, -1)
        result = np.zeros(q.shape[1:], dtype=np.result_type(Q.dtype, np.float64))
        for axis, ring in enumerate(self.rings, start=1):
            part: Array = q[axis - 1]
            along: Any = (slice(None),) * axis
            result[*along, :-1] -= part[*along, :-1]
            result[*along, 1:] += part[*along, :-1]
            if ring:
                result[*along, -1] -= part[*along, -1]
                result[*along, 0] += part[*along, -1]
        return result.reshape(Q.shape[1:])

    def _matmat(self, X: Array) -> Array:
        return self.of(X).reshape(self.shape[0], -1)

    def _rmatmat(self, X: Array) -> Array:
        return self.adjoint_of(X.reshape(len(self.rings), self.shape[1], -1))

    def _rmatvec(self, x: Array) -> Array:
        return self._rmatmat(x.reshape(-1, 1))


def differences(geometry: ConvGeometry) -> Differences:
    """Return the differences of a layer's input: rings are the axes with a circular boundary."""
    rings = [boundary == "circular" for boundary in geometry.boundary]
    return Differences(geometry.in_channels, geometry.input_shape, rings)


@dataclass(frozen=True, eq=False)
class Penalty:
    """The operator L of a penalty, and what is known about its symbol.

    Attributes
    ----------
    name : str
        ``"gradient"``, ``"laplacian"``, ``"convolution"`` or ``"operator"``.
    operator : LinearOperator, shape (p, n_in)
    layer : WeightedLayer or None
        The convolution of one channel that L applies to every input channel, if it is one.
    """

    name: str
    operator: Any
    layer: WeightedLayer | None = None

    def symbol(self, layer: WeightedLayer, names: Sequence[TransformName]) -> NDArray[np.float64] | None:
        r"""Return the eigenvalues of :math:`L^H L` at the frequencies of a layer, or None if that does not diagonalise.

        ``names`` are the transforms of the layer's axes, all with one sample per frequency.
        """
        geometry = layer.geometry
        if self.name in PENALTIES:
            rings = differences(geometry).rings
            total = np.zeros(())
            for n, name, ring in zip(geometry.input_shape, names, rings, strict=True):
                if n > 1 and name != ("fourier" if ring else "cosine"):
                    return None
                turns = np.arange(n) / (n if ring else 2 * n)
                total = np.add.outer(total, 4 * np.sin(np.pi * turns) ** 2)
            return total if self.name == "gradient" else total**2
        if self.layer is None:
            return None
        # With one tap along an axis, the modulus of the symbol is the same at all of its frequencies.
        pairs = zip(self.layer.transform_names, names, self.layer.geometry.kernel_shape, strict=True)
        if any(own == "dense" or (own != name and taps > 1) for own, name, taps in pairs):
            return None
        blocks = layer_blocks(self.layer)
        if blocks.shape != geometry.input_shape:
            return None
        symbol: NDArray[np.float64] = (np.abs(blocks.all()) ** 2).sum(axis=(-3, -2, -1))
        return blocks.negate(symbol) if geometry.transposed else symbol  # whose waves are the conjugates


def read_penalty(value: Any, geometry: ConvGeometry) -> Penalty | None:
    """Return the penalty described by the argument ``penalty`` of `convmatrix.solve.deconvolve`."""
    if value is None:
        return None
    if isinstance(value, str):
        if value not in PENALTIES:
            raise ValueError(
                f"penalty {value!r} is unknown; choose one of {', '.join(PENALTIES)}, or give (kernel, options) or a "
                "LinearOperator"
            )
        gradient: Any = differences(geometry)
        return Penalty(value, gradient if value == "gradient" else aslinearoperator(gradient.H @ gradient))
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], Mapping):
        return _convolution(value[0], dict(value[1]), geometry)
    if isinstance(value, ConvOperator):
        fits = (value.geometry.in_channels, value.geometry.input_shape, value.order)
        if fits != (geometry.in_channels, geometry.input_shape, "C"):
            raise ValueError(
                f"the penalty is for {fits[0]} channels, shape {fits[1]} and order {fits[2]!r}, but x has "
                f"{geometry.in_channels} channels, shape {geometry.input_shape} and order 'C'; make a ConvOperator for "
                "those"
            )
        single = geometry.in_channels == 1 and not value.geometry.transposed
        layer = read_layer(value.kernel, value.geometry)
        operator = ConvOperator(layer.weights, layer.geometry)  # in double precision
        return Penalty("convolution", operator, layer if single else None)
    if not (isinstance(value, LinearOperator) or issparse(value) or isinstance(value, np.ndarray)):
        raise TypeError(
            f"penalty must be {', '.join(map(repr, PENALTIES))}, a pair (kernel, options), a ConvOperator, a matrix or "
            f"a LinearOperator, but is {type(value).__name__}"
        )
    return _operator(value, geometry)


def _convolution(kernel: Any, options: dict[str, Any], geometry: ConvGeometry) -> Penalty:
    """Return the penalty of a convolution; a kernel of one channel is applied to every channel of x."""
    if np.ndim(kernel) != len(geometry.input_shape):
        layer = read_layer(kernel, geometry.full_input_shape, **options)
        return Penalty("convolution", ConvOperator(layer.weights, layer.geometry))
    one = every = read_layer(kernel, geometry.input_shape, **options)
    channels = geometry.in_channels
    if channels > 1:
        repeated = np.repeat(np.asarray(kernel)[None, None], channels, axis=0)
        every = read_layer(repeated, (channels, *geometry.input_shape), groups=channels, **options)
    return Penalty("convolution", ConvOperator(every.weights, every.geometry), None if one.geometry.transposed else one)


def _operator(value: Any, geometry: ConvGeometry) -> Penalty:
    """Return the penalty of a matrix or of an operator of SciPy."""
    operator = aslinearoperator(value)
    if operator.shape[1] != geometry.n_in:
        raise ValueError(
            f"the penalty has {operator.shape[1]} columns, but x has {geometry.n_in} entries ({geometry.in_channels} "
            f"channels of shape {geometry.input_shape}); give an operator of shape (p, {geometry.n_in})"
        )
    try:
        sample = operator.H @ (operator @ np.ones((geometry.n_in, 1)))
    except (NotImplementedError, RecursionError, TypeError) as error:
        raise ValueError(
            "the penalty has no adjoint, which every method needs; give the LinearOperator an rmatvec"
        ) from error
    if not np.isfinite(sample).all():
        raise ValueError("the penalty returns infinite or NaN entries for an array of ones; check it")
    return Penalty("operator", operator)
