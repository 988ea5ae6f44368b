"""Toeplitz and circulant matrices: built, recognised, projected onto, and searched for."""

from __future__ import annotations

import dataclasses
import tracemalloc
from typing import Any

import numpy as np
import pytest
from scipy import linalg, sparse

import convmatrix as cm
from convmatrix import memory, structured
from convmatrix.boundary import BOUNDARIES, Axis
from convmatrix.structured import (
    builders,
    circulant,
    circulant_embedding,
    circulant_operator,
    diagonals,
    displacement_rank,
    doubly_block_circulant,
    doubly_block_toeplitz,
    doubly_block_toeplitz_operator,
    find_geometry,
    geometry_search,
    is_circulant,
    is_doubly_block_circulant,
    is_doubly_block_toeplitz,
    is_toeplitz,
    nearest_conv,
    recover_kernel,
    row_runs,
    structure_violation,
    toeplitz,
    toeplitz_operator,
)
from tests.cases import CASES, each_case, for_each, integer_weights


def block_toeplitz(coefficients: Any, sizes: tuple[int, ...], origin: tuple[int, ...]) -> Any:
    """Return the matrix by plain loops."""
    matrix = np.zeros(sizes * 2, dtype=coefficients.dtype)
    for i in np.ndindex(*sizes):
        for j in np.ndindex(*sizes):
            k = tuple(a - b + o for a, b, o in zip(i, j, origin, strict=True))
            if all(0 <= index < n for index, n in zip(k, coefficients.shape, strict=True)):
                matrix[(*i, *j)] = coefficients[k]
    n = int(np.prod(sizes))
    return matrix.reshape(n, n)


# --- builders --------------------------------------------------------------------------------------------------------


def test_toeplitz_is_scipys() -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        m, n = rng.integers(1, 7, 2)
        column, row = rng.integers(-5, 6, m), rng.integers(-5, 6, n)
        row[0] = column[0]
        T = toeplitz(column, row)
        np.testing.assert_array_equal(T.toarray(), linalg.toeplitz(column, row))
        assert T.nnz == m * n  # zeros that were given are stored
        more = rng.integers(0, 5, 2)
        larger = toeplitz(column, row, (m + more[0], n + more[1]))
        expected = linalg.toeplitz(np.pad(column, (0, more[0])), np.pad(row, (0, more[1])))
        np.testing.assert_array_equal(larger.toarray(), expected)
    np.testing.assert_array_equal(toeplitz([1, 2j]).toarray(), linalg.toeplitz([1, 2j]))


def test_circulant_is_scipys() -> None:
    np.testing.assert_array_equal(circulant([1, 2, 3, 4]).toarray(), linalg.circulant([1, 2, 3, 4]))
    np.testing.assert_array_equal(circulant([1, 2], 5).toarray(), linalg.circulant([1, 2, 0, 0, 0]))
    np.testing.assert_array_equal(circulant([1, 2, 3, 4], 3).toarray(), linalg.circulant([5, 2, 3]))


