"""What else makes the matrix of a convolution: other packages, and what one writes by hand.

Each contender is a function of kernel and image shape. It imports and converts what it needs, then returns the function
that is timed; that one returns the matrix in whatever sparse form the contender has.
"""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Kernel = NDArray[np.float64]
    Shape = tuple[int, ...]
    Build = Callable[[], Any]

_PATCH_BYTES = 2**28  # of the patches that PyTorch gathers of all unit vectors pushed at a time


@dataclass(frozen=True)
class Contender:
    """A way to make the matrix of the convolution (``flip=True``) with a kernel, zeros around.

    Attributes
    ----------
    prepare : callable
        ``prepare(kernel, shape)`` returns the function that makes the matrix.
    padding : str
        The padding of `conv_matrix` that gives the same matrix.
    small_only : bool
        Not tried on large images.
    judged : bool
        Whether it counts as what people use now.
    """

    prepare: Callable[[Kernel, Shape], Build]
    padding: str = "same"
    small_only: bool = False
    judged: bool = True


def pylops(kernel: Kernel, shape: Shape) -> Build:
    """``Convolve2D(method="direct").tosparse()``, which applies the operator to one unit vector after the other."""
    return _pylops(kernel, shape, "direct")


def pylops_fft(kernel: Kernel, shape: Shape) -> Build:
    """Do the same with its default, which convolves by FFT and stores the round-off."""
    return _pylops(kernel, shape, "fft")


