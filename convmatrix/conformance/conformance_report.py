"""The result of a campaign: counts, refusals and findings, as text and as JSON."""

from __future__ import annotations

import dataclasses
import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix.atomic import atomic_write
from convmatrix.display.tables import ShownAsTable, Table

if TYPE_CHECKING:
    from convmatrix.conformance.trials import Finding, LayerOutcome

FORMAT: Final = "convmatrix conformance report"
FORMAT_VERSION: Final = 1


@dataclass(frozen=True)
class ConformanceReport(ShownAsTable):
    """The result of a campaign on one target; true if no layer differs.

    Attributes
    ----------
    target : str
    versions : dict
        Versions of the packages that the target consists of.
    rng : int
        The seed. Layer i of a seed is always the same.
    tried : int
        Number of layers.
    seconds : float
    calls, features : dict
        Number of layers of each call, and with each feature.
    refused : dict
        Number of layers by (call, message).
    failed : int
        Number of layers for which the target differs.
    findings : tuple of Finding
        Failures, shrunk to minimal layers; failures that need the same options are listed once, with their number.

    Examples
    --------
    >>> import numpy as np
    >>> import convmatrix as cm
    >>> def scale(x, w, bias):  # right for kernels of one tap and one axis
    ...     return x * w if w.size == 1 else np.apply_along_axis(np.correlate, -1, x, w[0, 0])
    >>> report = cm.testing.conform(scale, {"axes": 1}, count=20)
    >>> bool(report), report.tried
    (True, 20)
    """

    target: str
    versions: Mapping[str, str]
    rng: int
    tried: int
    seconds: float
    calls: Mapping[str, int]
    features: Mapping[str, int]
    refused: Mapping[tuple[str, str], int]
    failed: int
    findings: tuple[Finding, ...]

    def __bool__(self) -> bool:
        return self.failed == 0

    def __repr__(self) -> str:
        verdict = "conforms" if self else f"{self.failed} of {self.tried} layers differ"
        return f"ConformanceReport({self.target!r}, tried={self.tried}, {verdict})"

    def _table(self) -> Table:
        rows = [[name, f"{count:,}"] for name, count in sorted(self.calls.items())]
        notes = [
            f"{finding.call}: {finding.difference.text} ({_plural(finding.count, 'layer')})"
            for finding in self.findings
        ]
        if self.refused:
            notes.append(f"refused as unsupported: {_plural(sum(self.refused.values()), 'layer')}")
        differ = "" if self else f", {self.failed} differ"
        title = f"{self.target}: {_plural(self.tried, 'layer')}{differ}, seed {self.rng}"
        answer = "Conforms" if self else "Differs"
        return Table(title, [["call", "layers"], *rows], notes=notes, holds=bool(self), answer=answer)

    def explain(self) -> str:
        """Return the report as text: counts, refusals, and each finding with its script."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        per_hour = self.tried / max(self.seconds, 1e-9) * 3600
        lines = [
            f"{versions or self.target}: {_plural(self.tried, 'layer')} in {self.seconds:.1f} s "
            f"({round(per_hour, -2):.0f} per hour), seed {self.rng}"
        ]
        width = max((len(name) for name in self.calls), default=0)
        lines += [f"  {name:{width}}  {count}" for name, count in sorted(self.calls.items())]
        if self.refused:
            lines.append(f"refused as unsupported: {_plural(sum(self.refused.values()), 'layer')}")
            lines += [f"  {count} x {call}: {text[:150]}" for (call, text), count in sorted(self.refused.items())]
        for number, finding in enumerate(self.findings, start=1):
            lines += ["", f"finding {number}, {_plural(finding.count, 'layer')}, the first is layer {finding.first}"]
            lines += [f"  {finding.call}: {finding.difference.text}", f"  {finding.case}", ""]
            lines += [f"    {line}".rstrip() for line in finding.script.splitlines()]
        counted = sum(finding.count for finding in self.findings)
        if self.failed > counted:
            lines += ["", f"{_plural(self.failed - counted, 'more layer')} that differ were counted, but not shrunk"]
        passed = self.tried - self.failed - sum(self.refused.values())
        lines += [""] * (not self)
        lines.append(
            f"{self.target} conforms: {_plural(passed, 'layer')} as they must be"
            if self
            else f"{self.target} differs: {self.failed} of {_plural(self.tried, 'layer')}"
        )
        return "\n".join(lines)

    def to_values(self) -> dict[str, Any]:
        """Return the report as plain values for JSON."""
        return {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "target": self.target,
            "versions": dict(self.versions),
            "seed": self.rng,
            "conforms": bool(self),
            "layers": self.tried,
            "failed": self.failed,
            "seconds": round(self.seconds, 3),
            "calls": dict(sorted(self.calls.items())),
            "features": dict(sorted(self.features.items())),
            "refused": [
                {"call": call, "message": text, "layers": count} for (call, text), count in sorted(self.refused.items())
            ],
            "findings": [_finding_values(finding) for finding in self.findings],
        }

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write the report to a file, which is complete or absent."""
        with atomic_write(path) as file:
            file.write(json.dumps(self.to_values(), indent=1).encode() + b"\n")


def _plural(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _finding_values(finding: Finding) -> dict[str, Any]:
    difference = finding.difference
    return {
        "call": finding.call,
        "layers": finding.count,
        "first": finding.first,
        "kind": difference.kind,
        "result": difference.result,
        "text": difference.text,
        "coordinates": list(difference.coordinates),
        "expected": _plain(difference.expected),
        "got": _plain(difference.got),
        "layer": finding.case.to_values(),
        "arrays": {name: array.tolist() for name, array in finding.values.arrays().items()},
        "script": finding.script,
    }


def _plain(value: Any) -> Any:
    """Return arrays as nested lists; values that JSON cannot represent become strings."""
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, str | int | float) else str(value)


class Tally:
    """Running counts of outcomes, which come from one process or several."""

    def __init__(self) -> None:
        self.tried = self.failed = 0
        self.calls, self.features = Counter[str](), Counter[str]()
        self.refused = Counter[tuple[str, str]]()
        self.findings: dict[tuple[object, ...], Finding] = {}

    def add(self, outcome: LayerOutcome) -> None:
        """Count an outcome; findings with the same signature become one, with the smaller layer number."""
        self.tried += 1
        self.failed += outcome.failed
        self.calls[outcome.call] += 1
        self.features.update(outcome.features)
        if outcome.refusal is not None:
            self.refused[outcome.call, outcome.refusal] += 1
        new = outcome.finding
        if new is not None:
            old = self.findings.get(new.signature)
            if old is not None:
                first = min(new, old, key=lambda finding: finding.first)
                new = dataclasses.replace(first, count=old.count + new.count)
            self.findings[new.signature] = new

    def report(self, target: str, versions: Mapping[str, str], rng: int, seconds: float) -> ConformanceReport:
        """Return the report so far."""
        findings = sorted(self.findings.values(), key=lambda finding: (finding.call, finding.first))
        return ConformanceReport(
            target=target,
            versions=versions,
            rng=rng,
            tried=self.tried,
            seconds=seconds,
            calls=dict(self.calls),
            features=dict(self.features),
            refused=dict(self.refused),
            failed=self.failed,
            findings=tuple(findings),
        )
