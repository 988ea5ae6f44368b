"""Counterexamples: inputs of a box that reach an unsafe set, found by descent and accepted by exact evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convmatrix.constraints.exact_bounds import terms_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convmatrix.constraints.normal_form import NormalForm
    from convmatrix.constraints.properties import HalfSpace
    from convmatrix.network import Network

    Floats = NDArray[np.float64]

_STARTS: Final = 16
_STEPS: Final = 40


class Target:
    """An unsafe set within a box, in float64: how far a batch of inputs is from it, and in which direction it lies.

    Its half-spaces are ``rows @ v <= right``, for the variables v of the normal form.
    The margin of an input is the largest excess of the half-spaces; it is not positive in the set.
    """

    def __init__(self, form: NormalForm, spaces: Sequence[HalfSpace], box: tuple[Floats, Floats]) -> None:
        self.form, self.box = form, box
        self.rows = np.zeros((len(spaces), form.n_variables))
        for number, space in enumerate(spaces):
            for variable, factor in terms_of(space, form):
                self.rows[number, variable] += float(factor)
        self.right = np.array([float(space.right) for space in spaces])

    def margins(self, x: Floats) -> tuple[Floats, Floats]:
        """Return the margins of a batch (batch, n_inputs) and the values of all variables."""
        with np.errstate(over="ignore", invalid="ignore"):
            values = self.form.complete(x.reshape(-1, *self.form.input_shape))
            margins = np.max(values @ self.rows.T - self.right, axis=1, initial=-np.inf)
        return np.where(np.isnan(margins), np.inf, margins), values

    def gradients(self, values: Floats) -> Floats:
        """Return the gradients of the margins with respect to the inputs; 0 where they are not finite."""
        form = self.form
        with np.errstate(over="ignore", invalid="ignore"):
            worst = np.argmax(values @ self.rows.T - self.right, axis=1)
            adjoint = np.ascontiguousarray(self.rows[worst].T)  # (n_variables, batch)
            for block in reversed(form.blocks):
                if block.body is None:
                    pre, post = form.pre[block.span], form.post[block.span]
                    adjoint[pre] += adjoint[post] * (values.T[pre] > 0)
                else:
                    adjoint += block.body.T @ adjoint[form.defines[block.span]]
            gradients: Floats = np.nan_to_num(adjoint[form.variables[form.input]].T, nan=0.0)
        return gradients

    def descend(self, start: Floats) -> tuple[float, Floats]:
        """Return the least margin that projected descent by signs of gradients reaches, and its input."""
        low, high = self.box
        x = np.clip(start, low, high)
        least, best = np.inf, x[0]
        for step in range(_STEPS + 1):
            margins, values = self.margins(x)
            place = int(np.argmin(margins))
            if margins[place] < least:
                least, best = float(margins[place]), x[place].copy()
            if least < 0 or step == _STEPS:
                break
            size = (high / 2 - low / 2) * (1 - step / _STEPS) ** 2
            with np.errstate(over="ignore"):  # of what is clipped
                x = np.clip(x - size * np.sign(self.gradients(values)), low, high)
        return least, best

    def attack(self, rng: np.random.Generator) -> tuple[float, Floats]:
        """Return the least margin found from the centre, random points and random corners of the box."""
        low, high = self.box
        inner = rng.uniform(size=(_STARTS, len(low)))
        inner[0] = 0.5
        inner[_STARTS // 2 :] = np.round(inner[_STARTS // 2 :])
        return self.descend(low * (1 - inner) + high * inner)


def reaches(network: Network, form: NormalForm, spaces: Sequence[HalfSpace], x: Floats) -> bool:
    """Return whether an input is in an unsafe set: exactly, and as the network is evaluated in float64."""
    exact_x = [Fraction(value) for value in x.tolist()]
    shaped: Any = np.empty(len(exact_x), object)
    shaped[:] = exact_x
    values = form.complete(shaped.reshape(form.input_shape))
    if not all(space.contains(exact_x, values[form.variables[form.output]].tolist()) for space in spaces):
        return False
    output = network.values(x.reshape(1, *form.input_shape), [form.output])[form.output]
    if not np.isfinite(output).all():
        return False
    floats = [Fraction(value) for value in output.ravel().tolist()]
    return all(space.contains(exact_x, floats) for space in spaces)
