"""Spectra of layers: all singular values, the norm of the padded layer, bounds on it, and tests of structure."""

from __future__ import annotations

import time
from collections import defaultdict
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

import convmatrix as cm
from benchmarks._tables import Cell, Goal, Row, Table
from benchmarks._timing import Effort, milliseconds, ratio_of, side_by_side
from convmatrix import spectral, structured
from convmatrix.spectral import published

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from benchmarks._command import Context, Topic

    Array = NDArray[Any]

_POWER_SECONDS = 8
"""Seconds after which power iteration is stopped."""
_GRAM_STEPS = 2
"""Gram iterations of orthogonium: each of them squares the kernel, whose fourth power has 9 x 9 taps of 3 x 3."""
_ROUNDS = Effort(1.0, 2, 9)
"""Rounds of functions that take seconds."""


# --- all singular values ---------------------------------------------------------------------------------------------


def reference_values(kernel: Array, n: int) -> Array:
    """Return the singular values of a circular layer by the recipe of Sedghi et al. (2019); kernel (k, k, in, out)."""
    return np.linalg.svd(np.fft.fft2(kernel, [n, n], axes=[0, 1]), compute_uv=False)


def all_singular_values(context: Context) -> Table:
    """Time all singular values of circular layers against the reference recipe."""
    cases = [(8, 8, 16), (8, 16, 8)] if context.quick else [(64, 64, 56), (128, 256, 28), (512, 512, 7)]
    rows = []
    for inputs, outputs, n in cases:
        context.report(f"{inputs} -> {outputs}, {n} x {n}")
        kernel = np.random.default_rng(0).standard_normal((outputs, inputs, 3, 3))
        theirs_kernel = np.ascontiguousarray(kernel.transpose(2, 3, 1, 0))
        ours = partial(spectral.singular_values, kernel, (inputs, n, n), padding="same", boundary="circular")
        theirs = partial(reference_values, theirs_kernel, n)
        found, expected = ours(), np.sort(theirs(), axis=None)[::-1]
        # The reference centres the kernel differently, which changes phases but no singular value.
        difference = float(np.abs(found - expected).max() / expected[0])
        if not difference < 1e-12:
            raise RuntimeError(f"the singular values of {inputs} -> {outputs}, {n} x {n} differ by {difference:.1e}")
        times = side_by_side({"ours": ours, "theirs": theirs}, _ROUNDS.at_least(3), warm_up=False)
        ratio = ratio_of(times["theirs"], times["ours"])
        rows.append(
            Row(
                {
                    "layer": f"{inputs} -> {outputs} channels, {n} x {n}, 3 x 3",
                    "values": len(found),
                    "convmatrix, ms": milliseconds(times["ours"]),
                    "reference, ms": milliseconds(times["theirs"]),
                    "times faster": ratio.median,
                    "quartiles": ratio.quartiles,
                    "difference": f"{difference:.0e}",
                },
                timings=times,
            )
        )
    return Table(
        "All singular values of circular layers",
        "singular_values against np.linalg.svd(np.fft.fft2(K, [n, n], axes=[0, 1]), compute_uv=False), the recipe of "
        "Sedghi et al. (2019), with their default number of threads; the difference is relative to the largest "
        "value.",
        rows,
        context.goal(Goal("times faster", "at least", 3.0)),
    )


# --- the norm of the padded layer ------------------------------------------------------------------------------------


def power_iteration(kernel: Array, size: int, dtype: str, seconds: float) -> Callable[[int], list[float]]:
    """Return power iteration on a zero-padded 3 x 3 layer in PyTorch, a function from steps to all estimates."""
    import torch

    weight = torch.from_numpy(kernel).to(getattr(torch, dtype))
    start = np.random.default_rng(1).standard_normal((1, kernel.shape[1], size, size))

    def run(steps: int) -> list[float]:
        x = torch.from_numpy(start).to(weight.dtype)
        x /= x.norm()
        estimates = []
        begin = time.perf_counter()
        with torch.no_grad():
            for _ in range(steps):
                y = torch.nn.functional.conv2d(x, weight, padding=1)
                estimates.append(float(y.norm()))
                x = torch.nn.functional.conv_transpose2d(y, weight, padding=1)
                x /= x.norm()
                if time.perf_counter() - begin > seconds:
                    break
        return estimates

    return run


