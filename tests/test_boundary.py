"""The one-axis rule on every kind of integer, against `numpy.pad`."""

from __future__ import annotations

import dataclasses
import operator
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
import sympy

import convmatrix as cm
from convmatrix.boundary import BOUNDARIES, NOTHING, PLAIN, SIGNED, Axis, choose, read_sample, read_terms, tap_position
from tests.cases import for_each

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from convmatrix.boundary import Boundary

SIZES: Final = range(1, 8)
FARTHEST: Final = 30
POSITIONS: Final = range(-FARTHEST, FARTHEST + 1)
NUMPY_MODES: Final = {
    "zero": "constant",
    "circular": "wrap",
    "reflect": "reflect",
    "symmetric": "symmetric",
    "replicate": "edge",
}

each_boundary = for_each("boundary", PLAIN)
each_signed = for_each("boundary", SIGNED)
each_size = for_each("size", SIZES)


def expected_samples(size: int, boundary: str) -> list[int]:
    """Return the sample read at each of `POSITIONS`, by `numpy.pad` of the sample numbers."""
    options: dict[str, Any] = {"constant_values": -1} if boundary == "zero" else {}
    widths = (FARTHEST, FARTHEST + 1 - size)
    padded: NDArray[np.int64] = np.pad(np.arange(size), widths, NUMPY_MODES[boundary], **options)  # type: ignore[call-overload]
    return [int(sample) for sample in padded]


def test_the_boundaries_are_those_of_the_table() -> None:
    assert tuple(NUMPY_MODES) == PLAIN
    assert BOUNDARIES == cm.BOUNDARIES == (*PLAIN, *SIGNED)
    assert NOTHING == -1


@for_each(
    ("boundary", "letters"),
    [
        ("zero", "......|abcd|......"),
        ("circular", "cdabcd|abcd|abcdab"),
        ("reflect", "abcdcb|abcd|cbabcd"),
        ("symmetric", "cddcba|abcd|dcbaab"),
        ("replicate", "aaaaaa|abcd|dddddd"),
    ],
)
def test_the_rule_by_hand(boundary: Boundary, letters: str) -> None:
    read = [read_sample(position, 4, boundary) for position in range(-6, 10)]
    shown = "".join("." if sample == NOTHING else "abcd"[sample] for sample in read)
    assert f"{shown[:6]}|{shown[6:10]}|{shown[10:]}" == letters


@each_boundary
@each_size
@for_each("kind", [int, np.int64, np.int32, sympy.Integer], ids=lambda kind: kind.__name__)
def test_the_rule_on_single_integers(boundary: Boundary, size: int, kind: Callable[[int], Any]) -> None:
    read = [read_sample(kind(position), kind(size), boundary) for position in POSITIONS]
    assert read == expected_samples(size, boundary)
    assert read == [read_sample(kind(position), size, boundary) for position in POSITIONS]


@each_boundary
@each_size
@for_each("dtype", [np.int32, np.int64])
def test_the_rule_on_index_arrays(boundary: Boundary, size: int, dtype: type[np.integer]) -> None:
    positions = np.array(POSITIONS, dtype=dtype)
    samples = read_sample(positions, size, boundary)
    assert samples.dtype == dtype
    assert samples.tolist() == expected_samples(size, boundary)
    assert positions.tolist() == list(POSITIONS)  # nothing is written into the argument
    grid = read_sample(positions.reshape(61, 1), np.full((1, 2), size), boundary)
    assert grid.tolist() == [[sample, sample] for sample in expected_samples(size, boundary)]


@each_boundary
def test_the_rule_on_arrays_of_sizes(boundary: Boundary) -> None:
    samples = read_sample(np.array(POSITIONS)[:, None], np.array(SIZES), boundary)
    assert samples.T.tolist() == [expected_samples(size, boundary) for size in SIZES]


