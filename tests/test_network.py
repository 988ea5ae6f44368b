"""Networks against PyTorch, dense Jacobians and published tables; graphs that do not fit are refused."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import convmatrix as cm
from convmatrix.counts import network_counts
from convmatrix.graph import path_counts, receptive_field, receptive_field_size
from convmatrix.network import (
    FUNCTIONS,
    Addition,
    Concatenation,
    Convolution,
    Elementwise,
    FullyConnected,
    Input,
    MissingWeightsError,
    Network,
    Node,
    Opaque,
    PatternMap,
    Pooling,
    Product,
    Rearrangement,
    Resize,
    Scale,
    UnknownOperatorError,
    as_network,
    flatten,
    pad,
    reshape,
    transpose,
)
from tests.random_networks import random_network, torch_values

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEEDS = range(120)


def test_values_equal_pytorch_on_random_networks() -> None:
    torch = pytest.importorskip("torch", reason="the oracle is PyTorch")
    kinds = set()
    for seed in SEEDS:
        network = random_network(seed)
        kinds |= {node.kind for node in network}
        x = np.random.default_rng(seed).standard_normal((2, *network.input_shape))
        expected = torch_values(network, torch.as_tensor(x))
        for name, value in network.values(x).items():
            reference = expected[name].numpy()
            assert value.shape == (2, *network[name].output_shape) == reference.shape, (seed, name)
            assert value.dtype == np.float64, (seed, name)
            scale = max(abs(reference).max(initial=0), 1)
            assert abs(value - reference).max(initial=0) <= 1e-12 * scale, (seed, name, network[name])
    assert len(kinds) == 11, kinds  # every kind but pattern and opaque


def test_float32_is_computed_in_float32() -> None:
    for seed in range(40):
        network = random_network(seed)
        x = np.random.default_rng(seed).standard_normal((1, *network.input_shape))
        single, double = network.values(x.astype(np.float32)), network.values(x)
        for name, value in single.items():
            assert value.dtype == np.float32, (seed, network[name])
            assert np.allclose(value, double[name], rtol=2e-3, atol=2e-3 * abs(double[name]).max(initial=1))


def jacobian(node: Node) -> NDArray[np.float64]:
    """Return a node's matrix and bias by evaluating it at zero and at every unit vector: (outputs, inputs + 1)."""
    sizes = [math.prod(shape) for shape in node.input_shapes]
    ends = np.cumsum([0, *sizes])
    points = np.vstack([np.zeros(ends[-1]), np.eye(ends[-1])])
    inputs = [
        points[:, first : first + size].reshape(-1, *shape)
        for first, size, shape in zip(ends[:-1], sizes, node.input_shapes, strict=True)
    ]
    values = node.operation.evaluate(inputs).reshape(len(points), -1)
    return np.vstack([values[1:] - values[0], values[0]]).T


def test_affine_is_what_evaluation_does() -> None:
    kinds = set()
    for seed in SEEDS:
        network = random_network(seed)
        for node in network.nodes[1:]:
            if not node.linear:
                with pytest.raises(TypeError, match=rf"{node.name}.*not linear"):
                    network.affine(node.name)
                continue
            kinds.add(node.kind)
            A, b = network.affine(node.name, np.float64)
            expected = jacobian(node)
            assert A.shape == (expected.shape[0], expected.shape[1] - 1), (seed, node)
            assert A.has_canonical_format, (seed, node)
            assert b.shape == (len(expected),), (seed, node)
            assert abs(A.toarray() - expected[:, :-1]).max(initial=0) < 1e-12, (seed, node)
            assert abs(b - expected[:, -1]).max(initial=0) < 1e-12, (seed, node)
    assert kinds == {
        "addition", "concatenation", "convolution", "dense", "pooling", "rearrangement", "resize", "scale"
    }  # fmt: skip


