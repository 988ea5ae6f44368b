"""Theorems for every size, decided by engines that run the one-axis rule of `convmatrix.boundary`."""

from convmatrix.proofs.engines.certificate import CertificateError
from convmatrix.proofs.latex import appendix
from convmatrix.proofs.proof import Proof
from convmatrix.proofs.saved import recheck
from convmatrix.proofs.theorems import ENGINES, instances, prove, theorems

__all__ = ["ENGINES", "CertificateError", "Proof", "appendix", "instances", "prove", "recheck", "theorems"]


def __dir__() -> list[str]:
    return sorted(__all__)
