"""Random ONNX graphs: operators with random options, in any operator set, one after the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
from onnx import helper, numpy_helper

if TYPE_CHECKING:
    from numpy.typing import NDArray

OPSETS: Final = (7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22)
Shape = tuple[int, ...]


@dataclass
class Draft:
    """A graph under construction: its nodes, its arrays, and the tensor that comes next."""

    rng: np.random.Generator
    opset: int
    shape: Shape
    tensor: str = "x"
    nodes: list[Any] = field(default_factory=list)
    arrays: list[Any] = field(default_factory=list)

    def pick(self, *choices: Any) -> Any:
        return choices[self.rng.integers(len(choices))]

    def integer(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def array(self, values: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self.arrays)}"
        self.arrays.append(numpy_helper.from_array(np.asarray(values, dtype=dtype), name))
        return name

    def normal(self, *shape: int) -> str:
        return self.array(self.rng.standard_normal(shape))

    def node(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> list[str]:
        names = [f"t{len(self.nodes)}_{k}" for k in range(outputs)]
        given = {name: value for name, value in attributes.items() if value is not None}
        self.nodes.append(helper.make_node(operator, [self.tensor, *inputs], names, f"n{len(self.nodes)}", **given))
        self.tensor = names[-1]
        return names

    def model(self, input_shape: Shape) -> Any:
        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes,
            "random",
            [value("x", onnx.TensorProto.FLOAT, ["n", *input_shape[1:]])],
            [value(self.tensor, onnx.TensorProto.FLOAT, None)],
            self.arrays,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)


def _windows(draft: Draft, *, dilations: bool = True) -> dict[str, Any]:
    """Return random attributes of windows on the spatial axes."""
    n = len(draft.shape) - 2
    kernel = [draft.integer(1, min(3, size)) for size in draft.shape[2:]]
    attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": [draft.integer(1, 3) for _ in range(n)]}
    if dilations and draft.rng.random() < 0.4:
        attributes["dilations"] = [draft.integer(1, 2) for _ in range(n)]
    word = draft.pick("NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")
    if word == "NOTSET":
        attributes["pads"] = [draft.integer(0, k - 1) for k in (*kernel, *kernel)]
    else:
        attributes["auto_pad"] = word
        attributes.pop("dilations", None)  # onnxruntime refuses both for transposed convolutions
    return attributes


def _lower_strides(draft: Draft, attributes: dict[str, Any]) -> None:
    """Lower, mostly, strides beyond the kernel that automatic padding does not know, which are refused."""
    if attributes.get("auto_pad", "").startswith("SAME") and draft.rng.random() < 0.8:
        taps, extra = attributes["kernel_shape"], attributes.get("output_padding", [0] * len(draft.shape[2:]))
        attributes["strides"] = [min(s, k + e) for s, k, e in zip(attributes["strides"], taps, extra, strict=True)]


def _convolution(draft: Draft) -> None:
    channels, groups = draft.shape[1], draft.pick(*[g for g in range(1, draft.shape[1] + 1) if draft.shape[1] % g == 0])
    attributes = _windows(draft)
    out = groups * draft.integer(1, 2)
    weight = draft.normal(out, channels // groups, *attributes["kernel_shape"])
    draft.node("Conv", weight, *([draft.normal(out)] if draft.pick(True, False) else []), group=groups, **attributes)


def _transposed(draft: Draft) -> None:
    channels, groups = draft.shape[1], draft.pick(*[g for g in range(1, draft.shape[1] + 1) if draft.shape[1] % g == 0])
    attributes = _windows(draft)
    out = draft.integer(1, 2)
    if draft.pick(True, False):
        attributes["output_padding"] = [draft.integer(0, s - 1) for s in attributes["strides"]]
    elif draft.pick(True, False) and "pads" in attributes:
        del attributes["pads"]
        gaps = attributes.get("dilations", [1] * len(attributes["strides"]))
        full = [
            (n - 1) * s + d * (k - 1) + 1
            for n, s, d, k in zip(draft.shape[2:], attributes["strides"], gaps, attributes["kernel_shape"], strict=True)
        ]
        attributes["output_shape"] = [
            max(1, f - draft.integer(0, k)) for f, k in zip(full, attributes["kernel_shape"], strict=True)
        ]
    _lower_strides(draft, attributes)
    weight = draft.normal(channels, out, *attributes["kernel_shape"])
    draft.node(
        "ConvTranspose",
        weight,
        *([draft.normal(out * groups)] if draft.pick(True, False) else []),
        group=groups,
        **attributes,
    )


def _pool(draft: Draft) -> None:
    operator = draft.pick("AveragePool", "MaxPool", "LpPool")
    dilated = draft.opset >= {"MaxPool": 10, "AveragePool": 19}.get(operator, 99)
    attributes = _windows(draft, dilations=dilated)
    _lower_strides(draft, attributes)
    if (operator != "LpPool" and draft.opset >= 10) and attributes.get("auto_pad", "NOTSET") == "NOTSET":
        attributes["ceil_mode"] = draft.integer(0, 1)
    if operator == "AveragePool":
        attributes["count_include_pad"] = draft.integer(0, 1)
    if operator == "LpPool":
        attributes["p"] = draft.integer(1, 3)
    draft.node(operator, **attributes)


def _global(draft: Draft) -> None:
    draft.node(draft.pick("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"))


def _resize(draft: Draft) -> None:
    rank = len(draft.shape)
    mode = draft.pick("nearest", "linear", *(["cubic"] if draft.opset >= 11 and rank == 4 else []))
    if draft.opset < 10:
        scales = [1.0, 1.0, *(draft.pick(1.0, 1.5, 2.0, 3.0) for _ in range(rank - 2))]
        if draft.opset < 9:
            draft.node("Upsample", mode=mode, scales=scales)
        else:
            draft.node("Upsample", draft.array(scales), mode=mode)
        return
    choices = (0.5, 0.75, 1.0, 1.25, 2.0, 3.0)
    if draft.opset == 10:
        enlarge = draft.pick(True, False)
        choices = (1.0, 1.5, 2.0) if enlarge else (0.5, 1.0)
    scales = [1.0, 1.0, *(draft.pick(*choices) for _ in range(rank - 2))]
    if draft.opset == 10:
        draft.node("Resize", draft.array(scales), mode=mode)
        return
    words = ["half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners", "tf_crop_and_resize"]
    words += ["half_pixel_symmetric"] if draft.opset >= 19 else []
    attributes = {"mode": mode, "coordinate_transformation_mode": draft.pick(*words)}
    if mode == "nearest":
        attributes["nearest_mode"] = draft.pick("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    if mode == "cubic":
        attributes |= {"cubic_coeff_a": draft.pick(None, -0.5), "exclude_outside": draft.pick(0, 1)}
    if mode != "nearest" and draft.opset >= 18:
        attributes["antialias"] = draft.pick(0, 1)
    roi = "" if draft.opset >= 13 else draft.array([])
    if attributes["coordinate_transformation_mode"] == "tf_crop_and_resize":
        ends = [draft.pick((0.0, 1.0), (0.2, 0.7), (-0.3, 0.9), (0.4, 1.3), (0.8, 0.1)) for _ in range(rank - 2)]
        roi = draft.array([0.0, 0.0, *(low for low, _ in ends), 1.0, 1.0, *(high for _, high in ends)])
        attributes["extrapolation_value"] = draft.pick(0.0, 2.5)
    if draft.pick(True, False):
        draft.node("Resize", roi, draft.array(scales), **attributes)
    else:
        sizes = [*draft.shape[:2], *(draft.integer(1, 2 * n) for n in draft.shape[2:])]
        sizes = [1, *sizes[1:]]
        empty = "" if draft.opset >= 13 else draft.array([])
        draft.node("Resize", roi, empty, draft.array(sizes, np.int64), **attributes)


def _pad(draft: Draft) -> None:
    rank = len(draft.shape)
    mode = draft.pick("constant", "reflect", "edge", *(["wrap"] if draft.opset >= 19 else []))
    largest = [2 if mode in ("constant", "edge") else min(2, n - 1) for n in draft.shape[1:]]
    low, high = ([0, *(draft.integer(0, n) for n in largest)] for _ in range(2))
    if mode == "constant" and draft.pick(True, False):
        low[-1] = -draft.integer(0, min(1, draft.shape[-1] - 1))
    if draft.opset < 11:
        draft.node("Pad", mode=mode, pads=[*low, *high], value=1.5 if mode == "constant" else None)
        return
    inputs = [draft.array([*low, *high], np.int64)]
    if mode == "constant":
        inputs.append(draft.array(-0.5))
    if draft.opset >= 18 and draft.pick(True, False):
        inputs = [draft.array([*low[2:], *high[2:]], np.int64), inputs[1] if len(inputs) > 1 else ""]
        inputs.append(
            draft.array(list(range(2, rank)) if draft.pick(True, False) else list(range(2 - rank, 0)), np.int64)
        )
    draft.node("Pad", *inputs, mode=mode)


def _normalise(draft: Draft) -> None:
    channels = draft.shape[1]
    operator = draft.pick(
        "BatchNormalization", "LRN", "InstanceNormalization", "LayerNormalization", "GroupNormalization"
    )
    scale, shift = draft.normal(channels), draft.normal(channels)
    if operator == "BatchNormalization":
        variance = draft.array(draft.rng.random(channels) + 0.1)
        draft.node(operator, scale, shift, draft.normal(channels), variance, epsilon=draft.pick(1e-5, 1e-3))
    elif operator == "LRN":
        draft.node(operator, size=draft.pick(1, 3, 5), alpha=0.5, beta=0.6, bias=1.5)
    elif operator == "LayerNormalization" and draft.opset >= 17:
        axis = draft.pick(-1, 1, 2)
        shape = draft.shape[axis:]
        draft.node(
            operator, draft.normal(*shape), *([draft.normal(*shape)] if draft.pick(True, False) else []), axis=axis
        )
    elif operator == "GroupNormalization" and draft.opset >= 21:
        groups = draft.pick(*[g for g in range(1, channels + 1) if channels % g == 0])
        draft.node(operator, scale, shift, num_groups=groups)
    else:
        draft.node("InstanceNormalization", scale, shift, epsilon=1e-3)


def _reduce(draft: Draft) -> None:
    names = ("Mean", "Sum", "Max", "Min", "L1", "L2", "SumSquare", "LogSumExp")
    operator, rank = "Reduce" + draft.pick(*names), len(draft.shape)
    axes = sorted({draft.integer(1, rank - 1) for _ in range(2)})
    axes = [axis - rank for axis in axes] if draft.opset >= 11 and draft.pick(True, False) else axes
    inputs = draft.opset >= (13 if operator == "ReduceSum" else 18)
    keep = {"keepdims": draft.pick(0, 1, None)}
    if inputs:
        draft.node(operator, draft.array(axes, np.int64), **keep)
    else:
        draft.node(operator, axes=axes, **keep)


def _softmax(draft: Draft) -> None:
    axis = draft.integer(1, len(draft.shape) - 1)
    draft.node(draft.pick("Softmax", "LogSoftmax"), axis=draft.pick(None, axis))


def _slice(draft: Draft) -> None:
    axes = sorted({draft.integer(1, len(draft.shape) - 1) for _ in range(2)})
    starts, ends = [draft.integer(0, draft.shape[axis] - 1) for axis in axes], []
    for axis, start in zip(axes, starts, strict=True):
        ends.append(draft.pick(draft.integer(start + 1, draft.shape[axis]), 2**31 - 1))
    if draft.opset < 10:
        draft.node("Slice", axes=axes, starts=starts, ends=ends)
        return
    steps = [draft.pick(1, 2, 3) for _ in axes]
    if draft.pick(True, False):
        steps[0], starts[0], ends[0] = -draft.integer(1, 2), draft.pick(-1, 2**31 - 1), -(2**31)
    draft.node("Slice", *(draft.array(values, np.int64) for values in (starts, ends, axes, steps)))


def _rearrange(draft: Draft) -> None:
    rank, kind = len(draft.shape), draft.integer(0, 5)
    if kind == 0:
        draft.node("Transpose", perm=[0, *(int(axis) for axis in 1 + draft.rng.permutation(rank - 1))])
    elif kind == 1:
        draft.node("Reshape", draft.array([0, -1, draft.shape[-1]], np.int64))
    elif kind == 2:
        draft.node("Flatten", axis=draft.pick(None, 1))
    elif kind == 3:
        axis = draft.integer(1, rank - 1)
        parts = [draft.node("Relu")[0], *(draft.node("Sigmoid"))]
        draft.tensor = parts[0]
        draft.node("Concat", parts[1], axis=axis)
    elif kind == 4 and draft.opset >= 13:
        draft.node("Tile", draft.array([1, *(draft.integer(1, 2) for _ in range(rank - 1))], np.int64))
    else:
        axis = draft.integer(1, rank - 1)
        indices = [draft.integer(0, draft.shape[axis] - 1) for _ in range(3)]
        draft.node("Gather", draft.array(draft.pick(indices, indices[0]), np.int64), axis=axis)


def _blocks(draft: Draft) -> None:
    if len(draft.shape) != 4:
        return _function(draft)
    if draft.shape[1] % 4 == 0:
        mode = draft.pick("DCR", "CRD") if draft.opset >= 11 else None
        draft.node("DepthToSpace", blocksize=2, mode=mode)
    elif all(n % 2 == 0 for n in draft.shape[2:]):
        draft.node("SpaceToDepth", blocksize=2)
    return None


def _function(draft: Draft) -> None:
    operator = draft.pick(*FUNCTIONS)
    attributes = dict(FUNCTIONS[operator])
    least = attributes.pop("opset", 7)
    if draft.opset >= least:
        draft.node(operator, **attributes)


FUNCTIONS: Final[dict[str, dict[str, Any]]] = {
    "Abs": {}, "Asinh": {"opset": 9}, "Atan": {}, "Ceil": {}, "Celu": {"opset": 12, "alpha": 1.3}, "Cos": {},
    "Elu": {"alpha": 0.7}, "Erf": {"opset": 9}, "Exp": {}, "Floor": {}, "Gelu": {"opset": 20, "approximate": "tanh"},
    "HardSigmoid": {"alpha": 0.3, "beta": 0.4}, "HardSwish": {"opset": 14}, "LeakyRelu": {"alpha": 0.2},
    "Mish": {"opset": 18}, "Neg": {}, "Relu": {}, "Selu": {}, "Shrink": {"opset": 9, "lambd": 0.3, "bias": 0.3},
    "Sigmoid": {}, "Sign": {"opset": 9}, "Sin": {}, "Softplus": {}, "Softsign": {}, "Tan": {}, "Tanh": {},
    "ThresholdedRelu": {"opset": 10, "alpha": 0.4},
}  # fmt: skip


def _clip(draft: Draft) -> None:
    if draft.opset < 11:
        draft.node("Clip", min=draft.pick(None, -0.5), max=draft.pick(None, 0.8))
    else:
        draft.node("Clip", draft.pick("", draft.array(-0.5)), draft.pick("", draft.array(0.8)))


def _arithmetic(draft: Draft) -> None:
    shape = [draft.pick(1, n) for n in draft.shape[1:]]
    operator = draft.pick("Add", "Sub", "Mul", "Div", "PRelu", "Pow", "Max", "Min")
    if operator in ("Max", "Min"):
        draft.node(operator, draft.array(0.2))
    elif operator == "Pow":
        draft.node("Abs")
        draft.node("Pow", draft.array(draft.pick(2.0, 0.5, 1.5, 3.0)))
    else:
        draft.node(operator, draft.array(draft.rng.random(shape) + 0.5))


def _residual(draft: Draft) -> None:
    left = draft.tensor
    draft.node("Tanh")
    operators = ("Add", "Sub", "Mul", *(("Max", "Min", "Sum", "Mean")))
    draft.node(draft.pick(*operators), left)


def _gemm(draft: Draft) -> None:
    draft.node("Flatten")
    n, m = math.prod(draft.shape[1:]), draft.integer(1, 4)
    trans = draft.integer(0, 1)
    weight = draft.normal(*((m, n) if trans else (n, m)))
    bias = draft.pick((m,), (1, m), (1,), ()) if draft.opset >= 11 else draft.pick((m,), (1, m))
    inputs = [draft.normal(*bias)] if draft.opset < 11 or draft.pick(True, False) else []
    draft.node("Gemm", weight, *inputs, transB=trans, alpha=draft.pick(None, 0.5), beta=draft.pick(None, 2.0))


def _product(draft: Draft) -> None:
    draft.node("MatMul", draft.normal(draft.shape[-1], 3))


STEPS: Final[tuple[Callable[[Draft], None], ...]] = (
    _convolution, _convolution, _transposed, _pool, _pool, _global, _resize, _resize, _pad, _pad, _normalise, _reduce,
    _softmax, _slice, _rearrange, _blocks, _function, _clip, _arithmetic, _residual, _gemm, _product,
)  # fmt: skip


def random_model(
    rng: np.random.Generator, steps: Sequence[Callable[[Draft], None]] = STEPS
) -> tuple[Any, NDArray[Any]]:
    """Return a model of one to four steps, and an input."""
    spatial = [int(rng.integers(3, 8)) for _ in range(rng.integers(1, 4))]
    shape = (1, int(rng.choice([1, 2, 4])), *spatial)
    draft = Draft(rng, int(rng.choice(OPSETS)), shape)
    for _ in range(rng.integers(1, 4)):
        if len(draft.shape) < 3 or max(draft.shape) > 40:
            break
        before = (list(draft.nodes), draft.tensor, draft.shape)
        steps[rng.integers(len(steps))](draft)
        inferred = onnx.shape_inference.infer_shapes(draft.model(shape), data_prop=True)
        sizes = tuple(d.dim_value for d in inferred.graph.output[0].type.tensor_type.shape.dim)
        draft.shape = (1, *sizes[1:])
        if len(sizes) < 2 or min(draft.shape) < 1:  # an empty result, for which onnxruntime may end the process
            draft.nodes, draft.tensor, draft.shape = before
    if not draft.nodes:
        draft.node("Relu")
    return draft.model(shape), rng.standard_normal(shape).astype(np.float32)
