r"""The results for those who write in LaTeX: one command per number, and a booktabs table per analysis."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from paper.numbers import written

if TYPE_CHECKING:
    from paper.results import Analysis, Results

_DIGITS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # at the beginning of a row it would belong to the end of the one before
    "*": "{*}",
    '"': r"\textquotedbl{}",
    **{character: f"\\{character}" for character in "{}$&#_%"},
    **{sign: rf"\ensuremath{{{name}}}" for sign, name in zip("\N{MULTIPLICATION SIGN}≤≥≠±→·∞√", (
        r"\times", r"\le", r"\ge", r"\ne", r"\pm", r"\to", r"\cdot", r"\infty", r"\surd"
    ), strict=True)},
}  # fmt: skip
_SUPERSCRIPTS = dict(zip("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789", strict=True))


def escaped(text: str) -> str:
    r"""Return text that LaTeX prints as it is.

    Examples
    --------
    >>> escaped("50% of a_b"), escaped("2.2 × 10⁻¹⁶")
    ('50\\% of a\\_b', '2.2 \\ensuremath{\\times} 10\\textsuperscript{-16}')
    """
    raised = re.sub(
        f"[{''.join(_SUPERSCRIPTS)}]+",
        lambda power: f"\0{''.join(_SUPERSCRIPTS[digit] for digit in power[0])}\1",
        text,
    )
    found = "".join(_SPECIAL.get(character, character) for character in raised)
    return found.replace("\0", r"\textsuperscript{").replace("\1", "}")


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
    return rf"\newcommand{{\{unique}}}{{{escaped(written(value))}}}"


def table_tex(analysis: Analysis) -> str:
    r"""Return the verdicts of one analysis as a table; it needs the LaTeX packages booktabs and array."""
    column = r">{\raggedright\arraybackslash}p{"
    lines = [
        f"% {analysis.title}",
        f"% Written by python -m paper from the results of {analysis.script}.",
        *(["% From a quick run, on smaller data."] if analysis.quick else []),
        r"% Needs \usepackage{booktabs,array}.",
        rf"\begin{{tabular}}{{@{{}}{column}0.34\linewidth}}{column}0.15\linewidth}}{column}0.15\linewidth}}{column}0.15\linewidth}}l@{{}}}}",
        r"\toprule",
        r"Claim & Published & Accepted & Computed & Verdict \\",
        r"\midrule",
    ]
    for claim in analysis.claims:
        published = "---" if claim.published is None else escaped(written(claim.published))
        values = [escaped(claim.accepted), escaped(written(claim.computed))]
        cells = [escaped(claim.statement), published, *values, claim.verdict]
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])
