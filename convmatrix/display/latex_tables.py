r"""Text and tables for LaTeX documents: escaped, and at most as wide as a page."""

from __future__ import annotations

import itertools
import re
import unicodedata
from typing import TYPE_CHECKING, Final

from convmatrix.display.tables import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convmatrix.display.tables import Row

_ESCAPED: Final = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\`{}",
    '"': r"\char34{}",  # \textquotedbl needs another font encoding than LaTeX's default
    "[": "{[}",  # at the beginning of a row it would belong to the end of the one before
    "*": "{*}",
    **{character: f"\\{character}" for character in "_&%#${}"},
}
_LETTERS: Final = dict(
    zip("ßæÆœŒøØłŁıȷ§¶£©…°—“”\N{EN DASH}\u2018\u2019\N{NO-BREAK SPACE}", (
        r"\ss{}", r"\ae{}", r"\AE{}", r"\oe{}", r"\OE{}", r"\o{}", r"\O{}", r"\l{}", r"\L{}", r"\i{}", r"\j{}",
        r"\S{}", r"\P{}", r"\pounds{}", r"\copyright{}", r"\ldots{}", r"\ensuremath{^\circ}", "---", "``", "''", "--",
        "`", "'", "~",
    ), strict=True)
)  # fmt: skip
_SIGNS: Final = {
    **dict(zip("≤≥≠±→←·∞√∈∅≈≡∘\N{MULTIPLICATION SIGN}\N{MINUS SIGN}", (
        r"\le", r"\ge", r"\ne", r"\pm", r"\to", r"\gets", r"\cdot", r"\infty", r"\surd", r"\in", r"\emptyset",
        r"\approx", r"\equiv", r"\circ", r"\times", "-",
    ), strict=True)),
    **{
        unicodedata.lookup(f"GREEK {size} LETTER {name.upper()}"): f"\\{name.title() if size == 'CAPITAL' else name}"
        for size, names in (
            ("SMALL", "alpha beta gamma delta epsilon zeta eta theta iota kappa mu nu xi pi rho sigma tau phi chi psi"),
            ("SMALL", "omega"),
            ("CAPITAL", "Gamma Delta Theta Xi Pi Sigma Phi Psi Omega"),
        )
        for name in names.split()
    },
    "\N{MICRO SIGN}": r"\mu",
    "λ": r"\lambda",  # Unicode spells it lamda
    "Λ": r"\Lambda",
}  # fmt: skip
_ACCENTS: Final = {
    unicodedata.lookup(f"COMBINING {name}"): command
    for name, command in (
        ("GRAVE ACCENT", "`"), ("ACUTE ACCENT", "'"), ("CIRCUMFLEX ACCENT", "^"), ("TILDE", "~"), ("DIAERESIS", '"'),
        ("RING ABOVE", "r"), ("CARON", "v"), ("CEDILLA", "c"), ("MACRON", "="), ("DOT ABOVE", "."), ("BREVE", "u"),
        ("DOUBLE ACUTE ACCENT", "H"),
    )
}  # fmt: skip
_SUPERSCRIPTS: Final = dict(zip("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789", strict=True))
_RAISED: Final = re.compile(f"([{''.join(_SUPERSCRIPTS)}]+)")

TEXT_WIDTH: Final = 345.0
"""Width of a line of LaTeX's class ``article`` in points."""

# Widths of the letters of Computer Modern at 10 points, and of its smaller sizes relative to it.
_CHARACTER_WIDTHS: Final = {
    character: width
    for width, characters in (
        (2.8, "il.:;'!|,"), (3.4, " -"), (3.95, "fjrst()[]I"), (4.5, "cez"), (5.0, "0123456789aogJ/"),
        (5.6, "bdhknpquvxySLZ_+"), (7.3, "wBCEFPRT"), (7.85, "ADGHKNOQUVXY&#<>=~"), (8.4, "m%@$"), (10.3, "MW"),
    )
    for character in characters
}  # fmt: skip
_FONTS: Final = (("", 1.0, 6.0), (r"\small", 0.925, 4.0), (r"\footnotesize", 0.85, 3.0), (r"\scriptsize", 0.8, 2.5))
_LONGEST_TABULAR: Final = 40  # rows; more would not fit on a page
_UNBROKEN: Final = 8  # characters of a word that always stands on one line
_NARROWEST: Final = 48.0  # points of a column that breaks its lines
_WIDEST_UNBROKEN: Final = 110.0  # points at 10 points; longer names break, before the table is split