def test_receptive_fields_are_the_support_of_the_gradient() -> None:
    torch = pytest.importorskip("torch", reason="the oracle is PyTorch's gradient")
    for seed in SEEDS:
        network = random_network(seed)
        if any(node.kind == "elementwise" or getattr(node.operation, "method", "") == "max" for node in network):
            continue  # a slope of zero hides what is read
        rng = np.random.default_rng(seed)
        n_units = math.prod(network.output_shape)
        for unit in rng.integers(n_units, size=3).tolist():
            x = torch.as_tensor(rng.standard_normal((1, *network.input_shape)), dtype=torch.float64).requires_grad_()
            y = torch_values(network, x)[network.outputs[0]].reshape(-1)
            gradient = np.zeros(network.input_shape)
            if y.requires_grad:
                (found,) = torch.autograd.grad(y[unit], x, allow_unused=True)
                gradient = np.zeros(network.input_shape) if found is None else found[0].numpy()
            read = set(receptive_field(network, unit).tolist())
            support = set(np.flatnonzero(gradient).tolist())
            assert support <= read, (seed, unit)
            cancelled = {node.name for node in network if node.kind == "addition"}
            if not cancelled:  # x - x reads x with a gradient of zero
                assert read == support, (seed, unit, network.nodes)


def test_field_sizes_hold_the_exact_fields_of_random_networks() -> None:
    checked = 0
    for seed in range(400):
        network = random_network(seed)
        try:
            size = receptive_field_size(network)
        except ValueError:
            continue
        if any(b != "zero" for node in network if node.kind == "convolution" for b in node.geometry.boundary):
            continue
        if any(node.kind == "rearrangement" for node in network):
            continue
        if network.output_shape[1:] != size.output_shape or not size.output_shape:
            continue
        checked += 1
        for position in np.ndindex(*size.output_shape):
            unit = int(np.ravel_multi_index((0, *position), network.output_shape))
            read = np.array(np.unravel_index(receptive_field(network, unit), network.input_shape))[1:]
            for axis, (first, last) in enumerate(size.extent(position)):
                assert (read[axis] >= first).all(), (seed, position)
                assert (read[axis] <= last).all(), (seed, position)
    assert checked > 30


# --- single operations -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FUNCTIONS)
def test_slopes_are_differences_of_values(name: str) -> None:
    x = np.array([0.13, 0.4, 0.9, 1.7, 2.2, 3.7, 7.1])
    x = x if name in ("log", "sqrt", "reciprocal") else np.concatenate([-x, x])
    function = Elementwise(name)
    h = 1e-6
    differences = (function.evaluate([x + h]) - function.evaluate([x - h])) / (2 * h)
    assert np.allclose(function.slope(x), differences, atol=1e-7, rtol=1e-7)
    second = (function.evaluate([x + 0.01]) - 2 * function.evaluate([x]) + function.evaluate([x - 0.01])) / 1e-4
    assert (abs(second).max() < 1e-8) == function.exact


def test_integers_stay_exact() -> None:
    rng = np.random.default_rng(0)
    layer = cm.ConvGeometry((5, 6), (3, 3), in_channels=2, out_channels=4, padding=1, boundary="reflect", stride=2)
    weight, bias = rng.integers(-9, 9, layer.weight_shape), rng.integers(-9, 9, 4)
    dense = rng.integers(-9, 9, (3, 36))
    network = Network(
        [Convolution(layer, weight, bias), Elementwise("relu"), FullyConnected(36, 3, dense, rng.integers(-9, 9, 3))]
    )
    x = rng.integers(-(2**20), 2**20, (7, 2, 5, 6))
    y = network(x)
    assert y.dtype == np.int64
    A, b = network.affine("convolution 1")
    hidden = np.maximum((A @ x.reshape(7, -1).T).T + b, 0)
    C, d = network.affine("dense 3")
    assert np.array_equal(y, (C @ hidden.T).T + d)


