"""Linearisations of networks against PyTorch's gradients, difference quotients and explicit matrices."""

from __future__ import annotations

import copy
import itertools
import pickle
from typing import Any, cast

import numpy as np
import pytest
from scipy import sparse

import convmatrix as cm
from convmatrix import memory
from convmatrix.boundary import PLAIN
from convmatrix.network import (
    FUNCTIONS,
    Addition,
    Concatenation,
    Convolution,
    Elementwise,
    Extremum,
    FullyConnected,
    Input,
    LocalResponseNormalisation,
    MatrixProduct,
    MissingWeightsError,
    Network,
    Node,
    Normalisation,
    Opaque,
    ParametricReLU,
    PatternMap,
    Pooling,
    Product,
    Reduction,
    Resize,
    Scale,
    Softmax,
    UnknownOperatorError,
    channel_shuffle,
    expand,
    fixed_pattern,
    flatten,
    gather,
    pad,
    reshape,
    take,
    transpose,
)
from convmatrix.network.boxes import box_size, flat_box, within
from tests.random_networks import random_network, torch_values

SEEDS = range(150)


def dense(operation: Any, inputs: list[Any]) -> tuple[Any, Any]:
    """Return the Jacobian of an operation by its tangents and by its cotangents."""
    sizes, rng_shapes = [x.size for x in inputs], [x.shape for x in inputs]
    identity = np.split(np.eye(sum(sizes)), np.cumsum(sizes)[:-1], axis=1)
    tangents = [part.reshape(-1, *shape) for part, shape in zip(identity, rng_shapes, strict=True)]
    forward = operation.tangent(inputs, tangents).reshape(sum(sizes), -1).T
    shape = operation.output_shape(rng_shapes)
    n = int(np.prod(shape))
    gradients = operation.cotangent(inputs, np.eye(n).reshape(n, *shape))
    return forward, np.concatenate([g.reshape(n, -1) for g in gradients], axis=1)


def random_box(shape: tuple[int, ...], rng: np.random.Generator) -> tuple[slice, ...]:
    lows = [int(rng.integers(n)) for n in shape]
    return tuple(slice(low, int(rng.integers(low, n)) + 1) for low, n in zip(lows, shape, strict=True))


def check_boxes(operation: Any, inputs: list[Any], rng: np.random.Generator) -> None:
    """Check that cotangents in a box are those of the whole output, and 0 outside the boxes of the inputs."""
    shapes = [x.shape for x in inputs]
    shape = operation.output_shape(shapes)
    box = random_box(shape, rng)
    full = np.zeros((2, *shape))
    full[(slice(None), *box)] = rng.standard_normal((2, *(part.stop - part.start for part in box)))
    boxes = operation.read_boxes(box, shapes)
    if not any(map(box_size, boxes)):
        assert not any(g.any() for g in operation.cotangent(inputs, full)), (operation, box)
        return
    local = operation.local_cotangent(inputs, full[(slice(None), *box)], box, boxes)
    for g, part, expected in zip(local, boxes, operation.cotangent(inputs, full), strict=True):
        inside = within(part, tuple(slice(0, n) for n in expected.shape[1:]))
        assert np.allclose(g, expected[inside], rtol=0, atol=1e-12 * max(abs(expected).max(), 1)), (operation, box)
        rest = expected.copy()
        rest[inside] = 0
        assert not rest.any(), (operation, box)


