"""Graphs of layers: NetworkX views, receptive fields, paths, automorphisms."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
from scipy import sparse

import convmatrix as cm
from convmatrix import equivariance, network
from convmatrix.counts import network_layers
from convmatrix.graph import (
    FieldSize,
    automorphisms,
    path_counts,
    receptive_field,
    receptive_field_size,
    to_networkx,
)
from tests.cases import each_case, for_each
from tests.strategies import random_layer

SMALL = cm.ConvGeometry(5, 3, padding="same")

# --- NetworkX --------------------------------------------------------------------------------------------------------


@each_case
def test_edges_are_the_triplets(geometry: cm.ConvGeometry) -> None:
    pattern = geometry.pattern()
    graph = to_networkx(pattern)
    assert graph.number_of_nodes() == sum(pattern.shape)
    assert nx.is_bipartite(graph)
    assert {data["bipartite"] for _, data in graph.nodes(data=True)} == {0, 1}
    edges = Counter((i, j, weight) for (_, j), (_, i), weight in graph.edges(data="weight_index"))
    assert edges == Counter(
        zip(pattern.rows.tolist(), pattern.cols.tolist(), pattern.weight_index.tolist(), strict=True)
    )


def test_chain_is_a_layered_graph() -> None:
    first, second = cm.ConvGeometry(9, 3, stride=2), cm.ConvGeometry(4, 2)
    graph = to_networkx([first.pattern(), second.pattern()])
    assert Counter(layer for _, layer in graph.nodes(data="layer")) == {0: 9, 1: 4, 2: 3}
    assert nx.is_directed_acyclic_graph(graph)
    assert all(target[0] == source[0] + 1 for source, target in graph.edges())
    for unit in range(3):
        ancestors = sorted(index for layer, index in nx.ancestors(graph, (2, unit)) if layer == 0)
        assert ancestors == receptive_field([first, second], unit).tolist()


def test_goodfellow_figures() -> None:
    """Fig. 9.2 and 9.3: x3 affects three outputs, s3 reads three inputs."""
    graph = to_networkx(SMALL.pattern())
    assert graph.out_degree((0, 2)) == 3
    assert graph.in_degree((1, 2)) == 3


def test_networkx_is_loaded_only_for_its_graphs() -> None:
    code = (
        "import sys, convmatrix as cm, convmatrix.graph as g; layer = cm.ConvGeometry(5, 3);"
        "g.receptive_field(layer, 0); g.receptive_field_size(layer); g.path_counts(layer.pattern(), 0);"
        "print('networkx' in sys.modules)"
    )
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False", done.stderr


# --- receptive fields ------------------------------------------------------------------------------------------------


def reads(pattern: cm.WeightPattern) -> Any:
    """Return the matrix of how many taps of an output read a sample, regardless of their coefficients."""
    ones = np.ones(pattern.n_entries, dtype=np.int64)
    return sparse.coo_array((ones, (pattern.rows, pattern.cols)), shape=pattern.shape).tocsr()


@each_case
def test_field_is_the_support_of_a_row(geometry: cm.ConvGeometry) -> None:
    pattern = geometry.pattern()
    dense = reads(pattern).toarray()
    for unit in range(0, geometry.n_out, max(geometry.n_out // 7, 1)):
        support = np.flatnonzero(dense[unit])
        np.testing.assert_array_equal(receptive_field(pattern, unit), support)
        np.testing.assert_array_equal(receptive_field(geometry, unit), support)


def random_chain(rng: np.random.Generator, n_layers: int) -> list[cm.ConvGeometry]:
    """Return random layers of one axis or more, of which each fits the one before."""
    chain = [random_layer(rng)]
    while len(chain) < n_layers:
        last, drawn = chain[-1], random_layer(rng)
        options = {**drawn.options(), "padding": "same"}
        n_axes = len(last.output_shape)
        if len(drawn.input_shape) != n_axes or drawn.in_channels != last.out_channels:
            continue
        chain.append(cm.ConvGeometry(last.output_shape, drawn.kernel_shape, **options))
    return chain


def test_fields_of_random_chains_are_the_support_of_the_product() -> None:
    rng = np.random.default_rng(7)
    for _ in range(60):
        chain = random_chain(rng, int(rng.integers(2, 4)))
        patterns = [layer.pattern() for layer in chain]
        product = np.eye(chain[0].n_in, dtype=np.int64)
        for pattern in patterns:
            product = reads(pattern) @ product
        unit = int(rng.integers(chain[-1].n_out))
        support = np.flatnonzero(product[unit])
        np.testing.assert_array_equal(receptive_field(patterns, unit), support, err_msg=repr(chain))
        np.testing.assert_array_equal(receptive_field(chain, unit), support, err_msg=repr(chain))
        np.testing.assert_array_equal(receptive_field([patterns[0], *chain[1:]], unit), support)
        np.testing.assert_array_equal(path_counts(patterns, unit), product[unit], err_msg=repr(chain))


def test_field_of_a_place() -> None:
    geometry = cm.ConvGeometry((5, 6), (3, 3), in_channels=2, out_channels=3, padding="same")
    flat = int(np.ravel_multi_index((2, 1, 4), (3, 5, 6)))
    by_place = receptive_field(geometry, (2, 1, 4))
    np.testing.assert_array_equal(by_place, receptive_field(geometry, flat))
    channels, rows, columns = np.unravel_index(by_place, (2, 5, 6))
    assert (set(channels), set(rows), set(columns)) == ({0, 1}, {0, 1, 2}, {3, 4, 5})


def test_field_of_a_deep_network_without_building_it() -> None:
    """A unit of VGG-16's last pooling layer: no pattern of it would fit in memory."""
    layers = [layer.geometry for layer in network_layers("vgg16") if layer.kind in ("convolution", "pooling")]
    field = receptive_field_size(layers)
    assert (field.size, field.output_shape) == ((212, 212), (7, 7))
    for place in ((3, 3), (0, 6)):
        exact = np.unravel_index(receptive_field(layers, (17, *place)), (3, 224, 224))
        limits = [(max(low, 0), min(high, 223)) for low, high in field.extent(place)]
        assert [(s.min(), s.max()) for s in exact[1:]] == limits
        assert len(exact[0]) == 3 * math.prod(high - low + 1 for low, high in limits)
    assert field.uncut == ((3, 4), (3, 4))


