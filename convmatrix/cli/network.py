"""``convmatrix network``: report on every node of a network, or write the matrix of one of them."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from convmatrix.cli.console import CommandError, check_input, check_output, count, say, say_result
from convmatrix.cli.layer_options import add_sample_shape
from convmatrix.display.tables import by_x

if TYPE_CHECKING:
    import argparse

    from numpy.typing import NDArray

    from convmatrix.network import Network, Node

_SUFFIXES: Final = (".npz", ".mtx", ".mat")
HELP: Final = "report on every node of a network: counts, receptive field, shifts, norm"
USAGE: Final = """\
convmatrix network FILE [--input-shape SHAPE] [--norms]
                          [--json | --csv | --latex] [--width N]
       convmatrix network FILE [--input-shape SHAPE] --matrix NODE -o FILE
                          [--json]\
"""
DESCRIPTION: Final = """\
Report on a network: the shapes, parameters and multiply-adds of every node, the
entries of its matrix, its receptive field, the shifts it commutes with, and the
totals. No matrix is built. With --matrix, write the matrix of one node.

nonzeros       entries of the matrix of a linear node
multiply-adds  products, excluding those with zeros in the padding
MACs           multiply-adds by the usual convention, padding included
CSR            size of the matrix in compressed rows
field, step    size of the receptive field, and its step from unit to unit
shift          smallest cyclic shift of the input that is known to commute;
               none if only the identity is known to, as after zero padding
norm           upper bound on the 2-norm, with --norms
"""
EPILOG: Final = """\
examples:
  convmatrix network resnet50
  convmatrix network model.onnx --input-shape 3x224x224 --norms
  convmatrix network resnet50 --csv > resnet50.csv
  convmatrix network model.onnx --matrix conv1 -o conv1.npz
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument(
        "file",
        metavar="FILE",
        help="an ONNX file, or lecun1989, lenet5, alexnet, vgg16, resnet18 or resnet50",
    )
    add_sample_shape(parser, "3x224x224")
    report = parser.add_argument_group("report")
    report.add_argument("--norms", action="store_true", help="bound the norm of every node, which takes longer")
    report.add_argument(
        "--width",
        type=count,
        metavar="N",
        help="width of the table in characters (default: that of the terminal); with --latex, of a line of the "
        "document in points",
    )
    form = report.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object")
    form.add_argument("--csv", action="store_true", help="print the rows as comma-separated values")
    form.add_argument("--latex", action="store_true", help="print a LaTeX tabular, which needs the package booktabs")
    matrix = parser.add_argument_group("matrix of a node")
    matrix.add_argument("--matrix", metavar="NODE", help="write the matrix and the bias of this node")
    matrix.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="file of the matrix: .npz, which also contains the bias, or .mtx or .mat, with the bias in a second file",
    )


def run(args: argparse.Namespace) -> int:
    """Print the report, or write a matrix; return the exit status."""
    _check(args)
    network = read_network(args)
    if args.matrix is not None:
        _write_matrix(args, network)
        return 0
    report = network.report(args.norms)
    if args.latex:
        text = report.to_latex() if args.width is None else report.to_latex(width=args.width)
    else:
        text = report.to_json() if args.json else report.to_csv() if args.csv else report.to_text(args.width)
    say(text.rstrip("\n"))
    reasons = {row["norm_reason"]: row["name"] for row in report.rows[::-1] if row["norm_reason"]}
    if args.norms and not (args.latex or args.json or args.csv):
        for reason, name in reasons.items():
            say(f"no norm of {name!r}: {reason}")
    return 0


def _check(args: argparse.Namespace) -> None:
    """Raise, before any work is done, if options conflict or the file cannot be written."""
    if args.matrix is None:
        if args.output is not None:
            raise CommandError("-o writes the matrix of a node: add --matrix NODE, or redirect the report with >")
        if args.width is not None and (args.json or args.csv):
            raise CommandError("--width is for the table: drop it, or drop --json or --csv")
        return
    if args.output is None:
        raise CommandError("--matrix writes a file: add -o FILE")
    given = [name for name in ("norms", "csv", "latex", "width") if getattr(args, name)]
    if given:
        words = ", ".join(f"--{name}" for name in given)
        raise CommandError(f"{words}: for reports only, but --matrix writes a matrix; drop one of the two")
    for path in (args.output, _bias_path(args.output)):
        check_output("-o", path, _SUFFIXES)


