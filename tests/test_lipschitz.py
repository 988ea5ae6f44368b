"""Tests of Lipschitz bounds: never below Jacobians, tight where they can be, refused by name."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import convmatrix as cm
from convmatrix.network import (
    Addition,
    Concatenation,
    Convolution,
    Elementwise,
    Extremum,
    FullyConnected,
    Input,
    LocalResponseNormalisation,
    MatrixProduct,
    Network,
    Node,
    Normalisation,
    Opaque,
    ParametricReLU,
    Pooling,
    Product,
    Reduction,
    Resize,
    Scale,
    Softmax,
    flatten,
    take,
)
from convmatrix.network.function_ranges import limits
from convmatrix.spectral import LipschitzBound, lipschitz_bound
from convmatrix.spectral.map_forms import Form, identity, kernel_form, product, stacked, total
from convmatrix.spectral.map_norms import matrix_norm, upper_norm
from convmatrix.spectral.node_norms import node_norm
from tests.random_lipschitz import Comparison, compare

Array = Any


def _jacobian(network: Network, x: Array) -> Array:
    linear = network.linearise(x)
    return linear.rows(0, linear.shape[0]).toarray()


def _norm(matrix: Array) -> float:
    return float(np.linalg.norm(matrix, 2))


def _conv(
    rng: np.random.Generator, channels: tuple[int, int], shape: tuple[int, ...], kernel: int = 3, **options: Any
) -> Convolution:
    outputs, inputs = channels
    options = {"padding": "same", **options}
    geometry = cm.ConvGeometry(shape, (kernel,) * len(shape), in_channels=inputs, out_channels=outputs, **options)
    return Convolution(geometry, rng.standard_normal(geometry.weight_shape), rng.standard_normal(outputs))


@pytest.mark.parametrize("boxed", [False, True])
def test_no_jacobian_of_random_networks_exceeds_the_bound(boxed: bool) -> None:
    """Bounds of random networks hold at random points, and are at most the product of norms."""
    found = [compare(seed, boxed=boxed, points=4) for seed in range(1000, 1016)]
    compared = [comparison for comparison in found if isinstance(comparison, Comparison)]
    assert len(compared) >= 10
    assert all(comparison.holds for comparison in compared)
    assert all(comparison.bound <= comparison.product * (1 + 1e-9) for comparison in compared)
    assert any(c.bound < 0.9 * c.product for c in compared)


def test_a_linear_network_has_the_norm_of_its_matrix() -> None:
    """Chains and branches of linear nodes are one map: the bound is the norm of the product of all matrices."""
    rng = np.random.default_rng(0)
    nodes = [
        Node("x", Input((2, 6, 6))),
        Node("a", _conv(rng, (3, 2), (6, 6)), ("x",)),
        Node("norm", Scale(rng.standard_normal(3), rng.standard_normal(3)), ("a",)),
        Node("b", _conv(rng, (3, 3), (6, 6), boundary="reflect"), ("norm",)),
        Node("sum", Addition((1, -1)), ("norm", "b")),
        Node("small", Pooling("average", 2), ("sum",)),
        Node("large", Resize((6, 6), "linear"), ("small",)),
        Node("both", Concatenation(), ("large", "a")),
        Node("part", take(1, 1, 5), ("both",)),
        Node("flat", flatten(), ("part",)),
        Node("out", FullyConnected(144, 5, rng.standard_normal((5, 144)), rng.standard_normal(5)), ("flat",)),
    ]
    network = Network(nodes)
    bound = lipschitz_bound(network)
    exact = _norm(_jacobian(network, np.zeros((2, 6, 6))))
    assert exact <= bound <= exact * (1 + 1e-9)
    assert bound < 0.9 * bound.product_of_norms


@pytest.mark.parametrize("boundary", ["zero", "circular", "reflect", "replicate"])
def test_folded_kernels_are_the_maps_of_their_nodes(boundary: str) -> None:
    """Factors, channels and parallel branches as one kernel have the matrix of the separate nodes."""
    rng = np.random.default_rng(1)
    layer = _conv(rng, (4, 4), (5, 6), boundary=boundary)
    kernel, shape = kernel_form(layer.weight, layer.geometry), (4, 5, 6)
    assert kernel is not None
    diagonal = Form("channels", rng.standard_normal(4), shape, shape)
    full = Form("channels", rng.standard_normal((4, 4)), shape, shape)
    one = _conv(rng, (4, 4), (5, 6), kernel=1)
    pointwise = kernel_form(one.weight, one.geometry)
    assert pointwise is not None
    assert pointwise.kind == "channels"

    def dense(form: Form | None) -> Array:
        assert form is not None
        matrix = form.matrix()
        assert matrix is not None
        return matrix.value.toarray()

    A = layer.affine([shape])[0].toarray()
    assert np.allclose(dense(pointwise), one.affine([shape])[0].toarray())
    for other in (diagonal, full, pointwise):
        for made, expected in ((product(other, kernel), dense(other) @ A), (product(kernel, other), A @ dense(other))):
            assert made is not None
            assert made.kind == "kernel"
            assert np.allclose(dense(made), expected, atol=1e-12)
            assert abs(dense(made) - expected).max() <= made.error
        assert np.allclose(dense(total([kernel, other])), A + dense(other), atol=1e-12)
        assert np.allclose(dense(stacked([other, kernel])), np.concatenate([dense(other), A]), atol=1e-12)
    grouped = _conv(rng, (4, 4), (5, 6), groups=2, boundary=boundary)
    grouped_form = kernel_form(grouped.weight, grouped.geometry)
    assert grouped_form is not None
    G = grouped.affine([shape])[0].toarray()
    assert np.allclose(dense(product(diagonal, grouped_form)), dense(diagonal) @ G)
    assert np.allclose(dense(product(grouped_form, diagonal)), G @ dense(diagonal))
    assert np.allclose(dense(total([identity(shape), grouped_form])), np.eye(120) + G)
    assert product(full, grouped_form) is None


def test_kernels_of_other_strides_or_sizes_are_not_added() -> None:
    """A kernel that does not fit within another one is added as a matrix; one that does is embedded."""
    rng = np.random.default_rng(2)
    three, five = _conv(rng, (2, 2), (8,)), _conv(rng, (2, 2), (8,), kernel=5)
    wide, valid = _conv(rng, (2, 2), (8,), dilation=2), _conv(rng, (2, 2), (8,), padding=[(0, 2)])
    forms = [kernel_form(layer.weight, layer.geometry) for layer in (three, five, wide, valid)]
    a, b, c, d = (form for form in forms if form is not None)
    added = total([a, b])
    assert added is not None
    assert added.matrix() is not None
    expected = three.affine([(2, 8)])[0] + five.affine([(2, 8)])[0]
    assert np.allclose(added.matrix().value.toarray(), expected.toarray())  # type: ignore[union-attr]
    assert total([b, c]) is None
    assert total([a, d]) is None
    transposed = cm.ConvGeometry(8, 3, transposed=True, padding=1)
    form = kernel_form(np.ones((1, 1, 3)), transposed)
    assert form is not None
    assert total([identity((1, 8)), form]) is None


def test_residual_blocks_are_added_and_concatenations_are_roots_of_squares() -> None:
    """The textbook bounds, as computed by hand from the norms of layers."""
    rng = np.random.default_rng(3)
    W, V = rng.standard_normal((4, 4)), rng.standard_normal((4, 4))
    nodes = [
        Node("x", Input((4,))),
        Node("w", FullyConnected(4, 4, W, bias=False), ("x",)),
        Node("f", Elementwise("tanh"), ("w",)),
        Node("v", FullyConnected(4, 4, V, bias=False), ("f",)),
        Node("sum", Addition(), ("x", "v")),
        Node("u", FullyConnected(4, 4, V, bias=False), ("x",)),
        Node("g", Elementwise("sigmoid"), ("u",)),
        Node("pair", Concatenation(), ("g", "f")),
    ]
    network = Network(nodes, ["sum", "pair"])
    assert lipschitz_bound(network) <= 1 + _norm(W) * _norm(V) + 1e-9
    pair = lipschitz_bound(network, name="pair")
    assert pair == pytest.approx(_norm(np.concatenate([V / 4, W])), rel=1e-9)  # together, below the root of squares
    assert pair < math.hypot(_norm(V) / 4, _norm(W)) * (1 - 1e-3)
    assert "sum" in lipschitz_bound(network).explain()


def test_a_function_is_split_into_a_linear_part_and_a_rest() -> None:
    """For W2 relu(W1 x) the bound is at most the mean of the norm of W2 W1 and the product of norms."""
    rng = np.random.default_rng(4)
    W, V = rng.standard_normal((6, 5)), rng.standard_normal((3, 6))
    layers = FullyConnected(5, 6, W, bias=False), Elementwise("relu"), FullyConnected(6, 3, V, bias=False)
    bound = lipschitz_bound(Network(list(layers)))
    assert bound <= (_norm(V @ W) + _norm(V) * _norm(W)) / 2 * (1 + 1e-9)
    assert bound < _norm(V) * _norm(W) * (1 - 1e-3)


def test_units_that_are_stable_on_a_box() -> None:
    """If every unit is stable, the bound is the norm of the Jacobian; if some are off, their rows do not count."""
    rng = np.random.default_rng(5)
    layer, after = _conv(rng, (3, 2), (6,)), _conv(rng, (2, 3), (6,))
    network = Network([layer, Elementwise("relu"), after])
    x = rng.standard_normal((2, 6))
    bound = lipschitz_bound(network, x - 1e-9, x + 1e-9)
    exact = _norm(_jacobian(network, x))
    assert exact <= bound <= exact * (1 + 1e-9)
    W = np.diag([9.0, 1.0])
    dense = Network([FullyConnected(2, 2, W, [-20.0, 0.0]), Elementwise("relu")])
    assert lipschitz_bound(dense, -1, 1) == pytest.approx(1, rel=1e-9)
    assert lipschitz_bound(dense) == pytest.approx(9, rel=1e-9)
    smooth = Network([FullyConnected(2, 2, W, [-20.0, 3.0]), Elementwise("sigmoid")])
    slopes = (9 * math.exp(-11), math.exp(-2) / (1 + math.exp(-2)) ** 2)
    assert lipschitz_bound(smooth, -1, 1) == pytest.approx(max(slopes), rel=1e-3)


def test_products_and_normalisations_need_a_box() -> None:
    """A gate has no bound everywhere; on a box the largest values of the factors count."""
    nodes = [
        Node("x", Input((2, 3))),
        Node("gate", Elementwise("sigmoid"), ("x",)),
        Node("y", Product(), ("x", "gate")),
        Node("m", MatrixProduct(), ("x", "swapped")),
        Node("swapped", cm.network.transpose((1, 0)), ("x",)),
        Node("n", Normalisation(epsilon=0.0), ("x",)),
    ]
    network = Network(nodes, ["y", "m", "n"])
    for name in ("y", "m", "n"):
        with pytest.raises(ValueError, match=f"node '{name}' has no finite bound"):
            lipschitz_bound(network, name=name)
    assert 1.09 <= lipschitz_bound(network, -4, 4) <= 1 + 4 / 4 + 1e-6  # max |x sigmoid(x)|' is 1.0998
    rng = np.random.default_rng(6)
    low, high = np.array([[0.0, 2.0, 5.0]] * 2), np.array([[1.0, 3.0, 6.0]] * 2)
    for name in ("y", "m", "n"):
        bound = lipschitz_bound(network, low, high, name=name)
        part = network.until(name)
        largest = max(_norm(_jacobian(part, low + (high - low) * rng.random((2, 3)))) for _ in range(40))
        assert largest <= bound <= 5 * largest, name


BOUNDED = (
    *(Elementwise(name) for name in ("tanh", "sigmoid", "hard_sigmoid", "clip", "sin", "erf", "atan", "softsign")),
    Softmax(-1),
    Normalisation((-1,), epsilon=0.1),
    Normalisation(None, 3, epsilon=0.1, centred=False),
)


@pytest.mark.parametrize("product", [Product(), MatrixProduct()], ids=lambda product: product.kind)
@pytest.mark.parametrize("operation", BOUNDED, ids=lambda operation: f"{operation.kind} {vars(operation)}"[:60])
def test_products_of_bounded_functions_need_no_box(operation: Any, product: Any) -> None:
    """Gates of bounded values with bounded slopes have a bound everywhere, and a smaller one on a box."""
    rng = np.random.default_rng(8)
    weights = [rng.standard_normal((3, 3)) for _ in range(2)]
    nodes = [
        Node("x", Input((3, 3))),
        *(Node(f"a{k}", FullyConnected(3, 3, w, [1.0, 0, -1], flatten=False), ("x",)) for k, w in enumerate(weights)),
        Node("f", operation, ("a0",)),
        Node("g", Elementwise("tanh"), ("a1",)),
        Node("scaled", Scale(2.0, 1.0), ("g",)),
        Node("y", product, ("f", "scaled")),
    ]
    network = Network(nodes)
    bound = lipschitz_bound(network)
    points = [rng.standard_normal((3, 3)) * 10.0 ** rng.uniform(-2, 1) for _ in range(60)]
    largest = max(_norm(_jacobian(network, x)) for x in points)
    assert largest <= bound <= 30 * largest
    assert lipschitz_bound(network, -0.1, 0.1) <= bound * (1 + 1e-9)
    low, high = limits(operation, (3, 3))
    values = operation.evaluate([np.stack([*points, 1e9 * np.eye(3), -1e9 * np.eye(3)])])
    assert low <= values.min() <= low + 0.5
    assert high >= values.max() >= high - 0.5


NONLINEAR = (
    Normalisation((0, -1), epsilon=0.01),
    Normalisation(None, 2, epsilon=0.01),
    Normalisation(epsilon=0.01, centred=False),
    Softmax(-1),
    Softmax(0, logarithm=True),
    LocalResponseNormalisation(3, 2.0, 0.75, 0.5),
    ParametricReLU([0.5, -3.0]),
    Reduction("max", (-1,)),
)


@pytest.mark.parametrize("operation", NONLINEAR, ids=lambda operation: f"{operation.kind} {vars(operation)}"[:60])
def test_norms_of_nodes_hold_and_are_approached(operation: Any) -> None:
    """No Jacobian exceeds the norm of a node, and some reach the lower bound at nearly flat, or extreme, samples."""
    rng = np.random.default_rng(7)
    network = Network([Input((2, 4)), operation])
    lower, upper = node_norm(network.nodes[1])
    samples = [rng.standard_normal((2, 4)) * 10.0 ** rng.uniform(-4, 2) for _ in range(80)]
    samples += [
        np.zeros((2, 4)),
        np.full((2, 4), -1.0),
        np.eye(2, 4) * 60,
        np.array([[1.0, 1, -50, -50], [0, 0, 0, 0]]),
    ]
    largest = max(_norm(_jacobian(network, x)) for x in samples)
    assert largest <= upper * (1 + 1e-9)
    assert largest >= 0.99 * lower
    assert lower <= upper


def test_what_has_no_bound_is_refused_by_name() -> None:
    """Unknown operators, missing weights, jumps, steep functions and half a box."""
    cases: list[tuple[Any, str]] = [
        (Opaque("Odd", (2,)), "Odd"),
        (FullyConnected(2, 2), "weights"),
        (Scale("channel"), "weights"),
        (Elementwise("exp"), "exp"),
        (Elementwise("floor"), "floor"),
        (Elementwise("anything"), "anything"),
    ]
    for operation, reason in cases:
        network = Network(
            [Node("x", Input((2,))), Node("f", operation, ("x",)), Node("g", Elementwise("relu"), ("f",))]
        )
        with pytest.raises(ValueError, match=f"node 'f' has no finite bound.*{reason}"):
            lipschitz_bound(network)
    plain = Network([Input((2,)), Elementwise("exp")])
    assert lipschitz_bound(plain, 0, 1) == pytest.approx(math.e)
    with pytest.raises(ValueError, match="two ends"):
        lipschitz_bound(plain, 0)
    with pytest.raises(ValueError, match=r"at \(0,\) lower is 1.0, but upper is 0.0"):
        lipschitz_bound(plain, 1, 0)


def test_a_bound_is_a_number_with_a_derivation() -> None:
    """It adds and compares as a float; progress and rows name all nodes."""
    seen: list[str] = []
    network = Network([Input((3,)), Elementwise("relu"), Scale([1.0, 2.0, -3.0])])
    bound = lipschitz_bound(network, progress=lambda done, of, name: seen.append(f"{done}/{of} {name}"))
    assert isinstance(bound, LipschitzBound)
    assert 3 <= bound <= 3 + 1e-12
    assert bound / 2 + 1 == pytest.approx(2.5)
    assert seen[0] == "1/6 input"
    assert seen[-1] == "6/6 scale 3"
    assert [row["name"] for row in bound.rows] == ["input", "elementwise 2", "scale 3"]
    assert bound.explain().splitlines()[-1].split()[:3] == ["scale", "3", "3"]


def test_a_repeated_input_is_one_source() -> None:
    """X + x doubles, x - x vanishes, and the maximum of x and x is x."""
    for operation, expected in (
        (Addition(), 2.0),
        (Addition((1, -1)), 0.0),
        (Extremum("max"), 1.0),
        (Concatenation(), 2**0.5),
    ):
        network = Network([Node("x", Input((3,))), Node("y", operation, ("x", "x"))])
        assert lipschitz_bound(network) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("size", [(40, 30), (1100, 60), (60, 1100), (1500, 1400)])
def test_norms_of_sparse_matrices(size: tuple[int, int]) -> None:
    """Decompositions, Gram matrices and band factorisations bound the norm of the same band matrix."""
    from scipy import sparse

    rng = np.random.default_rng(8)
    rows, columns = size
    offsets = [0, 1, 3] if rows == 1500 else list(range(0, columns, 7))
    matrix = sparse.csr_array(
        sparse.diags_array([rng.standard_normal(max(size)) for _ in offsets], offsets=offsets, shape=size)
    )
    exact = _norm(matrix.toarray())
    assert exact <= matrix_norm(matrix) <= exact * (1 + 1e-5)
    assert matrix_norm(sparse.csr_array(size)) == 0


@pytest.mark.parametrize("boundary", ["zero", "circular", "reflect"])
def test_upper_norms_of_large_layers(boundary: str) -> None:
    """A layer that is too large to decompose has the bound of `norm_bounds`, without its lower one."""
    rng = np.random.default_rng(9)
    layer = _conv(rng, (4, 3), (20, 20), boundary=boundary)
    upper = upper_norm(layer.weight, layer.geometry)
    assert upper == pytest.approx(cm.spectral.norm_bounds(layer.weight, layer.geometry)[1], rel=1e-9)
    assert upper_norm(np.zeros_like(layer.weight), layer.geometry) == 0


def test_batch_normalisation_is_folded_into_large_layers() -> None:
    """A layer of more than 1024 entries and its normalisation are one kernel; equal layers are computed once."""
    rng = np.random.default_rng(10)
    layer, factors = _conv(rng, (6, 6), (16, 16)), rng.uniform(0.2, 2, 6)
    nodes: list[Any] = [layer, Scale(factors, np.ones(6)), Elementwise("relu")]
    bound = lipschitz_bound(Network(nodes))
    folded = layer.weight * factors[:, None, None, None]
    assert bound == pytest.approx(upper_norm(folded, layer.geometry), rel=1e-9)
    assert bound < 0.95 * upper_norm(layer.weight, layer.geometry) * factors.max()
    assert lipschitz_bound(Network(nodes * 2)) <= bound**2 * (1 + 1e-9)
    assert "one kernel: convolution 1, scale 2" in bound.explain()


def test_chains_too_large_for_a_matrix_are_products_of_folded_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two layers with normalisations and no function between them: each is folded before norms multiply."""
    monkeypatch.setattr("convmatrix.spectral.map_forms.MOST_ENTRIES", 1000)
    monkeypatch.setattr("convmatrix.spectral.node_maps.MOST_ENTRIES", 1000)
    rng = np.random.default_rng(11)
    first, second = _conv(rng, (3, 3), (24, 24)), _conv(rng, (3, 3), (24, 24))
    factors = [rng.uniform(0.1, 2, 3) for _ in range(2)]
    bound = lipschitz_bound(Network([first, Scale(factors[0]), second, Scale(factors[1])]))
    one = upper_norm(first.weight * factors[0][:, None, None, None], first.geometry)
    two = upper_norm(second.weight * factors[1][:, None, None, None], second.geometry)
    assert bound == pytest.approx(one * two, rel=1e-9)
    assert bound < bound.product_of_norms * 0.99


