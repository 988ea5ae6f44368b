"""PyTorch modules read into a network, through the graph that `torch.export` traces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix import options as validate
from convmatrix.arrays import Array, from_tensor
from convmatrix.frameworks.builder import NetworkBuilder, Tensor, UnsupportedError, known_nodes
from convmatrix.frameworks.torch_calls import Call
from convmatrix.frameworks.torch_rearrangements import REARRANGEMENTS
from convmatrix.frameworks.torch_traces import OPERATORS, operator_name, traced

if TYPE_CHECKING:
    from convmatrix.network import Network


def network_from_torch(module: Any, input_shape: int | Sequence[int], *, name: str | None = None) -> Network:
    """Return the network of a PyTorch module in evaluation mode; see `convmatrix.Network.from_torch`."""
    return _reader(module, input_shape, name, None).read()


def values_of_torch(module: Any, x: Array) -> dict[str, Array]:
    """Return the values that PyTorch computes for a batch, by node; nodes that depend on opaque ones are left out."""
    reader = _reader(module, x.shape[1:], None, x.dtype)
    known = known_nodes(reader.read())
    size = reader.builder.size
    parts: list[dict[str, Array]] = []
    for start in range(0, max(len(x), 1), size):  # the program is traced for batches of this size
        part = x[start : start + size]
        values = reader.evaluate(np.concatenate([part, np.zeros((size - len(part), *x.shape[1:]), x.dtype)]))
        parts.append({name: value[: len(part)] for name, value in values.items() if name in known})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _reader(module: Any, input_shape: int | Sequence[int], name: str | None, dtype: Any) -> _GraphReader:
    """Return the reader of a module, which is traced in the type of its weights, or ``dtype`` if it has none."""
    try:
        import torch
    except ImportError:
        raise ImportError("reading a PyTorch module needs PyTorch, which is not installed: pip install torch") from None
    if not isinstance(module, torch.nn.Module):
        raise TypeError(
            f"a network is read from a torch.nn.Module, but was given a {type(module).__name__}; for a state_dict, "
            "load it into its module first"
        )
    shape = validate.shape("input_shape", input_shape)
    return _GraphReader(torch, module, *traced(torch, module, shape, dtype), name or type(module).__name__)


class _GraphReader:
    """Translates an exported program node by node."""

    def __init__(self, torch: Any, module: Any, program: Any, sized: set[Any], name: str) -> None:
        self.torch = torch
        self.sized = sized  # nodes that compute with the size of the batch
        self.modules = dict(module.named_modules())
        self.program = program
        self.values: dict[Any, Any] = {}
        self.trained: set[Any] = set()  # nodes whose values are parameters, or are computed from them
        self.arrays: dict[Any, tuple[Any, Array]] = {}  # constants by the memory that they are copies of
        self.memory: dict[Any, Array] = {}  # the same, for all orders of axes, so that a transposed weight counts once
        self.filled: set[Any] = set()  # constants with the shape of what depends on the input
        self.padding: dict[Any, Any] = {}  # of tensors that a convolution pads itself
        self.builder: NetworkBuilder
        self.name = name

    def read(self) -> Network:
        """Return the network."""
        torch, program = self.torch, self.program
        signature = program.graph_signature
        constants = {**program.state_dict, **program.constants}
        held = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        (given,) = (n for n in program.graph.nodes if n.op == "placeholder" and n.name in signature.user_inputs)
        self.builder = NetworkBuilder(self.name, "input", tuple(given.meta["val"].shape))
        self.builder.declare_trained(None)
        self.dtype = given.meta["val"].dtype
        with torch.no_grad():
            for node in program.graph.nodes:
                if node is given:
                    self.values[node] = self.builder.input
                elif node in self.sized and node.op == "placeholder":
                    self.values[node] = self._opaque(node, node.name, [], "it computes with the size of the batch")
                elif node.op == "placeholder" and node.name in held:
                    self.values[node] = constants[held[node.name]].detach()
                    if node.name in signature.inputs_to_parameters:
                        self.trained.add(node)
                elif node.op == "get_attr":
                    self.values[node] = attrgetter(node.target)(program.graph_module)
                elif node.op == "call_function":
                    self.values[node] = self._call(node)
        user_outputs = set(signature.user_outputs)
        (last,) = (node for node in program.graph.nodes if node.op == "output")
        nodes = [node for node in last.args[0] if isinstance(node, torch.fx.Node)]  # others are None, numbers, words
        outputs = [self.values[node] for node in nodes if node.name in user_outputs]
        tensors = [output for output in outputs if isinstance(output, Tensor)]
        if not tensors:
            raise ValueError(f"no output of {self.name} depends on its input; a network needs an output that does")
        return self.builder.finish(tensors)

    def evaluate(self, x: Array) -> dict[str, Array]:
        """Return the values of all nodes for a batch of the traced size, computed by PyTorch."""
        torch, computed = self.torch, {}
        found: dict[str, Array] = {}
        with torch.no_grad():
            for node in self.program.graph.nodes:
                value = self.values.get(node)
                if isinstance(value, Tensor) and node.op == "placeholder":
                    meta = node.meta["val"]
                    computed[node] = torch.as_tensor(x, dtype=meta.dtype, device=meta.device)
                elif node.op in ("placeholder", "get_attr"):
                    computed[node] = value
                elif node.op == "call_function":
                    args = torch.fx.map_arg(node.args, computed.__getitem__)
                    try:
                        computed[node] = node.target(*args, **torch.fx.map_arg(node.kwargs, computed.__getitem__))
                    except RuntimeError as error:  # such as an operator that is not made for half precision
                        raise ValueError(
                            f"PyTorch cannot compute {self._node_name(node)!r} in {self.dtype}: {error}; compare in "
                            "another precision, such as check(x, module.float())"
                        ) from None
                if isinstance(value, Tensor) and value.shape is not None and _real_shape(computed[node]) == value.shape:
                    exact, half = _as_array(computed[node]), computed[node].dtype == torch.float16
                    found[value.node] = value.samples(exact.astype(np.float16) if half else exact)
        return {name: values for name, values in found.items() if len(values) == len(x)}

    def _node_name(self, node: Any) -> str:
        """Return the name of the innermost module, with the operator's name unless it is a layer of torch.nn."""
        path = _module_path(node)
        module: Any = self.modules.get(path)
        operator = operator_name(node.target).strip("_")
        if not path:
            return operator
        is_layer = module is not None and type(module).__module__.startswith("torch.nn.")
        return path if is_layer and not any(module.children()) else f"{path}.{operator}"

    def _call(self, node: Any) -> Any:
        """Return the value of a call: constants are computed by PyTorch, tensors become nodes of the network."""
        operator = operator_name(node.target)
        if operator == "getitem":
            return self._item(node, *node.args)
        sources = [n for n in node.all_input_nodes if _holds_tensor(self.values[n])]
        filled = bool(sources) and operator in _FILLED and node not in self.sized
        if filled:  # a constant with the shape of its argument
            sources = []
        random = self.torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
        if not sources and not random and node not in self.sized:
            if not self.trained.isdisjoint(node.all_input_nodes):
                self.trained.add(node)
            args, kwargs = self.torch.fx.map_arg((node.args, node.kwargs), self._constant)
            value = node.target(*args, **kwargs)
            if not filled and self.filled.isdisjoint(node.all_input_nodes):
                return value
            self.filled.add(node)
            if filled or operator in REARRANGEMENTS or all(map(self._is_repeated, _flat([value]))):
                return value
            return self._opaque(node, self._node_name(node), [], "it combines samples of the batch")
        name, mark = self._node_name(node), self.builder.mark()
        try:
            operator = operator if operator in OPERATORS else operator.removesuffix("_")  # in place
            if node in self.sized:
                raise UnsupportedError("it computes with the size of the batch")
            if operator not in OPERATORS:
                raise UnsupportedError("it is random" if random else "")
            args, kwargs = self.torch.fx.map_arg((node.args, node.kwargs), self._argument)
            arguments = _named_arguments(node.target, args, kwargs)
            result = OPERATORS[operator](Call(self.builder, name, arguments, self._merged_padding(node), operator))
            self._check(node, result)
            return result
        except UnsupportedError as error:
            reason = str(error)
        except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as error:
            reason = f"it is not understood: {type(error).__name__}: {error}"
        self.builder.rewind(mark)
        return self._opaque(node, name, sources, reason)

    def _item(self, node: Any, source: Any, number: int) -> Any:
        """Return one of several results; those that have no translation become opaque."""
        value = self.values[source][number]
        if value is None and _holds_tensor(self.values[source]):
            name, operator = self._node_name(source), str(source.target).removesuffix(".default")
            tensors, shape = self._tensors(source.all_input_nodes), _sizes(node.meta.get("val"))
            return self.builder.opaque(f"{name}.{number}", operator, tensors, shape, "not its first result")
        if source in self.filled:
            self.filled.add(node)
        if value is not None and source in self.trained:
            self.trained.add(node)
        return value

    def _is_repeated(self, value: Any) -> bool:
        """Return whether a constant has equal slices for all samples of the batch."""
        size = self.builder.input.known[0]
        axes = [axis for axis, n in enumerate(value.shape) if n == size]
        return any(bool((value == value.narrow(axis, 0, 1)).all()) for axis in axes)

    def _constant(self, node: Any) -> Any:
        """Return the value of a constant, or an arbitrary tensor of the same shape if it depends on the input."""
        if not _holds_tensor(self.values[node]):
            return self.values[node]
        meta = node.meta["val"]
        return self.torch.empty(meta.shape, dtype=meta.dtype, device=meta.device)

    def _argument(self, node: Any) -> Any:
        """Return the value of an argument: a tensor of the network, or an array, always the same of a parameter."""
        value = self.values[node]
        if not hasattr(value, "detach"):
            return value
        key = (value.data_ptr(), value.dtype, tuple(value.shape), value.stride())
        if key not in self.arrays:
            array = _as_array(value)
            flat = self.memory.setdefault((*key[:2], array.size), array.flatten("K"))
            flat.flags.writeable = array.flags.writeable = False
            view = np.ndarray(array.shape, array.dtype, flat, 0, array.strides)
            array = view if np.array_equal(view, array, equal_nan=array.dtype.kind == "f") else array
            self.arrays[key] = value, array
        array = self.arrays[key][1]
        if node in self.trained:
            self.builder.declare_trained(array)
        return array

    def _check(self, node: Any, result: Any) -> None:
        """Raise UnsupportedError if a result does not have the shape, or the kind of numbers, of PyTorch's."""
        results, metas = (result, node.meta["val"]) if isinstance(result, list) else ([result], [node.meta["val"]])
        before = [getattr(n.meta.get("val"), "dtype", None) for n in node.all_input_nodes]
        for ours, meta in zip(results, metas, strict=True):
            if not isinstance(ours, Tensor):
                continue
            shape = tuple(n if isinstance(n, int) else None for n in meta.shape)  # None depends on values
            if ours.shape is None or None in shape:
                matches = ours.shape is None or len(ours.shape) == len(shape)
            else:
                matches = ours.shape == shape
            if not matches:
                raise UnsupportedError(f"it gives shape {shape}, but was read as {ours.shape}")
            if not meta.is_floating_point():
                raise UnsupportedError(f"it gives numbers of type {meta.dtype}")
            if meta.itemsize < self.dtype.itemsize and meta.itemsize < 4 and meta.dtype not in before:
                raise UnsupportedError(f"it rounds to {meta.dtype}")

    def _tensors(self, sources: Sequence[Any]) -> list[Tensor]:
        return [value for value in _flat([self.values[n] for n in sources]) if isinstance(value, Tensor)]

    def _opaque(self, node: Any, name: str, sources: Sequence[Any], reason: str) -> Any:
        operator, tensors = str(node.target).removesuffix(".default"), self._tensors(sources)
        values = node.meta.get("val")
        if isinstance(values, tuple | list):
            shapes = [_sizes(value) for value in values]
            return [self.builder.opaque(name, operator, tensors, shape, reason) for shape in shapes]
        return self.builder.opaque(name, operator, tensors, _sizes(values), reason)

    def _merged_padding(self, node: Any) -> Any:
        """Return for a convolution the padding that its module applies before it; for such a padding, True.

        A convolution module with a padding mode is exported as two operators, which are one layer.
        """
        (user, *others) = node.users or (node,)
        if operator_name(node.target) != "pad" or others or operator_name(user.target) not in _CONVOLUTIONS:
            return self.padding.get(node)
        given = _named_arguments(node.target, node.args, node.kwargs)
        conv = _named_arguments(user.target, user.args, user.kwargs)
        x, amounts, mode = self.values[node.args[0]], given["pad"], given["mode"]
        if (
            isinstance(x, Tensor)
            and mode in ("circular", "reflect", "replicate")
            and conv["input"] is node
            and len(amounts) == 2 * (x.ndim - 2)
            and min(amounts) >= 0
            and not (isinstance(conv["padding"], str) or any(conv["padding"]))
            and _module_path(user) == _module_path(node)
        ):
            self.padding[user] = (x, list(amounts), mode)
            return True
        return None


