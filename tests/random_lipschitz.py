"""Random networks and layers: Lipschitz bounds against Jacobians, projections against a cutting-plane method.

``python -m tests.random_lipschitz --count 500`` compares bounds of 500 networks with the norms of Jacobians at many
points, by power iteration, and the projections of 500 layers with those of another method; the suite draws fewer.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import optimize

import convmatrix as cm
from convmatrix import spectral
from convmatrix.network import Addition, Concatenation, Extremum, Network, Product
from convmatrix.progress import track
from tests.random_networks import random_network
from tests.strategies import random_layer

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROUNDING = 1e-9
"""Allowed excess of a Jacobian's norm, which is computed with rounding errors, over a bound."""

STEPS = 12  # of the power iteration


@dataclass(frozen=True)
class Comparison:
    """A bound, the largest norm of a Jacobian that was found, and the product of norms."""

    bound: float
    largest: float
    product: float
    branched: bool

    @property
    def holds(self) -> bool:
        """Whether no Jacobian exceeds the bound."""
        return self.largest <= self.bound * (1 + ROUNDING) + 1e-12


def is_branched(network: Network) -> bool:
    """Return whether branches meet, or two linear nodes with matrices other than selections follow each other."""
    trivial = ("rearrangement", "concatenation", "input")
    meets = any(isinstance(n.operation, Addition | Concatenation | Extremum | Product) for n in network)
    chained = any(
        node.linear and network[source].linear and node.kind not in trivial and network[source].kind not in trivial
        for node in network
        for source in node.inputs
    )
    return meets or chained


def jacobian_norm(network: Network, x: Any, rng: np.random.Generator) -> float:
    """Return a lower bound on the norm of the Jacobian at a sample, by power iteration."""
    operator = network.linearise(x).operator
    v = rng.standard_normal(operator.shape[1])
    value = 0.0
    for _ in range(STEPS):
        image = operator @ (v / max(float(np.linalg.norm(v)), 1e-300))
        value = float(np.linalg.norm(image))
        v = operator.T @ image
        if not v.any():
            break
    return value


def random_box(network: Network, rng: np.random.Generator) -> tuple[Any, Any]:
    """Return a box of any size, from a neighbourhood in which most units are stable to a large one."""
    centre = rng.standard_normal(network.input_shape)
    half = 10.0 ** rng.uniform(-4, 0.5) * rng.random(network.input_shape)
    return centre - half, centre + half


def compare(seed: int, *, boxed: bool, points: int = 10) -> Comparison | str:
    """Return a bound beside Jacobians at random points, or the reason why there is none."""
    network, rng = random_network(seed, smooth=seed % 3 != 0), np.random.default_rng(seed)
    part = network.until(network.outputs[0])
    low, high = random_box(part, rng)
    try:
        bound = spectral.lipschitz_bound(part, low, high) if boxed else spectral.lipschitz_bound(part)
    except ValueError as error:
        return str(error).partition(": ")[2]
    largest = 0.0
    for number in range(points):
        if boxed:
            share = rng.random(low.shape) if number % 2 else rng.integers(0, 2, low.shape)
            x = np.clip(low + (high - low) * share, low, high)
        else:
            x = rng.standard_normal(low.shape) * 10.0 ** rng.uniform(-1, 1)
        largest = max(largest, jacobian_norm(part, x, rng))
    return Comparison(float(bound), largest, bound.product_of_norms, is_branched(part))


# --- projections -----------------------------------------------------------------------------------------------------


def cutting_planes(A: Any, weights: NDArray[Any], bound: float, tol: float = 1e-4) -> tuple[NDArray[Any], float, float]:
    """Return the nearest weights with a norm of at most the bound, and bounds on their distance, by cutting planes.

    ``A`` maps weights to a dense matrix. Every singular triplet above the bound, (u, s, v), gives a half-space
    ``u^T A(w) v <= bound`` that contains all admissible weights; the nearest point of all half-spaces so far is found
    by its dual.
    """
    basis = np.stack([A(unit) for unit in np.eye(weights.size)])  # (weights, rows, columns)
    start = weights.ravel()
    cuts: list[Any] = []
    w, best, upper, lower = start, start, np.inf, 0.0
    for _ in range(300):
        u, s, vh = np.linalg.svd(np.tensordot(w, basis, axes=1))
        candidate = w * min(1.0, bound / s[0])
        distance = float(np.linalg.norm(candidate - start))
        if distance < upper:
            best, upper = candidate, distance
        if upper - lower <= tol * upper:
            break
        above = np.flatnonzero(s > bound * (1 + 1e-9))[:8]
        cuts.extend(np.einsum("krc,r,c->k", basis, u[:, number], vh[number]) for number in above)
        G = np.stack(cuts)

        def dual(multipliers: Any, G: Any = G) -> tuple[float, Any]:
            residual = start - multipliers @ G
            value = residual @ residual / 2 + bound * multipliers.sum()
            return float(value), bound - G @ residual

        found = optimize.minimize(
            dual, np.zeros(len(G)), jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(G),
            options={"maxiter": 5000, "ftol": 1e-15, "gtol": 1e-10},
        )  # fmt: skip
        w = start - found.x @ G
        lower = max(lower, float(np.sqrt(max(2 * (start @ start / 2 - found.fun), 0.0))))
    return best.reshape(weights.shape), lower, upper


