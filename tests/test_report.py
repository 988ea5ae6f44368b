"""The report of a network: its numbers against plain computations, and the forms that it takes."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import re
import unicodedata
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convmatrix as cm
from convmatrix import nn
from convmatrix.counts import network_counts
from convmatrix.equivariance import known_shifts, surviving_shifts
from convmatrix.graph import receptive_field_size, receptive_field_sizes
from convmatrix.network import (
    FUNCTIONS,
    Addition,
    Concatenation,
    Convolution,
    Elementwise,
    FullyConnected,
    Input,
    Network,
    Node,
    Opaque,
    Operation,
    PatternMap,
    Pooling,
    Product,
    Resize,
    Scale,
    architecture,
    channel_shuffle,
    flatten,
    pad,
    reshape,
    take,
    transpose,
)
from convmatrix.report import Report, network_report
from convmatrix.spectral.node_norms import _LARGEST_SLOPES, NoBoundError, node_norm
from tests.cases import for_each
from tests.random_networks import random_network

HOSTILE = [
    "<script>alert(1)</script>",
    r"a_b & 50% \$x^2 {~}",
    'one,two\n"three"',
    "[x",
    "名前",
    "conv" * 40,
    "=1+1",
    "|",
]
ESCAPES = {"<": r"\textless{}", "^": r"\textasciicircum{}"}


def single(shape: tuple[int, ...], *operations: Operation) -> Network:
    return Network([Input(shape), *operations])


def rows_by_name(report: Report) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in report.rows}


RNG = np.random.default_rng(7)


def convolution(shape: tuple[int, ...], kernel: tuple[int, ...], **options: Any) -> Convolution:
    geometry = cm.ConvGeometry(shape, kernel, **options)
    return Convolution(geometry, RNG.standard_normal(geometry.weight_shape), np.zeros(geometry.out_channels))


LINEAR: dict[str, Network] = {
    "padded": single((2, 6, 5), convolution((6, 5), (3, 3), in_channels=2, out_channels=3, padding=1, stride=2)),
    "reflected": single((2, 6, 5), convolution((6, 5), (3, 3), in_channels=2, padding=1, boundary="reflect")),
    "circular": single((1, 3), convolution((3,), (5,), padding=2, boundary="circular")),
    "groups": single((4, 6), convolution((6,), (3,), in_channels=4, out_channels=6, groups=2, dilation=2)),
    "transposed": single(
        (2, 4, 3), convolution((4, 3), (3, 2), in_channels=2, out_channels=3, stride=2, padding=1, transposed=True)
    ),
    "pointwise": single((4, 6), convolution((6,), (1,), in_channels=4, out_channels=6, groups=2, stride=2, padding=1)),
    "repeated pointwise": single((1, 3), convolution((3,), (1,), padding=2, boundary="replicate")),
    "unshared": single((1, 6), convolution((6,), (3,), sharing="unshared")),
    "dense": single((2, 3), FullyConnected(6, 4, RNG.standard_normal((4, 6)), RNG.standard_normal(4))),
    "dense per line": single((5, 3), FullyConnected(3, 4, RNG.standard_normal((4, 3)), False, flatten=False)),
    "pattern": single((6,), PatternMap(cm.ConvGeometry(6, 3).pattern(), [1, -2, 3])),
    "twice": single(
        (2,), PatternMap(cm.WeightPattern.from_triplets((2, 2), [0, 0, 1], [0, 0, 1], [0, 1, 0], 2), [1, 2])
    ),
    "average": single((2, 7, 6), Pooling("average", 3, 2, padding=1)),
    "average inside": single((2, 7, 6), Pooling("average", 3, 2, padding=1, count_include_pad=False)),
    "average up": single((2, 7, 6), Pooling("average", (2, 3), 2, ceil_mode=True)),
    "sum": single((1, 5), Pooling("sum", 3, 1, padding=1, boundary="reflect")),
    "trained": single((2, 6), Pooling("average", 2, trained=True, coefficient=[2.0, -3.0], bias=[0.0, 1.0])),
    "global": single((3, 4, 4), Pooling("average", None)),
    "scale": single((3, 2, 2), Scale([1.0, -4.0, 2.0], [0.0, 1.0, 0.0])),
    "scale that repeats": single((3, 1), Scale(RNG.standard_normal((2, 3, 4)))),
    "shift": single((4,), Scale(None, np.arange(4.0), trained=False)),
    "resize": single((2, 4, 3), Resize((6, 2), "linear")),
    "nearest": single((1, 5), Resize((8,), "nearest")),
    "reflect": single((2, 4), pad([(0, 0), (2, 3)], "reflect")),
    "zeros": single((2, 4), pad([(1, 0), (2, -1)])),
    "cropped": single((1, 4), pad([(0, 0), (-1, 5)])),
    "slice": single((2, 7), take(1, 1, None, 2)),
    "transpose": single((2, 3, 4), transpose((1, 2, 0))),
    "flatten": single((2, 3), flatten()),
    "shuffle": single((4, 3), channel_shuffle(2)),
    "addition": Network(
        [Input((2, 3)), Node("mean", Pooling("average", None)), Node("sum", Addition((1, -1)), ("mean", "input"))]
    ),
    "concatenation": Network([Input((2, 3)), Node("both", Concatenation(1), ("input", "input"))]),
}


@for_each("name", LINEAR)
def test_rows_of_linear_nodes_describe_their_matrices(name: str) -> None:
    network = LINEAR[name]
    node = network.nodes[-1]
    A, b = network.affine(node.name, np.float64)
    row = network.report(norms=True, dtype=np.float64).rows[-1]
    assert row["nonzeros"] == A.nnz
    assert row["density"] == A.nnz / math.prod(A.shape)
    assert row["csr_bytes"] == A.nnz * (8 + 4) + (A.shape[0] + 1) * 4
    norm = np.linalg.norm(A.toarray(), 2)
    assert row["norm_lower"] <= norm <= row["norm_upper"] <= norm * (1 + 1e-10)
    assert row["norm_reason"] is None
    if row["macs"]:
        assert row["multiply_adds"] == A.nnz
        assert row["flops"] == 2 * row["macs"]
    assert len(b) == math.prod(row["output_shape"])


@for_each("name", sorted(cm.network.ARCHITECTURES))
def test_published_networks(name: str) -> None:
    report, counts = architecture(name).report(dtype=np.float32), network_counts(name, dtype=np.float32)
    for row, layer in zip(report.rows, counts.layers, strict=True):
        assert (row["name"], row["parameters"], row["biases"]) == (layer.name, layer.parameters, layer.biases)
        assert row["macs"] == layer.macs
        if row["macs"]:
            assert (row["multiply_adds"], row["csr_bytes"]) == (layer.nonzeros, layer.bytes.csr)
    for key in ("parameters", "biases", "multiply_adds", "macs", "flops"):
        assert report.total[key] == sum(row[key] for row in report.rows)
    assert report.total["complete"] is True
    assert report.total["unknown"] == []


def test_published_numbers() -> None:
    """Parameters of the papers and of torchvision, multiply-adds as papers count them."""
    vgg, small, large = (architecture(name).report().total for name in ("vgg16", "resnet18", "resnet50"))
    assert (vgg["parameters"], vgg["macs"]) == (138_357_544, 15_470_264_320)
    assert (small["parameters"], small["macs"]) == (11_689_512, 1_814_073_344)
    assert (large["parameters"], large["macs"]) == (25_557_032, 4_089_184_256)
    assert large["field_size"] == [619, 619]
    assert vgg["multiply_adds"] < vgg["macs"]


def test_multiply_adds_of_torch() -> None:
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, stride=2, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(8, 12, (3, 1), groups=4, dilation=2),
        torch.nn.ConvTranspose2d(12, 6, 3, stride=2, groups=2),
        torch.nn.AvgPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(6 * 4 * 8, 10),
    )
    x = torch.zeros(1, 3, 15, 16)
    with FlopCounterMode(display=False) as counter:
        shapes = [tuple(x.shape[1:])] + [tuple((x := layer(x)).shape[1:]) for layer in module]
    first, second = (
        cm.ConvGeometry((15, 16), (3, 3), in_channels=3, out_channels=8, stride=2, padding=1),
        cm.ConvGeometry((8, 8), (3, 1), in_channels=8, out_channels=12, groups=4, dilation=2),
    )
    third = cm.ConvGeometry((4, 8), (3, 3), in_channels=12, out_channels=6, groups=2, stride=2, transposed=True)
    network = single(
        (3, 15, 16),
        Convolution(first, bias="channel"),
        Elementwise("relu"),
        Convolution(second, bias="channel"),
        Convolution(third, bias="channel"),
        Pooling("average", 2),
        flatten(),
        FullyConnected(math.prod(shapes[-2]), 10),
    )
    assert [node.output_shape for node in network.nodes] == shapes
    total = network.report().total
    assert total["flops"] == counter.get_total_flops()
    assert total["parameters"] == sum(weight.numel() for weight in module.parameters())


# --- receptive fields, shifts, norms ---------------------------------------------------------------------------------


def test_fields_and_shifts_up_to_every_node() -> None:
    ring: dict[str, Any] = {"padding": 1, "boundary": "circular"}
    network = Network(
        [
            cm.ConvGeometry((8, 6), (3, 3), stride=2, **ring),
            Elementwise("relu"),
            cm.ConvGeometry((4, 3), (3, 3), out_channels=2, **ring),
            cm.ConvGeometry((4, 3), (3, 3), in_channels=2, padding=1),
            Pooling("average", None),
            Opaque("Mystery", (3,)),
            Scale([1.0, 2.0, 3.0]),
        ]
    )
    rows = network.report().rows
    for row in rows[:-2]:
        part = network.until(row["name"])
        field = receptive_field_size(part)
        assert (row["field_size"], row["field_stride"]) == (list(field.size), list(field.stride))
        assert (row["field_start"], row["field_centre"]) == (list(field.start), list(field.centre))
        assert row["shift"] == list(known_shifts(part)[row["name"]])
        assert all(known % decided == 0 for known, decided in zip(row["shift"], surviving_shifts(part), strict=True))
        assert row["field_reason"] is row["shift_reason"] is None
    assert [row["shift"] for row in rows[:5]] == [[1, 1], [2, 2], [2, 2], [2, 2], [8, 6]]
    for row in rows[-2:]:
        assert row["field_size"] is row["shift"] is None
        assert "'Mystery 6'" in row["field_reason"]
        assert "'Mystery 6'" in row["shift_reason"]


def test_networks_without_fields_or_axes() -> None:
    row = network_report([Input((3,)), FullyConnected(3, 2)]).rows[-1]
    assert row["field_size"] is row["shift"] is None
    assert "(3,), which has no spatial axes" in row["field_reason"]
    fields = receptive_field_sizes([Input((1, 4)), Resize((8,)), Elementwise("relu")])
    assert "'resize 2' (resize) has units that read different numbers" in str(fields["elementwise 3"])
    uneven = Network([Input((2, 2, 2)), Node("flat", reshape((2, 4))), Pooling("average", 2)])
    assert "'flat'" in uneven.report().rows[-1]["field_reason"]
    with pytest.raises(ValueError, match=r"\(3,\), which has no spatial axes"):
        receptive_field_size([Input((3,)), FullyConnected(3, 2)])


@for_each("name", sorted(_LARGEST_SLOPES))
def test_slopes_of_functions(name: str) -> None:
    if name not in FUNCTIONS:
        return
    x = np.linspace(-30, 30, 600_001)
    steepest = float(np.abs(FUNCTIONS[name].slope(x, **FUNCTIONS[name].defaults)).max())
    lower, upper = node_norm(single((1, 3), Elementwise(name)).nodes[-1])
    assert steepest <= upper * (1 + 1e-12)
    assert steepest >= lower * (1 - 1e-4)


def largest_stretch(network: Network, x: Any) -> float:
    """Return the norm of the Jacobian at x, by central differences."""
    steps = 1e-6 * np.eye(x.size).reshape(-1, *x.shape)
    jacobian = (network(x + steps) - network(x - steps)).reshape(x.size, -1) / 2e-6
    return float(np.linalg.norm(jacobian, 2))


OTHERS: dict[str, list[tuple[Any, ...]]] = {
    "Reduction": [(method, (-1,)) for method in ("mean", "sum", "max", "min")],
    "Extremum": [()],
    "ParametricReLU": [([0.5, -3.0],)],
    "Softmax": [(-1,)],
}


@for_each("kind", OTHERS)
def test_norms_of_other_operations(kind: str) -> None:
    operation = getattr(cm.network, kind, None)
    if operation is None:
        return
    inputs = ("input", "other") if kind == "Extremum" else ("input",)
    for arguments in OTHERS[kind]:
        one = operation(*arguments)
        network = Network([Input((2, 3)), Node("other", Scale([2.0, 2.0]), ("input",)), Node("last", one, inputs)])
        lower, upper = node_norm(network["last"])
        part = single((2, 3), one) if kind != "Extremum" else network
        points = [*np.random.default_rng(0).standard_normal((50, 2, 3)), np.array([[-1.0] * 3, [9.0, 9.0, 0.0]])]
        most = max(largest_stretch(part, x) for x in points) / (2 if kind == "Extremum" else 1)
        assert most <= upper * (1 + 1e-6)
        assert most >= 0.95 * lower


def test_norm_of_a_maximum_is_reached() -> None:
    network = single((1, 7), Pooling("max", 3, 2, padding=1))
    lower, upper = node_norm(network.nodes[-1])
    x = np.zeros((1, 1, 7))
    x[0, 0, 1] = 5.0  # in two windows
    moved = np.linalg.norm(network(x + 1e-3 * (x > 0)) - network(x)) / 1e-3
    assert [lower, upper] == pytest.approx([2**0.5, 2**0.5])
    assert moved == pytest.approx(2**0.5)
    assert node_norm(single((1, 8), Pooling("max", 2)).nodes[-1]) == (1.0, 1.0)


def test_norm_of_a_large_dense_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convmatrix.spectral.node_norms._MOST_WORK", 0)
    monkeypatch.setattr("convmatrix.spectral.node_norms._BLOCK", 30)
    for weight in (RNG.standard_normal((12, 7)).astype(np.float32), np.ones((3, 9)), np.zeros((2, 2))):
        lower, upper = node_norm(
            single((weight.shape[1],), FullyConnected(weight.shape[1], weight.shape[0], weight)).nodes[-1]
        )
        norm = float(np.linalg.norm(weight.astype(float), 2))
        assert lower <= norm <= upper <= 2 * norm
        assert lower >= 0.8 * norm


@for_each(
    "operation, message",
    [
        (Convolution(cm.ConvGeometry(4, 2)), "no weights"),
        (FullyConnected(4, 2), "no weights"),
        (Scale("channel", "channel"), "no weights"),
        (Pooling("sum", 2, trained=True), "no weights"),
        (Elementwise("exp"), "exp"),
        (Elementwise(), "elementwise function"),
        (Opaque("Mystery", (2,)), "opaque"),
    ],
)
def test_what_has_no_norm_says_why(operation: Operation, message: str) -> None:
    network = single((1, 4), operation)
    with pytest.raises(NoBoundError, match=message):
        node_norm(network.nodes[-1])
    row = network.report(norms=True).rows[-1]
    assert row["norm_lower"] is row["norm_upper"] is None
    assert message in row["norm_reason"]
    assert network.report().rows[-1]["norm_reason"] == "not requested"


def test_progress_is_told_after_every_node() -> None:
    told: list[tuple[int, int, str]] = []
    architecture("lenet5").report(norms=True, progress=lambda *words: told.append(words))
    assert told == [(number, 8, node.name) for number, node in enumerate(architecture("lenet5").nodes, start=1)]
    architecture("lenet5").report(progress=lambda *_: pytest.fail("no norms were asked for"))


# --- unknown nodes ---------------------------------------------------------------------------------------------------


class Home(Operation):
    """A user-defined operation, whose counts the package does not know."""

    kind = "home made"

    def output_shape(self, input_shapes: Any) -> Any:
        return input_shapes[0]

    def evaluate(self, inputs: Any) -> Any:
        return inputs[0]

    def reads(self, outputs: Any, input_shapes: Any) -> Any:
        return [outputs]


@for_each("operation, kind", [(Opaque("TopK", (1, 4)), "TopK"), (Home(), "home made")])
def test_unknown_nodes_make_the_totals_lower_bounds(operation: Operation, kind: str) -> None:
    report = Network([Input((1, 4)), Node("odd", operation), Node("dense", FullyConnected(4, 2))]).report()
    row = rows_by_name(report)["odd"]
    assert (row["kind"], row["output_shape"], row["input_shapes"]) == (kind, [1, 4], [[1, 4]])
    for key in ("parameters", "biases", "nonzeros", "density", "multiply_adds", "macs", "flops", "csr_bytes"):
        assert row[key] is None
    assert (report.total["complete"], report.total["unknown"]) == (False, ["odd"])
    assert report.total["parameters"] == 10
    lines = str(report).splitlines()
    assert lines[-1] == "The totals are lower bounds: nothing is known of odd."
    assert lines[-2].startswith("at least")
    assert "lower bounds" in report._repr_html_()


def test_the_reason_of_the_first_unknown_node_is_given() -> None:
    nodes = [Input((1, 4)), Node("cut", Opaque("Cut", (1, 4))), Node("odd", Opaque("TopK", (1, 4), "k varies"))]
    report = Network(nodes).report()
    assert str(report).splitlines()[-1] == ("The totals are lower bounds: nothing is known of cut, odd. odd: k varies.")


def test_products_and_functions_cost_nothing() -> None:
    gate = Network([Input((2, 4)), Elementwise("sigmoid"), Node("gate", Product(), ("input", "elementwise 2"))])
    report = gate.report()
    assert [row["kind"] for row in report.rows] == ["input", "sigmoid", "product"]
    assert all(row["macs"] == row["parameters"] == 0 and row["nonzeros"] is None for row in report.rows)
    assert report.total["density"] is None
    assert report.total["complete"]


# --- forms -----------------------------------------------------------------------------------------------------------


def hostile() -> Report:
    nodes = [Node(name, Elementwise("relu")) for name in HOSTILE]
    return Network([Input((1, 4)), *nodes, Opaque("<b>&_%", (1, 2))], name="<i>net_1</i>").report(norms=True)


def typed(cell: str, value: Any) -> Any:
    """Return a cell of a CSV file as what it stands for."""
    return (
        None
        if cell == "" and value is None
        else cell
        if isinstance(value, str)
        else json.loads(cell)
        if isinstance(value, list)
        else type(value)(cell)
    )


@for_each("make", [hostile, lambda: architecture("resnet18").report(), lambda: LINEAR["padded"].report(norms=True)])
def test_files_give_back_the_rows(make: Any, tmp_path: Path) -> None:
    report = make()
    record = json.loads(report.to_json())
    assert record["rows"] == report.rows
    assert record["total"] == report.total
    assert record["network"] == report.network.name
    for row in [*report.rows, report.total]:
        for value in row.values():
            for entry in value if isinstance(value, list) else [value]:
                assert type(entry) in (int, float, str, bool, type(None), list), row
    read = list(csv.DictReader(io.StringIO(report.to_csv(), newline="")))
    assert [
        {key: typed(cell, row[key]) for key, cell in found.items()}
        for found, row in zip(read, report.rows, strict=True)
    ] == report.rows
    for write, text in (
        (report.to_json, report.to_json()),
        (report.to_csv, report.to_csv()),
        (report.to_latex, report.to_latex()),
    ):
        path = tmp_path / write.__name__
        assert write(path) is None
        assert path.read_bytes() == text.encode()
        assert list(tmp_path.glob(".convmatrix*")) == []
        with pytest.raises(FileNotFoundError, match="folder"):
            write(tmp_path / "absent" / "file")


def test_keys_are_the_same_in_every_row() -> None:
    report = architecture("lenet5").report()
    keys = list(report.rows[0])
    assert all(list(row) == keys for row in report.rows)
    assert all(re.fullmatch("[a-z_]+", key) for key in keys)
    assert set(report.total) - set(keys) == {"complete", "unknown"}
    assert not set(keys) - set(report.total)
    documented = re.findall("``([a-z_]+)``", Report.__doc__ or "")
    assert set(keys) <= set(documented)


def columns_of_terminal(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)


def test_tables_fit_the_terminal() -> None:
    reports = hostile(), architecture("resnet18").report(), network_report([Input((3,)), FullyConnected(3, 2)])
    for report, width in itertools.product(reports, [1, 5, 10, 17, 20, 30, 40, 60, 80, 120, 200, 400]):
        lines = report.to_text(width).splitlines()
        assert max(map(columns_of_terminal, lines)) <= width, (report, width)
        assert all(line.isprintable() for line in lines)
        if width >= 40:
            assert f"{report.total['parameters']:,}" in {word for line in lines for word in line.split()}


def test_the_least_important_columns_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    report = architecture("vgg16").report()
    names = ["node", "kind", "input", "output", "parameters", "biases", "nonzeros", "density"]
    names += ["multiply-adds", "MACs", "FLOPs", "CSR", "field", "step", "shift"]
    header = report.to_text(400).splitlines()[1].split()
    assert header == names
    dropped = []
    for width in range(250, 15, -3):
        present = report.to_text(width).split("\nnode", 1)[1].splitlines()[0].split()
        dropped += [name for name in names[1:] if name not in present and name not in dropped]
    assert dropped[:4] == ["biases", "FLOPs", "input", "step"]
    assert dropped[-1] == "parameters" or "parameters" not in dropped
    monkeypatch.setenv("COLUMNS", "60")
    assert str(report) == report.to_text(60)
    assert repr(report) == "Report('vgg16', 22 nodes)"


class Cells(HTMLParser):
    """The tags, and the texts of the cells, of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        if tag in ("td", "th"):
            self.texts.append("")

    def handle_data(self, data: str) -> None:
        if self.texts:
            self.texts[-1] += data


