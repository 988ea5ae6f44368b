"""ONNX operators along axes: normalisations, softmax, reductions."""

from __future__ import annotations

import math
from typing import Final, Literal

import numpy as np

from convmatrix.frameworks.onnx_calls import OnnxCall, Tensor, Translator, UnsupportedError
from convmatrix.network import LocalResponseNormalisation

# --- normalisations ---------------------------------------------------------------------------------------------------


def _batch_normalisation(call: OnnxCall) -> Tensor:
    call.ignore("momentum")
    call.demand(spatial=1, training_mode=0)
    x, epsilon = call.tensor(), float(call.attribute("epsilon"))
    scale, shift, mean, variance = (call.constant(n) for n in range(1, 5))
    if any(np.ndim(c) != 1 or len(c) != x.known[1] for c in (scale, shift, mean, variance)):
        raise UnsupportedError("its parameters do not have one entry per channel")
    return call.builder.batch_normalisation(call.name, x, mean, variance, scale, shift, epsilon)


def _instance_normalisation(call: OnnxCall) -> Tensor:
    x, scale, shift = call.tensor(), call.constant(1), call.constant(2)
    epsilon = float(call.attribute("epsilon"))
    return call.builder.normalisation(call.name, x, None, scale, shift, epsilon, groups=x.known[1])


def _group_normalisation(call: OnnxCall) -> Tensor:
    call.ignore("stash_type")
    x, scale, shift = call.tensor(), call.constant(1), call.constant(2)
    groups = int(call.attribute("num_groups"))
    if call.version < 21:  # one entry per group
        if groups < 1 or x.known[1] % groups:
            raise UnsupportedError(f"num_groups={groups} does not divide {x.known[1]} channels")
        scale, shift = (np.repeat(c, x.known[1] // groups) for c in (scale, shift))
    return call.builder.normalisation(call.name, x, None, scale, shift, float(call.attribute("epsilon")), groups)


def _layer_normalisation(call: OnnxCall) -> Tensor:
    call.ignore("stash_type")
    x, scale, shift = call.tensor(), call.constant(1), call.constant(2, None)
    axes = _axes_from(x, int(call.attribute("axis")))
    return call.builder.normalisation(call.name, x, axes, scale, shift, float(call.attribute("epsilon")))


def _rms_normalisation(call: OnnxCall) -> Tensor:
    call.ignore("stash_type")
    x, epsilon = call.tensor(), float(call.attribute("epsilon"))
    axes = _axes_from(x, int(call.attribute("axis")))
    y = call.builder.normalisation(call.named("normalise"), x, axes, None, None, epsilon, centred=False)
    return call.builder.scale(call.name, y, call.constant(1), trained=True)


def _axes_from(x: Tensor, axis: int) -> list[int]:
    return list(range(x.axis(axis), x.ndim))


def _local_response(call: OnnxCall) -> Tensor:
    x = call.tensor()
    if x.batch != 0 or x.ndim < 3:
        raise UnsupportedError("its input does not have the batch in front")
    alpha, beta, bias = (float(call.attribute(name)) for name in ("alpha", "beta", "bias"))
    size = int(call.attribute("size"))
    if not 1 <= size <= 2 * x.known[1] + 64:
        raise UnsupportedError(f"size={size} for {x.known[1]} channels")
    return call.builder.add(call.name, LocalResponseNormalisation(size, alpha, beta, bias), [x], 0)


def _softmax(*, logarithm: bool) -> Translator:
    def translate(call: OnnxCall) -> Tensor:
        x, axis = call.tensor(), int(call.attribute("axis"))
        if call.version >= 13:
            return call.builder.softmax(call.name, x, axis, logarithm=logarithm)
        # Before operator set 13 all axes from the given one on are flattened.
        axes = _axes_from(x, axis)
        if len(axes) == 1:
            return call.builder.softmax(call.name, x, axis, logarithm=logarithm)
        if x.batch is not None and x.batch >= axes[0]:
            raise UnsupportedError("it combines samples of the batch")
        flat = call.builder.reshape(call.named("flatten"), x, (*x.known[: axes[0]], math.prod(x.known[axes[0] :])))
        result = call.builder.softmax(call.named("flat"), flat, -1, logarithm=logarithm)
        return call.builder.reshape(call.name, result, x.known)

    return translate


# --- reductions -------------------------------------------------------------------------------------------------------


def _reduction(before: str, method: Literal["mean", "sum", "max", "min"], after: str = "") -> Translator:
    """Return the translator to a function of each entry, a reduction, and a function of the result."""

    def translate(call: OnnxCall) -> Tensor:
        x, builder = call.tensor(), call.builder
        axes = call.integers(1, "axes", None)
        noop, keep = bool(call.attribute("noop_with_empty_axes", 0)), bool(call.attribute("keepdims"))
        names = [name for name in (before, "reduction", after) if name]
        labels = dict(zip(names, [*(call.named(name) for name in names[:-1]), call.name], strict=True))
        if before:
            x = builder.elementwise(labels[before], x, before)
        if axes or not noop:
            x = builder.reduction(labels["reduction"], x, method, axes or range(x.ndim), keep)
        return builder.elementwise(labels[after], x, after) if after else x

    return translate


def _log_sum_exp(call: OnnxCall) -> Tensor:
    x = call.tensor()
    axes = call.integers(1, "axes", None) or range(x.ndim)
    call.demand(noop_with_empty_axes=0)
    return call.builder.log_sum_exp(call.name, x, axes, keep=bool(call.attribute("keepdims")))


NORMALISING: Final[dict[str, Translator]] = {
    "BatchNormalization": _batch_normalisation,
    "GroupNormalization": _group_normalisation,
    "InstanceNormalization": _instance_normalisation,
    "LRN": _local_response,
    "LayerNormalization": _layer_normalisation,
    "LogSoftmax": _softmax(logarithm=True),
    "RMSNormalization": _rms_normalisation,
    "ReduceL1": _reduction("abs", "sum"),
    "ReduceL2": _reduction("square", "sum", "sqrt"),
    "ReduceLogSum": _reduction("", "sum", "log"),
    "ReduceLogSumExp": _log_sum_exp,
    "ReduceMax": _reduction("", "max"),
    "ReduceMean": _reduction("", "mean"),
    "ReduceMin": _reduction("", "min"),
    "ReduceSum": _reduction("", "sum"),
    "ReduceSumSquare": _reduction("square", "sum"),
    "Softmax": _softmax(logarithm=False),
}
"""Translators by the operator's name."""
