"""Networks against PyTorch, dense Jacobians and published tables; graphs that do not fit are refused."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

import convmatrix as cm
from convmatrix.boundary import PLAIN
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
    channel_shuffle,
    flatten,
    pad,
    reshape,
    take,
    transpose,
)
from tests.cases import CASES
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
    assert len(kinds) == 18, kinds  # every kind but pattern and opaque


def test_float32_is_computed_in_float32() -> None:
    for seed in range(40):
        network = random_network(seed)
        x = np.random.default_rng(seed).standard_normal((1, *network.input_shape))
        single, double = network.values(x.astype(np.float32)), network.values(x)
        again = network.values(x.astype(np.float32), list(single))
        for name, value in single.items():
            assert np.array_equal(value, again[name]), (seed, network[name])
            assert again[name].dtype == np.float32, (seed, network[name])
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
        "addition", "concatenation", "convolution", "dense", "pooling", "rearrangement", "reduction", "resize", "scale"
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


def test_slopes_are_differences_of_values() -> None:
    for name in FUNCTIONS:
        x = np.array([0.13, 0.4, 0.9, 1.7, 2.2, 3.7, 7.1])
        x = x if name in ("acosh", "log", "sqrt", "reciprocal") else np.concatenate([-x, x])
        x = x / 8 if name in ("acos", "asin", "atanh") else x + 1 if name == "acosh" else x
        function = Elementwise(name)
        h = 1e-6
        differences = (function.evaluate([x + h]) - function.evaluate([x - h])) / (2 * h)
        assert np.allclose(function.slope(x), differences, atol=1e-7, rtol=1e-7), name
        second = (function.evaluate([x + 0.01]) - 2 * function.evaluate([x]) + function.evaluate([x - 0.01])) / 1e-4
        assert (abs(second).max() < 1e-8) == function.exact, name
        single = x.astype(np.float32)
        assert function.evaluate([single]).dtype == function.slope(single).dtype == np.float32, name


def test_convolutions_of_all_kinds_are_their_matrix() -> None:
    rng = np.random.default_rng(1)
    for name, g in CASES.items():
        for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 1e-4), (np.int64, 0)):
            weight, bias = rng.integers(-9, 9, g.weight_shape), rng.integers(-9, 9, g.out_channels)
            layer = Convolution(g, weight.astype(dtype), bias.astype(dtype))
            x = rng.integers(-9, 9, (3, g.in_channels, *g.input_shape)).astype(dtype)
            A, b = layer.affine([x.shape[1:]])
            y = layer.evaluate([x])
            assert y.dtype == A.dtype == b.dtype == dtype, name
            assert abs(y.reshape(3, -1) - ((A @ x.reshape(3, -1).T).T + b)).max() <= tolerance, name


NUMPY_MODES: dict[str, Any] = {"circular": "wrap", "reflect": "reflect", "symmetric": "symmetric", "replicate": "edge"}


def windows(
    x: NDArray[Any], size: int, stride: int, dilation: int, low: int, high: int, mode: str
) -> list[list[float]]:
    """Return the samples that each window of one axis reads, NaN for zeros beyond the ends."""
    padded = np.pad(x, (low, high), **({"constant_values": np.nan} if mode == "zero" else {"mode": NUMPY_MODES[mode]}))  # type: ignore[call-overload]
    last = len(padded) - dilation * (size - 1)
    return [padded[i : i + dilation * (size - 1) + 1 : dilation].tolist() for i in range(0, last, stride)]


def test_pooling_by_plain_loops() -> None:
    rng = np.random.default_rng(2)
    seen = 0
    for _ in range(600):
        n, size, stride, dilation = (int(rng.integers(1, most)) for most in (9, 4, 4, 4))
        low, high = (int(p) for p in rng.integers(0, 3, 2))
        mode = str(rng.choice(PLAIN))
        if n + low + high <= dilation * (size - 1) or (n == 1 and mode == "reflect"):
            continue
        x = rng.standard_normal(n)
        read = windows(x, size, stride, dilation, low, high, mode)
        options: Any = {"padding": [(low, high)], "dilation": dilation, "boundary": mode}
        inside = [[v for v in window if not np.isnan(v)] for window in read]
        average = Pooling("average", size, stride, count_include_pad=False, **options)
        expected = [sum(window) / max(len(window), 1) for window in inside]
        assert np.allclose(average.evaluate([x.reshape(1, 1, -1)])[0, 0], expected), (n, size, stride, options)
        total = Pooling("sum", size, stride, **options).evaluate([x.reshape(1, 1, -1)])[0, 0]
        assert np.allclose(total, [sum(window) for window in inside]), (n, size, stride, options)
        largest = Pooling("max", size, stride, **options)
        if not all(inside):
            with pytest.raises(ValueError, match=rf"axis 0 .* {size} .*padding.*{n} samples"):
                largest.output_shape([(1, n)])
            continue
        seen += 1
        assert largest.evaluate([x.reshape(1, 1, -1)])[0, 0].tolist() == [max(window) for window in inside]
    assert seen > 200


def test_positions_of_a_resize_are_exact() -> None:
    """Nearest modes and the rounding of halves, by integers; 14 samples at 18 positions is a hard case."""
    for n, m in itertools.product((1, 2, 3, 5, 7, 14, 25), (1, 2, 3, 4, 9, 18, 36, 49)):
        x, i = np.arange(n, dtype=float).reshape(1, 1, n), np.arange(m)
        floor = Resize((m,), "nearest", "asymmetric", rounding="floor").evaluate([x])[0, 0]
        assert floor.tolist() == (i * n // m).tolist(), (n, m)
        twice = (2 * i + 1) * n - m  # position * 2 * m
        for rounding, expected in (
            ("round_prefer_floor", -((m - twice) // (2 * m))),
            ("round_prefer_ceil", (twice + m) // (2 * m)),
            ("ceil", -(-twice // (2 * m))),
        ):
            found = Resize((m,), "nearest", rounding=cast("Any", rounding)).evaluate([x])[0, 0]
            assert found.tolist() == np.clip(expected, 0, n - 1).tolist(), (n, m, rounding)
        scaled = Resize((m,), "linear", "half_pixel_symmetric", scales=(m / n,)).evaluate([x])
        assert np.allclose(scaled, Resize((m,), "linear").evaluate([x]))
    # A scale that is not the quotient of the sizes: positions (i + 0.5) / 2.5 - 0.5, centred if symmetric.
    ramp = np.arange(4.0).reshape(1, 1, 4)
    assert np.allclose(Resize((9,), "linear", scales=(2.5,)).evaluate([ramp])[0, 0, 2:8], np.arange(2.5, 8) / 2.5 - 0.5)
    centred = Resize((9,), "linear", "half_pixel_symmetric", scales=(2.5,)).evaluate([ramp])[0, 0]
    assert np.allclose(centred + centred[::-1], 3)


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


def test_integers_become_fractions_where_they_must() -> None:
    """Every operation gives the same results for small integers, bytes included, as for equal numbers in float64."""
    same = cm.ConvGeometry(4, 3, padding=1)
    operations = [
        *(Elementwise(name) for name in FUNCTIONS if name not in ("acos", "asin", "atanh")),  # defined up to 1
        Elementwise("clip", {"low": 0.5, "high": 2**70}),
        Pooling("average", 3, 1),
        Pooling("sum", 2),
        Pooling("max", 2),
        Pooling("sum", 2, trained=True, coefficient=[0.5], bias=[0.25]),
        Convolution(same, np.array([1, 2, 3], np.int8), [0.5]),
        Convolution(same, [0.5, 1.5, 2.5]),
        FullyConnected(4, 2, np.ones((2, 4), int), [0.5, 1.5]),
        Scale([0.5], [1.25]),
        pad([(0, 0), (1, 1)], value=1.5),
        Resize((7,), "linear"),
        Resize((7,), "cubic"),
        Resize((8,)),
    ]
    whole = set()
    for operation in operations:
        network = Network([Input((1, 4)), operation])
        x = np.array([[[1, 200, 3, 255]]], dtype=np.uint8)
        found, expected = network(x), network(x.astype(float))
        assert np.array_equal(found, expected), operation
        whole |= {operation} if found.dtype == np.int64 else set()
    assert whole == {
        *(Elementwise(f) for f in ("abs", "clip", "identity", "relu", "square")),
        *operations[-11:-9],
        operations[-1],
    }
    byte = np.full((1, 1, 4), 200, np.uint8)
    doubled = Network([Node("x", Input((1, 4))), Node("y", Addition((-1, -1)), ("x", "x"))])
    assert (doubled(byte) == -400).all()
    huge = np.array([[[2**60 + 1, -3]]])
    assert Network([Input((1, 2)), Elementwise("clip", {"low": 0, "high": 2**61})])(huge).tolist() == [[[2**60 + 1, 0]]]


def test_inputs_are_kept_and_functions_keep_the_dtype() -> None:
    x = np.ones((1, 2, 3), np.float32)
    x.flags.writeable = False
    for operation in (Scale(None, [1, 2]), Scale([1, 2]), Elementwise("relu"), flatten(), Pooling("max", 1), Scale()):
        values = Network([Node("x", Input((2, 3))), Node("y", operation), Node("z", Scale([2.0], 1.0))]).values(x)
        assert np.array_equal(values["z"], 2 * values["y"] + 1)
        assert np.array_equal(values["y"], operation.evaluate([np.ones((1, 2, 3), np.float32)]))
    own = Elementwise("own", function=lambda v: v + np.ones(3))  # float64
    assert Network([Input((2, 3)), own])(x).dtype == np.float32


def test_samples_broadcast_and_not_the_batch() -> None:
    """A vector (3,) beside a sample (3, 3), in a batch of 3: it is added along the last axis of each sample."""
    nodes = [
        Node("x", Input((3, 3))),
        Node("row", take(0, 0, 1), ("x",)),
        Node("vector", flatten(), ("row",)),
        Node("sum", Addition(), ("x", "vector")),
        Node("product", Product(), ("vector", "x")),
        Node("outer", Scale(np.arange(9).reshape(3, 3), np.ones((3, 1))), ("vector",)),
    ]
    network = Network(nodes)
    x = np.random.default_rng(3).standard_normal((3, 3, 3))
    values = network.values(x)
    for sample in range(3):
        row = x[sample, 0]
        assert np.array_equal(values["sum"][sample], x[sample] + row)
        assert np.array_equal(values["product"][sample], x[sample] * row)
        assert np.array_equal(values["outer"][sample], np.arange(9).reshape(3, 3) * row + 1)
    A, b = network.affine("outer")
    assert np.array_equal((A @ x[0, 0] + b).reshape(3, 3), values["outer"][0])


def test_empty_batches_and_shapes_without_allocation() -> None:
    for seed in range(20):
        network = random_network(seed)
        assert network(np.zeros((0, *network.input_shape))).shape == (0, *network.output_shape)
    n = 10**6
    huge = Network([Input((n, n, n)), take(0, 1, 9, 2), transpose((2, 1, 0)), channel_shuffle(10), flatten()])
    assert huge.output_shape == (4 * n * n,)


def test_integer_matrices() -> None:
    network = Network([Input((1, 4)), Pooling("average", 2), Scale(2.0)])
    with pytest.raises(TypeError, match=r"'pooling 2'.*int64"):
        network.affine("pooling 2", int)
    A, b = network.affine("scale 3", np.int8)
    assert (A.dtype, A.toarray().tolist(), b.tolist()) == (np.int8, [[2, 0], [0, 2]], [0, 0])
    assert path_counts([Input((1, 2)), Resize((3,), "linear")], 1).tolist() == [1, 1]


def test_long_chains_in_any_order() -> None:
    chain = [Node(f"n{i}", Elementwise("relu"), f"n{i - 1}" if i else "x") for i in range(2000)]
    network = Network([Node("x", Input((1,))), *reversed(chain)], outputs=["n1999"])
    assert [node.name for node in network] == ["x", *(node.name for node in chain)]


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
    twice = cm.WeightPattern.from_triplets((2, 2), [0, 0, 1], [0, 0, 1], [0, 1, 0], 2)  # two weights on one entry
    counts = network_counts([PatternMap(twice)]).total
    assert (counts.nonzeros, counts.connections_inside) == (2, 3)
    with pytest.raises(ValueError, match=r"'Mystery 2' \(opaque\).*receptive_field"):
        receptive_field_size(network)


def test_counts_of_one_layer() -> None:
    layer = cm.ConvGeometry((8, 8), (3, 3), in_channels=3, out_channels=8)
    assert network_counts(layer).total.parameters == 224
    assert network_counts(cm.Network([layer])).total.parameters == 216


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
    x = np.ones((1, 2, 3))
    np.testing.assert_array_equal(network.values(x, "sum")["sum"], 3 * x)
    assert (network(np.ones((1, 2, 3))) == 3).all()


# --- refusals --------------------------------------------------------------------------------------------------------

X = Node("x", Input((2, 6, 6)))


def net(*nodes: Any) -> Network:
    return Network([X, *nodes])


LAYER = cm.ConvGeometry((6, 6), (3, 3), in_channels=2, out_channels=3)


REFUSALS: list[tuple[Any, type[Exception], str]] = [
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
    (lambda: net(flatten())(np.zeros((1, 2, 6, 6), np.float16)), TypeError, r"float16"),
    (lambda: net(Node("a", take(3, 0, 1))), ValueError, r"'a'.*axis=3.*\(2, 6, 6\)"),
    (lambda: net(Node("a", take(1, 4, 4))), ValueError, r"'a'.*\(2, 0, 6\)"),
    (lambda: net(Node("a", pad([(0, 0), (-3, -3), (0, 0)]))), ValueError, r"'a'.*\(2, 0, 6\)"),
    (lambda: net(PatternMap(LAYER.pattern(), None, (7,))), ValueError, r"7.*48"),
    (lambda: net(Elementwise("f", function=np.sum))(np.ones((1, 2, 6, 6))), ValueError, r"'f'.*\(1, 2, 6, 6\)"),
    (lambda: net(PatternMap(LAYER.pattern(), np.ones(53))), ValueError, r"\(53,\).*54"),
    (lambda: Convolution(LAYER, np.ones(54) * 1j), TypeError, r"weight.*complex"),
    (lambda: FullyConnected(1, 1, [[1]], [1j]), TypeError, r"bias.*complex"),
    (lambda: Addition((1, 2)), ValueError, r"\(1, 2\)"),
    (lambda: channel_shuffle(0), ValueError, r"groups.* 0"),
    (lambda: Resize((3,), cast("Any", "lanczos")), ValueError, r"mode 'lanczos'.*nearest, linear"),
    (lambda: Resize((3,), rounding=cast("Any", "up")), ValueError, r"rounding 'up'.*floor"),
    (lambda: Resize((3, 4), scales=(1.0,)), ValueError, r"scales must have 2 entries, but has 1: \(1.0,\)"),
    (lambda: Resize((3, 4), scales=(1.0, 0.0)), ValueError, r"scales=\(1.0, 0.0\)"),
    (lambda: Pooling("max", trained=True), ValueError, r"trained.*max"),
    (lambda: Pooling("median"), ValueError, r"method 'median'"),
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
]  # fmt: skip


def test_refusals() -> None:
    for make, error, message in REFUSALS:
        with pytest.raises(error, match=message):
            make()


# Each parameter of an operation, and what is not of its type.
NONSENSE: list[tuple[Any, str, Any]] = [
    (Input, "shape", "x"),
    (lambda operator: Opaque(operator, ()), "operator", 3),
    (lambda shape: Opaque("sort", shape), "shape", "x"),
    (Convolution, "geometry", "x"),
    (lambda bias: Convolution(LAYER, None, bias), "bias", ["x"]),
    (lambda n_in: FullyConnected(n_in, 2), "n_in", 2.5),
    (lambda weight: FullyConnected(3, 2, weight), "weight", "x"),
    (lambda bias: FullyConnected(3, 2, None, bias), "bias", "x"),
    (PatternMap, "pattern", "x"),
    (lambda shape: PatternMap(LAYER.pattern(), None, shape), "shape", "x"),
    (Elementwise, "name", 3),
    (lambda parameters: Elementwise("clip", parameters), "parameters", 3),
    (lambda low: Elementwise("clip", {"low": low}), "low", "x"),
    (lambda function: Elementwise("f", function=function), "function", 3),
    (cm.network.ParametricReLU, "slope", "x"),
    (cm.network.ParametricReLU, "slope", None),
    (Scale, "scale", ["x"]),
    (lambda shift: Scale(None, shift), "shift", 1j),
    (Addition, "signs", 3),
    (Concatenation, "axis", "x"),
    (lambda axes: cm.network.Reduction("mean", axes), "axes", "x"),
    (lambda axes: cm.network.Reduction("mean", axes), "axes", 1),
    (lambda axes: cm.network.Reduction("mean", axes), r"axes\[1\]", (0, 1.5)),
    (cm.network.Normalisation, "axes", "x"),
    (lambda epsilon: cm.network.Normalisation(epsilon=epsilon), "epsilon", "x"),
    (cm.network.Softmax, "axis", "x"),
    (lambda alpha: cm.network.LocalResponseNormalisation(3, alpha), "alpha", "x"),
    (lambda beta: cm.network.LocalResponseNormalisation(3, beta=beta), "beta", "x"),
    (lambda bias: cm.network.LocalResponseNormalisation(3, bias=bias), "bias", "x"),
    (lambda a: Resize((3,), "cubic", cubic_coefficient=a), "cubic_coefficient", "x"),
    (lambda scales: Resize((3,), scales=scales), "scales", 3),
    (lambda scales: Resize((3,), scales=scales), "scales", ("x",)),
    (lambda roi: Resize((3,), coordinates="tf_crop_and_resize", roi=roi), "roi", 3),
    (lambda roi: Resize((3,), coordinates="tf_crop_and_resize", roi=roi), "roi", (3,)),
    (lambda roi: Resize((3,), coordinates="tf_crop_and_resize", roi=roi), "roi", ((0, "x"),)),
    (lambda boundary: Pooling(boundary=boundary), "boundary", 3),
    (lambda coefficient: Pooling(trained=True, coefficient=coefficient), "coefficient", "x"),
    (lambda bias: Pooling(trained=True, bias=bias), "bias", "x"),
    (transpose, "axes", "x"),
    (lambda axis: take(axis, 0, 1), "axis", "x"),
    (lambda stop: take(0, 0, stop), "stop", "x"),
    (lambda axis: cm.network.gather(axis, [0]), "axis", "x"),
    (lambda indices: cm.network.gather(0, indices), "indices", "x"),
    (pad, "widths", 3),
    (pad, r"widths\[0\]", [1]),
    (lambda value: pad([(0, 1)], value=value), "value", "x"),
    (lambda operation: Node("a", operation), "operation", "x"),
    (lambda inputs: Node("a", flatten(), inputs), "inputs", 3),
    (lambda operation: cm.network.fixed_pattern(operation, (1, 4)), "operation", "x"),
    (lambda taps: cm.network.blur_pooling_pattern((1, 4), taps), "taps", "x"),
    (lambda a: cm.network.resize_pattern((1, 4), 8, "cubic", cubic_coefficient=a), "cubic_coefficient", "x"),
]  # fmt: skip


def test_parameters_of_other_types_are_refused_by_name() -> None:
    for make, parameter, value in NONSENSE:
        with pytest.raises(TypeError, match=parameter):
            make(value)
    with pytest.raises(ValueError, match=r"roi must have 2 .* 3"):
        Resize((3,), coordinates="tf_crop_and_resize", roi=cast("Any", ((0, 1, 2),)))
    with pytest.raises(ValueError, match=r"widths\[0\] must have 2 .* 3"):
        pad(cast("Any", [(1, 2, 3)]))


def test_rearrangements_are_index_arrays() -> None:
    for operation in (flatten(), transpose((2, 0, 1)), pad([(0, 0), (1, 0), (0, -1)], "circular")):
        assert isinstance(operation, Rearrangement)
        x = np.random.default_rng(0).standard_normal((1, 2, 3, 4))
        index = operation.index((2, 3, 4))
        assert np.array_equal(operation.evaluate([x]).ravel(), x.ravel()[index])
