"""The options of a layer and of its matrix: one table of names, defaults and checks.

`ConvGeometry` and every function that describes a layer accept the options in `LAYER_OPTIONS` as keyword arguments; see
`takes_layer_options`. The other functions return a value in canonical form, or raise an error that names the remedy.
"""

from __future__ import annotations

import functools
import inspect
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, ParamSpec, TypedDict, TypeVar, cast

import numpy as np
from scipy import sparse

from convmatrix.arrays import array as array
from convmatrix.arrays import from_tensor, refuse_masked
from convmatrix.boundary import BOUNDARIES, LARGEST_AXIS, Boundary
from convmatrix.synonyms import BOUNDARY_SYNONYMS, SHARING_SYNONYMS, argument_hint, called_here, padding_hint

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray

P = ParamSpec("P")
R = TypeVar("R")

Padding = str | int | Sequence[int | str | tuple[int, int]]
Sharing = Literal["shared", "unshared"] | int | Sequence[int]

PADDING_WORDS: Final = ("valid", "same", "same_lower", "full")
FORMATS: Final = ("csr", "csc", "coo", "dia", "bsr")
"""The SciPy sparse formats in which matrices can be returned."""

_LARGEST_INT32: Final = 2**31 - 1


# --- single values ----------------------------------------------------------------------------------------------------


def integer(name: str, value: Any, minimum: int | None = None) -> int:
    """Return an int; floats and bools are refused, because they are usually mistakes."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, but is {value!r} ({type(value).__name__})") from None
    if minimum is not None and number < minimum:
        raise ValueError(f"{name} must be at least {minimum}, but is {number}")
    return number


def real(name: str, value: Any) -> float:
    """Return a real number; NaN and infinities are not refused."""
    try:
        if isinstance(value, str | bytes) or np.ndim(value):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"{name} must be a number, but is {value!r:.60} ({type(value).__name__})") from None


def finite(name: str, value: Any) -> float:
    """Return a real number as a float; NaN and infinities are refused."""
    number = real(name, value)
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, but is {number}")
    return number


def is_one_of(value: object, words: Iterable[str]) -> bool:
    """Return whether a value is one of the words; arrays, which compare entry by entry, are not."""
    return isinstance(value, str) and value in words


def one_of(name: str, value: object, words: Iterable[str], or_else: str = "") -> None:
    """Raise ValueError unless a value is one of the words; ``or_else`` says what else may be given."""
    words = tuple(words)
    if is_one_of(value, words):
        return
    listed = f"one of {', '.join(words)}{or_else}"
    if isinstance(value, str):
        raise ValueError(f"{name} {value!r} is unknown; choose {listed}{called_here(value, words)}")
    raise ValueError(f"{name} must be {listed}, but is {described(value)}")


def instance(name: str, value: object, kinds: type | tuple[type, ...], remedy: str) -> None:
    """Raise TypeError unless a value is of one of the kinds."""
    if not isinstance(value, kinds):
        wanted = " or ".join(kind.__name__ for kind in (kinds if isinstance(kinds, tuple) else (kinds,)))
        raise TypeError(f"{name} must be of type {wanted}, but is {described(value)}; {remedy}")


def described(value: object) -> str:
    """Return a value and its type for a message, on one line; of an array its shape and dtype.

    Examples
    --------
    >>> described(None), described(np.zeros((2, 3)))
    ('None (NoneType)', 'an array of shape (2, 3) and dtype float64')
    """
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    return f"{' '.join(f'{value!r:.60}'.split())} ({type(value).__name__})"


def flag(name: str, value: Any) -> bool:
    """Return a bool; numbers and strings are refused."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, but is {value!r} ({type(value).__name__})")
    return bool(value)


def shape(name: str, value: int | Sequence[int]) -> tuple[int, ...]:
    """Return a shape of at least one axis, with sizes of at least 1; an int is a shape of one axis."""
    if not _is_sequence_like(value):
        if isinstance(value, str):
            found = tuple(map(int, re.findall("[0-9]+", value)))
            raise TypeError(
                f"{name} must be a tuple of integers, but is {value!r}" + (f"; give {found}" if found else "")
            )
        return (integer(name, value, minimum=1),)
    if getattr(value, "ndim", 1) > 1 or (isinstance(value, np.ndarray) and value.dtype.kind in "fc"):
        raise TypeError(
            f"{name} must be a tuple of integers, but is an array of shape {tuple(cast('Any', value).shape)} and dtype "
            f"{cast('Any', value).dtype}; give integers, or that shape if these are samples; are arguments swapped?"
        )
    sizes = tuple(cast("Sequence[int]", value))
    if not sizes:
        raise ValueError(f"{name} is empty; give at least one spatial axis")
    return tuple(integer(f"{name}[{axis}]", size, minimum=1) for axis, size in enumerate(sizes))


