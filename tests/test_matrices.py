"""The calls that make matrices: what they take, in which order and format they give it, and what they refuse."""

from __future__ import annotations

import re
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest

import convmatrix as cm
from convmatrix._assembly import fill, rows
from convmatrix.matrices import slab_boxes, slab_columns
from tests import reference
from tests.cases import CASES, each_case, for_each, integer_input, integer_weights
from tests.refusals import refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

Geometry = cm.ConvGeometry

FORMATS: Final = ("csr", "csc", "coo", "dia", "bsr")
each_format = for_each("kind", FORMATS)


# --- examples that can be read off ------------------------------------------------------------------------------------


def test_the_3x3_image_and_the_2x2_filter() -> None:
    A = cm.conv_matrix([[1, 2], [3, 4]], (3, 3))
    assert A.shape == (4, 9)
    assert A.nnz == 16
    assert set(A.data.tolist()) == {1, 2, 3, 4}
    supports = [set(A.indices[start:stop].tolist()) for start, stop in zip(A.indptr, A.indptr[1:], strict=False)]
    assert supports == [{0, 1, 3, 4}, {1, 2, 4, 5}, {3, 4, 6, 7}, {4, 5, 7, 8}]


def test_goodfellow_edge_detection() -> None:
    """Figure 9.6 of Deep Learning: an image 320 wide and 280 high, each pixel less its left neighbour."""
    A = cm.conv_matrix([[-1, 1]], (280, 320))
    assert A.shape == (319 * 280, 320 * 280)
    assert A.nnz == 178_640
    image = np.random.default_rng(8).integers(0, 256, (280, 320))
    np.testing.assert_array_equal((A @ image.ravel()).reshape(280, 319), np.diff(image, axis=1))


def test_goodfellow_shared_tiled_and_unshared_weights() -> None:
    """Figure 9.16: five units of width 2 have 9 edges; 9 weights unshared, 4 tiled by two, 2 shared."""
    kinds: list[tuple[Any, int]] = [("unshared", 10), (2, 4), ("shared", 2)]
    for sharing, weights in kinds:
        pattern = Geometry(5, 2, sharing=sharing, padding=[(0, 1)]).pattern()
        assert (pattern.shape, pattern.n_entries, pattern.n_weights) == ((5, 5), 9, weights)
        used = len(set(pattern.weight_index.tolist()))
        assert used == min(weights, 9)  # the last tap of the last unit reads nothing


def test_three_by_three_same_taps_a_channel_pair() -> None:
    for n in (1, 2, 7, 16):
        assert cm.conv_matrix(np.ones((3, 3)), (n, n), padding="same").nnz == (3 * n - 2) ** 2


def test_toeplitz_and_circulant() -> None:
    from scipy import linalg

    for n, kernel in product((3, 6), ([4, 5], [1, 2, 3])):
        for mode in ("full", "same", "valid"):
            expected = linalg.convolution_matrix(kernel, n, mode)
            if mode == "same" and len(kernel) % 2 == 0:
                A = cm.conv_matrix(kernel, n, padding=[(1, 0)], flip=True)
            else:
                A = cm.conv_matrix(kernel, n, padding=mode, flip=True)
            np.testing.assert_array_equal(A.toarray(), expected)
        first_column = [kernel[0], *[0] * (n - len(kernel)), *kernel[:0:-1]]
        ring = cm.conv_matrix(kernel, n, padding=[(0, len(kernel) - 1)], boundary="circular")
        np.testing.assert_array_equal(ring.toarray(), linalg.circulant(first_column))


# --- what the kernel and the input may be -----------------------------------------------------------------------------


def test_options_are_those_of_the_geometry() -> None:
    kernel = np.arange(1, 25).reshape(2, 2, 2, 3)
    options: dict[str, Any] = {
        "stride": (1, 2),
        "dilation": (2, 1),
        "padding": [(1, 2), (0, 3)],
        "boundary": ("reflect", "circular"),
        "groups": 2,
        "flip": True,
    }
    geometry = Geometry((5, 6), (2, 3), in_channels=4, out_channels=2, **options)
    expected = reference.matrix(geometry, kernel)
    np.testing.assert_array_equal(cm.conv_matrix(kernel, (4, 5, 6), **options).toarray(), expected)
    np.testing.assert_array_equal(cm.conv_matrix(kernel.tolist(), [4, 5, 6], **options).toarray(), expected)
    np.testing.assert_array_equal(cm.conv_matrix(kernel, geometry).toarray(), expected)
    for name, value in options.items():
        if name != "groups":  # every option counts
            less = {key: option for key, option in options.items() if key != name}
            changed = cm.conv_matrix(kernel, (4, 5, 6), **less)
            assert changed.shape != expected.shape or (changed.toarray() != expected).any(), (name, value)


