"""Initial weights, each with its source. All take ``(shape, fan_in, fan_out, rng)`` and return float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Initialiser = Callable[[tuple[int, ...], int, int, np.random.Generator], "NDArray[Any]"]


def lecun_uniform(shape: tuple[int, ...], fan_in: int, fan_out: int, rng: np.random.Generator) -> NDArray[Any]:
    """Draw uniformly from ``[-2.4 / fan_in, 2.4 / fan_in]``: LeCun et al., Neural Computation 1(4), 1989.

    Examples
    --------
    >>> import numpy as np
    >>> bool(abs(lecun_uniform((5, 5), 25, 25, np.random.default_rng(0))).max() <= 2.4 / 25)
    True
    """
    return rng.uniform(-2.4 / fan_in, 2.4 / fan_in, shape)


def glorot_uniform(shape: tuple[int, ...], fan_in: int, fan_out: int, rng: np.random.Generator) -> NDArray[Any]:
    """Draw uniformly with variance ``2 / (fan_in + fan_out)``: Glorot and Bengio, AISTATS 2010, eq. 16.

    Examples
    --------
    >>> import numpy as np
    >>> print(f"{glorot_uniform((1000, 100), 30, 20, np.random.default_rng(0)).var():.2f}")  # 2 / 50
    0.04
    """
    bound = math.sqrt(6 / (fan_in + fan_out))
    return rng.uniform(-bound, bound, shape)


def he_normal(shape: tuple[int, ...], fan_in: int, fan_out: int, rng: np.random.Generator) -> NDArray[Any]:
    """Draw normally with variance ``2 / fan_in``: He, Zhang, Ren, Sun, ICCV 2015, eq. 10.

    Examples
    --------
    >>> import numpy as np
    >>> print(f"{he_normal((1000, 100), 50, 20, np.random.default_rng(0)).var():.2f}")  # 2 / 50
    0.04
    """
    return rng.normal(0.0, math.sqrt(2 / fan_in), shape)
