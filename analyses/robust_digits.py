"""Radii in which a trained network's answer cannot change: exact by verification, and by a Lipschitz bound.

Source: the bound by a Lipschitz constant L in the 2-norm is that of Tsuzuku, Sato, Sugiyama, Lipschitz-margin training,
NeurIPS 2018, proposition 1: no change of the input smaller than margin / (sqrt(2) L) changes the largest output. A
change of at most r in every one of n pixels has a 2-norm of at most sqrt(n) r. The exact radius in the maximum norm is
that of Tjeng, Xiao, Tedrake, Evaluating robustness of neural networks with mixed integer programming, ICLR 2019.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.datasets import load_digits

import convmatrix as cm
from analyses import Claim, Context, check_equal, check_within
from analyses._figures import COLOURS, PANEL_WIDTH, new_figure, plain_logarithms
from convmatrix import nn
from convmatrix.constraints import box_around, output_is_largest, recheck, verify
from convmatrix.spectral import lipschitz_bound

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from convmatrix.arrays import Array
    from convmatrix.network import Network

TRAINED = 1400  # images to train on
LARGEST = 0.5  # fraction of the range of a pixel: the largest radius that is tried


@dataclass(frozen=True)
class Radius:
    """What is known of one image, in units of the range of a pixel."""

    proved: float
    broken: float
    lipschitz: float
    nodes: int
    rechecked: bool
    changed: bool


def run(context: Context) -> list[Claim]:
    """Train a small network, and find for some test images the radius at which another class is reached."""
    images, labels = load_digits().images[:, None] / 16, load_digits().target
    network = trained(images[:TRAINED], labels[:TRAINED])
    answers = network(images[TRAINED:]).argmax(axis=1)
    right = TRAINED + np.flatnonzero(answers == labels[TRAINED:])
    bound = float(lipschitz_bound(network))
    n_images, units = (2, 256) if context.quick else (40, 2048)
    found = [radius(network, images[place], bound, units) for place in right[:n_images]]
    context.save_figure(figure(found))
    exact = float(np.median([item.proved for item in found]))
    guaranteed = float(np.median([item.lipschitz for item in found]))
    gain = float(np.median([item.proved / item.lipschitz for item in found]))
    return [
        check_within(
            "accuracy", "accuracy on the test images", len(right) / len(answers), (0.8, 1), reason="far above 0.1"
        ),
        check_equal(
            "rechecked",
            "images whose largest proved radius has a certificate that rechecks",
            sum(item.rechecked for item in found),
            expected=len(found),
            reason="a radius is proved only by a certificate",
        ),
        check_equal(
            "changed",
            "images with another class at the next radius, by evaluation",
            sum(item.changed for item in found),
            expected=len(found),
            reason="so that the radius is exact up to its unit",
        ),
        check_equal(
            "below",
            "images where the Lipschitz bound guarantees no more than is true",
            sum(item.lipschitz < item.broken for item in found),
            expected=len(found),
            reason="both are guarantees",
        ),
        check_within(
            "exact-radius",
            f"median exact radius, as a fraction of the range of a pixel ({len(found)} images)",
            exact,
            (0.01, 0.2),
            reason="smaller than the differences between digits, larger than rounding of pixels",
        ),
        check_within(
            "lipschitz-radius",
            "median radius guaranteed by the Lipschitz bound",
            guaranteed,
            (0, exact),
            reason="not above the exact one",
        ),
        check_within(
            "gain",
            "median quotient of the two",
            gain,
            (1, 1000),
            reason="a 2-norm bound for all inputs and directions is coarser than a proof for one box",
        ),
        check_within(
            "nodes",
            "most nodes of an image's proof",
            max(item.nodes for item in found),
            (9, 10**5),
            reason="at least one for each of the nine other classes",
        ),
    ]


def trained(images: Array, labels: Array) -> Network:
    """Return a small convolutional network trained on digits."""
    geometry = cm.ConvGeometry((8, 8), (3, 3), out_channels=4, stride=2, padding=1)
    layers = [nn.Conv(geometry, rng=0), nn.ReLU(), nn.Dense(64, 16, rng=0), nn.ReLU(), nn.Dense(16, 10, rng=0)]
    network = nn.Sequential(layers)
    nn.fit(network, images, labels, epochs=15, optimiser=nn.Adam(0.005), rng=0, progress=False)
    return network.to_network((1, 8, 8))


def radius(network: Network, image: Array, bound: float, units: int) -> Radius:
    """Return the largest multiple of 1/units that is proved, and the next one, which is broken, by bisection."""
    outputs = network(image[None])[0]
    label = int(outputs.argmax())
    margin = float(outputs[label] - np.delete(outputs, label).max())
    claim = output_is_largest(network, label)
    proved, broken = 0, round(LARGEST * units)
    best, counterexample = None, None
    while broken - proved > 1:
        middle = (proved + broken) // 2
        verification = verify(network, box_around(image, middle / units, 0, 1), claim)
        if verification:
            proved, best = middle, verification
        elif verification.verdict == "violated":
            counterexample = verification.counterexample
            broken = min(middle, math.ceil(np.max(np.abs(counterexample - image)) * units))
        else:
            raise RuntimeError(f"the radius {middle}/{units} was not decided: {verification.reason}")
    return Radius(
        proved / units,
        broken / units,
        margin / (math.sqrt(2 * image.size) * bound),
        0 if best is None else best.nodes,
        best is not None and bool(recheck(best.certificate, network, box_around(image, proved / units, 0, 1), claim)),
        counterexample is not None and int(network(counterexample[None])[0].argmax()) != label,
    )


def figure(found: list[Radius]) -> Figure:
    """Draw both radii of every image, in the order of the exact ones."""
    ordered = sorted(found, key=lambda item: item.proved)
    drawn = new_figure(PANEL_WIDTH, 2.9)
    axes = drawn.subplots()
    places = np.arange(1, len(ordered) + 1)
    axes.plot(places, [item.proved for item in ordered], "o", color=COLOURS[5], label="exact, by verification")
    axes.plot(places, [item.lipschitz for item in ordered], "s", color=COLOURS[4], label="Lipschitz bound")
    axes.set(
        title="radius in which the answer cannot change",
        xlabel="test image, in the order of its radius",
        ylabel="fraction of the range of a pixel",
        yscale="log",
    )
    axes.set_xticks(places[:: max(len(places) // 10, 1)])
    plain_logarithms(axes.yaxis)
    axes.legend(frameon=False)
    return drawn
