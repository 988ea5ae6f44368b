"""The command ``convmatrix``.

Each subcommand is a module of `COMMANDS` with two functions: ``add_parser(commands)`` declares it, and ``run(args)``
does the work and returns the exit code. Whatever is slow to import is imported in ``run``.
"""

from __future__ import annotations

import argparse
import re
import sys
import traceback
from typing import TYPE_CHECKING, Any, Final, NoReturn

from convmatrix.cli import count, equivariance, explore, matrix, prove, show, spectrum, train
from convmatrix.cli.errors import CommandError, UsageError
from convmatrix.cli.output import complain, discard_output, flush_output

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS: Final = (matrix, show, count, equivariance, prove, train, spectrum, explore)

_INTERRUPTED: Final = 130  # 128 + SIGINT, as shells report it
_BROKEN_PIPE: Final = 141  # 128 + SIGPIPE, likewise

_DESCRIPTION: Final = "Convolution layers as explicit sparse matrices."
_EPILOG: Final = """\
examples:
  convmatrix matrix --kernel '[[1,2],[3,4]]' --input-shape 3x3 -o A.npz
  convmatrix show --kernel '[[1,2],[3,4]]' --input-shape 3x3 --weights

exit codes: 0 success, 1 the data are at fault, 2 the options are at fault
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; those of the process by default.

    Returns
    -------
    int
        0 success; 1 the data are at fault (a file, a kernel that does not fit, a matrix too large); 2 the options are;
        130 interrupted; 141 whoever read the output went away.

    Examples
    --------
    >>> main(["show", "--kernel", "[1, -1]", "--input-shape", "4", "--color", "never"])
     1 -1  .  .
     .  1 -1  .
     .  .  1 -1
    3 x 4 matrix, 6 entries
    2 weights: w0=1 w1=-1
    . no entry
    0
    """
    debug = False
    try:
        try:
            args = _parser().parse_args(_with_negative_values(sys.argv[1:] if argv is None else argv))
        except SystemExit as request:  # --help and --version, which argparse has printed
            flush_output()
            return request.code if isinstance(request.code, int) else 0
        debug = args.debug
        code: int = args.run(args)
        return code
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        discard_output()
        return _BROKEN_PIPE
    except Exception as error:
        if debug:
            traceback.print_exc()
        discard_output()
        complain(_message(error))
        return error.exit_code if isinstance(error, CommandError) else 1


def _with_negative_values(argv: Sequence[str]) -> list[str]:
    """Return the arguments with ``--shift -1,0`` as ``--shift=-1,0``, for argparse takes such a value for an option."""
    joined: list[str] = []
    for argument in argv:
        if re.match(r"-\d", argument) and joined and re.fullmatch(r"--[a-z-]+", joined[-1]):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints take one line."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, "formatter_class": argparse.RawDescriptionHelpFormatter, **options})

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")


def _parser() -> argparse.ArgumentParser:
    import convmatrix

    parser = _Parser(prog="convmatrix", description=_DESCRIPTION, epilog=_EPILOG)
    parser.add_argument("--version", action="version", version=f"convmatrix {convmatrix.__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        subparser = command.add_parser(commands)
        subparser.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error"
        )
        subparser.set_defaults(run=command.run)
    return parser


def _message(error: Exception) -> str:
    """Return an error as one line."""
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename is not None else ""
        text = f"{where}{error.strerror}"
    elif isinstance(error, MemoryError) and not str(error):
        text = "out of memory; ask for an estimate with --dry-run"
    else:
        text = str(error) or type(error).__name__
    if not isinstance(error, CommandError | ValueError | TypeError | OSError | MemoryError):
        text = f"{type(error).__name__}: {text}; --debug shows where"
    return text
