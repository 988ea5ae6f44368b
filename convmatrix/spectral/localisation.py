r"""Upper bounds on the norm of a layer from pieces of its axes, for boundaries that repeat or combine samples.

Windows :math:`\phi_a \ge 0` with :math:`\sum_a \phi_a^2 = 1` cut an axis into a low end, a middle and a high end. With
the windows as diagonal matrices, on the outputs (at the centre of their kernels) and on the samples,

.. math:: A = \sum_a \phi_a A_a \phi_a + \sum_t D_t A^{(t)}, \qquad
          D_t = \mathrm{diag}_i \Bigl( 1 - \sum_a \phi_a(o_i) \phi_a(j_{i t}) \Bigr)

where :math:`A_a` has the rows and columns on which :math:`\phi_a > 0`, and :math:`A^{(t)}` is the part of A that reads
by tap t, the sample :math:`j_{i t}` at output i. By the Cauchy-Schwarz inequality the first sum is at most
:math:`\max_a \|A_a\|`, and the second one at most :math:`\sum_t d_t \|B_t\|`. Here :math:`B_t` is the layer on the
other axes with the weights of tap t, and :math:`d_t^2` the largest sum of squares of D_t over the outputs that read the
same sample. (Where a tap reads several samples with coefficients, :math:`D_t A^{(t)}` has the entries of
:math:`A^{(t)}`, each with its own factor, and :math:`d_t^2` is the largest row sum of the Gram matrix of moduli.) This
is the localisation formula of Ismagilov, Morgan and Simon (Cycon et al., Schroedinger operators, 1987, section 3.1) for
a rectangular matrix. The windows are sines and cosines of an angle that grows over a ramp of L
samples, so that d_t is about :math:`(\pi h / 2 L)^2 / 2` for a tap at distance h from the centre. The middle piece
contains no repeated sample: it is part of a correlation on a ring. Axes are localised independently:
:math:`1 = (c_1 + \gamma_1) (c_2 + \gamma_2)` in place of :math:`1 = c + \gamma`.

The norms of pieces with dense axes are bounded by a block Cholesky factorisation of :math:`\mu^2 I - A A^H`, see
`convmatrix.spectral.norm_certificates`.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy import linalg, sparse

from convmatrix.arrays import EPSILON
from convmatrix.spectral.axis_transforms import (
    AxisTransform,
    dense_part,
    dense_transform,
    enclosing_rings,
    long_ring,
    multiply_along,
    read_entries,
)
from convmatrix.spectral.blocks import gamma, gram_bounds, layer_blocks, on_cores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from convmatrix.arrays import Array
    from convmatrix.boundary import Axis
    from convmatrix.spectral.blocks import WeightedLayer

_MOST_WORK: Final = 2e11  # multiplications of all factorisations of a plan
_LEAST_RAMP: Final = 3
_SMALL_LOSS: Final = 0.05  # about twice the share that is lost; among such plans the quickest is taken
_GROWTH: Final = (0.0, 0.006, 0.015, 0.03, 0.06, 0.12, 0.25, 0.5)
"""Shares above the first guess at which a factorisation is attempted."""
_MOST_GRAM: Final = 700  # rows of a matrix whose norm is bounded by powers of its Gram matrix


Reads = tuple[tuple[int, float], ...]
"""The taps that read a sample, with their coefficients."""


@dataclass(frozen=True, eq=False)
class Piece:
    """A part of an axis: a transform, and whether it is the piece's own matrix."""

    transform: AxisTransform
    is_dense: bool = False


@dataclass(frozen=True, eq=False)
class AxisCut:
    """How an axis is treated: pieces, what each tap adds, and a factor of the norm."""

    pieces: list[Piece]
    added: list[tuple[AxisTransform, float]]
    factor: float = 1.0

    @property
    def loss(self) -> float:
        """Sum of the numbers d_t: the approximate relative loss is about half as large."""
        return sum(size for _, size in self.added) + self.factor - 1


# --- one axis --------------------------------------------------------------------------------------------------------


