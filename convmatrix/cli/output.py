"""What commands write: results on standard output, all else on standard error."""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

from convmatrix.cli.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator


def say(text: str, file: TextIO | None = None) -> None:
    """Print a text, with escapes for characters that the output's encoding lacks."""
    file = sys.stdout if file is None else file
    encoding = getattr(file, "encoding", None) or "utf-8"
    with writing_output():
        print(text.encode(encoding, "backslashreplace").decode(encoding), file=file, flush=True)


def say_json(value: dict[str, Any]) -> None:
    """Print one JSON object on one line."""
    say(json.dumps(value))


def complain(message: str, kind: str = "error") -> None:
    """Print one line on standard error, if there is one."""
    if sys.stderr is not None:
        with suppress(OSError):
            print(f"convmatrix: {kind}: {' '.join(message.split())}", file=sys.stderr)


def binary_output() -> BinaryIO:
    """Return standard output as a stream of bytes, unless it is a terminal."""
    if sys.stdout is None:
        raise DataError("cannot write to standard output: it is closed")
    if sys.stdout.isatty():
        raise UsageError("-o - writes bytes, and standard output is a terminal: redirect it, or give -o FILE")
    return sys.stdout.buffer


@contextmanager
def writing_output() -> Iterator[None]:
    """Name standard output as what could not be written; a reader that went away stays a BrokenPipeError."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise DataError(f"cannot write to standard output: {error.strerror or error}") from None


def flush_output() -> None:
    """Write what is still buffered."""
    if sys.stdout is not None:
        with writing_output():
            sys.stdout.flush()


def discard_output() -> None:
    """Send what cannot be written to nowhere, or Python complains about it when it ends."""
    try:
        flush_output()
    except (BrokenPipeError, DataError):
        with suppress(OSError), Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
