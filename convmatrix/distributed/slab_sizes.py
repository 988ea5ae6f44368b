"""How a layer's matrix is cut into slabs of rows, and how much memory they take; nothing is built or sent."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from convmatrix import options as validate
from convmatrix.display.tables import ShownAsTable, Table, facts
from convmatrix.matrices import slab_boxes
from convmatrix.memory import Estimate, estimate, in_words

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from convmatrix.geometry import ConvGeometry

Rows = tuple[int, int]
"""The first row of a slab, and the first row after it."""

SLAB_BYTES: Final = 2**25
"""Bytes of a slab by default: large enough to be built quickly, and small enough to remain in a cache."""

_TASKS: Final = 256  # tasks in all, unless they are shorter or longer than what follows
_LEAST_TASKS: Final = 16  # in all, if there are as many slabs: the function may take longer than its slab
_TASK_NONZEROS: Final = (2**24, 2**28)  # a tenth of a second, and a second or two
_SAMPLED: Final = 16  # slabs whose sizes are computed to find the largest


@dataclass(frozen=True)
class SlabPlan(ShownAsTable):
    """How the matrix of a layer is cut in slabs of rows, and what each takes; see `slab_plan`.

    Attributes
    ----------
    geometry : ConvGeometry
    rows_per_slab : int
        The last slab may have fewer rows.
    order : {"C", "F"}
    dtype : dtype
        That of the kernel and the matrix.
    """

    geometry: ConvGeometry
    rows_per_slab: int
    order: Literal["C", "F"]
    dtype: np.dtype[Any]

    @property
    def n_slabs(self) -> int:
        """Number of slabs."""
        return -(-self.geometry.n_out // self.rows_per_slab)

    def rows(self, number: int) -> Rows:
        """Return the first row of a slab, and the first row after it."""
        return number * self.rows_per_slab, min((number + 1) * self.rows_per_slab, self.geometry.n_out)

    @cached_property
    def matrix(self) -> Estimate:
        """The size of the whole matrix."""
        return self.estimate()

    def _table(self) -> Table:
        matrix = self.matrix
        values = {
            "matrix": f"{self.geometry.n_out:,} x {self.geometry.n_in:,}, {in_words(matrix.bytes)}",
            "slabs": f"{self.n_slabs:,} of {self.rows_per_slab:,} rows",
            "largest slab": in_words(self.slab_bytes),
            "kernel": f"{self.dtype}, {in_words(self.kernel_bytes)}",
        }
        return facts("Slabs of rows", values)

    @property
    def kernel_bytes(self) -> int:
        """Bytes of the kernel, which each worker receives once."""
        return self.geometry.n_weights * self.dtype.itemsize

    @property
    def _sample(self) -> list[Rows]:
        """The rows of all slabs, or of some at equal distances, with the first and the last."""
        count = min(self.n_slabs, _SAMPLED)
        return [self.rows(number * (self.n_slabs - 1) // max(count - 1, 1)) for number in range(count)]

    @cached_property
    def slab_bytes(self) -> int:
        """Bytes of the largest slab; of more than 16 slabs, the largest of 16 at equal distances."""
        return max(self.estimate(rows).bytes for rows in self._sample)

    def estimate(self, rows: Rows | None = None) -> Estimate:
        """Return the size of a slab, or of the whole matrix."""
        return estimate(self.geometry, dtype=self.dtype, order=self.order, rows=rows)

    @cached_property
    def part_bytes(self) -> int:
        """Bytes of the largest part of a vector of this dtype that a slab reads, among the same slabs."""
        return max(part_size(self, rows) for rows in self._sample) * self.dtype.itemsize

    @cached_property
    def per_task(self) -> int:
        """Number of slabs that one task computes, one after another: a power of two, independent of the workers."""
        least, most = _TASK_NONZEROS
        wanted = min(max(self.matrix.nonzeros // _TASKS, least), most)
        slabs = min(wanted * self.n_slabs // max(self.matrix.nonzeros, 1), self.n_slabs // _LEAST_TASKS)
        slabs = max(slabs, 1)
        return int(2 ** (slabs.bit_length() - 1))

    def __str__(self) -> str:
        rows, columns = self.matrix.shape
        return (
            f"matrix  {rows} x {columns}, {self.matrix.nonzeros} nonzeros, {in_words(self.matrix.bytes)}\n"
            f"slabs   {self.n_slabs} of {self.rows_per_slab} rows, at most {in_words(self.slab_bytes)} each\n"
            f"sent    {in_words(self.kernel_bytes)} once to each worker, "
            f"and at most {in_words(self.part_bytes)} of a vector per slab"
        )


def part_size(plan: SlabPlan, rows: Rows) -> int:
    """Return the number of entries of a vector that rows of a matrix read; an upper bound for rows of several boxes."""
    _, boxes = slab_boxes(plan.geometry, rows, plan.order)
    return min(sum(math.prod(map(len, axes)) for axes in boxes), plan.geometry.n_in)


def slab_plan(
    geometry: ConvGeometry,
    rows_per_slab: int | None = None,
    *,
    order: str = "C",
    dtype: DTypeLike = np.float64,
    slab_bytes: int = SLAB_BYTES,
) -> SlabPlan:
    """Return how the matrix of a layer is cut in slabs, and the sizes of matrix, slabs and messages, without a client.

    Parameters
    ----------
    geometry : ConvGeometry
    rows_per_slab : int, optional
        By default as many rows as fill ``slab_bytes``, where possible a multiple of the rows of a whole line or plane
        of the output, so that a slab reads a box of the input.
    order, dtype
        As for `convmatrix.conv_matrix`. With ``order="F"`` the rows of a position, one per channel, are adjacent, so
        that a slab of a layer with many channels reads a much smaller part of the input.
    slab_bytes : int

    Examples
    --------
    >>> from convmatrix import ConvGeometry
    >>> print(slab_plan(ConvGeometry((512, 512), (3, 3), in_channels=256, out_channels=256, padding="same")))
    matrix  67108864 x 67108864, 154216431616 nonzeros, 2.47 TB
    slabs   65536 of 1024 rows, at most 28.3 MB each
    sent    4.72 MB once to each worker, and at most 4.19 MB of a vector per slab
    """
    order = validate.order(order)
    dtype = np.dtype(dtype)
    if rows_per_slab is not None:
        rows = min(validate.integer("rows_per_slab", rows_per_slab, minimum=1), geometry.n_out)
        return SlabPlan(geometry, rows, order, dtype)
    sizes = geometry.full_output_shape if order == "C" else geometry.full_output_shape[::-1]
    middle = geometry.n_out * (sizes[0] // 2 * 2 + 1) // (2 * sizes[0])  # far from any border
    rows, block = geometry.n_out, 1
    for _ in range(2):  # once more, because indices of a slab may be shorter than those of the whole matrix
        first = max(min(middle, geometry.n_out - rows), 0)
        found = estimate(geometry, dtype=dtype, order=order, rows=(first, first + rows))
        rows = max(min(slab_bytes * rows // found.bytes, geometry.n_out), 1)
    for size in reversed(sizes):
        if block * size > rows:
            # As many blocks as divide the next larger one, so that no slab extends over two of those.
            count = next(count for count in range(rows // block, 0, -1) if size % count == 0)
            block *= count if 4 * count * block > rows else rows // block
            break
        block *= size
    return SlabPlan(geometry, block, order, dtype)