def _dense(matrix: Any) -> FullyConnected:
    weight = np.asarray(matrix, dtype=np.float64)
    return FullyConnected(*weight.shape[::-1], weight, bias=False)


@pytest.mark.parametrize("exponent", [-1070, -700, -540, 540, 700, 1015])
@pytest.mark.parametrize("samples", [16, 1100])
def test_tiny_and_huge_layers(samples: int, exponent: int) -> None:
    """Weights whose squares under- or overflow have the norm of the same weights times a power of two."""
    rng = np.random.default_rng(11)
    weight = rng.integers(1, 8, (2, 2, 3)).astype(np.float64)
    geometry = cm.ConvGeometry((samples,), (3,), in_channels=2, out_channels=2, padding=1)
    plain = float(lipschitz_bound(Network([Convolution(geometry, weight)])))
    tiny = float(lipschitz_bound(Network([Convolution(geometry, np.ldexp(weight, exponent))])))
    expected = math.ldexp(plain, exponent)
    assert expected * (1 - 1e-9) <= tiny <= expected * (1 + 1e-9) + 3 * math.ulp(0.0)
    dense = rng.integers(-7, 8, (3, 4)).astype(np.float64)
    bound = lipschitz_bound(Network([_dense(np.ldexp(dense, exponent)), Elementwise("relu")]))
    assert math.ldexp(_norm(dense), exponent) <= bound <= math.ldexp(_norm(dense), exponent) * (1 + 1e-9) + 1e-322


