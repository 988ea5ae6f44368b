"""A function of the user as a target.

It is called as ``function(x, w, bias, **options)`` and returns y. Shapes are those of PyTorch: x ``(batch, C_in,
*input)``, w ``(C_out, C_in / groups, *kernel)`` (transposed: ``(C_in, C_out / groups, *kernel)``), bias ``(C_out,)``
or None, y ``(batch, C_out, *output)``. The options are those that were declared, in canonical form:

=================  ==================================================================================================
stride, dilation   a tuple of integers, one per axis
padding            a word ("same", "same_lower", "full"), or one (low, high) pair per axis
boundary           a tuple of words, one per axis
groups             an integer
output_padding     a tuple of integers, one per axis
transposed, flip   True or False
=================  ==================================================================================================

Gradients come from ``gradient(x, w, bias, g, **options)``, which returns (dx, dw) or (dx, dw, db) for the gradient g
with respect to y. A layer that is not supported is refused by raising NotImplementedError.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from convmatrix.conformance.offers import Offers, declared_offers
from convmatrix.conformance.targets import TargetCall, TargetLibrary

if TYPE_CHECKING:
    from convmatrix.conformance.layer_cases import LayerCase
    from convmatrix.conformance.rounding import Rounding

_PASSED: Final = ("stride", "dilation", "groups", "output_padding")


def function_target(
    function: Callable[..., Any],
    options: Iterable[str] | Mapping[str, Any] = (),
    *,
    gradient: Callable[..., Any] | None = None,
    rounding: Rounding = "exact",
    imports: str = "",
) -> TargetLibrary:
    """Return a target that consists of one function, which has the given options; see `declared_offers`.

    ``imports`` are the lines that import the function as ``function`` (and its gradient as ``gradient``), for scripts.

    Examples
    --------
    >>> target = function_target(print, ["stride"])
    >>> target.name, target.calls[0].offers.switches
    ('print', frozenset({'stride'}))
    """
    if not callable(function):
        raise TypeError(f"function must be callable, but is a {type(function).__name__}")
    offers = declared_offers(options)
    name = getattr(function, "__name__", type(function).__name__)
    call = TargetCall(
        name=name,
        offers=offers,
        imports=imports or f"# function is {name}, the function that was tested\n",
        statements=lambda case, gradients: _statements(case, offers, gradients),
        gradients=gradient is not None,
        rounding=rounding,
        names={"function": function, "gradient": gradient},
    )
    return TargetLibrary(name, (call,))


def named_function(path: str) -> tuple[Callable[..., Any], Callable[..., Any] | None, str]:
    r"""Return the function ``MODULE:FUNCTION``, its gradient if it has one, and the lines that import them.

    The module is looked for in the current folder, too. A gradient is the attribute ``gradient`` of the function, or of
    a class or an object. If the name is not of that form, or there is no such function, ValueError is raised.

    Examples
    --------
    >>> named_function("math:sin")[2]
    'from math import sin as function\n'
    """
    module_name, _, name = path.partition(":")
    if not name or not all(part.isidentifier() for part in module_name.split(".")):
        raise ValueError(f"{path!r} does not name a function: give MODULE:FUNCTION, such as mylayers:convolve")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        value = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise ValueError(f"there is no module {module_name!r}, in the current folder or installed") from None
    for part in name.split("."):
        if not hasattr(value, part):
            raise ValueError(f"{module_name} has no {part!r}; give MODULE:FUNCTION")
        value = getattr(value, part)
    if not callable(value):
        raise ValueError(f"{path} is not a function but a {type(value).__name__}")
    gradient = getattr(value, "gradient", None)
    first, _, rest = name.partition(".")
    imports = (
        f"from {module_name} import {first} as function\n"
        if not rest
        else (f"from {module_name} import {first}\nfunction = {name}\n")
    )
    if gradient is not None:
        imports += "gradient = function.gradient\n"
    return value, gradient, imports


def _statements(case: LayerCase, offers: Offers, gradients: bool) -> str:
    options: dict[str, Any] = {name: getattr(case, name) for name in _PASSED if name in offers.switches}
    if offers.paddings != ("valid",):
        options["padding"] = case.geometry.padding if case.padding == "valid" else case.padding
    if offers.boundaries != ("zero",):
        options["boundary"] = case.boundary
    if len(offers.flips) > 1:
        options["flip"] = case.flip
    if len(offers.transposed) > 1:
        options["transposed"] = case.transposed
    given = "".join(f", {name}={value!r}" for name, value in options.items())
    lines = [f"y = function(x, w, b{given})"]
    if gradients:
        results = "dx, dw, db" if case.bias else "dx, dw"
        lines.append(f"{results} = gradient(x, w, b, g{given})[:{3 if case.bias else 2}]")
    return "\n".join(lines)
