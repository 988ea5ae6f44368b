"""Random layers with signed boundaries: verdicts on shifts and reflections against explicit dense matrices.

``python -m tests.random_signed_equivariance --count 1000`` compares 1000 layers, all their shifts, and reports.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

import convmatrix as cm
from convmatrix import equivariance
from convmatrix.progress import track
from tests.random_signed_spectra import dense_matrix, signed_boundaries

if TYPE_CHECKING:
    from numpy.typing import NDArray


def small_layer(rng: np.random.Generator) -> cm.ConvGeometry:
    """Return a small layer with a signed boundary on at least one axis, often on short axes and past a period."""
    while True:
        n_axes = int(rng.integers(1, 3))
        options: dict[str, Any] = {
            "stride": rng.integers(1, 3, n_axes).tolist(),
            "dilation": rng.integers(1, 3, n_axes).tolist(),
            "boundary": signed_boundaries(rng, n_axes),
            "padding": [tuple(rng.integers(0, 5, 2).tolist()) for _ in range(n_axes)] if rng.integers(2) else "same",
            "flip": bool(rng.integers(2)),
            "transposed": bool(rng.integers(6) == 0),
        }
        if not options["transposed"] and rng.integers(8) == 0:
            options["sharing"] = 2
        try:
            samples = rng.integers(1, 6 if n_axes == 1 else 4, n_axes).tolist()
            return cm.ConvGeometry(samples, rng.integers(1, 4, n_axes).tolist(), **options)
        except ValueError:
            continue


def tensor(geometry: cm.ConvGeometry) -> NDArray[np.float64]:
    """Return T as a dense array, one matrix per weight: (n_weights, n_out, n_in)."""
    one = np.eye(geometry.n_weights)
    return np.stack([dense_matrix(geometry, row.reshape(geometry.weight_shape)) for row in one])


def rolled(T: NDArray[np.float64], geometry: cm.ConvGeometry, shift: Any, moved: Any) -> NDArray[np.float64]:
    """Return T with outputs and inputs shifted."""
    whole = T.reshape(len(T), *geometry.output_shape, *geometry.input_shape)
    n = len(geometry.input_shape)
    return np.roll(whole, (*moved, *shift), tuple(range(1, 2 * n + 1))).reshape(T.shape)


def disagreements(geometry: cm.ConvGeometry) -> tuple[list[str], Counter[str]]:
    """Return where verdicts differ from what the dense tensor says, and how often a verdict was yes or no."""
    T = tensor(geometry)
    wrong, seen = [], Counter[str]()
    outputs = list(itertools.product(*map(range, geometry.output_shape)))
    possible = {}
    for shift in itertools.product(*map(range, geometry.input_shape)):
        possible[shift] = [moved for moved in outputs if np.array_equal(rolled(T, geometry, shift, moved), T)]
        verdict = equivariance.check_shift(geometry, shift)
        seen[f"shift {'0' if not any(shift) else 's'} {verdict.holds}"] += 1
        if verdict.holds != bool(possible[shift]):
            wrong.append(f"shift {shift}: {verdict}, but output shifts {possible[shift]}")
        moved = verdict.output_shift
        broken = (rolled(T, geometry, shift, moved) != T).any(axis=(0, 2))
        if not np.array_equal(broken, verdict.broken_rows.ravel()):
            wrong.append(f"shift {shift}, output {moved}: other rows are broken")
        chain = equivariance.check_network([geometry], shift)
        if chain.holds != verdict.holds:
            wrong.append(f"shift {shift}: a network of the layer alone says {chain.holds}")
    found = {given for given, _ in equivariance.symmetries(geometry.pattern()).shifts}
    if found != {shift for shift, answers in possible.items() if answers}:
        wrong.append(f"symmetries finds the shifts {found}")
    for axis in range(len(geometry.input_shape)):
        whole = T.reshape(len(T), *geometry.output_shape, *geometry.input_shape)
        flipped = np.flip(whole, (1 + axis, 1 + len(geometry.input_shape) + axis))
        for tied in (False, True):
            tensors = whole, flipped
            pattern = geometry.pattern()
            if tied and geometry.sharing == "shared":
                tap = np.arange(geometry.n_weights).reshape(geometry.kernel_shape)
                labels = np.minimum(tap, np.flip(tap, axis))
                _, labels = np.unique(labels, return_inverse=True)
                labels = labels.reshape(geometry.kernel_shape)
                pattern = equivariance.tie(pattern, labels)
                tensors = tuple(
                    np.stack([part[labels.ravel() == label].sum(axis=0) for label in range(int(labels.max()) + 1)])
                    for part in tensors
                )  # type: ignore[assignment]
            verdict = equivariance.check_reflection(geometry, axis, pattern=pattern)
            seen[f"reflection {'tied' if tied else 'free'} {verdict.holds}"] += 1
            if verdict.holds != np.array_equal(*tensors):
                wrong.append(f"reflection of axis {axis}, tied {tied}: {verdict}")
    return wrong, seen


def main(arguments: list[str] | None = None) -> int:
    """Compare random layers; return 1 if any disagrees."""
    description = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m tests.random_signed_equivariance", description=description)
    parser.add_argument("--count", type=int, default=1000, help="number of layers (default 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the random layers (default 0)")
    options = parser.parse_args(arguments)
    rng = np.random.default_rng(options.seed)
    failures, total = 0, Counter[str]()
    for _ in track(range(options.count), "layers"):
        geometry = small_layer(rng)
        wrong, seen = disagreements(geometry)
        total += seen
        failures += len(wrong)
        for text in wrong:
            print(f"FAILED: {geometry!r}: {text}")
    print(f"{options.count} layers: {failures} WRONG")
    print(", ".join(f"{name}: {count}" for name, count in sorted(total.items())))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
