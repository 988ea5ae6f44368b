"""The page of theorems: each in words, in formulas, and as the theorem of Coq with the definitions that it uses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convmatrix.proofs import theorems
from convmatrix.proofs.coq_engine import full_path
from convmatrix.proofs.proving import theorem

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.config import Config

STATED = ("Definition", "Fixpoint", "Inductive", "Record", "Theorem", "Section", "Context", "End")
"""Commands of Coq that state something, in contrast to lemmas and proofs."""

HEAD = """Theorems
========

Every theorem holds for all sizes that its hypotheses name. SymPy and z3 decide its lemmas, which are about one axis.
Coq checks the lemmas and the full statement below, in which ``sample``, ``weight`` and ``position`` are the one-axis
rule of ``convmatrix/boundary.py`` (see :doc:`/howto/prove`). The plain boundaries are zero, circular, reflect,
symmetric and replicate, which read one sample or none. In theorems on signed boundaries, ``apply_continued`` is the
layer that reads the samples and coefficients of ``read_terms``, and ``integer`` an integer as an element of the ring.
Definitions that several theorems share, such as ``centred_axis``, are in the library ``convmatrix/proofs/coq``.

"""


def stated(source: str) -> str:
    """Return the definitions and theorems of a Coq file, without comments, lemmas and proofs."""
    text = re.sub(r"\(\*.*?\*\)", "", source, flags=re.DOTALL)
    text = re.sub(r"^Proof\b.*?\b(?:Qed|Defined)\.", "", text, flags=re.DOTALL | re.MULTILINE)
    sentences = re.findall(r"\S.*?\.(?=\s|$)", text, flags=re.DOTALL)
    return "\n".join(sentence for sentence in sentences if sentence.split()[0] in STATED)


def comment(source: str) -> str:
    """Return the comment at the start of a Coq file as one paragraph."""
    found = re.match(r"\(\*(.*?)\*\)", source, flags=re.DOTALL)
    text = " ".join(found[1].split()) if found else ""
    text = re.sub(r"^Theorem [\w-]+(?:, in full\.|:|,)? ", "", text)
    return text[:1].upper() + text[1:]


def page() -> str:
    """Return the page in reStructuredText."""
    parts = [HEAD]
    for name in theorems():
        known, path = theorem(name), full_path(name)
        parts += [f"{name}\n{'-' * len(name)}\n"]
        parts += [f"{plain(known.statement)}\n", f"*For:* {plain(known.hypotheses)}\n"]
        if path is not None:
            source = path.read_text(encoding="utf-8")
            code = "\n".join(f"   {line}".rstrip() for line in stated(source).splitlines())
            parts += [f"*In Coq:* {plain(comment(source))}\n"]
            parts += [f".. code-block:: coq\n\n{code}\n"]
    return "\n".join(parts)


def plain(text: str) -> str:
    """Return text without characters that reStructuredText would interpret."""
    return re.sub(r"([*`|_\\])", r"\\\1", text)


def write_page(app: Sphinx, config: Config) -> None:
    """Write the page, before Sphinx looks for what there is."""
    path = Path(app.srcdir) / "_generated" / "theorems.rst"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = page()
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.connect("config-inited", write_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
