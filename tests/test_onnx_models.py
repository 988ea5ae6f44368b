"""Networks read from ONNX: the cases that the package onnx carries, and the contract of `Network.from_onnx`."""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from collections import Counter
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray

import convmatrix as cm
from convmatrix.network import Network, UnknownOperatorError
from tests.cases import for_each
from tests.refusals import refused

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from convmatrix.frameworks.onnx_models import OPERATORS  # noqa: E402

LIGHT: Final = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
Array = NDArray[Any]


def value(name: str, shape: Any = None, element: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, element, shape)


def array(name: str, values: Any, dtype: Any = np.float32) -> Any:
    return numpy_helper.from_array(np.asarray(values, dtype=dtype), name)


def model(nodes: list[Any], inputs: list[Any], outputs: list[str], arrays: Any = (), opset: int = 17) -> Any:
    graph = helper.make_graph(nodes, "graph", inputs, [value(name) for name in outputs], list(arrays))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def node(operator: str, inputs: list[str], outputs: list[str], **attributes: Any) -> Any:
    return helper.make_node(operator, inputs, outputs, **attributes)


# --- what the package onnx carries ------------------------------------------------------------------------------------


def test_all_light_networks_are_there() -> None:
    assert len(list(LIGHT.glob("*.onnx"))) == 9


@for_each("path", sorted(LIGHT.glob("*.onnx")), ids=lambda path: path.stem)
def test_light_networks(path: Path) -> None:
    """Their weights are constant, so that the classes of some are equal up to rounding; those need float64."""
    network = Network.from_onnx(path)
    assert not [node.name for node in network if node.kind == "opaque"]
    tensor = TensorProto.FromString(path.with_name(f"{path.stem}_output_0.pb").read_bytes())
    expected = numpy_helper.to_array(tensor)
    n = int(np.prod(network.input_shape))
    x = (np.arange(n).reshape(1, *network.input_shape) / n).astype(np.float32)
    y = network(x.astype(np.float64) if "squeezenet" in path.stem else x)
    np.testing.assert_allclose(y, expected, rtol=1e-4)


