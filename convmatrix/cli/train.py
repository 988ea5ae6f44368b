"""``convmatrix train``: train a named network on digits, or on images of the user's own."""

from __future__ import annotations

import hashlib
import sys
from argparse import ArgumentTypeError
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from convmatrix.cli import values
from convmatrix.cli.errors import DataError, UsageError
from convmatrix.cli.output import complain, say, say_json

if TYPE_CHECKING:
    import argparse

    from numpy.typing import NDArray

    from convmatrix.cli.train_data import ImageSet
    from convmatrix.nn import History, Optimiser, Sequential

    Array = NDArray[Any]

_USAGE: Final = "convmatrix train NETWORK DATA [options]"
_DESCRIPTION: Final = """\
Train a convolutional network by sparse matrix products, and report how it went.

networks:
  lecun1989  LeCun et al. 1989; images of 16x16; squared error towards 1 and -1
  lenet5     LeCun et al. 1998; images of 32x32
  small      two 3x3 convolutions with max-pooling; images of any size from 4x4

data:
  digits     the 1,797 digits that scikit-learn carries (pip install
             "convmatrix[analyses]"), enlarged to the network's input
  FILE.npz   images (samples, height, width) or (samples, channels, height,
             width), and labels (samples,) from 0 up; nothing is unpickled
"""
_EPILOG: Final = """\
examples:
  convmatrix train small digits --epochs 2 -o weights.npz
  convmatrix train lecun1989 digits --epochs 1 --optimiser sgd --json
  convmatrix train small digits --epochs 2 --checkpoint run.npz
  convmatrix train small digits --epochs 3 --checkpoint run.npz --resume

Saved weights go back into a network of the same name by
network.load_state(dict(numpy.load("weights.npz"))).
"""
_RATES: Final = {"adam": 0.001, "sgd": 0.05}
_MOMENTUM: Final = 0.9


@dataclass(frozen=True)
class _Kind:
    """What a named network takes: image size (None: any) and range; digits fill ``inner``, the rest is background."""

    size: tuple[int, int] | None
    inner: tuple[int, int]
    range: tuple[float, float]


_KINDS: Final = {
    "lecun1989": _Kind((16, 16), (16, 16), (-1.0, 1.0)),
    "lenet5": _Kind((32, 32), (28, 28), (-0.1, 1.175)),  # the paper's digits, too, have a border of background
    "small": _Kind(None, (8, 8), (0.0, 1.0)),
}


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Declare the command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "train", help="train a network", usage=_USAGE, description=_DESCRIPTION, epilog=_EPILOG
    )
    parser.add_argument("network", choices=tuple(_KINDS), metavar="NETWORK", help=", ".join(_KINDS))
    parser.add_argument("data", metavar="DATA", help="digits, or an .npz file")
    data = parser.add_argument_group("data")
    data.add_argument("--images", default="images", metavar="NAME", help="array of the images (default images)")
    data.add_argument("--labels", default="labels", metavar="NAME", help="array of the labels (default labels)")
    data.add_argument("--classes", type=values.count, metavar="N", help="outputs (default: the largest label + 1)")
    data.add_argument("--enlarge", action="store_true", help="enlarge the images of a file to the network's input")
    data.add_argument(
        "--raw", action="store_true", help="leave the numbers of the images as they are, not scaled to the network's"
    )
    data.add_argument(
        "--validation",
        type=_part,
        default=0.2,
        metavar="PART",
        help="part of the images that is held out, in proportion of each class (default 0.2; 0 for none)",
    )
    training = parser.add_argument_group("training")
    training.add_argument("--epochs", type=values.count, default=10, metavar="N", help="in all (default 10)")
    training.add_argument("--batch-size", type=values.count, default=32, metavar="N", help="default 32")
    training.add_argument("--optimiser", choices=tuple(_RATES), default="adam", help="adam (default), sgd")
    training.add_argument(
        "--learning-rate", type=_positive, metavar="RATE", help="default 0.001 for adam, 0.05 for sgd (momentum 0.9)"
    )
    training.add_argument(
        "--schedule", choices=("constant", "cosine"), default="constant", help="of the learning rate (default constant)"
    )
    training.add_argument("--patience", type=values.count, metavar="N", help="stop when N epochs brought nothing")
    training.add_argument("--seed", type=values.seed, default=0, metavar="N", help="of weights, split, order (0)")
    training.add_argument(
        "--method", choices=("unfold", "matrix"), default="unfold", help="how convolutions multiply (default unfold)"
    )
    training.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="default float32")
    output = parser.add_argument_group("output")
    output.add_argument("-o", "--output", metavar="FILE", help="save the trained weights (.npz)")
    output.add_argument(
        "--checkpoint", metavar="FILE", help="write the training's state (.npz) after each epoch and at Ctrl-C"
    )
    output.add_argument("--checkpoint-steps", type=values.count, metavar="N", help="and after every N steps")
    output.add_argument("--resume", action="store_true", help="go on from the checkpoint, if there is one")
    output.add_argument("--json", action="store_true", help="print the report as one JSON object")
    return parser


