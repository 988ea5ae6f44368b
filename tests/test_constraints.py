"""Networks as constraints: normal forms, bounds, mixed-integer programs and MPS files."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.optimize import Bounds, milp

import convmatrix as cm
from convmatrix.constraints import encode, normal_form
from convmatrix.constraints.affine_maps import affine_bounds
from convmatrix.constraints.equation_builder import EquationBuilder
from convmatrix.constraints.mps import write_mps
from convmatrix.constraints.normal_form import COMPLEMENT, MAXIMUM, MINIMUM
from convmatrix.constraints.relaxation import LinearSystem, chords
from convmatrix.constraints.tightening import tighten
from convmatrix.network import (
    Addition,
    Convolution,
    Elementwise,
    Extremum,
    FullyConnected,
    Input,
    Network,
    Node,
    Opaque,
    ParametricReLU,
    PatternMap,
    Pooling,
    Product,
    Reduction,
    Scale,
    Softmax,
    gather,
    pad,
)
from convmatrix.progress import reporting
from tests.cases import for_each
from tests.random_constraints import check_bounds, check_case, check_optimum, sample
from tests.random_networks import random_network
from tests.refusals import refused
from tests.test_onnx import CASES, Case

floats = st.floats(-1e6, 1e6, allow_subnormal=True)


def fractions(array: Any) -> Any:
    return np.vectorize(lambda value: Fraction(float(value)), otypes=[object])(np.asarray(array))


def small_network(rng: np.random.Generator) -> Network:
    """Return a convolution, a rectifier, a maximum and a dense layer, with few phases."""
    geometry = cm.ConvGeometry((4, 4), (2, 2), out_channels=2, stride=2, padding=((0, 1), (1, 0)))
    kernel = rng.standard_normal(geometry.weight_shape)
    dense = rng.standard_normal((3, 2))
    layers = [Convolution(geometry, kernel, rng.standard_normal(2)), Elementwise("relu"), Pooling("max", 2)]
    return Network([*layers, FullyConnected(2, 3, dense, rng.standard_normal(3))])


# --- normal forms -----------------------------------------------------------------------------------------------------


@for_each("seed", range(25))
def test_values_and_exact_values(seed: int) -> None:
    """All values are those of the network; in fractions they are those of its float64 weights, within all bounds."""
    network, rng = random_network(seed, smooth=False), np.random.default_rng(seed)
    form = normal_form(network, -1, 2)
    assert form.equations.has_canonical_format
    assert form.equations.data.all()
    x = sample(form, 6, rng).reshape(-1, *network.input_shape)
    completed = form.complete(x)
    values = network.values(x)
    for name, places in form.variables.items():
        scale = max(1.0, float(np.abs(values[name]).max(initial=0)))
        np.testing.assert_allclose(completed[:, places], values[name].reshape(len(x), -1), 0, 1e-11 * scale)
    exact = form.complete(fractions(x[:2]))
    product = np.zeros((len(form.right), 2), object)
    coordinates = form.equations.tocoo()
    for row, column, weight in zip(coordinates.row, coordinates.col, coordinates.data, strict=True):
        product[row] += Fraction(float(weight)) * exact[:, column]
    assert (product == fractions(form.right)[:, None]).all()
    assert (exact[:, form.post] == np.maximum(exact[:, form.pre], 0)).all()
    assert (exact >= form.lower).all()
    assert (exact <= form.upper).all()


def test_variables_are_defined_in_order() -> None:
    form = normal_form(small_network(np.random.default_rng(0)), -1, 1)
    known = np.zeros(form.n_variables, bool)
    known[: form.n_inputs] = True
    for kind, start, stop in form.order.tolist():
        if kind:
            assert known[form.pre[start:stop]].all()
            known[form.post[start:stop]] = True
            continue
        for row in range(start, stop):
            read = form.equations.indices[slice(*form.equations.indptr[row : row + 2])]
            assert set(read[~known[read]]) == {form.defines[row]}
            assert form.equations[row, form.defines[row]] == -1
        known[form.defines[start:stop]] = True
    assert known.all()


@for_each("boundary", ["circular", "reflect", "symmetric", "replicate"])
def test_weights_are_never_added_with_rounding(boundary: Any) -> None:
    """Where taps meet on a sample, the sum of their weights would be rounded: copies keep them apart."""
    geometry = cm.ConvGeometry(3, 5, padding=3, boundary=boundary)
    weight = np.array([0.1, 0.2, 0.3, 0.7, 1e-9])
    form = normal_form(Network([Convolution(geometry, weight)]), -1, 1)
    assert len(form.right) > geometry.n_out
    x = np.array([[Fraction(1, 3), Fraction(5, 7), Fraction(-2, 9)]])
    pattern, expected = geometry.pattern(), np.zeros(geometry.n_out, object)
    for row, column, tap in zip(pattern.rows, pattern.cols, pattern.weight_index, strict=True):
        expected[row] += Fraction(weight[tap]) * x[0, column]
    assert (form.complete(x)[form.variables[form.output]] == expected).all()
    whole = normal_form(Network([Convolution(geometry, [1, 2, 3, 4, 5])]), -1, 1)
    assert len(whole.right) == geometry.n_out  # sums of integers are exact


def test_patterns_and_repeated_entries() -> None:
    """An entry that is read twice is one variable; weights are added only if the sum is exact."""
    weight = np.array([[0.1, 0.2, 0.25]])
    network = Network([Input((2,)), gather(0, [0, 0, 1]), FullyConnected(3, 1, weight, False)])
    form = normal_form(network, 0, 1)
    assert form.n_variables == 4  # two inputs, a copy, the sum
    exact = network.until("rearrangement 2")
    assert normal_form(exact, 0, 1).n_variables == 2
    halves = Network([Input((2,)), gather(0, [0, 0, 1]), FullyConnected(3, 1, [[0.5, 0.25, 1]], False)])
    assert normal_form(halves, 0, 1).equations.toarray().tolist() == [[0.75, 1, -1]]
    pattern = cm.ConvGeometry(3, 2).pattern()
    form = normal_form(Network([PatternMap(pattern, [0.5, 3])]), 0, 1)
    np.testing.assert_array_equal(form.equations.toarray()[:, :3], pattern.matrix([0.5, 3]).toarray())


def test_rearrangements_share_variables_and_constants_are_variables() -> None:
    network = Network([Input((2, 3)), pad([(0, 0), (1, 1)], "zero", 1.5), Elementwise("relu")])
    form = normal_form(network, 1, 2)
    padded = form.variables["rearrangement 2"].reshape(2, 5)
    assert padded[:, 1:-1].ravel().tolist() == list(range(6))
    assert set(padded[:, [0, -1]].ravel()) == {6}
    assert (form.lower[6], form.upper[6]) == (1.5, 1.5)
    zero = Network([Input((1, 2)), pad([(0, 0), (1, 0)]), Convolution(cm.ConvGeometry(3, 3), [2, 3, 4])])
    assert normal_form(zero, 0, 1).equations.toarray().tolist() == [[0, 0, -1, 0], [3, 4, 0, -1]]


def test_averages_have_the_entries_of_the_matrix_and_trained_factors_are_apart() -> None:
    pooling = Pooling("average", 3, trained=True, coefficient=[0.3], bias=[0.7])
    network = Network([Input((1, 3)), pooling])
    form = normal_form(network, 0, 1)
    assert form.equations.toarray().tolist() == [[1 / 3] * 3 + [-1, 0], [0, 0, 0, 0.3, -1]]
    assert form.right.tolist() == [0, -0.7]


FUNCTIONS = [
    ("relu", {}),
    ("abs", {}),
    ("leaky_relu", {"slope": 0.1}),
    ("leaky_relu", {"slope": 2.0}),
    ("clip", {"low": -0.3, "high": 0.7}),
    ("clip", {"low": -math.inf, "high": 0.7}),
    ("clip", {"low": 0.2, "high": math.inf}),
    ("clip", {"low": 1.0, "high": -1.0}),
    ("hard_sigmoid", {}),
    ("hard_sigmoid", {"alpha": -0.7, "beta": 0.1}),
    ("soft_shrink", {"threshold": 0.4}),
    ("threshold", {"threshold": 0.3, "value": 0.3}),
    ("identity", {}),
]


@for_each(("name", "parameters"), FUNCTIONS)
def test_functions(name: str, parameters: dict[str, float]) -> None:
    """Values are those of the function, and intervals give its own bounds, at its kinks and far from them."""
    network = Network([Input((40,)), Elementwise(name, parameters)])
    low, high = np.linspace(-3, 2, 40), np.linspace(-2.5, 4, 40)
    form = normal_form(network, low, high)
    steps = np.linspace(0, 1, 1001)[:, None]
    x = low + steps * (high - low)
    y, places = network(x), form.variables[form.output]
    np.testing.assert_allclose(form.complete(x)[:, places], y, 0, 1e-12)
    assert (form.lower[places] <= y.min(axis=0) + 1e-12).all()
    assert (form.upper[places] >= y.max(axis=0) - 1e-12).all()
    if name != "abs":
        np.testing.assert_allclose(form.lower[places], y.min(axis=0), 0, 2e-2)
        np.testing.assert_allclose(form.upper[places], y.max(axis=0), 0, 2e-2)


def test_maxima_and_minima() -> None:
    """They have the bounds of maxima and minima, and windows that overlap share pairs."""
    rng = np.random.default_rng(0)
    low = rng.standard_normal((2, 5, 5))
    high = low + rng.random(low.shape)
    pooled = Node("max", Pooling("max", 3, 2, padding=1), ("x",))
    small = Network([Node("x", Input((2, 5, 5))), pooled])
    form = normal_form(small, low, high)
    for values, bound in ((low, form.lower), (high, form.upper)):
        np.testing.assert_array_equal(bound[form.variables["max"]], small(values[None]).ravel())
    assert len(form.pre) == 2 * (20 + 12)  # windows of 2, 3 and 2 samples: 4 pairs per line, along both axes
    minimum = Network([Node("x", Input((2, 5, 5))), Node("smallest", Reduction("min", (0, 2)), ("x",))])
    form = normal_form(minimum, low, high)
    for values, bound in ((low, form.lower), (high, form.upper)):
        np.testing.assert_array_equal(bound[form.variables["smallest"]], minimum(values[None]).ravel())
    assert set(form.extrema[:, 1]) == {MINIMUM}
    both = Network([Node("x", Input((2,))), Node("y", Scale([-1.0, 2.0]), ("x",)), Node("z", Extremum(), ("x", "y"))])
    form = normal_form(both, -1, 1)
    assert form.complete([-0.5, 0.25])[form.variables["z"]].tolist() == [0.5, 0.5]
    leaky = normal_form(Network([Input((3,)), ParametricReLU([0.5])]), -1, 1)
    assert set(leaky.extrema[:, 1]) == {COMPLEMENT}
    assert MAXIMUM not in leaky.extrema[:, 1]


def test_exact_values_of_integers() -> None:
    """They are int64 where they fit, and otherwise objects; fractions of weights stay fractions."""
    network = Network([Input((2,)), FullyConnected(2, 1, [[3, -2]], [1]), Elementwise("relu")])
    form = normal_form(network, -10, 10)
    assert form.complete([4, 1]).tolist() == [4, 1, 11, 11]
    assert form.complete(np.array([[4, 1], [0, 9]])).dtype == np.int64
    assert form.complete([2**60, 1]).tolist() == [2**60, 1, 3 * 2**60 - 1, 3 * 2**60 - 1]
    third = normal_form(Network([Input((1,)), Scale([0.1])]), 0, 1)
    assert third.complete([3])[1] == 3 * Fraction(0.1)
    with refused(ValueError, r"input has shape (2,), but was given an array of shape (3,)"):
        form.complete([1, 2, 3])


# --- refusals ---------------------------------------------------------------------------------------------------------


@for_each(
    ("operation", "message"),
    [
        (Elementwise("sigmoid"), "node 'n': the function 'sigmoid'"),
        (Elementwise("sign"), "node 'n': the function 'sign'"),
        (Elementwise("mine", {}, np.cos), "node 'n': the function 'mine'"),
        (Elementwise("threshold"), ""),
        (Elementwise("threshold", {"threshold": 1.0}), "node 'n': threshold=1.0 with value=0.0"),
        (Elementwise("soft_shrink", {"threshold": -1.0}), "node 'n': soft_shrink with threshold=-1.0"),
        (Elementwise("leaky_relu", {"slope": math.nan}), "node 'n': slope=nan"),
        (Softmax(0), "node 'n': softmax is not piecewise linear ... name='x'"),
        (FullyConnected(2, 2), "node 'n': the dense layer has no weights"),
        (Scale("channel"), "node 'n': the scale has no values"),
        (FullyConnected(2, 1, [[1.0, math.inf]], False), "node 'n': weight is not finite"),
        (FullyConnected(2, 1, [[2**60 + 1, 1]], False), "node 'n': weight is not finite or not exactly float64"),
        (Opaque("Loop", (2,)), "node 'n':"),
    ],
)
def test_what_is_not_piecewise_linear_is_refused(operation: Any, message: str) -> None:
    network = Network([Node("x", Input((2,))), Node("n", operation, ("x",))])
    if not message:
        assert normal_form(network, -1, 1)
        return
    with refused(ValueError, message):
        normal_form(network, -1, 1)
    assert normal_form(network, -1, 1, name="x").output == "x"


def test_products_are_refused() -> None:
    network = Network([Node("x", Input((2,))), Node("n", Product(), ("x", "x"))])
    with refused(ValueError, "node 'n': product"):
        encode(network, 0, 1)


def test_boxes_that_are_wrong() -> None:
    network = Network([Input((2, 2)), Elementwise("relu")])
    with refused(ValueError, "the box is empty: at (1, 0) lower is 3.0, but upper is 2.0"):
        normal_form(network, [[0, 0], [3, 0]], 2)
    with refused(ValueError, r"upper is inf at (0, 0)"):
        normal_form(network, 0, np.inf)
    with refused(ValueError, r"lower has shape (3,), which does not broadcast to the input's shape (2, 2)"):
        normal_form(network, [0, 0, 0], 1)
    with refused(TypeError, "lower must hold real numbers, but has dtype complex128"):
        normal_form(network, 1j, 1)
    with refused(ValueError, "tighten 'best' is unknown"):
        encode(network, 0, 1, tighten="best")  # type: ignore[arg-type]
    with refused(ValueError, r"upper is 9007199254740993 at (1, 0), which float64 rounds to 9007199254740992; give"):
        normal_form(network, 0, np.array([[1], [2**53 + 1]]))
    with refused(ValueError, r"lower is -9223372036854775807 at (0, 0), which float64 rounds to -9.22337203"):
        normal_form(network, -(2**63) + 1, 0)
    with refused(ValueError, r"upper is 18446744073709551615 at (0, 0)"):
        normal_form(network, 0, np.uint64(2**64 - 1))
    if np.finfo(np.longdouble).eps < np.finfo(np.float64).eps:
        with refused(ValueError, r"which float64 rounds to 1; give"):
            normal_form(network, 0, 1 + np.finfo(np.longdouble).eps)
    assert normal_form(network, -(2**63), np.uint64(2**63)).upper[-1] == 2.0**63
    huge = Network([Input((1,)), Scale([1e308]), Node("n", Scale([1e308]))])
    with refused(ValueError, "node 'n' have no finite bounds"):
        encode(huge, 0, 1)


def test_large_networks_are_refused_before_they_are_built() -> None:
    layer = FullyConnected(1, 1, [[1.0]], False)
    wide = cm.ConvGeometry((30000, 30000), (9, 9), in_channels=16, out_channels=16, groups=1)
    network = Network([Input((16, 30000, 30000)), Convolution(wide, np.zeros(wide.weight_shape))])
    with refused(cm.MatrixTooLargeError, "equations of network"):
        normal_form(network, 0, 1)
    assert normal_form(Network([layer]), 0, 1).n_variables == 1


# --- constants of imported models -------------------------------------------------------------------------------------


def exact_outputs(network: Network, x: Any) -> list[Any]:
    """Return the outputs of the normal form at an input, in rational arithmetic."""
    form = normal_form(network, -100, 100)
    return list(map(Fraction, form.complete(np.asarray(x, object))[form.variables[form.output]].ravel()))


def test_bias_more_exact_than_the_weights() -> None:
    """A bias in float64 is not rounded to the float32 of the weights."""
    weight, bias = np.ones((1, 1), np.float32), np.array([0.1])
    kernel = weight.reshape(1, 1, 1)
    convolutions = [
        Convolution(cm.ConvGeometry((1,), (1,), boundary=boundary), kernel, bias) for boundary in ("zero", "circular")
    ]
    for layer in (FullyConnected(1, 1, weight, bias), *convolutions):
        shape = (1,) if isinstance(layer, FullyConnected) else (1, 1)
        network = Network([Input(shape), layer])
        assert exact_outputs(network, np.zeros(shape, int)) == [Fraction(0.1)]
        assert network.affine(network.outputs[0], np.float64)[1] == [0.1]


def test_constants_of_onnx_models_are_not_rounded_to_float32() -> None:
    onnx = pytest.importorskip("onnx")
    node = onnx.helper.make_node
    f = np.float32
    gamma, beta, mean, third, seventh = (np.array([v], f) for v in (0.3, 0.7, 0.1, 0.3, 0.7))
    norm = {"g": gamma, "b": beta, "m": mean}
    a, b, c, d, e = (Fraction(float(v)) for v in (f(0.1), f(0.3), f(0.7), 0.3, 1 / 49))
    alpha = {"W": np.array([[0.3]], f), "B": seventh}
    batch_norm = [node("BatchNormalization", ["x", "g", "b", "m", "v"], ["y"], epsilon=0.0)]
    cases: list[tuple[list[Any], dict[str, Any], int, Fraction]] = [
        ([node("Div", ["x", "c"], ["y"])], {"c": np.array(49, f)}, 49, 49 * e),
        ([node("Div", ["x", "c"], ["y"])], {"c": np.array(0.125, f)}, 49, Fraction(392)),
        (batch_norm, {**norm, "v": np.array([0.25], f)}, 1, (1 - a) * 2 * b + c),
        (batch_norm, {**norm, "g": np.ones(1, f), "b": 0 * beta, "m": 0 * mean, "v": np.array([2401], f)}, 49, 49 * e),
        ([node("Gemm", ["x", "W"], ["y"], alpha=0.1)], {"W": alpha["W"]}, 1, a * b),
        ([node("Gemm", ["x", "W"], ["y"], alpha=0.1)], {"W": np.array([[0.3]])}, 1, a * d),
        ([node("Gemm", ["x", "W", "B"], ["y"], alpha=0.1, beta=0.1)], alpha, 1, a * b + a * c),
        ([node("Sum", ["x", "B", "C"], ["y"])], {"B": third, "C": seventh}, 0, b + c),
    ]
    for nodes, constants, x, expected in cases:
        double = any(array.dtype == np.float64 for array in constants.values())
        kind = onnx.TensorProto.DOUBLE if double else onnx.TensorProto.FLOAT
        values = [onnx.helper.make_tensor_value_info(name, kind, [1, 1]) for name in "xy"]
        stored = [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()]
        graph = onnx.helper.make_graph(nodes, "graph", values[:1], values[1:], stored)
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
        network = Network.from_onnx(model)
        assert exact_outputs(network, [x]) == [expected], nodes
        assert network(np.array([[x]], np.float32)).dtype == np.float32


def test_constants_of_torch_models_are_not_rounded_to_float32() -> None:
    torch = pytest.importorskip("torch")
    a, b, c = (Fraction(float(np.float32(v))) for v in (0.1, 0.3, 0.7))

    class Shifted(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.norm = torch.nn.BatchNorm1d(1, eps=0.0)
            self.norm.weight.data[:], self.norm.bias.data[:] = 0.3, 0.7
            self.norm.running_mean[:], self.norm.running_var[:] = 0.1, 9.0
            self.register_buffer("step", torch.tensor([0.7]))
            self.register_buffer("size", torch.tensor([49.0]))

        def forward(self, x: Any) -> Any:
            return torch.add(self.norm(x) / self.size, self.step, alpha=3)

    network = Network.from_torch(Shifted().eval(), (1,))
    scale = float(b) / 3
    shift = float(c) - float(a) * scale
    assert exact_outputs(network, [1]) == [(Fraction(scale) + Fraction(shift)) * Fraction(1 / 49) + 3 * c]


# --- bounds -----------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(floats, floats, floats), min_size=1, max_size=6), floats)
@settings(max_examples=60)
def test_affine_bounds_are_not_too_narrow(terms: list[tuple[float, float, float]], constant: float) -> None:
    weights = np.array([weight for weight, _, _ in terms])
    ends = np.sort(np.array([[a, b] for _, a, b in terms]), axis=1)
    low, high = affine_bounds(sparse.csr_array(weights[None]), np.array([constant]), *ends.T)
    pairs = list(zip(weights, ends, strict=True))
    exact = [
        sum((choose(Fraction(w) * Fraction(e) for e in pair) for w, pair in pairs), Fraction(constant))
        for choose in (min, max)
    ]
    size = sum((abs(Fraction(w)) * max(map(abs, pair)) for w, pair in pairs), abs(Fraction(constant)))
    assert exact[0] - Fraction(size) * Fraction(1e-14) - Fraction(1e-300) <= low[0] <= exact[0]
    assert exact[1] <= high[0] <= exact[1] + Fraction(size) * Fraction(1e-14) + Fraction(1e-300)


def test_affine_bounds_of_integers_are_exact() -> None:
    matrix = sparse.csr_array([[3.0, 0.0, 0.5], [0.1, 0.0, 0.0], [0.0, -1.0, 0.0]])
    low, high = affine_bounds(matrix, np.array([1.0, 0, 0]), np.array([-1.0, 0, 2]), np.array([1.0, 0.3, 2]))
    assert (low[0], high[0], low[2], high[2]) == (-1, 5, -0.3, 0)
    assert low[1] < -0.1
    assert high[1] > 0.1
    rows = affine_bounds(sparse.csr_array([[1e300, 1e300]]), np.zeros(1), np.full(2, -1e300), np.full(2, 1e300))
    assert np.isneginf(rows[0]).all()
    assert np.isposinf(rows[1]).all()


@given(st.floats(-1e9, -1e-300), st.floats(1e-300, 1e9))
@settings(max_examples=60)
def test_chords_are_above_rectifiers(lower: float, upper: float) -> None:
    (slope,), (height,) = chords(np.array([lower]), np.array([upper]))
    assert Fraction(slope) * Fraction(lower) + Fraction(height) >= 0
    assert Fraction(slope) * Fraction(upper) + Fraction(height) >= Fraction(upper)
    assert height <= abs(lower) * (1 + 1e-12) + 1e-12 * upper


@for_each("seed", range(8))
def test_bounds_by_any_multipliers_hold(seed: int) -> None:
    """The bound is at most the exact value of the formula, and close to it if multipliers are small integers."""
    rng = np.random.default_rng(seed)
    m, n, k = 4, 5, 3
    matrix = rng.standard_normal((m, n))
    lower, upper = np.full(n, -0.7), np.full(n, 1.1)
    row_lower = np.where(rng.random(m) < 0.5, -np.inf, -0.3)
    row_upper = np.where(np.isinf(row_lower), 0.9, np.where(rng.random(m) < 0.5, np.inf, 0.9))
    objectives, y = rng.standard_normal((n, k)), rng.standard_normal((m, k)) * 1e3
    found = LinearSystem(sparse.csr_array(matrix), row_lower, row_upper, lower, upper).bounds(objectives, y)
    for column in range(k):
        total = Fraction(0)
        multipliers = []
        for row, value in enumerate(y[:, column]):
            side = row_lower[row] if value > 0 else row_upper[row]
            multipliers.append(Fraction(0) if np.isinf(side) else Fraction(value))
            total += 0 if np.isinf(side) else Fraction(value) * Fraction(side)
        for place in range(n):
            rest = Fraction(objectives[place, column])
            rest -= sum(w * Fraction(a) for w, a in zip(multipliers, matrix[:, place], strict=True))
            total += min(rest * Fraction(lower[place]), rest * Fraction(upper[place]))
        assert total - Fraction(1e-8) <= found[column] <= total


def test_multipliers_that_overflow_give_no_bound() -> None:
    system = LinearSystem(sparse.csr_array([[1e200, -1e200]]), np.zeros(1), np.zeros(1), -np.ones(2), np.ones(2))
    assert np.isneginf(system.bounds(np.ones((2, 1)), np.full((1, 1), 1e200))).all()


@for_each("seed", [5, 11, 14, 16, 17])
def test_bounds_contain_values(seed: int) -> None:
    assert check_bounds(seed, 1000)["linear"] == 1000


def test_substitution_and_linear_programs_tighten() -> None:
    """On a dense network both gain, and the linear programs are at least as good; progress is told."""
    rng = np.random.default_rng(1)
    sizes, layers = (4, 8, 8, 2), []
    for ins, outs in pairwise(sizes):
        layers += [
            FullyConnected(ins, outs, rng.standard_normal((outs, ins)), rng.standard_normal(outs)),
            Elementwise("relu"),
        ]
    form = normal_form(Network([Input((4,)), *layers[:-1]]), -1, 1)
    told: list[int] = []
    found = {name: tighten(form, name) for name in ("interval", "symbolic")}  # type: ignore[arg-type]
    with reporting(lambda done, of, step: told.append(of - done), "bounds"):
        found["linear"] = tighten(form, "linear")
    places = form.variables[form.output]
    widths = [float((upper - lower)[places].sum()) for lower, upper in found.values()]
    assert widths[0] > 1.2 * widths[1] > 1.2 * widths[2]
    assert told[-1] == 0


# --- mixed-integer programs -------------------------------------------------------------------------------------------


@for_each("case", [case for case in CASES if case.output.size < 5000], ids=lambda case: case.name)
def test_cases_of_onnx(case: Case) -> None:
    assert check_case(case, 2)


@for_each("seed", [0, 5, 14, 24, 33, 40, 48, 63, 87])
def test_optima(seed: int) -> None:
    """They are those of enumeration and are attained; networks with many phases are left to the command."""
    check_optimum(seed)


def solve(constraints: Any, objective: Any) -> Any:
    options = {"constraints": constraints.constraints(), "bounds": constraints.bounds}
    return milp(objective, **options, integrality=constraints.integrality)


def test_constraints_of_a_network() -> None:
    """Points are feasible exactly, one phase is 0 or 1, and the optimum is attained by the network."""
    rng = np.random.default_rng(3)
    network = small_network(rng)
    constraints = encode(network, -1, 1)
    x = rng.uniform(-1, 1, (20, 1, 4, 4))
    points = constraints.complete(fractions(x))
    rows = constraints.A.tocoo()
    product = np.zeros((len(constraints.lower), 20), object)
    for row, column, weight in zip(rows.row, rows.col, rows.data, strict=True):
        product[row] += Fraction(float(weight)) * points[:, column]
    assert (product >= constraints.lower[:, None]).all()
    assert (product <= constraints.upper[:, None]).all()
    assert (points >= constraints.bounds.lb).all()
    assert (points <= constraints.bounds.ub).all()
    assert constraints.integrality.sum() == len(constraints.rectifiers) > 0
    assert set(points[:, constraints.integrality == 1].ravel()) == {0, 1}
    solved = solve(constraints, constraints.objective("dense 4", [1, -2, 0.5]))
    best = solved.x[constraints.variables["input"]]
    assert best.shape == (1, 4, 4)
    assert abs(network(best[None])[0] @ [1, -2, 0.5] - solved.fun) < 1e-6
    with refused(KeyError, "no node 'dense 9'"):
        constraints.objective("dense 9", 1)


def test_arguments_that_nothing_reads_are_free() -> None:
    """Unless another node or the output reads them."""
    off = [Node("x", Input((1,))), Node("s", Scale([1.0], [-3.0]), ("x",)), Node("r", Elementwise("relu"), ("s",))]
    constraints = encode(Network(off), -1, 1)
    assert np.isinf(constraints.bounds.ub[constraints.variables["s"]]).all()
    assert constraints.form.upper[constraints.variables["s"]] == -2
    assert constraints.bounds.ub[constraints.variables["r"]] == 0
    sums = encode(Network([*off, Node("sum", Addition(), ("s", "r"))]), -1, 1)
    assert sums.bounds.ub[sums.variables["s"]] == -2


# --- MPS files --------------------------------------------------------------------------------------------------------


def read_mps(path: Path) -> dict[str, Any]:
    """Read a file in the free MPS format, by the format's own rules, as arrays for milp."""
    section, kinds, columns, entries, right, integer, bounds, inside = "", {}, [], [], {}, [], {}, False
    markers: set[str] = set()
    for line in path.read_text().splitlines():
        if not line.startswith(" "):
            section = line.split()[0]
            continue
        words = line.split()
        if section == "ROWS":
            kinds[words[1]] = words[0]
        elif section == "COLUMNS" and "'MARKER'" in line:
            name, marker, kind = words  # as GLPK wants it: a name that no other line has, and the two keywords
            assert (marker, kind) == ("'MARKER'", "'INTEND'" if inside else "'INTORG'"), line
            assert name not in markers, line
            markers.add(name)
            inside = not inside
        elif section == "COLUMNS":
            assert len(words) == 3, line
            if words[0] not in columns:
                columns.append(words[0])
                integer.append(inside)
            entries += [(words[i], words[0], float(words[i + 1])) for i in range(1, len(words), 2)]
        elif section == "RHS":
            right[words[1]] = float(words[2])
        elif section == "BOUNDS":
            low, high = bounds.get(words[2], (0.0, math.inf))
            value = float(words[3]) if len(words) > 3 else 0.0
            bounds[words[2]] = {
                "LO": (value, high), "UP": (low, value), "FX": (value, value), "FR": (-math.inf, math.inf),
                "MI": (-math.inf, high), "PL": (low, math.inf), "BV": (0.0, 1.0),
            }[words[0]]  # fmt: skip
        else:
            assert section == "ENDATA", line
    assert not inside, "the columns end between two markers"
    assert not markers & {*columns, *kinds}
    assert {row for row, _, _ in entries} <= set(kinds)
    assert right.keys() <= kinds.keys()
    assert bounds.keys() <= set(columns)
    objective = next(name for name, kind in kinds.items() if kind == "N")
    rows = [name for name in kinds if name != objective]
    matrix, weights = np.zeros((len(rows), len(columns))), np.zeros(len(columns))
    for row, column, value in entries:
        target = weights if row == objective else matrix[rows.index(row)]
        target[columns.index(column)] = value
    values = np.array([right.get(row, 0.0) for row in rows])
    kind = np.array([kinds[row] for row in rows])
    pairs = np.array([bounds.get(column, (0.0, math.inf)) for column in columns])
    return {
        "names": columns, "objective": weights, "A": matrix, "integer": np.array(integer), "bounds": pairs,
        "lower": np.where(kind == "L", -math.inf, values), "upper": np.where(kind == "G", math.inf, values),
    }  # fmt: skip


