"""What must hold exactly of a belief network: sums over all states of networks that are small enough to enumerate."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from scipy.stats import chisquare

import convmatrix as cm
from analyses import Claim, check_equal, check_within
from convmatrix import nn

Array = Any  # float64

CHAINS = 20_000


def exact_claims() -> list[Claim]:
    """Compare a network of two machines with sums over all its states, and products with matrices."""
    network = _network()
    lower, upper = network.layers
    visible = np.array(list(itertools.product([0.0, 1.0], repeat=5)))[:, None]
    states = [visible, _hidden_states(lower), _hidden_states(upper)]
    share = np.exp(-_energies(network, *states))  # (v, h1, h2)
    share /= share.sum()
    return [
        *_conditionals(network, states, share),
        _gradient(lower, *states[:2]),
        _samples(network, states, share),
        _products(),
    ]


def _network() -> nn.BeliefNetwork:
    """Return two machines on one axis: 5 visible, 2 x 4 and 2 x 2 detection units, in blocks of 2."""
    rng = np.random.default_rng(0)
    machines = []
    for geometry in (cm.ConvGeometry(5, 2, out_channels=2), cm.ConvGeometry(2, 1, in_channels=2, out_channels=2)):
        machine = nn.BoltzmannMachine(geometry, 2, dtype=np.float64)
        for value in machine.parameters.values():
            value[...] = rng.standard_normal(value.shape)
        machines.append(machine)
    return nn.BeliefNetwork(machines)


def _hidden_states(machine: nn.BoltzmannMachine) -> Array:
    """Return all states with at most one unit on in each block of 2."""
    blocks = int(np.prod(machine.pooled_shape))
    choices = np.array(list(itertools.product([(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)], repeat=blocks)))
    return choices.reshape(len(choices), *machine.hidden_shape)


def _energies(network: nn.BeliefNetwork, visible: Array, first: Array, second: Array) -> Array:
    """Return E(v, h1, h2) of all joint states, by explicit matrices."""
    lower, upper = network.layers
    energy = -(visible.sum(axis=2) @ lower.parameters["visible_bias"])[:, None, None]
    energy = energy + _coupling(lower, visible, first)[:, :, None]
    pooled = first.reshape(len(first), 2, 2, 2).max(axis=3)
    total: Array = energy + _coupling(upper, pooled, second)[None]
    return total


def _coupling(machine: nn.BoltzmannMachine, below: Array, hidden: Array) -> Array:
    """Return -h A v - b h of all pairs of states."""
    matrix = cm.conv_matrix(machine.parameters["weight"], machine.geometry).toarray()
    flat = hidden.reshape(len(hidden), -1)
    couplings: Array = -(below.reshape(len(below), -1) @ matrix.T) @ flat.T
    return couplings - hidden.sum(axis=2) @ machine.parameters["bias"]


def _conditionals(network: nn.BeliefNetwork, states: list[Array], share: Array) -> list[Claim]:
    """Compare P(on | all else) of both layers, and of the visible units, with sums over all states."""
    lower, _upper = network.layers
    visible, first, second = states
    v, h2 = (part.ravel() for part in np.indices((len(visible), len(second))))
    found, _ = network.conditional(0, visible[v], second[h2])
    given = share / share.sum(axis=1, keepdims=True)
    expected = np.einsum("vhs,hkj->vskj", given, first)[v, h2]
    difference = np.abs(found - expected).max()
    above, _ = network.conditional(1, lower.pool(first))
    given = share.sum(axis=0)
    given /= given.sum(axis=1, keepdims=True)
    difference_above = np.abs(above - np.einsum("hs,skj->hkj", given, second)).max()
    given = share.sum(axis=2)
    given /= given.sum(axis=0)
    difference_visible = np.abs(lower.visible_mean(first) - np.einsum("vh,vkj->hkj", given, visible)).max()
    extreme, off = nn.boltzmann.block_probabilities(np.array([[1000.0, 999.0], [-1000.0, 0.0]]))
    reason = "rounding of double precision"
    return [
        check_within(
            "hidden-probability",
            "P(h1 = 1 given the layers below and above), largest distance from the sums over all "
            f"{share.size:,} states of a network of two layers",
            float(difference),
            (0, 1e-13),
            reason=reason,
        ),
        check_within(
            "other-probabilities",
            "P(h2 = 1 given below) and P(v = 1 given above), the same",
            float(max(difference_above, difference_visible)),
            (0, 1e-13),
            reason=reason,
        ),
        check_within(
            "total-probability",
            "distance of all probabilities of a block with inputs up to 1,000 from 1",
            float(abs(extreme.sum() + off.sum() - 2)),
            (0, 1e-15),
            reason="no overflow; rounding",
        ),
    ]


def _gradient(machine: nn.BoltzmannMachine, visible: Array, hidden: Array) -> Claim:
    """Compare data statistics minus model statistics with differences of the exact log-likelihood."""
    places = [3, 9, 26]
    data = visible[places]

    def log_likelihood() -> float:
        bias = -visible.sum(axis=(1, 2)) * machine.parameters["visible_bias"][0]
        weights = np.exp(-(bias[:, None] + _coupling(machine, visible, hidden)))
        return float(np.mean(np.log(weights[places].sum(axis=1))) - np.log(weights.sum()))

    share = np.exp(-machine.free_energy(visible))
    share /= share.sum()
    positive = machine.statistics(data, machine.hidden_probabilities(data)[0])
    on = machine.hidden_probabilities(visible)[0]
    negative = [machine.statistics(visible[i : i + 1], on[i : i + 1]) for i in range(len(visible))]
    worst, step = 0.0, 1e-5
    for name, value in machine.parameters.items():
        gradient = positive[name] / len(data) - sum(s * one[name] for s, one in zip(share, negative, strict=True))
        for index in np.ndindex(value.shape):
            kept = value[index]
            value[index] = kept + step
            up = log_likelihood()
            value[index] = kept - step
            down = log_likelihood()
            value[index] = kept
            worst = max(worst, abs(float(gradient[index]) - (up - down) / (2 * step)))
    return check_within(
        "gradient",
        "gradient of the log-likelihood, largest distance from central differences of the exact one, all parameters",
        worst,
        (0, 1e-8),
        reason="steps of 1e-5: their error is of the order of 1e-10, and rounding of 1e-11",
    )


def _samples(network: nn.BeliefNetwork, states: list[Array], share: Array) -> Claim:
    """Start chains at exact samples, take a sweep, and compare with the exact distribution."""
    rng = np.random.default_rng(0)
    start = np.unravel_index(rng.choice(share.size, CHAINS, p=share.ravel()), share.shape)
    drawn = network.sample([part[place] for part, place in zip(states, start, strict=True)], sweeps=2, rng=rng)
    places = []
    for part, found in zip(states, drawn, strict=True):
        powers = 1 << np.arange(part[0].size)
        codes = part.reshape(len(part), -1).astype(np.int64) @ powers
        order = np.argsort(codes)
        places.append(order[np.searchsorted(codes[order], found.reshape(len(found), -1).astype(np.int64) @ powers)])
    observed = np.bincount(np.ravel_multi_index(tuple(places), share.shape), minlength=share.size)
    expected = CHAINS * share.ravel()
    likely = expected >= 5
    p_value = chisquare(
        np.append(observed[likely], observed[~likely].sum()), np.append(expected[likely], expected[~likely].sum())
    ).pvalue
    return check_within(
        "samples",
        f"p-value of a chi-squared test: {CHAINS:,} chains that start at exact samples of all units, after two sweeps "
        "of block sampling",
        float(p_value),
        (0.001, 1),
        reason="sampling leaves the joint distribution as it is; by chance 1 in 1,000 tests is below",
    )


def _products() -> Claim:
    """Hold the three products of a step against the matrix, its transpose and its Jacobian, with integers."""
    geometry = cm.ConvGeometry((9, 8), (4, 3), out_channels=3)
    machine = nn.BoltzmannMachine(geometry, (2, 3), dtype=np.float64)
    rng = np.random.default_rng(0)
    weights, visible, hidden = (
        rng.integers(-9, 10, size).astype(np.float64)
        for size in (geometry.weight_shape, (1, *machine.input_shape), (1, *machine.hidden_shape))
    )
    machine.parameters["weight"][...] = weights
    pattern = geometry.pattern()
    matrix = pattern.matrix(weights)
    wrong = np.count_nonzero(machine.hidden_input(visible).ravel() != matrix @ visible.ravel())
    wrong += np.count_nonzero(machine.project(hidden).ravel() != matrix.T @ hidden.ravel())
    gradient = pattern.jacobian(visible).T @ hidden.ravel()
    wrong += np.count_nonzero(machine.statistics(visible, hidden)["weight"].ravel() != gradient)
    return check_equal(
        "products",
        "entries of A v, A^T h and the gradient that differ from the explicit matrices, integers",
        wrong,
        expected=0,
        reason="the layer is its matrix, the reconstruction its transpose, the gradient its Jacobian",
    )
