"""Deconvolution with penalties, without negative entries, with total variation, by stopped iterations, in colour."""

from __future__ import annotations

import contextlib
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import ndimage, optimize
from scipy.sparse.linalg import LinearOperator, aslinearoperator

import convmatrix as cm
from convmatrix.solve import deconvolution_methods, l_curve, nonnegative
from convmatrix.solve.penalties import Differences
from tests.cases import for_each
from tests.random_deconvolution import by_iteration, compare, dense_differences
from tests.strategies import random_layer

RING: dict[str, Any] = {"padding": "same", "boundary": "circular"}
MIRROR: dict[str, Any] = {"padding": "same", "boundary": "symmetric"}
SAME: dict[str, Any] = {"padding": "same"}
TIGHT: dict[str, Any] = {"tol": 1e-11, "max_iterations": 50_000}
KERNEL = np.multiply.outer([0.2, 0.6, 0.2], [0.1, 0.2, 0.4, 0.2, 0.1])
OBLIQUE = KERNEL + np.multiply.outer([0.2, 0, 0.2], [0.2, 0, 0, 0, 0.2])  # of rank two, and symmetric
BROAD = np.multiply.outer(*[np.exp(-(np.arange(-n, n + 1) ** 2) / 3.0) / 3 for n in (3, 4)])  # small singular values


