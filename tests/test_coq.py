"""The engine Coq: what it proves and refuses, and the translation of the rule to Gallina."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from convmatrix import boundary as rule
from convmatrix import cli
from convmatrix import proofs as pr
from convmatrix.boundary import PLAIN, SIGNED
from convmatrix.proofs import coq_engine
from convmatrix.proofs.catalogue import all_theorems
from convmatrix.proofs.coq_rule import rule_text
from convmatrix.proofs.coq_scripts import LemmaProof, NoProofError, ProofPath
from convmatrix.proofs.gallina import GallinaAlgebra, coq_name, lemmas_text, statement
from convmatrix.proofs.proving import prove_by_coq, prove_theorem, theorem
from convmatrix.proofs.search import decide_with_sympy
from convmatrix.proofs.statements import Algebra, Condition, Lemma, Numbers

if TYPE_CHECKING:
    from pathlib import Path

needs_coq = pytest.mark.skipif(shutil.which("coqc") is None, reason="needs coqc, Debian's package coq")

THEOREMS = all_theorems()


def coqc(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Compile a text with plain coqc."""
    (folder / "text.v").write_text(text, "utf-8")
    return subprocess.run(["coqc", "-q", "text.v"], cwd=folder, capture_output=True, text=True, check=False)


def about_x(build: Any, name: str = "lemma", example: dict[str, int] | None = None) -> Any:
    """Return a theorem with one lemma."""
    lemma = Lemma(name, "", "", build, example or {"x": 1})
    return replace(theorem("flat-index"), name="about-x", lemmas=(lemma,))


# --- what is proved ---------------------------------------------------------------------------------------------------


@needs_coq
def test_a_theorem_is_proved_with_its_full_statement(tmp_path: Path) -> None:
    proof = pr.prove("output-sizes", "coq")
    assert proof.proved
    assert proof.decided_alone
    assert [part.kind for part in proof.parts] == ["integer lemma"] * 3 + ["full statement"]
    assert {part.certificate["assumptions"] for part in proof.parts} == {"Closed under the global context"}
    assert "output_sizes_theorem, closed under the global context" in proof.explain()
    path = tmp_path / "proof.json"
    proof.save(path)
    with pytest.raises(pr.CertificateError, match="export"):
        pr.recheck(path)
    assert json.loads(path.read_text())["engine"] == "coq"


