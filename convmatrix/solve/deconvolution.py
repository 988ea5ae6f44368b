"""Regularised deconvolution: exact if a layer's singular vectors are known, by iterations otherwise."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Unpack

import numpy as np

from convmatrix import options as validate
from convmatrix.arrays import KeepsReadOnly, read_only
from convmatrix.display.tables import ShownAsTable, Table, by, facts
from convmatrix.operator import ConvOperator
from convmatrix.options import LayerOptions, takes_layer_options
from convmatrix.progress import reporting
from convmatrix.solve.deconvolution_methods import solve_problem
from convmatrix.solve.deconvolution_problems import (
    MethodName,
    ScaledProblem,
    check_combination,
    power_of_two,
    read_data,
    read_limits,
    read_parameter,
    read_power,
    scaled_parameter,
)
from convmatrix.solve.iteration_log import IterationHistory, IterationLog
from convmatrix.solve.penalties import read_penalty
from convmatrix.spectral.blocks import WeightedLayer, read_layer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from convmatrix.arrays import Array
    from convmatrix.geometry import ConvGeometry
    from convmatrix.progress import Progress
    from convmatrix.solve.deconvolution_problems import Rule


@dataclass(frozen=True, eq=False, repr=False)
class Deconvolution(ShownAsTable, KeepsReadOnly):
    """A regularised solution, and how it was computed.

    Attributes
    ----------
    x : array of float or complex, read-only
        The solution, of shape (C_in, *input_shape), or (*input_shape) if the layer has one input and one output channel
        and y has no channel axis. Channels of y come back as channels of x.
    method : {"tikhonov", "tsvd", "wiener", "cgls", "richardson_lucy", "tv"}
    parameter : float
        The regularisation parameter: lambda, tau, rho or a number of iterations; see `deconvolve`. NaN if channels have
        different ones.
    rule : {"given", "gcv", "discrepancy", "l_curve"}
        How the parameter was chosen.
    residual : float
        norm(A x - y), computed from x.
    route : {"transform", "separable", "dense", "iteration"}
        How systems with A are solved. ``"transform"``: the FFT, the DCT-II or the DST-II on every axis;
        ``"separable"``: one decomposition per axis; ``"dense"``: a decomposition of the axes that have no transform, or
        of A and L together; ``"iteration"``: products with `ConvOperator`.
    iterations : int
        Number of iterations, 0 for direct solutions.
    gradient : float
        The measure of optimality that ends the iterations, computed from x; 0 for direct solutions, whose only error is
        rounding. It is the norm of the gradient relative to that at x = 0, projected if x has to be non-negative; for
        ``"tv"`` and ``"richardson_lucy"`` see `deconvolve`.
    history : IterationHistory
        Objective, residual and gradient after every iteration; empty arrays for direct solutions.
    penalty : str or None
        ``"gradient"``, ``"laplacian"``, ``"convolution"`` or ``"operator"``; None for the identity.
    nonnegative : bool
        Whether x was required to be non-negative.
    parameters : tuple of float
        The parameter of each channel, if ``per_channel``; otherwise the one parameter.
    """

    x: Array
    method: MethodName
    parameter: float
    rule: Literal["given", "gcv", "discrepancy", "l_curve"]
    residual: float
    route: str
    iterations: int
    gradient: float
    history: IterationHistory
    penalty: str | None
    nonnegative: bool
    parameters: tuple[float, ...]

    def __repr__(self) -> str:
        return (
            f"Deconvolution({self.method!r}, parameter={self.parameter:.4g} ({self.rule}), "
            f"residual={self.residual:.4g}, route={self.route!r}, x: {self.x.dtype} {self.x.shape})"
        )

    def _table(self) -> Table:
        parameters = sorted(set(self.parameters))
        between = f"{parameters[0]:.4g} to {parameters[-1]:.4g}, one per channel"
        values = {
            "method": self.method + (f", penalty {self.penalty}" if self.penalty else ""),
            "parameter": f"{parameters[0]:.6g}" if len(parameters) == 1 else between,
            "chosen by": self.rule,
            "residual": f"{self.residual:.6g}",
            "route": self.route,
            "x": f"{self.x.dtype}, {by(self.x.shape)}",
        }
        if self.x.dtype.kind != "c":
            values["values"] = f"{self.x.min():.4g} to {self.x.max():.4g}"
        if self.iterations:
            values["iterations"] = f"{self.iterations}, gradient {self.gradient:.2g}"
        if self.nonnegative:
            values["constraint"] = "non-negative"
        return facts("Deconvolution", values)


@takes_layer_options()
def deconvolve(
    y: ArrayLike,
    kernel: ArrayLike,
    input_shape: int | Sequence[int] | ConvGeometry,
    *,
    method: MethodName = "tikhonov",
    parameter: float | Rule = "gcv",
    noise: float | None = None,
    penalty: Any = None,
    nonnegative: bool = False,
    isotropic: bool = True,
    signal_power: ArrayLike | None = None,
    per_channel: bool = False,
    tol: float | None = None,
    max_iterations: int | None = None,
    progress: Progress = None,
    rng: int | np.random.Generator = 0,
    **options: Unpack[LayerOptions],
) -> Deconvolution:
    r"""Return a regularised solution x of A x = y for the matrix A of a layer.

    Three methods filter the singular value decomposition :math:`A = \sum_i \sigma_i u_i v_i^H`. Their solution is

    .. math:: x = \sum_i \varphi_i \frac{u_i^H y}{\sigma_i} v_i

    where the filter factors :math:`\varphi` depend on the method:

    - ``"tikhonov"``: :math:`\sigma^2 / (\sigma^2 + \lambda^2)`; this x minimises :math:`\|A x - y\|^2 + \lambda^2
      \|x\|^2`, or with ``penalty`` :math:`\|A x - y\|^2 + \lambda^2 \|L x\|^2` (generalised Tikhonov regularisation),
      and with ``nonnegative=True`` it does so among all :math:`x \ge 0` (with ``parameter=0``: non-negative least
      squares);
    - ``"tsvd"`` (truncated decomposition): 1 if :math:`\sigma \ge \tau \sigma_{max}`, otherwise 0;
    - ``"wiener"``: :math:`\sigma^2 / (\sigma^2 + \rho / p)`, the linear estimate with the smallest expected error if
      the noise is white and its variance is :math:`\rho` times that of a signal with the power p at each frequency.
      With p = 1 it is the Tikhonov solution for :math:`\lambda^2 = \rho`.

    Three methods are iterative by nature:

    - ``"cgls"``: conjugate gradients for :math:`\|A x - y\|^2`, stopped after k iterations, before the noise is fitted;
    - ``"richardson_lucy"``: k iterations :math:`x \leftarrow x / (A^T 1) \cdot A^T (y / A x)`, which keep x
      non-negative and increase the likelihood of Poisson data. The kernel and y must be non-negative;
    - ``"tv"``: x minimises :math:`\frac12 \|A x - y\|^2 + \lambda \, TV(x)` with the total variation TV, which keeps
      edges; ``isotropic`` and ``nonnegative`` are options.

    The computation depends on the layer. Axes that are rings (circular boundary, samples / stride outputs) are
    transformed by the FFT, axes with a symmetric kernel by the DCT-II if the boundary is symmetric, and by the DST-II
    if it is antisymmetric; if these are all axes, the cost is that of the transforms, and several channels lead to
    small blocks. A one-channel kernel of rank one, such as a Gaussian, needs one decomposition per axis, for any
    boundary and padding. Small layers of any kind are solved by a dense decomposition. All other layers are solved by
    conjugate gradients on the normal equations (CGLS) with `ConvOperator`; the rules then choose the parameter from
    Golub-Kahan bidiagonalisations: one that starts from y and, for the trace in cross-validation, one that starts from
    a random vector of signs (Golub and von Matt). With a penalty, the transforms apply if they diagonalise L as well;
    otherwise small layers have a generalised singular value decomposition, and large ones are solved by iterations,
    where a rule tries a range of parameters.

    Parameters
    ----------
    y : array_like
        The layer's output: (C_out, *output_shape), or (*output_shape) for one channel, or flat. For a layer with one
        input and one output channel, y may have any number of channels, (C, *output_shape), such as the three of a
        colour photograph: each is deconvolved with the same kernel. Channels come first.
    kernel, input_shape, **options
        The layer, as for `convmatrix.conv_matrix`. With ``padding="valid"`` y does not depend on anything outside x;
        other paddings need the boundary that the scene really has.
    method : {"tikhonov", "tsvd", "wiener", "cgls", "richardson_lucy", "tv"}
    parameter : float, "gcv", "discrepancy" or "l_curve"
        :math:`\lambda \ge 0`, :math:`0 \le \tau \le 1`, :math:`\rho \ge 0` or :math:`k \ge 1`, or a rule:

        - ``"gcv"``: generalised cross-validation minimises :math:`\|A x - y\|^2 / (m - \sum \varphi)^2` for m data,
          with :math:`\lambda` between 1e-8 and 100 times the largest singular value;
        - ``"discrepancy"``: the discrepancy principle chooses the most regularised solution with :math:`\|A x - y\| \le
          \sqrt{m}` times ``noise``;
        - ``"l_curve"``: the corner of the curve of :math:`\log \|L x\|` over :math:`\log \|A x - y\|`, where its
          curvature is largest; for ``"tsvd"`` and ``"cgls"``, whose curves are discrete, by the triangle method.

        ``"richardson_lucy"`` and ``"tv"`` are not linear in y and take a number or ``"discrepancy"``. With
        ``nonnegative=True``, ``"gcv"`` and ``"l_curve"`` choose the parameter of the problem without the constraint.
        For ``"richardson_lucy"``, ``parameter=math.inf`` iterates until the optimality conditions hold up to ``tol``.
    noise : float, optional
        Standard deviation of the noise in an entry of y, for the discrepancy principle.
    penalty : {"gradient", "laplacian"}, (kernel, options), ConvOperator, matrix or LinearOperator, optional
        L, for ``"tikhonov"``; the identity by default. ``"gradient"`` holds the differences of neighbours along every
        axis, ``"laplacian"`` is its Gram matrix, the sum of second differences; both go around axes whose boundary is
        circular, and end at the ends of all others. A pair of a kernel and a dict of layer options is the convolution
        of x with it; a kernel without channel axes is applied to every channel.
    nonnegative : bool
        Require that no entry of x is negative, for ``"tikhonov"`` and ``"tv"``.
    isotropic : bool
        For ``"tv"``: sum the Euclidean norms of the differences of each sample (isotropic) or the moduli of all
        differences (anisotropic). The differences are those of the penalty ``"gradient"``.
    signal_power : array_like of float, shape (*input_shape), optional
        p for ``"wiener"``, positive, up to a factor that is absorbed in :math:`\rho`. It is given at the frequencies of
        `numpy.fft.fftn` on rings (with equal values at f and -f for real signals), at those of `scipy.fft.dctn` on
        symmetric axes, and at those of `scipy.fft.dstn` on antisymmetric ones. Only for layers of stride 1 that have a
        transform.
    per_channel : bool
        Let a rule choose a parameter for each channel of y; by default there is one for all. Only for layers with one
        input and one output channel.
    tol : float, optional
        Iterations end when the gradient of the objective is ``tol`` times that at x = 0; by default 1e-6, and 1e-3 for
        ``"tv"``.
    max_iterations : int, optional
        Maximum number of iterations, and of steps of a bidiagonalisation; by default 2000, and 20000 for ``"tv"`` and
        non-negative solutions.
    progress : bool or callable, optional
        As for `convmatrix.progress.reporting`; a callable is called after every iteration, with the
        maximum number of iterations.
    rng : int or numpy.random.Generator
        Determines the random signs.

    Returns
    -------
    Deconvolution
        The solution, with the residual, the parameter, the route, the number of iterations and their history.

    Raises
    ------
    ValueError
        If y does not fit the layer or is not finite; if the parameter is out of range, or the options do not fit the
        method; if it is 0 and A is singular up to rounding; if the noise is missing, or no solution has a residual as
        small as the noise; if ``tol`` is not reached; if an L-curve has no corner; or if the method needs singular
        vectors that are too expensive to compute.
    TypeError
        If y is not numeric.

    Notes
    -----
    With ``parameter=0`` and a matrix of full rank, x is the least-squares solution, of smallest norm if there are more
    inputs than outputs. If cross-validation has no minimum, it returns an end of its range: the low end for data that
    no regularised x explains (for instance with a wrong boundary), the high end for pure noise. Check ``parameter``.
    With iterations, a rule's parameter is accurate to about one percent, and that of cross-validation depends on the
    random signs; with a penalty, it is that of a spline through 13 parameters.

    Iterations do not detect singular matrices; they converge to the solution of smallest norm.

    *Optimality.* Non-negative solutions end with the Karush-Kuhn-Tucker conditions: the norm of the gradient where x is
    positive, and of its negative part where x is zero. For ``"tv"``, ``gradient`` is the larger of the norm of
    :math:`A^H (A x - y) + D^H q`, relative to that of :math:`D^H q`, and of :math:`\lambda TV(x) - \langle q, D x
    \rangle`, relative to the objective, with dual variables :math:`|q| \le \lambda` and the differences D; the
    objective is then close to its minimum, in practice to a small fraction of ``tol`` times itself. For
    ``"richardson_lucy"`` with :math:`g = A^T (1 - y / A x)`, it is the larger of :math:`\|x g\|_1 / \|y\|_1` and of the
    maximum of :math:`-g / A^T 1`.

    *Objective.* The history has the function that is minimised: for ``"tikhonov"`` and ``"wiener"`` the sum of both
    terms, for ``"cgls"`` :math:`\|A x - y\|^2`, for ``"richardson_lucy"`` :math:`\sum (A x - y + y \log (y / A x))`,
    and for ``"tv"`` the expression above.

    References
    ----------
    Hansen, Nagy, O'Leary, Deblurring images, SIAM 2006. Hansen, Rank-deficient and discrete ill-posed problems, SIAM
    1998. Golub, Heath, Wahba, Generalized cross-validation as a method for choosing a good ridge parameter,
    Technometrics 21(2), 1979. Golub, von Matt, Generalized cross-validation for large-scale problems, J. Comput. Graph.
    Stat. 6(1), 1997. Morozov, On the solution of functional equations by the method of regularization, 1966. Hansen,
    O'Leary, The use of the L-curve in the regularization of discrete ill-posed problems, SIAM J. Sci. Comput. 14(6),
    1993. Richardson, J. Opt. Soc. Am. 62(1), 1972; Lucy, Astron. J. 79, 1974; Bertero, Boccacci, Astron. Astrophys.
    437, 2005, for their border. Rudin, Osher, Fatemi, Physica D 60, 1992; Chambolle, Pock, J. Math. Imaging Vis. 40(1),
    2011, for total variation.

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

    Without negative entries, and with a total variation:

    >>> y = np.array([0.2, 0.9, 4.1, 3.9, 1.1, -0.1])
    >>> deconvolve(y, [1, 2, 1], 6, parameter=0, nonnegative=True, padding="same").x.round(2)
    array([0. , 0. , 1.3, 1.3, 0. , 0. ])
    >>> deconvolve(y, [1, 2, 1], 6, method="tv", parameter=0.5, tol=1e-6, padding="same").x.round(2) + 0.0
    array([0.02, 0.02, 1.24, 1.24, 0.  , 0.  ])
    """
    layer = read_layer(kernel, input_shape, **options)
    geometry = layer.geometry
    for name, flag in (("nonnegative", nonnegative), ("isotropic", isotropic), ("per_channel", per_channel)):
        validate.flag(name, flag)
    data, shape = read_data(y, geometry)
    check_combination(
        method,
        penalty,
        nonnegative=nonnegative,
        isotropic=isotropic,
        signal_power=signal_power,
        layer=layer,
        y=data,
    )
    iterated = method == "tv" or nonnegative
    tol = (1e-3 if method == "tv" else 1e-6) if tol is None else tol
    most = read_limits(tol, (20_000 if iterated else 2000) if max_iterations is None else max_iterations)
    given = read_parameter(parameter, method, noise)
    if per_channel and (geometry.in_channels, geometry.out_channels) != (1, 1):
        raise ValueError(
            f"per_channel=True needs a layer with one input and one output channel, but this one has "
            f"{geometry.in_channels} and {geometry.out_channels}, which are solved together; omit per_channel"
        )
    # Kernel and data are scaled to about one, so that no square over- or underflows; powers of two round nothing.
    kernel_scale, data_scale = power_of_two(layer.weights), power_of_two(data) or 1.0
    if kernel_scale == 0:
        raise ValueError(f"the kernel is zero ({layer.weights.size} weights), so y does not depend on x; check it")
    scaled = WeightedLayer(geometry, layer.weights / kernel_scale)
    penalised = read_penalty(penalty, geometry)
    real = penalised is None or np.dtype(penalised.operator.dtype).kind != "c"
    if nonnegative and not real:
        raise ValueError("nonnegative=True needs a real penalty, but the penalty is complex; take the real part")
    problem = ScaledProblem(
        layer=scaled,
        operator=ConvOperator(scaled.weights, geometry),
        data=data / data_scale,
        method=method,
        parameter=given if isinstance(given, str) else scaled_parameter(given, method, kernel_scale, data_scale),
        target=None if noise is None else math.sqrt(data.size) * noise / data_scale,
        penalty=penalised,
        power=None if signal_power is None else read_power(signal_power, geometry),
        nonnegative=nonnegative,
        isotropic=isotropic,
        real=real and layer.weights.dtype.kind != "c" and data.dtype.kind != "c",
        tol=tol,
        most=most,
        rng=np.random.default_rng(rng),
        log=IterationLog(most),
        kernel_scale=kernel_scale,
        data_scale=data_scale,
    )
    if not per_channel:
        with reporting(progress, "iterations"):
            return _solved(problem, shape)
    with reporting(progress, "iterations"):
        return _joined([_solved(column, geometry.input_shape) for column in problem.columns()], shape)


def _solved(problem: ScaledProblem, shape: tuple[int, ...]) -> Deconvolution:
    """Return the solution of a problem in the units of the caller."""
    found = solve_problem(problem)
    x = found.x.real if problem.real else found.x
    residual = float(np.linalg.norm(problem.operator @ x - problem.data)) * problem.data_scale
    x = x.T.reshape(shape) * (problem.data_scale / problem.kernel_scale)
    read_only(x)
    parameter = problem.unscaled(found.parameter)
    rule: Any = problem.parameter if isinstance(problem.parameter, str) else "given"
    return Deconvolution(
        x,
        problem.method,
        parameter,
        rule,
        residual,
        found.route,
        found.iterations,
        found.gradient,
        problem.log.history(problem.data_scale, 1 if problem.method == "richardson_lucy" else 2),
        None if problem.penalty is None else problem.penalty.name,
        problem.nonnegative or problem.method == "richardson_lucy",
        (parameter,),
    )


def _joined(parts: list[Deconvolution], shape: tuple[int, ...]) -> Deconvolution:
    """Return the solutions of all channels as one; iterations are those of the slowest channel, with its history."""
    x = np.stack([part.x for part in parts]).reshape(shape)
    read_only(x)
    slowest = max(parts, key=lambda part: part.iterations)
    parameters = tuple(part.parameter for part in parts)
    return replace(
        slowest,
        x=x,
        parameter=parameters[0] if len(set(parameters)) == 1 else math.nan,
        residual=math.hypot(*(part.residual for part in parts)),
        gradient=max(part.gradient for part in parts),
        parameters=parameters,
    )
