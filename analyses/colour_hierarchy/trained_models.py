"""First layers of trained colour models that come within packages, read from their files; nothing of them is run."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from convmatrix import ConvGeometry, nn

if TYPE_CHECKING:
    from convmatrix.arrays import Array


@dataclass(frozen=True)
class Trained:
    """The first layers of a trained model: a chain of convolutions, activations and max-pooling."""

    name: str
    weights: list[Array]
    biases: list[Array]
    strides: list[int]
    pools: list[int]
    activate: Callable[[int, Array], Array]
    scale: Callable[[Array], Array]

    def responses(self, images: Array) -> list[Array]:
        """Return the activations of each layer."""
        x, found = self.scale(images).astype(np.float32), []
        for place, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            outputs, inputs = weight.shape[:2]
            geometry = ConvGeometry(
                x.shape[2:], weight.shape[2:], in_channels=inputs, out_channels=outputs, stride=self.strides[place]
            )
            layer = nn.Conv(geometry)
            layer.parameters["weight"][...], layer.parameters["bias"][...] = weight, bias
            x = self.activate(place, layer.forward(x))
            found.append(np.maximum(x, 0))
            if self.pools[place] and min(x.shape[2:]) > self.pools[place]:
                x = nn.MaxPool(self.pools[place], 2).forward(x)
        return found


# Path in the package, strides, sizes of max-pooling after each layer (steps of 2) for MTCNN's three networks.
MTCNN: Final = {"pnet": (3, (2, 0, 0)), "rnet": (3, (3, 3, 0)), "onet": (4, (3, 3, 2, 0))}


def _file(package: str, path: str) -> Path | None:
    """Return a file within a package, without importing the package."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        return None
    file = Path(found.origin).parent / path
    return file if file.exists() else None


def trained_models() -> tuple[list[Trained], list[str]]:
    """Return the models that are at hand, and why others are not."""
    models: list[Trained] = []
    missing = []
    for name in MTCNN:
        file = _file("facenet_pytorch", f"data/{name}.pt")
        if file is None or importlib.util.find_spec("torch") is None:
            missing.append("facenet-pytorch (MTCNN) or PyTorch, which reads its files, is not installed")
            break
        models.append(_mtcnn(name, file))
    file = _file("nudenet", "320n.onnx")
    if file is None or importlib.util.find_spec("onnx") is None:
        missing.append("nudenet or onnx, which reads its file, is not installed")
    else:
        models.append(_nudenet(file))
    return models, missing


def _mtcnn(name: str, file: Path) -> Trained:
    import torch

    state = {key: value.numpy() for key, value in torch.load(file, map_location="cpu", weights_only=True).items()}
    depth, pools = MTCNN[name]
    slopes = [state[f"prelu{place}.weight"] for place in range(1, depth + 1)]
    return Trained(
        f"MTCNN {name[0].upper()}-Net",
        [state[f"conv{place}.weight"] for place in range(1, depth + 1)],
        [state[f"conv{place}.bias"] for place in range(1, depth + 1)],
        [1] * depth,
        list(pools),
        lambda place, x: np.where(x > 0, x, slopes[place][:, None, None] * x),
        lambda images: (255 * images - 127.5) * 0.0078125,
    )


def _nudenet(file: Path) -> Trained:
    import onnx

    arrays = {a.name: onnx.numpy_helper.to_array(a) for a in onnx.load(str(file)).graph.initializer}
    names = ("model.0.conv", "model.1.conv", "model.2.cv1.conv")
    return Trained(
        "NudeNet (YOLOv8n)",
        [arrays[f"{name}.weight"] for name in names],
        [arrays[f"{name}.bias"] for name in names],
        [2, 2, 1],
        [0, 0, 0],
        lambda _, x: x * (1 + np.tanh(x / 2)) / 2,
        lambda images: images,
    )