def test_mps_files_are_read_back_exactly(tmp_path: Path) -> None:
    constraints = encode(small_network(np.random.default_rng(4)), -1, 1)
    objective = constraints.objective("dense 4", [0.1, 1 / 3, -2])
    constraints.to_mps(tmp_path / "network.mps", objective)
    read = read_mps(tmp_path / "network.mps")
    assert read["names"] == constraints.names
    np.testing.assert_array_equal(read["objective"], objective)
    np.testing.assert_array_equal(read["A"], constraints.A.toarray())
    np.testing.assert_array_equal(read["bounds"].T, [constraints.bounds.lb, constraints.bounds.ub])
    np.testing.assert_array_equal(read["lower"], constraints.lower)
    np.testing.assert_array_equal(read["upper"], constraints.upper)
    np.testing.assert_array_equal(read["integer"], constraints.integrality == 1)
    again = milp(
        read["objective"], constraints=(read["A"], read["lower"], read["upper"]),
        bounds=Bounds(*read["bounds"].T), integrality=read["integer"],
    )  # fmt: skip
    assert abs(again.fun - solve(constraints, objective).fun) < 1e-6
    with refused(ValueError, r"objective has shape (3,), but there are"):
        constraints.to_mps(tmp_path / "other.mps", np.zeros(3))
    with refused(FileNotFoundError, "cannot save"):
        constraints.to_mps(tmp_path / "missing" / "network.mps")
    assert [path.name for path in tmp_path.iterdir()] == ["network.mps"]


