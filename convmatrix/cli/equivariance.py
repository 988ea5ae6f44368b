"""``convmatrix equivariance``: decide whether a layer commutes with a symmetry, and show the rows that break it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from convmatrix.cli.console import NO, YES, CommandError, say, say_json
from convmatrix.cli.layer_options import add_layer_options, read_layer, refuse_options
from convmatrix.options import axes_in_words

if TYPE_CHECKING:
    import argparse

    from convmatrix.equivariance import Verdict
    from convmatrix.geometry import ConvGeometry

HELP: Final = "decide whether a layer is equivariant"
USAGE: Final = """\
convmatrix equivariance --kernel-shape SHAPE --input-shape SHAPE
                               [options] --shift SHIFT\
"""
DESCRIPTION: Final = """\
Decide exactly whether a layer commutes with a symmetry for all weights, and
show the outputs that break it.
"""
EPILOG: Final = """\
examples:
  convmatrix equivariance --input-shape 28x28 --kernel-shape 3x3 \\
      --padding same --boundary circular --shift 1,0
  convmatrix equivariance --input-shape 8x8 --kernel-shape 3x3 \\
      --padding 1 --shift 1,0
  convmatrix equivariance --input-shape 9x9 --kernel-shape 3x3 \\
      --tie C4 --quarter-turn

exit status: 0 the symmetry holds, 1 it does not hold, 2 error
"""
_LARGEST_PICTURE: Final = 64


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    add_layer_options(parser)
    symmetry = parser.add_argument_group("symmetry")
    which = symmetry.add_mutually_exclusive_group()
    which.add_argument("--shift", metavar="SHIFT", help="cyclic shift, one integer per axis: 1,0")
    which.add_argument("--reflect", type=int, metavar="AXIS", help="reflection along an axis, counted from 0")
    which.add_argument("--quarter-turn", action="store_true", help="rotation of the first two axes by a quarter turn")
    symmetry.add_argument("--tie", choices=("C4", "D4"), help="first tie the taps of each kernel by a point group")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print the verdict as one JSON object")
    output.add_argument("--latex", action="store_true", help="print the verdict as a LaTeX paragraph")


def run(args: argparse.Namespace) -> int:
    """Decide, and print the verdict; return the exit status."""
    refuse_options(args, ("order", "dtype", "rows"), "equivariance depends only on the layer; drop it")
    geometry = read_layer(args).geometry
    verdict = _decide(args, geometry)
    if args.json:
        say_json(verdict.record())
    elif args.latex:
        say(verdict.explain("latex"))
    else:
        say(verdict.explain())
        picture = _picture(verdict)
        if picture:
            say(picture)
    return YES if verdict.holds else NO


def _decide(args: argparse.Namespace, geometry: ConvGeometry) -> Verdict:
    from convmatrix.equivariance import check_quarter_turn, check_reflection, check_shift, tied_pattern

    if args.shift is not None:
        if args.tie is not None:
            raise CommandError("--tie changes nothing for shifts: drop it, or give --reflect or --quarter-turn")
        return check_shift(geometry, _shift(args.shift, len(geometry.input_shape)))
    pattern = None if args.tie is None else tied_pattern(geometry, args.tie)
    if args.reflect is not None:
        n_axes = len(geometry.input_shape)
        if not -n_axes <= args.reflect < n_axes:
            axes = axes_in_words(n_axes, "spatial ")
            raise CommandError(f"--reflect {args.reflect}: the layer has {axes}, from 0 to {n_axes - 1}")
        return check_reflection(geometry, args.reflect, pattern=pattern)
    if args.quarter_turn:
        return check_quarter_turn(geometry, pattern=pattern)
    raise CommandError("no symmetry: give --shift, such as --shift 1,0, or --reflect AXIS, or --quarter-turn")


def _shift(text: str, n_axes: int) -> tuple[int, ...]:
    try:
        amounts = tuple(int(part) for part in re.split("[x,]", text))
    except ValueError:
        raise CommandError(f"--shift {text!r} is not a shift: give integers such as 1,0") from None
    if len(amounts) not in (1, n_axes):
        axes = axes_in_words(n_axes, "spatial ")
        raise CommandError(f"--shift {text} has {len(amounts)} entries, but the layer has {axes}")
    return amounts if len(amounts) == n_axes else amounts * n_axes


def _picture(verdict: Verdict) -> str:
    """Return a text picture of the broken rows of channel 0, or an empty string if it would be too large."""
    if verdict.holds:
        return ""
    plane = verdict.broken_rows[0]
    plane = plane.reshape(1, -1) if plane.ndim == 1 else plane
    if plane.ndim > 2 or max(plane.shape) > _LARGEST_PICTURE:
        return ""
    lines = ["".join("x" if broken else "." for broken in row) for row in plane.tolist()]
    return "\n".join([*lines, "x breaks, . keeps the symmetry (outputs of channel 0)"])
