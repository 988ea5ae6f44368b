"""``convmatrix count``: count the units, connections, parameters and multiply-adds of a layer or a named network."""

from __future__ import annotations

import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from convmatrix.cli.console import CommandError, say_result
from convmatrix.cli.layer_options import add_layer_options, given_options, option, read_layer, refuse_options

if TYPE_CHECKING:
    import argparse

    from convmatrix.counts import Bias, NetworkCounts

_BIASES: Final = ("channel", "unit", "none")
HELP: Final = "count connections, parameters and multiply-adds"
USAGE: Final = """\
convmatrix count NETWORK [--json | --latex | --markdown]
       convmatrix count --kernel-shape SHAPE --input-shape SHAPE [options]\
"""
DESCRIPTION: Final = """\
Count the units, connections and parameters of a layer or of a published
network. No matrix is built, so layers of any size can be counted.

units          outputs
connections    taps of all units, including those in the padding, plus one per
               unit with a bias
inside         taps that read a sample of the input
parameters     trained weights and biases
nonzeros       entries of the matrix, which are its multiply-adds
MACs           multiply-adds by the usual convention, padding included
sharing        inside / weights: the average number of uses of a weight
"""
EPILOG: Final = """\
examples:
  convmatrix count lenet5
  convmatrix count vgg16 --json
  convmatrix count --kernel-shape 12x1x5x5 --input-shape 1x16x16 --stride 2 \\
      --padding 1:2 --bias unit --markdown
"""
_HEADER: Final = "layer units connections inside weights biases parameters nonzeros MACs sharing"
_FIELDS: Final = ("units", "connections", "connections_inside", "weights", "biases", "parameters", "nonzeros", "macs")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument(
        "network",
        nargs="?",
        metavar="NETWORK",
        help="lecun1989, lenet5, alexnet, vgg16, resnet18 or resnet50; if omitted, the options describe a single layer",
    )
    add_layer_options(parser)
    counts = parser.add_argument_group("counts")
    counts.add_argument(
        "--bias", choices=_BIASES, help="biases of the layer: one per output channel (default), one per unit, or none"
    )
    form = counts.add_mutually_exclusive_group()
    form.add_argument(
        "--json", action="store_true", help="print one JSON object, which also contains bytes and densities"
    )
    form.add_argument("--latex", action="store_true", help="print a LaTeX tabular, which needs the package booktabs")
    form.add_argument("--markdown", action="store_true", help="print a Markdown table")


def run(args: argparse.Namespace) -> int:
    """Count, and print the table; return the exit status."""
    from convmatrix.counts import NETWORKS, Convolution, network_counts

    refuse_options(args, ("order", "rows", "random", "seed"), "counts do not depend on this; drop it")
    given = given_options(args)
    dtype = option(args, "dtype") or "float64"
    if args.network is None and not given:
        raise CommandError(
            f"no network: give its name ({', '.join(NETWORKS)}), or --kernel-shape and --input-shape for a single layer"
        )
    if args.network is not None:
        extra = [name for name in given if name != "--dtype"] + (["--bias"] if args.bias else [])
        if extra:
            raise CommandError(
                f"{', '.join(extra)} given together with the network {args.network}: drop one of the two"
            )
        if args.network not in NETWORKS:
            raise CommandError(f"network {args.network!r} is unknown; the named ones are {', '.join(NETWORKS)}")
        counts = network_counts(args.network, dtype=dtype)
    else:
        bias: Bias = None if args.bias == "none" else args.bias or "channel"
        counts = network_counts([Convolution("layer", read_layer(args).geometry, bias)], dtype=dtype)
    say_result(args, lambda: _record(args, dtype, counts), lambda: _text(args, counts))
    return 0


def _record(args: argparse.Namespace, dtype: str, counts: NetworkCounts) -> dict[str, Any]:
    *layers, total = [
        asdict(layer) | {name: getattr(layer, name) for name in ("parameters", "density", "sharing_factor")}
        for layer in (*counts.layers, counts.total)
    ]
    return {"network": args.network, "dtype": dtype, "layers": layers, "total": total}


def _fixed_weights(counts: NetworkCounts) -> list[str]:
    """Return a remark on each layer of a named network whose weights are fixed, so that they are not parameters."""
    from convmatrix.network import ARCHITECTURES, FullyConnected, architecture

    nodes = architecture(counts.name).nodes if counts.name in ARCHITECTURES else ()
    remarks = []
    for node in nodes:
        operation = node.operation
        if isinstance(operation, FullyConnected) and not operation.trained:
            n_weights, n_biases = operation.n_in * operation.n_out, operation.n_out
            remarks.append(
                f"{node.name}: {n_weights} fixed weights, as published, which are not parameters. A trained layer in "
                f"its place, as in nn.{counts.name} and convmatrix train {counts.name}, has {n_weights} weights and "
                f"{n_biases} biases: {counts.total.parameters + n_weights + n_biases:,} parameters in total."
            )
    return [textwrap.fill(remark, 100) for remark in remarks]


def _text(args: argparse.Namespace, counts: NetworkCounts) -> str:
    """Return the table, whose last row is the total of several layers, and remarks."""
    from convmatrix.display.latex_tables import latex_table
    from convmatrix.display.tables import markdown_table, text_table

    several = len(counts.layers) > 1
    rows = [_HEADER.split()]
    for layer in [*counts.layers, counts.total] if several else counts.layers:
        sharing = "-" if layer.sharing_factor is None else f"{layer.sharing_factor:,.1f}"
        rows.append([layer.name, *(f"{getattr(layer, field):,}" for field in _FIELDS), sharing])
    if args.latex:
        return latex_table(rows, totals=int(several))
    return markdown_table(rows) if args.markdown else "\n\n".join([text_table(rows), *_fixed_weights(counts)])
