"""The tensor T of a layer against triplets listed one by one, and its contractions against dense sums over them."""

from __future__ import annotations

import copy
import pickle
import re
import sys
from dataclasses import FrozenInstanceError
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import convmatrix as cm
from convmatrix import memory
from tests import reference
from tests.cases import CASES, each_case, for_each, integer_input, integer_weights
from tests.refusals import refused

if TYPE_CHECKING:
    from numpy.typing import NDArray

Geometry = cm.ConvGeometry
Pattern = cm.WeightPattern
Triplet = tuple[int, int, int]


def listed_triplets(geometry: Geometry) -> list[Triplet]:
    """Return (row, column, weight) of every entry of T, by plain loops."""
    return [(row, column, weight) for row, column, weight, _ in reference.triplets(geometry)]


def listed_coefficients(geometry: Geometry) -> NDArray[np.int64]:
    """Return the coefficient of every entry of T, by plain loops."""
    return np.array([factor for *_, factor in reference.triplets(geometry)])


def triplets(pattern: Pattern) -> list[Triplet]:
    return list(zip(pattern.rows.tolist(), pattern.cols.tolist(), pattern.weight_index.tolist(), strict=True))


def dense(pattern: Pattern) -> NDArray[np.int64]:
    """Return T as a dense array, (n_out, n_in, n_weights)."""
    T = np.zeros((*pattern.shape, pattern.n_weights), dtype=np.int64)
    np.add.at(T, (pattern.rows, pattern.cols, pattern.weight_index), 1)
    return T


def some_pattern() -> Pattern:
    """Return a pattern in which weights share entries, a row is empty, and one triplet occurs twice."""
    return Pattern.from_triplets(
        (4, 5),
        rows=[3, 0, 0, 1, 1, 1, 3, 0],
        cols=[4, 2, 0, 1, 1, 1, 0, 2],
        weight_index=[5, 3, 1, 2, 0, 2, 4, 0],
        weight_shape=(2, 3),
    )


# --- the triplets -----------------------------------------------------------------------------------------------------


@each_case
def test_triplets_are_those_of_direct_loops(geometry: Geometry) -> None:
    pattern = geometry.pattern()
    expected = listed_triplets(geometry)
    assert triplets(pattern) == expected
    assert pattern.n_entries == len(expected)
    factors = listed_coefficients(geometry)
    if (factors == 1).all():
        assert pattern.coefficients is None
    else:
        assert pattern.coefficients is not None
        assert pattern.coefficients.dtype == np.int64
        assert pattern.coefficients.tolist() == factors.tolist()
    assert pattern.shape == (geometry.n_out, geometry.n_in)
    assert (pattern.weight_shape, pattern.n_weights) == (geometry.weight_shape, geometry.n_weights)
    counts = np.bincount([row for row, _, _ in expected], minlength=geometry.n_out)
    assert pattern.row_starts.tolist() == [0, *np.cumsum(counts).tolist()]
    assert pattern.geometry == geometry
    assert pattern.cols.dtype == pattern.row_starts.dtype == pattern.weight_index.dtype == np.int32


def test_it_shows_its_shapes() -> None:
    assert repr(some_pattern()) == "WeightPattern(shape=(4, 5), weight_shape=(2, 3), n_entries=8)"


def test_arrays_are_read_only() -> None:
    for pattern in (some_pattern(), Geometry(5, 3, padding="same", boundary="reflect").pattern()):
        for array in (pattern.row_starts, pattern.cols, pattern.weight_index, pattern.rows):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0
            with pytest.raises(ValueError, match="read-only"):
                array += 1
        A = pattern.matrix(np.ones(pattern.n_weights))
        for array in (A.indices, A.indptr):  # the pattern's own, or merged once for all matrices
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0
        A.data[:] = 99  # the values are the matrix's
        assert pattern.matrix(np.ones(pattern.n_weights)).data.max() <= 3


def test_fields_cannot_be_assigned() -> None:
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'cols'"):
        some_pattern().cols = np.zeros(8, dtype=np.int32)  # type: ignore[misc]


