"""AlexNet: parameters, convolution weights and multiply-adds, and the two slips of the paper.

Source: Krizhevsky, Sutskever, Hinton, ImageNet classification with deep convolutional neural networks, NIPS 2012, for
the architecture, "60 million parameters" and "650,000 neurons"; Chen et al., Eyeriss, ISSCC 2016, for the weights and
multiply-adds of the convolutions.

Two printed numbers do not follow from the architecture. (1) The image is given as 224 wide, but a kernel of 11 at
stride 4 has no whole number of places on it; with 227 it has 55. (2) The first layer is given 253,440 neurons, which is
no number of maps of 55 x 55; the other layers' printed numbers count both halves, and so counted the first has 290,400.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from analyses import Claim, Context, check_equal, published_equal, published_within
from convmatrix.counts import network_counts, network_layers, total_counts

if TYPE_CHECKING:
    import convmatrix as cm

PAPER = "Krizhevsky et al. 2012"
EYERISS = "Chen et al., ISSCC 2016"
PRINTED_WIDTH = 224
PRINTED_NEURONS = (253_440, 186_624, 64_896, 64_896, 43_264, 4096, 4096, 1000)


def run(context: Context) -> list[Claim]:
    """Count the network, and show what its printed numbers would need."""
    counts = network_counts("alexnet")
    layers = network_layers("alexnet")
    convolutions = [layer for layer in layers if layer.kind == "convolution"]
    neurons = [counts[layer.name].units for layer in layers if layer.kind in ("convolution", "dense")]
    total = total_counts([counts[layer.name] for layer in convolutions])
    first = convolutions[0].geometry
    maps = [layer.geometry.output_shape[0] for layer in convolutions]
    return [
        published_within(
            "parameters",
            "parameters",
            counts.total.parameters,
            (55e6, 65e6),
            published="60 million",
            source=PAPER,
            rule="six when rounded to tens of millions",
        ),
        published_within(
            "weights",
            "weights of the convolutions",
            total.weights,
            (2.25e6, 2.35e6),
            published="2.3 million",
            source=EYERISS,
            rule="2.3 when rounded to tenths of millions",
        ),
        published_within(
            "macs",
            "multiply-adds of the convolutions, padding counted",
            total.macs,
            (665.5e6, 666.5e6),
            published="666 million",
            source=EYERISS,
            rule="666 when rounded to millions",
        ),
        check_equal(
            "nonzeros",
            "their multiply-adds without the padding: nonzeros of their matrices",
            total.nonzeros,
            expected=sum(_taps_inside(layer.geometry) for layer in convolutions),
            reason="taps that read a sample, by plain loops over outputs and taps of one axis",
        ),
        published_equal("widths", "width of the feature maps", maps, published=[55, 27, 13, 13, 13], source=PAPER),
        published_equal(
            "neurons",
            "neurons of the layers after the first",
            neurons[1:],
            published=list(PRINTED_NEURONS[1:]),
            source=PAPER,
        ),
        published_within(
            "neurons-total",
            "neurons, both halves of every layer",
            sum(neurons),
            (0.95 * 650e3, 1.05 * 650e3),
            published="650,000",
            source=PAPER,
            rule="5% either way: the paper gives a round number, and its own layers add up to 622,312",
        ),
        check_equal(
            "width-224",
            "erratum 1: places of the first kernel on an image 224 wide, before rounding",
            str(Fraction(PRINTED_WIDTH - first.kernel_shape[0], first.stride[0]) + 1),
            expected="217/4",
            reason="not whole, so that the printed width cannot be the one used",
        ),
        check_equal(
            "width-227",
            "erratum 1: widths between 200 and 250 that give maps of 55 without padding or rest",
            [width for width in range(200, 250) if _fits(width, first, maps[0])],
            expected=[first.input_shape[0]],
            reason="one width alone is consistent with the published maps",
        ),
        check_equal(
            "printed-maps",
            "erratum 2: maps of 55 x 55 in the printed 253,440 neurons of layer 1",
            str(Fraction(PRINTED_NEURONS[0], maps[0] ** 2)),
            expected="4608/55",
            reason="not whole, so that the printed number is no number of neurons of this layer",
        ),
        check_equal(
            "neurons-layer1",
            "erratum 2: neurons of layer 1, both halves counted",
            neurons[0],
            expected=2 * 48 * 55 * 55,
            reason="two halves of 48 maps of 55 x 55, as the paper's text describes them",
        ),
        check_equal(
            "printed-product",
            "erratum 2: width of the maps x maps of a half x all maps",
            maps[0] * (convolutions[0].geometry.out_channels // 2) * convolutions[0].geometry.out_channels,
            expected=PRINTED_NEURONS[0],
            reason="the printed number has this form, as if one of the two widths had been mistaken for the 48 maps",
        ),
    ]


def _fits(width: int, layer: cm.ConvGeometry, maps: int) -> bool:
    steps, rest = divmod(width - layer.kernel_shape[0], layer.stride[0])
    return rest == 0 and steps + 1 == maps


def _taps_inside(geometry: cm.ConvGeometry) -> int:
    count = geometry.out_channels * geometry.in_channels // geometry.groups
    for axis in geometry.axes:
        positions = (
            i * axis.stride + t * axis.dilation - axis.pad_low
            for i in range(axis.n_outputs)
            for t in range(axis.n_taps)
        )
        count *= sum(0 <= position < axis.n_samples for position in positions)
    return count