def test_products_of_tiny_and_huge_layers() -> None:
    """Chains, branches and gates neither vanish nor overflow on the way to a norm that can be represented."""
    rng = np.random.default_rng(12)
    a, b, c = (rng.standard_normal((3, 3)) for _ in range(3))
    small, large = 2.0**-700, 2.0**700
    chain = [_dense(a * small), _dense(b * small), _dense(c * large), Scale([large, large, large])]
    exact = _norm(c @ b @ a)
    assert exact <= lipschitz_bound(Network([Input((3,)), *chain])) <= exact * (1 + 1e-9)
    layer = _conv(rng, (2, 2), (6,))
    tiny = Convolution(layer.geometry, layer.weight * small)
    matrix = cm.conv_matrix(layer.weight, layer.geometry).toarray()
    network = Network([Input((2, 6)), tiny, tiny, Scale([large]), Scale([large])])
    assert _norm(matrix @ matrix) <= lipschitz_bound(network) <= _norm(matrix @ matrix) * (1 + 1e-9)
    for join, norm in ((Concatenation(), 2**0.5), (Extremum("max"), 1.0), (Addition(), 2.0)):
        nodes = [
            Node("x", Input((2,))),
            Node("a", Scale([small]), ("x",)),
            Node("r", Elementwise("relu"), ("a",)),
            Node("t", Elementwise("tanh"), ("a",)),
            Node("y", join, ("r", "t")),
        ]
        assert norm * small * (1 - 1e-12) <= lipschitz_bound(Network(nodes)) <= 2 * small * (1 + 1e-9)
    nodes = [Node("x", Input((2,))), Node("a", Scale([small]), ("x",)), Node("y", Product(), ("a", "a"))]
    assert 0 < lipschitz_bound(Network(nodes), -1, 1) <= 1e-322
    # A sum of maps of very different magnitude, and what is left if the large ones cancel.
    nodes = [Node("x", Input((2,))), Node("a", Scale([small]), ("x",)), Node("b", Scale([small]), ("a",))]
    nodes += [Node("c", Scale([large]), ("b",)), Node("y", Addition((1, 1)), ("c", "x"))]
    assert 1 <= lipschitz_bound(Network(nodes)) <= 1 + 1e-9


