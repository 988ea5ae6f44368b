"""``convmatrix explore``: write a web page that shows a layer at work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from convmatrix.cli.console import CommandError, check_output, say, say_result
from convmatrix.cli.layer_options import add_layer_options, given_options, option, read_layer, refuse_options

if TYPE_CHECKING:
    import argparse

HELP: Final = "write a web page that shows a layer at work"
USAGE: Final = """\
convmatrix explore [-o FILE]
       convmatrix explore --kernel KERNEL --input-shape SHAPE [options]
       convmatrix explore --kernel-shape SHAPE --input-shape SHAPE [options]\
"""
DESCRIPTION: Final = """\
Write one HTML file that shows a layer at work in the browser: the kernel slides
over the image, the row of the matrix lights up, the product is written out. The
layer can be changed on the page. No server or network connection is needed.
"""
EPILOG: Final = """\
examples:
  convmatrix explore
  convmatrix explore --kernel '[[1,2],[3,4]]' --input-shape 3x3 -o blog.html
  convmatrix explore --kernel-shape 3 --input-shape 12 --padding same \\
      --boundary circular --stride 2
"""
_SUFFIXES: Final = (".html", ".htm")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    add_layer_options(parser)
    output = parser.add_argument_group("output")
    output.add_argument(
        "-o",
        "--output",
        default="explore.html",
        metavar="FILE",
        help="output file (default explore.html, replaced if it exists); - writes to standard output",
    )
    output.add_argument("--json", action="store_true", help="print the report as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Write the page, and print its location; return the exit status."""
    from convmatrix.explore import page, save_page

    given = given_options(args)
    refuse_options(args, ("rows",), "the page shows the whole layer; drop it")
    if "--dtype" in given and not option(args, "random"):
        raise CommandError("--dtype applies to --random here: add --random, or drop it")
    if args.output != "-":
        check_output("-o", args.output, _SUFFIXES)
    order = option(args, "order")
    layer = read_layer(args) if set(given) - {"--order"} else None
    geometry, kernel = (None, None) if layer is None else (layer.geometry, layer.weights)
    if args.output == "-":
        if args.json:
            raise CommandError("-o - and --json both write to standard output: give -o FILE, or drop one")
        say(page(geometry, kernel, order=order).rstrip("\n"))
        return 0
    save_page(args.output, geometry, kernel, order=order)
    say_result(
        args,
        lambda: {"output": args.output, "layer": None if geometry is None else repr(geometry)},
        lambda: f"saved     {args.output}\nopen it in a browser; it needs no network connection",
    )
    return 0
