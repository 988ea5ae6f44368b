"""Conformance: correct layers pass, planted faults are found and shrunk, and scripts reproduce them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convmatrix as cm
from convmatrix.boundary import BOUNDARIES
from convmatrix.cli import main
from convmatrix.conformance import TARGETS, TargetName, declared_offers
from convmatrix.conformance.expected_values import (
    SIGNIFICANT_BITS,
    LayerValues,
    draw_values,
    exact_results,
    magnitudes,
)
from convmatrix.conformance.exported_vectors import export_vectors
from convmatrix.conformance.judging import compare, judge
from convmatrix.conformance.layer_cases import LayerCase, features
from convmatrix.conformance.onnx_target import is_specified
from convmatrix.conformance.random_cases import draw_case, plain_case
from convmatrix.conformance.rounding import allowed_error, is_decisive, winograd_matrices
from convmatrix.conformance.targets import RefusedCaseError, TargetCall, TargetLibrary, call_text, without_numbers
from convmatrix.conformance.trials import drawn_layer, outcomes
from tests import reference
from tests.cases import for_each
from tests.planted_faults import ALL_OPTIONS, FAULTS, PlainLayer, check

ROOT = Path(__file__).parents[1]


def some_cases(count: int, options: Any = ALL_OPTIONS) -> list[LayerCase]:
    offers = declared_offers(options)
    return [draw_case("mine", offers, np.random.default_rng(seed)) for seed in range(count)]


# --- layers and their exact results -----------------------------------------------------------------------------------


def test_exact_results_are_those_of_plain_loops() -> None:
    for case in some_cases(25):
        values = draw_values(case, np.random.default_rng(1))
        results = exact_results(case, values)
        bias = np.zeros(case.out_channels, int) if values.b is None else values.b
        x, w, g = (np.asarray(a) for a in (values.x, values.w, values.g))
        layer = case.geometry
        for sample in range(case.batch):
            y = reference.forward(layer, w, x[sample]) + bias.reshape(-1, *(1,) * case.n_axes)
            assert np.array_equal(results["y"][sample], y)
            assert np.array_equal(results["dx"][sample], reference.input_gradient(layer, w, g[sample]))
        dw = sum(reference.weight_gradient(layer, x[i], g[i]) for i in range(case.batch))
        assert np.array_equal(results["dw"], dw)
        if case.bias:
            assert np.array_equal(results["db"], g.sum(axis=(0, *range(2, g.ndim))))


def test_drawn_layers_use_only_what_is_offered_and_have_every_corner() -> None:
    found = set()
    for case in some_cases(300):
        found |= set(features(case))
        assert declared_offers(ALL_OPTIONS).allow(case)
    wanted = {"1-D", "2-D", "3-D", "transposed", "output padding", "several channels", "groups", "depthwise", "flip"}
    wanted |= {"several samples", "bias", "stride", "stride longer than the kernel", "dilation", "one-sample axis"}
    wanted |= {"dilation with a padding word", "even kernel with a padding word", "asymmetric padding"}
    wanted |= {"padding past a period", "kernel longer than the input"}
    wanted |= {f"{boundary} boundary" for boundary in ALL_OPTIONS["boundary"] if boundary != "zero"}
    assert wanted <= found
    for case in some_cases(100, {"stride": None, "axes": 2}):
        assert set(features(case)) <= {
            "2-D",
            "stride",
            "stride longer than the kernel",
            "one-sample axis",
            "kernel longer than the input",
        }
        assert case.padding == "valid"
        assert (case.batch, case.in_channels, case.out_channels, case.bias) == (1, 1, 1, False)


def test_the_same_seed_draws_the_same_layers() -> None:
    target = TargetName("scipy").load()
    first, second = (drawn_layer(target, seed=3, number=5) for _ in range(2))
    assert first[1] == second[1]
    assert np.array_equal(first[2].x, second[2].x)
    assert any(drawn_layer(target, 3, number)[1] != first[1] for number in range(6, 9))


@for_each("dtype", ["float16", "bfloat16", "float32"])
def test_sums_of_drawn_integers_have_no_gaps(dtype: str) -> None:
    """Every partial sum is at most 2**p, so that no order of summation rounds."""
    cases = [
        plain_case((9, 9), (3, 3), dtype=dtype, padding="full", in_channels=3),
        plain_case((5,), (2,), dtype=dtype),
    ]
    for case in cases:
        values = draw_values(case, np.random.default_rng(0))
        assert min(np.abs(array).min() for array in values.arrays().values()) >= 1
        assert max(array.max() for array in magnitudes(case, values).values()) <= 2 ** SIGNIFICANT_BITS[dtype]
    values = draw_values(cases[1], np.random.default_rng(0))
    assert max(np.abs(array).max() for array in values.arrays().values()) > 4


def test_offers_that_are_none() -> None:
    with pytest.raises(ValueError, match=r"'strides' is unknown.*stride"):
        declared_offers(["strides"])
    with pytest.raises(ValueError, match=r"boundary has no value 'periodic'.*circular"):
        declared_offers({"boundary": ("periodic",)})
    with pytest.raises(ValueError, match=r"'stride' has no values to choose from.*\(1, 2\)"):
        declared_offers({"stride": (1, 2)})
    with pytest.raises(ValueError, match=r"padding has no values"):
        declared_offers({"padding": ()})
    with pytest.raises(ValueError, match=r"output_padding is for transposed"):
        declared_offers(["output_padding"])
    assert declared_offers(["boundary"]).boundaries == BOUNDARIES


# --- rounding ---------------------------------------------------------------------------------------------------------


def winograd_layer(x: Any, w: Any, bias: Any) -> Any:
    """Correlate along one axis with tiles of four outputs, in the type of x."""
    A, G, B = (np.array(m, dtype=float).astype(x.dtype) for m in winograd_matrices(4, w.shape[2]))
    outputs = x.shape[2] - w.shape[2] + 1
    y = np.zeros((len(x), len(w), outputs), x.dtype)
    for start in range(0, outputs, 4):
        tile = np.zeros((*x.shape[:2], len(B)), x.dtype)
        part = x[:, :, start : start + len(B)]
        tile[:, :, : part.shape[2]] = part
        spectrum = np.einsum("oip,bip->bop", w @ G.T, tile @ B.T)
        y[:, :, start : start + 4] = (spectrum @ A.T)[:, :, : outputs - start]
    return y


def fourier_layer(x: Any, w: Any, bias: Any) -> Any:
    axes = tuple(range(2, x.ndim))
    size = [n + k - 1 for n, k in zip(x.shape[2:], w.shape[2:], strict=True)]
    spectrum = np.einsum("bi...,oi...->bo...", np.fft.rfftn(x, size, axes), np.conj(np.fft.rfftn(w, size, axes)))
    inner = (..., *(slice(n - k + 1) for n, k in zip(x.shape[2:], w.shape[2:], strict=True)))
    return np.fft.irfftn(spectrum, size, axes)[inner]


def direct_layer(x: Any, w: Any, bias: Any) -> Any:
    """Return the valid correlation of one channel along one axis."""
    return np.stack([np.correlate(row[0], w[0, 0]) for row in x])[:, None]


@pytest.mark.parametrize("taps", [2, 3, 5])
def test_winograd_is_correlation_in_rational_arithmetic(taps: int) -> None:
    A, G, B = winograd_matrices(2 if taps > 3 else 4, taps)
    w, d = [Fraction(7 - 2 * i) for i in range(taps)], [Fraction(3 * i - 4) for i in range(len(B))]
    products = [
        sum(g * a for g, a in zip(G[p], w, strict=True)) * sum(b * c for b, c in zip(B[p], d, strict=True))
        for p in range(len(B))
    ]
    y = [sum(a * m for a, m in zip(row, products, strict=True)) for row in A]
    assert y == [sum(w[k] * d[i + k] for k in range(taps)) for i in range(len(A))]


@for_each("layer, rounding, axes", [(winograd_layer, "winograd", 1), (fourier_layer, "fft", (1, 2))])
def test_algorithms_that_round(layer: Any, rounding: Any, axes: Any) -> None:
    options = {"channels": None, "batch": None, "axes": axes}
    if rounding == "winograd":
        options["dtype"] = "float32"

    def supported(function: Any) -> Any:
        def call(x: Any, w: Any, bias: Any) -> Any:
            if rounding == "winograd" and not 2 <= w.shape[2] <= 3:
                raise NotImplementedError("kernels of 2 or 3 taps only")
            return function(x, w, bias)

        return call

    strict = cm.testing.conform(supported(layer), options, count=20 if rounding == "winograd" else 3)
    assert not strict
    assert any("all are within the bound for" in finding.difference.text for finding in strict.findings)
    assert cm.testing.conform(supported(layer), options, rounding=rounding, count=30)
    off = supported(lambda x, w, bias: layer(x, w, bias) + (x.shape[2] > 5))
    assert not cm.testing.conform(off, options, rounding=rounding, count=30)  # one integer off does not pass


def test_bounds_are_above_zero_and_below_a_half() -> None:
    for case in some_cases(20):
        values = draw_values(case, np.random.default_rng(0), largest=1)
        direct = allowed_error(case, values, "direct")
        assert all(np.max(direct[name], initial=0) >= 0 for name in direct)
        for rounding in ("winograd", "fft"):
            wider = allowed_error(case, values, rounding)
            assert all(np.all(wider[name] >= direct[name]) for name in direct)
        assert is_decisive(case, values, "fft")
    case = plain_case((9,), (3,), dtype="float32")
    values = draw_values(case, np.random.default_rng(0))
    bounds = [np.max(allowed_error(case, values, rounding)["y"]) for rounding in ("direct", "winograd")]
    assert bounds[1] > 100 * bounds[0]  # the transforms of tiles of four have norms 19, 1 and 10 at least
    case = plain_case((8, 8), (3, 3), dtype="bfloat16")
    assert not is_decisive(case, draw_values(case, np.random.default_rng(0)), "fft")


# --- verdicts ---------------------------------------------------------------------------------------------------------


def one_layer() -> tuple[LayerCase, LayerValues, dict[str, Any]]:
    case = plain_case((2, 3), (2, 2), in_channels=2, bias=True, dtype="float32")
    values = draw_values(case, np.random.default_rng(0))
    results = {name: array.astype("float32") for name, array in exact_results(case, values).items()}
    return case, values, results


def test_right_results_pass() -> None:
    case, values, results = one_layer()
    assert compare(case, values, results, keeps_dtype=True) is None


@for_each("name, at", [("y", (0, 0, 0, 1)), ("dx", (0, 1, 1, 2)), ("dw", (0, 1, 1, 0)), ("db", (0,))])
def test_the_first_wrong_entry_is_named(name: str, at: tuple[int, ...]) -> None:
    case, values, results = one_layer()
    for wrong in (1.0, np.nan, np.inf):
        results[name][at] += wrong
        found = compare(case, values, results)
        assert found is not None
        assert (found.kind, found.result, found.coordinates) == ("value", name, at)
        assert "in 1 of" in found.text


def test_shapes_and_types() -> None:
    case, values, results = one_layer()
    found = compare(case, values, {**results, "dx": results["dx"][0]})
    assert found is not None
    assert (found.kind, found.result) == ("shape", "dx")
    assert "(1, 2, 2, 3)" in found.text
    assert "(2, 2, 3)" in found.text
    wider = {**results, "y": results["y"].astype(float)}
    assert compare(case, values, wider) is None
    found = compare(case, values, wider, keeps_dtype=True)
    assert found is not None
    assert (found.kind, found.expected, found.got) == ("type", "float32", "float64")


def test_a_layer_in_plain_numpy_conforms() -> None:
    layer = PlainLayer()
    report = cm.testing.conform(layer, ALL_OPTIONS, gradient=layer.gradient, count=120, rng=7)
    assert report
    assert (report.tried, report.failed, report.findings) == (120, 0, ())
    assert "PlainLayer conforms: 120 layers" in report.explain()


IN_THE_SUITE = (
    "stride of the last axis ignored",
    "asymmetric pads mirrored",
    "SAME forgets the dilation",
    "output padding at the low end",
    "gradient with respect to the weights as if padded with zeros",
)


@for_each("name", IN_THE_SUITE)
def test_planted_faults_are_found_and_shrunk(name: str) -> None:
    (planted,) = (planted for planted in FAULTS if planted.name.endswith(name))
    report, wrong = check(planted, count=25, seed=2)
    assert wrong == []
    assert not report
    assert report.failed >= len(report.findings) >= 1


def test_there_are_sixty_faults() -> None:
    assert len({planted.name for planted in FAULTS}) == len(FAULTS) >= 60


def test_minimal_layers_are_minimal() -> None:
    def transposed_stride(x: Any, w: Any, bias: Any, stride: Any, dilation: Any) -> Any:
        return PlainLayer()(
            x, w, bias, stride=stride[::-1], dilation=dilation, padding="valid", boundary=("zero",) * len(stride),
            groups=1, output_padding=(0,) * len(stride), flip=False, transposed=False,
        )  # fmt: skip

    report = cm.testing.conform(transposed_stride, ["stride", "dilation", "channels"], count=40)
    assert {finding.case.input_shape for finding in report.findings} <= {(1, 2), (2, 1)}
    for finding in report.findings:
        assert sorted(finding.case.stride) == [1, 2]
        assert finding.case.dilation == (1, 1)
        assert finding.case.in_channels == finding.case.out_channels == 1


def test_exceptions_are_findings_and_refusals_are_not() -> None:
    def picky(x: Any, w: Any, bias: Any, stride: Any) -> Any:
        if max(stride) > 1:
            raise NotImplementedError(f"stride {stride}")
        if x.shape[2] > 5:
            raise ZeroDivisionError(f"no more than 5 samples, but {x.shape[2]}")
        return direct_layer(x, w, bias)

    report = cm.testing.conform(picky, {"stride": None, "axes": 1}, count=60)
    assert report.refused == {("picky", "stride N"): sum(report.refused.values())}
    assert {finding.difference.kind for finding in report.findings} == {"ZeroDivisionError"}
    assert report.findings[0].case.input_shape == (6,)
    values = report.to_values()
    assert values["refused"][0]["layers"] + values["failed"] < values["layers"] == 60
    assert "refused as unsupported" in report.explain()
    assert "findings" not in report.explain().replace("finding 1", "")


def test_a_failure_is_not_shrunk_to_another_one() -> None:
    def twice_wrong(x: Any, w: Any, bias: Any) -> Any:
        if x.shape[2] == 1:
            raise KeyError("one sample")
        return direct_layer(x, w, bias) + (x.shape[2] > 4)

    report = cm.testing.conform(twice_wrong, {"axes": 1}, count=30)
    shapes = {finding.difference.kind: finding.case.input_shape for finding in report.findings}
    assert shapes == {"value": (5,), "KeyError": (1,)}


def reproduces(finding: Any, function: Any) -> bool:
    """Return whether the script of a finding ends with an error."""
    try:
        exec(finding.script, {"function": function})
    except Exception:
        return True
    return False


def changes_its_input(x: Any, w: Any, bias: Any) -> Any:
    y = direct_layer(x, w, bias)
    x[:] = 0
    return y


def changes_its_weights(x: Any, w: Any, bias: Any) -> Any:
    y = direct_layer(x, w, bias)
    w *= 2
    return y


UNUSABLE_RESULTS = {
    "single precision inside": (lambda *a: direct_layer(a[0].astype("f4"), a[1].astype("f4"), None) * 1.0, "value"),
    "accumulated in half precision": (lambda *a: direct_layer(*a).astype("f2").astype("f8"), "value"),
    "returned in single precision": (lambda *a: direct_layer(*a).astype("f4"), "type"),
    "returned as integers": (lambda *a: direct_layer(*a).astype(int), "type"),
    "text": (lambda *a: direct_layer(*a).astype(str), "type"),
    "lists of different lengths": (lambda *a: [[1], [1, 2]], "type"),
    "an input that is changed": (changes_its_input, "argument"),
    "weights that are changed": (changes_its_weights, "argument"),
    "complex": (lambda *a: direct_layer(*a) + 1j, "value"),
}


@for_each("name", UNUSABLE_RESULTS)
def test_results_that_are_right_only_at_first_sight(name: str) -> None:
    faulty, kind = UNUSABLE_RESULTS[name]

    def function(x: Any, w: Any, bias: Any) -> Any:
        result = faulty(x, w, bias)
        return result.astype(np.float64) if name == "single precision inside" else result

    report = cm.testing.conform(function, {"axes": 1}, count=16)
    (finding,) = report.findings
    assert finding.difference.kind == kind
    assert (finding.case.input_shape, finding.case.kernel_shape) == ((1,), (1,))
    assert reproduces(finding, function)
    assert not reproduces(finding, direct_layer)
    json.dumps(report.to_values())


def test_what_ends_the_interpreter_is_a_finding() -> None:
    report = cm.testing.conform(lambda x, w, bias: sys.exit(3), {"axes": 1}, count=2)
    assert report.findings[0].difference.text == "SystemExit: 3"


def test_lists_tensors_and_other_layouts_conform() -> None:
    for convert in (lambda y: y.tolist(), np.asfortranarray, lambda y: y.astype(object), np.ma.masked_array):
        assert cm.testing.conform(lambda *a, f=convert: f(direct_layer(*a)), {"axes": 1}, count=12)
    assert cm.testing.conform(direct_layer, {"axes": 1, "dtype": ("int64", "int32", "float32")}, count=24)


def test_messages_are_counted_without_their_numbers() -> None:
    assert without_numbers("got (1,1,2) and -3.5 of x2") == "got N and N of x2"
    assert without_numbers("ONNX: [np.int64(1), np.int64(2)], [[0 0] [0 0]] in 3-D") == "ONNX: N in N-D"
    assert call_text("f", "x", stride=None, mode="same") == "f(x, mode='same')"


def test_refusals_by_message() -> None:
    case, values, _ = one_layer()
    call = TargetCall(
        "f", declared_offers([]), "", lambda *_: "raise RuntimeError('not with 3')", refusals=("not with",)
    )
    with pytest.raises(RefusedCaseError, match="not with 3"):
        call.run(case, values)
    assert judge(call, case, values).refusal == "not with N"
    other = TargetCall("f", declared_offers([]), "", lambda *_: "raise RuntimeError('broken')", refusals=("not with",))
    difference = judge(other, case, values).difference
    assert difference is not None
    assert (difference.kind, difference.text) == ("RuntimeError", "RuntimeError: broken")


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match=r"count.*0"):
        cm.testing.conform(print, count=0)
    with pytest.raises(ValueError, match=r"jobs=2"):
        cm.testing.conform(print, jobs=2)
    with pytest.raises(ValueError, match=r"time_limit.*-1"):
        cm.testing.conform(print, time_limit=-1)
    with pytest.raises(ValueError, match=r"rounding 'fast'.*winograd"):
        cm.testing.conform(print, rounding="fast")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"gradient.*'torch'"):
        cm.testing.conform("torch", gradient=print)
    with pytest.raises(ValueError, match=r"'pytorch' is unknown.*'torch'"):
        cm.testing.conform("pytorch")
    with pytest.raises(ValueError, match=r"declared for a function.*'scipy'.*stride"):
        cm.testing.conform("scipy", ["stride"])
    with pytest.raises(TypeError, match=r"callable.*int"):
        cm.testing.conform(3)  # type: ignore[arg-type]


def test_a_time_limit_ends_a_campaign() -> None:
    report = cm.testing.conform(lambda x, w, bias: x * 0, {"axes": 1}, count=10**6, time_limit=0.2)
    assert 1 <= report.tried < 10**5
    assert report.seconds < 5


# --- built-in targets -------------------------------------------------------------------------------------------------


@for_each("name, count", [("torch", 30), ("onnxruntime", 30), ("onnx-reference", 20), ("scipy", 40)])
def test_targets_and_their_scripts(name: str, count: int) -> None:
    """The targets are read correctly: nearly everything conforms. The manual lists the differences."""
    for package in {"onnxruntime": ("onnx", "onnxruntime"), "onnx-reference": ("onnx",)}.get(name, (name,)):
        pytest.importorskip(package)
    target = TargetName(name).load()
    safe = [call for call in target.calls if "upfirdn" not in call.name and call.name != "ConvTranspose"]
    for outcome in outcomes(TargetLibrary(name, tuple(safe), target.versions), 11, range(count)):
        assert not outcome.failed, outcome
    assert set(TARGETS) >= {name}


def test_rounding_of_a_target_is_a_choice() -> None:
    target = TargetName("scipy", rounding="fft").load()
    assert {call.rounding for call in target.calls} == {"fft"}


def test_what_onnx_leaves_open_is_not_drawn() -> None:
    options: dict[str, Any] = {"transposed": True, "call": "ConvTranspose", "padding": "same"}
    assert not is_specified(plain_case((3,), (1,), stride=(2,), **options))
    assert is_specified(plain_case((3,), (2,), stride=(2,), **options))
    assert not is_specified(plain_case((1,), (1,), padding=((1, 1),), boundary=("reflect",)))


MODULE = """
import numpy as np

