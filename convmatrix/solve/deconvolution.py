"""Regularised deconvolution: exact where a layer's singular vectors are known, by iterations elsewhere."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import reduce
from operator import mul, truediv
from typing import TYPE_CHECKING, Any, Literal, Unpack

import numpy as np

from convmatrix import options as validate
from convmatrix.operator import ConvOperator
from convmatrix.solve._arguments import (
    Rule,
    check_method,
    fit_penalty,
    power_of_two,
    read_data,
    read_parameter,
    read_power,
)
from convmatrix.solve._coordinates import Coordinates, layer_coordinates
from convmatrix.solve._krylov import Bidiagonalisation, conjugate_gradients
from convmatrix.solve._parameters import (
    Method,
    Spectrum,
    UnreachableResidualError,
    cross_validated,
    discrepant,
    filter_factors,
    truncation,
)
from convmatrix.spectral._layer import LayerOptions, read_layer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from convmatrix.geometry import ConvGeometry

    Array = NDArray[Any]

_EPS = float(np.finfo(float).eps)


@dataclass(frozen=True, eq=False)
class Deconvolution:
    """A regularised solution, and how it came about.

    Attributes
    ----------
    x : array of float or complex, read-only
        The solution: (C_in, *input_shape); (*input_shape) where the layer has one channel on either side and y came
        without a channel axis.
    method : {"tikhonov", "tsvd", "wiener"}
    parameter : float
        The regularisation that was taken: lambda, tau or rho, see `deconvolve`.
    rule : {"given", "gcv", "discrepancy"}
        Where the parameter comes from.
    residual : float
        norm(A x - y), computed from x.
    route : {"transform", "separable", "dense", "iteration"}
        ``"transform"``: the FFT or the DCT-II on every axis; ``"separable"``: a decomposition an axis; ``"dense"``: a
        decomposition of the axes that have no transform; ``"iteration"``: conjugate gradients with `ConvOperator`.
    iterations : int
        Iterations of conjugate gradients, 0 on the other routes.
    gradient : float
        norm(A^H (y - A x) - lambda^2 x) / norm(A^H y) where conjugate gradients ended, computed from x; 0 on the other
        routes, whose only error is rounding.
    """

    x: Array
    method: Method
    parameter: float
    rule: Literal["given", "gcv", "discrepancy"]
    residual: float
    route: str
    iterations: int = 0
    gradient: float = 0.0


def deconvolve(
    y: ArrayLike,
    kernel: ArrayLike,
    input_shape: int | Sequence[int] | ConvGeometry,
    *,
    method: Method = "tikhonov",
    parameter: float | Rule = "gcv",
    noise: float | None = None,
    signal_power: ArrayLike | None = None,
    tol: float = 1e-6,
    max_iterations: int = 2000,
    rng: int | np.random.Generator = 0,
    **layer: Unpack[LayerOptions],
) -> Deconvolution:
    r"""Return a regularised solution x of A x = y for the matrix A of a layer.

    With the singular value decomposition :math:`A = \sum_i \sigma_i u_i v_i^H` it is

    .. math:: x = \sum_i \varphi_i \frac{u_i^H y}{\sigma_i} v_i

    with the filter factors :math:`\varphi` of the method:

    - ``"tikhonov"``: :math:`\sigma^2 / (\sigma^2 + \lambda^2)`; this x minimises :math:`\|A x - y\|^2 + \lambda^2
      \|x\|^2`;
    - ``"tsvd"``, truncated decomposition: 1 where :math:`\sigma \ge \tau \sigma_{max}`, else 0;
    - ``"wiener"``: :math:`\sigma^2 / (\sigma^2 + \rho / p)`, of all linear estimates the one with the smallest expected
      error where the noise is white and its variance is :math:`\rho` times that of a signal with the power p at each
      frequency. With p = 1 it is Tikhonov's for :math:`\lambda^2 = \rho`.

    How it is computed depends on the layer. Axes that are rings (circular boundary, as many outputs as samples /
    stride) are transformed by the FFT, axes with a symmetric boundary and a symmetric kernel by the DCT-II; if these
    are all axes, the cost is that of the transforms, and channels make small blocks. A one-channel kernel of rank one,
    such as a Gaussian, takes one decomposition an axis for any boundary and padding, and small layers of any kind take
    a dense one. All other layers take conjugate gradients on the normal equations (CGLS) with `ConvOperator`; the rules
    then choose the parameter from Golub-Kahan bidiagonalisations, one from y and, for the trace that cross-validation
    needs, one from a random vector of signs (Golub and von Matt).

    Parameters
    ----------
    y : array_like
        The layer's output: (C_out, *output_shape), or (*output_shape) for one channel, or flat.
    kernel, input_shape, **layer
        The layer, as for `convmatrix.conv_matrix`; input_shape may be a `ConvGeometry` of any kind. With
        ``padding="valid"`` y depends on nothing outside x; other paddings need the boundary that the scene really has.
    method : {"tikhonov", "tsvd", "wiener"}
    parameter : float, "gcv" or "discrepancy"
        :math:`\lambda \ge 0`, :math:`0 \le \tau \le 1` or :math:`\rho \ge 0`, or a rule. Generalised cross-validation
        minimises :math:`\|A x - y\|^2 / (m - \sum \varphi)^2` for m data, with :math:`\lambda` between 1e-8 and 100
        times the largest singular value. The discrepancy principle takes the most regularised solution with
        :math:`\|A x - y\| \le \sqrt{m}` times ``noise``.
    noise : float, optional
        Standard deviation of the noise in an entry of y, for the discrepancy principle.
    signal_power : array_like of float, shape (*input_shape), optional
        p for ``"wiener"``, positive, up to a factor that :math:`\rho` takes: at the frequencies of `numpy.fft.fftn` on
        rings (the same at f and -f for real signals), of `scipy.fft.dctn` on symmetric axes. For layers of stride 1
        that have a transform.
    tol : float
        Conjugate gradients end when the gradient of what is minimised is ``tol`` times that at x = 0.
    max_iterations : int
        Most iterations; most steps of a bidiagonalisation too.
    rng : int or numpy.random.Generator
        For the random signs.

    Returns
    -------
    Deconvolution
        With the residual, the parameter, the route and the iterations.

    Raises
    ------
    ValueError
        If y does not fit the layer or is not finite; if the parameter is out of range; if it is 0 and A is singular to
        rounding; if the noise is missing, or no solution has its residual; if ``tol`` is not reached; or if the method
        needs singular values that are out of reach.
    TypeError
        If y holds no numbers.

    Notes
    -----
    With ``parameter=0`` and a matrix of full rank x is the least-squares solution, of smallest norm where there are
    more inputs than outputs. Where cross-validation has no minimum it ends at an end of its range: at the low one for
    data that no regularised x explains (as with a wrong boundary), at the high one for noise alone. Look at
    ``parameter``. On the route of iterations a rule's parameter is right to about a hundredth, and cross-validation
    depends on the random signs.

    Iterations cannot see whether a matrix is singular; they end at the one of smallest norm.

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
    check_method(method)
    geometry, weights = read_layer(kernel, input_shape, **layer)
    data, has_channels = read_data(y, geometry)
    given = read_parameter(parameter, method, noise)
    max_iterations = validate.integer("max_iterations", max_iterations, minimum=1)
    if not 0 < tol < 1:
        raise ValueError(f"tol={tol!r} must lie between 0 and 1: it is relative to the gradient at x = 0")
    # Powers of two, so that nothing is rounded, bring kernel and data near to one: no square leaves the range.
    size, scale = power_of_two(weights), power_of_two(data)
    if size == 0:
        raise ValueError(f"the kernel is zero ({weights.size} weights), so that y says nothing of x; check the kernel")
    weights, data = weights / size, data / scale if scale else data
    units = {"tikhonov": 1, "wiener": 2, "tsvd": 0}[method] * [size]  # of the parameter; their product may underflow
    problem = _Problem(
        geometry,
        weights,
        data,
        method,
        parameter if isinstance(parameter, str) else reduce(truediv, units, given),
        None if noise is None else math.sqrt(geometry.n_out) * noise / (scale or 1.0),
    )
    penalty = None if signal_power is None else 1 / read_power(signal_power, method, geometry)
    found = layer_coordinates(geometry, weights, data)
    if found is not None:
        if penalty is not None:
            penalty = fit_penalty(penalty, found, geometry, real=weights.dtype.kind == data.dtype.kind == "f")
        solved = problem.filter(found, penalty)
    elif method == "tsvd" or penalty is not None:
        raise ValueError(
            f"method={method!r}{' with signal_power' if method == 'wiener' else ''} needs singular vectors, but those "
            f"of {geometry!r} are out of reach: some axes are neither rings nor symmetric, the kernel is no outer "
            "product, and a dense decomposition would take too long; use method='tikhonov', or a smaller input"
        )
    else:
        solved = problem.iterate(tol, max_iterations, np.random.default_rng(rng))
    x = solved.x.real if weights.dtype.kind != "c" and data.dtype.kind != "c" else solved.x
    residual = float(np.linalg.norm(ConvOperator(weights, geometry) @ x - data)) * (scale or 1.0)
    shape = (geometry.in_channels, *geometry.input_shape) if has_channels else geometry.input_shape
    x = x.reshape(shape) * (scale / size)
    x.flags.writeable = False
    return replace(solved, x=x, parameter=reduce(mul, units, solved.parameter), residual=residual)


