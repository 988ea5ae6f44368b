"""ONNX models read into a network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix import memory
from convmatrix import options as validate
from convmatrix.frameworks.builder import NetworkBuilder, Shape, Tensor, UnsupportedError
from convmatrix.frameworks.onnx_calls import OnnxCall
from convmatrix.frameworks.onnx_constants import FLOATING, Value, constant_value, fold
from convmatrix.frameworks.onnx_files import initializers, load_model, onnx_package
from convmatrix.frameworks.onnx_graphs import (
    MOST_NESTED,
    OnnxNode,
    declared_shape,
    declared_shapes,
    graph_nodes,
    operator_sets,
)
from convmatrix.frameworks.onnx_normalisations import NORMALISING
from convmatrix.frameworks.onnx_operators import COMPUTING
from convmatrix.frameworks.onnx_rearrangements import REARRANGEMENTS
from convmatrix.frameworks.onnx_windows import WINDOWS

if TYPE_CHECKING:
    from convmatrix.arrays import Array
    from convmatrix.network import Network

OPERATORS: Final = {**COMPUTING, **NORMALISING, **REARRANGEMENTS, **WINDOWS}
"""The function that translates each known operator."""

_RECURRENT: Final = ("GRU", "LSTM", "RNN")
_OF_ANY_TYPE: Final = {*REARRANGEMENTS, "Cast", "Identity"}  # and so of integers, too


def network_from_onnx(
    source: Any,
    input_shape: int | Sequence[int] | None = None,
    *,
    constants: Mapping[str, Any] | None = None,
    batch_axis: int | None = 0,
) -> Network:
    """Return the network of an ONNX model; see `convmatrix.Network.from_onnx`.

    Examples
    --------
    >>> import onnx
    >>> from onnx import helper
    >>> x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 1, 4, 4]) for name in "xy")
    >>> graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"], name="relu")], "small", [x], [y])
    >>> network = network_from_onnx(helper.make_model(graph))
    >>> network
    Network('small', 2 nodes, (1, 4, 4) -> (1, 4, 4))
    >>> network["relu"].kind
    'elementwise'
    """
    network, _ = read_model(source, input_shape, constants, batch_axis)
    return network


def read_model(
    source: Any, input_shape: Any, constants: Mapping[str, Any] | None, batch_axis: int | None
) -> tuple[Network, dict[str, tuple[str, int | None]]]:
    """Return the network of a model, and for its nodes the name of the model's tensor and the batch axis of that."""
    if batch_axis not in (0, None):
        raise ValueError(f"batch_axis={batch_axis} must be 0 or None; transpose the model's input otherwise")
    model, folder = load_model(source)
    versions = operator_sets(model)
    if model.functions:
        model = _inlined(model)
    graph = model.graph
    scope: dict[str, Value] = dict(initializers(graph, folder))
    name, shape, element, batch = _input(graph, scope, dict(constants or {}), input_shape, batch_axis)
    memory.require(4 * math.prod(shape), f"the input {name!r} of shape {shape}", "give a smaller input_shape")
    builder = NetworkBuilder(graph.name or "network", name, shape, batch)
    reader = _OnnxReader(builder, versions, folder)
    scope[name] = builder.input
    if element not in FLOATING:
        reader.integers.add(name)
    results = reader.read(graph, scope, 0)
    return builder.finish([reader.output(result) for result in results]), reader.tensors


# --- inputs -----------------------------------------------------------------------------------------------------------


def _input(
    graph: Any, scope: dict[str, Value], constants: dict[str, Any], wanted: Any, batch_axis: int | None
) -> tuple[str, Shape, int, int | None]:
    """Return name, shape, element type and batch axis of the one input; add constants to the scope."""
    values = {value.name: value for value in graph.input if value.name not in scope}
    names = [value.name for value in graph.input]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"two inputs of the model have the name {twice[0]!r}; rename one of them")
    if unknown := [name for name in constants if name not in values]:
        raise ValueError(f"constants has {unknown[0]!r}, but the inputs of the model are {', '.join(values) or 'none'}")
    scope.update({name: _constant_input(values[name], array) for name, array in constants.items()})
    free = [name for name in values if name not in constants]
    if len(free) != 1:
        if not free:
            raise ValueError("the model has no input that is not constant, but a network has one")
        raise ValueError(
            f"the model has {len(free)} inputs: {', '.join(map(repr, free))}, but a network has one; give the values "
            f"of the others, such as constants={{{free[1]!r}: array}}"
        )
    (name,) = free
    kind = values[name].type
    if not kind.HasField("tensor_type") or kind.tensor_type.elem_type in (0, 8, 14, 15):
        raise ValueError(f"the input {name!r} is not a tensor of real numbers, which a network needs")
    shape, batch = _input_shape(name, declared_shape(values[name]), wanted, batch_axis)
    return name, shape, int(kind.tensor_type.elem_type), batch