def scene(shape: tuple[int, ...], noise: float = 0.05, kernel: Any = OBLIQUE, **options: Any) -> tuple[Any, Any, Any]:
    """Return the dense matrix of a blur, a non-negative signal with an edge, and noisy data."""
    rng = np.random.default_rng(3)
    x = np.add.outer(np.arange(shape[0]) > shape[0] // 2, 1 + np.sin(np.arange(shape[1]))) * 1.0
    A = cm.conv_matrix(kernel, shape, **options).toarray()
    return A, x, A @ x.ravel() + noise * rng.standard_normal(len(A))


# --- against dense solutions -----------------------------------------------------------------------------------------


def test_random_problems_agree_with_dense_solutions() -> None:
    routes = set()
    for seed in range(12):
        differences, route = compare(seed)
        assert max(differences.values(), default=0) < 1e-8, (seed, differences)
        routes.add(route.rpartition(" ")[2])
    assert routes >= {"transform", "dense"}


@for_each(
    "options, penalty, route",
    [
        (RING, "gradient", "transform"),
        (MIRROR, "gradient", "transform"),
        (MIRROR, "laplacian", "transform"),
        ({"padding": "same", "boundary": ["circular", "symmetric"]}, "laplacian", "transform"),
        (RING, ([[1, -1]], RING), "transform"),
        (MIRROR, ([[-1, 2, -1]], MIRROR), "transform"),
        (MIRROR, ([[1, -1]], MIRROR), "dense"),  # not symmetric
        (RING, ([[-1, 2, -1]], MIRROR), "dense"),  # another boundary
        (SAME, "gradient", "dense"),
        ({}, "laplacian", "dense"),
    ],
)
def test_route_of_a_penalty(options: dict[str, Any], penalty: Any, route: str) -> None:
    A, _, y = scene((6, 9), **options)
    found = cm.solve.deconvolve(y, OBLIQUE, (6, 9), penalty=penalty, parameter=0.3, **options)
    D = dense_differences(cm.ConvGeometry((6, 9), (3, 5), **options))
    if isinstance(penalty, str):
        L = D if penalty == "gradient" else D.T @ D
    else:
        L = cm.conv_matrix(np.array(penalty[0], dtype=float), (6, 9), **penalty[1]).toarray()
    expected = np.linalg.lstsq(np.concatenate([A, 0.3 * L]), np.r_[y, np.zeros(len(L))])[0]
    np.testing.assert_allclose(found.x.ravel(), expected, atol=1e-11)
    assert (found.route, found.iterations, found.penalty) == (
        route,
        0,
        penalty if isinstance(penalty, str) else "convolution",
    )


def test_complex_transposed_layer_with_a_penalty() -> None:
    rng = np.random.default_rng(1)
    w = rng.standard_normal((3, 3)) + 1j * rng.standard_normal((3, 3))
    v = rng.standard_normal((2, 2)) + 1j * rng.standard_normal((2, 2))
    options: dict[str, Any] = {"transposed": True, "padding": 1, "boundary": "circular"}
    A, L = cm.conv_matrix(w, (5, 6), **options).toarray(), cm.conv_matrix(v, (5, 6), **RING).toarray()
    y = rng.standard_normal(len(A)) + 1j * rng.standard_normal(len(A))
    found = cm.solve.deconvolve(y, w, (5, 6), penalty=(v, RING), parameter=0.7, **options)
    expected = np.linalg.lstsq(np.concatenate([A, 0.7 * L]), np.r_[y, np.zeros(len(L))])[0]
    np.testing.assert_allclose(found.x.ravel(), expected, atol=1e-11)
    assert found.route == "transform"


@for_each("rings", [(False, False), (True, False), (True, True)])
def test_differences_are_adjoint_and_bounded(rings: tuple[bool, ...]) -> None:
    rng = np.random.default_rng(2)
    D = Differences(2, (4, 5), rings)
    geometry = cm.ConvGeometry(
        (4, 5), (1, 1), in_channels=2, boundary=["circular" if ring else "zero" for ring in rings]
    )
    dense = dense_differences(geometry)
    np.testing.assert_array_equal(D @ np.eye(40), dense)
    np.testing.assert_array_equal(D.H @ np.eye(80), dense.T)
    x = rng.standard_normal(40) + 1j * rng.standard_normal(40)
    np.testing.assert_allclose(D @ x, dense @ x)
    np.testing.assert_allclose(D.T @ (D @ x), dense.T @ dense @ x)
    assert np.linalg.norm(dense, 2) <= D.norm_bound


def test_vectors_that_nothing_sees_have_the_least_norm() -> None:
    found = cm.solve.deconvolve([1.0, 2.0], [1.0], 5, stride=3, penalty=np.eye(5)[:1], parameter=0.5)
    np.testing.assert_allclose(found.x, [1 / 1.25, 0, 0, 2, 0], atol=1e-14)


# --- rules with a penalty --------------------------------------------------------------------------------------------

WITH_PENALTY = {"ring": RING, "mirror": MIRROR, "dense": SAME, "wide": {}}


def generalised(A: Any, L: Any, y: Any, damping: float) -> Any:
    """Return the solution of the penalised problem by stacked least squares."""
    zeros = np.zeros((len(L), *y.shape[1:]))
    return np.linalg.lstsq(np.concatenate([A, damping * L]), np.concatenate([y, zeros]))[0]


@for_each("name", WITH_PENALTY)
@for_each("word", ["gradient", "laplacian"])
def test_rules_with_a_penalty_follow_their_definitions(name: str, word: Any) -> None:
    options = WITH_PENALTY[name]
    A, _, y = scene((7, 8), **options)
    D = dense_differences(cm.ConvGeometry((7, 8), (3, 5), **options))
    L = D if word == "gradient" else D.T @ D

    def score(damping: float) -> float:
        left = np.eye(len(A)) - A @ generalised(A, L, np.eye(len(A)), damping)
        return float(np.linalg.norm(left @ y) / np.trace(left))

    found = cm.solve.deconvolve(y, OBLIQUE, (7, 8), penalty=word, **options)
    tried = np.geomspace(0.01, 100, 100)
    assert score(found.parameter) <= min(score(t) for t in tried) * (1 + 1e-8)
    np.testing.assert_allclose(found.x.ravel(), generalised(A, L, y, found.parameter), atol=1e-8)
    found = cm.solve.deconvolve(y, OBLIQUE, (7, 8), penalty=word, parameter="discrepancy", noise=0.06, **options)
    assert found.residual == pytest.approx(0.06 * math.sqrt(len(y)), rel=1e-9)


@for_each("options", [RING, MIRROR, SAME])
@for_each("penalty", [None, "gradient"])
def test_l_curve_has_the_largest_curvature(options: dict[str, Any], penalty: Any) -> None:
    A, _, y = scene((7, 8), 0.01, BROAD, **options)
    D = dense_differences(cm.ConvGeometry((7, 8), (7, 9), **options))
    L = np.eye(56) if penalty is None else D

    def point(logarithm: float) -> Any:
        x = generalised(A, L, y, math.exp(logarithm))
        return np.log([np.linalg.norm(A @ x - y), np.linalg.norm(L @ x)])

    def curvature(damping: float) -> float:
        here, h = math.log(damping), 1e-3
        before, middle, after = point(here - h), point(here), point(here + h)
        (a, b), (c, d) = (after - before) / (2 * h), (after - 2 * middle + before) / h**2
        return float((a * d - b * c) / math.hypot(a, b) ** 3)

    found = cm.solve.deconvolve(y, BROAD, (7, 8), parameter="l_curve", penalty=penalty, **options)
    assert found.rule == "l_curve"
    s = np.linalg.svd(A, compute_uv=False)
    tried = np.geomspace(max(s[-1], 1e-2), s[0], 60)
    best = max(curvature(t) for t in tried)
    assert curvature(found.parameter) >= best * (1 - 1e-3) > 0


def test_l_curve_by_bidiagonalisation(monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, y = scene((14, 16), 0.01, BROAD, **SAME)
    exact = cm.solve.deconvolve(y, BROAD, (14, 16), parameter="l_curve", **SAME)
    with by_iteration():
        found = cm.solve.deconvolve(y, BROAD, (14, 16), parameter="l_curve", **SAME)
    assert found.parameter == pytest.approx(exact.parameter, rel=0.05)
    assert found.route == "iteration"


def test_curves_without_a_corner() -> None:
    with pytest.raises(l_curve.NoCornerError, match="no corner: all generalised singular values are equal"):
        cm.solve.deconvolve([1.0, 2, 3], [2.0], 3, parameter="l_curve")
    with pytest.raises(l_curve.NoCornerError, match=r"no corner for lambda from 0\.5 to 1.* nowhere convex"):
        l_curve.corner(np.array([1, 0.25]), np.array([1.0, 1]), 0.0)
    with pytest.raises(l_curve.NoCornerError, match="4 points has no corner"):
        l_curve.discrete_corner([8, 4, 2, 1], [1, 2, 4, 8])
    with pytest.raises(l_curve.NoCornerError, match="3 points has no corner"):
        l_curve.discrete_corner([1, 1, 1], [1, 1, 1])


def test_corner_of_truncation_and_of_cgls() -> None:
    s = np.array([1, 0.8, 0.6, 0.5, 1e-3, 5e-4, 2e-4, 1e-4])
    y = s + 0.01 * np.array([1, -1, 1, -1, 1, -1, 1, -1])
    sizes = [float(np.linalg.norm(y[:k] / s[:k])) for k in range(1, 9)]
    misfits = [float(np.hypot(np.linalg.norm(y[k:]), 0.02)) for k in range(1, 9)]
    assert l_curve.discrete_corner(misfits, sizes) == 3  # four terms, before the values drop
    A, _, y = scene((12, 14), 0.01, BROAD, **SAME)
    found = cm.solve.deconvolve(y, BROAD, (12, 14), method="tsvd", parameter="l_curve", **SAME)
    U, s, _ = np.linalg.svd(A)
    energies = (U.T @ y) ** 2
    misfits = [math.sqrt(energies[k:].sum()) for k in range(1, 168)]
    last = l_curve.discrete_corner(misfits, np.sqrt(np.cumsum(energies / s**2))[:167])
    assert s[last + 1] < found.parameter * s[0] < s[last]


def test_rules_by_iteration_with_a_penalty() -> None:
    shape = (14, 15)
    _, _, y = scene(shape, 0.05, KERNEL, **SAME)
    call: dict[str, Any] = {"penalty": "gradient", "max_iterations": 200, **SAME}
    exact = {rule: cm.solve.deconvolve(y, KERNEL, shape, parameter=rule, **call) for rule in ("gcv",)}
    with by_iteration():
        found = cm.solve.deconvolve(y, KERNEL, shape, **call)
        assert found.parameter == pytest.approx(exact["gcv"].parameter, rel=0.6)  # the trace is an estimate
        assert np.linalg.norm(found.x - exact["gcv"].x) < 0.05 * np.linalg.norm(exact["gcv"].x)
        found = cm.solve.deconvolve(y, KERNEL, shape, parameter="discrepancy", noise=0.06, **call)
        assert found.residual == pytest.approx(0.06 * math.sqrt(len(y)), rel=1e-3)
        for noise, message in ((1e-9, "no solution has a residual"), (99, "the noise explains all of y")):
            with pytest.raises(ValueError, match=message):
                cm.solve.deconvolve(y, KERNEL, shape, parameter="discrepancy", noise=noise, **call)
        with pytest.raises(ValueError, match=r"A\^H y is zero"):
            cm.solve.deconvolve(0 * y, KERNEL, shape, **call)


# --- several channels ------------------------------------------------------------------------------------------------


@for_each("options, iterate", [(RING, False), (SAME, True)])
def test_colour_is_one_call(options: dict[str, Any], iterate: bool) -> None:
    shape = (9, 10)
    y = np.stack([scene(shape, noise, KERNEL, **options)[2].reshape(shape) for noise in (0.01, 0.05, 0.2)])
    few: list[dict[str, Any]] = [
        {"parameter": 0.2, "tol": 1e-9},
        {"parameter": 0.2, "penalty": "gradient", "tol": 1e-9},
    ]
    for call in (
        *few,
        {"parameter": 0.1, "nonnegative": True, "tol": 1e-9},
        {"parameter": 0.01, "method": "tv", "tol": 1e-7},
    ):
        separate = [cm.solve.deconvolve(c, KERNEL, shape, **call, **options).x for c in y]
        if iterate:
            with by_iteration():
                found = cm.solve.deconvolve(y, KERNEL, shape, **call, **options)
        else:
            found = cm.solve.deconvolve(y, KERNEL, shape, **call, **options)
        assert found.x.shape == (3, *shape)
        np.testing.assert_allclose(found.x, separate, atol=1e-2 if "method" in call else 1e-5)


def test_one_parameter_for_all_channels_or_one_each() -> None:
    shape = (9, 10)
    y = np.stack([scene(shape, noise, **RING)[2].reshape(shape) for noise in (0.01, 0.05, 0.2)])
    joint = cm.solve.deconvolve(y, OBLIQUE, shape, **RING)
    depthwise = np.repeat(OBLIQUE[None, None], 3, axis=0)
    layer = cm.solve.deconvolve(y, depthwise, (3, *shape), groups=3, **RING)  # the same matrix
    assert joint.parameter == pytest.approx(layer.parameter, rel=1e-5)
    np.testing.assert_allclose(joint.x, layer.x, atol=1e-6)
    assert joint.parameters == (joint.parameter,)
    each = cm.solve.deconvolve(y, OBLIQUE, shape, per_channel=True, **RING)
    separate = [cm.solve.deconvolve(c, OBLIQUE, shape, **RING) for c in y]
    np.testing.assert_array_equal(each.x, [part.x for part in separate])
    assert each.parameters == tuple(part.parameter for part in separate)
    assert math.isnan(each.parameter)
    assert each.residual == pytest.approx(math.hypot(*(part.residual for part in separate)))
    assert min(each.parameters) < joint.parameter < max(each.parameters)
    known: dict[str, Any] = {"parameter": "discrepancy", "noise": 0.21, **RING}
    assert cm.solve.deconvolve(y, OBLIQUE, shape, **known).residual == pytest.approx(0.21 * math.sqrt(270), rel=1e-9)
    each = cm.solve.deconvolve(y, OBLIQUE, shape, per_channel=True, **known)
    assert each.residual == pytest.approx(0.21 * math.sqrt(270), rel=1e-9)
    with pytest.raises(ValueError, match="read-only"):
        each.x[0] = 0


def test_channels_last_are_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match=r"y has shape \(6, 7, 3\).*channels come first: give numpy.moveaxis\(y, -1"):
        cm.solve.deconvolve(np.ones((6, 7, 3)), KERNEL, (6, 7), **SAME)
    with pytest.raises(ValueError, match=r"channels come first.*the padding does not give this output"):
        cm.solve.deconvolve(np.ones((6, 7, 3)), KERNEL, (6, 7))
    with pytest.raises(ValueError, match=r"per_channel=True .* 2 and 1"):
        cm.solve.deconvolve(np.ones(6), np.ones((1, 2, 3)), (2, 6), per_channel=True, **SAME)


# --- without negative entries ----------------------------------------------------------------------------------------


def test_non_negative_least_squares_of_wide_matrices() -> None:
    rng = np.random.default_rng(4)
    for _ in range(10):  # solutions are not unique, but their residual is
        w, shape = rng.standard_normal((3, 4)), (7, 8)
        A = cm.conv_matrix(w, shape).toarray()
        y = rng.standard_normal(len(A))
        least = optimize.nnls(A, y)[1]
        with by_iteration():
            found = cm.solve.deconvolve(y, w, shape, parameter=0, nonnegative=True, **TIGHT)
        assert found.x.min() >= 0
        assert found.residual == pytest.approx(least, abs=1e-8)
        gradient = A.T @ (A @ found.x.ravel() - y)
        projected = np.where(found.x.ravel() > 0, gradient, np.minimum(gradient, 0))
        assert found.gradient <= 2e-11
        assert np.linalg.norm(projected) <= 3e-11 * np.linalg.norm(A.T @ y)


def test_non_negative_solutions_of_a_large_image() -> None:
    shape = (40, 50)
    A, _, y = scene(shape, **MIRROR)
    y -= 0.5  # so that many entries are zero
    found = cm.solve.deconvolve(y, OBLIQUE, shape, parameter=0.1, penalty="gradient", nonnegative=True, **MIRROR)
    D = dense_differences(cm.ConvGeometry(shape, (3, 5), **MIRROR))
    z = found.x.ravel()
    gradient = A.T @ (A @ z - y) + 0.01 * D.T @ (D @ z)
    assert 100 < np.count_nonzero(z == 0) < 1900
    assert np.linalg.norm(gradient[z > 0]) < 2e-6 * np.linalg.norm(A.T @ y)
    assert gradient[z == 0].min() > -2e-6 * np.linalg.norm(A.T @ y)
    objective = np.linalg.norm(A @ z - y) ** 2 + 0.01 * np.linalg.norm(D @ z) ** 2
    history = found.history
    assert len(history.objective) == len(history.residual) == len(history.gradient) == found.iterations > 3
    assert history.objective[-1] == pytest.approx(objective, rel=1e-10)
    assert history.residual[-1] == pytest.approx(found.residual, rel=1e-6)
    assert (np.diff(history.objective) <= 1e-9 * history.objective[0]).all()
    assert found.nonnegative


@for_each("penalty", ["gradient", "laplacian"])
def test_cross_validation_passes_a_maximum_on_the_way_to_its_minimum(penalty: Any) -> None:
    """The estimate for a fine texture rises at first, where its penalty still suppresses it."""
    i, j = np.mgrid[:14, :14]
    x, kernel = np.sin(2 * i + 1) * np.sin(2 * j), np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]]) / 8
    noise = 1e-4 * np.random.default_rng(0).standard_normal(x.shape)
    with by_iteration():
        found = cm.solve.deconvolve(
            ndimage.correlate(x, kernel, mode="constant") + noise, kernel, x.shape, **SAME, penalty=penalty
        )
    assert found.route == "iteration"
    assert np.linalg.norm(found.x - x) < 0.01 * np.linalg.norm(x)


