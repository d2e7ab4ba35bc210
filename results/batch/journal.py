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
    """What an earlier run has done."""

    photos: int = 0
    without_face: int = 0
    faces: int = 0
    end: int = 0  # bytes of the table
    finished: bool = False  # it came to its end
    keys: np.ndarray = np.empty((2, 0), np.uint64)  # as from `keys_of`, each row sorted

    def holds(self, photo: str, size: int, changed: int) -> bool:
        """Whether this photo was looked at. Raises InputError if it was, but has changed since."""
        keys = np.array(keys_of(photo, size, changed), np.uint64)
        places = [int(np.searchsorted(*pair)) for pair in zip(self.keys, keys, strict=True)]
        same, known = (
            place < len(row) and row[place] == key
            for row, key, place in zip(self.keys, keys, places, strict=True)
        )
        if known and not same:
            raise InputError(
                f"{photo} has changed since its rows were written, which stay; to have new ones"
                " start again, without --resume, or give it another name."
            )
        return bool(same)


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
        which a power failure took. Raises InputError if the model or the settings are others.
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

    def finish(self, keep: bool) -> None:
        """Note that the run came to its end, and keep the journal or remove it."""
        self._write(FINISHED)
        self.close()
        if not keep:
            self.path.unlink(missing_ok=True)

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
        keys[:, photos] = keys_of(*photo[:3])
        photos, faces, rows_end = photos + 1, faces + photo.faces, photo.end
        without_face += photo.faces == 0
    return Done(photos, without_face, faces, rows_end, finished, np.sort(keys[:, :photos])), end


def keys_of(photo: str, size: int, changed: int) -> list[int]:
    """A photo's path, size and time in 64 bits, and its path alone: ten million take 160 MB."""
    texts = f"{photo}\0{size}\0{changed}", photo
    digests = (hashlib.blake2b(os.fsencode(text), digest_size=8).digest() for text in texts)
    return [int.from_bytes(digest, "big") for digest in digests]