def run(args: argparse.Namespace) -> int:
    """Train, save, and report."""
    _check_files(args)
    data = _prepared(args)
    from convmatrix import nn

    network = _network(args, data)
    kept, held_out = nn.images.hold_out(data.labels, args.validation, rng=args.seed)
    if args.validation and not len(held_out):
        raise DataError(
            f"--validation {args.validation:g} of {len(data.labels)} images leaves none to validate: give a larger "
            "part, or 0"
        )
    rate = _RATES[args.optimiser] if args.learning_rate is None else args.learning_rate
    optimiser = _optimiser(args, rate, steps=args.epochs * -(-len(kept) // args.batch_size))
    resumed = args.checkpoint is not None and Path(args.checkpoint).exists()
    report = _report(args, data, rate, resumed, network, (len(kept), len(held_out)))
    table = None if args.json else _Table(report)
    try:
        history = nn.fit(
            network,
            data.images[kept],
            data.labels[kept],
            epochs=args.epochs,
            loss=nn.SquaredError() if args.network == "lecun1989" else nn.SoftmaxCrossEntropy(),
            optimiser=optimiser,
            batch_size=args.batch_size,
            validation=(data.images[held_out], data.labels[held_out]) if len(held_out) else None,
            callbacks=[] if table is None else [table.add],
            patience=args.patience,
            checkpoint=args.checkpoint,
            checkpoint_steps=args.checkpoint_steps,
            settings=_settings(args, data, rate),
            rng=args.seed,
        )
    except nn.NonFiniteError as error:
        raise DataError(str(error)) from None
    except KeyboardInterrupt:
        if table is not None:
            table.print_rest()
        if args.checkpoint is not None and Path(args.checkpoint).exists():
            complain(f"{args.checkpoint} holds the training after step {optimiser.steps}: --resume goes on", "stopped")
        else:
            complain(f"nothing is kept of {optimiser.steps} steps: --checkpoint FILE would keep them", "stopped")
        raise
    if args.output is not None:
        _save(Path(args.output), network)
    shown = held_out if len(held_out) else kept
    predicted = nn.predict(network, data.images[shown]).argmax(axis=1)
    if table is None:
        say_json(report | _outcome(history) | {"confusion": _confusion(data.labels[shown], predicted, data.classes)})
        return 0
    table.history = history
    table.print_rest()
    if args.output is not None:
        say(f"saved     {args.output}")
    return 0


def _part(text: str) -> float:
    number = _float(text)
    if not 0 <= number < 1:
        raise ArgumentTypeError(f"{text!r} is no part: write a number from 0 up and below 1, such as 0.2")
    return number


def _positive(text: str) -> float:
    number = _float(text)
    if not 0 < number < float("inf"):
        raise ArgumentTypeError(f"{text!r} is no learning rate: write a positive number, such as 0.001")
    return number


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _check_files(args: argparse.Namespace) -> None:
    """Refuse hopeless options before any work is done."""
    if args.checkpoint is None and (args.resume or args.checkpoint_steps is not None):
        raise UsageError("--resume and --checkpoint-steps need the file: give --checkpoint FILE")
    if args.patience is not None and not args.validation:
        raise UsageError("--patience watches the validation loss: drop it, or give --validation above 0")
    if args.data == "digits" and (args.enlarge or args.classes is not None or args.raw):
        raise UsageError("--classes, --enlarge and --raw are for data of a file: drop them, digits are made to fit")
    named = {"-o": args.output, "--checkpoint": args.checkpoint}
    for option, name in named.items():
        if name is None:
            continue
        path = Path(name)
        if path.suffix.lower() != ".npz":
            raise UsageError(f"{option} {name}: the name must end in .npz")
        if not path.parent.is_dir():
            raise DataError(f"cannot write {name}: there is no folder {path.parent}; make it first")
        if path.is_dir():
            raise DataError(f"cannot write {name}: it is a folder; give the name of a file")
        if path.resolve() == Path(args.data).resolve():
            raise UsageError(f"{option} {name} would overwrite the data: give another name")
    if None not in named.values() and Path(args.output).resolve() == Path(args.checkpoint).resolve():
        raise UsageError(f"-o and --checkpoint both name {args.output}: give two files")
    if args.checkpoint is not None and Path(args.checkpoint).exists() and not args.resume:
        raise DataError(f"{args.checkpoint} exists: --resume goes on from it; for a new training give another name")


def _prepared(args: argparse.Namespace) -> ImageSet:
    """Return the data as the network takes them, numbers still in float64."""
    from dataclasses import replace

    import numpy as np

    from convmatrix.cli.train_data import DIGITS, read_digits, read_images
    from convmatrix.nn.images import enlarge, to_range

    kind = _KINDS[args.network]
    if args.data == DIGITS:
        data = read_digits()
        images = to_range(enlarge(data.images, kind.inner), *kind.range, source=(0, 16))
        border = [(size - inner) // 2 for size, inner in zip(kind.size or kind.inner, kind.inner, strict=True)]
        padding = [(0, 0), (0, 0), *((samples, samples) for samples in border)]
        return replace(data, images=np.pad(images, padding, constant_values=kind.range[0]))
    data = read_images(args.data, args.images, args.labels, args.classes)
    images, size = data.images, kind.size
    if args.enlarge and size is None:
        raise UsageError(f"--enlarge: the network {args.network} takes images of any size: drop it")
    if size is not None:
        if args.enlarge:
            images = enlarge(images, size)
        if images.shape[1:] != (1, *size):
            raise DataError(
                f"{args.data}: {args.images} has images of {_times(images.shape[1:])} (channels, height, width), but "
                f"{args.network} takes {_times((1, *size))}; convert them"
                + ("" if images.shape[1] > 1 else ", give --enlarge for smaller ones")
                + ", or take the network small"
            )
    return replace(data, images=images.astype(np.float64) if args.raw else to_range(images, *kind.range))


def _network(args: argparse.Namespace, data: ImageSet) -> Sequential:
    from convmatrix import nn

    options: dict[str, Any] = {
        "classes": data.classes,
        "method": args.method,
        "dtype": args.dtype,
        "rng": args.seed,
    }
    if args.network == "small":
        return nn.small(data.images.shape[1:], **options)
    made: Sequential = {"lecun1989": nn.lecun1989, "lenet5": nn.lenet5}[args.network](**options)
    return made


def _optimiser(args: argparse.Namespace, rate: float, steps: int) -> Optimiser:
    from convmatrix import nn

    schedule = nn.cosine_decay(rate, steps) if args.schedule == "cosine" else rate
    return nn.Adam(schedule) if args.optimiser == "adam" else nn.SGD(schedule, momentum=_MOMENTUM)


def _settings(args: argparse.Namespace, data: ImageSet, rate: float) -> dict[str, Any]:
    """Return what a resumed training must have in common with the one that it goes on with."""
    digest = hashlib.blake2b(data.images.tobytes() + data.labels.tobytes(), digest_size=16).hexdigest()
    settings = {name: getattr(args, name) for name in ("network", "method", "seed", "validation", "schedule")}
    if args.schedule == "cosine":  # the schedule depends on it
        settings["epochs"] = args.epochs
    return {**settings, "learning rate": rate, "data": digest}


def _save(path: Path, network: Sequential) -> None:
    import numpy as np

    from convmatrix.atomic import atomic_write

    with atomic_write(path) as file:
        np.savez(file, allow_pickle=False, **network.state())


# --- the report -------------------------------------------------------------------------------------------------------


def _report(
    args: argparse.Namespace,
    data: ImageSet,
    rate: float,
    resumed: bool,
    network: Sequential,
    counts: tuple[int, int],
) -> dict[str, Any]:
    """Return what is known before the training."""
    names = ("network", "method", "dtype", "epochs", "batch_size", "optimiser", "schedule", "seed")
    return {
        **{name: getattr(args, name) for name in names},
        "learning_rate": rate,
        "parameters": sum(array.size for array in network.parameters.values()),
        "data": data.name,
        "image_shape": list(data.images.shape[1:]),
        "classes": data.classes,
        "training_images": counts[0],
        "validation_images": counts[1],
        "resumed": resumed,
        "output": args.output,
        "checkpoint": args.checkpoint,
    }


def _outcome(history: History) -> dict[str, Any]:
    return {
        "epochs_done": history.epochs,
        "loss": history.loss,
        "validation_loss": history.validation_loss,
        "accuracy": history.metrics["accuracy"],
    }


def _confusion(labels: Array, predicted: Array, classes: int) -> list[list[int]]:
    """Return how many images of each class (rows) were taken for each class (columns)."""
    import numpy as np

    table = np.zeros((classes, classes), dtype=int)
    np.add.at(table, (labels, predicted), 1)
    counts: list[list[int]] = table.tolist()
    return counts


class _Table:
    """The report in words: a head, and a line an epoch as it ends; under a progress bar, all lines at the end."""

    def __init__(self, report: dict[str, Any]) -> None:
        self.history: History | None = None
        self._measured = "validation" if report["validation_images"] else "training"
        self._printed: int | None = None  # epochs
        held_out = f", {report['validation_images']} to validate" if report["validation_images"] else ""
        self._head = [
            f"network   {report['network']}, {report['parameters']} parameters, {report['dtype']}, {report['method']}",
            f"data      {report['data']}: {report['training_images']} images of {_times(report['image_shape'])}"
            f"{held_out}, {report['classes']} classes",
            f"training  {report['optimiser']}, learning rate {report['learning_rate']:g} ({report['schedule']}), "
            f"batches of {report['batch_size']}, seed {report['seed']}",
            f"epoch  training loss{'  validation loss' if held_out else ''}  {self._measured} accuracy",
        ]

    def add(self, history: History) -> None:
        """Take note of an epoch that ended."""
        self.history = history
        if sys.stderr is None or not sys.stderr.isatty():
            self.print_rest()

    def print_rest(self) -> None:
        """Print what was not printed yet."""
        lines = self._head if self._printed is None else []
        if self.history is not None:
            lines = [
                *lines,
                *(self._line(self.history, epoch) for epoch in range(self._printed or 0, self.history.epochs)),
            ]
        self._printed = 0 if self.history is None else self.history.epochs
        if lines:
            say("\n".join(lines))

    def _line(self, history: History, epoch: int) -> str:
        cells = [f"{epoch + 1:5}", f"{history.loss[epoch]:13.4f}"]
        if history.validation_loss:
            cells.append(f"{history.validation_loss[epoch]:15.4f}")
        accuracy = history.metrics["accuracy"][epoch]
        return "  ".join([*cells, f"{100 * accuracy:{len(self._measured) + 7}.2f} %"])


def _times(shape: Any) -> str:
    return "x".join(map(str, shape))
