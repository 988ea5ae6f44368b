"""Tests of the projection of layers onto norm balls: within the bound, nearest, and with the kernel's support."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import convmatrix as cm
from convmatrix.spectral import norm_bounds, project_norm, projection
from convmatrix.spectral.block_maps import BlockMap
from convmatrix.spectral.blocks import read_layer
from convmatrix.spectral.projection import reduced
from tests.random_lipschitz import project
from tests.random_spectra import ring_layer
from tests.strategies import random_layer

Array = Any


def _norm(kernel: Array, geometry: cm.ConvGeometry) -> float:
    return float(np.linalg.norm(cm.conv_matrix(kernel, geometry).toarray(), 2))


def test_projection_by_hand() -> None:
    """The symbol of (1, -2, 1) is largest at one frequency, where each weight is reduced by the same amount."""
    kernel, (lower, upper) = project_norm(
        [1.0, -2.0, 1.0], 16, bound=2.0, tol=1e-3, with_distances=True, padding="same", boundary="circular"
    )
    assert np.allclose(kernel, [1 / 3, -4 / 3, 1 / 3], atol=2e-3)
    assert lower <= 2 / math.sqrt(3) + 1e-12
    assert upper == pytest.approx(lower, rel=1e-5)


@pytest.mark.parametrize("boundary", ["circular", "zero"])
def test_clipping_and_cropping_exceeds_the_bound_and_projection_does_not(boundary: Any) -> None:
    """To clip the circular spectrum and crop the kernel violates the bound, for either boundary, or is farther."""
    rng = np.random.default_rng(0)
    geometry = cm.ConvGeometry((7, 7), (3, 3), padding="same", boundary=boundary)
    kernel = rng.standard_normal((3, 3))
    bound = 0.4 * _norm(kernel, geometry)
    full = np.zeros((7, 7))
    full[:3, :3] = kernel
    symbol = np.fft.fft2(full)
    clipped = np.fft.ifft2(symbol / np.maximum(abs(symbol) / bound, 1)).real[:3, :3]
    assert _norm(clipped, geometry) > 1.05 * bound
    found = project_norm(kernel, geometry, bound=bound)
    assert _norm(found, geometry) <= bound * (1 + 1e-12)
    assert norm_bounds(found, geometry, tol=1e-6)[1] <= bound
    scaled = clipped * bound / _norm(clipped, geometry)
    assert np.linalg.norm(found - kernel) < np.linalg.norm(scaled - kernel) * 0.999


def test_random_layers_against_cutting_planes() -> None:
    """Any boundary, stride, dilation, groups, sharing, transposed or not: as near as another method, and within."""
    rng = np.random.default_rng(1)
    found = [project(rng) for _ in range(7)]
    compared = [projected for projected in found if projected is not None]
    assert len(compared) >= 5
    assert all(projected.within and projected.nearest for projected in compared), compared


@pytest.mark.parametrize("seed", range(12))
def test_blocks_and_their_adjoint(seed: int) -> None:
    """The blocks have the singular values of the layer, and inner products with them are those of the adjoint."""
    rng = np.random.default_rng(seed)
    geometry = ring_layer(rng) if seed % 2 else random_layer(rng)
    weights = rng.standard_normal(geometry.weight_shape)
    if seed % 3 == 0:
        weights = weights + 1j * rng.standard_normal(geometry.weight_shape)
    layer = read_layer(weights, geometry)
    model = BlockMap(layer, tuple(layer.transforms()))
    solution = model.solve(layer.weights, 0.3)
    assert np.allclose(solution + 0.3 * model.adjoint(model.blocks(solution)), layer.weights)
    blocks = model.blocks(layer.weights)
    largest = float(np.linalg.svd(blocks, compute_uv=False).max())
    assert largest == pytest.approx(_norm(weights, geometry), rel=1e-9, abs=1e-12)
    counts = model.counts[model.counts > 0].repeat(layer.channels[0])
    total = float((np.linalg.norm(blocks, axis=(1, 2)) ** 2 * counts).sum())
    assert total == pytest.approx(abs(cm.conv_matrix(weights, geometry)).power(2).sum(), rel=1e-9)
    other = model.blocks(read_layer(rng.standard_normal(weights.shape) + 0 * weights, geometry).weights)
    inner = (np.einsum("brc,brc->b", blocks.conj(), other) * counts).sum()
    left = np.vdot(layer.weights, model.adjoint(other))
    assert left.real == pytest.approx(inner.real, rel=1e-9, abs=1e-9)
    assert model.factor >= total / float(np.linalg.norm(weights) ** 2) * (1 - 1e-9)


def test_a_kernel_within_the_bound_is_returned_unchanged() -> None:
    """The array itself, also if the bound is just met; and a zero kernel."""
    kernel = np.array([[1, 2], [3, 4]])
    assert project_norm(kernel, (6, 6), bound=10) is kernel
    found, (lower, upper) = project_norm(
        [1.0, 1.0], 4, bound=2.0, boundary="circular", padding="same", with_distances=True
    )
    assert lower <= upper <= 1e-12  # the norm is 2, which is proved up to rounding
    assert np.allclose(found, 1, rtol=1e-12)
    assert not project_norm(np.zeros((3, 3)), (6, 6), bound=1e-9).any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128, np.int64])
def test_dtypes_and_shapes_are_kept(dtype: Any) -> None:
    """Single precision is within the bound after rounding; integers become double precision."""
    rng = np.random.default_rng(2)
    geometry = cm.ConvGeometry((6, 5), (3, 2), in_channels=2, out_channels=3, padding="same", boundary="circular")
    kernel = (4 * rng.standard_normal(geometry.weight_shape)).astype(dtype)
    if kernel.dtype.kind == "c":
        kernel = kernel + 1j * rng.standard_normal(geometry.weight_shape).astype(dtype)
    found = project_norm(kernel, geometry, bound=1.25)
    assert found.dtype == (np.float64 if dtype == np.int64 else dtype)
    assert found.shape == kernel.shape
    assert norm_bounds(found, geometry)[1] <= 1.25
    assert _norm(found.astype(np.complex128), geometry) >= 1.25 * (1 - 1e-5)


@pytest.mark.parametrize("boundary", ["zero", "reflect", "circular"])
def test_large_layers_are_projected_on_rings(boundary: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the layer's own blocks are too large, rings stand for them: within the bound, and close to the nearest."""
    rng = np.random.default_rng(3)
    geometry = cm.ConvGeometry((9, 9), (3, 3), padding="same", boundary=boundary)
    kernel = rng.standard_normal((3, 3))
    bound = 0.6 * _norm(kernel, geometry)
    nearest, (lower, upper) = project_norm(kernel, geometry, bound=bound, tol=1e-2, with_distances=True)
    assert 0 < lower <= upper <= lower * (1 + 1e-4)
    monkeypatch.setattr(projection, "_MOST_WORK", 700 if boundary == "circular" else 3000)
    found, (none, distance) = project_norm(kernel, geometry, bound=bound, with_distances=True)
    assert none == 0
    assert not np.array_equal(found, nearest)
    assert norm_bounds(found, geometry, tol=1e-6)[0] <= _norm(found, geometry) <= bound
    assert upper * (1 - 1e-4) <= distance <= 1.35 * upper


