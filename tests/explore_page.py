"""The page of ``convmatrix explore`` in headless Chromium, against the package.

The command::

    python -m tests.explore_page --count 500 --seed 0

draws random layers (one and two axes, several channels, transposed layers with output padding, all boundaries and
mixtures of them, padding as words and as numbers, also beyond one period, stride, dilation, flip, both orders, kernels
longer than the input, kernels that do not fit), some followed by a second layer. For each it

    sets the controls of the page and reads the matrix, its weights and its counts from the page,
    calls the page's own functions for the matrix, the transpose, the commutator with a random shift, the counts, the
    product of two layers, the filtered image, and the settings after a round trip through a link,

and compares them entry by entry with ``conv_matrix``, ``ConvGeometry.pattern``, ``check_shift``, ``layer_counts`` and
``ConvOperator``, and error messages with those of the package. It prints the number of compared entries and of
differences. The exit code is 1 if there are differences, if the console shows an error, or if the page requested any
address other than its own. Requires Chromium, ChromeDriver and selenium.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

import convmatrix as cm
from convmatrix.boundary import BOUNDARIES
from convmatrix.equivariance import check_shift
from convmatrix.explore import LIMIT, save_page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Settings = dict[str, Any]

_FLAGS: Final = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
_WORDS: Final = ("valid", "same", "same_lower", "full")
_MOST_DRAWN: Final = 4000  # entries of a matrix; one with more is drawn as the pixels of one image
_COUNTS: Final = {
    "weights": "weights",
    "connections": "connections",
    "connections_inside": "connections_inside",
    "nonzeros": "nonzeros",
    "density": "density",
    "sharing": "sharing_factor",
}

# Sets the controls; if every is true, each change triggers an event, as with a user, otherwise only the last one does.
_SET_CONTROLS: Final = """
const [settings, every] = arguments;
const tell = (input) => input.dispatchEvent(new Event("input", { bubbles: true }));
const set = (id, value) => {
  const input = document.getElementById(id);
  if (input.type === "checkbox") input.checked = value;
  else input.value = value;
  if (every) tell(input);
};
const view = document.querySelector(`input[name="view"][value="${settings.second ? "chain" : "layer"}"]`);
if (!view.checked) view.click();
const nAxes = settings.input_shape.length;
const axes = document.querySelector(`input[name="axes"][value="${nAxes}"]`);
if (!axes.checked) axes.click();
const setLayer = (prefix, layer) => {
  for (let axis = 0; axis < nAxes; axis += 1) {
    for (const name of ["input_shape", "kernel_shape", "stride", "dilation"]) {
      if (layer[name]) set(`${prefix}${name}-${axis}`, layer[name][axis]);
    }
    const padding = layer.padding[axis];
    const numbers = Array.isArray(padding);
    set(`${prefix}padding-${axis}`, numbers ? "numbers" : padding);
    if (numbers) ["low", "high"].forEach((end, place) => set(`${prefix}padding_${end}-${axis}`, padding[place]));
    set(`${prefix}boundary-${axis}`, layer.boundary[axis]);
  }
  set(`${prefix}out_channels`, layer.out_channels);
};
setLayer("", settings);
if (settings.second) setLayer("second_", settings.second);
set("in_channels", settings.in_channels);
set("transposed", settings.transposed);
settings.output_padding.forEach((amount, axis) => set(`output_padding-${axis}`, amount));
set("order", settings.order);
set("flip", settings.flip);
tell(document.getElementById("flip"));
settings.weights.forEach((weight, index) => set(`weight-${index}`, weight));
settings.second?.weights.forEach((weight, index) => set(`second_weight-${index}`, weight));
tell(document.getElementById("weight-0"));
if (settings.second) tell(document.getElementById("second_weight-0"));
"""
_READ_PAGE: Final = """
const text = (id) => document.getElementById(id).hidden ? null : document.getElementById(id).textContent;
return {
  message: text("message") ?? text("shift-message"),
  shown: window.convmatrix.shown(),
  link: window.convmatrix.link(),
  images: document.querySelectorAll("#matrix image").length,
  entries: [...document.querySelectorAll("#matrix g[data-row]")].map(
    (g) => [Number(g.dataset.row), Number(g.dataset.column), g.dataset.weights, g.textContent]),
  counts: Object.fromEntries([...document.querySelectorAll("#counts tbody tr")].map(
    (line) => [line.dataset.count, [...line.querySelectorAll("td")].map((cell) => cell.dataset.value)])),
  python: document.getElementById("python").textContent,
};
"""
_ASK_PAGE: Final = """
const [settings, shift, image] = arguments;
const ask = (what) => { try { return what(); } catch (error) { return { error: error.message }; } };
const pairs = (weights, factors) => weights?.map((weight, place) => [weight, factors[place]]);
const entry = (row, e) => [row, e.column, pairs(e.weights, e.factors), e.value, pairs(e.minus, e.minusFactors)];
const flat = ({ shape, rows, ...rest }) => ({
  shape, ...rest,
  entries: rows.flatMap((entries, row) => entries.map((e) => entry(row, e))) });
