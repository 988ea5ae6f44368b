"""Guaranteed bounds on the norm of a layer: from below by Lanczos steps, from above by rings, moduli and pieces."""

from __future__ import annotations

import itertools
import math
import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Unpack

import numpy as np
from scipy import sparse

from convmatrix import options as validate
from convmatrix.arrays import EPSILON
from convmatrix.boundary import SIGNED
from convmatrix.display.tables import facts
from convmatrix.geometry import ConvGeometry
from convmatrix.operator import ConvOperator
from convmatrix.options import LayerOptions, takes_layer_options
from convmatrix.progress import shows_progress
from convmatrix.spectral.axis_transforms import enclosing_rings, extension_norm, most_reads, read_entries, used_taps
from convmatrix.spectral.blocks import (
    WeightedLayer,
    gamma,
    gram_matrices,
    layer_blocks,
    read_layer,
    spread_rounding,
    wide,
)
from convmatrix.spectral.lanczos import layer_norm
from convmatrix.spectral.localisation import localised_bound
from convmatrix.spectral.norm_certificates import partial_ring_bound, refine_bounds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

    from convmatrix.arrays import Array
    from convmatrix.progress import Progress
    from convmatrix.spectral.axis_transforms import AxisTransform

_LITTLE_WORK: Final = 1e8  # multiplications for all singular values of a layer with axes that have no transform
_PRODUCTS: Final = 96  # of the lower bound without a tolerance
_LEAST_PRODUCTS: Final = 16
_CLOSE: Final = 0.01  # relative width at which no closer bound is computed
_MOST_PRODUCT_WORK: Final = 5e10  # multiplications of all products; for larger layers, fewer steps are taken
_UNSHARED_WORK: Final = 3e10  # the same for unshared layers, whose products are slow, and which no ring contains
_MOST_BLOCK: Final = 2048  # maximum number of rows or columns of blocks whose largest singular value is computed
_LARGE: Final = 64  # rows or columns of matrices that are decomposed by their Gram matrices
_MOST_WORK: Final = 1e10  # multiplications for the blocks of a ring, beyond which fewer points of its symbol are used
_LEAST_GRAM: Final = 8  # rows or columns of blocks whose Gram matrices are computed from their shifts
_LEAST_GRID: Final = 8  # points of the symbol per shift, which bound it up to 7% per axis
_PERRON_STEPS: Final = 6
_SHORT_RING: Final = 10  # frequencies of rings whose norms are rarely within 1% of the norm of a part, with stride 1


class NormBounds(NamedTuple):
    """Lower and upper bound on a norm: a tuple of two floats that a notebook shows with their distance.

    Examples
    --------
    >>> bounds = NormBounds(2.0, 2.5)
    >>> bounds, bounds.upper
    ((2.0, 2.5), 2.5)
    """

    lower: float
    upper: float

    def __repr__(self) -> str:
        return repr(tuple(self))

    def _repr_html_(self) -> str:
        values = {"lower": f"{self.lower:.12g}", "upper": f"{self.upper:.12g}"}
        if self.lower > 0:
            values["relative width"] = f"{self.upper / self.lower - 1:.2g}"
        return facts("Bounds on the norm, guaranteed", values).to_html()


