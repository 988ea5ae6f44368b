"""Tiles of an image, from how each of its axes may be cut."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from convmatrix import options as validate
from convmatrix.tiling.axis_plan import LARGEST_SIZE, MOST_TILES, AxisPlan, Cut

if TYPE_CHECKING:
    from convmatrix.network import Network
    from convmatrix.tiling.node_reads import Refusal


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
class PlannedAxes:
    """How each axis of a network's image may be cut, and the tiles of an image.

    ``output`` is the node whose output is stitched, and ``axes`` are, by spatial axis of the image, how it may be cut
    or why it cannot be. ``assumptions`` list what is assumed not to depend on the size of the image, with the nodes;
    they are empty if a second network confirmed it.
    """

    network: Network
    output: str
    axes: tuple[AxisPlan | tuple[Refusal, ...], ...]
    assumptions: tuple[str, ...] = ()

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
            If an axis that cannot be cut is longer than a tile, the image's size does not fit the network, tiles are
            too small, or there are more than 262,144 tiles.
        """
        cuts = self._cuts(image_shape, tile_shape)
        n_tiles = math.prod(map(len, cuts))
        if n_tiles > MOST_TILES:
            raise ValueError(
                f"there are {n_tiles} tiles, {' x '.join(str(len(cut)) for cut in cuts)}, and {MOST_TILES} is the most "
                "that are listed; make the tiles larger, or ask for parts of the image"
            )
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
                f"image_shape={shape} has {validate.axes_in_words(len(shape))}, but the network's image has "
                f"{validate.axes_in_words(len(self.axes), 'spatial ')} (its input has the shape "
                f"{self.network.input_shape}); give the spatial shape without channels"
            )
        if max(shape, default=0) > LARGEST_SIZE:
            raise ValueError(f"image_shape={shape} has an axis of more than {LARGEST_SIZE} samples, the most that fit")
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