def test_html_shows_hostile_names_as_text() -> None:
    page = Cells(hostile()._repr_html_())
    assert set(page.tags) == {"div", "table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td", "p"}
    assert HOSTILE[0] in page.texts
    assert "<b>&_%" in page.texts


def test_latex_escapes_hostile_names() -> None:
    report = hostile()
    lines = report.to_latex(width=10_000).splitlines()  # in one piece
    assert (lines[0], lines[1], lines[3]) == (r"\begin{tabular}{llrrrrrrr}", r"\toprule", r"\midrule")
    assert lines[-3:][1:] == [r"\bottomrule", r"\end{tabular}"]
    body = [line for line in lines if line.endswith(r" \\")]
    assert len(body) == len(report.rows) + 2
    for line in body:
        plain = line.removesuffix(r" \\")
        for command in ("textbackslash", "textasciitilde", "textasciicircum", "textless", "textgreater", "textbar"):
            plain = plain.replace(f"\\{command}{{}}", "")
        plain = re.sub(r"\\char34\{\}|\\texttt\{U\+[0-9A-F]{4}\}", "", plain)
        plain = re.sub(r"\\[_&%#${},]", "", plain.replace("{[}", ""))
        assert plain.count("&") == 8, line
        assert not re.search(r"[\\_%#$^~{}<>|\[]", plain), line
    assert r"conv1\_1" in (architecture("vgg16").report().to_latex())
    assert r"138\,357\,544" in (architecture("vgg16").report().to_latex())


