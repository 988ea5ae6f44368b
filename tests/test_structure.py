"""The structure of layer matrices: exact identities in integers, canonical indices, index types, sizes."""

from __future__ import annotations

import math
import re
import tracemalloc
from functools import cache, partial, reduce
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest

import convmatrix as cm
from convmatrix import memory
from convmatrix.boundary import SIGNED
from tests import reference
from tests.cases import CASES, dense_entries, each_case, for_each, integer_weights

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

Geometry = cm.ConvGeometry

FORMATS: Final = ("csr", "csc", "coo", "dia", "bsr")
MEGABYTE: Final = 2**20


def channel_matrices(geometry: Geometry) -> dict[tuple[int, ...], NDArray[np.int64]]:
    """Return for each channel part of a weight's index the (C_out, C_in) matrix with its one 1."""
    groups = geometry.groups
    outs, ins = geometry.out_channels // groups, geometry.in_channels // groups
    units: dict[tuple[int, ...], NDArray[np.int64]] = {}
    for out in range(geometry.out_channels):
        for into in range(geometry.in_channels):
            if geometry.connections is not None:
                if not geometry.connections[out][into]:
                    continue
                index: tuple[int, ...] = (len(units),)
            elif out // outs != into // ins:
                continue
            else:
                index = (into, out % outs) if geometry.transposed else (out, into % ins)
            units[index] = np.zeros((geometry.out_channels, geometry.in_channels), dtype=np.int64)
            units[index][out, into] = 1
    return units


def axis_layers(geometry: Geometry) -> list[Geometry]:
    """Return the one-dimensional layer of each axis, of one channel."""
    return [
        Geometry(
            geometry.input_shape[axis],
            geometry.kernel_shape[axis],
            stride=geometry.stride[axis],
            dilation=geometry.dilation[axis],
            padding=[geometry.padding[axis]],
            boundary=geometry.boundary[axis],
            sharing=geometry.tile[axis],
            flip=geometry.flip,
            transposed=geometry.transposed,
            output_padding=geometry.output_padding[axis],
        )
        for axis in range(len(geometry.input_shape))
    ]