def latex_text(text: str) -> str:
    r"""Return a text for LaTeX with all special characters escaped.

    Accented letters, Greek letters and common signs become commands that every font encoding has; any other character
    becomes the name of its code point, such as ``U+7573``, because fonts of LaTeX lack it.

    Examples
    --------
    >>> print(latex_text("conv_1 & 50%"), latex_text("2.2 × 10⁻¹⁶"))
    conv\_1 \& 50\% 2.2 \ensuremath{\times} 10\textsuperscript{-16}
    >>> print(latex_text("é α 畳"))
    \'{e} \ensuremath{\alpha} \texttt{U+7573}
    """
    parts = []
    for place, part in enumerate(_RAISED.split(one_line(unicodedata.normalize("NFC", text)))):
        if place % 2:
            parts.append(rf"\textsuperscript{{{''.join(_SUPERSCRIPTS[digit] for digit in part)}}}")
        else:
            parts.append("".join(map(_character, part)).replace("--", "-{}-"))  # two would become one dash
    return "".join(parts)


def _character(character: str) -> str:
    """Return one character for LaTeX."""
    if (found := _ESCAPED.get(character) or _LETTERS.get(character)) is not None:
        return found
    if character.isascii():
        return character
    if character in _SIGNS:
        return rf"\ensuremath{{{_SIGNS[character]}}}"
    letter, accent = (*unicodedata.normalize("NFD", character), "", "")[:2]
    if letter.isascii() and accent in _ACCENTS and len(unicodedata.normalize("NFD", character)) == 2:
        return rf"\{_ACCENTS[accent]}{{{letter}}}"
    return rf"\texttt{{U+{ord(character):04X}}}"


_SIGN: Final = re.compile(r"\*\*|>=|<=|[<>=+\-*/()]|\d+(?:\.\d+)?|[^\W\d_]+|\s+|.", re.DOTALL)
_RELATIONS: Final = {">=": r"\ge", "<=": r"\le", "*": r"\,", "**": "^"}
_NO_VARIABLES: Final = {"a", "A", "I"}  # words of one letter


def latex_sentence(text: str) -> str:
    r"""Return an English sentence for LaTeX, with its formulas in mathematical mode.

    Formulas are made of variables of one letter, numbers, brackets and the signs ``>= <= < > = + - * / **``;
    ``n x n`` is a size.

    Examples
    --------
    >>> print(latex_sentence("2 p = d (k - 1) on each axis, any n x n matrix, below 2**62"))
    $2 p = d (k - 1)$ on each axis, any $n \times n$ matrix, below $2^{62}$
    """
    found = _SIGN.findall(text)
    pieces: list[str] = []
    for formula, run in itertools.groupby(zip(found, _mathematical(found), strict=True), lambda pair: pair[1]):
        tokens = [token for token, _ in run]
        pieces.append(_formula(tokens) if formula else "".join(tokens))
    quoted = re.sub(r'"([^"]*)"', r"“\1”", "".join(pieces))
    split = enumerate(quoted.split(_MARK))
    return "".join(piece if place % 2 else latex_text(piece) for place, piece in split)


_MARK: Final = "\0"  # around a formula; it occurs in no sentence


