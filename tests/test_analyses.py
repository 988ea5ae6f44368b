"""The analyses: their verdicts, and the command that runs them."""

from __future__ import annotations

import doctest
import html
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="needs the extra analyses")
pytest.importorskip("skimage", reason="needs the extra analyses")

from analyses import Claim, Context, _claims, check_equal, check_within, main, published_equal, published_within
from analyses._claims import plain, show
from analyses._command import find_scripts

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = list(find_scripts())


def python(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, timeout=600)


def write_script(folder: Path, name: str, body: str) -> None:
    lines = "\n".join("    " + line for line in body.splitlines())
    text = f'"""{name.title()} of a test."""\nfrom analyses import *\ndef run(context):\n{lines}\n'
    (folder / f"{name}.py").write_text(text)


GOOD = 'return [published_equal("answer", "answer", 6 * 7, published=42, source="Adams 1979")]'
BAD = 'return [published_equal("answer", "answer", 6 * 9, published=42, source="Adams 1979")]'


# --- claims ----------------------------------------------------------------------------------------------------------


def test_claims_examples() -> None:
    outcome = doctest.testmod(_claims)
    assert outcome.attempted > 4
    assert outcome.failed == 0


@pytest.mark.parametrize(
    ("computed", "verdict"),
    [(16, "reproduced"), (np.int64(16), "reproduced"), (16.0, "reproduced"), (17, "failed"), (float("nan"), "failed")],
)
def test_published_equal(computed: float, verdict: str) -> None:
    claim = published_equal("nonzeros", "nonzeros", computed, published=16, source="Fig. 1")
    assert (claim.verdict, claim.published, claim.source) == (verdict, 16, "Fig. 1")
    assert claim.accepted == "= 16"


@pytest.mark.parametrize("computed", [[[0, 1], [1, 2]], ((0, 1), (1, 2)), np.array([[0, 1], [1, 2]]), [{1, 0}, {2, 1}]])
def test_published_equal_of_lists(computed: object) -> None:
    assert (
        published_equal("supports", "supports", computed, published=[[0, 1], [1, 2]], source="s").verdict
        == "reproduced"
    )
    assert published_equal("supports", "supports", computed, published=[[0, 1], [1, 3]], source="s").verdict == "failed"


@pytest.mark.parametrize(
    ("computed", "holds"), [(0.9, False), (1.0, True), (1.5, True), (2.0, True), (2.1, False), (float("nan"), False)]
)
def test_ranges(computed: float, holds: bool) -> None:
    published = published_within("size", "size", computed, (1, 2), published="one or two", source="s", rule="as said")
    assert published.verdict == ("reproduced" if holds else "failed")
    assert (published.accepted, published.rule) == ("1 to 2", "as said")
    checked = check_within("size", "size", computed, (1, 2), reason="by theory")
    assert checked.verdict == ("checked" if holds else "failed")
    assert checked.published is None


def test_check_equal_is_never_called_reproduced() -> None:
    claim = check_equal("difference", "difference", 0, expected=0, reason="same sums")
    assert (claim.verdict, claim.published, claim.accepted) == ("checked", None, "= 0")
    assert check_equal("difference", "difference", 1, expected=0, reason="same sums").verdict == "failed"


def test_plain_values_are_json() -> None:
    values = plain([np.float64(0.5), (np.int32(1), True), {3, 2}, None, "x", np.inf])
    assert json.loads(json.dumps(values, allow_nan=False)) == [0.5, [1, True], [2, 3], None, "x", "inf"]
    with pytest.raises(TypeError, match=r"a claim holds numbers, strings and lists of them, but 1j is a complex"):
        plain(1j)


def test_show_of_flags_and_words() -> None:
    assert (show(True), show("over eight billion"), show([280, 319])) == ("True", "over eight billion", "280, 319")


# --- the command -----------------------------------------------------------------------------------------------------


