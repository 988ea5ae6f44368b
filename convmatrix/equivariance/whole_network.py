"""Decide whether a network as a whole commutes with a shift, by evaluating it.

One evaluation with random weights and a random input can refute it by a concrete counterexample. Networks that are
affine in their input and in the weights of each layer, and networks that consist of maxima only, are determined by
their values at finitely many weights and inputs, so evaluation decides them completely. Constants of the network that
rounding could hide, such as 1e-20 or 1 + 1e-15, are replaced by others of the same pattern for a proof: what holds for
values without a relation between them holds for all.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix.equivariance.sized_operations import AddedBias
from convmatrix.network import (
    Concatenation,
    Convolution,
    Elementwise,
    FullyConnected,
    Input,
    Network,
    Node,
    Opaque,
    Operation,
    PatternMap,
    Pooling,
    Rearrangement,
    Scale,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

Shift = tuple[int, ...]

_TRIALS = 4
_MOST_PRODUCTS = 3 * 10**8  # multiplications of one evaluation
_MOST_VALUES = 2 * 10**6  # maximum number of values that determine the network, over all weights and inputs
_TOLERANCE = 1e-12  # relative to the largest value of an output
_ROUNDING = 2.0**-15  # of the difference to single precision: 2**14 times what double precision may lose
_LISTED = 256  # maximum number of output shifts for which a counterexample lists a row


@dataclass(frozen=True, eq=False, repr=False)
class NetworkCounterexample:
    """Weights and an input for which no shift of the output corresponds to the shift of the input.

    Attributes
    ----------
    network : Network
        The network with the weights.
    input : array, shape input_shape
    output : str
        The output node that was compared.
    rows : dict of tuple of int to int
        For each output shift, the index of an entry of the raveled output that differs; at most 256 shifts are listed.
    """

    network: Network
    input: Array
    output: str
    rows: dict[Shift, int]


def decide_whole(network: Network, shift: Sequence[int]) -> tuple[bool | None, NetworkCounterexample | None]:
    """Return whether every output is shifted by some amount for all weights and inputs, or None if undecided.

    The second value is a counterexample, if a single evaluation refutes it.
    """
    if any(isinstance(node.operation, Opaque) for node in network) or _products(network) > _MOST_PRODUCTS:
        return None, None
    alive = {name: set(np.ndindex(network[name].output_shape[1:])) for name in network.outputs}
    for trial in range(_TRIALS):
        weighted = _with_weights(network, np.random.default_rng(trial))
        x = np.random.default_rng(_TRIALS + trial).integers(-4, 5, (1, *network.input_shape)).astype(np.float64)
        found = _compare(weighted, x, np.roll(x, shift, _spatial(x)), alive)
        for name, rows in found.items():
            if not alive[name]:
                listed = dict(itertools.islice(rows.items(), _LISTED))
                complete = len(rows) == math.prod(network[name].output_shape[1:])
                return False, NetworkCounterexample(weighted, x[0], name, listed) if complete else None
    basis = _determining_inputs(network)
    if basis is None:
        return None, None
    moved = np.roll(basis, shift, _spatial(basis))
    for weighted in _determining_weights(network):
        _compare(weighted, basis, moved, alive)
    if not all(alive.values()):
        return False, None
    generic = _with_generic_constants(network)
    compared = [_compare(weighted, basis, moved, alive) for weighted in _determining_weights(generic)]
    proved = all(alive.values()) and all(found.keys() == alive.keys() for found in compared)
    return proved or None, None


def _spatial(x: Array) -> tuple[int, ...]:
    return tuple(range(2, x.ndim))


def _compare(network: Network, x: Array, moved: Array, alive: dict[str, set[Shift]]) -> dict[str, dict[Shift, int]]:
    """Remove output shifts that do not map values at x to those at the shifted x; return them with a broken row each.

    An output is left out if its values are not finite, or are too sensitive to rounding to tell.
    """
    removed: dict[str, dict[Shift, int]] = {}
    with np.errstate(all="ignore"):
        values, others = network.values(x), network.values(moved)
        single, moved_single = network.values(x.astype(np.float32)), network.values(moved.astype(np.float32))
        pairs = (values, single), (others, moved_single)
        if any(_near_jump(node, *pair) for node in network for pair in pairs):
            return removed
        for name, shifts in alive.items():
            y, target = values[name], others[name]
            if not (np.isfinite(y).all() and np.isfinite(target).all()):
                continue
            largest = float(np.abs(y).max())
            loss = float(np.abs([y - single[name], target - moved_single[name]]).max())
            if not math.isfinite(loss):  # beyond single precision
                loss = 1e-7 * max(float(np.abs(value).max()) for value in values.values())
            tolerance = max(_TOLERANCE * largest, _ROUNDING * loss, 1e-290)  # below, digits are lost
            removed[name] = {}
            for amount in sorted(shifts):
                difference = np.abs(np.roll(y, amount, _spatial(y)) - target) > tolerance
                if difference.any():
                    removed[name][amount] = int(difference.reshape(len(y), -1).any(axis=0).argmax())
            shifts.difference_update(removed[name])
    return removed


def _near_jump(node: Node, values: dict[str, Array], single: dict[str, Array]) -> bool:
    """Return whether rounding, which single precision shows, may move what a node reads over a jump of its function."""
    if not isinstance(node.operation, Elementwise):
        return False
    read, given = values[node.inputs[0]], values[node.name]
    largest = float(np.abs(read).max())
    below, above = (node.operation.evaluate([read + change]) for change in (-1e-9 * largest, 1e-9 * largest))
    jumps = np.abs(above - below) > 1e-5 * max(largest, float(np.abs(given).max()))
    return bool((jumps & (read != single[node.inputs[0]])).any())


def _products(network: Network) -> int:
    """Return the multiplications of one evaluation and of the comparison of all output shifts."""
    total = 0
    for node in network:
        operation = node.operation
        if isinstance(operation, Convolution):
            g = operation.geometry
            total += math.prod((*g.positions, *g.kernel_shape, g.in_channels, g.out_channels // g.groups))
        elif isinstance(operation, FullyConnected):
            total += operation.n_in * operation.n_out
        elif isinstance(operation, PatternMap):
            total += operation.pattern.n_entries
        else:
            total += math.prod(node.output_shape)
    compared = (network[name].output_shape for name in network.outputs)
    return total + sum(math.prod(shape) * math.prod(shape[1:]) for shape in compared)


# --- weights ---------------------------------------------------------------------------------------------------------


def _weight_shapes(network: Network) -> dict[tuple[str, str], tuple[int, ...]]:
    """Return the shapes of all trained arrays, by node and name."""
    shapes: dict[tuple[str, str], tuple[int, ...]] = {}
    for node in network:
        operation = node.operation
        if isinstance(operation, Convolution):
            g = operation.geometry
            shapes[node.name, "weight"] = g.weight_shape
            if operation.bias_sharing is not None:
                shapes[node.name, "bias"] = (g.n_out if operation.bias_sharing == "unit" else g.out_channels,)
        elif isinstance(operation, FullyConnected):
            shapes[node.name, "weight"] = (operation.n_out, operation.n_in)
            if operation.bias is not False:
                shapes[node.name, "bias"] = (operation.n_out,)
        elif isinstance(operation, PatternMap) and operation.trained:
            shapes[node.name, "weight"] = operation.pattern.weight_shape
        elif isinstance(operation, AddedBias):
            size = math.prod(operation.sample_shape) if operation.sharing == "unit" else operation.channels
            shapes[node.name, "shift"] = (size,)
        elif isinstance(operation, Scale):
            for name in ("scale", "shift"):
                if isinstance(getattr(operation, name), str):
                    shapes[node.name, name] = (node.output_shape[0],)
        elif isinstance(operation, Pooling) and operation.trained:
            shapes[node.name, "coefficient"] = shapes[node.name, "bias"] = (node.output_shape[0],)
    return shapes


def _filled(network: Network, arrays: dict[tuple[str, str], Array]) -> Network:
    """Return the network with the given arrays as weights."""
    nodes = []
    for node in network:
        operation: Operation = node.operation
        values = {word: array for (name, word), array in arrays.items() if name == node.name}
        if isinstance(operation, AddedBias):
            operation = Scale(
                None, values["shift"].reshape(operation.sample_shape if operation.sharing == "unit" else -1)
            )
        elif isinstance(operation, Elementwise) and operation.known is None and operation.function is None:
            operation = Elementwise(operation.name, function=_stand_in)
        elif isinstance(operation, Scale):
            operation = Scale(values.get("scale", operation.scale), values.get("shift", operation.shift))
        elif values:
            operation = replace(operation, **values)  # type: ignore[type-var]  # these operations are dataclasses
        nodes.append(replace(node, operation=operation))
    return Network(nodes, network.outputs, network.name)


def _stand_in(x: Array) -> Array:
    """Return an elementwise function that is neither odd, even nor monotone; it stands for an arbitrary function."""
    return np.asarray(np.abs(x - 1) + x / 2)


def _with_weights(network: Network, rng: np.random.Generator) -> Network:
    """Return the network with random weights: small integers, scaled down if a function saturates."""
    smooth = any(
        isinstance(node.operation, Elementwise) and node.operation.known and not node.operation.exact
        for node in network
    )
    arrays = {}
    for key, shape in _weight_shapes(network).items():
        values = rng.integers(1, 4, shape) * rng.choice([-1.0, 1.0], shape)
        arrays[key] = values / (8 * max(1, math.prod(shape[1:]))) if smooth else values
    return _filled(network, arrays)


def _with_generic_constants(network: Network) -> Network:
    """Return the network with constants of one pattern, without relations between them, in place of those of scales.

    Zero and small multiples of 1/16 stay as they are, and so do signs.
    """

    def generic(value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return value
        value = value.astype(np.float64)
        distinct, places = np.unique(np.abs(value), return_inverse=True)
        drawn = [
            size if size <= 16 and (16 * size).is_integer() else np.random.default_rng(bits).uniform(0.5, 1.5)
            for size, bits in zip(distinct.tolist(), distinct.view(np.uint64).tolist(), strict=True)
        ]
        return np.sign(value) * np.array(drawn)[places].reshape(value.shape)

    scales = {node.name: node.operation for node in network if type(node.operation) is Scale}
    changed = {name: Scale(generic(of.scale), generic(of.shift)) for name, of in scales.items()}
    nodes = [replace(node, operation=changed.get(node.name, node.operation)) for node in network]
    return Network(nodes, network.outputs, network.name)


def _determining_inputs(network: Network) -> Array | None:
    """Return inputs that, with `_determining_weights`, determine the network by its values; None if unknown.

    An affine map is determined by its values at zero and at the unit vectors, and maxima of samples by those at the
    unit vectors. A map that is affine in the weights of each layer is determined by weights that are zero or unit
    vectors.
    """
    if not (all(node.linear for node in network) or all(_takes_maxima(node.operation) for node in network)):
        return None
    n_in = math.prod(network.input_shape)
    points = math.prod(1 + math.prod(shape) for shape in _weight_shapes(network).values())
    values = sum(math.prod(node.output_shape) for node in network)
    if points * (n_in + 1) * values > _MOST_VALUES:
        return None
    return np.eye(n_in + 1, n_in).reshape(-1, *network.input_shape)


def _takes_maxima(operation: Operation) -> bool:
    if isinstance(operation, Rearrangement):
        return operation.name != "pad"
    return isinstance(operation, Input | Concatenation) or (
        isinstance(operation, Pooling) and operation.method == "max" and not operation.trained
    )


def _determining_weights(network: Network) -> Iterator[Network]:
    """Yield the network with every combination of weight arrays that are zero or a unit vector."""
    shapes = _weight_shapes(network)
    units = [np.eye(math.prod(shape) + 1, math.prod(shape)).reshape(-1, *shape) for shape in shapes.values()]
    for chosen in itertools.product(*units):
        yield _filled(network, dict(zip(shapes, chosen, strict=True)))
