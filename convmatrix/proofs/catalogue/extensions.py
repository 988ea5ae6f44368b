"""Theorems about what an axis reads beyond its ends: the extended input, its adjoint, tiles, and very short axes."""

from __future__ import annotations

import functools
import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy

from convmatrix import symbolic
from convmatrix.boundary import NOTHING, PLAIN, Axis, Boundary, read_sample
from convmatrix.geometry import ConvGeometry
from convmatrix.proofs.catalogue.borders import FOLDED
from convmatrix.proofs.catalogue.symbol_matrices import Checks, with_weights
from convmatrix.proofs.statements import Algebra, Condition, Integer, Lemma, Numbers, checked_theorem, lemma

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


_PADDED = {"m": 3, "n": 5, "k": 3, "s": 2, "d": 1, "low": 1, "high": 1, "i": 0, "t": 0}


@lemma(
    "windows",
    "the valid layer reads the extended input at the position, which is inside",
    r"r_V(i, t) = i s + t d,\quad 0 \le r_V(i, t) < n + p_l + p_h",
    _PADDED,
)
def _window_lemma(a: Algebra) -> Condition:
    m, n, k, s, d, low, high, i, t = a.integers("m n k s d low high i t")
    a.assume(s >= 1, d >= 1, a.within(i, m), a.within(t, k), (m - 1) * s + d * (k - 1) + 1 <= n + low + high)
    valid = Axis(m, n + low + high, k, s, d)
    read = a.sample(valid, i, t)
    return a.both(a.within(read, n + low + high), a.equal(read, a.position(valid, i, t)))


@lemma(
    "outputs",
    "the valid layer on the extended input has as many outputs as the padded layer",
    r"m(n, p_l, p_h) = m(n + p_l + p_h, 0, 0)",
    {"n": 5, "k": 3, "s": 2, "d": 1, "low": 1, "high": 1},
)
def _extended_outputs_lemma(a: Algebra) -> Condition:
    n, k, s, d, low, high = a.integers("n k s d low high")
    a.assume(s >= 1)
    span = d * (k - 1) + 1
    return a.equal(a.forward_outputs(n, span, s, low, high), a.forward_outputs(n + low + high, span, s, 0, 0))


def _extended_lemma(boundary: Boundary) -> Lemma:
    @lemma(
        f"{boundary} boundary",
        "what the extension reads at the place that the valid layer reads is what the padded layer reads",
        r"r(i s + t d - p_l) = r(i, t)",
        _PADDED,
    )
    def build(a: Algebra) -> Condition:
        m, n, k, s, d, low, high, i, t = a.integers("m n k s d low high i t")
        a.assume(n >= 1, a.within(t, k))
        valid, padded = Axis(m, n + low + high, k, s, d), Axis(m, n, k, s, d, low, boundary)
        return a.equal(a.read_sample(a.position(valid, i, t) - low, n, boundary), a.sample(padded, i, t))

    return build


_AT: dict[Boundary, tuple[str, str]] = {
    "zero": ("x = j", r"x = j"),
    "circular": ("n divides x - j", r"n \mid x - j"),
    "reflect": (
        "2 n - 2 divides x - j or x + j (1 in place of 0 for one sample)",
        r"2n - 2 \mid x - j \text{ or } 2n - 2 \mid x + j",
    ),
    "symmetric": ("2 n divides x - j or x + j + 1", r"2n \mid x - j \text{ or } 2n \mid x + j + 1"),
    "replicate": (
        "x = j, or x < 0 and j = 0, or x >= n and j = n - 1",
        r"x = j \text{ or } x < 0 = j \text{ or } x \ge n = j + 1",
    ),
}


def _places_lemma(boundary: Boundary) -> Lemma:
    @lemma(
        f"{boundary} boundary",
        f"position x reads sample j exactly if {_AT[boundary][0]}",
        rf"r(x) = j \iff {_AT[boundary][1]}",
        {"n": 4, "j": 1, "position": 1},
    )
    def build(a: Algebra) -> Condition:
        n, j, position = a.integers("n j position")
        a.assume(a.within(j, n))
        at = _places(a, boundary, n, j, position)
        return a.equivalent(a.equal(a.read_sample(position, n, boundary), j), at)

    return build


