"""Layers with signed boundaries: spectra, bounds, equivariance and deconvolution, against dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import fft

import convmatrix as cm
from convmatrix import equivariance, spectral
from convmatrix.boundary import SIGNED, Axis
from convmatrix.solve import deconvolve
from convmatrix.spectral import bounds, localisation
from convmatrix.spectral.axis_transforms import axis_transform, extension_norm, read_entries
from convmatrix.spectral.blocks import read_layer
from convmatrix.spectral.map_norms import upper_norm
from tests import random_signed_equivariance, random_signed_spectra
from tests.cases import for_each
from tests.random_signed_spectra import (
    bound_violations,
    centred_layer,
    cut_layer,
    dense_matrix,
    pieces_hold,
    signed_layer,
    spectrum_errors,
)
from tests.random_spectra import random_weights

# --- spectra ---------------------------------------------------------------------------------------------------------


def test_random_spectra_are_those_of_dense_matrices() -> None:
    rng = np.random.default_rng(31)
    names: set[str] = set()
    for number in range(40):
        geometry, weights = centred_layer(rng) if number % 3 else (signed_layer(rng), np.empty(0))
        weights = weights if number % 3 else random_weights(geometry, rng)
        errors = spectrum_errors(geometry, weights, dense_matrix(geometry, weights))
        assert max(errors.values()) <= 1, (geometry, errors)
        names |= set(read_layer(weights, geometry).similar_names)
    assert names >= {"fourier", "sine", "affine", "dense"}


@for_each("n", [1, 2, 7])
def test_the_basis_of_an_antisymmetric_axis_is_the_dst_ii(n: int) -> None:
    axis = cm.ConvGeometry(n, 3, padding="same", boundary="antisymmetric").axes[0]
    basis = axis_transform(axis, "sine").basis(np.arange(n))
    np.testing.assert_allclose(basis.T, fft.dst(np.eye(n), type=2, axis=0, norm="ortho"), atol=1e-15)
    found = spectral.eigenvalues([1, 5, 1], n, padding="same", boundary="antisymmetric")
    np.testing.assert_allclose(found, 5 + 2 * np.cos(np.arange(1, n + 1) * np.pi / n), atol=1e-14)


def test_antireflective_eigenvalues_are_those_of_the_inner_sines() -> None:
    """Serra-Capizzano 2003: h(0) twice, and those of the inner block, which the DST-I diagonalises."""
    n, kernel = 9, np.array([1.0, -2.0, 7.0, -2.0, 1.0])
    geometry = cm.ConvGeometry(n, 5, padding="same", boundary="antireflect")
    dense = dense_matrix(geometry, kernel)
    inner = np.linalg.eigvals(dense[1:-1, 1:-1])
    found = spectral.eigenvalues(kernel, n, padding="same", boundary="antireflect")
    np.testing.assert_allclose(np.sort(found.real), np.sort([5, 5, *inner.real]), atol=1e-12)
    assert np.abs(dense @ dense.T - dense.T @ dense).max() > 1  # it is not normal,
    largest = spectral.singular_values(kernel, n, padding="same", boundary="antireflect")[0]
    assert largest > np.abs(found).max() + 0.01  # so its norm is not its largest eigenvalue
    with pytest.raises(ValueError, match="orthonormal"):
        axis_transform(geometry.axes[0], "affine").basis(np.arange(2))


def test_transforms_are_chosen_by_boundary_and_symmetry() -> None:
    geometry = cm.ConvGeometry(
        (6, 7, 5), (3, 5, 1), padding="same", boundary=("antisymmetric", "antireflect", "circular")
    )
    kernel = np.multiply.outer([1, 3, 1], [[1], [-2], [5], [-2], [1]])
    assert read_layer(kernel, geometry).transform_names == ("sine", "dense", "fourier")
    assert read_layer(kernel, geometry).similar_names == ("sine", "affine", "fourier")
    kernel[0] += 1
    assert read_layer(kernel, geometry).similar_names == ("dense", "affine", "fourier")
    alone = cm.ConvGeometry(1, 3, padding="same", boundary="antisymmetric")  # x, -x, x: no ring
    assert read_layer([1, 2, 4], alone).transform_names == ("dense",)
    np.testing.assert_allclose(spectral.singular_values([1, 2, 4], alone), [3])


# --- bounds ----------------------------------------------------------------------------------------------------------


def test_random_bounds_are_never_below_the_norm() -> None:
    rng = np.random.default_rng(32)
    seen = set()
    for _ in range(24):
        geometry = signed_layer(rng)
        weights = random_weights(geometry, rng)
        ratios = bound_violations(geometry, weights, dense_matrix(geometry, weights))
        assert all(ratio >= 1 - 1e-13 for ratio in ratios.values()), (geometry, ratios)
        seen |= set(ratios)
    assert seen >= {"ring 0", "unfold", "fold", "moduli", "pieces", "upper", "refined", "schur", "upper_norm"}


def test_bounds_that_take_coefficients_for_ones_would_be_wrong() -> None:
    """With an antireflective boundary the norm exceeds that of the moduli of weights without coefficients."""
    geometry = cm.ConvGeometry(6, 3, padding="same", boundary="antireflect")
    ones = np.ones(3)
    norm = float(np.linalg.norm(dense_matrix(geometry, ones), 2))
    assert norm > 3 + 1e-3  # more than the sum of the moduli
    difference = np.array([1.0, 0.0, -1.0])  # with the moduli of its weights, the coefficients -1 would cancel others
    for taps in (ones, difference, np.array([1.0, -2.0, 1.0])):
        dense, weights = dense_matrix(geometry, taps), taps.reshape(geometry.weight_shape)
        layer = read_layer(weights, geometry)
        assert bounds.moduli_bound(layer) >= np.linalg.norm(np.abs(dense), 2) * (1 - 1e-12)
        assert layer.schur_number >= np.linalg.norm(np.abs(dense), 2)
        assert upper_norm(weights, geometry) >= np.linalg.norm(dense, 2)


def test_random_pieces_bound_the_norm() -> None:
    rng = np.random.default_rng(33)
    cuts = 0
    for _ in range(16):
        geometry, weights, plan = cut_layer(rng)
        cuts += sum(len(cut.pieces) > 1 for cut in plan)
        assert pieces_hold(geometry, weights, plan)
    assert cuts > 3


@for_each("boundary", SIGNED)
def test_bounds_of_larger_layers_are_close(boundary: str) -> None:
    weights = np.random.default_rng(20).standard_normal((3, 4, 3, 3))
    geometry = cm.ConvGeometry((16, 17), (3, 3), in_channels=4, out_channels=3, padding=1, boundary=boundary)
    norm = float(np.linalg.norm(dense_matrix(geometry, weights), 2))
    lower, upper = spectral.norm_bounds(weights, geometry)
    assert lower <= norm <= upper <= 1.08 * lower
    assert spectral.spectral_norm(weights, geometry, method="lanczos") == pytest.approx(norm, rel=1e-6)


@for_each("boundary, n, padding", [(b, n, p) for b in SIGNED for n, p in [(1, 3), (2, 9), (5, 2), (5, 20)]])
def test_the_norm_of_an_extension_is_bounded(boundary: str, n: int, padding: int) -> None:
    axis = cm.ConvGeometry(n, 3, padding=padding, boundary=boundary).axes[0]
    extension = random_signed_spectra.extended(np.eye(n), padding, padding, boundary)
    norm = float(np.linalg.norm(extension, 2))
    assert norm <= extension_norm(axis) * (1 + 1e-14) <= 1.25 * norm


def test_entries_on_one_sample_are_added() -> None:
    axis = Axis(n_outputs=2, n_samples=2, n_taps=1, pad_low=1, boundary="antireflect")  # 2 x0 - x1, x0
    reads = read_entries(axis)
    assert reads.outputs.tolist() == [0, 0, 1]
    assert reads.samples.tolist() == [0, 1, 0]
    assert reads.coefficients.tolist() == [2, -1, 1]
    assert reads.row_bound() == 3
    assert reads.column_sums().tolist() == [7, 3]


@for_each("boundary", SIGNED)
def test_projection_keeps_the_bound(boundary: str) -> None:
    kernel = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0], [1.0, 1.0, -1.0]])
    options = {"padding": "same", "boundary": boundary}
    found = spectral.project_norm(kernel, (6, 5), bound=2.0, **options)
    norm = float(np.linalg.norm(dense_matrix(cm.ConvGeometry((6, 5), (3, 3), **options), found), 2))
    assert 1.99 <= norm <= 2


@for_each("boundary", SIGNED)
def test_the_density_counts_the_singular_values(boundary: str) -> None:
    kernel, options = [[1, 2], [3, -4]], {"padding": "same", "boundary": boundary}
    values = spectral.singular_values(kernel, (9, 8), **options)
    found = spectral.singular_value_density(kernel, (9, 8), bins=8, vectors=4, steps=30, **options)
    share = np.searchsorted(np.sort(values), found.edges, side="right") / len(values)
    assert (np.abs(share - found.cumulative) <= found.error + 1e-9).all()


def test_the_lipschitz_bound_of_a_network_holds() -> None:
    layers = [cm.ConvGeometry(7, 3, padding="same", boundary=boundary) for boundary in SIGNED]
    kernels = [np.array([1.0, -1.0, 2.0]), np.array([2.0, 0.0, -1.0])]
    nodes = [cm.network.Convolution(layer, kernel) for layer, kernel in zip(layers, kernels, strict=True)]
    bound = spectral.lipschitz_bound(cm.Network(nodes))
    dense = [dense_matrix(layer, kernel) for layer, kernel in zip(layers, kernels, strict=True)]
    assert (
        float(np.linalg.norm(dense[1] @ dense[0], 2)) <= bound <= np.prod([np.linalg.norm(A, 2) for A in dense]) * 1.01
    )


def test_the_spectral_comparison_reports(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert random_signed_spectra.main(["--count", "2"]) == 0
    assert "2 layers: spectra against dense matrices, 0 WRONG" in capsys.readouterr().out
    monkeypatch.setattr(bounds, "moduli_bound", lambda layer: 1e-9)
    assert random_signed_spectra.main(["--count", "2"]) == 1
    assert "moduli on the wrong side" in capsys.readouterr().out
    monkeypatch.setattr(localisation, "localised_bound", lambda *_: 0.0)
    assert not pieces_hold(*cut_layer(np.random.default_rng(1)))


# --- deconvolution ---------------------------------------------------------------------------------------------------


@for_each("boundary", ["antisymmetric", ("antisymmetric", "circular"), ("symmetric", "antisymmetric")])
def test_the_sine_transform_solves_antisymmetric_equations(boundary: str | tuple[str, str]) -> None:
    kernel = np.array([[1.0, 2.0, 1.0], [2.0, 9.0, 2.0], [1.0, 2.0, 1.0]])
    kernel[1, 1] += 1  # not of rank one
    geometry = cm.ConvGeometry((7, 6), (3, 3), padding="same", boundary=boundary)
    dense, rng = dense_matrix(geometry, kernel), np.random.default_rng(3)
    for y in (rng.standard_normal((7, 6)), rng.standard_normal((7, 6)) + 1j * rng.standard_normal((7, 6))):
        found = deconvolve(y, kernel, geometry, parameter=0.5)
        expected = np.linalg.solve(dense.T @ dense + 0.25 * np.eye(42), dense.T @ y.ravel())
        assert found.route == "transform"
        np.testing.assert_allclose(found.x.ravel(), expected, rtol=1e-12, atol=1e-13)


def test_the_power_of_a_signal_is_given_at_the_frequencies_of_the_dst() -> None:
    n, kernel = 6, [1.0, 4.0, 1.0]
    power, rho = np.arange(1.0, 7), 0.3
    options = {"padding": "same", "boundary": "antisymmetric"}
    y = np.random.default_rng(4).standard_normal(n)
    found = deconvolve(y, kernel, n, method="wiener", parameter=rho, signal_power=power, **options)
    S = fft.dst(np.eye(n), type=2, axis=0, norm="ortho")
    dense = dense_matrix(cm.ConvGeometry(n, 3, **options), np.array(kernel))
    expected = np.linalg.solve(dense.T @ dense + rho * S.T @ np.diag(1 / power) @ S, dense.T @ y)
    np.testing.assert_allclose(found.x, expected, rtol=1e-12)


@for_each("boundary", SIGNED)
@for_each("kind", ["separable", "dense", "iteration"])
def test_every_route_solves_signed_equations(boundary: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    kernel = np.outer([1.0, 5.0, 2.0], [2.0, 7.0, 1.0])
    if kind != "separable":
        kernel[1, 1] += 3
    if kind == "iteration":
        monkeypatch.setattr("convmatrix.solve.decompositions.MOST_WORK", 0.0)
    geometry = cm.ConvGeometry((8, 7), (3, 3), padding="same", boundary=boundary)
    y = rng.standard_normal((8, 7))
    found = deconvolve(y, kernel, geometry, parameter=3.0, tol=1e-12)
    dense = dense_matrix(geometry, kernel)
    expected = np.linalg.solve(dense.T @ dense + 9 * np.eye(56), dense.T @ y.ravel())
    assert found.route == kind
    np.testing.assert_allclose(found.x.ravel(), expected, atol=1e-8 * np.abs(expected).max())


# --- equivariance ----------------------------------------------------------------------------------------------------


def test_random_verdicts_are_those_of_the_dense_tensor() -> None:
    rng = np.random.default_rng(34)
    for _ in range(15):
        geometry = random_signed_equivariance.small_layer(rng)
        wrong, _ = random_signed_equivariance.disagreements(geometry)
        assert not wrong, (geometry, wrong)


def test_two_axes_that_commute_up_to_their_sign_commute_together() -> None:
    """One axis reads x0 and -x1: with the input shifted by one, it is minus its output shifted by one."""
    axis = {"stride": 2, "padding": [(0, 1)], "boundary": "antisymmetric"}
    assert cm.ConvGeometry(2, 1, **axis).pattern().matrix([1]).toarray().tolist() == [[1, 0], [0, -1]]
    assert not equivariance.check_shift(cm.ConvGeometry(2, 1, **axis), 1).holds
    layer = cm.ConvGeometry((2, 2), (1, 1), **(axis | {"padding": [(0, 1)] * 2}))
    verdict = equivariance.check_shift(layer, (1, 1))
    assert verdict.holds
    assert verdict.output_shift == (1, 1)
    assert not equivariance.check_shift(layer, (1, 0)).holds
    assert equivariance.check_network([layer], (1, 1)).holds
    assert not equivariance.check_network([layer], (0, 1)).holds
    three = cm.ConvGeometry((2, 2, 2), (1, 1, 1), **(axis | {"padding": [(0, 1)] * 3}))
    assert not equivariance.check_shift(three, (1, 1, 1)).holds
    # An axis of one sample reads x and -x: its output, shifted by one, is negated, as that of the other axis is.
    helped = cm.ConvGeometry((2, 1), (1, 1), stride=(2, 1), padding=[(0, 1)] * 2, boundary="antisymmetric")
    assert equivariance.check_shift(helped, (1, 0)).output_shift == (1, 1)
    assert equivariance.check_shift(helped, (1, 0)).holds
    assert equivariance.check_network([helped], (1, 0)).holds


def test_the_comparison_of_verdicts_reports(capsys: pytest.CaptureFixture[str]) -> None:
    assert random_signed_equivariance.main(["--count", "3"]) == 0
    assert "3 layers: 0 WRONG" in capsys.readouterr().out
