"""Toeplitz and circulant matrices with any number of levels: build, recognise, multiply and project onto them."""

from convmatrix.structured.builders import (
    circulant,
    circulant_embedding,
    doubly_block_circulant,
    doubly_block_toeplitz,
    toeplitz,
)
from convmatrix.structured.diagonals import Violation
from convmatrix.structured.geometry_search import find_geometry
from convmatrix.structured.kernel_recovery import nearest_conv, recover_kernel
from convmatrix.structured.recognition import (
    displacement_rank,
    is_circulant,
    is_doubly_block_circulant,
    is_doubly_block_toeplitz,
    is_toeplitz,
    structure_violation,
)
from convmatrix.structured.toeplitz_operators import (
    ToeplitzOperator,
    circulant_operator,
    doubly_block_toeplitz_operator,
    toeplitz_operator,
)

__all__ = [
    "ToeplitzOperator",
    "Violation",
    "circulant",
    "circulant_embedding",
    "circulant_operator",
    "displacement_rank",
    "doubly_block_circulant",
    "doubly_block_toeplitz",
    "doubly_block_toeplitz_operator",
    "find_geometry",
    "is_circulant",
    "is_doubly_block_circulant",
    "is_doubly_block_toeplitz",
    "is_toeplitz",
    "nearest_conv",
    "recover_kernel",
    "structure_violation",
    "toeplitz",
    "toeplitz_operator",
]


def __dir__() -> list[str]:
    return sorted(__all__)
