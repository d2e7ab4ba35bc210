"""Being stopped without losing what was done so far: Ctrl-C, `kill`, and a dropped connection."""

from __future__ import annotations

import os
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

STOP_AGAIN = 2.0  # seconds after which a stop that was swallowed is raised again

# Ctrl-C, `kill`, and the end of the terminal, as when ssh loses its connection. Not on Windows.
STOP_SIGNALS = [getattr(signal, s) for s in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, s)]
HANG_UP = getattr(signal, "SIGHUP", None)


@contextmanager
def stoppable() -> Iterator[None]:
    """A stop signal raises KeyboardInterrupt, again and again until `acknowledge_stop`.

    Once is not enough: Python raises it wherever the program is, and while Keras builds a network
    and TensorFlow traces it that may be in a bare `except:` (Keras tests in such blocks whether a
    layer can be built, and asks tensors for their shapes) or in a destructor, which swallow it.
    """

    def stop(number: int, frame: Any) -> None:
        if hasattr(signal, "setitimer"):  # not on Windows
            signal.setitimer(signal.ITIMER_REAL, STOP_AGAIN)
        raise KeyboardInterrupt

    with handled_by(stop, [getattr(signal, "SIGALRM", None)]):
        try:
            yield
        finally:
            acknowledge_stop()


def acknowledge_stop() -> bool:
    """End the repetition of a stop; returns whether there was one.

    For code that catches KeyboardInterrupt and still has something to finish.
    """
    if threading.current_thread() is not threading.main_thread():
        return False
    return hasattr(signal, "setitimer") and signal.setitimer(signal.ITIMER_REAL, 0)[0] > 0


class GentleStop:
    """A context in which the first stop signal sets `asked`, and a second one stops at once."""

    def __enter__(self) -> GentleStop:
        self.asked = False
        self.handlers = handled_by(self._ask)
        self.handlers.__enter__()
        return self

    def _ask(self, number: int, frame: Any) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def __exit__(self, *error: Any) -> None:
        self.handlers.__exit__(*error)


@contextmanager
def handled_by(
    handler: Callable[[int, Any], None], further: list[int | None] | None = None
) -> Iterator[None]:
    """Handle the stop signals, and `further` ones, by a function while the block runs.

    An ignored signal stays ignored: Ctrl-C in the background jobs of a script, SIGHUP under nohup.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python handles signals only in a process's main thread
        return

    def handle(number: int, frame: Any) -> None:
        if number == HANG_UP:
            signal.signal(number, signal.SIG_IGN)  # the shell may send it too; once is enough
            forget_terminal()
        handler(number, frame)

    numbers = [s for s in STOP_SIGNALS if signal.getsignal(s) != signal.SIG_IGN]
    numbers += [number for number in further or () if number is not None]
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def forget_terminal() -> None:
    """Discard what is printed from now on to a terminal that has gone, instead of failing."""
    for output in (1, 2):
        with suppress(OSError):
            if stat.S_ISCHR(os.fstat(output).st_mode):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, output)
                os.close(nowhere)
