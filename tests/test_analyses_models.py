"""The analysis of published architectures: what it counts, and that it notices what is wrong."""

from __future__ import annotations

import dataclasses
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="needs the extra analyses")

import convmatrix as cm
from analyses import models
from analyses.models import light, residual, transformers
from analyses.models.layers import Layers, divisible
from analyses.models.padding import Size, size_by_positions, size_of
from analyses.models.published import FAMILIES, Published
from convmatrix.network import ARCHITECTURES, Network, Node

BY_NAME = {published.name: published for members in FAMILIES.values() for published in members}


def verdicts(claims: list[Any]) -> dict[str, str]:
    return {claim.key: claim.verdict for claim in claims}


def claims_of(published: Published) -> dict[str, str]:
    network = published.build()
    return verdicts(models.architecture_claims(published, size_of(network), size_by_positions(network)))


# --- counts ----------------------------------------------------------------------------------------------------------


def test_size_is_that_of_the_matrices() -> None:
    net = Layers(3, 9, 8)
    net.normalised(4, 3, 2)
    net.squeeze_excite(2)
    net.depthwise(5)
    net.classify(6)
    network = net.network("small")
    rng = np.random.default_rng(0)
    nonzeros = entries = 0
    for node in network:
        if node.kind == "convolution":
            kernel = rng.integers(1, 9, node.geometry.weight_shape)
            matrix = cm.conv_matrix(kernel, node.geometry)
            nonzeros, entries = nonzeros + matrix.nnz, entries + math.prod(matrix.shape)
    size = size_of(network)
    assert (size.nonzeros, size.entries) == (nonzeros + 24, entries + 24)
    assert size.parameters == 3 * 4 * 9 + 8 + (4 * 2 + 2) + (2 * 4 + 4) + 4 * 25 + 8 + 4 * 6 + 6
    assert dataclasses.replace(size, parameters=0) == size_by_positions(network)
    assert 0 < size.padding < 1


def test_attention_has_products_without_a_matrix() -> None:
    net = Layers(1, 5, 6)
    transformers.attention(net, 3)
    size = size_of(net.network("attention"))
    assert (size.products, size.nonzeros) == (2 * 5 * 5 * 6, 5 * 6 * 24)
    assert (size.macs, size.padding) == (size.products + size.nonzeros, 0)
    assert size == dataclasses.replace(size_by_positions(net.network("attention")), parameters=6 * 24 + 24)


def test_offsets_of_a_window_are_tied() -> None:
    net = Layers(3, 56, 56)
    constants = transformers._tied_constants(net, 2, np.array([[1, 2], [0, 1]]))
    (pattern,) = [node for node in net.network("constants") if node.name == constants]
    filled = dataclasses.replace(pattern.operation, weight=[5, 6, 7, 50, 60, 70])
    nodes = [Node(n.name, filled, n.inputs) if n.name == constants else n for n in net.network("constants")]
    values = Network(nodes)(np.zeros((1, 3, 56, 56)))
    assert values.tolist() == [[[[6, 7], [5, 6]], [[60, 70], [50, 60]]]]


@pytest.mark.parametrize(("value", "expected"), [(32, 32), (28, 32), (17.6, 16), (11, 16), (1, 8)])
def test_divisible(value: float, expected: int) -> None:
    assert divisible(value) == expected


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("x_400mf", [(32, 1, 2), (64, 2, 4), (160, 7, 10), (400, 12, 25)]),
        ("y_800mf", [(64, 1, 4), (144, 3, 9), (320, 8, 20), (784, 2, 49)]),
    ],
)
def test_stages_of_regnets_are_those_of_the_paper(name: str, stages: list[tuple[int, int, int]]) -> None:
    assert [(width, depth, groups) for width, depth, groups in residual.regnet_stages(name)] == stages


@pytest.mark.parametrize("name", ["vgg16", "resnet18", "resnet50"])
def test_the_same_as_the_named_architectures(name: str) -> None:
    assert size_of(BY_NAME[name].build()) == size_of(ARCHITECTURES[name]())


