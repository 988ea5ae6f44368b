"""Evaluation of an image tile by tile, by any function."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix.network import Network
from convmatrix.tiling.axis_plan import AxisPlan
from convmatrix.tiling.resized_networks import resized

if TYPE_CHECKING:
    from convmatrix.arrays import Array
    from convmatrix.report import Progress
    from convmatrix.tiling.image_tiles import PlannedAxes, Tile


def stitch(
    plan: PlannedAxes, function: Any, image: Any, tile_shape: int | Sequence[int], progress: Progress | None
) -> Array:
    """Return the output for an image, computed tile by tile; see `TilingPlan.run`."""
    x = np.asarray(image)
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
    _probe(plan, compute, batch, tiles)
    result: Array | None = None
    for number, tile in enumerate(tiles, start=1):
        y = compute(_read(batch, tile, plan))
        _check(plan, tile, y, len(batch))
        if result is None:
            result = np.empty(_result_shape(plan, spatial, y.shape), dtype=y.dtype)
        result[_on_output(plan, tile.output)] = y[_on_output(plan, tile.keep)]
        if progress is not None:
            progress(number, len(tiles), f"tile {number}")
    assert result is not None, "an image has at least one tile"  # noqa: S101 (for the type checker)
    return result[0] if one_sample else result


def _probe(plan: PlannedAxes, compute: Callable[[Array], Array], batch: Array, tiles: Sequence[Tile]) -> None:
    """Raise if a size that is fixed within the function would stay hidden, as all tiles have the size it was read for.

    The function is evaluated once for another size; one that takes no other size cannot be told.
    """
    changed = {}
    for number, axis in enumerate(plan.axes):
        own = plan.network.input_shape[number + 1]
        seen = {tile.input[number].stop - tile.input[number].start for tile in tiles}
        if isinstance(axis, AxisPlan) and seen == {own} and batch.shape[number + 2] != own:
            sizes = range(own - 1, axis.smallest - 1, -1), range(own + 1, batch.shape[number + 2])
            fitting = (n for n in itertools.chain(*sizes) if n % axis.alignment in axis.residues)
            changed[number] = next(fitting, own)
    if any(n != plan.network.input_shape[number + 1] for number, n in changed.items()):
        read = tuple(slice(0, changed.get(number, tiles[0].input[number].stop)) for number in range(len(plan.axes)))
        try:
            y = compute(np.ascontiguousarray(batch[(slice(None), slice(None), *read)]))
        except Exception:  # whatever the function raises for a size that it does not take
            return
        _check(plan, replace(tiles[0], input=read), y, len(batch))


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


def _result_shape(plan: PlannedAxes, spatial: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """Return the shape of the whole output, given that of the output for a tile."""
    whole = list(shape)
    for axis, n in zip(plan.axes, spatial, strict=True):
        if isinstance(axis, AxisPlan):
            whole[axis.output_axis + 1] = axis.extents(n)[axis.output].size
    return tuple(whole)


def _check(plan: PlannedAxes, tile: Tile, y: Array, n_samples: int) -> None:
    """Raise if the output for a tile has another shape than the plan expects."""
    expected: list[int | None] = [n_samples, *plan.network[plan.output].output_shape]
    for axis, read in zip(plan.axes, tile.input, strict=True):
        if isinstance(axis, AxisPlan):
            expected[axis.output_axis + 1] = axis.extents(read.stop - read.start)[axis.output].size
    if not plan.exact:  # the size of what is not cut is the function's own
        expected = [n if _is_cut(plan, place) else None for place, n in enumerate(expected)]
    if y.ndim != len(expected) or any(n is not None and n != m for n, m in zip(expected, y.shape, strict=True)):
        sizes = ", ".join("any" if n is None else str(n) for n in expected)
        raise ValueError(
            f"the function returned shape {y.shape} for a tile of {tuple(r.stop - r.start for r in tile.input)}, but "
            f"({sizes}) was expected: it is not the network {plan.network.name} that was planned for, or sizes within "
            "it follow another rule; compare plan(network, other=the network read for another size)"
        )


def _is_cut(plan: PlannedAxes, place: int) -> bool:
    return place == 0 or any(isinstance(axis, AxisPlan) and axis.output_axis + 1 == place for axis in plan.axes)


# --- functions ------------------------------------------------------------------------------------------------------


def _evaluation(function: Any, plan: PlannedAxes) -> Callable[[Array], Array]:
    """Return a function of arrays that evaluates a batch of tiles."""
    place = plan.network.outputs.index(plan.output) if plan.output in plan.network.outputs else 0
    if isinstance(function, Network):
        return _of_network(function, plan.output)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(function, torch.nn.Module):
        return _of_module(torch, function, place)
    if hasattr(function, "get_inputs") and hasattr(function, "run"):
        return _of_session(function, place)
    if not callable(function):
        raise TypeError(
            f"function is a {type(function).__name__}; give a function of arrays, a torch.nn.Module, an "
            "onnxruntime.InferenceSession or a Network"
        )
    return lambda x: _array(_chosen(function(x), place))


def _chosen(values: Any, place: int) -> Any:
    """Return one of several outputs."""
    return values[place] if isinstance(values, list | tuple) else values


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
    parameter = next(iter(module.parameters()), None)

    def compute(x: Array) -> Array:
        tensor = torch.from_numpy(x)
        if parameter is not None:
            tensor = tensor.to(parameter.device, parameter.dtype if tensor.is_floating_point() else tensor.dtype)
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
