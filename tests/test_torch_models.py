"""PyTorch modules read into networks: values, names, counts, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from convmatrix.counts import network_counts  # noqa: E402
from convmatrix.frameworks import network_from_torch  # noqa: E402
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
    single = module.float()
    assert difference(network, single, samples(shape).astype(np.float32)) < 1e-4
    counts = network_counts(network).total
    assert counts.parameters == sum(p.numel() for p in module.parameters())
    torch.backends.mha.set_fastpath_enabled(False)  # what the fast path multiplies is not counted
    counter = torch.utils.flop_counter.FlopCounterMode(display=False)
    with counter, torch.no_grad():
        module(torch.zeros((1, *shape)))
    torch.backends.mha.set_fastpath_enabled(True)
    assert 2 * counts.macs == counter.get_total_flops()
