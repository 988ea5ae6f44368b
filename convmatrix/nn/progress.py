"""A progress bar of one line."""

from __future__ import annotations

import time
from typing import TextIO


class Progress:
    """Shows epoch, step and loss on a terminal, at most ten times a second; elsewhere nothing.

    Parameters
    ----------
    stream : text stream
    epochs, steps : int
    shown : bool, optional
        By default where the stream is a terminal.
    """

    def __init__(self, stream: TextIO, epochs: int, steps: int, *, shown: bool | None = None) -> None:
        self.stream, self.epochs, self.steps = stream, epochs, steps
        self.shown = stream.isatty() if shown is None else shown
        self._last = 0.0
        self._begun = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def show(self, epoch: int, step: int, loss: float) -> None:
        """Show how far the training is; ``epoch`` counts those completed."""
        now = time.monotonic()
        if not self.shown or (now - self._last < 0.1 and step < self.steps):
            return
        self._last, self._begun = now, True
        filled = 20 * step // self.steps
        bar = "#" * filled + "." * (20 - filled)
        self.stream.write(f"\repoch {epoch + 1}/{self.epochs} [{bar}] {step}/{self.steps} loss {loss:.4f} ")
        self.stream.flush()

    def close(self) -> None:
        """End the line, where there is one."""
        if self._begun:
            self._begun = False
            self.stream.write("\n")
            self.stream.flush()
