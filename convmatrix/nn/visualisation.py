"""Views of what a network has learned: filters, back-projections of units, and the most exciting images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from convmatrix import graph
from convmatrix import options as validate
from convmatrix.nn.convolution import Conv
from convmatrix.nn.elementwise import Activation, ReLU
from convmatrix.nn.linear import Dense
from convmatrix.nn.sequential import Residual, Sequential
from convmatrix.weights import group_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from convmatrix.arrays import Array
    from convmatrix.nn.layer import Layer

Rule = Literal["transpose", "deconvolution", "gradient"]


def filters(layer: Layer) -> Array:
    """Return the weights of a linear layer as one filter per output, with zeros where nothing is connected.

    Parameters
    ----------
    layer : Conv, ConvTranspose or Dense

    Returns
    -------
    array
        Of shape ``(*tile, out_channels, in_channels, *kernel_shape)``, without the tile axes if weights are shared.
        Unconnected pairs of channels are filled with zeros, and flipped kernels are returned as they are applied. For a
        dense layer, of shape ``(n_out, n_in)``.

    Examples
    --------
    >>> from convmatrix import nn
    >>> filters(nn.lenet5().layers[4]).shape
    (16, 6, 5, 5)
    """
    if isinstance(layer, Dense):
        return layer.parameters["weight"].copy()
    if not isinstance(layer, Conv):
        raise TypeError(f"{layer!r} has no filters; give a convolution layer or a dense layer")
    g, n = layer.geometry, len(layer.geometry.kernel_shape)
    grouped = group_weights(g, layer.parameters["weight"])  # (*tile, groups, outputs, inputs, *kernel)
    tile, (groups, outputs, inputs) = grouped.shape[:n], grouped.shape[n : n + 3]
    full = np.zeros((*tile, groups, outputs, groups, inputs, *g.kernel_shape), dtype=grouped.dtype)
    for group in range(groups):
        here: Any = (*(slice(None),) * n, group, slice(None), group)
        full[here] = grouped[here[: n + 1]]
    full = full.reshape(*tile, groups * outputs, groups * inputs, *g.kernel_shape)
    if g.transposed:  # the outputs of the correlation are the inputs of the layer
        full = full.swapaxes(n, n + 1)
    return full.reshape(full.shape[n:]) if g.sharing == "shared" else full


def activations(network: Sequential, x: ArrayLike, place: int) -> Array:
    """Return the output of layer ``place`` of a network for a batch, at inference.

    Examples
    --------
    >>> import numpy as np
    >>> from convmatrix import nn
    >>> activations(nn.small(), np.ones((2, 1, 8, 8)), place=0).shape
    (2, 8, 8, 8)
    """
    y = np.asarray(x)
    for layer in _up_to(network, place):
        y = layer.forward(y)
    return y


def back_projection(
    network: Sequential, x: ArrayLike, place: int, unit: Sequence[int], rule: Rule = "transpose"
) -> Array:
    r"""Return the activity of a unit projected back to the input, :math:`A_1^T S_2^T A_3^T \cdots e_u y_u`.

    A linear layer is replaced by its transpose, and max-pooling by the transpose of its selection matrix for this
    input: Zeiler and Fergus, Visualizing and understanding convolutional networks, ECCV 2014, section 2.1.

    Parameters
    ----------
    network : Sequential
    x : array_like, shape (batch, ...)
        Inputs.
    place : int
        Index of the layer in ``network.layers``.
    unit : sequence of int
        Index of the unit in the layer's output, such as ``(channel, y, x)``.
    rule : {"transpose", "deconvolution", "gradient"}
        How to go back through activation functions: ignore them; keep only positive values at a `ReLU` and ignore other
        functions, as Zeiler and Fergus do; or multiply by their slopes, which gives the gradient times the activity.

    Returns
    -------
    array of the shape of x

    Examples
    --------
    >>> import numpy as np
    >>> from convmatrix import nn
    >>> network, x = nn.small(), np.ones((2, 1, 8, 8))
    >>> back_projection(network, x, place=4, unit=(3, 2, 2)).shape
    (2, 1, 8, 8)
    """
    validate.one_of("rule", rule, ("transpose", "deconvolution", "gradient"))
    y = activations(network, x, place)
    index: Any = (slice(None), *_unit(y.shape[1:], unit))
    g = np.zeros_like(y)
    g[index] = y[index]
    for layer in reversed(_up_to(network, place)):
        g = _pass_back(layer, g, rule)
    return g


class Excitation(NamedTuple):
    """An input that excites a unit, as returned by `most_exciting`.

    Attributes
    ----------
    sample : int
        Index of the input.
    unit : tuple of int
        Index of the unit.
    activation : float
        Output of the unit.
    field : tuple of slice
        Receptive field of the unit, which reads ``x[sample][:, *field]``. Empty for inputs without spatial axes.
    """

    sample: int
    unit: tuple[int, ...]
    activation: float
    field: tuple[slice, ...]


def most_exciting(
    network: Sequential, x: ArrayLike, place: int, unit: Sequence[int], count: int = 9, batch_size: int = 256
) -> list[Excitation]:
    """Return the inputs that excite a unit most, strongest first.

    Parameters
    ----------
    network, place
        As for `back_projection`.
    x : array_like, shape (samples, ...)
    unit : sequence of int
        As for `back_projection`; given only a channel, ``(channel,)``, the most excited unit of that channel is used
        for each input.
    count, batch_size : int

    Returns
    -------
    list of Excitation

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
        raise ValueError(f"x has shape {inputs.shape}, which holds no inputs; give at least one")
    strengths, positions = [], []
    shape: tuple[int, ...] = ()
    for start in range(0, len(inputs), batch_size):
        y = activations(network, inputs[start : start + batch_size], place)
        shape = y.shape[2:]
        index: Any = (slice(None), *_unit(y.shape[1:], unit, channel_alone=True))
        chosen = y[index].reshape(len(y), -1)
        positions.append(chosen.argmax(axis=1))
        strengths.append(chosen[np.arange(len(y)), positions[-1]])
    strength, position = np.concatenate(strengths), np.concatenate(positions)
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
    """Return the part of the input that a unit depends on, as one slice per spatial axis.

    The slices form the smallest box that contains the samples read; with a circular boundary this may be a whole axis.
    They are empty for a unit that reads only padding.

    Parameters
    ----------
    network, place, unit
        As for `back_projection`.
    input_shape : tuple of int
        Shape of one sample.

    Examples
    --------
    >>> from convmatrix import nn
    >>> receptive_field(nn.lenet5(), (1, 32, 32), place=4, unit=(0, 0, 1))
    (slice(0, 14, None), slice(2, 16, None))
    """
    described = Sequential(_up_to(network, place)).to_network(tuple(input_shape))
    read = graph.receptive_field(described, _unit(described.output_shape, unit))
    _, *indices = np.unravel_index(read, described.input_shape)
    return tuple(slice(int(i.min()), int(i.max()) + 1) if i.size else slice(0, 0) for i in indices)