# --- the two ways ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Problem:
    """What is to be solved, with kernel and data near to one in size; ``target`` is the norm of the noise."""

    geometry: ConvGeometry
    weights: Array
    y: Array
    method: Method
    parameter: float | str
    target: float | None

    @property
    def rule(self) -> Any:
        return self.parameter if isinstance(self.parameter, str) else "given"

    def filter(self, found: Coordinates, penalty: NDArray[np.float64] | None) -> Deconvolution:
        """Filter coordinates along the singular vectors."""
        values = found.values
        largest = float(values.max(initial=0.0))
        if largest == 0:
            raise ValueError(f"the matrix of {self.geometry!r} is zero: no output reads a sample; check the padding")
        spectrum = Spectrum(
            values,
            np.abs(found.data) ** 2,
            found.outside,
            self.geometry.n_out,
            1.0 if penalty is None else penalty,
            free_outside=float(self.geometry.n_out - values.size),
        )
        parameter = self._choose(spectrum)
        level = _EPS * max(self.geometry.n_out, self.geometry.n_in) * largest
        least = float(values.min()) if values.size == min(self.geometry.n_out, self.geometry.n_in) else 0.0
        if parameter == 0 and least <= level:
            raise ValueError(
                f"A is singular to rounding: its singular values reach from {largest:.3g} down to {least:.2g} (for the "
                "kernel scaled to about one), and parameter=0 divides by them; give a positive one, or 'gcv'"
            )
        if self.method == "tsvd":
            factors = (values >= parameter * largest * (1 - 4 * _EPS)) * 1.0
        else:
            damping = math.sqrt(parameter) if self.method == "wiener" else parameter
            factors = filter_factors(values, damping, spectrum.penalty)
        z = found.data * np.divide(factors, values, out=np.zeros_like(values), where=factors > 0)
        return Deconvolution(found.back(z), self.method, parameter, self.rule, math.nan, found.route)

    def _choose(self, spectrum: Spectrum) -> float:
        if not isinstance(self.parameter, str):
            return self.parameter
        if not self.y.any():
            raise ValueError(f"y is zero, and parameter={self.parameter!r} has nothing to go by; give a number")
        if self.method == "tsvd":
            return truncation(spectrum, self.target)
        damping = cross_validated(spectrum) if self.target is None else discrepant(spectrum, self.target)
        return damping**2 if self.method == "wiener" else damping

    def iterate(self, tol: float, most: int, rng: np.random.Generator) -> Deconvolution:
        """Choose the parameter by bidiagonalisations, and solve by conjugate gradients."""
        operator = ConvOperator(self.weights, self.geometry)
        parameter = self._settle(operator, most, rng) if isinstance(self.parameter, str) else self.parameter
        damping = math.sqrt(parameter) if self.method == "wiener" else parameter
        found = conjugate_gradients(operator, self.y, damping, tol, most)
        if not found.gradient <= 2 * tol:
            raise ValueError(
                f"conjugate gradients end after {found.iterations} iterations with a gradient of {found.gradient:.2g} "
                f"of that at x = 0, and tol={tol:g}; raise max_iterations (now {most}), tol, or the parameter"
            )
        return Deconvolution(
            found.x, self.method, parameter, self.rule, math.nan, "iteration", found.iterations, found.gradient
        )

    def _settle(self, operator: ConvOperator, most: int, rng: np.random.Generator) -> float:
        """Return the parameter of a rule, once twice as many steps no longer change it by a hundredth."""
        if not self.y.any() or not (operator.H @ self.y).any():
            raise ValueError(
                f"A^H y is zero, and parameter={self.parameter!r} has nothing to go by; give a number, or check y"
            )
        n_out = self.geometry.n_out
        explored = Bidiagonalisation(operator, self.y)
        probe = Bidiagonalisation(operator, rng.choice([-1.0, 1.0], n_out))
        before, unreachable = math.nan, None
        while True:
            more = min(max(explored.steps, 16), most - explored.steps)
            explored.extend(more)
            values, energies, outside = explored.nodes()
            spectrum = Spectrum(values, energies, outside, n_out)
            if self.target is None:
                probe.extend(more)
                counted, counts, free = probe.nodes()
                spectrum = replace(spectrum, counted=counted, counts=counts, free_outside=free)
            try:
                parameter, unreachable = self._choose(spectrum), None
            except UnreachableResidualError as error:
                parameter, unreachable = math.nan, error
            done = explored.exhausted and (self.target is not None or probe.exhausted)
            if unreachable is None and (done or abs(parameter / before - 1) <= 1e-2):
                return parameter
            if done or explored.steps >= most:
                break
            before = parameter
        if unreachable is not None:
            raise unreachable
        raise ValueError(
            f"parameter={self.parameter!r} has not settled after {explored.steps} steps: it went from {before:.3g} to "
            f"{parameter:.3g} (relative to the kernel) when they were doubled; raise max_iterations (now {most}), "
            "or give a number"
        )