@for_each("name", ["squeezenet", "shufflenet"])
def test_light_networks_with_random_weights(name: str) -> None:
    runtime = pytest.importorskip("onnxruntime")
    proto = onnx.load(LIGHT / f"light_{name}.onnx")
    rng = np.random.default_rng(0)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    kept = []
    for made in proto.graph.node:
        sizes = stored.get(made.input[0]) if made.op_type == "ConstantOfShape" else None
        if sizes is None:
            kept.append(made)
            continue
        weights = rng.standard_normal(sizes) / np.sqrt(max(np.prod(sizes[1:]), 1))
        weights = weights if len(sizes) > 1 else rng.random(sizes) + 0.5
        proto.graph.initializer.append(array(made.output[0], weights))
    del proto.graph.node[:]
    proto.graph.node.extend(kept)
    network = Network.from_onnx(proto)
    x = rng.standard_normal((1, *network.input_shape)).astype(np.float32)
    session = runtime.InferenceSession(proto.SerializeToString())
    inputs = [entry.name for entry in session.get_inputs() if entry.name not in stored]
    (expected,) = session.run(None, {inputs[0]: x})
    np.testing.assert_allclose(network(x), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def node_cases() -> list[tuple[Any, list[Any], list[Any]]]:
    """Return the cases of one node, with inputs and outputs, that the package makes.

    Importing its modules makes them. Three of them pool 32 x 32 x 32 samples by loops: here these have 8 x 8 x 8.
    """
    from onnx.backend.test.case import base
    from onnx.backend.test.case import node as cases

    randn, smaller = np.random.randn, {(1, 3, 32, 32, 32): (1, 3, 8, 8, 8)}
    with warnings.catch_warnings(), np.errstate(all="ignore"), pytest.MonkeyPatch.context() as changed:
        warnings.simplefilter("ignore")
        changed.setattr(base, "process_snippet", lambda *_: ("", ""))  # text for onnx's own manual
        changed.setattr(np.random, "randn", lambda *sizes: randn(*smaller.get(sizes, sizes)))
        for info in pkgutil.iter_modules(cases.__path__):
            importlib.import_module(f"{cases.__name__}.{info.name}")
    found = []
    for case in cases._NodeTestCases:
        nodes = case.model.graph.node
        if len(nodes) == 1 and nodes[0].op_type in OPERATORS and nodes[0].domain in ("", "ai.onnx"):
            found += [(case, list(inputs), list(outputs)) for inputs, outputs in case.data_sets]
    return found


def outcome(case: Any, inputs: list[Any], outputs: list[Any]) -> str:
    """Return what came of a case: equal, opaque with its reason, skipped, or wrong."""
    if not all(entry.type.HasField("tensor_type") for entry in case.model.graph.input):
        return "skipped"
    arrays = [numpy_helper.to_array(v) if isinstance(v, TensorProto) else np.asarray(v) for v in inputs]
    free = next((k for k, a in enumerate(arrays) if a.dtype in (np.float32, np.float64) and a.size), None)
    if free is None:
        return "skipped"
    names, x = [entry.name for entry in case.model.graph.input], arrays[free]
    constants = {name: a for k, (name, a) in enumerate(zip(names, arrays, strict=True)) if k != free}
    expected = numpy_helper.to_array(outputs[0]) if isinstance(outputs[0], TensorProto) else np.asarray(outputs[0])
    reason = ""
    for batch_axis in (0, None):  # the first axis is a batch for some cases only
        network = Network.from_onnx(case.model, constants=constants, batch_axis=batch_axis)
        whole = batch_axis is None or x.ndim < 2
        try:
            with np.errstate(all="ignore"):
                y = network(x.reshape(1, *network.input_shape) if whole else x)
        except UnknownOperatorError:
            reason = next(n.operation.reason for n in network if n.kind == "opaque")  # type: ignore[attr-defined]
            continue
        if not whole and y.shape != expected.shape:
            continue  # the batch is not in front of the expected output
        if y.size != expected.size:
            return f"wrong: {y.shape} instead of {expected.shape}"
        half = expected.dtype not in (np.float32, np.float64)
        near = {"rtol": 1e-2 if half else 1e-4, "atol": 2e-4 if "starts_on_pad" in case.name else 1e-5}
        equal = np.allclose(y.reshape(expected.shape), expected.astype(y.dtype), equal_nan=True, **near)
        return "equal" if equal else f"wrong {np.abs(y.reshape(expected.shape) - expected).max()}"
    return f"opaque: {reason}"


def test_cases_of_one_node() -> None:
    """Every case is equal, or opaque for a reason that is known; none is wrong."""
    if tuple(map(int, onnx.__version__.split(".")[:2])) < (1, 20):
        pytest.skip("older releases of onnx carry some outputs that are wrong")
    outcomes = {f"{case.name} {number}": outcome(case, i, o) for number, (case, i, o) in enumerate(node_cases())}
    assert {name: found for name, found in outcomes.items() if found.startswith("wrong")} == {}
    counts = Counter(found.split(":")[0] for found in outcomes.values())
    assert counts["equal"] >= 420, counts
    unexplained = {
        name: found
        for name, found in outcomes.items()
        if found.startswith("opaque") and not any(word in found for word in OPAQUE)
    }
    assert unexplained == {}
    unused = [word for word in OPAQUE if not any(word in found for found in outcomes.values())]
    assert unused == []


OPAQUE: Final = (
    "another type than float16",  # Cast and CastLike to integers and small floating-point types
    "training_mode",  # BatchNormalization and Dropout
    "where implementations differ",
    "it multiplies vectors",  # MatMul of a constant vector and a stack of matrices
    "entries instead of one",  # Pow with an array of exponents or bases
    "is empty",
    "an ellipsis",  # of Einsum
    "does not fit its operands",  # Einsum of a scalar, which is read as one entry
)
"""Parts of the reasons for which cases are opaque."""


# --- inputs -----------------------------------------------------------------------------------------------------------


def relu(shape: Any) -> Any:
    return model([node("Relu", ["x"], ["y"])], [value("x", shape)], ["y"])


@for_each(
    ("declared", "given", "expected"),
    [
        (["n", 3, 8, 8], None, (3, 8, 8)),
        ([1, 3, 8, 8], None, (3, 8, 8)),
        ([4, 3, 8, 8], None, (3, 8, 8)),
        ([0, 3, 8, 8], None, (3, 8, 8)),
        (["n", 3, "h", None], (3, 5, 6), (3, 5, 6)),
        ([1, 3, 8, 8], (3, 5, 6), (3, 5, 6)),
        ([5], None, (5,)),
        (None, (2, 3), (2, 3)),
    ],
)
def test_shapes_of_the_input(declared: Any, given: Any, expected: tuple[int, ...]) -> None:
    network = Network.from_onnx(relu(declared), given)
    assert network.input_shape == expected
    assert network(np.full((2, *expected), -1.0)).max() == 0


def test_open_sizes_are_named() -> None:
    with refused(
        ValueError, r"leaves sizes of the input 'x' open: one sample has the shape (3, h, ?); give input_shape="
    ):
        Network.from_onnx(relu(["n", 3, "h", None]))
    with refused(ValueError, "input_shape=(3,) has 1 axis, but one sample of the input 'x' has 3: (3, 8, 8)"):
        Network.from_onnx(relu([1, 3, 8, 8]), 3)
    with refused(ValueError, "does not say the shape of the input 'x'; give input_shape="):
        Network.from_onnx(relu(None))


def test_without_a_batch() -> None:
    made = model([node("ReduceSum", ["x"], ["y"], keepdims=0)], [value("x", [2, 3])], ["y"])
    assert [n.kind for n in Network.from_onnx(made)] == ["input", "opaque"]
    network = Network.from_onnx(made, batch_axis=None)
    assert network.input_shape == (2, 3)
    assert network(np.ones((1, 2, 3))).item() == 6
    with refused(ValueError, "batch_axis=1 must be 0 or None"):
        Network.from_onnx(made, batch_axis=1)


def test_constants_for_further_inputs() -> None:
    inputs = [value("x", ["n", 2]), value("w", [2, 2])]
    made = model([node("MatMul", ["x", "w"], ["y"])], inputs, ["y"])
    with refused(ValueError, "the model has 2 inputs: 'x', 'w', but a network has one"):
        Network.from_onnx(made)
    network = Network.from_onnx(made, constants={"w": [[1, 2], [3, 4]]})
    np.testing.assert_array_equal(network(np.array([[1.0, 10.0]])), [[31, 42]])
    with refused(ValueError, "constants['w'] has the shape (3,), but the input is declared as [2, 2]"):
        Network.from_onnx(made, constants={"w": [1, 2, 3]})
    with refused(ValueError, "constants has 'v', but the inputs of the model are x, w"):
        Network.from_onnx(made, constants={"v": 1})


def test_sources(tmp_path: Path) -> None:
    made = relu([1, 4])
    path = tmp_path / "model.onnx"
    onnx.save(made, path)
    for source in (made, path, str(path), path.read_bytes()):
        assert Network.from_onnx(source).input_shape == (4,)
    with refused(TypeError, "a network is read from a path or an onnx.ModelProto, but was given a list"):
        Network.from_onnx([made])
    with pytest.raises(FileNotFoundError):
        Network.from_onnx(tmp_path / "absent.onnx")
    with refused(ValueError, "is not a file; give the path of the .onnx file"):
        Network.from_onnx(tmp_path)


def test_external_data(tmp_path: Path) -> None:
    weights = np.arange(6.0, dtype=np.float32).reshape(3, 2)
    made = model([node("Gemm", ["x", "w"], ["y"])], [value("x", [1, 3])], ["y"], [array("w", weights)])
    options = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    onnx.save(made, tmp_path / "model.onnx", **options)
    assert (tmp_path / "weights.bin").stat().st_size == 24
    network = Network.from_onnx(tmp_path / "model.onnx")
    np.testing.assert_array_equal(network(np.eye(3)), weights)
    with refused(ValueError, "is in the external file 'weights.bin'; give the path of the model"):
        Network.from_onnx((tmp_path / "model.onnx").read_bytes())


# --- nodes ------------------------------------------------------------------------------------------------------------


def test_names_and_outputs() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="first"),
        helper.make_node("Tanh", ["a"], ["b"]),
        helper.make_node("Sigmoid", ["a"], ["c"], name="first"),
        helper.make_node("Identity", ["c"], ["d"], name="same"),
    ]
    network = Network.from_onnx(model(nodes, [value("x", [1, 4])], ["d", "b", "a"]))
    assert [n.name for n in network] == ["x", "first", "b", "first.2"]
    assert network.outputs == ("first.2", "b", "first")