def padded_norm(context: Context) -> Table:
    """Time the norm of a zero-padded layer against power iteration in PyTorch, both to the same accuracy."""
    import torch

    channels, size = (8, 16) if context.quick else (64, 56)
    kernel = np.random.default_rng(0).standard_normal((channels, channels, 3, 3))
    norm = partial(spectral.spectral_norm, kernel, (channels, size, size), padding=1, method="lanczos")
    context.report("the norm itself")
    truth = norm(tol=1e-9)
    rows = []
    limit = 1 if context.quick else _POWER_SECONDS
    for dtype, accuracy in (("float32", 1e-3), ("float64", 1e-6)):
        power = power_iteration(kernel, size, dtype, limit)
        context.report(f"power iteration, {dtype}, accuracy {accuracy:g}")
        errors = 1 - np.array(power(100_000)) / truth
        reached = 1 - norm(tol=accuracy) / truth
        if not reached <= accuracy:
            raise RuntimeError(f"spectral_norm with tol={accuracy:g} has the relative error {reached:.1e}")
        # Power iteration stops at the first step that is known to suffice; the search for it is not timed.
        enough = np.flatnonzero(np.abs(errors) <= accuracy)
        steps = int(enough[0]) + 1 if len(enough) else len(errors)
        functions: dict[str, Callable[[], object]] = {
            "ours": partial(norm, tol=accuracy),
            "theirs": partial(power, steps),
        }
        times = side_by_side(functions, _ROUNDS, warm_up=False)
        ratio = ratio_of(times["theirs"], times["ours"])
        cells: dict[str, Cell] = {
            "PyTorch": dtype,
            "relative error": f"{accuracy:g}",
            "convmatrix, ms": milliseconds(times["ours"]),
            "its error": f"{max(reached, 0.0):.0e}",
            "PyTorch, ms": milliseconds(times["theirs"]),
            "steps": steps if len(enough) else f"{steps}, stopped",
            "times faster": ratio.median,
            "quartiles": ratio.quartiles,
        }
        rows.append(Row(cells, lower_bound=not len(enough), timings=times))
    return Table(
        f"Norm of a zero-padded layer, {channels} -> {channels} channels, {size} x {size}, 3 x 3",
        "spectral_norm with this error as its tolerance, whose own estimate ends the steps, against power iteration by "
        f"conv2d and conv_transpose2d of PyTorch {torch.__version__}, in the precision that suffices and with the "
        "fewest steps that reach the error, which were determined beforehand; both with the same number of threads. "
        f"Power iteration is stopped after {limit} seconds.",
        rows,
        context.goal(Goal("times faster", "at least", 3.0)),
    )


