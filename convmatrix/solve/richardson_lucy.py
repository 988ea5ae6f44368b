"""The Richardson-Lucy iteration for non-negative data and kernels, without artefacts at the border."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from convmatrix.solve.conjugate_gradients import Iterate
from convmatrix.solve.parameter_rules import check_reachable

if TYPE_CHECKING:
    from convmatrix.arrays import Array
    from convmatrix.solve.deconvolution_problems import ScaledProblem


def richardson_lucy(problem: ScaledProblem, number: float) -> tuple[Iterate, int]:
    r"""Return a Richardson-Lucy iterate, and its number.

    .. math:: x \leftarrow \frac{x}{A^T 1} \, A^T \frac{y}{A x}

    The denominator :math:`A^T 1`, the weight with which a sample is seen, is less than the sum of the kernel near a
    border beyond which nothing is seen; so nothing outside the frame is assumed with ``padding="valid"``.

    Parameters
    ----------
    problem : ScaledProblem
        With a target, iterations stop as soon as the norm of A x - y is at most this.
    number : float
        Number of iterations; infinite to iterate until the conditions of optimality of `convmatrix.solve.deconvolve`
        hold up to ``tol``.

    References
    ----------
    Richardson, Bayesian-based iterative method of image restoration, J. Opt. Soc. Am. 62(1), 1972. Lucy, An iterative
    technique for the rectification of observed distributions, Astron. J. 79, 1974. Bertero, Boccacci, A simple method
    for the reduction of boundary effects in the Richardson-Lucy approach to image deconvolution, Astron. Astrophys.
    437, 2005.
    """
    operator, y, target, log = problem.operator, problem.data, problem.target, problem.log
    log.restart()
    adjoint = operator.H
    total = y.sum(axis=0)
    seen = adjoint @ np.ones_like(y)
    is_seen = seen > 0
    mass = seen.sum(axis=0)
    start = np.divide(total, mass, out=np.zeros_like(total), where=mass > 0)
    x = np.where(is_seen, start, 0.0)
    image = operator @ x
    done, level = 0, 0.0
    misfit = start_misfit = float(np.linalg.norm(y))
    while done < min(number, problem.most_steps):
        ratio = np.divide(y, image, out=np.zeros_like(y), where=image > 0)
        factor = np.divide(adjoint @ ratio, seen, out=np.zeros_like(seen), where=is_seen)
        x = np.maximum(x * factor, 0)  # products by transforms may be negative by rounding
        image = np.maximum(operator @ x, 0)
        done += 1
        misfit = float(np.linalg.norm(image - y))
        change = seen * np.abs(np.where(factor > 0, x / np.where(factor > 0, factor, 1), 0) * (1 - factor))
        level = max(float(change.sum() / max(y.sum(), 1e-300)), float((factor - 1)[is_seen].max(initial=0.0)))
        log.add(divergence(y, image), misfit, level)
        if misfit <= target if target is not None else math.isinf(number) and level <= problem.tol:
            break
    if target is not None:
        check_reachable(misfit, start_misfit, target)
    return Iterate(x, done, level), done


def divergence(y: Array, image: Array) -> float:
    """Return the sum of A x - y + y log(y / A x); outputs with A x = 0, which no sample reaches, are left out."""
    counted = image > 0
    y, image = y[counted], image[counted]
    logarithm = np.log(np.divide(y, image, out=np.ones_like(y), where=y > 0))
    return float((image - y + y * logarithm).sum())