def test_shapes_are_computed_once() -> None:
    """A flattening written with the input's own shape, as exporters do it."""
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "zero"], ["n"]),
        node("Unsqueeze", ["n", "axes"], ["n1"]),
        node("Concat", ["n1", "minus"], ["shape"], axis=0),
        node("Reshape", ["x", "shape"], ["y"]),
    ]
    arrays = [array("zero", 0, np.int64), array("axes", [0], np.int64), array("minus", [-1], np.int64)]
    network = Network.from_onnx(model(nodes, [value("x", ["n", 2, 3])], ["y"], arrays))
    assert [n.kind for n in network] == ["input", "rearrangement"]
    assert network.output_shape == (6,)


def test_a_constant_condition_chooses_a_branch() -> None:
    branches = {
        word: helper.make_graph([node(operator, ["x"], [word])], word, [], [value(word)])
        for word, operator in {"yes": "Relu", "no": "Neg"}.items()
    }
    made = node("If", ["c"], ["y"], then_branch=branches["yes"], else_branch=branches["no"])
    inputs = [value("x", [1, 3]), value("c", [], TensorProto.BOOL)]
    for condition, expected in ((True, 0.0), (False, 2.0)):
        network = Network.from_onnx(model([made], inputs, ["y"]), constants={"c": condition})
        assert network(np.full((1, 3), -2.0)).max() == expected


