"""Helpers for NumPy arrays: type aliases, machine epsilon, and sums and copies by index."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Array = NDArray[Any]
"""An array of any dtype."""

EPSILON: Final = float(np.finfo(np.float64).eps)
"""Distance from 1.0 to the next float64."""

LEAST: Final = 1e-300
"""Added to bounds on rounding errors, so that they hold where products underflow."""

_GATHERED: Final = 2**15  # indices gathered at a time, whose copies as int64 stay in the cache


class KeepsReadOnly:
    """Base class of objects whose read-only arrays stay read-only in copies, pickles and other processes."""

    def __getstate__(self) -> tuple[dict[str, Any], list[str]]:
        state = self.__dict__.copy()
        arrays = {name: value for name, value in state.items() if isinstance(value, np.ndarray)}
        return state, [name for name, value in arrays.items() if not value.flags.writeable]

    def __setstate__(self, state: tuple[dict[str, Any], list[str]]) -> None:
        values, names = state
        self.__dict__.update(values)
        read_only(*(values[name] for name in names))


def read_only(*arrays: NDArray[Any] | None) -> None:
    """Make arrays read-only, in place; None is ignored."""
    for array in arrays:
        if array is not None:
            array.flags.writeable = False


def scaled_to_one(array: Array) -> tuple[Array, float]:
    """Return an array with entries of modulus at most one, and the power of two by which to multiply it.

    Powers of two round only entries that are more than 1e290 times smaller than the largest one. Products of the scaled
    entries do not overflow, and those of the largest ones do not underflow. Zeros are returned unchanged.

    Examples
    --------
    >>> scaled_to_one(np.array([3e200, -1e200]))[0].round(3)
    array([ 0.98 , -0.327])
    """
    largest = max(float(np.abs(part).max(initial=0.0)) for part in (array.real, array.imag))
    exponent = min(math.frexp(largest)[1] + (array.dtype.kind == "c"), 1023) if math.isfinite(largest) else 0
    half = -exponent // 2  # in two steps, because the inverse of the smallest numbers overflows
    return array * 2.0**half * 2.0 ** (-exponent - half), 2.0**exponent


def accumulate(total: NDArray[Any], places: NDArray[np.integer], values: NDArray[Any]) -> None:
    """Add each value to ``total`` at its index, in place; in floating point with `numpy.bincount`, which is fastest."""
    if values.dtype == np.float64:
        total += np.bincount(places, values, minlength=len(total))
    elif values.dtype == np.complex128:
        total.real += np.bincount(places, values.real, minlength=len(total))
        total.imag += np.bincount(places, values.imag, minlength=len(total))
    else:
        np.add.at(total, places, values)


def gather(values: NDArray[Any], places: NDArray[np.integer], out: NDArray[Any]) -> NDArray[Any]:
    """Write ``values[places]`` into ``out`` and return it; the indices must be in range."""
    for start in range(0, len(places), _GATHERED):
        block = slice(start, start + _GATHERED)
        values.take(places[block], out=out[block], mode="clip")
    return out


def starts_of_runs(*keys: NDArray[Any]) -> NDArray[np.bool_]:
    """Return a mask of the entries that differ from the previous one in at least one key; the first is always marked.

    Examples
    --------
    >>> starts_of_runs(np.array([0, 0, 0, 1]), np.array([5, 5, 6, 6]))
    array([ True, False,  True,  True])
    """
    starts = np.ones(len(keys[0]), dtype=bool)
    starts[1:] = keys[0][1:] != keys[0][:-1]
    for key in keys[1:]:
        starts[1:] |= key[1:] != key[:-1]
    return starts


def sum_rounding(scale: NDArray[Any], terms: float) -> NDArray[Any]:
    r"""Return a bound on the errors of sums of products in double precision, with room for a few more operations.

    A sum of n products has an error of at most :math:`\gamma_n \sum |a_i x_i|`, in any order (Higham, Accuracy and
    Stability of Numerical Algorithms, section 3.1). Where the sum of moduli is zero, so is the error.

    Parameters
    ----------
    scale : array
        The sums of the moduli of the products.
    terms : float
        Number of products in a sum.
    """
    unit = 4 * (terms + 8) * EPSILON
    error: NDArray[Any] = np.where(scale > 0, unit / (1 - unit) * scale + LEAST, 0.0)
    return error


def from_tensor(value: Any) -> Any:
    """Return a PyTorch tensor on any device as an array, and any other object unchanged.

    Gradients are dropped. bfloat16 and half precision are converted to float32, which represents them exactly.
    """
    if not hasattr(value, "detach"):
        return value
    if hasattr(value, "materialize"):  # as PyTorch's lazy parameters have
        raise ValueError("the weights of a lazy module have no values before it has seen one input; call it first")
    if getattr(value, "is_meta", False):
        raise ValueError("a tensor on the device 'meta' holds no values; load the weights before they are read")
    tensor = value.detach().cpu()
    if str(tensor.dtype) in ("torch.float16", "torch.bfloat16"):
        tensor = tensor.float()
    return np.array(tensor.resolve_conj().numpy())


def array(name: str, values: Any) -> NDArray[Any]:
    """Return an array; nested lists that differ in length are refused, by a ValueError that calls them ``name``."""
    try:
        return np.asarray(from_tensor(values))
    except ValueError as error:
        if "inhomogeneous" not in str(error):
            raise
        raise ValueError(f"{name} is made of lists that differ in length; give each as many entries") from None


def numbers(name: str, values: Any) -> NDArray[Any]:
    """Return an array of numbers that SciPy's sparse arrays hold: booleans become int64, half precision float32."""
    found = array(name, values)
    if found.dtype.kind not in "biufc":
        raise TypeError(f"{name} must be numbers, but has dtype {found.dtype}; convert it, for instance to float")
    wider = {"?": np.int64, "e": np.float32}.get(found.dtype.char, found.dtype)
    return found.astype(wider, copy=False)


