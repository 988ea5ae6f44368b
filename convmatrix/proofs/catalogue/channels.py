"""Theorems about channels and weights: which weight a tap uses, blocks of groups and frequencies, the unfold matrix."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import sympy

from convmatrix import symbolic
from convmatrix.boundary import Axis
from convmatrix.geometry import ConvGeometry
from convmatrix.proofs.catalogue.contractions import distinct_lemma, kernel_lemma
from convmatrix.proofs.catalogue.symbol_matrices import Checks, matrix_by_loop, with_weights
from convmatrix.proofs.statements import Algebra, Condition, checked_theorem, lemma

_FLAT = {"outputs": 2, "inputs": 3, "k": 3, "g": 1, "o": 1, "c": 2, "i": 1, "t": 2}


@lemma(
    "kernel",
    "output tile q + b with 0 <= b < tile uses the weights b k + t of kernel b",
    r"\omega(\tau q + b, t) = b k + t,\quad 0 \le b k + t < \tau k",
    {"tile": 2, "k": 3, "q": 1, "number": 1, "t": 2},
)
def _kernel_number_lemma(a: Algebra) -> Condition:
    tile, k, q, number, t = a.integers("tile k q number t")
    a.assume(a.within(number, tile), a.within(t, k))
    axis = Axis(1, 1, k, tile=tile)
    weight = a.weight(axis, tile * q + number, t)
    return a.both(a.equal(weight, number * k + t), a.within(weight, tile * k))


@lemma(
    "one kernel",
    "without tiles, tap t has weight t at every output",
    r"\tau = 1 \implies \omega(i, t) = t",
    {"m": 2, "n": 3, "k": 3, "i": 1, "t": 2},
)
def _shared_weight_lemma(a: Algebra) -> Condition:
    m, n, k, i, t = a.integers("m n k i t")
    return a.equal(a.weight(Axis(m, n, k), i, t), t)


@lemma(
    "flipped",
    "a flipped kernel has weight t at the position of tap k - 1 - t",
    r"x^*(i, t) = x(i, k - 1 - t),\quad \omega^*(i, t) = \omega(i, t)",
    {"m": 2, "n": 3, "k": 3, "s": 1, "d": 1, "p": 0, "i": 1, "t": 2},
)
def _flipped_weight_lemma(a: Algebra) -> Condition:
    m, n, k, s, d, p, i, t = a.integers("m n k s d p i t")
    axis, flipped = Axis(m, n, k, s, d, p), Axis(m, n, k, s, d, p, flip=True)
    return a.both(
        a.equal(a.position(flipped, i, t), a.position(axis, i, k - 1 - t)),
        a.equal(a.weight(flipped, i, t), a.weight(axis, i, t)),
    )


@lemma(
    "flat index",
    "the weight of an axis, in an array with kernels, pairs of channels and taps as axes, has the index (b P + e) k + "
    "t",
    r"\bigl(\omega - \omega \bmod k\bigr) P + e k + \omega \bmod k = (b P + e) k + t,\quad \omega = \omega(i, t),\ b "
    r"= i \bmod \tau",
    {"tile": 2, "k": 3, "pairs": 4, "pair": 3, "i": 5, "t": 2},
)
def _flat_weight_lemma(a: Algebra) -> Condition:
    tile, k, pairs, pair, i, t = a.integers("tile k pairs pair i t")
    a.assume(tile >= 1, a.within(t, k), a.within(pair, pairs))
    weight = a.weight(Axis(1, 1, k, tile=tile), i, t)
    tap = weight % k
    flat = (weight - tap) * pairs + pair * k + tap
    a.show(a.equal(tap, t))
    return a.equal(flat, (i % tile * pairs + pair) * k + t)


@lemma(
    "distinct weights of channels",
    "the weight of a tap for a pair of channels is that of no other tap and no other pair",
    r"(o C + c) k + \omega(t) = (o' C + c') k + \omega(u) \implies o = o',\ c = c',\ t = u",
    {"inputs": 2, "k": 3, "o": 1, "c": 1, "t": 2, "other": 1, "d": 1, "u": 2},
)
def _pair_lemma(a: Algebra) -> Condition:
    inputs, k, o, c, t, other, d, u = a.integers("inputs k o c t other d u")
    axis = Axis(1, 1, k)
    a.assume(a.within(c, inputs), a.within(d, inputs), a.within(t, k), a.within(u, k))
    first, second = (o * inputs + c) * k + a.weight(axis, 0, t), (other * inputs + d) * k + a.weight(axis, 0, u)
    a.assume(a.equal(first, second))
    a.show(a.equal(t, u))
    a.show(a.equal(o * inputs + c, other * inputs + d))
    return a.both(a.equal(o, other), a.equal(c, d), a.equal(t, u))


@lemma(
    "weights",
    "the weights of output channel g D + o are those of channel o, from g D C k on",
    r"\bigl((g D + o) C + c\bigr) k + \omega(t) = g D C k + (o C + c) k + \omega(t)",
    _FLAT,
)
def _group_weight_lemma(a: Algebra) -> Condition:
    outputs, inputs, k, g, o, c, i, t = a.integers("outputs inputs k g o c i t")
    weight = a.weight(Axis(1, 1, k), i, t)
    flat = ((g * outputs + o) * inputs + c) * k + weight
    return a.equal(flat, g * (outputs * inputs * k) + ((o * inputs + c) * k + weight))


@lemma(
    "rows and columns",
    "place x of channel g C + c is place c n + x of block g",
    r"(g C + c) n + x = g (C n) + (c n + x),\quad 0 \le c n + x < C n",
    {"channels": 2, "size": 4, "g": 1, "c": 1, "x": 3},
)
def _group_place_lemma(a: Algebra) -> Condition:
    channels, size, g, c, x = a.integers("channels size g c x")
    a.assume(a.within(c, channels), a.within(x, size))
    place = c * size + x
    return a.both(
        a.equal((g * channels + c) * size + x, g * (channels * size) + place), a.within(place, channels * size)
    )


@lemma(
    "one block",
    "numbers in blocks of one width are equal only if block and place are",
    r"g b + x = h b + y,\ 0 \le x, y < b \implies g = h,\ x = y",
    {"width": 4, "g": 1, "h": 1, "x": 3, "y": 3},
)
def _one_block_lemma(a: Algebra) -> Condition:
    width, g, h, x, y = a.integers("width g h x y")
    a.assume(a.within(x, width), a.within(y, width), a.equal(g * width + x, h * width + y))
    return a.both(a.equal(g, h), a.equal(x, y))


@lemma(
    "group",
    "output channel g D + o belongs to the group that begins at channel g D",
    r"(g D + o) - (g D + o) \bmod D = g D",
    {"outputs": 4, "g": 1, "o": 3},
)
def _group_channel_lemma(a: Algebra) -> Condition:
    outputs, g, o = a.integers("outputs g o")
    a.assume(a.within(o, outputs))
    number = g * outputs + o
    return a.equal(number - number % outputs, g * outputs)


@lemma(
    "rows of U",
    "row (c k + t) m + i of U meets column q m + j only if q = c k + t and i = j",
    r"(c k + t) m + i = q m + j \implies q = c k + t,\ i = j",
    {"m": 4, "k": 3, "c": 1, "t": 2, "i": 1, "q": 5, "j": 1},
)
def _unfold_row_lemma(a: Algebra) -> Condition:
    m, k, c, t, i, q, j = a.integers("m k c t i q j")
    a.assume(a.within(i, m), a.within(j, m), a.equal((c * k + t) * m + i, q * m + j))
    return a.both(a.equal(q, c * k + t), a.equal(i, j))


@lemma(
    "entries of W",
    "column c k + t of row o is the weight of tap t for this pair of channels",
    r"(o C + c) k + \omega(t) = o (C k) + (c k + \omega(t)),\quad 0 \le c k + \omega(t) < C k",
    {"inputs": 2, "k": 3, "o": 1, "c": 1, "i": 0, "t": 2},
)
def _unfold_weight_lemma(a: Algebra) -> Condition:
    inputs, k, o, c, i, t = a.integers("inputs k o c i t")
    a.assume(a.within(c, inputs), a.within(t, k))
    weight = a.weight(Axis(1, 1, k), i, t)
    column = c * k + weight
    return a.both(a.equal((o * inputs + c) * k + weight, o * (inputs * k) + column), a.within(column, inputs * k))


@lemma("one term", "g (w x) = w (x g)", r"g (w x) = w (x g)", {"g": 2, "x": 3, "w": 5})
def _adjoint_term_lemma(a: Algebra) -> Condition:
    g, x, w = a.integers("g x w")
    return a.equal(g * (w * x), w * (x * g))


# --- on explicit matrices of symbols ---


@checked_theorem(
    "tap-weights",
    "Output i uses kernel i mod tile, and at tap t the weight with the index (kernel, output channel, input channel, "
    "tap) in C order, which nothing else uses; a flipped kernel reads the taps in reverse with the same weights.",
    r"In a layer with $\tau$ kernels, output $i$ uses kernel $b = i \bmod \tau$. Its tap $t$, from input channel "
    r"$c$ to output channel $o$, has the weight of flat index $(b P + e) k + t$, where $e = o C + c$ is the number "
    r"of the pair among the $P$ pairs of channels. Different kernels, pairs and taps have different weights. With "
    r"a flipped kernel, weight $t$ is read at the position of tap $k - 1 - t$.",
    "tile >= 1, k >= 1, taps and channels in their ranges; any output i. In layers with several axes each axis "
    "has its kernels and taps.",
    r"The first two lemmas give the weight of an axis, $b k + t$, for outputs $i = \tau q + b$. The weights of a "
    r"layer are stored as an array with the axes (kernels, pairs, taps), in which the weight of the axis is "
    r"found by the third lemma. The next two say that no two pairs of channels, and no two taps, share a weight, "
    r"the one before the last that no two kernels do. The last one is about flipped kernels.",
    (
        _kernel_number_lemma,
        _shared_weight_lemma,
        _flat_weight_lemma,
        _pair_lemma,
        distinct_lemma,
        kernel_lemma,
        _flipped_weight_lemma,
    ),
)
def _tap_weights_theorem() -> Checks:
    table = [[True, False, True], [False, True, True]]
    for layer in (
        ConvGeometry(5, 3, padding="same", flip=True),
        ConvGeometry(6, 2, sharing=3, padding="same", boundary="circular", in_channels=2, out_channels=2),
        ConvGeometry((3, 4), (2, 3), sharing=(3, 2), padding=1, in_channels=2, out_channels=3, dilation=(1, 2)),
        ConvGeometry((3, 2), (2, 2), sharing="unshared", padding="same", in_channels=2),
        ConvGeometry((3, 3), (2, 2), in_channels=3, out_channels=2, connections=table, flip=True),
        ConvGeometry((3, 4), (2, 1), in_channels=4, out_channels=6, groups=2, stride=(1, 2)),
        ConvGeometry((2, 3), (2, 3), in_channels=4, out_channels=2, groups=2, stride=(2, 1), transposed=True),
        ConvGeometry((2, 2, 3), (2, 1, 2), in_channels=2, out_channels=2, padding="full"),
    ):
        yield f"{layer!r}: the weight of every entry", symbolic.matrix(layer) == matrix_by_loop(layer)


@checked_theorem(
    "grouped-blocks",
    "A layer with groups of channels is block diagonal: one block for each group, the matrix of the layer with "
    "that group's channels and kernels.",
    r"The matrix of a layer with $G$ groups of channels is block diagonal with $G$ blocks. Block $g$ is the matrix "
    r"of the layer from the $C$ input channels to the $D$ output channels of the group, with the weights from $g "
    r"D C k$ on.",
    "channels, taps, outputs and samples in their ranges; any number of groups.",
    r"Output channel $g D + o$ belongs to group $g$, by the first lemma, and reads the input channels $g C + c$. "
    r"By the next, applied to rows with $D$ and to columns with $C$ channels, its rows and columns are those of "
    r"output channel $o$ and input channel $c$ in block $g$; by the third the weights are those from $g D C k$ "
    r"on. The last says that no row and no column is in two blocks.",
    (_group_channel_lemma, _group_place_lemma, _group_weight_lemma, _one_block_lemma),
)
def _grouped_blocks_theorem() -> Checks:
    for layer in (
        ConvGeometry(4, 2, in_channels=2, out_channels=2, groups=2),
        ConvGeometry(5, 3, in_channels=4, out_channels=6, groups=2, padding="same", boundary="reflect"),
        ConvGeometry(3, 2, in_channels=3, out_channels=6, groups=3, stride=2, padding=1),
        ConvGeometry((2, 3), (2, 2), in_channels=4, out_channels=2, groups=2, padding="same", dilation=(1, 2)),
        ConvGeometry((2, 2), (2, 1), in_channels=4, out_channels=2, groups=2, transposed=True, stride=2),
    ):
        ins, outs = layer.in_channels // layer.groups, layer.out_channels // layer.groups
        block = symbolic.matrix(replace(layer, in_channels=ins, out_channels=outs, groups=1))
        weights = np.array(symbolic.weights(layer.n_weights), dtype=object).reshape(layer.groups, -1)
        blocks = [with_weights(block, own.tolist()) for own in weights]
        yield f"{layer!r}: one block for each group", symbolic.matrix(layer) == sympy.diag(*blocks)


@checked_theorem(
    "kernel-unfold",
    "A layer is the product of its kernel and the unfold matrix: A(w) = (W (x) I) U, where W is the kernel with "
    "one row per output channel, and U reads the sample of each input channel, tap and output.",
    r"$A(w) = (W \otimes I) U$, where $W$ is the kernel as a matrix with rows $o$ and columns $c k + t$, $I$ the "
    r"identity of the $m$ outputs, and row $(c k + t) m + i$ of the unfold matrix $U$ has a 1 at the sample of "
    r"channel $c$ that tap $t$ of output $i$ reads. The transposed layer is $U^T (W^T \otimes I)$.",
    "m outputs, k taps, C input channels in their ranges; one kernel, one group; any stride, dilation, padding "
    "and plain boundary.",
    r"Row $o m + j$ of $W \otimes I$ has $W_{o q}$ at column $q m + j$, so the product has $W_{o q}$ where row $q "
    r"m + j$ of $U$ has a 1. By the first lemma this row is that of output $j$ and of the channel and tap with $q "
    r"= c k + t$; by the second $W_{o q}$ is the weight that tap $t$ has from channel $c$ to channel $o$.",
    (_unfold_row_lemma, _unfold_weight_lemma, _one_block_lemma),
)
def _kernel_unfold_theorem() -> Checks:
    for layer in (
        ConvGeometry(4, 2, in_channels=2, out_channels=3),
        ConvGeometry(3, 5, padding="same", boundary="reflect", flip=True),
        ConvGeometry(5, 2, stride=2, dilation=2, padding=1, in_channels=2),
        ConvGeometry((2, 3), (2, 2), in_channels=2, out_channels=2, padding=1, boundary=("zero", "circular")),
        ConvGeometry((2, 3), (1, 2), in_channels=2, out_channels=3, stride=(1, 2), transposed=True),
    ):
        first = layer.weight_shape[0]
        kernel = sympy.Matrix(first, layer.n_weights // first, symbolic.weights(layer.n_weights))
        positions = math.prod(layer.positions)
        product = sympy.kronecker_product(kernel, sympy.eye(positions)) * sympy.Matrix(
            layer.unfold_matrix(dtype=np.int64).toarray()
        )
        expected = product.T if layer.transposed else product
        yield f"{layer!r}: the kernel times the unfold matrix", symbolic.matrix(layer) == expected


@checked_theorem(
    "weight-gradient-adjoint",
    "The gradient in the weights is the adjoint of the map from the weights to the output: <g, A(w) x> = <w, "
    "J(x)^T g> with the Jacobian J(x), which is the same block of samples for each output channel (im2col).",
    r"For fixed $x$, $w \mapsto A(w) x = J(x) w$ is linear, and $\langle g, A(w) x\rangle = \langle w, J(x)^T g "
    r"\rangle$: the gradient of a loss in $w$ is $J(x)^T$ times its gradient $g$ in the output. $J(x)$ is block "
    r"diagonal, with one block for each output channel. In this block, row $i$ has at column $c k + t$ the sample "
    r"of channel $c$ that tap $t$ of output $i$ reads.",
    "any layer, any x, w and g of a commutative ring; one kernel and one group where blocks are the same.",
    r"Each entry of $T$ contributes $g (w x)$ to the one side and $w (x g)$ to the other: the first lemma. By the "
    r"second, a weight belongs to one output channel, one input channel and one tap. So column $(o C + c) k + t$ of "
    r"$J(x)$ is zero but in the rows of output channel $o$, and has one sample there, the one that tap $t$ reads.",
    (_adjoint_term_lemma, _pair_lemma, distinct_lemma),
)
def _weight_gradient_adjoint_theorem() -> Checks:
    for layer in (
        ConvGeometry(4, 3, padding="same", flip=True),
        ConvGeometry(3, 5, padding="same", boundary="circular"),
        ConvGeometry(5, 2, stride=2, padding=1, boundary="reflect", in_channels=2, out_channels=2),
        ConvGeometry((2, 3), (2, 2), in_channels=2, out_channels=3, padding="same"),
        ConvGeometry((2, 2), (2, 2), stride=2, in_channels=2, transposed=True),
    ):
        pattern, w = layer.pattern(), symbolic.weights(layer.n_weights)
        x, g = (np.arange(size) ** 2 + first for size, first in ((layer.n_in, 2), (layer.n_out, 3)))
        output = symbolic.matrix(pattern) * sympy.Matrix(x.tolist())
        jacobian = sympy.Matrix(pattern.jacobian(x).toarray().tolist())
        yield f"{layer!r}: the Jacobian", output.jacobian(w) == jacobian
        gradient = sympy.Matrix(pattern.weight_gradient(x, g).ravel().tolist())
        yield f"{layer!r}: its adjoint is the gradient", jacobian.T * sympy.Matrix(g.tolist()) == gradient
        if not layer.transposed:
            blocks = layer.out_channels
            own = jacobian[: jacobian.rows // blocks, : jacobian.cols // blocks]
            yield f"{layer!r}: one block for each output channel", jacobian == sympy.diag(*[own] * blocks)
