"""Random networks with branches, and PyTorch as their oracle: one recipe for seeds and for Hypothesis.

``python -m tests.random_networks --count 1000`` compares values, Jacobians and receptive fields of 1,000 networks.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from convmatrix.boundary import BOUNDARIES, PLAIN, SIGNED
from convmatrix.counts import network_counts
from convmatrix.geometry import ConvGeometry
from convmatrix.graph import receptive_field
from convmatrix.network import (
    Addition,
    Concatenation,
    Convolution,
    Elementwise,
    Extremum,
    FullyConnected,
    Input,
    LocalResponseNormalisation,
    MatrixProduct,
    Network,
    Node,
    Normalisation,
    ParametricReLU,
    Pooling,
    Product,
    Reduction,
    Resize,
    Scale,
    Softmax,
    channel_shuffle,
    expand,
    flatten,
    gather,
    pad,
    reshape,
    take,
    transpose,
)
from convmatrix.progress import track
from tests.reference import pad_axis

if TYPE_CHECKING:
    from numpy.typing import NDArray

Array = Any
Integer = Callable[[int, int], int]

NUMPY_MODES: Final = {"circular": "wrap", "reflect": "reflect", "symmetric": "symmetric", "replicate": "edge"}
PIECEWISE: Final = ("relu", "leaky_relu", "clip", "hard_sigmoid", "abs")
SMOOTH: Final = ("sigmoid", "tanh", "gelu", "silu", "softplus", "elu", "hard_swish", "gelu_tanh", "selu")


def random_network(seed: int, *, smooth: bool = True, most_nodes: int = 10) -> Network:
    """Return a random network with weights, of one or two spatial axes and small shapes."""
    rng = np.random.default_rng(seed)
    return draw_network(lambda low, high: int(rng.integers(low, high, endpoint=True)), rng, smooth, most_nodes)


def draw_network(integer: Integer, rng: np.random.Generator, smooth: bool, most_nodes: int) -> Network:
    """Return a network made of random integers, with weights from a generator."""
    n_axes = integer(1, 2)
    shape = (integer(1, 3), *(integer(3, 8) for _ in range(n_axes)))
    nodes = [Node("x", Input(shape))]
    shapes: dict[str, tuple[int, ...]] = {"x": shape}
    for number in range(integer(1, most_nodes)):
        names = list(shapes)
        source = names[max(integer(-2, len(names) - 1), 0)] if integer(0, 2) == 0 else names[-1]
        made = _draw_operation(integer, rng, shapes, source, smooth)
        if made is None:
            continue
        operation, inputs = made
        shape = operation.output_shape([shapes[name] for name in inputs])
        if min(shape) > 0:  # a crop may leave nothing
            nodes.append(Node(f"n{number}", operation, inputs))
            shapes[f"n{number}"] = shape
    return Network(nodes)


def _draw_operation(
    integer: Integer, rng: np.random.Generator, shapes: dict[str, tuple[int, ...]], source: str, smooth: bool
) -> tuple[Any, tuple[str, ...]] | None:
    shape = shapes[source]
    channels, *spatial = shape
    kind = integer(0, 15)
    if kind <= 3 and spatial:
        geometry = _draw_geometry(integer, channels, spatial)
        if geometry is None:
            return None
        weight = rng.standard_normal(geometry.weight_shape)
        bias = (None, rng.standard_normal(geometry.out_channels), rng.standard_normal(geometry.n_out))[integer(0, 2)]
        return Convolution(geometry, weight, bias), (source,)
    if kind == 4 and spatial:
        return _draw_pooling(integer, shape), (source,)
    if kind in (5, 6):
        names = PIECEWISE + SMOOTH if smooth else PIECEWISE
        return Elementwise(names[integer(0, len(names) - 1)]), (source,)
    if kind == 7:
        return Scale(rng.standard_normal(channels), rng.standard_normal(channels)), (source,)
    if kind in (8, 9):
        same = [name for name in shapes if shapes[name] == shape]
        chosen = (source, same[integer(0, len(same) - 1)])
        if kind == 9 and smooth:
            return Product(), chosen
        return Addition((1, -1) if integer(0, 1) else None), chosen
    if kind == 10:
        same = [name for name in shapes if shapes[name][1:] == shape[1:]]
        return Concatenation(0), (source, same[integer(0, len(same) - 1)])
    if kind == 11 and spatial:
        sizes = tuple(integer(1, 9) for _ in spatial)
        mode, coordinates, rounding = (
            ("nearest", "asymmetric", "floor"),
            ("linear", "half_pixel", "floor"),
            ("linear", "align_corners", "floor"),
            ("area", "half_pixel", "floor"),
        )[integer(0, 3)]
        return Resize(sizes, cast("Any", mode), cast("Any", coordinates), rounding=cast("Any", rounding)), (source,)
    if kind == 12:
        return _draw_rearrangement(integer, shape), (source,)
    if kind == 13 and math.prod(shape) <= 60:
        n_out = integer(1, 5)
        weight = rng.standard_normal((n_out, math.prod(shape)))
        return FullyConnected(math.prod(shape), n_out, weight, rng.standard_normal(n_out)), (source,)
    if kind == 14:
        same = [name for name in shapes if shapes[name] == shape]
        operation = _draw_statistic(integer, rng, shape, smooth)
        return operation, (source, same[integer(0, len(same) - 1)])[: operation.n_inputs or 2]
    if kind == 15 and smooth and len(shape) > 1:
        right = [name for name in shapes if len(shapes[name]) > 1 and shapes[name][-2] == shape[-1]]
        right = [name for name in right if len(shapes[name]) == 2 or shapes[name][:-2] in (shape[:-2], (1,))]
        if right:
            return MatrixProduct(), (source, right[integer(0, len(right) - 1)])
    return None


def _draw_statistic(integer: Integer, rng: np.random.Generator, shape: tuple[int, ...], smooth: bool) -> Any:
    """Return an operation that combines entries along axes, or those of two inputs."""
    axes = tuple(axis for axis in range(len(shape)) if integer(0, 1)) or (len(shape) - 1,)
    choices: list[Callable[[], Any]] = [
        lambda: Reduction(("mean", "sum", "max", "min")[integer(0, 3)], axes),  # type: ignore[arg-type]
        lambda: Extremum(("max", "min")[integer(0, 1)]),  # type: ignore[arg-type]
        lambda: ParametricReLU(rng.standard_normal(shape[0])),
    ]
    if smooth:
        choices += [
            lambda: Normalisation(axes, epsilon=0.1),
            lambda: Normalisation(None, 1, epsilon=0.1),
            lambda: Softmax(axes[0], bool(integer(0, 1))),
            lambda: LocalResponseNormalisation(integer(1, 4), 0.5, 0.75, 2.0),
        ]
    return choices[integer(0, len(choices) - 1)]()


def _draw_geometry(integer: Integer, channels: int, spatial: list[int]) -> ConvGeometry | None:
    groups = channels if integer(0, 2) == 0 else 1
    options: dict[str, Any] = {
        "in_channels": channels,
        "out_channels": groups * integer(1, 3),
        "groups": groups,
        "boundary": BOUNDARIES[integer(0, len(BOUNDARIES) - 1)],
        "padding": [(integer(0, 2), integer(0, 2)) for _ in spatial],
        "stride": [integer(1, 2) for _ in spatial],
        "dilation": [integer(1, 2) for _ in spatial],
        "flip": integer(0, 3) == 0,
    }
    kernel = [integer(1, 3) for _ in spatial]
    if integer(0, 4) == 0:
        options |= {"transposed": True, "boundary": "zero", "output_padding": [0 for _ in spatial], "padding": 0}
    try:
        return ConvGeometry(spatial, kernel, **options)
    except ValueError:
        return None


def _draw_pooling(integer: Integer, shape: tuple[int, ...]) -> Pooling:
    spatial = shape[1:]
    if integer(0, 4) == 0:
        return Pooling(("average", "max")[integer(0, 1)], None)  # type: ignore[arg-type]
    window = tuple(integer(1, min(3, n)) for n in spatial)
    padding = [integer(0, w // 2) for w in window]
    return Pooling(
        ("average", "max")[integer(0, 1)],  # type: ignore[arg-type]
        window,
        tuple(integer(1, 3) for _ in spatial),
        [(p, p) for p in padding],
        ceil_mode=bool(integer(0, 1)),
        count_include_pad=bool(integer(0, 1)),
    )


def _draw_rearrangement(integer: Integer, shape: tuple[int, ...]) -> Any:
    kind = integer(0, 7)
    if kind == 0:
        return flatten()
    if kind == 1:
        return reshape((math.prod(shape), 1))
    if kind == 2:
        return transpose(tuple(reversed(range(len(shape)))))
    if kind == 3:
        axis = integer(0, len(shape) - 1)
        return take(axis, integer(0, shape[axis] - 1), None, integer(1, 2))
    if kind == 4:
        return channel_shuffle(shape[0])
    if kind == 5:
        axis = integer(0, len(shape) - 1)
        return gather(axis, [integer(0, shape[axis] - 1) for _ in range(integer(1, 4))])
    if kind == 6:
        return expand(shape if integer(0, 1) or math.prod(shape) > 60 or len(shape) > 3 else (2, *shape))
    boundary = PLAIN[integer(0, len(PLAIN) - 1)]
    return pad([(0, 0), *((integer(0, 2), integer(-1, 2)) for _ in shape[1:])], boundary, 1.5)


# --- the oracle ------------------------------------------------------------------------------------------------------


def torch_values(network: Network, x: Any) -> dict[str, Any]:
    """Return the values of all nodes for a float64 tensor (batch, *input_shape), by PyTorch's functions."""
    values = {network.input.name: x}
    for node in network.nodes[1:]:
        values[node.name] = _torch_operation(node, [values[name] for name in node.inputs])
    return values


