"""Values of all nodes of an ONNX model, computed by onnxruntime, to be compared with those of its network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix.frameworks.onnx_files import initializers, load_model, onnx_package
from convmatrix.frameworks.onnx_graphs import declared_shape
from convmatrix.frameworks.onnx_models import read_model

if TYPE_CHECKING:
    from convmatrix.arrays import Array
    from convmatrix.network import Network


def values_of_onnx(source: Any, x: Array, constants: Mapping[str, Any] | None = None) -> dict[str, Array]:
    """Return the values of the nodes of a model's network for a batch, computed by onnxruntime without optimisation.

    The batch is converted to the type of the model's input, and computed one sample after the other, or as many at a
    time as the model fixes its batch at. Values of further inputs are in their types. Nodes that depend on opaque ones
    are left out. ImportError if onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError:
        raise ImportError(
            "the reference values of an ONNX model need onnxruntime, which is not installed: pip install onnxruntime"
        ) from None
    network, tensors = read_model(source, x.shape[1:], constants, 0)
    known = _without_opaque(network)
    wanted = {node: tensor for node, tensor in tensors.items() if node in known}
    if not wanted:
        return {}
    model = _self_contained(source)
    model.graph.ClearField("output")
    model.graph.output.extend(onnx_package().ValueInfoProto(name=name) for name, _ in wanted.values())
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    declared = next(value for value in model.graph.input if value.name == network.input.name)
    sizes = declared_shape(declared)
    dtype = onnx_package().helper.tensor_dtype_to_np_dtype(declared.type.tensor_type.elem_type)
    with_batch = sizes is None or len(sizes) == x.ndim
    size = sizes[0] if with_batch and sizes and isinstance(sizes[0], int) else 1
    if len(x) % size:
        raise ValueError(f"the model computes {size} samples at a time, but was given {len(x)}; give a multiple")
    parts: dict[str, list[Array]] = {node: [] for node in wanted}
    for start in range(0, len(x), size):
        sample = x[start : start + size].astype(dtype)
        values = session.run(None, {**(constants or {}), declared.name: sample if with_batch else sample[0]})
        for (node, (_, axis)), value in zip(wanted.items(), values, strict=True):
            parts[node].append(value[None] if axis is None else np.moveaxis(value, axis, 0))
    return {node: np.concatenate(values) for node, values in parts.items()}


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


def _without_opaque(network: Network) -> set[str]:
    """Return the names of the nodes that depend on no opaque one."""
    known: set[str] = set()
    for node in network:
        if node.kind != "opaque" and known.issuperset(node.inputs):
            known.add(node.name)
    return known
