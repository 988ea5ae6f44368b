"""Proofs of plans: a theorem about one network's tiles of all sizes, whose lemmas the engines of `convmatrix.proofs` decide.

The lemmas are of five kinds, and each is stated once for all nodes that need it:

*position*: output ``j + c`` reads at each tap the position that output j reads, moved by ``stride * c``.
*reads*: the one-axis rule reads the same sample at a position of a tile and at that position of the image, inside and
at either end of the image.
*numbers*: what the plan keeps of a node's output reads only what it keeps of the node's input.
*sizes*: if a tile ends where the image ends, so do their outputs.
*alignment*: at every node, a tile's start is a multiple of what the next operation advances by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from convmatrix.boundary import Axis, Boundary, read_sample
from convmatrix.proofs import Proof
from convmatrix.proofs.proving import prove_theorem
from convmatrix.proofs.statements import Algebra, Condition, Integer, Lemma, Theorem
from convmatrix.tiling.axis_plan import AxisPlan
from convmatrix.tiling.axis_reads import AxisReads

if TYPE_CHECKING:
    from convmatrix.tiling.tiling_plans import TilingPlan

Key = tuple[Any, ...]


def prove_plan(plan: TilingPlan, engine: str) -> Proof:
    """Return the proof of a plan; see `TilingPlan.prove`."""
    return prove_theorem(plan_theorem(plan), engine)


def plan_theorem(plan: TilingPlan) -> Theorem:
    """Return the theorem that a plan is right, for all images and tiles that obey it."""
    axes = [axis for axis in plan.axes if isinstance(axis, AxisPlan)]
    if not axes:
        raise ValueError(f"there is nothing to prove: no axis can be cut into tiles; {'; '.join(plan.reasons)}")
    lemmas: dict[Key, Lemma] = {}
    for axis in axes:
        for key, make in _axis_lemmas(axis):
            if key not in lemmas:
                lemmas[key] = make(f"{key[0]} {1 + sum(known[0] == key[0] for known in lemmas)}")
    numbers = ", ".join(
        f"axis {a.axis}: starts at multiples of {a.alignment}, {a.first_clean[a.output]} outputs discarded at the low "
        "end" for a in axes
    )
    return Theorem(
        f"tiles of {plan.network.name}",
        "Every output of a tile that the plan keeps is the output of the whole image at its place, for all weights, all "
        f"admissible sizes of images and tiles, and all tiles that start where the plan lets them ({numbers}).",
        r"Every output of a tile that the plan keeps is the output of the whole image at its place, for all weights, "
        r"sizes and tiles that obey the plan.",
        "image and tile have sizes that the network takes; tiles obey the conditions at the ends of the image.",
        r"By induction over the nodes in topological order: the entries of a node that are kept are those of the whole "
        r"image, moved by the tile's start times the node's scale. A kept output reads kept entries only (numbers), at "
        r"positions that move with the tile (position, alignment), and the boundary rule reads the same entries there, "
        r"or nothing in both (reads). Operations of each entry do not depend on places. Where the tile ends at an end "
        r"of the image, so do all its nodes (sizes). Axes are treated one by one, because windows are their products.",
        tuple(lemmas.values()),
        lambda: iter(()),
    )


def _axis_lemmas(plan: AxisPlan) -> Iterator[tuple[Key, Callable[[str], Lemma]]]:
    """Yield keys of lemmas, and how to make them with a name."""
    bases = [next(n for n in _from(plan.smallest) if n % plan.alignment == r) for r in plan.residues]
    for name, step in plan.steps.items():
        for source, reads in step:
            if reads is not None:
                yield from _reads_lemmas(plan, name, reads)
                scale = plan.shifts[source] * plan.alignment
                key = ("alignment", scale.numerator % (scale.denominator * reads.advance), scale.denominator, reads.advance)
                yield key, partial(_alignment_lemma, name, *key[1:])
            r = reads or _PLACE
            low = plan.first_clean[source], plan.first_clean[name]
            yield _numbers(name, r, "low", *low)
            for n in bases:
                extents = plan.extents(n)
                yield _numbers(name, r, "high", extents[source].clean_end, extents[name].clean_end)


def _from(n: int) -> Iterator[int]:
    while True:
        yield n
        n += 1


_PLACE = AxisReads(1, 1, ((0,),), ((1, 0, 1),))


# --- position and sizes ----------------------------------------------------------------------------------------------


def _position(a: Algebra) -> Condition:
    j, c, t, s, d, p = a.integers("j c t s d p")
    axis = Axis(1, 1, 1, s, d, p)
    return a.equal(axis.position(j + c, t), axis.position(j, t) + s * c)


def _position_lemma(name: str) -> Lemma:
    return Lemma(
        name,
        "output j + c reads at each tap the position that output j reads, moved by stride * c",
        r"x(j + c, t) = x(j, t) + s c",
        _position,
        {"j": 2, "c": 3, "t": 1, "s": 2, "d": 1, "p": 1},
    )


def _sizes_lemma(node: str, rule: tuple[int, int, int], period: int, advance: int, name: str) -> Lemma:
    scale, offset, divisor = rule

    def build(a: Algebra) -> Condition:
        n, x, q, moved = a.integers("n x q moved")
        value, other = scale * n + offset, scale * (n + advance * x) + offset
        a.assume(a.equal(divisor * q, value - value % divisor), a.equal(divisor * moved, other - other % divisor))
        return a.equal(moved, q + period * x)

    n = 4 * advance
    q = (scale * n + offset) // divisor
    text = f"an input of {advance} x samples more has {period} x outputs more, by the size rule of {node!r}"
    latex = rf"\lfloor ({scale} (n + {advance} x) + {offset}) / {divisor} \rfloor = \lfloor ({scale} n + {offset}) / {divisor} \rfloor + {period} x"
    return Lemma(name, text, latex, build, {"n": n, "x": 1, "q": q, "moved": q + period})


def _alignment_lemma(node: str, numerator: int, denominator: int, advance: int, name: str) -> Lemma:
    def build(a: Algebra) -> Condition:
        (x,) = a.integers("x")
        return a.equal((numerator * x) % (denominator * advance), 0)

    text = f"the start of every tile is a multiple of {advance} samples at {node!r}"
    return Lemma(name, text, rf"{denominator * advance} \mid {numerator} x", build, {"x": 1})


# --- numbers ---------------------------------------------------------------------------------------------------------


def _numbers(node: str, reads: AxisReads, end: str, source: int, own: int) -> tuple[Key, Callable[[str], Lemma]]:
    """Return the lemma that the outputs up to, or from, ``own`` on read what is up to, or from, ``source`` on."""
    periods = source // reads.advance  # the claim is about all integers, so both numbers can be moved
    source, own = source - reads.advance * periods, own - reads.period * periods
    limits = tuple((o[0], o[-1]) if o else None for o in reads.offsets)
    key = ("numbers", end, reads.period, reads.advance, limits, source, own)
    return key, partial(_numbers_lemma, node, *key[1:])


def _numbers_lemma(
    node: str,
    end: str,
    period: int,
    advance: int,
    limits: tuple[tuple[int, int] | None, ...],
    source: int,
    own: int,
    name: str,
) -> Lemma:
    def build(a: Algebra) -> Condition:
        (k,) = a.integers("k")
        claims = []
        for r, limit in enumerate(limits):
            if limit is not None and end == "low":
                claims.append(a.implies(period * k + r >= own, advance * k + limit[0] >= source))
            elif limit is not None:
                claims.append(a.implies(period * k + r < own, advance * k + limit[1] < source))
        return a.both(*claims)

    word = {"low": "from {} on", "high": "before {}"}[end]
    text = f"at {node!r}, outputs {word.format(own)} read samples {word.format(source)} only, up to multiples of "
    text += f"{period} and {advance}"
    sign = r"\ge" if end == "low" else "<"
    latex = rf"j {sign} {own} \implies x(j, t) {sign} {source}"
    return Lemma(name, text, latex, build, {"k": 3})


# --- reads -----------------------------------------------------------------------------------------------------------


def _reads_lemmas(plan: AxisPlan, node: str, reads: AxisReads) -> Iterator[tuple[Key, Callable[[str], Lemma]]]:
    """Yield the lemmas about what a node reads inside the image and at its ends."""
    yield ("position",), _position_lemma
    for rule in reads.sizes:
        key = ("sizes", rule[0], rule[1] % rule[2], rule[2], reads.period, reads.advance)
        normal = (rule[0], rule[1] % rule[2], rule[2])
        yield key, partial(_sizes_lemma, node, normal, reads.period, reads.advance)
    if reads.transposed and reads.axis is not None and not plan.periodic:
        axis = reads.axis
        window = (axis.n_taps, axis.stride, axis.dilation, axis.pad_low)
        for case in ("inside", "first", "last"):
            yield ("reads", "transposed", case, *window), partial(_transposed_lemma, node, case, *window)
        return
    if plan.periodic:
        yield ("reads", "ring", reads.advance), partial(_ring_lemma, reads.advance)
        yield ("reads", "inside", "circular"), partial(_sample_lemma, "inside", "circular")
        return
    for case in ("inside", "first", "last"):
        yield ("reads", case, reads.boundary), partial(_sample_lemma, case, reads.boundary)


def _sample_lemma(case: str, boundary: Boundary, name: str) -> Lemma:
    """Return the lemma that a tile and the image read the same sample at a position."""
    build = {"inside": _inside, "first": _first, "last": _last}[case]
    where = {
        "inside": "between the ends of the kept samples",
        "first": "before the kept end, in a tile at the image's low end",
        "last": "from the first kept sample on, in a tile at the image's high end",
    }[case]
    example = {
        "inside": {"n": 9, "N": 20, "delta": 4, "p": 3, "lo": 2, "hi": 7},
        "first": {"n": 9, "N": 20, "p": -1, "hi": 7, "reach": 2},
        "last": {"n": 9, "N": 20, "delta": 11, "p": 9, "lo": 3, "reach": 2},
    }[case]
    text = f"at a position {where}, a tile and the image read the same sample, or both nothing (boundary {boundary!r})"
    latex = r"r_N(p + \delta) = r_n(p) + \delta"
    return Lemma(name, text, latex, partial(build, boundary), example)


def _inside(boundary: Boundary, a: Algebra) -> Condition:
    n, N, delta, p, lo, hi = a.integers("n N delta p lo hi")
    a.assume(n >= 1, N >= 1, delta >= 0, lo >= 0, hi <= n, delta + n <= N, p >= lo, p < hi)
    tile, image = read_sample(p, n, boundary, a.select), read_sample(p + delta, N, boundary, a.select)
    return a.both(a.equal(tile, p), a.equal(image, p + delta))


def _first(boundary: Boundary, a: Algebra) -> Condition:
    n, N, p, hi, reach = a.integers("n N p hi reach")
    a.assume(n >= 1, N >= n, hi <= n, hi >= 1, reach >= 0, p >= -reach, p < hi)
    if boundary == "reflect":
        a.assume(reach + 1 <= hi)
    elif boundary == "symmetric":
        a.assume(reach <= hi)
    tile, image = read_sample(p, n, boundary, a.select), read_sample(p, N, boundary, a.select)
    return a.both(a.equal(tile, image), tile < hi)


def _last(boundary: Boundary, a: Algebra) -> Condition:
    n, N, delta, p, lo, reach = a.integers("n N delta p lo reach")
    a.assume(n >= 1, delta >= 0, a.equal(N, n + delta), lo >= 0, lo <= n - 1, reach >= 0, p >= lo, p <= n - 1 + reach)
    if boundary == "reflect":
        a.assume(n - reach - 1 >= lo)
    elif boundary == "symmetric":
        a.assume(n - reach >= lo)
    tile, image = read_sample(p, n, boundary, a.select), read_sample(p + delta, N, boundary, a.select)
    nothing = a.both(a.equal(tile, -1), a.equal(image, -1))
    return a.either(nothing, a.both(a.equal(image, tile + delta), tile >= lo))


def _ring_lemma(advance: int, name: str) -> Lemma:
    def build(a: Algebra) -> Condition:
        m, k, c, o = a.integers("m k c o")
        a.assume(m >= 1)
        image = read_sample(advance * ((k + c) % m) + o, advance * m, "circular", a.select)
        return a.equal(image, (advance * k + o + advance * c) % (advance * m))

    text = f"on a ring, output k + c reads the samples that output k reads, moved by {advance} c"
    latex = rf"r\bigl((k + c) \bmod m\bigr) = (r(k) + {advance} c) \bmod {advance} m"
    return Lemma(name, text, latex, build, {"m": 5, "k": 3, "c": 4, "o": 1})


def _transposed_lemma(node: str, case: str, taps: int, s: int, d: int, p: int, name: str) -> Lemma:
    """Return the lemma that an output of a tile and of the image are made of the same inputs."""

    def build(a: Algebra) -> Condition:
        n, N, c, i, t, o, lo, hi = a.integers("n N c i t o lo hi")
        made, whole = s * n + (taps - 1) * d + 1, s * N + (taps - 1) * d + 1  # as many as there may be, or fewer
        a.assume(n >= 1, a.within(t, taps), c >= 0, a.within(o, made))
        low: list[Condition] = [o > (lo - 1) * s + (taps - 1) * d - p, lo >= 0]
        high: list[Condition] = [o < hi * s - p, hi <= n]
        a.assume(*(low if case != "first" else [a.equal(c, 0), a.equal(lo, 0)]))
        a.assume(*(high if case != "last" else [a.equal(N, n + c), a.equal(hi, n)]), N >= n + c)
        tile, image = Axis(n, made, taps, s, d, p), Axis(N, whole, taps, s, d, p)
        in_tile = a.both(a.within(i, n), a.equal(tile.sample(i, t, a.select), o))
        in_image = a.both(a.within(i + c, N), a.equal(image.sample(i + c, t, a.select), o + s * c))
        kept = a.both(i >= lo, i < hi)
        return a.both(a.implies(in_tile, in_image), a.implies(in_image, a.both(in_tile, kept)))

    n, N = 12 + taps * d, 30 + 2 * taps * d
    c = {"inside": 5, "first": 0, "last": N - n}[case]
    example: dict[str, Integer] = {"n": n, "N": N, "c": c, "i": 4, "t": 0, "o": 0, "lo": 0, "hi": n}
    text = f"a kept output of a tile is made of the inputs that the image's output is made of, all of them kept ({case}, {node!r})"
    example |= {"inside": {"o": s * 4 + taps * d}, "first": {"o": 1}, "last": {"o": s * 4 + taps * d}}[case]
    return Lemma(name, text, r"x(i, t) = o \iff x(i + c, t) = o + s c", build, example)
