"""The nodes of an ONNX graph in plain Python: attributes with their defaults, in an order in which they can be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any, Final

from convmatrix.frameworks.onnx_files import onnx_package

if TYPE_CHECKING:
    from convmatrix.frameworks.builder import Shape

OLDEST_OPSET: Final = 7
MOST_NESTED: Final = 16
"""Greatest depth of graphs within attributes of nodes."""


@dataclass(frozen=True, eq=False)
class OnnxNode:
    """A node of an ONNX graph."""

    name: str  # or that of its first output
    operator: str
    domain: str  # empty for ONNX's own operators
    version: int  # of the operator set
    inputs: tuple[str, ...]  # names of tensors, empty where an optional one is left out
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]  # those of the file, and the defaults of the others
    given: tuple[str, ...]  # names of the attributes in the file
    captured: tuple[str, ...]  # tensors that graphs within its attributes read from outside
    schema: Any = field(repr=False)  # onnx.defs.OpSchema; None if ONNX has no such operator in this version
    proto: Any = field(repr=False)  # onnx.NodeProto

    @property
    def described(self) -> str:
        """The node for messages."""
        return f"node {self.name!r} ({self.operator})"

    @property
    def reads(self) -> list[str]:
        """Names of all tensors that it reads."""
        return [name for name in (*self.inputs, *self.captured) if name]


def operator_sets(model: Any) -> dict[str, int]:
    """Return the version of each operator set of a model; raise ValueError for one that is too old or too new."""
    onnx = onnx_package()
    versions = {_domain(entry.domain): int(entry.version) for entry in model.opset_import}
    newest = onnx.defs.onnx_opset_version()
    version = versions.get("")
    if version is None:
        raise ValueError("the model does not say which operator set it uses; export it again with a newer exporter")
    if version < OLDEST_OPSET:
        raise ValueError(
            f"the model uses operator set {version}, but {OLDEST_OPSET} to {newest} are read; convert it with "
            "onnx.version_converter.convert_version"
        )
    if version > newest:
        raise ValueError(
            f"the model uses operator set {version}, but onnx {onnx.__version__} knows those up to {newest}; "
            "update the package onnx"
        )
    return versions


def graph_nodes(graph: Any, versions: Mapping[str, int], known: Iterable[str]) -> list[OnnxNode]:
    """Return the nodes of a graph, each after those that it reads.

    ``versions`` are those of `operator_sets`, and ``known`` the tensors that exist before the nodes: inputs,
    initializers, and those of an outer graph. ValueError if a tensor is missing or made twice, or nodes form a cycle.
    """
    nodes = [_node(proto, versions) for proto in graph.node]
    available = set(known)
    makers: dict[str, int] = {}
    for number, node in enumerate(nodes):
        for output in filter(None, node.outputs):
            if output in makers or output in available:
                raise ValueError(f"{node.described} makes the tensor {output!r}, which exists already; rename one")
            makers[output] = number
    for node in nodes:
        for name in node.reads:
            if name not in makers and name not in available:
                raise ValueError(
                    f"{node.described} reads {name!r}, which is not an input, initializer or output of a node; "
                    "export the model again"
                )
    edges = {n: {makers[name] for name in node.reads if name in makers} for n, node in enumerate(nodes)}
    if all(source < number for number, sources in edges.items() for source in sources):
        return nodes
    try:
        return [nodes[number] for number in TopologicalSorter(edges).static_order()]
    except CycleError as error:
        names = ", ".join(repr(nodes[number].name) for number in sorted(set(error.args[1]))[:8])
        raise ValueError(f"the nodes {names} form a cycle; export the model again") from None


def _domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _node(proto: Any, versions: Mapping[str, int]) -> OnnxNode:
    onnx = onnx_package()
    name = proto.name or next((output for output in proto.output if output), proto.op_type)
    domain = _domain(proto.domain)
    version = versions.get(domain, 0)
    what = f"node {name!r} ({proto.op_type})"
    try:
        schema = onnx.defs.get_schema(proto.op_type, version, domain)
        schema = None if schema.deprecated else schema
    except (onnx.defs.SchemaError, TypeError):
        schema = None
    given = {}
    for attribute in proto.attribute:
        if attribute.name in given:
            raise ValueError(f"{what} has the attribute {attribute.name!r} twice; export the model again")
        given[attribute.name] = _value(onnx, attribute, what)
    attributes = dict(given)
    if schema is not None:
        _check_signature(onnx, proto, schema, what)
        for key, described in schema.attributes.items():
            if key not in given and described.default_value.name:
                attributes[key] = _value(onnx, described.default_value, what)
    graphs = [graph for attribute in proto.attribute for graph in _graphs(attribute)]
    captured = sorted({name for graph in graphs for name in _captured(graph, what, 1)})
    return OnnxNode(
        name, proto.op_type, domain, version, tuple(proto.input), tuple(proto.output),
        attributes, tuple(given), tuple(captured), schema, proto,
    )  # fmt: skip


def _check_signature(onnx: Any, proto: Any, schema: Any, what: str) -> None:
    """Raise if a node has too many or too few inputs or outputs, or an attribute of another type than its operator."""
    for word, names, least, most in (
        ("inputs", proto.input, schema.min_input, schema.max_input),
        ("outputs", proto.output, schema.min_output, schema.max_output),
    ):
        if not least <= len(names) <= most:
            raise ValueError(f"{what} has {len(names)} {word}, but the operator has {least} to {most}")
    for attribute in proto.attribute:
        described = schema.attributes.get(attribute.name)
        if described is not None and int(described.type.value) != attribute.type:
            found = onnx.AttributeProto.AttributeType.Name(attribute.type)
            raise ValueError(f"{what} has the attribute {attribute.name!r} of type {found}, not {described.type.name}")
    for key, described in schema.attributes.items():
        if described.required and key not in {attribute.name for attribute in proto.attribute}:
            raise ValueError(f"{what} lacks the attribute {key!r}, which the operator requires")


def _value(onnx: Any, attribute: Any, what: str) -> Any:
    """Return an attribute's value: numbers, strings and lists of them; tensors and graphs as they are."""
    if attribute.ref_attr_name:
        raise ValueError(f"{what} has the attribute {attribute.name!r} that refers to one of a function outside of it")
    try:
        value = onnx.helper.get_attribute_value(attribute)
    except ValueError as error:
        raise ValueError(f"{what} has an attribute {attribute.name!r} that cannot be read ({error})") from None
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if attribute.type == onnx.AttributeProto.STRINGS:
        return [text.decode("utf-8", "replace") for text in value]
    if attribute.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS):
        return list(value)
    return value


