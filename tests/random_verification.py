"""Verification against other methods: exhaustive enumeration of signs, and mixed-integer programs of digit networks.

``python -m tests.random_verification --count 300 --digits 10`` verifies 300 random networks and ten trained ones.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from typing import Any, Final

import numpy as np
from scipy.optimize import linprog, milp

import convmatrix as cm
from convmatrix import nn
from convmatrix.constraints import (
    HalfSpace,
    Property,
    Verification,
    box_around,
    encode,
    output_is_largest,
    recheck,
    verify,
)
from convmatrix.network import Elementwise, FullyConnected, Network
from convmatrix.progress import track

Array = Any
Layers = list[tuple[Array, Array]]

RADII: Final = (0.01, 0.03, 0.06, 0.1)


# --- random networks, whose least margins are found by enumerating the signs of all rectifiers -----------------------


def random_layers(rng: np.random.Generator, most_rectifiers: int = 10) -> Layers:
    """Return the weights of a dense network with few rectifiers."""
    sizes = [int(rng.integers(1, 4))]
    while len(sizes) < 4 and sum(sizes[1:]) < most_rectifiers - 4 and (len(sizes) == 1 or rng.random() < 0.7):
        sizes.append(int(rng.integers(1, 5)))
    sizes.append(int(rng.integers(1, 4)))
    return [(rng.normal(size=(b, a)), rng.normal(size=b)) for a, b in pairwise(sizes)]


def dense_network(layers: Layers) -> Network:
    """Return the network of dense layers with rectifiers between them."""
    nodes: list[Any] = []
    for number, (weights, bias) in enumerate(layers):
        nodes += [Elementwise("relu")] if number else []
        nodes.append(FullyConnected(weights.shape[1], weights.shape[0], weights, bias))
    return Network(nodes)


def least_margin(layers: Layers, lower: Array, upper: Array, rows: Array, right: Array) -> float:
    """Return the least, over a box, of the largest entry of ``rows @ y - right``, by a linear program per region."""
    n, least = len(lower), np.inf
    box = [*zip(lower, upper, strict=True)]

    def visit(number: int, A: Array, c: Array, left: list[Array], bounds: list[float]) -> None:
        nonlocal least
        weights, bias = layers[number]
        pre, constant = weights @ A, weights @ c + bias
        if number == len(layers) - 1:
            excess = np.hstack([rows @ pre, -np.ones((len(rows), 1))])
            region = np.hstack([np.array(left).reshape(-1, n), np.zeros((len(left), 1))])
            done = linprog(
                [0] * n + [1],
                A_ub=np.vstack([excess, region]),
                b_ub=np.concatenate([right - rows @ constant, bounds]),
                bounds=[*box, (None, None)],
            )
            least = min(least, done.fun) if done.status == 0 else least
            return

        def decide(signs: list[float], left: list[Array], bounds: list[float]) -> None:
            k = len(signs)
            if k == len(constant):
                on = np.array(signs)
                visit(number + 1, on[:, None] * pre, on * constant, left, bounds)
                return
            for sign in (1.0, 0.0):
                direction = 1 if sign else -1
                more, ends = [*left, -direction * pre[k]], [*bounds, direction * constant[k]]
                if linprog([0] * n, A_ub=np.array(more), b_ub=ends, bounds=box).status == 0:
                    decide([*signs, sign], more, ends)

        decide([], left, bounds)

    visit(0, np.eye(n), np.zeros(n), [], [])
    return float(least)


def random_case(seed: int, *, enumerate_signs: bool = False) -> tuple[Network, tuple[Array, Array], Property, float]:
    """Return a network, a box, a property of one unsafe set, and the least margin, if asked for, or that of samples."""
    rng = np.random.default_rng(seed)
    layers = random_layers(rng)
    network, n_inputs, n_outputs = dense_network(layers), layers[0][0].shape[1], len(layers[-1][1])
    lower = rng.normal(size=n_inputs) - 1
    upper = lower + rng.uniform(0.5, 3, n_inputs)
    rows = rng.normal(size=(int(rng.integers(1, 4)), n_outputs))
    right, wanted = rng.normal(size=len(rows)), float(rng.choice([-0.5, -0.01, 0.01, 0.5]))
    if enumerate_signs:
        least = least_margin(layers, lower, upper, rows, right)
    else:
        samples = network(rng.uniform(lower, upper, (500, n_inputs))) @ rows.T - right
        least = float(samples.max(axis=1).min())
    spaces = [
        HalfSpace((), tuple((j, Fraction(c)) for j, c in enumerate(row)), Fraction(float(d + least - wanted)))
        for row, d in zip(rows.tolist(), right.tolist(), strict=True)
    ]
    return network, (lower, upper), Property((tuple(spaces),)), wanted


def check_random(seed: int) -> str:
    """Verify a random network, compare with the enumeration, check the evidence, and return the verdict."""
    network, box, claim, margin = random_case(seed, enumerate_signs=True)
    found = verify(network, box, claim)
    assert found.verdict == ("holds" if margin > 0 else "violated"), (seed, margin, found)
    assert found.lower - 1e-9 <= margin <= found.upper + 1e-9, (seed, margin, found)
    check_evidence(found, network, box, claim)
    return found.verdict


def check_evidence(found: Verification, network: Network, box: tuple[Array, Array], claim: Property) -> None:
    """Raise AssertionError unless a counterexample, or a certificate that went through JSON, is right."""
    if found.verdict == "violated":
        x = found.counterexample
        assert x is not None
        assert (x >= box[0]).all()
        assert (x <= box[1]).all()
        assert claim.reached(x.ravel().tolist(), network(x[None])[0].ravel().tolist()) is not None
    elif found:
        checked = recheck(json.loads(json.dumps(found.certificate)), network, box, claim)
        assert checked, checked.reason


# --- certificates that are forged -------------------------------------------------------------------------------------


def forgeries(certificate: dict[str, Any], wider: tuple[Array, Array]) -> Iterator[tuple[str, Any]]:
    """Yield changed certificates, none of which proves anything; in the wider box the property does not hold."""

    def changed() -> dict[str, Any]:
        return copy.deepcopy(certificate)

    def leaf(forged: dict[str, Any]) -> list[Any]:
        return next(node for node in forged["proofs"][0]["trees"][0] if node[0] == "leaf")

    forged = changed()
    forged.update(lower=wider[0].ravel().tolist(), upper=wider[1].ravel().tolist())
    yield "box widened", forged
    for what, keep in (("leaf dropped", slice(0, -1)), ("tree emptied", slice(0, 0))):
        forged = changed()
        forged["proofs"][0]["trees"][0] = forged["proofs"][0]["trees"][0][keep]
        yield what, forged
    forged = changed()
    forged["proofs"][0]["trees"][0].append(leaf(forged))
    yield "leaf added", forged
    forged = changed()
    leaf(forged)[1] = [[row, -weight] for row, weight in leaf(forged)[1]] or [[0, -1]]
    yield "weights negative", forged
    forged = changed()
    leaf(forged)[1:] = [[[row, 2**200] for row, _ in leaf(forged)[1]], [[0, 2**70]]]
    leaf(forged)[2] = [[v, (-1) ** k * 2**300] for k, (v, _) in enumerate(leaf(certificate)[2])] or [[0, 1]]
    if leaf(certificate)[2]:
        yield "slopes changed", forged
    forged = changed()
    forged["spaces"] = [[a, [[j, str(-Fraction(c))] for j, c in y], d, s] for a, y, d, s in forged["spaces"]]
    yield "property negated", forged
    forged = changed()
    forged["spaces"][0][2] = f"1/{10**1990 + 1}"
    forged["spaces"][0][1] += [[0, f"1/{10**1990 + k}"] for k in range(2, 400)]
    yield "denominators large", forged
    forged = changed()
    del forged["proofs"][0]
    yield "proof dropped", forged
    forged = changed()
    forged["proofs"] *= 2
    yield "proof twice", forged
    forged = changed()
    forged["network"] = "0" * 64
    yield "other network", forged
    for key in certificate:
        forged = changed()
        del forged[key]
        yield f"no {key}", forged
        for value in (None, float("nan"), [], {}, "x", -1, 10**9, [[[]]], True):
            if value != certificate[key]:
                yield f"{key} is {value!r}"[:40], changed() | {key: value}
    for value in (float("nan"), float("inf"), 1, "0", None):
        forged = changed()
        forged["lower"][0] = value
        yield f"lower[0] is {value!r}", forged
    for place, value in ((0, "lemma"), (1, [[0, 1.5]]), (1, [[10**9, 1]]), (2, [[0, 2**20000]]), (2, [[0]]), (1, 7)):
        forged = changed()
        leaf(forged)[place] = value
        yield f"leaf entry {place} wrong", forged
    forged = changed()
    forged["proofs"][0]["trees"][0].insert(0, ["split", 10**9, 0])
    yield "split of no variable", forged
    yield "not an object", [certificate]


# --- digit networks, whose margins are found by mixed-integer programming ---------------------------------------------


def digits() -> tuple[Array, Array]:
    """Return the images of 8x8 digits in [0, 1], and their labels."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return data.images[:, None] / 16, data.target