def test_transposed_options_are_those_of_the_geometry() -> None:
    kernel = np.arange(1, 25).reshape(4, 1, 2, 3)
    options: dict[str, Any] = {
        "stride": (2, 3),
        "dilation": (1, 2),
        "padding": [(1, 0), (0, 2)],
        "boundary": ("zero", "circular"),
        "groups": 2,
        "flip": True,
        "output_padding": (1, 2),
    }
    geometry = Geometry((3, 2), (2, 3), in_channels=4, out_channels=2, transposed=True, **options)
    expected = reference.matrix(geometry, kernel)
    np.testing.assert_array_equal(cm.conv_transpose_matrix(kernel, (4, 3, 2), **options).toarray(), expected)
    for make in (cm.conv_transpose_matrix, cm.conv_matrix):  # a geometry says by itself that it is transposed
        np.testing.assert_array_equal(make(kernel, geometry).toarray(), expected)


def test_one_axis_as_an_int() -> None:
    assert (cm.conv_matrix([1, 2], 4) != cm.conv_matrix([1, 2], (4,))).nnz == 0
    size: Any = np.int64(4)
    assert (cm.conv_matrix([1, 2], 4) != cm.conv_matrix([1, 2], size)).nnz == 0
    assert (cm.conv_transpose_matrix([1, 2], 4) != cm.conv_transpose_matrix([1, 2], [4])).nnz == 0


def test_one_channel_each_with_and_without_channel_axes() -> None:
    plain = cm.conv_matrix([[1, 2], [3, 4]], (3, 4))
    assert (cm.conv_matrix([[[[1, 2], [3, 4]]]], (1, 3, 4)) != plain).nnz == 0


def test_the_kernel_is_left_alone() -> None:
    kernel = np.array([1.0, 2.0, 3.0])
    A = cm.conv_matrix(kernel, 1, padding=1, boundary="circular")
    A.data[:] = 99
    A = cm.conv_matrix(kernel, 3)
    A.data[:] = 99
    assert kernel.tolist() == [1.0, 2.0, 3.0]
    kernel.flags.writeable = False
    assert cm.conv_matrix(kernel[::-1], 3).toarray().tolist() == [[3.0, 2.0, 1.0]]


def test_results_are_the_callers_to_change() -> None:
    for kind in FORMATS:
        A = cm.conv_matrix([1.0, 0.0, 2.0], 6, padding="same", format=kind)
        assert A.data.flags.writeable
        A *= 2
        if kind in ("csr", "csc", "bsr"):
            A.eliminate_zeros()
            assert A.nnz == 10
        np.testing.assert_array_equal(A.toarray(), 2 * cm.conv_matrix([1.0, 0.0, 2.0], 6, padding="same").toarray())


# --- dtypes -----------------------------------------------------------------------------------------------------------

KEPT: Final = ["int8", "uint8", "int16", "int32", "uint32", "int64", "uint64", "float32", "float64", "complex64"]


@for_each("dtype", [*KEPT, "complex128"])
@each_format
def test_the_dtype_of_the_kernel_is_kept(dtype: str, kind: str) -> None:
    kernel = np.array([1, 2, 3], dtype=dtype)
    for make in (cm.conv_matrix, cm.conv_transpose_matrix):
        for boundary in ("zero", "circular"):
            A = make(kernel, 2, padding="same", boundary=boundary, format=kind)
            assert A.dtype == dtype


@for_each(
    ("kernel", "dtype"),
    [
        ([1, 2], "float64"),
        ([1, 2], "float32"),
        ([1, 2], "complex64"),
        ([1, -128], "int8"),
        (np.array([1, 255], dtype=np.uint64), "uint8"),
        (np.array([1, 255], dtype=np.uint8), "int16"),
        ([1.5, 2.5], "float32"),
        ([1.5, 2.5], "complex128"),
        (np.array([1, 2], dtype=np.complex128), "complex64"),
        ([True, False], "int64"),
        ([True, True], "float64"),
        (np.array([1.5, 2.0], dtype=np.float16), "float32"),
        ([1, 2], int),
        ([1, 2], np.float64),
        ([1, 255], np.uint8),
    ],
)
def test_dtypes_that_hold_the_kernel(kernel: Any, dtype: Any) -> None:
    for make in (cm.conv_matrix, cm.conv_transpose_matrix):
        A = make(kernel, 2, dtype=dtype, format="csc")
        assert A.dtype == dtype
        np.testing.assert_array_equal(A.toarray(), make(np.asarray(kernel).astype(dtype), 2).toarray())


