"""ONNX files that are damaged or made to do harm end in a clear error, in little memory and time."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("onnx")
if not sys.platform.startswith("linux"):
    pytest.skip("memory is limited by a system call of Linux", allow_module_level=True)

from tests import hostile_onnx


def test_hostile_files_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    names = hostile_onnx.write(folder)
    assert len(names) == len(set(names)) >= 150
    results = hostile_onnx.read_all(folder)
    assert sorted(results) == sorted(names)
    wrong = {name: result for name, result in results.items() if not result.get("clear")}
    assert sorted(wrong) == sorted(hostile_onnx.HARMLESS), wrong
    assert all("network" in wrong[name] for name in hostile_onnx.HARMLESS)


def test_errors_say_both_numbers_and_the_remedy(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    hostile_onnx.write(folder)
    for path in folder.glob("*.onnx"):
        if path.stem not in MESSAGES:
            path.unlink()
    results = hostile_onnx.read_all(folder)
    for name, parts in MESSAGES.items():
        message = results[name]["message"]
        assert all(part in message for part in parts), (name, message)


MESSAGES = {
    "initializer too few bytes": ["'w'", "(2, 2, 3, 3)", "144 bytes", "has 8", "export the model again"],
    "external above": ["'w'", "outside of the model's folder", "move the file"],
    "external short": ["'w'", "144 bytes", "has 10"],
    "constant Tile": ["'tile' (Tile)", "8.8 TB", "are available", "simplify the model"],
    "tensor Resize sizes": ["'resize' (Resize)", "its result", "EB", "smaller input_shape"],
    "open input": ["'x'", "(height, 3)", "give input_shape="],
    "two inputs": ["2 inputs: 'x', 'z'", "constants={'z': array}"],
    "cycle": ["'add', 'relu'", "cycle"],
    "missing tensor": ["'conv' (Conv)", "'w'"],
    "old operator set": ["operator set 6", "7 to", "convert_version"],
    "future operator set": ["operator set 9999", "update the package onnx"],
}