def _constant_input(value: Any, given: Any) -> Array:
    """Return the array of an input that is made constant, in the type of the input."""
    onnx = onnx_package()
    array = np.asarray(given)
    sizes = declared_shape(value)
    if sizes is not None and (
        len(sizes) != array.ndim or any(isinstance(n, int) and n != m for n, m in zip(sizes, array.shape, strict=True))
    ):
        raise ValueError(f"constants[{value.name!r}] has the shape {array.shape}, but the input is declared as {sizes}")
    try:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        return array.astype(dtype)
    except (KeyError, ValueError, TypeError):
        raise ValueError(f"the input {value.name!r} cannot be the array of type {array.dtype} in constants") from None


def _input_shape(
    name: str, declared: list[int | str | None] | None, wanted: Any, batch_axis: int | None
) -> tuple[Shape, int | None]:
    """Return the input's shape with the batch, and the batch axis."""
    given = None if wanted is None else validate.shape("input_shape", wanted)
    if declared is None:
        if given is None:
            raise ValueError(
                f"the file does not say the shape of the input {name!r}; give input_shape=, without the batch"
            )
        return (given, None) if batch_axis is None else ((1, *given), 0)
    batch = None if batch_axis is None or len(declared) < 2 else 0
    inner = declared if batch is None else declared[1:]
    if given is not None and len(given) != len(inner):
        raise ValueError(
            f"input_shape={given} has {validate.axes_in_words(len(given))}, but one sample of the input {name!r} "
            f"has {len(inner)}: {_sizes_in_words(inner)}"
        )
    if given is None and not all(isinstance(n, int) for n in inner):
        raise ValueError(
            f"the file leaves sizes of the input {name!r} open: one sample has the shape {_sizes_in_words(inner)}; "
            "give input_shape= with all sizes"
        )
    sample = given or tuple(int(n) for n in inner if isinstance(n, int))
    if batch is None:
        return sample or (1,), None
    size = declared[0]
    return (size if isinstance(size, int) else 1, *sample), 0


def _sizes_in_words(sizes: Sequence[int | str | None]) -> str:
    return f"({', '.join('?' if n is None else str(n) for n in sizes)})"


def _inlined(model: Any) -> Any:
    """Return a model whose own functions are replaced by their nodes."""
    calls = {(f.domain, f.name): {(n.domain, n.op_type) for n in f.node} for f in model.functions}
    pending = dict(calls)
    while pending:
        ready = [key for key, called in pending.items() if not called & pending.keys()]
        if not ready:
            raise ValueError(
                f"the model's functions {', '.join(sorted(n for _, n in pending))} call each other in a circle"
            )
        for key in ready:
            del pending[key]
    try:
        return onnx_package().inliner.inline_local_functions(model)
    except Exception as error:
        raise ValueError(f"the model's functions cannot be inlined: {' '.join(str(error).split())[:200]}") from None


# --- nodes ------------------------------------------------------------------------------------------------------------


