"""All singular values and vectors of a layer, its eigenvalues, determinant and transfer function, from its blocks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal, Unpack, overload

import numpy as np

from convmatrix import memory
from convmatrix.arrays import scaled_to_one
from convmatrix.options import LayerOptions, takes_layer_options
from convmatrix.progress import shows_progress
from convmatrix.spectral.axis_transforms import dense_transform, is_ring, ring_transform
from convmatrix.spectral.blocks import Blocks, WeightedLayer, layer_blocks, on_cores, read_layer, singular_values_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from convmatrix.arrays import Array
    from convmatrix.geometry import ConvGeometry
    from convmatrix.progress import Progress
    from convmatrix.spectral.axis_transforms import TransformName

    Triplet = tuple[Array, NDArray[np.float64], Array]

MOST_WORK: Final = 2e13
"""Maximum number of multiplications of a decomposition; more would take a quarter of an hour or longer."""


@overload
def singular_values(
    kernel: ArrayLike,
    input_shape: int | Sequence[int] | ConvGeometry,
    *,
    vectors: Literal[False] = False,
    progress: Progress = None,
    **layer: Unpack[LayerOptions],
) -> NDArray[np.float64]: ...
@overload
def singular_values(
    kernel: ArrayLike,
    input_shape: int | Sequence[int] | ConvGeometry,
    *,
    vectors: Literal[True],
    progress: Progress = None,
    **layer: Unpack[LayerOptions],
) -> Triplet: ...
@takes_layer_options()
@shows_progress("singular values")
def singular_values(
    kernel: ArrayLike,
    input_shape: int | Sequence[int] | ConvGeometry,
    *,
    vectors: bool = False,
    progress: Progress = None,
    **layer: Unpack[LayerOptions],
) -> NDArray[np.float64] | Triplet:
    r"""Return all singular values of a layer's matrix, the largest first.

    An orthonormal change of basis on each axis turns the matrix into small blocks :math:`B_f`, whose singular values
    are those of the matrix. An axis is transformed

    - by the discrete Fourier transform if it is a ring: a circular boundary, or no padding at all, with samples /
      stride outputs. With stride s the input splits into s interleaved parts (its polyphase components), which count
      as channels. Kernels may be longer than the ring; they wrap around it.
    - by the DCT-II if the boundary is ``symmetric``, and by the DST-II if it is ``antisymmetric``, for a symmetric and
      centred kernel and stride 1;
    - not at all otherwise; its samples then count as channels.

    The cost for circular layers with n frequencies and m channels is therefore O(n m^3), and O(n log n) for one
    channel, and no matrix is formed. Only axes without a transform need a dense decomposition and must be short. For
    real kernels, the blocks of half of the frequencies are conjugates of the others and are omitted.

    Parameters
    ----------
    kernel : array_like
        As for `conv_matrix`; converted to double precision.
    input_shape : int, sequence of int or ConvGeometry
        As for `conv_matrix`.
    vectors : bool
        Return the singular vectors as well, as dense matrices.
    progress : bool or callable, optional
        As for `convmatrix.progress.reporting`.
    **layer
        The options of `ConvGeometry`.

    Returns
    -------
    s : array of float, shape (min(n_out, n_in),)
        The singular values. With ``vectors``, the triple (U, s, Vh) such that ``A = U @ diag(s) @ Vh``, with U of shape
        (n_out, len(s)) and Vh of shape (len(s), n_in), which are real for a real kernel.

    Raises
    ------
    ValueError
        If an axis has no transform and is too long for a dense decomposition.
    MatrixTooLargeError
        If the blocks, or the vectors, would not fit in memory.

    References
    ----------
    Sedghi, Gupta, Long, The singular values of convolutional layers, ICLR 2019, for circular layers of stride 1.
    Strang, The discrete cosine transform, SIAM Review 41(1), 1999.

    Examples
    --------
    >>> singular_values([2, 7, -1], 20, padding="same", boundary="circular")[[0, -1]].round(10)
    array([8.00563364, 6.        ])
    >>> U, s, Vh = singular_values([1, 2], 4, vectors=True)
    >>> U.shape, s.round(3), Vh.shape
    ((3, 3), array([2.798, 2.236, 1.474]), (3, 4))
    """
    given = read_layer(kernel, input_shape, **layer)
    blocks = affordable_blocks(given, 4 if vectors else 1)
    return _decompose(given.geometry, blocks) if vectors else sorted_values(blocks)


def sorted_values(blocks: Blocks) -> NDArray[np.float64]:
    """Return the singular values of all blocks, the largest first."""

    def values(matrices: Array, counts: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.repeat(singular_values_of(matrices), counts, axis=0).ravel()

    return -np.sort(-np.concatenate(blocks.map(values)))


def affordable_blocks(layer: WeightedLayer, factor: int = 1, names: Sequence[TransformName] | None = None) -> Blocks:
    """Return the blocks of a layer, or raise if ``factor`` decompositions of all of them would take too long."""
    work = layer.work_of(layer.transform_names if names is None else names) * factor
    if work > MOST_WORK:
        raise ValueError(
            f"the singular values of {layer.geometry!r} take about {work:.1e} multiplications, but at most "
            f"{MOST_WORK:.0e} are attempted: some of its axes are neither rings (circular, with samples / stride "
            "outputs) nor symmetric; use spectral_norm or norm_bounds, or a smaller input"
        )
    return layer_blocks(layer, layer.transforms(names))


# --- vectors ---------------------------------------------------------------------------------------------------------


def _decompose(geometry: ConvGeometry, blocks: Blocks) -> Triplet:
    """Return U, s, Vh of the layer's matrix."""
    n_values = min(geometry.n_out, geometry.n_in)
    real = blocks.taps.dtype.kind != "c"
    memory.require(
        3 * (8 if real else 16) * n_values * (geometry.n_out + geometry.n_in),
        f"the singular vectors of {geometry!r}",
        "compute the values alone",
    )

    def decompose(first: NDArray[np.int64]) -> list[Triplet]:
        counts = blocks.multiplicity[first]
        chosen = counts > 0
        frequencies = np.stack([first[np.nonzero(chosen)[0]], *np.nonzero(chosen)[1:]], axis=1)
        triplets = []
        for frequency, count, stack in zip(frequencies, counts[chosen], blocks.at(first)[chosen], strict=True):
            basis: Array = np.ones(())
            for axis, f in zip(blocks.axes, frequency, strict=True):
                basis = np.multiply.outer(basis, axis.basis(np.array([f]))[:, 0])
            if real and count == 1 and stack.dtype.kind == "c":
                stack, basis = stack.real, basis.real  # which are real up to rounding
            for group, block in enumerate(stack):
                u, s, vh = np.linalg.svd(block, full_matrices=False)
                left = _layer_vectors(u, basis, group, blocks.n_groups, [axis.output_phases for axis in blocks.axes])
                right = _layer_vectors(
                    vh.conj().T, basis, group, blocks.n_groups, [axis.input_phases for axis in blocks.axes]
                )
                if real and count == 2:  # f and -f together: sqrt(2) times real and imaginary part
                    left = math.sqrt(2) * np.concatenate([left.real, left.imag], axis=1)
                    right = math.sqrt(2) * np.concatenate([right.real, right.imag], axis=1)
                    s = np.concatenate([s, s])
                triplets.append((left, s, right))
        return triplets

    found = [triplet for chunk in on_cores(decompose, blocks.chunks(distinct=True)) for triplet in chunk]
    values = np.concatenate([s for _, s, _ in found])
    order = np.argsort(-values, kind="stable")
    U = np.concatenate([left for left, _, _ in found], axis=1)[:, order]
    V = np.concatenate([right for _, _, right in found], axis=1)[:, order]
    if geometry.transposed:  # A^T = conj(V) S U^T
        return V.conj(), values[order], U.T
    return U, values[order], V.conj().T


