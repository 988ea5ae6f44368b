"""The networks of onnx's own backend tests, read from their files and evaluated.

The folder ``light`` of the package onnx holds nine networks with the output of each. Their weights are constants, so
the files are small, and agreement shows that the operators and their order were read correctly, not the weights. The
input is that of onnx's test runner: 0, 1, 2, ... divided by the number of entries; the tolerances are those of its test
cases. Networks are evaluated in float64: the scores of SqueezeNet come to 10^10, where float32 rounds by more than 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

import convmatrix as cm
from analyses import Claim, check_equal, published_equal, published_within, skipped
from analyses.models.padding import size_by_positions, size_of
from analyses.models.published import SOURCE as TORCHVISION

SURVEY: Final = "Sze, Chen, Yang, Emer, Proceedings of the IEEE 105(12), 2017, Table II"
MODEL_ZOO: Final = "ONNX Model Zoo, size of the file with all weights"
RUNNER: Final = "onnx, backend/test/data/light, made by onnx's reference evaluator"


@dataclass(frozen=True)
class Light:
    """What was published of one of the networks: exact numbers, or the least and the largest that words allow."""

    name: str  # as in the name of the file
    source: str
    parameters: int | tuple[float, float, str]
    giga_macs: tuple[float, float, str] | None = None
    size: int = 224  # width of the image that the published multiply-adds are for
    tolerance: float = 1e-3  # relative, of onnx's test case
    slow: bool = False  # whether it is left out of a quick run


def file_size(size: float, digits: int) -> tuple[float, float, str]:
    """Return the range of the number of parameters in a file of the given size in megabytes."""
    half = 0.5 * 10.0**-digits
    return (size - half) * 1e6 / 4, (size + half) * 2**20 / 4, f"{size} MB"


def rounded(value: float, digits: int, words: str) -> tuple[float, float, str]:
    """Return the range of numbers that round to a value."""
    half = 0.5 * 10.0**-digits
    return value - half, value + half, words


NETWORKS: Final = (
    Light("bvlc_alexnet", SURVEY, rounded(61e6, -6, "61 million"), rounded(0.724, 3, "724 million"), 227, slow=True),
    Light("densenet121", TORCHVISION, 7_978_856, rounded(2.834, 3, "2.834"), tolerance=2e-3),
    Light("inception_v1", SURVEY, rounded(7e6, -6, "7 million"), rounded(1.43, 2, "1.43 billion")),
    Light("inception_v2", MODEL_ZOO, file_size(44, 0)),
    Light("resnet50", TORCHVISION, 25_557_032, rounded(4.089, 3, "4.089")),
    Light("shufflenet", MODEL_ZOO, file_size(5.3, 1)),
    Light("squeezenet", TORCHVISION, 1_235_496, rounded(0.349, 3, "0.349")),
    Light("vgg19", TORCHVISION, 143_667_240, rounded(19.632, 3, "19.632"), slow=True),
    Light("zfnet512", MODEL_ZOO, file_size(341, 0), slow=True),
)


def light_claims(quick: bool) -> list[Claim]:
    """Return the claims on all networks; skipped ones if onnx is not installed."""
    try:
        import onnx
    except ImportError:
        reason = "onnx is not installed"
        return [skipped(f"light-{light.name}-output", f"{light.name}: output", reason=reason) for light in NETWORKS]
    folder = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    claims = []
    for light in NETWORKS:
        path = folder / f"light_{light.name}.onnx"
        if not path.is_file():
            claims.append(skipped(f"light-{light.name}-output", f"{light.name}: output", reason="onnx lacks the file"))
        elif quick and light.slow:
            claims.append(skipped(f"light-{light.name}-output", f"{light.name}: output", reason="not in a quick run"))
        else:
            claims += network_claims(light, path)
    return claims


def network_claims(light: Light, path: Path) -> list[Claim]:
    """Return the claims on one network."""
    network = cm.Network.from_onnx(path)
    counted = network if light.size == network.input_shape[-1] else cm.Network.from_onnx(path, (3, *[light.size] * 2))
    size, again = size_of(counted), size_by_positions(counted)
    name, key = f"onnx {light.name}", f"light-{light.name}"
    claims = [
        published_within(
            f"{key}-output",
            f"{name}: largest difference from the stored output, in units of the tolerance",
            _difference(network, path, light.tolerance),
            (0, 1),
            published="the stored output",
            source=RUNNER,
            rule=f"at most 1e-7 + {light.tolerance:g} times the stored value, the tolerance of onnx's test",
        )
    ]
    statement, source = f"{name}: parameters", light.source
    if isinstance(light.parameters, int):
        claims.append(
            published_equal(f"{key}-parameters", statement, size.parameters, published=light.parameters, source=source)
        )
    else:
        low, high, words = light.parameters
        rule = "rounded" if source == SURVEY else "four bytes a parameter, megabytes of 10^6 to 2^20 bytes"
        claims.append(
            published_within(
                f"{key}-parameters", statement, size.parameters, (low, high), published=words, source=source, rule=rule
            )
        )
    if light.giga_macs is not None:
        low, high, words = light.giga_macs
        statement = f"{name}: giga multiply-adds by convention, image {light.size} wide"
        found = size.macs / 1e9
        claims.append(
            published_within(
                f"{key}-gmacs", statement, found, (low, high), published=words, source=source, rule="rounded"
            )
        )
    reason = "counted position by position on each axis"
    return [
        *claims,
        check_equal(
            f"{key}-multiply-adds",
            f"{name}: multiply-adds by convention, and without those by padding",
            [size.macs, size.multiply_adds],
            expected=[again.macs, again.multiply_adds],
            reason=reason,
        ),
        check_equal(
            f"{key}-padding",
            f"{name}: share of the multiply-adds that reads padding",
            size.padding,
            expected=again.padding,
            reason=reason,
        ),
    ]


def sample_input(shape: tuple[int, ...]) -> Any:
    """Return the sample that onnx's test runner evaluates networks on, in float64.

    Examples
    --------
    >>> sample_input((1, 2, 2)).ravel().tolist()
    [0.0, 0.25, 0.5, 0.75]
    """
    n = int(np.prod(shape))
    return (np.arange(n).reshape(shape) / n).astype(np.float32).astype(np.float64)


def _difference(network: cm.Network, path: Path, tolerance: float) -> float:
    """Return the largest difference of an output from the stored one, divided by what is tolerated."""
    from onnx import TensorProto, numpy_helper

    stored = TensorProto.FromString(path.with_name(f"{path.stem}_output_0.pb").read_bytes())
    expected = numpy_helper.to_array(stored).astype(np.float64)
    found = network(sample_input(network.input_shape)[None]).reshape(expected.shape)
    return float((np.abs(found - expected) / (1e-7 + tolerance * np.abs(expected))).max())
