"""What every script's command line has in common: kinds of numbers, and the exit status."""

import argparse
import ctypes
import os
import platform
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
    keep_freed_memory()
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