def _pass_back(layer: Layer, g: Array, rule: Rule) -> Array:
    if isinstance(layer, Sequential):
        for part in reversed(layer.layers):
            g = _pass_back(part, g, rule)
        return g
    if isinstance(layer, Residual):
        side = g if layer.shortcut is None else _pass_back(layer.shortcut, g, rule)
        return _pass_back(layer.body, g, rule) + side
    if isinstance(layer, Activation) and rule != "gradient":
        return np.maximum(g, 0) if rule == "deconvolution" and isinstance(layer, ReLU) else g
    kept = dict(layer.gradients)
    back = layer.backward(g)
    layer.gradients.clear()
    layer.gradients.update(kept)  # the gradients of a training step are not changed
    return back


def _up_to(network: Sequential, place: int) -> tuple[Layer, ...]:
    """Return the layers up to and including a position."""
    if not 0 <= place < len(network.layers):
        raise IndexError(f"place {place} is not in the network, whose layers are 0 to {len(network.layers) - 1}")
    return network.layers[: place + 1]


def _unit(shape: tuple[int, ...], unit: Sequence[int], *, channel_alone: bool = False) -> tuple[int, ...]:
    """Return the index of a unit; raise IndexError unless it lies in an output of a shape."""
    index = tuple(int(i) for i in unit)
    lengths = {len(shape), 1} if channel_alone else {len(shape)}
    if len(index) not in lengths or not all(0 <= i < n for i, n in zip(index, shape, strict=False)):
        raise IndexError(f"unit {index} is not in the layer's output of shape {shape}; give one index per axis")
    return index