def ring_cut(axis: Axis) -> AxisCut:
    """Return the ring with the smallest factor that contains an axis."""
    ring, factor = min(enclosing_rings(axis), key=lambda choice: choice[1])
    return AxisCut([Piece(ring)], [], factor)


def whole_cut(axis: Axis) -> AxisCut:
    """Return an axis with its own matrix."""
    return AxisCut([Piece(dense_transform(axis), is_dense=True)], [])


def localised_cut(axis: Axis, ramp: int) -> AxisCut | None:
    """Return the pieces of an axis for windows with ramps of a given length; None if it is too short for them."""
    outputs = np.arange(axis.n_outputs)[:, None]
    taps = np.arange(axis.n_taps)[None, :]
    first = outputs * axis.stride - axis.pad_low
    positions = first + taps * axis.dilation
    centres = first[:, 0] + (axis.span - 1) / 2
    low, high = (positions < 0).any(axis=1), (positions >= axis.n_samples).any(axis=1)
    start = float(centres[low].max()) if low.any() else -math.inf
    stop = float(centres[high].min()) if high.any() else math.inf
    if not start + ramp <= stop - ramp:
        return None

    def windows(places: Array) -> Array:
        rising = np.pi / 2 * np.clip((places - start) / ramp, 0, 1)
        falling = np.pi / 2 * np.clip((stop - places) / ramp, 0, 1)
        low_end, high_end = (np.where(angle < np.pi / 2, np.cos(angle), 0.0) for angle in (rising, falling))
        return np.stack([low_end, np.sin(rising) * np.sin(falling), high_end])

    at_outputs, at_samples = windows(centres), windows(np.arange(axis.n_samples))
    pieces = []
    for number, (of_outputs, of_samples) in enumerate(zip(at_outputs, at_samples, strict=True)):
        kept, columns = np.flatnonzero(of_outputs), np.flatnonzero(of_samples)
        if not len(kept) or not len(columns):
            continue
        if number == 1:
            inside = positions[kept]
            length = max(int(inside.max() - columns.min()), int(columns.max() - inside.min())) + 1
            pieces.append(Piece(long_ring(axis, length, len(kept))))
        else:
            pieces.append(Piece(dense_part(axis, kept, columns), is_dense=True))
    added = []
    for tap in range(axis.n_taps):
        reads = read_entries(axis, tap=tap)
        missing = 1 - (at_outputs[:, reads.outputs] * at_samples[:, reads.samples]).sum(axis=0)
        sums = replace(reads, coefficients=reads.coefficients * missing).column_sums()
        size = math.sqrt(float(sums.max())) * (1 + 1e-12) + 1e-14
        added.append((_tap_selector(axis, tap), size))
    return AxisCut(pieces, [(transform, size) for transform, size in added if size > 2e-14])


def _tap_selector(axis: Axis, tap: int) -> AxisTransform:
    """Return the transform to the weight of one tap."""
    spread = sparse.csr_array(([1.0], ([0], [tap])), shape=(1, axis.n_taps))
    return AxisTransform("dense", 1, 1, 1, 0, 1, spread)


def _all_taps(axis: Axis) -> AxisTransform:
    """Return the transform that leaves all taps as they are."""
    return AxisTransform("dense", 1, 1, 1, 0, axis.n_taps, sparse.csr_array(np.eye(axis.n_taps)))


# --- all axes --------------------------------------------------------------------------------------------------------


