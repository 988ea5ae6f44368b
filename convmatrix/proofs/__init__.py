"""Theorems for every size, decided by engines that run the one-axis rule of `convmatrix.boundary`.

`prove` decides a theorem with SymPy, with the solver z3 or with Coq, `instances` checks it on explicit symbolic
matrices, `recheck` verifies a saved proof without any search, and `export` writes a theorem as a file for Coq.
"""

from convmatrix.proofs.certificates import CertificateError
from convmatrix.proofs.proving import ENGINES, appendix, export, instances, prove, recheck, theorems
from convmatrix.proofs.results import Proof

__all__ = ["ENGINES", "CertificateError", "Proof", "appendix", "export", "instances", "prove", "recheck", "theorems"]


def __dir__() -> list[str]:
    return sorted(__all__)
