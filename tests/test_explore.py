"""The interactive page: the file, the command, and its behaviour in headless Chromium."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

import convmatrix as cm
from convmatrix.boundary import BOUNDARIES
from convmatrix.cli import main
from convmatrix.display.palette import BROKEN, DISTINCT, RAMP, palette
from convmatrix.equivariance import check_shift
from convmatrix.explore import LIMIT, page, save_page
from convmatrix.options import PADDING_WORDS
from tests import explore_page
from tests.cases import for_each
from tests.refusals import refused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXAMPLE = cm.ConvGeometry((4, 6), (3, 2), padding=[(1, 0), (2, 3)], boundary=("zero", "reflect"), stride=(1, 2))


def start_of(html: str) -> dict[str, Any]:
    """Return the initial data of a page."""
    (block,) = re.findall(r'<script type="application/json" id="start">(.*?)</script>', html)
    found: dict[str, Any] = json.loads(block)
    return found


# --- the file --------------------------------------------------------------------------------------------------------


def test_the_page_starts_with_the_layer() -> None:
    start = start_of(page(EXAMPLE, np.arange(6).reshape(3, 2) / 4, order="F"))
    assert start["settings"] == {
        "input_shape": [4, 6],
        "kernel_shape": [3, 2],
        "in_channels": 1,
        "out_channels": 1,
        "transposed": False,
        "output_padding": [0, 0],
        "stride": [1, 2],
        "dilation": [1, 1],
        "padding": [[1, 0], [2, 3]],
        "boundary": ["zero", "reflect"],
        "flip": False,
        "order": "F",
    }
    assert start["weights"] == [0, 0.25, 0.5, 0.75, 1, 1.25]
    assert start_of(page())["weights"] == list(range(1, 10))
    assert start_of(page())["settings"]["padding"] == ["same", "same"]
    assert start_of(page(cm.ConvGeometry(5, 3)))["settings"]["padding"] == ["valid"]
    assert start_of(page(EXAMPLE, np.ones((1, 1, 3, 2), dtype=bool)))["weights"] == [1] * 6
    deep = cm.ConvGeometry(5, 3, in_channels=2, out_channels=3, transposed=True, stride=2, output_padding=1)
    start = start_of(page(deep, np.arange(18).reshape(2, 3, 3)))
    assert start["weights"] == list(range(18))
    assert [start["settings"][name] for name in ("in_channels", "out_channels", "transposed")] == [2, 3, True]
    assert start["settings"]["output_padding"] == [1]


def test_the_page_has_the_colours_of_the_package() -> None:
    assert start_of(page())["colours"] == {"distinct": list(map(list, DISTINCT)), "ramp": list(map(list, RAMP))}
    assert f"--break: {BROKEN};" in page()


def test_the_page_has_the_words_of_the_package() -> None:
    start = start_of(page())
    assert start["boundaries"] == list(BOUNDARIES)
    assert start["paddings"] == list(PADDING_WORDS)


def test_the_page_is_self_contained_and_may_request_nothing() -> None:
    html = page(EXAMPLE)
    assert "{{" not in re.sub(r"<script>.*</script>", "", html, flags=re.DOTALL)
    assert not re.search(r'(?:src|href)="(?!data:|\$)', html)
    assert not re.search(r"https?:|@import|url\((?!#)|fetch\(|XMLHttpRequest|WebSocket|eval\(|localStorage", html)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy.startswith("default-src 'none'; ")
    for tag in ("style", "script"):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, flags=re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_nothing_in_the_data_ends_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = {"input_shape": "</script><script>alert(1)</script><!--"}
    monkeypatch.setattr("convmatrix.explore.document._settings", lambda *_: hostile)
    html = page()
    assert "alert(1)</script>" not in html
    assert start_of(html)["settings"] == hostile


@for_each(
    "geometry, kernel, message",
    [
        (cm.ConvGeometry((3, 3, 3), (2, 2, 2)), None, "page input_shape=(3, 3, 3) has 3"),
        (cm.ConvGeometry(5, 3, in_channels=2, out_channels=2, groups=2), None, "page groups=2"),
        (cm.ConvGeometry(5, 3, in_channels=2, out_channels=2, connections=np.eye(2)), None, "page connections="),
        (cm.ConvGeometry(5, 3, in_channels=2), [1, 2, 3], "kernel (3,) (1, 2, 3)"),
        (cm.ConvGeometry(5, 3, sharing="unshared"), None, "page sharing='unshared'"),
        (cm.ConvGeometry(401, 3), None, "page 400 400 400 (401,), (3,) 401"),
        (cm.ConvGeometry(9, 3, padding=300), None, "page 400 400 400 607"),
        (cm.ConvGeometry(9, 401, padding=200), None, "page 400 400 400 401"),
        (cm.ConvGeometry(9, 3, stride=10**9 + 1), None, "stride 1000000000 1000000001"),
        (cm.ConvGeometry(5, 3), [1, 2], "kernel (2,) (3,)"),
        (cm.ConvGeometry(5, 3), [1, 2j, 3], "kernel complex128"),
        (cm.ConvGeometry(5, 3), [1, np.nan, 3], "kernel 1"),
        (cm.ConvGeometry(5, 3), [1, 2, 2**53 + 1], "integers 2 53 2 9007199254740993"),
    ],
)
def test_what_the_page_cannot_show(geometry: cm.ConvGeometry, kernel: Any, message: str, tmp_path: Path) -> None:
    with refused(ValueError, message):
        save_page(tmp_path / "explore.html", geometry, kernel)
    assert list(tmp_path.iterdir()) == []


def test_refused_arguments() -> None:
    with refused(TypeError, "geometry must be a ConvGeometry"):
        page((3, 3))  # type: ignore[arg-type]
    with refused(ValueError, "order 'K'"):
        page(order="K")


def test_one_tile_is_a_shared_kernel() -> None:
    assert start_of(page(cm.ConvGeometry(5, 3, sharing=1)))["settings"]["kernel_shape"] == [3]
    assert start_of(page(cm.ConvGeometry(LIMIT, 1)))["settings"]["input_shape"] == [LIMIT]


def test_a_file_is_whole_or_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "explore.html"
    save_page(path, EXAMPLE)
    assert path.read_text(encoding="utf-8") == page(EXAMPLE)

    def full_disk(*_: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("convmatrix.atomic.os.fsync", full_disk)
    with pytest.raises(OSError, match="no space left"):
        save_page(path)
    assert path.read_text(encoding="utf-8") == page(EXAMPLE)
    assert [file.name for file in tmp_path.iterdir()] == ["explore.html"]


# --- the command -----------------------------------------------------------------------------------------------------


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["explore"]) == 0
    assert "saved     explore.html" in capsys.readouterr().out
    assert (tmp_path / "explore.html").read_text(encoding="utf-8") == page()
    layer = ["--kernel", "[[1,2],[3,4]]", "--input-shape", "3x3", "--boundary", "zero,circular", "--padding", "1"]
    assert main(["explore", *layer, "--order", "F", "-o", "blog.htm"]) == 0
    start = start_of((tmp_path / "blog.htm").read_text(encoding="utf-8"))
    assert start["weights"] == [1, 2, 3, 4]
    assert (start["settings"]["boundary"], start["settings"]["order"]) == (["zero", "circular"], "F")


def test_command_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explore", "--kernel-shape", "3", "--input-shape", "8", "-o", "-"]) == 0
    assert capsys.readouterr().out == page(cm.ConvGeometry(8, 3))
    draw = ["--kernel-shape", "3", "--input-shape", "8", "--random", "--seed", "1", "--dtype", "int8"]
    assert main(["explore", *draw, "-o", "-"]) == 0
    weights = start_of(capsys.readouterr().out)["weights"]
    assert all(isinstance(weight, int) for weight in weights)


@for_each(
    "arguments, message",
    [
        (["-o", "page.txt"], r"-o page\.txt: .*\.html.*\.htm"),
        (["-o", "missing/page.html"], r"missing/page\.html: .* folder missing"),
        (["-o", "folder.html"], r"folder\.html: .* folder"),
        (["--rows", "0:2"], "--rows: .*page"),
        (["--kernel", "[1]", "--input-shape", "3", "--dtype", "int8"], "--dtype .* --random"),
        (["--stride", "2"], "--kernel"),
        (["--kernel", "[1,2,3]", "--input-shape", "2"], "axis 0"),
        (["--kernel-shape", "9x3x3x3", "--input-shape", "3x9x9"], r"400 x 400 .* output .* 441"),
    ],
)
def test_command_errors(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.html").mkdir(exist_ok=True)
    assert main(["explore", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.search(message, captured.err)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.html"]


# --- the browser -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    try:
        with explore_page.browser() as running:
            yield running
    except explore_page.BrowserMissingError as missing:
        pytest.skip(str(missing))


@pytest.fixture
def opened(driver: Any, tmp_path: Path) -> Iterator[Any]:
    """Open the default page; after the test, check that the console is clean and nothing else was requested."""
    explore_page.console_errors(driver), explore_page.requests(driver)
    explore_page.open_page(driver, tmp_path)
    yield driver
    assert explore_page.console_errors(driver) == []
    assert set(explore_page.requests(driver)) <= {(tmp_path / "explore.html").as_uri()}


def find(driver: Any, selector: str) -> Any:
    return driver.find_element("css selector", selector)


def text(driver: Any, selector: str) -> str:
    shown: str = find(driver, selector).text
    return shown


def shown(driver: Any) -> Any:
    return driver.execute_script("return window.convmatrix.shown()")


def type_in(driver: Any, selector: str, value: object) -> None:
    """Type into an input, key by key."""
    from selenium.webdriver.common.keys import Keys

    find(driver, selector).send_keys(Keys.CONTROL, "a")
    find(driver, selector).send_keys(str(value))


def paste(driver: Any, selector: str, value: str) -> None:
    """Replace the value of an input at once."""
    script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input', { bubbles: true }));"
    driver.execute_script(script, find(driver, selector), value)


def choose(driver: Any, selector: str, value: str) -> None:
    from selenium.webdriver.support.select import Select

    Select(find(driver, selector)).select_by_value(value)


def show_view(driver: Any, view: str) -> None:
    find(driver, f'input[name="view"][value="{view}"]').click()


def as_array(matrix: dict[str, Any]) -> np.ndarray:
    array = np.zeros(matrix["shape"])
    for row, entries in enumerate(matrix["rows"]):
        for entry in entries:
            array[row, entry["column"]] = entry["value"]
    return array


def test_random_layers_agree_with_the_package(opened: Any) -> None:
    rng = np.random.default_rng(7)
    tally = explore_page.Tally()
    for number in range(14):
        settings = explore_page.random_settings(rng)
        explore_page.compare_functions(opened, settings, explore_page.random_shift(settings, rng), tally)
        if number % 5 == 0:
            explore_page.compare_controls(opened, settings, tally, every=number == 0)
    assert tally.differing == []
    assert tally.compared["entries"] > 300
    assert tally.compared["weights shown"] > 50
    assert tally.compared["broken rows"] > 80


def test_typing_into_the_controls(opened: Any) -> None:
    """A layer entered with the keyboard alone has the matrix of the package."""
    type_in(opened, "#input_shape-0", 4)
    type_in(opened, "#kernel_shape-1", 2)
    type_in(opened, "#weight-1", -2.5)
    choose(opened, "#padding-1", "same_lower")
    choose(opened, "#boundary-1", "circular")
    find(opened, "#flip").click()
    expected = cm.conv_matrix(
        [[1, -2.5], [4, 5], [7, 8]], (4, 5), padding=[(1, 1), (1, 0)], boundary=("zero", "circular"), flip=True
    )
    np.testing.assert_array_equal(as_array(shown(opened)["matrix"]), expected.toarray())
    made = eval(text(opened, "#python"), {"cm": cm})
    assert (made != expected).nnz == 0
    assert find(opened, "#padding_low-1").get_attribute("value") == "1"
    assert not find(opened, "#padding_low-1").is_enabled()


def test_transpose(opened: Any) -> None:
    show_view(opened, "transpose")
    found = shown(opened)
    A = cm.conv_matrix(np.arange(1, 10).reshape(3, 3), (5, 5), padding="same")
    np.testing.assert_array_equal(as_array(found["matrix"]), A.T.toarray())
    np.testing.assert_array_equal(found["product"], A.T @ np.array(found["vector"]))
    assert "back-propagation" in text(opened, "#matrix-words")
    assert (eval(text(opened, "#python"), {"cm": cm}) != A.T).nnz == 0


def test_commutator_marks_the_broken_rows(opened: Any) -> None:
    show_view(opened, "commutator")
    verdict = check_shift(cm.ConvGeometry((5, 5), (3, 3), padding="same"), (1, 0))
    broken = np.flatnonzero(verdict.broken_rows).tolist()
    assert shown(opened)["matrix"]["brokenRows"] == broken
    assert text(opened, "#matrix-words").startswith("No output shift works")
    assert f"{len(broken)} of 25 rows break the symmetry" in text(opened, "#matrix-words")
    assert len(opened.find_elements("css selector", "#matrix .broken-band")) == len(broken)
    assert len(opened.find_elements("css selector", "#right .cross")) == len(broken)
    proved = eval(text(opened, "#python"), {"cm": cm})
    np.testing.assert_array_equal(proved.broken_rows, verdict.broken_rows)
    for axis in (0, 1):
        choose(opened, f"#boundary-{axis}", "circular")
    assert "commutes with this shift for all weights" in text(opened, "#matrix-words")
    assert opened.find_elements("css selector", "#matrix g[data-row]") == []
    type_in(opened, "#stride-0", 2)
    words = text(opened, "#matrix-words")
    assert words.startswith("No output shift works: stride[0]=2 does not divide shift[0]=1")
    assert find(opened, "#shown").is_displayed()
    verdict = eval(text(opened, "#python"), {"cm": cm})
    assert shown(opened)["matrix"]["brokenRows"] == np.flatnonzero(verdict.broken_rows).tolist()


def test_the_product_is_written_out(opened: Any) -> None:
    """The products of a row add up to the number beside the matrix."""
    image = np.array(shown(opened)["vector"])
    find(opened, "#forward").click()
    A = cm.conv_matrix(np.arange(1, 10).reshape(3, 3), (5, 5), padding="same").toarray()
    products = [element.text for element in opened.find_elements("css selector", "#terms .numbers")]
    columns = np.flatnonzero(A[1])
    assert products == [f"{A[1, column]} \u00d7 {image[column]}" for column in columns]
    assert text(opened, "#terms .total") == f"= {A[1] @ image:g}"
    assert text(opened, "#terms h3") == f"y[0,1] = {A[1] @ image:g}: row 1 of A"
    assert "w0, w1, w2" in text(opened, "#terms .note")


def test_several_taps_on_one_sample(driver: Any, tmp_path: Path) -> None:
    explore_page.open_page(
        driver, tmp_path, cm.ConvGeometry(4, 3, padding="same", boundary="reflect"), kernel=[1, 2, 4]
    )
    assert "2 taps land on x[1], so their weights add up: w0 + w2 = 1 + 4 = 5." in text(driver, "#terms")
    assert "2 entries are sums of several weights" in text(driver, "#matrix-words")
    cell = find(driver, '#matrix g[data-row="0"][data-column="1"]')
    assert (cell.get_attribute("data-weights"), cell.text) == ("w0+w2", "5")
    assert len(driver.find_elements("css selector", "#left text.halo")) == 0  # the taps read different positions
    show_view(driver, "transpose")
    find(driver, "#forward").click()
    assert len(driver.find_elements("css selector", "#left text.halo")) == 2  # number and name on stripes
    show_view(driver, "layer")
    choose(driver, "#labels", "names")
    assert find(driver, '#matrix g[data-row="0"][data-column="1"]').text == "w0+w2"


def test_counts_and_the_dense_layer(opened: Any) -> None:
    counts = cm.counts.layer_counts(cm.ConvGeometry((5, 5), (3, 3), padding="same"), None)
    rows = {
        row.get_attribute("data-count"): [
            float(cell.get_attribute("data-value")) for cell in row.find_elements("tag name", "td")
        ]
        for row in opened.find_elements("css selector", "#counts tbody tr")
    }
    assert rows["weights"] == [counts.weights, 225, counts.entries]
    assert rows["nonzeros"] == [counts.nonzeros, counts.nonzeros, counts.entries]
    assert rows["density"] == [counts.density, counts.density, 1]
    assert rows["sharing"][0] == counts.sharing_factor
    assert not find(opened, "#dense-figure").is_displayed()
    find(opened, "#dense").click()
    assert text(opened, "#dense-caption") == "dense layer: 25 \u00d7 25, 625 weights, one per entry"


def test_keys_step_and_point(opened: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    stage, matrix = find(opened, "#stage"), find(opened, "#matrix-area")
    stage.send_keys(Keys.ARROW_DOWN, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert shown(opened)["row"] == 7
    stage.send_keys(Keys.END)
    assert text(opened, "#row-name") == "row 24: y[4,4]"
    stage.send_keys(Keys.HOME)
    matrix.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    words = text(opened, "#focus-words")
    pixel = shown(opened)["vector"][1]
    assert words.startswith("Row 1 (output y[0,1]), column 1 (pixel x[0,1]): weight w4 = 5; it contributes 5 \u00d7 ")
    assert words.endswith(f"{pixel} = {5 * pixel}. w4 appears 25 times in A.")
    assert len(opened.find_elements("css selector", "#matrix .equal")) == 25
    matrix.send_keys(Keys.ENTER)
    assert shown(opened)["row"] == 1


def test_pointing_and_clicking(opened: Any) -> None:
    from selenium.webdriver import ActionChains

    ActionChains(opened).move_to_element(find(opened, "#middle g[data-index='0']")).perform()
    assert text(opened, "#focus-words").startswith("Weight w0 = 1 appears 16 times in A")
    ActionChains(opened).move_to_element(find(opened, '#matrix g[data-row="6"][data-column="0"]')).perform()
    assert text(opened, "#focus-words").startswith("Row 6 (output y[1,1]), column 0 (pixel x[0,0]): weight w0 = 1;")
    marked = [len(opened.find_elements("css selector", f"#{grid} .pointer")) for grid in ("left", "middle", "right")]
    assert marked == [1, 1, 1]
    find(opened, "#right g[data-index='12']").click()
    assert text(opened, "#row-name") == "row 12: y[2,2]"
    find(opened, "#left g[data-index='6']").click()
    type_in(opened, "#pixel", 100)
    image = shown(opened)["vector"]
    assert image[6] == 100
    A = cm.conv_matrix(np.arange(1, 10).reshape(3, 3), (5, 5), padding="same")
    np.testing.assert_array_equal(shown(opened)["product"], A @ np.array(image))


def test_play_moves_the_kernel_and_stops(opened: Any) -> None:
    from selenium.webdriver.support.wait import WebDriverWait

    choose(opened, "#speed", "200")
    button = find(opened, "#play")
    button.click()
    assert button.get_attribute("aria-label") == "Pause"
    WebDriverWait(opened, 20).until(lambda _: shown(opened)["row"] >= 3)
    button.click()
    row = shown(opened)["row"]
    assert button.get_attribute("aria-label") == "Play"
    assert len(opened.find_elements("css selector", "#right .chosen")) == 1
    assert shown(opened)["row"] == row


def test_mistakes_are_explained_beside_the_last_picture(opened: Any) -> None:
    before = shown(opened)
    for control, value, message, good in (
        ("#input_shape-0", "", r"input_shape\[0\] .* empty", "5"),
        ("#stride-1", "0", r"stride\[1\] .* 1, but is 0", "1"),
        ("#weight-0", "", "w0 .* empty", "1"),
        ("#input_shape-0", "81", "405 x 405, .* 400 x 400", "5"),
        ("#kernel_shape-0", "201", "603 weights, .* 400", "3"),
        ("#dilation-0", "2000000000", r"dilation\[0\] .* 1000000000, but is 2000000000", "1"),
        ("#in_channels", "0", "in_channels .* 1, but is 0", "1"),
        ("#pixel", "", r"x\[0,0\] .* empty", str(before["vector"][0])),
    ):
        paste(opened, control, value)
        assert re.search(message, text(opened, "#message")), message
        assert find(opened, "#kept").is_displayed()
        assert find(opened, control).get_attribute("aria-invalid") == "true"
        assert (shown(opened)["matrix"], shown(opened)["product"]) == (before["matrix"], before["product"])
        assert find(opened, "#matrix g[data-row]").is_displayed()
        find(opened, "#forward").click()  # the last picture still works
        paste(opened, control, good)
        assert not find(opened, "#message").is_displayed()
        assert not find(opened, "#kept").is_displayed()
        assert find(opened, control).get_attribute("aria-invalid") is None
        assert shown(opened)["matrix"] == before["matrix"]


def test_an_impossible_layer_keeps_the_last_picture(opened: Any) -> None:
    """The message has both numbers; other views of the last layer can still be chosen."""
    choose(opened, "#padding-0", "valid")
    type_in(opened, "#dilation-0", 3)
    assert "it spans 7 samples" in text(opened, "#message")
    assert "the padded input has 5" in text(opened, "#message")
    assert shown(opened)["matrix"]["shape"] == [15, 25]
    show_view(opened, "transpose")
    assert shown(opened)["matrix"]["shape"] == [25, 15]
    show_view(opened, "chain")
    assert shown(opened)["matrix"]["shape"] == [15, 25]
    assert opened.execute_script("return window.convmatrix.link().second.kernel_shape") == [1, 1]
    type_in(opened, "#dilation-0", 1)
    assert not find(opened, "#message").is_displayed()
    type_in(opened, "#second_kernel_shape-0", 2)
    choose(opened, "#second_padding-1", "numbers")
    paste(opened, "#second_padding_low-1", "-1")
    assert "second layer: padding[1][0] must be at least 0, but is -1" in text(opened, "#message")
    show_view(opened, "commutator")
    paste(opened, "#shift-0", "")
    assert "shift[0] must be an integer, but is empty" in text(opened, "#shift-message")
    assert shown(opened)["view"] == "commutator"


def test_the_story_has_five_steps_about_the_layer(opened: Any) -> None:
    """It starts by playing from an inner row; buttons and keys turn it, and it can be skipped."""
    from selenium.webdriver.common.keys import Keys

    find(opened, "#story-again").click()
    assert find(opened, "#play").get_attribute("aria-label") == "Pause"
    assert shown(opened)["row"] >= 12
    A = cm.conv_matrix(np.arange(1, 10).reshape(3, 3), (5, 5), padding="same")
    words = []
    for place in range(1, 6):
        assert text(opened, "#story-place") == f"{place} of 5"
        words.append((text(opened, "#story-title"), text(opened, "#story-text")))
        find(opened, "#story").send_keys(Keys.ARROW_RIGHT)
    assert len(set(words)) == 5
    assert "Each row of the matrix computes one output" in words[0]
    assert f"{np.diff(A.indptr)[12]} entries" in words[1][1]
    assert f"w4 = 5 stands at {(A.data == 5).sum()} places" in words[2][1]
    assert f"Of {A.shape[0] * A.shape[1]} entries only {A.nnz} are stored" in words[3][1]
    assert f"Row 0 has {np.diff(A.indptr)[0]} entries instead of 9" in words[4][1]
    assert not find(opened, "#story").is_displayed()
    assert (shown(opened)["row"], find(opened, "#play").get_attribute("aria-label")) == (0, "Play")
    find(opened, "#story-again").click()
    find(opened, "#story-next").click()
    assert find(opened, "#play").get_attribute("aria-label") == "Play"
    find(opened, "#story").send_keys(Keys.ARROW_LEFT)
    assert text(opened, "#story-place") == "1 of 5"
    find(opened, "#story").send_keys(Keys.ESCAPE)
    assert not find(opened, "#story").is_displayed()


@for_each(
    "geometry",
    [
        cm.ConvGeometry(4, 3, padding="same", boundary="circular"),
        cm.ConvGeometry((2, 3), (2, 2), in_channels=2, out_channels=2, transposed=True, stride=2, output_padding=1),
        cm.ConvGeometry(1, 1),
    ],
)
def test_every_layer_has_its_story(driver: Any, tmp_path: Path, geometry: cm.ConvGeometry) -> None:
    explore_page.console_errors(driver)
    explore_page.open_page(driver, tmp_path, geometry)
    find(driver, "#story-again").click()
    titles = set()
    for _ in range(5):
        titles.add(text(driver, "#story-title"))
        assert "undefined" not in text(driver, "#story-text")
        find(driver, "#story-next").click()
    assert len(titles) == 5
    assert explore_page.console_errors(driver) == []


def test_a_link_restores_the_view(opened: Any, tmp_path: Path) -> None:
    show_view(opened, "commutator")
    choose(opened, "#padding-1", "numbers")
    paste(opened, "#padding_high-1", "3")
    choose(opened, "#boundary-0", "antireflect")
    choose(opened, "#image", "edge")
    paste(opened, "#pixel", "-2.5")
    paste(opened, "#shift-1", "-2")
    paste(opened, "#weight-8", "1e-7")
    choose(opened, "#labels", "names")
    find(opened, "#dense").click()
    for _ in range(3):
        find(opened, "#forward").click()
    before = shown(opened)
    explore_page.wait(opened, lambda: "row=3" in opened.current_url)
    link = opened.current_url
    opened.get("about:blank")
    explore_page.open_page(opened, tmp_path, fragment="#" + link.partition("#")[2])
    after = shown(opened)
    assert after == before
    assert find(opened, "#dense-figure").is_displayed()
    for _ in range(4):  # until the labels fit the cells
        find(opened, "#larger").click()
    assert "w8" in text(opened, "#matrix")
    assert not find(opened, "#story").is_displayed()
    assert text(opened, "#output-shift") == "1, \u22122"
    opened.execute_script("location.hash = 'input_shape=4&kernel_shape=2&weights=1,-1'")  # a link that is pasted
    explore_page.wait(opened, lambda: shown(opened)["matrix"]["shape"] == [3, 4])
    opened.get("about:blank")
    explore_page.open_page(opened, tmp_path, fragment="#input_shape=4&kernel_shape=9&weights=1")
    assert "spans 9 samples" in text(opened, "#link-message")
    assert shown(opened)["matrix"]["shape"] == [25, 25]


@for_each(
    "fragment, message",
    [
        ("input_shape=5,5&kernel_shape=9,9&weights=1", "kernel does not fit on axis 0: it spans 9 .* has 5"),
        ("input_shape=5&kernel_shape=2&weights=1", "2 weights, but 1 values"),
        ("input_shape=5&kernel_shape=2&weights=1,Infinity", "weights must hold numbers, but has .*Infinity"),
        ("input_shape=1000000&kernel_shape=1&weights=1", "1000000 x 1000000, .* 400 x 400"),
        ("input_shape=5,5,5&kernel_shape=1,1,1&weights=1", "input_shape has 3 .* 1 or 2"),
        ("input_shape=5&kernel_shape=1&weights=1&row=5", "row must be less than 5, .* but is 5"),
        ("input_shape=5&kernel_shape=1&weights=1&boundary=__proto__", "boundary __proto__ is unknown"),
        ("input_shape=5&kernel_shape=1&weights=1&view=constructor", "view constructor is unknown"),
        ("input_shape=5&kernel_shape=1&weights=1&padding=1:2:3", "padding has 3 numbers on an axis, .* are 2"),
        (
            "input_shape=5&kernel_shape=1&weights=1&view=chain&second_kernel_shape=1&second_weights=1"
            "&second_padding=1:2:3",
            "second_padding has 3 numbers on an axis",
        ),
        ("__proto__=1", "__proto__.* is not a setting"),
        ("<img src=x onerror=alert(1)>", "is not a setting"),
        ("input_shape=5&input_shape=5", "input_shape occurs twice"),
        ("%E0%A4%A", "not encoded"),
        ("input_shape=" + "5," * 20000, "40012 characters, but at most 30000"),
    ],
)
def test_a_hostile_link_is_ignored_with_a_message(opened: Any, fragment: str, message: str) -> None:
    opened.execute_script("location.hash = arguments[0]", fragment)
    explore_page.wait(opened, lambda: bool(re.search(message, text(opened, "#link-message"))))
    assert shown(opened)["matrix"]["shape"] == [25, 25]
    assert opened.execute_script("return document.querySelectorAll('#link-message *').length") == 0


def saved(driver: Any, folder: Path, button: str, name: str) -> bytes:
    """Click a button that saves a file, and return the file."""
    driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
    find(driver, button).click()
    explore_page.wait(driver, lambda: (folder / name).exists() and "saved" in text(driver, "#share-words"))
    return (folder / name).read_bytes()


def test_pictures_to_take_away(opened: Any, tmp_path: Path) -> None:
    """The SVG, the PNG and each frame of the GIF have the colours of the weights at the entries of the matrix."""
    image = pytest.importorskip("PIL.Image")
    find(opened, "#last").click()
    svg = saved(opened, tmp_path, "#save-svg", "matrix.svg").decode()
    root = ET.fromstring(svg)
    assert "var(" not in svg
    groups = [group for group in root.iter() if group.get("data-row")]
    A = cm.conv_matrix(np.arange(1, 10).reshape(3, 3), (5, 5), padding="same").toarray()
    colours = palette(9)
    width, height = (float(root.get(name, "")) for name in ("width", "height"))
    png = np.asarray(image.open(io.BytesIO(saved(opened, tmp_path, "#save-png", "matrix.png"))).convert("RGB"))
    assert png.shape == (2 * height, 2 * width, 3)
    found = np.zeros_like(A)
    for group in groups:
        row, column = int(group.get("data-row", "")), int(group.get("data-column", ""))
        found[row, column] = "".join(group.itertext())
        box = next(iter(group))
        red, green, blue = colours[A[row, column] - 1]
        assert box.get("fill") == f"rgb({red}, {green}, {blue})"
        x, y = (2 * float(box.get(name, "")) + 3 for name in ("x", "y"))
        assert np.abs(png[int(y), int(x)] - np.array(colours[A[row, column] - 1])).max() <= 2
    np.testing.assert_array_equal(found, A)
    choose(opened, "#speed", "200")
    animation = image.open(io.BytesIO(saved(opened, tmp_path, "#save-gif", "convolution.gif")))
    assert (animation.n_frames, animation.info["duration"], animation.info["loop"]) == (25, 200, 0)
    frames = []
    for frame in range(25):
        animation.seek(frame)
        frames.append(np.asarray(animation.convert("RGB")).astype(int))
    for number, colour in enumerate(colours):
        area = (np.abs(frames[12] - colour).max(axis=2) <= 8).sum()
        assert area > 25 * 60, number  # the weight's entries, of more than 60 pixels each
    accent = (11, 87, 164)
    blue = [np.abs(frame[:, -400:] - accent).max(axis=2) <= 8 for frame in frames]
    tops = [np.flatnonzero(frame.sum(axis=1) > 200)[0] for frame in blue]
    assert np.all(np.diff(tops) > 10)  # the frame of the row moves down
    assert shown(opened)["row"] == 24


def test_code_is_copied(opened: Any) -> None:
    origin = {"permission": {"name": "clipboard-read"}, "setting": "granted"}
    opened.execute_cdp_cmd("Browser.setPermission", origin)
    read = "navigator.clipboard.readText().then(arguments[0], (error) => arguments[0](String(error)));"
    for button, words in (("python", "import convmatrix as cm\ncm.conv_matrix("), ("torch", "import torch\n")):
        find(opened, f"#copy-{button}").click()
        explore_page.wait(opened, lambda: "copied" in text(opened, "#share-words"))
        assert opened.execute_async_script(read).startswith(words)
    find(opened, "#copy-link").click()
    explore_page.wait(opened, lambda: text(opened, "#share-words") == "the link is copied")
    assert opened.execute_async_script(read) == opened.current_url
    choose(opened, "#boundary-0", "symmetric")
    assert text(opened, "#torch") == '# PyTorch has no padding mode like the boundary "symmetric".'


def test_both_kernels_are_filled_from_the_same_list(opened: Any) -> None:
    show_view(opened, "chain")
    options = "return [...arguments[0].options].map(({ value, textContent }) => [value, textContent])"
    fills = {
        "count": ("1, 2, 3, \u2026", np.arange(1, 10)),
        "mean": ("a mean filter", np.full(9, 1 / 9)),
        "difference": ("a difference filter", np.tile([-1, 0, 1], 3)),
        "random": ("random digits", None),
    }
    for prefix in ("", "second_"):
        listed = opened.execute_script(options, find(opened, f"#{prefix}kernel-fill"))
        assert listed == [["", "\u2026"], *([name, words] for name, (words, _) in fills.items())], prefix
        for name, (_, weights) in fills.items():
            choose(opened, f"#{prefix}kernel-fill", name)
            inputs = opened.find_elements("css selector", f"#{prefix}kernel input")
            found = [float(element.get_attribute("value")) for element in inputs]
            if weights is None:
                assert set(found) <= set(range(-4, 6)), prefix
            else:
                np.testing.assert_allclose(found, weights, rtol=1e-15)
    assert opened.execute_script(options, find(opened, "#image")) == [
        ["random", "random digits"],
        ["count", "1, 2, 3, \u2026"],
        ["edge", "an edge"],
        ["impulse", "an impulse"],
        ["constant", "all ones"],
        ["photograph", "a photograph, 0 to 9"],
    ]


def test_two_layers_light_the_receptive_field(opened: Any) -> None:
    from selenium.webdriver import ActionChains

    show_view(opened, "chain")
    paste(opened, "#second_stride-1", "2")
    paste(opened, "#row", "7")
    first = cm.conv_matrix(np.arange(1, 10).reshape(3, 3), (5, 5), padding="same")
    second = cm.conv_matrix(np.arange(1, 10).reshape(3, 3), (5, 5), padding="same", stride=(1, 2))
    np.testing.assert_array_equal(as_array(shown(opened)["matrix"]), (second @ first).toarray())
    image = np.array(shown(opened)["vector"])
    np.testing.assert_array_equal(shown(opened)["product"], second @ (first @ image))
    units, field = second[[7]].indices, np.flatnonzero((second @ first)[[7]].toarray())
    assert len(opened.find_elements("css selector", "#left .path")) == len(field)
    assert f"reads {len(units)} hidden units, and through them {len(field)} pixels" in text(opened, "#terms")
    products = [element.text for element in opened.find_elements("css selector", "#terms .numbers")]
    hidden = first @ image
    assert products == [f"{second[7, unit]} \u00d7 {hidden[unit]}" for unit in units]
    ActionChains(opened).move_to_element(find(opened, f"#middle g[data-index='{units[0]}']")).perform()
    marked = len(opened.find_elements("css selector", "#left .pointer"))
    assert marked == len(first[[int(units[0])]].indices)
    assert text(opened, "#focus-words").startswith("Hidden unit h[1,1]") == (units[0] == 6)
    assert (eval(text(opened, "#python"), {"cm": cm}) != second @ first).nnz == 0


def test_the_commutator_explains_a_stride(opened: Any) -> None:
    show_view(opened, "commutator")
    paste(opened, "#input_shape-0", "6")
    choose(opened, "#boundary-0", "circular")
    paste(opened, "#stride-0", "2")
    assert "would have to move by 1 / 2 of a sample" in text(opened, "#matrix-words")
    assert "Shift by 2 instead" in text(opened, "#matrix-words")
    find(opened, "#shift-by-stride").click()
    assert find(opened, "#shift-0").get_attribute("value") == "2"
    assert "It is equivariant" in text(opened, "#matrix-words")
    assert "shift / stride = 2 / 2 = 1" in text(opened, "#matrix-words")
    layer = cm.ConvGeometry((6, 5), (3, 3), padding="same", stride=(2, 1), boundary=("circular", "zero"))
    assert check_shift(layer, (2, 0)).holds
    choose(opened, "#boundary-0", "zero")
    assert "would move by shift / stride = 2 / 2 = 1, but the boundary prevents it" in text(opened, "#matrix-words")
    choose(opened, "#boundary-0", "circular")
    find(opened, "#transposed").click()
    assert "2 \u00b7 2 = 4" in text(opened, "#matrix-words")


def test_the_photograph_is_filtered(opened: Any) -> None:
    planes = """
    const canvas = document.getElementById(arguments[0]);
    return [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data];
    """
    paste(opened, "#stride-1", "2")
    explore_page.wait(opened, lambda: "96 \u00d7 48" in text(opened, "#filtered-caption"))
    pixels = np.array(opened.execute_script(planes, "photograph")).reshape(96, 96, 4)
    filtered = np.array(opened.execute_script(planes, "filtered")).reshape(96, 48, 4)
    assert len(np.unique(pixels[..., 0])) > 100
    layer = cm.ConvOperator(np.arange(1, 10).reshape(3, 3), (96, 96), padding="same", stride=(1, 2))
    expected = layer @ pixels[..., 0].ravel().astype(float)
    shades = 255 * (expected - expected.min()) / (expected.max() - expected.min())
    assert np.abs(filtered[..., 0].ravel() - shades).max() <= 0.5  # a canvas rounds to whole shades
    choose(opened, "#image", "photograph")
    digits = np.array(shown(opened)["vector"])
    assert (digits.min() >= 0, digits.max() <= 9, len(np.unique(digits)) > 3) == (True, True, True)


@for_each("story", [True, False])
@for_each("width, height, fully", [(390, 844, "left middle right matrix"), (1366, 768, "left matrix")])
def test_image_and_matrix_are_together_on_small_screens(
    driver: Any, tmp_path: Path, width: int, height: int, fully: str, story: bool
) -> None:
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        explore_page.open_page(driver, tmp_path)
        if story:
            driver.execute_script("document.getElementById('story-again').click(); scrollTo(0, 0);")
        for picture in fully.split():
            box = driver.execute_script(f"return document.getElementById('{picture}').getBoundingClientRect().toJSON()")
            assert 0 <= box["left"] < box["right"] <= width, picture
            assert 0 <= box["top"] < box["bottom"] <= height, picture
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_weights_are_coloured_as_in_notebooks(opened: Any) -> None:
    for n in (1, 7, 8, 9, 25):
        found = opened.execute_script("return window.convmatrix.palette(arguments[0])", n)
        assert np.abs(np.array(found) - palette(n)).max() <= 1  # halves round up or to even


def test_the_largest_matrix_is_fast(driver: Any, tmp_path: Path) -> None:
    """A full 400 x 400 matrix is drawn as one image, and a step takes a fraction of a second."""
    dense = cm.ConvGeometry((20, 20), (20, 20), padding="same", boundary="circular")
    explore_page.open_page(driver, tmp_path, dense)
    assert driver.execute_script("return window.convmatrix.shown().matrix.rows.flat().length") == 160_000
    assert len(driver.find_elements("css selector", "#matrix image")) == 1
    assert driver.find_elements("css selector", "#matrix g[data-row]") == []
    milliseconds = driver.execute_script(
        "const start = performance.now(); document.getElementById('forward').click(); return performance.now() - start;"
    )
    assert milliseconds < 2000
    assert explore_page.console_errors(driver) == []


@for_each("width", [1400, 768, 390])
def test_nothing_sticks_out(driver: Any, tmp_path: Path, width: int) -> None:
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        explore_page.open_page(driver, tmp_path)
        for view in ("layer", "transpose", "commutator"):
            find(driver, f'input[name="view"][value="{view}"]').click()
            assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_every_control_has_a_name(opened: Any) -> None:
    show_view(opened, "commutator")
    controls = [c for c in opened.find_elements("css selector", "input, select, button") if c.is_displayed()]
    assert len(controls) > 40
    assert [c.get_attribute("id") for c in controls if not c.accessible_name.strip()] == []


def test_it_prints(opened: Any) -> None:
    printed = base64.b64decode(opened.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert printed.startswith(b"%PDF")
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert not find(opened, "aside").is_displayed()
        assert find(opened, "#matrix").is_displayed()
    finally:
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
