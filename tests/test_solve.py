"""Deconvolution and preconditioners: against dense filters, explicit matrices and published values."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import numpy as np
import pytest
from scipy import fft, linalg, sparse
from scipy.sparse.linalg import cg, lsqr

import convmatrix as cm
from convmatrix.solve import decompositions, parameter_rules
from tests.cases import CASES, each_case, for_each
from tests.random_spectra import exact_layers
from tests.strategies import random_layer

RING: dict[str, Any] = {"padding": "same", "boundary": "circular"}
SAME: dict[str, Any] = {"padding": "same"}
METHODS = ("tikhonov", "tsvd", "wiener")


@functools.lru_cache(maxsize=1)
def decomposition(data: bytes, shape: tuple[int, int], dtype: str) -> tuple[Any, Any, Any]:
    """Return the singular value decomposition of a matrix, which many parameters share."""
    return tuple(np.linalg.svd(np.frombuffer(data, dtype).reshape(shape), full_matrices=False))


def dense_filter(A: Any, y: Any, method: str, parameter: float) -> Any:
    """Return the filtered solution by its formula, from a dense decomposition."""
    U, s, Vh = decomposition(np.asarray(A).tobytes(), A.shape, A.dtype.str)
    if method == "tsvd":
        factors = np.divide(1, s, out=np.zeros_like(s), where=s >= parameter * s[0])
    else:
        factors = s / (s**2 + (parameter**2 if method == "tikhonov" else parameter))
    return Vh.conj().T @ (factors * (U.conj().T @ y).T).T


def random_problem(geometry: cm.ConvGeometry, rng: np.random.Generator) -> tuple[Any, Any, Any]:
    """Return weights, matrix and data; some are complex."""
    w = rng.standard_normal(geometry.weight_shape)
    w = w + 1j * rng.standard_normal(w.shape) if rng.integers(3) == 0 else w
    y = rng.standard_normal(geometry.n_out)
    y = y + 1j * rng.standard_normal(y.shape) if rng.integers(4) == 0 else y
    return w, cm.conv_matrix(w, geometry).toarray(), y


def random_parameter(A: Any, method: str, rng: np.random.Generator) -> float:
    """Return a parameter to which a dense filter is not sensitive."""
    s = np.linalg.svd(A, compute_uv=False)
    ratio = float(10 ** rng.uniform(-2, -0.1))
    if method == "tsvd":
        return ratio if np.abs(s / s[0] - ratio).min() > 1e-9 else 0.999 * ratio
    return ratio * s[0] if method == "tikhonov" else ratio * s[0] ** 2


def by_iteration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put all decompositions out of reach."""
    monkeypatch.setattr(decompositions, "MOST_WORK", 0)
    monkeypatch.setattr(decompositions, "MOST_WORK_WITH_TRANSFORM", 0)


def blurred(shape: tuple[int, ...], noise: float, seed: int = 0, **options: Any) -> tuple[Any, Any, Any]:
    """Return a kernel of rank one, a smooth signal, and the signal blurred with noise."""
    rng = np.random.default_rng(seed)
    kernel = np.ones(())
    signal: Any = np.ones(())
    for n in shape:
        kernel = np.multiply.outer(kernel, [0.1, 0.25, 0.3, 0.25, 0.1])
        signal = np.multiply.outer(signal, np.sin(np.arange(n) * 7.0 / n) + (np.arange(n) > n / 3))
    y = cm.conv_matrix(kernel, shape, **options) @ signal.ravel()
    return kernel, signal, y + noise * rng.standard_normal(len(y))


# --- given parameters ------------------------------------------------------------------------------------------------


@each_case
def test_every_kind_of_layer(geometry: cm.ConvGeometry) -> None:
    rng = np.random.default_rng(1)
    w, A, y = random_problem(geometry, rng)
    if not A.any():
        return
    for method in METHODS:
        parameter = random_parameter(A, method, rng)
        found = cm.solve.deconvolve(y, w, geometry, method=method, parameter=parameter)
        expected = dense_filter(A, y, method, parameter)
        np.testing.assert_allclose(found.x.ravel(), expected, atol=1e-10 * np.abs(expected).max())
        assert found.residual == pytest.approx(np.linalg.norm(A @ expected - y), rel=1e-9)
        assert (found.method, found.parameter, found.rule) == (method, pytest.approx(parameter, rel=1e-15), "given")
        assert (found.iterations, found.gradient) == (0, 0)


def test_random_layers() -> None:
    rng = np.random.default_rng(2)
    routes = set()
    layers = [geometry for geometry, _ in exact_layers(rng, 60)] + [random_layer(rng) for _ in range(100)]
    for geometry in layers:
        w, A, y = random_problem(geometry, rng)
        if not A.any():
            continue
        for method in METHODS:
            parameter = random_parameter(A, method, rng)
            found = cm.solve.deconvolve(y, w, geometry, method=method, parameter=parameter)
            expected = dense_filter(A, y, method, parameter)
            np.testing.assert_allclose(found.x.ravel(), expected, atol=1e-9 * np.abs(expected).max(), err_msg=geometry)
            assert np.isrealobj(found.x) == (np.isrealobj(w) and np.isrealobj(y))
            routes.add(found.route)
    assert routes == {"transform", "separable", "dense"}


def test_symmetric_kernels_take_the_cosine_transform() -> None:
    rng = np.random.default_rng(3)
    for geometry, w in exact_layers(rng, 30):
        if geometry.boundary[0] != "symmetric":
            continue
        A, y = cm.conv_matrix(w, geometry).toarray(), rng.standard_normal(geometry.n_out)
        parameter = random_parameter(A, "tikhonov", rng)
        found = cm.solve.deconvolve(y, w, geometry, parameter=parameter)
        assert found.route == "transform"
        np.testing.assert_allclose(found.x.ravel(), dense_filter(A, y, "tikhonov", parameter), atol=1e-9)


