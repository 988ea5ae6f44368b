"""Tiles: plans against whole images, refusals, sizes, stitching of any function, proofs, and the command."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convmatrix as cm
from convmatrix.boundary import read_sample
from convmatrix.cli import main
from convmatrix.network import (
    Addition,
    Concatenation,
    Convolution,
    Elementwise,
    FullyConnected,
    Input,
    MatrixProduct,
    Network,
    Node,
    Normalisation,
    Opaque,
    ParametricReLU,
    PatternMap,
    Pooling,
    Product,
    Reduction,
    Resize,
    Scale,
    Softmax,
    flatten,
    gather,
    reshape,
    take,
    transpose,
)
from convmatrix.proofs import CertificateError
from convmatrix.proofs.search import decide_with_sympy
from convmatrix.tiling import plan, resized
from convmatrix.tiling.axis_plan import AxisPlan
from convmatrix.tiling.layouts import Along, array_axis, regroup
from convmatrix.tiling.node_reads import network_reads
from convmatrix.tiling.tiling_proofs import plan_theorem
from tests.cases import for_each
from tests.random_networks import torch_values
from tests.random_tilings import choose, differing, one_more, reweighed
from tests.tiled_networks import LIGHT, convolutional_part, draw, drawn_case, light_case, light_network

RNG = np.random.default_rng(0)


def layer(shape: tuple[int, ...], taps: int = 3, **options: Any) -> Convolution:
    """Return a convolution of one channel with integer weights."""
    geometry = cm.ConvGeometry(shape, (taps,) * len(shape), **options)
    return Convolution(geometry, RNG.integers(1, 5, geometry.weight_shape))


def same(n: int, taps: int = 3, **options: Any) -> Convolution:
    return layer((n,), taps, padding=taps // 2, **options)


# --- what operations read --------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6))
def test_reads_are_those_of_the_operation_at_any_size(seed: int) -> None:
    """The periodic description of each node equals the operation's own masks, at sizes that it was not read for."""
    rng = np.random.default_rng(seed)
    network = draw(lambda low, high: int(rng.integers(low, high, endpoint=True)), rng)
    found = network_reads(network)
    planned = plan(network)
    if not planned.exact or len(planned.axes) > 1:
        return
    axis: Any = planned.axes[0]
    size = axis.smallest + int(rng.integers(0, 3)) * axis.alignment
    other = resized(network, (network.input_shape[0], size))
    for node in other.nodes[1:]:
        for number, (source, reads) in enumerate(found[node.name].reads[0]):
            before, after = (array_axis(found[name].layout, 0) for name in (source, node.name))
            if reads is None or before is None or after is None:
                continue
            n, n_outputs = other[source].output_shape[before], node.output_shape[after]
            assert reads.n_outputs(n) == n_outputs
            for output in {0, n_outputs // 2, n_outputs - 1}:
                mask = np.zeros(node.output_shape, dtype=bool)
                np.moveaxis(mask, after, 0)[output] = True
                marked = np.moveaxis(node.operation.reads(mask, node.input_shapes)[number], before, 0)
                marked = marked.reshape(n, -1).any(axis=1)
                k, r = divmod(output, reads.period)
                samples = {read_sample(reads.advance * k + o, n, reads.boundary) for o in reads.offsets[r]}
                assert set(np.flatnonzero(marked).tolist()) == samples - {-1}, node.name


def test_layouts_follow_blocks_of_pixels() -> None:
    h, w = Along(0), Along(1)
    image = ((4,), (h,), (w,))
    assert regroup(image, {0: 6, 1: 8}, (2, 2, 48)) == (((2,), (2,), (h, w)), {}, {})
    assert regroup(image, {0: 6, 1: 8}, (4, 3, 2, 8)) == (((4,), (h,), (2,), (w,)), {0: 2}, {})
    assert regroup(image, {0: 6, 1: 8}, (3, 8, 8)) is None  # channels and rows overlap
    assert regroup(image, {0: 1, 1: 8}, (4, 8)) is None  # any axis of size 1


# --- tiles are exact -------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6))
def test_tiles_of_drawn_networks_are_exact(seed: int) -> None:
    case = drawn_case(seed)
    found = plan(case.network)
    if found.exact:
        rng = np.random.default_rng(seed)
        entries, _, what = differing(case, found, rng)
        assert entries == 0, what


def test_the_whole_image_is_that_of_pytorch() -> None:
    """Networks at another size, and their tiles, against PyTorch's functions."""
    torch = pytest.importorskip("torch")
    for seed in range(14):
        case = drawn_case(seed)
        if any(n.kind == "pooling" or getattr(n.operation, "mode", "") for n in case.network):
            continue
        layers = [n.operation.geometry for n in case.network if isinstance(n.operation, Convolution)]
        if any(g.sharing != "shared" or g.transposed for g in layers):
            continue
        found = plan(case.network)
        if not found.exact:
            continue
        rng = np.random.default_rng(seed)
        shape, tile = choose(case, found, rng)
        image = rng.integers(-4, 5, (1, case.network.input_shape[0], *shape)).astype(np.float64)
        at_size = resized(case.network, image.shape[1:])
        floating = Network([_floating(node) for node in at_size])
        expected = torch_values(floating, torch.from_numpy(image))[floating.outputs[0]].numpy()
        np.testing.assert_array_equal(found.run(case.network, image, tile), expected)


def _floating(node: Node) -> Node:
    operation = node.operation
    if isinstance(operation, Convolution):
        operation = Convolution(operation.geometry, operation.weight + 0.0, operation.bias + 0.0)
    return Node(node.name, operation, node.inputs)


def test_tiles_of_pytorch_networks_are_exact() -> None:
    """Three of the networks of ``python -m tests.random_tilings``, and that one output more would differ."""
    pytest.importorskip("torch")
    for name in ("U-Net, transposed convolutions", "ShuffleNet, pools rounded up", "ring"):
        make = reweighed(name)
        case = make(0)
        found, rng = plan(case.network), np.random.default_rng(1)
        for _ in range(3):
            entries, _, what = differing(case, found, rng)
            assert entries == 0, (name, what)
        assert all(differs for _, differs in one_more(make, found, rng))


def test_tiles_of_a_light_network_are_exact() -> None:
    pytest.importorskip("onnx")
    case = light_case("squeezenet", 0)
    found, rng = plan(case.network), np.random.default_rng(2)
    assert differing(case, found, rng)[0] == 0
    part = convolutional_part(light_network("squeezenet"))
    assert (len(LIGHT), plan(part).alignment) == (9, (16, 16))


def test_ends_of_the_image_are_read_by_the_network_itself() -> None:
    """Averages that leave out padding, windows rounded up, reflections: at the image's ends they are the network's."""
    network = Network(
        [
            Input((1, 40)),
            same(40, 5, boundary="reflect"),
            Pooling("average", 4, 2, 1, ceil_mode=True, count_include_pad=False),
        ]
    )
    found = plan(network)
    for size, tile in ((41, 13), (58, 17), (39, 12)):
        image = np.arange(size, dtype=float)[None] ** 2
        whole = resized(network, (1, size))(image[None])[0]
        np.testing.assert_array_equal(found.run(network, image, tile), whole)
    assert len(found.tiles((40,), 9)) > 9
    with pytest.raises(ValueError, match=r"tiles of 8 samples are too small on axis 0: with 3 \+ 3 .* at least 9 "):
        found.tiles((40,), 8)


def test_images_with_too_many_tiles_are_refused_before_they_are_listed() -> None:
    found = plan(Network([Input((1, 8, 8)), layer((8, 8), 3, padding=1)]))
    with pytest.raises(ValueError, match=r"there are 11108889 tiles, 3333 x 3333, and 262144 is the most"):
        found.tiles((99992, 99992), 32)
    with pytest.raises(ValueError, match=r"an axis of 1099511627776 samples has at least \d+ tiles of 32"):
        found.tiles((2**40, 8), (32, 8))
    with pytest.raises(ValueError, match=r"more than 1099511627776 samples"):
        found.tiles((10**20, 10), 10**20 - 1)
    assert len(found.tiles((99992, 8), 32)) == 3333


def test_the_smallest_tile_is_found_quickly() -> None:
    """The smallest size is found by bisection, and compared with all sizes if there are few."""
    for layers in (
        [same(60, 5, boundary="reflect"), Pooling("max", 4, 3)],
        [Pooling("max", 6), same(10), Resize((40,), "nearest", "asymmetric")],
        [same(60, 3, boundary="circular"), Pooling("sum", 4)],
        [Pooling("max", 3, 2, ceil_mode=True), Pooling("max", 3, 2)],
    ):
        axis: Any = plan(Network([Input((1, 60)), *layers])).axes[0]
        for size in (120, 121, 123, 126):
            if not axis.admitted(np.array([size]))[0]:
                continue
            suitable = [t for t in range(1, size) if axis._suitable(size, t) is not None]
            assert suitable == list(range(suitable[0], size))
            with pytest.raises(ValueError, match=rf"need at least {suitable[0]} for an image of {size}"):
                axis.cuts(size, 1)
    deep = plan(Network([Input((1, 1024)), *[Pooling("max", 2) for _ in range(10)]]))
    start = time.process_time()
    with pytest.raises(ValueError, match="they need at least 1600 for an image of 1000000"):
        deep.tiles((10**6,), 10)
    assert time.process_time() - start < 0.5


def test_tiles_cover_the_output_once() -> None:
    found = plan(Network([Input((2, 20, 20)), Pooling("max", 3, 2, 1), Resize((30, 30), "nearest", "asymmetric")]))
    count = np.zeros((99, 60), dtype=int)
    tiles = found.tiles((66, 40), (14, 40))
    for tile in tiles:
        count[tile.output] += 1
        assert all(part.stop - part.start <= most for part, most in zip(tile.input, (14, 40), strict=True))
        assert all(part.start % n == 0 for part, n in zip(tile.input, found.alignment, strict=True))
    assert (count == 1).all()
    assert len(tiles) > 4
    assert found.scale == (Fraction(3, 2), Fraction(3, 2))


# --- halos -----------------------------------------------------------------------------------------------------------


@for_each(
    "layers, halo, alignment",
    [
        ([same(12)], (1, 1), 1),
        ([same(12), same(12, 5)], (3, 3), 1),
        ([layer((12,), 3, padding=4, dilation=4)], (4, 4), 1),
        ([layer((12,), 5)], (0, 4), 1),
        ([layer((12,), 3, padding=[(2, 0)])], (2, 0), 1),
        ([Pooling("max", 2)], (0, 0), 2),
        ([Pooling("max", 3, 2, 1)], (1, 0), 2),
        ([same(12), Pooling("max", 2)], (1, 1), 2),
        ([Pooling("max", 2), same(6)], (2, 2), 2),
        ([Pooling("max", 2), same(6), Resize((12,), "nearest", "asymmetric")], (2, 2), 2),
        ([Resize((24,), "linear")], (1, 1), 1),
        ([layer((12,), 4, stride=2, padding=1, transposed=True)], (1, 1), 1),
        ([take(1, 2, -1)], (0, 2), 1),
    ],
)
def test_halos_are_those_of_the_windows(layers: list[Any], halo: tuple[int, int], alignment: int) -> None:
    """Counted by hand: an aligned block's outputs read that many samples before and after it."""
    found = plan(Network([Input((1, 12)), *layers]))
    assert (found.halo, found.alignment, found.exact) == ((halo,), (alignment,), True)
    assert found.reasons == ()


def test_the_first_discarded_output_differs() -> None:
    """Where weights are generic; the entry is named by the axis, the end and the place."""
    named = []
    for seed in (0, 2, 5, 8, 9):
        case = drawn_case(seed)
        found = plan(case.network)
        if found.exact:
            named += list(one_more(lambda s, case=case: case, found, np.random.default_rng(seed)))  # type: ignore[misc]
    assert len(named) >= 4
    assert all(differs for _, differs in named), named


# --- what cannot be tiled --------------------------------------------------------------------------------------------

IMAGE = Input((4, 8, 8))
TOKENS = [IMAGE, reshape((4, 64)), transpose((1, 0))]


@for_each(
    "nodes, node, reason, n_axes",
    [
        ([IMAGE, Pooling("average", None)], "pooling", "pools over all 8 samples", 2),
        ([IMAGE, Pooling("max", (4, 4), adaptive=True)], "pooling", "fixed number of outputs", 2),
        ([IMAGE, FullyConnected(256, 3)], "dense", "combines all positions", 2),
        ([IMAGE, Reduction("mean", (1, 2))], "reduction", "combines all positions", 2),
        ([IMAGE, Reduction("max", (2,))], "reduction", "combines all positions", 1),
        ([IMAGE, Softmax(-1)], "softmax", "combines all positions", 1),
        ([IMAGE, Normalisation(None, 2)], "normalisation", "combines all positions", 2),
        ([IMAGE, Normalisation((1, 2))], "normalisation", "combines all positions", 2),
        (
            [*TOKENS, transpose((1, 0)), Node("a", MatrixProduct(), ("rearrangement 3", "rearrangement 4"))],
            "matrix product",
            "combines all positions",
            2,
        ),
        ([IMAGE, take(1, None, None, -1)], "rearrangement", "reverses the axis", 1),
        ([IMAGE, take(2, 4, 8)], "rearrangement", "one of 2 equal parts", 1),
        ([IMAGE, gather(2, [0, 3, 5])], "gather", "by their numbers", 1),
        ([IMAGE, Node("t", transpose((0, 2, 1))), Node("s", Addition(), ("t", "input"))],
                             "addition", "different things", 2),
        ([IMAGE, Scale(None, np.ones((4, 8, 8)))], "scale", "constant per position", 2),
        ([IMAGE, Resize((16, 16), "linear", "align_corners")], "resize", "aligns corners", 2),
        ([IMAGE, Resize((4, 4), "area")], "resize", "8 samples to 4", 2),
        ([IMAGE, Resize((5, 8))], "resize", "resizes 8 samples to 5", 1),
        ([IMAGE, Resize((4, 8), "linear", "tf_crop_and_resize", roi=((0.1, 0.9), (0.0, 1.0)))],
                 "resize", "a range of the whole axis", 2),
        ([IMAGE, Opaque("Mystery", (4, 8, 8))], "Mystery", "not known", 2),
        ([IMAGE, Node("c", Concatenation(1), ("input", "input"))], "concatenation", "joins positions", 1),
        ([IMAGE, flatten()], "rearrangement", "along an axis of its own", 2),
        ([IMAGE, Pooling("max", 2), Node("u", Resize((8, 8), "nearest", "asymmetric"), ("pooling 2",)),
                    Node("v", Resize((3, 8)), ("u",))], "resize", "8 samples to 3", 1),
        ([layer((8, 8), 3, sharing="unshared")], "convolution", "one kernel per position", 2),
        ([Convolution(cm.ConvGeometry((8, 8), (3, 3)), np.ones((3, 3)), np.arange(36))],
                  "convolution", "bias per position", 2),
        ([PatternMap(cm.ConvGeometry((8, 8), (3, 3)).pattern())], "pattern", "combines all positions", 2),
        ([layer((8, 8), 3, padding=1, boundary="circular"), layer((8, 8), 3, padding=1)],
                       "layer", "ring", 2),
        ([layer((8, 8), 3, transposed=True, padding=1, boundary="reflect")], "convolution", "folds back", 2),
    ],
)  # fmt: skip
def test_refusals_name_the_node_and_the_reason(nodes: list[Any], node: str, reason: str, n_axes: int) -> None:
    found = plan(Network(nodes))
    assert not found.exact
    assert not found
    assert len(found.reasons) == n_axes, found.reasons
    for text in found.reasons:
        assert reason in text
        assert node in text or node == "layer"
    assert sum(value is None for value in found.halo) == n_axes
    assert found.reasons[0] in repr(found)
    with pytest.raises(ValueError, match=r"cannot be cut into tiles of 7 on axis \d, of 64 samples"):
        found.tiles((64, 64), 7)
    assert "cannot be cut" in found.explain()
    tried = re.search(r"try the output of '.*' or of an earlier node", found.explain())
    assert bool(tried) == any(
        axis[0].node != found.network.nodes[1].name for axis in found.axes if isinstance(axis, tuple)
    )


def blocks(n: int, number: int, size: int, *operations: Any) -> Network:
    """Return a network that works on the blocks of an axis of n samples."""
    return Network([Input((1, n)), reshape((1, number, size)), *operations])


def test_blocks_whose_number_may_be_fixed_are_refused_until_another_size_tells() -> None:
    """Two halves of an axis of 16 samples look like blocks of 8, and it is the same with every other number."""
    for operation in (Reduction("mean", (2,)), Normalisation((-1,)), Softmax(-1)):
        for number, size in ((2, 8), (8, 2), (4, 4)):
            found = plan(blocks(16, number, size, operation))
            assert not found.exact
            assert f"combines blocks of {size} positions, a number that may follow the size" in found.reasons[0]
            assert plan(blocks(16, number, size, operation), blocks(5 * size, 5, size, operation)).exact
            with pytest.raises(ValueError, match="'rearrangement 2' of other"):
                plan(blocks(16, number, size, operation), blocks(32, number, size * 2, operation))
    channels = [transpose((0, 2, 1)), reshape((6, 8)), Normalisation((0,))]  # as many as there are weights for
    assert plan(Network([Input((3, 16)), reshape((3, 8, 2)), *channels])).exact


def test_constants_that_broadcast_do_not_depend_on_positions() -> None:
    torch: Any = pytest.importorskip("torch")

    class Floor(torch.nn.Module):  # type: ignore[misc]
        def __init__(self, *shape: int) -> None:
            super().__init__()
            self.floor = torch.nn.Parameter(torch.randn(shape))

        def forward(self, x: Any) -> Any:
            return torch.maximum(x, self.floor)

    module = Floor(2, 1, 1)
    network = cm.Network.from_torch(module, (2, 16, 16))
    found = plan(network)
    assert (found.exact, found.halo) == (True, ((0, 0), (0, 0)))
    image = RNG.standard_normal((2, 40, 33)).astype(np.float32)
    whole = module(torch.from_numpy(image)).detach().numpy()
    np.testing.assert_array_equal(found.run(module, image, 11), whole)
    np.testing.assert_array_equal(found.run(network, image, 11), whole)
    assert plan(network, cm.Network.from_torch(module, (2, 20, 24))).assumptions == ()
    assert found.prove().proved
    columns = plan(cm.Network.from_torch(Floor(2, 1, 16), (2, 16, 16)))
    assert [bool(halo) for halo in columns.halo] == [True, False]


def test_what_does_not_reach_the_output_does_not_matter() -> None:
    """A refusal counts only if the output depends on it; channels may be combined in any way."""
    nodes = [
        Node("x", Input((4, 8, 8))),
        Node("mean", Reduction("mean", (1, 2)), ("x",)),
        Node("rows", transpose((1, 2, 0)), ("x",)),
        Node("norm", Normalisation((-1,)), ("rows",)),
        Node("dense", FullyConnected(4, 6, np.ones((6, 4)), flatten=False), ("norm",)),
        Node("back", transpose((2, 0, 1)), ("dense",)),
        Node("soft", Softmax(0), ("back",)),
        Node("gated", Product(), ("soft", "mean2")),
        Node("mean2", Reduction("mean", (0,)), ("back",)),
        Node("squeezed", Product(), ("x", "mean")),
    ]
    network = Network(nodes, ["gated", "squeezed"])
    assert plan(network).exact
    squeezed = plan(network, output="squeezed")
    assert not squeezed.exact
    assert {"mean" in reason for reason in squeezed.reasons} == {True}
    tokens = Network(
        [*TOKENS, FullyConnected(4, 2, np.ones((2, 4)), flatten=False), transpose((1, 0)), reshape((2, 8, 8))]
    )
    assert plan(tokens).halo == ((0, 0), (0, 0))


def test_one_axis_may_be_cut_where_the_other_may_not() -> None:
    """As in recognition of lines of text: the height is fixed, but the width is not."""
    network = Network([Input((2, 6, 30)), Reduction("mean", (1,)), reshape((2, 30)), Elementwise("relu")])
    found = plan(network)
    assert (found.exact, found.halo) == (False, (None, (0, 0)))
    image = RNG.integers(-9, 9, (3, 2, 6, 50))
    expected = np.maximum(image.mean(axis=2), 0)

    def function(x: Any) -> Any:
        assert x.shape[3] <= 20
        return np.maximum(x.mean(axis=2), 0)

    np.testing.assert_array_equal(found.run(function, image, (6, 20)), expected)
    with pytest.raises(ValueError, match=r"axis 0, of 6 samples.*'reduction 2'"):
        found.run(function, image, (3, 20))
    with pytest.raises(ValueError, match="no axis can be cut"):
        plan(Network([Input((2, 6)), Reduction("mean", (1,))])).prove()
    assert plan(Network([Input((5,)), Elementwise("relu")])).reasons == ("the input of shape (5,) has no spatial axes",)


# --- sizes -----------------------------------------------------------------------------------------------------------


def test_sizes_are_those_at_which_branches_meet() -> None:
    nodes = [
        Node("x", Input((1, 16))),
        Node("down", Pooling("max", 2), ("x",)),
        Node("up", Resize((16,), "nearest", "asymmetric"), ("down",)),
        Node("sum", Addition(), ("x", "up")),
    ]
    found = plan(Network(nodes))
    assert found.sizes == ((2, (0,)),)
    with pytest.raises(ValueError, match=r"17 samples on axis 0.*'sum'.*'x' 17, 'up' 16.*multiples of 2 from 2 on"):
        found.tiles((17,), 8)
    fewest = [plan(Network([same(40, 5, boundary=b)])).sizes for b in ("zero", "reflect", "symmetric", "circular")]
    assert fewest == [((1, (0,)),), ((3, (0,)),), ((2, (0,)),), ((2, (0,)),)]  # as many as PyTorch asks for
    down = plan(Network(nodes[:2]))  # alone, it takes odd sizes too
    assert down.sizes == ((2, (0, 1)),)
    image = RNG.integers(-9, 9, (1, 37))
    np.testing.assert_array_equal(down.run(down.network, image, 11), image[:, :36].reshape(1, 18, 2).max(axis=2))


def test_padding_that_may_be_same_restricts_sizes_until_another_size_tells() -> None:
    """With a stride, ``same`` pads 1 + 1 at an odd size and 0 + 1 at an even one: a network cannot tell from one."""

    def network(n: int, padding: Any) -> Network:
        return Network([Input((1, n)), Convolution(cm.ConvGeometry((n,), (3,), stride=2, padding=padding), [1, 2, 3])])

    assert plan(network(15, 1)).sizes == ((1, (1,)),)
    assert plan(network(16, 1)).sizes == ((1, (0, 1)),)  # not that of "same"
    geometry = cm.ConvGeometry((24,), (5,), stride=2, padding="same_lower")
    lower = Network([Input((1, 24)), Convolution(geometry, range(5))])
    assert lower["convolution 2"].operation.geometry.padding == ((2, 1),)  # type: ignore[attr-defined]
    assert plan(lower).sizes == ((2, (0,)),)  # it is 2 + 2 at an odd size
    assert plan(network(15, 1), network(20, 1)).sizes == ((1, (0, 1)),)
    assert plan(network(15, "same"), network(21, "same")).sizes == ((1, (1,)),)
    with pytest.raises(ValueError, match=r"'convolution 2' of other, read for \(1, 20\)"):
        plan(network(15, "same"), network(20, "same"))
    with pytest.raises(ValueError, match=r"leaves 1 when divided by 2; plan\(network, other"):
        plan(network(15, 1)).tiles((20,), 7)
    with pytest.raises(ValueError, match="the same input shape"):
        plan(network(15, 1), network(15, 1))
    pool = Network([Input((1, 15)), Pooling("max", 3, 2, "same")])
    assert plan(pool).sizes == plan(pool, Network([Input((1, 21)), Pooling("max", 3, 2, "same")])).sizes == ((1, (1,)),)


def test_a_second_network_refutes_a_fixed_size() -> None:
    def network(n: int, m: int) -> Network:
        return Network([Input((1, n)), Resize((m,), "nearest", "asymmetric"), take(1, 1, m - 1)])

    assert plan(network(8, 16), network(12, 24)).exact
    with pytest.raises(ValueError, match=r"'resize 2' of other.*\(1, 16\), but \(1, 24\) was expected"):
        plan(network(8, 16), network(12, 16))
    with pytest.raises(ValueError, match="nodes"):
        plan(network(8, 16), Network([Input((1, 12)), Elementwise("relu")]))
    relu = Network([Input((1, 12)), Node("resize 2", Elementwise("relu")), Node("rearrangement 3", take(1, 1, 23))])
    with pytest.raises(ValueError, match="is elementwise of input, but resize of input"):
        plan(network(8, 16), relu)
    halves = Network([Input((1, 9)), take(1, 0, 7, 2)])
    assert plan(halves).sizes == ((3, (1,)),)
    assert plan(halves, Network([Input((1, 12)), take(1, 0, 10, 2)])).sizes == ((3, (0, 1)),)
    other = Network([Input((1, 11)), take(1, 1, 9, 2)])
    with pytest.raises(ValueError, match="'rearrangement 2' of other"):
        plan(halves, other)


def test_what_one_size_does_not_tell_is_listed() -> None:
    def network(n: int, m: int) -> Network:
        nodes = [
            Node("x", Input((1, n, m))),
            Node("conv", layer((n, m), 3, padding=1), ("x",)),
            Node("scaled", Scale([3.0], trained=False), ("conv",)),
            Node("norm", Scale([3.0]), ("scaled",)),
            Node("leaky", Elementwise("leaky_relu"), ("norm",)),
            Node("crop", take(1, 1, n), ("leaky",)),
            Node("up", Resize((2 * n - 2, 2 * m), "nearest", "asymmetric"), ("crop",)),
            Node("cut", reshape((1, n - 1, 2, 2 * m)), ("up",)),
        ]
        return Network(nodes)

    weights = network(9, 8)["conv"].operation.weight  # type: ignore[attr-defined]

    def with_weights(n: int, m: int) -> Network:
        made = network(n, m)
        conv = Node("conv", Convolution(made["conv"].operation.geometry, weights), ("x",))  # type: ignore[attr-defined]
        return Network([conv if node.name == "conv" else node for node in made])

    found = plan(with_weights(9, 8))
    end = " do not depend on the size of the image (node"
    assert found.assumptions == (
        f"windows, strides and padding{end} 'conv')",
        f"constants{end}s 'scaled', 'leaky')",
        f"amounts of cropping and padding{end} 'crop')",
        f"scales of resizing{end} 'up')",
        f"sizes of blocks{end} 'cut')",
    )
    assert all(text in found.explain() for text in found.assumptions)
    assert plan(with_weights(9, 8), with_weights(15, 8)).assumptions == found.assumptions  # axis 1 is not confirmed
    confirmed = plan(with_weights(9, 8), with_weights(15, 12))
    assert (confirmed.exact, confirmed.assumptions) == (True, ())
    assert "Assumed" not in confirmed.explain()
    assert plan(Network([Input((1, 8)), Elementwise("relu")])).assumptions == ()


@for_each(
    "one, another, values",
    [
        (Scale(None, [1.0]), Scale(None, [2.0]), "shift"),
        (Scale([1.0]), Scale([1.5]), "scale"),
        (Scale(), Scale([1.0]), "scale"),
        (ParametricReLU([0.1]), ParametricReLU([0.2]), "slope"),
        (Elementwise("leaky_relu", {"slope": 0.1}), Elementwise("leaky_relu", {"slope": 0.2}), "parameters"),
        (Pooling("sum", 3, 1, 1, coefficient=[2]), Pooling("sum", 3, 1, 1, coefficient=[3]), "coefficient"),
        (Pooling("average", 3, 1, 1), Pooling("average", 3, 1, 1, count_include_pad=False), "count_include_pad"),
        (Pooling("sum", 3, 1, 1), Pooling("max", 3, 1, 1), "method"),
        (FullyConnected(9, 9, np.eye(9), False, flatten=False), FullyConnected(9, 9, 2 * np.eye(9), False,
                                                                             flatten=False), "weight"),
    ],
)  # fmt: skip
def test_a_second_network_refutes_other_values(one: Any, another: Any, values: str) -> None:
    """A constant that was computed from the size of the image differs, for every kind of node."""

    def network(n: int, operation: Any) -> Network:
        rows = isinstance(operation, FullyConnected)  # along the last axis, which is of the channels then
        back = [Node("back", transpose((1, 0)))] if rows else []
        front = [transpose((1, 0))] if rows else []
        return Network([Input((9 if rows else 1, n)), *front, Node("it", operation), *back])

    assert plan(network(8, one), network(13, one)).exact
    with pytest.raises(ValueError, match=rf"node 'it' of other, read for \(\d, 13\), has other values of {values}"):
        plan(network(8, one), network(13, another))


def test_a_second_network_refutes_other_weights() -> None:
    def network(n: int, weight: Any, bias: Any) -> Network:
        return Network([Input((1, n)), Convolution(cm.ConvGeometry((n,), (3,)), weight, bias)])

    assert plan(network(8, [1, 2, 3], [4]), network(9, [1, 2, 3], [4])).exact
    with pytest.raises(ValueError, match="other values of weight"):
        plan(network(8, [1, 2, 3], [4]), network(9, [1, 2, 4], [4]))
    with pytest.raises(ValueError, match="other values of bias"):
        plan(network(8, [1, 2, 3], [4]), network(9, [1, 2, 3], [5]))


def test_a_network_of_another_size_keeps_its_weights() -> None:
    torch = pytest.importorskip("torch")
    from tests.tiled_networks import torch_cases

    for name, shape in (("U-Net, crops", (1, 60, 52)), ("FFDNet", (1, 20, 6)), ("ConvNeXt, normalised", (1, 24, 36))):
        make, traced, _ = torch_cases()[name]
        torch.manual_seed(0)
        module = make().double().eval()
        other = resized(cm.Network.from_torch(module, traced), shape)
        image = RNG.standard_normal((2, *shape))
        with torch.no_grad():
            np.testing.assert_allclose(other(image), module(torch.from_numpy(image)).numpy(), atol=1e-9)
    with pytest.raises(ValueError, match=r"input_shape=\(2, 8\) must have the 2 axes and the channels"):
        resized(Network([Input((1, 8)), same(8)]), (2, 8))
    with pytest.raises(ValueError, match="'dense 2'"):
        resized(Network([Input((1, 8)), FullyConnected(8, 2)]), (1, 9))


# --- running functions -----------------------------------------------------------------------------------------------


def test_run_takes_functions_of_arrays_and_checks_them() -> None:
    kernel = np.array([1.0, 2.0, 4.0])
    network = Network([Input((1, 16)), Convolution(cm.ConvGeometry((16,), (3,), padding=1), kernel)])
    found = plan(network)
    image = RNG.integers(-9, 9, (2, 1, 50)).astype(np.float32)
    seen: list[tuple[int, int, str]] = []

    def function(x: Any) -> tuple[Any, None]:
        padded = np.pad(x, [(0, 0), (0, 0), (1, 1)])
        return padded[..., :-2] + 2 * padded[..., 1:-1] + 4 * padded[..., 2:], None

    result = found.run(function, image, 16, progress=lambda done, of, name: seen.append((done, of, name)))
    np.testing.assert_array_equal(result, function(image)[0])
    assert result.dtype == np.float32
    assert [done for done, _, _ in seen] == list(range(1, seen[0][1] + 1))
    np.testing.assert_array_equal(found.run(function, image[0], 16), result[0])
    with pytest.raises(ValueError, match=r"shape \(2, 1, 10\) for a tile of \(12,\), but \(2, 1, 12\) was expected"):
        found.run(lambda x: x[..., 2:], image, 12)
    with pytest.raises(ValueError, match=r"shape \(2, 3, 50\), but network takes \(1, \*spatial\)"):
        found.run(function, np.zeros((2, 3, 50)), 16)
    with pytest.raises(ValueError, match=r"image_shape=\(50, 50\) has 2 axes, but the network's image has 1"):
        found.tiles((50, 50), 16)
    with pytest.raises(TypeError, match="function is a int"):
        found.run(3, image, 16)


def test_run_notices_sizes_that_are_fixed_within_a_function() -> None:
    """Also where all tiles have the size that the network was read for, so that no tile would show it."""
    found = plan(Network([Input((1, 16)), Resize((32,), "nearest", "asymmetric", rounding="floor")]))
    image = RNG.integers(-9, 9, (1, 1, 48))
    np.testing.assert_array_equal(found.run(lambda x: x.repeat(2, 2), image, 16), image.repeat(2, 2))
    with pytest.raises(ValueError, match=r"shape \(1, 1, 32\) for a tile of \(8,\), but \(1, 1, 16\) was expected"):
        found.run(lambda x: np.resize(x, (1, 1, 32)), image, 16)

    def fixed(x: Any) -> Any:
        if x.shape[2] != 16:
            raise RuntimeError("a model of one size")
        return x.repeat(2, 2)

    np.testing.assert_array_equal(found.run(fixed, image, 16), image.repeat(2, 2))


@for_each(
    "function",
    [
        lambda x: x / x.shape[2],
        lambda x: x + x.shape[2] / 8,
        lambda x: x * np.linspace(0, 1, x.shape[2]).sum(),
        lambda x: x - x.mean(2, keepdims=True),
    ],
)
def test_run_notices_numbers_that_follow_the_size(function: Any) -> None:
    """Though all outputs have the shapes of the plan: two tiles that read the same samples must agree."""
    found = plan(Network([Input((1, 16)), Scale([2.0])]))
    image = RNG.standard_normal((1, 1, 48))
    with pytest.raises(ValueError, match=r"tiles of \(20,\) and of \(10,\) samples differ by up to .* depends on"):
        found.run(function, image, 20)
    np.testing.assert_array_equal(found.run(function, image, 48), function(image))


def test_run_stitches_the_planned_node_or_refuses() -> None:
    torch = pytest.importorskip("torch")
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 3, padding=1), torch.nn.Conv2d(1, 1, 5, padding=2)).double()
    network = cm.Network.from_torch(module, (1, 16, 16))
    found = plan(network, output="0")
    image = RNG.standard_normal((1, 1, 40, 40))
    with torch.no_grad():
        whole = module[0](torch.from_numpy(image)).numpy()
    with pytest.raises(ValueError, match=r"for the node '0', but the function returns the outputs of .*'1'"):
        found.run(module, image, 16)
    np.testing.assert_allclose(found.run(network, image, 16), whole, atol=1e-12)
    np.testing.assert_allclose(found.run(lambda x: module[0](torch.from_numpy(x)), image, 16), whole, atol=1e-12)
    with pytest.raises(ValueError, match="returned 2 arrays in a tuple, but one, the planned node's"):
        found.run(lambda x: (x, x), image, 16)
    model = unet_in_onnx(onnx)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    with pytest.raises(ValueError, match="the plan is for the node 'pool'"):
        plan(cm.Network.from_onnx(model, (1, 16, 16)), output="pool").run(session, image, 16)


