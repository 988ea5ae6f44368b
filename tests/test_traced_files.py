"""Each call passes through only a few files of the package, so that a reader can follow it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

from tests.traced_files import CALLS, main, traced_files


def test_conv_matrix_goes_through_six_files() -> None:
    path = {"matrices.py", "options.py", "geometry.py", "boundary.py", "_assembly/rows.py", "_assembly/fill.py"}
    for name, call in CALLS.items():
        if name.startswith("conv_matrix"):
            assert set(traced_files(call)) == path, name


def test_norm_bounds_goes_through_ten_files() -> None:
    files = traced_files(CALLS["norm_bounds(kernel, shape)"])
    assert len(files) <= 10
    assert {name for name in files if "spectral" in name} == {
        "spectral/bounds.py",
        "spectral/blocks.py",
        "spectral/axis_transforms.py",
    }


def test_the_command_prints_the_files(capsys: pytest.CaptureFixture[str]) -> None:
    main()
    assert "conv_matrix(kernel, n): 6 files\n" in capsys.readouterr().out
