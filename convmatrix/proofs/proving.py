"""Theorems for every size: their names, their proofs by any engine, saved proofs, and the LaTeX appendix."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import sympy

from convmatrix import options as validate
from convmatrix.progress import report_step, shows_progress
from convmatrix.proofs.catalogue import all_theorems
from convmatrix.proofs.certificates import CertificateError, check_certificate
from convmatrix.proofs.coq_engine import decide_with_coq, export_text, full_name
from convmatrix.proofs.results import FORMAT, Part, Proof, theorem_latex
from convmatrix.proofs.search import decide_with_sympy
from convmatrix.proofs.smt import decide_with_z3, load_z3
from convmatrix.proofs.statements import Decision, example_holds

if TYPE_CHECKING:
    from convmatrix.progress import Progress
    from convmatrix.proofs.statements import Identity, Lemma, Theorem

ENGINES: Final = ("sympy", "z3", "coq")


def theorems() -> tuple[str, ...]:
    """Return the names of the theorems.

    Examples
    --------
    >>> theorems()[:3]
    ('circular-shift', 'strided-shift', 'circulant-converse')
    """
    return tuple(all_theorems())


@shows_progress("proof")
def prove(name: str, engine: str = "sympy", *, progress: Progress = None) -> Proof:
    """Return the proof of a theorem, for all sizes and all weights.

    The integer lemmas of the theorem are decided by the engine, which runs the one-axis rule of `convmatrix.boundary`
    on its own kind of integers. Coq also checks the full statement of the theorem, for all weights, channels, groups
    and axes, and accepts no axiom. Identities of functions, such as the period of the cosine, are decided by SymPy;
    the full statement in Coq covers them, for any root of unity. Each part of the proof records what decided it.

    Parameters
    ----------
    name : str
        One of `theorems`.
    engine : {"sympy", "z3", "coq"}
        ``"z3"`` needs the extra ``prove``, ``"coq"`` the program ``coqc``.
    progress : bool or callable, optional
        As for `convmatrix.progress.reporting`.

    Returns
    -------
    Proof

    Raises
    ------
    ValueError
        If the theorem or the engine is unknown.
    ImportError
        If z3 is requested but not installed.
    FileNotFoundError
        If Coq is requested but not installed.

    Examples
    --------
    >>> proof = prove("strided-shift")
    >>> proof
    Proof('strided-shift', engine='sympy', proved=True)
    >>> [part.name for part in proof.parts]
    ['strided shift', 'no other shift', 'distinct weights']
    """
    return prove_theorem(theorem(name), engine)


def theorem(name: str) -> Theorem:
    """Return the theorem with the given name.

    Examples
    --------
    >>> theorem("flat-index").hypotheses
    'all sizes >= 1.'
    """
    known = all_theorems()
    if not validate.is_one_of(name, known):
        near = difflib.get_close_matches(str(name), known, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ValueError(f"theorem {name!r} is unknown; {hint}there are {', '.join(known)}")
    return known[name]


def instances(name: str) -> list[tuple[str, bool]]:
    """Return the results of checking a theorem on explicit symbolic matrices, for a range of small sizes.

    An engine decides only the lemmas. The step from the lemmas to all weights, channels and axes is the argument, which
    is text. This function therefore checks the whole statement, entry by entry, on matrices that the package builds.

    Parameters
    ----------
    name : str
        One of `theorems`.

    Returns
    -------
    list of (str, bool)
        Descriptions of what was checked, and whether it holds.

    Examples
    --------
    >>> instances("circular-shift")[0]
    ('n = 1, k = 1, d = 1: every shift leaves the matrix alone', True)
    >>> all(holds for _, holds in instances("circular-shift"))
    True
    """
    return list(theorem(name).on_matrices())


def prove_theorem(theorem: Theorem, engine: str = "sympy") -> Proof:
    """Return the proof of a theorem given as an object; see `prove`.

    Examples
    --------
    >>> prove_theorem(theorem("gradients")).proved
    True
    """
    validate.one_of("engine", engine, ENGINES)
    if engine == "coq":
        return prove_by_coq([theorem])[0]
    if engine == "z3":
        load_z3()
    decide = decide_with_sympy if engine == "sympy" else decide_with_z3
    parts = []
    for place, lemma in enumerate(theorem.lemmas):
        report_step(place, len(theorem.lemmas), lemma.name)
        decision = decide(lemma)
        if decision.proved and not example_holds(lemma):
            decision = Decision("undecided")  # unsatisfiable hypotheses would prove anything
        parts.append(lemma_part(lemma, engine, decision))
    return proof_of(theorem, engine, [*parts, *map(decide_identity, theorem.identities)])


def prove_by_coq(theorems: Sequence[Theorem]) -> list[Proof]:
    """Return the proofs of theorems by Coq, which takes less time for several together than for one after another."""
    decisions = decide_with_coq(theorems)
    return [_proof_by_coq(theorem, *found) for theorem, found in zip(theorems, decisions, strict=True)]


def _proof_by_coq(theorem: Theorem, decisions: Sequence[Decision], full: Decision | None) -> Proof:
    """Return the proof of a theorem by Coq: its lemmas, and its full statement or, without one, its identities."""
    parts = [lemma_part(lemma, "coq", found) for lemma, found in zip(theorem.lemmas, decisions, strict=True)]
    if full is None:
        return proof_of(theorem, "coq", [*parts, *map(decide_identity, theorem.identities)])
    whole = Part(
        "full statement",
        theorem.statement,
        r"\text{\texttt{" + full_name(theorem.name).replace("_", r"\_") + "}}",
        "full statement",
        "coq",
        full.status,
        full.certificate,
    )
    covered = "; it covers the identities of functions, for any root of unity" if theorem.identities else ""
    closing = f"From there to all weights, channels and axes: by the full statement, a theorem of Coq{covered}."
    return replace(proof_of(theorem, "coq", [*parts, whole]), closing=closing)


def export(name: str, engine: str = "coq", proofs: bool = True) -> str:
    """Return a theorem as one text for a proof assistant: the one-axis rule, its lemmas and its full statement.

    The text is that of a ``.v`` file, which plain ``coqc`` compiles (Coq 8.16 or later). It is made without Coq.

    Parameters
    ----------
    name : str
        One of `theorems`.
    engine : {"coq"}
    proofs : bool, optional
        Whether the lemmas are proved. If not, they are admitted, which leaves the statements, quick to read.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If the theorem is unknown, or the engine has no files of its own.
    RuntimeError
        If there is no proof of a lemma.

    Examples
    --------
    >>> text = export("flat-index")
    >>> "Lemma flat_index_surjective : forall size r : Z," in text
    True
    """
    if engine != "coq":
        raise ValueError(f"engine {engine!r} has no files to export; choose coq, or save a proof with Proof.save")
    return export_text(theorem(name), proofs)


def lemma_part(lemma: Lemma, engine: str, decision: Decision) -> Part:
    """Return the part of a proof that records the decision about a lemma."""
    return Part(
        lemma.name,
        lemma.text,
        lemma.latex,
        "integer lemma",
        engine,
        decision.status,
        decision.certificate,
        decision.counterexample,
        lemma.example,
    )


def proof_of(theorem: Theorem, engine: str, parts: Sequence[Part]) -> Proof:
    """Return the proof of a theorem that consists of the given parts."""
    return Proof(
        theorem.name, engine, theorem.statement, theorem.latex, theorem.hypotheses, theorem.argument, tuple(parts)
    )


def decide_identity(identity: Identity) -> Part:
    """Return the part of a proof in which SymPy decides an identity of functions.

    Examples
    --------
    >>> decide_identity(theorem("fourier-eigenvectors").identities[0]).status
    'proved'
    """
    left, right = identity.left(), identity.right()
    status = "proved" if sympy.simplify(sympy.expand_trig(left - right)) == 0 else "undecided"
    certificate = {"kind": "identity", "left": str(left), "right": str(right)}
    return Part(identity.name, identity.text, identity.latex, "identity", "sympy", status, certificate)


# --- saved proofs -----------------------------------------------------------------------------------------------------


def recheck(source: str | Path | Mapping[str, Any], stated: Theorem | None = None) -> str:
    """Return the name of the theorem that a saved proof proves, after checking it without any search.

    The lemmas are rebuilt from the one-axis rule. Each contradiction is then verified by multiplying and adding
    polynomials, identities are simplified again, and the text in the file must be that of the theorem. A proof by z3
    contains problems that z3 found unsatisfiable; because only a solver can decide these, the proof is refused. One by
    Coq is checked by compiling the text of `export`.

    Parameters
    ----------
    source : path or dict
        A file written by `Proof.save`, or a record returned by `Proof.record`.
    stated : Theorem, optional
        The theorem, if it is not one of `theorems`: a plan of tiles is one about a single network.

    Returns
    -------
    str

    Raises
    ------
    CertificateError
        A ValueError, if the file does not prove the theorem that it names.

    Examples
    --------
    >>> from convmatrix.proofs import prove
    >>> recheck(prove("circular-shift").record())
    'circular-shift'
    """
    if not isinstance(source, str | Path | Mapping):
        raise CertificateError(f"a saved proof is a path or a record, but source is a {type(source).__name__}")
    record = source if isinstance(source, Mapping) else _read(Path(source))
    if record.get("format") != FORMAT:
        raise CertificateError(f"not a saved proof: its format is {record.get('format')!r}, and {FORMAT!r} is needed")
    if record.get("engine") == "coq":
        raise CertificateError(
            f"a proof by 'coq' is checked by Coq itself: compile the text of export({record.get('name')!r}) with coqc, "
            "or save the proof by engine='sympy'"
        )
    if record.get("engine") != "sympy":
        raise CertificateError(
            f"a proof by {record.get('engine')!r} holds problems for a solver, and cannot be checked without search; "
            "save the proof by engine='sympy'"
        )
    known = theorem(str(record.get("name"))) if stated is None else stated
    parts = _parts(record.get("parts"))
    for lemma in known.lemmas:
        part = parts.get(lemma.name)
        if part is None or not isinstance(part.get("certificate"), dict):
            raise CertificateError(f"{known.name}: there is no certificate for the lemma {lemma.name!r}")
        if not example_holds(lemma):
            raise CertificateError(
                f"{known.name}: the hypotheses of the lemma {lemma.name!r} do not hold for its example"
            )
        try:
            check_certificate(lemma, part["certificate"])
        except RecursionError:
            raise CertificateError(f"{known.name}: the certificate of {lemma.name!r} is nested too deeply") from None
    identities = [decide_identity(identity) for identity in known.identities]
    for identity in identities:
        if identity.status != "proved":
            raise CertificateError(f"{known.name}: the identity {identity.name!r} does not simplify to 0")
    lemmas = [
        lemma_part(lemma, "sympy", Decision("proved", parts[lemma.name]["certificate"])) for lemma in known.lemmas
    ]
    _require_same_words(record, proof_of(known, "sympy", [*lemmas, *identities]).record())
    return known.name


def _parts(listed: Any) -> dict[str, Any]:
    """Return the parts of a file by name."""
    if not isinstance(listed, list) or not all(isinstance(part, dict) for part in listed):
        raise CertificateError("not a saved proof: its parts must be a list of dictionaries")
    return {str(part.get("name")): part for part in listed}


def _require_same_words(record: Mapping[str, Any], checked: Mapping[str, Any]) -> None:
    """Raise unless a file agrees with what was checked: the statement, the parts, and that all parts are proved."""
    if len(record["parts"]) != len(checked["parts"]):
        raise CertificateError(
            f"{checked['name']}: the file has {len(record['parts'])} parts, but the theorem has "
            f"{len(checked['parts'])}; save the proof again"
        )
    pairs = [("", record, checked)]
    pairs += [
        (f"parts[{place}].", *pair) for place, pair in enumerate(zip(record["parts"], checked["parts"], strict=True))
    ]
    for where, theirs, ours in pairs:
        for key in sorted({*ours, *theirs} - {"parts"}):
            if theirs.get(key) != ours.get(key):
                raise CertificateError(
                    f"{checked['name']}: {where}{key} of the file is not what was checked; save the proof again"
                )


def _read(path: Path) -> Mapping[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CertificateError(
            f"{path} is not a saved proof: {error}; give a file written by Proof.save or by prove NAME --json"
        ) from None
    if not isinstance(record, dict):
        raise CertificateError(f"{path} is not a saved proof: it holds a {type(record).__name__}")
    return record


# --- the appendix -----------------------------------------------------------------------------------------------------

_HEAD = r"""% Needs \usepackage{amsmath,amssymb,amsthm} and \newtheorem{theorem}{Theorem}.
\section{Theorems for every size}
Throughout, $r(i, t)$ is the sample that tap $t$ of output $i$ reads on one axis (or that is read at a position, where
one argument is given), $x(i, t) = i s + t d - p$ its position, and $\varnothing$ stands for no sample. A lemma marked
\textsf{S} was decided by SymPy, with a certificate of polynomial identities; one marked \textsf{Z} by the SMT solver
z3; one marked \textsf{C} by Coq, without axioms. A full statement is a theorem of Coq for all weights, channels, groups
and axes.
"""


def appendix(engines: Sequence[str] = ("sympy",), names: Sequence[str] | None = None) -> str:
    r"""Return the theorems with their proofs in LaTeX, ready for ``\input``.

    Parameters
    ----------
    engines : sequence of {"sympy", "z3", "coq"}
        The engines that decide the lemmas; each lemma is marked with the engines that proved it.
    names : sequence of str, optional
        Names of theorems; all theorems by default.

    Returns
    -------
    str

    Raises
    ------
    RuntimeError
        If an engine does not prove a theorem.

    Examples
    --------
    >>> print(appendix(names=["flat-index"]).splitlines()[-1])
    \end{proof}
    """
    blocks = [_HEAD]
    for name in theorems() if names is None else names:
        proofs = [prove(name, engine) for engine in engines]
        for proof in proofs:
            if not proof.proved:
                raise RuntimeError(
                    f"theorem {name} was not proved by {proof.engine}; the appendix holds proved ones only"
                )
        blocks.append(theorem_latex(proofs))
    return "\n".join(blocks)
