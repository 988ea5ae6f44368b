"""What a matrix takes, worked out before it is built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix import options as validate
from convmatrix._assembly.formats import check_format
from convmatrix._assembly.plan import Plan, index_dtype

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from convmatrix.geometry import ConvGeometry


@dataclass(frozen=True)
class Estimate:
    """What a matrix takes, worked out without building it; see `estimate`.

    Attributes
    ----------
    shape : (int, int)
        Rows and columns; with ``rows=`` those of the slab.
    nonzeros : int
        Stored entries.
    bytes : int
        Of values and indices together.
    index_dtype : {"int32", "int64"}

    Examples
    --------
    >>> from convmatrix import ConvGeometry
    >>> estimate(ConvGeometry(1000, 3)).nonzeros
    2994
    """

    shape: tuple[int, int]
    nonzeros: int
    bytes: int
    index_dtype: str


def estimate(
    geometry: ConvGeometry,
    *,
    dtype: DTypeLike = np.float64,
    format: str = "csr",
    order: str = "C",
    rows: tuple[int, int] | None = None,
) -> Estimate:
    """Return shape, stored entries and bytes of a layer's matrix, without allocating it.

    The numbers are Python integers, exact for any size; only for kernels of millions of taps on an axis with a boundary
    other than zero the nonzeros are an upper bound. The formats dia and bsr are made from csr, whose bytes are given.

    Parameters
    ----------
    geometry : ConvGeometry
    dtype, format, order, rows
        As for `conv_matrix`.

    Examples
    --------
    >>> from convmatrix import ConvGeometry
    >>> estimate(ConvGeometry((224, 224), (3, 3), in_channels=64, out_channels=64, padding="same"))
    Estimate(shape=(3211264, 3211264), nonzeros=1838694400, bytes=22077177860, index_dtype='int32')
    """
    check_format(format)
    plan = Plan(
        geometry, validate.order(order), by_column=False, merge=True, rows=validate.row_range(rows, geometry.n_out)
    )
    return plan_size(plan, np.dtype(dtype), format)


def plan_size(plan: Plan, dtype: np.dtype[Any], format: str) -> Estimate:
    """Return what a plan takes in the end, in a format; a plan by columns is that of the whole matrix."""
    n_in, n_out = plan.geometry.n_in, plan.geometry.n_out
    nonzeros = plan.count()
    n_rows = n_out if plan.by_column else plan.rows[1] - plan.rows[0]
    index = np.dtype(index_dtype(nonzeros, n_rows, n_in))
    if format == "coo":
        index_bytes = 2 * nonzeros * index.itemsize
    else:
        index_bytes = (nonzeros + (n_in if format == "csc" else n_rows) + 1) * index.itemsize
    return Estimate((n_rows, n_in), nonzeros, nonzeros * dtype.itemsize + index_bytes, index.name)
