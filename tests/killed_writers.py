"""Kill processes while they save, and fill their disks: the old or the new file is there whole, and nothing else.

    python -m tests.killed_writers --count 100 --seed 0

Each trial takes one kind of file that the package writes, saves it once (in every other trial), and saves another
version of it in a process of its own, which SIGKILL ends at a moment drawn uniformly from the time that saving takes.
The file must then be one of the two versions, or absent if there was none, and saving once more must succeed and leave
no temporary file. Then each kind meets a limit on the size of files, a full disk, a folder without permission to write,
a disk that is mounted read-only (both disks where the command may mount a tmpfs), and a second writer: an error that
names the file and leaves everything as it was, or one of two whole versions. The exit code is 1 if any of this fails.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import functools
import hashlib
import importlib.util
import io
import json
import logging
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

import convmatrix as cm
from convmatrix import nn
from convmatrix.atomic import TEMPORARY
from tests.kill_training import ONE_THREAD

SMALL: Final = 1024  # bytes of a file, where their size is limited
PAGE: Final = 4096  # bytes


@dataclass(frozen=True)
class Writer:
    """One kind of file or folder: what saves version 0 or 1 of it, and what reads it and raises unless it is whole."""

    name: str  # with the suffix of the file
    save: Callable[[Path, int], object]
    read: Callable[[Path], object]
    prepare: Callable[[int], object] = int  # called once, so that all processes save the same
    grows: bool = False  # a folder that is there from the start, and that saving again completes
    once: bool = False  # a folder that is not replaced: saving again is refused
    dated: bool = False  # the file holds the time, so that two of the same version differ


@dataclass
class Tally:
    """The trials of each writer, by name, and the failures."""

    kills: Counter[str] = field(default_factory=Counter)
    moments: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    pairs: int = 0
    failures: list[str] = field(default_factory=list)

    def check(self, holds: object, what: str) -> None:
        if not holds:
            self.failures.append(what)
            print(f"FAILED: {what}", flush=True)


# --- what is saved ----------------------------------------------------------------------------------------------------


@functools.cache
def layer(version: int) -> tuple[Any, cm.ConvGeometry]:
    geometry = cm.ConvGeometry((40, 40), (5, 5), padding="same", boundary="circular")
    return cm.conv_matrix(np.random.default_rng(version).standard_normal((5, 5)), geometry), geometry


def read_matrix(path: Path) -> None:
    matrix, geometry = cm.io.load(path)
    assert geometry == layer(0)[1]
    assert matrix.nnz == layer(0)[0].nnz


@functools.cache
def network(version: int) -> nn.Sequential:
    return nn.Sequential([nn.Dense(300, 200, rng=version), nn.ReLU(), nn.Dense(200, 10, rng=version)])


def save_state(path: Path, version: int) -> None:
    from convmatrix.nn.checkpoints import save_checkpoint

    save_checkpoint(path, network(version), nn.SGD(0.1), {"order": np.random.default_rng(version)}, {}, {})


def read_state(path: Path) -> None:
    from convmatrix.nn.checkpoints import load_checkpoint

    load_checkpoint(path, check=lambda found: None)


def save_page(path: Path, version: int) -> None:
    cm.explore.save_page(path, cm.ConvGeometry((5, 5 + version), (3, 3)))


def read_text(path: Path) -> None:
    assert path.read_text(encoding="utf-8").endswith("\n")


def read_json(path: Path) -> None:
    json.loads(path.read_text(encoding="utf-8"))


@functools.cache
def report(version: int) -> Any:
    from convmatrix.network import architecture
    from convmatrix.report import network_report

    return network_report(architecture(("lenet5", "vgg16")[version]))


@functools.cache
def proof(version: int) -> Any:
    return cm.proofs.prove(("adjoint", "circulants-commute")[version])


@functools.cache
def verified(version: int) -> tuple[Any, Any]:
    from convmatrix.constraints import encode, outputs_at_most, verify
    from convmatrix.network import Elementwise, FullyConnected, Network

    rng = np.random.default_rng(version)
    first = FullyConnected(4, 12, rng.integers(-9, 9, (12, 4)), rng.integers(-9, 9, 12))
    last = FullyConnected(12, 1, rng.integers(-9, 9, (1, 12)), [0])
    dense = Network([first, Elementwise("relu"), last])
    return verify(dense, (-1, 1), outputs_at_most([[1]], 10**6)), encode(dense, -1, 1)


@functools.cache
def conformed(version: int) -> Any:
    from convmatrix.conformance.campaigns import conform

    return conform("scipy", count=20, rng=version)


def save_trained(path: Path, version: int) -> None:
    """By the command, which reads the digits, trains and saves the weights."""
    quietly("train", "small", "digits", "--epochs", "1", "--validation", "0.9", "--seed", str(version), "-o", str(path))


def save_figure(path: Path, version: int) -> None:
    kernel = f"[{version + 1},2,3]"
    quietly("spectrum", "--kernel", kernel, "--input-shape", "30", "--boundary", "circular", "--plot", str(path))


def quietly(*arguments: str) -> None:
    """Run the command, and raise OSError for the error that it prints."""
    from convmatrix.cli import main

    errors = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
        status = main(list(arguments))
    if status:
        raise OSError(errors.getvalue())


def read_png(path: Path) -> None:
    contents = path.read_bytes()
    assert contents.startswith(b"\x89PNG")
    assert contents.endswith(b"IEND\xaeB`\x82")


def save_slabs(path: Path, version: int) -> None:
    from distributed import Client

    del version  # a folder of slabs is completed, not replaced
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # the errors that are wanted
    with Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=":0") as client:
        cm.distributed.save_slabs(path, np.arange(25.0).reshape(5, 5), layer(0)[1], 100, client=client)


def read_slabs(path: Path) -> None:
    if not (path / "index.json").exists():  # a kill before the first version of the index
        assert not list(path.glob("rows-*"))
        return
    saved = cm.distributed.load_slabs(path)
    assert all(saved.is_intact(number) for number in saved.parts)
    for number in saved.parts:
        assert saved[number].shape == (100, 1600)


def save_vectors(path: Path, version: int) -> None:
    from convmatrix.conformance.exported_vectors import export_vectors

    export_vectors(path, 6, version)


def read_vectors(path: Path) -> None:
    index = json.loads((path / "index.json").read_text())
    assert len(index["layers"]) == 6
    for record in index["layers"]:
        with np.load(path / record["npz"]) as arrays:
            assert "y" in arrays


def save_analysis(path: Path, version: int) -> None:
    from analyses._command import main

    del version
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        errors = sys.stderr = io.StringIO()
        try:
            status: object = main(["lenet5", "--quick", "--output", str(path)])
        except SystemExit as end:
            status = end.code
        if status:
            raise OSError(errors.getvalue())


def read_analysis(path: Path) -> None:
    for file in path.iterdir():
        if file.suffix == ".json":
            read_json(file)
        elif not file.match(TEMPORARY):
            assert file.suffix != ".html" or file.read_text().rstrip().endswith("</html>")


def all_writers() -> list[Writer]:
    """Return the kinds of files that can be written with the packages that are installed."""

    def save_matrix(path: Path, version: int) -> None:
        cm.io.save(path, *layer(version))

    matrices = (
        Writer(f"matrix.{suffix}", save_matrix, read_matrix, dated=suffix == "mat") for suffix in ("npz", "mtx", "mat")
    )
    writers = [
        *matrices,
        Writer("checkpoint.npz", save_state, read_state),
        Writer("page.html", save_page, read_text),
        Writer("report.json", lambda path, version: report(version).to_json(path), read_json, report),
        Writer("report.csv", lambda path, version: report(version).to_csv(path), read_text, report),
        Writer("report.tex", lambda path, version: report(version).to_latex(path), read_text, report),
        Writer("proof.json", lambda path, version: proof(version).save(path), read_json, proof),
        Writer("certificate.json", lambda path, version: verified(version)[0].to_json(path), read_json, verified),
        Writer("constraints.mps", lambda path, version: verified(version)[1].to_mps(path), read_text, verified),
        Writer("conformance.json", lambda path, version: conformed(version).to_json(path), read_json, conformed),
        Writer("vectors", save_vectors, read_vectors, once=True),
    ]
    extras = {
        "sklearn": Writer("trained.npz", save_trained, np.load),
        "matplotlib": Writer("spectrum.png", save_figure, read_png),
        "distributed": Writer("slabs", save_slabs, read_slabs, grows=True),
        "skimage": Writer("analysis", save_analysis, read_analysis, grows=True),
    }
    return writers + [writer for package, writer in extras.items() if importlib.util.find_spec(package)]


# --- processes --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Process:
    """A process that saves: what it raised, once it has ended."""

    number: int
    pipe: int

    @classmethod
    def start(cls, save: Callable[[], object]) -> Process:
        """Start it, and return once it is about to save."""
        reading, writing = os.pipe()
        number = os.fork()
        if number == 0:
            os.close(reading)
            os.setsid()
            with contextlib.suppress(BaseException):  # the child must not return into the caller's loop
                os.write(writing, b"\n")
                try:
                    save()
                except BaseException as error:
                    os.write(writing, f"{type(error).__name__}: {error}".encode()[:PAGE])
                os._exit(0)
            os._exit(1)
        os.close(writing)
        os.read(reading, 1)
        return cls(number, reading)

    def result(self) -> str | None:
        """Wait until it ends; return what it raised, or None if it was killed."""
        text = b""
        while piece := os.read(self.pipe, PAGE):
            text += piece
        os.close(self.pipe)
        return None if os.WIFSIGNALED(os.waitpid(self.number, 0)[1]) else text.decode(errors="replace")

    def kill_after(self, seconds: float) -> bool:
        """Kill it after a time; return whether it had not ended by then."""
        time.sleep(seconds)
        os.kill(self.number, signal.SIGKILL)
        return self.result() is None


def contents(path: Path) -> str | None:
    """Return a digest of a file, or of all files of a folder; None if there is nothing."""
    if not path.exists():
        return None
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file() and not file.match(TEMPORARY):
            digest.update(f"{file.relative_to(path)} ".encode() + file.read_bytes())
    return digest.hexdigest()


def temporaries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.match(TEMPORARY) or path.name.endswith(".partial"))


class Trial:
    """One kind of file in a folder of its own, with the two versions that it may have."""

    def __init__(self, writer: Writer, folder: Path, tally: Tally) -> None:
        self.writer, self.folder, self.tally = writer, folder, tally
        folder.mkdir(parents=True)
        self.versions: list[str | None] = []
        self.durations = []
        for version in (0, 1):
            writer.prepare(version)
            path = folder / f"{version}-{writer.name}"
            start = time.perf_counter()
            error = Process.start(functools.partial(writer.save, path, version)).result()
            self.durations.append(time.perf_counter() - start)
            self.check(error == "", f"could not be saved: {error}")
            writer.read(path)
            self.versions.append(contents(path))
        self.size = sum(file.stat().st_size for file in folder.rglob("0-*") if file.is_file())

    def check(self, holds: object, what: str) -> None:
        self.tally.check(holds, f"{self.writer.name}: {what}")

    def save(self, path: Path, version: int) -> str | None:
        return Process.start(lambda: self.writer.save(path, version)).result()

    def check_whole(self, path: Path, allowed: Sequence[str | None], when: str) -> None:
        """Check that the file is one of the allowed versions, and can be read."""
        if path.exists() or None not in allowed:
            try:
                self.writer.read(path)
            except Exception as error:
                self.check(False, f"{when}: cannot be read: {type(error).__name__}: {error}")
        if not (self.writer.grows or self.writer.dated):
            self.check(contents(path) in allowed, f"{when}: is neither the old nor the new file")

    # --- one trial each ---

    def kill(self, rng: np.random.Generator, with_old: bool) -> None:
        """Kill one process while it saves."""
        name = self.writer.name
        place = Path(tempfile.mkdtemp(dir=self.folder))
        path = place / f"1-{name}"
        with_old &= not self.writer.once
        if with_old:
            self.writer.grows or self.check(self.save(path, 0) == "", "could not be saved")
        if not Process.start(lambda: self.writer.save(path, 1)).kill_after(float(rng.uniform(0, self.durations[1]))):
            return
        self.tally.kills[name] += 1
        left = temporaries(place)
        old = self.versions[0] if with_old and not self.writer.grows else None
        found = "writing" if left else "after" if contents(path) == self.versions[1] else "before"
        self.tally.moments[found] += 1
        self.check_whole(path, (old, self.versions[1]), "after a kill")
        if not (self.writer.once and path.exists()):
            error = self.save(path, 1)
            self.check(error == "", f"cannot be saved after a kill: {error}")
        self.check_whole(path, (self.versions[1],), "saved after a kill")
        self.check(contents(path) == self.versions[1] or self.writer.dated, "differs when saved after a kill")
        self.check(not temporaries(place), f"temporary files remain: {temporaries(place)}, of {left} after the kill")

    def refuse(self, place: Path, setting: str, before: Callable[[], object] = int) -> None:
        """Save where that is impossible, with an old file in the folder if there is one."""
        path = place / f"1-{self.writer.name}"
        old = contents(path)

        def save() -> None:
            before()
            self.writer.save(path, 1)

        error = Process.start(save).result()
        self.tally.refusals[setting] += 1
        self.check(error and error.split(":")[0].endswith("Error"), f"{setting}: no error ({error!r})")
        raised = (error or "").partition(":")[0]
        self.check(raised in ("OSError", "PermissionError"), f"{setting}: {error}")
        named = self.writer.name in (error or "")
        self.check(named, f"{setting}: the error does not name the file: {error}")
        self.check_whole(path, (old,), setting)
        self.check(not temporaries(place), f"{setting}: temporary files remain: {temporaries(place)}")

    def write_twice(self) -> None:
        """Save both versions at the same time, several times, and read meanwhile."""
        place = Path(tempfile.mkdtemp(dir=self.folder))
        path = place / f"1-{self.writer.name}"
        rounds = 1 if self.writer.once or self.writer.grows else 4

        def save(version: int) -> Process:
            return Process.start(lambda: [self.writer.save(path, version) for _ in range(rounds)])

        pair = [save(0), save(1)]
        allowed = (*self.versions, None)
        if not (self.writer.grows or self.writer.once):
            for _ in range(10):
                time.sleep(max(self.durations) / 5)
                self.check_whole(path, allowed, "two writers")
        for process in pair:
            error = process.result()
            accepted = error == "" or (self.writer.once and error and error.startswith("FileExistsError"))
            self.check(accepted, f"two writers: {error}")
        self.check_whole(path, self.versions, "after two writers")
        self.check(not temporaries(place), f"two writers: temporary files remain: {temporaries(place)}")
        self.tally.pairs += 1


# --- disks ------------------------------------------------------------------------------------------------------------


def limit_size(size: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def fill(folder: Path) -> None:
    """Leave no room on a disk."""
    with contextlib.suppress(OSError), (folder / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(PAGE))


def drop_privileges() -> None:
    """Let permissions hold for root as well, whose capabilities pass them."""
    version = (ctypes.c_uint32 * 2)(0x20080522, 0)
    if ctypes.CDLL(None).capset(version, (ctypes.c_uint32 * 6)()):
        raise RuntimeError("the capabilities could not be dropped")


@contextlib.contextmanager
def mounted(folder: Path, size: int) -> Iterator[bool]:
    """Mount a small tmpfs; yield False where that is not allowed."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        done = False
    try:
        yield done
    finally:
        if done:
            subprocess.run(["umount", str(folder)], check=True)


