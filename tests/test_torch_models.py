"""PyTorch modules read into networks: values, names, counts, and what is refused."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402, N812
from torch import nn  # noqa: E402
from torch.nn.utils.parametrizations import weight_norm  # noqa: E402

import convmatrix as cm  # noqa: E402
from convmatrix.counts import network_counts  # noqa: E402
from convmatrix.frameworks import network_from_torch, reference_values  # noqa: E402
from convmatrix.network import UnknownOperatorError  # noqa: E402
from tests.torch_zoo import ZOO  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


def randomised(module, seed=0):
    """Return a module in float64 with random parameters and statistics."""
    generator = torch.Generator().manual_seed(seed)
    module = module.double().eval()
    with torch.no_grad():
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if tensor.is_floating_point():
                values = torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
                fan = max(tensor[0].numel(), 1) if tensor.ndim > 1 else 1
                tensor.copy_(values + 0.5 if "running_var" in name else (values - 0.4) * (3 / fan) ** 0.5)
    return module


def flat(outputs):
    """Return the tensors of outputs in any structure."""
    return torch.utils._pytree.tree_leaves(outputs)


def samples(shape, batch=2, seed=1):
    return np.random.default_rng(seed).standard_normal((batch, *shape))


def difference(network, module, x):
    """Return the largest difference of any output, relative to the largest value of that output."""
    with torch.no_grad():
        expected = [output.numpy() for output in flat(module(torch.from_numpy(x)))]
    values = network.values(x, network.outputs)
    assert len(network.outputs) == len(expected)
    worst = 0.0
    for name, reference in zip(network.outputs, expected, strict=True):
        assert values[name].shape == reference.shape, name
        assert values[name].dtype == x.dtype
        worst = max(worst, np.abs(values[name] - reference).max() / max(np.abs(reference).max(), 1e-30))
    return worst


@pytest.mark.parametrize("name", ZOO)
def test_zoo(name):
    make, shape = ZOO[name]
    module = randomised(make())
    network = network_from_torch(module, shape)
    assert not [node for node in network if node.kind == "opaque"]
    for batch in (2, 1):
        assert difference(network, module, samples(shape, batch)) < 1e-11
    if name != "InPlace":  # whose gradient PyTorch refuses
        # PyTorch's gradient of hardsigmoid has 1/6 in single precision.
        rounded = any(getattr(node.operation, "name", "") == "hard_sigmoid" for node in network)
        assert jacobian_difference(network, module, samples(shape, 1)) < (1e-7 if rounded else 1e-11)
    single = module.float()
    assert difference(network, single, samples(shape).astype(np.float32)) < 1e-4
    counts = network_counts(network).total
    assert counts.parameters == sum(p.numel() for p in module.parameters())
    assert 2 * counts.macs == flops(module, shape)


def jacobian_difference(network, module, x):
    """Return the largest difference of two rows of the Jacobian from PyTorch's gradients, over the largest gradient."""
    linear = network.linearise(x[0])
    sample = torch.tensor(x, requires_grad=True)
    y = module(sample)
    y = next(iter(y.values())) if isinstance(y, dict) else y
    y = (y if isinstance(y, torch.Tensor) else y[0]).reshape(-1)
    worst = 0.0
    for row in (0, y.numel() // 2):
        (gradient,) = torch.autograd.grad(y[row], sample, retain_graph=True)
        expected = gradient.numpy().ravel()
        found = linear.rows(row, row + 1).toarray()[0]
        worst = max(worst, np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-30))
    return worst


def flops(module, shape):
    """Return what PyTorch counts for one sample, attention's fused kernels taken apart."""
    counter = torch.utils.flop_counter.FlopCounterMode(display=False)
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with counter, torch.no_grad(), torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            module(torch.zeros((1, *shape), dtype=next(iter(module.parameters()), torch.zeros(0)).dtype))
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    return counter.get_total_flops()


class Written(torch.nn.Module):
    """A module whose forward is a function of itself and x."""

    def __init__(self, forward, **parts):
        super().__init__()
        self.written = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.written(self, x)


def parameter(*shape):
    return nn.Parameter(torch.zeros(shape))


def mask():
    return torch.ones(4, 5).tril().bool()


