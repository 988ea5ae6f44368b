"""Operators in PyLops: they keep the shapes of their arrays, and PyLops combines and inverts them."""

from __future__ import annotations

import numpy as np
import pytest

import convmatrix as cm
from convmatrix.structured import circulant_operator, toeplitz_operator
from tests.cases import CASES, for_each, integer_input, integer_weights


@for_each("name", CASES)
def test_shapes_of_arrays(name: str) -> None:
    """The product with an array of shape ``dims`` is one of shape ``dimsd``: against the matrix."""
    geometry = CASES[name]
    weights, x = integer_weights(geometry), integer_input(geometry)
    expected = (cm.conv_matrix(weights, geometry) @ x.ravel()).reshape(geometry.out_channels, *geometry.output_shape)
    single = geometry.in_channels == geometry.out_channels == 1
    for order in ("C", "F"):
        A = cm.ConvOperator(weights, geometry, order=order)
        array, image = (part[0] if single else part for part in (x, expected))
        array, image = (part if order == "C" else part.T for part in (array, image))
        assert (A.dims, A.dimsd) == (array.shape, image.shape)
        np.testing.assert_array_equal((A @ array.ravel()).reshape(A.dimsd), image)
        for view in (A.T, A.H):
            assert (view.dims, view.dimsd) == (A.dimsd, A.dims)


def test_other_operators_have_shapes() -> None:
    assert circulant_operator(np.ones((3, 4))).dims == (3, 4)
    T = toeplitz_operator([1.0, 2], shape=(5, 3))
    assert (T.dims, T.dimsd, T.T.dims) == ((3,), (5,), (5,))


def test_operators_keep_their_shapes_in_pylops() -> None:
    pylops = pytest.importorskip("pylops")
    rng = np.random.default_rng(0)
    kernel, image = rng.standard_normal((2, 3, 3, 3)), rng.standard_normal((3, 12, 10))
    A = cm.ConvOperator(kernel, image.shape, padding="same", boundary="symmetric", stride=2)
    operator = pylops.aslinearoperator(A)
    assert (operator.dims, operator.dimsd) == ((3, 12, 10), (2, 6, 5))
    product = operator @ image
    assert product.shape == (2, 6, 5)
    np.testing.assert_allclose(product.ravel(), A @ image.ravel(), rtol=1e-12)
    assert (operator.H @ product).shape == image.shape
    assert pylops.utils.dottest(operator, A.shape[0], A.shape[1], rtol=1e-10)


def test_least_squares_in_pylops() -> None:
    """A deconvolution with a Laplacian penalty of PyLops, against the dense normal equations."""
    pylops = pytest.importorskip("pylops")
    rng = np.random.default_rng(1)
    blur, shape = np.outer([1, 2, 1], [1, 2, 1]) / 16, (9, 8)
    A = cm.ConvOperator(blur, shape, padding="same", boundary="reflect")
    y = rng.standard_normal(A.dimsd)
    penalty = pylops.Laplacian(shape)
    found, *_ = pylops.optimization.leastsquares.regularized_inversion(
        pylops.aslinearoperator(A), y.ravel(), [penalty], epsRs=[0.3], damp=0.0, iter_lim=500, atol=1e-14, btol=1e-14
    )
    dense, L = A @ np.eye(72), penalty.todense()
    expected = np.linalg.solve(dense.T @ dense + 0.09 * L.T @ L, dense.T @ y.ravel())
    np.testing.assert_allclose(found.ravel(), expected, rtol=0, atol=1e-8)