return {
  matrix: ask(() => flat(window.convmatrix.matrix(settings))),
  transpose: ask(() => flat(window.convmatrix.transpose(settings))),
  commutator: ask(() => flat(window.convmatrix.commutator(settings, shift))),
  counts: ask(() => window.convmatrix.counts(settings)),
  filtered: ask(() => window.convmatrix.filter(settings, image)),
  product: ask(() => settings.second ? window.convmatrix.chain(settings).product : null),
};
"""


class BrowserMissingError(Exception):
    """Raised if the browser or its driver is missing."""


@contextmanager
def browser(width: int = 1400, height: int = 1000) -> Iterator[Any]:
    """Yield a driver of headless Chromium with an empty profile."""
    try:
        from selenium import webdriver
        from selenium.common.exceptions import WebDriverException
        from selenium.webdriver.chrome.service import Service
    except ImportError:
        raise BrowserMissingError("selenium is not installed") from None
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next((found for found in map(shutil.which, names) if found), None)
    driver_program = shutil.which("chromedriver")
    if program is None or driver_program is None:
        raise BrowserMissingError("Chromium and ChromeDriver are not installed")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = program
        for flag in (*_FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        try:
            driver = webdriver.Chrome(options=options, service=Service(driver_program))
        except WebDriverException as error:
            raise BrowserMissingError(f"Chromium does not start: {(error.msg or '').partition(chr(10))[0]}") from None
        try:
            driver.set_script_timeout(300)
            driver.get("about:blank")  # the browser's own first page makes requests
            yield driver
        finally:
            driver.quit()


def open_page(
    driver: Any, folder: Path, geometry: cm.ConvGeometry | None = None, *, fragment: str = "", **options: Any
) -> None:
    """Write a page, open it, and skip its story."""
    save_page(folder / "explore.html", geometry, **options)
    driver.get((folder / "explore.html").as_uri() + fragment)
    ready = "return Boolean(window.convmatrix) && document.readyState === 'complete'"
    wait(driver, lambda: bool(driver.execute_script(ready)))
    if not fragment:
        driver.execute_script("for (const id of ['story-skip', 'first']) document.getElementById(id).click();")


def wait(driver: Any, reached: Callable[[], bool]) -> None:
    """Wait until a condition holds, at most a minute."""
    from selenium.webdriver.support.wait import WebDriverWait

    WebDriverWait(driver, 60, poll_frequency=0.02).until(lambda _: reached())


def console_errors(driver: Any) -> list[str]:
    """Return the errors and warnings on the console since the last call."""
    return [entry["message"] for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


def requests(driver: Any) -> list[str]:
    """Return the addresses requested since the last call."""
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    return [url for url in asked if not url.startswith(("chrome", "data:"))]  # those stay inside the browser


# --- random layers ---------------------------------------------------------------------------------------------------


def random_settings(rng: np.random.Generator) -> Settings:
    """Return the settings of a random layer of at most 400 rows and columns; about one in fifteen does not fit."""
    while True:
        settings = _draw_settings(rng)
        try:
            geometries = geometries_of(settings)
        except ValueError:
            return settings
        if all(max(geometry.n_in, geometry.n_out, geometry.n_weights) <= LIMIT for geometry in geometries):
            return settings


def _draw_settings(rng: np.random.Generator) -> Settings:
    def integer(low: int, high: int) -> int:
        return int(rng.integers(low, high, endpoint=True))

    n_axes = integer(1, 2)
    axes = range(n_axes)
    sizes = [integer(1, (40, 9)[n_axes - 1]) if integer(0, 4) else integer(1, 3) for _ in axes]
    channels = (integer(1, 3), integer(1, 3)) if not integer(0, 2) else (1, 1)
    transposed = not integer(0, 2)

    def layer(inputs: int, outputs: int) -> Settings:
        taps = [integer(1, (9, 4)[n_axes - 1]) for _ in axes]
        padding: list[Any] = []
        for size in sizes:
            word = (*_WORDS, "numbers", "numbers", "numbers")[integer(0, 6)]
            largest = (2, 4, 2 * size + 3)[integer(0, 2)]
            padding.append([integer(0, largest), integer(0, largest)] if word == "numbers" else word)
        n_weights = inputs * outputs * int(np.prod(taps))
        weights = rng.integers(-9, 10, n_weights)
        if integer(0, 1):
            weights = weights + rng.integers(0, 64, n_weights) / 64  # sums of these are exact in any order
        return {
            "kernel_shape": taps,
            "stride": [max(integer(-2, 3), 1) for _ in axes],
            "dilation": [max(integer(-2, 3), 1) for _ in axes],
            "padding": padding,
            "boundary": [BOUNDARIES[integer(0, len(BOUNDARIES) - 1)] for _ in axes],
            "out_channels": outputs,
            "weights": weights.tolist(),
        }

    first = layer(*channels)
    steps = zip(first["stride"], first["dilation"], strict=True)
    extra = [integer(0, max(step) - (1 if integer(0, 19) else 0)) for step in steps]  # rarely too large
    settings = {
        "input_shape": sizes,
        "in_channels": channels[0],
        "transposed": transposed,
        "output_padding": extra if transposed else [0] * n_axes,
        "flip": bool(integer(0, 1)),
        "order": "CF"[integer(0, 1)] if n_axes == 2 else "C",
        **first,
    }
    if not integer(0, 2):
        settings["second"] = layer(channels[1], integer(1, 2))
    return settings


def random_shift(settings: Settings, rng: np.random.Generator) -> list[int]:
    """Return a random shift, in most cases a multiple of the stride."""
    multiple = rng.integers(-3, 4, len(settings["stride"]))
    return [int(m) * (s if rng.integers(10) else 1) for m, s in zip(multiple, settings["stride"], strict=True)]


def geometry_of(settings: Settings) -> cm.ConvGeometry:
    """Return the package's layer of the page's settings."""
    padding = [entry if isinstance(entry, str) else tuple(entry) for entry in settings["padding"]]
    names = ("stride", "dilation", "boundary", "flip", "in_channels", "out_channels", "transposed", "output_padding")
    options = {name: settings[name] for name in names}
    return cm.ConvGeometry(settings["input_shape"], settings["kernel_shape"], padding=padding, **options)


def second_settings(settings: Settings) -> Settings:
    """Return the settings of the layer that reads the outputs of the first one."""
    first = geometry_of(settings)
    return {
        **settings["second"],
        "input_shape": list(first.output_shape),
        "in_channels": first.out_channels,
        "transposed": False,
        "output_padding": [0] * len(first.output_shape),
        "flip": settings["flip"],
        "order": settings["order"],
    }


def geometries_of(settings: Settings) -> list[cm.ConvGeometry]:
    """Return the package's layers of the page's settings, with the page's words for a second one that is impossible."""
    geometries = [geometry_of(settings)]
    if "second" in settings:
        try:
            geometries.append(geometry_of(second_settings(settings)))
        except ValueError as error:
            raise ValueError(f"second layer: {error}") from None
    return geometries


