"""What analyses measure with: Gabor fits, robust regressions, probabilities of pooled units."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="needs the extra analyses")
pytest.importorskip("skimage", reason="needs the extra analyses")

from analyses._regression import (
    RestrictionTest,
    expanding_forecasts,
    least_squares,
    newey_west,
    restricted_coefficients,
    robust_covariance,
)
from analyses.belief_network.gabor import fit_gabor, shuffled_phases


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
