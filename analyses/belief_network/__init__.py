"""Convolutional deep belief networks of two and three layers: edges, contours, parts of faces, and hidden halves.

Source: Lee, Grosse, Ranganath, Ng, Convolutional deep belief networks for scalable unsupervised learning of
hierarchical representations, ICML 2009. Detection units h^k are binary, in blocks of 2 x 2 of which at most one is on;
a pooling unit is on if one of its block is (probabilistic max-pooling), and pooling units are the visible units of the
next layer. Where visible units are real, as in the first layer here, the energy has the squares of v too:

    E(v, h) = 1/(2 s^2) sum v^2 - 1/s^2 sum_k sum_ij h^k_ij (W^k * v)_ij - sum_k b_k sum_ij h^k_ij

with * the cross-correlation, so that I^k = (W^k * v) / s^2 + b_k and, in its block B,

    P(h_ij = 1) = exp(I_ij) / (1 + sum_B exp(I)),    P(block off) = 1 / (1 + sum_B exp(I))

Given the layer above as well, its transpose times the units there is added to I (hierarchical probabilistic inference).
The machines are those of `nn.BeliefNetwork`: W * v is a layer's matrix A times v, the mean of v given h is A^T h, and
the gradient of the weights is that of the layer. Layers are trained one after another by one step of contrastive
divergence; biases are pushed until the mean activation of each filter is its target.

Exactness is checked on a network small enough to enumerate. On photographs of scikit-image, whitened (Olshausen and
Field, Nature 381, 1996), first-layer filters are measured by how much of each a Gabor function explains, and features
of the second layer, projected back through the transposes, by their size and by how much they bend, beside shuffled and
untrained ones. On its 200 faces and other patches, which are no object classes of the paper, features are measured by
the paper's conditional entropy of the class, and by the filling-in of the hidden half of a face; controls are bottom-up
inference, fewer layers, shuffled weights, and the mean face. Claims that say "negative result" show what does not hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyses.belief_network.exactness import exact_claims
from analyses.belief_network.faces import face_claims
from analyses.belief_network.photographs import photograph_claims

if TYPE_CHECKING:
    from analyses import Claim, Context


def run(context: Context) -> list[Claim]:
    """Check the probabilities and the products, train on photographs and on faces, and measure."""
    claims = exact_claims()
    found, filters, features = photograph_claims(quick=context.quick)
    claims += found
    context.save_figure(filters)
    context.save_figure(features, "second_layer")
    found, layers, completions = face_claims(quick=context.quick)
    context.save_figure(layers, "faces")
    context.save_figure(completions, "completions")
    return [*claims, *found]
