r"""LaTeX formulas as typst formulas, for the theorems, whose statements the package holds in LaTeX.

Only the part of LaTeX that the theorems use is known; another command is an error that names it. Brackets come out as
plain characters, so that half-open intervals and unbalanced ones are safe.
"""

from __future__ import annotations

import re

from paper.errors import PaperError

_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\d+(?:\.\d+)?|\s+|.", re.DOTALL)
_SPECIAL = re.compile(r"([\\*_`$#<>@\[\]~=+/\-])")
_LETTERS: dict[str, str] = {
    name: name
    for name in re.findall(
        r"\w+",
        "alpha beta gamma delta zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon chi psi omega "
        "Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega sum sin cos exp log min max gcd dim det ker sup inf in "
        "exists partial dots",
    )
} | {"epsilon": "epsilon.alt", "varepsilon": "epsilon", "phi": "phi.alt", "varphi": "phi"}
_SYMBOLS = {
    "bmod": "mod",
    "prod": "product",
    "forall": "forall",
    "implies": "⟹",
    "Rightarrow": "⇒",
    "iff": "⟺",
    "to": "→",
    "mapsto": "↦",
    "le": "≤",
    "leq": "≤",
    "ge": "≥",
    "geq": "≥",
    "ne": "≠",
    "neq": "≠",
    "equiv": "≡",
    "approx": "≈",
    "mid": "divides",
    "notin": "∉",
    "subset": "⊂",
    "subseteq": "⊆",
    "cup": "union",
    "cap": "inter",
    "land": "and",
    "lor": "or",
    "lnot": "not",
    "neg": "not",
    "pm": "±",
    "cdot": "dot.op",
    "times": "times",
    "otimes": "⊗",
    "circ": "∘",
    "infty": "∞",
    "varnothing": "∅",
    "langle": "⟨",
    "rangle": "⟩",
    "emptyset": "∅",
    "ell": "ell",
    "ldots": "dots",
    "cdots": "dots.c",
    "lfloor": "⌊",
    "rfloor": "⌋",
    "lceil": "⌈",
    "rceil": "⌉",
    "quad": "quad",
    "qquad": "wide",
    ",": "thin",
    ";": "med",
    ":": "med",
    " ": "med",
    "!": "",
    "{": r"\{",
    "}": r"\}",
    "|": "‖",
    "%": "%",
    "&": "&",
    "_": r"\_",
    "#": r"\#",
}
_NEGATED = {"equiv": "≢", "mid": "divides.not", "in": "∉", "iff": "⇎", "=": "≠", "<": "≮", ">": "≯"}
_IGNORED = {"big", "bigl", "bigr", "Big", "Bigl", "Bigr", "left", "right", "displaystyle", "limits"}
_PLAIN = {"text", "mathrm", "textup", "mathsf", "texttt", "operatorname", "textsf"}
_ACCENTS = {"bar": "macron", "overline": "overline", "hat": "hat", "tilde": "tilde", "vec": "arrow", "sqrt": "sqrt"}
_FACES = {"mathbb": "bb", "mathcal": "cal", "mathbf": "bold"}
_FENCE = 'class("normal", |)'
_ESCAPED = set('()[]/"#$@;,')


def formula(latex: str) -> str:
    r"""Return a LaTeX formula, without its dollars, in typst.

    Raises
    ------
    PaperError
        For a command that is not known, or a brace without its partner.

    Examples
    --------
    >>> formula(r"x_{ij} \le \frac{n}{2}")
    'x _(i j) ≤ (n) / (2)'
    >>> formula(r"r_{\text{zero}}(x) \bmod n")
    'r _("zero") \\( x \\) mod n'
    """
    tokens = _TOKEN.findall(latex)
    parts = []
    while tokens:
        if tokens[0] == "}":
            raise PaperError(f"the formula {latex!r} closes a brace that it does not open")
        parts.append(_piece(tokens, latex))
    return _joined(parts)


