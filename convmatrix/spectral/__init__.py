"""Spectra of layers: transfer functions, singular values, and norms with guaranteed enclosures.

Every function takes a layer as `convmatrix.conv_matrix` does, a kernel, an input shape and the options of the layer, or
a kernel and a `ConvGeometry`. No function forms the layer's matrix where there is another way.
"""

from convmatrix.spectral import published
from convmatrix.spectral.bounds import norm_bounds
from convmatrix.spectral.extremes import condition_number, rank, smallest_singular_value, spectral_norm
from convmatrix.spectral.singular import singular_values
from convmatrix.spectral.transfer import eigenvalues, transfer_function

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