def localised_bound(layer: WeightedLayer, guess: float, ring_norm: Callable[[list[AxisTransform]], float]) -> float:
    """Return an upper bound on the norm of a layer from pieces of its axes; infinity if none is affordable.

    ``guess`` is a lower bound on the norm; pieces are first shown to be below a slightly larger number. ``ring_norm``
    returns an upper bound for transforms of all axes.
    """
    plan = _best_plan(layer)
    if plan is None:
        return math.inf
    schur = layer.schur_number
    mu = 0.0
    dense = []
    for pieces in itertools.product(*(cut.pieces for cut in plan)):
        if not any(piece.is_dense for piece in pieces):
            mu = max(mu, ring_norm([piece.transform for piece in pieces]))
        else:
            dense.append(pieces)
    mu = max(mu, guess * 1.003)
    proved = _proved_bound(layer, dense, mu, schur)
    total = max(mu, proved)
    for chosen in itertools.product((False, True), repeat=len(plan)):
        if any(chosen):
            total += _added(layer, plan, chosen, ring_norm)
    return total * math.prod(cut.factor for cut in plan) * (1 + 1e-12)


def _added(
    layer: WeightedLayer,
    plan: Sequence[AxisCut],
    chosen: Sequence[bool],
    ring_norm: Callable[[list[AxisTransform]], float],
) -> float:
    """Return a bound on the terms in which the chosen axes are restricted to single taps."""
    total = 0.0
    for taps in itertools.product(*(cut.added if one else [None] for cut, one in zip(plan, chosen, strict=True))):
        size = math.prod(tap[1] for tap in taps if tap is not None)
        norm = 0.0
        choices = [[Piece(tap[0])] if tap is not None else cut.pieces for tap, cut in zip(taps, plan, strict=True)]
        for pieces in itertools.product(*choices):
            norm = max(norm, _slice_norm(layer, pieces, ring_norm))
        total += size * norm
    return total


def _slice_norm(
    layer: WeightedLayer, pieces: Sequence[Piece], ring_norm: Callable[[list[AxisTransform]], float]
) -> float:
    """Return a bound on the norm of a piece of a slice, which may be loose because its share is small."""
    transforms = [piece.transform for piece in pieces]
    rows, columns = layer.block_shape(transforms)
    if min(rows, columns) <= _MOST_GRAM:
        blocks = layer_blocks(layer, transforms)
        found = blocks.map(lambda stack, _: float(gram_bounds(stack.reshape(-1, *stack.shape[-2:]), 3).max()))
        return float(max(found)) + blocks.rounding()
    factor = 1.0
    for number, (axis, piece) in enumerate(zip(layer.geometry.axes, pieces, strict=True)):
        if piece.is_dense:
            cut = ring_cut(axis)
            transforms[number], factor = cut.pieces[0].transform, factor * cut.factor
    return ring_norm(transforms) * factor


def _best_plan(layer: WeightedLayer) -> list[AxisCut] | None:
    """Return the cut of each axis with the smallest loss among those whose factorisations are affordable."""
    if max(layer.geometry.tile) > 1:
        return None
    choices: list[list[AxisCut]] = []
    for axis, name, exact in zip(layer.geometry.axes, layer.transform_names, layer.transforms(), strict=True):
        if name != "dense":
            choices.append([AxisCut([Piece(exact)], [])])
            continue
        cuts = [whole_cut(axis), ring_cut(axis)]
        ramps = sorted({max(int(axis.n_samples * share), _LEAST_RAMP) for share in (0.5, 0.42, 0.35, 0.25, 0.18, 0.12)})
        ramps += [ramp for ramp in (6, 8, 12, 16) if ramp < axis.n_samples / 2]
        if cuts[1].factor > 1:
            cuts += [cut for ramp in sorted(set(ramps)) if (cut := localised_cut(axis, ramp)) is not None]
        choices.append(cuts)
    plans = []
    for plan in itertools.product(*choices):
        if not any(piece.is_dense for cut in plan for piece in cut.pieces):
            continue  # rings alone are a bound of their own
        plans.append((sum(cut.loss for cut in plan), _work(layer, plan), list(plan)))
    affordable = [plan for plan in plans if plan[1] <= _MOST_WORK]
    close = [plan for plan in affordable if plan[0] <= _SMALL_LOSS]
    if not affordable:
        return None
    return min(close, key=lambda plan: plan[1])[2] if close else min(affordable, key=lambda plan: plan[0])[2]