@for_each("geometry", [CASES["2d LeNet-5 C3"], CASES["2d reflect"]], ids=["plain", "merged"])
def test_copies_have_the_same_triplets(geometry: Geometry) -> None:
    pattern = geometry.pattern()
    pattern.matrix(integer_weights(geometry))  # what is merged once for all matrices is copied too
    pickled = [pickle.loads(pickle.dumps(pattern, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    for twin in (copy.copy(pattern), copy.deepcopy(pattern), *pickled):
        assert triplets(twin) == triplets(pattern)
        assert not any(array.flags.writeable for array in (twin.row_starts, twin.cols, twin.weight_index))
        assert twin.geometry == geometry
        weights = integer_weights(geometry)
        assert (twin.matrix(weights) != pattern.matrix(weights)).nnz == 0


def test_the_constructor_leaves_the_arrays_of_the_caller_alone() -> None:
    whole = some_pattern()
    arrays = [array.copy() for array in (whole.row_starts, whole.cols, whole.weight_index)]
    pattern = cm.WeightPattern(whole.shape, whole.weight_shape, *arrays)
    for array in arrays:
        array[...] = 0
    assert triplets(pattern) == triplets(whole)


def test_patterns_compare_by_identity() -> None:
    pattern = some_pattern()
    assert pattern == pattern
    assert pattern != some_pattern()
    assert len({pattern, pattern, some_pattern()}) == 2


# --- from triplets ----------------------------------------------------------------------------------------------------


def test_triplets_may_come_in_any_order() -> None:
    expected = sorted([(3, 4, 5), (0, 2, 3), (0, 0, 1), (1, 1, 2), (1, 1, 0), (1, 1, 2), (3, 0, 4), (0, 2, 0)])
    assert triplets(some_pattern()) == expected
    assert some_pattern().row_starts.tolist() == [0, 3, 6, 6, 8]
    assert some_pattern().geometry is None


def test_triplets_that_occur_twice_count_twice() -> None:
    pattern = some_pattern()
    weights = np.array([[1, 10, 100], [1000, 10_000, 100_000]])
    assert pattern.matrix(weights).toarray().tolist() == [
        [10, 0, 1001, 0, 0],
        [0, 201, 0, 0, 0],
        [0, 0, 0, 0, 0],
        [10_000, 0, 0, 0, 100_000],
    ]
    assert pattern.tap(2).toarray()[1].tolist() == [0, 2, 0, 0, 0]
    assert pattern.tap((0, 2)).nnz == 1
    assert pattern.jacobian(np.arange(5)).toarray()[1].tolist() == [1, 0, 2, 0, 0, 0]
    assert pattern.weight_gradient(np.arange(5), [1, 1, 1, 1]).tolist() == [[3, 0, 2], [2, 0, 4]]


@each_case
def test_a_shuffled_pattern_is_the_same(geometry: Geometry) -> None:
    pattern = geometry.pattern()
    order = np.random.default_rng(1).permutation(pattern.n_entries)
    again = Pattern.from_triplets(
        pattern.shape, pattern.rows[order], pattern.cols[order], pattern.weight_index[order], pattern.weight_shape
    )
    for name in ("row_starts", "cols", "weight_index"):
        np.testing.assert_array_equal(getattr(again, name), getattr(pattern, name))
        assert getattr(again, name).dtype == getattr(pattern, name).dtype


def test_triplets_are_copied() -> None:
    rows = np.array([0, 1], dtype=np.int32)
    pattern = Pattern.from_triplets((2, 2), rows, rows, rows, 2)
    rows[:] = 1
    assert triplets(pattern) == [(0, 0, 0), (1, 1, 1)]
    assert rows.flags.writeable


@for_each("dtype", [np.int8, np.uint8, np.int64, np.uint64])
def test_triplets_of_any_integer_type(dtype: type[np.integer]) -> None:
    places = np.array([2, 0, 1], dtype=dtype)
    pattern = Pattern.from_triplets((3, 3), places, places, places, 3)
    assert triplets(pattern) == [(0, 0, 0), (1, 1, 1), (2, 2, 2)]


def test_a_pattern_without_triplets() -> None:
    pattern = Pattern.from_triplets((2, 3), [], [], [], (1, 2))
    assert pattern.n_entries == 0
    assert pattern.matrix([1.0, 2.0]).nnz == 0
    assert pattern.matrix([1.0, 2.0]).shape == (2, 3)
    assert pattern.jacobian(np.ones(3)).nnz == 0
    assert pattern.tap(1).nnz == 0
    assert pattern.weight_gradient(np.ones(3), np.ones(2)).tolist() == [[0.0, 0.0]]


def index_types(pattern: Pattern) -> list[str]:
    return [array.dtype.name for array in (pattern.row_starts, pattern.cols, pattern.weight_index)]


def test_index_types_of_triplets() -> None:
    wide = Pattern.from_triplets((1, 2**31), [0], [2**31 - 1], [0], 1)
    assert index_types(wide) == ["int64", "int64", "int32"]
    assert wide.matrix([5]).indices.dtype == np.int64
    assert wide.matrix([5]).indices.tolist() == [2**31 - 1]
    narrow = Pattern.from_triplets((1, 2**31 - 1), [0], [2**31 - 2], [0], 1)
    assert index_types(narrow) == ["int32", "int32", "int32"]
    assert narrow.matrix([5]).indices.dtype == np.int32
    many = Pattern.from_triplets((1, 1), [0], [0], [2**31], 2**31 + 1)
    assert index_types(many) == ["int32", "int32", "int64"]
    assert many.jacobian([3]).indices.tolist() == [2**31]


@for_each(
    ("name", "values", "message"),
    [
        ("rows", [0, 2], "rows runs from 0 to 2, but must lie in 0 .. 1 (shape=(2, 3), weight_shape=(4,))"),
        ("rows", [-1, 1], "rows runs from -1 to 1, but must lie in 0 .. 1 (shape=(2, 3), weight_shape=(4,))"),
        ("cols", [0, 3], "cols runs from 0 to 3, but must lie in 0 .. 2 (shape=(2, 3), weight_shape=(4,))"),
        (
            "weight_index",
            [4, 4],
            "weight_index runs from 4 to 4, but must lie in 0 .. 3 (shape=(2, 3), weight_shape=(4,))",
        ),
        ("rows", [0.0, 1.0], "rows must be one-dimensional integers, but has shape (2,), float64"),
        ("cols", [[0, 1]], "cols must be one-dimensional integers, but has shape (1, 2), int64"),
        ("weight_index", 0, "weight_index must be one-dimensional integers, but has shape (), int64"),
        ("rows", [True, False], "rows must be one-dimensional integers, but has shape (2,), bool"),
        ("rows", [0], "triplets need arrays of one length, but got {'rows': 1, 'cols': 2, 'weight_index': 2}"),
        ("cols", [], "triplets need arrays of one length, but got {'rows': 2, 'cols': 0, 'weight_index': 2}"),
    ],
)
def test_triplets_that_are_refused(name: str, values: Any, message: str) -> None:
    arrays: dict[str, Any] = {"rows": [0, 1], "cols": [0, 1], "weight_index": [0, 1]} | {name: values}
    with refused(ValueError, message):
        Pattern.from_triplets((2, 3), **arrays, weight_shape=4)


# --- the contractions -------------------------------------------------------------------------------------------------


def random_values(rng: np.random.Generator, shape: Any, dtype: Any) -> NDArray[Any]:
    """Return small whole numbers of any dtype, so that sums are exact in all of them."""
    values = rng.integers(-9, 10, shape)
    if np.dtype(dtype).kind == "c":
        return np.array(values + 1j * rng.integers(-9, 10, shape), dtype=dtype)
    return np.array(values, dtype=dtype)


def add_up(shape: int | tuple[int, int], places: Any, values: NDArray[Any]) -> NDArray[Any]:
    """Return an array of sums of the values that belong to each place."""
    total = np.zeros(shape, dtype=values.dtype)
    np.add.at(total, places, values)
    return total


def check_contractions(geometry: Geometry, dtype: Any) -> None:
    rng = np.random.default_rng(geometry.n_weights)
    pattern = geometry.pattern()
    rows, cols, weight_index = np.array(listed_triplets(geometry)).T
    factors = listed_coefficients(geometry)
    weights = random_values(rng, geometry.weight_shape, dtype)
    x, g = random_values(rng, geometry.n_in, dtype), random_values(rng, geometry.n_out, dtype)
    matrix = pattern.matrix(weights)
    assert matrix.dtype == dtype
    np.testing.assert_array_equal(
        matrix.toarray(), add_up(pattern.shape, (rows, cols), weights.ravel()[weight_index] * factors.astype(dtype))
    )
    jacobian = pattern.jacobian(x)
    assert jacobian.dtype == dtype
    shape = (geometry.n_out, geometry.n_weights)
    np.testing.assert_array_equal(
        jacobian.toarray(), add_up(shape, (rows, weight_index), x[cols] * factors.astype(dtype))
    )
    gradient = pattern.weight_gradient(x, g)
    assert gradient.dtype == dtype
    assert gradient.shape == geometry.weight_shape
    expected = add_up(geometry.n_weights, weight_index, x[cols] * g[rows] * factors.astype(dtype))
    np.testing.assert_array_equal(gradient.ravel(), expected)


@each_case
def test_contractions_are_dense_sums(geometry: Geometry) -> None:
    check_contractions(geometry, np.int64)
    check_contractions(geometry, np.complex128)


@for_each("dtype", [np.float32, np.float64, np.complex64])
@for_each("name", ["1d stride", "2d groups", "2d reflect", "2d unshared", "transposed 2d"])
def test_contractions_keep_the_dtype(name: str, dtype: Any) -> None:
    check_contractions(CASES[name], dtype)


def test_contractions_of_a_pattern_that_is_no_layer() -> None:
    pattern = some_pattern()
    T = dense(pattern)
    assert T.max() == 2
    rng = np.random.default_rng(4)
    weights, x, g = rng.integers(-9, 10, (2, 3)), rng.integers(-9, 10, 5), rng.integers(-9, 10, 4)
    np.testing.assert_array_equal(pattern.matrix(weights).toarray(), T @ weights.ravel())
    np.testing.assert_array_equal(pattern.jacobian(x).toarray(), np.einsum("ijk,j->ik", T, x))
    np.testing.assert_array_equal(pattern.weight_gradient(x, g).ravel(), np.einsum("ijk,j,i->k", T, x, g))
    for k in range(6):
        np.testing.assert_array_equal(pattern.tap(k).toarray(), T[:, :, k])
        np.testing.assert_array_equal(pattern.tap(divmod(k, 3)).toarray(), T[:, :, k])


@for_each("dtype", [">i8", ">f8", ">c16"])
def test_weights_of_the_other_byte_order(dtype: str) -> None:
    pattern = Geometry(4, 2).pattern()
    A = pattern.matrix(np.array([1, 2], dtype=dtype))
    assert A.dtype.isnative
    assert A.toarray().tolist() == [[1, 2, 0, 0], [0, 1, 2, 0], [0, 0, 1, 2]]
    gradient = pattern.weight_gradient(np.arange(4).astype(dtype), np.ones(3, dtype=dtype))
    assert gradient.tolist() == [[[3, 6]]]


def test_gradients_of_mixed_dtypes() -> None:
    pattern = Geometry(4, 2).pattern()
    assert pattern.weight_gradient([1, 2, 3, 4], [0.5, 0.0, 0.0]).tolist() == [[[0.5, 1.0]]]
    mixed = pattern.weight_gradient([1.0, 2.0, 3.0, 4.0], [1j, 0, 0])
    assert mixed.dtype == np.complex128
    assert mixed.tolist() == [[[1j, 2j]]]
    assert pattern.weight_gradient(np.ones(4, np.float32), np.ones(3, np.float64)).dtype == np.float64


@for_each("batch", [0, 1, 2, 7])
@for_each("name", ["1d", "2d reflect", "transposed 2d", "2d connection table"])
@for_each("dtype", [np.int64, np.complex128])
def test_the_gradient_of_a_batch_is_a_sum(name: str, batch: int, dtype: Any) -> None:
    geometry = CASES[name]
    pattern = geometry.pattern()
    rng = np.random.default_rng(batch)
    x, g = random_values(rng, (geometry.n_in, batch), dtype), random_values(rng, (geometry.n_out, batch), dtype)
    expected = np.zeros(geometry.weight_shape, dtype=dtype)
    for sample, cotangent in zip(x.T, g.T, strict=True):
        expected += pattern.weight_gradient(sample, cotangent)
    gradient = pattern.weight_gradient(x, g)
    assert (gradient.dtype, gradient.shape) == (dtype, geometry.weight_shape)
    np.testing.assert_array_equal(gradient, expected)


def test_batches_of_another_size() -> None:
    pattern = Geometry(4, 2).pattern()
    with refused(ValueError, "x is a batch of (2,), but gradient one of (3,); give as many columns"):
        pattern.weight_gradient(np.ones((4, 2)), np.ones((3, 3)))
    with refused(ValueError, "x is a batch of (2,), but gradient one of (); give as many columns"):
        pattern.weight_gradient(np.ones((4, 2)), np.ones(3))
    with refused(ValueError, "x has 10 entries (shape (5, 2)), but the layer needs 4"):
        pattern.weight_gradient(np.ones((5, 2)), np.ones((3, 2)))


def test_arrays_of_any_shape_are_read_in_c_order() -> None:
    geometry = Geometry((3, 4), (2, 2), in_channels=2)
    pattern = geometry.pattern()
    rng = np.random.default_rng(5)
    x, g = rng.integers(-9, 10, (2, 3, 4)), rng.integers(-9, 10, (1, 2, 3))
    expected = pattern.weight_gradient(x.ravel(), g.ravel())
    np.testing.assert_array_equal(pattern.weight_gradient(x, g), expected)
    np.testing.assert_array_equal(pattern.weight_gradient(np.asfortranarray(x), g), expected)
    np.testing.assert_array_equal(pattern.jacobian(x[::-1]).toarray(), pattern.jacobian(x[::-1].ravel()).toarray())


def test_integers_are_exact_beyond_2_53() -> None:
    geometry = Geometry(3, 2, padding="same", boundary="circular")
    pattern = geometry.pattern()
    big = 2**53 + 1
    assert float(big) != big
    assert pattern.matrix([big, 1]).toarray()[0].tolist() == [big, 1, 0]
    wrapped = Geometry(1, 2, padding="same", boundary="circular").pattern()
    assert wrapped.matrix([big, 2]).toarray().tolist() == [[big + 2]]
    assert wrapped.values(np.array([big, 2])).tolist() == [big + 2]
    assert pattern.jacobian([big, 0, 3]).toarray()[0].tolist() == [big, 0]
    assert pattern.weight_gradient([big, 0, 3], [1, 0, 1]).tolist() == [[[big + 3, big]]]
    assert pattern.weight_gradient([2**31, 0, 0], [2**31, 0, 0]).tolist() == [[[2**62, 0]]]


@for_each("dtype", [np.int8, np.uint8, np.int16, np.int32, np.uint64, np.float32, np.complex64])
def test_a_matrix_has_the_dtype_of_its_weights(dtype: Any) -> None:
    for geometry in (Geometry(3, 2), Geometry(1, 2, padding="same", boundary="circular")):
        pattern = geometry.pattern()
        weights = np.array([50, 70], dtype=dtype)
        assert pattern.matrix(weights).dtype == pattern.values(weights).dtype == dtype
        np.testing.assert_array_equal(pattern.matrix(weights).toarray(), dense(pattern) @ weights)


@each_case
def test_weights_of_zero_keep_their_entries(geometry: Geometry) -> None:
    pattern = geometry.pattern()
    ones = pattern.matrix(np.ones(geometry.n_weights, dtype=int))
    for weights in (np.zeros(geometry.weight_shape), np.eye(1, geometry.n_weights, dtype=complex)[0]):
        A = pattern.matrix(weights)
        assert A.has_canonical_format
        assert A.nnz == ones.nnz == len({(row, column) for row, column, _ in listed_triplets(geometry)})
        np.testing.assert_array_equal(A.indices, ones.indices)
        np.testing.assert_array_equal(A.indptr, ones.indptr)
    zero = pattern.jacobian(np.zeros(geometry.n_in))
    full = pattern.jacobian(np.ones(geometry.n_in))
    assert zero.nnz == full.nnz == len({(row, weight) for row, _, weight in triplets(pattern)})
    np.testing.assert_array_equal(zero.indices, full.indices)


@for_each("geometry", [Geometry((4, 5), (3, 3)), CASES["2d reflect"], CASES["one sample, replicate"]])
@for_each("dtype", [np.int64, np.float32, np.complex128])
def test_values_go_into_a_matrix_that_exists(geometry: Geometry, dtype: Any) -> None:
    pattern = geometry.pattern()
    first, second = (integer_weights(geometry, seed).astype(dtype) for seed in (0, 1))
    A = pattern.matrix(first)
    data = A.data
    assert pattern.values(second, out=A.data) is data
    np.testing.assert_array_equal(A.toarray(), pattern.matrix(second).toarray())
    assert not np.array_equal(A.toarray(), pattern.matrix(first).toarray())
    fresh = pattern.values(second)
    assert fresh is not data
    np.testing.assert_array_equal(fresh, data)
    assert fresh.dtype == dtype
    fresh[:] = 0  # and it is nobody else's
    np.testing.assert_array_equal(pattern.values(second), data)


def test_values_into_a_view_with_gaps() -> None:
    pattern = Geometry(4, 2, padding="full", boundary="replicate").pattern()
    n = pattern.matrix([1, 2]).nnz
    space = np.full(2 * n, -1)
    pattern.values([1, 2], out=space[::2])
    np.testing.assert_array_equal(space[::2], pattern.matrix([1, 2]).data)
    assert (space[1::2] == -1).all()


@for_each(
    ("out", "shown"),
    [
        (np.zeros(7), "shape (7,) and dtype float64"),
        (np.zeros(6, dtype=np.float32), "shape (6,) and dtype float32"),
        (np.zeros((6, 1)), "shape (6, 1) and dtype float64"),
    ],
)
def test_values_into_an_array_that_does_not_fit(out: NDArray[Any], shown: str) -> None:
    with refused(ValueError, f"out has {shown}, but the values have (6,) and float64"):
        Geometry(4, 2).pattern().values([1.0, 2.0], out=out)


def test_values_into_an_array_that_cannot_be_written() -> None:
    out = np.zeros(6)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        Geometry(4, 2).pattern().values([1.0, 2.0], out=out)


@for_each("format", ["csr", "csc", "coo", "dia", "bsr"])
@for_each("name", ["1d", "2d reflect", "2d unshared", "1d zero, rows without taps"])
def test_formats(name: str, format: str) -> None:
    geometry = CASES[name]
    pattern = geometry.pattern()
    weights, x = integer_weights(geometry), integer_input(geometry)
    for of_format, plain in (
        (pattern.matrix(weights, format=format), pattern.matrix(weights)),
        (pattern.jacobian(x, format=format), pattern.jacobian(x)),
    ):
        assert of_format.format == format
        assert of_format.dtype == plain.dtype
        np.testing.assert_array_equal(of_format.toarray(), plain.toarray())
        if format != "dia":  # which holds whole diagonals
            assert of_format.nnz == plain.nnz


def test_unknown_format() -> None:
    pattern = Geometry(4, 2).pattern()
    with refused(ValueError, "format 'lil' is unknown; choose one of csr, csc, coo, dia, bsr"):
        pattern.matrix([1, 2], format="lil")
    with refused(ValueError, "format 'lil' is unknown; choose one of csr, csc, coo, dia, bsr"):
        pattern.jacobian([1] * 4, format="lil")


# --- many entries -----------------------------------------------------------------------------------------------------


@for_each("dtype", [np.int64, np.float64, np.complex128, np.float32])
def test_weight_gradients_of_more_than_a_million_entries(dtype: Any) -> None:
    """The products are summed in blocks; whole numbers below 2**24 are exact whatever the order."""
    n, k = 350_000, 3
    geometry = Geometry(n, k, padding=1, boundary="circular")
    pattern = geometry.pattern()
    assert pattern.n_entries == n * k > 2**20
    assert pattern.n_entries % 2**20
    rng = np.random.default_rng(6)
    x, g = random_values(rng, n, dtype), random_values(rng, n, dtype)
    expected = [np.dot(np.roll(x, 1 - t).astype(complex), g.astype(complex)) for t in range(k)]
    np.testing.assert_array_equal(pattern.weight_gradient(x, g).ravel(), expected)


def test_a_gradient_of_whole_blocks() -> None:
    n = 2**20
    pattern = Geometry(n, 2, padding=[(0, 1)], boundary="circular").pattern()
    assert pattern.n_entries == 2 * n
    x = np.zeros(n, dtype=np.int64)
    g = np.arange(n)
    x[[0, 1, n // 2, n - 1]] = 1, 10, 100, 1000
    expected = [int(x @ g), int(np.roll(x, -1) @ g)]
    assert pattern.weight_gradient(x, g).ravel().tolist() == expected


def test_a_batch_of_more_than_a_million_products() -> None:
    geometry = Geometry((64, 64), (3, 3), padding="same", boundary="circular")
    pattern = geometry.pattern()
    batch = 50
    assert pattern.n_entries * batch > 2**20 > pattern.n_entries
    rng = np.random.default_rng(6)
    x, g = rng.integers(-9, 10, (geometry.n_in, batch)), rng.integers(-9, 10, (geometry.n_out, batch))
    images = x.reshape(64, 64, batch)
    expected = [
        int(np.vdot(np.roll(images, (1 - y, 1 - z), (0, 1)).reshape(-1, batch), g)) for y in range(3) for z in range(3)
    ]
    assert pattern.weight_gradient(x, g).ravel().tolist() == expected


# --- single weights ---------------------------------------------------------------------------------------------------


@each_case
def test_a_tap_is_where_its_weight_sits(geometry: Geometry) -> None:
    pattern = geometry.pattern()
    listed = listed_triplets(geometry)
    for k in {0, geometry.n_weights // 2, geometry.n_weights - 1}:
        expected = [(row, column) for row, column, weight in listed if weight == k]
        factors = [factor for *_, weight, factor in reference.triplets(geometry) if weight == k]
        multi = tuple(int(i) for i in np.unravel_index(k, geometry.weight_shape))
        forms: list[Any] = [k, np.int64(k), multi, np.array(multi)]
        for P in map(pattern.tap, forms):
            assert (P.format, P.shape, P.dtype) == ("csr", pattern.shape, np.int64)
            found = P.tocoo()
            assert list(zip(found.row.tolist(), found.col.tolist(), strict=True)) == expected
            assert P.data.tolist() == factors
            P.data[:] = 0  # and it is the caller's
            P.indices[:] = 0
    assert triplets(pattern) == listed


@for_each(
    "weight",
    [-1, 6, 10**30, 1.0, "0", None, (0, 3), (2, 0), (0, -1), (0,), (0, 0, 0), (), (0.0, 1.0), [0, 3]],
    ids=repr,
)
def test_weights_that_do_not_exist(weight: Any) -> None:
    with refused(
        IndexError,
        f"weight {weight!r} does not exist; give a flat index below 6, or one into weight_shape=(2, 3)",
    ):
        some_pattern().tap(weight)


# --- weights and vectors as they are handed in ------------------------------------------------------------------------


def test_weights_may_come_flat_or_without_leading_axes_of_one() -> None:
    geometry = Geometry((4, 4), (2, 3))
    pattern = geometry.pattern()
    weights = np.arange(6)
    expected = pattern.matrix(weights.reshape(1, 1, 2, 3)).toarray()
    for given in (
        weights,
        weights.tolist(),
        weights.reshape(2, 3),
        weights.reshape(1, 2, 3),
        weights.reshape(2, 3).tolist(),
    ):
        np.testing.assert_array_equal(pattern.matrix(given).toarray(), expected)
    two = Geometry(4, 2, out_channels=2).pattern()
    with pytest.raises(ValueError, match=r"^weights have shape \(2, 2\), but the layer's weights have \(2, 1, 2\)"):
        two.matrix([[1, 2], [3, 4]])  # an axis of one that does not lead


def test_a_full_kernel_for_a_connection_table() -> None:
    table = [[True, False, True], [False, True, False]]
    geometry = Geometry((3, 3), (2, 2), in_channels=3, out_channels=2, connections=table)
    pattern = geometry.pattern()
    full = np.arange(1, 25).reshape(2, 3, 2, 2)
    connected = full[np.array(table)]
    np.testing.assert_array_equal(pattern.matrix(full).toarray(), pattern.matrix(connected).toarray())
    spread = np.where(np.array(table)[:, :, None, None], full, 0)
    plain = Geometry((3, 3), (2, 2), in_channels=3, out_channels=2).pattern().matrix(spread)
    np.testing.assert_array_equal(pattern.matrix(full).toarray(), plain.toarray())


@for_each(
    ("geometry", "weights", "message"),
    [
        (
            Geometry(5, 3),
            [1, 2],
            "weights have shape (2,), but the layer's weights have (1, 1, 3), which is 3 in all; reshape them to that",
        ),
        (
            Geometry(5, 3, in_channels=2),
            np.ones((2, 1, 3)),
            "weights have shape (2, 1, 3), but the layer's weights have (1, 2, 3), which is 6 in all; "
            "reshape them to that",
        ),
        (
            Geometry(5, 3, in_channels=2, connections=[[1, 0]]),
            np.ones((2, 2, 3)),
            "weights have shape (2, 2, 3), but the layer's weights have (1, 3) (or, as a full kernel, (1, 2, 3)), "
            "which is 3 in all; reshape them to that",
        ),
        (
            Geometry(5, 3, in_channels=2, connections=[[1, 0]], sharing=2),
            np.ones((1, 2, 3)),
            "weights have shape (1, 2, 3), but the layer's weights have (2, 1, 3), which is 6 in all; "
            "reshape them to that",
        ),
    ],
    ids=["too few", "wrong order", "connections", "tiled connections"],
)
def test_weights_of_a_wrong_shape(geometry: Geometry, weights: Any, message: str) -> None:
    pattern = geometry.pattern()
    for contract in (pattern.matrix, pattern.values):
        with refused(ValueError, message):
            contract(weights)


@for_each("dtype", [np.float16, bool, object, "U1", "M8[s]"])
def test_weights_of_a_wrong_dtype(dtype: Any) -> None:
    weights = np.array([1, 0, 1]).astype(dtype)
    with refused(
        TypeError,
        f"weights have dtype {weights.dtype}, which sparse matrices do not compute with; convert them, for instance "
        "with weights.astype(float) or dtype=float",
    ):
        Geometry(5, 3).pattern().matrix(weights)


def test_vectors_of_a_wrong_size() -> None:
    pattern = Geometry((3, 4), (2, 2)).pattern()
    with refused(ValueError, "x has 10 entries (shape (2, 5)), but the layer needs 12"):
        pattern.jacobian(np.ones((2, 5)))
    with refused(ValueError, "x has 13 entries (shape (13,)), but the layer needs 12"):
        pattern.weight_gradient(np.ones(13), np.ones(6))
    with refused(ValueError, "gradient has 12 entries (shape (3, 4)), but the layer needs 6"):
        pattern.weight_gradient(np.ones(12), np.ones((3, 4)))


def test_a_pattern_that_does_not_fit_in_memory() -> None:
    geometry = Geometry((10**6, 10**6), (3, 3), padding="same")
    entries = (3 * 10**6 - 2) ** 2
    bytes_needed = entries * (8 + 4) + (10**12 + 1) * 8
    with pytest.raises(
        cm.MatrixTooLargeError,
        match=re.escape(
            f"the pattern of {geometry!r} with {entries} entries needs {memory.in_words(bytes_needed)}, but "
        )
        + r"[\d.]+ [kMGT]?B of memory are available; "
        + re.escape("use ConvOperator, which forms no matrix, or conv_matrix with rows= for a slab"),
    ):
        geometry.pattern()


def test_rows_are_made_when_first_asked_for() -> None:
    pattern = Geometry(1000, 3).pattern()
    assert "rows" not in vars(pattern)
    assert pattern.rows is pattern.rows
    assert sys.getsizeof(pattern.rows) > pattern.n_entries * 4


def test_samples_are_numbers_that_sparse_arrays_hold() -> None:
    """Truth values are counted, half precision is widened, and anything else is refused by name."""
    pattern = cm.WeightPattern.from_triplets((1, 2), [0, 0, 0], [0, 1, 1], [0, 0, 1], 2)
    x = np.array([True, True])
    assert pattern.jacobian(x).toarray().tolist() == [[2, 1]]
    assert pattern.weight_gradient(x, np.array([True])).tolist() == [2, 1]
    half = pattern.jacobian(np.array([300, 400], dtype=np.float16))
    assert half.dtype == np.float32
    assert (half @ np.array([1000, 1], dtype=np.float32)).tolist() == [700_400]
    large = pattern.weight_gradient(np.array([300, 400], dtype=np.float16), np.array([1000], dtype=np.float16))
    assert large.tolist() == [700_000, 400_000]
    for samples in (["a", "b"], np.zeros(2, dtype="M8[s]"), np.array([1, 2], dtype=object)):
        with pytest.raises(TypeError, match=r"^x must be numbers, but has dtype"):
            pattern.jacobian(samples)
        with pytest.raises(TypeError, match=r"^x must be numbers"):
            pattern.weight_gradient(samples, [1.0])


@pytest.mark.parametrize(
    ("shape", "weight_shape", "message"),
    [
        ((2.5, 2), 1, r"shape\[0\] must be an integer, but is 2.5"),
        ((2, -2), 1, r"shape\[1\] must be at least 0, but is -2"),
        ((2,), 1, r"shape must be a pair \(n_out, n_in\)"),
        (3, 1, r"shape must be a pair \(n_out, n_in\), but is 3"),
        ((2, 2), 1.5, "weight_shape must be an integer, but is 1.5"),
        ((2, 2), (3, -1), "weight_shape must be at least 0, but is -1"),
    ],
)
def test_sizes_of_patterns(shape: Any, weight_shape: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        cm.WeightPattern.from_triplets(shape, [0], [0], [0], weight_shape)


@pytest.mark.parametrize(
    ("n_triplets", "coefficients", "terms"), [(1, [-2], 2), (3, None, 3), (3, [1, -3, 1], 1), (4, [2, 2, -1, 2], 5)]
)
def test_sums_of_integer_weights_are_compared_where_they_may_not_fit(
    n_triplets: int, coefficients: list[int] | None, terms: int
) -> None:
    """Repeated triplets and coefficients count, also where no single weight is large."""
    zeros = [0] * n_triplets
    pattern = cm.WeightPattern.from_triplets((1, 1), zeros, zeros, zeros, 1, coefficients)
    held = np.array([127 // terms], dtype=np.int8)
    assert abs(pattern.matrix(held).toarray()) == terms * held
    if terms > 1:
        with pytest.raises(ValueError, match="which int8 does not hold"):
            pattern.matrix(held + np.int8(2))