def digit_network(seed: int, epochs: int = 12) -> Network:
    """Return a small network trained on digits: convolutions or dense layers, by the seed, with max pooling or not."""
    images, labels = digits()
    rng = np.random.default_rng(seed)
    channels, hidden = int(rng.integers(2, 5)), int(rng.integers(10, 25))
    kind = seed % 3
    if kind == 0:
        conv = cm.ConvGeometry((8, 8), (3, 3), out_channels=channels, stride=2, padding=1)
        layers = [nn.Conv(conv, rng=seed), nn.ReLU(), nn.Dense(channels * 16, hidden, rng=seed), nn.ReLU()]
        layers.append(nn.Dense(hidden, 10, rng=seed))
    elif kind == 1:
        conv = cm.ConvGeometry((8, 8), (3, 3), out_channels=2, padding=0)
        layers = [nn.Conv(conv, rng=seed), nn.ReLU(), nn.MaxPool(3), nn.Dense(8, 10, rng=seed)]
    else:
        layers = [nn.Dense(64, hidden, rng=seed), nn.ReLU(), nn.Dense(hidden, hidden, rng=seed), nn.ReLU()]
        layers.append(nn.Dense(hidden, 10, rng=seed))
    network = nn.Sequential(layers)
    nn.fit(network, images[:1500], labels[:1500], epochs=epochs, optimiser=nn.Adam(0.01), rng=seed, progress=False)
    return network.to_network((1, 8, 8))


