"""Checks of what users hand in: each returns the value in its one canonical form, or raises with the remedy."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import numpy as np

from convmatrix.boundary import BOUNDARIES, Boundary

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from convmatrix.geometry import ConvGeometry

_ELSEWHERE = {  # what other packages call a boundary: NumPy, scipy.ndimage, scipy.signal, PyTorch, and habit
    "zeros": "zero",
    "constant": "zero",
    "fill": "zero",
    "wrap": "circular",
    "periodic": "circular",
    "edge": "replicate",
    "nearest": "replicate",
    "mirror": "reflect",
    "symm": "symmetric",
}

_LARGEST_INT32: Final = 2**31 - 1

PADDING_WORDS: Final = ("valid", "same", "same_lower", "full")


def integer(name: str, value: Any, minimum: int | None = None) -> int:
    """Return an int; a float or a bool is refused, for it is nearly always a slip."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, but is {value!r} ({type(value).__name__})") from None
    if minimum is not None and number < minimum:
        raise ValueError(f"{name} must be at least {minimum}, but is {number}")
    return number


def flag(name: str, value: Any) -> bool:
    """Return a bool; numbers and strings are refused."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, but is {value!r} ({type(value).__name__})")
    return bool(value)


def shape(name: str, value: int | Sequence[int]) -> tuple[int, ...]:
    """Return a shape of at least one axis, every size at least 1; an int is a shape of one axis."""
    if not _is_sequence_like(value):
        return (integer(name, value, minimum=1),)
    sizes = tuple(cast("Sequence[int]", value))
    if not sizes:
        raise ValueError(f"{name} is empty; give at least one spatial axis")
    return tuple(integer(f"{name}[{axis}]", size, minimum=1) for axis, size in enumerate(sizes))


def _is_sequence_like(value: Any) -> bool:
    """Whether a value has entries to go through; strings and 0-d arrays have none."""
    return not isinstance(value, (str, bytes)) and hasattr(value, "__len__") and getattr(value, "ndim", 1) > 0


def _entries(name: str, value: Any, n_axes: int) -> tuple[Any, ...]:
    entries = tuple(value)
    if len(entries) != n_axes:
        raise ValueError(
            f"{name} has {len(entries)} entries ({value!r}), but the layer has {n_axes} spatial axes; "
            "give one for all axes or one an axis"
        )
    return entries


def per_axis(name: str, value: int | Sequence[int], n_axes: int, minimum: int) -> tuple[int, ...]:
    """Return one integer an axis."""
    if not _is_sequence_like(value):
        return (integer(name, value, minimum),) * n_axes
    return tuple(integer(f"{name}[{axis}]", v, minimum) for axis, v in enumerate(_entries(name, value, n_axes)))


def padding(value: Any, n_axes: int) -> tuple[str | tuple[int, int], ...]:
    """Return one word or one (low, high) pair an axis."""
    if not _is_sequence_like(value):
        return (_axis_padding("padding", value),) * n_axes
    entries = tuple(value)
    if n_axes == 1 and len(entries) == 2 and not any(map(_is_sequence_like, entries)):
        raise ValueError(
            f"padding={value!r} has 2 entries, but the layer has 1 spatial axis; "
            f"for low and high padding write padding=[({entries[0]}, {entries[1]})]"
        )
    return tuple(_axis_padding(f"padding[{axis}]", v) for axis, v in enumerate(_entries("padding", value, n_axes)))


def _axis_padding(name: str, value: Any) -> str | tuple[int, int]:
    if isinstance(value, str):
        if value not in PADDING_WORDS:
            lower = value.lower()
            hint = f" ({value!r} is called {lower!r} here)" if lower in PADDING_WORDS else ""
            if lower in (*BOUNDARIES, *_ELSEWHERE):
                hint = f"; what lies beyond the ends is the boundary: boundary={_ELSEWHERE.get(lower, lower)!r}"
            raise ValueError(
                f"{name}={value!r} is unknown; choose one of {', '.join(PADDING_WORDS)} or give integers{hint}"
            )
        return value
    if not _is_sequence_like(value):
        amount = integer(name, value, minimum=0)
        return amount, amount
    pair = tuple(value)
    if len(pair) != 2:
        raise ValueError(f"{name}={value!r} has {len(pair)} entries; give an integer or a (low, high) pair")
    return integer(f"{name}[0]", pair[0], minimum=0), integer(f"{name}[1]", pair[1], minimum=0)


def called_here(word: object) -> str:
    """Return a hint for a boundary's name in another package, or with a capital; empty for other words."""
    lower = str(word).lower()
    name = lower if lower in BOUNDARIES else _ELSEWHERE.get(lower)
    return f" ({word!r} is called {name!r} here)" if name else ""


def boundaries(value: str | Sequence[str], n_axes: int) -> tuple[Boundary, ...]:
    """Return one boundary an axis."""
    if isinstance(value, str):
        words: tuple[Any, ...] = (value,) * n_axes
    elif _is_sequence_like(value):
        words = _entries("boundary", value, n_axes)
    else:
        words = (value,)
    for word in words:
        if word not in BOUNDARIES:
            raise ValueError(f"boundary {word!r} is unknown; choose one of {', '.join(BOUNDARIES)}{called_here(word)}")
    return words


