r"""How far a correct result may be from the exact one, by the algorithm that computes it.

Let :math:`\gamma_n = n u / (1 - n u)` with the unit roundoff u (2^-24 for float32, 2^-53 for float64). All bounds are
worst cases of N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, SIAM 2002.

exact
    0: integers are small enough that nothing is rounded (`convmatrix.conformance.expected_values`).
direct
    :math:`\gamma_n |A| |x|` with n terms per entry, for a sum of products in any order (section 3.1, eq. 3.5); needed
    where values are too large for a narrow type.
winograd
    Every term of :math:`y = A^T (G w \odot B^T x)`, one such triple of matrices per axis, passes through a chain of at
    most K roundings, those of inexact constants included. By lemma 3.1 the error is at most :math:`\gamma_K` times the
    same expression with all magnitudes, which is at most :math:`\gamma_K \prod \|A^T\| \|G\| \|B^T\| \, C
    \max|w| \max|x|` in the maximum norm. A, G and B are those of Cook and Toom for the points 0, 1, -1, 2, -2, ... and
    infinity, in rational arithmetic, for tiles of 4 outputs (2 for kernels of 4 and 5 taps; longer kernels are direct).
fft
    A transform of t stages has the relative error :math:`\varepsilon = t \eta / (1 - t \eta)` in the 2-norm,
    :math:`\eta = \mu + \gamma_4 (\sqrt 2 + \mu)` for radix 2 (theorem 24.2). A stage of radix r sums r complex
    products, and its matrix of magnitudes has :math:`\sqrt r` times its norm, so that :math:`\eta_r = \sqrt r (\mu +
    \gamma_{r+3} (1 + \mu))`; with radices up to 13 a factor of 2 in length costs at most :math:`\eta_{13} / \log_2
    13`. Two transforms, a product of spectra, a sum of C of them and a transform back of length N give :math:`\sqrt N
    ((1 + \varepsilon)^3 (1 + \gamma_{C+4}) - 1) \|x\| \|w\|`.

All integers are drawn small enough for a bound below 1/2 (`is_decisive`). A fault changes an integer by at least 1,
so no fault can hide within a bound.
"""

from __future__ import annotations

import functools
import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from convmatrix.conformance.expected_values import SIGNIFICANT_BITS, magnitudes, n_terms

if TYPE_CHECKING:
    from convmatrix.conformance.expected_values import LayerValues
    from convmatrix.conformance.layer_cases import LayerCase

Rounding = Literal["exact", "direct", "winograd", "fft"]

ROUNDINGS: Final[tuple[Rounding, ...]] = ("exact", "direct", "winograd", "fft")

_POINTS: Final = tuple(map(Fraction, ("0", "1", "-1", "2", "-2", "1/2", "-1/2")))
_LARGEST_RADIX: Final = 13
_TWIDDLE_ERROR: Final = 2  # in units of u


def gamma(n: float, u: float) -> float:
    """Return :math:`n u / (1 - n u)`, or infinity if that is not a bound.

    Examples
    --------
    >>> gamma(4, 2.0**-53) == 4 * 2.0**-53 / (1 - 4 * 2.0**-53)
    True
    """
    return n * u / (1 - n * u) if n * u < 1 else math.inf


def unit_roundoff(dtype: str) -> float:
    """Return u of a type; 0 for integers, which are not rounded."""
    return 0.0 if dtype.startswith("int") else 2.0 ** -SIGNIFICANT_BITS[dtype]


def allowed_error(case: LayerCase, values: LayerValues, rounding: Rounding) -> dict[str, Any]:
    """Return the allowed error of each result, a number or one number per entry.

    Examples
    --------
    >>> from convmatrix.conformance.random_cases import plain_case
    >>> from convmatrix.conformance.expected_values import draw_values
    >>> case = plain_case((4,), (3,), dtype="float32")
    >>> values = draw_values(case, np.random.default_rng(0))
    >>> [float(np.max(allowed_error(case, values, rounding)["y"])) < 0.5 for rounding in ROUNDINGS]
    [True, True, True, True]
    """
    u = unit_roundoff(case.dtype)
    terms = n_terms(case)
    if rounding == "exact" or not u:
        return dict.fromkeys(terms, 0.0)
    sums = magnitudes(case, values)
    direct = {name: gamma(terms[name], u) * array for name, array in sums.items()}
    if rounding == "direct":
        return direct
    wider = _winograd if rounding == "winograd" else _fft
    bounds: dict[str, Any] = dict(direct)
    for name in ("y", "dx", "dw"):
        bound = wider(name, case, values, u) + (gamma(1, u) * _largest(sums["y"]) if name == "y" else 0.0)
        bounds[name] = np.maximum(direct[name], bound)
    return bounds


def is_decisive(case: LayerCase, values: LayerValues, rounding: Rounding) -> bool:
    """Return whether every bound is below 1/2, so that no wrong integer can hide in it."""
    return all(_largest(bound) < 0.5 for bound in allowed_error(case, values, rounding).values())


