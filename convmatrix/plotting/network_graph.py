"""A network as a graph of its nodes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix.display.palette import RAMP, hex_code
from convmatrix.display.tables import one_line, shorten, text_width
from convmatrix.network import Network, as_network
from convmatrix.plotting.figures import PAGE_WIDTH, Palette, axes_of, colour_scale, given_axes, ink_on
from convmatrix.report.node_measures import node_measures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_NODES: Final = 400
_MOST_BESIDE: Final = 12  # maximum number of nodes of one depth
_LONGEST_LABEL: Final = 22
_ROW: Final = 0.34  # inches
_COLUMN: Final = 1.9
_TALLEST: Final = 24.0  # inches; rows of taller graphs are drawn closer together
_WITHOUT_MATRIX: Final = (1.0, 1.0, 1.0, 1.0)


def plot_network(
    network: Any,
    *,
    annotate: bool = False,
    palette: Palette | None = None,
    ax: Axes | None = None,
    axes: Axes | None = None,
) -> Figure:
    """Return a figure of a network as a graph, from input to output, with one box per node coloured by density.

    The depth of a node is the length of the longest path from the input. The density is the fraction of the entries of
    the node's matrix that are stored; its colour scale is logarithmic. Nodes without a matrix are white.

    Parameters
    ----------
    network : Network, str, nn.Sequential or sequence of layers
        Anything that `convmatrix.network.as_network` accepts, with at most 400 nodes and 12 of the same depth.
    annotate : bool
        Write the density of each node behind its name.
    palette : str or sequence of colours, optional
        Name of a colormap of matplotlib, or colours between which densities are interpolated, from sparse to dense.
    ax : matplotlib Axes, optional
        Where to draw; ``axes`` is its former name.

    Raises
    ------
    ValueError
        If the network is too large, or the palette is unknown.

    Examples
    --------
    >>> figure = plot_network("lenet5")
    >>> [text.get_text() for text in figure.axes[0].texts[:3]]
    ['input', 'C1', 'S2']
    >>> figure.axes[0].get_title()
    'lenet5: 8 nodes'
    """
    made = as_network(network)
    positions = _positions(made)
    depth = int(max(-y for _, y in positions.values()))
    width = 1 + round(2 * max(abs(x) for x, _ in positions.values()))
    densities = {node.name: density for node in made.nodes if (density := node_measures(node).density)}
    high = min(_TALLEST, max(1.6, _ROW * (depth + 1) * 1.4)) + 0.5
    wide = min(PAGE_WIDTH, max(4.0, _COLUMN * width + 1))
    figure, axes = axes_of(given_axes(ax, axes), wide, high)
    labels = {node.name: shorten(one_line(node.name), _LONGEST_LABEL) for node in made.nodes}
    if annotate:
        labels |= {name: f"{labels[name]}: {density:.2g}" for name, density in densities.items()}
    longest = max(map(text_width, labels.values()))  # a letter is about 0.6 times as wide as the font is high
    size = min(8.0, 72 * (high - 0.5) / (depth + 1) / 2.2, 72 * (wide - 1.2) / width / (0.65 * longest + 1))
    for node in made.nodes:
        for source in node.inputs:
            _draw_edge(axes, positions[source], positions[node.name])
    scale = _density_scale(list(densities.values()), palette)
    for node in made.nodes:
        face: Any = scale.to_rgba(densities[node.name]) if densities.get(node.name) else _WITHOUT_MATRIX
        x, y = positions[node.name]
        axes.text(
            x,
            y,
            labels[node.name],
            ha="center",
            va="center",
            fontsize=size,
            color=ink_on(face),
            bbox={"boxstyle": "round,pad=0.3", "facecolor": face, "edgecolor": "#404040", "linewidth": 0.6},
            parse_math=False,
            zorder=3,
        )
    axes.set_xlim(-width / 2 - 0.1, width / 2 + 0.1)
    axes.set_ylim(-depth - 0.6, 0.6)
    axes.set_axis_off()
    axes.set_title(f"{one_line(made.name)}: {len(made)} nodes", fontsize=10, parse_math=False)
    if densities:
        figure.colorbar(scale, ax=axes, label="density", shrink=0.6, fraction=0.06)
    return figure


def _positions(network: Network) -> dict[str, tuple[float, float]]:
    """Return the position of each node: by depth from top to bottom, and at equal depth in the order of the inputs."""
    if len(network) > _MOST_NODES:
        raise ValueError(f"the network has {len(network)} nodes, but plots show at most {_MOST_NODES}; draw part of it")
    layers: list[list[str]] = []
    depths: dict[str, int] = {}
    for node in network.nodes:
        depth = depths[node.name] = 1 + max((depths[source] for source in node.inputs), default=-1)
        layers.extend([] for _ in range(depth + 1 - len(layers)))
        layers[depth].append(node.name)
    if (widest := max(map(len, layers))) > _MOST_BESIDE:
        raise ValueError(
            f"the network has {widest} nodes of the same depth, but plots show at most {_MOST_BESIDE}; draw part of it"
        )
    positions: dict[str, tuple[float, float]] = {}
    for depth, names in enumerate(layers):
        wanted = {
            name: float(np.mean([positions[source][0] for source in network[name].inputs] or [0.0])) for name in names
        }
        ordered = sorted(names, key=wanted.__getitem__)
        for place, name in enumerate(ordered):
            positions[name] = (place - (len(ordered) - 1) / 2, -float(depth))
    return positions


def _draw_edge(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw an edge; an edge that skips layers is curved, so that it is not hidden behind their nodes."""
    bend = 0.35 if start[1] - end[1] > 1 and start[0] == end[0] else 0.0
    from matplotlib.patches import FancyArrowPatch

    edge = FancyArrowPatch(
        start,
        end,
        arrowstyle="-",
        connectionstyle=f"arc3,rad={bend}",
        color="#808080",
        linewidth=0.8,
        shrinkA=0,
        shrinkB=0,
        zorder=1,
    )
    axes.add_patch(edge)


def _density_scale(densities: list[float], palette: Palette | None) -> Any:
    """Return the colours of densities on a logarithmic scale, from light (sparse) to dark (dense)."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm

    lowest = min((math.floor(math.log10(density)) for density in densities), default=-1)
    colours = colour_scale([hex_code(colour) for colour in RAMP[::-1]] if palette is None else palette)
    return ScalarMappable(LogNorm(10.0 ** min(lowest, -1), 1.0), colours)
