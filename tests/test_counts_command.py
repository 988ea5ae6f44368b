"""The command ``convmatrix count``: its table in four forms, and what it refuses."""

from __future__ import annotations

import json
import re

import pytest

import convmatrix as cm
from convmatrix.cli import main
from convmatrix.counts import NETWORKS, layer_counts, network_counts

H1 = ["--kernel-shape", "12x1x5x5", "--input-shape", "1x16x16", "--stride", "2", "--padding", "1:2"]
H1_GEOMETRY = cm.ConvGeometry((16, 16), (5, 5), out_channels=12, stride=2, padding=[(1, 2), (1, 2)])


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["count", *arguments]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def cells(line: str, separator: str) -> list[str]:
    return [cell.strip() for cell in line.split(separator)]


@pytest.mark.parametrize("network", NETWORKS)
def test_json_of_a_network(capsys: pytest.CaptureFixture[str], network: str) -> None:
    found = json.loads(output(capsys, network, "--json"))
    counts = network_counts(network)
    assert found["network"] == network
    assert [layer["name"] for layer in found["layers"]] == [layer.name for layer in counts.layers]
    for layer, expected in zip([*found["layers"], found["total"]], [*counts.layers, counts.total], strict=True):
        for name in ("units", "connections", "connections_inside", "parameters", "nonzeros", "macs", "density"):
            assert layer[name] == getattr(expected, name)
        assert layer["bytes"]["csr"] == expected.bytes.csr


@pytest.mark.parametrize("bias", ["channel", "unit", "none"])
def test_json_of_a_layer(capsys: pytest.CaptureFixture[str], bias: str) -> None:
    (layer,) = json.loads(output(capsys, *H1, "--bias", bias, "--dtype", "float32", "--json"))["layers"]
    expected = layer_counts(H1_GEOMETRY, None if bias == "none" else bias, dtype="float32")  # type: ignore[arg-type]
    assert (layer["connections"], layer["biases"]) == (expected.connections, expected.biases)
    assert layer["bytes"]["kernel"] == expected.bytes.kernel == 300 * 4


def test_text(capsys: pytest.CaptureFixture[str]) -> None:
    table, _, remark = output(capsys, "lenet5").partition("\n\n")
    assert "60,850 parameters" in " ".join(remark.split())
    lines = table.splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in lines}
    assert rows["layer"][:2] == ["units", "connections"]
    assert rows["C1"] == ["4,704", "122,304", "117,600", "150", "6", "156", "117,600", "117,600", "784.0"]
    assert rows["output"][-1] == "-"
    assert rows["total"][1] == "340,908"
    assert len({len(line) for line in lines[:-1] if not line.endswith("-")}) == 1


def test_one_layer_has_no_total(capsys: pytest.CaptureFixture[str]) -> None:
    lines = output(capsys, *H1, "--bias", "unit").splitlines()
    assert [line.split()[0] for line in lines] == ["layer", "layer"]
    assert lines[1].split()[2] == "19,968"


def test_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    lines = output(capsys, "lecun1989", "--markdown").splitlines()
    assert lines[1].startswith("| --- | ---: |")
    assert len({line.count("|") for line in lines}) == 1
    assert cells(lines[-1].strip("|"), "|")[:3] == ["total", "1,256", "64,660"]


def test_latex(capsys: pytest.CaptureFixture[str]) -> None:
    text = output(capsys, "vgg16", "--latex")
    lines = text.splitlines()
    assert [line for line in lines if "tabular" in line] == [
        r"\begin{tabular}{lrrrrr}", r"\end{tabular}", r"\begin{tabular}{lrrrr}", r"\end{tabular}",
    ]  # fmt: skip
    body = [line for line in lines if line.endswith(r"\\")]
    assert [line.count("&") for line in body] == [5] * (len(body) // 2) + [4] * (len(body) // 2)
    assert r"conv1\_1" in text
    assert not re.search(r"[^\\][_#]", text)
    assert re.match(r"total & 138\\,357\\,544 & ", body[-1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["vgg17"], r"network 'vgg17' is unknown; the named ones are lecun1989, .*, resnet50"),
        (["vgg16", "--stride", "2"], r"--stride .*vgg16"),
        (["vgg16", "--bias", "unit"], r"--bias .*vgg16"),
        ([*H1, "--rows", "0:3"], r"--rows"),
        ([*H1, "--json", "--latex"], r"argument --latex: not allowed with argument --json"),
        ([], r"no network: give its name .*--kernel-shape"),
    ],
)
def test_refusals(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert main(["count", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert re.search(message, captured.err)
