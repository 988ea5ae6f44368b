"""A few forged files in the suite; many are loaded by ``python -m tests.forged_files``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import forged_files, hostile_files


def test_forged_files_are_refused_or_harmless(tmp_path: Path) -> None:
    result = forged_files.attack(90, 7, tmp_path)
    assert sum(result.values()) == 90
    assert all(result[f"{suffix} refused"] > 15 for suffix in forged_files.SUFFIXES)


def test_a_matrix_that_nobody_saved_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forged_files, "forged", lambda suffix, rng: ("flip", hostile_files.saved(suffix)))
    monkeypatch.setattr(forged_files, "digest", lambda matrix: "that of another matrix")
    with pytest.raises(AssertionError, match="another matrix"):
        forged_files.attack(3, 0, tmp_path)
