"""Random deconvolutions against dense solutions: ridge, generalised Tikhonov, and non-negative least squares.

``python -m tests.random_deconvolution --count 200`` solves 200 random layers with random penalties, directly and by
iterations, and compares with `numpy.linalg.lstsq` and `scipy.optimize.nnls` on dense matrices; the suite draws fewer.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from scipy import optimize, sparse

import convmatrix as cm
from convmatrix.solve import decompositions, nonnegative
from tests.random_spectra import exact_layers
from tests.strategies import random_layer

CLOSE = 1e-8
"""Largest accepted difference, relative to the largest entry of the dense solution."""

MOST_SAMPLES = 150
TOL = 1e-12
KINDS = ("identity", "gradient", "laplacian", "convolution", "channels", "matrix")


@contextmanager
def by_iteration() -> Iterator[None]:
    """Put decompositions and active sets out of reach."""
    before = decompositions.MOST_WORK, decompositions.MOST_WORK_WITH_TRANSFORM, nonnegative.MOST_COLUMNS
    names: Any = decompositions, nonnegative
    names[0].MOST_WORK = names[0].MOST_WORK_WITH_TRANSFORM = names[1].MOST_COLUMNS = 0
    try:
        yield
    finally:
        names[0].MOST_WORK, names[0].MOST_WORK_WITH_TRANSFORM, names[1].MOST_COLUMNS = before


def dense_differences(geometry: cm.ConvGeometry) -> Any:
    """Return the differences of neighbours as a dense matrix, by Kronecker products."""
    blocks = []
    for axis, (n, boundary) in enumerate(zip(geometry.input_shape, geometry.boundary, strict=True)):
        one = np.roll(np.eye(n), 1, axis=1) - np.eye(n)
        if boundary != "circular":
            one[-1] = 0
        sizes = [np.eye(m) for m in (geometry.in_channels, *geometry.input_shape)]
        sizes[axis + 1] = one
        whole = np.ones((1, 1))
        for part in sizes:
            whole = np.kron(whole, part)
        blocks.append(whole)
    return np.concatenate(blocks)


def random_penalty(geometry: cm.ConvGeometry, kind: str, rng: np.random.Generator) -> tuple[Any, Any]:
    """Return a penalty as an argument, and its dense matrix."""
    n = geometry.n_in
    if kind == "identity":
        return None, np.eye(n)
    if kind in ("gradient", "laplacian"):
        D = dense_differences(geometry)
        return kind, D if kind == "gradient" else D.T @ D
    if kind == "matrix":
        L = sparse.random_array((n + 3, n), density=0.3, rng=rng, data_sampler=rng.standard_normal).tocsr()
        return (L if rng.integers(2) else sparse.linalg.aslinearoperator(L)), L.toarray()
    axes = len(geometry.input_shape)
    options: dict[str, Any] = {"padding": "same", "boundary": geometry.boundary if rng.integers(2) else "symmetric"}
    w = rng.standard_normal((3,) * axes)
    if rng.integers(2):
        w = w + np.flip(w)
    if kind == "convolution":  # of every channel
        L = cm.conv_matrix(w, geometry.input_shape, **options).toarray()
        return (w, options), np.kron(np.eye(geometry.in_channels), L)
    w = rng.standard_normal((2, geometry.in_channels, *(2,) * axes))
    shape = (geometry.in_channels, *geometry.input_shape)
    L = cm.conv_matrix(w, shape, **options).toarray()
    return ((w, options) if rng.integers(2) else cm.ConvOperator(w, shape, **options)), L


def random_problem(rng: np.random.Generator) -> tuple[Any, cm.ConvGeometry, Any, Any]:
    """Return a kernel, a geometry, the dense matrix and data; half of the layers have transforms."""
    while True:
        geometry, w = next(iter(exact_layers(rng, 1))) if rng.integers(2) else (random_layer(rng), None)
        if geometry.n_in > MOST_SAMPLES or geometry.n_out > MOST_SAMPLES:
            continue
        w = rng.standard_normal(geometry.weight_shape) if w is None else w
        A = cm.conv_matrix(w, geometry).toarray()
        if A.any():
            return w, geometry, A, rng.standard_normal(geometry.n_out)


def compare(seed: int) -> tuple[dict[str, float], str]:
    """Return the relative differences of one problem's solutions from dense ones, and the direct route."""
    rng = np.random.default_rng(seed)
    kind = KINDS[seed % len(KINDS)]
    w, geometry, A, y = random_problem(rng)
    if np.iscomplexobj(w):
        w, A = w.real, A.real
        if not A.any():
            return {}, "zero"
    penalty, L = random_penalty(geometry, kind, rng)
    damping = float(10 ** rng.uniform(-1.5, 0.5) * np.linalg.norm(A, 2))
    stacked, right = np.concatenate([A, damping * L]), np.concatenate([y, np.zeros(len(L))])
    singular = np.linalg.svd(stacked, compute_uv=False)
    if len(singular) < geometry.n_in or singular[-1] < 1e-3 * singular[0]:
        return {}, "singular"  # the solution is not unique, or sensitive to rounding
    linear = np.linalg.lstsq(stacked, right)[0]
    constrained = optimize.nnls(stacked, right, maxiter=100 * geometry.n_in)[0]
    options: dict[str, Any] = {"parameter": damping, "penalty": penalty, "tol": TOL, "max_iterations": 50_000}
    direct = cm.solve.deconvolve(y, w, geometry, **options)
    found = {
        "direct": (direct, linear),
        "active set": (cm.solve.deconvolve(y, w, geometry, nonnegative=True, **options), constrained),
    }
    with by_iteration():
        found["iterations"] = cm.solve.deconvolve(y, w, geometry, **options), linear
        found["projected"] = cm.solve.deconvolve(y, w, geometry, nonnegative=True, **options), constrained
    assert found["iterations"][0].route == found["projected"][0].route == "iteration"
    assert direct.iterations == 0
    scale = float(np.abs(linear).max())
    return {
        name: float(np.abs(solution.x.ravel() - expected).max()) / scale for name, (solution, expected) in found.items()
    }, f"{kind}, {direct.route}"


def main(arguments: list[str] | None = None) -> int:
    """Compare random problems; return the number of those that differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="number of problems (default: 200)")
    parser.add_argument("--first", type=int, default=0, help="first seed (default: 0)")
    options = parser.parse_args(arguments)
    start, wrong, done, seed = time.perf_counter(), 0, 0, options.first
    routes: Counter[str] = Counter()
    largest: dict[str, float] = {}
    while done < options.count:
        differences, route = compare(seed)
        seed += 1
        if not differences:
            continue
        done += 1
        routes[route] += 1
        largest = {name: max(largest.get(name, 0.0), value) for name, value in differences.items()}
        if max(differences.values()) > CLOSE:
            wrong += 1
            print(f"seed {seed - 1} ({route}): {differences}", flush=True)
    print(f"{done} problems, {wrong} differ by more than {CLOSE:g}; {time.perf_counter() - start:.0f} s")
    print(", ".join(f"{name} {value:.1e}" for name, value in largest.items()))
    print(", ".join(f"{route}: {number}" for route, number in sorted(routes.items())))
    return wrong


if __name__ == "__main__":
    sys.exit(main())