def _places(a: Algebra, boundary: Boundary, n: Integer, j: Integer, x: Integer) -> Condition:
    if boundary == "zero":
        return a.equal(x, j)
    if boundary == "circular":
        return a.equal((x - j) % n, 0)
    if boundary == "replicate":
        low, high = a.both(a.equal(j, 0), x < 0), a.both(a.equal(j, n - 1), x >= n)
        return a.either(a.equal(x, j), low, high)
    if boundary == "symmetric":
        return a.either(a.equal((x - j) % (2 * n), 0), a.equal((x + j + 1) % (2 * n), 0))
    period = a.select(n > 1, 2 * n - 2, 1)
    return a.either(a.equal((x - j) % period, 0), a.equal((x + j) % period, 0))


@lemma(
    "cut window",
    "with the zero boundary, a tile on the samples from u on reads what the whole reads, or nothing as it does, if "
    "the window holds each sample that is read",
    r"r_u(i, t) = r(f + i, t) - u \ \text{ or } \ r_u(i, t) = r(f + i, t) = \varnothing",
    {"m": 6, "n": 6, "q": 2, "width": 4, "k": 3, "s": 1, "d": 1, "p": 1, "first": 2, "start": 1, "i": 1, "t": 0},
)
def _zero_tile_lemma(a: Algebra) -> Condition:
    m, n, q, width, k, s, d, p, first, start, i, t = a.integers("m n q width k s d p first start i t")
    a.assume(start >= 0, start + width <= n, a.within(t, k))
    whole, tile = Axis(m, n, k, s, d, p), Axis(q, width, k, s, d, p + start - first * s)
    x = a.position(whole, first + i, t)
    a.assume(a.either(x < 0, x >= n, a.within(x - start, width)))
    read = a.sample(whole, first + i, t)
    return a.equal(a.sample(tile, i, t), a.select(read < 0, read, read - start))


@lemma(
    "window",
    "output i of the tile reads the place of the window, which begins at position f s - p, whose position output f + "
    "i of the whole has",
    r"r_V(i, t) = i s + t d,\quad 0 \le i s + t d \le (q - 1) s + d (k - 1),\quad f s - p + (i s + t d) = x(f + i, t)",
    {"m": 5, "n": 6, "q": 2, "k": 3, "s": 1, "d": 1, "p": 1, "first": 2, "i": 1, "t": 0},
)
def _window_tile_lemma(a: Algebra) -> Condition:
    m, n, q, k, s, d, p, first, i, t = a.integers("m n q k s d p first i t")
    width = (q - 1) * s + d * (k - 1) + 1
    a.assume(s >= 1, d >= 1, a.within(i, q), a.within(t, k))
    whole, tile = Axis(m, n, k, s, d, p), Axis(q, width, k, s, d)
    place, read = a.position(tile, i, t), a.sample(tile, i, t)
    return a.both(
        a.equal(read, place),
        a.within(place, width),
        a.equal(a.position(whole, first, 0) + place, a.position(whole, first + i, t)),
    )


def _end_tile_lemma(boundary: Boundary, high: bool) -> Lemma:
    @lemma(
        f"{boundary}, {'high' if high else 'low'} end",
        f"a position at the {'high' if high else 'low'} end reads the same on the window as on the input",
        r"r_w(x) + n - w = r_n(x + n - w)" if high else r"r_w(x) = r_n(x)",
        {"n": 6, "width": 4, "x": 5 if high else -2},
    )
    def build(a: Algebra) -> Condition:
        n, width, x = a.integers("n width x")
        a.assume(width >= 1, width <= n)
        start = n - width if high else 0
        place = width - 1 - x if high else x
        a.assume(place < width, *((place > -width,) if boundary == "reflect" else ()))
        a.assume(*((place >= -width,) if boundary == "symmetric" else ()))
        for position, size in ((x, width), (x + start, n)) if boundary != "replicate" else ():
            period = 2 * size if boundary == "symmetric" else a.select(size > 1, 2 * size - 2, 1)
            phase = position
            if not high:
                phase = a.select(position < 0, position + period, position)
            elif boundary == "reflect":
                phase = a.select(position < period, position, position - period)
            a.show(a.equal(position % period, phase))
        return a.equal(a.read_sample(x, width, boundary) + start, a.read_sample(x + start, n, boundary))

    return build