def per_axis(name: str, value: int | Sequence[int], n_axes: int, minimum: int | None = None) -> tuple[int, ...]:
    """Return one integer per axis."""
    if not _is_sequence_like(value):
        return (integer(name, value, minimum),) * n_axes
    return tuple(integer(f"{name}[{axis}]", v, minimum) for axis, v in enumerate(_entries(name, value, n_axes)))


def _is_sequence_like(value: Any) -> bool:
    """Return whether a value has entries; strings and 0-d arrays have none."""
    return not isinstance(value, (str, bytes)) and hasattr(value, "__len__") and getattr(value, "ndim", 1) > 0


def axes_in_words(n_axes: int, kind: str = "") -> str:
    """Return a number of axes in words, such as "1 axis" or "2 spatial axes"."""
    return f"{n_axes} {kind}{'axis' if n_axes == 1 else 'axes'}"


def _entries(name: str, value: Any, n_axes: int) -> tuple[Any, ...]:
    entries = tuple(value)
    if len(entries) != n_axes:
        found = f"{'is' if n_axes == 1 else 'are'} {axes_in_words(n_axes, 'spatial ')}"
        raise ValueError(
            f"{name} has {len(entries)} entries ({value!r}), but there {found}; give one for all axes or one per axis"
        )
    return entries


# --- options of a layer -----------------------------------------------------------------------------------------------


def padding(name: str, value: Any, n_axes: int) -> tuple[str | tuple[int, int], ...]:
    """Return one word or one (low, high) pair per axis."""
    if not _is_sequence_like(value):
        return (_axis_padding(name, value),) * n_axes
    entries = tuple(value)
    if n_axes == 1 and len(entries) == 2 and not any(map(_is_sequence_like, entries)):
        raise ValueError(
            f"{name}={value!r} has 2 entries, but the layer has 1 spatial axis; "
            f"for low and high padding write {name}=[({entries[0]}, {entries[1]})]"
        )
    return tuple(_axis_padding(f"{name}[{axis}]", v) for axis, v in enumerate(_entries(name, value, n_axes)))


def _axis_padding(name: str, value: Any) -> str | tuple[int, int]:
    if isinstance(value, str):
        if value not in PADDING_WORDS:
            raise ValueError(
                f"{name}={value!r} is unknown; choose one of {', '.join(PADDING_WORDS)} or give integers"
                f"{padding_hint(value, PADDING_WORDS)}"
            )
        return value
    if not _is_sequence_like(value):
        amount = integer(name, value, minimum=0)
        return amount, amount
    pair = tuple(value)
    if len(pair) != 2:
        raise ValueError(f"{name}={value!r} has {len(pair)} entries; give an integer or a (low, high) pair")
    return integer(f"{name}[0]", pair[0], minimum=0), integer(f"{name}[1]", pair[1], minimum=0)


def boundaries(name: str, value: str | Sequence[str], n_axes: int) -> tuple[Boundary, ...]:
    """Return one boundary per axis."""
    words: tuple[Any, ...] = _entries(name, value, n_axes) if _is_sequence_like(value) else (value,) * n_axes
    for word in words:
        if not is_one_of(word, BOUNDARIES):
            hint = called_here(word, BOUNDARIES, BOUNDARY_SYNONYMS)
            raise ValueError(f"{name} {word!r} is unknown; choose one of {', '.join(BOUNDARIES)}{hint}")
    return words


def sharing(name: str, value: Any, n_axes: int) -> Literal["shared", "unshared"] | tuple[int, ...]:
    """Return how weights are shared: a word, or one tile size per axis."""
    if isinstance(value, str):
        if value not in ("shared", "unshared"):
            hint = called_here(value, ("shared", "unshared"), SHARING_SYNONYMS)
            raise ValueError(f"{name}={value!r} is unknown; choose shared, unshared, or a tile size per axis{hint}")
        return cast("Literal['shared', 'unshared']", value)
    return per_axis(name, value, n_axes, minimum=1)


