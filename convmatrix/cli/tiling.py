"""``convmatrix tiling``: how an image may be cut into tiles for a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from convmatrix.cli.console import NO, YES, CommandError, say_result
from convmatrix.cli.layer_options import add_sample_shape, shape_argument
from convmatrix.cli.network import read_network
from convmatrix.display.tables import by_x

if TYPE_CHECKING:
    import argparse

    from convmatrix.network import Network
    from convmatrix.tiling import TilingPlan

HELP: Final = "how an image may be cut into tiles for a network, with the exact result"
DESCRIPTION: Final = """\
Find how a large image may be cut into tiles for a network, so that the stitched
result is that of the whole image: how much overlap is needed, where tiles may
start, and which sizes fit. What cannot be cut is named, with the reason.
"""
EPILOG: Final = """\
examples:
  convmatrix tiling model.onnx --input-shape 3x256x256
  convmatrix tiling model.onnx --image 2048x2048 --tile 512x512
  convmatrix tiling model.onnx --prove
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument("file", metavar="FILE", help="an ONNX file, or the name of a network as for network")
    add_sample_shape(parser, "3x256x256")
    parser.add_argument(
        "--other-shape",
        type=shape_argument,
        metavar="SHAPE",
        help="a second shape, for which the file is read again to confirm how its numbers follow the size",
    )
    parser.add_argument(
        "--output", metavar="NODE", help="the node whose output is stitched (default: the first output)"
    )
    parser.add_argument("--image", type=shape_argument, metavar="SHAPE", help="spatial shape of an image; needs --tile")
    parser.add_argument(
        "--tile", type=shape_argument, metavar="SHAPE", help="largest spatial shape of a tile; one number: every axis"
    )
    parser.add_argument("--prove", action="store_true", help="prove the plan for all images and tiles")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print the plan; return the exit status."""
    if (args.image is None) != (args.tile is None):
        raise CommandError("--image and --tile belong together: give both, or neither")
    network = read_network(args)
    plan = _plan(args, network)
    tile = args.tile[0] if args.tile is not None and len(args.tile) == 1 else args.tile
    tiles = plan.tiles(args.image, tile) if args.image is not None else None
    proof = plan.prove() if args.prove and plan.exact else None
    say_result(args, lambda: _record(plan, tiles, proof), lambda: _text(args, plan, tiles, proof))
    return YES if plan.exact and (proof is None or proof.proved) else NO


def _plan(args: argparse.Namespace, network: Network) -> TilingPlan:
    from convmatrix.tiling import plan

    if args.output is not None and all(node.name != args.output for node in network):
        raise CommandError(f"--output: {network.name} has no node {args.output!r}")
    other = None
    if args.other_shape is not None:
        if args.other_shape == network.input_shape:
            raise CommandError("--other-shape is the shape that the network is read for: give another one")
        other = read_network(args, args.other_shape)
    return plan(network, other, args.output)


def _text(args: argparse.Namespace, plan: TilingPlan, tiles: Any, proof: Any) -> str:
    lines = [plan.explain()]
    if tiles is not None:
        lines.append(f"\nAn image {by_x(args.image)} in tiles of at most {by_x(args.tile)}: {len(tiles)} tiles")
    for tile in tiles or ():
        parts = (" x ".join(f"{s.start}:{s.stop}" for s in slices) for slices in (tile.input, tile.keep, tile.output))
        lines.append("  reads {}, keeps {}, as {}".format(*parts))
    return "\n".join([*lines, *([] if proof is None else [f"\n{proof.explain()}"])])


def _record(plan: TilingPlan, tiles: Any, proof: Any) -> dict[str, Any]:
    """Return the plan as plain data."""
    record: dict[str, Any] = {
        "network": plan.network.name,
        "input_shape": list(plan.network.input_shape),
        "output": plan.output,
        "exact": plan.exact,
        "assumptions": list(plan.assumptions),
        "reasons": list(plan.reasons),
        "halo": [None if halo is None else list(halo) for halo in plan.halo],
        "alignment": list(plan.alignment),
        "scale": [None if scale is None else str(scale) for scale in plan.scale],
        "sizes": [None if sizes is None else {"from": sizes[0], "remainders": list(sizes[1])} for sizes in plan.sizes],
    }
    if tiles is not None:
        names = ("input", "keep", "output")
        record["tiles"] = [{n: [[s.start, s.stop] for s in getattr(tile, n)] for n in names} for tile in tiles]
    if proof is not None:
        record["proof"] = proof.record()
    return record