@lemma(
    "window and halo",
    "the window of q outputs has (q - 1) s + d (k - 1) + 1 positions, of which d (k - 1) + 1 - s belong to the next "
    "window too",
    r"x(f + q - 1, k - 1) + 1 = x(f, 0) + (q - 1) s + d (k - 1) + 1 = x(f + q, 0) + d (k - 1) + 1 - s",
    {"m": 6, "n": 6, "k": 3, "s": 1, "d": 1, "p": 1, "q": 2, "first": 2},
)
def _halo_lemma(a: Algebra) -> Condition:
    m, n, k, s, d, p, q, first = a.integers("m n k s d p q first")
    axis = Axis(m, n, k, s, d, p)
    last = a.position(axis, first + q - 1, k - 1)
    return a.both(
        a.equal(last + 1 - a.position(axis, first, 0), (q - 1) * s + d * (k - 1) + 1),
        a.equal(last + 1 - a.position(axis, first + q, 0), d * (k - 1) + 1 - s),
    )


@lemma(
    "kernels",
    "a tile that starts at a multiple of the number of kernels uses the weights of the whole",
    r"\omega(\tau c + i, t) = \omega(i, t)",
    {"tile": 2, "k": 3, "c": 1, "i": 1, "t": 1},
)
def _tile_weight_lemma(a: Algebra) -> Condition:
    tile, k, c, i, t = a.integers("tile k c i t")
    a.assume(tile >= 1, i >= 0, a.within(t, k))
    axis, single = Axis(1, 1, k, tile=tile), Axis(1, 1, 1, tile=tile)
    a.show(a.equal(a.weight(single, tile * c + i, 0), a.weight(single, i, 0)))
    return a.equal(a.weight(axis, tile * c + i, t), a.weight(axis, i, t))


def _one_sample_lemma(boundary: Boundary) -> Lemma:
    @lemma(
        f"{boundary}, one sample",
        "the only sample is read at every position",
        r"n = 1 \implies r(x) = 0",
        {"position": -3},
    )
    def build(a: Algebra) -> Condition:
        (position,) = a.integers("position")
        return a.equal(a.read_sample(position, 1, boundary), 0)

    return build


@lemma(
    "two samples",
    "reflect on two samples reads what circular reads",
    r"n = 2 \implies r_{\text{reflect}}(x) = r_{\text{circular}}(x)",
    {"position": -3},
)
def _two_samples_lemma(a: Algebra) -> Condition:
    (position,) = a.integers("position")
    return a.equal(a.read_sample(position, 2, "reflect"), a.read_sample(position, 2, "circular"))


# --- on explicit matrices of symbols ---


def _extension(n: int, low: int, high: int, boundary: Boundary) -> Any:
    """Return the 0/1 matrix that extends an axis of n samples, or crops it where a number is negative."""
    read = [read_sample(place - low, n, boundary) for place in range(low + n + high)]
    ones = {(place, sample): 1 for place, sample in enumerate(read) if sample != NOTHING}
    return sympy.SparseMatrix(len(read), n, ones)


def _product(channels: int, matrices: Iterable[Any]) -> Any:
    """Return the matrix that applies one matrix to each axis, in every channel."""
    return functools.reduce(sympy.kronecker_product, matrices, sympy.eye(channels))


def _valid(layer: ConvGeometry) -> ConvGeometry:
    """Return the layer without padding on the extended input."""
    sizes = tuple(low + n + high for n, (low, high) in zip(layer.input_shape, layer.padding, strict=True))
    zero: tuple[Boundary, ...] = ("zero",)
    return replace(layer, input_shape=sizes, padding=((0, 0),) * len(sizes), boundary=zero * len(sizes))


def _padded_layers() -> Iterator[ConvGeometry]:
    for boundary in PLAIN:
        yield ConvGeometry(4, 3, padding=[(2, 1)], boundary=boundary)
        yield ConvGeometry(2, 4, padding=[(5, 6)], stride=2, boundary=boundary)  # beyond one period
        yield ConvGeometry(1, 3, padding=1, boundary=boundary)
    mixed = ("reflect", "circular")
    yield ConvGeometry((3, 2), (2, 3), padding=(1, 2), boundary=mixed, in_channels=2, out_channels=2, stride=(1, 2))
    yield ConvGeometry((2, 3), (2, 2), padding=1, boundary=("symmetric", "replicate"), dilation=(1, 2), sharing=(1, 2))