def test_run_takes_dictionaries_tensors_and_dtypes() -> None:
    torch: Any = pytest.importorskip("torch")

    class Two(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, x: Any) -> Any:
            return {"a": self.conv(x), "b": self.conv(x).relu()}

    module = Two()
    network = cm.Network.from_torch(module, (1, 16, 16))
    found = plan(network, output=network.outputs[1])
    image = RNG.integers(0, 255, (1, 1, 40, 40))
    whole = module(torch.from_numpy(image).float())["b"].detach().numpy()
    for values in (image, image.astype(np.uint8), torch.from_numpy(image).double().requires_grad_()):
        np.testing.assert_allclose(found.run(module, values, 16), whole, rtol=1e-4, atol=1e-4)
    assert found.run(module, image > 9, 16).shape == whole.shape
    with pytest.raises(ValueError, match=r"returned 0 arrays in a list, but output number 1, counted from 0"):
        found.run(lambda x: [], image, 16)
    relu = plan(Network([Input((1, 8)), Elementwise("relu")]))
    mixed = relu.run(lambda x: x / 1 if x[0, 0, 0] else x, np.array([[0, 1, 2, 3, 4, 5, 6]]), 4)
    assert mixed.dtype == np.float64


def test_run_takes_modules_in_their_mode_and_dtype() -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3, padding=1), torch.nn.BatchNorm2d(2)).eval()
    found = plan(cm.Network.from_torch(module, (1, 8, 8)))
    image = RNG.standard_normal((1, 1, 20, 31))
    with torch.no_grad():
        whole = module(torch.from_numpy(image).float()).numpy()
    result = found.run(module, image, (9, 12))
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, whole, atol=1e-5)  # float32 sums in another order
    assert not module.training
    np.testing.assert_allclose(found.run(lambda x: module(torch.from_numpy(x).float()), image, 9), whole, atol=1e-5)


