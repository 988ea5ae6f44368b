"""The arguments of a deconvolution, read and scaled: a layer, its data as columns, and how to regularise."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import reduce
from operator import mul, truediv
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np

from convmatrix import options as validate
from convmatrix.boundary import SIGNED
from convmatrix.solve.bidiagonalisation import Bidiagonalisation
from convmatrix.solve.penalties import Differences

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from convmatrix.arrays import Array
    from convmatrix.geometry import ConvGeometry
    from convmatrix.operator import ConvOperator
    from convmatrix.solve.iteration_log import IterationLog
    from convmatrix.solve.penalties import Penalty
    from convmatrix.spectral.blocks import WeightedLayer

MethodName = Literal["tikhonov", "tsvd", "wiener", "cgls", "richardson_lucy", "tv"]
Rule = Literal["gcv", "discrepancy", "l_curve"]
METHODS: Final[tuple[MethodName, ...]] = get_args(MethodName)
RULES: Final[tuple[Rule, ...]] = get_args(Rule)

_FREE: Final = ("richardson_lucy", "tv")
"""Methods without a rule that needs solutions linear in the data."""

_COUNTED: Final = ("cgls", "richardson_lucy")
"""Methods whose parameter is a number of iterations."""


@dataclass(frozen=True, eq=False)
class ScaledProblem:
    """A deconvolution in scaled form: the kernel and the data are about one, so that no square over- or underflows."""

    layer: WeightedLayer
    operator: ConvOperator  # the scaled layer
    data: Array  # (n_out, batch)
    method: MethodName
    parameter: float | str  # a number, which is scaled, or a rule
    target: float | None  # norm of the residual, for the discrepancy principle
    penalty: Penalty | None
    power: NDArray[np.float64] | None  # of the signal, for "wiener"
    nonnegative: bool
    isotropic: bool
    real: bool
    tol: float
    most: int
    rng: np.random.Generator
    kernel_scale: float  # the powers of two by which kernel and data were divided
    data_scale: float
    log: IterationLog

    @property
    def geometry(self) -> ConvGeometry:
        """The geometry of the layer."""
        return self.layer.geometry

    def columns(self) -> list[ScaledProblem]:
        """Return a problem for each column of the data."""
        n = self.data.shape[1]
        target = None if self.target is None else self.target / math.sqrt(n)
        return [replace(self, data=column, target=target) for column in np.split(self.data, n, axis=1)]

    @property
    def L(self) -> Any:
        """The operator of the penalty, or None for the identity."""
        return None if self.penalty is None else self.penalty.operator

    @property
    def most_steps(self) -> int:
        """Maximum number of iterations; one that is given as the parameter is not limited."""
        limited = isinstance(self.parameter, str) or math.isinf(self.parameter)
        return self.most if limited else int(self.parameter)

    def damping(self, parameter: float) -> float:
        """Return the lambda of the Tikhonov filter that corresponds to a parameter."""
        return math.sqrt(parameter) if self.method == "wiener" else parameter

    def norm_bound(self) -> float:
        """Return a proved upper bound on the norm of the scaled layer."""
        from convmatrix.spectral.bounds import norm_bounds

        return norm_bounds(self.layer.weights, self.geometry)[1]

    def penalty_bound(self) -> float:
        """Return a bound on the norm of the penalty, or an estimate that is nearly always one."""
        if self.L is None:
            return 1.0
        if isinstance(self.L, Differences):
            return self.L.norm_bound
        process = Bidiagonalisation(self.L, self.rng.standard_normal((self.L.shape[0], 1)))
        process.extend(20)
        return 1.1 * float(process.nodes()[0].max(initial=0.0))

    def unscaled(self, parameter: float) -> float:
        """Return a parameter in the units of the caller."""
        return reduce(mul, units(self.method, self.kernel_scale, self.data_scale), parameter)


def units(method: str, kernel_scale: float, data_scale: float) -> list[float]:
    """Return the factors of the unit of a method's parameter; their product may underflow."""
    scales = [kernel_scale]
    return {"tikhonov": scales, "wiener": scales * 2, "tv": [kernel_scale, data_scale]}.get(method, [])