OPERATIONS: list[tuple[Any, list[tuple[int, ...]]]] = [
    *((Elementwise(name), [(2, 5)]) for name in FUNCTIONS),
    (Scale([1.0, 2.0, 3.0], [1.0, 1.0, 1.0]), [(3, 4, 2)]),
    (Scale(np.arange(6.0).reshape(3, 2, 1), None), [(1, 4)]),
    (Scale(None, np.arange(6.0).reshape(3, 2, 1)), [(2, 4)]),
    (Addition((1, -1)), [(3, 4, 2), (3, 1, 1)]),
    (Addition(), [(4, 1), (3, 4, 2), (1,)]),
    (Product(), [(3, 4, 2), (3, 1, 1)]),
    (Product(), [(1, 2), (3, 4, 2), (3, 1, 2)]),
    (Concatenation(0), [(3, 4), (1, 4), (2, 4)]),
    (Concatenation(1), [(3, 4), (3, 1)]),
    (flatten(), [(2, 3, 4)]),
    (reshape((3, 2, 4, 5)), [(6, 4, 5)]),
    (reshape((6, 20)), [(2, 3, 4, 5)]),
    (reshape((4, 6)), [(2, 3, 4)]),
    (transpose((2, 0, 1)), [(2, 3, 4)]),
    (take(1, None, None, -2), [(2, 7)]),
    (take(0, 1, 3), [(4, 3)]),
    (channel_shuffle(2), [(6, 3)]),
    *((pad([(0, 1), (2, 5), (-1, 1)], boundary, 2.5), [(2, 3, 4)]) for boundary in PLAIN),
    (Resize((3, 9), "linear", "half_pixel"), [(2, 5, 4)]),
    (Resize((7,), "nearest", "asymmetric", rounding="floor"), [(2, 3)]),
    (Resize((7, 2), "cubic", exclude_outside=True), [(2, 3, 4)]),
    (Resize((2, 5), "cubic", antialias=True), [(2, 6, 3)]),
    (Resize((5,), "cubic", "tf_crop_and_resize", roi=((-1, 2),), exclude_outside=True), [(2, 4)]),
    (FullyConnected(12, 5, np.arange(60.0).reshape(5, 12), np.ones(5)), [(3, 4)]),
    (FullyConnected(4, 2, np.arange(8.0).reshape(2, 4), np.ones(2), flatten=False), [(3, 5, 4)]),
    (PatternMap(cm.ConvGeometry((4, 4), (2, 2)).pattern(), [[1.0, 2.0], [3.0, 4.0]]), [(1, 4, 4)]),
    (PatternMap(fixed_pattern(Resize((5,)), (2, 3)), [1.0, 1.0], (2, 5), trained=False), [(2, 3)]),
    (gather(1, [3, 0, 3]), [(2, 4)]),
    (expand((3, 2, 4)), [(2, 1)]),
    (Resize((3, 4), "area"), [(2, 5, 3)]),
    (ParametricReLU([0.5, -2.0]), [(2, 5)]),
    (Softmax(0), [(3, 4)]),
    (Softmax(-1, logarithm=True), [(3, 4)]),
    (Normalisation((-1,), epsilon=0.1), [(3, 4)]),
    (Normalisation((0, 2), epsilon=0.1, centred=False), [(2, 3, 2)]),
    (Normalisation(None, 2, epsilon=0.1), [(4, 3)]),
    (LocalResponseNormalisation(3, 0.5, 0.75, 1.0), [(5, 2)]),
    (LocalResponseNormalisation(4, 0.5, 0.75, 1.0, low=3), [(5, 2)]),
    *((Reduction(method, (0, -1)), [(2, 3, 4)]) for method in ("mean", "sum", "max", "min")),
    (Extremum("max"), [(3, 4), (3, 1)]),
    (Extremum("min"), [(2, 3), (2, 3), (3,)]),
    (MatrixProduct(), [(2, 3, 4), (4, 2)]),
    (MatrixProduct(), [(1, 3, 4), (2, 4, 2)]),
    (Pooling("average", None), [(2, 3, 4)]),
    (Pooling("max", None), [(2, 3, 4)]),
    (Pooling("sum", 2, trained=True, coefficient=[2.0, 3.0], bias=[0.0, 1.0]), [(2, 6)]),
    *(
        (Pooling(method, (3, 2), (2, 1), padding=1, boundary=boundary, ceil_mode=ceil, dilation=(1, 2)), [(2, 6, 5)])
        for method, boundary, ceil in itertools.product(("average", "max", "sum"), PLAIN, (False, True))
    ),
]  # fmt: skip