@takes_layer_options()
@shows_progress("norm bounds")
def norm_bounds(
    kernel: ArrayLike,
    input_shape: int | Sequence[int] | ConvGeometry,
    *,
    tol: float | None = None,
    progress: Progress = None,
    **layer: Unpack[LayerOptions],
) -> NormBounds:
    r"""Return guaranteed lower and upper bounds on the spectral norm of a layer's matrix.

    Without ``tol``, no sparse matrix is formed, and the cost is bounded: a few dozen products with the layer, a few
    transforms of its kernel, and factorisations of at most :math:`2 \cdot 10^{11}` multiplications.

    Parameters
    ----------
    kernel, input_shape, **layer
        As for `singular_values`; any layer that `ConvGeometry` allows.
    tol : float, optional
        Refine the bounds until ``upper - lower <= tol * lower``. The upper bound is then proved by a Cholesky
        factorisation, of blocks or of a band matrix, whose cost grows with the layer.
    progress : bool or callable, optional
        As for `convmatrix.progress.reporting`.

    Returns
    -------
    (lower, upper) : NormBounds
        A tuple of floats: ``lower <= norm <= upper``. Both are 0 if the matrix is zero.

    Raises
    ------
    ValueError
        If ``tol`` is not positive or cannot be met; the message gives the width that was reached, and the obstacle to a
        smaller one.

    Notes
    -----
    *From below.* :math:`\|A v\| / \|v\| \le \|A\|` for every v; v comes from a few Lanczos steps. The computed quotient
    is reduced by a bound on the rounding error of the product, :math:`\gamma \, \| |A| \|`.

    *From above.* The smallest of the following bounds is returned, each rounded up:

    1. Rings. On every axis the layer is A = R C E. E extends the input to all positions that the kernel reads: it
       repeats samples, each at most q times, so that :math:`E^T E` is diagonal and :math:`\|E\| = \sqrt q`. (The signs
       of an antisymmetric boundary change nothing in this; for an antireflective one, which adds up to three samples
       with coefficients, :math:`q \ge \|E\|^2` is a bound on the norm of :math:`|E|^T |E|`, as in 3.) C is a
       correlation on a ring so long that no two positions read coincide, and R selects outputs from it, each at most
       once, so :math:`\|R\| \le 1`. A zero boundary repeats nothing (q = 1) and reads zeros wherever the ring is zero,
       so its ring need only be as long as the input and the *larger* of the two paddings, which may share the same
       zeros. On a circular axis whose length n is not divisible by the stride, the ring is the axis itself with stride
       g = gcd(stride, n), and every output stands for at most :math:`\lceil m g / n \rceil` of the m outputs. Axes are
       independent, so norms multiply, and C is a layer on rings, whose norm is the largest norm of its blocks
       (`singular_values`). Rings, and symmetric axes with symmetric kernels, are treated exactly; if all axes are of
       this kind, both bounds equal the norm up to rounding. If a ring of n samples would be too much work, its symbol
       is evaluated at N < n points: with s shifts, the norm is at most :math:`(1 - (s - 1) / N)^{-1/2}` times the
       largest one at these points, on each such axis. Indeed :math:`p = u^H B v` is a trigonometric polynomial of s
       successive frequencies, which a sum over the N points reproduces, :math:`p(\omega) = \frac1N \sum_j p(\omega_j)
       V(\omega - \omega_j)`, with :math:`V = D_L D_{s + L - 1} / L` up to a phase, where D_m is the sum of m successive
       waves and L = N - s + 1: V has the coefficient 1 at those s frequencies and 0 at their aliases. By the
       Cauchy-Schwarz inequality, :math:`\frac1N \sum_j |V(\omega - \omega_j)| \le \sqrt{L (s + L - 1)} / L = \sqrt{N /
       L}`, which is the factor. See also Pfister and Bresler, Bounding multivariate trigonometric polynomials ...,
       arXiv:1802.09588, 2018.
    2. Unfolding. A = (W x I) U with the kernel as a matrix W, one row per output channel, and U that copies samples:
       :math:`\|U\|^2` is the largest number of reads of one sample, and for an antireflective boundary at most the
       largest row sum of :math:`|U|^T |U|`. The same holds with one column per input channel, with sums in place of
       copies.
    3. Moduli. :math:`\|A\| \le \| |A| \|`, and for every positive x, :math:`\| |A| \|^2 \le \max_j (|A|^T |A| x)_j /
       x_j` (Collatz, Wielandt). For kernels of one sign this bound is tight, for every boundary whose coefficients
       are not negative; otherwise the moduli of weights and of coefficients take the place of A.
    4. Parts of rings. The largest singular vectors of a ring are waves around all of it, of which a short layer with
       zeros around uses a part. The norms of these parts, and of what is left of the ring without them, bound the
       layer's. The derivation is in `convmatrix.spectral.norm_certificates`.
    5. Pieces. On an axis whose boundary repeats or combines samples, smooth windows cut the layer into the ends and a
       middle that repeats nothing; what the windows do not commute with is of the order of :math:`(\pi / L)^2` for
       ramps of L samples. Pieces with dense axes, and whole axes where that is affordable, are proved by a block
       Cholesky factorisation. The derivation is in `convmatrix.spectral.localisation`.

    They are computed in this order, until one is within 1% of the lower bound; the rings come after their parts if all
    of them have at most 10 frequencies and the stride is 1. A layer of at most :math:`10^8` multiplications is
    decomposed.

    *With tol.* The lower bound is refined by restarted Lanczos steps; the upper bound is proved by a factorisation
    :math:`\mu^2 I - A A^H = L L^H`, which exists only if :math:`\|A\| \le \mu`, with a shift that covers its rounding
    errors (Rump, Verification of positive definiteness, BIT 46, 2006).

    Examples
    --------
    The norm of the circular layer is not a bound for the zero-padded one:

    >>> lower, upper = norm_bounds([1, -2, 1], 3, padding="same")
    >>> lower <= 2 + 2**0.5 <= upper
    True
    >>> from convmatrix.spectral import singular_values
    >>> singular_values([1, -2, 1], 3, padding="same", boundary="circular").round(4)
    array([3., 3., 0.])
    >>> lower, upper = norm_bounds([1, -2, 1], 3, padding="same", tol=1e-6)
    >>> (upper - lower) / lower <= 1e-6
    True
    """
    if tol is not None and not validate.real("tol", tol) > 0:
        raise ValueError(f"tol={tol!r} must be positive: it is the relative width of the interval")
    given = read_layer(kernel, input_shape, **layer)
    geometry = given.geometry
    weights = np.where(_used_weights(geometry), given.weights, 0)  # unused large weights would cost precision
    if not weights.any():
        return NormBounds(0.0, 0.0)
    scaled, scale = WeightedLayer(geometry, weights).scaled()
    exact = exact_bounds(scaled)
    if exact is not None and (tol is None or exact[1] - exact[0] <= tol * exact[0]):
        lower, upper = exact[0] * (1 - 2 * EPSILON), exact[1]
    else:
        lower = lower_bound(scaled, 1e-3, _PRODUCTS)
        upper = upper_bound(scaled, lower)
        if upper == 0:
            return NormBounds(0.0, 0.0)
        if tol is not None and upper - lower > tol * lower:
            lower, upper = refine_bounds(scaled, partial(lower_bound, scaled), tol, (lower, upper), scale)
    lower, upper = min(lower * scale, sys.float_info.max), upper * scale * (1 + 2 * EPSILON)
    if upper < 4 * sys.float_info.min:  # products of subnormal numbers have large relative errors
        lower, upper = math.nextafter(lower, 0.0), math.nextafter(upper, math.inf)
    return NormBounds(lower, upper)


