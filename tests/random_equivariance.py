"""Random networks: the verdicts of `check_network` against a direct evaluation that shares no code with the package.

``python -m tests.random_equivariance --count 2000`` draws 2,000 networks and compares them all.
"""

from __future__ import annotations

import argparse
import itertools
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from convmatrix import equivariance
from convmatrix.boundary import BOUNDARIES
from convmatrix.geometry import ConvGeometry
from convmatrix.network import (
    Addition,
    Concatenation,
    Convolution,
    Elementwise,
    FullyConnected,
    Input,
    Network,
    Node,
    Pooling,
    Product,
    flatten,
    take,
)
from convmatrix.progress import track

Array = Any

PAD_MODES: dict[str, Any] = {
    "zero": "constant",
    "circular": "wrap",
    "reflect": "reflect",
    "symmetric": "symmetric",
    "replicate": "edge",
}
TRIALS = 6
MORE_TRIALS = 300  # where a verdict says no: a maximum seldom notices that one sample is left out


# --- direct evaluation -----------------------------------------------------------------------------------------------


def padded(x: Array, pads: list[tuple[int, int]], boundaries: tuple[str, ...], fill: float) -> Array:
    """Return x (channels, *spatial) padded axis by axis by `numpy.pad`."""
    for axis, (pad, boundary) in enumerate(zip(pads, boundaries, strict=True), start=1):
        widths = [(0, 0)] * x.ndim
        widths[axis] = pad
        if x.shape[axis] == 1 and boundary == "reflect":
            boundary = "replicate"
        options: dict[str, Any] = {"constant_values": fill} if boundary == "zero" else {}
        x = np.pad(x, widths, PAD_MODES[boundary], **options)
    return x


def windows(g: ConvGeometry, x: Array, fill: float) -> Array:
    """Return what the windows of a layer read: (channels, *outputs, *kernel)."""
    pads = []
    for axis, (low, high) in enumerate(g.padding):
        reach = (g.output_shape[axis] - 1) * g.stride[axis] + (g.kernel_shape[axis] - 1) * g.dilation[axis] + 1
        pads.append((low, max(high, reach - low - g.input_shape[axis])))
    x = padded(x, pads, g.boundary, fill)
    n = len(g.kernel_shape)
    for axis in range(n):
        outputs, taps = np.indices((g.output_shape[axis], g.kernel_shape[axis]))
        x = np.moveaxis(np.take(x, outputs * g.stride[axis] + taps * g.dilation[axis], axis=1 + axis), 2 + axis, -1)
    return x


def convolve(g: ConvGeometry, weights: Array, x: Array) -> Array:
    """Return the layer's output; weights are (out, in, *tile or 1s, *kernel)."""
    if g.transposed:
        forward = ConvGeometry(
            g.output_shape, g.kernel_shape, stride=g.stride, dilation=g.dilation, padding=g.padding, boundary=g.boundary
        )
        size = int(np.prod(g.output_shape))
        read = np.stack([windows(forward, e.reshape(1, *g.output_shape), 0.0)[0] for e in np.eye(size)], axis=0)
        n = len(g.kernel_shape)
        spread = np.tensordot(x, weights.reshape(*weights.shape[:2], *g.kernel_shape), axes=(0, 1))
        spread = np.moveaxis(spread, n, 0)  # (out, *inputs, *kernel)
        return np.tensordot(spread, read, axes=(range(1, 2 * n + 1), range(1, 2 * n + 1))).reshape(-1, *g.output_shape)
    read = windows(g, x, 0.0)
    n = len(g.kernel_shape)
    tiles = weights.shape[2 : 2 + n]
    at = np.ix_(*(np.arange(m) % t for m, t in zip(g.output_shape, tiles, strict=True)))
    here = weights[(slice(None), slice(None), *at)]  # (out, in, *outputs, *kernel)
    return (here * read[None]).sum(axis=(1, *range(2 + n, 2 + 2 * n)))


def pool(g: ConvGeometry, method: str, x: Array) -> Array:
    axes = tuple(range(-len(g.kernel_shape), 0))
    read = windows(g, x, -np.inf if method == "max" else 0.0)
    return read.max(axis=axes) if method == "max" else read.mean(axis=axes)


def arbitrary(x: Array) -> Array:
    return np.sin(3 * x) + x * x / 4


@dataclass
class Draw:
    """A random network, and its direct evaluation: one function of (x, rng of the weights) per node."""

    nodes: list[Node] = field(default_factory=list)
    steps: dict[str, tuple[Any, tuple[str, ...]]] = field(default_factory=dict)

    def add(self, operation: Any, inputs: tuple[str, ...], evaluate: Any) -> str:
        name = f"{operation.kind} {len(self.nodes)}"
        self.nodes.append(Node(name, operation, inputs))
        self.steps[name] = (evaluate, inputs)
        return name

    def evaluate(self, x: Array, seed: int) -> Array:
        values = {"input": x}
        for place, (name, (evaluate, inputs)) in enumerate(self.steps.items()):
            rng = np.random.default_rng([seed, place])
            values[name] = evaluate(rng, *(values[source] for source in inputs))
        return values[self.nodes[-1].name]


