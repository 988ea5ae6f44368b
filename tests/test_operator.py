"""The matrix-free operator: against loops, PyTorch, SciPy and the explicit matrix; adjoints, dtypes, errors."""

from __future__ import annotations

import importlib
import tracemalloc
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import ndimage, signal, sparse
from scipy.sparse.linalg import LinearOperator, aslinearoperator, lsqr

import convmatrix as cm
from convmatrix import memory
from convmatrix._products import correlation
from convmatrix._products.correlation import DirectCorrelation
from convmatrix._products.padding import fold, pad
from convmatrix.boundary import BOUNDARIES, NOTHING, read_terms
from tests import reference
from tests.cases import CASES, LENET5_C3, connection_table, each_case, for_each, integer_input, integer_weights
from tests.strategies import random_layer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from numpy.typing import NDArray

    Array = NDArray[Any]

each_boundary = for_each("boundary", BOUNDARIES)
each_method = for_each("method", ["direct", "fft"])


def random_layers(seed: int, count: int) -> list[cm.ConvGeometry]:
    rng = np.random.default_rng(seed)
    return [random_layer(rng) for _ in range(count)]


def random_weights(geometry: cm.ConvGeometry, rng: np.random.Generator, dtype: Any = float) -> Array:
    weights = rng.standard_normal(geometry.weight_shape)
    if np.dtype(dtype).kind == "c":
        weights = weights + 1j * rng.standard_normal(geometry.weight_shape)
    return weights.astype(dtype)


def assert_close(actual: Array, expected: Array, tolerance: float = 1e-13) -> None:
    """Compare relative to the largest entry, as rounding in sums goes."""
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max(initial=0) <= tolerance * max(1, np.abs(expected).max(initial=0))


def assert_products(geometry: cm.ConvGeometry, weights: Array) -> None:
    """Compare all four products of an integer layer with loops over numpy.pad, exactly."""
    rng = np.random.default_rng(1)
    x = integer_input(geometry)
    g = rng.integers(-9, 10, size=(geometry.out_channels, *geometry.output_shape))
    y, back = reference.forward(geometry, weights, x), reference.input_gradient(geometry, weights, g)
    for order in ("C", "F"):
        A = cm.ConvOperator(weights, geometry, order=order)
        np.testing.assert_array_equal(A @ x.ravel(order), y.ravel(order))
        np.testing.assert_array_equal(A.T @ g.ravel(order), back.ravel(order))
        np.testing.assert_array_equal(A.rmatvec(g.ravel(order)), back.ravel(order))
        np.testing.assert_array_equal(g.ravel(order) @ A, back.ravel(order))


# --- right ------------------------------------------------------------------------------------------------------------


@each_case
def test_loops_over_numpy_pad(geometry: cm.ConvGeometry) -> None:
    assert_products(geometry, integer_weights(geometry))


def test_loops_over_numpy_pad_on_random_layers() -> None:
    for geometry in random_layers(seed=3, count=150):
        assert_products(geometry, integer_weights(geometry))


def test_the_explicit_matrix_of_random_layers() -> None:
    for geometry in [*CASES.values(), *random_layers(seed=4, count=200)]:
        weights = integer_weights(geometry)
        matrix = geometry.pattern().matrix(weights).toarray()
        A = cm.ConvOperator(weights, geometry)
        assert A.shape == matrix.shape
        np.testing.assert_array_equal(A @ np.eye(geometry.n_in, dtype=int), matrix, err_msg=repr(geometry))
        np.testing.assert_array_equal(A.T @ np.eye(geometry.n_out, dtype=int), matrix.T, err_msg=repr(geometry))