def _layer_vectors(vectors: Array, basis: Array, group: int, n_groups: int, phases: list[int]) -> Array:
    """Return the vectors of a block as vectors of the layer: phases times basis functions, in the rows of a group."""
    n = len(phases)
    channels = vectors.shape[0] // math.prod(phases)
    full = np.multiply.outer(vectors.reshape(channels, *phases, -1), basis)  # (channels, *phases, vectors, *points)
    order = [0]
    for axis in range(n):  # position = point * phases + phase
        order += [n + 2 + axis, 1 + axis]
    rows = full.transpose(*order, n + 1).reshape(-1, vectors.shape[1])
    result = np.zeros((n_groups * len(rows), vectors.shape[1]), dtype=rows.dtype)
    result[group * len(rows) : (group + 1) * len(rows)] = rows
    return result


# --- eigenvalues and transfer function --------------------------------------------------------------------------------


@takes_layer_options()
def eigenvalues(
    kernel: ArrayLike, input_shape: int | Sequence[int] | ConvGeometry, **layer: Unpack[LayerOptions]
) -> NDArray[np.complex128]:
    r"""Return the eigenvalues of a layer's matrix, which must be square, the largest modulus first.

    They are the eigenvalues of the blocks of `singular_values` if outputs and inputs have the same basis: stride 1, and
    as many output as input channels. Otherwise they are those of the whole matrix.

    An ``antireflect`` axis has blocks of its own here, if the kernel is symmetric and centred. Constants and a ramp are
    eigenvectors for h(0), and sines that vanish at both end samples for :math:`h(\pi k / (n - 1))`, k = 1 .. n - 2,
    with h the symbol of the kernel. They are not orthogonal, so these blocks have other singular values than the layer.

    Parameters
    ----------
    kernel, input_shape, **layer
        As for `singular_values`.

    Returns
    -------
    array of complex, shape (n_in,)

    Raises
    ------
    ValueError
        If the matrix is not square, or too large where an axis has no transform.

    References
    ----------
    Serra-Capizzano, A note on antireflective boundary conditions and fast deblurring models, SIAM J. Sci. Comput.
    25(4), 2003, for antireflective layers.

    Examples
    --------
    >>> eigenvalues([0.25, 0.5, 0.25], 4, padding="same", boundary="symmetric").real.round(4)
    array([1.    , 0.8536, 0.5   , 0.1464])
    >>> eigenvalues([0.25, 0.5, 0.25], 5, padding="same", boundary="antireflect").real.round(4)
    array([1.    , 1.    , 0.8536, 0.5   , 0.1464])
    """
    given, scale = read_layer(kernel, input_shape, **layer).scaled()
    blocks, same_basis = _square_blocks(given, "eigenvalues")
    if not same_basis:
        return scale * _by_modulus(np.linalg.eigvals(_whole_matrix(given, "eigenvalues")).astype(np.complex128))

    def values_of(matrices: Array, counts: NDArray[np.int64]) -> Array:
        values = np.linalg.eigvals(matrices).astype(np.complex128).reshape(len(matrices), -1)
        return np.concatenate([values.ravel(), values[counts == 2].conj().ravel()])

    return scale * _by_modulus(np.concatenate(blocks.map(values_of)))


