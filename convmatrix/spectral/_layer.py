"""A layer as the functions of this room take it: a kernel and an input shape, or a kernel and a geometry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import numpy as np

from convmatrix.geometry import ConvGeometry, Padding, given_geometry
from convmatrix.options import as_array, weight_array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray


class LayerOptions(TypedDict, total=False):
    """The options of a layer, as for `conv_matrix`; ``transposed`` and ``output_padding`` as for `ConvGeometry`."""

    stride: int | Sequence[int]
    dilation: int | Sequence[int]
    padding: Padding
    boundary: str | Sequence[str]
    groups: int
    flip: bool
    transposed: bool
    output_padding: int | Sequence[int]


def read_layer(
    kernel: ArrayLike, input_shape: int | Sequence[int] | ConvGeometry, **layer: Unpack[LayerOptions]
) -> tuple[ConvGeometry, NDArray[Any]]:
    """Return the geometry of a layer, and its weights in double precision, all of them finite."""
    weights = as_array(kernel)
    options: dict[str, Any] = dict(layer)
    unknown = sorted(options.keys() - LayerOptions.__annotations__.keys())
    if unknown:
        raise TypeError(
            f"{', '.join(unknown)}: no option of a layer; the options are {', '.join(LayerOptions.__annotations__)}"
        )
    transposed = options.pop("transposed", False)
    if isinstance(input_shape, ConvGeometry) and transposed:
        raise TypeError("transposed given beside a ConvGeometry, which has it already; drop one of the two")
    geometry = given_geometry(weights.shape, input_shape, options, transposed=transposed)
    weights = weight_array(weights, geometry.weight_shape, geometry)
    weights = weights.astype(np.complex128 if weights.dtype.kind == "c" else np.float64)
    if not np.isfinite(weights).all():
        bad = int(np.size(weights) - np.isfinite(weights).sum())
        raise ValueError(f"the kernel has {bad} entries that are infinite or NaN, which have no spectrum; replace them")
    return geometry, weights
