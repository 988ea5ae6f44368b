"""A layer's matrix on disk, in parts: written by Dask workers, resumed after an interruption, read slab by slab."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Unpack

import numpy as np
from scipy import sparse

from convmatrix import options as validate
from convmatrix.atomic import TEMPORARY, atomic_write, remove_leftovers
from convmatrix.distributed.slab_sizes import Rows, SlabPlan
from convmatrix.distributed.slabs import SlabLayer, SlabTasks
from convmatrix.io import FileFormatError, load, save
from convmatrix.io.file_checks import DTYPE_NAMES, is_known_dtype
from convmatrix.io.geometry_json import from_values, parse, to_values
from convmatrix.options import LayerOptions, takes_layer_options

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike

    from convmatrix.geometry import ConvGeometry
    from convmatrix.progress import Progress

INDEX: Final = "index.json"
"""Name of the file that describes the parts."""

_KIND: Final = "convmatrix slabs 1"
_FIELDS: Final = {
    "kind": str,
    "geometry": dict,
    "order": str,
    "dtype": str,
    "rows_per_slab": int,
    "kernel_sha256": str,
    "parts": dict,
}
_LARGEST_INDEX: Final = 2**28  # bytes; a part takes about 150
_SECONDS: Final = 1.0  # between two versions of the index


@dataclass(frozen=True)
class _Part:
    """The entry of the index for a part that has been written."""

    nonzeros: int
    n_bytes: int
    sha256: str


@takes_layer_options()
def save_slabs(
    folder: str | os.PathLike[str],
    kernel: ArrayLike,
    geometry: int | Sequence[int] | ConvGeometry,
    rows_per_slab: int | None = None,
    *,
    client: Any = None,
    progress: Progress = None,
    order: str = "C",
    dtype: DTypeLike | None = None,
    **options: Unpack[LayerOptions],
) -> SavedSlabs:
    """Save a layer's matrix as one ``.npz`` file per slab of rows, written by Dask workers, and return the saved slabs.

    Workers build the slabs and write them themselves, so they must see the same folder as this process. Each part is
    written atomically. If saving is interrupted, even by a kill, the same call continues it: parts in the index whose
    files have the size and the checksum that it states are kept.

    Parameters
    ----------
    folder : str or path
        It is created if needed, in a folder that exists.
    kernel, geometry, rows_per_slab, client, progress, order, dtype
        As for `map_slabs`. To continue, ``rows_per_slab`` may be omitted.
    stride, dilation, padding, boundary, groups, connections, sharing, flip, transposed, output_padding, output_shape
        As for `ConvGeometry`.

    Returns
    -------
    SavedSlabs
        As `load_slabs` returns it.

    Raises
    ------
    ValueError
        If the folder contains the parts of another layer, kernel or plan, or other files; the message gives both
        values, and nothing is written.
    MatrixTooLargeError
        If a slab does not fit in the memory of a worker.
    OSError
        If the folder cannot be written, or is not the same one for workers and this process.

    Notes
    -----
    Besides the parts, ``rows-FIRST-LAST.npz`` in the layout of `scipy.sparse.save_npz`, the folder contains
    ``index.json``: the layer, the checksum of the kernel, and for each part its nonzeros, bytes and SHA-256 checksum.

    Examples
    --------
    >>> import tempfile
    >>> from distributed import Client
    >>> with (
    ...     tempfile.TemporaryDirectory() as folder,
    ...     Client(processes=False, n_workers=1, threads_per_worker=2, dashboard_address=":0") as client,
    ... ):
    ...     saved = save_slabs(folder, [1.0, 2.0], 100, 30, client=client)
    ...     print(len(saved), saved.complete, saved.nonzeros, saved[3].shape, saved.rows(28, 32).shape)
    4 True 198 (9, 100) (4, 100)
    """
    target = Path(folder).resolve()
    existing = _read_index(target) if (target / INDEX).exists() else None
    if existing is not None and rows_per_slab is None:
        rows_per_slab = existing.plan.rows_per_slab
    tasks = SlabTasks(kernel, geometry, rows_per_slab, client, order=order, dtype=dtype, options=options)
    if not is_known_dtype(tasks.plan.dtype):
        raise TypeError(f"the kernel has dtype {tasks.plan.dtype}, but files contain {DTYPE_NAMES}; convert it")
    saved = SavedSlabs(target, tasks.plan, _checksum_of_kernel(tasks.layer), {})
    if existing is not None:
        _compare(existing, saved)
        saved.parts.update(existing.parts)
    elif target.exists() and (others := {path.name for path in target.iterdir() if not path.match(TEMPORARY)}):
        raise ValueError(
            f"{target} contains {min(others)!r} but no {INDEX}, so it is not a folder of slabs; choose a new folder"
        )
    target.mkdir(exist_ok=True)
    remove_leftovers(target)
    kept = {number: part for number, part in saved.parts.items() if saved.is_intact(number)}
    saved.parts.clear()
    saved.parts.update(kept)
    missing = [number for number in range(len(saved)) if number not in kept]
    saved.write_index()
    written = time.monotonic()
    try:
        tasks.per_task = 1  # so that the index soon knows of each part
        for (number,), (part,) in tasks.ordered(_save, lambda _: [str(target)], numbers=missing, progress=progress):
            path = saved.path(number)
            if not path.is_file() or path.stat().st_size != part.n_bytes:
                raise OSError(
                    f"a worker wrote {part.n_bytes} bytes to {path}, but this process does not find them there; choose "
                    "a folder that all workers and this process share"
                )
            saved.parts[number] = part
            if time.monotonic() - written > _SECONDS:
                saved.write_index()
                written = time.monotonic()
    finally:
        saved.write_index()
    return saved


def load_slabs(folder: str | os.PathLike[str]) -> SavedSlabs:
    """Return the matrix that `save_slabs` saved in a folder, to be read slab by slab.

    Only the index is read now. The files are not trusted: see `convmatrix.io.load`.

    Raises
    ------
    FileFormatError
        If the index is damaged or of another kind.
    OSError
        If there is none.

    Examples
    --------
    >>> import tempfile
    >>> from distributed import Client
    >>> with (
    ...     tempfile.TemporaryDirectory() as folder,
    ...     Client(processes=False, n_workers=1, threads_per_worker=2, dashboard_address=":0") as client,
    ... ):
    ...     _ = save_slabs(folder, [1.0, 2.0], 100, 30, client=client)
    ...     load_slabs(folder).rows(28, 30).toarray()[:, 27:32]
    array([[0., 1., 2., 0., 0.],
           [0., 0., 1., 2., 0.]])
    """
    return _read_index(Path(folder).resolve())


@dataclass(frozen=True, eq=False)
class SavedSlabs:
    """A matrix in parts on disk; ``len``, indices and iteration are those of its slabs, each a ``csr_array``.

    Attributes
    ----------
    folder : Path
    plan : SlabPlan
        The layer, the rows of each slab, order and dtype.
    kernel_sha256 : str
        Checksum of the kernel.
    parts : dict
        What is known of each part that has been written, by the number of its slab.
    """

    folder: Path
    plan: SlabPlan
    kernel_sha256: str
    parts: dict[int, _Part] = field(repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the matrix."""
        return self.plan.geometry.n_out, self.plan.geometry.n_in

    @property
    def complete(self) -> bool:
        """Whether all parts have been written."""
        return len(self.parts) == len(self)

    @property
    def nonzeros(self) -> int:
        """Number of stored entries of the parts that have been written."""
        return sum(part.nonzeros for part in self.parts.values())

    def __len__(self) -> int:
        return self.plan.n_slabs

    def __iter__(self) -> Iterator[sparse.csr_array]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> sparse.csr_array:
        number = validate.integer("number", number)
        if not -len(self) <= number < len(self):
            raise IndexError(f"slab {number} does not exist: {self.folder} has {len(self)} slabs")
        number %= len(self)
        path = self.path(number)
        if number not in self.parts:
            raise FileNotFoundError(
                f"slab {number} of {self.folder} has not been written ({len(self.parts)} of {len(self)} have); "
                "continue with save_slabs"
            )
        part = self.parts[number]
        if (found := _checksum_of_file(path)) != part.sha256:
            raise FileFormatError(f"{path} has the checksum {found}, but the index states {part.sha256}; save it again")
        slab, _ = load(path)
        start, stop = self.plan.rows(number)
        expected = ((stop - start, self.shape[1]), part.nonzeros, self.plan.dtype)
        if (slab.shape, slab.nnz, slab.dtype) != expected:
            raise FileFormatError(
                f"{path} is a matrix with shape, entries and dtype {(slab.shape, slab.nnz, slab.dtype)}, but the index "
                f"states {expected}"
            )
        return slab

    def rows(self, start: int, stop: int) -> sparse.csr_array:
        """Return the rows ``start .. stop - 1`` of the matrix; only the parts that contain them are read."""
        start, stop = validate.row_range((start, stop), self.shape[0])
        step = self.plan.rows_per_slab
        slabs = []
        for number in range(start // step, -(-stop // step)):
            first, _ = self.plan.rows(number)
            slabs.append(self[number][max(start - first, 0) : stop - first])
        if not slabs:
            return sparse.csr_array((0, self.shape[1]), dtype=self.plan.dtype)
        return sparse.csr_array(sparse.vstack(slabs, format="csr"))

    def path(self, number: int) -> Path:
        """Return the file of a slab."""
        return self.folder / _name(self.plan.rows(number))

    def is_intact(self, number: int) -> bool:
        """Return whether the file of a slab has the size and the checksum that the index states."""
        part, path = self.parts[number], self.path(number)
        return path.is_file() and path.stat().st_size == part.n_bytes and _checksum_of_file(path) == part.sha256

    def write_index(self) -> None:
        """Write the index atomically."""
        record = {
            "kind": _KIND,
            "geometry": to_values(self.plan.geometry),
            "order": self.plan.order,
            "dtype": self.plan.dtype.name,
            "rows_per_slab": self.plan.rows_per_slab,
            "kernel_sha256": self.kernel_sha256,
            "parts": {
                str(number): [part.nonzeros, part.n_bytes, part.sha256] for number, part in sorted(self.parts.items())
            },
        }
        with atomic_write(self.folder / INDEX) as file:
            file.write((json.dumps(record) + "\n").encode())


def _save(layer: SlabLayer, ranges: Sequence[Rows], folder: str) -> list[_Part]:
    """Write slabs on a worker; return the entry of the index for each."""

    def write(slab: Any, rows: Rows) -> _Part:
        path = Path(folder, _name(rows))
        save(path, slab)
        return _Part(int(slab.nnz), path.stat().st_size, _checksum_of_file(path))

    return list(layer.each(ranges, write))


def _name(rows: Rows) -> str:
    return f"rows-{rows[0]:012d}-{rows[1] - 1:012d}.npz"


def _checksum_of_kernel(layer: SlabLayer) -> str:
    """Return the SHA-256 checksum of a kernel with its dtype and shape."""
    digest = hashlib.sha256(f"{layer.weights.dtype.str} {layer.weights.shape} ".encode())
    digest.update(np.ascontiguousarray(layer.weights).tobytes())
    return digest.hexdigest()


def _checksum_of_file(path: Path) -> str:
    """Return the SHA-256 checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _compare(existing: SavedSlabs, wanted: SavedSlabs) -> None:
    """Raise unless the folder holds parts of the same matrix, cut in the same way."""
    for name, found, given in (
        ("geometry", existing.plan.geometry, wanted.plan.geometry),
        ("dtype", existing.plan.dtype, wanted.plan.dtype),
        ("order", existing.plan.order, wanted.plan.order),
        ("kernel (SHA-256)", existing.kernel_sha256, wanted.kernel_sha256),
        ("rows_per_slab", existing.plan.rows_per_slab, wanted.plan.rows_per_slab),
    ):
        if found != given:
            raise ValueError(
                f"{existing.folder} contains slabs of another matrix: its {name} is {str(found)[:300]}, but "
                f"{str(given)[:300]} was given; choose another folder, or delete this one"
            )


def _read_index(folder: Path) -> SavedSlabs:
    """Return the contents of the index in a folder, which is not trusted."""
    path = folder / INDEX
    if path.stat().st_size > _LARGEST_INDEX:
        raise FileFormatError(f"{path} has {path.stat().st_size} bytes, but an index has at most {_LARGEST_INDEX}")
    values = parse(path.read_bytes(), str(path))
    if not isinstance(values, dict) or set(values) != set(_FIELDS) or values["kind"] != _KIND:
        raise FileFormatError(f"{path} is not an index of slabs ({_KIND!r} with {', '.join(_FIELDS)})")
    for name, kind in _FIELDS.items():
        if type(values[name]) is not kind:
            raise FileFormatError(f"{path} has {name}={str(values[name])[:50]}, but it must be a {kind.__name__}")
    geometry = from_values(values["geometry"], str(path))
    order: Literal["C", "F"] = "C" if values["order"] == "C" else "F"
    if values["order"] != order or values["dtype"] not in np.sctypeDict or values["rows_per_slab"] < 1:
        raise FileFormatError(
            f"{path} has order={values['order'][:50]!r}, dtype={values['dtype'][:50]!r} and "
            f"rows_per_slab={str(values['rows_per_slab'])[:50]}, which describe no slabs"
        )
    plan = SlabPlan(geometry, values["rows_per_slab"], order, np.dtype(values["dtype"]))
    parts = {}
    for key, entry in values["parts"].items():
        valid = isinstance(entry, list) and [type(value) for value in entry] == [int, int, str]
        if not valid or not key.isascii() or not key.isdigit() or len(key) > 18 or int(key) >= plan.n_slabs:
            raise FileFormatError(
                f"{path} has the part {key[:40]!r}: {str(entry)[:80]}, which is none of {plan.n_slabs} slabs"
            )
        parts[int(key)] = _Part(*entry)
    return SavedSlabs(folder, plan, values["kernel_sha256"], parts)
