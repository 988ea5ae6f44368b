"""Preparation of images for a network: enlarging, rescaling to a range of values, and splitting into two sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from convmatrix.arrays import Array


def enlarge(images: ArrayLike, shape: tuple[int, int]) -> Array:
    """Return images enlarged to another size, by linear interpolation along each axis.

    Samples lie at the centres of pixels; beyond the outermost centres the image is constant.

    Parameters
    ----------
    images : array_like, shape (..., height, width)
    shape : (height, width)
        At least the size of the images.

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
    factors = (1,) * (x.ndim - 2) + (shape[0] / x.shape[-2], shape[1] / x.shape[-1])
    enlarged: Array = ndimage.zoom(x, factors, order=1, mode="nearest", grid_mode=True)
    return enlarged


def rescale(images: ArrayLike, low: float, high: float, source: tuple[float, float] | None = None) -> Array:
    """Return images rescaled linearly, so that their smallest value becomes ``low`` and their largest ``high``.

    Parameters
    ----------
    images : array_like
    low, high : float
    source : (float, float), optional
        The values that become ``low`` and ``high``; by default the smallest and the largest of the images.

    Examples
    --------
    >>> rescale([0, 4, 16], -1, 1)
    array([-1. , -0.5,  1. ])
    """
    x = np.asarray(images, dtype=np.float64)
    smallest, largest = (float(x.min()), float(x.max())) if source is None else source
    if not largest > smallest:
        raise ValueError(
            f"images with values from {smallest} to {largest} cannot be rescaled; give images of more than one value"
        )
    scaled: Array = low + (high - low) * ((x - smallest) / (largest - smallest))
    return scaled


def stratified_split(labels: ArrayLike, fraction: float, rng: int | np.random.Generator = 0) -> tuple[Array, Array]:
    """Return a random split of samples into two sets in which the classes have the same proportions.

    Parameters
    ----------
    labels : array_like, shape (samples,)
    fraction : float
        Fraction of the samples to hold out.
    rng : int or numpy.random.Generator

    Returns
    -------
    kept, held_out : arrays of int
        Sorted indices of samples; ``round(fraction * samples)`` samples are held out.

    Examples
    --------
    >>> kept, held_out = stratified_split([0, 0, 0, 0, 1, 1, 1, 1], 0.25)
    >>> len(kept), [int(i) // 4 for i in held_out]
    (6, [0, 1])
    """
    classes = np.asarray(labels)
    if not 0 <= fraction < 1:
        raise ValueError(f"the fraction held out must lie in [0, 1), but is {fraction}")
    shuffled = np.random.default_rng(rng).permutation(len(classes))
    by_class = shuffled[np.argsort(classes[shuffled], kind="stable")]  # one class after another, each in random order
    count = round(fraction * len(classes))
    # Equal steps through the list select the same proportion of any stretch of it, and thus of each class.
    chosen = by_class[(np.arange(count) * len(classes) + len(classes) // 2) // max(count, 1)]
    kept = np.setdiff1d(np.arange(len(classes)), chosen)
    return kept, np.sort(chosen)


to_range = rescale
hold_out = stratified_split
