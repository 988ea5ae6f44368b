"""The largest and the smallest singular value, the condition number and the rank of a layer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, Literal, Unpack, overload

import numpy as np

from convmatrix import options as validate
from convmatrix.arrays import EPSILON
from convmatrix.matrices import conv_matrix
from convmatrix.memory import MatrixTooLargeError
from convmatrix.options import LayerOptions, takes_layer_options
from convmatrix.progress import shows_progress
from convmatrix.spectral.blocks import MODERATE_WORK, WeightedLayer, layer_blocks, read_layer
from convmatrix.spectral.lanczos import layer_norm
from convmatrix.spectral.singular import affordable_blocks, sorted_values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from convmatrix.geometry import ConvGeometry
    from convmatrix.progress import Progress

    Shape = int | Sequence[int] | ConvGeometry

METHODS: Final = ("auto", "exact", "lanczos")

_QUICK_WORK: Final = 3e9
"""Maximum number of multiplications for a decomposition to be preferred to Lanczos steps: about a second."""

_UNPROVED: Final = 0.1
"""Largest share of the square of a smallest singular value that its proof may leave open."""

_MOST_INVERSE_WORK: Final = 3e11
"""Maximum number of multiplications for the factors of an inverse: a few minutes."""


@overload
def spectral_norm(
    kernel: ArrayLike,
    input_shape: Shape,
    *,
    method: str = "auto",
    tol: float = 1e-6,
    with_error: Literal[False] = False,
    progress: Progress = None,
    **layer: Unpack[LayerOptions],
) -> float: ...
@overload
def spectral_norm(
    kernel: ArrayLike,
    input_shape: Shape,
    *,
    method: str = "auto",
    tol: float = 1e-6,
    with_error: Literal[True],
    progress: Progress = None,
    **layer: Unpack[LayerOptions],
) -> tuple[float, float]: ...
@takes_layer_options()
@shows_progress("spectral norm")
def spectral_norm(
    kernel: ArrayLike,
    input_shape: Shape,
    *,
    method: str = "auto",
    tol: float = 1e-6,
    with_error: bool = False,
    progress: Progress = None,
    **layer: Unpack[LayerOptions],
) -> float | tuple[float, float]:
    r"""Return the largest singular value of a layer's matrix.

    Parameters
    ----------
    kernel, input_shape, **layer
        As for `singular_values`.
    method : {"auto", "exact", "lanczos"}
        ``"exact"`` uses the blocks of `singular_values`; ``"lanczos"`` uses products with `ConvOperator`; ``"auto"``
        uses the blocks if they are cheap.
    tol : float
        Largest relative error of the *value*. Lanczos steps end when its estimate is below ``tol`` times the value. The
        residual of the singular vector, :math:`r = \|A^H u - \sigma v\|`, is then much larger, because the error of the
        value is proportional to :math:`r^2` over the distance to the next singular values.
    with_error : bool
        Return the absolute error of the value as well: for ``"exact"`` a bound on it, for ``"lanczos"`` an estimate.
    progress : bool or callable, optional
        As for `convmatrix.progress.reporting`.

    Returns
    -------
    float, or (float, float)

    Raises
    ------
    ValueError
        If the method is unknown, ``tol`` is not positive, or Lanczos steps do not reach ``tol``.

    Notes
    -----
    Lanczos steps find the largest singular value from below: the returned value is :math:`\|A v\| / \|v\|` in double
    precision and hence at most the norm, up to rounding. How far the norm lies above it is estimated, as described in
    `convmatrix.spectral.lanczos`, and not proved: the steps cannot rule out a larger singular value whose vector is
    nearly orthogonal to the start. `norm_bounds` proves an upper bound.

    The steps start from two vectors, because the largest singular values of real layers come in close pairs (a wave and
    its negative frequency, as sine and cosine): the real and the imaginary part of a sum of plane waves at the
    frequencies where the symbol of the layer is largest, under half a sine, with a random part. Tolerances of 1e-9 and
    more need single precision only, because the rounding of the vector counts squared in the value.

    References
    ----------
    Golub, Kahan, Calculating the singular values and pseudo-inverse of a matrix, SIAM J. Numer. Anal. B 2, 1965.
    Baglama, Reichel, Augmented implicitly restarted Lanczos bidiagonalization methods, SIAM J. Sci. Comput. 27, 2005.

    Examples
    --------
    >>> spectral_norm([1, -2, 1], 3, padding="same")
    3.41421356...
    >>> value, error = spectral_norm([[1, 2], [3, 4]], (50, 60), method="lanczos", with_error=True)
    >>> round(value, 3), error <= 1e-6 * value
    (9.993, True)
    """
    validate.one_of("method", method, METHODS)
    if not validate.real("tol", tol) > 0:
        raise ValueError(f"tol={tol!r} must be positive: it is the relative error of the value")
    given = read_layer(kernel, input_shape, **layer)
    if method == "exact" or (method == "auto" and _is_quick(given)):
        blocks = affordable_blocks(given)
        value = blocks.norm()
        error = 8 * EPSILON * math.sqrt(sum(blocks.block_shape)) * value + blocks.rounding()
    else:
        value, error = _lanczos_norm(given, tol)
    return (value, error) if with_error else value


def _is_quick(layer: WeightedLayer) -> bool:
    # Lanczos takes hundreds of products with the layer, so a decomposition may take as long as these.
    geometry = layer.geometry
    positions = math.prod(geometry.positions)
    return layer.decomposition_work <= max(_QUICK_WORK, 400.0 * positions * layer.weights.size)


def _lanczos_norm(layer: WeightedLayer, tol: float) -> tuple[float, float]:
    scaled, scale = layer.scaled()
    found = layer_norm(scaled, tol)
    if found.error > tol * found.value:
        raise ValueError(
            f"Lanczos steps end at {found.value * scale:.17g} with an error of about {found.error * scale:.2g}, which "
            f"is more than tol={tol:g} times the value, after {found.products} products; use a larger tol, or "
            "norm_bounds"
        )
    return found.value * scale, found.error * scale


@takes_layer_options()
@shows_progress("smallest singular value")
def smallest_singular_value(
    kernel: ArrayLike, input_shape: Shape, *, progress: Progress = None, **layer: Unpack[LayerOptions]
) -> float:
    r"""Return the smallest of the min(n_out, n_in) singular values of a layer's matrix.

    It is computed from the blocks of `singular_values` if that is feasible, and otherwise by Lanczos steps with the
    inverse of the sparse matrix :math:`G = A A^H` (or :math:`A^H A`, whichever is smaller), shifted by rounding. Such a
    value is never below the smallest one. That none is smaller by more than 5% is proved; where rounding does not allow
    that, as for values below about :math:`10^{-5}` of the norm, an error is raised.

    Parameters
    ----------
    kernel, input_shape, **layer
        As for `singular_values`.

    Raises
    ------
    ValueError
        If the value is too small for the proof, the inverse would take too long, or Lanczos does not converge.
    MatrixTooLargeError
        If the factors of the inverse do not fit in memory.

    Notes
    -----
    The proof is a factorisation :math:`L U = G - \mu I + E` without pivoting and :math:`\mu = (1 - \delta) \sigma^2`.
    If the diagonal D of U is positive, :math:`L D L^H` is positive definite, and the smallest eigenvalue of G is at
    least :math:`\mu - \|E\| - \|L (U - D L^H)\|`, where :math:`|E| \le \gamma |L| |U|` (Higham, Accuracy and stability
    of numerical algorithms, theorem 9.3). The rounding of G itself is allowed for as well.

    Examples
    --------
    >>> round(smallest_singular_value([[2, 7, -1], [1, 3, -8], [5, -3, 1]], (20, 20), padding="same",
    ...                               boundary="circular"), 10)
    0.1548414175
    """
    given = read_layer(kernel, input_shape, **layer)
    if given.decomposition_work <= MODERATE_WORK:
        return float(sorted_values(layer_blocks(given))[-1])
    return _inverse_lanczos(given)


def _inverse_lanczos(layer: WeightedLayer) -> float:
    from scipy.sparse import linalg

    geometry = layer.geometry
    work = inverse_work(geometry)
    if work > _MOST_INVERSE_WORK:
        raise ValueError(
            f"the smallest singular value of {geometry!r} is out of reach: some axes have no transform, and the "
            f"factors of the inverse would take about {work:.1e} multiplications, but at most "
            f"{_MOST_INVERSE_WORK:.0e} are attempted; use a smaller input or fewer channels, or boundary='circular'"
        )
    matrix = conv_matrix(layer.weights, geometry)
    scale = _lanczos_norm(layer, 1e-3)[0]
    if not scale > 0:
        return 0.0
    matrix /= scale
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.T.conj().tocsr()
    gram = (matrix @ matrix.T.conj()).tocsc()
    n = gram.shape[0]
    try:
        factors = _factors(gram, -1e-15)
        inverse = linalg.LinearOperator(gram.shape, matvec=factors.solve, dtype=gram.dtype)
    except MemoryError:
        raise MatrixTooLargeError(
            f"the factors of the inverse of the {n} x {n} matrix of {geometry!r} do not fit in memory; use a smaller "
            "input or fewer channels, or boundary='circular'"
        ) from None
    v0 = np.random.default_rng(0).standard_normal(n)
    try:
        _, vectors = linalg.eigsh(inverse, k=1, which="LA", v0=v0, tol=1e-10)
    except linalg.ArpackNoConvergence:
        raise ValueError(
            f"Lanczos steps with the inverse do not converge for {geometry!r}; use fewer samples"
        ) from None
    value = float(np.linalg.norm(matrix.T.conj() @ vectors[:, 0]))
    proved, hidden = _prove_least(matrix, gram, _factor_error(factors), value)
    if proved:
        return value * scale
    raise ValueError(
        f"the smallest singular value cannot be told from zero: Lanczos steps end at {value * scale:.2g}, but rounding "
        f"hides values below {hidden * scale:.2g} (the norm is {scale:.3g}), so the condition number may be infinite; "
        f"use a smaller input than {geometry.input_shape}, for which all singular values can be computed"
    )


def _prove_least(matrix: Any, gram: Any, error: float, value: float) -> tuple[bool, float]:
    """Return whether no singular value is below 95% of the one found, as is proved, and the least told from zero.

    ``error`` is that of the factors of the Gram matrix.
    """
    moduli = abs(matrix)
    largest = float((moduli @ (moduli.T @ np.ones(moduli.shape[0]))).max())
    rounding = 4 * EPSILON * (int(np.diff(matrix.indptr).max()) + 8) * largest  # of the Gram matrix and its shift
    if error > 1e-6:  # pivots near zero; those of a matrix that is surely positive definite show what rounding does
        error = _factor_error(_factors(gram, -1e-3))
    error += rounding
    share = max(8 * error / value**2, 1e-9)
    level = (1 - share / 2) * value**2
    proved = share < _UNPROVED and level - rounding - _factor_error(_factors(gram, level)) >= (1 - share) * value**2
    return proved, math.sqrt(8 * error / _UNPROVED)


def _factors(gram: Any, shift: float) -> Any:
    """Return the factors of a Hermitian matrix minus a multiple of the identity, with symmetric pivots only."""
    from scipy import sparse
    from scipy.sparse import linalg

    shifted = gram - shift * sparse.eye_array(gram.shape[0], format="csc")
    symmetric: Any = {"SymmetricMode": True}
    try:
        return linalg.splu(shifted, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=symmetric)
    except RuntimeError:  # a pivot is exactly zero
        return linalg.splu(gram + EPSILON * sparse.eye_array(gram.shape[0], format="csc"))


def _factor_error(factors: Any) -> float:
    """Return by how much eigenvalues of the factorised matrix can lie below zero; infinity if nothing is proved."""
    lower, upper = factors.L.tocsr(), factors.U.tocsr()
    pivots = upper.diagonal()
    if not np.array_equal(factors.perm_r, factors.perm_c) or not (pivots.real > 0).all():
        return math.inf
    ones = np.ones(len(pivots))
    moduli = abs(lower)
    terms = int(np.diff(lower.indptr).max()) + 4
    asymmetry = abs(upper - (lower * pivots.real).T.conj())
    unequal = max(float((moduli @ (asymmetry @ ones)).max()), float((asymmetry.T @ (moduli.T @ ones)).max()))
    return 4 * EPSILON * terms * float((moduli @ (abs(upper) @ ones)).max()) + 2 * unequal


def inverse_work(geometry: ConvGeometry) -> float:
    """Return an estimate of the multiplications for factorising a layer's sparse Gram matrix, from its bandwidth.

    The rows are those of the matrix or of its transpose, whichever has fewer. With the longest axis outermost, the
    distance of two rows that share a column is at most the reach of that axis times the number of all other rows.
    """
    by_output = geometry.n_out <= geometry.n_in
    channels = (geometry.out_channels if by_output else geometry.in_channels) // geometry.groups
    sizes = geometry.output_shape if by_output else geometry.input_shape
    by_position = by_output != geometry.transposed
    n_rows: int = channels * math.prod(sizes)
    bands: list[int] = []
    for axis, size in zip(geometry.axes, sizes, strict=True):
        reach = (axis.span - 1) // axis.stride if by_position else axis.span - 1
        ring = 1 if axis.boundary in ("zero", "replicate") else 2  # whether the two ends share columns
        bands.append(n_rows // size * min(ring * max(reach, 1), size))
    return float(geometry.groups * n_rows * min(bands) ** 2)


@takes_layer_options()
@shows_progress("condition number")
def condition_number(
    kernel: ArrayLike, input_shape: Shape, *, progress: Progress = None, **layer: Unpack[LayerOptions]
) -> float:
    r"""Return the condition number :math:`\sigma_{max} / \sigma_{min}` of a layer's matrix in the 2-norm.

    It is infinite if :math:`\sigma_{min}` is zero up to rounding, ``max(n_out, n_in) * eps`` times the norm. If the
    singular values are out of reach, :math:`\sigma_{min}` is that of `smallest_singular_value`, which raises an error
    if it cannot be told from zero.

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
    given, _ = read_layer(kernel, input_shape, **layer).scaled()
    if given.decomposition_work <= MODERATE_WORK:
        values = sorted_values(layer_blocks(given))
        largest, smallest = float(values[0]), float(values[-1])
    else:
        smallest = _inverse_lanczos(given)  # first, because it may raise an error
        largest = _lanczos_norm(given, 1e-8)[0]
    return largest / smallest if smallest > rounding_level(given.geometry) * largest else math.inf


@takes_layer_options()
def rank(kernel: ArrayLike, input_shape: Shape, *, tol: float | None = None, **layer: Unpack[LayerOptions]) -> int:
    """Return the numerical rank of a layer's matrix: how many singular values exceed ``tol`` times the largest one.

    Parameters
    ----------
    kernel, input_shape, **layer
        As for `singular_values`, all of which are computed.
    tol : float, optional
        By default ``max(n_out, n_in) * eps``, as in `numpy.linalg.matrix_rank`.

    Examples
    --------
    >>> rank([1, -1], 6, padding="same", boundary="circular")
    5
    """
    if tol is not None and not 0 <= validate.real("tol", tol) < 1:
        raise ValueError(f"tol={tol!r} must lie in [0, 1): it is relative to the largest singular value")
    given, _ = read_layer(kernel, input_shape, **layer).scaled()
    values = sorted_values(affordable_blocks(given))
    level = rounding_level(given.geometry) if tol is None else tol
    return int(np.count_nonzero(values > level * values[0]))


def rounding_level(geometry: ConvGeometry) -> float:
    """Return the ratio to the largest singular value below which a singular value is zero up to rounding."""
    return max(geometry.n_out, geometry.n_in) * EPSILON
