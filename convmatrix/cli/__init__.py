"""The command ``convmatrix``.

Each subcommand is a module of `COMMANDS` with the texts of its help and two functions: ``add_options(parser)`` declares
its options, and ``run(args)`` executes it and returns the exit status. Modules that are slow to import are imported
inside ``run``.
"""

from __future__ import annotations

import argparse
import copy
import difflib
import re
import signal
import sys
import textwrap
import threading
import traceback
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final, NoReturn

from convmatrix.boundary import BOUNDARIES
from convmatrix.cli import (
    conform,
    count,
    equivariance,
    explore,
    matrix,
    network,
    prove,
    show,
    spectrum,
    tiling,
    train,
    verify,
)
from convmatrix.cli.console import ERROR, YES, CommandError, complain, discard_output, flush_output, say
from convmatrix.cli.layer_options import LAYER_ARGUMENTS
from convmatrix.memory import MatrixTooLargeError
from convmatrix.options import LAYER_OPTIONS, PADDING_WORDS
from convmatrix.progress import quiet
from convmatrix.synonyms import argument_hint

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

COMMANDS: Final = (matrix, show, count, network, tiling, verify, equivariance, prove, conform, train, spectrum, explore)

_INTERRUPTED: Final = 130  # 128 + SIGINT, the convention of shells
_BROKEN_PIPE: Final = 141  # 128 + SIGPIPE

_DESCRIPTION: Final = "Convolution layers as explicit sparse matrices."
_EPILOG: Final = """\
examples:
  convmatrix matrix --kernel '[[1,2],[3,4]]' --input-shape 3x3 -o A.npz
  convmatrix show --kernel '[[1,2],[3,4]]' --input-shape 3x3 --weights
  eval "$(convmatrix --print-completion bash)"

exit status:
  0  success, or the answer to a question is yes
  1  the answer is no: a symmetry is broken, a theorem was not proved
  2  error: invalid options, unreadable files, layers that do not fit
  3  the question was not decided, within the time for example
"""
_EXPLAINS: Final = "convmatrix matrix"  # the only command whose help explains the options of a layer
_FILES: Final = ("FILE", "DATA", "KERNEL")

