"""The analyses of inverses and Toeplitz spectra notice what is wrong."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="needs the extra analyses")
pytest.importorskip("skimage", reason="needs the extra analyses")

import convmatrix as cm
from analyses import boundary_conditions, preconditioners, szego

if TYPE_CHECKING:
    from analyses import Claim


def failed(claims: list[Claim]) -> list[str]:
    return [claim.key for claim in claims if claim.verdict == "failed"]


# --- preconditioners -------------------------------------------------------------------------------------------------


def test_five_eigenvalues_hold() -> None:
    claims = preconditioners.five_eigenvalues()
    assert failed(claims) == []
    assert claims[2].computed == [5, 8]  # n = 8


def test_five_eigenvalues_of_another_circulant(monkeypatch: pytest.MonkeyPatch) -> None:
    original: Any = cm.circulant
    monkeypatch.setattr(cm, "circulant", lambda column: original([column[0] + 1, *column[1:]]))
    assert len(failed(preconditioners.five_eigenvalues())) == 6
    monkeypatch.undo()
    prepare: Any = cm.solve.circulant_preconditioner
    monkeypatch.setattr(
        cm.solve,
        "circulant_preconditioner",
        lambda kernel, n, **options: prepare(kernel, n, **options | {"kind": "t_chan"}),
    )
    assert len(failed(preconditioners.five_eigenvalues())) == 1


def test_iterations_of_another_symbol() -> None:
    counts = {
        name: [preconditioners.iterations(n, kind) for n in (32, 64, 128)]
        for name, kind in preconditioners.KINDS.items()
    }
    assert failed(preconditioners.table([32, 64, 128], counts)) == []
    counts["Strang"] = [9, 9, 9]
    assert len(failed(preconditioners.table([32, 64, 128], counts))) == 2


def test_iterations_that_do_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preconditioners, "cg", lambda *_, **__: (None, 640))
    with pytest.raises(RuntimeError, match="conjugate gradients did not reach 1e-7 in 640 steps for n=32, kind=None"):
        preconditioners.iterations(32, None)


# --- boundary conditions ---------------------------------------------------------------------------------------------


def test_eigenvalue_claims_notice_another_boundary(monkeypatch: pytest.MonkeyPatch) -> None:
    assert failed(boundary_conditions.eigenvalue_claims()) == []
    original: Any = cm.conv_matrix
    monkeypatch.setattr(
        cm,
        "conv_matrix",
        lambda kernel, n, *, padding, boundary: original(kernel, n, padding=padding, boundary="circular"),
    )
    assert len(failed(boundary_conditions.eigenvalue_claims())) == 4


def test_photograph_is_blurred_with_the_scene_outside() -> None:
    kernel = boundary_conditions.gaussian(2.5, radius=9)
    assert kernel.sum() == pytest.approx(1)
    photograph = boundary_conditions.Photograph.blurred(64, kernel)
    matrices = {b: cm.ConvOperator(kernel, (64, 64), padding="same", boundary=b) for b in cm.BOUNDARIES}
    noise = {b: (photograph.image.ravel() - A @ photograph.scene.ravel()).reshape(64, 64) for b, A in matrices.items()}
    for difference in noise.values():
        assert np.abs(difference[9:-9, 9:-9]).max() < 5 * boundary_conditions.NOISE  # no boundary is read there
        assert np.abs(difference).max() > 10 * boundary_conditions.NOISE  # and none is right at the border
    assert photograph.error(photograph.scene) == 0
    assert photograph.error(photograph.scene * 1.1, border=9) == pytest.approx(0.1)


def test_photograph_claims_notice_swapped_boundaries() -> None:
    photograph = boundary_conditions.Photograph.blurred(64, boundary_conditions.gaussian(2.5, radius=9))
    blurred = photograph.error(photograph.image)
    ratios = {"zero": 1.1, "circular": 1.1, "reflect": 0.8, "symmetric": 0.7, "replicate": 0.75}
    best = {boundary: ratio * blurred for boundary, ratio in ratios.items()}
    names = failed(boundary_conditions.photograph_claims(photograph, best | {"zero": 0.6 * blurred}, 0.05))
    assert {"error-zero", "best-boundary"} <= set(names)


def test_contenders_agree(capsys: pytest.CaptureFixture[str]) -> None:
    photograph = boundary_conditions.Photograph.blurred(64, boundary_conditions.gaussian(2.5, radius=9))
    contenders = boundary_conditions.beside(photograph, 0.05, few=True)
    boundary_conditions.report(contenders)
    assert "scipy lsqr, symmetric" in capsys.readouterr().out
    assert failed(boundary_conditions.contender_claims(contenders)) == []
    contenders[3] = dataclasses.replace(contenders[3], x=photograph.image)
    assert len(failed(boundary_conditions.contender_claims(contenders))) == 1


# --- Szego -----------------------------------------------------------------------------------------------------------


def test_spectra_of_another_matrix() -> None:
    f = np.sort(cm.spectral.transfer_function(szego.KERNEL, szego.RING, padding="same", boundary="circular").real)
    for change in (0.0, 1.0):
        spectra = {n: szego.eigenvalues(szego.KERNEL, n) for n in (64, 128, 256)}
        spectra[256] = spectra[256] + change
        distances = {n: szego.distance(values, f) for n, values in spectra.items()}
        gaps = {n: (f[-1] - values[-1], values[0] - f[0]) for n, values in spectra.items()}
        wrong = failed(szego.distribution_claims(spectra, f, distances))
        assert len(wrong) == (3 if change else 0)
        assert len(failed(szego.extreme_claims(spectra, f, gaps))) == (5 if change else 0)


def test_rates() -> None:
    assert szego.slope({8: 1.0, 16: 0.5, 32: 0.125}) == -2
    rates = [szego.rate_claim(key, "r", {8: 1.0, 16: 0.5}, rate) for key, rate in (("right", -1), ("wrong", -2))]
    assert failed(rates) == ["wrong"]
