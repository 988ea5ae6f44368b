"""A training step (forward, backward, update), against PyTorch with as many threads and against plain sparse products.

``python -m benchmarks.training results/benchmarks/training.json growth.svg`` draws the growth that was recorded; that
needs matplotlib.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks._machine import cores, process_status
from benchmarks._tables import Cell, Goal, Row, Table
from benchmarks._timing import Effort, milliseconds, ratio_of, side_by_side
from benchmarks._worker import call

if TYPE_CHECKING:
    from benchmarks._command import Context, Topic

Step = Callable[[], object]
_METHOD = (
    "Forward, backward and update (SGD, momentum 0.9) of one batch in float32, in turns in one process in which both "
    "have {} threads. Neither computes the gradient of the first layer's input."
)


# --- the contenders, in a process of their own -----------------------------------------------------------------------


def lenet5_steps(batch: int) -> dict[str, Callable[[], Step]]:
    """Return what makes a step of LeNet-5 (28 x 28 maps in C1) with random images and labels, by each."""
    rng = np.random.default_rng(0)
    images, labels = rng.standard_normal((batch, 1, 32, 32), dtype=np.float32), rng.integers(0, 10, batch)

    def ours() -> Step:
        from convmatrix import nn

        return _our_step(nn.lenet5(), images, labels)

    def theirs() -> Step:
        import torch

        from convmatrix.network.architectures import LENET5_C3

        rows = LENET5_C3.split()
        table = torch.tensor([[str(j) in row for j in range(6)] for row in rows], dtype=torch.float32)[:, :, None, None]

        class Squash(torch.nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return 1.7159 * torch.tanh(x * (2 / 3))

        class Subsample(torch.nn.Module):
            def __init__(self, channels: int) -> None:
                super().__init__()
                self.weight = torch.nn.Parameter(torch.ones(channels, 1, 1))
                self.bias = torch.nn.Parameter(torch.zeros(channels, 1, 1))

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return torch.nn.functional.avg_pool2d(x, 2) * self.weight + self.bias

        class Connected(torch.nn.Conv2d):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return torch.nn.functional.conv2d(x, self.weight * table, self.bias)

        network = torch.nn.Sequential(
            torch.nn.Conv2d(1, 6, 5), Squash(), Subsample(6), Squash(),
            Connected(6, 16, 5), Squash(), Subsample(16), Squash(),
            torch.nn.Conv2d(16, 120, 5), Squash(), torch.nn.Flatten(),
            torch.nn.Linear(120, 84), Squash(), torch.nn.Linear(84, 10),
        )  # fmt: skip
        return _their_step(network, images, labels)

    return {"ours": ours, "PyTorch": theirs}


def conv_steps(batch: int, size: int, channels: tuple[int, ...]) -> dict[str, Callable[[], Step]]:
    """Return what makes a step of 3x3 convolutions with ReLU between them, by each; the loss is the squared output."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((batch, channels[0], size, size), dtype=np.float32)
    pairs = list(pairwise(channels))

    def ours() -> Step:
        import convmatrix as cm
        from convmatrix import nn

        layers: list[nn.Layer] = []
        for ins, outs in pairs:
            geometry = cm.ConvGeometry((size, size), (3, 3), in_channels=ins, out_channels=outs, padding=1)
            layers += [nn.Conv(geometry), nn.ReLU()]
        return _our_step(nn.Sequential(layers[:-1]), images, None)

    def theirs() -> Step:
        import torch

        layers: list[torch.nn.Module] = []
        for ins, outs in pairs:
            layers += [torch.nn.Conv2d(ins, outs, 3, padding=1), torch.nn.ReLU()]
        return _their_step(torch.nn.Sequential(*layers[:-1]), images, None)

    return {"ours": ours, "PyTorch": theirs}


def _our_step(network: Any, images: Any, labels: Any) -> Step:
    from convmatrix import nn

    optimiser, entropy = nn.SGD(1e-6, momentum=0.9), nn.SoftmaxCrossEntropy()

    def step() -> None:
        output = network.forward(images, training=True)
        gradient = output * np.float32(2 / output.size) if labels is None else entropy(output, labels)[1]
        network.parameter_gradients(gradient)
        optimiser.step(network.parameters, network.gradients)

    return step


