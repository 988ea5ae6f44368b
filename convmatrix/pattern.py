"""The sparse tensor T of a layer, y_i = sum_jk T[i,j,k] x_j w_k, and its contractions."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import sparse

from convmatrix import memory
from convmatrix import options as validate
from convmatrix._assembly.fill import assemble_triplets
from convmatrix._assembly.rows import Plan, RowTable, axis_rows, table_size
from convmatrix.arrays import KeepsReadOnly, accumulate, gather, read_only, real_coefficients, starts_of_runs
from convmatrix.arrays import array as as_array
from convmatrix.arrays import numbers as as_numbers
from convmatrix.options import index_dtype, instance, integer, weight_array, weight_mask
from convmatrix.sparse_formats import as_format

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from convmatrix.geometry import ConvGeometry


class _SharedEntries(NamedTuple):
    """Entries of a matrix to which several triplets contribute: the first of each entry, and the other ones."""

    first: NDArray[np.integer]  # weight
    entries: NDArray[np.integer]  # entry of the matrix
    others: NDArray[np.integer]  # weight
    factors: tuple[NDArray[Any], NDArray[Any]] | None  # coefficients of both


class Separated(NamedTuple):
    """The products of coefficients and weights of a pattern, numbered; see `WeightPattern.separated`."""

    pattern: WeightPattern
    weights: NDArray[np.integer]  # of each product
    factors: NDArray[Any]  # coefficient of each product


@dataclass(frozen=True, eq=False, repr=False)
class WeightPattern(KeepsReadOnly):
    r"""The index pattern of a bilinear layer: where each weight occurs in its matrix, for all weights.

    .. math:: y_i = \sum_{j,k} T_{ijk} \, x_j \, w_k

    T is stored as triplets (i, j, k), sorted by row, column and weight, with their coefficients, which are 1 unless
    stated. Contracting it with the weights gives the matrix :math:`A(w)`, with the input the Jacobian
    :math:`\partial y / \partial w`, and with the input and the output gradient the weight gradient. Several weights
    may occur at one entry of the matrix, for instance with a circular boundary; they add up.

    Create one with `ConvGeometry.pattern` or `WeightPattern.from_triplets`.

    Attributes
    ----------
    shape : (int, int)
        Shape (n_out, n_in) of the matrix.
    weight_shape : tuple of int
        Shape of the weights, to which ``weight_index`` refers in C order.
    row_starts : array of int, shape (n_out + 1,)
        Row i holds the triplets ``row_starts[i] : row_starts[i + 1]``.
    cols, weight_index : arrays of int, shape (n_entries,)
        Column and weight of each triplet.
    geometry : ConvGeometry or None
        The originating layer, if any.
    coefficients : array, shape (n_entries,), or None
        The entry of T at each triplet, a fixed number rather than a weight: an integer for layers with a signed
        boundary, any real number for a fixed linear layer. None if all are 1. Results have the dtype of the weights or
        samples that are multiplied, or float64 if those are integers and the coefficients are not.

    Examples
    --------
    >>> import convmatrix as cm
    >>> pattern = cm.ConvGeometry(3, 3, padding="same", boundary="reflect").pattern()
    >>> pattern
    WeightPattern(shape=(3, 3), weight_shape=(1, 1, 3), n_entries=9)
    >>> pattern.matrix([1, 10, 100]).toarray()
    array([[ 10, 101,   0],
           [  1,  10, 100],
           [  0, 101,  10]])
    >>> pattern = cm.ConvGeometry(3, 3, padding="same", boundary="antireflect").pattern()
    >>> pattern.coefficients
    array([ 2,  1, -1,  1,  1,  1,  1,  1, -1,  1,  2])
    >>> pattern.matrix([1, 10, 100]).toarray()
    array([[ 12,  99,   0],
           [  1,  10, 100],
           [  0, -99, 210]])
    """

    shape: tuple[int, int]
    weight_shape: tuple[int, ...]
    row_starts: NDArray[np.integer]
    cols: NDArray[np.integer]
    weight_index: NDArray[np.integer]
    geometry: ConvGeometry | None = None
    coefficients: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        for name in ("row_starts", "cols", "weight_index"):
            instance(name, getattr(self, name), np.ndarray, "WeightPattern.from_triplets makes patterns of lists")
        if self.coefficients is not None:
            object.__setattr__(self, "coefficients", real_coefficients(self.coefficients, len(self.cols)))
        for name in ("row_starts", "cols", "weight_index", "coefficients"):
            array = getattr(self, name)
            if array is not None and array.flags.writeable:  # the caller's, who may go on writing to it
                object.__setattr__(self, name, array := array.copy())
                read_only(array)

    @classmethod
    def from_triplets(
        cls,
        shape: Sequence[int],
        rows: ArrayLike,
        cols: ArrayLike,
        weight_index: ArrayLike,
        weight_shape: int | Sequence[int],
        coefficients: ArrayLike | None = None,
    ) -> WeightPattern:
        """Return the pattern with the given triplets, in any order; a repeated triplet counts once per occurrence.

        Parameters
        ----------
        shape : (int, int)
            Shape (n_out, n_in) of the matrix.
        rows, cols, weight_index : array_like of int, shape (n_entries,)
        weight_shape : int or sequence of int
        coefficients : array_like of real numbers, shape (n_entries,), optional
            The entry of T at each triplet; 1 by default.

        Raises
        ------
        ValueError, TypeError
            If lengths differ, an index is out of range, or a coefficient is not a finite real number.

        Examples
        --------
        >>> pattern = WeightPattern.from_triplets((2, 2), rows=[0, 1], cols=[0, 1], weight_index=[0, 0], weight_shape=1)
        >>> pattern.matrix([5]).toarray()
        array([[5, 0],
               [0, 5]])
        >>> differences = WeightPattern.from_triplets(
        ...     (2, 3), rows=[0, 0, 1, 1], cols=[0, 1, 1, 2], weight_index=[0] * 4, weight_shape=1,
        ...     coefficients=[-1, 1, -1, 1])
        >>> differences.matrix([5]).toarray()
        array([[-5,  5,  0],
               [ 0, -5,  5]])
        """
        if not (hasattr(shape, "__len__") and len(shape) == 2):
            raise TypeError(f"shape must be a pair (n_out, n_in), but is {shape!r:.60}")
        n_out, n_in = (integer(f"shape[{axis}]", size, minimum=0) for axis, size in enumerate(shape))
        rows = as_array("rows", rows)
        memory.require(
            8 * n_out + 40 * rows.size,
            f"a pattern of {n_out} rows and {rows.size} triplets",
            "use fewer rows: each takes 8 bytes, also without entries",
        )
        sizes = tuple(integer("weight_shape", size, 0) for size in np.atleast_1d(np.asarray(weight_shape)).tolist())
        named = {"rows": (rows, n_out), "cols": (cols, n_in), "weight_index": (weight_index, math.prod(sizes))}
        arrays = {}
        for name, (values, bound) in named.items():
            array = as_array(name, values)
            if array.size == 0:
                array = array.astype(np.int64)
            if array.ndim != 1 or array.dtype.kind not in "iu":
                raise ValueError(f"{name} must be one-dimensional integers, but has shape {array.shape}, {array.dtype}")
            if array.size and (array.min() < 0 or array.max() >= bound):
                raise ValueError(
                    f"{name} runs from {array.min()} to {array.max()}, but must lie in 0 .. {bound - 1} "
                    f"(shape={(n_out, n_in)}, weight_shape={sizes})"
                )
            arrays[name] = array
        lengths = {name: len(array) for name, array in arrays.items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"triplets need arrays of equal length, but got {lengths}")
        keys = [arrays["weight_index"], arrays["cols"], arrays["rows"]]
        factors = None if coefficients is None else real_coefficients(coefficients, len(keys[0]))
        order = np.lexsort(keys if factors is None else [factors, *keys])
        dtype = index_dtype(n_out, n_in, len(order))
        starts = np.zeros(n_out + 1, dtype=dtype)
        np.cumsum(np.bincount(arrays["rows"].astype(np.int64), minlength=n_out), out=starts[1:])
        columns: NDArray[np.integer] = arrays["cols"][order].astype(dtype)
        weights: NDArray[np.integer] = arrays["weight_index"][order].astype(index_dtype(math.prod(sizes)))
        read_only(starts, columns, weights)
        if factors is not None:
            factors = None if factors.dtype.kind == "i" and (factors == 1).all() else factors[order]
        return cls((n_out, n_in), sizes, starts, columns, weights, coefficients=factors)

    @property
    def n_weights(self) -> int:
        """Number of weights."""
        return math.prod(self.weight_shape)

    @cached_property
    def separated(self) -> Separated:
        """The distinct products of a coefficient and a weight, as weights of a pattern without coefficients.

        It is the pattern itself if all coefficients are 1. Two patterns are the same tensor T if and only if these are.

        Examples
        --------
        >>> import convmatrix as cm
        >>> pattern = cm.ConvGeometry(2, 2, padding=[(1, 0)], boundary="antisymmetric").pattern()
        >>> pattern.separated.weights, pattern.separated.factors
        (array([0, 0, 1]), array([-1,  1,  1]))
        >>> pattern.separated.pattern.weight_index
        array([0, 2, 1, 2], dtype=int32)
        """
        if self.coefficients is None:
            weights = np.arange(self.n_weights)
            return Separated(self, weights, np.ones(len(weights), dtype=np.int64))
        rows, columns, index = (array.astype(np.int64) for array in (self.rows, self.cols, self.weight_index))
        starts = np.flatnonzero(starts_of_runs(rows, columns, index))  # repeated triplets are added
        sums = np.add.reduceat(self.coefficients, starts) if len(starts) else self.coefficients
        kept = starts[sums != 0]
        factors = sums[sums != 0]
        order = np.lexsort((factors, index[kept]))
        weights, sorted_factors = index[kept][order], factors[order]
        first = starts_of_runs(weights, sorted_factors)
        numbers = np.empty(len(order), dtype=np.int64)
        numbers[order] = np.cumsum(first) - 1
        shape = (int(first.sum()),)
        pattern = WeightPattern.from_triplets(self.shape, rows[kept], columns[kept], numbers, shape)
        return Separated(pattern, weights[first], sorted_factors[first])

    @property
    def n_entries(self) -> int:
        """Number of triplets."""
        return len(self.cols)

    @cached_property
    def rows(self) -> NDArray[np.integer]:
        """Row of each triplet, shape (n_entries,)."""
        rows = np.repeat(np.arange(self.shape[0], dtype=self.cols.dtype), np.diff(self.row_starts))
        read_only(rows)
        return rows

    # --- coefficients ------------------------------------------------------------------------------------------------

    def scaled(self, values: NDArray[Any], triplets: slice | NDArray[np.integer] | None = None) -> NDArray[Any]:
        """Return one value (or row of values) per triplet, times the coefficients.

        The dtype remains that of the values, except for integers times real coefficients, which give float64. A part
        of the triplets is given by ``triplets``.

        Examples
        --------
        >>> import convmatrix as cm
        >>> pattern = cm.ConvGeometry(2, 2, padding=[(1, 0)], boundary="antisymmetric").pattern()
        >>> weights = np.array([1.0, 10.0])
        >>> pattern.scaled(weights[pattern.weight_index])
        array([-1., 10.,  1., 10.])
        """
        if self.coefficients is None:
            return values
        factors = self.coefficients if triplets is None else self.coefficients[triplets]
        dtype = self._product_dtype(values.dtype)
        return np.asarray(values * factors.reshape(-1, *(1,) * (values.ndim - 1)).astype(dtype), dtype)

    def _product_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return the dtype of numbers times coefficients."""
        if self.coefficients is None or dtype.kind in "fc":
            return dtype
        if self.coefficients.dtype.kind == "f":
            return np.dtype(np.float64)
        if dtype.kind not in "i" and len(self.coefficients) and self.coefficients.min() < 0:
            raise TypeError(
                f"the pattern has negative coefficients, whose products dtype {dtype} does not hold; convert the array "
                "to a signed type, for instance with .astype(int)"
            )
        return dtype if dtype.kind in "iu" else np.dtype(np.int64)

    # --- contractions ------------------------------------------------------------------------------------------------

    def matrix(self, weights: ArrayLike, *, format: str = "csr") -> Any:
        r"""Return the matrix :math:`A(w)_{ij} = \sum_k T_{ijk} w_k`, shape (n_out, n_in).

        Parameters
        ----------
        weights : array_like, shape `weight_shape` or flat
            The result has their dtype. A weight of zero keeps its stored entries.
        format : {"csr", "csc", "coo", "dia", "bsr"}

        Returns
        -------
        scipy.sparse array
            In CSR format the index arrays are those of the pattern, and read-only; copy the matrix before calling
            methods that drop stored entries (``eliminate_zeros``).

        Examples
        --------
        >>> import convmatrix as cm
        >>> cm.ConvGeometry(3, 2).pattern().matrix([0.0, 2.0]).nnz
        4
        """
        values = self.values(weights)
        starts, columns, _ = self._entries
        matrix = sparse.csr_array((values, columns, starts), shape=self.shape)
        matrix.has_canonical_format = True
        return as_format(matrix, format)

    def values(self, weights: ArrayLike, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the stored values of `matrix` in CSR order, for updating the weights of an existing matrix.

        Parameters
        ----------
        weights : array_like, shape `weight_shape` or flat
        out : array, optional
            Array to write to and return, for instance the ``.data`` of an existing matrix.

        Examples
        --------
        >>> import convmatrix as cm
        >>> pattern = cm.ConvGeometry(3, 2).pattern()
        >>> A = pattern.matrix([1.0, 2.0])
        >>> _ = pattern.values([3.0, 4.0], out=A.data)
        >>> A.toarray()
        array([[3., 4., 0.],
               [0., 3., 4.]])
        """
        flat = weight_array(weights, self.weight_shape, self.geometry).reshape(-1)
        flat = flat.astype(self._product_dtype(flat.dtype), copy=False)
        _, columns, sums = self._entries
        if out is not None and (out.shape != columns.shape or out.dtype != flat.dtype):
            raise ValueError(
                f"out has shape {out.shape} and dtype {out.dtype}, but the values have {columns.shape} and {flat.dtype}"
            )
        if sums is None:
            values = gather(flat, self.weight_index, np.empty(columns.shape, flat.dtype) if out is None else out)
            if self.coefficients is None:
                return values
            places, factors = self._other_than_one
            values[places] *= factors.astype(flat.dtype)
        else:
            values = flat.take(sums.first, out=out, mode="clip")
            others = flat[sums.others]
            if sums.factors is not None:
                values *= sums.factors[0].astype(flat.dtype)
                others *= sums.factors[1].astype(flat.dtype)
            np.add.at(values, sums.entries, others)
        if validate.may_overflow(flat, self._most_terms):
            validate.require_no_overflow(values, self.values(flat.astype(np.float64)))
        return values

    @cached_property
    def _most_terms(self) -> float:
        """The largest sum of the moduli of the coefficients of one entry of the matrix."""
        sums = self._entries[2]
        if sums is None:
            return float(np.abs(self._other_than_one[1]).max(initial=1))
        first, others = (1, None) if sums.factors is None else map(np.abs, sums.factors)
        return float((first + np.bincount(sums.entries, others, len(sums.first))).max(initial=1))

    @cached_property
    def _other_than_one(self) -> tuple[NDArray[np.intp], NDArray[Any]]:
        """The triplets whose coefficient is not 1, and these coefficients."""
        factors = np.ones(0) if self.coefficients is None else self.coefficients
        places = np.flatnonzero(factors != 1)
        return places, factors[places]

    @cached_property
    def _entries(self) -> tuple[NDArray[np.integer], NDArray[np.integer], _SharedEntries | None]:
        """The entries of the matrix: row starts, columns, and the sums of weights, or None if no entry has several."""
        repeated = self.cols[1:] == self.cols[:-1]
        starts = np.asarray(self.row_starts[1:-1])
        inner = starts[(starts > 0) & (starts < self.n_entries)]
        repeated[inner - 1] = False
        if not repeated.any():
            return self.row_starts, self.cols, None
        first = np.concatenate([[True], ~repeated])
        entry = np.cumsum(first) - 1  # (n_entries,): the matrix entry of each triplet
        counts = np.concatenate([[0], np.cumsum(first)])
        others = np.flatnonzero(~first)
        factors = None if self.coefficients is None else (self.coefficients[first], self.coefficients[others])
        sums = _SharedEntries(self.weight_index[first], entry[others], self.weight_index[others], factors)
        merged = counts[self.row_starts].astype(self.cols.dtype), self.cols[first]
        read_only(*merged)
        return *merged, sums

    def jacobian(self, x: ArrayLike, *, format: str = "csr") -> Any:
        r"""Return the Jacobian of the output with respect to the weights, :math:`J_{ik} = \sum_j T_{ijk} x_j` (im2col).

        Parameters
        ----------
        x : array_like of n_in numbers
            Of any shape, flattened in C order.
        format : {"csr", "csc", "coo", "dia", "bsr"}

        Returns
        -------
        scipy.sparse array, shape (n_out, n_weights)
            ``jacobian(x) @ w.ravel()`` is ``matrix(w) @ x``. A sample of zero keeps its stored entries.

        Examples
        --------
        >>> import convmatrix as cm
        >>> cm.ConvGeometry(4, 2).pattern().jacobian([1, 2, 3, 4]).toarray()
        array([[1, 2],
               [2, 3],
               [3, 4]])
        """
        samples = self._vector("x", x, self.shape[1])
        dtype = index_dtype(self.shape[0], self.n_weights, self.n_entries)
        matrix = sparse.csr_array(
            (self.scaled(samples[self.cols]), self.weight_index.astype(dtype), self.row_starts.astype(dtype)),
            shape=(self.shape[0], self.n_weights),
        )
        matrix.sum_duplicates()  # sorts, and keeps explicit zeros
        return as_format(matrix, format)

    def weight_gradient(self, x: ArrayLike, gradient: ArrayLike) -> NDArray[Any]:
        r"""Return the weight gradient, :math:`(dL/dw)_k = \sum_{ij} T_{ijk} x_j g_i` with :math:`g = dL/dy`.

        This is the contraction ``jacobian(x).T @ g``; for complex data the adjoint is ``weight_gradient(x.conj(), g)``.
        Goodfellow, Bengio, Courville, Deep Learning (2016), eq. 9.11.

        Parameters
        ----------
        x : array_like of n_in numbers, or of shape (n_in, batch)
        gradient : array_like of n_out numbers, or of shape (n_out, batch)
            One sample of any shape, flattened in C order, or one sample per column; the gradients of the samples are
            added. Sums of integers that exceed the range of their dtype wrap around.

        Returns
        -------
        array, shape `weight_shape`

        Examples
        --------
        >>> import convmatrix as cm
        >>> cm.ConvGeometry(4, 2).pattern().weight_gradient([1, 2, 3, 4], [1, 0, -1])
        array([[[-2, -2]]])
        """
        samples, cotangent = self._columns("x", x, self.shape[1]), self._columns("gradient", gradient, self.shape[0])
        if samples.shape[1:] != cotangent.shape[1:]:
            raise ValueError(
                f"x is a batch of {samples.shape[1:]}, but gradient is one of {cotangent.shape[1:]}; make them equal"
            )
        dtype = self._product_dtype(np.result_type(samples, cotangent))
        total = np.zeros(self.n_weights, dtype=dtype)
        block = max(2**20 // max(samples.shape[-1], 1), 1) if samples.ndim == 2 else 2**20
        for start in range(0, self.n_entries, block):  # in blocks, to bound memory use
            block_entries = slice(start, start + block)
            products = samples[self.cols[block_entries]], cotangent[self.rows[block_entries]]
            inner = np.multiply(*products) if samples.ndim == 1 else np.einsum("eb,eb->e", *products)
            inner = self.scaled(inner.astype(dtype, copy=False), block_entries)
            accumulate(total, self.weight_index[block_entries], inner)
        return total.reshape(self.weight_shape)

    def tap(self, weight: int | Sequence[int]) -> Any:
        r"""Return the matrix :math:`P_k` that multiplies one weight: :math:`A(w) = \sum_k w_k P_k`.

        Parameters
        ----------
        weight : int or sequence of int
            The weight as a flat index, or as an index into `weight_shape`.

        Returns
        -------
        scipy.sparse.csr_array of int64 (of the dtype of real coefficients), shape (n_out, n_in)

        Examples
        --------
        >>> import convmatrix as cm
        >>> cm.ConvGeometry(3, 2).pattern().tap(1).toarray()
        array([[0, 1, 0],
               [0, 0, 1]])
        """
        index = self._flat_weight(weight)
        chosen = np.flatnonzero(self.weight_index == index)
        starts = np.searchsorted(chosen, self.row_starts).astype(self.cols.dtype)
        ones = np.ones(len(chosen), dtype=np.int64)
        matrix = sparse.csr_array((self.scaled(ones, chosen), self.cols[chosen], starts), shape=self.shape)
        matrix.sum_duplicates()
        return matrix

    def restrict(self, footprint: ArrayLike) -> WeightPattern:
        """Return the pattern of the layer that has only some of the weights, such as a five-point stencil.

        Parameters
        ----------
        footprint : array_like of bool
            Which weights there are: of the shape of the last axes of `weight_shape`, the kernel's for instance, or of
            all of them.

        Returns
        -------
        WeightPattern
            Its weights are ``weights[..., footprint]``, and its `geometry` is None.

        Examples
        --------
        >>> import convmatrix as cm
        >>> cross = [[0, 1, 0], [1, 1, 1], [0, 1, 0]]
        >>> cm.ConvGeometry((4, 4), (3, 3), padding="same").pattern().restrict(cross)
        WeightPattern(shape=(16, 16), weight_shape=(1, 1, 5), n_entries=64)
        """
        mask = weight_mask(footprint, self.weight_shape)
        chosen = np.broadcast_to(mask, self.weight_shape).ravel()
        kept = np.flatnonzero(chosen.take(self.weight_index, mode="clip"))
        numbers = (np.cumsum(chosen) - 1).astype(self.weight_index.dtype)
        starts = np.searchsorted(kept, self.row_starts).astype(self.row_starts.dtype)
        columns, weights = self.cols.take(kept), numbers.take(self.weight_index.take(kept))
        coefficients = None if self.coefficients is None else self.coefficients.take(kept)
        read_only(starts, columns, weights, coefficients)
        return replace(
            self,
            weight_shape=(*self.weight_shape[: -mask.ndim], int(mask.sum())),
            row_starts=starts,
            cols=columns,
            weight_index=weights,
            coefficients=coefficients,
            geometry=None,
        )

    def _flat_weight(self, weight: int | Sequence[int]) -> int:
        multi = tuple(np.atleast_1d(np.asarray(weight)).tolist())
        sizes = (self.n_weights,) if np.ndim(weight) == 0 else self.weight_shape
        if len(multi) != len(sizes) or not all(
            isinstance(i, int) and 0 <= i < n for i, n in zip(multi, sizes, strict=True)
        ):
            raise IndexError(
                f"weight {weight!r} does not exist; give a flat index below {self.n_weights}, or one into "
                f"weight_shape={self.weight_shape}"
            )
        return int(np.ravel_multi_index(multi, sizes))

    @staticmethod
    def _columns(name: str, values: ArrayLike, size: int) -> NDArray[Any]:
        """Return one sample as a vector, or a batch of samples as columns."""
        array = as_numbers(name, values)
        if array.ndim == 2 and array.shape[0] == size and array.size != size:
            return array
        return WeightPattern._vector(name, array, size)

    @staticmethod
    def _vector(name: str, values: ArrayLike, size: int) -> NDArray[Any]:
        array = as_numbers(name, values)
        if array.size != size:
            raise ValueError(f"{name} has {array.size} entries (shape {array.shape}), but the layer needs {size}")
        return array.reshape(-1)

    # --- representations ---------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return f"WeightPattern(shape={self.shape}, weight_shape={self.weight_shape}, n_entries={self.n_entries})"

    def _repr_html_(self) -> str:
        from convmatrix.display import pattern_html

        return pattern_html(self)


def layer_pattern(geometry: ConvGeometry, rows: tuple[int, int] | None = None) -> WeightPattern:
    """Return the pattern of a layer, see `ConvGeometry.pattern`, or of a range of its rows.

    Raises
    ------
    MatrixTooLargeError
        If the triplets would not fit in memory.
    """
    first, stop = (0, geometry.n_out) if rows is None else rows
    plan = Plan(geometry, "C", by_column=False, merge=False, rows=(first, stop))
    entries = plan.count()
    index_size = np.dtype(index_dtype(entries, geometry.n_out, geometry.n_in)).itemsize
    weight_dtype = index_dtype(geometry.n_weights)
    n_bytes = entries * (index_size + np.dtype(weight_dtype).itemsize) + (stop - first + 1) * index_size
    if geometry.has_coefficients:
        n_bytes += 16 * entries  # coefficients, and their numbers while they are assembled
    memory.require(
        n_bytes,
        f"the pattern of {geometry!r} with {entries} entries",
        "use ConvOperator, which forms no matrix, or conv_matrix with rows= for a slab",
    )
    starts, columns, weights, factors = assemble_triplets(plan)
    read_only(starts, columns, weights, factors)  # so that they are not copied
    shape, of = (stop - first, geometry.n_in), geometry if rows is None else None
    return WeightPattern(shape, geometry.weight_shape, starts, columns, weights, of, factors)


def distinct_rows(geometry: ConvGeometry, most: float = math.inf) -> RowTable | None:
    """Return the rows of a layer with one axis and one channel, each of the distinct ones listed once.

    Returns None if they have more than ``most`` entries.
    """
    (axis,) = geometry.axes
    rows = 0, geometry.n_out
    if table_size(axis, *rows, by_sample=geometry.transposed) > most:
        return None
    return axis_rows(axis, *rows, by_sample=geometry.transposed, merge=False)
