"""Regularised deconvolution: exact if a layer's singular vectors are known, by iterations otherwise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce
from operator import mul, truediv
from typing import TYPE_CHECKING, Any, Final, Literal, Unpack, get_args

import numpy as np

from convmatrix import options as validate
from convmatrix.arrays import EPSILON, KeepsReadOnly
from convmatrix.operator import ConvOperator
from convmatrix.options import LayerOptions, takes_layer_options
from convmatrix.solve.decompositions import Decomposition, decompose
from convmatrix.solve.rules import FilterName, Regularisation, Rule, Spectrum, filter_factors
from convmatrix.spectral.blocks import WeightedLayer, read_layer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from convmatrix.arrays import Array
    from convmatrix.geometry import ConvGeometry

METHODS: Final[tuple[FilterName, ...]] = get_args(FilterName)
RULES: Final[tuple[Rule, ...]] = get_args(Rule)


@dataclass(frozen=True, eq=False)
class Deconvolution(KeepsReadOnly):
    """A regularised solution, and how it was computed.

    Attributes
    ----------
    x : array of float or complex, read-only
        The solution, of shape (C_in, *input_shape), or (*input_shape) if the layer has one input and one output channel
        and y has no channel axis.
    method : {"tikhonov", "tsvd", "wiener"}
    parameter : float
        The regularisation parameter: lambda, tau or rho; see `deconvolve`.
    rule : {"given", "gcv", "discrepancy"}
        How the parameter was chosen.
    residual : float
        norm(A x - y), computed from x.
    route : {"transform", "separable", "dense", "iteration"}
        ``"transform"``: the FFT, the DCT-II or the DST-II on every axis; ``"separable"``: one decomposition per axis;
        ``"dense"``: a decomposition of the axes that have no transform; ``"iteration"``: conjugate gradients with
        `ConvOperator`.
    iterations : int
        Iterations of conjugate gradients, 0 on the other routes.
    gradient : float
        norm(A^H (y - A x) - lambda^2 x) / norm(A^H y) at the end of conjugate gradients, computed from x; 0 on the
        other routes, whose only error is rounding.
    """

    x: Array
    method: FilterName
    parameter: float
    rule: Literal["given", "gcv", "discrepancy"]
    residual: float
    route: str
    iterations: int = 0
    gradient: float = 0.0


@takes_layer_options()
def deconvolve(
    y: ArrayLike,
    kernel: ArrayLike,
    input_shape: int | Sequence[int] | ConvGeometry,
    *,
    method: FilterName = "tikhonov",
    parameter: float | Rule = "gcv",
    noise: float | None = None,
    signal_power: ArrayLike | None = None,
    tol: float = 1e-6,
    max_iterations: int = 2000,
    rng: int | np.random.Generator = 0,
    **options: Unpack[LayerOptions],
) -> Deconvolution:
    r"""Return a regularised solution x of A x = y for the matrix A of a layer.

    With the singular value decomposition :math:`A = \sum_i \sigma_i u_i v_i^H` it is

    .. math:: x = \sum_i \varphi_i \frac{u_i^H y}{\sigma_i} v_i

    where the filter factors :math:`\varphi` depend on the method:

    - ``"tikhonov"``: :math:`\sigma^2 / (\sigma^2 + \lambda^2)`; this x minimises :math:`\|A x - y\|^2 + \lambda^2
      \|x\|^2`;
    - ``"tsvd"`` (truncated decomposition): 1 if :math:`\sigma \ge \tau \sigma_{max}`, otherwise 0;
    - ``"wiener"``: :math:`\sigma^2 / (\sigma^2 + \rho / p)`, the linear estimate with the smallest expected error if
      the noise is white and its variance is :math:`\rho` times that of a signal with the power p at each frequency.
      With p = 1 it is the Tikhonov solution for :math:`\lambda^2 = \rho`.

    The computation depends on the layer. Axes that are rings (circular boundary, samples / stride outputs) are
    transformed by the FFT, axes with a symmetric kernel by the DCT-II if the boundary is symmetric, and by the DST-II
    if it is antisymmetric; if these are all axes, the cost is that of the transforms, and several channels lead to
    small blocks. A one-channel kernel of rank one, such as a Gaussian, needs one decomposition per axis, for any
    boundary and padding. Small layers of any kind are solved by a dense decomposition. All other layers are solved by
    conjugate gradients on the normal equations (CGLS) with `ConvOperator`; the rules then choose the parameter from
    Golub-Kahan bidiagonalisations: one that starts from y and, for the trace in cross-validation, one that starts from
    a random vector of signs (Golub and von Matt).

    Parameters
    ----------
    y : array_like
        The layer's output: (C_out, *output_shape), or (*output_shape) for one channel, or flat.
    kernel, input_shape, **options
        The layer, as for `convmatrix.conv_matrix`. With ``padding="valid"`` y does not depend on anything outside x;
        other paddings need the boundary that the scene really has.
    method : {"tikhonov", "tsvd", "wiener"}
    parameter : float, "gcv" or "discrepancy"
        :math:`\lambda \ge 0`, :math:`0 \le \tau \le 1` or :math:`\rho \ge 0`, or a rule. Generalised cross-validation
        minimises :math:`\|A x - y\|^2 / (m - \sum \varphi)^2` for m data, with :math:`\lambda` between 1e-8 and 100
        times the largest singular value. The discrepancy principle chooses the most regularised solution with
        :math:`\|A x - y\| \le \sqrt{m}` times ``noise``.
    noise : float, optional
        Standard deviation of the noise in an entry of y, for the discrepancy principle.
    signal_power : array_like of float, shape (*input_shape), optional
        p for ``"wiener"``, positive, up to a factor that is absorbed in :math:`\rho`. It is given at the frequencies of
        `numpy.fft.fftn` on rings (with equal values at f and -f for real signals), at those of `scipy.fft.dctn` on
        symmetric axes, and at those of `scipy.fft.dstn` on antisymmetric ones. Only for layers of stride 1 that have a
        transform.
    tol : float
        Conjugate gradients end when the gradient of the objective is ``tol`` times that at x = 0.
    max_iterations : int
        Maximum number of iterations, and of steps of a bidiagonalisation.
    rng : int or numpy.random.Generator
        Determines the random signs.

    Returns
    -------
    Deconvolution
        The solution, with the residual, the parameter, the route and the number of iterations.

    Raises
    ------
    ValueError
        If y does not fit the layer or is not finite; if the parameter is out of range; if it is 0 and A is singular up
        to rounding; if the noise is missing, or no solution has a residual as small as the noise; if ``tol`` is not
        reached; or if the method needs singular vectors that are too expensive to compute.
    TypeError
        If y is not numeric.

    Notes
    -----
    With ``parameter=0`` and a matrix of full rank, x is the least-squares solution, of smallest norm if there are more
    inputs than outputs. If cross-validation has no minimum, it returns an end of its range: the low end for data that
    no regularised x explains (for instance with a wrong boundary), the high end for pure noise. Check ``parameter``.
    With iterations, a rule's parameter is accurate to about one percent, and that of cross-validation depends on the
    random signs.

    Iterations do not detect singular matrices; they converge to the solution of smallest norm.

    References
    ----------
    Hansen, Nagy, O'Leary, Deblurring images, SIAM 2006. Golub, Heath, Wahba, Generalized cross-validation as a method
    for choosing a good ridge parameter, Technometrics 21(2), 1979. Golub, von Matt, Generalized cross-validation for
    large-scale problems, J. Comput. Graph. Stat. 6(1), 1997. Morozov, On the solution of functional equations by the
    method of regularization, 1966.

    Examples
    --------
    >>> import convmatrix as cm
    >>> ring = {"padding": "same", "boundary": "circular"}
    >>> y = cm.conv_matrix([1, 4, 1], 6, **ring) @ np.arange(1.0, 7)
    >>> found = deconvolve(y, [1, 4, 1], 6, parameter=0, **ring)
    >>> found.x.round(10), found.route
    (array([1., 2., 3., 4., 5., 6.]), 'transform')
    >>> deconvolve(y + [0, 0.5, 0, -0.5, 0, 0], [1, 4, 1], 6, parameter="discrepancy", noise=0.3, **ring).x.round(1)
    array([1. , 2.1, 3. , 3.8, 5. , 5.9])
    """
    if method not in METHODS:
        raise ValueError(f"method {method!r} is unknown; choose one of {', '.join(METHODS)}")
    layer = read_layer(kernel, input_shape, **options)
    geometry = layer.geometry
    data, has_channels = _read_data(y, geometry)
    given = _read_parameter(parameter, method, noise)
    max_iterations = validate.integer("max_iterations", max_iterations, minimum=1)
    if not 0 < tol < 1:
        raise ValueError(f"tol={tol!r} must lie between 0 and 1: it is relative to the gradient at x = 0")
    # Kernel and data are scaled to about one, so that no square over- or underflows; powers of two round nothing.
    size, scale = _power_of_two(layer.weights), _power_of_two(data)
    if size == 0:
        raise ValueError(f"the kernel is zero ({layer.weights.size} weights), so y does not depend on x; check it")
    layer, data = WeightedLayer(geometry, layer.weights / size), data / scale if scale else data
    units = {"tikhonov": 1, "wiener": 2, "tsvd": 0}[method] * [size]  # of the parameter; their product may underflow
    target = None if noise is None else math.sqrt(geometry.n_out) * noise / (scale or 1.0)
    rule: Any = parameter if isinstance(parameter, str) else "given"
    regularisation = Regularisation(method, rule if rule != "given" else reduce(truediv, units, given), target)
    power = None if signal_power is None else _read_power(signal_power, method, geometry)
    operator = ConvOperator(layer.weights, geometry)
    real = layer.weights.dtype.kind != "c" and data.dtype.kind != "c"
    found = decompose(layer, data)
    iterations, gradient, route = 0, 0.0, "iteration"
    if found is not None:
        penalty = None if power is None else found.penalty(power, layer, real=real)
        x, value = _filtered(found, regularisation, geometry, penalty)
        route = found.route
    elif method == "tsvd" or power is not None:
        raise ValueError(
            f"method={method!r}{' with signal_power' if method == 'wiener' else ''} needs singular vectors, but those "
            f"of {geometry!r} are out of reach: some axes are neither rings nor symmetric, the kernel is not an outer "
            "product, and a dense decomposition would take too long; use method='tikhonov', or a smaller input"
        )
    else:
        value = regularisation.settle(operator, data, max_iterations, np.random.default_rng(rng))
        x, iterations, gradient = conjugate_gradients(
            operator, data, regularisation.damping(value), tol, max_iterations
        )
        if not gradient <= 2 * tol:
            raise ValueError(
                f"conjugate gradients end after {iterations} iterations with a gradient of {gradient:.2g} times that "
                f"at x = 0, and tol={tol:g}; raise max_iterations (now {max_iterations}), tol, or the parameter"
            )
    x = x.real if real else x
    residual = float(np.linalg.norm(operator @ x - data)) * (scale or 1.0)
    shape = (geometry.in_channels, *geometry.input_shape) if has_channels else geometry.input_shape
    x = x.reshape(shape) * (scale / size)
    x.flags.writeable = False
    return Deconvolution(x, method, reduce(mul, units, value), rule, residual, route, iterations, gradient)


def _filtered(
    found: Decomposition,
    regularisation: Regularisation,
    geometry: ConvGeometry,
    penalty: NDArray[np.float64] | None,
) -> tuple[Array, float]:
    """Return the filtered solution, and the parameter."""
    values = found.values
    largest = float(values.max(initial=0.0))
    if largest == 0:
        raise ValueError(f"the matrix of {geometry!r} is zero: no output reads a sample; check the padding")
    spectrum = Spectrum(
        values,
        np.abs(found.data) ** 2,
        found.outside,
        geometry.n_out,
        1.0 if penalty is None else penalty,
        free_outside=float(geometry.n_out - values.size),
    )
    parameter = regularisation.choose(spectrum)
    level = EPSILON * max(geometry.n_out, geometry.n_in) * largest
    least = float(values.min()) if values.size == min(geometry.n_out, geometry.n_in) else 0.0
    if parameter == 0 and least <= level:
        raise ValueError(
            f"A is singular to rounding: its singular values reach from {largest:.3g} down to {least:.2g} (for the "
            "kernel scaled to about one), and parameter=0 divides by them; give a positive one, or 'gcv'"
        )
    if regularisation.method == "tsvd":
        factors = (values >= parameter * largest * (1 - 4 * EPSILON)) * 1.0
    else:
        factors = filter_factors(values, regularisation.damping(parameter), spectrum.penalty)
    return found.back(found.data * np.divide(factors, values, out=np.zeros_like(values), where=factors > 0)), parameter


def conjugate_gradients(operator: Any, y: Array, damping: float, tol: float, most: int) -> tuple[Array, int, float]:
    r"""Minimise :math:`\|A x - y\|^2 + \lambda^2 \|x\|^2` by conjugate gradients on the normal equations (CGLS).

    This is the form of Hestenes and Stiefel for least squares, which does not form :math:`A^H A`. Iterations end when
    the norm of the gradient is ``tol`` times that at x = 0, or after ``most`` iterations. The result is x, the number
    of iterations, and the ratio of the two norms, computed from x.
    """
    adjoint = operator.H
    residual = y.astype(np.result_type(operator.dtype, y.dtype))
    gradient = adjoint @ residual
    first = float(np.linalg.norm(gradient))
    x = np.zeros_like(gradient)
    if first == 0:
        return x, 0, 0.0
    direction, power, done = gradient, first**2, 0
    while done < most:
        image = operator @ direction
        length = power / (float(np.linalg.norm(image)) ** 2 + (damping * float(np.linalg.norm(direction))) ** 2)
        x = x + length * direction
        residual = residual - length * image
        gradient = adjoint @ residual - damping**2 * x
        done += 1
        following = float(np.linalg.norm(gradient)) ** 2
        if following <= (tol * first) ** 2:
            break
        direction, power = gradient + (following / power) * direction, following
    # The gradient updated in each step drifts, so it is computed anew.
    true_gradient = adjoint @ (y - operator @ x) - damping**2 * x
    return x, done, float(np.linalg.norm(true_gradient)) / first


# --- arguments -------------------------------------------------------------------------------------------------------


def _read_data(y: ArrayLike, geometry: ConvGeometry) -> tuple[Array, bool]:
    """Return y as a flat vector in double precision, and whether x has a channel axis."""
    array = np.asarray(y)
    if array.dtype.kind not in "biufc":
        raise TypeError(f"y has dtype {array.dtype}, but must be numeric; convert it, as with y.astype(float)")
    single = geometry.in_channels == geometry.out_channels == 1
    shapes = [(geometry.out_channels, *geometry.output_shape), (geometry.n_out,)]
    if geometry.out_channels == 1:
        shapes.append(geometry.output_shape)
    if array.shape not in shapes:
        raise ValueError(
            f"y has shape {array.shape}, but the layer's output is {' or '.join(map(str, dict.fromkeys(shapes)))} "
            f"(C_out={geometry.out_channels}, output_shape={geometry.output_shape} for "
            f"input_shape={geometry.input_shape}); check padding and input_shape"
        )
    flat = array.astype(np.complex128 if array.dtype.kind == "c" else np.float64).reshape(-1)
    bad = int(np.count_nonzero(~np.isfinite(flat)))
    if bad:
        raise ValueError(f"y has {bad} entries of {flat.size} that are infinite or NaN; replace them first")
    return flat, not single or array.shape == shapes[0]


def _read_parameter(parameter: float | str, method: FilterName, noise: float | None) -> float:
    """Return the parameter, or 0 for a rule; raise if it does not fit the method and the noise."""
    if isinstance(parameter, str):
        if parameter not in RULES:
            raise ValueError(f"parameter {parameter!r} is unknown; give a number, or one of {', '.join(RULES)}")
        if parameter == "discrepancy" and (noise is None or not 0 < noise < math.inf):
            raise ValueError(
                f"parameter='discrepancy' needs the standard deviation of the noise in y, but noise={noise!r}; give a "
                "positive number, or parameter='gcv'"
            )
    if noise is not None and parameter != "discrepancy":
        raise ValueError(f"noise={noise!r} is for the discrepancy principle; set parameter='discrepancy', or omit it")
    if isinstance(parameter, str):
        return 0.0
    if isinstance(parameter, (bool, np.bool_)) or not isinstance(parameter, (int, float, np.number)):
        raise TypeError(f"parameter must be a number or one of {', '.join(RULES)}, but is {parameter!r}")
    if not 0 <= parameter < math.inf:
        raise ValueError(f"parameter={parameter!r} must be a finite number of at least 0, or one of {', '.join(RULES)}")
    if method == "tsvd" and parameter > 1:
        raise ValueError(
            f"parameter={parameter!r} leaves no term: for 'tsvd' it is relative to the largest singular value"
        )
    return float(parameter)


def _read_power(signal_power: ArrayLike, method: FilterName, geometry: ConvGeometry) -> NDArray[np.float64]:
    """Return the power of the signal at each frequency."""
    if method != "wiener":
        raise ValueError(f"signal_power is for method='wiener', but method={method!r}; omit one of the two")
    power = np.asarray(signal_power, dtype=np.float64)
    if power.shape != geometry.input_shape:
        raise ValueError(
            f"signal_power has shape {power.shape}, but the layer's input {geometry.input_shape}; give one power per "
            "frequency"
        )
    if not (np.isfinite(power) & (power > 0)).all():
        raise ValueError(f"signal_power must be positive and finite, but ranges from {power.min()} to {power.max()}")
    return power


def _power_of_two(array: Array) -> float:
    """Return a power of two near the largest modulus, 0 for zero."""
    largest = float(np.maximum(np.abs(array.real), np.abs(array.imag)).max(initial=0.0))
    return math.ldexp(1.0, math.frexp(largest)[1] - 1) if largest > 0 else 0.0
