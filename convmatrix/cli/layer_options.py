"""The options that describe a layer and its matrix, shared by all commands that take a layer.

The options of the layer are those of `convmatrix.options.LAYER_OPTIONS`; this module only adds how they are written on
a command line. An option that is not given is absent from the namespace, so that a command can tell which options were
given; `option` returns the default for such an option.
"""

from __future__ import annotations

import json
import re
import secrets
from argparse import SUPPRESS, ArgumentTypeError
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix import memory
from convmatrix.boundary import BOUNDARIES
from convmatrix.cli.console import CommandError, count, read_array, seed, whole_number
from convmatrix.display.tables import by_x
from convmatrix.geometry import ConvGeometry, layer_geometry
from convmatrix.options import LAYER_OPTIONS, PADDING_WORDS, weight_array

if TYPE_CHECKING:
    import argparse

    from numpy.typing import NDArray

Shape = tuple[int, ...]

_DTYPES: Final = ("int8", "int16", "int32", "int64", "float32", "float64", "complex64", "complex128")


# --- the values of options --------------------------------------------------------------------------------------------


def _integers(text: str, minimum: int, example: str) -> tuple[int, ...]:
    """Return integers that are separated by x, commas or blanks, perhaps in brackets."""
    bare = re.sub(r"^\((.*?),?\)$|^\[(.*)\]$", r"\1\2", text.strip())
    numbers = [whole_number(part) for part in re.split(r"\s*[xX,]\s*|\s+", bare.strip())]
    if any(number is None or number < minimum for number in numbers):
        raise ArgumentTypeError(f"{text!r} is invalid: give integers of at least {minimum}, such as {example}")
    return tuple(number for number in numbers if number is not None)


def shape_argument(text: str) -> Shape:
    """Return a shape given as an option, such as 3x32x32."""
    return _integers(text, 1, "28 or 3x32x32")


def _per_axis(entries: tuple[Any, ...]) -> Any:
    """Return a single entry, which applies to all axes, as a scalar, and several entries as a tuple."""
    return entries[0] if len(entries) == 1 else entries


def _padding(text: str) -> list[str | int | tuple[int, int]]:
    """Return one word, amount or (low, high) pair per axis: ``same``, ``1x2``, ``0:1x2:3``, ``samex0:2``."""
    entries: list[str | int | tuple[int, int]] = []
    parts = text.split(",") if "," in text else text.split("x")
    if re.fullmatch("[A-Za-z_-]+", text) and not set(parts) <= set(PADDING_WORDS):
        return [text]  # one unknown word, for which there may be a hint
    for part in parts:
        low, colon, high = part.partition(":")
        numbers = whole_number(low), whole_number(high if colon else low)
        if part in PADDING_WORDS:
            entries.append(part)
        elif numbers[0] is None or numbers[1] is None:
            words = ", ".join(PADDING_WORDS)
            wrong = part if re.fullmatch("[0-9:.-]*", part) else text  # of 'complex128', for instance, all of it
            raise ArgumentTypeError(
                f"{wrong!r} is invalid: give {words}, an integer, or low:high; join axes by x, such as 1x0:2"
            )
        else:
            entries.append((numbers[0], numbers[1]) if colon else numbers[0])
    return entries


def _steps(text: str) -> Any:
    return _per_axis(_integers(text, 1, "2 or 2x1"))


def _sharing(text: str) -> Any:
    return text if text.replace("_", "").isalpha() else _per_axis(_integers(text, 1, "2x2"))


def _rows(text: str) -> tuple[int, int | None]:
    """Return a range ``a:b``; without ``a`` it starts at 0, without ``b`` (None) it includes the last row."""
    low, colon, high = text.partition(":")
    start = whole_number(low) if low else 0
    stop = whole_number(high) if high else None
    if not colon or start is None or (high and stop is None) or (stop is not None and stop <= start):
        raise ArgumentTypeError(f"{text!r} is not a range of rows: give start:stop, such as 0:100, with start < stop")
    return start, stop


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


# --- declaring the options --------------------------------------------------------------------------------------------


_SYNTAX: Final[dict[str, tuple[Callable[[str], Any], str, str]]] = {
    "stride": (_steps, "N", "2 or 2x1 (default 1)"),
    "dilation": (_steps, "N", "2 or 2x1 (default 1)"),
    "padding": (
        _padding,
        "P",
        "valid (default), same, same_lower, full, 1, 1x2, low:high pairs 0:1x2:3, or a mixture samex0:1",
    ),
    "boundary": (
        lambda text: _per_axis(tuple(text.split(","))),
        "B",
        f"values in the padding: {', '.join(BOUNDARIES)} (default zero); per axis zero,circular",
    ),
    "groups": (count, "N", "number of channel groups (default 1)"),
    "connections": (
        str,
        "FILE",
        "table of 0 and 1 with one row per output channel and one column per input channel: .csv, .json, .txt, .npy, "
        "or a JSON literal",
    ),
    "sharing": (_sharing, "S", "shared (default), unshared (locally connected), or a tile such as 2x2"),
    "flip": (str, "", "true convolution instead of cross-correlation"),
    "transposed": (str, "", "transposed layer (ConvTranspose)"),
    "output_padding": (
        lambda text: _per_axis(_integers(text, 0, "1 or 1x0")),
        "N",
        "additional outputs of a transposed layer, 1 or 1x0 (default 0)",
    ),
    "output_shape": (_steps, "SHAPE", "spatial output shape of a transposed layer, 368x489, which sets the padding"),
}
"""How each option of a layer is written: parser, placeholder of its value, and help text."""