def geometries() -> list[cm.ConvGeometry]:
    """Return layers of every boundary, stride, dilation and sharing, transposed and grouped, narrow and wide."""
    listed = []
    for boundary, stride, dilation, channels in itertools.product(PLAIN, (1, 2, 3), (1, 2), ((2, 3), (4, 6))):
        options: Any = {"stride": stride, "dilation": dilation, "boundary": boundary, "flip": stride == 2}
        options |= {"in_channels": channels[0], "out_channels": channels[1], "padding": ((2, 1), (0, 3))}
        listed.append(cm.ConvGeometry((5, 6), (3, 2), **options))
    for groups, (n_in, n_out), stride in itertools.product((2,), ((2, 2), (2, 6), (8, 12)), (1, 2)):
        listed.append(cm.ConvGeometry((7,), (3,), in_channels=n_in, out_channels=n_out, groups=groups, stride=stride))
    for n_in, n_out, stride, taps, padding in itertools.product((2, 4), (2, 6), (1, 2, 3), (1, 2, 4), (0, 1)):
        options = {"transposed": True, "stride": stride, "groups": 2, "padding": padding if taps > 2 else 0}
        listed.append(cm.ConvGeometry((3, 4), (taps, 2), in_channels=n_in, out_channels=n_out, **options))
    listed += [
        cm.ConvGeometry((4, 4), (1, 1), in_channels=5, out_channels=7),
        cm.ConvGeometry((6,), (3,), transposed=True, boundary="circular", padding=1),
        cm.ConvGeometry((5, 5), (2, 2), in_channels=2, out_channels=3, sharing="unshared"),
        cm.ConvGeometry((5, 5), (2, 2), sharing=(2, 2), padding=1),
        cm.ConvGeometry((6,), (3,), in_channels=2, out_channels=3, connections=[[1, 0], [1, 1], [0, 1]], padding=1),
        cm.ConvGeometry((3, 3), (7, 7), padding=6, boundary="reflect"),
    ]
    return listed


def test_operations_have_the_derivative_of_their_values() -> None:
    rng = np.random.default_rng(0)
    for operation, shapes in OPERATIONS:
        inputs = [rng.uniform(0.1, 0.9, shape) if "log" in repr(operation) else rng.standard_normal(shape) + 0.01
                  for shape in shapes]  # fmt: skip
        if isinstance(operation, Elementwise) and operation.name in ("acosh", "log", "sqrt", "reciprocal", "power"):
            inputs = [rng.uniform(0.5, 2, shape) + (operation.name == "acosh") for shape in shapes]
        if isinstance(operation, Elementwise) and operation.name in ("acos", "asin", "atanh", "tan"):
            inputs = [rng.uniform(-0.9, 0.9, shape) for shape in shapes]
        forward, backward = dense(operation, inputs)
        assert np.allclose(forward, backward, rtol=0, atol=1e-13 * max(abs(forward).max(), 1)), operation
        step, columns = 1e-6, []
        flat = np.concatenate([x.ravel() for x in inputs])
        ends = np.cumsum([x.size for x in inputs])[:-1]
        for j in range(len(flat)):
            values = []
            for sign in (1, -1):
                moved = flat.copy()
                moved[j] += sign * step
                parts = [p.reshape(1, *x.shape) for p, x in zip(np.split(moved, ends), inputs, strict=True)]
                values.append(operation.evaluate(parts).ravel())
            columns.append((values[0] - values[1]) / (2 * step))
        assert np.allclose(forward, np.array(columns).T, atol=1e-7), operation
        for _ in range(4):
            check_boxes(operation, inputs, rng)