def piecewise(condition: Any, then: Any, otherwise: Any) -> Any:
    """Choose between SymPy expressions."""
    return sympy.Piecewise((then, condition), (otherwise, True))


@each_boundary
def test_the_rule_on_a_symbol_for_the_position(boundary: Boundary) -> None:
    position = sympy.Symbol("p", integer=True)
    for size in SIZES:
        sample = sympy.sympify(read_sample(position, size, boundary, select=piecewise))
        assert [sample.subs(position, p) for p in POSITIONS] == expected_samples(size, boundary)


@each_boundary
def test_the_rule_on_symbols_for_position_and_size(boundary: Boundary) -> None:
    position, size = sympy.symbols("p n", integer=True)
    sample = read_sample(position, size, boundary, select=piecewise)
    assert position in sample.free_symbols
    assert sample.free_symbols <= {position, size}
    # SymPy works out both sides of a choice, and on one sample that of "reflect" not taken is a remainder by 0.
    for n in SIZES[1:] if boundary == "reflect" else SIZES:
        of_this_size = sample.subs(size, n)
        assert [of_this_size.subs(position, p) for p in POSITIONS] == expected_samples(n, boundary)


@each_boundary
def test_the_rule_on_smt_integers(boundary: Boundary) -> None:
    z3 = pytest.importorskip("z3", reason="the rule runs on the integers of an SMT solver")
    position, size = z3.Ints("p n")
    sample = read_sample(position, size, boundary, select=z3.If)
    for n, p in product(SIZES, POSITIONS):
        value = z3.simplify(z3.substitute(sample, (position, z3.IntVal(p)), (size, z3.IntVal(n))))
        assert value.as_long() == expected_samples(n, boundary)[p + FARTHEST]


@each_boundary
def test_a_solver_proves_the_sample_in_range(boundary: Boundary) -> None:
    z3 = pytest.importorskip("z3", reason="the rule runs on the integers of an SMT solver")
    position = z3.Int("p")
    for size in SIZES:
        sample = read_sample(position, size, boundary, select=z3.If)
        solver = z3.Solver()
        lowest = NOTHING if boundary == "zero" else 0
        solver.add(z3.Not(z3.And(lowest <= sample, sample < size)))
        assert solver.check() == z3.unsat
        inside = z3.Solver()
        inside.add(position >= 0, position < size, sample != position)
        assert inside.check() == z3.unsat


@each_boundary
@each_size
@for_each("turns", [10**12, -(10**12), 2**80, -(2**80)])
def test_the_rule_far_outside(boundary: Boundary, size: int, turns: int) -> None:
    """Whole periods change nothing; 2**80 is for Python's integers only."""
    near = expected_samples(size, boundary)
    if boundary == "zero":
        near = [NOTHING] * len(near)
    elif boundary == "replicate":
        near = [0 if turns < 0 else size - 1] * len(near)
    period = 420 * 24  # a multiple of n, 2n and 2(n - 1) for every size here
    positions = [position + turns * period for position in POSITIONS]
    assert [read_sample(position, size, boundary) for position in positions] == near
    if abs(turns) < 2**63 // period:
        assert read_sample(np.array(positions), size, boundary).tolist() == near


@each_boundary
def test_samples_inside_are_read_directly(boundary: Boundary) -> None:
    size = 2**40
    inside = np.array([0, 1, 2**20, size - 2, size - 1])
    assert read_sample(inside, size, boundary).tolist() == inside.tolist()


def test_an_unknown_boundary_is_refused() -> None:
    with pytest.raises(
        ValueError,
        match=r"^unknown boundary 'mirror'; choose one of zero, circular, reflect, symmetric, replicate, "
        r"antireflect, antisymmetric$",
    ):
        read_sample(0, 4, "mirror")  # type: ignore[arg-type]


# --- the choice, the position, the axis -------------------------------------------------------------------------------