@for_each(
    ("kernel", "dtype"),
    [([1.0, 2.0], "int64"), ([1j, 2.0], "float64"), ([1j], "int8"), ([1.0, 2.0], "uint8"), ([1, 2], "bool")],
)
def test_dtypes_of_a_lesser_kind(kernel: Any, dtype: str) -> None:
    with refused(
        TypeError,
        f"a kernel of dtype {np.asarray(kernel).dtype} does not convert to dtype={dtype} without loss; convert it "
        "yourself, for instance with kernel.real or numpy.rint",
    ):
        cm.conv_matrix(kernel, 4, dtype=dtype)


@for_each(
    ("kernel", "dtype"),
    [
        ([1, 128], "int8"),
        ([2**40], "int32"),
        (np.array([2**63], dtype=np.uint64), "int64"),
        ([-129], "int8"),
        ([1, -2], "uint8"),
    ],
)
def test_integer_types_that_are_too_small(kernel: Any, dtype: str) -> None:
    with refused(TypeError, f"the kernel has entries that dtype={dtype} does not hold; choose a wider integer type"):
        cm.conv_matrix(kernel, 4, dtype=dtype)


@for_each("kernel", [np.ones(2, dtype=np.float16), [True, False], np.array([1, 2], dtype=object)])
def test_dtypes_that_sparse_matrices_do_not_hold(kernel: Any) -> None:
    message = (
        f"weights have dtype {np.asarray(kernel).dtype}, which sparse matrices do not compute with; convert them, for "
        "instance with weights.astype(float) or dtype=float"
    )
    for make in (cm.conv_matrix, cm.conv_transpose_matrix):
        with refused(TypeError, message):
            make(kernel, 4)
    with pytest.raises(TypeError, match=r"^weights have dtype float16, which sparse matrices do not compute with"):
        cm.conv_matrix([1.0, 2.0], 4, dtype=np.float16)


# --- order, formats, rows ---------------------------------------------------------------------------------------------


CUTS: Final[list[dict[tuple[Any, str], int]]] = [
    {(fill, "_SHORT"): 0},
    {(fill, "_SHORT"): 0, (fill, "_TEMPLATE"): 1},
    {(fill, "_WORTH_A_THREAD"): 0},
    {(rows, "_LARGEST_TABLE"): 8, (rows, "_KEPT_TABLE"): 0},
    {(rows, "_LARGEST_TABLE"): 8, (fill, "_KEPT_BOXES"): 0},
]


