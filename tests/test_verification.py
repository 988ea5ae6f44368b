"""Verification: verdicts against enumeration, exact bounds, right and forged certificates, VNN-LIB, the command."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import convmatrix as cm
from convmatrix.cli import main
from convmatrix.constraints import (
    HalfSpace,
    Property,
    box_around,
    encode,
    normal_form,
    output_is_largest,
    outputs_at_most,
    read_vnnlib,
    recheck,
    verify,
)
from convmatrix.constraints.exact_bounds import ExactForm
from convmatrix.constraints.properties import unsafe_box
from convmatrix.network import Addition, Convolution, Elementwise, FullyConnected, Input, Network, Node, Pooling
from tests.random_networks import random_network
from tests.random_verification import check_evidence, check_random, dense_network, forgeries, random_case

RELU = Network([Input((1,)), Elementwise("relu")])


def pooled_network(seed: int = 0) -> Network:
    """Return a convolution, a rectifier and max pooling with a shortcut, on inputs of two axes."""
    rng = np.random.default_rng(seed)
    geometry = cm.ConvGeometry((4, 4), (3, 3), out_channels=2, padding=1)
    return Network(
        [
            Input((1, 4, 4)),
            Node("conv", Convolution(geometry, rng.integers(-3, 4, (2, 1, 3, 3)), rng.integers(-3, 4, 2)), ("input",)),
            Node("relu", Elementwise("leaky_relu", {"slope": 0.25}), ("conv",)),
            Node("sum", Addition(), ("relu", "conv")),
            Node("pool", Pooling("max", 2), ("sum",)),
            Node(
                "out",
                FullyConnected(8, 3, rng.integers(-2, 3, (3, 8)), rng.integers(-2, 3, 3), flatten=True),
                ("pool",),
            ),
        ]
    )


# --- verdicts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_verdicts_agree_with_enumeration_of_all_signs(seed: int) -> None:
    assert check_random(seed) in ("holds", "violated")


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.01, 2), st.integers(-30, 30))
def test_verdicts_contain_samples(seed: int, radius: float, bound: int) -> None:
    """For any piecewise linear network, no sample is unsafe if a property holds, and bounds are in order."""
    network = random_network(seed, smooth=False, most_nodes=4)
    rng = np.random.default_rng(seed)
    box = box_around(rng.normal(size=network.input_shape).round(2), radius)
    n = math.prod(network.output_shape)
    claim = outputs_at_most(rng.integers(-1, 2, (2, n)), bound)
    try:
        found = verify(network, box, claim, most_nodes=6)
    except (ValueError, TypeError):
        assert not all(node.exact for node in network.nodes)  # products and averages over branches have no normal form
        return
    check_evidence(found, network, box, claim)
    x = rng.uniform(*box, size=(50, *network.input_shape))
    y = network(x).reshape(50, n)
    C = np.array([[-c for _, c in spaces[0].outputs] for spaces in claim.unsafe if spaces[0].outputs], object)
    if found:
        assert all(claim.reached(a, b) is None for a, b in zip(x.reshape(50, -1).tolist(), y.tolist(), strict=True))
    assert C.size == 0 or found.lower <= found.upper + 1e-9


def test_all_kinds_of_nodes_and_two_axes() -> None:
    network = pooled_network()
    box = box_around(np.zeros((1, 4, 4)), 0.5)
    highest = max(
        float(network(x)[:, 0].max()) for x in [np.random.default_rng(0).choice([-0.5, 0.5], (4000, 1, 4, 4))]
    )
    violated = verify(network, box, outputs_at_most([[1, 0, 0]], highest - 1))
    assert violated.verdict == "violated"
    check_evidence(violated, network, box, violated.claim)
    held = verify(network, box, outputs_at_most([[1, 0, 0]], highest + 20))
    assert held
    check_evidence(held, network, box, held.claim)


def test_limits_give_unknown_with_proven_bounds() -> None:
    for seed in range(200, 260):
        network, box, claim, margin = random_case(seed, enumerate_signs=True)
        found = verify(network, box, claim, most_nodes=1)
        if found.verdict == "unknown":
            break
    assert found.verdict == "unknown"
    assert found.lower <= margin <= found.upper + 1e-9  # the point is evaluated in float64
    assert "limit of 1 nodes" in found.reason
    assert not found
    with pytest.raises(ValueError, match=r"no certificate.*unknown"):
        found.to_json("never.json")
    assert "limit of 1 nodes" in found.explain()
    assert verify(network, box, claim, timeout=1e-9).verdict == "unknown"


def test_the_same_call_gives_the_same_answer() -> None:
    network, box, claim, _ = random_case(3)
    first, second = (verify(network, box, claim) for _ in range(2))
    assert (first.nodes, first.lower, first.certificate) == (second.nodes, second.lower, second.certificate)


def test_equality_is_decided_exactly() -> None:
    """The output reaches 1 but does not exceed it: strict and other inequalities differ."""
    at_most = verify(RELU, (-1, 1), outputs_at_most([[1]], 1))
    assert at_most
    assert at_most.lower == 0
    certificate = dict(at_most.certificate or {})
    assert recheck(certificate, RELU)
    ((inputs, outputs, right, strict),) = certificate["spaces"]
    assert strict
    certificate["spaces"] = [[inputs, outputs, right, False]]
    assert "not positive" in recheck(certificate, RELU).reason
    reached = Property(((HalfSpace((), ((0, Fraction(-1)),), Fraction(-1)),),))
    found = verify(RELU, (-1, 1), reached)
    assert found.verdict == "violated"
    assert found.counterexample is not None
    assert found.counterexample.tolist() == [1.0]


def test_numbers_of_numpy_are_exact_and_can_be_saved(tmp_path: Path) -> None:
    identity = Network([Input((2,)), FullyConnected(2, 2, np.eye(2), [0, 0])])
    claim = output_is_largest(identity, np.int8(1))  # type: ignore[arg-type]
    found = verify(identity, ([0.0, 2.0], [1.0, 3.0]), claim)
    assert found
    found.to_json(tmp_path / "proof.json")
    assert recheck(tmp_path / "proof.json", identity, ([0.0, 2.0], [1.0, 3.0]), claim)
    large = HalfSpace(((np.int64(0), np.int64(2**62)), (1, np.int64(2**62))), (), np.int64(2**62))  # type: ignore[arg-type]
    assert large.excess([1, 1], []) == 2**62


def test_a_violation_within_rounding_is_not_claimed() -> None:
    """0.1 + 0.2 exceeds 0.3 in float64; the exact sum of the float64 numbers does not exceed it by more than 2**-54."""
    network = Network([Input((2,)), FullyConnected(2, 1, [[1.0, 1.0]], [0.0])])
    exact = Fraction(0.1) + Fraction(0.2)
    claim = Property(((HalfSpace((), ((0, Fraction(-1)),), -exact, strict=True),),))
    assert exact < 0.1 + 0.2
    found = verify(network, ([0.1, 0.2], [0.1, 0.2]), claim)
    assert found
    check_evidence(found, network, (np.array([0.1, 0.2]),) * 2, claim)


def test_inequalities_of_inputs_and_empty_sets() -> None:
    identity = Network([Input((2,)), FullyConnected(2, 2, np.eye(2), [0, 0])])
    diagonal = HalfSpace(((0, Fraction(1)), (1, Fraction(1))), (), Fraction(-1))
    high = HalfSpace((), ((0, Fraction(-1)),), Fraction(-1, 2))
    apart = Property(((diagonal, high, HalfSpace((), ((1, Fraction(-1)),), Fraction(0))),))
    assert verify(identity, (-1, 1), apart)
    together = Property(((diagonal, HalfSpace((), ((0, Fraction(1)),), Fraction(0))),))
    found = verify(identity, (-1, 1), together)
    assert found.verdict == "violated"
    assert verify(identity, (-1, 1), Property(()))
    everything = verify(identity, (-1, 1), Property(((),)))
    assert everything.verdict == "violated"
    outside = Property(((HalfSpace(((0, Fraction(1)),), (), Fraction(-2)),),))
    nowhere = verify(identity, (-1, 1), outside)
    assert nowhere
    assert recheck(nowhere.certificate, identity)


def test_arguments_of_other_types_are_refused_by_name() -> None:
    claim: Any = outputs_at_most([[1]], 1)
    boxes: list[Any] = [None, 3, "ab", (0,), (0, 1, 2)]
    for box in boxes:
        with pytest.raises((TypeError, ValueError), match="box must"):
            verify(RELU, box, claim)
    with pytest.raises(TypeError, match="box must"):
        recheck(verify(RELU, (-1, 1), outputs_at_most([[1]], 2)).certificate, RELU, 3)
    wrong: list[dict[str, Any]] = [{"timeout": "a"}, {"most_nodes": 1.5}, {"most_nodes": -1}]
    for option in wrong:
        with pytest.raises((TypeError, ValueError), match=next(iter(option))):
            verify(RELU, (-1, 1), claim, **option)
    for label in ("a", 1.5, None):
        with pytest.raises(TypeError, match="label must be an integer"):
            output_is_largest(RELU, label)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="weights must hold real numbers"):
        encode(RELU, -1, 1).objective(RELU.outputs[0], "a")
    with pytest.raises(TypeError, match="dtype 'zz' is unknown"):
        cm.counts.layer_counts(cm.ConvGeometry(4, 2), dtype="zz")


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"output 1.*1 output"):
        verify(RELU, (-1, 1), outputs_at_most([[0, 1]], 1))
    with pytest.raises(ValueError, match="the box is empty"):
        verify(RELU, (1, -1), outputs_at_most([[1]], 1))
    with pytest.raises(ValueError, match="finite"):
        verify(RELU, (-np.inf, 1), outputs_at_most([[1]], 1))
    with pytest.raises(ValueError, match=r"output 3.*1 output"):
        output_is_largest(RELU, 3)
    with pytest.raises(ValueError, match="nan"):
        HalfSpace((), ((0, np.nan),), 0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="matrix"):
        outputs_at_most([1, 0], 1)
    with pytest.raises(ValueError, match="bound has shape"):
        outputs_at_most([[1, 0]], [1, 2])
    with pytest.raises(ValueError, match="finite"):
        outputs_at_most([[np.nan]], 1)
    with pytest.raises(ValueError, match="radius"):
        box_around([0.0], -1)
    smooth = Network([Input((1,)), Node("tanh", Elementwise("tanh"), ("input",))])
    with pytest.raises(ValueError, match="tanh"):
        verify(smooth, (-1, 1), outputs_at_most([[1]], 1))
    with pytest.raises(TypeError, match="property"):
        verify(RELU, (-1, 1), cast("Any", None))


# --- exact bounds -----------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 70))
def test_exact_bounds_contain_every_value_with_any_slopes(seed: int, bits: int) -> None:
    """The rule of rectifiers is valid for any slopes and any number of bits."""
    network, box, _, _ = random_case(seed % 50)
    rng = np.random.default_rng(seed)
    form = normal_form(network, *box)
    exact = ExactForm(form, bits)
    bounds = exact.propagate(*exact.grid(box[0].tolist(), box[1].tolist()))
    if seed % 2:
        exact.tighten_all(bounds)
    terms = {int(v): int(rng.integers(-(2**60), 2**60)) for v in rng.integers(0, form.n_variables, 3)}
    slopes = {int(v): int(rng.integers(-(2**60), 2**60)) for v in form.post}
    scale = 1 << bits
    least = [exact.minimum(terms, bounds, chosen) for chosen in (slopes, None)]
    for x in rng.uniform(*box, size=(5, len(box[0]))).tolist():
        point = np.empty(len(x), object)
        point[:] = [Fraction(value) for value in x]
        values = form.complete(point)
        assert all(low <= v * scale <= high for v, low, high in zip(values, bounds.lower, bounds.upper, strict=True))
        total = sum(Fraction(factor, scale) * values[v] for v, factor in terms.items())
        assert all(Fraction(bound, 1 << (2 * bits + exact.shift)) <= total for bound in least)


def test_exact_bounds_need_definitions_in_order() -> None:
    form = normal_form(RELU, -1, 1)
    object.__setattr__(form, "order", form.order[::-1][:0])
    with pytest.raises(ValueError, match="1 variables have no definition"):
        ExactForm(form)


# --- certificates -----------------------------------------------------------------------------------------------------


def proved() -> tuple[Network, Any, Property, Any]:
    """Return a network, a box, a property, and the proof of it."""
    for seed in range(100):
        network, box, claim, _ = random_case(seed)
        found = verify(network, box, claim)
        if found:
            return network, box, claim, found
    raise AssertionError("no property holds")


def proved_and_broken() -> tuple[Network, Any, tuple[Any, Any]]:
    """Return a network, a certificate with splits, and a box in which its property does not hold."""
    for seed in range(300, 400):
        network, box, claim, _ = random_case(seed)
        found = verify(network, box, claim)
        wide = (box[0] - 3, box[1] + 3)
        if found and found.nodes > 2 and verify(network, wide, claim, most_nodes=20).verdict == "violated":
            return network, found.certificate, wide
    raise AssertionError("no random network needs a split")


def test_forged_certificates_are_rejected_with_a_reason() -> None:
    network, certificate, wide = proved_and_broken()
    assert recheck(certificate, network)
    rejected = 0
    for what, forged in forgeries(certificate, wide):
        checked = recheck(forged, network)
        assert not checked, what
        assert checked.reason
        rejected += 1
    assert rejected > 80


def test_certificates_are_for_one_network_box_and_property(tmp_path: Path) -> None:
    network, box, claim, found = proved()
    assert len(claim.unsafe) == 1
    path = tmp_path / "proof.json"
    found.to_json(path)
    assert recheck(path, network, box, claim)
    assert recheck(str(path), network)
    assert "another box" in recheck(path, network, (box[0] - 1, box[1])).reason
    assert "another property" in recheck(path, network, box, outputs_at_most([[1]], 7)).reason
    other, *_ = random_case(2)
    assert not recheck(path, other)
    text = path.read_text()
    for what in (text[:-40], "[" * 10**5, '{"format": NaN}', "1" * 10**5, "", "\xff"):
        path.write_text(what, encoding="latin-1")
        assert (
            "JSON" in recheck(path, network).reason
            or "object" in recheck(path, network).reason
            or "format" in recheck(path, network).reason
        )
    with pytest.raises(OSError, match="proof"):
        recheck(tmp_path / "proof2.json", network)


def test_a_false_claim_has_no_certificate_whatever_the_multipliers() -> None:
    """Random trees and multipliers for a property that does not hold are never accepted."""
    network, box, claim, margin = next(case for case in map(random_case, range(100)) if case[3] < 0)
    assert margin < 0
    other = Property(((HalfSpace((), (), Fraction(-1)),),))
    certificate = dict(verify(network, box, other).certificate or {})
    spaces = [[[], [[j, str(c)] for j, c in s.outputs], str(s.right), s.strict] for s in claim.unsafe[0]]
    certificate.update(spaces=spaces, unsafe=[list(range(len(spaces)))])
    form, rng = normal_form(network, *box), np.random.default_rng(0)
    for _ in range(200):
        tree: list[Any] = [
            ["split", variable, int(rng.integers(-(2**62), 2**62)) << 4 if rng.random() < 0.5 else 0]
            for variable in rng.permutation(form.pre)[: rng.integers(0, 3)].tolist()
        ]
        leaves = len(tree) + 1
        for _ in range(leaves):
            weights = [[row, int(rng.integers(0, 2**60))] for row in range(len(spaces))]
            tree.append(["leaf", weights, [[v, int(rng.integers(-(2**62), 2**62))] for v in form.post.tolist()]])
        certificate["proofs"] = [{"sets": [0], "tighten": 9, "trees": [tree]}]
        assert not recheck(certificate, network)


# --- VNN-LIB ----------------------------------------------------------------------------------------------------------

DECLARED = "(declare-const X_0 Real)\n(declare-const X_1 Real)\n(declare-const Y_0 Real)\n; outputs above\n"
BOUNDS = "(assert (and (<= X_0 0.1) (>= X_0 -1e-1)))(assert (<= X_1 +1.))(assert (>= X_1 0))"
SUM = Network([Input((2,)), FullyConnected(2, 1, [[1.0, 1.0]], [0.0])])


def test_vnnlib_formulas() -> None:
    text = DECLARED + BOUNDS + "(assert (or (and (>= Y_0 (+ 1 (* 2 X_0 3))) (< X_1 0.5)) (not (<= Y_0 X_1 ))))"
    box, claim = read_vnnlib(text, SUM)
    assert [side.tolist() for side in box] == [[-0.1, 0.0], [0.1, 1.0]]
    assert len(claim.unsafe) == 2
    tenth = Fraction(0.1)
    for x in [*np.random.default_rng(0).uniform(*box, size=(50, 2)).tolist(), [0.1, 1.0], [0.0, 1.0], [-0.1, 0.0]]:
        for y in (-1.0, x[1], 1 + 6 * x[0], 3.0):
            unsafe = abs(Fraction(x[0])) <= tenth and ((y >= 1 + 6 * Fraction(x[0]) and x[1] < 0.5) or y > x[1])
            exact = [Fraction(v) for v in x]
            assert (claim.reached(exact, [Fraction(y)]) is not None) == unsafe, (x, y)


def test_vnnlib_verdicts(tmp_path: Path) -> None:
    path = tmp_path / "high.vnnlib"
    path.write_text(DECLARED + BOUNDS + "(assert (> Y_0 1.2))")
    box, claim = read_vnnlib(path, SUM)
    assert verify(SUM, box, claim)
    box, claim = read_vnnlib(DECLARED + BOUNDS + "(assert (or (>= Y_0 1.05) (<= Y_0 -9)))", SUM)
    assert verify(SUM, box, claim).verdict == "violated"
    two = (
        "(assert (or (and (<= X_0 -1) (>= X_0 -2)) (and (<= X_0 2) (>= X_0 1))))(assert (<= X_1 0))(assert (>= X_1 0))"
    )
    box, claim = read_vnnlib(DECLARED + two + "(assert (= Y_0 0.5))", SUM)
    assert [side.tolist() for side in box] == [[-2.0, 0.0], [2.0, 0.0]]
    found = verify(SUM, box, claim)
    assert found
    assert recheck(found.certificate, SUM, box, claim)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "declares 0 variables X_i"),
        (DECLARED, "input X_0 has no lower bound"),
        (DECLARED + "(assert (<= X_0 1))(assert (>= X_0 0))(assert (>= X_1 0))", "input X_1 has no upper bound"),
        (DECLARED + "(declare-const X_2 Real)", "3 variables X_i, but the network has 2 inputs"),
        (DECLARED + "(declare-const Z Real)", "'Z'"),
        (DECLARED + BOUNDS + "(assert (<= Y_1 0))", "no variable Y_1"),
        (DECLARED + BOUNDS + "(assert (<= (* X_0 Y_0) 0))", "not linear"),
        (DECLARED + BOUNDS + "(assert (<= Y_0 inf))", "inf is neither"),
        (DECLARED + BOUNDS + "(assert (<= Y_0 1e999))", "1e999 is neither"),
        (DECLARED + BOUNDS + "(assert (=> true false))", "not a formula"),
        (DECLARED + BOUNDS + "(assert (<= (sin Y_0) 0))", "not a linear term"),
        (DECLARED + BOUNDS + "(forget)", "neither a declaration nor an assertion"),
        (DECLARED + BOUNDS + "(assert (>= X_0 2))", "contradict"),
        (DECLARED + BOUNDS + "stray", "outside of parentheses"),
        (DECLARED + "(assert", "1 parentheses are not closed"),
        (DECLARED + "))", "closed that was not opened"),
        (DECLARED + "(" * 10**5, "nested more than 200 deep"),
        (DECLARED + BOUNDS + "(assert (or (<= Y_0 1) (<= Y_0 2)))" * 40, "1099511627776 unsafe sets"),
    ],
)
def test_vnnlib_refusals(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason.replace("(", r"\(")):
        read_vnnlib(text or "; nothing", SUM)


VERSION2 = """(vnnlib-version <2.0>)
(declare-network N (declare-input X float32 [2,1]) (declare-output Y float32 [1]))
(assert (and (<= X[0,0] 0.5) (>= X[0,0] 0.0) (<= X[1,0] 0.5) (>= X[1,0] 0.0)))
(assert (or (> Y[0] (+ 1.0 X[1,0])) (== Y[0] (- X[0,0] 1.0))))
"""


def test_vnnlib_2() -> None:
    pytest.importorskip("vnnlib")
    box, claim = read_vnnlib(VERSION2, SUM)
    assert [side.tolist() for side in box] == [[0.0, 0.0], [0.5, 0.5]]
    assert verify(SUM, box, claim)
    box, claim = read_vnnlib(VERSION2.replace("1.0 X", "0.25 X"), SUM)
    assert verify(SUM, box, claim).verdict == "violated"
    for old, new, reason in (
        ("[2,1]", "[3,1]", "3, 1"),
        ("float32 [1]", "float32 [1] ) (declare-output Z float32 [1]", "one output"),
        ("(or", "(oder", "VNN-LIB text"),
    ):
        with pytest.raises(ValueError, match=reason):
            read_vnnlib(VERSION2.replace(old, new), SUM)


def test_vnnlib_2_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "vnnlib", None)
    with pytest.raises(ImportError, match=r"pip install vnnlib"):
        read_vnnlib(VERSION2, SUM)


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that runs the command on a network of sums and a property; the ONNX reader has own tests."""
    network, model = tmp_path / "sum.onnx", SUM
    network.write_bytes(b"")
    monkeypatch.setattr(Network, "from_onnx", staticmethod(lambda path, shape=None: model))

    def run(assertions: str, *options: str) -> int:
        path = tmp_path / "property.vnnlib"
        path.write_text(DECLARED + BOUNDS + assertions)
        return main(["verify", str(network), str(path), *options])

    return run