def connections(
    value: ArrayLike | None, out_channels: int, in_channels: int, groups: int
) -> tuple[tuple[bool, ...], ...] | None:
    """Return the connection table as nested tuples, which can be compared and hashed."""
    if value is None:
        return None
    table = array("connections", value)
    if table.shape != (out_channels, in_channels):
        raise ValueError(
            f"connections has shape {table.shape}, but the layer has out_channels={out_channels} and "
            f"in_channels={in_channels}; give a table of shape ({out_channels}, {in_channels})"
        )
    wrong = table[~np.isin(table, (0, 1))] if table.dtype != np.bool_ else table[:0]
    if wrong.size:
        raise ValueError(f"connections must hold only True and False (or 1 and 0), but has the entry {wrong.flat[0]}")
    if groups != 1:
        raise ValueError(f"connections and groups={groups} exclude each other; write the groups into the table")
    table = table.astype(bool)
    if not table.any():
        raise ValueError("connections has no True entry; a layer needs at least one connected pair of channels")
    return tuple(tuple(bool(entry) for entry in row) for row in table)


class LayerOptions(TypedDict, total=False):
    """The keyword arguments that describe a layer; see `ConvGeometry`, which documents them."""

    stride: int | Sequence[int]
    dilation: int | Sequence[int]
    padding: Padding
    boundary: str | Sequence[str]
    groups: int
    connections: ArrayLike | None
    sharing: Sharing
    flip: bool
    transposed: bool
    output_padding: int | Sequence[int]
    output_shape: int | Sequence[int] | None


class Option(NamedTuple):
    """An option of a layer; ``check(name, value, n_axes)`` returns its canonical value."""

    default: Any
    check: Callable[[str, Any, int], Any]


def _steps(name: str, value: int | Sequence[int], n_axes: int) -> tuple[int, ...]:
    """Return one stride or dilation per axis."""
    steps = per_axis(name, value, n_axes, minimum=1)
    if max(steps) >= LARGEST_AXIS:
        raise ValueError(f"{name}={value} is too large: index arithmetic is 64-bit and holds numbers below 2**62")
    return steps


def _flag_option(name: str, value: Any, _: int) -> bool:
    return flag(name, value)


LAYER_OPTIONS: Final[Mapping[str, Option]] = {
    "stride": Option(1, _steps),
    "dilation": Option(1, _steps),
    "padding": Option("valid", padding),
    "boundary": Option("zero", boundaries),
    "groups": Option(1, lambda name, value, _: integer(name, value, 1)),
    "connections": Option(None, lambda _, value, __: value),
    "sharing": Option("shared", sharing),
    "flip": Option(default=False, check=_flag_option),
    "transposed": Option(default=False, check=_flag_option),
    "output_padding": Option(0, functools.partial(per_axis, minimum=0)),
    "output_shape": Option(None, lambda name, value, n_axes: None if value is None else _steps(name, value, n_axes)),
}
"""The options of a layer, in the order in which signatures list them."""