# Errors of the library mention Python arguments and remedies; replace them by the options of the command.
_RENAMED: Final = {"image_shape": "--image", "tile_shape": "--tile"}
_ARGUMENTS: Final = "|".join(
    ("input_shape", "kernel_shape", "dtype", "rows", "order", "tol", *LAYER_OPTIONS, *_RENAMED)
)
_IN_COMMAND: Final = (
    (r"; give a ConvGeometry\..*", "; give a tile size for each axis, such as --sharing 2x2"),
    (r"; convert it yourself,.*", "; choose another --dtype"),
    (r"pass the geometry and order of this matrix", "give the --order of this matrix"),
    (r"; rename it or give format=", "; rename it"),
    (", or allow_changes=True", ""),
    (r"set (flip|transposed)=True", r"add --\1"),
    (r"\b(?:boundary=|boundary (?='))", "--boundary "),
    (r"\bConvGeometry\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)", "this layer"),
    (r"\bin_channels=(\d+)", r"\1 input channels"),
    (r"\bout_channels=(\d+)", r"\1 output channels"),
    (
        rf"(?<!-)\b({_ARGUMENTS})(?==|\[\d+\]=| has \d+ entries| has shape| must hold)",
        lambda found: _RENAMED.get(found[1], "--" + found[1].replace("_", "-")),
    ),
    (r"(--[a-z-]+)=(?=[\s,;.]|$)", r"\1"),
    (r"^options: ", "--options: "),
    (r"(as in Keras and Flax): numpy\.moveaxis\(.*", r"\1"),
    (r"(?<=--padding=)\((\d+), (\d+)\)", r"\1:\2"),
    (
        r"(shape[= ]|such as |entries \(|--[a-z-]+=)\((\d+(?:, \d+)*),?\)",
        lambda found: found[1] + found[2].replace(", ", "x"),
    ),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; by default those of the process.

    Returns
    -------
    int
        0 for success or yes; 1 if the answer to a question is no; 2 for an error in the options or the data; 3 if the
        question was not decided; 130 if interrupted; 141 if the reader of the output has closed the pipe.

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
        _catch_interrupts()
        try:
            args = _parse(_with_negative_values(sys.argv[1:] if argv is None else argv))
        except SystemExit as request:  # --help, --version and --print-completion have printed their text
            flush_output()
            return request.code if isinstance(request.code, int) else YES
        debug = args.debug
        with quiet() if args.quiet else nullcontext():
            status: int = args.run(args)
        return status
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
        return ERROR


def _catch_interrupts() -> None:
    """Let Ctrl-C raise KeyboardInterrupt; until here, while the package is being imported, it ended the process."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _with_negative_values(argv: Sequence[str]) -> list[str]:
    """Return the arguments with ``--shift -1,0`` as ``--shift=-1,0``; argparse mistakes such values for options."""
    joined: list[str] = []
    for argument in argv:
        if re.match(r"-\d", argument) and joined and re.fullmatch(r"--[a-z-]+", joined[-1]):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


class _Parser(argparse.ArgumentParser):
    """A parser that reports errors on one line."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, "formatter_class": argparse.RawDescriptionHelpFormatter, **options})

    def error(self, message: str) -> NoReturn:
        raise CommandError(f"{message} (see {self.prog} --help)")

    def format_help(self) -> str:
        """Return the help; only ``convmatrix matrix`` explains the options of a layer, others list their names."""
        shown = copy.deepcopy(self)
        named = [a for a in shown._actions if a.dest in LAYER_ARGUMENTS and a.default == argparse.SUPPRESS]
        if not named or self.prog == _EXPLAINS:
            return super().format_help()
        first, *others = (group for group in shown._action_groups if set(group._group_actions) & set(named))
        names = ", ".join(action.option_strings[0] for action in named)
        for action in named:
            action.help = argparse.SUPPRESS
        for group in others:
            group.description = None
        first.title = "layer"
        first.description = textwrap.fill(f"{names}; {_EXPLAINS} --help explains them", 76, break_on_hyphens=False)
        return argparse.ArgumentParser.format_help(shown)

    def _print_message(self, message: str, file: Any = None) -> None:
        say(message.removesuffix("\n"), file)  # argparse ignores that a disk is full


class _PrintCompletion(argparse.Action):
    """Print a shell script that completes commands, options and file names, and exit."""

    def __call__(self, parser: argparse.ArgumentParser, _namespace: Any, values: Any, _option: Any = None) -> NoReturn:
        try:
            import shtab
        except ImportError:
            raise CommandError("--print-completion needs shtab, which is not installed: pip install shtab") from None
        from convmatrix.counts import NETWORKS
        from convmatrix.proofs import theorems

        words = {"boundary": BOUNDARIES, "padding": PADDING_WORDS, "network": tuple(NETWORKS), "names": theorems()}
        (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
        for command in commands.choices.values():
            for action in command._actions:
                action.choices = action.choices or words.get(action.dest)
                name = action.metavar or action.dest.upper()
                if action.nargs != 0 and name in _FILES:
                    action.complete = shtab.FILE
        say(shtab.complete(parser, shell=values))
        raise SystemExit(YES)


def _parser() -> argparse.ArgumentParser:
    import convmatrix

    parser = _Parser(prog="convmatrix", description=_DESCRIPTION, epilog=_EPILOG)
    parser.add_argument("--version", action="version", version=f"convmatrix {convmatrix.__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.add_argument(
        "--print-completion",
        action=_PrintCompletion,
        choices=("bash", "zsh"),
        help="print a script for tab completion (needs the extra completion)",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        texts = {"help": command.HELP, "description": command.DESCRIPTION, "epilog": command.EPILOG}
        subparser = commands.add_parser(_name(command), usage=getattr(command, "USAGE", None), **texts)
        command.add_options(subparser)
        subparser.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error"
        )
        subparser.add_argument("--quiet", action="store_true", help="show no progress on standard error")
        subparser.set_defaults(run=command.run, parser=subparser)
    return parser


def _name(command: ModuleType) -> str:
    return command.__name__.rpartition(".")[2]


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the parsed arguments; errors about unknown commands and options suggest the intended ones."""
    parser = _parser()
    names = list(map(_name, COMMANDS))
    if not argv:
        parser.print_help()
        raise SystemExit(ERROR)
    first = next((argument for argument in argv if argument != "--debug"), "--help")
    if not first.startswith("-") and first not in names:
        close = difflib.get_close_matches(first.lower(), names, n=1)
        raise CommandError(
            f"command {first!r} is unknown; "
            + (f"did you mean {close[0]}?" if close else f"the commands are {', '.join(names)}")
        )
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        _refuse(args.parser, unknown)
    return args


def _refuse(parser: argparse.ArgumentParser, unknown: list[str]) -> NoReturn:
    """Report the first unknown argument and suggest a similar option, if any."""
    word = next((argument for argument in unknown if argument.startswith("--")), "").partition("=")[0]
    known = [name[2:].replace("-", "_") for action in parser._actions for name in action.option_strings]
    hint = argument_hint(word[2:].replace("-", "_"), known) if word else ""
    option = re.search(r"'(\w+)'", hint)
    if option is None:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    written = "--" + option[1].replace("_", "-")
    raise CommandError(f"{word} is unknown{hint.replace(option[0], written)}")


def _message(error: Exception) -> str:
    """Return an error message as one line, in terms of the command's options."""
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename is not None else ""
        text = f"{where}{error.strerror}"
    elif isinstance(error, MemoryError) and not str(error):
        text = "out of memory; ask for an estimate with convmatrix matrix --dry-run"
    else:
        text = str(error) or type(error).__name__
    if isinstance(error, MatrixTooLargeError):
        what, separator, remedy = text.rpartition("; ")
        if separator and "--" not in remedy:
            text = f"{what}; build some of its rows with --rows, or reduce the layer"
    if not isinstance(error, CommandError):
        for pattern, words in _IN_COMMAND:
            text = re.sub(pattern, words, text)
    if not isinstance(error, CommandError | ValueError | TypeError | OSError | MemoryError | ImportError):
        text = f"{type(error).__name__}: {text}; --debug shows where"
    return text
