"""What an engine says of a lemma: proved with a certificate, refuted with a counterexample, or undecided."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from convmatrix.proofs.engines.certificate import CertificateError, check_contradiction
from convmatrix.proofs.engines.lemma import Lemma, evaluate

if TYPE_CHECKING:
    from convmatrix.proofs.engines.problem import Problem

_TRIALS: Final = 900
_LARGEST_TRIAL: Final = 6


@dataclass(frozen=True)
class Decision:
    """The answer of an engine about one lemma.

    Attributes
    ----------
    status : {"proved", "refuted", "undecided"}
    certificate : dict
        Plain data. For SymPy, the certificates of contradiction, one a problem; for z3, the problem in SMT-LIB, to be
        given to any solver. Where code does not run on symbols, the reason.
    counterexample : dict of str to int or None
        Integers for which the hypotheses hold and the claim does not.
    """

    status: Literal["proved", "refuted", "undecided"]
    certificate: dict[str, Any] = field(default_factory=dict)
    counterexample: dict[str, int] | None = None

    @property
    def proved(self) -> bool:
        """Whether the lemma holds for all integers."""
        return self.status == "proved"


def example_holds(lemma: Lemma) -> bool:
    """Return whether the lemma's example satisfies its hypotheses, and its claim."""
    return evaluate(lemma.build, lemma.example) == (True, True)


def decide_with_sympy(lemma: Lemma) -> Decision:
    """Decide a lemma by certificates of contradiction between polynomials in SymPy integers."""
    from convmatrix.proofs.engines.search import contradiction

    try:
        parts = _contradictory_parts(lemma)
    except TypeError as error:
        return no_symbols(lemma, error)
    found = counterexample(lemma)
    if found is not None:
        return Decision("refuted", counterexample=found)
    proofs = []
    for part in parts:
        proof = contradiction(part)
        if proof is None:
            return Decision("undecided")
        check_contradiction(part.ring, part.equations, part.inequalities, proof)
        proofs.append(proof)
    return Decision("proved", {"kind": "contradictions", "contradictions": proofs})


def no_symbols(lemma: Lemma, error: Exception) -> Decision:
    """Return the decision about code that runs on no symbols: only plain integers can refute it."""
    try:
        found = counterexample(lemma)
    except TypeError:
        found = None
    if found is not None:
        return Decision("refuted", counterexample=found)
    return Decision("undecided", {"kind": "none", "reason": f"the code that it runs is beyond the engines: {error}"})


def _contradictory_parts(lemma: Lemma) -> list[Problem]:
    """Return what has to be contradictory for a lemma to hold, in order."""
    from convmatrix.proofs.engines.paths import problems

    return [part for problem in problems(lemma.build) for part in (*problem.obligations, problem)]


def check_certificate(lemma: Lemma, certificate: dict[str, Any]) -> None:
    """Raise `CertificateError` unless a certificate proves a lemma; runs the one-axis rule, but searches nothing."""
    proofs = certificate.get("contradictions")
    if certificate.get("kind") != "contradictions" or not isinstance(proofs, list):
        raise CertificateError(f"{lemma.name}: no certificate of contradictions, but kind {certificate.get('kind')!r}")
    try:
        parts = _contradictory_parts(lemma)
    except TypeError as error:
        raise CertificateError(f"{lemma.name}: the code that it runs is beyond the engines: {error}") from None
    if len(parts) != len(proofs):
        raise CertificateError(
            f"{lemma.name}: {len(parts)} contradictions are needed, but the certificate has {len(proofs)}"
        )
    for part, proof in zip(parts, proofs, strict=True):
        if not isinstance(proof, dict):
            raise CertificateError(f"{lemma.name}: a contradiction is a node, but this is a {type(proof).__name__}")
        check_contradiction(part.ring, part.equations, part.inequalities, proof)


def counterexample(lemma: Lemma, trials: int = _TRIALS) -> dict[str, int] | None:
    """Return small integers for which the hypotheses of a lemma hold and its claim does not, if some are found."""
    names = list(lemma.example)
    rng = random.Random(0)  # noqa: S311 (draws trial values; nothing is secret)
    for trial in range(trials):
        if trial % 3 == 0:  # near the example, where the hypotheses are likely to hold
            values = {name: lemma.example[name] + rng.choice((0, 0, 0, 1, -1, 2)) for name in names}
        else:
            largest = _LARGEST_TRIAL if trial % 3 == 1 else 2  # very small ones satisfy equations more often
            values = {name: rng.randint(-1, largest) for name in names}
        hypotheses, claim = evaluate(lemma.build, values)
        if hypotheses and not claim:
            return values
    return None