@for_each("rule", ["gcv", "l_curve"])
def test_non_negative_solutions_take_the_parameter_without_the_constraint(rule: Any) -> None:
    _, _, y = scene((9, 10), **SAME)
    free = cm.solve.deconvolve(y, OBLIQUE, (9, 10), parameter=rule, **SAME)
    found = cm.solve.deconvolve(y, OBLIQUE, (9, 10), parameter=rule, nonnegative=True, **SAME)
    assert (found.parameter, found.rule) == (free.parameter, rule)
    assert found.residual >= free.residual


@for_each("iterate", [False, True])
def test_non_negative_solutions_with_the_residual_of_the_noise(iterate: bool) -> None:
    _, _, y = scene((12, 14), **SAME)
    call: dict[str, Any] = {"parameter": "discrepancy", "noise": 0.08, "nonnegative": True, **SAME}
    if iterate:
        with by_iteration():
            found = cm.solve.deconvolve(y, OBLIQUE, (12, 14), penalty="gradient", **call)
    else:
        found = cm.solve.deconvolve(y, OBLIQUE, (12, 14), **call)
    assert found.residual == pytest.approx(0.08 * math.sqrt(168), rel=2e-3)
    assert found.x.min() >= 0


def test_active_sets_that_do_not_end_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, y = scene((6, 7), **SAME)
    call: dict[str, Any] = {"parameter": 0.1, "nonnegative": True, **TIGHT, **SAME}
    expected = cm.solve.deconvolve(y, OBLIQUE, (6, 7), **call)

    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("Maximum number of iterations reached.")

    monkeypatch.setattr(nonnegative, "nnls", fail)
    found = cm.solve.deconvolve(y, OBLIQUE, (6, 7), **call)
    assert found.iterations > expected.iterations == 1
    np.testing.assert_allclose(found.x, expected.x, atol=1e-9)