@each_case
def test_how_the_work_is_cut_does_not_matter(geometry: Geometry, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = integer_weights(geometry)
    for order, kind in product("CF", ("csr", "csc")):
        expected = cm.conv_matrix(weights, geometry, order=order, format=kind)
        for cut in CUTS:
            with monkeypatch.context() as changed:
                for (module, name), limit in cut.items():
                    changed.setattr(module, name, limit)
                again = cm.conv_matrix(weights, geometry, order=order, format=kind)
            for part in ("indptr", "indices", "data"):
                np.testing.assert_array_equal(getattr(again, part), getattr(expected, part), strict=True)


@for_each("order", ["C", "F"])
@each_case
def test_the_matrix_multiplies_arrays_raveled_in_its_order(geometry: Geometry, order: Any) -> None:
    weights, x = integer_weights(geometry), integer_input(geometry)
    y = reference.forward(geometry, weights, x)
    A = cm.conv_matrix(weights, geometry, order=order)
    np.testing.assert_array_equal((A @ x.ravel(order)).reshape(y.shape, order=order), y)


def test_one_channel_in_column_major_order() -> None:
    image = np.arange(12).reshape(3, 4)
    A = cm.conv_matrix([[1, -1]], (3, 4), order="F")
    np.testing.assert_array_equal((A @ image.ravel("F")).reshape(3, 3, order="F"), image[:, :-1] - image[:, 1:])


@each_format
@each_case
def test_formats_hold_the_same_matrix(geometry: Geometry, kind: str) -> None:
    weights = integer_weights(geometry)
    expected = reference.matrix(geometry, weights)
    A = cm.conv_matrix(weights, geometry, format=kind)
    assert type(A).__name__ == f"{kind}_array"  # not a matrix, whose * is not elementwise
    assert (A.format, A.shape, A.dtype) == (kind, expected.shape, weights.dtype)
    np.testing.assert_array_equal(A.toarray(), expected)
    start, stop = geometry.n_out // 3, geometry.n_out - geometry.n_out // 4
    slab = cm.conv_matrix(weights, geometry, format=kind, rows=(start, stop))
    assert (slab.format, slab.shape) == (kind, (stop - start, geometry.n_in))
    np.testing.assert_array_equal(slab.toarray(), expected[start:stop])


@for_each(
    ("geometry", "order", "block"),
    [
        (Geometry((4, 5), (3, 3), in_channels=2, out_channels=3), "F", (3, 2)),
        (Geometry((4, 5), (3, 3), in_channels=4, out_channels=6, groups=2), "F", (3, 2)),
        (Geometry((4, 5), (3, 3), in_channels=4, out_channels=2, transposed=True), "F", (2, 4)),
        (Geometry((4, 5), (3, 3), in_channels=2, out_channels=3), "C", (1, 1)),
        (Geometry(5, 3, in_channels=2, out_channels=2, connections=[[1, 1], [1, 0]]), "F", (1, 1)),
    ],
)
def test_blocks_are_the_channels_of_a_group(geometry: Geometry, order: str, block: tuple[int, int]) -> None:
    weights = integer_weights(geometry)
    A = cm.conv_matrix(weights, geometry, order=order, format="bsr")
    assert A.blocksize == block
    assert A.nnz == cm.conv_matrix(weights, geometry).nnz  # the blocks are dense
    np.testing.assert_array_equal(A.toarray(), cm.conv_matrix(weights, geometry, order=order).toarray())
    assert cm.conv_matrix(weights, geometry, order=order, format="bsr", rows=(1, 3)).blocksize == (1, 1)


def test_diagonals_are_those_that_hold_an_entry() -> None:
    A = cm.conv_matrix([0, 2, 0], 5, padding="same", format="dia")
    assert A.offsets.tolist() == [-1, 0, 1]  # also where the weights are zero
    assert cm.conv_matrix([[1, 2], [3, 4]], (3, 3), format="dia").offsets.tolist() == [0, 1, 2, 3, 4, 5]


def test_diagonals_that_would_not_fit_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    geometry = Geometry(100, 1, stride=2)  # 50 entries, each on a diagonal of its own
    monkeypatch.setattr(cm.memory, "NEGLIGIBLE", 0)
    monkeypatch.setattr(cm.memory, "available_memory", lambda: 10_000)
    assert cm.conv_matrix([1.0], geometry).nnz == 50
    with refused(
        cm.MatrixTooLargeError,
        "the dia format of this 50 x 100 matrix, with 50 diagonals, needs 40 kB, but 10 kB of memory are available; "
        "use the csr format",
    ):
        cm.conv_matrix([1.0], geometry, format="dia")


@for_each("rows", [(0, 0), (4, 4), (0, 4), (1, 3), [1, 3], np.array([1, 3]), (np.int64(3), 4)])
def test_rows(rows: Any) -> None:
    whole = cm.conv_matrix([[1, 2], [3, 4]], (3, 3)).toarray()
    slab = cm.conv_matrix([[1, 2], [3, 4]], (3, 3), rows=rows)
    np.testing.assert_array_equal(slab.toarray(), whole[rows[0] : rows[1]])
    assert slab.shape == (rows[1] - rows[0], 9)


# --- transposed layers ------------------------------------------------------------------------------------------------

TRANSPOSED: Final = [name for name, geometry in CASES.items() if geometry.transposed]


@for_each("geometry", [CASES[name] for name in TRANSPOSED], ids=TRANSPOSED)
def test_a_transposed_layer_is_the_transpose_of_its_convolution(geometry: Geometry) -> None:
    """The convolution maps the output to the input; its last outputs, which read beyond, the layer does without."""
    options = geometry.options() | {"transposed": False, "output_padding": 0}
    options |= {"in_channels": geometry.out_channels, "out_channels": geometry.in_channels}
    weights = integer_weights(geometry)
    kernel = weights
    if geometry.connections is not None:  # numbered in the row order of the one table, or of the other
        options["connections"] = np.transpose(geometry.connections)
        kernel = weights[np.lexsort(np.argwhere(geometry.connections).T)]
    if geometry.sharing == "unshared":
        options["sharing"] = geometry.input_shape
    convolution = Geometry(geometry.output_shape, geometry.kernel_shape, **options)
    A = cm.conv_matrix(kernel, convolution).toarray()
    keep = np.arange(convolution.n_out).reshape(convolution.out_channels, *convolution.output_shape)
    for axis, size in enumerate(geometry.input_shape, start=1):
        keep = keep.take(range(size), axis=axis)
    np.testing.assert_array_equal(cm.conv_transpose_matrix(weights, geometry).toarray(), A[keep.ravel()].T)


def random_transposed_options(rng: np.random.Generator, axes: int) -> dict[str, Any]:
    stride, dilation = rng.integers(1, 4, axes), rng.integers(1, 4, axes)
    return {
        "stride": stride.tolist(),
        "dilation": dilation.tolist(),
        "padding": rng.integers(0, 3, axes).tolist(),
        "output_padding": rng.integers(0, np.maximum(stride, dilation)).tolist(),
        "groups": int(rng.integers(1, 3)),
    }


def test_transposed_matrices_are_those_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    layers = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}
    rng = np.random.default_rng(10)
    compared = 0
    for _ in range(90):
        axes = int(rng.integers(1, 4))
        options = random_transposed_options(rng, axes)
        groups = options["groups"]
        ins, outs = groups * int(rng.integers(1, 3)), int(rng.integers(1, 3))
        shape = (ins, *rng.integers(1, 6 - axes, axes).tolist())
        kernel = rng.integers(-9, 10, (ins, outs, *rng.integers(1, 4, axes))).astype(float)
        basis = torch.eye(int(np.prod(shape)), dtype=torch.float64).reshape(-1, *shape)
        try:
            images = layers[axes](basis, torch.tensor(kernel), **options)
        except RuntimeError:  # no outputs are left
            continue
        if not images.numel():
            continue
        A = cm.conv_transpose_matrix(kernel, shape, **options)
        np.testing.assert_array_equal(A.toarray(), images.reshape(len(basis), -1).numpy().T)
        compared += 1
    assert compared >= 60


