"""Matrices that are given as linear operators: what is read of them, by how many products, against their matrices."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from scipy.sparse.linalg import LinearOperator, aslinearoperator

import convmatrix as cm
from convmatrix.structured import (
    circulant_operator,
    displacement_rank,
    doubly_block_toeplitz_operator,
    find_geometry,
    nearest_conv,
    operator_probes,
    recover_kernel,
    structure_violation,
    toeplitz_operator,
)
from convmatrix.structured.layer_probes import column_colours, sampled_pattern
from tests.cases import CASES, for_each, integer_weights
from tests.refusals import refused


class Counted(LinearOperator):
    """A matrix of which only products are known, and counted."""

    def __init__(self, matrix: Any) -> None:
        super().__init__(matrix.dtype, matrix.shape)
        self.matrix, self.products = matrix, 0

    def _matvec(self, x: Any) -> Any:
        self.products += 1
        return self.matrix @ x

    def _matmat(self, X: Any) -> Any:
        self.products += X.shape[1]
        return self.matrix @ X


# --- kernels ----------------------------------------------------------------------------------------------------------


@for_each("name", CASES)
def test_kernel_of_the_operator_of_a_layer(name: str) -> None:
    geometry, weights = CASES[name], integer_weights(CASES[name])
    matrix = cm.conv_matrix(weights, geometry)
    operator = Counted(matrix)
    expected, _ = recover_kernel(matrix, geometry)
    found, residual = recover_kernel(operator, geometry)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)  # integers, or means of them where taps coincide
    assert residual <= 1e-9
    assert operator.products <= geometry.n_in + column_colours(geometry).max() + 1 + 8


@for_each("name", [name for name in CASES if CASES[name].n_in * CASES[name].n_out < 600])
def test_kernel_nearest_to_any_operator(name: str) -> None:
    geometry = CASES[name]
    matrix = np.random.default_rng(0).standard_normal((geometry.n_out, geometry.n_in))
    expected, distance = recover_kernel(matrix, geometry)
    found, residual = recover_kernel(aslinearoperator(matrix), geometry)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert residual == pytest.approx(distance, rel=1e-12)
    np.testing.assert_array_equal(nearest_conv(aslinearoperator(matrix), geometry), found)


@for_each("name", CASES)
def test_columns_of_one_colour_share_no_row(name: str) -> None:
    geometry = CASES[name]
    colours = column_colours(geometry)
    pattern = geometry.pattern()
    entries = {(row, column) for row, column in zip(pattern.rows.tolist(), pattern.cols.tolist(), strict=True)}
    read = [(row, int(colours[column])) for row, column in entries]
    assert len(set(read)) == len(read)


@for_each("name", [name for name in CASES if CASES[name].sharing == "shared"])
def test_sampled_pattern_has_every_weight(name: str) -> None:
    whole, part = CASES[name].pattern(), sampled_pattern(CASES[name])
    assert set(part.weight_index.tolist()) == set(whole.weight_index.tolist())
    columns = set(part.cols.tolist())
    triplets = zip(whole.rows.tolist(), whole.cols.tolist(), whole.weight_index.tolist(), strict=True)
    assert sorted(zip(part.rows.tolist(), part.cols.tolist(), part.weight_index.tolist(), strict=True)) == sorted(
        triplet for triplet in triplets if triplet[1] in columns
    )


def test_number_of_products() -> None:
    """One per input channel and phase with taps; without sharing, one per input channel and tap."""
    rng = np.random.default_rng(0)
    for options, products in (
        ({"padding": "same"}, 3),
        ({"padding": 2, "dilation": 3, "boundary": "replicate"}, 3),
        ({"stride": (2, 3), "padding": "same"}, 3 * 2 * 2),
        ({"sharing": "unshared"}, 3 * 3 * 2),
    ):
        geometry = cm.ConvGeometry((40, 30), (3, 2), in_channels=3, out_channels=2, **options)
        weights = rng.integers(-9, 10, geometry.weight_shape)
        operator = Counted(cm.conv_matrix(weights, geometry))
        found, residual = recover_kernel(operator, geometry)
        np.testing.assert_array_equal(found, weights)
        assert (residual, operator.products) == (0.0, products + 3)  # one of zeros, two random ones


def test_kernel_that_one_entry_does_not_have() -> None:
    geometry = cm.ConvGeometry((12, 10), (3, 3), in_channels=2, out_channels=3, padding="same", boundary="reflect")
    weights = np.random.default_rng(1).integers(-9, 10, geometry.weight_shape)
    matrix = cm.conv_matrix(weights, geometry).tolil()
    for row, column in ((0, 0), (0, 239), (200, 17)):  # inside and outside of the pattern
        changed = matrix.copy()
        changed[row, column] += 1
        expected, distance = recover_kernel(changed.tocsr(), geometry)
        found, residual = recover_kernel(Counted(changed.tocsr()), geometry)
        np.testing.assert_array_equal(found, expected)
        assert residual == distance > 0.5


def test_a_layer_whose_matrix_would_not_fit() -> None:
    geometry = cm.ConvGeometry((2**10, 2**10), (21, 21), padding="same", stride=2)
    kernel = np.random.default_rng(2).standard_normal((21, 21)).astype(np.float32)
    found, residual = recover_kernel(cm.ConvOperator(kernel, geometry, method="fft"), geometry)
    assert residual == 0
    np.testing.assert_allclose(found[0, 0], kernel, rtol=0, atol=1e-4)  # transforms in single precision


@for_each("dtype", ["int8", "int64", "float32", "float64", "complex64", "complex128"])
def test_dtypes(dtype: str) -> None:
    geometry = cm.ConvGeometry((9, 8), (2, 3), in_channels=2, out_channels=2, boundary="circular", padding="full")
    weights = integer_weights(geometry).astype(dtype)
    if weights.dtype.kind == "c":
        weights = weights * (1 + 2j)
    for operator in (cm.ConvOperator(weights, geometry), aslinearoperator(cm.conv_matrix(weights, geometry))):
        found, residual = recover_kernel(operator, geometry)
        np.testing.assert_array_equal(found, weights)
        assert residual == 0
        assert found.dtype == np.result_type(dtype, np.float64)
        assert structure_violation(operator, "toeplitz") is not None


def test_operators_of_all_kinds() -> None:
    kernel, geometry = np.array([[1.0, 2], [3, 4]]), cm.ConvGeometry((6, 5), (2, 2), boundary="circular", padding=1)
    matrix = cm.conv_matrix(kernel, geometry)

    class Products:
        shape, dtype = matrix.shape, None
        matvec = staticmethod(matrix.__matmul__)

    layer = cm.ConvOperator(kernel, geometry)
    for operator in (layer, aslinearoperator(matrix), Products(), layer.T.T):
        np.testing.assert_array_equal(recover_kernel(operator, geometry)[0][0, 0], kernel)
    found, values = find_geometry(Products(), (6, 5), output_shape=(7, 6), largest_kernel=2)
    assert (found.kernel_shape, found.boundary, found.padding) == ((2, 2), geometry.boundary, geometry.padding)
    np.testing.assert_array_equal(values[0, 0], kernel)
    # The adjoint of a convolution is a transposed one.
    back = cm.ConvGeometry(geometry.output_shape, (2, 2), transposed=True, boundary="circular", padding=1)
    np.testing.assert_array_equal(recover_kernel(cm.ConvOperator(kernel, geometry).H, back)[0][0, 0], kernel)


def test_operator_of_dask_slabs() -> None:
    client = pytest.importorskip("distributed").Client
    geometry = cm.ConvGeometry((8, 8), (3, 3), padding="same", boundary="symmetric")
    with client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=None) as running:
        operator = cm.distributed.SlabOperator(integer_weights(geometry), geometry, 16, client=running)
        found, residual = recover_kernel(operator, geometry)
    np.testing.assert_array_equal(found, integer_weights(geometry))
    assert residual == 0


def test_operators_of_pylops() -> None:
    pylops = pytest.importorskip("pylops")
    blur = np.random.default_rng(0).standard_normal((3, 5))
    operator = pylops.signalprocessing.Convolve2D((20, 24), h=blur, offset=(1, 2))
    geometry = cm.ConvGeometry((20, 24), (3, 5), padding="same", flip=True)
    found, residual = recover_kernel(operator, geometry)
    np.testing.assert_allclose(found[0, 0], blur, rtol=0, atol=1e-14)
    assert residual == 0
    assert cm.is_doubly_block_toeplitz(operator, (20, 24))
    assert not cm.is_toeplitz(operator)


# --- structure --------------------------------------------------------------------------------------------------------


def structured_matrix(seed: int, structure: str) -> tuple[Any, dict[str, Any]]:
    """Return a dense matrix of this structure by plain loops, and its sizes."""
    rng = np.random.default_rng(seed)
    axes = int(rng.integers(1, 4))
    rows = rng.integers(1, 5, axes)
    columns = rows if structure == "circulant" else rng.integers(1, 5, axes)
    outs, ins = (int(n) for n in rng.integers(1, 3, 2))
    table = rng.integers(-9, 10, (outs, ins, *(rows + columns - 1)))
    matrix = np.zeros((outs, *rows, ins, *columns), dtype=np.int64)
    for i, j in itertools.product(np.ndindex(outs, *rows), np.ndindex(ins, *columns)):
        lag = np.subtract(i[1:], j[1:])
        matrix[(*i, *j)] = table[(i[0], j[0], *(lag % rows if structure == "circulant" else lag))]
    sizes = {"shape": rows.tolist(), "input_shape": columns.tolist(), "channels": (outs, ins)}
    return matrix.reshape(outs * rows.prod(), -1), sizes


@for_each("structure", ["toeplitz", "circulant"])
@for_each("exact", [True, False])
def test_structure_of_operators(structure: Any, exact: bool) -> None:
    for seed in range(16):
        matrix, sizes = structured_matrix(seed, structure)
        operator = Counted(matrix if exact else matrix / 7)
        assert structure_violation(operator, structure, **sizes) is None, seed
        rng = np.random.default_rng(seed)
        row, column = (int(rng.integers(size)) for size in matrix.shape)
        changed = matrix.copy()
        changed[row, column] += 1
        changed = changed if exact else changed / 7
        expected = structure_violation(changed, structure, **sizes)
        found = structure_violation(Counted(changed), structure, **sizes)
        assert (found is None) == (expected is None), seed
        if found is not None:
            assert found.value == changed[found.row, found.column]
            assert found.expected == changed[found.same_diagonal]
            assert found.value != found.expected
            assert (row, column) in ((found.row, found.column), found.same_diagonal)
            diagonal = [
                np.subtract(np.unravel_index(i, sizes["shape"]), np.unravel_index(j, sizes["input_shape"]))
                for i, j in (
                    (i % np.prod(sizes["shape"]), j % np.prod(sizes["input_shape"]))
                    for i, j in ((found.row, found.column), found.same_diagonal)
                )
            ]
            apart = diagonal[0] - diagonal[1]
            assert not (apart % sizes["shape"] if structure == "circulant" else apart).any()


def test_structure_by_few_products() -> None:
    rng = np.random.default_rng(0)
    for operator, structure, sizes, products in (
        (circulant_operator(rng.standard_normal((40, 30))), "circulant", (40, 30), 1),
        (doubly_block_toeplitz_operator(rng.standard_normal((79, 59)), (40, 30)), "toeplitz", (40, 30), 4),
        (toeplitz_operator(rng.standard_normal(3000)), "toeplitz", None, 2),
        (cm.ConvOperator(rng.standard_normal((5, 5)), (64, 64), padding="same", method="fft"), "toeplitz", (64, 64), 4),
    ):
        counted = Counted(operator)
        assert structure_violation(counted, structure, sizes) is None
        assert counted.products == products + 3
    layer = cm.ConvOperator(rng.standard_normal((3, 2, 3, 3)), (2, 9, 8), padding="same", method="direct")
    counted = Counted(layer)
    assert structure_violation(counted, "toeplitz", (9, 8), channels=(3, 2)) is None
    assert counted.products == 2 * 4 + 3
    counted = Counted(toeplitz_operator(rng.standard_normal(3000)))
    assert not cm.is_circulant(counted)
    assert counted.products < 60  # bisection


def test_entries_of_extreme_size() -> None:
    geometry = cm.ConvGeometry((9, 8), (2, 3), padding="same", boundary="reflect")
    kernel = np.random.default_rng(0).standard_normal((2, 3))
    for scale in (1e-300, 1e-160, 1e140):
        matrix = cm.conv_matrix(scale * kernel, geometry).toarray()
        found, residual = recover_kernel(aslinearoperator(matrix), geometry)
        np.testing.assert_array_equal(found[0, 0], scale * kernel)
        assert residual == 0
        assert structure_violation(aslinearoperator(matrix), "toeplitz", (9, 8)) is not None
        changed = matrix.copy()
        changed[3, 3] *= 1.01
        assert recover_kernel(aslinearoperator(changed), geometry)[0][0, 0, 0, 1] != scale * kernel[0, 1]


def test_tolerance_of_operators() -> None:
    matrix, sizes = structured_matrix(5, "toeplitz")
    noise = np.random.default_rng(0).uniform(-1e-3, 1e-3, matrix.shape)
    for tol, holds in ((1e-4, False), (2e-3, True)):
        assert (structure_violation(aslinearoperator(matrix + noise), "toeplitz", tol=tol, **sizes) is None) == holds
        assert (structure_violation(matrix + noise, "toeplitz", tol=tol, **sizes) is None) == holds
    changed = matrix.astype(float)
    changed[5, 7] += 1e-9  # far above rounding errors
    assert structure_violation(aslinearoperator(changed), "toeplitz", **sizes) is not None


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    geometry = cm.ConvGeometry(6, 3)
    operator = aslinearoperator(np.random.default_rng(0).standard_normal((4, 6)))
    with refused(TypeError, "operator of shape (4, 6) needs the entries; numpy.eye(6)"):
        displacement_rank(operator)
    with refused(ValueError, "matrix is 4 x 6, but the layer's is 5 x 7"):
        recover_kernel(operator, cm.ConvGeometry(7, 3))
    with refused(ValueError, "matrix is 4 x 6, but channels 1 x 1 of levels (3,) and (3,) make 3 x 3"):
        structure_violation(operator, "toeplitz", 3)
    assert not cm.is_circulant(operator)
    for bad in (np.nan, np.inf):
        with refused(ValueError, "products of the operator of shape (4, 6)"):
            recover_kernel(aslinearoperator(np.full((4, 6), bad)), geometry)
    with refused(TypeError, "operator has dtype object"):
        recover_kernel(LinearOperator((4, 6), matvec=lambda x: x[:4], dtype=object), geometry)
    short = LinearOperator((4, 6), matvec=lambda x: x[:4], matmat=lambda X: X[:3], dtype=float)
    with refused(ValueError, "operator of shape (4, 6) multiplies (6, 1) (3, 1) (4, 1)"):
        recover_kernel(short, geometry)
    monkeypatch.setattr(operator_probes, "_MOST_READ", 23)
    with refused(ValueError, "operator has 4 x 6 entries at most 23"):
        recover_kernel(operator, geometry)
    with refused(ValueError, "search 4 x 6 23"):
        find_geometry(operator, 6)
    with refused(ValueError, "products tol=1 4 x 6 23"):
        structure_violation(aslinearoperator(np.arange(24.0).reshape(4, 6) / 100), "toeplitz", tol=1.0)


def test_operators_without_entries() -> None:
    empty = aslinearoperator(np.zeros((0, 3)))
    assert cm.is_toeplitz(empty)
    assert not cm.is_circulant(empty)
