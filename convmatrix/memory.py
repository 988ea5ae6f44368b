"""Sizes of matrices, estimated before they are built; allocations that would not fit in memory are refused."""

from __future__ import annotations

import itertools
import math
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix import options as validate
from convmatrix._assembly.rows import Plan, axis_rows, table_size
from convmatrix.display.tables import ShownAsTable, Table, facts

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from convmatrix.boundary import Axis
    from convmatrix.geometry import ConvGeometry

NEGLIGIBLE: Final = 2**22
"""Requests below this number of bytes are never refused by `require`."""

ALWAYS_FIT: Final = NEGLIGIBLE // 64
"""A matrix with no more entries, rows and columns than this takes fewer than `NEGLIGIBLE` bytes."""

_MOST_COMBINATIONS: Final = 2**14  # of distinct rows of all axes, for which the entries of a footprint are counted
_MOST_OFFSETS: Final = 2**22  # offsets of diagonals listed at a time


class MatrixTooLargeError(MemoryError, ValueError):
    """Raised if a matrix would not fit in memory, before anything is allocated.

    It is a `MemoryError`, because it prevents one, and a `ValueError`, because of the sizes that were requested.

    Examples
    --------
    >>> import convmatrix as cm
    >>> try:
    ...     cm.conv_matrix([1, 1], 10**15)
    ... except cm.MatrixTooLargeError as error:
    ...     print("refused")
    refused
    """


def available_memory() -> int:
    """Return the bytes that can be allocated now: free memory and caches, within the limits of this process.

    The limits are those of the address space, and of the control groups (containers) that the process belongs to.

    If the system does not report them, return half of the address space, so that no request is refused that might
    succeed.
    """
    candidates = [2**62, *_system_bytes(), *_container_bytes(), *_process_bytes()]
    return max(min(candidates), 0)


