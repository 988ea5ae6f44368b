"""Convolutional deep belief networks: a stack of Boltzmann machines, its joint inference, and its greedy training."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix import options as validate
from convmatrix.display.tables import ShownAsTable, Table
from convmatrix.nn.boltzmann import BoltzmannMachine
from convmatrix.nn.checkpoints import (
    Checkpoint,
    checkpoint_path,
    checksum,
    deferred_interrupts,
    load_checkpoint,
    require_numbers,
    require_same,
    require_types,
    save_checkpoint,
)
from convmatrix.nn.nonfinite_values import REMEDY, NonFiniteError, not_finite
from convmatrix.nn.optimisation import SGD, Optimiser
from convmatrix.nn.sequential import Sequential
from convmatrix.progress import Progress, reporting

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from convmatrix.arrays import Array

LOG_RATIO_LIMIT = 1.0  # of target to activation, in a step of the biases


class BeliefNetwork(Sequential):
    r"""A convolutional deep belief network: each machine's visible units are the pooling units of the machine below.

    As a network of layers, it maps visible units to P(pooling unit on) of the last machine, bottom-up. Jointly, its
    units have the energy (Lee et al., ICML 2009, section on hierarchical probabilistic inference)

    .. math:: E(v, h^1, h^2, \ldots) = E_1(v, h^1) - \sum_{l \ge 2} \left( h^{l T} A_l p^{l-1} + b_l^T h^l \right)

    The visible biases of the machines above the first are used in training only: in the joint energy, the biases of the
    layer below take their place.

    Parameters
    ----------
    machines : sequence of BoltzmannMachine
        From the bottom up. Those above the first have binary visible units.

    Examples
    --------
    >>> import numpy as np
    >>> import convmatrix as cm
    >>> from convmatrix import nn
    >>> network = nn.BeliefNetwork([
    ...     nn.BoltzmannMachine(cm.ConvGeometry((12, 12), (3, 3), out_channels=4), visible="real"),
    ...     nn.BoltzmannMachine(cm.ConvGeometry((5, 5), (2, 2), in_channels=4, out_channels=6))])
    >>> network.forward(np.zeros((7, 1, 12, 12))).shape
    (7, 6, 2, 2)
    >>> units = network.initial_units(np.zeros((7, 1, 12, 12)))
    >>> [part.shape[1:] for part in network.sample(units, sweeps=3)]
    [(1, 12, 12), (4, 10, 10), (6, 4, 4)]
    """

    layers: tuple[BoltzmannMachine, ...]

    def __init__(self, machines: Sequence[BoltzmannMachine]) -> None:
        machines = tuple(machines)
        for place, machine in enumerate(machines):
            if not isinstance(machine, BoltzmannMachine):
                raise TypeError(f"machines[{place}] is a {type(machine).__name__}, not a BoltzmannMachine")
        if not machines:
            raise ValueError("a belief network needs at least one machine, but machines is empty")
        for place, (lower, upper) in enumerate(itertools.pairwise(machines), start=1):
            if upper.visible != "binary":
                raise ValueError(f"machines[{place}] has real visible units, but pooling units are binary")
            if upper.input_shape != lower.pooled_shape:
                raise ValueError(
                    f"machines[{place}] has visible units of shape {upper.input_shape}, but machines[{place - 1}] has "
                    f"pooling units of shape {lower.pooled_shape}"
                )
        super().__init__(machines)

    def energy(self, units: Sequence[Array]) -> Array:
        """Return the joint energy of ``[v, h1, h2, ...]`` for each sample of a batch."""
        first, *rest = self.layers
        energy, below = first.energy(units[0], units[1]), first.pool(units[1])
        for machine, h in zip(rest, units[2:], strict=True):
            energy = energy - (h * machine.hidden_input(below)).reshape(len(h), -1).sum(axis=1)
            below = machine.pool(h)
        return energy

    def conditional(self, place: int, below: Array, above: Array | None = None) -> tuple[Array, Array]:
        """Return P(on | all other units) of the detection units and the pooling units of one machine.

        Parameters
        ----------
        place : int
            Index of the machine in ``layers``.
        below : array
            Its visible units: v, or the pooling units of the machine below.
        above : array, optional
            Detection units of the machine above; without them, inference is bottom-up.
        """
        if above is None:
            return self.layers[self._place(place)].hidden_probabilities(below)
        if self._place(place) + 1 >= len(self.layers):
            raise ValueError(f"machine {place} is the last of {len(self.layers)}; there are no units above it")
        return self.layers[place].hidden_probabilities(below, self.layers[place + 1].project(above))

    def initial_units(self, v: Array, rng: int | np.random.Generator = 0) -> list[Array]:
        """Draw detection units bottom-up; return ``[v, h1, h2, ...]``."""
        below = np.asarray(v)
        generator, units = np.random.default_rng(rng), [below]
        for machine in self.layers:
            h, below = machine.sample_hidden(below, generator)
            units.append(h)
        return units

    def sample(
        self,
        units: Sequence[Array],
        sweeps: int = 1,
        *,
        known: Array | None = None,
        top_down: bool = True,
        watch: Callable[[list[Array], list[Array]], Any] | None = None,
        rng: int | np.random.Generator = 0,
    ) -> list[Array]:
        """Return units after sweeps of block Gibbs sampling from the joint distribution of all units.

        Units of every second layer are independent given the others: a sweep draws those of machines 0, 2, ..., and
        then the visible units and those of machines 1, 3, ....

        Parameters
        ----------
        units : sequence of array
            ``[v, h1, h2, ...]``, such as those of `initial_units`.
        sweeps : int
        known : array of bool, optional
            Visible units that keep their values, of the shape of one sample or of the batch; by default none do.
        top_down : bool
            Whether a machine receives input from the one above it.
        watch : callable, optional
            Called after each sweep with the units drawn, and the means that they were drawn from.
        rng : int or numpy.random.Generator
        """
        validate.integer("sweeps", sweeps, minimum=0)
        if len(units) != len(self.layers) + 1:
            raise ValueError(
                f"a network of {len(self.layers)} machines has {len(self.layers) + 1} groups of units, [v, h1, ...], "
                f"but got {len(units)}"
            )
        generator, now = np.random.default_rng(rng), [np.asarray(part) for part in units]
        fixed = np.zeros((1,), dtype=bool) if known is None else np.asarray(known, dtype=bool)
        if len({part.shape[:1] for part in now}) > 1:
            raise ValueError(f"units must be of one batch, but have shapes {', '.join(str(p.shape) for p in now)}")
        try:
            fits = np.broadcast_shapes(fixed.shape, now[0].shape) == now[0].shape
        except ValueError:
            fits = False
        if not fits:
            raise ValueError(
                f"known must have the shape of a sample {now[0].shape[1:]} or of the batch {now[0].shape}, but has "
                f"shape {fixed.shape}"
            )
        for _ in range(sweeps):
            means = list(now)
            for first in (0, 1):
                if first == 1 and not fixed.all():
                    mean = self.layers[0].visible_mean(now[1])
                    means[0] = np.where(fixed, now[0], mean)
                    now[0] = np.where(fixed, now[0], self.layers[0].sample_visible(mean, generator))
                for place in range(first, len(self.layers), 2):
                    below = now[0] if place == 0 else self.layers[place - 1].pool(now[place])
                    above = now[place + 2] if top_down and place + 1 < len(self.layers) else None
                    means[place + 1], _ = self.conditional(place, below, above)
                    now[place + 1] = self.layers[place].sample_blocks(means[place + 1], generator)
            if watch is not None:
                watch(now, means)
        return now

    def infer(
        self,
        v: Array,
        known: Array | None = None,
        *,
        sweeps: int = 50,
        discard: int = 10,
        top_down: bool = True,
        rng: int | np.random.Generator = 0,
    ) -> list[Array]:
        """Return estimates of E[v], P(h1 = 1), P(h2 = 1), ... given some visible units, by block Gibbs sampling.

        Each is the mean, over the sweeps that are not discarded, of the conditional means that units are drawn from.

        Parameters
        ----------
        v : array, shape (batch, *input_shape)
            Visible units; those not known are where sampling starts.
        known : array of bool, optional
            Visible units that are known; by default all are.
        sweeps, discard : int
            Number of sweeps, and how many of them are discarded at the start.
        top_down, rng
            As for `sample`.
        """
        if not 0 <= discard < sweeps:
            raise ValueError(f"discard must be at least 0 and less than sweeps, but discard={discard}, sweeps={sweeps}")
        generator = np.random.default_rng(rng)
        fixed = np.ones((1,), dtype=bool) if known is None else known
        units = self.sample(self.initial_units(v, generator), discard, known=fixed, top_down=top_down, rng=generator)
        totals = [np.zeros(part.shape) for part in units]

        def add(_: list[Array], means: list[Array]) -> None:
            for total, mean in zip(totals, means, strict=True):
                total += mean

        self.sample(units, sweeps - discard, known=fixed, top_down=top_down, watch=add, rng=generator)
        return [total / (sweeps - discard) for total in totals]

    def project(self, place: int, h: Array) -> Array:
        r"""Return detection units of a machine projected back to the visible units, :math:`A_1^T S_1^T A_2^T \cdots h`.

        A pooling unit passes its value to all units of its block in equal parts, the transpose S^T of a mean.
        """
        for lower in range(self._place(place), -1, -1):
            machine = self.layers[lower]
            h = machine.project(h)
            if lower:
                below = self.layers[lower - 1].block
                for axis, step in enumerate(below, start=2):
                    h = np.repeat(h, step, axis=axis)
                h = h / np.prod(below)
        return h

    def _place(self, place: int) -> int:
        """Return the index of a machine, or raise an error."""
        if validate.integer("place", place, minimum=0) >= len(self.layers):
            raise ValueError(f"place is {place}, but the network has machines 0 to {len(self.layers) - 1}")
        return place

    def __repr__(self) -> str:
        return f"BeliefNetwork([{', '.join(map(repr, self.layers))}])"


# --- training --------------------------------------------------------------------------------------------------------


@dataclass(repr=False)
class LayerHistory(ShownAsTable):
    """Training history of one machine, one entry per step.

    Attributes
    ----------
    error : list of float
        Squared error of the reconstruction over the sum of squares of the data.
    activation : list of float
        Mean probability that a detection unit is on.
    """

    error: list[float] = field(default_factory=list)
    activation: list[float] = field(default_factory=list)

    def __repr__(self) -> str:
        last = f", error {self.error[-1]:.4g}, activation {self.activation[-1]:.4g}" if self.error else ""
        return f"LayerHistory({len(self.error)} steps{last})"

    def _table(self) -> Table:
        steps = zip(self.error, self.activation, strict=True)
        rows = [[str(number), f"{error:.4g}", f"{mean:.4g}"] for number, (error, mean) in enumerate(steps, start=1)]
        return Table("Training of a Boltzmann machine", [["step", "error", "activation"], *rows], left=0)


def fit_greedily(
    network: BeliefNetwork,
    x: ArrayLike,
    *,
    steps: int | Sequence[int],
    batch_size: int = 8,
    optimiser: Callable[[], Optimiser] = lambda: SGD(0.4, momentum=0.5),
    sparsity: float | Sequence[float] | None = None,
    sparsity_rate: float = 0.05,
    checkpoint: str | Path | None = None,
    checkpoint_steps: int | None = None,
    progress: Progress = None,
    rng: int | np.random.Generator = 0,
) -> list[LayerHistory]:
    """Train the machines of a belief network one after another by contrastive divergence; return their histories.

    A machine is trained on the probabilities of the pooling units of those below it, which no longer change. Gradients
    are averaged over the batch and the positions of a channel, so that learning rates do not depend on sizes.

    Parameters
    ----------
    network : BeliefNetwork
        Its parameters are changed in place.
    x : array_like, shape (samples, *input_shape)
        Batches are drawn from the samples with replacement.
    steps : int or sequence of int
        Number of steps, one for all machines or one for each; 0 leaves a machine as it is.
    batch_size : int
    optimiser : callable
        Returns a new optimiser for each machine.
    sparsity : float or sequence of float, optional
        Target of the mean activation of each channel, one for all machines or one for each. Biases of detection units
        then move towards it, ``sparsity_rate * log(target / activation)`` per step, with the logarithm clipped to
        [-1, 1] and a running mean of the activation; otherwise they follow the gradient.
    sparsity_rate : float
    checkpoint, checkpoint_steps, progress
        As for `fit`: a run that is killed and called again with the same arguments gives the same bits. The checkpoint
        is written every ``checkpoint_steps`` steps and after each machine. One of other data or arguments is refused.
    rng : int or numpy.random.Generator

    Returns
    -------
    list of LayerHistory

    Raises
    ------
    ValueError, TypeError
        If arguments do not fit each other; raised before the first step.
    NonFiniteError
        If parameters become NaN or infinite.

    Examples
    --------
    >>> import numpy as np
    >>> import convmatrix as cm
    >>> from convmatrix import nn
    >>> bars = np.eye(6)[np.arange(60) % 6][:, None, :, None] * np.ones(6)
    >>> geometry = cm.ConvGeometry((6, 6), (3, 3), out_channels=4, boundary="circular", padding="same")
    >>> network = nn.BeliefNetwork([nn.BoltzmannMachine(geometry)])
    >>> (history,) = nn.fit_greedily(network, bars, steps=[100])
    >>> history.error[-1] < 0.5 * history.error[0]
    True
    """
    inputs = np.asarray(x)
    count = len(getattr(network, "layers", ()))
    steps, targets = (_one_per_machine(value, count) for value in (steps, sparsity))
    _check(network, inputs, steps, batch_size, optimiser)
    if len(targets) != count or not all(t is None or 0 < t < 1 for t in targets):
        raise ValueError(f"sparsity must be one number in (0, 1), or one for each of {count} machines: got {sparsity}")
    if not 0 <= sparsity_rate < math.inf:
        raise ValueError(f"sparsity_rate must be finite and not negative, but is {sparsity_rate}")
    path = checkpoint_path(checkpoint, checkpoint_steps)
    generator = np.random.default_rng(rng)
    settings = {
        "samples": len(inputs),
        "steps": [int(n) for n in steps],
        "batch_size": int(batch_size),
        "sparsity": [None if t is None else float(t) for t in targets],
        "sparsity_rate": float(sparsity_rate),
    }
    run = _GreedyRun(network, [optimiser() for _ in steps], generator, settings)
    if path is not None:
        settings["x"] = checksum(inputs)
        settings["optimisers"] = [made.options() for made in run.optimisers]
    if path is not None and path.exists():
        run.resume(path)
    with (
        reporting(progress, "training") as report,
        deferred_interrupts(wanted=path is not None) as interrupt,
    ):
        while run.place < count:
            while run.done < steps[run.place]:
                run.step(inputs[generator.integers(len(inputs), size=batch_size)])
                error = run.histories[run.place].error[-1]
                report(sum(steps[: run.place]) + run.done, sum(steps), f"layer {run.place + 1}, error {error:.4f}")
                due = checkpoint_steps is not None and run.done % checkpoint_steps == 0
                if path is not None and (interrupt.requested or due):
                    run.save(path)
                interrupt.raise_if_requested()
            run.begin(run.place + 1)
            if path is not None:
                run.save(path)
            interrupt.raise_if_requested()
    return run.histories


class _GreedyRun:
    """A greedy training run: its position, and everything that a checkpoint contains."""

    def __init__(
        self, network: BeliefNetwork, optimisers: list[Optimiser], rng: np.random.Generator, settings: dict[str, Any]
    ) -> None:
        for place, made in enumerate(optimisers):
            if not isinstance(made, Optimiser):
                raise TypeError(f"optimiser() must return an optimiser, but returned a {type(made).__name__}")
            if any(made is other for other in optimisers[:place]):
                raise ValueError("optimiser() must return a new optimiser for each machine, but returned one twice")
        self.network, self.optimisers, self.rng, self.settings = network, optimisers, rng, settings
        self.histories = [LayerHistory() for _ in network.layers]
        self.begin(0)

    def begin(self, place: int) -> None:
        """Begin the training of a machine."""
        self.place, self.done = place, 0
        self.activation: Array | None = None  # running mean, of each channel

    @property
    def optimiser(self) -> Optimiser:
        """That of the current machine; after the last one, still its own."""
        return self.optimisers[min(self.place, len(self.optimisers) - 1)]

    def trained(self, place: int) -> dict[str, Array]:
        """Return the parameters of a machine that its optimiser changes."""
        parameters = dict(self.network.layers[place].parameters)
        if self.settings["sparsity"][place] is not None:
            del parameters["bias"]
        return parameters

    def step(self, v: Array) -> None:
        """Take one step of contrastive divergence for the current machine."""
        machine = self.network.layers[self.place]
        v = v.astype(machine.parameters["weight"].dtype, copy=False)
        for lower in self.network.layers[: self.place]:
            v = lower.forward(v)
        with np.errstate(over="ignore", invalid="ignore"):  # checked below
            gradients, activation, error = machine.contrastive_divergence(v, self.rng)
        positions = {name: len(v) * np.prod(machine.geometry.output_shape) for name in ("weight", "bias")}
        positions["visible_bias"] = len(v) * np.prod(machine.geometry.input_shape)
        trained = self.trained(self.place)
        target = self.settings["sparsity"][self.place]
        if target is not None:
            self.activation = activation if self.activation is None else 0.9 * self.activation + 0.1 * activation
            ratio = np.clip(np.log(target / np.maximum(self.activation, 1e-30)), -LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)
            machine.parameters["bias"] += self.settings["sparsity_rate"] * ratio.astype(v.dtype)
        kind = v.dtype.type
        with np.errstate(over="ignore", invalid="ignore"):
            self.optimiser.step(trained, {name: -gradients[name] / kind(positions[name]) for name in trained})
        self.done += 1
        self.histories[self.place].error.append(error)
        self.histories[self.place].activation.append(float(activation.mean()))
        if bad := not_finite(machine.parameters):
            raise NonFiniteError(
                f"after step {self.done} of machine {self.place}, values are not finite in {bad[0]} of {machine!r}; "
                + REMEDY
            )

    def save(self, path: Path) -> None:
        """Write a checkpoint."""
        progress = {
            "place": self.place,
            "done": self.done,
            "histories": [{"error": h.error, "activation": h.activation} for h in self.histories],
            "settings": self.settings,
        }
        arrays = {} if self.activation is None else {"activation": self.activation}
        save_checkpoint(path, self.network, self.optimiser, {"rng": self.rng}, progress, arrays)

    def resume(self, path: Path) -> None:
        """Continue from a checkpoint; if it belongs to another run, raise ValueError and change nothing."""
        found = load_checkpoint(path, _check_progress)
        progress = found.progress
        require_same(path, progress["settings"], self.settings)
        place, done = progress["place"], progress["done"]
        lengths = [n if at < place else done if at == place else 0 for at, n in enumerate(self.settings["steps"])]
        beyond = place > len(lengths) or (place == len(lengths) and done > 0)
        if beyond or [len(h["error"]) for h in progress["histories"]] != lengths:
            raise ValueError(f"checkpoint {path} is damaged: its histories are not those of {done} steps of {place}")
        last = min(place, len(lengths) - 1)
        activation = found.arrays.get("activation")
        channels = self.network.layers[last].geometry.out_channels
        if activation is not None and (activation.shape != (channels,) or not np.isfinite(activation).all()):
            raise ValueError(f"checkpoint {path} is damaged: its mean activations are not {channels} finite numbers")
        found.restore(self.network, self.optimisers[last], {"rng": self.rng}, self.trained(last))
        self.place, self.done, self.activation = place, done, activation
        self.histories = [LayerHistory(h["error"], h["activation"]) for h in progress["histories"]]


def _check_progress(found: Checkpoint) -> None:
    """Raise ValueError unless a checkpoint is that of greedy training."""
    progress = found.progress
    require_types({"place": int, "done": int, "histories": list, "settings": dict}, progress, "progress")
    if progress["place"] < 0 or progress["done"] < 0:
        raise ValueError(f"it was saved after step {progress['done']} of machine {progress['place']}")
    for history in progress["histories"]:
        require_types({"error": list, "activation": list}, history, "a history")
        require_numbers(history["error"] + history["activation"])
        if len(history["error"]) != len(history["activation"]):
            raise ValueError("the parts of a history differ in length")


def _one_per_machine(value: Any, count: int) -> list[Any]:
    """Return a list unchanged, and a single value once per machine."""
    return [value] * count if value is None or np.ndim(value) == 0 else list(value)


def _check(
    network: BeliefNetwork, inputs: Array, steps: Sequence[int], batch_size: int, optimiser: Callable[[], Optimiser]
) -> None:
    """Raise unless the arguments of `fit_greedily` fit each other."""
    if not isinstance(network, BeliefNetwork):
        raise TypeError(f"network must be a BeliefNetwork, but is a {type(network).__name__}")
    validate.integer("batch_size", batch_size, minimum=1)
    if not callable(optimiser):
        raise TypeError(
            "optimiser must be a function that returns a new optimiser for each machine, such as lambda: SGD(0.1), but "
            f"is a {type(optimiser).__name__}"
        )
    if len(steps) != len(network.layers):
        raise ValueError(f"steps must give one number per machine, {len(network.layers)}, but gives {len(steps)}")
    for place, n in enumerate(steps):
        validate.integer(f"steps[{place}]", n, minimum=0)
    if inputs.dtype.kind not in "fiub":
        raise TypeError(f"x must hold real numbers, but has dtype {inputs.dtype}; convert it to float32")
    if inputs.shape[1:] != network.layers[0].input_shape or not len(inputs):
        raise ValueError(
            f"x must have shape (samples, {', '.join(map(str, network.layers[0].input_shape))}) with at least one "
            f"sample, but has shape {inputs.shape}"
        )
    if not np.isfinite(inputs).all():
        raise ValueError("x holds values that are not finite; clean the data")
    if network.layers[0].visible == "binary" and (inputs.min() < 0 or inputs.max() > 1):
        raise ValueError(
            f"binary visible units are in [0, 1], but x ranges from {inputs.min()} to {inputs.max()}; rescale the data"
        )
