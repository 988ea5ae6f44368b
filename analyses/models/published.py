"""What was published of the architectures: trained parameters, and multiply-adds of one image.

Source: torchvision, documentation of pretrained weights: the numbers of parameters as they stand there, and "GFLOPS",
which are billions of multiply-adds of convolutions, dense layers and matrix products, to three decimals.
The image has the size that the weights were evaluated with: 224 x 224 unless the name or the builder gives another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from analyses.models.branched import densenet, googlenet, inception_v3, squeezenet
from analyses.models.chains import alexnet, vgg
from analyses.models.mobile import efficientnet, efficientnet_v2, mnasnet, mobilenet_v2, mobilenet_v3, shufflenet_v2
from analyses.models.residual import regnet, resnet
from analyses.models.transformers import convnext, swin, vit

if TYPE_CHECKING:
    from convmatrix.network import Network

SOURCE: Final = "torchvision, documentation of pretrained weights"


@dataclass(frozen=True)
class Published:
    """An architecture and its published numbers."""

    name: str
    build: Callable[[], Network]  # returns the network without weights
    parameters: int
    giga_macs: float  # multiply-adds by convention, padding counted, in billions


FAMILIES: Final[dict[str, tuple[Published, ...]]] = {
    "alexnet": (Published("alexnet", lambda: alexnet(), 61_100_840, 0.714),),
    "vgg": (
        Published("vgg11", lambda: vgg(11), 132_863_336, 7.609),
        Published("vgg13", lambda: vgg(13), 133_047_848, 11.308),
        Published("vgg16", lambda: vgg(16), 138_357_544, 15.47),
        Published("vgg19", lambda: vgg(19), 143_667_240, 19.632),
        Published("vgg11_bn", lambda: vgg(11, normalised=True), 132_868_840, 7.609),
        Published("vgg13_bn", lambda: vgg(13, normalised=True), 133_053_736, 11.308),
        Published("vgg16_bn", lambda: vgg(16, normalised=True), 138_365_992, 15.47),
        Published("vgg19_bn", lambda: vgg(19, normalised=True), 143_678_248, 19.632),
    ),
    "resnet": (
        Published("resnet18", lambda: resnet(18), 11_689_512, 1.814),
        Published("resnet34", lambda: resnet(34), 21_797_672, 3.664),
        Published("resnet50", lambda: resnet(50), 25_557_032, 4.089),
        Published("resnet101", lambda: resnet(101), 44_549_160, 7.801),
        Published("resnet152", lambda: resnet(152), 60_192_808, 11.514),
    ),
    "wide_resnet": (
        Published("wide_resnet50_2", lambda: resnet(50, group_width=128), 68_883_240, 11.398),
        Published("wide_resnet101_2", lambda: resnet(101, group_width=128), 126_886_696, 22.753),
    ),
    "resnext": (
        Published("resnext50_32x4d", lambda: resnet(50, 32, 4), 25_028_904, 4.23),
        Published("resnext101_32x8d", lambda: resnet(101, 32, 8), 88_791_336, 16.414),
        Published("resnext101_64x4d", lambda: resnet(101, 64, 4), 83_455_272, 15.46),
    ),
    "regnet_x": (
        Published("regnet_x_400mf", lambda: regnet("x_400mf"), 5_495_976, 0.414),
        Published("regnet_x_800mf", lambda: regnet("x_800mf"), 7_259_656, 0.8),
        Published("regnet_x_1_6gf", lambda: regnet("x_1_6gf"), 9_190_136, 1.603),
        Published("regnet_x_3_2gf", lambda: regnet("x_3_2gf"), 15_296_552, 3.177),
        Published("regnet_x_8gf", lambda: regnet("x_8gf"), 39_572_648, 7.995),
        Published("regnet_x_16gf", lambda: regnet("x_16gf"), 54_278_536, 15.941),
        Published("regnet_x_32gf", lambda: regnet("x_32gf"), 107_811_560, 31.736),
    ),
    "regnet_y": (
        Published("regnet_y_400mf", lambda: regnet("y_400mf"), 4_344_144, 0.402),
        Published("regnet_y_800mf", lambda: regnet("y_800mf"), 6_432_512, 0.834),
        Published("regnet_y_1_6gf", lambda: regnet("y_1_6gf"), 11_202_430, 1.612),
        Published("regnet_y_3_2gf", lambda: regnet("y_3_2gf"), 19_436_338, 3.176),
        Published("regnet_y_8gf", lambda: regnet("y_8gf"), 39_381_472, 8.473),
        Published("regnet_y_16gf", lambda: regnet("y_16gf"), 83_590_140, 15.912),
        Published("regnet_y_32gf", lambda: regnet("y_32gf"), 145_046_770, 32.28),
        Published("regnet_y_128gf", lambda: regnet("y_128gf"), 644_812_894, 127.518),
        Published("regnet_y_16gf at 384", lambda: regnet("y_16gf", 384), 83_590_140, 46.735),
        Published("regnet_y_32gf at 384", lambda: regnet("y_32gf", 384), 145_046_770, 94.826),
        Published("regnet_y_128gf at 384", lambda: regnet("y_128gf", 384), 644_812_894, 374.57),
    ),
    "squeezenet": (
        Published("squeezenet1_0", lambda: squeezenet("1_0"), 1_248_424, 0.819),
        Published("squeezenet1_1", lambda: squeezenet("1_1"), 1_235_496, 0.349),
    ),
    "densenet": (
        Published("densenet121", lambda: densenet(121), 7_978_856, 2.834),
        Published("densenet161", lambda: densenet(161), 28_681_000, 7.728),
        Published("densenet169", lambda: densenet(169), 14_149_480, 3.36),
        Published("densenet201", lambda: densenet(201), 20_013_928, 4.291),
    ),
    "googlenet": (Published("googlenet", lambda: googlenet(), 6_624_904, 1.498),),
    "inception": (Published("inception_v3", lambda: inception_v3(), 27_161_264, 5.713),),
    "mobilenet": (
        Published("mobilenet_v2", lambda: mobilenet_v2(), 3_504_872, 0.301),
        Published("mobilenet_v3_small", lambda: mobilenet_v3("small"), 2_542_856, 0.057),
        Published("mobilenet_v3_large", lambda: mobilenet_v3("large"), 5_483_032, 0.217),
    ),
    "shufflenet": (
        Published("shufflenet_v2_x0_5", lambda: shufflenet_v2("0_5"), 1_366_792, 0.04),
        Published("shufflenet_v2_x1_0", lambda: shufflenet_v2("1_0"), 2_278_604, 0.145),
        Published("shufflenet_v2_x1_5", lambda: shufflenet_v2("1_5"), 3_503_624, 0.296),
        Published("shufflenet_v2_x2_0", lambda: shufflenet_v2("2_0"), 7_393_996, 0.583),
    ),
    "mnasnet": (
        Published("mnasnet0_5", lambda: mnasnet(0.5), 2_218_512, 0.104),
        Published("mnasnet0_75", lambda: mnasnet(0.75), 3_170_208, 0.215),
        Published("mnasnet1_0", lambda: mnasnet(1.0), 4_383_312, 0.314),
        Published("mnasnet1_3", lambda: mnasnet(1.3), 6_282_256, 0.526),
    ),
    "efficientnet": (
        Published("efficientnet_b0", lambda: efficientnet("b0"), 5_288_548, 0.386),
        Published("efficientnet_b1", lambda: efficientnet("b1", 240), 7_794_184, 0.687),
        Published("efficientnet_b2", lambda: efficientnet("b2", 288), 9_109_994, 1.088),
        Published("efficientnet_b3", lambda: efficientnet("b3", 300), 12_233_232, 1.827),
        Published("efficientnet_b4", lambda: efficientnet("b4", 380), 19_341_616, 4.394),
        Published("efficientnet_b5", lambda: efficientnet("b5", 456), 30_389_784, 10.266),
        Published("efficientnet_b6", lambda: efficientnet("b6", 528), 43_040_704, 19.068),
        Published("efficientnet_b7", lambda: efficientnet("b7", 600), 66_347_960, 37.746),
    ),
    "efficientnet_v2": (
        Published("efficientnet_v2_s", lambda: efficientnet_v2("s", 384), 21_458_488, 8.366),
        Published("efficientnet_v2_m", lambda: efficientnet_v2("m", 480), 54_139_356, 24.582),
        Published("efficientnet_v2_l", lambda: efficientnet_v2("l", 480), 118_515_272, 56.08),
    ),
    "convnext": (
        Published("convnext_tiny", lambda: convnext("tiny"), 28_589_128, 4.456),
        Published("convnext_small", lambda: convnext("small"), 50_223_688, 8.684),
        Published("convnext_base", lambda: convnext("base"), 88_591_464, 15.355),
        Published("convnext_large", lambda: convnext("large"), 197_767_336, 34.361),
    ),
    "vit": (
        Published("vit_b_16", lambda: vit("b", 16), 86_567_656, 17.564),
        Published("vit_b_32", lambda: vit("b", 32), 88_224_232, 4.409),
        Published("vit_l_16", lambda: vit("l", 16), 304_326_632, 61.555),
        Published("vit_l_32", lambda: vit("l", 32), 306_535_400, 15.378),
        Published("vit_h_14", lambda: vit("h", 14), 632_045_800, 167.295),
        Published("vit_b_16 at 384", lambda: vit("b", 16, 384), 86_859_496, 55.484),
        Published("vit_l_16 at 512", lambda: vit("l", 16, 512), 305_174_504, 361.986),
        Published("vit_h_14 at 518", lambda: vit("h", 14, 518), 633_470_440, 1016.717),
    ),
    "swin": (
        Published("swin_t", lambda: swin("t"), 28_288_354, 4.491),
        Published("swin_s", lambda: swin("s"), 49_606_258, 8.741),
        Published("swin_b", lambda: swin("b"), 87_768_224, 15.431),
    ),
}
