"""Saved proofs, checked again without any search."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convmatrix.proofs.engines.certificate import CertificateError
from convmatrix.proofs.proof import FORMAT
from convmatrix.proofs.theorems import decide_identity, lemma_part, proof_of, theorem


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
    >>> from convmatrix.equivariance import prove
    >>> recheck(prove("circular-shift").record())
    'circular-shift'
    """
    from convmatrix.proofs.engines.decide import Decision, check_certificate, example_holds

    record = source if isinstance(source, Mapping) else _read(Path(source))
    if record.get("format") != FORMAT:
        raise CertificateError(f"no saved proof: its format is {record.get('format')!r}, and {FORMAT!r} is needed")
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
        raise CertificateError("no saved proof: its parts must be a list of dictionaries")
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
            f"{path} is no saved proof: {error}; it must hold one, as Proof.save and prove NAME --json write it"
        ) from None
    if not isinstance(record, dict):
        raise CertificateError(f"{path} is no saved proof: it holds a {type(record).__name__}")
    return record
