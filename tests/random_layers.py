"""Random layers against PyTorch in float64, and against plain loops where PyTorch has no such layer.

The command::

    python -m tests.random_layers --count 10000 --seed 0

draws layers of one to three axes (channels, groups, connection tables, stride, dilation, asymmetric padding, padding
past a period, even kernels, kernels longer than the input, one-sample axes, every boundary and mixtures of them, tiled
and unshared weights, transposed layers) and normally distributed w, x and g, and compares for each

    the output ``A @ x`` and the input gradient ``A.T @ g``, with ``A = conv_matrix(w, geometry)``,
    the weight gradient ``pattern.weight_gradient(x, g)``,
    and again the output by ``pattern.matrix(w)``, the output and the input gradient by ``ConvOperator(w, geometry)``

with the oracle's. The scaled error of one product is max|difference| / max(1, max|oracle|); none may exceed 1e-13. It
prints how many layers of each kind were compared with which oracle, and the largest errors; the exit code is 1 if any
layer disagrees, and its geometry is printed. The same seed draws the same layers. PyTorch has to be installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

import convmatrix as cm
from convmatrix.boundary import BOUNDARIES
from convmatrix.progress import track
from tests import reference
from tests.strategies import random_layer

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Array = NDArray[Any]
    Products = tuple[Array, Array, Array]
    Oracle = Callable[[cm.ConvGeometry, Array, Array, Array], Products]

TOLERANCE: Final = 1e-13
PRODUCTS: Final = (
    "output",
    "input gradient",
    "weight gradient",
    "output, by the pattern",
    "output, by the operator",
    "input gradient, by the operator",
)


def loop_products(geometry: cm.ConvGeometry, weights: Array, x: Array, g: Array) -> Products:
    """Return (output, input gradient, weight gradient) of ``numpy.pad`` and plain loops."""
    return (
        reference.forward(geometry, weights, x),
        reference.input_gradient(geometry, weights, g),
        reference.weight_gradient(geometry, x, g),
    )


def scaled_error(result: Array, expected: Array) -> float:
    """Return max|difference| / max(1, max|expected|); infinite where the shapes differ or a value is not finite."""
    if result.shape != expected.shape or not np.isfinite(result).all():
        return float("inf")
    return float(np.abs(result - expected).max() / max(1.0, np.abs(expected).max()))


class Comparison(NamedTuple):
    """One layer compared with an oracle: the scaled error of each of `PRODUCTS`, and the features of the layer."""

    errors: tuple[float, ...]
    features: list[str]


def compare(geometry: cm.ConvGeometry, oracle: Oracle, rng: np.random.Generator) -> Comparison:
    """Compare the products of a layer with an oracle's, on random data."""
    weights = rng.standard_normal(geometry.weight_shape)
    x = rng.standard_normal((geometry.in_channels, *geometry.input_shape))
    g = rng.standard_normal((geometry.out_channels, *geometry.output_shape))
    pattern = geometry.pattern()
    matrix = cm.conv_matrix(weights, geometry)
    operator = cm.ConvOperator(weights, geometry)
    outputs = [A @ x.ravel() for A in (matrix, pattern.matrix(weights), operator)]
    gradients = [A.T @ g.ravel() for A in (matrix, operator)]
    output, by_pattern, by_operator = (y.reshape(g.shape) for y in outputs)
    x_gradient, x_gradient_by_operator = (gradient.reshape(x.shape) for gradient in gradients)
    w_gradient = pattern.weight_gradient(x, g)
    results = (output, x_gradient, w_gradient, by_pattern, by_operator, x_gradient_by_operator)
    y, dx, dw = oracle(geometry, weights, x, g)
    errors = tuple(map(scaled_error, results, (y, dx, dw, y, y, dx)))
    found = features(geometry)
    if matrix.nnz < pattern.n_entries:
        found.append("several taps on one sample")
    if np.diff(matrix.indptr).min() == 0:
        found.append("outputs that read nothing")
    return Comparison(errors, found)


