"""``convmatrix train``: train a named network on digits, or on images in a file."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from convmatrix.atomic import atomic_write
from convmatrix.cli.console import CommandError, check_output, complain, count, number_type, say, say_json, seed
from convmatrix.display.tables import by_x

if TYPE_CHECKING:
    import argparse

    import numpy as np
    from numpy.typing import NDArray

    from convmatrix.cli.train_data import ImageSet
    from convmatrix.nn import History, Optimiser, Sequential
    from convmatrix.nn.training import Run

    Indices = NDArray[np.intp]

HELP: Final = "train a network"
USAGE: Final = "convmatrix train NETWORK DATA [options]"
DESCRIPTION: Final = """\
Train a convolutional network by sparse matrix products, and report the results.

networks:
  lecun1989  LeCun et al. 1989; images of 16x16; squared error towards 1 and -1
  lenet5     LeCun et al. 1998; images of 32x32
  small      two 3x3 convolutions with max-pooling; images of any size from 4x4

data:
  digits     the 1,797 digits included in scikit-learn (pip install
             "convmatrix[analyses]"), enlarged to the network's input
  FILE.npz   images (samples, height, width) or (samples, channels, height,
             width), and labels (samples,) from 0 up; nothing is unpickled
"""
EPILOG: Final = """\
examples:
  convmatrix train small digits --epochs 2 -o weights.npz
  convmatrix train lecun1989 digits --epochs 1 --optimiser sgd --json
  convmatrix train small digits --epochs 2 --checkpoint run.npz
  convmatrix train small digits --epochs 3 --checkpoint run.npz --resume

