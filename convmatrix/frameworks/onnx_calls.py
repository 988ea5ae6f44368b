"""An ONNX node as its translator sees it: inputs and attributes, with checks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix import memory
from convmatrix.frameworks.builder import NetworkBuilder, Shape, Tensor, UnsupportedError

if TYPE_CHECKING:
    from convmatrix.arrays import Array
    from convmatrix.frameworks.onnx_graphs import OnnxNode

__all__ = ["NetworkBuilder", "OnnxCall", "Tensor", "Translator", "UnsupportedError"]

REQUIRED: Final = object()


@dataclass
class OnnxCall:
    """A node with the values of its inputs."""

    builder: NetworkBuilder
    name: str  # of the network's node
    node: OnnxNode
    values: Sequence[Any]  # of its inputs: tensors, arrays or None
    _read: set[str] = field(default_factory=set)

    @property
    def version(self) -> int:
        """The operator set's version."""
        return self.node.version

    def named(self, part: str) -> str:
        """Return the name of one of several nodes that stand for this one."""
        return f"{self.name}.{part}"

    # --- attributes ---------------------------------------------------------------------------------------------------

    def attribute(self, name: str, default: Any = None) -> Any:
        """Return an attribute; the operator's own default counts, then the given one."""
        self._read.add(name)
        return self.node.attributes.get(name, default)

    def ignore(self, *names: str) -> None:
        """Declare that attributes do not change the result."""
        self._read.update(names)

    def demand(self, **values: Any) -> None:
        """Raise UnsupportedError if an attribute has another value than the one that is translated."""
        for name, value in values.items():
            found = self.attribute(name, value)
            if found != value:
                raise UnsupportedError(f"{name}={found}")

    def unread(self) -> list[str]:
        """Return the attributes that the file gives, but that were not read."""
        return [name for name in self.node.given if name not in self._read]

    # --- inputs -------------------------------------------------------------------------------------------------------

    def value(self, number: int) -> Any:
        """Return an input: a tensor, an array, or None if it is left out."""
        return self.values[number] if number < len(self.values) else None

    def tensor(self, number: int = 0) -> Tensor:
        """Return an input that depends on the network's input."""
        value = self.value(number)
        if not isinstance(value, Tensor):
            raise UnsupportedError(f"its input {number + 1} is a constant")
        return value

    def constant(self, number: int, default: Any = REQUIRED) -> Any:
        """Return a constant input; the default if it is left out."""
        value = self.value(number)
        if value is None:
            if default is REQUIRED:
                raise UnsupportedError(f"its input {number + 1} is missing")
            return default
        if isinstance(value, Tensor):
            raise UnsupportedError(f"its input {number + 1} depends on the data")
        array = np.asarray(value)
        if array.dtype.kind in "OUS":
            raise UnsupportedError("a constant of strings")
        if array.dtype.kind == "c":
            raise UnsupportedError("a constant of complex numbers")
        if array.dtype.kind not in "fV" or array.dtype in (np.float32, np.float64):
            return array
        return self.builder.shared(_in_single_precision, array)[0]  # matrices do not compute in float16

    def operand(self, number: int) -> Any:
        """Return an input, a tensor or an array of numbers."""
        value = self.value(number)
        return value if isinstance(value, Tensor) else self.constant(number)

    def scalar(self, number: int, default: float) -> float:
        """Return a constant input of one entry."""
        array = np.asarray(self.constant(number, default))
        if array.size != 1:
            raise UnsupportedError(f"its input {number + 1} has {array.size} entries instead of one")
        return float(array.reshape(()))

    def integers(self, number: int, name: str | None = None, default: Any = REQUIRED) -> list[int] | None:
        """Return integers from an attribute, as in older versions, or else from a constant input."""
        if name is not None and self.attribute(name) is not None:
            return [int(n) for n in np.atleast_1d(self.attribute(name))]
        value = self.constant(number, default)
        if value is None:
            return None
        if np.asarray(value).dtype.kind not in "iu" or np.ndim(value) > 1:
            raise UnsupportedError(f"its input {number + 1} is not a list of integers")
        return [int(n) for n in np.atleast_1d(value)]

    # --- shapes -------------------------------------------------------------------------------------------------------

    def per_axis(self, name: str, n: int, default: int) -> list[int]:
        """Return an attribute with one integer per spatial axis."""
        values = self.attribute(name) or [default] * n
        if len(values) != n:
            raise UnsupportedError(f"{name} has {len(values)} entries, but {n} are needed")
        if any(abs(int(value)) >= 2**31 for value in values):
            raise UnsupportedError(f"{name}={values}")
        return [int(value) for value in values]

    def padding(self, n: int) -> Any:
        """Return the padding of windows as a word or as pairs, from ``auto_pad`` and ``pads``, low ends first."""
        word, pads = self.attribute("auto_pad", "NOTSET"), self.per_axis("pads", 2 * n, 0)
        pairs = list(zip(pads[:n], pads[n:], strict=True))
        if word == "NOTSET":
            return pairs
        if any(map(any, pairs)) or word not in ("VALID", "SAME_UPPER", "SAME_LOWER"):
            raise UnsupportedError(f"auto_pad={word} with pads={pairs}")
        return {"VALID": [(0, 0)] * n, "SAME_UPPER": "same", "SAME_LOWER": "same_lower"}[word]

    def require(self, shape: Shape | Sequence[int], what: str = "its result") -> None:
        """Raise if an array of some shape would not fit in memory in float32."""
        n_bytes = 4 * math.prod(max(int(n), 1) for n in shape)
        memory.require(
            n_bytes,
            lambda: f"{self.node.described}: {what}, of shape {tuple(shape)},",
            "give a smaller input_shape, or check the file",
        )


def _in_single_precision(value: Array) -> tuple[Array]:
    """Return a constant in float32, which holds the numbers of all smaller floating-point types."""
    return (value.astype(np.float32),)


Translator = Callable[[OnnxCall], Any]