def architecture_norms(context: Context) -> Table:
    """Time the norms of all convolutions of ResNet-18, and the report of ResNet-50 with norms."""
    from benchmarks.models import with_weights

    network = with_weights(cm.network.architecture("lenet5" if context.quick else "resnet18"))
    convolutions = [node.operation for node in network if isinstance(node.operation, cm.network.Convolution)]
    layers = [layer for layer in convolutions if layer.geometry.connections is None]
    seconds: defaultdict[str, float] = defaultdict(float)
    widths, errors, excesses, bound = [], [], [], orthogonium_bound()
    for number, layer in enumerate(layers):
        context.report(f"layer {number + 1} of {len(layers)}")
        geometry, weight = layer.geometry, layer.weight
        start = time.perf_counter()
        lower, upper = spectral.norm_bounds(weight, geometry)
        seconds["norm_bounds"] += time.perf_counter() - start
        widths.append(upper / lower - 1)
        start = time.perf_counter()
        value = spectral.spectral_norm(weight, geometry)
        seconds["spectral_norm"] += time.perf_counter() - start
        if not lower * (1 - 1e-6) <= value <= upper * (1 + 1e-12):
            raise RuntimeError(f"the norm {value} of {geometry!r} is not between its bounds {lower} and {upper}")
        start = time.perf_counter()
        reference_values(weight.transpose(2, 3, 1, 0), geometry.input_shape[0])
        seconds["recipe of conv-sv"] += time.perf_counter() - start
        start = time.perf_counter()
        found = _hundred_steps(weight, geometry)
        seconds["100 power steps, PyTorch"] += time.perf_counter() - start
        errors.append(1 - found / value)
        if bound is not None:
            start = time.perf_counter()
            excesses.append(bound(weight) / value - 1)
            seconds["get_conv_sv of orthogonium"] += time.perf_counter() - start
    found_errors = {
        "norm_bounds": f"width {max(widths):.4f} at most",
        "spectral_norm": "tol 1e-6",
        "recipe of conv-sv": "circular, stride 1",
        "100 power steps, PyTorch": f"{max(errors):.4f} at most",
    }
    if excesses:
        found_errors["get_conv_sv of orthogonium"] = f"{min(excesses):.3f} to {max(excesses):.3f} above"
    other = with_weights(cm.network.architecture("lenet5" if context.quick else "resnet50"))
    context.report(f"report of {other.name}")
    start = time.perf_counter()
    other.report(norms=True)
    report = f"report of {other.name} with norms"
    seconds[report] = time.perf_counter() - start
    limits = {"norm_bounds": 30.0, "spectral_norm": 60.0, report: 180.0}
    rows = [
        Row(
            {
                "what": what,
                "seconds": seconds[what],
                "error": found_errors.get(what),
                "limit, s": limits.get(what),
                "seconds / limit": seconds[what] / limits[what] if what in limits else None,
            }
        )
        for what in (*found_errors, report)
    ]
    return Table(
        f"Norms of all {len(layers)} convolutions of {network.name}",
        "Random weights; every layer at its own size, with its own stride and zero padding. norm_bounds and "
        "spectral_norm with their defaults. The recipe of conv-sv (Sedghi et al., 2019) answers for circular layers of "
        "stride 1 only. Power iteration takes 100 steps in float32, and its error is that beside spectral_norm. "
        f"get_conv_sv, if orthogonium is installed, takes {_GRAM_STEPS} Gram iterations of Delattre et al. (2024) in "
        "float32; it ignores strides, and how far its bounds lie above spectral_norm is shown.",
        rows,
        context.goal(Goal("seconds / limit", "at most", 1.0)),
    )


