"""A layer as the functions of this room take it: a kernel and an input shape, or a kernel and a geometry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from convmatrix.geometry import ConvGeometry, given_geometry
from convmatrix.options import LayerOptions, as_array, takes_layer_options, weight_array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = ["LayerOptions", "read_layer"]


@takes_layer_options()
def read_layer(
    kernel: ArrayLike, input_shape: int | Sequence[int] | ConvGeometry, **layer: Unpack[LayerOptions]
) -> tuple[ConvGeometry, NDArray[Any]]:
    """Return the geometry of a layer, and its weights in double precision, all of them finite."""
    weights = as_array(kernel)
    geometry = given_geometry(weights.shape, input_shape, layer)
    weights = weight_array(weights, geometry.weight_shape, geometry)
    weights = weights.astype(np.complex128 if weights.dtype.kind == "c" else np.float64)
    if not np.isfinite(weights).all():
        bad = int(np.size(weights) - np.isfinite(weights).sum())
        raise ValueError(f"the kernel has {bad} entries that are infinite or NaN, which have no spectrum; replace them")
    return geometry, weights
