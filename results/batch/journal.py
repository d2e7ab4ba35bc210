"""Which photos a table holds already: what `--image --resume` goes on from."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from data.system.files import InputError, replace_file, why

FINISHED = "finished"


class Entry(NamedTuple):
    """A photo that was looked at."""

    photo: str  # its absolute path
    size: int  # in bytes
    changed: int  # when, in nanoseconds
    faces: int
    end: int  # bytes of the table after this photo's rows


class Done(NamedTuple):
    """What an earlier run did."""

    photos: int = 0
    without_face: int = 0
    faces: int = 0
    end: int = 0  # bytes of the table
    finished: bool = False  # it came to its end
    keys: np.ndarray = np.empty(0, np.uint64)  # the photos' `photo_key`, sorted
    numbers: np.ndarray = np.empty(0, np.int64)  # their places in the table, in that order
    paths: np.ndarray = np.empty(0, np.uint64)  # the photos' `path_key`, sorted
    repeats: bool = False  # a photo was looked at twice, because it had changed in between

    def number_of(self, photo: str, size: int, changed: int) -> int | None:
        """The place in the table of a photo that was looked at; None if it was not."""
        place = found_at(self.keys, photo_key(photo, size, changed))
        return None if place is None else int(self.numbers[place])

    def knows(self, photo: str) -> bool:
        """Whether a photo of that path was looked at, the same or an earlier one."""
        return found_at(self.paths, path_key(photo)) is not None


class Journal:
    """A line of JSON for each photo whose rows the table holds, in a hidden file beside it.

    A photo's line is written after its rows, and says where these end: what follows them in the
    table belongs to a photo that was interrupted. The first line says with which model and settings
    the photos are looked at.
    """

    def __init__(self, table: Path, run: dict[str, Any]) -> None:
        """`run`: what must be the same for a run to go on, a dict for JSON."""
        self.table, self.path = table, table.with_name(f".{table.name}.done")
        self.run = json.loads(json.dumps(run))
        self._file: IO[bytes] | None = None

    def begin(self) -> None:
        """Replace an earlier journal by one without photos."""
        first = line_of(self.run)
        replace_file(self.path, lambda file: file.write_bytes(first))
        self._open(len(first))

    def go_on(self, table_bytes: float) -> Done:
        """What was done so far; lines are then appended.

        A last line that was cut short is cut off, and so are lines of rows beyond `table_bytes`,
        which a power failure took. Raises InputError if the model or the settings differ.
        """
        with open(self.path, "rb") as file:
            run, start = next(whole_lines(file), ({}, 0))
            self._check(run)
            done, end = summarize(file, start, table_bytes)
        self._open(end)
        return done

    def _check(self, run: dict[str, Any]) -> None:
        different = [
            f"other {name}"
            if isinstance(value, (dict, list)) or name == "model"
            else f"{name} {run.get(name)}, not {value}"
            for name, value in self.run.items()
            if run.get(name) != value
        ]
        if different:
            raise InputError(
                f"{self.table} is of a run with {' and '.join(different)}; resume with the same"
                " model and flags, or start again, without --resume."
            )

    def _open(self, end: int) -> None:
        self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115  closed by `close`
        self._file.truncate(end)

    def add(self, photo: str, size: int, changed: int, faces: int, end: int) -> None:
        """Note that the table holds all rows of a photo. Raises InputError if the disk is full."""
        self._write(Entry(photo, size, changed, faces, end))

    def reopen(self) -> None:
        """Append further lines to a file that was closed or replaced."""
        self._open(self.path.stat().st_size)

    def finish(self, keep: bool) -> None:
        """Note that the run came to its end, and keep the journal or remove it."""
        self._write(FINISHED)
        self.close()
        if not keep:
            self.path.unlink(missing_ok=True)

    def entries(self) -> Iterator[tuple[Entry, int]]:
        """The photos whose rows the table holds, and where each one's line begins."""
        begin = 0
        with open(self.path, "rb") as file:
            for entry, end in whole_lines(file):
                if isinstance(entry, list):
                    yield Entry(*entry), begin
                begin = end

    @staticmethod
    def entry_at(file: IO[bytes], line: int) -> Entry:
        """The photo whose line begins there in an open journal."""
        file.seek(line)
        return Entry(*json.loads(file.readline()))

    def _write(self, entry: object) -> None:
        assert self._file is not None, "begin or go_on comes first"
        try:
            self._file.write(line_of(entry))
        except OSError as error:
            raise InputError(
                f"{self.path} cannot be written ({why(error)}); free some space, or choose another"
                " folder."
            ) from None

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def count_unfinished(self, most: int) -> int:
        """How many photos the journal of a run that was stopped holds, `most` at most."""
        with contextlib.suppress(OSError), open(self.path, "rb") as file:
            file.seek(max(0, file.seek(0, 2) - 64))
            if not file.read().endswith(line_of(FINISHED)):
                file.seek(0)
                return sum(1 for _, _ in zip(file, range(most + 1), strict=False)) - 1
        return 0


def line_of(entry: object) -> bytes:
    """An entry of the journal as a line."""
    return json.dumps(entry).encode() + b"\n"


def whole_lines(file: IO[bytes]) -> Iterator[tuple[Any, int]]:
    """The lines of a journal up to the first that is not whole, and where each ends."""
    end = file.tell()
    for line in file:
        end += len(line)
        try:
            entry = json.loads(line)
        except ValueError:
            return
        if not line.endswith(b"\n"):
            return
        yield entry, end


def summarize(file: IO[bytes], start: int, table_bytes: float) -> tuple[Done, int]:
    """What the lines of a journal from `start` on say, and where the last one that counts ends."""
    photos = without_face = faces = rows_end = 0
    finished, end = False, start
    file.seek(start)
    keys = np.empty((2, 1024), np.uint64)
    for entry, line_end in whole_lines(file):
        if entry == FINISHED:
            end, finished = line_end, True
            continue
        photo = Entry(*entry)
        if photo.end > table_bytes:
            break
        end, finished = line_end, False
        if photos == keys.shape[1]:
            keys = np.concatenate([keys, np.empty_like(keys)], 1)
        keys[:, photos] = photo_key(*photo[:3]), path_key(photo.photo)
        photos, faces, rows_end = photos + 1, faces + photo.faces, photo.end
        without_face += photo.faces == 0
    numbers = last_of_each(keys[1, :photos])
    paths = keys[1, numbers]
    numbers = numbers[np.argsort(keys[0, numbers])]
    repeats = len(numbers) < photos
    sought = keys[0, numbers], numbers, paths, repeats
    return Done(photos, without_face, faces, rows_end, finished, *sought), end


def last_of_each(keys: np.ndarray) -> np.ndarray:
    """The index of each key, by key; of one that is there several times, the last."""
    order = np.argsort(keys, kind="stable")
    return order[np.append(keys[order][1:] != keys[order][:-1], True)] if len(keys) else order


def photo_key(photo: str, size: int, changed: int) -> int:
    """A photo's path, size and time in 64 bits: with `path_key`, ten million take 240 MB."""
    return path_key(f"{photo}\0{size}\0{changed}")


def path_key(photo: str) -> int:
    """A photo's path in 64 bits."""
    return int.from_bytes(hashlib.blake2b(os.fsencode(photo), digest_size=8).digest(), "big")


def found_at(keys: np.ndarray, key: int) -> int | None:
    """Where a key is among sorted ones; None if it is not."""
    place = int(np.searchsorted(keys, np.uint64(key)))
    return place if place < len(keys) and keys[place] == key else None
