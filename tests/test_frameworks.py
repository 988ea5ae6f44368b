"""Layers of PyTorch, read by their attributes."""

from __future__ import annotations

import subprocess
import sys
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
import pytest

import convmatrix as cm
from tests.cases import for_each
from tests.refusals import refused

ROOT: Final = Path(__file__).resolve().parents[1]


def described_layer(**changes: Any) -> SimpleNamespace:
    """Return an object with the attributes of ``Conv2d(4, 6, (3, 2), groups=2)``."""
    attributes = {
        "weight": np.arange(72.0).reshape(6, 2, 3, 2),
        "in_channels": 4,
        "out_channels": 6,
        "kernel_size": (3, 2),
        "stride": (1, 1),
        "padding": (0, 0),
        "dilation": (1, 1),
        "groups": 2,
        "padding_mode": "zeros",
    }
    return SimpleNamespace(**attributes | changes)


# --- without PyTorch --------------------------------------------------------------------------------------------------


def test_the_attributes_are_read() -> None:
    layer = described_layer(stride=(2, 1), padding=(1, 3), dilation=(1, 2), padding_mode="reflect")
    kernel, geometry = cm.from_torch(layer, (8, 9))
    assert geometry == cm.ConvGeometry(
        (8, 9),
        (3, 2),
        in_channels=4,
        out_channels=6,
        stride=(2, 1),
        padding=[(1, 1), (3, 3)],
        dilation=(1, 2),
        groups=2,
        boundary="reflect",
    )
    np.testing.assert_array_equal(kernel, layer.weight)
    kernel[:] = 0
    assert layer.weight.any()  # it is a copy


@for_each(
    ("mode", "boundary"),
    [("zeros", "zero"), ("circular", "circular"), ("reflect", "reflect"), ("replicate", "replicate")],
)
def test_padding_modes(mode: str, boundary: str) -> None:
    _, geometry = cm.from_torch(described_layer(padding=(1, 1), padding_mode=mode), (8, 9))
    assert geometry.boundary == (boundary, boundary)


@for_each("word", ["same", "valid"])
def test_padding_words(word: str) -> None:
    _, geometry = cm.from_torch(described_layer(padding=word), (8, 9))
    assert geometry.padding == (((1, 1), (0, 1)) if word == "same" else ((0, 0), (0, 0)))


def test_shapes_with_and_without_channels() -> None:
    assert cm.from_torch(described_layer(), (4, 8, 9))[1] == cm.from_torch(described_layer(), [8, 9])[1]
    flat = described_layer(kernel_size=(3,), stride=(1,), padding=(0,), dilation=(1,), weight=np.ones((6, 2, 3)))
    assert cm.from_torch(flat, 8)[1] == cm.from_torch(flat, (4, 8))[1]


def test_half_precision_arrays_become_single() -> None:
    kernel, _ = cm.from_torch(described_layer(weight=np.full((6, 2, 3, 2), 0.1, dtype=np.float16)), (8, 9))
    assert kernel.dtype == np.float32
    assert (kernel == np.float32(np.float16(0.1))).all()


def test_what_is_no_layer() -> None:
    with refused(
        TypeError,
        "SimpleNamespace is not a convolution layer: it has no kernel_size, groups; "
        "give a Conv1d, Conv2d, Conv3d or a ConvTranspose layer",
    ):
        layer = described_layer()
        del layer.kernel_size, layer.groups
        cm.from_torch(layer, (8, 9))
    with pytest.raises(TypeError, match=r"^ndarray is not a convolution layer: it has no weight, in_channels, "):
        cm.from_torch(np.ones((3, 3)), (8, 9))


def test_input_of_other_channels() -> None:
    with refused(ValueError, "input_shape=(3, 8, 9) has 3 channels, but the layer has in_channels=4"):
        cm.from_torch(described_layer(), (3, 8, 9))