def aliased(x, *, kept):
    y = x * 2
    z = y.view(-1, 3, 20)
    z.relu_()
    return y + kept * x


def written_into(y, x):
    y[:, :-1, :2] = x[:, 1:, :2]
    y[:, 1:, 2:] = x[:, :-1, 2:]
    return y


SMOOTH = (
    *({"antialias": True, **options} for options in ({"size": (7, 3)}, {"size": (1, 2)}, {"scale_factor": (0.6, 2.3)})),
    {"antialias": True, "scale_factor": (1.2, 1.7)},  # the size 4 stays
    *({"align_corners": True, "size": size} for size in ((7, 1), (3, 6))),
)

READ = {
    "scalars": lambda: Written(lambda m, x: x * torch.tensor(2.0) + m.w, w=parameter()),
    "vector along the last axis": lambda: Written(lambda m, x: x + m.w, w=parameter(5)),
    "constant minus x": lambda: Written(lambda m, x: m.w - x, w=parameter(3, 1, 1)),
    "quotients": lambda: Written(lambda m, x: m.w / (x.abs() + 1) + x / (m.w + 3), w=parameter(5)),
    "batch and channels merged": lambda: Written(lambda m, x: x.view(x.shape[0] * 3, 4, 5).softmax(1).view(x.shape)),
    "equal sizes": lambda: Written(lambda m, x: x.transpose(1, 2).reshape(-1, 5).view(-1, 4, 3, 5)[:, None].squeeze(1)),
    "wider numbers": lambda: Written(lambda m, x: x.double() * 2),
    "constant condition": lambda: Written(lambda m, x: torch.where(mask(), x, -1.0) + torch.where(mask(), x, 2 * x)),
    "masked softmax": lambda: Written(lambda m, x: x.masked_fill(~mask(), float("-inf")).softmax(-1)),
    "clamp by tensors": lambda: Written(
        lambda m, x: x.clamp(m.w, m.w + 1).clamp(min=x / 2).clamp(1.0, -1.0), w=parameter(5)
    ),
    "clamp by a tensor": lambda: Written(lambda m, x: torch.maximum(x, m.w).clamp(max=0.3), w=parameter(5)),
    "powers": lambda: Written(lambda m, x: (x.abs() + 0.1) ** -1.5 + x**3 + x.abs() ** 0.5 + x.square().rsqrt()),
    "softplus": lambda: Written(lambda m, x: F.softplus(10 * x, beta=3.0) + F.softplus(30 * x)),
    "extremes": lambda: Written(lambda m, x: x.max(1).values + x.min(1, keepdim=True)[0].squeeze(1)),
    "statistics": lambda: Written(
        lambda m, x: x.std(-1) + torch.var_mean(x, dim=-1, correction=0)[0] + x.logsumexp(-1)
    ),
    "norms": lambda: Written(lambda m, x: F.normalize(x, dim=1) + F.normalize(x, p=1, dim=-1)),
    "similarity": lambda: Written(lambda m, x: F.cosine_similarity(x, 2 * x + 1, dim=1)),
    "products": lambda: Written(lambda m, x: x.mT @ x + torch.einsum("bchw,bchv->bwv", x, x)[:, None]),
    "shifted activations": lambda: Written(
        lambda m, x: F.softsign(F.tanhshrink(x)) + F.hardshrink(x) + F.logsigmoid(x)
    ),
    "random slopes": lambda: Written(lambda m, x: m.slopes(x) + F.rrelu(x, 0.1, 0.2), slopes=nn.RReLU()),
    "lerp": lambda: Written(lambda m, x: torch.lerp(x, 2 * x, 0.3) + torch.addcmul(x, x, x, value=2) + (1 - x)),
    "whole numbers like the batch": lambda: Written(lambda m, x: (x * 7 + 14) / 49),
    "identity": lambda: Written(lambda m, x: x),
    "the same output twice": lambda: Written(lambda m, x: (x * 2,) * 2),
    "boolean index": lambda: Written(lambda m, x: x[:, torch.tensor([True, False, True])] * 2),
    "without gradients": lambda: Written(lambda m, x: torch.no_grad()(lambda y: y * 2)(x) + x),
    "in place through a view": lambda: Written(lambda m, x: aliased(x, kept=1)),
    "in place, read before": lambda: Written(lambda m, x: (lambda y: y.relu_() + y)(x * 2)),
    "in place after dropout": lambda: Written(lambda m, x: F.dropout(x * 2, training=m.training).relu_()),
    "no channels": lambda: Written(lambda m, x: F.max_pool2d(x[:, 0], 2) + F.adaptive_avg_pool2d(x[:, 1], 2)),
    "frames": lambda: Written(
        lambda m, x: F.interpolate(x.flatten(0, 1)[:, None, None], size=(4, 9, 3), mode="trilinear").view(-1, 3, 9, 12)
    ),
    "frames, normalised": lambda: Written(
        lambda m, x: m.group(x.flatten(0, 1)[:, None]).view(x.shape), group=nn.GroupNorm(1, 1)
    ),
    "learned queries": lambda: Written(
        lambda m, x: m.attention(m.query.expand(x.shape[0], -1, -1), x[:, 0], x[:, 1])[0],
        attention=nn.MultiheadAttention(5, 5, batch_first=True),
        query=parameter(1, 2, 5),
    ),
    "learned queries of heads": lambda: Written(
        lambda m, x: F.scaled_dot_product_attention(m.query.expand(x.shape[0], -1, -1, -1), x, x, attn_mask=m.mask),
        query=parameter(1, 3, 2, 5),
        mask=parameter(2, 4),
    ),
    "padded twice": lambda: Written(
        lambda m, x: F.conv2d(F.pad(x, (1, 1, 1, 2), mode="circular"), m.w, padding=1), w=parameter(2, 3, 3, 3)
    ),
    "wrapped after cropping": lambda: Written(
        lambda m, x: F.conv2d(F.pad(x, (-1, 2, 1, -2), mode="circular"), m.w), w=parameter(2, 3, 2, 2)
    ),
    "shifted in time": lambda: Written(lambda m, x: written_into(torch.zeros_like(x), x) + torch.ones_like(x[:, :1])),
    "weights of a norm": lambda: Written(lambda m, x: m.conv(x), conv=weight_norm(nn.Conv2d(3, 4, 3))),
    "tokens on both sides": lambda: Written(
        lambda m, x: torch.cat([m.w.expand(x.shape[0], -1, -1), x.flatten(2), m.w.repeat(x.shape[0], 1, 1)], 1),
        w=parameter(1, 1, 20),
    ),
    "a decoder": lambda: Written(
        lambda m, x: m.layer(x[:, 0], x[:, 1]), layer=nn.TransformerDecoderLayer(5, 5, 6, batch_first=True)
    ),
    "fixed kernel": lambda: Written(lambda m, x: F.conv2d(x, m.k, groups=3), k=nn.Buffer(torch.ones(3, 1, 2, 2))),
    "recurrent": lambda: Written(lambda m, x: m.lstm(x[:, 0, :2])[0], lstm=nn.LSTM(5, 3, batch_first=True)),
    "interpolation": lambda: Written(
        lambda m, x: [
            F.interpolate(x, mode=mode, **options)
            for mode in ("nearest", "nearest-exact", "bilinear", "bicubic", "area")
            for options in (
                {"size": (7, 3)},
                {"scale_factor": (0.6, 2.3)},
                {"scale_factor": 1.7, "recompute_scale_factor": True},
                *(SMOOTH if mode in ("bilinear", "bicubic") else ()),
            )
        ]
    ),
    "windows": lambda: Written(
        lambda m, x: [
            F.fold(F.unfold(x, 2, **options), (4, 5), 2, **options)
            for options in ({}, {"stride": 2}, {"padding": (1, 0), "dilation": (1, 3), "stride": (3, 1)})
        ]
    ),
    "convolution by windows": lambda: Written(
        lambda m, x: F.fold(m.w @ F.unfold(x, (3, 2)), (2, 4), 1) + F.conv2d(x, m.w.view(4, 3, 3, 2)),
        w=parameter(4, 18),
    ),
    "windows of frames": lambda: Written(
        lambda m, x: F.fold(F.unfold(x.flatten(0, 1)[:, None], 3), (4, 5), 3).view(x.shape)
    ),
    "cumulative sums": lambda: Written(lambda m, x: x.cumsum(1) + x.cumsum(2) + x.cumsum(-1, dtype=torch.float64)),
    "inverse functions": lambda: Written(
        lambda m, x: torch.tan(x) + torch.acos(x / 9) + torch.asin(x / 9) + torch.atanh(x / 9) + torch.asinh(x)
    ),
    "other bases": lambda: Written(
        lambda m, x: 2**x + torch.tensor([3.0]) ** x + torch.exp2(x) + (x.abs() + 1).log2() + (x.abs() + 2).log10()
    ),
    "constants of one entry": lambda: Written(
        lambda m, x: x.clamp(m.w, m.w + 1) + x.clamp(min=m.w) + torch.maximum(m.w[None], x), w=parameter(1)
    ),
    "windows of an axis": lambda: Written(lambda m, x: x.unfold(3, 3, 2).unfold(1, 2, 1) * 2),
    "hyperbolic functions": lambda: Written(lambda m, x: torch.acosh(x.cosh() + 1) + x.sinh()),
}


