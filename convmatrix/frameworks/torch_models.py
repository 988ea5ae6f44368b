"""PyTorch modules read into a network, through the graph that `torch.export` traces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix import options as validate
from convmatrix.arrays import from_tensor
from convmatrix.frameworks.builder import NetworkBuilder, Tensor, UnsupportedError
from convmatrix.frameworks.torch_operators import OPERATORS as COMPUTING
from convmatrix.frameworks.torch_operators import Call
from convmatrix.frameworks.torch_rearrangements import REARRANGEMENTS

if TYPE_CHECKING:
    from convmatrix.arrays import Array
    from convmatrix.network import Network

OPERATORS = {**COMPUTING, **REARRANGEMENTS}
_REMEDY = (
    "change the module so that torch.export accepts it, or export it with torch.onnx.export(...) and read the file "
    "with Network.from_onnx"
)


def network_from_torch(module: Any, input_shape: int | Sequence[int], *, name: str | None = None) -> Network:
    """Return the network of a PyTorch module in evaluation mode.

    Parameters
    ----------
    module : torch.nn.Module
        Any module with one tensor as its input that `torch.export.export` can trace. It is traced in evaluation mode
        and left in the mode it was in.
    input_shape : int or sequence of int
        Shape of one sample of the input, without the batch: ``(3, 224, 224)``.
    name : str, optional
        Of the network; by default the module's class.

    Returns
    -------
    Network
        Its nodes are named after the modules, such as ``"layer1.0.conv1"``; an operator called in a module's own
        ``forward`` has its name appended, such as ``"layer1.0.add"``. Weights are copies; half precision becomes
        float32. An operator that is not known becomes an opaque node.

    Raises
    ------
    ImportError
        If PyTorch is not installed.
    TypeError
        If ``module`` is not a module.
    ValueError
        If the module cannot be traced, or has parameters without values.
    """
    return _reader(module, input_shape, name).read()


def values_of_torch(module: Any, x: Array) -> dict[str, Array]:
    """Return the values that PyTorch computes for each node of a module's network, for a batch."""
    reader = _reader(module, x.shape[1:], None)
    reader.read()
    samples = [reader.evaluate(sample) for sample in x]
    return {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}


def _reader(module: Any, input_shape: int | Sequence[int], name: str | None) -> _GraphReader:
    """Return the reader of a module, which is traced."""
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
    example = torch.zeros((1, *shape), **_example_options(torch, module))
    program = _exported(torch, module, example)
    return _GraphReader(torch, module, program, name or type(module).__name__)


def _example_options(torch: Any, module: Any) -> dict[str, Any]:
    """Return dtype and device of an input, those of the first weights in floating point; check that weights exist."""
    lazy = [name for name, p in module.named_parameters() if isinstance(p, torch.nn.parameter.UninitializedTensorMixin)]
    if lazy:
        raise ValueError(
            f"parameter {lazy[0]!r} has no values yet; a lazy module has to see one input before it can be read"
        )
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point():
            if tensor.is_meta:
                raise ValueError("the module's parameters are on the device 'meta', which holds no values; load them")
            return {"dtype": tensor.dtype, "device": tensor.device}
    return {}


@contextmanager
def _evaluation(module: Any) -> Iterator[None]:
    """Put a module into evaluation mode, and each of its parts back into its own mode afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    try:
        module.eval()
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def _exported(torch: Any, module: Any, example: Any) -> Any:
    """Return the program that torch.export traces, with the operators that are known left whole."""
    import logging
    import warnings

    try:
        with _evaluation(module), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            logging.getLogger("torch.export").setLevel(logging.ERROR)
            program = torch.export.export(module, (example,))
            targets = {node.target for node in program.graph.nodes if node.op == "call_function"}
            if any(_needs_decomposition(target) for target in targets):
                table = torch.export.default_decompositions()
                for operator in [*table.keys()]:
                    if _operator_name(operator) in OPERATORS:
                        table.pop(operator, None)
                program = program.run_decompositions(table)
    except Exception as error:  # torch.export raises errors of many types, its own and the module's
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(
            f"torch.export cannot trace {type(module).__name__} for an input of shape {tuple(example.shape)}: "
            f"{reason[0][:300]}; {_REMEDY}"
        ) from error
    return program


def _operator_name(target: Any) -> str:
    """Return an operator's name without namespace and overload, such as ``conv2d``."""
    schema = getattr(target, "_schema", None)
    return str(schema.name).rpartition("::")[2] if schema is not None else getattr(target, "__name__", str(target))


def _needs_decomposition(target: Any) -> bool:
    schema = getattr(target, "_schema", None)
    return schema is not None and (schema.is_mutable or _operator_name(target) not in OPERATORS)


