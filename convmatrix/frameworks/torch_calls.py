"""Calls of PyTorch's operators: their arguments by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from convmatrix.frameworks.builder import NetworkBuilder, Tensor, UnsupportedError

__all__ = ["Call", "NetworkBuilder", "Tensor", "UnsupportedError", "first_of", "per_axis_numbers"]


@dataclass(frozen=True)
class Call:
    """A call of an operator: the builder, the name of its node, and its arguments by name."""

    builder: NetworkBuilder
    name: str
    arguments: dict[str, Any]
    padding: Any = None
    name_of_operator: str = ""

    def __getitem__(self, argument: str) -> Any:
        """Return an argument by its name in the operator's schema."""
        return self.arguments[argument]

    def get(self, argument: str, default: Any = None) -> Any:
        """Return an argument that not every overload has."""
        value = self.arguments.get(argument, default)
        return default if value is None else value

    @property
    def x(self) -> Tensor:
        """The first tensor argument."""
        for argument in ("self", "input"):
            value = self.arguments.get(argument)
            if isinstance(value, Tensor):
                return value
        raise UnsupportedError("its input is a constant")

    def constants(self, what: str, *arguments: str) -> list[Any]:
        """Return arguments; raise UnsupportedError if one of them depends on the input, which calls them ``what``."""
        values = [self.arguments.get(argument) for argument in arguments]
        if any(isinstance(value, Tensor) for value in values):
            raise UnsupportedError(f"{what} on the input")
        return values

    def only(self, **expected: Any) -> None:
        """Raise UnsupportedError unless some arguments have the only values that are known."""
        for argument, value in expected.items():
            if self.get(argument, value) != value:
                raise UnsupportedError(f"{argument}={self[argument]!r} is not known")


def per_axis_numbers(value: Any, n: int) -> list[int]:
    """Return one number per spatial axis."""
    numbers = [int(v) for v in value] if isinstance(value, list | tuple) else [int(value)]
    return numbers * n if len(numbers) == 1 else numbers


def first_of(n: int, translate: Callable[[Call], Tensor]) -> Callable[[Call], Any]:
    """Return the translation of an operator whose n - 1 further results, such as statistics, have no node."""
    return lambda call: [translate(call), *[None] * (n - 1)]