@pytest.mark.parametrize("name", READ)
def test_ways_of_writing(name):
    module = randomised(READ[name]())
    network = network_from_torch(module, (3, 4, 5))
    assert not [node for node in network if node.kind == "opaque"]
    assert difference(network, module, samples((3, 4, 5))) < (1e-8 if name == "softplus" else 1e-11)


REFUSED = {
    "the batch": {
        "mean of everything": lambda m, x: x.mean(),
        "sum": lambda m, x: x.sum(0),
        "softmax": lambda m, x: x.softmax(0),
        "maximum": lambda m, x: x.max(),
        "centred": lambda m, x: x - x.mean(0, keepdim=True),
        "first sample": lambda m, x: x[0],
        "reversed": lambda m, x: x.flip(0),
        "rolled": lambda m, x: x.roll(1, 0),
        "cumulative": lambda m, x: x.cumsum(0),
        "merged": lambda m, x: x.view(x.shape[0] * 3, 4, 5).softmax(0),
        "flat": lambda m, x: torch.flatten(x),
        "rows": lambda m, x: x.reshape(1, -1),
        "divided": lambda m, x: x / x.shape[0],
        "inverse": lambda m, x: x * (1 / x.shape[0]),
        "root": lambda m, x: x * x.shape[0] ** -0.5,
        "unbiased": lambda m, x: x / (x.shape[0] - 1),
        "half": lambda m, x: x + (x.shape[0] - 1) / 2,
        "logarithm": lambda m, x: x * math.log(x.shape[0]),
        "filled": lambda m, x: x + torch.full((5,), float(x.shape[0])),
        "constant": lambda m, x: x + torch.tensor(x.shape[0]),
        "numbered": lambda m, x: x + torch.arange(x.shape[0]).view(-1, 1, 1, 1),
        "compared": lambda m, x: x.flatten(1) @ x.flatten(1).t(),
        "ones": lambda m, x: x * torch.ones_like(x).sum(0),
        "half of ones": lambda m, x: x * torch.ones_like(x).split([2, 1], 1)[0].sum(),
        "statistics": lambda m, x: F.batch_norm(x, None, None, training=True),
        "normalised": lambda m, x: F.batch_norm(x, torch.zeros(3), torch.ones(3), training=True),
    },
    "random": {
        "dropout": lambda m, x: F.dropout(x, 0.5, training=True),
        "noise": lambda m, x: x + torch.randn(5),
        "like": lambda m, x: x + torch.rand_like(x),
        "order": lambda m, x: x[:, torch.randperm(3)],
        "bernoulli": lambda m, x: x * torch.bernoulli(torch.full((5,), 0.5)),
    },
    "float16": {"half": lambda m, x: x.half().float()},
    "int32": {"whole": lambda m, x: x.to(torch.int).float()},
    "int64": {"long": lambda m, x: x.long() * 0.5},
    "on the input": {
        "where": lambda m, x: torch.where(x > 0, x, -x),
        "mask": lambda m, x: x.masked_fill(x > 0, 0.0),
        "kernel": lambda m, x: F.conv2d(x, x[:1]),
    },
    "not known with antialiasing": {
        mode: lambda m, x, mode=mode: F.interpolate(x, size=3, mode=mode, antialias=True, align_corners=True)
        for mode in ("bilinear", "bicubic")
    },
    "crops all of an axis": {"circular": lambda m, x: F.pad(x, (1, 1, 2, -4), mode="circular")},
    "not that of a batch of images": {"channels": lambda m, x: F.unfold(x[:, 0], 2)},
    "not its first result": {
        "indices": lambda m, x: x.max(1)[1],
        "statistics": lambda m, x: torch.native_layer_norm(x, [5], None, None, 1e-5)[1],
    },
    "": {
        "cumprod": lambda m, x: x.cumprod(-1),
        "topk": lambda m, x: x.topk(2).values,
        "product": lambda m, x: x.prod(1),
        "softplus": lambda m, x: F.softplus(x, threshold=3),
        "rounding": lambda m, x: torch.div(x, 2, rounding_mode="trunc"),
        "power": lambda m, x: (-2) ** x,
    },
}


