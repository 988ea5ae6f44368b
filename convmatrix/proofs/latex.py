r"""All theorems with their proofs as a LaTeX appendix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convmatrix.proofs.proof import Proof, polynomial_text
from convmatrix.proofs.theorems import prove, theorems

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        Which engines are to decide every lemma; the text marks each lemma with those that proved it.
    names : sequence of str, optional
        The theorems; all of them by default.

    Returns
    -------
    str

    Raises
    ------
    RuntimeError
        If an engine does not prove a theorem: an appendix states what was proved.

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


def theorem_latex(proofs: Sequence[Proof]) -> str:
    """Return one theorem in LaTeX, with what each engine proved.

    Examples
    --------
    >>> "begin{theorem}[flat-index]" in theorem_latex([prove("flat-index")])
    True
    """
    first = proofs[0]
    lines = [
        rf"\begin{{theorem}}[{first.name}]\label{{thm:{first.name}}}",
        first.latex,
        rf"\textup{{({_escaped(first.hypotheses.rstrip('.'))}.)}}",
        r"\end{theorem}",
        r"\begin{proof}",
        first.argument,
        r"\begin{itemize}",
    ]
    for place, part in enumerate(first.parts):
        marks = [proof.parts[place].decided_by for proof in proofs]
        marked = ", ".join(dict.fromkeys({"sympy": r"\textsf{S}", "z3": r"\textsf{Z}"}[mark] for mark in marks))
        lines.append(rf"\item {part.name} ({marked}): ${part.latex}${_certificate_latex(proofs, place)}.")
    lines += [r"\end{itemize}", r"\end{proof}", ""]
    return "\n".join(lines)


def _certificate_latex(proofs: Sequence[Proof], place: int) -> str:
    """Return what the certificate of SymPy amounts to."""
    for proof in proofs:
        certificate = proof.parts[place].certificate
        if certificate.get("kind") == "contradictions":
            nodes = list(certificate["contradictions"])
            quotients = [_polynomial_latex(node["on"]) for node in nodes if node.get("kind") == "split"]
            count = f"; {len(nodes)} cases" if len(nodes) > 1 else ""
            shown = list(dict.fromkeys(quotients))[:1]
            return f"{count}, by the quotient ${shown[0]}$" if shown else count
    return ""


def _polynomial_latex(data: object) -> str:
    import re

    text = polynomial_text(data).replace("**", "^").replace("*", r"\,")
    return re.sub(r"\bq(\d+)\b", r"q_{\1}", text)


def _escaped(text: str) -> str:
    return text.replace(">=", r"$\ge$").replace("<=", r"$\le$").replace("<", "$<$").replace("_", r"\_")