def matrix_of(settings: Settings) -> Any:
    """Return the package's matrix of the page's settings."""
    geometry = geometry_of(settings)
    weights = np.array(settings["weights"]).reshape(geometry.weight_shape)
    return cm.conv_matrix(weights, geometry, order=settings["order"])


def product_of(settings: Settings) -> tuple[Entries, Any]:
    """Return the product of two layers: (row, column) to the hidden units between and the value; and the matrix."""
    matrices = [matrix_of(layer) for layer in (settings, second_settings(settings))]
    paths = []
    for matrix in matrices:
        connected = matrix.astype(np.int64)
        connected.data[:] = 1  # entries of 0 are stored, and count
        paths.append(connected.toarray())
    product = matrices[1] @ matrices[0]
    dense = product.toarray()
    between = paths[1] @ paths[0]
    return {(i, j): (int(between[i, j]), float(dense[i, j])) for i, j in np.argwhere(between).tolist()}, product


# --- comparisons -----------------------------------------------------------------------------------------------------


@dataclass
class Tally:
    """Counts of comparisons, and the differences found."""

    compared: Counter[str] = field(default_factory=Counter)
    differing: list[str] = field(default_factory=list)

    def equal(self, kind: str, found: Any, expected: Any, settings: Settings, entries: int = 1) -> None:
        """Count a comparison, and record a difference."""
        self.compared[kind] += entries
        if found != expected:
            self.differing.append(f"{kind}: {found} is not {expected}: {settings}")