def _padded(x: Any, axis: int, low: int, high: int, boundary: str, value: float) -> Any:
    """Return a tensor padded on one axis by NumPy's rule for the boundary; negative amounts crop."""
    import torch

    n = x.shape[axis]
    if boundary == "zero":
        widths = [0, 0] * (x.ndim - 1 - axis) + [low, high]
        return torch.nn.functional.pad(x, widths, value=value)
    if boundary in SIGNED:
        extension = torch.as_tensor(pad_axis(np.eye(n), 0, (low, high), boundary), dtype=x.dtype)
        return torch.tensordot(x, extension, dims=([axis], [1])).movedim(-1, axis)
    index: NDArray[np.int64] = np.pad(
        np.arange(n), (max(low, 0), max(high, 0)), mode=cast("Any", NUMPY_MODES[boundary])
    )
    index = index[max(-low, 0) : len(index) - max(-high, 0)]
    return x.index_select(axis, torch.as_tensor(index))


def _torch_convolution(operation: Convolution, x: Any) -> Any:
    import torch
    from torch.nn import functional

    g = operation.geometry
    n = len(g.kernel_shape)
    weight = torch.as_tensor(np.array(operation.weight))
    if g.flip:
        weight = weight.flip(tuple(range(-n, 0)))
    for axis, (low, high) in enumerate(() if g.transposed else g.padding):
        x = _padded(x, axis + 2, low, high, g.boundary[axis], 0.0)
    function = getattr(functional, f"conv_transpose{n}d" if g.transposed else f"conv{n}d")
    y = function(x, weight, stride=g.stride, dilation=g.dilation, groups=g.groups)
    if operation.bias is not None:
        bias = torch.as_tensor(np.array(operation.bias))
        per_unit = bias.numel() == g.n_out and g.n_out != g.out_channels
        y = y + (bias.reshape(g.out_channels, *g.output_shape) if per_unit else bias.reshape(-1, *(1,) * n))
    return y


