"""The public assertions: each passes on what is right, and fails on what is wrong in a way that is easily made."""

from __future__ import annotations

import re
from types import MethodType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
from scipy.sparse.linalg import LinearOperator, aslinearoperator

import convmatrix as cm
from convmatrix import testing
from convmatrix.testing import assert_adjoint, assert_equivariant, assert_gradient, check_layer
from tests.cases import CASES, each_case, for_each, integer_weights
from tests.refusals import refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

Geometry = cm.ConvGeometry

INTERVAL: Final = r"-?[\d.e+-]+"
COMPLEX: Final = r"\(?-?[\d.e+j-]+\)?"


def not_adjoint() -> Any:
    """Expect the assertion to fail with both inner products."""
    return pytest.raises(
        AssertionError,
        match=rf"^not adjoint: <A x, y> = {COMPLEX}, but <x, A\^H y> = {COMPLEX} \(trial \d, they differ by "
        rf"{INTERVAL}, allowed is {INTERVAL}\)$",
    )


# --- adjoints ---------------------------------------------------------------------------------------------------------


@for_each("dtype", ["int64", "float32", "float64", "complex64", "complex128"])
@for_each("boundary", cm.BOUNDARIES)
def test_adjoint_of_matrices_and_operators(boundary: str, dtype: str) -> None:
    kernel = (np.arange(1, 13).reshape(2, 2, 3) - 5).astype(dtype)
    if np.dtype(dtype).kind == "c":
        kernel = kernel * np.asarray(1 + 2j, dtype=dtype)
    A = cm.conv_matrix(kernel, (2, 7), padding="same", stride=2, boundary=boundary)
    assert_adjoint(A, A.conj().T)
    assert_adjoint(A, A.conj().T.toarray(), dtype=dtype)
    assert_adjoint(cm.ConvOperator(kernel, (2, 7), padding="same", stride=2, boundary=boundary))
    assert_adjoint(aslinearoperator(A.toarray()))
    assert_adjoint(A.toarray(), lambda y: A.conj().T @ y)


def test_adjoint_of_functions_on_arrays() -> None:
    assert_adjoint(lambda x: x[:, 1:], lambda y: np.pad(y, ((0, 0), (1, 0))), input_shape=(3, 4))
    assert_adjoint(lambda x: x.sum(), lambda y: np.full((3, 4), y), input_shape=[3, 4], dtype=int)
    assert_adjoint(np.fft.fft, lambda y: 8 * np.fft.ifft(y), input_shape=8, dtype=complex)
    assert_adjoint(lambda x: x.T, lambda y: y.T, input_shape=(2, 3))


def test_an_adjoint_without_the_conjugate() -> None:
    A = cm.conv_matrix([1 + 2j, 3.0, 0.5j], 8)
    assert_adjoint(A, A.conj().T)
    with not_adjoint():
        assert_adjoint(A, A.T)
    with not_adjoint():
        assert_adjoint(np.fft.fft, lambda y: np.fft.fft(y), input_shape=8, dtype=complex)
    real = cm.conv_matrix([1.0, 3.0, 0.5], 8)
    assert_adjoint(real, real.T)  # where there is nothing to conjugate


@for_each("dtype", [np.int64, np.float64])
def test_an_adjoint_that_does_not_flip_the_kernel(dtype: Any) -> None:
    """The usual slip: columns for rows. With a symmetric kernel it is no slip, and nothing can be seen."""
    lopsided = cm.conv_matrix(np.array([1, 2, 4], dtype=dtype), 9, padding="same")
    with not_adjoint():
        assert_adjoint(lopsided, lopsided)
    symmetric = cm.conv_matrix(np.array([1, 2, 1], dtype=dtype), 9, padding="same")
    assert_adjoint(symmetric, symmetric)


def test_an_adjoint_that_is_right_inside_only() -> None:
    kernel, options = [1.0, 2.0, 4.0], {"padding": "same", "boundary": "reflect"}
    A = cm.conv_matrix(kernel, 50, **options)  # type: ignore[arg-type]
    flipped = cm.conv_matrix(kernel[::-1], 50, **options)  # type: ignore[arg-type]
    assert (flipped != A.T).nnz == 4  # of 148: the ends
    with not_adjoint():
        assert_adjoint(A, flipped)


