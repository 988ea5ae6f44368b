"""Networks on boxes of inputs as sparse linear and mixed-integer constraints."""

from convmatrix.constraints.encoding import Constraints, encode
from convmatrix.constraints.normal_form import NormalForm, normal_form

__all__ = ["Constraints", "NormalForm", "encode", "normal_form"]


def __dir__() -> list[str]:
    return sorted(__all__)