def _used_weights(geometry: ConvGeometry) -> NDArray[np.bool_]:
    """Return which weights read any sample, in a shape that broadcasts with the weights."""
    n = len(geometry.kernel_shape)
    mask = np.ones((1,) * (2 * n), dtype=bool)  # (*tile, *kernel)
    for number, axis in enumerate(geometry.axes):
        used = used_taps(axis)
        shape = [1] * (2 * n)
        shape[number], shape[n + number] = used.shape
        mask = mask & used.reshape(shape)
    tile = geometry.tile if geometry.sharing != "shared" else ()
    channels = len(geometry.weight_shape) - n - len(tile)
    return mask.reshape(*tile, *(1,) * channels, *geometry.kernel_shape)


# --- from below ------------------------------------------------------------------------------------------------------


def lower_bound(layer: WeightedLayer, tolerance: float, products: int) -> float:
    """Return a lower bound on the norm of a layer, from Lanczos steps that end at a tolerance of the value."""
    step = 2.0 * math.prod(layer.geometry.output_shape) * layer.geometry.n_weights
    most = max(min(products, int(_MOST_PRODUCT_WORK / step)), _LEAST_PRODUCTS)
    found = layer_norm(layer, tolerance, products=most)
    size = layer.geometry.n_in + layer.geometry.n_out
    return max(found.value * (1 - (4 * math.sqrt(size) + 16) * EPSILON) - _product_rounding(layer), 0.0)


