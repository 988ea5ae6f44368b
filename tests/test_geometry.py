"""Shapes in, shapes out; what a geometry is as a value; and every refusal of what is no layer."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import convmatrix as cm
from convmatrix.boundary import Axis
from convmatrix.geometry import layer_geometry
from tests.cases import CASES, LENET5_C3, connection_table, each_case, for_each
from tests.refusals import refused
from tests.strategies import random_layer

if TYPE_CHECKING:
    from collections.abc import Callable

Geometry = cm.ConvGeometry
untyped: Any = cm.ConvGeometry  # for what its types do not allow
replace: Any = dataclasses.replace  # which takes what the class takes, not what its fields hold


# --- output shapes ----------------------------------------------------------------------------------------------------


def count_outputs(size: int, span: int, stride: int, low: int, high: int) -> int:
    """Return how many times a kernel fits into a padded axis, by walking along it."""
    starts = range(0, size + low + high, stride)
    return sum(start + span <= size + low + high for start in starts)


def written_samples(size: int, taps: int, dilation: int, stride: int) -> int:
    """Return how many samples the kernels of a transposed layer cover, by listing where they write."""
    return max(i * stride + t * dilation for i, t in product(range(size), range(taps))) + 1


def test_output_sizes_by_walking_along_the_axis() -> None:
    compared = 0
    amounts = (0, 1, 4)
    for n, k, s, d, low, high in product((1, 2, 5, 8), (1, 2, 3, 4), (1, 2, 3, 5), (1, 2, 3), amounts, amounts):
        span = d * (k - 1) + 1
        outputs = count_outputs(n, span, s, low, high)
        if not outputs:
            with pytest.raises(ValueError, match="kernel does not fit on axis 0"):
                Geometry(n, k, stride=s, dilation=d, padding=[(low, high)])
            continue
        assert Geometry(n, k, stride=s, dilation=d, padding=[(low, high)]).output_shape == (outputs,)
        compared += 1
    assert compared > 1000


def test_transposed_output_sizes_by_listing_what_is_written() -> None:
    compared = 0
    amounts = (0, 1, 4)
    for n, k, s, d, low, high, extra in product((1, 2, 5), (1, 2, 4), (1, 2, 4), (1, 3), amounts, amounts, (0, 1, 2)):
        if extra >= max(s, d):
            continue
        outputs = written_samples(n, k, d, s) - low - high + extra
        options: dict[str, Any] = {"stride": s, "dilation": d, "padding": [(low, high)], "output_padding": extra}
        if outputs < 1:
            with pytest.raises(ValueError, match="transposed layer has no outputs on axis 0"):
                Geometry(n, k, transposed=True, **options)
            continue
        assert Geometry(n, k, transposed=True, **options).output_shape == (outputs,)
        compared += 1
    assert compared > 500


def test_output_shapes_are_those_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    forward = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
    backward = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}
    rng = np.random.default_rng(5)
    compared = {False: 0, True: 0}
    for _ in range(600):
        axes = int(rng.integers(1, 4))
        n, k, s, d, p, extra = rng.integers([[1], [1], [1], [1], [0], [0]], [[9], [5], [4], [4], [4], [3]], (6, axes))
        transposed = bool(rng.integers(2))
        options: dict[str, Any] = {"stride": s.tolist(), "dilation": d.tolist(), "padding": p.tolist()}
        if transposed:
            options["output_padding"] = np.minimum(extra, np.maximum(s, d) - 1).tolist()
        layer = (backward if transposed else forward)[axes]
        try:
            shape = tuple(layer(torch.zeros(1, 1, *n), torch.zeros(1, 1, *k), **options).shape[2:])
        except RuntimeError:  # the kernel does not fit, or all outputs are cropped
            with pytest.raises(ValueError, match=r"kernel does not fit|has no outputs"):
                Geometry(n, k, transposed=transposed, **options)
            continue
        assert Geometry(n, k, transposed=transposed, **options).output_shape == shape
        compared[transposed] += 1
    assert min(compared.values()) > 100


@for_each(("n", "k", "s", "d"), list(product((1, 2, 5, 8, 9), (1, 2, 3, 4, 7), (1, 2, 3, 6), (1, 2, 3))))
def test_same_gives_one_output_a_stride(n: int, k: int, s: int, d: int) -> None:
    span = d * (k - 1) + 1
    outputs = len(range(0, n, s))
    for word, odd in (("same", 1), ("same_lower", -1)):
        g = Geometry(n, k, stride=s, dilation=d, padding=word)
        ((low, high),) = g.padding
        assert g.output_shape == (outputs,)
        assert high - low in (0, odd)
        if low + high:  # and no sample of padding more than that takes
            assert (outputs - 1) * s + span == n + low + high


@for_each(("n", "k", "s", "d"), list(product((1, 2, 5), (1, 2, 3, 4, 7), (1, 2, 3, 6), (1, 2, 3))))
def test_same_of_a_transposed_layer_gives_a_stride_of_outputs(n: int, k: int, s: int, d: int) -> None:
    for word, odd in (("same", 1), ("same_lower", -1)):
        g = Geometry(n, k, stride=s, dilation=d, padding=word, transposed=True)
        ((low, high),), (extra,) = g.padding, g.output_padding
        assert g.output_shape == (n * s,)
        assert high - low in (0, odd)
        assert written_samples(n, k, d, s) + extra - low - high == n * s
        assert not (extra and low + high)
        # It is the layer that maps the input of the convolution "same" back from its output.
        assert Geometry(n * s, k, stride=s, dilation=d, padding=word).output_shape == g.input_shape


def test_same_of_a_transposed_layer_with_output_padding() -> None:
    g = Geometry(4, 3, stride=2, padding="same", transposed=True, output_padding=1)
    assert g.output_shape == (8,)
    assert (g.padding, g.output_padding) == (((1, 1),), (1,))  # as in PyTorch's 3-tap layer that doubles an image


@for_each(("n", "k", "d"), list(product((1, 3, 6), (1, 2, 5), (1, 2))))
def test_full_has_every_output_that_sees_a_sample(n: int, k: int, d: int) -> None:
    span = d * (k - 1) + 1
    g = Geometry(n, k, dilation=d, padding="full")
    assert g.padding == ((span - 1, span - 1),)
    assert g.output_shape == (n + span - 1,)
    back = Geometry(n + span - 1, k, dilation=d, padding="full", transposed=True)
    assert back.output_shape == (n,)
    assert back.padding == g.padding


def test_words_and_amounts_may_be_mixed_an_axis() -> None:
    g = Geometry((6, 6, 6, 6, 6), (4,) * 5, padding=["same", "same_lower", "full", 2, (0, 3)])
    assert g.padding == ((1, 2), (2, 1), (3, 3), (2, 2), (0, 3))
    assert g.output_shape == (6, 6, 9, 7, 6)
    assert Geometry((6, 6), (4, 3)).padding == Geometry((6, 6), (4, 3), padding=0).padding == ((0, 0), (0, 0))
    assert untyped((6, 6), 3 * np.ones(2, int), padding=1).padding == ((1, 1), (1, 1))
    assert Geometry((6, 6), (3, 3), padding=(1, 2)).padding == ((1, 1), (2, 2))
    assert untyped(6, 3, padding=[(1, 2)]).padding == untyped(6, 3, padding=np.array([[1, 2]])).padding == ((1, 2),)
    assert Geometry(6, 3, padding=[2]).padding == ((2, 2),)


def test_transposed_words_and_amounts() -> None:
    g = Geometry((4, 4, 4, 4), (3,) * 4, padding=["valid", "full", 1, (0, 2)], transposed=True)
    assert g.padding == ((0, 0), (2, 2), (1, 1), (0, 2))
    assert g.output_shape == (6, 2, 4, 4)


@each_case
def test_counts_are_products_of_shapes(geometry: Geometry) -> None:
    assert geometry.n_in == geometry.in_channels * np.prod(geometry.input_shape)
    assert geometry.n_out == geometry.out_channels * np.prod(geometry.output_shape)
    assert geometry.n_weights == np.prod(geometry.weight_shape)
    assert all(type(number) is int for number in (geometry.n_in, geometry.n_out, geometry.n_weights))


# --- weights, axes, channels ------------------------------------------------------------------------------------------


@for_each(
    ("options", "weight_shape", "tile"),
    [
        ({}, (6, 4, 3, 2), (1, 1)),
        ({"groups": 2}, (6, 2, 3, 2), (1, 1)),
        ({"transposed": True}, (4, 6, 3, 2), (1, 1)),
        ({"transposed": True, "groups": 2}, (4, 3, 3, 2), (1, 1)),
        ({"sharing": 2}, (2, 2, 6, 4, 3, 2), (2, 2)),
        ({"sharing": (1, 5), "groups": 2}, (1, 5, 6, 2, 3, 2), (1, 5)),
        ({"sharing": "unshared"}, (3, 5, 6, 4, 3, 2), (3, 5)),
        ({"sharing": "unshared", "transposed": True}, (5, 6, 4, 6, 3, 2), (5, 6)),
        ({"sharing": (1, 1)}, (1, 1, 6, 4, 3, 2), (1, 1)),
        ({"connections": connection_table("01 12 23 30 012 0123", 4)}, (15, 3, 2), (1, 1)),
        ({"connections": np.eye(6, 4), "sharing": (3, 2)}, (3, 2, 4, 3, 2), (3, 2)),
        ({"connections": np.eye(6, 4), "transposed": True}, (4, 3, 2), (1, 1)),
    ],
)
def test_weight_shapes(options: dict[str, Any], weight_shape: tuple[int, ...], tile: tuple[int, ...]) -> None:
    g = Geometry((5, 6), (3, 2), in_channels=4, out_channels=6, **options)
    assert g.weight_shape == weight_shape
    assert g.tile == tile


def test_lenet_5_c3_has_its_published_weights() -> None:
    g = Geometry((14, 14), (5, 5), in_channels=6, out_channels=16, connections=LENET5_C3)
    assert g.n_weights + 16 == 1516
    assert g.pattern().n_entries + g.n_out == 151_600


def test_axes_hold_what_the_rule_needs() -> None:
    g = Geometry(
        (7, 8),
        (3, 2),
        stride=(2, 1),
        dilation=(1, 3),
        padding=[(1, 2), (3, 0)],
        boundary=("reflect", "zero"),
        flip=True,
        sharing=(2, 3),
    )
    assert g.axes == (
        Axis(4, 7, 3, stride=2, dilation=1, pad_low=1, boundary="reflect", flip=True, tile=2),
        Axis(8, 8, 2, stride=1, dilation=3, pad_low=3, boundary="zero", flip=True, tile=3),
    )


def test_axes_of_a_transposed_layer_are_those_of_the_convolution() -> None:
    g = Geometry(4, 3, stride=2, padding=[(1, 0)], transposed=True, output_padding=1, sharing="unshared")
    assert g.output_shape == (9,)
    assert g.axes == (Axis(4, 9, 3, stride=2, pad_low=1, tile=4),)


@for_each(
    ("options", "pairs"),
    [
        ({"in_channels": 2, "out_channels": 3}, "00 01 10 11 20 21"),
        ({"in_channels": 4, "out_channels": 2, "groups": 2}, "00 01 12 13"),
        ({"in_channels": 2, "out_channels": 4, "groups": 2}, "00 10 21 31"),
        ({"in_channels": 2, "out_channels": 3, "transposed": True}, "00 10 20 01 11 21"),
        ({"in_channels": 4, "out_channels": 2, "groups": 2, "transposed": True}, "00 01 12 13"),
        ({"in_channels": 2, "out_channels": 2, "connections": [[0, 1], [1, 1]]}, "01 10 11"),
        ({"in_channels": 2, "out_channels": 2, "connections": [[0, 1], [1, 1]], "transposed": True}, "01 10 11"),
    ],
)
def test_channel_pairs_are_output_then_input(options: dict[str, Any], pairs: str) -> None:
    found = Geometry(5, 2, **options).channel_pairs
    assert found.dtype == np.int64
    assert " ".join(f"{out}{into}" for out, into in found) == pairs


# --- a geometry as a value --------------------------------------------------------------------------------------------


def some_layers() -> list[Geometry]:
    rng = np.random.default_rng(3)
    return [*CASES.values(), *(random_layer(rng) for _ in range(200))]


def evaluated(geometry: Geometry) -> Any:
    return eval(repr(geometry), {"ConvGeometry": Geometry})


@for_each(
    "duplicate",
    [
        lambda g: Geometry(g.input_shape, g.kernel_shape, **g.options()),
        lambda g: pickle.loads(pickle.dumps(g)),
        copy.copy,
        copy.deepcopy,
        dataclasses.replace,
        evaluated,
    ],
    ids=["options", "pickle", "copy", "deepcopy", "replace", "repr"],
)
def test_duplicates_are_equal(duplicate: Callable[[Geometry], Geometry]) -> None:
    layers = some_layers()
    for geometry in layers:
        twin = duplicate(geometry)
        assert twin == geometry
        assert hash(twin) == hash(geometry)
        assert twin.output_shape == geometry.output_shape
        assert repr(twin) == repr(geometry)
    assert len(set(layers)) == len(dict.fromkeys(map(repr, layers)))  # what differs shows


@for_each("name", [field.name for field in dataclasses.fields(Geometry)])
def test_nothing_can_be_assigned(name: str) -> None:
    geometry = Geometry(5, 3)
    before = repr(geometry)
    with pytest.raises(dataclasses.FrozenInstanceError, match=f"cannot assign to field '{name}'"):
        setattr(geometry, name, getattr(geometry, name))
    with pytest.raises(dataclasses.FrozenInstanceError, match=f"cannot delete field '{name}'"):
        delattr(geometry, name)
    with pytest.raises(AttributeError):
        geometry.output_shape = (9,)  # type: ignore[misc]
    assert repr(geometry) == before


def test_every_field_tells_geometries_apart() -> None:
    changes: dict[str, Any] = {
        "input_shape": (7, 6),
        "kernel_shape": (2, 3),
        "in_channels": 4,
        "out_channels": 4,
        "stride": 2,
        "dilation": 2,
        "padding": 1,
        "boundary": "circular",
        "groups": 2,
        "connections": [[1, 0], [1, 1]],
        "sharing": (1, 1),
        "flip": True,
        "transposed": True,
    }
    base = Geometry((6, 6), (3, 3), in_channels=2, out_channels=2)
    layers = [replace(base, **{name: value}) for name, value in changes.items()]
    layers.append(replace(base, transposed=True, stride=2))
    layers.append(replace(layers[-1], output_padding=1))
    assert {field.name for field in dataclasses.fields(Geometry)} == {*changes, "output_padding"}
    assert len({base, *layers}) == len(layers) + 1
    assert len({repr(geometry) for geometry in (base, *layers)}) == len(layers) + 1


def test_replace_validates_again() -> None:
    geometry = Geometry((6, 6), (3, 3), padding="same")
    assert replace(geometry, input_shape=(8, 8)).output_shape == (8, 8)
    with pytest.raises(ValueError, match="kernel does not fit on axis 0"):
        replace(geometry, kernel_shape=(9, 9))


def test_options_are_as_short_as_can_be() -> None:
    options: dict[str, Any] = {"stride": 2, "dilation": 3, "boundary": "circular", "output_padding": 1}
    for axes in (1, 2, 3):
        geometry = Geometry((5,) * axes, (3,) * axes, transposed=True, **options)
        assert geometry.options() == options | {"transposed": True}
    uneven = {"stride": (2, 1), "dilation": (3, 2), "boundary": ("circular", "zero"), "output_padding": (1, 0)}
    assert untyped((5, 5), (3, 3), transposed=True, **uneven).options() == uneven | {"transposed": True}
    plain = untyped((5, 5), (3, 3), in_channels=1, stride=(1, 1), padding=0, boundary=["zero", "zero"], flip=False)
    assert plain.options() == {}


@for_each(
    ("geometry", "shown"),
    [
        (Geometry(6, 3), "ConvGeometry((6,), (3,))"),
        (
            Geometry((6, 6), (3, 3), stride=(2, 2), dilation=(1, 2), boundary=["zero", "reflect"], padding=(1, 2)),
            "ConvGeometry((6, 6), (3, 3), stride=2, dilation=(1, 2), padding=((1, 1), (2, 2)), "
            "boundary=('zero', 'reflect'))",
        ),
        (
            Geometry(6, 3, in_channels=2, out_channels=2, connections=[[1, 0], [0, 1]], flip=True, sharing="unshared"),
            "ConvGeometry((6,), (3,), in_channels=2, out_channels=2, connections=((True, False), (False, True)), "
            "sharing='unshared', flip=True)",
        ),
        (
            Geometry(6, 3, in_channels=4, out_channels=2, groups=2, sharing=2, stride=3, transposed=True,
                     output_padding=2),
            "ConvGeometry((6,), (3,), in_channels=4, out_channels=2, stride=3, groups=2, sharing=(2,), "
            "transposed=True, output_padding=2)",
        ),
    ],
)  # fmt: skip
def test_it_shows_what_differs_from_the_defaults(geometry: Geometry, shown: str) -> None:
    assert repr(geometry) == shown


def test_equivalent_descriptions_are_one_geometry() -> None:
    assert untyped(5, 3) == untyped((5,), [3]) == untyped(np.array([5]), np.int32(3))
    assert Geometry((6, 6), (3, 3), padding="same") == Geometry([6, 6], [3, 3], padding=1)
    table = np.ones((2, 3), dtype=bool)
    tables = (table, table.astype(int), table.astype(float), table.tolist())
    layers = {Geometry(5, 2, in_channels=3, out_channels=2, connections=table) for table in tables}
    assert len(layers) == 1
    assert Geometry(5, 3) != untyped((5,), (3,)).options()


def test_numpy_integers_become_plain_ones() -> None:
    g = untyped(
        np.array([8, 9]),
        np.array([3, 2], dtype=np.uint8),
        in_channels=np.int64(4),
        out_channels=np.array(2),
        stride=np.int16(2),
        dilation=np.array([1, 2]),
        padding=np.array([[1, 2], [0, 1]]),
        groups=np.int8(2),
        sharing=np.array([2, 3]),
        flip=np.True_,
        connections=None,
    )
    plain = Geometry(
        (8, 9),
        (3, 2),
        in_channels=4,
        out_channels=2,
        stride=2,
        dilation=(1, 2),
        padding=[(1, 2), (0, 1)],
        groups=2,
        sharing=(2, 3),
        flip=True,
    )
    assert g == plain
    assert repr(g) == repr(plain)  # NumPy's own integers would show as np.int64(4)
    assert pickle.loads(pickle.dumps(g)) == plain


def test_html_is_a_table() -> None:
    shown = Geometry((4, 5), (3, 3))._repr_html_()
    assert "<table" in shown
    assert "<svg" in shown  # its matrix


def test_it_makes_its_pattern_and_unfold_matrix() -> None:
    g = Geometry((3, 4), (2, 2), in_channels=2, out_channels=3)
    assert g.pattern().geometry is g
    assert g.pattern().shape == (g.n_out, g.n_in)
    U = g.unfold_matrix(format="csc", dtype=np.int8)
    assert (U.format, U.dtype, U.shape) == ("csc", np.int8, (2 * 4 * 6, 24))
    assert g.unfold_matrix().dtype == np.float64


# --- from the shapes of a kernel and an input -------------------------------------------------------------------------


def test_a_kernel_of_one_channel() -> None:
    assert layer_geometry((3,), 8) == layer_geometry([3], (8,)) == Geometry(8, 3)
    assert layer_geometry((3, 2), (8, 9), padding="same", flip=True) == Geometry(
        (8, 9), (3, 2), padding="same", flip=True
    )
    assert layer_geometry((2, 2, 2), (3, 4, 5)) == Geometry((3, 4, 5), (2, 2, 2))


def test_a_kernel_of_channels() -> None:
    plain = Geometry((8, 9), (3, 2), in_channels=4, out_channels=6)
    assert layer_geometry((6, 4, 3, 2), (4, 8, 9)) == plain
    grouped = layer_geometry(
        (6, 2, 3, 2), (4, 8, 9), groups=2, stride=2, dilation=(1, 2), boundary="reflect", padding=1
    )
    assert grouped == replace(plain, groups=2, stride=2, dilation=(1, 2), boundary="reflect", padding=1)
    assert grouped.weight_shape == (6, 2, 3, 2)


def test_a_transposed_kernel_of_channels() -> None:
    g = layer_geometry((4, 3, 2), (4, 5), groups=2, transposed=True, stride=2, output_padding=1)
    assert g == Geometry(5, 2, in_channels=4, out_channels=6, groups=2, transposed=True, stride=2, output_padding=1)
    assert g.weight_shape == (4, 3, 2)


def test_kernel_and_input_that_disagree_in_channels() -> None:
    with refused(
        ValueError,
        "the kernel reads 4 channels (its shape (6, 2, 3) is (C_out, C_in/groups, *kernel), groups=2), but the input "
        "has 3 (input_shape=(3, 8) is (C_in, *spatial)); make them equal",
    ):
        layer_geometry((6, 2, 3), (3, 8), groups=2)
    with refused(
        ValueError,
        "the kernel reads 6 channels (its shape (6, 2, 3) is (C_in, C_out/groups, *kernel), groups=1), but the input "
        "has 2 (input_shape=(2, 8) is (C_in, *spatial)); make them equal",
    ):
        layer_geometry((6, 2, 3), (2, 8), transposed=True)


@for_each(("kernel", "shape"), [((3, 3), 8), ((3,), (8, 8)), ((4, 2, 3, 3), (8, 8)), ((2, 3, 4, 5), 8)])
def test_kernel_and_input_that_disagree_in_axes(kernel: tuple[int, ...], shape: Any) -> None:
    full = (shape,) if isinstance(shape, int) else shape
    with refused(
        ValueError,
        f"the kernel has {len(kernel)} axes (shape {kernel}), but input_shape={full} has {len(full)}; for one channel "
        "give both the same number of axes, for channels a kernel (C_out, C_in/groups, *kernel) and "
        "input_shape=(C_in, *spatial)",
    ):
        layer_geometry(kernel, shape)


def test_kernels_that_are_none() -> None:
    with refused(ValueError, "the kernel's shape is empty; give at least one spatial axis"):
        layer_geometry((), 8)
    with refused(ValueError, "the kernel's shape[1] must be at least 1, but is 0"):
        layer_geometry((3, 0), (8, 8))
    with refused(ValueError, "groups must be at least 1, but is 0"):
        layer_geometry((6, 2, 3), (4, 8), groups=0)


# --- what is refused --------------------------------------------------------------------------------------------------


@for_each("value", [5.0, "5", None, True, np.True_, np.float64(5), 5j, np.array(5.0)])
def test_sizes_are_integers(value: Any) -> None:
    kind = type(value).__name__
    with refused(TypeError, f"input_shape must be an integer, but is {value!r} ({kind})"):
        Geometry(value, 3)
    with refused(TypeError, f"kernel_shape[1] must be an integer, but is {value!r} ({kind})"):
        Geometry((5, 5), (3, value))
    for name in ("in_channels", "out_channels", "groups", "stride", "dilation", "output_padding"):
        with refused(TypeError, f"{name} must be an integer, but is {value!r} ({kind})"):
            Geometry(5, 3, **{name: value})
    for name in ("stride", "dilation", "output_padding", "sharing"):
        with refused(TypeError, f"{name}[1] must be an integer, but is {value!r} ({kind})"):
            untyped((5, 5), (3, 3), **{name: (1, value)})


@for_each("value", [1.0, None, True, np.float32(1)])
def test_paddings_are_integers_or_words(value: Any) -> None:
    kind = type(value).__name__
    for padding, name in ((value, "padding"), ([0, value], "padding[1]"), ([0, (0, value)], "padding[1][1]")):
        with refused(TypeError, f"{name} must be an integer, but is {value!r} ({kind})"):
            untyped((5, 5), (3, 3), padding=padding)


@for_each("value", [0, 1, "yes", None, np.int64(1)])
def test_flags_are_truth_values(value: Any) -> None:
    for name in ("flip", "transposed"):
        with refused(TypeError, f"{name} must be True or False, but is {value!r} ({type(value).__name__})"):
            Geometry(5, 3, **{name: value})


@for_each(
    ("shapes", "options", "message"),
    [
        ((0, 3), {}, "input_shape must be at least 1, but is 0"),
        (((5, -2), (3, 3)), {}, "input_shape[1] must be at least 1, but is -2"),
        ((5, 0), {}, "kernel_shape must be at least 1, but is 0"),
        ((5, 3), {"in_channels": 0}, "in_channels must be at least 1, but is 0"),
        ((5, 3), {"out_channels": -1}, "out_channels must be at least 1, but is -1"),
        ((5, 3), {"groups": 0}, "groups must be at least 1, but is 0"),
        ((5, 3), {"stride": 0}, "stride must be at least 1, but is 0"),
        (((5, 5), (3, 3)), {"dilation": (1, 0)}, "dilation[1] must be at least 1, but is 0"),
        (((5, 5), (3, 3)), {"output_padding": (-1, 0)}, "output_padding[0] must be at least 0, but is -1"),
        ((5, 3), {"sharing": 0}, "sharing must be at least 1, but is 0"),
        ((5, 3), {"padding": -1}, "padding must be at least 0, but is -1"),
        (((5, 5), (3, 3)), {"padding": (0, -2)}, "padding[1] must be at least 0, but is -2"),
        (((5, 5), (3, 3)), {"padding": [0, (-3, 0)]}, "padding[1][0] must be at least 0, but is -3"),
    ],
)
def test_numbers_that_are_too_small(shapes: tuple[Any, Any], options: dict[str, Any], message: str) -> None:
    with refused(ValueError, message):
        Geometry(*shapes, **options)


def test_empty_shapes() -> None:
    with refused(ValueError, "input_shape is empty; give at least one spatial axis"):
        Geometry((), 3)
    with refused(ValueError, "kernel_shape is empty; give at least one spatial axis"):
        Geometry(5, [])


def test_shapes_of_different_dimension() -> None:
    with refused(
        ValueError,
        "kernel_shape has 3 axes ((2, 3, 3)), but input_shape has 2 ((5, 6)); "
        "give one size for each spatial axis, without channels",
    ):
        Geometry((5, 6), (2, 3, 3))


@for_each(
    ("name", "value"),
    [
        ("stride", (1, 2, 3)),
        ("dilation", [2]),
        ("output_padding", ()),
        ("padding", [(1, 1), 2, 0]),
        ("boundary", ["zero"]),
        ("sharing", (2, 2, 2)),
    ],
)
def test_wrong_number_of_entries(name: str, value: Any) -> None:
    with refused(
        ValueError,
        f"{name} has {len(value)} entries ({value!r}), but the layer has 2 spatial axes; "
        "give one for all axes or one an axis",
    ):
        Geometry((5, 5), (3, 3), **{name: value})


def test_a_pair_of_paddings_on_one_axis() -> None:
    with refused(
        ValueError,
        "padding=(1, 2) has 2 entries, but the layer has 1 spatial axis; "
        "for low and high padding write padding=[(1, 2)]",
    ):
        Geometry(5, 3, padding=(1, 2))
    assert Geometry(5, 3, padding=[(1, 2)]).padding == ((1, 2),)  # the remedy works
    with refused(
        ValueError,
        "padding has 2 entries ([(1, 2), 3]), but the layer has 1 spatial axes; give one for all axes or one an axis",
    ):
        Geometry(5, 3, padding=[(1, 2), 3])


def test_unknown_padding_word() -> None:
    with refused(ValueError, "padding='half' is unknown; choose one of valid, same, same_lower, full or give integers"):
        Geometry(5, 3, padding="half")
    with refused(
        ValueError,
        "padding[1]='Same' is unknown; choose one of valid, same, same_lower, full or give integers ('Same' is called "
        "'same' here)",
    ):
        Geometry((5, 5), (3, 3), padding=["same", "Same"])


def test_padding_entry_that_is_no_pair() -> None:
    with refused(ValueError, "padding[1]=(1, 2, 3) has 3 entries; give an integer or a (low, high) pair"):
        untyped((5, 5), (3, 3), padding=[0, (1, 2, 3)])


@for_each("value", ["cyclic", None, 0, ("zero", "even"), ("zero", None)])
def test_unknown_boundary(value: Any) -> None:
    word = value[1] if isinstance(value, tuple) else value
    with refused(
        ValueError, f"boundary {word!r} is unknown; choose one of zero, circular, reflect, symmetric, replicate"
    ):
        Geometry((5, 5), (3, 3), boundary=value)


def test_unknown_sharing() -> None:
    with refused(ValueError, "sharing='tiled' is unknown; choose shared, unshared, or a tile size an axis"):
        untyped(5, 3, sharing="tiled")


def test_output_padding_of_a_convolution() -> None:
    with refused(ValueError, "output_padding=(0, 1) is for transposed layers only; set transposed=True or leave it 0"):
        Geometry((5, 5), (3, 3), output_padding=(0, 1))


def test_output_padding_that_is_too_large() -> None:
    with refused(
        ValueError,
        "output_padding[1]=3 must be smaller than the stride or the dilation (stride[1]=3, dilation[1]=2)",
    ):
        Geometry((5, 5), (3, 3), transposed=True, stride=3, dilation=(4, 2), output_padding=3)
    assert Geometry(5, 3, transposed=True, dilation=4, output_padding=3).output_shape == (16,)


def test_groups_that_divide_neither_count() -> None:
    with refused(ValueError, "groups=2 does not divide in_channels=3; choose a divisor of both counts"):
        Geometry(5, 3, in_channels=3, out_channels=4, groups=2)
    with refused(ValueError, "groups=3 does not divide out_channels=4; choose a divisor of both counts"):
        Geometry(5, 3, in_channels=3, out_channels=4, groups=3)


def test_a_kernel_that_does_not_fit() -> None:
    with refused(
        ValueError,
        "kernel does not fit on axis 1: it spans 7 samples (kernel_shape[1]=4, dilation=2), but the padded input has 6 "
        "(input_shape[1]=3, padding=(1, 2)); increase padding or shrink the kernel",
    ):
        Geometry((5, 3), (3, 4), dilation=2, padding=[0, (1, 2)])


def test_a_transposed_layer_without_outputs() -> None:
    with refused(
        ValueError,
        "transposed layer has no outputs on axis 1: padding=(2, 3) crops 5 of 5 samples (input_shape[1]=2, stride=2, "
        "kernel_shape[1]=2, dilation=1); reduce the padding",
    ):
        Geometry((9, 2), (5, 2), transposed=True, stride=(1, 2), padding=[2, (2, 3)], output_padding=(0, 1))


def test_axes_beyond_64_bit_indices() -> None:
    remedy = "but index arithmetic is 64-bit and holds sizes below 2**62; shrink the input or the"
    with refused(ValueError, f"axis 0 has {2**62} padded samples, {remedy} padding"):
        Geometry(2**62, 1)
    with refused(ValueError, f"axis 1 has {2**62} padded samples, {remedy} padding"):
        Geometry((1, 4), (1, 1), padding=[0, (2**62 - 4, 0)])
    with refused(ValueError, f"axis 0 has {2**62} samples, {remedy} stride"):
        Geometry(2**61, 1, stride=2, transposed=True, output_padding=1, padding=[(0, 2)])
    assert Geometry(2**62 - 1, 1).n_out == 2**62 - 1
    assert Geometry(2**61, 1, stride=2, transposed=True).output_shape == (2**62 - 1,)


@for_each(
    ("value", "message"),
    [
        (
            np.ones((3, 2)),
            "connections has shape (3, 2), but the layer has out_channels=2 and in_channels=3; "
            "give a table of shape (2, 3)",
        ),
        (
            True,
            "connections has shape (), but the layer has out_channels=2 and in_channels=3; "
            "give a table of shape (2, 3)",
        ),
        (2 * np.ones((2, 3)), "connections must hold only True and False (or 1 and 0)"),
        (np.full((2, 3), "1"), "connections must hold only True and False (or 1 and 0)"),
        (np.full((2, 3), np.nan), "connections must hold only True and False (or 1 and 0)"),
        (np.zeros((2, 3)), "connections has no True entry; a layer needs at least one connected pair of channels"),
    ],
    ids=["shape", "scalar", "twos", "words", "nan", "empty"],
)
def test_connection_tables_that_are_none(value: Any, message: str) -> None:
    with refused(ValueError, message):
        Geometry(5, 3, in_channels=3, out_channels=2, connections=value)


def test_connections_beside_groups() -> None:
    with refused(ValueError, "connections and groups=2 exclude each other; write the groups into the table"):
        Geometry(5, 3, in_channels=4, out_channels=2, groups=2, connections=np.ones((2, 4)))


@for_each(
    ("options", "message"),
    [
        ({"boundary": "wrap"}, "boundary 'wrap' is unknown; .* ('wrap' is called 'circular' here)"),
        ({"boundary": "zeros"}, "('zeros' is called 'zero' here)"),
        ({"boundary": "Reflect"}, "('Reflect' is called 'reflect' here)"),
        ({"padding": "reflect"}, "what lies beyond the ends is the boundary: boundary='reflect'"),
        ({"padding": "edge"}, "what lies beyond the ends is the boundary: boundary='replicate'"),
    ],
)
def test_words_of_other_packages_are_translated(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(").replace(")", r"\)")):
        Geometry(5, 3, **options)
