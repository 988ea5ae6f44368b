"""Cooperative stereo: a translation-invariant network whose update is one sparse matrix with two weights.

Source: Marr and Poggio, Cooperative computation of stereo disparity, Science 194, 1976. A cell (d, y, x) says that the
point y, x of the left image is at x + d in the right one. It is supported by cells of its disparity in a disc S, and
inhibited by the others O on both lines of sight, (d', y, x) and (d', y, x + d - d'):

    C_{n+1} = 1 where  sum over S of C_n - 2 * sum over O of C_n + C_0 >= 3,  else 0

C_0 marks equal pixels. All offsets are the same for every cell, so the sums are one convolution of (d, y, x): here a
matrix of two tied weights, 1 on S and -2 on O.

A random-dot stereogram comes out nearly perfect, which is what the rule was made for. The photographs are the pair
"stereo_motorcycle" of Middlebury (Scharstein et al. 2014) in scikit-image, made smaller, with its measured disparity.
They have no black and white dots: C_0 marks the pairs of pixels whose grey values, after subtracting their local mean
and dividing by their local contrast, differ least, as many as leave a cell with six rivals on average, the number in
the stereogram. Judged beside it are the best constant disparity, and block matching: for each point the disparity of
the smallest summed difference over the same disc. The network, which is told only "equal or not", does worse than
block matching.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage
from skimage.data import stereo_motorcycle

import convmatrix as cm
from analyses import Claim, Context, check_equal, check_within
from analyses._figures import PAGE_WIDTH, new_figure, ramp
from convmatrix.equivariance import check, shift

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

INHIBITION, THRESHOLD = 2, 3
RADIUS = 2  # of the disc: 13 cells
SIZE, SQUARE, DISPARITY, LARGEST = 100, 40, 2, 3  # of the stereogram
STEPS = 30  # at most

Array = Any  # integers or float64, as told where it is used


def run(context: Context) -> list[Claim]:
    """Check the matrix and its equivariance, then let it see a stereogram and a pair of photographs."""
    stereograms, picture = _stereograms(5 if context.quick else 20)
    photographs, maps = _photographs(8 if context.quick else 4)
    context.save_figure(_figure(picture, maps))
    return _structure() + _equivariance() + stereograms + photographs


# --- the network -----------------------------------------------------------------------------------------------------


def _disc(radius: int) -> list[tuple[int, int]]:
    around = range(-radius, radius + 1)
    return [(y, x) for y in around for x in around if y * y + x * x <= radius * radius]


def _network(shape: tuple[int, int, int], boundary: str = "zero", radius: int = RADIUS) -> cm.WeightPattern:
    """Return the pattern of the update on cells (disparities, rows, columns): weight 0 supports, weight 1 inhibits."""
    others = [k for k in range(1 - shape[0], shape[0]) if k]
    supporting = [(0, y, x) for y, x in _disc(radius)]
    inhibiting = [(k, 0, x) for k in others for x in (0, -k)]  # from d to d' = d + k: columns x and x + d - d'
    boundaries = ("zero", boundary, boundary)
    matrices = [
        cm.shift_matrix(shape, tuple(-step for step in offset), boundaries, format="coo", dtype=np.int64)
        for offset in supporting + inhibiting
    ]
    rows, columns = np.concatenate([matrix.coords for matrix in matrices], axis=1)
    weights = np.repeat([0] * len(supporting) + [1] * len(inhibiting), [matrix.nnz for matrix in matrices])
    n = int(np.prod(shape))
    return cm.WeightPattern.from_triplets((n, n), rows, columns, weights, 2)


def _settle(matrix: Array, start: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return the states from the start until none changes, at most STEPS later."""
    states = [start]
    while len(states) <= STEPS and (len(states) == 1 or (states[-1] != states[-2]).any()):
        drive = matrix @ states[-1].ravel() + start.ravel()
        states.append((drive >= THRESHOLD).astype(np.int64).reshape(start.shape))
    return states