def _largest(values: Any) -> float:
    return float(np.max(np.abs(values), initial=0.0))


def _factors(name: str, values: LayerValues) -> tuple[Any, Any]:
    """Return the two arrays whose products a result sums."""
    return {"y": (values.x, values.w), "dx": (values.g, values.w), "dw": (values.x, values.g)}[name]


def _folds(name: str, case: LayerCase) -> int:
    """Return how many padded samples one sample may stand for: their gradients are added."""
    if name != "dx" and not case.transposed:
        return 1
    ends = zip(case.geometry.padding, case.boundary, strict=True)
    return math.prod(low + high + 1 for (low, high), boundary in ends if boundary != "zero")


# --- Winograd ---------------------------------------------------------------------------------------------------------


def _winograd(name: str, case: LayerCase, values: LayerValues, u: float) -> float:
    growth, roundings = 1.0, 2
    for taps in case.kernel_shape:
        axis_growth, points = _axis_growth(taps)
        growth *= axis_growth
        roundings += 3 * points + 3
    first, second = _factors(name, values)
    # Number of products added: one per channel; for the gradient of the weights, one per tile (at most per position).
    tiles = case.batch * math.prod(case.geometry.positions)
    added = {"y": case.in_channels, "dx": case.out_channels, "dw": tiles}[name]
    bound = gamma(roundings + added, u) * growth * added * _largest(first) * _largest(second)
    return _folds(name, case) * bound


@functools.cache
def _axis_growth(taps: int) -> tuple[float, int]:
    """Return the product of the norms of the three matrices of an axis, and the number of points."""
    if taps == 1 or taps > 5:
        return float(taps), taps
    matrices = winograd_matrices(4 if taps <= 3 else 2, taps)
    growth = math.prod(max(_row_sum(m), _row_sum(list(zip(*m, strict=True)))) for m in matrices)
    return float(growth), len(matrices[1])


def _row_sum(matrix: Any) -> Fraction:
    return max(sum(map(abs, row), Fraction(0)) for row in matrix)


def winograd_matrices(outputs: int, taps: int) -> tuple[list[list[Fraction]], ...]:
    r"""Return :math:`A^T`, G and :math:`B^T` of Cook and Toom for a tile of outputs, as rows of fractions.

    Examples
    --------
    >>> A, G, B = winograd_matrices(2, 3)
    >>> [[str(entry) for entry in row] for row in A]
    [['1', '1', '1', '0'], ['0', '1', '-1', '1']]
    """
    points = _POINTS[: outputs + taps - 2]
    A = [[*(p**i for p in points), Fraction(i == outputs - 1)] for i in range(outputs)]
    G, B = [], []
    for j, p in enumerate(points):
        others = [q for i, q in enumerate(points) if i != j]
        scale = math.prod((p - q for q in others), start=Fraction(1))
        G.append([p**k / scale for k in range(taps)])
        B.append([*_polynomial(others), Fraction(0)])
    G.append([Fraction(k == taps - 1) for k in range(taps)])
    B.append(_polynomial(points))
    return A, G, B


def _polynomial(roots: Any) -> list[Fraction]:
    """Return the coefficients of the polynomial with these roots, the constant first."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted, scaled = [Fraction(0), *coefficients], [*(-root * c for c in coefficients), Fraction(0)]
        coefficients = [a + b for a, b in zip(shifted, scaled, strict=True)]
    return coefficients


# --- fast Fourier transforms ------------------------------------------------------------------------------------------


def _fft(name: str, case: LayerCase, values: LayerValues, u: float) -> float:
    geometry = case.geometry
    padded = [n + low + high for n, (low, high) in zip(geometry.samples, geometry.padding, strict=True)]
    length = math.prod(2 * (n + span) for n, span in zip(padded, case.spans, strict=True))  # rounded up to a power of 2
    mu = _TWIDDLE_ERROR * u
    eta = math.sqrt(_LARGEST_RADIX) * (mu + gamma(_LARGEST_RADIX + 3, u) * (1 + mu)) / math.log2(_LARGEST_RADIX)
    stages = math.log2(length) + case.n_axes
    if stages * eta >= 1:
        return math.inf
    epsilon = stages * eta / (1 - stages * eta)
    added = max(case.in_channels, case.out_channels, case.batch)
    relative = math.expm1(3 * math.log1p(epsilon) + math.log1p(gamma(added + 4, u)))
    # Padding repeats samples: the norm of a padded array is at most that of one filled with its largest value.
    sizes = {
        id(values.x): case.batch * case.in_channels * math.prod(case.input_shape if case.transposed else padded),
        id(values.g): case.batch * case.out_channels * math.prod(padded if case.transposed else geometry.output_shape),
        id(values.w): values.w.size,
    }
    norms = [_largest(array) * math.sqrt(sizes[id(array)]) for array in _factors(name, values)]
    return _folds(name, case) * math.sqrt(length) * relative * math.prod(norms)