def right(x, w, bias, **options):
    y = np.stack([np.correlate(row[0], w[0, 0]) for row in x])[:, None]
    return y

def wrong(x, w, bias, **options):
    return right(x, w, bias) + (w.shape[2] == 2)

def deadly(x, w, bias, **options):
    import os
    os._exit(3) if x.shape[2] > 12 else None
    return right(x, w, bias)

class Layer:
    options = ("batch",)

    def __call__(self, x, w, bias):
        return right(x, w, bias)

    def gradient(self, x, w, bias, g):
        dx = np.stack([np.convolve(row[0], w[0, 0]) for row in g])[:, None]
        return dx, sum(np.correlate(a[0], b[0]) for a, b in zip(x, g))[None, None]

layer = Layer()
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write a module of layers to the current folder; return its name."""
    name = f"layers_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return name


def test_the_command_on_a_function(
    module: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--options", "batch,axes=1", "--count", "12", "--seed", "4"]
    assert main(["conform", f"{module}:right", *arguments, "--jobs", "2"]) == 0
    assert f"{module}:right conforms: 12 layers" in capsys.readouterr().out
    report = tmp_path / "report.json"
    assert main(["conform", f"{module}:wrong", *arguments, "--json", "--report", str(report)]) == 1
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(report.read_text())
    (finding,) = printed["findings"]
    assert printed["conforms"] is False
    assert finding["layer"]["input_shape"] == [2]
    assert finding["layers"] >= 1
    (tmp_path / "reproduce.py").write_text(finding["script"])
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "reproduce.py"], capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 1
    assert "AssertionError: the results differ at (0, 0, 0)" in done.stderr
    assert "convmatrix" not in finding["script"]


def test_the_end_of_a_process_is_a_finding(module: str) -> None:
    report = cm.testing.conform(f"{module}:deadly", {"axes": 1}, count=7, jobs=1, rng=0)
    assert (report.tried, report.failed) == (7, 1)
    finding = report.findings[0]
    assert (finding.difference.kind, finding.case.input_shape, finding.case.kernel_shape) == ("crash", (13,), (1,))
    assert "status 3" in finding.difference.text


def test_an_object_with_a_gradient(module: str) -> None:
    target = TargetName(f"{module}:layer", (("batch", None), ("axes", 1))).load()
    assert target.calls[0].gradients
    assert not any(outcome.failed for outcome in outcomes(target, 0, range(20)))
    assert TargetName(f"{module}:layer").load().calls[0].offers.switches == {"batch"}


@for_each(
    "arguments, message",
    [
        ([], "give a target: torch, .*--export"),
        (["tensorflow"], "'tensorflow' is unknown"),
        (["math:nothing"], "math has no 'nothing'"),
        (["nowhere_at_all:f"], "no module 'nowhere_at_all'"),
        (["math:pi"], "math:pi is not a function but a float"),
        ([":f"], "':f' does not name a function"),
        (["math:sin", "--options", "strides"], "'strides' is unknown"),
        (["math:sin", "--options", "axes=1+7"], "axes has no value 7"),
        (["scipy", "--report", "r.txt"], r"--report r.txt.*\.json"),
        (["scipy", "--count", "0"], "--count: '0'"),
        (["scipy", "--time-limit", "soon"], "--time-limit: 'soon' is not a time"),
        (["scipy", "--export", "folder"], "--export runs nothing: drop a target"),
        (["--export", "no/such/folder"], "the folder no/such does not exist"),
    ],
)
def test_errors_of_the_command(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    import re

    assert main(["conform", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.search(message, printed.err), printed.err


def test_packages_that_are_missing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["conform", "torch"]) == 2
    assert "needs the package torch, which is not installed: pip install torch" in capsys.readouterr().err


# --- vectors ----------------------------------------------------------------------------------------------------------


def test_vectors_and_onnx_node_tests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx = pytest.importorskip("onnx")
    folder = tmp_path / "vectors"
    assert main(["conform", "--export", str(folder), "--count", "20", "--seed", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"folder": str(folder), "npz": 20, "onnx": 12}
    index = json.loads((folder / "index.json").read_text())
    assert len(index["layers"]) == 20
    for layer in index["layers"]:
        arrays = np.load(folder / layer["npz"])
        geometry = cm.ConvGeometry(
            layer["input_shape"],
            layer["kernel_shape"],
            padding=layer["padding_amounts"],
            **{
                name: layer[name]
                for name in ("in_channels", "out_channels", "stride", "dilation", "boundary", "groups")
            },
            **{name: layer[name] for name in ("flip", "transposed", "output_padding")},
        )
        y = reference.forward(geometry, arrays["w"], np.moveaxis(arrays["x"], 0, -1))
        bias = arrays["b"] if layer["bias"] else np.zeros(layer["out_channels"])
        assert np.array_equal(np.moveaxis(y, -1, 0) + bias.reshape(-1, *(1,) * len(layer["stride"])), arrays["y"])
        if "onnx" in layer:
            test = folder / layer["onnx"]
            model = onnx.load(test / "model.onnx")
            onnx.checker.check_model(model, full_check=True)
            output = onnx.load_tensor(test / "test_data_set_0" / "output_0.pb")
            assert np.array_equal(onnx.numpy_helper.to_array(output), arrays["y"])
            names = [value.name for value in model.graph.input]
            inputs = [onnx.load_tensor(test / "test_data_set_0" / f"input_{i}.pb") for i in range(len(names))]
            assert [tensor.name for tensor in inputs] == names


def test_onnxruntime_passes_the_node_tests(tmp_path: Path) -> None:
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    assert export_vectors(tmp_path / "vectors", 20, 0)["onnx"] == 12
    folders = sorted((tmp_path / "vectors" / "node").iterdir())
    assert len(folders) == 12
    passed, refused = 0, []
    for folder in folders:
        data = folder / "test_data_set_0"
        names = [value.name for value in onnx.load(folder / "model.onnx").graph.input]
        inputs = {n: onnx.numpy_helper.to_array(onnx.load_tensor(data / f"input_{i}.pb")) for i, n in enumerate(names)}
        try:
            session = runtime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
            (y,) = session.run(None, inputs)
        except runtime.capi.onnxruntime_pybind11_state.InvalidArgument as error:
            refused.append(str(error))
            continue
        assert np.array_equal(y, onnx.numpy_helper.to_array(onnx.load_tensor(data / "output_0.pb")))
        passed += 1
    assert passed >= 9
    assert all("Dilation not supported" in text or "exceeds maximum" in text for text in refused)


def test_a_folder_is_complete_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(FileExistsError, match=r"full.*not empty"):
        export_vectors(tmp_path / "full", 1, 0)
    monkeypatch.setattr("convmatrix.conformance.exported_vectors.exact_results", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_vectors(tmp_path / "new", 1, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_vectors_without_onnx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr("convmatrix.conformance.exported_vectors.is_installed", lambda name: False)
    assert main(["conform", "--export", str(tmp_path / "vectors"), "--count", "5"]) == 0
    assert "pip install 'convmatrix[onnx]'" in capsys.readouterr().out
    assert not (tmp_path / "vectors" / "node").exists()
