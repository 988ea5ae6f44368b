"""The theorems for every size: both engines, certificates, matrices, and mutants that no engine may prove."""

from __future__ import annotations

import copy
import json
import operator
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import numpy as np
import pytest
import sympy

from convmatrix import boundary as _boundary
from convmatrix import boundary as rule
from convmatrix import equivariance, symbolic
from convmatrix import proofs as pr
from convmatrix.geometry import ConvGeometry
from convmatrix.proofs import catalogue, smt
from convmatrix.proofs.catalogue import all_theorems, symbol_matrices
from convmatrix.proofs.certificates import check_certificate, check_contradiction, from_data, solved
from convmatrix.proofs.problems import problems
from convmatrix.proofs.proving import lemma_part, proof_of, prove_theorem, theorem
from convmatrix.proofs.results import polynomial_text
from convmatrix.proofs.search import contradiction, decide_with_sympy
from convmatrix.proofs.smt import decide_with_z3
from convmatrix.proofs.statements import Algebra, Condition, Decision, Lemma, Theorem, evaluate, example_holds
from tests import mutants_of_theory, z3_fresh

THEOREMS = all_theorems()
each_theorem = pytest.mark.parametrize("name", THEOREMS)
needs_z3 = pytest.mark.skipif(find_spec("z3") is None, reason="needs the extra prove")
each_engine = pytest.mark.parametrize("engine", ["sympy", pytest.param("z3", marks=needs_z3)])
DECIDE = {"sympy": decide_with_sympy, "z3": decide_with_z3}


class Proofs(dict[tuple[str, str], pr.Proof]):
    """Proofs by name and engine, each found when it is first asked for: workers share the theorems."""

    def __missing__(self, key: tuple[str, str]) -> pr.Proof:
        self[key] = pr.prove(*key)
        return self[key]


@pytest.fixture(scope="module")
def proofs() -> dict[tuple[str, str], pr.Proof]:
    """Return every proof by every engine."""
    return Proofs()


def test_there_are_thirty() -> None:
    assert len(pr.theorems()) == len(set(pr.theorems())) >= 30


@each_theorem
def test_proved_by_sympy_and_rechecked(name: str, proofs: dict[tuple[str, str], pr.Proof], tmp_path: Path) -> None:
    proof = proofs[name, "sympy"]
    assert proof.proved, proof.explain()
    assert proof.decided_alone
    assert "NOT" not in proof.explain()
    proof.save(tmp_path / "proof.json")
    assert pr.recheck(tmp_path / "proof.json") == name


@needs_z3
@each_theorem
def test_proved_by_z3(name: str, proofs: dict[tuple[str, str], pr.Proof]) -> None:
    proof = proofs[name, "z3"]
    assert proof.proved, proof.explain()
    assert proof.decided_alone == (not THEOREMS[name].identities)
    for part in proof.parts:
        if part.kind == "integer lemma":
            assert part.certificate["unsatisfiable"]
            assert all("(check-sat)" in script for script in part.certificate["unsatisfiable"])
        else:
            assert part.decided_by == "sympy"


@needs_z3
@pytest.mark.parametrize("name", ["reflection-symmetry", "circular-shift"])
def test_proved_by_z3_in_a_fresh_process(name: str) -> None:
    """Without what earlier questions leave in the solver; ``python -m tests.z3_fresh`` asks for all theorems."""
    answer = z3_fresh.ask(name)
    assert answer.status == 0, answer.text
    assert "z3" in answer.text


def test_a_fresh_process_that_proves_nothing_is_noticed() -> None:
    assert z3_fresh.ask("no-such-theorem").status == 2


@each_theorem
def test_on_explicit_matrices(name: str) -> None:
    found = pr.instances(name)
    assert len(found) >= 5
    assert [what for what, holds in found if not holds] == []


def test_every_theorem_of_the_catalogue_is_listed() -> None:
    modules = [import_module(f"{catalogue.__name__}.{found.name}") for found in iter_modules(catalogue.__path__)]
    stated = {known.name for module in modules for known in vars(module).values() if isinstance(known, Theorem)}
    assert stated == set(THEOREMS) == set(pr.theorems())


def test_hypotheses_are_satisfiable() -> None:
    for name, known in THEOREMS.items():
        names = [*(lemma.name for lemma in known.lemmas), *(identity.name for identity in known.identities)]
        assert len(set(names)) == len(names)
        for lemma in known.lemmas:
            assert example_holds(lemma), (name, lemma.name)


# --- mutants ---------------------------------------------------------------------------------------------------------

read_sample, tap_position = rule.read_sample, rule.tap_position
forward_axis, transposed_axis = _boundary.forward_axis, _boundary.transposed_axis


def wrong_modulus(position: Any, size: Any, boundary: Any, select: Any = rule.choose) -> Any:
    if boundary == "circular":
        return position % (size + 1)
    return read_sample(position, size, boundary, select)


def one_too_many(position: Any, size: Any, boundary: Any, select: Any = rule.choose) -> Any:
    if boundary == "zero":
        return select(position < 0, rule.NOTHING, select(position <= size, position, rule.NOTHING))
    return read_sample(position, size, boundary, select)


def fold_off_by_one(position: Any, size: Any, boundary: Any, select: Any = rule.choose) -> Any:
    if boundary == "symmetric":
        phase = position % (2 * size)
        return select(phase < size, phase, 2 * size - phase)
    if boundary == "replicate":
        return select(position <= 0, 1, select(position < size, position, size - 1))
    return read_sample(position, size, boundary, select)


