"""The largest singular value over all blocks, with most blocks ruled out by cheap bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix.spectral.singular import block_singular_values, norms

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convmatrix.spectral.blocks import Blocks

    Array = NDArray[Any]

EPS = float(np.finfo(float).eps)
_SQUARINGS = 4
_BATCH = 32


def largest_value(blocks: Blocks) -> float:
    """Return the largest singular value of all blocks.

    A Gram matrix squared k times, G, has the bound ``norm(G) ** 2**-(k+1)`` (Frobenius norm) on the largest singular
    value. Blocks are decomposed in the order of this bound, and no more once it falls below what was found.
    """

    def work(matrices: Array, _: NDArray[np.int64]) -> float:
        stack = matrices.reshape(-1, *matrices.shape[-2:])
        if min(stack.shape[-2:]) <= 2:
            return float(block_singular_values(stack).max())
        return _largest_of(stack)

    return max(blocks.map(work))


def _largest_of(stack: Array) -> float:
    bounds = gram_bounds(stack, _SQUARINGS)
    order = np.argsort(-bounds)
    best = 0.0
    for start in range(0, len(order), _BATCH):
        part = order[start : start + _BATCH]
        part = part[bounds[part] > best]
        if not len(part):
            break
        best = max(best, float(block_singular_values(stack[part]).max()))
    return best


def gram_bounds(stack: Array, squarings: int) -> NDArray[np.float64]:
    r"""Return for each matrix an upper bound on its largest singular value: a squared Gram matrix's Frobenius norm.

    .. math:: \sigma_1(B) \le \| (B^H B)^{2^k} \|_F^{1 / 2^{k+1}}

    which Delattre et al. (ICML 2023) call the Gram iteration. It is inflated by what its rounding could take away: a
    product of n x n matrices is off by at most n^2 rounding units in the norm, relative to their norms.
    """
    scale = norms(stack)
    safe = np.where(scale > 0, scale, 1.0)
    matrices = stack / safe[:, None, None]
    small = matrices if matrices.shape[-2] <= matrices.shape[-1] else matrices.conj().swapaxes(-1, -2)
    gram = small @ small.conj().swapaxes(-1, -2)
    logarithms = np.log(safe)
    power = 0.5
    for _ in range(squarings):
        size = np.maximum(norms(gram), 1e-300)
        logarithms += power * np.log(size)
        gram /= size[:, None, None]
        gram = gram @ gram
        power /= 2
    logarithms += power * np.log(np.maximum(norms(gram), 1e-300))
    n, inner = small.shape[-2:]
    slack = 8 * n * (inner + n + 8) * EPS
    result: NDArray[np.float64] = np.where(scale > 0, np.exp(logarithms) * (1 + slack), 0.0)
    return result
