"""Circulant preconditioners for Toeplitz systems, of any number of levels, with or without channels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, Literal, Unpack, get_args

import numpy as np
from scipy import fft

from convmatrix.arrays import EPSILON, KeepsReadOnly
from convmatrix.operator import SizedOperator
from convmatrix.options import LayerOptions, one_of, takes_layer_options
from convmatrix.spectral.axis_transforms import weighted_ring
from convmatrix.spectral.blocks import WeightedLayer, layer_blocks, read_layer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from convmatrix.arrays import Array
    from convmatrix.geometry import ConvGeometry
    from convmatrix.spectral.axis_transforms import AxisTransform

Kind = Literal["strang", "t_chan", "r_chan"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


class CirculantPreconditioner(KeepsReadOnly, SizedOperator):
    """The inverse of a circulant matrix C as a linear operator, returned by `circulant_preconditioner`.

    Attributes
    ----------
    blocks : array of complex, shape (*frequencies, channels, channels), read-only
        C in the Fourier basis, in the order of `numpy.fft.fftn`; for one channel, the blocks are its eigenvalues.
    kind : {"strang", "t_chan", "r_chan"}
    shape, dtype
        Shape and dtype of C; the dtype is complex if the kernel is complex.
    """

    def __init__(self, blocks: Array, kind: Kind, dtype: np.dtype[Any]) -> None:
        super().__init__(dtype, (math.prod(blocks.shape[:-1]),) * 2)
        self.blocks, self.kind = blocks, kind
        self.blocks.flags.writeable = False
        self._inverses = np.linalg.inv(blocks)

    def eigenvalues(self) -> NDArray[np.complex128]:
        """Return the eigenvalues of C, not of its inverse, in the order of its frequencies."""
        return np.asarray(np.linalg.eigvals(self.blocks).astype(np.complex128).reshape(-1))

    def _matvec(self, x: Array) -> Array:
        return self._apply(x, self._inverses)

    def _rmatvec(self, x: Array) -> Array:
        return self._apply(x, self._inverses.conj().swapaxes(-1, -2))

    def _apply(self, x: Array, inverses: Array) -> Array:
        frequencies = self.blocks.shape[:-2]
        array = np.asarray(x).reshape(-1, *frequencies)
        axes = tuple(range(1, array.ndim))
        waves = np.moveaxis(fft.fftn(array, axes=axes), 0, -1)[..., None]
        y = fft.ifftn(np.moveaxis((inverses @ waves)[..., 0], -1, 0), axes=axes).reshape(-1)
        return y if np.result_type(self.dtype, array.dtype).kind == "c" else y.real


@takes_layer_options()
def circulant_preconditioner(
    kernel: ArrayLike,
    input_shape: int | Sequence[int] | ConvGeometry,
    *,
    kind: Kind = "t_chan",
    **layer: Unpack[LayerOptions],
) -> CirculantPreconditioner:
    r"""Return the inverse of a circulant approximation to the Toeplitz matrix of a zero-padded layer.

    With the diagonals :math:`a_k`, :math:`T_{ij} = a_{i-j}`, the first column c of the circulant matrix of size n is

    - ``"strang"``: :math:`c_j = a_j` for :math:`j \le n/2`, else :math:`a_{j-n}`: the central diagonals, wrapped. If T
      is Hermitian and n even, :math:`c_{n/2}` is the mean of :math:`a_{n/2}` and :math:`a_{-n/2}` (which are equal if T
      is real), so that C is Hermitian as well;
    - ``"t_chan"``: :math:`c_j = ((n-j) a_j + j a_{j-n}) / n`, the circulant matrix nearest to T in the Frobenius norm;
    - ``"r_chan"``: :math:`c_j = a_j + a_{j-n}`: all diagonals, wrapped; :math:`c_0 = a_0`.

    The matrices of layers with several axes are block Toeplitz with Toeplitz blocks. Every level is treated in this
    way, and C is block circulant with circulant blocks. For several channels, C has one small block per frequency.

    Parameters
    ----------
    kernel, input_shape, **layer
        As for `convmatrix.conv_matrix`. The layer must have stride 1, a zero boundary, and equal numbers of input and
        output channels and of input and output samples (``padding="same"``). The matrix of all diagonals
        :math:`a_{n-1}, \dots, a_{1-n}` is that of the kernel ``[a[n-1], ..., a[0], ..., a[1-n]]``, in this order.
    kind : {"strang", "t_chan", "r_chan"}

    Returns
    -------
    CirculantPreconditioner
        A `scipy.sparse.linalg.LinearOperator` that multiplies by :math:`C^{-1}` with FFTs, for the argument ``M`` of
        `scipy.sparse.linalg.cg` and other solvers. C is Hermitian if T is; its ``eigenvalues()`` show whether it is
        positive definite, as conjugate gradients require.

    Raises
    ------
    ValueError
        If the layer's matrix is not block Toeplitz and square, or the circulant matrix is singular up to rounding.

    References
    ----------
    Strang, A proposal for Toeplitz matrix calculations, Stud. Appl. Math. 74, 1986. T. Chan, An optimal circulant
    preconditioner for Toeplitz systems, SIAM J. Sci. Stat. Comput. 9(4), 1988. R. Chan, Circulant preconditioners for
    Hermitian Toeplitz systems, SIAM J. Matrix Anal. Appl. 10(4), 1989.

    Examples
    --------
    >>> circulant_preconditioner([-1, 4, -1], 4, padding="same", kind="t_chan").eigenvalues().real.round(12)
    array([2.5, 4. , 5.5, 4. ])

    Conjugate gradients for a blur of 64 x 64 pixels, without and with the preconditioner:

    >>> import convmatrix as cm
    >>> from scipy.sparse.linalg import cg
    >>> kernel = np.outer([1.0, 6, 1], [1, 6, 1])
    >>> A = cm.conv_matrix(kernel, (64, 64), padding="same")
    >>> M = circulant_preconditioner(kernel, (64, 64), padding="same")
    >>> plain, preconditioned = [], []
    >>> _ = cg(A, np.ones(64 * 64), rtol=1e-8, callback=plain.append)
    >>> _ = cg(A, np.ones(64 * 64), rtol=1e-8, callback=preconditioned.append, M=M)
    >>> len(plain), len(preconditioned)
    (13, 6)
    """
    one_of("kind", kind, KINDS)
    given = read_layer(kernel, input_shape, **layer)
    geometry = given.geometry
    _check_toeplitz(geometry)
    mean = kind == "strang" and _is_hermitian(given)
    rings = [_wrapped(n, offsets, kind, mean=mean) for n, offsets in _diagonals(geometry)]
    blocks = _ring_blocks(given, rings)
    values = np.linalg.svd(blocks, compute_uv=False)
    if values.min() <= EPSILON * geometry.n_in * values.max():
        raise ValueError(
            f"the {kind} circulant matrix is singular to rounding: its singular values range from {values.max():.3g} "
            f"down to {values.min():.2g}; choose another kind of {', '.join(KINDS)}, or raise the kernel's centre"
        )
    return CirculantPreconditioner(blocks, kind, given.weights.dtype)


def _check_toeplitz(geometry: ConvGeometry) -> None:
    square = geometry.in_channels == geometry.out_channels and geometry.input_shape == geometry.output_shape
    if not square or set(geometry.stride) != {1} or geometry.sharing != "shared":
        raise ValueError(
            f"a circulant preconditioner needs a square Toeplitz matrix, but {geometry!r} has {geometry.n_out} rows, "
            f"{geometry.n_in} columns, stride {geometry.stride} and {geometry.sharing!r} weights; use padding='same', "
            "stride 1, shared weights and as many output as input channels"
        )
    padded = {b for b, amount in zip(geometry.boundary, geometry.padding, strict=True) if any(amount)}
    if padded - {"zero"}:
        raise ValueError(
            f"a circulant preconditioner is for Toeplitz matrices, which have a zero boundary, but boundary is "
            f"{geometry.boundary}; for circular and symmetric layers use deconvolve, which has the exact inverse"
        )


def _diagonals(geometry: ConvGeometry) -> list[tuple[int, NDArray[np.int64]]]:
    """Return the size of each level, and the diagonal i - j that each of its taps lies on."""
    # A tap reads at the distance t d - p. For a transposed layer these are the diagonals of the transpose.
    sign = 1 if geometry.transposed else -1
    offsets = (sign * (np.arange(axis.n_taps) * axis.dilation - axis.pad_low) for axis in geometry.axes)
    return list(zip(geometry.input_shape, offsets, strict=True))


def _wrapped(n: int, offsets: NDArray[np.int64], kind: Kind, *, mean: bool) -> AxisTransform:
    """Return a level as a ring of the same size, with each diagonal scaled by its factor in the circulant matrix."""
    if kind == "strang":
        factors = np.where((offsets <= n // 2) & (offsets > n // 2 - n), 1.0, 0.0)
        if mean:
            factors = np.where(2 * np.abs(offsets) == n, 0.5, factors)
    elif kind == "t_chan":
        factors = (n - np.abs(offsets)) / n
    else:
        factors = np.ones(len(offsets))
    return weighted_ring(n, -offsets, np.where(np.abs(offsets) < n, factors, 0.0))


def _ring_blocks(layer: WeightedLayer, rings: list[AxisTransform]) -> Array:
    """Return the blocks (*frequencies, channels, channels) of the layer on rings."""
    blocks = layer_blocks(layer, rings).joined().astype(np.complex128)
    return blocks.swapaxes(-1, -2) if layer.geometry.transposed else blocks


def _is_hermitian(layer: WeightedLayer) -> bool:
    """Return whether the Toeplitz matrix is Hermitian up to rounding, from its blocks on rings twice as long."""
    diagonals = _diagonals(layer.geometry)
    rings = [weighted_ring(2 * n, -offsets, np.where(np.abs(offsets) < n, 1.0, 0.0)) for n, offsets in diagonals]
    blocks = _ring_blocks(layer, rings)
    return bool(np.abs(blocks - blocks.conj().swapaxes(-1, -2)).max() <= 1e-12 * np.abs(blocks).max())