def test_functions_of_the_model_are_inlined() -> None:
    body = [node("Relu", ["a"], ["b"]), node("Add", ["b", "b"], ["c"])]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    function = helper.make_function("own", "Twice", ["a"], ["c"], body, opsets[:1])
    graph = helper.make_graph(
        [helper.make_node("Twice", ["x"], ["y"], domain="own")], "g", [value("x", [1, 2])], [value("y")]
    )
    made = helper.make_model(graph, opset_imports=opsets, functions=[function], ir_version=8)
    np.testing.assert_array_equal(Network.from_onnx(made)(np.array([[-1.0, 3.0]])), [[0, 6]])


def test_what_is_not_known_is_opaque() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Fancy", ["a"], ["b"], name="fancy", domain="com.example"),
        helper.make_node("Relu", ["b"], ["y"]),
    ]
    made = model(nodes, [value("x", [1, 4])], ["y", "a"])
    made.opset_import.append(helper.make_opsetid("com.example", 1))
    network = Network.from_onnx(made)
    x = np.ones((1, 4))
    with refused(UnknownOperatorError, "node 'fancy': the operator com.example.Fancy is not known"):
        network(x)
    assert network.values(x, ["a"])["a"].shape == (1, 4)


@for_each(
    ("made", "reason"),
    [
        (node("Softmax", ["x"], ["y"], axis=0), "it combines samples of the batch (axis 0)"),
        (node("Resize", ["x", "", "s"], ["y"], mode="lanczos"), "mode=lanczos"),
        (node("Col2Im", ["x", "k", "k"], ["y"]), "its input has the shape (1, 2, 4, 4)"),
        (node("CumSum", ["x", "o"], ["y"]), "it combines samples of the batch (axis 0)"),
        (node("Cast", ["x"], ["y"], to=TensorProto.INT64), "it converts to another type"),
        (node("Relu", ["x"], ["y"], slope=1.0), "the attribute slope is not known"),
        (node("Conv", ["x", "x"], ["y"]), "its input 2 depends on the data"),
        (node("LSTM", ["x", "x", "x"], ["y"]), ""),
        (node("TopK", ["x", "k"], ["y", "z"]), ""),
        (node("Einsum", ["x"], ["y"], equation="bchh->bch"), "its equation takes a diagonal"),
        (node("Einsum", ["x"], ["y"], equation="b...->b"), "its equation has more than two operands"),
        (node("Einsum", ["x", "x"], ["y"], equation="bchw,bdhw->cdhw"), "it combines samples of the batch"),
        (node("Einsum", ["x", "x"], ["y"], equation="bchw,dchw->bd"), "it combines samples of the batch"),
        (node("Pow", ["p", "x"], ["y"]), "its base has more axes than its exponent"),
    ],
)
def test_reasons(made: Any, reason: str) -> None:
    arrays = [array("s", [1, 1, 2, 2]), array("k", [1], np.int64), array("o", 0, np.int64)]
    arrays += [array("p", np.full((1,) * 5, 2.0))]
    network = Network.from_onnx(model([made], [value("x", [1, 2, 4, 4])], ["y"], arrays, opset=18))
    opaque: Any = network["y"].operation
    assert (opaque.kind, opaque.operator) == ("opaque", made.op_type)
    assert opaque.reason.startswith(reason)
    assert bool(opaque.reason) == bool(reason)


