"""Counts by formula against matrices that are built, and against what was published."""

from __future__ import annotations

import itertools
import math
import warnings
from collections import Counter
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

import convmatrix as cm
from convmatrix.boundary import BOUNDARIES
from convmatrix.counts import (
    NETWORKS,
    Addition,
    Convolution,
    Dense,
    Input,
    LayerCounts,
    Normalisation,
    Pooling,
    layer_counts,
    network_counts,
    network_layers,
)
from convmatrix.counts.storage import StorageBytes
from convmatrix.network import Input as NetworkInput
from convmatrix.network import MatrixProduct, Network, Node, transpose
from tests.cases import CASES, each_case, for_each
from tests.strategies import random_layer

if TYPE_CHECKING:
    from convmatrix.counts import NetworkLayer


def assert_counts_are_those_of_the_matrix(geometry: cm.ConvGeometry) -> None:
    """Compare every count with arrays of the matrix and of the pattern."""
    counts = layer_counts(geometry, "channel", dtype=np.float32)
    pattern = geometry.pattern()
    A = cm.conv_matrix(np.ones(geometry.weight_shape, dtype=np.float32), geometry)
    assert counts.units == A.shape[0], geometry
    assert counts.entries == A.shape[0] * A.shape[1], geometry
    assert counts.nonzeros == A.nnz, geometry
    assert counts.connections_inside == pattern.n_entries, geometry
    assert counts.density == A.nnz / math.prod(A.shape), geometry
    assert counts.weights == pattern.n_weights, geometry
    assert counts.bytes.kernel == np.ones(geometry.weight_shape, dtype=np.float32).nbytes, geometry
    assert counts.bytes.csr == A.data.nbytes + A.indices.nbytes + A.indptr.nbytes, geometry
    assert counts.bytes.dense == A.toarray().nbytes, geometry
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SciPy finds that so many diagonals are inefficient
        D = A.todia()
    assert counts.bytes.dia == D.data.nbytes + D.offsets.nbytes, geometry


@each_case
def test_counts_equal_the_built_matrix(geometry: cm.ConvGeometry) -> None:
    assert_counts_are_those_of_the_matrix(geometry)


def test_counts_equal_the_built_matrix_on_random_layers() -> None:
    rng = np.random.default_rng(20240517)
    for _ in range(600):
        assert_counts_are_those_of_the_matrix(random_layer(rng))


def unpadded(geometry: cm.ConvGeometry) -> cm.ConvGeometry:
    """Return the layer on an input that holds its padding as samples, so that every tap reads one."""
    sizes = [n + low + high for n, (low, high) in zip(geometry.input_shape, geometry.padding, strict=True)]
    options = {name: value for name, value in geometry.options().items() if name != "padding"}
    return cm.ConvGeometry(sizes, geometry.kernel_shape, **options)


FORWARD = {name: geometry for name, geometry in CASES.items() if not geometry.transposed}


@for_each("geometry", FORWARD.values(), ids=FORWARD.keys())
def test_connections_with_padding_are_those_of_the_padded_input(geometry: cm.ConvGeometry) -> None:
    padded = unpadded(geometry).pattern().n_entries
    assert layer_counts(geometry, None).connections == layer_counts(geometry, None).macs == padded
    assert layer_counts(geometry, "channel").connections == padded + geometry.n_out
    assert layer_counts(geometry, "unit").connections == padded + geometry.n_out


def test_macs_of_transposed_layers_are_those_of_the_uncropped_one() -> None:
    cropped = cm.ConvGeometry((3, 4), (3, 2), transposed=True, in_channels=3, out_channels=2, padding=1)
    whole = cm.ConvGeometry((3, 4), (3, 2), transposed=True, in_channels=3, out_channels=2)
    assert layer_counts(cropped).macs == layer_counts(whole).macs == whole.pattern().n_entries
    assert layer_counts(cropped).connections_inside < layer_counts(cropped).macs


