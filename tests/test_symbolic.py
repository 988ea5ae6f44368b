"""Matrices of symbols, and their LaTeX."""

from __future__ import annotations

import numpy as np
import pytest
import sympy

from convmatrix import symbolic
from convmatrix.geometry import ConvGeometry
from tests.cases import CASES, for_each, integer_weights

SMALL = {name: g for name, g in CASES.items() if g.n_out * g.n_in < 700}


@for_each("geometry", SMALL.values(), ids=SMALL.keys())
def test_substitution_gives_the_matrix(geometry: ConvGeometry) -> None:
    values = integer_weights(geometry).ravel().tolist()
    symbols = symbolic.weights(geometry.n_weights)
    found = symbolic.matrix(geometry).xreplace(
        {symbol: sympy.Integer(value) for symbol, value in zip(symbols, values, strict=True)}
    )
    expected = geometry.pattern().matrix(np.array(values)).toarray()
    assert np.array_equal(np.array(found.tolist(), dtype=np.int64).reshape(expected.shape), expected)


def test_taps_on_one_sample_add() -> None:
    w = symbolic.weights(3)
    assert symbolic.matrix(ConvGeometry(1, 3, padding="same", boundary="circular"))[0, 0] == sum(w)


def test_name_and_pattern() -> None:
    pattern = ConvGeometry(2, 1).pattern()
    assert symbolic.matrix(pattern, "v") == sympy.eye(2) * sympy.Symbol("v_0")


def test_latex_of_a_small_matrix() -> None:
    assert symbolic.to_latex(ConvGeometry(3, 2), environment="bmatrix") == (
        "\\begin{bmatrix}\nw_{0} & w_{1} & 0 \\\\\n0 & w_{0} & w_{1}\n\\end{bmatrix}"
    )


def test_latex_is_elided() -> None:
    text = symbolic.to_latex(ConvGeometry((28, 28), (3, 3)), max_rows=6, max_columns=5)
    lines = text.splitlines()
    assert len(lines) == 8
    assert all(line.count("&") == 4 for line in lines[1:-1])
    assert r"\ddots" in lines[4]
    assert r"\vdots" in lines[4]
    assert lines[1].startswith(r"w_{0} & w_{1} & \cdots")
    assert lines[6].endswith("w_{7} & w_{8}")
    whole = symbolic.to_latex(ConvGeometry(20, 2), max_rows=None, max_columns=None)
    assert len(whole.splitlines()) == 21
    assert "dots" not in whole


def test_errors() -> None:
    with pytest.raises(TypeError, match=r"a ConvGeometry or a WeightPattern is needed, but this is a int"):
        symbolic.matrix(3)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(ValueError, match=r"has 26316900 entries.*at most 1000000.*conv_matrix"):
        symbolic.matrix(ConvGeometry((200, 200), (30, 30)))
    with pytest.raises(ValueError, match=r"environment 'foo' is unknown; choose one of matrix"):
        symbolic.to_latex(ConvGeometry(3, 2), environment="foo")
    with pytest.raises(ValueError, match=r"max_rows must be at least 3"):
        symbolic.to_latex(ConvGeometry(3, 2), max_rows=2)
