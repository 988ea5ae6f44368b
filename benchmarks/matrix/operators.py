"""How long products take: without a matrix, with one, and by the convolutions of SciPy and PyTorch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

import convmatrix as cm
from benchmarks._machine import cores
from benchmarks._tables import Cell, Row, Table
from benchmarks._timing import Effort, milliseconds, ratio_of, side_by_side
from benchmarks._worker import call

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks._command import Context

    Array = NDArray[np.float64]
    Products = dict[str, Callable[[], Any]]

_PAUSE = 0.01  # seconds between products, see side_by_side

OURS, EXPLICIT = "ConvOperator", "A @ x"
OTHERS = ("scipy convolve2d", "scipy oaconvolve", "PyTorch")

# Name: kernel, input (with channels, where it has some), batch.
Case = tuple[tuple[int, ...], tuple[int, ...], int]
CASES: dict[str, Case] = {
    "1 channel, 512 x 512, 7 x 7": ((7, 7), (512, 512), 1),
    "1 channel, 2048 x 2048, 5 x 5": ((5, 5), (2048, 2048), 1),
    "64 -> 64 channels, 56 x 56, 3 x 3": ((64, 64, 3, 3), (64, 56, 56), 1),
    "the same, batch of 16": ((64, 64, 3, 3), (64, 56, 56), 16),
}
QUICK: dict[str, Case] = {
    "1 channel, 64 x 64, 5 x 5": ((5, 5), (64, 64), 1),
    "4 -> 4 channels, 16 x 16, 3 x 3, batch of 2": ((4, 4, 3, 3), (4, 16, 16), 2),
}


def time_of_products(context: Context, cases: Mapping[str, Case] | None = None) -> Table:
    """Time forward and adjoint products, each case in a process of its own with a set number of threads."""
    rows: list[Row] = []
    for name, (kernel, shape, batch) in (cases or (QUICK if context.quick else CASES)).items():
        for threads in _threads(context, batch):
            context.report(f"{name}, threads: {threads}")
            arguments = {"kernel": kernel, "shape": shape, "batch": batch, "threads": threads}
            outcome = call(products, {**arguments, "effort": vars(context.effort)}, threads=threads)
            if outcome.failure is not None:
                raise RuntimeError(f"{name}: {outcome.failure}")
            rows.extend(_row(name, way, threads, outcome.values[way]) for way in ("forward", "adjoint"))
    return Table(
        "Products",
        "Medians in milliseconds, in float64, with zeros around and output as large as input; PyTorch by conv2d, and "
        "by conv_transpose2d for the adjoint, with as many threads as BLAS has. SciPy knows no channels and is left "
        "out of the batch. All results agree to 1e-10. The ratio is ConvOperator to the quickest of SciPy and PyTorch.",
        rows,
    )


def _threads(context: Context, batch: int) -> list[int]:
    """Return the numbers of threads to try; the batch takes long, and is for all cores."""
    if context.quick:
        return [1]
    return sorted({1, cores()}) if batch == 1 else [cores()]


def _row(name: str, way: str, threads: int, times: dict[str, list[float]]) -> Row:
    others = {key: times[key] for key in OTHERS if key in times}
    best = min(others, key=lambda key: float(np.median(others[key])))
    ratio = ratio_of(times[OURS], others[best])
    cells: dict[str, Cell] = {"layer": name, "product": way, "threads": threads}
    cells |= {key: milliseconds(times[key]) if key in times else None for key in (OURS, EXPLICIT, *OTHERS)}
    return Row({**cells, "ratio": ratio.median, "quartiles": ratio.quartiles}, timings=times)


def products(
    kernel: list[int], shape: list[int], batch: int, threads: int, effort: dict[str, float]
) -> Iterator[dict[str, Any]]:
    """Yield the times of forward and of adjoint products, after all were found to agree."""
    rng = np.random.default_rng(0)
    w = rng.standard_normal(kernel)
    x = rng.standard_normal((batch, *shape))
    y = rng.standard_normal((batch, *kernel[:1], *shape[1:]) if len(kernel) > len(shape) else (batch, *shape))
    operator = cm.ConvOperator(w, tuple(shape), padding="same")
    matrix = cm.conv_matrix(w, tuple(shape), padding="same")
    adjoint = matrix.T
    inputs, outputs = (np.ascontiguousarray(array.reshape(batch, -1).T) for array in (x, y))  # one a column
    full = w if w.ndim == 4 else w[None, None]
    ways: dict[str, Products] = {
        "forward": {
            OURS: lambda: operator @ inputs,
            EXPLICIT: lambda: matrix @ inputs,
            **_scipy(full, x, transposed=False),
            **_torch(full, x, threads, transposed=False),
        },
        "adjoint": {
            OURS: lambda: operator.H @ outputs,
            EXPLICIT: lambda: adjoint @ outputs,
            **_scipy(full, y, transposed=True),
            **_torch(full, y, threads, transposed=True),
        },
    }
    for way, functions in ways.items():
        expected = functions[EXPLICIT]()
        for name, function in functions.items():
            result = np.asarray(function())
            result = result if name in (OURS, EXPLICIT) else result.reshape(batch, -1).T
            error = float(abs(result - expected).max() / abs(expected).max())
            if not error < 1e-10:
                raise RuntimeError(f"{name} differs from A @ x by {error} of the largest entry")
        measured = Effort(effort["seconds"], min(3, int(effort["least"])), int(effort["most"]))
        yield {way: side_by_side(functions, measured, warm_up=False, pause=_PAUSE)}


def _scipy(w: Array, x: Array, *, transposed: bool) -> Products:
    """Return the products by `scipy.signal`, summed over channels; it convolves, so forward has the kernel reversed."""
    from scipy import signal

    if len(x) > 1:
        return {}
    kernel = w.swapaxes(0, 1) if transposed else np.flip(w, (2, 3))  # (outputs, inputs, *kernel); odd sizes
    image = x.reshape(w.shape[0] if transposed else w.shape[1], *x.shape[-2:])

    def direct() -> Any:
        return [
            sum(signal.convolve2d(channel, tap, "same") for channel, tap in zip(image, row, strict=True))
            for row in kernel
        ]

    def overlap_add() -> Any:
        # Its mode "same" knows one size of channel axes only.
        margins = [(0, 0), *((size // 2, size // 2) for size in kernel.shape[2:])]
        return signal.oaconvolve(np.pad(image, margins)[None], kernel, "valid", axes=(2, 3)).sum(axis=1)

    return {OTHERS[0]: direct, OTHERS[1]: overlap_add}


def _torch(w: Array, x: Array, threads: int, *, transposed: bool) -> Products:
    """Return the product by PyTorch, where it is installed."""
    try:
        torch = importlib.import_module("torch")
    except ModuleNotFoundError:
        return {}
    torch.set_num_threads(threads)
    padding = [size // 2 for size in w.shape[2:]]
    kernel = torch.from_numpy(w)
    images = torch.from_numpy(x.reshape(len(x), -1, *x.shape[-2:]))
    function = torch.nn.functional.conv_transpose2d if transposed else torch.nn.functional.conv2d
    return {OTHERS[2]: lambda: function(images, kernel, padding=padding)}