def test_convolutions_of_all_kinds_multiply_by_their_matrix() -> None:
    rng = np.random.default_rng(1)
    for geometry in geometries():
        operation = Convolution(geometry, rng.standard_normal(geometry.weight_shape), np.ones(geometry.out_channels))
        shape = (geometry.in_channels, *geometry.input_shape)
        matrix = operation.affine([shape])[0].toarray()
        forward, backward = dense(operation, [np.zeros(shape)])
        assert np.allclose(forward, matrix, rtol=0, atol=1e-12), geometry
        assert np.allclose(backward, matrix, rtol=0, atol=1e-12), geometry
        for _ in range(4):
            check_boxes(operation, [np.zeros(shape)], rng)


def test_jacobians_of_random_networks_equal_pytorch() -> None:
    torch = pytest.importorskip("torch", reason="the oracle is PyTorch")
    for seed in SEEDS:
        network = random_network(seed)
        rng = np.random.default_rng(seed)
        x = rng.standard_normal(network.input_shape)
        linear = network.linearise(x)
        sample = torch.as_tensor(x[None]).requires_grad_()
        y = torch_values(network, sample)[network.outputs[0]]
        weights = rng.standard_normal((3, y.numel()))
        expected = []
        for row in weights:
            (gradient,) = torch.autograd.grad(y, sample, torch.as_tensor(row).reshape(y.shape), retain_graph=True)
            expected.append(gradient.numpy().ravel())
        product = linear.operator.rmatmat(weights.T).T
        scale = max(abs(np.array(expected)).max(), 1)
        if any(getattr(node.operation, "name", "") == "hard_sigmoid" for node in network):
            scale *= 1e4  # PyTorch's gradient has 1/6 in single precision
        assert abs(product - np.array(expected)).max() <= 1e-11 * scale, (seed, network.nodes)
        rows = linear.rows(0, linear.shape[0])
        assert abs(weights @ rows - np.array(expected)).max() <= 1e-11 * scale, (seed, network.nodes)


def test_rows_tangents_and_cotangents_are_one_matrix() -> None:
    for seed in SEEDS:
        network = random_network(seed + 1000)
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((1, *network.input_shape))
        linear = network.linearise(x)
        m, n = linear.shape
        u, v = rng.standard_normal((n, 2)), rng.standard_normal((m, 2))
        Ju, Jv = linear.operator @ u, linear.operator.T @ v
        scale = max(abs(Ju).max(), abs(Jv).max(), 1)
        assert np.allclose((Ju * v).sum(axis=0), (u * Jv).sum(axis=0), rtol=0, atol=1e-10 * scale * m), seed
        start, stop = sorted(int(i) for i in rng.integers(0, m + 1, 2))
        slab = linear.rows(start, stop)
        assert slab.shape == (stop - start, n), seed
        assert np.allclose(slab @ u, Ju[start:stop], rtol=0, atol=1e-11 * scale * n), (seed, network.nodes)
        assert slab.data.all(), seed
        assert slab.has_sorted_indices, seed
        if stop > start:
            again = sparse.csr_array((slab.data, slab.indices, slab.indptr), shape=slab.shape)
            assert again.has_canonical_format, seed


def test_identity_holds_in_the_linear_region() -> None:
    kept = 0
    for seed in SEEDS:
        network = random_network(seed, smooth=False)
        x = np.random.default_rng(seed).standard_normal(network.input_shape)
        linear = network.linearise(x)
        assert linear.exact, seed
        assert linear.inexact_nodes == (), seed
        y = x + 1e-7 * np.random.default_rng(seed + 1).standard_normal(x.shape)
        scale = max(abs(linear.value).max(), 1)
        assert np.allclose(linear.operator @ x.ravel() + linear.offset, linear.value.ravel(), atol=1e-12 * scale)
        error = abs(linear.operator @ y.ravel() + linear.offset - network(y[None]).ravel()).max()
        kept += error <= 1e-12 * scale  # a step may cross a kink, or leave a maximum that is attained twice
    assert kept >= 0.95 * len(SEEDS)