def test_broadcasting_gate() -> None:
    """Squeeze and excitation: one factor per channel, which reads the whole sample."""
    gate = [
        Node("x", Input((3, 4, 4))),
        Node("squeeze", Pooling("average", None), ("x",)),
        Node("gate", Elementwise("sigmoid"), ("squeeze",)),
        Node("y", Product(), ("x", "gate")),
    ]
    network = Network(gate)
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 4))
    assert np.allclose(network(x), x / (1 + np.exp(-x.mean((2, 3), keepdims=True))))
    assert receptive_field(network, (1, 0, 0)).tolist() == list(range(16, 32))
    field = receptive_field_size(network)
    assert (field.size, field.stride, field.start) == ((4, 4), (0, 0), (0, 0))


def test_centres() -> None:
    field = receptive_field_size([cm.ConvGeometry(32, 3, padding=1, stride=2), cm.ConvGeometry(16, 5)])
    assert field.centre == (field.start[0] + (field.size[0] - 1) / 2,) == (4.0,)
    vgg = receptive_field_size("vgg16")
    assert vgg.size == (212 + 6 * 32,) * 2
    assert receptive_field_size(as_network("vgg16").until("conv5_3")).size == (196, 196)
    resnet = receptive_field_size(as_network("resnet18").until("layer4.1.add"))
    assert (resnet.size, resnet.stride) == ((435, 435), (32, 32))  # Araujo, Norris, Sim (2019)


def test_paths_through_branches_add_up() -> None:
    layer = cm.ConvGeometry(5, 3, padding=1)
    network = Network(
        [
            Node("x", Input((1, 5))),
            Node("a", Convolution(layer), ("x",)),
            Node("b", Convolution(layer), ("a",)),
            Node("sum", Addition(), ("x", "b")),
        ]
    )
    assert path_counts(network, 2).tolist() == [1, 2, 3 + 1, 2, 1]


def test_pattern_map_and_opaque() -> None:
    pattern = cm.ConvGeometry(4, 2).pattern()
    network = Network([PatternMap(pattern, [1, -1]), Opaque("Mystery", (2,))])
    assert network.values(np.array([[[1.0, 3.0, 6.0, 6.0]]]), ["pattern 1"])["pattern 1"].tolist() == [[[-2, -3, 0]]]
    with pytest.raises(UnknownOperatorError, match=r"'Mystery 2'.*Mystery"):
        network(np.zeros((1, 1, 4)))
    with pytest.raises(UnknownOperatorError, match=r"Mystery"):
        network.affine("Mystery 2")
    assert receptive_field(network, 1).tolist() == [0, 1, 2, 3]
    assert network_counts(network).total.weights == 2


def test_named_architectures_have_no_values() -> None:
    network = as_network("lenet5")
    with pytest.raises(MissingWeightsError, match=r"'C1'"):
        network(np.zeros((1, 1, 32, 32)))
    with pytest.raises(MissingWeightsError, match=r"'C3'"):
        network.affine("C3")


def test_any_order_of_nodes() -> None:
    nodes = [
        Node("x", Input((2, 3))),
        Node("sum", Addition(), ("twice", "x")),
        Node("twice", Scale(2), ("x",)),
    ]
    network = Network(nodes, outputs=["sum"])
    assert [node.name for node in network] == ["x", "twice", "sum"]
    assert (network(np.ones((1, 2, 3))) == 3).all()


# --- refusals --------------------------------------------------------------------------------------------------------

X = Node("x", Input((2, 6, 6)))


def net(*nodes: Any) -> Network:
    return Network([X, *nodes])