def _system_bytes() -> list[int]:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    except (OSError, ValueError, IndexError):
        pass
    try:
        return [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    except (AttributeError, OSError, ValueError):
        return []


def _container_bytes() -> list[int]:
    """Return the bytes left in the control group of this process, and in each group that contains it."""
    found = []
    for folder, group, limit, usage in _control_groups():
        for place in (group, *group.parents):
            try:
                allowed = int(Path(folder, *place.parts[1:], limit).read_text())  # "max" where there is no limit
                used = int(Path(folder, *place.parts[1:], usage).read_text())
                found.append(allowed - used + _inactive_cache(Path(folder, *place.parts[1:], "memory.stat")))
            except (OSError, ValueError):
                continue
    return found


def _inactive_cache(statistics: Path) -> int:
    """Return the bytes of a control group's usage that are cached files, which the system gives up when asked."""
    try:
        lines = (line.split() for line in statistics.read_text().splitlines())
        return next(int(size) for name, size in lines if name in ("inactive_file", "total_inactive_file"))
    except (OSError, ValueError, StopIteration):
        return 0


def _control_groups() -> list[tuple[str, PurePosixPath, str, str]]:
    """Return the folder, the group and the files of limit and usage, for version 2 and 1 of control groups."""
    own = {"": "/", "memory": "/"}  # group by controller; in a container, paths are often those of the host
    try:
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            own.update(dict.fromkeys(controllers.split(","), group))
    except (OSError, ValueError):
        pass
    second, first = (PurePosixPath("/", own[name]) for name in ("", "memory"))
    return [
        ("/sys/fs/cgroup", second, "memory.max", "memory.current"),
        ("/sys/fs/cgroup/memory", first, "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ]


def _process_bytes() -> list[int]:
    """Return the bytes left of the limit on the address space of this process (``ulimit -v``)."""
    try:
        import resource  # not on Windows

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit == resource.RLIM_INFINITY:
            return []
        return [limit - int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()]
    except (ImportError, AttributeError, OSError, ValueError, IndexError):
        return []


def require(n_bytes: int, what: str | Callable[[], str], remedy: str) -> None:
    """Raise `MatrixTooLargeError` if ``n_bytes`` exceed what is available.

    Requests below `NEGLIGIBLE` always pass, because asking the system would take longer than writing the matrix.
    ``what`` is the name of the object for the message, or a function that returns it.

    Examples
    --------
    >>> require(2**80, "the matrix", "use ConvOperator")
    Traceback (most recent call last):
    convmatrix.memory.MatrixTooLargeError: the matrix needs 1.21e+06 EB, but ... of memory are available; ...
    """
    if n_bytes < NEGLIGIBLE:
        return
    available = available_memory()
    if n_bytes > available:
        name = what if isinstance(what, str) else what()
        raise MatrixTooLargeError(
            f"{name} needs {in_words(n_bytes)}, but {in_words(available)} of memory are available; {remedy}"
        )


def in_words(n_bytes: int) -> str:
    """Return a number of bytes as text, with three significant digits and a unit.

    Examples
    --------
    >>> in_words(1_500_000_000), in_words(12_345)
    ('1.5 GB', '12.3 kB')
    """
    for unit, size in (("EB", 10**18), ("PB", 10**15), ("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if n_bytes >= size:
            return f"{n_bytes / size:.3g} {unit}"
    return f"{n_bytes} bytes"


@dataclass(frozen=True)
class Estimate(ShownAsTable):
    """Size of a matrix, computed without building it; see `estimate`.

    Attributes
    ----------
    shape : (int, int)
        Number of rows and columns, of the slab if ``rows`` is given.
    nonzeros : int
        Number of stored entries.
    bytes : int
        Memory of values and indices.
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

    def _table(self) -> Table:
        density = self.nonzeros / max(math.prod(self.shape), 1)
        return facts(
            "Matrix, estimated",
            {
                "shape": f"{self.shape[0]:,} x {self.shape[1]:,}",
                "nonzeros": f"{self.nonzeros:,} ({density:.2g} of all entries)",
                "memory": in_words(self.bytes),
                "indices": self.index_dtype,
            },
        )


def estimate(
    geometry: ConvGeometry,
    *,
    dtype: DTypeLike = np.float64,
    format: str = "csr",
    order: str = "C",
    rows: tuple[int, int] | None = None,
    footprint: ArrayLike | None = None,
) -> Estimate:
    """Return the size of a matrix without building it: shape, number of stored entries and bytes.

    The numbers are Python integers and exact for any size, except that the number of entries is an upper bound for
    kernels with millions of taps on an axis with a boundary other than zero, and for a footprint that differs between
    tiles or whose axes have many distinct rows. The formats dia and bsr are made from csr, whose bytes are returned
    for them.

    Parameters
    ----------
    geometry : ConvGeometry
    dtype, format, order, rows, footprint
        As for `conv_matrix`; ``rows`` and ``footprint`` exclude each other.

    Examples
    --------
    >>> from convmatrix import ConvGeometry
    >>> estimate(ConvGeometry((224, 224), (3, 3), in_channels=64, out_channels=64, padding="same"))
    Estimate(shape=(3211264, 3211264), nonzeros=1838694400, bytes=22077177860, index_dtype='int32')
    """
    validate.sparse_format(format)
    if not hasattr(geometry, "weight_shape"):
        raise TypeError(
            f"geometry must be a ConvGeometry, but is {geometry!r:.60}; give cm.ConvGeometry(input_shape, kernel_shape)"
        )
    plan = Plan(
        geometry, validate.order(order), by_column=False, merge=True, rows=validate.row_range(rows, geometry.n_out)
    )
    if footprint is None:
        return plan_size(plan, validate.data_type(dtype), format)
    if rows is not None:
        raise ValueError(f"rows={rows} and footprint exclude each other in an estimate; leave out one of them")
    mask = validate.weight_mask(footprint, geometry.weight_shape, len(geometry.kernel_shape))
    return plan_size(plan, np.dtype(dtype), format, _footprint_entries(geometry, mask))


def _footprint_entries(geometry: ConvGeometry, mask: NDArray[np.bool_]) -> int | None:
    """Return the number of entries that the weights of a footprint have; None if there is too much to count."""
    axes = geometry.axes
    if geometry.has_coefficients:
        return None
    if mask.ndim == len(geometry.kernel_shape):
        masks, times = mask[None], [len(geometry.channel_pairs)]
    elif geometry.sharing == "shared":
        pairs = np.broadcast_to(mask, geometry.weight_shape).reshape(-1, *geometry.kernel_shape)
        masks, counts = np.unique(pairs, axis=0, return_counts=True)
        times = counts.tolist()
    else:
        return None
    listed = [table_size(axis, 0, axis.n_outputs, by_sample=False) // axis.n_taps for axis in axes]
    if math.prod(listed) > _MOST_COMBINATIONS:
        return None
    axis_kinds = []  # of each axis: its distinct rows, and how often each of them occurs
    for axis in axes:
        table = axis_rows(axis, 0, axis.n_outputs, by_sample=False, merge=False)
        repeats = [stretch.repeats for stretch in table.stretches for _ in range(stretch.period)]
        taps = [row % axis.n_taps for row in table.taps]
        axis_kinds.append(list(zip(table.columns, taps, repeats, strict=True)))
    total = 0
    for combination in itertools.product(*axis_kinds):
        places = np.zeros(1, dtype=np.int64)
        for axis, (columns, _, _) in zip(axes, combination, strict=True):
            places = np.add.outer(places * axis.n_samples, columns).ravel()
        repeated = math.prod(count for _, _, count in combination)
        for number, chosen in zip(times, masks, strict=True):
            reached = places[chosen[np.ix_(*(taps for _, taps, _ in combination))].ravel()]
            total += number * repeated * len(np.unique(reached))
    return total


def plan_size(plan: Plan, dtype: np.dtype[Any], format: str, nonzeros: int | None = None) -> Estimate:
    """Return the size of the matrix of a plan in a format; a plan by columns is always for the whole matrix."""
    n_in, n_out = plan.geometry.n_in, plan.geometry.n_out
    nonzeros = plan.count() if nonzeros is None else nonzeros
    n_rows = n_out if plan.by_column else plan.rows[1] - plan.rows[0]
    index = np.dtype(validate.index_dtype(nonzeros, n_rows, n_in))
    if format == "coo":
        index_bytes = 2 * nonzeros * index.itemsize
    else:
        index_bytes = (nonzeros + (n_in if format == "csc" else n_rows) + 1) * index.itemsize
    return Estimate((n_rows, n_in), nonzeros, nonzeros * dtype.itemsize + index_bytes, index.name)


def axis_offsets(
    axis: Axis, column_place: int, row_place: int, transposed: bool
) -> tuple[NDArray[np.int64], int] | None:
    """Return the distinct offsets of the diagonals that an axis contributes, and its last column; None if too many.

    ``column_place`` and ``row_place`` are the strides of the axis in the columns and the rows of the whole matrix.
    """
    if table_size(axis, 0, axis.n_outputs, by_sample=False) > _MOST_OFFSETS:
        return None
    table = axis_rows(axis, 0, axis.n_outputs, by_sample=False, merge=False)
    sample_place, output_place = (-row_place, column_place) if transposed else (column_place, -row_place)
    parts, last, output = [], 0, 0
    for stretch in table.stretches:
        step = stretch.shift * sample_place + stretch.period * output_place
        for samples in table.columns[stretch.first : stretch.first + stretch.period]:
            if len(samples):
                further = stretch.repeats - 1
                if step and len(samples) * stretch.repeats > _MOST_OFFSETS:
                    return None
                repeats = np.arange(stretch.repeats if step else 1, dtype=np.int64)
                bases = np.unique(samples) * sample_place + output * output_place
                parts.append((bases[:, None] + step * repeats).ravel())
                top = output + further * stretch.period if transposed else samples[-1] + further * stretch.shift
                last = max(last, int(top))
            output += 1
        output += stretch.period * (stretch.repeats - 1)
    return (np.unique(np.concatenate(parts)) if parts else np.zeros(0, dtype=np.int64)), last
