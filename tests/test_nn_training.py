"""Training: networks agree with PyTorch step by step; `fit`, its checks, checkpoints and progress bar."""

from __future__ import annotations

import copy
import io
import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import convmatrix as cm
from convmatrix import nn
from tests.cases import LENET5_C3, for_each

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Array = NDArray[Any]

ROOT = Path(__file__).resolve().parents[1]
SCALE, SLOPE = 1.7159, 2 / 3
H2 = np.kron(np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1]]), np.ones((4, 4)))  # maps of H1 read by each map of H2


def tiny(seed: int = 0, *, dropout: bool = True, dtype: Any = np.float32) -> nn.Sequential:
    """Return a network for 6x6 images and 3 classes whose layers have running averages and a random generator."""
    rng = np.random.default_rng(seed)
    return nn.Sequential([
        nn.Conv(cm.ConvGeometry((6, 6), (3, 3), out_channels=4), dtype=dtype, rng=rng),
        nn.BatchNorm(4, dtype=dtype),
        nn.ReLU(),
        nn.MaxPool(2),
        *([nn.Dropout(0.2, rng=seed)] if dropout else []),
        nn.Dense(16, 3, dtype=dtype, rng=rng),
    ])  # fmt: skip


def stripes(count: int = 60, seed: int = 0) -> tuple[Array, Array]:
    """Return noisy images of horizontal, vertical and no stripes, and their labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    stripe = np.resize([1.0, -1.0], 6)
    patterns = np.stack([np.tile(stripe[:, None], 6), np.tile(stripe, (6, 1)), np.zeros((6, 6))])
    return (patterns[labels] + 0.5 * rng.standard_normal((count, 6, 6)))[:, None], labels


def bits(network: nn.Sequential) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in network.state().items()}


# --- networks against PyTorch -----------------------------------------------------------------------------------


def theirs(name: str) -> tuple[Any, Callable[[Any], Any]]:
    """Return tensors for the parameters of our network of that name, and PyTorch's forward function of them."""
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    p = {key: torch.tensor(array, requires_grad=True) for key, array in NETWORKS[name]().parameters.items()}

    def squash(x: Any) -> Any:
        return SCALE * torch.tanh(SLOPE * x)

    def subsample(x: Any, place: int) -> Any:
        return 4 * F.avg_pool2d(x, 2) * p[f"{place}.weight"][:, None, None] + p[f"{place}.bias"][:, None, None]

    def by_table(x: Any, place: int, table: Array, **options: Any) -> Any:
        rows, columns = np.nonzero(table)
        kernel = torch.zeros(*table.shape, 5, 5, dtype=torch.float64)
        kernel = kernel.index_put((torch.tensor(rows), torch.tensor(columns)), p[f"{place}.weight"])
        return F.conv2d(x, kernel, **options)

    def lecun1989(x: Any) -> Any:
        x = F.pad(x, (1, 2, 1, 2), value=-1.0)
        x = squash(F.conv2d(x, p["1.weight"], stride=2) + p["1.bias"])
        x = F.pad(x, (1, 2, 1, 2), value=-1.0)
        x = squash(by_table(x, 4, H2, stride=2) + p["4.bias"])
        x = squash(F.linear(x.flatten(1), p["6.weight"], p["6.bias"]))
        return squash(F.linear(x, p["8.weight"], p["8.bias"]))

    def lenet5(x: Any) -> Any:
        x = squash(F.conv2d(x, p["0.weight"], p["0.bias"]))
        x = squash(subsample(x, 2))
        x = squash(by_table(x, 4, np.array(LENET5_C3)) + p["4.bias"][:, None, None])
        x = squash(subsample(x, 6))
        x = squash(F.conv2d(x, p["8.weight"], p["8.bias"]))
        x = squash(F.linear(x.flatten(1), p["10.weight"], p["10.bias"]))
        return F.linear(x, p["12.weight"], p["12.bias"])

    running = {key: (torch.zeros(4, dtype=torch.float64), torch.ones(4, dtype=torch.float64)) for key in "12"}

    def residual(x: Any) -> Any:
        def norm(x: Any, key: str, place: str) -> Any:
            return F.batch_norm(x, *running[key], p[f"{place}.weight"], p[f"{place}.bias"], training=True)

        x = F.relu(norm(F.conv2d(x, p["0.weight"], padding=1), "1", "1"))
        body = F.relu(norm(F.conv2d(x, p["3.body.0.weight"], padding=1), "2", "3.body.1"))
        body = F.conv2d(body, p["3.body.3.weight"], p["3.body.3.bias"], padding=1)
        x = F.max_pool2d(F.relu(body + F.conv2d(x, p["3.shortcut.weight"])), 2)
        return F.linear(x.flatten(1), p["6.weight"], p["6.bias"])

    return p, {"lecun1989": lecun1989, "lenet5": lenet5, "residual": residual}[name]


