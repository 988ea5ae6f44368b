"""ONNX operators that compute: functions of entries, arithmetic, matrix products."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, Final, Literal

import numpy as np

from convmatrix.frameworks.onnx_calls import NetworkBuilder, OnnxCall, Tensor, Translator, UnsupportedError
from convmatrix.frameworks.onnx_constants import FLOATING, element_type
from convmatrix.network import Addition

# --- functions of each entry ------------------------------------------------------------------------------------------


def _function(name: str, **attributes: str) -> Translator:
    """Return the translator to an elementwise function; keywords tell the attribute of each parameter."""

    def translate(call: OnnxCall) -> Tensor:
        parameters = {ours: float(call.attribute(theirs)) for ours, theirs in attributes.items()}
        return call.builder.elementwise(call.name, call.tensor(), name, **parameters)

    return translate


def _clip(call: OnnxCall) -> Tensor:
    if call.version < 11:
        low, high = float(call.attribute("min")), float(call.attribute("max"))
    else:
        low, high = call.scalar(1, -math.inf), call.scalar(2, math.inf)
    return call.builder.elementwise(call.name, call.tensor(), "clip", low=low, high=high)


def _gelu(call: OnnxCall) -> Tensor:
    approximate = call.attribute("approximate")
    if approximate not in ("none", "tanh"):
        raise UnsupportedError(f"approximate={approximate}")
    return call.builder.elementwise(call.name, call.tensor(), "gelu" if approximate == "none" else "gelu_tanh")


def _shrink(call: OnnxCall) -> Tensor:
    threshold, bias = float(call.attribute("lambd")), float(call.attribute("bias"))
    if bias not in (0.0, threshold) or (bias and threshold < 0):
        raise UnsupportedError(f"bias={bias} is neither 0 nor lambd={threshold}")
    name = "soft_shrink" if bias else "hard_shrink"
    return call.builder.elementwise(call.name, call.tensor(), name, threshold=threshold)


def _swish(call: OnnxCall) -> Tensor:
    alpha, x = float(call.attribute("alpha")), call.tensor()
    if alpha == 1:
        return call.builder.elementwise(call.name, x, "silu")
    scaled = call.builder.scale(call.named("scale"), x, np.asarray(alpha, np.float32))
    return call.builder.product(call.name, x, call.builder.elementwise(call.named("sigmoid"), scaled, "sigmoid"))


def _power(call: OnnxCall) -> Tensor:
    if not isinstance(call.value(0), Tensor):
        if np.ndim(call.value(0)) > call.tensor(1).ndim:
            raise UnsupportedError("its base has more axes than its exponent")
        logarithm = np.asarray(math.log(call.scalar(0, math.nan)))
        scaled = call.builder.scale(call.named("scale"), call.tensor(1), logarithm)
        return call.builder.elementwise(call.name, scaled, "exp")
    exponent = call.scalar(1, math.nan)
    return call.builder.power(call.name, call.tensor(), exponent)


def _dropout(call: OnnxCall) -> Tensor:
    call.ignore("ratio", "seed")
    if call.value(2) is not None and np.asarray(call.constant(2)).any():
        raise UnsupportedError("training_mode is true")
    return call.tensor()


def _cast(call: OnnxCall) -> Tensor:
    """Return the input of Cast or CastLike, which convert between types in floating point."""
    call.ignore("saturate", "round_mode")
    like = call.node.operator == "CastLike"
    target = call.value(1) if like else int(call.attribute("to"))
    known = isinstance(target, Tensor) or (element_type(np.asarray(target)) if like else target) in FLOATING
    if not known:
        raise UnsupportedError("it converts to another type than float16, bfloat16, float32 or float64")
    return call.tensor()


# --- arithmetic -------------------------------------------------------------------------------------------------------


def _of_two(method: Callable[..., Tensor], *options: Any) -> Translator:
    """Return the translator to a method of the builder for two inputs, tensors or constants."""
    return lambda call: method(call.builder, call.name, call.operand(0), call.operand(1), *options)


def _sum(call: OnnxCall, name: str | None = None) -> Tensor:
    values = [call.operand(number) for number in range(len(call.values))]
    tensors = [value for value in values if isinstance(value, Tensor)]
    constants = [value for value in values if not isinstance(value, Tensor)]
    name = name or call.name
    last = call.named("tensors") if constants else name
    total = tensors[0] if len(tensors) == 1 else call.builder.combine(last, tensors, Addition())
    if len(constants) > 1:
        constants = [np.asarray(constant, np.float64) for constant in constants]
    return call.builder.scale(name, total, shift=reduce(np.add, constants)) if constants else total


def _mean(call: OnnxCall) -> Tensor:
    if len(call.values) == 1:
        return call.tensor()
    total = _sum(call, call.named("sum"))
    return call.builder.scale(call.name, total, np.asarray(1 / len(call.values)))


def _extremum(method: Literal["max", "min"]) -> Translator:
    def translate(call: OnnxCall) -> Any:
        values = [call.operand(number) for number in range(len(call.values))]
        result = values[0]
        for number, value in enumerate(values[1:], start=2):
            name = call.name if number == len(values) else call.named(str(number))
            if isinstance(result, Tensor) or isinstance(value, Tensor):
                result = call.builder.extremum(name, result, value, method)
            else:
                result = np.maximum(result, value) if method == "max" else np.minimum(result, value)
        return result

    return translate


def _cumulative_sum(call: OnnxCall) -> Tensor:
    axis, exclusive, backwards = int(call.scalar(1, 0)), call.attribute("exclusive"), call.attribute("reverse")
    return call.builder.cumulative_sum(call.name, call.tensor(), axis, exclusive=exclusive, backwards=backwards)


def _where(call: OnnxCall) -> Tensor:
    condition = np.asarray(call.constant(0)).astype(bool)
    return call.builder.choice(call.name, condition, call.operand(1), call.operand(2))


def _triangle(call: OnnxCall) -> Tensor:
    x, k = call.tensor(), int(call.scalar(1, 0))
    if x.batch is not None and x.batch >= x.ndim - 2:
        raise UnsupportedError("its rows or columns are samples of the batch")
    upper, (rows, columns) = bool(call.attribute("upper")), x.known[-2:]
    below: Any = np.tri(rows, columns, k - upper, dtype=bool)
    return call.builder.choice(call.name, ~below if upper else below, x, 0)


# --- matrix products --------------------------------------------------------------------------------------------------


def _matrix_product(call: OnnxCall) -> Tensor:
    a, b = call.operand(0), call.operand(1)
    for constant, other in ((a, b), (b, a)):
        if not isinstance(constant, Tensor) and constant.ndim > 2 and constant.ndim <= other.ndim:
            matrix = constant.reshape(constant.shape[-2:]) if math.prod(constant.shape[:-2]) == 1 else constant
            a, b = (matrix, b) if constant is a else (a, matrix)
    return call.builder.matrix_product(call.name, a, b)


def _einsum(call: OnnxCall) -> Tensor:
    """Return an Einstein sum of one or two operands: as a product of matrices, in which some axes are joined."""
    terms, arrow, out = call.attribute("equation").replace(" ", "").partition("->")
    parts = terms.split(",")
    if len(parts) > 2 or not all(letter.isalpha() for letter in "".join(parts) + out):
        raise UnsupportedError("its equation has more than two operands, or an ellipsis")
    if not arrow:
        out = "".join(letter for letter in sorted(set(terms) - {","}) if terms.count(letter) == 1)
    operands: list[Any] = []
    letters: list[list[str]] = []
    sizes: dict[str, int] = {}
    batches: set[str] = set()
    for number, part in enumerate(parts):
        value = call.operand(number)
        shape = value.known if isinstance(value, Tensor) else value.shape
        if len({*part}) != len(part) or len(part) != len(shape):
            raise UnsupportedError("its equation takes a diagonal, or does not fit its operands")
        sizes.update(zip(part, shape, strict=True))
        if isinstance(value, Tensor) and value.batch is not None:
            batches.add(part[value.batch])
        kept = out + "".join(parts[:number] + parts[number + 1 :])
        axes = [axis for axis, letter in enumerate(part) if letter not in kept]
        if axes and isinstance(value, Tensor):
            value = call.builder.reduction(call.named(f"sum{number + 1}"), value, "sum", axes, keep=False)
        operands.append(value if isinstance(value, Tensor) else value.sum(axis=tuple(axes)))
        letters.append([letter for letter in part if letter in kept])
    if len(batches) > 1 or not batches <= {*out}:
        raise UnsupportedError("it combines samples of the batch")
    if len(parts) == 1:
        return call.builder.permute(call.name, operands[0], [letters[0].index(c) for c in out])
    first, second = letters
    outer, summed = ([c for c in first if c in second and (c in out) == kept] for kept in (True, False))
    left, right = [c for c in first if c not in second], [c for c in second if c not in first]
    rows, inner, columns = (math.prod(sizes[c] for c in group) for group in (left, summed, right))
    stack, order, name = [sizes[c] for c in outer], [*outer, *left, *right], call.named
    places = [first.index(c) for c in (*outer, *left, *summed)], [second.index(c) for c in (*outer, *summed, *right)]
    a = _stacked(call, name("left"), operands[0], places[0], [*stack, rows, inner])
    b = _stacked(call, name("right"), operands[1], places[1], [*stack, inner, columns])
    product = call.builder.matrix_product(name("product"), a, b)
    split = call.builder.reshape(name("split"), product, [sizes[c] for c in order])
    return call.builder.permute(call.name, split, [order.index(c) for c in out])


def _stacked(call: OnnxCall, name: str, value: Any, order: list[int], sizes: Sequence[int]) -> Any:
    """Return an operand with permuted and then joined axes."""
    if not isinstance(value, Tensor):
        return np.transpose(value, order).reshape(sizes)
    return call.builder.reshape(name, call.builder.permute(name, value, order), sizes)


def _gemm(call: OnnxCall) -> Tensor:
    """Return ``alpha A B + beta C``, with A and B transposed first where the attributes say so."""
    alpha, beta = float(call.attribute("alpha")), float(call.attribute("beta"))
    a, b = call.operand(0), call.operand(1)
    c = None if call.value(2) is None else call.operand(2)
    builder = call.builder
    if call.attribute("transA"):
        a = builder.permute(call.named("transpose_a"), a, (1, 0)) if isinstance(a, Tensor) else a.T
    if call.attribute("transB"):
        b = builder.permute(call.named("transpose_b"), b, (1, 0)) if isinstance(b, Tensor) else b.T
    if not isinstance(a, Tensor) and not isinstance(b, Tensor):
        return builder.sum(call.name, _scaled(call, np.asarray(a, np.float64) @ b, alpha), _scaled(call, c, beta))
    if isinstance(b, Tensor):
        product = builder.matrix_product(call.named("product") if c is not None or alpha != 1 else call.name, a, b)
        if alpha != 1:
            product = builder.scale(call.named("scale") if c is not None else call.name, product, np.asarray(alpha))
        return product if c is None else builder.sum(call.name, product, _scaled(call, c, beta))
    if np.ndim(b) != 2:
        raise UnsupportedError(f"its second input has the shape {np.shape(b)}")
    if alpha != 1:  # of A, since its products with weights may have to be rounded
        a = builder.scale(call.named("scale"), a, np.asarray(alpha))
    weight = b.T
    if c is None or isinstance(c, Tensor) or (c.ndim == 2 and c.shape[0] != 1) or c.ndim > 2:
        product = builder.dense(call.name if c is None else call.named("product"), a, weight, None)
        return product if c is None else builder.sum(call.name, product, _scaled(call, c, beta))
    bias = np.broadcast_to(c.reshape(-1), (len(weight),))
    return builder.dense(call.name, a, weight, _scaled(call, bias, beta))


def _scaled(call: OnnxCall, value: Any, factor: float) -> Any:
    """Return beta C; float64 holds the products of constants in float32, in which the attribute is, exactly."""
    if factor == 1:
        return value
    if isinstance(value, Tensor):
        return call.builder.scale(call.named("beta"), value, np.asarray(factor))
    return np.asarray(value, np.float64) * factor


_SAME_NAME: Final = (
    *("Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Cos", "Cosh", "Erf", "Exp", "Floor", "Log"),
    *("Mish", "Reciprocal", "Relu", "Round", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Tan"),
    "Tanh",
)

COMPUTING: Final[dict[str, Translator]] = {
    **{name: _function(name.lower()) for name in _SAME_NAME},
    "Add": _of_two(NetworkBuilder.sum),
    "Cast": _cast,
    "CastLike": _cast,
    "Celu": _function("celu", alpha="alpha"),
    "Clip": _clip,
    "CumSum": _cumulative_sum,
    "Div": _of_two(NetworkBuilder.quotient),
    "Dropout": _dropout,
    "Einsum": _einsum,
    "Elu": _function("elu", alpha="alpha"),
    "Gelu": _gelu,
    "Gemm": _gemm,
    "HardSigmoid": _function("hard_sigmoid", alpha="alpha", beta="beta"),
    "HardSwish": _function("hard_swish"),
    "Identity": lambda call: call.tensor(),
    "LeakyRelu": _function("leaky_relu", slope="alpha"),
    "MatMul": _matrix_product,
    "Max": _extremum("max"),
    "Mean": _mean,
    "Min": _extremum("min"),
    "Mul": _of_two(NetworkBuilder.product),
    "Neg": lambda call: call.builder.scale(call.name, call.tensor(), np.asarray(-1, np.float32)),
    "PRelu": lambda call: call.builder.parametric_relu(call.name, call.tensor(), call.constant(1)),
    "Pow": _power,
    "Selu": _function("selu", alpha="alpha", gamma="gamma"),
    "Shrink": _shrink,
    "Sub": _of_two(NetworkBuilder.sum, -1),
    "Sum": _sum,
    "Swish": _swish,
    "ThresholdedRelu": _function("threshold", threshold="alpha"),
    "Trilu": _triangle,
    "Where": _where,
}
"""Translators by the operator's name."""
