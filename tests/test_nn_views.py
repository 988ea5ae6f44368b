"""Filters, back-projections, most exciting inputs and receptive fields of networks; constant padding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import convmatrix as cm
from convmatrix import nn
from tests.cases import LENET5_C3, each_case, for_each, integer_weights

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Array = NDArray[Any]


def layer_of(geometry: cm.ConvGeometry) -> nn.Conv:
    kind = nn.ConvTranspose if geometry.transposed else nn.Conv
    return kind(geometry, bias=None, dtype=np.float64)


def mixed() -> nn.Sequential:
    """Return a network with many kinds of layers."""
    G = cm.ConvGeometry
    double: dict[str, Any] = {"dtype": np.float64}
    return nn.Sequential([
        nn.Pad([(1, 0), (0, 1)], -1.0),
        nn.Conv(G((9, 9), (3, 3), out_channels=4, padding=1, boundary=("zero", "circular")), **double),
        nn.BatchNorm(4, **double),
        nn.ReLU(),
        nn.MaxPool(2),
        nn.Residual(
            nn.Sequential(
                [nn.Conv(G((4, 4), (3, 1), in_channels=4, out_channels=4, padding="same"), **double), nn.Tanh()]
            )
        ),
        nn.Subsample(4, **double),
        nn.Flatten(),
        nn.Dense(16, 3, **double),
    ])  # fmt: skip


SHAPE = (1, 8, 8)


# --- filters ---------------------------------------------------------------------------------------------------------


@each_case
def test_filters_are_the_weights_of_one_output_by_input_and_tap(geometry: cm.ConvGeometry) -> None:
    """With a filter for each pair of channels, the layer without groups or tables is the same matrix."""
    layer = layer_of(geometry)
    layer.parameters["weight"][...] = integer_weights(geometry)
    found = nn.filters(layer)
    n, tile = len(geometry.kernel_shape), () if geometry.sharing == "shared" else geometry.tile
    assert found.shape == (*tile, geometry.out_channels, geometry.in_channels, *geometry.kernel_shape)
    options = geometry.options()
    for name in ("groups", "connections", "flip"):
        options.pop(name, None)
    plain = cm.ConvGeometry(geometry.input_shape, geometry.kernel_shape, **options)
    weights = found.swapaxes(-n - 1, -n - 2) if geometry.transposed else found
    np.testing.assert_array_equal(plain.pattern().matrix(weights).toarray(), layer.matrix().toarray())


def test_filters_of_lenet5_and_of_dense_layers() -> None:
    network = nn.lenet5()
    found = nn.filters(network.layers[4])
    np.testing.assert_array_equal(np.abs(found).sum(axis=(2, 3)) > 0, LENET5_C3)
    dense = network.layers[10]
    np.testing.assert_array_equal(nn.filters(dense), dense.parameters["weight"])
    nn.filters(dense)[...] = 0
    assert np.abs(dense.parameters["weight"]).min() > 0  # a copy
    with pytest.raises(TypeError, match=r"Tanh\(.*\).*filters"):
        nn.filters(network.layers[1])


# --- back-projection -------------------------------------------------------------------------------------------------


def test_back_projection_of_a_linear_network_is_a_row_of_its_matrix() -> None:
    first = layer_of(cm.ConvGeometry((6, 6), (3, 3), out_channels=2))
    second = layer_of(cm.ConvGeometry((4, 4), (2, 2), in_channels=2, out_channels=3, stride=2))
    network = nn.Sequential([first, second])
    x = np.random.default_rng(0).standard_normal((4, 1, 6, 6))
    A = (second.matrix() @ first.matrix()).toarray().reshape(3, 2, 2, 36)
    y = network.forward(x)
    for rule in ("transpose", "deconvolution", "gradient"):
        back = nn.back_projection(network, x, 1, (2, 0, 1), rule)  # type: ignore[arg-type]
        np.testing.assert_allclose(back.reshape(4, 36), y[:, 2, 0, 1, None] * A[2, 0, 1], atol=1e-13)


def test_back_projection_uses_selection_matrices_and_rectifies_by_rule() -> None:
    conv, pool = layer_of(cm.ConvGeometry((6, 6), (3, 3), out_channels=2)), nn.MaxPool(2)
    last = layer_of(cm.ConvGeometry((2, 2), (2, 2), in_channels=2, out_channels=2))
    network = nn.Sequential([conv, nn.ReLU(), pool, last])
    x = np.random.default_rng(1).standard_normal((3, 1, 6, 6))
    y = network.forward(x)
    pooled = nn.activations(network, x, 2)
    A, B, h = conv.matrix(), last.matrix(), nn.activations(network, x, 0).reshape(3, -1)
    rules = {
        "transpose": lambda g, h: g,
        "deconvolution": lambda g, h: np.maximum(g, 0),
        "gradient": lambda g, h: g * (h > 0),
    }
    for rule, relu in rules.items():
        back = nn.back_projection(network, x, 3, (1, 0, 0), rule)  # type: ignore[arg-type]
        for sample in range(3):
            pool.forward(np.maximum(nn.activations(network, x, 0), 0))
            S = pool.selection(sample)
            np.testing.assert_allclose(S @ np.maximum(h[sample], 0), pooled[sample].ravel())
            g = np.zeros(2)
            g[1] = y[sample, 1, 0, 0]
            expected = A.T @ relu(S.T @ (B.T @ g), h[sample])
            np.testing.assert_allclose(back[sample].ravel(), expected, atol=1e-13)


def test_gradient_rule_is_the_gradient_times_the_activity() -> None:
    network = mixed()
    x = np.random.default_rng(2).standard_normal((1, *SHAPE))
    y = network.forward(x)[0, 1]
    gradient = nn.back_projection(network, x, 8, (1,), "gradient") / y
    direction = np.random.default_rng(3).standard_normal(x.shape)
    step = 1e-6
    change = [network.forward(x + sign * step * direction)[0, 1] for sign in (1, -1)]
    assert np.vdot(gradient, direction) == pytest.approx((change[0] - change[1]) / (2 * step), rel=1e-6)


@for_each("rule", ["transpose", "deconvolution", "gradient"])
def test_back_projection_stays_in_the_receptive_field_and_leaves_gradients_alone(rule: Any) -> None:
    network = mixed()
    x = np.random.default_rng(0).standard_normal((2, *SHAPE))
    network.forward(x)
    network.backward(np.ones((2, 3)))
    kept = {name: array.copy() for name, array in network.gradients.items()}
    for place, unit in ((1, (3, 0, 4)), (4, (1, 0, 1)), (5, (2, 1, 2)), (6, (0, 1, 1))):
        back = nn.back_projection(network, x, place, unit, rule)
        assert back.shape == x.shape
        outside = back.copy()
        outside[(slice(None), slice(None), *nn.receptive_field(network, SHAPE, place, unit))] = 0
        assert not outside.any()
    assert network.gradients.keys() == kept.keys()
    for name, array in network.gradients.items():
        np.testing.assert_array_equal(array, kept[name])


# --- receptive fields and the most exciting inputs -------------------------------------------------------------------


@each_case
def test_units_read_the_columns_of_their_rows(geometry: cm.ConvGeometry) -> None:
    network = nn.Sequential([layer_of(geometry)])
    pattern = geometry.pattern()
    structure = np.zeros(pattern.shape, dtype=bool)
    structure[pattern.rows, pattern.cols] = True
    shape = (geometry.out_channels, *geometry.output_shape)
    for unit in np.random.default_rng(0).integers(0, geometry.n_out, 5):
        read = structure[unit].reshape(geometry.in_channels, *geometry.input_shape)
        touched = [np.flatnonzero(read.any(axis=tuple(set(range(read.ndim)) - {axis}))) for axis in range(1, read.ndim)]
        box = tuple(slice(int(t[0]), int(t[-1]) + 1) if t.size else slice(0, 0) for t in touched)
        index = tuple(int(i) for i in np.unravel_index(unit, shape))
        assert nn.receptive_field(network, read.shape, 0, index) == box


@for_each("place", range(9))
def test_receptive_field_is_what_changes_a_unit(place: int) -> None:
    """Perturbing every sample gives the same smallest box around all samples that matter (ReLU and max hide some)."""
    network = mixed()
    for layer in network.layers:  # positive weights and large inputs: ReLU clips nothing
        for name, array in layer.parameters.items():
            array[...] = np.abs(array) + (0.1 if name == "weight" else 0)
    for array in network.layers[5].parameters.values():
        array *= 1e-3
    shape = nn.Sequential(network.layers[: place + 1]).output_shape(SHAPE)
    x = 3 + np.random.default_rng(0).random((1, *SHAPE))
    base = nn.activations(network, x, place)
    changed = np.zeros((*SHAPE, *shape), dtype=bool)
    for sample in np.ndindex(*SHAPE):
        moved = x.copy()
        moved[(0, *sample)] += 50
        changed[sample] = (nn.activations(network, moved, place) != base)[0]
    for unit in [tuple(int(n // 2) for n in shape), tuple(n - 1 for n in shape)]:
        touched = np.argwhere(changed[(..., *unit)])
        field = nn.receptive_field(network, SHAPE, place, unit)
        if touched.size:
            box = tuple(slice(int(a), int(b) + 1) for a, b in zip(touched.min(0)[1:], touched.max(0)[1:], strict=True))
        else:
            box = (slice(0, 0), slice(0, 0))
        assert field == box


def test_receptive_fields_of_lenet5() -> None:
    """The published sizes: 5, 6, 14, 16 and all 32."""
    network, image = nn.lenet5(), (1, 32, 32)
    for place, unit, field in [
        (0, (0, 3, 4), (slice(3, 8), slice(4, 9))),
        (2, (0, 1, 0), (slice(2, 8), slice(0, 6))),
        (4, (3, 0, 9), (slice(0, 14), slice(18, 32))),
        (6, (3, 0, 4), (slice(0, 16), slice(16, 32))),
        (8, (7, 0, 0), (slice(0, 32), slice(0, 32))),
        (12, (7,), (slice(0, 32), slice(0, 32))),
    ]:
        assert nn.receptive_field(network, image, place, unit) == field


def test_most_exciting_inputs() -> None:
    network = nn.small(rng=1)
    x = np.random.default_rng(0).standard_normal((50, 1, 8, 8)).astype(np.float32)
    y = nn.activations(network, x, 3)  # (50, 16, 4, 4)
    found = nn.most_exciting(network, x, 3, (5,), count=7, batch_size=11)
    best = y[:, 5].reshape(50, -1).max(axis=1)
    assert [e.sample for e in found] == np.argsort(-best)[:7].tolist()
    for e in found:
        assert e.activation == pytest.approx(y[(e.sample, *e.unit)], rel=1e-5)
        assert e.activation == pytest.approx(best[e.sample], rel=1e-5)
        assert e.field == nn.receptive_field(network, (1, 8, 8), 3, e.unit)
        patch = np.zeros_like(x[e.sample])
        patch[(slice(None), *e.field)] = x[e.sample][(slice(None), *e.field)]
        alone = nn.activations(network, patch[None], 3)[(0, *e.unit)]
        assert alone == pytest.approx(e.activation, rel=1e-4)  # the rest of the image does not matter
    fixed = nn.most_exciting(network, x, 3, (5, 1, 2), count=3)
    assert [e.sample for e in fixed] == np.argsort(-y[:, 5, 1, 2])[:3].tolist()
    assert {e.unit for e in fixed} == {(5, 1, 2)}
    last = nn.most_exciting(network, x, 6, (4,), count=2)
    assert [e.unit for e in last] == [(4,), (4,)]
    assert len(nn.most_exciting(network, x, 6, (4,), count=99)) == 50


# --- constant padding ------------------------------------------------------------------------------------------------


def test_pad() -> None:
    layer = nn.Pad([(1, 2), (0, 3)], value=-1.5)
    x = np.random.default_rng(0).standard_normal((4, 2, 5, 6)).astype(np.float32)
    y = layer.forward(x)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, np.pad(x, [(0, 0), (0, 0), (1, 2), (0, 3)], constant_values=-1.5))
    g = np.random.default_rng(1).standard_normal(y.shape).astype(np.float32)
    np.testing.assert_array_equal(layer.backward(g), g[:, :, 1:-2, :-3])
    assert layer.output_shape((2, 5, 6)) == (2, 8, 9)
    assert repr(layer) == "Pad(((1, 2), (0, 3)), -1.5)"
    assert np.moveaxis(y, 0, -1).flags.c_contiguous


# --- errors ----------------------------------------------------------------------------------------------------------

IMAGES = np.zeros((2, 1, 8, 8))
ERRORS: dict[str, tuple[type[Exception], str, Callable[[], Any]]] = {
    "place": (IndexError, "place 9 .*0 to 6", lambda: nn.activations(nn.small(), IMAGES, 9)),
    "negative place": (IndexError, "place -1 ", lambda: nn.receptive_field(nn.small(), SHAPE, -1, (0, 0, 0))),
    "unit": (
        IndexError,
        r"unit \(8, 0, 0\).*\(8, 8, 8\)",
        lambda: nn.back_projection(nn.small(), IMAGES, 0, (8, 0, 0)),
    ),
    "channel alone": (IndexError, r"unit \(3,\).*\(8, 8, 8\)", lambda: nn.receptive_field(nn.small(), SHAPE, 0, (3,))),
    "channel": (IndexError, r"unit \(8,\).*\(8, 8, 8\)", lambda: nn.most_exciting(nn.small(), IMAGES, 0, (8,))),
    "rule": (
        ValueError,
        "rule 'guided'.*transpose, deconvolution, gradient",
        lambda: nn.back_projection(nn.small(), IMAGES, 0, (0, 0, 0), "guided"),  # type: ignore[arg-type]
    ),
    "no inputs": (ValueError, r"x .*\(0, 1, 8, 8\)", lambda: nn.most_exciting(nn.small(), IMAGES[:0], 0, (0,))),
    "widths": (
        ValueError,
        r"Pad\(\(\(1, 1\),\), 0.0\) .*1 spatial.*\(1, 8, 8\).*2",
        lambda: nn.Pad([(1, 1)]).forward(IMAGES),
    ),
    "negative widths": (ValueError, r"widths\[0\]\[1\].*0.*-1", lambda: nn.Pad([(1, -1)])),
}


@for_each("kind, message, function", ERRORS.values(), ids=ERRORS.keys())
def test_errors(kind: type[Exception], message: str, function: Callable[[], Any]) -> None:
    with pytest.raises(kind, match=message):
        function()
