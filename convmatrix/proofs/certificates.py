"""Certificates of contradiction, and the code that checks them by multiplying, adding and comparing, without search.

A certificate is a tree of plain data (dicts, lists, strings, integers) that can be saved as JSON. Its nodes are:

``sum``
    Products of inequalities, multiplied by nonnegative integers, and multiples of equations sum to a negative constant.
``substitute``
    An equation that is linear in a variable, with coefficient 1 or -1, is solved for it and substituted everywhere.
``split``
    An integer polynomial is at most -1, zero, or at least 1; each case has a certificate. If the polynomial is the
    quotient of a difference of remainders by their modulus, this expresses the uniqueness of the remainder.

A polynomial is a list of ``[coefficient, {variable: exponent}]``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from convmatrix.proofs.problems import contradictory_parts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sympy.polys.rings import PolyElement, PolyRing

    from convmatrix.proofs.statements import Lemma

Node = dict[str, Any]


class CertificateError(ValueError):
    """Raised if a certificate does not prove its claim."""


def to_data(polynomial: PolyElement) -> list[Any]:
    """Return a polynomial as plain data."""
    names = [str(symbol) for symbol in polynomial.ring.symbols]
    return [
        [int(coefficient), {name: power for name, power in zip(names, powers, strict=True) if power}]
        for powers, coefficient in sorted(polynomial.terms(), reverse=True)
    ]


def from_data(ring: PolyRing, data: Any) -> PolyElement:
    """Return a polynomial from plain data, which is validated because it may have been read from a file."""
    places = {str(symbol): place for place, symbol in enumerate(ring.symbols)}
    result: dict[tuple[int, ...], Any] = {}
    try:
        for coefficient, powers in data:
            exponents = [0] * len(places)
            for name, power in powers.items():
                if not isinstance(power, int) or not 0 < power < 100:
                    raise CertificateError(f"the power {power!r} of {name} is not an exponent")
                exponents[places[name]] = power
            result[tuple(exponents)] = ring.domain(_integer(coefficient))
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise CertificateError(f"no polynomial in {', '.join(places)}: {error}") from None
    return ring.from_dict(result)


def _integer(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise CertificateError(f"the coefficient {value!r} is not an integer")
    return value


def check_contradiction(
    ring: PolyRing, equations: Sequence[PolyElement], inequalities: Sequence[PolyElement], node: Mapping[str, Any]
) -> None:
    """Raise `CertificateError` unless the certificate shows that no integers satisfy all constraints."""
    kind = node.get("kind")
    if kind == "sum":
        total = ring(0)
        for coefficient, places in _entries(node, "products"):
            factor = _integer(coefficient)
            if factor < 0:
                raise CertificateError(f"the coefficient {coefficient} of a product of inequalities is negative")
            if not isinstance(places, list):
                raise CertificateError(f"the factors of a product must be a list, but are {places!r}")
            total += math.prod((_entry(inequalities, place) for place in places), start=ring(factor))
        for place, multiplier in _entries(node, "multiples"):
            total += from_data(ring, multiplier) * _entry(equations, place)
        if not total.is_ground or not total.LC < 0:
            raise CertificateError(f"the products add up to {total}, not to a constant below zero")
    elif kind == "substitute":
        equation = _entry(equations, node.get("equation"))
        variable, value = solved(equation, str(node.get("variable")))
        rest = [e.compose(variable, value) for e in equations if e is not equation]
        changed = [e.compose(variable, value) for e in inequalities]
        check_contradiction(ring, rest, changed, _node(node, "then"))
    elif kind == "split":
        on = from_data(ring, node.get("on"))
        check_contradiction(ring, equations, [*inequalities, -on - 1], _node(node, "below"))
        check_contradiction(ring, [*equations, on], inequalities, _node(node, "zero"))
        check_contradiction(ring, equations, [*inequalities, on - 1], _node(node, "above"))
    else:
        raise CertificateError(f"a node of kind {kind!r}; there are sum, substitute and split")


def solved(equation: PolyElement, name: str) -> tuple[PolyElement, PolyElement]:
    """Return the variable for which an equation is solved, and the polynomial that it equals."""
    ring = equation.ring
    for variable in ring.gens:
        if str(variable) == name:
            slope = equation.diff(variable)
            if slope not in (ring(1), ring(-1)):
                raise CertificateError(f"the equation {equation} = 0 does not give {name}: its factor is {slope}")
            return variable, variable - equation * slope
    raise CertificateError(f"there is no variable {name!r}; there are {', '.join(map(str, ring.gens))}")


def _entries(node: Mapping[str, Any], name: str) -> list[Any]:
    entries = node.get(name, [])
    if not isinstance(entries, list) or not all(isinstance(entry, list) and len(entry) == 2 for entry in entries):
        raise CertificateError(f"{name} must be a list of pairs")
    return entries


def _entry(constraints: Sequence[PolyElement], place: Any) -> PolyElement:
    if not isinstance(place, int) or not 0 <= place < len(constraints):
        raise CertificateError(f"constraint {place!r} does not exist; there are {len(constraints)}")
    return constraints[place]


def _node(node: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    inner = node.get(name)
    if not isinstance(inner, dict):
        raise CertificateError(f"a node of kind {node.get('kind')!r} needs a node {name!r}")
    return inner


def check_certificate(lemma: Lemma, certificate: dict[str, Any]) -> None:
    """Raise `CertificateError` unless a certificate proves a lemma; this runs the one-axis rule, but no search."""
    proofs = certificate.get("contradictions")
    if certificate.get("kind") != "contradictions" or not isinstance(proofs, list):
        raise CertificateError(f"{lemma.name}: no certificate of contradictions, but kind {certificate.get('kind')!r}")
    try:
        parts = contradictory_parts(lemma)
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
