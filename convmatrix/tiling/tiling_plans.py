"""Plans: how a network's image may be cut into tiles so that the stitched result is that of the whole image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convmatrix.display.tables import ShownAsTable, Table
from convmatrix.network import as_network
from convmatrix.tiling.axis_plan import AxisPlan, axis_plan
from convmatrix.tiling.image_tiles import PlannedAxes
from convmatrix.tiling.node_reads import network_reads
from convmatrix.tiling.plan_texts import assumptions_of, explain_plan
from convmatrix.tiling.resized_networks import confirmed
from convmatrix.tiling.stitching import stitch

if TYPE_CHECKING:
    from convmatrix.arrays import Array
    from convmatrix.progress import Progress
    from convmatrix.proofs import Proof


@dataclass(frozen=True, eq=False, repr=False)
class TilingPlan(ShownAsTable, PlannedAxes):
    """How an image may be cut into tiles for a network; `plan` makes one. Its truth value is `exact`.

    Attributes
    ----------
    assumptions : tuple of str
        The properties assumed independent of the size of the image, with their nodes; empty if a second network that
        differs in the size of every axis confirmed them.
    network, output, axes
        What was planned for, and the details.
    """

    def explain(self) -> str:
        """Return how the plan came about, node by node, as text."""
        return explain_plan(self)

    def _table(self) -> Table:
        rows: list[Sequence[str]] = [("axis", "halo", "tiles start at multiples of", "outputs per sample", "sizes")]
        for number, axis in enumerate(self.axes):
            if isinstance(axis, AxisPlan):
                low, high = axis.halo
                rows.append((str(number), f"{low} + {high}", str(axis.alignment), str(axis.scale), axis.sizes_in_words))
        notes = [*self.reasons, *(f"Assumed: {text}." for text in self.assumptions)]
        title = f"{self.network.name}, output {self.output!r}"
        answer = "Exact" if self.exact else "Not exact"
        return Table(title, rows if len(rows) > 1 else (), 5, notes=notes, holds=self.exact, answer=answer)

    def prove(self, engine: str = "sympy") -> Proof:
        """Return a proof that the plan is right for all images and tiles that obey it.

        Parameters
        ----------
        engine : {"sympy", "z3", "coq"}

        Returns
        -------
        Proof
            Its integer lemmas say, for each node, that a kept output of a tile reads the samples that the output of the
            whole image reads. They run the one-axis rule of `convmatrix.boundary` on integers of the engine.

        Raises
        ------
        ValueError
            If the plan is not exact on any axis, or the engine is unknown.
        """
        from convmatrix.tiling.tiling_proofs import prove_plan

        return prove_plan(self, engine)

    def recheck(self, source: str | Path | Mapping[str, Any]) -> str:
        """Return the name of the theorem that a saved proof of this plan proves, after checking it without any search.

        Parameters
        ----------
        source : path or dict
            A file written by `Proof.save`, or a record returned by `Proof.record`, of a proof with the engine "sympy".

        Raises
        ------
        CertificateError
            A ValueError, if it does not prove this plan.
        """
        from convmatrix.proofs import recheck
        from convmatrix.tiling.tiling_proofs import plan_theorem

        return recheck(source, plan_theorem(self))

    def run(self, function: Any, image: Array, tile_shape: int | Sequence[int], progress: Progress = None) -> Array:
        """Return the output for a whole image, computed tile by tile.

        Parameters
        ----------
        function : callable, torch.nn.Module, onnxruntime.InferenceSession or Network
            Maps a batch (batch, channels, *spatial), for the spatial shapes of the tiles. A module is called without
            gradients in the mode that it is in, on the device and in the dtype of its parameters. Of several outputs
            that of the plan is stitched. A function of arrays returns the planned node's values.
        image : array, shape (channels, *spatial) or (batch, channels, *spatial)
        tile_shape : int or sequence of int
            As for `tiles`.
        progress : bool or callable, optional
            As for `convmatrix.progress.reporting`; a callable is called after every tile.

        Returns
        -------
        array
            With a batch axis if the image has one, in the dtype of the function's results.

        Raises
        ------
        ValueError
            As for `tiles`; or if the function's output for a tile has another shape than the plan expects, if tiles of
            two sizes give other values where both read the same samples, or if the function is a model that does not
            return the planned node.
        """
        return stitch(self, function, image, tile_shape, progress)


def plan(network: Any, other: Any = None, output: str | None = None) -> TilingPlan:
    """Return how an image may be cut into tiles, so that the stitched result is exactly that of the whole image.

    Parameters
    ----------
    network : Network, nn.Sequential or sequence of layers
        As for `convmatrix.network.as_network`.
    other : Network, optional
        The same model read for another image size, which must be what `resized` makes of the network. A network that
        was read for one size cannot tell how its numbers follow the size: amounts of padding and cropping and scales
        of resizing are taken as constant, and sizes are restricted where the padding may be that of the word "same".
        The second network confirms this, as all its constants and weights must be equal to those of the network.
    output : str, optional
        The node whose output is stitched; by default the first output.

    Returns
    -------
    TilingPlan
        Its truth value is `TilingPlan.exact`.

    Raises
    ------
    ValueError
        If ``other`` is not the same network for another size; the message names the first node that differs.

    Examples
    --------
    >>> import numpy as np
    >>> import convmatrix as cm
    >>> from convmatrix.network import Convolution, Network, Pooling
    >>> kernel = np.ones((1, 1, 3, 3))
    >>> layer = Convolution(cm.ConvGeometry((16, 16), (3, 3), padding=1), kernel)
    >>> found = plan(Network([layer, Pooling("max", 2)]))
    >>> found
    TilingPlan('network', halo=((1, 1), (1, 1)), alignment=(2, 2), scale=(1/2, 1/2))
    >>> for tile in found.tiles((40, 8), 16):
    ...     print(tile.input[0], tile.keep[0], tile.output[0])
    slice(0, 16, None) slice(0, 7, None) slice(0, 7, None)
    slice(12, 28, None) slice(1, 7, None) slice(7, 13, None)
    slice(24, 40, None) slice(1, 8, None) slice(13, 20, None)
    """
    net = as_network(network)
    name = net.outputs[0] if output is None else output
    own = net.until(name)
    found = network_reads(own, blocks_known=other is not None)
    all_differ = False
    if other is not None:
        second = as_network(other)
        found = confirmed(own, found, second, name)
        all_differ = all(n != m for n, m in zip(net.input_shape[1:], second.input_shape[1:], strict=True))
    axes = tuple(axis_plan(found, name, axis) for axis in range(len(net.input_shape) - 1))
    return TilingPlan(net, name, axes, () if all_differ else assumptions_of(own, found))