def least_by_milp(network: Network, box: tuple[Array, Array], label: int, seconds: float = 120) -> float:
    """Return the least margin of a label over all others, by a mixed-integer program for each."""
    constraints = encode(network, *box, tighten="symbolic")
    least = np.inf
    for other in range(10):
        if other != label:
            weights = np.zeros(10)
            weights[[label, other]] = 1, -1
            done = milp(
                constraints.objective(network.outputs[0], weights),
                constraints=constraints.constraints(),
                bounds=constraints.bounds,
                integrality=constraints.integrality,
                options={"time_limit": seconds, "mip_rel_gap": 1e-6},
            )
            assert done.status == 0, f"the mixed-integer program was not solved: {done.message}"
            least = min(least, done.fun)
    return float(least)


def check_digits(seed: int, n_images: int, counts: Counter[str]) -> None:
    """Verify a trained network around some images, and compare with mixed-integer programs."""
    network = digit_network(seed)
    images, labels = digits()
    predicted = network(images[1500:]).reshape(-1, 10).argmax(axis=1)
    right = 1500 + np.flatnonzero(predicted == labels[1500:])
    counts["networks"] += 1
    for place in right[:n_images].tolist():
        claim = output_is_largest(network, int(labels[place]))
        results = []
        for radius in RADII:
            box = box_around(images[place], radius, 0, 1)
            started = time.perf_counter()
            found = verify(network, box, claim, timeout=300)
            counts["verify: milliseconds"] += int(1e3 * (time.perf_counter() - started))
            counts[found.verdict] += 1
            check_evidence(found, network, box, claim)
            started = time.perf_counter()
            least = least_by_milp(network, box, int(labels[place]))
            counts["MILP: milliseconds"] += int(1e3 * (time.perf_counter() - started))
            if abs(least) > 1e-5 and found.verdict != "unknown":
                counts["compared"] += 1
                assert (found.verdict == "holds") == (least > 0), (seed, place, radius, least, found)
            results.append((box, found))
        proved = [found for _, found in results if found]
        broken = [box for box, found in results if found.verdict == "violated"]
        if proved and broken:
            counts["certificates forged"] += 1
            certificate = proved[-1].certificate
            assert certificate is not None
            for what, forged in forgeries(certificate, broken[0]):
                assert not recheck(forged, network), what
                counts["forgeries rejected"] += 1


def main() -> None:
    """Verify random and trained networks, and print what was compared."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300, help="random networks")
    parser.add_argument("--digits", type=int, default=10, help="trained digit networks")
    parser.add_argument("--images", type=int, default=3, help="images per trained network, at four radii each")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    args = parser.parse_args()
    random_counts: Counter[str] = Counter()
    for seed in track(range(args.first, args.first + args.count), "networks"):
        random_counts[check_random(seed)] += 1
    print("random networks:", dict(random_counts))
    counts: Counter[str] = Counter()
    for seed in range(args.first, args.first + args.digits):
        check_digits(seed, args.images, counts)
        print("digit networks:", dict(counts), flush=True)


if __name__ == "__main__":
    main()