class _GraphReader:
    """Translates an exported program node by node."""

    def __init__(self, torch: Any, module: Any, program: Any, name: str) -> None:
        self.torch = torch
        self.modules = dict(module.named_modules())
        self.program = program
        self.values: dict[Any, Any] = {}
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
        with torch.no_grad():
            for node in program.graph.nodes:
                if node.op == "placeholder" and node.name in held:
                    self.values[node] = constants[held[node.name]].detach()
                elif node.op == "placeholder":
                    self.builder = NetworkBuilder(self.name, "input", tuple(node.meta["val"].shape))
                    self.values[node] = self.builder.input
                elif node.op == "get_attr":
                    self.values[node] = getattr(program.graph_module, node.target)
                elif node.op == "call_function":
                    self.values[node] = self._call(node)
        user_outputs = set(signature.user_outputs)
        (last,) = (node for node in program.graph.nodes if node.op == "output")
        outputs = [self.values[node] for node in last.args[0] if getattr(node, "name", None) in user_outputs]
        tensors = [output for output in outputs if isinstance(output, Tensor)]
        if not tensors:
            raise ValueError(f"no output of {self.name} depends on its input, so there is no network")
        return self.builder.finish(tensors)

    def evaluate(self, sample: Array) -> dict[str, Array]:
        """Return the values of all nodes for one sample, computed by PyTorch."""
        torch, computed = self.torch, {}
        found: dict[str, Array] = {}
        with torch.no_grad():
            for node in self.program.graph.nodes:
                value = self.values.get(node)
                if isinstance(value, Tensor) and node.op == "placeholder":
                    meta = node.meta["val"]
                    computed[node] = torch.as_tensor(sample[None], dtype=meta.dtype, device=meta.device)
                elif node.op in ("placeholder", "get_attr"):
                    computed[node] = value
                elif node.op == "call_function":
                    args = torch.fx.map_arg(node.args, computed.__getitem__)
                    computed[node] = node.target(*args, **torch.fx.map_arg(node.kwargs, computed.__getitem__))
                if isinstance(value, Tensor) and value.shape == tuple(getattr(computed[node], "shape", ())):
                    array = _as_array(computed[node])
                    found[value.node] = array if value.batch is None else array.take(0, axis=value.batch)
        return found

    def _node_name(self, node: Any) -> str:
        """Return the name of the innermost module, with the operator's name unless it is a layer of torch.nn."""
        path = _module_path(node)
        module: Any = self.modules.get(path)
        operator = _operator_name(node.target).strip("_")
        if not path:
            return operator
        is_layer = module is not None and type(module).__module__.startswith("torch.nn.")
        return path if is_layer and not any(module.children()) else f"{path}.{operator}"

    def _call(self, node: Any) -> Any:
        """Return the value of a call: constants are computed by PyTorch, tensors become nodes of the network."""
        args = self.torch.fx.map_arg(node.args, lambda n: self.values[n])
        kwargs = self.torch.fx.map_arg(node.kwargs, lambda n: self.values[n])
        operator = _operator_name(node.target)
        tensors = [value for value in _flat([*args, *kwargs.values()]) if isinstance(value, Tensor)]
        if operator == "getitem":
            return args[0][args[1]]
        if not tensors:
            return node.target(*args, **kwargs)
        name = self._node_name(node)
        try:
            if operator not in OPERATORS:
                raise UnsupportedError("")
            arguments = _named_arguments(node.target, args, kwargs)
            result = OPERATORS[operator](Call(self.builder, name, arguments, self._merged_padding(node)))
            if isinstance(result, Tensor) and result.shape not in (None, _shape(node)):
                raise UnsupportedError(f"it gives shape {_shape(node)}, but was read as {result.shape}")
            return result
        except UnsupportedError as error:
            return self._opaque(node, name, tensors, str(error))

    def _opaque(self, node: Any, name: str, tensors: list[Tensor], reason: str) -> Any:
        operator = str(node.target).removesuffix(".default")
        values = node.meta.get("val")
        if isinstance(values, tuple | list):
            shapes = [tuple(value.shape) if hasattr(value, "shape") else None for value in values]
            return [self.builder.opaque(name, operator, tensors, shape, reason) for shape in shapes]
        return self.builder.opaque(name, operator, tensors, _shape(node), reason)

    def _merged_padding(self, node: Any) -> Any:
        """Return for a convolution the padding that its module applies before it; for such a padding, True.

        A convolution module with a padding mode is exported as two operators, which are one layer.
        """
        operator = _operator_name(node.target)
        if operator == "pad":
            users = list(node.users)
            paths = {_module_path(n) for n in (node, *users)}
            if len(users) == 1 and _operator_name(users[0].target) in _CONVOLUTIONS and len(paths) == 1:
                x = self.values[node.args[0]]
                amounts, mode = node.args[1], node.args[2] if len(node.args) > 2 else "constant"
                if isinstance(x, Tensor) and mode in ("circular", "reflect", "replicate"):
                    self.padding[users[0]] = (x, list(amounts), mode)
                    return True
        return self.padding.get(node)


def _module_path(node: Any) -> str:
    """Return the name of the innermost module that calls an operator; empty for the outermost one."""
    stack = node.meta.get("nn_module_stack") or {}
    return [str(entry[0]) for entry in stack.values()][-1] if stack else ""


_CONVOLUTIONS = ("conv1d", "conv2d", "conv3d")


def _shape(node: Any) -> tuple[int, ...] | None:
    """Return the shape of a node's value, None if it has no single shape."""
    shape = getattr(node.meta.get("val"), "shape", None)
    return tuple(int(n) for n in shape) if shape is not None else None


def _flat(values: Any) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from _flat(value)
        else:
            yield value


def _named_arguments(target: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call by the names of the operator's schema, defaults included; tensors as arrays."""
    named: dict[str, Any] = {}
    for number, argument in enumerate(target._schema.arguments):
        if number < len(args):
            value = args[number]
        else:
            value = kwargs.get(argument.name, argument.default_value)
        named[argument.name] = _as_array(value)
    return named


def _as_array(value: Any) -> Any:
    """Return constant tensors as arrays, in lists too; half precision becomes float32."""
    if isinstance(value, list | tuple):
        return [_as_array(item) for item in value]
    array = from_tensor(value)
    if getattr(array, "dtype", np.dtype(float)) in (np.complex64, np.complex128):
        raise UnsupportedError("its constants are complex")
    return array
