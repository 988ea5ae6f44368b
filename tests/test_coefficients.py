"""Fixed coefficients in T: layers with signed boundaries, patterns from triplets, and linear layers without weights."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest

import convmatrix as cm
from convmatrix import network
from convmatrix.boundary import PLAIN, SIGNED
from convmatrix.network import Convolution, Network, Pooling, Resize
from tests import reference
from tests.cases import CASES, for_each, integer_weights
from tests.random_signed import differences, main, signed_layer

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SIGNED_CASES: Final = {name: g for name, g in CASES.items() if set(g.boundary).intersection(SIGNED)}
each_signed_case = for_each("geometry", SIGNED_CASES.values(), ids=SIGNED_CASES.keys())


# --- layers -----------------------------------------------------------------------------------------------------------


def test_the_campaign_finds_no_difference(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--count", "12", "--seed", "5"]) == 0
    assert "12 layers" in capsys.readouterr().out


def test_the_campaign_finds_a_wrong_coefficient(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(size: int, low: int, high: int, length: int) -> NDArray[np.int64]:
        return 1 - 2 * (np.arange(-low, size + high) // (length + 1) % 2)

    monkeypatch.setattr("convmatrix._products.padding._signs", wrong)
    geometry = cm.ConvGeometry(3, 2, padding=4, boundary="antisymmetric")
    assert {"operator", "transposed operator"} <= set(differences(geometry, np.random.default_rng(0)))


@each_signed_case
def test_all_representations_of_a_layer_agree(geometry: cm.ConvGeometry) -> None:
    cm.testing.check_layer(geometry)


@for_each("n", [2, 3, 4, 11])
def test_the_central_difference_is_numpy_gradient(n: int) -> None:
    gradient = cm.conv_matrix([-0.5, 0, 0.5], n, padding="same", boundary="antireflect")
    x = np.random.default_rng(n).integers(-99, 99, n)
    np.testing.assert_array_equal(gradient @ x, np.gradient(x.astype(float)))
    along = cm.conv_matrix([[-0.5], [0], [0.5]], (n, 3), padding="same", boundary="antireflect")
    image = np.random.default_rng(n).integers(-99, 99, (n, 3))
    np.testing.assert_array_equal((along @ image.ravel()).reshape(n, 3), np.gradient(image.astype(float), axis=0))


def test_a_straight_line_passes_a_smoothing_filter_unchanged() -> None:
    A = cm.conv_matrix([1, 2, 3, 2, 1], 7, padding="same", boundary="antireflect")
    assert (A @ np.arange(7)).tolist() == [9 * i for i in range(7)]


@for_each("boundary", SIGNED)
def test_structure_and_size_do_not_depend_on_values(boundary: Any) -> None:
    geometry = cm.ConvGeometry((5, 4), (3, 3), padding=6, boundary=boundary, in_channels=2)
    zero = cm.conv_matrix(np.zeros(geometry.weight_shape), geometry)
    assert zero.nnz == cm.estimate(geometry).nonzeros == reference.structure(geometry).sum()
    assert zero.nnz == cm.counts.layer_counts(geometry).nonzeros
    pattern = geometry.pattern()
    assert cm.counts.layer_counts(geometry).connections_inside == pattern.n_entries
    assert cm.counts.layer_counts(geometry).weights == 18


@for_each("boundary", SIGNED)
def test_unsigned_numbers_are_refused(boundary: Any) -> None:
    geometry = cm.ConvGeometry(4, 3, padding=1, boundary=boundary)
    kernel = np.array([1, 2, 3], dtype=np.uint8)
    for build in (lambda: cm.conv_matrix(kernel, geometry), lambda: cm.ConvOperator(kernel, geometry)):
        with pytest.raises(TypeError, match=rf"uint8.*{boundary}.*subtracts"):
            build()
    with pytest.raises(TypeError, match=r"negative coefficients.*uint8"):
        geometry.pattern().jacobian(np.arange(4, dtype=np.uint8))
    with pytest.raises(TypeError, match=r"dtype=uint8.*negative"):
        geometry.unfold_matrix(dtype=np.uint8)
    with pytest.raises(TypeError, match=r"dtype=bool.*negative"):
        cm.shift_matrix(4, 1, boundary, dtype=bool)
    image = np.arange(4, dtype=np.uint8)
    expected = cm.conv_matrix([1, 2, 3], geometry) @ image.astype(int)
    assert (cm.ConvOperator([1, 2, 3], geometry) @ image).tolist() == expected.tolist()


@for_each(
    ("word", "meant"),
    [("antireflective", "antireflect"), ("odd reflect", "antireflect"), ("anti-symmetric", "antisymmetric")],
)
def test_words_of_other_fields(word: str, meant: str) -> None:
    with pytest.raises(ValueError, match=rf"'{word}' is called '{meant}' here"):
        cm.ConvGeometry(4, 3, boundary=word)
    with pytest.raises(ValueError, match=r"did you mean 'antireflect'"):
        cm.ConvGeometry(4, 3, boundary="antireflct")


@each_signed_case
def test_a_network_evaluates_and_linearises_the_layer(geometry: cm.ConvGeometry) -> None:
    weights = integer_weights(geometry).astype(float)
    shape = (geometry.in_channels, *geometry.input_shape)
    net = Network([Convolution(geometry, weights)])
    x = np.random.default_rng(3).integers(-9, 10, shape).astype(float)
    A = cm.conv_matrix(weights, geometry)
    np.testing.assert_allclose(net(x[None])[0].ravel(), A @ x.ravel(), rtol=0, atol=1e-10)
    assert (net.affine(net.nodes[-1].name)[0] != A).nnz == 0
    J = net.linearise(x).operator
    np.testing.assert_allclose(J @ np.eye(geometry.n_in), A.toarray(), rtol=0, atol=1e-10)
    np.testing.assert_allclose(J.T @ np.eye(geometry.n_out), A.toarray().T, rtol=0, atol=1e-10)
    rows = net.linearise(x).rows(1, geometry.n_out)
    np.testing.assert_allclose(rows.toarray(), A[1:].toarray(), rtol=0, atol=1e-10)
    first = np.zeros((geometry.out_channels, *geometry.output_shape), dtype=bool)
    first.flat[0] = True
    (read,) = net.nodes[-1].operation.reads(first, [shape])
    assert (read.ravel() >= reference.structure(geometry)[0]).all()


@for_each("boundary", SIGNED)
def test_gathered_windows_are_extended_by_sign(boundary: Any) -> None:
    geometry = cm.ConvGeometry(
        (4, 3), (3, 2), in_channels=4, out_channels=5, padding=[(5, 2), (1, 9)], boundary=boundary
    )
    weights = np.random.default_rng(1).integers(-9, 10, geometry.weight_shape).astype(float)
    net = Network([Convolution(geometry, weights)])
    x = np.random.default_rng(2).integers(-9, 10, (3, 4, 4, 3)).astype(float)
    A = cm.conv_matrix(weights, geometry)
    np.testing.assert_array_equal(net(x).reshape(3, -1), x.reshape(3, -1) @ A.T)
    J = net.linearise(x[0]).operator
    np.testing.assert_array_equal(J.T @ np.eye(geometry.n_out)[:, 7], A.toarray()[7])


@for_each("boundary", SIGNED)
def test_operations_that_copy_samples_refuse_signed_boundaries(boundary: Any) -> None:
    with pytest.raises(ValueError, match=rf"boundary='{boundary}'.*coefficients"):
        network.pad([(0, 0), (1, 1)], boundary)
    with pytest.raises(ValueError, match=rf"boundary='{boundary}'.*coefficients"):
        Pooling("average", 2, padding=1, boundary=boundary)


# --- patterns from triplets -------------------------------------------------------------------------------------------


def some_pattern(coefficients: Any = (2, -1, 3, 1, 5, -2)) -> cm.WeightPattern:
    """Return a pattern in which weights share entries, and one triplet occurs twice."""
    rows, cols, weights = [2, 0, 0, 1, 2, 0], [1, 2, 0, 1, 1, 2], [1, 0, 2, 1, 0, 0]
    return cm.WeightPattern.from_triplets((3, 3), rows, cols, weights, 3, coefficients=coefficients)


def tensor(pattern: cm.WeightPattern) -> NDArray[Any]:
    """Return T as a dense array, (n_out, n_in, n_weights)."""
    factors = np.ones(pattern.n_entries) if pattern.coefficients is None else pattern.coefficients
    T = np.zeros((*pattern.shape, pattern.n_weights))
    np.add.at(T, (pattern.rows, pattern.cols, pattern.weight_index), factors)
    return T


@for_each("coefficients", [(2, -1, 3, 1, 5, -2), (0.5, -1.25, 3, 0, 2, 0.125)], ids=str)
def test_contractions_are_those_of_the_tensor(coefficients: Any) -> None:
    pattern = some_pattern(coefficients)
    T = np.zeros((3, 3, 3))
    np.add.at(T, ([2, 0, 0, 1, 2, 0], [1, 2, 0, 1, 1, 2], [1, 0, 2, 1, 0, 0]), coefficients)
    np.testing.assert_array_equal(tensor(pattern), T)
    rng = np.random.default_rng(0)
    w, x, g = rng.integers(-9, 10, (3, 3))
    np.testing.assert_array_equal(pattern.matrix(w).toarray(), T @ w)
    np.testing.assert_array_equal(pattern.values(w), pattern.matrix(w).data)
    np.testing.assert_array_equal(pattern.jacobian(x).toarray(), np.einsum("ijk,j->ik", T, x))
    np.testing.assert_array_equal(pattern.weight_gradient(x, g), np.einsum("ijk,j,i->k", T, x, g))
    X, G = rng.standard_normal((2, 3, 4))
    np.testing.assert_allclose(pattern.weight_gradient(X, G), np.einsum("ijk,jb,ib->k", T, X, G), rtol=1e-13)
    for k in range(3):
        np.testing.assert_array_equal(pattern.tap(k).toarray(), T[:, :, k])
    separated = pattern.separated
    assert separated.pattern.coefficients is None
    again = cm.WeightPattern.from_triplets(
        (3, 3),
        separated.pattern.rows,
        separated.pattern.cols,
        separated.weights[separated.pattern.weight_index],
        3,
        coefficients=separated.factors[separated.pattern.weight_index],
    )
    np.testing.assert_array_equal(tensor(again), T)


@for_each(
    ("weights", "coefficients", "expected"),
    [
        (np.int32, np.int8, np.int32),
        (np.float32, np.int64, np.float32),
        (np.float32, np.float64, np.float32),
        (np.int64, np.float32, np.float64),
        (np.complex64, np.int64, np.complex64),
        (np.uint16, np.uint8, np.uint16),
    ],
    ids=str,
)
def test_dtypes(weights: Any, coefficients: Any, expected: Any) -> None:
    pattern = some_pattern(np.array([2, 1, 3, 1, 5, 2], dtype=coefficients))
    assert pattern.matrix(np.array([1, 2, 3], dtype=weights)).dtype == expected
    assert pattern.jacobian(np.array([1, 2, 3], dtype=weights)).dtype == expected


def test_coefficients_of_one_are_none_and_copies_keep_the_others() -> None:
    assert some_pattern([1] * 6).coefficients is None
    assert some_pattern(None).coefficients is None
    pattern = some_pattern()
    for other in (copy.copy(pattern), copy.deepcopy(pattern), pickle.loads(pickle.dumps(pattern))):
        assert other.coefficients.tolist() == pattern.coefficients.tolist()  # type: ignore[union-attr]
        with pytest.raises(ValueError, match="read-only"):
            other.coefficients[0] = 9  # type: ignore[index]
    state, names = pattern.__getstate__()
    del state["coefficients"]  # as in a file of a version without coefficients
    old = object.__new__(cm.WeightPattern)
    old.__setstate__((state, [name for name in names if name != "coefficients"]))
    assert old.coefficients is None


@for_each(
    ("coefficients", "error", "message"),
    [
        ([1, 2], ValueError, r"coefficients have shape \(2,\).*6 triplets"),
        ([1, 2, 3, 4, 5, np.nan], ValueError, r"finite, but 1"),
        ([1j] * 6, TypeError, r"real numbers.*complex128"),
        (np.full(6, 2**63, dtype=np.uint64), ValueError, r"9223372036854775808.*int64"),
    ],
    ids=str,
)
def test_invalid_coefficients_are_refused(coefficients: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        some_pattern(coefficients)
    p = some_pattern()
    with pytest.raises(error, match=message):
        cm.WeightPattern(p.shape, p.weight_shape, p.row_starts, p.cols, p.weight_index, None, np.asarray(coefficients))


def test_a_wrong_permutation_of_coefficients_breaks_a_symmetry() -> None:
    """T keeps its places and weights under the swap of both axes, but not its coefficients."""
    swap = [1, 0]
    same = cm.WeightPattern.from_triplets((2, 2), [0, 1], [0, 1], [0, 0], 1, coefficients=[2, 2])
    other = cm.WeightPattern.from_triplets((2, 2), [0, 1], [0, 1], [0, 0], 1, coefficients=[2, -2])
    assert len(list(cm.graph.automorphisms(same))) == 2
    assert len(list(cm.graph.automorphisms(other))) == 1
    cm.testing.assert_equivariant(same.matrix([1]), swap, swap)


def test_graphs_and_pictures_show_coefficients() -> None:
    geometry = cm.ConvGeometry(3, 3, padding="same", boundary="antireflect")
    graph = cm.graph.to_networkx(geometry)
    found = {(i, j, data["weight_index"], data["coefficient"]) for (_, j), (_, i), data in graph.edges(data=True)}
    assert found == set(reference.triplets(geometry))
    html = cm.display.pattern_html(geometry.pattern())
    assert "2w0+w1" in html
    assert html.count("-w0+w2") == cm.display.geometry_html(geometry).count("-w0+w2") == 2
    text = cm.display.matrix_text(cm.conv_matrix([1, 2, 4], geometry), geometry, names=True)
    assert "2w0+w1" in text.splitlines()[0]
    assert "* weights times coefficients" in cm.display.matrix_text(cm.conv_matrix([1, 2, 4], geometry), geometry)


# --- linear layers without weights ------------------------------------------------------------------------------------


@for_each("include", [True, False])
@for_each("boundary", ["zero", "reflect"])
def test_average_pooling_as_a_pattern(include: bool, boundary: Any) -> None:
    pooling = Pooling("average", (3, 2), 2, padding=1, count_include_pad=include, boundary=boundary)
    pattern = network.fixed_pattern(pooling, (2, 5, 6))
    assert pattern.weight_shape == (2,)
    expected = pooling.affine([(2, 5, 6)])[0]
    np.testing.assert_array_equal(pattern.matrix(np.ones(2)).toarray(), expected.toarray())
    scaled = pattern.matrix([1.0, 10.0]).toarray()
    half = len(scaled) // 2
    np.testing.assert_array_equal(scaled[half:], 10 * expected.toarray()[half:])
    if boundary == "zero":
        functional = pytest.importorskip("torch").nn.functional
        torch = pytest.importorskip("torch")
        x = np.random.default_rng(0).standard_normal((2, 5, 6))
        theirs = functional.avg_pool2d(torch.tensor(x)[None], (3, 2), 2, 1, count_include_pad=include)[0].numpy()
        np.testing.assert_allclose(pattern.matrix(np.ones(2)) @ x.ravel(), theirs.ravel(), rtol=0, atol=1e-15)


@for_each("corners", [True, False])
@for_each(("mode", "torch_mode"), [("linear", "bilinear"), ("cubic", "bicubic")])
@for_each("sizes", [(7, 9), (3, 4), (1, 2), (5, 4)], ids=str)
def test_resizing_as_a_pattern_is_that_of_torch(corners: bool, mode: Any, torch_mode: str, sizes: Any) -> None:
    torch = pytest.importorskip("torch")
    coordinates: Any = "align_corners" if corners else "half_pixel"
    pattern = network.resize_pattern((2, 5, 4), sizes, mode, coordinates)
    x = np.random.default_rng(1).standard_normal((2, 5, 4))
    interpolate = torch.nn.functional.interpolate
    theirs = interpolate(torch.tensor(x)[None], sizes, mode=torch_mode, align_corners=corners)[0].numpy()
    np.testing.assert_allclose(pattern.matrix(np.ones(2)) @ x.ravel(), theirs.ravel(), rtol=0, atol=1e-14)
    if mode == "linear":
        expected = Resize(sizes, mode, coordinates).affine([(2, 5, 4)])[0]
        np.testing.assert_array_equal(pattern.matrix(np.ones(2)).toarray(), expected.toarray())


@for_each("boundary", ["reflect", "zero", "antireflect"])
@for_each("taps", [(1, 1), (1, 2, 1), (1, 4, 6, 4, 1)], ids=str)
def test_blur_pooling_is_a_filter_and_a_step(boundary: Any, taps: Any) -> None:
    pattern = network.blur_pooling_pattern((2, 6, 7), taps, stride=(2, 3), boundary=boundary)
    x = np.random.default_rng(2).standard_normal((2, 6, 7))
    line, padded = np.array(taps) / sum(taps), x
    for axis in (1, 2):
        padded = reference.pad_axis(padded, axis, ((len(taps) - 1) // 2, len(taps) // 2), boundary)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (len(taps), len(taps)), (1, 2))[:, ::2, ::3]
    expected = np.einsum("cyxij,i,j->cyx", windows, line, line)
    np.testing.assert_allclose(pattern.matrix(np.ones(2)) @ x.ravel(), expected.ravel(), rtol=0, atol=1e-14)
    assert pattern.weight_shape == (2,)


def test_what_has_no_fixed_pattern_is_refused() -> None:
    with pytest.raises(ValueError, match=r"pooling.*not linear"):
        network.fixed_pattern(Pooling("max", 2), (1, 4))
    biased = Pooling("average", 2, trained=True, coefficient=np.ones(1), bias=np.ones(1))
    with pytest.raises(ValueError, match=r"has a bias"):
        network.fixed_pattern(biased, (1, 4))
    with pytest.raises(ValueError, match=r"taps must be.*\(1, -1\)"):
        network.blur_pooling_pattern((1, 4), (1, -1))
    with pytest.raises(ValueError, match=r"coordinates 'corner' is unknown"):
        network.resize_pattern((1, 4), 8, "cubic", "corner")  # type: ignore[arg-type]


def test_a_pattern_with_coefficients_is_a_layer_of_a_network() -> None:
    pattern = network.resize_pattern((1, 3, 3), (5, 4), "cubic")
    layer = cm.nn.PatternLayer(pattern, (1, 3, 3), (1, 5, 4), dtype=np.float64)
    layer.parameters["weight"][...] = 2
    x = np.random.default_rng(3).standard_normal((2, 1, 3, 3))
    A = pattern.matrix([2.0]).toarray()
    np.testing.assert_allclose(layer.forward(x).reshape(2, -1), x.reshape(2, -1) @ A.T, rtol=0, atol=1e-14)
    g = np.random.default_rng(4).standard_normal((2, 1, 5, 4))
    np.testing.assert_allclose(layer.backward(g).reshape(2, -1), g.reshape(2, -1) @ A, rtol=0, atol=1e-14)
    expected = np.einsum("bi,ij,bj->", g.reshape(2, -1), A / 2, x.reshape(2, -1))
    np.testing.assert_allclose(layer.gradients["weight"], [expected], rtol=1e-13)


@for_each("boundary", PLAIN)
def test_plain_boundaries_have_no_coefficients(boundary: Any) -> None:
    assert cm.ConvGeometry((5, 4), (3, 3), padding=4, boundary=boundary).pattern().coefficients is None


def test_a_signed_layer_without_padding_has_no_coefficients() -> None:
    pattern = cm.ConvGeometry((5, 4), (3, 3), boundary="antireflect").pattern()
    plain = cm.ConvGeometry((5, 4), (3, 3)).pattern()
    assert pattern.coefficients is None
    assert pattern.cols.tolist() == plain.cols.tolist()


def test_random_layers_have_signed_boundaries_on_padded_axes() -> None:
    geometry = signed_layer(np.random.default_rng(0))
    pairs = zip(geometry.boundary, geometry.padding, strict=True)
    assert any(boundary in SIGNED and any(amount) for boundary, amount in pairs)


@for_each("boundary", SIGNED)
def test_tiles_do_not_follow_signed_boundaries(boundary: Any) -> None:
    weights = np.ones((1, 1, 3, 3))
    padded = Network([Convolution(cm.ConvGeometry((16, 16), (3, 3), padding=1, boundary=boundary), weights)])
    plan = cm.tiling.plan(padded)
    assert not plan.exact
    assert f"boundary '{boundary}' reads samples with coefficients" in plan.reasons[0]
    assert cm.tiling.plan(Network([Convolution(cm.ConvGeometry((16, 16), (3, 3), boundary=boundary), weights)])).exact


@for_each("boundary", SIGNED)
def test_files_keep_the_layer(boundary: Any, tmp_path: Path) -> None:
    geometry = cm.ConvGeometry((4, 3), (2, 3), padding=[(1, 5), 4], boundary=(boundary, "circular"), in_channels=2)
    A = cm.conv_matrix(np.random.default_rng(0).standard_normal(geometry.weight_shape), geometry)
    for name in ("layer.npz", "layer.mtx", "layer.mat"):
        cm.io.save(tmp_path / name, A, geometry=geometry)
        loaded, found = cm.io.load(tmp_path / name)
        assert found == geometry
        assert (loaded != A).nnz == 0


def test_a_slab_of_a_channel_without_connections_is_empty() -> None:
    geometry = cm.ConvGeometry(4, 2, in_channels=2, out_channels=2, connections=[[True, False], [False, False]])
    A = cm.conv_matrix([[3, 5]], geometry)
    for start, stop in ((3, 4), (3, 6), (2, 5)):
        slab = cm.conv_matrix([[3, 5]], geometry, rows=(start, stop))
        assert slab.toarray().tolist() == A.toarray()[start:stop].tolist()
        assert cm.estimate(geometry, rows=(start, stop)).nonzeros == slab.nnz