def test_steps_that_are_too_long_are_shortened() -> None:
    rng = np.random.default_rng(5)
    A, y = rng.standard_normal((30, 20)), rng.standard_normal((30, 1))
    problem: Any = SimpleNamespace(
        operator=aslinearoperator(A), data=y, L=None, tol=1e-10, most=5000,
        log=cm.solve.iteration_log.IterationLog(most=5000),
        norm_bound=lambda: 1e-3**0.5 * np.linalg.norm(A, 2), penalty_bound=lambda: 1.0,
    )  # fmt: skip
    monkey = nonnegative.MOST_COLUMNS
    try:
        nonnegative.MOST_COLUMNS = 0  # type: ignore[misc]
        found = nonnegative.nonnegative_least_squares(problem, 0.0)
    finally:
        nonnegative.MOST_COLUMNS = monkey  # type: ignore[misc]
    np.testing.assert_allclose(found.x[:, 0], optimize.nnls(A, y[:, 0])[0], atol=1e-8)


# --- Richardson-Lucy -------------------------------------------------------------------------------------------------


def test_richardson_lucy_is_its_formula_for_every_layer() -> None:
    rng = np.random.default_rng(6)
    tried = 0
    while tried < 15:
        geometry = random_layer(rng)
        w = rng.random(geometry.weight_shape)
        A = cm.conv_matrix(w, geometry).toarray()
        if not A.any() or A.min() < 0 or any(word.startswith("anti") for word in geometry.boundary):
            continue
        tried += 1
        y = rng.poisson(A @ rng.random(geometry.n_in) * 9).astype(float)
        y[~A.any(axis=1)] = 0
        found = cm.solve.deconvolve(y, w, geometry, method="richardson_lucy", parameter=7)
        seen = A.sum(axis=0)
        x = np.where(seen > 0, y.sum() / A.sum(), 0)
        for _ in range(7):
            image = A @ x
            ratio = np.divide(y, image, out=np.zeros_like(y), where=image > 0)
            x = x * np.divide(A.T @ ratio, seen, out=np.zeros_like(seen), where=seen > 0)
        np.testing.assert_allclose(found.x.ravel(), x, atol=1e-9 * max(x.max(), 1))
        assert (found.iterations, found.parameter, found.nonnegative) == (7, 7, True)
        if y.any():
            assert (A @ x).sum() == pytest.approx(y.sum())  # no light is lost


