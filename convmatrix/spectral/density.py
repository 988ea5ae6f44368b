"""The distribution of the singular values of a layer that is too large for a decomposition."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Unpack

import numpy as np

from convmatrix.display.tables import ShownAsTable, Table, facts
from convmatrix.operator import ConvOperator
from convmatrix.options import LayerOptions, integer, takes_layer_options
from convmatrix.progress import report_step, shows_progress
from convmatrix.spectral.blocks import read_layer, single_precision
from convmatrix.spectral.lanczos import layer_norm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from convmatrix.arrays import Array
    from convmatrix.geometry import ConvGeometry
    from convmatrix.progress import Progress

_NORM_TOLERANCE: Final = 1e-4
_NODE_UNITS: Final = 32  # bound on the error of squared singular values, in rounding units of the largest one


@dataclass(frozen=True, eq=False, repr=False)
class SingularValueDensity(ShownAsTable):
    """The distribution of singular values, as estimated by `singular_value_density`.

    Attributes
    ----------
    edges : array of float, shape (bins + 1,)
        Points from 0 to slightly above the largest singular value.
    cumulative : array of float, shape (bins + 1,)
        Share of the singular values that are at most the point.
    error : array of float, shape (bins + 1,)
        Largest error of ``cumulative``: that of the quadrature, which is a bound for each random vector, and three
        standard errors of the mean over the random vectors.
    n_values : int
        Number of singular values, min(n_out, n_in).
    largest, largest_error : float
        The largest one, as by `spectral_norm` with a tolerance of 1e-4, and its estimated absolute error.
    smallest : float
        An upper bound on the smallest one, up to rounding in single precision.
    """

    edges: NDArray[np.float64]
    cumulative: NDArray[np.float64]
    error: NDArray[np.float64]
    n_values: int
    largest: float
    largest_error: float
    smallest: float

    @property
    def counts(self) -> NDArray[np.float64]:
        """Estimated number of singular values between successive edges, zeros in the first one, shape (bins,)."""
        return self.n_values * np.diff(self.cumulative[1:], prepend=0.0)

    def __repr__(self) -> str:
        return (
            f"SingularValueDensity({self.n_values} values, largest {self.largest:.6g}, smallest at most "
            f"{self.smallest:.3g}, {len(self.edges) - 1} bins)"
        )

    def _table(self) -> Table:
        values = {
            "singular values": f"{self.n_values:,}",
            "largest": f"{self.largest:.6g}, estimated error {self.largest_error:.1g}",
            "smallest": f"at most {self.smallest:.3g}",
        }
        for share in (0.25, 0.5, 0.75, 0.9):
            place = int(np.searchsorted(self.cumulative, share))
            below, error = self.cumulative[place], self.error[place]
            values[f"at most {self.edges[place]:.4g}"] = f"{below:.1%} of them, error at most {error:.1%}"
        return facts("Distribution of singular values, estimated", values)


@takes_layer_options()
@shows_progress("singular values")
def singular_value_density(
    kernel: ArrayLike,
    input_shape: int | Sequence[int] | ConvGeometry,
    *,
    bins: int = 40,
    vectors: int = 8,
    steps: int = 80,
    rng: int | np.random.Generator = 0,
    progress: Progress = None,
    **layer: Unpack[LayerOptions],
) -> SingularValueDensity:
    r"""Return the distribution of the singular values of any layer, by stochastic Lanczos quadrature.

    It needs ``2 * vectors * steps`` products with the layer and no matrix. Use `singular_values` if all of them can be
    computed.

    Parameters
    ----------
    kernel, input_shape, **layer
        As for `singular_values`.
    bins : int
        Number of intervals between 0 and the largest singular value.
    vectors : int
        Number of random vectors, at least 2.
    steps : int
        Lanczos steps per vector; the error of the quadrature is of the order of one over them.
    rng : int or Generator
    progress : bool or callable, optional
        As for `convmatrix.progress.reporting`.

    Returns
    -------
    SingularValueDensity

    Notes
    -----
    For a random vector z of norm one, k Lanczos steps with :math:`A A^H` yield a tridiagonal matrix with eigenvalues
    :math:`\theta_i` and weights :math:`w_i`, the squared first components of its eigenvectors: the Gauss quadrature of
    the measure :math:`F_z(x) = \sum_{\sigma_j^2 \le x} |u_j^H z|^2`. By the inequalities of Chebyshev, Markov and
    Stieltjes, :math:`\sum_{i < m} w_i \le F_z(\theta_m^-)` and :math:`F_z(\theta_m) \le \sum_{i \le m} w_i`. The mean
    of :math:`F_z` over random z is the distribution of the singular values; its standard error is estimated from the
    scatter between the vectors. The smaller one of :math:`A A^H` and :math:`A^H A` is used. Vectors are orthogonalised
    in full, in single precision, in which singular values below about 0.002 of the largest one cannot be told from
    zero.

    References
    ----------
    Ubaru, Chen, Saad, Fast estimation of tr(f(A)) via stochastic Lanczos quadrature, SIAM J. Matrix Anal. Appl. 38,
    2017. Golub, Meurant, Matrices, moments and quadrature, 2010, section 3.

    Examples
    --------
    >>> found = singular_value_density([[1, 2], [3, 4]], (60, 60), padding="same", bins=10)
    >>> found.n_values, round(float(found.counts.sum())), round(found.largest, 1)
    (3600, 3600, 10.0)
    """
    bins, vectors = integer("bins", bins, minimum=1), integer("vectors", vectors, minimum=2)
    steps = integer("steps", steps, minimum=2)
    given, scale = read_layer(kernel, input_shape, **layer).scaled()
    n_values = min(given.geometry.n_out, given.geometry.n_in)
    norm = layer_norm(given, _NORM_TOLERANCE)
    edges = np.linspace(0.0, max(norm.value + norm.error, 1e-30) * (1 + 1e-5), bins + 1)
    operator: Any = ConvOperator(single_precision(given.weights), given.geometry)
    if given.geometry.n_out > given.geometry.n_in:
        operator = operator.H
    generator = np.random.default_rng(rng)
    lower, upper, smallest = [], [], math.inf
    for number in range(vectors):
        report_step(number, vectors, "random vectors")
        nodes, weights = _quadrature(operator, steps, generator)
        smallest = min(smallest, math.sqrt(max(nodes[0], 0.0)))
        sums = np.concatenate([[0.0], np.cumsum(weights)])
        rounding = _NODE_UNITS * float(np.finfo(operator.dtype).eps) * nodes[-1]
        # Number of nodes up to each edge, without and with those that may lie on either side of it.
        fewest, most = (np.searchsorted(nodes, edges**2 + shift, side="right") for shift in (-rounding, rounding))
        beyond = 0 if len(nodes) == n_values else 1  # the quadrature is the measure itself
        lower.append(sums[np.maximum(fewest - beyond, 0)])
        upper.append(sums[np.minimum(most + beyond, len(nodes))])
    low, high = np.mean(lower, axis=0), np.mean(upper, axis=0)
    # The measure of each vector may be anywhere between both bounds, so it scatters as the one that scatters more.
    spread = np.maximum(np.std(lower, axis=0, ddof=1), np.std(upper, axis=0, ddof=1)) / math.sqrt(vectors)
    cumulative, error = (low + high) / 2, (high - low) / 2 + 3 * spread
    cumulative[-1], error[-1] = 1.0, 0.0
    return SingularValueDensity(
        edges * scale, cumulative, error, n_values, norm.value * scale, norm.error * scale, smallest * scale
    )


def _quadrature(operator: Any, steps: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return the nodes, in ascending order, and the weights of the Gauss quadrature of a random vector."""
    n = operator.shape[0]
    z = rng.standard_normal(n)
    if operator.dtype.kind == "c":
        z = z + 1j * rng.standard_normal(n)
    V = np.empty((min(steps, n), n), dtype=operator.dtype)
    V[0] = z / np.linalg.norm(z)
    diagonal, couplings = [], []
    adjoint, unit = operator.H, float(np.finfo(operator.dtype).eps)
    for k in range(len(V)):
        image = operator @ (adjoint @ V[k])
        diagonal.append(float(np.vdot(V[k], image).real))
        length = float(np.linalg.norm(image))
        for _ in range(2):
            image -= (V[: k + 1].conj() @ image) @ V[: k + 1]
        beta = float(np.linalg.norm(image))
        if k + 1 == len(V) or beta <= 32 * unit * length:
            break
        couplings.append(beta)
        V[k + 1] = image / beta
    T = np.diag(diagonal) + np.diag(couplings, 1) + np.diag(couplings, -1)
    nodes, vectors = np.linalg.eigh(T)
    return nodes, vectors[0] ** 2