def _product_rounding(layer: WeightedLayer) -> float:
    """Return a bound on the norm of the error of a product, for a vector of norm one."""
    geometry = layer.geometry
    terms = math.prod(geometry.kernel_shape) * max(geometry.in_channels, geometry.out_channels)
    terms += sum(axis.n_outputs for axis in geometry.axes) if set(geometry.boundary) != {"zero"} else 0
    extended = 1.0
    for axis in geometry.axes:
        if axis.boundary in SIGNED:
            terms += axis.n_outputs * axis.stride + axis.dilation * axis.n_taps  # of one position, over all periods
            extended *= extension_norm(axis)
    sums = np.abs(layer.grouped).sum(axis=tuple(range(-len(geometry.kernel_shape), 0)))
    frobenius = float(np.sqrt((sums**2).sum(axis=(-2, -1)).max()))
    points = math.prod(geometry.input_shape) + math.prod(geometry.output_shape) + math.prod(geometry.kernel_shape)
    transforms = 16 * (math.log2(points) + 2) * frobenius * len(geometry.axes) * extended
    return EPSILON * (2 * terms * layer.schur_number + transforms)


# --- from above ------------------------------------------------------------------------------------------------------


def exact_bounds(layer: WeightedLayer) -> tuple[float, float] | None:
    """Return bounds that differ only by rounding, from the blocks of the layer; None if they are too much work."""
    most = _LITTLE_WORK if layer.geometry.sharing == "shared" else _UNSHARED_WORK
    if "dense" in layer.transform_names and layer.decomposition_work > most:
        return None
    value, error = _ring_norm(layer, layer.transforms(), _MOST_WORK)
    # If the weights cancel, only rounding is left, which cannot be distinguished from zero.
    return (value - error, value + error) if 0 < 2 * error < value < math.inf else None


def upper_bound(layer: WeightedLayer, lower: float) -> float:
    """Return an upper bound on the norm, for weights of modulus at most one.

    Bounds are computed one after another until one is within 1% of the lower bound.
    """
    best = math.inf
    for found in upper_bounds(layer, lower):
        best = min(best, *(value for value in found.values() if math.isfinite(value)), math.inf)
        if best <= lower * (1 + _CLOSE):
            break
    return best


def upper_bounds(layer: WeightedLayer, lower: float) -> Iterator[dict[str, float]]:
    """Yield the bounds by their names, infinite where they do not apply, each kind computed when it is asked for."""
    choices = _enclosing(layer)

    def rings() -> dict[str, float]:
        return {
            f"ring {number}": math.prod(factor for _, factor in choice)
            * ring_bound(layer, [ring for ring, _ in choice])
            for number, choice in enumerate(itertools.product(*choices))
        }

    whole = [each[0][0] for each in choices]
    short = all(ring.n_frequencies <= _SHORT_RING and ring.input_phases == 1 for ring in whole)
    if not short:
        yield rings()
    yield unfold_bounds(layer)
    yield {"moduli": moduli_bound(layer)}
    yield {"partial rings": partial_ring_bound(layer, whole)}
    if short:
        yield rings()
    yield {"pieces": localised_bound(layer, lower, partial(ring_bound, layer))}


def _enclosing(layer: WeightedLayer) -> list[list[tuple[AxisTransform, float]]]:
    """Return the rings that contain each axis, with their factors, or the transform of an axis that has one."""
    names = zip(layer.geometry.axes, layer.transform_names, layer.transforms(), strict=True)
    return [enclosing_rings(axis) if name == "dense" else [(exact, 1.0)] for axis, name, exact in names]