def test_richardson_lucy_maximises_the_likelihood() -> None:
    A, _, y = scene((6, 7), 0.01)  # wide: x reaches beyond the frame
    y = np.abs(y)
    found = cm.solve.deconvolve(
        y, OBLIQUE, (6, 7), method="richardson_lucy", parameter=math.inf, tol=1e-3, max_iterations=50_000
    )
    x = found.x.ravel()
    gradient = A.T @ (1 - y / (A @ x))
    assert found.gradient <= 1e-3
    assert gradient.min() > -2e-3 * A.sum(axis=0).max()
    assert np.abs(gradient * x).sum() < 2e-3 * y.sum()
    assert (np.diff(found.history.objective) < 1e-12).all()
    image = A @ x
    assert found.history.objective[-1] == pytest.approx((image - y + y * np.log(y / image)).sum(), rel=1e-9)
    with pytest.raises(ValueError, match=r"Richardson-Lucy iterations end after 3 iterations .* tol=1e-09"):
        cm.solve.deconvolve(
            y, OBLIQUE, (6, 7), method="richardson_lucy", parameter=math.inf, tol=1e-9, max_iterations=3
        )


def test_richardson_lucy_stops_at_the_noise() -> None:
    _, _, y = scene((12, 14), 0.05, **SAME)
    y = np.abs(y)
    target = 0.06 * math.sqrt(168)
    call: dict[str, Any] = {"method": "richardson_lucy", **SAME}
    found = cm.solve.deconvolve(y, OBLIQUE, (12, 14), parameter="discrepancy", noise=0.06, **call)
    assert found.residual <= target
    assert found.parameter == found.iterations > 1
    assert cm.solve.deconvolve(y, OBLIQUE, (12, 14), parameter=found.parameter - 1, **call).residual > target
    with pytest.raises(ValueError, match="no solution has a residual"):
        cm.solve.deconvolve(y, OBLIQUE, (12, 14), parameter="discrepancy", noise=1e-9, max_iterations=5, **call)


def test_borders_are_as_good_as_the_inside() -> None:
    restoration = pytest.importorskip("skimage.restoration")
    rng = np.random.default_rng(7)
    one = np.exp(-(np.arange(-4, 5) ** 2) / 5)
    blur = np.outer(one, one) / one.sum() ** 2
    wide = 1 + np.kron(rng.random((6, 6)), np.ones((8, 8)))
    y = (cm.ConvOperator(blur, wide.shape) @ wide.ravel()).reshape(40, 40)  # no pixel outside the frame is assumed
    ours = cm.solve.deconvolve(y, blur, wide.shape, method="richardson_lucy", parameter=30).x[4:-4, 4:-4]
    theirs = restoration.richardson_lucy(y / 2, blur, num_iter=30) * 2  # its values are at most one
    errors = [np.abs(x - wide[4:-4, 4:-4]) for x in (ours, theirs)]
    border = np.ones((40, 40), dtype=bool)
    border[6:-6, 6:-6] = False
    assert errors[0][border].mean() < 1.3 * errors[0][~border].mean()
    assert errors[1][border].mean() > 2 * errors[0][border].mean()


# --- total variation -------------------------------------------------------------------------------------------------


def lack_of_optimality(A: Any, D: Any, y: Any, x: Any, weight: float, *, nonnegative: bool) -> float:
    """Return the distance of zero from the subdifferential of the anisotropic problem, by bounded least squares."""
    slopes, gradient = D @ x, A.T @ (A @ x - y)
    flat = np.abs(slopes) < 1e-4
    low = np.where(flat, -weight, weight * np.sign(slopes))
    high = np.where(flat, weight, weight * np.sign(slopes))
    columns, lows, highs = [D.T], [low], [high + 1e-12]
    if nonnegative:
        zero = np.flatnonzero(x < 1e-4)
        columns.append(-np.eye(len(x))[:, zero])
        lows.append(np.zeros(len(zero)))
        highs.append(np.full(len(zero), np.inf))
    found = optimize.lsq_linear(
        np.concatenate(columns, axis=1), -gradient, (np.concatenate(lows), np.concatenate(highs))
    )
    return float(np.linalg.norm(found.fun) / np.linalg.norm(A.T @ y))


@for_each("options, iterate", [(MIRROR, False), (SAME, False), (SAME, True), ({}, True)])
@for_each("nonneg", [False, True])
def test_anisotropic_total_variation_is_optimal(options: dict[str, Any], nonneg: bool, iterate: bool) -> None:
    A, _, y = scene((6, 7), 0.3, **options)
    D = dense_differences(cm.ConvGeometry((6, 7), (3, 5), **options))
    call: dict[str, Any] = {"method": "tv", "isotropic": False, "parameter": 0.05, "nonnegative": nonneg, **options}
    call |= {"tol": 1e-5}
    if iterate:
        with by_iteration():
            found = cm.solve.deconvolve(y, OBLIQUE, (6, 7), **call)
        assert found.route == "iteration"
    else:
        found = cm.solve.deconvolve(y, OBLIQUE, (6, 7), **call)
        assert found.route != "iteration"
    x = found.x.ravel()
    assert lack_of_optimality(A, D, y, x, 0.05, nonnegative=nonneg) < 2e-6
    assert not nonneg or x.min() >= 0
    objective = np.linalg.norm(A @ x - y) ** 2 / 2 + 0.05 * np.abs(D @ x).sum()
    assert found.history.objective[-1] == pytest.approx(objective, rel=1e-5)
    assert len(found.history.gradient) == found.iterations
    worse = lack_of_optimality(A, D, y, x + 0.01 * np.sin(np.arange(42)), 0.05, nonnegative=nonneg)
    assert worse > 1e-3  # the check would notice


