"""PyTorch: functional and module convolutions, padding with `torch.nn.functional.pad`, and both gradients."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from convmatrix.conformance.offers import library_offers
from convmatrix.conformance.targets import TargetCall, TargetLibrary, call_text, load_package, unless

if TYPE_CHECKING:
    from convmatrix.boundary import Boundary
    from convmatrix.conformance.layer_cases import LayerCase
    from convmatrix.conformance.offers import Offers

_MODES: Final[dict[Boundary, str]] = {
    "zero": "zeros",
    "reflect": "reflect",
    "replicate": "replicate",
    "circular": "circular",
}
_IMPORTS: Final = "import numpy as np\nimport torch\nimport torch.nn.functional as F\n"
_EXTRAS: Final = {
    "memory": ("contiguous", "channels_last"),
    "engine": ("default", "native"),
    "form": ("batched", "single"),
}
_REFUSALS: Final = (
    r"Padding value causes wrapping around more than once",  # circular: at most once around
    r"Padding size should be less than the corresponding input dimension",  # reflect: less than the input
    r"padding='same' is not supported for strided convolutions",
    r"not implemented for '(Half|BFloat16|Long|Int|Short)'",
)


def torch_target() -> TargetLibrary:
    """Return PyTorch as a target; raises ImportError if it is not installed."""
    torch = load_package("torch", "the target torch")
    torch.set_num_threads(1)  # such small layers gain nothing from threads
    dtypes = ("float32", "float64", "float32", "float64", "bfloat16", "float16")

    offers = partial(library_offers, axes=(2, 1, 2, 3), dtypes=dtypes, settings=_EXTRAS, accepts=_accepts)

    def call(name: str, offered: Offers, lines: Callable[[LayerCase], list[str]]) -> TargetCall:
        return TargetCall(
            name=name,
            offers=offered,
            imports=_IMPORTS,
            statements=lambda case, gradients: _statements(case, lines(case), gradients),
            gradients=True,
            refusals=_REFUSALS,
            keeps_dtype=True,
        )

    calls = (
        call("torch.nn.functional.conv", offers(("even", "same", "valid")), _convolution),
        call("torch.nn.Conv", offers(("even", "same"), tuple(_MODES)), _module),
        call("torch.nn.functional.pad + conv", offers(("pairs",), tuple(_MODES)), _padded),
        call("torch.nn.functional.conv_transpose", offers(("even",), transposed=True), _transposed),
        call("torch.nn.ConvTranspose", offers(("even",), transposed=True), _transposed_module),
    )
    return TargetLibrary("torch", calls, {"torch": str(torch.__version__)})


def _accepts(case: LayerCase) -> bool:
    """Return whether the call can express a layer and compute it without rounding.

    Without oneDNN, PyTorch hands float32 batches of 16 or more samples to NNPACK, which transforms them by FFT or by
    Winograd's algorithm with tiles of 6x6 outputs; its worst-case bound on errors is above 1/2.
    """
    if case.setting("form") == "single" and case.batch != 1:
        return False
    return not (case.setting("engine") == "native" and case.batch >= 16 and case.dtype == "float32")


def _statements(case: LayerCase, lines: list[str], gradients: bool) -> str:
    """Return the lines around those that compute ``y_`` from the tensors ``x_``, ``w_`` and ``b_``."""
    dtype = f"dtype=torch.{case.dtype}"
    single = case.setting("form") == "single"
    read = f"torch.tensor(x, {dtype})"
    if case.setting("memory") == "channels_last":
        read = f"torch.tensor(np.moveaxis(x, 1, -1).copy(), {dtype}).movedim(-1, 1)"
    tracked = ".requires_grad_()" if gradients else ""
    text = [f"x_ = {read}{'[0]' if single else ''}{tracked}", f"w_ = torch.tensor(w, {dtype}){tracked}"]
    text += [f"b_ = torch.tensor(b, {dtype}){tracked}"] * case.bias
    batch = "[None]" if single else ""
    to_numpy = ".float().numpy()" if case.dtype == "bfloat16" else ".numpy()"  # NumPy has no bfloat16
    results = ["dx", "dw", "db"][: 2 + case.bias]
    if gradients:
        leaves = "(x_, w_, b_)" if case.bias else "(x_, w_)"
        lines = [*lines, f"g_ = torch.tensor(g, {dtype}){'[0]' if single else ''}"]
        lines += [f"{', '.join(results)} = torch.autograd.grad(y_, {leaves}, g_)"]
    if case.setting("engine") == "native":
        lines = ["with torch.backends.mkldnn.flags(enabled=False):", *(f"    {line}" for line in lines)]
    text += [*lines, f"y = y_.detach(){batch}{to_numpy}"]
    if gradients:
        text += [f"dx = dx{batch}{to_numpy}", *(f"{name} = {name}{to_numpy}" for name in results[1:])]
    return "\n".join(text)


def _options(case: LayerCase) -> dict[str, object]:
    return {
        "stride": unless(1, case.stride),
        "padding": unless(0, case.padding if isinstance(case.padding, str) else tuple(low for low, _ in case.padding)),
        "dilation": unless(1, case.dilation),
        "groups": unless(1, case.groups),
    }


def _arguments(case: LayerCase) -> list[str]:
    return ["x_", "w_", *["b_"] * case.bias]


def _convolution(case: LayerCase) -> list[str]:
    return ["y_ = " + call_text(f"F.conv{case.n_axes}d", *_arguments(case), **_options(case))]


def _transposed(case: LayerCase) -> list[str]:
    options = {**_options(case), "output_padding": unless(0, case.output_padding)}
    return ["y_ = " + call_text(f"F.conv_transpose{case.n_axes}d", *_arguments(case), **options)]


def _padded(case: LayerCase) -> list[str]:
    """Return a call of `pad`, which lists the last axis first, and one of a convolution without padding."""
    boundary = case.boundary[0]
    amounts = tuple(amount for pair in reversed(case.geometry.padding) for amount in pair)
    mode = "constant" if boundary == "zero" else _MODES[boundary]
    padded = call_text("F.pad", "x_", repr(amounts), mode=unless("constant", mode))
    options = {**_options(case), "padding": None}
    arguments = ["x_padded", *_arguments(case)[1:]]
    return [f"x_padded = {padded}", "y_ = " + call_text(f"F.conv{case.n_axes}d", *arguments, **options)]


def _module(case: LayerCase) -> list[str]:
    mode = _MODES[case.boundary[0]]
    return _of_module(case, f"torch.nn.Conv{case.n_axes}d", padding_mode=unless("zeros", mode))


def _transposed_module(case: LayerCase) -> list[str]:
    name = f"torch.nn.ConvTranspose{case.n_axes}d"
    return _of_module(case, name, output_padding=unless(0, case.output_padding))


def _of_module(case: LayerCase, name: str, **more: object) -> list[str]:
    """Return the lines that construct a module, set its weights, and call it."""
    channels = map(str, (case.in_channels, case.out_channels, case.kernel_shape))
    options = {**_options(case), **more, "bias": None if case.bias else False}
    parts = ["{'weight': w_", *[", 'bias': b_"] * case.bias, "}"]
    return [
        "layer = " + call_text(name, *channels, **options),
        f"y_ = torch.func.functional_call(layer, {''.join(parts)}, x_)",
    ]
