"""The options that a call of a target supports, from which layers are drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

from convmatrix.boundary import BOUNDARIES, Boundary
from convmatrix.synonyms import called_here

if TYPE_CHECKING:
    from convmatrix.conformance.layer_cases import LayerCase

PADDING_KINDS: Final = ("valid", "same", "same_lower", "full", "even", "pairs", "centred")
"""Words that the call is given; and "even": one amount for both ends, "pairs": any, "centred": the size stays."""

SWITCHES: Final = ("batch", "channels", "bias", "stride", "dilation", "groups", "output_padding")
"""Options that a call has or has not."""

LAYER_SWITCHES: Final = frozenset(SWITCHES) - {"output_padding"}
"""The switches of a layer that is not transposed."""

_CHOICES: Final[dict[str, tuple[Any, ...]]] = {
    "padding": ("valid", "even", "pairs"),
    "boundary": BOUNDARIES,
    "flip": (False, True),
    "transposed": (False, True),
    "dtype": ("float64", "float32"),
    "axes": (1, 2, 3),
}
"""Options with a choice of values: those drawn if an option is declared by its name alone."""

_ALLOWED: Final[dict[str, tuple[Any, ...]]] = {
    **_CHOICES,
    "padding": PADDING_KINDS,
    "dtype": ("float64", "float32", "float16", "int64", "int32"),
    "axes": (1, 2, 3, 4, 5),
}


@dataclass(frozen=True)
class Offers:
    """The options of a call.

    Attributes
    ----------
    axes : tuple of int
        Numbers of spatial axes.
    switches : frozenset of str
        Which of `SWITCHES` there are.
    paddings : tuple of str
        Which of `PADDING_KINDS` there are.
    boundaries : tuple of str
    mixed : bool
        Whether axes may have different boundaries.
    flips, transposed : tuple of bool
    dtypes : tuple of str
    settings : dict
        Settings of the target itself, each with its values, the plainest first.
    accepts : callable
        Further limits that the target documents: ``accepts(case)`` is false beyond them.
    """

    axes: tuple[int, ...] = (1, 2, 3)
    switches: frozenset[str] = frozenset()
    paddings: tuple[str, ...] = ("valid",)
    boundaries: tuple[Boundary, ...] = ("zero",)
    mixed: bool = False
    flips: tuple[bool, ...] = (False,)
    transposed: tuple[bool, ...] = (False,)
    dtypes: tuple[str, ...] = ("float64",)
    settings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    accepts: Callable[[LayerCase], bool] = lambda case: True

    def allow(self, case: LayerCase) -> bool:
        """Return whether a case is a valid layer with no other options than those of the call."""
        switched = {
            "batch": case.batch != 1,
            "channels": case.in_channels > 1 or case.out_channels > 1,
            "bias": case.bias,
            "stride": max(case.stride) > 1,
            "dilation": max(case.dilation) > 1,
            "groups": case.groups > 1,
            "output_padding": any(case.output_padding),
        }
        if any(used and name not in self.switches for name, used in switched.items()):
            return False
        if not self.mixed and len(set(case.boundary)) > 1:
            return False
        chosen = (
            (case.n_axes, self.axes),
            (case.flip, self.flips),
            (case.transposed, self.transposed),
            (case.dtype, self.dtypes),
            *((boundary, self.boundaries) for boundary in case.boundary),
        )
        if any(value not in values for value, values in chosen) or not self._has_padding(case):
            return False
        try:
            case.geometry  # noqa: B018 (raises unless this is a layer)
        except ValueError:
            return False
        return self.accepts(case)

    def _has_padding(self, case: LayerCase) -> bool:
        if isinstance(case.padding, str):
            return case.padding in self.paddings
        kept = all(low + high == span - 1 for (low, high), span in zip(case.padding, case.spans, strict=True))
        return (
            "pairs" in self.paddings
            or ("even" in self.paddings and case.is_square)
            or ("centred" in self.paddings and kept)
        )


def library_offers(
    paddings: tuple[str, ...],
    boundaries: tuple[Boundary, ...] = ("zero",),
    transposed: bool = False,
    **more: Any,
) -> Offers:
    """Return the offers of a call that has every switch of its kind of layer, ordinary or transposed."""
    switches = LAYER_SWITCHES | ({"output_padding"} if transposed else set())
    return Offers(switches=switches, paddings=paddings, boundaries=boundaries, transposed=(transposed,), **more)


def declared_offers(options: Iterable[str] | Mapping[str, Any]) -> Offers:
    """Return the offers of a function from the options that its author declares.

    Parameters
    ----------
    options : sequence of str, or dict
        Names of options. A dict gives the values of an option, or None for the usual ones.

    Raises
    ------
    ValueError
        If there is no such option, or an option has no such value.

    Examples
    --------
    >>> offers = declared_offers({"stride": None, "padding": ("same",)})
    >>> sorted(offers.switches), offers.paddings, offers.boundaries
    (['stride'], ('same',), ('zero',))
    """
    given = dict(options) if isinstance(options, Mapping) else dict.fromkeys(options)
    chosen: dict[str, tuple[Any, ...]] = {}
    switches = set()
    for name, values in given.items():
        if name in SWITCHES:
            if values is not None:
                raise ValueError(f"options: {name!r} has no values to choose from, but was given {values!r}")
            switches.add(name)
        elif name in _CHOICES:
            listed = (values,) if isinstance(values, str | int) else tuple(_CHOICES[name] if values is None else values)
            choice = ", ".join(map(str, _ALLOWED[name]))
            for value in listed:
                if value not in _ALLOWED[name]:
                    raise ValueError(f"options: {name} has no value {value!r}; choose from {choice}")
            if not listed:
                raise ValueError(f"options: {name} has no values; choose from {choice}")
            chosen[name] = listed
        else:
            names = (*SWITCHES, *_CHOICES)
            raise ValueError(f"options: {name!r} is unknown; choose from {', '.join(names)}{called_here(name, names)}")
    if "output_padding" in switches and True not in chosen.get("transposed", ()):
        raise ValueError("options: output_padding is for transposed layers; declare transposed as well")
    return Offers(
        axes=chosen.get("axes", _CHOICES["axes"]),
        switches=frozenset(switches),
        paddings=chosen.get("padding", ("valid",)),
        boundaries=cast("tuple[Boundary, ...]", chosen.get("boundary", ("zero",))),
        mixed="boundary" in chosen,
        flips=chosen.get("flip", (False,)),
        transposed=chosen.get("transposed", (False,)),
        dtypes=chosen.get("dtype", ("float64",)),
    )
