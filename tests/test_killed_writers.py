"""Processes that are killed while they save, full disks and second writers; and that broken writers are noticed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks, and limits what a process may do")


def command(*arguments: str, before: str = "pass") -> subprocess.CompletedProcess[str]:
    code = f"import sys; from tests import killed_writers; {before}; sys.exit(killed_writers.main({list(arguments)}))"
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )


def test_files_are_whole_after_kills_on_full_disks_and_with_two_writers() -> None:
    done = command("--count", "4", "--only", "matrix.npz", "vectors")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^4 kills: ", done.stdout, flags=re.MULTILINE)
    assert "2 by a limited size, 2 by a read-only folder" in done.stdout
    assert "0 FAILED" in done.stdout


def test_a_file_that_is_written_in_place_is_noticed() -> None:
    in_place = "import convmatrix.io.files as files; files.atomic_write = lambda path: open(path, 'wb')"
    done = command("--count", "3", "--only", "matrix.npz", before=in_place)
    assert done.returncode == 1
    assert "FAILED: matrix.npz: limited size: cannot be read" in done.stdout, done.stdout + done.stderr