def test_integers_are_not_computed_as_fractions() -> None:
    """Division of integers rounds; after a cast, the input of a model may be an image in bytes."""
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
        node("Cast", ["t"], ["f"], to=1),
        node("Div", ["f", "c"], ["y"]),
    ]
    inputs = [value("x", [1, 2, 2], TensorProto.UINT8)]
    network = Network.from_onnx(model(nodes, inputs, ["y"], [array("c", 2.0)]))
    np.testing.assert_array_equal(network(np.array([[[1, 2], [3, 4]]])), [[[0.5, 1.5], [1, 2]]])
    halves = model([node("Div", ["x", "c"], ["y"])], inputs, ["y"], [array("c", 2, np.uint8)])
    assert Network.from_onnx(halves)["y"].operation.reason == "its inputs are integers"  # type: ignore[attr-defined]


def test_batch_normalisation_in_both_precisions() -> None:
    rng = np.random.default_rng(0)
    parameters = {name: rng.random(3).astype(np.float32) + 0.1 for name in "gbmv"}
    made = node("BatchNormalization", ["x", *parameters], ["y"], epsilon=1e-3)
    arrays = [array(name, values) for name, values in parameters.items()]
    network = Network.from_onnx(model([made], [value("x", [1, 3, 4])], ["y"], arrays))
    x = rng.standard_normal((2, 3, 4))
    g, b, m, v = (values.astype(np.float64)[:, None] for values in parameters.values())
    expected = g * (x - m) / np.sqrt(v + 1e-3) + b
    np.testing.assert_allclose(network(x), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(network(x.astype(np.float32)), expected, rtol=1e-5, atol=1e-5)


def test_shared_parameters_of_batch_normalisations_count_once() -> None:
    """As those of a convolution do, and as in a PyTorch module that is called twice."""
    nodes = [
        node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"]),
        node("BatchNormalization", ["y", "s", "b", "m", "v"], ["z"]),
        node("BatchNormalization", ["z", "s", "b", "m", "other"], ["w"]),
    ]
    arrays = [array(name, [1.0, 2.0, 3.0]) for name in ("s", "b", "m", "v", "other")]
    network = Network.from_onnx(model(nodes, [value("x", ["n", 3, 4])], ["w"], arrays))
    assert cm.counts.network_counts(network.until("z")).total.parameters == 6
    assert cm.counts.network_counts(network).total.parameters == 12


def test_a_bound_of_one_entry_may_have_any_shape() -> None:
    """As exporters write the epsilon of a norm."""
    nodes = [node("Max", ["x", "low"], ["a"]), node("Min", ["a", "high"], ["y"])]
    arrays = [array("low", [[0.25]]), array("high", [0.75])]
    network = Network.from_onnx(model(nodes, [value("x", ["n", 3])], ["y"], arrays))
    np.testing.assert_array_equal(network(np.array([[0.0, 0.5, 1.0]])), [[0.25, 0.5, 0.75]])


@for_each(
    ("made", "shape", "reason"),
    [
        (node("Trilu", ["x"], ["y"], upper=0), ["n", 3], "its rows or columns are samples of the batch"),
        (node("Trilu", ["x"], ["y"], upper=1), ["n", 3], "its rows or columns are samples of the batch"),
        (node("Col2Im", ["x", "size", "none"], ["y"]), ["n", 6, 6], "integer division or modulo by zero"),
    ],
)
def test_reasons_of_other_shapes(made: Any, shape: list[Any], reason: str) -> None:
    arrays = [array("size", [5], np.int64), array("none", [0], np.int64)]
    opaque: Any = Network.from_onnx(model([made], [value("x", shape)], ["y"], arrays, opset=18))["y"].operation
    assert (opaque.kind, opaque.reason) == ("opaque", reason)


@for_each("base", [2.0, 0.5])
def test_powers_of_a_constant(base: float) -> None:
    nodes = [node("Pow", ["b", "x"], ["y"])]
    network = Network.from_onnx(model(nodes, [value("x", ["n", 3])], ["y"], [array("b", base)]))
    x = np.array([[-1.5, 0.0, 3.0]])
    np.testing.assert_allclose(network(x), base**x, rtol=1e-14)


def test_shared_weights_count_once() -> None:
    """Weights in a file are not copied, for each node that reads them, where nothing can write to them."""
    nodes = [
        node("Conv", ["x", "k", "c"], ["y"], pads=[1, 1]),
        node("Conv", ["y", "k", "c"], ["z"], pads=[1, 1]),
        node("MatMul", ["z", "w"], ["v"]),
        node("MatMul", ["v", "w"], ["u"]),
    ]
    arrays = [array("k", np.ones((2, 2, 3))), array("c", np.ones(2)), array("w", np.ones((5, 5)))]
    network = Network.from_onnx(model(nodes, [value("x", ["n", 2, 5])], ["u"], arrays))
    assert cm.counts.network_counts(network).total.parameters == 12 + 2 + 25


@for_each("kind", [TensorProto.FLOAT16, TensorProto.BFLOAT16])
def test_weights_in_half_precision(kind: int) -> None:
    """They are exact in float32, in which sparse matrices compute; each stays one array however often it is read."""
    rng = np.random.default_rng(0)
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    shapes = {"k": (2, 2, 3), "c": (2,), "t": (2, 3, 2), "s": (3,), "w": (10, 10), "g": (4, 30), "f": (4,), "p": (3, 1)}
    values = {name: (rng.integers(1, 9, shape) / 4).astype(dtype) for name, shape in shapes.items()}
    nodes = [
        node("Conv", ["x", "k", "c"], ["a"], pads=[1, 1]),
        node("Conv", ["a", "k", "c"], ["b"], pads=[1, 1]),
        node("ConvTranspose", ["b", "t", "s"], ["d"], strides=[2], pads=[0, 0]),
        node("BatchNormalization", ["d", "s", "s", "s", "s"], ["e"]),
        node("PRelu", ["e", "p"], ["h"]),
        node("MatMul", ["h", "w"], ["i"]),
        node("Div", ["i", "p"], ["j"]),
        node("Flatten", ["j"], ["l"]),
        node("Gemm", ["l", "g", "f"], ["y"], transB=1),
    ]
    made = {}
    for element, name in ((kind, "half"), (TensorProto.FLOAT, "single")):
        numbers = values if name == "half" else {key: v.astype(np.float32) for key, v in values.items()}
        arrays = [numpy_helper.from_array(v, key) for key, v in numbers.items()]
        made[name] = Network.from_onnx(model(nodes, [value("x", ["n", 2, 5], element)], ["y"], arrays))
    x = rng.standard_normal((3, 2, 5))
    assert not [n for n in made["half"] if n.kind == "opaque"]
    np.testing.assert_array_equal(made["half"](x), made["single"](x))
    counts = [cm.counts.network_counts(network).total.parameters for network in made.values()]
    assert counts[0] == counts[1]
    A, b = made["half"].affine("a")
    assert A.dtype == b.dtype == np.float32


@for_each("opset", [10, 13, 18, 19, 21])
def test_quantised_weights_are_constants(opset: int) -> None:
    """Weights stored as int8 are numbers; quantised activations are opaque."""
    rng = np.random.default_rng(0)
    stored, x = rng.integers(-9, 9, (2, 1, 3)), rng.standard_normal((2, 1, 5))
    arrays = [array("q", stored, np.int8), array("s", 0.5), array("o", 2, np.int8), array("u", 3, np.uint8)]
    nodes = [
        node("DequantizeLinear", ["q", "s", "o"], ["w"]),
        node("Conv", ["x", "w"], ["y"]),
        node("QuantizeLinear", ["y", "s", "u"], ["z"]),
    ]
    network = Network.from_onnx(model(nodes, [value("x", ["n", 1, 5])], ["y", "z"], arrays, opset))
    assert [n.kind for n in network] == ["input", "convolution", "opaque"]
    expected = cm.conv_matrix((stored - 2) / 2, (1, 5)) @ x[0].ravel()
    np.testing.assert_allclose(network(x)[0].ravel(), expected, rtol=1e-12)


@for_each("transposed_a", [0, 1])
@for_each("transposed_b", [0, 1])
@for_each("which", ["a", "b"])
def test_general_matrix_products(transposed_a: int, transposed_b: int, which: str) -> None:
    rng = np.random.default_rng(0)
    a, b, c = rng.standard_normal((3, 4)), rng.standard_normal((4, 5)), rng.standard_normal((3, 5))
    expected = 0.5 * a @ b + 2 * c
    a, b = a.T if transposed_a else a, b.T if transposed_b else b
    made = node("Gemm", ["a", "b", "c"], ["y"], alpha=0.5, beta=2.0, transA=transposed_a, transB=transposed_b)
    data = {"a": a, "b": b, "c": c}
    x = data.pop(which)
    arrays = [array(name, values, np.float64) for name, values in data.items()]
    made = model([made], [value(which, x.shape, TensorProto.DOUBLE)], ["y"], arrays)
    network = Network.from_onnx(made, batch_axis=None)
    np.testing.assert_allclose(network(x[None])[0], expected, rtol=1e-12)


@for_each(
    "equation",
    [
        *("bchw,oc->bohw", "oc,bchw->bhwo", "bkl,okl->bol", "bchw,c->bhw", "bi , ij -> bj", "bij,ij->b", "bc,c->b"),
        *("bij,bjk->bik", "bhid,bhjd->bhij", "bhij,bhjd->bihd", "bc,bd->bcd", "bchw->bwhc", "bchw->bc", "bijk,bjl->bi"),
        "bi,ij",
    ],
)
@for_each("batch", [1, 3])
def test_einstein_sums(equation: str, batch: int) -> None:
    """Einstein sums of the input with a constant, or with a product of it, where both operands have the batch."""
    rng, sizes = np.random.default_rng(0), dict(zip("bchwoijkld", (batch, 2, 3, 4, 5, 2, 3, 4, 5, 6), strict=True))
    parts = equation.replace(" ", "").partition("->")[0].split(",")
    shapes = {part: [sizes[letter] for letter in part] for part in parts}
    given, *others = sorted(parts, key=lambda part: part[0] != "b")
    x, nodes, arrays, values = rng.standard_normal(shapes[given]), [], [], {}
    for part in others:
        if part[0] != "b":
            values[part] = rng.standard_normal(shapes[part])
            arrays.append(array(part, values[part], np.float64))
            continue
        weights = rng.standard_normal((x[0].size, int(np.prod(shapes[part][1:]))))
        values[part] = (x.reshape(batch, -1) @ weights).reshape(shapes[part])
        nodes = [node("Flatten", ["x"], ["f"]), node("MatMul", ["f", "w"], ["m"]), node("Reshape", ["m", "s"], [part])]
        arrays += [array("w", weights, np.float64), array("s", [-1, *shapes[part][1:]], np.int64)]
    names = ["x" if part == given else part for part in parts]
    nodes.append(node("Einsum", names, ["y"], equation=equation))
    shape = [batch, *shapes[given][1:]]
    network = Network.from_onnx(model(nodes, [value("x", shape, TensorProto.DOUBLE)], ["y"], arrays))
    expected = np.einsum(equation, *(x if part == given else values[part] for part in parts))
    assert not [n for n in network if n.kind == "opaque"]
    np.testing.assert_allclose(network(x), expected, rtol=1e-10, atol=1e-10)


def test_a_network_read_from_onnx_is_one_like_all_others() -> None:
    """Its linear nodes have matrices, and it can be counted."""
    rng = np.random.default_rng(0)
    weight, bias = rng.standard_normal((4, 2, 3, 3)), rng.standard_normal(4)
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["c"], name="conv", strides=[2, 2], pads=[1, 0, 1, 2])]
    network = Network.from_onnx(model(nodes, [value("x", [1, 2, 7, 6])], ["c"], [array("w", weight), array("b", bias)]))
    A, b = network.affine("conv")
    x = rng.standard_normal((1, 2, 7, 6))
    np.testing.assert_allclose(A @ x.ravel() + b, network(x).ravel(), rtol=1e-5, atol=1e-6)
    assert cm.counts.network_counts(network)


