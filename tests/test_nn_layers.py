"""Layers of networks: outputs, input gradients and weight gradients against PyTorch and plain loops; errors."""

from __future__ import annotations

import copy
import math
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import convmatrix as cm
from convmatrix import memory, nn
from convmatrix.nn import matrix_products
from tests import reference
from tests.cases import CASES, LENET5_C3, each_case, for_each, integer_weights
from tests.random_layers import choose_oracle
from tests.strategies import random_layer

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from convmatrix.nn.layer import Layer

    Array = NDArray[Any]

each_bias = for_each("bias", ["channel", "unit", None])
each_method = for_each("method", ["unfold", "matrix"])
BATCH = 3


def make(geometry: cm.ConvGeometry, **options: Any) -> nn.Conv:
    """Return the layer of a geometry, in float64."""
    kind = nn.ConvTranspose if geometry.transposed else nn.Conv
    return kind(geometry, **{"dtype": np.float64, **options})


def assert_close(actual: Array, expected: Array, tolerance: float = 1e-12) -> None:
    """Compare relative to the largest entry, like rounding errors of sums."""
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max(initial=0) <= tolerance * max(1e-300, np.abs(expected).max(initial=0))


def through(layer: Layer, x: Array, g: Array, *, training: bool = False) -> tuple[Array, Array]:
    """Return output and input gradient."""
    return layer.forward(x, training=training), layer.backward(g)


def torch_gradients(
    function: Callable[..., Any], x: Array, g: Array | None, *parameters: Array
) -> tuple[Array, list[Array]]:
    """Return a PyTorch function's output, and its gradients in x and the parameters."""
    torch = pytest.importorskip("torch")
    tensors = [torch.tensor(np.ascontiguousarray(array), requires_grad=True) for array in (x, *parameters)]
    y = function(*tensors)
    y.backward(torch.ones_like(y) if g is None else torch.tensor(np.ascontiguousarray(g)))
    return y.detach().numpy(), [tensor.grad.numpy() for tensor in tensors]


# --- layers with a geometry, against loops: exact in integers --------------------------------------------------------


@each_method
@each_bias
@each_case
def test_conv_against_loops_exactly(geometry: cm.ConvGeometry, bias: Any, method: Any) -> None:
    rng = np.random.default_rng(0)
    layer = make(geometry, bias=bias, method=method)
    weight = integer_weights(geometry)
    layer.parameters["weight"][...] = weight
    if bias is not None:
        layer.parameters["bias"][...] = rng.integers(-5, 6, layer.parameters["bias"].shape)
    x = rng.integers(-9, 10, (BATCH, geometry.in_channels, *geometry.input_shape))
    g = rng.integers(-9, 10, (BATCH, geometry.out_channels, *geometry.output_shape))
    y, dx = through(layer, x, g)
    for sample in range(BATCH):
        expected = reference.forward(geometry, weight, x[sample]).astype(float)
        if bias == "channel":
            expected += layer.parameters["bias"].reshape(-1, *(1,) * len(geometry.output_shape))
        elif bias == "unit":
            expected += layer.parameters["bias"]
        np.testing.assert_array_equal(y[sample], expected)
        np.testing.assert_array_equal(dx[sample], reference.input_gradient(geometry, weight, g[sample]))
    dw = sum(reference.weight_gradient(geometry, x[sample], g[sample]) for sample in range(BATCH))
    np.testing.assert_array_equal(layer.gradients["weight"], dw)
    assert layer.gradients.keys() == layer.parameters.keys()
    if bias == "channel":
        np.testing.assert_array_equal(layer.gradients["bias"], g.sum(axis=(0, *range(2, g.ndim))))
    elif bias == "unit":
        np.testing.assert_array_equal(layer.gradients["bias"], g.sum(axis=0))


@each_method
@each_case
def test_parameter_gradients_alone_are_those_of_backward(geometry: cm.ConvGeometry, method: Any) -> None:
    layer = make(geometry, method=method)
    rng = np.random.default_rng(1)
    y = layer.forward(rng.standard_normal((BATCH, *layer.input_shape)))
    g = rng.standard_normal(y.shape)
    layer.backward(g)
    both = dict(layer.gradients)
    layer.gradients.clear()
    layer.parameter_gradients(g)
    assert layer.gradients.keys() == both.keys()
    for name, gradient in both.items():
        np.testing.assert_array_equal(layer.gradients[name], gradient)


@each_case
def test_conv_is_the_pattern_of_its_geometry(geometry: cm.ConvGeometry) -> None:
    layer = make(geometry, bias=None)
    x = np.random.default_rng(0).standard_normal((BATCH, *layer.input_shape))
    A = layer.matrix()
    np.testing.assert_array_equal(A.toarray(), geometry.pattern().matrix(layer.parameters["weight"]).toarray())
    assert_close(layer.forward(x).reshape(BATCH, -1), (A @ x.reshape(BATCH, -1).T).T, 1e-13)
    assert layer.output_shape(layer.input_shape) == (geometry.out_channels, *geometry.output_shape)


# --- layers with a geometry, against PyTorch -------------------------------------------------------------------------


@for_each("seed", range(8))
def test_random_layers_against_pytorch(seed: int) -> None:
    """Random geometries, by both methods; where PyTorch has no such layer, against loops."""
    pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    drawn = by_torch = 0
    while drawn < 40 or by_torch < 12:
        drawn += 1
        geometry = random_layer(rng)
        name, oracle = choose_oracle(geometry)
        by_torch += name == "PyTorch"
        bias = (None, "channel", "unit")[int(rng.integers(3))]
        layers = [make(geometry, bias=bias, method=method) for method in ("unfold", "matrix")]
        x = rng.standard_normal((2, geometry.in_channels, *geometry.input_shape))
        g = rng.standard_normal((2, geometry.out_channels, *geometry.output_shape))
        weight = rng.standard_normal(geometry.weight_shape)
        expected = [oracle(geometry, weight, x[sample], g[sample]) for sample in range(2)]
        for layer in layers:
            layer.parameters["weight"][...] = weight
            y, dx = through(layer, x, g)
            assert_close(y, np.stack([y for y, _, _ in expected]))
            assert_close(dx, np.stack([dx for _, dx, _ in expected]))
            assert_close(layer.gradients["weight"], sum(dw for _, _, dw in expected))


LARGE = {
    "LeNet-5 C1": (cm.ConvGeometry((32, 32), (5, 5), out_channels=6), 16),
    "LeNet-5 C5": (cm.ConvGeometry((5, 5), (5, 5), in_channels=16, out_channels=120), 16),
    "1989 H1": (cm.ConvGeometry((16, 16), (5, 5), out_channels=12, stride=2, padding=[(1, 2), (1, 2)]), 16),
    "3x3": (cm.ConvGeometry((16, 16), (3, 3), in_channels=24, out_channels=32, padding=1), 32),
    "3x3, stride 2": (cm.ConvGeometry((17, 16), (3, 3), in_channels=16, out_channels=24, padding=1, stride=2), 16),
    "1x1": (cm.ConvGeometry((16, 16), (1, 1), in_channels=32, out_channels=16), 32),
    "1x1, stride 2": (cm.ConvGeometry((16, 16), (1, 1), in_channels=32, out_channels=16, stride=2), 8),
    "depthwise": (cm.ConvGeometry((20, 20), (3, 3), in_channels=32, out_channels=32, groups=32, padding=1), 16),
    "groups": (cm.ConvGeometry((12, 12), (3, 3), in_channels=32, out_channels=16, groups=4, padding="same"), 16),
    "dilation": (cm.ConvGeometry((20, 20), (3, 3), in_channels=8, out_channels=8, padding=2, dilation=2), 16),
    "1d": (cm.ConvGeometry(300, 9, in_channels=8, out_channels=16, stride=3), 32),
    "3d": (cm.ConvGeometry((8, 9, 10), (3, 3, 3), in_channels=4, out_channels=6, padding=1), 8),
    "transposed": (
        cm.ConvGeometry((8, 8), (4, 4), in_channels=16, out_channels=8, stride=2, padding=1, transposed=True),
        16,
    ),
}


@for_each("geometry, batch", LARGE.values(), ids=LARGE.keys())
def test_layers_of_real_sizes_against_pytorch(geometry: cm.ConvGeometry, batch: int) -> None:
    """Large enough that products are computed in blocks."""
    torch = pytest.importorskip("torch")
    layer = make(geometry)
    rng = np.random.default_rng(0)
    weight = rng.standard_normal(geometry.weight_shape)
    bias = rng.standard_normal(geometry.out_channels)
    layer.parameters["weight"][...], layer.parameters["bias"][...] = weight, bias
    x = rng.standard_normal((batch, *layer.input_shape))
    g = rng.standard_normal((batch, geometry.out_channels, *geometry.output_shape))
    n, kind = len(geometry.input_shape), "conv_transpose" if geometry.transposed else "conv"
    convolve = getattr(torch.nn.functional, f"{kind}{n}d")
    options = {"stride": geometry.stride, "dilation": geometry.dilation, "groups": geometry.groups}

    def theirs(x: Any, weight: Any, bias: Any) -> Any:
        if geometry.transposed:
            return convolve(x, weight, bias, padding=[low for low, _ in geometry.padding], **options)
        x = torch.nn.functional.pad(x, [amount for pair in reversed(geometry.padding) for amount in pair])
        return convolve(x, weight, bias, **options)

    expected, (dx, dw, db) = torch_gradients(theirs, x, g, weight, bias)
    y, back = through(layer, x, g)
    for actual, wanted in ((y, expected), (back, dx), (layer.gradients["weight"], dw), (layer.gradients["bias"], db)):
        assert_close(actual, wanted)