def scaled_parameter(parameter: float, method: str, kernel_scale: float, data_scale: float) -> float:
    """Return a parameter in the units of the scaled problem."""
    return reduce(truediv, units(method, kernel_scale, data_scale), parameter)


# --- arguments -------------------------------------------------------------------------------------------------------


def read_data(y: ArrayLike, geometry: ConvGeometry) -> tuple[Array, tuple[int, ...]]:
    """Return y as columns in double precision, and the shape of x.

    For a layer with one input and one output channel, y may have any number of channels: one column each.
    """
    array = validate.array("y", y)
    if array.dtype.kind not in "biufc":
        raise TypeError(f"y has dtype {array.dtype}, but must be numeric; convert it, as with y.astype(float)")
    single = geometry.in_channels == geometry.out_channels == 1
    outputs = geometry.output_shape
    shapes = [(geometry.out_channels, *outputs), (geometry.n_out,)]
    if geometry.out_channels == 1:
        shapes.append(outputs)
    several = single and array.ndim == len(outputs) + 1 and array.shape[1:] == outputs and array.shape[0] > 0
    if array.shape not in shapes and not several:
        raise ValueError(
            f"y has shape {array.shape}, but the layer's output is {' or '.join(map(str, dict.fromkeys(shapes)))} "
            f"(C_out={geometry.out_channels}, output_shape={outputs} for input_shape={geometry.input_shape})"
            + _shape_hint(array.shape, geometry)
        )
    columns = array.astype(np.complex128 if array.dtype.kind == "c" else np.float64).reshape(-1, geometry.n_out).T
    bad = int(np.count_nonzero(~np.isfinite(columns)))
    if bad:
        raise ValueError(f"y has {bad} entries of {columns.size} that are infinite or NaN; replace them first")
    if several:
        return columns, (len(array), *geometry.input_shape)
    has_channels = not single or array.shape == shapes[0]
    return columns, geometry.full_input_shape if has_channels else geometry.input_shape


def _shape_hint(shape: tuple[int, ...], geometry: ConvGeometry) -> str:
    """Return the remedy for data of a wrong shape."""
    outputs = geometry.output_shape
    if len(shape) == len(outputs) + 1 and shape[:-1] == outputs:
        return "; the channels come first: give numpy.moveaxis(y, -1, 0), and move them back in x"
    if len(shape) == len(outputs) + 1 and shape[:-1] == geometry.input_shape:
        return "; the channels come first, as numpy.moveaxis(y, -1, 0), and the padding does not give this output"
    return "; check padding and input_shape"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def read_parameter(parameter: float | str, method: str, noise: float | None) -> float | str:
    """Return the parameter; raise if it does not fit the method and the noise."""
    if noise is not None and not _is_number(noise):
        raise TypeError(f"noise must be a number, but is {noise!r}")
    if isinstance(parameter, str):
        if parameter not in RULES:
            raise ValueError(f"parameter {parameter!r} is unknown; give a number, or one of {', '.join(RULES)}")
        if parameter != "discrepancy" and method in _FREE:
            number = "a number of iterations" if method == "richardson_lucy" else "a number"
            raise ValueError(
                f"parameter={parameter!r} is for solutions that depend linearly on y, but method={method!r}; give "
                f"{number}, or parameter='discrepancy' with the noise"
            )
        if parameter == "discrepancy" and (noise is None or not 0 < noise < math.inf):
            raise ValueError(
                f"parameter='discrepancy' needs the standard deviation of the noise in y, but noise={noise!r}; give a "
                "positive number, or parameter='gcv'"
            )
    if noise is not None and parameter != "discrepancy":
        raise ValueError(f"noise={noise!r} is for the discrepancy principle; set parameter='discrepancy', or omit it")
    if isinstance(parameter, str):
        return parameter
    if not _is_number(parameter):
        raise TypeError(f"parameter must be a number or one of {', '.join(RULES)}, but is {parameter!r}")
    if method in _COUNTED:
        if method == "richardson_lucy" and parameter == math.inf:
            return math.inf
        if not math.isfinite(parameter) or parameter != math.floor(parameter) or parameter < 1:
            raise ValueError(
                f"parameter={parameter!r} must be a number of iterations, at least 1, for method={method!r}"
                + (" (or infinite, to iterate up to tol)" if method == "richardson_lucy" else "")
            )
        return float(parameter)
    if not 0 <= parameter < math.inf:
        raise ValueError(f"parameter={parameter!r} must be a finite number of at least 0, or one of {', '.join(RULES)}")
    if method == "tsvd" and parameter > 1:
        raise ValueError(
            f"parameter={parameter!r} leaves no term: for 'tsvd' it is relative to the largest singular value"
        )
    return float(parameter)