def test_smooth_networks_are_linear_to_first_order() -> None:
    network = Network([cm.ConvGeometry(6, 3, padding=1), Elementwise("sigmoid"), Elementwise("relu")])
    with pytest.raises(MissingWeightsError, match="node 'layer 1'"):
        network.linearise(np.zeros((1, 6)))
    nodes = [Node("x", Input((1, 6))), Node("s", Elementwise("sigmoid")), Node("p", Product(), ("s", "s"))]
    linear = Network(nodes).linearise(np.linspace(-1, 1, 6).reshape(1, 6))
    assert (linear.exact, linear.inexact_nodes) == (False, ("s", "p"))
    assert "first order" in repr(linear)
    expected = 2 * linear.value.ravel() * (1 - np.sqrt(linear.value.ravel()))
    assert np.allclose(linear.rows(0, 6).toarray(), np.diag(expected))


def test_kinks_have_the_slopes_of_pytorch() -> None:
    torch = pytest.importorskip("torch", reason="the oracle is PyTorch")
    names = ("relu", "leaky_relu", "abs", "hard_sigmoid", "hard_swish", "elu", "selu")
    functional = torch.nn.functional
    functions = (torch.relu, functional.leaky_relu, torch.abs, functional.hardsigmoid, functional.hardswish,
                 functional.elu, functional.selu)  # fmt: skip
    x = np.array([[-3.0, 0.0, 3.0]])
    for name, function in zip(names, functions, strict=True):
        sample = torch.as_tensor(x).requires_grad_()
        function(sample).sum().backward()
        network = Network([Node("x", Input(x.shape)), Elementwise(name)])
        slopes = network.linearise(x).operator.T @ np.ones(3)
        assert np.allclose(slopes, sample.grad.numpy().ravel(), rtol=1e-7, atol=0), name
    x = np.random.default_rng(0).integers(0, 2, (3, 7, 6)).astype(float)  # full of ties
    for window, stride, padding in itertools.product((2, 3), (1, 2), (0, 1)):
        sample = torch.as_tensor(x[None]).requires_grad_()
        y = functional.max_pool2d(sample, window, stride, padding)
        weights = np.random.default_rng(1).standard_normal(y.shape)
        y.backward(torch.as_tensor(weights))
        network = Network([Node("x", Input(x.shape)), Pooling("max", window, stride, padding)])
        assert np.allclose(network.linearise(x).operator.T @ weights.ravel(), sample.grad.numpy().ravel()), window


def test_float32_stays_float32() -> None:
    for seed in range(30):
        network = random_network(seed)
        x = np.random.default_rng(seed).standard_normal(network.input_shape)
        single, double = network.linearise(x.astype(np.float32)), network.linearise(x)
        vector = np.ones(single.shape[0])
        rows = single.rows(0, single.shape[0])
        assert {single.dtype, single.operator.dtype, rows.dtype, single.offset.dtype, single.value.dtype} == {
            np.dtype(np.float32)
        }, seed
        expected = double.operator.T @ vector
        product = single.operator.T @ vector
        assert product.dtype == np.float32, seed
        assert np.allclose(product, expected, rtol=1e-3, atol=1e-3 * max(abs(expected).max(), 1)), seed
    integers = network.linearise(np.ones(network.input_shape, int))
    assert integers.dtype == np.float64


def test_rows_read_only_their_part_of_the_network() -> None:
    rng = np.random.default_rng(0)
    g = cm.ConvGeometry((40, 40), (3, 3), padding="same")
    nodes: list[Any] = [Convolution(g, rng.integers(1, 10, (3, 3))) for _ in range(3)]  # whose sums are exact
    linear = Network(nodes).linearise(np.zeros((1, 40, 40)))
    slab = linear.rows(820, 822)  # pixels (20, 20) and (20, 21)
    assert np.array_equal(np.diff(slab.indptr), [49, 49])
    assert slab.indices.min() == 17 * 40 + 17
    (chunk,) = linear._derivatives.chunks(820, 822, 2**24)
    assert box_size(chunk[2].input_box) == 7 * 8
    whole = linear.rows(0, 1600)
    assert np.array_equal(whole[820:822].toarray(), slab.toarray())
    chunks = linear._derivatives.chunks(0, 1600, 2**24)
    assert [b for _, b, _ in chunks] == [*[a for a, _, _ in chunks[1:]], 1600]


