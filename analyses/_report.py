"""The verdicts of the analyses as a table for the terminal and as a page with the figures."""

from __future__ import annotations

import html
import itertools
import textwrap
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from analyses._claims import VERDICTS, Claim, show

COLUMNS: Final = ("claim", "published", "accepted", "computed", "verdict")
_SHARES: Final = (0.4, 0.2, 0.2, 0.2)  # of the width that the verdict leaves
_NARROWEST: Final = 72
_VERDICT: Final = len("reproduced")


@dataclass(frozen=True)
class Result:
    """The result of one analysis: its claims, or the error that ended it."""

    name: str
    title: str
    claims: list[Claim] = field(default_factory=list)
    figures: list[str] = field(default_factory=list)
    error: str | None = None

    @property
    def passed(self) -> bool:
        """Whether the analysis ran to its end and no claim failed."""
        return self.error is None and all(claim.verdict != "failed" for claim in self.claims)

    @property
    def last_line(self) -> str:
        """The last line of the error."""
        return (self.error or "").rstrip().rpartition("\n")[2]


def count_verdicts(results: list[Result]) -> dict[str, int]:
    """Return how many claims have each verdict, and how many analyses raised an error."""
    counts = Counter(claim.verdict for result in results for claim in result.claims)
    raised = sum(result.error is not None for result in results)
    return {**{verdict: counts[verdict] for verdict in VERDICTS}, "raised": raised}


def outcome(results: list[Result]) -> str:
    """Return the counts of verdicts in words."""
    n_claims = sum(len(result.claims) for result in results)
    counts = count_verdicts(results)
    words = [f"{counts[verdict]} {verdict}" for verdict in VERDICTS if verdict != "skipped" or counts[verdict]]
    if counts["raised"]:
        words.append(f"{counts['raised']} of {len(results)} analyses raised an error")
    return f"{n_claims} claim{'s' * (n_claims != 1)}: {', '.join(words)}"


def _cells(claim: Claim) -> list[str]:
    return [claim.statement, show(claim.published), claim.accepted or "-", show(claim.computed), claim.verdict]


def table(results: list[Result], width: int) -> str:
    """Return the verdicts as a table of at most ``width`` characters and, below it, why claims failed or were skipped.

    Cells that are too long continue on the next line; words are not broken unless one is longer than its column.
    """
    free = max(width, _NARROWEST) - _VERDICT - 2 * len(COLUMNS)
    widths = [int(free * share) for share in _SHARES] + [_VERDICT]
    lines = [_line(COLUMNS, widths), "  ".join("-" * n for n in widths)]
    notes: list[str] = []
    for result in results:
        lines.append(result.name)
        for claim in result.claims:
            wrapped = [
                textwrap.wrap(cell, n, break_on_hyphens=False) for cell, n in zip(_cells(claim), widths, strict=True)
            ]
            lines.extend(_line(cells, widths) for cells in itertools.zip_longest(*wrapped, fillvalue=""))
            if claim.verdict == "failed":
                notes.append(
                    f"FAILED {result.name}.{claim.key}: computed {show(claim.computed)}, accepted {claim.accepted}"
                    f" ({claim.rule or claim.source})"
                )
            if claim.verdict == "skipped":
                notes.append(f"SKIPPED {result.name}.{claim.key}: {claim.rule}")
        if result.error is not None:
            lines.append(f"raised {result.last_line}")
            notes.append(f"FAILED {result.name}: raised {result.last_line}; the traceback is in {result.name}.json")
    meaning = "reproduced: published, checked: our own claim; in both, the computed value is in the accepted range"
    return "\n".join([*lines, "", meaning, *([""] if notes else []), *notes])


def _line(cells: tuple[str, ...] | list[str], widths: list[int]) -> str:
    return "  ".join(cell.ljust(n) for cell, n in zip(cells, widths, strict=True)).rstrip()


_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Results of the analyses</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; width: 100%; font-size: 0.875rem; }}
th, td {{ text-align: left; vertical-align: top; padding: 0.3rem 0.6rem; border-bottom: 1px solid #ddd; }}
td.failed {{ color: #a40000; font-weight: bold; }}
td.skipped {{ color: #666; }}
img {{ max-width: 100%; }}
</style>
</head>
<body>
<h1>Results of the analyses</h1>
<p>{summary}</p>
<p>If the computed value lies in the accepted range, a published claim is <em>reproduced</em>, and one of our own is
<em>checked</em>; otherwise it has <em>failed</em>. It is <em>skipped</em> if a package or file that it needs is
missing.</p>
<ul>{contents}</ul>
{sections}
</body>
</html>
"""


def index_html(results: list[Result], *, quick: bool) -> str:
    """Return a page with the table and the figures of each analysis; figures are files beside the page."""
    contents = "".join(
        f'<li><a href="#{r.name}">{html.escape(r.name)}</a>: {html.escape(r.title)}</li>' for r in results
    )
    summary = html.escape(outcome(results) + ("; smaller data was used (--quick)" if quick else ""))
    return _PAGE.format(summary=summary, contents=contents, sections="\n".join(map(_section, results)))


def _section(result: Result) -> str:
    heads = "".join(f"<th>{name}</th>" for name in (*COLUMNS, "source or reason"))
    rows = "".join(
        "<tr>"
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in _cells(claim)[:-1])
        + f'<td class="{claim.verdict}">{claim.verdict}</td><td>{html.escape(claim.source)}</td></tr>'
        for claim in result.claims
    )
    error = f"<pre>{html.escape(result.error)}</pre>" if result.error is not None else ""
    figures = "".join(
        f'<p><img src="{html.escape(name)}" alt="{html.escape(Path(name).stem)}"></p>'
        for name in result.figures
        if name.endswith(".png")
    )
    return (
        f'<h2 id="{result.name}">{html.escape(result.name)}</h2>\n<p>{html.escape(result.title)}</p>\n'
        f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>\n{error}{figures}"
    )
