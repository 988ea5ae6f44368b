"""Theorems for every size: their names, and their proofs by either engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from convmatrix.proofs.proof import Part, Proof

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convmatrix.proofs.catalogue import Identity, Theorem
    from convmatrix.proofs.engines.decide import Decision
    from convmatrix.proofs.engines.lemma import Lemma

ENGINES: Final = ("sympy", "z3")


def theorems() -> tuple[str, ...]:
    """Return the names of the theorems.

    Examples
    --------
    >>> theorems()[:3]
    ('circular-shift', 'strided-shift', 'circulant-converse')
    """
    from convmatrix.proofs.catalogue import all_theorems

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
    from convmatrix.proofs.catalogue import all_theorems

    known = all_theorems()
    if name not in known:
        import difflib

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
    """Prove a theorem that is given as such; see `prove`.

    Examples
    --------
    >>> prove_theorem(theorem("gradients")).proved
    True
    """
    from convmatrix.proofs.engines.decide import Decision, decide_with_sympy, example_holds
    from convmatrix.proofs.engines.smt import decide_with_z3, load_z3

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
    """Return the part of a proof that a lemma is."""
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
    """Return the proof of a theorem by its parts."""
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
    """Return the part of a proof that an identity of functions is; SymPy decides it.

    Examples
    --------
    >>> decide_identity(theorem("fourier-eigenvectors").identities[0]).status
    'proved'
    """
    import sympy

    left, right = identity.left(), identity.right()
    status = "proved" if sympy.simplify(sympy.expand_trig(left - right)) == 0 else "undecided"
    certificate = {"kind": "identity", "left": str(left), "right": str(right)}
    return Part(identity.name, identity.text, identity.latex, "identity", "sympy", status, certificate, None, {})
