"""Equivariance: exact checks of layers and networks, and weight sharing derived from symmetry.

Whether permuting the input of a layer or a network permutes its output, for all weights, is decided by

`check`, `check_reflection`, `check_quarter_turn`
    for any permutations of a layer, by comparing all entries of T (`comparison`). Always exact.
`check_shift`
    for cyclic shifts of a layer. It is a product over its axes, so each axis is decided on its own: by its rows
    (`axis_shifts`), or by its distinct rows if it is long and most rows repeat (`long_axes`). Always exact.
`check_network`, `surviving_shifts`
    for cyclic shifts of a network. Shifts are propagated from node to node (`shift_propagation`); if they reach every
    output, the answer yes is exact. Otherwise the network is evaluated as a whole (`whole_network`): a counterexample
    is an exact no, and small networks that are affine, or only take maxima, are decided either way. What is left is a
    bound, and the answer says so: ``exact`` is False.
`convmatrix.proofs`
    for every size, by theorems.

`equivariant_pattern` solves the inverse problem: it returns the weights that a group ties.
"""

from importlib import import_module
from typing import Any

from convmatrix.equivariance.actions import (
    as_permutation,
    channel_permutation,
    compose,
    cyclic_generators,
    dihedral_generators,
    generated_group,
    identity,
    inverse,
    point_group_generators,
    product,
    quarter_turn,
    reflection,
    shift,
    symmetric_generators,
    torus_generators,
)
from convmatrix.equivariance.checks import check, check_quarter_turn, check_reflection, check_shift, prove_equivariance
from convmatrix.equivariance.network_shifts import (
    NetworkVerdict,
    SurvivingShifts,
    check_network,
    known_shifts,
    surviving_shifts,
)
from convmatrix.equivariance.sharing import equivariant_pattern, orbits, tie, tied_pattern, tied_taps
from convmatrix.equivariance.sized_operations import AddedBias as Bias
from convmatrix.equivariance.sized_operations import WindowPooling as Pooling
from convmatrix.equivariance.symmetries import PointSymmetry, Symmetries, symmetries
from convmatrix.equivariance.verdict import Counterexample, Verdict
from convmatrix.equivariance.whole_network import NetworkCounterexample
from convmatrix.network import Elementwise

__all__ = [
    "ENGINES",
    "Bias",
    "CertificateError",
    "Counterexample",
    "Elementwise",
    "NetworkCounterexample",
    "NetworkVerdict",
    "PointSymmetry",
    "Pooling",
    "Proof",
    "SurvivingShifts",
    "Symmetries",
    "Verdict",
    "appendix",
    "as_permutation",
    "channel_permutation",
    "check",
    "check_network",
    "check_quarter_turn",
    "check_reflection",
    "check_shift",
    "compose",
    "cyclic_generators",
    "dihedral_generators",
    "equivariant_pattern",
    "generated_group",
    "identity",
    "instances",
    "inverse",
    "known_shifts",
    "orbits",
    "point_group_generators",
    "product",
    "prove",
    "prove_equivariance",
    "quarter_turn",
    "recheck",
    "reflection",
    "shift",
    "surviving_shifts",
    "symmetric_generators",
    "symmetries",
    "theorems",
    "tie",
    "tied_pattern",
    "tied_taps",
    "torus_generators",
]


def __getattr__(name: str) -> Any:
    """Return a name of `convmatrix.proofs`, which was part of this subpackage in version 0.1."""
    if name in {"ENGINES", "CertificateError", "Proof", "appendix", "instances", "prove", "recheck", "theorems"}:
        return getattr(import_module("convmatrix.proofs"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
