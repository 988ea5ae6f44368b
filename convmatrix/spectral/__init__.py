"""Spectra of layers: transfer functions, singular values, determinants, norms, guaranteed bounds, also of networks.

Every function takes a layer as `convmatrix.conv_matrix` does: a kernel, an input shape and the options of
`ConvGeometry`, or a kernel and a `ConvGeometry`. The layer's matrix is formed only if there is no other way.
`lipschitz_bound` takes a network; it is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from convmatrix.spectral import published
from convmatrix.spectral.bounds import norm_bounds
from convmatrix.spectral.density import SingularValueDensity, singular_value_density
from convmatrix.spectral.extremes import condition_number, rank, smallest_singular_value, spectral_norm
from convmatrix.spectral.projection import project_norm
from convmatrix.spectral.singular import eigenvalues, singular_values, slogdet, transfer_function

if TYPE_CHECKING:
    from convmatrix.spectral.lipschitz import LipschitzBound, lipschitz_bound

__all__ = [
    "LipschitzBound",
    "SingularValueDensity",
    "condition_number",
    "eigenvalues",
    "lipschitz_bound",
    "norm_bounds",
    "project_norm",
    "published",
    "rank",
    "singular_value_density",
    "singular_values",
    "slogdet",
    "smallest_singular_value",
    "spectral_norm",
    "transfer_function",
]


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    """Import the functions that need networks when they are first used."""
    if name in ("LipschitzBound", "lipschitz_bound"):
        return getattr(import_module("convmatrix.spectral.lipschitz"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
