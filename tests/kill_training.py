"""Kill a training at random moments, and see that what it left behind ends in the same bits.

    python -m tests.kill_training --count 50

Each trial trains a small network in a process of its own, with a checkpoint after every step, and ends it by SIGKILL at
a moment drawn uniformly from the time that a whole training takes; every other trial is killed a second time while it
goes on from the checkpoint. Then the file must be whole or not there, and the resumed training must end in the weights,
running means and history of a training that nobody disturbed. A process that ended before its moment is not counted.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import numpy as np

from convmatrix import nn
from convmatrix.atomic import TEMPORARY
from convmatrix.nn.checkpoints import load_checkpoint
from tests.test_nn_training import bits, stripes, tiny

EPOCHS, BATCH = 6, 8
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # a process with several cannot be forked safely


@dataclass
class Tally:
    """Counts of the moments at which runs were killed."""

    before_first: int = 0  # before there was a checkpoint
    writing: int = 0  # while one was written: the unfinished file is left over
    between: int = 0

    @property
    def kills(self) -> int:
        return self.before_first + self.writing + self.between


def train(network: nn.Sequential, path: Path | None, seed: int) -> nn.History:
    """Train: dropout and the order of the samples draw random numbers, Adam and BatchNorm have a memory."""
    return nn.fit(
        network,
        *stripes(),
        epochs=EPOCHS,
        batch_size=BATCH,
        optimiser=nn.Adam(nn.cosine_decay(0.01, 60)),
        validation=stripes(20, seed=1),
        checkpoint=path,
        checkpoint_steps=None if path is None else 1,
        rng=seed,
    )


def kill_at(moment: float, path: Path, seed: int) -> bool:
    """Train in a process of its own, killed after so many seconds; return False if it had ended by then."""
    child = os.fork()
    if child == 0:
        try:
            train(tiny(), path, seed)
            os._exit(0)
        finally:  # whatever goes wrong, the child must not return into the caller's loop
            os._exit(1)
    time.sleep(moment)
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return True
    if os.WEXITSTATUS(status):
        raise AssertionError("the training failed before it was killed")
    return False


def unfinished(place: Path) -> set[int]:
    """Return the identities of the files that were being written."""
    return {file.stat().st_ctime_ns for file in place.glob(TEMPORARY)}


def kills(count: int, seed: int, folder: Path) -> Tally:
    """Run trials until so many kills have hit; raise AssertionError for the first that is not resumed bit by bit."""
    start = time.perf_counter()
    whole = tiny()
    train(whole, folder / "whole.npz", seed)
    duration = time.perf_counter() - start
    expected, untouched = train(again := tiny(), None, seed), bits(whole)
    assert bits(again) == untouched, "two trainings of one seed differ"
    rng, tally, trial = np.random.default_rng(seed), Tally(), 0
    while tally.kills < count:
        trial += 1
        place = folder / str(trial)
        place.mkdir()
        path = place / "run.npz"
        for _ in range(min(1 + trial % 2, count - tally.kills)):
            earlier = unfinished(place)
            if not kill_at(float(rng.uniform(0, duration)), path, seed):
                break
            left = [file.name for file in place.iterdir() if file != path]
            assert all(fnmatch(name, TEMPORARY) for name in left), left
            if path.exists():
                load_checkpoint(path)  # raises for a broken file
            if unfinished(place) - earlier:
                tally.writing += 1
            elif path.exists():
                tally.between += 1
            else:
                tally.before_first += 1
        resumed = tiny(seed=1)  # other weights, which the checkpoint replaces
        if not path.exists():
            resumed = tiny()  # nothing was left: from the beginning
        history = train(resumed, path, seed)
        assert history == expected, f"trial {trial}: the history differs"
        assert bits(resumed) == untouched, f"trial {trial}: the weights differ"
        assert [file.name for file in place.iterdir()] == [path.name], "an unfinished file remains"
    return tally


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.kill_training", description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=50, help="kills (default 50)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and of the training (default 0)")
    options = parser.parse_args(arguments)
    if not ONE_THREAD.items() <= os.environ.items():
        command = [sys.executable, "-m", "tests.kill_training", f"--count={options.count}", f"--seed={options.seed}"]
        return subprocess.run(command, env={**os.environ, **ONE_THREAD}, check=False).returncode
    with tempfile.TemporaryDirectory() as folder:
        tally = kills(options.count, options.seed, Path(folder))
    print(
        f"{tally.kills} kills: {tally.before_first} before the first checkpoint, {tally.writing} while one was "
        f"written, {tally.between} at other moments; every resume ended in the same bits"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