def one_too_few(position: Any, size: Any, boundary: Any, select: Any = rule.choose) -> Any:
    if boundary == "zero":
        return select(position <= 0, rule.NOTHING, select(position < size, position, rule.NOTHING))
    return read_sample(position, size, boundary, select)


def moved_by_one(output: Any, tap: Any, stride: Any, dilation: Any, pad_low: Any) -> Any:
    return output * stride + tap * dilation - pad_low + 1


def lost_offset(output: Any, tap: Any, stride: Any, dilation: Any, pad_low: Any) -> Any:
    return output * stride + tap * dilation


def wrong_stride(output: Any, tap: Any, stride: Any, dilation: Any, pad_low: Any) -> Any:
    return output * (stride + 1) + tap * dilation - pad_low


def wrong_dilation(output: Any, tap: Any, stride: Any, dilation: Any, pad_low: Any) -> Any:
    return output * stride + tap * (dilation + 1) - pad_low


def wrong_tile(self: Any, output: Any, tap: Any) -> Any:
    return (output % (self.tile + 1)) * self.n_taps + tap


RULES: dict[str, tuple[str, Any]] = {
    "circular-shift": ("read_sample", wrong_modulus),
    "strided-shift": ("tap_position", wrong_stride),
    "circulant-converse": ("read_sample", wrong_modulus),
    "zero-padding-border": ("read_sample", one_too_many),
    "adjoint": ("tap_position", lost_offset),
    "circulants-commute": ("tap_position", moved_by_one),
    "full-composition": ("tap_position", moved_by_one),
    "fourier-eigenvectors": ("read_sample", wrong_modulus),
    "cosine-eigenvectors": ("read_sample", fold_off_by_one),
    "toeplitz-compression": ("read_sample", one_too_few),
    "reflection-symmetry": ("read_sample", fold_off_by_one),
    "elementwise-and-bias": ("read_sample", wrong_modulus),
    "pooling-shift": ("tap_position", wrong_stride),
    "stride-composition": ("tap_position", wrong_stride),
    "tiled-shift": ("weight", wrong_tile),
    "no-scaling-or-rotation": ("read_sample", wrong_modulus),
    "padding-border": ("read_sample", fold_off_by_one),
    "output-sizes": ("tap_position", lost_offset),
    "gradients": ("tap_position", lost_offset),
    "fourier-blocks": ("read_sample", wrong_modulus),
    "tap-weights": ("weight", wrong_tile),
    "dilation-as-zeros": ("tap_position", wrong_dilation),
    "stride-as-subsampling": ("tap_position", wrong_stride),
    "polyphase": ("tap_position", moved_by_one),
    "strided-merge": ("tap_position", moved_by_one),
    "ring-folding": ("read_sample", wrong_modulus),
    "padding-factorisation": ("tap_position", lost_offset),
    "boundary-adjoint": ("read_sample", wrong_modulus),
    "tiles": ("tap_position", lost_offset),
    "short-axes": ("read_sample", fold_off_by_one),
}


SIZES: dict[str, Callable[..., tuple[Any, ...]]] = {
    "forward_axis": lambda *a: (*forward_axis(*a)[:3], forward_axis(*a)[3] + 1),
    "transposed_axis": lambda *a: (*transposed_axis(*a)[:3], transposed_axis(*a)[3] - a[6]),
}


def fails_on_matrices(name: str) -> bool:
    """Whether an explicit matrix shows that a theorem fails, or has an entry outside of itself."""
    try:
        return not all(holds for _, holds in THEOREMS[name].on_matrices())
    except (ValueError, IndexError, sympy.ShapeError):
        return True


def refuses(lemmas: tuple[Lemma, ...], decide: Callable[[Lemma], Any]) -> bool:
    """Whether an engine does not prove one of the lemmas; a counterexample that it gives is one."""
    for lemma in lemmas:
        decision = decide(lemma)
        if decision.counterexample is not None:
            assert decision.status == "refuted"
            assert evaluate(lemma.build, decision.counterexample) == (True, False)
        if not decision.proved:
            return True
    return False


