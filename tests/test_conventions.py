"""The convention map, docs/conventions.md, row by row: the test reads the tables and runs what they say."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pytest
import scipy.linalg
import scipy.ndimage
import scipy.signal
import sympy

import convmatrix as cm
from tests.cases import for_each

PAGE: Final = Path(__file__).parents[1] / "docs" / "conventions.md"
Names = dict[str, Any]


class Row(NamedTuple):
    """One row of a table: a call of another library, the call here, and the condition under which they agree."""

    line: int
    section: str
    library: str
    theirs: str
    ours: str
    where: str


def read_rows() -> list[Row]:
    """Return the rows of all tables that have a column "where"."""
    rows = []
    section = library = ""
    header: list[str] = []
    for number, line in enumerate(PAGE.read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith("## "):
            section, library = line[3:], ""
        elif line.startswith("### "):
            library = line[4:]
        cells = [cell.strip() for cell in line.strip("| ").split(" | ")] if line.startswith("|") else []
        if cells and not header:
            header = cells
        elif header[-1:] == ["where"] and len(cells) == len(header):
            *_, theirs, ours = (re.findall("`([^`]+)`", cell)[0] for cell in cells[:-1])
            kind = header[0] if library == "ONNX" else library
            where = "True" if cells[-1] == "always" else cells[-1].strip("`")
            rows.append(Row(number, section, kind.replace("`", ""), theirs, ours, where))
        elif not cells:
            header = []
    return rows


ROWS: Final = read_rows()


class Layer(NamedTuple):
    """Sizes and options of one trial, on every axis."""

    n: tuple[int, ...]
    k: tuple[int, ...]
    s: tuple[int, ...]
    d: tuple[int, ...]
    p: tuple[int, ...]
    o: tuple[int, ...]
    a: int
    b: int
    groups: int

    def satisfies(self, where: str) -> bool:
        """Whether a condition holds on every axis."""
        shared = {"a": self.a, "b": self.b, "groups": self.groups}
        columns = zip(self.n, self.k, self.s, self.d, self.p, self.o, strict=True)
        return all(eval(where, shared | dict(zip("nksdpo", axis, strict=True))) for axis in columns)


SIZES: Final[dict[int, list[tuple[tuple[int, ...], tuple[int, ...]]]]] = {
    1: [
        ((n,), (k,))
        for n, k in [(7, 3), (7, 4), (6, 1), (5, 5), (6, 6), (4, 7), (3, 8), (1, 3), (1, 4), (2, 7), (4, 8)]
    ],
    2: [
        *[((7, 6), (3, 5)), ((6, 7), (2, 4)), ((5, 6), (3, 2)), ((4, 4), (4, 4)), ((5, 4), (1, 1)), ((3, 3), (3, 3))],
        *[((2, 3), (5, 7)), ((3, 2), (6, 4)), ((1, 5), (3, 2)), ((4, 1), (2, 2))],
    ],
}  # (n, k)
PerAxis = tuple[int, int]
OPTIONS: Final[list[tuple[PerAxis, PerAxis, PerAxis, PerAxis, int, int, int]]] = [  # s, d, p, o, a, b, groups
    ((1, 1), (1, 1), (0, 0), (0, 0), 0, 0, 1),
    ((1, 2), (2, 1), (1, 2), (0, 1), 1, 2, 2),
    ((3, 3), (2, 2), (2, 1), (1, 2), 2, 0, 1),
    ((2, 1), (1, 1), (3, 3), (1, 0), 9, 7, 2),
]


def trials(n_axes: int) -> Iterator[Layer]:
    """Yield every size with half of the options, in turns, so that each option meets half of the sizes."""
    for (i, (n, k)), (j, (s, d, p, o, a, b, groups)) in itertools.product(enumerate(SIZES[n_axes]), enumerate(OPTIONS)):
        if (i + j) % 2 == 0:
            yield Layer(n, k, s[:n_axes], d[:n_axes], p[:n_axes], o[:n_axes], a, b, groups)


def signal_names(layer: Layer, rng: np.random.Generator) -> Names:
    """Return the names of the section One axis: a complex or real signal and kernel."""
    n, k, s, o = layer.n[0], layer.k[0], layer.s[0], layer.o[0]
    x, w = rng.standard_normal(n), rng.standard_normal(k)
    if layer.a % 2:
        x, w = x + 1j * rng.standard_normal(n), w + 1j * rng.standard_normal(k)
    else:
        o = -o
    return {"x": x, "w": w, "n": n, "k": k, "s": s, "o": o, "a": layer.a, "b": layer.b}


def image_names(layer: Layer, rng: np.random.Generator) -> Names:
    """Return the names of the section Images."""
    return {"X": rng.standard_normal(layer.n), "W": rng.standard_normal(layer.k)}


def layer_names(layer: Layer, rng: np.random.Generator) -> Names:
    """Return the names of the section Layers."""
    ins, outs, groups = 2 * layer.groups, 3 * layer.groups, layer.groups
    return {
        "X": rng.standard_normal((ins, *layer.n)),
        "W": rng.standard_normal((outs, ins // groups, *layer.k)),
        "V": rng.standard_normal((ins, outs // groups, *layer.k)),
        **{name: getattr(layer, name) for name in ("s", "d", "p", "o", "a", "b", "groups")},
    }


NAMES: Final = {"One axis": (1, signal_names), "Images": (2, image_names), "Layers": (2, layer_names)}
LIBRARIES: Final[Names] = {"np": np, "scipy": scipy, "cm": cm}


def run_torch(call: str, names: Names) -> Any:
    """Evaluate a call of PyTorch on tensors."""
    torch = pytest.importorskip("torch")
    tensors = {name: torch.tensor(v) if isinstance(v, np.ndarray) else v for name, v in names.items()}
    return eval(call, {"F": torch.nn.functional, **tensors}).numpy()


def run_onnx(operator: str, attributes: str, names: Names) -> Any:
    """Run one node in ONNX's reference implementation."""
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    arrays = {"x": names["X"][None], "w": names["W" if operator == "Conv" else "V"]}
    node = onnx.helper.make_node(operator, list(arrays), ["y"], **eval(attributes, names))
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.DOUBLE, None) for name in (*arrays, "y")]
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "layer", values[:2], values[2:]))
    (y,) = ReferenceEvaluator(model).run(None, arrays)
    return y