@pytest.mark.parametrize(("reason", "name"), [(reason, name) for reason, some in REFUSED.items() for name in some])
def test_what_is_not_read_is_opaque(reason, name):
    forward = REFUSED[reason][name]
    module = Written(lambda m, x: forward(m, m.conv(x)), conv=nn.Conv2d(3, 3, 1)).eval()
    network = network_from_torch(module, (3, 4, 5))
    opaque = [node.operation for node in network if node.kind == "opaque"]
    assert opaque
    assert any(reason in operation.reason for operation in opaque)
    x = samples((3, 4, 5))
    with pytest.raises(UnknownOperatorError, match=re.escape(opaque[0].operator)):
        network(x)
    with torch.no_grad():
        expected = module.conv.double()(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(network.until("conv")(x), expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(network.values(x, ["conv"])["conv"], expected, rtol=1e-6, atol=1e-6)


def test_names_of_nodes_are_those_of_modules():
    network = network_from_torch(ZOO["resnet_basic"][0](), (3, 32, 32))
    names = [node.name for node in network]
    assert {"input", "conv1", "bn1", "relu", "layer1.0.conv1.0", "layer1.0.conv1.1", "layer2.0.downsample.0", "fc"} <= {
        *names
    }
    assert "layer1.0.add" in names
    assert network["conv1"].kind == "convolution"
    assert network["fc"].kind == "dense"


def test_the_last_of_the_nodes_of_an_operator_has_its_name():
    network = network_from_torch(Written(lambda m, x: torch.logsumexp(x, 2)), (3, 4))
    assert network.outputs == ("logsumexp",)
    assert network["logsumexp"].output_shape == (3,)


def test_padding_of_a_module_belongs_to_its_convolution():
    network = network_from_torch(ZOO["padded_2d"][0](), (2, 8, 9))
    assert [network[str(i)].geometry.boundary[0] for i in range(4)] == ["zero", "circular", "reflect", "replicate"]


def test_weights_used_several_times_count_once():
    module = ZOO["Reused"][0]()
    network = network_from_torch(module, (3, 10))
    assert sum(layer.parameters for layer in network_counts(network).layers) > network_counts(network).total.parameters
    assert [node.kind for node in network].count("convolution") == 3


def test_transposed_weights_count_once():
    """As in an autoencoder whose decoder has the encoder's weights."""
    tied = Written(lambda m, x: F.linear(m.fc(x), m.fc.weight.t()), fc=nn.Linear(4, 3))
    first = Written(lambda m, x: (x @ m.fc.weight) @ m.fc.weight.mT, fc=nn.Linear(4, 4, bias=False))
    module = randomised(first)
    for read, shape, expected in ((tied, (4,), 15), (module, (4,), 16)):
        assert network_counts(network_from_torch(read, shape)).total.parameters == expected
    assert difference(network_from_torch(module, (4,)), module, samples((4,))) < 1e-14


def test_data_may_be_tensors_with_gradients():
    module = randomised(nn.Sequential(nn.Linear(4, 3), nn.ReLU()))
    network, x = network_from_torch(module, (4,)), torch.rand(2, 4, dtype=torch.float64, requires_grad=True)
    assert np.array_equal(network(x), network(x.detach().numpy()))
    assert network.check(x, module(x))
    assert network.check(x, {"1": module(x)})
    linear = network.linearise(x[0])
    np.testing.assert_allclose(linear.rows(0, 3) @ x[0].detach().numpy() + linear.offset, linear.value, rtol=1e-12)
    assert cm.network.interval_bounds(network, x[0], x[0] + 1)["1"][0].shape == (3,)
    assert cm.constraints.encode(network, 0, 1).complete(x[0]).dtype == np.float64
    assert cm.constraints.outputs_at_most(torch.ones(1, 3, requires_grad=True), torch.ones(1)).name
    pattern = cm.ConvGeometry(4, 2).pattern()
    assert pattern.jacobian(x[0]).shape == (3, 2)
    assert pattern.weight_gradient(x[0], x[1, :3]).shape == (1, 1, 2)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 1e-2), (torch.float32, 1e-4), (torch.float64, 1e-9)])
