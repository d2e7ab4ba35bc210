"""Progress bars: rich's on a terminal, plain lines in a file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from data.system.files import HERE

Item = TypeVar("Item")

FIRST_LINE = 2.0  # seconds to the first plain line: what is done sooner needs none
NEXT_LINE = 8.0  # seconds between plain lines; in a long run, a sixtieth of the time so far


@contextmanager
def progress_bar(what: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """Show the progress of `what`; yields a function to call with the number of steps just done
    and, if another one is known by now, the total.

    On a terminal this is rich's bar, which comes with Keras; in a file, or without rich, plain
    lines. Both show the time left if the `total` is known.
    """
    if sys.stdout and sys.stdout.isatty():
        try:
            from rich import progress
            from rich.errors import LiveError
        except ImportError:  # only a runtime for exports is installed, not Keras
            pass
        else:
            left = progress.TimeRemainingColumn()
            text = progress.TextColumn("{task.description}"), progress.BarColumn()
            bar = progress.Progress(*text, progress.MofNCompleteColumn(), left, transient=True)
            try:
                bar.start()
            except LiveError:  # inside another bar, which rich below 14.1 shows alone
                yield lambda count, total=None: None
                return
            try:
                task = bar.add_task(what, total=total)

                def advance(count: int, total: int | None = None) -> None:
                    bar.update(task, advance=count, total=total)

                yield advance
            finally:
                bar.stop()
            return
    yield PlainLines(what, total).advance


def follow(items: Iterable[Item], what: str) -> Iterator[Item]:
    """Yield the items under a `progress_bar`."""
    total = len(items) if isinstance(items, Sized) else None
    with progress_bar(what, total) as advance:
        for item in items:
            yield item
            advance(1)


class PlainLines:
    """Progress as a line every few seconds: `what: 120 of 2,000, 1 min 40 s left`."""

    def __init__(self, what: str, total: int | None) -> None:
        self.what, self.total, self.done = what, total, 0
        self.started = time.monotonic()
        self.due = self.started + FIRST_LINE
        self.first: tuple[float, int] | None = None  # the first steps are often slow: not counted

    def advance(self, count: int, total: int | None = None) -> None:
        """Count so many more steps, of a new `total` if given, and print a line if one is due."""
        self.done += count
        self.total = total or self.total
        now = time.monotonic()
        if self.first is None:
            self.first = now, self.done
        if now < self.due or self.done == self.total:
            return
        self.due = now + max(NEXT_LINE, (now - self.started) / 60)
        print(self._line(now, *self.first), flush=True)

    def _line(self, now: float, then: float, before: int) -> str:
        if self.total is None or self.done > self.total:  # a video's total is an estimate
            return f"{self.what}: {self.done:,}"
        line = f"{self.what}: {self.done:,} of {self.total:,}"
        if self.done > before:
            left = (now - then) / (self.done - before) * (self.total - self.done)
            line += f", {left // 60:.0f} min {left % 60:02.0f} s left"
        return line


def say_start_of_keras() -> None:
    """Print a line before Keras is imported, because TensorFlow takes seconds to start.

    Only if one of the two scripts runs: a function that somebody imports prints nothing.
    """
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    if "keras" not in sys.modules and script and Path(script).resolve().parent == HERE:
        print("Starting Keras ...", flush=True)