def test_the_smallest_numbers_are_rounded_upwards() -> None:
    """A bound is zero only where a map is: factors whose product is below all numbers count by the smallest one."""
    least = math.ulp(0.0)
    relu = Elementwise("relu")
    network = Network([Input((1,)), _dense([[least]]), relu, _dense([[0.4]]), relu, _dense([[2.0**1000]])])
    assert lipschitz_bound(network) >= 0.4 * 2.0**-74
    assert lipschitz_bound(network).product_of_norms >= 0.4 * 2.0**-74
    assert lipschitz_bound(Network([Input((1,)), _dense([[0.0]]), relu])) == 0
    assert lipschitz_bound(Network([Input((1,)), _dense([[1e300]]), relu, _dense([[0.0]]), relu])) == 0


def test_what_no_number_bounds_is_refused_by_name() -> None:
    """Jumps, slopes without a limit, overflow, and constants that are infinite or NaN."""
    steep = [Elementwise("leaky_relu", {"slope": -1e100}) for _ in range(4)]
    cases: list[tuple[list[Any], str]] = [
        ([Elementwise("soft_shrink", {"threshold": -1.0})], "soft_shrink"),
        ([_dense(np.eye(2)), Elementwise("celu", {"alpha": -1.0})], "celu is not bounded in slope with alpha=-1"),
        ([Elementwise("celu", {"alpha": 0.0})], "celu"),
        ([Elementwise("leaky_relu", {"slope": math.nan})], "parameter 'slope' is NaN"),
        (steep, "largest number"),
        ([_dense([[math.nan, 1], [1, 1]]), _dense(np.eye(2))], "1 of its values 'weight'"),
        ([_dense([[math.inf, 1], [1, 1]])], "1 of its values 'weight'"),
        ([Scale([math.nan, math.inf])], "2 of its values 'scale'"),
        ([ParametricReLU([math.nan, 1.0])], "1 of its values 'slope'"),
        ([LocalResponseNormalisation(2, 1.0, 2.0, 1e-300)], "not finite"),
    ]
    for operations, reason in cases:
        network = Network([Input((2,)), *operations])
        with pytest.raises(ValueError, match=f"node '.*' has no finite bound: .*{reason}"):
            lipschitz_bound(network)
    for value in (math.nan, math.inf):
        layer = Convolution(cm.ConvGeometry(8, 3), [1.0, value, 2.0])
        with pytest.raises(ValueError, match="node 'convolution 2' has no finite bound: 1 of its values 'weight'"):
            lipschitz_bound(Network([Input((1, 8)), layer]))