def _mathematical(tokens: list[str]) -> list[bool]:
    """Return which tokens may belong to a formula; brackets may if all tokens between them do."""
    may = [_is_mathematical(token) for token in tokens]
    opened: list[int] = []
    for place, sign in enumerate(tokens):
        if sign == "(":
            opened.append(place)
        elif sign == ")":
            start = opened.pop() if opened else place
            may[start] = may[place] = start < place and all(may[start + 1 : place])
    for place in opened:
        may[place] = False
    return may


def _is_mathematical(token: str) -> bool:
    if token.isalpha():
        return len(token) == 1 and token.isascii() and token not in _NO_VARIABLES
    return token.isspace() or token[0].isdigit() or token in _RELATIONS or token in set("<>=+-/()")


def _formula(tokens: list[str]) -> str:
    """Return a run of tokens with its formula between marks, and the spaces and signs around it as they are."""
    first, last = 0, len(tokens)
    while first < last and (tokens[first].isspace() or tokens[first] in ("-", "+", "/", "*", "**")):
        first += 1
    while first < last and not (tokens[last - 1].isalnum() or tokens[last - 1] == ")" or tokens[last - 1][0].isdigit()):
        last -= 1
    signs = [sign for sign in tokens[first:last] if not sign.isspace()]
    if not any(sign.isalnum() for sign in signs):
        return "".join(tokens)
    written: list[str] = []
    for place, sign in enumerate(signs):
        before, after = signs[place - 1] if place else "", signs[place + 1] if place + 1 < len(signs) else ""
        if sign == "x" and before.isalnum() and after.isalnum():
            written.append(r"\times")
        elif before == "**":
            written[-1] = f"^{{{sign}}}"
        else:
            written.append(_RELATIONS.get(sign, sign))
    formula = " ".join(written).replace(" ^", "^").replace("( ", "(").replace(" )", ")")
    return f"{''.join(tokens[:first])}{_MARK}${formula}${_MARK}{''.join(tokens[last:])}"


def latex_table(rows: Sequence[Row], left: int = 1, *, totals: int = 0, width: float = TEXT_WIDTH) -> str:
    r"""Return rows of cells as a LaTeX table with the rules of booktabs; the first row is the header.

    A table that is wider than a line is set in a smaller font; its left columns break their lines, or it is split in
    several tables with some of the other columns each, if necessary. A table of more than 40 rows is a ``longtable``,
    which continues on the next page. A comment at its top names the packages it needs besides booktabs. The first
    ``left`` columns are aligned to the left, the last ``totals`` rows are separated by a rule, and a line has ``width``
    points.

    Examples
    --------
    >>> print(latex_table([["layer", "weights"], ["C_1", "1,500"]]))
    \begin{tabular}{lr}
    \toprule
    layer & weights \\
    \midrule
    C\_1 & 1\,500 \\
    \bottomrule
    \end{tabular}
    """
    parts = _fitting_parts(rows, left, width)
    typeset = [_typeset(part, left, totals, width) for part in parts]
    packages = [name for name in ("array", "longtable") if any(name in needed for needed, _ in typeset)]
    note = [rf"% Needs \usepackage{{{','.join(['booktabs', *packages])}}}."] if packages else []
    tables = "\n\n\\bigskip\\noindent\n".join("\n".join(lines) for _, lines in typeset)
    return "\n".join([*note, tables])