@for_each("name", ["LeNet-5 C1", "3x3, stride 2", "depthwise", "transposed", "1d"])
def test_methods_agree(name: str) -> None:
    geometry = LARGE[name][0]
    first, second = (make(geometry, method=method, rng=3) for method in ("unfold", "matrix"))
    assert (first.method, second.method) == ("unfold", "matrix")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, *first.input_shape))
    g = rng.standard_normal((4, geometry.out_channels, *geometry.output_shape))
    for actual, expected in zip(through(first, x, g), through(second, x, g), strict=True):
        assert_close(actual, expected)
    assert_close(first.gradients["weight"], second.gradients["weight"])


def test_matrix_method_refreshes_one_matrix_in_place() -> None:
    layer = make(CASES["2d channels"], method="matrix")
    x = np.ones((1, *layer.input_shape))
    before = layer.forward(x)
    A = layer.multiplication.matrix(layer.parameters["weight"])
    layer.parameters["weight"] *= 2
    np.testing.assert_allclose(layer.forward(x), 2 * before, rtol=1e-13)
    assert layer.multiplication.matrix(layer.parameters["weight"]) is A
    single = layer.parameters["weight"].astype(np.float32)
    assert layer.multiplication.matrix(single).dtype == np.float32  # other dtypes need another matrix


# --- the explicit matrix ---------------------------------------------------------------------------------------------


