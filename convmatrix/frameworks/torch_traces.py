"""Traces of PyTorch modules by torch.export, and which of their numbers depend on the size of the batch."""

from __future__ import annotations

import io
import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from itertools import count, islice
from typing import Any, Final

from convmatrix.frameworks.torch_layers import LAYERS
from convmatrix.frameworks.torch_operators import FUNCTIONS_AND_REDUCTIONS
from convmatrix.frameworks.torch_rearrangements import REARRANGEMENTS

_COMPUTING: Final = {**LAYERS, **FUNCTIONS_AND_REDUCTIONS}
OPERATORS: Final = {**_COMPUTING, **REARRANGEMENTS}
"""The translation of each operator, by its name without namespace and overload."""

_REMEDY = (
    "give the shape of one sample, without the batch, change the module so that torch.export accepts it, or export it "
    "with torch.onnx.export(...) and read the file with Network.from_onnx"
)


def traced(torch: Any, module: Any, shape: tuple[int, ...], dtype: Any) -> tuple[Any, set[Any]]:
    """Return the program of a module in evaluation mode, and its nodes that compute with the size of the batch.

    The batch has several samples, of a number that divides no size of the module, so that its axis is known in every
    shape; or one, if the module takes no more. The type of its input is that of the weights, or else ``dtype``.
    """
    options = _example_options(torch, module, dtype)
    sizes = {*shape, *(n for tensor in (*module.parameters(), *module.buffers()) for n in tensor.shape if n)}
    several, others = islice((p for p in _primes() if all(n % p for n in sizes)), 2)
    sized: set[Any] = set()
    try:
        program = _exported(torch, module, torch.empty((several, *shape), **options))
        numbers = (number for node in program.graph.nodes for number in _numbers_of(node))
        if _constants_of(program) or any(_may_hold(number, several) for number in numbers):
            sized = _different(program, _exported(torch, module, torch.empty((others, *shape), **options)))
    except ValueError:
        program = _exported(torch, module, torch.empty((1, *shape), **options))
    return program, sized


def _primes() -> Iterator[int]:
    """Return the primes from 7 on: those that divide neither the sizes of most modules nor powers of ten."""
    return (n for n in count(7, 2) if all(n % d for d in range(3, math.isqrt(n) + 1, 2)))


def _numbers_of(node: Any) -> list[float]:
    """Return the numbers that an operator computes with, as opposed to sizes and places."""
    if node.op != "call_function" or operator_name(node.target) in REARRANGEMENTS:
        return []
    numbers = [value for value in (*node.args, *node.kwargs.values()) if isinstance(value, int | float)]
    return [float(value) for value in numbers if not isinstance(value, bool)]


def _may_hold(number: float, size: int) -> bool:
    """Return whether a number may have been computed from the size of the batch, a prime, or from its neighbours.

    Numbers of many digits, such as roots and inverses of primes, may; of others, those that are near its multiples.
    """
    if number == 0 or not math.isfinite(number):
        return False
    if float(f"{number:.6g}") != number:
        return True
    twice = round(abs(2 * number))
    if twice != abs(2 * number):
        return round(abs(number) * 10**6) % size == 0
    return any(n and n % size == 0 for n in range(twice - 2, twice + 3)) or any(
        twice % n == 0 for n in (size - 1, size + 1)
    )


def _different(program: Any, other: Any) -> set[Any]:
    """Return the nodes that compute with other numbers, or are others, in a trace of another size of the batch."""
    constants, twins = _constants_of(program), _constants_of(other)
    placed = {n.name: n for n in program.graph.nodes if n.op == "placeholder"}
    changed = {placed[name] for name, value in constants.items() if not _equal(value, twins.get(name))}
    nodes, others = ([n for n in p.graph.nodes if n.op == "call_function"] for p in (program, other))
    if [n.target for n in nodes] != [n.target for n in others]:
        return changed | {node for node in nodes if _numbers_of(node)}
    pairs = zip(nodes, others, strict=True)
    return changed | {node for node, twin in pairs if _numbers_of(node) != _numbers_of(twin)}


def _constants_of(program: Any) -> dict[str, Any]:
    """Return the tensors that a module's forward makes of numbers, by the names of their nodes."""
    lifted = program.graph_signature.inputs_to_lifted_tensor_constants
    return {name: program.constants[place] for name, place in lifted.items()}