def _fitting_parts(rows: Sequence[Row], left: int, width: float) -> list[list[Row]]:
    """Return the rows, or their columns in the fewest parts of equal number that fit, each with the left columns."""
    n_right = len(rows[0]) - left
    for n_parts in range(1, n_right + 1):
        size = -(-n_right // n_parts)
        spans = [(start, start + size) for start in range(left, left + n_right, size)]
        parts: list[list[Row]] = [[[*row[:left], *row[start:stop]] for row in rows] for start, stop in spans]
        if all(_smallest_width(part, left) <= width for part in parts):
            return parts
    return [list(rows)] if n_right < 1 else parts


def _typeset(rows: Sequence[Row], left: int, totals: int, width: float) -> tuple[list[str], list[str]]:
    """Return the packages besides booktabs and the lines of one table."""
    font, gap, columns = _layout(rows, left, width)
    wrapped = [column.startswith(">") for column in columns]
    packages = ["array"] if any(wrapped) else []
    header, *body = [
        rf"{' & '.join(_cell(cell, wraps) for cell, wraps in zip(row, wrapped, strict=True))} \\" for row in rows
    ]
    if totals:
        body.insert(len(body) - totals, r"\midrule")
    if len(rows) <= _LONGEST_TABULAR:
        kind, head, foot = "tabular", [r"\toprule", header, r"\midrule"], [r"\bottomrule"]
    else:
        packages.append("longtable")
        kind, foot = "longtable", []
        head = [r"\toprule", header, r"\midrule", r"\endhead", r"\bottomrule", r"\endfoot"]
    lines = [rf"\begin{{{kind}}}{{{''.join(columns)}}}", *head, *body, *foot, rf"\end{{{kind}}}"]
    if font:
        lines = [rf"\begingroup{font}\setlength{{\tabcolsep}}{{{gap:g}pt}}%", *lines, r"\endgroup"]
    return packages, lines


_BREAKING: Final = r">{{\raggedright\arraybackslash}}p{{{:.0f}pt}}"


def _smallest_width(rows: Sequence[Row], left: int) -> float:
    """Return the width in points of a table in the smallest font, if only very long names are broken."""
    natural = _natural_widths(rows)
    _, scale, gap = _FONTS[-1]
    names = sum(min(width, _WIDEST_UNBROKEN) for width in natural[:left])
    return scale * (names + sum(natural[left:])) + 2 * gap * len(natural)


def _natural_widths(rows: Sequence[Row]) -> list[float]:
    return [max(sum(map(_width, one_line(cell))) for cell in column) for column in zip(*rows, strict=True)]


def _width(character: str) -> float:
    """Return an upper bound on the width of a character, in points."""
    if (width := _CHARACTER_WIDTHS.get(character)) is not None:
        return width
    return 32.0 if _character(character).startswith(r"\texttt") else 8.4


def _layout(rows: Sequence[Row], left: int, width: float) -> tuple[str, float, list[str]]:
    """Return the font, half the gap between columns in points, and the type of each column."""
    natural = _natural_widths(rows)
    for font, scale, gap in _FONTS:
        room = width - 2 * gap * len(natural)
        if scale * sum(natural) <= room:
            return font, gap, ["l"] * left + ["r"] * (len(natural) - left)
    # The left columns share the width that the numbers leave: narrow ones keep theirs, the others break their lines.
    room -= scale * sum(natural[left:])
    widths = [scale * own for own in natural[:left]]
    types = ["l"] * left
    for number, place in enumerate(sorted(range(left), key=widths.__getitem__)):
        share = max(room / (left - number), _NARROWEST)
        if widths[place] > share:
            types[place] = _BREAKING.format(share)
        room -= min(widths[place], share)
    return font, gap, types + ["r"] * (len(natural) - left)


def _cell(text: str, wraps: bool) -> str:
    """Return a cell, with thin spaces in place of the commas in numbers."""
    if re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?", text):
        return text.replace(",", r"\,")
    return breakable_text(text) if wraps else latex_text(text)


def breakable_text(text: str) -> str:
    r"""Return a text as `latex_text` does, which may be broken behind its signs and within its longest words.

    Examples
    --------
    >>> print(breakable_text("layer4.conv of a_b"))
    layer4.\allowbreak{}conv of a\_b
    """
    words = []
    for word in text.split(" "):
        pieces = re.findall(r"[A-Za-z0-9]{1,8}[^\w]*|\w|[^\w]+", word) if _is_long(word) else [word]
        words.append(r"\allowbreak{}".join(map(latex_text, pieces)))
    return " ".join(words)


def _is_long(word: str) -> bool:
    """Return whether a word may be broken: one of many letters, or of letters that take the width of many."""
    return len(word) > _UNBROKEN or sum(map(_width, word)) > 8 * _UNBROKEN