def test_an_adjoint_that_is_off_by_little() -> None:
    A = cm.conv_matrix([1.0, 2.0, 4.0], 9)
    assert_adjoint(A, (1 + 1e-15) * A.T)
    with not_adjoint():
        assert_adjoint(A, (1 + 1e-12) * A.T)
    assert_adjoint(A, (1 + 1e-12) * A.T, rtol=1e-11)
    with not_adjoint():
        assert_adjoint(A, A.T * 1.01, rtol=1e-3)
    single = A.astype(np.float32)
    assert_adjoint(single, single.T * np.float32(1 + 1e-6))
    with not_adjoint():
        assert_adjoint(single, single.T * np.float32(1 + 1e-3))


def test_integers_are_compared_exactly() -> None:
    A = cm.conv_matrix([10**6, 1], 9)
    assert_adjoint(A, A.T)
    wrong = A.T.copy()
    wrong.data[3] += 1
    with pytest.raises(AssertionError, match=r"^not adjoint: <A x, y> = -?\d+, but .* allowed is 0\)$"):
        assert_adjoint(A, wrong)


def test_an_adjoint_that_is_not_a_number() -> None:
    with pytest.raises(AssertionError, match=r"^not adjoint: .* = nan"):
        assert_adjoint(lambda x: x, lambda y: y * np.nan, input_shape=4)


def test_an_adjoint_of_another_shape() -> None:
    with refused(AssertionError, "the adjoint returns shape (3,), but the input has (4,)"):
        assert_adjoint(lambda x: x[1:], lambda y: y, input_shape=4)
    with refused(AssertionError, "the adjoint returns shape (6,), but the input has (2, 3)"):
        assert_adjoint(lambda x: x, lambda y: y.ravel(), input_shape=(2, 3))


def test_a_wrong_linear_operator() -> None:
    A = cm.conv_matrix([1.0, 2.0, 4.0], 9, padding="same")
    right = LinearOperator(A.shape, matvec=lambda x: A @ x, rmatvec=lambda y: A.T @ y, dtype=A.dtype)
    wrong = LinearOperator(A.shape, matvec=lambda x: A @ x, rmatvec=lambda y: A @ y, dtype=A.dtype)
    assert_adjoint(right)
    with not_adjoint():
        assert_adjoint(wrong)


def test_adjoints_that_are_not_told() -> None:
    with refused(TypeError, "the adjoint of a matrix is its conjugate transpose, whatever it holds; pass what to test"):
        assert_adjoint(cm.conv_matrix([1.0, 2.0], 4))
    with refused(TypeError, "forward is a function, whose adjoint is unknown; pass adjoint="):
        assert_adjoint(lambda x: x, input_shape=4)
    with refused(TypeError, "forward is a function, whose input is unknown; pass input_shape="):
        assert_adjoint(lambda x: x, lambda y: y)