def read_network(args: argparse.Namespace, input_shape: tuple[int, ...] | None = None) -> Network:
    """Return the network of the file, or the named one, for the shape of the options or another one."""
    from convmatrix.network import ARCHITECTURES, Network, architecture

    path = Path(args.file)
    if args.file in ARCHITECTURES and not path.exists():
        if args.input_shape is not None:
            own = by_x(architecture(args.file).input_shape)
            raise CommandError(f"--input-shape: the named network {args.file} has the shape {own}; drop it")
        return architecture(args.file)
    if not path.exists() and path.suffix.lower() != ".onnx":
        close = difflib.get_close_matches(args.file.lower(), ARCHITECTURES, n=1, cutoff=0.75)
        hint = f"did you mean {close[0]}?" if close else f"the named ones are {', '.join(ARCHITECTURES)}"
        raise CommandError(f"{args.file} is neither a file nor a named network; {hint}")
    check_input(args.file)
    return Network.from_onnx(args.file, input_shape or args.input_shape)


# --- the matrix of a node -------------------------------------------------------------------------------------------


def _write_matrix(args: argparse.Namespace, network: Network) -> None:
    """Write the matrix and the bias of a node, and print a summary."""
    from convmatrix.network import Convolution, MissingWeightsError

    node = _node(network, args.matrix)
    try:
        matrix, bias = network.affine(node.name)
    except MissingWeightsError:
        raise CommandError(f"node {node.name!r} of {network.name} has no weights, so it has no matrix") from None
    geometry = node.operation.geometry if isinstance(node.operation, Convolution) else None
    bias_path = _bias_path(args.output)
    if bias_path == args.output:
        _save_with_bias(args.output, matrix, bias, geometry)
    else:
        from scipy import sparse

        from convmatrix import io
        from convmatrix.atomic import atomic_write

        suffix = Path(args.output).suffix.lower()[1:]
        with atomic_write(bias_path) as bias_file, atomic_write(args.output) as file:  # both, or neither
            io.save(file, matrix, geometry, format=suffix)
            io.save(bias_file, sparse.csr_array(bias[:, None]), format=suffix)
    record = {
        "node": node.name,
        "kind": node.kind,
        "inputs": list(node.inputs),
        "shape": list(matrix.shape),
        "nonzeros": int(matrix.nnz),
        "dtype": matrix.dtype.name,
        "matrix": args.output,
        "bias": bias_path,
    }
    rows, columns = matrix.shape
    lines = {
        "node": f"{node.name} ({node.kind}), reads {', '.join(node.inputs)}",
        "matrix": f"{rows} x {columns}, {matrix.nnz} entries, {matrix.dtype.name}",
        "saved": args.output if bias_path == args.output else f"{args.output}, and the bias in {bias_path}",
    }
    say_result(args, lambda: record, lambda: "\n".join(f"{name:7} {value}" for name, value in lines.items()))


def _node(network: Network, name: str) -> Node:
    """Return the node with the given name; if there is none, raise an error that suggests a similar name."""
    names = [node.name for node in network.nodes]
    if name in names:
        return network[name]
    close = difflib.get_close_matches(name, names, n=1)
    most = 12
    listed = ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
    hint = f"did you mean {close[0]}?" if close else f"its nodes are {listed}"
    raise CommandError(f"{network.name} has no node {name!r}; {hint}")


def _bias_path(output: str) -> str:
    """Return the file for the bias: that of the matrix if it is an archive, otherwise a second file next to it."""
    path = Path(output)
    return output if path.suffix.lower() == ".npz" else str(path.with_name(f"{path.stem}-bias{path.suffix}"))


def _save_with_bias(path: str, matrix: Any, bias: NDArray[Any], geometry: Any) -> None:
    """Write a matrix in .npz format, with the bias as an additional array of the archive, atomically."""
    from convmatrix import io
    from convmatrix.atomic import atomic_write
    from convmatrix.io.npz import append_bias

    with atomic_write(path) as file:
        io.save(file, matrix, geometry, format="npz")
        append_bias(file, bias)
