"""Data of ``convmatrix train``: scikit-learn's digits, or images and labels in an .npz file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from convmatrix.cli.console import CommandError, first_line
from convmatrix.io.file_checks import BoundedReader, FileFormatError
from convmatrix.io.npz import NumpyArchive
from convmatrix.memory import available_memory, in_words

if TYPE_CHECKING:
    from convmatrix.arrays import Array

DIGITS: Final = "digits"


@dataclass(frozen=True)
class ImageSet:
    """Images (samples, channels, height, width) and labels (samples,), checked."""

    name: str
    images: Array
    labels: Array
    classes: int


def read_digits() -> ImageSet:
    """Return the 1,797 digit images of 8x8 pixels included in scikit-learn."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise CommandError(
            "digits needs scikit-learn, which is missing: pip install scikit-learn, or give an .npz file"
        ) from None
    digits = load_digits()
    return ImageSet(DIGITS, np.asarray(digits.images)[:, None], np.asarray(digits.target), 10)


def read_images(path: str, images: str, labels: str, classes: int | None) -> ImageSet:
    """Return the validated images and labels of an .npz file; nothing is unpickled."""
    if Path(path).suffix.lower() != ".npz":
        raise CommandError(
            f"cannot read {path}: give {DIGITS}, or an .npz file, as written by numpy.savez, with arrays {images} and "
            f"{labels}"
        )
    try:
        with Path(path).open("rb", buffering=0) as raw, BoundedReader(raw) as file:
            archive = NumpyArchive(file)
            x, y = (_read_array(path, archive, name) for name in (images, labels))
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror or error}") from None
    except FileFormatError as error:
        raise CommandError(f"cannot read {path}: {first_line(error)}") from None
    if x.ndim == 3:
        x = x[:, None]
    if x.ndim != 4 or not x.size:
        raise CommandError(
            f"{path}: {images} has shape {x.shape}, but must have shape (samples, height, width) or "
            "(samples, channels, height, width), with at least one sample"
        )
    if not np.isfinite(x).all():
        bad = int(np.flatnonzero(~np.isfinite(x).reshape(len(x), -1).all(axis=1))[0])
        raise CommandError(f"{path}: {images} holds values that are not finite, first in image {bad}; clean the data")
    return ImageSet(path, x, y, _count_classes(path, x, y, labels, classes))


def _count_classes(path: str, x: Array, y: Array, labels: str, classes: int | None) -> int:
    if y.shape != (len(x),):
        raise CommandError(
            f"{path}: there are {len(x)} images, but {labels} has shape {y.shape}; give one label per image"
        )
    if y.dtype.kind not in "iu":
        raise CommandError(f"{path}: {labels} has dtype {y.dtype}, but labels must be integers; convert them")
    least, most = int(y.min()), int(y.max())
    if least < 0:
        raise CommandError(f"{path}: {labels} range from {least} to {most}, but must start at 0; renumber the classes")
    if classes is None and most >= max(len(x), 2):
        raise CommandError(
            f"{path}: {labels} range up to {most}, which makes {most + 1} classes, but there are {len(x)} images; "
            "number the classes from 0 without gaps, or give --classes"
        )
    if classes is not None and most >= classes:
        raise CommandError(
            f"{path}: {labels} range up to {most}, but --classes {classes} allows 0 to {classes - 1}; give {most + 1}"
        )
    found = most + 1 if classes is None else classes
    if found < 2:
        raise CommandError(
            f"{path}: all {labels} are 0, but at least two classes are needed; give --classes 2, or more data"
        )
    return found


def _read_array(path: str, archive: NumpyArchive, name: str) -> Array:
    """Return an array of real numbers."""
    if f"{name}.npy" not in archive:
        found = ", ".join(sorted(n.removesuffix(".npy") for n in archive))[:200]
        raise CommandError(
            f"{path}: there is no array {name}; it has {found or 'none'}: give the names with --images and --labels"
        )
    header = archive.header(f"{name}.npy")
    if header.dtype.kind not in "fiu":
        raise CommandError(f"{path}: {name} has dtype {header.dtype}, but must hold real numbers; convert it")
    if 2 * header.n_bytes > available_memory():
        raise CommandError(
            f"{path}: {name} needs {in_words(2 * header.n_bytes)}, but {in_words(available_memory())} of memory is "
            "available; give fewer images"
        )
    return archive.array(header)