def _decided(state: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of the only active disparity of each point, -1 where none or several are active."""
    return np.where(state.sum(axis=0) == 1, state.argmax(axis=0), -1)


def _structure() -> list[Claim]:
    """Hold the matrix against the rule, written with loops."""
    shape = (4, 7, 9)
    pattern = _network(shape)
    cells = np.random.default_rng(0).integers(0, 2, shape)
    direct = np.zeros(shape, dtype=np.int64)
    for d, y, x in np.ndindex(shape):
        support = sum(
            int(cells[d, y + j, x + i]) for j, i in _disc(RADIUS) if 0 <= y + j < shape[1] and 0 <= x + i < shape[2]
        )
        rivals = sum(
            int(cells[e, y, column])
            for e in range(shape[0])
            if e != d
            for column in (x, x + d - e)
            if 0 <= column < shape[2]
        )
        direct[d, y, x] = support - INHIBITION * rivals
    product = (pattern.matrix([1, -INHIBITION]) @ cells.ravel()).reshape(shape)
    inner = _network((2 * LARGEST + 1, 21, 21))
    centre = np.ravel_multi_index((LARGEST, 10, 10), (2 * LARGEST + 1, 21, 21))
    row = inner.weight_index[inner.rows == centre]
    return [
        check_equal(
            "rule",
            "cells where the matrix differs from the rule, integers",
            np.count_nonzero(product != direct),
            expected=0,
            reason="the same sums, once by a sparse product and once by loops",
        ),
        check_equal("disc", "cells of the disc", len(_disc(RADIUS)), expected=13, reason="points with x^2 + y^2 <= 4"),
        check_equal(
            "row-entries",
            "supporting and inhibiting entries of an inner row, 7 disparities",
            np.bincount(row),
            expected=[13, 12],
            reason="the disc, and six other disparities on each of two lines of sight",
        ),
    ]


def _equivariance() -> list[Claim]:
    """Decide for every pair of weights which shifts the update commutes with."""
    shape = (5, 8, 11)
    torus, window = _network(shape, "circular"), _network(shape)
    claims = []
    for name, pattern, amount, holds in (
        ("row, images that wrap", torus, (0, 1, 0), True),
        ("column, images that wrap", torus, (0, 0, 1), True),
        ("column, images that end", window, (0, 0, 1), False),
        ("disparity, images that wrap", torus, (1, 0, 0), False),
    ):
        permutation = shift(shape, amount)
        verdict = check(pattern, permutation, permutation, statement=f"a shift by one {name}")
        reason = "the offsets do not depend on the cell" if holds else "the border is elsewhere for the shifted cells"
        claims.append(
            check_equal(
                f"equivariant-{name}",
                f"equivariant to a shift by a {name}",
                verdict.holds,
                expected=holds,
                reason=reason,
            )
        )
    left, right, _ = _stereogram(np.random.default_rng(1), 40, 16)
    moved = (3, 5)
    matrix = _network((2 * LARGEST + 1, 40, 40), "circular").matrix([1, -INHIBITION])
    last = _settle(matrix, _equal_pixels(left, right, wrap=True))[-1]
    moved_left, moved_right = (np.roll(image, moved, axis=(0, 1)) for image in (left, right))
    last_of_moved = _settle(matrix, _equal_pixels(moved_left, moved_right, wrap=True))[-1]
    claims.append(
        check_equal(
            "moved-images",
            "cells of the last state that differ when both images are moved by 3 rows and 5 columns",
            np.count_nonzero(np.roll(last, moved, axis=(1, 2)) != last_of_moved),
            expected=0,
            reason="an equivariant update, thresholded cell by cell and repeated, stays equivariant",
        )
    )
    return claims


# --- random dots -----------------------------------------------------------------------------------------------------


def _stereogram(rng: np.random.Generator, size: int = SIZE, square: int = SQUARE) -> tuple[Array, Array, Array]:
    """Return left and right image and the true disparity: a square in front of its surroundings, all random dots."""
    left = rng.integers(0, 2, (size, size))
    right = left.copy()
    low, high = (size - square) // 2, (size + square) // 2
    right[low:high, low : low + DISPARITY] = rng.integers(0, 2, (square, DISPARITY))  # seen by the right eye alone
    right[low:high, low + DISPARITY : high + DISPARITY] = left[low:high, low:high]
    truth = np.zeros((size, size), dtype=np.int64)
    truth[low:high, low:high] = DISPARITY
    return left, right, truth


def _equal_pixels(left: Array, right: Array, wrap: bool = False) -> NDArray[np.int64]:
    """Return C_0: 1 where left[y, x] == right[y, x + d], for d = -LARGEST .. LARGEST."""
    columns = np.arange(left.shape[1])
    cells = np.zeros((2 * LARGEST + 1, *left.shape), dtype=np.int64)
    for place, d in enumerate(range(-LARGEST, LARGEST + 1)):
        inside = (columns + d >= 0) & (columns + d < len(columns)) | wrap
        cells[place] = (left == right[:, (columns + d) % len(columns)]) & inside
    return cells


def _stereograms(seeds: int) -> tuple[list[Claim], tuple[Array, Array, list[Array]]]:
    """Return the claims over several stereograms, and the first of them with its states."""
    shape = (2 * LARGEST + 1, SIZE, SIZE)
    networks = [_network(shape, radius=radius).matrix([1, -INHIBITION]) for radius in (RADIUS, RADIUS + 2)]
    correct: list[float] = []
    chance: list[float] = []
    wide: list[float] = []
    steps = []
    for seed in range(seeds):
        left, right, truth = _stereogram(np.random.default_rng(seed))
        start = _equal_pixels(left, right)
        states = _settle(networks[0], start)
        if seed == 0:
            picture = (left, right, states)
        answers = [_decided(state) - LARGEST for state in (states[-1], start, _settle(networks[1], start)[-1])]
        for answer, shares in zip(answers, (correct, chance, wide), strict=True):
            shares.append(float(np.mean(answer == truth)))
        steps.append(len(states) - 2)  # the last step changes nothing
    rule = "97 to 98 %, and half a per cent for the choice of dots"
    claims = [
        check_within(
            "stereogram-mean",
            f"stereogram: points decided rightly, mean of {seeds}",
            float(np.mean(correct)),
            (0.965, 0.985),
            reason=rule,
        ),
        check_within("stereogram-least", "stereogram: the least of them", min(correct), (0.96, 0.985), reason=rule),
        check_within(
            "stereogram-steps",
            "stereogram: steps until nothing changes, median",
            float(np.median(steps)),
            (5, 15),
            reason="about ten steps",
        ),
        check_within(
            "stereogram-start",
            "stereogram: points decided rightly at the start, mean",
            float(np.mean(chance)),
            (0, 0.05),
            reason="the true cell is on, and six others must be off by chance: 1/64",
        ),
        check_within(
            "stereogram-large-disc",
            f"stereogram: points decided rightly with a disc of {len(_disc(RADIUS + 2))} cells, mean",
            float(np.mean(wide)),
            (0, 0.5),
            reason="with four times the support all disparities stay on: the network saturates",
        ),
    ]
    return claims, picture


# --- photographs -----------------------------------------------------------------------------------------------------


def _photographs(factor: int) -> tuple[list[Claim], dict[str, Array]]:
    """Return the claims about the photographs, made smaller by a factor, and the maps to draw."""
    colour_left, colour_right, measured = stereo_motorcycle()
    grey = np.array([0.2126, 0.7152, 0.0722])
    left, right = (_smaller(image @ grey, factor).mean(axis=-1) for image in (colour_left, colour_right))
    blocks = np.sort(_smaller(np.where(np.isfinite(measured), measured, np.inf), factor), axis=-1)
    truth = blocks[..., blocks.shape[-1] // 2] / factor  # the median; inf where half of the points are not known
    known = np.isfinite(truth)
    count = int(np.ceil(truth[known].max())) + 1

    differences = np.full((count, *left.shape), np.inf)
    one, other = _normalised(left), _normalised(right)
    for d in range(count):  # a point at x on the left is at x - d on the right
        differences[d, :, d:] = np.abs(one[:, d:] - other[:, : left.shape[1] - d])
    possible = np.isfinite(differences)
    share = 6 / (2 * (count - 1))
    start = (differences <= np.quantile(differences[possible], share)).astype(np.int64)
    matrix = _network(start.shape).matrix([1, -INHIBITION])
    last = _settle(matrix, start[::-1])[-1][::-1]  # the network counts disparities upwards: -d
    answer = _decided(last)

    disc = np.zeros((2 * RADIUS + 1,) * 2)
    disc[tuple(np.array(_disc(RADIUS)).T + RADIUS)] = 1
    largest = differences[possible].max()
    sums = [ndimage.convolve(np.minimum(plane, largest), disc, mode="nearest") for plane in differences]
    matched = np.argmin(sums, axis=0)

    def share_right(disparities: Any) -> float:
        return float(np.mean(np.abs(disparities - truth)[known] <= 1))

    constant = max(share_right(d) for d in range(count))
    network, by_blocks = share_right(np.where(answer < 0, -np.inf, answer)), share_right(matched)
    size = f"{left.shape[1]} x {left.shape[0]}, {count} disparities"
    claims = [
        check_within(
            "photographs-within-1",
            f"photographs ({size}): known points within 1 pixel, undecided ones wrong",
            network,
            (constant, 1),
            reason="better than the best constant disparity, the lower end",
        ),
        check_within(
            "photographs-block-matching",
            "photographs: the same less that of block matching",
            network - by_blocks,
            (-1, 0),
            reason=f"block matching has {by_blocks:.3f}; equal-or-not tells less than grey values do",
        ),
        check_within(
            "photographs-decided",
            f"photographs: within 1 pixel among the {np.mean(answer[known] >= 0):.0%} that are decided",
            network / float(np.mean(answer[known] >= 0)),
            (by_blocks, 1),
            reason="where it decides, it is right more often than block matching is everywhere, the lower end",
        ),
    ]
    maps = {"left photograph": left, "measured": truth, "network": answer, "block matching": matched}
    return claims, maps


def _smaller(image: Array, factor: int) -> Array:
    """Return the pixels of each block, (height // factor, width // factor, factor^2)."""
    height, width = (n // factor for n in image.shape)
    blocks = image[: height * factor, : width * factor].reshape(height, factor, width, factor)
    return blocks.swapaxes(1, 2).reshape(height, width, -1)


def _normalised(image: Array) -> Array:
    """Return the image less its local mean, over its local contrast; the 1 keeps flat parts from becoming noise."""
    spread = 2
    less_mean = image - ndimage.gaussian_filter(image, spread)
    return less_mean / np.sqrt(ndimage.gaussian_filter(less_mean**2, spread) + 1)


def _figure(picture: tuple[Array, Array, list[Array]], maps: dict[str, Array]) -> Figure:
    """Draw the stereogram with its answers above, the photographs with theirs below; undecided points are white."""
    left, right, states = picture
    figure = new_figure(PAGE_WIDTH, 3.5)
    top, bottom = figure.subplots(2, 4).tolist()
    for axes, dots, name in zip(top, (left, right), ("left dots", "right dots"), strict=False):
        axes.imshow(dots, cmap="gray", interpolation="nearest")
        axes.set_title(name)
    for axes, state, name in (
        (top[2], states[1], "after 1 step"),
        (top[3], states[-1], f"after {len(states) - 2} (white: undecided)"),
    ):
        answer = np.where(_decided(state) < 0, np.nan, _decided(state) - LARGEST)
        shown = axes.imshow(answer, cmap=ramp(), vmin=-LARGEST, vmax=LARGEST, interpolation="nearest")
        axes.set_title(name)
    figure.colorbar(shown, ax=top, label="disparity, pixels", pad=0.01, aspect=12)
    truth = maps["measured"]
    largest = truth[np.isfinite(truth)].max()
    for axes, (name, values) in zip(bottom, maps.items(), strict=True):
        if name == "left photograph":
            axes.imshow(values, cmap="gray")
        else:
            seen = np.where(np.isfinite(values) & (values >= 0), values, np.nan)
            shown = axes.imshow(seen, cmap=ramp(), vmin=0, vmax=largest, interpolation="nearest")
        axes.set_title(name)
    figure.colorbar(shown, ax=bottom, label="disparity, pixels", pad=0.01, aspect=12)
    for axes in (*top, *bottom):
        axes.set(xticks=[], yticks=[])
    return figure