def test_all_pass_and_everything_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_script(tmp_path, "second", GOOD)
    write_script(tmp_path, "first", 'return [check_equal("zero", "zero", 1 - 1, expected=0, reason="arithmetic")]')
    write_script(tmp_path, "_helper", "raise RuntimeError")
    output = tmp_path / "new" / "results"
    assert main(["--output", str(output)], folder=tmp_path) == 0
    printed = capsys.readouterr()
    table = printed.out.splitlines()
    assert table[0].split() == ["claim", "published", "accepted", "computed", "verdict"]
    assert table[2] == "first"
    assert table[3].split() == ["zero", "-", "=", "0", "0", "checked"]
    assert table[5].split() == ["answer", "42", "=", "42", "42", "reproduced"]
    assert table[-1].startswith("2 claims: 1 reproduced, 1 checked, 0 failed")
    assert re.fullmatch(
        r"\[1/2\] first \.\.\. [\d.]+ s, 1 claim: .*\n\[2/2\] second \.\.\. [\d.]+ s, 1 claim: .*\n", printed.err
    )
    assert sorted(path.name for path in output.iterdir()) == ["first.json", "index.html", "second.json", "summary.json"]
    record = json.loads((output / "second.json").read_text())
    assert (record["title"], record["passed"], record["error"]) == ("Second of a test.", True, None)
    assert record["claims"] == [
        {
            "key": "answer",
            "statement": "answer",
            "published": 42,
            "source": "Adams 1979",
            "computed": 42,
            "accepted": "= 42",
            "rule": "",
            "verdict": "reproduced",
        }
    ]
    summary = json.loads((output / "summary.json").read_text())
    assert summary["verdicts"] == {"reproduced": 1, "checked": 1, "failed": 0, "skipped": 0, "raised": 0}
    assert list(summary["analyses"]) == ["first", "second"]


def test_failure_exits_1_and_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_script(tmp_path, "wrong", BAD)
    assert main(["--output", str(tmp_path)], folder=tmp_path) == 1
    out = capsys.readouterr().out
    assert "FAILED wrong.answer: computed 54, accepted = 42 (Adams 1979)\n" in out
    assert "0 reproduced, 0 checked, 1 failed" in out
    assert json.loads((tmp_path / "summary.json").read_text())["passed"] is False


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise ValueError('no such layer')", "ValueError: no such layer"),
        ("return []", "TypeError: run must return a list of at least one Claim, but returned []"),
        ("return ['fine']", "TypeError: run must return a list of at least one Claim, but returned ['fine']"),
        ("raise SystemExit(0)", "SystemExit: 0"),
    ],
)
def test_what_raises_fails_and_the_others_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], body: str, message: str
) -> None:
    write_script(tmp_path, "broken", body)
    write_script(tmp_path, "good", GOOD)
    assert main(["--output", str(tmp_path)], folder=tmp_path) == 1
    printed = capsys.readouterr()
    assert f"FAILED broken: raised {message}; the traceback is in broken.json" in printed.out
    assert "1 reproduced, 0 checked, 0 failed, 1 of 2 analyses raised an error" in printed.out
    assert message in printed.err
    record = json.loads((tmp_path / "broken.json").read_text())
    assert record["passed"] is False
    assert message in record["error"]
    assert json.loads((tmp_path / "good.json").read_text())["passed"] is True


def test_script_that_cannot_be_imported_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "exits.py").write_text("raise SystemExit(0)\n")
    (tmp_path / "garbled.py").write_text("def run(:\n")
    (tmp_path / "mistyped.py").write_text("import convmatrix.no_such_room\n")
    write_script(tmp_path, "good", GOOD)
    assert main(["--output", str(tmp_path)], folder=tmp_path) == 1
    out = capsys.readouterr().out
    assert "FAILED broken: raised ZeroDivisionError" in out
    assert "FAILED empty: raised AttributeError: module 'analyses.empty' has no attribute 'run'" in out
    assert "FAILED exits: raised SystemExit: 0" in out
    assert "FAILED garbled: raised SyntaxError" in out
    assert "FAILED mistyped: raised ModuleNotFoundError: No module named 'convmatrix.no_such_room'" in out
    assert "1 reproduced" in out
    assert main(["--list"], folder=tmp_path) == 0
    assert "garbled   (no Python)" in capsys.readouterr().out


def test_missing_package_names_the_extra_before_any_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_script(tmp_path, "good", GOOD)
    (tmp_path / "needy.py").write_text("import no_such_package.part\ndef run(context): pass\n")
    output = tmp_path / "results"
    assert main(["--output", str(output)], folder=tmp_path) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (
        "error: analysis 'needy' needs the missing package 'no_such_package'; "
        'install what the analyses need: pip install ".[analyses]"\n'
    )
    assert not output.exists()


