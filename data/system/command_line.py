"""What every script's command line has in common: kinds of numbers, and the exit status."""

import argparse
import contextlib
import ctypes
import importlib
import io
import os
import platform
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from data.system.files import InputError, printable


def positive(kind: type[int] | type[float]) -> Callable[[str], Any]:
    """An argparse type: a number of that kind, above zero and finite."""

    def number(text: str) -> Any:
        value = kind(text)
        if not 0 < value < float("inf"):
            raise ValueError
        return value

    number.__name__ = f"positive {kind.__name__}"
    return number


def natural(text: str) -> int:
    """An argparse type: a whole number from 0."""
    value = int(text)
    if value < 0:
        raise ValueError
    return value


def share(text: str) -> float:
    """An argparse type: a number strictly between 0 and 1."""
    value = float(text)
    if not 0 < value < 1:
        raise ValueError
    return value


# glibc's knobs (malloc.h), their values here, and the user's own variables, which win.
# A training step takes and frees some hundred megabytes. By default glibc hands every large block
# back to the kernel and has it mapped, and cleared page by page, for the next step again: that took
# half of a training's processor time (tests/benchmarks/speed.py allocator).
ALLOCATOR = (
    (-4, 0, "MALLOC_MMAP_MAX_"),  # M_MMAP_MAX: large blocks come from the heap as well
    (-1, -1, "MALLOC_TRIM_THRESHOLD_"),  # M_TRIM_THRESHOLD: nothing of the heap is given back
    (-2, 256 << 20, "MALLOC_TOP_PAD_"),  # M_TOP_PAD: the heap grows by so many bytes at once
)


def keep_freed_memory() -> bool:
    """Have the C library keep freed memory for the next training step; returns whether it does.

    To be called before TensorFlow is imported. Where the library is not glibc nothing happens.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all([mallopt(*knob) for *knob, name in ALLOCATOR if name not in os.environ])


# --- being stopped -------------------------------------------------------------------------------

STOP_AGAIN = 2.0  # seconds after which a stop that nobody has taken notice of is raised again


@contextmanager
def stoppable() -> Iterator[None]:
    """Ctrl-C and `kill` (SIGTERM) raise KeyboardInterrupt until `acknowledge_stop` is called.

    Once is not enough: Python raises it wherever the program is, and while Keras builds a network
    and TensorFlow traces it that may be in a bare `except:` (Keras tries out whether a layer can be
    built, and asks tensors for their shapes, in such) or in a destructor, which swallow it.
    """

    if threading.current_thread() is not threading.main_thread():
        yield  # only a process's main thread is told of signals
        return

    def stop(number: int, frame: Any) -> None:
        if hasattr(signal, "setitimer"):  # not on Windows
            signal.setitimer(signal.ITIMER_REAL, STOP_AGAIN)
        raise KeyboardInterrupt

    names = ("SIGINT", "SIGTERM", "SIGALRM")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # in the background: Ctrl-C is not for us
        numbers.remove(signal.SIGINT)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        acknowledge_stop()
        for number, handler in before.items():
            signal.signal(number, handler)


def acknowledge_stop() -> bool:
    """Take notice of a stop, so that it is not raised again; returns whether there was one.

    For whoever catches KeyboardInterrupt and still has something to finish.
    """
    if threading.current_thread() is not threading.main_thread():
        return False
    return hasattr(signal, "setitimer") and signal.setitimer(signal.ITIMER_REAL, 0)[0] > 0


# --- running -------------------------------------------------------------------------------------


def run_script(
    argv: Sequence[str] | None,
    parse: Callable[[Sequence[str] | None], argparse.Namespace],
    work: Callable[[argparse.Namespace], None],
) -> int:
    """Run a script and turn what can go wrong into an exit status: 2 bad input, 130 Ctrl-C.

    Args:
        argv: the command line's words; None: those that the process was started with.
        parse: makes an argparse namespace of them.
        work: does what they ask for; raises InputError where it cannot.
    """
    with printable_output(), stoppable():
        arguments = parse(argv)
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's start-up chatter
        keep_freed_memory()
        forget_missing_backend()
        try:
            work(arguments)
        except KeyboardInterrupt as stop:
            return say_stopped(stop)
        except Exception as error:
            if acknowledge_stop():  # it was swallowed, and what it had interrupted went wrong
                return say_stopped()
            if isinstance(error, InputError):
                print(f"error: {printable(error)}", file=sys.stderr)
            elif isinstance(error, OSError):
                advice = "make room, or choose another folder."
                print(f"error: {printable(error)}; {advice}", file=sys.stderr)
            else:
                raise
            return 2
    return 0


def say_stopped(stop: object = "") -> int:
    """Say that a stop was obeyed, and what is left, if `stop` tells; returns the exit status."""
    print(
        f"\n{printable(stop) or 'stopped; the files from before are untouched.'}", file=sys.stderr
    )
    return 130


@contextlib.contextmanager
def printable_output() -> Iterator[None]:
    """What the terminal's encoding lacks is printed as \\u0141 instead of being an error."""
    streams = [s for s in (sys.stdout, sys.stderr) if isinstance(s, io.TextIOWrapper)]
    earlier = [stream.errors for stream in streams]
    for stream in streams:
        stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        for stream, errors in zip(streams, earlier, strict=True):
            if not stream.closed:
                stream.reconfigure(errors=errors)


def forget_missing_backend() -> None:
    """Unset MPLBACKEND where Matplotlib does not know the backend, which then fails to start.

    Notebooks hand theirs on to all that they start, and Keras imports Matplotlib.
    """
    if "MPLBACKEND" not in os.environ or "matplotlib" in sys.modules:
        return
    backend = os.environ.pop("MPLBACKEND")
    with contextlib.suppress(ImportError, ValueError):  # ValueError: not known
        importlib.import_module("matplotlib").rcParams["backend"] = backend
        os.environ["MPLBACKEND"] = backend
