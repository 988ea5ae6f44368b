"""Inverse problems: regularised deconvolution, and circulant preconditioners for Toeplitz systems."""

from convmatrix.solve.deconvolution import Deconvolution, deconvolve
from convmatrix.solve.iteration_log import IterationHistory
from convmatrix.solve.preconditioners import CirculantPreconditioner, circulant_preconditioner

__all__ = [
    "CirculantPreconditioner",
    "Deconvolution",
    "IterationHistory",
    "circulant_preconditioner",
    "deconvolve",
]


def __dir__() -> list[str]:
    return sorted(__all__)