def test_unfold_is_that_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    image = np.random.default_rng(11).integers(-9, 10, (3, 7, 6)).astype(float)
    for stride, dilation, padding in product((1, 2), (1, 2), (0, 1)):
        options: dict[str, Any] = {"stride": stride, "dilation": dilation, "padding": padding}
        U = cm.unfold_matrix((7, 6), (3, 2), in_channels=3, **options)
        blocks = torch.nn.functional.unfold(torch.tensor(image)[None], (3, 2), **options)
        np.testing.assert_array_equal(U @ image.ravel(), blocks.numpy().ravel())


@each_format
def test_unfold_takes_all_options(kind: str) -> None:
    U = cm.unfold_matrix(
        4, 3, in_channels=2, stride=2, dilation=1, padding=1, boundary="circular", flip=True, format=kind, dtype=np.int8
    )
    assert (U.format, U.dtype, U.shape) == (kind, np.int8, (2 * 3 * 2, 8))
    x = np.arange(10, 18, dtype=np.int8)
    assert (U @ x).reshape(2, 3, 2).tolist() == [[[11, 13], [10, 12], [13, 11]], [[15, 17], [14, 16], [17, 15]]]
    geometry = Geometry(4, 3, in_channels=2, stride=2, padding=1, boundary="circular", flip=True)
    np.testing.assert_array_equal(U.toarray(), geometry.unfold_matrix().toarray())


# --- shifts -----------------------------------------------------------------------------------------------------------

SHIFTS: Final = [
    (5, 1),
    (5, -2),
    (5, 17),
    (1, 3),
    ((3, 4), (1, -1)),
    ((3, 4), (0, 9)),
    ((3, 4), 2),
    ((2, 3, 4), (1, -5, 2)),
    ((2, 1, 3, 2), (1, 1, 1, 1)),
]


@for_each("order", ["C", "F"])
@for_each(("shape", "shift"), SHIFTS, ids=str)
def test_a_cyclic_shift_is_numpy_roll(shape: Any, shift: Any, order: Any) -> None:
    x = np.random.default_rng(12).permutation(np.prod(shape)).reshape(shape)
    axes = tuple(range(x.ndim))
    rolled = np.roll(x, (shift,) * x.ndim if np.ndim(shift) == 0 else shift, axes)
    S = cm.shift_matrix(shape, shift, order=order, dtype=np.int64)
    np.testing.assert_array_equal((S @ x.ravel(order)).reshape(x.shape, order=order), rolled)
    assert (S.sum(axis=0) == 1).all()  # a permutation
    np.testing.assert_array_equal((S.T @ S).toarray(), np.eye(x.size))


