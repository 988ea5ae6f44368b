"""Atomic writes: a file or folder is either complete or absent, even if the process is killed while writing it."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import os
import secrets
import shutil
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CAN_LOCK: Final = importlib.util.find_spec("fcntl") is not None  # not on Windows, where open files are not renamed
if _CAN_LOCK:
    import fcntl

_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

TEMPORARY: Final = ".convmatrix-*.tmp"
"""Pattern of the names of temporary files; a process killed while writing leaves one, which the next write removes."""

_ATTEMPTS: Final = 9


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a temporary file next to ``path`` that replaces it when the block ends without an error.

    The contents are flushed to disk before the file is renamed, so that not even a power failure leaves a partial file.
    Symbolic links are followed, and an existing file keeps its permissions.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    OSError
        If the folder or the file cannot be written, or ``path`` is not a regular file. The temporary file is removed.
    """
    target, temporary, file = _begin(path)
    try:
        yield file
        file.flush()
        os.fsync(file.fileno())
        if not _CAN_LOCK:
            file.close()
        if target.exists():
            shutil.copymode(target, temporary)
        temporary.replace(target)
    except BaseException as error:
        _discard(temporary, file)
        if isinstance(error, OSError) and error.errno in _NO_ROOM and error.filename is None:
            raise OSError(error.errno, f"cannot save {path}: {error.strerror}; the file is unchanged") from error
        raise
    file.close()  # and unlock it, which must not happen before it has been renamed
    with suppress(OSError):  # make the new name durable as well, where the system can open a folder
        descriptor = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def require_writable(path: str | os.PathLike[str]) -> None:
    """Raise the error with which `atomic_write` would fail to open a file, before anything is computed for it."""
    _, temporary, file = _begin(path)
    _discard(temporary, file)


@contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder next to ``path`` that gets its name when the block ends without an error.

    Raises
    ------
    FileExistsError
        If ``path`` exists, unless it is an empty folder.
    FileNotFoundError
        If the folder above it does not exist.
    OSError
        If the folder above it cannot be written. The temporary folder is removed.
    """
    target = Path(os.path.realpath(path))
    _require_new(path, target)

    def create(folder: Path) -> int:
        folder.mkdir()
        return os.open(folder if _CAN_LOCK else os.devnull, os.O_RDONLY)

    try:
        temporary, descriptor = _claim(target, create)
    except OSError as error:
        raise OSError(error.errno, f"cannot create {path}: {error.strerror}") from error
    try:
        yield temporary
        _require_new(path, target)
        if target.exists():
            target.rmdir()
        temporary.rename(target)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            raise OSError(error.errno, f"cannot create {path}: {error.strerror}") from error
        raise
    finally:
        os.close(descriptor)


def _require_new(path: str | os.PathLike[str], target: Path) -> None:
    if not target.parent.is_dir():
        raise FileNotFoundError(f"cannot create {path}: the folder {Path(path).parent} does not exist; create it first")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise FileExistsError(f"cannot create {path}: it exists and is not empty; give the name of a new folder")


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of processes that were killed, but not of those that still write."""
    for path in folder.glob(TEMPORARY):
        _remove_leftover(path)


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
    try:
        # Never readable by more people than the file itself: the mode is limited from the start.
        mode = stat.S_IMODE(target.stat().st_mode) & 0o777 if target.exists() else 0o666
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        temporary, descriptor = _claim(target, lambda path: os.open(path, flags, mode))
        return target, temporary, os.fdopen(descriptor, "w+b")
    except OSError as error:
        raise OSError(error.errno, f"cannot save {path}: the folder is not writable: {error.strerror}") from error


def _claim(target: Path, create: Callable[[Path], int]) -> tuple[Path, int]:
    """Create something temporary for a target; return its path, and its descriptor, which is locked.

    The name is determined by that of the target, so that a later write finds what a killed one has left. A second
    writer of the same target takes a name of its own.
    """
    own = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]
    if _CAN_LOCK:  # elsewhere a file that has been closed, and is about to be renamed, looks like a leftover
        _remove_leftover(_temporary(target, own))
    for word in (own, *(secrets.token_hex(8) for _ in range(_ATTEMPTS))):
        path = _temporary(target, word)
        with suppress(FileExistsError):
            descriptor = create(path)
            if _lock(descriptor, path):
                return path, descriptor
            os.close(descriptor)
    raise OSError(errno.EAGAIN, f"others removed {_ATTEMPTS} temporary files")


def _temporary(target: Path, word: str) -> Path:
    return target.parent / TEMPORARY.replace("*", word)


def _lock(descriptor: int, path: Path) -> bool:
    """Lock an open file; return False if another process has locked or removed it."""
    if not _CAN_LOCK:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except (BlockingIOError, FileNotFoundError):
        return False
    except OSError:  # a file system without locks
        return True


def _remove_leftover(path: Path) -> None:
    """Remove the files left by killed processes; files of running processes are locked, or cannot be removed."""
    with suppress(OSError):
        if not _CAN_LOCK:
            path.unlink()
            return
        is_folder = stat.S_ISDIR(path.lstat().st_mode)
        descriptor = os.open(path, os.O_NOFOLLOW | os.O_NONBLOCK | (os.O_RDONLY if is_folder else os.O_RDWR))
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), path.lstat()):
                if is_folder:
                    shutil.rmtree(path)
                else:
                    path.unlink()
        finally:
            os.close(descriptor)


def _discard(temporary: Path, file: BinaryIO) -> None:
    """Remove a temporary file, before it is unlocked if possible."""
    with suppress(OSError):  # a full disk, again
        if not _CAN_LOCK:
            file.close()
    temporary.unlink(missing_ok=True)
    with suppress(OSError):
        file.close()
