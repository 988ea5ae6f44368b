"""``convmatrix spectrum``: singular values, norm, bounds, rank and condition number of a layer."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any, Final

from convmatrix.cli.console import CommandError, check_output, number_type, say_result
from convmatrix.cli.layer_options import add_layer_options, option, read_layer, refuse_options

if TYPE_CHECKING:
    import argparse

    from convmatrix.cli.layer_options import LayerArguments

HELP: Final = "singular values, norm and its bounds"
USAGE: Final = "convmatrix spectrum --kernel KERNEL --input-shape SHAPE [options]"
DESCRIPTION: Final = """\
Print the spectrum of a layer's matrix. Circular axes are diagonalised by the
Fourier transform; with symmetric kernels, symmetric axes by the cosine and
antisymmetric ones by the sine transform; other axes stay dense. If all
singular values are out of reach, the norm is computed by Lanczos steps. The
bounds are guaranteed.
"""
EPILOG: Final = """\
examples:
  convmatrix spectrum --kernel '[1,-2,1]' --input-shape 3 --padding same \\
      --tol 1e-6 --values
  convmatrix spectrum --kernel-shape 8x4x3x3 --random --seed 1 --json \\
      --input-shape 4x16x16 --padding same --boundary circular --stride 2
"""
_TOLERANCE: Final = number_type(
    "tolerance", lambda number: 0 < number < math.inf, "write a positive number, such as 1e-3"
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    add_layer_options(parser)
    spectrum = parser.add_argument_group("spectrum")
    width = "refine the bounds to this relative width, such as 1e-3"
    spectrum.add_argument("--tol", type=_TOLERANCE, metavar="T", help=width)
    spectrum.add_argument("--values", action="store_true", help="print all singular values, the largest first")
    spectrum.add_argument(
        "--plot", metavar="FILE", help="draw the singular values: .svg, .png or .pdf (needs matplotlib)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Compute the spectrum, and print it; return the exit status."""
    _check(args)
    layer = read_layer(args)
    record = _spectrum(args, layer)
    if args.plot is not None:
        _plot(args.plot, record["singular_values"], record["matrix"])
    if not args.values:
        del record["singular_values"]
    say_result(
        args,
        lambda: {name: "inf" if value == math.inf else value for name, value in record.items()},
        lambda: _text(record),
    )
    return 0


def _check(args: argparse.Namespace) -> None:
    refuse_options(args, ("order", "rows"), "the spectrum is that of the whole layer; omit it")
    if hasattr(args, "dtype") and not option(args, "random"):
        raise CommandError("--dtype is the type of --random weights here, and spectra are in double precision: omit it")
    if args.plot is not None:
        check_output("--plot", args.plot, (".svg", ".png", ".pdf"))


def _spectrum(args: argparse.Namespace, layer: LayerArguments) -> dict[str, Any]:
    """Return everything that is printed; None stands for values that are too expensive to compute."""
    import numpy as np

    from convmatrix import spectral
    from convmatrix.spectral import blocks
    from convmatrix.spectral.extremes import rounding_level

    geometry, weights = layer.geometry, layer.given_weights()
    weighted = blocks.read_layer(weights, geometry)
    in_reach = weighted.decomposition_work <= blocks.MODERATE_WORK
    if not in_reach and (args.values or args.plot is not None):
        raise CommandError(
            "all singular values of this layer are out of reach, because some of its axes have no transform: omit "
            "--values and --plot, or use a smaller input"
        )
    scaled, scale = weighted.scaled()
    if spectral.norm_bounds(scaled.weights, geometry)[1] > sys.float_info.max / scale:
        raise CommandError(
            f"the norm of the layer is beyond double precision ({sys.float_info.max:.3g}), because its weights reach "
            f"{np.abs(weighted.weights).max():.3g}: divide the kernel by a power of two"
        )
    bounds = spectral.norm_bounds(weights, geometry, tol=args.tol)
    record: dict[str, Any] = {
        "layer": repr(geometry),
        "matrix": [geometry.n_out, geometry.n_in],
        "seed": layer.seed,
        "axes": list(weighted.transform_names),
        "route": "blocks" if in_reach else "lanczos",
        **dict.fromkeys(("norm", "norm_error")),
        "bounds": list(bounds),
        **dict.fromkeys(("smallest", "condition_number", "rank", "singular_values")),
    }
    if not in_reach:
        norm, error = spectral.spectral_norm(weights, geometry, method="lanczos", tol=1e-6, with_error=True)
        return record | {"norm": norm, "norm_error": error}
    values = spectral.singular_values(weights, geometry)
    level = rounding_level(geometry) * values[0]
    record |= {"norm": float(values[0]), "smallest": float(values[-1]), "singular_values": values.tolist()}
    condition = float(values[0] / values[-1]) if values[-1] > level else math.inf
    return record | {"condition_number": condition, "rank": int(np.count_nonzero(values > level))}


def _text(record: dict[str, Any]) -> str:
    rows, columns = record["matrix"]
    lower, upper = record["bounds"]
    axes = " x ".join(record["axes"]).replace("fourier", "Fourier")
    width = f", relative width {upper / lower - 1:.2g}" if lower > 0 else ""
    lines = {"layer": record["layer"], "matrix": f"{rows} x {columns}"}
    if record["seed"] is not None:
        lines["weights"] = f"random, --seed {record['seed']}"
    lines["route"] = f"blocks, axes {axes}" if record["route"] == "blocks" else f"Lanczos steps (axes {axes})"
    error = "" if record["norm_error"] is None else f", estimated error {record['norm_error']:.1g}"
    lines["norm"] = f"{record['norm']:.12g}{error}"
    lines["bounds"] = f"{lower:.12g} to {upper:.12g}{width}"
    if record["route"] == "blocks":
        lines["smallest"] = f"{record['smallest']:.12g}"
        lines["condition"] = f"{record['condition_number']:.6g}"
        lines["rank"] = f"{record['rank']} of {min(rows, columns)}"
    if record.get("singular_values") is not None:
        lines["values"] = " ".join(f"{value:.12g}" for value in record["singular_values"])
    return "\n".join(f"{name:9} {value}" for name, value in lines.items())


def _plot(path: str, values: list[float], shape: list[int]) -> None:
    """Draw the singular values to a file, atomically."""
    try:
        from convmatrix.plotting import plot_spectrum, save_figure

        figure = plot_spectrum(values)
    except ImportError as error:
        message = f"--plot needs {error.name}, which is not installed: pip install {error.name}"
        raise CommandError(message) from None
    figure.axes[0].set_title(f"singular values of a {shape[0]} x {shape[1]} matrix")
    save_figure(figure, path)
