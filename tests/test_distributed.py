"""Row slabs on Dask workers: against whole matrices, plain loops and SciPy; workers that die; files; reports."""

from __future__ import annotations

import json
import operator
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse.linalg
from scipy import sparse

import convmatrix as cm
from convmatrix.distributed import SavedSlabs, SlabOperator, load_slabs, map_slabs, save_slabs, slab_plan
from convmatrix.distributed.slabs import SlabLayer, SlabTasks
from convmatrix.io import FileFormatError
from convmatrix.network import Convolution, Elementwise, Input, Network
from convmatrix.spectral import blocks
from tests.strategies import random_layer

distributed = pytest.importorskip("distributed")

LAYER = cm.ConvGeometry((12, 9), (3, 3), in_channels=2, out_channels=3, padding="same", boundary="circular")
KERNEL = np.random.default_rng(0).standard_normal(LAYER.weight_shape)
A = cm.conv_matrix(KERNEL, LAYER)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Yield a client with two workers in this process, with two threads each."""
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=2, processes=False, dashboard_address=":0", memory_limit="2GiB"
        ) as cluster,
        distributed.Client(cluster) as made,
    ):
        yield made


def equal(first: Any, second: Any) -> bool:
    """Return whether two matrices have the same entries, zeros included."""
    return first.shape == second.shape and all(
        np.array_equal(getattr(first, name), getattr(second, name)) for name in ("indptr", "indices", "data")
    )


# --- map and reduce ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [7, 100, 10_000, None])
@pytest.mark.parametrize("order", ["C", "F"])
def test_slabs_make_up_the_matrix(client: Any, rows: int | None, order: str) -> None:
    slabs = map_slabs(sparse.csr_array.copy, KERNEL, LAYER, rows, client=client, order=order)
    assert len(slabs) == slab_plan(LAYER, rows, order=order).n_slabs
    assert equal(sparse.vstack(slabs, format="csr"), cm.conv_matrix(KERNEL, LAYER, order=order))


def test_what_a_function_returns_may_be_a_part_of_the_slab(client: Any) -> None:
    """Slabs are built in memory that is used again, but not while a result refers to it."""
    parts = map_slabs(lambda slab: slab.data[:5], KERNEL, LAYER, 10, client=client)
    assert all(np.array_equal(part, A.data[A.indptr[10 * number] :][:5]) for number, part in enumerate(parts))


def test_memory_of_slabs_is_used_again() -> None:
    layer = SlabLayer(KERNEL, LAYER, "C")
    places = list(layer.each([(0, 9), (9, 18), (18, 24)], lambda slab, _: slab.data.ctypes.data))
    assert len(set(places)) == 1
    kept = list(layer.each([(0, 9), (9, 18)], lambda slab, _: slab))
    assert len({slab.data.ctypes.data for slab in kept}) == 2
    assert equal(kept[0], A[:9])
    assert equal(kept[1], A[9:18])


def test_memory_is_asked_about_only_for_new_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    available = [2**62]

    def counted() -> int:
        asked.append(1)
        return available[0]

    monkeypatch.setattr("convmatrix.memory.available_memory", counted)
    monkeypatch.setattr("convmatrix.memory.NEGLIGIBLE", 0)
    layer = SlabLayer(KERNEL, LAYER, "C")
    for rows in ((0, 9), (9, 18)):
        assert list(layer.each([rows], lambda slab, _: slab.nnz)) == [A[slice(*rows)].nnz]
    assert len(asked) == 2  # for indices and values
    available[0] = 1000
    assert list(layer.each([(0, 9)], lambda slab, _: slab.nnz)) == [A[:9].nnz]
    with pytest.raises(cm.MatrixTooLargeError, match=r"a slab of ConvGeometry\(.*; set a smaller rows_per_slab"):
        list(layer.each([(0, 108)], lambda slab, _: slab.nnz))


def test_slabs_are_filled_by_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Because each thread of a worker builds a slab."""
    monkeypatch.setattr("convmatrix._assembly.fill._WORTH_A_THREAD", 0)
    monkeypatch.setattr("convmatrix._assembly.fill.ThreadPoolExecutor", None)
    with pytest.raises(TypeError):
        cm.conv_matrix(KERNEL, LAYER)
    (slab,) = SlabLayer(KERNEL, LAYER, "C").each([(0, 324)], lambda slab, _: slab)
    assert equal(slab, A)


