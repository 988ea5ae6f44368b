r"""Chains and sums of linear nodes as one linear map: mixtures of channels, kernels or matrices, with rounding errors.

A form is a matrix M as it is stored, with a bound on :math:`\|M - A\|` for the exact map A and a bound on
:math:`\| |M| \|`. A product of stored forms has an error of at most

.. math:: \gamma_n \, m_1 m_2 + e_1 (m_2 + e_2) + m_1 e_2

with these bounds e and m of its factors, and n terms per entry.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from scipy import sparse

from convmatrix.arrays import EPSILON
from convmatrix.geometry import ConvGeometry
from convmatrix.matrices import conv_matrix
from convmatrix.memory import estimate
from convmatrix.spectral.axis_transforms import most_reads
from convmatrix.spectral.directed_rounding import root_of_squares, scaled, shifted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convmatrix.arrays import Array
    from convmatrix.boundary import Axis

Shape = tuple[int, ...]

MOST_ENTRIES: Final = 3 * 10**6
"""Maximum number of entries of a matrix that is built to bound a norm."""

_MOST_WORK: Final = 2e9  # multiplications for one kernel made of two
_PLAIN: Final = (2.0**-200, 2.0**200)  # magnitudes whose products neither over- nor underflow
_LOST: Final = 1e-300  # bounds the norm of all that underflows where the largest entry does not


@dataclass(frozen=True, eq=False)
class Form:
    """A linear map between samples as it is stored, with bounds on its rounding error.

    Its kind is that of its value: ``"channels"``, a matrix (C_out, C_in) or a diagonal (C,) that is applied at every
    position; ``"kernel"``, the weights of a convolution with a geometry; or ``"matrix"``, a sparse matrix. The 2-norm
    of the difference from the exact map is at most ``error``. Value and error are multiplied by ``2**exponent``, so
    that products do not over- or underflow.
    """

    kind: Literal["channels", "kernel", "matrix"]
    value: Any
    input_shape: Shape
    output_shape: Shape
    geometry: ConvGeometry | None = None
    error: float = 0.0
    exponent: int = 0

    @property
    def diagonal(self) -> bool:
        """Whether channels are not mixed."""
        return self.kind == "channels" and self.value.ndim == 1

    @property
    def moduli(self) -> float:
        """An upper bound on the norm of the matrix of moduli: the root of the largest sums of a row and of a column."""
        if self.diagonal:
            return float(np.abs(self.value).max(initial=0.0))
        factor, sums = 1.0, abs(self.value)
        if self.geometry is not None:
            sums = np.abs(_grouped(self.geometry, self.value)).sum(axis=tuple(range(3, self.value.ndim + 1)))
            factor = math.prod(single for _, single in map(most_reads, self.geometry.axes))
        rows, columns = sums.sum(axis=-1).max(initial=0.0), sums.sum(axis=-2).max(initial=0.0)
        return math.sqrt(float(rows)) * math.sqrt(float(columns)) * math.sqrt(factor) * (1 + 1e-9)

    def normalised(self) -> Form:
        """Return the same map with a largest entry that is neither huge nor tiny."""
        entries = self.value.data if self.kind == "matrix" else self.value
        if _PLAIN[0] <= float(np.abs(entries).max(initial=0.0)) <= _PLAIN[1]:
            return self
        value, shift = scaled(self.value)
        if not shift:
            return self
        try:
            error = math.ldexp(self.error, -shift) + _LOST
        except OverflowError:
            error = math.inf
        return replace(self, value=value, error=error, exponent=self.exponent + shift)

    def at(self, exponent: int) -> Form:
        """Return the same map with an exponent that is not smaller."""
        shift = self.exponent - exponent
        if not shift:
            return self
        if not (self.error or self.moduli):  # zero
            return replace(self, exponent=exponent)
        return replace(
            self, value=shifted(self.value, shift), error=math.ldexp(self.error, shift) + _LOST, exponent=exponent
        )

    def matrix(self) -> Form | None:
        """Return the same map as a sparse matrix, or None if it would be too large."""
        if self.kind == "matrix":
            return self
        n_in, n_out = math.prod(self.input_shape), math.prod(self.output_shape)
        if self.geometry is not None:
            if estimate(self.geometry).nonzeros > MOST_ENTRIES:
                return None
            stored: Any = conv_matrix(self.value, self.geometry)
        else:
            points = n_in // self.input_shape[0]
            if points * self.value.size > MOST_ENTRIES:
                return None
            small = sparse.diags_array(self.value) if self.diagonal else sparse.csr_array(self.value)
            stored = sparse.kron(small, sparse.eye_array(points), format="csr")
        # Where taps meet on a sample, weights are added.
        taps = 1 if self.geometry is None else math.prod(self.geometry.kernel_shape)
        error = self.error + (taps - 1) * EPSILON * self.moduli
        return Form(
            "matrix",
            sparse.csr_array(stored.reshape(n_out, n_in)),
            self.input_shape,
            self.output_shape,
            error=error,
            exponent=self.exponent,
        )


def identity(shape: Shape) -> Form:
    """Return the identity of a sample."""
    return Form("channels", np.ones(shape[0] if shape else 1), shape or (1,), shape or (1,))


def kernel_form(weight: Array, geometry: ConvGeometry) -> Form | None:
    """Return a convolution as a kernel, or as channels if it has one tap; None if positions do not share a kernel."""
    g, weight = geometry, weight.astype(np.float64)
    if g.sharing != "shared" or g.connections is not None:
        return None
    shapes = g.full_input_shape, g.full_output_shape
    if g.groups == 1 and math.prod(g.kernel_shape) == 1 and all(_is_plain(axis) for axis in g.axes):
        return Form("channels", _grouped(g, weight).reshape(g.out_channels, g.in_channels), *shapes)
    return Form("kernel", weight, *shapes, geometry=g)


def _is_plain(axis: Axis) -> bool:
    """Return whether every output of an axis with one tap reads the sample at its own place."""
    return bool(axis.stride == 1 and axis.pad_low == 0 and axis.n_outputs == axis.n_samples)


def _grouped(geometry: ConvGeometry, weight: Array) -> Array:
    """Return weights as (groups, outputs, inputs, *taps), by the channels of the layer."""
    by_group = weight.reshape(geometry.groups, -1, *weight.shape[1:])
    return by_group.swapaxes(1, 2) if geometry.transposed else by_group


def _ungrouped(geometry: ConvGeometry, grouped: Array) -> Array:
    by_group = grouped.swapaxes(1, 2) if geometry.transposed else grouped
    return np.ascontiguousarray(by_group).reshape(-1, *by_group.shape[2:])


def _with_channels(geometry: ConvGeometry, outputs: int, inputs: int) -> ConvGeometry:
    options: Any = {**geometry.options(), "out_channels": outputs, "in_channels": inputs}
    return ConvGeometry(geometry.input_shape, geometry.kernel_shape, **options)


# --- products --------------------------------------------------------------------------------------------------------


def product(after: Form, before: Form) -> Form | None:
    """Return one form of a product in the same kind, or None if there is none that is not a matrix."""
    after, before = after.normalised(), before.normalised()
    if after.kind == before.kind == "matrix":
        return _matrix_product(after, before)
    if after.kind == "matrix" or before.kind == "matrix" or after.input_shape != before.output_shape:
        return None
    shapes, terms = (before.input_shape, after.output_shape), float(after.input_shape[0])
    a, b = after.value, before.value
    if after.kind == before.kind == "channels":
        if after.diagonal:
            value = a[(slice(None), *(None,) * (b.ndim - 1))] * b
        else:
            value = a * b if before.diagonal else a @ b
        made = Form("channels", value, *shapes)
    elif after.kind == before.kind:  # two kernels
        return None
    else:
        kernel, channels = (before, a) if after.kind == "channels" else (after, b)
        geometry: Any = kernel.geometry
        value = _mixed(geometry, kernel.value, channels, outputs=after.kind == "channels")
        if value is None:
            return None
        geometry = _with_channels(geometry, after.output_shape[0], before.input_shape[0])
        made = Form("kernel", value, *shapes, geometry=geometry)
    return replace(made, error=_product_error(after, before, terms), exponent=after.exponent + before.exponent)


def _product_error(after: Form, before: Form, terms: float) -> float:
    m, n = after.moduli, before.moduli
    if not (m + after.error and n + before.error):  # one of them is zero
        return 0.0
    return ((terms + 4) * EPSILON * m * n + after.error * (n + before.error) + m * before.error) * (1 + 1e-9)


def _mixed(geometry: ConvGeometry, weight: Array, channels: Array, *, outputs: bool) -> Array | None:
    """Return the weights of a layer whose output or input channels are multiplied by a matrix or a diagonal."""
    grouped = _grouped(geometry, weight)  # (groups, outputs, inputs, *taps)
    if channels.ndim == 1:
        place = (slice(None), slice(None), None) if outputs else (slice(None), None, slice(None))
        factors = channels.reshape(geometry.groups, -1)[place]
        return _ungrouped(geometry, grouped * factors[(..., *(None,) * (grouped.ndim - 3))])
    if geometry.groups > 1 or float(weight.size) * max(channels.shape) > _MOST_WORK:
        return None
    if outputs:
        mixed = np.tensordot(channels, grouped[0], axes=(1, 0))
    else:
        mixed = np.moveaxis(np.tensordot(grouped[0], channels, axes=(1, 0)), -1, 1)
    return _ungrouped(geometry, mixed[None])


def _matrix_product(after: Form, before: Form) -> Form | None:
    a, b = after.value, before.value
    per_row = np.diff(b.indptr)
    if float(per_row[a.indices].sum()) > 4 * MOST_ENTRIES:
        return None
    value = sparse.csr_array(a @ b)
    if value.nnz > MOST_ENTRIES:
        return None
    terms = float(np.diff(a.indptr).max(initial=0))
    error, exponent = _product_error(after, before, terms), after.exponent + before.exponent
    return Form("matrix", value, before.input_shape, after.output_shape, error=error, exponent=exponent)


# --- sums and stacks -------------------------------------------------------------------------------------------------


def level(forms: Sequence[Form]) -> list[Form]:
    """Return maps with the same exponent, the largest of those that are not zero."""
    forms = [form.normalised() for form in forms]
    present = [form.exponent for form in forms if form.error or form.moduli]
    return [form.at(max(present, default=0)) for form in forms]


def total(forms: Sequence[Form]) -> Form | None:
    """Return one form of a sum of maps between the same samples, or None if there is none that is not a matrix."""
    first = forms[0]
    if any((form.input_shape, form.output_shape) != (first.input_shape, first.output_shape) for form in forms):
        return None
    forms = level(forms)
    error = sum(form.error + len(forms) * EPSILON * form.moduli for form in forms) * (1 + 1e-9)
    alike = _alike(forms)
    if alike is None:
        return None
    value = alike[0].value
    for form in alike[1:]:
        value = value + form.value
    return replace(alike[0], value=sparse.csr_array(value) if first.kind == "matrix" else value, error=error)


def stacked(forms: Sequence[Form], axis: int = 0) -> Form | None:
    """Return the map to the outputs of some maps one after the other along an axis of the sample, in one form."""
    forms = level(forms)
    first = forms[0]
    shape = list(first.output_shape)
    shape[axis] = sum(form.output_shape[axis] for form in forms)
    error, exponent = root_of_squares(form.error for form in forms), first.exponent
    if all(form.kind == "matrix" for form in forms):
        value = sparse.vstack([form.value for form in forms], format="csr")
        if value.nnz > MOST_ENTRIES:
            return None
        if axis:
            numbers = np.split(np.arange(value.shape[0]), np.cumsum([math.prod(f.output_shape) for f in forms])[:-1])
            places = np.concatenate([n.reshape(f.output_shape) for n, f in zip(numbers, forms, strict=True)], axis=axis)
            value = value[places.ravel()]
        value = sparse.csr_array(value)
        return Form("matrix", value, first.input_shape, tuple(shape), error=error, exponent=exponent)
    if axis or any(form.kind == "matrix" or form.output_shape[1:] != first.output_shape[1:] for form in forms):
        return None
    full = [replace(form, value=np.diag(form.value)) if form.diagonal else form for form in forms]
    alike = _alike(full)
    if alike is None or (alike[0].geometry is not None and alike[0].geometry.groups > 1):
        return None
    geometry = alike[0].geometry
    if geometry is None:
        value = np.concatenate([form.value for form in alike])
        return Form("channels", value, first.input_shape, tuple(shape), error=error, exponent=exponent)
    geometry = _with_channels(geometry, shape[0], first.input_shape[0])
    axis = 1 if geometry.transposed else 0
    value = np.concatenate([form.value for form in alike], axis=axis)
    return Form("kernel", value, first.input_shape, tuple(shape), geometry, error, exponent)


def zero(input_shape: Shape, output_shape: Shape) -> Form:
    """Return the zero map; as channels if the positions agree, and as a matrix otherwise."""
    if input_shape[1:] == output_shape[1:]:
        return Form("channels", np.zeros((output_shape[0], input_shape[0])), input_shape, output_shape)
    n_in, n_out = math.prod(input_shape), math.prod(output_shape)
    return Form("matrix", sparse.csr_array((n_out, n_in)), input_shape, output_shape)


def _alike(forms: Sequence[Form]) -> list[Form] | None:
    """Return maps in one kind: all channels, all kernels whose taps read the same samples, or all matrices."""
    kinds = {form.kind for form in forms}
    if kinds == {"channels"}:
        if len({form.value.ndim for form in forms}) > 1:
            return [replace(form, value=np.diag(form.value)) if form.diagonal else form for form in forms]
        return list(forms)
    if kinds == {"matrix"}:
        return list(forms)
    if "matrix" in kinds:
        return None
    largest = max((form for form in forms if form.geometry is not None), key=lambda form: _taps(form.geometry))
    embedded = [_embedded(form, largest.geometry) for form in forms]
    return None if any(form is None for form in embedded) else [form for form in embedded if form is not None]


def _taps(geometry: ConvGeometry | None) -> int:
    return 0 if geometry is None else math.prod(geometry.kernel_shape)


def _embedded(form: Form, geometry: ConvGeometry | None) -> Form | None:
    """Return a map as a kernel with the taps of a larger one, or None if some tap has no counterpart."""
    g: Any = geometry
    if form.geometry is None:
        if g.transposed or g.flip:
            return None
        axes = [(1, 0, 1, 1, axis.n_samples, "zero", axis.n_samples) for axis in g.axes]
        if form.diagonal and g.in_channels == g.out_channels:
            inner = g.in_channels // g.groups
            grouped = form.value.reshape(g.groups, inner)[:, :, None] * np.eye(inner)  # (groups, outputs, inputs)
        elif form.diagonal or g.groups > 1:
            return None
        else:
            grouped = form.value[None]
        grouped = grouped.reshape(*grouped.shape, *(1,) * len(axes))
    else:
        own = form.geometry
        if own == g or (own.transposed, g.transposed) != (False, False):
            return form if _with_channels(own, g.out_channels, g.in_channels) == g else None
        if own.flip or g.flip or own.groups != g.groups:
            return None
        axes = [(a.n_taps, a.pad_low, a.dilation, a.stride, a.n_samples, a.boundary, a.n_outputs) for a in own.axes]
        grouped = _grouped(own, form.value)
    widths = [(0, 0)] * 3
    for (taps, pad_low, dilation, stride, n_samples, boundary, n_outputs), axis in zip(axes, g.axes, strict=True):
        inside = pad_low <= 0 and (n_outputs - 1) * stride + (taps - 1) * dilation - pad_low < n_samples
        fits = (stride, n_samples, n_outputs) == (axis.stride, axis.n_samples, axis.n_outputs)
        if not fits or not (inside or boundary == axis.boundary) or not (taps == 1 or dilation == axis.dilation):
            return None
        first, rest = divmod(axis.pad_low - pad_low, axis.dilation)
        if rest or first < 0 or first + taps > axis.n_taps:
            return None
        widths.append((first, axis.n_taps - first - taps))
    value = np.pad(grouped, widths)
    geometry = _with_channels(g, form.output_shape[0], form.input_shape[0])
    return replace(form, kind="kernel", value=_ungrouped(geometry, value), geometry=geometry)
