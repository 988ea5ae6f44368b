"""Circulant preconditioners: five eigenvalues exactly, and the iterations of conjugate gradients, counted.

Source: Strang, A proposal for Toeplitz matrix calculations, Stud. Appl. Math. 74, 1986; T. Chan, SIAM J. Sci. Stat.
Comput. 9(4), 1988; R. Chan, SIAM J. Matrix Anal. Appl. 10(4), 1989; R. Chan and Strang, Toeplitz equations by conjugate
gradients with circulant preconditioner, SIAM J. Sci. Stat. Comput. 10(1), 1989, for t^|i-j|. That Strang's circulant
leaves five eigenvalues is shown in rational arithmetic: the nullities of A - lambda C over the five add up to n. The
counts are recomputed from the definitions, for the symbol theta^4 + 1; none is printed in these papers as such.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse.linalg import cg
from sympy import QQ
from sympy.polys.matrices import DomainMatrix

import convmatrix as cm
from analyses import Claim, Context, check_equal, check_within
from analyses._figures import COLOURS, PAGE_WIDTH, new_figure

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure

    from convmatrix.arrays import Array
    from convmatrix.solve.preconditioners import Kind

KINDS: dict[str, Kind | None] = {"none": None, "Strang": "strang", "T. Chan": "t_chan", "R. Chan": "r_chan"}
SIZES = (32, 64, 128)
RECOMPUTED = {"none": [19, 36, 54], "Strang": [5, 5, 5], "T. Chan": [7, 7, 6]}  # by another program
SLACK = 2  # iterations: programs differ in when they look at the residual


def run(context: Context) -> list[Claim]:
    """Prove the five eigenvalues for some sizes, then count iterations on one level and on two."""
    largest = 512 if context.quick else 4096
    sizes = [2**power for power in range(5, largest.bit_length())]
    counts = {name: [iterations(n, kind) for n in sizes] for name, kind in KINDS.items()}
    sides = (16, 32) if context.quick else (16, 32, 64, 128)
    squares = {name: [iterations(n, kind, levels=2) for n in sides] for name, kind in KINDS.items()}
    context.save_figure(_figure(sizes, counts))
    return [*five_eigenvalues(), *table(sizes, counts), *two_levels(sides, squares)]


# --- the five eigenvalues --------------------------------------------------------------------------------------------


def five_eigenvalues() -> list[Claim]:
    """Return the claims on A = t^|i-j|, exact and in floating point."""
    exact = {(n, t): nullities(n, t) for n in (6, 8, 12) for t in (Fraction(1, 2), Fraction(-2, 3))}
    far = {(n, t): distance_from_five(n, t) for n in (8, 32, 100) for t in (0.5, -0.5, 0.9)}
    return [
        *(
            check_equal(
                f"five-n{n}-t{t}",
                f"A = t^|i-j|, n = {n}, t = {t}: the five that are eigenvalues of C^-1 A, and the sum of the nullities "
                f"{', '.join(map(str, found))} of A - lambda C",
                [sum(nullity > 0 for nullity in found), sum(found)],
                expected=[len(found), n],
                reason="lambda = 1/(1+-t), 1/(1+-t^(n/2)), 1; the sum n leaves no other one; rational arithmetic",
            )
            for (n, t), found in exact.items()
        ),
        check_within(
            "five-distance",
            "n = 8, 32, 100, t = 0.5, -0.5, 0.9: largest distance of an eigenvalue of C^-1 A from the five",
            max(far.values()),
            (0, 1e-10),
            reason="the circulant that the preconditioner inverts is that of the theorem; rounding",
        ),
    ]


def five(n: int, t: Any) -> list[Any]:
    """Return the eigenvalues of the theorem."""
    return [1 / (1 + t), 1 / (1 - t), 1 / (1 + t ** (n // 2)), 1 / (1 - t ** (n // 2)), t**0]


def nullities(n: int, t: Fraction) -> list[int]:
    """Return the dimension of the null space of A - lambda C for each of the five, in rational arithmetic."""
    scale = t.denominator ** (n - 1)  # makes all entries integers
    diagonals = np.array([int(t ** abs(k) * scale) for k in range(n - 1, -n, -1)])
    A = cm.conv_matrix(diagonals, n, padding="same").toarray()
    C = cm.circulant([int(t ** min(j, n - j) * scale) for j in range(n)]).toarray()
    found = []
    for value in five(n, t):
        entries = [[QQ(int(a)) - QQ(value.numerator, value.denominator) * int(c) for a, c in zip(*rows, strict=True)]
                   for rows in zip(A, C, strict=True)]  # fmt: skip
        found.append(n - DomainMatrix(entries, (n, n), QQ).rank())
    return found


def distance_from_five(n: int, t: float) -> float:
    """Return how far an eigenvalue of the preconditioned matrix is from the nearest of the five, at most."""
    kernel = t ** np.abs(np.arange(n - 1, -n, -1.0))
    A = cm.conv_matrix(kernel, n, padding="same").toarray()
    M = cm.solve.circulant_preconditioner(kernel, n, kind="strang", padding="same")
    values = np.linalg.eigvals(M @ A)
    return float(np.abs(values[:, None] - np.array(five(n, t))).min(axis=1).max())


# --- iterations ------------------------------------------------------------------------------------------------------


def quartic(n: int) -> Array:
    """Return the diagonals n-1, ..., 1-n of the Toeplitz matrix of theta^4 + 1: its Fourier coefficients."""
    k = np.arange(n - 1, -n, -1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        outer = (-1.0) ** k * (4 * np.pi**2 / k**2 - 24 / k**4)
    return np.where(k == 0, np.pi**4 / 5 + 1, outer)


def iterations(n: int, kind: Kind | None, levels: int = 1) -> int:
    """Return how many steps conjugate gradients take, b = 1, x0 = 0, relative residual 1e-7."""
    kernel, shape = quartic(n), (n,) * levels
    if levels == 2:
        kernel = np.outer(kernel, kernel)
    A = cm.ConvOperator(kernel, shape, padding="same")
    M: Any = kind and cm.solve.circulant_preconditioner(kernel, shape, kind=kind, padding="same")
    steps: list[Any] = []
    keep: Callable[[Any], None] = steps.append
    _, failed = cg(A, np.ones(n**levels), M=M, rtol=1e-7, maxiter=20 * n, callback=keep)
    if failed:
        raise RuntimeError(f"conjugate gradients did not reach 1e-7 in {failed} steps for n={n}, kind={kind}")
    return len(steps)


def table(sizes: list[int], counts: dict[str, list[int]]) -> list[Claim]:
    """Compare the counts with those of another program, and their growth with the theory."""
    shown = [sizes.index(n) for n in SIZES]
    claims = [
        check_within(
            f"iterations-{name}",
            f"{name}: iterations for n = 32, 64, 128, {[found[i] for i in shown]}: largest difference from {expected}",
            max(abs(found[i] - count) for i, count in zip(shown, expected, strict=True)),
            (0, SLACK),
            reason="the same system by another program",
        )
        for name, expected in RECOMPUTED.items()
        for found in [counts[name]]
    ]
    return [
        *claims,
        *(
            check_within(
                f"most-{name}",
                f"{name}: most iterations, n = {sizes[0]} to {sizes[-1]}, of {', '.join(map(str, counts[name]))}",
                max(counts[name]),
                (1, 8),
                reason="eigenvalues of C^-1 A cluster at one, however large n, for a positive continuous symbol",
            )
            for name in ("Strang", "T. Chan", "R. Chan")
        ),
    ]


def two_levels(sides: tuple[int, ...], squares: dict[str, list[int]]) -> list[Claim]:
    """Return the claims on block Toeplitz matrices with Toeplitz blocks."""
    return [
        check_within(
            f"two-levels-{name}",
            f"two levels, {name}: iterations on {sides[-1]} x {sides[-1]}, relative to none "
            f"({', '.join(map(str, squares[name]))} for sides {', '.join(map(str, sides))}; none "
            f"{', '.join(map(str, squares['none']))})",
            squares[name][-1] / squares["none"][-1],
            (0, 0.3),
            reason="block circulant with circulant blocks: fewer, though on two levels no bound is free of n",
        )
        for name in ("Strang", "T. Chan", "R. Chan")
    ]


# --- figure ----------------------------------------------------------------------------------------------------------


def _figure(sizes: list[int], counts: dict[str, list[int]]) -> Figure:
    figure = new_figure(PAGE_WIDTH, 3.0)
    left, right = figure.subplots(1, 2)
    n = 64
    kernel = quartic(n)
    A = cm.conv_matrix(kernel, n, padding="same").toarray()
    for place, (name, kind) in enumerate(KINDS.items()):
        M = A if kind is None else cm.solve.circulant_preconditioner(kernel, n, kind=kind, padding="same") @ A
        values = np.linalg.eigvals(M).real
        colour = ("black", COLOURS[5], COLOURS[2], COLOURS[4])[place]
        left.plot(values, np.full(n, -place), "|", color=colour, markersize=16)
        # Strang's and R. Chan's counts are equal: the open marker shows one behind the other.
        style = {"color": colour, "markersize": (5, 10, 5, 4)[place], "fillstyle": "none" if place == 1 else "full"}
        right.plot(sizes, counts[name], "o-", label=name, **style)
    left.set(
        xscale="log",
        xlabel=f"eigenvalues for $\\theta^4 + 1$, n = {n}",
        yticks=range(0, -len(KINDS), -1),
        yticklabels=["A", *(f"C$^{{-1}}$A, {name}" for name in list(KINDS)[1:])],
        ylim=(0.5 - len(KINDS), 0.5),
    )
    right.set(xscale="log", yscale="log", xlabel="n", ylabel="iterations to 1e-7")
    right.set_yticks([5, 10, 20, 50], ["5", "10", "20", "50"])
    right.set_yticks([], minor=True)
    right.set_xticks(sizes, [str(size) for size in sizes], rotation=45 if len(sizes) > 6 else 0)
    right.set_xticks([], minor=True)
    right.legend()
    return figure
