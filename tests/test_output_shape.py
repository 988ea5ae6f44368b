"""Transposed layers of a given output shape: against full outputs cropped by hand, PyTorch, ONNX Runtime and z3."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import convmatrix as cm
from convmatrix.boundary import transposed_outputs, transposed_padding
from convmatrix.cli import main
from convmatrix.geometry import ConvGeometry as Geometry
from convmatrix.proofs.search import decide_with_sympy
from convmatrix.proofs.smt import decide_with_z3
from convmatrix.proofs.statements import Algebra, Decision, Lemma
from tests.cases import for_each
from tests.refusals import refused

SEEDS = range(40)


def random_layer(seed: int, axes: int = 2) -> dict[str, Any]:
    """Return input shape, kernel shape, stride, dilation and an output shape that padding can give."""
    rng = np.random.default_rng(seed)
    inputs, kernel, stride, dilation = (rng.integers(1, high, axes) for high in (5, 5, 4, 3))
    full = (inputs - 1) * stride + dilation * (kernel - 1) + 1
    most = np.maximum(stride, dilation) - 1
    wanted = [int(rng.integers(1, size + more + 1)) for size, more in zip(full, most, strict=True)]
    names = ("input_shape", "kernel_shape", "stride", "dilation", "full")
    found = (inputs, kernel, stride, dilation, full)
    return {name: values.tolist() for name, values in zip(names, found, strict=True)} | {"output_shape": wanted}


def cropped(full: np.ndarray[Any, Any], wanted: list[int], *, odd_at_low_end: bool) -> np.ndarray[Any, Any]:
    """Return an uncropped output without what is left over on each axis, or with zeros at its high ends."""
    for axis, size in enumerate(wanted, start=full.ndim - len(wanted)):
        left_over = full.shape[axis] - size
        if left_over < 0:
            width = [(0, -left_over if number == axis else 0) for number in range(full.ndim)]
            full = np.pad(full, width)
            continue
        low = left_over - left_over // 2 if odd_at_low_end else left_over // 2
        full = full.take(range(low, low + size), axis)
    return full


@for_each("seed", SEEDS)
@for_each("word", ["same", "same_lower"])
def test_crop_of_the_full_output(seed: int, word: str) -> None:
    layer = random_layer(seed, axes=1 + seed % 3)
    wanted, options = layer["output_shape"], {"stride": layer["stride"], "dilation": layer["dilation"]}
    rng = np.random.default_rng(seed)
    x = rng.integers(-9, 10, (2, *layer["input_shape"]))
    kernel = rng.integers(-9, 10, (2, 3, *layer["kernel_shape"]))
    full = cm.conv_transpose_matrix(kernel, x.shape, **options) @ x.ravel()
    expected = cropped(full.reshape(3, *layer["full"]), wanted, odd_at_low_end=word == "same_lower")
    A = cm.conv_transpose_matrix(kernel, x.shape, padding=word, output_shape=wanted, **options)
    np.testing.assert_array_equal((A @ x.ravel()).reshape(3, *wanted), expected)
    operator = cm.ConvOperator(kernel, x.shape, padding=word, output_shape=wanted, transposed=True, **options)
    np.testing.assert_array_equal((operator @ x.ravel()).reshape(3, *wanted), expected)


def test_the_padding_is_same_unless_it_is_given() -> None:
    layer = Geometry((46, 62), (16, 16), stride=8, transposed=True, output_shape=(368, 489))
    assert layer.output_shape == (368, 489)
    assert layer.padding == ((4, 4), (7, 8))
    assert layer == Geometry((46, 62), (16, 16), **layer.options())
    assert layer == Geometry((46, 62), (16, 16), stride=8, transposed=True, padding="same", output_shape=(368, 489))
    assert Geometry(4, 3, transposed=True, stride=2, output_shape=None).padding == ((0, 0),)
    assert Geometry((4, 4), (3, 3), transposed=True, output_shape=5).output_shape == (5, 5)


@for_each("seed", SEEDS)
def test_against_pytorch_with_output_size(seed: int) -> None:
    """With a padding that is given, the output padding follows, as from ``output_size`` in PyTorch."""
    torch = pytest.importorskip("torch")
    layer, rng = random_layer(seed), np.random.default_rng(seed)
    stride, dilation = layer["stride"], layer["dilation"]
    padding = [int(rng.integers(0, (size + 1) // 2)) for size in layer["full"]]
    least = [size - 2 * amount for size, amount in zip(layer["full"], padding, strict=True)]
    wanted = [size + int(rng.integers(0, step)) for size, step in zip(least, stride, strict=True)]
    kernel = torch.nn.ConvTranspose2d(
        1, 1, layer["kernel_shape"], stride, padding, dilation=dilation, bias=False, dtype=torch.float64
    )
    x = rng.integers(-9, 10, layer["input_shape"]).astype(float)
    with torch.no_grad():
        expected = kernel(torch.from_numpy(x)[None, None], output_size=wanted).numpy()[0, 0]
    weights = kernel.weight.detach().numpy()[0, 0]
    A = cm.conv_transpose_matrix(
        weights, x.shape, stride=stride, dilation=dilation, padding=padding, output_shape=wanted
    )
    np.testing.assert_allclose((A @ x.ravel()).reshape(wanted), expected, rtol=1e-12, atol=1e-12)


@for_each("word", ["SAME_UPPER", "SAME_LOWER", "NOTSET"])
def test_against_onnx_runtime(word: str) -> None:
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    helper = onnx.helper
    compared = 0
    for seed in range(25):
        layer = random_layer(seed)
        if word != "NOTSET":  # ONNX Runtime refuses dilations with auto_pad
            layer["full"] = [
                size - (d - 1) * (taps - 1)
                for size, d, taps in zip(layer["full"], layer["dilation"], layer["kernel_shape"], strict=True)
            ]
            layer["dilation"] = [1, 1]
        wanted = np.minimum(layer["output_shape"], layer["full"]).tolist()
        if np.any(np.add(wanted, 2 * np.array(layer["kernel_shape"])) <= layer["full"]):
            continue  # crops beyond the kernel, on which implementations differ
        rng = np.random.default_rng(seed)
        x = rng.integers(-9, 10, (1, 2, *layer["input_shape"])).astype(np.float32)
        kernel = rng.integers(-9, 10, (2, 3, *layer["kernel_shape"])).astype(np.float32)
        attributes = {"strides": layer["stride"], "output_shape": wanted, "auto_pad": word}
        if word == "NOTSET":
            attributes["dilations"] = layer["dilation"]
        node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], **attributes)
        shape = helper.make_tensor_value_info("x", 1, x.shape)
        graph = helper.make_graph(
            [node],
            "g",
            [shape],
            [helper.make_tensor_value_info("y", 1, None)],
            [onnx.numpy_helper.from_array(kernel, "w")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        (expected,) = session.run(None, {"x": x})
        A = cm.conv_transpose_matrix(
            kernel,
            x.shape[1:],
            stride=layer["stride"],
            dilation=layer["dilation"],
            padding="same" if word == "SAME_UPPER" else "same_lower",
            output_shape=wanted,
        )
        np.testing.assert_array_equal((A @ x.ravel()).reshape(expected.shape), expected)
        network = cm.Network.from_onnx(model)
        np.testing.assert_array_equal(network(x.astype(np.float64)), expected)
        compared += 1
    assert compared >= 10


def wanted_size_lemma(a: Algebra) -> Any:
    size, span, stride, extra, wanted = a.integers("size span stride extra wanted")
    a.assume(size >= 1, span >= 1, stride >= 1, extra >= 0, wanted >= 1)
    low, high, more = transposed_padding("same", size, span, stride, extra, a.select, wanted)
    outputs = transposed_outputs(size, span, stride, low, high, more)
    return a.both(a.equal(outputs, wanted), low >= 0, low <= high, high <= low + 1, more >= extra)


@for_each("decide", [decide_with_sympy, decide_with_z3])
def test_the_size_is_the_wanted_one_for_all_sizes(decide: Callable[[Lemma], Decision]) -> None:
    if decide is decide_with_z3:
        pytest.importorskip("z3")
    example = {"size": 62, "span": 16, "stride": 8, "extra": 0, "wanted": 489}
    assert decide(Lemma("wanted", "the size is the wanted one", "n", wanted_size_lemma, example)).proved


def test_impossible_shapes() -> None:
    layer: dict[str, Any] = {"stride": 8, "transposed": True}
    with refused(ValueError, "output_shape[1]=384 is impossible 376 outputs on axis 1 the layer reaches 383"):
        Geometry((46, 46), (16, 16), output_shape=(383, 384), **layer)
    assert Geometry((46, 46), (16, 16), output_shape=383, **layer).output_padding == (7, 7)
    with refused(ValueError, "output_shape[0]=100 is impossible 371 outputs padding=(2, 3) add 271"):
        Geometry(46, 16, output_shape=100, padding=[(2, 3)], **layer)
    with refused(ValueError, "output_padding[0]=1 gives 377 outputs output_shape[0]=378"):
        Geometry(46, 16, output_shape=378, padding="valid", output_padding=1, **layer)
    assert Geometry(46, 16, output_shape=377, padding="valid", output_padding=1, **layer).output_padding == (1,)
    with refused(ValueError, "output_padding[0]=9 must be smaller than the stride"):
        Geometry(46, 16, output_shape=376, output_padding=9, **layer)
    with refused(ValueError, "output_shape[0] must be at least 1, but is 0"):
        Geometry(46, 16, output_shape=[0], **layer)
    with refused(TypeError, "output_shape must be an integer, but is 3.0"):
        Geometry(46, 16, output_shape=3.0, **layer)
    with refused(ValueError, "output_shape has 3 entries 2 spatial axes"):
        Geometry((4, 4), (3, 3), output_shape=(1, 4, 4), **layer)
    with refused(ValueError, "output_shape=(4,) is for transposed layers only"):
        Geometry(4, 3, output_shape=4)
    with refused(TypeError, "output_shape given beside a ConvGeometry"):
        cm.conv_transpose_matrix([1, 2], Geometry(4, 2, transposed=True), output_shape=4)
    with refused(TypeError, "called 'output_shape' here"):
        cm.conv_transpose_matrix([1, 2], 4, output_size=4)


def test_output_shape_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    layer = [
        "matrix",
        "--kernel-shape",
        "16x16",
        "--input-shape",
        "46x62",
        "--stride",
        "8",
        "--transposed",
        "--dry-run",
    ]
    assert main([*layer, "--output-shape", "368x489"]) == 0
    assert str(368 * 489) in capsys.readouterr().out
    assert main([*layer, "--output-shape", "600"]) == 2
    assert "--output-shape[0]=600 is impossible" in capsys.readouterr().err
