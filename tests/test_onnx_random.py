"""Random ONNX graphs, in all operator sets, computed by a network and by onnxruntime."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from convmatrix.network import Network
from tests.cases import for_each

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from tests.random_onnx import random_model  # noqa: E402  it needs onnx

CASES_PER_SEED = 200


def runtime_output(model: Any, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
    """Return onnxruntime's output; None if it refuses the model."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options)
        output: np.ndarray[Any, Any] = session.run(None, {"x": x})[0]
    except Exception:  # onnxruntime's errors have no common base; how many there are is asserted below
        return None
    return output


@for_each("seed", [0, 1, 2, 3])
def test_random_graphs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    outcomes: Counter[str] = Counter()
    for _ in range(CASES_PER_SEED):
        model, x = random_model(rng)
        expected = runtime_output(model, x)
        network = Network.from_onnx(model)
        opaque = [node for node in network if node.kind == "opaque"]
        if expected is None or opaque:
            outcomes["refused" if expected is None else "opaque"] += 1
            continue
        y = network(x)
        assert y.shape == expected.shape
        finite = np.abs(expected[np.isfinite(expected)])
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5 * max(1.0, finite.max(initial=0)))
        outcomes["equal"] += 1
    assert outcomes["equal"] >= 0.9 * CASES_PER_SEED, outcomes


def test_the_values_do_not_depend_on_the_batch() -> None:
    rng = np.random.default_rng(5)
    for _ in range(60):
        model, x = random_model(rng)
        network = Network.from_onnx(model)
        if any(node.kind == "opaque" for node in network):
            continue
        batch = np.concatenate([x, -x, 0.5 * x])
        alone = np.concatenate([network(sample[None]) for sample in batch])
        np.testing.assert_allclose(network(batch), alone, rtol=1e-4, atol=1e-5)