@pytest.fixture
def torch_oracle() -> Iterator[ModuleType]:
    """PyTorch on one thread: layers as small as these only wait for more."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield importlib.import_module("tests.reference_torch")
    torch.set_num_threads(threads)


def test_torch_on_random_layers(torch_oracle: ModuleType) -> None:
    rng = np.random.default_rng(5)
    layers = [g for g in random_layers(seed=6, count=700) if torch_oracle.has_layer(g)]
    assert len(layers) > 200
    assert sum(geometry.transposed for geometry in layers) > 20
    for geometry in layers:
        weights = random_weights(geometry, rng)
        x = rng.standard_normal((geometry.in_channels, *geometry.input_shape))
        g = rng.standard_normal((geometry.out_channels, *geometry.output_shape))
        y, back, _ = torch_oracle.products(geometry, weights, x, g)
        A = cm.ConvOperator(weights, geometry)
        assert_close(A @ x.ravel(), y.ravel())
        assert_close(A.T @ g.ravel(), back.ravel())


@for_each(("shape", "kernel"), [((30,), (7,)), ((17, 20), (5, 3)), ((8, 7, 9), (3, 2, 4))])
@each_method
def test_scipy_signal_correlate_and_convolve(shape: tuple[int, ...], kernel: tuple[int, ...], method: str) -> None:
    rng = np.random.default_rng(7)
    x, w = rng.standard_normal(shape), rng.standard_normal(kernel)
    for mode, flip in product(("valid", "full"), (False, True)):
        operation: Any = signal.convolve if flip else signal.correlate
        expected = operation(x, w, mode=mode, method="direct")
        A = cm.ConvOperator(w, shape, padding=mode, flip=flip, method=method)
        assert_close(A @ x.ravel(), expected.ravel())


@for_each(("boundary", "name"), [("zero", "fill"), ("circular", "wrap"), ("symmetric", "symm")])
def test_scipy_signal_convolve2d(boundary: str, name: Any) -> None:
    rng = np.random.default_rng(8)
    x, w = rng.integers(-9, 10, (9, 8)), rng.integers(-9, 10, (5, 3))
    expected = signal.convolve2d(x, w, mode="same", boundary=name)
    A = cm.ConvOperator(w, x.shape, padding="same", boundary=boundary, flip=True)
    np.testing.assert_array_equal(A @ x.ravel(), expected.ravel())


@for_each(
    ("boundary", "mode"),
    [
        ("zero", "constant"),
        ("circular", "wrap"),
        ("reflect", "mirror"),
        ("symmetric", "reflect"),
        ("replicate", "nearest"),
    ],
)
@for_each("shape", [(1, 9), (4, 5), (11, 6)])  # the kernel is longer than some of them
def test_scipy_ndimage(boundary: str, mode: Any, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(9)
    x, w = rng.integers(-9, 10, shape), rng.integers(-9, 10, (7, 5))
    A = cm.ConvOperator(w, shape, padding="same", boundary=boundary)
    np.testing.assert_array_equal(A @ x.ravel(), ndimage.correlate(x, w, mode=mode).ravel())


def test_depthwise_with_many_groups() -> None:
    rng = np.random.default_rng(10)
    w, x = rng.integers(-9, 10, (400, 1, 3, 3)), rng.integers(-9, 10, (200, 6, 5))
    A = cm.ConvOperator(w, x.shape, groups=200, padding="same", boundary="reflect")
    expected = [
        ndimage.correlate(channel, kernel[0], mode="mirror").ravel()
        for channel, kernel in zip(np.repeat(x, 2, axis=0), w, strict=True)
    ]
    np.testing.assert_array_equal(A @ x.ravel(), np.concatenate(expected))


def test_full_kernel_is_read_at_the_connected_pairs() -> None:
    geometry = cm.ConvGeometry((6, 6), (5, 5), in_channels=6, out_channels=16, connections=LENET5_C3)
    full = np.random.default_rng(11).integers(-9, 10, (16, 6, 5, 5))
    A = cm.ConvOperator(full, geometry)
    np.testing.assert_array_equal(A.kernel, full[LENET5_C3])
    x = integer_input(geometry).ravel()
    masked = np.where(LENET5_C3[:, :, None, None], full, 0)
    np.testing.assert_array_equal(A @ x, cm.ConvOperator(masked, (6, 6, 6)) @ x)


@for_each("transposed", [False, True])
def test_connection_table_with_more_outputs_than_inputs(transposed: bool) -> None:
    table = connection_table("01 1 0 01 0", 2)
    geometry = cm.ConvGeometry(
        (4, 5), (2, 3), in_channels=2, out_channels=5, connections=table, transposed=transposed, stride=(1, 2)
    )
    assert_products(geometry, integer_weights(geometry))


# --- adjoints ---------------------------------------------------------------------------------------------------------


@each_boundary
@for_each("transposed", [False, True])
@for_each("stride", [1, 3])
@for_each("dtype", [int, float, complex, np.float32, np.complex64])
def test_adjoint(boundary: str, transposed: bool, stride: int, dtype: Any) -> None:
    rng = np.random.default_rng(12)
    geometry = cm.ConvGeometry(
        (7, 6),
        (3, 4),
        in_channels=2,
        out_channels=3,
        stride=stride,
        dilation=(2, 1),
        padding=[(3, 2), (4, 1)],
        boundary=boundary,
        transposed=transposed,
    )
    weights = integer_weights(geometry) if dtype is int else random_weights(geometry, rng, dtype)
    cm.testing.assert_adjoint(cm.ConvOperator(weights, geometry))
    cm.testing.assert_adjoint(cm.ConvOperator(weights, geometry).T)


@each_boundary
@each_method
def test_views_of_a_complex_operator(boundary: str, method: str) -> None:
    rng = np.random.default_rng(13)
    geometry = cm.ConvGeometry((5, 4), (3, 3), in_channels=2, padding=2, boundary=boundary, stride=(1, 2))
    A = cm.ConvOperator(random_weights(geometry, rng, complex), geometry, method=method)
    matrix = A @ np.eye(geometry.n_in)
    assert np.abs(matrix.imag).max() > 0.1
    views = {
        "H": (A.H, matrix.conj().T),
        "T": (A.T, matrix.T),
        "conjugate": (A.T.H, matrix.conj()),
        "H of H": (A.H.H, matrix),
        "T of T": (A.T.T, matrix),
    }
    for name, (view, expected) in views.items():
        assert view.shape == expected.shape, name
        assert view.dtype == A.dtype
        rows, columns = expected.shape
        assert_close(view @ (np.eye(columns) + 0j), expected)
        assert_close(view.rmatmat(np.eye(rows)), expected.conj().T)
        assert_close(view.rmatvec(np.arange(rows)), expected.conj().T @ np.arange(rows))
    assert A.H.H is A


def test_a_wrong_adjoint_is_caught() -> None:
    A = cm.ConvOperator([1.0, 2.0, 4.0], 9, padding="same", boundary="reflect")
    zero = cm.ConvOperator([1.0, 2.0, 4.0], 9, padding="same")
    flipped = cm.ConvOperator([4.0, 2.0, 1.0], 9, padding="same", boundary="reflect")
    for wrong in (A, zero.T, flipped):  # not transposed; the rim is lost; the transpose of symmetric kernels only
        with pytest.raises(AssertionError, match="not adjoint"):
            cm.testing.assert_adjoint(LinearOperator(A.shape, matvec=A.matvec, rmatvec=wrong.matvec, dtype=float))
    cm.testing.assert_adjoint(LinearOperator(A.shape, matvec=A.matvec, rmatvec=A.T.matvec, dtype=float))


# --- methods ----------------------------------------------------------------------------------------------------------


@for_each("dtype", [int, np.float32, float])
def test_complex_columns_of_a_real_kernel(dtype: Any) -> None:
    """Both parts of every column are multiplied, by the operator and by its transpose."""
    rng = np.random.default_rng(0)
    geometry = cm.ConvGeometry((5, 4), (3, 2), in_channels=2, out_channels=3, padding=1, boundary="reflect")
    weights = rng.integers(-9, 10, geometry.weight_shape).astype(dtype)
    A, operator = cm.conv_matrix(weights, geometry), cm.ConvOperator(weights, geometry)
    for matrix, other in ((A, operator), (A.T, operator.T)):
        parts = rng.integers(-9, 10, (2, matrix.shape[1], 3))
        X = parts[0] + 1j * parts[1]
        assert np.array_equal(other @ X, matrix @ X)


@for_each("dtype", [np.float32, np.float64, np.complex64, np.complex128])
def test_fft_and_direct_agree_on_random_layers(dtype: Any) -> None:
    rng = np.random.default_rng(14)
    layers = [geometry for geometry in random_layers(seed=15, count=100) if geometry.sharing == "shared"]
    assert len(layers) > 60
    for geometry in layers:
        weights = random_weights(geometry, rng, dtype)
        direct, fft = (cm.ConvOperator(weights, geometry, method=method) for method in ("direct", "fft"))
        X, Y = rng.standard_normal((geometry.n_in, 2)).astype(dtype), rng.standard_normal((geometry.n_out, 2))
        tolerance = 30 * np.finfo(dtype).eps
        assert_close(fft @ X, direct @ X, tolerance)
        assert_close(fft.H @ Y, direct.H @ Y, tolerance)
        assert (fft @ X).dtype == (direct @ X).dtype == dtype


@for_each(
    ("kernel", "input_shape", "method"),
    [
        ((3, 3), (64, 64), "direct"),
        ((31, 31), (512, 512), "fft"),
        ((3, 3, 3, 3), (3, 64, 64), "direct"),
        ((3, 3, 31, 31), (3, 256, 256), "fft"),
        ((512, 512, 3, 3), (512, 512, 512), "direct"),  # where the kernel's spectrum would not fit
    ],
)
def test_method_is_chosen_by_the_size_of_the_kernel(kernel: Any, input_shape: Any, method: str) -> None:
    kernel = np.broadcast_to(np.float32(1), kernel)
    assert cm.ConvOperator(kernel, input_shape, padding="same").method == method
    assert cm.ConvOperator(kernel, input_shape, padding="same", method="direct").method == "direct"


def test_exact_and_unshared_layers_are_direct() -> None:
    kernel = np.ones((31, 31), dtype=int)
    assert cm.ConvOperator(kernel, (512, 512)).method == "direct"
    assert cm.ConvOperator(kernel, (512, 512), dtype=float).method == "fft"
    geometry = cm.ConvGeometry((60, 60), (31, 31), sharing=2)
    assert cm.ConvOperator(np.ones(geometry.weight_shape), geometry).method == "direct"


@for_each(("stride", "dilation"), [(1, 1), (2, 1), (1, 2), (2, 3), (4, 6)])
@for_each("positions", [(11, 3), (8,)])
def test_blocks_of_positions_do_not_change_a_product(positions: tuple[int, ...], stride: int, dilation: int) -> None:
    rng = np.random.default_rng(16)
    n = len(positions)
    weights = rng.integers(-9, 10, (*(1,) * n, 2, 3, 2, *(3, 2)[:n])).astype(float)
    layer = (positions, (stride,) * n, (dilation,) * n)
    y = rng.integers(-9, 10, (2, 3, *positions, 2)).astype(float)
    plain = DirectCorrelation(weights, *layer, block=1)
    x = rng.integers(-9, 10, (2, 2, *plain.length, 2)).astype(float)
    expected = plain.forward(x), plain.adjoint(y)
    assert np.vdot(expected[0], y) == np.vdot(x, expected[1]) != 0
    for block in range(2, positions[0] + 3):
        blocked = DirectCorrelation(weights, *layer, block=block)
        more = [(0, a - b) for a, b in zip(blocked.length, plain.length, strict=True)]
        np.testing.assert_array_equal(blocked.forward(np.pad(x, [(0, 0), (0, 0), *more, (0, 0)])), expected[0])
        read: Any = (..., *map(slice, plain.length), slice(None))
        np.testing.assert_array_equal(blocked.adjoint(y)[read], expected[1])


@for_each("entries", [1, 7, 50])
def test_small_chunks_do_not_change_a_product(entries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    layers = [geometry for geometry in CASES.values() if geometry.n_in < 100]
    rng = np.random.default_rng(17)
    factors = [(rng.integers(-9, 10, (g.n_in, 3)), rng.integers(-9, 10, (g.n_out, 3))) for g in layers]
    expected = [cm.ConvOperator(integer_weights(g), g) for g in layers]
    images = [(A @ X, A.T @ Y) for A, (X, Y) in zip(expected, factors, strict=True)]
    monkeypatch.setattr(correlation, "_ENTRIES", entries)
    monkeypatch.setattr(correlation, "_ENTRIES_OF_FEW_ROWS", entries)
    for geometry, (X, Y), (image, back) in zip(layers, factors, images, strict=True):
        A = cm.ConvOperator(integer_weights(geometry), geometry)
        np.testing.assert_array_equal(A @ X, image)
        np.testing.assert_array_equal(A.T @ Y, back)


# --- batches ----------------------------------------------------------------------------------------------------------


@for_each("order", ["C", "F"])
@each_method
def test_batches_are_columns(order: str, method: str) -> None:
    rng = np.random.default_rng(18)
    geometry = cm.ConvGeometry((6, 5), (3, 4), in_channels=2, out_channels=3, padding=2, boundary="symmetric")
    A = cm.ConvOperator(random_weights(geometry, rng), geometry, order=order, method=method)
    batch = rng.standard_normal((geometry.n_in, 5))
    columns = np.stack([A.matvec(column) for column in batch.T], axis=1)
    for same in (batch, np.asfortranarray(batch), batch[:, ::-1][:, ::-1], np.repeat(batch, 2, axis=0)[::2]):
        assert_close(A @ same, columns)
        assert_close(A.matmat(same), columns)
    back = np.stack([A.rmatvec(column) for column in columns.T], axis=1)
    assert_close(A.rmatmat(columns), back)
    assert_close(A.T @ np.asfortranarray(columns), back)
    assert (A.matmat(batch[:, :1])).shape == (geometry.n_out, 1)
    assert (A.matmat(batch[:, :0])).shape == (geometry.n_out, 0)
    assert (A.rmatmat(columns[:, :0])).shape == (geometry.n_in, 0)


def test_factors_are_left_alone() -> None:
    for geometry in CASES.values():
        A = cm.ConvOperator(integer_weights(geometry), geometry)
        x, y = np.arange(geometry.n_in), np.arange(geometry.n_out)
        x.flags.writeable = y.flags.writeable = False
        assert not np.shares_memory(A @ x, x)
        assert not np.shares_memory(A.T @ y, y)
        np.testing.assert_array_equal(x, np.arange(geometry.n_in))


def test_as_part_of_scipy() -> None:
    kernel = np.array([1.0, 3.0, 1.0])
    A: Any = cm.ConvOperator(kernel, 12, padding="same", boundary="circular")
    x = np.random.default_rng(19).standard_normal(12)
    solution = lsqr(A, A @ x, atol=1e-14, btol=1e-14)[0]
    np.testing.assert_allclose(solution, x, atol=1e-10)
    matrix = A @ np.eye(12)
    np.testing.assert_allclose((A.T @ A + 2 * A) @ x, matrix.T @ matrix @ x + 2 * matrix @ x)
    assert aslinearoperator(A) is A


# --- dtypes -----------------------------------------------------------------------------------------------------------


@for_each(
    ("kernel", "factor", "result"),
    [
        ("float32", "float32", "float32"),
        ("float32", "float16", "float32"),
        ("float32", "uint8", "float32"),
        ("float32", "float64", "float64"),
        ("float64", "float32", "float64"),
        ("float64", "bool", "float64"),
        ("float32", "complex64", "complex64"),
        ("complex64", "float32", "complex64"),
        ("complex64", "float64", "complex128"),
        ("longdouble", "float64", "longdouble"),
        ("int64", "bool", "int64"),
        ("int8", "int8", "int8"),
        ("int8", "float16", "float32"),
        ("uint8", "int16", "int16"),
        ("int64", "complex64", "complex128"),
    ],
)
def test_dtype_of_a_product(kernel: str, factor: str, result: str) -> None:
    w, x = np.array([[1, 2], [3, 5]], dtype=kernel), (np.arange(30) % 5).astype(factor)
    A = cm.ConvOperator(w, (5, 6), padding="same", boundary="circular")
    assert A.dtype == A.kernel.dtype == kernel
    assert (A @ x).dtype == (A.T @ x).dtype == result
    exact = cm.ConvOperator(w.real.astype(int), (5, 6), padding="same", boundary="circular")
    np.testing.assert_array_equal(A @ x, exact @ x.real.astype(int))
    np.testing.assert_array_equal(A.T @ x, exact.T @ x.real.astype(int))


def test_dtype_converts_the_kernel() -> None:
    A = cm.ConvOperator([1, 2, 1], 7, dtype=np.float32)
    assert A.dtype == A.kernel.dtype == (A @ np.ones(7, dtype=np.float32)).dtype == np.float32


@each_case
def test_big_integers_are_exact(geometry: cm.ConvGeometry) -> None:
    factor = 2**52 + 1  # the products are right modulo 2**64
    x, weights = integer_input(geometry), integer_weights(geometry)
    g = np.random.default_rng(20).integers(-9, 10, (geometry.out_channels, *geometry.output_shape))
    A = cm.ConvOperator(weights * factor, geometry)
    np.testing.assert_array_equal(A @ x.ravel(), reference.forward(geometry, weights, x).ravel() * factor)
    np.testing.assert_array_equal(A.T @ g.ravel(), reference.input_gradient(geometry, weights, g).ravel() * factor)


def test_integers_that_float64_would_round() -> None:
    big = 2**53
    assert (cm.ConvOperator([1, 1], 2) @ [big, 1])[0] == big + 1
    assert (cm.ConvOperator([big, 1], 2) @ [1, 1])[0] == big + 1
    # Every product is small, but a sample that is repeated 512 times gathers many.
    A = cm.ConvOperator([1], 1, padding=[(511, 0)], boundary="replicate")
    y = np.full(512, 2**51 + 1)
    y[0] -= 1
    assert (A.T @ y)[0] == 512 * (2**51 + 1) - 1
    unsigned = np.array([2**64 - 1], dtype=np.uint64)
    assert (cm.ConvOperator(unsigned, 1) @ np.array([1], dtype=np.uint64))[0] == 2**64 - 1


def test_integers_wrap_as_their_dtype_does() -> None:
    kernel, x = np.array([100, 100, 100], dtype=np.int8), np.array([1, 2, 3], dtype=np.int8)
    matrix = cm.conv_matrix(kernel, 3)
    np.testing.assert_array_equal(cm.ConvOperator(kernel, 3) @ x, matrix @ x)
    assert (cm.ConvOperator(kernel, 3) @ x)[0] == 600 - 512
    assert (cm.ConvOperator([2**20], 1, dtype=np.int32) @ np.array([2**20 + 1], dtype=np.int32))[0] == 2**20
    assert (cm.ConvOperator([2**62, 2**62], 2) @ [1, 1])[0] == -(2**63)


def test_kernel_is_a_read_only_copy() -> None:
    kernel = np.array([1.0, 2.0])
    A = cm.ConvOperator(kernel, 3)
    kernel[0] = 7
    np.testing.assert_array_equal(A @ np.eye(3), [[1, 2, 0], [0, 1, 2]])
    assert A.kernel.shape == A.geometry.weight_shape == (1, 1, 2)
    with pytest.raises(ValueError, match="read-only"):
        A.kernel[0, 0, 0] = 1


# --- padding ----------------------------------------------------------------------------------------------------------


@each_boundary
def test_padding_by_numpy_reads_the_samples_of_the_one_axis_rule(boundary: Any) -> None:
    for size, low, length in product(range(1, 6), range(14), range(1, 20)):
        expected = np.zeros(length, dtype=int)
        for samples, factors in read_terms(np.arange(-low, length - low), size, boundary):
            expected += np.where(np.equal(samples, NOTHING), 0, (np.asarray(samples) + 1) * factors)
        padded = pad(np.arange(1, size + 1), 0, [low], [length], [boundary])
        np.testing.assert_array_equal(padded, expected, err_msg=f"{size} samples, {low} in front of {length}")


@each_boundary
def test_folding_is_the_transpose_of_padding(boundary: Any) -> None:
    for size, low, length in product(range(1, 5), range(9), range(1, 14)):
        matrix = pad(np.eye(size, dtype=int), 0, [low], [length], [boundary])
        folded = fold(np.eye(length, dtype=int), 0, [low], [size], [boundary])
        np.testing.assert_array_equal(folded, matrix.T, err_msg=f"{size} samples, {low} in front of {length}")


# --- errors -----------------------------------------------------------------------------------------------------------


def layer() -> cm.ConvOperator:
    return cm.ConvOperator(np.ones((2, 3, 2, 2)), (3, 4, 5))


@for_each(
    ("multiply", "message"),
    [
        (
            lambda A: A @ np.ones(59),
            r"multiplies vectors of 60 entries, arrays of shape \(3, 4, 5\) raveled in order='C', but was given an "
            r"array of shape \(59,\); give one vector \(60,\) or vectors as columns \(60, batch\)",
        ),
        (
            lambda A: A @ np.ones((3, 4, 5)),
            r"arrays of shape \(3, 4, 5\) raveled .* given an array of shape \(3, 4, 5\)",
        ),
        (lambda A: A @ np.ones((7, 60)), r"vectors of 60 entries.*given an array of shape \(7, 60\)"),
        (lambda A: np.ones((7, 60)) @ A, r"vectors of 24 entries, arrays of shape \(2, 3, 4\).*shape \(60, 7\)"),
        (lambda A: A.matvec(np.ones((60, 2))), r"array of shape \(60, 2\); give one vector \(60,\)$"),
        (lambda A: A.matmat(np.ones(60)), r"array of shape \(60,\); give vectors as columns \(60, batch\)$"),
        (lambda A: A.rmatvec(np.ones(60)), r"vectors of 24 entries, arrays of shape \(2, 3, 4\).*shape \(60,\)"),
        (lambda A: A.rmatmat(np.ones((60, 2))), r"vectors of 24 entries, arrays of shape \(2, 3, 4\).*shape \(60, 2\)"),
        (lambda A: A.T @ np.ones(60), r"vectors of 24 entries, arrays of shape \(2, 3, 4\) raveled"),
        (lambda A: A.H.rmatvec(np.ones(24)), r"vectors of 60 entries, arrays of shape \(3, 4, 5\) raveled"),
    ],
)
def test_wrong_sizes(multiply: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        multiply(layer())


def test_wrong_size_of_a_square_operator_names_the_right_side() -> None:
    A = cm.ConvOperator(np.ones((4, 1, 2, 2)), (1, 4, 4), stride=2)
    assert A.shape == (16, 16)
    with pytest.raises(ValueError, match=r"arrays of shape \(1, 4, 4\)"):
        A @ np.ones(4)
    with pytest.raises(ValueError, match=r"arrays of shape \(4, 2, 2\)"):
        A.rmatvec(np.ones(4))


def test_one_channel_arrays_are_named_without_channels() -> None:
    with pytest.raises(ValueError, match=r"arrays of shape \(4, 5\) raveled in order='F', but was given .* \(4, 5\)"):
        cm.ConvOperator(np.ones((2, 2)), (4, 5), order="F") @ np.ones((4, 5))


@for_each("factor", [np.array(["a"] * 60), np.array([None] * 60), np.zeros(60, dtype="datetime64[s]")])
def test_factors_without_numbers(factor: Array) -> None:
    with pytest.raises(TypeError, match=r"dtype .* cannot be multiplied by an operator of dtype float64; convert it"):
        layer() @ factor


@for_each("multiply", [lambda A, X: A @ X, lambda A, X: A.matmat(X), lambda A, X: A.rmatmat(X)])
def test_sparse_factors(multiply: Any) -> None:
    with pytest.raises(TypeError, match=r"dense.*sparse.*toarray\(\)"):
        multiply(layer(), sparse.eye_array(60))


@for_each(
    ("arguments", "options", "error", "message"),
    [
        (
            ([1.0, 2.0], 5),
            {"method": "winograd"},
            ValueError,
            "method 'winograd' is unknown; choose one of auto, direct",
        ),
        (([1, 2], 5), {"method": "fft"}, ValueError, "method='fft' rounds, but the kernel has the exact dtype int64"),
        (([1, 2], 5), {"order": "K"}, ValueError, "order 'K' is unknown"),
        (([1.5, 2], 5), {"dtype": int}, TypeError, "float64 does not convert to dtype=int64 without loss"),
        ((np.ones(2, dtype=bool), 5), {}, TypeError, "weights have dtype bool"),
        ((np.ones(2, dtype=np.float16), 5), {}, TypeError, "weights have dtype float16"),
        (
            (np.ones((2, 2)), 5),
            {},
            ValueError,
            r"the kernel has 2 axes \(shape \(2, 2\)\), but input_shape=\(5,\) has 1",
        ),
        (([1.0, 2.0], cm.ConvGeometry(5, 3)), {}, ValueError, r"weights have shape \(2,\), but .* have \(1, 1, 3\)"),
        (([1.0, 2.0], cm.ConvGeometry(5, 2)), {"stride": 2}, TypeError, "stride given beside a ConvGeometry"),
        (
            ([1.0, 2.0], cm.ConvGeometry(5, 2)),
            {"transposed": True},
            TypeError,
            "transposed given beside a ConvGeometry",
        ),
        (([1.0] * 6, 5), {}, ValueError, "kernel does not fit on axis 0"),
    ],
)
def test_wrong_layers(arguments: Any, options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        cm.ConvOperator(*arguments, **options)


def test_fft_needs_shared_weights() -> None:
    geometry = cm.ConvGeometry(5, 2, sharing="unshared")
    with pytest.raises(ValueError, match="one kernel for all positions, but the geometry has sharing='unshared'"):
        cm.ConvOperator(np.ones(geometry.weight_shape), geometry, method="fft")


def test_padding_that_does_not_fit_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(cm.MatrixTooLargeError, match=r"padded array, \(1, 200000000000002\), .* use conv_matrix"):
        cm.ConvOperator([1.0, 2.0], 5, padding=10**14, stride=10**14)
    monkeypatch.setattr(memory, "NEGLIGIBLE", 0)
    monkeypatch.setattr(memory, "available_memory", lambda: 8 * 2 * 7 - 1)
    with pytest.raises(cm.MatrixTooLargeError, match=r"needs 112 bytes, but 111 bytes of memory are available"):
        cm.ConvOperator(np.ones((1, 2, 3)), (2, 5), padding=1)
    monkeypatch.setattr(memory, "NEGLIGIBLE", 0)
    monkeypatch.setattr(memory, "available_memory", lambda: 8 * 2 * 7)
    assert cm.ConvOperator(np.ones((1, 2, 3)), (2, 5), padding=1).shape == (5, 10)


def test_integers_are_exact_beyond_an_antireflective_end() -> None:
    """Padded samples are sums, larger than any sample: up to 23 times as large here."""
    rng = np.random.default_rng(0)
    for shape, padding in (((4,), [(10, 9)]), ((3, 2), [(0, 5), (4, 0)]), ((2, 3), [(3, 3), (2, 2)])):
        boundary = ("circular",) * (len(shape) - 1) + ("antireflect",)
        for transposed in (False, True):
            options: Any = {"padding": 0 if transposed else padding, "boundary": boundary, "transposed": transposed}
            layer = cm.ConvGeometry(shape, (1,) * len(shape), **options)
            for exponent in range(46, 55):
                weights = rng.integers(1, 4, layer.weight_shape)
                A, operator = cm.conv_matrix(weights, layer), cm.ConvOperator(weights, layer)
                x = rng.integers(-(2**exponent), 2**exponent, layer.n_in)
                y = rng.integers(-(2**exponent), 2**exponent, layer.n_out)
                np.testing.assert_array_equal(operator @ x, A @ x)
                np.testing.assert_array_equal(operator.T @ y, A.T @ y)


def test_products_with_long_axes_keep_no_memory() -> None:
    """Sums at the border are kept for short axes only."""
    tracemalloc.start()
    try:
        for size in range(200_000, 200_008):
            operator = cm.ConvOperator([1.0, 2, 3], size, padding="same", boundary="circular")
            assert (operator.T @ np.ones(size) == 6).all()
            del operator
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert kept < 2**19