Terms = tuple[tuple[int, int], ...]
"""Weights with their coefficients, ascending."""
Entries = dict[tuple[int, int], tuple[Any, float]]


def expected_entries(settings: Settings) -> Entries:
    """Return the package's entries: (row, column) to the weights with their coefficients, and the value."""
    geometry = geometry_of(settings)
    pattern = geometry.pattern()
    order = settings["order"]

    def place(index: int, shape: tuple[int, ...]) -> int:
        return int(np.ravel_multi_index(np.unravel_index(index, shape), shape, order=order))

    outputs = (geometry.out_channels, *geometry.output_shape)
    inputs = (geometry.in_channels, *geometry.input_shape)

    found: dict[tuple[int, int], Counter[int]] = {}
    factors = [1] * pattern.n_entries if pattern.coefficients is None else pattern.coefficients.tolist()
    triplets = zip(pattern.rows.tolist(), pattern.cols.tolist(), pattern.weight_index.tolist(), factors, strict=True)
    for row, column, weight, factor in triplets:
        key = place(row, outputs), place(column, inputs)
        found.setdefault(key, Counter())[weight] += factor
    weights = {key: tuple(sorted(own.items())) for key, own in found.items()}
    matrix = matrix_of(settings).tocoo()
    values = {(int(i), int(j)): v for i, j, v in zip(*matrix.coords, matrix.data.tolist(), strict=True)}
    assert values.keys() == weights.keys()
    return {key: (own, values[key]) for key, own in weights.items()}