@for_each("sizes, taps", [((4,), (3,)), ((3, 4), (2, 5)), ((2, 3, 2), (3, 2, 1))])
def test_levels_by_loops(sizes: tuple[int, ...], taps: tuple[int, ...]) -> None:
    a = np.random.default_rng(1).integers(-9, 10, taps)
    for origin in (None, tuple(k - 1 for k in taps), (0,) * len(taps)):
        centre = tuple((k - 1) // 2 for k in taps) if origin is None else origin
        T = doubly_block_toeplitz(a, sizes, origin=origin)
        np.testing.assert_array_equal(T.toarray(), block_toeplitz(a, sizes, centre))
        assert is_doubly_block_toeplitz(T, sizes)
    ring = np.zeros(sizes, dtype=int)
    for k in np.ndindex(*taps):
        ring[tuple(index % n for index, n in zip(k, sizes, strict=True))] += a[k]
    C = doubly_block_circulant(a, sizes)
    first = C.toarray()[:, 0].reshape(sizes)
    np.testing.assert_array_equal(first, ring)
    assert is_doubly_block_circulant(C, sizes)
    np.testing.assert_array_equal(doubly_block_circulant(ring).toarray(), C.toarray())


def test_blocks_of_channels() -> None:
    a = np.random.default_rng(2).integers(-9, 10, (2, 3, 3, 2))
    T = doubly_block_toeplitz(a, (3, 4))
    assert T.shape == (24, 36)
    np.testing.assert_array_equal(T.toarray()[12:, 24:], doubly_block_toeplitz(a[1, 2], (3, 4)).toarray())
    assert is_doubly_block_toeplitz(T, (3, 4), channels=(2, 3))
    assert not is_doubly_block_circulant(T, (3, 4), channels=(2, 3))
    assert is_doubly_block_circulant(doubly_block_circulant(a, (3, 4)), (3, 4), channels=(2, 3))
    square = doubly_block_circulant(a[:, :2], (3, 4), origin=(1, 0))
    assert is_doubly_block_circulant(square, (3, 4), channels=(2, 2))
    swapped = doubly_block_toeplitz(a[0, 0], (3, 4), order="F").toarray()
    place = np.arange(12).reshape(3, 4).ravel("F")
    np.testing.assert_array_equal(swapped, doubly_block_toeplitz(a[0, 0], (3, 4)).toarray()[np.ix_(place, place)])


def test_embedding_multiplies_a_toeplitz_matrix() -> None:
    rng = np.random.default_rng(3)
    for taps, sizes, origin in (((3, 4), (5, 4), None), ((9, 2), (3, 4), (5, 1)), ((5,), (3,), (0,))):
        a = rng.integers(-9, 10, (2, 2, *taps))
        T = doubly_block_toeplitz(a, sizes, origin=origin)
        column = circulant_embedding(a, sizes, origin=origin)
        C = doubly_block_circulant(column, column.shape[2:])
        corner = np.zeros((2, *column.shape[2:]), dtype=bool)
        corner[(slice(None), *map(slice, sizes))] = True
        part = np.flatnonzero(corner)
        np.testing.assert_array_equal(C.toarray()[np.ix_(part, part)], T.toarray())
    assert circulant_embedding([1, 2, 3], 4, sizes=8).tolist() == [2, 3, 0, 0, 0, 0, 0, 1]


# --- operators -------------------------------------------------------------------------------------------------------


def random_operators(rng: np.random.Generator) -> list[tuple[Any, Any]]:
    """Return operators and their matrices, by SciPy or by loops."""
    m, n = rng.integers(1, 9, 2).tolist()
    column, row = rng.standard_normal(m), rng.standard_normal(n)
    row[0] = column[0]
    more = (m + int(rng.integers(4)), n + int(rng.integers(4)))
    padded = linalg.toeplitz(np.pad(column, (0, more[0] - m)), np.pad(row, (0, more[1] - n)))
    levels = tuple(rng.integers(1, 5, 2).tolist())
    taps = tuple(rng.integers(1, 7, 2).tolist())
    origin = tuple(int(rng.integers(k)) for k in taps)
    a = rng.integers(-5, 6, taps)
    blocks = rng.standard_normal((2, 3, 2)) + 1j * rng.standard_normal((2, 3, 2))
    hermitian = np.r_[3.0, rng.standard_normal(m) + 1j * rng.standard_normal(m)]
    return [
        (toeplitz_operator(column, row), linalg.toeplitz(column, row)),
        (toeplitz_operator(column, row, more), padded),
        (toeplitz_operator(column.astype(np.float32), row.astype(np.float32)), linalg.toeplitz(column, row)),
        (toeplitz_operator(hermitian), linalg.toeplitz(hermitian)),
        (circulant_operator(column), linalg.circulant(column)),
        (circulant_operator(blocks), doubly_block_circulant(blocks).toarray()),
        (doubly_block_toeplitz_operator(a, levels, origin=origin), block_toeplitz(a, levels, origin)),
    ]


def test_operators_are_their_matrices() -> None:
    rng = np.random.default_rng(12)
    for _ in range(8):
        for operator, A in random_operators(rng):
            assert operator.shape == A.shape
            for op, matrix in ((operator, A), (operator.T, A.T), (operator.H, A.conj().T), (operator.T.H, A.conj())):
                for dtype in (np.float32, np.float64, np.complex64, np.complex128, np.int64):
                    for shape in ((A.shape[1],), (A.shape[1], 3)):
                        size = matrix.shape[1]
                        x = (9 * rng.standard_normal((size, *shape[1:]))).astype(dtype)
                        y = op @ x
                        assert y.dtype == np.result_type(op.dtype, x.dtype)
                        tolerance = 2e-6 if {op.dtype.char, y.dtype.char} & {*"fF"} else 4e-15
                        scale = np.linalg.norm(matrix) * np.linalg.norm(x)
                        assert np.abs(y - matrix @ x).max(initial=0) <= tolerance * scale
    assert toeplitz_operator([1.0, 2.0]).T.is_circulant is False
    assert circulant_operator([1.0, 2.0, 3.0]).T.is_circulant is True
    assert toeplitz_operator([1.0, 2j]).is_hermitian
    assert not toeplitz_operator([1j, 2.0]).is_hermitian


def test_systems_are_solved_to_the_residual() -> None:
    rng = np.random.default_rng(13)
    n = 40
    decay = 0.5 ** np.arange(n)
    b = rng.standard_normal((n, 2))
    second = np.zeros(n)
    second[[0, 1]] = 0, 1  # no leading minor of odd size is regular
    plane = rng.standard_normal((3, 3)) / 20
    plane[1, 1] = 1
    cases = [
        (toeplitz_operator(decay), linalg.toeplitz(decay)),
        (toeplitz_operator(decay, np.r_[1, 0.3 * decay[1:]]), linalg.toeplitz(decay, np.r_[1, 0.3 * decay[1:]])),
        (toeplitz_operator(decay * 1j ** np.arange(n)), linalg.toeplitz(decay * 1j ** np.arange(n))),
        (toeplitz_operator(decay.astype(np.float32)), linalg.toeplitz(decay)),
        (toeplitz_operator(second), linalg.toeplitz(second)),
        (circulant_operator(decay), linalg.circulant(decay)),
        (circulant_operator(decay.reshape(5, 8) * 1j), doubly_block_circulant(decay.reshape(5, 8) * 1j).toarray()),
        (doubly_block_toeplitz_operator(plane, (8, 5)), doubly_block_toeplitz(plane, (8, 5)).toarray()),
    ]
    for operator, A in cases:
        for op, matrix in ((operator, A), (operator.T, A.T), (operator.H, A.conj().T)):
            single = op.dtype.char in "fF"
            right = b.astype(np.float32) if single else b
            x = op.solve(right)
            assert x.dtype == np.result_type(op.dtype, right)
            assert np.linalg.norm(matrix @ x - right) <= (2e-5 if single else 2e-10) * np.linalg.norm(right)
            np.testing.assert_array_equal(op.solve(right[:, 0] * 0), 0)


@for_each("definite", [True, False])
def test_large_systems_are_solved_by_iterations(definite: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    n = 6000
    column = 0.8 ** np.arange(n)
    operator = toeplitz_operator(column, None if definite else np.r_[1, -column[1:] / 2])
    called: list[str] = []
    for name in ("cg", "gmres"):
        solver = getattr(sparse.linalg, name)
        monkeypatch.setattr(
            sparse.linalg, name, lambda *a, name=name, solver=solver, **k: (called.append(name), solver(*a, **k))[1]
        )
    x = np.random.default_rng(0).standard_normal(n)
    np.testing.assert_allclose(operator.solve(operator @ x), x, rtol=0, atol=1e-7)
    assert set(called) == {"cg" if definite else "gmres"}


def test_operators_refuse_what_they_cannot_do() -> None:
    for make in (
        lambda: circulant_operator([1.0, 1.0]).solve([1, 2]),
        lambda: circulant_operator(np.ones((2, 2))).solve(np.ones(4)),
        lambda: toeplitz_operator([0.0, 0.0]).solve([1, 2]),
        lambda: toeplitz_operator([1.0, 1.0, 1.0]).solve([1, 2, 3]),
    ):
        with pytest.raises(np.linalg.LinAlgError):
            make()
    with pytest.raises(ValueError, match="not square"):
        toeplitz_operator([1.0, 2.0], [1.0, 2.0, 3.0]).solve([1, 2])
    with pytest.raises(ValueError, match=r"\(3,\).*2 x 2"):
        toeplitz_operator([2.0, 1.0]).solve([1, 2, 3])
    with pytest.raises(ValueError, match="ConvOperator"):
        doubly_block_toeplitz_operator(np.ones((2, 2, 3)), 4)
    with pytest.raises(ValueError, match="at least one axis"):
        circulant_operator(2.0)
    with pytest.raises(TypeError, match="complex128"):
        circulant_operator(np.ones(3, dtype=np.longdouble))


@for_each(
    "make, stored, operator",
    [
        (lambda: toeplitz(np.ones(30), np.ones(20)), 600, "toeplitz_operator"),
        (lambda: toeplitz(np.ones(3), np.ones(4), (5, 4)), 17, "toeplitz_operator"),
        (lambda: circulant(np.ones(25)), 625, "circulant_operator"),
        (lambda: circulant(np.ones(9), 5), 25, "circulant_operator"),
        (lambda: doubly_block_toeplitz(np.ones((5, 7)), (3, 4)), 144, "doubly_block_toeplitz_operator"),
        (lambda: doubly_block_toeplitz(np.ones((2, 3, 5)), 3), 54, "ConvOperator"),
    ],
)
def test_full_matrices_point_to_the_operator(
    make: Any, stored: int, operator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused if they do not fit in memory, and announced if they are large; the estimate is what is stored."""
    assert make().nnz == stored
    with monkeypatch.context() as patch:
        patch.setattr(memory, "available_memory", lambda: 10)
        patch.setattr(memory, "NEGLIGIBLE", 0)
        with pytest.raises(cm.MatrixTooLargeError, match=f"{stored} stored entries.*use {operator},"):
            make()
    monkeypatch.setattr(builders, "_LARGE", stored - 1)
    with pytest.warns(UserWarning, match=f"{stored} stored entries.*use {operator},"):
        make()


def test_few_diagonals_are_not_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builders, "_LARGE", 1)
    assert toeplitz([2, -1], shape=(9, 9)).nnz == 25
    assert circulant([2, -1, 0, -1], 9).nnz == 36


# --- recognition -----------------------------------------------------------------------------------------------------


def first_break(A: Any, key: Any) -> tuple[int, int] | None:
    """Return the first entry that differs from the first one with the same key, by plain loops."""
    seen: dict[Any, Any] = {}
    for i in range(A.shape[0]):
        for j in range(A.shape[1]):
            if seen.setdefault(key(i, j), A[i, j]) != A[i, j]:
                return i, j
    return None


def index_of(violation: Any) -> tuple[int, int] | None:
    return None if violation is None else (violation.row, violation.column)


@for_each("chunk", [1, 7, 2**17])
@for_each("make", [np.asarray, sparse.csr_array, sparse.coo_array, sparse.csc_matrix])
def test_first_violation_by_loops(make: Any, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagonals, "_CHUNK", chunk)
    rng = np.random.default_rng(4)
    found = 0
    for _ in range(60):
        m, n = rng.integers(1, 6, 2)
        T = linalg.toeplitz(rng.integers(-1, 2, m), rng.integers(-1, 2, n))
        C = linalg.circulant(rng.integers(-1, 2, m))
        for A, structure, key in (
            (T, "toeplitz", lambda i, j: i - j),
            (C, "circulant", lambda i, j, m=m: (i - j) % m),
        ):
            assert structure_violation(make(A), structure) is None
            A[rng.integers(A.shape[0]), rng.integers(A.shape[1])] += rng.integers(0, 3)
            violation = structure_violation(make(A), structure)
            assert index_of(violation) == first_break(A, key)
            if violation is not None:
                found += 1
                assert violation.value == A[violation.row, violation.column]
                assert violation.expected == A[violation.same_diagonal]
                assert key(*violation.same_diagonal) == key(violation.row, violation.column)
    assert found > 50


@for_each("dtype", [bool, np.int8, np.uint8, np.int64, np.float64, np.complex128])
@for_each("make", [np.asarray, sparse.csr_array])
def test_first_violation_within_a_tolerance(make: Any, dtype: Any) -> None:
    def first_beyond(A: Any, tol: float, key: Any) -> tuple[int, int] | None:
        """Compare with the first entry of the diagonal, stored or not, without overflow."""
        seen: dict[Any, Any] = {}
        for (i, j), value in np.ndenumerate(A.astype(complex)):
            if abs(value - seen.setdefault(key(i, j), value)) > tol:
                return i, j
        return None

    rng = np.random.default_rng(6)
    found = 0
    for _ in range(80):
        n = int(rng.integers(2, 7))
        T = linalg.circulant(rng.choice([0, 0, 100, -100], n)).astype(float)
        T = (T + rng.choice([0, 0, 0, 25, -25, 50, 90], T.shape)).astype(np.int64).astype(dtype)
        for structure, key in (("toeplitz", lambda i, j: i - j), ("circulant", lambda i, j, n=n: (i - j) % n)):
            tol = float(rng.choice([0, 0.5, 30, 60]))
            violation = structure_violation(make(T), structure, tol=tol)  # type: ignore[arg-type]  # of two literals
            assert index_of(violation) == first_beyond(T, tol, key)
            if violation is not None:
                found += 1
                assert violation.value == T[violation.row, violation.column]
                assert violation.expected == T[violation.same_diagonal]
    assert found > 50


def test_infinite_entries_equal_each_other() -> None:
    assert is_toeplitz([[np.inf, 1], [2, np.inf]], tol=0.1)
    assert not is_toeplitz([[np.inf, 1], [2, -np.inf]], tol=0.1)
    assert not is_toeplitz([[np.nan, 1], [2, np.nan]], tol=0.1)  # NaN is not equal to itself


def test_matrices_without_entries_have_every_structure() -> None:
    assert is_toeplitz(np.zeros((0, 3)))
    assert is_toeplitz(np.zeros((0, 0)))
    assert is_circulant(np.zeros((0, 0)))


def test_a_gap_at_the_far_end_of_a_large_matrix_is_found() -> None:
    n = 300_000
    A = sparse.diags_array([np.ones(n - 1), np.ones(n), np.ones(n - 1)], offsets=[-1, 0, 1], format="csr")
    A.data[-1] = 0
    A.eliminate_zeros()
    assert index_of(structure_violation(A, "toeplitz")) == (n - 1, n - 1)


def test_first_violation_of_levels() -> None:
    rng = np.random.default_rng(5)
    found = 0
    for _ in range(60):
        rows, columns = tuple(rng.integers(1, 4, 2).tolist()), tuple(rng.integers(1, 4, 2).tolist())
        table = rng.integers(0, 2, (2, 2, rows[0] + columns[0], rows[1] + columns[1]))

        def key(i: int, j: int, rows: Any = rows, columns: Any = columns) -> Any:
            o, *a = np.unravel_index(i, (2, *rows))
            c, *b = np.unravel_index(j, (2, *columns))
            return (int(o), int(c), *(int(p - q) for p, q in zip(a, b, strict=True)))

        shape = (2 * rows[0] * rows[1], 2 * columns[0] * columns[1])
        A = np.array([[table[key(i, j)] for j in range(shape[1])] for i in range(shape[0])])
        sizes: dict[str, Any] = {"shape": rows, "input_shape": columns, "channels": (2, 2)}
        assert structure_violation(A, "toeplitz", **sizes) is None
        A[rng.integers(shape[0]), rng.integers(shape[1])] += 1
        violation = structure_violation(A, "toeplitz", **sizes)
        assert index_of(violation) == first_break(A, key)
        found += violation is not None
    assert found > 20


def first_of_diagonals(levels: tuple[int, ...], channels: tuple[int, int], ring: bool) -> tuple[Any, Any]:
    """Return the first entry of each diagonal as a flat index, and the diagonal of each entry."""
    n = int(np.prod(levels))
    rows, columns = (np.arange(count * n) for count in channels)
    numbers = np.add.outer(rows // n * channels[1], columns // n)
    for row, column, size in zip(*(np.unravel_index(k % n, levels) for k in (rows, columns)), levels, strict=True):
        step = np.subtract.outer(row, column)
        numbers = 2 * size * numbers + (step % size if ring else step + size)
    _, first, diagonal = np.unique(numbers, return_index=True, return_inverse=True)
    return first, diagonal


@for_each("levels", [(3, 11), (2, 16), (4, 2, 6)])
def test_rows_that_repeat_across_levels_are_looked_at(levels: tuple[int, ...]) -> None:
    """A matrix with one level repeats its rows where levels begin, on diagonals that several levels tell apart."""
    n = int(np.prod(levels))
    first, diagonal = first_of_diagonals(levels, (1, 1), ring=False)
    rng = np.random.default_rng(9)
    found = 0
    for offsets in ([-11], [-7, 0], [-2], [-1], [1], [0, 3], [6], [2, 16]):
        for _ in range(6):
            A = sparse.csr_array(sparse.diags_array([1.0, 7.0][: len(offsets)], offsets=offsets, shape=(n, n)))
            assert structure_violation(A, "toeplitz", levels) is None
            A.data[rng.integers(A.nnz)] = 0
            A.eliminate_zeros()
            dense = A.toarray()
            expected = np.argwhere(dense != dense.ravel()[first][diagonal].reshape(n, n)).tolist()
            violation = structure_violation(A, "toeplitz", levels)
            assert index_of(violation) == (tuple(expected[0]) if expected else None)
            found += violation is not None
    assert found > 20


@for_each("ring", [False, True])
@for_each("chunk", [1, 2**15])
def test_first_violation_where_rows_repeat(ring: bool, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that repeat the row before are passed over: none that differs may be among them, at any place."""
    monkeypatch.setattr(row_runs, "_CHUNK", chunk)
    rng = np.random.default_rng(8)
    shortened = found = 0
    for levels, channels in (((24,), (1, 1)), ((3, 11), (1, 1)), ((2, 9), (2, 3))):
        first, diagonal = first_of_diagonals(levels, channels, ring)
        for trial in range(12):
            a = rng.integers(1, 3, (*channels, *(3,) * len(levels)))
            boundary = "circular" if ring else "zero"
            A = cm.conv_matrix(a, (channels[1], *levels), padding="same", boundary=boundary)
            structure: Any = "circulant" if ring else "toeplitz"
            scanned = diagonals._ScannedRows.of(A, diagonals.Diagonals(levels, levels, channels, ring))
            shortened += scanned.places is not None
            assert structure_violation(A, structure, levels, channels=channels) is None
            entry = int(rng.integers(A.nnz))
            if trial % 3 == 0:
                A.data[entry] += 1
            elif trial % 3 == 1:
                A.data[entry] = 0
                A.eliminate_zeros()
            else:
                B = A.tolil()
                B[int(rng.integers(A.shape[0])), int(rng.integers(A.shape[1]))] = 7
                A = B.tocsr()
            dense = A.toarray()
            off = np.abs(dense - dense.ravel()[first][diagonal].reshape(dense.shape))
            for tol in (0.0, 1.5):
                violation = structure_violation(A, structure, levels, channels=channels, tol=tol)
                expected = [tuple(place) for place in np.argwhere(off > tol).tolist()]
                assert index_of(violation) == (expected[0] if expected else None)
                found += violation is not None
    assert shortened > 20
    assert found > 30


@each_case
def test_shared_zero_layers_are_toeplitz(geometry: cm.ConvGeometry) -> None:
    plain = not geometry.transposed and geometry.sharing == "shared" and set(geometry.stride) == {1}
    A = cm.conv_matrix(integer_weights(geometry), geometry)
    channels = (geometry.out_channels, geometry.in_channels)
    found = is_doubly_block_toeplitz(A, geometry.output_shape, geometry.input_shape, channels=channels)
    if plain and set(geometry.boundary) == {"zero"}:
        assert found is True
    if geometry.sharing == "unshared":
        assert found is False


def test_yes_and_no_are_plain_truth_values() -> None:
    A = cm.conv_matrix([1.0, 2, 3], 6, padding="same", boundary="circular")
    assert is_circulant(A) is True
    assert is_toeplitz(A) is True
    assert is_circulant(cm.conv_matrix([1, 2, 3], 6)) is False
    B = A.copy()
    B.data[3] += 1e-9
    assert is_circulant(B) is False
    assert is_circulant(B, tol=1e-8) is True
    assert is_toeplitz(B, tol=1e-10) is False
    assert str(structure_violation(B, "circulant")) == (
        "entry (1, 0) is 1.000000001, but entry (0, 5) of the same diagonal is 1.0"
    )
    assert is_toeplitz([[np.nan, 0], [0, np.nan]]) is False


def test_what_is_stored_does_not_matter() -> None:
    duplicate = sparse.coo_array(([1, 1, 2], ([0, 0, 1], [0, 0, 1])), shape=(2, 2))
    assert is_toeplitz(duplicate)
    raw = sparse.csr_array(([1, 1, 2], [0, 0, 1], [0, 2, 3]), shape=(2, 2))
    assert is_toeplitz(raw)
    assert raw.nnz == 3  # the argument is left as it is
    explicit = sparse.csr_array(([0.0, 0.0], ([0, 1], [0, 0])), shape=(2, 2))
    assert is_circulant(explicit)
    assert is_toeplitz(sparse.csr_array((3, 4)))


# --- kernels ---------------------------------------------------------------------------------------------------------


@each_case
def test_nearest_conv_is_least_squares(geometry: cm.ConvGeometry) -> None:
    rng = np.random.default_rng(6)
    pattern = geometry.pattern()
    A = rng.standard_normal(pattern.shape)
    entry = pattern.rows.astype(int) * A.shape[1] + pattern.cols
    design = sparse.csr_array(
        (pattern.scaled(np.ones(pattern.n_entries)), (entry, pattern.weight_index)), shape=(A.size, pattern.n_weights)
    )
    expected = np.linalg.pinv((design.T @ design).toarray(), rcond=1e-10, hermitian=True) @ (design.T @ A.ravel())
    w, residual = recover_kernel(A, geometry)
    np.testing.assert_allclose(w.ravel(), expected, atol=1e-11)
    assert residual == pytest.approx(np.linalg.norm(design @ expected - A.ravel()))
    np.testing.assert_array_equal(nearest_conv(A, geometry), w)


@each_case
def test_kernel_comes_back(geometry: cm.ConvGeometry) -> None:
    w = np.random.default_rng(7).standard_normal(geometry.weight_shape) * (1 + 1j)
    A = cm.conv_matrix(w, geometry)
    found, residual = recover_kernel(A, geometry)
    assert residual <= 1e-13 * abs(w).max() * np.sqrt(max(A.nnz, 1))
    np.testing.assert_allclose(cm.conv_matrix(found, geometry).toarray(), A.toarray(), atol=1e-12)
    if A.nnz == geometry.pattern().n_entries:  # no weights share an entry
        assert residual == 0
        used = np.isin(np.arange(geometry.n_weights), geometry.pattern().weight_index).reshape(w.shape)
        np.testing.assert_array_equal(found, np.where(used, w, 0))


def test_no_convolution_has_an_honest_residual() -> None:
    geometry = cm.ConvGeometry(4, 2)
    A = cm.conv_matrix([1.0, 2], geometry).toarray()
    A[0, 3] = 5  # where the layer has no entry
    A[1, 1] += 3  # one of three entries of the first weight
    w, residual = recover_kernel(A, geometry)
    np.testing.assert_allclose(w, [[[2, 2]]])
    assert residual == pytest.approx(np.sqrt(25 + 4 + 1 + 1))
    assert recover_kernel(sparse.csr_array((3, 4)), geometry)[1] == 0


@for_each(
    "geometry",
    [
        cm.ConvGeometry(12, 3, padding="same"),
        cm.ConvGeometry(12, 4, padding="same", boundary="circular", stride=2),
        cm.ConvGeometry(11, 3, padding="same", boundary="reflect", dilation=2),
        cm.ConvGeometry(10, 3, padding=[(2, 0)], boundary="replicate"),
        cm.ConvGeometry((7, 6), (2, 3), padding=[(1, 0), (1, 1)], boundary=("symmetric", "circular")),
        cm.ConvGeometry((7, 6), (3, 3), in_channels=2, out_channels=3, stride=(2, 1), padding=1),
    ],
)
def test_geometry_is_found(geometry: cm.ConvGeometry) -> None:
    w = np.random.default_rng(8).standard_normal(geometry.weight_shape)
    A = cm.conv_matrix(w, geometry)
    channels = {"in_channels": geometry.in_channels, "out_channels": geometry.out_channels}
    found, kernel = find_geometry(A, geometry.input_shape, output_shape=geometry.output_shape, **channels)
    assert found == geometry
    np.testing.assert_allclose(kernel, w, atol=1e-12)


@for_each(
    "geometry",
    [
        cm.ConvGeometry(5, 8, padding=[(3, 4)], boundary="symmetric"),
        cm.ConvGeometry(4, 5, padding=[(2, 1)], boundary="replicate"),
        cm.ConvGeometry((2, 3), (3, 4), stride=2, dilation=2, padding=[(3, 3), (4, 3)]),
    ],
)
def test_geometry_is_found_where_a_smaller_kernel_reads_as_much(geometry: cm.ConvGeometry) -> None:
    A = cm.conv_matrix(np.random.default_rng(0).standard_normal(geometry.weight_shape), geometry)
    found, kernel = find_geometry(A, geometry.input_shape, output_shape=geometry.output_shape)
    np.testing.assert_allclose(cm.conv_matrix(kernel, found).toarray(), A.toarray(), atol=1e-12)


def test_geometry_is_found_without_output_shape() -> None:
    A = cm.conv_matrix([[1, 2], [3, 4.0]], (3, 4), padding=[(1, 0), (0, 1)])
    found, kernel = find_geometry(A, (3, 4), largest_kernel=4)
    np.testing.assert_allclose(cm.conv_matrix(kernel, found).toarray(), A.toarray())
    assert found.kernel_shape == (2, 2)


# --- displacement ----------------------------------------------------------------------------------------------------


def test_displacement_ranks() -> None:
    rng = np.random.default_rng(9)
    T = toeplitz(rng.standard_normal(8), rng.standard_normal(8))
    assert displacement_rank(T) == 2
    # The inverse has as small a rank for the opposite shift (Gohberg, Semencul): reversed it is the same shift.
    assert displacement_rank(np.linalg.inv(T.toarray())[::-1, ::-1], tol=1e-8) == 2
    assert displacement_rank(T @ T, tol=1e-8) <= 4
    assert displacement_rank(rng.standard_normal((8, 8))) == 8
    assert displacement_rank(sparse.csr_array((5, 5))) == 0
    assert displacement_rank(np.zeros((0, 3))) == displacement_rank(np.zeros((3, 0))) == 0
    assert displacement_rank(np.ones((3, 3), dtype=int)) == 2


# --- bad input -------------------------------------------------------------------------------------------------------


def test_bad_arguments_of_builders() -> None:
    with pytest.raises(ValueError, match=r"column .*shape \(0,\)"):
        toeplitz([])
    with pytest.raises(ValueError, match=r"row .* shape \(1, 2\)"):
        toeplitz([1], [[1, 2]])
    with pytest.raises(ValueError, match=r"column has 3 .*row 1.* 2 x 2"):
        toeplitz([1, 2, 3], [1], (2, 2))
    with pytest.raises(ValueError, match=r"shape \(2, 2\).*shape=\(3,\)"):
        doubly_block_toeplitz([[1, 2], [3, 4]], 3)
    with pytest.raises(ValueError, match=r"origin=\(2,\).* \(2,\)"):
        doubly_block_circulant([1, 2], 4, origin=2)
    with pytest.raises(ValueError, match=r"sizes=\(4,\) .*\(5,\)"):
        circulant_embedding([1, 2, 3], 4, sizes=4)


def test_bad_arguments_of_recognition() -> None:
    eye = sparse.eye_array(6).tocsr()
    with pytest.raises(ValueError, match=r"structure 'hankel'.*toeplitz.*circulant"):
        structure_violation(eye, "hankel")  # type: ignore[arg-type]  # what a user might try
    with pytest.raises(ValueError, match=r"tol=-1 "):
        is_toeplitz(eye, tol=-1)
    with pytest.raises(ValueError, match=r"circulant.* square .*\(2,\).*\(3,\)"):
        structure_violation(np.ones((2, 3)), "circulant")
    with pytest.raises(ValueError, match=r"6 x 6.*channels 1 x 1 .*\(2, 2\).* 4 x 4"):
        is_doubly_block_toeplitz(eye, (2, 2))
    with pytest.raises(ValueError, match=r"shape=\(6,\) and input_shape=\(2, 3\)"):
        is_doubly_block_toeplitz(eye, (6,), (2, 3))
    with pytest.raises(ValueError, match=r"matrix of numbers.* shape \(3,\)"):
        is_toeplitz([1, 2, 3])


def test_bad_arguments_of_kernels_and_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    geometry = CASES["1d"]
    with pytest.raises(ValueError, match=r"4 x 4.*5 x 7"):
        nearest_conv(np.eye(4), geometry)
    with pytest.raises(ValueError, match="infinite or NaN"):
        recover_kernel(np.full((5, 7), np.nan), geometry)
    with pytest.raises(ValueError, match=r"4 columns.*in_channels=1 .*input_shape=\(5,\) .*5"):
        find_geometry(np.eye(4), 5)
    with pytest.raises(ValueError, match=r"4 rows.*out_channels=1 .*output_shape=\(3,\) .*3"):
        find_geometry(np.eye(4), 4, output_shape=3)
    with pytest.raises(ValueError, match=r"4 rows.*out_channels=3"):
        find_geometry(np.eye(4), 4, out_channels=3)
    with pytest.raises(ValueError, match=r"at most 3 taps .*smallest residual of \d+"):
        find_geometry(np.diag([1.0, 2, 3, 4, 5, 6]), 6, largest_kernel=3)
    with pytest.raises(ValueError, match="no rule of an axis fits"):
        find_geometry(np.ones((20, 2)), 2, largest_kernel=2)
    monkeypatch.setattr(structured.recognition, "_MOST_ROWS", 3)
    with pytest.raises(ValueError, match=r"6 rows and 6 columns .* 3 "):
        displacement_rank(np.random.default_rng(0).standard_normal((6, 6)))


@pytest.mark.parametrize("scale", [2.0**-900, 2.0**900])
def test_kernels_are_recovered_at_any_scale(scale: float) -> None:
    geometry = cm.ConvGeometry(7, 3, padding=1, boundary="reflect")
    A = cm.conv_matrix([1.0, 2, 3], geometry) * scale
    found, kernel = structured.find_geometry(A, 7, largest_kernel=4)
    assert found == geometry
    np.testing.assert_allclose(kernel.ravel() / scale, [1, 2, 3], rtol=1e-12)
    other = np.random.default_rng(0).standard_normal((7, 7))
    expected = structured.recover_kernel(other, geometry)
    kernel, residual = structured.recover_kernel(other * scale, geometry)
    assert residual / scale == pytest.approx(expected[1])
    np.testing.assert_allclose(kernel / scale, expected[0], rtol=1e-12)
    with pytest.raises(ValueError, match="does not belong"):
        structured.find_geometry(other * scale, 7, largest_kernel=3)


@pytest.mark.parametrize(("size", "taps", "padding"), [(3, 4, (40, 37)), (3, 3, (300, 100))])
def test_kernels_of_wide_antireflective_padding_are_recovered(size: int, taps: int, padding: tuple[int, int]) -> None:
    geometry = cm.ConvGeometry(size, taps, padding=[padding], boundary="antireflect", sharing="unshared")
    A = cm.conv_matrix(np.random.default_rng(0).standard_normal(geometry.weight_shape), geometry)
    residual = structured.recover_kernel(A, geometry)[1]
    assert residual < 1e-15 * np.linalg.norm(A.data)  # the condition number is 1e8: one solution leaves 1e-7


SMALLEST: dict[str, tuple[int, list[float], dict[str, Any], int]] = {
    "padding past the kernel": (4, [2.0], {"padding": 1}, 1),
    "one tap beyond an end": (6, [2.0], {"stride": 3, "padding": [(2, 3)], "boundary": "circular"}, 1),
    "repeated ends": (7, [1.0, 2, 3], {"padding": 3, "boundary": "replicate"}, 3),
    "zeros inside": (9, [1.0, 0, 0, 0, 0, 2], {"padding": "same"}, 2),
    "strides": (4, [1.0, 2], {"stride": 2, "padding": [(1, 3)], "boundary": "replicate"}, 2),
}


@pytest.mark.parametrize("name", SMALLEST)
def test_the_smallest_kernel_is_found(name: str) -> None:
    size, kernel, options, taps = SMALLEST[name]
    A = cm.conv_matrix(kernel, size, **options)
    geometry, found = structured.find_geometry(A, size, largest_kernel=6)
    assert geometry.kernel_shape == (taps,)
    np.testing.assert_allclose(cm.conv_matrix(found, geometry).toarray(), A.toarray(), atol=1e-12)


@pytest.mark.parametrize(("n_outputs", "n_samples", "stride"), [(1, 1, 1), (3, 1, 1), (4, 5, 1), (5, 3, 2), (7, 8, 3)])
def test_bounds_of_misfits_are_close(n_outputs: int, n_samples: int, stride: int) -> None:
    """The search for a layer computes a misfit only if its lower bound is small enough, so bounds must be close."""
    slices = np.random.default_rng(0).standard_normal((4, n_outputs, n_samples))
    places = np.arange(n_outputs * n_samples)
    for taps, dilation in ((1, 1), (2, 1), (3, 2)):
        axis = Axis(n_outputs, n_samples, taps, stride, dilation)
        lows = np.arange(-1, n_samples + 3)
        bounds = geometry_search._least_misfits(slices, dataclasses.replace(axis, pad_low=lows), BOUNDARIES)
        for low, row in zip(lows.tolist(), bounds, strict=True):
            for boundary, bound in zip(BOUNDARIES, row, strict=True):
                guess = dataclasses.replace(axis, pad_low=low, boundary=boundary)
                misfit = geometry_search._misfit(slices, places, guess)
                assert bound <= misfit + 1e-15
                assert bound**2 >= misfit**2 - 2e-6 * np.linalg.norm(slices) ** 2 / 4


def test_memory_of_a_search_is_bounded() -> None:
    """Also for one row of many paddings, and for many taps."""
    axis = Axis(n_outputs=1, n_samples=1000, n_taps=60, pad_low=np.arange(1000))
    slices = np.random.default_rng(0).standard_normal((1, 1, 1000))
    tracemalloc.start()
    try:
        bounds = geometry_search._least_misfits(slices, axis, BOUNDARIES)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert bounds.shape == (1000, len(BOUNDARIES))
    assert peak < 32e6
