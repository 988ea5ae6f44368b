"""Losses, optimisers and learning-rate schedules."""

from __future__ import annotations

import math
import re
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from convmatrix import options as validate
from convmatrix.arrays import Array, refuse_masked

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Schedule = Callable[[int], float]
"""A function from the index of the step, counted from 0, to the learning rate."""


def _options(owner: Any, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the public attributes of an object as JSON values."""
    return {
        name: value if isinstance(value, bool | int | float | str | None) else _described(value)
        for name, value in sorted(vars(owner).items())
        if not name.startswith("_") and name not in without
    }


def _described(value: Any) -> Any:
    """Return a number, or a description that is the same in every process."""
    if isinstance(value, np.generic | np.ndarray) and value.ndim == 0:
        return value.item()
    return getattr(value, "__qualname__", None) or re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def label_array(targets: ArrayLike) -> Array:
    """Return targets as an array, without masked entries; False and True as the labels 0 and 1."""
    refuse_masked("targets", targets)
    found = np.asarray(targets)
    return found.astype(np.uint8) if found.dtype == np.bool_ else found


# --- losses ----------------------------------------------------------------------------------------------------------


class Loss(ABC):
    """A loss: a function of a network's output and the targets, averaged over the batch."""

    @abstractmethod
    def __call__(self, output: ArrayLike, targets: ArrayLike) -> tuple[float, Array]:
        """Return the loss and its gradient with respect to the output, in its dtype; in float64 for integers.

        Raises
        ------
        ValueError
            If the targets do not fit the output, or the batch is empty.
        """

    @abstractmethod
    def check(self, output_shape: tuple[int, ...], targets: Array) -> None:
        """Raise ValueError unless the targets fit outputs of the given shape (without the batch axis)."""

    def options(self) -> dict[str, Any]:
        """Return the options by name."""
        return _options(self)

    def _batch(self, output: ArrayLike, targets: ArrayLike) -> tuple[Array, Array]:
        """Return the output in floating point, and the targets as an array that fits it."""
        y, wanted = np.asarray(output), label_array(targets)
        if y.dtype.kind not in "fiu":
            raise TypeError(f"the loss needs real numbers, but the output has dtype {y.dtype}")
        y = y.astype(np.result_type(y.dtype, np.float32), copy=False)
        if y.ndim < 1 or not len(y):
            raise ValueError(f"the loss is a mean over samples, but the output has shape {y.shape} without samples")
        if wanted.ndim < 1 or len(wanted) != len(y):
            raise ValueError(
                f"the output has {len(y)} samples, but targets have shape {wanted.shape}; give one per sample"
            )
        self.check(y.shape[1:], wanted)
        return y, wanted


class SoftmaxCrossEntropy(Loss):
    r"""Mean of :math:`-\log \mathrm{softmax}(y)_t` for class labels t; outputs are ``(batch, classes)``.

    Examples
    --------
    >>> import numpy as np
    >>> loss, gradient = SoftmaxCrossEntropy()(np.zeros((1, 2)), [0])
    >>> round(loss, 4), gradient
    (0.6931, array([[-0.5,  0.5]]))
    """

    def __call__(self, output: ArrayLike, targets: ArrayLike) -> tuple[float, Array]:
        """Return the loss and its gradient with respect to the output."""
        y, labels = self._batch(output, targets)
        rows = np.arange(len(y))
        shifted = y - y.max(axis=1, keepdims=True)
        exponentials = np.exp(shifted)
        sums = exponentials.sum(axis=1, keepdims=True)
        loss = float(np.mean(np.log(sums[:, 0]) - shifted[rows, labels], dtype=np.float64))
        gradient = exponentials / sums
        gradient[rows, labels] -= 1
        gradient /= len(y)
        return loss, gradient

    def check(self, output_shape: tuple[int, ...], targets: Array) -> None:
        """Raise ValueError unless the targets are class labels."""
        if len(output_shape) != 1:
            raise ValueError(
                f"softmax cross-entropy needs outputs of shape (batch, classes), but the network's samples have shape "
                f"{output_shape}"
            )
        if targets.ndim != 1 or targets.dtype.kind not in "iu":
            raise ValueError(
                f"labels must be one integer per sample, but have shape {targets.shape} and dtype {targets.dtype}"
            )
        if len(targets) and (targets.min() < 0 or targets.max() >= output_shape[0]):
            raise ValueError(
                f"labels range from {targets.min()} to {targets.max()}, but the network has {output_shape[0]} outputs; "
                f"labels must lie in 0 .. {output_shape[0] - 1}"
            )


class SquaredError(Loss):
    r"""Mean over samples and outputs of :math:`(y - t)^2`.

    Class labels are converted to target vectors with ``on`` at the label and ``off`` elsewhere (LeCun 1989: 1 and -1).
    Targets are labels if they are one integer per sample and the network has two outputs or more.

    Parameters
    ----------
    on, off : float

    Examples
    --------
    >>> import numpy as np
    >>> SquaredError()(np.array([[1.0, 0.0]]), [0])
    (0.5, array([[0., 1.]]))
    """

    def __init__(self, on: float = 1.0, off: float = -1.0) -> None:
        self.on, self.off = validate.finite("on", on), validate.finite("off", off)

    def __call__(self, output: ArrayLike, targets: ArrayLike) -> tuple[float, Array]:
        """Return the loss and its gradient with respect to the output."""
        y, wanted = self._batch(output, targets)
        if wanted.ndim == 1 and y.ndim == 2:
            vectors = np.full(y.shape, self.off, dtype=y.dtype)
            vectors[np.arange(len(y)), wanted] = self.on
            wanted = vectors
        difference = y - wanted.astype(y.dtype, copy=False)
        loss = float(np.mean(np.square(difference), dtype=np.float64))
        return loss, difference * y.dtype.type(2 / difference.size)

    def check(self, output_shape: tuple[int, ...], targets: Array) -> None:
        """Raise ValueError unless the targets are class labels, or arrays of the shape of the outputs."""
        if targets.ndim == 1 and targets.dtype.kind in "iu" and len(output_shape) == 1 and output_shape[0] > 1:
            SoftmaxCrossEntropy().check(output_shape, targets)
        elif targets.dtype.kind not in "fiu":
            raise ValueError(f"targets must be labels or real numbers, but have dtype {targets.dtype}")
        elif targets.shape[1:] != tuple(output_shape):
            raise ValueError(
                f"targets have shape {targets.shape[1:]} per sample, but the network's outputs have shape "
                f"{output_shape}; give class labels (samples,), or targets of the outputs' shape"
            )


# --- optimisers ------------------------------------------------------------------------------------------------------


class Optimiser(ABC):
    """Base class of optimisers, which change parameters in place.

    An optimiser counts its steps and may remember past gradients, so that each network needs one of its own. The first
    step binds the optimiser to the arrays that it changes; others are refused until `load_state` is called, except
    copies with the values of the last step.

    Parameters
    ----------
    learning_rate : float or callable
        A number, or a schedule: a function from the index of the step, counted from 0, to the learning rate.
    weight_decay : float
        This factor times the parameter (the gradient of an L2 penalty) is added to each gradient.
    """

    def __init__(self, learning_rate: float | Schedule, weight_decay: float = 0.0) -> None:
        if not callable(learning_rate) and not 0 < validate.real("learning_rate", learning_rate) < math.inf:
            raise ValueError(f"learning_rate must be positive and finite, but is {learning_rate}")
        if not 0 <= validate.real("weight_decay", weight_decay) < math.inf:
            raise ValueError(f"weight_decay must be finite and not negative, but is {weight_decay}")
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.steps = 0
        self.memory: dict[str, Array] = {}
        self._bound: dict[str, weakref.ref[Array]] = {}

    def step(self, parameters: dict[str, Array], gradients: dict[str, Array]) -> None:
        """Take one step: change every parameter in place.

        Raises
        ------
        ValueError
            If a gradient is missing, the parameters are not those of the first step, or the schedule returns a rate
            that is negative or not finite. In this case nothing is changed.
        """
        if missing := parameters.keys() - gradients.keys():
            raise ValueError(f"there is no gradient for {sorted(missing)[0]}; call backward before step")
        for name, parameter in parameters.items():
            gradient = gradients[name]
            if gradient.shape != parameter.shape or gradient.dtype.kind not in "fiu":
                raise ValueError(
                    f"{name} has shape {parameter.shape} and dtype {parameter.dtype}, but its gradient "
                    f"{gradient.shape} and {gradient.dtype}; give a gradient that backward has set"
                )
        for name in sorted(self._bound.keys() | parameters.keys()) if self._bound else ():
            last = self._bound[name]() if name in self._bound else None
            if name not in parameters or not (last is parameters[name] or _is_copy(last, parameters[name])):
                raise ValueError(
                    f"after {self.steps} steps this {type(self).__name__} was given other parameters (first {name}); "
                    "create an optimiser for each network, or call load_state to continue with the state of another"
                )
        rate = self.learning_rate(self.steps) if callable(self.learning_rate) else self.learning_rate
        if not 0 <= rate < math.inf:
            raise ValueError(f"learning_rate({self.steps}) is {rate}, but must be finite and not negative")
        self._bound = {name: weakref.ref(parameter) for name, parameter in parameters.items()}
        self.steps += 1
        for name, parameter in parameters.items():
            gradient = gradients[name]
            if self.weight_decay:
                gradient = gradient + parameter.dtype.type(self.weight_decay) * parameter
            self._update(name, parameter, gradient, rate)

    @abstractmethod
    def _update(self, name: str, parameter: Array, gradient: Array, rate: float) -> None:
        """Change one parameter."""

    def _running(self, name: str, like: Array) -> Array:
        """Return the array that is kept between steps under a name; initially zeros."""
        if name not in self.memory:
            self.memory[name] = np.zeros_like(like)
        if self.memory[name].shape != like.shape:
            raise ValueError(f"the optimiser's {name!r} has shape {self.memory[name].shape}, but must be {like.shape}")
        return self.memory[name]

    def remembered(self) -> tuple[str, ...] | None:
        """Return the words with which the names of the remembered arrays begin, such as ``("mean", "square")``.

        After a step there is one array for each word and parameter, named ``"<word> <parameter>"``, with the shape and
        dtype of the parameter. None, the default, promises nothing, and states are then loaded unchecked.
        """
        return None

    def options(self) -> dict[str, Any]:
        """Return the options by name; a function, such as a schedule, by its representation or name."""
        return _options(self, without=("steps", "memory"))

    def check_state(self, state: Mapping[str, Array], parameters: Mapping[str, Array]) -> None:
        """Raise ValueError unless a `state` fits an optimiser of this kind that trains these parameters."""
        steps = _steps(state)
        words = self.remembered()
        if words is None:
            return
        expected = {f"{word} {name}": p for word in words for name, p in parameters.items()} if steps else {}
        for name in sorted(expected.keys() | (state.keys() - {"steps"})):
            there, here = (
                f"{a.dtype} {a.shape}" if a is not None else "absent" for a in (state.get(name), expected.get(name))
            )
            if there != here:
                raise ValueError(f"the optimiser's {name!r} is {there}, but must be {here}")
            if not np.isfinite(state[name]).all():
                raise ValueError(f"the optimiser's {name!r} holds values that are not finite")

    def state(self) -> dict[str, Array]:
        """Return the arrays that a resumed run needs."""
        return {"steps": np.array(self.steps), **self.memory}

    def load_state(self, state: dict[str, Array]) -> None:
        """Copy the arrays of a `state` into the optimiser; the next step may change any parameters of their shapes.

        Raises
        ------
        ValueError
            If the number of steps is not an integer of at least 0, or the rest is not arrays of real numbers. In this
            case nothing is changed.
        """
        steps = _steps(state)
        memory = {name: np.array(array) for name, array in state.items() if name != "steps"}
        for name, array in memory.items():
            if array.dtype.kind not in "fiu":
                raise ValueError(f"the optimiser's {name!r} has dtype {array.dtype}, but must be of real numbers")
        self.steps, self.memory, self._bound = steps, memory, {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_bound": {}}  # a copy belongs to the copy of the network


def _steps(state: Mapping[str, Array]) -> int:
    """Return the number of steps of a state; raise ValueError unless it is an integer of at least 0."""
    steps = np.asarray(state.get("steps", -1))
    if steps.shape != () or steps.dtype.kind not in "iu" or steps < 0:
        raise ValueError(f"the optimiser's steps are {steps!s:.40}, but must be an integer of at least 0")
    return int(steps)


def _is_copy(last: Array | None, parameter: Array) -> bool:
    """Return whether an array continues the last step: the array of that step still exists and has its values."""
    return last is not None and last.dtype == parameter.dtype and np.array_equal(last, parameter)


class SGD(Optimiser):
    """Stochastic gradient descent: ``v = momentum * v + gradient``, ``p -= rate * v``.

    Parameters
    ----------
    learning_rate : float or callable
    momentum : float
    weight_decay : float

    Examples
    --------
    >>> import numpy as np
    >>> p = {"w": np.array([1.0])}
    >>> SGD(0.5).step(p, {"w": np.array([1.0])})
    >>> p["w"]
    array([0.5])
    """

    def __init__(
        self, learning_rate: float | Schedule = 0.01, momentum: float = 0.0, weight_decay: float = 0.0
    ) -> None:
        super().__init__(learning_rate, weight_decay)
        if not 0 <= validate.real("momentum", momentum) < 1:
            raise ValueError(f"momentum must lie in [0, 1), but is {momentum}")
        self.momentum = momentum

    def remembered(self) -> tuple[str, ...]:
        """Return ``("velocity",)``, or nothing without momentum."""
        return ("velocity",) if self.momentum else ()

    def _update(self, name: str, parameter: Array, gradient: Array, rate: float) -> None:
        if self.momentum:
            velocity = self._running(f"velocity {name}", parameter)
            velocity *= parameter.dtype.type(self.momentum)
            velocity += gradient
            gradient = velocity
        parameter -= parameter.dtype.type(rate) * gradient


class Adam(Optimiser):
    """Adam with bias correction: Kingma and Ba, ICLR 2015, Algorithm 1.

    Parameters
    ----------
    learning_rate : float or callable
    beta1, beta2 : float
        Decay rates of the running averages of the gradient and of its square.
    epsilon : float
    weight_decay : float

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([1.0])
    >>> Adam(0.1).step({"x": x}, {"x": np.array([5.0])})
    >>> x.round(6)
    array([0.9])
    """

    def __init__(
        self,
        learning_rate: float | Schedule = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(learning_rate, weight_decay)
        for name, beta in (("beta1", beta1), ("beta2", beta2)):
            if not 0 <= validate.real(name, beta) < 1:
                raise ValueError(f"{name} must lie in [0, 1), but is {beta}")
        if not 0 < validate.real("epsilon", epsilon) < math.inf:
            raise ValueError(f"epsilon must be positive and finite, but is {epsilon}")
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon

    def remembered(self) -> tuple[str, ...]:
        """Return ``("mean", "square")``."""
        return ("mean", "square")

    def check_state(self, state: Mapping[str, Array], parameters: Mapping[str, Array]) -> None:
        """Raise ValueError unless a `state` fits, in which squares are not negative."""
        super().check_state(state, parameters)
        for name, array in state.items():
            if name.startswith("square ") and array.min(initial=0) < 0:
                raise ValueError(f"the optimiser's {name!r} holds {array.min()}, but squares are not negative")

    def _update(self, name: str, parameter: Array, gradient: Array, rate: float) -> None:
        kind = parameter.dtype.type
        mean, square = (self._running(f"{what} {name}", parameter) for what in ("mean", "square"))
        mean *= kind(self.beta1)
        mean += kind(1 - self.beta1) * gradient
        square *= kind(self.beta2)
        square += kind(1 - self.beta2) * (gradient * gradient)
        correction1, correction2 = 1 - self.beta1**self.steps, 1 - self.beta2**self.steps
        denominator = np.sqrt(square) / kind(math.sqrt(correction2)) + kind(self.epsilon)
        parameter -= kind(rate / correction1) * mean / denominator


def step_decay(rate: float, every: int, factor: float = 0.1) -> Schedule:
    """Return a schedule that multiplies the learning rate by ``factor`` every ``every`` steps.

    Examples
    --------
    >>> schedule = step_decay(1.0, every=10, factor=0.5)
    >>> schedule(9), schedule(10)
    (1.0, 0.5)
    """
    return _StepDecay(_rate("rate", rate), validate.integer("every", every, minimum=1), _rate("factor", factor))


def cosine_decay(rate: float, steps: int, final: float = 0.0) -> Schedule:
    """Return a schedule that falls from ``rate`` to ``final`` along half a cosine: Loshchilov and Hutter, 2017.

    Examples
    --------
    >>> schedule = cosine_decay(1.0, steps=10)
    >>> schedule(0), round(schedule(5), 6), schedule(10)
    (1.0, 0.5, 0.0)
    """
    return _CosineDecay(_rate("rate", rate), validate.integer("steps", steps, minimum=1), _rate("final", final))


def _rate(name: str, value: float) -> float:
    """Return a finite number that is not negative."""
    if validate.finite(name, value) < 0:
        raise ValueError(f"{name} must not be negative, but is {value}")
    return float(value)


@dataclass(frozen=True)
class _StepDecay:
    rate: float
    every: int
    factor: float

    def __call__(self, step: int) -> float:
        try:
            return self.rate * self.factor ** (step // self.every)
        except OverflowError:
            return math.inf  # which an optimiser refuses


@dataclass(frozen=True)
class _CosineDecay:
    rate: float
    steps: int
    final: float

    def __call__(self, step: int) -> float:
        return self.final + (self.rate - self.final) * (1 + math.cos(math.pi * min(step / self.steps, 1.0))) / 2