def features(geometry: cm.ConvGeometry) -> list[str]:
    """Return which kinds of layer a geometry is one of."""
    samples = geometry.output_shape if geometry.transposed else geometry.input_shape
    spans = [d * (k - 1) + 1 for d, k in zip(geometry.dilation, geometry.kernel_shape, strict=True)]
    padded = {b for b, amount in zip(geometry.boundary, geometry.padding, strict=True) if any(amount)}
    tests = {
        f"{len(geometry.input_shape)}-D": True,
        "transposed": geometry.transposed,
        "output padding": any(geometry.output_padding),
        "several channels": geometry.in_channels > 1 and geometry.out_channels > 1,
        "groups": geometry.groups > 1,
        "connection table": geometry.connections is not None,
        "tiled": not isinstance(geometry.sharing, str),
        "unshared": geometry.sharing == "unshared",
        "flip": geometry.flip,
        "stride": max(geometry.stride) > 1,
        "dilation": max(geometry.dilation) > 1,
        "asymmetric padding": any(low != high for low, high in geometry.padding),
        "padding past a period": any(max(amount) > n for amount, n in zip(geometry.padding, samples, strict=True)),
        "even kernel": any(k % 2 == 0 for k in geometry.kernel_shape),
        "kernel longer than the input": any(span > n for span, n in zip(spans, samples, strict=True)),
        "one-sample axis": 1 in samples,
        **{f"{boundary} boundary": padded == {boundary} for boundary in BOUNDARIES},
        "mixed boundaries": len(padded) > 1,
    }
    return [name for name, holds in tests.items() if holds]


def choose_oracle(geometry: cm.ConvGeometry) -> tuple[str, Oracle]:
    """Return PyTorch where it has the layer, else the loops."""
    from tests import reference_torch

    if reference_torch.has_layer(geometry):
        return "PyTorch", reference_torch.products
    return "loops", loop_products


def main(arguments: list[str] | None = None) -> int:
    """Compare random layers; return 1 if any disagrees."""
    parser = argparse.ArgumentParser(prog="python -m tests.random_layers", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000, help="layers to compare (default 10000)")
    parser.add_argument("--seed", type=int, default=0, help="of the random layers and their data (default 0)")
    options = parser.parse_args(arguments)
    if importlib.util.find_spec("torch") is None:
        parser.error("PyTorch is the oracle here, but is not installed; pip install torch")
    rng = np.random.default_rng(options.seed)
    counts: Counter[tuple[str, str]] = Counter()
    largest: dict[tuple[str, str], float] = {}
    failures = 0
    started = time.perf_counter()
    for _ in track(range(options.count), "layers"):
        geometry = random_layer(rng)
        name, oracle = choose_oracle(geometry)
        errors, found = compare(geometry, oracle, rng)
        counts.update((name, feature) for feature in ["layers", *found])
        for product, error in zip(PRODUCTS, errors, strict=True):
            largest[name, product] = max(largest.get((name, product), 0.0), error)
        if not max(errors) <= TOLERANCE:
            failures += 1
            listed = ", ".join(f"{p} {e:.1e}" for p, e in zip(PRODUCTS, errors, strict=True))
            print(f"FAILED against {name}: {geometry!r}: scaled errors {listed}")
    _report(counts, largest)
    seconds = time.perf_counter() - started
    verdict = "all agree" if not failures else f"{failures} DISAGREE"
    print(f"\n{options.count} layers in {seconds:.0f} s: {verdict} (largest allowed scaled error {TOLERANCE:.0e})")
    return 1 if failures else 0


def _report(counts: Counter[tuple[str, str]], largest: dict[tuple[str, str], float]) -> None:
    print(f"{'':32}{'PyTorch':>10}{'loops':>10}")
    for feature in dict.fromkeys(["layers", *sorted(feature for _, feature in counts)]):
        print(f"{feature:32}{counts['PyTorch', feature]:10}{counts['loops', feature]:10}")
    print("\nlargest scaled error")
    for product in PRODUCTS:
        print(f"{product:32}" + "".join(f"{largest.get((name, product), 0.0):10.1e}" for name in ("PyTorch", "loops")))


if __name__ == "__main__":
    sys.exit(main())
