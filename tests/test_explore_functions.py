"""The functions of the interactive page, run by Node.js, against the package: entries, commutators, counts."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import convmatrix as cm
from convmatrix import explore
from convmatrix.boundary import SIGNED
from tests import explore_page
from tests.cases import for_each

if TYPE_CHECKING:
    from convmatrix.boundary import Boundary

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")

_DOCUMENT = """\
const data = { limit: 400, largest: 1e9, colours: { distinct: [], ramp: [], broken: [0, 0, 0] } };
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
}};
const ask = function () {{ {explore_page._ASK_PAGE} }};
const names = (settings) => layered(settings).rows.flatMap(
  (entries, row) => entries.map((e) => [row, e.column, entryName(e)]));
const asked = JSON.parse(require("fs").readFileSync(0));
const answers = asked.map(([settings, shift]) => [
  ask.call(null, settings, shift), (() => {{ try {{ return names(settings); }} catch {{ return null; }} }})()]);
process.stdout.write(JSON.stringify(answers));
"""


def answers(asked: list[tuple[dict[str, Any], list[int]]], tmp_path: Path) -> list[Any]:
    """Return what the page's functions say about settings and shifts, and the names of the entries."""
    folder = Path(explore.__file__).parent
    scripts = "".join((folder / f"{name}.js").read_text("utf-8") for name in ("rule", "matrix", "marks"))
    (tmp_path / "page.js").write_text(_DOCUMENT + scripts + _ANSWER, "utf-8")
    command = ["node", str(tmp_path / "page.js")]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(done.stdout)
    return found


class Answered:
    """Stands for the driver of a browser that has already answered."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def execute_script(self, *_: Any) -> Any:
        """Return the answer."""
        return self.answer


def test_random_layers_of_every_boundary_agree_with_the_package(tmp_path: Path) -> None:
    rng = np.random.default_rng(23)
    asked = [
        (settings := explore_page.random_settings(rng), explore_page.random_shift(settings, rng)) for _ in range(80)
    ]
    tally, signed = explore_page.Tally(), 0
    for (settings, shift), (answer, names) in zip(asked, answers(asked, tmp_path), strict=True):
        explore_page.compare_functions(Answered(answer), settings, shift, tally)
        signed += bool(set(settings["boundary"]) & set(SIGNED))
        if names is not None:
            expected = {key: own for key, (own, _) in explore_page.expected_entries(settings).items()}
            found = {(row, column): explore_page.parse_weights(name) for row, column, name in names}
            tally.equal("names", found, expected, settings, len(expected))
    assert not tally.differing
    assert signed > 20
    assert tally.compared["entries"] > 2000


@for_each("boundary, names", [("antireflect", ["2w0+w1", "\u2212w0+w2"]), ("antisymmetric", ["\u2212w0+w1", "w2"])])
def test_entries_show_their_coefficients(boundary: Boundary, names: list[str], tmp_path: Path) -> None:
    layer = cm.ConvGeometry(5, 3, padding="same", boundary=boundary)
    settings = {
        "input_shape": [5],
        "kernel_shape": [3],
        "stride": [1],
        "dilation": [1],
        "padding": ["same"],
        "boundary": [boundary],
        "flip": False,
        "order": "C",
        "weights": [1, 10, 100],
    }
    ((answer, found),) = answers([(settings, [1])], tmp_path)
    assert [name for row, _, name in found if row == 0] == names
    values = {(row, column): value for row, column, _, value, _ in answer["matrix"]["entries"]}
    dense = cm.conv_matrix([1, 10, 100], layer).toarray()
    assert values == {(i, j): dense[i, j] for i, j in np.argwhere(dense).tolist()}
