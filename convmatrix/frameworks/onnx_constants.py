"""ONNX nodes whose inputs are all constant, computed by onnx's reference; sizes are inferred before anything is."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix import memory
from convmatrix.frameworks.builder import Tensor, UnsupportedError
from convmatrix.frameworks.onnx_files import onnx_package
from convmatrix.frameworks.onnx_graphs import shape_of_type

if TYPE_CHECKING:
    from convmatrix.arrays import Array
    from convmatrix.frameworks.builder import Shape
    from convmatrix.frameworks.onnx_graphs import OnnxNode

Value = Tensor | Any
"""What a name of an ONNX graph stands for: a tensor that depends on the input, a constant array, or None."""

FLOATING: Final = (1, 10, 11, 16)
"""Element types in which networks compute: float32, float16, float64, bfloat16."""

_RANDOM: Final = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
_NO_LARGER_THAN_INPUT: Final = {"Compress", "NonZero", "Unique"}  # up to a factor of the rank
_LISTED: Final = 2**12  # entries of constants that shape inference is told: shapes, axes, scales
_REMEDY: Final = "simplify the model, or read it on a larger machine"


class ConstantFolder:
    """Computes nodes of constants, and infers shapes.

    Parameters
    ----------
    versions : dict
        Version of each operator set.
    """

    def __init__(self, versions: Mapping[str, int]) -> None:
        self.onnx = onnx_package()
        self.imports = [self.onnx.helper.make_opsetid(domain, version) for domain, version in versions.items()]

    def inferred(self, node: OnnxNode, values: Sequence[Value], types: Sequence[int]) -> list[tuple[Shape | None, int]]:
        """Return the shape of each output, None if it is not known, and its element type, 0 if that is not known.

        Raises
        ------
        ValueError
            If the inputs do not fit the operator.
        """
        unknown: list[tuple[Shape | None, int]] = [(None, 0)] * len(node.outputs)
        if node.schema is None:
            return unknown
        helper, inputs, data = self.onnx.helper, {}, {}
        for name, value, element in zip(node.inputs, values, types, strict=True):
            if not name:
                continue
            if isinstance(value, Tensor):
                inputs[name] = helper.make_tensor_type_proto(element or 1, value.shape)
            else:
                inputs[name] = helper.make_tensor_type_proto(element, value.shape)
                if value.size <= _LISTED and value.dtype.kind in "fiub":
                    data[name] = self.onnx.numpy_helper.from_array(value, name)
        try:
            found = self.onnx.shape_inference.infer_node_outputs(
                node.schema, node.proto, inputs, data, opset_imports=self.imports
            )
        except Exception as error:
            message = " ".join(str(error).split())
            raise ValueError(f"{node.described} does not fit its inputs: {message}") from None
        shapes = []
        for output in node.outputs:
            kind = found.get(output)
            known = kind is not None and kind.HasField("tensor_type")
            shapes.append((shape_of_type(kind), int(kind.tensor_type.elem_type)) if known else (None, 0))
        return shapes

    def fold(self, node: OnnxNode, arrays: Sequence[Any]) -> list[Array]:
        """Return the outputs of a node of constants.

        Raises
        ------
        UnsupportedError
            If it cannot be computed: a random operator, one that is not ONNX's own, or one that contains graphs.
        ValueError
            If the inputs do not fit the operator, or the result would not fit in memory.
        """
        if node.schema is None or node.domain not in ("", "ai.onnx.ml"):
            raise UnsupportedError("an operator of constants that is not ONNX's own")
        if node.captured or any(hasattr(value, "node") for value in node.attributes.values()):
            raise UnsupportedError("a graph within a node is not computed")
        if node.operator in _RANDOM or any(not name for name in node.outputs[:1]):
            raise UnsupportedError("its result is random")
        self._check_sizes(node, arrays)
        helper = self.onnx.helper
        feeds = {name: array for name, array in zip(node.inputs, arrays, strict=True) if array is not None}
        inputs = [
            helper.make_value_info(name, helper.make_tensor_type_proto(element_type(a), a.shape))
            for name, a in feeds.items()
        ]
        outputs = [self.onnx.ValueInfoProto(name=name) for name in node.outputs if name]
        graph = helper.make_graph([node.proto], "constant", inputs, outputs)
        model = helper.make_model(graph, opset_imports=self.imports)
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                results = self.onnx.reference.ReferenceEvaluator(model).run(None, feeds)
        except MemoryError:
            raise memory.MatrixTooLargeError(
                f"the constant of {node.described} does not fit in memory; {_REMEDY}"
            ) from None
        except NotImplementedError as error:
            raise UnsupportedError(str(error)) from None
        except Exception as error:
            message = " ".join(str(error).split())[:200]
            raise ValueError(f"{node.described} cannot be computed from its constants: {message}") from None
        by_name = dict(zip([name for name in node.outputs if name], results, strict=True))
        if not all(isinstance(result, np.ndarray | np.generic) for result in results):
            raise UnsupportedError("its result is not a tensor")
        return [np.asarray(by_name[name]) if name else np.zeros(0) for name in node.outputs]

    def _check_sizes(self, node: OnnxNode, arrays: Sequence[Array | None]) -> None:
        """Raise if the outputs are known not to fit in memory, or their sizes cannot be known."""
        given = [a for a in arrays if a is not None]
        types = [0 if array is None else element_type(array) for array in arrays]
        largest = max((a.size * max(a.ndim, 1) for a in given), default=1)
        for shape, element in self.inferred(node, arrays, types):
            if shape is None and node.operator not in _NO_LARGER_THAN_INPUT:
                raise UnsupportedError("the size of its result is not known beforehand")
            n = largest if shape is None else math.prod(shape) * _work_per_output(node, given)
            width = self.onnx.helper.tensor_dtype_to_np_dtype(element).itemsize if element else 8
            memory.require(n * width, f"the constant of {node.described}, of shape {shape},", _REMEDY)


def _work_per_output(node: OnnxNode, arrays: Sequence[Array]) -> int:
    """Return how many entries the reference holds per entry of the output: a window, padding between outputs."""
    attributes, work = node.attributes, 1
    if node.operator in ("Conv", "ConvTranspose", "ConvInteger", "QLinearConv") and len(arrays) > 1:
        work *= max((math.prod(a.shape[1:]) for a in arrays if a.ndim > 2), default=1)
    for name in ("kernel_shape", "strides", "dilations"):
        work *= math.prod(abs(int(n)) or 1 for n in attributes.get(name, ()))
    pads = attributes.get("pads", ())
    if "kernel_shape" in attributes or len(arrays) > 1:
        work *= math.prod(1 + abs(int(n)) for n in pads)
    return max(work, 1)


def element_type(array: Array) -> int:
    """Return the number that ONNX gives the type of an array's entries."""
    if array.dtype.kind in "OUS":
        return 8
    return int(onnx_package().helper.np_dtype_to_tensor_dtype(array.dtype))


def constant_value(node: OnnxNode, folder: Any) -> Array:
    """Return the value of a Constant node."""
    from convmatrix.frameworks.onnx_files import sparse_array, tensor_array

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
