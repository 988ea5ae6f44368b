"""Spectra: against dense decompositions, published values, and by what must hold for every layer."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from scipy.sparse.linalg import ArpackNoConvergence, svds

import convmatrix as cm
from convmatrix import memory, spectral
from convmatrix.boundary import BOUNDARIES, Axis
from convmatrix.spectral import blocks as blocks_module
from convmatrix.spectral import bounds, extremes, lanczos, localisation, norm_certificates, published
from convmatrix.spectral.axis_transforms import dense_transform, enclosing_rings, is_ring, used_taps
from convmatrix.spectral.blocks import (
    Blocks,
    WeightedLayer,
    gram_bounds,
    gram_matrices,
    largest_singular_value,
    layer_blocks,
    read_layer,
)
from convmatrix.spectral.norm_certificates import BandCertifier, BlockCertifier
from tests.cases import CASES, each_case, for_each, integer_weights
from tests.random_spectra import (
    EXACT,
    compare_routes,
    cut_layer,
    enclose,
    exact_layers,
    main,
    random_weights,
    singular_value_error,
    values_layer,
)
from tests.strategies import random_layer

RING: dict[str, Any] = {"padding": "same", "boundary": "circular"}
TEST_FILTER = [[2, 7, -1], [1, 3, -8], [5, -3, 1]]


def dense_norm(kernel: Any, shape: Any, **options: Any) -> float:
    return float(np.linalg.norm(cm.conv_matrix(kernel, shape, **options).toarray(), 2))


# --- published and recomputed values ---------------------------------------------------------------------------------


def test_filters_of_the_reference_implementation() -> None:
    one = spectral.singular_values([2, 7, -1], 20, **RING)
    assert one[0] == pytest.approx(8.0056336379, abs=1e-10)
    assert one[-1] == pytest.approx(6.0, abs=1e-12)
    two = spectral.singular_values(TEST_FILTER, (20, 20), **RING)
    assert two[0] == pytest.approx(22.9122134817, abs=1e-10)
    assert two[-1] == pytest.approx(0.1548414175, abs=1e-10)


def test_circular_norm_is_below_the_zero_padded_one() -> None:
    assert spectral.spectral_norm([1, -2, 1], 3, **RING) == pytest.approx(3, abs=1e-14)
    assert spectral.spectral_norm([1, -2, 1], 3, padding="same") == pytest.approx(2 + math.sqrt(2), abs=1e-14)


@for_each("boundary, angles", [("zero", np.arange(1, 9) / 18), ("symmetric", np.arange(8) / 16)])
def test_eigenvalues_of_a_blur(boundary: str, angles: Any) -> None:
    found = spectral.eigenvalues([0.25, 0.5, 0.25], 8, padding="same", boundary=boundary)
    np.testing.assert_allclose(found, np.cos(angles * np.pi) ** 2, atol=1e-15)


def test_symmetric_boundary_takes_the_cosine_transform() -> None:
    geometry = cm.ConvGeometry((6, 7), (3, 5), padding="same", boundary="symmetric")
    kernel = np.outer([1, 3, 1], [1, -2, 5, -2, 1])
    assert read_layer(kernel, geometry).transform_names == ("cosine", "cosine")
    shifted = cm.ConvGeometry((6, 7), (3, 5), padding=[(0, 2), (2, 2)], boundary="symmetric")
    assert read_layer(kernel, shifted).transform_names == ("dense", "cosine")
    shifted = cm.ConvGeometry((6, 7), (3, 5), padding=[(0, 2), (2, 2)], boundary="symmetric")
    assert read_layer(kernel, shifted).transform_names == ("dense", "cosine")
    kernel[0, 0] += 1
    assert read_layer(kernel, geometry).transform_names == ("dense", "dense")


# --- exact -----------------------------------------------------------------------------------------------------------


def test_random_layers_of_the_exact_route() -> None:
    rng = np.random.default_rng(1)
    kinds = set()
    for geometry, weights in exact_layers(rng, 250):
        assert singular_value_error(geometry, weights) <= EXACT, geometry
        kinds |= set(read_layer(weights, geometry).transform_names)
    assert kinds >= {"fourier", "cosine"}


@each_case
def test_singular_values_of_every_kind_of_layer(geometry: cm.ConvGeometry) -> None:
    assert singular_value_error(geometry, integer_weights(geometry)) <= EXACT


@for_each("complex_weights", [False, True])
def test_vectors(complex_weights: bool) -> None:
    rng = np.random.default_rng(2)
    layers = [(geometry, rng.standard_normal(geometry.weight_shape)) for geometry in CASES.values()]
    for geometry, w in [*layers, *((geometry, w.real) for geometry, w in exact_layers(rng, 60))]:
        w = w * (1 + 2j) + 1j * np.flip(w) if complex_weights else w
        U, s, Vh = spectral.singular_values(w, geometry, vectors=True)
        A = cm.conv_matrix(w, geometry).toarray()
        np.testing.assert_allclose(U * s @ Vh, A, atol=1e-12 * max(s[0], 1))
        np.testing.assert_allclose(U.conj().T @ U, np.eye(len(s)), atol=1e-12)
        np.testing.assert_allclose(Vh @ Vh.conj().T, np.eye(len(s)), atol=1e-12)
        assert np.isrealobj(U) == np.isrealobj(Vh) == (not complex_weights)


def test_kernel_longer_than_the_ring_wraps() -> None:
    wrapped = np.zeros(3)
    np.add.at(wrapped, np.arange(8) % 3, np.arange(8.0))
    long = spectral.singular_values(np.arange(8.0), 3, **RING)
    np.testing.assert_allclose(long, spectral.singular_values(wrapped, 3, **RING), atol=1e-13)


def test_long_kernels_take_the_fast_transform() -> None:
    rng = np.random.default_rng(3)
    for shape, kernel in (((300,), (130,)), ((7, 210), (3, 120)), ((210, 7), (120, 3))):
        w = rng.standard_normal(kernel)
        found = spectral.singular_values(w, shape, **RING)
        expected = np.sort(np.abs(np.fft.fftn(w, shape, axes=range(len(shape)))).ravel())[::-1]
        np.testing.assert_allclose(found, expected, atol=1e-12 * expected[0])
        wave = np.exp(2j * np.pi * sum(3 * index / n for index, n in zip(np.indices(shape), shape, strict=True)))
        factor = spectral.transfer_function(w, shape, **RING)[(3,) * len(shape)]
        np.testing.assert_allclose(cm.ConvOperator(w, shape, **RING) @ wave.ravel(), factor * wave.ravel(), atol=1e-9)


def test_norm_of_a_depthwise_layer() -> None:
    w = np.ones((4, 1, 3, 3))
    assert spectral.spectral_norm(w, (4, 8, 8), groups=4, **RING) == pytest.approx(9)


@for_each("case", ["1d circular", "2d circular", "2d groups", "transposed 1d same_lower", "1d same"])
def test_eigenvalues(case: str) -> None:
    geometry = CASES[case]
    if geometry.n_in != geometry.n_out:
        geometry = cm.ConvGeometry((4, 5), (3, 2), in_channels=4, out_channels=4, groups=2, **RING)
    w = np.random.default_rng(4).standard_normal(geometry.weight_shape)
    found = spectral.eigenvalues(w, geometry)
    expected = np.linalg.eigvals(cm.conv_matrix(w, geometry).toarray())
    assert len(found) == len(expected)
    for value in expected:  # of a set of complex numbers no order survives rounding
        assert np.abs(found - value).min() <= 1e-10 * np.abs(expected).max()
    np.testing.assert_allclose((found**3).sum(), (expected**3).sum(), rtol=1e-9, atol=1e-9)
    assert np.all(np.diff(np.abs(found)) <= 1e-11 * np.abs(found[0]))


def test_eigenvalues_where_strides_and_channels_make_it_square() -> None:
    geometry = cm.ConvGeometry((4, 6), (2, 2), in_channels=2, out_channels=8, groups=2, stride=2)
    w = np.random.default_rng(5).standard_normal(geometry.weight_shape)
    found = np.sort_complex(spectral.eigenvalues(w, geometry).round(8))
    expected = np.sort_complex(np.linalg.eigvals(cm.conv_matrix(w, geometry).toarray()).round(8))
    np.testing.assert_allclose(found, expected, atol=1e-7)


@for_each("groups, transposed", [(1, False), (2, False), (1, True), (2, True)])
def test_transfer_function_multiplies_waves(groups: int, transposed: bool) -> None:
    channels = (4, 2)
    shape = (channels[0], channels[1] // groups, 3, 4) if not transposed else (channels[1], channels[0] // groups, 3, 4)
    w = np.random.default_rng(6).standard_normal(shape)
    options: dict[str, Any] = {"groups": groups, "transposed": transposed, **RING}
    A = cm.ConvOperator(w, (2, 6, 5), **options)
    B = spectral.transfer_function(w, (2, 6, 5), **options)
    assert B.shape == (6, 5, 4, 2)
    y, x = np.mgrid[:6, :5]
    for f, g in ((0, 0), (2, 3), (5, 1)):
        wave = np.exp(2j * np.pi * (f * y / 6 + g * x / 5))
        v = np.array([1.0, 2 - 1j])
        image = A @ np.multiply.outer(v, wave).ravel()
        np.testing.assert_allclose(image.reshape(4, 6, 5), np.multiply.outer(B[f, g] @ v, wave), atol=1e-12)


def test_transfer_function_of_a_strided_layer() -> None:
    w = np.random.default_rng(7).standard_normal((3, 2, 3))
    B = spectral.transfer_function(w, (2, 8), stride=2, **RING)
    wave, v = np.exp(2j * np.pi * 3 * np.arange(4) / 4), np.array([1, -1j, 2, 0.5])
    x = np.empty((2, 4, 2), dtype=complex)
    x[:] = v.reshape(2, 1, 2) * wave[:, None]
    y = cm.conv_matrix(w, (2, 8), stride=2, **RING) @ x.ravel()
    np.testing.assert_allclose(y.reshape(3, 4), np.multiply.outer(B[3] @ v, wave), atol=1e-12)


# --- extremes --------------------------------------------------------------------------------------------------------


def test_the_error_of_the_value_is_within_the_tolerance() -> None:
    """The tolerance applies to the value, not the vector: for every boundary, from loose to tight tolerances."""
    rng = np.random.default_rng(22)
    for number in range(24):
        geometry, weights = values_layer(rng)
        norm = float(np.linalg.norm(cm.conv_matrix(weights, geometry).toarray(), 2))
        for tol in (1e-2, 1e-4, 1e-6, 1e-9)[number % 2 :: 2]:
            value, error = spectral.spectral_norm(weights, geometry, method="lanczos", tol=tol, with_error=True)
            assert value <= norm * (1 + 1e-12)
            assert norm - value <= tol * norm, (geometry, tol)
            assert error <= tol * value


def test_single_precision_is_followed_by_double() -> None:
    layer = read_layer(np.random.default_rng(23).standard_normal((3, 3, 3, 3)), (3, 12, 12), padding=1)
    norm = dense_norm(layer.weights, layer.geometry)
    for tolerance in (1e-3, 1e-8, 1e-12):
        found = lanczos.layer_norm(layer, tolerance)
        assert norm * (1 - tolerance) <= found.value <= norm * (1 + 1e-14)
        assert found.vector.dtype == np.float64
    start = lanczos.symbol_start(layer)
    assert start is not None
    assert np.linalg.norm(cm.ConvOperator(layer.weights, layer.geometry) @ start[:, 0]) > 0.8 * norm * np.linalg.norm(
        start[:, 0]
    )


@each_case
def test_lanczos_agrees_with_the_exact_norm(geometry: cm.ConvGeometry) -> None:
    w = np.random.default_rng(8).standard_normal(geometry.weight_shape)
    exact, rounding = spectral.spectral_norm(w, geometry, method="exact", with_error=True)
    value, error = spectral.spectral_norm(w, geometry, method="lanczos", tol=1e-9, with_error=True)
    assert exact == pytest.approx(dense_norm(w, geometry), rel=1e-13)
    assert 0 <= rounding <= 1e-10 * max(exact, 1)
    assert abs(value - exact) <= 2 * error + 1e-12 * exact


def test_extremes_of_a_large_layer() -> None:
    kernel = [[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]  # eigenvalues known in closed form
    n = 60
    top, low = (8 * math.sin(j * math.pi / (2 * (n + 1))) ** 2 for j in (n, 1))
    assert spectral.spectral_norm(kernel, (n, n), padding="same", tol=1e-9) == pytest.approx(top, rel=1e-8)
    layer = read_layer(kernel, cm.ConvGeometry((n, n), (3, 3), padding="same"))
    assert extremes._inverse_lanczos(layer) == pytest.approx(low, rel=1e-6)
    assert spectral.condition_number(kernel, (20, 20), padding="same") == pytest.approx(
        math.sin(20 * math.pi / 42) ** 2 / math.sin(math.pi / 42) ** 2, rel=1e-10
    )


def test_large_layers_take_the_inverse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WeightedLayer, "decomposition_work", 1e12)
    kernel, shape = [[0.0, 1, 0], [1, -5, 1], [0, 1, 0]], (9, 8)
    values = np.linalg.svd(cm.conv_matrix(kernel, shape, padding="same").toarray(), compute_uv=False)
    assert spectral.smallest_singular_value(kernel, shape, padding="same") == pytest.approx(values[-1], rel=1e-7)
    assert spectral.condition_number(kernel, shape, padding="same") == pytest.approx(values[0] / values[-1], rel=1e-6)
    wide = np.random.default_rng(1).standard_normal((2, 1, 3))
    values = np.linalg.svd(cm.conv_matrix(wide, (1, 9), padding="same").toarray(), compute_uv=False)
    assert spectral.smallest_singular_value(wide, (1, 9), padding="same") == pytest.approx(values[-1], rel=1e-6)


def test_singular_layers() -> None:
    assert spectral.condition_number([1, 1], 6, **RING) == math.inf
    assert spectral.smallest_singular_value([1, 1], 6, **RING) == pytest.approx(0, abs=1e-15)
    assert spectral.rank([1, 1], 6, **RING) == 5
    assert spectral.rank([3, 4], 6, tol=0.5, **RING) == 5  # moduli 7, 6.08 twice, 3.6 twice, 1
    assert spectral.condition_number([0, 0], 6, **RING) == math.inf
    assert spectral.rank([0, 0], 6, **RING) == 0


@for_each("squarings", [0, 1, 4])
def test_gram_bounds_bound(squarings: int) -> None:
    rng = np.random.default_rng(9)
    for shape in ((7, 3, 5), (7, 6, 6), (4, 5, 1)):
        stack = rng.standard_normal(shape) * 10.0 ** rng.integers(-200, 200, (shape[0], 1, 1))
        norms = np.linalg.norm(stack, 2, axis=(1, 2))
        found = gram_bounds(stack, squarings)
        assert (norms <= found).all()
        assert (found <= norms * min(shape[1:]) ** (0.5 ** (squarings + 1)) * (1 + 1e-9)).all()
    assert gram_bounds(np.zeros((2, 3, 3)), squarings).tolist() == [0, 0]


def test_the_largest_singular_value_of_a_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(24)
    monkeypatch.setattr(blocks_module, "_BATCH_ENTRIES", 40)  # of few matrices each
    for shape in ((9, 3, 5), (30, 6, 4), (1, 7, 7), (5, 2, 8)):
        stack = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
        equal = np.linalg.qr(stack.swapaxes(1, 2) if shape[1] < shape[2] else stack)[0]
        for matrices in (stack, stack.real * 1e200, stack * 1e-200, equal, np.zeros(shape)):
            norm = float(np.linalg.norm(matrices, 2, axis=(1, 2)).max())
            assert largest_singular_value(matrices) == pytest.approx(norm, rel=1e-14, abs=0)
            assert largest_singular_value(matrices, 2 * norm) == 2 * norm
            assert largest_singular_value(matrices, 1e250) == 1e250
            assert largest_singular_value(matrices, norm * (1 - 1e-9)) == pytest.approx(norm, rel=1e-14, abs=0)
    # Where power steps see the wrong matrix first, the others are still examined.
    monkeypatch.setattr(blocks_module, "_POWERS", 0)
    large = np.concatenate([np.eye(5)[None] * np.linspace(1, 2, 40)[:, None, None]])
    assert largest_singular_value(large) == 2


def test_gram_matrices_of_shifts_have_the_norm_of_all_blocks() -> None:
    rng = np.random.default_rng(28)
    for number in range(12):
        n_axes = int(rng.integers(1, 3))
        geometry = cm.ConvGeometry(
            rng.integers(4, 12, n_axes),
            rng.integers(1, 4, n_axes),
            in_channels=2 * int(rng.integers(1, 6)),
            out_channels=2 * int(rng.integers(1, 6)),
            groups=1 + number % 2,
            padding="same",
            stride=rng.integers(1, 3, n_axes),
            transposed=number % 3 == 0,
        )
        weights = rng.standard_normal(geometry.weight_shape) * (1 if number % 4 else 1 + 1j)
        rings = [enclosing_rings(axis)[0][0] for axis in geometry.axes]
        blocks = layer_blocks(WeightedLayer(geometry, weights), rings)
        norm = float(np.linalg.norm(blocks.all(), 2, axis=(-2, -1)).max())
        found, error = blocks.gram_norm()
        assert found == pytest.approx(norm, rel=1e-12)
        assert norm <= (found + error) * (1 + 1e-15)
        assert error <= 1e-10 * norm


def test_norm_bounds_of_subnormal_weights_are_rounded_outwards() -> None:
    least = 5e-324
    for kernel, size, norm in (([1, 1], 3, 1.7320508), ([1, 1], 2, 2**0.5), ([1], 2, 1)):
        lower, upper = spectral.norm_bounds(np.array(kernel) * least, size)
        assert lower / least <= norm <= upper / least  # both quotients are small integers


def test_gram_matrices_of_shifts_wrap_around_a_short_ring() -> None:
    # The products of 60 shifts have 119 shifts, more than a fast transform of the ring has points.
    geometry = cm.ConvGeometry((60, 4), (60, 1), in_channels=3, out_channels=3, padding="same", boundary="circular")
    weights = np.random.default_rng(29).standard_normal(geometry.weight_shape)
    blocks = layer_blocks(WeightedLayer(geometry, weights))
    assert blocks.gram_norm()[0] == pytest.approx(blocks.norm(), rel=1e-12)


def test_weights_of_one_shift_have_one_distinct_block(monkeypatch: pytest.MonkeyPatch) -> None:
    w = np.random.default_rng(25).standard_normal((5, 4, 1, 1))
    original, sizes = Blocks.map, []

    def recorded(blocks: Blocks, function: Any) -> list[Any]:
        sizes.append((blocks.shape, blocks.block_shape))
        return original(blocks, function)

    monkeypatch.setattr(Blocks, "map", recorded)
    found = spectral.spectral_norm(w, (4, 90, 90), stride=3, padding="same", method="exact")
    assert found == pytest.approx(np.linalg.norm(w[..., 0, 0], 2), rel=1e-14)
    assert sizes == [((1, 1), (5, 4))]


def test_largest_value_is_that_of_all_blocks() -> None:
    rng = np.random.default_rng(10)
    for geometry, weights in exact_layers(rng, 60):
        expected = spectral.singular_values(weights, geometry)[0]
        assert spectral.spectral_norm(weights, geometry, method="exact") == pytest.approx(expected, rel=1e-13)


def test_lanczos_finds_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.r_[1.0, 1 - 1e-9, 1 - 1e-6, np.linspace(0, 0.9, 40)]
    A = cm.ConvOperator(np.ones(1), 43)  # only its interface
    diagonal = _Diagonal(values)
    found = lanczos.largest_singular(diagonal, tolerance=1e-12)
    assert found.value == pytest.approx(1, abs=1e-11)
    assert found.residual <= 1e-8
    monkeypatch.setattr(lanczos, "_MOST_STEPS", 6)  # vectors per cycle: most of them are restarts
    again = lanczos.largest_singular(diagonal, tolerance=1e-12)
    assert again.value == pytest.approx(1, abs=2e-9)
    assert again.products > found.products
    assert A.shape == diagonal.shape


class _Diagonal:
    """A diagonal matrix with the interface of an operator."""

    def __init__(self, values: Any) -> None:
        self.values, self.shape, self.dtype = values, (len(values),) * 2, np.dtype(float)

    @property
    def H(self) -> _Diagonal:
        return self

    def __matmul__(self, x: Any) -> Any:
        return self.values * x


# --- guaranteed bounds -----------------------------------------------------------------------------------------------


@for_each("work", [0.0, 1e8])
def test_bounds_of_random_layers(work: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "_LITTLE_WORK", work)  # of layers that are decomposed
    rng = np.random.default_rng(11)
    for _ in range(40 if work == 0 else 20):
        geometry = random_layer(rng)
        enclosure = enclose(geometry, random_weights(geometry, rng))
        assert enclosure.holds, (geometry, enclosure)
        assert enclosure.refined_width <= 1e-3


@for_each("dtype", [np.float32, np.float64, np.complex64, np.complex128])
def test_gram_matrices_of_large_blocks(dtype: Any) -> None:
    rng = np.random.default_rng(28)
    real, imaginary = rng.standard_normal((2, 2, 130, 70))
    stack = (real + 1j * imaginary if np.dtype(dtype).kind == "c" else real).astype(dtype)
    found = gram_matrices(stack)
    np.testing.assert_allclose(found, stack @ stack.conj().swapaxes(1, 2), rtol=0, atol=1e-4 * np.abs(found).max())
    assert found.dtype == dtype


def test_large_kernels_are_bounded_by_their_gram_matrices() -> None:
    geometry = cm.ConvGeometry(5, 3, in_channels=70, out_channels=66, padding="same")
    weights = np.random.default_rng(29).standard_normal(geometry.weight_shape)
    norm = float(np.linalg.norm(weights.reshape(66, -1), 2)) * np.sqrt(3)  # three taps read each sample
    assert norm <= bounds.unfold_bounds(WeightedLayer(geometry, weights))["unfold"] <= norm * (1 + 1e-9)


def test_the_largest_eigenvalue_is_bounded_if_steps_do_not_converge(monkeypatch: pytest.MonkeyPatch) -> None:
    factor = np.random.default_rng(31).standard_normal((120, 40))
    largest = np.linalg.eigvalsh(factor @ factor.T)[-1]

    def fail(*_: object, **__: object) -> None:
        raise ArpackNoConvergence("no convergence", np.empty(0), np.empty((120, 0)))

    monkeypatch.setattr("scipy.sparse.linalg.eigsh", fail)
    assert largest <= norm_certificates._largest_eigenvalue(factor @ factor.T) <= 1.001 * largest


def test_every_route_bounds_random_layers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare_routes(20, np.random.default_rng(31)) == 0
    monkeypatch.setattr(bounds, "moduli_bound", lambda layer: 1e-9)
    assert compare_routes(2, np.random.default_rng(31)) == 2
    assert "moduli is on the wrong side" in capsys.readouterr().out


@each_case
def test_bounds_of_every_kind_of_layer(geometry: cm.ConvGeometry) -> None:
    enclosure = enclose(geometry, integer_weights(geometry), tol=1e-7)  # small layers are decomposed
    assert enclosure.holds
    assert enclosure.refined_width <= 1e-7


@pytest.mark.parametrize("boundary", cm.BOUNDARIES)
def test_bounds_form_no_matrix(boundary: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a matrix was formed")

    w = np.random.default_rng(12).standard_normal((4, 3, 3, 3))
    options: dict[str, Any] = {"padding": "same", "boundary": boundary, "stride": 2}
    norm = dense_norm(w, (3, 9, 9), **options)
    monkeypatch.setattr(bounds, "refine_bounds", refuse)  # which alone may form one
    monkeypatch.setattr("convmatrix._assembly.fill.assemble", refuse)
    lower, upper = spectral.norm_bounds(w, (3, 9, 9), **options)
    assert lower <= norm <= upper
    assert lower >= 0.95 * norm


def test_bounds_of_transformed_layers_differ_by_rounding_only() -> None:
    rng = np.random.default_rng(13)
    for geometry, weights in exact_layers(rng, 60):
        lower, upper = spectral.norm_bounds(weights, geometry)
        norm = dense_norm(weights, geometry)
        assert lower <= norm * (1 + 1e-14)
        assert norm * (1 - 1e-14) <= upper
        assert upper - lower <= 1e-9 * norm


@pytest.mark.parametrize("boundary", ["zero", "circular", "replicate"])
@pytest.mark.parametrize("stride", [1, 3])
def test_bounds_from_fewer_points_of_the_symbol(boundary: str, stride: int, monkeypatch: pytest.MonkeyPatch) -> None:
    w = np.random.default_rng(14).standard_normal((2, 3, 3, 2))
    options: dict[str, Any] = {"padding": "same", "boundary": boundary, "stride": stride}
    norm = svds(cm.conv_matrix(w, (3, 81, 9), **options), 1, rng=14, return_singular_vectors=False)[0]
    whole = spectral.norm_bounds(w, (3, 81, 9), **options)[1]
    sizes: list[int] = []

    original = Blocks.norm

    def recorded(blocks: Blocks) -> float:
        sizes.append(blocks.shape[0])
        return original(blocks)

    monkeypatch.setattr(bounds, "_MOST_WORK", 1e3)
    monkeypatch.setattr(Blocks, "norm", recorded)
    upper = spectral.norm_bounds(w, (3, 81, 9), **options)[1]
    assert set(sizes) == {24 if stride == 1 else 8}  # eight points a shift; strides of 3 have one
    assert norm <= upper
    assert whole * (1 - 1e-9) <= upper <= 1.2 * whole


def test_parts_of_rings_bound_random_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(26)
    closer, loose = 0, 0
    for number in range(40):
        inputs, outputs, n_axes = rng.integers(1, 4), rng.integers(2, 4), rng.integers(1, 3)
        geometry = cm.ConvGeometry(
            rng.integers(4, 9, n_axes),
            rng.integers(2, 4, n_axes),
            in_channels=int(inputs),
            out_channels=int(outputs),
            padding="same",
            stride=rng.integers(1, 3, n_axes),
            boundary="zero" if number % 4 else ("circular", "zero")[:n_axes],
            transposed=bool(number % 2),
        )
        if "circular" in geometry.boundary and not is_ring(geometry.axes[0]):
            continue
        layer = WeightedLayer(geometry, rng.standard_normal(geometry.weight_shape))
        names = zip(geometry.axes, layer.transform_names, layer.transforms(), strict=True)
        rings = [enclosing_rings(axis)[0][0] if name == "dense" else exact for axis, name, exact in names]
        norm = dense_norm(layer.weights, geometry)
        whole = bounds.ring_bound(layer, rings)
        for most in (12, 40, 4000):
            monkeypatch.setattr(norm_certificates, "_MOST_WAVES", most)
            found = norm_certificates.partial_ring_bound(layer, rings)
            assert norm <= found
            assert found <= whole * 1.001 or most == 12 or np.isinf(found)
        loose += whole > 1.02 * norm
        closer += whole > 1.02 * norm and found - norm < 0.2 * (whole - norm)
    assert loose >= 10
    assert closer >= 0.9 * loose


def test_parts_of_rings_without_eigenvalues_that_lapack_loses(monkeypatch: pytest.MonkeyPatch) -> None:
    geometry = cm.ConvGeometry((6, 5), (3, 3), in_channels=3, out_channels=2, padding="same")
    layer = WeightedLayer(geometry, np.random.default_rng(28).standard_normal(geometry.weight_shape))
    rings = [enclosing_rings(axis)[0][0] for axis in geometry.axes]
    expected = norm_certificates.partial_ring_bound(layer, rings)
    assert dense_norm(layer.weights, geometry) <= expected < np.inf
    monkeypatch.setattr("scipy.linalg.eigh", lambda gram, **_: (np.zeros(0, gram.dtype), np.zeros((len(gram), 0))))
    assert norm_certificates.partial_ring_bound(layer, rings) == pytest.approx(expected, rel=1e-5)  # single precision


def test_parts_of_rings_are_left_to_other_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    w = np.random.default_rng(27).standard_normal((4, 3, 3))
    geometry = cm.ConvGeometry(8, 3, in_channels=3, out_channels=4, padding="same")
    layer = WeightedLayer(geometry, w)
    rings = [enclosing_rings(axis)[0][0] for axis in geometry.axes]
    assert norm_certificates.partial_ring_bound(layer, rings) < bounds.ring_bound(layer, rings)
    complex_layer = WeightedLayer(geometry, w * 1j)
    assert norm_certificates.partial_ring_bound(complex_layer, rings) == np.inf
    dense = [dense_transform(axis) for axis in geometry.axes]
    assert norm_certificates.partial_ring_bound(layer, dense) == np.inf
    monkeypatch.setattr(norm_certificates, "_MOST_BLOCK_WORK", 1)
    assert norm_certificates.partial_ring_bound(layer, rings) == np.inf


@pytest.mark.parametrize(
    "geometry",
    [
        cm.ConvGeometry(5, 3, in_channels=3, stride=3, dilation=2, padding=1, boundary="circular"),
        cm.ConvGeometry(8, 2, in_channels=3, stride=2, dilation=2, padding=[(1, 3)], boundary="symmetric"),
        cm.ConvGeometry(4, 3, in_channels=3, stride=4, dilation=2, padding=[(0, 3)], boundary="antisymmetric"),
    ],
)
def test_parts_of_rings_do_not_stand_for_samples_that_are_read_elsewhere(geometry: cm.ConvGeometry) -> None:
    ring, factor = enclosing_rings(geometry.axes[0])[0]
    assert factor == 1  # no sample is read twice, but some are read at places beyond the ends
    rng = np.random.default_rng(30)
    for _ in range(20):
        layer = WeightedLayer(geometry, rng.standard_normal(geometry.weight_shape))
        norm = dense_norm(layer.weights, geometry)
        assert norm <= bounds.ring_bound(layer, [ring])
        assert norm <= norm_certificates.partial_ring_bound(layer, [ring])


def test_pieces_of_axes_bound_random_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers of every boundary, cut into pieces wherever they are long enough, beside the dense norm."""
    rng = np.random.default_rng(19)
    cuts = 0
    for _ in range(120):
        geometry, weights, plan = cut_layer(rng)
        cuts += sum(len(cut.pieces) > 1 for cut in plan)
        monkeypatch.setattr(localisation, "_best_plan", lambda layer, plan=plan: plan)
        norm = float(np.linalg.norm(cm.conv_matrix(weights, geometry).toarray(), 2))
        for guess in (0.0, 0.4 * norm, norm * (1 - 1e-12)):
            layer = read_layer(weights, geometry)
            found = localisation.localised_bound(layer, guess, lambda axes, layer=layer: bounds.ring_bound(layer, axes))
            assert norm <= found * (1 + 1e-13), (geometry, guess)
    assert cuts > 40


