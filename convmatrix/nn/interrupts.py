"""Ctrl-C while a training runs: the step is finished first, so that what is saved is whole."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class Interrupt:
    """Remembers that there was an interrupt."""

    def __init__(self) -> None:
        self.requested = False


@contextmanager
def deferred_interrupts(*, wanted: bool) -> Iterator[Interrupt]:
    """Hold back the first interrupt (SIGINT) of the block; a second one is raised at once, as usual.

    Whoever opens the block looks at `Interrupt.requested` where it is safe to stop, and raises `KeyboardInterrupt`.
    Where interrupts are not Python's own to raise (in another thread, or where the program has its own handler or
    ignores them) everything stays as it was.
    """
    interrupt = Interrupt()
    ours = wanted and threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield interrupt
        return

    def remember(*_: Any) -> None:
        interrupt.requested = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, remember)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
