"""Equivariance: exact checks at a size, sharing from symmetry, and theorems for every size.

`check` and `prove_equivariance` decide for a given layer whether permuting its input permutes its output, for every
weight, and name the rows that break it. `equivariant_pattern` goes the other way, from a group to the weights that it
ties. `prove` decides theorems about all sizes with two engines that run the one-axis rule of `convmatrix.boundary`.
"""

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
from convmatrix.equivariance.checks import (
    check,
    check_quarter_turn,
    check_reflection,
    check_shift,
    prove_equivariance,
)
from convmatrix.equivariance.network_shifts import NetworkVerdict, SurvivingShifts, check_network, surviving_shifts
from convmatrix.equivariance.sharing import equivariant_pattern, orbits, tie, tied_pattern, tied_taps
from convmatrix.equivariance.sized_operations import AddedBias as Bias
from convmatrix.equivariance.sized_operations import WindowPooling as Pooling
from convmatrix.equivariance.symmetries import PointSymmetry, Symmetries, symmetries
from convmatrix.equivariance.verdict import Counterexample, Verdict
from convmatrix.equivariance.whole_network import NetworkCounterexample
from convmatrix.network import Elementwise
from convmatrix.proofs.engines.certificate import CertificateError
from convmatrix.proofs.latex import appendix
from convmatrix.proofs.proof import Proof
from convmatrix.proofs.saved import recheck
from convmatrix.proofs.theorems import ENGINES, instances, prove, theorems

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


def __dir__() -> list[str]:
    return sorted(__all__)