def compare_functions(driver: Any, settings: Settings, shift: list[int], tally: Tally) -> None:
    """Compare the page's functions with the package."""
    image = random_image(settings)
    answers = driver.execute_script(_ASK_PAGE, settings, shift, image)
    product = answers.pop("product")
    try:
        geometry = geometry_of(settings)
    except ValueError as error:
        tally.equal("errors", {answer["error"] for answer in answers.values()}, {str(error)}, settings)
        return
    compare_product(product, settings, tally)
    failures = {kind: answer["error"] for kind, answer in answers.items() if "error" in answer and kind != "commutator"}
    tally.equal("errors", failures, {}, settings)
    if failures:
        return
    weights = np.array(settings["weights"]).reshape(geometry.weight_shape)
    planes = np.reshape(image, (geometry.in_channels, *geometry.input_shape))
    filtered = np.asarray(cm.ConvOperator(weights, geometry) @ planes.ravel())
    found_planes = np.ravel(answers["filtered"])
    tally.equal("filtered images", np.abs(found_planes - filtered).max() < 1e-9, True, settings, filtered.size)
    expected = expected_entries(settings)
    found = {
        (row, column): (tuple(map(tuple, own)), value) for row, column, own, value, _ in answers["matrix"]["entries"]
    }
    tally.equal("shapes", answers["matrix"]["shape"], [geometry.n_out, geometry.n_in], settings)
    tally.equal("entries", found, expected, settings, len(expected))
    turned = {
        (column, row): (tuple(map(tuple, own)), value) for row, column, own, value, _ in answers["transpose"]["entries"]
    }
    tally.equal("entries of the transpose", turned, expected, settings, len(expected))
    counts = cm.counts.layer_counts(geometry, None)
    unshared = cm.ConvGeometry(geometry.input_shape, geometry.kernel_shape, **geometry.options(), sharing="unshared")
    for kind, own in (("convolution", counts), ("unshared", cm.counts.layer_counts(unshared, None))):
        package = {name: getattr(own, attribute) for name, attribute in _COUNTS.items()}
        tally.equal(
            "counts", {name: answers["counts"][kind][name] for name in _COUNTS}, package, settings, len(_COUNTS)
        )
    compare_commutator(answers["commutator"], settings, shift, tally)


def random_image(settings: Settings) -> list[list[int]]:
    """Return the channels of an image, flattened by rows: digits that depend on the settings alone."""
    rng = np.random.default_rng(len(settings["weights"]))
    digits = rng.integers(0, 10, (settings["in_channels"], int(np.prod(settings["input_shape"]))))
    found: list[list[int]] = digits.tolist()
    return found


def compare_product(answer: Any, settings: Settings, tally: Tally) -> None:
    """Compare the product of two layers with that of the package's matrices."""
    if "second" not in settings:
        return
    try:
        geometries_of(settings)
    except ValueError as error:
        tally.equal("errors of a second layer", answer, {"error": str(error)}, settings)
        return
    expected, _ = product_of(settings)
    rows = answer.get("rows", [])
    found = {
        (row, entry["column"]): (entry["paths"], entry["value"])
        for row, entries in enumerate(rows)
        for entry in entries
    }
    tally.equal("entries of two layers", found, expected, settings, len(expected))


def compare_commutator(answer: dict[str, Any], settings: Settings, shift: list[int], tally: Tally) -> None:
    """Compare a commutator with A P - Q A, and its broken rows with the verdict of the package."""
    geometry, order = geometry_of(settings), settings["order"]
    verdict = check_shift(geometry, shift)
    broken = np.flatnonzero(verdict.broken_rows.ravel(order=order)).tolist()
    tally.equal("broken rows", answer["brokenRows"], broken, settings, geometry.n_out)
    moved = verdict.output_shift
    A = matrix_of({**settings, "order": "C"}).toarray()
    inputs = (geometry.in_channels, *geometry.input_shape)
    outputs = (geometry.out_channels, *geometry.output_shape)
    P, Q = (cm.shift_matrix(shape, (0, *amounts)).toarray() for shape, amounts in ((inputs, shift), (outputs, moved)))
    rows, columns = (np.arange(np.prod(shape)).reshape(shape).ravel(order=order) for shape in (outputs, inputs))
    expected = (A @ P - Q @ A)[np.ix_(rows, columns)]
    found = np.zeros_like(expected)
    for row, column, own, value, minus in answer["entries"]:
        found[row, column] = value
        tally.equal("commutator entries that cancel", sorted(own) == sorted(minus), False, settings)
    tally.equal("entries of the commutator", np.abs(found - expected).max() < 1e-12, True, settings, expected.size)


