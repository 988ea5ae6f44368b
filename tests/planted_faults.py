"""Faults planted in a correct convolution layer: each must be found, and shrunk to an input of at most 4x4.

The command::

    python -m tests.planted_faults --count 500 --seed 0

runs `convmatrix.testing.conform` on a layer in plain NumPy (all options, both gradients), which must conform, and on
copies of it with one fault each. The exit status is 1 if a fault is not found, if its minimal layer has an axis
longer than 4 or more than two axes, or if its script does not reproduce it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

import convmatrix as cm

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convmatrix.conformance import ConformanceReport

    Array = NDArray[Any]
    Options = dict[str, Any]

ALL_OPTIONS: Final[Options] = {
    "batch": None,
    "channels": None,
    "bias": None,
    "stride": None,
    "dilation": None,
    "groups": None,
    "output_padding": None,
    "padding": ("valid", "pairs", "same", "same_lower", "full"),
    "boundary": ("zero", "circular", "reflect", "symmetric", "replicate"),
    "flip": None,
    "transposed": None,
    "axes": (1, 2, 3),
}
MODES: Final = {
    "zero": "constant",
    "circular": "wrap",
    "reflect": "reflect",
    "symmetric": "symmetric",
    "replicate": "edge",
}
LONGEST_AXIS: Final = 4
BATCH: Final = 25  # layers that are run before it is seen whether the fault was found


class PlainLayer:
    """A convolution layer in plain NumPy, and its gradients; the methods are what faults change."""

    def __call__(self, x: Array, w: Array, bias: Array | None, **options: Any) -> Array:
        """Return the output."""
        o = self.options(x, w, options)
        kernel = self.kernel(w, o)
        y = self.backward(o, x, kernel) if o["transposed"] else self.forward(o, x, kernel)
        return y if bias is None else self.add_bias(y, bias)

    def gradient(self, x: Array, w: Array, bias: Array | None, g: Array, **options: Any) -> tuple[Array, ...]:
        """Return the gradients with respect to x, w and the bias."""
        o = self.options(x, w, options)
        kernel = self.kernel(w, o)
        dx = self.forward(o, g, kernel) if o["transposed"] else self.backward(o, g, kernel)
        near, far = (x, g) if o["transposed"] else (g, x)
        return dx, self.flipped(self.weights(o, near, far), o), g.sum((0, *range(2, g.ndim)))

    def options(self, x: Array, w: Array, o: Options) -> Options:
        """Return the options with amounts of padding, and shapes."""
        n, k = x.shape[2:], w.shape[2:]
        o = {**o, "kernel_shape": k, "span": tuple(d * (t - 1) + 1 for d, t in zip(o["dilation"], k, strict=True))}
        amounts = [self.amounts(o, axis, n[axis]) for axis in range(len(n))]
        o["padding"] = [pair for pair, _ in amounts]
        extra = [more for _, more in amounts]
        per_axis = list(zip(n, o["span"], o["stride"], o["padding"], strict=True))
        if o["transposed"]:
            sizes = [(m - 1) * s + span + e - sum(pads) for (m, span, s, pads), e in zip(per_axis, extra, strict=True)]
            o["far"], o["near"] = tuple(sizes), n
        else:
            o["far"], o["near"] = n, tuple(self.outputs(*values) for values in per_axis)
        return o

    def outputs(self, n: int, span: int, stride: int, pads: tuple[int, int]) -> int:
        return (n + sum(pads) - span) // stride + 1

    def amounts(self, o: Options, axis: int, n: int) -> tuple[tuple[int, int], int]:
        """Return the padding of an axis, and the output padding."""
        span, stride, word, extra = o["span"][axis], o["stride"][axis], o["padding"], o["output_padding"][axis]
        if not isinstance(word, str):
            return tuple(word[axis]), extra
        if word == "full":
            return (span - 1, span - 1), extra
        if word == "valid":
            return (0, 0), extra
        if o["transposed"]:
            total = span + extra - stride
            extra += max(-total, 0)
        else:
            total = (-(-n // stride) - 1) * stride + span - n
        half = max(total, 0) // 2
        rest = max(total, 0) - half
        return ((half, rest) if self.is_upper(word) else (rest, half)), extra

    def is_upper(self, word: str) -> bool:
        return word == "same"

    def kernel(self, w: Array, o: Options) -> Array:
        """Return the kernel as it is used, (groups, near channels, far channels, *kernel)."""
        return self.flipped(w.reshape(o["groups"], w.shape[0] // o["groups"], *w.shape[1:]), o)

    def flipped(self, w: Array, o: Options) -> Array:
        n_axes = len(o["stride"])
        return np.flip(w, tuple(range(w.ndim - n_axes, w.ndim))) if o["flip"] else w

    def add_bias(self, y: Array, bias: Array) -> Array:
        return y + bias.reshape(-1, *(1,) * (y.ndim - 2))

    def pad(self, far: Array, o: Options) -> Array:
        for axis, (pair, boundary) in enumerate(zip(o["padding"], o["boundary"], strict=True), start=2):
            widths = [(0, 0)] * far.ndim
            widths[axis] = pair
            far = np.pad(far, widths, mode=MODES[boundary])  # type: ignore[call-overload]
        return far

    def unpad(self, padded: Array, o: Options) -> Array:
        """Return the adjoint of `pad`: what was written to the padding is added to where it was read from."""
        numbers = np.arange(1, np.prod(o["far"], dtype=int) + 1).reshape(1, 1, *o["far"])
        read = self.pad(numbers, o).reshape(-1)
        far = np.zeros((*padded.shape[:2], numbers.size + 1))
        covered = padded.reshape(*padded.shape[:2], -1)
        np.add.at(far, (slice(None), slice(None), read), covered)
        return far[..., 1:].reshape(*padded.shape[:2], *o["far"])

    def reads(self, o: Options, tap: tuple[int, ...]) -> tuple[Any, ...]:
        """Return the index of what a tap reads for all positions."""
        steps = zip(tap, o["dilation"], o["stride"], o["near"], strict=True)
        return (..., *(slice(t * d, t * d + s * (n - 1) + 1, s) for t, d, s, n in steps))

    def grouped(self, array: Array, o: Options) -> Array:
        """Return (batch, groups, channels, *spatial)."""
        return array.reshape(array.shape[0], o["groups"], array.shape[1] // o["groups"], *array.shape[2:])

    def forward(self, o: Options, far: Array, kernel: Array) -> Array:
        padded = self.grouped(self.pad(far, o), o)
        near = np.zeros((far.shape[0], o["groups"], kernel.shape[1], *o["near"]))
        for tap in np.ndindex(*o["kernel_shape"]):
            near += np.einsum("goi,bgi...->bgo...", kernel[(..., *tap)], padded[self.reads(o, tap)])
        return near.reshape(far.shape[0], -1, *o["near"])

    def backward(self, o: Options, near: Array, kernel: Array) -> Array:
        sizes = [n + sum(pads) for n, pads in zip(o["far"], o["padding"], strict=True)]
        padded = np.zeros((near.shape[0], o["groups"], kernel.shape[2], *sizes))
        for tap in np.ndindex(*o["kernel_shape"]):
            padded[self.reads(o, tap)] += np.einsum("goi,bgo...->bgi...", kernel[(..., *tap)], self.grouped(near, o))
        return self.unpad(padded.reshape(near.shape[0], -1, *sizes), o)

    def weights(self, o: Options, near: Array, far: Array) -> Array:
        padded, near = self.grouped(self.pad(far, o), o), self.grouped(near, o)
        shape = (o["groups"], near.shape[2], padded.shape[2], *o["kernel_shape"])
        gradient = np.zeros(shape)
        for tap in np.ndindex(*o["kernel_shape"]):
            read = padded[self.reads(o, tap)]
            gradient[(..., *tap)] = np.einsum("bgop,bgip->goi", _flat(near), _flat(read))
        return gradient.reshape(-1, *shape[2:])


def _flat(array: Array) -> Array:
    return array.reshape(*array.shape[:3], -1)


@dataclass(frozen=True)
class Fault:
    """A layer with one fault."""

    name: str
    layer: Any
    options: Options = field(default_factory=lambda: ALL_OPTIONS)
    gradient: bool = True


FAULTS: Final[list[Fault]] = []


def fault(name: str, method: str, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a fault that replaces a method; it receives the correct method first."""

    def decorate(change: Callable[..., Any]) -> Callable[..., Any]:
        def replaced(self: PlainLayer, *arguments: Any, **named: Any) -> Any:
            return change(lambda *a, **n: getattr(PlainLayer, method)(self, *a, **n), *arguments, **named)

        kind = type("Planted", (PlainLayer,), {method: replaced})
        FAULTS.append(Fault(name, kind(), **options))
        return change

    return decorate


