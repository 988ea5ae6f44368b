"""Any layer at all: random ones against independent oracles, and identities that hold exactly in integers."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import convmatrix as cm
from tests import reference
from tests.cases import CASES, dense_entries, each_case, integer_input, integer_weights
from tests.random_layers import TOLERANCE, compare, features, loop_products, main, scaled_error
from tests.strategies import layers, random_layer

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEEDS = st.integers(0, 2**32 - 1)
FORMATS = ("csr", "csc", "coo", "dia", "bsr")


def integer_cotangent(geometry: cm.ConvGeometry, seed: int = 1) -> NDArray[np.int64]:
    """Return an output gradient of integers, (out_channels, *output_shape)."""
    shape = (geometry.out_channels, *geometry.output_shape)
    return np.random.default_rng(seed).integers(-9, 10, size=shape)


def stored(matrix: Any) -> tuple[list[int], list[int], list[Any]]:
    """Return all that a CSR array stores."""
    return matrix.indptr.tolist(), matrix.indices.tolist(), matrix.data.tolist()


# --- the shared table -------------------------------------------------------------------------------------------------


def test_the_table_holds_small_layers_that_differ() -> None:
    assert len(set(CASES.values())) == len(CASES) >= 40
    assert max(map(dense_entries, CASES.values())) < 20_000


def test_the_table_holds_every_kind_of_layer() -> None:
    kinds = {feature for geometry in CASES.values() for feature in features(geometry)}
    drawn = {feature for geometry in draw(300) for feature in features(geometry)}
    assert kinds >= drawn


@each_case
def test_matrix_is_that_of_direct_loops(geometry: cm.ConvGeometry) -> None:
    weights = integer_weights(geometry)
    expected = reference.matrix(geometry, weights)
    np.testing.assert_array_equal(cm.conv_matrix(weights, geometry).toarray(), expected)
    np.testing.assert_array_equal(geometry.pattern().matrix(weights).toarray(), expected)


@each_case
def test_products_are_those_of_direct_loops(geometry: cm.ConvGeometry) -> None:
    weights, x, g = integer_weights(geometry), integer_input(geometry), integer_cotangent(geometry)
    pattern = geometry.pattern()
    matrix = cm.conv_matrix(weights, geometry)
    y, x_gradient, w_gradient = loop_products(geometry, weights, x, g)
    np.testing.assert_array_equal((matrix @ x.ravel()).reshape(y.shape), y)
    np.testing.assert_array_equal((matrix.T @ g.ravel()).reshape(x.shape), x_gradient)
    np.testing.assert_array_equal(pattern.weight_gradient(x, g), w_gradient)


@each_case
def test_taps_expand_the_matrix(geometry: cm.ConvGeometry) -> None:
    weights = integer_weights(geometry)
    pattern = geometry.pattern()
    expanded = sum(int(w) * pattern.tap(k) for k, w in enumerate(weights.ravel()))
    np.testing.assert_array_equal(expanded.toarray(), pattern.matrix(weights).toarray())


# --- random layers in floating point ----------------------------------------------------------------------------------


def draw(count: int, seed: int = 20) -> list[cm.ConvGeometry]:
    rng = np.random.default_rng(seed)
    return [random_layer(rng) for _ in range(count)]


def test_random_layers_agree_with_direct_loops() -> None:
    rng = np.random.default_rng(21)
    counts: Counter[str] = Counter()
    for geometry in draw(300):
        errors, found = compare(geometry, loop_products, rng)
        assert max(errors) <= TOLERANCE, (geometry, errors)
        counts.update(found)
    assert len(counts) == 28
    assert min(counts.values()) >= 5, counts  # no kind of layer is there by name only


def test_random_layers_agree_with_pytorch() -> None:
    pytest.importorskip("torch")
    from tests import reference_torch

    rng = np.random.default_rng(22)
    counts: Counter[str] = Counter()
    chosen = [geometry for geometry in draw(500) if reference_torch.has_layer(geometry)]
    assert len(chosen) >= 150
    for geometry in chosen:
        errors, found = compare(geometry, reference_torch.products, rng)
        assert max(errors) <= TOLERANCE, (geometry, errors)
        counts.update(found)
    for kind in ("1-D", "2-D", "3-D", "transposed", "output padding", "groups", "flip", "stride", "dilation"):
        assert counts[kind] >= 10, counts
    for boundary in ("zero", "circular", "reflect", "replicate"):
        assert counts[f"{boundary} boundary"] >= 10, counts


def test_the_oracles_agree_with_each_other() -> None:
    pytest.importorskip("torch")
    from tests import reference_torch

    rng = np.random.default_rng(23)
    compared = 0
    for geometry in filter(reference_torch.has_layer, draw(180, seed=24)):
        weights = rng.standard_normal(geometry.weight_shape)
        x = rng.standard_normal((geometry.in_channels, *geometry.input_shape))
        g = rng.standard_normal((geometry.out_channels, *geometry.output_shape))
        ours, theirs = (oracle(geometry, weights, x, g) for oracle in (loop_products, reference_torch.products))
        assert max(map(scaled_error, ours, theirs)) <= TOLERANCE, geometry
        compared += 1
    assert compared >= 50


def test_the_command_reports_what_it_compared(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    assert main(["--count", "40", "--seed", "3"]) == 0
    output = capsys.readouterr().out
    assert "40 layers" in output
    assert "all agree" in output
    assert "FAILED" not in output


def test_the_command_fails_on_a_wrong_layer(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    gradient = cm.WeightPattern.weight_gradient
    monkeypatch.setattr(cm.WeightPattern, "weight_gradient", lambda self, x, g: gradient(self, x, g) * (1 + 1e-12))
    assert main(["--count", "40", "--seed", "3"]) == 1
    output = capsys.readouterr().out
    assert "FAILED against PyTorch: ConvGeometry(" in output
    assert "FAILED against loops: ConvGeometry(" in output


def test_the_command_asks_for_pytorch(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="2"):
        main(["--count", "1"])
    assert "pip install torch" in capsys.readouterr().err


def test_scaled_error_sees_shapes_and_values_that_are_no_numbers() -> None:
    assert scaled_error(np.zeros(3), np.zeros(4)) == math.inf
    assert scaled_error(np.array([np.nan]), np.zeros(1)) == math.inf
    assert scaled_error(np.array([3.0, 0.0]), np.array([4.0, 0.5])) == 0.25


# --- identities, exact in integers ------------------------------------------------------------------------------------


@given(layers(), SEEDS)
def test_any_matrix_is_that_of_direct_loops(geometry: cm.ConvGeometry, seed: int) -> None:
    weights = integer_weights(geometry, seed)
    expected = reference.matrix(geometry, weights)
    np.testing.assert_array_equal(cm.conv_matrix(weights, geometry).toarray(), expected)
    np.testing.assert_array_equal(geometry.pattern().matrix(weights).toarray(), expected)


@given(layers(), SEEDS)
def test_one_number_three_ways(geometry: cm.ConvGeometry, seed: int) -> None:
    """<g, A(w) x> = <A(w)^T g, x> = <weight gradient, w>: the adjoint identity in the input and in the weights."""
    weights, x, g = integer_weights(geometry, seed), integer_input(geometry, seed), integer_cotangent(geometry, seed)
    number = int(np.vdot(g, reference.forward(geometry, weights, x)))
    pattern = geometry.pattern()
    matrix = pattern.matrix(weights)
    assert np.vdot(g, matrix @ x.ravel()) == number
    assert np.vdot(matrix.T @ g.ravel(), x) == number
    assert np.vdot(pattern.weight_gradient(x, g), weights) == number


@given(layers(), SEEDS)
def test_complex_adjoint(geometry: cm.ConvGeometry, seed: int) -> None:
    weights = integer_weights(geometry, seed) + 1j * integer_weights(geometry, seed + 1)
    x = integer_input(geometry, seed) + 1j * integer_input(geometry, seed + 1)
    g = integer_cotangent(geometry, seed) + 1j * integer_cotangent(geometry, seed + 1)
    pattern = geometry.pattern()
    matrix = pattern.matrix(weights)
    assert matrix.dtype == np.complex128
    number = np.vdot(g, matrix @ x.ravel())  # Gaussian integers: exact
    assert np.vdot(matrix.conj().T @ g.ravel(), x) == number
    assert np.vdot(pattern.weight_gradient(x.conj(), g), weights) == number


@given(layers(), SEEDS, st.integers(-5, 5), st.integers(-5, 5))
def test_matrix_is_linear_in_the_weights(geometry: cm.ConvGeometry, seed: int, a: int, b: int) -> None:
    v, w = integer_weights(geometry, seed), integer_weights(geometry, seed + 1)
    pattern = geometry.pattern()
    combined = cm.conv_matrix(a * v + b * w, geometry)
    parts = (cm.conv_matrix(v, geometry), cm.conv_matrix(w, geometry))
    np.testing.assert_array_equal(combined.data, a * parts[0].data + b * parts[1].data)
    np.testing.assert_array_equal(pattern.values(a * v + b * w), combined.data)


@given(layers(), SEEDS)
def test_any_taps_expand_the_matrix(geometry: cm.ConvGeometry, seed: int) -> None:
    weights = integer_weights(geometry, seed)
    pattern = geometry.pattern()
    indices = list(np.ndindex(geometry.weight_shape))
    expanded = sum(int(weights[index]) * pattern.tap(index) for index in indices)
    np.testing.assert_array_equal(expanded.toarray(), reference.matrix(geometry, weights))
    for number in (0, len(indices) - 1):
        assert stored(pattern.tap(number)) == stored(pattern.tap(indices[number]))


@given(layers(), SEEDS)
def test_jacobian_is_the_matrix_seen_from_the_weights(geometry: cm.ConvGeometry, seed: int) -> None:
    weights, x, g = integer_weights(geometry, seed), integer_input(geometry, seed), integer_cotangent(geometry, seed)
    pattern = geometry.pattern()
    jacobian = pattern.jacobian(x)
    assert jacobian.shape == (geometry.n_out, geometry.n_weights)
    np.testing.assert_array_equal(jacobian @ weights.ravel(), reference.forward(geometry, weights, x).ravel())
    gradient = pattern.weight_gradient(x, g)
    np.testing.assert_array_equal(jacobian.T @ g.ravel(), gradient.ravel())
    np.testing.assert_array_equal(gradient, reference.weight_gradient(geometry, x, g))


@given(layers(), SEEDS, st.data())
def test_a_slab_is_a_slice_of_the_matrix(geometry: cm.ConvGeometry, seed: int, data: st.DataObject) -> None:
    weights = integer_weights(geometry, seed)
    order = data.draw(st.sampled_from("CF"))
    start = data.draw(st.integers(0, geometry.n_out))
    stop = data.draw(st.integers(start, geometry.n_out))
    whole = cm.conv_matrix(weights, geometry, order=order)
    slab = cm.conv_matrix(weights, geometry, order=order, rows=(start, stop))
    assert slab.shape == (stop - start, geometry.n_in)
    assert stored(slab) == stored(whole[start:stop])


@given(layers(), SEEDS)
def test_column_major_order_permutes_rows_and_columns(geometry: cm.ConvGeometry, seed: int) -> None:
    weights = integer_weights(geometry, seed)
    # Entry k of x.ravel("F") is entry permutation[k] of x.ravel("C").
    columns = np.arange(geometry.n_in).reshape(geometry.in_channels, *geometry.input_shape).ravel("F")
    rows = np.arange(geometry.n_out).reshape(geometry.out_channels, *geometry.output_shape).ravel("F")
    expected = reference.matrix(geometry, weights)[np.ix_(rows, columns)]
    for kind in FORMATS:
        found = cm.conv_matrix(weights, geometry, order="F", format=kind)
        np.testing.assert_array_equal(found.toarray(), expected)


@given(layers(), SEEDS)
def test_all_formats_hold_the_same_matrix(geometry: cm.ConvGeometry, seed: int) -> None:
    weights = integer_weights(geometry, seed)
    expected = reference.matrix(geometry, weights)
    pattern = geometry.pattern()
    for kind in FORMATS:
        for matrix in (cm.conv_matrix(weights, geometry, format=kind), pattern.matrix(weights, format=kind)):
            assert matrix.format == kind
            assert matrix.dtype == weights.dtype
            np.testing.assert_array_equal(matrix.toarray(), expected)


@given(layers(), SEEDS)
def test_structure_does_not_depend_on_values(geometry: cm.ConvGeometry, seed: int) -> None:
    """The stored places are those that some tap reads, also where weights are zero or cancel."""
    weights = integer_weights(geometry, seed)
    read = reference.structure(geometry)
    starts = np.concatenate([[0], np.cumsum(read.sum(axis=1))])
    for values in (weights, np.zeros_like(weights), np.where(weights > 0, 1.0, -1.0)):
        for matrix in (cm.conv_matrix(values, geometry), geometry.pattern().matrix(values)):
            assert matrix.indptr.tolist() == starts.tolist()
            assert matrix.indices.tolist() == np.nonzero(read)[1].tolist()
            assert matrix.indices.dtype == matrix.indptr.dtype == np.int32
            matrix.check_format(full_check=True)
            assert matrix.has_canonical_format
    for kind in ("csc", "coo"):
        assert cm.conv_matrix(np.zeros_like(weights), geometry, format=kind).nnz == read.sum()


@given(layers())
def test_triplets_are_sorted_and_are_the_products(geometry: cm.ConvGeometry) -> None:
    pattern = geometry.pattern()
    triplets = list(zip(pattern.rows.tolist(), pattern.cols.tolist(), pattern.weight_index.tolist(), strict=True))
    assert triplets == sorted(triplets)
    factors = [1] * len(triplets) if pattern.coefficients is None else pattern.coefficients.tolist()
    assert [(*triplet, factor) for triplet, factor in zip(triplets, factors, strict=True)] == reference.triplets(
        geometry
    )
    assert pattern.shape == (geometry.n_out, geometry.n_in)


@given(layers())
def test_a_transposed_layer_is_the_transpose_of_a_convolution(geometry: cm.ConvGeometry) -> None:
    assume(not geometry.transposed)
    extra = tuple(
        n + low + high - d * (k - 1) - 1 - (outputs - 1) * s
        for n, (low, high), d, k, outputs, s in zip(
            geometry.input_shape,
            geometry.padding,
            geometry.dilation,
            geometry.kernel_shape,
            geometry.output_shape,
            geometry.stride,
            strict=True,
        )
    )  # samples at the high end that no tap reaches
    options = geometry.options() | {"transposed": True, "output_padding": extra, "padding": geometry.padding}
    options |= {"in_channels": geometry.out_channels, "out_channels": geometry.in_channels}
    if geometry.connections is not None:
        options["connections"] = np.transpose(geometry.connections)
    adjoint = cm.ConvGeometry(geometry.output_shape, geometry.kernel_shape, **options)
    assert adjoint.output_shape == geometry.input_shape
    weights = integer_weights(geometry)
    shared = weights
    if geometry.connections is not None:  # numbered in row order of the table, which is the other one's column order
        lead = weights.ndim - 1 - len(geometry.kernel_shape)
        order = np.lexsort(np.argwhere(geometry.connections).T)
        shared = weights.take(order, axis=lead)
    assert shared.shape == adjoint.weight_shape
    np.testing.assert_array_equal(
        cm.conv_matrix(shared, adjoint).toarray(), cm.conv_matrix(weights, geometry).toarray().T
    )


@given(layers())
def test_options_describe_the_layer(geometry: cm.ConvGeometry) -> None:
    again = cm.ConvGeometry(geometry.input_shape, geometry.kernel_shape, **geometry.options())
    assert again == geometry
    assert hash(again) == hash(geometry)
    assert eval(repr(geometry), {"ConvGeometry": cm.ConvGeometry}) == geometry