@for_each("boundary", ["reflect", "symmetric", "replicate"])
def test_repeated_samples_are_bounded_within_five_per_cent(boundary: str) -> None:
    weights = np.random.default_rng(20).standard_normal((3, 4, 3, 3))
    shape, options = (4, 16, 17), {"padding": 1, "boundary": boundary}
    lower, upper = spectral.norm_bounds(weights, shape, **options)
    assert lower <= dense_norm(weights, shape, **options) <= upper <= 1.05 * lower


def test_windows_cut_an_axis_without_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    axis = cm.ConvGeometry(40, 3, padding=1, boundary="reflect").axes[0]
    cut = localisation.localised_cut(axis, 10)
    assert cut is not None
    reads = [piece.transform.output_phases if piece.is_dense else None for piece in cut.pieces]
    assert reads == [10, None, 10]  # outputs 0 to 9: the window is zero at the end of the ramp
    assert [size for _, size in cut.added] == pytest.approx(
        [(1 - math.cos(math.pi / 20)) * math.sqrt(2)] * 2  # sample 1 is read twice by each but the central tap
    )
    assert localisation.localised_cut(axis, 20) is None
    monkeypatch.setattr(localisation, "_MOST_WORK", 1.0)
    layer = read_layer(np.ones(3), 40, padding=1, boundary="reflect")
    assert localisation.localised_bound(layer, 1.0, lambda _: 1.0) == math.inf  # nothing is affordable


