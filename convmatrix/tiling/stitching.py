"""Evaluation of an image tile by tile, by any function."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix.network import Network
from convmatrix.progress import Progress, reporting
from convmatrix.tiling.axis_plan import AxisPlan
from convmatrix.tiling.resized_networks import resized

if TYPE_CHECKING:
    from convmatrix.arrays import Array
    from convmatrix.tiling.image_tiles import PlannedAxes, Tile

_MOST_PROBED: Final = 10_000  # sizes
_FEW: Final = 0.01  # of the outputs may jump by rounding


def stitch(plan: PlannedAxes, function: Any, image: Any, tile_shape: int | Sequence[int], progress: Progress) -> Array:
    """Return the output for an image, computed tile by tile; see `TilingPlan.run`."""
    x = _array(image)
    n_axes = len(plan.axes)
    channels = plan.network.input_shape[0]
    one_sample = x.ndim == n_axes + 1
    if x.ndim not in (n_axes + 1, n_axes + 2) or x.shape[-n_axes - 1] != channels:
        raise ValueError(
            f"the image has the shape {x.shape}, but {plan.network.name} takes ({channels}, *spatial) with {n_axes} "
            f"spatial axes, or (batch, {channels}, *spatial)"
        )
    batch = x[None] if one_sample else x
    spatial = batch.shape[2:]
    tiles = plan.tiles(spatial, tile_shape)
    compute = _evaluation(function, plan)
    y = _probe(plan, compute, batch, tiles)
    result = np.empty(_output_shape(plan, spatial, y.shape), dtype=y.dtype)
    with reporting(progress, "tiles") as report:
        for number, tile in enumerate(tiles, start=1):
            if number > 1:
                y = compute(_read(batch, tile, plan))
                _check(plan, tile, y, len(batch))
            if np.result_type(result, y) != result.dtype:
                result = result.astype(np.result_type(result, y))
            result[_on_output(plan, tile.output)] = y[_on_output(plan, tile.keep)]
            report(number, len(tiles), f"tile {number}")
    return result[0] if one_sample else result


def _probe(plan: PlannedAxes, compute: Callable[[Array], Array], batch: Array, tiles: Sequence[Tile]) -> Array:
    """Return the function's values for the first tile; raise if those of a tile of another size contradict them.

    A size that is fixed within the function, or a number that was computed from one, would stay hidden if all tiles
    have the same size. So the function is also evaluated for a tile of another size with the same start, if it takes
    one.
    """
    first = tiles[0]
    shape, kept = [read.stop - read.start for read in first.input], list(first.keep)
    for number, axis in enumerate(plan.axes):
        if not isinstance(axis, AxisPlan) or len({tile.input[number].start for tile in tiles}) == 1:
            continue
        own = shape[number]
        smaller = range(own // 2, own), range(own // 2 - 1, axis.smallest - 1, -1)
        fitting = itertools.chain(*smaller, range(own + 1, batch.shape[number + 2]))
        for n in itertools.islice(fitting, _MOST_PROBED):
            if n % axis.alignment not in axis.residues or not axis.admitted(np.array([n]))[0]:
                continue
            start, end = kept[number].start, min(kept[number].stop, axis.extents(n)[axis.output].clean_end)
            if end > start and (axis.periodic or axis.broken_condition(n, at_low=True) is None):
                shape[number], kept[number] = n, slice(start, end)
                break
    reads = tuple(slice(read.start, read.start + n) for read, n in zip(first.input, shape, strict=True))
    whole = compute(_read(batch, first, plan))
    _check(plan, first, whole, len(batch))
    if reads == first.input:
        return whole
    tile = replace(first, input=reads)
    try:
        y = compute(_read(batch, tile, plan))
    except Exception:  # whatever the function raises for a size that it does not take
        return whole
    _check(plan, tile, y, len(batch))
    _compare(first, tile, *(values[_on_output(plan, kept)] for values in (whole, y)))
    return whole


def _compare(first: Tile, other: Tile, whole: Array, y: Array) -> None:
    """Raise if outputs of two tiles that read the same samples differ by more than rounding."""
    if whole.dtype.kind != "f" or not whole.size or whole.shape != y.shape:
        return
    difference = np.abs(whole - y)
    largest = np.abs(whole[np.isfinite(whole)]).max(initial=0)
    differs = difference > np.sqrt(np.finfo(whole.dtype).eps) * largest
    if differs.mean() > _FEW:
        sizes = (tuple(read.stop - read.start for read in tile.input) for tile in (first, other))
        raise ValueError(
            "the function's outputs for tiles of {} and of {} samples differ by up to {:.3g} where both read the "
            "same samples: something within it depends on the size of its input (or it is random, or in training "
            "mode); compare plan(network, other=the network read for another size)".format(
                *sizes, float(np.nanmax(difference))
            )
        )


def _read(batch: Array, tile: Tile, plan: PlannedAxes) -> Array:
    """Return a tile of an image; on periodic axes it continues at the other end."""
    wrapped = [isinstance(axis, AxisPlan) and axis.periodic for axis in plan.axes]
    cut = tuple(slice(None) if wraps else part for part, wraps in zip(tile.input, wrapped, strict=True))
    part: Array = batch[(slice(None), slice(None), *cut)]
    for axis, (wraps, read) in enumerate(zip(wrapped, tile.input, strict=True), start=2):
        if wraps:
            part = part.take(range(read.start, read.stop), axis, mode="wrap")
    return np.ascontiguousarray(part)


def _on_output(plan: PlannedAxes, parts: Sequence[slice]) -> tuple[slice, ...]:
    """Return slices of a batch of outputs, given those of the image's axes; axes that are not cut are taken whole."""
    index = [slice(None)] * (len(plan.network[plan.output].output_shape) + 1)
    for axis, part in zip(plan.axes, parts, strict=True):
        if isinstance(axis, AxisPlan):
            index[axis.output_axis + 1] = part
    return tuple(index)


