"""A training that is killed at any moment goes on as if nothing had happened."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked here, which starts them at once")


def command(*arguments: str, before: str = "pass") -> subprocess.CompletedProcess[str]:
    code = f"import sys; from tests import kill_training; {before}; sys.exit(kill_training.main({list(arguments)}))"
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )


@pytest.mark.parametrize("seed", ["1", "2"])
def test_killed_at_random_moments_ends_in_the_same_bits(seed: str) -> None:
    done = command("--count", "6", "--seed", seed)
    assert done.returncode == 0, done.stderr
    numbers = re.fullmatch(
        r"(\d+) kills: (\d+) before the first checkpoint, (\d+) while one was written, (\d+) at other moments; every "
        r"resume ended in the same bits\n",
        done.stdout,
    )
    assert numbers, done.stdout
    assert int(numbers[1]) == sum(int(number) for number in numbers.groups()[1:]) == 6


BROKEN = {
    "the generators": "from convmatrix.nn import training as run; import numpy as np; save = run.save_checkpoint; "
    "fresh = lambda g: {name: np.random.default_rng(0) for name in g}; "
    "run.save_checkpoint = lambda path, network, optimiser, g, *rest: save(path, network, optimiser, fresh(g), *rest)",
    "the optimiser's memory": "from convmatrix import nn; import numpy as np; "
    "nn.Adam.state = lambda self: {'steps': np.array(self.steps)}",
    "the order": "from convmatrix.nn import training as run; resume = run.Run.resume; "
    "run.Run.resume = lambda self, path, **options: (resume(self, path, **options), self.order.sort())",
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_not_kept_is_noticed(broken: str) -> None:
    done = command("--count", "12", before=broken)
    assert done.returncode == 1
    # Whether a child or this process is the first to resume depends on the moments of the kills.
    noticed = r"AssertionError: (trial \d+: the (history|weights) differs?|the training failed)"
    assert re.search(f"{noticed}|ValueError: the optimiser's 'mean 0.bias' is absent", done.stderr), done.stderr