def test_a_banded_piece_rejects_what_is_too_small() -> None:
    rng = np.random.default_rng(21)
    for options in ({"padding": 2}, {"padding": 1, "boundary": "reflect", "stride": 2}, {"padding": [(0, 3)]}):
        geometry = cm.ConvGeometry(12, 4, in_channels=2, out_channels=3, **options)
        weights = rng.standard_normal(geometry.weight_shape)
        norm = float(np.linalg.norm(cm.conv_matrix(weights, geometry).toarray(), 2))
        layer = read_layer(weights, geometry)
        pieces = localisation.whole_cut(geometry.axes[0]).pieces
        (task,) = localisation._tasks(layer, pieces)
        schur = layer.schur_number
        assert norm <= schur
        assert task.holds(norm * (1 - 1e-9), schur) is None
        proved = task.holds(norm * (1 + 1e-9), schur)
        assert proved is not None
        assert norm <= proved <= norm * (1 + 1e-6)


@for_each("scale", [1e-300, 1e-160, 1.0, 1e160, 1e300])
def test_bounds_at_any_scale(scale: float) -> None:
    lower, upper = spectral.norm_bounds(np.array([1.0, -2, 1]) * scale, 3, padding="same", tol=1e-6)
    assert lower <= scale * (2 + math.sqrt(2)) <= upper
    assert upper <= lower * (1 + 1.01e-6)