def run_row(row: Row, names: Names) -> tuple[Any, Any]:
    """Evaluate both sides of a row."""
    if row.library.startswith("ONNX "):
        operator = row.library.removeprefix("ONNX ")
        make = cm.conv_matrix if operator == "Conv" else cm.conv_transpose_matrix
        kernel = names["W" if operator == "Conv" else "V"]
        ours = make(kernel, names["X"].shape, **eval(row.ours, names)) @ names["X"].ravel()
        return run_onnx(operator, row.theirs, names), ours
    ours = eval(row.ours, LIBRARIES | names)
    if row.library == "PyTorch":
        return run_torch(row.theirs, names), ours
    return eval(row.theirs, LIBRARIES | names), ours


def row_id(row: Row) -> str:
    return f"line {row.line}: {row.theirs}"


RUN: Final = [row for row in ROWS if row.section in NAMES or row.library == "MATLAB and Octave"]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")  # PyTorch, of its speed
@for_each("row", RUN, ids=row_id)
def test_row_holds(row: Row) -> None:
    n_axes, make_names = NAMES.get(row.section, (2, image_names))
    rng = np.random.default_rng(row.line)
    ran = []
    for layer in trials(n_axes):
        names = make_names(layer, rng)
        if not layer._replace(o=(names["o"],) if n_axes == 1 else layer.o).satisfies(row.where):
            continue
        theirs, ours = run_row(row, names)
        if row.section == "One axis" or row.library == "MATLAB and Octave":
            assert theirs.shape == ours.shape, layer
        assert theirs.size == ours.size, layer
        np.testing.assert_allclose(np.ravel(ours), np.ravel(theirs), rtol=1e-12, atol=1e-12, err_msg=str(layer))
        ran.append(layer)
    has_kernel = re.search(r"\b[wWV]\b", row.theirs) or row.library.startswith("ONNX")
    if has_kernel:
        assert any(all(k % 2 for k in layer.k) for layer in ran)
        assert any(all(k % 2 == 0 for k in layer.k) for layer in ran) or row.where == "k % 2 == 1"
    if row.where == "True":
        assert any(all(k > n for n, k in zip(layer.n, layer.k, strict=True)) for layer in ran)
    assert len(ran) >= 4