def ring_bound(layer: WeightedLayer, axes: list[AxisTransform]) -> float:
    """Return a bound on the norm of a layer under transforms of its axes: the norm itself unless that is too expensive.

    Otherwise the symbol is evaluated at fewer points, and the bound allows for its growth between them: a trigonometric
    polynomial of s successive frequencies is at most (1 - (s - 1) / N)^(-1/2) times its largest value at N points.
    """
    work = _block_work(layer, axes) * math.prod(axis.n_frequencies for axis in axes)
    factor = 1.0
    if work > _MOST_WORK:
        long = [axis.name == "fourier" and axis.n_frequencies > _LEAST_GRID * axis.n_shifts for axis in axes]
        share = (_MOST_WORK / work) ** (1 / max(sum(long), 1))
        for number, axis in enumerate(axes):
            if long[number]:
                points = max(_LEAST_GRID * axis.n_shifts, math.ceil(share * axis.n_frequencies))
                factor /= math.sqrt(1 - (axis.n_shifts - 1) / points)
                axes = [*axes[:number], replace(axis, n_frequencies=points), *axes[number + 1 :]]
    value, error = _ring_norm(layer, axes, math.inf, to_rounding=False)
    return (value + error) * factor * (1 + 8 * EPSILON * len(axes))


def _block_work(layer: WeightedLayer, axes: list[AxisTransform]) -> float:
    """Return the approximate number of multiplications for the norm of the blocks of one frequency."""
    small, large = sorted(map(float, layer.block_shape(axes)))
    return layer.channels[0] * small * small * (large + small)  # a Gram matrix, a factorisation and some powers


def _ring_norm(
    layer: WeightedLayer, axes: list[AxisTransform], most_work: float, *, to_rounding: bool = True
) -> tuple[float, float]:
    """Return the norm of a layer under transforms of its axes, and a bound on the error; infinity if too expensive.

    Unless it is wanted up to the rounding of the blocks, their Gram matrices may take their place.
    """
    rows, columns = layer.block_shape(axes)
    if min(rows, columns) > _MOST_BLOCK or rows * columns * math.prod(axis.n_shifts for axis in axes) > 2**27:
        return math.inf, 0.0
    if _block_work(layer, axes) * math.prod(axis.n_frequencies for axis in axes) > most_work:
        return math.inf, 0.0
    blocks = layer_blocks(layer, axes)
    decomposition = 64 * (rows + columns) * EPSILON  # of a backward stable singular value decomposition
    n_shifts, on_rings = math.prod(axis.n_shifts for axis in axes), all(axis.name == "fourier" for axis in axes)
    quicker = on_rings and min(rows, columns) >= _LEAST_GRAM and n_shifts**2 <= 4 * math.prod(blocks.shape)
    value, of_gram = blocks.gram_norm() if quicker and not to_rounding else (blocks.norm(), 0.0)
    return value, value * decomposition + blocks.rounding() + of_gram + spread_rounding(layer, axes) + 1e-300


def unfold_bounds(layer: WeightedLayer) -> dict[str, float]:
    """Return the bounds from the kernel as a matrix: (outputs) x (inputs, taps), and (outputs, taps) x (inputs)."""
    geometry, grouped = layer.geometry, layer.grouped
    stack = grouped.reshape(-1, *grouped.shape[len(geometry.kernel_shape) + 1 :])
    n_kernels, outputs, inputs = stack.shape[:3]  # (tiles * groups, outputs, inputs, *kernel)
    wide = stack.reshape(n_kernels, outputs, -1)
    tall = np.moveaxis(stack, 2, -1).reshape(n_kernels, -1, inputs)
    slack = 1 + 64 * (outputs + inputs + wide.shape[2]) * EPSILON
    reads = [most_reads(axis) for axis in geometry.axes]
    bounds = {"unfold": _largest_of(wide) * math.sqrt(math.prod(total for total, _ in reads)) * slack}
    if math.prod(geometry.tile) == 1:
        by_tap = math.prod(geometry.kernel_shape) * math.prod(single for _, single in reads)
        bounds["fold"] = _largest_of(tall) * math.sqrt(by_tap) * slack
    return bounds