def test_bounds_of_zero_matrices() -> None:
    assert spectral.norm_bounds([0.0, 0.0], 5, tol=1e-3) == (0, 0)
    assert spectral.norm_bounds([1.0], 2, padding=[(5, 0)], stride=9) == (0, 0)  # reads padding only


def test_blurs_have_close_bounds_at_any_boundary() -> None:
    """For kernels of one sign the moduli are the kernel."""
    for boundary in cm.BOUNDARIES:
        lower, upper = spectral.norm_bounds(np.full((3, 3), 1 / 9), (12, 12), padding="same", boundary=boundary)
        assert upper <= 1.1 * lower


def test_certificates_reject_what_is_too_small() -> None:
    rng = np.random.default_rng(13)
    for geometry in (
        CASES["2d channels"],
        CASES["2d reflect"],
        CASES["2d circular"],
        CASES["3d groups, stride, dilation"],
    ):
        for w in (rng.standard_normal(geometry.weight_shape), rng.standard_normal(geometry.weight_shape) * (1 + 2j)):
            A = cm.conv_matrix(w, geometry)
            norm = float(np.linalg.norm(A.toarray(), 2))
            layer = WeightedLayer(geometry, w)
            exact = layer_blocks(layer)
            dense = layer_blocks(layer, [dense_transform(axis) for axis in geometry.axes])
            for certifier in (
                BandCertifier(A),
                BandCertifier(A.T.tocsr()),
                BlockCertifier(exact),
                BlockCertifier(dense),
            ):
                assert certifier.holds(norm * (1 - 1e-9)) is None
                proved = certifier.holds(norm * (1 + 1e-9))
                assert proved is not None
                assert norm <= proved <= norm * (1 + 1e-6)


