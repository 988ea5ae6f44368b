"""The shared table of layer cases: one small layer of every kind.

Use it as ``from tests.cases import CASES, each_case``::

    @each_case
    def test_something(geometry: ConvGeometry) -> None: ...

Every matrix has fewer than 20,000 entries, zeros counted, so that a test may make all of them dense.
"""

from __future__ import annotations

import functools
import inspect
import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest

from convmatrix.geometry import ConvGeometry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

# LeNet-5, layer C3: the maps of S2 that each of its 16 maps reads.
_C3_ROWS: Final = "012 123 234 345 045 015 0123 1234 2345 0345 0145 0125 0134 1245 0235 012345"


def connection_table(rows: str, in_channels: int) -> NDArray[np.bool_]:
    """Return the boolean (out_channels, in_channels) table; ``rows`` names each output map's input maps by digit."""
    return np.array([[str(j) in row for j in range(in_channels)] for row in rows.split()])


LENET5_C3: Final = connection_table(_C3_ROWS, in_channels=6)

CASES: Final[dict[str, ConvGeometry]] = {
    # one axis
    "1d": ConvGeometry(7, 3),
    "1d one tap": ConvGeometry(5, 1),
    "1d one output": ConvGeometry(4, 4),
    "1d same": ConvGeometry(6, 3, padding="same"),
    "1d same, even kernel": ConvGeometry(6, 4, padding="same"),
    "1d same_lower, even kernel": ConvGeometry(6, 4, padding="same_lower"),
    "1d same, stride, even kernel": ConvGeometry(8, 4, padding="same", stride=3),
    "1d full, flip": ConvGeometry(5, 3, padding="full", flip=True),
    "1d causal": ConvGeometry(8, 3, padding=[(2, 0)]),
    "1d stride": ConvGeometry(9, 3, stride=2, padding=1),
    "1d stride past the kernel": ConvGeometry(11, 2, stride=4),
    "1d dilation, channels": ConvGeometry(10, 3, dilation=3, padding="same", in_channels=2, out_channels=3),
    "1d zero, rows without taps": ConvGeometry(3, 2, padding=[(5, 4)]),
    "1d circular": ConvGeometry(6, 3, padding="same", boundary="circular"),
    "1d circular, kernel longer than the input": ConvGeometry(3, 8, padding="same", boundary="circular"),
    "1d circular, padding past a period": ConvGeometry(3, 2, padding=[(7, 8)], boundary="circular"),
    "1d reflect, kernel longer than the input": ConvGeometry(3, 8, padding="same", boundary="reflect"),
    "1d reflect, padding past a period": ConvGeometry(4, 3, padding=[(9, 11)], boundary="reflect"),
    "1d symmetric, padding past a period": ConvGeometry(3, 3, padding=[(8, 7)], boundary="symmetric"),
    "1d replicate, kernel longer than the input": ConvGeometry(3, 7, padding="full", boundary="replicate"),
    "one sample, zero": ConvGeometry(1, 3, padding="same"),
    "one sample, circular": ConvGeometry(1, 3, padding="same", boundary="circular"),
    "one sample, reflect": ConvGeometry(1, 4, padding="same", boundary="reflect"),
    "one sample, symmetric": ConvGeometry(1, 3, padding="full", boundary="symmetric"),
    "one sample, replicate": ConvGeometry(1, 2, padding=3, boundary="replicate", out_channels=2),
    # two axes
    "2d": ConvGeometry((5, 4), (3, 2)),
    "2d 3x3 image, 2x2 filter": ConvGeometry((3, 3), (2, 2)),
    "2d pointwise": ConvGeometry((3, 4), (1, 1), in_channels=3, out_channels=4),
    "2d channels": ConvGeometry((5, 6), (3, 3), in_channels=2, out_channels=3, padding="same"),
    "2d groups": ConvGeometry((4, 5), (3, 2), in_channels=4, out_channels=6, groups=2, padding="same"),
    "2d depthwise": ConvGeometry((4, 4), (3, 3), in_channels=3, out_channels=3, groups=3, padding=1),
    "2d depthwise, multiplier": ConvGeometry((4, 3), (2, 2), in_channels=2, out_channels=6, groups=2),
    "2d connection table": ConvGeometry(
        (4, 3), (2, 3), in_channels=3, out_channels=4, connections=connection_table("02 1 012 01", 3), padding="same"
    ),
    "2d LeNet-5 C3": ConvGeometry((6, 6), (5, 5), in_channels=6, out_channels=16, connections=LENET5_C3),
    "2d stride, non-square": ConvGeometry((7, 8), (3, 2), stride=(2, 3), in_channels=2, out_channels=2),
    "2d dilation, non-square": ConvGeometry((7, 6), (2, 3), dilation=(3, 2), out_channels=2),
    "2d stride and dilation": ConvGeometry((9, 8), (3, 3), stride=2, dilation=(2, 1), padding=2),
    "2d even kernels, same": ConvGeometry((5, 6), (2, 4), padding="same"),
    "2d even kernels, same_lower": ConvGeometry((5, 6), (4, 2), padding="same_lower", stride=(1, 2)),
    "2d full": ConvGeometry((4, 5), (3, 2), padding="full"),
    "2d asymmetric padding": ConvGeometry((4, 5), (3, 4), padding=[(0, 2), (3, 1)], in_channels=2),
    "2d one-sample axis": ConvGeometry((1, 6), (3, 3), padding="same", boundary=("reflect", "circular")),
    "2d circular": ConvGeometry((5, 4), (3, 3), padding="same", boundary="circular", in_channels=2, out_channels=2),
    "2d circular, kernel longer than the input": ConvGeometry((3, 4), (5, 6), padding="same", boundary="circular"),
    "2d reflect": ConvGeometry((5, 4), (3, 3), padding="same", boundary="reflect", out_channels=2),
    "2d symmetric": ConvGeometry((5, 4), (4, 5), padding="same", boundary="symmetric"),
    "2d replicate": ConvGeometry((4, 5), (3, 4), padding=[(2, 3), (1, 0)], boundary="replicate"),
    "2d mixed boundaries": ConvGeometry((4, 5), (3, 3), padding="same", boundary=("zero", "circular")),
    "2d mixed boundaries, all at once": ConvGeometry(
        (5, 4),
        (2, 3),
        in_channels=4,
        out_channels=2,
        groups=2,
        stride=(2, 1),
        dilation=(1, 2),
        padding=[(3, 1), (2, 5)],
        boundary=("reflect", "symmetric"),
        flip=True,
    ),
    "2d flip": ConvGeometry((4, 5), (3, 2), flip=True, in_channels=2, out_channels=2, padding="same_lower"),
    # signed boundaries
    "1d antireflect": ConvGeometry(6, 3, padding="same", boundary="antireflect"),
    "1d antireflect, padding past a period": ConvGeometry(4, 3, padding=[(9, 14)], boundary="antireflect"),
    "1d antisymmetric, padding past a period": ConvGeometry(3, 3, padding=[(8, 10)], boundary="antisymmetric"),
    "one sample, antireflect": ConvGeometry(1, 3, padding="same", boundary="antireflect"),
    "one sample, antisymmetric": ConvGeometry(1, 3, padding="full", boundary="antisymmetric", out_channels=2),
    "2d antireflect": ConvGeometry((4, 5), (3, 2), padding=2, boundary="antireflect", in_channels=2, out_channels=2),
    "2d antisymmetric": ConvGeometry(
        (5, 4), (4, 3), padding="same", boundary="antisymmetric", groups=2, in_channels=2, out_channels=2
    ),
    "2d mixed signs, stride and dilation": ConvGeometry(
        (5, 4),
        (3, 2),
        stride=(2, 1),
        dilation=(1, 2),
        padding=[(3, 1), (2, 7)],
        boundary=("antisymmetric", "antireflect"),
        flip=True,
    ),
    "2d unshared, antireflect": ConvGeometry((3, 3), (2, 3), sharing="unshared", padding=2, boundary="antireflect"),
    "transposed 2d antireflect": ConvGeometry(
        (3, 4),
        (3, 4),
        transposed=True,
        boundary=("antireflect", "antisymmetric"),
        padding=[(2, 1), (3, 1)],
        in_channels=2,
        sharing=(2, 1),
    ),
    # weights that are shared otherwise
    "1d tiled": ConvGeometry(9, 2, sharing=2),
    "1d tile that does not divide": ConvGeometry(8, 3, padding="same", sharing=3, boundary="circular"),
    "1d unshared": ConvGeometry(5, 2, sharing="unshared"),
    "2d tiled": ConvGeometry((6, 5), (3, 2), sharing=(2, 3), in_channels=2, out_channels=2, padding="same"),
    "2d tiled along one axis": ConvGeometry(
        (4, 5), (2, 2), sharing=(1, 4), stride=(1, 1), boundary="reflect", padding=1
    ),
    "2d tiled, connection table": ConvGeometry(
        (4, 4), (3, 3), in_channels=2, out_channels=3, connections=connection_table("01 1 0", 2), sharing=2, padding=1
    ),
    "2d unshared": ConvGeometry((5, 4), (3, 3), sharing="unshared", padding="same", stride=2, out_channels=2),
    "2d unshared, groups, circular": ConvGeometry(
        (3, 4), (2, 3), sharing="unshared", padding="same", boundary="circular", in_channels=2, out_channels=4, groups=2
    ),
    # three axes and more
    "3d": ConvGeometry((3, 4, 3), (2, 3, 2)),
    "3d channels, same": ConvGeometry((2, 3, 4), (3, 2, 3), in_channels=2, out_channels=2, padding="same"),
    "3d groups, stride, dilation": ConvGeometry(
        (4, 5, 3), (2, 2, 2), in_channels=2, out_channels=2, groups=2, stride=(2, 1, 1), dilation=(1, 2, 1), padding=1
    ),
    "3d mixed boundaries": ConvGeometry(
        (3, 4, 2), (3, 2, 3), padding=[(1, 1), (0, 1), (2, 1)], boundary=("circular", "replicate", "symmetric")
    ),
    "4d": ConvGeometry((2, 3, 2, 3), (2, 1, 2, 2), padding=[0, 0, (1, 0), 0], boundary="circular"),
    # transposed
    "transposed 1d": ConvGeometry(5, 3, transposed=True),
    "transposed 1d stride": ConvGeometry(4, 3, transposed=True, stride=2, padding=1, output_padding=1),
    "transposed 1d stride past the kernel": ConvGeometry(3, 2, transposed=True, stride=4, output_padding=3),
    "transposed 1d same": ConvGeometry(4, 2, transposed=True, stride=3, padding="same"),
    "transposed 1d same_lower": ConvGeometry(4, 4, transposed=True, stride=1, padding="same_lower"),
    "transposed 1d dilation, output padding": ConvGeometry(4, 3, transposed=True, dilation=3, output_padding=2),
    "transposed 1d circular": ConvGeometry(4, 3, transposed=True, stride=2, padding=1, boundary="circular"),
    "transposed 1d reflect": ConvGeometry(5, 4, transposed=True, padding=[(3, 2)], boundary="reflect"),
    "transposed 1d unshared": ConvGeometry(4, 3, transposed=True, sharing="unshared", stride=2),
    "transposed 2d": ConvGeometry(
        (3, 4), (3, 2), transposed=True, in_channels=3, out_channels=2, stride=(2, 3), output_padding=(1, 0), padding=1
    ),
    "transposed 2d groups": ConvGeometry(
        (3, 2),
        (2, 3),
        transposed=True,
        in_channels=4,
        out_channels=6,
        groups=2,
        dilation=(1, 2),
        padding=[(1, 0), (0, 2)],
    ),
    "transposed 2d connection table": ConvGeometry(
        (3, 3), (2, 2), transposed=True, in_channels=3, out_channels=2, connections=connection_table("02 012", 3)
    ),
    "transposed 2d mixed boundaries, flip": ConvGeometry(
        (3, 4), (3, 4), transposed=True, boundary=("circular", "replicate"), padding=[(1, 1), (2, 1)], flip=True
    ),
    "transposed 2d tiled": ConvGeometry((4, 5), (2, 3), transposed=True, sharing=(2, 3), in_channels=2, stride=2),
    "transposed 3d": ConvGeometry((2, 3, 2), (2, 2, 3), transposed=True, stride=(1, 2, 1), padding=[0, 1, (1, 0)]),
}