def _torch_pooling(operation: Pooling, x: Any) -> Any:
    from torch.nn import functional

    n = x.ndim - 2
    if operation.kernel_shape is None:
        axes = tuple(range(2, x.ndim))
        return x.mean(axes, keepdim=True) if operation.method == "average" else x.amax(axes, keepdim=True)
    padding = [low for low, _ in operation.padding]
    options = {"stride": operation.stride, "padding": padding, "ceil_mode": operation.ceil_mode}
    if operation.method == "max":
        return getattr(functional, f"max_pool{n}d")(x, operation.kernel_shape, **options)
    options["count_include_pad"] = operation.count_include_pad
    return getattr(functional, f"avg_pool{n}d")(x, operation.kernel_shape, **options)


def _torch_resize(operation: Resize, x: Any) -> Any:
    from torch.nn import functional

    sizes = list(operation.sizes)
    if operation.mode == "area":
        return functional.interpolate(x, size=sizes, mode="area")
    if operation.mode == "nearest":
        return functional.interpolate(x, size=sizes, mode="nearest")
    mode = ("linear", "bilinear", "trilinear")[len(sizes) - 1]
    return functional.interpolate(x, size=sizes, mode=mode, align_corners=operation.coordinates == "align_corners")


def _torch_rearrangement(operation: Any, x: Any) -> Any:
    import torch

    name, options = operation.name, operation.options
    if name == "flatten":
        return x.flatten(1)
    if name == "reshape":
        return x.reshape(len(x), *options)
    if name == "transpose":
        return x.permute(0, *(axis + 1 for axis in options))
    if name == "take":
        axis, start, stop, step = options
        return x[(slice(None),) * (axis + 1) + (slice(start, stop, step),)]
    if name == "channel_shuffle":
        return x.reshape(len(x), options[0], -1, *x.shape[2:]).transpose(1, 2).reshape(x.shape)
    if name == "gather":
        return x.index_select(options[0] + 1, torch.as_tensor(options[1]))
    if name == "expand":
        lead = len(options[0]) + 1 - x.ndim
        return x.reshape(len(x), *(1,) * lead, *x.shape[1:]).expand(len(x), *options[0])
    widths, boundaries, value = options
    for axis, ((low, high), boundary) in enumerate(zip(widths, boundaries, strict=True), start=1):
        x = _padded(x, axis, low, high, boundary, value)
    return x


