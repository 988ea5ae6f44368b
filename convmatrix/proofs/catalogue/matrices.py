"""The theorems on explicit matrices of symbols, at a spread of small sizes: one function each.

Every function yields ``(what, holds)``. The matrices are those of `convmatrix.symbolic.matrix`, so that what is checked
is what the package builds, for all weights at once.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy

from convmatrix import symbolic
from convmatrix.equivariance import actions
from convmatrix.equivariance.checks import check, prove_equivariance
from convmatrix.equivariance.sharing import equivariant_pattern
from convmatrix.equivariance.sized_operations import AddedBias as Bias
from convmatrix.equivariance.sized_operations import WindowPooling as Pooling
from convmatrix.geometry import ConvGeometry

if TYPE_CHECKING:
    from convmatrix.pattern import WeightPattern

Checks = Iterator[tuple[str, bool]]
Matrix = Any  # a sympy.ImmutableSparseMatrix


def ring(n: int, k: int, name: str = "w", offset: int | None = None, **options: Any) -> Matrix:
    """Return the matrix of a circular layer with as many outputs as samples (divided by the stride)."""
    return symbolic.matrix(ring_geometry(n, k, offset, **options), name)


def ring_geometry(n: int, k: int, offset: int | None = None, stride: int = 1, dilation: int = 1) -> ConvGeometry:
    """Return a circular layer with n / stride outputs; the offset is the low padding."""
    span = dilation * (k - 1) + 1
    low = (span - 1) // 2 if offset is None else offset
    high = max((n // stride - 1) * stride + span - n - low, 0)
    return ConvGeometry(n, k, stride=stride, dilation=dilation, padding=[(low, high)], boundary="circular")


def permuted(matrix: Matrix, q: Any, p: Any) -> Matrix:
    """Return the matrix with entry ``[q[i], p[j]]`` at (i, j)."""
    return matrix.extract([int(row) for row in q], [int(column) for column in p])


def shifted(matrix: Matrix, output: int, amount: int) -> Matrix:
    """Return the matrix with outputs and samples shifted."""
    return permuted(matrix, actions.shift(matrix.rows, output), actions.shift(matrix.cols, amount))


def broken(matrix: Matrix, output: int, amount: int) -> set[int]:
    """Return the rows that shifting changes."""
    difference = matrix - shifted(matrix, output, amount)
    return {row for row in range(matrix.rows) if any(entry != 0 for entry in difference[row, :])}


def circular_shift() -> Checks:
    """Check the theorem ``circular-shift``."""
    for n, k, d in itertools.product((1, 2, 3, 5), (1, 2, 3, 7), (1, 2)):
        A = ring(n, k, dilation=d)
        holds = all(shifted(A, c, c) == A for c in range(n))
        yield f"n = {n}, k = {k}, d = {d}: every shift leaves the matrix alone", holds
    layer = ConvGeometry((3, 4), (2, 3), in_channels=2, out_channels=2, padding="same", boundary="circular")
    A = symbolic.matrix(layer)
    for amount in ((1, 0), (0, 1), (2, 3)):
        q = actions.shift((3, 4), amount, channels=2)
        yield f"3 x 4, two channels, shift {amount}", permuted(A, q, q) == A


def strided_shift() -> Checks:
    """Check the theorem ``strided-shift``."""
    for s, m, k in itertools.product((1, 2, 3), (1, 2, 4), (1, 3, 5)):
        A = ring(s * m, k, stride=s)
        passes = {c for c in range(s * m) if any(shifted(A, b, c) == A for b in range(m))}
        yield f"s = {s}, m = {m}, k = {k}: the shifts {sorted(passes)} pass", passes == set(range(0, s * m, s))


def circulant_converse() -> Checks:
    """Check the theorem ``circulant-converse``."""
    for n in (1, 2, 3, 5):
        step = actions.cyclic_generators(n)
        found = symbolic.matrix(equivariant_pattern(step, step))
        yield f"n = {n}: the general matrix that commutes with the shift", found == ring(n, n, offset=0)
    steps = actions.torus_generators((2, 3))
    full = ConvGeometry((2, 3), (2, 3), padding=[(0, 1), (0, 2)], boundary="circular")
    yield "2 x 3: on two axes", symbolic.matrix(equivariant_pattern(steps, steps)) == symbolic.matrix(full)


def zero_border() -> Checks:
    """Check the theorem ``zero-padding-border``."""
    for n, k in itertools.product((2, 3, 4, 6), (2, 3, 4)):
        for p in range(k):
            A = symbolic.matrix(ConvGeometry(n, k, padding=[(p, k - 1 - p)]))
            expected = {0} | {i for i in range(1, n) if i <= p or i >= n + p - k + 1}
            yield f"n = {n}, k = {k}, p = {p}: rows {sorted(expected)} break", broken(A, 1, 1) == expected
    for n, k, d, p in ((5, 3, 1, 1), (6, 2, 3, 3), (7, 3, 2, 0)):
        A = symbolic.matrix(ConvGeometry(n, k, dilation=d, padding=[(p, d * (k - 1) - p)]))
        for c in range(n):
            inside = [{t for t in range(k) if 0 <= i + t * d - p < n} for i in range(n)]
            expected = {i for i in range(n) if inside[i] != inside[(i - c) % n]}
            yield f"n = {n}, k = {k}, d = {d}, p = {p}, shift {c}: rows {sorted(expected)}", broken(A, c, c) == expected


def folded_border() -> Checks:
    """Check the theorem ``padding-border``."""
    for boundary, n, k in itertools.product(("reflect", "symmetric", "replicate"), (2, 3, 4, 6), (2, 3, 9)):
        if n == 2 and boundary != "replicate":
            continue
        period = {"reflect": 2 * n - 2, "symmetric": 2 * n, "replicate": 100}[boundary]
        for p in range(k):
            A = symbolic.matrix(ConvGeometry(n, k, padding=[(p, k - 1 - p)], boundary=boundary))
            at = {i: [i + t - p for t in range(k)] for i in range(n)}
            expected = {0} | {i for i in range(1, n) if any(not 1 <= x % period < n for x in at[i])}
            yield f"{boundary}, n = {n}, k = {k}, p = {p}: rows {sorted(expected)}", broken(A, 1, 1) == expected


def adjoint() -> Checks:
    """Check the theorem ``adjoint``."""
    for n, k, d in itertools.product((3, 5), (1, 2, 3), (1, 2)):
        for p in range(d * (k - 1) + 1):
            reach = d * (k - 1)
            A = symbolic.matrix(ConvGeometry(n, k, dilation=d, padding=[(p, reach - p)]))
            back = ConvGeometry(n, k, dilation=d, padding=[(reach - p, p)], flip=True)
            yield f"n = {n}, k = {k}, d = {d}, p = {p}: the flipped kernel", symbolic.matrix(back) == A.T
    for n, k, s in itertools.product((4, 7), (2, 3), (2, 3)):
        layer = ConvGeometry(n, k, stride=s)
        extra = (n - k) % s
        back = ConvGeometry(layer.output_shape, k, stride=s, output_padding=extra, transposed=True)
        yield f"n = {n}, k = {k}, s = {s}: the transposed layer", symbolic.matrix(back) == symbolic.matrix(layer).T


def convolved(first: Any, second: Any) -> list[Any]:
    """Return the full convolution of two sequences of symbols."""
    total = [sympy.Integer(0)] * (len(first) + len(second) - 1)
    for (t, w), (u, v) in itertools.product(enumerate(first), enumerate(second)):
        total[t + u] += w * v
    return total


def with_weights(matrix: Matrix, values: Any) -> Matrix:
    """Return a matrix of the symbols w_0, w_1, ... with values in their place."""
    symbols = symbolic.weights(len(values))
    return matrix.xreplace(dict(zip(symbols, values, strict=True)))


def circulants_commute() -> Checks:
    """Check the theorem ``circulants-commute``."""
    for n, k, length in itertools.product((1, 2, 3, 4), (1, 3), (2, 3)):
        low = min(1, k - 1)
        A, B = ring(n, k, offset=low), ring(n, length, "v", offset=0)
        longer = with_weights(
            ring(n, k + length - 1, offset=low), convolved(symbolic.weights(k), symbolic.weights(length, "v"))
        )
        same = (A * B - B * A).expand().is_zero_matrix and (A * B - longer).expand().is_zero_matrix
        yield f"n = {n}, k = {k}, l = {length}: the product", bool(same)
    for n in (2, 3, 5):
        A = symbolic.matrix(ConvGeometry(n, 3, padding="same"))
        B = symbolic.matrix(ConvGeometry(n, 3, padding="same"), "v")
        w, v = symbolic.weights(3), symbolic.weights(3, "v")
        only = {w[1]: 0, w[2]: 0, v[0]: 0, v[1]: 0}
        one, other = (A * B).subs(only)[0, 0], (B * A).subs(only)[0, 0]
        yield f"n = {n}, zero padding: entry (0, 0) of AB and BA", one == 0 and other == w[0] * v[2]


def full_composition() -> Checks:
    """Check the theorem ``full-composition``."""
    for padding, n, k, length in itertools.product(("full", "valid"), (5, 6), (1, 2), (2, 3)):
        first = ConvGeometry(n, k, padding=padding)
        second = ConvGeometry(first.output_shape, length, padding=padding)
        longer = symbolic.matrix(ConvGeometry(n, k + length - 1, padding=padding))
        expected = with_weights(longer, convolved(symbolic.weights(k), symbolic.weights(length, "v")))
        product = symbolic.matrix(second, "v") * symbolic.matrix(first)
        yield f"{padding}, n = {n}, k = {k}, l = {length}", bool((product - expected).expand().is_zero_matrix)


def fourier_eigenvectors() -> Checks:
    """Check the theorem ``fourier-eigenvectors``."""
    for n, k, p in ((1, 2, 1), (2, 3, 1), (3, 2, 0), (4, 3, 1), (4, 6, 2)):
        A, w = ring(n, k, offset=p), symbolic.weights(k)
        omega = sympy.exp(2 * sympy.pi * sympy.I / n)
        for f in range(n):
            vector = sympy.Matrix([omega ** (f * j) for j in range(n)])
            value = sum((w[t] * omega ** (f * (t - p)) for t in range(k)), sympy.Integer(0))
            rest = (A * vector - value * vector).applyfunc(lambda e: sympy.expand(sympy.expand_complex(e)))
            yield f"n = {n}, k = {k}, f = {f}", all(sympy.simplify(entry) == 0 for entry in rest)


def cosine_eigenvectors() -> Checks:
    """Check the theorem ``cosine-eigenvectors``."""
    for n, k in ((1, 3), (2, 3), (3, 3), (3, 5), (4, 3)):
        w = symbolic.weights(k)
        A = symbolic.matrix(ConvGeometry(n, k, padding="same", boundary="symmetric"))
        A = A.subs({w[t]: w[min(t, k - 1 - t)] for t in range(k)})
        p = (k - 1) // 2
        for f in range(n):
            vector = sympy.Matrix([sympy.cos(sympy.pi * f * (2 * j + 1) / (2 * n)) for j in range(n)])
            value = sum(
                (w[min(t, k - 1 - t)] * sympy.cos(sympy.pi * f * (t - p) / n) for t in range(k)), sympy.Integer(0)
            )
            rest = (A * vector - value * vector).expand()
            numbers = {number for entry in rest for number in sympy.Poly(entry, *w).coeffs()}
            yield f"n = {n}, k = {k}, f = {f}", all(map(_is_zero, numbers))


def _is_zero(number: Any) -> bool:
    """Return whether an algebraic number is zero, exactly."""
    z = sympy.Symbol("z")
    return bool(number == 0 or sympy.minimal_polynomial(number, z) == z)


def toeplitz_compression() -> Checks:
    """Check the theorem ``toeplitz-compression``."""
    for n, k, d in itertools.product((1, 3, 4), (1, 2, 3), (1, 2)):
        reach = d * (k - 1)
        circulant = ring(n + reach, k, dilation=d, offset=reach)
        layer = ConvGeometry(n, k, dilation=d, padding="full")
        block = circulant.extract(list(range(n + reach)), list(range(n)))
        yield f"n = {n}, k = {k}, d = {d}: the first n columns", block == symbolic.matrix(layer)


def reflection_symmetry() -> Checks:
    """Check the theorem ``reflection-symmetry``."""
    for boundary, n, k in itertools.product(("zero", "circular", "reflect", "symmetric", "replicate"), (3, 4), (3, 5)):
        A = symbolic.matrix(ConvGeometry(n, k, padding="same", boundary=boundary))
        flip = actions.reflection(n, 0)
        turned = with_weights(A, symbolic.weights(k)[::-1])
        yield f"{boundary}, n = {n}, k = {k}: the reflected kernel", permuted(A, flip, flip) == turned
    layer = ConvGeometry((3, 3), (3, 3), padding="same")
    A, turn = symbolic.matrix(layer), actions.quarter_turn((3, 3))
    order = np.rot90(np.arange(9).reshape(3, 3)).ravel()
    values = [symbolic.weights(9)[int(place)] for place in order]
    yield "3 x 3, a quarter turn", permuted(A, turn, turn) == with_weights(A, values)
    yield "and not the kernel itself", permuted(A, turn, turn) != A


def elementwise_and_bias() -> Checks:
    """Check the theorem ``elementwise-and-bias``."""
    for n, channels in itertools.product((2, 3, 5), (1, 3)):
        q, one = actions.shift(n, 1, channels=channels), actions.identity(1)
        shared, single = Bias((n,), channels).pattern(), Bias((n,), channels, "unit").pattern()
        b = symbolic.matrix(shared)
        yield f"n = {n}, {channels} channels: shared biases", permuted(b, q, one) == b and check(shared, q, one).holds
        b = symbolic.matrix(single)
        yield f"n = {n}, {channels} channels: a bias a unit breaks", permuted(b, q, one) != b
        f, x = sympy.Function("f"), sympy.Matrix(symbolic.weights(n * channels, "x"))
        moved = [int(place) for place in q]
        step = sympy.diag(*[with_weights(ring(n, 2, offset=1), [1, 0])] * channels)
        yield "a circular convolution with one tap is the shift", step * x == x.extract(moved, [0])
        yield "elementwise", x.applyfunc(f).extract(moved, [0]) == x.extract(moved, [0]).applyfunc(f)


def pooling_shift() -> Checks:
    """Check the theorem ``pooling-shift``."""
    for s, m, k, kind in itertools.product((1, 2, 3), (2, 3), (1, 2, 3), ("average", "max")):
        if k >= s * m:
            continue
        pattern = Pooling(
            ring_geometry(s * m, k, 0, stride=s), kind="average" if kind == "average" else "max"
        ).pattern()
        A = symbolic.matrix(pattern)
        passes = {c for c in range(s * m) if any(shifted(A, b, c) == A for b in range(m))}
        yield f"{kind}, s = {s}, m = {m}, k = {k}: {sorted(passes)}", passes == set(range(0, s * m, s))


def stride_composition() -> Checks:
    """Check the theorem ``stride-composition``."""
    for s, z, m in itertools.product((1, 2), (1, 2, 3), (1, 2)):
        A, B = ring(s * z * m, 2, stride=s, offset=0), ring(z * m, 2, "v", stride=z, offset=0)
        product = (B * A).expand()
        passes = {c for c in range(s * z * m) if any(shifted(product, b, c) == product for b in range(m))}
        yield f"s = {s}, z = {z}, m = {m}: {sorted(passes)}", passes == set(range(0, s * z * m, s * z))


def tiled_shift() -> Checks:
    """Check the theorem ``tiled-shift``."""
    for tile, g, k in itertools.product((1, 2, 3), (1, 2), (1, 2)):
        n = tile * g
        A = symbolic.matrix(ConvGeometry(n, k, padding=[(0, k - 1)], boundary="circular", sharing=(tile,)))
        passes = {c for c in range(n) if shifted(A, c, c) == A}
        yield f"tile = {tile}, g = {g}, k = {k}: {sorted(passes)}", passes == set(range(0, n, tile))


def no_scaling() -> Checks:
    """Check the theorem ``no-scaling-or-rotation``: tap by tap, a matrix of that tap alone against the formula."""
    for n, factor, k in ((3, 2, 3), (5, 2, 5), (5, 3, 3), (7, 3, 3), (7, 4, 7), (7, 8, 3)):
        A, w, scaled = ring(n, k), symbolic.weights(k), factor * np.arange(n) % n
        for t in range(k):
            only = with_weights(A, [w[t] if u == t else 0 for u in range(k)])
            stays = (factor - 1) * (t - k // 2) % n == 0
            yield f"n = {n}, factor {factor}, tap {t} alone", (permuted(only, scaled, scaled) == only) == stays
    for n, g, h in ((3, 1, 1), (3, 0, 1), (5, 1, 1), (5, 2, 0), (5, -1, 2), (7, 2, 1)):
        y, x = np.divmod(np.arange(n * n), n)
        turn = (g * y - h * x) % n * n + (h * y + g * x) % n
        if len(set(turn.tolist())) < n * n:
            continue
        A, w = symbolic.matrix(ConvGeometry((n, n), (3, 3), padding="same", boundary="circular")), symbolic.weights(9)
        found, expected = [], []
        for t, (v, u) in enumerate(itertools.product((-1, 0, 1), repeat=2)):
            only = with_weights(A, [w[t] if other == t else 0 for other in range(9)])
            found.append(permuted(only, turn, turn) == only)
            expected.append((g * v - h * u - v) % n == 0 and (h * v + g * u - u) % n == 0)
        yield f"{n} x {n}, {g} + {h} i: {sum(expected)} of 9 taps stay in place", found == expected


def output_sizes() -> Checks:
    """Check the theorem ``output-sizes``."""
    for n, k, s, d, p in itertools.product((5, 8), (1, 3), (1, 2, 3), (1, 2), (0, 1)):
        layer = ConvGeometry(n, k, stride=s, dilation=d, padding=p)
        extra = (n + 2 * p - d * (k - 1) - 1) % s
        back = ConvGeometry(
            layer.output_shape, k, stride=s, dilation=d, padding=p, transposed=True, output_padding=extra
        )
        same = symbolic.matrix(back) == symbolic.matrix(layer).T
        yield f"n = {n}, k = {k}, s = {s}, d = {d}, p = {p}", back.output_shape == layer.input_shape and same


def gradients() -> Checks:
    """Check the theorem ``gradients``."""
    for layer in (
        ConvGeometry(4, 3, padding="same"),
        ConvGeometry(5, 3, stride=2, padding=1, boundary="reflect"),
        ConvGeometry((2, 3), (2, 2), in_channels=2, padding="same", boundary="circular"),
    ):
        pattern = layer.pattern()
        A, w = symbolic.matrix(pattern), symbolic.weights(pattern.n_weights)
        x, g = (sympy.Matrix(symbolic.weights(size, name)) for size, name in ((layer.n_in, "x"), (layer.n_out, "g")))
        loss = (g.T * A * x)[0, 0].expand()
        by_weight = [sympy.expand(loss.diff(symbol)) for symbol in w]
        yield f"{layer!r}: in the weights", by_weight == [sympy.expand(e) for e in _contraction(pattern, g, x)]
        by_input = sympy.Matrix([loss.diff(symbol) for symbol in x])
        yield f"{layer!r}: in the input", bool((by_input - A.T * g).expand().is_zero_matrix)


def _contraction(pattern: WeightPattern, g: Any, x: Any) -> list[Any]:
    total = [sympy.Integer(0)] * pattern.n_weights
    triplets = zip(pattern.rows.tolist(), pattern.cols.tolist(), pattern.weight_index.tolist(), strict=True)
    for row, column, weight in triplets:
        total[weight] += g[row] * x[column]
    return total


def flat_index() -> Checks:
    """Check the theorem ``flat-index``."""
    for shape in ((1,), (3,), (2, 3), (2, 1, 4), (2, 3, 2, 2)):
        flat = [0] * int(np.prod(shape))
        for place in itertools.product(*map(range, shape)):
            index = 0
            for size, coordinate in zip(shape, place, strict=True):
                index = index * size + coordinate
            flat[index] += 1
        yield f"shape {shape}: every index once", flat == [1] * len(flat)
    layer = ConvGeometry((2, 3), (1, 1))
    yield (
        "one tap of weight w_0 is w_0 times the identity",
        symbolic.matrix(layer) == sympy.eye(6) * symbolic.weights(1)[0],
    )


def replay(geometry: ConvGeometry, shift: int) -> bool:
    """Return whether the verdict of a shift agrees with the explicit matrix of symbols, row by row."""
    verdict = prove_equivariance(geometry, shift)
    moved = shift // geometry.stride[0]
    return broken(symbolic.matrix(geometry), moved, shift) == set(np.flatnonzero(verdict.broken_rows).tolist())