@for_each("boundary", cm.BOUNDARIES)
@for_each(("shape", "shift"), SHIFTS, ids=str)
def test_other_shifts_are_numpy_pad(shape: Any, shift: Any, boundary: Any) -> None:
    x = np.random.default_rng(13).integers(1, 100, shape)
    amounts = [shift] * x.ndim if np.ndim(shift) == 0 else list(shift)
    padded = x
    for axis, a in enumerate(amounts):
        padded = reference.pad_axis(padded, axis, (max(a, 0), max(-a, 0)), boundary)
    shifted = padded[tuple(slice(max(-a, 0), max(-a, 0) + n) for a, n in zip(amounts, x.shape, strict=True))]
    S = cm.shift_matrix(shape, shift, boundary, dtype=np.int64)
    np.testing.assert_array_equal((S @ x.ravel()).reshape(x.shape), shifted)
    assert S.nnz == x.size or boundary in ("zero", "antireflect")


def test_shifts_with_a_boundary_an_axis() -> None:
    x = np.arange(12).reshape(3, 4)
    S = cm.shift_matrix((3, 4), (1, -1), ("zero", "circular"), dtype=int)
    expected = np.zeros_like(x)
    expected[1:] = np.roll(x, -1, axis=1)[:2]
    np.testing.assert_array_equal((S @ x.ravel()).reshape(3, 4), expected)


def test_shifts_compose() -> None:
    shape = (3, 4)
    S, T = cm.shift_matrix(shape, (1, 2)), cm.shift_matrix(shape, (2, 3))
    assert (cm.shift_matrix(shape, (3, 5)) != S @ T).nnz == 0
    assert (cm.shift_matrix(shape, (-1, -2)) != S.T).nnz == 0


@each_format
def test_formats_of_shifts(kind: str) -> None:
    S = cm.shift_matrix((2, 3), (1, 1), format=kind, dtype=np.float32)
    assert (S.format, S.dtype, S.shape) == (kind, np.float32, (6, 6))
    np.testing.assert_array_equal(S.toarray(), cm.shift_matrix((2, 3), (1, 1)).toarray())
    assert cm.shift_matrix(3, 1).dtype == np.float64


# --- what is refused --------------------------------------------------------------------------------------------------


@for_each(
    "make",
    [
        lambda: cm.conv_matrix([1, 2], 4, format="lil"),
        lambda: cm.conv_transpose_matrix([1, 2], 4, format="lil"),
        lambda: cm.estimate(Geometry(4, 2), format="lil"),
        lambda: cm.unfold_matrix(4, 2, format="lil"),
        lambda: Geometry(4, 2).unfold_matrix(format="lil"),
        lambda: cm.shift_matrix(4, 1, format="lil"),
    ],
)
def test_unknown_format(make: Callable[[], Any]) -> None:
    with refused(ValueError, "format 'lil' is unknown; choose one of csr, csc, coo, dia, bsr"):
        make()


@for_each("order", ["A", "c", None])
def test_unknown_order(order: Any) -> None:
    for make in (
        lambda: cm.conv_matrix([1, 2], 4, order=order),
        lambda: cm.estimate(Geometry(4, 2), order=order),
        lambda: cm.shift_matrix(4, 1, order=order),
    ):
        with refused(ValueError, f"order {order!r} is unknown; choose C (row-major) or F (column-major)"):
            make()


@for_each(
    ("rows", "error", "message"),
    [
        ((2, 9), ValueError, "rows=(2, 9) must satisfy 0 <= start <= stop <= 3, the rows of the matrix"),
        ((-1, 2), ValueError, "rows=(-1, 2) must satisfy 0 <= start <= stop <= 3, the rows of the matrix"),
        ((2, 1), ValueError, "rows=(2, 1) must satisfy 0 <= start <= stop <= 3, the rows of the matrix"),
        (3, TypeError, "rows must be a pair (start, stop), but is 3"),
        ((0, 1, 2), TypeError, "rows must be a pair (start, stop), but is (0, 1, 2)"),
        (slice(0, 2), TypeError, "rows must be a pair (start, stop), but is slice(0, 2, None)"),
        ((0.0, 1), TypeError, "rows[0] must be an integer, but is 0.0 (float)"),
        ((0, None), TypeError, "rows[1] must be an integer, but is None (NoneType)"),
    ],
)
def test_rows_that_are_not_there(rows: Any, error: type[Exception], message: str) -> None:
    for make in (
        lambda: cm.conv_matrix([1, 2], 4, rows=rows),
        lambda: cm.estimate(Geometry(4, 2), rows=rows),
    ):
        with refused(error, message):
            make()


