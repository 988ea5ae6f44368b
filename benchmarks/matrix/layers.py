"""The layers that are measured, and their matrices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

import convmatrix as cm

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Layer:
    """The arguments of a call of `conv_matrix`, or of `conv_transpose_matrix`."""

    kernel_shape: tuple[int, ...]
    input_shape: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    transposed: bool = False
    dtype: str = "float64"

    @property
    def kernel(self) -> NDArray[Any]:
        """Random weights."""
        return np.random.default_rng(0).standard_normal(self.kernel_shape).astype(self.dtype)

    def builder(self) -> Callable[[], Any]:
        """Return a function without arguments that makes the matrix."""
        function = cm.conv_transpose_matrix if self.transposed else cm.conv_matrix
        return partial(function, self.kernel, self.input_shape, **self.options)


SAME = {"padding": "same"}
CIRCULAR = {"padding": "same", "boundary": "circular"}
REFLECT = {"padding": "same", "boundary": "reflect"}

LAYERS: dict[str, Layer] = {
    "64 -> 64 channels, 56 x 56, 3 x 3": Layer((64, 64, 3, 3), (64, 56, 56), SAME),
    "the same, float32": Layer((64, 64, 3, 3), (64, 56, 56), SAME, dtype="float32"),
    "the same, stride 2": Layer((64, 64, 3, 3), (64, 56, 56), {**SAME, "stride": 2}),
    "the same, circular": Layer((64, 64, 3, 3), (64, 56, 56), CIRCULAR),
    "the same, reflect": Layer((64, 64, 3, 3), (64, 56, 56), REFLECT),
    "the same, csc": Layer((64, 64, 3, 3), (64, 56, 56), {**SAME, "format": "csc"}),
    "64 -> 64 channels, 224 x 224, 3 x 3, 200,000 rows": Layer(
        (64, 64, 3, 3), (64, 224, 224), {**SAME, "rows": (1_000_000, 1_200_000)}
    ),
    "64 -> 64 channels, 28 x 28, 4 x 4, stride 2, transposed": Layer(
        (64, 64, 4, 4), (64, 28, 28), {"stride": 2, "padding": 1}, transposed=True
    ),
    "512 -> 512 channels, 7 x 7, 3 x 3": Layer((512, 512, 3, 3), (512, 7, 7), SAME),
    "16 -> 16 channels, 56 x 56, 3 x 3": Layer((16, 16, 3, 3), (16, 56, 56), SAME),
    "1 channel, 2048 x 2048, 5 x 5": Layer((5, 5), (2048, 2048), SAME),
    "1 channel, 512 x 512, 7 x 7": Layer((7, 7), (512, 512), SAME),
    "1 channel, 512 x 512, 7 x 7, circular": Layer((7, 7), (512, 512), CIRCULAR),
    "1 channel, 512 x 512, 7 x 7, reflect": Layer((7, 7), (512, 512), REFLECT),
    "1 channel, 10,000,000 samples, 3 taps": Layer((3,), (10**7,), SAME),
    "1 channel, 64 x 64 x 64, 3 x 3 x 3": Layer((3, 3, 3), (64, 64, 64), SAME),
}

QUICK: dict[str, Layer] = {
    "8 -> 8 channels, 16 x 16, 3 x 3": Layer((8, 8, 3, 3), (8, 16, 16), SAME),
    "8 -> 8 channels, 15 x 15, 3 x 3, stride 2, circular": Layer((8, 8, 3, 3), (8, 15, 15), {**CIRCULAR, "stride": 2}),
    "1 channel, 64 x 64, 5 x 5, reflect": Layer((5, 5), (64, 64), REFLECT),
    "4 -> 4 channels, 8 x 8, 4 x 4, stride 2, transposed": Layer(
        (4, 4, 4, 4), (4, 8, 8), {"stride": 2}, transposed=True
    ),
}


def named(name: str) -> Layer:
    """Return the layer of a name."""
    return {**LAYERS, **QUICK}[name]


def arrays(matrix: Any) -> list[NDArray[Any]]:
    """Return the three arrays that a compressed sparse matrix consists of."""
    return [matrix.data, matrix.indices, matrix.indptr]


def matrix_bytes(matrix: Any) -> int:
    """Return the bytes of these arrays."""
    return sum(array.nbytes for array in arrays(matrix))
