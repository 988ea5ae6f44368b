"""Measuring tools of the analyses: Gabor fits, robust regressions, selectivity for colour and orientation."""

from __future__ import annotations

import doctest
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="needs the extra analyses")
pytest.importorskip("skimage", reason="needs the extra analyses")

import convmatrix as cm
from analyses import _features
from analyses._regression import (
    RestrictionTest,
    expanding_forecasts,
    least_squares,
    newey_west,
    restricted_coefficients,
    robust_covariance,
)
from analyses.belief_network.faces import _entropy, correlations
from analyses.belief_network.gabor import fit_gabor, shuffled_phases
from analyses.belief_network.photographs import shuffled
from analyses.colour_hierarchy.selectivity import (
    colour_of_filters,
    colour_of_responses,
    composite_filters,
    orientation_of_filters,
    orientation_of_responses,
)
from analyses.colour_hierarchy.tasks import CONTRAST, ellipses, grey


def stripes(degrees: float, size: int = 10) -> np.ndarray:
    """Return a wave packet whose stripes have a direction, measured from the horizontal with y upwards."""
    rows, columns = np.indices((size, size)) - 4.3
    angle = np.radians(degrees)
    across = columns * np.sin(angle) + rows * np.cos(angle)  # rows go down
    along = columns * np.cos(angle) - rows * np.sin(angle)
    return np.exp(-(across**2) / 5 - along**2 / 12) * np.cos(2 * np.pi * 0.2 * across + 0.7)


@pytest.mark.parametrize("degrees", [0, 30, 45, 90, 120, 170])
def test_gabor_finds_the_packet_and_its_direction(degrees: float) -> None:
    fit = fit_gabor(stripes(degrees))
    assert fit.explained > 0.999
    np.testing.assert_allclose(fit.picture, stripes(degrees), atol=0.02)
    assert abs((fit.orientation - degrees + 90) % 180 - 90) < 1


def test_gabor_explains_little_of_noise() -> None:
    rng = np.random.default_rng(0)
    assert max(fit_gabor(rng.standard_normal((10, 10))).explained for _ in range(5)) < 0.4


def test_shuffled_phases_keep_the_spectrum() -> None:
    weights = stripes(30)
    shuffled = shuffled_phases(weights, np.random.default_rng(0))
    np.testing.assert_allclose(np.abs(np.fft.fft2(shuffled)), np.abs(np.fft.fft2(weights)), atol=1e-12)
    assert np.abs(shuffled - weights).max() > 0.1