def test_mps_files_are_read_by_highs(tmp_path: Path) -> None:
    highspy = pytest.importorskip("highspy")
    constraints = encode(small_network(np.random.default_rng(4)), -1, 1)
    objective = constraints.objective("dense 4", [0.1, 1 / 3, -2])
    constraints.to_mps(tmp_path / "network.mps", objective)
    solver = highspy.Highs()
    solver.silent()
    assert solver.readModel(str(tmp_path / "network.mps")) == highspy.HighsStatus.kOk  # without a warning
    assert solver.getNumCol() == len(constraints.names)
    solver.run()
    assert abs(solver.getInfo().objective_function_value - solve(constraints, objective).fun) < 1e-6


def test_mps_of_all_kinds_of_rows_and_bounds(tmp_path: Path) -> None:
    """A row with two bounds becomes two, and one without any is left out."""
    A = sparse.csr_array([[1.0, 0.1, 0, 0, 0], [0, 0, 0, 2, 0], [1, 1, 1, 1, 0]])
    rows = np.array([-0.1, -np.inf, 4.0]), np.array([0.3, np.inf, 4.0])
    bounds = np.array([-np.inf, -np.inf, -5, 2, 0]), np.array([np.inf, -1, np.inf, 2, 1])
    names = ["a", "b", "c", "d", "e"]
    write_mps(tmp_path / "all.mps", np.array([0, 0, 1.5, 0, 0]), A, rows, bounds, np.array([0, 1, 1, 0, 1]) == 1, names)
    read = read_mps(tmp_path / "all.mps")
    assert read["names"] == names
    assert read["A"].tolist() == [[1, 0.1, 0, 0, 0], [1, 1, 1, 1, 0], [1, 0.1, 0, 0, 0]]
    assert read["lower"].tolist() == [-0.1, 4, -np.inf]
    assert read["upper"].tolist() == [np.inf, 4, 0.3]
    np.testing.assert_array_equal(read["bounds"].T, bounds)
    assert read["integer"].tolist() == [False, True, True, False, True]


def test_names_in_files_are_unique_and_without_blanks() -> None:
    nodes = [
        Node("my input", Input((2,))),
        Node("my_input", Scale([2.0]), ("my input",)),
        Node("aux", Elementwise("abs")),
    ]
    names = encode(Network(nodes), -1, 1).names
    assert len(set(names)) == len(names)
    assert {"my_input.0", "my_input_2.1", "aux_2.0", "phase.0"} <= set(names)
    assert all(name.isascii() and not set(name) & set(" \t$*'\"") for name in names)


def test_equations_of_weights_that_are_not_finite() -> None:
    with refused(ValueError, "weight is not finite"):
        EquationBuilder(1).combine([(np.inf, np.array([0]))])
