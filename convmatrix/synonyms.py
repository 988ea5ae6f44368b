"""Other libraries' names for options, arguments and their values, for hints in error messages.

They come from NumPy, scipy.ndimage, scipy.signal, PyTorch, Keras, ONNX and Theano, and from the literature on inverse
problems and differential equations.
"""

import difflib
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from convmatrix.boundary import BOUNDARIES


def _by_synonym(words: Mapping[str, str]) -> Mapping[str, str]:
    """Return a mapping from each synonym to the word used here; ``words`` lists synonyms, separated by commas."""
    return MappingProxyType({synonym: word for word, synonyms in words.items() for synonym in synonyms.split(", ")})


# The "reflect" of ndimage repeats the edge sample, which is "symmetric" here.
BOUNDARY_SYNONYMS: Final = _by_synonym(
    {
        "zero": "zeros, constant, fill, dirichlet, grid-constant",
        "circular": "wrap, periodic, cyclic, torus, grid-wrap",
        "replicate": "edge, nearest, replication",
        "reflect": "mirror, reflection",
        "symmetric": "symm, reflexive, neumann, grid-mirror, half-sample",
        "antireflect": "antireflective, anti-reflective, anti-reflect, odd, odd reflect",
        "antisymmetric": "anti-symmetric, odd symmetric",
    }
)
SHARING_SYNONYMS: Final = _by_synonym({"shared": "tied", "unshared": "untied, local, locally_connected"})
_PADDING_SYNONYMS: Final = _by_synonym({"same": "same_upper, half", "valid": "notset, none"})
_ARGUMENT_SYNONYMS: Final = _by_synonym(
    {
        "stride": "strides, subsample, step, steps",
        "dilation": "dilations, dilation_rate, rate, filter_dilation",
        "padding": "pad, pads, paddings, auto_pad, border_mode, pad_width",
        "boundary": "boundaries, boundary_condition, bc, padding_mode, pad_mode",
        "groups": "group, n_groups, feature_group_count",
        "connections": "connection_table, connectivity",
        "sharing": "tile, tiling, weight_sharing",
        "flip": "flip_kernel, flip_filters, filter_flip",
        "transposed": "transpose",
        "output_padding": "out_pad, output_pad, adj, adjustment",
        "output_shape": "output_size, out_shape, out_size",
        "kernel_shape": "kernel_size, filter_size, filter_shape, ksize",
        "input_shape": "input_size, image_shape, in_shape, spatial_shape",
        "out_channels": "filters, nb_filter, out_features, n_filters",
        "in_channels": "channels, in_features, n_channels",
        "kernel": "weight, weights, filter, w",
    }
)
_NO_SYNONYMS: Final[Mapping[str, str]] = MappingProxyType({})


def called_here(word: object, known: Iterable[str], synonyms: Mapping[str, str] = _NO_SYNONYMS) -> str:
    """Return a hint that suggests the known word for a synonym or a misspelling, or an empty string."""
    known, lower = tuple(known), str(word).lower()
    name = lower if lower in known else synonyms.get(lower)
    return f" ({word!r} is called {name!r} here)" if name else _similar(lower, known)


def _similar(word: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def padding_hint(word: str, known: Iterable[str]) -> str:
    """Return a hint that suggests a padding for an unknown word, or an empty string."""
    lower = word.lower()
    if lower in (*BOUNDARIES, *BOUNDARY_SYNONYMS):
        return f"; what lies beyond the ends is the boundary: boundary={BOUNDARY_SYNONYMS.get(lower, lower)!r}"
    if lower == "causal":
        return "; padding at the low end alone is the pair (dilation * (taps - 1), 0)"
    return called_here(word, known, _PADDING_SYNONYMS)


def argument_hint(name: str, known: Iterable[str]) -> str:
    """Return a hint that suggests the argument for another library's name or for a misspelling."""
    known = tuple(known)
    meant = _ARGUMENT_SYNONYMS.get(name.lower())
    if meant in known:
        return f"; it is called {meant!r} here"
    if meant == "kernel_shape":
        return "; it is read from the shape of the kernel array"
    if name == "mode" and {"padding", "boundary"} <= {*known}:
        return "; mode of scipy.signal is called 'padding' here, and mode of numpy.pad and scipy.ndimage 'boundary'"
    return _similar(name.lower(), known) or f"; the arguments are {', '.join(known)}"
