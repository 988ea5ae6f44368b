"""Assertions about adjoints, gradients and equivariance, and conformance, for the package's layers and for your own."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix.arrays import as_permutation
from convmatrix.conformance.campaigns import conform
from convmatrix.geometry import ConvGeometry
from convmatrix.matrices import conv_matrix
from convmatrix.operator import ConvOperator
from convmatrix.options import weight_array
from convmatrix.pattern import WeightPattern

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, DTypeLike, NDArray

    Random = int | np.random.Generator

__all__ = ["assert_adjoint", "assert_equivariant", "assert_gradient", "check_layer", "conform"]


def assert_adjoint(
    forward: Any,
    adjoint: Any = None,
    *,
    input_shape: int | Sequence[int] | None = None,
    dtype: DTypeLike | None = None,
    trials: int = 3,
    rtol: float | None = None,
    rng: Random = 0,
) -> None:
    r"""Raise unless two linear maps are adjoint: :math:`\langle A x, y \rangle = \langle x, A^H y \rangle`.

    Parameters
    ----------
    forward, adjoint : LinearOperator, matrix or callable
        Callables map arrays to arrays of any shape. If the adjoint of a LinearOperator is omitted, its ``.H`` is
        tested.
    input_shape : int or sequence of int, optional
        Shape of x; required if ``forward`` is a callable.
    dtype : dtype, optional
        Dtype of the random arrays; by default that of the operator, else float64. Integers are compared exactly.
    trials : int
    rtol : float, optional
        Allowed difference, relative to :math:`\|A x\| \|y\| + \|x\| \|A^H y\|`; by default 100 epsilon.
    rng : int or numpy.random.Generator

    Raises
    ------
    AssertionError
        If they are not adjoint; the message gives both inner products.

    Examples
    --------
    >>> import convmatrix as cm
    >>> assert_adjoint(cm.ConvOperator([1.0, 2.0, 4.0], 9, padding="same", boundary="reflect"))
    >>> assert_adjoint(lambda x: x[1:], lambda y: y, input_shape=4)
    Traceback (most recent call last):
    AssertionError: the adjoint returns shape (3,), but the input has (4,)
    """
    if adjoint is None:
        if callable(getattr(forward, "rmatvec", None)):
            adjoint = forward.H
        elif hasattr(forward, "shape"):
            raise TypeError(
                "the adjoint of a matrix is always its conjugate transpose; pass the adjoint that is to be tested"
            )
        else:
            raise TypeError("forward is a function with an unknown adjoint; pass adjoint=")
    shape = _input_shape(forward, input_shape)
    kind = np.dtype(dtype if dtype is not None else getattr(forward, "dtype", None) or np.float64)
    generator = np.random.default_rng(rng)
    for trial in range(trials):
        x = _random(generator, shape, kind)
        image = np.asarray(_apply(forward, x))
        y = _random(generator, image.shape, kind)
        back = np.asarray(_apply(adjoint, y))
        if back.shape != x.shape:
            raise AssertionError(f"the adjoint returns shape {back.shape}, but the input has {x.shape}")
        left, right = np.vdot(image, y), np.vdot(x, back)
        scale = np.linalg.norm(image) * np.linalg.norm(y) + np.linalg.norm(x) * np.linalg.norm(back)
        allowed = _tolerance(rtol, image, back) * scale
        if not abs(left - right) <= allowed:
            raise AssertionError(
                f"not adjoint: <A x, y> = {left}, but <x, A^H y> = {right} (trial {trial}, they differ by "
                f"{abs(left - right):.3g}, allowed is {allowed:.3g})"
            )


def assert_gradient(
    function: Callable[[NDArray[Any]], ArrayLike],
    gradient: Callable[[NDArray[Any], NDArray[Any]], ArrayLike],
    point: ArrayLike,
    *,
    degree: int | None = None,
    trials: int = 3,
    rtol: float = 1e-6,
    rng: Random = 0,
) -> None:
    r"""Raise unless a gradient is the derivative of a function along random directions.

    For a random cotangent c and direction h, compare :math:`\langle \mathrm{gradient}(x, c), h \rangle` with the
    derivative of :math:`s \mapsto \langle c, f(x + s h) \rangle` at 0.

    Parameters
    ----------
    function : callable
        f, from an array like ``point`` to an array.
    gradient : callable
        ``gradient(x, c)``, the gradient of :math:`\langle c, f(x) \rangle` with respect to x.
    point : array_like
        The real point at which to test.
    degree : int, optional
        If f is a polynomial of at most this degree and ``point`` holds integers, the derivative is computed in integers
        and must agree exactly. Otherwise it is approximated by central differences in floating point.
    trials : int
    rtol : float
        Allowed relative error of the central differences.
    rng : int or numpy.random.Generator

    Raises
    ------
    AssertionError
        If the gradient is wrong; the message gives both derivatives.

    Examples
    --------
    >>> import numpy as np
    >>> assert_gradient(lambda x: x**3, lambda x, c: 3 * x**2 * c, np.array([1, -2, 5]), degree=3)
    >>> assert_gradient(np.tanh, lambda x, c: (1 - np.tanh(x) ** 2) * c, [0.1, 0.7])
    >>> assert_gradient(lambda x: x**2, lambda x, c: x * c, np.array([1, 2]), degree=2)
    Traceback (most recent call last):
    AssertionError: wrong gradient: along a random direction it gives ..., but the function changes by ... (trial 0)
    """
    x = np.asarray(point)
    exact = degree is not None and x.dtype.kind in "iu"
    if not exact:
        x = x.astype(np.float64)
    generator = np.random.default_rng(rng)
    for trial in range(trials):
        direction = _random(generator, x.shape, x.dtype)
        cotangent = _random(generator, np.shape(function(x)), x.dtype)
        slope = np.asarray(gradient(x, cotangent))
        if slope.shape != x.shape:
            raise AssertionError(f"the gradient has shape {slope.shape}, but the point has {x.shape}")
        given = _inner(slope, direction, exact)

        def along(step: Any, direction: NDArray[Any] = direction, cotangent: NDArray[Any] = cotangent) -> Any:
            return _inner(cotangent, np.asarray(function(x + step * direction)), exact)

        if exact and degree is not None:
            true = sum(weight * along(node) for node, weight in enumerate(_slope_weights(degree)))
            wrong = given != true
        else:
            step = 1e-5 * max(1.0, float(np.abs(x).max(initial=0.0)))
            true = (along(step) - along(-step)) / (2 * step)
            scale = np.linalg.norm(slope) * np.linalg.norm(direction)
            wrong = not abs(given - true) <= rtol * max(scale, abs(true))
        if wrong:
            raise AssertionError(
                f"wrong gradient: along a random direction it gives {given}, but the function changes by {true} "
                f"(trial {trial})"
            )


def assert_equivariant(
    layer: Any,
    output_permutation: ArrayLike,
    input_permutation: ArrayLike,
    *,
    trials: int = 3,
    rtol: float = 1e-12,
    rng: Random = 0,
) -> None:
    r"""Raise unless permuting the input permutes the output: :math:`A P = Q A`.

    A permutation p is an index array: entry i of the permuted vector is entry p[i] of the original one. In entries, the
    condition is ``A[i, j] == A[q[i], p[j]]``.

    Parameters
    ----------
    layer : WeightPattern, sparse or dense matrix, or callable
        A pattern is checked exactly for all weights, and a matrix exactly for its entries. A callable from vectors to
        vectors is checked on random inputs, with a tolerance of ``rtol`` times the largest output.
    output_permutation, input_permutation : array_like of int
    trials, rtol, rng
        Used for callables only.

    Raises
    ------
    AssertionError
        If the layer is not equivariant; the message gives the number of rows that break the symmetry and the first one.

    Examples
    --------
    >>> import numpy as np
    >>> import convmatrix as cm
    >>> shift = np.roll(np.arange(5), 1)
    >>> ring = cm.ConvGeometry(5, 3, padding="same", boundary="circular")
    >>> assert_equivariant(ring.pattern(), shift, shift)
    >>> assert_equivariant(cm.conv_matrix([1, 2, 1], 5, padding="same"), shift, shift)
    Traceback (most recent call last):
    AssertionError: not equivariant: 3 of 5 rows break the symmetry, the first is row 0
    """
    q = as_permutation("output_permutation", output_permutation)
    p = as_permutation("input_permutation", input_permutation)
    if hasattr(layer, "shape"):
        for name, permutation, size in (("output", q, layer.shape[0]), ("input", p, layer.shape[1])):
            if len(permutation) != size:
                raise ValueError(
                    f"{name}_permutation has {len(permutation)} entries, but the layer has {size} {name}s "
                    f"(shape {tuple(layer.shape)})"
                )
    if isinstance(layer, WeightPattern):
        from convmatrix.equivariance.comparison import broken_rows

        broken = np.flatnonzero(broken_rows(layer, q, p))
    elif hasattr(layer, "shape") and not hasattr(layer, "matvec"):
        difference = layer - layer[q][:, p]
        broken = np.unique(difference.nonzero()[0])
    else:
        generator = np.random.default_rng(rng)
        rows = []
        for _ in range(trials):
            x = generator.standard_normal(len(p))
            image, moved = np.asarray(_apply(layer, x)), np.asarray(_apply(layer, x[p]))
            if image.shape != (len(q),):
                raise ValueError(f"output_permutation has {len(q)} entries, but the layer's output has {image.shape}")
            rows.append(np.flatnonzero(~(np.abs(moved - image[q]) <= rtol * np.abs(image).max())))
        broken = np.unique(np.concatenate(rows))
    if len(broken):
        raise AssertionError(
            f"not equivariant: {len(broken)} of {len(q)} rows break the symmetry, the first is row {broken[0]}"
        )


def check_layer(geometry: ConvGeometry, weights: ArrayLike | None = None, *, rng: Random = 0) -> None:
    """Raise unless all representations of a layer agree exactly, in integers.

    The matrix is compared with `ConvOperator`, which is computed independently, forward and adjoint; with the pattern;
    with the Jacobian and the weight gradient; with its expansion in taps; with the factorisation by the unfold matrix,
    if the weights are shared; and its structure with that for zero weights.

    Parameters
    ----------
    geometry : ConvGeometry
    weights : array_like of int, optional
        Random by default.
    rng : int or numpy.random.Generator

    Raises
    ------
    AssertionError
        If two representations disagree; the message names them.

    Examples
    --------
    >>> import convmatrix as cm
    >>> check_layer(cm.ConvGeometry((6, 5), (3, 2), in_channels=2, stride=2, padding="same", boundary="symmetric"))
    """
    if not isinstance(geometry, ConvGeometry):
        raise TypeError(f"check_layer needs a ConvGeometry, but got a {type(geometry).__name__}")
    generator = np.random.default_rng(rng)
    kernel = generator.integers(-9, 10, geometry.weight_shape) if weights is None else np.asarray(weights)
    if kernel.dtype.kind not in "iu":
        raise TypeError(f"check_layer compares exactly and needs integer weights, but they are {kernel.dtype}")
    x = generator.integers(-9, 10, (geometry.n_in, 2))
    g = generator.integers(-9, 10, (geometry.n_out, 2))
    pattern = geometry.pattern()
    matrix = conv_matrix(kernel, geometry)
    operator = ConvOperator(kernel, geometry)

    def agree(what: str, left: Any, right: Any) -> None:
        if not np.array_equal(np.ravel(left), np.ravel(right)):
            raise AssertionError(f"{geometry!r}: {what} disagree")

    agree("matrix and operator, forward,", matrix @ x, operator @ x)
    agree("matrix and operator, adjoint,", matrix.T @ g, operator.H @ g)
    from_pattern = pattern.matrix(kernel)
    agree("the values of matrix and pattern", matrix.data, from_pattern.data)
    agree("the columns of matrix and pattern", matrix.indices, from_pattern.indices)
    agree("the columns with and without weights", matrix.indices, conv_matrix(np.zeros_like(kernel), geometry).indices)
    flat = pattern.values(kernel)
    agree("jacobian and matrix", pattern.jacobian(x[:, 0]) @ _flat_weights(pattern, kernel), matrix @ x[:, 0])
    gradient = pattern.weight_gradient(x[:, 0], g[:, 0])
    agree("weight gradient and jacobian", gradient, pattern.jacobian(x[:, 0]).T @ g[:, 0])
    for index in generator.choice(pattern.n_weights, min(pattern.n_weights, 8), replace=False).tolist():
        nudge = np.zeros(pattern.n_weights, dtype=kernel.dtype)
        nudge[index] = 1
        change = pattern.values(_flat_weights(pattern, kernel) + nudge) - flat
        moved = pattern.matrix(nudge)
        agree(f"tap {index} and the matrix", moved.data, change)
        agree(f"tap {index} and its weight", pattern.tap(index) @ x[:, 0], moved @ x[:, 0])
    if geometry.sharing == "shared" and geometry.connections is None and geometry.groups == 1:
        unfold = geometry.unfold_matrix(dtype=kernel.dtype)
        dense = kernel.reshape(geometry.weight_shape).reshape(geometry.weight_shape[0], -1)
        wide = np.kron(dense, np.eye(int(np.prod(geometry.positions)), dtype=kernel.dtype))
        factored = unfold.T @ (wide.T @ x) if geometry.transposed else wide @ (unfold @ x)
        agree("the factorisation with the unfold matrix and the matrix", factored, matrix @ x)


def _flat_weights(pattern: WeightPattern, kernel: NDArray[Any]) -> NDArray[Any]:
    """Return weights as a flat array in the order of the pattern."""
    return weight_array(kernel, pattern.weight_shape, pattern.geometry).reshape(-1)


def _input_shape(forward: Any, input_shape: int | Sequence[int] | None) -> tuple[int, ...]:
    if input_shape is not None:
        return tuple(np.atleast_1d(np.asarray(input_shape)).tolist())
    if not hasattr(forward, "shape"):
        raise TypeError("forward is a function with an unknown input shape; pass input_shape=")
    return (int(forward.shape[1]),)


def _apply(operator: Any, x: NDArray[Any]) -> Any:
    """Return a matrix, an operator or a function applied to x."""
    return operator @ x if hasattr(operator, "shape") else operator(x)


def _random(generator: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind in "iu":
        return generator.integers(0 if dtype.kind == "u" else -9, 10, shape).astype(dtype)
    values = generator.standard_normal(shape)
    if dtype.kind == "c":
        return (values + 1j * generator.standard_normal(shape)).astype(dtype)
    return values.astype(dtype)


def _tolerance(rtol: float | None, *arrays: NDArray[Any]) -> float:
    """Return the relative tolerance, by default 0 for integers."""
    if rtol is not None:
        return rtol
    kinds = [array.dtype for array in arrays]
    if all(kind.kind in "iu" for kind in kinds):
        return 0.0
    return 100 * max(float(np.finfo(kind).eps) for kind in kinds if kind.kind in "fc")


def _inner(left: NDArray[Any], right: NDArray[Any], exact: bool) -> Any:
    if exact:
        return sum(int(a) * int(b) for a, b in zip(left.ravel().tolist(), right.ravel().tolist(), strict=True))
    return np.vdot(left, right)


def _slope_weights(degree: int) -> list[Fraction]:
    """Return weights c with p'(0) = sum_m c_m p(m), m = 0 .. degree, for all polynomials p of at most this degree."""
    nodes = range(degree + 1)
    weights = [Fraction(0)] * (degree + 1)
    for m in range(1, degree + 1):  # the slope at 0 of the Lagrange polynomial of node m
        slope = Fraction(1, m)
        for other in nodes:
            if other not in (0, m):
                slope *= Fraction(-other, m - other)
        weights[m] = slope
    weights[0] = -sum(weights[1:], Fraction(0))  # constants have no slope
    return weights