@for_each("shape", [8, (8,), (1, 4, 8, 9)])
def test_input_of_other_dimension(shape: Any) -> None:
    full = (shape,) if isinstance(shape, int) else shape
    with refused(
        ValueError,
        f"input_shape={full} has {len(full)} axes, but the layer has 2 spatial axes (kernel_size=(3, 2)); "
        "give (*spatial) or (C_in, *spatial)",
    ):
        cm.from_torch(described_layer(), shape)


def test_input_that_is_too_small() -> None:
    with pytest.raises(ValueError, match=r"^kernel does not fit on axis 1: it spans 2 samples .* has 1 "):
        cm.from_torch(described_layer(), (8, 1))
    with refused(ValueError, "input_shape[1] must be at least 1, but is 0"):
        cm.from_torch(described_layer(), (8, 0))


def test_unknown_padding_mode() -> None:
    with refused(ValueError, "padding_mode='symmetric' is unknown; known are zeros, circular, reflect, replicate"):
        cm.from_torch(described_layer(padding_mode="symmetric"), (8, 9))


def test_weights_of_another_shape() -> None:
    with refused(
        ValueError,
        "the layer's weight has shape (6, 4, 3, 2), but its attributes describe (6, 2, 3, 2); "
        "a lazy layer has to see one input before it has weights",
    ):
        cm.from_torch(described_layer(weight=np.ones((6, 4, 3, 2))), (8, 9))


