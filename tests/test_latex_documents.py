"""All LaTeX that the package writes, in one document that pdflatex typesets without an error or a line too wide."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass

import numpy as np
import pytest

import convmatrix as cm
from convmatrix import symbolic
from convmatrix.display.latex_tables import latex_sentence, latex_table
from convmatrix.equivariance import check_shift
from convmatrix.network import Elementwise, Input, Network, Node
from convmatrix.proofs import prove, theorems
from convmatrix.proofs.proving import appendix, theorem
from convmatrix.proofs.results import theorem_latex
from paper import latex as paper_latex
from tests.cases import for_each
from tests.test_paper import made_up

HOSTILE = (
    "50% of _x_ & #1",
    r"\input{y} $z^2$ ~ {",
    "[0] é \N{GREEK SMALL LETTER ALPHA} ≤ 畳み込み",
    'a--b <c> |d| `e` "f" *',
    "layer4." * 12,
    "w" * 70,
)
COLUMNS = (10, 11, 28)

needs_latex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")


def wide_rows(count: int) -> list[list[str]]:
    names = [HOSTILE[number % len(HOSTILE)] for number in range(count)]
    return [["node", "kind", *(f"number {n}" for n in range(5))]] + [
        [name, "convolution", *(f"{1234567 * 10**n:,}" for n in range(5))] for name in names
    ]


@dataclass(frozen=True)
class Document:
    log: str
    limits: list[int]
    pages: list[str]


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Document:
    """Typeset matrices, tables, verdicts, theorems and the paper's files, with hostile names."""
    folder = tmp_path_factory.mktemp("latex")
    ring = cm.ConvGeometry((5, 5), (3, 3), padding="same", boundary="circular")
    signed = cm.ConvGeometry(12, 3, padding="same", boundary="antireflect")
    noise = np.random.default_rng(0).standard_normal((10, 10)) * 1j + 1
    matrices = [
        *(cm.io.to_latex(np.eye(2, n, dtype=int), max_columns=None) for n in COLUMNS),
        symbolic.to_latex(signed, max_columns=None, max_rows=None),
        r"\tiny " + cm.io.to_latex(cm.conv_matrix(np.arange(9).reshape(3, 3), ring), max_rows=None, max_columns=None),
        cm.io.to_latex(noise, digits=2, max_columns=6, environment="bmatrix"),
        cm.io.to_latex(np.ones((2, 30)), max_columns=None, environment="smallmatrix"),
    ]
    limit = r"\typeout{LIMIT=\the\value{MaxMatrixCols}}"
    network = Network(
        [Node("input", Input((1, 4))), *(Node(name, Elementwise("relu"), ("input",)) for name in HOSTILE)]
    )
    tables = [
        network.report().to_latex(),
        cm.network.architecture("resnet50").report().to_latex(),
        latex_table([["layer", *(f"column {n}" for n in range(12))], *[["conv", *["1,234,567,890"] * 12]] * 3]),
        latex_table(wide_rows(5), 2, totals=1),
        latex_table(wide_rows(60), 2, totals=1),
    ]
    for boundary in ("zero", "circular"):
        layer = cm.ConvGeometry(6, 3, padding="same", boundary=boundary)
        tables.append(check_shift(layer, 1).explain("latex"))
    stated = [theorem(name) for name in theorems()]
    proofs = [appendix(names=()), theorem_latex([prove("flat-index")])]
    proofs += [f"{one.latex} {latex_sentence(one.hypotheses)}" for one in stated]
    results = made_up(*((text, text, text) for text in HOSTILE), *((f"claim {n}", n, None) for n in range(80)))
    (folder / "numbers.tex").write_text(paper_latex.numbers_tex(results, {"pages": 1}))
    (folder / "table.tex").write_text(paper_latex.table_tex(results.analyses[0]))
    body = [
        r"\documentclass{article}",
        r"\usepackage{amsmath,amssymb,amsthm,array,booktabs,longtable}",
        r"\newtheorem{theorem}{Theorem}",
        r"\input{numbers}",
        r"\begin{document}",
        *(line for matrix in matrices for line in (r"\[\arraycolsep=2pt", matrix, r"\]", limit)),
        *(line for table in tables for line in (r"\noindent", table, "")),
        r"\noindent\input{table}",
        *(line for proof in proofs for line in (proof, "")),
        r"\end{document}",
    ]
    (folder / "document.tex").write_text("\n".join(body), encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "document.tex"]
    subprocess.run(command, cwd=folder, capture_output=True, timeout=120, check=False)
    log = (folder / "document.log").read_text(encoding="latin-1")
    limits = [int(number) for number in re.findall(r"LIMIT=(\d+)", log)]
    return Document(log, limits, sorted(map(str, folder.glob("*.pdf"))))


@needs_latex
def test_everything_is_typeset(document: Document) -> None:
    assert "\n!" not in document.log, document.log[document.log.index("\n!") :][:600]
    assert len(document.pages) == 1
    assert "Missing character" not in document.log


@needs_latex
def test_nothing_is_wider_than_the_page(document: Document) -> None:
    too_wide = re.findall(r"Overfull \\hbox \((\d+\.\d+)pt too wide\)[^\n]*", document.log)
    assert [width for width in too_wide if float(width) > 1] == []


@needs_latex
def test_limit_of_columns_is_raised_and_never_lowered(document: Document) -> None:
    """Amsmath's own limit is 10; the matrix of 12 columns after that of 28 leaves it, and smallmatrix needs none."""
    assert document.limits == [10, 11, 28, 28, 28, 28, 28]


@for_each(
    ("sentence", "expected"),
    [
        ("any integer factor f (f = 1 leaves all in place)", "any integer factor $f$ ($f = 1$ leaves all in place)"),
        ("0 <= p <= k - 1; 2 p = d (k - 1).", r"$0 \le p \le k - 1$; $2 p = d (k - 1)$."),
        (
            "tile >= 1, zero-padded, any n x n matrix, x any",
            r"tile $\ge 1$, zero-padded, any $n \times n$ matrix, $x$ any",
        ),
        ("below 2**62 (a window)", "below $2^{62}$ (a window)"),
        ('for "same_lower": A & b', r"for ``same\_lower'': A \& $b$"),
        ("open ( 1 and 2 ) shut", "open ( $1$ and $2$ ) shut"),
    ],
)
def test_formulas_in_sentences(sentence: str, expected: str) -> None:
    assert latex_sentence(sentence) == expected


@for_each("name", theorems())
def test_hypotheses_have_all_their_formulas_in_mathematical_mode(name: str) -> None:
    pieces = latex_sentence(theorem(name).hypotheses).split("$")
    assert len(pieces) % 2 == 1
    assert not re.search(r"[<>=*]|(?<![\w-])[b-zB-HJ-Z](?![\w-])", "".join(pieces[::2]))


@for_each("rows, left", [([["a"], ["b"]], 1), ([["a", "b"], ["c", "d"]], 0), ([["a", "b"], ["c", "d"]], 2)])
def test_tables_without_columns_on_one_side(rows: list[list[str]], left: int) -> None:
    text = latex_table(rows, left)
    assert text.count(r"\begin{tabular}") == 1
    assert text.splitlines()[2] == " & ".join(rows[0]) + r" \\"


def test_no_column_is_lost_when_a_table_is_split() -> None:
    rows = [["layer", *(f"column {n}" for n in range(11))], ["C1", *(f"{n},234,567,890" for n in range(1, 12))]]
    cells = re.findall(r"column \d+", latex_table(rows))
    assert cells == rows[0][1:]
    assert latex_table(rows, width=5000).count("tabular") == 2
