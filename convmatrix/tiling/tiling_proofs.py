"""Proofs of plans: a theorem about one network's tiles of all sizes, decided by the engines of `convmatrix.proofs`.

The lemmas are of seven kinds, and each is stated once for all nodes that need it:

*position*: output ``j + c`` reads at each tap the position that output j reads, moved by ``stride * c``.
*reads*: the one-axis rule reads the same sample at a position of a tile and at that position of the image, inside and
at either end of the image.
*numbers*: what the plan keeps of a node's output reads only what it keeps of the node's input.
*sizes*: if a tile ends where the image ends, so do their outputs.
*network*: what the plan states of an axis follows from its network: what each node reads, its scale, whether the axis
is a ring, which axis of the output is stitched, and that the image itself is clean. This is a finite check without
unknowns; the lemma counts the differences.
*scale*: if a tile's start moves, the outputs of a node move as those of what it reads, by its period and advance.
*alignment*: at every node, a tile's start is a multiple of what the next operation advances by.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from convmatrix.boundary import NOTHING, Axis, Boundary, read_sample
from convmatrix.proofs.proving import prove_theorem
from convmatrix.proofs.statements import Algebra, Condition, Lemma, Theorem
from convmatrix.tiling.axis_plan import AxisPlan, axis_plan
from convmatrix.tiling.axis_reads import AxisReads
from convmatrix.tiling.node_reads import network_reads
from convmatrix.tiling.resized_networks import assuming_nothing

if TYPE_CHECKING:
    from convmatrix.proofs import Proof
    from convmatrix.tiling.image_tiles import PlannedAxes
    from convmatrix.tiling.node_reads import NodeReads

Key = tuple[Any, ...]


def prove_plan(plan: PlannedAxes, engine: str) -> Proof:
    """Return the proof of a plan; see `TilingPlan.prove`."""
    proof = prove_theorem(plan_theorem(plan), engine)
    return replace(
        proof, closing="From there to whole networks: by the argument, which is text; running a plan checks it."
    )


def plan_theorem(plan: PlannedAxes) -> Theorem:
    """Return the theorem that a plan is right, for all images and tiles that obey it."""
    axes = [axis for axis in plan.axes if isinstance(axis, AxisPlan)]
    found = network_reads(plan.network.until(plan.output), blocks_known=True)
    if not axes:
        raise ValueError(f"there is nothing to prove: no axis can be cut into tiles; {'; '.join(plan.reasons)}")
    lemmas: dict[Key, Lemma] = {}
    for number, axis in enumerate(plan.axes):
        listed = _lemmas_of(axis, _differences(plan, number, axis, found)) if isinstance(axis, AxisPlan) else []
        for key, make in listed:
            if key not in lemmas:
                lemmas[key] = make(f"{key[0]} {1 + sum(known[0] == key[0] for known in lemmas)}")
    numbers = ", ".join(
        f"axis {a.axis}: starts at multiples of {a.alignment}, {a.first_clean[a.output]} outputs discarded at the low "
        "end"
        for a in axes
    )
    return Theorem(
        f"tiles of {plan.network.name}",
        "Every output of a tile that the plan keeps is the output of the whole image at its place, for all weights, "
        f"all admissible sizes of images and tiles, and all tiles that start where the plan lets them ({numbers}).",
        r"Every output of a tile that the plan keeps is the output of the whole image at its place, for all weights, "
        r"sizes and tiles that obey the plan.",
        "image and tile have sizes that the network takes; tiles obey the conditions at the ends of the image.",
        r"By induction over the nodes in topological order: the entries of a node that are kept are those of the whole "
        r"image, moved by the tile's start times the node's scale. A kept output reads kept entries only (numbers), at "
        r"positions that move with the tile (position, scale, alignment), and the boundary rule reads the same "
        r"entries there, "
        r"or nothing in both (reads). Operations of each entry do not depend on places. Where the tile ends at an end "
        r"of the image, so do all its nodes (sizes). Axes are treated one by one, because windows are their products.",
        tuple(lemmas.values()),
        lambda: iter(()),
    )


def _lemmas_of(plan: AxisPlan, differences: Sequence[str]) -> Iterator[tuple[Key, Callable[[str], Lemma]]]:
    """Yield the lemmas of an axis; where it differs from its network, those that can be stated."""
    yield ("network", plan.axis, *differences), partial(_network_lemma, plan.axis, differences)
    try:
        yield from _axis_lemmas(plan)
    except (ArithmeticError, LookupError, ValueError, StopIteration):
        if not differences:
            raise


def _differences(plan: PlannedAxes, number: int, axis: AxisPlan, found: Mapping[str, NodeReads]) -> list[str]:
    """Return where the plan of an axis differs from what its network implies."""
    derived = axis_plan(found, plan.output, number)
    if not isinstance(derived, AxisPlan):
        return [f"it cannot be cut: {derived[0]}"]
    wrong = [
        f"{name} {getattr(axis, name)} in place of {getattr(derived, name)}"
        for name in ("axis", "output_axis", "output", "periodic")
        if getattr(axis, name) != getattr(derived, name)
    ]
    if axis.alignment % derived.alignment:
        wrong.append(f"alignment {axis.alignment}, no multiple of {derived.alignment}")
    for name in dict.fromkeys((*derived.steps, *axis.steps)):
        # Sizes may have been confirmed by a second network.
        planned, actual = axis.steps.get(name), derived.steps.get(name)
        if planned is None or actual is None or assuming_nothing(planned) != assuming_nothing(actual):
            wrong.append(f"reads of {name!r}")
        if axis.shifts.get(name) != derived.shifts.get(name):
            wrong.append(f"scale {axis.shifts.get(name)} of {name!r} in place of {derived.shifts.get(name)}")
    if list(axis.steps) != list(derived.steps):
        wrong.append("order of nodes")
    elif axis.first_clean[next(iter(derived.steps))] != 0:
        wrong.append("outputs discarded of the image itself")
    return wrong


def _network_lemma(number: int, differences: Sequence[str], name: str) -> Lemma:
    count = len(differences)
    text = f"on axis {number}, the plan is the one that follows from its network"
    if differences:
        text += f"; it differs in {', '.join(differences[:3])}"
    return Lemma(name, text, rf"{count} x = 0", lambda a: a.equal(count * a.integers("x")[0], 0), {"x": 1})


def _axis_lemmas(plan: AxisPlan) -> Iterator[tuple[Key, Callable[[str], Lemma]]]:
    """Yield keys of lemmas, and how to make them with a name."""
    bases = [plan.smallest + (r - plan.smallest) % plan.alignment for r in plan.residues]
    for name, step in plan.steps.items():
        for source, reads in step:
            if reads is not None:
                yield from _reads_lemmas(plan, name, reads)
                scale = plan.shifts[source] * plan.alignment
                key = (
                    "alignment",
                    scale.numerator % (scale.denominator * reads.advance),
                    scale.denominator,
                    reads.advance,
                )
                yield key, partial(_alignment_lemma, name, *key[1:])
            before, after = plan.shifts[source], plan.shifts[name]
            period, advance = (1, 1) if reads is None else (reads.period, reads.advance)
            common = math.lcm(before.denominator, after.denominator)
            pair = int(before * common) * period, int(after * common) * advance
            yield ("scale", *pair), partial(_scale_lemma, name, *pair)
            r = reads or _PLACE
            low = plan.first_clean[source], plan.first_clean[name]
            yield _numbers(name, r, "low", *low)
            for n in bases:
                extents = plan.extents(n)
                yield _numbers(name, r, "high", extents[source].clean_end, extents[name].clean_end)


_PLACE = AxisReads(1, 1, ((0,),), ((1, 0, 1),))


# --- position and sizes ----------------------------------------------------------------------------------------------


def _position_lemma(name: str) -> Lemma:
    def build(a: Algebra) -> Condition:
        j, c, t, s, d, p = a.integers("j c t s d p")
        axis = Axis(1, 1, 1, s, d, p)
        return a.equal(axis.position(j + c, t), axis.position(j, t) + s * c)

    text = "output j + c reads at each tap the position that output j reads, moved by stride * c"
    return Lemma(name, text, r"x(j + c, t) = x(j, t) + s c", build, {"j": 2, "c": 3, "t": 1, "s": 2, "d": 1, "p": 1})


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
    size = rf"\lfloor ({scale} {{}} + {offset}) / {divisor} \rfloor"
    latex = f"{size.format(f'(n + {advance} x)')} = {size.format('n')} + {period} x"
    return Lemma(name, text, latex, build, {"n": n, "x": 1, "q": q, "moved": q + period})


def _scale_lemma(node: str, source: int, own: int, name: str) -> Lemma:
    def build(a: Algebra) -> Condition:
        (x,) = a.integers("x")
        return a.equal(own * x, source * x)

    text = f"if the start of a tile moves, the outputs of {node!r} move as those that it reads"
    return Lemma(name, text, rf"{own} x = {source} x", build, {"x": 1})


def _alignment_lemma(node: str, numerator: int, denominator: int, advance: int, name: str) -> Lemma:
    def build(a: Algebra) -> Condition:
        (x,) = a.integers("x")
        return a.equal((numerator * x) % (denominator * advance), 0)

    text = f"the start of every tile is a multiple of {advance} samples at {node!r}"
    return Lemma(name, text, rf"{denominator * advance} \mid {numerator} x", build, {"x": 1})


# --- numbers ---------------------------------------------------------------------------------------------------------


def _numbers(node: str, reads: AxisReads, end: str, source: int, own: int) -> tuple[Key, Callable[[str], Lemma]]:
    """Return the lemma that the outputs before, or from, ``own`` on read what is before, or from, ``source`` on.

    The claim is about all integers, so that both numbers can be moved by multiples of advance and period.
    """
    axis = reads.axis
    if axis is None:
        times = source // reads.advance
        limits = tuple((o[0], o[-1]) for o in reads.offsets)
        key: Key = (reads.period, reads.advance, limits)
        make = partial(_offset_claim, end, *key)
        moved = source - reads.advance * times, own - reads.period * times
    else:
        window = Axis(1, 1, axis.n_taps, axis.stride, axis.dilation, axis.pad_low, flip=axis.flip)
        key, make = (window, reads.transposed), partial(_window_claim, end, window, reads.transposed)
        times = source if reads.transposed else source // axis.stride
        step, advance = (axis.stride, 1) if reads.transposed else (1, axis.stride)
        moved = source - advance * times, own - step * times
    # Near the example, small integers refute a wrong number.
    first = moved[0] if reads.transposed else moved[1] // (reads.period if axis is None else 1)
    example = {"k": first, "t": reads.axis.n_taps - 1 if reads.axis and reads.transposed == (end == "low") else 0}
    return ("numbers", end, *key, *moved), partial(_numbers_lemma, node, end, partial(make, *moved), example, *moved)


def _numbers_lemma(
    node: str,
    end: str,
    build: Callable[[Algebra], Condition],
    example: Mapping[str, int],
    source: int,
    own: int,
    name: str,
) -> Lemma:
    word = {"low": "from {} on", "high": "before {}"}[end]
    text = (
        f"at {node!r}, outputs {word.format(own)} read samples {word.format(source)} only, wherever one starts to count"
    )
    sign = r"\ge" if end == "low" else "<"
    latex = rf"j {sign} {own} \implies x(j, t) {sign} {source}"
    return Lemma(name, text, latex, build, example)


def _window_claim(end: str, axis: Axis, transposed: bool, source: int, own: int, a: Algebra) -> Condition:
    """Return the claim for windows, by the one-axis rule's positions."""
    k, t = a.integers("k t")
    a.assume(a.within(t, axis.n_taps))
    position = axis.position(k, t)
    output, read = (position, k) if transposed else (k, position)
    return a.implies(output >= own, read >= source) if end == "low" else a.implies(output < own, read < source)


