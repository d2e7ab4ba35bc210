"""Tables that grow while a run goes on: whole rows are appended, and outlive the process."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from data.system.files import InputError, make_folder, replace_file, why


class CsvTable:
    """A CSV to which rows are appended, in UTF-8; its earlier file stays until `begin`.

    Each `append` is one write of whole lines to the operating system, so `kill -9` loses none of
    them. A full disk may cut the last one short: it is cut off again, by `append` itself or, where
    the process died too, by `go_on`. Neither time nor memory depends on the number of rows.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path, self.columns = path, list(columns)
        self.end = 0  # bytes of the header and of the rows so far
        self._file: io.FileIO | None = None

    @property
    def is_open(self) -> bool:
        """Whether rows can be appended."""
        return self._file is not None

    def size_on_disk(self) -> float:
        """Bytes of the file, beyond which no row can end."""
        return self.path.stat().st_size

    def begin(self) -> None:
        """Replace an earlier file by one of the header alone."""
        header = csv_lines([self.columns])
        make_folder(self.path.parent)
        replace_file(self.path, lambda file: file.write_bytes(header))
        self._open(len(header))

    def go_on(self, end: int) -> None:
        """Append to the file as it was when it had `end` bytes; what follows them is cut off.

        Raises InputError if it has fewer bytes, or other columns.
        """
        header = csv_lines([self.columns])
        try:
            with open(self.path, "rb") as file:
                whole = file.read(len(header)) == header and file.seek(0, 2) >= end
        except OSError:
            whole = False
        if not whole or end < len(header):
            raise InputError(
                f"{self.path} is not the table that was stopped: it was changed or replaced; start"
                " again, without --resume."
            )
        self._open(end)

    def _open(self, end: int) -> None:
        self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115  closed by `close`
        self.end = end
        self._file.truncate(end)

    def append(self, rows: Iterable[Sequence[object]]) -> None:
        """Append rows of fields. Raises InputError, with the file whole, if the disk is full."""
        assert self._file is not None, "begin or go_on comes first"
        lines = memoryview(csv_lines(rows))
        written = 0
        try:
            while written < len(lines):  # a nearly full disk takes a part of them
                written += self._file.write(lines[written:])
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(self.end)
            raise InputError(
                f"{self.path} cannot be written ({why(error)}); the rows so far are in it: free"
                " some space, or choose another folder."
            ) from None
        self.end += written

    def finish(self) -> None:
        """All rows are there."""
        self.close()

    def close(self) -> None:
        """Close the file; a row that was interrupted is cut off."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.truncate(self.end)
            self._file.close()
            self._file = None


def csv_lines(rows: Iterable[Sequence[object]]) -> bytes:
    """Rows of fields as lines of CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8")