def _work(layer: WeightedLayer, plan: Sequence[AxisCut]) -> float:
    """Return the approximate number of multiplications of the factorisations of all pieces."""
    groups, outputs, inputs = layer.channels
    total = 0.0
    for pieces in itertools.product(*(cut.pieces for cut in plan)):
        dense = [number for number, piece in enumerate(pieces) if piece.is_dense]
        if not dense:
            continue
        outer = _outer(pieces)
        others = [piece.transform for number, piece in enumerate(pieces) if number != outer]
        rows = outputs * math.prod(float(axis.output_phases) for axis in others)
        columns = inputs * math.prod(float(axis.input_phases) for axis in others)
        n_outputs = pieces[outer].transform.output_phases
        axis = layer.geometry.axes[outer]
        span = axis.span - 1
        if rows * n_outputs <= columns * pieces[outer].transform.input_phases:
            size, count, reach = rows, n_outputs, span // axis.stride
        else:
            size, count, reach = columns, pieces[outer].transform.input_phases, span
        frequencies = math.prod(axis.n_frequencies for axis in others)
        complex_factor = 1 if frequencies == 1 else 2  # half of the frequencies, four real products per complex one
        bandwidth = min(reach + 1, count) * size
        products = 2 * min(reach + 1, count) * axis.n_taps * rows * columns * size
        total += groups * complex_factor * frequencies * (size * count * bandwidth**2 / 2 + products)
    return total


def _outer(pieces: Sequence[Piece]) -> int:
    """Return the axis along which a piece is factorised: the longest dense one."""
    lengths = [piece.transform.output_phases if piece.is_dense else 0 for piece in pieces]
    return lengths.index(max(lengths))


# --- certificates ----------------------------------------------------------------------------------------------------


def _proved_bound(layer: WeightedLayer, pieces: Sequence[Sequence[Piece]], first: float, schur: float) -> float:
    """Return a number that is proved to be above the norms of all pieces."""
    remaining = [(piece, task) for piece in pieces for task in _tasks(layer, piece)]
    proved = 0.0
    for share in _GROWTH:
        mu = first * (1 + share)
        results = _attempts(remaining, mu, schur)
        proved = max(proved, max((value for value in results if value is not None), default=0.0))
        remaining = [task for task, value in zip(remaining, results, strict=True) if value is None]
        if not remaining:
            return proved
    return math.inf


def _attempts(tasks: Sequence[tuple[Any, BandedPiece]], mu: float, schur: float) -> list[float | None]:
    """Return the proved bound of each task, or None; once a proof fails, the next ones are left for a larger number."""
    failed: list[bool] = []

    def attempt(task: tuple[Any, BandedPiece]) -> float | None:
        if failed:
            return None
        value = task[1].holds(mu, schur)
        if value is None:
            failed.append(True)
        return value

    return on_cores(attempt, tasks)


def _tasks(layer: WeightedLayer, pieces: Sequence[Piece]) -> Iterator[BandedPiece]:
    """Yield a banded matrix for each distinct frequency and group of a piece."""
    outer = _outer(pieces)
    own, n_taps = pieces[outer].transform, layer.geometry.axes[outer].n_taps
    axes = [piece.transform for piece in pieces]
    axes[outer] = _all_taps(layer.geometry.axes[outer])
    blocks = layer_blocks(layer, axes)
    units = sum(axis.rounding() for axis in axes) + n_taps + 1
    for frequency in np.argwhere(blocks.multiplicity > 0):
        taps = blocks.taps
        for number, axis in enumerate(axes):
            if number != outer:
                taps = multiply_along(axis.response(frequency[number : number + 1]), taps, number)
        taps = np.moveaxis(taps, outer, 0).reshape(n_taps, blocks.n_groups, *blocks.block_shape)
        for group in range(blocks.n_groups):
            yield BandedPiece(taps[:, group], own, units)