def test_band_certificate_is_used_for_long_layers() -> None:
    geometry = cm.ConvGeometry(3000, 5, padding="same", boundary="reflect")
    w = np.random.default_rng(14).standard_normal(geometry.weight_shape)
    certifier, reason = norm_certificates.find_certifier(WeightedLayer(geometry, w))
    assert isinstance(certifier, BandCertifier)
    assert reason == ""
    lower, upper = spectral.norm_bounds(w, geometry, tol=1e-4)
    assert upper <= lower * (1 + 1e-4)
    assert lower <= spectral.spectral_norm(w, geometry, method="lanczos", tol=1e-6) <= upper


def test_weights_at_the_ends_of_double_precision(recwarn: pytest.WarningsRecorder) -> None:
    for weights in (np.array([1.7e308, 1.0]), np.array([9e-320 + 9e-320j, 3e-320]), np.array([2.0**-1074, 0])):
        small = np.abs(weights).max() < 1
        expected = spectral.spectral_norm(weights * 2.0**600 * 2.0**400 if small else weights * 2.0**-900, 12)
        expected = expected * 2.0**-500 * 2.0**-500 if small else expected * 2.0**900
        for method in ("exact", "lanczos"):
            value, error = spectral.spectral_norm(weights, 12, method=method, with_error=True)
            assert value == pytest.approx(expected, rel=1e-4)
            assert error <= 1e-6 * value or error == math.inf  # the sum of squares of a huge block
        lower, upper = spectral.norm_bounds(weights, 12)
        assert lower <= value * (1 + 1e-3)
        assert upper >= value * (1 - 1e-3)
        assert spectral.singular_value_density(weights, 12).largest == pytest.approx(expected, rel=1e-4)
    assert spectral.norm_bounds([1e308, 1e308, 1e308], 12)[0] < math.inf
    assert not [warning for warning in recwarn.list if "overflow" not in str(warning.message)]


