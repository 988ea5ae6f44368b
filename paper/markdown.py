"""The numbers of ``paper.md``: each stands between two comments, the first of which names it.

    it has <!-- edge_detection.nonzeros -->178,640<!-- --> entries

A name is that of a claim or of a count, as in ``paper.typ``. Behind it may stand ``published`` or ``accepted``, for the
published value or the accepted range in place of the computed value, and ``as FORMAT``. ``benchmarks: TABLE; CELL;
COLUMN`` is a measurement. What renders Markdown leaves comments out.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from paper.benchmarks import measured
from paper.errors import PaperError
from paper.numbers import Numbers, Use

MARK = re.compile(r"<!-- (?P<name>[^>]*?) -->(?P<shown>[^<]*)<!-- -->")
_NAME = re.compile(r"(?P<key>\S+)(?: (?P<kind>published|accepted))?(?: as (?P<form>\S+))?")


class Mark(NamedTuple):
    """A number in the paper: its name, and what the paper shows."""

    name: str
    shown: str


def marks(text: str) -> list[Mark]:
    """Return the numbers of a text.

    Examples
    --------
    >>> marks("it has <!-- a.b as .1f -->1.5<!-- --> entries")
    [Mark(name='a.b as .1f', shown='1.5')]
    """
    return [Mark(mark["name"], mark["shown"]) for mark in MARK.finditer(text)]


def value(name: str, numbers: Numbers, tables: dict[str, list[dict[str, str]]]) -> str:
    """Return what the paper is to show for a name.

    Raises
    ------
    PaperError
        If there is no such number.
    """
    if name.startswith("benchmarks: "):
        return measured(name.removeprefix("benchmarks: "), tables)
    found = _NAME.fullmatch(name)
    if found is None:
        raise PaperError(
            f"paper.md has a number named {name!r}; a name is 'analysis.key [published|accepted] [as FORMAT]'"
        )
    if found["kind"] == "accepted":
        return numbers.range_of(found["key"])
    return numbers.write(Use("pub" if found["kind"] else "num", found["key"], found["form"] or ""))


def with_numbers(text: str, numbers: Numbers, tables: dict[str, list[dict[str, str]]]) -> str:
    """Return a text with every number as the results and the benchmarks have it; others of a draft stay."""

    def renewed(mark: re.Match[str]) -> str:
        name = mark["name"]
        known = name.startswith("benchmarks: ") or name.partition(".")[0] in numbers.analyses
        return f"<!-- {name} -->{value(name, numbers, tables)}<!-- -->" if known else mark[0]

    return MARK.sub(renewed, text)