def _pylops(kernel: Kernel, shape: Shape, method: str) -> Build:
    package = _imported("pylops")
    offset = [size // 2 for size in kernel.shape]
    return lambda: package.signalprocessing.Convolve2D(shape, h=kernel, offset=offset, method=method).tosparse()


def pylops_convmtx(kernel: Kernel, shape: Shape) -> Build:
    """``convmtx(sparse=True)``, in one dimension: through a dense Toeplitz matrix."""
    package = _imported("pylops.utils.signalprocessing")
    return lambda: package.convmtx(kernel, *shape, sparse=True)


def ptwt(kernel: Kernel, shape: Shape) -> Build:
    """``construct_conv2d_matrix``, which works on columns first: hence the transposed kernel and shape."""
    torch, package = _imported("torch"), _imported("ptwt.sparse_math")
    transposed = torch.from_numpy(np.ascontiguousarray(kernel.T))
    return lambda: package.construct_conv2d_matrix(transposed, shape[1], shape[0], mode="same")


def sparse_convolution(kernel: Kernel, shape: Shape) -> Build:
    """``Toeplitz_convolution2d(method="precomputed")``, which makes the matrix of the full convolution."""
    package = _imported("sparse_convolution")
    options = {"mode": "full", "method": "precomputed", "backend": "numpy"}
    return lambda: package.Toeplitz_convolution2d(shape, kernel, **options)._dt  # it has no public name


def torch_basis(kernel: Kernel, shape: Shape) -> Build:
    """Push the unit vectors through ``conv2d``, some at a time, and keep what is not zero."""
    torch = _imported("torch")
    flipped = torch.from_numpy(np.flip(kernel).copy())[None, None]
    n = math.prod(shape)
    chunk = max(_PATCH_BYTES // (8 * n * kernel.size), 1)

    def columns(start: int) -> Any:
        stop = min(start + chunk, n)
        basis = torch.zeros(stop - start, n, dtype=torch.float64)
        basis[torch.arange(stop - start), torch.arange(start, stop)] = 1.0
        padding = [size // 2 for size in kernel.shape]
        pushed = torch.nn.functional.conv2d(basis.reshape(-1, 1, *shape), flipped, padding=padding)
        return pushed.reshape(stop - start, n).to_sparse()

    return lambda: torch.cat([columns(start) for start in range(0, n, chunk)]).T


def kron_taps(kernel: Kernel, shape: Shape) -> Build:
    """``scipy.sparse.kron`` of two shift matrices for each tap, summed."""
    flipped, middle = np.flip(kernel), [size // 2 for size in kernel.shape]

    def build() -> Any:
        shifts = [
            [sparse.eye_array(n, k=tap - m) for tap in range(size)]
            for n, m, size in zip(shape, middle, kernel.shape, strict=True)
        ]
        terms = (
            weight * sparse.kron(shifts[0][i], shifts[1][j], format="csr") for (i, j), weight in np.ndenumerate(flipped)
        )
        return sum(terms, sparse.csr_array((math.prod(shape),) * 2))

    return build


def kron_rows(kernel: Kernel, shape: Shape) -> Build:
    """``scipy.sparse.kron`` of a shift matrix and a banded Toeplitz matrix for each row of the kernel, summed."""
    flipped, middle = np.flip(kernel), [size // 2 for size in kernel.shape]

    def build() -> Any:
        height, width = shape
        offsets = np.arange(kernel.shape[1]) - middle[1]
        terms = (
            sparse.kron(
                sparse.eye_array(height, k=i - middle[0]),
                sparse.diags_array([[weight] for weight in row], offsets=offsets, shape=(width, width)),
                format="csr",
            )
            for i, row in enumerate(flipped)
        )
        return sum(terms, sparse.csr_array((math.prod(shape),) * 2))

    return build


def diagonals(kernel: Kernel, shape: Shape) -> Build:
    """``scipy.sparse.diags_array`` with one diagonal a tap, zero where the tap leaves the image, then ``tocsr()``."""
    flipped, middle = np.flip(kernel), [size // 2 for size in kernel.shape]

    def build() -> Any:
        height, width = shape
        n = height * width
        values: list[Any] = []
        offsets: list[int] = []
        for (i, j), weight in np.ndenumerate(flipped):
            down, right = i - middle[0], j - middle[1]
            diagonal = np.zeros(shape)
            diagonal[max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)] = weight
            offset = down * width + right
            values.append(diagonal.ravel()[max(-offset, 0) : n - max(offset, 0)])
            offsets.append(offset)
        return sparse.diags_array(values, offsets=offsets, shape=(n, n)).tocsr()

    return build


IMAGES: dict[str, Contender] = {
    'PyLops Convolve2D(method="direct").tosparse()': Contender(pylops),
    "PyLops Convolve2D().tosparse()": Contender(pylops_fft, small_only=True),
    "ptwt construct_conv2d_matrix": Contender(ptwt),
    "sparse_convolution Toeplitz_convolution2d": Contender(sparse_convolution, padding="full"),
    "scipy.sparse.kron, one a tap": Contender(kron_taps),
    "scipy.sparse.kron, one a kernel row": Contender(kron_rows),
    "PyTorch conv2d of the unit vectors": Contender(torch_basis),
    "scipy.sparse.diags_array, by hand": Contender(diagonals, judged=False),
}

SIGNALS: dict[str, Contender] = {"PyLops convmtx(sparse=True)": Contender(pylops_convmtx, padding="full")}


@contextmanager
def quiet() -> Iterator[None]:
    """Keep warnings of other packages away; they are not about what is measured."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def as_csr(matrix: Any) -> Any:
    """Return a contender's matrix as a CSR array with all that it stores, but for entries that occur twice."""
    if not sparse.issparse(matrix):  # PyTorch's
        coalesced = matrix.coalesce()
        triplets = coalesced.values().numpy(), tuple(coalesced.indices().numpy())
        matrix = sparse.coo_array(triplets, shape=tuple(coalesced.shape))
    csr = sparse.csr_array(matrix)
    csr.sum_duplicates()
    return csr


def difference(theirs: Any, ours: Any) -> float:
    """Return how much two matrices differ after entries below 1e-12 are dropped; infinite where structures do."""
    kept = theirs.copy()
    kept.data[abs(kept.data) < 1e-12] = 0.0
    kept.eliminate_zeros()
    same = kept.shape == ours.shape and kept.nnz == ours.nnz
    if not (same and np.array_equal(kept.indptr, ours.indptr) and np.array_equal(kept.indices, ours.indices)):
        return math.inf
    return float(abs(kept.data - ours.data).max())


def _imported(name: str) -> Any:
    """Import a package without the warnings that it gives."""
    with quiet():
        return importlib.import_module(name)
