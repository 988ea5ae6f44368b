"""HAR as a tied convolution: 22 taps, 3 parameters, on the range-based variance of two stock indices.

Source: Corsi, A simple approximate long-memory model of realized volatility, Journal of Financial Econometrics 7(2),
2009, eqs. 4 and 8: tomorrow's value is c + b_d (today's) + b_w (5-day average) + b_m (22-day average) + noise. It is an
autoregression of order 22, a causal convolution, whose weights are tied to three values: 19 restrictions.

The data are *range-based*, not realised: Parkinson's daily variance ln(high / low)^2 / (4 ln 2) (Journal of Business
53(1), 1980), annualised in percent squared, of the S&P 500 and NASDAQ 1999-2018, which come with the package arch. The
published estimates, for realised volatility of other series, are therefore not compared; the published parameters of
the simulation are.

The restrictions are tested in three ways. The F test holds for errors of equal variance, which these are not: large
variances come with large errors. The Wald test takes the covariance of Newey and West (Econometrica 55(3), 1987; 9
lags, their rule of thumb), robust to that and to autocorrelation, but only in large samples, and 19 restrictions with
such heavy tails make 5,000 days a small one. So its p-value is also taken from a wild bootstrap: series that obey the
restrictions, whose errors are the residuals with random signs (Goncalves and Kilian, Journal of Econometrics 123(1),
2004, with the regressors held fixed). How often each asymptotic test rejects such a series at 5 % is its real size.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from arch.data import nasdaq, sp500
from scipy.sparse import eye_array
from scipy.sparse.linalg import spsolve_triangular
from scipy.stats import chi2

import convmatrix as cm
from analyses import Claim, Context, check_equal, check_within, published_equal, published_within
from analyses._figures import COLOURS, PAGE_WIDTH, new_figure
from analyses._regression import (
    Array,
    RestrictionTest,
    expanding_forecasts,
    least_squares,
    restricted_coefficients,
    robust_covariance,
)
from convmatrix.equivariance import tie
from convmatrix.plotting import plot_matrix

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DAY, WEEK, MONTH = SPANS = (1, 5, 22)
TIED = [0] * DAY + [1] * (WEEK - DAY) + [2] * (MONTH - WEEK)  # which weight each lag uses
SIMULATED = (Fraction(36, 100), Fraction(28, 100), Fraction(28, 100))
NEWEY_WEST_LAGS = 9  # of T = 5,000: 4 (T / 100)^(2/9)
SOURCE = "Corsi 2009"


def run(context: Context) -> list[Claim]:
    """Check the identities, recover simulated parameters, then estimate and test on the two indices."""
    rng = np.random.default_rng(0)
    claims = _identities(rng) + _simulation(rng, context.quick)
    pictures: dict[str, tuple[Array, Array, float]] = {}
    for name, data in {"S&P 500": sp500, "NASDAQ": nasdaq}.items():
        prices = data.load()
        high, low = (prices[side].to_numpy(dtype=np.float64) for side in ("High", "Low"))
        variance = np.log(high / low) ** 2 / (4 * np.log(2)) * 252 * 100**2
        series = {f"{name} variance": variance}
        if not context.quick:
            series[f"{name} volatility"] = np.sqrt(variance)
        for label, values in series.items():
            tests, drawn, observed = _tests(label, values, 49 if context.quick else 399, rng)
            claims += _estimates(label, values) + tests
            pictures.setdefault(name, (variance, drawn, observed))
    context.save_figure(_figure(pictures))
    return claims


# --- the tied convolution --------------------------------------------------------------------------------------------


def _lags(length: int) -> cm.WeightPattern:
    """Return AR(22) as a layer: output i reads days i .. i + 21, tap k the value k + 1 days before the target."""
    return cm.ConvGeometry(length, MONTH, flip=True).pattern()


def _averages(length: int) -> cm.WeightPattern:
    """Return HAR as Corsi writes it: one weight for the sum over a day, one for a week, one for a month."""
    lags = _lags(length)
    parts = [lags.weight_index < span for span in SPANS]
    rows, columns = (np.concatenate([array[part] for part in parts]) for array in (lags.rows, lags.cols))
    weights = np.repeat(np.arange(3), [np.count_nonzero(part) for part in parts])
    return cm.WeightPattern.from_triplets(lags.shape, rows, columns, weights, 3)


def _taps(parameters: tuple[Fraction, ...]) -> list[Fraction]:
    """Return the 22 taps, read off the matrix of one output: row 0 as counts of each weight, times exact weights."""
    pattern = _averages(MONTH)
    weights = [value / span for value, span in zip(parameters, SPANS, strict=True)]
    counts = [pattern.tap(k).toarray()[0] for k in range(3)]
    return [sum((int(c[j]) * w for c, w in zip(counts, weights, strict=True)), Fraction(0)) for j in range(MONTH)][::-1]


def _identities(rng: np.random.Generator) -> list[Claim]:
    day, week, month = SIMULATED
    formula = {
        "phi_1": {day + week / 5 + month / 22},
        "phi_2 .. phi_5": {week / 5 + month / 22},
        "phi_6 .. phi_22": {month / 22},
    }
    taps = _taps(SIMULATED)
    parts = {"phi_1": taps[:1], "phi_2 .. phi_5": taps[1:5], "phi_6 .. phi_22": taps[5:]}
    claims = [
        published_equal(
            f"taps-{name}",
            f"taps {name} for 0.36, 0.28, 0.28, exact fractions",
            [str(value) for value in sorted(set(parts[name]))],
            published=[str(value) for value in sorted(values)],
            source=f"{SOURCE}, eqs. 4 and 8 written as an AR(22)",
        )
        for name, values in formula.items()
    ]
    free, tied = _lags(MONTH), tie(_lags(MONTH), TIED)
    claims.append(
        published_equal(
            "restrictions",
            "restrictions: taps less parameters",
            free.n_weights - len(np.unique(tied.weight_index)),
            published=19,
            source=f"{SOURCE}, eq. 8 written as an AR(22)",
        )
    )
    values = rng.integers(0, 1000, size=200)
    weights = [int(110 * 100 * value / span) for value, span in zip(SIMULATED, SPANS, strict=True)]
    product = _averages(199).matrix(np.array(weights)) @ values[:-1]
    windows = np.lib.stride_tricks.sliding_window_view(values[:-1], MONTH)  # (targets, 22), newest last
    direct = sum(w * windows[:, -span:].sum(axis=1) for w, span in zip(weights, SPANS, strict=True))
    by_group = tie(_lags(199), TIED).matrix(np.cumsum(weights[::-1])[::-1].reshape(1, 1, 3)) @ values[:-1]
    claims.append(
        check_equal(
            "matrix-forms",
            "days where the matrix, its tied form or the averages differ, integers",
            np.count_nonzero((product != direct) | (by_group != direct)),
            expected=0,
            reason="three ways to write the same sums",
        )
    )
    return claims


# --- estimation ------------------------------------------------------------------------------------------------------


def _fit(pattern: cm.WeightPattern, series: Array) -> Any:
    """Regress each day on the days before it: the design is the Jacobian of the layer in its weights, and a one."""
    lags = pattern.jacobian(series[:-1]).toarray()
    return least_squares(np.column_stack([np.ones(len(lags)), lags]), series[MONTH:])


def _restrictions() -> Array:
    """Return the 19 x 23 matrix that is zero on tied coefficients: differences of neighbours that share a weight."""
    tied = tie(_lags(MONTH), TIED)
    labels = tied.weight_index[::-1]  # row 0, the newest day first
    matrix = np.zeros((MONTH - 1, 1 + MONTH))
    index = np.arange(MONTH - 1)
    matrix[index, index + 1], matrix[index, index + 2] = 1, -1
    return matrix[labels[:-1] == labels[1:]]


# --- simulated and real series ---------------------------------------------------------------------------------------


def _simulated(length: int, rng: np.random.Generator) -> Array:
    """Return a series with the published parameters: the noise, solved with the matrix of the tied convolution."""
    taps = np.array([float(tap) for tap in _taps(SIMULATED)])
    causal = cm.ConvGeometry(length, MONTH, padding=[(MONTH, 0)], flip=True).pattern()
    past = causal.matrix(taps)[:length]  # the last output would be the day after the series
    series: Array = spsolve_triangular((eye_array(length) - past).tocsr(), rng.standard_normal(length), lower=True)
    return series[10 * MONTH :]  # what comes before still remembers the start at zero


def _simulation(rng: np.random.Generator, quick: bool) -> list[Claim]:
    length = 20_000 if quick else 200_000
    series = _simulated(length, rng)
    fit = _fit(_averages(len(series) - 1), series)
    found = fit.params[1:] * SPANS
    errors = np.sqrt(np.diag(fit.cov_params()))[1:] * SPANS
    claims = [
        published_within(
            f"recovered-{name}",
            f"{name} recovered from {length:,} simulated days",
            value,
            (float(true) - 4 * error, float(true) + 4 * error),
            published=float(true),
            source=f"{SOURCE}, parameters of its simulation",
            rule="4 standard errors of the estimate",
        )
        for name, value, true, error in zip(("b_d", "b_w", "b_m"), found, SIMULATED, errors, strict=True)
    ]
    trials, rejected = (40 if quick else 400), 0
    for _ in range(trials):
        short = _simulated(1500, rng)
        test = _test(short)
        rejected += test.p_values(*test.statistics(short[MONTH:]))[0] < 0.05
    slack = 4 * np.sqrt(0.05 * 0.95 / trials)
    claims.append(
        check_within(
            "f-test-size",
            f"share of {trials} simulated series in which the F test rejects at 5 %",
            rejected / trials,
            (max(0.05 - slack, 0), 0.05 + slack),
            reason="5 % and 4 standard errors: the restrictions hold, the errors have one variance",
        )
    )
    return claims


def _test(series: Array) -> RestrictionTest:
    pattern = _lags(len(series) - 1)
    free, tied = _fit(pattern, series), _fit(tie(pattern, TIED), series)
    return RestrictionTest(free.model.exog, tied.model.exog, _restrictions(), NEWEY_WEST_LAGS)


def _estimates(name: str, series: Array) -> list[Claim]:
    """Fit both models to a series and compare them, in sample and out of sample."""
    pattern = _lags(len(series) - 1)
    free, har = _fit(pattern, series), _fit(_averages(len(series) - 1), series)
    target = series[MONTH:]
    daily, weekly, monthly = parameters = har.params[1:] * SPANS
    restricted = restricted_coefficients(free, _restrictions())
    from_har = np.array([har.params[0], *_newest_first(har.params[1:])])
    total = ((target - target.mean()) ** 2).sum()

    start = len(target) // 2
    actual = target[start:]
    by_har, by_free = (expanding_forecasts(fit.model.exog, target, start) for fit in (har, free))
    mean_so_far = np.cumsum(target)[start - 1 : -1] / np.arange(start, len(target))
    yesterday = series[MONTH + start - 1 : -1]
    errors = [float(np.mean((actual - by) ** 2)) for by in (by_har, by_free, mean_so_far, yesterday)]
    return [
        check_within(
            f"{name}-restricted",
            f"{name}: HAR less the AR(22) under 19 restrictions, relative",
            np.abs(from_har - restricted).max() / np.abs(restricted).max(),
            (0, 1e-9),
            reason="least squares on tied weights is restricted least squares; rounding",
        ),
        check_within(
            f"{name}-smallest",
            f"{name}: smallest of b_d, b_w, b_m = {daily:.2f}, {weekly:.2f}, {monthly:.2f}",
            parameters.min(),
            (0, 1),
            reason="Corsi's reading: traders of every horizon add to tomorrow's volatility",
        ),
        check_within(
            f"{name}-sum", f"{name}: b_d + b_w + b_m", parameters.sum(), (0.5, 1), reason="persistent, yet stationary"
        ),
        check_within(
            f"{name}-r2",
            f"{name}: R^2 in sample, AR(22) {1 - free.ssr / total:.3f} less HAR {1 - har.ssr / total:.3f}",
            (har.ssr - free.ssr) / total,
            (0, 0.03),
            reason="tied weights cannot fit better; they lose no more than 0.03",
        ),
        check_within(
            f"{name}-out-of-sample",
            f"{name}: squared error of HAR over that of AR(22), {len(actual):,} days out of sample",
            errors[0] / errors[1],
            (0, 1.02),
            reason="3 tied weights forecast within 2 % of 22 free ones, or better",
        ),
        check_within(
            f"{name}-benchmark",
            f"{name}: the same over the better of yesterday's value and the mean so far",
            errors[0] / min(errors[2:]),
            (0, 0.9),
            reason="a forecast must beat the two that need no model",
        ),
    ]


def _tests(name: str, series: Array, replications: int, rng: np.random.Generator) -> tuple[list[Claim], Array, float]:
    """Test the restrictions; return also the bootstrap's Wald statistics and the one observed."""
    test = _test(series)
    target = series[MONTH:]
    observed = test.statistics(target)
    drawn = test.wild_bootstrap(target, replications, rng)
    size_f, size_wald = np.mean([[p < 0.05 for p in test.p_values(*pair)] for pair in drawn], axis=0).tolist()
    p_f, p_wald = test.p_values(*observed)
    bootstrapped = (1 + np.count_nonzero(drawn[:, 1] >= observed[1])) / (1 + replications)
    if name.endswith("variance"):
        outcome: dict[str, Any] = {"bounds": (0.05, 1), "reason": "the restrictions are not rejected at 5 %"}
    else:
        outcome = {"bounds": (0, 0.1), "reason": "rejected at 10 %: roots have lighter tails, the test more power"}
    claims = [
        check_within(
            f"{name}-p-f",
            f"{name}: p-value of the 19 restrictions, F test (size in the bootstrap: {size_f:.0%} at 5 %)",
            p_f,
            (0, 1e-6),
            reason="rejected, were the errors of equal variance",
        ),
        check_within(
            f"{name}-size-f",
            f"{name}: size of the F test at 5 %, in the bootstrap",
            size_f,
            (0.5, 1),
            reason="equal variances are so far from true that the rejection says nothing",
        ),
        check_within(
            f"{name}-p-wald",
            f"{name}: p-value, Newey-West Wald test (size in the bootstrap: {size_wald:.0%} at 5 %)",
            p_wald,
            (0, 0.05),
            reason="rejected, were 5,000 days a large sample",
        ),
        check_within(f"{name}-p-bootstrap", f"{name}: p-value of the same by wild bootstrap", bootstrapped, **outcome),
    ]
    return claims, drawn[:, 1], observed[1]


