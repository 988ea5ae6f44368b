"""The functions of the interactive page, run by Node.js, against the package: entries, commutators, counts."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import convmatrix as cm
from convmatrix import explore
from convmatrix.boundary import BOUNDARIES, SIGNED
from convmatrix.options import PADDING_WORDS
from tests import explore_page
from tests.cases import for_each

if TYPE_CHECKING:
    from convmatrix.boundary import Boundary

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")

_DOCUMENT = """\
const data = { limit: 400, largest: 1e9, colours: { distinct: [], ramp: [] }, BOUNDARIES };
const document = { getElementById: () => ({ textContent: JSON.stringify(data) }) };
const window = {};
"""
_ANSWER = f"""
const layered = (settings) => layerMatrix(describeLayer(settings));
window.convmatrix = {{
  matrix: layered,
  transpose: (settings) => transposeMatrix(layered(settings)),
  commutator: (settings, shift) => commutatorMatrix(describeLayer(settings), layered(settings), shift),
  counts: (settings) => layerCounts(describeLayer(settings), layered(settings)),
  filter(settings, planes) {{
    const layer = describeLayer(settings);
    return Array.from({{ length: layer.outChannels }}, (_, channel) => filterPlanes(layer, planes, channel));
  }},
  chain(settings) {{
    const layer = describeLayer(settings);
    return {{ product: composedMatrix(layerMatrix(followingLayer(layer, settings)), layerMatrix(layer)) }};
  }},
}};
const ask = function () {{ {explore_page._ASK_PAGE} }};
const names = (settings) => layered(settings).rows.flatMap(
  (entries, row) => entries.map((e) => [row, e.column, entryName(e)]));
const attempt = (what) => {{ try {{ return what(); }} catch {{ return null; }} }};
const torch = (settings) => {{
  const layer = describeLayer(settings);
  const second = settings.second ? {{ layer: followingLayer(layer, settings) }} : null;
  return torchProgram({{ layer, view: second ? "chain" : "layer", second }});
}};
const {{ asked, vectors }} = JSON.parse(require("fs").readFileSync(0));
const answers = asked.map(([settings, shift, image]) => [
  ask.call(null, settings, shift, image), attempt(() => names(settings)), attempt(() => torch(settings)),
  attempt(() => outputSizeWords(describeLayer(settings)))]);
process.stdout.write(JSON.stringify({{ answers, differences: ruleDifferences(vectors) }}));
"""


_SCRIPTS = "rule layer matrix commutator chain marks words code photograph"


def run_page(asked: list[Any], vectors: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """Return what the page's functions say about settings, and where its rule differs from test vectors."""
    folder = Path(explore.__file__).parent
    scripts = "".join((folder / f"{name}.js").read_text("utf-8") for name in _SCRIPTS.split())
    words = {"boundaries": BOUNDARIES, "signed": SIGNED, "paddings": PADDING_WORDS}
    boundaries = ", ".join(f"{name}: {json.dumps(found)}" for name, found in words.items())
    (tmp_path / "page.js").write_text(_DOCUMENT.replace("BOUNDARIES", boundaries) + scripts + _ANSWER, "utf-8")
    command = ["node", str(tmp_path / "page.js")]
    given = json.dumps({"asked": asked, "vectors": vectors})
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def answers(asked: list[tuple[dict[str, Any], list[int]]], tmp_path: Path) -> list[Any]:
    """Return what the page says about settings and shifts, names of entries, PyTorch programs, and output sizes."""
    with_images = [(settings, shift, explore_page.random_image(settings)) for settings, shift in asked]
    found: list[Any] = run_page(with_images, {"terms": [], "sizes": []}, tmp_path)["answers"]
    return found