def _their_step(network: Any, images: Any, labels: Any) -> Step:
    import torch

    optimiser = torch.optim.SGD(network.parameters(), lr=1e-6, momentum=0.9)
    x = torch.from_numpy(images)
    y = None if labels is None else torch.from_numpy(labels)

    def step() -> None:
        optimiser.zero_grad()
        output = network(x)
        loss = output.square().mean() if y is None else torch.nn.functional.cross_entropy(output, y)
        loss.backward()
        optimiser.step()

    return step


def _steps(case: dict[str, Any]) -> dict[str, Callable[[], Step]]:
    arguments = {name: value for name, value in case.items() if name != "kind"}
    return lenet5_steps(**arguments) if case["kind"] == "lenet5" else conv_steps(**arguments)


def time_steps(case: dict[str, Any], effort: tuple[float, int, int], threads: int) -> Iterator[dict[str, Any]]:
    """Yield the times of both."""
    import torch

    torch.set_num_threads(threads)
    yield side_by_side({name: make() for name, make in _steps(case).items()}, Effort(*effort))


def peak_of_steps(case: dict[str, Any], contender: str, threads: int) -> Iterator[dict[str, Any]]:
    """Yield the growth of the resident set to its high-water mark over three steps, in bytes."""
    if contender == "PyTorch":
        import torch

        torch.set_num_threads(threads)
    small = {"batch": 1} if case["kind"] == "lenet5" else {"batch": 1, "size": 4, "channels": (1, 4)}
    _steps({**case, **small})[contender]()()  # so that what is loaded on a first call is there
    step = _steps(case)[contender]()
    before = process_status("VmRSS")
    for _ in range(3):
        step()
    peak = process_status("VmHWM")
    yield {"growth": None if before is None or peak is None else peak - before}


def time_products(
    size: int, channels: int, groups: int, batch: int, threads: int, effort: tuple[float, int, int]
) -> Iterator[dict[str, Any]]:
    """Yield the times of the three products of a 3x3 layer, by method ``matrix``, by SciPy and by torch.sparse."""
    import warnings

    import torch

    import convmatrix as cm
    from convmatrix.nn.matrix_products import MatrixMultiplication

    torch.set_num_threads(threads)
    counts: dict[str, Any] = {"in_channels": channels, "out_channels": channels, "groups": groups}
    geometry = cm.ConvGeometry((size, size), (3, 3), padding=1, **counts)
    rng = np.random.default_rng(0)
    weight = rng.standard_normal(geometry.weight_shape).astype(np.float32)
    x = rng.standard_normal((channels, size, size, batch), dtype=np.float32)
    g = rng.standard_normal((channels, size, size, batch), dtype=np.float32)
    flat_x, flat_g = x.reshape(-1, batch), g.reshape(-1, batch)
    shape = (channels, size, size)
    pattern = geometry.pattern()
    multiply, A = MatrixMultiplication(pattern, shape, shape), cm.conv_matrix(weight, geometry)

    signs = [weight, -weight]

    def forward_with_new_weights() -> Any:
        signs.reverse()
        return multiply.forward(signs[0], x)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch calls its CSR tensors a prototype
        B, C = (
            torch.sparse_csr_tensor(
                torch.from_numpy(M.indptr), torch.from_numpy(M.indices), torch.from_numpy(M.data), size=M.shape
            )
            for M in (A, A.T.tocsr())
        )
        zeros = torch.sparse_csr_tensor(B.crow_indices(), B.col_indices(), torch.zeros(A.nnz), size=A.shape)
        tensor_x, tensor_g = torch.from_numpy(flat_x), torch.from_numpy(flat_g)
        places = torch.from_numpy(pattern.weight_index.astype(np.int64))

        tensors = [torch.from_numpy(sign.reshape(-1)) for sign in signs]

        def their_forward_with_new_weights() -> Any:
            tensors.reverse()
            torch.index_select(tensors[0], 0, places, out=B.values())
            return B @ tensor_x

        def their_weight_gradient() -> Any:
            values = torch.sparse.sampled_addmm(zeros, tensor_g, tensor_x.T, beta=0.0).values()
            return torch.zeros(geometry.n_weights).index_add_(0, places, values)

        difference = their_weight_gradient().numpy() - multiply.weight_gradient(x, g).ravel()
        if not abs(difference).max() < 1e-3 * abs(flat_g).max() * abs(flat_x).max() * batch:
            raise RuntimeError("the weight gradients differ")
        for _ in signs:
            difference = their_forward_with_new_weights().numpy() - forward_with_new_weights().reshape(-1, batch)
            if not abs(difference).max() < 1e-4 * abs(flat_x).max() * abs(weight).max() * weight[0].size:
                raise RuntimeError("the forward products differ")
        contenders: dict[str, dict[str, Step]] = {
            "forward": {
                "matrix": lambda: multiply.forward(weight, x),
                "SciPy": lambda: A @ flat_x,
                "torch.sparse": lambda: B @ tensor_x,
            },
            "forward, new weights": {
                "matrix": forward_with_new_weights,
                "torch.sparse": their_forward_with_new_weights,
            },
            "input gradient": {
                "matrix": lambda: multiply.input_gradient(weight, g),
                "SciPy": lambda: A.T @ flat_g,
                "torch.sparse": lambda: C @ tensor_g,
            },
            "weight gradient": {
                "matrix": lambda: multiply.weight_gradient(x, g),
                "torch.sparse": their_weight_gradient,
            },
        }
        for product, functions in contenders.items():
            yield {product: side_by_side(functions, Effort(*effort), pause=0.01)}
    yield {"nonzeros": int(A.nnz)}


