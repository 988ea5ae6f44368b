"""Comparison of a network's values with those of another implementation, node by node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix.arrays import array
from convmatrix.display.tables import ShownAsTable, Table

if TYPE_CHECKING:
    from convmatrix.arrays import Array


@dataclass(frozen=True)
class Agreement(ShownAsTable):
    """Whether the values of a network's nodes equal given ones; true if all do.

    Attributes
    ----------
    differences : dict of str to float
        For each compared node, in topological order, the largest absolute difference over the largest absolute value
        of the reference; infinite where shapes differ or only one value is finite.
    tolerance : float
    first : str or None
        The first node that differs by more than the tolerance.

    Examples
    --------
    >>> Agreement({"conv": 1e-16, "relu": 0.5}, 1e-6)
    the first difference is at 'relu': 0.5 relative, more than 1e-06 (2 nodes compared)
    """

    differences: dict[str, float]
    tolerance: float

    @property
    def first(self) -> str | None:
        """The first node that differs by more than the tolerance."""
        return next((name for name, value in self.differences.items() if not value <= self.tolerance), None)

    def __bool__(self) -> bool:
        return self.first is None

    def __repr__(self) -> str:
        n = len(self.differences)
        compared = f"{n} node{'' if n == 1 else 's'} compared"
        if self.first is None:
            return f"no difference: at most {max(self.differences.values(), default=0.0):.2g} relative ({compared})"
        return (
            f"the first difference is at {self.first!r}: {self.differences[self.first]:.2g} relative, more than "
            f"{self.tolerance:g} ({compared})"
        )

    def _table(self) -> Table:
        rows = [
            [name, f"{value:.2g}", "yes" if value <= self.tolerance else "no"]
            for name, value in self.differences.items()
        ]
        header = ["node", "relative difference", f"at most {self.tolerance:g}"]
        answer = "Equal" if self else "Different"
        return Table(repr(self), [header, *rows], holds=bool(self), answer=answer)


def compare(network: Any, x: Array, reference: Any, tolerance: float | None) -> Agreement:
    """Return the comparison of a network's values for a batch with references; see `Network.check`."""
    given = reference if isinstance(reference, Mapping) else {network.outputs[0]: reference}
    references = {name: array(f"the reference of {name!r}", value) for name, value in given.items()}
    values = network.values(x, [node.name for node in network if node.name in references])
    for name in references:
        network[name]  # raises KeyError for a name that no node has
    if tolerance is None:
        kinds = {x.dtype, *(value.dtype for value in references.values())}
        tolerance = 1e-2 if np.dtype(np.float16) in kinds else 1e-4 if np.dtype(np.float32) in kinds else 1e-9
    return Agreement({name: _difference(value, references[name]) for name, value in values.items()}, tolerance)


def _difference(value: Array, reference: Array) -> float:
    value, reference = np.asarray(value, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if value.shape != reference.shape or not np.array_equal(np.isfinite(value), np.isfinite(reference)):
        return np.inf
    finite = np.isfinite(reference)
    if not np.array_equal(value[~finite], reference[~finite], equal_nan=True):
        return np.inf
    scale = float(np.abs(reference[finite]).max(initial=0.0))
    error = float(np.abs(value[finite] - reference[finite]).max(initial=0.0))
    return error / scale if scale else error