def test_auxiliary_classifier_has_parameters_but_no_multiply_adds() -> None:
    network = BY_NAME["inception_v3"].build()
    alone = network.until(network.outputs[0])
    assert size_of(network).parameters - size_of(alone).parameters == 27_161_264 - 23_834_568  # without it
    assert size_of(network).macs == size_of(alone).macs


# --- claims ----------------------------------------------------------------------------------------------------------


def test_names_and_groups() -> None:
    assert len(BY_NAME) == sum(map(len, FAMILIES.values())) > 75
    assert sorted(family for families in models.GROUPS.values() for family in families) == sorted(FAMILIES)


@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v3_small", "regnet_y_400mf"])
def test_another_kernel_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    published = BY_NAME[name]
    assert set(claims_of(published).values()) == {"reproduced", "checked"}
    original: Any = Layers.convolution
    monkeypatch.setattr(
        Layers,
        "convolution",
        lambda net, channels, taps, *stride, **options: original(
            net, channels, taps + 2 * (taps == 3), *stride, **options
        ),
    )
    assert list(claims_of(published).values()) == ["failed", "failed", "checked"]


def test_padding_is_checked_independently() -> None:
    published = BY_NAME["squeezenet1_1"]
    network = published.build()
    size, again = size_of(network), size_by_positions(network)
    wrong = dataclasses.replace(size, nonzeros=size.nonzeros - 1)
    found = verdicts(models.architecture_claims(published, wrong, again) + models.family_claims("s", [wrong], [again]))
    assert [key for key, verdict in found.items() if verdict == "failed"] == [
        "squeezenet1-1-padding",
        "family-s-nonzeros",
        "family-s-density",
    ]


def test_overall_claims() -> None:
    padded, plain = Size(1, 10, 9, 100, 0), Size(1, 10, 7, 100, 3)
    sizes = {"vgg": {"a": padded}, "vit": {"b": plain}, "swin": {"c": plain}}
    found = models.overall_claims(sizes, [], padded.padding)
    assert verdicts(found) == {"architectures": "failed", "padding-most": "checked", "unpadded": "checked"}
    found = models.overall_claims({"vgg": {"a": plain}}, [], padded.padding)
    assert verdicts(found)["padding-most"] == verdicts(found)["unpadded"] == "failed"


# --- the networks of onnx --------------------------------------------------------------------------------------------


def light_path(name: str) -> Path:
    onnx = pytest.importorskip("onnx")
    return Path(onnx.__file__).parent / "backend" / "test" / "data" / "light" / f"light_{name}.onnx"


def light_network(name: str) -> light.Light:
    (found,) = [network for network in light.NETWORKS if network.name == name]
    return found


def test_network_of_onnx() -> None:
    found = light.network_claims(light_network("squeezenet"), light_path("squeezenet"))
    assert [claim.verdict for claim in found] == ["reproduced"] * 3 + ["checked"] * 2


def test_other_output_and_numbers_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    path = light_path("shufflenet")
    monkeypatch.setattr(light, "sample_input", lambda shape: np.zeros(shape))
    monkeypatch.setattr(Network, "__call__", lambda network, x: np.full((1, 1000), 1.01e-3))
    wrong = dataclasses.replace(
        light_network("shufflenet"), parameters=1_393_321, giga_macs=(0.13, 0.15, "140 million")
    )
    found = light.network_claims(wrong, path)
    assert [claim.verdict for claim in found] == ["failed"] * 3 + ["checked"] * 2


def test_skipped_without_onnx_or_its_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "onnx", None)
        assert {claim.verdict for claim in light.light_claims(quick=False)} == {"skipped"}
    onnx = pytest.importorskip("onnx")
    monkeypatch.setattr(onnx, "__file__", str(tmp_path / "__init__.py"))
    found = light.light_claims(quick=False)
    assert {claim.verdict for claim in found} == {"skipped"}
    assert len(found) == len(light.NETWORKS) == 9


def test_file_sizes() -> None:
    low, high, words = light.file_size(44, 0)
    assert (low, high, words) == (43.5e6 / 4, 44.5 * 2**20 / 4, "44 MB")
