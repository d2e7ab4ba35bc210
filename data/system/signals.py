"""Being stopped by Ctrl-C (SIGINT) or `kill` (SIGTERM), and not losing what was done so far."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

STOP_AGAIN = 2.0  # seconds after which a stop that was swallowed is raised again


@contextmanager
def stoppable() -> Iterator[None]:
    """Ctrl-C and `kill` raise KeyboardInterrupt, again and again until `acknowledge_stop`.

    Once is not enough: Python raises it wherever the program is, and while Keras builds a network
    and TensorFlow traces it that may be in a bare `except:` (Keras tests in such blocks whether a
    layer can be built, and asks tensors for their shapes) or in a destructor, which swallow it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python handles signals only in a process's main thread
        return

    def stop(number: int, frame: Any) -> None:
        if hasattr(signal, "setitimer"):  # not on Windows
            signal.setitimer(signal.ITIMER_REAL, STOP_AGAIN)
        raise KeyboardInterrupt

    numbers = [signal.SIGTERM, *([signal.SIGALRM] if hasattr(signal, "SIGALRM") else [])]
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # in the background it is not for us
        numbers.append(signal.SIGINT)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        acknowledge_stop()
        for number, handler in before.items():
            signal.signal(number, handler)


def acknowledge_stop() -> bool:
    """End the repetition of a stop; returns whether there was one.

    For code that catches KeyboardInterrupt and still has something to finish.
    """
    if threading.current_thread() is not threading.main_thread():
        return False
    return hasattr(signal, "setitimer") and signal.setitimer(signal.ITIMER_REAL, 0)[0] > 0
