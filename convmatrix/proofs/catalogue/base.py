"""What a theorem is made of: a statement, the argument that reduces it to integer lemmas, and checks on matrices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from convmatrix.proofs.engines.lemma import Lemma


@dataclass(frozen=True)
class Identity:
    """An identity of functions beyond integer arithmetic, decided by SymPy.

    Attributes
    ----------
    name, text, latex : str
    left, right : callable
        Each returns a SymPy expression; their difference simplifies to zero.
    """

    name: str
    text: str
    latex: str
    left: Callable[[], Any]
    right: Callable[[], Any]


@dataclass(frozen=True)
class Theorem:
    """A theorem about layers of every size.

    Attributes
    ----------
    name : str
    statement, latex : str
        What it says, in text and in LaTeX.
    hypotheses : str
        What it assumes, in text; bounds included.
    argument : str
        How it follows from the lemmas, in LaTeX that also reads as text.
    lemmas : tuple of Lemma
        What the engines decide.
    on_matrices : callable
        Yields ``(what, holds)`` for explicit symbolic matrices of small sizes.
    identities : tuple of Identity
        What SymPy decides beside them.
    """

    name: str
    statement: str
    latex: str
    hypotheses: str
    argument: str
    lemmas: tuple[Lemma, ...]
    on_matrices: Callable[[], Iterator[tuple[str, bool]]]
    identities: tuple[Identity, ...] = ()