def full_kernel(geometry: Geometry, weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the weights of a layer with shared weights as if all channels were connected, 0 where they are not."""
    shape = (geometry.out_channels, geometry.in_channels)
    full = np.zeros((*shape, *geometry.kernel_shape), dtype=weights.dtype)
    for index, unit in channel_matrices(geometry).items():
        ((out,), (into,)) = np.nonzero(unit)
        full[out, into] = weights[index]
    return full.swapaxes(0, 1) if geometry.transposed else full


# --- identities -------------------------------------------------------------------------------------------------------


@each_case
def test_a_tap_is_the_kronecker_product_of_its_axes(geometry: Geometry) -> None:
    """P_(c; k1, k2, ...) = E_c (x) P_k1 (x) P_k2 (x) ..., and the matrix is the sum of all w_k P_k."""
    pattern = geometry.pattern()
    n_axes = len(geometry.input_shape)
    axes = [layer.pattern() for layer in axis_layers(geometry)]

    @cache
    def axis_tap(axis: int, kernel: int, tap: int) -> NDArray[np.int64]:
        taps: NDArray[np.int64] = axes[axis].tap((kernel, 0, 0, tap)).toarray()
        return taps

    units = channel_matrices(geometry)
    weights = integer_weights(geometry)
    total = np.zeros(pattern.shape, dtype=np.int64)
    rng = np.random.default_rng(7)
    chosen = set(rng.choice(geometry.n_weights, min(geometry.n_weights, 40), replace=False).tolist())
    for flat, index in enumerate(np.ndindex(geometry.weight_shape)):
        kernels = (0,) * n_axes if geometry.sharing == "shared" else index[:n_axes]
        taps = index[-n_axes:]
        unit = units[index[len(index) - n_axes - (1 if geometry.connections is not None else 2) : -n_axes]]
        factors = [axis_tap(axis, kernels[axis], taps[axis]) for axis in range(n_axes)]
        product = reduce(np.kron, factors, unit)
        total += weights[index] * product
        if flat in chosen:
            np.testing.assert_array_equal(pattern.tap(index).toarray(), product)
    np.testing.assert_array_equal(cm.conv_matrix(weights, geometry).toarray(), total)


SHARED: Final = [name for name, geometry in CASES.items() if geometry.sharing == "shared"]


@for_each("geometry", [CASES[name] for name in SHARED], ids=SHARED)
def test_the_matrix_factors_through_the_unfold_matrix(geometry: Geometry) -> None:
    """A(w) = (W (x) I) U; the transposed layer is U.T (W.T (x) I). W has zeros where channels are not connected."""
    weights = integer_weights(geometry)
    kernel = full_kernel(geometry, weights)
    W = kernel.reshape(len(kernel), -1)
    positions = geometry.input_shape if geometry.transposed else geometry.output_shape
    identity = np.eye(math.prod(positions), dtype=np.int64)
    U = geometry.unfold_matrix(dtype=np.int64)
    wide = np.kron(W, identity)
    product = U.T @ wide.T if geometry.transposed else wide @ U.toarray()
    np.testing.assert_array_equal(product, reference.matrix(geometry, weights))
    np.testing.assert_array_equal(product, cm.conv_matrix(weights, geometry).toarray())


@each_case
def test_the_unfold_matrix_copies_samples(geometry: Geometry) -> None:
    """A row (channel, tap, position) holds a 1 at the sample that the tap reads, or nothing, or signed coefficients."""
    channels = geometry.out_channels if geometry.transposed else geometry.in_channels
    samples = geometry.output_shape if geometry.transposed else geometry.input_shape
    positions = geometry.input_shape if geometry.transposed else geometry.output_shape
    n = math.prod(samples)
    padded = reference.pad(geometry, np.eye(n, dtype=np.int64).reshape(1, *samples, n))[0]
    read = np.zeros((*geometry.kernel_shape, *positions, n), dtype=np.int64)
    for tap in np.ndindex(geometry.kernel_shape):
        moved = [size - 1 - t if geometry.flip else t for size, t in zip(geometry.kernel_shape, tap, strict=True)]
        starts = [t * dilation for t, dilation in zip(moved, geometry.dilation, strict=True)]
        slices = tuple(
            slice(start, start + (count - 1) * stride + 1, stride)
            for start, count, stride in zip(starts, positions, geometry.stride, strict=True)
        )
        read[tap] = padded[slices]
    U = geometry.unfold_matrix(dtype=np.int64)
    np.testing.assert_array_equal(U.toarray(), np.kron(np.eye(channels, dtype=np.int64), read.reshape(-1, n)))
    if not set(geometry.boundary).intersection(SIGNED):
        assert np.diff(U.indptr).max() <= 1
        assert set(U.data.tolist()) <= {1}


# --- canonical indices ------------------------------------------------------------------------------------------------


def check_canonical(matrix: Any) -> None:
    """Check sorted indices without duplicates on the arrays themselves, not by the flags that SciPy keeps."""
    if matrix.format == "dia":
        assert (np.diff(matrix.offsets) > 0).all()
        assert matrix.data.shape == (len(matrix.offsets), matrix.shape[1])
        return
    rows, columns = matrix.shape
    if matrix.format == "coo":
        places = matrix.row.astype(np.int64) * columns + matrix.col
        assert (np.diff(places) > 0).all()
        assert ((matrix.row >= 0) & (matrix.row < rows) & (matrix.col >= 0) & (matrix.col < columns)).all()
        assert matrix.row.dtype == matrix.col.dtype
        return
    if matrix.format == "csc":
        rows, columns = columns, rows
    if matrix.format == "bsr":
        rows, columns = rows // matrix.blocksize[0], columns // matrix.blocksize[1]
    assert len(matrix.indptr) == rows + 1
    assert matrix.indptr[0] == 0
    assert matrix.indptr[-1] == len(matrix.indices) == len(matrix.data)
    assert (np.diff(matrix.indptr) >= 0).all()
    assert matrix.indices.dtype == matrix.indptr.dtype
    places = np.repeat(np.arange(rows), np.diff(matrix.indptr)) * columns + matrix.indices
    assert (np.diff(places) > 0).all()
    assert ((matrix.indices >= 0) & (matrix.indices < columns)).all()


@for_each("order", ["C", "F"])
@each_case
def test_indices_are_canonical(geometry: Geometry, order: str) -> None:
    weights = integer_weights(geometry)
    drawn = np.random.default_rng(0).uniform(1, 2, geometry.weight_shape)  # sums of which do not cancel
    read = np.abs(reference.matrix(geometry, drawn)) > 1e-9
    for kind in FORMATS:
        matrix = cm.conv_matrix(weights, geometry, order=order, format=kind)
        check_canonical(matrix)
        if kind in ("csr", "csc", "coo"):
            assert matrix.nnz == np.count_nonzero(read)
            assert matrix.has_canonical_format
    check_canonical(cm.conv_matrix(weights, geometry, order=order, rows=(1, geometry.n_out)))


@each_case
def test_indices_of_pattern_unfold_and_jacobian_are_canonical(geometry: Geometry) -> None:
    pattern = geometry.pattern()
    for kind in FORMATS:
        check_canonical(pattern.matrix(integer_weights(geometry), format=kind))
        check_canonical(pattern.jacobian(np.ones(geometry.n_in), format=kind))
        check_canonical(geometry.unfold_matrix(format=kind))
    check_canonical(pattern.tap(0))


def test_the_check_of_canonical_indices_can_fail() -> None:
    matrix = cm.conv_matrix([1, 2], 4)
    matrix.indices[:2] = matrix.indices[:2][::-1]
    assert matrix.has_canonical_format  # SciPy still believes so
    with pytest.raises(AssertionError):
        check_canonical(matrix)


# --- estimates --------------------------------------------------------------------------------------------------------


def held_bytes(matrix: Any) -> int:
    """Return the bytes of a matrix's arrays."""
    arrays = [matrix.data, *((matrix.row, matrix.col) if matrix.format == "coo" else (matrix.indices, matrix.indptr))]
    return sum(array.nbytes for array in arrays)


@each_case
def test_estimates_are_what_is_built(geometry: Geometry) -> None:
    places: list[tuple[str, str, tuple[int, int] | None]] = [
        (kind, order, None) for kind in ("csr", "csc", "coo") for order in ("C", "F")
    ]
    middle = geometry.n_out // 2
    places += [("csr", "C", rows) for rows in ((0, middle), (middle, geometry.n_out), (middle, middle))]
    for number, (kind, order, rows) in enumerate(places):
        dtype = (np.float64, np.int16, np.complex128)[number % 3]
        weights = integer_weights(geometry).astype(dtype)
        matrix = cm.conv_matrix(weights, geometry, format=kind, order=order, rows=rows)
        size = cm.estimate(geometry, dtype=dtype, format=kind, order=order, rows=rows)
        assert (size.shape, size.nonzeros, size.bytes) == (matrix.shape, matrix.nnz, held_bytes(matrix))
        assert size.index_dtype == "int32"
        assert {type(count) for count in (*size.shape, size.nonzeros, size.bytes)} == {int}


def same_nonzeros(n: int, k: int) -> int:
    """Return the entries of a "same" zero-padded axis with an odd kernel that fits: n a tap, less what is cut off."""
    half = k // 2
    return n * k - half * (half + 1)


@for_each("n", [10**3, 10**6, 10**9, 10**12])
def test_estimates_of_any_size_are_exact(n: int) -> None:
    plain = Geometry((n, 2 * n), (3, 7), padding="same", in_channels=3, out_channels=5)
    nonzeros = 15 * same_nonzeros(n, 3) * same_nonzeros(2 * n, 7)
    size = cm.estimate(plain)
    assert size.nonzeros == nonzeros
    assert size.shape == (5 * 2 * n * n, 3 * 2 * n * n)
    width = 4 if nonzeros < 2**31 else 8
    assert size.bytes == nonzeros * (8 + width) + (size.shape[0] + 1) * width
    ring = Geometry((n, n), (5, 4), padding="same", boundary="circular", in_channels=4, out_channels=6, groups=2)
    assert cm.estimate(ring).nonzeros == 2 * (3 * 2) * 20 * n * n
    assert cm.estimate(Geometry((n, n), (5, 4), stride=(5, 4), transposed=True)).nonzeros == 20 * n * n


@for_each("boundary", ["circular", "reflect", "symmetric", "replicate"])
def test_estimates_of_very_long_kernels_are_bounds(boundary: str) -> None:
    n, k = 20_000, 5_000
    size = cm.estimate(Geometry(n, k, padding="same", boundary=boundary))
    samples = {"circular": 0, "reflect": 1, "symmetric": 1, "replicate": 1}[boundary]  # may be read twice in a row
    fewest = n * k - samples * (k // 2) ** 2
    assert fewest <= size.nonzeros <= n * k
    assert size.bytes == size.nonzeros * 12 + (n + 1) * 4


@for_each("boundary", ["zero", "circular", "replicate"])
def test_matrices_of_long_kernels(boundary: str) -> None:
    """An axis with many distinct rows computes them one part at a time."""
    n, k = 1_100, 1_051
    kernel, x = (np.random.default_rng(seed).integers(-9, 10, size) for seed, size in ((0, k), (1, n)))
    geometry = Geometry(n, k, padding="same", boundary=boundary)
    A = cm.conv_matrix(kernel, geometry)
    check_canonical(A)
    padded = reference.pad(geometry, x[None])[0]
    np.testing.assert_array_equal(A @ x, np.correlate(padded, kernel, "valid"))
    assert A.nnz == cm.estimate(geometry).nonzeros
    two = Geometry((3, n), (2, k), padding="same", boundary=boundary)
    slab = cm.conv_matrix(np.stack([kernel, 2 * kernel]), two, rows=(n - 50, n + 50))
    check_canonical(slab)
    images = np.stack([x, -x, 3 * x])
    y = np.correlate(padded, kernel, "valid")
    expected = np.concatenate([(y - 2 * y)[-50:], (-y + 6 * y)[:50]])
    np.testing.assert_array_equal(slab @ images.ravel(), expected)


# --- index types ------------------------------------------------------------------------------------------------------

EDGE: Final = 2**31 - 1  # the largest int32


@for_each(
    ("geometry", "what", "index_dtype"),
    [
        (Geometry((EDGE + 2) // 3, 3, padding="same"), EDGE, "int32"),
        (Geometry(2**30, 2, padding="full"), EDGE + 1, "int64"),
        (Geometry(2**30 - 1, 2, padding="full", in_channels=1), EDGE - 1, "int32"),
        (Geometry((2**10, 2**15), (1, 1), in_channels=8, out_channels=8), 2**31, "int64"),
        (Geometry((2**10, 2**15), (1, 1), in_channels=7, out_channels=9), 63 * 2**25, "int32"),
    ],
    ids=["2**31 - 1", "2**31", "2**31 - 2", "2**31 in channels", "below in channels"],
)
def test_index_type_at_the_edge_of_the_nonzeros(geometry: Geometry, what: int, index_dtype: str) -> None:
    size = cm.estimate(geometry)
    assert max(size.shape) < 2**30 + 2  # it is the entries that decide
    assert size.nonzeros == what
    assert size.index_dtype == index_dtype
    width = 4 if index_dtype == "int32" else 8
    assert size.bytes == what * (8 + width) + (size.shape[0] + 1) * width


@for_each("kind", FORMATS)
@for_each(("columns", "index_dtype"), [(EDGE, "int32"), (EDGE + 1, "int64")])
def test_index_type_at_the_edge_of_the_columns(columns: int, index_dtype: str, kind: str) -> None:
    size = cm.estimate(Geometry(columns, 1, stride=2**20), format=kind)
    assert size.shape == (2**11, columns)
    assert size.nonzeros == 2**11
    assert size.index_dtype == index_dtype


@for_each(("rows", "index_dtype"), [(EDGE, "int32"), (EDGE + 1, "int64")])
def test_index_type_at_the_edge_of_the_rows(rows: int, index_dtype: str) -> None:
    size = cm.estimate(Geometry(1, 1, padding=[(0, rows - 1)]))
    assert (size.shape, size.nonzeros) == ((rows, 1), 1)
    assert size.index_dtype == index_dtype


def test_index_type_of_a_slab_is_its_own() -> None:
    geometry = Geometry(2**30, 2, padding="full")
    assert cm.estimate(geometry).index_dtype == "int64"
    assert cm.estimate(geometry, rows=(0, 2**29)).index_dtype == "int32"
    assert cm.estimate(geometry, rows=(5, 2**30 + 1)).index_dtype == "int32"


@for_each(("columns", "index_dtype"), [(EDGE, np.int32), (EDGE + 1, np.int64)])
def test_a_slab_beyond_the_edge_is_built_right(columns: int, index_dtype: Any) -> None:
    geometry = Geometry(columns, 3, padding="same", boundary="circular")
    matrix = cm.conv_matrix([1, 2, 3], geometry, rows=(columns - 2, columns))
    assert matrix.indices.dtype == matrix.indptr.dtype == index_dtype
    last = columns - 1
    assert matrix.indices.tolist() == [last - 2, last - 1, last, 0, last - 1, last]
    assert matrix.data.tolist() == [1, 2, 3, 3, 1, 2]
    check_canonical(matrix)


# --- slabs ------------------------------------------------------------------------------------------------------------


def peak_memory(make: Callable[[], Any]) -> tuple[Any, int]:
    """Return what a call makes, and the most memory that it held."""
    tracemalloc.start()
    try:
        result = make()
        return result, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


SIDE: Final = 10**6


@for_each("start", [0, SIDE - 500, 5 * 10**11 - 300, SIDE**2 - 1000])
def test_a_slab_of_a_trillion_rows(start: int) -> None:
    kernel = np.arange(1, 10).reshape(3, 3)
    geometry = Geometry((SIDE, SIDE), (3, 3), padding="same")
    assert geometry.n_out == 10**12
    rows = (start, start + 1000)
    matrix, peak = peak_memory(lambda: cm.conv_matrix(kernel, geometry, rows=rows))
    assert peak < 4 * MEGABYTE
    assert matrix.shape == (1000, 10**12)
    assert matrix.indices.dtype == np.int64
    assert matrix.nnz == cm.estimate(geometry, rows=rows).nonzeros
    expected = []
    for row in range(*rows):
        y, x = divmod(row, SIDE)
        for tap_y, tap_x in np.ndindex(3, 3):
            v, u = y + tap_y - 1, x + tap_x - 1
            if 0 <= v < SIDE and 0 <= u < SIDE:
                expected.append((row - start, v * SIDE + u, int(kernel[tap_y, tap_x])))
    found = matrix.tocoo()
    assert list(zip(found.row.tolist(), found.col.tolist(), found.data.tolist(), strict=True)) == expected


def test_a_column_major_slab_of_a_trillion_rows() -> None:
    kernel = np.arange(1, 25).reshape(2, 3, 2, 2)  # two outputs, three inputs
    geometry = Geometry((SIDE, SIDE), (2, 2), in_channels=3, out_channels=2)
    start = geometry.n_out // 4 * 2
    matrix, peak = peak_memory(lambda: cm.conv_matrix(kernel, geometry, order="F", rows=(start, start + 2)))
    assert peak < 4 * MEGABYTE
    outputs = SIDE - 1
    rest, channel = divmod(start, 2)
    x, y = divmod(rest, outputs)
    expected = [
        ((x + tap_x) * SIDE + y + tap_y) * 3 + into for tap_x in range(2) for tap_y in range(2) for into in range(3)
    ]
    assert channel == 0
    assert matrix.indices.tolist() == expected * 2
    assert matrix.data.tolist() == kernel.transpose(0, 3, 2, 1).ravel().tolist()


def test_a_slab_of_a_transposed_layer_of_a_trillion_rows() -> None:
    geometry = Geometry(5 * 10**11, 3, stride=2, transposed=True, padding=[(0, 1)])
    assert geometry.n_out == 10**12
    start = 10**12 - 4
    matrix, peak = peak_memory(lambda: cm.conv_matrix([1, 2, 3], geometry, rows=(start, start + 4)))
    assert peak < 4 * MEGABYTE
    last = 5 * 10**11 - 1
    assert matrix.indptr.tolist() == [0, 2, 3, 5, 6]
    assert matrix.indices.tolist() == [last - 2, last - 1, last - 1, last - 1, last, last]
    assert matrix.data.tolist() == [3, 1, 2, 3, 1, 2]


@each_case
def test_slabs_make_up_the_matrix(geometry: Geometry) -> None:
    """The entries of slabs add up: none costs more than its own rows."""
    weights = integer_weights(geometry)
    whole = cm.conv_matrix(weights, geometry)
    for step in (3, 11, max(geometry.n_out // 2, 1)):
        starts = range(0, geometry.n_out, step)
        if len(starts) > 25:
            continue
        ranges = [(start, min(start + step, geometry.n_out)) for start in starts]
        counts = [cm.estimate(geometry, rows=rows).nonzeros for rows in ranges]
        assert counts == [int(whole.indptr[stop] - whole.indptr[start]) for start, stop in ranges]
        slabs = [cm.conv_matrix(weights, geometry, rows=rows) for rows in ranges]
        np.testing.assert_array_equal(np.concatenate([slab.indices for slab in slabs]), whole.indices)
        np.testing.assert_array_equal(np.concatenate([slab.data for slab in slabs]), whole.data)


def test_the_memory_of_a_slab_is_that_of_its_rows() -> None:
    geometry = Geometry((1024, 1024), (3, 3), padding="same", boundary="circular")
    kernel = np.ones((3, 3))
    for rows in (100, 10_000, 100_000):
        slab, peak = peak_memory(partial(cm.conv_matrix, kernel, geometry, rows=(5000, 5000 + rows)))
        assert slab.nnz == 9 * rows
        assert peak < 1.5 * held_bytes(slab) + MEGABYTE


# --- what would not fit -----------------------------------------------------------------------------------------------


def oversized_layer(rng: np.random.Generator) -> Geometry:
    """Return a random layer whose matrix takes petabytes, with a kernel of a few hundred weights."""
    axes = int(rng.integers(1, 4))
    transposed = bool(rng.integers(2))
    stride = rng.integers(1, 3, axes).tolist()
    options: dict[str, Any] = {
        "stride": stride,
        "dilation": rng.integers(1, 4, axes).tolist(),
        "padding": rng.integers(0, 4, (axes, 2)).tolist(),
        "boundary": rng.choice(cm.BOUNDARIES, axes).tolist(),
        "flip": bool(rng.integers(2)),
        "transposed": transposed,
        "output_padding": [step - 1 for step in stride] if transposed else 0,
    }
    groups = int(rng.integers(1, 3))
    options |= {"groups": groups, "in_channels": groups * int(rng.integers(1, 4))}
    options["out_channels"] = groups * int(rng.integers(1, 4))
    entries = 10 ** int(rng.integers(14, 18))
    sizes = [int(entries ** (1 / axes) * rng.uniform(1.0, 3.0)) for _ in range(axes)]
    return Geometry(sizes, rng.integers(1, 8 - 2 * axes + 2, axes).tolist(), **options)


REQUESTS: Final = [oversized_layer(np.random.default_rng(seed)) for seed in range(100)]


@for_each("number", range(len(REQUESTS)))
def test_oversized_requests_are_refused_before_allocation(number: int) -> None:
    geometry = REQUESTS[number]
    kind, order = FORMATS[number % 5], "CF"[number % 2]
    dtype = (np.float64, np.float32, np.complex128, np.int64)[number % 4]
    weights = np.ones(geometry.weight_shape, dtype=dtype)
    make = cm.conv_transpose_matrix if geometry.transposed else cm.conv_matrix

    def ask() -> str:
        with pytest.raises(cm.MatrixTooLargeError) as caught:
            make(weights, geometry, format=kind, order=order)
        return str(caught.value)

    message, peak = peak_memory(ask)
    assert peak < 4 * MEGABYTE
    size = cm.estimate(geometry, dtype=dtype, format=kind, order=order)
    assert size.bytes > 10**13
    assert re.fullmatch(
        re.escape(
            f"the matrix of {geometry!r} with {size.nonzeros} stored entries needs {memory.in_words(size.bytes)}, "
        )
        + r"but [\d.e+]+ ([kMGTPE]B|bytes) of memory are available; "
        + re.escape("use ConvOperator, which forms no matrix, or rows= to build a slab at a time"),
        message,
    )
    start = geometry.n_out // 2
    slab, peak = peak_memory(lambda: make(weights, geometry, order=order, rows=(start, start + 3)))
    assert slab.shape == (3, geometry.n_in)  # one of the ways out
    assert peak < 4 * MEGABYTE


@for_each("number", range(0, len(REQUESTS), 5))
def test_oversized_patterns_and_unfold_matrices_are_refused_before_allocation(number: int) -> None:
    geometry = REQUESTS[number]

    def ask(make: Callable[[], Any]) -> str:
        with pytest.raises(cm.MatrixTooLargeError) as caught:
            make()
        return str(caught.value)

    for make, what in ((geometry.pattern, "pattern"), (geometry.unfold_matrix, "unfold matrix")):
        message, peak = peak_memory(partial(ask, make))
        assert peak < 4 * MEGABYTE
        assert message.startswith(f"the {what} of {geometry!r} with ")
        assert "B of memory are available; use ConvOperator, which forms no matrix" in message


def test_the_table_is_small_enough_for_dense_checks() -> None:
    assert sum(map(dense_entries, CASES.values())) < 400_000
