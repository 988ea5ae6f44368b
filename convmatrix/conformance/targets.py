"""Targets of conformance tests: a library, its calls, and the statements with which each call is made.

A call is described by the text of a program. The very statements that a report prints are those that are run.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from types import CodeType

    from convmatrix.arrays import Array
    from convmatrix.conformance.expected_values import LayerValues
    from convmatrix.conformance.layer_cases import LayerCase
    from convmatrix.conformance.offers import Offers
    from convmatrix.conformance.rounding import Rounding


class RefusedCaseError(Exception):
    """The target does not support a layer, and says so."""


class ChangedArgumentError(Exception):
    """The target wrote into an array that it was given."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the call changed its argument {name}")
        self.name = name


@dataclass(frozen=True)
class TargetCall:
    """One function of a target.

    Attributes
    ----------
    name : str
        As users of the target write it.
    offers : Offers
        The options that it has.
    imports : str
        The first lines of a program that makes the call.
    statements : callable
        ``statements(case, gradients)`` returns the lines that compute ``y``, and ``dx``, ``dw`` and ``db`` if gradients
        are wanted, from the arrays ``x``, ``w``, ``b`` (None without a bias) and ``g``.
    gradients : bool
        Whether there are gradients.
    refusals : tuple of str
        Regular expressions for the messages with which it refuses layers that it does not support, as documented.
        NotImplementedError is always a refusal.
    rounding : Rounding
        The algorithm, which decides what error is allowed.
    keeps_dtype : bool
        Whether the results must have the type of the arguments.
    names : dict
        Objects that the statements use and that cannot be imported.
    """

    name: str
    offers: Offers
    imports: str
    statements: Callable[[LayerCase, bool], str]
    gradients: bool = False
    refusals: tuple[str, ...] = ()
    rounding: Rounding = "exact"
    keeps_dtype: bool = False
    names: Mapping[str, Any] = field(default_factory=dict)

    def run(self, case: LayerCase, values: LayerValues) -> tuple[dict[str, Array], BaseException | None]:
        """Return the results, and the exception that the target ended with, if any; RefusedCaseError for a refusal."""
        given = typed_arrays(case, values)
        names = {**self.names, "b": None, **given}
        failure = None
        try:
            run_statements(self.imports, self.statements(case, self.gradients), names)
        except NotImplementedError as error:
            raise RefusedCaseError(_one_line(error)) from None
        except (Exception, SystemExit) as error:
            text = _one_line(error)
            if any(re.search(pattern, text) for pattern in self.refusals):
                raise RefusedCaseError(text) from None
            failure = error
        for name, array in typed_arrays(case, values).items():
            if not np.array_equal(given[name], array):
                failure = ChangedArgumentError(name)
                break
        wanted = ("y", "dx", "dw", "db") if self.gradients else ("y",)
        return {name: names[name] for name in wanted if name in names and (name != "db" or case.bias)}, failure


@dataclass(frozen=True)
class TargetLibrary:
    """A library or a function, with its calls and the versions of the packages that it consists of."""

    name: str
    calls: tuple[TargetCall, ...]
    versions: Mapping[str, str] = field(default_factory=dict)

    def call(self, name: str) -> TargetCall:
        """Return a call by its name."""
        return next(call for call in self.calls if call.name == name)


def typed_arrays(case: LayerCase, values: LayerValues) -> dict[str, Array]:
    """Return the arrays in the case's type; in float32 if NumPy does not have it."""
    dtype = "float32" if case.dtype == "bfloat16" else case.dtype
    return {name: array.astype(dtype) for name, array in values.arrays().items()}


def run_statements(imports: str, statements: str, names: dict[str, Any]) -> None:
    """Run the lines of a program, without warnings; names are added to those that are given.

    Examples
    --------
    >>> names = {"x": 4}
    >>> run_statements("import math", "y = math.factorial(x)", names)
    >>> names["y"]
    24
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, value in _imported(imports).items():
            names.setdefault(name, value)
        exec(_compiled(statements), names)


@functools.lru_cache(maxsize=16)
def _imported(imports: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(imports, names)
    return names


@functools.lru_cache(maxsize=256)
def _compiled(statements: str) -> CodeType:
    return compile(statements, "<statements>", "exec")


def without_numbers(message: str) -> str:
    """Return a message with N for every number or sequence of numbers, so that messages can be counted by kind.

    Examples
    --------
    >>> without_numbers("Argument #4: padding (2, 2) at dimension 3 of input [2, 1, 8]")
    'Argument #N: padding N at dimension N of input N'
    """
    plain = re.sub(r"\bnp\.\w+\(([^()]*)\)", r"\1", message)
    plain = re.sub(r"-?\b\d+(\.\d+)?\b", "\0", plain)
    return re.sub(r"[\[(]*\0(?:[\s,\[\]()]*\0)*,?[\])]*", "N", plain)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:500]


def call_text(function: str, *arguments: str, **options: Any) -> str:
    """Return a call of a function as text, without options that are None.

    Examples
    --------
    >>> call_text("f", "x", stride=(1, 2), bias=None)
    'f(x, stride=(1, 2))'
    """
    given = [f"{name}={value!r}" for name, value in options.items() if value is not None]
    return f"{function}({', '.join([*arguments, *given])})"


def unless(plain: Any, value: Any) -> Any:
    """Return a value, or None if it is the plain one, which a call need not mention."""
    if isinstance(value, tuple) and not isinstance(plain, tuple):
        return None if set(value) <= {plain} else value
    return None if value == plain else value


def is_installed(name: str) -> bool:
    """Return whether a package can be imported."""
    return importlib.util.find_spec(name) is not None


def load_package(name: str, needed_for: str) -> Any:
    """Return an imported package; raise ImportError with the command that installs it."""
    if not is_installed(name):
        raise ImportError(f"{needed_for} needs the package {name}, which is not installed: pip install {name}")
    return importlib.import_module(name)