def test_a_space_of_few_distinct_singular_values_is_exhausted() -> None:
    """Only rounding errors remain, and the steps must not mistake them for a direction."""
    options: dict[str, Any] = {"padding": ((2, 0), (0, 0)), "stride": 3, "groups": 3}
    geometry = cm.ConvGeometry((4, 7), (1, 1), in_channels=3, out_channels=3, boundary="reflect", **options)
    for seed in (18, 55, 56):
        rng = np.random.default_rng(seed)
        w = rng.standard_normal(geometry.weight_shape) + 1j * rng.standard_normal(geometry.weight_shape)
        value = spectral.spectral_norm(w, geometry, method="lanczos", tol=1e-13)
        assert value == pytest.approx(spectral.spectral_norm(w, geometry, method="exact"), rel=1e-13)


# --- determinants and densities ---------------------------------------------------------------------------------------


@for_each("complex_weights", [False, True])
def test_determinants_are_those_of_the_dense_matrix(complex_weights: bool) -> None:
    rng = np.random.default_rng(24)
    tested = 0
    for geometry in [*CASES.values(), *(random_layer(rng) for _ in range(150))]:
        if geometry.n_in != geometry.n_out:
            continue
        weights = rng.standard_normal(geometry.weight_shape) * (1 + 0.5j if complex_weights else 1)
        sign, logarithm = spectral.slogdet(weights, geometry)
        expected = np.linalg.slogdet(cm.conv_matrix(weights, geometry).toarray())
        if expected.logabsdet < geometry.n_in * math.log(1e-3):
            continue  # singular up to rounding
        assert logarithm == pytest.approx(expected.logabsdet, rel=1e-9, abs=1e-9 * geometry.n_in)
        assert sign == pytest.approx(complex(expected.sign), abs=1e-8)
        assert isinstance(sign, complex if complex_weights else float)
        tested += 1
    assert tested > 25


def test_determinants_at_the_edge() -> None:
    assert spectral.slogdet([0, 0], 4, **RING) == (0.0, -math.inf)
    assert spectral.slogdet([-2], 3) == (-1.0, pytest.approx(3 * math.log(2)))
    with pytest.raises(ValueError, match=r"determinant, .* 4 x 5"):
        spectral.slogdet([1, 2], 5)


def test_determinants_of_tiny_weights() -> None:
    rng = np.random.default_rng(29)
    for channels, shape, stride in (((3, 3), (3, 2), 1), ((4, 2), (2, 4), 2)):  # the second has rectangular blocks
        kernel = np.zeros((*channels, 2)) + rng.integers(1, 9, (*channels, 2))
        options: dict[str, Any] = {"stride": stride, **RING}
        expected = spectral.slogdet(kernel, shape, **options)
        sign, logarithm = spectral.slogdet(kernel * 2.0**-1074, shape, **options)
        assert sign == expected[0]
        assert logarithm == pytest.approx(expected[1] - math.prod(shape) * 1074 * math.log(2))


@for_each("boundary", ["zero", "reflect"])
def test_the_density_is_that_of_all_singular_values(boundary: str) -> None:
    weights = np.random.default_rng(25).standard_normal((4, 3, 3, 3))
    options: dict[str, Any] = {"padding": 1, "boundary": boundary}
    found = spectral.singular_value_density(weights * 1e200, (3, 14, 13), steps=50, **options)
    values = spectral.singular_values(weights * 1e200, (3, 14, 13), **options)
    shares = (values[:, None] <= found.edges).mean(axis=0)
    assert (np.abs(found.cumulative - shares) <= found.error + 1e-6).all()
    assert found.error[1:-1].mean() < 0.12
    assert found.n_values == len(values)
    assert found.counts.sum() == pytest.approx(len(values))
    assert found.largest == pytest.approx(values[0], rel=1e-4)
    assert found.smallest >= values[-1] * (1 - 1e-3)
    few = spectral.singular_value_density(weights[0, 0], (4, 4), steps=50, vectors=2, **options)  # all of a small layer
    assert few.error[1] <= 1
    with pytest.raises(ValueError, match="vectors"):
        spectral.singular_value_density(weights, (3, 14, 13), vectors=1)


def test_zeros_are_within_the_error_of_the_density() -> None:
    """The nodes of zeros are zero up to rounding, on either side."""
    missed = 0
    for seed in range(30):
        found = spectral.singular_value_density(np.ones((2, 2, 1)), (2, 1), bins=3, rng=seed)  # values 2 and 0
        missed += abs(found.cumulative[0] - 0.5) > found.error[0] + 1e-6
    assert missed <= 3


# --- published bounds ------------------------------------------------------------------------------------------------


def test_published_bounds_bound_what_they_claim() -> None:
    rng = np.random.default_rng(15)
    for _ in range(25):
        outs, ins = (int(n) for n in rng.integers(1, 4, 2))
        kernel = (2 * rng.integers(0, 3, 2) + 1).tolist()
        shape = rng.integers(1, 8, 2).tolist()
        w = rng.standard_normal((outs, ins, *kernel))
        zero = dense_norm(w, (ins, *shape), padding="same")
        circular = dense_norm(w, (ins, *shape), **RING)
        slack = 1 - 1e-12
        assert published.sedghi(w, shape) == pytest.approx(circular, rel=1e-12)
        assert published.longer_ring(w, shape) >= zero * slack
        assert published.delattre_circular(w, shape) >= circular * slack
        assert published.delattre_circular(w, shape, iterations=12) == pytest.approx(circular, rel=1e-2)
        for bound in (
            published.singla_feizi(w),
            published.grishina(w),
            published.grid_bound(w, 12),
            published.delattre_zero(w),
            published.araujo(w, grid=200) * (1 + 1e-2),
        ):
            assert bound >= max(zero, circular) * slack


def test_gram_iteration_for_zero_padding_converges() -> None:
    w = np.random.default_rng(16).standard_normal((3, 2, 3, 3))
    supremum = published.sedghi(w, (200, 200))
    assert supremum <= published.delattre_zero(w, iterations=7) <= 1.2 * supremum
    assert published.delattre_zero(np.zeros((3, 3))) == 0


def test_grid_bound_allows_for_growth_between_points() -> None:
    assert published.grid_bound([1, -2, 1], 5, n_axes=1) == pytest.approx(3.618034 / math.sqrt(0.6))  # sup is 4


