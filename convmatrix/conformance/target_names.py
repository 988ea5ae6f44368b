"""The names of targets, as they are given on a command line, and the targets that they stand for."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from convmatrix.conformance.function_target import function_target, named_function
from convmatrix.synonyms import called_here

if TYPE_CHECKING:
    from convmatrix.conformance.rounding import Rounding
    from convmatrix.conformance.targets import TargetLibrary

TARGETS: Final = {
    "torch": ("convmatrix.conformance.torch_target", "torch_target"),
    "onnxruntime": ("convmatrix.conformance.onnx_target", "onnxruntime_target"),
    "onnx-reference": ("convmatrix.conformance.onnx_target", "onnx_reference_target"),
    "scipy": ("convmatrix.conformance.scipy_target", "scipy_target"),
}
"""The built-in targets: the module of each, and the function that returns it."""


@dataclass(frozen=True)
class TargetName:
    """A target that any process can load: its name, the declared options of a function, and how it rounds."""

    name: str
    options: tuple[tuple[str, Any], ...] = ()
    rounding: Rounding | None = None

    def load(self) -> TargetLibrary:
        """Return the target; raise ValueError if there is none with these options, ImportError without its package.

        Examples
        --------
        >>> [call.name for call in TargetName("scipy").load().calls][:2]
        ['scipy.signal.correlate', 'scipy.signal.convolve']
        """
        if ":" in self.name:
            function, gradient, imports = named_function(self.name)
            options = dict(self.options) or dict.fromkeys(getattr(function, "options", ()))
            own = function_target(
                function, options, gradient=gradient, rounding=self.rounding or "exact", imports=imports
            )
            return dataclasses.replace(own, name=self.name)
        if self.name not in TARGETS:
            raise ValueError(
                f"target {self.name!r} is unknown; choose one of {', '.join(TARGETS)}, or a function of your own as "
                f"MODULE:FUNCTION{called_here(self.name, TARGETS)}"
            )
        if self.options:
            raise ValueError(
                f"options are declared for a function, but the target is {self.name!r}, whose options are known; drop "
                f"{', '.join(name for name, _ in self.options)}"
            )
        module, function_name = TARGETS[self.name]
        target: TargetLibrary = getattr(import_module(module), function_name)()
        if self.rounding is not None:
            calls = tuple(dataclasses.replace(call, rounding=self.rounding) for call in target.calls)
            target = dataclasses.replace(target, calls=calls)
        return target
