"""``convmatrix conform``: run random layers on another library's convolutions, and compare with the exact results."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from convmatrix.cli.console import NO, YES, CommandError, check_output, count, say_result, seconds, seed
from convmatrix.conformance.rounding import ROUNDINGS
from convmatrix.conformance.target_names import TARGETS

if TYPE_CHECKING:
    import argparse

HELP: Final = "run random layers on another library and compare with the exact results"
USAGE: Final = """\
convmatrix conform torch | onnxruntime | onnx-reference | scipy
                          | MODULE:FUNCTION [--options LIST]
                          [--count N] [--seed N] [--jobs N]
                          [--time-limit SECONDS] [--rounding ALGORITHM]
                          [--report FILE.json] [--json]
       convmatrix conform --export FOLDER [--count N] [--seed N]\
"""
DESCRIPTION: Final = """\
Run random layers, with every combination of the options that the target has,
and compare its outputs and gradients with the exact ones. All numbers are
integers, small enough that correct floating-point results are equal. A failure
is shrunk to a minimal layer and printed with a script that reproduces it using
only the target.

A function of your own is called as function(x, w, bias, **options) and returns
y; its attribute gradient(x, w, bias, g, **options), if it has one, returns dx,
dw and, with a bias, db. Only the options that are listed are drawn and passed:
  batch, channels, bias, stride, dilation, groups, output_padding, flip,
  transposed, padding=valid+even+pairs+centred+same+same_lower+full,
  boundary=zero+circular+..., dtype=float64+float32+..., axes=1+2+3
"""
EPILOG: Final = """\
examples:
  convmatrix conform mylayers:convolve --options stride,axes=1 --count 50
  convmatrix conform --export vectors --count 10

exit status: 0 the target conforms; 1 it differs; 2 error
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument(
        "target", nargs="?", metavar="TARGET", help=f"{', '.join(TARGETS)}, or a function as MODULE:FUNCTION"
    )
    parser.add_argument("--options", metavar="LIST", help="the options of a function, separated by commas")
    parser.add_argument("--count", type=count, default=1000, metavar="N", help="number of layers; default: 1000")
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="of the random layers; default: 0")
    parser.add_argument("--jobs", type=count, default=1, metavar="N", help="number of processes; default: 1")
    parser.add_argument("--time-limit", type=seconds, metavar="SECONDS", help="run no more layers after this time")
    parser.add_argument(
        "--rounding",
        choices=ROUNDINGS,
        help="the algorithm, which decides what error is allowed; default: none, or as the target documents",
    )
    parser.add_argument("--report", metavar="FILE", help="write the report, a .json file")
    parser.add_argument("--export", metavar="FOLDER", help="write test vectors, as .npz and as ONNX node tests")
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Run a campaign, or export test vectors; return the exit status."""
    if args.export is not None:
        return _export(args)
    if args.target is None:
        raise CommandError(f"give a target: {', '.join(TARGETS)}, or MODULE:FUNCTION; or --export FOLDER")
    from convmatrix.conformance.campaigns import conform

    if args.report is not None:
        check_output("--report", args.report, (".json",))
    settings = {name: getattr(args, name) for name in ("rounding", "count", "time_limit", "jobs")}
    report = conform(args.target, _options(args.options), **settings, rng=args.seed)
    if args.report is not None:
        report.to_json(args.report)
    saved = "" if args.report is None else f"\nreport: {args.report}"
    say_result(args, report.to_values, lambda: report.explain() + saved)
    return YES if report else NO


def _options(text: str | None) -> dict[str, Any]:
    """Return options as ``{name: values or None}`` from text such as ``stride,padding=same+pairs``."""
    options: dict[str, Any] = {}
    for part in text.split(",") if text else ():
        name, has_values, values = part.strip().partition("=")
        name = re.sub(r"(?<=[a-z])-(?=[a-z])", "_", name)
        options[name] = tuple(map(_value, values.split("+"))) if has_values else None
    return options


def _value(word: str) -> str | int | bool:
    known = {"true": True, "false": False, "yes": True, "no": False}
    return int(word) if word.isascii() and word.isdigit() else known.get(word.lower(), word)


def _export(args: argparse.Namespace) -> int:
    from convmatrix.conformance.exported_vectors import export_vectors

    given = {"a target": args.target, "--options": args.options, "--report": args.report, "--rounding": args.rounding}
    for name, value in given.items():
        if value is not None:
            raise CommandError(f"--export runs nothing: drop {name}")
    exported = export_vectors(Path(args.export), args.count, args.seed)
    text = f"{args.export}: {exported['npz']} layers as .npz, {exported['onnx']} as ONNX node tests"
    if not exported["onnx"]:
        text += "\nno ONNX node tests: they need the package onnx: pip install 'convmatrix[onnx]'"
    say_result(args, lambda: {"folder": args.export, **exported}, lambda: text)
    return YES