_DEFAULTS: Final[dict[str, Any]] = {
    **dict.fromkeys(("kernel", "kernel_shape", "random", "seed", "input_shape")),
    **{name: layer_option.default for name, layer_option in LAYER_OPTIONS.items()},
    "order": "C",
    "dtype": None,
    "rows": None,
}


LAYER_ARGUMENTS: Final = tuple(_DEFAULTS)
"""Names of the options of a layer and of its matrix in a namespace."""


def add_layer_options(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add the options of a layer and of its matrix; return the latter group, to which commands may add options."""
    weights = parser.add_argument_group("weights", argument_default=SUPPRESS)
    source = weights.add_mutually_exclusive_group()
    source.add_argument(
        "--kernel",
        help="the kernel: JSON such as '[[1,2],[3,4]]' (complex numbers as strings, \"1+2j\"), a file (.npy, .json, "
        ".csv, .txt), or - for JSON or a table on standard input. With as many axes as the input it has one channel; "
        "otherwise its shape is (C_out, C_in/groups, *kernel), transposed (C_in, C_out/groups, *kernel). Tiled and "
        "unshared kernels begin with the tile axes; with --connections there may be one kernel per connection",
    )
    source.add_argument(
        "--kernel-shape",
        type=shape_argument,
        metavar="SHAPE",
        help="only the shape of the kernel, such as 16x8x3x3, without tile axes and with all channels",
    )
    weights.add_argument(
        "--random",
        action="store_true",
        help="draw the weights: standard normal, or from -9 to 9 if --dtype is an integer type",
    )
    weights.add_argument("--seed", type=seed, metavar="N", help="make --random reproducible")

    each = "A single value applies to all axes; separate values per axis by x."
    layer = parser.add_argument_group("layer", each, argument_default=SUPPRESS)
    layer.add_argument(
        "--input-shape",
        type=shape_argument,
        metavar="SHAPE",
        help="shape of the array that the matrix multiplies: 28x28, or with channels 3x28x28",
    )
    for name, layer_option in LAYER_OPTIONS.items():
        flag = "--" + name.replace("_", "-")
        parse, metavar, text = _SYNTAX.get(name, (_json, "VALUE", "as for convmatrix.ConvGeometry"))
        if layer_option.default is False:
            layer.add_argument(flag, action="store_true", help=text)
        else:
            layer.add_argument(flag, type=parse, metavar=metavar, help=text)

    matrix = parser.add_argument_group("matrix", argument_default=SUPPRESS)
    matrix.add_argument(
        "--order",
        choices=("C", "F"),
        help="how arrays are flattened: C row-major (default), F column-major",
    )
    matrix.add_argument(
        "--dtype",
        choices=_DTYPES,
        metavar="TYPE",
        help=f"type of the entries, by default that of the kernel: {', '.join(_DTYPES)}",
    )
    matrix.add_argument("--rows", type=_rows, metavar="A:B", help="only the rows A to B-1, such as 0:100")
    return matrix


def given_options(args: argparse.Namespace) -> list[str]:
    """Return the options that were given, as they are written on the command line."""
    return ["--" + name.replace("_", "-") for name in _DEFAULTS if hasattr(args, name)]


def add_sample_shape(parser: argparse.ArgumentParser, example: str) -> None:
    """Add the option for the shape of one sample of a network."""
    parser.add_argument(
        "--input-shape",
        type=shape_argument,
        metavar="SHAPE",
        help=f"shape of one sample without the batch axis, such as {example}, if the file leaves sizes open",
    )


def refuse_options(args: argparse.Namespace, names: tuple[str, ...], reason: str) -> None:
    """Raise if options were given that do not apply to a command; the reason follows their names."""
    given = [f"--{name}" for name in names if hasattr(args, name)]
    if given:
        raise CommandError(f"{', '.join(given)}: {reason}")


def option(args: argparse.Namespace, name: str) -> Any:
    """Return the value of an option, or its default."""
    return getattr(args, name, _DEFAULTS[name])


def row_range(args: argparse.Namespace, n_rows: int) -> tuple[int, int] | None:
    """Return the requested rows, or None for all of them."""
    rows = option(args, "rows")
    if rows is None:
        return None
    start, stop = rows
    stop = n_rows if stop is None else stop
    if stop > n_rows or start >= stop:
        raise CommandError(f"--rows {start}:{stop} is out of range: the matrix has {n_rows} rows, counted from 0")
    return start, stop


# --- the layer that they describe -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LayerArguments:
    """The layer described by the options; ``weights`` is None if only their shape was given."""

    geometry: ConvGeometry
    weights: NDArray[Any] | None
    seed: int | None = None

    def given_weights(self) -> NDArray[Any]:
        """Return the weights; raise an error if only their shape was given."""
        if self.weights is None:
            raise CommandError("--kernel-shape gives no weights: add --random, or give --kernel")
        return self.weights


def read_layer(args: argparse.Namespace) -> LayerArguments:
    """Return the layer described by the options."""
    _check_combinations(args)
    input_shape = option(args, "input_shape")
    options = {name: getattr(args, name) for name in LAYER_OPTIONS if hasattr(args, name)}
    if "connections" in options:
        options["connections"] = read_array("--connections", options["connections"])
    if option(args, "kernel") is None:
        geometry = _geometry_without_weights(option(args, "kernel_shape"), input_shape, options)
        if not option(args, "random"):
            return LayerArguments(geometry, None)
        number = option(args, "seed")
        number = secrets.randbits(32) if number is None else number  # reported so that the weights can be reproduced
        weights = _random_weights(geometry, number, option(args, "dtype") or "float64")
        return LayerArguments(geometry, weights, number)
    weights = read_array("--kernel", option(args, "kernel"))
    if not {"sharing", "connections"} & set(options) and len(input_shape) == 1 and 1 in weights.shape[:2] != (1,):
        weights = weights.reshape(-1) if weights.ndim == 2 else weights  # a table with a single row or column
    geometry = _geometry(weights.shape, input_shape, options)
    return LayerArguments(geometry, weight_array(weights, geometry.weight_shape, geometry))


def _check_combinations(args: argparse.Namespace) -> None:
    kernel, kernel_shape, connections = (option(args, name) for name in ("kernel", "kernel_shape", "connections"))
    if kernel is None and kernel_shape is None:
        raise CommandError("no kernel: give --kernel, or --kernel-shape with --random")
    if option(args, "input_shape") is None:
        raise CommandError("no input shape: give --input-shape, such as 28x28")
    if option(args, "random") and kernel is not None:
        raise CommandError("--random draws the weights, but --kernel gives them: drop one of the two")
    if option(args, "seed") is not None and not option(args, "random"):
        raise CommandError("--seed applies to --random: add --random, or drop --seed")
    if kernel == connections == "-":
        raise CommandError("--kernel and --connections cannot both be read from standard input: put one into a file")


def _geometry(weight_shape: Shape, input_shape: Shape, options: dict[str, Any]) -> ConvGeometry:
    """Return the layer whose weights have the given shape, tile axes included."""
    padding = options.get("padding")
    if padding is None or len(padding) > 1:
        return layer_geometry(weight_shape, input_shape, **options)
    if not isinstance(padding[0], tuple):
        return layer_geometry(weight_shape, input_shape, **{**options, "padding": padding[0]})
    # A pair applies to all spatial axes: all axes of the input, or all but the first, which may hold the channels.
    fitting: list[ConvGeometry] = []
    failures: list[ValueError] = []
    for n_axes in (len(input_shape), len(input_shape) - 1):
        try:
            per_axis: dict[str, Any] = {**options, "padding": padding * n_axes}
            fitting.append(layer_geometry(weight_shape, input_shape, **per_axis))
        except ValueError as error:
            failures.append(error)
    if len(fitting) > 1:
        raise CommandError(
            f"a kernel of shape {by_x(weight_shape)} on an input of {by_x(input_shape)} may have one channel or "
            "several: give --padding and --sharing for each axis"
        )
    if not fitting:
        raise next((error for error in failures if not str(error).startswith("padding has")), failures[0])
    return fitting[0]


def _geometry_without_weights(kernel_shape: Shape, input_shape: Shape, options: dict[str, Any]) -> ConvGeometry:
    """Return the layer of a kernel whose shape has no tile axes and includes unconnected channels."""
    extra: dict[str, Any] = {name: options[name] for name in ("connections", "sharing") if name in options}
    plain = {name: value for name, value in options.items() if name not in extra}
    layer = _geometry(kernel_shape, input_shape, plain)
    combined: dict[str, Any] = {**layer.options(), **extra}
    return ConvGeometry(layer.input_shape, layer.kernel_shape, **combined) if extra else layer


def _random_weights(geometry: ConvGeometry, number: int, dtype_name: str) -> NDArray[Any]:
    """Return random weights: standard normal, or integers from -9 to 9."""
    dtype, shape = np.dtype(dtype_name), geometry.weight_shape
    memory.require(
        3 * max(dtype.itemsize, 8) * geometry.n_weights,
        f"{geometry.n_weights} random weights",
        "reduce --kernel-shape, or ask for an estimate with --dry-run",
    )
    rng = np.random.default_rng(number)
    if dtype.kind == "i":
        return rng.integers(-9, 10, size=shape).astype(dtype)
    drawn = rng.standard_normal(shape)
    return (drawn + 1j * rng.standard_normal(shape) if dtype.kind == "c" else drawn).astype(dtype)
