"""What `deconvolve` is given: checked, and in one form."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from convmatrix.solve._parameters import Method

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from convmatrix.geometry import ConvGeometry
    from convmatrix.solve._coordinates import Coordinates

    Array = NDArray[Any]

METHODS: tuple[Method, ...] = get_args(Method)
Rule = Literal["gcv", "discrepancy"]
RULES: tuple[Rule, ...] = get_args(Rule)


def check_method(method: str) -> None:
    """Raise unless the method is known."""
    if method not in METHODS:
        raise ValueError(f"method {method!r} is unknown; choose one of {', '.join(METHODS)}")


def read_data(y: ArrayLike, geometry: ConvGeometry) -> tuple[Array, bool]:
    """Return y as a flat vector in double precision, and whether x has a channel axis."""
    array = np.asarray(y)
    if array.dtype.kind not in "biufc":
        raise TypeError(f"y has dtype {array.dtype}, but must hold numbers; convert it, as with y.astype(float)")
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


def read_parameter(parameter: float | str, method: Method, noise: float | None) -> float:
    """Return a given parameter, or 0 for a rule; noise goes with the discrepancy principle alone."""
    if isinstance(parameter, str):
        if parameter not in RULES:
            raise ValueError(f"parameter {parameter!r} is unknown; give a number, or one of {', '.join(RULES)}")
        if parameter == "discrepancy" and (noise is None or not 0 < noise < math.inf):
            raise ValueError(
                f"parameter='discrepancy' needs the standard deviation of the noise in y, but noise={noise!r}; give a "
                "positive number, or parameter='gcv'"
            )
    if noise is not None and parameter != "discrepancy":
        raise ValueError(f"noise={noise!r} is for the discrepancy principle; set parameter='discrepancy', or drop it")
    if isinstance(parameter, str):
        return 0.0
    if isinstance(parameter, (bool, np.bool_)) or not isinstance(parameter, (int, float, np.number)):
        raise TypeError(f"parameter must be a number or one of {', '.join(RULES)}, but is {parameter!r}")
    if not 0 <= parameter < math.inf:
        raise ValueError(f"parameter={parameter!r} must be a finite number of at least 0, or one of {', '.join(RULES)}")
    if method == "tsvd" and parameter > 1:
        raise ValueError(f"parameter={parameter!r} leaves no term: 'tsvd' has it relative to the largest value")
    return float(parameter)


def read_power(signal_power: ArrayLike, method: Method, geometry: ConvGeometry) -> NDArray[np.float64]:
    """Return the power of the signal, one number a frequency."""
    if method != "wiener":
        raise ValueError(f"signal_power is for method='wiener', but method={method!r}; drop one of the two")
    power = np.asarray(signal_power, dtype=np.float64)
    if power.shape != geometry.input_shape:
        raise ValueError(
            f"signal_power has shape {power.shape}, but the layer's input {geometry.input_shape}; give one power a "
            "frequency"
        )
    if not (np.isfinite(power) & (power > 0)).all():
        raise ValueError(f"signal_power must be positive and finite, but reaches from {power.min()} to {power.max()}")
    return power


def fit_penalty(
    penalty: NDArray[np.float64], found: Coordinates, geometry: ConvGeometry, *, real: bool
) -> NDArray[np.float64]:
    """Return one over the power in the shape of the coordinates, once it is known to suit their frequencies."""
    if found.frequencies != geometry.input_shape:
        raise ValueError(
            f"signal_power needs a layer whose input is transformed at stride 1, but {geometry!r} is not; set "
            "boundary='circular' (or 'symmetric' with a symmetric kernel), padding='same' and stride=1"
        )
    mirrored = penalty
    for axis in found.waves:
        mirrored = np.take(mirrored, -np.arange(mirrored.shape[axis]), axis=axis, mode="wrap")
    if real and not np.allclose(penalty, mirrored, rtol=1e-9, atol=0):
        raise ValueError(
            "signal_power differs between the frequencies f and -f, as it cannot for a real signal (kernel and y are "
            "real); make it symmetric, as that of numpy.fft.fftfreq(n) ** 2 is"
        )
    return penalty[..., None, None]  # for all groups and channels


def power_of_two(array: Array) -> float:
    """Return a power of two near the largest modulus, 0 for zero."""
    largest = float(np.maximum(np.abs(array.real), np.abs(array.imag)).max(initial=0.0))
    return math.ldexp(1.0, math.frexp(largest)[1] - 1) if largest > 0 else 0.0
