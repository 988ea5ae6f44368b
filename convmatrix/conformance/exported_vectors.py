"""Test vectors for targets in other languages: layers with their exact results, in files.

A folder has ``index.json``, which lists the layers; ``npz/layer_0000.npz`` and so on, with the arrays x, w, b (with a
bias), g (the gradient with respect to the output), y, dx, dw and db; and ``node/test_layer_0000`` and so on, in the
layout of ONNX's node tests (``model.onnx``, ``test_data_set_0/input_0.pb``, ..., ``output_0.pb``), for layers that
ONNX has.
"""

from __future__ import annotations

import io
import json
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix.atomic import atomic_folder, atomic_write
from convmatrix.boundary import BOUNDARIES
from convmatrix.conformance.expected_values import draw_values, exact_results
from convmatrix.conformance.offers import library_offers
from convmatrix.conformance.onnx_target import MODEL_IMPORTS, model_lines, onnx_offers
from convmatrix.conformance.random_cases import draw_case
from convmatrix.conformance.targets import is_installed, run_statements, typed_arrays
from convmatrix.progress import report_step, reporting

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from convmatrix.conformance.expected_values import LayerValues
    from convmatrix.conformance.layer_cases import LayerCase
    from convmatrix.conformance.offers import Offers
    from convmatrix.progress import Progress

FORMAT: Final = "convmatrix test vectors"
FORMAT_VERSION: Final = 1


def vector_offers() -> dict[str, Offers]:
    """Return the offers from which vectors are drawn: those of ONNX's operators, and layers beyond them.

    Examples
    --------
    >>> list(vector_offers())
    ['Conv', 'Pad + Conv', 'ConvTranspose', 'any boundary', 'any transposed']
    """
    any_padding = partial(
        library_offers, ("pairs", "same", "same_lower", "full"), BOUNDARIES, flips=(False, True), dtypes=("float32",)
    )
    return {
        **onnx_offers(("float32",)),
        "any boundary": any_padding(mixed=True),
        "any transposed": any_padding(transposed=True),
    }


def export_vectors(folder: Path, count: int, seed: int, progress: Progress = None) -> dict[str, int]:
    """Write test vectors to a new folder; return how many layers there are as npz and as ONNX node tests.

    Without the package onnx, no node tests are written. The folder is complete or absent; one that exists must be
    empty.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     exported = export_vectors(Path(parent) / "vectors", count=3, seed=0)
    ...     arrays = np.load(Path(parent) / "vectors" / "npz" / "layer_0000.npz")
    ...     print(exported["npz"], sorted(arrays)[-3:])
    3 ['w', 'x', 'y']
    """
    with atomic_folder(folder) as work, reporting(progress, "layers"):
        return _write_vectors(work, count, seed)


def _write_vectors(folder: Path, count: int, seed: int) -> dict[str, int]:
    with_onnx = is_installed("onnx")
    offered, layers = vector_offers(), []
    names = list(offered)
    (folder / "npz").mkdir()
    for number in range(count):
        name = names[number % len(names)]
        rng = np.random.default_rng((seed, number))
        case = draw_case(name, offered[name], rng)
        values = draw_values(case, rng)
        results = exact_results(case, values)
        file = f"npz/layer_{number:04}.npz"
        arrays: dict[str, Any] = typed_arrays(case, values) | {
            key: array.astype(case.dtype) for key, array in results.items()
        }
        packed = io.BytesIO()
        np.savez(packed, **arrays)
        with atomic_write(folder / file) as target:
            target.write(packed.getvalue())
        layers.append(case.to_values() | {"padding_amounts": case.geometry.padding, "npz": file})
        if with_onnx and name in onnx_offers():
            layers[-1]["onnx"] = f"node/test_layer_{number:04}"
            _write_node_test(folder / layers[-1]["onnx"], case, values, arrays["y"])
        report_step(number + 1, count, name)
    index = {"format": FORMAT, "version": FORMAT_VERSION, "seed": seed, "layers": layers}
    with atomic_write(folder / "index.json") as target:
        target.write(json.dumps(index, indent=1).encode() + b"\n")
    return {"npz": count, "onnx": sum("onnx" in layer for layer in layers)}


def _write_node_test(folder: Path, case: LayerCase, values: LayerValues, y: Any) -> None:
    """Write a model and its data as ONNX's own node tests are written."""
    model, to_bytes = node_model(case, values)
    data = folder / "test_data_set_0"
    data.mkdir(parents=True)
    model.graph.output[0].type.tensor_type.shape.Clear()
    for size in y.shape:
        model.graph.output[0].type.tensor_type.shape.dim.add().dim_value = size
    inputs = {name: array for name, array in typed_arrays(case, values).items() if name in ("x", "w", "b")}
    files = {"model.onnx": model.SerializeToString(), "test_data_set_0/output_0.pb": to_bytes(y, "y")}
    for number, (name, array) in enumerate(inputs.items()):
        files[f"test_data_set_0/input_{number}.pb"] = to_bytes(array, name)
    for name, content in files.items():
        with atomic_write(folder / name) as target:
            target.write(content)


def node_model(case: LayerCase, values: LayerValues) -> tuple[Any, Callable[[Any, str], bytes]]:
    """Return the ONNX model of a layer, and a function that returns arrays as bytes of ONNX tensors."""
    names: dict[str, Any] = {"b": None, **typed_arrays(case, values)}
    run_statements(MODEL_IMPORTS, "\n".join(model_lines(case)), names)
    numpy_helper = names["onnx"].numpy_helper
    return names["model"], lambda array, name: numpy_helper.from_array(array, name).SerializeToString()
