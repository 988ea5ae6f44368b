"""The table of layer options: signatures, defaults and other libraries' words; kernels that options explain."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import sparse

import convmatrix as cm
from convmatrix import equivariance, network, solve, structured
from convmatrix.network import Convolution, Elementwise, Input
from convmatrix.options import LAYER_OPTIONS, LayerOptions
from tests.cases import CASES, for_each, integer_weights

Calls = dict[str, Any]
CALLS: Calls = {
    "ConvGeometry": lambda **options: cm.ConvGeometry(6, 3, **options),
    "conv_matrix": lambda **options: cm.conv_matrix([1, 2, 3], 6, **options),
    "conv_transpose_matrix": lambda **options: cm.conv_transpose_matrix([1, 2, 3], 6, **options),
    "unfold_matrix": lambda **options: cm.unfold_matrix(6, 3, **options),
    "ConvOperator": lambda **options: cm.ConvOperator([1, 2, 3], 6, **options),
}
WITHOUT = {
    "conv_transpose_matrix": {"transposed"},
    "unfold_matrix": {"groups", "connections", "sharing", "transposed", "output_padding", "output_shape"},
}


@for_each("name", CALLS)
def test_signatures_list_every_option_with_its_default(name: str) -> None:
    parameters = inspect.signature(getattr(cm, name)).parameters
    expected = {option: entry.default for option, entry in LAYER_OPTIONS.items() if option not in WITHOUT.get(name, ())}
    listed = {option: parameters[option].default for option in LAYER_OPTIONS if option in parameters}
    assert listed == expected
    assert not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    assert list(LAYER_OPTIONS) == list(LayerOptions.__annotations__)


@for_each("name", CALLS)
def test_words_of_other_libraries_are_answered(name: str) -> None:
    answers = {
        "strides": "called 'stride' here",
        "dilation_rate": "called 'dilation' here",
        "padding_mode": "called 'boundary' here",
        "pad": "called 'padding' here",
        "mode": "'padding' here.*'boundary'",
        "paddding": "did you mean 'padding'",
        "boundry": "did you mean 'boundary'",
        "kernel_size": "'kernel_shape'" if name in ("ConvGeometry", "unfold_matrix") else "shape of the kernel",
        "xyzzy": "the arguments are .*stride, dilation, padding, boundary",
    }
    for word, answer in answers.items():
        with pytest.raises(TypeError, match=rf"^{name}\(\) has no argument '{word}'.*{answer}"):
            CALLS[name](**{word: 2})


def test_an_option_that_a_function_lacks_is_refused() -> None:
    for name, options in WITHOUT.items():
        for option in options:
            with pytest.raises(TypeError, match=rf"^{name}\(\) has no argument '{option}'"):
                CALLS[name](**{option: LAYER_OPTIONS[option].default})


@for_each(
    ("option", "word", "ours"),
    [
        *(("boundary", word, "symmetric") for word in ("reflexive", "Neumann", "symm", "grid-mirror")),
        *(("boundary", word, "zero") for word in ("dirichlet", "zeros", "constant", "ZERO")),
        *(("boundary", word, "circular") for word in ("periodic", "wrap", "cyclic", "circlar")),
        *(("boundary", word, "replicate") for word in ("edge", "nearest")),
        *(("boundary", word, "reflect") for word in ("mirror", "reflct")),
        *(("padding", word, "same") for word in ("SAME", "SAME_UPPER", "half", "sam")),
        ("padding", "SAME_LOWER", "same_lower"),
        ("padding", "VALID", "valid"),
        ("padding", "reflexive", "boundary='symmetric'"),
        ("padding", "circular", "boundary='circular'"),
        ("padding", "causal", "(dilation * (taps - 1), 0)"),
        ("sharing", "untied", "unshared"),
        ("sharing", "Shared", "shared"),
    ],
)
def test_values_of_other_libraries_are_answered(option: str, word: str, ours: str) -> None:
    for name in ("ConvGeometry", "conv_matrix", "ConvOperator"):
        with pytest.raises(ValueError, match=option) as refusal:
            CALLS[name](**{option: word})
        answers = (ours,) if " " in ours or "=" in ours else (f"called {ours!r} here", f"did you mean {ours!r}?")
        assert any(answer in str(refusal.value) for answer in answers), str(refusal.value)


def test_unknown_words_without_a_match_have_no_hint() -> None:
    with pytest.raises(ValueError, match=r"boundary 'xyzzy' is unknown; choose one of .*antisymmetric$"):
        cm.ConvGeometry(6, 3, boundary="xyzzy")


@for_each("name", [name for name, geometry in CASES.items() if geometry.in_channels * geometry.out_channels == 1])
def test_kernels_of_one_channel_need_no_channel_axes(name: str) -> None:
    geometry = CASES[name]
    weights = integer_weights(geometry)
    tile = () if geometry.sharing == "shared" else geometry.tile
    short = weights.reshape(*tile, *geometry.kernel_shape)
    expected = cm.conv_matrix(weights, geometry).toarray()
    np.testing.assert_array_equal(cm.conv_matrix(short, geometry).toarray(), expected)
    np.testing.assert_array_equal(geometry.pattern().matrix(short).toarray(), expected)
    options = geometry.options()
    np.testing.assert_array_equal(cm.conv_matrix(short, geometry.input_shape, **options).toarray(), expected)
    x = np.arange(geometry.n_in)
    np.testing.assert_array_equal(cm.ConvOperator(short, geometry.input_shape, **options) @ x, expected @ x)


@for_each("name", CASES)
def test_layers_are_described_by_their_weights_and_options(name: str) -> None:
    """Every layer of the table comes back from the shapes of its weights and of its input, with its options."""
    geometry = CASES[name]
    options = {k: v for k, v in geometry.options().items() if k not in ("in_channels", "out_channels")}
    shape = (geometry.in_channels, *geometry.input_shape)
    weights = integer_weights(geometry)
    expected = cm.conv_matrix(weights, geometry).toarray()
    np.testing.assert_array_equal(cm.conv_matrix(weights, shape, **options).toarray(), expected)
    if geometry.transposed:
        del options["transposed"]
        np.testing.assert_array_equal(cm.conv_transpose_matrix(weights, shape, **options).toarray(), expected)


def test_a_full_kernel_with_a_connection_table() -> None:
    kernel = np.arange(1, 9).reshape(2, 2, 2)
    table = [[1, 1], [1, 0]]
    A = cm.conv_matrix(kernel, (2, 5), connections=table)
    np.testing.assert_array_equal(
        A.toarray(), cm.conv_matrix(kernel[[0, 0, 1], [0, 1, 0]], (2, 5), connections=table).toarray()
    )
    with pytest.raises(ValueError, match=r"connections has shape \(2, 2\).*input_shape=\(3, 5\)"):
        cm.conv_matrix(kernel, (3, 5), connections=table)
    with pytest.raises(ValueError, match=r"kernel has 1 axis \(shape \(2,\)\).*input_shape=\(2, 5\).*2"):
        cm.conv_matrix([1, 2], (2, 5), connections=table)


def test_a_tiled_kernel_that_could_be_one_channel_or_several() -> None:
    kernel = np.ones((2, 2, 2, 2))  # one channel, 2 x 2 tiles of 2 x 2; or 2 tiles of (2, 2, 2) and... two channels
    assert cm.conv_matrix(kernel, (5, 5), sharing=2).shape == (16, 25)
    ambiguous = np.ones((2, 2, 2, 2))
    assert cm.conv_matrix(ambiguous, (2, 5), sharing=(2, 2)).shape == (4, 10)
    assert cm.conv_matrix(np.ones((2, 3, 2, 2)), (2, 5), sharing=2).shape == (12, 10)
    with pytest.raises(ValueError, match=r"\(2, 3\).*input_shape=\(6,\)|tiles"):
        cm.conv_matrix(np.ones((3, 2)), 6, sharing=2)
    with pytest.raises(ValueError, match=r"shape \(2, 2, 2, 2, 2\) on input_shape=\(5, 5\) with sharing=2"):
        cm.conv_matrix(np.ones((2, 2, 2, 2, 2)), (5, 5), sharing=2)


def test_public_names_are_all_that_a_room_shows() -> None:
    assert dir(cm) == sorted(cm.__all__)
    for name in cm.__all__:
        room = getattr(cm, name)
        if inspect.ismodule(room) and hasattr(room, "__path__"):
            assert dir(room) == sorted(room.__all__), name


@pytest.mark.parametrize(
    ("kernel", "shape", "error", "words"),
    [
        ("sobel", 5, TypeError, "'sobel'"),
        (None, 5, TypeError, "NoneType"),
        (sparse.eye_array(3), 5, TypeError, "recover_kernel"),
        (cm.ConvGeometry(5, 3), 5, TypeError, "ConvGeometry.*first argument"),
        ((5, 5), np.ones((3, 3)), TypeError, r"input_shape.*\(3, 3\).*swapped"),
        ([1.0], "5x6", TypeError, r"give \(5, 6\)"),
        ([1.0], "five", TypeError, "'five'"),
        (np.ones((1, 3, 3)), (5, 5), ValueError, r"kernel\[0\].*\(1, 5, 5\).*\(1, 1, 3, 3\)"),
        ({1, 2}, 5, TypeError, "array of numbers.* a set"),
        ({1: 2}, 5, TypeError, "array of numbers.* a dict"),
        (iter([1.0]), 5, TypeError, "array of numbers.* list_iterator"),
    ],
)
def test_what_is_given_in_place_of_a_kernel_or_a_shape(kernel: Any, shape: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        cm.conv_matrix(kernel, shape)


def test_torch_layers_are_no_kernels() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"Conv2d.*from_torch"):
        cm.conv_matrix(torch.nn.Conv2d(1, 1, 3), (5, 5))


WRONG_VALUES: dict[str, tuple[type[Exception], str, Callable[[], object]]] = {
    "ragged connections": (
        ValueError,
        "connections",
        lambda: cm.ConvGeometry(4, 2, in_channels=2, out_channels=2, connections=[[1, 2], [3]]),  # type: ignore[list-item]
    ),
    "ragged column": (ValueError, "column", lambda: cm.toeplitz([[1, 2], [3]])),
    "words as a column": (ValueError, "column", lambda: cm.toeplitz(["a"])),
    "ragged coefficients": (ValueError, "coefficients", lambda: cm.doubly_block_circulant([[1, 2], [3]])),
    "ragged matrix": (ValueError, "A is", lambda: cm.is_circulant([[1, 2], [3]])),
    "ragged footprint": (ValueError, "footprint", lambda: cm.conv_matrix([1, 2], 4, footprint=[[1, 2], [3]])),
    "array as an order": (ValueError, "order", lambda: cm.conv_matrix([1, 2], 4, order=np.ones((2, 2)))),  # type: ignore[arg-type]
    "array as a format": (ValueError, "format", lambda: cm.conv_matrix([1, 2], 4, format=np.zeros(0))),  # type: ignore[call-overload]
    "array as a method": (ValueError, "method", lambda: cm.ConvOperator([1, 2], 4, method=np.zeros(0))),  # type: ignore[arg-type]
    "word as a dtype": (TypeError, "dtype 'abc'", lambda: cm.unfold_matrix(4, 2, dtype="abc")),
    "number as channels": (
        TypeError,
        "channels",
        lambda: cm.is_doubly_block_circulant(np.eye(4), (2, 2), channels=None),
    ),  # type: ignore[arg-type]
    "word as a tolerance": (TypeError, "tol", lambda: cm.spectral.norm_bounds([1, 2], 4, tol="abc")),  # type: ignore[arg-type]
    "matrix as a tolerance": (TypeError, "tol", lambda: cm.is_circulant(np.eye(3), tol=np.eye(3))),  # type: ignore[arg-type]
    "no bound": (TypeError, "bound", lambda: cm.spectral.project_norm([1, 2], 4, bound=None)),  # type: ignore[arg-type]
    "shape as a geometry": (TypeError, "ConvGeometry", lambda: cm.estimate((4, 4))),  # type: ignore[arg-type]
    "shape as a node's geometry": (TypeError, "geometry", lambda: Convolution((4, 4))),  # type: ignore[arg-type]
    "ragged data": (ValueError, "y is", lambda: cm.solve.deconvolve([[1, 2], [3]], [1, 2], 4)),
    "ragged box": (
        ValueError,
        "lower is",
        lambda: cm.constraints.encode(cm.Network([Input((2,)), Elementwise("relu")]), [[1, 2], [3]], 1),
    ),
    "dtype of counts": (TypeError, "dtype 'abc'", lambda: cm.counts.network_counts("lenet5", dtype="abc")),
    "no path": (TypeError, "path", lambda: cm.io.load(None)),  # type: ignore[arg-type]
    "number as nodes": (TypeError, "nodes", lambda: cm.Network(3)),  # type: ignore[arg-type]
}


@for_each("name", WRONG_VALUES)
def test_wrong_values_are_named(name: str) -> None:
    error, parameter, call = WRONG_VALUES[name]
    with pytest.raises(error, match=parameter):
        call()


RING = cm.ConvGeometry((4, 4), (3, 3), padding="same", boundary="circular")
WRONG: list[tuple[Callable[[Any], Any], type[Exception], str]] = [
    (lambda word: network.Pooling(word), ValueError, "method"),
    (lambda word: network.Reduction(word, (1,)), ValueError, "method"),
    (lambda word: network.Extremum(word), ValueError, "method"),
    (lambda word: network.Resize((2, 2), word), ValueError, "mode"),
    (lambda word: network.Elementwise(word), TypeError, "name"),
    (lambda word: solve.circulant_preconditioner(np.ones((3, 3)), RING, kind=word), ValueError, "kind"),
    (lambda word: solve.deconvolve(np.ones((4, 4)), np.ones((3, 3)), RING, method=word), ValueError, "method"),
    (lambda word: cm.io.to_latex([[1]], environment=word), ValueError, "environment"),
    (lambda word: cm.counts.layer_counts(RING, word), ValueError, "bias"),
    (lambda word: cm.ConvGeometry(4, 3, boundary=[word]), ValueError, "boundary"),
    (lambda word: equivariance.tied_taps(3, word), ValueError, "group"),
    (lambda pattern: equivariance.symmetries(pattern), TypeError, "pattern"),
    (lambda pattern: equivariance.tie(pattern, [0]), TypeError, "pattern"),
    (lambda pattern: equivariance.tied_pattern(pattern), TypeError, "geometry"),
    (lambda pattern: equivariance.check(pattern, [0], [0]), TypeError, "pattern"),
    (lambda pattern: cm.graph.automorphisms(pattern), TypeError, "pattern"),
    (lambda given: cm.counts.node_counts(given), TypeError, "node"),
]


@pytest.mark.parametrize("value", [np.arange(3), 7], ids=["array", "number"])
def test_what_is_given_in_place_of_a_word_or_a_pattern(value: Any) -> None:
    """Arrays compare entry by entry, so that ``in`` would raise an error that names nothing."""
    for call, error, name in WRONG:
        with pytest.raises(error, match=rf"^{name}\b.*({re.escape(repr(value))}|shape .3,.)"):
            call(value)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: network.FullyConnected(2, 1, "abc"), TypeError, "weight .*'abc'"),
        (lambda: network.FullyConnected(2, 1, bias="abc"), TypeError, "bias .*'abc'"),
        (lambda: network.Normalisation(epsilon=None), TypeError, "epsilon .*None"),
        (lambda: network.interval_bounds("x", -1, 1), ValueError, "network 'x'.*lenet5"),
        (lambda: cm.WeightPattern(3, 4, 5, 6, 7), TypeError, "row_starts .*5.*from_triplets"),
        (lambda: cm.WeightPattern.from_triplets((2, 2), [[0], [0, 1]], [0], [0], 1), ValueError, "^rows "),
        (lambda: equivariance.channel_permutation([[1, 2], [3]], 3), ValueError, "^order "),
        (lambda: equivariance.check(RING.pattern(), [[1, 2], [3]], [0]), ValueError, "^output_permutation "),
        (lambda: structured.displacement_rank(np.eye(3), tol="abc"), TypeError, "tol .*'abc'"),
        (lambda: cm.shift_matrix(3, 10**30, "reflect"), ValueError, f"shift={10**30} .*'reflect'.*62"),
        (
            lambda: cm.counts.node_counts(network.Node("d", network.FullyConnected(3, 2))),
            ValueError,
            "'d'.*input shape",
        ),
    ],
)
def test_values_that_used_to_fail_inside(call: Callable[[], Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()


def test_cyclic_shifts_of_any_size() -> None:
    amount = 10**30 + 1
    shifted = cm.shift_matrix((3, 4), (amount, -amount)) @ np.arange(12)
    assert np.array_equal(shifted, np.roll(np.arange(12).reshape(3, 4), (amount % 3, -amount % 4), (0, 1)).ravel())


def test_kernels_with_all_channels_and_groups() -> None:
    """A kernel of one axis with all channels looks like one with channels last."""
    for shape in ((4, 4, 3), (4, 4, 3, 3)):
        with pytest.raises(ValueError, match=r"groups=2.*input has 4.*one group only.* or omit groups"):
            cm.conv_matrix(np.ones(shape), (4, 9, 9)[: len(shape) - 1], groups=2)


def test_kernels_that_a_floating_point_type_does_not_hold() -> None:
    for call in (cm.conv_matrix, cm.ConvOperator):
        for kernel, dtype in (([1e300, 1], "f4"), ([1e300j, 1], "F"), ([-1e39, 1], np.float32)):
            with pytest.raises(TypeError, match=r"dtype=(float32|complex64) does not hold; .* wider"):
                call(kernel, 4, dtype=dtype)
    assert np.isinf(cm.conv_matrix([np.inf, 1.0], 4, dtype="f4").data).sum() == 3


def test_one_axis_is_singular() -> None:
    with pytest.raises(ValueError, match=r"stride has 2 entries .* there is 1 spatial axis; give"):
        cm.conv_matrix([1.0], 4, stride=(1, 2))
