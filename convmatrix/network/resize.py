"""Interpolation between the samples of every spatial axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np
from scipy import sparse

from convmatrix import options as validate
from convmatrix.network.boxes import Box, Boxes, normalised
from convmatrix.network.operations import Array, Mask, Operation, Shape, entries, product_of_axes, selection_matrix

Coordinates = Literal[
    "half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric", "tf_crop_and_resize"
]
Rounding = Literal["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]


@dataclass(frozen=True)
class Resize(Operation):
    r"""Interpolation of every spatial axis: a sparse matrix that is a product over the axes.

    Cubic interpolation reads the four samples around a position, the edge sample repeated, with the weights of R. Keys,
    Cubic convolution interpolation for digital image processing, IEEE Trans. ASSP 29, 1981: for a distance x

    .. math:: (a + 2) |x|^3 - (a + 3) |x|^2 + 1, \quad |x| \le 1; \qquad
              a |x|^3 - 5 a |x|^2 + 8 a |x| - 4 a, \quad 1 < |x| < 2

    Parameters
    ----------
    sizes : tuple of int
        Spatial shape of the output.
    mode : {"nearest", "linear", "cubic", "area"}
        ``"area"`` averages the samples from ``floor(i n / m)`` to ``ceil((i + 1) n / m)`` for output i of m: adaptive
        average pooling.
    coordinates : str
        How the position x of an output maps to the input, as in ONNX's Resize: ``"half_pixel"``
        ``(x + 0.5) / scale - 0.5``, ``"asymmetric"`` ``x / scale``, ``"align_corners"``, ``"pytorch_half_pixel"``,
        ``"half_pixel_symmetric"``, ``"tf_crop_and_resize"``.
    scales : tuple of float, optional
        Output size over input size, by default their exact quotient.
    rounding : str
        For ``"nearest"``: ``"round_prefer_floor"``, ``"round_prefer_ceil"``, ``"floor"`` (PyTorch's ``nearest``, with
        ``coordinates="asymmetric"``) or ``"ceil"``.
    roi : tuple of (float, float), optional
        For ``"tf_crop_and_resize"``, the range of each spatial axis that is interpolated, from 0 at the first sample to
        1 at the last one; outputs beyond the ends are 0.
    cubic_coefficient : float
        The number a of ``"cubic"``: -0.75 in PyTorch, ONNX and OpenCV, -0.5 in Keys's article.
    exclude_outside : bool
        Leave out samples beyond the ends, in place of repeating the edge sample, and divide the weights by their sum.
    antialias : bool
        Where an axis shrinks, stretch the weights of ``"linear"`` or ``"cubic"`` by the factor, so that every sample is
        read, and divide them by their sum.

    Examples
    --------
    >>> import numpy as np
    >>> Resize((4,), "nearest", "asymmetric", rounding="floor").evaluate([np.array([[[1.0, 2.0]]])])
    array([[[1., 1., 2., 2.]]])
    """

    sizes: Shape
    mode: Literal["nearest", "linear", "cubic", "area"] = "nearest"
    coordinates: Coordinates = "half_pixel"
    scales: tuple[float, ...] | None = None
    rounding: Rounding = "round_prefer_floor"
    roi: tuple[tuple[float, float], ...] | None = None
    cubic_coefficient: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False
    kind = "resize"
    linear = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", validate.shape("sizes", self.sizes))
        modes = ("nearest", "linear", "cubic", "area")
        choices = {"mode": modes, "coordinates": get_args(Coordinates), "rounding": get_args(Rounding)}
        for name, known in choices.items():
            validate.one_of(name, getattr(self, name), known)
        if (self.roi is not None) != (self.coordinates == "tf_crop_and_resize"):
            raise ValueError(
                f"roi={self.roi} with coordinates={self.coordinates!r}; give roi= for 'tf_crop_and_resize' only"
            )
        validate.finite("cubic_coefficient", self.cubic_coefficient)
        n_axes = len(self.sizes)
        if self.scales is not None:
            scales = tuple(validate.finite("scales", scale) for scale in entries("scales", self.scales, n_axes))
            if min(scales) <= 0:
                raise ValueError(f"scales={scales} must be positive")
            object.__setattr__(self, "scales", scales)
        if self.roi is not None:
            pairs = (entries("roi", part, 2) for part in entries("roi", self.roi, n_axes))
            object.__setattr__(self, "roi", tuple(tuple(validate.finite("roi", end) for end in pair) for pair in pairs))

    def output_shape(self, input_shapes: Sequence[Shape]) -> Shape:
        """Return (channels, *sizes)."""
        channels, *spatial = input_shapes[0]
        if len(spatial) != len(self.sizes):
            raise ValueError(
                f"sizes={self.sizes} has {len(self.sizes)} entries, but a sample of shape {input_shapes[0]} has "
                f"{len(spatial)} spatial axes"
            )
        return (channels, *self.sizes)

    def axis_matrices(self, input_shape: Shape) -> list[Any]:
        """Return the sparse matrix of each spatial axis, (output size, input size)."""
        scales = self.scales or (None,) * len(self.sizes)
        roi = self.roi or (None,) * len(self.sizes)
        weights = self.cubic_coefficient, self.exclude_outside, self.antialias
        return [
            _axis_matrix(n, m, self.mode, self.coordinates, scale, self.rounding, part, *weights)
            for n, m, scale, part in zip(input_shape[1:], self.sizes, scales, roi, strict=True)
        ]

    def evaluate(self, inputs: Sequence[Array]) -> Array:
        """Return the interpolated batch."""
        (x,) = inputs
        for axis, matrix in enumerate(self.axis_matrices(x.shape[1:]), start=2):
            keeps_dtype = x.dtype.kind == "f" or self.mode == "nearest"
            x = multiply_along(matrix.astype(x.dtype) if keeps_dtype else matrix, x, axis)
        return x

    def affine(self, input_shapes: Sequence[Shape], dtype: np.dtype[Any] | None = None) -> tuple[Any, Array]:
        """Return the Kronecker product of the axes' matrices, and a zero bias."""
        (shape,) = input_shapes
        matrix = product_of_axes(shape[0], self.axis_matrices(shape)).astype(dtype or np.float64)
        return matrix, np.zeros(matrix.shape[0], dtype or np.float64)

    def tangent(self, inputs: Sequence[Array], tangents: Sequence[Array]) -> Array:
        """Return the interpolated tangents."""
        return self.evaluate(tangents)

    def read_boxes(self, box: Box, input_shapes: Sequence[Shape]) -> list[Box]:
        """Return the box of the samples that the outputs in a box are interpolated from."""
        parts = [box[0]]
        for matrix, part in zip(self.axis_matrices(input_shapes[0]), box[1:], strict=True):
            read = matrix.indices[matrix.indptr[part.start] : matrix.indptr[part.stop]]
            parts.append(slice(int(read.min()), int(read.max()) + 1) if len(read) else slice(0, 0))
        return [normalised(parts)]

    def local_cotangent(self, inputs: Sequence[Array], cotangents: Array, box: Box, input_boxes: Boxes) -> list[Array]:
        """Return the cotangents in a box spread over the samples that they are interpolated from."""
        g, shape = cotangents, inputs[0].shape
        for axis, matrix in enumerate(self.axis_matrices(shape), start=1):
            rows = matrix[box[axis]].tocsc()[:, input_boxes[0][axis]].astype(g.dtype)
            g = multiply_along(rows.T, g, axis + 1)
        return [g]

    def reads(self, outputs: Mask, input_shapes: Sequence[Shape]) -> list[Mask]:
        """Return the entries that the marked outputs are interpolated from."""
        mask = outputs
        for axis, matrix in enumerate(self.axis_matrices(input_shapes[0]), start=1):
            mask = read_along(mask, axis, matrix)
        return [mask]