def test_sequential_networks_have_reports() -> None:
    layers = [nn.Conv(cm.ConvGeometry((8, 8), (3, 3), out_channels=4)), nn.ReLU(), nn.Dense(4 * 6 * 6, 10)]
    report = nn.Sequential(layers).report(norms=True, dtype=np.float32)
    assert report.total["parameters"] == 40 + 1450
    assert report.dtype == np.float32
    assert [row["kind"] for row in report.rows][1:3] == ["convolution", "relu"]
    assert all(row["norm_upper"] for row in report.rows)
    assert nn.Dense(3, 2).report((3,)).total["parameters"] == 8


def test_parameters_are_those_of_the_counts() -> None:
    """Weights that two layers share count once in the total, and fixed kernels not at all, here as in the counts."""
    geometry = cm.ConvGeometry((4, 4), (3, 3), in_channels=2, out_channels=2, padding=1)
    weight, bias = np.ones(geometry.weight_shape), np.ones(2)
    shared, fixed = Convolution(geometry, weight, bias), Convolution(geometry, weight.copy(), trained=False)
    network = cm.Network([shared, Elementwise("relu"), shared, fixed])
    report = network.report()
    assert [row["parameters"] for row in report.rows] == [0, 38, 0, 38, 0]
    assert (report.total["parameters"], report.total["biases"]) == (38, 2)
    networks = [network, *map(random_network, range(60)), *map(architecture, ("lenet5", "lecun1989"))]
    for each in networks:
        counts = network_counts(each).total
        assert each.report().total["parameters"] == counts.parameters
        assert each.report().total["biases"] == counts.biases