def test_adjoints_are_tried_on_other_numbers_each_time() -> None:
    seen: list[NDArray[Any]] = []

    def forward(x: NDArray[Any]) -> NDArray[Any]:
        seen.append(x)
        return x

    assert_adjoint(forward, lambda y: y, input_shape=5, trials=4)
    assert len(seen) == len({x.tobytes() for x in seen}) == 4
    assert_adjoint(forward, lambda y: y, input_shape=5, trials=2, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(seen[4:], seen[:2])  # the default is a fixed seed
    assert_adjoint(forward, lambda y: y, input_shape=5, trials=1, rng=1)
    assert (seen[6] != seen[0]).all()


def test_unsigned_inputs_stay_in_range() -> None:
    assert_adjoint(lambda x: x, lambda y: y, input_shape=50, dtype=np.uint8)


# --- gradients --------------------------------------------------------------------------------------------------------


def wrong_gradient() -> Any:
    """Expect the assertion to fail with both derivatives."""
    return pytest.raises(
        AssertionError,
        match=rf"^wrong gradient: along a random direction it gives {INTERVAL}, but the function changes by "
        rf"{INTERVAL}(/\d+)? \(trial \d\)$",
    )


@for_each("degree", [1, 2, 3, 5])
def test_gradients_of_polynomials_are_exact(degree: int) -> None:
    point = np.array([[1, -2], [3, 5]])
    for larger in range(3):  # a bound of the degree will do
        assert_gradient(lambda x: x**degree, lambda x, c: degree * x ** (degree - 1) * c, point, degree=degree + larger)
    with wrong_gradient():  # by one, in one entry
        assert_gradient(
            lambda x: x**degree,
            lambda x, c: degree * x ** (degree - 1) * c + np.eye(2, dtype=int)[0],
            point,
            degree=degree,
        )
    if degree > 1:
        with wrong_gradient():  # a degree that is too small
            assert_gradient(lambda x: x**degree, lambda x, c: degree * x ** (degree - 1) * c, point, degree=degree - 1)


@for_each("factor", [2, -1, 0])
def test_gradients_off_by_a_factor(factor: int) -> None:
    point = np.array([1, -2, 5])
    with wrong_gradient():
        assert_gradient(lambda x: x**2, lambda x, c: 2 * x * c * factor, point, degree=2)
    with wrong_gradient():
        assert_gradient(lambda x: x**2, lambda x, c: 2 * x * c * factor, point)
    with wrong_gradient():
        assert_gradient(np.tanh, lambda x, c: (1 - np.tanh(x) ** 2) * c * factor, point / 10)


def test_constants_have_no_gradient() -> None:
    assert_gradient(lambda x: 7 + 0 * x, lambda x, c: 0 * x, np.array([1, 2]), degree=0)
    assert_gradient(lambda x: 7.0, lambda x, c: 0 * x, [1.0, 2.0])
    with wrong_gradient():
        assert_gradient(lambda x: 7 + 0 * x, lambda x, c: c, np.array([1, 2]), degree=0)


def test_gradients_in_floating_point() -> None:
    matrix = np.random.default_rng(1).standard_normal((3, 4))
    point = np.random.default_rng(2).standard_normal((4, 2)) * 100
    assert_gradient(lambda x: np.sin(matrix @ x), lambda x, c: matrix.T @ (np.cos(matrix @ x) * c), point)
    with wrong_gradient():  # the matrix for its transpose
        assert_gradient(
            lambda x: np.sin(matrix[:, :3] @ x), lambda x, c: matrix[:, :3] @ (np.cos(matrix[:, :3] @ x) * c), point[:3]
        )
    with wrong_gradient():  # the wrong sign of one term
        assert_gradient(lambda x: x * np.exp(x), lambda x, c: (1 - x) * np.exp(x) * c, [0.3, 0.7])
    assert_gradient(lambda x: np.exp(x), lambda x, c: np.exp(x) * c * 1.001, [0.3, 0.7], rtol=1e-2)
    with wrong_gradient():
        assert_gradient(lambda x: np.exp(x), lambda x, c: np.exp(x) * c * 1.001, [0.3, 0.7])


def test_whole_numbers_without_a_degree_are_differentiated_in_floating_point() -> None:
    seen = set()

    def function(x: NDArray[Any]) -> Any:
        seen.add(x.dtype.name)
        return np.sin(x)

    assert_gradient(function, lambda x, c: np.cos(x) * c, [1, 2, 3])
    assert_gradient(function, lambda x, c: np.cos(x) * c, np.array([1.0, 2.0], dtype=np.float32), degree=9)
    assert seen == {"float64"}


def test_gradients_that_are_not_numbers() -> None:
    with pytest.raises(AssertionError, match=r"^wrong gradient: .* gives nan"):
        assert_gradient(np.sin, lambda x, c: x * np.nan, [1.0])


def test_gradients_of_another_shape() -> None:
    with refused(AssertionError, "the gradient has shape (2,), but the point has (2, 1)"):
        assert_gradient(lambda x: x, lambda x, c: c.ravel(), [[1.0], [2.0]])


@for_each("name", ["2d reflect", "2d groups", "transposed 2d", "2d unshared"])
def test_gradients_of_layers(name: str) -> None:
    """The weight gradient and the transposed matrix, each exactly; a layer is bilinear."""
    geometry = CASES[name]
    pattern, weights = geometry.pattern(), integer_weights(geometry)
    x = np.random.default_rng(3).integers(-9, 10, geometry.n_in)
    assert_gradient(lambda w: pattern.matrix(w) @ x, lambda w, c: pattern.weight_gradient(x, c), weights, degree=1)
    A = pattern.matrix(weights)
    assert_gradient(lambda x: A @ x, lambda x, c: A.T @ c, x, degree=1)
    with wrong_gradient():
        assert_gradient(
            lambda w: pattern.matrix(w) @ x, lambda w, c: np.roll(pattern.weight_gradient(x, c), 1), weights, degree=1
        )


# --- equivariance -----------------------------------------------------------------------------------------------------


def breaks(broken: int, rows: int, first: int) -> Any:
    """Expect the assertion to fail with these numbers."""
    return refused(
        AssertionError,
        f"not equivariant: {broken} of {rows} rows break the symmetry, the first is row {first}",
    )


def broken_rows(A: NDArray[Any], q: NDArray[Any], p: NDArray[Any]) -> list[int]:
    """Return the rows i with A[i, j] != A[q[i], p[j]] for some j, one entry at a time."""
    rows, columns = A.shape[:2]
    return [i for i in range(rows) if any((A[i, j] != A[q[i], p[j]]).any() for j in range(columns))]


def every_view(geometry: Geometry, weights: NDArray[Any]) -> list[Any]:
    """Return a layer as matrices, as an operator and as a function."""
    A = cm.conv_matrix(weights, geometry)
    return [A, A.tocsc(), A.toarray(), cm.ConvOperator(weights.astype(float), geometry), lambda x: A @ x]


def test_a_ring_is_equivariant_to_shifts() -> None:
    ring = Geometry((4, 5), (3, 2), padding="same", boundary="circular")
    places = np.arange(20).reshape(4, 5)
    for amounts in ((1, 0), (0, 1), (3, -2)):
        shift = np.roll(places, amounts, (0, 1)).ravel()
        assert_equivariant(ring.pattern(), shift, shift)
        for view in every_view(ring, integer_weights(ring)):
            assert_equivariant(view, shift, shift.tolist())
    other = np.roll(places, 2, 1).ravel()
    with breaks(20, 20, 0):  # the output moves otherwise
        assert_equivariant(ring.pattern(), shift, other)
    for view in every_view(ring, integer_weights(ring)):
        with breaks(20, 20, 0):
            assert_equivariant(view, shift, other)


def test_the_ends_of_a_zero_padded_layer_break_the_symmetry() -> None:
    layer = Geometry(7, 3, padding="same")
    shift = np.roll(np.arange(7), 1)
    weights = np.array([1, 2, 4])
    expected = broken_rows(cm.conv_matrix(weights, layer).toarray(), shift, shift)
    assert expected == [0, 1, 6]
    for view in (layer.pattern(), *every_view(layer, weights)):
        with breaks(3, 7, 0):
            assert_equivariant(view, shift, shift)


def test_strided_layers_are_equivariant_to_whole_strides() -> None:
    layer = Geometry(8, 3, stride=2, padding="same", boundary="circular")
    moves = np.arange(8)
    for view in (layer.pattern(), *every_view(layer, integer_weights(layer))):
        assert_equivariant(view, np.roll(np.arange(4), 1), np.roll(moves, 2))
        with breaks(4, 4, 0):
            assert_equivariant(view, np.arange(4), np.roll(moves, 1))


def test_a_symmetric_kernel_is_equivariant_by_accident() -> None:
    """A pattern speaks of all weights: reflecting the input reflects the output for some of them only."""
    layer = Geometry(6, 3, padding="same")
    mirror = np.arange(6)[::-1]
    symmetric, lopsided = (cm.conv_matrix(kernel, layer) for kernel in ([1, 2, 1], [1, 2, 3]))
    assert_equivariant(symmetric, mirror, mirror)
    with breaks(6, 6, 0):
        assert_equivariant(lopsided, mirror, mirror)
    with breaks(6, 6, 0):
        assert_equivariant(layer.pattern(), mirror, mirror)


def test_a_kernel_of_zeros_is_equivariant_but_not_its_pattern() -> None:
    layer = Geometry(5, 3, padding="same")
    shift = np.roll(np.arange(5), 1)
    assert_equivariant(cm.conv_matrix([0, 2, 0], layer), shift, shift)
    with breaks(3, 5, 0):
        assert_equivariant(layer.pattern(), shift, shift)


@for_each("name", ["1d", "2d reflect", "2d LeNet-5 C3", "1d tiled", "transposed 2d", "1d circular"])
def test_broken_rows_are_counted_right(name: str) -> None:
    geometry = CASES[name]
    pattern = geometry.pattern()
    weights = integer_weights(geometry)
    dense = np.zeros((*pattern.shape, geometry.n_weights), dtype=np.int8)
    dense[pattern.rows, pattern.cols, pattern.weight_index] = 1
    A = cm.conv_matrix(weights, geometry)
    rng = np.random.default_rng(9)
    for trial in range(12):
        q, p = np.arange(geometry.n_out), np.arange(geometry.n_in)
        if trial:  # swap a few, or all
            for permutation in (q, p)[: 1 + trial % 2]:
                some = rng.choice(len(permutation), min(trial, len(permutation)), replace=False)
                permutation[some] = permutation[np.roll(some, 1)]
        for layer, entries in ((pattern, dense), (A, A.toarray())):
            expected = broken_rows(entries, q, p)
            if expected:
                with breaks(len(expected), geometry.n_out, expected[0]):
                    assert_equivariant(layer, q, p)
            else:
                assert_equivariant(layer, q, p)
        assert trial or not broken_rows(dense, q, p)


def test_rows_of_unequal_length_and_weights_that_differ() -> None:
    pattern = cm.WeightPattern.from_triplets((3, 3), [0, 0, 1, 2, 2], [0, 1, 1, 1, 2], [0, 1, 0, 1, 0], 2)
    swap = np.array([2, 1, 0])
    assert_equivariant(pattern, swap, swap)
    coloured = cm.WeightPattern.from_triplets((3, 3), [0, 0, 1, 2, 2], [0, 1, 1, 1, 2], [0, 1, 0, 0, 1], 2)
    with breaks(2, 3, 0):  # the same places, other weights
        assert_equivariant(coloured, swap, swap)
    shorter = cm.WeightPattern.from_triplets((3, 3), [0, 0, 1, 2], [0, 1, 1, 2], [0, 1, 0, 0], 2)
    with breaks(2, 3, 0):
        assert_equivariant(shorter, swap, swap)
    uneven = cm.WeightPattern.from_triplets((4, 3), [0, 1, 1, 2, 3], [0, 0, 1, 2, 1], [0] * 5, 1)
    with breaks(2, 4, 2):  # rows 0 and 1 stay; 2 and 3 change places, but their columns do not
        assert_equivariant(uneven, np.array([0, 1, 3, 2]), np.arange(3))
    with breaks(4, 4, 0):
        assert_equivariant(uneven, np.array([1, 0, 3, 2]), np.arange(3))


def test_functions_are_tried_to_rounding() -> None:
    shift = np.roll(np.arange(6), 1)

    def noisy(amount: float) -> Callable[[NDArray[Any]], NDArray[Any]]:
        return lambda x: x * (1 + amount * np.arange(6))

    assert_equivariant(noisy(1e-15), shift, shift)
    with pytest.raises(AssertionError, match=r"^not equivariant: \d of 6 rows break the symmetry"):
        assert_equivariant(noisy(1e-9), shift, shift)
    assert_equivariant(noisy(1e-9), shift, shift, rtol=1e-7, trials=9, rng=5)
    with pytest.raises(AssertionError, match=r"^not equivariant: \d of 6 rows break the symmetry"):
        assert_equivariant(lambda x: np.where(np.arange(6) == 2, np.nan, 1.0), np.arange(6), np.arange(6))


def test_functions_that_are_right_on_most_inputs() -> None:
    shift = np.roll(np.arange(6), 1)

    def rectified(x: NDArray[Any]) -> Any:
        return np.maximum(x, 0)

    assert_equivariant(rectified, shift, shift)  # it need not be linear

    def odd(x: NDArray[Any]) -> Any:
        return x if x[0] > -1 else x[::-1]

    with pytest.raises(AssertionError, match=r"^not equivariant"):
        assert_equivariant(odd, shift, shift, trials=60)


@for_each("values", [[0, 0, 1], [1, 2, 3], [-1, 0, 1], [[0, 1, 2]], [0.0, 1.0, 2.0], [True, False], "012", 0])
def test_what_is_no_permutation(values: Any) -> None:
    size = np.asarray(values).size
    message = f"_permutation is not a permutation; give an index array that contains each of 0 .. {size - 1} once"
    for name in ("output", "input"):
        permutations: dict[str, Any] = {"output_permutation": [0, 1, 2], "input_permutation": [0, 1, 2]}
        with refused(ValueError, f"{name}{message}"):
            assert_equivariant(np.eye(3), **permutations | {f"{name}_permutation": values})


def test_permutations_of_another_size() -> None:
    pattern = Geometry(5, 3).pattern()
    for layer in (pattern, pattern.matrix([1, 2, 3])):
        with refused(ValueError, "output_permutation has 4 entries, but the layer has 3 outputs (shape (3, 5))"):
            assert_equivariant(layer, np.arange(4), np.arange(5))
        with refused(ValueError, "input_permutation has 3 entries, but the layer has 5 inputs (shape (3, 5))"):
            assert_equivariant(layer, np.arange(3), np.arange(3))
    with refused(ValueError, "output_permutation has 4 entries, but the layer's output has (3,)"):
        assert_equivariant(lambda x: x[:3], np.arange(4), np.arange(5))


# --- whole layers -----------------------------------------------------------------------------------------------------


@each_case
def test_every_layer_of_the_table_checks(geometry: Geometry) -> None:
    check_layer(geometry)
    check_layer(geometry, integer_weights(geometry), rng=7)
    check_layer(geometry, np.zeros(geometry.n_weights, dtype=int))


def test_a_full_kernel_of_a_connection_table_checks() -> None:
    table = [[True, False], [True, True]]
    check_layer(Geometry(6, 3, in_channels=2, out_channels=2, connections=table), np.arange(12).reshape(2, 2, 3))


def test_check_layer_takes_a_geometry_and_integer_weights() -> None:
    with refused(TypeError, "check_layer takes a ConvGeometry, but was given a tuple"):
        check_layer((5, 3))  # type: ignore[arg-type]
    with refused(TypeError, "check_layer compares exactly and takes integer weights, but they are float64"):
        check_layer(Geometry(5, 3), [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"^weights have shape \(2,\), but the layer's weights have \(1, 1, 3\)"):
        check_layer(Geometry(5, 3), [1, 2])


LAYER: Final = Geometry((4, 5), (3, 2), in_channels=2, out_channels=3, padding="same", boundary="reflect")
BACK: Final = Geometry((3, 4), (3, 2), in_channels=2, out_channels=3, stride=2, transposed=True)


class Wrong:
    """Something that behaves like another thing, but for the results of some methods."""

    def __init__(self, right: Any, **changes: Callable[..., Any]) -> None:
        self._right = right
        self._changes = changes

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._right, name)
        change = self._changes.get(name)
        if change is None:
            return found
        if isinstance(found, MethodType):
            return lambda *args, **options: change(found(*args, **options))
        return change(found)

    def __matmul__(self, x: Any) -> Any:
        product = self._right @ x
        return self._changes["forward"](product) if "forward" in self._changes else product


def disagree(geometry: Geometry, what: str) -> Any:
    """Expect `check_layer` to fail with what disagrees."""
    return pytest.raises(AssertionError, match=rf"^{re.escape(repr(geometry))}: {what} disagree$")


def nudged(array: Any) -> Any:
    """Return an array with its last entry changed by one."""
    changed = np.array(array)
    changed.reshape(-1)[-1] += 1
    return changed


def nudged_matrix(matrix: Any) -> Any:
    """Return a matrix with its last stored value changed by one."""
    changed = matrix.copy()
    changed.data[-1] += 1
    return changed


@for_each("geometry", [LAYER, BACK], ids=["forward", "transposed"])
@for_each(
    ("method", "change", "what"),
    [
        ("forward", nudged, "matrix and operator, forward,"),
        ("H", lambda H: Wrong(H, forward=nudged), "matrix and operator, adjoint,"),
    ],
)
def test_check_layer_sees_a_wrong_operator(
    monkeypatch: pytest.MonkeyPatch, geometry: Geometry, method: str, change: Any, what: str
) -> None:
    right = cm.ConvOperator
    monkeypatch.setattr(testing, "ConvOperator", lambda *args: Wrong(right(*args), **{method: change}))
    with disagree(geometry, what):
        check_layer(geometry)
    monkeypatch.undo()
    check_layer(geometry)


@for_each("geometry", [LAYER, BACK], ids=["forward", "transposed"])
@for_each(
    ("method", "change", "what"),
    [
        ("matrix", nudged_matrix, r"(the values of matrix and pattern|tap \d+ and the matrix)"),
        ("values", lambda values: np.arange(values.size), r"tap \d+ and the matrix"),
        ("jacobian", nudged_matrix, "jacobian and matrix"),
        ("jacobian", lambda J: -J, "jacobian and matrix"),
        ("weight_gradient", nudged, "weight gradient and jacobian"),
        ("weight_gradient", lambda gradient: gradient[..., ::-1], "weight gradient and jacobian"),
        ("weight_gradient", lambda gradient: 2 * gradient, "weight gradient and jacobian"),
        ("tap", lambda P: P[::-1], r"tap \d+ and its weight"),
        ("tap", nudged_matrix, r"tap \d+ and its weight"),
    ],
)
def test_check_layer_sees_a_wrong_pattern(
    monkeypatch: pytest.MonkeyPatch, geometry: Geometry, method: str, change: Any, what: str
) -> None:
    right = Geometry.pattern
    monkeypatch.setattr(Geometry, "pattern", lambda self: Wrong(right(self), **{method: change}))
    with disagree(geometry, what):
        check_layer(geometry)


def test_check_layer_sees_other_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    def moved(matrix: Any) -> Any:
        changed = matrix.copy()
        changed.indices[:] = changed.indices[::-1].copy()
        return changed

    right = Geometry.pattern
    monkeypatch.setattr(Geometry, "pattern", lambda self: Wrong(right(self), matrix=moved))
    with disagree(LAYER, "the columns of matrix and pattern"):
        check_layer(LAYER)


@for_each(
    "change",
    [
        lambda A: A.T if A.shape[0] == A.shape[1] else A[::-1],
        lambda A: -A,
        nudged_matrix,
        lambda A: A[:, ::-1].tocsr(),
    ],
    ids=["rows", "sign", "one value", "columns"],
)
def test_check_layer_sees_a_wrong_matrix(monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    right = cm.conv_matrix
    monkeypatch.setattr(testing, "conv_matrix", lambda *args: change(right(*args)))
    for geometry in (LAYER, BACK):
        with disagree(geometry, "matrix and operator, forward,"):
            check_layer(geometry)


def test_check_layer_sees_a_structure_that_depends_on_values(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_zeros(kernel: Any, geometry: Geometry) -> Any:
        A = right(kernel, geometry)
        A.eliminate_zeros()
        return A

    right = cm.conv_matrix
    monkeypatch.setattr(testing, "conv_matrix", without_zeros)
    with disagree(LAYER, "the columns with and without weights"):
        check_layer(LAYER, np.arange(1, 37))


@for_each("geometry", [LAYER, BACK], ids=["forward", "transposed"])
def test_check_layer_sees_a_wrong_unfold_matrix(monkeypatch: pytest.MonkeyPatch, geometry: Geometry) -> None:
    right = Geometry.unfold_matrix
    for change in (nudged_matrix, lambda U: U[::-1], lambda U: 2 * U):
        monkeypatch.setattr(
            Geometry, "unfold_matrix", lambda self, change=change, **options: change(right(self, **options))
        )
        with disagree(geometry, "the factorisation with the unfold matrix and the matrix"):
            check_layer(geometry)
    grouped = Geometry(6, 3, in_channels=2, out_channels=2, groups=2)
    check_layer(grouped)  # which has no such factorisation