def check_combination(
    method: str, penalty: Any, *, nonnegative: bool, isotropic: bool, signal_power: Any, layer: WeightedLayer, y: Array
) -> None:
    """Raise if options do not fit the method, or the data do not fit a non-negative solution."""
    validate.one_of("method", method, METHODS)
    geometry, kernel = layer.geometry, layer.weights
    if penalty is not None and method != "tikhonov":
        raise ValueError(f"penalty is for method='tikhonov', but method={method!r}; omit one of the two")
    if nonnegative and method not in ("tikhonov", "richardson_lucy", "tv"):
        raise ValueError(
            f"nonnegative=True is for method='tikhonov' or 'tv' ('richardson_lucy' always is), but method={method!r}"
        )
    if not isotropic and method != "tv":
        raise ValueError(f"isotropic=False is for method='tv', but method={method!r}; omit one of the two")
    if signal_power is not None and method != "wiener":
        raise ValueError(f"signal_power is for method='wiener', but method={method!r}; omit one of the two")
    if method == "richardson_lucy":
        pairs = zip(geometry.boundary, geometry.padding, strict=True)
        read = [boundary for boundary, padding in pairs if boundary in SIGNED and any(padding)]
        if read:
            raise ValueError(
                f"method='richardson_lucy' needs a matrix without negative entries, but boundary={read[0]!r} subtracts "
                "samples; set another boundary, padding='valid', or method='tikhonov' and nonnegative=True"
            )
    if method != "richardson_lucy" and not nonnegative:
        return
    reason = "method='richardson_lucy'" if method == "richardson_lucy" else "nonnegative=True"
    if kernel.dtype.kind == "c" or y.dtype.kind == "c":
        raise ValueError(f"{reason} needs a real kernel and real data, but one of them is complex; take the real part")
    if method == "richardson_lucy":
        for name, array in (("the kernel", kernel), ("y", y)):
            if (array < 0).any():
                raise ValueError(
                    f"{reason} needs non-negative numbers, but {name} has {int((array < 0).sum())} negative entries of "
                    f"{array.size}; clip them with numpy.maximum(..., 0), or set method='tikhonov' and nonnegative=True"
                )


def read_power(signal_power: ArrayLike, geometry: ConvGeometry) -> NDArray[np.float64]:
    """Return the power of the signal at each frequency."""
    given = np.asarray(signal_power)
    if given.dtype.kind not in "iuf":
        raise TypeError(f"signal_power has dtype {given.dtype}, but must hold real numbers")
    power = given.astype(np.float64)
    if power.shape != geometry.input_shape:
        raise ValueError(
            f"signal_power has shape {power.shape}, but the layer's input {geometry.input_shape}; give one power per "
            "frequency"
        )
    if not (np.isfinite(power) & (power > 0)).all():
        raise ValueError(f"signal_power must be positive and finite, but ranges from {power.min()} to {power.max()}")
    return power


def read_limits(tol: float, max_iterations: int) -> int:
    """Return the maximum number of iterations; raise if it or the tolerance is invalid."""
    if not isinstance(tol, (int, float, np.integer, np.floating)):
        raise TypeError(f"tol must be a number, but is {tol!r}")
    if not 0 < tol < 1:
        raise ValueError(f"tol={tol!r} must lie between 0 and 1: it is relative to the gradient at x = 0")
    return validate.integer("max_iterations", max_iterations, minimum=1)


def power_of_two(array: Array) -> float:
    """Return a power of two near the largest modulus, 0 for zero."""
    largest = float(np.maximum(np.abs(array.real), np.abs(array.imag)).max(initial=0.0))
    return math.ldexp(1.0, math.frexp(largest)[1] - 1) if largest > 0 else 0.0
