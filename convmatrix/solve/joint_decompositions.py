"""The joint decomposition of a layer and a penalty: common coordinates in which both are diagonal."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from convmatrix.arrays import EPSILON
from convmatrix.matrices import conv_matrix
from convmatrix.solve import decompositions
from convmatrix.solve.decompositions import Decomposition, decompose

if TYPE_CHECKING:
    from convmatrix.arrays import Array
    from convmatrix.solve.penalties import Penalty
    from convmatrix.spectral.blocks import WeightedLayer


def decompose_jointly(layer: WeightedLayer, penalty: Penalty | None) -> Decomposition | None:
    r"""Return a decomposition of a layer, and of the penalty if there is one, or None if it would take too long.

    If a transform diagonalises both :math:`A^H A` (up to blocks of channels) and :math:`L^H L`, the penalty is a number
    per frequency. Otherwise small problems have a dense decomposition.
    """
    if penalty is None:
        return decompose(layer)
    if "dense" not in layer.transform_names:
        found = decompose(layer)
        if found is not None and found.blocks is not None and found.blocks.shape == layer.geometry.input_shape:
            symbol = penalty.symbol(layer, layer.transform_names)
            if symbol is not None:
                return replace(found, penalty=symbol[..., None, None])  # the same for all groups and channels
    n_out, n_in = layer.geometry.n_out, layer.geometry.n_in
    if 8.0 * (n_out + penalty.operator.shape[0]) * n_in**2 > decompositions.MOST_WORK:
        return None
    A = conv_matrix(layer.weights, layer.geometry).toarray()
    return decompose_pair(A, np.asarray(penalty.operator @ np.eye(n_in)))


def decompose_pair(A: Array, L: Array) -> Decomposition:
    r"""Return the generalised singular value decomposition of two dense matrices with the same number of columns.

    The stacked matrix :math:`[A; \beta L] = Q R` is decomposed first, where :math:`\beta` makes both parts equally
    large, then the upper part :math:`Q_A = U c W^H`. The squares of the cosines c and of the sines, the norms of
    :math:`Q_L W`, add up to one. Vectors that neither matrix sees are left out, so that solutions have the least norm.

    References
    ----------
    Golub, Van Loan, Matrix computations, fourth edition, 2013, section 6.1.6. Hansen, Rank-deficient and discrete
    ill-posed problems, SIAM 1998, section 2.1.2.
    """
    sizes = np.linalg.norm(A), np.linalg.norm(L)
    balance = float(sizes[0] / sizes[1]) if sizes[0] > 0 and sizes[1] > 0 else 1.0
    basis, sigma, vh = np.linalg.svd(np.concatenate([A, balance * L]), full_matrices=False)
    rank = int(np.count_nonzero(sigma > EPSILON * max(basis.shape) * sigma.max(initial=0.0)))
    upper, lower = basis[: len(A), :rank], basis[len(A) :, :rank]
    u, cosines, wh = np.linalg.svd(upper, full_matrices=False)
    sines = np.linalg.norm(lower @ wh.conj().T, axis=0)
    sines = np.where(sines > EPSILON * max(basis.shape), sines, 0.0)  # otherwise rounding errors of zero
    back = (vh[:rank].conj().T / sigma[:rank]) @ wh.conj().T
    return Decomposition(
        cosines,
        lambda y: (u.conj().T @ y).T,
        lambda z: u @ z.T,
        lambda z: back @ z.T,
        "dense",
        penalty=(sines / balance) ** 2,
    )
