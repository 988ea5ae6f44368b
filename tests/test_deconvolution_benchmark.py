"""The benchmark of deconvolution: every contender restores the same data, and errors are measured within the frame."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest

pytest.importorskip("skimage", reason="needs the extra benchmark")

from benchmarks import Context, Effort, deconvolution


def test_photograph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deconvolution, "_ROUNDS", Effort(0.0, 1, 1))
    monkeypatch.setattr(deconvolution.importlib.util, "find_spec", lambda name: None)  # PyLops takes long
    table = deconvolution.photograph(Context(quick=True))
    errors: dict[tuple[str, str, str], Any] = {
        (str(row.cells["program"]), str(row.cells["method"]), str(row.cells.get("beyond the border"))): row.cells
        for row in table.rows
    }
    blurred = errors["-", "blurred, with noise", "-"]
    assert 0.05 < blurred["error"] < 0.2
    lucy = errors["convmatrix", "Richardson-Lucy, 10", "nothing"]
    theirs = errors["scikit-image", "Richardson-Lucy, 10", "zero"]
    assert lucy["error"] < blurred["error"] < theirs["error"]
    assert abs(lucy["error inside"] - theirs["error inside"]) < 0.2 * lucy["error inside"]
    # On such a small image, a wrong boundary costs more than the blur.
    ours = [cells for (program, _, border), cells in errors.items() if (program, border) == ("convmatrix", "nothing")]
    assert len(ours) == 2
    assert all(cells["error"] < blurred["error"] for cells in ours)
    assert ("PyLops", "not installed", "None") in errors


def test_objectives_of_total_variation() -> None:
    taken = deconvolution.Photograph.taken(16, 1.0)
    flat = np.full(taken.wide.shape, 0.5)
    assert deconvolution.objective(taken, flat, 9.0) == pytest.approx(np.linalg.norm(0.5 - taken.seen) ** 2 / 2)
    step = flat.copy()
    step[:, 5:] += 0.25
    grown = deconvolution.objective(taken, step, 9.0) - deconvolution.objective(taken, step, 0.0)
    assert grown == pytest.approx(9 * 0.25 * len(step))
    if importlib.util.find_spec("pylops") is not None:
        theirs = deconvolution.split_bregman(taken, 1e-3, outer=40)
        ours = deconvolution.cm.solve.deconvolve(
            taken.seen, taken.blur, taken.wide.shape, method="tv", isotropic=False, parameter=1e-3
        ).x
        found = [deconvolution.objective(taken, x, 1e-3) for x in (ours, theirs)]
        assert found[0] == pytest.approx(found[1], rel=2e-2)
