"""Conformance: random layers on another library's convolution, compared with the exact results."""

from convmatrix.conformance.conformance_report import ConformanceReport
from convmatrix.conformance.offers import Offers, declared_offers
from convmatrix.conformance.target_names import TARGETS, TargetName
from convmatrix.conformance.targets import TargetCall, TargetLibrary
from convmatrix.conformance.trials import Finding

__all__ = [
    "TARGETS",
    "ConformanceReport",
    "Finding",
    "Offers",
    "TargetCall",
    "TargetLibrary",
    "TargetName",
    "declared_offers",
]


def __dir__() -> list[str]:
    return sorted(__all__)
