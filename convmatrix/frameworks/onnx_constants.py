"""ONNX nodes whose inputs are all constant, computed by onnx's reference once the size of the result is known.

The reference is written in Python with NumPy, and may be given a file that is not trusted, except for the sizes of its
results. (The shape inference of onnx, in C++, ends the process for some attributes, so it is not asked.)
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix import memory
from convmatrix.frameworks.builder import Tensor, UnsupportedError
from convmatrix.frameworks.onnx_files import onnx_package, sparse_array, tensor_array

if TYPE_CHECKING:
    from pathlib import Path

    from convmatrix.arrays import Array
    from convmatrix.frameworks.onnx_graphs import OnnxNode

Value = Tensor | Any
"""The value of a name in an ONNX graph: a tensor that depends on the input, a constant array, or None."""

FLOATING: Final = (1, 10, 11, 16)
"""Element types in which networks compute: float32, float16, float64, bfloat16."""

_MOST_WINDOWS: Final = 2**28  # the reference computes windows one by one
_REMEDY: Final = "simplify the model, or read it on a larger machine"


def fold(node: OnnxNode, arrays: Sequence[Any], versions: Mapping[str, int]) -> list[Array]:
    """Return the outputs of a node whose inputs are constant.

    ``versions`` are those of the operator sets. UnsupportedError if the operator is not one of those that exporters
    leave to compute shapes and weights; ValueError if the inputs do not fit it, or the result would not fit in memory.
    """
    if node.schema is None or node.domain or node.operator not in _SIZES:
        raise UnsupportedError("its inputs are constants, but it is not computed")
    onnx = onnx_package()
    helper = onnx.helper
    feeds = {name: array for name, array in zip(node.inputs, arrays, strict=True) if array is not None}
    try:
        n = _SIZES[node.operator](node, [array for array in arrays if array is not None])
    except (ValueError, IndexError, TypeError, ZeroDivisionError, OverflowError) as error:
        raise ValueError(f"{node.described} cannot be computed from its constants: {error}") from None
    memory.require(8 * n, f"the constant of {node.described}, which has {n} entries,", _REMEDY)
    inputs = [
        helper.make_value_info(name, helper.make_tensor_type_proto(element_type(array), array.shape))
        for name, array in feeds.items()
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in node.outputs if name]
    graph = helper.make_graph([node.proto], "constant", inputs, outputs)
    # The reference has no DequantizeLinear of operator sets before 19, which the later one computes as well.
    first = 19 if node.operator == "DequantizeLinear" else 0
    imports = [helper.make_opsetid(d, max(v, first) if d in ("", "ai.onnx") else v) for d, v in versions.items()]
    model = helper.make_model(graph, opset_imports=imports)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            results = onnx.reference.ReferenceEvaluator(model).run(None, feeds)
    except MemoryError:
        raise memory.MatrixTooLargeError(
            f"the constant of {node.described} does not fit in memory; {_REMEDY}"
        ) from None
    except NotImplementedError as error:
        raise UnsupportedError(str(error)) from None
    except Exception as error:
        message = " ".join(str(error).split())[:200]
        raise ValueError(f"{node.described} cannot be computed from its constants: {message}") from None
    if not all(isinstance(result, np.ndarray | np.generic) for result in results):
        raise UnsupportedError("its result is not a tensor")
    by_name = dict(zip([name for name in node.outputs if name], results, strict=True))
    return [np.asarray(by_name[name]) if name else np.zeros(0) for name in node.outputs]


# --- sizes of results -------------------------------------------------------------------------------------------------

Size = Callable[["OnnxNode", list[Any]], int]
"""Returns a bound on the entries that the reference holds to compute a node, from the inputs that it is given."""


def _broadcast(node: OnnxNode, arrays: list[Any]) -> int:
    """Return the entries of the arrays broadcast together: functions of entries, selections, rearrangements."""
    sizes = zip_longest(*(reversed(array.shape) for array in arrays), fillvalue=1)
    return max([math.prod(int(max(axis)) for axis in sizes), *(int(array.size) for array in arrays)])


def _all_axes(node: OnnxNode, arrays: list[Any]) -> int:
    """Return the entries of all arrays, times the number of axes: the joined arrays, or an index of each entry."""
    return sum(int(array.size) * max(array.ndim, 1) for array in arrays)


def _integers(array: Any) -> list[int]:
    """Return the entries of an array of integers: sizes, repeats."""
    if array.dtype.kind not in "iu":
        raise ValueError(f"sizes of type {array.dtype}")
    return [int(n) for n in array.ravel()]


def _of_shape(node: OnnxNode, arrays: list[Any]) -> int:
    sizes = _integers(arrays[0])
    if min(sizes, default=0) < 0:
        raise ValueError(f"the shape {tuple(sizes)} has a negative size")
    return math.prod(sizes)


def _expanded(node: OnnxNode, arrays: list[Any]) -> int:
    sizes = zip_longest(reversed(arrays[0].shape), reversed(_integers(arrays[1])), fillvalue=1)
    return math.prod(max(pair) for pair in sizes)


def _tiled(node: OnnxNode, arrays: list[Any]) -> int:
    return int(arrays[0].size) * math.prod(max(n, 0) for n in _integers(arrays[1]))


def _range(node: OnnxNode, arrays: list[Any]) -> int:
    start, stop, step = (array.item() for array in arrays)
    count: int = math.ceil((stop - start) / step)
    return max(count, 0)


def _padded(node: OnnxNode, arrays: list[Any]) -> int:
    pads = [int(n) for n in node.attributes.get("pads", ())] or _integers(arrays[1])
    both = sum(abs(n) for n in pads)
    return math.prod(size + both for size in arrays[0].shape)


def _one_hot(node: OnnxNode, arrays: list[Any]) -> int:
    return int(arrays[0].size) * max(int(arrays[1].item()), 0)


def _resized(node: OnnxNode, arrays: list[Any]) -> int:
    """Return the size of the last input, or the input times the scales."""
    last = arrays[-1] if len(arrays) > 1 else np.array(node.attributes.get("scales", ()))
    if last.dtype.kind in "iu":
        return _expanded(node, [arrays[0], last])
    return math.ceil(int(arrays[0].size) * math.prod(max(float(scale), 1.0) for scale in last.ravel()))


def _multiplied(node: OnnxNode, arrays: list[Any]) -> int:
    left, right = arrays[:2]
    largest = max(int(n) for n in (1, *left.shape, *right.shape))
    return max(int(left.size), int(right.size)) * largest


def _gathered(node: OnnxNode, arrays: list[Any]) -> int:
    data, indices = arrays[:2]
    return int(data.size) // max(min(data.shape, default=1), 1) * int(indices.size) + int(data.size)


def _windowed(node: OnnxNode, arrays: list[Any]) -> int:
    """Return the entries of all windows and of the padded input."""
    x, weights = arrays[0], arrays[1].shape if len(arrays) > 1 else ()
    n = x.ndim - 2
    kernel = node.attributes.get("kernel_shape") or weights[2:] or [1] * n
    gaps, steps = (node.attributes.get(name) or [1] * n for name in ("dilations", "strides"))
    spans = [(abs(int(k)) - 1) * abs(int(gap)) + 1 for k, gap in zip(kernel, gaps, strict=True)]
    extra = [*(node.attributes.get("pads") or ()), *(node.attributes.get("output_padding") or ())]
    both = sum(abs(int(k)) for k in [*extra, *(node.attributes.get("output_shape") or ())])
    padded = math.prod(size + span + both for size, span in zip(x.shape[2:], spans, strict=True))
    if node.operator == "ConvTranspose":
        padded *= math.prod(abs(int(step)) for step in steps)
    n_entries = int(padded * math.prod(spans) * x.shape[0] * max(x.shape[1], *weights[:2], 1))
    if n_entries > _MOST_WINDOWS and math.prod(x.shape) < _MOST_WINDOWS:
        memory.require(8 * n_entries, f"the windows of {node.described}", _REMEDY)
        raise UnsupportedError("its inputs are constants, of more windows than are computed")
    return n_entries


_SIZES: Final[dict[str, Size]] = {
    **dict.fromkeys(
        (
            "Abs", "Acos", "Add", "And", "ArgMax", "ArgMin", "Asin", "Atan", "BatchNormalization", "Cast", "CastLike",
            "Ceil", "Clip", "Cos", "CumSum", "DequantizeLinear", "Div", "Elu", "Equal", "Erf", "Exp", "EyeLike",
            "Flatten", "Floor", "GatherElements", "GlobalAveragePool", "GlobalMaxPool", "Greater", "GreaterOrEqual",
            "HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max",
            "Mean", "Min", "Mod", "Mul", "Neg", "Not", "Or", "PRelu", "Pow", "QuantizeLinear", "Reciprocal", "ReduceL1",
            "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Relu",
            "Reshape", "Round", "ScatterElements", "ScatterND", "Shape", "Sigmoid", "Sign", "Sin", "Size", "Slice",
            "Softmax", "Softplus", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tan", "Tanh", "TopK", "Transpose",
            "Trilu", "Unsqueeze", "Where", "Xor",
        ),
        _broadcast,
    ),
    **dict.fromkeys(("AveragePool", "Conv", "ConvTranspose", "MaxPool"), _windowed),
    **dict.fromkeys(("Concat", "NonZero"), _all_axes),
    **dict.fromkeys(("Gemm", "MatMul"), _multiplied),
    **dict.fromkeys(("Gather", "GatherND"), _gathered),
    **dict.fromkeys(("Resize", "Upsample"), _resized),
    "ConstantOfShape": _of_shape,
    "Expand": _expanded,
    "OneHot": _one_hot,
    "Pad": _padded,
    "Range": _range,
    "Tile": _tiled,
}  # fmt: skip


def element_type(array: Array) -> int:
    """Return ONNX's number for the type of an array's entries."""
    if array.dtype.kind in "OUS":
        return 8
    return int(onnx_package().helper.np_dtype_to_tensor_dtype(array.dtype))


def constant_value(node: OnnxNode, folder: Path | None) -> Array:
    """Return the value of a Constant node."""
    given = [name for name in node.given if name.startswith(("value", "sparse_value"))]
    if len(given) != 1:
        raise ValueError(f"{node.described} needs one value, but has {len(given)}; export the model again")
    (name,), value = given, node.attributes[given[0]]
    if name == "value":
        return tensor_array(value, folder, f"the value of {node.described}")
    if name == "sparse_value":
        return sparse_array(value, folder, f"the value of {node.described}")
    kind = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    return np.asarray(value, dtype=kind.get(name, object))