class BandedPiece:
    """A matrix of blocks, each a sum of the matrices of the taps that read its column, with their coefficients.

    The taps, (taps, rows, columns), have a relative error of at most ``units`` of rounding. The blocks lie along a
    piece of an untiled axis whose transform is its own matrix.
    """

    def __init__(self, taps: Array, transform: AxisTransform, units: float) -> None:
        n_outputs, n_columns = transform.output_phases, transform.input_phases
        rows, columns = taps.shape[1:]
        spread = transform.spread.tocsr()
        entries: dict[tuple[int, int], Reads] = {}
        for place in np.flatnonzero(np.diff(spread.indptr)):
            stored = slice(spread.indptr[place], spread.indptr[place + 1])
            read = tuple(zip(spread.indices[stored].tolist(), spread.data[stored].tolist(), strict=True))
            entries[int(place) // n_columns, int(place) % n_columns] = read
        self.by_output = n_outputs * rows <= n_columns * columns
        if not self.by_output:
            entries = {(sample, output): taps_read for (output, sample), taps_read in entries.items()}
        self.count = n_outputs if self.by_output else n_columns
        self.size, self.inner = (rows, columns) if self.by_output else (columns, rows)
        self.rows: list[dict[int, Reads]] = [{} for _ in range(self.count)]
        for (row, column), read in entries.items():
            self.rows[row][column] = read
        by_column: dict[int, list[int]] = {}
        for row, column in entries:
            by_column.setdefault(column, []).append(row)
        self.first = list(range(self.count))
        for sharing in by_column.values():
            for row in sharing:
                self.first[row] = min(self.first[row], *sharing)
        self.terms = max(map(len, self.rows), default=0) * self.inner
        self.taps, self.units = taps, units

    def _products(self) -> Callable[[int, int], Array | None]:
        """Return a function to the blocks of the Gram matrix; equal ones are computed once."""
        sums: dict[Reads, Array] = {}
        known: dict[Any, Array | None] = {}

        def block(read: Reads) -> Array:
            if read not in sums:
                total = sum(self.taps[tap] * factor for tap, factor in read)
                sums[read] = total if self.by_output else total.conj().T
            return sums[read]

        def product(row: int, other: int) -> Array | None:
            pairs = tuple(
                sorted((read, self.rows[other][c]) for c, read in self.rows[row].items() if c in self.rows[other])
            )
            if pairs not in known:
                total: Array | None = None
                for first, second in pairs:
                    term = block(first) @ block(second).conj().T
                    total = term if total is None else total + term
                known[pairs] = total
            return known[pairs]

        return product

    def holds(self, mu: float, schur: float) -> float | None:
        """Return a proved bound on the norm, slightly larger than mu, or None if the proof for mu fails."""
        product, identity = self._products(), np.eye(self.size)
        factors: dict[tuple[int, int], Array] = {}
        for row in range(self.count):
            start = self.first[row]
            for other in range(start, row + 1):
                gram = product(row, other)
                rest = -gram if gram is not None else np.zeros((self.size, self.size), dtype=self.taps.dtype)
                for k in range(max(start, self.first[other]), other):
                    rest = rest - factors[row, k] @ factors[other, k].conj().T
                if other < row:
                    solved = linalg.solve_triangular(
                        factors[other, other], rest.conj().T, lower=True, check_finite=False
                    )
                    factors[row, other] = solved.conj().T
                    continue
                try:
                    factors[row, row] = np.linalg.cholesky(rest + mu**2 * identity)
                except np.linalg.LinAlgError:
                    return None
            needed = min(self.first[row + 1 :], default=row)
            for key in [key for key in factors if key[1] < needed]:
                del factors[key]
        factor = 4 if self.taps.dtype.kind == "c" else 1
        bandwidth = max((row - start + 1 for row, start in enumerate(self.first)), default=1) * self.size
        slack = gamma(factor * (self.terms + 2)) * schur**2 + EPSILON * mu**2
        slack += 2 * gamma(factor * (bandwidth + 3)) * self.count * self.size * mu**2
        return math.sqrt(mu**2 + slack) * (1 + 4 * EPSILON) + self.units * EPSILON * 2 * schur