def test_the_norm_of_the_tensor() -> None:
    rng = np.random.default_rng(26)
    for _ in range(8):
        outs, ins, first, second, n = (int(number) for number in rng.integers(1, 5, 5))
        w = rng.standard_normal((outs, ins, first, second))
        bound = published.grishina(w)
        assert bound <= published.singla_feizi(w) * (1 + 1e-12)  # matrices of the same entries have larger norms
        a, b, c, d = (rng.standard_normal(size) for size in w.shape)
        rank_one = np.einsum("i,j,k,l->ijkl", a, b, c, d)
        lengths = math.prod(float(np.linalg.norm(vector)) for vector in (a, b, c, d))
        assert published.grishina(rank_one) == pytest.approx(math.sqrt(first * second) * lengths)
        options: dict[str, Any] = {"padding": "same", "stride": 2}
        assert published.grishina(w, stride=2) >= dense_norm(w, (ins, 2 * n, 2 * n), **options) * (1 - 1e-12)
        assert published.grishina(w, stride=2) >= dense_norm(w, (ins, 6, 6), **options, boundary="circular") * (
            1 - 1e-9
        )
    assert published.grishina(np.zeros((2, 2, 3, 3))) == 0
    assert published.grishina(np.ones((2, 2)) * 1e-170) == pytest.approx(4e-170)


def test_reshaped_norms() -> None:
    w = np.random.default_rng(17).standard_normal((2, 3, 4, 5))
    four = [
        w.reshape(2, -1),
        w.transpose(0, 2, 3, 1).reshape(-1, 3),
        w.transpose(0, 2, 1, 3).reshape(8, 15),
        w.transpose(0, 3, 1, 2).reshape(10, 12),
    ]
    expected = math.sqrt(20) * min(np.linalg.norm(matrix, 2) for matrix in four)
    assert published.singla_feizi(w) == pytest.approx(expected)


# --- both cores ------------------------------------------------------------------------------------------------------


def test_blas_threads_are_limited_and_restored() -> None:
    threadpoolctl = pytest.importorskip("threadpoolctl")

    def numbers() -> list[int]:
        return [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]

    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        before = numbers()
        with blocks_module.single_threaded_blas():
            with blocks_module.single_threaded_blas():
                assert set(numbers()) == {1}
            assert set(numbers()) == {1}
        assert numbers() == before != [1] * len(before)


@for_each("cores", [1, 3])
def test_results_do_not_depend_on_threadpoolctl_or_the_cores(cores: int) -> None:
    w = np.random.default_rng(18).standard_normal((3, 2, 3, 3))
    expected = spectral.singular_values(w, (2, 12, 10), **RING)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks_module, "_blas_controller", lambda: None)
        patch.setattr(blocks_module, "cores", lambda: cores)
        patch.setattr(blocks_module, "_PIECE", 100)
        assert blocks_module.on_cores(lambda n: n * n, range(7)) == [n * n for n in range(7)]
        np.testing.assert_array_equal(spectral.singular_values(w, (2, 12, 10), **RING), expected)


def test_blocks_in_many_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    w = np.random.default_rng(18).standard_normal((3, 2, 3, 3))
    whole = spectral.singular_values(w, (2, 12, 10), **RING)
    monkeypatch.setattr("convmatrix.spectral.blocks._CHUNK", 1000)
    found = spectral.singular_values(w, (2, 12, 10), **RING)
    np.testing.assert_allclose(found, whole, rtol=1e-14, atol=1e-14)  # sums in another order


# --- bad input -------------------------------------------------------------------------------------------------------


def test_invalid_layers() -> None:
    geometry = cm.ConvGeometry(4, 2)
    with pytest.raises(TypeError, match="transposed given beside a ConvGeometry"):
        spectral.singular_values([1, 2], geometry, transposed=True)
    with pytest.raises(TypeError, match="stride given beside a ConvGeometry"):
        spectral.spectral_norm([1, 2], geometry, stride=2)
    with pytest.raises(ValueError, match="2 infinite or NaN"):
        spectral.norm_bounds([1, np.nan, np.inf], 5)


def test_what_is_not_square_has_no_eigenvalues() -> None:
    with pytest.raises(ValueError, match=r"square.* 4 x 5"):
        spectral.eigenvalues([1, 2], 5)
    with pytest.raises(ValueError, match=r"40000 x 40000"):
        spectral.eigenvalues(np.ones((4, 1, 2, 2)), (1, 200, 200), stride=2)


def test_too_large_for_a_decomposition() -> None:
    with pytest.raises(ValueError, match=r"e\+\d+ multiplications.* 2e\+13"):
        spectral.singular_values(np.ones((64, 64, 3, 3)), (64, 56, 56), padding="same")


def test_transfer_function_needs_rings() -> None:
    with pytest.raises(ValueError, match=r"axis 1 .* 5 outputs of 5 samples .*'zero'"):
        spectral.transfer_function(np.ones((3, 3)), (4, 5), padding="same", boundary=("circular", "zero"))


def test_memory_is_asked_for_first(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = np.ones((4, 4, 3, 3))
    geometry = cm.ConvGeometry(40, 3, padding="same")
    certifier = BandCertifier(cm.conv_matrix([1.0, 2, 3], geometry))
    for available, call, message in (
        (1000, lambda: spectral.singular_values(kernel, (4, 8, 8), **RING), "the blocks of ConvGeometry"),
        (9000, lambda: spectral.singular_values(kernel, (4, 8, 8), **RING), "the blocks of 64 frequencies"),
        (
            100_000,
            lambda: spectral.singular_values(kernel, (4, 8, 8), vectors=True, **RING),
            "the singular vectors of ConvGeometry",
        ),
        (500, lambda: certifier.holds(10.0), "the band of 3 diagonals of a matrix with 40 rows"),
    ):
        monkeypatch.setattr(memory, "NEGLIGIBLE", 0)
        monkeypatch.setattr(memory, "available_memory", lambda available=available: available)
        with pytest.raises(cm.MatrixTooLargeError, match=message):
            call()


def test_tolerances_that_cannot_be_met(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"tol=0 must be positive"):
        spectral.norm_bounds([1, 2], 5, tol=0)
    with pytest.raises(ValueError, match=r"tol=1e-17.* between .* and ") as e:
        spectral.norm_bounds([10, -20, 10], 9, padding="same", tol=1e-17)
    low, high = (float(number) for number in re.findall(r"\d+\.\d+", str(e.value))[:2])
    assert low <= spectral.spectral_norm([10, -20, 10], 9, padding="same") <= high <= 1.2 * low
    monkeypatch.setattr(WeightedLayer, "decomposition_work", 1e15)
    monkeypatch.setattr(norm_certificates, "_MOST_ENTRIES", 10)
    with pytest.raises(ValueError, match=r"1\.0e\+15 multiplications.*2e\+11"):
        spectral.norm_bounds([1, -2, 1], 9, padding="same", boundary="reflect", tol=1e-6)


def test_bad_arguments_of_extremes(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"method 'power'.*auto, exact, lanczos"):
        spectral.spectral_norm([1, 2], 5, method="power")
    with pytest.raises(ValueError, match=r"Lanczos steps end at .*tol=1e-30"):
        spectral.spectral_norm([1, 2], 5, method="lanczos", tol=1e-30)
    for tol in (-1, 0, math.nan):
        with pytest.raises(ValueError, match=r"tol=.* positive"):
            spectral.spectral_norm([1, 2], 5, tol=tol)
    for tol in (-1, 1, math.nan):
        with pytest.raises(ValueError, match=r"must lie in \[0, 1\)"):
            spectral.rank([1, 2], 5, tol=tol)
    monkeypatch.setattr(WeightedLayer, "decomposition_work", 1e12)
    with pytest.raises(ValueError, match=r"cannot be told from zero.*\(400,\)"):
        spectral.smallest_singular_value([1, 2.0], 400, padding=[(0, 1)])


def test_steps_that_do_not_converge(monkeypatch: pytest.MonkeyPatch) -> None:
    from scipy.sparse import linalg

    def fail(*_: Any, **__: Any) -> Any:
        raise linalg.ArpackNoConvergence("no", np.empty(0), np.empty((0, 0)))

    monkeypatch.setattr(WeightedLayer, "decomposition_work", 1e12)
    monkeypatch.setattr(linalg, "eigsh", fail)
    with pytest.raises(ValueError, match="inverse do not converge"):
        spectral.smallest_singular_value([1, 2.0], 40)


def test_bad_arguments_of_published_bounds() -> None:
    with pytest.raises(ValueError, match=r"shape \(3, 3, 3\), but 2 spatial axes"):
        published.sedghi(np.ones((3, 3, 3)), (4, 4))
    with pytest.raises(ValueError, match=r"grid=4 .* 5 taps"):
        published.grid_bound(np.ones(5), 4, n_axes=1)


# --- the command -----------------------------------------------------------------------------------------------------


def test_random_comparison_reports_and_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["--count", "6", "--seed", "3"]) == 0
    assert "6 layers of any kind: 0 VIOLATIONS, 0 wider" in capsys.readouterr().out
    monkeypatch.setattr(spectral, "norm_bounds", lambda *_, **__: (1e9, 1e9))
    assert main(["--count", "2"]) == 1
    assert "2 VIOLATIONS" in capsys.readouterr().out


