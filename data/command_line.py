"""What every script's command line has in common: kinds of numbers, and the exit status."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from data.files import InputError


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
    arguments = parse(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # `kill` is as gentle as Ctrl-C
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's start-up chatter
    try:
        work(arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"\n{str(stop) or 'stopped; the files from before are untouched.'}", file=sys.stderr)
        return 130
    except OSError as error:
        print(f"error: {error}; make room, or choose another folder.", file=sys.stderr)
        return 2
    return 0
