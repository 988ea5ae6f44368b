"""How much memory is available, where the system tells and where it does not; and the refusal of what would not fit."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from scipy import sparse

import convmatrix as cm
from convmatrix import memory, nn
from convmatrix.boundary import Axis
from convmatrix.read_counts import count_reads
from convmatrix.sparse_formats import as_format
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


@pytest.mark.parametrize(
    ("line", "folder", "limit", "usage"),
    [
        ("0::/user/job", "/sys/fs/cgroup/user/job", "memory.max", "memory.current"),
        ("0::/user/job", "/sys/fs/cgroup/user", "memory.max", "memory.current"),
        (
            "9:cpu,memory:/user/job",
            "/sys/fs/cgroup/memory/user/job",
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
        ),
    ],
)
def test_a_process_has_the_limit_of_its_own_group(
    system: System, line: str, folder: str, limit: str, usage: str
) -> None:
    system.write("/proc/meminfo", MEMINFO)
    system.write("/proc/self/cgroup", f"12:pids:/other\n{line}\n")
    system.write(f"{folder}/{limit}", "5000000\n")
    system.write(f"{folder}/{usage}", "1500000\n")
    assert memory.available_memory() == 3_500_000
    system.write(f"{folder}/memory.stat", "anon 7\ninactive_file 500000\n")  # files that can be read again
    assert memory.available_memory() == 4_000_000
    system.write("/proc/self/cgroup", "nothing that can be read")
    assert memory.available_memory() == 6000 * KIB


def test_a_process_has_a_limit_on_its_addresses(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    limits = {resource.RLIMIT_AS: (resource.RLIM_INFINITY, resource.RLIM_INFINITY)}
    monkeypatch.setattr(resource, "getrlimit", limits.__getitem__)
    system.write("/proc/self/statm", "100 20 3\n")
    assert memory.available_memory() == UNKNOWN
    limits[resource.RLIMIT_AS] = (10**8, 10**9)
    assert memory.available_memory() == 10**8 - 100 * resource.getpagesize()


REFUSED: Final[dict[str, Any]] = {
    "a dense layer": lambda: nn.Dense(10**6, 10**7),
    "a convolution": lambda: nn.Conv(cm.ConvGeometry((99, 99), (9, 9), in_channels=10**6, out_channels=10**6)),
    "an unshared layer": lambda: nn.Conv(cm.ConvGeometry(10**8, 3, sharing="unshared", out_channels=100)),
    "triplets": lambda: cm.WeightPattern.from_triplets((2**62, 3), [0], [0], [0], 1),
    "a receptive field": lambda: cm.graph.receptive_field(cm.ConvGeometry((10**5, 10**5), (3, 3)), 5),
    "diagonals": lambda: cm.conv_matrix(np.ones((1, 1000)), (1, 10**6), padding="same", format="dia"),
    "what a long axis reads": lambda: cm.graph.receptive_field(cm.ConvGeometry(10**8, 3), 5),
    "channels": lambda: cm.ConvGeometry((9, 9), (3, 3), in_channels=10**6, out_channels=10**6).pattern(),
    "a permutation": lambda: cm.equivariance.check_reflection(cm.ConvGeometry(10**8, 3), 0),
    "a verdict": lambda: cm.equivariance.check_shift(cm.ConvGeometry(10**9, 3), 1),
    "frequencies": lambda: cm.spectral.singular_values([1], 10**9),
    "slices": lambda: cm.structured.find_geometry(sparse.csr_array((10**5, 10**5)), 10**5),
    "running averages": lambda: nn.BatchNorm(10**9),
    "coefficients": lambda: nn.Subsample(10**9),
    "padding": lambda: nn.Pad([(10**9, 10**9)]).forward(np.ones((1, 1, 1))),
}


@for_each("name", list(REFUSED))
def test_what_does_not_fit_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 10**9)
    with pytest.raises(cm.MatrixTooLargeError, match=r"needs .* but 1 GB"):
        REFUSED[name]()


def test_diagonals_are_found_only_if_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = cm.conv_matrix(np.ones(99), 2000)
    monkeypatch.setattr(memory, "available_memory", lambda: 24 * matrix.nnz)
    with pytest.raises(cm.MatrixTooLargeError, match=r"diagonals of this 1902 x 2000 matrix, with 188298 entries"):
        as_format(matrix, "dia")


@for_each("seed", range(4))
def test_entries_of_long_kernels_are_counted_without_listing_taps(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(200):
        n, k, s, d = (int(size) for size in rng.integers(1, [12, 9, 5, 5]))
        axis = Axis(int(rng.integers(1, 12)), n, k, stride=s, dilation=d, pad_low=int(rng.integers(0, 9)))
        start, stop = sorted(rng.integers(0, axis.n_outputs + 1, 2).tolist())
        samples = axis.sample(*np.indices((axis.n_outputs, k)))
        assert count_reads(axis, (start, stop), (0, n)) == (samples[start:stop] >= 0).sum()
        low, high = sorted(rng.integers(0, n + 1, 2).tolist())
        counted = count_reads(axis, (0, axis.n_outputs), (low, high))
        assert counted == ((samples >= low) & (samples < high)).sum()


def test_any_number_of_channels_is_estimated() -> None:
    for groups, transposed in ((1, False), (1000, False), (1000, True)):
        layer = cm.ConvGeometry(
            10, 3, in_channels=10**6, out_channels=2 * 10**6, groups=groups, transposed=transposed, padding=1
        )
        for part in (1, 2):
            size = memory.estimate(layer, rows=(0, layer.n_out // part))
            assert size.nonzeros == 28 * 2 * 10**12 // groups // part


def test_kernels_of_any_length_are_estimated() -> None:
    size = memory.estimate(cm.ConvGeometry(10**9, 10**9, padding="same"))
    assert size.nonzeros == 10**18 - (5 * 10**8) * (5 * 10**8 - 1) // 2 - (5 * 10**8) * (5 * 10**8 + 1) // 2


@for_each("name", ["stride", "dilation"])
@for_each("step", [2**62, 2**63, 10**30])
def test_steps_beyond_64_bits_are_refused(name: str, step: int) -> None:
    options: Any = {name: step}
    with pytest.raises(ValueError, match=rf"{name}={step} is too large.*2\*\*62"):
        cm.ConvGeometry(9, 1, **options)


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
