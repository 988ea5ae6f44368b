"""The theorems, in the order in which they are listed."""

from __future__ import annotations

from convmatrix.proofs.catalogue import (
    borders,
    channels,
    circulants,
    compositions,
    contractions,
    eigenvectors,
    extensions,
    output_sizes,
    reflections,
    shifts,
)
from convmatrix.proofs.statements import Identity, Theorem

__all__ = ["Identity", "Theorem", "all_theorems"]

_ORDER = (
    "circular-shift strided-shift circulant-converse zero-padding-border adjoint circulants-commute full-composition "
    "fourier-eigenvectors cosine-eigenvectors toeplitz-compression reflection-symmetry elementwise-and-bias "
    "pooling-shift stride-composition tiled-shift no-scaling-or-rotation padding-border output-sizes gradients "
    "flat-index fourier-blocks tap-weights grouped-blocks kernel-unfold weight-gradient-adjoint dilation-as-zeros "
    "stride-as-subsampling polyphase strided-merge ring-folding padding-factorisation boundary-adjoint tiles "
    "short-axes odd-padding transposed-sizes affine-continuation sine-eigenvectors signed-reflection "
    "antireflective-eigenvectors"
)


def all_theorems() -> dict[str, Theorem]:
    """Return every theorem by name."""
    modules = (
        shifts,
        circulants,
        borders,
        contractions,
        channels,
        compositions,
        extensions,
        output_sizes,
        eigenvectors,
        reflections,
    )
    found = {x.name: x for module in modules for x in vars(module).values() if isinstance(x, Theorem)}
    return {name: found[name] for name in _ORDER.split()}