@for_each(("bias", "biases"), [(None, 0), ("channel", 12), ("unit", 768)])
def test_biases(bias: Any, biases: int) -> None:
    h1 = cm.ConvGeometry((16, 16), (5, 5), out_channels=12, stride=2, padding=[(1, 2), (1, 2)])
    counts = layer_counts(h1, bias)
    assert (counts.biases, counts.parameters) == (biases, 300 + biases)


def test_unknown_bias_is_refused() -> None:
    with pytest.raises(ValueError, match="bias 'both' is unknown; choose one of channel, unit or None"):
        layer_counts(cm.ConvGeometry(4, 2), "both")  # type: ignore[arg-type]


NUMPY_MODES = {
    "zero": "constant",
    "circular": "wrap",
    "replicate": "edge",
    "antireflect": "reflect",
    "antisymmetric": "symmetric",
}


@for_each(("boundary", "stride"), list(itertools.product(BOUNDARIES, (1, 3))))
def test_long_kernels_are_counted_exactly(boundary: Any, stride: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outputs beyond the ends are counted in several parts: 90 of them with 181 taps are too many for one."""
    monkeypatch.setattr(import_module("convmatrix.counts.layer_counts"), "_LISTED", 10_000)
    geometry = cm.ConvGeometry(201, 181, padding=(90,), boundary=boundary, stride=stride)
    mode = NUMPY_MODES.get(boundary, boundary)
    samples = np.pad(np.arange(1, 202), 90, mode=mode)  # the constant 0 is no sample
    windows = np.lib.stride_tricks.sliding_window_view(samples, 181)[::stride]
    if boundary == "antireflect":  # what is mirrored also reads the end, once for each tap beyond it
        ends = np.repeat([1, 0, 201], [90, 201, 90])
        windows = np.hstack([windows, np.lib.stride_tricks.sliding_window_view(ends, 181)[::stride]])
    windows = np.sort(windows, axis=1)
    first = np.concatenate([np.ones((len(windows), 1), dtype=bool), windows[:, 1:] != windows[:, :-1]], axis=1)
    counts = layer_counts(geometry)
    assert counts.nonzeros == np.count_nonzero(first & (windows > 0))
    assert counts.connections_inside == np.count_nonzero(windows)


@for_each("boundary", BOUNDARIES)
def test_any_size(boundary: str) -> None:
    """Far from the ends, each further output of an axis adds 3 entries: small counts determine the count at 10**15."""
    small, larger = (layer_counts(cm.ConvGeometry((n, n), (3, 3), padding="same", boundary=boundary)) for n in (10, 11))
    side = math.isqrt(small.nonzeros)
    assert math.isqrt(larger.nonzeros) - side == 3
    counts = layer_counts(cm.ConvGeometry((10**15, 10**15), (3, 3), padding="same", boundary=boundary))
    assert counts.nonzeros == (side + 3 * (10**15 - 10)) ** 2
    assert counts.macs == 9 * 10**30
    assert counts.entries == 10**60


def test_sharing_factor_and_density() -> None:
    """Fig. 9.5 of Goodfellow et al.: with 5 units the centre weight is used 5 times, in the dense layer once."""
    same = layer_counts(cm.ConvGeometry(5, 3, padding="same"), None)
    assert same.sharing_factor == pytest.approx((4 + 5 + 4) / 3)
    dense = Dense("dense", 5, 5).counts()
    assert dense.sharing_factor == 1
    assert (same.density, dense.density) == (13 / 25, 1)
    fixed = Dense("fixed", 5, 5, trained=False).counts()
    assert (fixed.sharing_factor, fixed.parameters) == (None, 0)
    assert Input("input", (5,)).counts().density == 0


@pytest.mark.parametrize(
    ("sizes", "ins", "outs", "groups", "stride"),
    [((5, 4), 3, 4, 1, 1), ((6, 6), 2, 5, 1, 2), ((6, 6), 2, 3, 1, 2), ((4, 4), 4, 8, 2, 1), ((5, 4), 3, 2, 1, (2, 1))],
)
def test_diagonals_of_channels(sizes: Any, ins: int, outs: int, groups: int, stride: Any) -> None:
    options = {"in_channels": ins, "out_channels": outs, "groups": groups, "stride": stride, "padding": 1}
    assert_counts_are_those_of_the_matrix(cm.ConvGeometry(sizes, (3, 3), **options))


def test_products_of_two_computed_matrices_have_multiply_adds_alone() -> None:
    nodes = [
        Node("x", NetworkInput((2, 3, 4))),
        Node("swapped", transpose((0, 2, 1)), "x"),
        Node("scores", MatrixProduct(), ("x", "swapped")),
    ]
    counts = network_counts(Network(nodes))["scores"]
    assert (counts.macs, counts.parameters, counts.nonzeros, counts.entries) == (2 * 3 * 3 * 4, 0, 0, 0)


def test_too_many_diagonals_are_not_counted() -> None:
    assert layer_counts(cm.ConvGeometry(10**7, 4, stride=3)).bytes.dia is None
    assert layer_counts(cm.ConvGeometry((10**5, 10**5), (3, 3), stride=5)).bytes.dia is None
    assert layer_counts(cm.ConvGeometry((10**12, 10**12), (3, 3))).bytes.dia is None
    assert layer_counts(cm.ConvGeometry((10**4, 10**4), (3, 3), stride=8)).bytes.dia is None
    assert layer_counts(cm.ConvGeometry(10**5, 5001, padding="same", boundary="reflect")).bytes.dia is None
    channels = cm.ConvGeometry((9, 9), (3, 3), in_channels=4099, out_channels=4093, stride=2)
    assert layer_counts(channels).bytes.dia is None
    known = layer_counts(cm.ConvGeometry(10**12, 3, padding="same")).bytes
    assert known.dia == 3 * (8 * 10**12 + 8)
    assert (known + StorageBytes(1, 1, None, 1)).dia is None
    assert (known + known).dia == 2 * known.dia


# --- against PyTorch -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "geometry",
    [
        cm.ConvGeometry((9, 7), (3, 2), in_channels=4, out_channels=6, padding=1, stride=(2, 1)),
        cm.ConvGeometry((9, 7), (3, 2), in_channels=4, out_channels=6, padding=(2, 0), groups=2, dilation=2),
        cm.ConvGeometry((5, 4), (3, 3), in_channels=4, out_channels=2, transposed=True, stride=2, padding=1),
    ],
)
def test_macs_are_those_that_pytorch_counts(geometry: cm.ConvGeometry) -> None:
    torch = pytest.importorskip("torch", reason="compares with its counter of operations")
    from torch.utils.flop_counter import FlopCounterMode

    module = torch.nn.ConvTranspose2d if geometry.transposed else torch.nn.Conv2d
    padding = [low for low, _ in geometry.padding]
    layer = module(
        geometry.in_channels, geometry.out_channels, geometry.kernel_shape, geometry.stride, padding,
        groups=geometry.groups, dilation=geometry.dilation,
    )  # fmt: skip
    with FlopCounterMode(display=False) as counter:
        layer(torch.zeros(1, geometry.in_channels, *geometry.input_shape))
    counts = layer_counts(geometry)
    assert counter.get_total_flops() == 2 * counts.macs  # it counts additions too
    assert sum(p.numel() for p in layer.parameters()) == counts.parameters


# --- networks --------------------------------------------------------------------------------------------------------


def total(name: str) -> LayerCounts:
    return network_counts(name).total


def test_lecun1989_is_the_published_table() -> None:
    counts = network_counts("lecun1989")
    assert [(c.units, c.connections, c.weights, c.biases) for c in counts.layers] == [
        (256, 0, 0, 0),
        (768, 19_968, 300, 768),
        (192, 38_592, 2_400, 192),
        (30, 5_790, 5_760, 30),
        (10, 310, 300, 10),
    ]
    assert (counts.total.units, counts.total.connections, counts.total.parameters) == (1_256, 64_660, 9_760)


def test_lecun1989_maps_read_eight_maps() -> None:
    (h2,) = (layer for layer in network_layers("lecun1989") if layer.name == "H2")
    assert h2.kind == "convolution"
    assert [sum(row) for row in h2.geometry.connections or ()] == [8] * 12


def test_lenet5_is_the_published_table() -> None:
    counts = network_counts("lenet5")
    assert [c.parameters for c in counts.layers] == [0, 156, 12, 1_516, 32, 48_120, 10_164, 0]
    assert [c.connections for c in counts.layers] == [0, 122_304, 5_880, 151_600, 2_000, 48_120, 10_164, 840]
    assert (counts.total.parameters, counts.total.connections) == (60_000, 340_908)


def test_alexnet_is_as_published() -> None:
    counts = network_counts("alexnet")
    convolutions = [c for c in counts.layers if c.name.startswith("conv")]
    assert sum(c.weights for c in convolutions) == 2_332_704
    assert sum(c.macs for c in convolutions) == 665_784_864
    assert counts.total.parameters == 60_965_224
    sizes = [layer.output_shape for layer in network_layers("alexnet") if layer.kind == "convolution"]
    assert sizes == [(96, 55, 55), (256, 27, 27), (384, 13, 13), (384, 13, 13), (256, 13, 13)]


@pytest.mark.parametrize(
    ("name", "parameters", "giga_macs"),
    [("vgg16", 138_357_544, 15.47), ("resnet18", 11_689_512, 1.81), ("resnet50", 25_557_032, 4.09)],
)
def test_larger_networks_are_as_torchvision_publishes(name: str, parameters: int, giga_macs: float) -> None:
    assert total(name).parameters == parameters
    assert round(total(name).macs / 1e9, 2) == giga_macs
    assert total(name).nonzeros < total(name).macs


def test_nonzeros_of_vgg16_by_the_formula() -> None:
    """For k = 3 and one sample of padding an n x n map has (3n - 2)^2 taps per channel pair."""
    counts = network_counts("vgg16")
    for layer in network_layers("vgg16"):
        if layer.kind == "convolution":
            ((ins, n, _),) = layer.input_shapes
            assert counts[layer.name].nonzeros == ins * layer.output_shape[0] * (3 * n - 2) ** 2


@for_each("name", NETWORKS)
def test_total_is_the_sum_of_the_layers(name: str) -> None:
    counts = network_counts(name)
    assert counts.name == name
    for field in ("units", "connections", "connections_inside", "nonzeros", "macs", "entries", "parameters"):
        assert getattr(counts.total, field) == sum(getattr(layer, field) for layer in counts.layers)
    assert counts.total.bytes.kernel == 8 * sum(
        c.weights if c.entries else 0 for c in counts.layers
    ) + 8 * fixed_coefficients(name)


def fixed_coefficients(name: str) -> int:
    """Return the coefficients that are stored though they are not trained."""
    dense = [layer for layer in network_layers(name) if layer.kind == "dense"]
    fixed = [layer for layer in dense if not cast("Any", layer.operation).trained]
    return sum(math.prod(layer.input_shapes[0]) * layer.output_shape[0] for layer in fixed)


def test_dense_layer_is_a_convolution_over_one_sample() -> None:
    geometry = cm.ConvGeometry(1, 1, in_channels=7, out_channels=4)
    assert Dense("layer", 7, 4).counts() == layer_counts(geometry)
    assert Dense("layer", 7, 4, bias=False).counts(np.float32) == layer_counts(geometry, None, dtype=np.float32)


def test_pooling() -> None:
    pool = Pooling("pool", (4, 9, 8), 3, 2, padding=1)
    counts = pool.counts()
    assert pool.output_shape == (4, 5, 4)
    pattern = pool.geometry.pattern()
    assert (counts.units, counts.connections, counts.connections_inside) == (80, 80 * 9, pattern.n_entries)
    assert (counts.parameters, counts.macs, counts.nonzeros, counts.bytes.csr) == (0, 0, 0, 0)
    trained = Pooling("pool", (4, 9, 8), 3, 2, padding=1, trained=True).counts()
    assert (trained.weights, trained.biases, trained.connections) == (4, 4, 80 * 10)
    assert (trained.nonzeros, trained.bytes.kernel) == (pattern.n_entries, 4 * 8)


def test_branches_and_bare_geometries() -> None:
    geometry = cm.ConvGeometry((4, 4), (3, 3), in_channels=2, out_channels=2, padding="same")
    layers: list[NetworkLayer] = [
        Input("input", (2, 4, 4)),
        Convolution("a", geometry, sources=("input",)),
        Normalisation("norm", (2, 4, 4)),
        Convolution("b", geometry, None, sources=("input",)),
        Addition("sum", (2, 4, 4), ("norm", "b")),
        Dense("out", 32, 3),
    ]
    counts = network_counts(layers)
    assert counts.total.parameters == (36 + 2) + 4 + 36 + (96 + 3)
    assert Counter(c.name for c in counts.layers) == Counter(layer.name for layer in layers)
    bare = network_counts([geometry, geometry], bias="unit")
    assert [c.name for c in bare.layers] == ["layer 1", "layer 2"]
    assert bare.total.biases == 64
    assert bare.name == "network"


CONV = cm.ConvGeometry((4, 4), (3, 3), in_channels=2, out_channels=3)


@for_each(
    ("network", "error", "message"),
    [
        ("vgg17", ValueError, r"network 'vgg17' is unknown; .*lecun1989, lenet5, .*resnet50"),
        (5, TypeError, r"a network is .* list of layers, but this is a int"),
        ([], ValueError, r"at least one node"),
        ([CONV, 3], TypeError, r"entry 2 .* int.*ConvGeometry"),
        ([Convolution("a", CONV), Dense("a", 12, 2)], ValueError, r"two nodes.* 'a'"),
        ([Input("a", (2, 4, 4)), Convolution("b", CONV, sources=("c",))], ValueError, r"'b' reads 'c', .* a, b"),
        ([Addition("s", (2,), ("x", "y"))], ValueError, r"'s' reads 'x', but is the first"),
        ([CONV, CONV], ValueError, r"'layer 2'.* 'layer 1' \(3, 2, 2\).* \(2, 4, 4\)"),
        ([CONV, Dense("out", 13, 2)], ValueError, r"'out'.* 'layer 1' \(3, 2, 2\).* 13 .* 12"),
    ],
)
def test_networks_that_do_not_fit_are_refused(network: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        network_counts(network)


def test_unknown_layer_is_refused() -> None:
    with pytest.raises(KeyError, match=r"lecun1989 has no layer 'H4'; its layers are input, H1, H2, H3, output"):
        network_counts("lecun1989")["H4"]


@for_each(
    ("make", "error", "message"),
    [
        (lambda: Dense("d", -3, 5), ValueError, r"n_in .* 1, but is -3"),
        (lambda: Dense("d", 3, cast("int", 2.5)), TypeError, r"n_out .* 2.5"),
        (lambda: Input("image", (1, 0)), ValueError, r"shape\[1\] must be at least 1, but is 0"),
        (lambda: Normalisation("n", (0, 4)), ValueError, r"shape\[0\] must be at least 1, but is 0"),
        (lambda: Addition("s", (2, -1), ("a",)), ValueError, r"shape\[1\] must be at least 1, but is -1"),
    ],
)
def test_layers_of_impossible_sizes_are_refused(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_pooling_with_a_window_of_its_own_on_each_axis() -> None:
    pool = Pooling("pool", (3, 8, 9), (2, 3), stride=(2, 1), padding=(0, 1))
    assert pool.output_shape == (3, 4, 9)
    assert pool.counts().connections == 3 * 4 * 9 * 6
    assert Pooling("pool", (3, 8, 9), (2, 3)).output_shape == (3, 4, 3)


def test_layer_counts_of_something_else() -> None:
    layer: Any = "lenet5"
    with pytest.raises(TypeError, match=r"layer_counts takes a ConvGeometry, but was given 'lenet5' \(str\)"):
        cm.counts.layer_counts(layer)


def test_biases_of_units_are_counted_by_unit() -> None:
    for sharing, biases in (("channel", 2), ("unit", 18)):
        layers = [cm.network.Input((2, 9)), cm.equivariance.Bias(9, 2, sharing)]
        assert network_counts(layers).total.biases == biases
