"""The rows of a report and its totals, as dictionaries of plain Python values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix.counts.parameters import repeated_parameters
from convmatrix.counts.storage import csr_bytes
from convmatrix.equivariance import known_shifts
from convmatrix.graph import FieldSize, receptive_field_sizes
from convmatrix.network import Convolution, FullyConnected, Network, Node, Opaque, PatternMap
from convmatrix.progress import Progress, quiet, report_step, reporting
from convmatrix.report.node_measures import Measures, node_label, node_measures
from convmatrix.spectral.node_norms import Bounds, NoBoundError, node_norm

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

Row = dict[str, Any]

_SUMS = ("parameters", "biases", "nonzeros", "multiply_adds", "macs", "flops", "csr_bytes")


def report_rows(
    network: Network, norms: bool, dtype: DTypeLike, progress: Progress, client: Any = None
) -> tuple[list[Row], Row]:
    """Return the rows of a network's report, one per node, and the row of totals."""
    item = np.dtype(dtype).itemsize
    fields, shifts = receptive_field_sizes(network), _shifts(network)
    measures = {node.name: node_measures(node) for node in network.nodes}
    bounds: dict[str, Bounds | str] = {}
    if norms:
        with reporting(progress, "norms"):
            bounds = _all_norms(network, measures, client)
    rows = []
    for node in network.nodes:
        row = {
            "name": node.name,
            "kind": node_label(node),
            "inputs": list(node.inputs),
            "input_shapes": [list(shape) for shape in node.input_shapes],
            "output_shape": list(node.output_shape),
            **_counts(measures[node.name], node, item),
            **_field(fields[node.name]),
            **_shift(shifts[node.name]),
            **_norm(bounds.get(node.name, "not requested")),
        }
        rows.append(row)
    return rows, _total(network, rows, measures)


def _counts(measures: Measures, node: Node, item: int) -> Row:
    nonzeros, macs = measures.nonzeros, measures.macs
    n_out, n_in = math.prod(node.output_shape), sum(math.prod(shape) for shape in node.input_shapes)
    return {
        "parameters": measures.parameters,
        "biases": measures.biases,
        "nonzeros": nonzeros,
        "density": measures.density,
        "multiply_adds": measures.multiply_adds,
        "macs": macs,
        "flops": None if macs is None else 2 * macs,
        "csr_bytes": None if nonzeros is None else csr_bytes(nonzeros, n_out, n_in, item),
    }


def _field(found: FieldSize | str) -> Row:
    """Return the values of a node's receptive field, or the reason why there are none."""
    names = ("size", "stride", "start", "centre")
    if isinstance(found, str):
        return {**{f"field_{name}": None for name in names}, "field_reason": found}
    return {**{f"field_{name}": list(getattr(found, name)) for name in names}, "field_reason": None}


def _shifts(network: Network) -> dict[str, tuple[int, ...] | str]:
    """Return the known shifts of every node, or the reason why there are none."""
    if len(network.input_shape) < 2:
        nowhere = f"the input has shape {network.input_shape}, which has no spatial axes"
        return dict.fromkeys((node.name for node in network.nodes), nowhere)
    found: dict[str, tuple[int, ...] | str] = {}
    amounts = known_shifts(network)
    for node in network.nodes:
        reasons = [reason for source in node.inputs if isinstance(reason := found[source], str)]
        if isinstance(node.operation, Opaque):
            reasons = [f"node {node.name!r} has the operator {node.operation.operator}, which is not known"]
        found[node.name] = reasons[0] if reasons else amounts[node.name]
    return found


def _shift(found: tuple[int, ...] | str) -> Row:
    if isinstance(found, str):
        return {"shift": None, "shift_reason": found}
    return {"shift": list(found), "shift_reason": None}


def _all_norms(network: Network, measures: dict[str, Measures], client: Any) -> dict[str, Bounds | str]:
    """Return bounds on the norm of every node, or the reason why there are none; nodes with weights on the workers."""
    found: dict[str, Bounds | str] = {}
    finished: list[str] = []

    def done(node: Node) -> None:
        finished.append(node.name)
        report_step(len(finished), len(network.nodes), node.name)

    sent: list[Node] = []
    for node in network.nodes:
        if client is not None and isinstance(node.operation, Convolution | FullyConnected | PatternMap):
            sent.append(node)
            continue
        with quiet():
            found[node.name] = _bounds_or_reason(node)
        done(node)
    if sent:
        from convmatrix.distributed.workers import map_nodes

        sent.sort(key=lambda node: measures[node.name].macs or 0, reverse=True)  # the longest first
        found |= map_nodes(_bounds_or_reason, sent, client, done)
    return found


def _bounds_or_reason(node: Node) -> Bounds | str:
    try:
        lower, upper = node_norm(node)
    except NoBoundError as error:
        return str(error)
    return (lower, upper) if math.isfinite(upper) else "no finite bound was found"


def _norm(found: Bounds | str) -> Row:
    lower, upper = (None, None) if isinstance(found, str) else found
    return {"norm_lower": lower, "norm_upper": upper, "norm_reason": found if isinstance(found, str) else None}


def _total(network: Network, rows: list[Row], measures: dict[str, Measures]) -> Row:
    """Return the sums over all nodes, with the receptive field and the shift of the (first) output."""
    unknown = [name for name, found in measures.items() if not found.known]
    sums = {name: sum(row[name] for row in rows if row[name] is not None) for name in _SUMS}
    weights, biases = repeated_parameters(network.nodes)
    sums["parameters"] -= weights + biases
    sums["biases"] -= biases
    entries = sum(found.entries or 0 for found in measures.values())
    output = next(row for row in rows if row["name"] == network.outputs[0])
    passed_on = {name: value for name, value in output.items() if name.startswith(("field_", "shift"))}
    return {
        "name": "total",
        "kind": "network",
        "inputs": [],
        "input_shapes": [list(network.input_shape)],
        "output_shape": list(network.output_shape),
        **sums,
        "density": sums["nonzeros"] / entries if entries else None,
        **passed_on,
        "norm_lower": None,
        "norm_upper": None,
        "norm_reason": "the norms of nodes do not add up",
        "complete": not unknown,
        "unknown": unknown,
    }
