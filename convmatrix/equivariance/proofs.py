"""Theorems for every size: their names, their proofs by either engine, and proofs as files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from convmatrix.equivariance.engines.certificate import CertificateError

if TYPE_CHECKING:
    from convmatrix.equivariance.catalogue import Identity, Theorem

ENGINES: Final = ("sympy", "z3")
_FORMAT: Final = "convmatrix-proof-1"


@dataclass(frozen=True)
class Part:
    """One step of a proof.

    Attributes
    ----------
    name, text, latex : str
    kind : {"integer lemma", "identity"}
    decided_by : str
        The engine that decided it. Identities of functions are SymPy's, whichever engine was asked for.
    status : {"proved", "refuted", "undecided"}
    certificate : dict
        Plain data: see `convmatrix.equivariance.engines`.
    counterexample : dict of str to int or None
        Integers for which the hypotheses hold and the claim does not, where it is refuted.
    example : dict of str to int
        Integers that satisfy the hypotheses of a lemma: they do not contradict each other.
    """

    name: str
    text: str
    latex: str
    kind: Literal["integer lemma", "identity"]
    decided_by: str
    status: str
    certificate: Mapping[str, Any]
    counterexample: Mapping[str, int] | None
    example: Mapping[str, int]


@dataclass(frozen=True, repr=False)
class Proof:
    """A theorem with what an engine found.

    Attributes
    ----------
    name, engine : str
    statement, latex, hypotheses, argument : str
        The theorem in text and in LaTeX, what it assumes, and how it follows from its parts.
    parts : tuple of Part

    Examples
    --------
    >>> from convmatrix.equivariance import prove
    >>> prove("circular-shift").proved
    True
    """

    name: str
    engine: str
    statement: str
    latex: str
    hypotheses: str
    argument: str
    parts: tuple[Part, ...]

    @property
    def proved(self) -> bool:
        """Whether every part was proved."""
        return all(part.status == "proved" for part in self.parts)

    @property
    def decided_alone(self) -> bool:
        """Whether the engine decided every part itself."""
        return all(part.decided_by == self.engine for part in self.parts)

    @property
    def certificate(self) -> dict[str, Any]:
        """What was found, as plain data: one entry a part."""
        return {part.name: dict(part.certificate) for part in self.parts}

    def __bool__(self) -> bool:
        return self.proved

    def __repr__(self) -> str:
        return f"Proof({self.name!r}, engine={self.engine!r}, proved={self.proved})"

    def explain(self) -> str:
        """Return the proof in words.

        Examples
        --------
        >>> from convmatrix.equivariance import prove
        >>> print(prove("circular-shift").explain())
        Theorem circular-shift: proved.
          Circular convolution with stride 1 commutes with every cyclic shift...
        For: n >= 1; kernel length k, dilation d >= 1, offset p and shift c are any integers...
        It rests on:
          shift: on a ring of n samples, output i + c reads at each tap the sample that output i reads, moved by c
            proved by sympy: 2 contradictions...
        """
        lines = [
            f"Theorem {self.name}: {'proved' if self.proved else 'NOT proved'}.",
            f"  {self.statement}",
            f"For: {self.hypotheses}",
            "It rests on:",
        ]
        for part in self.parts:
            lines.append(f"  {part.name}: {part.text}")
            lines.append(f"    {part.status} by {part.decided_by}{_evidence(part)}")
        return "\n".join(lines)

    def record(self) -> dict[str, Any]:
        """Return the proof as a dictionary for JSON: what `save` writes."""
        return {
            "format": _FORMAT,
            "name": self.name,
            "engine": self.engine,
            "proved": self.proved,
            "statement": self.statement,
            "hypotheses": self.hypotheses,
            "parts": [
                {
                    "name": part.name,
                    "kind": part.kind,
                    "decided_by": part.decided_by,
                    "status": part.status,
                    "text": part.text,
                    "example": dict(part.example),
                    "counterexample": None if part.counterexample is None else dict(part.counterexample),
                    "certificate": dict(part.certificate),
                }
                for part in self.parts
            ],
        }

    def save(self, path: str | Path) -> None:
        """Write the proof as JSON, to be checked again with `recheck`."""
        from convmatrix.io.atomic import replacing

        with replacing(Path(path)) as file:
            file.write((json.dumps(self.record(), indent=1) + "\n").encode("utf-8"))

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(self.explain())}</pre>"


def _evidence(part: Part) -> str:
    if part.counterexample is not None:
        values = ", ".join(f"{name} = {value}" for name, value in part.counterexample.items())
        return f": it fails at {values}"
    if part.status != "proved":
        return ""
    if part.certificate.get("kind") == "contradictions":
        nodes = part.certificate["contradictions"]
        quotients = list(dict.fromkeys(_splits(nodes)))
        shown = f", with the quotient {quotients[0]}" if quotients else ""
        return f": {len(nodes)} contradictions{shown}"
    if part.certificate.get("kind") == "smt-lib":
        return f": {len(part.certificate['unsatisfiable'])} unsatisfiable problems, z3 {part.certificate['version']}"
    return ": the difference of both sides simplifies to 0"


def _splits(nodes: Any) -> list[str]:
    """Return the polynomials on which certificates split, in words."""
    found = []
    waiting = list(nodes)
    while waiting:
        node = waiting.pop(0)
        if node.get("kind") == "split":
            found.append(polynomial_text(node["on"]))
        waiting += [inner for inner in node.values() if isinstance(inner, dict)]
    return found


def polynomial_text(data: Any) -> str:
    """Return a polynomial of a certificate as people write it.

    Examples
    --------
    >>> polynomial_text([[1, {"n": 1, "q0": 2}], [-2, {}]])
    'n*q0**2 - 2'
    """
    text = ""
    for coefficient, powers in data:
        factors = [name if power == 1 else f"{name}**{power}" for name, power in powers.items()]
        size = abs(coefficient)
        term = "*".join(([] if size == 1 and factors else [str(size)]) + factors)
        sign = "-" if coefficient < 0 else "+"
        text += f" {sign} {term}" if text else f"{'-' if coefficient < 0 else ''}{term}"
    return text or "0"


def theorems() -> tuple[str, ...]:
    """Return the names of the theorems.

    Examples
    --------
    >>> theorems()[:3]
    ('circular-shift', 'strided-shift', 'circulant-converse')
    """
    from convmatrix.equivariance.catalogue import all_theorems

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
    from convmatrix.equivariance.catalogue import all_theorems

    known = all_theorems()
    if name not in known:
        import difflib

        near = difflib.get_close_matches(str(name), known, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ValueError(f"theorem {name!r} is unknown; {hint}there are {', '.join(known)}")
    return known[name]


def prove_theorem(theorem: Theorem, engine: str = "sympy") -> Proof:
    """Prove a theorem that is given as such; see `prove`.

    Examples
    --------
    >>> prove_theorem(theorem("gradients")).proved
    True
    """
    from convmatrix.equivariance.engines.decide import Decision, decide_with_sympy, example_holds
    from convmatrix.equivariance.engines.smt import decide_with_z3, load_z3

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
        parts.append(
            Part(
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
        )
    parts += [_identity(identity) for identity in theorem.identities]
    return Proof(
        theorem.name,
        engine,
        theorem.statement,
        theorem.latex,
        theorem.hypotheses,
        theorem.argument,
        tuple(parts),
    )


def _identity(identity: Identity) -> Part:
    import sympy

    left, right = identity.left(), identity.right()
    status = "proved" if sympy.simplify(sympy.expand_trig(left - right)) == 0 else "undecided"
    certificate = {"kind": "identity", "left": str(left), "right": str(right)}
    return Part(identity.name, identity.text, identity.latex, "identity", "sympy", status, certificate, None, {})


def recheck(source: str | Path | Mapping[str, Any]) -> str:
    """Check a saved proof again, without any search, and return the name of the theorem that it proves.

    The lemmas are built anew from the one-axis rule. Each contradiction is then verified by multiplying and adding
    polynomials; identities are simplified again. A proof by z3 holds the problems that z3 found unsatisfiable, which
    only a solver can decide; it is refused here.

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
    >>> recheck(prove("circular-shift").record())
    'circular-shift'
    """
    from convmatrix.equivariance.engines.decide import check_certificate, example_holds

    record = source if isinstance(source, Mapping) else _read(Path(source))
    if record.get("format") != _FORMAT:
        raise CertificateError(f"no saved proof: its format is {record.get('format')!r}, and {_FORMAT!r} is needed")
    if record.get("engine") != "sympy":
        raise CertificateError(
            f"a proof by {record.get('engine')!r} holds problems for a solver, and cannot be checked without search; "
            f"save "
            "the proof by engine='sympy'"
        )
    known = theorem(str(record.get("name")))
    parts = {part.get("name"): part for part in record.get("parts", []) if isinstance(part, dict)}
    for lemma in known.lemmas:
        part = parts.get(lemma.name)
        if part is None or not isinstance(part.get("certificate"), dict):
            raise CertificateError(f"{known.name}: there is no certificate for the lemma {lemma.name!r}")
        if not example_holds(lemma):
            raise CertificateError(
                f"{known.name}: the hypotheses of the lemma {lemma.name!r} do not hold for its example"
            )
        check_certificate(lemma, part["certificate"])
    for identity in known.identities:
        if _identity(identity).status != "proved":
            raise CertificateError(f"{known.name}: the identity {identity.name!r} does not simplify to 0")
    return known.name


def _read(path: Path) -> Mapping[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CertificateError(f"{path} is no saved proof: {error}") from None
    if not isinstance(record, dict):
        raise CertificateError(f"{path} is no saved proof: it holds a {type(record).__name__}")
    return record
