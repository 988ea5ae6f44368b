"""Conversion of a layer's geometry to JSON text, and back with the validation of `ConvGeometry`."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any, Final

from convmatrix.geometry import ConvGeometry
from convmatrix.io.file_checks import LARGEST_TEXT, FileFormatError

_NAMES: Final = tuple(field.name for field in fields(ConvGeometry))
_LARGEST_RANK: Final = 64  # axes of a NumPy array


def to_values(geometry: ConvGeometry) -> dict[str, Any]:
    """Return every field of a geometry, as values that JSON can represent.

    Default values are included, so that a file keeps its meaning if a later version changes them.

    Examples
    --------
    >>> to_values(ConvGeometry(4, 2, stride=2))["padding"]
    ((0, 0),)
    """
    values = {name: getattr(geometry, name) for name in _NAMES}
    if geometry.connections is not None:
        values["connections"] = [list(map(int, row)) for row in geometry.connections]
    return values


def layer_values(geometry: ConvGeometry, order: str) -> dict[str, Any]:
    """Return the fields of a geometry and, unless it is "C", the order in which the layer's arrays are flattened."""
    return to_values(geometry) | ({} if order == "C" else {"order": order})


def to_layer(values: Any, what: str) -> tuple[ConvGeometry, str]:
    """Return the geometry and the order that `layer_values` recorded."""
    order = "C"
    if isinstance(values, dict):
        values = values.copy()
        order = values.pop("order", "C")
    if order not in ("C", "F"):
        raise FileFormatError(f"{what} has order={order!r:.60}, but arrays are flattened in 'C' or 'F'")
    return from_values(values, what), order


def dump(values: Any) -> str:
    """Return values as one line of JSON, or raise if it is longer than `parse` accepts."""
    text = json.dumps(values)
    if len(text) > LARGEST_TEXT:
        raise ValueError(
            f"the geometry has {len(text)} bytes of JSON, but at most {LARGEST_TEXT} are read back; save without it"
        )
    return text


def parse(text: str | bytes, what: str) -> Any:
    """Return the value of a JSON text: strict JSON, without NaN and without repeated names."""
    try:
        return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_without_duplicates)
    except RecursionError:
        raise FileFormatError(f"{what} is not JSON: nested too deeply") from None
    except ValueError as error:
        raise FileFormatError(f"{what} is not JSON: {error}") from None


def from_values(values: Any, what: str) -> ConvGeometry:
    """Return the geometry described by parsed JSON; ``what`` names its source in errors."""
    if not isinstance(values, dict):
        raise FileFormatError(f"{what} is not a geometry: it is a {type(values).__name__}, but named fields are needed")
    unknown = sorted(set(values) - set(_NAMES))
    if unknown:
        raise FileFormatError(f"{what} has the field {unknown[0][:40]!r}, but a geometry has {', '.join(_NAMES)}")
    for name in _NAMES[:2]:
        if name not in values:
            raise FileFormatError(f"{what} has no field {name!r}; a geometry needs one")
        if isinstance(values[name], list) and len(values[name]) > _LARGEST_RANK:
            raise FileFormatError(f"{what} has {len(values[name])} axes in {name}, but an array has at most 64")
    try:
        return ConvGeometry(**values)
    except (TypeError, ValueError, OverflowError) as error:
        raise FileFormatError(f"{what} is not the geometry of a layer: {error}") from error


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError(f"{len(pairs)} names are given, but only {len(values)} differ")
    return values