To load saved weights into a network of the same name:
network.load_state(dict(numpy.load("weights.npz"))).
"""
_FRACTION: Final = number_type(
    "fraction", lambda number: 0 <= number < 1, "give a number of at least 0 and below 1, such as 0.2"
)
_RATE: Final = number_type(
    "learning rate", lambda number: 0 < number < float("inf"), "write a positive number, such as 0.001"
)
_RATES: Final = {"adam": 0.001, "sgd": 0.05}
_MOMENTUM: Final = 0.9


@dataclass(frozen=True)
class _Input:
    """The input of a named network: image size (None: any), size of the digits within it, and range of values."""

    size: tuple[int, int] | None
    digits: tuple[int, int]
    range: tuple[float, float]


_INPUTS: Final = {
    "lecun1989": _Input((16, 16), (16, 16), (-1.0, 1.0)),
    "lenet5": _Input((32, 32), (28, 28), (-0.1, 1.175)),  # as in the paper, with a border of background
    "small": _Input(None, (8, 8), (0.0, 1.0)),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument("network", choices=tuple(_INPUTS), metavar="NETWORK", help=", ".join(_INPUTS))
    parser.add_argument("data", metavar="DATA", help="digits, or an .npz file")
    add = parser.add_argument_group("data").add_argument
    add("--images", default="images", metavar="NAME", help="name of the array of images (default images)")
    add("--labels", default="labels", metavar="NAME", help="name of the array of labels (default labels)")
    add("--classes", type=count, metavar="N", help="number of outputs (default: the largest label + 1)")
    add("--enlarge", action="store_true", help="enlarge the images of a file to the network's input")
    add("--raw", action="store_true", help="do not rescale the values of the images to the network's range")
    add(
        "--validation",
        type=_FRACTION,
        default=0.2,
        metavar="FRACTION",
        help="fraction of the images to hold out, in the same proportion of each class (default 0.2; 0 for none)",
    )
    add = parser.add_argument_group("training").add_argument
    add("--epochs", type=count, default=10, metavar="N", help="total number of epochs (default 10)")
    add("--batch-size", type=count, default=32, metavar="N", help="default 32")
    add("--optimiser", choices=tuple(_RATES), default="adam", help="adam (default), sgd")
    add("--learning-rate", type=_RATE, metavar="RATE", help="default 0.001 for adam, 0.05 for sgd (momentum 0.9)")
    add("--schedule", choices=("constant", "cosine"), default="constant", help="learning rate schedule")
    add("--patience", type=count, metavar="N", help="stop after N epochs without improvement")
    add("--seed", type=seed, default=0, metavar="N", help="seed of weights, split and sample order (default 0)")
    add("--method", choices=("unfold", "matrix"), default="unfold", help="how convolutions multiply (default unfold)")
    add("--dtype", choices=("float32", "float64"), default="float32", help="default float32")
    add = parser.add_argument_group("output").add_argument
    add("-o", "--output", metavar="FILE", help="save the trained weights (.npz)")
    add("--checkpoint", metavar="FILE", help="save the state of the training run (.npz) after each epoch and on Ctrl-C")
    add("--checkpoint-steps", type=count, metavar="N", help="also save it after every N steps")
    add("--resume", action="store_true", help="continue from the checkpoint if it exists")
    add("--json", action="store_true", help="print the report as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Train, save, and report; return the exit status."""
    _check_files(args)
    data = _prepared(args)
    import numpy as np

    from convmatrix import nn
    from convmatrix.nn.training import Run

    network = _network(args, data)
    kept, held_out = _split(args, data)
    rate = _RATES[args.optimiser] if args.learning_rate is None else args.learning_rate
    optimiser = _optimiser(args, rate, steps=args.epochs * -(-len(kept) // args.batch_size))
    report = _report(args, data, rate, network, (len(kept), len(held_out)))
    loss = nn.SquaredError() if args.network == "lecun1989" else nn.SoftmaxCrossEntropy()
    training = data.images[kept], data.labels[kept]
    settings = _settings(args, data, rate)
    table = None
    if not args.json:
        resumed = []
        if report["resumed"]:
            rng = np.random.default_rng(args.seed)
            run = Run(network, optimiser, loss, *training, args.batch_size, rng, settings)
            resumed = _resumed(run, Path(args.checkpoint), args.epochs)
        table = _Table(report, resumed, quiet=args.quiet)
    try:
        history = nn.fit(
            network,
            *training,
            epochs=args.epochs,
            loss=loss,
            optimiser=optimiser,
            batch_size=args.batch_size,
            validation=(data.images[held_out], data.labels[held_out]) if len(held_out) else None,
            callbacks=[] if table is None else [table.add],
            patience=args.patience,
            checkpoint=args.checkpoint,
            checkpoint_steps=args.checkpoint_steps,
            settings=settings,
            rng=args.seed,
        )
    except nn.NonFiniteError as error:
        raise CommandError(str(error)) from None
    except KeyboardInterrupt:
        if table is not None:
            table.print_rest()
        _complain_of_stop(args.checkpoint, optimiser.steps)
        raise
    if args.output is not None:
        with atomic_write(Path(args.output)) as file:
            np.savez(file, allow_pickle=False, **network.state())
    if table is None:
        shown = held_out if len(held_out) else kept
        say_json(report | _outcome(network, history, data, shown))
        return 0
    table.history = history
    table.print_rest()
    if args.output is not None:
        say(f"saved     {args.output}")
    return 0


def _network(args: argparse.Namespace, data: ImageSet) -> Sequential:
    """Return the named network, for the sizes and the classes of the data."""
    from convmatrix import memory, nn

    options: Any = {"classes": data.classes, "method": args.method, "dtype": args.dtype, "rng": args.seed}
    if args.network == "small":
        options["input_shape"] = data.images.shape[1:]
    memory.require(
        8 * data.classes**2, f"the table of {data.classes} true and predicted classes", "give fewer --classes"
    )
    network: Sequential = getattr(nn, args.network)(**options)
    return network


def _split(args: argparse.Namespace, data: ImageSet) -> tuple[Indices, Indices]:
    """Return the indices of the training images and of the held-out images."""
    from convmatrix.nn.images import stratified_split

    kept, held_out = stratified_split(data.labels, args.validation, rng=args.seed)
    if args.validation and not len(held_out):
        raise CommandError(
            f"--validation {args.validation:g} of {len(data.labels)} images leaves none to validate: give a larger "
            "fraction, or 0"
        )
    return kept, held_out


def _complain_of_stop(checkpoint: str | None, steps: int) -> None:
    """Print how many steps of an interrupted training run are saved or lost."""
    if checkpoint is not None and Path(checkpoint).exists():
        complain(f"{checkpoint} holds the state after step {steps}: continue with --resume", "stopped")
    else:
        complain(f"{steps} steps are lost: --checkpoint FILE would save them", "stopped")


def _outcome(network: Sequential, history: History, data: ImageSet, shown: Indices) -> dict[str, Any]:
    """Return the part of the report that is known after training, with the confusion matrix of the given images."""
    import numpy as np

    from convmatrix import nn

    predicted = nn.predict(network, data.images[shown]).argmax(axis=1)
    confusion = np.zeros((data.classes, data.classes), dtype=int)  # true classes by predicted ones
    np.add.at(confusion, (data.labels[shown], predicted), 1)
    return {
        "epochs_done": history.epochs,
        "loss": history.loss,
        "validation_loss": history.validation_loss,
        "accuracy": history.metrics["accuracy"],
        "confusion": confusion.tolist(),
    }


def _check_files(args: argparse.Namespace) -> None:
    """Raise an error for contradictory options and unusable file names before any work is done."""
    if args.checkpoint is None and (args.resume or args.checkpoint_steps is not None):
        raise CommandError("--resume and --checkpoint-steps need a file: give --checkpoint FILE")
    if args.patience is not None and not args.validation:
        raise CommandError("--patience needs a validation loss: drop it, or give --validation above 0")
    if args.data == "digits" and (args.enlarge or args.classes is not None or args.raw):
        raise CommandError("--classes, --enlarge and --raw apply to files only: drop them for digits")
    named = {"-o": args.output, "--checkpoint": args.checkpoint}
    for option, name in named.items():
        if name is None:
            continue
        check_output(option, name, (".npz",))
        if Path(name).resolve() == Path(args.data).resolve():
            raise CommandError(f"{option} {name} would overwrite the data: give another name")
    if None not in named.values() and Path(args.output).resolve() == Path(args.checkpoint).resolve():
        raise CommandError(f"-o and --checkpoint both name {args.output}: give two files")
    if args.checkpoint is not None and Path(args.checkpoint).exists() and not args.resume:
        raise CommandError(
            f"{args.checkpoint} exists: give --resume to continue it, or another name for a new training"
        )


def _prepared(args: argparse.Namespace) -> ImageSet:
    """Return the data in the shape and range of the network's input, in float64."""
    import numpy as np

    from convmatrix.cli.train_data import DIGITS, read_digits, read_images
    from convmatrix.nn.images import enlarge, rescale

    wanted = _INPUTS[args.network]
    if args.data == DIGITS:
        data = read_digits()
        images = rescale(enlarge(data.images, wanted.digits), *wanted.range, source=(0, 16))
        sizes = zip(wanted.size or wanted.digits, wanted.digits, strict=True)
        border = [((size - inner) // 2,) * 2 for size, inner in sizes]
        return replace(data, images=np.pad(images, [(0, 0), (0, 0), *border], constant_values=wanted.range[0]))
    data = read_images(args.data, args.images, args.labels, args.classes)
    images, size = data.images, wanted.size
    if args.enlarge and size is None:
        raise CommandError(f"--enlarge: network {args.network} accepts images of any size: drop it")
    if size is not None:
        if args.enlarge:
            images = enlarge(images, size)
        if images.shape[1:] != (1, *size):
            raise CommandError(
                f"{args.data}: {args.images} has images of {by_x(images.shape[1:])} (channels, height, width), but "
                f"{args.network} needs {by_x((1, *size))}; convert them"
                + ("" if images.shape[1] > 1 else ", give --enlarge for smaller ones")
                + ", or use network small"
            )
    return replace(data, images=images.astype(np.float64) if args.raw else rescale(images, *wanted.range))


def _optimiser(args: argparse.Namespace, rate: float, steps: int) -> Optimiser:
    from convmatrix import nn

    schedule = nn.cosine_decay(rate, steps) if args.schedule == "cosine" else rate
    return nn.Adam(schedule) if args.optimiser == "adam" else nn.SGD(schedule, momentum=_MOMENTUM)


def _settings(args: argparse.Namespace, data: ImageSet, rate: float) -> dict[str, Any]:
    """Return the settings that must agree between a resumed training run and its checkpoint."""
    digest = hashlib.blake2b(data.images.tobytes() + data.labels.tobytes(), digest_size=16).hexdigest()
    settings = {name: getattr(args, name) for name in ("network", "method", "seed", "validation", "schedule")}
    if args.schedule == "cosine":  # the schedule depends on it
        settings["epochs"] = args.epochs
    return {**settings, "learning rate": rate, "data": digest}


# --- the report ------------------------------------------------------------------------------------------------------


def _report(
    args: argparse.Namespace, data: ImageSet, rate: float, network: Sequential, counts: tuple[int, int]
) -> dict[str, Any]:
    """Return the part of the report that is known before training."""
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
        "resumed": args.checkpoint is not None and Path(args.checkpoint).exists(),
        "output": args.output,
        "checkpoint": args.checkpoint,
    }


def _resumed(run: Run, path: Path, epochs: int) -> list[str]:
    """Return the header line about a resumed checkpoint; raise an error if the checkpoint belongs to another run."""
    run.resume(path)
    steps = f" and {run.done} steps" if run.done else ""
    stopped = ", stopped by --patience" if run.stopped else ""
    return [f"resumes   {path}, after {run.history.epochs} of {epochs} epochs{steps}{stopped}"]


def _trained_output(report: dict[str, Any]) -> list[str]:
    """Return a header line if the number of parameters differs from the published one, otherwise no line."""
    from convmatrix.counts import NETWORKS, network_counts

    if report["network"] not in NETWORKS:
        return []
    published = network_counts(report["network"]).total.parameters
    more = report["parameters"] - published
    return (
        [f"          {published} as published, with a fixed output layer; here it has {more}, trained"] if more else []
    )


class _Table:
    """The report as text: a header, and one line per epoch, printed as it ends or, with a progress bar, at the end."""

    def __init__(self, report: dict[str, Any], resumed: list[str], *, quiet: bool) -> None:
        from convmatrix.nn import History

        self.history = History()
        self._at_once = quiet or sys.stderr is None or not sys.stderr.isatty()
        self._measured = "validation" if report["validation_images"] else "training"
        self._printed = 0  # number of epochs
        held_out = f", {report['validation_images']} to validate" if report["validation_images"] else ""
        header = [
            f"network   {report['network']}, {report['parameters']} parameters, {report['dtype']}, {report['method']}",
            *_trained_output(report),
            f"data      {report['data']}: {report['training_images']} images of {by_x(report['image_shape'])}"
            f"{held_out}, {report['classes']} classes",
            f"training  {report['optimiser']}, learning rate {report['learning_rate']:g} ({report['schedule']}), "
            f"batches of {report['batch_size']}, seed {report['seed']}",
            *resumed,
            f"epoch  training loss{'  validation loss' if held_out else ''}  {self._measured} accuracy",
        ]
        say("\n".join(header))

    def add(self, history: History) -> None:
        """Print the line of a finished epoch, unless a progress bar is shown."""
        self.history = history
        if self._at_once:
            self.print_rest()

    def print_rest(self) -> None:
        """Print the lines that have not been printed yet."""
        lines = [self._line(self.history, epoch) for epoch in range(self._printed, self.history.epochs)]
        self._printed += len(lines)
        if lines:
            say("\n".join(lines))

    def _line(self, history: History, epoch: int) -> str:
        cells = [f"{epoch + 1:5}", f"{history.loss[epoch]:13.4f}"]
        if history.validation_loss:
            cells.append(f"{history.validation_loss[epoch]:15.4f}")
        accuracy = history.metrics["accuracy"][epoch]
        return "  ".join([*cells, f"{100 * accuracy:{len(self._measured) + 7}.2f} %"])