class _OnnxReader:
    """Translates the nodes of a graph, and of graphs within it whose condition is constant."""

    def __init__(self, builder: NetworkBuilder, versions: Mapping[str, int], folder: Path | None) -> None:
        self.builder = builder
        self.versions = versions
        self.folder = folder
        self.declared: dict[str, Shape] = {}  # by tensor, what the file says, if all sizes are fixed
        self.tensors: dict[str, tuple[str, int | None]] = {}  # by node, the tensor that it is and its batch axis
        self.integers: set[str] = set()  # names of tensors that are not in floating point

    def read(self, graph: Any, scope: dict[str, Value], depth: int) -> list[Value]:
        """Return the outputs of a graph, whose other values are added to the scope."""
        if depth > MOST_NESTED:
            raise ValueError(f"graphs lie within graphs, more than {MOST_NESTED} deep; simplify the model")
        self.declared.update(declared_shapes(graph))
        for node in graph_nodes(graph, self.versions, scope):
            results = self._results(node, scope, depth)
            named = {name: result for name, result in zip(node.outputs, results, strict=True) if name}
            scope.update(named)
            if not depth:  # tensors of inner graphs are not seen from outside
                for name, result in named.items():
                    if isinstance(result, Tensor):
                        self.tensors.setdefault(result.node, (name, result.batch))
        for output in graph.output:
            if output.name not in scope:
                raise ValueError(f"no node makes the output {output.name!r}; export the model again")
        return [scope[output.name] for output in graph.output]

    def output(self, value: Value) -> Tensor:
        """Return an output of the network; one that does not depend on the input is opaque."""
        if isinstance(value, Tensor):
            return value
        return self._opaque(
            "constant", "Constant", [self.builder.input], np.shape(value), "it does not depend on the input"
        )

    def _results(self, node: OnnxNode, scope: Mapping[str, Value], depth: int) -> list[Value]:
        """Return the values of the outputs of a node."""
        values = [scope[name] if name else None for name in node.inputs]
        tensors = [scope[name] for name in node.reads if isinstance(scope[name], Tensor)]
        standard = node.schema is not None and not node.domain
        try:
            if standard and node.operator == "Constant":
                return [constant_value(node, self.folder)]
            if standard and node.operator == "If" and not isinstance(values[0], Tensor):
                return self._branch(node, scope, depth)
            if not tensors:
                return list(fold(node, values, self.versions))
            if standard and node.operator in ("Shape", "Size") and isinstance(values[0], Tensor):
                return [_shape(node, values[0])]
            if not standard or node.operator not in OPERATORS:
                raise UnsupportedError("")
            return self._translated(node, values)
        except UnsupportedError as error:
            return self._opaques(node, values, tensors or [self.builder.input], str(error))

    def _branch(self, node: OnnxNode, scope: Mapping[str, Value], depth: int) -> list[Value]:
        """Return the outputs of the branch that a constant condition chooses."""
        condition = np.asarray(scope[node.inputs[0]] if node.inputs[0] else ())
        if condition.size != 1:
            raise ValueError(f"{node.described} has a condition of shape {condition.shape}; it needs one value")
        branch = node.attributes["then_branch" if bool(condition.reshape(())) else "else_branch"]
        results = self.read(branch, {**scope, **initializers(branch, self.folder)}, depth + 1)
        if len(results) != len(node.outputs):
            raise ValueError(f"{node.described} has {len(node.outputs)} outputs, but its branch has {len(results)}")
        pairs = zip(node.outputs, branch.output, strict=True)
        self.integers.update(output for output, inner in pairs if inner.name in self.integers)
        return results

    def _translated(self, node: OnnxNode, values: Sequence[Value]) -> list[Value]:
        """Return the outputs that the operator's translator makes; the nodes of a failed attempt are removed."""
        integers = any(
            name in self.integers and isinstance(v, Tensor) for name, v in zip(node.inputs, values, strict=True)
        )
        if integers and node.operator not in _OF_ANY_TYPE:
            raise UnsupportedError("its inputs are integers")
        mark = self.builder.mark()
        call = OnnxCall(self.builder, node.name, node, values)
        try:
            result = OPERATORS[node.operator](call)
            results = result if isinstance(result, list) else [result]
            if unread := call.unread():
                raise UnsupportedError(f"the attribute {unread[0]} is not known")
            for value in results:
                if isinstance(value, Tensor):
                    call.require(value.known)
        except UnsupportedError:
            self.builder.rewind(mark)
            raise
        except memory.MatrixTooLargeError:
            raise
        except (ValueError, TypeError, IndexError, ArithmeticError) as error:
            self.builder.rewind(mark)
            raise UnsupportedError(" ".join(str(error).split())) from None
        if integers and node.operator != "Cast":
            self.integers.update(node.outputs)
        missing = node.outputs[len(results) :]
        if any(missing):
            tensors = [value for value in values if isinstance(value, Tensor)]
            results += self._opaques(node, values, tensors, "this output is not computed")[len(results) :]
        return results + [None] * (len(node.outputs) - len(results))

    # --- what is not known --------------------------------------------------------------------------------------------

    def _opaques(self, node: OnnxNode, values: Sequence[Value], tensors: Sequence[Tensor], reason: str) -> list[Value]:
        """Return opaque outputs of a node, one node of the network each, with the shapes that are known."""
        operator = f"{node.domain}.{node.operator}" if node.domain else node.operator
        names = [node.name if not number else output or node.name for number, output in enumerate(node.outputs)]
        known = _recurrent_shapes(values) if operator in _RECURRENT and not node.attributes.get("layout") else []
        shapes = [self.declared.get(output) for output in node.outputs]
        shapes[: len(known)] = known[: len(shapes)]
        return [self._opaque(n, operator, tensors, s, reason) for n, s in zip(names, shapes, strict=True)]

    def _opaque(self, name: str, operator: str, tensors: Sequence[Tensor], shape: Shape | None, reason: str) -> Tensor:
        known = shape if shape is not None and min(shape, default=1) > 0 else None
        return self.builder.opaque(name, operator, tensors, known, reason)


def _recurrent_shapes(values: Sequence[Value]) -> list[Shape]:
    """Return the shapes of the outputs of a recurrent layer, whose third input is (directions, gates, hidden units)."""
    x, recurrence = values[0], values[2]
    if not isinstance(x, Tensor) or x.shape is None or not isinstance(recurrence, np.ndarray):
        return []
    if x.ndim != 3 or recurrence.ndim != 3:
        return []
    (length, batch, _), (directions, _, hidden) = x.known, recurrence.shape
    state = (directions, batch, hidden)
    return [(length, directions, batch, hidden), state, state]


def _shape(node: OnnxNode, x: Tensor) -> Array:
    """Return the shape of a tensor, or its number of entries."""
    if x.shape is None:
        raise UnsupportedError("the shape of its input is not known")
    if node.operator == "Size":
        return np.asarray(math.prod(x.known), np.int64)
    start, end = node.attributes.get("start", 0), node.attributes.get("end")
    return np.array(x.known[start:end], dtype=np.int64)
