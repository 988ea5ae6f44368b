"""From a layer to the settings that the page starts with, or to the reason why the page cannot draw it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from convmatrix.geometry import ConvGeometry

LIMIT: Final = 400
"""Rows, columns and weights that the page draws at most."""

LARGEST_NUMBER: Final = 10**9  # of a setting: JavaScript's numbers then hold every position exactly
_LARGEST_EXACT: Final = 2**53  # integers up to here are exact in JavaScript
_DRAWN_AXES: Final = (1, 2)
_PAGE_DRAWS: Final = "the page draws layers of one channel, with one shared kernel, on one or two axes"


def page_settings(geometry: ConvGeometry, order: str) -> dict[str, Any]:
    """Return the settings of the page's controls for a layer.

    Raises
    ------
    ValueError
        If the page cannot draw the layer.

    Examples
    --------
    >>> from convmatrix import ConvGeometry
    >>> page_settings(ConvGeometry(5, 3, padding="same"), "C")["padding"]
    [[1, 1]]
    """
    g = geometry
    if len(g.input_shape) not in _DRAWN_AXES:
        raise ValueError(f"{_PAGE_DRAWS}, but input_shape={g.input_shape} has {len(g.input_shape)}; leave axes out")
    if (g.in_channels, g.out_channels) != (1, 1):
        raise ValueError(
            f"{_PAGE_DRAWS}, but this one has in_channels={g.in_channels} and out_channels={g.out_channels}; "
            "give the kernel of one pair of channels"
        )
    if g.transposed:
        raise ValueError(
            f"{_PAGE_DRAWS}, but this one is transposed; give the convolution that it transposes, and switch the page "
            "to the transpose"
        )
    if any(tile != 1 for tile in g.tile):
        raise ValueError(f"{_PAGE_DRAWS}, but this one has sharing={g.sharing!r}; leave sharing out")
    for name, count in (("output", g.n_out), ("input", g.n_in), ("kernel", g.n_weights)):
        if count > LIMIT:
            raise ValueError(
                f"the page draws matrices of at most {LIMIT} x {LIMIT} and kernels of at most {LIMIT} weights, but the "
                f"{name} of {g!r} has {count}; explore a smaller layer, or draw a part with convmatrix show"
            )
    for name in ("stride", "dilation", "padding"):
        largest = int(np.max(getattr(g, name)))
        if largest > LARGEST_NUMBER:
            raise ValueError(f"{name}={largest} is more than the page takes ({LARGEST_NUMBER}); give a smaller one")
    return {
        "input_shape": list(g.input_shape),
        "kernel_shape": list(g.kernel_shape),
        "stride": list(g.stride),
        "dilation": list(g.dilation),
        "padding": [list(pair) if any(pair) else "valid" for pair in g.padding],
        "boundary": list(g.boundary),
        "flip": g.flip,
        "order": order,
    }


def page_weights(kernel: ArrayLike | None, geometry: ConvGeometry) -> list[int | float]:
    """Return the weights of the page in order, 1, 2, 3, ... where there is no kernel.

    Raises
    ------
    ValueError
        If the kernel has another size, or numbers that the page cannot hold.

    Examples
    --------
    >>> from convmatrix import ConvGeometry
    >>> page_weights(None, ConvGeometry(5, 3))
    [1, 2, 3]
    """
    if kernel is None:
        return list(range(1, geometry.n_weights + 1))
    values = np.asarray(kernel)
    if values.shape not in (geometry.kernel_shape, geometry.weight_shape):
        raise ValueError(
            f"the kernel has shape {values.shape}, but the layer's has {geometry.kernel_shape}; give one weight a tap"
        )
    if values.dtype.kind not in "biuf":
        raise ValueError(f"the kernel has dtype {values.dtype}, but the page holds real numbers; give its real part")
    numbers: list[int | float] = values.ravel().tolist()
    for index, number in enumerate(numbers):
        if not np.isfinite(number):
            raise ValueError(f"weight {index} of the kernel is {number}, but the page holds finite numbers; replace it")
        if isinstance(number, int) and abs(number) > _LARGEST_EXACT:
            raise ValueError(
                f"weight {index} of the kernel is {number}, but integers on the page are exact up to 2**53 only; "
                "give it as a float"
            )
    return [number + 0 for number in numbers]  # truth values become 0 and 1
