"""ONNX files that are damaged or made to do harm: in a process of its own, with little memory and time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

ROOT: Final = Path(__file__).resolve().parents[1]
ADDRESS_SPACE: Final = 2**31  # beyond what the interpreter and its libraries have mapped
SECONDS_PER_FILE: Final = 20
HUGE: Final = 2**40

# Tells of each file before and after: a crash is laid at the door of the file that made it.
_DRIVER: Final = """
import json, pathlib, resource, signal, sys
import numpy, onnx, onnx.reference, onnx.inliner
import convmatrix as cm

folder, address_space, seconds = sys.argv[1], *map(int, sys.argv[2:])
mapped = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (mapped + address_space,) * 2)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
for path in sorted(pathlib.Path(folder).glob("*.onnx")):
    print(json.dumps({"begins": path.stem}), flush=True)
    signal.alarm(seconds)
    try:
        network = cm.Network.from_onnx(path)
        result = {"network": repr(network)}
        network.values(numpy.ones((1, *network.input_shape), numpy.float32), network.outputs)
    except Exception as error:
        clear = isinstance(error, (ValueError, TypeError, OSError))
        result = {"error": type(error).__name__, "message": str(error), "clear": clear}
    signal.alarm(0)
    print(json.dumps({"file": path.stem, **result}), flush=True)