@pytest.mark.parametrize("package", ["arch", "matplotlib", "skimage"])
def test_real_scripts_without_an_optional_package(tmp_path: Path, package: str) -> None:
    code = f"import sys; sys.modules[{package!r}] = None; from analyses import main; sys.exit(main())"
    done = python("-c", code)
    assert done.returncode == 2
    assert f"needs the missing package {package!r}" in done.stderr
    assert 'pip install ".[analyses]"' in done.stderr


def test_unknown_name_exits_2_with_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["edge_detektion", "small_image"]) == 2
    assert capsys.readouterr().err == (
        f"error: unknown analysis 'edge_detektion'; the analyses are: {', '.join(SCRIPTS)}\n"
    )


def test_bad_output_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_script(tmp_path, "good", GOOD)
    assert main(["--output", str(tmp_path / "good.py")], folder=tmp_path) == 2
    assert re.match(
        r"error: cannot use the folder '.*good\.py' for results \(.*\); choose another --output",
        capsys.readouterr().err,
    )


def test_list_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "explosive.py").write_text('"""Would explode.\n\nMore.\n"""\n1 / 0\n')
    assert main(["--list"], folder=tmp_path) == 0
    assert capsys.readouterr().out == "explosive  Would explode.\n"


def test_quick_reaches_the_script(tmp_path: Path) -> None:
    write_script(tmp_path, "how", 'return [published_equal("quick", "q", context.quick, published=True, source="s")]')
    assert main(["how", "--output", str(tmp_path)], folder=tmp_path) == 1
    assert main(["how", "--quick", "--output", str(tmp_path)], folder=tmp_path) == 0


def test_long_cells_are_wrapped_in_their_column(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_script(tmp_path, "long", f'return [check_equal("long", "{"word " * 30}", 1, expected=1, reason="r")]')
    assert main(["--output", str(tmp_path)], folder=tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines[:-1])) <= 124
    assert sum(line.count("word") for line in lines) == 30


def test_skipped_comparisons_are_counted_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_script(tmp_path, "partly", 'return [skipped("torch", "beside PyTorch", reason="PyTorch is not installed")]')
    assert main(["--output", str(tmp_path)], folder=tmp_path) == 0
    out = capsys.readouterr().out
    assert "SKIPPED partly.torch: PyTorch is not installed" in out
    assert "0 checked, 0 failed, 1 skipped" in out
    assert json.loads((tmp_path / "summary.json").read_text())["verdicts"]["skipped"] == 1


