"""Infinite and NaN values reach the outputs that read them, and no others, in every way of multiplying by a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import convmatrix as cm
from convmatrix import nn

if TYPE_CHECKING:
    from convmatrix.arrays import Array

SPECIAL = (np.inf, -np.inf, np.nan)
LAYERS: dict[str, Any] = {
    "one axis": ((9,), (3,), {"padding": 2}),
    "reflected": ((5, 6), (2, 3), {"padding": 1, "boundary": "reflect", "stride": 2}),
    "ring past a period": ((4,), (3,), {"padding": 6, "boundary": "circular", "dilation": 2}),
    "channels": ((6, 5), (3, 3), {"in_channels": 2, "out_channels": 3, "padding": "same"}),
    "many channels": ((6, 6), (3, 3), {"in_channels": 2, "out_channels": 16, "padding": 1}),
    "groups": ((7,), (3,), {"in_channels": 4, "out_channels": 2, "groups": 2, "flip": True}),
    "table": ((5, 5), (2, 2), {"in_channels": 2, "out_channels": 2, "connections": [[1, 0], [1, 1]]}),
    "unshared": ((6,), (3,), {"in_channels": 2, "out_channels": 2, "sharing": "unshared", "padding": 1}),
    "tiled": ((6,), (2,), {"sharing": 2, "padding": 1, "boundary": "replicate"}),
    "signed": ((6, 4), (3, 2), {"in_channels": 2, "padding": 2, "boundary": ("antireflect", "antisymmetric")}),
    "signed past a period": ((4,), (3,), {"padding": [(7, 5)], "boundary": "antireflect", "stride": 2}),
    "transposed": ((4, 3), (3, 2), {"in_channels": 2, "out_channels": 2, "transposed": True, "stride": 2}),
}

# Two taps read one sample, and a matrix adds their weights first; or coefficients are not 1.
REPEATED = ("reflected", "ring past a period", "tiled", "signed", "signed past a period")


def spoiled(rng: np.random.Generator, shape: tuple[int, ...], count: int) -> Array:
    """Return small integers with ``count`` entries that are not finite."""
    x = rng.integers(-3, 4, shape).astype(float)
    x.flat[rng.integers(x.size, size=count)] = rng.choice(SPECIAL, count)
    return x


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("where", ["samples", "weights", "both"])
@pytest.mark.parametrize("name", LAYERS)
def test_products_are_nonfinite_where_those_of_the_matrix_are(name: str, where: str) -> None:
    shape, taps, options = LAYERS[name]
    geometry = cm.ConvGeometry(shape, taps, **options)
    build = cm.conv_transpose_matrix if geometry.transposed else cm.conv_matrix
    rng = np.random.default_rng(len(name))
    for number in range(3):
        kernel = spoiled(rng, geometry.weight_shape, int(where != "samples"))
        if number == 2:
            kernel = kernel * (1 + 2j)
        for order in "CF":
            A = build(kernel, geometry, order=order)
            for method in ("direct", "fft") if geometry.sharing == "shared" else ("direct",):
                operator: Any = cm.ConvOperator(kernel, geometry, order=order, method=method)
                for matrix, products in ((A, operator), (A.T.tocsr(), operator.T)):
                    x = spoiled(rng, (matrix.shape[1], 3), 2 * (where != "weights"))
                    expected, y = matrix @ x, products @ x
                    finite = np.isfinite(expected)
                    np.testing.assert_array_equal(np.isfinite(y), finite)
                    np.testing.assert_allclose(y[finite], expected[finite], atol=1e-11)  # an FFT rounds
                    if kernel.dtype == float and name not in REPEATED:
                        np.testing.assert_array_equal(y[~finite], expected[~finite])


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_nonfinite_where_those_with_a_matrix_are(name: str) -> None:
    shape, taps, options = LAYERS[name]
    geometry = cm.ConvGeometry(shape, taps, **options)
    results: list[tuple[Array, ...]] = []
    for method in ("unfold", "matrix"):
        kind = nn.ConvTranspose if geometry.transposed else nn.Conv
        layer = kind(geometry, bias=None, method=method, dtype=np.float64)  # type: ignore[arg-type]
        rng = np.random.default_rng(len(name))
        layer.parameters["weight"][...] = spoiled(rng, geometry.weight_shape, 1)
        y = layer.forward(spoiled(rng, (3, *layer.input_shape), 2))
        back = layer.backward(spoiled(rng, y.shape, 2))
        results.append((y, back, layer.gradients["weight"]))
    for unfolded, expected in zip(*results, strict=True):
        finite = np.isfinite(expected)
        np.testing.assert_array_equal(np.isfinite(unfolded), finite)
        kept = finite if name in REPEATED else np.True_
        np.testing.assert_array_equal(unfolded[kept], expected[kept])


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_an_overflow_stays_where_it_is() -> None:
    x = np.array([1e308, 1e308, 0, 0, 1, 2, 3, 4])
    operator: Any = cm.ConvOperator(np.array([1.0, 1.0]), 8, method="fft")
    np.testing.assert_array_equal(operator @ x, cm.conv_matrix(np.array([1.0, 1.0]), 8) @ x)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_check_finite_names_how_many_values_are_not_finite() -> None:
    with pytest.raises(ValueError, match=r"1 of the 2 weights.*check_finite"):
        cm.ConvOperator([1, np.nan], 4, check_finite=True)
    operator: Any = cm.ConvOperator([1.0, 2.0], 4, check_finite=True)
    with pytest.raises(ValueError, match=r"1 of 4 .*check_finite"):
        operator @ np.array([1, np.inf, 0, 0])
