"""Work in several processes of this machine, or on other machines, with results in order.

The processes are joblib's (loky): fresh interpreters on every system. Not through joblib's
`Parallel`, which ends all work when one process dies.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import re
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar

from data.system.files import InputError

Item = TypeVar("Item")

WAITING = 4  # items per process that are handed over ahead, so that slow ones do not hold up others
MEMORY = 2 << 30  # bytes that a process with TensorFlow and a large photo may need

# What makes a process compute in one thread, if it is set before TensorFlow starts. Several would
# also round differently: by some 0.0001 px.
ONE_THREAD = {
    name: "1"
    for name in (
        *("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"),
        *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
    )
}


class Crash(Exception):
    """The process that worked on an item died of it; the message says how, if that is known."""


class Workers(Protocol):
    """Processes that work for this one."""

    crashes: tuple[type[BaseException], ...]  # what a future raises whose process died

    @property
    def count(self) -> int:
        """How many items they work on at once."""

    def submit(self, function: Callable[[Any], Any], item: Any) -> Any:
        """Let one of them call the function; returns a future."""

    def restart(self) -> None:
        """Replace those that died."""

    def stop(self) -> None:
        """End them at once."""


class Processes:
    """Processes of this machine, each with one thread."""

    crashes: tuple[type[BaseException], ...] = (BrokenProcessPool,)

    def __init__(self, count: int) -> None:
        """Raises InputError if joblib is missing."""
        try:
            loky = importlib.import_module("joblib.externals.loky")
        except ImportError:
            raise InputError("--jobs above 1 needs joblib: pip install joblib") from None
        self._count = count
        self._make = lambda: loky.ProcessPoolExecutor(
            count, initializer=begin_process, initargs=(os.getpid(),), env=ONE_THREAD
        )
        self._pool = self._make()

    @property
    def count(self) -> int:
        """As of `Workers`."""
        return self._count

    def submit(self, function: Callable[[Any], Any], item: Any) -> Any:
        """As of `Workers`."""
        try:
            return self._pool.submit(function, item)
        except BrokenProcessPool as error:  # a process died since the last result
            future: Future = Future()
            future.set_exception(error)
            return future

    def restart(self) -> None:
        """As of `Workers`."""
        self.stop()
        self._pool = self._make()

    def stop(self) -> None:
        """As of `Workers`."""
        self._pool.shutdown(wait=True, kill_workers=True)


def begin_process(parent: int) -> None:
    """What a process of this machine does first: it leaves Ctrl-C and a closed terminal to its
    parent, and dies with it, even if that is killed."""
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):  # Windows has no SIGHUP
            signal.signal(getattr(signal, name), signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    if os.name == "posix":  # elsewhere it ends when it has had no work for a while
        threading.Thread(target=watch, daemon=True).start()


LOADED: dict[Path, Any] = {}  # in a process that works for another: the model


def load_once(path: Path, load: Callable[[Path], Any]) -> Any:
    """What `load` makes of a path, in a process that works for another: only for its first item."""
    if path not in LOADED:
        os.environ.update(ONE_THREAD)  # in a Dask worker as well
        LOADED.clear()
        LOADED[path] = load(path)
        gc.freeze()  # joblib collects garbage every second: not among TensorFlow's objects
    return LOADED[path]


def process_count(items: int, worth: int) -> int:
    """How many processes to use where the user does not say: as many cores as this process may use
    and as the memory allows, each with at least `worth` items; 1 without joblib."""
    most = items // worth
    if most < 2:
        return 1
    if hasattr(os, "sysconf"):
        with contextlib.suppress(ValueError, OSError):
            most = min(most, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // MEMORY)
    try:
        cores = importlib.import_module("joblib").cpu_count()
    except ImportError:
        return 1
    return max(1, min(most, cores))


def in_order(
    workers: Workers, function: Callable[[Item], Any], items: Iterable[Item]
) -> Iterator[tuple[Item, Any]]:
    """Yield each item with the function's result, in the items' order; a `Crash` where the process
    died of it.

    When a process dies, nothing says which item caused it. So all unfinished items run again, one
    at a time, and the one at which a process dies again is the culprit. The function and the items
    go to other processes; what the function raises is raised here.
    """
    items = iter(items)
    waiting: deque[tuple[Item, Any]] = deque()
    while True:
        for item in islice(items, max(0, WAITING * workers.count + 1 - len(waiting))):
            waiting.append((item, workers.submit(function, item)))
        if not waiting:
            return
        item, future = waiting[0]
        try:
            result = future.result()
        except CancelledError:
            raise InputError(
                "the connection to the scheduler was lost; go on with --resume."
            ) from None
        except workers.crashes:
            workers.restart()
            for item, future in waiting:
                yield item, result_of(workers, function, item, future)
            waiting.clear()
        else:
            waiting.popleft()
            yield item, result


def result_of(workers: Workers, function: Callable[[Item], Any], item: Item, future: Any) -> Any:
    """The result for an item: of its future, or if a process died meanwhile, of another try."""
    with contextlib.suppress(*workers.crashes):
        return future.result()
    try:
        return workers.submit(function, item).result()
    except workers.crashes as error:
        workers.restart()
        codes = re.search(r"codes of the workers are \{([^}]*)\}", str(error))
        return Crash(codes[1] if codes else "")
