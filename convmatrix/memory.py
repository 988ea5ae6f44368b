"""How much memory there is, and the refusal of what would not fit in it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

NEGLIGIBLE: Final = 2**22
"""Bytes below which `require` refuses nothing."""


class MatrixTooLargeError(MemoryError, ValueError):
    """A matrix was asked for that would not fit in memory; nothing was allocated.

    It is a `MemoryError`, for that is what it saves from, and a `ValueError`, for the sizes that were asked for.

    Examples
    --------
    >>> import convmatrix as cm
    >>> try:
    ...     cm.conv_matrix([1, 1], 10**15)
    ... except cm.MatrixTooLargeError as error:
    ...     print("refused")
    refused
    """


def available_memory() -> int:
    """Return the bytes that can be allocated now: free memory and caches, within the limit of a container.

    Where the system does not tell, half of the address space: nothing is refused that might succeed.
    """
    candidates = [2**62, *_system_bytes(), *_container_bytes()]
    return max(min(candidates), 0)


def _system_bytes() -> list[int]:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    except (OSError, ValueError, IndexError):
        pass
    try:
        return [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    except (AttributeError, OSError, ValueError):
        return []


def _container_bytes() -> list[int]:
    for folder, limit, usage in (
        ("/sys/fs/cgroup", "memory.max", "memory.current"),
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        try:
            allowed = int(Path(folder, limit).read_text())  # "max" where there is no limit
            return [allowed - int(Path(folder, usage).read_text())]
        except (OSError, ValueError):
            continue
    return []


def require(n_bytes: int, what: str | Callable[[], str], remedy: str) -> None:
    """Raise `MatrixTooLargeError` if ``n_bytes`` exceed what is available.

    The system is not asked about a request below `NEGLIGIBLE`: asking would take longer than writing the matrix.
    ``what`` names what needs the memory, or is a function that does, where the name is long to make.

    Examples
    --------
    >>> require(2**80, "the matrix", "use ConvOperator")
    Traceback (most recent call last):
    convmatrix.memory.MatrixTooLargeError: the matrix needs 1.21e+06 EB, but ... of memory are available; ...
    """
    if n_bytes < NEGLIGIBLE:
        return
    available = available_memory()
    if n_bytes > available:
        name = what if isinstance(what, str) else what()
        raise MatrixTooLargeError(
            f"{name} needs {in_words(n_bytes)}, but {in_words(available)} of memory are available; {remedy}"
        )


def in_words(n_bytes: int) -> str:
    """Return a number of bytes in words, with three digits.

    Examples
    --------
    >>> in_words(1_500_000_000), in_words(12_345)
    ('1.5 GB', '12.3 kB')
    """
    for unit, size in (("EB", 10**18), ("PB", 10**15), ("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if n_bytes >= size:
            return f"{n_bytes / size:.3g} {unit}"
    return f"{n_bytes} bytes"
