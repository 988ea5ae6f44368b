"""ONNX: models of Conv and ConvTranspose, with a Pad in front for other boundaries, on onnxruntime or onnx itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from convmatrix.boundary import BOUNDARIES
from convmatrix.conformance.offers import library_offers
from convmatrix.conformance.targets import TargetCall, TargetLibrary, call_text, load_package, unless

if TYPE_CHECKING:
    from convmatrix.boundary import Boundary
    from convmatrix.conformance.layer_cases import LayerCase
    from convmatrix.conformance.offers import Offers

OPSET: Final = 22
IR_VERSION: Final = 10

_MODES: Final[dict[Boundary, str]] = {
    "zero": "constant",
    "reflect": "reflect",
    "replicate": "edge",
    "circular": "wrap",
}
_WORDS: Final = {"valid": "VALID", "same": "SAME_UPPER", "same_lower": "SAME_LOWER"}
MODEL_IMPORTS: Final = "import numpy as np\nimport onnx\nfrom onnx import helper\n"
_RUN_REFERENCE: Final = 'ReferenceEvaluator(model).run(None, {"x": x, "w": w, **({} if b is None else {"b": b})})'


def onnx_offers(
    dtypes: tuple[str, ...] = ("float32", "float64"), settings: Any = None, axes: tuple[int, ...] = (2, 1, 2, 3)
) -> dict[str, Offers]:
    """Return the offers of the operators, by the name of a call."""
    offers = partial(library_offers, axes=axes, dtypes=dtypes, settings=settings or {}, accepts=is_specified)
    return {
        "Conv": offers(("pairs", "same", "same_lower", "valid")),
        "Pad + Conv": offers(("pairs",), tuple(boundary for boundary in BOUNDARIES if boundary in _MODES)),
        "ConvTranspose": offers(("pairs", "same", "same_lower", "valid"), transposed=True),
    }


def is_specified(case: LayerCase) -> bool:
    """Return whether the specification of ONNX says what a layer computes.

    For ConvTranspose with auto_pad, the outputs are input times stride, and the padding follows; where the kernel is
    shorter than the stride, it would be negative. Output padding "must be less than the corresponding stride/dilation
    dimension", which both evaluators read as less than the stride. A reflected Pad of one sample is not defined.
    """
    if any(extra >= stride for extra, stride in zip(case.output_padding, case.stride, strict=True)):
        return False
    if case.transposed and case.padding in ("same", "same_lower"):
        totals = zip(case.spans, case.output_padding, case.stride, strict=True)
        return all(span + extra >= stride for span, extra, stride in totals) and not any(case.output_padding)
    if "reflect" in case.boundary:
        return min(case.input_shape) > 1
    return True


def onnxruntime_target() -> TargetLibrary:
    """Return onnxruntime as a target; raises ImportError if it or onnx is not installed."""
    onnx = load_package("onnx", "the target onnxruntime")
    runtime = load_package("onnxruntime", "the target onnxruntime")
    imports = (
        f"{MODEL_IMPORTS}import onnxruntime\noptions = onnxruntime.SessionOptions()\n"
        "options.intra_op_num_threads = 1\noptions.log_severity_level = 4\n"
    )
    return _target(
        "onnxruntime",
        onnx_offers(
            ("float32", "float32", "float16"), {"optimisation": ("all", "none"), "weights": ("input", "constant")}
        ),
        imports,
        _session,
        {"onnxruntime": runtime.__version__, "onnx": onnx.__version__},
        (
            r"NOT_IMPLEMENTED",
            r"Dilation not supported for AutoPadType::SAME",
            r"Pad reflect: \w+-pad \(\d+\) exceeds maximum allowed",
        ),
    )


def onnx_reference_target() -> TargetLibrary:
    """Return the reference evaluator of onnx as a target; raises ImportError if it is not installed."""
    onnx = load_package("onnx", "the target onnx-reference")
    imports = f"{MODEL_IMPORTS}from onnx.reference import ReferenceEvaluator\n"
    run = [f"(y,) = {_RUN_REFERENCE}"]
    return _target("onnx-reference", onnx_offers(), imports, lambda case: run, {"onnx": onnx.__version__})


def _target(
    name: str,
    offered: dict[str, Offers],
    imports: str,
    run: Callable[[LayerCase], list[str]],
    versions: dict[str, str],
    refusals: tuple[str, ...] = (),
) -> TargetLibrary:
    calls = tuple(
        TargetCall(
            name=operator,
            offers=offers,
            imports=imports,
            statements=lambda case, _: "\n".join([*model_lines(case), *run(case)]),
            refusals=refusals,
            keeps_dtype=True,
        )
        for operator, offers in offered.items()
    )
    return TargetLibrary(name, calls, versions)


def _session(case: LayerCase) -> list[str]:
    feeds = '{"x": x}' if case.setting("weights") == "constant" else '{"x": x, "w": w' + ', "b": b' * case.bias + "}"
    level = "ORT_DISABLE_ALL" if case.setting("optimisation") == "none" else "ORT_ENABLE_ALL"
    provider = 'providers=["CPUExecutionProvider"]'
    return [
        f"options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.{level}",
        f"session = onnxruntime.InferenceSession(model.SerializeToString(), options, {provider})",
        f"(y,) = session.run(None, {feeds})",
    ]


def model_lines(case: LayerCase) -> list[str]:
    """Return the lines that make ``model`` for a layer; ``w`` and ``b`` are inputs unless they are to be constants."""
    constant = dict(case.settings).get("weights") == "constant"
    attributes: dict[str, Any] = {
        "auto_pad": _WORDS[case.padding] if isinstance(case.padding, str) else None,
        "kernel_shape": list(case.kernel_shape),
        "strides": _listed(unless(1, case.stride)),
        "dilations": _listed(unless(1, case.dilation)),
        "group": unless(1, case.groups),
        "output_padding": _listed(unless(0, case.output_padding)),
    }
    pads = [amount for ends in zip(*case.geometry.padding, strict=True) for amount in ends]
    lines, source, constants = [], "x", ["w", *["b"] * case.bias] if constant else []
    nodes = []
    if case.call == "Pad + Conv":
        mode = _MODES[case.boundary[0]]
        widths = [0, 0, *pads[: case.n_axes], 0, 0, *pads[case.n_axes :]]
        lines.append(f"pads = np.array({widths}, dtype=np.int64)")
        nodes.append(call_text("helper.make_node", '"Pad"', '["x", "pads"]', '["padded"]', mode=mode))
        source, constants = "padded", [*constants, "pads"]
    elif not isinstance(case.padding, str):
        attributes["pads"] = pads if any(pads) else None
    operator = "ConvTranspose" if case.transposed else "Conv"
    inputs = str([source, "w", *["b"] * case.bias]).replace("'", '"')
    nodes.append(call_text("helper.make_node", f'"{operator}"', inputs, '["y"]', **attributes))
    given = ["x"] if constant else ["x", "w", *["b"] * case.bias]
    lines.append("kind = helper.np_dtype_to_tensor_dtype(x.dtype)")
    infos = [f'helper.make_tensor_value_info("{name}", kind, {name}.shape)' for name in given]
    lines.append(f"inputs = [{', '.join(infos)}]")
    lines.append('outputs = [helper.make_tensor_value_info("y", kind, None)]')
    tensors = [f'onnx.numpy_helper.from_array({name}, "{name}")' for name in constants]
    lines.append(f"nodes = [{', '.join(nodes)}]")
    initializer = f", initializer=[{', '.join(tensors)}]" if tensors else ""
    lines.append(f'graph = helper.make_graph(nodes, "layer", inputs, outputs{initializer})')
    opset = f'opset_imports=[helper.make_opsetid("", {OPSET})], ir_version={IR_VERSION}'
    lines.append(f"model = helper.make_model(graph, {opset})")
    return lines


def _listed(values: tuple[int, ...] | None) -> list[int] | None:
    return None if values is None else list(values)