# --- random networks -------------------------------------------------------------------------------------------------


def draw_network(rng: np.random.Generator) -> tuple[Network, Draw]:
    """Return a random network of one to four blocks."""
    n_axes = int(rng.choice([1, 1, 2]))
    shape = (
        int(rng.integers(1, 3)),
        *(int(s) for s in rng.choice([1, 2, 3, 4, 6, 8] if n_axes == 1 else [2, 3, 4], n_axes)),
    )
    draw = Draw([Node("input", Input(shape))])
    mood = str(rng.choice(["ring", "ring", "any"]))
    last = "input"
    for _ in range(int(rng.integers(1, 5))):
        if len(shape) == 1:
            break
        last, shape = _add_block(rng, draw, last, shape, mood)
    return Network(draw.nodes), draw


def _add_block(
    rng: np.random.Generator, draw: Draw, last: str, shape: tuple[int, ...], mood: str
) -> tuple[str, tuple[int, ...]]:
    kind = rng.choice(
        ["conv", "conv", "pool", "pool", "function", "branch", "crop", "dense"],
        p=[0.25, 0.1, 0.2, 0.1, 0.12, 0.13, 0.05, 0.05],
    )
    if kind == "conv":
        return _add_convolution(rng, draw, last, shape, mood)
    if kind == "pool":
        return _add_pooling(rng, draw, last, shape, mood)
    if kind == "function":
        name = str(rng.choice(["relu", "abs", "something"]))
        function: Any = {"relu": lambda x: np.maximum(x, 0), "abs": np.abs, "something": arbitrary}[name]
        return draw.add(Elementwise(name), (last,), lambda _, x: function(x)), shape
    if kind == "branch":
        first, one = _add_convolution(rng, draw, last, shape, mood)
        second, other = (last, shape) if rng.random() < 0.4 else _add_convolution(rng, draw, last, shape, mood)
        if one[1:] == other[1:] and rng.random() < 0.5:
            joined = (one[0] + other[0], *one[1:])
            return draw.add(Concatenation(), (first, second), lambda _, *x: np.concatenate(x)), joined
        if one == other:
            if rng.random() < 0.5:
                return draw.add(Product(), (first, second), lambda _, x, y: x * y), one
            sign = int(rng.choice([1, -1]))
            return draw.add(Addition((1, sign)), (first, second), lambda _, x, y: x + sign * y), one
        return first, one
    if kind == "crop" and shape[1] > 1:
        start, step = int(rng.integers(0, 2)), int(rng.integers(1, 3))
        sizes = (shape[0], len(range(start, shape[1], step)), *shape[2:])
        return draw.add(take(1, start, None, step), (last,), lambda _, x: x[:, start::step]), sizes
    if kind == "dense":
        flat = draw.add(flatten(), (last,), lambda _, x: x.ravel())
        n_in = int(np.prod(shape))
        return draw.add(
            FullyConnected(n_in, 2), (flat,), lambda r, x: r.standard_normal((2, n_in)) @ x + r.standard_normal(2)
        ), (2,)
    return last, shape


