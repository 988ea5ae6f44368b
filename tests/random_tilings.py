"""Networks in tiles of random shapes, compared entry by entry with the whole image: integer weights and inputs.

``python -m tests.random_tilings --count 10000`` makes so many choices of an image and a tile, over all networks.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix.network import Network
from convmatrix.tiling import TilingPlan, plan, resized
from convmatrix.tiling.axis_plan import AxisPlan
from tests.tiled_networks import LIGHT, Case, convolutional_part, light_case, light_network, torch_case, torch_cases

if TYPE_CHECKING:
    from numpy.typing import NDArray

LARGEST_IMAGE: Final = {1: 400, 2: 110, 3: 40}


# --- random choices --------------------------------------------------------------------------------------------------


def choose(case: Case, found: TilingPlan, rng: np.random.Generator) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return a random shape of an image that the network takes, and a random shape of tiles."""
    shape, tile = [], []
    for axis in found.axes:
        assert isinstance(axis, AxisPlan), found.reasons
        largest = max(case.largest or LARGEST_IMAGE[len(found.axes)], axis.smallest + 4 * axis.alignment)
        fitting = [n for n in range(axis.smallest, largest + 1) if n % axis.alignment in axis.residues]
        size = int(rng.choice(fitting))
        tiles = [size]
        for wanted in rng.integers(1, size + 1, 3):
            try:
                axis.cuts(size, int(wanted))
            except ValueError:
                continue
            tiles = [int(wanted)]
            break
        shape.append(size)
        tile.append(tiles[0])
    return tuple(shape), tuple(tile)


def values(case: Case, image: NDArray[Any]) -> NDArray[Any]:
    """Return the output for a whole image."""
    if isinstance(case.function, Network):
        return resized(case.function, image.shape[1:])(image)
    import torch

    with torch.no_grad():
        result: NDArray[Any] = case.function(torch.from_numpy(image)).numpy()
    return result


def differing(case: Case, found: TilingPlan, rng: np.random.Generator) -> tuple[int, int, str]:
    """Return the number of entries that differ for a random image, the number of tiles, and what was chosen."""
    shape, tile = choose(case, found, rng)
    image = rng.integers(-8, 9, (1, case.network.input_shape[0], *shape)).astype(np.float64)
    whole, stitched = values(case, image), found.run(case.function, image, tile)
    assert whole.shape == stitched.shape
    assert np.abs(whole).max() < 2**44, "sums must be exact in float64"
    difference = np.abs(whole - stitched) > case.tolerance * np.abs(whole).max()
    return int(difference.sum()), len(found.tiles(shape, tile)), f"image {shape}, tiles {tile}"


def ends_of_tiles(found: TilingPlan) -> Iterator[tuple[int, str, int, int, int, int]]:
    """Yield, for each end of each axis, the first output that is discarded there, of a tile inside an image.

    The axis, the end, the output's place, and the start and the size of the tile and the size of the image. Ends where
    nothing is discarded are left out.
    """
    for number, axis in enumerate(found.axes):
        assert isinstance(axis, AxisPlan)
        step, halo = axis.alignment, sum(axis.halo)
        start = step * -(-halo // step)
        size = next(n for n in range(axis.smallest + halo + 2 * step, 10**6) if n % step in axis.residues)
        whole = next(n for n in range(start + size + halo + step, 10**6) if n % step in axis.residues)
        extent = axis.extents(size)[axis.output]
        for end, place in (("low", axis.first_clean[axis.output] - 1), ("high", extent.clean_end)):
            if 0 <= place < extent.size:
                yield number, end, place, start, size, whole


def one_more(
    make: Callable[[int], Case], found: TilingPlan, rng: np.random.Generator, most: int = 40
) -> Iterator[tuple[str, bool]]:
    """Yield, for each end of each axis, whether the first output that is discarded there differs from the image's.

    The weights are random ones: those of up to ``most`` seeds, until one shows a difference.
    """
    base = [max(axis.smallest, 1) for axis in found.axes if isinstance(axis, AxisPlan)]
    for number, end, place, start, size, whole in ends_of_tiles(found):
        axis: Any = found.axes[number]
        differs = False
        for seed in range(most):
            case, shape = make(seed), list(base)
            shape[number] = whole
            image = rng.integers(-8, 9, (1, case.network.input_shape[0], *shape)).astype(np.float64)
            part = np.ascontiguousarray(image.take(range(start, start + size), number + 2))
            ours = values(case, part).take(place, axis.output_axis + 1)
            theirs = values(case, image).take(place + int(start * axis.scale), axis.output_axis + 1)
            if (ours != theirs).any():
                differs = True
                break
        yield f"axis {number} {end} (output {place} of a tile of {size})", differs


def reweighed(name: str) -> Callable[[int], Case]:
    """Return a function that makes a network of PyTorch with the weights of a seed; it is traced once."""
    first = torch_case(name, 0)
    return lambda seed: torch_case(name, seed, first.network)


def cases() -> Iterator[Callable[[int], Case]]:
    """Yield a function that makes each network with the weights of a seed."""
    for name in torch_cases():
        yield reweighed(name)
    for name in LIGHT:
        yield lambda seed, name=name: light_case(name, seed)  # type: ignore[misc]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="number of choices of an image and a tile")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    makers = list(cases())
    shares = [max(args.count // 1000, 1) if n >= len(makers) - len(LIGHT) else 0 for n in range(len(makers))]
    small = shares.count(0)
    rest = args.count - sum(shares)
    shares = [share or rest // small + (n < rest % small) for n, share in enumerate(shares)]
    totals, slowest = np.zeros(5, dtype=int), 0.0
    for number, (make, share) in enumerate(zip(makers, shares, strict=True)):
        rng = np.random.default_rng(args.seed + number)
        case = make(args.seed)
        start = time.perf_counter()
        found = plan(case.network)
        slowest = max(slowest, time.perf_counter() - start)
        assert found.exact, found.reasons
        outcomes = [differing(case, found, rng) for _ in range(share)]
        wrong = [what for entries, _, what in outcomes if entries]
        ends = list(one_more(make, found, rng))
        same = [what for what, differs in ends if not differs]
        n_tiles = sum(tiles for _, tiles, _ in outcomes)
        totals += [share, n_tiles, len(wrong), len(ends), len(same)]
        print(
            f"{case.name}: {share} choices, {n_tiles} tiles, {len(wrong)} differ; {len(ends) - len(same)} of "
            f"{len(ends)} ends would differ with one output more{': not ' + ', '.join(same) if same else ''}"
            f"{'; ' + wrong[0] if wrong else ''}",
            flush=True,
        )
    for name in LIGHT:
        part = convolutional_part(light_network(name))
        start = time.perf_counter()
        found = plan(part)
        slowest = max(slowest, time.perf_counter() - start)
        print(f"light {name}, {len(part)} nodes up to {found.output!r}: halo {found.halo}, alignment {found.alignment}")
    print(
        f"{totals[0]} choices, {totals[1]} tiles: {totals[2]} with differing entries; {totals[3] - totals[4]} of "
        f"{totals[3]} ends would differ with one output more; slowest plan {slowest:.3f} s"
    )
    raise SystemExit(bool(totals[2]))


if __name__ == "__main__":
    main()
