"""Tests of linear restrictions on time series, with a vectorised bootstrap; regressions are those of statsmodels."""

from __future__ import annotations

from typing import Any

import numpy as np
import statsmodels.api as sm
from scipy.stats import chi2, f

Array = Any  # float64


def least_squares(design: Array, target: Array) -> Any:
    """Return the results of statsmodels' least squares: ``params``, ``resid``, ``ssr``, ``cov_params()``."""
    return sm.OLS(target, design).fit()


def robust_covariance(fit: Any, lags: int) -> Array:
    """Return the covariance that is robust to unequal variances and autocorrelation (Newey and West, 1987)."""
    return fit.get_robustcov_results("HAC", maxlags=lags, use_correction=False).cov_params()


def newey_west(design: Array, residuals: Array, lags: int, bread: Array) -> Array:
    """Return the covariance of least squares that is robust to unequal variances and autocorrelation.

    ``bread`` is the inverse of ``design.T @ design``; the weights of lags fall off linearly (Newey and West,
    Econometrica 55(3), 1987).
    """
    scores = design * residuals[:, None]
    middle = scores.T @ scores
    for lag in range(1, lags + 1):
        product = scores[lag:].T @ scores[:-lag]
        middle += (1 - lag / (lags + 1)) * (product + product.T)
    return bread @ middle @ bread


def restricted_coefficients(free: Any, restrictions: Array) -> Array:
    """Return the coefficients of least squares under ``restrictions @ coefficients = 0``, by Lagrange multipliers."""
    across = free.normalized_cov_params @ restrictions.T  # (k, r)
    return free.params - across @ np.linalg.solve(restrictions @ across, restrictions @ free.params)


class RestrictionTest:
    """The F test and the robust Wald test of ``restrictions @ coefficients = 0``, for any target of one design."""

    def __init__(self, free: Array, tied: Array, restrictions: Array, lags: int) -> None:
        self.free, self.restrictions, self.lags = free, restrictions, lags
        self.bread = np.linalg.inv(free.T @ free)
        self.solve_free, self.tied, self.solve_tied = self.bread @ free.T, tied, np.linalg.pinv(tied)
        self.count, self.freedom = len(restrictions), len(free) - free.shape[1]

    def statistics(self, target: Array) -> tuple[float, float]:
        """Return the F and the Wald statistic."""
        coefficients = self.solve_free @ target
        residuals = target - self.free @ coefficients
        restricted = target - self.tied @ (self.solve_tied @ target)
        squares = residuals @ residuals
        f_value = (restricted @ restricted - squares) / self.count / (squares / self.freedom)
        covariance = newey_west(self.free, residuals, self.lags, self.bread)
        gaps = self.restrictions @ coefficients
        wald = gaps @ np.linalg.solve(self.restrictions @ covariance @ self.restrictions.T, gaps)
        return float(f_value), float(wald)

    def p_values(self, f_value: float, wald: float) -> tuple[float, float]:
        """Return the p-values of the two, by the F and the chi-squared distribution."""
        return float(f.sf(f_value, self.count, self.freedom)), float(chi2.sf(wald, self.count))

    def wild_bootstrap(self, target: Array, replications: int, rng: np.random.Generator) -> Array:
        """Return both statistics of targets that obey the restrictions, (replications, 2).

        The residuals of the restricted fit get random signs, which keeps each day's variance.
        """
        fitted = self.tied @ (self.solve_tied @ target)
        signs = (rng.choice([-1.0, 1.0], len(target)) for _ in range(replications))
        return np.array([self.statistics(fitted + (target - fitted) * sign) for sign in signs])


def expanding_forecasts(design: Array, target: Array, start: int) -> Array:
    """Return forecasts of each day from ``start`` on, by least squares on all days before it."""
    squares, products = design[:start].T @ design[:start], design[:start].T @ target[:start]
    forecasts = np.empty(len(target) - start)
    for place, (row, value) in enumerate(zip(design[start:], target[start:], strict=True)):
        forecasts[place] = row @ np.linalg.solve(squares, products)
        squares += np.outer(row, row)
        products += row * value
    return forecasts