def refusals(trial: Trial) -> None:
    """Save on full disks and in folders that cannot be written."""
    writer = trial.writer
    name = f"1-{writer.name}"
    folders = writer.once or writer.grows

    def place(label: str) -> Path:
        folder = trial.folder / label
        folder.mkdir(exist_ok=True)
        if not folders:
            trial.check(trial.save(folder / name, 0) == "", f"{label}: could not be saved")
        return folder

    trial.refuse(place("limited"), "limited size", lambda: limit_size(min(SMALL, trial.size // 2)))
    closed = place("closed")
    closed.chmod(0o555)
    trial.refuse(closed, "read-only folder", drop_privileges)
    disk = trial.folder / "disk"
    with mounted(disk, 2**21) as done:
        if done:
            place("disk")
            fill(disk)
            trial.refuse(disk, "full disk")
    disk = trial.folder / "read-only"
    with mounted(disk, 2**24) as done:
        if done:
            place("read-only")

            def remount() -> None:
                subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)

            remount()
            trial.refuse(disk, "read-only disk")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.killed_writers", description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=100, help="kills (default 100)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default 0)")
    parser.add_argument("--only", nargs="*", metavar="NAME", help="kinds of files, such as matrix.npz (default: all)")
    options = parser.parse_args(arguments)
    if not ONE_THREAD.items() <= os.environ.items():
        command = [sys.executable, "-m", "tests.killed_writers", *(sys.argv[1:] if arguments is None else arguments)]
        return subprocess.run(command, env={**os.environ, **ONE_THREAD}, check=False).returncode
    tally, rng = Tally(), np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory() as root:
        Path(root).chmod(0o755)
        writers = [writer for writer in all_writers() if not options.only or writer.name in options.only]
        trials = [Trial(writer, Path(root, writer.name), tally) for writer in writers]
        attempts = 0
        while tally.kills.total() < options.count:
            trials[attempts % len(trials)].kill(rng, with_old=bool(attempts // len(trials) % 2))
            attempts += 1
        for trial in trials:
            refusals(trial)
            trial.write_twice()
    print(f"{tally.kills.total()} kills: " + ", ".join(f"{count} {name}" for name, count in tally.kills.items()))
    print("moments: " + ", ".join(f"{count} {name}" for name, count in sorted(tally.moments.items())))
    print("refused: " + ", ".join(f"{count} by a {name}" for name, count in tally.refusals.items()))
    print(f"{tally.pairs} pairs of writers")
    print(f"{len(tally.failures)} FAILED")
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