def test_flat_boxes_hold_their_range() -> None:
    shape = (3, 2, 4)
    numbers = np.arange(24).reshape(shape)
    for start, stop in itertools.combinations(range(25), 2):
        inside = numbers[flat_box(shape, start, stop)].ravel()
        assert {start, stop - 1} <= set(inside.tolist())
        assert np.array_equal(inside, np.arange(inside[0], inside[-1] + 1))
    assert flat_box((), 0, 1) == ()


def test_any_node_can_be_linearised_and_the_input_is_the_identity() -> None:
    network = random_network(3)
    x = np.random.default_rng(3).standard_normal(network.input_shape)
    for node in network:
        linear = network.linearise(x, name=node.name)
        assert linear.value.shape == node.output_shape
        assert np.allclose(linear.value, network.values(x[None], [node.name])[node.name][0])
    assert np.array_equal(network.linearise(x, name=network.input.name).rows(0, 2).toarray(), np.eye(2, x.size))


def test_outputs_and_inner_values_may_have_no_axes() -> None:
    total = [Input((4,)), Reduction("sum", (0,)), Node("one", reshape(())), Node("square", Product(), ("one",) * 2)]
    x = np.arange(4.0)
    for name, row, offset in (("one", np.ones(4), 0.0), ("square", np.full(4, 12.0), -36.0)):
        linear = Network([*total, Node("back", reshape((1,)))]).linearise(x, name)
        assert linear.value.shape == ()
        np.testing.assert_array_equal(linear.rows(0, 1).toarray(), row[None])
        np.testing.assert_array_equal(linear.operator @ np.eye(4), row[None])
        np.testing.assert_array_equal(linear.offset, [offset])
    np.testing.assert_array_equal(Network([*total, reshape((1,))]).linearise(x).rows(0, 1).toarray(), [[12.0] * 4])


def test_operator_accepts_batches_and_complex_vectors() -> None:
    network = Network([Convolution(cm.ConvGeometry(4, 2), [1.0, -1.0], [10.0]), Elementwise("relu")])
    linear = network.linearise(np.arange(4.0)[::-1].reshape(1, 4))
    J = linear.rows(0, 3).toarray()
    assert np.array_equal(linear.operator @ (1j * np.eye(4)), 1j * J)
    assert (linear.operator @ np.zeros((4, 0))).shape == (3, 0)
    assert np.array_equal(linear.operator.H @ np.eye(3), J.T)
    for array in (linear.value, linear.offset):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


class Cube(cm.network.Operation):
    kind = "cube"

    def output_shape(self, input_shapes: Any) -> Any:
        return input_shapes[0]

    def evaluate(self, inputs: Any) -> Any:
        return inputs[0] ** 3

    def reads(self, outputs: Any, input_shapes: Any) -> Any:
        return [outputs]


class KnownCube(Cube):
    def tangent(self, inputs: Any, tangents: Any) -> Any:
        return 3 * inputs[0] ** 2 * tangents[0]

    def cotangent(self, inputs: Any, cotangents: Any) -> Any:
        return [3 * inputs[0] ** 2 * cotangents]


def test_new_operations_need_two_methods() -> None:
    x = np.arange(6.0).reshape(2, 3)
    start = Node("x", Input((2, 3)))
    with pytest.raises(TypeError, match=r"node 'cube 2': the derivative of cube is not known; .* of Cube"):
        Network([start, Cube()]).linearise(x)
    linear = Network([start, KnownCube()]).linearise(x)
    assert np.array_equal(linear.rows(2, 5).toarray(), np.diag(3 * x.ravel() ** 2)[2:5])
    assert linear.inexact_nodes == ("cube 2",)


