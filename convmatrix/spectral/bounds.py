"""Guaranteed enclosures of a layer's norm."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from convmatrix.matrices import conv_matrix, estimate
from convmatrix.memory import MatrixTooLargeError
from convmatrix.operator import ConvOperator
from convmatrix.spectral._certificate import BandCertifier, BlockCertifier
from convmatrix.spectral._layer import LayerOptions, read_layer
from convmatrix.spectral._upper import exact_bounds, upper_bounds, used_weights
from convmatrix.spectral.blocks import layer_blocks
from convmatrix.spectral.lanczos import largest_singular
from convmatrix.spectral.largest import EPS
from convmatrix.spectral.singular import decomposition_work
from convmatrix.weights import group_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from convmatrix.geometry import ConvGeometry

    Array = NDArray[Any]

_STEPS = 24
_LEAST_STEPS = 8
_MOST_PRODUCT_WORK = 5e10  # multiplications of the products beyond which fewer steps are taken
_MOST_BLOCK_WORK = 2e11
_MOST_BAND_WORK = 1e12
_MOST_ENTRIES = 3e7
_MOST_CANCELLING = 1e5


def norm_bounds(
    kernel: ArrayLike,
    input_shape: int | Sequence[int] | ConvGeometry,
    *,
    tol: float | None = None,
    **layer: Unpack[LayerOptions],
) -> tuple[float, float]:
    r"""Return numbers between which the spectral norm of a layer's matrix lies, for certain.

    Without ``tol`` no matrix is formed: the cost is some products with the layer and a few transforms of its kernel.

    Parameters
    ----------
    kernel, input_shape, **layer
        As for `singular_values`; any layer that `ConvGeometry` allows.
    tol : float, optional
        Refine until ``upper - lower <= tol * lower``. The proof is then a Cholesky factorisation, of blocks or of a
        band matrix, whose cost grows with the layer.

    Returns
    -------
    lower, upper : float
        ``lower <= norm <= upper``. Both are 0 where the matrix is.

    Raises
    ------
    ValueError
        If ``tol`` is not positive, or cannot be met: the message says what was reached and why not more.

    Notes
    -----
    *From below.* :math:`\|A v\| / \|v\| \le \|A\|` for every v; v comes from a few Lanczos steps. The computed quotient
    is reduced by a bound on the rounding of the product, :math:`\gamma \, \| |A| \|`.

    *From above.* The least of these is returned, each rounded up:

    1. Rings. On every axis the layer is A = R C E. E extends the input to where the kernel reads: it repeats samples,
       at most q positions one sample, so that :math:`E^T E` is diagonal and :math:`\|E\| = \sqrt q`. C correlates on
       a ring so long that no position read wraps onto another one, and R takes outputs from it, each at most once, so
       :math:`\|R\| \le 1`. A zero boundary repeats nothing (q = 1), and reads zeros wherever the ring is zero; so its
       ring need only be as long as input and the *larger* of the two paddings, for both may be the same zeros. On a
       circular axis whose stride does not divide its length n, the ring is the axis itself at stride g = gcd(stride,
       n), and every output stands for at most :math:`\lceil m g / n \rceil` of the m. Axes are independent, so norms
       multiply, and C is a layer on rings, whose norm is the largest one of its blocks (`singular_values`). Rings and
       symmetric axes with symmetric kernels are exact as they stand; where all axes are, both bounds are that norm but
       for rounding. Where a ring of n samples would be much work, its symbol is taken at N < n points: with s shifts,
       the norm is at most :math:`(1 - (s - 1) / N)^{-1/2}` times the largest one at those, on each such axis. For
       :math:`p = u^H B v` is there a trigonometric polynomial of s successive frequencies, which a sum over the N
       points reproduces, :math:`p(\omega) = \frac1N \sum_j p(\omega_j) V(\omega - \omega_j)`, with
       :math:`V = D_L D_{s + L - 1} / L` but for a phase, D_m the sum of m successive waves and L = N - s + 1: V has the
       coefficient 1 at those s frequencies, and reaches no alias of them. By Cauchy and Schwarz :math:`\frac1N \sum_j
       |V(\omega - \omega_j)| \le \sqrt{L (s + L - 1)} / L = \sqrt{N / L}`, which is the factor. See also
       Pfister and Bresler, Bounding multivariate trigonometric polynomials ..., arXiv:1802.09588, 2018.
    2. Unfolding. A = (W x I) U with the kernel as a matrix W, one row an output channel, and U that copies samples:
       :math:`\|U\|^2` is the largest number of reads of one sample. Likewise with one column an input channel, where
       sums take the place of copies.
    3. Moduli. :math:`\|A\| \le \| |A| \|`, and for every positive x, :math:`\| |A| \|^2 \le \max_j (|A|^T |A| x)_j /
       x_j` (Collatz, Wielandt). For kernels of one sign this is close, whatever the boundary.

    *With tol.* The lower bound is refined by restarted Lanczos steps; the upper bound is proved by a factorisation
    :math:`\mu^2 I - A A^H = L L^H`, which exists only if :math:`\|A\| \le \mu`, with a shift for all its rounding
    (Rump, Verification of positive definiteness, BIT 46, 2006).

    Examples
    --------
    The circular layer does not bound the one that is padded with zeros:

    >>> lower, upper = norm_bounds([1, -2, 1], 3, padding="same")
    >>> lower <= 2 + 2**0.5 <= upper
    True
    >>> from convmatrix.spectral import singular_values
    >>> singular_values([1, -2, 1], 3, padding="same", boundary="circular").round(4)
    array([3., 3., 0.])
    >>> lower, upper = norm_bounds([1, -2, 1], 3, padding="same", tol=1e-6)
    >>> (upper - lower) / lower <= 1e-6
    True
    """
    if tol is not None and not tol > 0:
        raise ValueError(f"tol={tol!r} must be positive: it is the relative width of the interval")
    geometry, weights = read_layer(kernel, input_shape, **layer)
    weights = np.where(used_weights(geometry), weights, 0)  # a large weight that reads nothing would cost digits
    scale = float(np.abs(weights).max())
    if scale == 0:
        return 0.0, 0.0
    # Scaled by a power of two, which is exact, so that nothing over- or underflows.
    scale = 2.0 ** math.ceil(math.log2(scale)) if 1e-290 < scale < 1e290 else scale
    weights = weights / scale
    exact = exact_bounds(geometry, weights)
    if exact is not None and (tol is None or exact[1] - exact[0] <= tol * exact[0]):
        return exact[0] * scale * (1 - 2 * EPS), exact[1] * scale * (1 + 2 * EPS)
    bounds = upper_bounds(geometry, weights)
    upper = min(bounds.values())
    rounding = _product_rounding(geometry, weights, bounds["moduli"])
    operator = ConvOperator(weights, geometry)
    lower = _lower(operator, rounding, tolerance=1e-3, restarts=1)
    if upper == 0:
        return 0.0, 0.0
    if tol is not None and upper - lower > tol * lower:
        lower, upper = _refine(geometry, weights, operator, rounding, tol, (lower, upper), scale)
    return lower * scale, upper * scale * (1 + 2 * EPS)


def _lower(operator: ConvOperator, rounding: float, *, tolerance: float, restarts: int) -> float:
    step = 2.0 * math.prod(operator.geometry.output_shape) * operator.geometry.n_weights
    steps = min(max(int(_MOST_PRODUCT_WORK / step), _LEAST_STEPS), _STEPS)
    found = largest_singular(operator, tolerance=tolerance, steps=steps, restarts=restarts)
    # The image is that of the computed vector, whose norm is one but for rounding; it was combined from others.
    image = np.linalg.norm(operator @ found.vector) / np.linalg.norm(found.vector)
    size = sum(operator.shape)
    return max(float(image) * (1 - (4 * math.sqrt(size) + 8) * EPS) - rounding, 0.0)


def _product_rounding(geometry: ConvGeometry, weights: Array, moduli: float) -> float:
    """Return a bound on the norm of the error of a product, for a vector of norm one."""
    terms = math.prod(geometry.kernel_shape) * max(geometry.in_channels, geometry.out_channels)
    terms += sum(axis.n_outputs for axis in geometry.axes) if set(geometry.boundary) != {"zero"} else 0
    grouped = group_weights(geometry, weights)
    n = len(geometry.kernel_shape)
    sums = np.abs(grouped).sum(axis=tuple(range(-n, 0)))
    frobenius = float(np.sqrt((sums**2).sum(axis=(-2, -1)).max()))
    points = math.prod(geometry.input_shape) + math.prod(geometry.output_shape) + math.prod(geometry.kernel_shape)
    transforms = 16 * (math.log2(points) + 2) * frobenius * len(geometry.axes)
    return EPS * (2 * terms * moduli + transforms)


def _refine(
    geometry: ConvGeometry,
    weights: Array,
    operator: ConvOperator,
    rounding: float,
    tol: float,
    known: tuple[float, float],
    scale: float,
) -> tuple[float, float]:
    """Return bounds of the relative width tol, from those that are known; ``scale`` is for the message."""
    lower, upper = known
    if lower == 0 and _cancels(geometry, weights):
        return 0.0, 0.0
    certifier, reason = _certifier(geometry, weights)
    # A small residual tells that a singular value is near, not which one: where the proof fails, look closer.
    for effort, tolerance in ((8, math.sqrt(tol) / 50), (40, tol / 100), (200, 1e-13)):
        lower = max(lower, _lower(operator, rounding, tolerance=tolerance, restarts=effort))
        if upper - lower <= tol * lower:
            return lower, upper
        if certifier is None:
            if effort == 8:
                continue
            break
        for share in (0.25, 0.5, 0.9):
            proved = certifier.holds(lower * (1 + share * tol))
            if proved is not None:
                upper = min(upper, proved)
                break
        if upper - lower <= tol * lower:
            return lower, upper
        if tol < 1e-9:  # rounding, not the vector, stands in the way
            break
    width = (upper - lower) / lower if lower > 0 else math.inf
    reason = reason or "the rest is rounding, for which the proof must allow, or a cluster of singular values"
    raise ValueError(
        f"tol={tol:g} cannot be met: the norm lies between {lower * scale:.17g} and "
        f"{upper * scale * (1 + 2 * EPS):.17g}, a relative width of {width:.2g}; {reason}; use a larger tol, or none"
    )


def _cancels(geometry: ConvGeometry, weights: Array) -> bool:
    """Whether the weights cancel on every entry of the matrix, exactly: as +1 and -1 do on a ring of one sample."""
    if estimate(geometry).nonzeros > _MOST_CANCELLING:
        return False
    pattern = geometry.pattern()
    values = weights.reshape(-1)[pattern.weight_index]
    starts = np.flatnonzero(np.r_[True, (np.diff(pattern.rows) != 0) | (np.diff(pattern.cols) != 0)])
    parts = [part for both in (values.real, values.imag) for part in np.split(both, starts[1:])]
    return all(math.fsum(part) == 0 for part in parts)  # fsum rounds once


def _certifier(geometry: ConvGeometry, weights: Array) -> tuple[BlockCertifier | BandCertifier | None, str]:
    """Return what can prove a bound at the least cost, or why there is nothing."""
    work = decomposition_work(geometry, weights)
    if work <= 1e8:
        return BlockCertifier(layer_blocks(geometry, weights)), ""
    entries = estimate(geometry, dtype=weights.dtype)
    if entries.nonzeros <= _MOST_ENTRIES:
        try:
            band = BandCertifier(conv_matrix(weights, geometry))
        except MatrixTooLargeError:
            band = None
        if band is not None and band.work <= min(_MOST_BAND_WORK, work):
            return band, ""
    if work <= _MOST_BLOCK_WORK:
        return BlockCertifier(layer_blocks(geometry, weights)), ""
    return None, f"the proof would need about {work:.1e} multiplications, and {_MOST_BLOCK_WORK:.0e} are tried at most"
