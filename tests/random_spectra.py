"""Random layers: all singular values, and the guaranteed bounds on the norm, against dense decompositions.

``python -m tests.random_spectra --count 5000`` compares 5000 layers of each kind and reports; the suite draws fewer.
A layer of the exact route has a circular boundary on every axis and a stride that divides the input, or a symmetric
boundary with symmetric kernels; the bounds are tested on any layer. With ``--routes``, every route to a bound is
called by itself, although `norm_bounds` would not need it, and on layers for which it has to be right as well: long
kernels on short rings, weights that cancel, are subnormal or differ by hundreds of powers of ten.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

import convmatrix as cm
from convmatrix import spectral
from convmatrix.progress import track
from convmatrix.spectral import bounds, norm_certificates
from convmatrix.spectral.blocks import layer_blocks, read_layer
from convmatrix.spectral.localisation import AxisCut, localised_cut, ring_cut, whole_cut
from convmatrix.spectral.norm_certificates import BandCertifier, BlockCertifier
from tests.random_layers import features
from tests.strategies import random_layer

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXACT = 1e-12
"""Largest allowed difference of a singular value, relative to the largest one."""


def ring_layer(rng: np.random.Generator) -> cm.ConvGeometry:
    """Return a random circular layer whose strides divide its input."""
    while True:
        n_axes = int(rng.integers(1, 4))
        stride = [max(int(rng.integers(-2, 4)), 1) for _ in range(n_axes)]
        outputs = [int(rng.integers(1, {1: 9, 2: 5, 3: 3}[n_axes])) for _ in range(n_axes)]
        kernel = [int(rng.integers(1, {1: 14, 2: 6, 3: 4}[n_axes])) for _ in range(n_axes)]
        groups = int(rng.integers(1, 4))
        options: dict[str, Any] = {
            "in_channels": groups * int(rng.integers(1, 4)),
            "out_channels": groups * int(rng.integers(1, 4)),
            "groups": groups,
            "dilation": [max(int(rng.integers(-2, 4)), 1) for _ in range(n_axes)],
            "boundary": "circular",
            "flip": bool(rng.integers(2)),
        }
        spans = [d * (k - 1) + 1 for d, k in zip(options["dilation"], kernel, strict=True)]
        low = [int(rng.integers(0, span)) for span in spans]
        transposed = rng.integers(4) == 0
        if transposed:
            # Of the convolution from stride * outputs samples to outputs; both ends crop what the kernel reaches over.
            options |= {"transposed": True, "padding": "same", "stride": stride}
            samples = outputs
        else:
            samples = [n * s for n, s in zip(outputs, stride, strict=True)]
            options |= {"stride": stride}
            # A total padding of span - stride, or more where that is negative, gives n / stride outputs.
            options["padding"] = [
                (min(p, max(span - s, 0)), max(span - s, 0) - min(p, max(span - s, 0)))
                for p, span, s in zip(low, spans, stride, strict=True)
            ]
        geometry = cm.ConvGeometry(samples, kernel, **options)
        if geometry.n_in * geometry.n_out <= 40_000:
            return geometry


def cosine_layer(rng: np.random.Generator) -> tuple[cm.ConvGeometry, NDArray[Any]]:
    """Return a random layer with symmetric boundary, and a symmetric kernel for it."""
    n_axes = int(rng.integers(1, 4))
    samples = [int(rng.integers(1, {1: 30, 2: 9, 3: 5}[n_axes])) for _ in range(n_axes)]
    kernel = [2 * int(rng.integers(0, 4 if n_axes < 3 else 2)) + 1 for _ in range(n_axes)]
    dilation = [int(rng.integers(1, 3)) for _ in range(n_axes)]
    geometry = cm.ConvGeometry(
        samples,
        kernel,
        in_channels=int(rng.integers(1, 3)),
        out_channels=int(rng.integers(1, 3)),
        dilation=dilation,
        padding="same",
        boundary="symmetric",
    )
    weights = rng.standard_normal(geometry.weight_shape)
    for axis in range(n_axes):
        weights = weights + np.flip(weights, axis - n_axes)
    return geometry, weights


def random_weights(geometry: cm.ConvGeometry, rng: np.random.Generator) -> NDArray[Any]:
    """Return weights of one of several kinds: real, complex, of one sign, with zeros, of very different sizes."""
    weights: NDArray[Any] = rng.standard_normal(geometry.weight_shape)
    kind = int(rng.integers(8))
    if kind == 0:
        return weights + 1j * rng.standard_normal(geometry.weight_shape)
    if kind == 1:
        return np.abs(weights)
    if kind == 2:
        return weights * (rng.random(weights.shape) < 0.5)
    if kind == 3:
        return weights * 10.0 ** rng.integers(-8, 8, weights.shape)
    if kind == 4:
        return rng.integers(-9, 10, size=geometry.weight_shape)
    return weights


def values_layer(rng: np.random.Generator) -> tuple[cm.ConvGeometry, NDArray[Any]]:
    """Return a random two-dimensional layer of any boundary, large enough for Lanczos steps to have to converge."""
    boundary = str(rng.choice(cm.BOUNDARIES))
    channels = rng.integers(1, 5, 2).tolist()
    geometry = cm.ConvGeometry(
        rng.integers(7, 13, 2).tolist(),
        [int(rng.choice([1, 3, 3, 5]))] * 2,
        in_channels=channels[0],
        out_channels=channels[1],
        padding="same",
        stride=int(rng.choice([1, 1, 2])),
        boundary=boundary,
    )
    return geometry, rng.standard_normal(geometry.weight_shape)


def cut_layer(rng: np.random.Generator) -> tuple[cm.ConvGeometry, NDArray[Any], list[AxisCut]]:
    """Return a random layer, and a random way to treat each of its axes, in pieces if it is long enough."""
    while True:
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
            boundary=[str(rng.choice(cm.BOUNDARIES)) for _ in range(n_axes)],
            flip=bool(rng.integers(2)),
        )
        if geometry.n_in * geometry.n_out <= 300_000:
            break
    plan = []
    for axis in geometry.axes:
        cut = localised_cut(axis, int(rng.integers(1, 5))) if axis.boundary not in ("zero", "circular") else None
        plan.append(cut or (whole_cut if rng.integers(2) else ring_cut)(axis))
    if all(not piece.is_dense for cut in plan for piece in cut.pieces):
        plan[0] = whole_cut(geometry.axes[0])
    return geometry, random_weights(geometry, rng), plan


def singular_value_error(geometry: cm.ConvGeometry, weights: NDArray[Any]) -> float:
    """Return the largest difference from the singular values of the dense matrix, relative to the largest one."""
    found = spectral.singular_values(weights, geometry)
    expected = np.linalg.svd(cm.conv_matrix(weights, geometry).toarray(), compute_uv=False)
    assert found.shape == expected.shape, geometry
    difference, largest = float(np.abs(found - expected).max()), float(expected[0])
    return difference / largest if largest > 0 else difference


class Enclosure(NamedTuple):
    """The norm by a dense decomposition, and the bounds on it with and without a tolerance."""

    norm: float
    bounds: tuple[float, float]
    refined: tuple[float, float]

    @property
    def holds(self) -> bool:
        """Whether all bounds hold; the dense decomposition itself is right to some rounding units."""
        slack = 1e-13 * self.norm
        return all(low <= self.norm + slack and self.norm - slack <= high for low, high in (self.bounds, self.refined))

    @property
    def width(self) -> float:
        """Width of the bounds without tolerance, relative to the norm."""
        return (self.bounds[1] - self.bounds[0]) / self.norm if self.norm > 0 else 0.0

    @property
    def refined_width(self) -> float:
        """Width of the bounds with tolerance, relative to the lower one."""
        low, high = self.refined
        return (high - low) / low if low > 0 else high


def enclose(geometry: cm.ConvGeometry, weights: NDArray[Any], tol: float = 1e-3) -> Enclosure:
    """Return the norm of a layer and its bounds."""
    norm = float(np.linalg.norm(cm.conv_matrix(weights, geometry).toarray(), 2))
    try:
        refined = spectral.norm_bounds(weights, geometry, tol=tol)
    except ValueError as error:
        print(f"NOT MET: {geometry!r}: {error}")
        refined = (0.0, np.inf)
    return Enclosure(norm, spectral.norm_bounds(weights, geometry), refined)


def any_layer(rng: np.random.Generator) -> tuple[cm.ConvGeometry, NDArray[Any]]:
    """Return a random layer of any kind, with kernels up to several times as long as its input, and weights for it."""
    while True:
        n_axes, groups = int(rng.integers(1, 4)), int(rng.choice([1, 1, 2]))
        kernel = rng.integers(1, (9, 5, 4)[n_axes - 1], n_axes).tolist()
        most = [max(1, min(7, 2 * size)) for size in kernel]
        options: dict[str, Any] = {
            "in_channels": groups * int(rng.integers(1, 5)),
            "out_channels": groups * int(rng.integers(1, 5)),
            "groups": groups,
            "stride": rng.integers(1, (5, 4, 3)[n_axes - 1], n_axes).tolist() if rng.integers(2) else 1,
            "dilation": rng.integers(1, 3, n_axes).tolist(),
            "padding": [tuple(rng.integers(0, size, 2).tolist()) for size in most],
            "boundary": rng.choice(cm.BOUNDARIES, n_axes).tolist() if rng.integers(2) else "zero",
            "flip": bool(rng.integers(2)),
            "transposed": rng.integers(5) == 0,
        }
        if rng.integers(8) == 0:
            options["sharing"] = "unshared"
        with contextlib.suppress(ValueError):  # a kernel that does not fit
            geometry = cm.ConvGeometry(rng.integers(1, (30, 9, 6)[n_axes - 1], n_axes).tolist(), kernel, **options)
            if geometry.n_in * geometry.n_out <= 200_000:
                break
    kind = int(rng.integers(4))
    if kind == 0:
        return geometry, rng.integers(-1, 2, geometry.weight_shape)
    if kind == 1:
        return geometry, rng.standard_normal(geometry.weight_shape) * 10.0 ** rng.integers(
            -320, 3, geometry.weight_shape
        )
    return geometry, random_weights(geometry, rng)


def broken_routes(geometry: cm.ConvGeometry, weights: NDArray[Any]) -> tuple[list[str], list[str]]:
    """Return the names of all bounds that were computed, and of those that are on the wrong side of the norm."""
    layer, _ = read_layer(weights, geometry).scaled()
    norm = float(np.linalg.norm(cm.conv_matrix(layer.weights, geometry).toarray(), 2))
    if norm == 0:
        return [], []
    lower = {"steps": bounds.lower_bound(layer, 1e-3, 96)}
    upper = {"schur": layer.schur_number}
    for found in bounds.upper_bounds(layer, lower["steps"]):
        upper |= found
    exact = bounds.exact_bounds(layer)
    if exact is not None:
        lower["exact"], upper["exact"] = exact
    band = BandCertifier(cm.conv_matrix(layer.weights, geometry))
    for certifier, share in itertools.product((BlockCertifier(layer_blocks(layer)), band), (0.25, 1e-3, -1e-3)):
        proved = certifier.holds(norm * (1 + share))  # none below the norm
        upper[f"{type(certifier).__name__} {share:g}"] = np.inf if proved is None else proved
    slack = 1e-13 * norm
    broken = [name for name, value in lower.items() if not value <= norm + slack]
    broken += [name for name, value in upper.items() if not value >= norm - slack]
    return [*lower, *(name for name, value in upper.items() if np.isfinite(value))], broken


def compare_routes(count: int, rng: np.random.Generator) -> int:
    """Compare every route on random layers, report, and return how many bounds are wrong."""
    computed: Counter[str] = Counter()
    wrong = 0
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(bounds, "_LEAST_GRAM", 2)
        for number in track(range(count), "layers"):
            changed.setattr(norm_certificates, "_MOST_WAVES", (12, 40, 4000)[number % 3])
            geometry, weights = any_layer(rng)
            names, broken = broken_routes(geometry, weights)
            computed.update(names)
            wrong += len(broken)
            for name in broken:
                print(f"FAILED: {name} is on the wrong side of the norm of {geometry!r}, layer {number}")
    print(f"{count} layers, {computed.total()} bounds: {wrong} WRONG")
    print(", ".join(f"{name}: {number}" for name, number in sorted(computed.items())))
    return wrong


def exact_layers(rng: np.random.Generator, count: int) -> Iterator[tuple[cm.ConvGeometry, NDArray[Any]]]:
    """Yield layers of the exact route: mostly rings, some symmetric ones."""
    for number in range(count):
        if number % 5 == 4:
            yield cosine_layer(rng)
        else:
            geometry = ring_layer(rng)
            yield geometry, random_weights(geometry, rng)


def main(arguments: list[str] | None = None) -> int:
    """Compare random layers; return 1 if any disagrees."""
    parser = argparse.ArgumentParser(prog="python -m tests.random_spectra", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=5000, help="layers of each kind (default 5000)")
    parser.add_argument("--seed", type=int, default=0, help="of the random layers and weights (default 0)")
    parser.add_argument("--routes", action="store_true", help="call every route to a bound by itself")
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    rng = np.random.default_rng(options.seed)
    if options.routes:
        return 1 if compare_routes(options.count, rng) else 0
    errors = np.zeros(options.count)
    for number, (geometry, weights) in enumerate(exact_layers(rng, options.count)):
        errors[number] = singular_value_error(geometry, weights)
        if not errors[number] <= EXACT:
            print(f"FAILED: {geometry!r}: singular values off by {errors[number]:.1e} of the largest")
    wrong = int(np.count_nonzero(~(errors <= EXACT)))
    print(
        f"{options.count} layers of the exact route: {wrong} WRONG, largest relative error {errors.max(initial=0):.1e} "
        f"(allowed {EXACT:.0e})"
    )
    violations, wide = 0, 0
    widths: dict[str, list[float]] = defaultdict(list)
    kinds: Counter[str] = Counter()
    for _ in track(range(options.count), "layers"):
        geometry = random_layer(rng)
        enclosure = enclose(geometry, random_weights(geometry, rng))
        kinds.update(features(geometry))
        if not enclosure.holds:
            violations += 1
            print(f"FAILED: {geometry!r}: {enclosure}")
        if not enclosure.refined_width <= 1e-3:
            wide += 1
            print(f"TOO WIDE: {geometry!r}: {enclosure}")
        padded = {b for b, amount in zip(geometry.boundary, geometry.padding, strict=True) if any(amount)}
        widths["none" if not padded else padded.pop() if len(padded) == 1 else "mixed"].append(enclosure.width)
    print(f"{options.count} layers of any kind: {violations} VIOLATIONS, {wide} wider than tol=1e-3 with tol")
    print("\npadding read     layers  median width  largest width (relative to the norm, without tol)")
    for name, found in sorted(widths.items()):
        print(f"{name:16} {len(found):6} {np.median(found):13.2g} {max(found):14.2g}")
    print("\n" + ", ".join(f"{name}: {number}" for name, number in sorted(kinds.items())))
    print(f"\n{time.perf_counter() - started:.0f} s")
    return 1 if wrong or violations or wide else 0


if __name__ == "__main__":
    sys.exit(main())