@for_each("iterate", [False, True])
def test_isotropic_total_variation_attains_the_dual_bound(iterate: bool) -> None:
    shape, weight = (4, 5), 0.2
    kernel = [[0.0, 0.1, 0.2], [0.1, 1.0, 0.0], [0.0, 0.1, 0.1]]
    A, _, y = scene(shape, 0.3, np.array(kernel), **SAME)
    D = dense_differences(cm.ConvGeometry(shape, (3, 3), **SAME))
    inverse = np.linalg.inv(A).T

    def dual(q: Any) -> tuple[float, Any]:
        # The minimum over x of the Lagrangian is (||y||^2 - ||y - A^-T D^T q||^2) / 2 if norms of q are at most lambda.
        rest = y - inverse @ (D.T @ q)
        return float(rest @ rest) / 2, -D @ (inverse.T @ rest)

    constraints = optimize.NonlinearConstraint(
        lambda q: (q.reshape(2, -1) ** 2).sum(axis=0), 0, weight**2, jac=lambda q: pairs(2 * q)
    )

    def pairs(q: Any) -> Any:
        n = len(q) // 2
        return np.concatenate([np.diag(q[:n]), np.diag(q[n:])], axis=1)

    best = optimize.minimize(
        dual, np.zeros(40), jac=True, method="SLSQP", constraints=constraints, options={"maxiter": 500, "ftol": 1e-14}
    )
    bound = float(y @ y) / 2 - best.fun
    call: dict[str, Any] = {"method": "tv", "parameter": weight, "tol": 1e-5, **SAME}
    if iterate:
        with by_iteration():
            x = cm.solve.deconvolve(y, kernel, shape, **call).x.ravel()
    else:
        x = cm.solve.deconvolve(y, kernel, shape, **call).x.ravel()
    slopes = (D @ x).reshape(2, -1)
    objective = np.linalg.norm(A @ x - y) ** 2 / 2 + weight * np.hypot(*slopes).sum()
    assert bound - 1e-9 <= objective <= bound + 1e-6


def test_total_variation_with_the_residual_of_the_noise() -> None:
    _, _, y = scene((12, 14), 0.1, **MIRROR)
    call: dict[str, Any] = {"method": "tv", **MIRROR}
    found = cm.solve.deconvolve(y, OBLIQUE, (12, 14), parameter="discrepancy", noise=0.1, tol=1e-4, **call)
    assert found.residual == pytest.approx(0.1 * math.sqrt(168), rel=2e-3)
    again = cm.solve.deconvolve(y, OBLIQUE, (12, 14), parameter=found.parameter, tol=1e-4, **call)
    np.testing.assert_allclose(again.x, found.x, atol=1e-2)
    with pytest.raises(ValueError, match="the noise explains all of y"):
        cm.solve.deconvolve(y, OBLIQUE, (12, 14), parameter="discrepancy", noise=99, **call)


def test_total_variation_at_its_ends() -> None:
    _, _, y = scene((6, 7), 0.1, **RING)
    flat = cm.solve.deconvolve(y, OBLIQUE, (6, 7), method="tv", parameter=1e2, **RING)
    np.testing.assert_allclose(flat.x, y.mean() / OBLIQUE.sum(), atol=1e-4)
    least = cm.solve.deconvolve(y, OBLIQUE, (6, 7), method="tv", parameter=0, **RING)
    assert least.residual < 0.05 * np.linalg.norm(y)
    zero = cm.solve.deconvolve(0 * y, OBLIQUE, (6, 7), method="tv", parameter=0.1, **RING)
    assert not zero.x.any()
    assert zero.iterations == 0


# --- stopped conjugate gradients -------------------------------------------------------------------------------------


@for_each("options", [SAME, {}, {"padding": "full"}])
def test_cgls_iterates_are_best_in_krylov_spaces(options: dict[str, Any]) -> None:
    A, _, y = scene((7, 8), 0.1, **options)
    vectors, v = [], A.T @ y
    for number in range(1, 7):
        vectors.append(v / np.linalg.norm(v))
        v = A.T @ (A @ vectors[-1])
        basis = np.linalg.qr(np.stack(vectors, axis=1))[0]
        expected = basis @ np.linalg.lstsq(A @ basis, y)[0]
        found = cm.solve.deconvolve(y, OBLIQUE, (7, 8), method="cgls", parameter=number, **options)
        np.testing.assert_allclose(found.x.ravel(), expected, atol=1e-9)
        assert (found.parameter, found.iterations, found.route) == (number, number, "iteration")
    assert (np.diff(found.history.residual) <= 0).all()
    assert found.history.objective == pytest.approx(found.history.residual**2)


def test_rules_stop_cgls() -> None:
    _, _, y = scene((12, 14), 0.1, BROAD, **SAME)
    call: dict[str, Any] = {"method": "cgls", **SAME}
    path = [cm.solve.deconvolve(y, BROAD, (12, 14), parameter=k, **call) for k in range(1, 30)]
    found = cm.solve.deconvolve(y, BROAD, (12, 14), **call)
    scores = [part.residual**2 / (168 - part.parameter) ** 2 for part in path]
    assert found.parameter == 1 + int(np.argmin(scores)) > 1
    np.testing.assert_array_equal(found.x, path[int(found.parameter) - 1].x)
    found = cm.solve.deconvolve(y, BROAD, (12, 14), parameter="discrepancy", noise=0.11, **call)
    target = 0.11 * math.sqrt(168)
    assert found.parameter == 1 + next(i for i, part in enumerate(path) if part.residual <= target)
    found = cm.solve.deconvolve(y, BROAD, (12, 14), parameter="l_curve", **call)
    assert 1 <= found.parameter < 30
    np.testing.assert_array_equal(found.x, path[int(found.parameter) - 1].x)