def test_iterations_agree_with_dense_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    by_iteration(monkeypatch)
    rng = np.random.default_rng(4)
    for geometry in [*CASES.values(), *(random_layer(rng) for _ in range(20))]:
        w, A, y = random_problem(geometry, rng)
        if not A.any():
            continue
        for method in ("tikhonov", "wiener"):
            parameter = random_parameter(A, method, rng)
            found = cm.solve.deconvolve(y, w, geometry, method=method, parameter=parameter, tol=1e-10)
            expected = dense_filter(A, y, method, parameter)
            np.testing.assert_allclose(found.x.ravel(), expected, atol=1e-7 * np.abs(expected).max())
            assert (found.route, found.iterations > 0) == ("iteration", True)
            assert found.gradient <= 2e-10


def test_iterations_agree_with_lsqr() -> None:
    rng = np.random.default_rng(5)
    kernel, shape = rng.standard_normal((5, 4)), (70, 60)  # neither of rank one nor small
    A = cm.conv_matrix(kernel, shape, boundary="reflect", **SAME)
    y = rng.standard_normal(A.shape[0])
    found = cm.solve.deconvolve(y, kernel, shape, parameter=0.5, tol=1e-9, boundary="reflect", **SAME)
    expected = lsqr(A, y, damp=0.5, atol=1e-12, btol=1e-12)[0]
    np.testing.assert_allclose(found.x.ravel(), expected, atol=1e-7)
    assert found.x.shape == shape
    gradient = A.T @ (y - A @ found.x.ravel()) - 0.25 * found.x.ravel()
    assert found.gradient == pytest.approx(np.linalg.norm(gradient) / np.linalg.norm(A.T @ y), rel=1e-3)


@for_each("boundary", cm.BOUNDARIES)
def test_without_noise_the_signal_comes_back(boundary: str) -> None:
    x = np.random.default_rng(6).standard_normal((9, 8))
    kernel = [[1, 2, 1], [2, 30, 3], [1, 4, 1]]
    y = cm.conv_matrix(kernel, (9, 8), boundary=boundary, **SAME) @ x.ravel()
    found = cm.solve.deconvolve(y.reshape(9, 8), kernel, (9, 8), parameter=0, boundary=boundary, **SAME)
    np.testing.assert_allclose(found.x, x, atol=1e-12)
    assert found.residual < 1e-11


def test_least_squares_and_least_norm() -> None:
    rng = np.random.default_rng(7)
    for padding in ("full", "valid"):  # tall, wide
        A = cm.conv_matrix([3, -1, 2], 9, padding=padding).toarray()
        y = rng.standard_normal(A.shape[0])
        found = cm.solve.deconvolve(y, [3, -1, 2], 9, parameter=0, padding=padding)
        np.testing.assert_allclose(found.x, np.linalg.lstsq(A, y, rcond=None)[0], atol=1e-12)


def test_wiener_is_tikhonov_for_white_signals() -> None:
    kernel, _, y = blurred((12, 10), 0.1, **RING)
    one = cm.solve.deconvolve(y, kernel, (12, 10), method="wiener", parameter=0.04, **RING)
    np.testing.assert_allclose(one.x, cm.solve.deconvolve(y, kernel, (12, 10), parameter=0.2, **RING).x, atol=1e-13)
    power = np.full((12, 10), 5.0)
    other = cm.solve.deconvolve(y, kernel, (12, 10), method="wiener", parameter=0.2, signal_power=power, **RING)
    np.testing.assert_allclose(other.x, one.x, atol=1e-13)


@for_each("real", [True, False])
def test_wiener_with_the_power_of_the_signal(real: bool) -> None:
    rng = np.random.default_rng(8)
    kernel, shape = rng.standard_normal((3, 3)), (6, 7)
    y, power = rng.standard_normal(shape), rng.uniform(0.1, 10, shape)
    with pytest.raises(ValueError, match=r"signal_power differs between .* f and -f"):
        cm.solve.deconvolve(y, kernel, shape, method="wiener", parameter=0.3, signal_power=power, **RING)
    if real:
        power += np.roll(power[::-1, ::-1], (1, 1), (0, 1))
    else:
        y = y + 1j * rng.standard_normal(shape)
    found = cm.solve.deconvolve(y, kernel, shape, method="wiener", parameter=0.3, signal_power=power, **RING)
    A = cm.conv_matrix(kernel, shape, **RING).toarray()
    F = np.kron(linalg.dft(6, scale="sqrtn"), linalg.dft(7, scale="sqrtn"))
    covariance = (F.conj().T * power.ravel()) @ F
    expected = covariance @ A.T @ np.linalg.solve(A @ covariance @ A.T + 0.3 * np.eye(42), y.ravel())
    np.testing.assert_allclose(found.x.ravel(), expected, atol=1e-12)


def test_wiener_with_power_on_cosines_and_channels() -> None:
    rng = np.random.default_rng(9)
    w = rng.standard_normal((2, 2, 3))
    w = w + w[..., ::-1]
    y, power = rng.standard_normal((2, 8)), rng.uniform(0.1, 10, 8)
    options: dict[str, Any] = {"padding": "same", "boundary": "symmetric"}
    found = cm.solve.deconvolve(y, w, (2, 8), method="wiener", parameter=0.3, signal_power=power, **options)
    A = cm.conv_matrix(w, (2, 8), **options).toarray()
    from scipy.fft import dct

    C = dct(np.eye(8), axis=0, norm="ortho")
    covariance = np.kron(np.eye(2), C.T * power @ C)
    expected = covariance @ A.T @ np.linalg.solve(A @ covariance @ A.T + 0.3 * np.eye(16), y.ravel())
    np.testing.assert_allclose(found.x.ravel(), expected, atol=1e-12)