def _square_blocks(given: WeightedLayer, what: str) -> tuple[Blocks, bool]:
    """Return the blocks of a square layer, and whether outputs and inputs have the same basis."""
    geometry = given.geometry
    if geometry.n_in != geometry.n_out:
        raise ValueError(
            f"only square matrices have {what}, but the layer's is {geometry.n_out} x {geometry.n_in} "
            f"({geometry!r}); use singular_values"
        )
    blocks = affordable_blocks(given, 4, given.similar_names)
    same_basis = blocks.block_shape[0] == blocks.block_shape[1] and all(
        axis.output_phases == axis.input_phases for axis in blocks.axes
    )
    return blocks, same_basis


def _whole_matrix(given: WeightedLayer, what: str) -> Array:
    """Return the dense matrix of a square layer whose strides or channels make its blocks rectangular."""
    geometry = given.geometry
    if 4.0 * geometry.n_in**3 * 4 > MOST_WORK:
        raise ValueError(
            f"the {what} of {geometry!r} need the whole matrix, {geometry.n_in} x {geometry.n_in}, because its strides "
            "or channels make the blocks rectangular; use a smaller input"
        )
    dense = layer_blocks(given, [dense_transform(axis) for axis in geometry.axes]).joined()
    matrix: Array = dense.reshape(geometry.n_out, geometry.n_in)
    return matrix.T if geometry.transposed else matrix


def _by_modulus(values: Array) -> NDArray[np.complex128]:
    moduli = np.abs(scaled_to_one(values)[0])  # equal ones differ by rounding
    return values[np.lexsort((values.imag, -values.real, -moduli.round(12)))]