@for_each("row", [row for row in ROWS if row not in RUN], ids=row_id)
def test_reference_row_is_a_legal_call(row: Row) -> None:
    ran = 0
    for layer in trials(2):
        if layer.satisfies(row.where):
            names = layer_names(layer, np.random.default_rng(0))
            A = eval(row.ours, LIBRARIES | names)
            assert A.shape[1] == names["X"].size
            ran += 1
    assert ran >= 4


def test_no_mode_is_missing() -> None:
    calls = {row.theirs for row in ROWS}
    modes = ("full", "same", "valid")
    expected = {f'{name}(x, w, "{mode}")' for mode in modes for name in ("np.convolve", "np.correlate")}
    expected |= {f'scipy.linalg.convolution_matrix(w, n, "{mode}")' for mode in modes}
    expected |= {f'scipy.signal.{name}(x, w, "{mode}")' for mode in modes for name in ("convolve", "correlate")}
    expected |= {
        f'scipy.signal.{name}(X, W, "{mode}", boundary="{boundary}")'
        for name, mode, boundary in itertools.product(("convolve2d", "correlate2d"), modes, ("fill", "wrap", "symm"))
    }
    continuations = ("constant", "nearest", "mirror", "reflect", "wrap", "grid-constant", "grid-mirror", "grid-wrap")
    expected |= {
        f'scipy.ndimage.{name}(X, W, mode="{mode}")' for name in ("correlate", "convolve") for mode in continuations
    }
    expected |= {f'np.pad(x, (a, b), mode="{mode}")' for mode in ("constant", "wrap", "reflect", "symmetric", "edge")}
    assert expected <= calls
    assert {row.library for row in ROWS} >= {
        "PyTorch",
        "ONNX Conv",
        "ONNX ConvTranspose",
        "TensorFlow and Keras",
        "JAX",
    }
    assert len(ROWS) == len({(row.library, row.theirs, row.where) for row in ROWS}) >= 100


def test_boundary_names_are_those_of_the_rows() -> None:
    """The overview of boundaries says the same as the rows that are run."""
    table = re.findall(
        r'^ *\| `"(\w+)"` \| ([^|]*) \| ([^|]*) \|[^|]*\| ([^|]*) \|', PAGE.read_text(), flags=re.MULTILINE
    )
    assert [boundary for boundary, *_ in table] == list(cm.BOUNDARIES)
    rows = {row.theirs: row.ours for row in ROWS}
    for boundary, picture, numpy_mode, ndimage_modes in table:
        for mode in re.findall("`([^`]+)`", numpy_mode):
            odd = ', reflect_type="odd"' if "odd" in numpy_mode else ""
            assert f'boundary="{boundary}"' in rows[f'np.pad(x, (a, b), mode="{mode}"{odd})']
        drawn = [sympy.sympify(entry.replace("2", "2*")) for entry in picture.replace("`", "").split()]
        A = cm.conv_matrix([1], 4, padding=2, boundary=boundary).toarray()
        assert drawn == (A @ np.array(sympy.symbols("a b c d"))).tolist()
        for mode in re.findall("`([^`]+)`", ndimage_modes):
            call = rows[f'scipy.ndimage.correlate(X, W, mode="{mode}")']
            assert (f'boundary="{boundary}"' in call) or (boundary == "zero" and "boundary" not in call)