def test_rules_that_do_not_stop_cgls() -> None:
    _, _, y = scene((12, 14), 0.1, **SAME)
    call: dict[str, Any] = {"method": "cgls", **SAME}
    with pytest.raises(ValueError, match=r"parameter='gcv' has not settled after 2 iterations .*max_iterations .now 2"):
        cm.solve.deconvolve(y, OBLIQUE, (12, 14), max_iterations=2, **call)
    with pytest.raises(ValueError, match="no solution has a residual"):
        cm.solve.deconvolve(y, OBLIQUE, (12, 14), parameter="discrepancy", noise=1e-9, max_iterations=9, **call)
    with pytest.raises(ValueError, match=r"A\^H y is zero, so every iterate"):
        cm.solve.deconvolve(0 * y, OBLIQUE, (12, 14), **call)
    exhausted = cm.solve.deconvolve([1.0, 2, 3], [2.0], 3, method="cgls", parameter=5)
    assert (exhausted.parameter, exhausted.iterations) == (1, 1)
    np.testing.assert_allclose(exhausted.x, [0.5, 1, 1.5])


# --- history, progress, scale ----------------------------------------------------------------------------------------

ITERATIVE: dict[str, dict[str, Any]] = {
    "tikhonov": {"parameter": 0.3, "penalty": "gradient"},
    "non-negative": {"parameter": 0.3, "nonnegative": True},
    "cgls": {"method": "cgls", "parameter": 5},
    "lucy": {"method": "richardson_lucy", "parameter": 5},
    "tv": {"method": "tv", "parameter": 0.1, "tol": 1e-5},
}