def takes_layer_options(*without: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator for functions whose ``**options`` are the options of a layer, except for those named.

    The signature of the decorated function, as shown by ``help`` and tab completion, lists the options with their
    defaults. An unknown keyword raises an error that suggests the intended one. The function receives only the options
    that were given, and they are not checked.

    Examples
    --------
    >>> @takes_layer_options("transposed", "output_padding")
    ... def layer_area(size, **options):
    ...     return size * options.get("stride", 1)
    >>> layer_area(3, strides=2)
    Traceback (most recent call last):
    TypeError: layer_area() has no argument 'strides'; it is called 'stride' here
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        keyword = inspect.Parameter.KEYWORD_ONLY
        added = [
            inspect.Parameter(
                name, keyword, default=option.default, annotation=LayerOptions.__annotations__[name].__forward_arg__
            )
            for name, option in LAYER_OPTIONS.items()
            if name not in without
        ]
        first = [p for p in own if p.kind is not keyword or p.name.endswith("_channels")]
        parameters = [*first, *added, *(p for p in own if p not in first)]
        known = {p.name: None for p in parameters if p.name != "self"}
        called = function.__qualname__.removesuffix(".__init__")

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            for name in kwargs:
                if name not in known:
                    raise TypeError(f"{called}() has no argument {name!r}{argument_hint(name, known)}")
            return function(*args, **kwargs)

        call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        return call

    return decorate


# --- options of a matrix ----------------------------------------------------------------------------------------------


def order(order: str) -> Literal["C", "F"]:
    """Return the order in which arrays are flattened."""
    if not is_one_of(order, ("C", "F")):
        raise ValueError(f"order {order!r} is unknown; choose C (row-major) or F (column-major)")
    return cast("Literal['C', 'F']", order)


def sparse_format(format: str) -> str:
    """Return the name of a sparse format."""
    one_of("format", format, FORMATS)
    return format


def row_range(rows: tuple[int, int] | None, n_rows: int) -> tuple[int, int]:
    """Return a range of rows; all rows by default."""
    if rows is None:
        return 0, n_rows
    try:
        start, stop = rows
    except (TypeError, ValueError):
        raise TypeError(f"rows must be a pair (start, stop), but is {rows!r}") from None
    start, stop = integer("rows[0]", start), integer("rows[1]", stop)
    if not 0 <= start <= stop <= n_rows:
        raise ValueError(f"rows=({start}, {stop}) must satisfy 0 <= start <= stop <= {n_rows}, the rows of the matrix")
    return start, stop


def index_dtype(*sizes: int) -> type[np.int32] | type[np.int64]:
    """Return the index type that SciPy's sparse arrays use: int32 if all sizes fit, otherwise int64."""
    return np.int32 if max(sizes) <= _LARGEST_INT32 else np.int64


# --- weights ----------------------------------------------------------------------------------------------------------


def as_array(weights: Any) -> NDArray[Any]:
    """Return weights as an array, or raise an error that says what to give or call instead."""
    _refuse_other_objects(weights)
    if hasattr(weights, "detach"):
        weights = from_tensor(weights)
    if np.ma.is_masked(weights):
        refuse_masked(
            "weights", weights, "give them values with weights.filled(0), or leave connections out with connections="
        )
    try:
        found: NDArray[Any] = np.asarray(weights)
    except ValueError:
        return array("the kernel", weights)  # which raises a clearer error
    if found.ndim == 0 and found.dtype == object:  # such as a set, an iterator or a client
        raise TypeError(f"the kernel must be an array of numbers, but is a {type(weights).__name__}; give an array")
    return found


def _refuse_other_objects(weights: Any) -> None:
    """Raise TypeError for objects often given in place of an array of weights, and name the function to call."""
    if weights is None or isinstance(weights, str | bytes):
        remedy = "give an array of numbers, such as [[0, 1, 0], [1, -4, 1], [0, 1, 0]]"
    elif sparse.issparse(weights):
        remedy = "give the weights of the layer; cm.structured.recover_kernel finds those of a matrix"
    elif hasattr(weights, "state_dict"):
        remedy = (
            "call cm.from_torch(layer, input_shape) for the kernel and the geometry of one layer, or "
            "cm.Network.from_torch(module, input_shape) for a whole model"
        )
    elif hasattr(weights, "weight_shape") or hasattr(weights, "geometry"):
        remedy = "the kernel is the first argument and the input shape or ConvGeometry the second"
    else:
        return
    kind = repr(weights) if isinstance(weights, str) else f"a {type(weights).__name__}"
    raise TypeError(f"the kernel must be an array of numbers, but is {kind}; {remedy}")


def weight_array(weights: ArrayLike, weight_shape: tuple[int, ...], layer: Any = None) -> NDArray[Any]:
    """Return the weights of a layer (a `ConvGeometry`, if any) as an array of ``weight_shape``, of a numeric dtype.

    The array may have the weight shape, omit its leading axes of length one, or be flat. A layer with one input
    and one output channel also accepts ``(*tile, *kernel)``. A layer with a connection table also accepts a full
    ``(C_out, C_in, *kernel)`` kernel, of which only the connected pairs are used.
    """
    array = as_array(weights)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)  # SciPy's sparse matrices need native byte order
    if array.dtype.kind not in "iufc" or array.dtype == np.float16:
        raise TypeError(
            f"weights have dtype {array.dtype}, which sparse matrices do not compute with; convert them, for instance "
            "with weights.astype(float) or dtype=float"
        )
    if layer is not None and array.dtype.kind == "u" and layer.has_coefficients:
        raise TypeError(
            f"weights have the unsigned dtype {array.dtype}, but boundary={layer.boundary} subtracts samples; convert "
            "them to a signed type, for instance with weights.astype(int) or dtype=int"
        )
    squeezed = weight_shape
    while squeezed and squeezed[0] == 1 and len(squeezed) > array.ndim:
        squeezed = squeezed[1:]
    if array.shape in (weight_shape, squeezed, (math.prod(weight_shape),)):
        return array.reshape(weight_shape)
    full = None
    if layer is not None and layer.connections is not None and layer.sharing == "shared":
        full = (layer.out_channels, layer.in_channels, *layer.kernel_shape)
        if array.shape == full:
            connected: NDArray[Any] = array[np.nonzero(layer.connections)]
            return connected
    elif layer is not None and layer.sharing != "shared" and layer.in_channels == layer.out_channels == 1:
        n = len(layer.kernel_shape)
        if array.shape == (*weight_shape[:n], *layer.kernel_shape):
            return array.reshape(weight_shape)
    channels_last = (*weight_shape[2:], *weight_shape[1::-1])
    remedy = (
        "transpose a kernel with channels last, as in Keras and Flax: numpy.moveaxis(kernel, (-1, -2), (0, 1))"
        if array.shape == channels_last
        else "reshape them to that"
    )
    raise ValueError(
        f"weights have shape {array.shape}, but the layer's weights have {weight_shape}"
        + (f" (or, as a full kernel, {full})" if full else "")
        + f", which is {math.prod(weight_shape)} in all; {remedy}"
    )


