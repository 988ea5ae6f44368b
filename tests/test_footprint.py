"""Kernels with a footprint: only some of the weights are stored, regardless of their values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse

import convmatrix as cm
from convmatrix import memory
from tests.cases import CASES, dense_entries, for_each, integer_weights
from tests.refusals import refused

CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=bool)


def masks(geometry: cm.ConvGeometry) -> list[np.ndarray[Any, Any]]:
    """Return random masks of the kernel and of all weights, with at least one entry each."""
    rng = np.random.default_rng(0)
    found = [rng.random(shape) < 0.5 for shape in (geometry.kernel_shape, geometry.weight_shape)]
    for mask in found:
        mask[(-1,) * mask.ndim] = True
    return found


def entries_by_loop(geometry: cm.ConvGeometry, mask: Any, weights: Any) -> dict[tuple[int, int], Any]:
    """Return the stored entries of the matrix, from those of each chosen weight, one by one."""
    pattern = geometry.pattern()
    chosen = np.flatnonzero(np.broadcast_to(mask, geometry.weight_shape))
    entries: dict[tuple[int, int], Any] = {}
    for weight in chosen.tolist():
        for place, factor in stored(pattern.tap(weight)).items():
            entries[place] = entries.get(place, 0) + factor * weights.flat[weight]
    return entries


def stored(matrix: Any) -> dict[tuple[int, int], Any]:
    """Return the stored entries of a sparse array, each of which must occur once."""
    coordinates = sparse.coo_array(matrix)
    places = list(zip(coordinates.row.tolist(), coordinates.col.tolist(), strict=True))
    assert len(set(places)) == len(places)
    return dict(zip(places, coordinates.data.tolist(), strict=True))


@for_each("name", [name for name in CASES if dense_entries(CASES[name]) < 1000])
def test_entries(name: str) -> None:
    geometry, weights = CASES[name], integer_weights(CASES[name])
    for mask in masks(geometry):
        expected = entries_by_loop(geometry, mask, weights)
        for kind in ("csr", "csc"):
            matrix = cm.conv_matrix(weights, geometry, footprint=mask, format=kind)
            assert stored(matrix) == expected
            assert matrix.dtype == weights.dtype
        size = cm.estimate(geometry, footprint=mask)
        plain = set(geometry.boundary) <= {"zero", "circular", "reflect", "symmetric", "replicate"}
        if plain and (mask.ndim == len(geometry.kernel_shape) or geometry.sharing == "shared"):
            assert size.nonzeros == len(expected)
        assert size.nonzeros >= len(expected)
        pattern = geometry.pattern().restrict(mask)
        assert pattern.n_weights == np.broadcast_to(mask, geometry.weight_shape).sum()
        assert stored(pattern.matrix(weights[..., mask])) == expected
        middle = geometry.n_out // 2
        slab = cm.conv_matrix(weights, geometry, footprint=mask, rows=(middle, geometry.n_out))
        assert stored(slab) == {(i - middle, j): value for (i, j), value in expected.items() if i >= middle}
        columns = cm.conv_matrix(weights * np.broadcast_to(mask, weights.shape), geometry, order="F").toarray()
        ordered = cm.conv_matrix(weights, geometry, footprint=mask, order="F")
        np.testing.assert_array_equal(ordered.toarray(), columns)
        assert ordered.nnz == len(expected)
        np.testing.assert_array_equal(
            cm.conv_matrix(weights, geometry, footprint=mask, order="F", format="bsr").toarray(), columns
        )


def test_structure_does_not_depend_on_values() -> None:
    laplacian = np.array([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])
    A = cm.conv_matrix(laplacian, (5, 5), padding="same", footprint=CROSS)
    Z = cm.conv_matrix(np.full((3, 3), np.nan) * ~CROSS, (5, 5), padding="same", footprint=CROSS, dtype=float)
    assert A.nnz == Z.nnz == 5 * 25 - 4 * 5
    for matrix in (A, Z):
        assert matrix.has_canonical_format
        assert matrix.indices.dtype == matrix.indptr.dtype == np.int32
    np.testing.assert_array_equal(A.toarray(), cm.conv_matrix(laplacian, (5, 5), padding="same").toarray())
    zeros = cm.conv_matrix(np.zeros((3, 3)), (5, 5), padding="same", footprint=CROSS)
    assert (zeros.nnz, np.abs(zeros.data).max()) == (A.nnz, 0)
    np.testing.assert_array_equal(A.indices, zeros.indices)
    transposed = cm.conv_transpose_matrix(laplacian, (5, 5), padding=1, footprint=CROSS)
    np.testing.assert_array_equal(transposed.toarray(), A.T.toarray())
    assert transposed.nnz == A.nnz
    whole = cm.conv_matrix(laplacian, (5, 5), padding="same", footprint=np.ones((3, 3), dtype=int))
    assert whole.nnz == cm.conv_matrix(laplacian, (5, 5), padding="same").nnz


def test_gradients_of_a_restricted_pattern() -> None:
    geometry = cm.ConvGeometry((4, 5), (3, 3), in_channels=2, out_channels=3, padding="same", boundary="reflect")
    rng = np.random.default_rng(0)
    weights, x, g = rng.integers(-9, 10, (3, 2, 3, 3)), rng.integers(-9, 10, 40), rng.integers(-9, 10, 60)
    whole, part = geometry.pattern(), geometry.pattern().restrict(CROSS)
    assert part.weight_shape == (3, 2, 5)
    assert part.geometry is None
    np.testing.assert_array_equal(part.weight_gradient(x, g), whole.weight_gradient(x, g)[..., CROSS])
    np.testing.assert_array_equal(part.jacobian(x).toarray(), whole.jacobian(x).toarray()[:, np.tile(CROSS.ravel(), 6)])
    np.testing.assert_array_equal(
        part.matrix(weights[..., CROSS]).toarray(), cm.conv_matrix(weights * CROSS, geometry).toarray()
    )
    again = part.restrict([1, 0, 0, 0, 1])
    assert (again.weight_shape, again.n_weights) == ((3, 2, 2), 12)


def test_estimates_without_a_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    n = 10**7
    size = cm.estimate(cm.ConvGeometry((n, n), (3, 3), padding="same"), footprint=CROSS)
    assert size.nonzeros == 5 * n**2 - 4 * n
    assert size.bytes == 16 * size.nonzeros + 8 * (n**2 + 1)
    circular = cm.ConvGeometry((n, n), (3, 3), in_channels=2, out_channels=3, padding="same", boundary="circular")
    assert cm.estimate(circular, footprint=CROSS).nonzeros == 6 * 5 * n**2
    whole = cm.estimate(circular)
    assert cm.estimate(circular, footprint=np.ones((3, 3))) == whole
    monkeypatch.setattr(memory, "_MOST_COMBINATIONS", 0)
    assert cm.estimate(circular, footprint=CROSS) == whole  # an upper bound
    with pytest.raises(cm.MatrixTooLargeError, match="899999640000036"):
        cm.conv_matrix(CROSS.astype(float), (n, n), footprint=CROSS)


def test_refusals() -> None:
    kernel, geometry = np.ones((2, 2, 3, 3)), cm.ConvGeometry((4, 4), (3, 3), in_channels=2, out_channels=2)
    for shape in ((3,), (2, 3), (2, 3, 3, 3), (1, 2, 2, 3, 3), ()):
        with refused(ValueError, f"footprint has shape {shape}, but the weights have (2, 2, 3, 3) kernel's (3, 3)"):
            cm.conv_matrix(kernel, geometry, footprint=np.ones(shape))
    with refused(ValueError, "footprint must hold only True and False"):
        cm.conv_matrix(kernel, geometry, footprint=[[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    with refused(ValueError, "footprint must hold only True and False"):
        cm.conv_matrix(kernel, geometry, footprint=np.full((3, 3), np.nan))
    with refused(ValueError, "footprint of shape (3, 3) has no True entry"):
        geometry.pattern().restrict(np.zeros((3, 3)))
    with refused(ValueError, "footprint has shape (4,) weights (2, 2, 3, 3)"):
        geometry.pattern().restrict(np.ones(4))
    with refused(ValueError, "rows=(0, 1) and footprint exclude each other"):
        cm.estimate(geometry, footprint=CROSS, rows=(0, 1))
    with refused(ValueError, "footprint has shape (5,) weights (9,)"):
        cm.WeightPattern.from_triplets((1, 1), [0], [0], [0], 9).restrict(np.ones(5))
