"""What a run on photos writes besides pictures: the table, photo by photo, and what it prints."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from data.images.photos import PhotoList
from data.system.addresses import address_of
from data.system.files import InputError, printable, write_text
from models.detect.search import Detections
from results.batch.journal import Done, Journal, path_key
from results.batch.order import finish_replacing, put_in_order
from results.batch.table import CsvTable, ParquetTable
from results.label_files import LabelFiles
from results.training_rows import TrainingRow, TrainingRows

PRECIOUS = 1000  # photos of a run that was stopped: they are not done again by mistake

SUMMARY = "summary.json"


class Photo(NamedTuple):
    """A photo to look at."""

    path: Path  # as given
    target: Path  # of its annotated picture
    size: int = 0  # in bytes
    changed: int = 0  # when, in nanoseconds

    @property
    def name(self) -> str:
        """Its path or address, to print."""
        return printable(address_of(self.path) or self.path)


class Labels(NamedTuple):
    """What label files need of a photo."""

    size: tuple[int, int]  # its width and height when upright
    faces: Detections


class Outcome(NamedTuple):
    """What came of one photo."""

    rows: list[list[str]] = []  # a face each: the fields of the table after `photo` and `face`
    training: list[TrainingRow] = []  # a face each, if wanted
    labels: Labels | None = None  # if wanted
    said: str = ""  # what there is to print
    problem: str = ""  # why it could not be used, a sentence


class Answers:
    """Writes the rows of photos, counts them, and says what there is to say."""

    def __init__(
        self,
        table: CsvTable | ParquetTable,
        journal: Journal,
        training: TrainingRows | None,
        labels: LabelFiles | None,
        folder: Path,
        listed: PhotoList,
        large: bool,
    ) -> None:
        """`folder`: for summary.json; `listed`: the photos that were given; `large`: whether the
        run is one that somebody may want to count, and to add photos to later."""
        self.table, self.journal = table, journal
        self.training, self.labels = training, labels
        self.folder, self.listed, self.large = folder, listed, large
        self.jobs = 1  # processes
        self.started = time.monotonic()
        self.before = Done()
        self.done = self.faces = self.without_face = self.failed = 0  # in this run
        self.first_problem = ""
        self.written = False  # whether the table is this run's
        # Whether its rows are those of the photos, in order, if it goes on with an earlier run's.
        self.in_order = True
        self.given = self.given_before_known = 0  # photos to look at; those before a known one
        self.first_done: int | None = None  # the first of them that could be read
        self.changed: set[int] = set()  # the keys of the paths of photos that have changed

    def open(self, resume: bool) -> None:
        """Go on with the table of a run that was stopped; otherwise `add` replaces it.

        Raises InputError if that was a run with another model or other settings, or a long one
        that would be replaced.
        """
        path = printable(self.table.path)
        finish_replacing(self.table.path, self.journal)
        stopped = self.table.path.exists() and self.journal.path.exists()
        if resume and stopped:
            self.before = self.journal.go_on(self.table.size_on_disk())
        if self.before.photos:
            self.table.go_on(self.before.end, self.before.photos)
            self._now_written()
            print(f"{path} holds {self.before.photos:,} photos already.", flush=True)
        elif resume:
            self.journal.close()
            print(f"{path} is not of a run that can be resumed: all photos are looked at.")
        elif stopped and self.journal.count_unfinished(PRECIOUS) >= PRECIOUS:
            raise InputError(
                f"{path} is of a run that was stopped after {PRECIOUS:,} photos or more; go on with"
                " it by --resume, or delete it to start again."
            )

    def _now_written(self) -> None:
        self.written = True
        (self.folder / SUMMARY).unlink(missing_ok=True)  # an earlier run's

    def new(self, photos: Iterable[Photo]) -> Iterator[Photo]:
        """The photos that were not looked at before, or have changed since, with their size and
        time."""
        last = -1
        for photo in photos:
            with contextlib.suppress(OSError):  # whoever reads the photo says what is wrong
                status = os.stat(photo.path)
                photo = photo._replace(size=status.st_size, changed=status.st_mtime_ns)
            if self.before.photos:
                number = self.before.number_of(*known_by(photo))
                if number is not None:
                    self.in_order &= number > last
                    last, self.given_before_known = number, self.given
                    continue
                if self.before.knows(path := known_by(photo)[0]):
                    self.changed.add(path_key(path))
            self.given += 1
            yield photo

    def add(self, photo: Photo, outcome: Outcome) -> None:
        """Write the rows of one photo, in order of `new`, and print what there is to say."""
        if outcome.problem:
            self.failed += 1
            self.first_problem = self.first_problem or outcome.problem
            if len(self.listed) > 1:
                print(f"error: {printable(outcome.problem)}", file=sys.stderr, flush=True)
            return
        if not self.table.is_open:  # the first photo: until now an earlier table stays
            self.journal.path.unlink(missing_ok=True)
            self.table.begin()
            self.journal.begin()
            self._now_written()
        if self.first_done is None:
            self.first_done = self.failed
        name, faces = photo.name, len(outcome.rows)
        self.table.append([name, i, *row] for i, row in enumerate(outcome.rows, 1))
        self.journal.add(*known_by(photo), faces, self.table.end)
        self.done += 1
        self.faces += faces
        self.without_face += faces == 0
        if self.training:
            self.training.rows += outcome.training
        if self.labels and outcome.labels:
            self.labels.add(photo.path, *outcome.labels)
        print(outcome.said, end="", flush=True)

    def finish(self) -> None:
        """Say what was found. Raises InputError if photos could not be read."""
        if self.failed and len(self.listed) == 1:
            raise InputError(self.first_problem)
        if self.written:
            self.table.finish()
            self._put_in_order()
            self.journal.finish(self.large)
            self.close()
            faces = self.before.faces + self.faces
            print(f"{faces} face(s) in all; key points are in {printable(self.table.path)}")
        if self.large:
            self.summarize(finished=True)
        if self.failed:
            raise InputError(
                f"{self.failed} of {len(self.listed)} photos could not be read, as said above;"
                " fix them or leave them out."
            )

    def _put_in_order(self) -> None:
        """Put the rows in the order of the photos where a resumed run has appended others, and
        leave out those of photos that have changed."""
        late = self.first_done is not None and self.first_done < self.given_before_known
        if self.in_order and not (late or self.changed or self.before.repeats):
            return
        self.journal.close()
        changed, self.changed = self.changed, set()  # not again after Ctrl-C
        listed = (known_by(Photo(path, path))[0] for path in self.listed)
        whole = put_in_order(self.table, self.journal, listed, changed, self.before.photos)
        self.before = Done(
            photos=whole.photos - self.done,
            without_face=whole.without_face - self.without_face,
            faces=whole.faces - self.faces,
        )
        self.journal.reopen()

    def summarize(self, finished: bool) -> None:
        """Print the run's counts and speed in one line, and write them to summary.json."""
        seconds = time.monotonic() - self.started
        looked_at = self.done + self.failed
        rate = looked_at / seconds if seconds else 0.0
        counts = {
            "finished": finished,
            "photos": len(self.listed),
            "photos_in_table": self.before.photos + self.done,
            "faces": self.before.faces + self.faces,
            "photos_without_face": self.before.without_face + self.without_face,
            "photos_failed": self.failed,
            "photos_in_this_run": looked_at,
            "processes": self.jobs,
            "seconds": round(seconds, 1),
            "photos_per_second": round(rate, 3),
            "photos_per_second_per_core": round(rate / self.jobs, 3),
            "table": printable(self.table.path),
            "model": printable(self.journal.run["model"]),
        }
        write_text(self.folder / SUMMARY, json.dumps(counts, indent=2) + "\n")
        print(
            f"{counts['photos']:,} photos: {counts['faces']:,} face(s),"
            f" {counts['photos_without_face']:,} photos without a face, {self.failed:,} failed;"
            f" {rate:.2f} photos per second, {rate / self.jobs:.2f} per core",
            flush=True,
        )

    def stopped(self) -> str:
        """What there is to say after Ctrl-C; nothing if no photo is in the table."""
        if not self.written:
            return ""
        self.table.finish()
        if self.changed:
            self._put_in_order()
        if self.large:
            self.summarize(finished=False)
        faces, photos = self.before.faces + self.faces, self.before.photos + self.done
        return (
            f"stopped; the {faces} face(s) of {photos} of {len(self.listed)} photos are in"
            f" {self.table.path}. To go on, give the same command with --resume."
        )

    def close(self) -> None:
        """Close the table; write the training rows and the label files."""
        self.table.close()
        self.journal.close()
        training, self.training = self.training, None
        if training and self.written:
            training.write()
        labels, self.labels = self.labels, None
        if labels and self.written:
            labels.write()


def known_by(photo: Photo) -> tuple[str, int, int]:
    """What identifies a photo: path, size in bytes, time in nanoseconds."""
    return address_of(photo.path) or os.path.abspath(photo.path), photo.size, photo.changed
