"""VGG-16 and ResNets at 224 x 224: published parameters, and multiply-adds with and without those by padding.

Source: torchvision's published metadata of its models (parameters and GFLOPS, which are multiply-adds), for the
architectures of Simonyan and Zisserman (2015) and He et al. (2016). The published counts multiply padding too; the
nonzeros of the layers' matrices, here beside them, do not.
"""

from __future__ import annotations

import math

import numpy as np

import convmatrix as cm
from analyses import Claim, Context, check_equal, published_equal
from convmatrix.counts import network_counts, network_layers

SOURCE = "torchvision, metadata of its models"
PUBLISHED_PARAMETERS = {"vgg16": 138_357_544, "resnet18": 11_689_512, "resnet50": 25_557_032}
PUBLISHED_GIGA_MACS = {"vgg16": 15.47, "resnet50": 4.09}


def run(context: Context) -> list[Claim]:
    """Count each network, and hold its nonzeros against matrices."""
    claims = []
    for name, parameters in PUBLISHED_PARAMETERS.items():
        counts = network_counts(name)
        total = counts.total
        claims.append(
            published_equal(
                f"{name}-parameters", f"{name}: parameters", total.parameters, published=parameters, source=SOURCE
            )
        )
        if name in PUBLISHED_GIGA_MACS:
            claims.append(
                published_equal(
                    f"{name}-gmacs",
                    f"{name}: giga multiply-adds by convention, padding counted",
                    round(total.macs / 1e9, 2),
                    published=PUBLISHED_GIGA_MACS[name],
                    source=SOURCE,
                )
            )
        layers = network_layers(name)
        built = sum(_nonzeros_by_matrix(layer.geometry) for layer in layers if layer.kind == "convolution")
        pairs = ((layer.input_shapes[0], layer.output_shape[0]) for layer in layers if layer.kind == "dense")
        dense = sum(math.prod(inputs) * outputs for inputs, outputs in pairs)
        claims.append(
            check_equal(
                f"{name}-nonzeros",
                f"{name}: multiply-adds without padding (nonzeros of all matrices)",
                total.nonzeros,
                expected=built + dense,
                reason="nonzeros of the matrix of one pair of channels, built for every layer, times the pairs",
            )
        )
    vgg = network_counts("vgg16")
    formula = sum(
        layer.geometry.in_channels * layer.geometry.out_channels * (3 * layer.geometry.input_shape[0] - 2) ** 2
        for layer in network_layers("vgg16")
        if layer.kind == "convolution"
    )
    convolutions = [layer for layer in vgg.layers if layer.name.startswith("conv")]
    claims.append(
        check_equal(
            "vgg16-formula",
            "vgg16: nonzeros of the convolutions by (3n - 2)^2 a pair of channels",
            sum(layer.nonzeros for layer in convolutions),
            expected=formula,
            reason="the closed form for kernel 3, padding 1, stride 1",
        )
    )
    return claims


def _nonzeros_by_matrix(geometry: cm.ConvGeometry) -> int:
    """Return the nonzeros of a layer: channels are blocks, so that the matrix of one pair tells those of all."""
    one_pair = cm.ConvGeometry(
        geometry.input_shape, geometry.kernel_shape, stride=geometry.stride, padding=geometry.padding
    )
    matrix = cm.conv_matrix(np.ones(geometry.kernel_shape, dtype=np.int8), one_pair)
    return geometry.in_channels * geometry.out_channels * int(matrix.nnz)