def _offset_claim(
    end: str, period: int, advance: int, limits: tuple[tuple[int, int], ...], source: int, own: int, a: Algebra
) -> Condition:
    """Return the claim for outputs that read samples at fixed offsets."""
    k, _ = a.integers("k t")
    claims = []
    for r, (first, last) in enumerate(limits):
        if end == "low":
            claims.append(a.implies(period * k + r >= own, advance * k + first >= source))
        else:
            claims.append(a.implies(period * k + r < own, advance * k + last < source))
    return a.both(*claims)


# --- reads -----------------------------------------------------------------------------------------------------------


def _reads_lemmas(plan: AxisPlan, node: str, reads: AxisReads) -> Iterator[tuple[Key, Callable[[str], Lemma]]]:
    """Yield the lemmas about what a node reads inside the image and at its ends."""
    yield ("position",), _position_lemma
    for scale, offset, divisor in reads.sizes:
        rule = (scale, offset % divisor, divisor)
        yield (
            ("sizes", *rule, reads.period, reads.advance),
            partial(_sizes_lemma, node, rule, reads.period, reads.advance),
        )
    yield ("reads", "inside", reads.boundary), partial(_sample_lemma, "inside", reads.boundary)
    if plan.periodic:
        yield ("reads", "ring", reads.advance), partial(_ring_lemma, reads.advance)
        return
    for case in ("before", "beyond") if reads.boundary != "circular" else ():  # (network): then nothing is read there
        yield ("reads", case, reads.boundary), partial(_sample_lemma, case, reads.boundary)


