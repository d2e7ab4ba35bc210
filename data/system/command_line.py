"""What all scripts' command lines share: types of numbers, the exit status, the environment."""

import argparse
import contextlib
import ctypes
import importlib
import io
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from data.system.files import InputError, printable
from data.system.signals import acknowledge_stop, stoppable


def positive(kind: type[int] | type[float]) -> Callable[[str], Any]:
    """An argparse type: a finite number of that kind above zero."""

    def number(text: str) -> Any:
        value = kind(text)
        if not 0 < value < float("inf"):
            raise ValueError
        return value

    number.__name__ = f"positive {kind.__name__}"
    return number


def natural(text: str) -> int:
    """An argparse type: a whole number, 0 or more."""
    value = int(text)
    if value < 0:
        raise ValueError
    return value


def fraction(text: str) -> float:
    """An argparse type: a number strictly between 0 and 1."""
    value = float(text)
    if not 0 < value < 1:
        raise ValueError
    return value


# glibc's malloc options (malloc.h), their values here, and the environment variables by which a
# user may set them instead.
# A training step allocates and frees some hundred megabytes. By default glibc returns every large
# block to the kernel, which maps it again and clears it page by page for the next step: that took
# half of a training's processor time (tests/benchmarks/speed.py environment).
ALLOCATOR = (
    (-4, 0, "MALLOC_MMAP_MAX_"),  # M_MMAP_MAX: large blocks come from the heap too
    (-1, -1, "MALLOC_TRIM_THRESHOLD_"),  # M_TRIM_THRESHOLD: the heap never shrinks
    (-2, 256 << 20, "MALLOC_TOP_PAD_"),  # M_TOP_PAD: the heap grows in steps of this many bytes
)


def keep_freed_memory() -> bool:
    """Make the C library keep freed memory for the next training step; returns whether it does.

    Call it before TensorFlow is imported. It does nothing where the C library is not glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all([mallopt(*option) for *option, name in ALLOCATOR if name not in os.environ])


# --- running -------------------------------------------------------------------------------------


def run_script(
    argv: Sequence[str] | None,
    parse: Callable[[Sequence[str] | None], argparse.Namespace],
    work: Callable[[argparse.Namespace], None],
) -> int:
    """Run a script; returns its exit status: 0, 2 after bad input, 130 after Ctrl-C or `kill`.

    Args:
        argv: the command line's arguments; None: those that the process was started with.
        parse: parses them into an argparse namespace.
        work: does what they ask for; raises InputError where the input cannot be used.
    """
    with printable_output(), stoppable(), home_folder():
        arguments = parse(argv)
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's start-up messages
        # By default TensorFlow uses oneDNN's kernels on newer CPUs alone, not on those that have no
        # more than AVX2 (tests/benchmarks/speed.py environment).
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
        keep_freed_memory()
        forget_missing_backend()
        try:
            work(arguments)
        except KeyboardInterrupt as stop:
            return say_stopped(stop)
        except Exception as error:
            if acknowledge_stop():  # it was swallowed, and what it interrupted failed
                return say_stopped()
            if isinstance(error, InputError):
                print(f"error: {printable(error)}", file=sys.stderr)
            elif isinstance(error, OSError):
                advice = "free some space, or choose another folder."
                print(f"error: {printable(error)}; {advice}", file=sys.stderr)
            else:
                raise
            return 2
    return 0


def say_stopped(stop: object = "") -> int:
    """Report a stop, in the exception's own words if it has some; returns the exit status."""
    said = printable(stop) or "stopped; the files from before are untouched."
    print(f"\n{said}", file=sys.stderr)
    return 130


@contextlib.contextmanager
def printable_output() -> Iterator[None]:
    """Print characters that the terminal's encoding lacks as \\u0141 instead of failing."""
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
def home_folder() -> Iterator[None]:
    """Give a process without a home a temporary one: without HOME and without a passwd entry.

    A container started with `--user` is like that. TensorFlow would make a folder named "~".
    """
    if os.path.expanduser("~") != "~":
        yield
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ["HOME"] = folder
        try:
            yield
        finally:
            del os.environ["HOME"]


def forget_missing_backend() -> None:
    """Unset MPLBACKEND where Matplotlib does not know that backend and would fail to start.

    A notebook passes its own backend on to every process it starts, and Keras imports Matplotlib.
    """
    if "MPLBACKEND" not in os.environ or "matplotlib" in sys.modules:
        return
    backend = os.environ.pop("MPLBACKEND")
    with contextlib.suppress(ImportError, ValueError):  # ValueError: an unknown backend
        importlib.import_module("matplotlib").rcParams["backend"] = backend
        os.environ["MPLBACKEND"] = backend
