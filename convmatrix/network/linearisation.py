"""The linearisation of a network at a sample: its Jacobian as an operator and as sparse slabs of rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy import sparse

from convmatrix import memory
from convmatrix import options as validate
from convmatrix.arrays import Array, KeepsReadOnly, read_only
from convmatrix.network.boxes import box_shape, box_size, embed, whole
from convmatrix.network.derivatives import Derivatives
from convmatrix.operator import CheckedOperator

if TYPE_CHECKING:
    from convmatrix.network.construction import Node

_LEAST_MEMORY: Final = 2**26
_MOST_MEMORY: Final = 2**28
"""Least and largest number of bytes of cotangents held at a time."""


class JacobianOperator(CheckedOperator):
    """The Jacobian of a network at a sample as a linear operator, on raveled samples in C order.

    Vectors are converted to its dtype, that of the sample. Made by `Network.linearise`.
    """

    def __init__(self, derivatives: Derivatives) -> None:
        self._derivatives = derivatives
        self._input_shape = derivatives.nodes[0].output_shape
        self._output_shape = derivatives.nodes[-1].output_shape
        self._plan = derivatives.plan(whole(self._output_shape))
        super().__init__(derivatives.dtype, (math.prod(self._output_shape), math.prod(self._input_shape)))

    def _matmat(self, X: Array) -> Array:
        return self._products(X, self._push, self.shape[0])

    def _rmatmat(self, X: Array) -> Array:
        return self._products(X, self._pull, self.shape[1])

    def _push(self, rows: Array) -> Array:
        return self._derivatives.push(rows.reshape(len(rows), *self._input_shape))

    def _pull(self, rows: Array) -> Array:
        gradient = self._derivatives.pull(rows.reshape(len(rows), *self._output_shape), self._plan)
        return embed(gradient, self._plan.input_box, whole(self._input_shape))

    def _products(self, X: Array, multiply: Callable[[Array], Array], size: int) -> Array:
        """Return products with the columns of X, as columns, a few at a time to bound memory use."""
        if not X.shape[1]:
            return np.zeros((size, 0), self.dtype)
        if X.dtype.kind == "c":
            return self._products(X.real, multiply, size) + 1j * self._products(X.imag, multiply, size)
        rows = np.ascontiguousarray(X.astype(self._derivatives.dtype, copy=False).T)
        n = max(_MOST_MEMORY // max(self._plan.peak * self._derivatives.dtype.itemsize, 1), 1)
        parts = [multiply(rows[i : i + n]).reshape(-1, size) for i in range(0, len(rows), n)]
        return np.concatenate(parts).T

    def _described(self, side: int) -> str:
        return f", samples of shape {(self._output_shape, self._input_shape)[side]}"


class Linearisation(KeepsReadOnly):
    r"""A network's output f near a sample x: :math:`f(x') = J x' + c`, on raveled samples.

    Made by `Network.linearise`. If all operations are affine or piecewise linear, the identity holds for every
    :math:`x'` in the linear region of x; otherwise to first order.

    Attributes
    ----------
    operator : scipy.sparse.linalg.LinearOperator, shape (prod(output_shape), prod(input_shape))
        The Jacobian J, without its matrix: ``operator @ v`` and ``operator.T @ w`` cost about as much as an evaluation
        of the network.
    offset : array, shape (prod(output_shape),)
        The constant c = f(x) - J x.
    value : array, shape output_shape
        f(x).
    exact : bool
        Whether the identity holds in the whole linear region, and not only to first order.
    inexact_nodes : tuple of str
        Names of the nodes that make it first order only: products of branches, and smooth functions, but where none
        of their inputs is in the part that is curved: ``hard_swish`` is affine below -3 and above 3.
    shape : (int, int)
    dtype : dtype

    Examples
    --------
    >>> import numpy as np
    >>> import convmatrix as cm
    >>> from convmatrix.network import Convolution, Elementwise, Network
    >>> network = Network([Convolution(cm.ConvGeometry(4, 2), [1, -1], [10]), Elementwise("relu")])
    >>> linear = network.linearise(np.array([[1.0, 2.0, 4.0, 20.0]]))
    >>> linear
    Linearisation(output 'elementwise 2', (1, 4) -> (1, 3), float64, exact)
    >>> linear.rows(0, 3).toarray(), linear.offset
    (array([[ 1., -1.,  0.,  0.],
           [ 0.,  1., -1.,  0.],
           [ 0.,  0.,  0.,  0.]]), array([10., 10.,  0.]))
    """

    def __init__(self, nodes: Sequence[Node], values: Mapping[str, Array]) -> None:
        first, last = nodes[0], nodes[-1]
        self.value: Array = np.array(values[last.name])
        self.value.flags.writeable = False
        self.dtype = self.value.dtype
        self._sample = values[first.name]
        read_only(*values.values())
        self._derivatives = Derivatives(nodes, values, self.dtype)
        self.shape = (math.prod(last.output_shape), math.prod(first.output_shape))
        self.inexact_nodes = tuple(
            node.name
            for node in nodes
            if not node.linear and not node.operation.exact_at([values[source] for source in node.inputs])
        )

    @property
    def exact(self) -> bool:
        """Whether the identity holds in the whole linear region of the sample."""
        return not self.inexact_nodes

    @cached_property
    def operator(self) -> JacobianOperator:
        """The Jacobian as a linear operator."""
        return JacobianOperator(self._derivatives)

    @cached_property
    def offset(self) -> Array:
        """The constant term, f(x) - J x."""
        offset: Array = self.value.ravel() - self.operator.matvec(self._sample.ravel())
        offset.flags.writeable = False
        return offset

    def rows(self, start: int, stop: int) -> Any:
        """Return rows of the Jacobian as a sparse array, computed only from what they read.

        Parameters
        ----------
        start, stop : int
            The rows ``start, ..., stop - 1``: entries of the raveled output.

        Returns
        -------
        scipy.sparse.csr_array, shape (stop - start, prod(input_shape))
            Its indices are sorted. Entries that are exactly 0 are not stored: at a point, the zero slopes of rectifiers
            and of maxima are part of the value.

        Raises
        ------
        ValueError
            If the range is not within the rows.
        MatrixTooLargeError
            If the rows would not fit in memory. The estimate counts every entry that they may read.

        Examples
        --------
        >>> import numpy as np
        >>> import convmatrix as cm
        >>> from convmatrix.network import Convolution, Elementwise, Network
        >>> network = Network([Convolution(cm.ConvGeometry(4, 2), [1, -1]), Elementwise("relu")])
        >>> network.linearise(np.array([[1.0, 4.0, 2.0, 1.0]])).rows(1, 3).toarray()
        array([[ 0.,  1., -1.,  0.],
               [ 0.,  0.,  1., -1.]])
        """
        start, stop = validate.row_range((start, stop), self.shape[0])
        count, n = stop - start, self.shape[1]
        item = self.dtype.itemsize
        budget = min(max(count * n * item, _LEAST_MEMORY), _MOST_MEMORY)
        chunks = self._derivatives.chunks(start, stop, budget)
        most = sum((b - a) * box_size(plan.input_box) for a, b, plan in chunks)
        index = np.dtype(validate.index_dtype(most, n))
        working = max(((b - a) * plan.peak * item for a, b, plan in chunks), default=0)
        memory.require(
            most * (item + index.itemsize) + working,
            f"a slab of {count} rows of the Jacobian, with up to {most} entries,",
            "ask for fewer rows, or multiply by .operator",
        )
        # Memory is taken up only where it is written to, so the unused end costs nothing.
        data, columns = np.empty(most, self.dtype), np.empty(most, index)
        starts, end = np.zeros(count + 1, index), 0
        for a, b, plan in chunks:
            gradient = self._derivatives.pull(self._units(a, b, plan), plan)
            numbers = np.arange(n, dtype=index).reshape(self._sample.shape)[plan.input_box].ravel()
            for row, entries in enumerate(gradient.reshape(b - a, -1), start=a - start + 1):
                stored = np.flatnonzero(entries)
                last = end + len(stored)
                np.take(entries, stored, out=data[end:last])
                np.take(numbers, stored, out=columns[end:last])
                starts[row] = end = last
        data.resize(end, refcheck=False)
        columns.resize(end, refcheck=False)
        slab: Any = sparse.csr_array((data, columns, starts), shape=(count, n))
        slab.has_canonical_format = True
        return slab

    def _units(self, start: int, stop: int, plan: Any) -> Array:
        """Return the cotangents of rows in the box of the plan: a single 1 each."""
        shape, lows = box_shape(plan.box), [part.start for part in plan.box]
        units = np.zeros((stop - start, *shape), self.dtype)
        places = np.unravel_index(np.arange(start, stop), self.value.shape) if self.value.ndim else ()
        units[(np.arange(stop - start), *(place - low for place, low in zip(places, lows, strict=True)))] = 1
        return units

    def __repr__(self) -> str:
        first, last = self._derivatives.nodes[0], self._derivatives.nodes[-1]
        kind = "exact" if self.exact else "first order"
        return f"Linearisation(output {last.name!r}, {first.output_shape} -> {last.output_shape}, {self.dtype}, {kind})"


def linearise(network: Any, x: Array, name: str | None) -> Linearisation:
    """Return the linearisation of a network's node, by default the first output, at one sample."""
    if x.shape not in (network.input_shape, (1, *network.input_shape)):
        raise ValueError(
            f"{network.name} is linearised at one sample of shape {network.input_shape}, but was given an array of "
            f"shape {x.shape}; give one sample"
        )
    part = network.until(network.outputs[0] if name is None else name)
    read = {source for node in part.nodes if not node.linear for source in node.inputs}
    wanted = list(read | {part.input.name, part.outputs[0]})
    sample = np.array(x, dtype=np.float64 if x.dtype.kind in "iub" else x.dtype)  # the caller may go on writing to x
    values = part.values(sample.reshape(1, *network.input_shape), wanted)
    return Linearisation(part.nodes, {name: value[0, ...] for name, value in values.items()})