def test_what_cannot_be_linearised_is_refused_with_names_and_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    start = Node("x", Input((2, 3)))
    network = Network([start, Scale([1.0, 2.0])])
    with pytest.raises(ValueError, match=r"shape \(2, 3\), but was given an array of shape \(2, 2, 3\)"):
        network.linearise(np.zeros((2, 2, 3)))
    with pytest.raises(TypeError, match="complex128"):
        network.linearise(np.zeros((2, 3), complex))
    with pytest.raises(KeyError, match="no node 'y'"):
        network.linearise(np.zeros((2, 3)), name="y")
    with pytest.raises(UnknownOperatorError, match="node 'Foo 2': the operator Foo is not known"):
        Network([start, Opaque("Foo", (4,))]).linearise(np.zeros((2, 3)))
    with pytest.raises(MissingWeightsError, match="node 'dense 2'"):
        Network([start, FullyConnected(6, 2)]).linearise(np.zeros((2, 3)))
    own = Node("own", Elementwise("own", function=np.tanh))
    with pytest.raises(MissingWeightsError, match="node 'own': the slope of 'own' is not known"):
        Network([start, own]).linearise(np.zeros((2, 3)))
    branch = Network([start, Node("foo", Opaque("Foo", (4,)), ("x",)), Node("good", Elementwise("relu"), ("x",))])
    assert branch.linearise(np.ones((2, 3))).exact  # the output does not depend on the unknown operator
    linear = network.linearise(np.zeros((2, 3)))
    for rows in ((-1, 2), (0, 7), (4, 3)):
        with pytest.raises(ValueError, match=rf"rows=\({rows[0]}, {rows[1]}\) must satisfy 0 <= start <= stop <= 6"):
            linear.rows(*rows)
    with pytest.raises(TypeError, match=r"rows\[0\]"):
        linear.rows(cast("Any", 0.5), 2)
    with pytest.raises(ValueError, match=r"6 entries, .* \(2, 3\), but was given an array of shape \(5,\)"):
        linear.operator @ np.zeros(5)
    with pytest.raises(ValueError, match=r"6 entries, .* shape \(7, 2\)"):
        linear.operator.rmatmat(np.zeros((7, 2)))
    large = Network([Node("x", Input((1, 700))), FullyConnected(700, 900, np.ones((900, 700)), np.ones(900))])
    linear = large.linearise(np.zeros((1, 700)))
    monkeypatch.setattr(memory, "available_memory", lambda: 2**20)
    with pytest.raises(memory.MatrixTooLargeError, match="a slab of 900 rows of the Jacobian, with up to 630000"):
        linear.rows(0, 900)


def test_smooth_functions_are_exact_where_they_are_affine() -> None:
    net = Network([Input((4,)), Elementwise("hard_swish"), Elementwise("elu")])
    flat, curved = np.array([4.0, 5.0, 3.0, 6.0]), np.array([4.0, 5.0, 2.0, -6.0])
    assert net.linearise(flat).exact
    assert net.linearise(curved).inexact_nodes == ("elementwise 2",)
    x = flat + np.array([0.5, -0.5, 1.0, 2.0])
    linear = net.linearise(flat)
    np.testing.assert_allclose(linear.operator @ x + linear.offset, net(x[None])[0], rtol=1e-15)


def test_a_linearisation_and_its_copies_keep_the_sample() -> None:
    network = Network([Convolution(cm.ConvGeometry(4, 2), [1.0, -1.0], [10.0]), Elementwise("tanh")])
    sample = np.array([[1.0, 2.0, 4.0, 20.0]])
    expected = network.linearise(sample.copy()).offset
    linear = network.linearise(sample)
    sample[:] = 7  # which is not that of the linearisation
    for made in (linear, copy.copy(linear), copy.deepcopy(linear), pickle.loads(pickle.dumps(linear))):
        held = [made._sample, *(array for point in made._derivatives._points.values() for array in point)]
        assert len(held) == 3
        assert not any(array.flags.writeable for array in held)
        assert np.array_equal(made.offset, expected)