_SAMPLES: Final[dict[str, tuple[str, str, dict[str, int]]]] = {
    "inside": ("at a position inside an axis, its sample is read", "r(p) = p", {"n": 9, "p": 3, "kept": 2}),
    "before": (
        "before the first sample, by no more than the plan allows, a sample before the kept end is read, or nothing, "
        "whatever the size",
        r"r_n(-p) = r_N(-p)",
        {"n": 9, "p": 2, "kept": 7},
    ),
    "beyond": (
        "beyond the last sample, by no more than the plan allows, a sample after the first kept one is read, or "
        "nothing, at a place that moves with the size",
        r"r_{n + \delta}(p + \delta) = r_n(p) + \delta",
        {"n": 9, "p": 1, "kept": 2},
    ),
}


def _sample_lemma(case: str, boundary: Boundary, name: str) -> Lemma:
    """Return the lemma about the sample that is read at a position inside an axis, before it or beyond it."""
    text, latex, example = _SAMPLES[case]
    return Lemma(name, f"{text} (boundary {boundary!r})", latex, partial(_sample, case, boundary), example)


def _sample(case: str, boundary: Boundary, a: Algebra) -> Condition:
    n, p, kept = a.integers("n p kept")
    a.assume(n >= 1, p >= 0, kept >= 0, kept <= n)
    if case == "inside":
        a.assume(p < n)
        return a.equal(read_sample(p, n, boundary, a.select), p)
    a.assume(p >= 1)
    folded = {"reflect": p + 1, "symmetric": p}.get(boundary, 1 if boundary == "replicate" else 0)
    a.assume(folded <= kept if case == "before" else folded <= n - kept)  # what the plan checks
    if case == "before":
        sample = read_sample(-p, n, boundary, a.select)
        inner = a.both(a.equal(sample, folded - 1), sample < kept)
    else:
        sample = read_sample(n - 1 + p, n, boundary, a.select)
        inner = a.both(a.equal(sample, n - folded), sample >= kept)
    return a.equal(sample, NOTHING) if boundary == "zero" else inner


def _ring_lemma(advance: int, name: str) -> Lemma:
    def build(a: Algebra) -> Condition:
        m, k, c, o = a.integers("m k c o")
        a.assume(m >= 1)
        image = read_sample(advance * ((k + c) % m) + o, advance * m, "circular", a.select)
        return a.equal(image, (advance * k + o + advance * c) % (advance * m))

    text = f"on a ring, output k + c reads the samples that output k reads, moved by {advance} c"
    latex = rf"r\bigl((k + c) \bmod m\bigr) = (r(k) + {advance} c) \bmod {advance} m"
    return Lemma(name, text, latex, build, {"m": 5, "k": 3, "c": 4, "o": 1})
