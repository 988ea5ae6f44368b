"""Exact checks at a size, against brute force; group actions; networks; orbits and symmetries."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from typing import Any, cast

import numpy as np
import pytest
from scipy import ndimage

import convmatrix as cm
from convmatrix import equivariance as eq
from convmatrix import network
from convmatrix.boundary import BOUNDARIES
from convmatrix.equivariance import comparison
from convmatrix.equivariance.axis_shifts import AxisShifts
from convmatrix.equivariance.comparison import broken_rows
from convmatrix.equivariance.long_axes import LongAxisShifts
from convmatrix.pattern import layer_pattern
from tests.cases import each_case, for_each
from tests.random_equivariance import compare
from tests.strategies import random_layer


def tensor(pattern: cm.WeightPattern) -> np.ndarray:
    """Return T as a dense array."""
    dense = np.zeros((*pattern.shape, pattern.n_weights), dtype=int)
    factors = 1 if pattern.coefficients is None else pattern.coefficients
    np.add.at(dense, (pattern.rows, pattern.cols, pattern.weight_index), factors)
    return dense


# --- checks ----------------------------------------------------------------------------------------------------------


@each_case
def test_check_equals_the_dense_tensor(geometry: cm.ConvGeometry) -> None:
    pattern, rng = geometry.pattern(), np.random.default_rng(1)
    T = tensor(pattern)
    n_out, n_in = pattern.shape
    pairs = [
        (np.arange(n_out), np.arange(n_in)),
        (np.roll(np.arange(n_out), 1), np.roll(np.arange(n_in), 1)),
        (rng.permutation(n_out), rng.permutation(n_in)),
    ]
    for q, p in pairs:
        verdict = eq.check(pattern, q, p)
        expected = (T[q][:, p] != T).any(axis=(1, 2))
        assert np.array_equal(verdict.broken_rows.ravel(), expected)
        assert verdict.broken_rows.shape == (geometry.out_channels, *geometry.output_shape)
        assert verdict.holds == bool(verdict) == (not expected.any())
        c = verdict.counterexample
        assert (c is None) == verdict.holds
        if c is not None:
            k = np.ravel_multi_index(c.weight, pattern.weight_shape)
            assert (c.moved_row, c.moved_column) == (q[c.row], p[c.column])
            assert T[c.row, c.column, k] == c.count != c.moved_count == T[c.moved_row, c.moved_column, k]


def test_random_layers() -> None:
    """A shift passes exactly if some output shift corresponds to it in A P = Q A, with random integer weights."""
    rng = np.random.default_rng(5)
    outcomes: Counter[bool] = Counter()
    while outcomes.total() < 600:
        layer = random_layer(rng)
        if outcomes.total() % 2:  # layers that have a chance
            n, k = int(rng.integers(1, 9)), int(rng.integers(1, 5))
            s = int(rng.integers(1, 4))
            layer = cm.ConvGeometry(n * s, k, stride=s, padding=[(0, max(k - s, 0))], boundary="circular")
        amount = tuple(int(rng.integers(0, 4)) for _ in layer.stride)
        verdict = eq.check_shift(layer, amount)
        A = layer.pattern().matrix(rng.integers(-(2**40), 2**40, layer.weight_shape)).toarray()
        axes = tuple(range(1, len(amount) + 1))
        p = np.roll(np.arange(layer.n_in).reshape(layer.in_channels, *layer.input_shape), amount, axes).ravel()
        numbers = np.arange(layer.n_out).reshape(layer.out_channels, *layer.output_shape)
        moved = A[:, p]

        def broken(answer: tuple[int, ...], moved: Any = moved, A: Any = A, numbers: Any = numbers) -> Any:
            q = np.roll(numbers, answer, tuple(range(1, numbers.ndim))).ravel()
            return (moved[q] != A).any(axis=1)

        assert verdict.output_shift is not None
        assert np.array_equal(verdict.broken_rows.ravel(), broken(verdict.output_shift)), layer
        if not verdict.holds:
            assert all(broken(answer).any() for answer in np.ndindex(layer.output_shape)), (layer, amount)
        scale = [1 / s if not layer.transposed else s for s in layer.stride]
        nominal = [a * f for a, f in zip(amount, scale, strict=True)]
        if all(a == int(a) for a in nominal):
            named = tuple(map(int, nominal))
            assert not verdict.holds or verdict.output_shift == named or broken(named).any(), layer
        outcomes[verdict.holds] += 1
    assert min(outcomes.values()) > 150, outcomes


def test_long_axes_are_decided_by_their_distinct_rows() -> None:
    rng = np.random.default_rng(6)
    counts: Counter[int] = Counter()
    for _ in range(150):
        n, stride = int(rng.integers(3, 30)), int(rng.integers(1, 4))
        boundary = str(rng.choice(BOUNDARIES))
        sharing: Any = rng.choice(["shared", "tiles", "unshared"], p=[0.6, 0.3, 0.1])
        layer = cm.ConvGeometry(
            n * stride,
            3,
            stride=stride,
            padding=[(1, 1)] if rng.integers(2) else [(int(rng.integers(4)), int(rng.integers(4)))],
            boundary=boundary,
            sharing=int(rng.integers(1, 4)) if sharing == "tiles" else sharing,
            transposed=bool(rng.integers(2)),
            flip=bool(rng.integers(2)),
        )
        long, listed = LongAxisShifts(layer), AxisShifts(layer.pattern())
        assert np.array_equal(long.filled(), listed.filled())
        for amount in (0, 1, stride, -2 * stride, int(rng.integers(-40, 40))):
            expected = set(listed.output_shifts(amount))
            assert set(long.output_shifts(amount)) == expected, (layer, amount)
            assert set(long.output_shifts(amount, -1)) == set(listed.output_shifts(amount, -1)), (layer, amount)
            for moved, sign in itertools.product((amount, amount // stride, *list(expected)[:1]), (1, -1)):
                kept = listed.kept(moved, amount, sign)
                assert np.array_equal(long.kept(moved, amount, sign), kept), (layer, moved, amount, sign)
                if sign > 0 or listed.signed:
                    assert long.n_broken(moved, amount, sign) == np.count_nonzero(~kept)
            counts[len(expected)] += 1
    assert counts[0] > 100
    assert counts[1] > 100


@pytest.mark.parametrize(
    ("n", "boundary", "taps", "more", "moved"),
    [
        (1, "circular", 3, 0, 1),
        (1, "replicate", 3, 0, 1),
        (2, "replicate", 1, 0, 10_001),
        (3, "circular", 2, 0, None),
        (3, "circular", 2, 2, 1),
    ],
)
def test_rows_that_repeat_thousands_of_times_are_decided_together(
    n: int, boundary: str, taps: int, more: int, moved: int | None
) -> None:
    verdict = eq.check_shift(cm.ConvGeometry(n, taps, padding=[(10_000, 10_000 + more)], boundary=boundary), 1)
    assert verdict.holds == (moved is not None)
    assert moved is None or verdict.output_shift == (moved,)


def test_a_shift_of_a_long_layer_is_checked_without_its_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(geometry: cm.ConvGeometry, rows: Any = None) -> Any:
        assert rows is not None
        assert rows[1] - rows[0] == 1
        return layer_pattern(geometry, rows)

    monkeypatch.setattr("convmatrix.pattern.layer_pattern", refuse)
    monkeypatch.setattr("convmatrix.equivariance.checks.layer_pattern", refuse)
    n = 10**6
    assert eq.check_shift(cm.ConvGeometry(n, 3, stride=2, padding="same", boundary="circular"), 8).output_shift == (4,)
    ring = cm.ConvGeometry(n, 3, padding="same", boundary="circular")
    assert eq.check_shift(ring, 2**64 + 1).holds  # beyond integers of 64 bits
    verdict = eq.check_shift(cm.ConvGeometry((n, 2), (3, 1), padding="same"), (5, 0))
    assert np.flatnonzero(verdict.broken_rows[0, :, 1]).tolist() == [0, 4, 5, n - 1]
    assert verdict.counterexample == eq.verdict.Counterexample((0, 0, 0, 0), 0, 2 * n - 2, 2 * n - 10, 2 * n - 12, 0, 1)


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = cm.ConvGeometry((9, 9), (3, 3), padding="same", in_channels=2)
    q, p = eq.shift((9, 9), (1, 2)), eq.shift((9, 9), (1, 2), channels=2)
    whole = broken_rows(layer.pattern(), q, p)
    monkeypatch.setattr("convmatrix.equivariance.comparison._BLOCK", 7)
    assert np.array_equal(broken_rows(layer.pattern(), q, p), whole)
    assert 0 < whole.sum() < len(whole)


@for_each("last, holds", [(5, True), (7, False)])
def test_weights_of_any_number_are_compared(last: int, holds: bool) -> None:
    """The numbers of weights times columns may exceed 64 bits."""
    swap = np.arange(2**10)
    swap[:2] = 1, 0
    weights = [2**60, 5, 2**60, last]
    pattern = cm.WeightPattern.from_triplets((2**10, 2**10), [0, 0, 1, 1], [0, 1, 1, 0], weights, 2**61)
    assert eq.check(pattern, swap, swap).holds == holds
    apart = cm.WeightPattern.from_triplets((2**10, 2**10), [0, 1], [0, 8], [5, 5], 2**61)  # equal modulo 2**64
    assert not eq.check(apart, swap, np.arange(2**10)).holds


def test_rows_are_compared_where_the_permutation_of_columns_jumps() -> None:
    pattern = cm.ConvGeometry(40, 3).pattern()
    here, swap = np.arange(38), np.arange(40)
    swap[[20, 21]] = 21, 20
    expected = np.zeros(38, dtype=bool)
    expected[18:22] = True  # the rows that read one of the two samples
    assert np.array_equal(eq.check(pattern, here, swap).broken_rows.ravel(), expected)


def test_rows_that_repeat_the_row_before_are_broken_with_it() -> None:
    """One entry that differs, anywhere in a long run or in its image, is found."""
    rng = np.random.default_rng(11)
    layer = cm.ConvGeometry((3, 30), (3, 3), in_channels=2, out_channels=2, padding="same", boundary="circular")
    pattern = layer.pattern()
    q = p = eq.shift((3, 30), (1, 7), channels=2)
    assert len(comparison._first_of_runs(pattern, q, np.argsort(p))) < 90
    assert eq.check(pattern, q, p).holds
    for _ in range(60):
        cols, weights = pattern.cols.copy(), pattern.weight_index.copy()
        entry = int(rng.integers(pattern.n_entries))
        row = int(pattern.rows[entry])
        if rng.integers(2):
            weights[entry] = (weights[entry] + 1) % pattern.n_weights
        else:
            free = np.setdiff1d(np.arange(pattern.shape[1]), cols[pattern.rows == row])
            cols[entry] = rng.choice(free)
        changed = cm.WeightPattern.from_triplets(pattern.shape, pattern.rows, cols, weights, pattern.weight_shape)
        expected = np.zeros(pattern.shape[0], dtype=bool)
        expected[[row, int(np.flatnonzero(q == row)[0])]] = True
        assert np.array_equal(eq.check(changed, q, p).broken_rows, expected)


def test_explanations() -> None:
    broken = eq.check_shift(cm.ConvGeometry(6, 3, padding="same"), 1)
    assert "3 of 6 rows of the index pattern T break the symmetry: 0, 1, 5." in broken.explain()
    assert r"\textbf{Refuted.}" in broken.explain("latex")
    assert "$T_{0,5,k} = 0 \\ne 1 = T_{5,4,k}$" in broken.explain("latex")
    assert broken.record()["broken_rows"] == [0, 1, 5]
    assert "<rect" in broken._repr_html_()
    held = eq.check_shift(cm.ConvGeometry(6, 3, padding="same", boundary="circular"), 1)
    assert held.explain().startswith("Proved: the layer commutes with the cyclic shift by 1")
    assert r"\textbf{Proved.}" in held.explain("latex")
    assert held.record()["counterexample"] is None
    assert "<svg" not in held._repr_html_()
    with pytest.raises(ValueError, match=r"'html'.*text.*latex"):
        held.explain("html")  # type: ignore[arg-type]  # on purpose


def test_check_errors() -> None:
    pattern = cm.ConvGeometry(5, 3).pattern()
    with pytest.raises(ValueError, match=r"output_permutation.*2.*3"):
        eq.check(pattern, [0, 1], range(5))
    with pytest.raises(ValueError, match=r"input_permutation.*0 \.\. 4"):
        eq.check(pattern, [0, 1, 2], [0, 0, 1, 2, 3])
    with pytest.raises(ValueError, match="input_permutation"):
        eq.check(pattern, [0, 1, 2], [0, 1, 2, 3, 5])
    with pytest.raises(ValueError, match=r"output_permutation.*\(3,\).*float64"):
        eq.check(pattern, [0.0, 1.0, 2.0], range(5))
    with pytest.raises(TypeError, match=r"WeightPattern.*ConvGeometry"):
        eq.check(cm.ConvGeometry(5, 3), [0], [0])  # type: ignore[arg-type]  # on purpose
    with pytest.raises(TypeError, match=r"ConvGeometry.*WeightPattern"):
        eq.check_shift(pattern, 1)  # type: ignore[arg-type]  # on purpose


def test_transposed_layers_move_by_more() -> None:
    layer = cm.ConvGeometry(4, 2, stride=2, padding=0, transposed=True, boundary="circular")
    assert eq.check_shift(layer, 1).holds


# --- actions ---------------------------------------------------------------------------------------------------------


def test_actions_are_those_of_numpy() -> None:
    x = np.arange(2 * 4 * 4).reshape(2, 4, 4)
    assert np.array_equal(x.ravel()[eq.shift((4, 4), (1, -2), channels=2)], np.roll(x, (1, -2), (1, 2)).ravel())
    assert np.array_equal(x.ravel()[eq.reflection((4, 4), 1, channels=2)], np.flip(x, 2).ravel())
    turned = x.ravel()[eq.quarter_turn((4, 4), 3, channels=2)]
    assert np.array_equal(turned, np.rot90(x, 3, (1, 2)).ravel())
    assert np.array_equal(x.ravel()[eq.channel_permutation([1, 0], (4, 4))], x[::-1].ravel())
    p, q = eq.shift(16, 3), eq.reflection(16, 0)
    y = np.arange(16) ** 2
    assert np.array_equal(y[eq.compose(p, q)], y[p][q])
    assert np.array_equal(eq.compose(p, eq.inverse(p)), eq.identity(16))
    pairs = np.arange(6).reshape(2, 3)
    assert np.array_equal(pairs.ravel()[eq.product([1, 0], [2, 0, 1])], pairs[[1, 0]][:, [2, 0, 1]].ravel())


def test_group_orders() -> None:
    assert [len(eq.generated_group(eq.cyclic_generators(n))) for n in (1, 4, 7)] == [1, 4, 7]
    assert [len(eq.generated_group(eq.dihedral_generators(n))) for n in (3, 6)] == [6, 12]
    assert [len(eq.generated_group(eq.symmetric_generators(n))) for n in (1, 2, 5)] == [1, 2, 120]
    assert len(eq.generated_group(eq.torus_generators((3, 4)))) == 12


def test_action_errors() -> None:
    with pytest.raises(ValueError, match=r"\(0, 1\).*\(2, 3\).*2 and 3"):
        eq.quarter_turn((2, 3))
    with pytest.raises(ValueError, match=r"axes=\(0, 0\)"):
        eq.quarter_turn((2, 2), axes=(0, 0))
    with pytest.raises(ValueError, match=r"axes=\(0,\) has 1 "):
        eq.quarter_turn((2, 2), axes=(0,))  # type: ignore[arg-type]  # on purpose
    with pytest.raises(ValueError, match=r"axis=2.*2 axes"):
        eq.reflection((2, 2), 2)
    with pytest.raises(ValueError, match=r"first.*2.*3"):
        eq.compose([1, 0], [0, 1, 2])
    with pytest.raises(ValueError, match="order"):
        eq.channel_permutation([0, 0], 2)
    with pytest.raises(ValueError, match=r"'C3'.*C4.*D4"):
        eq.point_group_generators(3, group="C3")
    with pytest.raises(ValueError, match=r"10.*largest"):
        eq.generated_group(eq.symmetric_generators(5), largest=10)
    with pytest.raises(ValueError, match="generators"):
        eq.generated_group([])
    with pytest.raises(ValueError, match=r"generators.*\[2, 3\]"):
        eq.generated_group([[1, 0], [0, 1, 2]])


# --- from symmetry to sharing ----------------------------------------------------------------------------------------


def test_cyclic_shifts_give_the_circulant_pattern() -> None:
    for n in (1, 2, 5, 8):
        found = eq.equivariant_pattern(eq.cyclic_generators(n), eq.cyclic_generators(n))
        layer = cm.ConvGeometry(n, n, padding=[(0, n - 1)], boundary="circular").pattern()
        for name in ("row_starts", "cols", "weight_index"):
            assert np.array_equal(getattr(found, name), getattr(layer, name))


def test_published_dimensions() -> None:
    """Maron et al. 2019; D_n on its corners has floor(n/2) + 1; the torus one weight a point."""
    for n in (4, 5, 6):
        steps = eq.symmetric_generators(n)
        edges = [eq.product(p, p) for p in steps]
        assert eq.equivariant_pattern(edges, edges).n_weights == 15
        assert eq.equivariant_pattern([[0], [0]], edges).n_weights == 2
    for n in range(3, 9):
        steps = eq.dihedral_generators(n)
        assert eq.equivariant_pattern(steps, steps).n_weights == n // 2 + 1
    torus = eq.torus_generators((3, 4))
    assert eq.equivariant_pattern(torus, torus).n_weights == 12


def test_pattern_is_the_whole_commutant() -> None:
    """Its dimension is that of the null space of all commutators, and its taps commute."""
    for steps in (eq.dihedral_generators(5), eq.point_group_generators(3, group="C4"), [[1, 0, 2, 4, 3]]):
        size = len(steps[0])
        pattern = eq.equivariant_pattern(steps, steps)
        eye = np.eye(size)
        rows = [np.kron(eye[np.asarray(p)], eye) - np.kron(eye, eye[np.asarray(p)].T) for p in steps]
        assert pattern.n_weights == size**2 - np.linalg.matrix_rank(np.vstack(rows))
        for k in range(pattern.n_weights):
            tap = pattern.tap(k).toarray()
            assert all(np.array_equal(tap, tap[np.asarray(p)][:, np.asarray(p)]) for p in steps)


def test_orbits_by_hand() -> None:
    rng = np.random.default_rng(0)
    steps = [rng.permutation(40) for _ in range(1)]
    labels = eq.orbits(steps)
    for i, j in itertools.product(range(40), repeat=2):
        reached, point = False, i
        for _ in range(40):
            point = int(steps[0][point])
            reached |= point == j
        assert (labels[i] == labels[j]) == reached
    firsts = [int(np.flatnonzero(labels == label)[0]) for label in range(labels.max() + 1)]
    assert firsts == sorted(firsts)


def test_tied_kernels() -> None:
    assert [int(eq.tied_taps(k, g).max()) + 1 for g in ("C4", "D4") for k in (3, 5)] == [3, 7, 3, 6]
    layer = cm.ConvGeometry((5, 5), (3, 3), padding="same", in_channels=2)
    for group in ("C4", "D4"):
        tied = eq.tied_pattern(layer, group)
        assert eq.check_quarter_turn(layer, pattern=tied).holds
    assert eq.check_reflection(layer, 0, pattern=eq.tied_pattern(layer, "D4")).holds
    five = cm.ConvGeometry((7, 7), (5, 5), padding="same")
    assert not eq.check_reflection(five, 0, pattern=eq.tied_pattern(five, "C4")).holds
    free = np.arange(1, 7)
    kernel = free[eq.tied_taps(5, "D4")]
    expected = ndimage.correlate(np.eye(7, dtype=int), kernel, mode="constant")
    tied = eq.tied_pattern(five, "D4").matrix(free[None, None])
    assert np.array_equal((tied @ np.eye(7, dtype=int).ravel()).reshape(7, 7), expected)


def test_orbit_errors() -> None:
    with pytest.raises(ValueError, match=r"1 output generators.*2 input generators"):
        eq.equivariant_pattern([[0]], [[0], [0]])
    with pytest.raises(ValueError, match="generators"):
        eq.equivariant_pattern([], [])
    with pytest.raises(ValueError, match=r"input_generators.*\[2, 3\]"):
        eq.equivariant_pattern([[0], [0]], [[0, 1], [0, 1, 2]])
    with pytest.raises(ValueError, match="generators"):
        eq.orbits([])
    with pytest.raises(ValueError, match=r"generators.*\[2, 3\]"):
        eq.orbits([[0, 1], [0, 1, 2]])
    with pytest.raises(TypeError, match="generators"):
        eq.orbits(cast("Any", None))
    with pytest.raises(ValueError, match=r"output_generators\[0\]"):
        eq.equivariant_pattern([[1]], [[0]])
    with pytest.raises(ValueError, match=r"kernel_shape=\(3, 5\)"):
        eq.tied_taps((3, 5))
    with pytest.raises(ValueError, match=r"labels.*\(2,\).*\(3,\)"):
        eq.tie(cm.ConvGeometry(5, 3).pattern(), [0, 1])
    with pytest.raises(ValueError, match=r"labels.*at least 0"):
        eq.tie(cm.ConvGeometry(5, 3).pattern(), [0, -1, 0])


def test_tied_kernels_keep_weights_of_their_own() -> None:
    """Taps of one kernel share parameters; the kernels of different pairs of channels do not."""
    geometry = cm.ConvGeometry(4, 3, in_channels=2, out_channels=2)
    tied = eq.tie(geometry.pattern(), [0, 1, 0])
    assert tied.weight_shape == (2, 2, 2)
    weights = np.arange(1, 9).reshape(2, 2, 2)
    expected = cm.conv_matrix(weights[..., [0, 1, 0]], geometry)
    np.testing.assert_array_equal(tied.matrix(weights).toarray(), expected.toarray())


# --- symmetries of patterns ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layer",
    [
        cm.ConvGeometry((4, 3), (2, 2), padding="same", boundary="circular"),
        cm.ConvGeometry((4, 6), (3, 3), padding=1, stride=(2, 3), boundary="circular"),
        cm.ConvGeometry((3, 3), (3, 3), padding=1),
        cm.ConvGeometry((3, 4), (1, 2), padding="same", boundary=("zero", "circular")),
        cm.ConvGeometry((3, 3), (1, 1), in_channels=2, out_channels=2),
        cm.ConvGeometry(4, 2, padding=[(0, 1)], boundary="circular", sharing=(2,)),
        # Outputs that repeat: more than one shift of the output corresponds to a shift of the input.
        cm.ConvGeometry((2, 2), (3, 2), padding=[(2, 2), (1, 1)], out_channels=2, boundary="circular"),
        cm.ConvGeometry((1, 3), (3, 1), padding=[(2, 2), (0, 0)], boundary=("circular", "symmetric")),
    ],
    ids=repr,
)
def test_symmetries_by_brute_force(layer: cm.ConvGeometry) -> None:
    pattern = layer.pattern()
    T = tensor(pattern)
    found = eq.symmetries(pattern)
    expected = []
    for amount in itertools.product(*map(range, layer.input_shape)):
        p = eq.shift(layer.input_shape, amount, channels=layer.in_channels)
        for moved in itertools.product(*map(range, layer.output_shape)):
            q = eq.shift(layer.output_shape, moved, channels=layer.out_channels)
            if np.array_equal(T, T[q][:, p]):
                expected.append((amount, moved))  # the first that corresponds
                break
    assert found.shifts == tuple(expected)


def test_point_groups() -> None:
    layer = cm.ConvGeometry((5, 5), (3, 3), padding="same")
    names = {
        group: {str(e) for e in eq.symmetries(eq.tied_pattern(layer, group), (5, 5), (5, 5)).point_group}
        for group in ("C4", "D4")
    }
    assert len(names["D4"]) == 8
    assert len(names["C4"]) == 8  # with 3x3 kernels the orbits of C4 are those of D4
    five = cm.ConvGeometry((5, 5), (5, 5), padding="same")
    found = {str(e) for e in eq.symmetries(eq.tied_pattern(five, "C4"), (5, 5), (5, 5)).point_group}
    assert found == {"identity", "axes (1, -0)", "axes (-1, 0)", "axes (-0, -1)"}


def test_symmetry_errors() -> None:
    with pytest.raises(ValueError, match=r"\(3, 3\).*output_shape.*input_shape"):
        eq.symmetries(eq.equivariant_pattern([[0, 1, 2]], [[0, 1, 2]]))
    with pytest.raises(ValueError, match=r"output_shape=\(2,\).* 2 .* 3 rows"):
        eq.symmetries(cm.ConvGeometry(3, 1).pattern(), output_shape=(2,))
    with pytest.raises(ValueError, match=r"\(1, 0\).*\(2, 3\).*\(3, 2\)"):
        eq.PointSymmetry((1, 0), (False, False)).permutation((2, 3))


# --- networks --------------------------------------------------------------------------------------------------------

RING = cm.ConvGeometry((8, 8), (3, 3), padding="same", boundary="circular")
HALF = cm.ConvGeometry((8, 8), (2, 2), stride=2)


def test_networks() -> None:
    steps = [RING, eq.Bias((8, 8)), eq.Elementwise("relu"), eq.Pooling(HALF, kind="max")]
    verdict = eq.check_network(steps, (2, 4))
    assert verdict.holds
    assert verdict.exact
    assert verdict.shifts[-1] == (1, 2)
    assert verdict.explain().count("Proved") == 4
    broken = eq.check_network([RING, eq.Bias((8, 8), sharing="unit")], (1, 0))
    assert not broken
    assert broken.exact
    assert not broken.verdicts[-1].holds
    assert eq.surviving_shifts(steps) == (2, 2)
    zero = cm.ConvGeometry((8, 8), (3, 3), padding="same")
    assert eq.surviving_shifts([zero]) == (8, 8)
    assert eq.surviving_shifts([zero, eq.Pooling(HALF)]) == (8, 8)
    tiled = cm.ConvGeometry(12, 3, padding="same", boundary="circular", sharing=(3,))
    assert eq.surviving_shifts([tiled]) == (3,)
    strided = cm.ConvGeometry(24, 2, stride=2, boundary="circular")
    assert eq.surviving_shifts([strided, eq.Bias((12,)), tiled]) == (6,)
    up = cm.ConvGeometry(4, 2, stride=2, transposed=True, boundary="circular")
    assert eq.surviving_shifts([cm.ConvGeometry(8, 2, stride=2), up]) == (2,)


def test_output_shifts_that_exist_decide() -> None:
    """Not the quotient of shift and stride."""
    strided = cm.ConvGeometry((8, 8), (3, 3), padding=1, stride=2, boundary="circular")
    for covering, method in itertools.product((False, True), ("average", "max")):
        windows: dict[str, Any] = {"stride": 1, "padding": [(0, 3), (0, 3)], "boundary": "circular"}
        pool = network.Pooling(method, 4, **(windows if covering else {}))  # type: ignore[arg-type]  # a word of two
        assert eq.surviving_shifts([strided, eq.Elementwise("relu"), pool]) == (2, 2)
        found = eq.surviving_shifts([strided, eq.Elementwise("relu"), pool])
        assert found.exact
    assert eq.surviving_shifts([RING, eq.Elementwise("relu"), network.Pooling("average", 8)]) == (1, 1)
    assert "2 of its output" in eq.check_shift(TURNING, 1).explain()
    assert eq.check_shift(TURNING, 1).holds
    whole = eq.Pooling(cm.ConvGeometry(6, 6, stride=6))
    assert all(eq.check_network([whole], amount).holds for amount in range(-7, 7))
    assert eq.surviving_shifts([whole]) == (1,)


TURNING = cm.ConvGeometry(3, 1, stride=2, padding=[(0, 2)], boundary="circular")


def test_a_stride_that_rules_a_shift_out_is_a_verdict() -> None:
    verdict = eq.check_shift(cm.ConvGeometry(8, 2, stride=2), 3)
    assert not verdict.holds
    assert re.search(r"stride\[0\]=2 .* shift\[0\]=3", verdict.reason)
    assert verdict.record()["reason"] == verdict.reason
    assert verdict.n_broken == 4
    found = eq.check_network([RING, eq.Pooling(HALF)], 1)
    assert (found.holds, found.exact, found.decided) == (False, True, "as a whole")
    assert [v.holds for v in found.verdicts] == [True, False]
    assert found.verdicts[1].n_broken > 0


def test_a_node_fails_but_the_network_passes() -> None:
    """Decided as a whole: by the product of the matrices, or by the sets of windows."""
    zero = cm.ConvGeometry(6, 3, padding=1)
    nodes = [
        network.Node("input", network.Input((1, 6))),
        network.Node("layer", network.Convolution(zero), ("input",)),
        network.Node("difference", network.Addition((1, -1)), ("layer", "layer")),
    ]
    verdict = eq.check_network(network.Network(nodes), 1)
    assert (verdict.holds, verdict.exact, verdict.decided) == (True, True, "as a whole")
    assert "as a whole" in verdict.explain()
    # No window of the first pooling set is kept by a shift, but the windows of both together cover the ring.
    pools = [network.Input((1, 4)), network.Pooling("max", 3, 1, 1), network.Pooling("max", 4)]
    verdict = eq.check_network(pools, 1)
    assert (verdict.holds, verdict.exact, verdict.decided) == (True, True, "as a whole")
    assert eq.surviving_shifts(pools) == (1,)
    # With an arbitrary function between, nothing refutes and nothing proves: a bound.
    nodes.insert(2, network.Node("function", eq.Elementwise(), ("layer",)))
    nodes[3] = network.Node("difference", network.Addition((1, -1)), ("function", "function"))
    verdict = eq.check_network(network.Network(nodes), 1)
    assert (verdict.holds, verdict.exact, verdict.decided) == (False, False, "node by node")
    assert "may still commute" in verdict.explain()
    assert not eq.surviving_shifts(network.Network(nodes)).exact


def answers(layers: list[Any], shift: int) -> tuple[bool, bool]:
    found = eq.check_network([network.Input((1, 8)), *layers], shift)
    assert eq.surviving_shifts([network.Input((1, 8)), *layers]).exact == found.exact
    return found.holds, found.exact


def test_constants_hide_no_difference_from_a_verdict_on_the_whole() -> None:
    """A shift broken only by differences lost to rounding, in large or tiny values, is not declared unbroken."""
    refuted, undecided, proved = (False, True), (False, False), (True, True)
    zero, ring = cm.ConvGeometry(8, 3, padding=1), cm.ConvGeometry(8, 3, padding=1, boundary="circular")
    for small in (1e-8, 1e-30, 1e-200):
        assert answers([zero, network.Scale(small)], 1) == refuted
        large = network.Scale(min(1 / small, 1e30))
        assert answers([large, network.Scale(small), zero], 1) == refuted
        assert answers([ring, network.Scale(small)], 1) == proved
    assert answers([zero, network.Scale(None, 1e12)], 1) == refuted
    # Beyond double precision nothing is refuted, but nothing is proved either.
    assert answers([zero, network.Scale(1e300), network.Scale(1e300)], 1) == undecided
    assert answers([zero, network.Scale(1e-320)], 1) == undecided
    for almost in (1 + 1e-13, 1 + 2.0**-52):
        constants = np.where(np.arange(8) == 2, almost, 1.0)[None]
        assert answers([network.Scale(constants)], 1) == undecided
    node = network.Node
    hidden = [
        node("input", network.Input((1, 8))),
        node("layer", network.Convolution(zero), ("input",)),
        node("large", network.Scale(1e17), ("input",)),
        node("sum", network.Addition(), ("large", "layer")),
    ]
    found = eq.check_network(network.Network(hidden), 1)
    assert (found.holds, found.exact) == undecided
    # The difference of equal branches is zero for all constants.
    hidden[1] = node("layer", network.Convolution(zero), ("large",))
    hidden[3] = node("sum", network.Addition((1, -1)), ("layer", "layer"))
    for constant in (0.3, 1e17):
        hidden[2] = node("large", network.Scale(constant), ("input",))
        found = eq.check_network(network.Network(hidden), 1)
        assert (found.holds, found.exact, found.decided) == (*proved, "as a whole")
    # A constant that is not a number is the same everywhere.
    assert answers([network.Scale(math.nan), ring], 1) == proved


def test_a_jump_at_a_rounded_value_refutes_nothing() -> None:
    """A sum of fifths that is an integer may be rounded up or down, so that its ceiling is no counterexample."""
    fifths = network.Scale(np.full((1, 8), 1 / 5))
    layers = [network.Input((1, 8)), fifths, network.gather(1, range(8)), network.Reduction("sum", (0, 1))]
    found = eq.check_network([*layers, network.Elementwise("ceil")], 1)
    assert (found.holds, found.exact) == (False, False)
    # Integers are not rounded, so that zero is an input like any other, and the only one that refutes.
    layers = [network.Input((1, 6)), network.Elementwise("sign"), network.Elementwise("square")]
    found = eq.check_network([*layers, network.Pooling("sum", 3, 1, 1)], 1)
    assert (found.holds, found.exact) == (False, True)


def test_counterexamples_of_networks_are_replayed() -> None:
    layers = [
        cm.ConvGeometry((4, 4), (3, 3), padding=1, boundary="reflect"),
        eq.Elementwise(),
        network.Pooling("max", 2),
    ]
    verdict = eq.check_network(layers, (2, 0))
    found = verdict.counterexample
    assert verdict.exact
    assert found is not None
    assert len(found.rows) == 4
    y = found.network(found.input[None])
    moved = found.network(np.roll(found.input, (2, 0), (1, 2))[None])
    for amount, row in found.rows.items():
        assert abs((np.roll(y, amount, (2, 3)) - moved).ravel()[row]) > 1e-6


def test_architectures_and_large_networks() -> None:
    assert eq.surviving_shifts("lenet5") == (32, 32)
    found = eq.check_network("vgg16", 1)  # too large to be evaluated here: a node fails, which is a bound
    assert (found.holds, found.exact) == (False, False)
    opaque = [network.Input((1, 4)), network.Opaque("NonMaxSuppression", (1, 4))]
    assert not eq.check_network(opaque, 1).exact


def test_random_networks() -> None:
    """The command ``python -m tests.random_equivariance`` compares 2,000."""
    outcomes = sum((compare(np.random.default_rng([1, number])) for number in range(25)), Counter[str]())
    assert outcomes["True, node by node"] > 20
    assert outcomes["False, as a whole"] > 20


def test_surviving_shifts_by_brute_force() -> None:
    """On one axis, the surviving shifts are those that leave a product of random integer matrices unchanged."""
    rng = np.random.default_rng(3)
    for s, z, boundary in itertools.product((1, 2), (1, 3), ("circular", "zero")):
        first = cm.ConvGeometry(12, 3, padding=1, stride=s, boundary=boundary)
        second = cm.ConvGeometry(first.output_shape, 3, padding=1, stride=z, boundary="circular")
        A, B = (g.pattern().matrix(rng.integers(-999, 999, g.weight_shape)).toarray() for g in (first, second))
        product = B @ A
        passes = [
            c
            for c in range(1, 12)
            if c % (s * z) == 0 and np.array_equal(product, np.roll(product, (c // (s * z), c), (0, 1)))
        ]
        assert eq.surviving_shifts([first, second]) == (min(passes, default=12),)


def test_pooling_patterns() -> None:
    reflect = cm.ConvGeometry(3, 3, padding="same", boundary="reflect")
    assert eq.Pooling(reflect).pattern().matrix([1]).toarray()[0].tolist() == [1, 2, 0]
    assert eq.Pooling(reflect, kind="max").pattern().matrix([1]).toarray()[0].tolist() == [1, 1, 0]
    two = eq.Pooling(HALF, channels=2).pattern()
    assert two.shape == (32, 128)
    assert np.array_equal(np.bincount(two.rows), np.full(32, 4))


def test_network_errors() -> None:
    with pytest.raises(ValueError, match=r"\(1, 4\).*\(1, 8, 8\)"):
        eq.check_network([RING, eq.Bias((4,))], 1)
    with pytest.raises(ValueError, match=r"\(1, 8, 8\).*\(2, 8, 8\)"):
        eq.check_network([cm.ConvGeometry((8, 8), (1, 1), out_channels=2), eq.Pooling(HALF)], 1)
    with pytest.raises(TypeError, match="1 of the network is a str"):
        eq.surviving_shifts(["relu"])
    with pytest.raises(ValueError, match="shape"):
        eq.check_network([eq.Elementwise()], 1)
    with pytest.raises(ValueError, match=r"spatial axes.*\(3,\)"):
        eq.check_network([network.FullyConnected(3, 2)], 1)
    with pytest.raises(ValueError, match=r"shift.*3.*2"):
        eq.check_network([RING], (1, 2, 3))
    with pytest.raises(ValueError, match=r"kind.*'min'"):
        eq.Pooling(HALF, kind="min")  # type: ignore[arg-type]  # on purpose
    with pytest.raises(ValueError, match="in_channels=2"):
        eq.Pooling(cm.ConvGeometry(4, 2, in_channels=2))
    with pytest.raises(ValueError, match=r"sharing.*'map'"):
        eq.Bias((3,), sharing="map")  # type: ignore[arg-type]  # on purpose


def test_many_broken_rows_are_named_in_part() -> None:
    verdict = cm.equivariance.check_shift(cm.ConvGeometry((8, 8), (3, 3), padding="same"), (1, 0))
    assert "24 of 64 rows of the index pattern T break the symmetry: 0, 1, 2, 3, 4, 5, 6, 7 and 16 more." in (
        verdict.explain()
    )
    assert "($i = 0, 1, 2, 3, 4, 5, 6, 7$ and 16 more)" in verdict.explain(format="latex")


def test_a_bias_per_unit_breaks_every_shift() -> None:
    ring = cm.ConvGeometry((4, 4), (3, 3), padding="same", boundary="circular")
    assert eq.check_network([network.Convolution(ring, bias="channel")], (1, 0)).holds
    invariant: Any = network.Convolution(ring, bias="channel")
    assert eq.surviving_shifts([invariant]) == (1, 1)
    for bias in ("unit", np.arange(16.0)):
        assert not eq.check_network([network.Convolution(ring, bias=bias)], (1, 0)).holds
        assert eq.surviving_shifts([network.Convolution(ring, bias=bias)]) == (4, 4)
