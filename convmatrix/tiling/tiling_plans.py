"""Plans: how a network's image may be cut into tiles so that the stitched result is that of the whole image."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convmatrix import options as validate
from convmatrix.network import Network, as_network
from convmatrix.tiling.axis_plan import AxisPlan, Cut
from convmatrix.tiling.node_reads import Refusal, network_reads, refused_axes
from convmatrix.tiling.resized_networks import planned_axis

if TYPE_CHECKING:
    from convmatrix.arrays import Array
    from convmatrix.proofs import Proof
    from convmatrix.report import Progress


@dataclass(frozen=True)
class Tile:
    """One tile of an image, and what to keep of its output.

    Attributes
    ----------
    input : tuple of slice
        What the tile reads on each spatial axis; on a periodic axis it may begin before the first sample or end after
        the last one, and is read modulo the size.
    keep : tuple of slice
        Which part of the network's output for the tile is kept, on the output axis of each spatial axis.
    output : tuple of slice
        Where that part is in the output for the whole image.
    """

    input: tuple[slice, ...]
    keep: tuple[slice, ...]
    output: tuple[slice, ...]


@dataclass(frozen=True, eq=False)
class TilingPlan:
    """How an image may be cut into tiles for a network.

    Attributes
    ----------
    network : Network
    output : str
        The node whose output is stitched.
    axes : tuple of AxisPlan or tuple of Refusal
        By spatial axis of the image: how it may be cut, or why it cannot be.
    """

    network: Network
    output: str
    axes: tuple[AxisPlan | tuple[Refusal, ...], ...]

    @property
    def exact(self) -> bool:
        """Whether every spatial axis can be cut so that the stitched result is that of the whole image."""
        return all(isinstance(axis, AxisPlan) for axis in self.axes) and bool(self.axes)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why axes cannot be cut, with the node; empty if the plan is exact."""
        if not self.axes:
            return (f"the input of shape {self.network.input_shape} has no spatial axes",)
        return tuple(str(refusal) for axis in self.axes if not isinstance(axis, AxisPlan) for refusal in axis)

    @property
    def halo(self) -> tuple[tuple[int, int] | None, ...]:
        """Number of samples at the low and at the high end of a tile whose outputs are discarded, by axis.

        It is the least number for tiles of the best size; None if an axis cannot be cut. Where an end of a tile is an
        end of the image, nothing is discarded.
        """
        return tuple(axis.halo if isinstance(axis, AxisPlan) else None for axis in self.axes)

    @property
    def alignment(self) -> tuple[int | None, ...]:
        """The number that the start of every tile is a multiple of, by axis; None if an axis cannot be cut."""
        return tuple(axis.alignment if isinstance(axis, AxisPlan) else None for axis in self.axes)

    @property
    def scale(self) -> tuple[Fraction | None, ...]:
        """Number of outputs per sample of the image, by axis; None if an axis cannot be cut."""
        return tuple(axis.scale if isinstance(axis, AxisPlan) else None for axis in self.axes)

    @property
    def sizes(self) -> tuple[tuple[int, tuple[int, ...]] | None, ...]:
        """The smallest size of an image or a tile, and the remainders modulo the alignment that sizes have, by axis."""
        return tuple((a.smallest, a.residues) if isinstance(a, AxisPlan) else None for a in self.axes)

    def __bool__(self) -> bool:
        return self.exact

    def __repr__(self) -> str:
        if not self.exact:
            return f"TilingPlan({self.network.name!r}, exact=False: {'; '.join(self.reasons)})"
        scale = tuple(map(str, self.scale))
        return (
            f"TilingPlan({self.network.name!r}, halo={self.halo}, alignment={self.alignment}, "
            f"scale=({', '.join(scale)}{',' if len(scale) == 1 else ''}))"
        )

    def explain(self) -> str:
        """Return how the plan came about, node by node, as text."""
        from convmatrix.tiling.plan_texts import explain_plan

        return explain_plan(self)

    def prove(self, engine: str = "sympy") -> Proof:
        """Return a proof that the plan is right for all images and tiles that obey it.

        Parameters
        ----------
        engine : {"sympy", "z3"}

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
        from convmatrix.tiling.tiling_proofs import recheck_plan

        return recheck_plan(self, source)

    def tiles(self, image_shape: Sequence[int], tile_shape: int | Sequence[int]) -> list[Tile]:
        """Return the tiles of an image.

        Parameters
        ----------
        image_shape : sequence of int
            Spatial shape of the image.
        tile_shape : int or sequence of int
            The largest size of a tile on each axis; tiles inside the image may be smaller by less than the alignment.

        Returns
        -------
        list of Tile
            In C order. The parts that are kept cover the output, each entry once.

        Raises
        ------
        ValueError
            If an axis that cannot be cut is longer than a tile, the image's size does not fit the network, or tiles are
            too small.
        """
        cuts = self._cuts(image_shape, tile_shape)
        return [
            Tile(
                tuple(slice(cut.start, cut.stop) for cut in chosen),
                tuple(slice(*cut.keep) for cut in chosen),
                tuple(slice(cut.write, cut.write + cut.keep[1] - cut.keep[0]) for cut in chosen),
            )
            for chosen in itertools.product(*cuts)
        ]

    def _cuts(self, image_shape: Sequence[int], tile_shape: int | Sequence[int]) -> list[list[Cut]]:
        """Return the tiles of each axis; an axis that is not cut has one, with all of its outputs."""
        shape = validate.shape("image_shape", image_shape)
        if len(shape) != len(self.axes):
            raise ValueError(
                f"image_shape={shape} has {len(shape)} axes, but the network's image has {len(self.axes)} spatial axes "
                f"(its input has the shape {self.network.input_shape}); give the spatial shape without channels"
            )
        tile = validate.per_axis("tile_shape", tile_shape, len(shape), minimum=1)
        cuts = []
        for number, (axis, n, most) in enumerate(zip(self.axes, shape, tile, strict=True)):
            if isinstance(axis, AxisPlan):
                cuts.append(axis.cuts(n, most))
            elif most >= n:
                cuts.append([Cut(0, n, (0, -1), 0)])
            else:
                raise ValueError(
                    f"{self.network.name} cannot be cut into tiles of {most} on axis {number}, of {n} samples: "
                    f"{'; '.join(map(str, axis))}; give tiles as long as the image on this axis"
                )
        return cuts

    def run(
        self, function: Any, image: Array, tile_shape: int | Sequence[int], progress: Progress | None = None
    ) -> Array:
        """Return the output for a whole image, computed tile by tile.

        Parameters
        ----------
        function : callable, torch.nn.Module, onnxruntime.InferenceSession or Network
            Maps a batch (batch, channels, *spatial), for the spatial shapes of the tiles. A module is called without
            gradients in the mode that it is in, on the device of its parameters.
        image : array, shape (channels, *spatial) or (batch, channels, *spatial)
        tile_shape : int or sequence of int
            As for `tiles`.
        progress : callable, optional
            Called as ``progress(done, of, name)`` after each tile.

        Returns
        -------
        array
            With a batch axis if the image has one, in the dtype of the function's results.

        Raises
        ------
        ValueError
            As for `tiles`; or if the function's output for a tile has another shape than the plan expects.
        """
        from convmatrix.tiling.stitching import stitch

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
        The second network confirms this.
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
    found = network_reads(own)
    n_axes = len(net.input_shape) - 1
    refused = refused_axes(found, name, n_axes)
    if other is not None:
        from convmatrix.tiling.confirmation import confirmed

        found = confirmed(own, found, as_network(other), name)
    axes: list[AxisPlan | tuple[Refusal, ...]] = []
    for axis in range(n_axes):
        planned = tuple(refused[axis]) if axis in refused else planned_axis(found, name, axis)
        axes.append((planned,) if isinstance(planned, Refusal) else planned)
    return TilingPlan(net, name, tuple(axes))
