"""Loading files that are damaged or made to do harm: in a process of its own, with little memory and time."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

import convmatrix as cm
from convmatrix.io import FileFormatError, load, save

GEOMETRY: Final = cm.ConvGeometry((5, 4), (3, 2), in_channels=2, out_channels=2, padding="same", stride=(2, 1))
MATRIX: Final = cm.conv_matrix(np.linspace(-1, 1, 24).reshape(2, 2, 3, 2), GEOMETRY)

ANYTHING: Final = None
"""Expected of a file whose damage need not show: an error or a valid matrix."""

Files = Mapping[str, tuple[bytes, str | None]]
"""By name: what a file holds, and what the error that it gives must match."""

MAX_BYTES: Final = 2**24
TOO_LARGE: Final = "to load, but 16.8 MB"
"""The message about a file that asks for more than `MAX_BYTES`."""
ADDRESS_SPACE: Final = 2**30  # beyond what the interpreter and its libraries have mapped
SECONDS_PER_FILE: Final = 20

# Tells of each file before and after: a crash is laid at the door of the file that made it.
_DRIVER: Final = """
import json, pathlib, resource, signal, sys
import numpy, scipy.sparse
from convmatrix.io import load
from tests.hostile_files import digest

folder, max_bytes, address_space, seconds = sys.argv[1], *map(int, sys.argv[2:])
status = pathlib.Path("/proc/self/statm")
mapped = int(status.read_text().split()[0]) * resource.getpagesize() if status.exists() else 2**32
resource.setrlimit(resource.RLIMIT_AS, (mapped + address_space,) * 2)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

SABOTAGE
for path in sorted(pathlib.Path(folder).iterdir()):
    print(json.dumps({"begins": path.name}), flush=True)
    signal.alarm(seconds)
    try:
        matrix, geometry = load(path, max_bytes=max_bytes)
    except Exception as error:
        result = {"error": type(error).__name__, "value_error": isinstance(error, ValueError), "message": str(error)}
    else:
        assert type(matrix) is scipy.sparse.csr_array
        matrix.check_format(full_check=True)
        rows, columns = matrix.shape
        assert matrix.nnz == len(matrix.data) == len(matrix.indices) == matrix.indptr[-1]
        assert not matrix.nnz or 0 <= matrix.indices.min() <= matrix.indices.max() < columns
        fresh = scipy.sparse.csr_array((matrix.data, matrix.indices, matrix.indptr), shape=matrix.shape)
        assert fresh.has_canonical_format
        assert columns > 10**6 or (matrix @ numpy.ones(columns)).shape == (rows,)
        assert geometry is None or (geometry.n_out, geometry.n_in) == matrix.shape
        result = {"matrix": digest(matrix), "geometry": repr(geometry)}
    signal.alarm(0)
    print(json.dumps({"file": path.name, **result}), flush=True)
"""


def digest(matrix: Any) -> str:
    """Return a checksum of everything that a matrix in compressed rows consists of."""
    parts = [str(matrix.shape).encode(), str(matrix.dtype).encode()]
    parts += [array.tobytes() for array in (matrix.data, matrix.indices, matrix.indptr)]
    return hashlib.sha256(b"|".join(parts)).hexdigest()


def load_all(folder: Path, files: dict[str, bytes], *, sabotage: str = "") -> dict[str, dict[str, Any]]:
    """Load every file in one subprocess and return what came of each; whatever kills the process fails the test.

    ``sabotage`` is code that runs there first.
    """
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    root = Path(__file__).parents[1]
    limits = map(str, (MAX_BYTES, ADDRESS_SPACE, SECONDS_PER_FILE))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _DRIVER.replace("SABOTAGE", sabotage), str(folder), *limits],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"the process died ({done.returncode}) at {lines[-1:]}: {done.stderr[-2000:]}"
    results = {line["file"]: line for line in lines if "file" in line}
    assert set(results) == set(files)
    return results


def check_all(folder: Path, suffix: str, files: Files) -> dict[str, dict[str, Any]]:
    """Load every file, and check that each gives a clear error (the expected one, where it is known) or a matrix."""
    results = load_all(folder, {f"{name}.{suffix}": content for name, (content, _) in files.items()})
    wrong = []
    for name, (_, pattern) in files.items():
        result = results[f"{name}.{suffix}"]
        if "matrix" in result:
            right = pattern is ANYTHING
        else:
            right = (
                result["value_error"]
                and result["error"] in ("FileFormatError", "MatrixTooLargeError")
                and f"{name}.{suffix}" in result["message"]
                and "out of memory" not in result["message"]
                and len(result["message"]) < 2000
                and re.search(pattern or "", result["message"]) is not None
            )
        if not right:
            wrong.append((name, pattern, result))
    assert not wrong, "\n".join(map(str, wrong))
    for name, (_, pattern) in files.items():  # harmless, as it turned out: once more where the debugger sees it
        if pattern is not ANYTHING:
            with pytest.raises((FileFormatError, cm.MatrixTooLargeError), match=pattern):
                load(folder / f"{name}.{suffix}", max_bytes=MAX_BYTES)
    return {name: results[f"{name}.{suffix}"] for name in files}


def saved(suffix: str) -> bytes:
    """Return the bytes of a good file."""
    buffer = io.BytesIO()
    save(buffer, MATRIX, GEOMETRY, format=suffix)
    return buffer.getvalue()


def truncations(content: bytes, n: int, seed: int) -> dict[str, bytes]:
    """Return the file cut at many points: in its first and last bytes, and in between."""
    rng = np.random.default_rng(seed)
    points = {0, 1, 7, 8, 100, len(content) - 8, len(content) - 1, *rng.integers(0, len(content), n).tolist()}
    return {f"cut at {point}": content[:point] for point in sorted(points)}


def damages(content: bytes, n: int, seed: int) -> dict[str, bytes]:
    """Return the file with one bit flipped, or with a few bytes overwritten, at random places."""
    rng = np.random.default_rng(seed)
    files = {}
    for number in range(n):
        damaged = bytearray(content)
        place = int(rng.integers(len(content)))
        if number % 3:
            damaged[place] ^= 1 << int(rng.integers(8))
        else:
            damaged[place : place + 4] = rng.bytes(4)
        files[f"damage {number} at {place}"] = bytes(damaged)
    return files