def compare_controls(driver: Any, settings: Settings, tally: Tally, *, every: bool = False) -> None:
    """Set the controls of the page, and compare what it shows with the package."""
    driver.execute_script(_SET_CONTROLS, settings, every)
    seen = driver.execute_script(_READ_PAGE)
    try:
        geometry = geometries_of(settings)[0]
    except ValueError as error:
        tally.equal("messages shown", seen["message"], str(error), settings)
        tally.equal("pictures kept", bool(seen["shown"]["matrix"]["rows"]), True, settings)
        return
    tally.equal("messages shown", seen["message"], None, settings)
    shown = seen["shown"]["matrix"]["rows"]
    values = {(row, entry["column"]): entry["value"] for row, entries in enumerate(shown) for entry in entries}
    made = eval(seen["python"], {"cm": cm})
    compare_link(seen["link"], settings, tally)
    if "second" in settings:
        products, product = product_of(settings)
        totals = {key: value for key, (_, value) in products.items()}
        tally.equal("values shown", values, totals, settings, len(products))
        tally.equal("lines of Python", (made != product).nnz == 0, True, settings)
        return
    expected = expected_entries(settings)
    found = {(row, column): parse_weights(name) for row, column, name, _ in seen["entries"]}
    if len(expected) > _MOST_DRAWN:
        tally.equal("matrices drawn as images", (found, seen["images"]), ({}, 1), settings)
    else:
        drawn = {key: own for key, (own, _) in expected.items()}
        tally.equal("weights shown", found, drawn, settings, len(expected))
    tally.equal("values shown", values, {key: value for key, (_, value) in expected.items()}, settings, len(expected))
    if all(isinstance(weight, int) for weight in settings["weights"]):
        texts = {(row, column): text for row, column, _, text in seen["entries"] if text}
        numbers = {key: str(expected[key][1]).replace("-", "\u2212") for key in texts}
        tally.equal("numbers drawn", texts, numbers, settings, len(texts))
    counts = cm.counts.layer_counts(geometry, None)
    for name, attribute in _COUNTS.items():
        value = getattr(counts, attribute)
        written = seen["counts"][name][0]
        tally.equal(
            "counts shown", written if value is None else float(written), "null" if value is None else value, settings
        )
    tally.equal("lines of Python", (made != matrix_of(settings)).nnz == 0, True, settings)


def compare_link(link: Settings, settings: Settings, tally: Tally) -> None:
    """Compare the settings of a link to the shown view, as the page reads them, with those that were set."""
    tally.equal("settings in links", {name: link.get(name) for name in settings}, settings, settings)


def parse_weights(name: str) -> Terms:
    """Return the weights of a written sum, with their coefficients.

    >>> parse_weights("w0\u22122w3")
    ((0, 1), (3, -2))
    """
    terms = re.findall(r"(\u2212?)(\d*)w(\d+)", name)
    return tuple((int(weight), int(times or 1) * (-1 if minus else 1)) for minus, times, weight in terms)


def main(arguments: list[str] | None = None) -> int:
    """Compare random layers; return 1 if there are differences."""
    parser = argparse.ArgumentParser(prog="python -m tests.explore_page", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=500, help="layers to compare (default 500)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random layers (default 0)")
    options = parser.parse_args(arguments)
    rng = np.random.default_rng(options.seed)
    tally = Tally()
    started = time.perf_counter()
    try:
        with browser() as driver, tempfile.TemporaryDirectory() as folder:
            open_page(driver, Path(folder))
            for _ in range(options.count):
                settings = random_settings(rng)
                compare_functions(driver, settings, random_shift(settings, rng), tally)
                compare_controls(driver, settings, tally)
            tally.equal("console errors", console_errors(driver), [], {})
            own = (Path(folder) / "explore.html").as_uri()
            tally.equal("requests to others", set(requests(driver)) - {own}, set(), {})
    except BrowserMissingError as error:
        parser.error(str(error))
    for difference in tally.differing[:10]:
        print(f"DIFFERS {difference[:1500]}")
    for kind, number in sorted(tally.compared.items()):
        print(f"{kind:32}{number:10,}")
    seconds = time.perf_counter() - started
    print(f"\n{options.count} layers in {seconds:.0f} s: {len(tally.differing)} differences")
    return 1 if tally.differing else 0


if __name__ == "__main__":
    sys.exit(main())
