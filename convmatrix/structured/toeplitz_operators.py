"""Toeplitz and circulant matrices as linear operators: products and solutions by fast Fourier transforms."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy import fft, linalg, sparse
from scipy.sparse.linalg import LinearOperator

from convmatrix import memory
from convmatrix import options as validate
from convmatrix.operator import SizedOperator
from convmatrix.structured.builders import circulant_embedding, toeplitz_diagonals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from convmatrix.arrays import Array

_LEVINSON_ROWS: Final = 512  # rows up to which Levinson's recursion is the faster solver
_RESTART: Final = 60
_STEPS: Final = 600  # steps of an iterative solver, per refinement
_REFINEMENTS: Final = 4


class ToeplitzOperator(SizedOperator):
    r"""A Toeplitz matrix with any number of levels that multiplies and solves by fast Fourier transforms.

    .. math:: T_{ij} = a_{i - j}, \qquad i \in [0, m_1) \times \cdots \times [0, m_D),
              \quad j \in [0, n_1) \times \cdots \times [0, n_D)

    The matrix is a corner of a circulant one, which the Fourier transform diagonalises: :math:`T = R F^{-1} \hat a F E`
    with E the extension by zeros and R the restriction. A product takes O(N log N) operations and O(N) memory for N
    rows. Its error is relative to the norms of matrix and vector, not to each entry: a small multiple of
    ``eps * log2(N) * max(abs(symbol)) * norm(x)``.

    Create one with `toeplitz_operator`, `circulant_operator` or `doubly_block_toeplitz_operator`. Transposes and
    adjoints are operators of the same kind. Real, complex and single-precision numbers keep their type; integers are
    computed in double precision.

    Parameters
    ----------
    ring : array, one axis per level
        First column of the circulant matrix, whose levels have at least ``rows + columns - 1`` entries, or exactly
        ``rows`` if the operator is circulant itself.
    rows, columns : tuple of int
        Sizes of the levels.

    Attributes
    ----------
    is_circulant : bool
    dims, dimsd : tuple of int
        The levels of the columns and of the rows, which ``pylops.aslinearoperator`` keeps as shapes.
    """

    def __init__(self, ring: Array, rows: tuple[int, ...], columns: tuple[int, ...]) -> None:
        dtype = ring.dtype if ring.dtype.char in "fdFD" else np.result_type(ring.dtype, np.float64)
        if dtype.char not in "fdFD":
            raise TypeError(f"coefficients of dtype {ring.dtype} cannot be transformed; convert them to complex128")
        super().__init__(dtype, (math.prod(rows), math.prod(columns)))
        self.ring = ring.astype(dtype, copy=False)
        self.rows, self.columns = rows, columns
        self._axes = tuple(range(ring.ndim))

    @property
    def dims(self) -> tuple[int, ...]:
        """Shape of the array that the operator multiplies, as in PyLops."""
        return self.columns

    @property
    def dimsd(self) -> tuple[int, ...]:
        """Shape of the product as an array, as in PyLops."""
        return self.rows

    @property
    def is_circulant(self) -> bool:
        """Whether the matrix is circulant on every level."""
        return self.rows == self.columns == self.ring.shape

    @cached_property
    def is_hermitian(self) -> bool:
        """Whether the matrix equals its adjoint."""
        return self.rows == self.columns and np.array_equal(self.ring, self.H.ring)

    @cached_property
    def symbol(self) -> Array:
        """The eigenvalues of the circulant matrix, one axis per level."""
        return np.asarray(fft.fftn(self.ring))

    def _transpose(self) -> ToeplitzOperator:
        reverse = np.ix_(*(-np.arange(size) % size for size in self.ring.shape))
        return ToeplitzOperator(self.ring[reverse], self.columns, self.rows)

    def _adjoint(self) -> ToeplitzOperator:
        transposed = self._transpose()
        return ToeplitzOperator(transposed.ring.conj(), self.columns, self.rows)

    def _matmat(self, X: Array) -> Array:
        dtype = np.result_type(self.dtype, X.dtype)
        if dtype.kind == "c" and self.dtype.kind == "f":  # real transforms of both parts take half the time
            return np.asarray(self._matmat(np.ascontiguousarray(X.real)) + 1j * self._matmat(X.imag))
        samples = X.astype(dtype, copy=False).reshape(*self.columns, -1)
        sizes = self.ring.shape
        transforms: Any = (fft.rfftn, fft.irfftn) if dtype.kind == "f" else (fft.fftn, fft.ifftn)
        forward, inverse = transforms
        spectrum = forward(self.ring.astype(dtype, copy=False)) if dtype != self.dtype else self._spectrum
        product = forward(samples, s=sizes, axes=self._axes)
        product *= spectrum[..., None]
        y = inverse(product, s=sizes, axes=self._axes, overwrite_x=True)
        corner = tuple(map(slice, self.rows))
        return np.asarray(np.ascontiguousarray(y[corner]).reshape(self.shape[0], -1))

    @cached_property
    def _spectrum(self) -> Array:
        transform: Any = fft.rfftn if self.dtype.kind == "f" else fft.fftn
        return np.asarray(transform(self.ring))

    # --- solutions ---------------------------------------------------------------------------------------------------

    def solve(self, b: ArrayLike, *, tol: float | None = None) -> Array:
        r"""Return x with T x = b, for a square matrix.

        A circulant matrix is inverted in the frequency domain. Other matrices with one level and at most 512 rows are
        solved by Levinson's recursion (`scipy.linalg.solve_toeplitz`). All others, and those for which the recursion
        is inaccurate, are solved by conjugate gradients if all eigenvalues of the circulant matrix are positive, which
        implies that T is positive definite, and by GMRES otherwise. The preconditioner is the nearest circulant
        matrix (T. Chan, An optimal circulant preconditioner for Toeplitz systems, 1988).

        Parameters
        ----------
        b : array_like, shape (n,) or (n, batch)
        tol : float, optional
            Largest residual of the result, :math:`\|b - T x\| \le tol \, \|b\|`, for each column. By default 1e-10, or
            1e-5 in single precision. The error of x is at most this times the condition number.

        Raises
        ------
        ValueError
            If the matrix is not square, or b has the wrong length.
        numpy.linalg.LinAlgError
            If a circulant matrix is singular, or the residual is not reached.

        Examples
        --------
        >>> T = toeplitz_operator([2.0, -1.0], shape=(4, 4))
        >>> T.solve([1, 0, 0, 1]).round(12)
        array([1., 1., 1., 1.])
        """
        right = np.asarray(b)
        if self.rows != self.columns:
            raise ValueError(f"a matrix with levels {self.rows} x {self.columns} is not square; solve least squares")
        if right.ndim not in (1, 2) or len(right) != self.shape[0]:
            raise ValueError(f"b has shape {right.shape}, but the matrix is {self.shape[0]} x {self.shape[1]}")
        dtype = np.result_type(self.dtype, right.dtype)
        if tol is None:
            tol = 1e-5 if dtype.char in "fF" else 1e-10
        columns = right.astype(dtype, copy=False).reshape(len(right), -1)
        solution = np.zeros_like(columns)
        residual, scale = columns.copy(), np.linalg.norm(columns, axis=0)
        for attempt in range(_REFINEMENTS):
            unsolved = np.flatnonzero(np.linalg.norm(residual, axis=0) > tol * scale)
            if not len(unsolved):
                break
            with np.errstate(over="ignore", invalid="ignore"):  # columns that fail are discarded
                refined = solution[:, unsolved] + self._solve_once(residual[:, unsolved], tol, direct=attempt == 0)
                remaining = columns[:, unsolved] - self @ refined
                better = np.linalg.norm(remaining, axis=0) < np.linalg.norm(residual[:, unsolved], axis=0)
            solution[:, unsolved[better]], residual[:, unsolved[better]] = refined[:, better], remaining[:, better]
        worst = float((np.linalg.norm(residual, axis=0) / np.where(scale > 0, scale, 1)).max(initial=0))
        if not worst <= tol:
            raise np.linalg.LinAlgError(
                f"the relative residual of a {self.shape[0]} x {self.shape[1]} Toeplitz system is {worst:.1e}, but "
                f"tol={tol:.1e}; the matrix may be singular or badly conditioned: raise tol, or regularise"
            )
        return solution.reshape(right.shape)

    def _solve_once(self, right: Array, tol: float, *, direct: bool) -> Array:
        """Return an approximate solution."""
        if self.is_circulant:
            return self._inverse_circulant(right, self.symbol, "the circulant matrix")
        if direct and len(self.rows) == 1 and self.shape[0] <= _LEVINSON_ROWS:
            ring, n = self.ring, self.shape[0]
            try:
                return np.asarray(linalg.solve_toeplitz((ring[:n], ring[-np.arange(n)]), right)).astype(right.dtype)
            except np.linalg.LinAlgError:  # a leading principal minor is zero, which does not make T singular
                return np.zeros_like(right)
        symbol = self._nearest_circulant
        small = np.abs(symbol) < 1e-6 * np.abs(symbol).max(initial=1e-300)
        symbol = np.where(small, np.abs(symbol).max(initial=1e-300), symbol)
        preconditioner: Any = LinearOperator(
            self.shape,
            matvec=lambda r: self._inverse_circulant(r.reshape(-1, 1), symbol, "the nearest circulant matrix").ravel(),
            dtype=right.dtype,
        )
        solve: Any = sparse.linalg.gmres
        limits = {"restart": _RESTART, "maxiter": _STEPS // _RESTART}
        if self.is_hermitian and self.symbol.real.min() > 0:
            solve, limits = sparse.linalg.cg, {"maxiter": _STEPS}
        found = [solve(self, column, rtol=tol / 4, M=preconditioner, **limits)[0] for column in right.T]
        return np.stack(found, axis=1).astype(right.dtype)

    @cached_property
    def _nearest_circulant(self) -> Array:
        """The eigenvalues of the circulant matrix that is nearest to T in the Frobenius norm."""
        column = self.ring
        for axis, size in enumerate(self.rows):
            lags = np.arange(size)
            ahead, behind = (column.take(places, axis=axis, mode="wrap") for places in (lags, lags - size))
            share = (lags / size).reshape(-1, *(1,) * (column.ndim - axis - 1))
            column = (1 - share) * ahead + share * behind
        return np.asarray(fft.fftn(column))

    def _inverse_circulant(self, right: Array, symbol: Array, name: str) -> Array:
        """Return the circulant matrix with these eigenvalues, inverted, times the columns."""
        least, largest = float(np.abs(symbol).min()), float(np.abs(symbol).max())
        if least <= np.finfo(symbol.dtype).eps * largest:
            raise np.linalg.LinAlgError(
                f"{name} is singular: its eigenvalue of least modulus is {least:.1e}, and the largest is {largest:.1e}"
            )
        spectrum = fft.fftn(right.reshape(*self.rows, -1), axes=self._axes)
        spectrum /= symbol[..., None]
        x = fft.ifftn(spectrum, axes=self._axes, overwrite_x=True).reshape(right.shape)
        return np.asarray(x if np.result_type(self.dtype, right.dtype).kind == "c" else x.real)


def toeplitz_operator(
    column: ArrayLike, row: ArrayLike | None = None, shape: tuple[int, int] | None = None
) -> ToeplitzOperator:
    r"""Return the Toeplitz matrix with a given first column and first row as a linear operator.

    Products take O(n log n) operations and O(n) memory, where the matrix of a full column has :math:`n^2` entries.

    Parameters
    ----------
    column, row, shape
        As for `toeplitz`, whose matrix this is.

    Returns
    -------
    ToeplitzOperator
        A SciPy linear operator, with a method ``solve``.

    See Also
    --------
    toeplitz : The same matrix, stored; better if there are few diagonals.

    Examples
    --------
    >>> import numpy as np
    >>> T = toeplitz_operator(1 / np.arange(1.0, 100_001))
    >>> (T @ np.ones(100_000)).round(6)[:2]
    array([12.090146, 12.590136])
    """
    below, above, rows, columns = toeplitz_diagonals(column, row, shape)
    size = fft.next_fast_len(rows + columns - 1, real=True)
    ring = np.zeros(size, dtype=np.result_type(below, above))
    memory.require(
        6 * ring.nbytes, f"the transform of a {rows} x {columns} Toeplitz matrix", "use toeplitz for few diagonals"
    )
    ring[: len(below)] = below
    ring[size - len(above) + 1 :] = above[:0:-1]
    return ToeplitzOperator(ring, (rows,), (columns,))


def circulant_operator(column: ArrayLike) -> ToeplitzOperator:
    r"""Return the circulant matrix with a given first column as a linear operator, with one level per axis.

    Parameters
    ----------
    column : array_like
        The first column, :math:`c_{i - j}` taken modulo its shape on every level.

    See Also
    --------
    circulant, doubly_block_circulant : The same matrices, stored.

    Examples
    --------
    >>> C = circulant_operator([4.0, 1.0, 0.0, 1.0])
    >>> C.solve([6, 6, 6, 6]).round(12)
    array([1., 1., 1., 1.])
    """
    ring = np.asarray(column)
    if not ring.ndim or not ring.size:
        raise ValueError(f"column must have at least one axis and one entry, but has shape {ring.shape}")
    return ToeplitzOperator(ring, ring.shape, ring.shape)


def doubly_block_toeplitz_operator(
    coefficients: ArrayLike, shape: int | Sequence[int], *, origin: int | Sequence[int] | None = None
) -> ToeplitzOperator:
    """Return the block Toeplitz matrix with Toeplitz blocks as a linear operator, with one level per entry of shape.

    Parameters
    ----------
    coefficients, shape, origin
        As for `doubly_block_toeplitz`, without channels (`convmatrix.ConvOperator` has channels).

    Examples
    --------
    >>> T = doubly_block_toeplitz_operator([[0, 1, 0], [1, -4, 1], [0, 1, 0]], (2, 2))
    >>> T @ [1, 0, 0, 0]
    array([-4.,  1.,  1.,  0.])
    """
    sizes = validate.shape("shape", shape)
    array = np.asarray(coefficients)
    if array.ndim != len(sizes):
        raise ValueError(
            f"the coefficients have shape {array.shape}, but shape={sizes} has {len(sizes)} levels; give one axis per "
            "level, and use ConvOperator for channels"
        )
    rings = tuple(fft.next_fast_len(2 * size - 1, real=True) for size in sizes)
    memory.require(
        6 * math.prod(rings) * max(array.itemsize, 8),
        f"the transform of a Toeplitz matrix with levels {sizes}",
        "use doubly_block_toeplitz for few diagonals",
    )
    return ToeplitzOperator(circulant_embedding(array, sizes, origin=origin, sizes=rings), sizes, sizes)
