"""Upper bounds on the norm of a layer that take a few transforms or products; why they hold is in `norm_bounds`."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix.boundary import NOTHING
from convmatrix.operator import ConvOperator
from convmatrix.spectral._axes import AxisForm, Kind, axis_form, read_unflipped, ring_form
from convmatrix.spectral.blocks import axis_kinds, layer_blocks
from convmatrix.spectral.largest import EPS, largest_value
from convmatrix.weights import group_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convmatrix.boundary import Axis
    from convmatrix.geometry import ConvGeometry

    Array = NDArray[Any]

_MOST_BLOCK = 2048  # rows and columns of blocks whose largest singular value is computed
_PERRON_STEPS = 6
_MOST_WORK = 1e10  # multiplications for the blocks of a ring, beyond which fewer points of its symbol are taken
_LEAST_GRID = 8  # points of the symbol for each shift, which bound it up to 7% an axis


def upper_bounds(geometry: ConvGeometry, weights: Array) -> dict[str, float]:
    """Return all bounds, by name. Weights must have moduli of at most one."""
    bounds = unfold_bounds(geometry, weights)
    bounds["moduli"] = moduli_bound(geometry, weights)
    for number, (forms, factor) in enumerate(_ring_choices(geometry, weights)):
        bounds[f"ring {number}" if number else "ring"] = factor * ring_bound(geometry, weights, forms)
    return {name: value for name, value in bounds.items() if math.isfinite(value)}


def used_weights(geometry: ConvGeometry) -> NDArray[np.bool_]:
    """Return which weights read a sample anywhere, of a shape that broadcasts with the weights."""
    n = len(geometry.kernel_shape)
    mask = np.ones((1,) * (2 * n), dtype=bool)  # (*tile, *kernel)
    for place, axis in enumerate(geometry.axes):
        outputs = np.arange(axis.n_outputs)
        used = np.zeros((axis.tile, axis.n_taps), dtype=bool)
        for tap in range(axis.n_taps):
            reads = axis.sample(outputs, np.full_like(outputs, tap)) != NOTHING
            used[outputs[reads] % axis.tile, tap] = True
        shape = [1] * (2 * n)
        shape[place], shape[n + place] = used.shape
        mask = mask & used.reshape(shape)
    channels = len(geometry.weight_shape) - n - (0 if geometry.sharing == "shared" else n)
    tile = geometry.tile if geometry.sharing != "shared" else ()
    return mask.reshape(*tile, *(1,) * channels, *geometry.kernel_shape)


# --- rings -----------------------------------------------------------------------------------------------------------


def exact_bounds(geometry: ConvGeometry, weights: Array) -> tuple[float, float] | None:
    """Return bounds that differ by rounding only; None where an axis has no transform or the work would be much."""
    kinds = axis_kinds(geometry, weights)
    if "dense" in kinds:
        return None
    forms = [axis_form(axis, symmetric=kind == "cosine") for axis, kind in zip(geometry.axes, kinds, strict=True)]
    value, error = _ring_norm(geometry, weights, forms)
    # Weights that cancel leave only rounding, of which there is no telling whether it is zero.
    return (value - error, value + error) if 0 < 2 * error < value < math.inf else None


def ring_bound(geometry: ConvGeometry, weights: Array, forms: list[AxisForm]) -> float:
    """Return a bound on the norm of the layer with its axes in these forms: the norm itself unless that is much work.

    Then the symbol is taken at fewer points, and the bound is what it can rise to between them: a trigonometric
    polynomial of s successive frequencies is at most (1 - (s - 1) / N)^(-1/2) times its largest value at N points.
    """
    frequencies = math.prod(form.n_frequencies for form in forms)
    work = frequencies * _work(geometry, weights, forms)
    factor = 1.0
    if work > _MOST_WORK:
        long = [form.kind == "fourier" and form.n_frequencies > _LEAST_GRID * form.n_shifts for form in forms]
        share = (_MOST_WORK / work) ** (1 / max(sum(long), 1))
        for place, form in enumerate(forms):
            if long[place]:
                points = max(_LEAST_GRID * form.n_shifts, math.ceil(share * form.n_frequencies))
                factor /= math.sqrt(1 - (form.n_shifts - 1) / points)
                forms = [*forms[:place], replace(form, n_frequencies=points), *forms[place + 1 :]]
    value, error = _ring_norm(geometry, weights, forms, limited=False)
    return (value + error) * factor * (1 + 8 * EPS * len(forms))


def _work(geometry: ConvGeometry, weights: Array, forms: list[AxisForm]) -> float:
    """Return about how many multiplications the norm of the blocks of one frequency takes."""
    groups, outputs, inputs = group_weights(geometry, weights).shape[len(forms) : len(forms) + 3]
    rows = outputs * math.prod(form.n_outputs for form in forms)
    columns = inputs * math.prod(form.n_inputs for form in forms)
    small, large = sorted((float(rows), float(columns)))
    work: float = groups * small * small * (large + 4 * small)
    return work


def _ring_norm(
    geometry: ConvGeometry, weights: Array, forms: list[AxisForm], *, limited: bool = True
) -> tuple[float, float]:
    """Return the norm of the layer with its axes in these forms, and a bound on the error; infinite if out of reach."""
    groups_shape = group_weights(geometry, weights).shape[len(forms) :]
    rows = groups_shape[1] * math.prod(form.n_outputs for form in forms)
    columns = groups_shape[2] * math.prod(form.n_inputs for form in forms)
    work = _work(geometry, weights, forms) * math.prod(form.n_frequencies for form in forms)
    if min(rows, columns) > _MOST_BLOCK or rows * columns * math.prod(f.n_shifts for f in forms) > 2**27:
        return math.inf, 0.0
    if limited and work > _MOST_WORK:
        return math.inf, 0.0
    blocks = layer_blocks(geometry, weights, forms)
    decomposition = 64 * (rows + columns) * EPS  # of a backward stable singular value decomposition
    value = largest_value(blocks)
    return value, value * decomposition + blocks.rounding() + 1e-300


def _ring_choices(geometry: ConvGeometry, weights: Array) -> list[tuple[list[AxisForm], float]]:
    """Return ways to see the layer inside a layer on rings, each with the factor that this costs."""
    kinds = axis_kinds(geometry, weights)
    choices = [_axis_choices(axis, kind) for axis, kind in zip(geometry.axes, kinds, strict=True)]
    return [
        ([form for form, _ in choice], math.prod(factor for _, factor in choice))
        for choice in itertools.product(*choices)
    ]


def _axis_choices(axis: Axis, kind: Kind) -> list[tuple[AxisForm, float]]:
    if kind != "dense":
        return [(axis_form(axis, symmetric=kind == "cosine"), 1.0)]
    last = (axis.n_outputs - 1) * axis.stride + axis.dilation * (axis.n_taps - 1) - axis.pad_low
    beyond = max(axis.pad_low, last - (axis.n_samples - 1), 0)
    if axis.boundary == "zero" or beyond == 0:
        return [(_long_ring(axis, axis.n_samples + beyond), 1.0)]
    repeated = math.sqrt(most_reads(axis, by_tap=False, positions=True))
    choices = [(_long_ring(axis, last + axis.pad_low + 1), repeated)]
    if axis.boundary == "circular" and axis.tile == 1:
        step = math.gcd(axis.stride, axis.n_samples)
        rounds = -(-axis.n_outputs * step // axis.n_samples)
        exact = ring_form(replace(axis, stride=step, n_outputs=axis.n_samples // step), axis.n_samples, step)
        choices.append((exact, math.sqrt(rounds)))
    return choices


def _long_ring(axis: Axis, at_least: int) -> AxisForm:
    """Return the axis on the shortest ring of some length that its stride and its tile divide."""
    step = axis.stride * axis.tile
    length = max(at_least, axis.n_outputs * axis.stride)
    return ring_form(axis, -(-length // step) * step, axis.stride)


# --- counts ----------------------------------------------------------------------------------------------------------


def most_reads(axis: Axis, *, by_tap: bool, positions: bool = False) -> int:
    """Return the largest number of times that a sample is read: by all taps, by one tap, or from distinct positions."""
    outputs = np.arange(axis.n_outputs)
    most = 0
    if positions:
        taps = np.arange(axis.n_taps)
        places = np.unique(outputs[:, None] * axis.stride + taps * axis.dilation)
        plain = replace(axis, n_outputs=len(places), stride=1, dilation=1, n_taps=1, flip=False, tile=1)
        samples = plain.sample(places, np.zeros_like(places))
        return int(np.bincount(samples[samples != NOTHING], minlength=1).max())
    total = np.zeros(axis.n_samples, dtype=np.int64)
    for tap in range(axis.n_taps):
        samples = read_unflipped(axis, outputs, np.full_like(outputs, tap))
        counts = np.bincount(samples[samples != NOTHING], minlength=axis.n_samples)
        total += counts
        most = max(most, int(counts.max()))
    return most if by_tap else int(total.max())


def unfold_bounds(geometry: ConvGeometry, weights: Array) -> dict[str, float]:
    """Return the bounds by the kernel as a matrix: (outputs) x (inputs, taps), and (outputs, taps) x (inputs)."""
    n = len(geometry.kernel_shape)
    grouped = group_weights(geometry, weights)
    stack = grouped.reshape(-1, *grouped.shape[n + 1 :])  # (tiles * groups, outputs, inputs, *kernel)
    n_kernels, outputs, inputs = stack.shape[:3]
    wide = stack.reshape(n_kernels, outputs, -1)
    tall = np.moveaxis(stack, 2, -1).reshape(n_kernels, -1, inputs)
    slack = 1 + 64 * (outputs + inputs + wide.shape[2]) * EPS
    reads = math.prod(most_reads(axis, by_tap=False) for axis in geometry.axes)
    bounds = {"unfold": _largest(wide) * math.sqrt(reads) * slack}
    if math.prod(geometry.tile) == 1:
        by_tap = math.prod(geometry.kernel_shape) * math.prod(most_reads(axis, by_tap=True) for axis in geometry.axes)
        bounds["fold"] = _largest(tall) * math.sqrt(by_tap) * slack
    return bounds


def _largest(stack: Array) -> float:
    if min(stack.shape[-2:]) > _MOST_BLOCK:
        return math.inf
    return float(np.linalg.svd(stack, compute_uv=False).max())


# --- moduli ----------------------------------------------------------------------------------------------------------


def moduli_bound(geometry: ConvGeometry, weights: Array) -> float:
    """Return an upper bound on the norm of the layer of the weights' moduli, which is at least the layer's own."""
    operator: Any = ConvOperator(np.abs(weights), geometry, method="direct")
    x = np.ones(geometry.n_in)
    best = math.inf
    for _ in range(_PERRON_STEPS):
        positive = x > 0
        image = operator.T @ (operator @ x)
        best = min(best, float((image[positive] / x[positive]).max(initial=0.0)))
        largest = float(image.max(initial=0.0))
        if largest == 0 or best == 0:
            break
        x = image / largest
        if x[x > 0].min() < 1e-100:
            break
    axes = geometry.axes
    products = math.prod(geometry.kernel_shape) * (geometry.in_channels + geometry.out_channels)
    repeats = sum(axis.n_outputs * axis.stride + axis.dilation * axis.n_taps for axis in axes)
    return float(math.sqrt(best) * (1 + 4 * (products + repeats + 16) * EPS))