"""


def value(name: str, shape: Any = (1, 4), element: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, element, shape)


def model(
    nodes: list[Any], arrays: list[Any] | None = None, shape: Any = (1, 2, 5, 5), outputs: Any = ("y",), opset: int = 17
) -> Any:
    """Return a model from ``x`` to ``outputs``."""
    graph = helper.make_graph(
        nodes, "hostile", [value("x", shape)], [value(name, None) for name in outputs], arrays or []
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def node(operator: str, inputs: list[str], outputs: Any = ("y",), **attributes: Any) -> Any:
    return helper.make_node(operator, inputs, list(outputs), operator.lower(), **attributes)


def array(name: str, values: Any, dtype: Any = np.float32) -> Any:
    return numpy_helper.from_array(np.asarray(values, dtype=dtype), name)


def tensor(name: str, dims: Any, raw: bytes = b"", element: int = TensorProto.FLOAT) -> Any:
    """Return a tensor whose dimensions need not fit its data."""
    return TensorProto(name=name, dims=list(dims), data_type=element, raw_data=raw)


WEIGHT: Final = array("w", np.ones((2, 2, 3, 3)))
CONV: Final = node("Conv", ["x", "w"])


def whole() -> bytes:
    """Return the bytes of a valid model."""
    data: bytes = model([CONV], [WEIGHT]).SerializeToString()
    return data


def damaged() -> Iterator[tuple[str, bytes]]:
    """Yield files whose bytes are damaged."""
    data = whole()
    yield "empty", b""
    yield "zeros", bytes(1000)
    yield "text", b"this is not a model" * 10
    yield "json", b'{"graph": {}}'
    yield "no graph", onnx.ModelProto(ir_version=8).SerializeToString()
    for part in range(1, 10):
        yield f"truncated {part}", data[: len(data) * part // 10]
    rng = np.random.default_rng(0)
    for number in range(10):
        noise = bytearray(data)
        for place in rng.integers(0, len(noise), 8):
            noise[place] = rng.integers(256)
        yield f"noise {number}", bytes(noise)
    yield "name that is no text", data.replace(b"conv", b"\xff\xfe\xff\xfe")
    nested = b""
    for _ in range(2000):  # a field within a field within a field
        nested = b"\x3a" + _varint(len(nested)) + nested
    yield "deep nesting", nested


def _varint(number: int) -> bytes:
    parts = []
    while True:
        number, low = number >> 7, number & 127
        parts.append(low | (128 if number else 0))
        if not number:
            return bytes(parts)


def forged_tensors() -> Iterator[tuple[str, Any]]:
    """Yield models with an initializer that is not what it says."""
    forged = {
        "too few bytes": tensor("w", (2, 2, 3, 3), bytes(8)),
        "too many bytes": tensor("w", (2, 2, 3, 3), bytes(1000)),
        "no data": tensor("w", (2, 2, 3, 3)),
        "huge": tensor("w", (HUGE, HUGE), bytes(8)),
        "huge without data": TensorProto(name="w", dims=[HUGE], data_type=1),
        "overflow": tensor("w", (2**62, 4), b""),
        "negative": tensor("w", (-2, 2, 3, 3), bytes(144)),
        "two negative": tensor("w", (-2, -2, 3, 3), bytes(144)),
        "unknown type": tensor("w", (2, 2, 3, 3), bytes(144), 99),
        "undefined type": tensor("w", (2, 2, 3, 3), bytes(144), 0),
        "strings": TensorProto(name="w", dims=[2], data_type=8, string_data=[b"a", b"b"]),
        "too few strings": TensorProto(name="w", dims=[20], data_type=8, string_data=[b"a", b"b"]),
        "too few floats": TensorProto(name="w", dims=[2, 2, 3, 3], data_type=1, float_data=[1.0]),
        "wrong field": TensorProto(name="w", dims=[2, 2, 3, 3], data_type=1, int64_data=[1] * 36),
        "empty kernel": tensor("w", (0, 2, 3, 3)),
        "wrong channels": array("w", np.ones((2, 3, 3, 3))),
        "scalar": array("w", 1.0),
        "segment": TensorProto(name="w", dims=[4], data_type=1, segment=TensorProto.Segment(begin=0, end=2)),
        "int4": tensor("w", (2**33,), bytes(4), TensorProto.INT4),
        "complex": TensorProto(name="w", dims=[4], data_type=TensorProto.COMPLEX64, float_data=[1.0] * 4),
    }
    for name, initializer in forged.items():
        yield f"initializer {name}", model([CONV], [initializer])
    yield "initializer twice", model([CONV], [WEIGHT, WEIGHT])
    yield "constant forged", model([node("Constant", [], ["w"], value=tensor("", (HUGE, 4))), CONV])
    yield "constant without value", model([node("Constant", [], ["w"]), CONV])
    for name, indices in {"outside": [0, 2**40], "negative": [-1, 3], "short": [1]}.items():
        sparse = onnx.SparseTensorProto(
            values=array("w", [1.0, 2.0]), indices=array("", indices, np.int64), dims=[HUGE]
        )
        forged_sparse = model([CONV])
        forged_sparse.graph.sparse_initializer.append(sparse)
        yield f"sparse {name}", forged_sparse


def external(folder: Path) -> Iterator[tuple[str, Any]]:
    """Yield models whose weights are in another file that must not be read, or cannot be."""
    (folder / "short.bin").write_bytes(bytes(10))
    (folder / "inner").mkdir()
    (folder / "link.bin").symlink_to("/etc/passwd")
    (folder / "loop.bin").symlink_to("loop.bin")
    places = {
        "absolute": {"location": "/etc/passwd"},
        "above": {"location": "../../../../../../etc/passwd"},
        "above within": {"location": "inner/../../secret.bin"},
        "symlink": {"location": "link.bin"},
        "loop": {"location": "loop.bin"},
        "folder": {"location": "inner"},
        "device": {"location": "/dev/zero"},
        "missing": {"location": "nothing.bin"},
        "none": {},
        "zero byte": {"location": "a\0b"},
        "short": {"location": "short.bin"},
        "offset": {"location": "short.bin", "offset": str(2**62)},
        "negative offset": {"location": "short.bin", "offset": "-5"},
        "length": {"location": "short.bin", "length": str(2**62)},
        "no number": {"location": "short.bin", "offset": "abc"},
        "long name": {"location": "a" * 10000},
    }
    for name, entries in places.items():
        weight = TensorProto(name="w", dims=[2, 2, 3, 3], data_type=1, data_location=TensorProto.EXTERNAL)
        for key, text in entries.items():
            weight.external_data.add(key=key, value=text)
        yield f"external {name}", model([CONV], [weight])


def forged_graphs() -> Iterator[tuple[str, Any]]:
    """Yield models whose nodes do not fit together."""
    yield "cycle", model([node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"]), node("Relu", ["a"])])
    yield "cycle of one", model([node("Add", ["x", "y"])])
    yield "missing tensor", model([CONV])
    yield "missing output", model([node("Relu", ["x"], ["z"])])
    yield "made twice", model([node("Relu", ["x"]), node("Tanh", ["x"])])
    yield "input made again", model([node("Relu", ["x"], ["x"])], outputs=["x"])
    yield "too few inputs", model([node("Conv", ["x"])])
    yield "too many inputs", model([node("Relu", ["x", "x", "x"])])
    yield "input left out", model([node("Conv", ["x", ""])])
    yield "attribute of another type", model([node("Conv", ["x", "w"], strides="two")], [WEIGHT])
    twice = node("Conv", ["x", "w"], group=1)
    twice.attribute.append(helper.make_attribute("group", 2))
    yield "attribute twice", model([twice], [WEIGHT])
    unknown = node("Conv", ["x", "w"])
    unknown.attribute.append(AttributeProto(name="strides", type=AttributeProto.UNDEFINED))
    yield "attribute of unknown type", model([unknown], [WEIGHT])
    outer = node("Conv", ["x", "w"])
    outer.attribute.append(AttributeProto(name="group", type=AttributeProto.INT, ref_attr_name="g"))
    yield "attribute of a function", model([outer], [WEIGHT])
    yield "no operator set", _without_opset()
    yield "old operator set", model([node("Relu", ["x"])], opset=6)
    yield "future operator set", model([node("Relu", ["x"])], opset=9999)
    yield "negative operator set", model([node("Relu", ["x"])], opset=-1)
    yield "two inputs", _with_inputs(value("x"), value("z"))
    yield "no input", _with_inputs()
    yield "input twice", _with_inputs(value("x"), value("x"))
    yield "input of strings", _with_inputs(value("x", (1, 4), TensorProto.STRING))
    yield "input without type", _with_inputs(onnx.ValueInfoProto(name="x"))
    yield "huge input", model([node("Relu", ["x"])], shape=(1, HUGE, HUGE))
    yield "open input", model([node("Relu", ["x"])], shape=(1, "height", 3))
    yield "negative input", model([node("Relu", ["x"])], shape=(1, -5, 3))
    yield "constant output", model([node("Relu", ["w"])], [WEIGHT])
    yield "functions in a circle", _circular_functions()


def _without_opset() -> Any:
    made = model([node("Relu", ["x"])])
    del made.opset_import[:]
    return made


def _with_inputs(*inputs: Any) -> Any:
    made = model([node("Relu", ["x" if inputs else "w"])], [] if inputs else [WEIGHT])
    del made.graph.input[:]
    made.graph.input.extend(inputs)
    return made


def _circular_functions() -> Any:
    made = model([helper.make_node("F", ["x"], ["y"], domain="own")])
    made.opset_import.append(helper.make_opsetid("own", 1))
    for name, called in (("F", "G"), ("G", "F")):
        body = [helper.make_node(called, ["a"], ["b"], domain="own")]
        made.functions.append(helper.make_function("own", name, ["a"], ["b"], body, made.opset_import))
    return made


def large_results() -> Iterator[tuple[str, Any]]:
    """Yield models that ask for results that do not fit in memory."""

    def shape(*sizes: int) -> Any:
        return array("s", sizes, np.int64)

    def whole_number(name: str, number: int) -> Any:
        return array(name, number, np.int64)

    one, zero = array("one", [1.0]), whole_number("a", 0)
    column, row = array("a", np.ones((300000, 1))), array("b", np.ones((1, 300000)))
    far = whole_number("s", 2**50)
    wide = {"kernel_shape": [2**30, 1], "pads": [2**30 - 1, 0, 2**30 - 1, 0]}
    range_node = node("Range", ["a", "s", "b"], ["c"])
    constants = {
        "ConstantOfShape": ([node("ConstantOfShape", ["s"], ["c"])], [shape(HUGE, HUGE)]),
        "ConstantOfShape overflow": ([node("ConstantOfShape", ["s"], ["c"])], [shape(2**62, 8)]),
        "ConstantOfShape negative": ([node("ConstantOfShape", ["s"], ["c"])], [shape(-3, -5)]),
        "ConstantOfShape of many axes": ([node("ConstantOfShape", ["s"], ["c"])], [shape(*[4] * 30)]),
        "Expand": ([node("Expand", ["one", "s"], ["c"])], [one, shape(HUGE, 3)]),
        "Tile": ([node("Tile", ["one", "s"], ["c"])], [one, shape(HUGE)]),
        "Range": ([range_node], [zero, far, whole_number("b", 1)]),
        "Range step 0": ([range_node], [zero, far, whole_number("b", 0)]),
        "Pad": ([node("Pad", ["one", "s"], ["c"])], [one, shape(HUGE, HUGE)]),
        "OneHot": ([node("OneHot", ["a", "s", "v"], ["c"])], [zero, far, array("v", [0.0, 1.0])]),
        "EyeLike": ([node("ConstantOfShape", ["s"], ["e"]), node("EyeLike", ["e"], ["c"])], [shape(2**25, 2**25)]),
        "Resize": ([node("Resize", ["w", "", "", "s"], ["c"])], [WEIGHT, shape(2, 2, 2**30, 2**30)]),
        "MatMul": ([node("MatMul", ["a", "b"], ["c"])], [column, row]),
        "Add": ([node("Add", ["a", "b"], ["c"])], [column, row]),
        "Conv": ([node("Conv", ["w", "w"], ["c"], pads=[2**20] * 4)], [WEIGHT]),
        "Conv wide": ([node("Conv", ["w", "w"], ["c"], pads=[2**30] * 4, strides=[2**30] * 2)], [WEIGHT]),
        "MaxPool": ([node("MaxPool", ["w"], ["c"], **wide)], [WEIGHT]),
        "RandomNormal": ([node("RandomNormal", [], ["c"], shape=[HUGE, HUGE])], []),
        "BlackmanWindow": ([node("BlackmanWindow", ["s"], ["c"])], [far]),
        "CenterCropPad": ([node("CenterCropPad", ["one", "s"], ["c"])], [one, shape(HUGE)]),
        "Col2Im": ([node("Col2Im", ["a", "s", "s"], ["c"])], [array("a", np.ones((1, 4, 1))), shape(2**25, 2**25)]),
        "Loop": ([_endless_loop()], [far, array("t", True, np.bool_), one]),
    }  # fmt: skip
    for name, (nodes, arrays) in constants.items():
        yield f"constant {name}", model([*nodes, node("Add", ["x", "c"])], arrays, opset=18)
    doubling, last = [], "one"
    for number in range(60):
        doubling.append(helper.make_node("Concat", [last, last], [f"d{number}"], axis=0))
        last = f"d{number}"
    yield "constant doubled again and again", model([*doubling, node("Add", ["x", last])], [one])
    bounds = [array(name, [number], np.int64) for name, number in {"a": 0, "b": 5, "c": 2, "d": 0}.items()]
    tensors = {
        "Expand": (node("Expand", ["x", "s"]), [shape(HUGE, 1, 1, 1, 1)]),
        "Tile": (node("Tile", ["x", "s"]), [shape(1, 1, HUGE, HUGE)]),
        "Pad": (node("Pad", ["x", "s"]), [shape(0, 0, HUGE, HUGE, 0, 0, HUGE, HUGE)]),
        "Pad crop": (node("Pad", ["x", "s"]), [shape(0, 0, -HUGE, 0, 0, 0, HUGE, 0)]),
        "Conv": (node("Conv", ["x", "w"], pads=[HUGE] * 4), [WEIGHT]),
        "Conv dilation": (node("Conv", ["x", "w"], pads=[HUGE] * 4, dilations=[HUGE, HUGE]), [WEIGHT]),
        "Conv stride 0": (node("Conv", ["x", "w"], strides=[0, 0]), [WEIGHT]),
        "Conv negative stride": (node("Conv", ["x", "w"], strides=[-1, -1]), [WEIGHT]),
        "Conv group": (node("Conv", ["x", "w"], group=HUGE), [WEIGHT]),
        "Conv group 0": (node("Conv", ["x", "w"], group=0), [WEIGHT]),
        "ConvTranspose": (node("ConvTranspose", ["x", "w"], output_padding=[HUGE, 0], strides=[2**41, 1]), [WEIGHT]),
        "ConvTranspose stride": (node("ConvTranspose", ["x", "w"], strides=[HUGE, HUGE]), [WEIGHT]),
        "ConvTranspose shape": (node("ConvTranspose", ["x", "w"], output_shape=[HUGE, HUGE]), [WEIGHT]),
        "MaxPool": (node("MaxPool", ["x"], kernel_shape=[HUGE, 1], pads=[HUGE - 1, 0, HUGE - 1, 0]), []),
        "AveragePool": (node("AveragePool", ["x"], kernel_shape=[1, 1], pads=[HUGE] * 4, strides=[HUGE] * 2), []),
        "AveragePool stride 0": (node("AveragePool", ["x"], kernel_shape=[1, 1], strides=[0, 0]), []),
        "LpPool": (node("LpPool", ["x"], kernel_shape=[1, 1], p=0), []),
        "Resize": (node("Resize", ["x", "", "s"]), [array("s", [1, 1, 1e15, 1e15])]),
        "Resize infinite": (node("Resize", ["x", "", "s"]), [array("s", [1, 1, np.inf, np.nan])]),
        "Resize sizes": (node("Resize", ["x", "", "", "s"]), [shape(1, 2, HUGE, HUGE)]),
        "Reshape": (node("Reshape", ["x", "s"]), [shape(HUGE, -1)]),
        "Reshape twice -1": (node("Reshape", ["x", "s"]), [shape(-1, -1)]),
        "Unsqueeze": (node("Unsqueeze", ["x", "s"]), [shape(*range(100))]),
        "LRN": (node("LRN", ["x"], size=HUGE), []),
        "Gather": (node("Gather", ["x", "s"]), [shape(HUGE)]),
        "Split": (node("Split", ["x", "s"], ["y", "z"], axis=2), [shape(HUGE, -HUGE)]),
        "Transpose": (node("Transpose", ["x"], perm=[0, 1, 1, 9]), []),
        "DepthToSpace": (node("DepthToSpace", ["x"], blocksize=0), []),
        "Slice step 0": (node("Slice", ["x", "a", "b", "c", "d"]), bounds),
    }  # fmt: skip
    for name, (made, arrays) in tensors.items():
        yield f"tensor {name}", model([made], arrays)


def _endless_loop() -> Any:
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Add", ["v", "v"], ["u"])],
        "body",
        [value("i", (), TensorProto.INT64), value("go", (), TensorProto.BOOL), value("v", (1,))],
        [value("on", (), TensorProto.BOOL), value("u", (1,))],
    )
    return node("Loop", ["s", "t", "one"], ["c"], body=body)


def nested_branches() -> Iterator[tuple[str, Any]]:
    """Yield models of If in If."""
    condition = array("t", True, np.bool_)

    def branch(depth: int) -> Any:
        inner = node("Relu", ["x"], [f"r{depth}"]) if not depth else _if(f"r{depth}", branch(depth - 1), branch(0))
        return helper.make_graph([inner], "branch", [], [value(f"r{depth}", None)])

    def _if(name: str, yes: Any, no: Any) -> Any:
        return node("If", ["t"], [name], then_branch=yes, else_branch=no)

    yield "If too deep", model([_if("y", branch(25), branch(0))], [condition])
    yield "If without branch", model([node("If", ["t"], then_branch=branch(0))], [condition])
    yield "If of two conditions", model([_if("y", branch(0), branch(0))], [array("t", [True, False], np.bool_)])
    empty = helper.make_graph([], "empty", [], [])
    yield "If of an empty branch", model([_if("y", empty, empty)], [condition])
    lost = helper.make_graph([], "lost", [], [value("nothing", None)])
    yield "If of a lost output", model([_if("y", lost, lost)], [condition])


HARMLESS: Final = ("noise 5", "name that is no text")
"""Damage that leaves a model that can be read."""


def write(folder: Path) -> list[str]:
    """Write all files into a folder; return their names."""
    (folder.parent / "secret.bin").write_bytes(bytes(144))
    named: list[tuple[str, Any]] = [*damaged()]
    for models in (forged_tensors(), external(folder), forged_graphs(), large_results(), nested_branches()):
        named += [(name, made.SerializeToString()) for name, made in models]
    for name, data in named:
        (folder / f"{name}.onnx").write_bytes(data)
    return [name for name, _ in named]


def read_all(folder: Path) -> dict[str, dict[str, Any]]:
    """Read every file of a folder in another process; return what became of each."""
    command = [sys.executable, "-c", _DRIVER, str(folder), str(ADDRESS_SPACE), str(SECONDS_PER_FILE)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    results: dict[str, dict[str, Any]] = {}
    begun = ""
    for line in done.stdout.splitlines():
        entry = json.loads(line)
        begun = entry.get("begins", begun)
        if "file" in entry:
            results[entry["file"]] = entry
    if done.returncode:
        results[begun] = {"error": f"the process ended with status {done.returncode}", "message": done.stderr[-500:]}
    return results
