"""The benchmark of spectra: that it compares equal things and notices when they are not."""

from __future__ import annotations

import numpy as np
import pytest

import convmatrix as cm
from benchmarks import Context, Effort, spectrum

QUICK = Context(quick=True)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Context, "effort", Effort(0.0, 1, 1))
    monkeypatch.setattr(spectrum, "_ROUNDS", Effort(0.0, 1, 1))


def test_singular_values_are_compared() -> None:
    table = spectrum.all_singular_values(QUICK)
    assert [row.cells["values"] for row in table.rows] == [8 * 256, 8 * 64]
    assert all(float(str(row.cells["difference"])) < 1e-14 for row in table.rows)
    assert table.goal is None  # of small sizes


def test_values_that_differ_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectrum, "reference_values", lambda kernel, n: np.ones(kernel.shape[2] * n * n))
    with pytest.raises(RuntimeError, match=r"the singular values of 8 -> 8, 16 x 16 differ by"):
        spectrum.all_singular_values(QUICK)


def test_the_reference_is_that_of_the_explicit_matrix() -> None:
    kernel = np.random.default_rng(1).standard_normal((3, 2, 3, 3))
    found = np.sort(spectrum.reference_values(kernel.transpose(2, 3, 1, 0), 5), axis=None)
    matrix = cm.conv_matrix(kernel, (2, 5, 5), padding="same", boundary="circular").toarray()
    np.testing.assert_allclose(found, np.sort(np.linalg.svd(matrix, compute_uv=False)), rtol=1e-12)


def test_power_iteration_finds_the_norm() -> None:
    pytest.importorskip("torch")
    kernel = np.random.default_rng(2).standard_normal((2, 2, 3, 3))
    estimates = spectrum.power_iteration(kernel, 6, "float64", 10.0)(300)
    norm = np.linalg.norm(cm.conv_matrix(kernel, (2, 6, 6), padding=1).toarray(), 2)
    assert estimates[-1] == pytest.approx(norm, rel=1e-3)
    assert estimates[-1] <= norm * (1 + 1e-12)
    assert np.all(np.diff(estimates) > -1e-12)
    assert len(spectrum.power_iteration(kernel, 6, "float32", 0.0)(300)) == 1


def test_norms_of_an_architecture_are_compared() -> None:
    pytest.importorskip("torch")
    rows = {str(row.cells["what"]): row.cells for row in spectrum.architecture_norms(QUICK).rows}
    assert float(str(rows["100 power steps, PyTorch"]["error"]).split()[0]) < 0.05
    others = {name: cells for name, cells in rows.items() if "orthogonium" in name}
    assert len(rows) == 5 + len(others)
    assert all(float(str(cells["error"]).split()[0]) > 0 for cells in others.values())


def test_bounds_of_orthogonium_bound() -> None:
    pytest.importorskip("orthogonium")
    bound = spectrum.orthogonium_bound()
    kernel = np.random.default_rng(3).standard_normal((3, 2, 3, 3))
    norm = np.linalg.norm(cm.conv_matrix(kernel, (2, 6, 6), padding=1).toarray(), 2)
    assert bound is not None
    assert norm <= bound(kernel) <= 2 * norm


def test_errors_of_the_norm_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr(spectrum.spectral, "spectral_norm", lambda *_, tol, **__: 1.0 - 2 * tol)
    with pytest.raises(RuntimeError, match=r"tol=0.001 has the relative error 2\.0e-03"):
        spectrum.padded_norm(QUICK)


def test_bounds_and_structure_tests_run() -> None:
    table = spectrum.default_bounds(QUICK)
    ratios = {str(row.cells["bound"]): row.cells for row in table.rows}
    assert float(str(ratios["norm_bounds, circular"]["circular"])) == pytest.approx(1, abs=1e-4)
    assert float(str(ratios["Sedghi 2019"]["circular"])) == pytest.approx(1, abs=1e-4)
    assert float(str(ratios["Sedghi 2019"]["reflect"])) < 1
    passes = [row.cells["passes"] for row in spectrum.structure_tests(QUICK).rows]
    assert len(passes) == 5


def test_matrices_without_the_structure_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectrum.structured, "is_toeplitz", lambda matrix: False)
    with pytest.raises(RuntimeError, match=r"the matrix Toeplitz, 3 diagonals was not recognised"):
        spectrum.structure_tests(QUICK)