def test_command(command: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    proof = tmp_path / "proof.json"
    assert command("(assert (> Y_0 1.2))", "--certificate", str(proof)) == 0
    assert "holds" in capsys.readouterr().out
    assert command("(assert (> Y_0 1.2))", "--recheck", str(proof)) == 0
    assert command("(assert (> Y_0 1.0))", "--recheck", str(proof), "--json") == 1
    assert "another property" in capsys.readouterr().out
    assert command("(assert (> Y_0 1.0))", "--json") == 1
    record = json.loads(capsys.readouterr().out)
    assert record["verdict"] == "violated"
    assert sum(record["counterexample"]) == record["output"][0] > 1
    assert command("(assert (> Y_0 1.0))", "--timeout", "1e-9") == 3
    assert "unknown" in capsys.readouterr().out
    for options in (("--timeout", "0"), ("--recheck", "none.json"), ("--recheck", str(proof), "--nodes", "3")):
        assert command("(assert (> Y_0 1.0))", *options) == 2
    assert main(["verify", str(tmp_path / "none.onnx"), "p.vnnlib"]) == 2


# --- sizes, limits and forms that once went wrong ---------------------------------------------------------------------

IDENTITY = Network([Input((1,)), FullyConnected(1, 1, [[1.0]], [0.0])])
BELOW = HalfSpace(((0, Fraction(1)),), (), Fraction(0))  # x <= 0


def at_least(bound: Any, strict: bool = False) -> HalfSpace:
    """Return the half-space of y >= bound, or y > bound."""
    return HalfSpace((), ((0, Fraction(-1)),), -Fraction(bound), strict)


def test_margins_are_those_within_the_bounds_of_inputs() -> None:
    """For inputs x <= 0 the margin is 10 - x; for larger ones the documentation promises nothing."""
    found = verify(IDENTITY, (-1, 1), Property(((BELOW, at_least(10)),)))
    assert (found.lower, found.upper) == (10, 10)
    thirds = HalfSpace(((0, Fraction(3)),), (), Fraction(1))  # x <= 1/3 is no float64: its excess counts
    found = verify(IDENTITY, (-1, 1), Property(((thirds, at_least(1)),)))
    assert found.lower <= 0.75 + 1e-9  # at x = 1/3: excesses 3 x - 1 and 1 - x
    assert found
    apart = verify(IDENTITY, (-1, 1), Property(((HalfSpace(((0, Fraction(-1)),), (), Fraction(-2)),),)))
    assert (apart.lower, apart.upper) == (math.inf, math.inf)
    assert "no input within their bounds" in apart.explain()


def test_bounds_of_inputs() -> None:
    x = Fraction(1)
    for factor, right, strict, wanted in (
        (x, 0, False, ([0.0], [0.0], [])),
        (x, 0, True, ([1.0], [0.0], [])),  # x < 0 leaves nothing of [0, 1]
        (-x, -1, True, ([1.0], [0.0], [])),
        (2 * x, 1, False, ([0.0], [0.5], [])),
        (-4 * x, -1, False, ([0.25], [1.0], [])),
        (2 * x, 1, True, ([0.0], [0.5], [])),
    ):
        assert unsafe_box([HalfSpace(((0, factor),), (), Fraction(right), strict)], [0.0], [1.0]) == wanted
    low, high, rest = unsafe_box([HalfSpace(((0, 3 * x),), (), x)], [0.0], [1.0])
    assert rest == [0]
    assert low == [0.0]
    assert Fraction(1, 3) < Fraction(high[0]) < Fraction(1, 3) + Fraction(1, 2**52)


def test_sets_that_are_empty_by_a_strict_inequality_are_not_reached() -> None:
    strict = HalfSpace(((0, Fraction(1)),), (), Fraction(0), strict=True)
    for claim in (Property(((strict,),)), Property(((strict, HalfSpace(((0, Fraction(-1)),), (), Fraction(0))),))):
        found = verify(IDENTITY, (0, 1), claim)
        assert found
        assert recheck(found.certificate, IDENTITY, (0, 1), claim)
    assert verify(IDENTITY, (0, 1), Property(((BELOW,),))).verdict == "violated"
    box, claim = read_vnnlib(ONE + "(assert (< X_0 0))(assert (>= Y_0 -1))", IDENTITY)
    assert verify(IDENTITY, box, claim)


@pytest.mark.parametrize(
    ("weight", "box", "coefficient"),
    [
        (0.1, (0, 0), 1),
        (1e-300, (-1, 1), 1),
        (1, (-1e-300, 1e-300), 1),
        (1, (-1e-12, 1e-12), 1),
        (1e-10, (-1, 1), 1),
        (1, (-1, 1), 1e-12),
        (1, (-1e12, 1e12), 1e12),
        (1e-10, (1, 1 + 2e-10), 1),
        (1, (-1e307, 1e307), 1),
    ],
)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_numbers_of_any_size_are_decided(weight: float, box: tuple[float, float], coefficient: float) -> None:
    """The greatest value of w |x + y| + w |x - y| is 2 w times the largest |x|."""
    first = FullyConnected(2, 2, [[weight, weight], [weight, -weight]], [0, 0])
    network = Network([first, Elementwise("abs"), FullyConnected(2, 1, [[1, 1]], [0])])
    greatest = 2 * weight * max(map(abs, box)) * coefficient
    held = verify(network, box, outputs_at_most([[coefficient]], 1.05 * greatest or 2), most_nodes=50)
    assert held
    assert recheck(held.certificate, network)
    if greatest:
        broken = verify(network, box, outputs_at_most([[coefficient]], 0.95 * greatest), most_nodes=50)
        assert broken.verdict == "violated"


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_numbers_beyond_float64_are_refused_or_right() -> None:
    for number in (Fraction(10) ** 400, -Fraction(10**700, 3)):
        with pytest.raises(ValueError, match=r"1\.8e308.*1e(400|700)"):
            at_least(number)
    with pytest.raises(ValueError, match=r"Y_0.*1e600"):
        read_vnnlib(ONE + "(assert (>= Y_0 (* 1e300 1e300)))", IDENTITY)
    with pytest.raises(ValueError, match=r"X_0.*1e600"):
        read_vnnlib(ONE + "(assert (<= X_0 (* 1e300 1e300)))", IDENTITY)
    found = verify(IDENTITY, (-1e308, 1e308), outputs_at_most([[1e300]], 1.7e308))
    assert found.verdict == "violated"
    assert verify(IDENTITY, (-1.7e308, 1.7e308), outputs_at_most([[1]], 1.75e308))
    wide = HalfSpace(((0, Fraction(1, 10**200)),), (), Fraction(10) ** 300)  # x <= 1e500
    assert verify(IDENTITY, (0, 1), Property(((wide, at_least(2)),)))


def test_several_outputs_need_a_choice() -> None:
    rectified, negative = Node("a", Elementwise("relu"), ("input",)), FullyConnected(1, 1, [[-1.0]], [0.0])
    network = Network([Input((1,)), rectified, Node("b", negative, ("input",))], ["a", "b"])
    claim = Property(((HalfSpace((), ((0, Fraction(1)),), Fraction(-1, 2)),),))
    for call in (
        lambda: verify(network, (-1, 1), claim),
        lambda: read_vnnlib(ONE + "(assert (<= Y_0 0))", network),
        lambda: recheck({}, network),
        lambda: output_is_largest(network, 0),
    ):
        with pytest.raises(ValueError, match=r"2 outputs, a, b.*name="):
            call()
    found = verify(network, (-1, 1), claim, name="a")
    assert found
    assert recheck(found.certificate, network, name="a")
    assert "another network" in recheck(found.certificate, network, name="b").reason
    assert verify(network, (-1, 1), claim, name="b").verdict == "violated"
    with pytest.raises(KeyError, match="no node 'c'"):
        verify(network, (-1, 1), claim, name="c")
    assert read_vnnlib(ONE + "(assert (<= Y_0 0))", network, name="b")[1].unsafe
    logits = Network([Input((2,)), Node("softmax", Elementwise("softmax", {"axis": 0}), ("input",))])
    assert verify(logits, ([0, 2], [1, 3]), output_is_largest(logits, 1, name="input"), name="input")


def test_time_limits_count_while_bounds_are_tightened() -> None:
    rng = np.random.default_rng(0)
    sizes = [(9, 20), (20, 20), (20, 20), (20, 3)]
    network = dense_network([(rng.normal(size=(b, a)) / 8, np.zeros(b)) for a, b in sizes])
    form = normal_form(network, -1, 1)
    exact = ExactForm(form)
    full, part, same = (exact.propagate(*exact.grid([-1.0] * 9, [1.0] * 9)) for _ in range(3))
    asked = iter([False] * 7 + [True])
    assert exact.tighten_all(full) == 40
    assert exact.tighten_all(part, stop=lambda: next(asked)) == 7
    assert exact.tighten_all(same, 7) == 7
    assert part == same != full
    found = verify(network, (-1, 1), outputs_at_most(np.eye(3), 100), timeout=0.2)
    assert found.seconds < 3
    if found:
        assert recheck(found.certificate, network)
    assert verify(network, (-1, 1), outputs_at_most(np.eye(3), 1e9), timeout=1e-9).lower == -math.inf


@pytest.mark.parametrize(
    "change",
    [
        {"spaces": [[[[0, "1"]], [], "9" * 400, False]]},
        {"spaces": [[[[0, "1"]], [], "-" + "9" * 1999, False]]},
        {"spaces": [[[[0, "9" * 400]], [], "1", False]]},
        {"spaces": [[[[0, "1"]], [], 10**5000, False]]},
        {"lower": [-1.7e308], "upper": [1.7e308]},
        {"unsafe": [[10**5000]]},
        {"bits": 10**5000},
        {"format": 10**5000},
    ],
)
def test_forged_numbers_are_reasons(change: dict[str, Any]) -> None:
    network = Network([Input((1,)), FullyConnected(1, 1, [[2.0]], [0.0])])
    certificate = verify(network, (-1, 1), outputs_at_most([[1]], 3)).certificate or {}
    assert recheck(certificate, network)
    checked = recheck(certificate | change, network)
    assert not checked
    assert checked.reason


def test_forged_certificates_of_any_depth_are_reasons() -> None:
    certificate = verify(IDENTITY, (-1, 1), outputs_at_most([[1]], 3)).certificate or {}
    deep: Any = []
    for _ in range(10**5):
        deep = [deep]
    for change in (
        *({key: deep} for key in certificate),
        {"spaces": [[[[0, "1"]], [], deep, False]]},
        {"proofs": [{"sets": [0], "tighten": deep, "trees": deep}]},
    ):
        assert not recheck(certificate | change, IDENTITY)
    assert "null byte" in recheck("a\0b", IDENTITY).reason
    with pytest.raises(ValueError, match="tanh"):
        recheck(certificate, Network([Input((1,)), FullyConnected(1, 1, [[1]], [0]), Elementwise("tanh")]))


def test_a_tree_of_many_splits_is_checked_in_place() -> None:
    """Each part above a split is checked within its own bounds; the last part below is x <= -1."""
    certificate = verify(IDENTITY, (-1, 1), outputs_at_most([[1]], 3)).certificate or {}
    one = 1 << certificate["bits"]
    leaf = ["leaf", [[0, one]], []]
    splits = [["split", 0, -(one * k) // 2000] for k in range(2000)]
    tree = [*splits, *[leaf] * 2001]
    certificate["proofs"][0]["trees"] = [tree]
    assert recheck(certificate, IDENTITY)
    certificate["spaces"] = [[[], [[0, "-1"]], "1/2", False]]  # y >= -1/2: the parts above -1/2 reach it
    reason = recheck(certificate, IDENTITY).reason
    first_below = 2000 + next(place for place, k in enumerate(range(2000, -1, -1)) if k <= 1000)
    assert "is not positive" in reason
    assert abs(int(reason.split("node ")[1].split()[0]) - first_below) <= 1, reason
    certificate["spaces"] = [[[], [[0, "-1"]], "-1/2", False]]  # y >= 1/2 is reached above the split only
    certificate["proofs"][0]["trees"] = [[["split", 0, 0], leaf, leaf]]
    assert "node 2 is not positive" in recheck(certificate, IDENTITY).reason


ONE = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (and (>= X_0 0) (<= X_0 1)))"


def test_vnnlib_comments_strings_and_marks(tmp_path: Path) -> None:
    plain = read_vnnlib(ONE + "(assert (>= Y_0 100))", IDENTITY)[1].unsafe
    for text in (
        ONE + "\r; comment\r(assert (>= Y_0 100))",
        ONE + '(set-info :source |a (quoted; symbol|)(set-info :x "a ) ""string""; ")\n(assert (>= Y_0 100))',
        "\ufeff" + ONE + "(assert (>= Y_0 100))(check-sat)(get-model)(exit)",
        "; (vnnlib-version <2.0>) is another version\n" + ONE + "(assert (>= Y_0 100))",
    ):
        assert read_vnnlib(text, IDENTITY)[1].unsafe == plain
        path = tmp_path / "property.vnnlib"
        path.write_bytes(text.encode())
        assert read_vnnlib(path, IDENTITY)[1].unsafe == plain
    box, _ = read_vnnlib(ONE + "(assert (<= (* 4 X_0) 1))(assert (<= (* 3 X_0) 2))", IDENTITY)
    assert [side.tolist() for side in box] == [[0.0], [0.25]]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (ONE + "(check-sat)(assert (>= Y_0 100))", r"after \(check-sat\)"),
        (ONE + "(exit)(declare-const Y_1 Real)", r"after \(exit\)"),
        (ONE + "(declare-const X_0 Real)", "X_0 is declared twice"),
        (ONE + "(assert (>= Y_00 100))", "no variable Y_00"),
        (ONE.replace("Y_0", "Y_00"), "'Y_00' is neither"),
        ("(assert (>= Y_0 100))" + ONE, "no variable Y_0 that is declared before"),
        (ONE + '(set-info :x "open)', 'string or a symbol in " is not closed'),
        ("", "empty"),
        (ONE + "(assert (or (<= Y_0 1)(<= Y_0 2)))" * 16, "65536 unsafe sets"),
    ],
)
def test_vnnlib_strictness(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_vnnlib(text, IDENTITY)