@checked_theorem(
    "padding-factorisation",
    "A padded layer is the valid layer after its input has been extended by a plain boundary: A = V E, where E is "
    "a fixed 0/1 matrix.",
    r"Let $E$ be the matrix that extends $n$ samples by $p_l$ at the low and $p_h$ at the high end: row $y$ of "
    r"$E$ reads $r(y - p_l)$, and is zero where that is nothing. For every plain boundary, stride, dilation and "
    r"kernel, $A = V E$ with $V$ the matrix of the same layer on $n + p_l + p_h$ samples without padding.",
    "n >= 1, s >= 1, d >= 1; paddings such that the window of each output ends inside the extended input.",
    r"By the first lemma, tap $t$ of output $i$ of the valid layer reads the place $i s + t d$ of the extended "
    r"input; by the second there are as many outputs. By the others, one for each boundary, what $E$ reads there "
    r"is what the padded layer reads. On more axes $E$ is the product of the extensions of the axes.",
    (_window_lemma, _extended_outputs_lemma, *map(_extended_lemma, PLAIN)),
)
def _padding_factorisation_theorem() -> Checks:
    for layer in _padded_layers():
        axes = zip(layer.input_shape, layer.padding, layer.boundary, strict=True)
        extension = _product(layer.in_channels, (_extension(n, *padding, boundary) for n, padding, boundary in axes))
        same = symbolic.matrix(_valid(layer)) * extension == symbolic.matrix(layer)
        yield f"{layer!r}: the valid layer after the extension", same


@checked_theorem(
    "boundary-adjoint",
    "The adjoint of a padded layer is the adjoint of the valid one, whose result at each place of the extended input "
    "is then added to the sample that is read there; the places of a sample are listed for each plain boundary.",
    r"$A^T = E^T V^T$, where $V$ is the layer without padding and $E$ the extension. Row $j$ of $E^T$ has a 1 at "
    r"each position $x$ with, for the boundary \texttt{zero}: $x = j$; \texttt{circular}: $x \equiv j \pmod n$; "
    r"\texttt{reflect}: $x \equiv \pm j \pmod{2n - 2}$; \texttt{symmetric}: $x \equiv j$ or $x \equiv -1 - j "
    r"\pmod{2n}$; \texttt{replicate}: $x = j$, or $x < 0$ for $j = 0$, or $x \ge n$ for $j = n - 1$.",
    "n >= 1, 0 <= j < n; x any position; for reflect on one sample every position.",
    r"$A = V E$ is theorem \texttt{padding-factorisation}, and $(V E)^T = E^T V^T$. $E$ has a 1 at $(x, j)$ just "
    r"where position $x$ reads sample $j$: the lemmas, one for each boundary, list these positions. $V^T$ is the "
    r"full convolution with the flipped kernel, by theorem \texttt{adjoint}.",
    tuple(map(_places_lemma, _AT)),
)
def _boundary_adjoint_theorem() -> Checks:
    for layer in _padded_layers():
        gathers = []
        for n, (low, high), boundary in zip(layer.input_shape, layer.padding, layer.boundary, strict=True):
            pairs = itertools.product(range(n), range(-low, n + high))
            ones = {(j, x + low): 1 for j, x in pairs if _places(Numbers({}), boundary, n, j, x)}
            gathers.append(sympy.SparseMatrix(n, low + n + high, ones))
        same = _product(layer.in_channels, gathers) * symbolic.matrix(_valid(layer)).T == symbolic.matrix(layer).T
        yield f"{layer!r}: the transpose gathers the extension", same