@takes_layer_options()
def slogdet(
    kernel: ArrayLike, input_shape: int | Sequence[int] | ConvGeometry, **layer: Unpack[LayerOptions]
) -> tuple[complex, float]:
    r"""Return the sign and the logarithm of the modulus of the determinant of a layer's matrix, which must be square.

    .. math:: \det A = \prod_f \det B_f

    with the blocks of `singular_values` if outputs and inputs have the same basis: stride 1, and as many output as
    input channels. Otherwise the whole matrix is decomposed.

    Parameters
    ----------
    kernel, input_shape, **layer
        As for `singular_values`.

    Returns
    -------
    sign : float or complex
        A number of modulus one, or 0 if the determinant is zero; a float for a real kernel.
    logabsdet : float
        ``-inf`` if the determinant is zero.

    Raises
    ------
    ValueError
        If the matrix is not square, or too large where an axis has no transform.

    See Also
    --------
    numpy.linalg.slogdet

    Examples
    --------
    >>> sign, logarithm = slogdet([1, 3, 1], 4, padding="same", boundary="circular")  # eigenvalues 5, 3, 1, 3
    >>> sign, round(math.exp(logarithm), 9)
    (1.0, 45.0)
    """
    given, scale = read_layer(kernel, input_shape, **layer).scaled()
    blocks, same_basis = _square_blocks(given, "a determinant")
    factor = given.geometry.n_in * math.log(scale)
    real = given.weights.dtype.kind != "c"
    if not same_basis:
        sign, logarithm = np.linalg.slogdet(_whole_matrix(given, "determinant"))
        return (float(sign.real) if real else complex(sign)), float(logarithm) + factor

    def of_blocks(matrices: Array, counts: NDArray[np.int64]) -> tuple[complex, float]:
        signs, logarithms = np.linalg.slogdet(matrices)
        signs = np.where(counts[:, None] == 2, np.abs(signs), signs)  # a block and its conjugate
        total = complex(np.prod(signs))
        return total, float((logarithms * counts[:, None]).sum()) if total != 0 else -math.inf

    found = blocks.map(of_blocks)
    sign = complex(math.prod(one for one, _ in found))
    if sign == 0:
        return 0.0, -math.inf
    sign = sign / abs(sign)
    logarithm = math.fsum([factor, *(part for _, part in found)])
    return (math.copysign(1.0, sign.real) if real else sign), logarithm


@takes_layer_options()
def transfer_function(
    kernel: ArrayLike, input_shape: int | Sequence[int] | ConvGeometry, **layer: Unpack[LayerOptions]
) -> NDArray[np.complex128]:
    r"""Return the transfer function of a layer on a ring: the matrix by which each frequency is multiplied.

    An input wave :math:`x[l] = e^{2 \pi i f l / n}` is multiplied by

    .. math:: B_f = \sum_t w_t \, e^{2 \pi i f (t d - p) / n}

    with dilation d and low padding p. With stride s, an input wave is described on its s interleaved parts,
    :math:`x[s l + r] = v_r e^{2 \pi i f l / m}`, m = n / s.

    Parameters
    ----------
    kernel, input_shape, **layer
        As for `singular_values`. Every axis must be a ring.

    Returns
    -------
    array of complex, shape (*frequencies, C_out, C_in * product of the strides)
        The shape is (*frequencies,) for one input and one output channel with stride 1. The blocks of several groups
        form one block-diagonal matrix. A transposed layer has the transposed blocks of frequency -f.

    Raises
    ------
    ValueError
        If an axis is not a ring.

    Examples
    --------
    >>> transfer_function([1, 3, 1], 4, padding="same", boundary="circular").real.round(12)
    array([5., 3., 1., 3.])
    """
    given = read_layer(kernel, input_shape, **layer)
    for number, axis in enumerate(given.geometry.axes):
        if not is_ring(axis):
            raise ValueError(
                f"axis {number} is not a ring: it has {axis.n_outputs} outputs of {axis.n_samples} samples at stride "
                f"{axis.stride} with boundary {axis.boundary!r}, tile {axis.tile}; a transfer function needs "
                "boundary='circular', padding='same' and a stride that divides the samples"
            )
    blocks = layer_blocks(given, [ring_transform(axis, axis.n_samples) for axis in given.geometry.axes])
    values = blocks.joined().astype(np.complex128)
    if given.geometry.transposed:
        values = blocks.negate(values).swapaxes(-1, -2)
    return values[..., 0, 0] if values.shape[-2:] == (1, 1) else values