def test_the_tolerance_of_a_comparison_is_that_of_the_model(dtype, tolerance):
    module = randomised(nn.Sequential(nn.Conv1d(2, 3, 3), nn.ReLU())).to(dtype)
    compared = network_from_torch(module, (2, 8)).check(samples((2, 8)), module)
    assert compared
    assert compared.tolerance == tolerance


def test_what_pytorch_cannot_compute_is_named():
    module = nn.Sequential(nn.Conv3d(1, 1, 1), nn.AvgPool3d(2)).half()
    network, x = network_from_torch(module, (1, 2, 2, 2)), samples((1, 2, 2, 2))
    try:
        module[1](torch.zeros(1, 1, 2, 2, 2, dtype=torch.float16))
    except RuntimeError:
        with pytest.raises(ValueError, match=r"cannot compute '1' in torch\.float16.*module\.float\(\)"):
            network.check(x, module)
    assert network.check(x, module.float())


def test_constants_that_are_not_parameters_do_not_count():
    module = Written(lambda m, x: F.conv2d(x * m.b + torch.ones(5), m.k, groups=3) @ m.w, w=parameter(4, 2),
                     b=nn.Buffer(torch.ones(5)), k=nn.Buffer(torch.ones(3, 1, 2, 2)))  # fmt: skip
    assert network_counts(network_from_torch(module, (3, 4, 5))).total.parameters == 8


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class Two(nn.Module):
    def forward(self, x, y):
        return x + y