def _piece(tokens: list[str], latex: str) -> str:
    """Take one piece off the tokens and return it in typst."""
    piece = tokens.pop(0)
    if piece.isspace():
        return ""
    if piece == "{":
        return _group(tokens, latex)
    if piece in "_^":
        return f"{piece}({_argument(tokens, latex)})"
    if not piece.startswith("\\"):
        return f"\\{piece}" if piece in _ESCAPED else _FENCE if piece == "|" else piece
    command = piece[1:]
    if command in _IGNORED:
        return ""
    if command == "not":
        _skip_space(tokens)
        following = tokens.pop(0).removeprefix("\\") if tokens else ""
        if following not in _NEGATED:
            raise PaperError(f"the formula {latex!r} negates {following!r}, which the paper cannot typeset")
        return _NEGATED[following]
    if command == "frac":
        above, below = _argument(tokens, latex), _argument(tokens, latex)
        return f"({above}) / ({below})"
    if command == "pmod":
        return rf"quad \( mod {_argument(tokens, latex)} \)"
    if command in _ACCENTS:
        return f"{_ACCENTS[command]}({_argument(tokens, latex)})"
    if command in _FACES:
        return f"{_FACES[command]}({_argument(tokens, latex)})"
    if command in _PLAIN:
        words = _verbatim(tokens, latex)
        return f"upright({words})" if len(words) == 1 else f'"{words}"'
    if command in _LETTERS:
        return _LETTERS[command]
    if command in _SYMBOLS:
        return _SYMBOLS[command]
    raise PaperError(f"the formula {latex!r} has the command \\{command}, which the paper cannot typeset")


def _joined(parts: list[str]) -> str:
    """Return pieces with spaces between them, but none beside text, where typst would show it."""
    found = ""
    for part in filter(None, parts):
        found += part if not found or found[-1] == '"' or part[0] == '"' else f" {part}"
    return found


def _skip_space(tokens: list[str]) -> None:
    while tokens and tokens[0].isspace():
        tokens.pop(0)


def _argument(tokens: list[str], latex: str) -> str:
    _skip_space(tokens)
    if not tokens or tokens[0] == "}":
        raise PaperError(f"the formula {latex!r} ends where an argument should follow")
    return _piece(tokens, latex)


def _group(tokens: list[str], latex: str) -> str:
    parts = []
    while tokens and tokens[0] != "}":
        parts.append(_piece(tokens, latex))
    if not tokens:
        raise PaperError(f"the formula {latex!r} opens a brace that it does not close")
    tokens.pop(0)
    return _joined(parts)


def _verbatim(tokens: list[str], latex: str) -> str:
    """Take an argument of plain text."""
    _skip_space(tokens)
    if not tokens or tokens.pop(0) != "{" or "}" not in tokens:
        raise PaperError(f"the formula {latex!r} has text without its braces")
    end = tokens.index("}")
    words, tokens[: end + 1] = tokens[:end], []
    return "".join(words).replace('"', r"\"")


def markup(latex: str) -> str:
    r"""Return LaTeX text, with formulas between dollars, as typst markup.

    Raises
    ------
    PaperError
        For a command or an environment that is not known.

    Examples
    --------
    >>> markup(r"By \texttt{strided-shift}, $x = 1$; not -1.")
    'By #raw("strided-shift"), $x = 1$; not \\-1.'
    """
    pieces = latex.split("$")
    if len(pieces) % 2 == 0:
        raise PaperError(f"the text {latex!r} opens a formula that it does not close")
    return "".join(_text(piece) if place % 2 == 0 else f"${formula(piece)}$" for place, piece in enumerate(pieces))


def _text(latex: str) -> str:
    """Return LaTeX text without formulas as typst markup."""
    found = []
    for part in re.split(r"(\\texttt\{[^{}]*\}|\\emph\{[^{}]*\})", latex):
        if part.startswith(r"\texttt"):
            found.append(f'#raw("{part[8:-1]}")')
        elif part.startswith(r"\emph"):
            found.append(f"#emph[{plain(part[6:-1])}]")
        elif command := re.search(r"\\[A-Za-z]+", part):
            raise PaperError(f"the text {latex!r} has the command {command[0]}, which the paper cannot typeset")
        else:
            words = re.sub(r"\\([%&#_{}$])", r"\1", part).replace("~", "\N{NO-BREAK SPACE}")
            found.append(
                plain(words.replace("---", "—").replace("--", "\N{EN DASH}").replace("``", "“").replace("''", "”"))
            )
    return "".join(found)


def plain(text: str) -> str:
    r"""Return plain text as typst markup that shows just that text.

    Examples
    --------
    >>> plain("a_1 * [b] <= c")
    'a\\_1 \\* \\[b\\] \\<\\= c'
    """
    return _SPECIAL.sub(r"\\\1", text)
