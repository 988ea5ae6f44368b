"""What a network learned: its filters, what a unit projects back to the input, and the images that excite it most."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from convmatrix.nn.convolution import Conv
from convmatrix.nn.elementwise import Elementwise, ReLU
from convmatrix.nn.linear import Dense
from convmatrix.nn.sequential import Residual, Sequential
from convmatrix.weights import group_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from convmatrix.nn.layer import Layer

    Array = NDArray[Any]


Rule = Literal["transpose", "deconvolution", "gradient"]


def filters(layer: Layer) -> Array:
    """Return a linear layer's weights as one filter an output, zeros where nothing is connected.

    Parameters
    ----------
    layer : Conv, ConvTranspose or Dense

    Returns
    -------
    array
        ``(*tile, out_channels, in_channels, *kernel_shape)``, without the tile axes where weights are shared; groups
        and connection tables are filled up with zeros, and flipped kernels turned to how they are applied. Of a dense
        layer ``(n_out, n_in)``.

    Examples
    --------
    >>> from convmatrix import nn
    >>> filters(nn.lenet5().layers[4]).shape
    (16, 6, 5, 5)
    """
    if isinstance(layer, Dense):
        return layer.parameters["weight"].copy()
    if not isinstance(layer, Conv):
        raise TypeError(f"{layer!r} has no filters; convolution and dense layers have")
    g, n = layer.geometry, len(layer.geometry.kernel_shape)
    grouped = group_weights(g, layer.parameters["weight"])  # (*tile, groups, outputs, inputs, *kernel)
    tile, (groups, outputs, inputs) = grouped.shape[:n], grouped.shape[n : n + 3]
    full = np.zeros((*tile, groups * outputs, groups * inputs, *g.kernel_shape), dtype=grouped.dtype)
    every_tile: tuple[Any, ...] = (slice(None),) * n
    for group in range(groups):
        rows = slice(group * outputs, (group + 1) * outputs)
        columns = slice(group * inputs, (group + 1) * inputs)
        full[(*every_tile, rows, columns)] = grouped[(*every_tile, group)]
    if g.transposed:  # the correlation's outputs are the layer's inputs
        full = full.swapaxes(n, n + 1)
    return full.reshape(full.shape[n:]) if g.sharing == "shared" else full


def activations(network: Sequential, x: ArrayLike, place: int) -> Array:
    """Return the output of layer ``place`` of a network for a batch, not in training.

    Examples
    --------
    >>> import numpy as np
    >>> from convmatrix import nn
    >>> activations(nn.small(), np.ones((2, 1, 8, 8)), place=0).shape
    (2, 8, 8, 8)
    """
    y = np.asarray(x)
    for layer in network.layers[: _place(network, place) + 1]:
        y = layer.forward(y)
    return y


def back_projection(
    network: Sequential, x: ArrayLike, place: int, unit: Sequence[int], rule: Rule = "transpose"
) -> Array:
    r"""Project the activity of a unit back to the input, :math:`A_1^T S_2^T A_3^T \cdots e_u y_u`.

    Every linear layer is passed by its transpose, and max-pooling by the transpose of the selection matrix that it had
    for this input: Zeiler and Fergus, Visualizing and understanding convolutional networks, ECCV 2014, section 2.1.

    Parameters
    ----------
    network : Sequential
    x : array_like, shape (batch, ...)
        Inputs.
    place : int
        Of the layer in ``network.layers``.
    unit : sequence of int
        Index of the unit in the layer's output, such as ``(channel, y, x)``.
    rule : {"transpose", "deconvolution", "gradient"}
        How to pass elementwise layers: as if they were not there; the same but keeping only what is positive at a
        `ReLU`, as Zeiler and Fergus do; or by their slopes, which gives the gradient times the activity.

    Returns
    -------
    array, of the shape of x

    Examples
    --------
    >>> import numpy as np
    >>> from convmatrix import nn
    >>> network, x = nn.small(), np.ones((2, 1, 8, 8))
    >>> back_projection(network, x, place=4, unit=(3, 2, 2)).shape
    (2, 1, 8, 8)
    """
    if rule not in ("transpose", "deconvolution", "gradient"):
        raise ValueError(f"rule {rule!r} is unknown; choose transpose, deconvolution or gradient")
    y = activations(network, x, place)
    index: Any = (slice(None), *_unit(y.shape[1:], unit))
    g = np.zeros_like(y)
    g[index] = y[index]
    for layer in reversed(network.layers[: place + 1]):
        g = _pass_back(layer, g, rule)
    return g


class Excitation(NamedTuple):
    """An input that excites a unit: see `most_exciting`."""

    sample: int
    unit: tuple[int, ...]
    activation: float
    field: tuple[slice, ...]


def most_exciting(
    network: Sequential, x: ArrayLike, place: int, unit: Sequence[int], count: int = 9, batch_size: int = 256
) -> list[Excitation]:
    """Return the inputs that excite a unit most, the strongest first.

    Parameters
    ----------
    network : Sequential
    x : array_like, shape (samples, ...)
    place : int
        Of the layer in ``network.layers``.
    unit : sequence of int
        Index of the unit in the layer's output; a channel alone, ``(channel,)``, takes of each input the unit of that
        channel that is excited most.
    count, batch_size : int

    Returns
    -------
    list of Excitation
        With the number of the sample, the unit, its activation, and its receptive field: ``x[sample][:, *field]`` is
        what it saw. For inputs without spatial axes the field is empty.

    Examples
    --------
    >>> import numpy as np
    >>> from convmatrix import nn
    >>> x = np.random.default_rng(0).random((20, 1, 8, 8))
    >>> best = most_exciting(nn.small(), x, place=3, unit=(5,), count=2)
    >>> [found.unit[0] for found in best], best[0].activation >= best[1].activation
    ([5, 5], True)
    """
    inputs = np.asarray(x)
    if not len(inputs):
        raise ValueError(f"there are no inputs: x has shape {inputs.shape}")
    strengths, places = [], []
    shape: tuple[int, ...] = ()
    for start in range(0, len(inputs), batch_size):
        y = activations(network, inputs[start : start + batch_size], place)
        shape = y.shape[2:]
        index: Any = (slice(None), *_unit(y.shape[1:], unit, channel_alone=True))
        chosen = y[index].reshape(len(y), -1)
        places.append(chosen.argmax(axis=1))
        strengths.append(chosen[np.arange(len(y)), places[-1]])
    strength, position = np.concatenate(strengths), np.concatenate(places)
    found = []
    for sample in np.argsort(-strength, kind="stable")[:count].tolist():
        own = tuple(int(i) for i in unit)
        if len(own) == 1 and shape:
            own = (*own, *(int(i) for i in np.unravel_index(position[sample], shape)))
        field = receptive_field(network, inputs.shape[1:], place, own)
        found.append(Excitation(sample, own, float(strength[sample]), field))
    return found


def receptive_field(
    network: Sequential, input_shape: tuple[int, ...], place: int, unit: Sequence[int]
) -> tuple[slice, ...]:
    """Return the part of the input that a unit depends on, as one slice a spatial axis.

    What is returned is the smallest box; boundaries are followed, so that with a circular one it may be the whole axis.
    A unit that reads nothing but padding has empty slices.

    Parameters
    ----------
    network : Sequential
    input_shape : tuple of int
        Of one sample.
    place : int
        Of the layer in ``network.layers``.
    unit : sequence of int
        Index of the unit in the layer's output.

    Examples
    --------
    >>> from convmatrix import nn
    >>> receptive_field(nn.lenet5(), (1, 32, 32), place=4, unit=(0, 0, 1))
    (slice(0, 14, None), slice(2, 16, None))
    """
    upto = Sequential(network.layers[: _place(network, place) + 1])
    shape = upto.output_shape(tuple(input_shape))
    chosen = np.zeros(shape, dtype=bool)
    chosen[_unit(shape, unit)] = True
    read = upto.reads(chosen, tuple(input_shape))
    slices = []
    for axis in range(1, read.ndim):
        touched = np.flatnonzero(read.any(axis=tuple(other for other in range(read.ndim) if other != axis)))
        slices.append(slice(int(touched[0]), int(touched[-1]) + 1) if touched.size else slice(0, 0))
    return tuple(slices)


def _pass_back(layer: Layer, g: Array, rule: Rule) -> Array:
    if isinstance(layer, Sequential):
        for part in reversed(layer.layers):
            g = _pass_back(part, g, rule)
        return g
    if isinstance(layer, Residual):
        side = g if layer.shortcut is None else _pass_back(layer.shortcut, g, rule)
        return _pass_back(layer.body, g, rule) + side
    if isinstance(layer, Elementwise) and rule != "gradient":
        return np.maximum(g, 0) if rule == "deconvolution" and isinstance(layer, ReLU) else g
    kept = dict(layer.gradients)
    back = layer.backward(g)
    layer.gradients.clear()
    layer.gradients.update(kept)  # those of the training stay
    return back


def _place(network: Sequential, place: int) -> int:
    if not 0 <= place < len(network.layers):
        raise IndexError(f"place {place} is not in the network, which has {len(network.layers)} layers from 0")
    return place


def _unit(shape: tuple[int, ...], unit: Sequence[int], *, channel_alone: bool = False) -> tuple[int, ...]:
    index = tuple(int(i) for i in unit)
    lengths = {len(shape), 1} if channel_alone else {len(shape)}
    if len(index) not in lengths or not all(0 <= i < n for i, n in zip(index, shape, strict=False)):
        raise IndexError(f"unit {index} is not in the layer's output of shape {shape}; give one index an axis")
    return index