@pytest.mark.parametrize("kept", [False, True])
def test_settings_of_traces_are_restored(kept, monkeypatch):
    """PyTorch notes the lines that call operators again, unless the user asked it not to, after errors too."""
    seen = []
    monkeypatch.setattr(torch.fx.config, "do_not_emit_stack_traces", kept, raising=False)
    noticing = Written(lambda m, x: seen.append(torch.fx.config.do_not_emit_stack_traces) or x * 2)
    network_from_torch(noticing, (3,))
    assert seen
    assert all(seen)
    assert torch.fx.config.do_not_emit_stack_traces == kept
    with pytest.raises(ValueError, match="cannot trace"):
        network_from_torch(Branching(), (3,))
    assert torch.fx.config.do_not_emit_stack_traces == kept


@pytest.mark.parametrize(
    ("module", "shape", "reason"),
    [
        (Branching(), (3,), "data-dependent"),
        (Two(), (3,), "missing|positional|argument"),
        (nn.Conv2d(3, 4, 3), (2, 8, 8), "channels"),
        (nn.Linear(3, 4), (8,), "reduction dim|multiplied"),
        (Written(lambda m, x: x.view(3, -1, 2)), (4,), "invalid"),
    ],
)
def test_what_cannot_be_traced(module, shape, reason, capfd):
    module.train()
    with pytest.raises(
        ValueError, match=rf"torch\.export cannot trace {type(module).__name__}.*(?s:.*)without the batch.*from_onnx"
    ) as error:
        network_from_torch(module, shape)
    assert re.search(reason, str(error.value))
    assert all(part.training for part in module.modules())
    assert capfd.readouterr() == ("", "")