def test_nothing_of_pytorch_is_imported() -> None:
    """In a fresh process, also where a layer is read."""
    program = """
import sys
from types import SimpleNamespace
import numpy as np
import convmatrix as cm
layer = SimpleNamespace(weight=np.ones((1, 1, 3)), in_channels=1, out_channels=1, kernel_size=(3,), stride=(1,),
                        padding=(1,), dilation=(1,), groups=1, padding_mode="zeros")
assert cm.conv_matrix(*cm.from_torch(layer, 5)).nnz == 13
print(sorted(name for name in sys.modules if name.split(".")[0] in ("torch", "jax", "tensorflow")))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


# --- with PyTorch -----------------------------------------------------------------------------------------------------

CONVOLUTIONS: Final = {1: "Conv1d", 2: "Conv2d", 3: "Conv3d"}
TRANSPOSED: Final = {1: "ConvTranspose1d", 2: "ConvTranspose2d", 3: "ConvTranspose3d"}


def matrix_by_basis(layer: Any, shape: tuple[int, ...]) -> Any:
    """Return the matrix of a PyTorch layer, the images of a basis less that of zero: its bias."""
    torch = pytest.importorskip("torch")
    basis = torch.eye(int(np.prod(shape)), dtype=layer.weight.dtype).reshape(-1, *shape)
    with torch.no_grad():
        images = layer(basis) - layer(torch.zeros_like(basis[:1]))
    return images.reshape(len(basis), -1).numpy().T


def agree(layer: Any, shape: tuple[int, ...]) -> None:
    """Check the matrix of a layer, and the product with a random input, bias added."""
    torch = pytest.importorskip("torch")
    kernel, geometry = cm.from_torch(layer, shape)
    A = cm.conv_matrix(kernel, geometry)
    np.testing.assert_allclose(A.toarray(), matrix_by_basis(layer, shape), rtol=0, atol=1e-15)
    x = torch.randn(shape, dtype=layer.weight.dtype, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        y = layer(x[None])[0].numpy()
        bias = 0 if layer.bias is None else layer.bias.numpy().reshape(-1, *[1] * (y.ndim - 1))
    assert y.shape == (geometry.out_channels, *geometry.output_shape)
    np.testing.assert_allclose((A @ x.numpy().ravel()).reshape(y.shape) + bias, y, rtol=0, atol=1e-13)


@for_each("mode", ["zeros", "circular", "reflect", "replicate"])
@for_each("axes", [1, 2, 3])
def test_convolutions(axes: int, mode: str) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    make = getattr(torch.nn, CONVOLUTIONS[axes])
    shape = (5, 6, 4)[:axes]
    for number, (groups, bias) in enumerate(product((1, 2), (True, False))):
        options = {
            "kernel_size": (3, 2, 1)[:axes],
            "stride": (2, 1, 3)[:axes] if number % 2 else 1,
            "padding": (1, 2, 0)[:axes],
            "dilation": (1, 2, 1)[:axes] if number > 1 else 1,
        }
        layer = make(4, 2, groups=groups, bias=bias, padding_mode=mode, dtype=torch.float64, **options)
        agree(layer, (4, *shape))


@for_each("axes", [1, 2, 3])
def test_transposed_convolutions(axes: int) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    make = getattr(torch.nn, TRANSPOSED[axes])
    shape = (3, 4, 2)[:axes]
    for groups, bias in product((1, 2), (True, False)):
        options = {
            "kernel_size": (3, 2, 4)[:axes],
            "stride": (2, 1, 3)[:axes],
            "padding": (1, 0, 1)[:axes],
            "dilation": (1, 3, 1)[:axes],
            "output_padding": (1, 2, 0)[:axes],
        }
        agree(make(4, 6, groups=groups, bias=bias, dtype=torch.float64, **options), (4, *shape))
        agree(make(2, 2, 3, groups=groups, bias=bias, dtype=torch.float64), (2, *shape))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")  # PyTorch's, of what it costs
@for_each("mode", ["zeros", "circular", "reflect", "replicate"])
@for_each("axes", [1, 2, 3])
def test_padding_as_a_word(axes: int, mode: str) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    make = getattr(torch.nn, CONVOLUTIONS[axes])
    for word, size, dilation in product(("same", "valid"), (2, 3, 4), (1, 2)):
        if axes > 1 and size * dilation > 4:
            continue
        layer = make(1, 2, size, padding=word, dilation=dilation, padding_mode=mode, dtype=torch.float64)
        agree(layer, (1, *(8, 6, 4)[:axes]))


@for_each("dtype", ["float16", "bfloat16"])
def test_half_precision_tensors_become_single(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    layer = torch.nn.Conv1d(2, 3, 4, dtype=getattr(torch, dtype))
    kernel, _ = cm.from_torch(layer, 9)
    assert kernel.dtype == np.float32
    np.testing.assert_array_equal(kernel, layer.weight.detach().float().numpy())  # which holds them exactly
    assert cm.conv_matrix(kernel, (2, 9)).dtype == np.float32


@for_each("dtype", ["float32", "float64", "complex64", "complex128"])
def test_other_tensors_keep_their_type(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    layer = torch.nn.Conv1d(2, 3, 4, dtype=getattr(torch, dtype))
    kernel, _ = cm.from_torch(layer, 9)
    assert kernel.dtype == dtype
    np.testing.assert_array_equal(kernel, layer.weight.detach().numpy())


def test_conjugated_views_are_resolved() -> None:
    torch = pytest.importorskip("torch")
    layer = torch.nn.Conv1d(1, 1, 2, dtype=torch.complex128)
    weight = layer.weight.detach().clone()
    layer.weight = torch.nn.Parameter(weight.conj())
    kernel, _ = cm.from_torch(layer, 9)
    np.testing.assert_array_equal(kernel, weight.numpy().conj())


def test_the_weights_are_copied_and_keep_their_gradient() -> None:
    torch = pytest.importorskip("torch")
    layer = torch.nn.Conv2d(1, 1, 2)
    assert layer.weight.requires_grad
    before = layer.weight.detach().clone()
    kernel, _ = cm.from_torch(layer, (5, 5))
    kernel[:] = 7
    assert torch.equal(layer.weight.detach(), before)
    assert layer.weight.requires_grad
    assert layer.weight.grad is None


def test_lazy_layers_once_they_have_weights() -> None:
    torch = pytest.importorskip("torch")
    layer = torch.nn.LazyConv2d(3, 2, dtype=torch.float64)
    with pytest.raises(ValueError, match="in_channels"):  # unknown until it has seen an input
        cm.from_torch(layer, (5, 5))
    layer(torch.zeros(1, 2, 5, 5, dtype=torch.float64))
    agree(layer, (2, 5, 5))


def test_reparametrised_layers() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    layer = torch.nn.utils.parametrizations.weight_norm(torch.nn.Conv1d(2, 3, 3, dtype=torch.float64))
    agree(layer, (2, 6))


@for_each("name", ["Linear", "BatchNorm2d", "MaxPool2d"])
def test_other_modules(name: str) -> None:
    torch = pytest.importorskip("torch")
    layer = torch.nn.Linear(3, 4) if name == "Linear" else getattr(torch.nn, name)(3)
    with pytest.raises(
        TypeError,
        match=rf"^{name} is not a convolution layer: it has no .*; give a Conv1d, .* or a ConvTranspose layer",
    ):
        cm.from_torch(layer, (8, 8))


def test_shapes_that_pytorch_refuses_too() -> None:
    torch = pytest.importorskip("torch")
    layer = torch.nn.Conv2d(2, 3, 3)
    with pytest.raises(RuntimeError):
        layer(torch.zeros(1, 2, 2, 9))
    with pytest.raises(ValueError, match="kernel does not fit on axis 0: it spans 3 samples"):
        cm.from_torch(layer, (2, 2, 9))
    with pytest.raises(ValueError, match=r"input_shape=\(3, 9, 9\) has 3 channels, but the layer has in_channels=2"):
        cm.from_torch(layer, (3, 9, 9))
    with pytest.raises(ValueError, match=r"input_shape=\(9,\) has 1 axis, but the layer has 2 spatial axes"):
        cm.from_torch(layer, 9)


# --- kernels from elsewhere ------------------------------------------------------------------------------------------


def test_a_tensor_is_a_kernel() -> None:
    torch = pytest.importorskip("torch")
    trained = torch.nn.Parameter(torch.tensor([1.0, -1.0]))
    half = torch.tensor([1.0, -1.0], dtype=torch.bfloat16)
    for kernel in (trained, half):
        A = cm.conv_matrix(kernel, 3)
        assert A.dtype == np.float32
        assert A.toarray().tolist() == [[1, -1, 0], [0, 1, -1]]


def test_masked_weights_are_refused() -> None:
    kernel = np.ma.masked_array([1.0, 2.0, 3.0], mask=[False, True, False])
    with pytest.raises(TypeError, match=r"1 of whose 3 entries"):
        cm.conv_matrix(kernel, 5)
    assert cm.conv_matrix(kernel.filled(0), 5).nnz == 9


@for_each("input_shape", [(3, 32, 32), (32, 32, 3)])
def test_channels_last_is_named(input_shape: tuple[int, ...]) -> None:
    kernel = np.ones((5, 5, 3, 16))
    with pytest.raises(ValueError, match=r"numpy\.moveaxis"):
        cm.conv_matrix(kernel, input_shape)
    geometry = cm.ConvGeometry((32, 32), (5, 5), in_channels=3, out_channels=16)
    with pytest.raises(ValueError, match=r"numpy\.moveaxis"):
        geometry.pattern().matrix(kernel)
    assert cm.conv_matrix(np.moveaxis(kernel, (-1, -2), (0, 1)), (3, 32, 32)).shape == (16 * 28 * 28, 3 * 32 * 32)


@for_each("bias, parameters", [(True, 224), (False, 216), ("channel", 224), (None, 216)])
def test_counts_know_bias(bias: Any, parameters: int) -> None:
    geometry = cm.ConvGeometry((8, 8), (3, 3), in_channels=3, out_channels=8)
    assert cm.counts.layer_counts(geometry, bias).parameters == parameters
    assert cm.counts.network_counts([geometry], bias=bias).total.parameters == parameters
