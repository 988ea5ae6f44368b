r"""The L-curve: the norm of the solution over that of the residual, on logarithmic axes, and its corner.

Hansen, Analysis of discrete ill-posed problems by means of the L-curve, SIAM Review 34(4), 1992; Hansen and O'Leary,
The use of the L-curve in the regularization of discrete ill-posed problems, SIAM J. Sci. Comput. 14(6), 1993.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix.arrays import EPSILON

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_GRID: Final = 200


class NoCornerError(ValueError):
    """Raised if an L-curve is nowhere convex."""


def curvature(squares: Floats, energies: Floats, outside: float, damping: float) -> float:
    r"""Return the curvature of the L-curve at a parameter; it is positive where the curve is convex, as at its corner.

    With :math:`\rho = \|A x - y\|^2`, :math:`\eta = \|L x\|^2` and :math:`\rho' = -\lambda^2 \eta'`, the curvature of
    :math:`(\log \|A x - y\|, \log \|L x\|)` is

    .. math:: 2 \frac{\rho \eta}{|\eta'|} \,
        \frac{\lambda^2 \eta' \rho + 2 \lambda \eta \rho + \lambda^4 \eta \eta'}{(\lambda^4 \eta^2 + \rho^2)^{3/2}}

    (Hansen, The L-curve and its use, in: Computational inverse problems in electrocardiology, WIT Press 2001).
    ``squares`` are those of the generalised singular values (infinite where nothing is penalised), ``energies`` those
    of the coordinates of the data, and ``outside`` is the squared norm of the data that no solution explains.
    """
    with np.errstate(divide="ignore", over="ignore"):
        left = 1 / (1 + squares / damping**2)
        roots = np.sqrt(squares)
        kept = 1 / (roots + damping**2 / roots) ** 2  # f^2 / sigma^2
    rho = float(left**2 @ energies) + outside
    eta = float(kept @ energies)
    slope = -4 / damping * float((left * kept) @ energies)
    if rho <= 0 or eta <= 0 or slope == 0:
        return -math.inf
    numerator = damping**2 * slope * rho + 2 * damping * eta * rho + damping**4 * eta * slope
    return float(2 * rho * eta / abs(slope) * numerator / (damping**4 * eta**2 + rho**2) ** 1.5)


def corner(squares: Floats, energies: Floats, outside: float) -> float:
    """Return the damping of maximum curvature, between the smallest and the largest generalised singular value.

    Raises
    ------
    NoCornerError
        If the curve is nowhere convex.
    """
    energies = energies.ravel()
    values = np.sqrt(squares[np.isfinite(squares) & (squares > 0)])
    high = float(values.max(initial=0.0))
    low = max(float(values.min(initial=math.inf)), 16 * EPSILON * high) if len(values) else 0.0
    if not 0 < low < high:
        raise NoCornerError(
            "the L-curve has no corner: all generalised singular values are equal or zero; use parameter='gcv', or a "
            "number"
        )
    scale = float(energies.sum()) + outside  # the curvature does not depend on it, but squares of squares overflow

    def score(logarithm: float) -> float:
        return -curvature(squares, energies / scale, outside / scale, math.exp(logarithm))

    grid = np.linspace(math.log(low), math.log(high), _GRID)
    scores = [score(logarithm) for logarithm in grid]
    if not np.min(scores) < 0:
        raise NoCornerError(
            f"the L-curve has no corner for lambda from {low:.3g} to {high:.3g} (for the kernel scaled to about one): "
            "it is nowhere convex, as for blurs that are hardly ill-posed; use parameter='gcv', or a number"
        )
    return math.exp(refined_minimum(score, grid, scores, 1e-8))


def refined_minimum(score: Callable[[float], float], grid: Floats, scores: Sequence[float], tolerance: float) -> float:
    """Return where a function is least, searched for between the neighbours of the best point of a grid."""
    from scipy.optimize import minimize_scalar

    best = int(np.argmin(scores))
    bounds = (float(grid[max(best - 1, 0)]), float(grid[min(best + 1, len(grid) - 1)]))
    found: Any = minimize_scalar(score, bounds=bounds, method="bounded", options={"xatol": tolerance})
    return float(found.x) if found.fun <= scores[best] else float(grid[best])


def discrete_corner(residuals: Sequence[float] | Floats, norms: Sequence[float] | Floats) -> int:
    r"""Return the index of the corner of a discrete L-curve, ordered from much regularisation to little.

    A corner at the point j, seen from an earlier point i and from the last one, is where the angle between the two is
    smallest and the curve turns to the right, as an L does if it is passed from its foot to its top.

    References
    ----------
    Castellanos, Gomez, Guerra, The triangle method for finding the corner of the L-curve, Appl. Numer. Math. 43(4),
    2002.

    Raises
    ------
    NoCornerError
        If no angle is below 7 pi / 8, the limit of the triangle method.

    Examples
    --------
    >>> discrete_corner([8, 4, 2, 1, 0.9, 0.8, 0.75], [1, 1.01, 1.02, 1.03, 3, 9, 27])
    3
    """
    points = np.stack([np.log(np.maximum(residuals, 1e-300)), np.log(np.maximum(norms, 1e-300))], axis=1)
    last = points[-1]
    best, smallest = None, 7 * math.pi / 8
    for j in range(1, len(points) - 1):
        arm = last - points[j]
        length = float(np.hypot(*arm))
        if length == 0:
            continue
        before = points[:j] - points[j]  # (earlier points, 2)
        lengths = np.hypot(before[:, 0], before[:, 1])
        # Passed from right to left and then upwards, an L turns to the right: the cross product is negative.
        turns = -before[:, 0] * arm[1] + before[:, 1] * arm[0]
        with np.errstate(divide="ignore", invalid="ignore"):
            angles = np.arccos(np.clip(before @ arm / (lengths * length), -1, 1))
        angles = np.where((turns < 0) & (lengths > 0), angles, np.inf)
        if angles.min() < smallest:
            best, smallest = j, float(angles.min())
    if best is None:
        raise NoCornerError(
            f"the L-curve of {len(points)} points has no corner: no angle is below 7 pi / 8; use parameter='gcv', or a "
            "number"
        )
    return best