@pytest.mark.parametrize(
    ("n_slabs", "per_task"), [(1, 1), (3, 1), (11, 1), (11, 2), (6, 4), (16, 8), (27, 1), (32, 1), (63, 1), (90, 2)]
)
def test_reduction_is_a_tree_in_order(
    client: Any, n_slabs: int, per_task: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tree is the same however many slabs a task has; strings show it, and that neighbours stay in order."""
    monkeypatch.setattr("convmatrix.distributed.slab_sizes.SlabPlan.per_task", per_task)
    tree = map_slabs(
        lambda _, rows: str(rows[0]),
        [1.0],
        n_slabs,
        1,
        client=client,
        with_rows=True,
        reduce=lambda left, right: f"({left} {right})",
    )
    nodes = [(0, str(number)) for number in range(n_slabs)]
    while len(nodes) > 1:  # as a plain tree, in pairs of equal levels while there are any
        pairs = [i for i in range(len(nodes) - 1) if nodes[i][0] == nodes[i + 1][0]]
        at = pairs[0] if pairs else len(nodes) - 2
        nodes[at : at + 2] = [(nodes[at][0] + 1, f"({nodes[at][1]} {nodes[at + 1][1]})")]
    assert tree == nodes[0][1]


def test_reductions_of_numbers(client: Any) -> None:
    nonzeros = map_slabs(lambda slab: slab.nnz, KERNEL, LAYER, 5, client=client, reduce=operator.add)
    squares = map_slabs(lambda slab: (slab.data**2).sum(), KERNEL, LAYER, 5, client=client, reduce=operator.add)
    assert nonzeros == A.nnz == cm.estimate(LAYER).nonzeros
    assert squares == pytest.approx((A.data**2).sum(), rel=1e-14)


def test_options_and_rows(client: Any) -> None:
    found = map_slabs(
        lambda slab, rows: (rows, slab.dtype, slab.sum()),
        [1, 2, 3],
        8,
        3,
        client=client,
        with_rows=True,
        dtype=np.float32,
        padding="same",
    )
    assert [rows for rows, _, _ in found] == [(0, 3), (3, 6), (6, 8)]
    assert {dtype for _, dtype, _ in found} == {np.dtype(np.float32)}
    assert sum(total for *_, total in found) == 8 * 6 - 1 - 3


def test_progress(client: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convmatrix.progress.DELAY", 0)
    seen: list[tuple[int, int]] = []
    map_slabs(lambda slab: 0, KERNEL, LAYER, 30, client=client, progress=lambda *step: seen.append(step[:2]))
    assert seen[-1] == (11, 11)
    assert seen == sorted(seen)
    map_slabs(lambda slab: 0, KERNEL, LAYER, 30, client=client, progress=True, reduce=max)
    assert re.search(r"\rslabs \[[#.]{20}\] \d+/11 ", capsys.readouterr().err)


def test_few_tasks_are_in_flight(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many slabs there are: two per thread, and one more."""
    monkeypatch.setattr("convmatrix.distributed.slab_sizes.SlabPlan.per_task", 1)
    lock, count, most = threading.Lock(), [0], [0]
    submit = type(client).submit

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        future = submit(self, *args, **kwargs)
        with lock:
            count[0] += 1
            most[0] = max(most[0], count[0])
        return future

    result = SlabTasks._result

    def taken(self: Any, future: Any) -> Any:
        with lock:
            count[0] -= 1
        return result(self, future)

    monkeypatch.setattr(type(client), "submit", counted)
    monkeypatch.setattr(SlabTasks, "_result", taken)
    assert len(map_slabs(lambda slab: slab.nnz, KERNEL, LAYER, 8, client=client)) == 41
    assert most[0] == 9


def test_errors_tell_the_rows(client: Any) -> None:
    def fail(slab: Any, rows: tuple[int, int]) -> int:
        if rows[0] == 20:
            raise ZeroDivisionError("on purpose")
        return 0

    for reduce in (None, operator.add):
        with pytest.raises(ZeroDivisionError, match="on purpose") as caught:
            map_slabs(fail, KERNEL, LAYER, 10, client=client, with_rows=True, reduce=reduce)
        assert "20 to 29" in caught.value.__notes__[0]


def test_interruption_withdraws_tasks(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convmatrix.distributed.slab_sizes.SlabPlan.per_task", 1)
    started: list[int] = []

    def interrupt(done: int, of: int, text: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        map_slabs(
            lambda _, rows: started.append(rows[0]),
            [1.0],
            100,
            1,
            client=client,
            with_rows=True,
            progress=interrupt,
        )
    time.sleep(0.2)
    assert len(started) <= 2 * 9


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_what_does_not_fit_on_a_worker_is_refused(client: Any) -> None:
    large = cm.ConvGeometry((512, 512), (3, 3), in_channels=256, out_channels=256, padding="same")
    kernel = np.ones(large.weight_shape, dtype=np.float32)
    with pytest.raises(cm.MatrixTooLargeError, match=r"1000000 rows .* 859 MB per thread .* rows_per_slab=\d+"):
        map_slabs(lambda slab: 0, kernel, large, 1_000_000, client=client)
    with pytest.raises(cm.MatrixTooLargeError, match="rows_per_slab"):
        SlabOperator(kernel, large, 1_000_000, client=client)
    small = SlabOperator(KERNEL, LAYER, client=client)
    with pytest.raises(cm.MatrixTooLargeError):
        small @ np.broadcast_to(np.float64(0), (LAYER.n_in, 2**21))


def test_arguments_are_checked(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TypeError, match="function"):
        map_slabs("nnz", KERNEL, LAYER, client=client)
    with pytest.raises(TypeError, match="reduce"):
        map_slabs(len, KERNEL, LAYER, client=client, reduce=0)
    with pytest.raises(ValueError, match="rows_per_slab"):
        map_slabs(len, KERNEL, LAYER, 0, client=client)
    with pytest.raises(TypeError, match="client"):
        map_slabs(len, KERNEL, LAYER, client="tcp://localhost")
    with pytest.raises(ValueError, match="weights"):
        map_slabs(len, KERNEL[:, :1], LAYER, client=client)
    with pytest.raises(TypeError, match="strides"):
        map_slabs(len, [1.0], 5, client=client, strides=2)
    made = SlabOperator(KERNEL, LAYER, client=client)
    with monkeypatch.context() as patch:
        patch.setattr(client, "status", "closed")
        for call in (lambda: map_slabs(len, KERNEL, LAYER, client=client), lambda: made @ np.ones(LAYER.n_in)):
            with pytest.raises(ValueError, match="closed"):
                call()
    monkeypatch.setattr(distributed, "default_client", lambda: (_ for _ in ()).throw(ValueError("none")))
    with pytest.raises(ValueError, match=r"distributed\.Client\(\)"):
        map_slabs(len, KERNEL, LAYER)
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(ImportError, match=r"dask\[distributed\]"):
        map_slabs(len, KERNEL, LAYER)


def test_a_client_without_workers_is_not_waited_for_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convmatrix.distributed.workers._WAIT", 0.1)
    network = Network([Input((2, 12, 9)), Convolution(LAYER, KERNEL)])
    with (
        distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as alone,
    ):
        for call in (
            lambda: map_slabs(len, KERNEL, LAYER, client=alone),
            lambda: network.report(norms=True, client=alone),
        ):
            with pytest.raises(TimeoutError, match="no workers"):
                call()


# --- the operator -----------------------------------------------------------------------------------------------------


def test_products_of_random_layers(client: Any) -> None:
    rng = np.random.default_rng(5)
    for number in range(12):
        geometry = random_layer(rng)
        kernel = rng.integers(-4, 5, geometry.weight_shape) + (1j if number % 3 == 2 else 0)
        order = "CF"[number % 2]
        matrix = cm.conv_matrix(kernel, geometry, order=order).toarray()
        rows = int(rng.integers(1, geometry.n_out + 1))
        product = SlabOperator(kernel, geometry, rows, client=client, order=order)
        X, Y = (rng.integers(-4, 5, (size, 2)) + 1j * rng.integers(0, 2) for size in matrix.shape[::-1])
        assert np.array_equal(product @ X, matrix @ X)
        assert np.array_equal(product @ X[:, 0], matrix @ X[:, 0])
        assert np.array_equal(product.H @ Y, matrix.conj().T @ Y)
        assert np.array_equal(product.T @ Y[:, 0], matrix.T @ Y[:, 0])


def test_only_the_part_that_is_read_is_sent(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convmatrix.distributed.slab_sizes.SlabPlan.per_task", 1)
    sent: list[tuple[Any, int]] = []
    submit = SlabTasks._submit

    def counted(self: Any, task: Any, numbers: Any, arguments: Any) -> Any:
        sent.append((tuple(self.plan.rows(numbers[0])), arguments[0].nbytes))
        return submit(self, task, numbers, arguments)

    monkeypatch.setattr(SlabTasks, "_submit", counted)
    product = SlabOperator(KERNEL, LAYER, 20, client=client)
    _ = product @ np.ones(LAYER.n_in)
    columns = [np.unique(cm.conv_matrix(KERNEL, LAYER, rows=rows).indices) for rows, _ in sent]
    assert [n_bytes for _, n_bytes in sent] == [8 * len(found) for found in columns]
    assert max(n_bytes for _, n_bytes in sent) <= product.plan.part_bytes < 8 * LAYER.n_in
    sent.clear()
    _ = product.H @ np.ones(LAYER.n_out)
    assert [n_bytes for _, n_bytes in sent] == [8 * (stop - start) for (start, stop), _ in sent]


def test_a_vector_of_which_all_tasks_read_most_is_sent_once(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convmatrix.distributed.slab_sizes.SlabPlan.per_task", 1)
    taps = np.arange(1.0, 42.0)
    matrix = cm.conv_matrix(taps, 21, padding=20)  # every row reads every sample, except near its ends
    product = SlabOperator(taps, 21, 1, client=client, padding=20)
    sent: list[int] = []
    scatter = type(client).scatter

    def counted(self: Any, data: Any, **options: Any) -> Any:
        sent.append(data.nbytes if isinstance(data, np.ndarray) else 0)
        return scatter(self, data, **options)

    monkeypatch.setattr(type(client), "scatter", counted)
    for x in (np.arange(21.0), np.arange(42.0).reshape(21, 2)):
        assert np.array_equal(product @ x, matrix @ x)
    assert sent == [0, 168, 336]  # the kernel once for all products
    with monkeypatch.context() as patch:
        patch.setattr("convmatrix.distributed.slab_operator._MESSAGE", 167)
        assert np.array_equal(product @ np.arange(21.0), matrix @ np.arange(21.0))
    few = SlabOperator(taps, 21, 3, client=client, padding=20)  # fewer tasks than are sent at first
    assert np.array_equal(few @ np.arange(21.0), matrix @ np.arange(21.0))
    assert sent == [0, 168, 336, 0]  # the kernel of another operator


def test_svds(client: Any) -> None:
    taps = [1.0, -3.0, 2.0, 0.5]
    product = SlabOperator(taps, 16, 8, client=client, padding="same")
    matrix = cm.conv_matrix(taps, 16, padding="same").toarray()
    values = scipy.sparse.linalg.svds(product, 1, ncv=12, return_singular_vectors=False, rng=0)
    assert values == pytest.approx(np.linalg.svd(matrix, compute_uv=False)[:1], rel=1e-10)


def test_operator_refuses(client: Any) -> None:
    product = SlabOperator(KERNEL, LAYER, client=client)
    with pytest.raises(TypeError, match="sparse"):
        product._matmat(sparse.eye_array(LAYER.n_in))
    with pytest.raises(TypeError, match="dtype object"):
        product.matvec(np.full(LAYER.n_in, None))
    with pytest.raises(ValueError, match=str(LAYER.n_in + 1)):
        product @ np.ones(LAYER.n_in + 1)
    with pytest.raises(ValueError, match=rf"{LAYER.n_in}, 2, 2"):
        product @ np.ones((LAYER.n_in, 2, 2))


# --- files ------------------------------------------------------------------------------------------------------------


def test_saved_slabs_are_the_matrix(client: Any, tmp_path: Path) -> None:
    saved = save_slabs(tmp_path / "A", KERNEL, LAYER, 50, client=client)
    for found in (saved, load_slabs(tmp_path / "A")):
        assert found.complete
        assert (len(found), found.shape, found.nonzeros, found.plan.geometry) == (7, A.shape, A.nnz, LAYER)
        assert equal(sparse.vstack(list(found), format="csr"), A)
        for start, stop in ((0, 0), (3, 4), (49, 51), (120, 324), (0, 324)):
            assert equal(found.rows(start, stop), A[start:stop])
        assert equal(found[-1], A[300:])
    assert equal(sparse.load_npz(saved.path(1)), A[50:100])
    with pytest.raises(IndexError, match="7"):
        saved[7]


class StopSavingError(Exception):
    """Raised on purpose."""


def test_saving_continues_where_it_was_interrupted(client: Any, tmp_path: Path) -> None:
    folder = tmp_path / "A"

    def interrupt(done: int, of: int, text: str) -> None:
        if done == 3:
            raise StopSavingError

    with pytest.raises(StopSavingError):
        save_slabs(folder, KERNEL, LAYER, 20, client=client, progress=interrupt)
    partly = load_slabs(folder)
    assert not partly.complete
    kept = sorted(partly.parts)
    with pytest.raises(FileNotFoundError, match=f"{len(kept)} of 17"):
        partly[16]
    partly.path(kept[0]).write_bytes(b"damaged")  # is written again, and so is what the index does not know
    dates = {number: partly.path(number).stat().st_mtime_ns for number in kept}
    time.sleep(0.02)
    seen: list[int] = []
    saved = save_slabs(folder, KERNEL, LAYER, client=client, progress=lambda done, of, text: seen.append(of))
    assert saved.complete
    assert saved.plan.rows_per_slab == 20
    assert set(seen) == {17 - len(kept) + 1}
    unchanged = [number for number in kept if saved.path(number).stat().st_mtime_ns == dates[number]]
    assert unchanged == kept[1:]
    assert equal(sparse.vstack(list(saved), format="csr"), A)


def test_another_matrix_is_refused(client: Any, tmp_path: Path) -> None:
    folder = tmp_path / "A"
    save_slabs(folder, KERNEL, LAYER, 200, client=client)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    other = cm.ConvGeometry((12, 9), (3, 3), in_channels=2, out_channels=3, padding="same")
    changed = KERNEL.copy()
    changed[2, 1, 0, 0] = np.nextafter(changed[2, 1, 0, 0], 9)
    for name, kernel, layer, options in (
        ("geometry", KERNEL, other, {}),
        ("kernel", changed, LAYER, {}),
        ("dtype", KERNEL, LAYER, {"dtype": np.float32}),
        ("order", KERNEL, LAYER, {"order": "F"}),
        ("rows_per_slab is 200, but 100", KERNEL, LAYER, {"rows_per_slab": 100}),
    ):
        with pytest.raises(ValueError, match=name):
            save_slabs(folder, kernel, layer, client=client, **options)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"notes\.txt"):
        save_slabs(tmp_path / "full", KERNEL, LAYER, client=client)
    with pytest.raises(FileNotFoundError):
        save_slabs(tmp_path / "no" / "such", KERNEL, LAYER, client=client)
    if np.dtype(np.longdouble) != np.float64:
        with pytest.raises(TypeError, match="dtype"):
            save_slabs(tmp_path / "B", KERNEL.astype(np.longdouble), LAYER, client=client)
        assert not (tmp_path / "B").exists()


def test_what_a_kill_leaves_behind_is_removed(client: Any, tmp_path: Path) -> None:
    """Even one before the first index is complete."""
    left = tmp_path / "A" / ".convmatrix-0123456789abcdef.tmp"
    left.parent.mkdir()
    left.write_bytes(b"a part of an index")
    saved = save_slabs(left.parent, [1.0], 4, 2, client=client)
    left.write_bytes(b"a part of a slab")
    assert save_slabs(left.parent, [1.0], 4, 2, client=client).complete
    assert {path.name for path in left.parent.iterdir()} == {"index.json", saved.path(0).name, saved.path(1).name}
    assert saved[np.int64(-1)].shape == (2, 4)
    with pytest.raises(TypeError, match="slice"):
        saved[0:1]  # type: ignore[index]


def test_damaged_files_are_noticed(client: Any, tmp_path: Path) -> None:
    saved = save_slabs(tmp_path / "A", KERNEL, LAYER, 200, client=client)
    cm.io.save(saved.path(1), 2 * A[200:])  # a valid file, but of another matrix
    with pytest.raises(FileFormatError, match="checksum"):
        saved[1]
    index = saved.folder / "index.json"
    good = json.loads(index.read_text())
    for change in (
        {"kind": "convmatrix slabs 99"},
        {"rows_per_slab": 0},
        {"rows_per_slab": "200"},
        {"order": "K"},
        {"dtype": "float23"},
        {"geometry": {}},
        {"parts": {"2": [1, 1, "00"]}},
        {"parts": {"0": [1, 1]}},
        {"parts": {"-1": [1, 1, "00"]}},
        {"more": 1},
    ):
        index.write_text(json.dumps(good | change))
        with pytest.raises(FileFormatError):
            load_slabs(saved.folder)
    index.write_text(index.read_text()[:-20])
    with pytest.raises(FileFormatError):
        load_slabs(saved.folder)
    index.unlink()
    with pytest.raises(FileNotFoundError):
        load_slabs(saved.folder)


def test_saved_slabs_of_another_length_are_noticed(client: Any, tmp_path: Path) -> None:
    saved = save_slabs(tmp_path / "A", KERNEL, LAYER, 200, client=client)
    cm.io.save(saved.path(1), A[201:])
    damaged = SavedSlabs(saved.folder, saved.plan, saved.kernel_sha256, dict(saved.parts))
    part = damaged.parts[1]
    path = damaged.path(1)
    from convmatrix.distributed.slab_files import _checksum_of_file

    damaged.parts[1] = type(part)(part.nonzeros, path.stat().st_size, _checksum_of_file(path))
    with pytest.raises(FileFormatError, match="shape"):
        damaged[1]


# --- reports ----------------------------------------------------------------------------------------------------------


def test_report_is_the_same(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "_CHUNK", 2**14)  # so that even small layers have several chunks of frequencies
    rng = np.random.default_rng(3)
    layers = [
        cm.ConvGeometry((12, 12), (3, 3), in_channels=2, out_channels=8, padding="same", boundary="circular"),
        cm.ConvGeometry((12, 12), (3, 3), in_channels=8, out_channels=8, padding="same"),
    ]
    network = Network(
        [
            Input((2, 12, 12)),
            Convolution(layers[0], rng.standard_normal(layers[0].weight_shape)),
            Elementwise("relu"),
            Convolution(layers[1], rng.standard_normal(layers[1].weight_shape)),
            Convolution(layers[1]),
        ]
    )
    chunks: list[int] = []
    here = blocks.Blocks.map_chunk

    def counted(self: Any, function: Any, first: Any) -> Any:
        chunks.append(len(first))
        return here(self, function, first)

    monkeypatch.setattr(blocks.Blocks, "map_chunk", counted)
    expected = network.report(norms=True)
    alone = sorted(chunks)
    assert len(alone) > 4
    chunks.clear()
    seen: list[tuple[int, int, str]] = []
    found = network.report(norms=True, client=client, progress=lambda *step: seen.append(step))
    assert (found.rows, found.total) == (expected.rows, expected.total)
    assert sorted(chunks) == alone
    assert [done for done, _, _ in seen] == [1, 2, 3, 4, 5]
    assert {name for *_, name in seen} == {node.name for node in network.nodes}
    assert found.rows[4]["norm_reason"] == expected.rows[4]["norm_reason"] == "the node has no weights"


# --- workers that die -------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
def test_killed_workers_are_replaced(tmp_path: Path) -> None:
    """The only worker dies, and with it all copies of the kernel."""
    slabs = [float(A[start : start + 20].sum()) for start in range(0, 324, 20)]
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=True, dashboard_address=":0", memory_limit="1GiB"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        mark = tmp_path / "killed"

        def total(slab: Any, rows: tuple[int, int]) -> float:
            """Return the sum of a slab; the first worker that comes to row 100 dies."""
            if rows[0] == 100 and not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return float(slab.sum())

        before = set(client.scheduler_info()["workers"])
        found = map_slabs(total, KERNEL, LAYER, 20, client=client, with_rows=True, reduce=operator.add)
        assert found == pytest.approx(sum(slabs), rel=1e-13)
        assert mark.exists()
        assert not before & set(client.scheduler_info()["workers"])

        killed: list[int] = []

        def kill(done: int, of: int, text: str) -> None:
            if done == 5 and not killed:
                killed.extend(client.run(os.getpid).values())
                os.kill(killed[0], signal.SIGKILL)

        taps, x = np.arange(1.0, 42.0), np.arange(21.0)  # x is sent once, as the kernel is, and dies with it
        product = SlabOperator(taps, 21, 1, client=client, padding=20, progress=kill)
        assert product._tasks.per_task == 1
        assert product._sends_whole(x[:, None])
        assert np.array_equal(product @ x, cm.conv_matrix(taps, 21, padding=20) @ x)
        assert killed != list(client.run(os.getpid).values())


def test_a_result_is_asked_for_again(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker that was asked for a result may have left; a TimeoutError of the task itself is the user's."""
    monkeypatch.setattr("convmatrix.distributed.slabs._PATIENCE", 0.01)
    asked: list[float] = []
    result = distributed.Future.result

    def late(self: Any, timeout: float | None = None) -> Any:
        asked.append(timeout or 0)
        if len(asked) < 3:
            raise TimeoutError
        return result(self, timeout=60)

    def fail(slab: Any) -> None:
        raise TimeoutError("on purpose")

    with monkeypatch.context() as patch:
        patch.setattr(distributed.Future, "result", late)
        assert map_slabs(lambda slab: slab.nnz, [1.0], 4, 4, client=client) == [4]
    assert asked == [0.01, 0.02, 0.04]
    with pytest.raises(TimeoutError, match="on purpose"):
        map_slabs(fail, [1.0], 4, 4, client=client)
