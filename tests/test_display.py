"""Layers, patterns, verdicts and proofs as HTML for notebooks, and matrices as text for terminals."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from itertools import combinations, pairwise
from typing import Any, Literal
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from scipy import sparse

import convmatrix as cm
from convmatrix.display import block_levels, geometry_html, matrix_text, pattern_html, verdict_html, window_weights
from convmatrix.display.block_structure import _runs
from convmatrix.display.matrix_window import unravel, weight_name, window_terms
from convmatrix.display.palette import DISTINCT, is_light, key_colours, palette
from convmatrix.display.terminal import coloured, terminal_colours, value_text
from convmatrix.proofs.catalogue import all_theorems
from convmatrix.proofs.results import _markdown
from tests.cases import LENET5_C3, each_case, for_each, integer_weights
from tests.refusals import refused

ANSI = re.compile(r"\x1b\[[0-9;]*m")
BACKGROUND = re.compile(r"\x1b\[48;5;(\d+);38;5;(\d+)m *([^\x1b ]+)\x1b\[0m")
EXAMPLE = cm.ConvGeometry((3, 3), (2, 2))
REFLECT = cm.ConvGeometry(4, 3, padding="same", boundary="reflect")


def plain_rows(text: str, n_rows: int) -> list[list[str]]:
    return [line.split() for line in ANSI.sub("", text).splitlines()[:n_rows]]


# --- weights in a window --------------------------------------------------------------------------------------------


@each_case
def test_window_weights_are_those_of_the_pattern(geometry: cm.ConvGeometry) -> None:
    pattern = geometry.pattern()
    expected: dict[tuple[int, int], tuple[int, ...]] = {}
    for row, column, weight in zip(
        pattern.rows.tolist(), pattern.cols.tolist(), pattern.weight_index.tolist(), strict=True
    ):
        expected[row, column] = (*expected.get((row, column), ()), weight)
    assert window_weights(geometry, range(geometry.n_out), range(geometry.n_in)) == expected


@each_case
def test_a_window_in_column_major_order_adds_up_to_the_matrix(geometry: cm.ConvGeometry) -> None:
    weights = integer_weights(geometry)
    rows = range(geometry.n_out // 3, geometry.n_out // 3 + min(10, geometry.n_out - geometry.n_out // 3))
    columns = range(geometry.n_in // 4, geometry.n_in)
    window = np.zeros((len(rows), len(columns)), dtype=np.int64)
    for (row, column), own in window_terms(geometry, rows, columns, "F").items():
        window[row - rows.start, column - columns.start] = sum(weights.flat[weight] * factor for weight, factor in own)
    A = cm.conv_matrix(weights, geometry, order="F").toarray()
    np.testing.assert_array_equal(window, A[rows.start : rows.stop, columns.start : columns.stop])


def test_the_cost_of_a_window_depends_on_its_size() -> None:
    huge = cm.ConvGeometry((2**40, 2**40), (3, 3), in_channels=3, out_channels=3, padding="same", boundary="circular")
    start = time.perf_counter()
    found = window_weights(huge, range(2), range(2**40, 2**40 + 3))
    assert found == {
        (0, 2**40): (7,),
        (0, 2**40 + 1): (8,),
        (1, 2**40): (6,),
        (1, 2**40 + 1): (7,),
        (1, 2**40 + 2): (8,),
    }
    assert time.perf_counter() - start < 2


@for_each("order", ["C", "F"])
def test_unravel_agrees_with_numpy(order: Literal["C", "F"]) -> None:
    for index in range(24):
        assert unravel(index, (2, 3, 4), order) == tuple(np.unravel_index(index, (2, 3, 4), order=order))


@for_each(
    ("weights", "name"),
    [((7,), "w7"), ((0, 2), "w0+w2"), ((1, 1), "2w1"), ((0, 3, 3, 3), "w0+3w3"), (tuple(range(12)), "w0+..+w11")],
)
def test_weight_names(weights: tuple[int, ...], name: str) -> None:
    assert weight_name(tuple((weight, 1) for weight in weights)) == name


@for_each(
    ("terms", "name"),
    [
        (((7, -1),), "-w7"),
        (((0, 2), (2, -1)), "2w0-w2"),
        (((0, -1), (2, 1)), "-w0+w2"),
        (((1, 0.5), (1, 0.25), (3, -0.125)), "0.75w1-0.125w3"),
        (tuple((k, -1) for k in range(12)), "-w0+..-w11"),
    ],
)
def test_weight_names_with_coefficients(terms: tuple[tuple[int, float], ...], name: str) -> None:
    assert weight_name(terms) == name


# --- colours ---------------------------------------------------------------------------------------------------------

# Machado, Oliveira, Fernandes, A physiologically-based model for simulation of color vision deficiency (2009): what
# people without one kind of cone see, in linear RGB.
VISION = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def smallest_difference(colours: Any, kind: str) -> float:
    """Return the smallest difference (CIEDE2000) between any two colours, in [0, 1], as seen with a kind of vision."""
    color = pytest.importorskip("skimage.color", reason="needs the extra analyses")
    colours = np.asarray(colours)
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(VISION[kind]).T, 0, 1)
    lab = color.rgb2lab(np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055))
    return min(float(color.deltaE_ciede2000(a, b)) for a, b in combinations(lab, 2))


@for_each("kind", VISION)
def test_colours_differ_in_every_kind_of_vision(kind: str) -> None:
    """Two colours are just noticeably different at about 2; many weights differ more than in cividis and viridis."""
    matplotlib = pytest.importorskip("matplotlib", reason="needs the extra plot")
    assert smallest_difference(np.array(palette(12)) / 255, kind) > 10
    for n in (9, 13, 16, 25):
        ours = smallest_difference(np.array(palette(n)) / 255, kind)
        for name in ("cividis", "viridis"):
            assert ours > smallest_difference(matplotlib.colormaps[name](np.linspace(0, 1, n))[:, :3], kind)


@for_each("kind", VISION)
def test_twelve_colours_of_a_terminal_differ(kind: str) -> None:
    """A terminal of 256 colours shows the nearest ones; they stay apart in every kind of vision."""
    levels = np.array([0, 95, 135, 175, 215, 255]) / 255  # of the cube of 216 colours that begins at code 16
    codes = np.array(terminal_colours(palette(12))) - 16
    shown = levels[np.stack([codes // 36, codes // 6 % 6, codes % 6], axis=1)]
    assert smallest_difference(shown, kind) > 8


@for_each("n", [0, 1, 11, 12, 13, 25, 49, 150])
def test_every_weight_has_its_own_colour(n: int) -> None:
    assert len(set(palette(n))) == n
    assert (palette(n) == list(DISTINCT[:n])) == (n <= 12)
    assert palette(n) == palette(n)


def test_many_weights_differ_in_lightness() -> None:
    ramp = [0.2126 * red + 0.7152 * green + 0.0722 * blue for red, green, blue in palette(30)]
    assert all(b - a > 3 for a, b in pairwise(ramp))


def test_a_weight_keeps_its_colour_in_every_window() -> None:
    assert key_colours([4, 5], n_weights=9)[5] == key_colours([5, 8], n_weights=9)[5]
    assert len(key_colours([5], n_weights=16)) == 16
    assert key_colours([100, 200], n_weights=17) == {100: DISTINCT[0], 200: DISTINCT[1]}


@for_each("n", [12, 49])
def test_text_reads_on_every_colour(n: int) -> None:
    def luminance(colour: tuple[int, ...]) -> float:
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (c / 255 for c in colour)]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear))

    for colour in palette(n):
        ink = 0.0 if is_light(colour) else 1.0
        light, dark = sorted((luminance(colour), ink), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG 2, level AA


def test_terminals_use_their_nearest_colours() -> None:
    assert terminal_colours([(0, 0, 0), (255, 255, 255), (250, 140, 90)]) == [16, 231, 209]
    assert coloured("x", 16) == "\x1b[48;5;16;38;5;231mx\x1b[0m"
    assert coloured("x", 209) == "\x1b[48;5;209;38;5;16mx\x1b[0m"


@for_each("n", [12, 13, 25, 216])
def test_terminals_show_every_weight_in_its_own_colour(n: int) -> None:
    assert len(set(terminal_colours(palette(n)))) == n


def test_more_weights_than_a_terminal_has_colours() -> None:
    assert len(terminal_colours(palette(300))) == 300


# --- text ------------------------------------------------------------------------------------------------------------


def test_the_textbook_example() -> None:
    A = cm.conv_matrix([[1, 2], [3, 4]], (3, 3))
    assert matrix_text(A, EXAMPLE).splitlines() == [
        "1 2 . 3 4 . . . .",
        ". 1 2 . 3 4 . . .",
        ". . . 1 2 . 3 4 .",
        ". . . . 1 2 . 3 4",
        "4 x 9 matrix, 16 entries",
        "4 weights: w0=1 w1=2 w2=3 w3=4",
        ". no entry",
    ]
    assert matrix_text(A, EXAMPLE, names=True).splitlines()[:2] == [
        "w0 w1  . w2 w3  .  .  .  .",
        " . w0 w1  . w2 w3  .  .  .",
    ]


def test_a_sum_of_weights_is_shown_as_such() -> None:
    A = cm.conv_matrix([1, 2, 4], REFLECT)
    text = matrix_text(A, REFLECT)
    assert plain_rows(text, 4) == [
        ["2", "5*", ".", "."],
        ["1", "2", "4", "."],
        [".", "1", "2", "4"],
        [".", ".", "5*", "2"],
    ]
    assert text.splitlines()[0].index("5") == text.splitlines()[1].index("2")  # digits under digits
    assert "* sum of several weights" in text
    names = matrix_text(A, REFLECT, names=True)
    assert plain_rows(names, 4)[0] == ["w1", "w0+w2", ".", "."]
    assert "*" not in names


def test_a_weight_of_zero_is_an_entry() -> None:
    A = cm.conv_matrix([0, 1], 3)
    assert plain_rows(matrix_text(A, cm.ConvGeometry(3, 2)), 2) == [["0", "1", "."], [".", "0", "1"]]


@each_case
def test_names_add_up_to_the_matrix(geometry: cm.ConvGeometry) -> None:
    weights = integer_weights(geometry)
    A = cm.conv_matrix(weights, geometry)
    rows = plain_rows(matrix_text(A, geometry, names=True, width=10**5, max_rows=10**5), geometry.n_out)
    shown = np.zeros(A.shape, dtype=np.int64)
    for i, row in enumerate(rows):
        for j, name in enumerate(row):
            if ".." in name:
                shown[i, j] = A[i, j]  # too long to be written out
            elif name != ".":
                for sign, count, weight in re.findall(r"([+-]?)(\d*)w(\d+)", name):
                    shown[i, j] += int(f"{sign}{count or 1}") * weights.flat[int(weight)]
    np.testing.assert_array_equal(shown, A.toarray())


@for_each("width", [1, 8, 20, 33, 80, 200])
@for_each("names", [False, True])
@for_each("first_row", [0, 300])
def test_text_fits_the_width_and_fills_it(width: int, first_row: int, *, names: bool) -> None:
    geometry = cm.ConvGeometry((28, 28), (3, 3), padding="same")
    A = cm.conv_matrix(np.arange(10, 19).reshape(3, 3), geometry, rows=(first_row, first_row + 20))
    text = matrix_text(A, geometry, names=names, first_row=first_row, n_rows=784, width=width, max_rows=12)
    grid = text.splitlines()[:12]
    elided = len(" ...") * (2 if first_row else 1)  # on the right, and on the left
    n_columns = max((width - elided + 1) // 3, 1)  # cells of two characters and a blank
    assert {len(line) for line in grid} == {3 * n_columns - 1 + elided}
    assert text.splitlines()[12] == "..."


def test_a_slab_begins_where_its_first_row_does() -> None:
    geometry = cm.ConvGeometry((28, 28), (3, 3))
    A = cm.conv_matrix(np.arange(9).reshape(3, 3), geometry, rows=(100, 103))
    text = matrix_text(A, geometry, first_row=100, n_rows=676, width=30)
    lines = text.splitlines()
    assert lines[0].startswith("... 0 1 2 .")
    assert lines[1].startswith("... . 0 1 2")
    assert lines[3] == "676 x 784 matrix, showing rows 100 to 102 and columns 106 to 116"


def test_the_legend_says_what_was_left_out() -> None:
    A = cm.conv_matrix(np.arange(50), 100)
    text = matrix_text(A, cm.ConvGeometry(100, 50), width=40, max_rows=3)
    lines = text.splitlines()
    assert lines[3] == "..."
    assert lines[4] == "51 x 100 matrix, showing rows 0 to 2 and columns 0 to 11"
    assert lines[5] == "50 weights: w0=0 w1=1 w2=2 w3=3 w4=4 ..."
    assert len(lines[5]) <= 40
    assert matrix_text(A, cm.ConvGeometry(100, 50), max_columns=2).splitlines()[0] == "0 1 ..."


def test_colouring_by_weight_changes_nothing_else() -> None:
    geometry = cm.ConvGeometry(4, 3, padding="same", boundary="reflect", out_channels=2)
    A = cm.conv_matrix(np.arange(6).reshape(2, 1, 3), geometry)
    coloured, plain = (matrix_text(A, geometry, names=True, colour=colour) for colour in (True, False))
    assert "\x1b" not in plain
    assert ANSI.sub("", coloured) == plain
    backgrounds: dict[str, set[str]] = {}
    for background, _, name in BACKGROUND.findall(coloured):
        backgrounds.setdefault(name, set()).add(background)
    assert all(len(found) == 1 for found in backgrounds.values())
    assert backgrounds["w0+w2"] == backgrounds["w3+w5"] == {"188"}  # grey
    singles = [next(iter(backgrounds[f"w{k}"])) for k in range(6)]
    assert len(set(singles)) == 6
    assert "188" not in singles


def test_values_have_the_colours_of_their_weights() -> None:
    A = cm.conv_matrix([5, 5, 7], 5)
    found = BACKGROUND.findall(matrix_text(A, cm.ConvGeometry(5, 3), colour=True).splitlines()[0])
    assert [text for _, _, text in found] == ["5", "5", "7"]
    assert len({background for background, _, _ in found}) == 3


def test_without_a_geometry_values_are_coloured() -> None:
    A = cm.conv_matrix([5, 5, 7], 5)
    text = matrix_text(A, colour=True)
    found = BACKGROUND.findall(text.splitlines()[0])
    assert found[0][0] == found[1][0] != found[2][0]
    assert "weights" not in text


def test_any_number_can_be_shown() -> None:
    values = np.array([[1 + 2j, complex("nan"), -1j], [np.inf, 1e-30, 12345.678]])
    rows = plain_rows(matrix_text(sparse.coo_array(values), colour=True), 2)
    assert rows == [["1+2j", "nan+0j", "-0-1j"], ["inf+0j", "1e-30+0j", "1.23e+04+0j"]]
    assert value_text(-(10**12)) == "-1000000000000"
    assert value_text(2 / 3) == "0.667"


def test_entries_stored_twice_are_added() -> None:
    A = sparse.csr_array((np.array([1, 2]), np.array([1, 1]), np.array([0, 2])), shape=(1, 2))
    assert matrix_text(A).splitlines()[:2] == [". 3", "1 x 2 matrix, 1 entry"]
    assert A.nnz == 2


def test_a_matrix_without_entries() -> None:
    assert matrix_text(sparse.csr_array((2, 3))).splitlines() == [
        ". . .",
        ". . .",
        "2 x 3 matrix, 0 entries",
        ". no entry",
    ]


def test_the_matrix_given_is_not_changed() -> None:
    A = sparse.csr_array((np.array([1, 2]), np.array([1, 0]), np.array([0, 2])), shape=(1, 2))  # unsorted
    matrix_text(A)
    assert A.indices.tolist() == [1, 0]


def test_names_require_a_geometry() -> None:
    with refused(ValueError, "names=True requires geometry"):
        matrix_text(sparse.eye_array(3), names=True)


def test_the_geometry_must_be_that_of_the_matrix() -> None:
    with refused(ValueError, "matrix is 3 x 3, but the layer has a 4 x 9 matrix; first_row and n_rows"):
        matrix_text(sparse.eye_array(3), EXAMPLE)
    A = cm.conv_matrix(np.ones((2, 2)), (3, 4), order="F")
    with refused(ValueError, "column 3 of the matrix, in order 'C'"):
        matrix_text(A, cm.ConvGeometry((3, 4), (2, 2)))
    assert plain_rows(matrix_text(A, cm.ConvGeometry((3, 4), (2, 2)), names=True, order="F"), 1)[0][:5] == [
        "w0",
        "w2",
        ".",
        "w1",
        "w3",
    ]


# --- HTML ------------------------------------------------------------------------------------------------------------


def parsed(geometry: cm.ConvGeometry) -> ET.Element:
    return ET.fromstring(geometry_html(geometry).replace("&times;", "x"))


def svg(geometry: cm.ConvGeometry) -> list[ET.Element]:
    """Return the drawn entries of a layer."""
    return parsed(geometry).findall(".//{http://www.w3.org/2000/svg}g[{http://www.w3.org/2000/svg}title]")


def parts(entry: ET.Element, tag: str) -> list[ET.Element]:
    return entry.findall(f"{{http://www.w3.org/2000/svg}}{tag}")


@each_case
def test_html_draws_every_entry(geometry: cm.ConvGeometry) -> None:
    matrix = cm.conv_matrix(integer_weights(geometry), geometry)
    entries = svg(geometry)
    if max(matrix.shape) > 100 or matrix.nnz > 2500:
        assert entries == []
        assert "blocks within blocks" in geometry_html(geometry)
        return
    assert len(entries) == matrix.nnz
    titles = [parts(entry, "title")[0].text or "" for entry in entries]
    places = [re.search(r"row (\d+) .*column (\d+) ", title) for title in titles]
    stored = matrix.tocoo()
    expected = set(zip(stored.row.tolist(), stored.col.tolist(), strict=True))
    assert {(int(place[1]), int(place[2])) for place in places if place} == expected


def test_html_is_readable_without_colour() -> None:
    entries = svg(cm.ConvGeometry((3, 3), (2, 2)))
    assert [parts(entry, "text")[0].text for entry in entries][:4] == ["w0", "w1", "w2", "w3"]
    assert parts(entries[3], "title")[0].text == (
        "w3 at row 0 (channel 0, output [0, 0]), column 4 (channel 0, input [1, 1]); w3 = weights[0, 0, 1, 1]"
    )


def test_html_stripes_a_sum_of_weights() -> None:
    entry = next(e for e in svg(REFLECT) if (parts(e, "title")[0].text or "").startswith("w0+w2 at row 0"))
    stripes = parts(entry, "rect")
    assert len(stripes) == 2
    assert stripes[0].attrib["fill"] != stripes[1].attrib["fill"]
    assert float(stripes[1].attrib["x"]) == pytest.approx(
        float(stripes[0].attrib["x"]) + float(stripes[0].attrib["width"])
    )
    label = parts(entry, "text")[0]
    assert (label.text, label.attrib["fill"], label.attrib["stroke"]) == ("w0+w2", "#000", "#fff")


def test_html_of_a_large_layer_is_the_structure_of_its_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(_: object) -> None:
        raise AssertionError("built the pattern")

    monkeypatch.setattr(cm.ConvGeometry, "pattern", forbidden)
    geometry = cm.ConvGeometry((224, 112), (3, 5), in_channels=512, out_channels=256, padding="same", groups=2)
    root = parsed(geometry)
    assert len(geometry._repr_html_()) < 10_000
    cells = [[cell.text or "" for cell in row] for row in root.iter("tr") if len(row) == 4]
    assert cells == [
        ["level", "blocks", "structure", "diagonals"],
        ["channels", "256 x 512", "65536 of 131072 pairs connected", ""],
        ["axis 0", "224 x 224", "Toeplitz", "3 diagonals (-1 to 1)"],
        ["axis 1", "112 x 112", "Toeplitz", "5 diagonals (-2 to 2)"],
    ]
    pictures = root.findall(".//{http://www.w3.org/2000/svg}svg")
    assert [parts(picture, "title")[0].text for picture in pictures] == [
        "axis 0: 224 x 224, Toeplitz, 3 diagonals (-1 to 1)",
        "axis 1: 112 x 112, Toeplitz, 5 diagonals (-2 to 2)",
    ]
    assert [len(picture.findall(".//{http://www.w3.org/2000/svg}path")) for picture in pictures] == [3, 5]
    few = cm.ConvGeometry((9, 9), (3, 3), in_channels=4, out_channels=4, groups=4)
    assert geometry_html(few).count("<svg") == 3  # the connected channels are drawn as well


@for_each(
    "geometry",
    [cm.ConvGeometry(2**40, 2**39, padding="same"), cm.ConvGeometry(3, 1, in_channels=2**13, out_channels=2**13)],
)
def test_html_of_huge_layers_is_made_without_them(geometry: cm.ConvGeometry) -> None:
    html = geometry_html(geometry)
    assert len(html) < 5_000
    for level in block_levels(geometry):
        assert f"{level.shape[0]} x {level.shape[1]}" in html


def random_axis(rng: np.random.Generator) -> cm.ConvGeometry:
    while True:
        options: dict[str, Any] = {
            "stride": int(rng.choice([1, 1, 1, 2, 3])),
            "dilation": int(rng.choice([1, 1, 2])),
            "padding": int(rng.integers(0, 4)) if rng.random() < 0.5 else "same",
            "boundary": str(rng.choice(["zero", "circular", "reflect", "symmetric", "replicate"])),
            "flip": bool(rng.random() < 0.3),
            "transposed": bool(rng.random() < 0.3),
            "sharing": ("shared", "shared", "shared", "unshared", 2)[rng.integers(5)],
        }
        try:
            return cm.ConvGeometry(int(rng.integers(1, 14)), int(rng.integers(1, 6)), **options)
        except (ValueError, TypeError):
            continue


def moves_by(rows: Any, step: int, *, around: bool) -> bool:
    """Whether each row is the one before, moved by some columns; what moves in from beyond the end is arbitrary."""
    n = rows.shape[1]
    if around:
        return all(np.array_equal(np.roll(above, step), below) for above, below in pairwise(rows))
    return all(np.array_equal(above[: max(n - step, 0)], below[step:]) for above, below in pairwise(rows))


def test_the_structure_of_an_axis_is_that_of_its_matrix() -> None:
    rng, seen = np.random.default_rng(0), set()
    for _ in range(400):
        layer = random_axis(rng)
        weights = 2.0 ** rng.permutation(layer.n_weights).reshape(layer.weight_shape)  # sums tell their terms
        A = cm.conv_matrix(weights, layer).toarray()
        level = block_levels(layer)[1]
        assert level.shape == A.shape
        rows, step, word = A.T if layer.transposed else A, layer.stride[0], level.structure.split(" ")[0]
        ends = re.search(r"but for (\d+) \+ (\d+)", level.structure)
        first, end = (int(ends[1]), len(rows) - int(ends[2])) if ends else (0, len(rows))
        seen.add((word, ends is not None))
        if word in ("Toeplitz", "circulant"):
            assert moves_by(rows[first:end], step, around=word == "circulant")
            assert word == "Toeplitz" or step > 1 or cm.is_circulant(A)
        if word == "Toeplitz" and step == 1:
            assert ends or cm.is_toeplitz(A)
            gaps = {int(j - i) for i in range(first, end) for j in np.flatnonzero(rows[i])}
            count, low, high = re.fullmatch(r"(\d+) diagonals? \((-?\d+)(?: to (-?\d+).*)?\)", level.diagonals).groups()  # type: ignore[union-attr]
            signed = sorted(-gap for gap in gaps) if layer.transposed else sorted(gaps)
            assert len(signed) <= int(count)
            assert all(int(low) <= gap <= int(high or low) for gap in signed)
    assert {("Toeplitz", False), ("Toeplitz", True), ("circulant", False), ("weights", False)} <= seen


def test_pictures_of_levels_have_the_entries_of_the_axis() -> None:
    rng = np.random.default_rng(1)
    for _ in range(60):
        layer = random_axis(rng)
        (axis,) = layer.axes
        drawn = {
            (row + place, column + place * step)
            for runs in _runs(axis).values()
            for row, column, count, step in runs
            for place in range(count)
        }
        A = layer.pattern().matrix(np.ones(layer.weight_shape)).toarray()
        rows, columns = np.nonzero(A.T if layer.transposed else A)
        assert drawn == set(zip(rows.tolist(), columns.tolist(), strict=True))


def test_the_html_table_has_shapes_and_options() -> None:
    geometry = cm.ConvGeometry(
        (14, 14), (5, 5), in_channels=6, out_channels=16, connections=LENET5_C3, stride=(1, 2), boundary="circular"
    )
    rows = {(row[0].text or ""): (row[1].text or "") for row in parsed(geometry).iter("tr") if len(row) == 2}
    assert rows == {
        "input": "6 channels of 14 x 14",
        "output": "16 channels of 10 x 5",
        "kernel": "5 x 5",
        "weights": "1,500 (60 x 5 x 5)",
        "matrix": "800 x 1,176",
        "stride": "(1, 2)",
        "boundary": "circular",
        "connections": "60 of 16 x 6 channel pairs",
    }
    assert "Transposed convolution layer" in geometry_html(cm.ConvGeometry(3, 2, transposed=True))


@each_case
def test_a_pattern_is_drawn_as_its_layer_is(geometry: cm.ConvGeometry) -> None:
    def drawn(html: str) -> list[tuple[str, list[str]]]:
        found = ET.fromstring(html).findall(".//{http://www.w3.org/2000/svg}g[{http://www.w3.org/2000/svg}title]")
        labels = [(parts(entry, "title")[0].text or "").split(" ")[0] for entry in found]
        places = [re.findall(r"(?:row|column) (\d+)", parts(entry, "title")[0].text or "") for entry in found]
        return sorted(zip(labels, places, strict=True))

    assert drawn(geometry.pattern()._repr_html_()) == drawn(geometry_html(geometry))


def test_a_pattern_from_triplets_shows_itself() -> None:
    pattern = cm.WeightPattern.from_triplets((2, 160), [0, 0, 0, 1], [1, 1, 59, 3], [2, 0, 1, 1], 3)
    root = ET.fromstring(pattern_html(pattern).replace("&times;", "x"))
    entries = root.findall(".//{http://www.w3.org/2000/svg}g/{http://www.w3.org/2000/svg}g")
    titles = [parts(entry, "title")[0].text for entry in entries]
    assert titles == [
        "w0+w2 at row 0, column 1; w0 = weights[0], w2 = weights[2]",
        "w1 at row 1, column 3; w1 = weights[1]",
    ]
    rows = {(row[0].text or ""): (row[1].text or "") for row in root.iter("tr") if len(row) == 2}
    assert rows["sharing"] == "each weight is used 1.333 times on average"
    assert rows["entries"] == "4 triplets (row, column, weight)"
    assert (
        "Top left corner of the matrix, coloured by weight: rows 0 to 1 of 2, columns 0 to 47 of 160"
        in pattern_html(pattern)
    )


# --- verdicts and proofs ---------------------------------------------------------------------------------------------


def test_a_verdict_crosses_out_the_broken_outputs() -> None:
    geometry = cm.ConvGeometry((4, 5), (3, 3), padding="same")
    verdict = cm.equivariance.check_shift(geometry, (1, 0))
    root = ET.fromstring(verdict._repr_html_().replace("&#10003;", "v").replace("&#10005;", "x"))
    assert len(root.findall(".//{http://www.w3.org/2000/svg}path")) == verdict.n_broken
    words = " ".join(root.itertext())
    assert "x Refuted" in words
    for line in verdict.explain().splitlines():
        assert line.partition(": ")[2] in words
    assert "Outputs of channel 0 that break the symmetry" in words


def test_a_verdict_that_holds_draws_nothing() -> None:
    ring = cm.ConvGeometry(5, 3, padding="same", boundary="circular")
    html = cm.equivariance.check_shift(ring, 1)._repr_html_()
    assert "&#10003; Proved" in html
    assert "<svg" not in html


@for_each(
    ("shape", "drawn"), [((64,), True), ((65,), False), ((3, 2, 40), True), ((1, 3, 3, 3), False), ((2, 65, 3), False)]
)
def test_only_what_fits_is_drawn(shape: tuple[int, ...], drawn: bool) -> None:
    html = verdict_html(False, "Refuted: a < b.", np.ones(shape, dtype=bool))
    assert ("<svg" in html) == drawn
    assert "a &lt; b" in html


def test_a_proof_is_typeset_part_by_part() -> None:
    """As Markdown, in which every front end of notebooks typesets formulas."""
    proof = cm.equivariance.prove("strided-shift")
    text = proof._repr_markdown_()
    assert text.startswith("**\N{CHECK MARK} Proved: theorem strided-shift.** With stride $s$ on a ring")
    assert re.findall(r"\$\$ (.*) \$\$", text) == [part.latex for part in proof.parts]
    for part in proof.parts:
        assert f"\N{CHECK MARK} *{part.name}* (proved by sympy" in text
        assert part.text in text
    assert proof.argument in text
    assert "m \N{GREATER-THAN OR EQUAL TO} 1 outputs" in text
    assert "instances(" in text
    assert not hasattr(proof, "_repr_html_")  # which front ends would prefer, and some do not typeset
    broken = replace(proof, parts=(replace(proof.parts[0], status="undecided", name="<b>*x*_y"),) * 50)
    text = broken._repr_markdown_()
    assert text.startswith("**\N{MULTIPLICATION X} Not proved")
    assert r"*\<b>\*x\*\_y* (undecided" in text
    assert "... and 30 more parts" in text


def test_texts_of_theorems_are_markdown() -> None:
    """No command of LaTeX is left between their formulas."""
    for theorem in all_theorems().values():
        for text in (theorem.latex, theorem.argument):
            outside = "".join(re.sub("`.*?`", "", _markdown(text)).split("$")[::2])
            assert not re.search(r"[\\_*~{}]", outside), theorem.name
