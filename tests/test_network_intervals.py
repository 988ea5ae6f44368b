"""Tests of interval bounds of networks: they contain samples, are attained where they can be, and refuse by name."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import convmatrix as cm
from convmatrix.network import (
    FUNCTIONS,
    Addition,
    Convolution,
    Elementwise,
    FullyConnected,
    Input,
    MatrixProduct,
    Network,
    Node,
    Normalisation,
    Opaque,
    PatternMap,
    Pooling,
    Product,
    Softmax,
)
from convmatrix.network.function_ranges import slope_range, value_range
from convmatrix.network.intervals import interval_bounds
from tests.random_networks import random_network
from tests.refusals import refused

Array = Any

PARAMETERS: dict[str, list[dict[str, float]]] = {
    "celu": [{"alpha": 0.5}, {"alpha": -2.0}],
    "clip": [{"low": -1.0, "high": 2.0}],
    "elu": [{"alpha": 3.0}, {"alpha": -1.0}],
    "hard_shrink": [{"threshold": 0.7}, {"threshold": 0.0}],
    "hard_sigmoid": [{"alpha": -0.3}, {"alpha": 0.2, "beta": 0.1}],
    "leaky_relu": [{"slope": -0.5}, {"slope": 3.0}],
    "power": [{"exponent": e} for e in (3.0, 2.0, 0.0, -1.0, -2.0, 0.5, 1.5)],
    "tanh": [{"scale": -1.7, "slope": 0.6}],
    "threshold": [
        {"threshold": 0.5, "value": 2.0},
        {"threshold": 0.5, "value": 0.5},
        {"threshold": 1.0, "value": -1.0},
    ],
}


def _cases() -> list[Elementwise]:
    return [Elementwise(name, options) for name in FUNCTIONS for options in ({}, *PARAMETERS.get(name, []))]


@pytest.mark.parametrize("operation", _cases(), ids=lambda case: f"{case.name}-{sorted(case.parameters.items())}")
def test_ranges_of_functions_contain_samples_and_are_tight(operation: Elementwise) -> None:
    """Values and secant slopes at many points of many intervals are within bounds; half of the bounds are attained."""
    rng = np.random.default_rng(0)
    centre = rng.uniform(-5, 5, 60)
    half = 10.0 ** rng.uniform(-3, 0.7, 60)
    if operation.name in ("log", "sqrt", "reciprocal", "power"):
        centre, half = abs(centre) + 0.1, np.minimum(half, 0.99 * abs(centre))
    low, high = centre - half, centre + half
    if operation.name in ("acos", "asin", "atanh"):
        low, high = (end * 0.99 / np.maximum(abs(low), abs(high)) for end in (low, high))
    elif operation.name == "acosh":
        low, high = (end - low.min() + 1.01 for end in (low, high))
    elif operation.name == "tan":
        low, high = (0.9 * np.arctan(end) + math.pi * np.rint(centre) for end in (low, high))
    x = np.clip(low + (high - low) * np.linspace(0, 1, 501)[:, None], low, high)  # (points, intervals)
    y = operation.evaluate([x])
    least, most = value_range(operation, low, high)
    assert (least <= y.min(axis=0)).all()
    assert (y.max(axis=0) <= most).all()
    width = np.maximum(most - least, 1e-9)
    assert ((most - y.max(axis=0)) <= 1e-2 * width).all()
    assert ((y.min(axis=0) - least) <= 1e-2 * width).all()
    try:
        a, b = slope_range(operation, low, high)
    except ValueError:
        assert operation.name in ("ceil", "floor", "round", "sign", "threshold", "hard_shrink")
        return
    secants = np.diff(y, axis=0) / np.diff(x, axis=0)
    noise = 1e-12 * abs(y).max(axis=0) / np.diff(x, axis=0)[0]
    assert (a - noise <= secants.min(axis=0)).all()
    assert (secants.max(axis=0) <= b + noise).all()
    gap = np.maximum(b - secants.max(axis=0), secants.min(axis=0) - a)
    assert np.median(gap / np.maximum(abs(b) + abs(a), 1e-3)) < 0.02  # secants are means of slopes, so not all attain


def test_slopes_of_stable_units_and_steps() -> None:
    """Intervals that end at a kink do not count the other side; a step has slopes only between its jumps."""
    low, high = np.array([-2.0, 0.0, -1.0]), np.array([0.0, 3.0, 1.0])
    a, b = slope_range(Elementwise("relu"), low, high)
    assert a.tolist() == [0.0, 1.0, 0.0]
    assert b.tolist() == [0.0, 1.0, 1.0]
    a, b = slope_range(Elementwise("floor"), np.array([0.25]), np.array([0.75]))
    assert a == b == 0
    with pytest.raises(ValueError, match=r"floor.*\[0.25, 1.25\]"):
        slope_range(Elementwise("floor"), np.array([0.25]), np.array([1.25]))
    with pytest.raises(ValueError, match="sqrt"):
        slope_range(Elementwise("sqrt"), np.array([0.0]), np.array([1.0]))


@pytest.mark.parametrize("seed", range(40))
def test_bounds_of_networks_contain_samples(seed: int) -> None:
    """Values of all nodes of random networks at corners, in the interior and at the centre of random boxes."""
    network, rng = random_network(seed), np.random.default_rng(seed)
    centre = rng.standard_normal(network.input_shape)
    half = 10.0 ** rng.uniform(-6, 0.5) * rng.random(network.input_shape)
    low, high = centre - half, centre + half
    share = rng.random((60, *network.input_shape))
    share[:30] = rng.integers(0, 2, share[:30].shape)
    x = np.clip(low + (high - low) * share, low, high)
    values, bounds = network.values(x), interval_bounds(network, low, high)
    for name, (least, most) in bounds.items():
        assert (least <= values[name]).all(), (seed, name)
        assert (values[name] <= most).all(), (seed, name)


def test_bounds_of_one_linear_layer_are_attained() -> None:
    """In integers the bounds of a layer are those at the corners chosen by the signs of its matrix."""
    rng = np.random.default_rng(1)
    geometry = cm.ConvGeometry((5, 4), (3, 2), in_channels=2, out_channels=3, padding=1, boundary="reflect", stride=2)
    layer = Convolution(geometry, rng.integers(-4, 5, geometry.weight_shape), rng.integers(-4, 5, 3))
    low = rng.integers(-5, 5, (2, 5, 4))
    high = low + rng.integers(0, 6, low.shape)
    A, b = layer.affine([(2, 5, 4)])
    positive, negative = A.maximum(0), A.minimum(0)
    least = positive @ low.ravel() + negative @ high.ravel() + b
    most = positive @ high.ravel() + negative @ low.ravel() + b
    for network in (Network([layer]), Network([PatternMap(geometry.pattern(), layer.weight)])):
        shift = b if network.nodes[1].kind == "pattern" else 0
        found = interval_bounds(network, low, high)[network.outputs[0]]
        assert np.allclose(found[0].ravel(), least - shift, rtol=0, atol=1e-11)
        assert np.allclose(found[1].ravel(), most - shift, rtol=0, atol=1e-11)
        assert (found[0].ravel() <= least - shift).all()
        assert (found[1].ravel() >= most - shift).all()


def test_bounds_at_a_point_allow_for_rounding() -> None:
    """At a box of one point the exact value, in rational arithmetic, is within the bounds; they are close."""
    from fractions import Fraction

    rng = np.random.default_rng(2)
    weight, x = rng.standard_normal((4, 50)), rng.standard_normal(50)
    network = Network([Input((50,)), FullyConnected(50, 4, weight, bias=rng.standard_normal(4))])
    low, high = interval_bounds(network, x, x)[network.outputs[0]]
    for row, b, least, most in zip(weight, network.nodes[1].operation.bias, low, high, strict=True):  # type: ignore[attr-defined]
        exact = sum((Fraction(w) * Fraction(v) for w, v in zip(row, x, strict=True)), Fraction(b))
        assert Fraction(least) <= exact <= Fraction(most)
        assert most - least < 1e-11


def test_squares_are_not_negative_and_roots_of_means_exist() -> None:
    """A product of a node with itself is a square, and means of squares have a root."""
    nodes = [
        Node("x", Input((2, 4))),
        Node("square", Product(), ("x", "x")),
        Node("mean", Pooling("average", 2), ("square",)),
        Node("root", Elementwise("sqrt"), ("mean",)),
    ]
    bounds = interval_bounds(Network(nodes), -1.0, 2.0)
    assert bounds["square"][0].min() == 0
    assert bounds["root"][0].min() == 0
    assert np.allclose(bounds["root"][1], 2.0)


@pytest.mark.parametrize("axis", [0, -1])
def test_softmax_bounds_are_attained_at_corners(axis: int) -> None:
    """The largest value of an entry is where it is largest and the others smallest."""
    rng = np.random.default_rng(3)
    low = rng.standard_normal((3, 4))
    high = low + rng.random((3, 4))
    network = Network([Input((3, 4)), Softmax(axis)])
    least, most = interval_bounds(network, low, high)[network.outputs[0]]
    for place in np.ndindex(3, 4):
        x = low.copy()
        x[place] = high[place]
        assert network(x[None])[0][place] == pytest.approx(most[place], rel=1e-12)
        x = high.copy()
        x[place] = low[place]
        assert network(x[None])[0][place] == pytest.approx(least[place], rel=1e-12)


def test_refusals_name_the_node() -> None:
    """Unknown operators, unbounded functions, missing weights and impossible boxes are refused."""
    network = Network([Node("x", Input((2,))), Node("odd", Opaque("Odd", (2,)), ("x",))])
    with pytest.raises(ValueError, match=r"node 'odd'.*Odd"):
        interval_bounds(network, 0, 1)
    assert interval_bounds(network, 0, 1, ["x"])["x"][1].tolist() == [1, 1]
    for name, low, high in (
        *(("log", 0.0, 1.0), ("reciprocal", -1.0, 1.0), ("mine", 0.0, 1.0), ("acos", 0.0, 1.5), ("asin", -1.5, 0.0)),
        *(("acosh", 0.5, 2.0), ("atanh", 0.0, 1.5), ("tan", 1.0, 2.0), ("tan", -5.0, -4.0), ("tan", 0.0, 100.0)),
    ):
        with pytest.raises(ValueError, match="node 'f'"):
            interval_bounds(Network([Node("x", Input((2,))), Node("f", Elementwise(name), ("x",))]), low, high)
    with pytest.raises(ValueError, match=r"node 'f'.*finite"):
        interval_bounds(Network([Node("x", Input((2,))), Node("f", Elementwise("exp"), ("x",))]), 0, 1000)
    with pytest.raises(ValueError, match=r"node 'n'.*epsilon"):
        interval_bounds(Network([Node("x", Input((2,))), Node("n", Normalisation(epsilon=0), ("x",))]), 0, 1)
    with pytest.raises(ValueError, match=r"node 'layer 2'.*weights"):
        interval_bounds(Network([Input((1, 4)), cm.ConvGeometry(4, 2)]), 0, 1)
    plain = Network([Input((2,)), Elementwise("relu")])
    with pytest.raises(ValueError, match=r"at \(0,\) lower is 1.0, but upper is 0.0"):
        interval_bounds(plain, 1, 0)
    with pytest.raises(ValueError, match=r"upper is inf at \(1,\)"):
        interval_bounds(plain, 0, [1, np.inf])
    with pytest.raises(ValueError, match=r"\(3,\).*\(2,\)"):
        interval_bounds(plain, [0, 0, 0], 1)


def test_differences_and_matrix_products() -> None:
    """Signs of an addition swap the ends; a matrix product of intervals contains that of every pair of samples."""
    nodes = [
        Node("x", Input((2, 2))),
        Node("y", Elementwise("relu"), ("x",)),
        Node("d", Addition((1, -1)), ("x", "y")),
        Node("m", MatrixProduct(), ("x", "y")),
    ]
    bounds = interval_bounds(Network(nodes), -1, 3)
    assert np.allclose(bounds["d"][0], -4)
    assert np.allclose(bounds["d"][1], 3)
    assert (bounds["m"][0] <= -6).all()
    assert (bounds["m"][1] >= 18).all()
    assert (bounds["m"][1] < 18 + 1e-9).all()


def test_a_box_of_other_things_than_real_numbers_is_refused() -> None:
    """Complex numbers, words, dictionaries and ragged lists are named as the wrong end."""
    network = Network([Input((2,)), Elementwise("relu")])
    wrong: list[Any] = [1j, {}, "a", None]
    for value in wrong:
        with pytest.raises(TypeError, match="upper must hold real numbers"):
            interval_bounds(network, 0, value)
    with pytest.raises(ValueError, match="upper is made of lists"):
        interval_bounds(network, 0, [[1], [2, 3]])


def test_a_box_that_double_precision_does_not_hold_is_refused() -> None:
    """Rounded, its ends would exclude inputs of the box."""
    with refused(ValueError, "upper is 9007199254740993 at (0,), which float64 rounds to 9007199254740992"):
        interval_bounds(Network([Input((2,)), Elementwise("relu")]), 0, 2**53 + 1)


@pytest.mark.parametrize(
    ("name", "parameters", "jump"),
    [
        ("soft_shrink", {"threshold": -0.5}, 0.0),
        ("hard_shrink", {"threshold": 0.5}, 0.5),
        ("hard_shrink", {"threshold": 0.5}, -0.5),
        ("threshold", {"threshold": 0.5, "value": 0.0}, 0.5),
        ("sign", {}, 0.0),
        ("ceil", {}, 1.0),
        ("floor", {}, 1.0),
        ("round", {}, 0.5),
    ],
)
def test_no_slopes_across_a_jump(name: str, parameters: dict[str, float], jump: float) -> None:
    """An interval on both sides of a jump has no largest slope; those on one side have one."""
    function = Elementwise(name, parameters)
    ends = np.array([jump - 0.2]), np.array([jump + 0.2])
    with pytest.raises(ValueError, match="no finite bound on the slopes"):
        slope_range(function, *ends)
    for low, high in ((ends[0], ends[0] + 0.1), (ends[1] - 0.1, ends[1])):
        assert np.isfinite(slope_range(function, low, high)).all()


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("soft_shrink", {"threshold": 0.0}),
        ("hard_shrink", {"threshold": -1.0}),
        ("clip", {"low": 1.0, "high": -1.0}),
        ("celu", {"alpha": -1.0}),
        ("elu", {"alpha": -2.0}),
        ("hard_sigmoid", {"alpha": -0.5, "beta": 0.25}),
        ("threshold", {"threshold": 0.5, "value": 0.5}),
        ("leaky_relu", {"slope": -3.0}),
        ("tanh", {"scale": -2.0, "slope": 3.0}),
    ],
)
def test_slopes_for_unusual_parameters_hold_between_any_two_points(name: str, parameters: dict[str, float]) -> None:
    """Quotients of differences of values lie within the slopes, across all kinks."""
    function = Elementwise(name, parameters)
    x = np.linspace(-1.5, 1.5, 61)
    low, high = slope_range(function, x[:1], x[-1:])
    y = function.evaluate([x])
    steps = np.subtract.outer(y, y)[np.triu_indices(61, 1)] / np.subtract.outer(x, x)[np.triu_indices(61, 1)]
    assert low[0] - 1e-12 <= steps.min()
    assert steps.max() <= high[0] + 1e-12
