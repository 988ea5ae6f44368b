r"""The layer nearest to a given one among those with the same support whose norm is within a bound.

With A(w) the matrix of the weights w, the problem is :math:`\min_w \tfrac12 \|w - w_0\|^2` with
:math:`\|A(w)\| \le b`. Its dual is

.. math:: \max_Y \; \tfrac12 \|w_0\|^2 - \tfrac12 \|w_0 - A^* Y\|^2 - b \, \|Y\|_*

with the nuclear norm, the sum of singular values, and :math:`w = w_0 - A^* Y`. Both are solved at the same time in the
bases that make A(w) block-diagonal; each step reduces singular values block by block.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal, Unpack, overload

import numpy as np

from convmatrix import options as validate
from convmatrix.arrays import EPSILON
from convmatrix.options import LayerOptions, as_array, takes_layer_options
from convmatrix.progress import report_step, reporting
from convmatrix.spectral.axis_transforms import enclosing_rings
from convmatrix.spectral.block_maps import BlockMap
from convmatrix.spectral.blocks import (
    WeightedLayer,
    gram_bounds,
    largest_singular_value,
    n_pieces,
    on_cores,
    read_layer,
)
from convmatrix.spectral.bounds import norm_bounds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from convmatrix.arrays import Array
    from convmatrix.geometry import ConvGeometry
    from convmatrix.progress import Progress

    Shape = int | Sequence[int] | ConvGeometry

_MOST_WORK: Final = 2e9  # multiplications of a step, beyond which rings with fewer points stand for the axes
_MOST_ENTRIES: Final = 3e7  # entries of all blocks
_MOST_STEPS: Final = 3000
_DEFAULT_TOL: Final = 0.05
_DEFAULT_WORK: Final = 2e10, 3e9  # multiplications of all steps without tol: for the layer itself, and for rings
_CHECKED: Final = 10  # steps between computations of the gap
_RELAXATION: Final = 1.7
_NORM_TOL: Final = 1e-6
_LOOSE: Final = 1.02  # ratio of upper and lower bound beyond which a norm is refined, although that takes long


@overload
def project_norm(
    kernel: ArrayLike,
    input_shape: Shape,
    *,
    bound: float,
    tol: float | None = None,
    with_distances: Literal[False] = False,
    progress: Progress = None,
    **layer: Unpack[LayerOptions],
) -> Array: ...
@overload
def project_norm(
    kernel: ArrayLike,
    input_shape: Shape,
    *,
    bound: float,
    tol: float | None = None,
    with_distances: Literal[True],
    progress: Progress = None,
    **layer: Unpack[LayerOptions],
) -> tuple[Array, tuple[float, float]]: ...
@takes_layer_options()
def project_norm(
    kernel: ArrayLike,
    input_shape: Shape,
    *,
    bound: float,
    tol: float | None = None,
    with_distances: bool = False,
    progress: Progress = None,
    **layer: Unpack[LayerOptions],
) -> Array | tuple[Array, tuple[float, float]]:
    r"""Return the nearest kernel of the same support whose layer has a norm of at most a bound.

    Clipping the singular values of a circular layer gives a kernel as large as the image; cropped to k x k, its
    norm exceeds the bound again. This is the projection onto the kernels that are k x k *and* within the bound, a
    convex set, for the boundary, the strides and the groups of the layer.

    Parameters
    ----------
    kernel, input_shape, **layer
        As for `singular_values`; any layer that `ConvGeometry` allows.
    bound : float
        The largest spectral norm allowed.
    tol : float, optional
        The steps end when the kernel is proved to be within ``tol`` times its distance from the given one of the
        nearest kernel, or after 3000 steps. By default ``tol`` is 0.05 (a distance at most 0.13% above the smallest),
        and large layers end earlier, after some seconds; the bound on the norm is kept in any case.
    with_distances : bool
        Return bounds on the distance as well.
    progress : bool or callable, optional
        As for `convmatrix.progress.reporting`; a callable is called after every tenth step, with the
        maximum number of steps.

    Returns
    -------
    kernel : array
        Of the given shape and dtype (integers become float64); the given kernel itself if it is within the bound. Its
        norm is proved to be within the bound: ``norm_bounds(kernel, ..., tol=1e-6)[1] <= bound``, or
        ``norm_bounds(kernel, ...)[1] <= bound`` if rings stand for the layer (see the notes) and the bounds are close,
        or it is too large for a tolerance.
    (lower, upper) : (float, float)
        If ``with_distances``: no kernel within the bound is nearer than ``lower``, and the returned one has the
        distance ``upper``. Distances are Frobenius norms of differences of kernels. On circular axes these are
        proportional to those of matrices.

    Raises
    ------
    ValueError
        If the bound or ``tol`` is out of range.
    TypeError
        If the kernel is boolean or of half precision; convert it to float32, for instance.

    Notes
    -----
    Layers whose singular values can be computed in parts are treated as they are: circular ones, and those of any
    boundary on small images. The projection is then the nearest kernel, up to ``tol``. For a larger layer, an axis
    that is not a ring is replaced by the ring that contains it (see `norm_bounds`), and a long ring by a shorter one;
    the result is scaled until its own norm is proved to be within the bound. The norms of the two differ by little on
    large images with zero boundary, so the kernel is close to the nearest one, but this is not proved: ``lower`` is 0.

    Examples
    --------
    >>> kernel = project_norm([1.0, -2.0, 1.0], 16, bound=2.0, tol=1e-4, padding="same", boundary="circular")
    >>> kernel.round(2)
    array([ 0.33, -1.33,  0.33])
    """
    if not (validate.real("bound", bound) > 0 and math.isfinite(bound)):
        raise ValueError(f"bound={bound!r} must be positive and finite: it is the largest norm allowed")
    if tol is not None and not 0 < validate.real("tol", tol) < 1:
        raise ValueError(f"tol={tol!r} must be between 0 and 1: it is the distance from the nearest kernel, relative")
    given, original = read_layer(kernel, input_shape, **layer), as_array(kernel)
    lowest, norm = norm_bounds(given.weights, given.geometry)
    if lowest <= bound < norm:
        norm = _certified(given.weights, given.geometry, bound)
    if norm <= bound:
        return (original, (0.0, 0.0)) if with_distances else original
    dtype = original.dtype if original.dtype.kind in "fc" else np.dtype(np.float64)
    scale = float(np.abs(given.weights).max())
    scaled = WeightedLayer(given.geometry, given.weights / scale)
    layer_map, exact = _affordable(scaled)
    if norm <= bound * (1 + 1e-9):
        weights, lower = scaled.weights, 0.0  # to be scaled
    else:
        most = _MOST_STEPS
        if tol is None:
            tol, work = _DEFAULT_TOL, _DEFAULT_WORK[0 if exact else 1]
            most = min(max(int(work / layer_map.work), 5 * _CHECKED), most)
        with reporting(progress, "projection"):
            weights, lower = nearest(layer_map, bound / scale, tol, most)
    found = (weights * scale).astype(dtype)
    lowest, norm = norm_bounds(found, given.geometry)
    projected = _shrunk(found, given.geometry, bound, refined=exact or norm > _LOOSE * lowest)
    projected = projected.reshape(original.shape)
    if not with_distances:
        return projected
    distance = float(np.linalg.norm((projected - original).ravel()))
    return projected, (min(lower * scale, distance) if exact else 0.0, distance)


def _certified(weights: Array, geometry: ConvGeometry, bound: float) -> float:
    """Return an upper bound on the norm, refined if that may decide whether it is within the bound."""
    upper = norm_bounds(weights, geometry)[1]
    if upper <= bound:
        return upper
    try:
        return norm_bounds(weights, geometry, tol=_NORM_TOL)[1]
    except ValueError:  # the layer is too large for a proof
        return upper


def _shrunk(weights: Array, geometry: ConvGeometry, bound: float, *, refined: bool) -> Array:
    """Return weights multiplied by the largest factor, up to rounding, for which the norm is proved to be in bounds."""
    unit = float(np.finfo(weights.dtype).eps)
    step = 0.0

    def proved(weights: Array) -> float:
        return _certified(weights, geometry, bound) if refined else norm_bounds(weights, geometry)[1]

    while (norm := proved(weights)) > bound:
        step = 2 * step + unit
        weights = (weights * (bound / norm * (1 - step))).astype(weights.dtype)
    return weights


def _affordable(layer: WeightedLayer) -> tuple[BlockMap, bool]:
    """Return the map to blocks of a layer, and whether it is the layer itself or a similar one on rings."""
    found = BlockMap(layer, tuple(layer.transforms()))
    if found.work <= _MOST_WORK and found.entries <= _MOST_ENTRIES:
        return found, True
    names = zip(layer.geometry.axes, layer.transform_names, found.axes, strict=True)
    axes = [enclosing_rings(axis)[0][0] if name == "dense" else own for axis, name, own in names]
    found = BlockMap(layer, tuple(axes))
    while found.work > _MOST_WORK or found.entries > _MOST_ENTRIES:
        longest = max(range(len(axes)), key=lambda number: axes[number].n_frequencies / axes[number].n_shifts)
        points = axes[longest].n_frequencies
        if points <= 2 * axes[longest].n_shifts:
            break
        axes[longest] = replace(axes[longest], n_frequencies=max(points * 3 // 4, 2 * axes[longest].n_shifts))
        found = BlockMap(layer, tuple(axes))
    return found, axes == layer.transforms()


def nearest(layer_map: BlockMap, bound: float, tol: float, most_steps: int = _MOST_STEPS) -> tuple[Array, float]:
    r"""Return weights whose blocks have norms of at most the bound up to rounding, and a lower bound on their distance.

    The alternating direction method of multipliers (Boyd, Parikh, Chu, Peleato, Eckstein, Foundations and Trends in
    Machine Learning 3(1), 2011), with Z = A(w) within the bound and Y = penalty * U: over-relaxed. The
    steps end when the gap between the distance and its lower bound proves that the weights are within ``tol`` of the
    nearest, relative to the distance.
    """
    start = layer_map.layer.weights
    counts = layer_map.counts[layer_map.counts > 0].repeat(layer_map.layer.channels[0])
    # Found by trial; on axes without a transform, only a few singular values of large blocks reach the bound.
    penalty = (100 if any(axis.name == "dense" for axis in layer_map.axes) else 10) / layer_map.factor
    U, A = np.zeros_like(layer_map.blocks(start)), layer_map.blocks(start)
    Z = A - reduced(A, bound)
    best, upper, lower = start, math.inf, 0.0
    for step in range(1, most_steps + 1):
        weights = layer_map.solve(start + penalty * layer_map.adjoint(Z - U), penalty)
        A = layer_map.blocks(weights)
        relaxed = _RELAXATION * A + (1 - _RELAXATION) * Z + U
        U = reduced(relaxed, bound)
        Z = relaxed - U
        if step % _CHECKED and step < most_steps:
            continue
        report_step(step, most_steps, "at most")
        change = penalty * layer_map.adjoint(U)
        dual = float(np.vdot(change, start).real) - float(np.vdot(change, change).real) / 2
        dual -= bound * penalty * float((nuclear_norms(U) * counts).sum())
        lower = max(lower, math.sqrt(max(2 * dual, 0.0)) * (1 - 1e-9))
        for candidate, blocks in ((weights, A), (start - change, layer_map.blocks(start - change))):
            scaled = candidate * min(1.0, bound / largest_norm(blocks))
            distance = float(np.linalg.norm((scaled - start).ravel()))
            if distance < upper:
                best, upper = scaled, distance
        if upper**2 - lower**2 <= (tol * upper) ** 2:
            break
    return best, lower


def nuclear_norms(matrices: Array) -> Array:
    """Return the sum of the singular values of each matrix in a stack."""
    present = np.abs(matrices).any(axis=(1, 2))
    sums = np.zeros(len(matrices))
    if present.any():
        parts = _on_parts(lambda part: np.linalg.svd(part, compute_uv=False).sum(axis=1), matrices[present])
        sums[present] = np.concatenate(parts)
    return sums


def largest_norm(matrices: Array) -> float:
    """Return the largest singular value of a stack of matrices, rounded up."""
    return largest_singular_value(matrices) * (1 + 64 * sum(matrices.shape[1:]) * EPSILON)


def reduced(matrices: Array, amount: float) -> Array:
    """Return matrices with all singular values reduced by an amount, and at least zero."""

    def reduce(part: Array) -> Array:
        result = np.zeros_like(part)
        above = np.flatnonzero(gram_bounds(part, 2) > amount)
        stack = part[above]
        tall = stack.shape[1] > stack.shape[2]
        small = stack.conj().swapaxes(1, 2) if tall else stack
        squares, vectors = np.linalg.eigh(small @ small.conj().swapaxes(1, 2))
        values = np.sqrt(np.maximum(squares, amount**2))
        shares = 1 - amount / values
        change = (vectors * shares[:, None, :]) @ (vectors.conj().swapaxes(1, 2) @ small)
        result[above] = change.conj().swapaxes(1, 2) if tall else change
        return result

    return np.concatenate(_on_parts(reduce, matrices))


def _on_parts(function: Any, matrices: Array) -> list[Array]:
    return on_cores(function, np.array_split(matrices, n_pieces(matrices)))
