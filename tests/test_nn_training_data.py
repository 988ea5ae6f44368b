"""Preparation of images, settings in checkpoints, and Ctrl-C during a training."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import ndimage

from convmatrix import nn
from convmatrix.nn.images import enlarge, hold_out, rescale, stratified_split, to_range
from tests.cases import for_each
from tests.test_nn_training import bits, stripes, tiny

if TYPE_CHECKING:
    from collections.abc import Iterator


# --- images ----------------------------------------------------------------------------------------------------------


@for_each("old, new", [((8, 8), (16, 16)), ((8, 8), (28, 28)), ((3, 5), (7, 5)), ((1, 2), (4, 3))])
def test_enlarged_as_scipy_does(old: tuple[int, int], new: tuple[int, int]) -> None:
    images = np.random.default_rng(0).random((2, 1, *old))
    expected = ndimage.zoom(images, (1, 1, new[0] / old[0], new[1] / old[1]), order=1, mode="nearest", grid_mode=True)
    np.testing.assert_allclose(enlarge(images, new), expected, atol=1e-14)


def test_enlarging_keeps_constants_and_images_of_the_same_size() -> None:
    images = np.random.default_rng(0).random((3, 8, 8))
    np.testing.assert_array_equal(enlarge(images, (8, 8)), images)
    np.testing.assert_allclose(enlarge(np.full((2, 4, 4), 3.0), (9, 11)), 3.0)


@for_each("shape", [(4,), (2, 9, 4), (2, 4, 9), (0, 4, 4)])
def test_not_enlarged(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\(.*4.*\).*\(8, 8\)"):
        enlarge(np.zeros(shape), (8, 8))


def test_ranges() -> None:
    assert (to_range, hold_out) == (rescale, stratified_split)
    np.testing.assert_allclose(rescale([[0, 255]], -0.1, 1.175), [[-0.1, 1.175]])
    np.testing.assert_allclose(rescale([4, 8], 0, 1, source=(0, 16)), [0.25, 0.5])
    with pytest.raises(ValueError, match=r"3\.0 to 3\.0"):
        rescale([3, 3], 0, 1)


def test_the_split_keeps_the_proportions_of_the_classes() -> None:
    labels = np.repeat([0, 1, 2], [100, 40, 10])
    rng = np.random.default_rng(0)
    rng.shuffle(labels)
    kept, held_out = stratified_split(labels, 0.2, rng=1)
    assert sorted([*kept, *held_out]) == list(range(150))
    assert np.bincount(labels[held_out]).tolist() == [20, 8, 2]
    again = stratified_split(labels, 0.2, rng=1)[1]
    np.testing.assert_array_equal(held_out, again)
    assert not np.array_equal(held_out, stratified_split(labels, 0.2, rng=2)[1])
    assert len(stratified_split(labels, 0)[1]) == 0
    assert len(np.unique(stratified_split(labels, 0.99)[1])) == round(0.99 * 150)


@for_each("part", [-0.1, 1, float("nan")])
def test_invalid_fractions(part: float) -> None:
    with pytest.raises(ValueError, match=r"fraction.*\[0, 1\).*(-0.1|1|nan)"):
        stratified_split([0, 1], part)


# --- settings --------------------------------------------------------------------------------------------------------


def test_settings_are_kept_and_others_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"

    def go(network: nn.Sequential, **options: Any) -> None:
        nn.fit(network, *stripes(), epochs=2, checkpoint=path, **options)

    go(tiny(), settings={"rate": 0.01, "sizes": (2, 3)})
    go(tiny(), settings={"sizes": [2, 3], "rate": 0.01})  # equal as JSON
    for settings, message in (
        (
            {"rate": 0.02, "sizes": (2, 3)},
            r"run\.npz .* rate 0\.01.* 0\.02",
        ),
        ({"rate": 0.01}, r'sizes \[2, 3\].*"absent"'),
        (None, r'rate 0\.01.*"absent"'),
    ):
        network = tiny()
        before = bits(network)
        with pytest.raises(ValueError, match=message):
            go(network, settings=settings)
        assert bits(network) == before


def test_a_checkpoint_of_version_0_1_is_resumed(tmp_path: Path) -> None:
    """The file was written by version 0.1, which was stopped after 6 of the 12 steps of the training below."""
    file = Path(__file__).parent / "data" / "files_0_1" / "training.npz"
    found = nn.checkpoints.load_checkpoint(file)
    assert (found.optimiser[0], int(found.optimiser[1]["steps"]), found.progress["done"]) == ("Adam", 6, 2)
    assert found.progress["settings"] == {"rate": 0.01}
    path = tmp_path / "run.npz"
    path.write_bytes(file.read_bytes())
    options: dict[str, Any] = {"epochs": 3, "batch_size": 16, "validation": stripes(20, seed=1), "rng": 9}
    resumed, whole = tiny(seed=5), tiny()
    history = nn.fit(resumed, *stripes(), optimiser=nn.Adam(0.01), checkpoint=path, settings={"rate": 0.01}, **options)
    expected = nn.fit(whole, *stripes(), optimiser=nn.Adam(0.01), **options)
    assert history.loss[0] == found.progress["loss"][0]
    assert history.validation_loss[0] == found.progress["validation_loss"][0]
    assert history.metrics["accuracy"][0] == found.progress["metrics"]["accuracy"][0]
    # Equal up to rounding: the first half may be from another processor. A bias before a batch normalisation has no
    # gradient but rounding, to which Adam gives the length of a step: it drifts by at most that, and its mean with it.
    np.testing.assert_allclose(history.loss, expected.loss, rtol=1e-5)
    drift = {"0.bias": 2 * 12 * 0.01, "1.running_mean": 2 * 12 * 0.01}
    for name, array in whole.state().items():
        np.testing.assert_allclose(resumed.state()[name], array, rtol=1e-4, atol=drift.get(name, 1e-6))


# --- Ctrl-C ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def _usual_interrupts() -> Iterator[None]:
    """Let interrupts raise KeyboardInterrupt, which is disabled in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def interrupted(at: int, times: int = 1) -> Any:
    """Return an optimiser that interrupts the process in the middle of a step."""

    def update(self: nn.Adam, name: str, *arguments: Any) -> None:
        if self.steps == at and name == "1.weight":
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
        nn.Adam._update(self, name, *arguments)

    return type("Adam", (nn.Adam,), {"_update": update})(0.01)


