"""Filters side by side."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix.options import integer
from convmatrix.plotting.style import PAGE_WIDTH, new_figure, real_values

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike


def plot_filters(weights: ArrayLike, *, columns: int | None = None) -> Figure:
    """Draw filters side by side, all on one scale that is symmetric about zero.

    Parameters
    ----------
    weights : array_like, shape (..., height, width)
        A picture for each of the leading indices.
    columns : int, optional
        Filters side by side; by default about as many as there are rows.

    Raises
    ------
    ValueError
        If there are fewer than two axes, no filter, or values that are not finite.
    TypeError
        If the weights are complex.

    Examples
    --------
    >>> import numpy as np
    >>> figure = plot_filters(np.random.default_rng(0).standard_normal((6, 1, 5, 5)))
    >>> len(figure.axes)
    7
    """
    filters = real_values("weights", weights)
    if filters.ndim < 2 or filters.size == 0:
        raise ValueError(f"weights have shape {filters.shape}, but filters are (..., height, width), at least one")
    if not np.isfinite(filters).all():
        wrong = int(np.count_nonzero(~np.isfinite(filters)))
        raise ValueError(f"{wrong} of {filters.size} weights are not finite, and have no colour on a common scale")
    filters = filters.reshape(-1, *filters.shape[-2:])
    columns = math.ceil(math.sqrt(len(filters))) if columns is None else integer("columns", columns, minimum=1)
    rows = math.ceil(len(filters) / columns)
    height, width = filters.shape[1:]
    side = min(0.9, (PAGE_WIDTH - 1) / columns)  # inches of a filter's width
    figure = new_figure(max(side * columns, 1) + 1, max(side * rows * height / width, 1.3) + 0.2)
    grid = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel().tolist()
    limit = float(np.abs(filters).max()) or 1.0
    picture: Any = None
    for axes, one in itertools.zip_longest(grid, filters):
        if one is None:
            axes.remove()
            continue
        picture = axes.imshow(one, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
        axes.set(xticks=[], yticks=[])
    figure.colorbar(picture, ax=grid[: len(filters)], label="weight", shrink=0.9)
    return figure
