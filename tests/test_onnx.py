"""Every Conv and ConvTranspose case that the package ``onnx`` carries, computed by the layer's matrix.

The cases are those whose graph is one Conv or ConvTranspose node: the generators in ``onnx.backend.test.case.node``,
and the folders pytorch-converted and pytorch-operator of its test data.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

import convmatrix as cm
from tests.cases import for_each

onnx = pytest.importorskip("onnx")

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

OPERATORS = ("Conv", "ConvTranspose")


class Case(NamedTuple):
    """A model of one node, with its inputs by name and its output."""

    name: str
    source: str
    model: Any
    inputs: list[NDArray[Any]]
    output: NDArray[Any]


def node_cases() -> Iterator[Case]:
    """Yield the generated cases of the two operators."""
    from onnx.backend.test.case import node
    from onnx.backend.test.case.node import conv, convtranspose  # noqa: F401  importing them makes their cases

    for case in node._NodeTestCases:
        for inputs, outputs in case.data_sets:
            yield Case(case.name, "node", case.model, list(inputs), outputs[0])


def folder_cases(source: str) -> Iterator[Case]:
    """Yield the stored cases of a folder of the package's test data."""
    import onnx.backend.test

    folder = Path(onnx.backend.test.__file__).parent / "data" / source
    for path in sorted(folder.glob("*/model.onnx")):
        model = onnx.load(path)
        if model.graph.node[0].op_type not in OPERATORS:
            continue  # saves reading the arrays of the others
        for data in sorted(path.parent.glob("test_data_set_*")):
            inputs = [array(data / f"input_{i}.pb") for i in range(len(list(data.glob("input_*.pb"))))]
            yield Case(path.parent.name, source, model, inputs, array(data / "output_0.pb"))


def array(path: Path) -> NDArray[Any]:
    """Return a stored array."""
    tensor = onnx.TensorProto()
    tensor.ParseFromString(path.read_bytes())
    values: NDArray[Any] = onnx.numpy_helper.to_array(tensor)
    return values


def collect() -> list[Case]:
    """Return all cases that are one Conv or ConvTranspose."""
    cases = [*node_cases(), *folder_cases("pytorch-converted"), *folder_cases("pytorch-operator")]
    return [c for c in cases if [n.op_type for n in c.model.graph.node] in [[operator] for operator in OPERATORS]]


CASES = collect()