def test_deep_chains_and_sums() -> None:
    """Thousands of linear nodes in a row are bounded without a recursion."""
    factors = np.random.default_rng(13).uniform(0.99, 1.01, (1200, 2))
    bound = lipschitz_bound(Network([Input((2,)), *(Scale(factor) for factor in factors)]))
    assert bound == pytest.approx(factors.prod(axis=0).max(), rel=1e-9)
    nodes = [Node("x 0", Input((2,)))]
    nodes += [Node(f"x {n + 1}", Addition(), (f"x {n}", f"x {n}")) for n in range(1000)]
    assert 2.0**1000 <= lipschitz_bound(Network(nodes)) <= 2.0**1000 * (1 + 1e-9)
    resized = [Resize((4,), "linear") for _ in range(400)]  # matrices only
    assert 1 <= lipschitz_bound(Network([Input((1, 4)), *resized])) <= 1 + 1e-6


def test_a_box_never_makes_a_bound_larger() -> None:
    """Slopes by unit may cost more than they gain, and overflow on a wide box: what holds everywhere counts then."""
    rng = np.random.default_rng(14)
    for _ in range(4):
        layers = [_dense(rng.standard_normal((4, 4))), ParametricReLU([-2.0, 3.0, -2.0, 3.0])]
        network = Network([Input((4,)), *layers, _dense(rng.standard_normal((4, 4)))])
        assert lipschitz_bound(network, -0.1, 0.3) <= lipschitz_bound(network)
    for name in ("gelu", "gelu_tanh", "mish", "silu"):
        network = Network([Input((2,)), Elementwise(name)])
        assert lipschitz_bound(network, -1e200, 1e200) <= lipschitz_bound(network)
