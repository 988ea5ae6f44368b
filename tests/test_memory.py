"""How much memory is available, where the system tells and where it does not; and the refusal of what would not fit."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final

import pytest

import convmatrix as cm
from convmatrix import memory
from tests.cases import for_each

KIB: Final = 1024
UNKNOWN: Final = 2**62


class System:
    """A made-up root of the file system, and what ``sysconf`` says."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.sysconf: dict[str, int] | type[Exception] = OSError

    def path(self, *parts: str) -> Path:
        """Return a path below the made-up root."""
        first, *rest = parts
        return self.root.joinpath(first.lstrip("/"), *rest)

    def write(self, name: str, text: str) -> None:
        """Write a file, by its absolute name."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def ask_sysconf(self, name: str) -> int:
        """Stand in for `os.sysconf`."""
        if isinstance(self.sysconf, dict):
            return self.sysconf[name]
        raise self.sysconf


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> System:
    """Make the module look at a made-up system, which tells nothing at first."""
    made_up = System(tmp_path)
    monkeypatch.setattr(memory, "Path", made_up.path)
    monkeypatch.setattr(os, "sysconf", made_up.ask_sysconf, raising=False)
    return made_up


MEMINFO: Final = "MemTotal:       16000 kB\nMemFree:         1000 kB\nMemAvailable:    6000 kB\nSwapFree: 9 kB\n"


def test_this_machine_has_memory() -> None:
    available = memory.available_memory()
    assert type(available) is int
    assert 0 < available < 2**50


def test_a_system_that_tells_nothing_refuses_nothing(system: System) -> None:
    assert memory.available_memory() == UNKNOWN
    assert cm.conv_matrix([1.0], 3).nnz == 3


def test_linux_tells_free_memory_and_caches(system: System) -> None:
    system.write("/proc/meminfo", MEMINFO)
    system.sysconf = {"SC_PHYS_PAGES": 1, "SC_PAGE_SIZE": 1}  # not asked
    assert memory.available_memory() == 6000 * KIB


@for_each("text", ["MemAvailable: many kB\n", "MemAvailable:\n"])
def test_other_systems_tell_their_pages(system: System, text: str) -> None:
    system.sysconf = {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}
    assert memory.available_memory() == 4_096_000
    system.write("/proc/meminfo", text)  # which cannot be read
    assert memory.available_memory() == 4_096_000


@for_each("error", [AttributeError, OSError, ValueError])
def test_systems_without_pages(system: System, error: type[Exception]) -> None:
    system.sysconf = error
    assert memory.available_memory() == UNKNOWN


@pytest.mark.parametrize(
    ("limit", "usage"),
    [
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ],
)
def test_a_container_has_its_own_limit(system: System, limit: str, usage: str) -> None:
    system.write("/proc/meminfo", MEMINFO)
    system.write(limit, "5000000\n")
    assert memory.available_memory() == 6000 * KIB  # what is used is not told
    system.write(usage, "1000000\n")
    assert memory.available_memory() == 4_000_000
    system.write(limit, "90000000\n")  # more than the machine has
    assert memory.available_memory() == 6000 * KIB
    system.write(limit, "900000\n")  # less than is used already
    assert memory.available_memory() == 0


def test_a_container_without_a_limit(system: System) -> None:
    system.write("/proc/meminfo", MEMINFO)
    system.write("/sys/fs/cgroup/memory.max", "max\n")
    system.write("/sys/fs/cgroup/memory.current", "1000000\n")
    assert memory.available_memory() == 6000 * KIB


def test_require_refuses_what_exceeds_the_available_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "NEGLIGIBLE", 0)
    monkeypatch.setattr(memory, "available_memory", lambda: 2_500_000)
    memory.require(2_500_000, "the matrix", "use less")
    memory.require(0, "the matrix", "use less")
    with pytest.raises(
        cm.MatrixTooLargeError,
        match=r"^the matrix needs 2\.6 MB, but 2\.5 MB of memory are available; use less$",
    ):
        memory.require(2_600_000, "the matrix", "use less")


def test_the_error_is_one_of_memory_and_of_value() -> None:
    assert cm.MatrixTooLargeError is memory.MatrixTooLargeError
    assert issubclass(cm.MatrixTooLargeError, MemoryError)
    assert issubclass(cm.MatrixTooLargeError, ValueError)


@for_each(
    ("n_bytes", "shown"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1 kB"),
        (12_345, "12.3 kB"),
        (10**6, "1 MB"),
        (123_456_789, "123 MB"),
        (1_500_000_000, "1.5 GB"),
        (987 * 10**9, "987 GB"),
        (5 * 10**12, "5 TB"),
        (32 * 10**15, "32 PB"),
        (2 * 10**18, "2 EB"),
    ],
)
def test_bytes_in_words(n_bytes: int, shown: str) -> None:
    assert memory.in_words(n_bytes) == shown


@for_each(
    ("make", "what"),
    [
        (lambda: cm.conv_matrix([1.0, 2.0], 100), "the matrix of ConvGeometry((100,), (2,)) with 198 stored entries"),
        (lambda: cm.ConvGeometry(100, 2).pattern(), "the pattern of ConvGeometry((100,), (2,)) with 198 entries"),
        (lambda: cm.unfold_matrix(100, 2), "the unfold matrix of ConvGeometry((100,), (2,)) with 198 rows"),
        (lambda: cm.shift_matrix(100, 1), "the shift matrix of (100,)"),
    ],
    ids=["matrix", "pattern", "unfold", "shift"],
)
def test_everything_is_measured_before_it_is_made(monkeypatch: pytest.MonkeyPatch, make: Any, what: str) -> None:
    assert make() is not None
    monkeypatch.setattr(memory, "NEGLIGIBLE", 0)
    monkeypatch.setattr(memory, "ALWAYS_FIT", 0)
    monkeypatch.setattr(memory, "available_memory", lambda: 1000)
    with pytest.raises(
        cm.MatrixTooLargeError, match=rf"^{re.escape(what)} needs [\d.]+ kB, but 1 kB of memory are available; use "
    ):
        make()
    monkeypatch.setattr(memory, "NEGLIGIBLE", 0)
    monkeypatch.setattr(memory, "available_memory", lambda: 10_000)
    assert make() is not None
