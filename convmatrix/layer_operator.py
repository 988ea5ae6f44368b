"""What a layer's linear operator, its transpose, its adjoint and its conjugate have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import issparse
from scipy.sparse.linalg import LinearOperator

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convmatrix.operator import ConvOperator

    Array = NDArray[Any]
    _LinearOperator = LinearOperator[Any]
else:
    _LinearOperator = LinearOperator  # subscripts are for type checkers only


class LayerOperator(_LinearOperator, ABC):
    """The operator of a layer, transposed or not and conjugated or not."""

    def __init__(
        self, dtype: np.dtype[Any], shape: tuple[int, int], *, transposed: bool = False, conjugated: bool = False
    ) -> None:
        initialise: Any = super().__init__  # which SciPy's stubs leave out
        initialise(dtype, shape)
        self.transposed = transposed
        self.conjugated = conjugated

    @property
    @abstractmethod
    def layer(self) -> ConvOperator:
        """The layer's own operator, neither transposed nor conjugated."""

    def _adjoint(self) -> LayerOperator:
        return self._view(transpose=True, conjugate=True)

    def _transpose(self) -> Any:
        return self._view(transpose=True, conjugate=False)

    def _view(self, *, transpose: bool, conjugate: bool) -> LayerOperator:
        transposed, conjugated = self.transposed != transpose, self.conjugated != conjugate
        if not transposed and not conjugated:
            return self.layer
        return LayerOperatorView(self.layer, transposed=transposed, conjugated=conjugated)

    def _matvec(self, x: Array) -> Array:
        return self._matmat(x.reshape(-1, 1))

    def _rmatvec(self, x: Array) -> Array:
        return self._rmatmat(x.reshape(-1, 1))

    def _matmat(self, X: Array) -> Array:
        return self.layer._multiply(X, transposed=self.transposed, conjugated=self.conjugated)

    def _rmatmat(self, X: Array) -> Array:
        return self.layer._multiply(X, transposed=not self.transposed, conjugated=not self.conjugated)

    # SciPy checks sizes itself, but does not say which ones it got and wants.

    def dot(self, x: Any) -> Any:
        """Return ``A @ x``, for one vector (n,), or for a batch of them as columns (n, batch)."""
        if not isinstance(x, LinearOperator) and not np.isscalar(x):
            self._check(x, 1, axes=(1, 2))
        return super().dot(x)

    def matvec(self, x: Any) -> Any:
        """Return ``A @ x`` for x of shape (n,) or (n, 1)."""
        self._check(x, 1, axes=(1,))
        return super().matvec(x)

    def rmatvec(self, x: Any) -> Any:
        """Return ``A.H @ x`` for x of shape (m,) or (m, 1)."""
        self._check(x, 0, axes=(1,))
        return super().rmatvec(x)

    def matmat(self, X: Any) -> Any:
        """Return ``A @ X`` for X of shape (n, batch)."""
        self._check(X, 1, axes=(2,))
        return super().matmat(X)

    def rmatmat(self, X: Any) -> Any:
        """Return ``A.H @ X`` for X of shape (m, batch)."""
        self._check(X, 0, axes=(2,))
        return super().rmatmat(X)

    def _check(self, x: Any, side: int, axes: tuple[int, ...]) -> None:
        """Raise unless x, of one of these numbers of axes, fits the rows (side 0) or the columns (side 1)."""
        if issparse(x):
            raise TypeError(
                "a matrix-free operator multiplies dense arrays, but was given a sparse one; make it dense with "
                ".toarray(), or multiply by conv_matrix, which is sparse"
            )
        shape, size = np.shape(x), self.shape[side]
        if shape != (size, 1) and (len(shape) not in axes or shape[0] != size):
            inputs = (side == 1) != self.transposed
            raise ValueError(
                f"the operator multiplies vectors of {size} entries, arrays of shape "
                f"{self.layer._array_shape(inputs=inputs)} raveled in order={self.layer.order!r}, but was given an "
                f"array of shape {shape}; give "
                + " or ".join({1: f"one vector ({size},)", 2: f"vectors as columns ({size}, batch)"}[n] for n in axes)
            )


class LayerOperatorView(LayerOperator):
    """The transpose, the adjoint or the conjugate of a layer's operator."""

    def __init__(self, layer: ConvOperator, *, transposed: bool, conjugated: bool) -> None:
        rows, columns = layer.shape
        shape = (columns, rows) if transposed else (rows, columns)
        super().__init__(layer.dtype, shape, transposed=transposed, conjugated=conjugated)
        self._layer = layer

    @property
    def layer(self) -> ConvOperator:
        """The layer's own operator, neither transposed nor conjugated."""
        return self._layer