def sharing(value: Any, n_axes: int) -> Literal["shared", "unshared"] | tuple[int, ...]:
    """Return how weights are shared: a word, or a tile an axis."""
    if isinstance(value, str):
        if value not in ("shared", "unshared"):
            raise ValueError(f"sharing={value!r} is unknown; choose shared, unshared, or a tile size an axis")
        return cast("Literal['shared', 'unshared']", value)
    return per_axis("sharing", value, n_axes, minimum=1)


def connections(
    value: ArrayLike | None, out_channels: int, in_channels: int, groups: int
) -> tuple[tuple[bool, ...], ...] | None:
    """Return the connection table as nested tuples, which compare and hash."""
    if value is None:
        return None
    table = np.asarray(value)
    if table.shape != (out_channels, in_channels):
        raise ValueError(
            f"connections has shape {table.shape}, but the layer has out_channels={out_channels} and "
            f"in_channels={in_channels}; give a table of shape ({out_channels}, {in_channels})"
        )
    if table.dtype != np.bool_ and not np.isin(table, (0, 1)).all():
        raise ValueError("connections must hold only True and False (or 1 and 0)")
    if groups != 1:
        raise ValueError(f"connections and groups={groups} exclude each other; write the groups into the table")
    table = table.astype(bool)
    if not table.any():
        raise ValueError("connections has no True entry; a layer needs at least one connected pair of channels")
    return tuple(tuple(bool(entry) for entry in row) for row in table)


def order(order: str) -> Literal["C", "F"]:
    """Return how arrays are flattened."""
    if order not in ("C", "F"):
        raise ValueError(f"order {order!r} is unknown; choose C (row-major) or F (column-major)")
    return cast("Literal['C', 'F']", order)


def row_range(rows: tuple[int, int] | None, n_rows: int) -> tuple[int, int]:
    """Return a range of rows, by default all."""
    if rows is None:
        return 0, n_rows
    try:
        start, stop = rows
    except (TypeError, ValueError):
        raise TypeError(f"rows must be a pair (start, stop), but is {rows!r}") from None
    start, stop = integer("rows[0]", start), integer("rows[1]", stop)
    if not 0 <= start <= stop <= n_rows:
        raise ValueError(f"rows=({start}, {stop}) must satisfy 0 <= start <= stop <= {n_rows}, the rows of the matrix")
    return start, stop


def as_array(weights: ArrayLike) -> NDArray[Any]:
    """Return weights as an array; lists within them must be of one length."""
    try:
        return np.asarray(weights)
    except ValueError as error:
        if "inhomogeneous" not in str(error):
            raise
        raise ValueError(
            "the kernel's lists differ in length, so they make no array; give every row as many entries as the others"
        ) from None


def weight_array(
    weights: ArrayLike, weight_shape: tuple[int, ...], geometry: ConvGeometry | None = None
) -> NDArray[Any]:
    """Return weights as an array of ``weight_shape``, of a dtype that sparse matrices hold.

    Accepted are the weight shape itself, without its leading axes of one, or flat; and, for a layer with a connection
    table, a full ``(C_out, C_in, *kernel)`` kernel, of which the connected pairs are read.
    """
    array = as_array(weights)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)  # sparse matrices know no other byte order
    if array.dtype.kind not in "iufc" or array.dtype == np.float16:
        raise TypeError(
            f"weights have dtype {array.dtype}, which sparse matrices do not compute with; convert them, for instance "
            "with weights.astype(float) or dtype=float"
        )
    squeezed = weight_shape
    while squeezed and squeezed[0] == 1 and len(squeezed) > array.ndim:
        squeezed = squeezed[1:]
    if array.shape in (weight_shape, squeezed, (math.prod(weight_shape),)):
        return array.reshape(weight_shape)
    full = None
    if geometry is not None and geometry.connections is not None and geometry.sharing == "shared":
        full = (geometry.out_channels, geometry.in_channels, *geometry.kernel_shape)
        if array.shape == full:
            outputs, inputs = geometry.channel_pairs.T
            connected: NDArray[Any] = array[outputs, inputs]
            return connected
    raise ValueError(
        f"weights have shape {array.shape}, but the layer's weights have {weight_shape}"
        + (f" (or, as a full kernel, {full})" if full else "")
        + f", which is {math.prod(weight_shape)} in all; reshape them to that"
    )


def convert(kernel: NDArray[Any], dtype: DTypeLike | None) -> NDArray[Any]:
    """Return the kernel in a dtype, if that can hold it."""
    if dtype is None or kernel.dtype == np.dtype(dtype):
        return kernel
    target = np.dtype(dtype)
    if not np.can_cast(kernel.dtype, target, "same_kind"):
        raise TypeError(
            f"a kernel of dtype {kernel.dtype} does not convert to dtype={target} without loss; convert it yourself, "
            "for instance with kernel.real or numpy.rint"
        )
    converted = kernel.astype(target)
    if target.kind in "iu" and not np.array_equal(converted, kernel):
        raise TypeError(f"the kernel has entries that dtype={target} does not hold; choose a wider integer type")
    return converted


FORMATS: Final = ("csr", "csc", "coo", "dia", "bsr")
"""The sparse formats of SciPy that matrices are made in."""


def sparse_format(format: str) -> str:
    """Return the name of a sparse format."""
    if format not in FORMATS:
        raise ValueError(f"format {format!r} is unknown; choose one of {', '.join(FORMATS)}")
    return format


def index_dtype(*sizes: int) -> type[np.int32] | type[np.int64]:
    """Return the index type of SciPy's sparse arrays: int32 exactly where it fits."""
    return np.int32 if max(sizes) <= _LARGEST_INT32 else np.int64