def _output_shape(plan: PlannedAxes, spatial: Sequence[int], shape: Sequence[int]) -> list[int]:
    """Return the shape of the output for an image, given that for another one; only axes that are cut differ."""
    sizes = list(shape)
    for axis, n in zip(plan.axes, spatial, strict=True):
        if isinstance(axis, AxisPlan):
            sizes[axis.output_axis + 1] = axis.extents(n)[axis.output].size
    return sizes


def _check(plan: PlannedAxes, tile: Tile, y: Array, n_samples: int) -> None:
    """Raise if the output for a tile has another shape than the plan expects."""
    read = tuple(part.stop - part.start for part in tile.input)
    expected: list[int | None] = [*_output_shape(plan, read, (n_samples, *plan.network[plan.output].output_shape))]
    if not plan.exact:  # the size of what is not cut is the function's own
        cut = {0, *(axis.output_axis + 1 for axis in plan.axes if isinstance(axis, AxisPlan))}
        expected = [n if place in cut else None for place, n in enumerate(expected)]
    if y.ndim != len(expected) or any(n is not None and n != m for n, m in zip(expected, y.shape, strict=True)):
        sizes = ", ".join("any" if n is None else str(n) for n in expected)
        raise ValueError(
            f"the function returned shape {y.shape} for a tile of {read}, but ({sizes}) was expected: it is not the "
            f"network {plan.network.name} that was planned for, or sizes within it follow another rule; compare "
            "plan(network, other=the network read for another size)"
        )


# --- functions ------------------------------------------------------------------------------------------------------


def _evaluation(function: Any, plan: PlannedAxes) -> Callable[[Array], Array]:
    """Return a function of arrays that evaluates a batch of tiles."""
    if isinstance(function, Network):
        return _of_network(function, plan.output)
    named = plan.output in plan.network.outputs
    place = plan.network.outputs.index(plan.output) if named else None
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(function, torch.nn.Module):
        return _of_module(torch, function, _required(plan, place))
    if hasattr(function, "get_inputs") and hasattr(function, "run"):
        return _of_session(function, _required(plan, place))
    if not callable(function):
        raise TypeError(
            f"function is a {type(function).__name__}; give a function of arrays, a torch.nn.Module, an "
            "onnxruntime.InferenceSession or a Network"
        )
    return lambda x: _array(_chosen(function(x), place))


def _required(plan: PlannedAxes, place: int | None) -> int:
    """Return the number of the planned output among those of the model."""
    if place is None:
        raise ValueError(
            f"the plan is for the node {plan.output!r}, but the function returns the outputs of {plan.network.name}, "
            f"{', '.join(map(repr, plan.network.outputs))}; give the Network, or a function of arrays that returns the "
            "values of this node alone"
        )
    return place


def _chosen(values: Any, place: int | None) -> Any:
    """Return one of several outputs, in the order of the values of dictionaries; None is not an output."""
    found = _flat(values)
    if place is None and len(found) == 1:
        return found[0]
    if place is None or place >= len(found):
        wanted = "one, the planned node's" if place is None else f"output number {place}, counted from 0,"
        raise ValueError(
            f"the function returned {len(found)} arrays in a {type(values).__name__}, but {wanted} is stitched; return "
            "the planned output alone"
        )
    return found[place]


def _flat(values: Any) -> list[Any]:
    """Return the arrays in nested lists, tuples and dictionaries."""
    if isinstance(values, Mapping):
        values = tuple(values.values())
    if isinstance(values, list | tuple):
        return [array for value in values for array in _flat(value)]
    return [] if values is None else [values]


def _array(value: Any) -> Array:
    """Return a result as an array; tensors are copied to the host."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    return np.asarray(value)


def _of_network(network: Network, output: str) -> Callable[[Array], Array]:
    made: dict[tuple[int, ...], Network] = {}

    def compute(x: Array) -> Array:
        if x.shape[1:] not in made:
            made[x.shape[1:]] = resized(network.until(output), x.shape[1:])
        return made[x.shape[1:]](x)

    return compute


def _of_module(torch: Any, module: Any, place: int) -> Callable[[Array], Array]:
    held = itertools.chain(module.parameters(), module.buffers())
    value = next((v for v in held if v.is_floating_point() or v.is_complex()), None)

    def compute(x: Array) -> Array:
        tensor = torch.from_numpy(x)
        if value is not None:
            tensor = tensor.to(value.device, value.dtype)
        with torch.no_grad():
            return _array(_chosen(module(tensor), place))

    return compute


def _of_session(session: Any, place: int) -> Callable[[Array], Array]:
    (given, *others) = session.get_inputs()
    if others:
        names = ", ".join(repr(entry.name) for entry in others)
        raise ValueError(f"the session has further inputs, {names}; give a function of the image that passes them")
    kinds = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}
    name = session.get_outputs()[place].name

    def compute(x: Array) -> Array:
        return np.asarray(session.run([name], {given.name: x.astype(kinds.get(given.type, x.dtype), copy=False)})[0])

    return compute
