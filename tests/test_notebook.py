"""Displays in notebooks: tables of results, figures, typeset proofs; and the notebooks of the course, executed."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import types
from typing import Any, Final
from xml.etree import ElementTree as ET

import numpy as np
import pytest

import convmatrix as cm
from convmatrix import nn
from convmatrix.constraints import encode, outputs_at_most, recheck, verify
from convmatrix.display.tables import ShownAsTable, Table, facts
from convmatrix.network import Convolution, Elementwise, FullyConnected, Network, Node
from tests.import_graph import ROOT

HOSTILE: Final = '<script>alert("&")</script> $x$\n\x1b[2J'
LAYER: Final = cm.ConvGeometry((5, 5), (3, 3), padding="same")
RECTIFIER: Final = Network(
    [
        FullyConnected(2, 2, [[1, 1], [1, -1]], [0, 0]),
        Elementwise("relu"),
        FullyConnected(2, 1, [[1, 1]], [0]),
    ]
)


def hostile() -> Network:
    """Return a network whose names are markup."""
    kernel = np.arange(9.0).reshape(1, 1, 3, 3)
    return Network([Node(HOSTILE, Convolution(LAYER, kernel)), Elementwise("relu")], name=HOSTILE)


def results() -> dict[str, Any]:
    """Return results of every kind that a notebook shows as a table."""
    y = np.random.default_rng(0).random((40, 40))
    history = nn.fit(nn.Sequential([nn.Dense(1, 2)]), [[-1.0], [1.0]], [0, 1], epochs=90)
    proved = verify(RECTIFIER, (-1, 1), outputs_at_most([[1]], 2.5))
    deconvolution = cm.solve.deconvolve(y, [[1.0, 2], [3, 4]], (41, 41), method="cgls", parameter=60)
    return {
        "layer counts": cm.counts.layer_counts(LAYER),
        "network counts": cm.counts.network_counts(hostile()),
        "network": hostile(),
        "report": hostile().report(),
        "estimate": cm.estimate(LAYER),
        "norm bounds": cm.spectral.norm_bounds([1.0, 2, 1], 9),
        "density": cm.spectral.singular_value_density([[1, 2], [3, 4]], (9, 9), vectors=2, steps=8),
        "lipschitz": cm.spectral.lipschitz_bound(hostile()),
        "deconvolution": deconvolution,
        "iterations": deconvolution.history,
        "receptive field": cm.graph.receptive_field_size("lenet5"),
        "tiling": cm.tiling.plan(hostile()),
        "no tiling": cm.tiling.plan("lenet5"),
        "network verdict": cm.equivariance.check_network(hostile(), 1),
        "symmetries": cm.equivariance.symmetries(cm.ConvGeometry(6, 2, stride=2, boundary="circular").pattern()),
        "sequential": nn.small(),
        "history": history,
        "machine": nn.LayerHistory([0.5, 0.25], [0.125, 0.5]),
        "proved": proved,
        "violated": verify(RECTIFIER, (-1, 1), outputs_at_most([[1]], 1.5)),
        "recheck": recheck(proved.certificate or {}, RECTIFIER, (-1, 1), outputs_at_most([[1]], 2.5)),
        "constraints": encode(RECTIFIER, -1, 1),
        "agreement": RECTIFIER.check(np.ones((1, 2)), np.ones((1, 1))),
        "conformance": cm.testing.conform(np.add, {"axes": 1}, count=1),
    }


@pytest.fixture(scope="module")
def shown() -> dict[str, Any]:
    return results()


def parsed(html: str) -> ET.Element:
    return ET.fromstring(html.replace("&#10003;", "\N{CHECK MARK}").replace("&#10005;", "\N{MULTIPLICATION X}"))


def cells(result: Any) -> list[list[str]]:
    return [["".join(cell.itertext()) for cell in row] for row in parsed(result._repr_html_()).iter("tr")]


def test_every_result_is_a_small_well_formed_table(shown: dict[str, Any]) -> None:
    for name, result in shown.items():
        html = result._repr_html_()
        root = parsed(html)
        assert len(html) < 9_000, name
        assert {element.tag for element in root.iter()} <= {
            *("div", "p", "span", "b", "table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td")
        }, name
        assert len({len(row) for row in cells(result)}) <= 1, name
        # The page's colours are kept, light or dark, except those of marks.
        styles = [element.get("style", "") for element in root.iter() if element.tag != "span"]
        assert not any(re.search("color|background", style) for style in styles), name


def test_no_name_is_markup_or_mathematics(shown: dict[str, Any]) -> None:
    named = 0
    for name, result in shown.items():
        html = result._repr_html_()
        assert "<script" not in html, name
        assert "\x1b" not in html, name
        named += "&lt;script&gt;" in html
        for table in parsed(html).iter("table"):
            assert "mathjax_ignore" in table.get("class", "")
    assert named >= 6


def test_no_repr_dumps_an_array(shown: dict[str, Any]) -> None:
    for name, result in shown.items():
        assert len(repr(result)) < 450, name
        assert "array(" not in repr(result), name
        assert "\n" not in repr(result).replace(repr(HOSTILE), ""), name


def test_tables_hold_the_numbers(shown: dict[str, Any]) -> None:
    values = {name: dict(row for row in cells(result) if len(row) == 2) for name, result in shown.items()}
    counts = cm.counts.layer_counts(LAYER)
    assert values["layer counts"]["connections"] == f"{counts.connections}"
    assert values["layer counts"]["bytes, CSR"] == "2.13 kB"
    total = cells(shown["network counts"])[-1]
    assert total[:7] == ["total", "50", "225", "9", "0", "169", "225"]
    assert values["estimate"]["nonzeros"].startswith("169 ")
    lower, upper = shown["norm bounds"]
    assert float(values["norm bounds"]["lower"]) == pytest.approx(lower, rel=1e-11)
    assert float(values["norm bounds"]["upper"]) == pytest.approx(upper, rel=1e-11)
    found = shown["deconvolution"]
    assert values["deconvolution"]["x"] == "float64, 41 x 41"
    assert float(values["deconvolution"]["residual"]) == pytest.approx(found.residual, rel=1e-5)
    assert values["density"]["singular values"] == "64"
    assert cells(shown["receptive field"])[1][:3] == ["0", "32", "4"]
    assert cells(shown["tiling"])[1][:3] == ["0", "1 + 1", "1"]
    assert "Refuted" in shown["network verdict"]._repr_html_()
    assert values["constraints"]["variables"].endswith("2 of them integer")
    assert cells(shown["agreement"])[1][1] == "1"
    assert cells(shown["sequential"])[-1] == ["total", "", f"{sum(a.size for a in nn.small().parameters.values()):,}"]
    last = shown["lipschitz"].rows[-1]
    assert cells(shown["lipschitz"])[-1][-1] == f"{last['bound']:.6g}"


def test_long_tables_leave_out_the_middle(shown: dict[str, Any]) -> None:
    rows = cells(shown["history"])
    assert len(rows) == 31
    assert rows[0] == ["epoch", "loss", "accuracy"]
    assert [row[0] for row in rows[14:18]] == ["14", "... 61 more ...", "76", "77"]
    assert float(rows[-1][1]) == pytest.approx(shown["history"].loss[-1], rel=1e-3)
    assert repr(shown["history"]).startswith("History(epochs 90, loss 0.")
    report = cm.network.architecture("resnet50").report()  # whose rows are what was asked for
    assert len(cells(report)) == len(report.rows) + 2


def test_verdicts_are_marked(shown: dict[str, Any]) -> None:
    def mark(name: str) -> str:
        return next("".join(span.itertext()) for span in parsed(shown[name]._repr_html_()).iter("span"))

    assert mark("proved") == "\N{CHECK MARK} holds"
    assert mark("violated") == "\N{MULTIPLICATION X} violated"
    assert mark("recheck") == "\N{CHECK MARK} Valid"
    assert mark("tiling") == "\N{CHECK MARK} Exact"
    assert mark("no tiling") == "\N{MULTIPLICATION X} Not exact"
    assert mark("agreement") == "\N{MULTIPLICATION X} Different"


def test_a_class_without_a_table_is_found() -> None:
    with pytest.raises(NotImplementedError):
        ShownAsTable()._repr_html_()


def test_tables_as_text() -> None:
    assert facts(HOSTILE, {HOSTILE: HOSTILE}).to_text().isprintable() is False  # two lines
    assert "\x1b" not in facts(HOSTILE, {HOSTILE: HOSTILE}).to_text()
    table = Table("sums", [["a", "b"], ["1", "22"]], left=0, notes=("all",), holds=True, answer="Equal")
    assert table.to_text() == "Equal: sums\na   b\n1  22\nall"
    assert str(cm.counts.network_counts("lenet5")).splitlines()[-1].split()[:2] == ["total", "9,118"]


# --- figures ---------------------------------------------------------------------------------------------------------


class Formatter(dict[type, str]):
    """A formatter of IPython: which types it displays."""


def test_figures_are_displayed_without_pyplot(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    from convmatrix import plotting

    png = Formatter()
    shell = types.SimpleNamespace(display_formatter=types.SimpleNamespace(formatters={"image/png": png}))
    chosen: list[Any] = []

    def select(_: Any, formats: set[str]) -> None:
        from matplotlib.figure import Figure

        chosen.append(formats)
        png[Figure] = "by select_figure_formats"

    tools: Any = types.ModuleType("IPython.core.pylabtools")
    tools.select_figure_formats = select
    ipython: Any = types.ModuleType("IPython")
    ipython.version_info = (9, 0)
    ipython.get_ipython = lambda: shell
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.core.pylabtools", tools)
    plotting.plot_spectrum([3.0, 2.0])
    plotting.plot_spectrum([3.0, 2.0])
    assert chosen == [{"retina"}]  # once, and never if a format was chosen before
    ipython.get_ipython = lambda: None
    plotting.plot_spectrum([3.0, 2.0])


# --- the notebooks of the course -------------------------------------------------------------------------------------


def load_notebooks() -> Any:
    """Import the extension that makes the notebooks; it needs no Sphinx."""
    spec = importlib.util.spec_from_file_location("notebooks", ROOT / "docs" / "_ext" / "notebooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_notebooks_hold_every_example_and_every_text_of_the_course(tmp_path: Any) -> None:
    made = load_notebooks().write_notebooks(tmp_path)
    pages = sorted((ROOT / "docs" / "course").glob("*.md"))
    assert [path.stem for path in made] == [page.stem for page in pages]
    for path, page in zip(made, pages, strict=True):
        text = page.read_text(encoding="utf-8")
        notebook = json.loads(path.read_text(encoding="utf-8"))
        code = "\n".join(cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code")
        words = "\n".join(cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "markdown")
        for line in re.findall(r"^(?:>>>|\.\.\.) (.*)$", text, flags=re.MULTILINE):
            assert line in code, page
        assert ">>> " not in code + words
        assert not re.search(r"^```|^:::|\]\((?!\w+\.ipynb)", words, flags=re.MULTILINE), page
        for heading in re.findall(r"^#+ .*$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), flags=re.M):
            assert heading in words, page
        for link in re.findall(r"\]\((\w+\.ipynb)\)", words):
            assert (tmp_path / link).is_file()
        assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
        assert all(cell["outputs"] == [] for cell in notebook["cells"] if cell["cell_type"] == "code")


LONG: Final = ("hierarchy",)  # takes longer than the others together; the manual's tests run its examples
OWN: Final = """\
import convmatrix as cm
from convmatrix import plotting
plotting.plot_matrix(cm.ConvGeometry(5, 3).pattern())
---
import matplotlib.pyplot as plt
plotting.plot_spectrum([3.0, 2.0])
---
cm.equivariance.prove("gradients")
---
cm.counts.network_counts("lenet5")
---
import time
from convmatrix import progress
progress.DELAY = 0.1
with progress.reporting(None, "sums") as step:
    for number in range(4):
        time.sleep(0.06)
        step(number, 4, "")
