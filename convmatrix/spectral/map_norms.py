"""Upper bounds on the norms of linear maps in any form: kernels, matrices of channels, sparse matrices."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix.arrays import EPSILON
from convmatrix.boundary import SIGNED
from convmatrix.matrices import conv_matrix
from convmatrix.spectral import map_forms
from convmatrix.spectral.blocks import WeightedLayer
from convmatrix.spectral.bounds import norm_bounds
from convmatrix.spectral.directed_rounding import added, root_of_squares, scaled, times, unscaled, up
from convmatrix.spectral.lanczos import largest_singular
from convmatrix.spectral.node_norms import dense_bounds
from convmatrix.spectral.norm_certificates import BandCertifier

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from convmatrix.arrays import Array
    from convmatrix.geometry import ConvGeometry
    from convmatrix.spectral.map_forms import Form

_MOST_DENSE: Final = 1024  # rows or columns of a matrix that is decomposed
_MOST_GRAM: Final = 3e7  # products added for A A^T
_MOST_BAND_WORK: Final = 1e10
_SHARES: Final = (1e-6, 1e-4, 1e-2)  # distances from the largest singular value found at which a proof is attempted


def upper_norm(weight: Array, geometry: ConvGeometry) -> float:
    """Return an upper bound on the norm of a layer: from its matrix if it is small, and otherwise of `norm_bounds`.

    Examples
    --------
    >>> import convmatrix as cm
    >>> upper_norm(np.array([1.0, -2.0, 1.0]).reshape(1, 1, 3), cm.ConvGeometry(3, 3, padding="same"))
    3.414213562...
    """
    weight, exponent = scaled(weight.astype(np.float64))
    if not weight.any():
        return 0.0
    if max(geometry.n_in, geometry.n_out) <= _MOST_DENSE:
        upper = matrix_norm(conv_matrix(weight, geometry))
        taps = math.prod(geometry.kernel_shape)
        if set(geometry.boundary) & set(SIGNED):  # coefficients may cancel in the matrix of moduli
            upper += 4 * taps * EPSILON * WeightedLayer(geometry, weight).schur_number
        elif set(geometry.boundary) != {"zero"}:  # taps that meet on a sample are added, with rounding
            upper += taps * EPSILON * moduli_norm(conv_matrix(np.abs(weight), geometry))
    else:
        upper = norm_bounds(weight, geometry)[1]
    return unscaled(up(upper), exponent)


def matrix_norm(matrix: Any) -> float:
    """Return an upper bound on the norm of a sparse matrix, tight if it is small or has a small bandwidth."""
    matrix, exponent = scaled(matrix)
    return unscaled(_matrix_norm(matrix), exponent)


def _matrix_norm(matrix: Any) -> float:
    """Return an upper bound on the norm of a sparse matrix whose largest entry is near 1."""
    rows, columns = (int(size) for size in matrix.shape)
    bound = moduli_norm(matrix)
    if bound == 0:
        return 0.0
    if not math.isfinite(bound):
        return math.inf
    small, large = min(rows, columns), max(rows, columns)
    if large <= _MOST_DENSE:
        value = float(np.linalg.norm(matrix.toarray(), 2))
        return min(bound, value * (1 + 64 * (rows + columns) * EPSILON))
    wide = matrix if rows <= columns else matrix.T.tocsr()
    per_column = np.bincount(wide.indices, minlength=large).astype(np.float64)
    if float((per_column**2).sum()) > _MOST_GRAM:
        return bound
    if small <= _MOST_DENSE:
        gram = (wide @ wide.T).toarray()
        terms = float(np.diff(wide.indptr).max(initial=0))
        error = (terms + 64 * small + 8) * EPSILON * bound**2
        return min(bound, math.sqrt(float(np.linalg.eigvalsh(gram)[-1]) + error) * (1 + 8 * EPSILON))
    certifier = BandCertifier(wide)
    if certifier.work > _MOST_BAND_WORK:
        return bound
    from scipy.sparse.linalg import aslinearoperator

    found = largest_singular(aslinearoperator(wide), tolerance=1e-7, products=400).value
    for share in _SHARES:
        proved = certifier.holds(found * (1 + share))
        if proved is not None:
            return min(bound, proved)
    return bound


def moduli_norm(matrix: Any) -> float:
    """Return an upper bound on the norm of the moduli of a sparse matrix: the root of the largest sums of two ways."""
    moduli = abs(matrix)
    rows, columns = float(moduli.sum(axis=1).max()), float(moduli.sum(axis=0).max())
    return math.sqrt(rows) * math.sqrt(columns) * (1 + 4 * float(sum(matrix.shape)) * EPSILON)


@dataclass(eq=False)
class LinearMap:
    """A chain or a sum of linear nodes, in the forms that exist, with a bound from the norms of its parts.

    It is made of the nodes in ``names``, and of the maps in ``made_of``, from which ``parts`` returns the bound from
    their norms and ``build`` the sparse matrix, or None if that would be too large. ``compact`` is the map as channels
    or as a kernel. It is ``folded`` if its norm is known not to exceed that of the parts: one kernel with factors. It
    is ``loose`` if it only bounds the map, because factors of entries are replaced by those of channels; then compact
    forms and matrices must not be mixed in a sum. ``segments``, for a chain that has no compact form as a whole, are
    the maps with compact forms that it is a product of.
    """

    names: tuple[str, ...]
    compact: Form | None
    parts: Callable[[], float]
    build: Callable[[], Form | None]
    folded: bool = False
    loose: bool = False
    segments: tuple[LinearMap, ...] = ()
    made_of: tuple[LinearMap, ...] = ()
    _of_parts: list[float] = field(default_factory=list, init=False)  # empty until it is computed
    _matrix: list[Form | None] = field(default_factory=list, init=False)

    @property
    def suffices(self) -> bool:
        """Whether the compact form, or those of all segments, give the best bound, and others would take time."""
        if self.segments:
            return all(segment.suffices for segment in self.segments)
        large = self.compact is not None and math.prod(self.compact.output_shape) > _MOST_DENSE
        return self.folded and not self.loose and large

    @property
    def of_parts(self) -> float:
        """The bound from the norms of the parts."""
        for linear in self._first("_of_parts"):
            linear._of_parts.append(linear.parts())
        return self._of_parts[0]

    @property
    def matrix(self) -> Form | None:
        """The map as a sparse matrix, if it is not too large."""
        for linear in self._first("_matrix"):
            linear._matrix.append(linear._own_matrix or linear.build())
        return self._matrix[0]

    @cached_property
    def _own_matrix(self) -> Form | None:
        return None if self.compact is None or self.loose else self.compact.matrix()

    def _first(self, known: str) -> Iterator[LinearMap]:
        """Yield the maps that lack a value, those that others read first: a recursion could be too deep."""
        waiting = [self]
        while waiting:
            linear = waiting[-1]
            if not getattr(linear, known):
                reads = () if known == "_matrix" and linear._own_matrix is not None else linear.made_of
                missing = [part for part in reads if not getattr(part, known)]
                if missing:
                    waiting += missing
                    continue
                yield linear
            waiting.pop()


@dataclass(eq=False)
class Norms:
    """Bounds on the norms of maps, each computed once."""

    _kernels: dict[Any, float] = field(default_factory=dict)
    _maps: dict[int, tuple[LinearMap, float, str]] = field(default_factory=dict)

    def of_kernel(self, weight: Array, geometry: ConvGeometry) -> float:
        """Return an upper bound on the norm of a layer; equal layers are computed once."""
        key = (geometry, hashlib.sha256(np.ascontiguousarray(weight).tobytes()).digest())
        if key not in self._kernels:
            self._kernels[key] = upper_norm(weight, geometry)
        return self._kernels[key]

    def of_form(self, form: Form) -> float:
        """Return an upper bound on the norm of the exact map that a form stands for."""
        form = form.normalised()
        if form.kind == "matrix":
            value = matrix_norm(form.value)
        elif form.geometry is not None:
            value = self.of_kernel(form.value, form.geometry)
        elif form.diagonal:
            value = float(np.abs(form.value).max(initial=0.0))
        else:
            _, value = dense_bounds(form.value)
        return unscaled(up(value + form.error), form.exponent)

    def of(self, linear: LinearMap) -> tuple[float, str]:
        """Return the smallest upper bound on the norm of a map, and how it was found."""
        if id(linear) not in self._maps:
            self._maps[id(linear)] = linear, *self._bounded(linear)
        return self._maps[id(linear)][1:]

    def _bounded(self, linear: LinearMap) -> tuple[float, str]:
        found = []
        if linear.compact is not None:
            kind = "kernel" if linear.compact.kind == "kernel" else "matrix of channels"
            found.append((self.of_form(linear.compact), f"one {kind}" if len(linear.names) > 1 else "norm"))
        if (linear.compact is None or linear.loose) and (form := linear.matrix) is not None:
            rows, columns = form.value.shape
            found.append((self.of_form(form), f"one matrix of {rows} x {columns}" if len(linear.names) > 1 else "norm"))
        if linear.segments:
            found.append((reduce(times, (self.of(segment)[0] for segment in linear.segments)), "product of norms"))
        if not linear.suffices:
            found.append((linear.of_parts, "product of norms"))
        least = min(value for value, _ in found)
        return least, next(how for value, how in found if value == least or value <= least * (1 + 1e-9))


# --- products, sums and stacks ---------------------------------------------------------------------------------------


def chain(after: LinearMap, before: LinearMap) -> LinearMap:
    """Return the map that applies two maps one after the other."""
    compact = None
    if after.compact is not None and before.compact is not None:
        compact = map_forms.product(after.compact, before.compact)

    def build() -> Form | None:
        first, second = after.matrix, before.matrix
        return None if first is None or second is None else map_forms.product(first, second)

    folded = compact is not None and (
        (after.folded and before.compact is not None and before.compact.diagonal)
        or (before.folded and after.compact is not None and after.compact.diagonal)
    )
    segments: tuple[LinearMap, ...] = ()
    if compact is None:
        *others, last = before.segments or (before,)
        joint = chain(after, last) if others else None
        segments = (*others, joint) if joint is not None and joint.compact is not None else (*others, last, after)
    return LinearMap(
        (*before.names, *after.names),
        compact,
        lambda: times(after.of_parts, before.of_parts),
        build,
        folded,
        after.loose or before.loose,
        segments=segments,
        made_of=(after, before),
    )


def summed(maps: Sequence[LinearMap]) -> LinearMap:
    """Return the sum of maps between the same samples."""
    return _combined(maps, map_forms.total, added)


def side_by_side(maps: Sequence[LinearMap], axis: int = 0) -> LinearMap:
    """Return the map to the outputs of several maps, one after the other along an axis of the sample."""
    return _combined(maps, lambda forms: map_forms.stacked(forms, axis), root_of_squares)


def _combined(
    maps: Sequence[LinearMap],
    combine: Callable[[Sequence[Form]], Form | None],
    bound: Callable[[Iterable[float]], float],
) -> LinearMap:
    """Return the map whose forms ``combine`` makes from those of several maps, with a bound from their bounds."""
    if len(maps) == 1:
        return maps[0]
    compact = [linear.compact for linear in maps if linear.compact is not None]

    def build() -> Form | None:
        forms = [linear.matrix for linear in maps]
        whole = [form for form in forms if form is not None]
        return combine(whole) if len(whole) == len(forms) else None

    return LinearMap(
        tuple(dict.fromkeys(name for linear in maps for name in linear.names)),
        combine(compact) if len(compact) == len(maps) else None,
        lambda: bound(linear.of_parts for linear in maps),
        build,
        loose=any(linear.loose for linear in maps),
        made_of=tuple(maps),
    )