LAYER = cm.ConvGeometry((6, 6), (3, 3), in_channels=2, out_channels=3)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Network([]), ValueError, r"at least one"),
        (lambda: net(Node("x", flatten())), ValueError, r"two nodes .*'x'"),
        (lambda: net(Node("a", flatten(), ("z",))), ValueError, r"'a' reads 'z'"),
        (lambda: net(Node("a", flatten(), ("b",)), Node("b", flatten(), ("a",))), ValueError, r"a, b.*cycle"),
        (lambda: net(Node("y", Input((3,)))), ValueError, r"one input.*2.*x, y"),
        (lambda: net(Node("c", Convolution(LAYER)), Convolution(LAYER)), ValueError, r"\(3, 4, 4\).*\(2, 6, 6\)"),
        (lambda: net(Node("b", reshape((72,))), Node("a", Addition(), ("x", "b"))), ValueError, r"'a'.*\(72,\)"),
        (lambda: net(Node("a", Concatenation(3), ("x", "x"))), ValueError, r"'a'.*axis=3"),
        (lambda: net(Node("a", FullyConnected(71, 3))), ValueError, r"'a'.*71.*72"),
        (lambda: net(Node("a", reshape((71,)))), ValueError, r"'a'.*72.*71"),
        (lambda: net(Node("a", transpose((0, 1)))), ValueError, r"'a'.*\(0, 1\).*3"),
        (lambda: net(Node("a", pad([(1, 1)]))), ValueError, r"'a'.*1.*3"),
        (lambda: net(Node("a", Resize((3,)))), ValueError, r"'a'.*\(3,\).*2"),
        (lambda: net(Node("a", Pooling("max", 2, 2, 2))), ValueError, r"'a'.*padding"),
        (lambda: net(Node("a", Pooling("max", 7))), ValueError, r"'a'.*7.*6"),
        (lambda: Network([X, flatten()], outputs=["z"]), ValueError, r"output 'z'"),
        (lambda: Network([flatten()]), ValueError, r"begin with Input"),
        (lambda: net(3), TypeError, r"entry 2.*int"),
        (lambda: net(flatten())["z"], KeyError, r"'z'.*x, rearrangement 2"),
        (lambda: net(flatten())(np.zeros((1, 2, 6, 5))), ValueError, r"2, 6, 6.*\(1, 2, 6, 5\)"),
        (lambda: net(flatten())(np.zeros((1, 2, 6, 6), complex)), TypeError, r"complex"),
        (lambda: Pooling("median"), ValueError, r"method='median'"),
        (lambda: Elementwise("relu", {"slope": 1.0}), ValueError, r"slope"),
        (lambda: Elementwise("f").evaluate([np.ones(1)]), MissingWeightsError, r"'f'"),
        (lambda: Scale("unit"), ValueError, r"'unit'"),
        (lambda: Scale("channel").evaluate([np.ones((1, 2))]), MissingWeightsError, r"values"),
        (lambda: Convolution(LAYER, np.ones((3, 2, 3, 2))), ValueError, r"\(3, 2, 3, 2\).*\(3, 2, 3, 3\)"),
        (lambda: Convolution(LAYER, None, np.ones(4)), ValueError, r"4.*3.*48"),
        (lambda: Convolution(LAYER, None, "all"), ValueError, r"'all'"),
        (lambda: FullyConnected(3, 2, np.ones((3, 2))), ValueError, r"\(3, 2\).*\(2, 3\)"),
        (lambda: FullyConnected(3, 2, None, np.ones(3)), ValueError, r"\(3,\).*2"),
        (lambda: as_network("vgg17"), ValueError, r"vgg17.*vgg16"),
        (lambda: as_network(3), TypeError, r"int"),
    ],
)  # fmt: skip
def test_refusals(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_rearrangements_are_index_arrays() -> None:
    for operation in (flatten(), transpose((2, 0, 1)), pad([(0, 0), (1, 0), (0, -1)], "circular")):
        assert isinstance(operation, Rearrangement)
        x = np.random.default_rng(0).standard_normal((1, 2, 3, 4))
        index = operation.index((2, 3, 4))
        assert np.array_equal(operation.evaluate([x]).ravel(), x.ravel()[index])