def _module_path(node: Any) -> str:
    """Return the name of the innermost module that calls an operator; empty for the outermost one."""
    stack = node.meta.get("nn_module_stack") or {}
    return [str(entry[0]) for entry in stack.values()][-1] if stack else ""


_CONVOLUTIONS = ("conv1d", "conv2d", "conv3d")
_FILLED = ("full_like", "new_full", "new_ones", "new_zeros", "ones_like", "zeros_like")


def _real_shape(value: Any) -> tuple[int, ...] | None:
    """Return the shape of a tensor of real numbers, None for any other value."""
    return tuple(value.shape) if hasattr(value, "is_complex") and not value.is_complex() else None


def _sizes(value: Any) -> tuple[int, ...] | None:
    """Return a tensor's shape; None if it depends on values, or for several tensors."""
    shape = getattr(value, "shape", None)
    return tuple(shape) if shape is not None and all(isinstance(n, int) for n in shape) else None


def _holds_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) or (
        isinstance(value, list | tuple) and any(isinstance(item, Tensor) for item in value)
    )


def _flat(values: Any) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from _flat(value)
        else:
            yield value


def _named_arguments(target: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call by the names of the operator's schema, defaults included."""
    named: dict[str, Any] = {}
    for number, argument in enumerate(target._schema.arguments):
        if number < len(args):
            named[argument.name] = args[number]
        else:
            named[argument.name] = kwargs.get(argument.name, argument.default_value)
    return named


def _as_array(tensor: Any) -> Array:
    """Return a copy of a constant tensor as an array; half precision becomes float32."""
    array: Array = from_tensor(tensor)
    if array.dtype.kind == "c":
        raise UnsupportedError("its constants are complex")
    return array