@dataclass(frozen=True)
class Projected:
    """A projection beside that of cutting planes: norms over the bound, and distances."""

    norm: float
    certified: float
    lower: float
    distance: float
    oracle: tuple[float, float]

    @property
    def within(self) -> bool:
        """Whether the norm is within the bound, proved and by a decomposition."""
        return self.certified <= 1 and self.norm <= 1 + 1e-12

    @property
    def nearest(self) -> bool:
        """Whether neither method found anything nearer than the other allows."""
        low, high = self.oracle
        return (
            self.distance <= high * (1 + 1e-3) and self.lower <= high * (1 + 1e-9) and low <= self.distance * (1 + 1e-9)
        )


def small_layer(rng: np.random.Generator) -> cm.ConvGeometry:
    """Return a random layer of any kind that is small enough for dense matrices."""
    while True:
        geometry = random_layer(rng)
        if geometry.n_in * geometry.n_out <= 3000 and 1 < geometry.n_weights <= 60:
            return geometry


def project(rng: np.random.Generator) -> Projected | None:
    """Return the projection of a random layer; None if its matrix is zero."""
    geometry = small_layer(rng)
    weights = rng.standard_normal(geometry.weight_shape)
    norm = float(np.linalg.norm(cm.conv_matrix(weights, geometry).toarray(), 2))
    if norm < 1e-9:
        return None
    bound = float(rng.uniform(0.2, 0.95)) * norm
    found, (lower, distance) = spectral.project_norm(weights, geometry, bound=bound, tol=1e-3, with_distances=True)

    def matrix(flat: Any) -> Any:
        return cm.conv_matrix(flat.reshape(weights.shape), geometry).toarray()

    _, *oracle = cutting_planes(matrix, weights, bound)
    return Projected(
        float(np.linalg.norm(matrix(found), 2)) / bound,
        spectral.norm_bounds(found, geometry, tol=1e-6)[1] / bound,
        lower,
        distance,
        (oracle[0], oracle[1]),
    )


def main(arguments: list[str] | None = None) -> int:
    """Compare random networks and layers; return 1 if any disagrees."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.random_lipschitz", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--count", type=int, default=500, help="networks, and layers (default 500)")
    parser.add_argument("--first", type=int, default=0, help="seed of the first network (default 0)")
    parser.add_argument("--points", type=int, default=30, help="Jacobians of each network (default 30)")
    options = parser.parse_args(arguments)
    wrong = networks(options.first, options.count, options.points)
    wrong += layers(options.first, options.count)
    return 1 if wrong else 0


def networks(first: int, count: int, points: int) -> int:
    """Report on the bounds of networks; return the number of violations."""
    started, wrong = time.perf_counter(), 0
    for boxed in (False, True):
        refused: Counter[str] = Counter()
        found = []
        for seed in range(first, first + count):
            comparison = compare(seed, boxed=boxed, points=points)
            if isinstance(comparison, str):
                refused[comparison.partition(" is not bounded")[0]] += 1
                continue
            found.append(comparison)
            if not comparison.holds:
                wrong += 1
                print(f"FAILED: network {seed}, {'on a box' if boxed else 'everywhere'}: {comparison}")
            if comparison.bound > comparison.product * (1 + 1e-9):
                wrong += 1
                print(f"ABOVE THE PRODUCT: network {seed}: {comparison}")
        ratios = [c.bound / c.largest for c in found if c.largest > 0]
        branched = [c for c in found if c.branched and np.isfinite(c.product)]
        tighter = sum(c.bound < c.product * (1 - 1e-9) for c in branched)
        attained = sum(c.bound >= c.product * (1 - 1e-9) and c.largest >= c.bound * (1 - 1e-3) for c in branched)
        print(
            f"{len(found)} bounds {'on a box' if boxed else 'everywhere'}, {points} Jacobians each: "
            f"{wrong} VIOLATIONS; bound / largest norm found: median {np.median(ratios):.3f}, "
            f"90% {np.percentile(ratios, 90):.3f}"
        )
        print(
            f"  of {len(branched)} with branches or linear chains, {tighter} are tighter than the product of norms, "
            f"{attained} equal it and are attained, {len(branched) - tighter - attained} equal it otherwise"
        )
        print("  refused: " + (", ".join(f"{reason}: {number}" for reason, number in refused.items()) or "none"))
    print(f"  {time.perf_counter() - started:.0f} s")
    return wrong


def layers(first: int, count: int) -> int:
    """Report on projections of layers; return the number of wrong ones."""
    started, wrong, gaps = time.perf_counter(), 0, []
    rng = np.random.default_rng(first)
    for number in track(range(count), "networks"):
        projected = project(rng)
        if projected is None:
            continue
        gaps.append((projected.distance - projected.lower) / projected.distance)
        if not (projected.within and projected.nearest):
            wrong += 1
            print(f"FAILED: layer {number}: {projected}")
    print(
        f"{len(gaps)} projections: {wrong} WRONG; gap between the distance and its lower bound: median "
        f"{np.median(gaps):.1e}, largest {max(gaps):.1e}; {time.perf_counter() - started:.0f} s"
    )
    return wrong


if __name__ == "__main__":
    sys.exit(main())