def _newest_first(weights: Array) -> Array:
    """Return the 22 taps, newest day first, that the three weights of the sums make."""
    return _averages(MONTH).matrix(weights).toarray()[0, ::-1]


# --- picture ---------------------------------------------------------------------------------------------------------


def _figure(pictures: dict[str, tuple[Array, Array, float]]) -> Figure:
    """Draw the taps of both indices, the tied matrix, and the distribution of the Wald statistic."""
    figure = new_figure(PAGE_WIDTH, 5.4)
    top, bottom = figure.subplots(2, 2).tolist()
    lags = np.arange(1, MONTH + 1)
    for axes, (name, (series, _, _)) in zip(top, pictures.items(), strict=True):
        free, har = _fit(_lags(len(series) - 1), series), _fit(_averages(len(series) - 1), series)
        band = 1.96 * np.sqrt(np.diag(robust_covariance(free, NEWEY_WEST_LAGS)))[1:]
        axes.axhline(0, color="0.7", linewidth=0.8)
        axes.errorbar(
            lags, free.params[1:], yerr=band, fmt="o", color=COLOURS[4], markersize=4, label="AR(22), 95 % bands"
        )
        taps = _newest_first(har.params[1:])
        axes.step(lags, taps, where="mid", color=COLOURS[5], linewidth=2, label="HAR: 3 tied weights")
        axes.set(xlabel="lag, days", ylabel="weight", xticks=[1, 5, 10, 15, 22])
        axes.set_title(f"{name}, range-based variance")
        axes.legend(frameon=False)
    plot_matrix(tie(_lags(MONTH + 7), TIED), ax=bottom[0])
    bottom[0].set(xlabel="day read", ylabel="day forecast")
    bottom[0].set_title("day (orange), week (blue), month (green)")
    largest = 0.0
    for (name, (_, drawn, observed)), colour, style in zip(
        pictures.items(), (COLOURS[4], COLOURS[5]), ("-", "--"), strict=True
    ):
        bottom[1].hist(drawn, bins=25, density=True, histtype="step", color=colour, linestyle=style)
        bottom[1].axvline(observed, color=colour, linestyle=style, linewidth=2.5, label=f"{name}, observed")
        largest = max(largest, float(drawn.max()))
    grid = np.linspace(0, largest, 300)
    bottom[1].plot(grid, chi2.pdf(grid, 19), color="black", linestyle=":", label="chi-squared(19)")
    bottom[1].set(xlabel="robust Wald statistic", ylabel="density")
    bottom[1].set_title("Wald statistic where HAR holds (bootstrap)")
    bottom[1].legend(frameon=False)
    return figure
