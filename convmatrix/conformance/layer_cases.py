"""A layer to try on a target: everything that a call needs except the numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from convmatrix.geometry import ConvGeometry

if TYPE_CHECKING:
    from convmatrix.boundary import Boundary
    from convmatrix.pattern import WeightPattern

Pairs = tuple[tuple[int, int], ...]
_OF_CALLS: Final = ("call", "batch", "bias", "dtype", "settings")
"""Fields of a case that are not those of a geometry."""


@dataclass(frozen=True)
class LayerCase:
    """A layer in the terms of a target.

    Unlike a `ConvGeometry`, which has amounts of padding, a case keeps the word that is passed to the target, because
    targets compute the amounts themselves.

    Fields without an explanation are those of `ConvGeometry`.
    """

    call: str  # name of the target's call
    batch: int
    in_channels: int
    out_channels: int
    input_shape: tuple[int, ...]
    kernel_shape: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: str | Pairs  # a word for all axes, or one (low, high) pair per axis
    boundary: tuple[Boundary, ...]
    groups: int
    output_padding: tuple[int, ...]
    transposed: bool
    flip: bool
    bias: bool  # whether one number per output channel is added
    dtype: str  # of x, w, the bias and the gradient; a name of NumPy's, or bfloat16
    settings: tuple[tuple[str, str], ...] = ()  # of the target itself, such as the memory layout

    @cached_property
    def geometry(self) -> ConvGeometry:
        """The layer without its weights; raises ValueError if the options do not define one."""
        options: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _OF_CALLS}
        return ConvGeometry(**options)

    @cached_property
    def pattern(self) -> WeightPattern:
        """The index pattern of the layer."""
        return self.geometry.pattern()

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def n_axes(self) -> int:
        """Number of spatial axes."""
        return len(self.input_shape)

    @property
    def spans(self) -> tuple[int, ...]:
        """Samples from the first to the last tap, per axis."""
        return tuple(d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel_shape, strict=True))

    @property
    def is_square(self) -> bool:
        """Whether the same amount of padding is at both ends of each axis; words may mean different amounts."""
        return isinstance(self.padding, str) or all(low == high for low, high in self.padding)

    def setting(self, name: str) -> str:
        """Return a setting of the target."""
        return dict(self.settings)[name]

    def to_values(self) -> dict[str, Any]:
        """Return the fields as values that JSON can represent."""
        return {**asdict(self), "settings": dict(self.settings)}

    def plain_fields(self) -> tuple[str, ...]:
        """Return the names of the options that are not at their simplest values, which say what a failure needs."""
        names = [name for name, value in simplest_options(self.n_axes).items() if getattr(self, name) != value]
        if isinstance(self.padding, str):
            names += [f"padding={self.padding}"] * (self.padding != "valid")
        elif any(map(any, self.padding)):
            names.append("padding")
        return tuple(names)

    def __str__(self) -> str:
        parts = [f"input {_sizes(self.batch, self.in_channels, *self.input_shape)}"]
        parts.append(f"kernel {_sizes(*self.geometry.weight_shape)}")
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in self.plain_fields() and field.name not in ("batch", "in_channels", "out_channels"):
                if isinstance(value, tuple) and len(set(value)) == 1:
                    value = value[0]
                parts.append(f"{field.name}={value}".replace("True", "yes"))
            elif field.name == "padding" and self.padding != "valid" and isinstance(self.padding, str):
                parts.append(f"padding={self.padding}")
        if self.transposed:
            parts.append("transposed")
        parts.append(self.dtype)
        parts += [f"{name} {value}" for name, value in self.settings]
        return ", ".join(parts)


def simplest_options(n_axes: int) -> dict[str, Any]:
    """Return the simplest value of every option that a layer need not have, except for the padding."""
    return {
        "batch": 1,
        "in_channels": 1,
        "out_channels": 1,
        "stride": (1,) * n_axes,
        "dilation": (1,) * n_axes,
        "boundary": ("zero",) * n_axes,
        "groups": 1,
        "output_padding": (0,) * n_axes,
        "flip": False,
        "bias": False,
    }


def _sizes(*shape: int) -> str:
    return "x".join(map(str, shape))


def features(case: LayerCase) -> list[str]:
    """Return the features of a case, such as an even kernel; a report counts them.

    Examples
    --------
    >>> from convmatrix.conformance.random_cases import plain_case
    >>> features(plain_case((1,), (4,), padding="full"))[:3]
    ['1-D', 'even kernel with a padding word', 'padding past a period']
    """
    geometry = case.geometry
    samples = geometry.samples
    amounts = list(zip(geometry.padding, samples, strict=True))
    word = isinstance(case.padding, str) and case.padding != "valid"
    tests = {
        f"{case.n_axes}-D": True,
        "transposed": case.transposed,
        "output padding": any(case.output_padding),
        "several channels": case.in_channels > 1 and case.out_channels > 1,
        "groups": case.groups > 1,
        "depthwise": case.groups == case.in_channels > 1,
        "several samples": case.batch > 1,
        "bias": case.bias,
        "flip": case.flip,
        "stride": max(case.stride) > 1,
        "stride longer than the kernel": any(s > n for s, n in zip(case.stride, case.spans, strict=True)),
        "dilation": max(case.dilation) > 1,
        "dilation with a padding word": word and max(case.dilation) > 1,
        "even kernel with a padding word": word and any(k % 2 == 0 for k in case.kernel_shape),
        "asymmetric padding": any(low != high for (low, high), _ in amounts),
        "padding past a period": any(max(amount) > n for amount, n in amounts),
        "kernel longer than the input": any(span > n for span, n in zip(case.spans, samples, strict=True)),
        "one-sample axis": 1 in samples,
        **{f"{b} boundary": True for b in dict.fromkeys(case.boundary) if b != "zero"},
    }
    return [name for name, holds in tests.items() if holds]
