"""Theorems for every size, decided by engines that run the one-axis rule of `convmatrix.boundary`.

`prove` decides a theorem with SymPy or with the solver z3, `instances` checks it on explicit symbolic matrices, and
`recheck` verifies a saved proof without any search.
"""

from convmatrix.proofs.certificates import CertificateError
from convmatrix.proofs.proving import ENGINES, appendix, instances, prove, recheck, theorems
from convmatrix.proofs.results import Proof

__all__ = ["ENGINES", "CertificateError", "Proof", "appendix", "instances", "prove", "recheck", "theorems"]


def __dir__() -> list[str]:
    return sorted(__all__)
