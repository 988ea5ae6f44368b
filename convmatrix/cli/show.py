"""``convmatrix show``: print the matrix of a layer, or a saved matrix, in the terminal or as LaTeX."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from convmatrix.cli.console import CommandError, complain, count, say
from convmatrix.cli.layer_options import add_layer_options, given_options, option, read_layer, row_range

if TYPE_CHECKING:
    import argparse

    from convmatrix.geometry import ConvGeometry

HELP: Final = "show a matrix in the terminal"
USAGE: Final = """\
convmatrix show --kernel KERNEL --input-shape SHAPE [options]
       convmatrix show --kernel-shape SHAPE --weights --input-shape SHAPE
                       [options]
       convmatrix show FILE [options]\
"""
DESCRIPTION: Final = """\
Show the matrix of a convolution layer, or a saved matrix, coloured by weight.
A dot is a structural zero. Rows and columns that do not fit into the terminal
are omitted; --rows selects other rows.
"""
EPILOG: Final = """\
examples:
  convmatrix show --kernel '[[1,2],[3,4]]' --input-shape 3x3
  convmatrix show --kernel-shape 3 --input-shape 5 \\
      --padding same --boundary reflect --weights
  convmatrix show A.npz --rows 1:3
  convmatrix show A.npz --latex > A.tex
"""
_TEXT_ROWS: Final = 40
_LATEX_SIZE: Final = 10


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument(
        "file", nargs="?", metavar="FILE", help="a saved matrix (.npz, .mtx, .mat), instead of the options of a layer"
    )
    add_layer_options(parser)
    view = parser.add_argument_group("view")
    view.add_argument(
        "--weights", action="store_true", help="show the names of the weights (w0, w0+w2) instead of their values"
    )
    view.add_argument("--latex", action="store_true", help="print the matrix as LaTeX")
    view.add_argument(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="auto (default): on a terminal, unless NO_COLOR is set or TERM is dumb",
    )
    view.add_argument("--width", type=count, metavar="N", help="width in characters (default: that of the terminal)")
    view.add_argument(
        "--max-rows",
        type=count,
        metavar="N",
        help=f"largest number of rows (default {_TEXT_ROWS}, LaTeX {_LATEX_SIZE})",
    )
    view.add_argument(
        "--max-columns",
        type=count,
        metavar="N",
        help=f"largest number of columns (default: those that fit, LaTeX {_LATEX_SIZE})",
    )
    view.add_argument(
        "--digits", type=count, metavar="N", help="significant digits with --latex (default: as many as needed)"
    )


def run(args: argparse.Namespace) -> int:
    """Show the matrix; return the exit status."""
    if args.digits and not args.latex:
        raise CommandError("--digits is for --latex: add it, or drop --digits")
    if args.latex:
        if args.weights or args.width:
            raise CommandError("--latex prints values, at any width: drop --weights and --width")
        if min(args.max_rows or 3, args.max_columns or 3) < 3:
            raise CommandError("--latex needs --max-rows and --max-columns of at least 3: first, dots and last")
    slab = _saved_slab(args) if args.file is not None else _layer_slab(args)
    if args.latex:
        from convmatrix.io import to_latex

        most_columns = args.max_columns or _LATEX_SIZE
        say(to_latex(slab.matrix, max_rows=_most_rows(args), max_columns=most_columns, digits=args.digits))
        return 0
    try:
        text = _text(args, slab, slab.geometry)
    except ValueError as error:
        if args.file is None or args.weights:
            raise
        complain(f"coloured by value: {error}", kind="note")
        text = _text(args, slab, None)
    say(text)
    return 0


@dataclass(frozen=True)
class _Slab:
    """Rows of a matrix, with the index of the first one, the total number of rows, and the layer if known."""

    matrix: Any
    geometry: ConvGeometry | None
    first_row: int
    n_rows: int


def _layer_slab(args: argparse.Namespace) -> _Slab:
    """Return the rows to show of the layer described by the options; no other rows are built."""
    import numpy as np
    from scipy import sparse

    from convmatrix.matrices import conv_matrix

    layer = read_layer(args)
    geometry = layer.geometry
    weights = np.broadcast_to(np.int8(1), geometry.weight_shape) if args.weights else layer.given_weights()
    order, dtype = option(args, "order"), option(args, "dtype")

    def build(start: int, stop: int) -> Any:
        return conv_matrix(weights, geometry, order=order, dtype=dtype, rows=(start, stop))

    start, stop = row_range(args, geometry.n_out) or (0, geometry.n_out)
    most = _most_rows(args)
    if stop - start <= 2 * most:
        matrix = build(start, stop)
    elif args.latex:  # only the first and the last rows are printed
        matrix = sparse.vstack([build(start, start + most), build(stop - most, stop)], format="csr")
    else:
        matrix = build(start, start + most + 1)  # one more row than is shown, to detect omitted rows
    return _Slab(matrix, geometry, start, geometry.n_out)


def _saved_slab(args: argparse.Namespace) -> _Slab:
    from convmatrix.io.files import load_in_any_order

    foreign = [name for name in given_options(args) if name not in ("--order", "--rows")]
    if foreign:
        raise CommandError(
            f"{', '.join(foreign)} given together with the saved matrix {args.file}: drop one of the two"
        )
    matrix, geometry, order = load_in_any_order(args.file)
    if geometry is not None:
        if getattr(args, "order", order) != order:
            raise CommandError(f"{args.file} records --order {order}, but {args.order} is given: drop --order")
        args.order = order
    if args.weights and geometry is None:
        raise CommandError(f"{args.file} contains no geometry, so the weights are unknown: drop --weights")
    n_rows = matrix.shape[0]
    start, stop = row_range(args, n_rows) or (0, n_rows)
    return _Slab(matrix[start:stop], geometry, start, n_rows)


def _most_rows(args: argparse.Namespace) -> int:
    most: int = args.max_rows or (_LATEX_SIZE if args.latex else _TEXT_ROWS)
    return most


def _text(args: argparse.Namespace, slab: _Slab, geometry: ConvGeometry | None) -> str:
    from convmatrix.display import matrix_text

    return matrix_text(
        slab.matrix,
        geometry,
        names=args.weights,
        order=option(args, "order"),
        first_row=slab.first_row,
        n_rows=slab.n_rows,
        colour=_colour_wanted(args.color),
        width=args.width or shutil.get_terminal_size().columns,
        max_rows=_most_rows(args),
        max_columns=args.max_columns,
    )


def _colour_wanted(choice: str) -> bool:
    """Return whether to colour the output: on terminals only, according to no-color.org."""
    if choice != "auto":
        return choice == "always"
    terminal = sys.stdout is not None and sys.stdout.isatty()
    return terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