# --- the topics ------------------------------------------------------------------------------------------------------

LENET5 = {"kind": "lenet5", "batch": 64}
TWO_LAYERS = {"kind": "conv", "batch": 64, "size": 32, "channels": (32, 64, 64)}


def lenet5(context: Context) -> Table:
    """Time LeNet-5."""
    case = {**LENET5, "batch": 4} if context.quick else LENET5
    goal = context.goal(Goal("ratio", "at most", 1.25))
    return Table("LeNet-5", _METHOD.format(cores()), [_race(context, f"batch {case['batch']}", case)], goal)


def two_layers(context: Context) -> Table:
    """Time two 3x3 layers."""
    case = {**TWO_LAYERS, "batch": 2, "size": 8} if context.quick else TWO_LAYERS
    name = f"32 -> 64 -> 64 on {case['size']}x{case['size']}, batch {case['batch']}"
    goal = context.goal(Goal("ratio", "at most", 2.0))
    return Table("Two 3x3 layers", _METHOD.format(cores()), [_race(context, name, case)], goal)


def growth(context: Context) -> Table:
    """Time 3x3 layers of growing batches, images and channels."""
    base: dict[str, Any] = {"kind": "conv", "batch": 16, "size": 16, "channels": (16, 16, 16)}
    varied: dict[str, list[Any]] = {
        "batch": [4, 8] if context.quick else [8, 16, 32, 64, 128],
        "size": [4, 8] if context.quick else [8, 16, 32, 64],
        "channels": [4, 8] if context.quick else [8, 16, 32, 64, 128],
    }
    rows = []
    for what, values in varied.items():
        for value in values:
            case = {**base, what: (value,) * 3 if what == "channels" else value}
            row = _race(context, f"{what} {value}", case)
            rows.append(Row({"varied": what, "value": value, **row.cells}, timings=row.timings))
    method = f"{_METHOD.format(cores())} Two 3x3 layers; what does not vary is batch 16, 16x16 images, 16 channels."
    return Table("Growth", method, rows)


def matrix(context: Context) -> Table:
    """Time the method ``matrix``."""
    rows = []
    layers = [(16, 16, 1, 64), (32, 16, 1, 64), (32, 32, 1, 16), (64, 1, 1, 64), (32, 16, 16, 64)]
    for size, channels, groups, batch in [(8, 4, 1, 8)] if context.quick else layers:
        kind = "depthwise, " if groups > 1 else ""
        name = f"{kind}{channels} channel{'s' if channels > 1 else ''}, {size}x{size}, batch {batch}"
        context.report(name)
        arguments = {"size": size, "channels": channels, "groups": groups, "batch": batch, "threads": cores()}
        found = _found(time_products, arguments, context, threads=cores())
        nonzeros = found.pop("nonzeros")
        for product, times in found.items():
            ratio = ratio_of(times["matrix"], times["torch.sparse"])
            cells: dict[str, Cell] = {
                "layer": name,
                "nonzeros": nonzeros,
                "product": product,
                "matrix, ms": milliseconds(times["matrix"]),
                "SciPy, ms": milliseconds(times["SciPy"]) if "SciPy" in times else None,
                "torch.sparse, ms": milliseconds(times["torch.sparse"]),
                "ratio": ratio.median,
                "quartiles": ratio.quartiles,
            }
            rows.append(Row(cells, timings=times))
    return Table(
        "The explicit matrix",
        "The three products of a 3x3 layer in float32, with the weights already in the matrix: method matrix, SciPy's "
        "A @ X and A.T @ G on one core, and torch.sparse (CSR, its transpose ready; sampled_addmm and index_add_ for "
        f"the weight gradient), both others with {cores()} threads. With new weights, both first put other weights "
        "into their matrix before the product, torch.sparse by index_select into its values. The ratio is matrix to "
        "torch.sparse.",
        rows,
        context.goal(Goal("ratio", "at most", 1.2)),
    )