def weight_mask(footprint: ArrayLike, weight_shape: tuple[int, ...], least_axes: int = 1) -> NDArray[np.bool_]:
    """Return which weights occur, as a mask of the last axes of the weights: only the kernel's axes, or all axes.

    Examples
    --------
    >>> weight_mask([0, 1, 1], (2, 2, 3))
    array([False,  True,  True])
    """
    mask = array("footprint", footprint)
    fits = mask.ndim >= least_axes and mask.shape == weight_shape[max(len(weight_shape) - mask.ndim, 0) :]
    if not fits:
        raise ValueError(
            f"footprint has shape {mask.shape}, but the weights have {weight_shape}; give a mask of the kernel's shape "
            f"{weight_shape[-least_axes:]}, or of the shape of all weights"
        )
    if mask.dtype != np.bool_ and not np.isin(mask, (0, 1)).all():
        raise ValueError("footprint must hold only True and False (or 1 and 0); for weights, give them as the kernel")
    if not mask.any():
        raise ValueError(f"footprint of shape {mask.shape} has no True entry; a layer needs at least one weight")
    return mask.astype(bool)


def data_type(dtype: Any) -> np.dtype[Any]:
    """Return a NumPy data type."""
    try:
        found: np.dtype[Any] = np.dtype(dtype)
    except (TypeError, ValueError):
        raise TypeError(f"dtype {dtype!r:.60} is unknown; give one of NumPy's, such as float or 'float32'") from None
    return found


def convert(kernel: NDArray[Any], dtype: DTypeLike | None) -> NDArray[Any]:
    """Return the kernel converted to a dtype, which must represent its values."""
    target = kernel.dtype if dtype is None else data_type(dtype)
    if kernel.dtype == target:
        return kernel
    if not np.can_cast(kernel.dtype, target, "same_kind") and (kernel.dtype.kind, target.kind) != ("i", "u"):
        raise TypeError(
            f"a kernel of dtype {kernel.dtype} does not convert to dtype={target} without loss; convert it yourself, "
            "for instance with kernel.real or numpy.rint"
        )
    with np.errstate(over="ignore"):
        converted = kernel.astype(target)
    if target.kind in "fc" and kernel.dtype.kind in "iufc" and np.any(np.isinf(converted) & ~np.isinf(kernel)):
        raise TypeError(f"the kernel has entries that dtype={target} does not hold; choose a wider floating-point type")
    if target.kind in "iu" and not np.array_equal(converted, kernel):
        raise TypeError(f"the kernel has entries that dtype={target} does not hold; choose a wider integer type")
    return converted


def may_overflow(weights: NDArray[Any], terms: float) -> bool:
    """Return whether sums of weights with coefficients of total modulus ``terms`` may exceed their integer type."""
    largest = max(weights.max(initial=0), -float(weights.min(initial=0))) if weights.dtype.kind in "iu" else 0
    return float(largest) * terms >= 2.0 ** (8 * weights.dtype.itemsize - 1)


def require_no_overflow(sums: NDArray[Any], exact: NDArray[np.float64]) -> None:
    """Raise ValueError if integer sums of weights differ from those in float64 by more than rounding errors."""
    difference = np.abs(sums - exact)
    if difference.max(initial=0) >= 2.0 ** (8 * sums.dtype.itemsize - 1):
        raise ValueError(
            f"weights at one entry of the matrix add up to {exact.flat[difference.argmax()]:g}, which {sums.dtype} "
            "does not hold; give dtype=int, or convert the weights with weights.astype(int) or weights.astype(float)"
        )
