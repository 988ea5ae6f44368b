"""Matrices that are given as linear operators: read by products with chosen vectors, checked by random ones.

Some columns of a matrix determine it, if its structure is known. A random vector x tests whether the operator A is then
the matrix S with this structure: if not, ``A x`` equals ``S x`` with probability zero.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from convmatrix.structured.diagonals import Violation, first_violation
from convmatrix.structured.toeplitz_operators import ToeplitzOperator

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convmatrix.arrays import Array
    from convmatrix.structured.diagonals import Diagonals

_BLOCK: Final = 2**22  # entries of the products computed at a time
_MOST_READ: Final = 2**31  # entries of the largest matrix read column by column
_FEW_DIAGONALS: Final = 2**12  # diagonals multiplied one by one, without the rounding of transforms


def is_operator(A: Any) -> bool:
    """Return whether a matrix is given by its products: a SciPy linear operator, or any object like one.

    Examples
    --------
    >>> is_operator(aslinearoperator(np.eye(3))), is_operator(np.eye(3))
    (True, False)
    """
    if isinstance(A, LinearOperator):
        return True
    return hasattr(A, "matvec") and hasattr(A, "shape") and not (sparse.issparse(A) or isinstance(A, np.ndarray))


@dataclass(frozen=True)
class ProbedOperator:
    """A linear operator as products with the columns of an array.

    Attributes
    ----------
    operator : LinearOperator
    shape : (int, int)
    exact : bool
        Whether it computes in integers, without rounding.
    dtype : dtype
        That of its products with real vectors.
    """

    operator: Any
    shape: tuple[int, int]
    exact: bool
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, A: Any) -> ProbedOperator:
        """Return an operator with its products, or raise if it does not multiply."""
        operator: Any = aslinearoperator(A)
        given = np.dtype(np.float64 if operator.dtype is None else operator.dtype)
        if given.kind not in "biufc":
            raise TypeError(f"the operator has dtype {given}, but its products must be numbers; give it another dtype")
        kind = np.dtype(np.int64) if given.kind in "biu" else np.dtype(given.char.lower())
        n_rows, n_columns = (int(size) for size in operator.shape)
        with np.errstate(all="ignore"):
            found = np.asarray(operator.matmat(np.zeros((n_columns, 1), dtype=kind)))
        exact = given.kind in "biu" and found.dtype.kind in "iu"
        return cls(operator, (n_rows, n_columns), exact, np.result_type(found.dtype, given))

    def product(self, X: Array) -> Array:
        """Return ``A X``; raise if it has another shape, or entries that are not finite."""
        with np.errstate(all="ignore"):  # what is not finite is refused
            Y = np.asarray(self.operator.matmat(X))
        if Y.shape != (self.shape[0], X.shape[1]):
            raise ValueError(
                f"the operator of shape {self.shape} multiplies an array of shape {X.shape} to one of shape {Y.shape} "
                f"instead of {(self.shape[0], X.shape[1])}"
            )
        if not np.isfinite(Y).all():
            raise ValueError(f"products of the operator of shape {self.shape} are infinite or NaN; check its entries")
        return Y

    def combs(self, colours: NDArray[np.integer], start: int, stop: int) -> Array:
        """Return the sums of the columns of each colour from start to stop; a colour of -1 is left out."""
        X = np.zeros((self.shape[1], stop - start), dtype=np.int64 if self.exact else self._real)
        chosen = np.flatnonzero((colours >= start) & (colours < stop))
        X[chosen, colours[chosen] - start] = 1
        return self.product(X)

    def columns(self, numbers: NDArray[np.integer]) -> Array:
        """Return some columns."""
        colours = np.full(self.shape[1], -1)
        colours[numbers] = np.arange(len(numbers))
        return self.combs(colours, 0, len(numbers))

    def random_vectors(self) -> Array:
        """Return two random columns: of integers if products are exact."""
        rng = np.random.default_rng(0)
        size = (self.shape[1], 2)
        return rng.integers(-(2**20), 2**20, size) if self.exact else rng.standard_normal(size).astype(self._real)

    def equals(self, other: Any, norm: float) -> bool:
        """Return whether random vectors have the products that another matrix of a known norm gives."""
        X = self.random_vectors()
        return bool(np.abs(self.product(X) - other @ X).max(initial=0) <= self.rounding(norm, X))

    def rounding(self, norm: float, X: Array) -> float:
        """Return the level of rounding errors in products of X, for a bound on the norm; 0 if they are exact."""
        if self.exact:
            return 0.0
        error = 64 * float(np.finfo(self.dtype).eps) * math.log2(self.shape[1] + 2)
        return error * norm * float(np.linalg.norm(X, axis=0).max(initial=0))

    @property
    def block(self) -> int:
        """Number of columns multiplied at a time."""
        return max(_BLOCK // max(*self.shape, 1), 1)

    @property
    def _real(self) -> np.dtype[Any]:
        return np.dtype(self.dtype.char.lower()) if self.dtype.kind in "fc" else np.dtype(np.float64)


# --- the whole matrix -------------------------------------------------------------------------------------------------


def read_matrix(operator: ProbedOperator, reason: str) -> Any:
    """Return the matrix of an operator as a CSR array, column by column; entries below rounding errors are dropped.

    ``reason`` says in an error why the whole matrix is needed.
    """
    n_rows, n_columns = operator.shape
    if n_rows * n_columns > _MOST_READ:
        raise ValueError(
            f"{reason}, and the operator has {n_rows} x {n_columns} entries, but at most {_MOST_READ} are read by "
            "products; give its sparse matrix"
        )
    parts = []
    for start in range(0, n_columns, operator.block):
        Y = operator.columns(np.arange(start, min(start + operator.block, n_columns)))
        if not operator.exact:
            Y[np.abs(Y) <= 4 * np.finfo(operator.dtype).eps * np.abs(Y).max(axis=0, initial=0)] = 0
        parts.append(sparse.csc_array(Y))
    matrix = sparse.csr_array(sparse.hstack(parts, format="csc")) if parts else sparse.csr_array(operator.shape)
    matrix.sum_duplicates()
    return matrix


# --- Toeplitz and circulant matrices ----------------------------------------------------------------------------------


def probed_violation(operator: ProbedOperator, diagonals: Diagonals, tol: float) -> Violation | None:
    """Return an entry of an operator that differs from another one of its diagonal by more than tol, or None.

    Few columns have an entry on every diagonal, and determine the only matrix with this structure that may be the
    operator's. If a random vector tells them apart, the first row that differs is searched for the entry by bisection.
    """
    table, origins = _read_diagonals(operator, diagonals)
    X = operator.random_vectors()
    sums = np.abs(table).reshape(*diagonals.channels, -1).sum(axis=-1, dtype=np.float64)
    norm = math.sqrt(sums.sum(axis=0).max()) * math.sqrt(sums.sum(axis=1).max())  # at least that of the matrix
    level = operator.rounding(norm, X)

    def differences(part: Array) -> Array:
        return operator.product(part) - _diagonals_product(table, diagonals, part)

    wrong = np.abs(differences(X)).max(axis=1) > level
    if not wrong.any():
        return None
    row, low, high = int(np.argmax(wrong)), 0, operator.shape[1]
    while high - low > 1:
        middle = (low + high) // 2
        part = np.zeros_like(X)
        part[low:middle] = X[low:middle]
        low, high = (low, middle) if np.abs(differences(part)[row]).max() > level else (middle, high)
    value = operator.columns(np.array([low]))[row, 0].item()
    number = int(diagonals.number(row, low))
    expected = table[number].item()
    if abs(value - expected) > tol:
        first = divmod(int(origins[number]), operator.shape[1])
        return Violation(row, low, value, expected, first)
    reason = f"products differ, but entry ({row}, {low}) by no more than tol={tol:g}, so that all entries are needed"
    return first_violation(read_matrix(operator, reason), diagonals, max(tol, operator.rounding(norm, np.ones((1, 1)))))


def _read_diagonals(operator: ProbedOperator, diagonals: Diagonals) -> tuple[Array, NDArray[np.int64]]:
    """Return the entry of each diagonal, by its number, and the place in the matrix at which it was read."""
    sizes = zip(diagonals.rows, diagonals.columns, strict=True)
    levels = [[0] if diagonals.wrapped else sorted({*range(0, n, m), n - 1}) for m, n in sizes]
    inputs = (diagonals.channels[1], *diagonals.columns)
    chosen = np.array(list(itertools.product(range(inputs[0]), *levels)))
    numbers = np.ravel_multi_index(tuple(chosen.T), inputs)
    table = np.zeros(diagonals.count, dtype=operator.dtype)
    origins = np.full(diagonals.count, -1)
    rows = np.arange(operator.shape[0])
    for start in range(0, len(numbers), operator.block):
        some = numbers[start : start + operator.block]
        for column, values in zip(some.tolist(), operator.columns(some).T, strict=True):
            crossed = diagonals.number(rows, column)
            new = origins[crossed] < 0
            table[crossed[new]], origins[crossed[new]] = values[new], rows[new] * operator.shape[1] + column
    return table, origins


def _diagonals_product(table: Array, diagonals: Diagonals, X: Array) -> Array:
    """Return the product of the matrix with these entries on its diagonals with X."""
    entries = table.reshape(*diagonals.channels, *diagonals.radices)[:, ::-1]  # numbers count inputs down
    if diagonals.wrapped:
        entries = entries.copy()
        for level, n in enumerate(diagonals.columns, start=2):
            parts = np.moveaxis(entries, level, 0)
            parts[: n - 1] = parts[n:]
    x = X.reshape(diagonals.channels[1], *diagonals.columns, -1)
    y = np.zeros((diagonals.channels[0], *diagonals.rows, x.shape[-1]), dtype=np.result_type(entries, X))
    nonzero = np.argwhere(entries)
    if y.dtype.kind in "iu" or len(nonzero) <= _FEW_DIAGONALS:
        for outputs, inputs, *digits in nonzero.tolist():
            lags = [digit - n + 1 for digit, n in zip(digits, diagonals.columns, strict=True)]
            sizes = list(zip(lags, diagonals.rows, diagonals.columns, strict=True))
            reached = tuple(slice(max(lag, 0), min(m, n + lag)) for lag, m, n in sizes)
            read = tuple(slice(max(-lag, 0), min(n, m - lag)) for lag, m, n in sizes)
            y[outputs][reached] += entries[outputs, inputs, *digits] * x[inputs][read]
    else:
        shifts = [1 - n for n in diagonals.columns]  # to lag 0 first
        rings = np.roll(entries, shifts, axis=tuple(range(2, entries.ndim)))
        for outputs, inputs in itertools.product(*map(range, diagonals.channels)):
            part = ToeplitzOperator(rings[outputs, inputs], diagonals.rows, diagonals.columns)
            y[outputs] += (part @ x[inputs].reshape(part.shape[1], -1)).reshape(y[outputs].shape)
    return y.reshape(-1, x.shape[-1])