def changed_options(name: str, change: Callable[[Options], Options]) -> None:
    """Register a fault in how options are understood, the padding being amounts already."""

    def replaced(self: PlainLayer, x: Array, w: Array, o: Options) -> Options:
        return PlainLayer.options(self, x, w, {**o, **change(o)})

    FAULTS.append(Fault(name, type("Planted", (PlainLayer,), {"options": replaced})()))


def reordered(name: str, key: str, order: Callable[[Any], Any]) -> None:
    """Register a fault that uses the entries of an option in another order, or others."""
    changed_options(name, lambda o: {key: order(o[key])} if not isinstance(o[key], str) else {})


def backwards(values: Any) -> Any:
    return tuple(values)[::-1]


def first_for_all(values: Any) -> Any:
    return (values[0],) * len(values)


# --- options that are mixed up ----------------------------------------------------------------------------------------

reordered("stride axes swapped", "stride", backwards)
reordered("stride of the first axis for all", "stride", first_for_all)
reordered("stride of the last axis ignored", "stride", lambda s: (*s[:-1], 1) if len(s) > 1 else s)
reordered("dilation axes swapped", "dilation", backwards)
reordered("dilation ignored", "dilation", lambda d: (1,) * len(d))
reordered("dilation of the first axis for all", "dilation", first_for_all)
reordered("padding axes swapped", "padding", backwards)
reordered("asymmetric pads mirrored", "padding", lambda p: tuple((high, low) for low, high in p))
reordered("low padding at both ends", "padding", lambda p: tuple((low, low) for low, _ in p))
reordered("high padding at both ends", "padding", lambda p: tuple((high, high) for _, high in p))
reordered("padding of the first axis for all", "padding", first_for_all)
reordered("boundary axes swapped", "boundary", backwards)
reordered("boundary of the last axis for all", "boundary", lambda b: (b[-1],) * len(b))
reordered("output padding axes swapped", "output_padding", backwards)
reordered("output padding ignored", "output_padding", lambda e: (0,) * len(e))
changed_options("flip ignored", lambda o: {"flip": False})
changed_options("flip of dilated kernels ignored", lambda o: {"flip": o["flip"] and max(o["dilation"]) == 1})
changed_options("stride and dilation exchanged", lambda o: {"stride": o["dilation"], "dilation": o["stride"]})
changed_options(
    "stride ignored where both are above 1",
    lambda o: {"stride": tuple(1 if s > 1 and d > 1 else s for s, d in zip(o["stride"], o["dilation"], strict=True))},
)


