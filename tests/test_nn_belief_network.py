"""Boltzmann machines and belief networks, beside sums over all states of networks small enough to enumerate."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import chisquare, kstest

import convmatrix as cm
from convmatrix import nn
from convmatrix.nn.boltzmann import from_blocks, to_blocks

Array = Any


def machine(
    geometry: cm.ConvGeometry, pool: Any, seed: int = 0, integers: bool = False, **options: Any
) -> nn.BoltzmannMachine:
    """Return a machine with large random parameters, so that no probability is near 1/2 by itself."""
    made = nn.BoltzmannMachine(geometry, pool, dtype=np.float64, **options)
    rng = np.random.default_rng(seed)
    for value in made.parameters.values():
        value[...] = rng.integers(-9, 10, value.shape) if integers else rng.standard_normal(value.shape)
    return made


SMALL = {
    "one axis": (cm.ConvGeometry(5, 2, out_channels=2), 2, {}),
    "no pooling": (cm.ConvGeometry(4, 2, out_channels=2), 1, {}),
    "two axes": (cm.ConvGeometry((3, 3), (2, 2), padding="same", boundary="circular"), (3, 1), {}),
    "channels": (cm.ConvGeometry(3, 2, in_channels=2, out_channels=2, groups=2), 2, {}),
    "stride": (cm.ConvGeometry(7, 3, stride=2, padding=1, out_channels=2), 2, {}),
    "unshared": (cm.ConvGeometry(5, 2, sharing="unshared"), 4, {}),
    "real": (cm.ConvGeometry(5, 2, out_channels=2), 2, {"visible": "real", "spread": 0.7}),
    "real, two axes": (cm.ConvGeometry((3, 4), (2, 3)), (2, 1), {"visible": "real", "spread": 1.4}),
}


@pytest.fixture(params=list(SMALL))
def small(request: pytest.FixtureRequest) -> nn.BoltzmannMachine:
    geometry, pool, options = SMALL[request.param]
    return machine(geometry, pool, **options)


def hidden_states(made: nn.BoltzmannMachine) -> Array:
    """Return all states of the detection units that have at most one unit on per block."""
    blocks = int(np.prod(made.pooled_shape))
    size = int(np.prod(made.block))
    choices = np.concatenate([np.zeros((1, size)), np.eye(size)])
    states = np.array([choices[list(c)] for c in itertools.product(range(size + 1), repeat=blocks)])
    return from_blocks(states.reshape(len(states), *made.pooled_shape, size), made.block)


def visible_states(made: nn.BoltzmannMachine) -> Array:
    """Return all states of binary visible units."""
    n = int(np.prod(made.input_shape))
    return np.array(list(itertools.product([0.0, 1.0], repeat=n))).reshape(-1, *made.input_shape)


def loop_energy(made: nn.BoltzmannMachine, v: Array, h: Array) -> Array:
    """Return the energies of all pairs of states, (visible, hidden), from the explicit matrix."""
    matrix = cm.conv_matrix(made.parameters["weight"], made.geometry).toarray()
    b, c = (
        np.broadcast_to(made.parameters[name].reshape(-1, *[1] * (len(shape) - 1)), shape).ravel()
        for name, shape in (("bias", made.hidden_shape), ("visible_bias", made.input_shape))
    )
    flat_v, flat_h = v.reshape(len(v), -1), h.reshape(len(h), -1)
    coupling = (flat_v @ matrix.T) @ flat_h.T
    if made.visible == "real":
        squares = ((flat_v - c) ** 2).sum(axis=1) / (2 * made.spread**2)
        return squares[:, None] - coupling / made.spread**2 - flat_h @ b
    return -coupling - flat_h @ b - (flat_v @ c)[:, None]


def some_visible(made: nn.BoltzmannMachine, count: int, seed: int = 1) -> Array:
    rng = np.random.default_rng(seed)
    shape = (count, *made.input_shape)
    return rng.standard_normal(shape) if made.visible == "real" else rng.integers(0, 2, shape).astype(float)


def shares(energies: Array, axis: int | None = None) -> Array:
    """Return exp(-E) / sum exp(-E)."""
    weights = np.exp(-(energies - energies.min()))
    return weights / weights.sum(axis=axis, keepdims=True)


# --- one machine -----------------------------------------------------------------------------------------------------


def test_energy_is_that_of_the_explicit_matrix(small: nn.BoltzmannMachine) -> None:
    v, h = some_visible(small, 6), hidden_states(small)
    found = [small.energy(np.broadcast_to(one, (len(h), *one.shape)), h) for one in v]
    np.testing.assert_allclose(found, loop_energy(small, v, h), rtol=1e-12, atol=1e-12)


def test_products_are_those_of_the_matrix_in_integers() -> None:
    for number, (geometry, pool, options) in enumerate(SMALL.values()):
        made = machine(geometry, pool, seed=number, integers=True, **{**options, "spread": 1.0})
        rng = np.random.default_rng(number)
        v, h = (rng.integers(-9, 10, (3, *shape)).astype(float) for shape in (made.input_shape, made.hidden_shape))
        pattern = geometry.pattern()
        matrix = pattern.matrix(made.parameters["weight"])
        inputs = (matrix @ v.reshape(3, -1).T).T.reshape(h.shape)
        bias = made.parameters["bias"].reshape(-1, *[1] * (h.ndim - 2))
        np.testing.assert_array_equal(made.hidden_input(v), inputs + bias)
        np.testing.assert_array_equal(made.project(h).reshape(3, -1), (matrix.T @ h.reshape(3, -1).T).T)
        jacobians = [pattern.jacobian(a).T @ b.ravel() for a, b in zip(v, h, strict=True)]
        np.testing.assert_array_equal(made.statistics(v, h)["weight"].ravel(), np.sum(jacobians, axis=0))


def test_conditionals_are_sums_over_all_states(small: nn.BoltzmannMachine) -> None:
    v, h = some_visible(small, 4), hidden_states(small)
    share = shares(loop_energy(small, v, h), axis=1)  # (visible, hidden)
    detection, pooling = small.hidden_probabilities(v)
    np.testing.assert_allclose(detection, np.tensordot(share, h, axes=1), atol=1e-13)
    np.testing.assert_allclose(pooling, np.tensordot(share, small.pool(h), axes=1), atol=1e-13)
    np.testing.assert_allclose(small.forward(v), pooling, atol=1e-13)
    if small.visible == "binary":
        states = visible_states(small)
        share = shares(loop_energy(small, states, h[-3:]), axis=0)
        np.testing.assert_allclose(small.visible_mean(h[-3:]), np.tensordot(share.T, states, axes=1), atol=1e-13)


def test_real_visible_units_minimise_the_energy_at_their_mean() -> None:
    """A normal density has its mode at its mean, and its curvature is 1 / s^2."""
    made = machine(*SMALL["real"][:2], **SMALL["real"][2])
    h = hidden_states(made)[5:6]
    mean, step = made.visible_mean(h), 1e-3
    for index in np.ndindex(made.input_shape):
        change = np.zeros((1, *made.input_shape))
        change[(0, *index)] = step
        up, down = made.energy(mean + change, h), made.energy(mean - change, h)
        np.testing.assert_allclose(up, down, atol=1e-12)
        np.testing.assert_allclose((up + down - 2 * made.energy(mean, h)) / step**2, made.spread**-2, rtol=1e-6)


def test_free_energy_is_a_sum_over_hidden_states(small: nn.BoltzmannMachine) -> None:
    v, h = some_visible(small, 4), hidden_states(small)
    np.testing.assert_allclose(np.exp(-small.free_energy(v)), np.exp(-loop_energy(small, v, h)).sum(axis=1))


def log_likelihood(made: nn.BoltzmannMachine, v: Array) -> float:
    """Return the exact mean log-likelihood, by sums over all states (real visible units are integrated out)."""
    h = hidden_states(made)
    log_numerator = np.log(np.exp(-loop_energy(made, v, h)).sum(axis=1))
    if made.visible == "binary":
        return float(np.mean(log_numerator) - np.log(np.exp(-loop_energy(made, visible_states(made), h)).sum()))
    return float(np.mean(log_numerator) - np.log(hidden_weights(made, h).sum()))


def hidden_weights(made: nn.BoltzmannMachine, h: Array) -> Array:
    """Return the integral of exp(-E(v, h)) over real v, for each hidden state."""
    mean = made.visible_mean(h)
    at_mean = np.diag(loop_energy(made, mean, h))
    return np.exp(-at_mean) * (2 * np.pi * made.spread**2) ** (mean[0].size / 2)


def test_gradient_is_that_of_the_exact_log_likelihood(small: nn.BoltzmannMachine) -> None:
    """Mean of the statistics over data, minus that over the model, beside central differences."""
    v, h = some_visible(small, 3), hidden_states(small)
    data = small.statistics(v, small.hidden_probabilities(v)[0])
    if small.visible == "binary":
        model_v = visible_states(small)
        share = np.exp(-small.free_energy(model_v))
        model_h = small.hidden_probabilities(model_v)[0]
    else:  # statistics are linear in v, so that its mean given h is enough
        model_v, model_h, share = small.visible_mean(h), h, hidden_weights(small, h)
    share /= share.sum()
    parts = [small.statistics(model_v[i : i + 1], model_h[i : i + 1]) for i in range(len(share))]
    step = 1e-5
    for name, value in small.parameters.items():
        gradient = data[name] / len(v) - sum(s * part[name] for s, part in zip(share, parts, strict=True))
        for index in np.ndindex(value.shape):
            kept = value[index]
            ends = []
            for sign in (1, -1):
                value[index] = kept + sign * step
                ends.append(log_likelihood(small, v))
            value[index] = kept
            np.testing.assert_allclose(gradient[index], (ends[0] - ends[1]) / (2 * step), atol=2e-8, rtol=1e-6)


def test_gradients_as_a_layer(small: nn.BoltzmannMachine) -> None:
    v = some_visible(small, 2)
    rng = np.random.default_rng(4)
    g = rng.standard_normal((2, *small.pooled_shape))
    small.forward(v)
    back = small.backward(g)
    gradients = {name: value.copy() for name, value in small.gradients.items()}
    step = 1e-6
    for array, gradient in [(v, back), *((small.parameters[name], gradients[name]) for name in gradients)]:
        direction = rng.standard_normal(array.shape)
        array += step * direction
        up = (g * small.forward(v)).sum()
        array -= 2 * step * direction
        down = (g * small.forward(v)).sum()
        array += step * direction
        np.testing.assert_allclose((gradient * direction).sum(), (up - down) / (2 * step), atol=1e-8, rtol=1e-6)


def test_no_overflow() -> None:
    made = machine(cm.ConvGeometry(3, 2), 2)
    made.parameters["weight"][...] = 1000
    v = np.ones((1, 1, 3))
    detection, pooling = made.hidden_probabilities(v)
    np.testing.assert_allclose(detection, 0.5)
    np.testing.assert_allclose(pooling, 1)
    assert np.isfinite(made.free_energy(v)).all()
    assert made.visible_mean(np.array([[[1.0, 0.0]]]))[0, 0, 0] == 1


def test_border_is_given_where_fewer_units_read() -> None:
    made = machine(cm.ConvGeometry((6, 6), (3, 3)), 2, border="given")
    expected = np.ones((1, 6, 6), dtype=bool)
    expected[:, 2:4, 2:4] = False
    np.testing.assert_array_equal(made.given, expected)
    circular = cm.ConvGeometry((4, 4), (3, 3), padding="same", boundary="circular")
    assert not machine(circular, 2, border="given").given.any()
    assert not machine(cm.ConvGeometry((6, 6), (3, 3)), 2).given.any()


@pytest.mark.parametrize("border", ["given", "sampled"])
def test_contrastive_divergence_compares_data_and_reconstruction(border: Any) -> None:
    made = machine(cm.ConvGeometry((6, 6), (3, 3), out_channels=3), 2, visible="real", border=border)
    v = some_visible(made, 5)
    gradients, activation, error = made.contrastive_divergence(v, np.random.default_rng(7))
    expected = made.hidden_probabilities(v)[0]
    h = made.sample_blocks(expected, np.random.default_rng(7))
    again = np.where(made.given, v, made.visible_mean(h))
    data, model = made.statistics(v, expected), made.statistics(again, made.hidden_probabilities(again)[0])
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, data[name] - model[name], atol=1e-12)
    np.testing.assert_allclose(activation, expected.mean(axis=(0, 2, 3)))
    free = ~made.given
    assert error == pytest.approx(((again - v)[:, free] ** 2).sum() / (v[:, free] ** 2).sum())


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"pool": 3}, ValueError, ["pool=3", "4 outputs", "axis 0"]),
        ({"pool": 0}, ValueError, ["pool"]),
        ({"visible": "complex"}, ValueError, ["visible", "complex"]),
        ({"spread": 0.0, "visible": "real"}, ValueError, ["spread", "0.0"]),
        ({"spread": 2.0}, ValueError, ["spread", "2.0"]),
        ({"border": "x"}, ValueError, ["border"]),
        ({"geometry": cm.ConvGeometry(5, 2, transposed=True)}, ValueError, ["transposed"]),
        ({"geometry": 5}, TypeError, ["geometry", "int"]),
    ],
)
def test_machines_refused(change: dict[str, Any], error: type[Exception], words: list[str]) -> None:
    with pytest.raises(error) as caught:
        nn.BoltzmannMachine(**{"geometry": cm.ConvGeometry(5, 2), "pool": 2, **change})
    assert all(word in str(caught.value) for word in words)


# --- networks --------------------------------------------------------------------------------------------------------


def stack(*, visible: Any = "binary", depth: int = 2, seed: int = 0) -> nn.BeliefNetwork:
    spread = {"visible": visible, **({"spread": 0.8} if visible == "real" else {})}
    machines = [
        machine(cm.ConvGeometry(5, 2, out_channels=2), 2, seed=seed, **spread),
        machine(cm.ConvGeometry(2, 1, in_channels=2, out_channels=1), 2, seed=seed + 1),
        machine(cm.ConvGeometry(1, 1, out_channels=2), 1, seed=seed + 2),
    ]
    return nn.BeliefNetwork(machines[:depth])


def joint_states(network: nn.BeliefNetwork) -> list[Array]:
    """Return all joint states of a binary network, as one array for v and for each machine."""
    axes = [visible_states(network.layers[0]), *(hidden_states(made) for made in network.layers)]
    places = np.indices([len(axis) for axis in axes]).reshape(len(axes), -1)
    return [axis[place] for axis, place in zip(axes, places, strict=True)]


def joint_energy(network: nn.BeliefNetwork, units: list[Array]) -> Array:
    """Return the energies of joint states, by explicit matrices and loops over the blocks."""
    total, below = np.zeros(len(units[0])), units[0]
    for place, (made, h) in enumerate(zip(network.layers, units[1:], strict=True)):
        matrix = cm.conv_matrix(made.parameters["weight"], made.geometry).toarray()
        flat = below.reshape(len(below), -1)
        total -= np.einsum("ni,ij,nj->n", h.reshape(len(h), -1), matrix, flat)
        total -= h.sum(axis=2) @ made.parameters["bias"]
        if place == 0:
            total -= below.sum(axis=2) @ made.parameters["visible_bias"]
        step = made.block[0]
        below = np.stack([h[:, :, i * step : (i + 1) * step].max(axis=2) for i in range(h.shape[2] // step)], axis=2)
    return total


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_joint_energy(depth: int) -> None:
    network = stack(depth=depth)
    units = joint_states(network)
    np.testing.assert_allclose(network.energy(units), joint_energy(network, units), atol=1e-12)


@pytest.mark.parametrize("depth", [2, 3])
def test_hierarchical_conditionals_are_sums_over_all_states(depth: int) -> None:
    """P(h of one machine | everything else), for every state of everything else."""
    network = stack(depth=depth)
    units = joint_states(network)
    weights = np.exp(-joint_energy(network, units))
    for place, made in enumerate(network.layers):
        rest = [part.reshape(len(weights), -1) for n, part in enumerate(units) if n != place + 1]
        _, first, group = np.unique(np.concatenate(rest, axis=1), axis=0, return_index=True, return_inverse=True)
        total = np.bincount(group.ravel(), weights)
        flat = units[place + 1].reshape(len(weights), -1)
        sums = np.stack([np.bincount(group.ravel(), weights * column) for column in flat.T], axis=1)
        below = units[0] if place == 0 else network.layers[place - 1].pool(units[place])
        above = units[place + 2][first] if place + 1 < depth else None
        detection, pooling = network.conditional(place, below[first], above)
        np.testing.assert_allclose(detection.reshape(len(first), -1), sums / total[:, None], atol=1e-12)
        np.testing.assert_allclose(
            pooling, to_blocks(detection, made.block).sum(axis=-1), atol=1e-12
        )  # at most one is on


def codes(network: nn.BeliefNetwork, units: list[Array]) -> Array:
    """Return a number for each joint state."""
    bits = np.concatenate([part.reshape(len(part), -1) for part in units], axis=1).astype(np.int64)
    return bits @ (1 << np.arange(bits.shape[1]))


@pytest.mark.parametrize(("depth", "sweeps", "exact_start"), [(2, 1, True), (3, 2, True), (2, 25, False)])
def test_samples_have_the_joint_distribution(depth: int, sweeps: int, exact_start: bool) -> None:
    """From exact samples a sweep leads to exact samples; from any start, many sweeps do. Chains are independent."""
    network = stack(depth=depth, seed=3)
    for made in network.layers:
        made.parameters["weight"] /= 2  # chains forget their start in fewer sweeps
    units = joint_states(network)
    share = shares(joint_energy(network, units))
    rng = np.random.default_rng(0)
    chains = 10_000
    start = rng.choice(len(share), chains, p=share) if exact_start else np.zeros(chains, dtype=int)
    drawn = network.sample([part[start] for part in units], sweeps, rng=rng)
    order = np.argsort(codes(network, units))
    place = order[np.searchsorted(codes(network, units)[order], codes(network, drawn))]
    assert (codes(network, units)[place] == codes(network, drawn)).all()  # no state of probability 0
    likely = share * chains >= 5
    observed, expected = np.bincount(place, minlength=len(share)), share * chains
    pooled_observed = np.append(observed[likely], observed[~likely].sum())
    pooled_expected = np.append(expected[likely], expected[~likely].sum())
    assert likely.sum() > 50
    assert chisquare(pooled_observed, pooled_expected).pvalue > 0.001


def test_bottom_up_samples_are_another_distribution() -> None:
    """The goodness-of-fit test tells samples without top-down input from those of the joint distribution."""
    network = stack(seed=3)
    units = joint_states(network)
    share = shares(joint_energy(network, units))
    rng = np.random.default_rng(0)
    start = rng.choice(len(share), 20_000, p=share)
    means = []
    for top_down in (True, False):
        drawn = network.sample([part[start] for part in units], 1, top_down=top_down, rng=1)
        means.append(drawn[1].mean(axis=0))
    exact = np.tensordot(share, units[1], axes=1)
    assert np.abs(means[0] - exact).max() < 0.015 < 0.03 < np.abs(means[1] - exact).max()


def test_samples_of_real_visible_units() -> None:
    made = machine(cm.ConvGeometry(5, 2, out_channels=2), 2, visible="real", spread=0.7)
    h = hidden_states(made)[7:8]
    drawn = made.sample_visible(made.visible_mean(np.repeat(h, 4000, axis=0)), np.random.default_rng(0))
    for index in np.ndindex(made.input_shape):
        mean = made.visible_mean(h)[(0, *index)]
        assert kstest((drawn[(slice(None), *index)] - mean) / 0.7, "norm").pvalue > 0.001


@pytest.mark.parametrize("known_units", [0, 2, 5])
def test_inference_is_the_exact_posterior(known_units: int) -> None:
    network = stack(seed=5)
    units = joint_states(network)
    v = np.array([[[1.0, 0, 1, 1, 0]]])
    known = np.arange(5)[None] < known_units
    match = (units[0] == v)[:, known].all(axis=1)
    share = np.where(match, shares(joint_energy(network, units)), 0)
    share /= share.sum()
    found = network.infer(np.repeat(v, 500, axis=0), known, sweeps=60, discard=20, rng=0)
    for part, states in zip(found, units, strict=True):
        np.testing.assert_allclose(part.mean(axis=0), np.tensordot(share, states, axes=1), atol=0.02)
    np.testing.assert_array_equal(found[0][:, known], np.repeat(v, 500, axis=0)[:, known])


def test_bottom_up_inference_of_known_units_is_layer_by_layer() -> None:
    network = stack(seed=5)
    v = np.array([[[1.0, 0, 1, 1, 0]]])
    found = network.infer(v, sweeps=3, discard=1, top_down=False, rng=0)
    np.testing.assert_allclose(found[1], network.layers[0].hidden_probabilities(v)[0])


def test_projection_is_a_product_of_transposes_in_integers() -> None:
    rng = np.random.default_rng(0)
    lower = machine(cm.ConvGeometry((7, 6), (2, 3), out_channels=2), (2, 4), integers=True)
    upper = machine(cm.ConvGeometry((3, 1), (2, 1), in_channels=2, out_channels=3), 1, integers=True)
    network = nn.BeliefNetwork([lower, upper])
    h = rng.integers(0, 9, (2, *upper.hidden_shape)).astype(float)
    first, second = (cm.conv_matrix(made.parameters["weight"], made.geometry) for made in network.layers)
    unpool = np.kron(np.eye(2), np.kron(np.kron(np.eye(3), np.ones((2, 1))), np.ones((4, 1)))) / 8
    expected = first.T @ unpool @ (second.T @ h.reshape(2, -1).T)
    np.testing.assert_array_equal(network.project(1, h).reshape(2, -1), expected.T)
    np.testing.assert_array_equal(network.project(0, expected_below(h, second, unpool)).reshape(2, -1), expected.T)


def expected_below(h: Array, second: Any, unpool: Array) -> Array:
    return (unpool @ (second.T @ h.reshape(2, -1).T)).T.reshape(2, 2, 6, 4)


def test_networks_refused() -> None:
    lower = machine(cm.ConvGeometry(5, 2, out_channels=2), 2)
    with pytest.raises(ValueError, match=r"machines\[1\].*\(1, 2\).*machines\[0\].*\(2, 2\)"):
        nn.BeliefNetwork([lower, machine(cm.ConvGeometry(2, 1), 1)])
    with pytest.raises(ValueError, match=r"machines\[1\].*real"):
        nn.BeliefNetwork([lower, machine(cm.ConvGeometry(2, 1, in_channels=2), 1, visible="real")])
    with pytest.raises(TypeError, match=r"machines\[0\].*ReLU"):
        nn.BeliefNetwork([nn.ReLU()])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="at least one"):
        nn.BeliefNetwork([])
    network = stack()
    with pytest.raises(ValueError, match="last of 2"):
        network.conditional(1, np.zeros((1, 2, 2)), np.zeros((1, 1)))
    with pytest.raises(ValueError, match=r"\(1, 2, 2\).*\(1, 2, 4\)"):
        network.layers[0].hidden_probabilities(np.zeros((1, 1, 5)), np.zeros((1, 2, 4)))
    with pytest.raises(ValueError, match="3 groups"):
        network.sample([np.zeros((1, 1, 5))])
    with pytest.raises(ValueError, match=r"discard=5, sweeps=5"):
        network.infer(np.zeros((1, 1, 5)), sweeps=5, discard=5)


# --- training --------------------------------------------------------------------------------------------------------


def bars(count: int = 60, size: int = 8) -> Array:
    rng = np.random.default_rng(0)
    images = np.zeros((count, 1, size, size))
    for image in images:
        place = rng.integers(size)
        image[0, place if rng.random() < 0.5 else slice(None), slice(None)] = 1
    return images


def trainable(seed: int = 0) -> nn.BeliefNetwork:
    first = cm.ConvGeometry((8, 8), (3, 3), out_channels=4, padding="same", boundary="circular")
    second = cm.ConvGeometry((4, 4), (3, 3), in_channels=4, out_channels=3)
    return nn.BeliefNetwork([nn.BoltzmannMachine(first, rng=seed), nn.BoltzmannMachine(second, rng=seed + 1)])


def test_training_raises_the_exact_likelihood() -> None:
    """Without a target of the activation, contrastive divergence nearly follows the likelihood, which is computed."""
    made = nn.BoltzmannMachine(cm.ConvGeometry(6, 3, out_channels=2), 2, dtype=np.float64)
    data = np.array([[1.0, 1, 0, 0, 0, 0], [0, 1, 1, 0, 0, 0], [0, 0, 1, 1, 0, 0], [0, 0, 0, 1, 1, 0]])[:, None]
    before = log_likelihood(made, data)
    (history,) = nn.fit_greedily(nn.BeliefNetwork([made]), data, steps=[400], batch_size=16)
    assert log_likelihood(made, data) > before + 0.8
    assert len(history.error) == 400
    assert history.error[-1] < history.error[0]


def test_sparsity_and_layers_left_alone() -> None:
    network = trainable()
    kept = {name: value.copy() for name, value in network.state().items()}
    histories = nn.fit_greedily(network, bars(), steps=[250, 0], sparsity=[0.02, 0.1], sparsity_rate=0.3)
    assert 0.01 < np.mean(histories[0].activation[-50:]) < 0.04  # without it: about 0.2
    assert histories[1].error == []
    changed = {name for name, value in network.state().items() if not np.array_equal(value, kept[name])}
    assert changed == {"0.weight", "0.bias", "0.visible_bias"}


@pytest.mark.parametrize("killed_after", [7, 23])
def test_resumed_training_gives_the_same_bits(tmp_path: Path, killed_after: int) -> None:
    options: dict[str, Any] = {
        "steps": [20, 15],
        "sparsity": 0.15,
        "batch_size": 4,
        "rng": 5,
    }  # within the limit of a step
    whole = trainable()
    expected = nn.fit_greedily(whole, bars(), **options)
    path, steps = tmp_path / "run.npz", 0

    class KilledError(Exception):
        pass

    def killing() -> nn.Optimiser:
        class Killing(nn.SGD):
            def step(self, *arguments: Any) -> None:
                nonlocal steps
                steps += 1
                if steps > killed_after:
                    raise KilledError
                super().step(*arguments)

        Killing.__name__ = "SGD"
        return Killing(0.4, momentum=0.5)

    with pytest.raises(KilledError):
        nn.fit_greedily(trainable(), bars(), **options, optimiser=killing, checkpoint=path, checkpoint_steps=3)
    resumed = trainable(seed=9)  # other weights: all must come from the file
    found = nn.fit_greedily(resumed, bars(), **options, checkpoint=path, checkpoint_steps=3)
    assert found == expected
    for name, value in whole.state().items():
        np.testing.assert_array_equal(resumed.state()[name], value)
    with pytest.raises(ValueError, match=r"steps \[20, 15\].*\[20, 16\]"):
        nn.fit_greedily(resumed, bars(), **{**options, "steps": [20, 16]}, checkpoint=path)


def test_checkpoints_of_other_trainings_are_refused(tmp_path: Path) -> None:
    path, x = tmp_path / "run.npz", bars()
    options: dict[str, Any] = {"steps": np.int64(3), "batch_size": np.int32(4), "sparsity_rate": np.float32(0.5)}
    first = nn.fit_greedily(trainable(), x, **options, checkpoint=path)
    assert [len(history.error) for history in first] == [3, 3]
    other = x.copy()
    other[5, 0, 2, 3] = np.nextafter(other[5, 0, 2, 3], 0.5)
    resumed = trainable(seed=9)
    before = {name: value.copy() for name, value in resumed.state().items()}
    for data, change, words in (
        (other, {}, "saved with x "),
        (x, {"optimiser": lambda: nn.SGD(0.3, momentum=0.5)}, '"learning_rate": 0.4.*"learning_rate": 0.3'),
        (x, {"batch_size": 5}, "batch_size 4.* 5"),
        (x, {"sparsity": 0.1}, r"sparsity \[null, null\].*0\.1"),
    ):
        with pytest.raises(ValueError, match=words):
            nn.fit_greedily(resumed, data, **(options | change), checkpoint=path)
    fitted = tmp_path / "fit.npz"
    classifier = nn.Sequential([trainable(), nn.Dense(3, 2)])
    nn.fit(classifier, x, np.zeros(len(x), int), epochs=1, checkpoint=fitted)
    with pytest.raises(ValueError, match="place of progress"):
        nn.fit_greedily(resumed, x, **options, checkpoint=fitted)
    with pytest.raises(ValueError, match="loss of progress"):
        nn.fit(classifier, x, np.zeros(len(x), int), epochs=2, checkpoint=path)
    assert all(np.array_equal(value, before[name]) for name, value in resumed.state().items())
    assert nn.fit_greedily(resumed, x, **options, checkpoint=path) == first


@pytest.mark.parametrize(
    "change",
    [
        {"place": 7},
        {"place": -1},
        {"done": 2},
        {"done": "0"},
        {"histories": []},
        {"histories": [{"error": ["x"], "activation": [0.1]}] * 2},
        {"histories": [{"error": [1.0] * 3, "activation": [0.1] * 2}] * 2},
    ],
)
def test_damaged_checkpoints_are_refused(change: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    nn.fit_greedily(trainable(), bars(), steps=3, checkpoint=path)
    with np.load(path) as archive:
        members = dict(archive.items())
    contents = json.loads(str(members["contents"]))
    contents["progress"] |= change
    np.savez(path, **members | {"contents": np.array(json.dumps(contents))})
    with pytest.raises(ValueError, match="damaged"):
        nn.fit_greedily(trainable(), bars(), steps=3, checkpoint=path)


def test_uses_that_are_not_refused(tmp_path: Path) -> None:
    machines = [nn.BoltzmannMachine(cm.ConvGeometry((8, 8), (3, 3)))]
    assert len(nn.BeliefNetwork(machine for machine in machines).layers) == 1  # type: ignore[arg-type]
    histories = [nn.fit_greedily(trainable(), x, steps=3) for x in (bars(), bars().astype(bool), bars().tolist())]
    assert histories[0] == histories[1] == histories[2]
    (machine,), v = machines, bars()
    for draw in (machine.sample_hidden, lambda v, rng: [machine.sample_visible(v, rng)]):
        assert all(map(np.array_equal, draw(v, 3), draw(v, np.random.default_rng(3))))
    machine.parameters["weight"] = np.ones_like(machine.parameters["weight"])  # another array
    assert np.array_equal(machine.hidden_input(np.ones((1, 1, 8, 8))), np.full((1, 1, 6, 6), 9))
    assert machine.project(np.ones((1, 1, 6, 6))).max() == 9


def test_units_that_do_not_fit_are_refused() -> None:
    network = trainable()
    units = network.initial_units(bars().tolist())
    count = len(units[0])
    for call, words in (
        (lambda: network.sample([units[0], units[1][:3], units[2]]), rf"\({count}, .*\(3, "),
        (lambda: network.sample(units, known=np.ones((3, 7, 5), bool)), r"\(3, 7, 5\)"),
        (lambda: network.sample(units, known=np.zeros((2, *units[0].shape), bool)), r"known"),
        (lambda: network.project(-1, units[1]), "place.*-1"),
        (lambda: network.project(2, units[1]), "place is 2.* 0 to 1"),
        (lambda: network.conditional(2, units[0]), "place is 2"),
    ):
        with pytest.raises(ValueError, match=words):
            call()


def test_progress_names_the_layer(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convmatrix.progress.DELAY", 0)
    monkeypatch.setattr("convmatrix.progress._INTERVAL", 0)
    nn.fit_greedily(trainable(), bars(), steps=[2, 3], progress=True)
    assert "\rtraining [####################] 5/5 layer 2, error " in capsys.readouterr().err


def test_values_that_are_not_finite_end_the_training() -> None:
    network = nn.BeliefNetwork([nn.BoltzmannMachine(cm.ConvGeometry((8, 8), (3, 3)), visible="real")])
    with pytest.raises(nn.NonFiniteError, match="machine 0"):
        nn.fit_greedily(network, bars(), steps=[50], optimiser=lambda: nn.SGD(1e30))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"x": np.zeros((3, 1, 8, 7))}, ValueError, ["(3, 1, 8, 7)", "8, 8"]),
        ({"x": np.zeros((0, 1, 8, 8))}, ValueError, ["(0, 1, 8, 8)"]),
        ({"x": np.full((3, 1, 8, 8), 1.5)}, ValueError, ["[0, 1]", "1.5"]),
        ({"x": np.full((3, 1, 8, 8), np.nan)}, ValueError, ["finite"]),
        ({"x": np.zeros((3, 1, 8, 8), complex)}, TypeError, ["complex"]),
        ({"steps": [5]}, ValueError, ["2", "1"]),
        ({"steps": [5, -1]}, ValueError, ["steps[1]", "-1"]),
        ({"steps": 1.5}, TypeError, ["steps[0]", "1.5"]),
        ({"sparsity": 1.5}, ValueError, ["1.5"]),
        ({"sparsity": [0.1]}, ValueError, ["2 machines"]),
        ({"sparsity": 0.1, "sparsity_rate": -0.05}, ValueError, ["sparsity_rate", "-0.05"]),
        ({"optimiser": nn.SGD(0.1)}, TypeError, ["optimiser", "SGD"]),
        ({"optimiser": lambda: 0.1}, TypeError, ["optimiser()", "float"]),
        ({"optimiser": [nn.SGD(0.1)].copy}, TypeError, ["optimiser()", "list"]),
        ({"optimiser": (lambda one: lambda: one)(nn.SGD(0.1))}, ValueError, ["new optimiser"]),
        ({"batch_size": 0}, ValueError, ["batch_size"]),
        ({"checkpoint_steps": 5}, ValueError, ["checkpoint"]),
        ({"network": nn.small()}, TypeError, ["Sequential"]),
    ],
)
def test_training_refused(change: dict[str, Any], error: type[Exception], words: list[str]) -> None:
    arguments = {"network": trainable(), "x": bars(), "steps": [1, 1], **change}
    with pytest.raises(error) as caught:
        nn.fit_greedily(arguments.pop("network"), arguments.pop("x"), **arguments)
    assert all(word in str(caught.value) for word in words)


def test_a_network_is_fine_tuned_as_layers() -> None:
    """Machines are layers of a classifier: bars across or down."""
    images = bars(200)
    labels = (images[:, 0].max(axis=1).min(axis=1) == 1).astype(int)  # a row of ones
    network = trainable()
    nn.fit_greedily(network, images, steps=[50, 50])
    classifier = nn.Sequential([network, nn.Dense(3, 2)])
    history = nn.fit(classifier, images, labels, epochs=10, optimiser=nn.Adam(0.05))
    assert history.loss[-1] < 0.6 * history.loss[0]
