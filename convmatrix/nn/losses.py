"""Losses: the mean over a batch, and its gradient in the network's output."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[Any]


class Loss(ABC):
    """A loss of a network's output and the targets."""

    @abstractmethod
    def __call__(self, output: Array, targets: ArrayLike) -> tuple[float, Array]:
        """Return the loss and its gradient in the output."""

    @abstractmethod
    def check(self, output_shape: tuple[int, ...], targets: Array) -> None:
        """Raise unless the targets fit outputs of a shape (without the batch)."""


class SoftmaxCrossEntropy(Loss):
    r"""Mean of :math:`-\log \mathrm{softmax}(y)_t` for class labels t; outputs are ``(batch, classes)``.

    Examples
    --------
    >>> import numpy as np
    >>> loss, gradient = SoftmaxCrossEntropy()(np.zeros((1, 2)), [0])
    >>> round(loss, 4), gradient
    (0.6931, array([[-0.5,  0.5]]))
    """

    def __call__(self, output: Array, targets: ArrayLike) -> tuple[float, Array]:
        """Return the loss and its gradient in the output."""
        labels = np.asarray(targets)
        rows = np.arange(len(output))
        shifted = output - output.max(axis=1, keepdims=True)
        exponentials = np.exp(shifted)
        sums = exponentials.sum(axis=1, keepdims=True)
        loss = float(np.mean(np.log(sums[:, 0]) - shifted[rows, labels], dtype=np.float64))
        gradient = exponentials / sums
        gradient[rows, labels] -= 1
        gradient /= len(output)
        return loss, gradient

    def check(self, output_shape: tuple[int, ...], targets: Array) -> None:
        """Raise unless the targets are class labels."""
        if len(output_shape) != 1:
            raise ValueError(
                f"softmax cross-entropy takes outputs (batch, classes), but the network gives {output_shape}"
            )
        if targets.ndim != 1 or targets.dtype.kind not in "iu":
            raise ValueError(
                f"labels must be one integer a sample, but have shape {targets.shape} and dtype {targets.dtype}"
            )
        if len(targets) and (targets.min() < 0 or targets.max() >= output_shape[0]):
            raise ValueError(
                f"labels run from {targets.min()} to {targets.max()}, but the network has {output_shape[0]} outputs; "
                f"they must lie in 0 .. {output_shape[0] - 1}"
            )


class SquaredError(Loss):
    r"""Mean over samples and outputs of :math:`(y - t)^2`.

    Class labels are turned into target vectors with ``on`` at the label and ``off`` elsewhere (LeCun 1989: 1, -1).

    Parameters
    ----------
    on, off : float

    Examples
    --------
    >>> import numpy as np
    >>> SquaredError()(np.array([[1.0, 0.0]]), [0])
    (0.5, array([[0., 1.]]))
    """

    def __init__(self, on: float = 1.0, off: float = -1.0) -> None:
        self.on, self.off = on, off

    def __call__(self, output: Array, targets: ArrayLike) -> tuple[float, Array]:
        """Return the loss and its gradient in the output."""
        wanted = np.asarray(targets)
        if wanted.ndim == 1 and wanted.dtype.kind in "iu" and output.ndim == 2:
            vectors = np.full(output.shape, self.off, dtype=output.dtype)
            vectors[np.arange(len(output)), wanted] = self.on
            wanted = vectors
        difference = output - wanted.astype(output.dtype, copy=False)
        loss = float(np.mean(np.square(difference), dtype=np.float64))
        return loss, difference * output.dtype.type(2 / difference.size)

    def check(self, output_shape: tuple[int, ...], targets: Array) -> None:
        """Raise unless the targets are class labels, or arrays of the shape of the outputs."""
        if targets.ndim == 1 and targets.dtype.kind in "iu" and len(output_shape) == 1:
            SoftmaxCrossEntropy().check(output_shape, targets)
        elif targets.shape[1:] != tuple(output_shape):
            raise ValueError(
                f"targets have shape {targets.shape[1:]} a sample, but the network's outputs have {output_shape}; "
                "give class labels (samples,), or targets of the outputs' shape"
            )