@for_each(
    ("option", "value"),
    [
        ("stride", 2),
        ("dilation", (1,)),
        ("padding", "same"),
        ("boundary", "circular"),
        ("groups", 2),
        ("flip", True),
        ("flip", 0),
        ("stride", True),
    ],
)
def test_options_beside_a_geometry(option: str, value: Any) -> None:
    with refused(TypeError, f"{option} given beside a ConvGeometry, which has them already; drop one of the two"):
        cm.conv_matrix([1, 2], Geometry(4, 2), **{option: value})


def test_several_options_beside_a_geometry() -> None:
    with refused(
        TypeError, "stride, output_padding given beside a ConvGeometry, which has them already; drop one of the two"
    ):
        cm.conv_transpose_matrix([1, 2], Geometry(4, 2, transposed=True), stride=2, output_padding=1)


def test_a_transposed_matrix_of_a_convolution() -> None:
    with refused(
        ValueError, "conv_transpose_matrix was given the geometry of a convolution; set transposed=True in it"
    ):
        cm.conv_transpose_matrix([1, 2], Geometry(4, 2))


def test_weights_that_are_not_those_of_the_geometry() -> None:
    with refused(
        ValueError,
        "weights have shape (3,), but the layer's weights have (1, 1, 2), which is 2 in all; reshape them to that",
    ):
        cm.conv_matrix([1, 2, 3], Geometry(4, 2))


def test_kernel_and_input_that_disagree() -> None:
    with pytest.raises(ValueError, match=r"^the kernel reads 3 channels \(its shape \(2, 3, 2\) is .* has 4"):
        cm.conv_matrix(np.ones((2, 3, 2)), (4, 9))
    with pytest.raises(ValueError, match=r"^the kernel reads 2 channels \(its shape \(2, 3, 2\) is .* has 3"):
        cm.conv_transpose_matrix(np.ones((2, 3, 2)), (3, 9))
    with pytest.raises(ValueError, match=r"^the kernel has 1 axis \(shape \(2,\)\), but input_shape=\(3, 3\) has 2;"):
        cm.conv_matrix([1, 2], (3, 3))
    with pytest.raises(ValueError, match=r"^kernel does not fit on axis 0: it spans 5 samples"):
        cm.conv_matrix([1] * 5, 4)


@for_each(
    ("shape", "shift", "error", "message"),
    [
        (
            (3, 4),
            (1, 2, 3),
            ValueError,
            "shift has 3 entries ((1, 2, 3)), but there are 2 spatial axes; give one per axis",
        ),
        (4, [1, 2], ValueError, "shift has 2 entries ([1, 2]), but there is 1 spatial axis; give one per axis"),
        (4, 1.0, TypeError, "shift must be an integer, but is 1.0 (float)"),
        ((3, 4), (1, True), TypeError, "shift[1] must be an integer, but is True (bool)"),
        ((3, 0), 1, ValueError, "shape[1] must be at least 1, but is 0"),
        ((), 1, ValueError, "shape is empty; give at least one spatial axis"),
    ],
)
def test_shifts_that_are_none(shape: Any, shift: Any, error: type[Exception], message: str) -> None:
    with refused(error, message):
        cm.shift_matrix(shape, shift)


def test_shifts_of_an_unknown_boundary() -> None:
    with refused(ValueError, "boundary 'even' is unknown; choose one of zero, circular, reflect, symmetric, replicate"):
        cm.shift_matrix(4, 1, "even")


def test_shifts_that_do_not_fit_in_memory() -> None:
    n_bytes = 10**14 * (3 * 8 + 8)
    with pytest.raises(
        cm.MatrixTooLargeError,
        match=re.escape(f"the shift matrix of (10000000, 10000000) needs {n_bytes / 1e15:.3g} PB, but ")
        + r".* of memory are available; use numpy.roll$",
    ):
        cm.shift_matrix((10**7, 10**7), 1)


def test_results_are_not_shared() -> None:
    """Two calls never give the same arrays."""
    first, second = (cm.conv_matrix([1.0, 2.0], 5) for _ in range(2))
    for name in ("data", "indices", "indptr"):
        array: NDArray[Any] = getattr(first, name)
        assert not np.shares_memory(array, getattr(second, name))


def test_ragged_kernels_are_refused() -> None:
    for call in (cm.conv_matrix, cm.conv_transpose_matrix, cm.ConvOperator, cm.spectral.spectral_norm):
        with pytest.raises(ValueError, match="the kernel is made of lists that differ in length"):
            call([[1, 2], [3]], (4, 4))
    with pytest.raises(ValueError, match="the kernel is made of lists that differ in length"):
        Geometry(4, 2).pattern().matrix([[1, 2], [3]])


