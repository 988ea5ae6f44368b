"""Networks as constraints, compared with what the networks compute: one recipe for tests and for many networks.

``python -m tests.random_constraints --count 50`` checks all Conv and ConvTranspose cases of the package onnx in
integers, the bounds of 50 random networks at 100,000 points each, and the optima of 50 random networks against
enumeration.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, linprog, milp

from convmatrix.constraints import Constraints, NormalForm, encode, normal_form
from convmatrix.constraints.tightening import tighten
from convmatrix.network import Network, Node, Pooling
from convmatrix.progress import track
from tests.random_networks import random_network
from tests.test_onnx import CASES, Case, onnx

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

METHODS: Final[tuple[Literal["interval", "symbolic", "linear"], ...]] = ("interval", "symbolic", "linear")

MOST_PHASES: Final = 12
"""Rectifiers without a known phase of a network whose optimum is found by enumeration."""


# --- cases of the package onnx, in integers ---------------------------------------------------------------------------


def integer_case(case: Case, rng: np.random.Generator) -> tuple[Network, Any]:
    """Return a case with random integers as weights as a network, and as a function by onnxruntime."""
    import onnxruntime

    model = onnx.ModelProto.FromString(case.model.SerializeToString())
    for opset in model.opset_import:
        opset.version = max(opset.version, 11)  # the two operators are the same since version 1
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    names = [value.name for value in model.graph.input if value.name not in stored]
    weights = {}
    for name, array in zip(names[1:], case.inputs[1:], strict=True):
        weights[name] = rng.integers(-3, 4, array.shape).astype(array.dtype)
    for name, tensor in stored.items():
        array = onnx.numpy_helper.to_array(tensor)
        values = rng.integers(-3, 4, array.shape).astype(array.dtype)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, name))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def runtime(x: Floats) -> Floats:
        (y,) = session.run(None, {names[0]: x.astype(np.float32), **weights})
        return np.asarray(y, np.float64)

    return Network.from_onnx(model, case.inputs[0].shape[1:], constants=weights), runtime


def check_case(case: Case, n_points: int, seed: int = 0) -> int:
    """Check a case: integer points are feasible exactly, have the right outputs, and no others; return their number."""
    rng = np.random.default_rng(seed)
    network, runtime = integer_case(case, rng)
    low, high = -5, 6
    constraints = encode(network, low, high)
    x = rng.integers(low, high + 1, (n_points, *case.inputs[0].shape))
    for batch in x:
        expected = runtime(batch).reshape(len(batch), -1)
        points = constraints.complete(batch)
        assert points.dtype == np.int64  # computed exactly
        outputs = points[:, constraints.variables[network.outputs[0]].ravel()]
        assert (outputs == expected).all(), case.name
        whole = constraints.A.astype(np.int64)
        assert (whole != constraints.A).nnz == 0, case.name
        rows = whole @ points.T
        assert (constraints.lower <= rows.T).all(), case.name
        assert (constraints.upper >= rows.T).all(), case.name
        bounds = constraints.bounds
        assert ((points >= bounds.lb) & (points <= bounds.ub)).all(), case.name
    fixed, y = x[0, 0], runtime(x[0])[0]
    solved = solve(constraints, fixed=fixed)
    assert solved.status == 0, case.name
    assert abs(solved.x[constraints.variables[network.outputs[0]]] - y).max() <= 1e-6, case.name
    place = tuple(int(rng.integers(n)) for n in y.shape)
    for wrong in (-1, 1):
        target = {int(constraints.variables[network.outputs[0]][place]): float(y[place] + wrong)}
        assert solve(constraints, fixed=fixed, also=target).status == 2, case.name
    return len(x) * x.shape[1]


def solve(
    constraints: Constraints, objective: Any = None, fixed: Any = None, also: dict[int, float] | None = None
) -> Any:
    """Solve the program, with the input fixed or values of some variables."""
    low, high = constraints.bounds.lb.copy(), constraints.bounds.ub.copy()
    if fixed is not None:
        places = constraints.variables[constraints.form.input]
        low[places] = high[places] = fixed
    rows = [constraints.constraints()]
    for place, value in (also or {}).items():
        rows.append(LinearConstraint(np.eye(1, len(low), place), value, value))
    weights = np.zeros(len(low)) if objective is None else objective
    return milp(weights, constraints=rows, bounds=Bounds(low, high), integrality=constraints.integrality)


# --- bounds -----------------------------------------------------------------------------------------------------------


def check_bounds(seed: int, n_points: int) -> Counter[str]:
    """Check that the bounds of a random network contain its values at random points and vertices of a box."""
    network, rng = random_network(seed, smooth=False), np.random.default_rng(seed)
    center, radius = rng.normal(size=network.input_shape), rng.uniform(0, 1.5, network.input_shape)
    form = normal_form(network, center - radius, center + radius)
    counts: Counter[str] = Counter()
    found = {method: tighten(form, method) for method in METHODS}
    for first in range(0, n_points, 1000):
        n = min(1000, n_points - first)
        x = sample(form, n, rng).reshape(n, *network.input_shape)
        values = network.values(x)
        for method, (lower, upper) in found.items():
            for name, places in form.variables.items():
                flat = values[name].reshape(n, -1)
                slack = 1e-12 * max(1.0, float(np.abs(flat).max()))  # the values are rounded, the bounds are not
                assert (flat >= lower[places] - slack).all(), (seed, method, name)
                assert (flat <= upper[places] + slack).all(), (seed, method, name)
            counts[method] += n
    exact = form.complete(np.vectorize(int, otypes=[object])(np.rint(center)))
    inside = (np.rint(center) >= center - radius) & (np.rint(center) <= center + radius)
    if inside.all():
        for lower, upper in found.values():
            assert (exact >= lower).all(), seed
            assert (exact <= upper).all(), seed
    for coarse, fine in (("interval", "symbolic"), ("symbolic", "linear")):
        assert (found[fine][0] >= found[coarse][0]).all(), seed
        assert (found[fine][1] <= found[coarse][1]).all(), seed
    return counts


def sample(form: NormalForm, n: int, rng: np.random.Generator) -> Floats:
    """Return points of the box, half of them vertices."""
    low, high = form.lower[: form.n_inputs], form.upper[: form.n_inputs]
    points = rng.uniform(low, high, (n, form.n_inputs))
    half = n // 2
    points[:half] = np.where(rng.random((half, form.n_inputs)) < 0.5, low, high)
    return points


# --- optima -----------------------------------------------------------------------------------------------------------


def enumerated_optimum(form: NormalForm, weights: Floats) -> float:
    """Return the smallest value of a linear function by enumeration of all phases, each a linear program."""
    best = np.inf
    lower, upper = form.lower, form.upper
    open_ones = np.flatnonzero((lower[form.pre] < 0) & (upper[form.pre] > 0))

    def visit(low: Floats, high: Floats, zero: list[int], same: list[int], number: int) -> None:
        nonlocal best
        rows = np.zeros((len(same), form.n_variables))
        rows[np.arange(len(same)), form.post[same]], rows[np.arange(len(same)), form.pre[same]] = 1, -1
        matrix = np.concatenate([form.equations.toarray(), rows])
        right = np.concatenate([form.right, np.zeros(len(same))])
        solved = linprog(weights, A_eq=matrix, b_eq=right, bounds=np.stack([low, high], axis=1))
        if solved.status == 2 or solved.fun >= best - 1e-12:
            return
        assert solved.status == 0
        if number == len(open_ones):
            best = solved.fun
            return
        rectifier = int(open_ones[number])
        off, on = high.copy(), low.copy()
        off[form.pre[rectifier]], on[form.pre[rectifier]] = 0, 0
        off[form.post[rectifier]] = 0
        visit(low, off, [*zero, rectifier], same, number + 1)
        visit(on, high, zero, [*same, rectifier], number + 1)

    active = np.flatnonzero(lower[form.pre] >= 0).tolist()
    visit(lower, upper, [], active, 0)
    return float(best)


def check_optimum(seed: int) -> Counter[str] | None:
    """Check the optimum of a random network against enumeration and search; None if it has too many phases."""
    network, rng = random_network(seed, smooth=False, most_nodes=6), np.random.default_rng(seed)
    center, radius = rng.normal(size=network.input_shape), rng.uniform(0, 1, network.input_shape)
    form = normal_form(network, center - radius, center + radius)
    n_open = int(((form.lower[form.pre] < 0) & (form.upper[form.pre] > 0)).sum())
    if n_open > MOST_PHASES or not n_open or form.n_variables > 400:
        return None
    name = network.outputs[0]
    weights = rng.integers(-2, 3, network.output_shape)
    expected = None
    for method in METHODS:
        constraints = encode(network, center - radius, center + radius, tighten=method)
        solved = solve(constraints, constraints.objective(name, weights))
        assert solved.status == 0, (seed, solved.message)
        scale = 1e-6 * max(1.0, abs(solved.fun), float(np.abs(form.upper).max()), float(np.abs(form.lower).max()))
        x = np.clip(solved.x[constraints.variables[form.input]], center - radius, center + radius)
        attained = float((network(x[None])[0] * weights).sum())
        assert abs(attained - solved.fun) <= scale, (seed, method, attained, solved.fun)
        if expected is None:
            flat = constraints.objective(name, weights)[: form.n_variables]
            expected = enumerated_optimum(form, flat)
        assert abs(expected - solved.fun) <= scale, (seed, method, expected, solved.fun)
        points = sample(form, 2000, rng).reshape(-1, *network.input_shape)
        searched = (network(points) * weights).reshape(len(points), -1).sum(axis=1).min()
        assert searched >= solved.fun - scale, (seed, method, searched, solved.fun)
    return Counter(label(node) for node in network)


def label(node: Node) -> str:
    """Return what is counted of a node."""
    if isinstance(node.operation, Pooling):
        return f"{node.operation.method} pooling"
    transposed = node.kind == "convolution" and node.geometry.transposed
    return "transposed convolution" if transposed else getattr(node.operation, "name", node.kind)


def main() -> None:
    """Check the cases, the bounds and the optima, and print how many."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50, help="number of random networks")
    parser.add_argument("--points", type=int, default=100_000, help="points at which bounds are checked")
    parser.add_argument("--first", type=int, default=0, help="seed of the first network")
    arguments = parser.parse_args()
    began = time.perf_counter()
    points = sum(check_case(case, 20) for case in CASES)
    print(f"{len(CASES)} cases of onnx, {points} integer points: no mismatch ({time.perf_counter() - began:.0f} s)")
    began = time.perf_counter()
    counts: Counter[str] = Counter()
    for seed in track(range(arguments.first, arguments.first + arguments.count), "networks"):
        counts += check_bounds(seed, arguments.points)
    print(f"bounds of {arguments.count} networks, {dict(counts)} points ({time.perf_counter() - began:.0f} s)")
    began = time.perf_counter()
    kinds: Counter[str] = Counter()
    seed, done = arguments.first, 0
    while done < arguments.count:
        found = check_optimum(seed)
        if found is not None:
            kinds, done = kinds + found, done + 1
        seed += 1
    print(f"optima of {done} networks: no difference ({time.perf_counter() - began:.0f} s)")
    for kind, number in kinds.most_common():
        print(f"{number:6d}  {kind}")


if __name__ == "__main__":
    main()