def test_what_has_no_values():
    with pytest.raises(ValueError, match="lazy module has to see one input"):
        network_from_torch(nn.LazyLinear(3), (4,))
    with pytest.raises(ValueError, match="meta"):
        network_from_torch(nn.Linear(3, 4, device="meta"), (3,))
    for layer, reason in ((nn.LazyConv2d(2, 3), "lazy"), (nn.Conv2d(1, 2, 3, device="meta"), "meta")):
        with pytest.raises(ValueError, match=reason):
            cm.conv_matrix(layer.weight, (1, 5, 5))
    with pytest.raises(TypeError, match=r"layers\[0\] is a ReLU of torch.*Network\.from_torch"):
        cm.nn.Sequential([nn.ReLU()])
    with pytest.raises(ValueError, match="no output of Written depends on its input"):
        network_from_torch(Written(lambda m, x: m.w * 2, w=parameter(3)), (4,))


@pytest.mark.parametrize("thing", [np.ones(3), {"weight": torch.ones(3)}, lambda x: x, nn.Linear])
def test_what_is_not_a_module(thing):
    with pytest.raises(TypeError, match=r"torch\.nn\.Module"):
        network_from_torch(thing, (3,))


def test_modes_are_restored_and_parameters_untouched():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.ReLU(inplace=True)).train()
    module[1].eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    network = network_from_torch(module, (3, 6, 6))
    assert [part.training for part in module.modules()] == [True, True, False, True, True]
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    with torch.no_grad():
        module[0].weight.fill_(7)
    assert network["0"].operation.weight.max() < 7


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    module = randomised(nn.Sequential(nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3), nn.GELU(), nn.Flatten(), nn.Linear(18, 2)))
    module = module.to(dtype)
    network = network_from_torch(module, (2, 8))
    assert network["0"].operation.weight.dtype == np.float32
    assert difference(network, module.float(), samples((2, 8)).astype(np.float32)) < 1e-5


def test_a_module_for_one_sample_is_read_sample_by_sample():
    module = Written(lambda m, x: m.fc(x.view(1, 12)), fc=nn.Linear(12, 2)).double()
    network = network_from_torch(module, (3, 4))
    x = samples((3, 4), 3)
    with torch.no_grad():
        expected = np.concatenate([module(torch.from_numpy(x[i : i + 1])).numpy() for i in range(3)])
    np.testing.assert_allclose(network(x), expected, rtol=1e-12)


CHECKED = {
    "a result that nothing reads": (lambda m, x: F.relu(F.adaptive_max_pool2d(x, 2)) + x.max(1)[0][:, None, :2, :2], 0),
    "a node that nothing reads": (lambda m, x: (m.unused(x), x * 2)[1], 0),
    "an opaque node": (lambda m, x: torch.sort(F.relu(x)).values * 2, 2),
    "no node": (lambda m, x: x, 0),
    "an unknown shape": (lambda m, x: F.one_hot(F.relu(x).long().clamp(0, 2), 3) * 1.0, 6),
    "complex numbers": (lambda m, x: torch.view_as_real(torch.complex(x * 2, x)), 2),
    "outputs that are no tensors": (lambda m, x: {"a": None, "b": "word", "c": x * 2, "d": [3, 0.5, True]}, 0),
}


@pytest.mark.parametrize("name", CHECKED)
def test_check_compares_the_nodes_of_the_network_that_are_known(name):
    forward, n_unknown = CHECKED[name]
    parts = {"unused": nn.Conv2d(3, 2, 3)} if "unused" in forward.__code__.co_names else {}
    module, x = randomised(Written(forward, **parts)), samples((3, 4, 5), 3)
    network = network_from_torch(module, (3, 4, 5))
    compared = network.check(x, module)
    assert compared
    assert max(compared.differences.values()) < 1e-14  # a module without weights computes in float64 too
    known = [node.name for node in network][: len(network) - n_unknown]
    assert set(compared.differences) <= set(known)
    assert {"input", known[-1]} <= set(compared.differences)
    assert network.check(x[:0], module)
    with pytest.raises(ValueError, match=r"\(batch, 3, 4, 5\).*\(3, 4, 5\)"):
        network.check(x[0], module)


