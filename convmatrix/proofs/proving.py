"""The theorems for every size: their names, their proofs by either engine, saved proofs, and the LaTeX appendix."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import sympy

from convmatrix.proofs.catalogue import all_theorems
from convmatrix.proofs.certificates import CertificateError, check_certificate
from convmatrix.proofs.results import FORMAT, Part, Proof, theorem_latex
from convmatrix.proofs.search import decide_with_sympy
from convmatrix.proofs.smt import decide_with_z3, load_z3
from convmatrix.proofs.statements import Decision, example_holds

if TYPE_CHECKING:
    from convmatrix.proofs.statements import Identity, Lemma, Theorem

ENGINES: Final = ("sympy", "z3")


def theorems() -> tuple[str, ...]:
    """Return the names of the theorems.

    Examples
    --------
    >>> theorems()[:3]
    ('circular-shift', 'strided-shift', 'circulant-converse')
    """
    return tuple(all_theorems())


def prove(name: str, engine: str = "sympy") -> Proof:
    """Prove a theorem, for every size and every weight.

    Its integer lemmas are decided by the engine, which runs the one-axis rule of `convmatrix.boundary` on its own
    integers. Identities of functions, such as the period of the cosine, are SymPy's with either engine; each part of
    the proof says whose it is.

    Parameters
    ----------
    name : str
        One of `theorems`.
    engine : {"sympy", "z3"}
        ``"z3"`` needs the extra ``prove``.

    Returns
    -------
    Proof

    Raises
    ------
    ValueError
        For an unknown theorem or engine.
    ImportError
        If z3 is asked for and is not installed.

    Examples
    --------
    >>> proof = prove("strided-shift")
    >>> proof
    Proof('strided-shift', engine='sympy', proved=True)
    >>> [part.name for part in proof.parts]
    ['strided shift', 'no other shift']
    """
    return prove_theorem(theorem(name), engine)


def theorem(name: str) -> Theorem:
    """Return a theorem by name.

    Examples
    --------
    >>> theorem("flat-index").hypotheses
    'all sizes >= 1.'
    """
    known = all_theorems()
    if name not in known:
        near = difflib.get_close_matches(str(name), known, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ValueError(f"theorem {name!r} is unknown; {hint}there are {', '.join(known)}")
    return known[name]


def instances(name: str) -> list[tuple[str, bool]]:
    """Check a theorem on explicit matrices of symbols, at a spread of small sizes.

    An engine decides the lemmas. The step from them to all weights, channels and axes is the argument, which is text;
    here the whole statement is checked, entry by entry, on matrices that are built by the package.

    Parameters
    ----------
    name : str
        One of `theorems`.

    Returns
    -------
    list of (str, bool)
        What was checked, and whether it holds.

    Examples
    --------
    >>> instances("circular-shift")[0]
    ('n = 1, k = 1, d = 1: every shift leaves the matrix alone', True)
    >>> all(holds for _, holds in instances("circular-shift"))
    True
    """
    return list(theorem(name).on_matrices())


def prove_theorem(theorem: Theorem, engine: str = "sympy") -> Proof:
    """Prove a theorem given as an object; see `prove`.

    Examples
    --------
    >>> prove_theorem(theorem("gradients")).proved
    True
    """
    if engine not in ENGINES:
        raise ValueError(f"engine {engine!r} is unknown; choose {' or '.join(ENGINES)}")
    if engine == "z3":
        load_z3()
    decide = decide_with_sympy if engine == "sympy" else decide_with_z3
    parts = []
    for lemma in theorem.lemmas:
        decision = decide(lemma)
        if decision.proved and not example_holds(lemma):
            decision = Decision("undecided")  # hypotheses that nothing satisfies prove anything
        parts.append(lemma_part(lemma, engine, decision))
    return proof_of(theorem, engine, [*parts, *map(decide_identity, theorem.identities)])


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
    """Return the proof of a theorem from its parts."""
    return Proof(
        theorem.name,
        engine,
        theorem.statement,
        theorem.latex,
        theorem.hypotheses,
        theorem.argument,
        tuple(parts),
    )


def decide_identity(identity: Identity) -> Part:
    """Decide an identity of functions with SymPy; return it as a part of a proof.

    Examples
    --------
    >>> decide_identity(theorem("fourier-eigenvectors").identities[0]).status
    'proved'
    """
    left, right = identity.left(), identity.right()
    status = "proved" if sympy.simplify(sympy.expand_trig(left - right)) == 0 else "undecided"
    certificate = {"kind": "identity", "left": str(left), "right": str(right)}
    return Part(identity.name, identity.text, identity.latex, "identity", "sympy", status, certificate, None, {})


# --- saved proofs -----------------------------------------------------------------------------------------------------


def recheck(source: str | Path | Mapping[str, Any]) -> str:
    """Check a saved proof again, without any search, and return the name of the theorem that it proves.

    The lemmas are built anew from the one-axis rule. Each contradiction is then verified by multiplying and adding
    polynomials; identities are simplified again; and the words of the file must be those of the theorem. A proof by z3
    holds the problems that z3 found unsatisfiable, which only a solver can decide; it is refused here.

    Parameters
    ----------
    source : path or dict
        A file that `Proof.save` wrote, or what `Proof.record` returns.

    Returns
    -------
    str

    Raises
    ------
    CertificateError
        If it does not prove the theorem that it names; a ValueError.

    Examples
    --------
    >>> from convmatrix.proofs import prove
    >>> recheck(prove("circular-shift").record())
    'circular-shift'
    """
    record = source if isinstance(source, Mapping) else _read(Path(source))
    if record.get("format") != FORMAT:
        raise CertificateError(f"not a saved proof: its format is {record.get('format')!r}, and {FORMAT!r} is needed")
    if record.get("engine") != "sympy":
        raise CertificateError(
            f"a proof by {record.get('engine')!r} holds problems for a solver, and cannot be checked without search; "
            "save the proof by engine='sympy'"
        )
    known = theorem(str(record.get("name")))
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
    """Raise unless a file says what was checked: the statement, the parts, and that all of it is proved."""
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
z3.
"""


def appendix(engines: Sequence[str] = ("sympy",), names: Sequence[str] | None = None) -> str:
    r"""Return the theorems with their proofs in LaTeX, ready for ``\input``.

    Parameters
    ----------
    engines : sequence of {"sympy", "z3"}
        The engines that decide every lemma; each lemma is marked with those that proved it.
    names : sequence of str, optional
        The theorems; all of them by default.

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