def test_unknown_layer_options_are_named() -> None:
    options: Any = {"strides": 2}
    with pytest.raises(TypeError, match=r"'strides'.*'stride'"):
        cm.spectral.spectral_norm([1, 2], 5, **options)


def test_inverses_that_are_out_of_reach_are_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = cm.ConvGeometry((56, 56), (3, 3), in_channels=64, out_channels=64, padding=1)
    monkeypatch.setattr(extremes, "conv_matrix", None)  # nothing may be built
    for function in (cm.spectral.condition_number, cm.spectral.smallest_singular_value):
        with pytest.raises(ValueError, match=r"out of reach: .* 1\.0e\+13 multiplications.* 3e\+11"):
            function(np.ones(layer.weight_shape), layer)


def test_factors_that_do_not_fit_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def splu(matrix: Any, **options: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr("scipy.sparse.linalg.splu", splu)
    kernel = np.random.default_rng(0).standard_normal((2, 2, 3, 3))
    with pytest.raises(cm.MatrixTooLargeError, match=r"3200 x 3200 matrix .* do not fit"):
        extremes._inverse_lanczos(read_layer(kernel, (2, 40, 40), padding=1))


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_smallest_values_beyond_a_decomposition_are_proved(scale: float) -> None:
    rng = np.random.default_rng(5)
    for seed in range(3):
        weights = rng.standard_normal((3, 3, 3, 3)) + (1j * rng.standard_normal((3, 3, 3, 3)) if seed else 0)
        layer = read_layer(scale * weights, (3, 9, 8))
        expected = spectral.singular_values(scale * weights, (3, 9, 8))[-1]
        assert extremes._inverse_lanczos(layer) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_singular_layers_are_refused_and_not_called_regular(seed: int) -> None:
    """Channels that depend on one another: iterations of the inverse end at 1e-7 of the norm, and the truth is zero."""
    weights = np.random.default_rng(seed).standard_normal((4, 4, 3, 3)) + 0j
    weights = weights if seed % 2 else weights.real
    if seed < 2:
        weights[:, 1] = 2 * weights[:, 0]
    else:
        weights[1] = 2 * weights[0]
    assert spectral.smallest_singular_value(weights, (4, 9, 9)) < 1e-13
    with pytest.raises(ValueError, match=r"cannot be told from zero.*rounding hides values below"):
        extremes._inverse_lanczos(read_layer(weights, (4, 9, 9)))


@pytest.mark.parametrize("scale", [1e-290, 1e-14, 1e290])
def test_eigenvalues_are_ordered_at_any_scale(scale: float) -> None:
    for kernel, shape in (([1.0, 3, -2], 9), (np.arange(16.0).reshape(2, 2, 4), (2, 8))):
        expected = spectral.eigenvalues(kernel, shape, padding="same")
        found = spectral.eigenvalues(np.multiply(kernel, scale), shape, padding="same") / scale
        np.testing.assert_allclose(found, expected, rtol=1e-9)
        assert np.all(np.diff(np.abs(expected)) < 1e-9)


@pytest.mark.parametrize("weights", [[1e200, 1, -1e200], [1e200, -1e200, 1], [-1, 1e200, -1e200, 3]])
@pytest.mark.parametrize(("size", "boundary"), [(1, "circular"), (1, "replicate"), (2, "circular"), (2, "symmetric")])
def test_bounds_hold_for_weights_that_cancel(weights: list[float], size: int, boundary: str) -> None:
    """Sums of such weights lose the small ones, whichever is added first; exact sums are those of fractions."""
    geometry = cm.ConvGeometry(size, len(weights), padding=3, boundary=boundary)
    pattern = geometry.pattern()
    exact: Any = np.full((geometry.n_out, size), Fraction(0))
    for row, column, weight in zip(pattern.rows, pattern.cols, pattern.weight_index, strict=True):
        exact[row, column] += Fraction(weights[weight])
    entries = exact.astype(float)
    norm = np.linalg.norm(entries / abs(entries).max(), 2) * abs(entries).max()
    lower, upper = spectral.norm_bounds(weights, geometry)
    assert lower * (1 - 1e-14) <= norm <= upper * (1 + 1e-14)


def test_taps_that_read_nothing_are_told_without_listing_outputs() -> None:
    rng = np.random.default_rng(8)
    found = np.zeros(2, dtype=int)
    for _ in range(200):
        n, outputs, taps = (int(size) for size in rng.integers(1, 7, 3))
        axis = Axis(
            outputs,
            n,
            taps,
            stride=int(rng.integers(1, 5)),
            dilation=int(rng.integers(1, 4)),
            pad_low=int(rng.integers(0, 9)),
            boundary=str(rng.choice(BOUNDARIES)),  # type: ignore[arg-type]
            flip=bool(rng.integers(2)),
            tile=int(rng.integers(1, 4)),
        )
        expected = np.zeros((axis.tile, taps), dtype=bool)
        for output, tap in np.ndindex(outputs, taps):
            expected[output % axis.tile, tap] |= bool(effects(axis, output, tap))
        assert np.array_equal(used_taps(axis), expected), axis
        found += np.bincount(expected.ravel(), minlength=2)
    assert found.min() > 100


def effects(axis: Axis, output: int, tap: int) -> list[int]:
    """Return the samples that a tap reads with coefficients that do not cancel."""
    total: dict[int, int] = {}
    for sample, factor in axis.terms(output, tap):
        total[int(sample)] = total.get(int(sample), 0) + int(factor)
    return [sample for sample, factor in total.items() if sample >= 0 and factor]