def refuse_masked(name: str, values: Any, remedy: str = "give them values, or leave them out") -> None:
    """Raise TypeError if an array has masked entries, whose hidden values would otherwise be used."""
    if np.ma.is_masked(values):
        count = int(np.ma.getmaskarray(values).sum())
        raise TypeError(f"{name} is a masked array, {count} of whose {np.size(values)} entries are masked; {remedy}")


def as_permutation(name: str, values: ArrayLike) -> NDArray[np.int64]:
    """Return an index array that holds each of ``0 .. n - 1`` once, or raise a ValueError that calls it ``name``.

    Examples
    --------
    >>> as_permutation("action", [2, 0, 1])
    array([2, 0, 1])
    """
    order = array(name, values)
    if order.ndim != 1 or order.dtype.kind not in "iu" or not np.array_equal(np.sort(order), np.arange(len(order))):
        raise ValueError(
            f"{name} is not a permutation; give an index array that holds each of 0 .. {order.size - 1} once"
        )
    return order.astype(np.int64)


def real_coefficients(values: ArrayLike, n_entries: int) -> NDArray[Any]:
    """Return one finite real number per triplet of a pattern, as int64 or in floating point.

    Examples
    --------
    >>> real_coefficients([2, -1], 2)
    array([ 2, -1])
    """
    factors = array("coefficients", values)
    if factors.dtype.kind not in "iuf" and factors.size:
        raise TypeError(f"coefficients must be real numbers, but have dtype {factors.dtype}")
    if factors.shape != (n_entries,):
        raise ValueError(f"coefficients have shape {factors.shape}, but there are {n_entries} triplets; give one each")
    if factors.dtype.kind == "f" and factors.size:
        if not np.isfinite(factors).all():
            raise ValueError(f"coefficients must be finite, but {int((~np.isfinite(factors)).sum())} are not")
        return factors
    if factors.dtype.kind == "u" and factors.size and factors.max() > np.iinfo(np.int64).max:
        raise ValueError(f"coefficients run to {factors.max()}, but must fit into int64")
    return factors.astype(np.int64, copy=False)