def regression(n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    design = np.column_stack([np.ones(n), rng.standard_normal((n, 4)).cumsum(axis=0) / 5])
    errors = rng.standard_normal(n) * (1 + np.abs(design[:, 1]))
    return design, design @ [1.0, 0.5, 0.5, 0.2, 0.1] + errors


RESTRICTIONS = np.array([[0.0, 1, -1, 0, 0], [0, 0, 0, 1, -1]])


def test_covariances_and_tests_are_those_of_statsmodels() -> None:
    regressions = pytest.importorskip("statsmodels.api", reason="comes with the extra analyses")
    design, target = regression()
    model = regressions.OLS(target, design)
    plain, robust = model.fit(), model.fit(cov_type="HAC", cov_kwds={"maxlags": 5}, use_t=False)
    fit = least_squares(design, target)
    np.testing.assert_allclose(fit.params, plain.params)
    np.testing.assert_allclose(fit.cov_params(), plain.cov_params())
    np.testing.assert_allclose(robust_covariance(fit, 5), robust.cov_params())
    np.testing.assert_allclose(newey_west(design, fit.resid, 5, fit.normalized_cov_params), robust.cov_params())
    tied = np.column_stack([design[:, 0], design[:, 1] + design[:, 2], design[:, 3] + design[:, 4]])
    test = RestrictionTest(design, tied, RESTRICTIONS, 5)
    f_value, wald = test.statistics(target)
    f_test, wald_test = plain.f_test(RESTRICTIONS), robust.wald_test(RESTRICTIONS, use_f=False, scalar=True)
    np.testing.assert_allclose([f_value, wald], [f_test.fvalue, wald_test.statistic])
    np.testing.assert_allclose(test.p_values(f_value, wald), [f_test.pvalue, wald_test.pvalue])


def test_restricted_coefficients_are_those_of_the_tied_design() -> None:
    design, target = regression()
    restricted = restricted_coefficients(least_squares(design, target), RESTRICTIONS)
    tied = least_squares(
        np.column_stack([design[:, 0], design[:, 1] + design[:, 2], design[:, 3] + design[:, 4]]), target
    )
    np.testing.assert_allclose(restricted, tied.params[[0, 1, 1, 2, 2]])


def test_bootstrap_targets_obey_the_restrictions_and_keep_variances() -> None:
    """Signs leave the size of each restricted residual; all positive ones give the data back."""
    design, target = regression()
    tied = np.column_stack([design[:, 0], design[:, 1] + design[:, 2], design[:, 3] + design[:, 4]])
    test = RestrictionTest(design, tied, RESTRICTIONS, 5)
    seen: list[np.ndarray] = []

    class Recorder(RestrictionTest):
        def statistics(self, target: np.ndarray) -> tuple[float, float]:
            seen.append(target)
            return super().statistics(target)

    drawn = Recorder(design, tied, RESTRICTIONS, 5).wild_bootstrap(target, 20, np.random.default_rng(0))
    assert drawn.shape == (20, 2)
    fitted = tied @ least_squares(tied, target).params
    for one in seen:
        np.testing.assert_allclose(np.abs(one - fitted), np.abs(target - fitted))
    assert 0.3 < np.mean([(one - fitted) * (target - fitted) > 0 for one in seen]) < 0.7
    np.testing.assert_allclose(test.statistics(seen[0]), drawn[0])


def test_forecasts_use_the_past_alone() -> None:
    design, target = regression(60)
    forecasts = expanding_forecasts(design, target, 30)
    for day in (30, 31, 59):
        past = least_squares(design[:day], target[:day])
        np.testing.assert_allclose(forecasts[day - 30], design[day] @ past.params)


def test_examples_of_the_measures() -> None:
    outcome = doctest.testmod(_features)
    assert outcome.attempted > 6
    assert outcome.failed == 0


def test_shuffled_filters_keep_their_weights() -> None:
    weights = np.arange(24.0).reshape(2, 3, 2, 2)
    found = shuffled(weights, np.random.default_rng(0))
    assert (found != weights).any()
    np.testing.assert_array_equal(np.sort(found.reshape(2, -1)), weights.reshape(2, -1))


def test_entropy_of_two_classes() -> None:
    np.testing.assert_allclose(_entropy(np.array([0, 0.25, 0.5, 1])), [0, 0.811278, 1, 0], atol=1e-6)


def test_correlations_are_of_the_hidden_half_far_from_the_seen_one() -> None:
    rng = np.random.default_rng(0)
    faces = rng.standard_normal((3, 1, 24, 24))
    found = rng.standard_normal(faces.shape)
    found[..., 16:] = 3 * faces[..., 16:] + 2
    np.testing.assert_allclose(correlations(found, faces), 1)
    found[1, ..., 16:] *= -1
    np.testing.assert_allclose(correlations(found, faces), [1, -1, 1])
    assert np.abs(correlations(rng.standard_normal(faces.shape), faces)).max() < 0.25


# --- colour and orientation ------------------------------------------------------------------------------------------


def test_colour_of_filters() -> None:
    """A grey filter has none, an opponent one all, a random one two thirds."""
    plane = stripes(30)
    rng = np.random.default_rng(0)
    filters = [
        [plane] * 3,
        [plane, -plane, 0 * plane],
        [plane, 0 * plane, 0 * plane],
        *rng.standard_normal((300, 3, 10, 10)),
    ]
    share = colour_of_filters(np.array(filters))
    np.testing.assert_allclose(share[:3], [0, 1, 2 / 3], atol=1e-12)
    assert abs(share[3:].mean() - 2 / 3) < 0.01
    oriented = orientation_of_filters(np.array([[plane] * 3, filters[3]]))
    assert oriented[0] > 0.8 > 0.3 > oriented[1]


def test_composite_filters_are_rows_of_the_product_of_matrices() -> None:
    """Integer kernels, pooling by the mean of 2 x 2 and strides of 2, in one matrix of the whole chain."""
    rng = np.random.default_rng(0)
    weights = [rng.integers(-4, 5, shape).astype(np.float32) for shape in ((4, 3, 3, 3), (5, 4, 2, 2), (2, 5, 1, 1))]
    found = composite_filters(weights, (2, 1, 1), (2, 0, 0))
    assert [layer.shape for layer in found] == [(4, 3, 3, 3), (5, 3, 9, 9), (2, 3, 9, 9)]
    np.testing.assert_array_equal(found[0], weights[0])
    first = cm.conv_matrix(weights[0], (3, 9, 9), stride=2)
    pool = np.kron(np.eye(4), cm.conv_matrix(np.full((2, 2), 0.25), (4, 4), stride=2).toarray())
    second = cm.conv_matrix(weights[1], (4, 2, 2)) @ pool @ first.toarray()
    np.testing.assert_array_equal(found[1].reshape(5, -1), second)
    np.testing.assert_array_equal(found[2].reshape(2, -1), weights[2][:, :, 0, 0] @ second)


def test_colour_of_responses() -> None:
    """Channels: luminance, red less green, one that never responds."""

    def responses(images: Any) -> list[Any]:
        maps = [images.mean(axis=1), images[:, 0] - images[:, 1], 0 * images[:, 0]]
        return [np.maximum(np.stack(maps, axis=1), 0)]

    images = np.random.default_rng(0).random((50, 3, 6, 6))
    (found,) = colour_of_responses(responses, images)
    np.testing.assert_allclose(found, [0, 1], atol=1e-12)


def test_orientation_of_responses() -> None:
    """A channel that reads one direction alone is tuned to it; one that reads the middle pixel is not."""
    wave = np.cos(2 * np.pi * (np.arange(16) - 7.5) / 4.5)

    def responses(images: Any) -> list[Any]:
        across = (images.mean(axis=(1, 2)) - 0.5) @ wave
        maps = np.stack([np.maximum(across, 0), images[:, 0, 8, 8]], axis=1)
        return [maps[:, :, None, None]]

    (found,) = orientation_of_responses(responses, 16)
    assert found[0] > 0.8
    assert found[1] < 0.05


def test_ellipses_tell_direction_by_shape_and_hue_by_colour_alone() -> None:
    """Grey images do not depend on the hue: their luminance differs from the crop's by the same amount."""
    plain = [np.full((3, 40, 40), 0.5)]
    images, shape, colour = ellipses(plain, 400, np.random.default_rng(0))
    inside = np.abs(images - 0.5).max(axis=1) > 0.05
    middle = np.array([image[:, mask].mean(axis=1) for image, mask in zip(images, inside, strict=True)])
    np.testing.assert_allclose(np.abs(grey(images)[:, 0] - 0.5)[inside], 0.85 * CONTRAST, atol=1e-12)
    chroma = middle - middle.mean(axis=1, keepdims=True)
    hues = np.array([chroma[colour == hue].mean(axis=0) for hue in range(4)])
    np.testing.assert_allclose(hues[0], -hues[2], atol=1e-12)
    np.testing.assert_allclose(
        hues @ hues.T,
        (0.85 * 0.3) ** 2 * np.array([[1, 0, -1, 0], [0, 1, 0, -1], [-1, 0, 1, 0], [0, -1, 0, 1]]),
        atol=1e-12,
    )
    assert abs(np.corrcoef(shape, colour)[0, 1]) < 0.15
