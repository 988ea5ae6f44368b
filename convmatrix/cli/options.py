"""The options that describe a layer and its matrix, shared by every command that takes one.

What is not given is absent from the namespace, so that a command can tell what was asked for; `option` knows the
defaults.
"""

from __future__ import annotations

from argparse import SUPPRESS
from typing import TYPE_CHECKING, Any, Final

from convmatrix.cli import values
from convmatrix.cli.errors import DataError

if TYPE_CHECKING:
    import argparse

LAYER_DEFAULTS: Final[dict[str, Any]] = {
    "stride": (1,),
    "dilation": (1,),
    "padding": ("valid",),
    "boundary": ("zero",),
    "groups": 1,
    "connections": None,
    "sharing": "shared",
    "flip": False,
    "transposed": False,
    "output_padding": (0,),
}
_DEFAULTS: Final[dict[str, Any]] = {
    "kernel": None,
    "kernel_shape": None,
    "random": False,
    "seed": None,
    "input_shape": None,
    **LAYER_DEFAULTS,
    "order": "C",
    "dtype": None,
    "rows": None,
}
_DTYPES: Final = ("int8", "int16", "int32", "int64", "float32", "float64", "complex64", "complex128")


def add_layer_options(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add the options of a layer and of its matrix; return the group of the latter, to which a command may add."""
    weights = parser.add_argument_group("weights")
    source = weights.add_mutually_exclusive_group()
    source.add_argument(
        "--kernel",
        default=SUPPRESS,
        help="the kernel: JSON such as '[[1,2],[3,4]]' (complex numbers as strings, \"1+2j\"), a file (.npy, .json, "
        ".csv, .txt), or - for JSON or a table on standard input. As many axes as the input: one channel; one axis "
        "more: (C_out, C_in/groups, *kernel), transposed (C_in, C_out/groups, *kernel). Tiled and unshared weights "
        "begin with the tile axes; with --connections there is one kernel a connection",
    )
    source.add_argument(
        "--kernel-shape",
        type=values.shape,
        default=SUPPRESS,
        metavar="SHAPE",
        help="only the shape of the kernel, such as 16x8x3x3; tiles and connections are worked out from it",
    )
    weights.add_argument(
        "--random",
        action="store_true",
        default=SUPPRESS,
        help="draw the weights: standard normal, or from -9 to 9 where --dtype is an integer type",
    )
    weights.add_argument("--seed", type=values.seed, default=SUPPRESS, metavar="N", help="makes --random repeatable")

    layer = parser.add_argument_group("layer", "Options with one entry an axis take a single one for all axes.")
    layer.add_argument(
        "--input-shape",
        type=values.shape,
        default=SUPPRESS,
        metavar="SHAPE",
        help="shape of the array that the matrix multiplies: 28x28, or with channels 3x28x28",
    )
    layer.add_argument("--stride", type=values.steps, default=SUPPRESS, metavar="N", help="2 or 2x1 (default 1)")
    layer.add_argument("--dilation", type=values.steps, default=SUPPRESS, metavar="N", help="2 or 2x1 (default 1)")
    layer.add_argument(
        "--padding",
        type=values.padding,
        default=SUPPRESS,
        metavar="P",
        help="valid (default), same, same_lower, full, 1, 1x2, low:high pairs 0:1x2:3, or a mix: samex0:1",
    )
    layer.add_argument(
        "--boundary",
        type=values.boundary,
        default=SUPPRESS,
        metavar="B",
        help="what the padding holds: zero (default), circular, reflect, symmetric, replicate; by axis zero,circular",
    )
    layer.add_argument("--groups", type=values.count, default=SUPPRESS, metavar="N", help="channel groups (default 1)")
    layer.add_argument(
        "--connections",
        default=SUPPRESS,
        metavar="FILE",
        help="0/1 table of output channels (rows) by input channels: .csv, .json, .txt, .npy, or JSON itself",
    )
    layer.add_argument(
        "--sharing",
        type=values.sharing,
        default=SUPPRESS,
        metavar="S",
        help="shared (default), unshared (locally connected), or a tile such as 2x2",
    )
    layer.add_argument("--flip", action="store_true", default=SUPPRESS, help="convolve instead of cross-correlate")
    layer.add_argument(
        "--transposed", action="store_true", default=SUPPRESS, help="the transposed layer (ConvTranspose)"
    )
    layer.add_argument(
        "--output-padding",
        type=values.amounts,
        default=SUPPRESS,
        metavar="N",
        help="extra outputs of a transposed layer, 1 or 1x0 (default 0)",
    )

    matrix = parser.add_argument_group("matrix")
    matrix.add_argument(
        "--order",
        choices=("C", "F"),
        default=SUPPRESS,
        help="how arrays are flattened: C by rows (default), F by columns",
    )
    matrix.add_argument(
        "--dtype",
        choices=_DTYPES,
        default=SUPPRESS,
        metavar="TYPE",
        help=f"type of the entries, by default the kernel's: {', '.join(_DTYPES)}",
    )
    matrix.add_argument(
        "--rows", type=values.rows, default=SUPPRESS, metavar="A:B", help="only the rows A to B-1, such as 0:100"
    )
    return matrix


def given_options(args: argparse.Namespace) -> list[str]:
    """Return which of these options were given, as the user writes them."""
    return ["--" + name.replace("_", "-") for name in _DEFAULTS if hasattr(args, name)]


def option(args: argparse.Namespace, name: str) -> Any:
    """Return the value of an option, or its default."""
    return getattr(args, name, _DEFAULTS[name])


def row_range(args: argparse.Namespace, n_rows: int) -> tuple[int, int] | None:
    """Return the rows that were asked for, None for all of them."""
    rows = option(args, "rows")
    if rows is None:
        return None
    start, stop = rows
    stop = n_rows if stop is None else stop
    if stop > n_rows or start >= stop:
        raise DataError(f"--rows {start}:{stop} asks for rows that do not exist: the matrix has {n_rows}, from 0 up")
    return start, stop
