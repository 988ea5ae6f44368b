"""The comparison of networks that share weights with those that do not: its data, and that its claims can fail."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

pytest.importorskip("matplotlib", reason="needs the extra analyses")
pytest.importorskip("sklearn", reason="needs the extra analyses")

from analyses import sharing_pays


def errors_found(moved: list[float], centred: list[float]) -> sharing_pays.Found:
    """Return errors whose means are given, one a network, with a little chance in three seeds."""
    chance = np.array([-0.002, 0.001, 0.002])
    return {
        (place, kind, count): sharing_pays.Errors(
            0.02 + 0 * chance if kind == "convolution" else 0 * chance,
            mean + chance * (1 + number) + (0.1 if count == sharing_pays.COUNTS[0] else 0),
        )
        for place, means in (("moved", moved), ("centred", centred))
        for number, (kind, mean) in enumerate(zip(sharing_pays.KINDS, means, strict=True))
        for count in sharing_pays.COUNTS
    }


def failed_sharing(found: sharing_pays.Found) -> list[str]:
    claims = [*sharing_pays._claims_on_moved(found, quick=False), *sharing_pays._claims_on_control(found)]
    return [claim.key.partition("-")[0] for claim in claims if claim.verdict == "failed"]


def test_sharing_claims_notice_what_they_deny() -> None:
    moved, centred = [0.2, 0.4, 0.4, 0.4], [0.1, 0.1, 0.1, 0.05]
    assert failed_sharing(errors_found(moved, centred)) == []
    assert failed_sharing(errors_found([0.2, 0.4, 0.4, 0.201], centred)) == ["moved"]  # too little for chance
    assert failed_sharing(errors_found(moved, [0.1, 0.1, 0.22, 0.1])) == ["centred"]
    assert failed_sharing(errors_found(moved, [0.1, 0.1, 0.35, 0.1])) == [
        "centred",
        "difference",
    ]
    found = errors_found(moved, centred)
    fitted = {
        key: sharing_pays.Errors(0 * errors.train + (key[1] == "dense"), errors.test) for key, errors in found.items()
    }
    assert failed_sharing(fitted) == ["training"]


def test_sharing_counts_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [claim.verdict for claim in sharing_pays._claims_on_sizes()] == ["checked", "checked"]
    layer = sharing_pays._layer
    monkeypatch.setattr(
        sharing_pays, "_layer", lambda kind, *sizes: layer("convolution" if kind == "tiled 2x2" else kind, *sizes)
    )
    assert [claim.verdict for claim in sharing_pays._claims_on_sizes()] == ["checked", "failed"]


def test_least_mean_is_that_of_students_test() -> None:
    differences = np.random.default_rng(0).normal(1, 0.2, 5)
    least = sharing_pays._least_mean(differences)
    assert stats.ttest_1samp(differences, differences.mean() - least, alternative="greater").pvalue == pytest.approx(
        0.05 / 3
    )


def test_digits_are_moved_whole_or_stay_in_the_middle() -> None:
    digits = np.arange(1, 65).reshape(1, 8, 8).repeat(200, axis=0)
    moved, centred = (sharing_pays.place_digits(digits, place, 1) for place in sharing_pays.PLACES)
    corners = [tuple(int(i) for i in np.argwhere(field[0] == 1)[0]) for field in moved]
    assert {*corners} == {(top, left) for top in range(5) for left in range(5)}
    for field, (top, left) in zip(moved, corners, strict=True):
        np.testing.assert_array_equal(field[0, top : top + 8, left : left + 8], digits[0])
        assert field.sum() == digits[0].sum()
    np.testing.assert_array_equal(centred[:, 0, 2:10, 2:10], digits)
    assert centred.sum() == digits.sum()


def test_test_images_choose_nothing_and_train_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each image is made to hold its own number, so that one sees which part it comes to."""
    count = 1797
    numbered = np.arange(count)[:, None] * np.ones((1, 64)) * 16
    monkeypatch.setattr(sharing_pays, "load_digits", lambda **_: (numbered, np.arange(count) % 10))
    seen: dict[str, set[int]] = {"trained": set(), "measured": set()}

    def numbers(images: np.ndarray) -> set[int]:
        return {int(number) for number in images.max(axis=(1, 2, 3))}

    def fit(network: object, images: np.ndarray, labels: np.ndarray, **_: object) -> None:
        assert [int(image.max()) % 10 for image in images] == labels.tolist()
        seen["trained"] = numbers(images)

    def predict(network: object, images: np.ndarray) -> np.ndarray:
        seen["measured"] = numbers(images)  # the last are the test images
        return np.eye(10)[[int(image.max()) % 10 for image in images]]

    monkeypatch.setattr(sharing_pays.nn, "fit", fit)
    monkeypatch.setattr(sharing_pays.nn, "predict", predict)
    sharing_pays.choose_rate("dense", "moved")
    choosing = seen["trained"] | seen["measured"]
    assert len(choosing) == count // 3
    tests = []
    for seed in (1, 2):
        for images in sharing_pays.COUNTS:
            assert sharing_pays.errors_of("dense", "moved", images, 0.01, seed) == (0, 0)
            assert len(seen["trained"]) == images
            assert not seen["trained"] & seen["measured"]
            assert not choosing & (seen["trained"] | seen["measured"])
            tests.append(seen["measured"])
    assert tests[0] == tests[1]  # whatever the number of training images
    assert tests[0] != tests[2]  # of another seed
