"""Matrices in LaTeX."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse

import convmatrix as cm
from convmatrix.io import to_latex
from tests.cases import for_each


def rows_of(latex: str) -> list[list[str]]:
    """Return the cells between the first and the last line."""
    return [line.removesuffix(r" \\").split(" & ") for line in latex.splitlines()[1:-1]]


def test_a_convolution_matrix() -> None:
    assert to_latex(cm.conv_matrix(np.array([1, -2]), 3)) == "\n".join(
        [r"\begin{pmatrix}", r"1 & -2 & 0 \\", "0 & 1 & -2", r"\end{pmatrix}"]
    )


@for_each("layout", ["csr", "csc", "coo", "bsr", "lil"])
def test_sparse_and_dense_are_printed_alike(layout: Any) -> None:
    dense = np.array([[0, 2, 0], [3, 0, 4]])
    expected = to_latex(dense)
    assert to_latex(sparse.csr_array(dense).asformat(layout)) == expected
    assert to_latex(sparse.csr_matrix(dense)) == expected
    assert to_latex(dense.tolist()) == expected


@for_each("environment", ["matrix", "pmatrix", "bmatrix", "Bmatrix", "vmatrix", "Vmatrix", "smallmatrix"])
def test_environments(environment: str) -> None:
    lines = to_latex([[1]], environment=environment).splitlines()
    assert lines == [rf"\begin{{{environment}}}", "1", rf"\end{{{environment}}}"]


def test_zeros_that_are_stored_are_part_of_the_structure() -> None:
    matrix = cm.conv_matrix(np.array([0.0, 1.5]), 3)
    assert rows_of(to_latex(matrix, zero=r"\cdot")) == [["0", "1.5", r"\cdot"], [r"\cdot", "0", "1.5"]]
    assert rows_of(to_latex(matrix)) == [["0", "1.5", "0"], ["0", "0", "1.5"]]
    assert rows_of(to_latex(matrix.toarray(), zero="")) == [["", "1.5", ""], ["", "", "1.5"]]


@for_each(
    "value, expected",
    [
        (np.int8(-7), "-7"),
        (np.uint64(2**64 - 1), "18446744073709551615"),
        (np.int64(-(2**63)), "-9223372036854775808"),
        (True, "1"),
        (1.0, "1"),
        (-2.0, "-2"),
        (0.1, "0.1"),
        (1 / 3, "0.3333333333333333"),
        (np.float32(0.1), "0.1"),
        (np.float32(1 / 3), "0.33333334"),
        (1e-7, r"1 \times 10^{-7}"),
        (-1.25e300, r"-1.25 \times 10^{300}"),
        (5e-324, r"5 \times 10^{-324}"),
        (float("nan"), r"\mathrm{NaN}"),
        (float("inf"), r"\infty"),
        (float("-inf"), r"-\infty"),
        (1 + 2j, r"1 + 2\mathrm{i}"),
        (1.5 - 0.5j, r"1.5 - 0.5\mathrm{i}"),
        (1j, r"\mathrm{i}"),
        (-1j, r"-\mathrm{i}"),
        (2 - 1j, r"2 - \mathrm{i}"),
        (3 + 0j, "3"),
        (complex(3, -0.0), "3"),
        (np.complex64(0.1j), r"0.1\mathrm{i}"),
        (complex(0, 1e-9), r"1 \times 10^{-9}\mathrm{i}"),
    ],
)
def test_numbers(value: Any, expected: str) -> None:
    assert rows_of(to_latex(np.array([[value]]))) == [[expected]]


def test_printed_numbers_are_exact() -> None:
    bits = np.random.default_rng(0).integers(0, 2**63, 300)
    numbers = bits.view(np.float64)
    numbers = numbers[np.isfinite(numbers)].reshape(1, -1)
    printed = rows_of(to_latex(numbers, max_columns=None))[0]
    read = [float(cell.replace(r" \times 10^{", "e").replace("}", "")) for cell in printed]
    np.testing.assert_array_equal([read], numbers)


def test_large_matrices_keep_their_first_and_last_rows_and_columns() -> None:
    matrix = np.arange(1, 10_001).reshape(100, 100)
    assert rows_of(to_latex(matrix, max_rows=5, max_columns=4)) == [
        ["1", "2", r"\cdots", "100"],
        ["101", "102", r"\cdots", "200"],
        [r"\vdots", r"\vdots", r"\ddots", r"\vdots"],
        ["9801", "9802", r"\cdots", "9900"],
        ["9901", "9902", r"\cdots", "10000"],
    ]


def test_one_direction_may_be_elided() -> None:
    assert rows_of(to_latex(np.arange(1, 13).reshape(6, 2), max_rows=3)) == [
        ["1", "2"],
        [r"\vdots", r"\vdots"],
        ["11", "12"],
    ]
    assert rows_of(to_latex(np.arange(1, 13).reshape(2, 6), max_columns=3)) == [
        ["1", r"\cdots", "6"],
        ["7", r"\cdots", "12"],
    ]


@for_each("most", [3, 4, 5, 10])
def test_limits_count_the_dots(most: int) -> None:
    for size in (most, most + 1, 50):
        rows = rows_of(to_latex(np.ones((size, size)), max_rows=most, max_columns=most))
        assert len(rows) == len(rows[0]) == min(size, most)
        assert any(r"\ddots" in row for row in rows) == (size > most)


def test_default_is_what_amsmath_typesets() -> None:
    rows = rows_of(to_latex(np.ones((99, 99))))
    assert (len(rows), len(rows[0])) == (10, 10)


def test_none_prints_everything() -> None:
    rows = rows_of(to_latex(sparse.eye_array(40), max_rows=None, max_columns=None))
    assert [row.index("1") for row in rows] == list(range(40))


def test_large_sparse_matrices_stay_sparse() -> None:
    corner = sparse.coo_array(([7, 8], ([0, 10**6 - 1], [0, 10**12 - 1])), shape=(10**6, 10**12))
    rows = rows_of(to_latex(corner, max_rows=3, max_columns=3))
    assert rows == [["7", r"\cdots", "0"], [r"\vdots", r"\ddots", r"\vdots"], ["0", r"\cdots", "8"]]


@for_each(
    "matrix, options, error, message",
    [
        ([1, 2], {}, ValueError, r"must have 2 axes, but has 1 \(shape \(2,\)\)"),
        (5, {}, ValueError, "must have 2 axes, but has 0"),
        (np.ones((2, 2, 2)), {}, ValueError, "must have 2 axes, but has 3"),
        (sparse.coo_array([1, 2]), {}, ValueError, "must have 2 axes, but has 1"),
        (np.zeros((0, 3)), {}, ValueError, r"shape \(0, 3\); without rows or columns there is nothing to print"),
        (np.zeros((3, 0)), {}, ValueError, r"shape \(3, 0\)"),
        ([["a", "b"]], {}, TypeError, "has dtype <U1, but numbers are needed; for symbols use convmatrix.symbolic"),
        ([[None, 1]], {}, TypeError, "has dtype object"),
        ([[1]], {"environment": "tabular"}, ValueError, "environment 'tabular' is unknown; choose one of matrix, pmat"),
        ([[1]], {"zero": "&"}, ValueError, "zero='&' is unknown; choose one of '0', "),
        ([[1]], {"max_rows": 2}, ValueError, "max_rows must be at least 3, but is 2"),
        ([[1]], {"max_columns": 0}, ValueError, "max_columns must be at least 3, but is 0"),
        ([[1]], {"max_columns": 3.5}, TypeError, "max_columns must be an integer"),
        ([[1]], {"max_rows": "many"}, TypeError, "max_rows must be an integer"),
    ],
)
def test_nonsense_is_refused(matrix: Any, options: dict[str, Any], error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        to_latex(matrix, **options)
