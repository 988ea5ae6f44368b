"""Pictures: that they show what the pattern says, are written in both formats, and refuse what cannot be drawn."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="needs the extra plot")

from matplotlib.colors import to_rgb

import convmatrix as cm
from convmatrix import plotting
from convmatrix.graph import receptive_field
from convmatrix.plotting import plot_connections, plot_filters, plot_matrix, plot_receptive_field, plot_spectrum

SAME = cm.ConvGeometry(5, 3, padding="same")
CHANNELS = cm.ConvGeometry((4, 4), (3, 3), in_channels=2, out_channels=2, padding=1)


def picture(figure: Any) -> Any:
    return np.asarray(figure.axes[0].images[0].get_array())


def standing_out(nodes: Any) -> int:
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


def test_large_matrices_have_a_scale_of_weights() -> None:
    """Entries without names are read off a scale, which has one colour a weight and goes around each integer."""
    figure = plot_matrix(CHANNELS.pattern())
    assert not figure.axes[0].texts
    scale = figure.axes[1]
    assert scale.get_ylim() == (-0.5, 35.5)
    few_weights = plot_matrix(cm.ConvGeometry(30, 3).pattern())
    assert len(few_weights.axes) == 1
    assert len(plot_matrix(CHANNELS.pattern(), axes=few_weights.axes[0]).axes) == 1  # the caller's layout stays


@pytest.mark.parametrize("name", ["thin", "thick"])
def test_block_lines(name: str) -> None:
    """Two channels of four image rows: thin lines every four entries, a thick one between the channels."""
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


@pytest.mark.parametrize(
    ("options", "drawn"),
    [
        ({}, {(i, j) for i in range(5) for j in range(5) if abs(i - j) < 2}),
        ({"input_unit": 2}, {(1, 2), (2, 2), (3, 2)}),
        ({"output_unit": 0}, {(0, 0), (0, 1)}),
        ({"weight": 1}, {(i, i) for i in range(5)}),
        ({"weight": 0}, {(i + 1, i) for i in range(4)}),
    ],
)
def test_connections_that_stand_out(options: dict[str, int], drawn: set[tuple[int, int]]) -> None:
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
        assert [standing_out(nodes) for nodes in axes.collections] == counts
        assert {"$x_{0}$", "$h^{(1)}_{0}$", "$h^{(2)}_{4}$"} <= {text.get_text() for text in axes.texts}


def test_names_of_units_need_room() -> None:
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


@pytest.mark.parametrize("unit", [0, (1, 2, 3)])
def test_receptive_field(unit: Any) -> None:
    chain = [CHANNELS, CHANNELS]
    expected = np.zeros(CHANNELS.n_in, dtype=bool)
    expected[receptive_field(chain, unit)] = True
    image = picture(plot_receptive_field(chain, unit))
    np.testing.assert_array_equal(image, expected.reshape(2, 4, 4).any(axis=0))


def test_receptive_field_puts_channels_together() -> None:
    """A unit of one group reads one channel, and its samples are drawn all the same."""
    grouped = cm.ConvGeometry((4, 4), (2, 2), in_channels=2, out_channels=2, groups=2)
    image = picture(plot_receptive_field(grouped, (1, 1, 2)))
    assert np.argwhere(image).tolist() == [[1, 2], [1, 3], [2, 2], [2, 3]]


def test_receptive_field_of_one_axis() -> None:
    assert picture(plot_receptive_field(SAME, 0)).tolist() == [[True, True, False, False, False]]


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


def test_spectra_are_told_apart_without_colour() -> None:
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


FIGURES = {
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
}


@pytest.mark.parametrize("name", FIGURES)
def test_files_and_margins(name: str) -> None:
    """Both formats are written, and nothing is cut off: all that is drawn lies within the figure."""
    figure = FIGURES[name]()
    for suffix, start in (("png", b"\x89PNG"), ("svg", b"<?xml")):
        file = BytesIO()
        figure.savefig(file, format=suffix)
        assert file.getvalue().startswith(start)
    figure.canvas.draw()
    assert figure.get_figwidth() <= 8
    for axes in figure.axes:
        box = axes.get_tightbbox()
        assert box is not None
        assert min(box.x0, box.y0) > -1
        assert box.x1 < figure.bbox.width + 1
        assert box.y1 < figure.bbox.height + 1


# Machado, Oliveira, Fernandes, A physiologically-based model for simulation of color vision deficiency (2009): what
# people without one kind of cone see, in linear RGB.
BLINDNESS = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


@pytest.mark.parametrize("kind", BLINDNESS)
def test_colours_are_told_apart_by_the_colour_blind(kind: str) -> None:
    """Any two of the eight colours, seen so, differ by 10 in CIEDE2000, of which about 2 are just noticeable."""
    color = pytest.importorskip("skimage.color", reason="needs the extra analyses")
    colours = np.array([to_rgb(colour) for colour in plotting.COLOURS])
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(BLINDNESS[kind]).T, 0, 1)
    encoded = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
    lab = color.rgb2lab(encoded)
    assert len(lab) == 8
    assert min(color.deltaE_ciede2000(a, b) for a, b in itertools.combinations(lab, 2)) > 10


def test_matplotlib_is_loaded_when_drawing() -> None:
    root = Path(__file__).resolve().parents[1]
    code = "import sys, convmatrix.plotting; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False", done.stderr


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (
            lambda: plot_matrix(cm.ConvGeometry(5000, 2).pattern()),
            r"the matrix is 4999 x 5000, but pictures have at most 4000 rows and columns; draw a layer with a smaller",
        ),
        (
            lambda: plot_connections(cm.ConvGeometry(61, 2).pattern()),
            r"layers have \[61, 60\] units, but drawn are at least one layer and up to 60 units",
        ),
        (lambda: plot_connections([]), r"layers have \[\] units, but drawn are at least one layer"),
        (
            lambda: plot_connections([SAME.pattern(), cm.ConvGeometry(6, 3).pattern()]),
            r"patterns\[1\] reads 6 units, but patterns\[0\] has 5 outputs; give layers in order",
        ),
        (
            lambda: plot_connections(SAME.pattern(), input_unit=0, output_unit=1),
            r"input_unit=0 and output_unit=1 exclude each other; give one of them",
        ),
        (
            lambda: plot_connections(SAME.pattern(), input_unit=0, weight=2),
            r"input_unit=0 and weight=2 exclude each other",
        ),
        (lambda: plot_connections(SAME.pattern(), input_unit=5), r"input_unit 5 does not exist; there are 5, from 0"),
        (lambda: plot_connections(SAME.pattern(), output_unit=-1), r"output_unit -1 does not exist; there are 5"),
        (lambda: plot_connections(SAME.pattern(), weight=3), r"weight 3 does not exist; there are 3, from 0 on"),
        (lambda: plot_receptive_field([], 0), r"there are 0 layers, but a unit reads through at least 1"),
        (
            lambda: plot_receptive_field(cm.ConvGeometry((3, 3, 3), (2, 2, 2)), 0),
            r"the image has 3 axes, but pictures are drawn of one or two",
        ),
        (lambda: plot_filters([1, 2, 3]), r"weights have shape \(3,\), but filters are \(\.\.\., height, width\)"),
        (lambda: plot_filters(np.zeros((0, 3, 3))), r"weights have shape \(0, 3, 3\), but filters are"),
        (lambda: plot_filters([[1, np.nan], [np.inf, 0]]), r"2 of 4 weights are not finite, and have no colour"),
        (lambda: plot_filters(np.ones((2, 2)), columns=0), r"columns must be at least 1, but is 0"),
        (lambda: plot_spectrum([]), r"0 values were given, but a spectrum has at least one"),
        (lambda: plot_spectrum([1, -1]), r"2 values were given, but a spectrum has at least one, all finite and none"),
        (lambda: plot_spectrum([1, 2, np.nan]), r"3 values were given, but a spectrum has"),
    ],
)
def test_refused_values(draw: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw()


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plot_filters(np.ones((2, 2)) * 1j), r"weights are complex128, but pictures are drawn of real numbers"),
        (lambda: plot_spectrum(np.array([1j])), r"values are complex128, but .* give values\.real or abs\(\)"),
        (lambda: plot_connections(SAME.pattern(), input_unit=1.5), r"input_unit must be an integer, but is 1\.5"),
    ],
)
def test_refused_types(draw: Callable[[], Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        draw()


def test_matrices_do_not_tell_their_weights() -> None:
    matrix: Any = cm.conv_matrix([1, 2], 4)
    with pytest.raises(TypeError, match="takes a WeightPattern or a ConvGeometry, but was given a csr_array"):
        cm.plotting.plot_matrix(matrix)