def _torch_local_response(operation: LocalResponseNormalisation, x: Any) -> Any:
    import torch

    low = (operation.size - 1) // 2
    total = torch.zeros_like(x)
    for channel in range(x.shape[1]):
        first = max(channel - low, 0)
        total[:, channel] = (x[:, first : channel - low + operation.size] ** 2).sum(dim=1)
    return x / (operation.bias + operation.alpha / operation.size * total) ** operation.beta


def _torch_operation(node: Node, inputs: list[Any]) -> Any:
    import torch
    from torch.nn import functional

    operation, x = cast("Any", node.operation), inputs[0]
    if isinstance(operation, Convolution):
        return _torch_convolution(operation, x)
    if isinstance(operation, FullyConnected):
        return x.flatten(1) @ torch.as_tensor(np.array(operation.weight)).T + torch.as_tensor(np.array(operation.bias))
    if isinstance(operation, Pooling):
        return _torch_pooling(operation, x)
    if isinstance(operation, Elementwise):
        functions: dict[str, Callable[[Any], Any]] = {
            "relu": torch.relu, "leaky_relu": functional.leaky_relu, "clip": functional.relu6, "abs": torch.abs,
            "hard_sigmoid": functional.hardsigmoid, "sigmoid": torch.sigmoid, "tanh": torch.tanh,
            "gelu": functional.gelu, "silu": functional.silu, "softplus": functional.softplus,
            "elu": functional.elu, "hard_swish": functional.hardswish, "selu": functional.selu,
            "gelu_tanh": lambda t: functional.gelu(t, approximate="tanh"),
        }  # fmt: skip
        return functions[operation.name](x)
    if isinstance(operation, Scale):
        spread = (-1, *(1,) * (x.ndim - 2))
        scale, shift = (torch.as_tensor(np.array(v)).reshape(spread) for v in (operation.scale, operation.shift))
        return x * scale + shift
    if isinstance(operation, Addition):
        return inputs[0] - inputs[1] if operation.signs else inputs[0] + inputs[1]
    if isinstance(operation, Product):
        return inputs[0] * inputs[1]
    if isinstance(operation, Concatenation):
        return torch.cat(inputs, operation.axis + 1)
    if isinstance(operation, Resize):
        return _torch_resize(operation, x)
    if isinstance(operation, ParametricReLU):
        return functional.prelu(x, torch.as_tensor(np.array(operation.slope)))
    if isinstance(operation, Extremum):
        return (torch.maximum if operation.method == "max" else torch.minimum)(*inputs)
    if isinstance(operation, MatrixProduct):
        return inputs[0] @ inputs[1]
    if isinstance(operation, Reduction):
        axes = tuple(axis + 1 for axis in operation.axes)
        method = {"mean": torch.mean, "sum": torch.sum, "max": torch.amax, "min": torch.amin}[operation.method]
        return method(x, dim=axes, keepdim=True)  # type: ignore[operator]
    if isinstance(operation, Softmax):
        return (torch.log_softmax if operation.logarithm else torch.softmax)(x, operation.axis + 1)
    if isinstance(operation, LocalResponseNormalisation):
        return _torch_local_response(operation, x)
    if isinstance(operation, Normalisation):
        if operation.groups is not None and x[0].numel() > operation.groups:  # PyTorch refuses groups of one entry
            return functional.group_norm(x, operation.groups, eps=operation.epsilon)
        if operation.groups is not None:
            return torch.zeros_like(x)
        axes = tuple(axis + 1 for axis in operation.axes or ())
        variance, mean = torch.var_mean(x, dim=axes, correction=0, keepdim=True)
        return (x - mean) / torch.sqrt(variance + operation.epsilon)
    return _torch_rearrangement(operation, x)


