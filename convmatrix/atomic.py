"""Atomic writes: a file is either complete or absent, even if the process is killed while writing it."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

TEMPORARY: Final = ".convmatrix-*.tmp"
"""Pattern of the names of temporary files; a kill while a file is written leaves one behind."""


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a temporary file next to ``path`` that replaces it when the block ends without an error.

    The contents are flushed to disk before the file is renamed, so that not even a power failure leaves a partial file.
    Symbolic links are followed, and an existing file keeps its permissions.

    Parameters
    ----------
    path : str or path
        The file to write.

    Yields
    ------
    binary file
        Open for writing.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    OSError
        If the folder or the file cannot be written, or ``path`` is not a regular file. The temporary file is removed.
    """
    target, temporary, file = _begin(path)
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, temporary)
        temporary.replace(target)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in _NO_ROOM and error.filename is None:
            raise OSError(error.errno, f"cannot save {path}: {error.strerror}; the file is unchanged") from error
        raise
    with suppress(OSError):  # make the new name durable as well, where the system can open a folder
        descriptor = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def require_writable(path: str | os.PathLike[str]) -> None:
    """Raise the error with which `atomic_write` would fail to open a file, before anything is computed for it."""
    _, temporary, file = _begin(path)
    file.close()
    temporary.unlink()


def _begin(path: str | os.PathLike[str]) -> tuple[Path, Path, BinaryIO]:
    """Return the file that a path names, and a new temporary file next to it with its name."""
    target = Path(os.path.realpath(path))
    folder = target.parent
    if target.is_symlink():  # which cannot be followed
        raise OSError(errno.ELOOP, f"cannot save {path}: {os.strerror(errno.ELOOP)}")
    if not folder.is_dir():
        raise FileNotFoundError(f"cannot save {path}: the folder {folder} does not exist; create it first")
    if target.exists():
        if not target.is_file():
            raise OSError(f"cannot save {path}: it exists and is not a regular file; choose another name")
        if not os.access(target, os.W_OK):
            raise PermissionError(f"cannot save {path}: the file is write-protected; choose another name")
    temporary = folder / TEMPORARY.replace("*", secrets.token_hex(8))
    try:
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o666
        # Never readable by more people than the file itself: the mode is limited from the start.
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode & 0o777)
        return target, temporary, os.fdopen(descriptor, "w+b")
    except OSError as error:
        raise OSError(error.errno, f"cannot save {path}: the folder is not writable: {error.strerror}") from error
