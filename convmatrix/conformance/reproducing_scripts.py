"""Programs that reproduce a failure with the target alone: they import neither convmatrix nor anything else."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix.conformance.expected_values import exact_results
from convmatrix.conformance.targets import typed_arrays

if TYPE_CHECKING:
    from convmatrix.arrays import Array
    from convmatrix.conformance.expected_values import LayerValues
    from convmatrix.conformance.judging import Difference
    from convmatrix.conformance.layer_cases import LayerCase
    from convmatrix.conformance.targets import TargetCall, TargetLibrary


def reproducing_script(
    target: TargetLibrary, call: TargetCall, case: LayerCase, values: LayerValues, difference: Difference
) -> str:
    """Return a program that ends with an error as long as the target differs.

    The arrays are written out, and the statements are those that were run.
    """
    versions = ", ".join(f"{name} {version}" for name, version in target.versions.items())
    text = difference.text.replace("\\", "\\\\").replace('"""', "'''")
    statements = call.statements(case, call.gradients and difference.result != "y")
    lines = [
        f'"""{call.name}{f" ({versions})" if versions else ""}: {text}',
        "",
        f"{case}",
        '"""',
        "",
        *([] if "import numpy as np" in call.imports else ["import numpy as np"]),
        *call.imports.rstrip().splitlines(),
        "",
        "# the integers that the layer is tried with",
        *_array_lines(case, values, statements),
        "",
        *([f"given = {difference.result}.copy()"] if difference.kind == "argument" else []),
        *statements.splitlines(),
        "",
    ]
    if difference.kind == "argument":
        name = difference.result
        lines.append(f'assert np.array_equal({name}, given), "the argument {name} was changed"')
    elif difference.result:
        name = difference.result
        exact = exact_results(case, values)[name]
        lines += [
            "# the exact result, computed in integers",
            f"expected = {_literal(exact, None)}",
            f"{name} = np.asarray({name})",
            'print("expected", expected.shape, expected.tolist())',
            f'print("got     ", {name}.shape, {name}.tolist())',
        ]
        if difference.kind == "type":
            lines.append(f'assert {name}.dtype == "{case.dtype}", {name}.dtype')
        else:
            lines.append(f'assert {name}.shape == expected.shape, "the shapes differ"')
        if difference.kind == "value":
            at = difference.coordinates
            lines.append(f'assert {name}[{at}] == expected[{at}], "the results differ at {at}"')
    return "\n".join(lines) + "\n"


def _array_lines(case: LayerCase, values: LayerValues, statements: str) -> list[str]:
    """Return the lines that define the arrays which the statements use."""
    arrays: dict[str, Array | None] = {"x": None, "w": None, "b": None, **typed_arrays(case, values)}
    return [
        f"{name} = {_literal(array, array.dtype) if array is not None else None}"
        for name, array in arrays.items()
        if re.search(rf"\b{name}\b", statements)
    ]


def _literal(array: Array, dtype: Any) -> str:
    """Return an array as text, in a few long lines rather than many short ones."""
    flat = array.size > 12 or array.size == 0
    whole = array.astype(np.int64)
    numbers = (whole.reshape(-1) if flat else whole).tolist()
    typed = "" if dtype is None else f', dtype="{dtype}"'
    return f"np.array({numbers}{typed})" + (f".reshape({array.shape})" if flat else "")
