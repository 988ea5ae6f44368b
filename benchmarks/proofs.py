"""Proofs and exact checks of equivariance: seconds a theorem, and checks against sampling the commutator."""

from __future__ import annotations

import importlib
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

import convmatrix as cm
from benchmarks._tables import Goal, Row, Table
from benchmarks._timing import ratio_of, side_by_side
from convmatrix import equivariance

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks._command import Context


def seconds_a_theorem(context: Context) -> Table:
    """Time each theorem with each engine that is installed."""
    engines = [engine for engine in equivariance.ENGINES if _is_installed(engine)]
    names = equivariance.theorems()[:3] if context.quick else equivariance.theorems()
    for engine in engines:
        equivariance.prove("flat-index", engine)  # loads the engine
    rows = []
    for name in names:
        cells: dict[str, Any] = {"theorem": name}
        slowest = 0.0
        for engine in engines:
            context.report(f"{name}, {engine}")
            seconds = []
            for _ in range(1 if context.quick else 3):
                start = time.perf_counter()
                proof = equivariance.prove(name, engine)
                seconds.append(time.perf_counter() - start)
                if not proof.proved:
                    raise RuntimeError(f"{engine} did not prove {name}")
            cells[f"{engine}, s"] = float(np.median(seconds))
            slowest = max(slowest, float(np.median(seconds)))
        start = time.perf_counter()
        equivariance.recheck(equivariance.prove(name).record())
        cells["prove and recheck, s"] = time.perf_counter() - start
        rows.append(Row({**cells, "slowest, s": slowest}))
    return Table(
        "Theorems for every size",
        "Seconds to decide all lemmas of a theorem, the engines loaded before; median of three.",
        rows,
        context.goal(Goal("slowest, s", "at most", 2.0)),
    )


def check_against_build(context: Context) -> Table:
    """Time `check` on layers of growing size, beside the build of pattern and matrix."""
    rows = []
    for size, channels in ((16, 4), (32, 8)) if context.quick else ((16, 16), (32, 16), (64, 16)):
        context.report(f"{size} x {size}, {channels} channels")
        layer = cm.ConvGeometry(
            (size, size), (3, 3), in_channels=channels, out_channels=channels, padding="same", boundary="circular"
        )
        weights = np.random.default_rng(0).standard_normal(layer.weight_shape)
        pattern = layer.pattern()
        move = equivariance.shift((size, size), (1, 2), channels=channels)
        functions: dict[str, Callable[[], object]] = {
            "check": partial(equivariance.check, pattern, move, move),
            "build": partial(_built, layer, weights),
            "sampling": partial(_sampled, layer, weights, move),
        }
        times = side_by_side(functions, context.effort)
        check, build = ratio_of(times["check"], times["build"]), ratio_of(times["sampling"], times["check"])
        seconds = float(np.median(times["check"]))
        rows.append(
            Row(
                {
                    "layer": f"{size}x{size}, 3x3, {channels} -> {channels}",
                    "nonzeros": pattern.n_entries,
                    "check, s": seconds,
                    "check, ns a nonzero": 1e9 * seconds / pattern.n_entries,
                    "check / build": check.median,
                    "sampling / check": build.median,
                },
                timings=times,
            )
        )
    return Table(
        "Exact check of a shift",
        "check decides for every weight. Build is pattern and matrix. Sampling compares A P with Q A for one random "
        "matrix, built anew, and decides nothing.",
        rows,
    )


def _built(layer: cm.ConvGeometry, weights: Any) -> Any:
    return layer.pattern().matrix(weights)


def _sampled(layer: cm.ConvGeometry, weights: Any, move: Any) -> bool:
    """Test the commutator with random weights, entry by entry."""
    matrix = cm.conv_matrix(weights, layer)
    return bool(abs(matrix - matrix[move][:, move]).max() < 1e-12)


def equivariant_bases(context: Context) -> Table:
    """Time the basis of all equivariant maps, beside a null space of the commutators and, where installed, EMLP."""
    rows = []
    for size in (4, 6) if context.quick else (4, 6, 8, 32):
        context.report(f"torus {size} x {size}")
        steps = equivariance.torus_generators((size, size))
        functions: dict[str, Callable[[], object]] = {"orbits": partial(equivariance.equivariant_pattern, steps, steps)}
        if size <= 4:  # a dense null space of size**4 unknowns takes long soon
            functions["null space"] = partial(_null_space, steps)
        emlp = _emlp_basis(size) if size <= 8 else None
        if emlp is not None:
            functions["EMLP"] = emlp
        times = side_by_side(functions, context.effort)
        cells: dict[str, Any] = {
            "group": f"shifts of {size}x{size}",
            "index pairs": size**4,
            "orbits, s": float(np.median(times["orbits"])),
        }
        for name in ("null space", "EMLP"):
            cells[f"{name} / orbits"] = ratio_of(times[name], times["orbits"]).median if name in times else None
        rows.append(Row(cells, timings=times))
    return Table(
        "Basis of all equivariant maps",
        "Orbits of index pairs; the null space of the commutators by a dense SVD; EMLP's solver where it installs. "
        "Empty "
        "where a contender is not installed or would not fit.",
        rows,
    )


def _null_space(steps: list[Any]) -> Any:
    """Return a basis of the matrices that commute with permutations, by a dense singular value decomposition."""
    from scipy.linalg import null_space

    eye = np.eye(len(steps[0]))
    return null_space(np.vstack([np.kron(eye[p], eye) - np.kron(eye, eye[p].T) for p in steps]))


def _emlp_basis(size: int) -> Callable[[], object] | None:
    """Return EMLP's solver for the same maps, or None where it is not installed or does not run."""
    try:
        groups: Any = importlib.import_module("emlp.groups")
        reps: Any = importlib.import_module("emlp.reps")
    except Exception:  # it needs versions of other packages that may be missing
        return None

    class Torus(groups.Group):  # type: ignore[misc]  # EMLP has no types
        def __init__(self) -> None:
            eye = np.eye(size * size)
            self.discrete_generators = np.stack([eye[p] for p in equivariance.torus_generators((size, size))])
            super().__init__(size)

    return lambda: (reps.V(Torus()) >> reps.V(Torus())).equivariant_basis()


def _is_installed(engine: str) -> bool:
    if engine == "sympy":
        return True
    try:
        import z3  # noqa: F401 (only whether it is there)
    except ImportError:
        return False
    return True


TOPICS = {"theorems": seconds_a_theorem, "checks": check_against_build, "bases": equivariant_bases}
