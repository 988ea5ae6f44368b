"""Load files that are damaged at random or forged with valid checksums, of every format and of checkpoints.

    python -m tests.forged_files --count 1500

Saved matrices are flipped, cut, spliced with another file, overwritten, extended, or rewritten with forged sizes and
valid checksums. They are loaded in a process of their own with little memory and time: a crash, a hang, an unclear
error or, in a file with a checksum, a matrix or a geometry that nobody saved is a fault. A third of the files are
checkpoints, forged as in `tests.forged_checkpoints`.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
import tempfile
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np

from tests import forged_checkpoints
from tests.hostile_files import GEOMETRY, MATRIX, digest, load_all, saved

SUFFIXES = ("npz", "mtx", "mat")
_BATCH = 250  # files that one process loads


def forged(suffix: str, rng: np.random.Generator) -> tuple[str, bytes]:
    """Return the kind of an attack on a good file, and its result."""
    good = saved(suffix)
    content, place = bytearray(good), int(rng.integers(len(good)))
    kind = str(rng.choice(["flip", "overwrite", "cut", "splice", "append", "repeat", "forge"]))
    if kind == "flip":
        for _ in range(int(rng.integers(1, 4))):
            content[int(rng.integers(len(good)))] ^= 1 << int(rng.integers(8))
    elif kind == "overwrite":
        content[place : place + 4] = rng.bytes(4)
    elif kind == "cut":
        del content[place:]
    elif kind == "splice":  # the start of this file and the end of one of another format
        other = saved(str(rng.choice(SUFFIXES)))
        content[place:] = other[int(rng.integers(len(other))) :]
    elif kind == "append":
        content += good if rng.integers(2) else rng.bytes(int(rng.integers(1, 99)))
    elif kind == "repeat":
        content[place:place] = good[place : place + int(rng.integers(1, 200))]
    else:
        content = bytearray(_forged_header(suffix, good, rng))
    return kind, bytes(content)


def _forged_header(suffix: str, good: bytes, rng: np.random.Generator) -> bytes:
    """Return a file in which one number is replaced; archives get valid checksums of their members."""
    numbers = [b"0", b"-1", b"7", b"2147483648", b"99999999999", b"9223372036854775807", b"1e9"]
    number = numbers[int(rng.integers(len(numbers)))]

    def replaced(text: bytes) -> bytes:
        found = list(re.finditer(rb"\d+", text[:2000]))
        if not found:
            return text
        chosen = found[int(rng.integers(len(found)))]
        return text[: chosen.start()] + number + text[chosen.end() :]

    if suffix == "mtx":
        return replaced(good)
    if suffix == "mat":  # sizes are binary: 32-bit words
        content = bytearray(good)
        place = 128 + 4 * int(rng.integers((len(good) - 132) // 4))
        content[place : place + 4] = int(rng.choice([0, 1, 2**16, 2**31 - 1])).to_bytes(4, "little")
        return bytes(content)
    source, target = zipfile.ZipFile(io.BytesIO(good)), io.BytesIO()
    names = source.namelist()
    victim = names[int(rng.integers(len(names)))]
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            member = source.read(name)
            if name == victim and rng.integers(2):
                member = replaced(member)
            elif name == victim:
                places = bytearray(member)
                places[int(rng.integers(len(places)))] = int(rng.integers(256))
                member = bytes(places)
            archive.writestr(name, member)
    return target.getvalue()


def attack(count: int, seed: int, folder: Path) -> Counter[str]:
    """Load so many forged files, and return how many were refused and how many harmless; raise at the first fault."""
    rng = np.random.default_rng(seed)
    result: Counter[str] = Counter()
    for start in range(0, count, _BATCH):
        files: dict[str, bytes] = {}
        for number in range(start, min(start + _BATCH, count)):
            suffix = SUFFIXES[number % 3]
            kind, content = forged(suffix, rng)
            files[f"{number} {kind}.{suffix}"] = content
        for name, found in load_all(folder / str(start), files).items():
            kind, suffix = name.split()[1].split(".")
            if "matrix" not in found:
                clear = found["value_error"] and name in found["message"] and len(found["message"]) < 2000
                if not clear:
                    raise AssertionError(f"seed {seed}: {name} gives an unclear error: {found}")
                result[f"{suffix} refused"] += 1
                continue
            # Whoever recomputes the checksums of an archive's members may save another matrix.
            checked = not (kind == "forge" and suffix == "npz")
            same = found["matrix"] == digest(MATRIX) and found["geometry"] == repr(GEOMETRY)
            if checked and not same and not _lost_its_checksum(files[name], suffix):
                raise AssertionError(f"seed {seed}: {name} gives another matrix or geometry without an error")
            result[f"{suffix} {'unchanged' if same else 'another valid matrix'}"] += 1
    return result


def _lost_its_checksum(content: bytes, suffix: str) -> bool:
    """Return whether the text that holds the checksum was damaged, which makes a file like those of other programs."""
    good = saved(suffix)
    if suffix == "npz":
        return b"geometry.json" not in content
    name = b"checksum"
    return content.count(name) < good.count(name) or (suffix == "mtx" and not _note_is_whole(content, good))


def _note_is_whole(content: bytes, good: bytes) -> bool:
    marked = [line for line in good.splitlines() if line.startswith(b"%")]
    return all(line in content.splitlines() for line in marked)


def main(arguments: list[str] | None = None) -> int:
    """Run the attacks, and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    checkpoints = args.count // 3
    with tempfile.TemporaryDirectory() as folder:
        result = attack(args.count - checkpoints, args.seed, Path(folder))
        of_checkpoints = forged_checkpoints.attack(checkpoints, args.seed, Path(folder))
    for name, number in sorted(result.items()):
        print(f"{number:6} {name}")
    for name, number in sorted(of_checkpoints.items()):
        print(f"{number:6} checkpoints {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
