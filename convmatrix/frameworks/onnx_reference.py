"""Values of all nodes of an ONNX model, computed by onnxruntime, to be compared with those of its network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix.frameworks.builder import known_nodes
from convmatrix.frameworks.onnx_files import initializers, load_model, onnx_package
from convmatrix.frameworks.onnx_graphs import declared_shape
from convmatrix.frameworks.onnx_models import read_model

if TYPE_CHECKING:
    from convmatrix.arrays import Array


def values_of_onnx(source: Any, x: Array, constants: Mapping[str, Any] | None = None) -> dict[str, Array]:
    """Return the values of the nodes of a model's network for a batch, computed by onnxruntime without optimisation.

    The batch is converted to the type of the model's input, and computed one sample after the other, or as many at a
    time as the model fixes its batch at. Values of further inputs are in ``constants``. Nodes that depend on opaque
    ones are left out. ImportError if onnxruntime is not installed, ValueError if it cannot compute the model.
    """
    try:
        import onnxruntime
    except ImportError:
        raise ImportError(
            "the reference values of an ONNX model need onnxruntime, which is not installed: pip install onnxruntime"
        ) from None
    model = _self_contained(source)
    held = {tensor.name for tensor in model.graph.initializer}
    inputs = {value.name: value for value in model.graph.input if value.name not in held}
    free = [value for name, value in inputs.items() if name not in (constants or {})]
    sizes = declared_shape(free[0]) if free else None
    with_batch = sizes is None or len(sizes) == x.ndim
    network, tensors = read_model(source, x.shape[1:], constants, 0 if with_batch else None)
    known = known_nodes(network)
    wanted = {node: tensor for node, tensor in tensors.items() if node in known}
    if not wanted:
        return {}
    model.graph.ClearField("output")
    model.graph.output.extend(onnx_package().ValueInfoProto(name=name) for name, _ in wanted.values())
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    size = sizes[0] if with_batch and sizes and isinstance(sizes[0], int) else 1
    if len(x) % size:
        raise ValueError(f"the model computes {size} samples at a time, but was given {len(x)}; give a multiple")
    batch = (x if len(x) else np.zeros((size, *x.shape[1:]))).astype(_dtype(free[0]))
    fed = {name: np.asarray(values, _dtype(inputs[name])) for name, values in (constants or {}).items()}
    parts: dict[str, list[Array]] = {node: [] for node in wanted}
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        for start in range(0, len(batch), size):
            sample = batch[start : start + size]
            values = session.run(None, {**fed, free[0].name: sample if with_batch else sample[0]})
            for (node, (_, axis)), value in zip(wanted.items(), values, strict=True):
                parts[node].append(value[None] if axis is None else np.moveaxis(value, axis, 0))
    except Exception as error:  # onnxruntime's errors have no common base
        message = " ".join(str(error).split())[:300]
        raise ValueError(
            f"onnxruntime cannot compute the model: {message}; give values that were computed elsewhere, such as "
            f"{{{network.outputs[0]!r}: array}}"
        ) from None
    return {node: np.concatenate(values)[: len(x)] for node, values in parts.items()}


def _dtype(value: Any) -> Any:
    """Return the NumPy type of a graph's input."""
    return onnx_package().helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)


def _self_contained(source: Any) -> Any:
    """Return a copy of a model with its external data in it."""
    onnx = onnx_package()
    model, folder = load_model(source)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    arrays = initializers(model.graph, folder)
    for tensor in copy.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            tensor.CopyFrom(onnx.numpy_helper.from_array(arrays[tensor.name], tensor.name))
    return copy