def for_each(names: str | Sequence[str], values: Iterable[Any], ids: Any = None) -> Callable[[Any], Any]:
    """Run a test with each of many values: `pytest.mark.parametrize`, but collected as one test.

    All values are tried in turn with the same fixtures, and what a test has patched is undone before the next; the
    value at which the test fails is added to its message.
    """
    arguments = names.replace(" ", "").split(",") if isinstance(names, str) else list(names)
    rows = [value if len(arguments) > 1 else (value,) for value in values]
    labels = list(map(repr, rows)) if ids is None or callable(ids) else list(ids)

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def run(*args: Any, **fixtures: Any) -> None:
            skipped = []
            for label, row in zip(labels, rows, strict=True):
                try:
                    test(*args, **fixtures, **dict(zip(arguments, row, strict=True)))
                except pytest.skip.Exception as reason:
                    skipped.append(reason)
                except BaseException as error:
                    error.add_note(f"with {', '.join(arguments)} = {label}")
                    raise
                if isinstance(patches := fixtures.get("monkeypatch"), pytest.MonkeyPatch):
                    patches.undo()
            if len(skipped) == len(rows):
                raise skipped[0]

        signature = inspect.signature(test)
        kept = [parameter for name, parameter in signature.parameters.items() if name not in arguments]
        run.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
        return run

    return decorate


each_case = for_each("geometry", CASES.values(), ids=CASES.keys())
"""Decorator: run a test with ``geometry`` set to every case of the table in turn; one collected test."""


def integer_weights(geometry: ConvGeometry, seed: int = 0) -> NDArray[np.int64]:
    """Return weights that are distinct nonzero integers of both signs, in random order: no two taps can be confused."""
    n = geometry.n_weights
    values = np.arange(1, n + 1) * np.resize([1, -1], n)
    return np.random.default_rng(seed).permutation(values).reshape(geometry.weight_shape)


def integer_input(geometry: ConvGeometry, seed: int = 0) -> NDArray[np.int64]:
    """Return an input of shape (in_channels, *input_shape) of integers between -9 and 9."""
    rng = np.random.default_rng(seed)
    return rng.integers(-9, 10, size=(geometry.in_channels, *geometry.input_shape))


def dense_entries(geometry: ConvGeometry) -> int:
    """Return the rows times the columns of the layer's matrix."""
    return math.prod((geometry.n_out, geometry.n_in))
