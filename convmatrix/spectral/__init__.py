"""Spectra of layers: transfer functions, singular values, norms, and guaranteed bounds on norms.

Every function takes a layer as `convmatrix.conv_matrix` does: a kernel, an input shape and the options of
`ConvGeometry`, or a kernel and a `ConvGeometry`. The layer's matrix is formed only if there is no other way.
"""

from convmatrix.spectral import published
from convmatrix.spectral.bounds import norm_bounds
from convmatrix.spectral.extremes import condition_number, rank, smallest_singular_value, spectral_norm
from convmatrix.spectral.singular import eigenvalues, singular_values, transfer_function

__all__ = [
    "condition_number",
    "eigenvalues",
    "norm_bounds",
    "published",
    "rank",
    "singular_values",
    "smallest_singular_value",
    "spectral_norm",
    "transfer_function",
]


def __dir__() -> list[str]:
    return sorted(__all__)
