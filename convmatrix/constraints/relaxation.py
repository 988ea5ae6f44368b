"""Linear relaxations of rectifiers, and bounds from multipliers that hold in spite of rounding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from convmatrix.arrays import EPSILON

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convmatrix.constraints.normal_form import NormalForm

    Indices = NDArray[np.int64]
    Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LinearSystem:
    r"""Linear constraints on bounded variables: :math:`r \le A v \le s`, :math:`l \le v \le u`."""

    matrix: Any
    row_lower: Floats
    row_upper: Floats
    lower: Floats
    upper: Floats

    @cached_property
    def moduli(self) -> Floats:
        """The largest modulus of each variable."""
        return np.maximum(np.abs(self.lower), np.abs(self.upper))

    @cached_property
    def transposed(self) -> Any:
        """The transposed matrix."""
        return sparse.csr_array(self.matrix.T)

    def bounds(self, objectives: Floats, multipliers: Floats) -> Floats:
        r"""Return lower bounds of linear functions, from any multipliers of the rows.

        .. math:: c^T v = y^T A v + (c - A^T y)^T v

        Each term is bounded below by the bounds of its row or its variable, with all rounding errors subtracted
        (Neumaier and Shcherbina, Safe bounds in linear and mixed-integer linear programming, 2004). Multipliers of
        the wrong sign for a row with one side count as 0. Objectives (n, k) and multipliers (m, k) are columns.
        """
        y = multipliers
        y = np.where(np.isneginf(self.row_lower)[:, None], np.minimum(y, 0), y)
        y = np.where(np.isposinf(self.row_upper)[:, None], np.maximum(y, 0), y)
        positive, negative = np.maximum(y, 0), np.minimum(y, 0)
        low, high = _finite(self.row_lower), _finite(self.row_upper)
        with np.errstate(over="ignore", invalid="ignore"):
            rest = objectives - self.transposed @ y
            value = low @ positive + high @ negative
            value += self.lower @ np.maximum(rest, 0) + self.upper @ np.minimum(rest, 0)
            # Sums of k terms are within k u / (1 - k u) times the sum of the moduli; twice that is subtracted.
            size, weights = np.abs(y), self.moduli * (np.diff(self.transposed.indptr) + 3)
            residual = (abs(self.matrix) @ weights) @ size + weights @ np.abs(objectives)
            total = np.maximum(np.abs(low), np.abs(high)) @ size + self.moduli @ np.abs(rest)
            error = EPSILON * (residual + (sum(self.matrix.shape) + 4) * total) * 1.01 + 2.0**-1000
            bounds = np.nextafter(value - error, -np.inf)
        return np.where(np.isnan(bounds), -np.inf, bounds)


@dataclass(frozen=True, eq=False)
class Relaxation(LinearSystem):
    r"""Linear constraints that all points of a normal form satisfy.

    Rows are, in this order,

    - the equations;
    - for a rectifier q = max(p, 0) with p >= 0 (active): q - p = 0;
    - for a rectifier whose p has both signs (unstable): q - p >= 0, and then, for all of them, q - s p <= t, a line
      through both ends of the rectifier's interval, rounded upwards.

    ``active`` and ``unstable`` are numbers of rectifiers, and ``state`` is 1 for the former, -1 for the latter, and 0
    for those that are 0. ``slopes`` are the s. The rows of rectifiers begin at ``first_row``. ``owners`` is the
    variable that each row belongs to: what an equation defines, or q.
    """

    active: Indices
    unstable: Indices
    state: Indices
    slopes: Floats
    first_row: int
    owners: Indices


def _finite(bounds: Floats) -> Floats:
    return np.where(np.isinf(bounds), 0, bounds)


def relax(form: NormalForm, lower: Floats, upper: Floats, n: int) -> Relaxation:
    """Return the linear relaxation of the definitions of the first n variables of a normal form, with their bounds."""
    n_equations, n_rectifiers = int(np.searchsorted(form.defines, n)), int(np.searchsorted(form.post, n))
    pre, post = form.pre[:n_rectifiers], form.post[:n_rectifiers]
    state = np.where(lower[pre] >= 0, 1, np.where(upper[pre] > 0, -1, 0))
    active, unstable = np.flatnonzero(state > 0), np.flatnonzero(state < 0)
    p, q = pre[unstable], post[unstable]
    slopes, heights = chords(lower[p], upper[p])
    k = len(unstable)
    pairs = sparse.vstack(
        [
            rows_of([(1.0, post[active]), (-1.0, pre[active])], n),
            rows_of([(1.0, q), (-1.0, p)], n),
            rows_of([(1.0, q), (-slopes, p)], n),
        ],
        format="csr",
    )
    equations = form.equations[:n_equations][:, :n] if n < form.n_variables else form.equations
    nothing = np.full(k, np.inf)
    right, still = form.right[:n_equations], np.zeros(len(active))
    return Relaxation(
        sparse.csr_array(sparse.vstack([equations, pairs], format="csr")),
        np.concatenate([right, still, np.zeros(k), -nothing]),
        np.concatenate([right, still, nothing, heights]),
        lower[:n],
        upper[:n],
        active,
        unstable,
        state,
        slopes,
        n_equations,
        np.concatenate([form.defines[:n_equations], post[active], q, q]),
    )


def chords(lower: Floats, upper: Floats) -> tuple[Floats, Floats]:
    """Return slopes s and heights t with max(p, 0) <= s p + t for all p between bounds of both signs.

    Examples
    --------
    >>> slope, height = chords(np.array([-1.0]), np.array([3.0]))
    >>> slope, np.round(height, 12)
    (array([0.75]), array([0.75]))
    """
    with np.errstate(over="ignore"):
        slopes = upper / (upper - lower)
    up = np.inf
    at_lower = np.nextafter(-slopes * lower, up)
    at_upper = np.nextafter(upper - np.nextafter(slopes * upper, -up), up)
    return slopes, np.maximum(at_lower, at_upper)


def rows_of(terms: Sequence[tuple[float | Floats, Indices]], n: int) -> Any:
    """Return a sparse array with n columns and one entry per row for each term, a factor and the columns."""
    k, width = len(terms[0][1]), len(terms)
    data = np.stack([np.broadcast_to(np.asarray(factor, np.float64), k) for factor, _ in terms], axis=1)
    columns = np.stack([places for _, places in terms], axis=1)
    matrix: Any = sparse.csr_array((data.ravel(), columns.ravel(), np.arange(k + 1) * width), shape=(k, n))
    matrix.sort_indices()
    return matrix