def words(name: str, change: Callable[[str], str]) -> None:
    changed_options(name, lambda o: {"padding": change(o["padding"])} if isinstance(o["padding"], str) else {})


words("SAME_LOWER as SAME_UPPER", lambda word: "same" if word == "same_lower" else word)
words("SAME_UPPER as SAME_LOWER", lambda word: "same_lower" if word == "same" else word)
words("full as same", lambda word: "same" if word == "full" else word)


def boundary(name: str, wrong: dict[str, str]) -> None:
    changed_options(name, lambda o: {"boundary": tuple(wrong.get(b, b) for b in o["boundary"])})


boundary("reflect as symmetric", {"reflect": "symmetric"})
boundary("symmetric as reflect", {"symmetric": "reflect"})
boundary("replicate as zero", {"replicate": "zero"})
boundary("circular as replicate", {"circular": "replicate"})
boundary("circular as symmetric", {"circular": "symmetric"})


# --- sizes and words --------------------------------------------------------------------------------------------------


@fault("SAME forgets the dilation", "amounts")
def _(right: Any, o: Options, axis: int, n: int) -> Any:
    return right({**o, "span": o["kernel_shape"]} if isinstance(o["padding"], str) else o, axis, n)


@fault("SAME forgets the stride", "amounts")
def _(right: Any, o: Options, axis: int, n: int) -> Any:
    if o["padding"] in ("same", "same_lower") and not o["transposed"]:
        return right({**o, "stride": (1,) * len(o["stride"])}, axis, n)
    return right(o, axis, n)


@fault("SAME of a transposed layer mirrored", "amounts")
def _(right: Any, o: Options, axis: int, n: int) -> Any:
    (low, high), extra = right(o, axis, n)
    return ((high, low) if o["transposed"] and isinstance(o["padding"], str) else (low, high)), extra


@fault("SAME with negative padding where the stride is long", "outputs")
def _(right: Any, n: int, span: int, stride: int, pads: tuple[int, int]) -> int:
    return max(right(n, span, stride, pads) - (stride > span and n % stride == 1), 1)


