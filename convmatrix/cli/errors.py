"""How a command fails: with one line on standard error and an exit code."""

from __future__ import annotations

from typing import Final

REFUTED: Final = 3
"""Exit code where a question was answered by no: a symmetry does not hold, a theorem was not proved."""


class CommandError(Exception):
    """A failure that the user can mend; its message is printed as one line."""

    exit_code = 1


class DataError(CommandError):
    """The data are at fault: a file cannot be read or written, a kernel does not fit, a matrix is too large."""


class UsageError(CommandError):
    """The options are at fault: unknown, malformed or contradictory."""

    exit_code = 2
