"""Forge checkpoints with valid checksums, and see that each is refused by one kind of error that changes nothing.

    python -m tests.forged_checkpoints --count 300

Each forgery changes one value of the JSON contents, or one array, of a checkpoint of a real training: it is removed,
replaced by a value of another type, shape, dtype or size, made negative or infinite, nested deeply, or declared larger
than it is. Some changes are valid, such as another weight; the unchanged checkpoint must be accepted.
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from convmatrix import nn
from convmatrix.progress import track
from tests.test_nn_training import bits, stripes, tiny

Members = dict[str, Any]


def original(folder: Path) -> tuple[Members, dict[str, Any]]:
    """Return the arrays and the JSON contents of a checkpoint."""
    path = folder / "original.npz"
    train(tiny(), path, 1)
    with np.load(path) as archive:
        members = dict(archive.items())
    return members, json.loads(str(members["contents"]))


def train(network: nn.Sequential, path: Path, epochs: int) -> nn.History:
    """Train with an optimiser that remembers and generators that draw."""
    return nn.fit(network, *stripes(), epochs=epochs, batch_size=16, optimiser=nn.Adam(0.01), checkpoint=path)


def places(values: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value inside nested dictionaries and lists."""
    found = [path] if path else []
    entries = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, value in entries:
        found += places(value, (*path, key))
    return found


def replaced(contents: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """Return contents with one value replaced; it is removed if the value is `...`."""
    result = copy.deepcopy(contents)
    inner: Any = result
    for key in path[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return result


VALUES: tuple[Any, ...] = (..., None, -1, 10**30, float("inf"), "x", [], {}, True, [[[]]], {"bit_generator": "PCG64"})
ARRAYS: tuple[Callable[[Any], Any], ...] = (
    lambda a: None,
    lambda a: a[..., None],
    lambda a: a.ravel()[:0],
    lambda a: a.astype("S8"),
    lambda a: a.astype(complex),
    lambda a: a.astype(np.int8),
    lambda a: np.full(a.shape, np.nan),
    lambda a: np.full_like(a, -1),
    lambda a: a.astype(bool),
    lambda a: np.zeros(3 * a.size + 1, dtype=a.dtype),
)


def forged(members: Members, contents: dict[str, Any], rng: np.random.Generator) -> tuple[str, bytes]:
    """Return a description and the bytes of a forged file."""
    members, text = dict(members), None
    kind = rng.integers(4)
    if kind == 0:
        all_places = places(contents)
        path = all_places[rng.integers(len(all_places))]
        value = VALUES[rng.integers(len(VALUES))]
        text = json.dumps(replaced(contents, path, value))
        what = f"{'.'.join(map(str, path))} = {value!r}"
    elif kind == 1:
        what = ["deep", "no dictionary", "empty", "not JSON"][rng.integers(4)]
        text = {"deep": "[" * 100_000, "no dictionary": "[1, 2]", "empty": "{}", "not JSON": "{"}[what]
    elif kind == 2:
        name = sorted(members)[rng.integers(len(members))]
        number = int(rng.integers(len(ARRAYS)))
        what = f"{name}, change {number}"
        try:
            members[name] = ARRAYS[number](members[name])
        except (ValueError, TypeError):
            members[name] = None
        if members[name] is None:
            del members[name]
    else:
        what = "a member that declares 10**15 entries"
    if text is not None:
        members["contents"] = np.array(text)
    file = io.BytesIO()
    np.savez(file, **members)
    if kind == 3:
        header = (
            b"\x93NUMPY\x01\x00v\x00"
            + b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000,), }".ljust(117)
        )
        with zipfile.ZipFile(file, "a") as archive:
            archive.writestr("array/other.npy", header + b"\n")
    return what, file.getvalue()


def attack(count: int, seed: int, folder: Path) -> Counter[str]:
    """Return how many forgeries were refused and accepted; raise AssertionError at the first that does harm."""
    members, contents = original(folder)
    rng = np.random.default_rng(seed)
    tally: Counter[str] = Counter()
    np.savez(folder / "unchanged.npz", **members)
    train(tiny(), folder / "unchanged.npz", 2)
    for trial in track(range(count), "trials"):
        what, content = forged(members, contents, rng)
        path = folder / f"{trial}.npz"
        path.write_bytes(content)
        network = tiny(seed=3)
        before = bits(network)
        try:
            train(network, path, 2)
        except ValueError as error:
            if path.name not in str(error) or bits(network) != before or path.read_bytes() != content:
                raise AssertionError(f"trial {trial} ({what}): {error}: names no file or changed something") from error
            tally["refused"] += 1
        except nn.NonFiniteError:  # another weight, with which the training does not end well, as it may
            tally["accepted"] += 1
        except Exception as error:
            raise AssertionError(f"trial {trial} ({what}): {type(error).__name__}: {error}") from error
        else:
            tally["accepted"] += 1
        path.unlink()
    return tally


def main(arguments: list[str] | None = None) -> int:
    """Run the attack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        tally = attack(options.count, options.seed, Path(folder))
    print(
        f"{options.count} forgeries: {tally['refused']} refused, {tally['accepted']} accepted as valid; none did harm"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