def test_choose_takes_truth_values_and_arrays() -> None:
    assert choose(True, 3, 4) == 3
    assert choose(np.False_, 3, 4) == 4
    assert choose(np.array([True, False]), 3, 4).tolist() == [3, 4]
    assert choose(np.array([True, False]), np.array([1, 2]), np.array([5, 6])).tolist() == [1, 6]
    assert choose(sympy.Integer(2) < 3, 3, 4) == 3


def test_tap_position_is_linear_in_output_and_tap() -> None:
    for output, tap, stride, dilation, pad_low in product((0, 1, 5), (0, 2), (1, 3), (1, 4), (0, 2, 7)):
        positions = np.arange(-50, 50)
        index = 50 + output * stride + tap * dilation - pad_low  # walked to, from position 0
        assert tap_position(output, tap, stride, dilation, pad_low) == positions[index]
    assert tap_position(np.arange(3), 1, 2, 5, 3).tolist() == [2, 4, 6]
    symbols = sympy.symbols("i t s d p")
    assert tap_position(*symbols) == sympy.sympify("i*s + t*d - p")


AXES: Final = [
    Axis(n_outputs=5, n_samples=4, n_taps=3, stride=s, dilation=d, pad_low=p, boundary=boundary, flip=flip)
    for s, d, p, boundary, flip in product((1, 2), (1, 3), (0, 2, 9), PLAIN, (False, True))
]


@for_each("axis", AXES, ids=str)
def test_an_axis_reads_what_a_padded_array_holds(axis: Axis) -> None:
    padded = expected_samples(axis.n_samples, axis.boundary)
    for output, tap in product(range(axis.n_outputs), range(axis.n_taps)):
        moved = axis.n_taps - 1 - tap if axis.flip else tap
        position = output * axis.stride + moved * axis.dilation - axis.pad_low
        assert axis.position(output, tap) == position
        assert axis.sample(output, tap) == padded[position + FARTHEST]
    grid = axis.sample(np.arange(axis.n_outputs)[:, None], np.arange(axis.n_taps))
    assert grid.tolist() == [
        [axis.sample(output, tap) for tap in range(axis.n_taps)] for output in range(axis.n_outputs)
    ]


def test_an_axis_of_symbols() -> None:
    i, t, n, k, s, d, p, tile = sympy.symbols("i t n k s d p T", integer=True)
    axis = Axis(n_outputs=n, n_samples=n, n_taps=k, stride=s, dilation=d, pad_low=p, boundary="circular", tile=tile)
    assert axis.sample(i, t) == sympy.Mod(i * s + t * d - p, n)
    assert axis.weight(i, t) == sympy.Mod(i, tile) * k + t
    flipped = dataclasses.replace(axis, flip=True, boundary="symmetric")
    numbers = {i: 3, t: 1, n: 4, k: 3, s: 2, d: 1, p: 0, tile: 2}
    assert flipped.sample(i, t, select=piecewise).subs(numbers) == 0  # position 7 of a b c d | d c b a
    assert flipped.position(i, t).subs(numbers) == 7


@for_each(("tile", "weights"), [(1, [[0, 1, 2]] * 4), (2, [[0, 1, 2], [3, 4, 5]] * 2)])
def test_an_axis_numbers_its_weights_tile_by_tile(tile: int, weights: list[list[int]]) -> None:
    axis = Axis(n_outputs=4, n_samples=6, n_taps=3, tile=tile)
    assert axis.weight(np.arange(4)[:, None], np.arange(3)).tolist() == weights
    assert [[axis.weight(i, t) for t in range(3)] for i in range(4)] == weights


def test_flipping_moves_the_tap_not_its_weight() -> None:
    axis = Axis(n_outputs=2, n_samples=4, n_taps=3, flip=True)
    assert [axis.position(0, tap) for tap in range(3)] == [2, 1, 0]
    assert [axis.weight(0, tap) for tap in range(3)] == [0, 1, 2]