# --- comparison ------------------------------------------------------------------------------------------------------


def compare(seed: int) -> None:
    """Compare a random network's values, Jacobian, constant, receptive fields and counts with PyTorch and matrices."""
    import torch

    network = random_network(seed)
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(network.input_shape)
    sample = torch.as_tensor(x[None]).requires_grad_()
    expected = torch_values(network, sample)
    for name, value in network.values(x[None]).items():
        reference = expected[name].detach().numpy()
        scale = max(abs(reference).max(initial=0), 1)
        assert abs(value - reference).max(initial=0) <= 1e-12 * scale, (seed, name)
    y, linear = expected[network.outputs[0]], network.linearise(x)
    slab = linear.rows(0, linear.shape[0]).toarray()
    rows = []
    for unit in range(y.numel()):
        (gradient,) = torch.autograd.grad(y.ravel()[unit], sample, retain_graph=True, allow_unused=True)
        rows.append(np.zeros(x.size) if gradient is None else gradient.numpy().ravel())
    scale = max(abs(np.array(rows)).max(), 1)
    if any(getattr(node.operation, "name", "") == "hard_sigmoid" for node in network):
        scale *= 1e4  # PyTorch's gradient has 1/6 in single precision
    assert abs(slab - rows).max() <= 1e-11 * scale, seed
    constant = y.detach().numpy().ravel() - np.array(rows) @ x.ravel()
    assert abs(linear.offset - constant).max() <= 1e-9 * max(abs(constant).max(), scale), seed
    for unit in range(y.numel()):
        field = receptive_field(network, unit)
        assert set(np.flatnonzero(slab[unit])) <= set(field), (seed, unit)
    for node, counts in zip(network, network_counts(network).layers, strict=True):
        if isinstance(node.operation, Convolution | FullyConnected):
            assert counts.nonzeros == network.affine(node.name)[0].nnz, (seed, node.name)


def main() -> None:
    """Compare many random networks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="seed of the first network")
    arguments = parser.parse_args()
    kinds: Counter[str] = Counter()
    for seed in track(range(arguments.first, arguments.first + arguments.count), "networks"):
        compare(seed)
        kinds.update(node.kind for node in random_network(seed))
    for kind, number in kinds.most_common():
        print(f"{number:6d}  {kind}")
    print(f"{arguments.count} networks, no difference")


if __name__ == "__main__":
    main()