def test_values_of_torch_are_those_of_the_nodes():
    module = randomised(ZOO["vit"][0]())
    x = samples((3, 12, 12), 9)
    network, references = network_from_torch(module, (3, 12, 12)), reference_values(module, x)
    values = network.values(x)
    assert len(references) > len(values) / 2
    for name, reference in references.items():
        np.testing.assert_allclose(values[name], reference, rtol=1e-9, atol=1e-12, err_msg=name)


def random_layer(rng, channels, spatial):
    """Return a random layer of (channels, *spatial)."""
    n = len(spatial)
    name = rng.choice(["conv", "conv", "transposed", "pool", "norm", "function", "upsample", "adaptive"])
    one = {key: getattr(nn, f"{key}{n}d") for key in ("Conv", "ConvTranspose", "MaxPool", "AvgPool", "BatchNorm")}
    k = [int(rng.integers(1, min(3, size) + 1)) for size in spatial]
    stride = [int(rng.integers(1, 3)) for _ in spatial]
    groups = int(rng.choice([g for g in (1, 2, 3, 4) if channels % g == 0]))
    outs = groups * int(rng.integers(1, 3))
    if name == "conv":
        mode = str(rng.choice(["zeros", "circular", "reflect", "replicate"]))
        padding = [int(rng.integers(0, min(2, size - 1) + 1)) for size in spatial]
        if rng.random() < 0.2:
            return one["Conv"](channels, outs, k, padding="same", dilation=2, groups=groups, padding_mode="zeros")
        return one["Conv"](
            channels, outs, k, stride, padding, groups=groups, bias=bool(rng.random() < 0.5), padding_mode=mode
        )
    if name == "transposed":
        dilation = [int(rng.integers(1, 3)) for _ in spatial]
        extra = [int(rng.integers(0, max(s, d))) for s, d in zip(stride, dilation, strict=True)]
        return one["ConvTranspose"](channels, outs, k, stride, 0, extra, groups, bool(rng.random() < 0.5), dilation)
    if name == "pool":
        padding = [int(rng.integers(0, size // 2 + 1)) for size in k]
        if rng.random() < 0.5:
            return one["MaxPool"](k, stride, padding, ceil_mode=bool(rng.random() < 0.5))
        return one["AvgPool"](k, stride, padding, bool(rng.random() < 0.5), bool(rng.random() < 0.5))
    if name == "norm":
        return [one["BatchNorm"](channels), nn.GroupNorm(groups, channels), nn.PReLU(channels)][rng.integers(3)]
    if name == "function":
        return [nn.ReLU(True), nn.ELU(0.7), nn.Hardswish(True), nn.CELU(1.3), nn.Softmax(1), nn.Mish(), nn.Tanh()][
            rng.integers(7)
        ]
    if name == "adaptive":
        kind = getattr(nn, f"Adaptive{rng.choice(['Avg', 'Max'])}Pool{n}d")
        return kind([int(rng.integers(1, size + 1)) for size in spatial])
    return nn.Upsample(
        [int(rng.integers(1, 2 * size + 1)) for size in spatial], mode=("linear", "bilinear", "trilinear")[n - 1]
    )


@pytest.mark.parametrize("seed", range(12))
def test_random_modules(seed):
    rng = np.random.default_rng(seed)
    shape = (int(rng.choice([1, 2, 4, 6])), *(int(n) for n in rng.integers(1, 8, size=rng.integers(1, 4))))
    layers, current = [], shape
    while len(layers) < 6:
        layer = random_layer(rng, current[0], current[1:]).double().eval()
        try:
            with torch.no_grad():
                found = tuple(layer(torch.zeros(2, *current, dtype=torch.float64)).shape[1:])
        except (RuntimeError, ValueError, NotImplementedError):
            continue
        if np.prod(found) < 4000:
            layers.append(layer)
            current = found
    module = randomised(nn.Sequential(*layers), seed)
    network = network_from_torch(module, shape)
    assert not [node for node in network if node.kind == "opaque"], layers
    assert difference(network, module, samples(shape)) < 1e-11, layers
    assert network_counts(network).total.parameters == sum(p.numel() for p in module.parameters())
    assert 2 * network_counts(network).total.macs == flops(module, shape)
