"""Singular values of an operator by Golub-Kahan-Lanczos bidiagonalisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]


@dataclass(frozen=True)
class Extreme:
    """An approximate singular value.

    Attributes
    ----------
    value : float
        The quotient norm(A v) / norm(v) for `vector`, as computed.
    residual : float
        norm(A^H u - value * v) with u = A v / value. The matrix has a singular value within this distance.
    vector : array
        v, of norm one.
    products : int
        Products with A and with A^H that it took, together.
    """

    value: float
    residual: float
    vector: Array
    products: int


def largest_singular(operator: Any, *, tolerance: float, steps: int, restarts: int, seed: int = 0) -> Extreme:
    """Return the largest singular value of an operator by Lanczos steps with full orthogonalisation, restarted.

    Each cycle keeps as many of the best approximate vectors as a third of its steps (a thick restart), so that clusters
    of large singular values are resolved together. It ends when the residual is below ``tolerance * value``.
    """
    rng = np.random.default_rng(seed)
    n_out, n_in = operator.shape
    steps = min(steps, n_in, n_out)
    start = rng.standard_normal(n_in)
    if operator.dtype.kind == "c":
        start = start + 1j * rng.standard_normal(n_in)
    adjoint = operator.H
    V: Array = (start / np.linalg.norm(start))[:, None]
    AV = np.empty((n_out, 0), dtype=V.dtype)
    products = 0
    best = Extreme(0.0, np.inf, V[:, 0], 0)
    for _ in range(restarts):
        while True:
            image = (operator @ V[:, -1])[:, None]
            products += 1
            AV = np.concatenate([AV, image], axis=1)
            if V.shape[1] >= steps:
                break
            following = adjoint @ image[:, 0]
            products += 1
            length = np.linalg.norm(following)
            for _ in range(2):  # once more, for orthogonality to full precision
                following = following - V @ (V.conj().T @ following)
            remaining = np.linalg.norm(following)
            if remaining <= 1e-12 * length or length == 0:
                break
            V = np.concatenate([V, (following / remaining)[:, None]], axis=1)
        _, sigma, wh = np.linalg.svd(AV, full_matrices=False)
        keep = min(max(steps // 3, 1), len(sigma))
        W = wh[:keep].conj().T
        V, AV = V @ W, AV @ W
        v, image = V[:, 0], AV[:, 0]
        value = float(np.linalg.norm(image))
        if value == 0:
            return Extreme(0.0, 0.0, v, products)
        back = adjoint @ (image / value)
        products += 1
        residual_vector = back - value * v
        best = Extreme(value, float(np.linalg.norm(residual_vector)), v, products)
        if best.residual <= tolerance * value:
            break
        for _ in range(2):
            residual_vector = residual_vector - V @ (V.conj().T @ residual_vector)
        length = np.linalg.norm(residual_vector)
        if length <= 1e-14 * value:
            break
        V = np.concatenate([V, (residual_vector / length)[:, None]], axis=1)
    return best