def test_an_axis_is_immutable_and_compares_by_value() -> None:
    axis = Axis(n_outputs=2, n_samples=4, n_taps=3)
    assert axis == Axis(2, 4, 3, stride=1, dilation=1, pad_low=0, boundary="zero", flip=False, tile=1)
    assert hash(axis) == hash(Axis(2, 4, 3))
    assert axis != Axis(2, 4, 3, flip=True)
    with pytest.raises(dataclasses.FrozenInstanceError, match="stride"):
        axis.stride = 2  # type: ignore[misc]
    assert operator.attrgetter("stride", "dilation", "pad_low", "tile")(axis) == (1, 1, 0, 1)


# --- signed boundaries ------------------------------------------------------------------------------------------------


def padded_basis(size: int, boundary: str) -> NDArray[np.int64]:
    """Return the coefficient of each sample at each of `POSITIONS`: a padded basis, shape (positions, size)."""
    basis, widths = np.eye(size, dtype=np.int64), (FARTHEST, FARTHEST + 1 - size)
    if boundary == "antireflect":
        return np.pad(basis, [widths, (0, 0)], mode="reflect", reflect_type="odd")
    rows = []
    for position in POSITIONS:
        sign = 1
        while not 0 <= position < size:
            position, sign = -1 - position if position < 0 else 2 * size - 1 - position, -sign
        rows.append(sign * basis[position])
    return np.array(rows)


def coefficients(terms: Any, size: int) -> list[int]:
    """Return the coefficient of each sample in a sum of terms."""
    row = [0] * size
    for sample, factor in terms:
        row[int(sample)] += int(factor)
    return row


@each_signed
@each_size
@for_each("kind", [int, np.int64, np.int32, sympy.Integer], ids=lambda kind: kind.__name__)
def test_terms_on_single_integers(boundary: Boundary, size: int, kind: Callable[[int], Any]) -> None:
    read = [coefficients(read_terms(kind(position), kind(size), boundary), size) for position in POSITIONS]
    assert read == padded_basis(size, boundary).tolist()


@each_signed
@each_size
def test_terms_on_index_arrays(boundary: Boundary, size: int) -> None:
    positions = np.array(POSITIONS)
    total = np.zeros((len(positions), size), dtype=np.int64)
    for sample, factor in read_terms(positions, size, boundary):
        np.add.at(total, (np.arange(len(positions)), sample), factor)
    assert total.tolist() == padded_basis(size, boundary).tolist()
    assert positions.tolist() == list(POSITIONS)


@each_signed
def test_terms_on_a_symbol_for_the_position(boundary: Boundary) -> None:
    position = sympy.Symbol("p", integer=True)
    for size in (1, 2, 5):
        terms = [tuple(map(sympy.sympify, term)) for term in read_terms(position, size, boundary, select=piecewise)]
        read = [coefficients([(s.subs(position, p), c.subs(position, p)) for s, c in terms], size) for p in POSITIONS]
        assert read == padded_basis(size, boundary).tolist()


@each_boundary
def test_plain_boundaries_have_one_term(boundary: Boundary) -> None:
    for size, position in product(SIZES, POSITIONS):
        assert read_terms(position, size, boundary) == ((read_sample(position, size, boundary), 1),)


@each_signed
def test_terms_inside_are_the_sample_and_signed_boundaries_have_no_single_sample(boundary: Boundary) -> None:
    for size in SIZES:
        for position in range(size):
            assert coefficients(read_terms(position, size, boundary), size)[position] == 1
    with pytest.raises(ValueError, match=rf"'{boundary}'.*read_terms"):
        read_sample(-1, 4, boundary)
    axis = Axis(n_outputs=5, n_samples=4, n_taps=3, stride=2, dilation=3, pad_low=7, boundary=boundary, flip=True)
    assert axis.terms(3, 1) == read_terms(axis.position(3, 1), 4, boundary)
