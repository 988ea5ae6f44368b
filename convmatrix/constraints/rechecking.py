"""Certificates that a network has a property, and the code that checks them: integers, no solver, no search.

A certificate is plain data that can be saved as JSON:

``format``, ``bits``
    Bounds and multipliers are integers times ``2**-bits``.
``network``
    A digest of the network's normal form, so that a certificate for other weights is named as such.
``lower``, ``upper``
    The box of inputs.
``spaces``, ``unsafe``
    Half-spaces ``[inputs, outputs, right, strict]`` of pairs of an index and a fraction, and the unsafe sets: lists of
    their numbers.
``proofs``
    A list of ``{"sets", "tighten", "trees"}``: numbers of unsafe sets that have the same part of the box, of how many
    rectifiers bounds are tightened first, and one tree for each of the sets.

A tree is the list of its nodes, those below a split before those above it: ``["split", variable, value]`` divides the
box of all variables, and ``["leaf", weights, slopes]`` has the multipliers of a bound that is positive: pairs of a
half-space of the unsafe set and its weight, and pairs of a variable and its slope, see
`convmatrix.constraints.exact_bounds`.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix.constraints.exact_bounds import Bounds, ExactForm, UnsafeSet
from convmatrix.constraints.normal_form import NormalForm, normal_form
from convmatrix.constraints.properties import HalfSpace, Property, unsafe_box, with_output
from convmatrix.display.tables import ShownAsTable, Table
from convmatrix.network.intervals import box_bounds
from convmatrix.network.operations import entries

if TYPE_CHECKING:
    from convmatrix.network import Network

FORMAT: Final = "convmatrix-verification-1"
_MOST_BITS: Final = 4096
_MOST_BYTES: Final = 2**30
_FRACTION: Final = re.compile(r"-?[0-9]{1,2000}(/[0-9]{1,2000})?")


@dataclass(frozen=True)
class Recheck(ShownAsTable):
    """Whether a certificate proves that a network has a property.

    Attributes
    ----------
    valid : bool
    reason : str
        What is wrong, or what was checked.
    claim : Property or None
        What was proved.
    """

    valid: bool
    reason: str
    claim: Property | None = None

    def __bool__(self) -> bool:
        return self.valid

    def __str__(self) -> str:
        return f"{'valid' if self.valid else 'NOT valid'}: {self.reason}"

    def _table(self) -> Table:
        claim = "" if self.claim is None else self.claim.name
        return Table(claim, (), notes=(self.reason,), holds=self.valid, answer="Valid" if self.valid else "Not valid")


class InvalidError(ValueError):
    """Raised inside `recheck` if a certificate proves nothing."""


class _UnusableNetworkError(Exception):
    """Raised inside `recheck` if no certificate can be checked for the network, with the reason."""

    def __init__(self, reason: ValueError) -> None:
        super().__init__(str(reason))
        self.reason = reason


def recheck(
    certificate: Any, network: Any, box: Any = None, property: Property | None = None, *, name: str | None = None
) -> Recheck:
    """Return whether a certificate proves that a network has a property on a box of inputs.

    The network's equations and rectifiers are built anew, and every bound is computed again in integers. No solver is
    called, and no floating-point arithmetic decides anything.

    Parameters
    ----------
    certificate : path, or dict
        A file written by `Verification.to_json`, or `Verification.certificate`; it need not be trusted.
    network : Network, or anything that describes one
    box : (array_like, array_like), optional
        The certificate must be for a box that contains this one.
    property : Property, optional
        The certificate must be for these unsafe sets.
    name : str, optional
        The output node; needed if there are several.

    Returns
    -------
    Recheck
        True if it is valid; otherwise with the reason.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If the network has no normal form, or several outputs of which none is chosen, or the given box is wrong.

    Examples
    --------
    >>> from convmatrix.network import Elementwise, Network, Input
    >>> from convmatrix.constraints import outputs_at_most, verify
    >>> network = Network([Input((1,)), Elementwise("relu")])
    >>> found = verify(network, (-1, 1), outputs_at_most([[1]], 2))
    >>> print(recheck(found.certificate, network))
    valid: 1 unsafe set is not reached: 1 leaf in 1 tree, checked in integers
    >>> print(recheck(found.certificate | {"upper": [3.0]}, network))
    NOT valid: unsafe set 0: the bound of node 0 is not positive
    """
    network = with_output(network, name)
    wanted = None if box is None else [end.ravel() for end in box_bounds(network.input_shape, *entries("box", box, 2))]
    try:
        data = _read(certificate)
        lower, upper, unsafe = _claim(data, network)
        if wanted is not None and ((wanted[0] < lower).any() or (wanted[1] > upper).any()):
            raise InvalidError("it is for another box, which does not contain the given one")
        if property is not None and set(property.unsafe) != set(unsafe.unsafe):
            raise InvalidError("it is for another property")
        form = _form(network, lower, upper)
        if data.get("network") != digest(form):
            raise InvalidError("it is for another network: its digest differs")
        return Recheck(valid=True, reason=_check_proofs(data, form, lower, upper, unsafe), claim=unsafe)
    except InvalidError as error:
        return Recheck(valid=False, reason=str(error))
    except _UnusableNetworkError as error:
        raise error.reason from None
    except (ValueError, TypeError, ArithmeticError, LookupError, RecursionError, MemoryError) as error:
        # A forged certificate may cause any other failure; it proves nothing.
        return Recheck(valid=False, reason=f"it cannot be read: {type(error).__name__}: {str(error)[:200]}")


def _form(network: Network, lower: list[float], upper: list[float]) -> NormalForm:
    """Return the normal form on the box of a certificate, or say whose fault it is that there is none."""
    try:
        return normal_form(network, np.reshape(lower, network.input_shape), np.reshape(upper, network.input_shape))
    except ValueError as error:
        try:
            normal_form(network, 0, 0)
        except ValueError as reason:
            raise _UnusableNetworkError(reason) from None
        raise InvalidError(f"its box: {error}") from None


def digest(form: NormalForm) -> str:
    """Return a hash of the equations and rectifiers of a network."""
    hashed = hashlib.sha256()
    inputs, outputs = form.variables[form.input], form.variables[form.output]
    for array in (
        form.equations.indptr,
        form.equations.indices,
        form.defines,
        form.pre,
        form.post,
        form.order,
        inputs,
        outputs,
    ):
        hashed.update(np.asarray(array.shape, "<i8").tobytes() + array.astype("<i8").tobytes())
    for values in (form.equations.data, form.right):
        hashed.update(values.astype("<f8").tobytes())
    return hashed.hexdigest()


def _check_proofs(
    data: Mapping[str, Any], form: NormalForm, lower: list[float], upper: list[float], unsafe: Property
) -> str:
    """Raise unless every unsafe set has a closed tree; return what was checked."""
    exact = ExactForm(form, _integer(data.get("bits"), 1, _MOST_BITS, "bits"))
    boxes = [unsafe_box(spaces, lower, upper) for spaces in unsafe.unsafe]
    missing = {number for number, (low, high, _) in enumerate(boxes) if all(map(float.__le__, low, high))}
    n_leaves = n_trees = 0
    for place, proof in enumerate(_list(data.get("proofs"), "proofs")):
        if not isinstance(proof, dict):
            raise InvalidError(f"proof {place} is not an object")
        sets = [_integer(number, 0, len(boxes) - 1, "an unsafe set") for number in _list(proof.get("sets"), "sets")]
        trees = _list(proof.get("trees"), "trees")
        if not sets or len(sets) != len(trees):
            raise InvalidError(f"proof {place} has {len(sets)} unsafe sets, but {len(trees)} trees")
        low, high, _ = boxes[sets[0]]
        root = exact.propagate(*exact.grid(low, high))
        exact.tighten_all(root, _integer(proof.get("tighten"), 0, None, "the number of tightened variables"))
        for number, tree in zip(sets, trees, strict=True):
            if number not in missing:
                raise InvalidError(f"unsafe set {number} has two trees, or an empty box")
            if boxes[number][:2] != (low, high):
                raise InvalidError(f"unsafe set {number} has another box than unsafe set {sets[0]}")
            missing.remove(number)
            try:
                reached = UnsafeSet([unsafe.unsafe[number][row] for row in boxes[number][2]], form)
                n_leaves += _check_tree(_list(tree, "a tree"), exact, root.copy(), reached)
            except ValueError as error:
                raise InvalidError(f"unsafe set {number}: {error}") from None
            n_trees += 1
    if missing:
        raise InvalidError(f"unsafe set {min(missing)} has no tree")
    return (
        f"{_count(len(boxes), 'unsafe set')} {'is' if len(boxes) == 1 else 'are'} not reached: "
        f"{_count(n_leaves, 'leaf', 'leaves')} in {_count(n_trees, 'tree')}, checked in integers"
    )


def _check_tree(tree: list[Any], exact: ExactForm, root: Bounds, unsafe: UnsafeSet) -> int:
    """Raise unless the leaves of a tree cover the box and each has a bound that is positive; return their number.

    The bounds of the root are changed on the way down, and changed back on the way up.
    """
    bounds, changed, n_leaves = root, _Changes(), 0
    waiting: list[tuple[int, int, int | None, int | None]] = [(0, 0, None, None)]  # number of changes; the next one
    for place, node in enumerate(tree):
        if not waiting:
            raise InvalidError(f"the tree is complete at node {place}, but has {len(tree)} nodes")
        kept, variable, least, most = waiting.pop()
        changed.undo(bounds, kept)
        changed.narrow(bounds, variable, least, most)
        parts = _list(node, f"node {place}")
        if len(parts) != 3 or parts[0] not in ("split", "leaf"):
            raise InvalidError(f"node {place} is neither a split nor a leaf")
        if parts[0] == "split":
            variable = _integer(parts[1], 0, exact.n_variables - 1, f"the variable of node {place}")
            value = _integer(parts[2], None, None, f"the value of node {place}")
            waiting += [(len(changed), variable, value, None), (len(changed), variable, None, value)]
            continue
        weights = _pairs(parts[1], 0, len(unsafe.right) - 1, 0, f"the weights of node {place}")
        slopes = _pairs(parts[2], 0, exact.n_variables - 1, None, f"the slopes of node {place}")
        if not unsafe.excluded(exact.excess(unsafe, weights, bounds, slopes), weights):
            raise InvalidError(f"the bound of node {place} is not positive")
        n_leaves += 1
    if waiting:
        raise InvalidError(
            f"the tree ends after {len(tree)} nodes, but {_count(len(waiting), 'part')} of the box have none"
        )
    return n_leaves


class _Changes(list[tuple[int, int, int]]):
    """Former bounds of variables, so that a tree needs one copy of all bounds and not one for each of its splits."""

    def narrow(self, bounds: Bounds, variable: int, lower: int | None, upper: int | None) -> None:
        """Add a bound of a variable."""
        self.append((variable, bounds.lower[variable], bounds.upper[variable]))
        bounds.narrow(variable, lower, upper)

    def undo(self, bounds: Bounds, kept: int) -> None:
        """Take back all but the first changes."""
        while len(self) > kept:
            variable, lower, upper = self.pop()
            bounds.lower[variable], bounds.upper[variable] = lower, upper


# --- reading data that may be forged ---------------------------------------------------------------------------------


def _read(certificate: Any) -> Mapping[str, Any]:
    """Return a certificate as a dictionary."""
    if isinstance(certificate, str | os.PathLike):
        size = Path(certificate).stat().st_size
        if size > _MOST_BYTES:
            raise InvalidError(f"its file has {size} bytes, but at most {_MOST_BYTES} are read")
        try:
            certificate = json.loads(Path(certificate).read_bytes())
        except (ValueError, RecursionError) as error:  # also numbers of more than 4300 digits
            raise InvalidError(f"it is not JSON: {str(error)[:100]}") from None
    if not isinstance(certificate, Mapping):
        raise InvalidError(f"it is not an object, but a {type(certificate).__name__}")
    if certificate.get("format") != FORMAT:
        raise InvalidError(f"its format is not {FORMAT!r}")
    return certificate


def _claim(data: Mapping[str, Any], network: Any) -> tuple[list[float], list[float], Property]:
    """Return the box and the unsafe sets of a certificate."""
    n_inputs, n_outputs = math.prod(network.input_shape), math.prod(network.output_shape)
    sides = []
    for name in ("lower", "upper"):
        side = _list(data.get(name), name)
        if len(side) != n_inputs or not all(isinstance(v, float) and math.isfinite(v) for v in side):
            raise InvalidError(f"{name} is not a list of {n_inputs} finite floats, one for each entry of the input")
        sides.append(side)
    lower, upper = sides
    if not all(map(float.__le__, lower, upper)):
        raise InvalidError("its box is empty: a lower bound exceeds the upper one")
    spaces = [_space(entry, n_inputs, n_outputs) for entry in _list(data.get("spaces"), "spaces")]
    unsafe = [
        tuple(spaces[_integer(n, 0, len(spaces) - 1, "a half-space")] for n in _list(numbers, "an unsafe set"))
        for numbers in _list(data.get("unsafe"), "unsafe")
    ]
    return lower, upper, Property(tuple(unsafe), "the property of the certificate")


def _space(entry: Any, n_inputs: int, n_outputs: int) -> HalfSpace:
    parts = _list(entry, "a half-space")
    if len(parts) != 4 or not isinstance(parts[3], bool):
        raise InvalidError("a half-space is not a list of inputs, outputs, right side and strictness")
    sides = []
    for terms, size in ((parts[0], n_inputs), (parts[1], n_outputs)):
        pairs = [_list(term, "a term") for term in _list(terms, "the terms of a half-space")]
        if not all(len(pair) == 2 for pair in pairs):
            raise InvalidError("a term of a half-space is not an index and a fraction")
        sides.append(tuple((_integer(i, 0, size - 1, "an index"), _fraction(factor)) for i, factor in pairs))
    return HalfSpace(sides[0], sides[1], _fraction(parts[2]), parts[3])


def _fraction(text: Any) -> Fraction:
    if not isinstance(text, str) or not _FRACTION.fullmatch(text):
        shown = repr(text[:40]) if isinstance(text, str) else f"a {type(text).__name__}"
        raise InvalidError(f"{shown} is not a fraction")
    try:
        return Fraction(text)
    except ZeroDivisionError:
        raise InvalidError(f"{text[:40]!r} divides by zero") from None


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise InvalidError(f"{what} is not a list, but a {type(value).__name__}")
    return list(value)


def _integer(value: Any, least: int | None, most: int | None, what: str) -> int:
    if type(value) is not int or value.bit_length() > 2 * _MOST_BITS:
        raise InvalidError(f"{what} is not an integer of at most {2 * _MOST_BITS} bits, but a {type(value).__name__}")
    if (least is not None and value < least) or (most is not None and value > most):
        raise InvalidError(f"{what} is {value}, not between {least} and {'any' if most is None else most}")
    return value


def _pairs(value: Any, first: int, last: int, least: int | None, what: str) -> dict[int, int]:
    found: dict[int, int] = {}
    for pair in _list(value, what):
        parts = _list(pair, what)
        if len(parts) != 2:
            raise InvalidError(f"{what} are not pairs")
        found[_integer(parts[0], first, last, what)] = _integer(parts[1], least, None, what)
    return found


def _count(number: int, noun: str, plural: str = "") -> str:
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
