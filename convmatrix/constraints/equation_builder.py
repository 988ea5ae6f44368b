"""Equations and rectifiers, added in the order in which they define variables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Indices = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Term = tuple[float | Floats, Indices]


class EquationBuilder:
    """Equations and rectifiers that define variables, the inputs first.

    Examples
    --------
    >>> builder = EquationBuilder(2)
    >>> builder.combine([(1.0, np.array([0])), (-1.0, np.array([1]))])
    array([2])
    >>> builder.rectify(np.array([2]))
    array([3])
    """

    def __init__(self, n_inputs: int) -> None:
        self.n_variables = n_inputs
        self._bodies: list[tuple[Floats, Indices, Indices]] = []  # entries, variables, number of entries per row
        self._right: list[Floats] = []
        self._defines: list[Indices] = []
        self._pre: list[Indices] = []
        self._post: list[Indices] = []
        self._steps: list[tuple[int, int, int]] = []
        self._counts = [0, 0]
        self._constants: dict[float, int] = {}
        self._rectified: dict[int, int] = {}

    def _new(self, count: int, kind: int) -> Indices:
        """Return the numbers of new variables, defined in a separate step."""
        start, first = self._counts[kind], self.n_variables
        self._steps.append((kind, start, start + count))
        self._counts[kind] += count
        self.n_variables += count
        return np.arange(first, self.n_variables)

    def rectify(self, pre: Indices) -> Indices:
        """Return variables that are the maxima of given ones and 0; the same one for the same variable."""
        distinct, places = np.unique(pre, return_inverse=True)
        known = np.array([self._rectified.get(variable, -1) for variable in distinct.tolist()], np.int64)
        missing = known < 0
        if missing.any():
            known[missing] = self._new(int(missing.sum()), 1)
            self._pre.append(distinct[missing])
            self._post.append(known[missing])
            made = known[missing].tolist()
            self._rectified.update(zip(distinct[missing].tolist(), made, strict=True))
            self._rectified.update(zip(made, made, strict=True))  # they are not negative
        return known[places.ravel()]

    def constants(self, values: Floats) -> Indices:
        """Return variables that are constant, one for each distinct value."""
        distinct, places = np.unique(values, return_inverse=True)
        made = [value for value in distinct.tolist() if value not in self._constants]
        if made:
            self._constants.update(zip(made, self._new(len(made), 0).tolist(), strict=True))
            self._define(np.zeros(0), np.zeros(0, np.int64), np.zeros(len(made), np.int64), np.array(made))
        variables = np.array([self._constants[value] for value in distinct.tolist()], np.int64)
        return variables[places.ravel()]

    def combine(self, terms: Sequence[Term], constant: float | Floats = 0.0) -> Indices:
        """Return variables that are sums of terms, each a factor times variables, plus a constant, entry by entry."""
        n = len(terms[0][1])
        data = np.stack([np.broadcast_to(np.asarray(factor, np.float64), n) for factor, _ in terms], axis=1)
        columns = np.stack([variables for _, variables in terms], axis=1)
        return self.equate(data.ravel(), columns.ravel(), np.full(n, len(terms)), np.broadcast_to(constant, n))

    def equate(self, data: Floats, columns: Indices, counts: Indices, constant: Floats) -> Indices:
        """Return variables that are weighted sums of others plus a constant.

        A sum of a single variable with weight 1 is that variable, and an empty sum a constant. Weights of the same
        variable in the same sum are added if the result is exact; otherwise all but one of them multiply a copy.

        Sum by sum, ``data`` and ``columns`` hold its weights and their variables, ``counts`` has their number, shape
        (k,), and ``constant`` the constant. Raises a ValueError if a weight or a constant is not finite.
        """
        constant = np.asarray(constant, np.float64)
        if not (np.isfinite(data).all() and np.isfinite(constant).all()):
            raise ValueError("a weight is not finite, so there is no equation")
        k = len(counts)
        rows = np.repeat(np.arange(k), counts)
        zero = self._constants.get(0.0, -1)
        kept = (data != 0) & (columns != zero)
        rows, columns, data = self._without_repeats(rows[kept], columns[kept], data[kept])
        counts = np.bincount(rows, minlength=k)
        single = np.zeros(k, bool)
        single[rows[(data == 1) & (counts[rows] == 1)]] = True
        shared = single & (constant == 0)
        empty = counts == 0
        result = np.empty(k, np.int64)
        result[rows[shared[rows]]] = columns[shared[rows]]
        if empty.any():
            result[empty] = self.constants(constant[empty])
        defined = ~(shared | empty)
        if defined.any():
            used = defined[rows]
            result[defined] = self._new(int(defined.sum()), 0)
            self._define(data[used], columns[used], counts[defined], constant[defined])
        return result

    def _define(self, data: Floats, columns: Indices, counts: Indices, constant: Floats) -> None:
        """Append equations for the newest variables."""
        self._bodies.append((data, columns, counts))
        self._right.append(-constant + 0.0)  # no negative zeros
        self._defines.append(np.arange(self.n_variables - len(counts), self.n_variables))

    def _without_repeats(self, rows: Indices, columns: Indices, data: Floats) -> tuple[Indices, Indices, Floats]:
        """Return entries sorted by row and column, each column at most once per row."""
        if ((rows[1:] > rows[:-1]) | (columns[1:] > columns[:-1])).all():
            return rows, columns, data  # rows ascend, so all is sorted
        while True:
            order = np.lexsort((columns, rows))
            rows, columns, data = rows[order], columns[order], data[order]
            repeated = np.zeros(len(rows), bool)
            repeated[1:] = (rows[1:] == rows[:-1]) & (columns[1:] == columns[:-1])
            if not repeated.any():
                return rows, columns, data
            second = np.flatnonzero(repeated & ~np.concatenate([[False], repeated[:-1]]))  # of each run
            total, error = _sum_with_error(data[second - 1], data[second])
            exact = (error == 0) & np.isfinite(total)
            data, columns = data.copy(), columns.copy()
            data[second[exact] - 1] = total[exact]
            apart = second[~exact]
            if len(apart):
                columns[apart] = self._copies(columns[apart])
            kept = data != 0
            kept[second[exact]] = False
            rows, columns, data = rows[kept], columns[kept], data[kept]

    def _copies(self, columns: Indices) -> Indices:
        """Return variables that equal given ones, defined by separate equations."""
        distinct, places = np.unique(columns, return_inverse=True)
        made = self._new(len(distinct), 0)
        n = len(distinct)
        self._define(np.ones(n), distinct, np.ones(n, np.int64), np.zeros(n))
        return made[places.ravel()]

    def finish(self) -> tuple[Any, Floats, Indices, Indices, Indices, Indices]:
        """Return the equations, their right sides and variables, both sides of the rectifiers, and the order."""
        defines = _joined(self._defines)
        counts = _joined([counts for _, _, counts in self._bodies])
        starts = np.concatenate([[0], np.cumsum(counts + 1)])
        own = starts[1:] - 1  # a variable that is defined is the last of its row
        n_entries = int(starts[-1])
        rest = np.ones(n_entries, bool)
        rest[own] = False
        data, columns = np.full(n_entries, -1.0), np.empty(n_entries, np.int64)
        columns[own] = defines
        data[rest] = np.concatenate([np.zeros(0), *(data for data, _, _ in self._bodies)])
        columns[rest] = _joined([columns for _, columns, _ in self._bodies])
        equations: Any = sparse.csr_array((data, columns, starts), shape=(len(defines), self.n_variables))
        equations.has_canonical_format = True
        right = np.concatenate([np.zeros(0), *self._right])
        order = np.array(self._steps, np.int64).reshape(-1, 3)
        return equations, right, defines, _joined(self._pre), _joined(self._post), order


def _joined(parts: list[Indices]) -> Indices:
    return np.concatenate([np.zeros(0, np.int64), *parts])


def _sum_with_error(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Return rounded sums and their rounding errors (Knuth, The Art of Computer Programming 2, section 4.2.2)."""
    with np.errstate(over="ignore", invalid="ignore"):
        total = a + b
        part = total - a
        return total, (a - (total - part)) + (b - part)