def memory(context: Context) -> Table:
    """Measure the peak memory of a step."""
    rows = []
    cases = {"LeNet-5, batch 64": LENET5, "32 -> 64 -> 64 on 32x32, batch 64": TWO_LAYERS}
    for name, case in list(cases.items())[:1] if context.quick else cases.items():
        context.report(name)
        peaks: dict[str, float] = {}
        for contender in ("ours", "PyTorch"):
            arguments = {"case": case, "contender": contender, "threads": cores()}
            outcome = call(peak_of_steps, arguments, threads=cores())
            if outcome.failure is not None:
                raise RuntimeError(f"{name}, {contender}: {outcome.failure}")
            if outcome.values["growth"] is None:
                raise RuntimeError("the system does not tell the memory of a process (Linux does)")
            peaks[contender] = outcome.values["growth"] / 1e6
        cells: dict[str, Cell] = {"network": name, "ours, MB": peaks["ours"], "PyTorch, MB": peaks["PyTorch"]}
        cells["ratio"] = peaks["ours"] / peaks["PyTorch"] if peaks["PyTorch"] else None
        rows.append(Row(cells))
    method = "Growth of the resident set to its high-water mark over three steps, each in a fresh process."
    return Table("Peak memory", method, rows)


TOPICS: dict[str, Topic] = {
    "lenet5": lenet5,
    "two_layers": two_layers,
    "matrix": matrix,
    "growth": growth,
    "memory": memory,
}


def _race(context: Context, name: str, case: dict[str, Any]) -> Row:
    context.report(name)
    found = _found(time_steps, {"case": case, "threads": cores()}, context, threads=cores())
    ratio = ratio_of(found["ours"], found["PyTorch"])
    cells: dict[str, str | float | int | None] = {
        "network": name,
        "ours, ms": milliseconds(found["ours"]),
        "PyTorch, ms": milliseconds(found["PyTorch"]),
        "ratio": ratio.median,
        "quartiles": ratio.quartiles,
    }
    return Row(cells, timings=found)


def _found(
    function: Callable[..., Iterator[dict[str, Any]]], arguments: dict[str, Any], context: Context, threads: int
) -> dict[str, Any]:
    """Call a function in a fresh process with so many threads; return what it found."""
    effort = context.effort
    outcome = call(
        function, {**arguments, "effort": (effort.seconds, effort.least, effort.most)}, limit=600, threads=threads
    )
    if outcome.failure is not None:
        raise RuntimeError(outcome.failure)
    return outcome.values


def draw(record: Path, picture: Path) -> None:
    """Draw the times of the topic ``growth`` of a record, one panel for each thing that was varied."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    cells = [row["cells"] for row in json.loads(record.read_text(encoding="utf-8"))["topics"]["growth"]["rows"]]
    names = list(dict.fromkeys(row["varied"] for row in cells))
    figure, panels = plt.subplots(1, len(names), figsize=(4 * len(names), 3.2), sharey=True, layout="constrained")
    for panel, name in zip(panels, names, strict=True):
        rows = [row for row in cells if row["varied"] == name]
        for contender, marker in (("ours", "o"), ("PyTorch", "s")):
            times = [row[f"{contender}, ms"] for row in rows]
            panel.loglog([row["value"] for row in rows], times, marker=marker, label=contender)
        panel.set_xlabel(name)
    panels[0].set_ylabel("a step, ms")
    panels[0].legend()
    figure.savefig(picture)
    plt.close(figure)


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