@for_each("seed", range(12))
def test_field_is_the_support_of_the_gradient_in_pytorch(seed: int) -> None:
    """Random networks with strides, dilations, paddings of every kind, groups, and a branch."""
    torch = pytest.importorskip("torch", reason="compares with its gradients")
    rng = np.random.default_rng(seed)
    shape = [int(n) for n in rng.integers(12, 22, size=2)]
    channels = 2

    def layer(size: int, stride: int, dilation: int, padding: int, n_out: int, groups: int) -> Any:
        mode = str(rng.choice(["zeros", "circular", "reflect", "replicate"]))
        conv = torch.nn.Conv2d(
            channels, n_out, size, stride, padding, dilation, groups, bias=False, padding_mode=mode, dtype=torch.float64
        )
        torch.nn.init.uniform_(conv.weight, 0.5, 1.5)  # positive, so that no gradient cancels
        return conv

    trunk, branch = [], []
    for _ in range(2):
        n_out = 2 * int(rng.integers(1, 3))
        size, stride, dilation = (int(rng.integers(1, high)) for high in (4, 3, 3))
        trunk.append(layer(size, stride, dilation, int(rng.integers(0, 3)), n_out, int(rng.integers(1, 3))))
        channels = n_out
    left, right = layer(3, 1, 1, 1, 2, 1), layer(3, 1, 2, 2, 2, 1)
    branch += [left, right]

    x = torch.ones(1, 2, *shape, dtype=torch.float64, requires_grad=True)
    middle = trunk[1](trunk[0](x))
    y = left(middle) + right(middle)

    def geometries(modules: list[Any]) -> list[cm.ConvGeometry]:
        found, sizes = [], (2, *shape)
        for module in modules:
            geometry = cm.from_torch(module, sizes)[1]
            found.append(geometry)
            sizes = (geometry.out_channels, *geometry.output_shape)
        return found

    for unit in rng.integers(y.numel(), size=6):
        (gradient,) = torch.autograd.grad(y.ravel()[int(unit)], x, retain_graph=True)
        support = np.flatnonzero(gradient.numpy().ravel())
        fields = [receptive_field(geometries([*trunk, last]), int(unit)) for last in branch]
        np.testing.assert_array_equal(np.union1d(*fields), support)
        by_pattern = [
            receptive_field([geometry.pattern() for geometry in geometries([*trunk, last])], int(unit))
            for last in branch
        ]
        np.testing.assert_array_equal(np.union1d(*by_pattern), support)


