"""Count the files of the package that a call goes through: ``python -m tests.traced_files`` prints them.

A file counts if one of its functions runs while the call does; modules that are merely imported do not count.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import convmatrix as cm

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

PACKAGE = Path(cm.__file__).parent

CALLS: dict[str, Callable[[], Any]] = {
    "conv_matrix(kernel, n)": lambda: cm.conv_matrix([1, 2, 1], 8),
    "conv_matrix(kernel, shape)": lambda: cm.conv_matrix(np.ones((3, 3)), (8, 8), padding="same", boundary="reflect"),
    "conv_matrix with channels": lambda: cm.conv_matrix(np.ones((4, 2, 3, 3)), (2, 8, 8), stride=2, padding=1),
    "norm_bounds(kernel, shape)": lambda: cm.spectral.norm_bounds(np.ones((3, 3)), (6, 6)),
}


def traced_files(call: Callable[[], Any]) -> Counter[str]:
    """Return how often a call enters functions of each file of the package.

    The call runs once before it is traced, so that imports and lazy loading do not count.
    """
    call()
    entered: Counter[str] = Counter()
    folder = str(PACKAGE)

    def count(frame: FrameType, event: str, _: Any) -> None:
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(folder) and frame.f_code.co_name != "<module>":
            entered[Path(name).relative_to(PACKAGE).as_posix()] += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        call()
    finally:
        sys.setprofile(before)
    return entered


def main() -> None:
    """Print the files of each call, the most entered ones first."""
    for name, call in CALLS.items():
        files = traced_files(call)
        print(f"{name}: {len(files)} files")
        for file, entries in files.most_common():
            print(f"    {entries:6}  {file}")


if __name__ == "__main__":
    main()
