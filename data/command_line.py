"""What every script's command line has in common: kinds of numbers, and the exit status."""

import argparse
import contextlib
import importlib
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from data.files import InputError, printable


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
    with printable_output(), gentle_kill():
        arguments = parse(argv)
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's start-up chatter
        forget_missing_backend()
        try:
            work(arguments)
        except InputError as error:
            print(f"error: {printable(error)}", file=sys.stderr)
            return 2
        except KeyboardInterrupt as stop:
            reason = printable(stop) or "stopped; the files from before are untouched."
            print(f"\n{reason}", file=sys.stderr)
            return 130
        except OSError as error:
            print(
                f"error: {printable(error)}; make room, or choose another folder.", file=sys.stderr
            )
            return 2
    return 0


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


@contextlib.contextmanager
def gentle_kill() -> Iterator[None]:
    """`kill` is as gentle as Ctrl-C while the block runs; only a process's main thread is told."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier or signal.SIG_DFL)


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
