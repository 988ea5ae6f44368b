"""The search for certificates of contradiction: linear programming proposes them, exact arithmetic verifies them.

Nothing in this module needs to be trusted: every result is checked by `convmatrix.proofs.certificates`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from convmatrix.proofs.certificates import Node, check_contradiction, solved, to_data
from convmatrix.proofs.problems import contradictory_parts, divisions
from convmatrix.proofs.statements import Decision, Lemma, counterexample, no_symbols

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sympy.polys.rings import PolyElement, PolyRing

    from convmatrix.proofs.problems import Problem

_MOST_SPLITS: Final = 1.5  # depth of nested splits; a split with one open branch counts as a quarter
_MOST_OPEN: Final = 3
_MOST_ATTEMPTS: Final = 120  # linear programs per problem, so that a search without a solution ends
_EVERY_PAIR: Final = ("none", "fresh", "all")
_MOST_PRODUCTS: Final = 600
_FEW: Final = 6  # number of inequalities up to which products of three are tried as well
_LARGEST_DENOMINATOR: Final = 1000
_LARGEST_COEFFICIENT: Final = 10**6  # floating-point programs fail with bounds such as 2**62


@dataclass
class _SearchState:
    """The constraints at a node of the search; ``fresh`` are the inequalities added by splits."""

    ring: PolyRing
    equations: list[PolyElement]
    inequalities: list[PolyElement]
    moduli: list[PolyElement]
    fresh: list[int]
    attempts: list[int]  # number of linear programs left, shared by all nodes

    def with_equation(self, equation: PolyElement) -> _SearchState:
        return replace(self, equations=[*self.equations, equation])

    def with_inequality(self, inequality: PolyElement) -> _SearchState:
        fresh = [*self.fresh, len(self.inequalities)]
        return replace(self, inequalities=[*self.inequalities, inequality], fresh=fresh)

    def substituted(self, place: int, name: str) -> _SearchState:
        variable, value = solved(self.equations[place], name)
        rest = [*self.equations[:place], *self.equations[place + 1 :]]

        def moved(polynomials: list[PolyElement]) -> list[PolyElement]:
            return [p.compose(variable, value) if p.diff(variable) else p for p in polynomials]

        return replace(self, equations=moved(rest), inequalities=moved(self.inequalities), moduli=moved(self.moduli))


def decide_with_sympy(lemma: Lemma) -> Decision:
    """Return the decision about a lemma, by certificates of contradiction between polynomials in SymPy integers."""
    try:
        parts = contradictory_parts(lemma)
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


def divides_by_positive(lemma: Lemma) -> bool:
    """Return whether certificates show that the code which a lemma runs divides by positive integers only."""
    found = divisions(lemma.build)
    return all(contradiction(part) is not None for problem in found for part in (*problem.obligations, problem))


def contradiction(problem: Problem) -> Node | None:
    """Return a certificate that the constraints of a problem contradict each other, or None if none was found."""
    moduli, attempts = list(problem.moduli), [_MOST_ATTEMPTS]
    return _search(
        _SearchState(problem.ring, problem.equations, problem.inequalities, moduli, [], attempts), _MOST_SPLITS
    )


def _search(state: _SearchState, splits: float) -> Node | None:
    found = _at_once(state) if splits and state.moduli else _at_once(state, _EVERY_PAIR)
    if found is not None or not splits:
        return found
    whole = state
    state, wrap = _simplified(state)
    open_splits: list[tuple[PolyElement, dict[str, Node]]] = []
    for on in _candidates(state):
        branches = _branches(state, on)
        closed = {word: node for word, branch in branches.items() if (node := _at_once(branch, ("fresh",))) is not None}
        if len(closed) == len(branches):
            return _finish(state, on, closed, splits, wrap)
        if closed:
            open_splits.append((on, closed))
    if state.moduli:  # with remainders a split is likely to succeed, and products of all pairs take long
        found = _at_once(whole, _EVERY_PAIR)
        if found is not None:
            return found
    open_splits.sort(key=lambda split: -len(split[1]))  # continuing with a single open branch costs least
    for on, closed in open_splits[:_MOST_OPEN]:
        found = _finish(state, on, closed, splits, wrap)
        if found is not None:
            return found
    return None


def _finish(
    state: _SearchState, on: PolyElement, closed: dict[str, Node], splits: float, wrap: Callable[[Node], Node]
) -> Node | None:
    """Return the certificate of a split with some branches closed, if the other branches can be closed."""
    nodes = dict(closed)
    cost = 1 if len(closed) < 2 else 0.25
    for word, branch in _branches(state, on).items():
        if word not in nodes:
            found = _search(branch, max(splits - cost, 0)) if splits >= cost else None
            if found is None:
                return None
            nodes[word] = found
    return wrap({"kind": "split", "on": to_data(on), **nodes})


def _branches(state: _SearchState, on: PolyElement) -> dict[str, _SearchState]:
    return {
        "below": state.with_inequality(-on - 1),
        "above": state.with_inequality(on - 1),
        "zero": state.with_equation(on),
    }


def _simplified(state: _SearchState) -> tuple[_SearchState, Callable[[Node], Node]]:
    """Eliminate variables by equations; return how to turn a certificate for the remainder into one for the whole."""
    steps: list[tuple[int, str]] = []
    place = 0
    while place < len(state.equations):
        name = _isolated(state.equations[place])
        if name is None:
            place += 1
            continue
        steps.append((place, name))
        state = state.substituted(place, name)
        place = 0

    def wrap(node: Node) -> Node:
        for equation, variable in reversed(steps):
            node = {"kind": "substitute", "equation": equation, "variable": variable, "then": node}
        return node

    return state, wrap


def _at_once(state: _SearchState, tiers: tuple[str, ...] = ("none", "fresh")) -> Node | None:
    """Return a certificate without splits, or None."""
    state, wrap = _simplified(state)
    found = _positive_sum(state, tiers)
    return found and wrap(found)


def _isolated(equation: PolyElement) -> str | None:
    """Return a variable that an equation expresses as a polynomial in the others."""
    ring = equation.ring
    for variable in reversed(ring.gens):  # quotients first
        if equation.diff(variable) in (ring(1), ring(-1)):
            return str(variable)
    return None


def _candidates(state: _SearchState) -> Iterator[PolyElement]:
    """Yield integers to split on: quotients by a modulus of terms that must be small, then quotient variables."""
    ring, inequalities = state.ring, state.inequalities
    seen = set()
    distinct = [modulus for modulus in dict.fromkeys(state.moduli) if not modulus.is_ground]

    def fresh(polynomial: PolyElement) -> bool:
        if polynomial.is_ground or polynomial in seen or -polynomial in seen:
            return False
        seen.add(polynomial)
        return True

    for modulus in distinct:
        for constraint in (*state.equations, *(i + 1 for i in inequalities), *inequalities):
            quotient, rest = divmod(constraint, modulus)
            if not rest and fresh(quotient):
                yield quotient
    names = {str(symbol): generator for symbol, generator in zip(ring.symbols, ring.gens, strict=True)}
    quotients = [
        g for n, g in names.items() if n[0] == "q" and n[1:].isdigit() and any(i.diff(g) for i in inequalities)
    ]
    for place, quotient in enumerate(quotients):
        for other in quotients[:place]:
            for combination in (quotient - other, quotient + other):
                if fresh(combination):
                    yield combination
    for quotient in quotients:
        if fresh(quotient):
            yield quotient
    for quotient in quotients:
        for one in (quotient - 1, quotient + 1):
            if fresh(one):
                yield one
    for constraint in (*state.equations, *inequalities):  # u - v of u * size + x - v * size - y
        for generator in ring.gens:
            factor = constraint.diff(generator)
            if not factor.is_ground and not factor.diff(generator) and fresh(factor):
                yield factor


def _positive_sum(state: _SearchState, tiers: tuple[str, ...]) -> Node | None:
    """Return products of inequalities, and multiples of equations, that sum to a negative constant."""
    ring, equations, inequalities = state.ring, state.equations, state.inequalities
    for place, inequality in enumerate(inequalities):
        if inequality.is_ground and inequality.LC < 0:
            return {"kind": "sum", "products": [[1, [place]]], "multiples": []}
    opposite = _opposite_pair(inequalities)
    if opposite is not None:
        return {"kind": "sum", "products": [[1, [place]] for place in opposite], "multiples": []}
    for pairs in tiers:
        places = _products(state, pairs)
        if places is None:
            continue
        products = [math.prod((inequalities[place] for place in factors), start=ring(1)) for factors in places]
        factors = [ring(1)]
        if pairs != "none":
            factors += [generator for generator in ring.gens if any(i.diff(generator) for i in inequalities)]
        multiples = [(place, factor) for place, _ in enumerate(equations) for factor in factors]
        state.attempts[0] -= 1
        if state.attempts[0] < 0:
            return None
        solution = _solve(products, [equations[place] * factor for place, factor in multiples])
        if solution is None:
            continue
        positive, free = solution
        gathered: dict[int, PolyElement] = {}
        for (place, factor), coefficient in zip(multiples, free, strict=True):
            if coefficient:
                gathered[place] = gathered.get(place, ring(0)) + coefficient * factor
        return {
            "kind": "sum",
            "products": [[c, list(f)] for f, c in zip(places, positive, strict=True) if c],
            "multiples": [[place, to_data(multiplier)] for place, multiplier in gathered.items()],
        }
    return None


def _opposite_pair(inequalities: list[PolyElement]) -> tuple[int, int] | None:
    """Return two inequalities that sum to a negative constant, as is the case on most paths through a lemma."""
    most: dict[PolyElement, int] = {}
    for place, inequality in enumerate(inequalities):
        varying = inequality - inequality.coeff(1)
        other = most.get(-varying)
        if other is not None and (inequality + inequalities[other]).LC < 0:
            return other, place
        known = most.get(varying)
        if known is None or inequality.coeff(1) < inequalities[known].coeff(1):
            most[varying] = place
    return None


def _products(state: _SearchState, pairs: str) -> list[tuple[int, ...]] | None:
    """Return the products of inequalities to try: single ones, and pairs with those from splits, or all pairs."""
    distinct: dict[PolyElement, int] = {}
    for place, inequality in enumerate(state.inequalities):
        if not inequality.is_ground and inequality.max_norm() <= _LARGEST_COEFFICIENT:
            distinct.setdefault(inequality, place)
    useful = list(distinct.values())
    places: list[tuple[int, ...]] = [(), *((place,) for place in useful)]
    if pairs == "none":
        return places
    if pairs == "fresh":
        fresh = [place for place in useful if place in state.fresh]
        if not fresh and not state.equations:
            return None
        return [*places, *((place, other) for place in fresh for other in useful)]
    places += combinations_with_replacement(useful, 2)
    if len(useful) <= _FEW:
        places += combinations_with_replacement(useful, 3)
    return places[:_MOST_PRODUCTS]


def _solve(products: Sequence[PolyElement], equalities: Sequence[PolyElement]) -> tuple[list[int], list[int]] | None:
    """Return integer multipliers, nonnegative for the products, that give a negative constant sum, or None."""
    columns = [*products, *equalities]
    rows: dict[tuple[int, ...], int] = {}
    entries: list[tuple[int, int, Any]] = []
    for column, polynomial in enumerate(columns):
        for powers, coefficient in polynomial.terms():
            entries.append((rows.setdefault(powers, len(rows)), column, coefficient))
    constant = next((row for powers, row in rows.items() if not any(powers)), None)
    if constant is None:
        return None
    matrix = np.zeros((len(rows), len(columns)))
    for row, column, coefficient in entries:
        matrix[row, column] = float(coefficient)
    target = np.zeros(len(rows))
    target[constant] = -1
    cost = np.concatenate([np.ones(len(products)), np.zeros(len(equalities))])
    lowest = np.concatenate([np.zeros(len(products)), np.full(len(equalities), -np.inf)])
    # Without integer variables, milp solves a linear program as linprog does, with half the overhead.
    answer = milp(cost, constraints=LinearConstraint(matrix, target, target), bounds=Bounds(lowest, np.inf))
    if answer.status != 0:
        return None
    fractions = [Fraction(float(x)).limit_denominator(_LARGEST_DENOMINATOR) for x in answer.x]
    denominator = math.lcm(*(fraction.denominator for fraction in fractions))
    guess = [int(fraction * denominator) for fraction in fractions]
    sums = [0] * len(rows)  # the linear program required a sum of -1, so this requires -denominator
    for row, column, coefficient in entries:
        sums[row] += guess[column] * int(coefficient)
    if any(value != (-denominator if row == constant else 0) for row, value in enumerate(sums)):
        return None
    return guess[: len(products)], guess[len(products) :]