def test_unfold_matrix_of_a_transposed_layer_reads_what_the_layer_writes() -> None:
    """The convolution that a transposed layer transposes has the channels of its output: A^T = (W (x) I) U."""
    geometry = Geometry((3, 2), (2, 2), in_channels=3, out_channels=2, transposed=True, stride=2)
    U = geometry.unfold_matrix()
    weights = np.arange(1, geometry.n_weights + 1).reshape(geometry.weight_shape)
    W = np.kron(weights.reshape(3, -1), np.eye(6, dtype=int))
    assert U.shape == (2 * 4 * 6, geometry.n_out)
    assert np.array_equal(W @ U.toarray(), cm.conv_matrix(weights, geometry).T.toarray())


# --- columns of slabs -------------------------------------------------------------------------------------------------


@each_case
def test_columns_of_slabs_are_those_with_entries(geometry: Geometry) -> None:
    rng = np.random.default_rng(geometry.n_out)
    for order in ("C", "F"):
        start, stop = sorted(rng.integers(0, geometry.n_out + 1, 2).tolist())
        shape, index = slab_columns(geometry, (start, stop), order)
        found = np.arange(geometry.n_in).reshape(shape)[index].ravel()
        slab = cm.conv_matrix(np.ones(geometry.weight_shape), geometry, order=order, rows=(start, stop))
        assert np.array_equal(found, np.unique(slab.indices))
        _, boxes = slab_boxes(geometry, (start, stop), order)
        assert len(found) <= sum(np.prod([len(axis) for axis in axes]) for axes in boxes) or not len(found)


def test_columns_are_sorted_where_few_are_read() -> None:
    """Instead of marked, one by one, as in the other cases."""
    geometry = Geometry((40, 50), (3, 3), in_channels=3, padding="same")
    shape, index = slab_columns(geometry, (75, 125))
    slab = cm.conv_matrix(np.ones(geometry.weight_shape), geometry, rows=(75, 125))
    assert np.array_equal(np.arange(geometry.n_in).reshape(shape)[index], np.unique(slab.indices))
    assert geometry.n_in > 8 * len(index[0])


@for_each("boundary", ["reflect", "symmetric", "replicate", "circular", "antireflect"])
@for_each("footprint", [None, [1, 1, 1, 1]])
def test_integer_sums_that_do_not_fit_are_refused(boundary: str, footprint: Any) -> None:
    """Weights at one entry never wrap around; 127 of int8 is still held, and a wider type holds more."""
    layer = cm.ConvGeometry(3, 4, padding="same", boundary=boundary)
    ones = np.ones(4, dtype=np.int8)
    largest = int(abs(cm.conv_matrix(ones, layer, footprint=footprint)).max())
    assert largest >= 2
    for scale in (127 // largest, 127 // largest + 1):
        kernel = (scale * ones).astype(np.int8)
        if scale * largest <= 127:
            A = cm.conv_matrix(kernel, layer, footprint=footprint)
            np.testing.assert_array_equal(A.toarray(), cm.conv_matrix(kernel.astype(int), layer).toarray())
            np.testing.assert_array_equal(layer.pattern().matrix(kernel).toarray(), A.toarray())
            continue
        with pytest.raises(ValueError, match=rf"add up to -?{scale * largest}, which int8 does not hold"):
            cm.conv_matrix(kernel, layer, footprint=footprint)
        with pytest.raises(ValueError, match=rf"add up to -?{scale * largest}, which int8 does not hold"):
            layer.pattern().matrix(kernel)
        assert abs(cm.conv_matrix(kernel, layer, dtype=int, footprint=footprint)).max() == scale * largest


def test_sums_that_overflow_along_one_axis_and_cancel_along_another_are_held() -> None:
    kernel = np.array([[100, -100], [100, -100]], dtype=np.int8)
    layer = cm.ConvGeometry((3, 1), (2, 2), padding=[(1, 0), (1, 0)], boundary="replicate")
    for A in (cm.conv_matrix(kernel, layer), layer.pattern().matrix(kernel)):
        assert not A.toarray().any()
    with pytest.raises(ValueError, match=r"add up to -?200, which int8"):
        cm.conv_matrix(kernel, (1, 3), padding=[(1, 0), (0, 0)], boundary="replicate")


def test_large_integers_that_fit_are_not_refused() -> None:
    """The comparison is in float64, whose rounding errors are no overflow."""
    kernel = [2**62 - 1, 2**61 + 1, 2**61 - 3]
    A = cm.conv_matrix(kernel, 4, padding="same", boundary="replicate")
    assert (A[0, 0], A[3, 3]) == (kernel[0] + kernel[1], kernel[1] + kernel[2])