# --- by formula ------------------------------------------------------------------------------------------------------


def test_published_sizes() -> None:
    """Fig. 9.13 of Goodfellow et al., and VGG-16."""
    shrinking = [cm.ConvGeometry(16, 6), cm.ConvGeometry(11, 6), cm.ConvGeometry(6, 6)]
    assert receptive_field_size(shrinking).size == (16,)
    assert receptive_field_size(SMALL).size == (3,)
    assert receptive_field_size([SMALL, SMALL]).size == (5,)
    layers = [layer.geometry for layer in network_layers("vgg16") if layer.kind in ("convolution", "pooling")]
    assert receptive_field_size(layers[:-1]).size == (196, 196)


def test_formula_bounds_the_exact_field_of_random_chains() -> None:
    """With zeros beyond the border the exact field lies inside the range, and touches both ends unless it is cut."""
    rng = np.random.default_rng(3)
    seen_cut = seen_whole = 0
    for _ in range(300):
        chain: list[cm.ConvGeometry] = []
        n = int(rng.integers(8, 40))
        for _ in range(int(rng.integers(1, 5))):
            size, stride, dilation = (int(rng.integers(1, high)) for high in (5, 4, 3))
            low, high = (int(p) for p in rng.integers(0, 4, size=2))
            if n + low + high < dilation * (size - 1) + 1:
                break
            chain.append(cm.ConvGeometry(n, size, stride=stride, dilation=dilation, padding=[(low, high)]))
            n = chain[-1].output_shape[0]
        if not chain:
            continue
        field = receptive_field_size(chain)
        ((first, end),) = field.uncut
        for unit in range(n):
            exact = receptive_field(chain, unit)
            ((low, high),) = field.extent((unit,))
            assert all(low <= sample <= high for sample in exact)
            assert (first <= unit < end) == (low >= 0 and high < chain[0].input_shape[0])
            if first <= unit < end:
                assert (exact[0], exact[-1]) == (low, high)
                seen_whole += 1
            else:
                seen_cut += 1
        assert field.cut == (((0, first), (end, n)),)
    assert min(seen_cut, seen_whole) > 100


def test_uncut_ranges_are_empty_where_every_unit_is_cut() -> None:
    field = receptive_field_size(cm.ConvGeometry(3, 9, padding=4))
    ((first, end),) = field.uncut
    assert first == end
    assert field.cut == (((0, first), (end, 3)),)


def field_of(*operations: Any) -> FieldSize:
    return receptive_field_size([network.Input((1, 8)), *operations])


def test_fields_of_a_reversed_axis_move_backwards() -> None:
    reverse = network.take(1, None, None, -1)
    layer = cm.ConvGeometry(8, 3, padding=1)
    turned = field_of(reverse, layer, network.Pooling("max", 3, 2))
    assert (turned.size, turned.stride, turned.start) == ((5,), (-2,), (4,))
    assert turned.extent((0,)) == ((4, 8),)  # one sample of padding
    assert turned.cut == (((0, 1), (3, 3)),)
    assert field_of(reverse, network.FullyConnected(8, 2)).size == (8,)
    assert field_of(reverse).uncut == ((0, 8),)
    rng = np.random.default_rng(0)
    for _ in range(60):
        size, stride, dilation = (int(rng.integers(1, high)) for high in (4, 3, 3))
        pads = tuple(int(p) for p in rng.integers(0, 3, 2))
        step, spread = int(rng.choice([-1, -2, 2])), int(rng.integers(1, 3))
        layers = [
            network.Input((1, 16)),
            cm.ConvGeometry(16, size, stride=stride, dilation=dilation, padding=[pads]),
            network.take(1, None, None, step),
            network.Pooling("max", 2, 1, dilation=spread),
        ]
        field = receptive_field_size(layers)
        ((first, end),), (n,) = field.uncut, field.output_shape
        for unit in range(n):
            exact, ((low, high),) = receptive_field(layers, unit), field.extent((unit,))
            assert all(low <= sample <= high for sample in exact)
            assert (first <= unit < end) == (low >= 0 and high < 16)
            assert unit not in range(first, end) or (exact[0], exact[-1]) == (low, high)