@for_each("name", ITERATIVE)
def test_history_and_progress(name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convmatrix.progress.DELAY", 0)
    _, _, y = scene((6, 7), 0.02, **SAME)
    y = np.abs(y)
    calls: list[tuple[int, int, str]] = []
    with by_iteration():
        found = cm.solve.deconvolve(
            y,
            OBLIQUE,
            (6, 7),
            progress=lambda *entry: calls.append(entry),
            max_iterations=9999,
            **ITERATIVE[name],
            **SAME,
        )
        assert capsys.readouterr().err == ""
        cm.solve.deconvolve(y, OBLIQUE, (6, 7), progress=True, **ITERATIVE[name], **SAME)
    assert [done for done, _, _ in calls] == list(range(1, found.iterations + 1))
    assert {of for _, of, _ in calls} == {9999}
    assert "residual" in calls[0][2]
    shown = capsys.readouterr().err
    assert shown.startswith("\riterations [....................] 1/")
    assert shown.endswith(" \r")
    assert len(found.history.residual) == found.iterations
    assert found.history.residual[-1] == pytest.approx(found.residual, rel=1e-5)
    with pytest.raises(ValueError, match="read-only"):
        found.history.objective[0] = 1


@for_each("isotropic", [True, False])
def test_history_of_non_negative_total_variation_is_that_of_x(isotropic: bool) -> None:
    layer: dict[str, Any] = {"padding": ((0, 3), (0, 1)), "flip": True}
    rng = np.random.default_rng(29)
    kernel, y = rng.standard_normal((2, 1)), rng.standard_normal((3, 5))
    options: dict[str, Any] = {"method": "tv", "parameter": 0.05, "isotropic": isotropic, "nonnegative": True}
    found = cm.solve.deconvolve(y, kernel, (1, 4), **options, **layer)
    assert found.route != "iteration"
    misfit = np.linalg.norm(cm.conv_matrix(kernel, (1, 4), **layer) @ found.x.ravel() - y.ravel())
    objective = misfit**2 / 2 + 0.05 * np.abs(np.diff(found.x)).sum()
    assert found.history.residual[-1] == pytest.approx(misfit, rel=1e-12)
    assert found.history.objective[-1] == pytest.approx(objective, rel=1e-12)


def test_objective_of_the_penalised_problem() -> None:
    A, _, y = scene((6, 7), **SAME)
    D = dense_differences(cm.ConvGeometry((6, 7), (3, 5), **SAME))
    with by_iteration():
        found = cm.solve.deconvolve(y, OBLIQUE, (6, 7), parameter=0.3, penalty="gradient", **TIGHT, **SAME)
    x = found.x.ravel()
    objective = np.linalg.norm(A @ x - y) ** 2 + 0.09 * np.linalg.norm(D @ x) ** 2
    assert found.history.objective[-1] == pytest.approx(objective, rel=1e-12)
    direct = cm.solve.deconvolve(y, OBLIQUE, (6, 7), parameter=0.3, penalty="gradient", **SAME)
    assert len(direct.history.objective) == 0


@for_each("name, scale", list(zip(ITERATIVE, [1e-120, 1e90] * 3, strict=False)))
def test_scale_of_kernel_and_data(name: str, scale: float) -> None:
    _, _, y = scene((6, 7), 0.02, **SAME)
    y, options = np.abs(y), ITERATIVE[name]
    power = {"tikhonov": 1, "non-negative": 1, "tv": 2}.get(name, 0)
    with by_iteration():
        one = cm.solve.deconvolve(y, OBLIQUE, (6, 7), **options, **SAME)
        scaled = options | {"parameter": options["parameter"] * scale**power}
        other = cm.solve.deconvolve(y * scale, OBLIQUE * scale, (6, 7), **scaled, **SAME)
    np.testing.assert_allclose(other.x, one.x, atol=1e-3 if name == "tv" else 1e-6)
    assert other.residual == pytest.approx(one.residual * scale, rel=1e-4)
    assert other.parameter == pytest.approx(one.parameter * scale**power)


# --- what is refused -------------------------------------------------------------------------------------------------

ONES = np.ones(6)


@for_each(
    "options, message",
    [
        ({"penalty": "curvature"}, "penalty 'curvature' is unknown.*gradient, laplacian"),
        ({"penalty": "gradient", "method": "tsvd"}, "penalty is for method='tikhonov', but method='tsvd'"),
        ({"penalty": np.ones((2, 5))}, r"penalty has 5 columns, but x has 6 entries .*\(p, 6\)"),
        ({"penalty": cm.ConvOperator([1.0], 5)}, r"shape \(5,\).*\(6,\)"),
        ({"penalty": LinearOperator((6, 6), matvec=lambda v: v, dtype=float)}, "penalty has no adjoint"),
        ({"penalty": np.diag([np.nan] * 6)}, "penalty returns infinite or NaN"),
        ({"penalty": np.zeros((2, 6))}, "penalty is zero"),
        ({"nonnegative": True, "method": "cgls"}, "nonnegative=True is for .*method='cgls'"),
        ({"nonnegative": True, "y": ONES * 1j}, "nonnegative=True needs a real kernel"),
        ({"isotropic": False}, "isotropic=False is for method='tv'"),
        ({"method": "tv"}, "parameter='gcv' is for .* method='tv'; give a number, or parameter='discrepancy'"),
        ({"method": "richardson_lucy", "parameter": "l_curve"}, "give a number of iterations"),
        ({"method": "richardson_lucy", "parameter": 0}, "parameter=0 must be a number of iterations.*infinite"),
        ({"method": "cgls", "parameter": 1.5}, "parameter=1.5 must be a number of iterations"),
        ({"method": "cgls", "parameter": math.inf}, "parameter=inf must be a number of iterations"),
        ({"method": "richardson_lucy", "parameter": 1, "y": -ONES}, "y has 6 negative entries of 6"),
        ({"method": "richardson_lucy", "parameter": 1, "kernel": [1, -2, 1]}, "the kernel has 1 negative entries of 3"),
        ({"method": "richardson_lucy", "parameter": 1, "boundary": "antireflect"}, "boundary='antireflect' subtracts"),
        ({"method": "tv", "parameter": 0.1, "max_iterations": 2}, "primal-dual iterations end after 2"),
    ],
)
def test_bad_combinations(options: dict[str, Any], message: str) -> None:
    options = dict(options)
    y, kernel = options.pop("y", ONES + np.arange(6)), options.pop("kernel", [1, 2, 1])
    with pytest.raises(ValueError, match=message):
        cm.solve.deconvolve(y, kernel, 6, **options, **SAME)


@for_each(
    "options, message",
    [
        ({"penalty": 3}, "penalty must be .*, but is int"),
        ({"nonnegative": 1}, "nonnegative must be True or False"),
        ({"isotropic": None}, "isotropic must be True or False"),
        ({"per_channel": "yes"}, "per_channel must be True or False"),
    ],
)
def test_bad_types_of_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        cm.solve.deconvolve(ONES, [1, 2, 1], 6, **options, **SAME)


def test_iterations_that_do_not_reach_the_tolerance(monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, y = scene((12, 14), **SAME)
    with by_iteration(), pytest.raises(ValueError, match="projected conjugate gradients end after 2 iterations"):
        cm.solve.deconvolve(y, OBLIQUE, (12, 14), parameter=1e-3, nonnegative=True, max_iterations=2, **SAME)
    with pytest.raises(ValueError, match="solutions are too inaccurate"):
        deconvolution_methods.discrepancy_search(
            lambda _, __: deconvolution_methods.Iterate(np.ones((1, 1)), 1, 0.0),
            iter_misfit([2.0, 0.5, 2.0, 0.5] * 200),
            1.0,
            1.0,
        )


def iter_misfit(values: list[float]) -> Any:
    """Return a function that returns one value after another."""
    rest = iter(values)
    return lambda _: next(rest)


@for_each("iterate", [False, True])
def test_complex_penalty_of_real_data(iterate: bool) -> None:
    rng = np.random.default_rng(0)
    layer: dict[str, Any] = {"padding": "same", "boundary": "antireflect"}
    A, y = cm.conv_matrix([0.25, 0.5, 0.3], 8, **layer).toarray(), rng.standard_normal(8)
    L = rng.standard_normal((5, 8)) + 1j * rng.standard_normal((5, 8))
    pair = ([1, 1j], {"padding": "valid"})
    for penalty, dense in ((L, L), (pair, cm.conv_matrix([1, 1j], 8).toarray())):
        with by_iteration() if iterate else contextlib.nullcontext():
            found = cm.solve.deconvolve(y, [0.25, 0.5, 0.3], 8, parameter=1, penalty=penalty, tol=1e-12, **layer)
        assert (found.route == "iteration") == iterate
        expected = np.linalg.solve(A.T @ A + dense.conj().T @ dense, A.T @ y)
        assert np.abs(expected.imag).max() > 0.01
        np.testing.assert_allclose(found.x, expected, atol=1e-8)
    with pytest.raises(ValueError, match="real penalty"):
        cm.solve.deconvolve(y, [0.25, 0.5, 0.3], 8, parameter=1, penalty=L, nonnegative=True, **layer)


@for_each(
    "options, name",
    [
        ({"tol": "a"}, "tol"),
        ({"parameter": np.complex128(1)}, "parameter"),
        ({"parameter": "discrepancy", "noise": "1"}, "noise"),
        ({"parameter": "discrepancy", "noise": np.ones(3)}, "noise"),
        ({"method": "wiener", "signal_power": np.ones(8) * 1j}, "signal_power"),
        ({"method": "richardson_lucy", "parameter": 1, "y": ["a"] * 8}, "y"),
    ],
)
def test_arguments_of_a_wrong_type_are_named(options: dict[str, Any], name: str) -> None:
    y = options.get("y", np.ones(8))
    others = {key: value for key, value in options.items() if key != "y"}
    with pytest.raises(TypeError, match=rf"^{name} "):
        cm.solve.deconvolve(y, [1, 2, 1], 8, padding="same", boundary="symmetric", **others)


def test_recovery_names_a_geometry_that_is_none() -> None:
    with pytest.raises(TypeError, match="geometry must be a ConvGeometry"):
        cm.recover_kernel(np.eye(3), 3)  # type: ignore[arg-type]