def test_a_network_is_compared_with_onnxruntime(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((4, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[2, 0, 1]),
        helper.make_node("MatMul", ["t", "w"], ["m"], name="product"),
        helper.make_node("Softmax", ["m"], ["y"], name="softmax"),
        helper.make_node("TopK", ["y", "k"], ["best", "places"], name="top"),
    ]
    arrays = [array("w", weights), array("k", [1], np.int64)]
    made = model(nodes, [value("x", ["n", 4, 5])], ["y", "best"], arrays)
    options = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    onnx.save(made, tmp_path / "model.onnx", **options)
    x = rng.standard_normal((3, 4, 5)).astype(np.float32)
    agreement = Network.from_onnx(tmp_path / "model.onnx").check(x, tmp_path / "model.onnx")
    assert agreement
    assert list(agreement.differences) == ["t", "product", "softmax"]
    fixed = model(nodes[1:3], [value("t", [2, 5, 4])], ["y"], arrays)
    network = Network.from_onnx(fixed)
    assert network.check(np.ones((4, 5, 4), np.float32), fixed)
    with refused(ValueError, "the model computes 2 samples at a time, but was given 3"):
        network.check(np.ones((3, 5, 4), np.float32), fixed)
    assert network.check(np.ones((0, 5, 4), np.float32), fixed)


def test_models_that_are_compared_with_onnxruntime() -> None:
    pytest.importorskip("onnxruntime")
    x = np.random.default_rng(0).standard_normal((3, 2, 4))
    two = model([node("Add", ["x", "z"], ["y"])], [value("x", ["n", 2, 4]), value("z", [4])], ["y"])
    constants = {"z": [1, 2, 3, 4]}
    assert Network.from_onnx(two, constants=constants).check(x, two, constants=constants)
    with refused(ValueError, r"the model has 2 inputs: 'x', 'z'"):
        Network.from_onnx(two, constants=constants).check(x, two)
    with pytest.raises(TypeError, match="constants"):
        Network.from_onnx(two, constants=constants).check(x, torch_module(), constants=constants)
    whole = model([node("ReduceMax", ["x"], ["y"], keepdims=0)], [value("x", [2, 4])], ["y"])
    compared = Network.from_onnx(whole, batch_axis=None).check(x, whole)
    assert compared
    assert "y" in compared.differences
    half = [numpy_helper.from_array(np.ones((2, 2, 3), np.float16), "w")]
    made = model([node("Conv", ["x", "w"], ["y"])], [value("x", ["n", 2, 4], TensorProto.FLOAT16)], [], half)
    made.graph.output.append(value("y", None, TensorProto.FLOAT16))
    assert Network.from_onnx(made).check(x, made).tolerance == 1e-2
    double = [array("w", np.ones((2, 2, 3)), np.float64)]
    made = model([node("Conv", ["x", "w"], ["y"])], [value("x", ["n", 2, 4], TensorProto.DOUBLE)], ["y"], double)
    with refused(ValueError, r"onnxruntime cannot compute the model.*'y': array"):
        Network.from_onnx(made).check(x, made)


def torch_module() -> Any:
    return pytest.importorskip("torch").nn.ReLU()