def explicit_patterns() -> dict[str, cm.WeightPattern]:
    """Return patterns with large blocks, small ones, single rows, empty rows and several weights at one entry."""
    rng = np.random.default_rng(5)
    rows, cols = rng.integers(0, 30, 400), rng.integers(0, 12, 400)
    rows[rows == 7] = 8
    repeated = np.concatenate([cols[rows == 3], cols[rows == 3]])
    rows, cols = np.append(rows, np.repeat([40, 41], len(repeated) // 2)), np.append(cols, repeated)
    geometry = {
        "channels": cm.ConvGeometry((6, 5), (3, 3), in_channels=3, out_channels=8, padding=1),
        "groups, stride": cm.ConvGeometry((7, 6), (3, 2), in_channels=4, out_channels=8, groups=2, stride=2),
        "unshared": cm.ConvGeometry(12, 5, in_channels=2, out_channels=6, sharing="unshared"),
        "one channel": cm.ConvGeometry((9, 8), (3, 3), padding=1),
        "wraps": cm.ConvGeometry(5, 9, in_channels=2, out_channels=6, padding=4, boundary="circular"),
        "transposed": cm.ConvGeometry((4, 4), (4, 4), in_channels=6, out_channels=2, stride=2, transposed=True),
    }
    patterns = {name: found.pattern() for name, found in geometry.items()}
    weights = rng.integers(0, 9, len(rows))
    return {**patterns, "triplets": cm.WeightPattern.from_triplets((42, 12), rows, cols, weights, 9)}


EXPLICIT = explicit_patterns()


@for_each("compiled", [False, True])
@for_each("pattern", EXPLICIT.values(), ids=EXPLICIT.keys())
def test_products_with_the_explicit_matrix(
    pattern: cm.WeightPattern, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In small chunks, with several threads and whatever blocks are dense: exact in integers, else within the bound."""
    if compiled:
        pytest.importorskip("numba")
    else:
        monkeypatch.setattr(matrix_products, "_compiled_loops", lambda: None)
    for name, value in (("_GATHERED", 2**8), ("_LISTED", 2**6), ("_WORTH_THREADS", 1)):
        monkeypatch.setattr(matrix_products, name, value)
    rng = np.random.default_rng(0)
    (n_out, n_in), batch = pattern.shape, 5
    for dense, dtype, threads in ((48, np.float64, 3), (1, np.float32, 2), (10**6, np.float32, 1)):
        monkeypatch.setattr(matrix_products, "_DENSE_ENTRIES", dense)
        monkeypatch.setattr(matrix_products, "cores", lambda threads=threads: threads)
        products = matrix_products.MatrixMultiplication(pattern, (n_in,), (n_out,))
        weight = rng.integers(-9, 10, pattern.weight_shape).astype(dtype)
        x, g = (rng.integers(-9, 10, (size, batch)).astype(dtype) for size in (n_in, n_out))
        for _ in range(2):  # with the values of the first call, too
            A = pattern.matrix(weight).toarray()
            np.testing.assert_array_equal(products.forward(weight, x), A @ x)
            np.testing.assert_array_equal(products.input_gradient(weight, g), A.T @ g)
        gradient = pattern.weight_gradient(x, g)
        for repeats in (1, 300):  # 300 * 5 terms of an inner product are more than are added in the precision of x
            found = products.weight_gradient(np.tile(x, repeats), np.tile(g, repeats))
            np.testing.assert_array_equal(found, repeats * gradient)
        weight[...] = rng.standard_normal(weight.shape)
        x, g = (rng.standard_normal((size, batch)).astype(dtype) for size in (n_in, n_out))
        A, moduli = (pattern.matrix(values.astype(float)).toarray() for values in (weight, np.abs(weight)))
        for found, exact, terms, scale in (
            (products.forward(weight, x), A @ x.astype(float), np.diff(pattern.row_starts), moduli @ abs(x)),
            (
                products.input_gradient(weight, g),
                A.T @ g.astype(float),
                np.bincount(pattern.cols, minlength=n_in),
                moduli.T @ abs(g),
            ),
        ):
            assert found.dtype == dtype
            rounding = terms[:, None] * np.finfo(dtype).eps / 2
            assert (np.abs(found - exact) <= 1.01 * rounding * scale + terms[:, None] * 1e-15 * scale).all()


def test_loops_are_compiled_where_nothing_can_be_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    caching = pytest.importorskip("numba.core.caching")
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])  # no directory can be written to
    loops = matrix_products._compiled_loops.__wrapped__()
    assert loops is not None
    out, x = np.zeros((1, 2)), np.array([[1.0, 2.0], [3.0, 5.0]])
    loops.product(np.array([[[2.0, 1.0]]]), np.array([[0]]), np.array([[0, 1]]), np.array([False]), x, out)
    assert out.tolist() == [[5.0, 9.0]]


def test_products_with_the_explicit_matrix_do_not_depend_on_threads_or_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    pattern, rng = EXPLICIT["channels"], np.random.default_rng(0)
    weight = rng.standard_normal(pattern.weight_shape)
    x, g = rng.standard_normal((pattern.shape[1], 4)), rng.standard_normal((pattern.shape[0], 4))
    found = []
    for threads, work in ((1, 2**20), (2, 1), (3, 1)):
        monkeypatch.setattr(matrix_products, "cores", lambda threads=threads: threads)
        monkeypatch.setattr(matrix_products, "_WORTH_THREADS", work)
        products = matrix_products.MatrixMultiplication(pattern, (pattern.shape[1],), (pattern.shape[0],))
        found.append((products.forward(weight, x), products.input_gradient(weight, g)))
    for forward, back in found[1:]:
        np.testing.assert_array_equal(forward, found[0][0])
        np.testing.assert_array_equal(back, found[0][1])
    # Rows with equal hashes are told apart by their columns.
    monkeypatch.setattr(matrix_products, "_row_hashes", lambda starts, _: np.zeros(len(starts) - 1, dtype=np.uint64))
    products = matrix_products.MatrixMultiplication(pattern, (pattern.shape[1],), (pattern.shape[0],))
    assert_close(products.forward(weight, x), found[0][0], 1e-14)


def test_the_explicit_matrix_is_refused_if_it_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    pattern = cm.ConvGeometry((200, 200), (7, 7)).pattern()
    monkeypatch.setattr(memory, "available_memory", lambda: 2**23)
    products = matrix_products.MatrixMultiplication(pattern, (pattern.shape[1],), (pattern.shape[0],))
    with pytest.raises(cm.MatrixTooLargeError, match=f"{pattern.n_entries} entries.*unfold"):
        products.forward(np.ones(pattern.weight_shape), np.ones((pattern.shape[1], 1)))


# --- gradients and adjoints ------------------------------------------------------------------------------------------


@each_case
def test_gradients_exactly_in_integers(geometry: cm.ConvGeometry) -> None:
    layer = make(geometry, bias=None)
    layer.parameters["weight"][...] = integer_weights(geometry)
    x = np.random.default_rng(0).integers(-9, 10, (2, *layer.input_shape))

    def gradient_in_x(x: Array, c: Array) -> Array:
        layer.forward(x)
        return layer.backward(c)

    cm.testing.assert_gradient(layer.forward, gradient_in_x, x, degree=1, trials=1)

    def in_weights(weights: Array) -> Array:
        layer.parameters["weight"][...] = weights
        return layer.forward(x)

    def gradient_in_weights(weights: Array, c: Array) -> Array:
        in_weights(weights)
        layer.backward(c)
        return layer.gradients["weight"]

    cm.testing.assert_gradient(in_weights, gradient_in_weights, integer_weights(geometry), degree=1, trials=1)


@each_method
def test_gradient_of_two_layers_is_exact_in_integers(method: Any) -> None:
    """The output of two layers is a polynomial of degree 2 in their weights."""
    first = make(cm.ConvGeometry((5, 5), (3, 3), out_channels=2, padding="same", boundary="reflect"), method=method)
    second = make(cm.ConvGeometry((5, 5), (2, 2), in_channels=2, stride=2, sharing=2), method=method)
    network = nn.Sequential([first, second])
    weights = [integer_weights(layer.geometry) for layer in (first, second)]
    x = np.random.default_rng(0).integers(-3, 4, (2, 1, 5, 5))
    sizes = np.cumsum([w.size for w in weights])[:-1]

    def function(flat: Array) -> Array:
        for layer, part in zip((first, second), np.split(flat, sizes), strict=True):
            layer.parameters["weight"][...] = part.reshape(layer.parameters["weight"].shape)
        return network.forward(x)

    def gradient(flat: Array, c: Array) -> Array:
        function(flat)
        network.backward(c)
        return np.concatenate([network.gradients[f"{place}.weight"].ravel() for place in range(2)])

    cm.testing.assert_gradient(function, gradient, np.concatenate([w.ravel() for w in weights]), degree=2)


@for_each(
    "layer",
    [
        nn.Dense(12, 5, bias=False, dtype=np.float64),
        nn.AvgPool((2, 3), stride=1, padding=1),
        nn.Subsample(1, dtype=np.float64),
        nn.Flatten(),
        make(cm.ConvGeometry((4, 3), (2, 2), out_channels=3, sharing="unshared"), bias=None),
    ],
)
def test_linear_layers_are_adjoint(layer: Layer) -> None:
    def backward(g: Array) -> Array:
        layer.forward(np.zeros((2, 1, 4, 3)))
        return layer.backward(g)

    cm.testing.assert_adjoint(layer.forward, backward, input_shape=(2, 1, 4, 3))


def test_gradient_of_a_network_by_finite_differences() -> None:
    G = cm.ConvGeometry
    double: dict[str, Any] = {"dtype": np.float64}
    network = nn.Sequential([
        nn.Conv(G((8, 8), (3, 3), out_channels=4, padding=1), bias=None, **double),
        nn.BatchNorm(4, **double),
        nn.Softplus(),
        nn.MaxPool(2),
        nn.Residual(
            nn.Sequential([
                nn.Conv(G((4, 4), (3, 3), in_channels=4, out_channels=6, padding=1), bias="unit", **double),
                nn.Tanh(1.7159, 2 / 3),
            ]),
            nn.Conv(G((4, 4), (1, 1), in_channels=4, out_channels=6), bias=None, **double),
        ),
        nn.GELU(),
        nn.Subsample(6, **double),
        nn.Sigmoid(),
        nn.AvgPool(2),
        nn.Dense(6, 3, **double),
        nn.LeakyReLU(0.1),
    ])  # fmt: skip
    x = np.random.default_rng(0).standard_normal((5, 1, 8, 8))

    def forward(x: Array) -> Array:
        return network.forward(x, training=True)

    def gradient(x: Array, c: Array) -> Array:
        forward(x)
        return network.backward(c)

    cm.testing.assert_gradient(forward, gradient, x, rtol=1e-6)
    for name, parameter in network.parameters.items():
        start = parameter.copy()

        def of_parameter(values: Array, parameter: Array = parameter) -> Array:
            parameter[...] = values
            return forward(x)

        def its_gradient(values: Array, c: Array, parameter: Array = parameter, name: str = name) -> Array:
            of_parameter(values, parameter)
            network.backward(c)
            return network.gradients[name]

        cm.testing.assert_gradient(of_parameter, its_gradient, start, rtol=2e-5, trials=1)
        parameter[...] = start


# --- dense layers, pooling -------------------------------------------------------------------------------------------


@for_each("bias", [True, False])
def test_dense_against_pytorch(bias: bool) -> None:
    torch = pytest.importorskip("torch")
    layer = nn.Dense(24, 7, bias=bias, dtype=np.float64, rng=2)
    rng = np.random.default_rng(0)
    x, g, b = rng.standard_normal((5, 2, 3, 4)), rng.standard_normal((5, 7)), rng.standard_normal(7)
    if bias:
        layer.parameters["bias"][...] = b
    y, dx = through(layer, x, g)

    def theirs(x: Any, weight: Any, b: Any) -> Any:
        return torch.nn.functional.linear(x.flatten(1), weight, b if bias else 0 * b)

    expected, (dx2, dw, db) = torch_gradients(theirs, x, g, layer.parameters["weight"], b)
    assert_close(y, expected)
    assert_close(dx, dx2)
    assert_close(layer.gradients["weight"], dw)
    if bias:
        assert_close(layer.gradients["bias"], db)
    np.testing.assert_array_equal(layer.pattern().matrix(layer.matrix().ravel()).toarray(), layer.matrix())


POOLS = {
    "1d": ((2,), None, 0, (2, 7)),
    "2d": ((2, 2), None, 0, (3, 6, 5)),
    "2d overlapping": ((3, 3), 2, 0, (2, 8, 9)),
    "2d overlapping, padded": ((3, 2), (2, 1), (1, 1), (2, 7, 6)),
    "2d windows with gaps": ((2, 2), 3, 0, (2, 8, 9)),
    "3d": ((2, 3, 2), 2, (1, 1, 0), (2, 5, 6, 4)),
}
each_pool = for_each("kernel, stride, padding, shape", POOLS.values(), ids=POOLS.keys())


def pool_padding(padding: Any) -> Any:
    return padding if isinstance(padding, int) else list(padding)


@each_pool
@for_each("kind", ["avg", "max"])
def test_pooling_against_pytorch(kind: str, kernel: Any, stride: Any, padding: Any, shape: Any) -> None:
    torch = pytest.importorskip("torch")
    layer = (nn.AvgPool if kind == "avg" else nn.MaxPool)(kernel, stride, padding=pool_padding(padding))
    x = np.random.default_rng(0).standard_normal((4, *shape))
    pool = getattr(torch.nn.functional, f"{kind}_pool{len(kernel)}d")
    y = layer.forward(x)
    g = np.random.default_rng(1).standard_normal(y.shape)
    expected, (dx,) = torch_gradients(lambda t: pool(t, kernel, stride, padding), x, g)
    assert_close(y, expected)
    assert_close(layer.backward(g), dx)
    assert layer.output_shape(shape) == y.shape[1:]


@each_pool
def test_max_pool_is_its_selection_matrix(kernel: Any, stride: Any, padding: Any, shape: Any) -> None:
    layer = nn.MaxPool(kernel, stride, padding=pool_padding(padding))
    rng = np.random.default_rng(0)
    x = rng.integers(-2, 3, (3, *shape)).astype(float)  # with many ties
    y = layer.forward(x)
    g = rng.standard_normal(y.shape)
    dx = layer.backward(g)
    for sample in range(3):
        S = layer.selection(sample)
        assert S.shape == (y[sample].size, x[sample].size)
        np.testing.assert_array_equal(np.diff(S.indptr), 1)
        np.testing.assert_array_equal(S.data, 1)
        np.testing.assert_array_equal(S @ x[sample].ravel(), y[sample].ravel())
        np.testing.assert_allclose(S.T @ g[sample].ravel(), dx[sample].ravel(), atol=1e-14)


@each_pool
def test_average_pool_is_its_matrix(kernel: Any, stride: Any, padding: Any, shape: Any) -> None:
    layer = nn.AvgPool(kernel, stride, padding=pool_padding(padding))
    x = np.random.default_rng(0).standard_normal((3, *shape))
    A = layer.matrix(shape)
    y = layer.forward(x)
    assert_close(y.reshape(3, -1), (A @ x.reshape(3, -1).T).T)
    assert_close(layer.backward(y).reshape(3, -1), (A.T @ y.reshape(3, -1).T).T)


@for_each("make", [nn.MaxPool, nn.AvgPool, lambda size: nn.Subsample(1, size)])
def test_pooling_goes_back_through_the_last_forward(make: Any) -> None:
    asked, plain = make(2), make(2)
    x, g = np.arange(16.0).reshape(1, 1, 4, 4), np.ones((1, 1, 2, 2))
    for layer in (asked, plain):
        layer.forward(x)
    asked.output_shape((1, 6, 8))  # another question in between
    np.testing.assert_array_equal(asked.backward(g), plain.backward(g))


def test_max_pool_selects_the_first_of_equal_samples_like_pytorch() -> None:
    torch = pytest.importorskip("torch")
    x = np.array([[[[1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 0.0, 2.0]]]])
    layer = nn.MaxPool(3, stride=1, padding=1)
    y = layer.forward(x)
    expected, (dx,) = torch_gradients(lambda t: torch.nn.functional.max_pool2d(t, 3, 1, 1), x, None)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(layer.backward(np.ones_like(y)), dx)


@for_each("place", range(4))
def test_max_pool_propagates_nan(place: int) -> None:
    x = np.array([5.0, 1.0, 7.0, 2.0])
    x[place] = np.nan
    layer = nn.MaxPool(2)
    y = layer.forward(x.reshape(1, 1, 2, 2))
    assert np.isnan(y).all()
    np.testing.assert_array_equal(layer.backward(np.ones_like(y)).ravel(), np.arange(4) == place)


def test_max_pool_never_selects_padding() -> None:
    layer = nn.MaxPool(2, stride=1, padding=1)
    x = np.full((1, 2, 3, 3), -np.inf)
    y = layer.forward(x)
    np.testing.assert_array_equal(y, -np.inf)
    S = layer.selection(0)  # a column outside of the matrix would be padding
    assert S.indices.min() >= 0
    rows, columns = np.arange(16), S.indices[:16]
    positions, samples = np.divmod(rows, 4), np.divmod(columns, 3)
    for position, sample in zip(positions, samples, strict=True):
        assert set((sample - position).tolist()) <= {-1, 0}
    assert layer.backward(np.ones_like(y)).sum() == y.size


def test_subsample_against_pytorch_and_its_pattern() -> None:
    torch = pytest.importorskip("torch")
    layer = nn.Subsample(3, dtype=np.float64)
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(layer.parameters["weight"], 0.25)
    weight, bias = rng.standard_normal(3), rng.standard_normal(3)
    layer.parameters["weight"][...], layer.parameters["bias"][...] = weight, bias
    x, g = rng.standard_normal((4, 3, 6, 4)), rng.standard_normal((4, 3, 3, 2))
    y, dx = through(layer, x, g)

    def theirs(x: Any, weight: Any, bias: Any) -> Any:
        return torch.nn.functional.avg_pool2d(x, 2) * 4 * weight[:, None, None] + bias[:, None, None]

    expected, (dx2, dw, db) = torch_gradients(theirs, x, g, weight, bias)
    for actual, wanted in ((y, expected), (dx, dx2), (layer.gradients["weight"], dw), (layer.gradients["bias"], db)):
        assert_close(actual, wanted)
    pattern = layer.pattern((3, 6, 4))
    assert pattern.n_weights == 3
    A = layer.matrix((3, 6, 4))
    spread = np.repeat(bias, 6)[:, None]
    assert_close(y.reshape(4, -1).T, A @ x.reshape(4, -1).T + spread)
    assert_close(pattern.weight_gradient(x.reshape(4, -1).T, g.reshape(4, -1).T), dw)


# --- elementwise layers ----------------------------------------------------------------------------------------------

ELEMENTWISE: dict[str, tuple[Layer, Callable[[Any], Any]]] = {
    "ReLU": (nn.ReLU(), lambda t: t.relu()),
    "LeakyReLU": (nn.LeakyReLU(0.2), lambda t: t.where(t > 0, 0.2 * t)),
    "Sigmoid": (nn.Sigmoid(), lambda t: t.sigmoid()),
    "Tanh": (nn.Tanh(), lambda t: t.tanh()),
    "LeCun's Tanh": (nn.Tanh(1.7159, 2 / 3), lambda t: 1.7159 * (t * (2 / 3)).tanh()),
    "GELU": (nn.GELU(), lambda t: __import__("torch").nn.functional.gelu(t)),
    "Softplus": (nn.Softplus(), lambda t: __import__("torch").nn.functional.softplus(t, threshold=1e9)),
}
each_elementwise = for_each("name", ELEMENTWISE)


@each_elementwise
def test_elementwise_against_pytorch(name: str) -> None:
    pytest.importorskip("torch")
    layer, theirs = ELEMENTWISE[name]
    x = np.concatenate([np.linspace(-8, 8, 41), [0.0, 1e-9, -1e-9, 30.0, -30.0]]).reshape(2, 23)
    g = np.random.default_rng(0).standard_normal(x.shape)
    expected, (dx,) = torch_gradients(theirs, x, g)
    y, back = through(layer, x, g)
    # PyTorch's normal distribution function and softplus lose digits in the tails.
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(back, dx, rtol=1e-12, atol=1e-13)


def test_constants_of_activations_are_attributes() -> None:
    layer = nn.LeakyReLU(0.2)
    layer.slope = 0.5
    assert (layer.forward(np.array([[-2.0]])).item(), repr(layer)) == (-1.0, "LeakyReLU(0.5)")
    assert repr(nn.Tanh(1.5, 2)) == "Tanh(1.5, 2)"
    for kind in (nn.ReLU, nn.Sigmoid, nn.GELU, nn.Softplus):
        with pytest.raises(TypeError, match="slope"):
            kind(slope=0.1)  # type: ignore[call-arg]


@each_elementwise
def test_elementwise_far_out(name: str) -> None:
    layer, _ = ELEMENTWISE[name]
    x = np.array([[-1e4, 1e4]])
    y, back = through(layer, x, np.ones_like(x))
    assert np.isfinite(y).all()
    assert np.isfinite(back).all()


@each_elementwise
def test_elementwise_of_infinities_and_nan_against_pytorch(name: str) -> None:
    pytest.importorskip("torch")
    layer, theirs = ELEMENTWISE[name]
    if name == "LeCun's Tanh":  # written with a product that PyTorch's function does not have
        return
    x, g = np.array([[-np.inf, np.inf, np.nan]]), np.ones((1, 3))
    with np.errstate(invalid="ignore"):
        y, back = through(layer, x, g)
    expected, (dx,) = torch_gradients(theirs, x, g)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(back, dx)


@each_elementwise
def test_elementwise_computes_integers_in_float64(name: str) -> None:
    layer, _ = ELEMENTWISE[name]
    x = np.array([[-3, 0, 2]])
    y = layer.forward(x)
    assert y.dtype == np.float64
    np.testing.assert_array_equal(y, layer.forward(x.astype(float)))


def test_flatten() -> None:
    layer = nn.Flatten()
    x = np.arange(24.0).reshape(2, 3, 4)
    y = layer.forward(x)
    np.testing.assert_array_equal(y, x.reshape(2, 12))
    np.testing.assert_array_equal(layer.backward(y), x)
    assert layer.output_shape((3, 4)) == (12,)


# --- normalisation, dropout, shortcuts -------------------------------------------------------------------------------


@for_each("shape", [(6, 3), (4, 3, 5), (4, 3, 5, 2)])
def test_batch_norm_against_pytorch(shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    layer = nn.BatchNorm(3, momentum=0.3, epsilon=1e-3, dtype=np.float64)
    weight, bias = rng.standard_normal(3), rng.standard_normal(3)
    layer.parameters["weight"][...], layer.parameters["bias"][...] = weight, bias
    mean, variance = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    for training in (True, True, False):
        x, g = rng.standard_normal(shape) + 2, rng.standard_normal(shape)
        y, dx = through(layer, x, g, training=training)

        def theirs(x: Any, weight: Any, bias: Any, training: bool = training) -> Any:
            return torch.nn.functional.batch_norm(x, mean, variance, weight, bias, training, 0.3, 1e-3)

        expected, (dx2, dw, db) = torch_gradients(theirs, x, g, weight, bias)
        for actual, wanted in (
            (y, expected),
            (dx, dx2),
            (layer.gradients["weight"], dw),
            (layer.gradients["bias"], db),
        ):
            assert_close(actual, wanted)
        assert_close(layer.running_mean, mean.numpy())
        assert_close(layer.running_variance, variance.numpy())
    assert layer.state().keys() == {"weight", "bias", "running_mean", "running_variance"}


def test_running_variance_does_not_cancel() -> None:
    layer = nn.BatchNorm(1, momentum=1.0, dtype=np.float64)
    x = np.array([[1e-9], [3e-9]])
    layer.running_variance[...] = 1e9
    layer.forward(x, training=True)
    assert layer.running_variance == pytest.approx(x.var(ddof=1), rel=1e-14, abs=0)


def test_a_state_that_does_not_fit_changes_nothing() -> None:
    layer = nn.BatchNorm(2)
    before = {name: array.copy() for name, array in layer.state().items()}
    wrong = {name: array + 1 for name, array in before.items()} | {"running_variance": np.ones(3)}
    with pytest.raises(ValueError, match=r"running_variance .*\(2,\).*\(3,\)"):
        layer.load_state(wrong)
    for name, array in layer.state().items():
        np.testing.assert_array_equal(array, before[name])


def test_copies_of_a_network_in_threads_do_not_disturb_each_other() -> None:
    network = nn.small()
    batches = np.random.default_rng(0).standard_normal((4, 8, 1, 8, 8)).astype(np.float32)
    gradients = np.random.default_rng(1).standard_normal((4, 8, 10)).astype(np.float32)

    def run(pair: tuple[Any, Any]) -> list[Any]:
        mine = copy.deepcopy(network)
        for _ in range(5):
            mine.forward(pair[0])
            back = mine.backward(pair[1])
        return [back, *mine.gradients.values()]

    pairs = list(zip(batches, gradients, strict=True))
    with ThreadPoolExecutor(4) as pool:
        for ours, expected in zip(pool.map(run, pairs), map(run, pairs), strict=True):
            for array, other in zip(ours, expected, strict=True):
                np.testing.assert_array_equal(array, other)


def test_dropout() -> None:
    layer = nn.Dropout(0.25, rng=1)
    x = np.ones((100, 200), dtype=np.float32)
    y = layer.forward(x, training=True)
    assert y.dtype == np.float32
    assert set(np.unique(y).tolist()) == {0.0, float(np.float32(1 / 0.75))}
    assert abs((y == 0).mean() - 0.25) < 0.01
    np.testing.assert_array_equal(layer.backward(x), y)  # the same units
    assert (layer.forward(x, training=True) != y).any()
    np.testing.assert_array_equal(layer.forward(x), x)
    np.testing.assert_array_equal(layer.backward(x), x)
    np.testing.assert_array_equal(nn.Dropout(0.25, rng=1).forward(x, training=True), y)
    np.testing.assert_array_equal(nn.Dropout(0.0).forward(x, training=True), x)


def test_residual_adds_body_and_shortcut() -> None:
    body, side = (make(cm.ConvGeometry((4, 4), (1, 1), out_channels=2), rng=seed) for seed in (1, 2))
    layer = nn.Residual(body, side)
    rng = np.random.default_rng(0)
    x, g = rng.standard_normal((3, 1, 4, 4)), rng.standard_normal((3, 2, 4, 4))
    y, dx = through(layer, x, g)
    assert_close(y, body.forward(x) + side.forward(x))
    assert_close(dx, body.backward(g) + side.backward(g))
    assert layer.parameters.keys() == {"body.weight", "body.bias", "shortcut.weight", "shortcut.bias"}
    plain = nn.Residual(nn.ReLU())
    np.testing.assert_array_equal(plain.forward(x), np.maximum(x, 0) + x)
    np.testing.assert_array_equal(plain.backward(x), (x > 0) * x + x)


# --- losses, initialisers --------------------------------------------------------------------------------------------


def test_softmax_cross_entropy_against_pytorch() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    output, labels = 30 * rng.standard_normal((12, 5)), rng.integers(0, 5, 12)
    theirs, (expected,) = torch_gradients(
        lambda t: torch.nn.functional.cross_entropy(t, torch.tensor(labels)), output, None
    )
    value, gradient = nn.SoftmaxCrossEntropy()(output, labels)
    assert value == pytest.approx(float(theirs), rel=1e-12)
    np.testing.assert_allclose(gradient, expected, rtol=1e-11, atol=1e-15)
    assert nn.SoftmaxCrossEntropy()(np.array([[1e4, -1e4]]), [0])[0] == 0.0


def test_truth_values_are_labels() -> None:
    output, labels = np.random.default_rng(0).standard_normal((4, 2)), np.array([True, False, True, True])
    for loss in (nn.SoftmaxCrossEntropy(), nn.SquaredError()):
        (value, gradient), (expected, other) = loss(output, labels), loss(output, labels.astype(int))
        assert value == expected
        np.testing.assert_array_equal(gradient, other)


def test_losses_compute_integers_in_floating_point() -> None:
    for loss in (nn.SquaredError(), nn.SoftmaxCrossEntropy()):
        y = np.array([[3, 1, 0], [0, 2, 2]])
        value, gradient = loss(y, [0, 2])
        expected = loss(y.astype(float), [0, 2])
        assert (value, gradient.tolist()) == (expected[0], expected[1].tolist())
        assert loss(y.tolist(), [0, 2])[1].dtype == np.float64
        assert loss(y.astype(np.float16), [0, 2])[1].dtype == np.float32


def test_squared_error_against_pytorch() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    output, targets = rng.standard_normal((2, 6, 3))
    theirs, (expected,) = torch_gradients(
        lambda t: torch.nn.functional.mse_loss(t, torch.tensor(targets)), output, None
    )
    value, gradient = nn.SquaredError()(output, targets)
    assert value == pytest.approx(float(theirs), rel=1e-12)
    assert_close(gradient, expected)
    labels = np.array([0, 2, 1, 1, 0, 2])
    vectors = np.where(np.arange(3) == labels[:, None], 0.8, -0.6)
    by_labels, by_vectors = nn.SquaredError(0.8, -0.6)(output, labels), nn.SquaredError()(output, vectors)
    assert by_labels[0] == by_vectors[0]
    np.testing.assert_array_equal(by_labels[1], by_vectors[1])


def test_initialisers() -> None:
    shape, rng = (200, 50, 3, 3), np.random.default_rng(0)
    weights = nn.lecun_uniform(shape, 450, 1800, rng)
    assert weights.shape == shape
    assert 0.999 * 2.4 / 450 < np.abs(weights).max() <= 2.4 / 450
    weights = nn.glorot_uniform(shape, 450, 1800, rng)
    assert weights.var() == pytest.approx(2 / 2250, rel=0.02)
    assert np.abs(weights).max() <= math.sqrt(6 / 2250)
    weights = nn.he_normal(shape, 450, 1800, rng)
    assert weights.var() == pytest.approx(2 / 450, rel=0.02)
    assert np.abs(weights).max() > 3 * math.sqrt(2 / 450)


@for_each(
    "geometry, fans",
    [
        (cm.ConvGeometry((8, 8), (3, 3), in_channels=4, out_channels=6, groups=2), (18, 27)),
        (cm.ConvGeometry((14, 14), (5, 5), in_channels=6, out_channels=16, connections=LENET5_C3), (150, 250)),
        (cm.ConvGeometry(5, 3, sharing="unshared", in_channels=2), (6, 3)),
    ],
    ids=["groups", "connection table", "unshared"],
)
def test_fans_are_handed_to_the_initialiser(geometry: cm.ConvGeometry, fans: tuple[int, int]) -> None:
    seen = []

    def initialiser(shape: tuple[int, ...], fan_in: int, fan_out: int, rng: np.random.Generator) -> Array:
        seen.append((shape, fan_in, fan_out))
        return rng.standard_normal(shape)

    layer = nn.Conv(geometry, initialiser=initialiser, rng=5)
    assert seen == [(geometry.weight_shape, *fans)]
    drawn = np.random.default_rng(5).standard_normal(geometry.weight_shape).astype(np.float32)
    np.testing.assert_array_equal(layer.parameters["weight"], drawn)


# --- dtypes and memory -----------------------------------------------------------------------------------------------

SINGLE: dict[str, Layer] = {
    "unfold": nn.Conv(cm.ConvGeometry((4, 4), (3, 3), in_channels=2, out_channels=2, padding=1)),
    "matrix": nn.Conv(cm.ConvGeometry((4, 4), (3, 3), in_channels=2, out_channels=2, padding=1), method="matrix"),
    "circular": nn.Conv(cm.ConvGeometry((4, 4), (3, 3), in_channels=2, padding=1, boundary="circular"), bias="unit"),
    "tiled": nn.Conv(cm.ConvGeometry((4, 4), (2, 2), in_channels=2, sharing=2)),
    "transposed": nn.ConvTranspose(cm.ConvGeometry((4, 4), (2, 2), in_channels=2, stride=2, transposed=True)),
    "Dense": nn.Dense(32, 3),
    "AvgPool": nn.AvgPool(2),
    "Subsample": nn.Subsample(2),
    "MaxPool": nn.MaxPool(2, padding=1),
    "BatchNorm": nn.BatchNorm(2),
    "Dropout": nn.Dropout(),
    "Flatten": nn.Flatten(),
    "Residual": nn.Residual(nn.Tanh()),
    **{name: layer for name, (layer, _) in ELEMENTWISE.items()},
}


@for_each("training", [True, False])
@for_each("name", SINGLE)
def test_float32_stays_float32(name: str, training: bool) -> None:
    layer = SINGLE[name]
    x = np.random.default_rng(0).standard_normal((3, 2, 4, 4)).astype(np.float32)
    y = layer.forward(x, training=training)
    assert y.dtype == np.float32
    assert layer.backward(y).dtype == np.float32
    assert {array.dtype for array in (*layer.gradients.values(), *layer.state().values())} <= {np.dtype(np.float32)}
    assert layer.output_shape((2, 4, 4)) == y.shape[1:]


@for_each("name", [name for name, layer in SINGLE.items() if layer.parameters])
def test_layers_with_parameters_compute_in_their_dtype(name: str) -> None:
    layer = SINGLE[name]
    rng = np.random.default_rng(0)
    for dtype in (np.float64, np.float16, np.int64, np.uint8):
        x = (10 * rng.random((2, 2, 4, 4))).astype(dtype)
        y = layer.forward(x)
        assert y.dtype == np.float32
        assert layer.backward(np.ones(y.shape)).dtype == np.float32


@for_each("name", [name for name, layer in SINGLE.items() if not layer.parameters])
def test_layers_without_a_dtype_return_floating_point(name: str) -> None:
    layer = SINGLE[name]
    for dtype, expected in ((np.int64, np.float64), (np.uint8, np.float64), (np.float16, np.float32)):
        x = np.arange(64).reshape(2, 2, 4, 4).astype(dtype)
        y = layer.forward(x, training=True)
        assert y.dtype == expected
        assert layer.backward(np.ones(y.shape, dtype)).dtype == expected
    for wrong in (x.astype(complex), x.astype(bool), np.ma.masked_array(x, mask=x > 3)):
        with pytest.raises(TypeError, match=r"x .*(complex128|bool|masked)"):
            layer.forward(wrong)


@for_each("name", SINGLE)
def test_empty_batch(name: str) -> None:
    layer = SINGLE[name]
    y = layer.forward(np.zeros((0, 2, 4, 4), dtype=np.float32))
    assert y.shape == (0, *layer.output_shape((2, 4, 4)))
    assert layer.backward(y).shape == (0, 2, 4, 4)


@for_each("name", SINGLE)
def test_inputs_are_not_changed(name: str) -> None:
    x = np.moveaxis(np.random.default_rng(0).standard_normal((2, 4, 4, 3)).astype(np.float32), -1, 0)
    kept = x.copy()
    y = SINGLE[name].forward(x, training=True)
    g = np.moveaxis(np.ascontiguousarray(np.moveaxis(y, 0, -1)), -1, 0)
    kept_g = g.copy()
    SINGLE[name].backward(g)
    np.testing.assert_array_equal(x, kept)
    np.testing.assert_array_equal(g, kept_g)


@for_each("name", SINGLE)
def test_layers_return_arrays_with_the_batch_last_in_memory(name: str) -> None:
    """So that the next layer uses them without a copy."""
    layer = SINGLE[name]
    x = np.moveaxis(np.random.default_rng(0).standard_normal((2, 4, 4, 3)).astype(np.float32), -1, 0)
    y = layer.forward(x, training=True)
    assert np.moveaxis(y, 0, -1).flags.c_contiguous
    following = nn.Dense(math.prod(y.shape[1:]), 2)
    following.forward(y)
    assert np.shares_memory(following._input, y)


# --- products --------------------------------------------------------------------------------------------------------


def by_step(layer: Layer, shape: tuple[int, ...] | None = None) -> dict[str, nn.Product]:
    return {product.step: product for product in layer.products(shape)}


@each_case
def test_products_are_those_of_the_real_matrices(geometry: cm.ConvGeometry) -> None:
    U, A = geometry.unfold_matrix(), geometry.pattern().matrix(integer_weights(geometry))
    multiplications = sum(1 for _ in reference.taps(geometry))
    unfold = by_step(make(geometry))
    assert unfold.keys() == {"forward", "weight gradient", "input gradient"}
    for product in unfold.values():
        assert (product.shape, product.nonzeros, product.multiply_adds) == (U.shape, U.nnz, multiplications)
    matrix = by_step(make(geometry, method="matrix"))
    for step in ("forward", "input gradient"):
        assert matrix[step][3:] == (A.shape, A.nnz, A.nnz)
    assert matrix["weight gradient"][3:] == (A.shape, geometry.pattern().n_entries, geometry.pattern().n_entries)


def test_products_of_pooling_and_dense_layers() -> None:
    shape = (2, 5, 6)
    average, largest, sums = nn.AvgPool(3, stride=2, padding=1), nn.MaxPool(2), nn.Subsample(2)
    A = average.matrix(shape)
    assert [(p.formula, p.shape, p.nonzeros) for p in average.products(shape)] == [
        ("A @ X", A.shape, A.nnz),
        ("A.T @ G", A.shape, A.nnz),
    ]
    largest.forward(np.zeros((1, *shape)))
    S = largest.selection(0)
    assert [(p.formula, p.shape, p.nonzeros) for p in largest.products(shape)] == [
        ("S @ X", S.shape, S.nnz),
        ("S.T @ G", S.shape, S.nnz),
    ]
    B = sums.matrix(shape)
    assert [p.step for p in sums.products(shape)] == ["forward", "weight gradient", "input gradient"]
    assert {(p.shape, p.nonzeros) for p in sums.products(shape)} == {(B.shape, B.nnz)}
    assert {p[3:] for p in nn.Dense(6, 4).products()} == {((4, 6), 24, 24)}
    assert nn.ReLU().products() == []


def test_products_of_a_network_go_forward_and_then_backward() -> None:
    network = nn.Sequential([
        nn.Conv(cm.ConvGeometry((6, 6), (3, 3), out_channels=2)),
        nn.MaxPool(2),
        nn.Residual(nn.Conv(cm.ConvGeometry((2, 2), (1, 1), in_channels=2, out_channels=2))),
        nn.Dense(8, 3),
    ])  # fmt: skip
    steps = [(p.layer, p.step) for p in network.products()]
    assert steps == [
        ("0 Conv", "forward"),
        ("1 MaxPool", "forward"),
        ("2 body Conv", "forward"),
        ("3 Dense", "forward"),
        ("3 Dense", "weight gradient"),
        ("3 Dense", "input gradient"),
        ("2 body Conv", "weight gradient"),
        ("2 body Conv", "input gradient"),
        ("1 MaxPool", "input gradient"),
        ("0 Conv", "weight gradient"),
        ("0 Conv", "input gradient"),
    ]
    assert network.products((1, 6, 6)) == network.products()
    nested = nn.Residual(nn.Sequential([nn.Dense(3, 3)]), nn.Dense(3, 3, bias=False))
    assert nested.input_shape == (3,)
    assert {p.layer for p in nested.products()} == {"body 0 Dense", "shortcut Dense"}


# --- errors ----------------------------------------------------------------------------------------------------------

PLAIN = cm.ConvGeometry((4, 4), (3, 3))
ERRORS: dict[str, tuple[type[Exception], str, Callable[[], Any]]] = {
    "no geometry": (TypeError, "geometry .*ConvGeometry.* tuple", lambda: nn.Conv((4, 4))),  # type: ignore[arg-type]
    "transposed": (
        ValueError,
        "transposed=True.*ConvTranspose",
        lambda: nn.Conv(cm.ConvGeometry(4, 2, transposed=True)),
    ),
    "not transposed": (ValueError, "transposed=False.* Conv", lambda: nn.ConvTranspose(PLAIN)),
    "dtype": (TypeError, "dtype .*float32.*float64.*int64", lambda: nn.Conv(PLAIN, dtype=int)),
    "dtype of Dense": (TypeError, "dtype.*float16", lambda: nn.Dense(2, 2, dtype=np.float16)),
    "dtype of Subsample": (TypeError, "dtype.*complex128", lambda: nn.Subsample(2, dtype=complex)),
    "dtype of BatchNorm": (TypeError, "dtype.*int64", lambda: nn.BatchNorm(2, dtype=int)),
    "bias": (ValueError, "bias 'all'.*channel, unit or None", lambda: nn.Conv(PLAIN, bias="all")),  # type: ignore[arg-type]
    "method": (
        ValueError,
        "method 'fft'.*unfold.*matrix",
        lambda: nn.Conv(PLAIN, method="fft"),  # type: ignore[arg-type]
    ),
    "shape": (ValueError, r"\(batch, 1, 4, 4\).*\(1, 5, 4\)", lambda: nn.Conv(PLAIN).forward(np.zeros((2, 1, 5, 4)))),
    "complex": (
        TypeError,
        "real.*complex128.*float32",
        lambda: nn.Conv(PLAIN).forward(np.zeros((2, 1, 4, 4), dtype=complex)),
    ),
    "complex ReLU": (TypeError, r"ReLU\(\).*complex128", lambda: nn.ReLU().forward(np.zeros(2, "D"))),
    "Dense shape": (ValueError, r"n_in=6\b.*\b8\b.*\(2, 4\)", lambda: nn.Dense(6, 2).forward(np.zeros((3, 2, 4)))),
    "Dense sizes": (ValueError, "n_out .*1.*0", lambda: nn.Dense(6, 0)),
    "BatchNorm shape": (
        ValueError,
        r"BatchNorm\(3\).*\(batch, 3, ...\).*\(2, 4\)",
        lambda: nn.BatchNorm(3).forward(np.zeros((3, 2, 4))),
    ),
    "BatchNorm of one": (
        ValueError,
        r"at least 2.*\(1, 3\)",
        lambda: nn.BatchNorm(3).forward(np.zeros((1, 3)), training=True),
    ),
    "BatchNorm channels": (ValueError, "channels.*1.*0", lambda: nn.BatchNorm(0)),
    "BatchNorm momentum": (ValueError, r"momentum.*\(0, 1\].*2", lambda: nn.BatchNorm(3, momentum=2)),
    "BatchNorm epsilon": (ValueError, "epsilon.*positive.*0", lambda: nn.BatchNorm(3, epsilon=0)),
    "Dropout": (ValueError, r"rate.*\[0, 1\).*1", lambda: nn.Dropout(1)),
    "pool without channels": (
        ValueError,
        r"\(channels, \*spatial\).*\(4,\)",
        lambda: nn.MaxPool(2).forward(np.zeros((3, 4))),
    ),
    "pool larger than the image": (ValueError, "axis 0", lambda: nn.AvgPool(5).forward(np.zeros((3, 1, 4, 4)))),
    "pool of padding": (
        ValueError,
        r"axis 0 .*2 .*padding=\(2, 2\), 4 samples",
        lambda: nn.MaxPool(2, padding=2).forward(np.zeros((3, 1, 4, 4))),
    ),
    "pool of padding at the start": (
        ValueError,
        "axis 0 .*2 .*padding",
        lambda: nn.MaxPool(2, padding=[(2, 0), (0, 0)]).forward(np.zeros((3, 1, 4, 4))),
    ),
    "pool of padding at the end": (
        ValueError,
        "axis 1 .*2 .*padding",
        lambda: nn.MaxPool(2, padding=[(0, 0), (0, 2)]).forward(np.zeros((3, 1, 4, 4))),
    ),
    "pool products": (ValueError, r"give input_shape=\(channels, \*spatial\)", lambda: nn.MaxPool(2).products()),
    "Subsample channels": (
        ValueError,
        r"\(batch, 2, 4, 4\).*\(3, 4, 4\)",
        lambda: nn.Subsample(2).forward(np.zeros((1, 3, 4, 4))),
    ),
    "selection": (
        IndexError,
        "sample 3 .*batch.* 2",
        lambda: [pool := nn.MaxPool(2), pool.forward(np.zeros((2, 1, 4, 4))), pool.selection(3)],
    ),
    "no layer": (TypeError, r"layers\[1\].* int\b", lambda: nn.Sequential([nn.ReLU(), 3])),  # type: ignore[list-item]
    "a layer twice": (
        ValueError,
        r"layers 0 and 2.*ReLU\(\)",
        lambda: nn.Sequential([layer := nn.ReLU(), nn.Tanh(), layer]),
    ),
    "a layer inside and outside": (
        ValueError,
        r"layers 0 and 1.body.0 .*ReLU\(\)",
        lambda: nn.Sequential([layer := nn.ReLU(), nn.Residual(nn.Sequential([layer]))]),
    ),
    "a layer in body and shortcut": (
        ValueError,
        r"layers body and shortcut .*Tanh",
        lambda: nn.Residual(layer := nn.Tanh(), layer),
    ),
    "products of what": (
        ValueError,
        r"give input_shape=\(channels, \*spatial\)",
        lambda: nn.Sequential([nn.ReLU(), nn.Dense(2, 2)]).products(),
    ),
    "no body": (TypeError, "body.* int", lambda: nn.Residual(3)),  # type: ignore[arg-type]
    "no shortcut": (TypeError, "shortcut.* int", lambda: nn.Residual(nn.ReLU(), 3)),  # type: ignore[arg-type]
    "Residual": (
        ValueError,
        r"body .*\(3,\).*shortcut \(2,\)",
        lambda: nn.Residual(nn.Dense(2, 3)).forward(np.zeros((4, 2))),
    ),
    "state": (
        ValueError,
        r"missing.*\['bias'\].*unknown.*\['b'\]",
        lambda: nn.Dense(2, 2).load_state({"weight": np.zeros((2, 2)), "b": np.zeros(2)}),
    ),
    "state's shape": (
        ValueError,
        r"bias .*\(2,\).*\(3,\)",
        lambda: nn.Dense(2, 2).load_state({"weight": np.zeros((2, 2)), "bias": np.zeros(3)}),
    ),
    "state's dtype": (
        ValueError,
        r"bias .*complex128",
        lambda: nn.Dense(2, 2).load_state({"weight": np.zeros((2, 2)), "bias": np.zeros(2, complex)}),
    ),
    "one label for two samples": (ValueError, r"2 samples.*\(1,\)", lambda: nn.SquaredError()(np.zeros((2, 3)), [0])),
    "one label for two samples, softmax": (
        ValueError,
        r"2 samples.*\(1,\)",
        lambda: nn.SoftmaxCrossEntropy()(np.zeros((2, 3)), [0]),
    ),
    "labels of an empty batch": (ValueError, r"\(0, 3\)", lambda: nn.SoftmaxCrossEntropy()(np.zeros((0, 3)), [])),
    "float labels": (ValueError, "labels.*float64", lambda: nn.SoftmaxCrossEntropy()(np.zeros((2, 3)), [0.0, 1.0])),
    "labels of a single output": (
        ValueError,
        r"targets.*\(\).*\(1,\)",
        lambda: nn.SquaredError()(np.zeros((2, 1)), np.array([0, 0])),
    ),
    "targets that would be broadcast": (
        ValueError,
        r"\(1,\).*\(3,\)",
        lambda: nn.SquaredError()(np.zeros((2, 3)), np.zeros((2, 1))),
    ),
    "masked labels": (
        TypeError,
        "targets .*masked.* 1 of .*2",
        lambda: nn.SoftmaxCrossEntropy()(np.zeros((2, 3)), np.ma.masked_array([0, 1], mask=[True, False])),
    ),
    "complex output": (TypeError, "complex128", lambda: nn.SquaredError()(np.zeros((1, 2), complex), [0])),
    "on": (ValueError, "on .*nan", lambda: nn.SquaredError(on=math.nan)),
    "slope": (ValueError, "slope .*nan", lambda: nn.LeakyReLU(math.nan)),
    "scale": (TypeError, "scale .*'1'", lambda: nn.Tanh("1")),  # type: ignore[arg-type]
    "infinite epsilon": (ValueError, "epsilon.*inf", lambda: nn.BatchNorm(1, epsilon=math.inf)),
    "infinite rate": (ValueError, "learning_rate.*inf", lambda: nn.SGD(np.inf)),
    "infinite decay": (ValueError, "weight_decay.*inf", lambda: nn.SGD(0.1, weight_decay=np.inf)),
    "negative epsilon": (ValueError, "epsilon.*-1", lambda: nn.Adam(epsilon=-1)),
    "labels in the loss": (
        ValueError,
        r"labels.*\(4,\).*float64",
        lambda: nn.SoftmaxCrossEntropy().check((3,), np.zeros(4)),
    ),
    "outputs in the loss": (
        ValueError,
        r"\(batch, classes\).*\(3, 2\)",
        lambda: nn.SoftmaxCrossEntropy().check((3, 2), np.zeros(4, dtype=int)),
    ),
    "labels too large": (
        ValueError,
        r"labels.* 0 to 3.* 3 outputs.*0 \.\. 2",
        lambda: nn.SoftmaxCrossEntropy().check((3,), np.arange(4)),
    ),
    "labels too large for vectors": (
        ValueError,
        "labels.* -1 to 2.* 3 outputs",
        lambda: nn.SquaredError().check((3,), np.arange(-1, 3)),
    ),
    "targets": (
        ValueError,
        r"targets.*\(2,\).*outputs.*\(3,\)",
        lambda: nn.SquaredError().check((3,), np.zeros((4, 2))),
    ),
}

WRONG_NUMBERS: dict[str, Callable[[Any], object]] = {
    "learning_rate": nn.SGD,
    "weight_decay": lambda value: nn.Adam(0.1, weight_decay=value),
    "momentum": lambda value: nn.SGD(0.1, momentum=value),
    "beta2": lambda value: nn.Adam(0.1, beta2=value),
    "epsilon": lambda value: nn.Adam(0.1, epsilon=value),
    "rate": nn.Dropout,
    "momentum ": lambda value: nn.BatchNorm(2, momentum=value),
    "epsilon ": lambda value: nn.BatchNorm(2, epsilon=value),
    "value": lambda value: nn.Pad([(1, 1)], value),
}


@for_each("name", WRONG_NUMBERS)
def test_numbers_that_are_none(name: str) -> None:
    for value in ("a", None, [1.0]):
        with pytest.raises(TypeError, match=f"^{name.strip()} must be a number, but is "):
            WRONG_NUMBERS[name](value)


def test_what_is_given_in_place_of_widths_or_a_pattern() -> None:
    for widths in (1, [1], [(1, 2, 3)]):
        with pytest.raises(TypeError, match=r"^widths must be one pair"):
            nn.Pad(widths)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^widths\[0\]\[1\] must be an integer, but is \[2, 3\]"):
        nn.Pad([(1, [2, 3])])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="pattern must be of type WeightPattern, but is 'x'"):
        nn.PatternLayer("x", (1,), (1,))  # type: ignore[arg-type]


def test_a_schedule_that_overflows_is_refused_by_the_optimiser() -> None:
    parameters = {"w": np.ones(1)}
    optimiser = nn.SGD(nn.step_decay(1.0, every=1, factor=10.0))
    optimiser.steps = 400
    with pytest.raises(ValueError, match=r"learning_rate\(400\) is inf"):
        optimiser.step(parameters, parameters)


@for_each("kind, message, function", ERRORS.values(), ids=ERRORS.keys())
def test_errors(kind: type[Exception], message: str, function: Callable[[], Any]) -> None:
    with pytest.raises(kind, match=message):
        function()


FRESH: dict[str, Callable[[], Layer]] = {
    "Conv": lambda: nn.Conv(PLAIN),
    "Dense": lambda: nn.Dense(16, 2),
    "AvgPool": lambda: nn.AvgPool(2),
    "Subsample": lambda: nn.Subsample(1),
    "MaxPool": lambda: nn.MaxPool(2),
    "BatchNorm": lambda: nn.BatchNorm(1),
    "Dropout": nn.Dropout,
    "Flatten": nn.Flatten,
    "ReLU": nn.ReLU,
}


@for_each("name", FRESH)
def test_backward_needs_a_forward(name: str) -> None:
    with pytest.raises(RuntimeError, match=rf"{name}\(.*\).*forward first"):
        FRESH[name]().backward(np.zeros((1, 1, 4, 4)))


@for_each("name", FRESH)
def test_backward_checks_the_shape(name: str) -> None:
    layer = FRESH[name]()
    y = layer.forward(np.zeros((2, 1, 4, 4)))
    with pytest.raises(ValueError, match=r"last output.*\(2, .*\(3, "):
        layer.backward(np.zeros((3, *y.shape[1:])))


@for_each("name", FRESH)
def test_repr_names_the_layer(name: str) -> None:
    assert repr(FRESH[name]()).startswith(f"{name}(")


# --- layers as networks ----------------------------------------------------------------------------------------------


class Swish(nn.Activation):
    """An activation that convmatrix.network does not know."""

    def value_and_slope(self, x: Array) -> tuple[Array, Array]:
        s = 1 / (1 + np.exp(-x))
        return x * s, s * (1 + x * (1 - s))


def every_layer() -> nn.Sequential:
    """Return a network with every kind of layer, trained a little, in float64."""
    G = cm.ConvGeometry
    double: dict[str, Any] = {"dtype": np.float64}
    tied = cm.equivariance.tied_pattern(G((5, 5), (3, 3), in_channels=4, out_channels=2, padding="same"), "D4")
    network = nn.Sequential([
        nn.Pad([(1, 0), (2, 1)], -1.5),
        nn.Conv(G((9, 11), (3, 3), out_channels=4, padding=1, boundary=("reflect", "circular")), bias="unit", **double),
        nn.BatchNorm(4, **double),
        nn.ReLU(),
        nn.MaxPool((3, 2), stride=2, padding=[(1, 0), (0, 1)]),
        nn.Residual(
            nn.Sequential([
                nn.Conv(G((4, 6), (3, 3), in_channels=4, out_channels=6, padding=1), **double),
                nn.Tanh(2, 0.3),
            ]),
            nn.Conv(G((4, 6), (1, 1), in_channels=4, out_channels=6, groups=2), bias=None, **double),
        ),
        nn.GELU(),
        nn.Dropout(0.5),
        nn.ConvTranspose(G((4, 6), (3, 2), in_channels=6, out_channels=4, transposed=True), **double),
        nn.LeakyReLU(0.3),
        nn.Subsample(4, (2, 3), stride=1, **double),
        nn.Residual(nn.Sequential([nn.Sigmoid(), nn.Softplus()])),
        nn.AvgPool(2, stride=1, padding=[(0, 1), (1, 0)]),
        nn.Residual(Swish()),
        nn.PatternLayer(tied, (4, 5, 5), (2, 5, 5), **double),
        nn.Flatten(),
        nn.Dense(50, 4, **double),
        nn.Dense(4, 3, bias=False, **double),
    ])  # fmt: skip
    rng = np.random.default_rng(0)
    for name, parameter in network.parameters.items():
        parameter += rng.standard_normal(parameter.shape) * (1 if "bias" in name else 0.1)
    network.forward(rng.standard_normal((6, 1, 8, 8)), training=True)  # moves the running averages
    return network


def test_a_network_of_layers_is_the_same_as_network() -> None:
    layers = every_layer()
    network = layers.to_network((1, 8, 8))
    x = np.random.default_rng(1).standard_normal((5, 1, 8, 8))
    assert_close(network(x), layers.forward(x), 1e-12)
    values = network.values(x)
    for place in range(len(layers.layers)):
        part = nn.Sequential(layers.layers[: place + 1])
        assert_close(values[str(place)], part.forward(x), 1e-12)
        assert network[str(place)].output_shape == part.output_shape((1, 8, 8))
    assert {"5.body.0", "5.body.1", "5.shortcut", "11.body.1", "13.body"} <= values.keys()
    assert not any(node.kind == "opaque" for node in network)
    before = network(x)
    for parameter in layers.parameters.values():
        parameter += 1  # the network has copies of the weights
    np.testing.assert_array_equal(network(x), before)


def test_a_network_of_layers_is_counted_read_and_checked() -> None:
    layers = every_layer()
    shape = (1, 8, 8)
    counts = cm.counts.network_counts(layers.to_network(shape))
    assert counts.total.parameters == sum(array.size for array in layers.parameters.values())
    lenet5 = nn.lenet5(classes=None)
    assert cm.counts.network_counts(lenet5).total.parameters == 60000
    assert cm.graph.receptive_field_size(nn.Sequential(lenet5.layers[:5])).size == (14, 14)
    field = np.unravel_index(cm.graph.receptive_field(nn.Sequential(lenet5.layers[:5]), (0, 0, 1)), (1, 32, 32))
    slices = nn.receptive_field(lenet5, (1, 32, 32), 4, (0, 0, 1))
    assert slices == tuple(slice(int(i.min()), int(i.max()) + 1) for i in field[1:])
    assert nn.lecun1989().to_network().input_shape == (1, 16, 16)
    assert nn.Residual(nn.Dense(3, 3)).to_network()["sum"].inputs == ("body", "input")
    assert nn.Dense(3, 2).to_network().output_shape == (2,)
    with pytest.raises(ValueError, match=r"give input_shape=\(channels, \*spatial\)"):
        cm.counts.network_counts(nn.Sequential([nn.ReLU()]))


def test_a_custom_layer_is_opaque_in_a_network() -> None:
    class Mine(nn.Layer):
        def forward(self, x: Array, *, training: bool = False) -> Array:
            return np.sort(x, axis=1)

        def backward(self, g: Array) -> Array:
            return g

    network = nn.Sequential([nn.Dense(3, 4), Mine()]).to_network()
    assert [node.kind for node in network] == ["input", "dense", "opaque"]
    with pytest.raises(ValueError, match="Mine"):
        network(np.zeros((1, 3)))


# --- layers of any pattern -------------------------------------------------------------------------------------------


@each_case
def test_pattern_layer_is_the_convolution_of_its_pattern(geometry: cm.ConvGeometry) -> None:
    conv = make(geometry, bias=None)
    shapes = conv.input_shape, conv.output_shape(conv.input_shape)
    layer = nn.PatternLayer(geometry.pattern(), *shapes, dtype=np.float64, rng=3)
    assert layer.parameters["weight"].shape == geometry.weight_shape
    conv.parameters["weight"][...] = layer.parameters["weight"][...] = integer_weights(geometry)
    rng = np.random.default_rng(0)
    x, g = (rng.integers(-9, 10, (BATCH, *shape)) for shape in shapes)
    for ours, theirs in zip(through(layer, x, g), through(conv, x, g), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(layer.gradients["weight"], conv.gradients["weight"])
    np.testing.assert_array_equal(layer.matrix().toarray(), conv.matrix().toarray())
    assert [p[1:] for p in layer.products()] == [p[1:] for p in make(geometry, method="matrix").products()]


def test_pattern_layer_draws_by_the_fans_of_its_pattern_and_checks_shapes() -> None:
    pattern = cm.WeightPattern.from_triplets(
        (3, 4), rows=[0, 0, 0, 1, 2], cols=[0, 1, 2, 1, 3], weight_index=[0, 1, 0, 1, 1], weight_shape=2
    )
    seen = []

    def initialiser(shape: Any, fan_in: int, fan_out: int, rng: np.random.Generator) -> Array:
        seen.append((shape, fan_in, fan_out))
        return rng.standard_normal(shape)

    layer = nn.PatternLayer(pattern, (2, 2), 3, initialiser=initialiser, rng=5)  # type: ignore[arg-type]
    assert seen == [((2,), 3, 2)]
    drawn = np.random.default_rng(5).standard_normal(2).astype(np.float32)
    np.testing.assert_array_equal(layer.parameters["weight"], drawn)
    assert (layer.input_shape, layer.output_shape((2, 2))) == ((2, 2), (3,))
    assert repr(layer).startswith("PatternLayer(WeightPattern(")
    with pytest.raises(ValueError, match=r"\(3, 4\).*\(3,\).*3.*\(2, 3\).*6"):
        nn.PatternLayer(pattern, (2, 3), (3,))
    with pytest.raises(ValueError, match=r"\(batch, 2, 2\).*\(4,\)"):
        layer.forward(np.zeros((1, 4)))
    with pytest.raises(TypeError, match=r"float32.*int64"):
        nn.PatternLayer(pattern, (4,), (3,), dtype=int)


@for_each("stride", [(2, 1), (1, 2), (2, 2)])
def test_gradient_of_a_strided_layer_with_wide_padding(stride: tuple[int, int]) -> None:
    """There are nearly as many outputs as samples, so the reversed kernel would be less work, were the stride 1."""
    geometry = cm.ConvGeometry((7, 7), (3, 3), out_channels=4, stride=stride, padding=2)
    layer = nn.Conv(geometry, dtype=np.float64, rng=0)
    layer.forward(np.zeros((2, 1, 7, 7)))
    g = np.random.default_rng(1).standard_normal((2, 4, *geometry.output_shape))
    A = cm.conv_matrix(layer.parameters["weight"], geometry)
    np.testing.assert_allclose(layer.backward(g).reshape(2, -1).T, A.T @ g.reshape(2, -1).T, atol=1e-12)


def test_layers_that_do_not_follow_each_other_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="n_in=6 numbers, but got 5"):
        nn.Sequential([nn.Dense(10, 5), nn.ReLU(), nn.Dense(6, 2)])
    with pytest.raises(ValueError, match="n_in=6 numbers, but got 8"):
        nn.Sequential([nn.Flatten(), nn.Sequential([nn.ReLU(), nn.Dense(6, 2)])], input_shape=(2, 4))
    with pytest.raises(TypeError, match="one list"):
        nn.Sequential(nn.ReLU(), nn.ReLU())  # type: ignore[arg-type]


def test_a_layer_of_the_user_may_return_any_shape() -> None:
    class Half(nn.Layer):
        def forward(self, x: Any, *, training: bool = False) -> Any:
            return x[:, ::2]

        def backward(self, g: Any) -> Any:
            return g.repeat(2, axis=1)

    network = nn.Sequential([nn.Dense(10, 4), Half(), nn.Dense(2, 2)])
    assert network.forward(np.zeros((1, 10))).shape == (1, 2)