def _largest_of(stack: Array) -> float:
    """Return the largest singular value of a stack, up to rounding; of large matrices a bound from Gram matrices."""
    if min(stack.shape[-2:]) > _MOST_BLOCK:
        return math.inf
    if min(stack.shape[-2:]) < _LARGE:
        return float(np.linalg.svd(stack, compute_uv=False).max())
    small = wide(stack)
    gram = gram_matrices(small)
    traces = np.trace(gram, axis1=-2, axis2=-1).real  # at least the norms of |B| |B|^T, apart from rounding
    return float(np.sqrt(np.linalg.eigvalsh(gram)[:, -1] + traces * 4 * gamma(small.shape[-1] + 2)).max())


def moduli_bound(layer: WeightedLayer) -> float:
    """Return an upper bound on the norm of the layer whose weights are the moduli, which bounds the layer's own."""
    geometry = layer.geometry
    size, gram = _moduli_gram(layer)
    x = np.ones(size)
    best = math.inf
    for _ in range(_PERRON_STEPS):
        positive = x > 0
        image = gram(x)
        best = min(best, float((image[positive] / x[positive]).max(initial=0.0)))
        largest = float(image.max(initial=0.0))
        if largest == 0 or best == 0:
            break
        x = image / largest
        if x[x > 0].min() < 1e-100:
            break
    products = math.prod(geometry.kernel_shape) * (geometry.in_channels + geometry.out_channels)
    repeats = sum(axis.n_outputs * axis.stride + axis.dilation * axis.n_taps for axis in geometry.axes)
    return float(math.sqrt(best) * (1 + 4 * (products + repeats + 16) * EPSILON))


def _moduli_gram(layer: WeightedLayer) -> tuple[int, Callable[[Array], Array]]:
    """Return the products with |A|^T |A| for the moduli of weights, and of coefficients, and the size of their vectors.

    The coefficients of a signed boundary may be negative, which the layer with the moduli of weights would not change.
    Hence the valid layer on the input extended by moduli, for the convolution of which a layer may be the transpose.
    """
    geometry = layer.geometry
    if not set(geometry.boundary) & set(SIGNED):
        operator: Any = ConvOperator(np.abs(layer.weights), geometry, method="direct")
        return geometry.n_in, lambda x: operator.T @ (operator @ x)
    extensions = []
    for axis in geometry.axes:
        length = axis.reach(axis.n_outputs)
        found = read_entries(replace(axis, n_outputs=length, n_taps=1, stride=1, dilation=1, flip=False, tile=1))
        entries = np.abs(found.coefficients), (found.outputs, found.samples)
        extensions.append(sparse.csr_array(entries, shape=(length, axis.n_samples)))
    groups, outputs, inputs = layer.channels
    valid = ConvGeometry(
        [matrix.shape[0] for matrix in extensions],
        geometry.kernel_shape,
        in_channels=groups * inputs,
        out_channels=groups * outputs,
        groups=groups,
        stride=geometry.stride,
        dilation=geometry.dilation,
        sharing="shared" if max(geometry.tile) == 1 else geometry.tile,
    )
    inner: Any = ConvOperator(np.abs(layer.grouped).reshape(valid.weight_shape), valid, method="direct")
    sizes = [matrix.shape[1] for matrix in extensions]

    def gram(x: Array) -> Array:
        array = x.reshape(groups * inputs, *sizes)
        for number, matrix in enumerate(extensions, start=1):
            array = _applied(matrix, array, number)
        array = (inner.T @ (inner @ array.ravel())).reshape(array.shape)
        for number, matrix in enumerate(extensions, start=1):
            array = _applied(matrix.T.tocsr(), array, number)
        return array.ravel()

    return groups * inputs * math.prod(sizes), gram


def _applied(matrix: Any, array: Array, axis: int) -> Array:
    """Return the product of a sparse matrix with an array along one of its axes."""
    moved = np.moveaxis(array, axis, 0)
    product = (matrix @ moved.reshape(len(moved), -1)).reshape(matrix.shape[0], *moved.shape[1:])
    return np.moveaxis(product, 0, axis)
