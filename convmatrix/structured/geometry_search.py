"""Search for the geometry of the layer that has a given matrix."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy import sparse

from convmatrix import memory
from convmatrix import options as validate
from convmatrix.arrays import scaled_to_one
from convmatrix.boundary import BOUNDARIES, NOTHING, Axis, Boundary, forward_outputs, read_terms
from convmatrix.geometry import ConvGeometry
from convmatrix.structured.kernel_recovery import recover_kernel
from convmatrix.structured.operator_probes import ProbedOperator, is_operator, read_matrix
from convmatrix.structured.recognition import as_csr

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

_MOST_TRIED: Final = 1000
_COMBINATIONS: Final = 4
_COMPARED: Final = 2**18  # terms compared at a time, to bound memory use
_LONG: Final = 32  # outputs of an axis above which the middle row alone is compared first
_LARGEST_DILATION: Final = 3  # of kernels that span more than the largest kernel has taps
_AxisGuess = tuple[Axis, int]  # an axis and its high padding


def find_geometry(
    A: Any,
    input_shape: int | Sequence[int],
    *,
    output_shape: int | Sequence[int] | None = None,
    in_channels: int = 1,
    out_channels: int = 1,
    largest_kernel: int = 11,
    tol: float = 1e-10,
) -> tuple[ConvGeometry, NDArray[Any]]:
    """Return the layer with the fewest taps that has a given matrix, and its kernel.

    Kernel size, stride, dilation, padding and boundary are searched separately for each axis: the slices of the matrix
    along an axis must be linear combinations of the matrices of its taps. Dilations are at most 3 or those of which
    the kernel spans at most ``largest_kernel`` samples, and paddings at most one period. The remaining candidates are
    then compared with the matrix entry by entry, smallest kernels first.

    Parameters
    ----------
    A : sparse or dense matrix, or linear operator
        Rows are (out_channels, *output_shape) in C order, columns (in_channels, *input_shape). An operator is read
        column by column, because its structure is not known.
    input_shape : int or sequence of int
        Spatial shape of the input, which the columns stand for.
    output_shape : int or sequence of int, optional
        Spatial shape of the output, which the rows stand for; by default, all shapes with the right number of rows are
        tried.
    in_channels, out_channels : int
    largest_kernel : int
        Largest number of taps on an axis.
    tol : float
        Largest residual of `recover_kernel`, relative to the norm of the matrix.

    Returns
    -------
    geometry : ConvGeometry
        Several layers can have the same matrix; smaller kernels come first, then zero boundaries, small strides and
        small dilations.
    kernel : array, shape ``geometry.weight_shape``

    Raises
    ------
    ValueError
        If there is no such layer; the message gives the smallest residual found.

    Examples
    --------
    >>> import convmatrix as cm
    >>> A = cm.conv_matrix([[1, 2, 3], [4, 5, 6]], (7, 8), stride=(1, 2), padding=[(1, 0), (2, 1)], boundary="reflect")
    >>> find_geometry(A, (7, 8))
    (ConvGeometry((7, 8), (2, 3), stride=(1, 2), padding=((1, 0), (2, 1)), boundary='reflect'),
     array([[[[1., 2., 3.],
              [4., 5., 6.]]]]))

    The matrix of a transposed layer is the transpose of a layer's, so search for that one:

    >>> A = cm.conv_transpose_matrix([1, 2, 3], 6, stride=2)
    >>> find_geometry(A.T, 13)
    (ConvGeometry((13,), (3,), stride=2), array([[[1., 2., 3.]]]))
    """
    matrix = ProbedOperator.of(A) if is_operator(A) else as_csr(A)
    sizes = validate.shape("input_shape", input_shape)
    ins = validate.integer("in_channels", in_channels, minimum=1)
    outs = validate.integer("out_channels", out_channels, minimum=1)
    most = validate.integer("largest_kernel", largest_kernel, minimum=1)
    if matrix.shape[1] != ins * math.prod(sizes):
        raise ValueError(
            f"the matrix has {matrix.shape[1]} columns, but in_channels={ins} of input_shape={sizes} make "
            f"{ins * math.prod(sizes)}; give the sizes of this matrix"
        )
    if output_shape is None:
        shapes = _factorisations(matrix.shape[0], outs, len(sizes))
    else:
        shapes = [validate.shape("output_shape", output_shape)]
    if isinstance(matrix, ProbedOperator):
        matrix = read_matrix(matrix, "the search for a layer needs all entries")
    data, scale = scaled_to_one(matrix.data.astype(np.result_type(matrix.dtype, np.float64)))
    matrix = sparse.csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)
    norm = float(np.linalg.norm(matrix.data))
    nonzero = matrix.data != 0
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))[nonzero]
    columns, values = matrix.indices[nonzero], matrix.data[nonzero]
    candidates: list[ConvGeometry] = []
    for shape in shapes:
        if len(shape) != len(sizes) or outs * math.prod(shape) != matrix.shape[0]:
            raise ValueError(
                f"the matrix has {matrix.shape[0]} rows, but out_channels={outs} of output_shape={shape} make "
                f"{outs * math.prod(shape)}, on {len(shape)} axes of {len(sizes)}; give the sizes of this matrix"
            )
        slices = _axis_slices(rows, columns, values, (outs, *shape), (ins, *sizes))
        guesses = [_axis_guesses(slices[axis], most, 4 * tol * norm) for axis in range(len(sizes))]
        candidates += [_geometry(guess, sizes, ins, outs) for guess in _by_size(guesses)]
    candidates.sort(key=_preference)
    smallest, tried = math.inf, 0
    for geometry in candidates[:_MOST_TRIED]:
        kernel, residual = recover_kernel(matrix, geometry)
        smallest, tried = min(smallest, residual), tried + 1
        if residual <= tol * norm:
            return geometry, kernel * scale
    result = (
        f"the smallest residual of {tried} candidates is {smallest * scale:.3g}" if tried else "no rule of an axis fits"
    )
    raise ValueError(
        f"the matrix does not belong to a layer with kernels of at most {most} taps per axis, within tol={tol:g} of "
        f"its norm {norm * scale:.3g}: {result}; raise largest_kernel or tol, or give other sizes"
    )


def _factorisations(n_rows: int, outs: int, n_axes: int) -> list[tuple[int, ...]]:
    """Return all output shapes that fit the number of rows, beginning with the most nearly equal sizes."""
    if n_rows % outs:
        raise ValueError(f"the matrix has {n_rows} rows, which out_channels={outs} does not divide")

    def split(number: int, parts: int) -> Iterator[tuple[int, ...]]:
        if parts == 1:
            yield (number,)
            return
        for size in range(1, number + 1):
            if number % size == 0:
                for rest in split(number // size, parts - 1):
                    yield (size, *rest)

    return sorted(split(n_rows // outs, n_axes), key=lambda shape: max(shape) / min(shape))


def _axis_slices(
    rows: NDArray[Any], columns: NDArray[Any], values: NDArray[Any], outputs: tuple[int, ...], inputs: tuple[int, ...]
) -> list[NDArray[Any]]:
    """Return random combinations of the matrix's slices along each axis, shape (combinations, outputs, samples).

    A slice, at fixed positions on the other axes, is a linear combination of the matrices of the axis's taps, and
    so are combinations of slices. The converse holds with probability one.
    """
    rng = np.random.default_rng(0)
    row_indices, column_indices = np.unravel_index(rows, outputs), np.unravel_index(columns, inputs)
    factors = [
        [rng.standard_normal((_COMBINATIONS, size)) for size in sides] for sides in (outputs, inputs)
    ]  # one factor for each position on each axis, channels first
    slices = []
    for axis in range(1, len(outputs)):
        memory.require(
            8 * _COMBINATIONS * outputs[axis] * inputs[axis],
            f"the slices of the matrix along axis {axis - 1}, {outputs[axis]} x {inputs[axis]}",
            "use recover_kernel with a geometry, or a smaller matrix",
        )
        weighted = np.broadcast_to(values, (_COMBINATIONS, len(values)))
        for indices, sides in zip((row_indices, column_indices), factors, strict=True):
            for other in range(len(outputs)):
                if other != axis:
                    weighted = weighted * sides[other][:, indices[other]]
        combined = np.zeros((_COMBINATIONS, outputs[axis], inputs[axis]), dtype=weighted.dtype)
        for combination, weights in zip(combined, weighted, strict=True):
            np.add.at(combination, (row_indices[axis], column_indices[axis]), weights)
        slices.append(combined)
    return slices


def _axis_guesses(slices: NDArray[Any], most: int, level: float) -> list[_AxisGuess]:
    """Return the guesses with the fewest taps that explain the slices along an axis.

    If there is none, the guess with the smallest misfit is returned. A matrix whose slices are combinations on every
    axis is one of products of the axes, so guesses of different axes can be combined.
    """
    n_slices, n_outputs, n_samples = slices.shape
    guesses: list[_AxisGuess] = []
    least, nearest = math.inf, guesses
    read = np.abs(slices).max(axis=0, initial=0) > level * math.sqrt(n_slices)  # by every guess that fits
    places = np.flatnonzero((slices != 0).any(axis=0))
    steps = range(1, n_samples + 1 if n_outputs > 1 else 2), range(1, max(most, _LARGEST_DILATION + 1))
    longest = max(int(read.sum(axis=1).max(initial=0)), 1)  # entries of a row, of which an antireflected tap adds three
    for taps in range(-(-longest // 3), most + 1):
        suitable = BOUNDARIES if taps >= longest else ("antireflect",)
        for stride, dilation in itertools.product(*steps):
            span = dilation * (taps - 1) + 1
            if (dilation > _LARGEST_DILATION and span > most) or (taps == 1 and dilation > 1):
                continue
            axis = Axis(n_outputs, n_samples, taps, stride, dilation)
            for boundary, low, high, bound in _paddings(slices, axis, suitable, span, level if guesses else least):
                if bound > (level if guesses else least):
                    continue
                guess = replace(axis, pad_low=low, boundary=boundary), high
                misfit = _misfit(slices, places, guess[0])
                if misfit <= level:
                    guesses.append(guess)
                elif misfit < least:
                    least, nearest = misfit, [guess]
        if guesses:
            break
    guesses = guesses or nearest
    return sorted(guesses, key=lambda g: (g[0].dilation, g[0].stride, g[0].pad_low + g[1]))[:60]


def _paddings(
    slices: NDArray[Any], axis: Axis, boundaries: Sequence[Boundary], span: int, enough: float
) -> Iterator[tuple[Boundary, int, int, float]]:
    """Yield each boundary with each low padding, the least high padding that fits, and a lower bound of the misfit.

    Without padding, only the first boundary is yielded. On long axes, paddings are left out if the misfit of the middle
    row alone is above ``enough`` with every boundary.
    """
    padded = max(span, axis.n_samples + 1)  # up to a period, and up to what a kernel reads beyond an end
    lows = np.arange(padded)
    highs = np.maximum((axis.n_outputs - 1) * axis.stride + span - axis.n_samples - lows, 0)
    fits = (forward_outputs(axis.n_samples, span, axis.stride, lows, highs) == axis.n_outputs) & (highs < padded)
    if axis.n_outputs > _LONG and fits.any():
        middle = axis.n_outputs // 2
        row = replace(axis, n_outputs=1, pad_low=lows[fits] - middle * axis.stride)
        fits[fits] = ~(_least_misfits(slices[:, [middle]], row, boundaries) > enough).all(axis=1)
    if not fits.any():
        return
    lows, highs = lows[fits], highs[fits]
    bounds = _least_misfits(slices, replace(axis, pad_low=lows), boundaries)
    for low, high, row in zip(lows.tolist(), highs.tolist(), bounds.tolist(), strict=True):
        for number in range(len(boundaries) if low > 0 or high > 0 else 1):
            yield boundaries[number], low, high, row[number]


def _least_misfits(slices: NDArray[Any], axis: Axis, boundaries: Sequence[Boundary]) -> NDArray[np.float64]:
    """Return lower bounds of `_misfit` for every low padding in ``axis.pad_low``, shape (paddings, boundaries).

    The normal equations of all guesses are solved together. Their rounding errors are far below the margin of a
    millionth of the squared norm in the bounds, but too large to decide which guesses fit.
    """
    lows: NDArray[np.int64] = axis.pad_low
    step = max(_COMPARED // (len(boundaries) * axis.n_taps * max(axis.n_outputs, axis.n_taps)), 1)
    if len(lows) > step:
        parts = (replace(axis, pad_low=lows[start : start + step]) for start in range(0, len(lows), step))
        return np.concatenate([_least_misfits(slices, part, boundaries) for part in parts])
    n_slices, n_outputs, n_samples = slices.shape
    outputs, taps = np.arange(n_outputs)[:, None], np.arange(axis.n_taps)[:, None, None]
    position = axis.position(outputs, taps)  # (taps, outputs, paddings)
    samples = np.empty((len(taps), n_outputs, len(boundaries), position.shape[2]), dtype=np.intp)
    factors, ends = np.empty(samples.shape), np.zeros((2, *samples.shape))
    for number, boundary in enumerate(boundaries):
        (sample, factor), *others = read_terms(position, n_samples, boundary)
        samples[:, :, number], factors[:, :, number] = sample, factor
        for end, (_, coefficient) in zip(ends, others, strict=False):  # other terms are the first and last samples
            end[:, :, number] = coefficient
    for end, sample in zip(ends, (0, n_samples - 1), strict=True):
        here = samples == sample
        end += factors * here
        factors[here] = 0
    factors[samples == NOTHING] = 0
    moments = np.einsum("etoam,soe->amts", ends, slices[:, :, [0, -1]])
    flat = slices.reshape(n_slices, -1).take(samples + n_samples * outputs[:, :, None], axis=1, mode="clip")
    moments += (flat * factors).sum(axis=2).transpose(2, 3, 1, 0)  # (boundaries, paddings, taps, slices)
    products = [((samples == samples[t]) * factors * factors[t]).sum(axis=1) for t in range(len(taps))]
    gram = np.array(products).transpose(2, 3, 0, 1)
    by_tap = ends.transpose(3, 4, 1, 0, 2).reshape(*moments.shape[:3], 2 * n_outputs)
    gram = gram + by_tap @ by_tap.swapaxes(2, 3)
    ridge = 1e-12 * np.trace(gram, axis1=2, axis2=3).clip(min=1.0)[..., None, None] * np.eye(len(taps))
    explained = (moments.conj() * np.linalg.solve(gram + ridge, moments)).real.sum(axis=(2, 3))
    return np.asarray(np.sqrt(np.maximum(np.linalg.norm(slices) ** 2 * (1 - 1e-6) - explained, 0) / n_slices)).T


def _misfit(slices: NDArray[Any], places: NDArray[np.int64], axis: Axis) -> float:
    """Return the distance of slices from combinations of the matrices of taps.

    ``places`` are those of the entries of a slice, as a vector, that are not zero in all slices.
    """
    n_slices, n_outputs, n_samples = slices.shape
    outputs, taps, samples, factors = axis.entries(np.arange(n_outputs), np.arange(axis.n_taps))
    inside, entries = np.unique(outputs * n_samples + samples, return_inverse=True)
    flat = slices.reshape(n_slices, -1)
    outside = places[~np.isin(places, inside, assume_unique=True)]
    missed = float(np.linalg.norm(flat[:, outside])) / math.sqrt(n_slices)
    read = np.zeros((len(inside), axis.n_taps))
    np.add.at(read, (entries, taps), factors)
    right = flat[:, inside].T  # (entries read, slices)
    solution = np.linalg.lstsq(read.astype(right.dtype), right)[0]
    return math.hypot(missed, float(np.linalg.norm(right - read @ solution)) / math.sqrt(n_slices))


def _by_size(axes: list[list[_AxisGuess]]) -> list[tuple[_AxisGuess, ...]]:
    """Return the combinations of guesses for all axes that have the fewest taps."""
    combinations = itertools.islice(itertools.product(*axes), 200_000)
    return sorted(combinations, key=lambda guesses: math.prod(axis.n_taps for axis, _ in guesses))[:_MOST_TRIED]


def _preference(geometry: ConvGeometry) -> tuple[int, int, list[int], int]:
    """Return a sort key that puts first: fewer taps, fewer different boundaries, the zero boundary, smaller strides."""
    return (
        math.prod(geometry.kernel_shape),
        len(set(geometry.boundary)),
        [BOUNDARIES.index(boundary) for boundary in geometry.boundary],
        sum(geometry.stride) + sum(geometry.dilation),
    )


def _geometry(guesses: tuple[_AxisGuess, ...], sizes: tuple[int, ...], ins: int, outs: int) -> ConvGeometry:
    axes = [axis for axis, _ in guesses]
    return ConvGeometry(
        sizes,
        [axis.n_taps for axis in axes],
        in_channels=ins,
        out_channels=outs,
        stride=[axis.stride for axis in axes],
        dilation=[axis.dilation for axis in axes],
        padding=[(axis.pad_low, high) for axis, high in guesses],
        boundary=[axis.boundary for axis in axes],
    )