def _draw_geometry(
    rng: np.random.Generator, sizes: tuple[int, ...], mood: str, channels: tuple[int, int]
) -> ConvGeometry | None:
    n = len(sizes)
    taps = [int(rng.choice([1, 2, 3, size, size + 1])) for size in sizes]
    stride = [int(rng.choice([1, 1, 2, 3, size])) for size in sizes]
    dilation = [int(rng.choice([1, 1, 2])) for _ in sizes]
    if mood == "ring" and rng.random() < 0.8:
        boundary: Any = "circular"
        padding = [
            (0, max((size // s if size % s == 0 else size) * s - s + d * (k - 1) + 1 - size, 0))
            for size, k, s, d in zip(sizes, taps, stride, dilation, strict=True)
        ]
    else:
        boundary = [str(b) for b in rng.choice(PADDED, n)]
        padding = [(int(rng.integers(0, 3)), int(rng.integers(0, 3))) for _ in sizes]
    try:
        return ConvGeometry(
            sizes,
            taps,
            in_channels=channels[0],
            out_channels=channels[1],
            stride=stride,
            dilation=dilation,
            padding=padding,
            boundary=boundary,
        )
    except ValueError:
        return None


PADDED = [boundary for boundary in BOUNDARIES if boundary in PAD_MODES]


def _add_convolution(
    rng: np.random.Generator, draw: Draw, last: str, shape: tuple[int, ...], mood: str
) -> tuple[str, tuple[int, ...]]:
    outs = int(rng.integers(1, 3))
    g = _draw_geometry(rng, shape[1:], mood, (shape[0], outs))
    if g is None or np.prod(g.output_shape) > 64:
        g = ConvGeometry(shape[1:], (1,) * (len(shape) - 1), in_channels=shape[0], out_channels=outs)
    tile = (1,) * len(g.kernel_shape)
    if rng.random() < 0.15:
        tile = tuple(int(t) for t in rng.integers(1, 4, len(tile)))
        g = ConvGeometry(g.input_shape, g.kernel_shape, **{**g.options(), "sharing": tile})
    elif rng.random() < 0.15:
        options: dict[str, Any] = {
            "stride": g.stride,
            "dilation": g.dilation,
            "boundary": g.boundary,
            "transposed": True,
        }
        up = ConvGeometry(shape[1:], g.kernel_shape, in_channels=shape[0], out_channels=outs, **options)
        g = up if np.prod(up.output_shape) <= 64 else g
    bias = rng.choice(["none", "channel", "unit"], p=[0.5, 0.4, 0.1])

    def evaluate(r: np.random.Generator, x: Array) -> Array:
        weights = r.standard_normal((outs, shape[0], *tile, *g.kernel_shape))
        y = convolve(g, weights, x)
        if bias == "none":
            return y
        return y + (r.standard_normal(y.shape) if bias == "unit" else r.standard_normal((outs, *(1,) * (y.ndim - 1))))

    name = draw.add(Convolution(g, bias=None if bias == "none" else str(bias)), (last,), evaluate)
    return name, (outs, *g.output_shape)


def _add_pooling(
    rng: np.random.Generator, draw: Draw, last: str, shape: tuple[int, ...], mood: str
) -> tuple[str, tuple[int, ...]]:
    method = str(rng.choice(["max", "average"]))
    g = _draw_geometry(rng, shape[1:], mood, (1, 1))
    if g is None or np.prod(g.output_shape) > 64 or rng.random() < 0.3:
        g = ConvGeometry(shape[1:], shape[1:], stride=shape[1:])
    operation = Pooling(method, g.kernel_shape, g.stride, list(g.padding), g.dilation, g.boundary)  # type: ignore[arg-type]
    try:
        operation.output_shape([shape])
    except ValueError:  # a maximum of padding alone
        return last, shape
    if not np.isfinite(pool(g, method, np.zeros(shape))).all():
        return last, shape
    return draw.add(operation, (last,), lambda _, x: pool(g, method, x)), (shape[0], *g.output_shape)


# --- comparison ------------------------------------------------------------------------------------------------------


def answering(draw: Draw, shape: tuple[int, ...], shift: tuple[int, ...], trials: int = TRIALS) -> set[tuple[int, ...]]:
    """Return the output shifts that correspond to an input shift for each of some random weights and inputs."""
    alive: set[tuple[int, ...]] | None = None
    for trial in range(trials):
        if alive is not None and not alive:
            break
        x = np.random.default_rng([7, trial]).standard_normal(shape) * 2
        y = draw.evaluate(x, trial)
        moved = draw.evaluate(np.roll(x, shift, range(1, x.ndim)), trial)
        axes = tuple(range(1, y.ndim))
        alive = set(np.ndindex(y.shape[1:])) if alive is None else alive
        scale = 1e-8 * (1 + np.abs(y).max())
        alive = {t for t in alive if np.abs(np.roll(y, t, axes) - moved).max() <= scale}
    return alive or set()


def compare(rng: np.random.Generator) -> Counter[str]:
    """Draw a network and compare every verdict; return how many there were of each kind."""
    network, draw = draw_network(rng)
    shape = network.input_shape
    outcomes: Counter[str] = Counter()
    smallest: list[list[int]] = [[] for _ in shape[1:]]
    shifts = list(itertools.product(*map(range, shape[1:])))
    for shift in shifts if len(shifts) <= 8 else [shifts[i] for i in rng.choice(len(shifts), 8, replace=False)]:
        verdict = equivariance.check_network(network, shift)
        passes = bool(answering(draw, shape, shift))
        if passes and verdict.exact and not verdict.holds:
            passes = bool(answering(draw, shape, shift, MORE_TRIALS))
        if verdict.exact and verdict.holds != passes:
            raise AssertionError(f"shift {shift}: {verdict}, but brute force says {passes}: {describe(network)}")
        outcomes[f"{verdict.holds}, {verdict.decided}" if verdict.exact else f"bound, in truth {passes}"] += 1
    found = equivariance.surviving_shifts(network)
    for axis, size in enumerate(shape[1:]):
        along = [tuple(amount if a == axis else 0 for a in range(len(smallest))) for amount in range(1, size)]
        expected = next((max(shift) for shift in along if answering(draw, shape, shift)), size)
        if expected < found[axis]:
            expected = next((max(shift) for shift in along if answering(draw, shape, shift, MORE_TRIALS)), size)
        if found.exact and found[axis] != expected:
            raise AssertionError(f"axis {axis}: {found}, but brute force says {expected}: {describe(network)}")
    outcomes["surviving, exact" if found.exact else "surviving, bound"] += 1
    return outcomes


def describe(network: Network) -> str:
    """Return the nodes of a network, for messages."""
    return "; ".join(f"{node.name} {node.inputs}: {node.operation}" for node in network)


def main() -> None:
    """Compare many networks and print how many verdicts there were of each kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    outcomes: Counter[str] = Counter()
    for number in track(range(options.count), "cases"):
        outcomes += compare(np.random.default_rng([options.seed, number]))
    for outcome, count in sorted(outcomes.items()):
        print(f"{count:6d}  {outcome}")


if __name__ == "__main__":
    main()
