"""Files that are whole or not there: a write that fails, or is killed, leaves the old file as it was."""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside ``path`` that takes its place when the block ends without an error.

    What is written has reached the disk before the file gets its name, so that not even a power cut leaves half of it.
    A link is followed, and an existing file keeps its permissions.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    OSError
        If the folder or the file cannot be written, or the path is no regular file. The temporary file is removed.
    """
    target = Path(os.path.realpath(path))
    folder = target.parent
    if not folder.is_dir():
        raise FileNotFoundError(f"cannot save {path}: the folder {folder} does not exist; create it first")
    if target.exists():
        if not target.is_file():
            raise OSError(f"cannot save {path}: it exists and is no regular file; choose another name")
        if not os.access(target, os.W_OK):
            raise PermissionError(f"cannot save {path}: the file is write-protected; choose another name")
    temporary = folder / f".convmatrix-{secrets.token_hex(8)}.tmp"
    try:
        file = temporary.open("x+b")
    except OSError as error:
        raise OSError(error.errno, f"cannot save {path}: the folder cannot be written: {error.strerror}") from error
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, temporary)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    """Make the new name itself last, where the system can open a folder."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
