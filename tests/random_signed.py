"""Random layers with signed boundaries against `numpy.pad` and plain loops, exactly, in integers.

The command::

    python -m tests.random_signed --count 5000 --seed 0

draws layers of one to three axes (channels, groups, connection tables, stride, dilation, asymmetric padding past
several periods, tiled and unshared weights, transposed layers) of which at least one padded axis has the boundary
antireflect or antisymmetric and the others any boundary, and integers w, x and g. For each it compares

    the matrix by `conv_matrix` (rows and columns compressed, both orders, a slab of rows), by `pattern.matrix`, and by
    the taps,
    the output, the input gradient and the weight gradient by the matrix, the pattern, the Jacobian, the operator, and
    the layers of `nn` (methods "unfold" and "matrix"),
    the unfold matrix, ``A(w) = (W (x) I) U``,
    and the number of entries that `estimate` gives before anything is built

with ``numpy.pad`` (reflection of type "odd"), a mirror that changes the sign with each reflection, and plain loops over
positions and taps. All results are integers, and must be equal. The exit code is 1 if any is not.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

import convmatrix as cm
from convmatrix.boundary import SIGNED
from convmatrix.progress import track
from tests import reference
from tests.random_layers import features, loop_products
from tests.strategies import count_products, draw_layer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Array = NDArray[Any]

LARGEST_PRODUCTS: Final = 1200


def signed_layer(rng: np.random.Generator) -> cm.ConvGeometry:
    """Return a random layer with a signed boundary on a padded axis."""
    while True:
        geometry = draw_layer(lambda low, high: int(rng.integers(low, high, endpoint=True)))
        padded = (boundary for boundary, amount in zip(geometry.boundary, geometry.padding, strict=True) if any(amount))
        if set(padded).intersection(SIGNED) and count_products(geometry) <= LARGEST_PRODUCTS:
            return geometry


def differences(geometry: cm.ConvGeometry, rng: np.random.Generator) -> Iterator[str]:
    """Yield the name of each result that differs from that of the loops."""
    weights = rng.integers(-9, 10, geometry.weight_shape)
    x = rng.integers(-9, 10, (geometry.in_channels, *geometry.input_shape))
    g = rng.integers(-9, 10, (geometry.out_channels, *geometry.output_shape))
    dense = _matrix(geometry, weights)
    y, x_gradient, w_gradient = loop_products(geometry, weights, x, g)
    found: dict[str, tuple[Array, Array]] = {
        "output by loops": (dense @ x.ravel(), y.ravel()),
        "input gradient by loops": (dense.T @ g.ravel(), x_gradient.ravel()),
    }
    for order in ("C", "F"):
        rows, columns = (
            np.arange(side.size).reshape(side.shape).ravel(order)
            for side in (g, x)  # type: ignore[call-overload]
        )
        for kind in ("csr", "csc"):
            matrix = cm.conv_matrix(weights, geometry, order=order, format=kind)
            matrix.check_format(full_check=True)
            found[f"{kind} in order {order}"] = matrix.toarray(), dense[np.ix_(rows, columns)]
            stored = cm.estimate(geometry, order=order, format=kind).nonzeros
            found[f"estimate of {kind} in order {order}"] = np.array(stored), np.array(matrix.nnz)
    start, stop = sorted(rng.integers(0, geometry.n_out + 1, 2).tolist())
    found["slab"] = cm.conv_matrix(weights, geometry, rows=(start, stop)).toarray(), dense[start:stop]
    pattern, operator = geometry.pattern(), cm.ConvOperator(weights, geometry)
    found["pattern"] = pattern.matrix(weights).toarray(), dense
    jacobian = pattern.jacobian(x)
    found["Jacobian"] = jacobian @ weights.ravel(), y.ravel()
    found["transposed Jacobian"] = jacobian.T @ g.ravel(), w_gradient.ravel()
    found["weight gradient"] = pattern.weight_gradient(x, g), w_gradient
    used = int(rng.integers(geometry.n_weights))
    single = np.zeros(geometry.n_weights, dtype=np.int64)
    single[used] = 1
    found["tap"] = pattern.tap(used).toarray(), pattern.matrix(single).toarray()
    found["operator"] = operator @ x.ravel(), y.ravel()
    found["transposed operator"] = operator.T @ g.ravel(), x_gradient.ravel()
    if geometry.groups == 1 and geometry.connections is None and geometry.sharing == "shared":
        positions = np.eye(
            int(np.prod(geometry.input_shape if geometry.transposed else geometry.output_shape)), dtype=int
        )
        product = np.kron(weights.reshape(len(weights), -1), positions) @ geometry.unfold_matrix(dtype=int).toarray()
        found["unfold matrix"] = (product.T if geometry.transposed else product), dense
    for method in ("unfold", "matrix"):
        kind = cm.nn.ConvTranspose if geometry.transposed else cm.nn.Conv
        layer = kind(geometry, bias=None, method=method, dtype=np.float64)  # type: ignore[arg-type]
        layer.parameters["weight"][...] = weights
        found[f"nn output by {method}"] = layer.forward(x[None].astype(float))[0], y
        found[f"nn input gradient by {method}"] = layer.backward(g[None].astype(float))[0], x_gradient
        found[f"nn weight gradient by {method}"] = layer.gradients["weight"], w_gradient
    for name, (result, expected) in found.items():
        if result.shape != expected.shape or not np.array_equal(result, expected):
            yield name


def _matrix(geometry: cm.ConvGeometry, weights: Array) -> Array:
    """Return the dense matrix by loops: of a basis through the layer, or through the layer that is transposed."""
    if not geometry.transposed:
        return reference.matrix(geometry, weights)
    basis = np.eye(geometry.n_out, dtype=weights.dtype).reshape(geometry.out_channels, *geometry.output_shape, -1)
    position, read, weight = reference.listed(geometry)
    images = np.zeros((geometry.in_channels, *geometry.input_shape, geometry.n_out))
    np.add.at(images, position, weights[weight][:, None] * reference.pad(geometry, basis)[read])
    return images.reshape(geometry.n_in, geometry.n_out).T


def main(arguments: list[str] | None = None) -> int:
    """Compare random layers; return 1 if any disagrees."""
    parser = argparse.ArgumentParser(prog="python -m tests.random_signed", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=5000, help="layers to compare (default 5000)")
    parser.add_argument("--seed", type=int, default=0, help="of the random layers and their data (default 0)")
    options = parser.parse_args(arguments)
    rng = np.random.default_rng(options.seed)
    kinds: Counter[str] = Counter()
    failures, started = 0, time.perf_counter()
    for _ in track(range(options.count), "layers"):
        geometry = signed_layer(rng)
        kinds.update(features(geometry))
        wrong = list(differences(geometry, rng))
        if wrong:
            failures += 1
            print(f"FAILED: {geometry!r}: {', '.join(wrong)}")
    for kind in sorted(kinds):
        print(f"{kind:32}{kinds[kind]:10}")
    seconds = time.perf_counter() - started
    print(f"\n{options.count} layers in {seconds:.0f} s: {'all are equal' if not failures else f'{failures} DIFFER'}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
