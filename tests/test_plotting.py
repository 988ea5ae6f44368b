"""Plots show what the pattern contains, are written in both formats, and reject what cannot be drawn."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="needs the extra plot")

from matplotlib import colormaps, image
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

import convmatrix as cm
from convmatrix import plotting
from convmatrix.graph import receptive_field
from convmatrix.network import Addition, Concatenation, Elementwise, Input, Network, Node, Opaque
from convmatrix.plotting import (
    plot_connections,
    plot_filters,
    plot_history,
    plot_matrix,
    plot_network,
    plot_receptive_field,
    plot_spectrum,
    save_figure,
)
from tests.cases import for_each
from tests.refusals import refused

SAME = cm.ConvGeometry(5, 3, padding="same")
CHANNELS = cm.ConvGeometry((4, 4), (3, 3), in_channels=2, out_channels=2, padding=1)


def picture(figure: Any) -> Any:
    return np.asarray(figure.axes[0].images[0].get_array())


def highlighted(nodes: Any) -> int:
    """Return how many nodes of a layer are not white."""
    return int(np.count_nonzero(nodes.get_facecolors()[:, 0] < 0.99))


def test_matrix_has_a_colour_for_each_weight() -> None:
    pattern = CHANNELS.pattern()
    image = picture(plot_matrix(pattern))
    colours = plotting.weight_colours(pattern.n_weights)
    assert len(np.unique(colours, axis=0)) == pattern.n_weights
    filled = np.zeros(pattern.shape, dtype=bool)
    for row, column, weight in zip(pattern.rows, pattern.cols, pattern.weight_index, strict=True):
        np.testing.assert_array_equal(image[row, column], colours[weight])
        filled[row, column] = True
    assert (image[~filled] == 1).all()


def test_a_geometry_is_drawn_as_its_pattern() -> None:
    np.testing.assert_array_equal(picture(plot_matrix(SAME)), picture(plot_matrix(SAME.pattern())))
    lines = [len(plot_connections(layers).axes[0].lines) for layers in (SAME, SAME.pattern(), [SAME, SAME])]
    assert lines[0] == lines[1]
    assert len(plot_connections([SAME, SAME]).axes[0].texts) == len(
        plot_connections([SAME.pattern()] * 2).axes[0].texts
    )


def test_weights_that_share_an_entry_are_named_together() -> None:
    figure = plot_matrix(cm.ConvGeometry(2, 3, padding="same", boundary="circular").pattern())
    assert sorted(text.get_text() for text in figure.axes[0].texts) == ["0+2", "0+2", "1", "1"]


def test_a_sum_has_a_stripe_for_each_of_its_weights() -> None:
    """The layer of two samples adds weights 0 and 2 at (0, 1) and (1, 0); the stripes share the cell."""
    axes = plot_matrix(cm.ConvGeometry(2, 3, padding="same", boundary="circular")).axes[0]
    (stripes,) = [drawn for drawn in axes.collections if len(drawn.get_facecolor()) == 4]
    colours = plotting.weight_colours(3)
    np.testing.assert_array_equal(stripes.get_facecolor(), colours[[0, 2, 0, 2]])
    corners = [path.get_extents().bounds for path in stripes.get_paths()]
    np.testing.assert_allclose(corners, [(x, y, 0.5, 1) for x, y in ((0.5, -0.5), (1, -0.5), (-0.5, 0.5), (0, 0.5))])
    assert len(plot_matrix(SAME).axes[0].collections) == 2  # lines between the cells


def test_palettes() -> None:
    for palette in (["red", "#00FF00", (0, 0, 1)], "brg"):
        image = picture(plot_matrix(SAME, palette=palette))
        assert [to_hex(image[1, column]) for column in range(3)] == [to_hex(c) for c in palette_of(palette)]
        lines = plot_connections(SAME, palette=palette).axes[0].lines
        assert {to_hex(line.get_color()) for line in lines} == {to_hex(c) for c in palette_of(palette)}
    assert to_hex(plotting.weight_colours(3, "tab10")[2]) == "#2ca02c"  # a list of colours, from its beginning
    assert to_hex(plot_spectrum([1.0], palette=["lime"]).axes[0].lines[0].get_color()) == "#00ff00"
    field = plot_receptive_field(SAME, 0, palette=["black", "white"]).axes[0].images[0]
    assert [to_hex(field.cmap(number)) for number in (0, 1)] == ["#000000", "#ffffff"]
    grey = plot_filters(np.eye(2), palette=["black", "white"]).axes[0].images[0].cmap(0.5)
    np.testing.assert_allclose(grey, (0.5, 0.5, 0.5, 1), atol=1 / 256)  # a colormap has 256 colours
    faces = [text.get_bbox_patch() for text in plot_network("lenet5", palette=["white", "red"]).axes[0].texts]
    assert to_hex(faces[-1].get_facecolor()) == "#ff0000"


def palette_of(palette: Any) -> Any:
    return palette if isinstance(palette, list) else colormaps[palette]([0.0, 0.5, 1.0])


def test_annotations() -> None:
    assert "C3: 0.08" in {text.get_text() for text in plot_network("lenet5", annotate=True).axes[0].texts}
    numbers = [text.get_text() for text in plot_filters([[0.125, -1], [2, 0]], annotate=True).axes[0].texts]
    assert numbers == ["0.12", "-1", "2", "0"]
    assert [text.get_text() for text in plot_connections(SAME, annotate=False).axes[0].texts] == ["$x$", "$s$"]


def test_small_axes_are_not_labelled() -> None:
    figure = Figure(figsize=(3.3, 1.5))
    narrow, wide = figure.subplots(1, 2, width_ratios=[1, 3])
    for axes, labels in ((narrow, 0), (wide, SAME.n_out * 3 - 2)):
        assert plot_matrix(SAME, ax=axes) is figure
        assert len(axes.texts) == labels
    small = cm.ConvGeometry(30, 3)
    (axes,) = plot_matrix(small).axes
    assert [text.get_text() for text in axes.get_xticklabels()][:2] == ["0", "1"]
    (crowded,) = plot_matrix(cm.ConvGeometry(40, 3)).axes
    assert [text.get_text() for text in crowded.get_xticklabels()][:2] == ["0", "5"]


def test_filters_inside_given_axes() -> None:
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert plot_filters(np.ones((3, 2, 2)), ax=left, columns=2) is figure
    boxes = [inset.get_position() for inset in left.child_axes]
    outer, other = left.get_position(), right.get_position()
    assert len([axes for axes in left.child_axes if axes.images]) == 3
    assert all(outer.x0 <= box.x0 and box.x1 <= other.x0 for box in boxes)
    assert boxes[0].y0 > boxes[2].y0


def test_history() -> None:
    history = SimpleNamespace(loss=[2.0, 1.0], validation_loss=[], metrics={"accuracy": [0.5, 0.75]})
    (line,) = plot_history(history).axes[0].lines
    assert (np.asarray(line.get_xdata()).tolist(), np.asarray(line.get_ydata()).tolist()) == ([1, 2], [2.0, 1.0])
    axes = plot_history(history, "accuracy").axes[0]
    assert np.asarray(axes.lines[0].get_ydata()).tolist() == [0.5, 0.75]
    assert axes.get_ylabel() == "accuracy"


@for_each("suffix, start", [("pdf", b"%PDF"), ("PNG", b"\x89PNG"), ("svg", b"<?xml")])
def test_saved_files(suffix: str, start: bytes, tmp_path: Path) -> None:
    """The same figure gives the same bytes; fonts in PDF are not of Type 3."""
    path = tmp_path / f"matrix.{suffix}"
    written = []
    for _ in range(2):
        save_figure(plot_matrix(SAME), path, dpi=50)
        written.append(path.read_bytes())
    assert written[0] == written[1]
    assert written[0].startswith(start)
    assert b"/Type3" not in written[0]


def test_a_failure_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "figure.svg"
    path.write_text("before")
    figure = plot_spectrum([1.0])
    figure.axes[0].set_title("$\\notacommand$")  # matplotlib finds out when it draws
    with pytest.raises(ValueError, match="notacommand"):
        save_figure(figure, path)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_picture_of_the_readme() -> None:
    """The picture in the repository is the one that its script draws, up to the rendering of letters."""
    root = Path(__file__).resolve().parents[1]
    path = root / "docs" / "pictures" / "circular_matrix.py"
    specification = importlib.util.spec_from_file_location("circular_matrix", path)
    assert specification is not None
    assert specification.loader is not None
    script = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(script)
    drawn = BytesIO()
    script.draw().savefig(drawn, format="png", dpi=160)
    drawn.seek(0)
    ours, kept = (np.asarray(image.imread(source)) for source in (drawn, path.with_suffix(".png")))
    assert ours.shape == kept.shape
    assert float(np.abs(ours - kept).mean()) < 0.01


def test_large_matrices_have_a_scale_of_weights() -> None:
    """The scale has one colour per weight, centred on its number."""
    figure = plot_matrix(CHANNELS.pattern(), annotate=False)
    assert not figure.axes[0].texts
    scale = figure.axes[1]
    assert scale.get_ylim() == (-0.5, 35.5)
    few_weights = plot_matrix(cm.ConvGeometry(50, 12).pattern())
    assert len(few_weights.axes) == 1
    assert not few_weights.axes[0].texts
    assert len(plot_matrix(CHANNELS.pattern()).axes[0].texts) == 400
    assert len(plot_matrix(CHANNELS.pattern(), axes=few_weights.axes[0]).axes) == 1  # the caller's layout stays


@for_each("name", ["thin", "thick"])
def test_block_lines(name: str) -> None:
    """With two channels of four image rows: thin lines every four entries, a thick one between the channels."""
    axes = plot_matrix(CHANNELS.pattern()).axes[0]
    lines = [line for line in axes.lines if (line.get_linewidth() > 1) == (name == "thick")]
    across = sorted(y[0] for line in lines if len(set(y := np.asarray(line.get_ydata()).tolist())) == 1)
    upright = sorted(x[0] for line in lines if len(set(x := np.asarray(line.get_xdata()).tolist())) == 1)
    places = [15.5] if name == "thick" else [3.5, 7.5, 11.5, 19.5, 23.5, 27.5]
    assert across == upright == places
    assert not plot_matrix(CHANNELS.pattern(), blocks=False).axes[0].lines


def test_pattern_without_a_layer_has_no_blocks() -> None:
    pattern = cm.WeightPattern.from_triplets((4, 4), range(4), range(4), [0] * 4, 1)
    assert not plot_matrix(pattern).axes[0].lines


@for_each(
    ("options", "drawn"),
    [
        ({}, {(i, j) for i in range(5) for j in range(5) if abs(i - j) < 2}),
        ({"input_unit": 2}, {(1, 2), (2, 2), (3, 2)}),
        ({"output_unit": 0}, {(0, 0), (0, 1)}),
        ({"weight": 1}, {(i, i) for i in range(5)}),
        ({"weight": 0}, {(i + 1, i) for i in range(4)}),
    ],
)
def test_highlighted_connections(options: dict[str, int], drawn: set[tuple[int, int]]) -> None:
    axes = plot_connections(SAME.pattern(), **options).axes[0]
    assert len(axes.lines) == SAME.pattern().n_entries
    bold = [line for line in axes.lines if line.get_linewidth() == 2]
    colours = plotting.weight_colours(3)
    ends = set()
    for line in bold:
        column, row = (round(x) + 2 for x in np.asarray(line.get_xdata()).tolist())
        np.testing.assert_allclose(to_rgb(line.get_color()), colours[column - row + 1, :3])
        ends.add((row, column))
    assert ends == drawn


def test_connections_through_two_layers() -> None:
    pattern = SAME.pattern()
    for options, counts in (({"output_unit": 0}, [3, 2, 1]), ({"input_unit": 0}, [1, 2, 3]), ({}, [5, 5, 5])):
        axes = plot_connections([pattern, pattern], **options).axes[0]
        assert [highlighted(nodes) for nodes in axes.collections] == counts
        assert {"$x_{0}$", "$h^{(1)}_{0}$", "$h^{(2)}_{4}$"} <= {text.get_text() for text in axes.texts}


def test_many_units_share_one_name() -> None:
    few, many = (plot_connections(cm.ConvGeometry(n, 3).pattern()).axes[0] for n in (14, 15))
    assert len(few.texts) == 14 + 12
    assert [text.get_text() for text in many.texts] == ["$x$", "$s$"]


def test_nodes_do_not_overlap() -> None:
    for n in (5, 14, 30, 60):
        figure = plot_connections(cm.ConvGeometry(n, 3, padding="same").pattern())
        figure.canvas.draw()
        axes = figure.axes[0]
        (left, _), (right, _) = axes.transData.transform([(0, 0), (1, 0)])
        diameter = float(np.sqrt(axes.collections[0].get_sizes()[0])) / 72 * figure.dpi
        assert diameter < right - left
        assert figure.get_figwidth() <= 7


@for_each("unit", [0, (1, 2, 3)])
def test_receptive_field(unit: Any) -> None:
    chain = [CHANNELS, CHANNELS]
    expected = np.zeros(CHANNELS.n_in, dtype=bool)
    expected[receptive_field(chain, unit)] = True
    image = picture(plot_receptive_field(chain, unit))
    np.testing.assert_array_equal(image, expected.reshape(2, 4, 4).any(axis=0))


def test_receptive_field_puts_channels_together() -> None:
    """A unit of one group reads one channel only; its samples are drawn nevertheless."""
    grouped = cm.ConvGeometry((4, 4), (2, 2), in_channels=2, out_channels=2, groups=2)
    image = picture(plot_receptive_field(grouped, (1, 1, 2)))
    assert np.argwhere(image).tolist() == [[1, 2], [1, 3], [2, 2], [2, 3]]


def test_receptive_field_of_one_axis_and_of_a_network() -> None:
    assert picture(plot_receptive_field(SAME, 0)).tolist() == [[True, True, False, False, False]]
    figure = plot_receptive_field("lenet5", 3)
    assert figure.axes[0].get_title() == "unit 3 reads 1024 of 1024 samples"
    assert picture(figure).shape == (32, 32)
    assert picture(plot_receptive_field(cm.WeightPattern.from_triplets((1, 3), [0], [2], [0], 1), 0)).tolist() == [
        [False, False, True]
    ]


def test_filters_have_one_scale() -> None:
    weights = np.arange(-7, 20).reshape(3, 1, 3, 3)
    figure = plot_filters(weights, columns=3)
    for axes, one in zip(figure.axes[:3], weights, strict=True):
        np.testing.assert_array_equal(np.asarray(axes.images[0].get_array()), one[0])
        assert axes.images[0].get_clim() == (-19, 19)
    assert plot_filters(np.zeros((2, 2))).axes[0].images[0].get_clim() == (-1, 1)


def test_filters_in_columns() -> None:
    places = [axes.get_subplotspec() for axes in plot_filters(np.ones((5, 2, 2)), columns=2).axes[:5]]
    rows_and_columns = [(place.rowspan.start, place.colspan.start) for place in places if place is not None]
    assert rows_and_columns == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]


def test_spectra_differ_without_colour() -> None:
    figure = plot_spectrum([1, 3, 2], label="a")
    axes = figure.axes[0]
    assert plot_spectrum([1, 1], label="b", axes=axes) is figure
    first, second = axes.lines
    assert np.asarray(first.get_ydata()).tolist() == [3, 2, 1]
    assert first.get_linestyle() != second.get_linestyle()
    assert first.get_color() != second.get_color()


def test_a_larger_spectrum_is_not_cut_off() -> None:
    figure = plot_spectrum([1.0, 0.5])
    plot_spectrum([10.0, 2.0], axes=figure.axes[0])
    low, high = figure.axes[0].get_ylim()
    assert low == 0
    assert high > 10


def branches(count: int) -> Network:
    """Return a network with parallel branches."""
    names = [f"branch {number} with a long name" for number in range(count)]
    return Network(
        [
            Node("input", Input((1, 4))),
            *(Node(name, Elementwise("relu"), ("input",)) for name in names),
            Node("join", Concatenation(), tuple(names)),
        ]
    )


def test_network_has_a_box_per_node_and_an_edge_per_input() -> None:
    layer = cm.network.Convolution(cm.ConvGeometry(4, 3, padding=1))
    nodes = [
        Node("input", Input((1, 4))),
        Node("$x_1^2$ & <b>", layer),
        Node("a", layer, ("input",)),
        Node("sum", Addition(), ("$x_1^2$ & <b>", "a", "input")),
        Node("unknown", Opaque("NonZero", (2,))),
    ]
    figure = plot_network(Network(nodes, name="$net$"))
    axes = figure.axes[0]
    boxes = {text.get_text(): text for text in axes.texts}
    assert set(boxes) == {node.name for node in nodes}
    assert len(axes.patches) == 1 + 1 + 3 + 1
    heights = {name: text.get_position()[1] for name, text in boxes.items()}
    assert heights["input"] > heights["a"] == heights["$x_1^2$ & <b>"] > heights["sum"] > heights["unknown"]
    faces = {name: to_rgb(text.get_bbox_patch().get_facecolor()) for name, text in boxes.items()}
    assert faces["input"] == faces["unknown"] == (1, 1, 1)
    assert faces["a"] == faces["$x_1^2$ & <b>"] != faces["sum"]
    assert axes.get_title() == "$net$: 5 nodes"
    assert len(plot_network("vgg16").axes) == 2  # with the scale of densities


FIGURES = {
    "network": lambda: plot_network("lenet5"),
    "network of branches": lambda: plot_network(branches(12)),
    "matrix": lambda: plot_matrix(CHANNELS.pattern()),
    "small matrix": lambda: plot_matrix(cm.ConvGeometry((3, 3), (2, 2)).pattern()),
    "tiny matrix": lambda: plot_matrix(cm.ConvGeometry(2, 3, padding="same", boundary="circular").pattern()),
    "wide matrix": lambda: plot_matrix(cm.ConvGeometry(24, 20).pattern()),
    "many units": lambda: plot_connections([cm.ConvGeometry(60, 3, padding="same").pattern()] * 3),
    "high field": lambda: plot_receptive_field([cm.ConvGeometry((90, 20), (3, 3))], (0, 40, 4)),
    "flat field": lambda: plot_receptive_field(SAME, 0),
    "one filter": lambda: plot_filters(np.eye(5)),
    "connections": lambda: plot_connections([SAME.pattern()] * 2, output_unit=2),
    "field": lambda: plot_receptive_field([CHANNELS, CHANNELS], (0, 1, 1)),
    "filters": lambda: plot_filters(np.eye(5)[None].repeat(7, axis=0)),
    "spectrum": lambda: plot_spectrum([3.0, 2.0, 1.0], label="layer"),
    "sums": lambda: plot_matrix(cm.ConvGeometry((4, 4), (3, 3), padding=1, boundary="reflect")),
}


@for_each("name", FIGURES)
def test_files_and_margins(name: str) -> None:
    """The figure can be rendered, and everything drawn lies within it."""
    figure = FIGURES[name]()
    file = BytesIO()
    figure.savefig(file, format="png")
    assert file.getvalue().startswith(b"\x89PNG")
    assert figure.get_figwidth() <= 8
    for axes in figure.axes:
        box = axes.get_tightbbox()
        assert box is not None
        assert min(box.x0, box.y0) > -1
        assert box.x1 < figure.bbox.width + 1
        assert box.y1 < figure.bbox.height + 1


def test_matplotlib_is_loaded_on_first_use() -> None:
    root = Path(__file__).resolve().parents[1]
    code = "import sys, convmatrix.plotting; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False", done.stderr


@for_each(
    "error, draw, message",
    [
        (ValueError, lambda: plot_matrix(cm.ConvGeometry(5000, 2)), "matrix 4999 x 5000 4000 input_shape"),
        (ValueError, lambda: plot_connections(cm.ConvGeometry(61, 2)), "plots 60, 61, 60"),
        (ValueError, lambda: plot_connections([]), "plots 60"),
        (ValueError, lambda: plot_connections([SAME, cm.ConvGeometry(6, 3)]), "patterns[1] reads 6, patterns[0] has 5"),
        (ValueError, lambda: plot_connections(SAME, input_unit=0, output_unit=1), "input_unit=0 and output_unit=1"),
        (ValueError, lambda: plot_connections(SAME, input_unit=0, weight=2), "input_unit=0 and weight=2"),
        (ValueError, lambda: plot_connections(SAME, input_unit=5), "input_unit=5; there are 5, counted from 0"),
        (ValueError, lambda: plot_connections(SAME, output_unit=-1), "output_unit=-1; there are 5"),
        (ValueError, lambda: plot_connections(SAME, weight=3), "weight=3; there are 3, counted from 0"),
        (TypeError, lambda: plot_connections(SAME, input_unit=1.5), "input_unit 1.5"),  # type: ignore[arg-type]
        (ValueError, lambda: plot_receptive_field([], 0), "layers"),
        (ValueError, lambda: plot_network(branches(13)), "13 nodes of the same depth at most 12"),
        (
            ValueError,
            lambda: plot_network([Input((1, 4)), *[Elementwise("relu")] * 400]),
            "network has 401 nodes at most 400",
        ),
        (ValueError, lambda: plot_receptive_field(cm.ConvGeometry((3, 3, 3), (2, 2, 2)), 0), "input has 3 axes 1 or 2"),
        (ValueError, lambda: plot_filters([1, 2, 3]), "weights (3,)"),
        (ValueError, lambda: plot_filters(np.zeros((0, 3, 3))), "weights (0, 3, 3)"),
        (ValueError, lambda: plot_filters([[1, np.nan], [np.inf, 0]]), "weights 2 of 4"),
        (ValueError, lambda: plot_filters(np.ones((2, 2)), columns=0), "columns 1 0"),
        (TypeError, lambda: plot_filters(np.ones((2, 2)) * 1j), "weights complex128"),
        (ValueError, lambda: plot_spectrum([]), "values 1"),
        (ValueError, lambda: plot_spectrum([1, -1]), "values 1 of 2"),
        (ValueError, lambda: plot_spectrum([1, 2, np.nan]), "values 1 of 3"),
        (TypeError, lambda: plot_spectrum(np.array([1j])), "values complex128"),
        (TypeError, lambda: plot_matrix(cm.conv_matrix([1, 2], 4)), "plot_matrix csr_array"),
        (ValueError, lambda: plot_matrix(SAME, palette=["red", "blue"]), "palette 2 3"),
        (ValueError, lambda: plot_matrix(cm.ConvGeometry(20, 11), palette="tab10"), "'tab10' 10 11"),
        (ValueError, lambda: plot_matrix(SAME, palette="no such"), "palette 'no"),
        (ValueError, lambda: plot_connections(SAME, palette=["no such", "red", "blue"]), "palette"),
        (ValueError, lambda: plot_filters(np.eye(2), palette=["red"]), "palette 1 2"),
        (ValueError, lambda: plot_spectrum([1.0], ax=Figure().subplots(), axes=Figure().subplots()), "axes"),
        (ValueError, lambda: plot_history(SimpleNamespace(loss=[], validation_loss=[])), "history 0 1"),
        (ValueError, lambda: plot_history(SimpleNamespace(loss=[1], metrics={}), "accuracy"), "metric 'accuracy'"),
        (ValueError, lambda: save_figure(plot_spectrum([1.0]), "spectrum.jpg"), "path 'spectrum.jpg'"),
        (ValueError, lambda: save_figure(plot_spectrum([1.0]), "spectrum"), "path 'spectrum'"),
        (ValueError, lambda: save_figure(plot_spectrum([1.0]), "spectrum.png", dpi=0), "positive, 0"),
        (OSError, lambda: save_figure(plot_spectrum([1.0]), "no/such/folder/spectrum.png"), "save"),
    ],
)
def test_refused(error: type[Exception], draw: Callable[[], Any], message: str) -> None:
    with refused(error, message):
        draw()
