"""``convmatrix verify``: decide whether a network has a property on a box of inputs, or check a certificate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from convmatrix.cli.console import ERROR, NO, YES, CommandError, check_input, check_output, count, say_result, seconds
from convmatrix.cli.layer_options import add_sample_shape

if TYPE_CHECKING:
    import argparse

    from convmatrix.constraints import Verification

UNKNOWN: Final = 3
"""Exit status: the question was not decided."""

_VERDICTS: Final = {"holds": YES, "violated": NO, "unknown": UNKNOWN}
HELP: Final = "decide whether a network has a property on a box of inputs"
USAGE: Final = """\
convmatrix verify FILE.onnx PROPERTY.vnnlib [--timeout SECONDS]
                         [--certificate OUT.json] [--input-shape SHAPE]
                         [--output NODE] [--json]
       convmatrix verify FILE.onnx PROPERTY.vnnlib --recheck CERTIFICATE.json\
"""
DESCRIPTION: Final = """\
Decide whether a property in the format VNN-LIB holds for all inputs of a box:
it describes counterexamples, and holds if there is none. The answer is about
the network as it was read, in real arithmetic: its weights, and what is computed
from them or from constants (divisors of averages, reciprocals, folded
operations), are float64 numbers. A counterexample is checked exactly and by
evaluation. That a property holds is proved by a certificate, which --recheck
verifies without a solver.
"""
EPILOG: Final = """\
examples:
  convmatrix verify model.onnx property.vnnlib --timeout 60
  convmatrix verify model.onnx property.vnnlib --certificate sure.json
  convmatrix verify model.onnx property.vnnlib --recheck sure.json

exit status: 0 the property holds, or the certificate is valid; 1 it is violated,
or the certificate is not valid; 2 error; 3 unknown
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument("file", metavar="FILE", help="an ONNX file of linear and piecewise linear operations")
    parser.add_argument(
        "property", metavar="FILE", help="a VNN-LIB file, version 1; version 2 needs the package vnnlib"
    )
    add_sample_shape(parser, "1x28x28")
    parser.add_argument(
        "--output",
        metavar="NODE",
        help="the node whose values are the outputs Y: needed if the file has several; the logits before a softmax",
    )
    parser.add_argument("--timeout", type=seconds, metavar="SECONDS", help="give up after this time; default: never")
    parser.add_argument("--nodes", type=count, metavar="N", help="give up after this number of nodes; default: never")
    parser.add_argument("--json", action="store_true", help="print the verdict as one JSON object")
    proof = parser.add_mutually_exclusive_group()
    proof.add_argument("--certificate", metavar="FILE", help="write the certificate, if the property holds")
    proof.add_argument("--recheck", metavar="FILE", help="check a certificate, without a solver and without search")


def run(args: argparse.Namespace) -> int:
    """Verify a network, or check a certificate; return the exit status."""
    from convmatrix.constraints import read_vnnlib, recheck, verify
    from convmatrix.network import Network

    if args.certificate is not None:
        check_output("--certificate", args.certificate, (".json",))
    if args.recheck is not None and (args.timeout is not None or args.nodes is not None):
        raise CommandError("--recheck does not search: drop --timeout and --nodes")
    for path in (args.file, args.property, *([] if args.recheck is None else [args.recheck])):
        check_input(path)
    network = Network.from_onnx(args.file, args.input_shape)
    if args.output is not None and args.output not in {node.name for node in network}:
        raise CommandError(f"{args.file} has no node {args.output!r}; its outputs are {', '.join(network.outputs)}")
    box, claim = read_vnnlib(Path(args.property), network, name=args.output)
    if args.recheck is not None:
        checked = recheck(args.recheck, network, box, claim, name=args.output)
        record = {"file": args.recheck, "valid": checked.valid, "reason": checked.reason}
        say_result(args, lambda: record, lambda: f"{args.recheck}: {checked}")
        return YES if checked else NO
    found = verify(network, box, claim, name=args.output, timeout=args.timeout, most_nodes=args.nodes)
    if args.certificate is not None and found:
        found.to_json(args.certificate)
    written = f"\ncertificate: {args.certificate}" if found else "\nno certificate was written"
    say_result(
        args,
        lambda: _record(found, args.certificate),
        lambda: found.explain() + written * (args.certificate is not None),
    )
    return _VERDICTS.get(found.verdict, ERROR)


def _record(found: Verification, certificate: str | None) -> dict[str, Any]:
    """Return a verdict for JSON; infinite bounds become null."""
    point, output = found.counterexample, found.output
    bounds = {name: value if abs(value) < float("inf") else None for name, value in found.bounds.items()}
    return {
        "verdict": found.verdict,
        "property": found.claim.name,
        **bounds,
        "counterexample": None if point is None else point.tolist(),
        "output": None if output is None else output.tolist(),
        "nodes": found.nodes,
        "seconds": found.seconds,
        "reason": found.reason,
        "certificate": certificate if found else None,
    }
