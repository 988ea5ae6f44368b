"""Mixed-integer linear programs as files in the free MPS format."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from convmatrix.atomic import atomic_write

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

    Indices = NDArray[np.int64]
    Floats = NDArray[np.float64]

_OBJECTIVE = "objective"


def column_names(variables: Mapping[str, Indices], n_variables: int, phases: Indices) -> list[str]:
    """Return a unique name for each variable: the first node that has it and the index there, without blanks.

    Variables that no node has are called ``aux``. The phases of rectifiers, given by their numbers, come last.

    Examples
    --------
    >>> column_names({"my input": np.array([[0, 1]])}, 3, np.array([7]))
    ['my_input.0.0', 'my_input.0.1', 'aux.2', 'phase.7']
    """
    names = [f"aux.{number}" for number in range(n_variables)]
    named, taken = np.zeros(n_variables, bool), {"aux", "phase"}
    for node, places in variables.items():
        prefix = base = re.sub(r"[^A-Za-z0-9_]", "_", node)[:100]
        number = 1
        while prefix in taken:
            number += 1
            prefix = f"{base}_{number}"
        taken.add(prefix)
        for index, place in zip(np.ndindex(places.shape), places.ravel().tolist(), strict=True):
            if not named[place]:
                named[place] = True
                names[place] = ".".join([prefix, *map(str, index)])
    return [*names, *(f"phase.{number}" for number in phases.tolist())]


def write_mps(
    path: str | os.PathLike[str],
    objective: Floats,
    A: Any,
    row_bounds: tuple[Floats, Floats],
    bounds: tuple[Floats, Floats],
    integer: NDArray[np.bool_],
    names: Sequence[str],
) -> None:
    """Write the program of minimising a linear function in the free MPS format, atomically.

    Rows of A without bounds are omitted. The names of the columns are unique and contain no blanks.
    """
    low, high = row_bounds
    both = np.flatnonzero(np.isfinite(low) & np.isfinite(high) & (low != high))
    if len(both):  # as two rows: the format stores their distance, which may be rounded
        A = sparse.vstack([A, A[both]], format="csr")
        low, high = np.concatenate([low, np.full(len(both), -np.inf)]), np.concatenate([high, high[both]])
        high[both] = np.inf
    kept = np.flatnonzero(np.isfinite(low) | np.isfinite(high))
    A, low, high = A[kept], low[kept], high[kept]
    kinds = np.where(low == high, "E", np.where(np.isfinite(low), "G", "L")).tolist()
    right = np.where(np.isfinite(low), low, high).tolist()
    lines = chain(
        ["NAME network", "ROWS", f" N {_OBJECTIVE}"],
        (f" {kind} r{row}" for row, kind in enumerate(kinds)),
        ["COLUMNS"],
        _columns(objective, sparse.csc_array(A), integer, names),
        ["RHS"],
        (f" RHS r{row} {value!r}" for row, value in enumerate(right) if value),
        ["BOUNDS"],
        _bounds(bounds, integer, names),
        ["ENDATA"],
    )
    with atomic_write(path) as file:
        for line in lines:
            file.write(line.encode("ascii") + b"\n")


def _bounds(bounds: tuple[Floats, Floats], integer: NDArray[np.bool_], names: Sequence[str]) -> Iterator[str]:
    """Yield the bounds of each column."""
    for name, whole, a, b in zip(names, integer.tolist(), *(side.tolist() for side in bounds), strict=True):
        if whole and (a, b) == (0, 1):
            yield f" BV BND {name}"
        elif a == b:
            yield f" FX BND {name} {a!r}"
        elif a == -np.inf and b == np.inf:
            yield f" FR BND {name}"
        else:
            yield f" MI BND {name}" if a == -np.inf else f" LO BND {name} {a!r}"
            yield f" PL BND {name}" if b == np.inf else f" UP BND {name} {b!r}"


def _columns(objective: Floats, A: Any, integer: NDArray[np.bool_], names: Sequence[str]) -> Iterator[str]:
    """Yield the entries column by column, integer columns between markers."""
    weights, starts = objective.tolist(), A.indptr.tolist()
    inside = False
    for column, (name, whole) in enumerate(zip(names, integer.tolist(), strict=True)):
        if whole != inside:
            yield f" MARKER{column} 'MARKER' '{'INTORG' if whole else 'INTEND'}'"
            inside = whole
        entries = slice(starts[column], starts[column + 1])
        if weights[column] or entries.start == entries.stop:  # a column must occur to exist
            yield f" {name} {_OBJECTIVE} {weights[column]!r}"
        for row, value in zip(A.indices[entries].tolist(), A.data[entries].tolist(), strict=True):
            yield f" {name} r{row} {value!r}"
    if inside:
        yield f" MARKER{len(names)} 'MARKER' 'INTEND'"
