"""Proofs and exact checks of equivariance: seconds a theorem, and checks against sampling the commutator."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

import convmatrix as cm
from benchmarks._tables import Goal, Row, Table
from benchmarks._timing import ratio_of, side_by_side
from benchmarks._worker import Outcome, merged, surroundings
from convmatrix import equivariance
from convmatrix.proofs.coq_engine import CLOSED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks._command import Context


def seconds_a_theorem(context: Context) -> Table:
    """Time each theorem with each engine that is installed."""
    engines = [engine for engine in equivariance.ENGINES if _is_installed(engine)]
    names = equivariance.theorems()[:3] if context.quick else equivariance.theorems()
    for engine in engines:
        equivariance.prove("flat-index", engine)  # loads the engine
    rows = []
    for name in names:
        times: dict[str, list[float]] = {}
        proofs: dict[str, equivariance.Proof] = {}
        for engine in engines:
            context.report(f"{name}, {engine}")
            runs = 1 if context.quick or engine == "coq" else 3
            timed = [_timed_proof(name, engine) for _ in range(runs)]
            times[engine], proofs[engine] = [seconds for seconds, _ in timed], timed[-1][1]
        cells: dict[str, Any] = {"theorem": name}
        cells |= {f"{engine}, s": float(np.median(seconds)) for engine, seconds in times.items()}
        record = proofs["sympy"].record()
        start = time.perf_counter()
        equivariance.recheck(record)
        cells["recheck, s"] = time.perf_counter() - start
        cells["slowest engine, s"] = max(cells[f"{engine}, s"] for engine in engines if engine != "coq")
        if "coq" in engines:
            cells[".v, kB"] = sum(part.certificate.get("bytes", 0) for part in proofs["coq"].parts) / 1000
            cells["assumptions"] = _assumptions(proofs["coq"])
        rows.append(Row(cells, timings=times))
    return Table(
        "Theorems for every size",
        "Seconds to decide all lemmas of a theorem, the engines loaded before; median of three. Recheck verifies the "
        "certificates of SymPy without search. Coq, timed once, checks the full statement too; .v are its files beside "
        "the library, assumptions what Print Assumptions names. The slowest engine is that of SymPy and z3.",
        rows,
        context.goal(Goal("slowest engine, s", "at most", 2.0)),
    )


def _assumptions(proof: equivariance.Proof) -> str:
    """Return what the parts that Coq proves rest on, in its words."""
    said = {str(part.certificate["assumptions"]) for part in proof.parts if part.decided_by == "coq"}
    return "none" if said == {CLOSED} else ", ".join(sorted(said))


def _timed_proof(name: str, engine: str) -> tuple[float, equivariance.Proof]:
    start = time.perf_counter()
    proof = equivariance.prove(name, engine)
    seconds = time.perf_counter() - start
    if not proof.proved:
        raise RuntimeError(f"{engine} did not prove {name}")
    return seconds, proof


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
        at_random = np.random.default_rng(1).permutation(layer.n_out)
        functions: dict[str, Callable[[], object]] = {
            "check": partial(equivariance.check, pattern, move, move),
            "refute": partial(equivariance.check, pattern, at_random, at_random),
            "build": partial(_built, layer, weights),
            "sampling": partial(_sampled, layer, weights, move),
        }
        times = side_by_side(functions, context.effort)
        check, sampling = ratio_of(times["check"], times["build"]), ratio_of(times["sampling"], times["check"])
        seconds = float(np.median(times["check"]))
        rows.append(
            Row(
                {
                    "layer": f"{size}x{size}, 3x3, {channels} -> {channels}",
                    "nonzeros": pattern.n_entries,
                    "check, s": seconds,
                    "check, ns per nonzero": 1e9 * seconds / pattern.n_entries,
                    "check / build": check.median,
                    "random permutation / build": ratio_of(times["refute"], times["build"]).median,
                    "sampling / check": sampling.median,
                },
                timings=times,
            )
        )
    return Table(
        "Exact check of a shift",
        "check decides for every weight: here that a shift passes, and that a random permutation breaks every row. "
        "Build is pattern and matrix. Sampling compares A P with Q A for one random matrix, built anew, and decides "
        "nothing.",
        rows,
        context.goal(Goal("check / build", "at most", 2.0)),
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
    for size in (3, 4) if context.quick else (3, 4, 6, 8, 32):
        context.report(f"torus {size} x {size}")
        steps = equivariance.torus_generators((size, size))
        functions: dict[str, Callable[[], object]] = {"orbits": partial(equivariance.equivariant_pattern, steps, steps)}
        if size <= _LARGEST_NULL_SPACE:
            functions["null space"] = partial(_null_space, steps)
        times = side_by_side(functions, context.effort)
        seconds = float(np.median(times["orbits"]))
        null_space = ratio_of(times["null space"], times["orbits"]).median if "null space" in times else None
        cells: dict[str, Any] = {
            "group": f"shifts of {size}x{size}",
            "index pairs": size**4,
            "dimension": equivariance.equivariant_pattern(steps, steps).n_weights,
            "orbits, s": seconds,
            "null space / orbits": null_space,
            "EMLP / orbits": None,
        }
        if size <= _LARGEST_EMLP:
            outcome = emlp_outcome(size, context.limit * 4)
            cells["EMLP / orbits"] = outcome.failure
            if outcome.failure is None:
                times["EMLP"] = outcome.values["seconds"]
                if outcome.values["dimension"] != cells["dimension"]:
                    raise RuntimeError(f"EMLP finds {outcome.values['dimension']} maps, not {cells['dimension']}")
                cells["EMLP / orbits"] = times["EMLP"][-1] / seconds
        rows.append(Row(cells, timings=times))
    return Table(
        "Basis of all equivariant maps",
        "Orbits of index pairs; the null space of the commutators by a dense SVD; EMLP's solver in a process of its "
        "own, the second of two runs, so that its compilation is left out. EMLP_PYTHON names the Python that has EMLP, "
        "if not this one. A word instead of a number says why there is none; - that it was not tried at that size.",
        rows,
    )


_LARGEST_NULL_SPACE: Final = 4  # a dense null space of size**4 unknowns takes long soon
_LARGEST_EMLP: Final = 8


def _null_space(steps: list[Any]) -> Any:
    """Return a basis of the matrices that commute with permutations, by a dense singular value decomposition."""
    from scipy.linalg import null_space

    eye = np.eye(len(steps[0]))
    return null_space(np.vstack([np.kron(eye[p], eye) - np.kron(eye, eye[p].T) for p in steps]))


def emlp_outcome(size: int, limit: float) -> Outcome:
    """Return what EMLP's solver took and found in another process, or why it did not."""
    python = os.environ.get("EMLP_PYTHON", sys.executable)
    program = "import sys; from benchmarks._worker import main; main(*sys.argv[1:])"
    command = [python, "-c", program, "benchmarks.proofs:emlp_basis", json.dumps({"size": size}), "null"]
    try:
        done = subprocess.run(command, env=surroundings(), capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return Outcome(failure=f"stopped after {limit:g} s")
    except OSError as error:
        return Outcome(failure=f"EMLP_PYTHON={python}: {error.strerror}")
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        missing = last.startswith("ModuleNotFoundError")
        return Outcome(failure="not installed" if missing else last or f"ended with status {done.returncode}")
    return Outcome(merged(done.stdout))


def emlp_basis(size: int) -> Iterator[dict[str, Any]]:
    """Yield the seconds of two runs of EMLP's solver for the maps that commute with the shifts of a torus."""
    groups: Any = importlib.import_module("emlp.groups")
    reps: Any = importlib.import_module("emlp.reps")
    eye = np.eye(size * size)

    class Torus(groups.Group):  # type: ignore[misc]  # EMLP has no types
        def __init__(self) -> None:
            self.discrete_generators = np.stack([eye[p] for p in equivariance.torus_generators((size, size))])
            super().__init__(size)

    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        basis = (reps.V(Torus()) >> reps.V(Torus())).equivariant_basis()
        seconds.append(time.perf_counter() - start)
    yield {"seconds": seconds, "dimension": int(basis.shape[-1])}


def _is_installed(engine: str) -> bool:
    if engine == "sympy":
        return True
    if engine == "coq":
        return shutil.which("coqc") is not None
    try:
        import z3  # noqa: F401 (only whether it is there)
    except ImportError:
        return False
    return True


TOPICS = {"theorems": seconds_a_theorem, "checks": check_against_build, "bases": equivariant_bases}
