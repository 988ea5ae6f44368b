"""Random layers with signed boundaries: spectra against dense matrices, bounds never below the truth, deconvolution.

``python -m tests.random_signed_spectra --count 1000`` compares 1000 layers of each kind and reports; the suite draws
fewer. The dense matrices are built here, from `numpy.pad` and loops over outputs and taps: neither the pattern nor
`ConvOperator` has a part in them.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

import convmatrix as cm
from convmatrix import spectral
from convmatrix.spectral import bounds, localisation
from convmatrix.spectral.blocks import read_layer
from convmatrix.spectral.localisation import AxisCut, localised_cut, ring_cut, whole_cut
from convmatrix.weights import group_weights
from tests.random_spectra import random_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIGNED = ("antireflect", "antisymmetric")
EXACT = 1e-12
"""Largest allowed difference of a singular value, relative to the largest one."""

_MODES: dict[str, tuple[str, dict[str, Any]]] = {
    "zero": ("constant", {}),
    "circular": ("wrap", {}),
    "reflect": ("reflect", {}),
    "symmetric": ("symmetric", {}),
    "replicate": ("edge", {}),
    "antireflect": ("reflect", {"reflect_type": "odd"}),
}


def extended(samples: NDArray[Any], low: int, high: int, boundary: str) -> NDArray[Any]:
    """Return the rows of an array continued by a boundary, by `numpy.pad`; minus and plus whole mirror images."""
    n = len(samples)
    if boundary != "antisymmetric":
        mode, options = _MODES[boundary]
        return np.asarray(np.pad(samples, [(low, high), (0, 0)], mode=mode, **options))  # type: ignore[call-overload]
    before = (low + n - 1) // n  # whole mirror images
    images = [samples if image % 2 == 0 else -samples[::-1] for image in range(-before, high // n + 2)]
    whole = np.concatenate(images)
    start = before * n - low
    return np.asarray(whole[start : start + low + n + high])


def dense_matrix(geometry: cm.ConvGeometry, weights: NDArray[Any]) -> NDArray[Any]:
    """Return the matrix of a layer, by loops."""
    grouped = group_weights(geometry, np.asarray(weights).reshape(geometry.weight_shape))
    n = len(geometry.kernel_shape)
    groups, outputs, inputs = grouped.shape[n : n + 3]
    places = []
    for axis in geometry.axes:
        length = (axis.n_outputs - 1) * axis.stride + axis.dilation * (axis.n_taps - 1) + 1
        high = max(length - axis.pad_low - axis.n_samples, 0)
        whole = extended(np.eye(axis.n_samples), axis.pad_low, high, axis.boundary)
        starts = np.arange(axis.n_outputs)[:, None] * axis.stride + np.arange(axis.n_taps) * axis.dilation
        places.append(whole[starts])  # (outputs, taps, samples)
    shape_out, shape_in = [len(read) for read in places], [read.shape[2] for read in places]
    result = np.zeros((groups, outputs, *shape_out, groups, inputs, *shape_in), dtype=np.result_type(grouped, float))
    for output in itertools.product(*map(range, shape_out)):
        own = grouped[tuple(i % axis.tile for i, axis in zip(output, geometry.axes, strict=True))]
        for tap in itertools.product(*map(range, geometry.kernel_shape)):
            read: NDArray[Any] = np.ones(())
            for place, i, t in zip(places, output, tap, strict=True):
                read = np.multiply.outer(read, place[i, t])
            for group in range(groups):
                index = (group, slice(None), *output, group)
                result[index] += np.multiply.outer(own[(group, slice(None), slice(None), *tap)], read)
    matrix = result.reshape(groups * outputs * int(np.prod(shape_out)), -1)
    return matrix.T if geometry.transposed else matrix


def signed_boundaries(rng: np.random.Generator, n_axes: int) -> list[str]:
    """Return one boundary per axis, of which at least one is signed."""
    chosen = [str(rng.choice(SIGNED if rng.integers(2) else cm.BOUNDARIES)) for _ in range(n_axes)]
    chosen[int(rng.integers(n_axes))] = str(rng.choice(SIGNED))
    return chosen


def signed_layer(rng: np.random.Generator) -> cm.ConvGeometry:
    """Return a random layer of any kind, with a signed boundary on at least one axis, often padded past a period."""
    while True:
        n_axes = int(rng.integers(1, 4))
        groups = int(rng.choice([1, 1, 2]))
        kernel = [int(rng.integers(1, {1: 8, 2: 5, 3: 3}[n_axes])) for _ in range(n_axes)]
        options: dict[str, Any] = {
            "in_channels": groups * int(rng.integers(1, 3)),
            "out_channels": groups * int(rng.integers(1, 3)),
            "groups": groups,
            "stride": [max(int(rng.integers(-2, 4)), 1) for _ in range(n_axes)],
            "dilation": [max(int(rng.integers(-2, 4)), 1) for _ in range(n_axes)],
            "boundary": signed_boundaries(rng, n_axes),
            "flip": bool(rng.integers(2)),
            "transposed": bool(rng.integers(5) == 0),
        }
        kind = int(rng.integers(4))
        options["padding"] = (
            str(rng.choice(["same", "same_lower", "full"]))
            if kind < 2
            else [tuple(rng.integers(0, 4 if kind == 2 else 9, 2).tolist()) for _ in range(n_axes)]
        )
        if not options["transposed"] and rng.integers(6) == 0:
            options["sharing"] = "unshared" if rng.integers(2) else rng.integers(1, 3, n_axes).tolist()
        if groups == 1 and rng.integers(6) == 0:
            options["connections"] = rng.random((options["out_channels"], options["in_channels"])) < 0.7
        samples = [int(rng.integers(1, {1: 20, 2: 7, 3: 4}[n_axes])) for _ in range(n_axes)]
        try:
            geometry = cm.ConvGeometry(samples, kernel, **options)
        except ValueError:  # the kernel does not fit, or nothing is connected
            continue
        work = geometry.n_in * geometry.n_out
        if work <= 20_000 and work * geometry.weight_shape[-1] <= 100_000:
            return geometry


def centred_layer(rng: np.random.Generator) -> tuple[cm.ConvGeometry, NDArray[Any]]:
    """Return a layer of stride 1 with symmetric, centred kernels on most axes, as transforms need them."""
    n_axes = int(rng.integers(1, 4))
    groups = int(rng.choice([1, 1, 2]))
    channels = groups * int(rng.integers(1, 3))
    geometry = cm.ConvGeometry(
        [int(rng.integers(1, {1: 30, 2: 8, 3: 5}[n_axes])) for _ in range(n_axes)],
        [2 * int(rng.integers(0, {1: 9, 2: 4, 3: 2}[n_axes])) + 1 for _ in range(n_axes)],
        in_channels=channels,
        out_channels=channels if rng.integers(3) else groups * int(rng.integers(1, 3)),
        groups=groups,
        dilation=[int(rng.integers(1, 3)) for _ in range(n_axes)],
        padding="same",
        boundary=signed_boundaries(rng, n_axes),
        transposed=bool(rng.integers(6) == 0),
    )
    weights = rng.standard_normal(geometry.weight_shape)
    if rng.integers(4) == 0:
        weights = weights + 1j * rng.standard_normal(geometry.weight_shape)
    for axis in range(n_axes):
        if rng.integers(8):
            weights = weights + np.flip(weights, axis - n_axes)
    return geometry, weights


def cut_layer(rng: np.random.Generator) -> tuple[cm.ConvGeometry, NDArray[Any], list[AxisCut]]:
    """Return a layer with a signed boundary, and a random way to treat each axis, in pieces if it is long enough."""
    n_axes = int(rng.integers(1, 3))
    groups = int(rng.integers(1, 3))
    geometry = cm.ConvGeometry(
        rng.integers(1, 40 if n_axes == 1 else 14, n_axes).tolist(),
        rng.integers(1, 6, n_axes).tolist(),
        in_channels=groups * int(rng.integers(1, 3)),
        out_channels=groups * int(rng.integers(1, 3)),
        groups=groups,
        stride=[max(int(rng.integers(-2, 4)), 1) for _ in range(n_axes)],
        dilation=[max(int(rng.integers(-2, 3)), 1) for _ in range(n_axes)],
        padding="same" if rng.integers(2) else "full",
        boundary=signed_boundaries(rng, n_axes),
        flip=bool(rng.integers(2)),
    )
    plan = []
    for axis in geometry.axes:
        cut = localised_cut(axis, int(rng.integers(1, 5))) if axis.boundary not in ("zero", "circular") else None
        plan.append(cut or (whole_cut if rng.integers(2) else ring_cut)(axis))
    if not any(piece.is_dense for cut in plan for piece in cut.pieces):
        plan[0] = whole_cut(geometry.axes[0])
    return geometry, random_weights(geometry, rng), plan


def spectrum_errors(geometry: cm.ConvGeometry, weights: NDArray[Any], dense: NDArray[Any]) -> dict[str, float]:
    """Return the relative errors of what the spectral functions find, each of which is to be at most 1."""
    expected = np.linalg.svd(dense, compute_uv=False)
    largest = float(expected.max(initial=0.0)) or 1.0
    errors = {"values": _difference(spectral.singular_values(weights, geometry), expected) / largest / EXACT}
    U, s, Vh = spectral.singular_values(weights, geometry, vectors=True)
    errors["vectors"] = _difference((U * s) @ Vh, dense) / largest / (10 * EXACT)
    value, error = spectral.spectral_norm(weights, geometry, with_error=True)
    errors["norm"] = abs(value - expected[0]) / (error + EXACT * largest)
    smallest = spectral.smallest_singular_value(weights, geometry)
    errors["smallest"] = abs(smallest - expected[-1]) / largest / EXACT
    if geometry.n_in == geometry.n_out:
        errors |= _square_errors(geometry, weights, dense, largest)
    return errors


def _square_errors(
    geometry: cm.ConvGeometry, weights: NDArray[Any], dense: NDArray[Any], largest: float
) -> dict[str, float]:
    """Return the errors of the eigenvalues and the determinant, by power sums and the signs of a dense matrix."""
    values = spectral.eigenvalues(weights, geometry)
    size = max(float(np.linalg.norm(dense, 2)), largest)
    errors = {}
    power = np.eye(len(dense), dtype=complex)
    for k in range(1, 5):  # traces of powers, which unlike single eigenvalues are well conditioned
        power = power @ (dense / size)
        moment = ((values / size) ** k).sum()
        errors[f"eigenvalues {k}"] = float(abs(moment - np.trace(power))) / len(dense) / (100 * EXACT)
    sign, logarithm = spectral.slogdet(weights, geometry)
    own_sign, own_logarithm = np.linalg.slogdet(dense / size)
    logarithm -= len(dense) * np.log(size)
    smallest = float(np.linalg.svd(dense, compute_uv=False)[-1])
    if smallest > 1e-6 * size:
        allowed = 1e-12 * len(dense) * size / smallest
        errors["determinant"] = max(abs(logarithm - own_logarithm), abs(sign - own_sign)) / allowed
    else:
        errors["determinant"] = 0.0 if np.exp(min(logarithm, 0)) < 1e-5 else np.inf
    return errors


def _difference(found: NDArray[Any], expected: NDArray[Any]) -> float:
    return float(np.abs(found - expected).max(initial=0.0)) if found.shape == expected.shape else np.inf


def bound_violations(geometry: cm.ConvGeometry, weights: NDArray[Any], dense: NDArray[Any]) -> dict[str, float]:
    """Return each upper bound on the norm over the norm, 1 or more if it holds, and the lower bounds inverted."""
    norm = float(np.linalg.norm(dense, 2))
    if norm < 1e-200:
        return {}
    layer, scale = read_layer(weights, geometry).scaled()
    found: dict[str, float] = {"schur": layer.schur_number * scale}
    for each in bounds.upper_bounds(layer, norm / scale):
        found |= {name: value * scale for name, value in each.items()}
    lower, found["upper"] = spectral.norm_bounds(weights, geometry)
    refined_lower, found["refined"] = spectral.norm_bounds(weights, geometry, tol=1e-3)
    from convmatrix.spectral.map_norms import upper_norm

    if weights.dtype.kind != "c":
        found["upper_norm"] = upper_norm(np.asarray(weights).reshape(geometry.weight_shape), geometry)
    ratios = {name: value / norm for name, value in found.items()}
    for name, value in (("lower", lower), ("refined lower", refined_lower)):
        ratios[name] = norm / value if value > 0 else np.inf
    return ratios


def main(arguments: list[str] | None = None) -> int:
    """Compare random layers; return 1 if any disagrees."""
    description = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m tests.random_signed_spectra", description=description)
    parser.add_argument("--count", type=int, default=1000, help="layers of each kind (default 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the random layers and weights (default 0)")
    options = parser.parse_args(arguments)
    started, failures = time.perf_counter(), 0
    rng = np.random.default_rng(options.seed)
    worst: Counter[str] = Counter()
    names: Counter[str] = Counter()
    for number in range(options.count):
        if number % 2:
            geometry, weights = centred_layer(rng)
        else:
            geometry = signed_layer(rng)
            weights = random_weights(geometry, rng)
        names.update(read_layer(weights, geometry).similar_names)
        for name, error in spectrum_errors(geometry, weights, dense_matrix(geometry, weights)).items():
            worst[name] = max(worst[name], error)  # type: ignore[assignment]
            if not error <= 1:
                failures += 1
                print(f"FAILED: {geometry!r}: {name} off by {error:.2g} times what is allowed")
    print(f"{options.count} layers: spectra against dense matrices, {failures} WRONG")
    print(
        "  largest errors relative to what is allowed: " + ", ".join(f"{n} {e:.2g}" for n, e in sorted(worst.items()))
    )
    print("  transforms: " + ", ".join(f"{name} {count}" for name, count in sorted(names.items())))
    violations, ratios = 0, {}
    for _ in range(options.count):
        geometry = signed_layer(rng)
        weights = random_weights(geometry, rng)
        for name, ratio in bound_violations(geometry, weights, dense_matrix(geometry, weights)).items():
            ratios.setdefault(name, []).append(ratio)
            if not ratio >= 1 - 1e-13:
                violations += 1
                print(f"FAILED: {geometry!r}: {name} on the wrong side, ratio {ratio!r}")
    print(f"{options.count} layers: bounds on the norm, {violations} VIOLATIONS")
    print("  bound           layers  smallest ratio - 1   median ratio")
    for name, found in sorted(ratios.items()):
        print(f"  {name:14} {len(found):7} {min(found) - 1:19.2g} {np.median(found):14.4g}")
    cuts, wrong = 0, 0
    for _ in range(options.count // 2):
        geometry, weights, plan = cut_layer(rng)
        cuts += sum(len(cut.pieces) > 1 for cut in plan)
        wrong += not pieces_hold(geometry, weights, plan)
    print(f"{options.count // 2} layers with random cuts ({cuts} axes in pieces): {wrong} VIOLATIONS")
    print(f"{time.perf_counter() - started:.0f} s")
    return 1 if failures or violations or wrong else 0


def pieces_hold(geometry: cm.ConvGeometry, weights: NDArray[Any], plan: list[AxisCut]) -> bool:
    """Return whether the bound from pieces holds for a given way to cut the axes."""
    norm = float(np.linalg.norm(dense_matrix(geometry, weights), 2))
    layer = read_layer(weights, geometry)
    original, localisation._best_plan = localisation._best_plan, lambda _: plan
    try:
        found = localisation.localised_bound(layer, 0.4 * norm, lambda axes: bounds.ring_bound(layer, axes))
    finally:
        localisation._best_plan = original
    if not norm <= found * (1 + 1e-13):
        print(f"FAILED: {geometry!r}: pieces at {found} of {norm}")
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