def residual_network() -> nn.Sequential:
    def conv(kernel: int, outputs: int, ins: int = 4, **options: Any) -> nn.Conv:
        geometry = cm.ConvGeometry((8, 8), (kernel, kernel), in_channels=ins, out_channels=outputs, padding=kernel // 2)
        return nn.Conv(geometry, dtype=np.float64, rng=kernel + outputs, **options)

    return nn.Sequential([
        conv(3, 4, ins=1, bias=None),
        nn.BatchNorm(4, dtype=np.float64),
        nn.ReLU(),
        nn.Residual(
            nn.Sequential([conv(3, 4, bias=None), nn.BatchNorm(4, dtype=np.float64), nn.ReLU(), conv(3, 6)]),
            conv(1, 6, bias=None),
        ),
        nn.ReLU(),
        nn.MaxPool(2),
        nn.Dense(96, 10, dtype=np.float64),
    ])  # fmt: skip


NETWORKS: dict[str, Callable[..., nn.Sequential]] = {
    "lecun1989": lambda method="unfold": nn.lecun1989(dtype=np.float64, rng=1, method=method),
    "lenet5": lambda method="unfold": nn.lenet5(dtype=np.float64, rng=1, method=method),
    "residual": lambda method="unfold": residual_network(),
}
SIZES = {"lecun1989": 16, "lenet5": 32, "residual": 8}
OPTIMISERS: dict[str, tuple[Callable[[], nn.Optimiser], str, dict[str, Any]]] = {
    "SGD": (lambda: nn.SGD(0.05), "SGD", {"lr": 0.05}),
    "SGD with momentum and weight decay": (
        lambda: nn.SGD(0.02, momentum=0.9, weight_decay=0.01),
        "SGD",
        {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.01},
    ),
    "Adam": (lambda: nn.Adam(0.002), "Adam", {"lr": 0.002}),
    "Adam with weight decay": (
        lambda: nn.Adam(0.002, beta1=0.8, beta2=0.99, epsilon=1e-6, weight_decay=0.05),
        "Adam",
        {"lr": 0.002, "betas": (0.8, 0.99), "eps": 1e-6, "weight_decay": 0.05},
    ),
}


@for_each("optimiser", OPTIMISERS)
@for_each("name", NETWORKS)
def test_networks_follow_pytorch(name: str, optimiser: str) -> None:
    """Twenty steps on new batches; all weights agree to 1e-9 of the largest."""
    torch = pytest.importorskip("torch")
    network, (parameters, forward) = NETWORKS[name](), theirs(name)
    make, kind, options = OPTIMISERS[optimiser]
    ours, other = make(), getattr(torch.optim, kind)(parameters.values(), **options)
    loss = nn.SquaredError() if name == "lecun1989" else nn.SoftmaxCrossEntropy()
    start = {key: array.copy() for key, array in network.parameters.items()}
    rng = np.random.default_rng(0)
    for _ in range(20):
        x, labels = rng.standard_normal((4, 1, SIZES[name], SIZES[name])), rng.integers(0, 10, 4)
        value, gradient = loss(network.forward(x, training=True), labels)
        network.backward(gradient)
        ours.step(network.parameters, network.gradients)
        other.zero_grad()
        output = forward(torch.tensor(x))
        if name == "lecun1989":
            wanted = torch.where(torch.arange(10) == torch.tensor(labels)[:, None], 1.0, -1.0).double()
            total = torch.nn.functional.mse_loss(output, wanted)
        else:
            total = torch.nn.functional.cross_entropy(output, torch.tensor(labels))
        total.backward()
        other.step()
        assert value == pytest.approx(total.item(), rel=1e-9)
    for key, parameter in network.parameters.items():
        expected = parameters[key].detach().numpy()
        assert np.abs(parameter - expected).max() <= 1e-9 * np.abs(expected).max(), key
        assert np.abs(parameter - start[key]).max() > 1e-5 * np.abs(expected).max(), key  # every parameter was trained


@for_each("name", ["lecun1989", "lenet5"])
def test_methods_train_alike(name: str) -> None:
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((8, 1, SIZES[name], SIZES[name])), rng.integers(0, 10, 8)
    networks = [NETWORKS[name](method) for method in ("unfold", "matrix")]
    for network in networks:
        nn.fit(network, x, labels, epochs=3, batch_size=4, optimiser=nn.SGD(0.1), metrics={})
    for key, parameter in networks[0].parameters.items():
        np.testing.assert_allclose(networks[1].parameters[key], parameter, rtol=1e-10, atol=1e-12)


# --- named networks --------------------------------------------------------------------------------------------------


def test_parameter_counts_of_lecun1989() -> None:
    """The published table: weights and biases of each layer, and 9,760 in all."""
    network = nn.lecun1989()
    sizes = [
        (layer.parameters["weight"].size, layer.parameters["bias"].size) for layer in network.layers if layer.parameters
    ]
    assert sizes == [(300, 768), (2400, 192), (5760, 30), (300, 10)]
    assert sum(map(sum, sizes)) == 9760
    assert network.output_shape((1, 16, 16)) == (10,)
    connections = [p.multiply_adds for p in network.products((1, 16, 16)) if p.step == "forward"]
    biases = [768, 192, 30, 10]
    assert [a + b for a, b in zip(connections, biases, strict=True)] == [19968, 38592, 5790, 310]


def test_parameter_counts_of_lenet5() -> None:
    network = nn.lenet5()
    sizes = [sum(a.size for a in layer.parameters.values()) for layer in network.layers if layer.parameters]
    assert sizes == [156, 12, 1516, 32, 48120, 10164, 850]
    assert sum(a.size for a in nn.lenet5(classes=None).parameters.values()) == 60000
    assert nn.lenet5(classes=None).output_shape((1, 32, 32)) == (84,)
    assert nn.lenet5(classes=7).output_shape((1, 32, 32)) == (7,)


@for_each("make", [nn.lecun1989, nn.lenet5, nn.small])
def test_named_networks_take_method_dtype_and_rng(make: Callable[..., nn.Sequential]) -> None:
    network = make(rng=3)
    assert {a.dtype for a in network.parameters.values()} == {np.dtype(np.float32)}
    assert bits(network) == bits(make(rng=np.random.default_rng(3)))
    assert bits(network) != bits(make(rng=4))
    other = make(dtype=np.float64, method="matrix", classes=4)
    assert {a.dtype for a in other.parameters.values()} == {np.dtype(np.float64)}
    assert {layer.method for layer in other.layers if isinstance(layer, nn.Conv)} == {"matrix"}
    shape = {"lecun1989": (1, 16, 16), "lenet5": (1, 32, 32), "small": (1, 8, 8)}[make.__name__]
    assert other.output_shape(shape) == (4,)
    weights = [a for key, a in network.parameters.items() if key.endswith("weight") and a.ndim > 1]
    assert all(len(np.unique(w)) > w.size // 2 for w in weights)  # every layer draws on


def test_background_of_lecun1989_is_minus_one() -> None:
    """For an image of background all units of a map have the same sum, also at the border."""
    sums = nn.activations(nn.lecun1989(), np.full((1, 1, 16, 16), -1.0), 1)
    np.testing.assert_allclose(sums, sums[:, :, :1, :1] * np.ones((8, 8)), rtol=1e-5)


def test_small_accepts_other_images() -> None:
    assert nn.small((3, 13, 9), classes=5).output_shape((3, 13, 9)) == (5,)
    with pytest.raises(ValueError, match=r"4 .*input_shape.*\(1, 3, 8\)"):
        nn.small((1, 3, 8))


# --- fit -------------------------------------------------------------------------------------------------------------


def test_fit_learns() -> None:
    x, y = stripes(200)
    network = tiny()
    history = nn.fit(network, x, y, epochs=15, validation=stripes(100, seed=1), optimiser=nn.Adam(0.01))
    assert history.epochs == 15
    assert len(history.loss) == len(history.validation_loss) == len(history.metrics["accuracy"]) == 15
    assert history.loss[-1] < 0.5 * history.loss[0]
    assert history.metrics["accuracy"][-1] > 0.95
    output = nn.predict(network, stripes(100, seed=1)[0], batch_size=7)
    assert nn.accuracy(output, stripes(100, seed=1)[1]) == history.metrics["accuracy"][-1]
    assert nn.SoftmaxCrossEntropy()(output, stripes(100, seed=1)[1])[0] == pytest.approx(history.validation_loss[-1])


def test_same_seed_same_bits() -> None:
    def train(seed: int) -> dict[str, bytes]:
        network = tiny()
        nn.fit(network, *stripes(), epochs=2, batch_size=16, rng=seed)
        return bits(network)

    assert train(1) == train(1)
    assert train(1) != train(2)


def test_fit_is_forward_loss_backward_step() -> None:
    """Two epochs written out, in the orders drawn by the generator, with a smaller last batch."""
    x, y = stripes(50)
    network, other = tiny(), tiny()
    history = nn.fit(network, x, y, epochs=2, batch_size=16, optimiser=nn.SGD(0.1), rng=5)
    rng, optimiser, losses = np.random.default_rng(5), nn.SGD(0.1), []
    orders = [rng.permutation(50) for _ in range(2)]
    for batch in [order[start : start + 16] for order in orders for start in range(0, 50, 16)]:
        value, gradient = nn.SoftmaxCrossEntropy()(other.forward(x[batch], training=True), y[batch])
        other.backward(gradient)
        optimiser.step(other.parameters, other.gradients)
        losses += [value] * len(batch)
    assert bits(network) == bits(other)
    assert history.loss == pytest.approx([np.mean(losses[:50]), np.mean(losses[50:])], rel=1e-12)


def test_metrics_are_those_of_the_validation_data_or_else_of_the_training_data() -> None:
    x, y = stripes()
    counts: list[int] = []

    def count(output: Array, targets: Array) -> float:
        counts.append(len(targets))
        assert output.shape == (len(targets), 3)
        return 7

    history = nn.fit(tiny(), x, y, epochs=1, metrics={"count": count})
    assert history.metrics == {"count": [7.0]}
    nn.fit(tiny(), x, y, epochs=1, metrics={"count": count}, validation=(x[:9], y[:9]))
    assert counts == [60, 9]
    assert nn.fit(tiny(), x, y, epochs=1, metrics={}).metrics == {}


def test_regression_with_targets_of_the_outputs_shape() -> None:
    x = np.random.default_rng(0).standard_normal((40, 1, 6, 6))
    targets = np.stack([x.sum(axis=(1, 2, 3)), x[:, 0, 0, 0], x[:, 0, 3, 2]], axis=1)
    network = nn.Sequential([nn.Dense(36, 3)])
    history = nn.fit(network, x, targets, epochs=60, loss=nn.SquaredError(), optimiser=nn.Adam(0.03), batch_size=8)
    assert history.loss[-1] < 0.05 * history.loss[0]
    assert history.metrics == {}


def test_callbacks_see_every_epoch_and_can_stop() -> None:
    seen = []

    def watch(history: nn.History) -> bool:
        seen.append((history.epochs, history.loss[-1]))
        return history.epochs == 3

    history = nn.fit(tiny(), *stripes(), epochs=9, callbacks=[watch, lambda history: None])
    assert seen == list(enumerate(history.loss, start=1))
    assert history.epochs == 3


def test_patience_stops_when_the_validation_loss_no_longer_falls() -> None:
    x, y = stripes()
    wrong = (x, (y + 1) % 3)  # the better it learns, the worse these
    history = nn.fit(tiny(dropout=False), x, y, epochs=50, validation=wrong, patience=4, optimiser=nn.SGD(0.1))
    assert history.epochs == int(np.argmin(history.validation_loss)) + 1 + 4 < 50


def test_schedules() -> None:
    rates: list[float] = []

    class Recording(nn.SGD):
        def _update(self, name: str, parameter: Array, gradient: Array, rate: float) -> None:
            rates.append(rate)

    x, y = stripes(32)
    network = nn.Sequential([nn.Dense(36, 3, bias=False)])
    nn.fit(network, x, y, epochs=3, batch_size=16, optimiser=Recording(nn.step_decay(1.0, every=2, factor=0.5)))
    assert rates == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    rates.clear()
    nn.fit(network, x, y, epochs=3, batch_size=16, optimiser=Recording(nn.cosine_decay(2.0, steps=4, final=1.0)))
    assert rates == pytest.approx([2.0, 1 + (1 + 0.5**0.5) / 2, 1.5, 1 + (1 - 0.5**0.5) / 2, 1.0, 1.0])


def test_predict_works_in_batches_and_does_not_train() -> None:
    network = tiny()
    x, _ = stripes(10)
    before = bits(network)
    parts = np.concatenate([network.forward(x[start : start + 4]) for start in (0, 4, 8)])
    np.testing.assert_array_equal(nn.predict(network, x, batch_size=4), parts)
    assert bits(network) == before


def test_fit_accepts_integers_and_lists() -> None:
    x, y = stripes(20)
    pixels = np.clip(127 + 60 * x, 0, 255).astype(np.uint8)
    network, other = tiny(), tiny()
    nn.fit(network, pixels.tolist(), y.tolist(), epochs=1)
    nn.fit(other, pixels.astype(np.float64), y.astype(np.uint8), epochs=1)
    assert bits(network) == bits(other)


# --- errors before the first step ---------------------------------------------------------------------------

X, Y = stripes(12)
REFUSED: dict[str, tuple[type[Exception], str, dict[str, Any]]] = {
    "labels too few": (ValueError, r"12 training inputs.*\(11,\)", {"y": Y[:11]}),
    "one label": (ValueError, r"12 training inputs.*\(\)", {"y": 1}),
    "label too large": (ValueError, "labels.* 0 to 3.* 3 outputs", {"y": np.arange(12) % 4}),
    "label negative": (ValueError, "labels.* -1 to 1", {"y": np.arange(12) % 3 - 1}),
    "labels as floats": (ValueError, "labels.*float64", {"y": Y.astype(float)}),
    "labels as vectors": (ValueError, r"labels.*\(12, 3\).*int64", {"y": np.eye(3, dtype=int)[Y]}),
    "labels as texts": (TypeError, "targets.*<U", {"y": ["a"] * 12}),
    "NaN targets": (
        ValueError,
        "training targets.*not finite",
        {"y": np.full((12, 3), np.nan), "loss": nn.SquaredError()},
    ),
    "targets of another shape": (
        ValueError,
        r"targets.*\(2,\).*outputs.*\(3,\)",
        {"y": np.zeros((12, 2)), "loss": nn.SquaredError()},
    ),
    "no samples": (ValueError, r"training inputs.*\(0, 1, 6, 6\)", {"x": X[:0], "y": Y[:0]}),
    "no samples at all": (ValueError, r"training inputs.*\(0,\)", {"x": [], "y": []}),
    "images of another size": (ValueError, r"\(batch, 1, 6, 6\).*\(1, 5, 6\)", {"x": X[:, :, 1:]}),
    "images without channel axis": (ValueError, r"samples of shape \(6, 6\)", {"x": X[:, 0]}),
    "complex images": (TypeError, "training inputs.*real.*complex128", {"x": X + 0j}),
    "texts": (TypeError, "training inputs.*real.*<U", {"x": np.full((12, 1, 6, 6), "a")}),
    "objects": (TypeError, "training inputs.*real.*object", {"x": X.astype(object)}),
    "NaN image": (
        ValueError,
        "inputs.*not finite.*sample 4",
        {"x": np.where(np.arange(12)[:, None, None, None] == 4, np.nan, X)},
    ),
    "validation": (ValueError, "12 validation inputs.*targets", {"validation": (X, Y[:5])}),
    "validation images": (ValueError, r"samples of shape \(1, 6, 5\)", {"validation": (X[..., 1:], Y)}),
    "epochs": (ValueError, "epochs.*1.*0", {"epochs": 0}),
    "epochs as float": (TypeError, r"epochs.*2\.0", {"epochs": 2.0}),
    "batch_size": (ValueError, "batch_size.*1.*0", {"batch_size": 0}),
    "patience": (ValueError, "patience.*1.*0", {"patience": 0, "validation": (X, Y)}),
    "patience alone": (ValueError, r"patience=3.*give validation=", {"patience": 3}),
    "checkpoint_steps": (ValueError, "checkpoint_steps.*1.*0", {"checkpoint_steps": 0, "checkpoint": "a.npz"}),
    "checkpoint_steps alone": (ValueError, "checkpoint_steps=3.*give checkpoint=", {"checkpoint_steps": 3}),
    "checkpoint's folder": (FileNotFoundError, "nowhere.*folder", {"checkpoint": "nowhere/a.npz"}),
    "checkpoint is a folder": (ValueError, "checkpoint .* is a folder", {"checkpoint": str(ROOT)}),
    "masked images": (TypeError, "training inputs .*masked", {"x": np.ma.masked_array(X, mask=X > 0)}),
    "masked labels": (TypeError, "targets .*masked", {"y": np.ma.masked_array(Y, mask=Y == 1)}),
    "a last batch that a layer refuses": (
        ValueError,
        r"BatchNorm.*2 values.*\(1, 2\)",
        {"network": nn.Sequential([nn.Flatten(), nn.Dense(36, 2), nn.BatchNorm(2)]), "y": Y % 2, "batch_size": 11},
    ),
    "layers that do not fit": (
        ValueError,
        r"Dense\(20, 3\).*n_in=20\b.*36",
        {"network": nn.Sequential([nn.ReLU(), nn.Dense(20, 3)])},
    ),
}


@for_each("kind, message, changes", REFUSED.values(), ids=REFUSED.keys())
def test_refused_before_the_first_step(kind: type[Exception], message: str, changes: dict[str, Any]) -> None:
    arguments = {"network": tiny(), "x": X, "y": Y, "epochs": 1, **changes}
    network = arguments["network"]
    before = bits(network)
    with pytest.raises(kind, match=message):
        nn.fit(**arguments)
    assert bits(network) == before


@for_each(
    "message, make",
    [
        ("learning_rate.*positive.*0", lambda: nn.SGD(0)),
        ("learning_rate.*positive.*nan", lambda: nn.Adam(float("nan"))),
        ("weight_decay.*-1", lambda: nn.SGD(0.1, weight_decay=-1)),
        (r"momentum.*\[0, 1\).*1", lambda: nn.SGD(0.1, momentum=1)),
        (r"beta1.*\[0, 1\).*1", lambda: nn.Adam(beta1=1)),
        (r"beta2.*\[0, 1\).*-1", lambda: nn.Adam(beta2=-1)),
        ("every.*1.*0", lambda: nn.step_decay(1.0, every=0)),
        ("steps.*1.*0", lambda: nn.cosine_decay(1.0, steps=0)),
        ("rate .*nan", lambda: nn.step_decay(float("nan"), every=1)),
        ("rate .*inf", lambda: nn.cosine_decay(float("inf"), steps=1)),
        ("factor .*-1", lambda: nn.step_decay(1.0, every=1, factor=-1)),
        ("final .*-1", lambda: nn.cosine_decay(1.0, steps=1, final=-1)),
        (r"labels \(1,\)", lambda: nn.accuracy(np.zeros((2, 3)), np.array([0]))),
        (r"labels \(2, 1\)", lambda: nn.accuracy(np.zeros((2, 3)), np.zeros((2, 1), int))),
        (r"\(0, 3\)", lambda: nn.accuracy(np.zeros((0, 3)), np.zeros(0, int))),
        ("gradient.*0.bias.*backward", lambda: nn.SGD().step(nn.Sequential([nn.Dense(2, 2)]).parameters, {})),
        (r"x .*\(0, 1, 6, 6\)", lambda: nn.predict(tiny(), X[:0])),
        ("batch_size.*1.*0", lambda: nn.predict(tiny(), X, batch_size=0)),
    ],
)
def test_errors(message: str, make: Callable[[], Any]) -> None:
    with pytest.raises(ValueError, match=message):
        make()


# --- values that are not finite ----------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_names_layer_step_and_batch(tmp_path: Path) -> None:
    x, y = stripes(40)
    path, network = tmp_path / "run.npz", tiny()
    nn.fit(network, x, y, epochs=2, batch_size=16, checkpoint=path)
    good = path.read_bytes()
    with np.load(path) as archive:
        assert all(np.isfinite(archive[name]).all() for name in archive.files if name.startswith("network/"))

    def break_it(history: nn.History) -> None:
        if history.epochs == 3:
            network.parameters["5.weight"][0, 0] = np.inf

    with pytest.raises(nn.NonFiniteError, match=r"step 9\b.* weight of layer 5, Dense\(16, 3\)"):
        nn.fit(network, x, y, epochs=5, batch_size=16, checkpoint=path, callbacks=[break_it])
    assert path.read_bytes() == good
    assert [file.name for file in tmp_path.iterdir()] == ["run.npz"]

    message = r"the loss is (nan|inf) in epoch 3, batch 1 \(step 7\b.*layer 0, Conv\(.*\);.*learning rate"
    broken = tiny()
    nn.fit(broken, x, y, epochs=2, batch_size=16, optimiser=(optimiser := nn.SGD(0.01)))
    broken.parameters["0.weight"][1, 0, 2, 2] = np.nan
    history = _ContinuedAfter(2)
    with pytest.raises(nn.NonFiniteError, match=message):
        history.fit(broken, x, y, optimiser)


class _ContinuedAfter:
    """A training continued in memory after some epochs."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def fit(self, network: nn.Sequential, x: Array, y: Array, optimiser: nn.Optimiser) -> None:
        from convmatrix.nn.training import Run

        run = Run(network, optimiser, nn.SoftmaxCrossEntropy(), x, y, 16, np.random.default_rng(0))
        run.history.loss = [1.0] * self.epochs
        for _ in run.steps():
            pass


def test_a_learning_rate_far_too_large_stops_with_the_step(tmp_path: Path) -> None:
    x, y = stripes(64)
    path = tmp_path / "run.npz"
    network = nn.Sequential([nn.Dense(36, 8), nn.Softplus(), nn.Dense(8, 3)])
    with pytest.raises(nn.NonFiniteError, match=r"epoch \d+, batch \d+.*step"):
        nn.fit(
            network, x, y, epochs=50, batch_size=8, loss=nn.SquaredError(), optimiser=nn.SGD(1e6), checkpoint=path,
            checkpoint_steps=1,
        )  # fmt: skip
    with np.load(path) as archive:  # the last good one is whole
        assert all(np.isfinite(archive[name]).all() for name in archive.files if name.startswith("network/"))


def test_the_layer_is_found_inside_of_others_and_with_the_same_units_dropped() -> None:
    class Overflow(nn.Layer):
        """Infinite where a unit is dropped, at exactly zero."""

        def forward(self, x: Array, *, training: bool = False) -> Array:
            return np.where(x == 0, np.inf, x)

        def backward(self, g: Array) -> Array:
            return g

    def network(layer: nn.Layer) -> nn.Sequential:
        inner = nn.Sequential([nn.Dropout(0.01, rng=3), layer])
        return nn.Sequential([nn.BatchNorm(1), nn.Residual(inner, nn.Tanh()), nn.Dense(36, 3)])

    broken = network(Overflow())
    with pytest.raises(nn.NonFiniteError, match=r"from layer 1\.body\.1, Overflow\(\);"):
        nn.fit(broken, *stripes(8), epochs=200, batch_size=2)
    wide = nn.Sequential([nn.Dense(36, 3)])
    wide.parameters["0.weight"][...] = 3e38
    with pytest.raises(nn.NonFiniteError, match=r"from layer 0, Dense\(36, 3\)"):
        nn.fit(wide, *stripes(8), epochs=1)

    class Steep(nn.Layer):
        def forward(self, x: Array, *, training: bool = False) -> Array:
            return x

        def backward(self, g: Array) -> Array:
            return g * np.inf

    with pytest.raises(nn.NonFiniteError, match=r"gradient is not finite in epoch 1, batch 1 .*bias of layer 0"):
        nn.fit(nn.Sequential([nn.Dense(36, 3), Steep()]), *stripes(8), epochs=1)


def test_a_validation_loss_that_is_not_finite_stops() -> None:
    x, y = stripes(8)
    network = nn.Sequential([nn.Dense(36, 3), nn.ReLU(), nn.Dense(3, 3)])
    network.parameters["0.weight"][...] *= 100
    with pytest.raises(
        nn.NonFiniteError, match=r"validation loss is (nan|inf) after epoch 1 \(step 1\b.*from layer 0, Dense"
    ):
        nn.fit(network, x, y, epochs=1, validation=(x * 1e38, y))


def test_the_loss_itself_can_be_the_source() -> None:
    class Broken(nn.SoftmaxCrossEntropy):
        def __call__(self, output: Array, targets: Any) -> tuple[float, Array]:
            return float("inf"), output

    network, other = tiny(), tiny()
    with pytest.raises(nn.NonFiniteError, match=r"loss is inf in epoch 1, batch 1 .*from the loss itself;"):
        nn.fit(network, *stripes(8), epochs=1, loss=Broken())
    x = stripes(8)[0][np.random.default_rng(0).permutation(8)]
    other.forward(x, training=True)  # once: the search for the source leaves no trace in the running averages
    assert bits(network) == bits(other)


# --- checkpoints -----------------------------------------------------------------------------------------------------


def train(network: nn.Sequential, path: Path | None, epochs: int, **options: Any) -> nn.History:
    return nn.fit(
        network,
        *stripes(),
        epochs=epochs,
        batch_size=16,
        optimiser=nn.Adam(nn.cosine_decay(0.01, 20)),
        validation=stripes(20, seed=1),
        checkpoint=path,
        rng=9,
        **options,
    )


def test_resumed_training_ends_in_the_same_bits(tmp_path: Path) -> None:
    whole, parts = tiny(), tiny()
    expected = train(whole, None, 5)
    train(parts, tmp_path / "run.npz", 2)
    again = tiny(seed=5)  # other weights, which the checkpoint replaces
    history = train(again, tmp_path / "run.npz", 5)
    assert bits(again) == bits(whole)
    assert history == expected
    assert train(tiny(), tmp_path / "run.npz", 5) == expected  # nothing left to do


@for_each("stop", range(1, 13))
def test_resumed_from_any_step(tmp_path: Path, stop: int) -> None:
    class InterruptionError(Exception):
        pass

    def interrupt(self: nn.Adam, *arguments: Any) -> None:
        if self.steps == stop:
            raise InterruptionError
        nn.Adam.step(self, *arguments)

    whole, cut, resumed = tiny(), tiny(), tiny()
    expected = train(whole, None, 3)
    stopping = type("Adam", (nn.Adam,), {"step": interrupt})
    path = tmp_path / f"{stop}.npz"
    if stop < 12:
        with pytest.raises(InterruptionError):
            nn.fit(
                cut, *stripes(), epochs=3, batch_size=16, optimiser=stopping(nn.cosine_decay(0.01, 20)),
                validation=stripes(20, seed=1), checkpoint=path, checkpoint_steps=1, rng=9,
            )  # fmt: skip
    history = train(resumed, path, 3, checkpoint_steps=1)
    assert bits(resumed) == bits(whole)
    assert history == expected


def test_early_stopping_is_kept_in_the_checkpoint(tmp_path: Path) -> None:
    def stop(history: nn.History) -> bool:
        return history.epochs == 2

    train(tiny(), tmp_path / "run.npz", 6, callbacks=[stop])
    assert train(tiny(), tmp_path / "run.npz", 6).epochs == 2


def test_checkpoint_holds_no_pickle(tmp_path: Path) -> None:
    train(tiny(), tmp_path / "run", 1)
    with np.load(tmp_path / "run", allow_pickle=False) as archive:
        assert all(archive[name].dtype != object for name in archive.files)


CHANGED: dict[str, tuple[str, Callable[[], nn.Sequential], dict[str, Any]]] = {
    "layers": (
        r"5.bias is float32 of shape \(3,\) there and absent here",
        lambda: nn.Sequential([*tiny().layers[:-1], nn.Flatten(), nn.Dense(16, 3)]),
        {},
    ),
    "dtype": (r"0.bias is float32 of shape \(4,\) there and float64 of", lambda: tiny(dtype=np.float64), {}),
    "dropout": (
        "generators .*network.4.rng.*",
        lambda: nn.Sequential([*tiny().layers[:4], nn.ReLU(), tiny().layers[-1]]),
        {},
    ),
    "optimiser": ("optimiser SGD.* Adam", tiny, {"optimiser": nn.Adam()}),
    "generator": (
        "generators {'order': 'PCG64'.* {'order': 'MT19937'",
        tiny,
        {"rng": np.random.Generator(np.random.MT19937(1))},
    ),
    "batch size": ("60 samples in batches of 64.* 60 in batches of 32", tiny, {"batch_size": 32}),
    "data": ("60 samples in batches of 64.* 30", tiny, {"x": stripes()[0][:30], "y": stripes()[1][:30]}),
}


@for_each("message, make, changes", CHANGED.values(), ids=CHANGED.keys())
def test_checkpoint_of_another_training_is_refused(
    tmp_path: Path, message: str, make: Callable[[], nn.Sequential], changes: dict[str, Any]
) -> None:
    x, y = stripes()
    nn.fit(tiny(), x, y, epochs=1, checkpoint=tmp_path / "run.npz")
    network = make()
    before = bits(network)
    with pytest.raises(ValueError, match=message):
        nn.fit(**{"network": network, "x": x, "y": y, "epochs": 2, "checkpoint": tmp_path / "run.npz", **changes})
    assert bits(network) == before


CHANGED_RUNS: dict[str, dict[str, Any]] = {
    "inputs": {"x": stripes()[0] + 1},
    "targets": {"y": (stripes()[1] + 1) % 3},
    "loss": {"loss": nn.SquaredError()},
    "optimiser.learning_rate": {"optimiser": nn.SGD(0.02, momentum=0.9)},
    "optimiser.momentum": {"optimiser": nn.SGD(0.01, momentum=0.8)},
}


@for_each("name", CHANGED_RUNS)
def test_a_resumed_training_with_other_data_or_options_is_refused(tmp_path: Path, name: str) -> None:
    x, y = stripes()
    path = tmp_path / f"{name}.npz"
    arguments = {"x": x, "y": y, "epochs": 2, "checkpoint": path}
    nn.fit(tiny(), x, y, epochs=1, checkpoint=path)
    network = tiny()
    before = bits(network)
    with pytest.raises(ValueError, match=f"npz .* {name} .*allow_changes"):
        nn.fit(network, **arguments | CHANGED_RUNS[name])
    assert bits(network) == before
    assert nn.fit(network, **arguments | CHANGED_RUNS[name], allow_changes=True).epochs == 2


def test_a_training_with_equal_data_and_options_is_resumed(tmp_path: Path) -> None:
    x, y = stripes()
    path = tmp_path / "run.npz"
    settings = {"crop": np.int64(2), "scale": np.float32(0.5), "sizes": (1, 2), "nothing": float("nan")}
    nn.fit(tiny(), x, y, epochs=1, checkpoint=path, optimiser=nn.SGD(1), settings=settings)
    for number, (inputs, labels, rate) in enumerate(
        (
            (np.asfortranarray(x), y.tolist(), 1.0),
            (x.astype(x.dtype.newbyteorder(">")), y.astype(np.uint8), np.float32(1)),
            (x.tolist() if x.dtype == np.float64 else x, y.astype(">i2"), np.array(1.0)),
        )
    ):
        arguments = {"epochs": 2 + number, "checkpoint": path, "optimiser": nn.SGD(rate)}
        assert nn.fit(tiny(), inputs, labels, settings=settings, **arguments).epochs == 2 + number
    with pytest.raises(ValueError, match="saved with crop 2"):
        nn.fit(tiny(), x, y, epochs=5, checkpoint=path, optimiser=nn.SGD(1), settings=settings | {"crop": 3})


def test_true_and_false_are_labels() -> None:
    x, y = stripes()
    histories = [nn.fit(tiny(), x, labels, epochs=1).loss for labels in (y == 1, (y == 1).astype(int))]
    assert histories[0] == histories[1]
    for loss in (nn.SoftmaxCrossEntropy(), nn.SquaredError()):
        first, second = (loss(np.array([[1.0, 2.0], [3.0, 1.0]]), labels) for labels in ([True, False], [1, 0]))
        assert first[0] == second[0]
        assert np.array_equal(first[1], second[1])


def test_two_trainings_on_one_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    kept = b""

    def other(history: nn.History) -> None:
        nonlocal kept
        if history.epochs == 1:
            train(tiny(seed=4), path, 1)
            kept = path.read_bytes()

    path.unlink(missing_ok=True)
    with pytest.raises(FileExistsError, match=r"run\.npz .*another run"):
        train(tiny(), path, 2, callbacks=[other])
    assert path.read_bytes() == kept


def test_a_checkpoint_that_cannot_be_written_is_refused_before_the_first_step(tmp_path: Path) -> None:
    (tmp_path / "run.npz").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere" / "run.npz")
    network = tiny()
    before = bits(network)
    with pytest.raises(OSError, match="nowhere"):
        train(network, tmp_path / "link", 1)
    assert bits(network) == before
    assert not list(tmp_path.glob("*.tmp"))


def test_a_history_that_is_not_a_list_is_refused(tmp_path: Path) -> None:
    from tests import forged_checkpoints  # which imports this module

    members, contents = forged_checkpoints.original(tmp_path)
    forged = forged_checkpoints.replaced(contents, ("progress", "metrics", "accuracy"), {})
    np.savez(tmp_path / "run.npz", **members | {"contents": np.array(json.dumps(forged))})
    with pytest.raises(ValueError, match=r"run\.npz cannot be read: its history holds \{\}"):
        forged_checkpoints.train(forged_checkpoints.tiny(), tmp_path / "run.npz", 2)


def test_forged_checkpoints_are_refused(tmp_path: Path) -> None:
    from tests import forged_checkpoints  # which imports this module

    tally = forged_checkpoints.attack(60, 2, tmp_path)
    assert tally["refused"] > 40


def test_an_optimiser_belongs_to_one_network() -> None:
    first, second = tiny(), tiny(seed=1)
    optimiser = nn.SGD(0.1, momentum=0.9)
    nn.fit(first, *stripes(), epochs=1, optimiser=optimiser)
    nn.fit(first, *stripes(), epochs=1, optimiser=optimiser)  # the same network goes on
    before = bits(second)
    with pytest.raises(ValueError, match=r"SGD .*other parameters"):
        optimiser.step(second.parameters, first.gradients)
    assert bits(second) == before
    optimiser.load_state(optimiser.state())
    optimiser.step(second.parameters, first.gradients)  # said to be meant
    copies = {name: value.copy() for name, value in second.parameters.items()}
    optimiser.step(copies, first.gradients)  # arrays of their own, but they continue the last step
    with pytest.raises(ValueError, match="other parameters"):
        optimiser.step(second.parameters, first.gradients)  # which does not
    again, both = copy.deepcopy((first, nn.SGD(0.1, momentum=0.9)))
    both.step(again.parameters, first.gradients)


@for_each("optimiser", [nn.SGD(0.1, momentum=0.9), nn.Adam()])
def test_a_refused_step_or_state_changes_nothing(optimiser: nn.Optimiser) -> None:
    parameters = {"a": np.ones(2), "b": np.ones(2)}
    for wrong in (np.ones(3), np.ones(1), np.ones((2, 2)), np.ones(2) * 1j):
        with pytest.raises(ValueError, match=rf"b .*\(2,\).*{re.escape(str(wrong.shape))}"):
            optimiser.step(parameters, {"a": np.ones(2), "b": wrong})
    assert (optimiser.steps, optimiser.memory, parameters["a"].tolist()) == (0, {}, [1, 1])
    optimiser.step(parameters, {"a": np.ones(2), "b": np.ones(2)})
    before = {name: array.tolist() for name, array in optimiser.state().items()}
    for state in (
        {},
        {"steps": np.array(-1)},
        {"steps": np.array(1.5)},
        {"steps": np.array(3), "mean a": np.array("x")},
    ):
        with pytest.raises(ValueError, match=r"steps|mean a"):
            optimiser.load_state(state)
    assert {name: array.tolist() for name, array in optimiser.state().items()} == before


def test_a_schedule_that_is_not_finite_stops_before_the_step() -> None:
    network = tiny()
    optimiser = nn.SGD(lambda step: 0.1 if step < 2 else float("nan"))
    with pytest.raises(ValueError, match=r"learning_rate\(2\).* nan"):
        nn.fit(network, *stripes(), epochs=1, batch_size=16, optimiser=optimiser)
    assert optimiser.steps == 2


def test_optimisers_with_schedules_are_pickled() -> None:
    for schedule in (nn.cosine_decay(0.1, 10), nn.step_decay(0.1, 3)):
        again = pickle.loads(pickle.dumps(nn.Adam(schedule)))
        assert [again.learning_rate(step) for step in range(12)] == [schedule(step) for step in range(12)]


def test_a_callback_stops_with_the_bool_of_numpy() -> None:
    history = nn.fit(tiny(), *stripes(), epochs=5, callbacks=[lambda history: np.bool_(history.epochs == 2)])
    assert history.epochs == 2


def test_damaged_checkpoints_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    nn.fit(tiny(), *stripes(), epochs=1, checkpoint=path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    broken = [whole[: int(cut)] for cut in rng.integers(0, len(whole), 20)] + [b"", b"hello"]
    for content in broken:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"run.npz cannot be read: .*damaged"):
            nn.fit(tiny(), *stripes(), epochs=2, checkpoint=path)
        assert path.read_bytes() == content  # the file is not changed
    np.savez(path, format=np.array("another format"))
    with pytest.raises(ValueError, match="its format is another format"):
        nn.fit(tiny(), *stripes(), epochs=2, checkpoint=path)
    np.savez(path, weights=np.zeros(3))
    with pytest.raises(ValueError, match=r"cannot be read: .*format"):
        nn.fit(tiny(), *stripes(), epochs=2, checkpoint=path)
    with pytest.raises(FileNotFoundError, match=r"checkpoint .*nothing\.npz"):
        nn.checkpoints.load_checkpoint(tmp_path / "nothing.npz")


# --- progress --------------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_shows_steps_epoch_and_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr("convmatrix.progress.DELAY", 0)
    monkeypatch.setattr("convmatrix.progress._INTERVAL", 0)
    told: list[tuple[int, int, str]] = []
    history = nn.fit(tiny(), *stripes(), epochs=2, batch_size=16)
    shown = re.findall(r"\rtraining \[([#.]{20})\] (\d)/8 epoch (\d), loss (\d+\.\d{4}) ", stream.getvalue())
    assert [(int(step), int(epoch)) for _, step, epoch, _ in shown] == [(n, 1 + (n > 4)) for n in range(1, 9)]
    assert [shown[3][3], shown[7][3]] == [f"{loss:.4f}" for loss in history.loss]
    assert all(bar.count("#") == 20 * int(step) // 8 for bar, step, _, _ in shown)
    nn.fit(tiny(), *stripes(), epochs=2, batch_size=16, progress=lambda *step: told.append(step))
    assert [(str(step), loss.rpartition(" ")[2]) for step, _, loss in told] == [(s, loss) for _, s, _, loss in shown]


def test_progress_is_removed_when_the_training_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr("convmatrix.progress.DELAY", 0)

    def fail(history: nn.History) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        nn.fit(tiny(), *stripes(), epochs=2, callbacks=[fail])
    assert re.search(r"\r +\r$", stream.getvalue())


def test_progress_on_a_real_terminal() -> None:
    """In a pseudo-terminal stderr is a terminal, and the bar appears."""
    pty = pytest.importorskip("pty", reason="there are no pseudo-terminals here")
    master, slave = pty.openpty()
    program = (
        "import convmatrix.progress; convmatrix.progress.DELAY = 0; "
        "from tests.test_nn_training import *; nn.fit(tiny(), *stripes(), epochs=1)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, stderr=slave, stdout=subprocess.PIPE, timeout=60, check=True
    )
    os.close(slave)
    shown = os.read(master, 100_000).decode()
    os.close(master)
    assert done.stdout == b""
    assert re.search(r"\rtraining \[#{20}\] 1/1 epoch 1, loss \d", shown)