def multiply_along(matrix: Any, x: Array, axis: int) -> Array:
    """Return the products of a sparse matrix and the vectors along an axis of an array."""
    moved = np.moveaxis(x, axis, 0)
    product = matrix @ np.ascontiguousarray(moved).reshape(len(moved), -1)
    return np.moveaxis(product.reshape(matrix.shape[0], *moved.shape[1:]), 0, axis)


def read_along(mask: Mask, axis: int, matrix: Any) -> Mask:
    """Return the inputs that marked outputs read along one axis, where ``matrix`` holds which output reads which."""
    return np.asarray(multiply_along((matrix != 0).T.tocsr(), mask, axis) > 0)


@lru_cache(maxsize=64)
def _axis_matrix(
    n: int,
    m: int,
    mode: str,
    coordinates: Coordinates,
    scale: float | None,
    rounding: Rounding,
    roi: tuple[float, float] | None,
    cubic_coefficient: float,
    exclude_outside: bool,
    antialias: bool,
) -> Any:
    """Return the matrix (m, n) that interpolates n samples at m positions."""
    if mode == "area":
        first, end = np.arange(m) * n // m, -(-np.arange(1, m + 1) * n // m)
        size = end - first
        starts = np.concatenate([[0], np.cumsum(size)])
        samples = np.arange(starts[-1]) - np.repeat(starts[:-1] - first, size)
        return sparse.csr_array((np.repeat(1 / size, size), samples, starts), shape=(m, n))
    positions = positions_of(n, m, coordinates, scale, roi)
    outside = (positions < 0) | (positions > n - 1) if roi is not None else np.zeros(m, dtype=bool)
    low = np.floor(positions)
    if mode == "nearest":
        rounded = {
            "floor": low,
            "ceil": np.ceil(positions),
            "round_prefer_floor": np.ceil(positions - 0.5),
            "round_prefer_ceil": np.floor(positions + 0.5),
        }[rounding]
        return selection_matrix(np.where(outside, -1, np.clip(rounded, 0, n - 1)).astype(np.int64), n)
    if mode == "linear" and not antialias:
        weight = positions - low
        samples, values = np.stack([low, low + 1]), np.stack([1 - weight, weight])  # (2, outputs)
    else:
        stretch = max(1.0, n / m if scale is None else 1 / scale) if antialias else 1.0
        reach = math.ceil((2 if mode == "cubic" else 1) * stretch)
        samples = low + np.arange(1 - reach, reach + 1)[:, None]
        distance = np.abs(positions - samples) / stretch
        values = _keys(distance, cubic_coefficient) if mode == "cubic" else np.maximum(1 - distance, 0)
    if exclude_outside:
        values = np.where((samples >= 0) & (samples < n), values, 0)
    if exclude_outside or antialias:
        values = values / np.where(outside, 1, values.sum(axis=0))
    columns = np.clip(samples, 0, n - 1).astype(np.int64)
    rows = np.broadcast_to(np.arange(m), columns.shape)
    present = (values != 0) & ~outside
    matrix = sparse.coo_array((values[present], (rows[present], columns[present])), shape=(m, n))
    return matrix.tocsr()