def _equal(value: Any, other: Any) -> bool:
    """Return whether two tensors are equal, where both have values."""
    return other is not None and value.shape == other.shape and bool((value == other).all())


def _example_options(torch: Any, module: Any, dtype: Any) -> dict[str, Any]:
    """Return dtype and device of an input, those of the first weights in floating point; check that weights exist."""
    lazy = [name for name, p in module.named_parameters() if isinstance(p, torch.nn.parameter.UninitializedTensorMixin)]
    if lazy:
        raise ValueError(
            f"parameter {lazy[0]!r} has no values yet; a lazy module has to see one input before it can be read: call "
            "module(torch.zeros(1, *input_shape))"
        )
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point():
            if tensor.is_meta:
                raise ValueError("the module's parameters are on the device 'meta', which holds no values; load them")
            return {"dtype": tensor.dtype, "device": tensor.device}
    return {"dtype": torch.float64} if dtype == "float64" else {}


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


@contextmanager
def _silence(torch: Any) -> Iterator[None]:
    """Hide what torch.export writes about a failure, such as its whole graph; the error has the relevant part.

    It need not note the lines of code that call each operator either, which takes time.
    """
    disabled, noted = logging.root.manager.disable, getattr(torch.fx.config, "do_not_emit_stack_traces", False)
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        torch.fx.config.do_not_emit_stack_traces = True
        try:
            yield
        finally:
            torch.fx.config.do_not_emit_stack_traces = noted
            logging.disable(disabled)


def _exported(torch: Any, module: Any, example: Any) -> Any:
    """Return the program that torch.export traces, with the operators that are known left whole."""
    try:
        with _evaluation(module), torch.no_grad(), _silence(torch):
            program = torch.export.export(module, (example,))
            table = torch.export.default_decompositions()
            if _needs_decomposition(program, table):
                for operator in [*table.keys()]:
                    if operator_name(operator) in OPERATORS:
                        table.pop(operator, None)
                program = program.run_decompositions(table)
    except Exception as error:  # torch.export raises errors of many types, its own and the module's
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(
            f"torch.export cannot trace {type(module).__name__} for an input of shape {tuple(example.shape)}, which is "
            f"input_shape with a batch in front: {reason[0][:300]}; {_REMEDY}"
        ) from error
    return program


def operator_name(target: Any) -> str:
    """Return an operator's name without namespace and overload, such as ``conv2d``."""
    schema = getattr(target, "_schema", None)
    return str(schema.name).rpartition("::")[2] if schema is not None else getattr(target, "__name__", str(target))


def _needs_decomposition(program: Any, table: Any) -> bool:
    """Return whether to decompose a program: it has unknown operators on the input, or in-place writes to others."""
    known = True
    given: set[str] = set(program.graph_signature.user_inputs)
    dependent: set[Any] = set()
    for node in program.graph.nodes:
        if node.name in given or not dependent.isdisjoint(node.all_input_nodes):
            dependent.add(node)
        schema = getattr(node.target, "_schema", None)
        if schema is None or node.op != "call_function":
            continue
        if schema.is_mutable:
            _check_write(node)
            if not _rewrites_own_input(node):
                return True
        elif node in dependent and node.users and operator_name(node.target) not in OPERATORS:
            known = known and node.target not in table and not node.target._can_decompose()
    return not known


def _check_write(node: Any) -> None:
    """Raise if an operator writes to the output of a dropout, which torch.export wrongly treats as a copy."""
    written, source = node.args[0], None
    while getattr(written, "op", "") == "call_function" and "dropout" in operator_name(written.target):
        source = written = written.args[0]
        if len(source.users) > 1:
            raise ValueError(f"{node.target} writes to the result of a dropout, whose input is read elsewhere")


def _rewrites_own_input(node: Any) -> bool:
    """Return whether an operator works in place on the new result of another one, which nothing else reads."""
    source = node.args[0]
    made_new = getattr(source, "op", "") == "call_function" and (
        operator_name(source.target) in _COMPUTING or _rewrites_own_input(source)
    )
    name = operator_name(node.target)
    return made_new and len(source.users) == 1 and name.endswith("_") and name[:-1] in OPERATORS