class Answered:
    """Stands for the driver of a browser that has already answered."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def execute_script(self, *_: Any) -> Any:
        """Return the answer."""
        return self.answer


def calculated_sizes(words: str, n_axes: int) -> list[list[int]]:
    """Return the results of calculations such as "(input 5 − kernel 3) / stride 2 + 1 = 2": our own, and the stated."""
    formulas = [part.partition(": ")[2] for part in words.rstrip(".").split(";")]
    formulas *= n_axes // len(formulas)
    terms, stated = zip(*(formula.split(" = ") for formula in formulas), strict=True)
    signs = {"/": "//", "\N{MINUS SIGN}": "-", "\N{MIDDLE DOT}": "*"}
    plain = [re.sub(r"[a-z, ]+", "", "".join(signs.get(sign, sign) for sign in term)) for term in terms]
    assert all(re.fullmatch(r"[\d()+*/-]+", term) for term in plain), words
    return [[eval(term) for term in plain], [int(size) for size in stated]]


def test_random_layers_of_every_boundary_agree_with_the_package(tmp_path: Path) -> None:
    rng = np.random.default_rng(23)
    asked = [
        (settings := explore_page.random_settings(rng), explore_page.random_shift(settings, rng)) for _ in range(80)
    ]
    tally, signed = explore_page.Tally(), 0
    found_by_page = answers(asked, tmp_path)
    for (settings, shift), (answer, names, _, words) in zip(asked, found_by_page, strict=True):
        explore_page.compare_functions(Answered(answer), settings, shift, tally)
        signed += bool(set(settings["boundary"]) & set(SIGNED))
        if names is not None:
            expected = {key: own for key, (own, _) in explore_page.expected_entries(settings).items()}
            found = {(row, column): explore_page.parse_weights(name) for row, column, name in names}
            tally.equal("names", found, expected, settings, len(expected))
            sizes = list(explore_page.geometry_of(settings).output_shape)
            tally.equal("calculated sizes", calculated_sizes(words, len(sizes)), [sizes, sizes], settings)
    assert not tally.differing
    assert signed > 20
    assert tally.compared["entries"] > 2000
    assert tally.compared["entries of two layers"] > 2000
    assert tally.compared["filtered images"] > 1000
    assert tally.compared["calculated sizes"] > 30
    possible = [settings for (settings, _), found in zip(asked, found_by_page, strict=True) if found[1]]
    upsampling = [settings for settings in possible if settings["transposed"] and any(settings["output_padding"])]
    assert len(upsampling) >= 5
    assert any(settings["in_channels"] != settings["out_channels"] for settings in upsampling)


@for_each("boundary, names", [("antireflect", ["2w0+w1", "\u2212w0+w2"]), ("antisymmetric", ["\u2212w0+w1", "w2"])])
def test_entries_show_their_coefficients(boundary: Boundary, names: list[str], tmp_path: Path) -> None:
    layer = cm.ConvGeometry(5, 3, padding="same", boundary=boundary)
    settings = {
        "input_shape": [5],
        "kernel_shape": [3],
        "in_channels": 1,
        "out_channels": 1,
        "stride": [1],
        "dilation": [1],
        "padding": ["same"],
        "boundary": [boundary],
        "flip": False,
        "order": "C",
        "weights": [1, 10, 100],
    }
    ((answer, found, _, _),) = answers([(settings, [1])], tmp_path)
    assert [name for row, _, name in found if row == 0] == names
    values = {(row, column): value for row, column, _, value, _ in answer["matrix"]["entries"]}
    dense = cm.conv_matrix([1, 10, 100], layer).toarray()
    assert values == {(i, j): dense[i, j] for i, j in np.argwhere(dense).tolist()}


def test_the_rule_is_that_of_the_package(tmp_path: Path) -> None:
    """The page compares its rule with values from Python; a rule that differs is found."""
    (block,) = re.findall(r'id="start">(.*?)</script>', explore.page())
    vectors = json.loads(block)["vectors"]
    assert {boundary for boundary, *_ in vectors["terms"]} == set(BOUNDARIES)
    assert run_page([], vectors, tmp_path)["differences"] == []
    *place, terms = vectors["terms"][-1]
    vectors["terms"][-1] = [*place, [*terms, [0, 7]]]
    *layer, sizes = vectors["sizes"][-1]
    vectors["sizes"][-1] = [*layer, [size + 1 for size in sizes]]
    boundary, size, position = place
    found = run_page([], vectors, tmp_path)["differences"]
    assert len(found) == 2
    assert f"boundary {boundary}, position {position} of {size} samples" in found[0]


def test_programs_of_pytorch_compute_the_layer(tmp_path: Path) -> None:
    """The PyTorch program of random layers has the outputs of the matrix, or says why there is none."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(31)
    asked = [(explore_page.random_settings(rng), [0]) for _ in range(150)]
    asked = [(settings, [0] * len(settings["input_shape"])) for settings, _ in asked]
    run, missing = 0, 0
    for (settings, _), (_, _, program, _) in zip(asked, answers(asked, tmp_path), strict=True):
        if program is None:  # the layer is impossible
            continue
        if program.startswith("#"):
            assert re.search("PyTorch (has|pads)|of PyTorch have", program)
            assert set(settings["boundary"] + settings.get("second", {}).get("boundary", [])) != {"zero"}
            missing += 1
            continue
        x = np.array(explore_page.random_image(settings)).reshape(1, settings["in_channels"], *settings["input_shape"])
        lines = [line if not line.startswith("x = ") else "x = image" for line in program.splitlines()]
        names = {"image": torch.tensor(x, dtype=torch.float32)}
        with torch.no_grad():
            exec("\n".join(lines), names)
        plain = {**settings, "order": "C"}
        matrix = explore_page.product_of(plain)[1] if "second" in settings else explore_page.matrix_of(plain)
        np.testing.assert_allclose(names["y"].numpy().ravel(), matrix @ x.ravel(), rtol=1e-5, atol=1e-2)
        run += 1
    assert run > 30
    assert missing > 30