@needs_coq
def test_an_export_compiles_alone(tmp_path: Path) -> None:
    """The text needs no other file, and rests on no axiom."""
    done = coqc(pr.export("output-sizes"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.splitlines()) == {"Closed under the global context"}
    text = pr.export("output-sizes", proofs=False)
    assert text.count("Admitted.") == 3
    assert len(text) < len(pr.export("output-sizes"))


@pytest.mark.parametrize("name", THEOREMS)
def test_every_lemma_has_a_statement_that_speaks_of_definitions(name: str) -> None:
    text = lemmas_text(THEOREMS[name])
    assert text.count("Admitted.") == len(THEOREMS[name].lemmas)
    assert text == lemmas_text(THEOREMS[name])
    for lemma in THEOREMS[name].lemmas:
        assert f"Lemma {coq_name(name, lemma.name)} : forall " in text
    assert len({coq_name(name, lemma.name) for lemma in THEOREMS[name].lemmas}) == len(THEOREMS[name].lemmas)


def test_a_statement() -> None:
    expected = """forall n k d p i t c : Z,
    1 <= n ->
    0 <= i < n ->
    0 <= t < k ->
    1 <= d ->
    sample (Axis n n k 1 d p circular false 1) ((i + c) mod n) t =
      (sample (Axis n n k 1 d p circular false 1) i t + c) mod n"""
    assert statement(THEOREMS["circular-shift"].lemmas[0]) == expected
    assert "(Axis n m k 1 d (d * (k - 1) - p) zero true 1)" in statement(THEOREMS["adjoint"].lemmas[0])  # flipped


# --- what is not ------------------------------------------------------------------------------------------------------


@needs_coq
def test_a_wrong_rule_does_not_compile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Proofs of the rule as it is do not fit a rule that differs: Coq refuses them, and the engine finds no others."""
    lemma = next(lemma for lemma in theorem("reflection-symmetry").lemmas if lemma.name == "symmetric boundary")
    small = replace(theorem("reflection-symmetry"), name="mirrored", lemmas=(lemma,), identities=())
    right, old = coq_engine.export_text(small), rule_text().partition("Inductive")[2].strip()
    assert old in right
    assert coqc(right, tmp_path).returncode == 0
    read_sample = rule.read_sample

    def mutant(position: Any, size: Any, boundary: Any, select: Any = rule.choose) -> Any:
        if boundary != "symmetric":
            return read_sample(position, size, boundary, select)
        phase = position % (2 * size)
        return select(phase < size, phase, 2 * size - phase)

    monkeypatch.setattr(rule, "read_sample", mutant)
    new = rule_text().partition("Inductive")[2].strip()
    assert new != old
    done = coqc(right.replace(old, new), tmp_path)
    assert done.returncode != 0
    assert "Unable to unify" in done.stderr or "Cannot find witness" in done.stderr
    with pytest.raises(NoProofError):
        LemmaProof(lemma, "mirrored").text()
    assert prove_theorem(small, "coq").parts[0].status == "refuted"


def one_branch(a: Algebra) -> Condition:
    """Take one branch at a symbol."""
    (x,) = a.integers("x")
    return a.equal(0, 0) if x else a.equal(0, 1)


def compared(a: Algebra) -> Condition:
    """Compare conditions."""
    (x,) = a.integers("x")
    return a.equal(a.select((x == 1000) != (x != 1001), 0, 1), 0)


def half(a: Algebra) -> Condition:
    """Add half of one."""
    (x,) = a.integers("x")
    return a.equal(x + 0.5, x)


@needs_coq
@pytest.mark.parametrize("build", [one_branch, compared, half])
def test_symbols_have_no_truth_value(build: Any) -> None:
    part = prove_theorem(about_x(build), "coq").parts[0]
    assert part.status != "proved"
    with pytest.raises(TypeError):
        build(GallinaAlgebra())
    with pytest.raises(TypeError):
        build(ProofPath([]))


@needs_coq
def test_what_the_search_cannot_prove_is_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    """A false lemma that no small number refutes is not proved, nor is one that Coq does not accept."""

    def far(a: Algebra) -> Condition:
        (x,) = a.integers("x")
        return a.different(x, 10**6)

    part = prove_theorem(about_x(far), "coq").parts[0]
    assert part.status == "undecided"
    assert "certificate" in part.certificate["reason"]
    monkeypatch.setattr(LemmaProof, "text", lambda self: ("", "Proof. intros; lia. Qed."))
    part = prove_theorem(about_x(far), "coq").parts[0]
    assert part.status == "undecided"
    assert "coqc" in part.certificate["reason"]
    monkeypatch.setattr(LemmaProof, "text", lambda self: ("Axiom no : False.", "Proof. destruct no. Qed."))
    part = prove_theorem(about_x(far), "coq").parts[0]
    assert part.status == "undecided"
    assert "Axioms" in part.certificate["reason"]


@needs_coq
def test_variables_may_have_any_name() -> None:
    """Names of Coq, of the rule, and of the hypotheses and quotients of proofs are told apart."""
    names = "H1 Q2 position position_ quotient end"
    others = "by SProp False IF I Variable exists2 proj2 _ q0 Z forall True neither"

    def build(a: Algebra) -> Condition:
        first, second, third, fourth, fifth, sixth = a.integers(names)
        rest = a.integers(others)
        a.assume(second >= 1, third >= 1, a.equal(fourth, fifth + sixth), *(other >= 1 for other in rest))
        a.assume(a.implies(first % rest[-1] == 7, rest[0] < rest[1]))
        return a.both(a.within(first % second, second), fourth % third < third, a.equal(fourth - sixth, fifth))

    example = {name: 2 if name == "position_" else 1 for name in f"{names} {others}".split()}
    part = prove_theorem(about_x(build, example=example), "coq").parts[0]
    assert part.status == "proved", part.certificate


def test_what_is_no_name_of_a_variable_is_refused() -> None:
    """A name that Coq would read as a hypothesis is not written into a statement."""

    def build(a: Algebra) -> Condition:
        (x,) = a.integers("x:Z,False->forall(**)y")
        return a.equal(x, 7)

    with pytest.raises(ValueError, match="name of a variable"):
        statement(Lemma("lemma", "", "", build, {}))


def cancelled(a: Algebra) -> Condition:
    """Multiply a remainder by zero."""
    (x,) = a.integers("x")
    return a.equal((5 % (x - 1000)) * 0, 0)


def division_of(a: Algebra) -> Condition:
    """State what Coq's division by zero satisfies, too."""
    (x,) = a.integers("x")
    return a.equal(x - (x - 1000) * (x // (x - 1000)), x % (x - 1000))


def beside_the_hypothesis(a: Algebra) -> Condition:
    """Divide where the claim holds for another reason."""
    (x,) = a.integers("x")
    return a.either(x - 1000 < 1, x % (x - 1000) >= 0)


@pytest.mark.parametrize("engine", ["sympy", "coq"])
def test_code_that_may_divide_by_zero_proves_nothing(engine: str) -> None:
    """At x = 1000, which is not among the numbers that are tried, the code has no value."""
    for build in (cancelled, division_of, beside_the_hypothesis):
        lemma = about_x(build).lemmas[0]
        with pytest.raises(ZeroDivisionError):
            build(Numbers({"x": 1000}))
        if engine == "sympy":
            assert decide_with_sympy(lemma).status == "undecided"
        else:
            assert coq_engine._draft(about_x(build), lemma).status == "undecided"  # type: ignore[union-attr]


def test_nothing_is_no_proof() -> None:
    assert not prove_theorem(replace(about_x(one_branch), lemmas=(), identities=())).proved


def test_a_full_statement_belongs_to_its_theorem() -> None:
    """Another theorem is not proved by the full statement of the one whose name, or name in Coq, it has."""
    own = theorem("output-sizes")
    assert "Theorem output_sizes_theorem" in coq_engine.export_text(own)
    for other in (replace(own, name="output_sizes"), replace(own, statement="All sizes are equal.")):
        assert "Theorem output_sizes_theorem" not in coq_engine.export_text(other)


@needs_coq
def test_a_full_statement_rests_on_its_lemmas(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not even compiled where a lemma has no proof."""

    def unproved(self: LemmaProof) -> tuple[str, str]:
        raise NoProofError("no proof")

    monkeypatch.setattr(LemmaProof, "text", unproved)
    *lemmas, full = prove_theorem(theorem("flat-index"), "coq").parts
    assert {part.status for part in [*lemmas, full]} == {"undecided"}
    assert full.kind == "full statement"
    assert "rests on a lemma" in full.certificate["reason"]


@needs_coq
def test_theorems_read_as_one_text_are_told_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One text proves all of them; an axiom, or a proof that fails, is found in the theorem that it belongs to."""
    theorems = [theorem("flat-index"), theorem("circular-shift")]
    texts: list[str] = []
    compile_text = coq_engine.TheoremFiles.compile_text

    def watched(self: coq_engine.TheoremFiles, module: str, text: str) -> coq_engine.Compiled:
        texts.append(module)
        return compile_text(self, module, text)

    monkeypatch.setattr(coq_engine.TheoremFiles, "compile_text", watched)
    proofs = prove_by_coq(theorems)
    assert texts == ["Together"]
    assert [proof.name for proof in proofs] == ["flat-index", "circular-shift"]
    assert all(proof.proved and proof.parts[-1].kind == "full statement" for proof in proofs)
    right = LemmaProof.text

    def with_axiom(self: LemmaProof) -> tuple[str, str]:
        return ("Axiom no : False.", "Proof. destruct no. Qed.") if self.lemma.name == "injective" else right(self)

    monkeypatch.setattr(LemmaProof, "text", with_axiom)
    flat, shift = prove_by_coq(theorems)
    assert shift == proofs[1]
    assert {part.name: part.status for part in flat.parts if part.kind == "integer lemma"} == {
        "injective": "undecided",
        "surjective": "proved",
        "range": "proved",
    }
    assert flat.parts[-1].status == "undecided"
    drafts: list[Any] = [("", "Proof. idtac. Qed.") for _ in theorems[0].lemmas]
    assert not coq_engine.TheoremFiles(coq_engine.find_coqc(), tmp_path, [(theorems[0], drafts)]).accepts_together()
    assert texts[-1] == "Together"


def test_without_coq(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(FileNotFoundError, match="coqc"):
        pr.prove("flat-index", "coq")
    assert cli.main(["prove", "flat-index", "--engine", "coq"]) == 2
    assert "apt-get install coq" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"engine.*sympy, z3, coq"):
        pr.prove("flat-index", "isabelle")
    with pytest.raises(ValueError, match="coq"):
        pr.export("flat-index", "z3")


def test_export_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["prove", "flat-index", "--export", "coq"]) == 0
    assert "Lemma flat_index_surjective" in capsys.readouterr().out
    assert cli.main(["prove", "flat-index", "adjoint", "--export", "coq"]) == 2
    assert cli.main(["prove", "--export", "coq"]) == 2


# --- the translation --------------------------------------------------------------------------------------------------

SIZES = range(1, 5)


def values() -> tuple[list[str], list[int]]:
    """Return terms of Gallina that apply the definitions of the rule to numbers, and what Python says they are."""
    terms, expected = [], []

    def add(term: str, *numbers: int, value: int) -> None:
        terms.append(" ".join([term, *(f"({number})" for number in numbers)]))
        expected.append(int(value))

    for boundary, size, position in itertools.product(PLAIN, SIZES, range(-7, 8)):
        add(f"read_sample {boundary}", position, size, value=rule.read_sample(position, size, boundary))
    for boundary, size, position in itertools.product(SIGNED, SIZES, range(-7, 8)):
        for place, term in enumerate(rule.read_terms(position, size, boundary)):
            for part, value in zip(("sample", "factor"), term, strict=True):
                add(f"{boundary}_{part}_{place}", position, size, value=value)
    for flip, (k, s, d, p, tile) in itertools.product(
        (False, True), [(3, 2, 1, 1, 1), (2, 1, 3, -1, 2), (1, 3, 2, 4, 3)]
    ):
        axis = rule.Axis(4, 5, k, s, d, p, "reflect", flip, tile)
        written = f"(Axis 4 5 {k} {s} {d} ({p}) reflect {str(flip).lower()} {tile})"
        for output, tap in itertools.product(range(4), range(k)):
            add(f"sample {written}", output, tap, value=axis.sample(output, tap))
            add(f"position {written}", output, tap, value=axis.position(output, tap))
            add(f"weight {written}", output, tap, value=axis.weight(output, tap))
    for size, span, stride in itertools.product((1, 4, 7), (1, 2, 5), (1, 2, 3)):
        for low, high in ((0, 0), (1, 2), (-1, 3)):
            add(
                "forward_outputs",
                size,
                span,
                stride,
                low,
                high,
                value=rule.forward_outputs(size, span, stride, low, high),
            )
        for word, extra in itertools.product(("same", "same_lower", "full", "valid"), (0, 1)):
            paddings = rule.forward_padding(word, size, span, stride)
            for end, padding in zip(("low", "high"), paddings, strict=True):
                add(f"{word}_{end}", size, span, stride, value=padding)
            found = rule.transposed_padding(word, size, span, stride, extra)
            for part, number in zip(("low", "high", "extra"), found, strict=True):
                add(f"transposed_{word}_{part}", size, span, stride, extra, value=number)
            outputs = rule.transposed_outputs(size, span, stride, *found)
            add("transposed_outputs", size, span, stride, *found, value=outputs)
    return terms, expected


@needs_coq
def test_gallina_computes_what_python_computes(tmp_path: Path) -> None:
    """Coq evaluates the definitions on a grid of numbers."""
    terms, expected = values()
    listed = "; ".join(terms)
    done = coqc(f"{rule_text()}\nFrom Coq Require Import List.\nImport ListNotations.\nCompute [{listed}].\n", tmp_path)
    assert done.returncode == 0, done.stderr
    assert [int(number) for number in re.findall(r"-?\d+", done.stdout.partition(":")[0])] == expected
    assert len(expected) > 1000


def test_every_operator_is_written() -> None:
    from convmatrix.proofs.gallina import boolean_text, proposition_text, term_text

    a = GallinaAlgebra()
    x, y = a.integers("x y")
    numbers = (x - 1 - y, x - (1 - y), 2 * (x + y) % 3, -x // 2, 7 % x, 7 // x, 1 + x, 1 - x)
    assert [term_text(number.term) for number in numbers] == [
        "x - 1 - y", "x - (1 - y)", "(2 * (x + y)) mod 3", "(- x) / 2", "7 mod x", "7 / x", "1 + x", "1 - x",
    ]  # fmt: skip
    conditions = [x < y, x > 1, x <= 0, x >= y, x == y, x != y, (x < y) & (y < 1), (x < y) | ~(y < 1)]
    assert [proposition_text(c.formula) for c in conditions] == [
        "x < y", "1 < x", "x <= 0", "y <= x", "x = y", "x <> y", "x < y /\\ y < 1", "x < y \\/ ~ (y < 1)",
    ]  # fmt: skip
    more = [a.implies(x < y, x < 1), a.equivalent(x < y, x != 1), a.within(x, y), a.negation(a.either(x < y, x == 1))]
    assert [boolean_text(c.formula) for c in more] == [
        "(negb (x <? y)) || (x <? 1)", "Bool.eqb (x <? y) (negb (x =? 1))", "(0 <=? x) && (x <? y)",
        "negb ((x <? y) || (x =? 1))",
    ]  # fmt: skip