"""


def test_notebooks_run_and_show_images() -> None:
    """In one kernel, whose names are cleared between notebooks."""
    for package in ("nbclient", "nbformat", "ipykernel", "matplotlib", "sklearn"):
        pytest.importorskip(package)
    import nbformat
    from nbclient import NotebookClient

    module = load_notebooks()
    joined = nbformat.v4.new_notebook()
    joined.cells = [nbformat.v4.new_code_cell(source.strip()) for source in OWN.split("---\n")]
    pages = [page for page in sorted((ROOT / "docs" / "course").glob("*.md")) if page.stem not in LONG]
    for page in pages:
        notebook = nbformat.reads(json.dumps(module.notebook(page)), as_version=4)
        nbformat.validate(notebook)
        joined.cells += [nbformat.v4.new_code_cell("%reset -f"), *notebook.cells]
    for number, cell in enumerate(joined.cells):
        cell["id"] = f"cell-{number}"
    NotebookClient(joined, timeout=120, resources={"metadata": {"path": str(ROOT)}}).execute()
    outputs = [list(cell.outputs) for cell in joined.cells if cell.cell_type == "code"]
    matrix, spectrum, proof, counts, bar = outputs[:5]
    for figure in (matrix, spectrum):
        assert len(figure) == 1  # not twice
        assert figure[0].data["image/png"]
    assert proof[0].data["text/markdown"].startswith("**\N{CHECK MARK} Proved: theorem gradients.**")
    assert "340,908" in counts[0].data["text/html"]
    assert [output.data["text/html"] for output in bar] == [""]  # removed
    figures = 0
    for output in (output for cell in outputs[5:] for output in cell):
        data = output.get("data", {})
        if data.get("text/plain", "").startswith("<Figure"):
            assert len(data["image/png"]) > 2_000
            figures += 1
    assert figures >= 8
