"""ONNX operators along axes: normalisations, softmax, reductions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from convmatrix.frameworks.builder import Tensor, UnsupportedError
from convmatrix.network import LocalResponseNormalisation, Normalisation

if TYPE_CHECKING:
    from convmatrix.frameworks.onnx_calls import OnnxCall, Translator

# --- normalisations ---------------------------------------------------------------------------------------------------


def _batch_normalisation(call: OnnxCall) -> Tensor:
    call.ignore("momentum")
    call.demand(spatial=1, training_mode=0)
    # In float64, whatever the type of the file: rounded again, they would not be the model's in real arithmetic.
    gamma, beta, mean, variance = (np.asarray(call.constant(n), np.float64) for n in range(1, 5))
    if any(np.ndim(c) != 1 or len(c) != call.tensor().known[1] for c in (gamma, beta, mean, variance)):
        raise UnsupportedError("its parameters do not have one entry per channel")
    with np.errstate(all="ignore"):
        scale = gamma / np.sqrt(variance + float(call.attribute("epsilon")))
        shift = beta - mean * scale
    return call.builder.channel_scale(call.name, call.tensor(), scale, shift)


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
    x, builder = call.tensor(), call.builder
    axes = _axes_from(x, int(call.attribute("axis")))
    if x.batch is not None and x.batch >= axes[0]:
        raise UnsupportedError("it combines samples of the batch")
    inner = tuple(range(-len(axes), 0))
    operation = Normalisation(inner, epsilon=float(call.attribute("epsilon")), centred=False)
    y = builder.add(call.named("normalise"), operation, [x], x.batch)
    return builder.scale(call.name, y, call.constant(1), trained=True)


def _axes_from(x: Tensor, axis: int) -> list[int]:
    if not -x.ndim <= axis < x.ndim:
        raise UnsupportedError(f"axis {axis} does not exist in a tensor of shape {x.shape}")
    return list(range(axis % x.ndim, x.ndim))


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
    """Return the logarithm of the sum of exponentials, after the maximum is subtracted."""
    x, builder = call.tensor(), call.builder
    axes = call.integers(1, "axes", None) or list(range(x.ndim))
    keep = bool(call.attribute("keepdims"))
    call.demand(noop_with_empty_axes=0)
    highest = builder.reduction(call.named("max"), x, "max", axes, keep=True)
    powers = builder.elementwise(call.named("exp"), builder.sum(call.named("difference"), x, highest, -1), "exp")
    total = builder.reduction(call.named("sum"), powers, "sum", axes, keep=True)
    logarithm = builder.elementwise(call.named("log"), total, "log")
    result = builder.sum(call.name if keep else call.named("total"), logarithm, highest)
    dropped = {axis % x.ndim for axis in axes}
    kept = tuple(n for axis, n in enumerate(result.known) if axis not in dropped)
    return result if keep else builder.reshape(call.name, result, kept)


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
