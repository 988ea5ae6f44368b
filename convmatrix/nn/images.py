"""Images made ready for a network: their size, the range of their numbers, a part of them held out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[Any]


def enlarge(images: ArrayLike, shape: tuple[int, int]) -> Array:
    """Return images at another size, by linear interpolation along each axis.

    Samples lie at the centres of pixels; beyond the outermost centres the image stays as it is there.

    Parameters
    ----------
    images : array_like, shape (..., height, width)
    shape : (height, width)
        At least the images' own.

    Returns
    -------
    array of float64, shape (..., *shape)

    Examples
    --------
    >>> enlarge([[0.0, 4.0]], (1, 4))
    array([[0., 1., 3., 4.]])
    """
    x = np.asarray(images, dtype=np.float64)
    if x.ndim < 2 or x.shape[-2] > shape[0] or x.shape[-1] > shape[1] or not x.size:
        raise ValueError(f"images of shape {x.shape} cannot be enlarged to {tuple(shape)}; give larger sizes")
    rows, columns = (_interpolation(old, new) for old, new in zip(x.shape[-2:], shape, strict=True))
    enlarged: Array = rows @ x @ columns.T
    return enlarged


def to_range(images: ArrayLike, low: float, high: float, source: tuple[float, float] | None = None) -> Array:
    """Return images with their smallest number at ``low`` and their largest at ``high``, others in proportion.

    Parameters
    ----------
    images : array_like
    low, high : float
    source : (float, float), optional
        The numbers that become ``low`` and ``high``; the smallest and the largest by default.

    Examples
    --------
    >>> to_range([0, 4, 16], -1, 1)
    array([-1. , -0.5,  1. ])
    """
    x = np.asarray(images, dtype=np.float64)
    smallest, largest = (float(x.min()), float(x.max())) if source is None else source
    if not largest > smallest:
        raise ValueError(f"images from {smallest} to {largest} have no range; give images of more than one grey value")
    scaled: Array = low + (high - low) * ((x - smallest) / (largest - smallest))
    return scaled


def hold_out(labels: ArrayLike, part: float, rng: int | np.random.Generator = 0) -> tuple[Array, Array]:
    """Split samples at random, so that each class is held out in the same proportion (stratified).

    Parameters
    ----------
    labels : array_like, shape (samples,)
    part : float
        Of the samples, to hold out.
    rng : int or numpy.random.Generator

    Returns
    -------
    kept, held_out : arrays of int
        Sorted numbers of samples; ``round(part * samples)`` are held out.

    Examples
    --------
    >>> kept, held_out = hold_out([0, 0, 0, 0, 1, 1, 1, 1], 0.25)
    >>> len(kept), [int(i) // 4 for i in held_out]
    (6, [0, 1])
    """
    classes = np.asarray(labels)
    if not 0 <= part < 1:
        raise ValueError(f"the part to hold out must lie in [0, 1), but is {part}")
    mixed = np.random.default_rng(rng).permutation(len(classes))
    by_class = mixed[np.argsort(classes[mixed], kind="stable")]  # one class after the other, each in random order
    count = round(part * len(classes))
    # Every so many of them: any stretch of the list is taken from in proportion, and so is each class.
    chosen = by_class[(np.arange(count) * len(classes) + len(classes) // 2) // max(count, 1)]
    kept = np.setdiff1d(np.arange(len(classes)), chosen)
    return kept, np.sort(chosen)


def _interpolation(old: int, new: int) -> Array:
    """Return the (new, old) matrix of linear interpolation."""
    place = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)  # in samples of the old axis
    below = np.minimum(place.astype(np.int64), max(old - 2, 0))
    matrix = np.zeros((new, old))
    np.add.at(matrix, (np.arange(new), below), 1 - (place - below))
    np.add.at(matrix, (np.arange(new), np.minimum(below + 1, old - 1)), place - below)
    return matrix