def test_fields_of_vectors_that_combine_positions() -> None:
    flat = network.flatten()
    for operation in (
        network.Reduction("mean", (0,)),
        network.Softmax(-1),
        network.Normalisation((0,)),
        network.LocalResponseNormalisation(3),
        network.FullyConnected(8, 3, flatten=False),
    ):
        assert field_of(flat, operation).size == (8,)
    assert field_of(flat, network.Elementwise("relu")).size == (1,)
    with pytest.raises(ValueError, match=r"'rearrangement 3' \(rearrangement\) has units"):
        field_of(flat, network.pad([(1, 1)]))
    # Branches of different sizes that were flattened: a dense layer reads all of both.
    node = network.Node
    strided = cm.ConvGeometry(12, 3, dilation=3, stride=3)
    joined = [
        node("input", network.Input((1, 12))),
        node("layer", network.Convolution(strided), ("input",)),
        node("flat", flat, ("layer",)),
        node("part", network.take(1, 4, 8), ("input",)),
        node("other", flat, ("part",)),
        node("joined", network.Concatenation(), ("flat", "other")),
        node("dense", network.FullyConnected(6, 1)),
    ]
    field = receptive_field_size(network.Network(joined))
    assert (field.size, field.start) == ((10,), (0,))
    # The entries of a vector that meets an array are not those of its last axis.
    meeting = [
        node("input", network.Input((1, 4, 4))),
        node("rows", network.Reduction("mean", (1,)), ("input",)),
        node("flat", flat, ("rows",)),
        node("sum", network.Addition(), ("input", "flat")),
    ]
    assert receptive_field_size(network.Network(meeting)).size == (4, 4)
    with pytest.raises(ValueError, match=r"'scale 3' \(scale\) has units that read different numbers"):
        receptive_field_size([network.Input((1, 2, 4)), flat, network.Scale(np.ones((3, 8)))])


def test_fields_of_constants() -> None:
    assert receptive_field_size([network.Input((1, 8)), equivariance.Bias(8)]).size == (1,)
    field = receptive_field_size([network.Input((1, 1)), network.Scale(np.ones((1, 8))), cm.ConvGeometry(8, 3)])
    assert (field.size, field.stride, field.output_shape, field.uncut) == ((1,), (0,), (6,), ((0, 6),))


# --- paths -----------------------------------------------------------------------------------------------------------


def test_paths_through_equal_layers_are_binomial() -> None:
    chain = [cm.ConvGeometry(n, 2).pattern() for n in range(12, 2, -1)]
    assert path_counts(chain, 0).tolist() == [math.comb(10, k) for k in range(11)] + [0]