@checked_theorem(
    "tiles",
    "A tile of q outputs is computed from a window of (q - 1) s + d (k - 1) + 1 samples, by the valid layer, and "
    "equals those rows of the whole; neighbouring windows share a halo of d (k - 1) + 1 - s samples. Beyond the "
    "input the window is extended by the boundary, a plain one.",
    r"The outputs $f, \dots, f + q - 1$ of a layer are those of the valid layer on its window: the $(q - 1) s + d "
    r"(k - 1) + 1$ samples from position $f s - p$ on, extended by the boundary where they lie beyond the input. "
    r"The windows of neighbouring tiles share $d (k - 1) + 1 - s$ positions. With the zero boundary a window that "
    r"is cut off at the ends of the input serves as well, with the rest as padding; a tile at an end may use the "
    r"boundaries reflect, symmetric and replicate there itself. In a tiled layer $f$ is to be a multiple of the "
    r"number of kernels.",
    "n >= 1, s >= 1, d >= 1; the first output is a multiple of the number of kernels. For a tile that reads "
    "beyond an end of its own window of w samples, 1 <= w <= n: at most w - 1 samples for reflect, w for "
    "symmetric, any number for zero and replicate.",
    r"The extended window holds at each place what the boundary reads at its position; by the first lemma output "
    r"$i$ of the tile reads the place with the position of output $f + i$ of the whole, so it reads the same "
    r"sample. The second says the same for a window of any samples that holds those inside the input, with the "
    r"zero boundary. The lemmas on ends compare what a position reads on the window and on the input. The last "
    r"lemmas give the sizes of window and halo, and the kernels of a tiled layer.",
    (
        _window_tile_lemma,
        _zero_tile_lemma,
        *(_end_tile_lemma(boundary, high) for boundary in FOLDED for high in (False, True)),
        _halo_lemma,
        _tile_weight_lemma,
    ),
)
def _tiles_theorem() -> Checks:
    for layer in (
        *(ConvGeometry(7, 3, padding=2, boundary=boundary) for boundary in PLAIN),
        ConvGeometry(9, 3, stride=2, dilation=2, padding=[(3, 1)]),
        ConvGeometry(8, 2, padding=[(1, 0)], sharing=2),
        ConvGeometry((5, 4), (3, 2), stride=(2, 1), padding=1, boundary=("symmetric", "circular"), in_channels=2),
    ):
        A, m = symbolic.matrix(layer), layer.output_shape[0]
        outputs = np.arange(layer.n_out).reshape(layer.output_shape)
        for first, stop in ((0, m), (0, 2), (2, min(4, m)), (m - m % 2 - 2, m)):
            rows = A.extract(outputs[first:stop].ravel().tolist(), list(range(layer.n_in)))
            low = layer.padding[0][0] - first * layer.stride[0]
            axis = layer.axes[0]
            high = axis.reach(stop) - axis.pad_low - axis.n_samples
            first_axis = _extension(layer.input_shape[0], low, high, layer.boundary[0])
            window = _product(layer.in_channels, [first_axis, *map(sympy.eye, layer.input_shape[1:])])
            shape = (low + layer.input_shape[0] + high, *layer.input_shape[1:])
            rest: tuple[Boundary, ...] = ("zero", *layer.boundary[1:])
            own = symbolic.matrix(
                replace(layer, input_shape=shape, padding=((0, 0), *layer.padding[1:]), boundary=rest)
            )
            yield f"{layer!r}: outputs {first} to {stop - 1} from their window", own * window == rows
    for boundary, p in itertools.product(("zero", *FOLDED), (1, 2)):
        A = symbolic.matrix(ConvGeometry(6, 3, padding=p, boundary=boundary))
        low = symbolic.matrix(ConvGeometry(4, 3, padding=[(p, 0)], boundary=boundary))
        high = symbolic.matrix(ConvGeometry(4, 3, padding=[(0, p)], boundary=boundary))
        zeros = sympy.zeros(low.rows, 2)
        same = A[: low.rows, :] == low.row_join(zeros) and A[A.rows - high.rows :, :] == zeros.row_join(high)
        yield f"{boundary}, p = {p}: tiles at either end", same


@checked_theorem(
    "short-axes",
    "On one sample the boundaries circular, reflect, symmetric and replicate read that sample at every position; "
    "on two samples reflect is circular.",
    r"For $n = 1$ every position reads sample 0 with each of these; so a layer multiplies the sample by "
    r"the sum of its weights. For $n = 2$ the boundaries reflect and circular read the same, $x \bmod 2$.",
    "n = 1 or n = 2; any position.",
    r"The lemmas say what is read. Layers that read the same at every tap have the same matrix.",
    (*(_one_sample_lemma(boundary) for boundary in PLAIN[1:]), _two_samples_lemma),
)
def _short_axes_theorem() -> Checks:
    for k, p in itertools.product((1, 2, 4), (0, 1, 5)):
        A = symbolic.matrix(ConvGeometry(1, k, padding=[(p, k - 1)], boundary="reflect"))
        everything = sum(symbolic.weights(k), sympy.Integer(0))
        one = all(entry == everything for entry in A)
        reflect, circular = (
            symbolic.matrix(ConvGeometry(2, k, padding=[(p, k - 1)], boundary=boundary))
            for boundary in ("reflect", "circular")
        )
        two = reflect == circular
        yield f"k = {k}, p = {p}: one sample, two samples", one and two
    for boundary in PLAIN[1:]:
        layer = ConvGeometry((1, 2), (3, 2), padding=[(2, 1), (1, 1)], boundary=boundary, in_channels=2)
        row = ConvGeometry(2, 2, padding=1, boundary=boundary, in_channels=2)
        sums = np.array(symbolic.weights(12)).reshape(2, 3, 2).sum(axis=1).ravel().tolist()
        one_row = with_weights(symbolic.matrix(row), sums)
        rows = sympy.Matrix.vstack(*[one_row] * layer.output_shape[0])
        yield f"{boundary}: one sample on the first of two axes", symbolic.matrix(layer) == rows