@for_each("scale", [1e-250, 1e-3, 1e150])
@for_each("iterate", [False, True])
def test_any_scale(scale: float, iterate: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if iterate:
        by_iteration(monkeypatch)
    kernel, _, y = blurred((20,), 0.1, **SAME)
    one = cm.solve.deconvolve(y, kernel, 20, parameter=0.1, tol=1e-12, **SAME)
    other = cm.solve.deconvolve(y * scale, kernel * scale, 20, parameter=0.1 * scale, tol=1e-12, **SAME)
    np.testing.assert_allclose(other.x, one.x, rtol=1e-9)
    assert other.residual == pytest.approx(one.residual * scale, rel=1e-9)
    assert other.parameter == pytest.approx(0.1 * scale)
    coloured = cm.solve.deconvolve(y, kernel * scale, 20, method="wiener", parameter="discrepancy", noise=0.2, **SAME)
    assert coloured.residual == pytest.approx(0.2 * math.sqrt(20), rel=1e-2)


def test_heavy_regularisation_keeps_its_digits() -> None:
    kernel, _, y = blurred((20,), 0.1, **SAME)
    A = cm.conv_matrix(kernel, 20, **SAME)
    found = cm.solve.deconvolve(y, kernel, 20, parameter=1e12, **SAME)
    np.testing.assert_allclose(found.x, A.T @ y / 1e24, rtol=1e-10)


def test_zero_data_have_a_zero_solution(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not cm.solve.deconvolve(np.zeros(5), [1, 2, 1], 5, parameter=0.1, **SAME).x.any()
    by_iteration(monkeypatch)
    found = cm.solve.deconvolve(np.zeros(5), [1, 2, 1], 5, parameter=0.1, **SAME)
    assert not found.x.any()
    assert (found.iterations, found.residual, found.gradient) == (0, 0, 0)


def test_shapes_in_and_out() -> None:
    def shape_of(y_shape: tuple[int, ...], kernel: tuple[int, ...], shape: Any) -> tuple[int, ...]:
        return cm.solve.deconvolve(np.ones(y_shape), np.ones(kernel), shape, parameter=1, **SAME).x.shape

    assert shape_of((4, 6), (3, 3), (4, 6)) == (4, 6)
    assert shape_of((24,), (3, 3), (4, 6)) == (4, 6)
    assert shape_of((1, 4, 6), (3, 3), (4, 6)) == (1, 4, 6)
    assert shape_of((4, 6), (1, 1, 3, 3), (1, 4, 6)) == (4, 6)
    assert shape_of((4, 6), (1, 2, 3, 3), (2, 4, 6)) == (2, 4, 6)
    assert shape_of((2, 4, 6), (2, 1, 3, 3), (1, 4, 6)) == (1, 4, 6)
    assert shape_of((1, 6), (1, 3), (1, 6)) == (1, 6)


def test_result_is_frozen_and_integers_are_welcome() -> None:
    found = cm.solve.deconvolve([1, 2, 3, 4], [1, 5, 1], 4, parameter=0, **SAME)
    with pytest.raises(ValueError, match="read-only"):
        found.x[0] = 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.residual = 0.0  # type: ignore[misc]
    expected = np.linalg.solve(cm.conv_matrix([1, 5, 1], 4, **SAME).toarray(), [1, 2, 3, 4])
    np.testing.assert_allclose(found.x, expected, atol=1e-14)


# --- rules -----------------------------------------------------------------------------------------------------------


def gcv_score(A: Any, y: Any, method: str, parameter: float) -> float:
    """Return the score of cross-validation, by its definition with the influence matrix."""
    influence = A @ dense_filter(A, np.eye(len(y)), method, parameter)
    return float(np.linalg.norm(influence @ y - y) ** 2 / np.trace(np.eye(len(y)) - influence).real ** 2)


PROBLEMS = {
    "ring": ((30,), RING),
    "zero": ((30,), SAME),
    "cosine": ((6, 7), {"padding": "same", "boundary": "symmetric"}),
    "tall": ((30,), {"padding": "full"}),
    "wide": ((30,), {}),
    "tall by wide": ((7, 9), {"padding": [(4, 4), (0, 0)]}),
    "replicate": ((6, 7), {"padding": "same", "boundary": "replicate"}),
}


@for_each("name", PROBLEMS)
@for_each("method", METHODS)
def test_cross_validation_has_the_least_score(name: str, method: Any) -> None:
    shape, options = PROBLEMS[name]
    kernel, _, y = blurred(shape, 0.1, **options)
    A = cm.conv_matrix(kernel, shape, **options).toarray()
    found = cm.solve.deconvolve(y, kernel, shape, method=method, **options)
    assert found.rule == "gcv"
    np.testing.assert_allclose(found.x.ravel(), dense_filter(A, y, method, found.parameter), atol=1e-8)
    s = np.linalg.svd(A, compute_uv=False)
    tried = np.geomspace(1e-4, 10, 120)
    if method == "tsvd":
        tried = (s[:-1] + s[1:])[s[:-1] - s[1:] > 1e-9] / 2 / s[0]
    scores = [gcv_score(A, y, method, t) for t in tried]
    assert gcv_score(A, y, method, found.parameter) <= min(scores) * (1 + 1e-9)
    assert gcv_score(A, y, method, found.parameter) < 0.9 * max(scores)


@for_each("name", PROBLEMS)
@for_each("method", METHODS)
def test_discrepancy_has_the_residual_of_the_noise(name: str, method: Any) -> None:
    shape, options = PROBLEMS[name]
    kernel, _, y = blurred(shape, 0.1, **options)
    target = 0.2 * math.sqrt(len(y))
    found = cm.solve.deconvolve(y, kernel, shape, method=method, parameter="discrepancy", noise=0.2, **options)
    assert found.rule == "discrepancy"
    if method != "tsvd":
        assert found.residual == pytest.approx(target, rel=1e-9)
        return
    assert found.residual <= target
    A = cm.conv_matrix(kernel, shape, **options).toarray()
    s = np.linalg.svd(A, compute_uv=False)
    last = s[s >= found.parameter * s[0]][-1]  # without the last terms the residual is too large
    fewer = dense_filter(A, y, "tsvd", (last + 1e-9) / s[0])
    assert np.linalg.norm(A @ fewer - y) > target


def test_discrepancy_for_coloured_signals() -> None:
    kernel, _, y = blurred((8, 9), 0.1, **RING)
    power = 1 / (1 + np.add.outer(np.fft.fftfreq(8, 1 / 8) ** 2, np.fft.fftfreq(9, 1 / 9) ** 2))
    found = cm.solve.deconvolve(
        y, kernel, (8, 9), method="wiener", parameter="discrepancy", noise=0.15, signal_power=power, **RING
    )
    assert found.residual == pytest.approx(0.15 * math.sqrt(72), rel=1e-9)


def test_rules_by_iteration_agree_with_the_exact_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    shape, options = (40, 50), {"padding": "same", "boundary": "reflect"}
    kernel, _, y = blurred(shape, 0.2, **options)
    calls: dict[str, dict[str, Any]] = {"gcv": {}, "discrepancy": {"noise": 0.25}}
    exact = {
        rule: cm.solve.deconvolve(y, kernel, shape, parameter=rule, **extra, **options) for rule, extra in calls.items()
    }
    assert {found.route for found in exact.values()} == {"separable"}
    by_iteration(monkeypatch)
    found = cm.solve.deconvolve(y, kernel, shape, parameter="discrepancy", noise=0.25, **options)
    assert found.parameter == pytest.approx(exact["discrepancy"].parameter, rel=1e-2)
    assert found.residual == pytest.approx(0.25 * math.sqrt(2000), rel=1e-3)
    for seed in range(3):  # the trace is an estimate
        found = cm.solve.deconvolve(y, kernel, shape, rng=seed, **options)
        assert found.parameter == pytest.approx(exact["gcv"].parameter, rel=0.25)
        assert np.linalg.norm(found.x - exact["gcv"].x) < 0.1 * np.linalg.norm(exact["gcv"].x)
    wiener = cm.solve.deconvolve(y, kernel, shape, method="wiener", rng=0, **options)
    assert wiener.parameter == pytest.approx(cm.solve.deconvolve(y, kernel, shape, rng=0, **options).parameter ** 2)


def test_regularisation_helps_and_the_right_boundary_too() -> None:
    kernel, signal, y = blurred((60,), 0.02, **SAME)
    found = cm.solve.deconvolve(y, kernel, 60, **SAME)
    naive = cm.solve.deconvolve(y, kernel, 60, parameter=0, **SAME)
    wrong = cm.solve.deconvolve(y, kernel, 60, **RING)
    errors = [float(np.linalg.norm(result.x - signal)) for result in (found, naive, wrong)]
    assert errors[0] < 0.7 * errors[1]
    assert errors[0] < 0.7 * errors[2]


@for_each("options, route", [(RING, "transform"), (SAME, "dense")])
def test_rules_with_more_outputs_than_inputs(options: dict[str, Any], route: str) -> None:
    rng = np.random.default_rng(10)
    w, x = rng.standard_normal((3, 1, 4)), np.sin(np.arange(20.0))
    A = cm.conv_matrix(w, (1, 20), **options).toarray()
    y = A @ x + 0.3 * rng.standard_normal(60)
    found = cm.solve.deconvolve(y, w, (1, 20), parameter="discrepancy", noise=0.35, **options)
    assert found.route == route
    assert found.residual == pytest.approx(0.35 * math.sqrt(60), rel=1e-9)
    found = cm.solve.deconvolve(y, w, (1, 20), **options)
    best = min(gcv_score(A, y, "tikhonov", t) for t in np.geomspace(1e-3, 10, 200))
    assert gcv_score(A, y, "tikhonov", found.parameter) <= best * (1 + 1e-9)
    with pytest.raises(ValueError, match="no solution has a residual"):
        cm.solve.deconvolve(y, w, (1, 20), parameter="discrepancy", noise=0.1, **options)


def test_equal_singular_values_are_kept_together() -> None:
    # The frequencies (f, g), (g, f) and their negatives differ by rounding alone.
    rng = np.random.default_rng(10)
    kernel, y = rng.standard_normal((5, 5)), rng.standard_normal((8, 8))
    kernel += kernel.T
    for noise in np.linspace(0.02, 0.98, 49) * np.linalg.norm(y) / 8:
        found = cm.solve.deconvolve(y, kernel, (8, 8), method="tsvd", parameter="discrepancy", noise=noise, **RING)
        kept = np.abs(np.fft.fft2(found.x)) > 1e-9
        np.testing.assert_array_equal(kept, kept.T)
        np.testing.assert_array_equal(kept, np.roll(kept[::-1, ::-1], (1, 1), (0, 1)))


def test_truncation_does_not_tear_equal_values_apart() -> None:
    values = np.array([1, 0.1, 0.5, 0.5 - 1e-15, 0.3])
    spectrum = parameter_rules.Spectrum(values, np.array([9.0, 1, 2, 2, 1]), 0.0, 5)
    assert parameter_rules.truncation(spectrum, math.sqrt(4.5)) == pytest.approx(0.4)  # one 0.5 more would do
    assert parameter_rules.truncation(spectrum, math.sqrt(7.5)) == pytest.approx(0.75)
    slow = parameter_rules.Spectrum(1 - 1e-17 * np.arange(5), np.ones(5), 0.0, 5)
    assert 0 < parameter_rules.truncation(slow, None) < 1


# --- quadrature ------------------------------------------------------------------------------------------------------


def test_bidiagonalisation_is_a_quadrature_rule() -> None:
    rng = np.random.default_rng(11)
    operator = cm.ConvOperator(rng.standard_normal((4, 3)), (7, 6), boundary="replicate", **SAME)
    A = operator @ np.eye(42)
    start = rng.standard_normal(42)
    process = parameter_rules.Bidiagonalisation(operator, start)
    process.extend(6)
    values, weights, outside = process.nodes()
    assert process.steps == 6
    assert weights.sum() + outside == pytest.approx(start @ start)
    for power in range(6):  # exact for polynomials
        expected = start @ np.linalg.matrix_power(A @ A.T, power) @ start
        assert (weights * values ** (2 * power)).sum() + outside * (power == 0) == pytest.approx(expected, rel=1e-9)


def test_bidiagonalisation_ends_where_the_space_does() -> None:
    identity = cm.ConvOperator([2.0], 5)
    process = parameter_rules.Bidiagonalisation(identity, np.arange(1.0, 6))
    process.extend(9)
    assert (process.steps, process.exhausted) == (1, True)
    values, weights, outside = process.nodes()
    assert (values.tolist(), outside) == ([2.0], 0.0)
    assert weights == pytest.approx([55.0])
    column = parameter_rules.Bidiagonalisation(cm.ConvOperator([1.0, 1.0], 2, padding=[(1, 0)]), np.array([0.0, 1.0]))
    column.extend(0)
    assert column.nodes()[2] == 1
    column.extend(5)
    assert column.steps == 2


# --- what is refused -------------------------------------------------------------------------------------------------

ONES = np.ones(6)


@for_each(
    "y, kernel, options, message",
    [
        (ONES, [1, 2, 1], {"method": "lucy"}, "method 'lucy'.*tikhonov, tsvd, wiener"),
        (ONES, [1, 2, 1], {"parameter": "aic"}, "parameter 'aic'.*gcv, discrepancy"),
        (ONES, [1, 2, 1], {"parameter": -0.1}, r"parameter=-0.1 .* 0"),
        (ONES, [1, 2, 1], {"parameter": math.nan}, r"parameter=nan"),
        (ONES, [1, 2, 1], {"parameter": 1.1, "method": "tsvd"}, "parameter=1.1 "),
        (ONES, [1, 2, 1], {"parameter": "discrepancy"}, "discrepancy.*noise=None"),
        (ONES, [1, 2, 1], {"parameter": "discrepancy", "noise": -1}, "noise=-1"),
        (ONES, [1, 2, 1], {"parameter": "discrepancy", "noise": 0}, "noise=0"),
        (ONES, [1, 2, 1], {"noise": 0.1}, "noise=0.1 .*parameter='discrepancy'"),
        (ONES, [1, 2, 1], {"parameter": 1, "tol": 0}, "tol=0 .*0 and 1"),
        (ONES, [1, 2, 1], {"parameter": 1, "max_iterations": 0}, "max_iterations .*1.* 0"),
        (np.ones(5), [1, 2, 1], {}, r"y has shape \(5,\).*\(1, 6\) or \(6,\)"),
        (np.ones((6, 1)), [1, 2, 1], {}, r"y has shape \(6, 1\)"),
        (np.r_[ONES[1:], math.nan], [1, 2, 1], {}, "y has 1 .* 6 .*NaN"),
        (ONES, [1, math.inf, 1], {}, "the kernel has 1 infinite or NaN"),
        (ONES, [0, 0, 0], {}, r"the kernel is zero \(3 weights\)"),
        (np.zeros(6), [1, 2, 1], {}, "y is zero.*parameter='gcv'"),
        (ONES, [1, 2, 1], {"parameter": "discrepancy", "noise": 5}, "the noise explains all of y"),
        (ONES, [1, 2, 1], {"signal_power": ONES}, "signal_power .*'wiener'.*'tikhonov'"),
        (ONES, [1, 2, 1], {"method": "wiener", "signal_power": [1, 2]}, r"signal_power has shape \(2,\).*\(6,\)"),
        (ONES, [1, 2, 1], {"method": "wiener", "signal_power": ONES - 1}, "signal_power must be positive and finite"),
    ],
)
def test_bad_arguments(y: Any, kernel: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cm.solve.deconvolve(y, kernel, 6, **options, **SAME)


@for_each(
    "y, options, message",
    [
        (["a"] * 6, {}, "y has dtype <U1"),
        (ONES, {"parameter": True}, "parameter .*gcv, discrepancy.*True"),
        (ONES, {"parameter": None}, "parameter .*None"),
        (ONES, {"stride": 1.5}, "stride .*1.5"),
    ],
)
def test_bad_types(y: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        cm.solve.deconvolve(y, [1, 2, 1], 6, **options, **SAME)


def test_transposed_images_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"y has shape \(6, 4\), but the layer's output is \(1, 4, 6\) or \(24,\) or \(4, 6\)"
    ):
        cm.solve.deconvolve(np.ones((6, 4)), np.ones((3, 3)), (4, 6), **SAME)


@for_each("method", METHODS)
def test_singular_systems_are_refused(method: Any) -> None:
    with pytest.raises(ValueError, match=r"A is singular .*parameter=0"):
        cm.solve.deconvolve(ONES, [1, 1], 6, method=method, parameter=0, **RING)
    with pytest.raises(ValueError, match="A is singular"):  # tall on one axis, wide on the other
        cm.solve.deconvolve(np.ones((9, 7)), np.ones((3, 3)), (7, 9), parameter=0, padding=[(2, 2), (0, 0)])


def test_matrices_that_read_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="is zero: no output reads a sample"):
        cm.solve.deconvolve([1.0], [1.0], 2, padding=[(5, 0)], stride=9)


def test_noise_below_any_residual() -> None:
    y = np.random.default_rng(12).standard_normal(9)
    with pytest.raises(ValueError, match=r"no solution has a residual.* 0\.003"):
        cm.solve.deconvolve(y, [1, 2, 1], 7, padding="full", parameter="discrepancy", noise=1e-3)
    with pytest.raises(ValueError, match="no solution has a residual"):
        cm.solve.deconvolve(y, [1, 2, 1], 7, padding="full", method="tsvd", parameter="discrepancy", noise=1e-3)


def test_power_needs_a_transform() -> None:
    for options in (SAME, {"stride": 2, **RING}):
        y = np.ones(cm.ConvGeometry(6, 3, **options).output_shape)
        with pytest.raises(ValueError, match=r"signal_power needs .*stride"):
            cm.solve.deconvolve(y, [1, 2, 1], 6, method="wiener", signal_power=ONES, **options)


def test_iterations_that_do_not_converge(monkeypatch: pytest.MonkeyPatch) -> None:
    by_iteration(monkeypatch)
    kernel, _, y = blurred((50,), 0.1, **SAME)
    with pytest.raises(ValueError, match=r"after 3 iterations .*tol=1e-06"):
        cm.solve.deconvolve(y, kernel, 50, parameter=1e-6, max_iterations=3, **SAME)
    with pytest.raises(ValueError, match=r"parameter='gcv' .* 3 steps"):
        cm.solve.deconvolve(y, kernel, 50, max_iterations=3, **SAME)
    with pytest.raises(ValueError, match="no solution has a residual"):
        cm.solve.deconvolve(y, kernel, 50, parameter="discrepancy", noise=1e-7, max_iterations=20, **SAME)
    with pytest.raises(ValueError, match=r"A\^H y is zero.*parameter='gcv'"):
        cm.solve.deconvolve(np.zeros(50), kernel, 50, **SAME)


@for_each(
    "options, start",
    [({"method": "tsvd"}, "method='tsvd' needs"), ({"method": "wiener"}, "method='wiener' with signal_power needs")],
)
def test_singular_vectors_out_of_reach(options: dict[str, Any], start: str, monkeypatch: pytest.MonkeyPatch) -> None:
    by_iteration(monkeypatch)
    if options["method"] == "wiener":
        options = {**options, "signal_power": ONES}
    with pytest.raises(ValueError, match=f"{start} singular vectors, but those of .* are out of reach"):
        cm.solve.deconvolve(ONES, [1, 2, 1], 6, parameter=0.1, **options, **SAME)


def test_blocks_that_do_not_fit_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convmatrix.memory.available_memory", lambda: 30_000_000)
    with pytest.raises(cm.MatrixTooLargeError, match=r"the decomposed blocks of "):
        cm.solve.deconvolve(np.ones((2, 150_000)), np.ones((2, 2, 1)), (2, 150_000), parameter=1, **RING)


# --- separable kernels -----------------------------------------------------------------------------------------------


def test_rank_one_factors() -> None:
    rng = np.random.default_rng(13)
    parts = [rng.standard_normal(n) + 1j * rng.standard_normal(n) for n in (3, 1, 4)]
    kernel = np.multiply.outer(np.multiply.outer(parts[0], parts[1]), parts[2])
    factors = decompositions.rank_one_factors(kernel)
    assert factors is not None
    np.testing.assert_allclose(np.einsum("i,j,k->ijk", *factors), kernel, atol=1e-14)
    assert decompositions.rank_one_factors(kernel + 1e-12) is None
    assert decompositions.rank_one_factors(np.eye(2)) is None


# --- preconditioners -------------------------------------------------------------------------------------------------

KINDS = ("strang", "t_chan", "r_chan")


def toeplitz_kernel(diagonals: Any, n: int) -> Any:
    """Return the kernel of a layer whose matrix has a[k] on the diagonal k, for k from 1 - n to n - 1."""
    return np.array([diagonals(k) for k in range(n - 1, -n, -1)])


def circulant_column(a: Any, n: int, kind: str) -> Any:
    """Return the first column by its published formula; a is indexed from 1 - n to n - 1."""

    def diagonal(k: int) -> Any:
        return a(k) if abs(k) < n else 0.0

    if kind == "strang":
        return np.array([a(j) if j <= n / 2 else a(j - n) for j in range(n)])
    if kind == "t_chan":
        return np.array([((n - j) * a(j) + j * diagonal(j - n)) / n for j in range(n)])
    return np.array([a(j) + diagonal(j - n) for j in range(n)])


def inverse_matrix(operator: Any) -> Any:
    return np.linalg.inv(operator @ np.eye(operator.shape[0]))


@for_each("kind", KINDS)
@for_each("complex_weights", [False, True])
@for_each("n", [1, 2, 5, 8])
def test_one_level_is_the_published_circulant(kind: Any, complex_weights: bool, n: int) -> None:
    rng = np.random.default_rng(n)
    kernel = rng.standard_normal(2 * n - 1) + 1j * complex_weights * rng.standard_normal(2 * n - 1)
    kernel = (kernel if complex_weights else kernel.real) + 4 * (np.arange(2 * n - 1) == n - 1)
    M = cm.solve.circulant_preconditioner(kernel, n, kind=kind, **SAME)
    column = circulant_column(lambda k: kernel[n - 1 - k], n, kind)
    np.testing.assert_allclose(inverse_matrix(M), linalg.circulant(column), atol=1e-12)
    np.testing.assert_allclose(M.eigenvalues(), np.fft.fft(column), atol=1e-12)
    assert M.dtype == kernel.dtype
    np.testing.assert_allclose(M.H @ np.eye(n), (M @ np.eye(n)).conj().T, atol=1e-13)
    z = rng.standard_normal(n) + 1j * rng.standard_normal(n)
    np.testing.assert_allclose(linalg.circulant(column) @ (M @ z), z, atol=1e-12)


@for_each("kind", KINDS)
def test_taps_that_reach_no_sample_do_not_count(kind: Any) -> None:
    kernel = np.random.default_rng(18).standard_normal(11) + 9 * (np.arange(11) == 5)
    for dilation, within in ((1, slice(2, 9)), (2, slice(4, 7))):  # distances below 4
        options = {"kind": kind, "dilation": dilation, **SAME}
        long = cm.solve.circulant_preconditioner(kernel, 4, **options)
        short = cm.solve.circulant_preconditioner(kernel[within], 4, **options)
        np.testing.assert_allclose(long.eigenvalues(), short.eigenvalues(), atol=1e-13)


def test_t_chan_is_nearest_at_every_number_of_levels() -> None:
    """The projection onto circulant matrices averages over joint shifts of rows and columns."""
    rng = np.random.default_rng(14)
    for shape, kernel_shape in (((4, 5), (7, 3)), ((3, 2, 4), (3, 3, 3))):
        kernel = rng.standard_normal(kernel_shape)
        kernel[tuple(k // 2 for k in kernel_shape)] += 20
        A = cm.conv_matrix(kernel, shape, **SAME).toarray().reshape(*shape, *shape)
        axes = tuple(range(2 * len(shape)))
        shifts = list(np.ndindex(*shape))
        nearest = sum(np.roll(A, (*shift, *shift), axes) for shift in shifts) / len(shifts)
        M = cm.solve.circulant_preconditioner(kernel, shape, **SAME)
        size = math.prod(shape)
        np.testing.assert_allclose(inverse_matrix(M), nearest.reshape(size, size), atol=1e-10)


@for_each("kind", KINDS)
def test_two_levels_of_a_product_are_a_product(kind: Any) -> None:
    rng = np.random.default_rng(15)
    one, two = rng.standard_normal(9) + 9 * (np.arange(9) == 4), rng.standard_normal(11) + 9 * (np.arange(11) == 5)
    M = cm.solve.circulant_preconditioner(np.outer(one, two), (5, 6), kind=kind, **SAME)
    parts = [cm.solve.circulant_preconditioner(w, n, kind=kind, **SAME) for w, n in ((one, 5), (two, 6))]
    np.testing.assert_allclose(M @ np.eye(30), np.kron(parts[0] @ np.eye(5), parts[1] @ np.eye(6)), atol=1e-12)


@for_each("kind", KINDS)
@for_each("groups", [1, 2])
@for_each("transposed", [False, True])
def test_channels_and_transposed_layers(kind: Any, groups: int, transposed: bool) -> None:
    rng = np.random.default_rng(16)
    w = rng.standard_normal((4, 4 // groups, 7)) + 1j * rng.standard_normal((4, 4 // groups, 7))
    w[np.arange(4), np.arange(4) % (4 // groups), 3] += 30
    geometry = cm.ConvGeometry(4, 7, in_channels=4, out_channels=4, groups=groups, padding=3, transposed=transposed)
    M = cm.solve.circulant_preconditioner(w, geometry, kind=kind)
    T = cm.conv_matrix(w, geometry).toarray().reshape(4, 4, 4, 4)
    expected = np.zeros((4, 4, 4, 4), dtype=complex)
    for o in range(4):
        for i in range(4):
            block = T[o, :, i, :]
            column = circulant_column(lambda k, block=block: block[max(k, 0), max(-k, 0)], 4, kind)
            expected[o, :, i, :] = linalg.circulant(column)
    np.testing.assert_allclose(inverse_matrix(M), expected.reshape(16, 16), atol=1e-10)


@for_each("kind", KINDS)
@for_each("shape", [(6,), (7,), (4, 6), (4, 5)])
def test_hermitian_matrices_have_hermitian_preconditioners(kind: Any, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(17)
    full = tuple(2 * n - 1 for n in shape)
    kernel = rng.standard_normal(full) + 1j * rng.standard_normal(full)
    kernel = kernel + np.flip(kernel).conj()
    kernel[tuple(n - 1 for n in shape)] += 60
    A = cm.conv_matrix(kernel, shape, **SAME)
    M = cm.solve.circulant_preconditioner(kernel, shape, kind=kind, **SAME)
    matrix = inverse_matrix(M)
    np.testing.assert_allclose(matrix, matrix.conj().T, atol=1e-11)
    b = rng.standard_normal(A.shape[0])
    x, failed = cg(A, b, M=M, rtol=1e-12)
    assert failed == 0
    np.testing.assert_allclose(A @ x, b, atol=1e-9)


@for_each("n", [8, 12, 30])
@for_each("t", [0.5, 0.9])
def test_five_eigenvalues(n: int, t: float) -> None:
    kernel = toeplitz_kernel(lambda k: t ** abs(k), n)
    A = cm.conv_matrix(kernel, n, **SAME).toarray()
    M = cm.solve.circulant_preconditioner(kernel, n, kind="strang", **SAME)
    found = np.sort(np.linalg.eigvals(M @ A).real)
    five = [1 / (1 + t), 1 / (1 - t), 1 / (1 + t ** (n // 2)), 1 / (1 - t ** (n // 2)), 1.0]
    distance = np.abs(found[:, None] - five)
    assert distance.min(axis=1).max() < 1e-9
    assert distance.min(axis=0).max() < 1e-9


# Conjugate gradients, f = theta^4 + 1, b = 1, x0 = 0, relative residual 1e-7.
ITERATIONS = {32: {"none": 19, "strang": 5, "t_chan": 7}, 64: {"none": 36, "strang": 5, "t_chan": 7}}
ITERATIONS[128] = {"none": 54, "strang": 5, "t_chan": 6}


@for_each("n", ITERATIONS)
def test_iteration_table(n: int) -> None:
    def diagonal(k: int) -> float:
        return (-1) ** k * (4 * np.pi**2 / k**2 - 24 / k**4) if k else np.pi**4 / 5 + 1

    kernel = toeplitz_kernel(diagonal, n)
    A = cm.conv_matrix(kernel, n, **SAME)
    np.testing.assert_allclose(A.toarray(), linalg.toeplitz([diagonal(k) for k in range(n)]))
    for kind, expected in ITERATIONS[n].items():
        M: Any = None if kind == "none" else cm.solve.circulant_preconditioner(kernel, n, kind=kind, **SAME)
        steps: list[Any] = []
        _, failed = cg(A, np.ones(n), M=M, rtol=1e-7, callback=steps.append)
        assert failed == 0
        assert abs(len(steps) - expected) <= 2


def test_preconditioned_blur() -> None:
    kernel = np.multiply.outer([1.0, 4, 6.5, 4, 1], [1.0, 4, 6.5, 4, 1])
    A = cm.ConvOperator(kernel, (40, 50), **SAME)
    counts = {}
    for kind in (None, *KINDS):
        M: Any = kind and cm.solve.circulant_preconditioner(kernel, (40, 50), kind=kind, **SAME)
        steps: list[Any] = []
        x, failed = cg(A, np.ones(2000), M=M, rtol=1e-8, callback=steps.append)
        assert failed == 0
        np.testing.assert_allclose(A @ x, 1, atol=1e-5)
        counts[kind] = len(steps)
    assert all(2 * counts[kind] < counts[None] for kind in KINDS), counts


@for_each(
    "kernel, shape, options, message",
    [
        ([1, 4, 1], 8, {"kind": "jacobi", **SAME}, "kind 'jacobi'.*strang, t_chan, r_chan"),
        ([1, 4, 1], 8, {}, r" 6 rows, 8 columns"),
        ([1, 4, 1], 8, {"stride": 2, **SAME}, r"stride \(2,\)"),
        (np.ones((2, 1, 3)), (1, 8), SAME, "has 16 rows, 8 columns"),
        ([1, 4, 1], 8, RING, r"\('circular',\)"),
        ([1, 2, 1], 8, {"kind": "strang", **SAME}, r"strang circulant matrix is singular"),
        ([0, 0, 0], 8, SAME, "t_chan circulant matrix is singular"),
        ([1, math.nan, 1], 8, SAME, "the kernel has 1 infinite or NaN"),
    ],
)
def test_preconditioners_refused(kernel: Any, shape: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cm.solve.circulant_preconditioner(kernel, shape, **options)


def test_unshared_weights_have_no_preconditioner() -> None:
    geometry = cm.ConvGeometry(4, 3, padding=1, sharing="unshared")
    with pytest.raises(ValueError, match="and 'unshared' weights"):
        cm.solve.circulant_preconditioner(np.ones(geometry.weight_shape), geometry)


def test_boundary_eigenvalues_of_a_blur() -> None:
    """The eigenvalues, by which the transforms divide, agree with their closed form."""
    for boundary, angles in (("zero", np.arange(1, 9) / 18), ("symmetric", np.arange(8) / 16)):
        A = cm.conv_matrix([0.25, 0.5, 0.25], 8, boundary=boundary, **SAME)
        values, vectors = np.linalg.eigh(A.toarray())
        np.testing.assert_allclose(values[::-1], np.cos(angles * np.pi) ** 2, atol=1e-14)
        vector = vectors[:, 5]
        found = cm.solve.deconvolve(vector, [0.25, 0.5, 0.25], 8, parameter=0.1, boundary=boundary, **SAME)
        np.testing.assert_allclose(found.x, vector * values[5] / (values[5] ** 2 + 0.01), atol=1e-13)
        assert sparse.issparse(A)


def test_signal_power_of_a_symmetric_axis_is_in_the_order_of_cosines() -> None:
    """Also if the kernel has one tap on the axis, which the Fourier transform would diagonalise as well."""
    kernel, y = np.array([[0.25], [0.5], [0.25]]), np.random.default_rng(2).standard_normal((6, 5))
    power = 1.0 + np.arange(30.0).reshape(6, 5)
    options: Any = {"padding": "same", "boundary": "symmetric", "method": "wiener", "parameter": 0.3}
    found = cm.solve.deconvolve(y, kernel, (6, 5), signal_power=power, **options).x
    waves: Any = fft.dctn(y, norm="ortho")
    values = (0.5 + 0.5 * np.cos(np.pi * np.arange(6) / 6))[:, None]
    expected = fft.idctn(waves * values / (values**2 + 0.3 / power), norm="ortho")
    np.testing.assert_allclose(found, expected, atol=1e-12)