def test_run_takes_sessions_of_onnxruntime() -> None:
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    model = unet_in_onnx(onnx)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = plan(cm.Network.from_onnx(model, (1, 16, 16)), cm.Network.from_onnx(model, (1, 20, 14)))
    image = RNG.integers(-5, 5, (1, 1, 40, 26)).astype(np.float64)
    (whole,) = session.run(None, {"x": image.astype(np.float32)})
    np.testing.assert_array_equal(found.run(session, image, (12, 16)), whole)
    with pytest.raises(ValueError, match="further inputs, 'b'"):
        found.run(type("S", (), {"get_inputs": lambda s: [1, type("E", (), {"name": "b"})], "run": 0})(), image, 40)


def unet_in_onnx(onnx: Any, inner: int = 2) -> Any:
    """Return a model with open sizes: a convolution, a maximum, a resize and an addition."""
    helper, proto = onnx.helper, onnx.TensorProto
    weight = helper.make_tensor("w", proto.FLOAT, (1, 1, 3, 3), np.arange(9.0) - 4)
    scales = helper.make_tensor("s", proto.FLOAT, (4,), [1.0, 1.0, inner, inner])
    nodes = [
        helper.make_node("MaxPool", ["x"], ["p"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p", "w"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Resize", ["c", "", "s"], ["r"], "resize", mode="nearest", nearest_mode="floor",
                         coordinate_transformation_mode="asymmetric"),
        helper.make_node("Add", ["x", "r"], ["y"], "sum"),
    ]  # fmt: skip
    ends = [helper.make_tensor_value_info(n, proto.FLOAT, ["N", 1, f"{n}h", f"{n}w"]) for n in ("x", "y")]
    graph = helper.make_graph(nodes, "unet", ends[:1], ends[1:], [weight, scales])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


# --- proofs ----------------------------------------------------------------------------------------------------------


def unet() -> Network:
    """Return a network with windows of every kind."""
    nodes = [
        Node("x", Input((1, 24))),
        Node("conv", same(24, 5, boundary="reflect"), ("x",)),
        Node("down", Pooling("max", 3, 2, 1), ("conv",)),
        Node("mid", same(12, 3, boundary="replicate"), ("down",)),
        Node("up", layer((12,), 4, stride=2, padding=1, transposed=True), ("mid",)),
        Node("linear", Resize((24,), "linear"), ("down",)),
        Node("sum", Addition(), ("up", "linear", "conv")),
        Node("crop", take(1, 1, -1), ("sum",)),
    ]
    return Network(nodes, name="unet")


@for_each("engine", ["sympy", "z3"])
def test_plans_are_proved_for_all_sizes(engine: str) -> None:
    if engine == "z3":
        pytest.importorskip("z3")
    found = plan(unet())
    proof = found.prove(engine)
    assert proof.proved, proof.explain()
    assert {part.decided_by for part in proof.parts} == {engine}
    kinds = {part.name.split()[0] for part in proof.parts}
    assert kinds == {"network", "position", "scale", "reads", "sizes", "numbers", "alignment"}
    assert "running a plan checks it" in proof.explain()
    assert (found.halo, found.alignment, found.sizes) == (((5, 6),), (2,), ((4, (0,)),))


def test_rings_are_proved() -> None:
    network = Network([same(12, 3, boundary="circular"), Pooling("sum", 2), same(6, 5, boundary="circular")])
    found = plan(network)
    axis: Any = found.axes[0]
    assert axis.periodic
    assert found.prove().proved
    with pytest.raises(ValueError, match=r"15 samples on axis 0 .*padded circularly.*multiples of 2"):
        found.tiles((15,), 10)


def test_cropped_transposed_layers_on_rings() -> None:
    """Cropped sums of a transposed layer are added at the other end, although no output reads beyond one."""
    rng = np.random.default_rng(0)
    cases: list[tuple[int, dict[str, Any], str]] = [
        (1, {"stride": 2, "padding": 1, "output_padding": 1}, "refused"),  # an output less than a ring has
        (1, {"stride": 3, "padding": [(0, 3)], "dilation": 3}, "refused"),
        (3, {"stride": 2, "padding": [(1, 0)]}, "ring"),
        (2, {"stride": 2}, "line"),
    ]
    for taps, options, expected in cases:
        geometry = cm.ConvGeometry(12, taps, boundary="circular", transposed=True, **options)
        network = Network([Convolution(geometry, rng.standard_normal(geometry.weight_shape))])
        found = plan(network)
        if expected == "refused":
            assert "does not keep the ring" in found.reasons[0]
            continue
        axis: Any = found.axes[0]
        assert axis.periodic == (expected == "ring")
        x = rng.standard_normal((1, 12))
        assert np.allclose(found.run(network, x, 5), network(x[None])[0])
        assert found.prove().proved


def test_steps_of_version_0_1() -> None:
    unit, channel = (cm.equivariance.Bias(8, 1, sharing) for sharing in ("unit", "channel"))
    assert "bias per position" in plan([Input((1, 8)), unit]).reasons[0]
    pooled = Network([Input((1, 8)), channel, cm.equivariance.Pooling(cm.ConvGeometry(8, 2, stride=2))])
    assert plan(pooled).alignment == (2,)
    with pytest.raises(ValueError, match=r"'bias 2' .bias. cannot be made for another size"):
        resized(pooled, (1, 16))
    halved = Network([Input((1, 8)), cm.equivariance.Pooling(cm.ConvGeometry(8, 2, stride=2))])
    low, high = cm.network.interval_bounds(halved, -1, 3)["pooling 2"]
    assert np.allclose(low, -1)
    assert np.allclose(high, 3)


def test_wrong_numbers_are_not_proved() -> None:
    """One output more at either end, at the output or inside, or a smaller alignment."""
    assert refuted(plan(unet())) == set()
    for node in ("conv", "mid", "crop"):
        found = plan(unet())
        axis: Any = found.axes[0]
        axis.first_clean[node] -= 1
        assert "numbers" in refuted(found), node
    found = plan(unet())
    axis = found.axes[0]
    for size in range(axis.smallest, axis.smallest + 2 * axis.alignment):
        if size % 2 == 0:
            extents = axis.extents(size)
            extents["mid"] = extents["mid"]._replace(clean_end=extents["mid"].clean_end + 1)
    assert "numbers" in refuted(found)
    found = plan(unet())
    object.__setattr__(found.axes[0], "alignment", 1)
    found.axes[0].__dict__.update(residues=(0,), smallest=6)
    assert "alignment" in refuted(found)


def changed(found: Any, **values: Any) -> Any:
    """Return a plan whose axes hold other values."""
    return replace(found, axes=tuple(replace(axis, **values, _extents={}) for axis in found.axes))


def test_plans_that_are_not_those_of_the_network_are_not_proved() -> None:
    """Each is wrong for some image; a saved proof of one does not prove the right plan, nor the other way round."""
    ring = plan(Network([same(12, 3, boundary="circular"), Pooling("sum", 2)], name="ring"))
    nodes = [Node("x", Input((1, 24))), Node("conv", same(24, 5)), Node("down", Pooling("max", 3, 2, 1))]
    right = plan(Network(nodes, name="right"))
    axis: Any = right.axes[0]
    doubled = {name: scale * 2 if name != "x" else scale for name, scale in axis.shifts.items()}
    down = replace(axis.steps["down"][0][1], boundary="replicate")
    wrong = [
        (ring, changed(ring, periodic=False), "network"),
        (right, changed(right, periodic=True), "network"),
        (right, changed(right, shifts=doubled), "scale"),
        (right, changed(right, output_axis=0), "network"),
        (right, changed(right, axis=1), "network"),
        (right, changed(right, steps={"x": []}, output="x"), "network"),
        (right, changed(right, steps={**axis.steps, "down": [("conv", down)]}), "network"),
        (right, changed(right, alignment=1), "network"),
        (right, replace(right, output="conv"), "network"),
    ]
    proofs = {id(found): found.prove() for found in (ring, right)}
    for found, other, kind in wrong:
        proof = other.prove()
        assert not proof.proved, kind
        assert kind in {part.name.split()[0] for part in proof.parts if part.status == "refuted"}
        for held, record in ((other, proofs[id(found)].record()), (found, proof.record())):
            with pytest.raises(CertificateError):
                held.recheck(record)
    sources: list[Any] = [None, 3, [], {}]
    for source in sources:
        with pytest.raises(CertificateError, match="saved proof"):
            right.recheck(source)


def refuted(found: Any) -> set[str]:
    """Return the kinds of lemmas of a plan's proof that do not hold."""
    lemmas = [lemma for lemma in plan_theorem(found).lemmas if lemma.name.split()[0] in ("numbers", "alignment")]
    return {lemma.name.split()[0] for lemma in lemmas if decide_with_sympy(lemma).status == "refuted"}


def test_saved_proofs_are_checked_against_the_plan(tmp_path: Path) -> None:
    found = plan(unet())
    proof = found.prove()
    proof.save(tmp_path / "proof.json")
    assert found.recheck(tmp_path / "proof.json") == "tiles of unet"
    record = json.loads((tmp_path / "proof.json").read_text())
    record["parts"][3]["certificate"]["contradictions"][0] = {"kind": "sum", "products": [], "multiples": []}
    with pytest.raises(CertificateError):
        found.recheck(record)
    with pytest.raises(CertificateError):
        plan(Network([same(12, 7)], name="unet")).recheck(proof.record())
    if found.axes:
        with pytest.raises(ValueError, match="engine 'hand' is unknown"):
            found.prove("hand")


def test_explanations_have_the_numbers_of_each_node() -> None:
    text = plan(unet()).explain()
    assert re.search(r"halo 5 \+ 6", text)
    assert re.search(r"alignment 2: .*'down' advances by 2 at scale 1", text)
    assert re.search(r"up +floor\(i/2\)-1 to floor\(i/2\)\+1 +1 +\d+ +\d+", text)
    assert re.search(r"crop +i\+1 ", text)
    assert "'reflect'" in text


# --- the command -----------------------------------------------------------------------------------------------------


def test_command_prints_plans_tiles_and_proofs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx = pytest.importorskip("onnx")
    path = tmp_path / "unet.onnx"
    onnx.save(unet_in_onnx(onnx), path)
    options = [str(path), "--input-shape", "1x16x16"]
    assert main(["tiling", *options, "--image", "40x32", "--tile", "16x32", "--prove"]) == 0
    text = capsys.readouterr().out
    assert "Axes 0, 1:" in text
    assert "reads 0:16 x 0:32, keeps 0:14 x 0:32, as 0:14 x 0:32" in text
    assert "Theorem tiles of unet: proved." in text
    assert main(["tiling", *options, "--other-shape", "1x18x22", "--json", "--prove", "--image", "40x32", "--tile",
                 "9x9x9"]) == 2  # fmt: skip
    assert "--tile has 3 entries" in capsys.readouterr().err
    assert main(["tiling", *options, "--json", "--image", "40x32", "--tile", "16"]) == 0  # for both axes
    every = json.loads(capsys.readouterr().out)["tiles"]
    assert {stop - start for tile in every for start, stop in tile["input"]} <= set(range(1, 17))
    assert every[0]["keep"] == [[0, 14], [0, 14]]
    assert main(["tiling", *options, "--other-shape", "1x18x22", "--json", "--prove", "--image", "40x32", "--tile",
                 "16x32"]) == 0  # fmt: skip
    record = json.loads(capsys.readouterr().out)
    assert (record["exact"], record["alignment"], record["proof"]["proved"]) == (True, [2, 2], True)
    assert record["tiles"][0]["keep"] == [[0, 14], [0, 32]]
    assert main(["tiling", *options, "--output", "conv"]) == 0
    assert main(["tiling", "lenet5"]) == 1
    assert "node 'C5'" not in capsys.readouterr().out


@for_each(
    "arguments, message",
    [
        (["lenet5", "--image", "8x8"], "--image and --tile belong together"),
        (["lenet5", "--output", "Q"], "no node 'Q'"),
        (["lenet6"], "neither a file nor a named network"),
    ],
)
def test_command_errors(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tiling", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_plans_are_quick_on_deep_networks() -> None:
    """Half a second is ten times what is needed."""
    network = Network([same(64) for _ in range(150)])
    start = time.perf_counter()
    found = plan(network)
    assert found.halo == ((150, 150),)
    assert isinstance(found.axes[0], AxisPlan)
    assert len(found.tiles((4000,), 900)) == 7
    assert time.perf_counter() - start < 0.5