def _graphs(attribute: Any) -> Iterator[Any]:
    if attribute.HasField("g"):
        yield attribute.g
    yield from attribute.graphs


def _captured(graph: Any, what: str, depth: int) -> set[str]:
    """Return the names that a graph within an attribute reads from outside."""
    if depth > MOST_NESTED:
        raise ValueError(f"{what} has graphs within graphs, more than {MOST_NESTED} deep; simplify the model")
    made = {entry.name for entries in (graph.input, graph.initializer) for entry in entries}
    made |= {entry.values.name for entry in graph.sparse_initializer}
    made |= {output for node in graph.node for output in node.output}
    read = {name for node in graph.node for name in node.input} | {entry.name for entry in graph.output}
    inner = [g for node in graph.node for attribute in node.attribute for g in _graphs(attribute)]
    return {n for n in read.union(*(_captured(g, what, depth + 1) for g in inner)) if n and n not in made}


def declared_shape(value: Any) -> list[int | str | None] | None:
    """Return the declared sizes of a graph's input: a number, the name of an open one or None; None without a shape."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    sizes: list[int | str | None] = []
    for dim in tensor.shape.dim:
        fixed = dim.HasField("dim_value") and dim.dim_value > 0  # some exporters write 0 or -1 for an open size
        sizes.append(int(dim.dim_value) if fixed else dim.dim_param or None)
    return sizes


def declared_shapes(graph: Any) -> dict[str, Shape]:
    """Return the shapes that a graph declares for the results of its nodes, of those whose sizes are all fixed."""
    shapes = {}
    for value in (*graph.value_info, *graph.output):
        sizes = declared_shape(value) or []
        fixed = tuple(n for n in sizes if isinstance(n, int))
        if sizes and len(fixed) == len(sizes):
            shapes[value.name] = fixed
    return shapes