def layer_options(node: Any, input_shape: Sequence[int], kernel_shape: Sequence[int]) -> dict[str, Any]:
    """Return the options of `conv_matrix` or `conv_transpose_matrix` that the attributes of a node mean.

    ``pads`` lists all low ends, then all high ends. SAME_UPPER and SAME_LOWER are ``"same"`` and ``"same_lower"``. A
    ConvTranspose with ``output_shape`` is cropped to that shape, the odd sample at the low end unless SAME_UPPER.
    """
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    n_axes = len(kernel_shape)
    given = tuple(attributes.get("kernel_shape", kernel_shape))
    if given != tuple(kernel_shape):
        raise ValueError(f"kernel_shape {given} of the node is not the shape {tuple(kernel_shape)} of its weights")
    stride = list(attributes.get("strides", [1] * n_axes))
    dilation = list(attributes.get("dilations", [1] * n_axes))
    options: dict[str, Any] = {"stride": stride, "dilation": dilation, "groups": attributes.get("group", 1)}
    auto_pad = attributes.get("auto_pad", b"NOTSET").decode()
    pads = attributes.get("pads", [0] * (2 * n_axes))
    words = {"VALID": "valid", "SAME_UPPER": "same", "SAME_LOWER": "same_lower"}
    options["padding"] = words.get(auto_pad, list(zip(pads[:n_axes], pads[n_axes:], strict=True)))
    if node.op_type == "ConvTranspose":
        extra = list(attributes.get("output_padding", [0] * n_axes))
        if "output_shape" in attributes:
            full = [
                (n - 1) * s + d * (k - 1) + 1 + e
                for n, s, d, k, e in zip(input_shape, stride, dilation, kernel_shape, extra, strict=True)
            ]
            cropped = [size - wanted for size, wanted in zip(full, attributes["output_shape"], strict=True)]
            extra = [e + max(-crop, 0) for e, crop in zip(extra, cropped, strict=True)]
            halves = [(max(crop, 0) // 2, -(-max(crop, 0) // 2)) for crop in cropped]
            options["padding"] = halves if auto_pad == "SAME_UPPER" else [(high, low) for low, high in halves]
        options["output_padding"] = extra
    return options


def run(case: Case) -> NDArray[Any]:
    """Compute the output of a case by its layer's matrix, one product for the whole batch."""
    node = case.model.graph.node[0]
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in case.model.graph.initializer}
    names = [value.name for value in case.model.graph.input if value.name not in values]
    values |= dict(zip(names, case.inputs, strict=True))
    x, kernel, *bias = (values[name].astype(np.float64) for name in node.input if name)
    options = layer_options(node, x.shape[2:], kernel.shape[2:])
    make = cm.conv_transpose_matrix if node.op_type == "ConvTranspose" else cm.conv_matrix
    A = make(kernel, x.shape[1:], **options)
    y: NDArray[Any] = (A @ x.reshape(len(x), -1).T).T.reshape(case.output.shape)
    return y + bias[0].reshape(-1, *[1] * (x.ndim - 2)) if bias else y


def test_all_cases_of_the_package_are_here() -> None:
    counts = Counter((case.source, case.model.graph.node[0].op_type) for case in CASES)
    assert counts == {
        ("node", "Conv"): 6,
        ("node", "ConvTranspose"): 11,
        ("pytorch-converted", "Conv"): 26,
        ("pytorch-converted", "ConvTranspose"): 2,
        ("pytorch-operator", "Conv"): 1,
        ("pytorch-operator", "ConvTranspose"): 1,
    }
    assert len(CASES) == len({case.name for case in CASES}) == 47


@for_each("case", CASES, ids=lambda case: case.name)
def test_matrix_gives_the_output(case: Case) -> None:
    y = run(case)
    assert y.shape == case.output.shape
    # The expected outputs were computed in float32.
    np.testing.assert_allclose(y, case.output, rtol=1e-5, atol=1e-5 * np.abs(case.output).max())


@for_each(
    ("attributes", "padding"),
    [
        ({}, [(0, 0), (0, 0)]),
        ({"pads": [0, 1, 2, 3]}, [(0, 2), (1, 3)]),
        ({"auto_pad": "VALID"}, "valid"),
        ({"auto_pad": "SAME_UPPER"}, "same"),
        ({"auto_pad": "SAME_LOWER"}, "same_lower"),
    ],
)
def test_padding_of_a_convolution(attributes: dict[str, Any], padding: Any) -> None:
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"], strides=[2, 1], dilations=[1, 3], group=2, **attributes)
    expected = {"stride": [2, 1], "dilation": [1, 3], "groups": 2, "padding": padding}
    assert layer_options(node, (8, 8), (3, 2)) == expected


@for_each(
    ("attributes", "padding", "output_padding"),
    [
        ({}, [(0, 0)], [0]),
        ({"output_padding": [1]}, [(0, 0)], [1]),
        ({"output_shape": [9]}, [(0, 0)], [0]),
        ({"output_shape": [10]}, [(0, 0)], [1]),
        ({"output_shape": [6]}, [(2, 1)], [0]),
        ({"output_shape": [6], "auto_pad": "SAME_LOWER"}, [(2, 1)], [0]),
        ({"output_shape": [6], "auto_pad": "SAME_UPPER"}, [(1, 2)], [0]),
        ({"output_shape": [6], "output_padding": [1]}, [(2, 2)], [1]),
    ],
)
def test_output_shape_of_a_transposed_convolution(
    attributes: dict[str, Any], padding: Any, output_padding: list[int]
) -> None:
    node = onnx.helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2], **attributes)
    options = layer_options(node, (4,), (3,))  # 9 outputs, uncropped
    assert (options["padding"], options["output_padding"]) == (padding, output_padding)
    if "output_shape" in attributes:
        A = cm.conv_transpose_matrix(np.ones(3), 4, **options)
        assert A.shape == (*attributes["output_shape"], 4)


def test_weights_of_another_shape_are_refused() -> None:
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[3])
    with pytest.raises(ValueError, match=r"kernel_shape \(3,\) of the node is not the shape \(2,\) of its weights"):
        layer_options(node, (8,), (2,))