@each_case
def test_paths_of_one_layer_are_the_taps_that_read_an_input(geometry: cm.ConvGeometry) -> None:
    pattern = geometry.pattern()
    paths = np.zeros((geometry.n_out, geometry.n_in), dtype=int)
    np.add.at(paths, (pattern.rows, pattern.cols), 1)
    for unit in {0, geometry.n_out // 2, geometry.n_out - 1}:
        np.testing.assert_array_equal(path_counts(pattern, unit), paths[unit])


def test_too_many_paths_are_refused() -> None:
    dense = cm.ConvGeometry(1, 1, in_channels=64, out_channels=64).pattern()
    assert path_counts([dense] * 10, 0)[0] == 64**9
    with pytest.raises(OverflowError, match=r"there may be 73786976294838206464 paths to unit 0, but 64-bit integers"):
        path_counts([dense] * 11, 0)


# --- automorphisms ---------------------------------------------------------------------------------------------------


def brute_force(pattern: cm.WeightPattern) -> set[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Return all automorphisms by trying every pair of permutations."""
    n_out, n_in = pattern.shape
    tensor = np.zeros((n_out, n_in, pattern.n_weights), dtype=int)
    np.add.at(tensor, (pattern.rows, pattern.cols, pattern.weight_index), 1)
    return {
        (p, q)
        for p in itertools.permutations(range(n_out))
        for q in itertools.permutations(range(n_in))
        if np.array_equal(tensor[list(p)][:, list(q)], tensor)
    }


@pytest.mark.parametrize(
    "geometry",
    [
        cm.ConvGeometry(4, 2, padding=[(0, 1)], boundary="circular"),
        cm.ConvGeometry(4, 2, padding=[(0, 1)]),
        cm.ConvGeometry(4, 2, stride=2),
        cm.ConvGeometry(5, 1, stride=3),  # three inputs that nothing reads
        cm.ConvGeometry(3, 3, padding="same", boundary="circular"),
        cm.ConvGeometry(2, 5, padding="same", boundary="circular"),  # several weights on an entry
        cm.ConvGeometry(4, 2, sharing=2, padding=[(0, 1)], boundary="circular"),
    ],
)
def test_automorphisms_are_all_there_are(geometry: cm.ConvGeometry) -> None:
    pattern = geometry.pattern()
    found = [(tuple(p.tolist()), tuple(q.tolist())) for p, q in automorphisms(pattern)]
    assert len(set(found)) == len(found)
    assert set(found) == brute_force(pattern)
    verdicts = [equivariance.check(pattern, np.array(p), np.array(q)).holds for p, q in found]
    assert all(verdicts)


def test_automorphisms_of_a_torus_are_its_shifts() -> None:
    geometry = cm.ConvGeometry((4, 3), (2, 2), padding=[(0, 1), (0, 1)], boundary="circular")
    places = np.arange(12).reshape(4, 3)
    shifts = {tuple(np.roll(places, (y, x), axis=(0, 1)).ravel().tolist()) for y in range(4) for x in range(3)}
    assert {tuple(p.tolist()) for p, _ in automorphisms(geometry.pattern())} == shifts


def test_a_geometry_does_for_its_pattern() -> None:
    pattern = SMALL.pattern()
    assert sorted(to_networkx(SMALL).edges(data="weight_index")) == sorted(
        to_networkx([pattern]).edges(data="weight_index")
    )
    np.testing.assert_array_equal(path_counts([SMALL, pattern], 2), path_counts([pattern, pattern], 2))
    np.testing.assert_array_equal(path_counts(SMALL, 2), path_counts(pattern, 2))
    assert len(list(automorphisms(SMALL))) == len(list(automorphisms(pattern)))


# --- refusals --------------------------------------------------------------------------------------------------------


def test_refusals() -> None:
    pattern = SMALL.pattern()
    free = cm.WeightPattern.from_triplets((2, 2), [0, 1], [0, 1], [0, 0], 1)
    with pytest.raises(ValueError, match=r"empty"):
        to_networkx([])
    with pytest.raises(ValueError, match=r"empty"):
        receptive_field_size([])
    with pytest.raises(ValueError, match=r"layer 2 reads 2 inputs, but layer 1 gives 5"):
        receptive_field([pattern, free], 0)
    with pytest.raises(IndexError, match=r"unit 5 .* 5, .* \(1, 5\)"):
        receptive_field(pattern, 5)
    with pytest.raises(IndexError, match=r"unit -1"):
        path_counts(pattern, -1)
    with pytest.raises(IndexError, match=r"unit \(0, 0, 0\)"):
        receptive_field(SMALL, (0, 0, 0))
    with pytest.raises(TypeError, match=r"unit .* 1.5"):
        receptive_field(SMALL, 1.5)  # type: ignore[arg-type]
    with pytest.raises(IndexError, match=r"unit \(0, 1\) .* \(2,\)"):
        receptive_field(free, (0, 1))
    with pytest.raises(ValueError, match=r"'layer 2' .*transposed.*receptive_field"):
        receptive_field_size([SMALL, cm.ConvGeometry(5, 3, transposed=True)])
    with pytest.raises(ValueError, match=r"'layer 2', .* 'layer 1' \(1, 5\).* \(1, 6\)"):
        receptive_field_size([SMALL, cm.ConvGeometry(6, 3)])
    with pytest.raises(ValueError, match=r"position \(1, 2\) has 2 entries, .* 1 axes"):
        FieldSize((3,), (1,), (0,), (5,), (3,)).extent((1, 2))
    with pytest.raises(TypeError, match=r"entry 2 .* str"):
        path_counts([SMALL, "pattern"], 0)
    large = cm.ConvGeometry(200, 3).pattern()
    with pytest.raises(
        ValueError, match=r"the graph has 398 nodes \(198 outputs, 200 inputs\), but .* up to 300; check"
    ):
        automorphisms(large)
