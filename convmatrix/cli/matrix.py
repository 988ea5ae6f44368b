"""``convmatrix matrix``: build the matrix of a layer, summarise it and save it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from convmatrix.cli.console import CommandError, binary_output, check_output, say, say_json, writing_output
from convmatrix.cli.layer_options import add_layer_options, option, read_layer, row_range

if TYPE_CHECKING:
    import argparse

    from convmatrix.cli.layer_options import LayerArguments
    from convmatrix.geometry import ConvGeometry

_SUFFIXES: Final = (".npz", ".mtx", ".mat")
_FORMATS: Final = ("csr", "csc", "coo", "dia", "bsr")
HELP: Final = "build and save the matrix of a layer"
USAGE: Final = """\
convmatrix matrix --kernel KERNEL --input-shape SHAPE [options]
       convmatrix matrix --kernel-shape SHAPE --random --input-shape SHAPE
                         [options]\
"""
DESCRIPTION: Final = """\
Build the sparse matrix A of a convolution layer: A @ x.ravel() is the output of
the layer, flattened. Print a summary; with -o, save the matrix.
"""
EPILOG: Final = """\
examples:
  convmatrix matrix --kernel '[[1,2],[3,4]]' --input-shape 3x3 -o A.npz
  convmatrix matrix --kernel edges.csv --input-shape 280x320 \\
      --padding same --boundary reflect -o edges.mtx
  convmatrix matrix --kernel-shape 16x8x3x3 --random --seed 1 \\
      --input-shape 8x32x32 --stride 2 --padding 1 --json
  convmatrix matrix --kernel-shape 64x64x3x3 --input-shape 64x224x224 --dry-run
  echo '1 0 -1' | convmatrix matrix --kernel - --input-shape 100 -o - > A.npz
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    matrix = add_layer_options(parser)
    matrix.add_argument(
        "--format",
        choices=_FORMATS,
        default="csr",
        metavar="FORMAT",
        help="sparse format: csr (default), csc, coo, dia, bsr; files always contain compressed rows",
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="save the matrix and the geometry of its layer: .npz, .mtx or .mat; - writes .npz to standard output",
    )
    output.add_argument("--json", action="store_true", help="print the summary as one JSON object")
    output.add_argument(
        "--dry-run", action="store_true", help="only estimate the number of nonzeros and bytes; build and write nothing"
    )


def run(args: argparse.Namespace) -> int:
    """Build the matrix, save it, and print the summary; return the exit status."""
    from convmatrix.matrices import conv_matrix

    _check_output(args)
    layer = read_layer(args)
    geometry = layer.geometry
    rows = row_range(args, geometry.n_out)
    if args.dry_run:
        _report(args, layer, _summary(args, layer, rows, None))
        return 0

    def build(format: str) -> Any:
        order, dtype = option(args, "order"), option(args, "dtype")
        return conv_matrix(layer.given_weights(), geometry, order=order, format=format, dtype=dtype, rows=rows)

    matrix = build(args.format)
    summary = _summary(args, layer, rows, matrix)
    if args.output is not None:
        # The dia format cannot tell a weight of zero from a missing entry. A slab is saved without the geometry, whose
        # matrix it is not.
        saved = build("csr") if args.format == "dia" else matrix
        _save(args.output, saved, geometry if rows is None else None, option(args, "order"))
    _report(args, layer, summary)
    return 0


def _check_output(args: argparse.Namespace) -> None:
    """Raise, before any work is done, if the matrix cannot be written."""
    if args.output is None:
        return
    if args.output == "-":
        if args.json:
            raise CommandError("-o - and --json both write to standard output: give -o FILE, or drop one")
        if not args.dry_run:
            binary_output()
        return
    check_output("-o", args.output, _SUFFIXES)


def _save(output: str, matrix: Any, geometry: ConvGeometry | None, order: str) -> None:
    from convmatrix import io

    if output == "-":
        with writing_output():
            io.save(binary_output(), matrix, geometry, order=order, format="npz")
    else:
        io.save(output, matrix, geometry, order=order)


def _summary(
    args: argparse.Namespace, layer: LayerArguments, rows: tuple[int, int] | None, matrix: Any
) -> dict[str, Any]:
    """Return the summary of a matrix, or of its estimate if the matrix was not built."""
    from convmatrix.matrices import estimate

    geometry, order = layer.geometry, option(args, "order")
    dtype = option(args, "dtype") or ("float64" if layer.weights is None else layer.weights.dtype.name)
    size = estimate(geometry, dtype=dtype, format=args.format, order=order, rows=rows)
    n_bytes, nonzeros, index_dtype = size.bytes, size.nonzeros, size.index_dtype
    if matrix is not None:
        arrays = [matrix.data, *_index_arrays(matrix)]
        n_bytes, index_dtype = sum(array.nbytes for array in arrays), arrays[-1].dtype.name
        if args.format in ("csr", "csc", "coo"):  # the other formats also store structural zeros
            nonzeros = int(matrix.nnz)
    return {
        "shape": list(size.shape),
        "nonzeros": nonzeros,
        "density": nonzeros / (size.shape[0] * size.shape[1]),
        "distinct_weights": geometry.n_weights,
        "bytes": n_bytes,
        "format": args.format,
        "dtype": dtype,
        "index_dtype": index_dtype,
        "order": order,
        "rows": None if rows is None else list(rows),
        "output_shape": list(geometry.full_output_shape),
        "weight_shape": list(geometry.weight_shape),
        "geometry": {
            "input_shape": geometry.input_shape,
            "kernel_shape": geometry.kernel_shape,
            **geometry.options(),
        },
        "seed": layer.seed,
        "dry_run": args.dry_run,
        "output": None if args.dry_run else args.output,
    }


def _index_arrays(matrix: Any) -> list[Any]:
    if matrix.format == "coo":
        return list(matrix.coords)
    if matrix.format == "dia":
        return [matrix.offsets]
    return [matrix.indptr, matrix.indices]


def _report(args: argparse.Namespace, layer: LayerArguments, summary: dict[str, Any]) -> None:
    """Print the summary as JSON or as text, on standard error if the matrix goes to standard output."""
    if args.json:
        say_json(summary)
        return
    from convmatrix.memory import in_words

    rows, columns = summary["shape"]
    lines = {
        "layer": repr(layer.geometry),
        "matrix": f"{rows} x {columns}, {summary['format']}, {summary['dtype']}, indices {summary['index_dtype']}",
        "nonzeros": f"{summary['nonzeros']} of {rows * columns} entries ({100 * summary['density']:.3g} %), "
        f"{summary['distinct_weights']} weights",
        "memory": in_words(summary["bytes"]) + (" (estimate; nothing was built)" if summary["dry_run"] else ""),
    }
    if summary["seed"] is not None:
        lines["weights"] = f"random, --seed {summary['seed']}"
    padded = any(map(any, layer.geometry.padding)) or max(layer.geometry.kernel_shape) == 1
    if set(layer.geometry.boundary) != {"zero"} and not padded:
        lines["note"] = "the boundary has no effect without padding, such as --padding same"
    if summary["output"] not in (None, "-"):
        lines["saved"] = summary["output"]
    text = "\n".join(f"{name:9} {value}" for name, value in lines.items())
    say(text, sys.stderr if args.output == "-" else sys.stdout)
