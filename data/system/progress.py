"""How far something that takes long has come: a line that renews itself, or plain lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from data.system.files import HERE

Item = TypeVar("Item")

QUIET = 2.0  # seconds: what takes no longer needs no line
EVERY = 8.0  # seconds between plain lines; in a long run, a sixtieth of the time it has taken


@contextmanager
def progress_bar(what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Show how far `what` has come; yields a function that is told how many more are done.

    On a terminal that is rich's bar, which comes with Keras; in a file, or without rich, plain
    lines. Both tell the time left where the `total` is known.
    """
    if sys.stdout and sys.stdout.isatty():
        try:
            from rich import progress
        except ImportError:  # only what predicts without Keras is installed
            pass
        else:
            left = progress.TimeRemainingColumn()
            text = progress.TextColumn("{task.description}"), progress.BarColumn()
            with progress.Progress(
                *text, progress.MofNCompleteColumn(), left, transient=True
            ) as bar:
                task = bar.add_task(what, total=total)
                yield lambda count: bar.advance(task, count)
            return
    yield PlainLines(what, total).advance


def follow(items: Iterable[Item], what: str) -> Iterator[Item]:
    """The items one after the other; shows how many of them are done, as `progress_bar`."""
    total = len(items) if isinstance(items, Sized) else None
    with progress_bar(what, total) as advance:
        for item in items:
            yield item
            advance(1)


class PlainLines:
    """A line now and then: `what: 120 of 2,000, 1 min 40 s left`."""

    def __init__(self, what: str, total: int | None) -> None:
        self.what, self.total, self.done = what, total, 0
        self.started = time.monotonic()
        self.due = self.started + QUIET
        self.first: tuple[float, int] | None = None  # what comes first is often slow

    def advance(self, count: int) -> None:
        """Note that so many more are done, and print a line if one is due."""
        self.done += count
        now = time.monotonic()
        if self.first is None:
            self.first = now, self.done
        if now < self.due or self.done == self.total:
            return
        self.due = now + max(EVERY, (now - self.started) / 60)
        print(self._line(now, *self.first), flush=True)

    def _line(self, now: float, then: float, before: int) -> str:
        if self.total is None or self.done > self.total:  # a video's is but estimated
            return f"{self.what}: {self.done:,}"
        line = f"{self.what}: {self.done:,} of {self.total:,}"
        if self.done > before:
            left = (now - then) / (self.done - before) * (self.total - self.done)
            line += f", {left // 60:.0f} min {left % 60:02.0f} s left"
        return line


def say_start_of_keras() -> None:
    """Before Keras is imported: a line for the seconds that TensorFlow takes to start.

    Only where one of the scripts runs: who imports a function wants its answer and no more.
    """
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    if "keras" not in sys.modules and script and Path(script).resolve().parent == HERE:
        print("Starting Keras ...", flush=True)