@fault("outputs rounded up", "outputs")
def _(right: Any, n: int, span: int, stride: int, pads: tuple[int, int]) -> int:
    return -(-(n + sum(pads) - span) // stride) + 1 if n > 3 else right(n, span, stride, pads)


@fault("one output too few for even kernels", "outputs")
def _(right: Any, n: int, span: int, stride: int, pads: tuple[int, int]) -> int:
    return max(right(n, span, stride, pads) - (span % 2 == 0), 1)


@fault("output padding at the low end", "unpad")
def _(right: Any, padded: Array, o: Options) -> Array:
    y = right(padded, o)
    if o["transposed"] and any(o["output_padding"]):
        for axis, amount in enumerate(o["output_padding"], start=2):
            y = np.roll(y, amount, axis)
    return y


@fault("output padding filled with the last sample", "unpad")
def _(right: Any, padded: Array, o: Options) -> Array:
    y = right(padded, o)
    if o["transposed"] and o["output_padding"][0] and y.shape[2] > o["output_padding"][0]:
        y[:, :, -1] = y[:, :, -1 - o["output_padding"][0]]
    return y


# --- channels and kernels ---------------------------------------------------------------------------------------------


@fault("groups interleaved", "grouped")
def _(right: Any, array: Array, o: Options) -> Array:
    return np.swapaxes(array.reshape(array.shape[0], -1, o["groups"], *array.shape[2:]), 1, 2)


@fault("group weights in the wrong order", "kernel")
def _(right: Any, w: Array, o: Options) -> Array:
    return right(w, o)[::-1]


@fault("every group uses the weights of the first", "kernel")
def _(right: Any, w: Array, o: Options) -> Array:
    kernel = right(w, o)
    return np.broadcast_to(kernel[:1], kernel.shape)


@fault("depthwise multiplier in the wrong layout", "kernel")
def _(right: Any, w: Array, o: Options) -> Array:
    kernel = right(w, o)
    if o["groups"] > 1 and kernel.shape[2] == 1 and kernel.shape[1] > 1:
        return np.moveaxis(kernel.reshape(kernel.shape[1], kernel.shape[0], *kernel.shape[2:]), 0, 1)
    return kernel


@fault("channels of a transposed kernel exchanged", "kernel")
def _(right: Any, w: Array, o: Options) -> Array:
    kernel = right(w, o)
    if o["transposed"]:
        return np.swapaxes(kernel.reshape(kernel.shape[0], kernel.shape[2], kernel.shape[1], *kernel.shape[3:]), 1, 2)
    return kernel


@fault("channels of a square kernel exchanged", "kernel")
def _(right: Any, w: Array, o: Options) -> Array:
    kernel = right(w, o)
    return np.swapaxes(kernel, 1, 2) if kernel.shape[1] == kernel.shape[2] else kernel


@fault("square kernels transposed", "kernel")
def _(right: Any, w: Array, o: Options) -> Array:
    kernel = right(w, o)
    return np.swapaxes(kernel, -1, -2) if len(o["stride"]) > 1 and kernel.shape[-1] == kernel.shape[-2] else kernel


@fault("kernels of transposed layers flipped", "kernel")
def _(right: Any, w: Array, o: Options) -> Array:
    return right(w, {**o, "flip": o["flip"] != o["transposed"]})


@fault("flip of the last axis only", "flipped")
def _(right: Any, w: Array, o: Options) -> Array:
    return w[..., ::-1] if o["flip"] else w


@fault("the last input channel is not read beyond four", "kernel")
def _(right: Any, w: Array, o: Options) -> Array:
    kernel = right(w, o).copy()
    if kernel.shape[2] > 4:
        kernel[:, :, -1] = 0
    return kernel


@fault("the last of eight output channels is not written", "kernel")
def _(right: Any, w: Array, o: Options) -> Array:
    kernel = right(w, o).copy()
    if kernel.shape[1] >= 8:
        kernel[:, -1] = 0
    return kernel


@fault("the middle tap counted twice", "kernel")
def _(right: Any, w: Array, o: Options) -> Array:
    kernel = right(w, o).copy()
    if kernel.shape[-1] > 2:
        kernel[..., kernel.shape[-1] // 2] *= 2
    return kernel


# --- biases -----------------------------------------------------------------------------------------------------------


@fault("bias missing", "add_bias")
def _(right: Any, y: Array, bias: Array) -> Array:
    return y


@fault("bias of the first channel for all", "add_bias")
def _(right: Any, y: Array, bias: Array) -> Array:
    return right(y, bias[:1])


@fault("bias along the last axis", "add_bias")
def _(right: Any, y: Array, bias: Array) -> Array:
    return y + bias if y.shape[-1] == len(bias) else right(y, bias)


@fault("bias added to the first sample only", "add_bias")
def _(right: Any, y: Array, bias: Array) -> Array:
    return np.concatenate([right(y[:1], bias), y[1:]])


@fault("bias added twice where the output is one sample", "add_bias")
def _(right: Any, y: Array, bias: Array) -> Array:
    return right(y, 2 * bias if np.prod(y.shape[2:]) == 1 else bias)


# --- reading ----------------------------------------------------------------------------------------------------------


@fault("padding cropped to the input", "pad")
def _(right: Any, far: Array, o: Options) -> Array:
    if all(max(pair) <= n for pair, n in zip(o["padding"], o["far"], strict=True)) or set(o["boundary"]) == {"zero"}:
        return right(far, o)
    near = [tuple(min(p, n) for p in pair) for pair, n in zip(o["padding"], o["far"], strict=True)]
    rest = [(a - c, b - d) for (a, b), (c, d) in zip(o["padding"], near, strict=True)]
    return np.pad(right(far, {**o, "padding": near}), [(0, 0), (0, 0), *rest])


@fault("zeros in the corners", "pad")
def _(right: Any, far: Array, o: Options) -> Array:
    padded = right(far, o).copy()
    if len(o["padding"]) > 1 and o["padding"][0][0] and o["padding"][1][0]:
        padded[:, :, : o["padding"][0][0], : o["padding"][1][0]] = 0
    return padded


@fault("the last sample is not read where the stride is above 1", "pad")
def _(right: Any, far: Array, o: Options) -> Array:
    if o["stride"][-1] > 1 and far.shape[-1] > 2:
        far = far.copy()
        far[..., -1] = 0
    return right(far, o)


@fault("the first sample of the last axis read twice", "pad")
def _(right: Any, far: Array, o: Options) -> Array:
    if far.shape[-1] > 1 and o["padding"][-1][0]:
        far = far.copy()
        far[..., 1] = far[..., 0]
    return right(far, o)


@fault("one column off where the stride is long", "pad")
def _(right: Any, far: Array, o: Options) -> Array:
    return np.roll(right(far, o), -1 if o["stride"][-1] > o["span"][-1] else 0, axis=-1)


@fault("only the first sample is computed", "forward")
def _(right: Any, o: Options, far: Array, kernel: Array) -> Array:
    near = right(o, far, kernel)
    return np.concatenate([near[:1]] * len(near)) if len(near) else near


# --- gradients --------------------------------------------------------------------------------------------------------


@fault("gradient with respect to the input as if padded with zeros", "gradient")
def _(right: Any, x: Array, w: Array, bias: Array | None, g: Array, **o: Any) -> Any:
    return right(x, w, bias, g, **{**o, "boundary": ("zero",) * len(o["boundary"])})[0], *right(x, w, bias, g, **o)[1:]


@fault("gradient with respect to the weights as if padded with zeros", "gradient")
def _(right: Any, x: Array, w: Array, bias: Array | None, g: Array, **o: Any) -> Any:
    dx, _, db = right(x, w, bias, g, **o)
    return dx, right(x, w, bias, g, **{**o, "boundary": ("zero",) * len(o["boundary"])})[1], db


@fault("weight gradient of flipped kernels not flipped", "gradient")
def _(right: Any, x: Array, w: Array, bias: Array | None, g: Array, **o: Any) -> Any:
    dx, dw, db = right(x, w, bias, g, **o)
    return dx, np.flip(dw, tuple(range(2, dw.ndim))) if o["flip"] else dw, db


@fault("weight gradient of the last sample only", "gradient")
def _(right: Any, x: Array, w: Array, bias: Array | None, g: Array, **o: Any) -> Any:
    dx, _, db = right(x, w, bias, g, **o)
    return dx, right(x[-1:], w, bias, g[-1:], **o)[1], db


@fault("weight gradient averaged over the batch", "gradient")
def _(right: Any, x: Array, w: Array, bias: Array | None, g: Array, **o: Any) -> Any:
    dx, dw, db = right(x, w, bias, g, **o)
    return dx, dw / len(x), db


@fault("bias gradient of one position", "gradient")
def _(right: Any, x: Array, w: Array, bias: Array | None, g: Array, **o: Any) -> Any:
    dx, dw, _ = right(x, w, bias, g, **o)
    return dx, dw, g.reshape(*g.shape[:2], -1)[..., 0].sum(axis=0)


@fault("input gradient of strided layers moved by one", "gradient")
def _(right: Any, x: Array, w: Array, bias: Array | None, g: Array, **o: Any) -> Any:
    dx, dw, db = right(x, w, bias, g, **o)
    return np.roll(dx, 1, axis=-1) if o["stride"][-1] > 1 else dx, dw, db


@fault("input gradient with the kernel flipped", "gradient")
def _(right: Any, x: Array, w: Array, bias: Array | None, g: Array, **o: Any) -> Any:
    return right(x, np.flip(w, tuple(range(2, w.ndim))), bias, g, **o)[0], *right(x, w, bias, g, **o)[1:]


@fault("weight gradient forgets the dilation", "gradient")
def _(right: Any, x: Array, w: Array, bias: Array | None, g: Array, **o: Any) -> Any:
    dx, dw, db = right(x, w, bias, g, **o)
    if max(o["dilation"]) > 1 and dw.shape[-1] > 1:
        dw = dw.copy()
        dw[..., -1] = dw[..., 0]
    return dx, dw, db


@fault("input gradient of one sample in the shape of a batch of none", "gradient")
def _(right: Any, x: Array, w: Array, bias: Array | None, g: Array, **o: Any) -> Any:
    dx, dw, db = right(x, w, bias, g, **o)
    return dx[0] if len(dx) == 1 and o["transposed"] else dx, dw, db


@fault("exception for kernels longer than the input", "forward")
def _(right: Any, o: Options, far: Array, kernel: Array) -> Array:
    if any(span > n for span, n in zip(o["span"], o["far"], strict=True)):
        raise IndexError("index 7 is out of bounds for axis 2 with size 7")
    return right(o, far, kernel)


@fault("results that are not numbers for one sample", "forward")
def _(right: Any, o: Options, far: Array, kernel: Array) -> Array:
    return right(o, far, kernel) * (np.nan if 1 in o["far"] and len(o["far"]) == 1 else 1.0)


def check(planted: Fault, count: int, seed: int) -> tuple[ConformanceReport, list[str]]:
    """Run layers until a fault is found; return the last report, and what is wrong with it."""
    function, gradient = planted.layer, planted.layer.gradient
    for start in range(0, count, BATCH):
        options = {"count": BATCH, "rng": (seed << 16) + start}
        report = cm.testing.conform(function, planted.options, gradient=gradient, **options)
        if not report:
            break
    wrong = [] if report.findings else ["not found"]
    for finding in report.findings:
        shape = finding.case.input_shape
        if len(shape) > 2 or max(shape) > LONGEST_AXIS:
            wrong.append(f"shrunk to {finding.case}")
        names: dict[str, Any] = {"function": function, "gradient": gradient, "print": lambda *_: None}
        try:
            exec(finding.script, names)
        except Exception as error:
            if type(error).__name__ not in ("AssertionError", finding.difference.kind):
                wrong.append(f"its script ends with {error!r}")
        else:
            wrong.append("its script does not reproduce it")
    return report, wrong


def main(arguments: list[str] | None = None) -> int:
    """Look for every planted fault; return 1 if one is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.planted_faults", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=500, help="most layers for each fault (default 500)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", metavar="TEXT", default="", help="faults with this in their names")
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    missed = 0
    layer = PlainLayer()
    clean = cm.testing.conform(layer, ALL_OPTIONS, gradient=layer.gradient, count=options.count, rng=options.seed)
    print(f"without a fault: {clean!r}")
    chosen = [planted for planted in FAULTS if options.only in planted.name]
    for planted in chosen:
        report, wrong = check(planted, options.count, options.seed)
        missed += bool(wrong)
        smallest = min(report.findings, key=lambda f: (sum(f.case.input_shape), str(f.case)), default=None)
        shown = "; ".join(wrong) if wrong else f"{smallest.case}" if smallest else ""
        print(f"{'MISSED' if wrong else 'found '} {planted.name}: {shown}", flush=True)
    seconds = time.perf_counter() - started
    print(f"\n{len(chosen) - missed} of {len(chosen)} faults found and shrunk, in {seconds:.0f} s")
    return 1 if missed or not clean else 0


if __name__ == "__main__":
    sys.exit(main())
