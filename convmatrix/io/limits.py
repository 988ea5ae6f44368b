"""What a file may ask for: its declared sizes are held against the file and the memory before anything is allocated."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from typing import Final

from convmatrix.memory import MatrixTooLargeError, available_memory, in_words

PIECE: Final = 2**18  # bytes that are read at a time
LARGEST_DEFLATE_RATIO: Final = 1032  # a code of two bits stands for at most 258 bytes
LARGEST_TEXT: Final = 2**24  # bytes of JSON; a connection table of 2000 x 2000 channels takes 12 MB
_BYTES_PARSED: Final = 32  # at most, for a byte of JSON


class FileFormatError(ValueError):
    """A file is damaged, forged or of another kind: what it says disagrees with what it holds."""


class BoundedReader(io.BufferedReader):
    """A file of which no more than a piece is read at a time, whatever size its contents declare for themselves."""

    @property
    def n_bytes(self) -> int:
        """The size of the file."""
        return os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        """Read ``size`` bytes; without it, the rest of the file."""
        if size is None or size < 0:
            size = self.n_bytes - self.tell()
        if size > PIECE:
            raise FileFormatError(f"it declares a part of {size} bytes, but at most {PIECE} are read at a time")
        return super().read(size)


@dataclass(frozen=True)
class ReadLimit:
    """The bytes that loading may take, and who says so."""

    n_bytes: int
    source: str

    @classmethod
    def of(cls, max_bytes: int | None) -> ReadLimit:
        """Return the smaller of the available memory and the caller's own limit."""
        available = available_memory()
        if max_bytes is not None and max_bytes < available:
            return cls(max_bytes, "are allowed (max_bytes)")
        return cls(available, "of memory are available")

    def require(self, n_bytes: int, what: str) -> None:
        """Raise `MatrixTooLargeError` if ``n_bytes`` exceed the limit.

        Examples
        --------
        >>> ReadLimit.of(1000).require(2001, "the matrix (10 x 10)")
        Traceback (most recent call last):
        convmatrix.memory.MatrixTooLargeError: the matrix (10 x 10) needs 2 kB (2001 bytes) to load, but 1 kB ...
        """
        if n_bytes > self.n_bytes:
            raise MatrixTooLargeError(
                f"{what} needs {in_words(n_bytes)} ({n_bytes} bytes) to load, "
                f"but {in_words(self.n_bytes)} ({self.n_bytes} bytes) {self.source}"
            )

    def require_text(self, n_bytes: int, what: str) -> None:
        """Raise if a JSON text is longer than any geometry, or could not be parsed within the limit."""
        if n_bytes > LARGEST_TEXT:
            raise FileFormatError(f"{what} declares {n_bytes} bytes, but a geometry has at most {LARGEST_TEXT}")
        self.require(_BYTES_PARSED * n_bytes, what)


def check_expansion(what: str, expanded: int, compressed: int) -> None:
    """Raise if so many bytes cannot come from so few."""
    if expanded > LARGEST_DEFLATE_RATIO * compressed:
        raise FileFormatError(
            f"{what} declares {expanded} bytes, but its {compressed} compressed bytes can hold at most "
            f"{LARGEST_DEFLATE_RATIO * compressed}; the file is damaged or forged"
        )
