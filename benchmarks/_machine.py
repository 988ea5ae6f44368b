"""What the numbers were measured on: the kind of machine, the versions, the day."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

_PACKAGES = ("numpy", "scipy", "torch", "pylops", "ptwt", "sparse_convolution")


def describe() -> dict[str, str | int | float]:
    """Return the facts, by name."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": _processor(),
        "cores": cores(),
        "memory_gb": round(_memory() / 2**30),
        "system": platform.system(),
        "python": platform.python_version(),
        **{name: _version(name) for name in _PACKAGES},
    }


def in_words(facts: dict[str, str | int | float]) -> str:
    """Return the facts as a sentence or two."""
    versions = ", ".join(f"{name} {facts[name]}" for name in ("python", *_PACKAGES))
    machine = f"{facts['processor']}, {facts['cores']} cores, {facts['memory_gb']} GB of memory, {facts['system']}"
    return f"{facts['date']}; {machine}; {versions}"


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load() -> float:
    """Return how many processes wanted a core in the last minute; 0 where the system does not tell."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def process_status(name: str) -> int | None:
    """Return an entry of the process's status in bytes."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), None)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _memory() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 0


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
