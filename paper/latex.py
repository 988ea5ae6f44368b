r"""The results for those who write in LaTeX: one command per number, and a booktabs table per analysis."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from convmatrix.display.latex_tables import breakable_text, latex_text
from paper.numbers import written

if TYPE_CHECKING:
    from paper.results import Analysis, Results

_DIGITS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")


def command_name(*words: str) -> str:
    r"""Return the name of a LaTeX command, which may hold letters only: digits are spelt.

    Examples
    --------
    >>> command_name("lenet5", "c1-parameters")
    'cmLenetFiveCOneParameters'
    """
    text = re.sub(r"\d", lambda digit: f" {_DIGITS[int(digit[0])]} ", " ".join(words))
    return "cm" + "".join(word[0].upper() + word[1:] for word in re.findall(r"[A-Za-z]+", text))


def numbers_tex(results: Results, counts: dict[str, int]) -> str:
    r"""Return ``numbers.tex``: a ``\newcommand`` for each computed and each published value."""
    lines = [
        "% Numbers of convmatrix and its analyses, written by python -m paper.",
        *(["% From a quick run, on smaller data."] if results.quick else []),
    ]
    taken: Counter[str] = Counter()
    lines += ["", "% the paper itself"]
    lines += [_newcommand(command_name("paper", name), value, taken) for name, value in counts.items()]
    for analysis in results.analyses:
        lines += ["", f"% {analysis.script}: {analysis.title}"]
        for claim in analysis.claims:
            name = command_name(analysis.name, claim.key)
            lines += [f"% {claim.statement} ({claim.verdict})", _newcommand(name, claim.computed, taken)]
            if claim.published is not None:
                lines.append(_newcommand(f"{name}Published", claim.published, taken))
    return "\n".join([*lines, ""])


def _newcommand(name: str, value: Any, taken: Counter[str]) -> str:
    """Return the definition of a command; one whose name is taken gets the next number behind it."""
    taken[name] += 1
    unique = name if taken[name] == 1 else command_name(name.removeprefix("cm"), str(taken[name]))
    taken[unique] += unique != name
    return rf"\newcommand{{\{unique}}}{{{latex_text(written(value))}}}"


def table_tex(analysis: Analysis) -> str:
    r"""Return the verdicts of one analysis as a table that may continue on the next page.

    Examples
    --------
    >>> from paper.results import Analysis
    >>> print(table_tex(Analysis("sizes", "Sizes.", False, (), (), {})).splitlines()[-1])
    \endgroup
    """
    column = r">{\raggedright\arraybackslash}p{"
    widths = (0.31, 0.17, 0.17, 0.17)  # of the line; verdicts and gaps take the rest
    columns = "".join(f"{column}{width}\\linewidth}}" for width in widths)
    lines = [
        f"% {analysis.title}",
        f"% Written by python -m paper from the results of {analysis.script}.",
        *(["% From a quick run, on smaller data."] if analysis.quick else []),
        r"% Needs \usepackage{array,booktabs,longtable}.",
        r"\begingroup\footnotesize\setlength{\tabcolsep}{3pt}%",
        rf"\begin{{longtable}}{{{columns}l}}",
        r"\toprule",
        r"Claim & Published & Accepted & Computed & Verdict \\",
        r"\midrule",
        r"\endhead",
        r"\bottomrule",
        r"\endfoot",
    ]
    for claim in analysis.claims:
        published = "---" if claim.published is None else breakable_text(written(claim.published))
        values = [breakable_text(claim.accepted), breakable_text(written(claim.computed))]
        cells = [breakable_text(claim.statement), published, *values, claim.verdict]
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\end{longtable}", r"\endgroup", ""])
