"""The structure of a layer's matrix that is too large to draw: blocks within blocks, one level per axis."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from convmatrix.display.palette import hex_code, palette
from convmatrix.display.tables import by

if TYPE_CHECKING:
    from convmatrix.boundary import Axis
    from convmatrix.geometry import ConvGeometry

_MOST_DRAWN: Final = 1024  # rows or columns of an axis
_MOST_TAPS: Final = 64
_MOST_CHANNELS: Final = 64
_SIDE: Final = 200  # pixels of the longer side of a picture
_WIDEST_CELL: Final = 12


@dataclass(frozen=True)
class Level:
    """The matrix of one axis, whose entries are the blocks of the next; ``shape`` is their number of rows and columns.

    ``structure`` says what the rows have in common, ``diagonals`` which diagonals have entries or how many a row has.
    """

    name: str
    shape: tuple[int, int]
    structure: str
    diagonals: str

    def __str__(self) -> str:
        return ", ".join([by(self.shape), *filter(None, [self.structure, self.diagonals])])


def block_levels(geometry: ConvGeometry, order: str = "C") -> list[Level]:
    """Return the levels of a layer's matrix from the outside in, computed from its parameters.

    The matrix consists of blocks, one per pair of channels; each is the product of the matrices of the axes, so that
    blocks of the first axis contain blocks of the second, and so on. In order "F" the levels are reversed.

    Examples
    --------
    >>> from convmatrix import ConvGeometry
    >>> options = {"in_channels": 3, "out_channels": 64, "padding": "same", "boundary": ("zero", "reflect")}
    >>> for level in block_levels(ConvGeometry((224, 112), (3, 3), **options)):
    ...     print(level.name, "-", level)
    channels - 64 x 3, all pairs connected
    axis 0 - 224 x 224, Toeplitz, 3 diagonals (-1 to 1)
    axis 1 - 112 x 112, Toeplitz but for 1 + 1 rows at the ends (reflect), 3 diagonals (-1 to 1)
    """
    g = geometry
    pairs = g.n_weights // math.prod((*g.tile, *g.kernel_shape))
    whole = pairs == g.out_channels * g.in_channels
    joined = "all pairs connected" if whole else f"{pairs} of {g.out_channels * g.in_channels} pairs connected"
    levels = [Level("channels", (g.out_channels, g.in_channels), joined, "")]
    for number, axis in enumerate(g.axes):
        levels.append(_axis_level(f"axis {number}", axis, transposed=g.transposed))
    return levels if order == "C" else levels[::-1]


def _axis_level(name: str, axis: Axis, *, transposed: bool) -> Level:
    m, n, step = axis.n_outputs, axis.n_samples, axis.stride
    lines, others = ("columns", "rows") if transposed else ("rows", "columns")
    first, end = axis.inner_outputs
    ring = axis.boundary == "circular" and m * step == n
    bordered = axis.boundary != "zero" and not ring and end - first < m
    kind = "circulant" if ring else "Toeplitz"
    if axis.tile > 1:
        own = f"every {lines[:-1]} with weights of its own"
        kind = own if axis.tile >= m else f"weights repeat every {axis.tile} {lines}"
    elif step > 1:
        kind += f" with stride {step}"
    if bordered:
        kind += f" but for {first} + {m - end} {lines} at the ends ({axis.boundary})"
    sign = -1 if transposed else 1
    if step > 1 or axis.tile > 1:
        entries = f"{axis.n_taps} entr{'y' if axis.n_taps == 1 else 'ies'} per {lines[:-1]}"
        moved = f", moved by {step} {others} each" if step > 1 else ""
        return Level(name, (n, m) if transposed else (m, n), kind, entries + moved)
    low, high = sorted((-sign * axis.pad_low, sign * (axis.span - 1 - axis.pad_low)))
    gaps = f" in steps of {axis.dilation}" if axis.dilation > 1 and axis.n_taps > 2 else ""
    count = f"{axis.n_taps} diagonals ({low} to {high}{gaps})" if axis.n_taps > 1 else f"1 diagonal ({low})"
    return Level(name, (n, m) if transposed else (m, n), kind, count)


def structure_lines(geometry: ConvGeometry, width: int, order: str = "C") -> list[str]:
    r"""Return the levels of a layer's matrix as aligned lines of text of a given width.

    Examples
    --------
    >>> from convmatrix import ConvGeometry
    >>> print("\n".join(structure_lines(ConvGeometry((100, 50), (3, 5), padding="same"), 80)))
    blocks within blocks, from the outside in:
      axis 0  100 x 100, Toeplitz, 3 diagonals (-1 to 1)
      axis 1  50 x 50, Toeplitz, 5 diagonals (-2 to 2)
    """
    levels = [level for level in block_levels(geometry, order) if level.shape != (1, 1)]
    names = max((len(level.name) for level in levels), default=0)
    lines = ["blocks within blocks, from the outside in:" if len(levels) > 1 else "structure:"]
    for level in levels:
        lines += textwrap.wrap(f"  {level.name:{names}}  {level}", max(width, 20), subsequent_indent=" " * (names + 4))
    return lines


def level_pictures(geometry: ConvGeometry) -> str:
    """Return pictures of the levels in SVG, side by side: connected channels, and each axis coloured by tap.

    What is too large, and channels that are all connected, are left out.

    Examples
    --------
    >>> from convmatrix import ConvGeometry
    >>> level_pictures(ConvGeometry((100, 50), (3, 5), padding="same")).count("<svg")
    2
    """
    levels = {level.name: level for level in block_levels(geometry)}
    pictures = []
    pairs = geometry.out_channels * geometry.in_channels
    if max(geometry.out_channels, geometry.in_channels) <= _MOST_CHANNELS and len(geometry.channel_pairs) < pairs:
        cells = [(row, column, 1, 0) for row, column in geometry.channel_pairs.tolist()]
        pictures.append(_picture(levels["channels"], {"#888": cells}))
    for number, axis in enumerate(geometry.axes):
        if max(axis.n_outputs, axis.n_samples) <= _MOST_DRAWN and axis.n_taps <= _MOST_TAPS:
            pictures.append(_picture(levels[f"axis {number}"], _runs(axis), transposed=geometry.transposed))
    return f'<div style="display: flex; flex-wrap: wrap; gap: 1em">{"".join(pictures)}</div>' if pictures else ""


def _runs(axis: Axis) -> dict[str, list[tuple[int, int, int, int]]]:
    """Return the entries of each tap, by its colour, as runs: row, column, number of lines, columns per line."""
    colours = palette(axis.n_taps)
    outputs = np.arange(axis.n_outputs)
    found: dict[str, list[tuple[int, int, int, int]]] = {hex_code(colour): [] for colour in colours}
    for tap in range(axis.n_taps):
        runs = found[hex_code(colours[tap])]
        for samples, factors in axis.terms(outputs, tap):
            samples = np.broadcast_to(samples, outputs.shape)
            read = outputs[(samples >= 0) & (np.broadcast_to(factors, outputs.shape) != 0)]
            moved = np.diff(samples[read]) - axis.stride
            starts = np.concatenate([[0], np.flatnonzero((moved != 0) | (np.diff(read) != 1)) + 1, [len(read)]])
            for start, stop in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
                if stop > start:
                    row, column = int(read[start]), int(samples[read[start]])
                    runs.append((row, column, stop - start, axis.stride))
    return found


def _picture(level: Level, runs: dict[str, list[tuple[int, int, int, int]]], *, transposed: bool = False) -> str:
    """Return a picture of a level; a run is a parallelogram. Those of a transposed layer have rows for columns."""
    n_rows, n_columns = level.shape
    cell = min(_SIDE / max(n_rows, n_columns), _WIDEST_CELL)
    width, height = n_columns * cell, n_rows * cell
    shapes = []
    for colour, parts in runs.items():
        path = ""
        for row, column, count, step in parts:
            x, y, down, across = column * cell, row * cell, count * cell, (count - 1) * step * cell
            path += f"M{x:.4g} {y:.4g}h{cell:.3g}l{across:.4g} {down:.4g}h{-cell:.3g}z"
        if path:
            pen = f'fill="{colour}" stroke="{colour}" stroke-width="{min(0.3, cell / 4):.2g}"'
            shapes.append(f'<path d="{path}" {pen}/>')
    drawn = "".join(shapes)
    drawn = f'<g transform="matrix(0 1 1 0 0 0)">{drawn}</g>' if transposed else drawn
    return svg_figure(f"{level.name}: {level}", width, height, drawn, level.name, ' style="margin: 0"')


def svg_figure(title: str, width: float, height: float, shapes: str, caption: str, look: str = "") -> str:
    """Return shapes on white paper as an SVG picture with a margin of one pixel, and a caption; ``look`` is its style.

    Examples
    --------
    >>> svg_figure("one dot", 2, 2, '<circle r="1"/>', "a dot").count("<rect")
    1
    """
    outer = f"{width + 2:.4g}", f"{height + 2:.4g}"
    return (
        f'<figure{look}><svg xmlns="http://www.w3.org/2000/svg" role="img" width="{outer[0]}" height="{outer[1]}" '
        f'viewBox="-1 -1 {outer[0]} {outer[1]}"><title>{title}</title><rect width="{width:.4g}" '
        f'height="{height:.4g}" fill="#fff" stroke="#888"/>{shapes}</svg><figcaption>{caption}</figcaption></figure>'
    )