def test_packages_are_analyses(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    write_script(tmp_path / "folder", "__init__", GOOD)
    assert main(["folder", "--output", str(tmp_path / "out")], folder=tmp_path) == 0
    assert json.loads((tmp_path / "out" / "folder.json").read_text())["passed"]


def test_keys_are_unique_and_short(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_script(tmp_path, "twice", GOOD.replace("]", "] * 2"))
    assert main(["--output", str(tmp_path)], folder=tmp_path) == 1
    assert re.search(r"ValueError: two claims .*'answer'", capsys.readouterr().out)
    assert check_equal("S&P 500 (F test)", "s", 1, expected=1, reason="r").key == "s-p-500-f-test"


def test_example_of_the_guide_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"^```python\n(.*?)^```$", guide, flags=re.MULTILINE | re.DOTALL)
    (tmp_path / "guide.py").write_text(script)
    assert main(["--output", str(tmp_path)], folder=tmp_path) == 0
    assert "1 reproduced" in capsys.readouterr().out


# --- the analyses themselves -----------------------------------------------------------------------------------------


# These take more than about two seconds; `.ci/run` runs all analyses, these included.
LONG = {
    "belief_network",
    "boundary_conditions",
    "colour_hierarchy",
    "cooperative_stereo",
    "deblurring_boundaries",
    "digits_training",
    "equivariance_table",
    "har",
    "hierarchical_features",
    "layer_spectra",
    "models",
    "norm_bounds",
    "parameter_sharing",
    "preconditioners",
    "receptive_fields",
    "robust_digits",
    "sharing_pays",
    "storage_and_work",
    "szego",
    "tile_seams",
    "trained_shifts",
}
SHORT = [name for name in SCRIPTS if name not in LONG]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the short ones once, as the README says."""
    output = tmp_path_factory.mktemp("results")
    done = python("-m", "analyses", *SHORT, "--quick", "--output", str(output))
    assert done.returncode == 0, done.stdout + done.stderr
    return output


@pytest.mark.parametrize("name", SHORT)
def test_analysis_passes_and_is_complete(results: Path, name: str) -> None:
    record = json.loads((results / f"{name}.json").read_text())
    assert record["error"] is None
    assert record["passed"]
    assert record["claims"]
    for claim in record["claims"]:
        verdict = "skipped" if not claim["accepted"] else "checked" if claim["published"] is None else "reproduced"
        assert claim["verdict"] == verdict
        assert claim["source"]
    for file in record["figures"]:
        assert (results / file).stat().st_size > 1000


def claims_of(results: Path, name: str) -> dict[str, Claim]:
    record = json.loads((results / f"{name}.json").read_text())
    return {claim["key"]: Claim(**claim) for claim in record["claims"]}


def test_edge_detection_numbers(results: Path) -> None:
    claims = claims_of(results, "edge_detection")
    computed = {key: claim.computed for key, claim in claims.items()}
    assert computed == {
        "product": 0,
        "output-shape": [280, 319],
        "nonzeros": 178_640,
        "convolution-operations": 267_960,
        "dense-entries": 8_003_072_000,
        "dense-operations": 16_006_144_000,
        "entries-ratio": 4_001_536_000,
        "operations-ratio": pytest.approx(179_200 / 3, rel=1e-15),
        "operations-ratio-exact": 59_733.33,
    }


def test_small_image_numbers(results: Path) -> None:
    claims = claims_of(results, "small_image")
    assert claims["nonzeros"].computed == 16
    assert claims["weights"].computed == 4
    assert claims["supports"].computed == [[0, 1, 3, 4], [1, 2, 4, 5], [3, 4, 6, 7], [4, 5, 7, 8]]


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing is what takes the time."""
    monkeypatch.setattr(Context, "save_figure", lambda *_: None)


@pytest.mark.usefixtures("no_figures")
def test_edge_detection_notices_a_wrong_matrix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from analyses import edge_detection

    monkeypatch.setattr(edge_detection, "KERNEL", np.array([[1, -1]]))
    verdicts = {claim.key: claim.verdict for claim in edge_detection.run(Context("x", tmp_path))}
    assert verdicts["product"] == "failed"
    assert verdicts["nonzeros"] == "reproduced"


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(("height", "width"), [(279, 320), (280, 300)])
def test_edge_detection_notices_another_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, height: int, width: int
) -> None:
    from analyses import edge_detection

    monkeypatch.setattr(edge_detection, "HEIGHT", height)
    monkeypatch.setattr(edge_detection, "WIDTH", width)
    claims = edge_detection.run(Context("x", tmp_path))
    failed = {claim.key for claim in claims if claim.verdict == "failed"}
    assert {"output-shape", "nonzeros", "convolution-operations"} <= failed


def test_one_analysis_writes_the_same_as_all(results: Path, tmp_path: Path) -> None:
    done = python("-m", "analyses", "edge_detection", "--quick", "--output", str(tmp_path / "results"))
    assert done.returncode == 0, done.stderr
    written = {path.name: path.read_bytes() for path in (tmp_path / "results").iterdir()}
    assert {"edge_detection.json", "edge_detection.svg", "edge_detection.png"} <= written.keys()
    del written["summary.json"], written["index.html"]
    assert written == {file: (results / file).read_bytes() for file in written}


def test_index_page_has_every_claim_and_figure(results: Path) -> None:
    page = (results / "index.html").read_text(encoding="utf-8")
    for name in SHORT:
        record = json.loads((results / f"{name}.json").read_text())
        assert f'id="{name}"' in page
        for claim in record["claims"]:
            assert html.escape(claim["statement"]) in page
        for figure in record["figures"]:
            assert not figure.endswith(".png") or f'src="{figure}"' in page
    assert "://" not in page
    assert "file:" not in page


def test_analyses_run_on_one_thread_of_blas(tmp_path: Path) -> None:
    from analyses._command import _run

    info = pytest.importorskip("threadpoolctl").threadpool_info

    def run(context: Context) -> list[Claim]:
        threads = max(library["num_threads"] for library in info() if library["user_api"] == "blas")
        return [check_equal("threads", "threads", threads, expected=1, reason="set while an analysis runs")]

    result = _run(run, Context("threads", tmp_path, quick=True), "Threads.")
    assert result.passed, result