def orthogonium_bound() -> Callable[[Array], float] | None:
    """Return the upper bound of orthogonium on the norm of a zero-padded layer, or None if it is not installed."""
    try:
        get_conv_sv = import_module("orthogonium.layers.conv.singular_values").get_conv_sv
    except ImportError:
        return None
    import torch

    def bound(weight: Array) -> float:
        outputs, inputs, *taps = weight.shape
        layer = torch.nn.Conv2d(inputs, outputs, tuple(taps), padding=tuple(n // 2 for n in taps), bias=False)
        layer.weight.data = torch.from_numpy(weight.astype(np.float32))
        return float(get_conv_sv(layer, _GRAM_STEPS, return_stab_rank=False))

    return bound


def _hundred_steps(weight: Array, geometry: Any) -> float:
    """Return the norm of a layer after a hundred power steps of PyTorch in single precision."""
    import torch
    from torch.nn import grad as gradients

    kernel = torch.from_numpy(weight.astype(np.float32))
    options: dict[str, Any] = {"stride": geometry.stride, "padding": [low for low, _ in geometry.padding]}
    x = torch.from_numpy(np.random.default_rng(1).standard_normal((1, kernel.shape[1], *geometry.input_shape)))
    x = x.to(torch.float32)
    value = 0.0
    with torch.no_grad():
        for _ in range(100):
            x = x / x.norm()
            y = torch.nn.functional.conv2d(x, kernel, **options)
            value = float(y.norm())
            back: Any = gradients.conv2d_input  # without annotations
            x = back(list(x.shape), kernel, y, **options)
    return value


# --- bounds ----------------------------------------------------------------------------------------------------------


def default_bounds(context: Context) -> Table:
    """Time norm_bounds without tol and the published bounds, and compare them with the norm."""
    channels, size = (8, 16) if context.quick else (64, 56)
    kernel = np.random.default_rng(0).standard_normal((channels, channels, 3, 3))
    shape, sides = (channels, size, size), (size, size)
    boundaries = ("zero", "circular", "reflect")
    functions: dict[str, Callable[[], object]] = {}
    ratios: dict[str, dict[str, float]] = {}
    lower: dict[str, float] = {}
    for boundary in boundaries:
        context.report(f"norm_bounds, {boundary}")
        name = f"norm_bounds, {boundary}"
        functions[name] = bounds = partial(spectral.norm_bounds, kernel, shape, padding=1, boundary=boundary)
        lower[boundary], upper = bounds()
        ratios[name] = {boundary: upper / lower[boundary]}
    theirs: dict[str, Callable[[], float]] = {
        "Sedghi 2019": partial(published.sedghi, kernel, sides),
        "Singla, Feizi 2021": partial(published.singla_feizi, kernel),
        "Araujo 2021": partial(published.araujo, kernel),
        "Delattre 2023": partial(published.delattre_circular, kernel, sides),
        "Delattre 2024": partial(published.delattre_zero, kernel),
        "Grishina 2024": partial(published.grishina, kernel),
        "symbol on a grid of 50": partial(published.grid_bound, kernel, 50),
    }
    for name, bound in theirs.items():
        context.report(name)
        value = bound()
        ratios[name] = {boundary: value / lower[boundary] for boundary in boundaries}
        functions[name] = bound
    context.report("all of them in turn")
    times = side_by_side(functions, _ROUNDS, warm_up=False)
    rows = [
        Row(
            {
                "bound": name,
                "ms": milliseconds(times[name]),
                **{b: f"{found[b]:.4f}" if b in found else None for b in boundaries},
            },
            timings={name: times[name]},
        )
        for name, found in ratios.items()
    ]
    return Table(
        f"Bounds on the norm, {channels} -> {channels} channels, {size} x {size}, 3 x 3",
        "The upper bound of norm_bounds without tol, and the published ones as implemented in convmatrix, divided by "
        "the lower bound of norm_bounds for the boundary: a value below 1 is not a bound for that layer.",
        rows,
    )


# --- structure -------------------------------------------------------------------------------------------------------


def structure_tests(context: Context) -> Table:
    """Time the tests of structure on ten million nonzeros, in units of one pass over them."""
    rng = np.random.default_rng(0)
    side, samples, small = (40, 3_000, 12) if context.quick else (452, 3_333_334, 66)
    same: dict[str, Any] = {"padding": "same"}
    ring: dict[str, Any] = {"padding": "same", "boundary": "circular"}
    matrices: dict[str, tuple[Any, Callable[[Any], bool]]] = {
        "Toeplitz, 3 diagonals": (
            cm.conv_matrix(rng.standard_normal(3), samples, **same),
            structured.is_toeplitz,
        ),
        "circulant, 3 diagonals": (
            cm.conv_matrix(rng.standard_normal(3), samples, **ring),
            structured.is_circulant,
        ),
        "doubly block Toeplitz, 7 x 7 taps": (
            cm.conv_matrix(rng.standard_normal((7, 7)), (side, side), **same),
            partial(structured.is_doubly_block_toeplitz, shape=(side, side)),
        ),
        "doubly block circulant, 7 x 7 taps": (
            cm.conv_matrix(rng.standard_normal((7, 7)), (side, side), **ring),
            partial(structured.is_doubly_block_circulant, shape=(side, side)),
        ),
        "16 x 16 channels of 3 x 3 taps": (
            cm.conv_matrix(rng.standard_normal((16, 16, 3, 3)), (16, small, small), **same),
            partial(structured.is_doubly_block_toeplitz, shape=(small, small), channels=(16, 16)),
        ),
    }
    rows = []
    for name, (matrix, test) in matrices.items():
        context.report(name)
        if not test(matrix):
            raise RuntimeError(f"the matrix {name} was not recognised")
        vector = np.ones(matrix.shape[1])
        functions: dict[str, Callable[[], object]] = {
            "test": partial(test, matrix),
            "pass": partial(_pass, matrix),
            "product": partial(matrix.__matmul__, vector),
        }
        times = side_by_side(functions, context.effort)
        ratio = ratio_of(times["test"], times["pass"])
        rows.append(
            Row(
                {
                    "matrix": name,
                    "nonzeros": matrix.nnz,
                    "test, ms": milliseconds(times["test"]),
                    "pass, ms": milliseconds(times["pass"]),
                    "passes": ratio.median,
                    "quartiles": ratio.quartiles,
                    "products A x": ratio_of(times["test"], times["product"]).median,
                },
                timings=times,
            )
        )
    return Table(
        "Tests of structure",
        "A pass copies the values and the column indices of all nonzeros into new arrays; a product is A x.",
        rows,
        context.goal(Goal("passes", "at most", 2.5)),
    )


def toeplitz_operators(context: Context) -> Table:
    """Time products and solutions by FFT against the stored matrix and SciPy's functions for Toeplitz matrices."""
    from scipy import linalg

    rows = []
    for n in (64, 128) if context.quick else (2_000, 8_000, 100_000):
        context.report(f"{n} rows")
        column = 1 / (1.0 + np.arange(n)) ** 2
        operator, vector = structured.toeplitz_operator(column), np.random.default_rng(0).standard_normal(n)
        products: dict[str, Callable[[], object]] = {
            "operator": partial(operator.__matmul__, vector),
            "matmul_toeplitz": partial(linalg.matmul_toeplitz, column, vector),
        }
        solutions: dict[str, Callable[[], object]] = {"operator": partial(operator.solve, vector)}
        if n <= 8_000:
            products["matrix"] = partial(structured.toeplitz(column).__matmul__, vector)
            solutions["solve_toeplitz"] = partial(linalg.solve_toeplitz, column, vector)
        multiplied, solved = side_by_side(products, context.effort), side_by_side(solutions, context.effort)
        residual = np.linalg.norm(operator @ operator.solve(vector) - vector) / np.linalg.norm(vector)
        cells: dict[str, Cell] = {
            "rows": n,
            "product, ms": milliseconds(multiplied["operator"]),
            "matmul_toeplitz, ms": milliseconds(multiplied["matmul_toeplitz"]),
            "A @ x, ms": milliseconds(multiplied["matrix"]) if "matrix" in multiplied else None,
            "solve, ms": milliseconds(solved["operator"]),
            "solve_toeplitz, ms": milliseconds(solved["solve_toeplitz"]) if "solve_toeplitz" in solved else None,
            "residual": f"{residual:.0e}",
        }
        timings = {f"product, {key}": times for key, times in multiplied.items()}
        rows.append(Row(cells, timings=timings | {f"solve, {key}": times for key, times in solved.items()}))
    return Table(
        "Full Toeplitz matrices",
        "toeplitz_operator with the first column 1 / (1 + k)^2, whose transform is computed beforehand, against "
        "scipy.linalg.matmul_toeplitz, the stored matrix (A @ x) and scipy.linalg.solve_toeplitz, which takes a number "
        "of operations that grows with the square of the rows. The residual of solve is relative to the right side.",
        rows,
    )


def _pass(matrix: Any) -> tuple[Array, Array]:
    """Copy all nonzeros once."""
    return matrix.data.copy(), matrix.indices.copy()


TOPICS: dict[str, Topic] = {
    "values": all_singular_values,
    "norm": padded_norm,
    "architectures": architecture_norms,
    "bounds": default_bounds,
    "structure": structure_tests,
    "toeplitz": toeplitz_operators,
}
