"""Exact tiles: large images processed in parts, with the result that the whole image would have.

`plan` says how much overlap is enough, where tiles may start and which sizes fit; `TilingPlan.run` stitches the tiles
of any function, and `TilingPlan.prove` proves that the result is that of the whole image, for all sizes. `resized`
makes a network for images of another size.
"""

from convmatrix.tiling.image_tiles import Tile
from convmatrix.tiling.resized_networks import resized
from convmatrix.tiling.tiling_plans import TilingPlan, plan

__all__ = ["Tile", "TilingPlan", "plan", "resized"]


def __dir__() -> list[str]:
    return sorted(__all__)