@each_engine
@pytest.mark.parametrize("name", RULES)
def test_a_bug_in_the_rule_is_refused(name: str, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engines run the rule itself: change it in boundary.py, and the proof fails."""
    monkeypatch.setattr(smt, "_MILLISECONDS", 2000)
    attribute, mutant = RULES[name]
    monkeypatch.setattr(rule.Axis if attribute == "weight" else rule, attribute, mutant)
    assert refuses(THEOREMS[name].lemmas, DECIDE[engine])
    if engine == "sympy":
        assert fails_on_matrices(name)


@each_engine
@pytest.mark.parametrize(
    "name", ["strided-shift", "circulant-converse", "zero-padding-border", "padding-border", "tiled-shift"]
)
def test_taps_with_one_weight_are_noticed(name: str, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A theorem that says which shifts break a layer rests on different weights of different taps."""
    monkeypatch.setattr(rule.Axis, "weight", lambda self, output, tap: output % self.tile * self.n_taps)
    assert refuses(THEOREMS[name].lemmas[-1:], DECIDE[engine])


@each_engine
@pytest.mark.parametrize("function", SIZES)
def test_a_bug_in_the_sizes_is_refused(function: str, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof of output-sizes runs the functions that compute the sizes of layers."""
    monkeypatch.setattr(smt, "_MILLISECONDS", 2000)
    monkeypatch.setattr(_boundary, function, SIZES[function])
    assert refuses(THEOREMS["output-sizes"].lemmas, DECIDE[engine])
    monkeypatch.setattr("convmatrix.geometry." + function, SIZES[function], raising=False)
    assert fails_on_matrices("output-sizes")


@each_engine
def test_swapped_branches_of_the_choice_are_noticed(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines choose in their own way; examples and matrices are computed with the function that builds layers."""

    def swapped(condition: Any, then: Any, otherwise: Any) -> Any:
        if isinstance(condition, np.ndarray):
            return np.where(condition, otherwise, then)
        return otherwise if condition else then

    monkeypatch.setattr(rule.choose, "__code__", swapped.__code__)
    assert not pr.prove("short-axes", engine).proved
    with np.errstate(all="ignore"):
        assert fails_on_matrices("short-axes")


@each_engine
@pytest.mark.parametrize(
    "colliding",
    [
        lambda self, output, tap: output % self.tile + tap,
        lambda self, output, tap: output % self.tile * (self.n_taps - 1) + tap,
        lambda self, output, tap: output % self.tile * self.n_taps,
        lambda self, output, tap: output * 0 + tap,
    ],
    ids=["kernels next to each other", "kernels that overlap", "taps share a weight", "kernels share weights"],
)
def test_colliding_weights_are_noticed(colliding: Any, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule.Axis, "weight", colliding)
    assert refuses(THEOREMS["tap-weights"].lemmas, DECIDE[engine])
    assert fails_on_matrices("tap-weights")


@needs_z3
def test_a_sample_of_the_attack() -> None:
    """A few faults of the rule, the sizes and the lemmas: noticed, and no false lemma proved; the script runs all."""
    drawn = [mutant for mutant in mutants_of_theory.mutants_of_rule() if mutant.key in SAMPLE]
    assert {mutant.key for mutant in drawn} == SAMPLE
    for mutant in drawn:
        found = mutants_of_theory.attack(mutant, seconds=0.3)
        assert found.noticed, mutant
        assert found.false, mutant
        assert not found.proved, (mutant, found)


SAMPLE = {
    "choose: then if condition else otherwise -> otherwise if condition else then",
    "weight: output % self.tile * self.n_taps + tap -> output % self.tile * self.n_taps",
    "_split: 2 -> 3",
}


# Far from the small numbers with which counterexamples are looked for: only what the engines conclude can refuse these.
FAR = 1000


def equality_in_a_choice(position: Any, size: Any, boundary: Any, select: Any = rule.choose) -> Any:
    return select(position == FAR, 0, read_sample(position, size, boundary, select))


def inequality_in_a_choice(position: Any, size: Any, boundary: Any, select: Any = rule.choose) -> Any:
    return select(position != FAR, read_sample(position, size, boundary, select), 0)


def equality_in_a_branch(position: Any, size: Any, boundary: Any, select: Any = rule.choose) -> Any:
    if position == FAR:
        return 0
    return read_sample(position, size, boundary, select)


def conditions_joined(position: Any, size: Any, boundary: Any, select: Any = rule.choose) -> Any:
    return select((position > FAR) & (position < FAR + 2), 0, read_sample(position, size, boundary, select))


def conditions_alternative(position: Any, size: Any, boundary: Any, select: Any = rule.choose) -> Any:
    return select((position < FAR) | (position > FAR), read_sample(position, size, boundary, select), 0)


@each_engine
@pytest.mark.parametrize(
    "mutant",
    [
        equality_in_a_choice,
        inequality_in_a_choice,
        equality_in_a_branch,
        conditions_joined,
        conditions_alternative,
    ],
)
def test_a_bug_at_one_position_is_refused(mutant: Any, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the rule is written: symbols have no truth value, and are equal to nothing by accident."""
    monkeypatch.setattr(rule, "read_sample", mutant)
    lemma = next(lemma for lemma in THEOREMS["reflection-symmetry"].lemmas if lemma.name == "zero, inside")
    proof = prove_theorem(replace(theorem("reflection-symmetry"), lemmas=(lemma,)), engine)
    assert not proof.proved
    if mutant is equality_in_a_branch:
        assert "undecided" in proof.explain()
        assert "the code that it runs is beyond the engines" in proof.explain()


@each_engine
def test_joined_conditions_are_understood(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule written with ``&``, ``|`` and ``!=``, as NumPy code is, is proved as well."""

    def joined(position: Any, size: Any, boundary: Any, select: Any = rule.choose) -> Any:
        if boundary != "zero":
            return read_sample(position, size, boundary, select)
        inside = (position >= 0) & (position < size)
        return select(inside, position, select((position < 0) | (position != 0), rule.NOTHING, rule.NOTHING))

    monkeypatch.setattr(rule, "read_sample", joined)
    assert pr.prove("gradients", engine).proved


# --- code that would take one branch silently -------------------------------------------------------------------------


def lemma_about_x(claim: Callable[[Algebra, Any], Any], **example: int) -> Lemma:
    """Return the claim as a lemma about an integer x >= 0."""

    def build(a: Algebra) -> Any:
        (x,) = a.integers("x")
        a.assume(x >= 0)
        return claim(a, x)

    return Lemma("x", "a claim", "a claim", build, example or {"x": 1})


SILENT: dict[str, Callable[[Algebra, Any], Any]] = {
    "if x": lambda a, x: a.equal((x if x else 7) * a.select(x == 60, 0, 1), x),
    "x or 7": lambda a, x: a.equal((x or 7) * a.select(x < FAR, 1, 0), x),
    "not x": lambda a, x: a.equal(a.select(x < FAR, x, 0) if not x else x, x),  # noqa: SIM212
    "conditions with ==": lambda a, x: a.equal(a.select((x == FAR) == (x == FAR + 1), 0, 1), 0),
    "conditions with !=": lambda a, x: a.equal(a.select((x == FAR) != (x != FAR + 1), 0, 1), 0),
    "a condition in a set": lambda a, x: a.equal(0 if (x == FAR) in {True} else a.select(x < FAR, 0, 1), 0),
    "and": lambda a, x: a.equal(a.select(x >= 0 and x != FAR, 0, 1), 0),
    "chained": lambda a, x: a.equal(a.select(0 <= x < FAR, 0, 1), 0),
    "a condition as an integer": lambda a, x: a.equal((x >= FAR) + 0, 0),
    "max": lambda a, x: max(x, FAR) <= FAR,
    "a half": lambda a, x: a.equal(x * 0.5, 0),
    "a float": lambda a, x: a.equal(x * 1.0, x),
    "an integer as a condition": lambda a, x: a.either(x, x < FAR),
}


@each_engine
@pytest.mark.parametrize("name", SILENT)
def test_code_that_takes_one_branch_is_not_proved(name: str, engine: str) -> None:
    decision = DECIDE[engine](lemma_about_x(SILENT[name]))
    assert not decision.proved


@each_engine
def test_numbers_are_tried_before_symbols(engine: str) -> None:
    """A condition on symbols is never the object True, so symbols do not see the wrong branch; numbers do."""
    lemma = lemma_about_x(lambda a, x: a.equal(x + 1 if (x >= 3) is True else x, x))
    decision = DECIDE[engine](lemma)
    assert decision.status == "refuted"
    assert decision.counterexample is not None
    assert decision.counterexample["x"] >= 3


@each_engine
@pytest.mark.parametrize("name", ["q0", "q1", "quotient", "remainder"])
def test_a_variable_may_be_called_as_a_quotient(name: str, engine: str) -> None:
    """X % 1000 == x is false from 1000 on, and true if the variable is confused with the quotient, which is 0."""

    def build(a: Algebra) -> Any:
        x, n = a.integers(f"{name} n")
        a.assume(n >= 1, x >= 0)
        return a.either(a.equal(x % n, x), x >= n) if holds else a.either(x < 1000, x % 1000 < 0)

    decide = DECIDE[engine]
    holds = True
    assert decide(Lemma("x", "", "", build, {name: 1, "n": 2})).proved
    holds = False
    assert not decide(Lemma("x", "", "", build, {name: 1, "n": 2})).proved


def test_a_rule_that_divides_by_zero_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_care_of_one_sample(position: Any, size: Any, boundary: Any, select: Any = rule.choose) -> Any:
        if boundary != "reflect":
            return read_sample(position, size, boundary, select)
        phase = position % (2 * size - 2)
        return select(phase < size, phase, 2 * size - 2 - phase)

    monkeypatch.setattr(rule, "read_sample", no_care_of_one_sample)
    part = next(part for part in pr.prove("reflection-symmetry").parts if part.name == "reflect boundary")
    assert part.status == "refuted"
    assert part.counterexample is not None
    assert part.counterexample["n"] == 1


def one_more_for_wide_padding(*a: Any) -> tuple[Any, ...]:
    low, high, extra, outputs = forward_axis(*a)
    return (low, high, extra, outputs + 1) if high > low else (low, high, extra, outputs)


def one_more_at_one_stride(*a: Any) -> tuple[Any, ...]:
    found = forward_axis(*a)
    return (*found[:3], found[3] + 1) if a[4] == FAR else found


@each_engine
@pytest.mark.parametrize(
    ("mutant", "message"),
    [
        (one_more_for_wide_padding, "branch 2 of the function of sizes raises no ValueError"),
        (one_more_at_one_stride, "branch 2 of the function of sizes raises no ValueError"),
    ],
)
def test_branches_of_sizes_are_not_set_aside(
    mutant: Any, message: str, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a branch that ends in an error may be assumed not to be taken."""
    monkeypatch.setattr(_boundary, "forward_axis", mutant)
    proof = pr.prove("output-sizes", engine)
    assert not proof.proved
    assert message in proof.explain()


@each_engine
def test_operators_of_symbols_do_what_those_of_numbers_do(engine: str) -> None:
    """All engines share the operators of symbols: each has to give the number that Python gives."""
    functions: list[Callable[[Any, Any], Any]] = [
        operator.add, operator.sub, operator.mul, operator.floordiv, operator.mod, lambda x, _: -x,
    ]  # fmt: skip
    relations = [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne]
    pairs = [(-2, 3), (4, 3), (3, 3)]

    def build(a: Algebra) -> Condition:
        claims = []
        for place, (left, right) in enumerate(pairs):
            x, y = a.integers(f"x{place} y{place}")
            a.assume(a.equal(x, left), a.equal(y, right))
            for one, other in ((x, y), (x, right), (left, y)):
                claims += [a.equal(function(one, other), function(left, right)) for function in functions]
                holds = [(relation(one, other), relation(left, right)) for relation in relations]
                claims += [condition if expected else a.negation(condition) for condition, expected in holds]
        return a.both(*claims)

    example = {f"{name}{place}": pair[name == "y"] for place, pair in enumerate(pairs) for name in "xy"}
    assert DECIDE[engine](Lemma("", "", "", build, example)).proved


@each_engine
def test_quotients(engine: str) -> None:
    """The quotient // rounds down, of any value by a positive modulus, and its rest is the remainder."""
    decide = DECIDE[engine]

    def rounds_down(a: Algebra) -> Condition:
        x, m = a.integers("x m")
        a.assume(m >= 1)
        return a.both(a.equal(m * (x // m) + x % m, x), m * (x // m) <= x, x < m * (x // m + 1))

    def rounds_to_zero(a: Algebra) -> Condition:
        x, m = a.integers("x m")
        a.assume(m >= 1)
        return a.implies(x < 0, m * (x // m) >= x)

    def of_any_modulus(a: Algebra) -> Condition:
        x, m = a.integers("x m")
        return a.equal(m * (x // m) + x % m, x)

    example = {"x": -7, "m": 2}
    assert decide(Lemma("", "", "", rounds_down, example)).status == "proved"
    assert decide(Lemma("", "", "", rounds_to_zero, example)).status == "refuted"
    assert decide(Lemma("", "", "", of_any_modulus, example)).status != "proved"


def overlapping_index(a: Algebra) -> Condition:
    """State that the flat index is injective, with one x too many."""
    size, u, v, x, y = a.integers("size u v x y")
    a.assume(size >= 1, x >= 0, x <= size, a.within(y, size), a.equal(u * size + x, v * size + y))
    return a.equal(u, v)


def every_shift_passes(a: Algebra) -> Condition:
    """State that a strided ring passes every shift."""
    m, s, i, c = a.integers("m s i c")
    a.assume(m >= 1, s >= 1, a.within(i, m))
    axis = rule.Axis(m, s * m, 1, s, boundary="circular")
    return a.equal(axis.sample((i + c) % m, 0, a.select), (axis.sample(i, 0, a.select) + c) % (s * m))


def one_border_row_less(a: Algebra) -> Condition:
    """State that a tap at position 0 is found only in rows below p."""
    n, k, p, i, t = a.integers("n k p i t")
    a.assume(n >= 2, k >= 2, p >= 0, p < k, i >= 1, i < n, a.within(t, k))
    axis = rule.Axis(n, n, k, pad_low=p)
    return a.implies(a.equal(axis.position(i, t), 0), i < p)


def no_bound(a: Algebra) -> Condition:
    """State that reflect padding breaks shifts also on two samples, where it is circular."""
    n, position = a.integers("n position")
    a.assume(n >= 2, position <= 0, position > 1 - n)
    sample = rule.read_sample(position, n, "reflect", a.select)
    before = rule.read_sample(position - 1, n, "reflect", a.select)
    return a.different(before, a.select(sample > 0, sample - 1, n - 1))


def wide_output_padding(a: Algebra) -> Condition:
    """State that an output padding of the stride is still inverted."""
    s, m, extra = a.integers("s m extra")
    a.assume(s >= 1, m >= 1, extra >= 0, extra <= s)
    rest = (m - 1) * s + extra
    return a.both(s * (m - 1) <= rest, rest < s * m)


def every_tap_stays(a: Algebra) -> Condition:
    """State that a factor that moves a tap along leaves no tap but the centre, also on a ring and for f > 2."""
    n, f, offset, quotient = a.integers("n f offset quotient")
    a.assume(n >= 1, f >= 2, a.within(offset, n), a.equal((f - 1) * offset, n * quotient))
    return a.equal(offset, 0)


def a_step_that_fails(a: Algebra) -> Condition:
    """State a claim that follows from a step, which is false."""
    (n,) = a.integers("n")
    a.assume(n >= 1)
    a.show(n >= 2)
    return n >= 2


STATEMENTS = {
    overlapping_index: {"size": 4, "u": 2, "v": 2, "x": 3, "y": 3},
    every_shift_passes: {"m": 3, "s": 1, "i": 1, "c": 1},
    one_border_row_less: {"n": 6, "k": 3, "p": 2, "i": 1, "t": 1},
    no_bound: {"n": 4, "position": -1},
    wide_output_padding: {"s": 2, "m": 3, "extra": 1},
    every_tap_stays: {"n": 4, "f": 3, "offset": 0, "quotient": 0},
    a_step_that_fails: {"n": 2},
}


@each_engine
@pytest.mark.parametrize("build", STATEMENTS, ids=lambda build: build.__name__)
def test_a_false_statement_is_refuted(build: Callable[[Algebra], Condition], engine: str) -> None:
    lemma = Lemma(build.__name__, build.__doc__ or "", "", build, STATEMENTS[build])
    assert example_holds(lemma)
    decision = DECIDE[engine](lemma)
    assert decision.status == "refuted"
    assert decision.counterexample is not None
    assert evaluate(build, decision.counterexample) == (True, False)


@pytest.mark.parametrize("build", [one_border_row_less, wide_output_padding], ids=lambda build: build.__name__)
def test_no_certificate_without_the_trial_values(
    build: Callable[[Algebra], Condition], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also without looking for counterexamples first, no certificate of a false statement is found."""
    monkeypatch.setattr("convmatrix.proofs.search.counterexample", lambda lemma: None)
    lemma = Lemma(build.__name__, "", "", build, STATEMENTS[build])
    assert decide_with_sympy(lemma).status == "undecided"


def test_contradictory_hypotheses_prove_nothing() -> None:
    def nothing(a: Algebra) -> Condition:
        (n,) = a.integers("n")
        a.assume(n >= 1, n <= 0)
        return a.equal(n, 7)

    vacuous = Lemma("vacuous", "", "", nothing, {"n": 1})
    proof = prove_theorem(replace(theorem("flat-index"), lemmas=(vacuous,)))
    assert not proof.proved
    assert "NOT proved" in proof.explain()


def test_a_modulus_must_be_positive() -> None:
    """A remainder by what may be 0 is no remainder: nothing is concluded from it."""

    def careless(a: Algebra) -> Condition:
        n, x = a.integers("n x")
        return (x % n) < n

    lemma = Lemma("careless", "", "", careless, {"n": 2, "x": 3})
    found = list(problems(careless))
    assert any(problem.obligations for problem in found)
    assert all(contradiction(part) is None for problem in found for part in problem.obligations)
    pytest.importorskip("z3", reason="needs the extra prove")
    assert not decide_with_z3(lemma).proved


@pytest.mark.parametrize("modulus", [0, -2])
def test_a_modulus_in_numbers_must_be_positive(modulus: int) -> None:
    """No remainder lies from 0 to less than 0: taken as a fact, everything would follow."""

    def careless(a: Algebra) -> Condition:
        (x,) = a.integers("x")
        a.assume(x >= 1)
        return a.both(x % modulus >= 0, x < 0)

    found = list(problems(careless))
    assert any(contradiction(part) is None for problem in found for part in (*problem.obligations, problem))
    pytest.importorskip("z3", reason="needs the extra prove")
    assert not decide_with_z3(Lemma("careless", "", "", careless, {"x": 1})).proved


def test_a_step_is_used_only_when_proved() -> None:
    """A step that is proved shortens the rest; the certificate holds its contradiction too."""

    def by_steps(a: Algebra) -> Condition:
        n, x = a.integers("n x")
        a.assume(n >= 1, a.within(x, n))
        a.show(a.equal(x % n, x))
        return a.equal((x % n) % n, x)

    lemma = Lemma("by steps", "", "", by_steps, {"n": 3, "x": 2})
    decision = decide_with_sympy(lemma)
    assert decision.proved
    check_certificate(lemma, decision.certificate)
    pytest.importorskip("z3", reason="needs the extra prove")
    decision = decide_with_z3(lemma)
    assert decision.proved
    assert len(decision.certificate["unsatisfiable"]) == 3  # the modulus, the step, the claim


# --- replay ----------------------------------------------------------------------------------------------------------


def agrees_with_the_matrix(geometry: ConvGeometry, shift: int) -> bool:
    """Whether the verdict of a shift agrees with the explicit matrix of symbols, row by row."""
    verdict = equivariance.check_shift(geometry, shift)
    assert verdict.output_shift is not None
    rows = symbol_matrices.broken(symbolic.matrix(geometry), verdict.output_shift[0], shift)
    return rows == set(np.flatnonzero(verdict.broken_rows).tolist())


def test_counterexamples_are_replayed_on_matrices() -> None:
    """The verdict of a refutation is what the explicit matrix of symbols shows, row by row."""
    for layer in (
        ConvGeometry(6, 3, padding="same"),
        ConvGeometry(6, 2, stride=2, padding=[(1, 0)]),
        ConvGeometry(5, 3, padding="same", boundary="reflect"),
        ConvGeometry(5, 3, padding="same", boundary="circular"),
    ):
        assert agrees_with_the_matrix(layer, layer.stride[0])


def test_a_refuted_statement_fails_on_the_matrix() -> None:
    """The counterexample to the claim that every shift passes is a layer whose matrix the shift changes."""
    lemma = Lemma("every shift", "", "", every_shift_passes, STATEMENTS[every_shift_passes])
    values = decide_with_sympy(lemma).counterexample
    assert values is not None
    m, s, c = values["m"], values["s"], values["c"]
    A = symbol_matrices.ring(s * m, 1, stride=s)
    assert symbol_matrices.shifted(A, c, c) != A


# --- certificates ----------------------------------------------------------------------------------------------------


def test_forged_certificates_are_refused(tmp_path: Path) -> None:
    record = json.loads(json.dumps(pr.prove("strided-shift").record()))
    assert pr.recheck(record) == "strided-shift"

    def forged(change: Callable[[Any], None]) -> Any:
        other = copy.deepcopy(record)
        change(other)
        return other

    nodes = "certificate", "contradictions"

    def node(r: Any) -> Any:
        return r["parts"][0][nodes[0]][nodes[1]]

    with pytest.raises(pr.CertificateError, match="contradictions are needed, but the certificate has"):
        pr.recheck(forged(lambda r: node(r).pop()))
    with pytest.raises(pr.CertificateError, match=r"add up to .*, not to a constant below zero"):
        pr.recheck(forged(lambda r: node(r).__setitem__(-1, {"kind": "sum", "products": [], "multiples": []})))
    with pytest.raises(pr.CertificateError, match="is negative"):
        pr.recheck(forged(lambda r: node(r).__setitem__(-1, {"kind": "sum", "products": [[-1, []]]})))
    with pytest.raises(pr.CertificateError, match="a node of kind 'trust me'"):
        pr.recheck(forged(lambda r: node(r).__setitem__(-1, {"kind": "trust me"})))
    with pytest.raises(pr.CertificateError, match="no certificate for the lemma 'strided shift'"):
        pr.recheck(forged(lambda r: r["parts"].clear()))
    with pytest.raises(pr.CertificateError, match="no certificate of contradictions, but kind 'sum'"):
        pr.recheck(forged(lambda r: r["parts"][0]["certificate"].__setitem__("kind", "sum")))
    with pytest.raises(pr.CertificateError, match="a contradiction is a node, but this is a int"):
        pr.recheck(forged(lambda r: node(r).__setitem__(-1, 3)))
    with pytest.raises(pr.CertificateError, match="its format is None"):
        pr.recheck({})
    with pytest.raises(pr.CertificateError, match="holds problems for a solver"):
        pr.recheck(forged(lambda r: r.__setitem__("engine", "z3")))
    with pytest.raises(ValueError, match="theorem 'goldbach' is unknown"):
        pr.recheck(forged(lambda r: r.__setitem__("name", "goldbach")))
    with pytest.raises(pr.CertificateError, match="its parts must be a list of dictionaries"):
        pr.recheck(forged(lambda r: r.__setitem__("parts", 3)))
    with pytest.raises(pr.CertificateError, match="the factors of a product must be a list, but are 3"):
        pr.recheck(forged(lambda r: node(r).__setitem__(-1, {"kind": "sum", "products": [[1, 3]]})))
    deep: Any = {"kind": "sum"}
    for _ in range(3000):
        deep = {"kind": "split", "on": [[1, {"m": 1}]], "below": deep}
    shallow = forged(lambda r: None)
    node(shallow)[-1] = deep
    with pytest.raises(pr.CertificateError, match="the certificate of 'strided shift' is nested too deeply"):
        pr.recheck(shallow)
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(pr.CertificateError, match=r"bad\.json is not a saved proof"):
        pr.recheck(tmp_path / "bad.json")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(pr.CertificateError, match="it holds a list"):
        pr.recheck(tmp_path / "list.json")


@pytest.mark.parametrize(
    ("where", "change"),
    [
        ("statement", lambda r: r.__setitem__("statement", "Every layer commutes with every shift.")),
        ("hypotheses", lambda r: r.__setitem__("hypotheses", "none")),
        ("proved", lambda r: r.__setitem__("proved", False)),
        ("remark", lambda r: r.__setitem__("remark", "also for s = 0")),
        (r"parts\[1\].text", lambda r: r["parts"][1].__setitem__("text", "all shifts pass")),
        (r"parts\[0\].status", lambda r: r["parts"][0].__setitem__("status", "undecided")),
        (r"parts\[0\].example", lambda r: r["parts"][0]["example"].__setitem__("m", 7)),
        ("the file has 4 parts, but the theorem has 3", lambda r: r["parts"].append({"name": "more"})),
    ],
)
def test_a_file_with_other_words_is_refused(
    where: str, change: Callable[[Any], None], proofs: dict[tuple[str, str], pr.Proof]
) -> None:
    """A file must not say more, or other things, than what its certificates prove."""
    record = json.loads(json.dumps(proofs["strided-shift", "sympy"].record()))
    assert pr.recheck(record) == "strided-shift"
    change(record)
    with pytest.raises(pr.CertificateError, match=where + ".*save the proof again"):
        pr.recheck(record)


def test_recheck_judges_examples_and_identities_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rechecking tests again what a file cannot prove: that hypotheses are satisfiable, and identities true."""
    record = pr.prove("fourier-eigenvectors").record()
    known = theorem("fourier-eigenvectors")
    nowhere = replace(known, lemmas=(replace(known.lemmas[0], example={**known.lemmas[0].example, "n": 0}),))
    monkeypatch.setattr("convmatrix.proofs.proving.theorem", lambda name: nowhere)
    with pytest.raises(pr.CertificateError, match="the hypotheses of the lemma 'period' do not hold for its example"):
        pr.recheck(record)
    wrong = replace(known, identities=(replace(known.identities[0], right=lambda: sympy.Symbol("z")),))
    monkeypatch.setattr("convmatrix.proofs.proving.theorem", lambda name: wrong)
    with pytest.raises(pr.CertificateError, match="the identity 'roots of unity' does not simplify to 0"):
        pr.recheck(record)
    assert not prove_theorem(wrong).proved


def test_a_proof_by_z3_is_a_problem_for_solvers(proofs: dict[tuple[str, str], pr.Proof], tmp_path: Path) -> None:
    """Z3 leaves no certificate: the file holds the problem, which another run of a solver decides again."""
    z3 = pytest.importorskip("z3", reason="needs the extra prove")
    proof = proofs["flat-index", "z3"]
    proof.save(tmp_path / "proof.json")
    with pytest.raises(pr.CertificateError, match="a proof by 'z3' holds problems for a solver"):
        pr.recheck(tmp_path / "proof.json")
    saved = json.loads((tmp_path / "proof.json").read_text())
    for part in saved["parts"]:
        assert "not a certificate" in part["certificate"]["what"]
        for script in part["certificate"]["unsatisfiable"]:
            solver = z3.Solver()
            solver.from_string(script)
            solver.set("timeout", 20_000)
            assert solver.check() == z3.unsat


@pytest.mark.parametrize("name", ["circular-shift", "flat-index", "circulants-commute", "gradients"])
def test_certificates_are_the_same_each_time(name: str, proofs: dict[tuple[str, str], pr.Proof]) -> None:
    assert pr.prove(name).record() == proofs[name, "sympy"].record()


def test_a_certificate_does_not_outlive_its_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    lemma = THEOREMS["circular-shift"].lemmas[0]
    certificate = decide_with_sympy(lemma).certificate
    check_certificate(lemma, certificate)
    monkeypatch.setattr(rule, "read_sample", wrong_modulus)
    with pytest.raises(pr.CertificateError):
        check_certificate(lemma, certificate)
    monkeypatch.setattr(rule, "read_sample", equality_in_a_branch)
    with pytest.raises(pr.CertificateError, match="shift: the code that it runs is beyond the engines"):
        check_certificate(lemma, certificate)


def test_certificate_nodes() -> None:
    def between(a: Algebra) -> Condition:
        (n,) = a.integers("n")
        a.assume(2 * n >= 1, 2 * n <= 1)
        return n > n

    (problem,) = problems(between)
    ring, n = problem.ring, problem.ring.gens[0]
    close = {"kind": "sum", "products": [[1, [0]], [1, [1]]]}
    with pytest.raises(pr.CertificateError, match="not to a constant"):
        check_contradiction(ring, [], problem.inequalities, close)
    with pytest.raises(pr.CertificateError, match="constraint 9 does not exist"):
        check_contradiction(ring, [], problem.inequalities, {"kind": "sum", "products": [[1, [9]]]})
    with pytest.raises(pr.CertificateError, match="products must be a list of pairs"):
        check_contradiction(ring, [], problem.inequalities, {"kind": "sum", "products": 3})
    with pytest.raises(pr.CertificateError, match="the coefficient '1/2' is not an integer"):
        check_contradiction(ring, [], problem.inequalities, {"kind": "sum", "products": [["1/2", [0]]]})
    with pytest.raises(pr.CertificateError, match="needs a node 'below'"):
        check_contradiction(ring, [], problem.inequalities, {"kind": "split", "on": [[1, {"n": 1}]]})
    with pytest.raises(pr.CertificateError, match=r"does not give n: its factor is 2"):
        solved(2 * n - 1, "n")
    with pytest.raises(pr.CertificateError, match="there is no variable 'm'"):
        solved(n - 1, "m")
    with pytest.raises(pr.CertificateError, match=r"the coefficient '1' is not an integer"):
        from_data(ring, [["1", {"n": 1}]])
    with pytest.raises(pr.CertificateError, match="no polynomial in n"):
        from_data(ring, [[1, {"m": 1}]])
    with pytest.raises(pr.CertificateError, match="the power -1 of n is not an exponent"):
        from_data(ring, [[1, {"n": -1}]])
    assert polynomial_text([[-1, {"n": 1}], [3, {}]]) == "-n + 3"
    assert polynomial_text([]) == "0"


def test_what_is_no_polynomial() -> None:
    def power(a: Algebra) -> Condition:
        n, k = a.integers("n k")
        return n**k >= 0

    with pytest.raises(TypeError, match=r"n\*\*k is not a polynomial with remainders"):
        list(problems(power))


# --- errors, and what is printed -------------------------------------------------------------------------------------


def test_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="theorem 'circular-shft' is unknown; did you mean circular-shift"):
        pr.prove("circular-shft")
    with pytest.raises(ValueError, match="engine 'lean' is unknown; choose one of sympy, z3, coq"):
        pr.prove("circular-shift", engine="lean")
    monkeypatch.setitem(sys.modules, "z3", None)
    with pytest.raises(ImportError, match=r"z3-solver, which is not installed; run pip install z3-solver"):
        pr.prove("circular-shift", engine="z3")


def test_appendix(proofs: dict[tuple[str, str], pr.Proof], monkeypatch: pytest.MonkeyPatch) -> None:
    def without_search(name: str, engine: str) -> pr.Proof:
        parts = [lemma_part(lemma, engine, Decision("proved")) for lemma in THEOREMS[name].lemmas]
        return proof_of(THEOREMS[name], engine, parts)

    monkeypatch.setattr("convmatrix.proofs.proving.prove", without_search)
    text = pr.appendix()
    assert text.count(r"\begin{theorem}") == text.count(r"\end{proof}") == len(THEOREMS)
    assert text.count("{") == text.count("}")
    assert text.count("$") % 2 == 0
    broken = replace(
        proofs["flat-index", "sympy"], parts=(replace(proofs["flat-index", "sympy"].parts[0], status="undecided"),)
    )
    monkeypatch.setattr("convmatrix.proofs.proving.prove", lambda name, engine: broken)
    with pytest.raises(RuntimeError, match="theorem flat-index was not proved by sympy"):
        pr.appendix(names=["flat-index"])


def test_each_is_quick() -> None:
    """A generous bound, for machines that are busy; the benchmark measures."""
    started = time.perf_counter()
    pr.prove("circular-shift")
    assert time.perf_counter() - started < 20


@needs_z3
def test_threads_prove_side_by_side() -> None:
    """Each proof by z3 has a context of its own; a shared one ends the interpreter."""
    names = ["circular-shift", "flat-index", "circulant-converse", "reflection-symmetry"]
    with ThreadPoolExecutor(4) as pool:
        assert all(proof.proved for proof in pool.map(lambda name: pr.prove(name, "z3"), names))
