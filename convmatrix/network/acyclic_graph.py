"""Networks: nodes in topological order, evaluation of a batch, matrices of linear nodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix.arrays import array, from_tensor
from convmatrix.display.tables import ShownAsTable, Table, by
from convmatrix.network.agreement import Agreement, compare
from convmatrix.network.construction import (
    Node,
    as_nodes,
    check_declared,
    checked_shape,
    listed_names,
    topological,
    with_sources,
)
from convmatrix.network.derivatives import named
from convmatrix.network.linearisation import Linearisation, linearise

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from convmatrix.arrays import Array
    from convmatrix.network.operations import Shape
    from convmatrix.progress import Progress
    from convmatrix.report import Report


@dataclass(frozen=True, eq=False, repr=False)
class Network(ShownAsTable):
    """A directed acyclic graph of operations, from one input to one or more outputs.

    Parameters
    ----------
    nodes : sequence of Node, Operation, ConvGeometry or WeightPattern
        In any order, as long as there is no cycle. A node without inputs reads the one before it. An operation alone
        is named after its kind and its number; a geometry is a convolution without values, a pattern a linear layer.
        The first node may be an `Input`; where it is missing, the shape is that of the first layer.
    outputs : sequence of str, optional
        Names of the output nodes; by default the last node.
    name : str

    Attributes
    ----------
    nodes : tuple of Node
        In topological order, with shapes.
    outputs : tuple of str
    input_shape, output_shape : tuple of int
        Shapes of one sample; the output's is that of the first output.

    Raises
    ------
    ValueError
        If names repeat, a node reads an unknown one, nodes form a cycle or shapes do not fit; the message names the
        node.

    Examples
    --------
    >>> import numpy as np
    >>> import convmatrix as cm
    >>> from convmatrix.network import Convolution, Elementwise, Network
    >>> network = Network([Convolution(cm.ConvGeometry(4, 2), [1, -1], [10]), Elementwise("relu")])
    >>> network
    Network('network', 3 nodes, (1, 4) -> (1, 3))
    >>> network(np.array([[[1.0, 2.0, 4.0, 20.0]]]))
    array([[[9., 8., 0.]]])
    """

    nodes: tuple[Node, ...]
    outputs: tuple[str, ...] = ()
    name: str = "network"
    _by_name: dict[str, Node] = field(default_factory=dict, init=False)

    def __init__(self, nodes: Iterable[Any], outputs: Sequence[str] | None = None, name: str = "network") -> None:
        listed = as_nodes(nodes)
        ordered = topological(listed)
        known: dict[str, Node] = {}
        for node in ordered:
            shapes = tuple(known[source].output_shape for source in node.inputs)
            check_declared(node, shapes)
            known[node.name] = replace(node, input_shapes=shapes, output_shape=checked_shape(node, shapes))
        chosen = (listed[-1].name,) if outputs is None else tuple(outputs)
        for output in chosen:
            if output not in known:
                raise ValueError(f"output {output!r} is not a node; nodes are {listed_names(known)}")
        self.__dict__.update(nodes=tuple(known.values()), outputs=chosen, name=name, _by_name=known)

    @classmethod
    def from_torch(cls, module: Any, input_shape: int | Sequence[int]) -> Network:
        """Return the network of a PyTorch module in evaluation mode, traced by `torch.export`.

        Parameters
        ----------
        module : torch.nn.Module
            Any module with one tensor as its input that `torch.export` can trace; it keeps its mode.
        input_shape : int or sequence of int
            Shape of one sample, without the batch: ``(3, 224, 224)``.

        Returns
        -------
        Network
            It maps a batch as the module does, with the batch on the first axis of every output. Nodes are named after
            the modules, such as ``"layer1.0.conv1"``, and operators called in a module's own ``forward`` after the
            module and the operator, such as ``"layer1.0.add"``. Weights are copies; half precision becomes float32. An
            operator that is not known, is random, or combines samples of the batch becomes an `Opaque` node. A module
            that accepts batches of one sample only is read as what it computes for each sample.

        Raises
        ------
        ImportError
            If PyTorch is not installed.
        TypeError
            If ``module`` is not a module.
        ValueError
            If the module cannot be traced, or has parameters without values.
        """
        from convmatrix.frameworks import network_from_torch

        network: Network = network_from_torch(module, input_shape)
        return network

    @classmethod
    def from_onnx(
        cls,
        model: Any,
        input_shape: int | Sequence[int] | None = None,
        *,
        constants: Mapping[str, Any] | None = None,
        batch_axis: int | None = 0,
    ) -> Network:
        """Return the network of an ONNX model; the file need not be trusted.

        Sizes are compared with the data and with the available memory before anything is allocated, external data are
        read from the model's folder only, and nothing in the file is executed.

        Parameters
        ----------
        model : str, os.PathLike, bytes or onnx.ModelProto
            A path, the content of a file, or a model, of operator set 7 or newer.
        input_shape : int or sequence of int, optional
            Shape of one sample, without the batch: ``(3, 224, 224)``. Needed where the file leaves sizes open; it
            replaces those of the file.
        constants : dict of str to array_like, optional
            Values of further inputs, by their names.
        batch_axis : 0 or None
            None if the model's input is a single sample without a batch axis, as every input with one axis is.

        Returns
        -------
        Network
            Nodes have the names of the model's nodes, or of their first outputs; outputs are those of the model, in
            their order. What does not depend on the input is computed once. An operator, or an option of one, that is
            not known becomes an `Opaque` node. An open batch is read as one sample, and samples are treated one by one.

        Raises
        ------
        ImportError
            If the package onnx is not installed.
        OSError, ValueError
            If the file cannot be read, is damaged, leaves sizes open, or has several inputs.
        """
        from convmatrix.frameworks import network_from_onnx

        network: Network = network_from_onnx(model, input_shape, constants=constants, batch_axis=batch_axis)
        return network

    @property
    def input(self) -> Node:
        """The input node."""
        return self.nodes[0]

    @property
    def input_shape(self) -> Shape:
        """Shape of one sample of the input, channels first."""
        return self.input.output_shape

    @property
    def output_shape(self) -> Shape:
        """Shape of one sample of the first output."""
        return self[self.outputs[0]].output_shape

    def __getitem__(self, name: str) -> Node:
        """Return the node of a name."""
        if name not in self._by_name:
            raise KeyError(f"{self.name} has no node {name!r}; its nodes are {listed_names(self._by_name)}")
        return self._by_name[name]

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)

    def __repr__(self) -> str:
        return f"Network({self.name!r}, {len(self)} nodes, {self.input_shape} -> {self.output_shape})"

    def _table(self) -> Table:
        rows = [["node", "kind", "input", "output", "reads"]]
        for node in self.nodes:
            shapes = " + ".join(map(by, node.input_shapes))
            rows.append([node.name, node.kind, shapes, by(node.output_shape), ", ".join(node.inputs)])
        title = f"{self.name}: {by(self.input_shape)} to {by(self.output_shape)}, {len(self)} nodes"
        return Table(title, rows, left=5)

    def until(self, name: str) -> Network:
        """Return the part of the network that the node ``name`` depends on, with that node as the output.

        Examples
        --------
        >>> from convmatrix.network import as_network
        >>> as_network("lenet5").until("S2").output_shape
        (6, 14, 14)
        """
        needed = with_sources(self.nodes, [self[name].name])
        kept = [node for node in self.nodes if node.name in needed or node is self.input]
        return Network(kept, [name], self.name)

    # --- values ------------------------------------------------------------------------------------------------------

    def __call__(self, x: Array) -> Array:
        """Return the (first) output for a batch ``(batch, *input_shape)``, in the dtype of x."""
        return self.values(x, [self.outputs[0]])[self.outputs[0]]

    def values(self, x: Array, names: Sequence[str] | None = None) -> dict[str, Array]:
        """Return the values of some nodes for a batch; of all nodes if ``names`` is None.

        Parameters
        ----------
        x : array, shape (batch, *input_shape)
            Real numbers. float32 and float64 are computed in their own precision; integers in int64, up to the first
            operation that makes fractions of them.
        names : str or sequence of str, optional

        Raises
        ------
        ValueError
            If x has another shape, weights are absent, or an unknown operator would have to be evaluated; the message
            names the node.
        """
        x = self._checked_batch(x)
        names = [names] if isinstance(names, str) else names
        wanted = [node.name for node in self.nodes] if names is None else list(names)
        if not len(x):
            one = self.values(np.zeros((1, *self.input_shape), x.dtype), wanted)
            return {name: value[:0] for name, value in one.items()}
        needed = with_sources(self.nodes, [self[name].name for name in wanted])
        last_use = {source: node.name for node in self.nodes if node.name in needed for source in node.inputs}
        values: dict[str, Array] = {self.input.name: x}
        for node in self.nodes:
            if node.name not in needed or node is self.input:
                continue
            with named(node, (ValueError,)):
                values[node.name] = node.operation.evaluate([values[source] for source in node.inputs])
            for source in set(node.inputs):
                if last_use[source] == node.name and source not in wanted:
                    del values[source]
        return {name: values[name] for name in wanted}

    def _checked_batch(self, x: Array) -> Array:
        """Return a batch in a type that values are computed in, or raise if there is none or its shape is another."""
        x = array("x", x)
        if not x.ndim or x.shape[1:] != self.input_shape:
            raise ValueError(
                f"{self.name} takes arrays (batch, {', '.join(map(str, self.input_shape))}), but was given an array of "
                f"shape {x.shape}"
            )
        if x.dtype.kind not in "iu" and x.dtype not in (np.float32, np.float64):
            raise TypeError(
                f"{self.name} computes in float32, float64 or integers, but was given {x.dtype}; convert the data first"
            )
        return x if x.dtype.kind == "f" else x.astype(np.int64, copy=False)

    def check(
        self, x: Array, reference: Any, tolerance: float | None = None, *, constants: Mapping[str, Any] | None = None
    ) -> Agreement:
        """Return whether values equal those of another implementation, and the first node that differs.

        Parameters
        ----------
        x : array, shape (batch, *input_shape)
        reference : array, mapping of str to array, torch.nn.Module, or path of an ONNX file
            The expected output; expected values of some nodes by name; or the model that the network was read from,
            whose values are then computed by PyTorch or onnxruntime for every node that depends on no opaque one.
        tolerance : float, optional
            Of the largest difference relative to the largest value of a node; by default 1e-9, or 1e-4 if the data or a
            reference are float32, or 1e-2 if a reference is float16.
        constants : dict of str to array_like, optional
            Values of further inputs of an ONNX model, as for `from_onnx`.

        Returns
        -------
        Agreement
            True if all values agree; it prints the first node that differs.

        Examples
        --------
        >>> import numpy as np
        >>> from convmatrix.network import Elementwise, Input, Network
        >>> network = Network([Input((2,)), Elementwise("relu")])
        >>> network.check(np.array([[-1.0, 2.0]]), np.array([[0.0, 3.0]]))
        the first difference is at 'elementwise 2': 0.33 relative, more than 1e-09 (1 node compared)
        """
        x = self._checked_batch(x)
        reference = from_tensor(reference)
        if not isinstance(reference, Mapping | np.ndarray | list | tuple):
            from convmatrix.frameworks import reference_values

            reference = reference_values(reference, x, constants)
        return compare(self, x, reference, tolerance)

    def affine(self, name: str, dtype: Any = None) -> tuple[Any, Array]:
        """Return the sparse matrix and the bias of a linear node: ``y = A x + b`` on raveled samples.

        Parameters
        ----------
        name : str
            A convolution, dense layer, average pooling, scale, rearrangement, resize, addition or concatenation. A node
            of several inputs multiplies their concatenation, in the order of ``node.inputs``.
        dtype : dtype, optional
            By default that of the weights.

        Returns
        -------
        A : scipy.sparse.csr_array, shape (prod(output_shape), sum of prod(input shapes))
        b : array, shape (prod(output_shape),)

        Raises
        ------
        TypeError
            If the node is not linear.
        ValueError
            If its weights are absent.

        Examples
        --------
        >>> import convmatrix as cm
        >>> from convmatrix.network import Convolution, Network
        >>> network = Network([Convolution(cm.ConvGeometry(3, 2), [1, -1], [10])])
        >>> A, b = network.affine("convolution 1")
        >>> A.toarray(), b
        (array([[ 1, -1,  0],
               [ 0,  1, -1]]), array([10, 10]))
        """
        node = self[name]
        kind = None if dtype is None else np.dtype(dtype)
        with named(node):
            if kind is None or kind.kind == "f":
                return node.operation.affine(node.input_shapes, kind)
            A, b = node.operation.affine(node.input_shapes)
            if not all(np.array_equal(np.rint(values), values) for values in (A.data, b)):
                raise TypeError(f"the matrix or the bias has fractions, which dtype={kind} does not hold")
            return A.astype(kind), b.astype(kind)

    def linearise(self, x: Array, name: str | None = None) -> Linearisation:
        """Return the Jacobian and the constant of an output at one sample: ``f(x') = J x' + c`` near x.

        Parameters
        ----------
        x : array, shape input_shape or (1, *input_shape)
            float32 or float64, in which the Jacobian is computed; integers are converted to float64.
        name : str, optional
            The node to linearise, by default the first output.

        Returns
        -------
        Linearisation
            With ``operator`` J, ``offset`` c, ``exact`` and sparse ``rows(start, stop)`` of J.

        Raises
        ------
        ValueError
            If x has another shape, weights are absent or an operator is unknown; the message names the node.
        TypeError
            If the derivative of an operation is not known.

        Examples
        --------
        >>> import numpy as np
        >>> import convmatrix as cm
        >>> from convmatrix.network import Convolution, Elementwise, Network
        >>> network = Network([Convolution(cm.ConvGeometry(3, 2), [1, -1], [10]), Elementwise("relu")])
        >>> linear = network.linearise(np.array([[1.0, 2.0, 4.0]]))
        >>> linear.rows(0, 2).toarray(), linear.offset, linear.exact
        (array([[ 1., -1.,  0.],
               [ 0.,  1., -1.]]), array([10., 10.]), True)
        """
        return linearise(self, array("x", x), name)

    def report(
        self,
        norms: bool = False,
        dtype: DTypeLike = np.float64,
        progress: Progress = None,
        *,
        client: Any = None,
    ) -> Report:
        r"""Return what every node of the network is and costs, and the totals, without building anything.

        Parameters
        ----------
        norms : bool
            Whether to bound the norm of every node that has weights, which takes longer.
        dtype : dtype
            Of the values whose bytes are given.
        progress : bool or callable, optional
            As for `convmatrix.progress.reporting`, while norms are computed; a callable is called after every node.
        client : distributed.Client, optional
            Compute norms on the workers of this Dask client: several nodes at a time, and the frequencies of a large
            one in chunks. The numbers are the same, up to rounding if BLAS uses another number of threads there.

        Returns
        -------
        Report
            With ``.rows``, one dictionary per node, and their ``.total``; it prints itself, shows itself in notebooks,
            and has methods ``to_csv``, ``to_json`` and ``to_latex``. See `convmatrix.report.Report` for the values of a
            row. What is not known, or does not apply, is None.

        Examples
        --------
        >>> from convmatrix.network import as_network
        >>> report = as_network("vgg16").report()
        >>> report.total["parameters"], report.total["macs"]
        (138357544, 15470264320)
        >>> report.rows[1]["name"], report.rows[1]["nonzeros"], report.rows[1]["field_size"]
        ('conv1_1', 86188800, [3, 3])
        """
        from convmatrix.report import network_report

        return network_report(self, norms, dtype, progress, client=client)