def _keys(distance: Array, a: float) -> Array:
    """Return the weights of cubic interpolation of samples at distances from a position."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    read = (distance < 2) & (distance != 1)  # at a distance of 1 and 2 the weight is 0
    return np.where(read, np.where(distance <= 1, near, far), 0)


def positions_of(
    n: int, m: int, coordinates: Coordinates, scale: float | None = None, roi: tuple[float, float] | None = None
) -> Array:
    """Return the position in the input, of n samples, of each of the m outputs."""
    outputs = np.arange(m)
    if roi is not None:
        span = (roi[1] - roi[0]) * (n - 1)
        return np.asarray(roi[0] * (n - 1) + (outputs * span / (m - 1) if m > 1 else np.array([span / 2])))
    if coordinates == "align_corners":
        return outputs * (n - 1) / max(m - 1, 1)
    if coordinates == "pytorch_half_pixel" and m == 1:
        return np.zeros(m)
    # A quotient of integers is rounded once, so that a position on a sample, or halfway, is exactly there.
    if scale is None or scale == m / n:
        return outputs * n / m if coordinates == "asymmetric" else ((2 * outputs + 1) * n - m) / (2 * m)
    if coordinates == "asymmetric":
        return outputs / scale
    shift = (n - m / scale) / 2 if coordinates == "half_pixel_symmetric" else 0.0
    return shift + (outputs + 0.5) / scale - 0.5
