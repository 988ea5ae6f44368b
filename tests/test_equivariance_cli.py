"""The commands prove and equivariance."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from convmatrix import cli
from convmatrix.cli import equivariance as equivariance_command
from convmatrix.cli import prove as prove_command
from convmatrix.proofs import theorems


@pytest.fixture(autouse=True)
def _both_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = (*cli.COMMANDS, prove_command, equivariance_command)
    monkeypatch.setattr(cli, "COMMANDS", tuple(dict.fromkeys(commands)))


LAYER = ["equivariance", "--input-shape", "5x5", "--kernel-shape", "3x3", "--padding", "same"]


def test_equivariance(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*LAYER, "--boundary", "circular", "--shift", "1,0"]) == 0
    assert capsys.readouterr().out.startswith("Proved: the layer commutes with the cyclic shift by (1, 0)")
    assert cli.main([*LAYER, "--shift", "1,0"]) == 1
    out = capsys.readouterr().out
    assert "15 of 25 rows of the index pattern T break the symmetry" in out
    assert out.splitlines()[-6:-1] == ["xxxxx", "xxxxx", ".....", ".....", "xxxxx"]


def test_equivariance_as_json_and_latex(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*LAYER, "--shift=-1", "--json"]) == 1
    record = json.loads(capsys.readouterr().out)
    assert record["holds"] is False
    assert record["n_broken"] == len(record["broken_rows"])
    assert cli.main([*LAYER, "--boundary", "circular", "--shift", "2", "--latex"]) == 0
    assert capsys.readouterr().out.startswith(r"\textbf{Proved.}")


def test_a_stride_that_rules_the_shift_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*LAYER, "--stride", "2", "--shift", "1"]) == 1
    out = capsys.readouterr().out
    assert "stride[0]=2" in out
    assert "9 of 9 rows" in out
    assert cli.main([*LAYER, "--stride", "2", "--shift", "1", "--json"]) == 1
    record = json.loads(capsys.readouterr().out)
    assert (record["holds"], record["n_broken"]) == (False, 9)
    assert "shift[1]=1" in record["reason"]


def test_point_group(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*LAYER, "--quarter-turn"]) == 1
    assert cli.main([*LAYER, "--quarter-turn", "--tie", "C4"]) == 0
    assert cli.main([*LAYER, "--reflect", "1", "--tie", "D4"]) == 0
    assert "reflection of axis 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([*LAYER], 2, "no symmetry: give --shift"),
        ([*LAYER, "--shift", "1,x"], 2, "--shift '1,x' is not a shift"),
        ([*LAYER, "--shift", "1,2,3"], 2, "--shift 1,2,3 has 3 entries, but the layer has 2 spatial axes"),
        ([*LAYER, "--shift", "1", "--tie", "C4"], 2, "--tie changes nothing for shifts"),
        ([*LAYER, "--shift", "1", "--order", "F"], 2, "--order: equivariance"),
        ([*LAYER, "--reflect", "2"], 2, "--reflect 2: the layer has 2 spatial axes"),
        (["prove", "goldbach"], 2, "theorem 'goldbach' is unknown"),
        (["prove", "circular-shft"], 2, "did you mean circular-shift?"),
        (["prove", "flat-index", "--all"], 2, "--all proves every theorem"),
        (["prove", "--latex"], 2, "--latex prints proofs"),
        (["prove", "--recheck", "x.json", "--all"], 2, "--recheck reads a file"),
        (["prove", "--recheck", "/nowhere/x.json"], 2, "No such file"),
    ],
)
def test_errors(arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err


def test_a_shift_may_be_negative(capsys: pytest.CaptureFixture[str]) -> None:
    """A value that begins with a minus is no option."""
    ring = ["--padding", "same", "--boundary", "circular"]
    assert cli.main([*LAYER, *ring, "--shift", "-1,0"]) == 0
    assert "cyclic shift by (-1, 0) of its input" in capsys.readouterr().out
    assert cli.main([*LAYER, *ring, "--shift=0,-2"]) == 0


def test_prove_lists(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["prove"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2 * len(theorems())


def test_prove(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.main(["prove", "flat-index"]) == 0
    assert capsys.readouterr().out.startswith("Theorem flat-index: proved.")
    assert cli.main(["prove", "flat-index", "fourier-eigenvectors"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert cli.main(["prove", "flat-index", "--json"]) == 0
    (tmp_path / "proof.json").write_text(capsys.readouterr().out)
    assert cli.main(["prove", "--recheck", str(tmp_path / "proof.json")]) == 0
    assert "theorem flat-index holds" in capsys.readouterr().out
    assert cli.main(["prove", "flat-index", "--latex"]) == 0
    assert r"\begin{theorem}[flat-index]" in capsys.readouterr().out


def test_prove_with_z3(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("z3", reason="needs the extra prove")
    assert cli.main(["prove", "fourier-eigenvectors", "--engine", "both"]) == 0
    assert "proved     z3    fourier-eigenvectors (2 parts, 1 of them by sympy)" in capsys.readouterr().out


def test_prove_without_z3(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(__import__("sys").modules, "z3", None)
    assert cli.main(["prove", "flat-index", "--engine", "z3"]) == 2
    assert "run pip install z3-solver" in capsys.readouterr().err


def test_what_is_not_proved_ends_with_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("convmatrix.boundary.tap_position", lambda o, t, s, d, p: o * s + t * d)
    assert cli.main(["prove", "gradients"]) == 1
    assert "NOT proved" in capsys.readouterr().out
    assert cli.main(["prove", "gradients", "--latex"]) == 1
    assert "was not proved by sympy" in capsys.readouterr().err