def go(network: nn.Sequential, optimiser: nn.Optimiser, path: Path | None) -> nn.History:
    return nn.fit(network, *stripes(), epochs=3, batch_size=16, optimiser=optimiser, checkpoint=path, rng=3)


@pytest.mark.usefixtures("_usual_interrupts")
@for_each("at", [1, 2, 4, 5, 12])  # a first step, in the middle, the last of an epoch and of all
def test_an_interrupt_finishes_the_step_and_saves(tmp_path: Path, at: int) -> None:
    whole, cut, resumed = tiny(), tiny(), tiny(seed=1)
    expected = go(whole, nn.Adam(0.01), None)
    path = tmp_path / f"{at}.npz"
    with pytest.raises(KeyboardInterrupt):
        go(cut, interrupted(at), path)
    assert int(nn.checkpoints.load_checkpoint(path).optimiser[1]["steps"]) == at
    assert go(resumed, nn.Adam(0.01), path) == expected
    assert bits(resumed) == bits(whole)


@pytest.mark.usefixtures("_usual_interrupts")
def test_an_interrupt_after_the_last_step_of_an_epoch_saves_the_epoch(tmp_path: Path) -> None:
    def interrupt(history: nn.History) -> None:
        signal.raise_signal(signal.SIGINT)

    path = tmp_path / "run.npz"
    with pytest.raises(KeyboardInterrupt):
        nn.fit(tiny(), *stripes(), epochs=3, checkpoint=path, callbacks=[interrupt])
    found = nn.checkpoints.load_checkpoint(path).progress
    assert (len(found["loss"]), found["done"]) == (1, 0)


@pytest.mark.usefixtures("_usual_interrupts")
def test_a_second_interrupt_does_not_wait(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    with pytest.raises(KeyboardInterrupt):
        go(tiny(), interrupted(2, times=2), path)
    assert not path.exists()
    optimiser = interrupted(1)
    with pytest.raises(KeyboardInterrupt):
        go(tiny(), optimiser, None)  # nothing to save
    assert optimiser.steps == 1
    assert "mean 5.weight" not in optimiser.memory


def test_the_program_keeps_its_own_handlers(tmp_path: Path) -> None:
    seen = []
    before = signal.signal(signal.SIGINT, lambda *_: seen.append(1))
    try:
        history = go(tiny(), interrupted(2), tmp_path / "run.npz")
    finally:
        signal.signal(signal.SIGINT, before)
    assert (history.epochs, seen) == (3, [1])


def test_training_in_another_thread(tmp_path: Path) -> None:
    done: list[int] = []
    thread = threading.Thread(target=lambda: done.append(go(tiny(), nn.Adam(), tmp_path / "run.npz").epochs))
    thread.start()
    thread.join()
    assert done == [3]
