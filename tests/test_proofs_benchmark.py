"""The benchmark of proofs: what it says where a contender is missing, stopped or wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import proofs
from benchmarks._command import Context
from benchmarks._worker import Outcome
from convmatrix import equivariance

QUICK = Context(quick=True)


def test_theorems_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proofs, "_is_installed", lambda engine: engine == "sympy")
    rows = proofs.seconds_a_theorem(QUICK).rows
    assert [row.cells["theorem"] for row in rows] == list(equivariance.theorems()[:3])
    assert all(isinstance(row.cells["sympy, s"], float) and row.cells["slowest engine, s"] for row in rows)


def test_a_theorem_that_is_not_proved_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refuted:
        proved = False

    monkeypatch.setattr(proofs.equivariance, "prove", lambda name, engine: Refuted())
    with pytest.raises(RuntimeError, match="sympy did not prove flat-index"):
        proofs._timed_proof("flat-index", "sympy")


def test_checks_are_linear_work() -> None:
    rows = proofs.check_against_build(QUICK).rows
    assert [row.cells["nonzeros"] for row in rows] == [16**2 * 9 * 16, 32**2 * 9 * 64]


def test_bases_say_why_emlp_has_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proofs, "_LARGEST_NULL_SPACE", 3)  # the next one takes seconds
    monkeypatch.setattr(proofs, "emlp_outcome", lambda size, limit: Outcome(failure="not installed"))
    table = proofs.equivariant_bases(QUICK)
    assert [row.cells["EMLP / orbits"] for row in table.rows] == ["not installed"] * 2
    assert [row.cells["dimension"] for row in table.rows] == [9, 16]
    assert [row.cells["null space / orbits"] is None for row in table.rows] == [False, True]
    assert "not installed" in table.text()
    monkeypatch.setattr(proofs, "emlp_outcome", lambda size, limit: Outcome({"seconds": [2.0, 1.0], "dimension": 9}))
    with pytest.raises(RuntimeError, match="EMLP finds 9 maps, not 16"):
        proofs.equivariant_bases(QUICK)


def test_emlp_outcomes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "emlp").mkdir()
    (tmp_path / "emlp" / "__init__.py").write_text("raise RuntimeError('made for another jax')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert proofs.emlp_outcome(3, 60).failure == "RuntimeError: made for another jax"
    monkeypatch.setenv("EMLP_PYTHON", str(tmp_path / "python"))
    assert str(proofs.emlp_outcome(3, 60).failure).endswith("No such file or directory")
    monkeypatch.setenv("EMLP_PYTHON", sys.executable)
    assert proofs.emlp_outcome(3, 0.01).failure == "stopped after 0.01 s"
