"""Models of deep-learning frameworks: one convolution layer, and whole networks of PyTorch and ONNX.

`from_torch` reads one layer by its attributes. `network_from_torch` and `network_from_onnx` are behind
`Network.from_torch` and `Network.from_onnx`; they import PyTorch and onnx when they are called.
"""

import sys
from importlib import import_module
from typing import Any

from convmatrix.frameworks.layers import from_torch

__all__ = ["from_torch", "network_from_onnx", "network_from_torch", "reference_values"]


def __dir__() -> list[str]:
    return sorted(__all__)


def reference_values(model: Any, x: Any, constants: Any = None) -> dict[str, Any]:
    """Return the values of each node of a model's network for a batch, computed by PyTorch or onnxruntime.

    Values of further inputs of an ONNX model are in ``constants``, by name.
    """
    torch = sys.modules.get("torch")
    of_torch = torch is not None and isinstance(model, torch.nn.Module)
    if of_torch and constants is not None:
        raise TypeError("constants are inputs of an ONNX model, but was given a torch.nn.Module")
    module, name = ("torch_models", "values_of_torch") if of_torch else ("onnx_reference", "values_of_onnx")
    more = () if of_torch else (constants,)
    values: dict[str, Any] = getattr(import_module(f"convmatrix.frameworks.{module}"), name)(model, x, *more)
    return values


def __getattr__(name: str) -> Any:
    """Import the functions that read whole networks when they are first used."""
    if name == "network_from_torch":
        return import_module("convmatrix.frameworks.torch_models").network_from_torch
    if name == "network_from_onnx":
        return import_module("convmatrix.frameworks.onnx_models").network_from_onnx
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
