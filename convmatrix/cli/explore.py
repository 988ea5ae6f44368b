"""``convmatrix explore``: a page for the browser that shows a layer at work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from convmatrix.cli.errors import DataError, UsageError
from convmatrix.cli.options import add_layer_options, given_options, option
from convmatrix.cli.output import say

if TYPE_CHECKING:
    import argparse

_USAGE: Final = """\
convmatrix explore [-o FILE]
       convmatrix explore --kernel KERNEL --input-shape SHAPE [options]
       convmatrix explore --kernel-shape SHAPE --input-shape SHAPE [options]\
"""
_DESCRIPTION: Final = """\
Write one HTML file that shows a layer at work in the browser: the kernel slides
over the image, the row of the matrix lights up, the product is written out. The
layer can be changed on the page. No server, no network.
"""
_EPILOG: Final = """\
examples:
  convmatrix explore
  convmatrix explore --kernel '[[1,2],[3,4]]' --input-shape 3x3 -o blog.html
  convmatrix explore --kernel-shape 3 --input-shape 12 --padding same \\
      --boundary circular --stride 2
"""
_SUFFIXES: Final = (".html", ".htm")


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Declare the command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "explore",
        help="write a page that shows a layer in the browser",
        usage=_USAGE,
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    add_layer_options(parser)
    output = parser.add_argument_group("output")
    output.add_argument(
        "-o",
        "--output",
        default="explore.html",
        metavar="FILE",
        help="where to write the page (default explore.html, replaced if it is there); - writes to standard output",
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Write the page, and say where it is."""
    from convmatrix.cli.layer import read_layer
    from convmatrix.explore import page, save_page

    given = given_options(args)
    if "--rows" in given:
        raise UsageError("--rows is for matrices; the page shows the whole layer: drop it")
    if "--dtype" in given and not option(args, "random"):
        raise UsageError("--dtype is for --random here, and an integer type draws digits: add --random, or drop it")
    _check_output(args.output)
    order = option(args, "order")
    geometry = kernel = None
    if set(given) - {"--order"}:
        layer = read_layer(args)
        geometry, kernel = layer.geometry, layer.weights
    if args.output == "-":
        say(page(geometry, kernel, order=order).rstrip("\n"))
        return 0
    save_page(args.output, geometry, kernel, order=order)
    say(f"saved     {args.output}\nopen it in a browser; it needs no network")
    return 0


def _check_output(output: str) -> None:
    """Refuse a hopeless output before any work is done."""
    if output == "-":
        return
    path = Path(output)
    if path.suffix.lower() not in _SUFFIXES:
        raise UsageError(f"-o {output}: the name must end in {' or '.join(_SUFFIXES)}, which browsers open")
    if not path.parent.is_dir():
        raise DataError(f"cannot write {output}: there is no folder {path.parent}; make it first")
    if path.is_dir():
        raise DataError(f"cannot write {output}: it is a folder; give the name of a file")
