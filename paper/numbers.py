"""The numbers of the paper: their names, and how they are written."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analyses._claims import show
from paper.errors import PaperError

if TYPE_CHECKING:
    from paper.results import Results

_USE = re.compile(r'#?\b(?P<function>num|pub)\(\s*"(?P<name>[^"]*)"(?:\s*,\s*"(?P<form>[^"]*)")?\s*\)')
_PLACE = re.compile(r"\[(\d+)\]$")
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True, order=True)
class Use:
    """A number that the source of the paper asks for.

    Attributes
    ----------
    function : {"num", "pub"}
        The computed or the published value.
    name : str
        ``"analysis.key"``; ``"analysis.key[2]"`` is one of a list of values, counted from 0.
    form : str
        How it is to be written, as in Python's format(); as the analyses write it where this is empty.
    """

    function: str
    name: str
    form: str

    @property
    def key(self) -> str:
        """Name of the written number in the data of the paper."""
        return f"{self.function}|{self.name}|{self.form}"

    @property
    def analysis(self) -> str:
        """The analysis that the number comes from."""
        return self.name.partition(".")[0]


def uses(source: str) -> list[Use]:
    """Return every number that a source asks for.

    Examples
    --------
    >>> uses('It has #num("small_image.weights") weights, not #pub("a.b[0]", ".2f").')[1]
    Use(function='pub', name='a.b[0]', form='.2f')
    """
    code = re.sub(r"(?m)^\s*//.*$", "", source)
    return [Use(use["function"], use["name"], use["form"] or "") for use in _USE.finditer(code)]


class Numbers:
    """All values that the paper may name: those of claims, and counts about the paper itself.

    Parameters
    ----------
    results : Results
    counts : dict of str to int
        Named ``"paper.KEY"``.
    """

    def __init__(self, results: Results, counts: dict[str, int]) -> None:
        self.computed: dict[str, Any] = {f"paper.{name}": value for name, value in counts.items()}
        self.published: dict[str, Any] = {}
        self.accepted: dict[str, str] = {}
        self.analyses = {analysis.name for analysis in results.analyses}
        if not results.partial:
            self.analyses.add("paper")
        for analysis in results.analyses:
            for claim in analysis.claims:
                name = f"{analysis.name}.{claim.key}"
                self.computed[name] = claim.computed
                self.accepted[name] = claim.accepted
                if claim.published is not None:
                    self.published[name] = claim.published

    def write(self, use: Use) -> str:
        """Return a number as the paper is to show it.

        Raises
        ------
        PaperError
            If there is no such number, or it cannot be written in this form.
        """
        values = self.computed if use.function == "num" else self.published
        name = _PLACE.sub("", use.name)
        kind = "number" if use.function == "num" else "published number"
        if name not in values:
            near = difflib.get_close_matches(name, values, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise PaperError(f"the results have no {kind} {name!r}, which the paper names{hint}")
        value = values[name]
        if found := _PLACE.search(use.name):
            place = int(found[1])
            if not isinstance(value, list) or place >= len(value):
                many = f"{len(value)} values" if isinstance(value, list) else "no list of values"
                raise PaperError(f"the paper names value {place} of {name!r}, which has {many}")
            value = value[place]
        try:
            return written(value, use.form)
        except (ValueError, TypeError) as error:
            raise PaperError(f"{name!r} is {value!r}, which cannot be written as {use.form!r}: {error}") from None

    def range_of(self, name: str) -> str:
        """Return what was accepted as the value of a claim.

        Raises
        ------
        PaperError
            If there is no such claim.
        """
        if name not in self.accepted:
            raise PaperError(f"the results have no claim {name!r}, whose accepted values the paper names")
        return self.accepted[name]


def written(value: Any, form: str = "") -> str:
    """Return a value as text; powers of ten are written as such.

    Examples
    --------
    >>> written(267960), written(0.12345, ".1%"), written(2.2e-16, ".1e"), written([1, 2.5])
    ('267,960', '12.3%', '2.2 × 10⁻¹⁶', '1, 2.5')
    """
    text = format(value, form) if form else show(value)
    return re.sub(
        r"(?<=\d)e([+-]\d+)\b",
        lambda power: f" \N{MULTIPLICATION SIGN} 10{str(int(power[1])).translate(SUPERSCRIPTS)}",
        text,
    )