def test_singular_values_are_reduced() -> None:
    """Stacks of tall and wide matrices, below and above the amount."""
    rng = np.random.default_rng(4)
    for shape in ((5, 3, 7), (4, 6, 2), (3, 1, 1)):
        stack = rng.standard_normal(shape)
        u, s, vh = np.linalg.svd(stack, full_matrices=False)
        expected = (u * np.maximum(s - 0.8, 0)[:, None, :]) @ vh
        assert np.allclose(reduced(stack, 0.8), expected, atol=1e-12)


def test_refusals() -> None:
    """Bounds that are not positive, tolerances out of range, kernels with infinite entries."""
    for bound in (0, -1, math.inf, math.nan):
        with pytest.raises(ValueError, match=r"bound="):
            project_norm([1.0, 2.0], 4, bound=bound)
    for tol in (0, 1, 2):
        with pytest.raises(ValueError, match=rf"tol={tol}"):
            project_norm([1.0, 2.0], 4, bound=1, tol=tol)
    with pytest.raises(ValueError, match="1 infinite"):
        project_norm([1.0, math.inf], 4, bound=1)


@pytest.mark.parametrize("dtype", [np.float16, np.bool_])
def test_kernels_that_are_not_computed_with_are_refused_with_the_remedy(dtype: Any) -> None:
    """Half precision and booleans are to be converted first."""
    with pytest.raises(TypeError, match=r"astype\(float\)"):
        project_norm(np.ones((3, 3), dtype), (8, 8), bound=1.0)


def test_the_norm_of_a_large_layer_is_within_the_bound_and_progress_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rings stand for it, and without a tolerance the work of all steps is limited."""
    monkeypatch.setattr(projection, "_DEFAULT_WORK", (0.0, 6e7))
    rng = np.random.default_rng(6)
    geometry = cm.ConvGeometry((16, 16), (3, 3), in_channels=4, out_channels=4, padding=1)
    kernel = rng.standard_normal(geometry.weight_shape)
    bound = norm_bounds(kernel, geometry)[0] / 2
    told: list[tuple[int, int, str]] = []
    found = project_norm(kernel, geometry, bound=bound, progress=lambda *state: told.append(state))
    assert bound * 0.97 < norm_bounds(found, geometry)[0] <= norm_bounds(found, geometry)[1] <= bound
    assert 10 <= told[-1][0] <= told[-1][1] < 1000
    shrunk = kernel * (bound / norm_bounds(kernel, geometry)[1])
    assert np.linalg.norm(found - kernel) < 0.9 * np.linalg.norm(shrunk - kernel)
