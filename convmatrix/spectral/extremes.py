"""The largest and the smallest singular value, the condition number and the rank of a layer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

import numpy as np

from convmatrix.memory import MatrixTooLargeError
from convmatrix.operator import ConvOperator
from convmatrix.spectral._layer import LayerOptions, read_layer
from convmatrix.spectral.blocks import layer_blocks
from convmatrix.spectral.lanczos import largest_singular
from convmatrix.spectral.largest import EPS, largest_value
from convmatrix.spectral.singular import affordable_blocks, decomposition_work, sorted_values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from convmatrix.geometry import ConvGeometry

    Array = NDArray[Any]
    Shape = int | Sequence[int] | ConvGeometry

METHODS = ("auto", "exact", "lanczos")
_QUICK_WORK = 3e9
"""Multiplications of a decomposition that is still preferred to Lanczos steps: a second or so."""

_MOST_INVERSE_WORK = 3e11
"""Multiplications of the factors of an inverse that are tried: some minutes."""


@overload
def spectral_norm(
    kernel: ArrayLike,
    input_shape: Shape,
    *,
    method: str = "auto",
    tol: float = 1e-8,
    with_error: Literal[False] = False,
    **layer: Unpack[LayerOptions],
) -> float: ...
@overload
def spectral_norm(
    kernel: ArrayLike,
    input_shape: Shape,
    *,
    method: str = "auto",
    tol: float = 1e-8,
    with_error: Literal[True],
    **layer: Unpack[LayerOptions],
) -> tuple[float, float]: ...
def spectral_norm(
    kernel: ArrayLike,
    input_shape: Shape,
    *,
    method: str = "auto",
    tol: float = 1e-8,
    with_error: bool = False,
    **layer: Unpack[LayerOptions],
) -> float | tuple[float, float]:
    r"""Return the largest singular value of a layer's matrix.

    Parameters
    ----------
    kernel, input_shape, **layer
        As for `singular_values`.
    method : {"auto", "exact", "lanczos"}
        ``"exact"`` takes the blocks of `singular_values`; ``"lanczos"`` takes products with `ConvOperator`; ``"auto"``
        the blocks where they are cheap.
    tol : float
        Lanczos steps end when the residual :math:`\|A^H u - \sigma v\|` is below ``tol`` times the value.
    with_error : bool
        Return an estimate of the error too. It is the residual, within which a singular value lies; that it is the
        *largest* one is not proved: `norm_bounds` does that.

    Returns
    -------
    float, or (float, float)

    Raises
    ------
    ValueError
        If the method is unknown, ``tol`` is not positive, or Lanczos steps do not reach ``tol``.

    Examples
    --------
    >>> spectral_norm([1, -2, 1], 3, padding="same")
    3.41421356...
    >>> value, error = spectral_norm([[1, 2], [3, 4]], (50, 60), method="lanczos", with_error=True)
    >>> round(value, 3), error < 1e-6
    (9.993, True)
    """
    if method not in METHODS:
        raise ValueError(f"method {method!r} is unknown; choose one of {', '.join(METHODS)}")
    if not tol > 0:
        raise ValueError(f"tol={tol!r} must be positive: it is the residual relative to the value")
    geometry, weights = read_layer(kernel, input_shape, **layer)
    if method == "exact" or (method == "auto" and _is_quick(geometry, weights)):
        blocks = affordable_blocks(geometry, weights)
        value = largest_value(blocks)
        error = value * 8 * EPS * math.sqrt(sum(blocks.block_shape)) + blocks.rounding()
    else:
        value, error = _lanczos_norm(geometry, weights, tol)
    return (value, error) if with_error else value


def _is_quick(geometry: ConvGeometry, weights: Array) -> bool:
    work = decomposition_work(geometry, weights)
    # Lanczos takes hundreds of products with the layer, which a decomposition must not exceed by far.
    positions = math.prod(geometry.input_shape if geometry.transposed else geometry.output_shape)
    return work <= max(_QUICK_WORK, 400.0 * positions * weights.size)


def _lanczos_norm(geometry: ConvGeometry, weights: Array, tol: float) -> tuple[float, float]:
    found = largest_singular(ConvOperator(weights, geometry), tolerance=tol, steps=30, restarts=300)
    if found.residual > tol * found.value:
        raise ValueError(
            f"Lanczos steps end at {found.value:.17g} with a residual of {found.residual:.2g}, which is more than "
            f"tol={tol:g} times it, after {found.products} products; use a larger tol, or norm_bounds"
        )
    return found.value, found.residual


def smallest_singular_value(kernel: ArrayLike, input_shape: Shape, **layer: Unpack[LayerOptions]) -> float:
    r"""Return the smallest of the min(n_out, n_in) singular values of a layer's matrix.

    It is taken from the blocks of `singular_values` where they are within reach. For other layers it is found by
    Lanczos steps with the inverse of the sparse matrix :math:`A A^H + \delta I` (the smaller of the two products),
    which loses half of the digits: what is below :math:`10^{-7}` of the norm is then refused.

    Parameters
    ----------
    kernel, input_shape, **layer
        As for `singular_values`.

    Raises
    ------
    ValueError
        If the value is too small for the inverse, the inverse would take too long, or the steps do not converge.
    MatrixTooLargeError
        If the factors of the inverse do not fit in memory.

    Examples
    --------
    >>> round(smallest_singular_value([[2, 7, -1], [1, 3, -8], [5, -3, 1]], (20, 20), padding="same",
    ...                               boundary="circular"), 10)
    0.1548414175
    """
    geometry, weights = read_layer(kernel, input_shape, **layer)
    if decomposition_work(geometry, weights) <= 2e11:
        return float(sorted_values(layer_blocks(geometry, weights))[-1])
    return _inverse_lanczos(geometry, weights)


def _inverse_lanczos(geometry: ConvGeometry, weights: Array) -> float:
    from scipy import sparse
    from scipy.sparse import linalg

    from convmatrix.matrices import conv_matrix

    work = inverse_work(geometry)
    if work > _MOST_INVERSE_WORK:
        raise ValueError(
            f"the smallest singular value of {geometry!r} is out of reach: some axes have no transform, and the "
            f"factors of the inverse would take about {work:.1e} multiplications, of which at most "
            f"{_MOST_INVERSE_WORK:.0e} are tried; take a smaller input or fewer channels, or boundary='circular'"
        )
    matrix = conv_matrix(weights, geometry)
    norm, _ = _lanczos_norm(geometry, weights, 1e-3)
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.T.conj().tocsr()
    gram = (matrix @ matrix.T.conj()).tocsc()
    shift = 1e-15 * norm**2
    try:
        solve: Any = linalg.splu(gram + shift * sparse.eye_array(gram.shape[0], format="csc"))
    except MemoryError:
        raise MatrixTooLargeError(
            f"the factors of the inverse of the {gram.shape[0]} x {gram.shape[0]} matrix of {geometry!r} do not fit in "
            "memory; take a smaller input or fewer channels, or boundary='circular'"
        ) from None
    inverse = linalg.LinearOperator(gram.shape, matvec=solve.solve, dtype=gram.dtype)
    v0 = np.random.default_rng(0).standard_normal(gram.shape[0])
    try:
        _, vectors = linalg.eigsh(inverse, k=1, which="LA", v0=v0, tol=1e-10)
    except linalg.ArpackNoConvergence:
        raise ValueError(
            f"Lanczos steps with the inverse do not converge for {geometry!r}; take fewer samples"
        ) from None
    value = float(np.linalg.norm(matrix.T.conj() @ vectors[:, 0]))
    if value < 1e-7 * norm:
        raise ValueError(
            f"the smallest singular value is below 1e-7 of the norm {norm:.3g} (found {value:.2g}), where its digits "
            f"are lost, so that the condition number is above 1e7 or infinite; take a smaller input than "
            f"{geometry.input_shape}, whose singular values are computed whole"
        )
    return value


def inverse_work(geometry: ConvGeometry) -> float:
    """Return about how many multiplications the factors of a layer's sparse inverse take: those of its best band.

    Rows are the side of the matrix that has fewer. With the longest axis outermost, two of them that share a column are
    at most the reach of that axis times all other rows apart.
    """
    by_output = geometry.n_out <= geometry.n_in
    channels = (geometry.out_channels if by_output else geometry.in_channels) // geometry.groups
    sizes = geometry.output_shape if by_output else geometry.input_shape
    by_position = by_output != geometry.transposed
    n_rows: int = channels * math.prod(sizes)
    bands: list[int] = []
    for axis, size in zip(geometry.axes, sizes, strict=True):
        span = (axis.n_taps - 1) * axis.dilation
        reach = span // axis.stride if by_position else span
        ring = 1 if axis.boundary in ("zero", "replicate") else 2  # what the ends share
        bands.append(n_rows // size * min(ring * max(reach, 1), size))
    return float(geometry.groups * n_rows * min(bands) ** 2)


def condition_number(kernel: ArrayLike, input_shape: Shape, **layer: Unpack[LayerOptions]) -> float:
    r"""Return the condition number :math:`\sigma_{max} / \sigma_{min}` of a layer's matrix in the 2-norm.

    It is infinite where :math:`\sigma_{min}` is zero to rounding, ``max(n_out, n_in) * eps`` of the norm. Where the
    singular values are out of reach, :math:`\sigma_{min}` is that of `smallest_singular_value`, which refuses values
    below :math:`10^{-7}` of the norm.

    Parameters
    ----------
    kernel, input_shape, **layer
        As for `singular_values`.

    Raises
    ------
    ValueError, MatrixTooLargeError
        As for `smallest_singular_value`.

    Examples
    --------
    >>> round(condition_number([2, 7, -1], 20, padding="same", boundary="circular"), 6)
    1.334272
    >>> condition_number([1, 1], 4, padding="same", boundary="circular")
    inf
    """
    geometry, weights = read_layer(kernel, input_shape, **layer)
    if decomposition_work(geometry, weights) <= 2e11:
        values = sorted_values(layer_blocks(geometry, weights))
        largest, smallest = float(values[0]), float(values[-1])
    else:
        largest, smallest = _lanczos_norm(geometry, weights, 1e-8)[0], _inverse_lanczos(geometry, weights)
    return largest / smallest if smallest > _rounding_level(geometry) * largest else math.inf


def rank(kernel: ArrayLike, input_shape: Shape, *, tol: float | None = None, **layer: Unpack[LayerOptions]) -> int:
    """Return the numerical rank of a layer's matrix: its singular values above ``tol`` times the largest one.

    Parameters
    ----------
    kernel, input_shape, **layer
        As for `singular_values`, which this needs all of.
    tol : float, optional
        ``max(n_out, n_in) * eps`` by default, as in `numpy.linalg.matrix_rank`.

    Examples
    --------
    >>> rank([1, -1], 6, padding="same", boundary="circular")
    5
    """
    if tol is not None and not 0 <= tol < 1:
        raise ValueError(f"tol={tol!r} must lie in [0, 1): it is relative to the largest singular value")
    geometry, weights = read_layer(kernel, input_shape, **layer)
    values = sorted_values(affordable_blocks(geometry, weights))
    level = _rounding_level(geometry) if tol is None else tol
    return int(np.count_nonzero(values > level * values[0]))


def _rounding_level(geometry: ConvGeometry) -> float:
    return max(geometry.n_out, geometry.n_in) * EPS
