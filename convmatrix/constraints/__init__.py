"""Networks on boxes of inputs as sparse linear and mixed-integer constraints, and verification of their properties."""

from convmatrix.constraints.encoding import Constraints, encode
from convmatrix.constraints.normal_form import NormalForm, normal_form
from convmatrix.constraints.properties import HalfSpace, Property, box_around, output_is_largest, outputs_at_most
from convmatrix.constraints.property_files import read_vnnlib
from convmatrix.constraints.rechecking import Recheck, recheck
from convmatrix.constraints.verification import Verification, verify

__all__ = [
    "Constraints",
    "HalfSpace",
    "NormalForm",
    "Property",
    "Recheck",
    "Verification",
    "box_around",
    "encode",
    "normal_form",
    "output_is_largest",
    "outputs_at_most",
    "read_vnnlib",
    "recheck",
    "verify",
]


def __dir__() -> list[str]:
    return sorted(__all__)
