"""The largest singular value of an operator by Golub-Kahan-Lanczos steps, with the error of the value estimated."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix.operator import ConvOperator
from convmatrix.progress import report_step
from convmatrix.spectral.axis_transforms import ring_transform
from convmatrix.spectral.blocks import layer_blocks, single_precision

if TYPE_CHECKING:
    from convmatrix.arrays import Array
    from convmatrix.spectral.blocks import WeightedLayer

_MOST_BYTES: Final = 2**28  # of the orthonormal vectors of a cycle
_MOST_STEPS: Final = 160  # per cycle
_SINGLE_TOLERANCE: Final = 1e-9  # relative errors of the value that single precision reaches: roundoff counts squared
_MOST_START_ENTRIES: Final = 2**24  # of the blocks from which a start is taken
_START_POINTS: Final = 16  # frequencies per axis
_START_POWERS: Final = 12
_WAVES: Final = 8
_LEAST_STEPS: Final = 12
_BLOCK: Final = 2  # vectors per step: the largest singular values of real layers come in close pairs


@dataclass(frozen=True)
class Extreme:
    """An approximation of the largest singular value, as found by `largest_singular` in a number of products.

    ``value`` is norm(A v) / norm(v) for ``vector`` v of norm one, computed in double precision; at most the norm, up to
    rounding. ``error`` estimates how far the norm lies above it. ``residual`` is norm(A^H u - value * v) with u = A v /
    value: the matrix has a singular value within this distance.
    """

    value: float
    error: float
    residual: float
    vector: Array
    products: int


def layer_norm(layer: WeightedLayer, tolerance: float, *, products: int = 40_000) -> Extreme:
    """Return the largest singular value of a layer up to a relative error of the value.

    Steps are taken in single precision if the tolerance allows. The value, its residual and its estimated error are
    computed in double precision from the vector found; if they do not meet the tolerance, the steps continue
    in double precision.
    """
    operator = ConvOperator(layer.weights, layer.geometry)
    # Large singular vectors may also live at an end where samples are repeated; no wave shows them.
    ends = set(layer.geometry.boundary) - {"zero", "circular"}
    start: dict[str, Any] = {"start": symbol_start(layer), "random_part": 0.5 if ends else 0.1}
    largest = float(np.abs(layer.weights).max(initial=0.0))
    if tolerance < _SINGLE_TOLERANCE or not 1e-12 < largest < 1e12:
        return largest_singular(operator, tolerance=tolerance, products=products, **start)
    rough = ConvOperator(single_precision(layer.weights), layer.geometry)
    found = largest_singular(operator, tolerance=tolerance, products=products, steps_with=rough, **start)
    if found.error <= tolerance * found.value or found.products >= products:
        return found
    remaining = products - found.products
    again = largest_singular(operator, tolerance=tolerance, products=remaining, start=found.vector)
    return Extreme(again.value, again.error, again.residual, again.vector, again.products + found.products)


def largest_singular(
    operator: Any,
    *,
    tolerance: float,
    products: int = 40_000,
    start: Array | None = None,
    random_part: float = 0.1,
    steps_with: Any = None,
    seed: int = 0,
) -> Extreme:
    r"""Return the largest singular value of an operator by Golub-Kahan-Lanczos steps with thick restarts.

    The steps build an orthonormal basis V of a Krylov space of :math:`A^H A`, fully orthogonalised, and the value is
    the largest one of A on that space, so it is never above the norm. After at most 160 steps, fewer where memory is
    short, a new cycle begins with the best third of the approximate singular vectors, so that clusters of large
    singular values are resolved together.

    Parameters
    ----------
    operator : linear operator in double precision
        With ``shape``, ``dtype``, ``@`` and ``H``.
    tolerance : float
        The steps end when the estimated error of the value is at most ``tolerance`` times the value.
    products : int
        Maximum number of products.
    start : array, optional
        Columns to start from.
    random_part : float
        Length of a random vector that is added to them, relative to their own, because a start without a component
        along the largest singular vector could not find it.
    steps_with : linear operator, optional
        The same operator in single precision, with which the steps are taken.
    seed : int
        Of the random part.

    Notes
    -----
    Let :math:`\theta_1 \ge \theta_2 \ge \ldots` be the eigenvalues of :math:`V^H A^H A V` and :math:`r_i` the residuals
    of their vectors. If all other eigenvalues of :math:`A^H A` are at most :math:`\theta_{c+1}` but for c of them, the
    error of :math:`\theta_1` is of the order of :math:`\sum_{i \le c} r_i^2 / (\theta_1 - \theta_{c+1})`, the square of
    the residual over the gap (Kato, Temple; Parlett, The symmetric eigenvalue problem, section 11.7). The estimate is
    the smallest of these numbers over c, and at least the growth of the value during the last quarter of the steps. It
    is not a proof: the steps see only the part of the spectrum that the start contains.
    """
    working = operator if steps_with is None else steps_with
    n_out, n_in = operator.shape
    dtype, unit = np.dtype(working.dtype), float(np.finfo(working.dtype).eps)
    rng = np.random.default_rng(seed)
    block = _first_block(n_in, min(_BLOCK, n_in), start, random_part, np.dtype(operator.dtype), rng)
    width = block.shape[1]
    most = min(max(_MOST_BYTES // (n_in * dtype.itemsize), 12 * width), _MOST_STEPS * width, n_in)
    V = np.empty((most, n_in), dtype=dtype)  # (vectors, n_in)
    T = np.zeros((most, most), dtype=np.complex128 if dtype.kind == "c" else np.float64)
    adjoint = working.H
    V[:width] = block.T
    # V[known:last] are the vectors whose images are missing; they are coupled to those from V[local] on.
    local, known, last, used, n_short = 0, 0, width, 0, 0
    history = [0.0]
    while True:
        images = np.stack([adjoint @ (working @ vector) for vector in V[known:last]])
        used += 2 * (last - known)
        report_step(used, 0, "products with the layer")
        length = float(np.linalg.norm(images))
        column = np.zeros((last - known, last), dtype=dtype)
        for first in (local, 0):  # twice, for orthogonality to working precision; the first time where it counts
            again = images @ V[first:last].conj().T
            images -= again @ V[first:last]
            column[:, first:] += again
        T[:last, known:last], T[known:last, :last] = column.T, column.conj()
        local, known = known, last
        # The space of all images of the adjoint is reached; vectors that are mostly rounding may lie outside of it.
        full = known >= min(n_in, n_out + _BLOCK + n_short)
        new, coupling, lengths = _independent(images, math.inf if full else 32 * unit * max(length, history[-1]))
        if lengths.min(initial=math.inf) < math.sqrt(unit) * length:  # rounding along V is no longer negligible
            n_short += int(np.count_nonzero(lengths < math.sqrt(unit) * length))
            new -= (new @ V[:last].conj().T) @ V[:last]
            new, _, _ = _independent(new, 0.0)
        values, vectors = np.linalg.eigh((T[:known, :known] + T[:known, :known].conj().T) / 2)
        values, vectors = values[::-1], vectors[:, ::-1]
        history.append(max(float(values[0]), 0.0))
        residuals = np.linalg.norm(coupling @ vectors[-width:], axis=0) if len(new) else np.zeros(known)
        error, enough = _value_error(values, residuals, history), len(history) > _LEAST_STEPS
        if not len(new) or used >= products or (enough and error <= 2 * tolerance * values[0]):
            left = error if len(new) else 0.0  # in an invariant subspace, only rounding errors remain
            distance = values[0] - values[_BLOCK] if known > _BLOCK else values[0]
            found = vectors[:, 0].astype(dtype) @ V[:known]
            return _evaluated(operator, found, left, float(residuals[0]), float(distance), used)
        if known + len(new) > most:
            kept = max(most // 3, 1)
            V[:kept] = vectors[:, :kept].T.astype(dtype) @ V[:known]
            T[:] = 0
            T[range(kept), range(kept)] = values[:kept]
            new = new[: max(most - kept, 1)]
            new -= (new @ V[:kept].conj().T) @ V[:kept]
            new, _, _ = _independent(new, 0.0)
            local, known = 0, min(kept, most - len(new))
        last, width = known + len(new), len(new)
        V[known:last] = new


def _first_block(
    n: int, width: int, start: Array | None, random_part: float, dtype: np.dtype[Any], rng: np.random.Generator
) -> Array:
    """Return orthonormal columns to start from: those of ``start``, each with a random part of a given length."""
    noise = rng.standard_normal((n, width)).astype(dtype)
    if dtype.kind == "c":
        noise = noise + 1j * rng.standard_normal((n, width))
    noise /= np.linalg.norm(noise, axis=0)
    if start is not None:
        given = start.reshape(n, -1)[:, :width]
        lengths = np.linalg.norm(given, axis=0)
        given = given[:, lengths > 0] / lengths[lengths > 0]
        noise[:, : given.shape[1]] = given + random_part * noise[:, : given.shape[1]]
    return np.linalg.qr(noise)[0]


def _independent(rows: Array, level: float) -> tuple[Array, Array, Array]:
    """Return orthonormal rows that span the given ones, and the coefficients that express the given rows in them.

    Rows that depend on others, up to an error of ``level``, are left out. The last array is the distance of each of
    the others from the span of the rows before it.
    """
    q, r = np.linalg.qr(rows.T)
    lengths = np.abs(np.diag(r))
    large = lengths > level
    return q.T[large], r[large], lengths[large]


def _value_error(values: Array, residuals: Array, history: list[float]) -> float:
    """Return an estimate of the error of the largest eigenvalue; see the notes of `largest_singular`."""
    gaps = values[0] - values[1:]
    sums = np.cumsum(residuals**2)[:-1]
    bounds = np.divide(sums, gaps, out=np.full(len(gaps), np.inf), where=gaps > 0)
    error = min(float(residuals[0]), float(bounds.min(initial=np.inf)))
    window = max(len(history) // 4, 1)
    growth = history[-1] - history[-1 - window]
    before = history[-1 - window] - history[max(len(history) - 1 - 2 * window, 0)]
    rate = min(growth / before, 0.95) if before > 0 else 0.0
    return max(error, growth * max(rate / (1 - rate), 1.0))


def _evaluated(operator: Any, vector: Array, error: float, expected: float, distance: float, used: int) -> Extreme:
    """Return the value of a vector, its residual and the estimated error, in double precision.

    The error, the expected residual and the distance to other values are those of squares, from the steps. If these
    were taken in single precision, the residual may be larger than expected.
    """
    v = vector.astype(operator.dtype)
    v /= np.linalg.norm(v)
    image = operator @ v
    value = float(np.linalg.norm(image))
    if value == 0:
        return Extreme(0.0, 0.0, 0.0, v, used + 1)
    residual = float(np.linalg.norm(operator.H @ (image / value) - value * v))
    of_vector = 0.0
    if residual * value > 2 * expected:
        of_vector = residual * min(1.0, 2 * value * residual / distance) if distance > 0 else residual
    rounding = 8 * float(np.finfo(operator.dtype).eps) * value
    return Extreme(value, max(min(error / (2 * value), residual), of_vector, rounding), residual, v, used + 2)


# --- a start from the symbol -----------------------------------------------------------------------------------------


def symbol_start(layer: WeightedLayer) -> Array | None:
    """Return a vector near the largest singular vectors of a layer, or None if its kernel is not shared.

    It is a sum of plane waves under a window that is half a sine along each axis. Their frequencies are those of a ring
    at which the symbol is largest, and their channels its largest singular vectors there, by a few power steps.
    """
    geometry = layer.geometry
    if geometry.sharing != "shared" or geometry.connections is not None:
        return None
    shared, axes = geometry.axes, []
    for axis in shared:
        points = min(_START_POINTS, max(axis.n_samples // axis.stride, 1))
        axes.append(ring_transform(axis, points * axis.stride))
    groups, outputs, inputs = layer.channels
    size = groups * outputs * inputs * math.prod(a.n_frequencies * a.input_phases for a in axes)
    if size > _MOST_START_ENTRIES:
        return None
    blocks = layer_blocks(layer, axes)
    stack = replace(blocks, taps=single_precision(blocks.taps)).counted().astype(np.complex64, copy=False)
    vectors = np.random.default_rng(1).standard_normal((*stack.shape[:2], stack.shape[-1], 1)).astype(np.complex64)
    adjoint, norms = stack.conj().swapaxes(-1, -2), np.ones(stack.shape[:2])
    for _ in range(_START_POWERS):
        vectors = adjoint @ (stack @ vectors)
        norms = np.linalg.norm(vectors[..., 0], axis=-1)
        vectors /= np.maximum(norms, 1e-30)[..., None, None]
    frequencies = np.argwhere(blocks.multiplicity > 0)
    total: Array = np.zeros((groups, inputs, *(axis.n_samples for axis in shared)), dtype=np.complex128)
    for place in np.argsort(-norms, axis=None)[:_WAVES]:
        number, group = np.unravel_index(place, norms.shape)
        wave = vectors[number, group].reshape(inputs, *(a.input_phases for a in axes)).astype(np.complex128)
        for number_of_axis, (axis, ring, f) in enumerate(zip(shared, axes, frequencies[number], strict=True)):
            samples = np.arange(axis.n_samples)
            turns = np.exp(2j * np.pi * f * (samples // axis.stride) / ring.n_frequencies)
            window = turns * np.sin(np.pi * (samples + 1) / (axis.n_samples + 1))
            # The phases of an axis become its samples.
            wave = np.take(wave, samples % axis.stride, axis=1 + number_of_axis)
            wave = wave * window.reshape(-1, *(1,) * (len(axes) - 1 - number_of_axis))
        total[group] += wave
    flat = total.reshape(-1, 1)
    start = flat if layer.weights.dtype.kind == "c" else np.concatenate([flat.real, flat.imag], axis=1)
    if geometry.transposed:  # the wave is an input of the underlying convolution; its image is one of the layer
        return np.asarray(ConvOperator(layer.weights, geometry).T @ start)
    return np.asarray(start)
