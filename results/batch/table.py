"""Tables that grow while a run goes on: whole rows are appended, and outlive the process."""

from __future__ import annotations

import contextlib
import csv
import importlib
import io
import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from data.system.files import InputError, make_folder, replace_file, why


class Place(NamedTuple):
    """Where a table holds the rows of one call of `append`."""

    number: int  # of the call, from 0
    start: int  # the value of `end` before it
    end: int  # and after it
    first_row: int
    rows: int


class CsvTable:
    """A CSV to which rows are appended, in UTF-8; its earlier file stays until `begin`.

    Each `append` is one write of whole lines to the operating system, so `kill -9` loses none of
    them. A full disk may cut the last one short: it is cut off again, by `append` itself or, where
    the process died too, by `go_on`. Neither time nor memory depends on the number of rows.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path, self.columns = path, list(columns)
        self.start = len(csv_lines([columns]))  # bytes of the header
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
        self._open(self.start)

    def go_on(self, end: int, appended: int) -> None:
        """Append to the file as it was when it had `end` bytes; what follows them is cut off.

        `appended`: how often `append` had been called, once at least. Raises InputError if it has
        fewer bytes, or other columns.
        """
        header = csv_lines([self.columns])
        try:
            with open(self.path, "rb") as file:
                whole = file.read(len(header)) == header and file.seek(0, 2) >= end
                file.seek(max(0, end - 1))
                whole = whole and file.read(1) == b"\n"
        except OSError:
            whole = False
        if not whole or end < self.start:
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
        try:
            self.end = append_rows(self._file, self.end, rows)
        except OSError as error:
            raise InputError(
                f"{self.path} cannot be written ({why(error)}); the rows so far are in it: free"
                " some space, or choose another folder."
            ) from None

    def rows_at(self, place: Place) -> list[list[Any]]:
        """The rows of one call of `append`."""
        if not place.rows:
            return []
        with open(self.path, "rb") as file:
            file.seek(place.start)
            text = file.read(place.end - place.start).decode("utf-8")
        return list(csv.reader(io.StringIO(text, newline="")))

    def finish(self) -> None:
        """Let others read all rows so far; no more are appended."""
        self.close()

    def close(self) -> None:
        """Close the file; a row that was interrupted is cut off."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.truncate(self.end)
            self._file.close()
            self._file = None


class ParquetTable:
    """A folder of Parquet files, each of the rows of `PART` calls of `append`; as `CsvTable`.

    The rows of a part are collected in a hidden CSV in that folder, which readers of Parquet
    ignore, so that they outlive the process; the last part's stays, so that it can be completed.
    """

    PART = 10_000

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        """Raises InputError if pyarrow is missing, or if `path` is a file."""
        try:
            importlib.import_module("pyarrow.parquet")
        except ImportError:
            raise InputError(
                f"{path} needs pyarrow: pip install pyarrow; or name a table that ends in .csv."
            ) from None
        if path.is_file():
            raise InputError(f"{path} is a file, not a folder of parts; choose another name.")
        self.path, self.columns = path, list(columns)
        self.appended = 0
        self._rows = CsvTable(self._collected(0), columns)
        self.start = self._rows.start
        self._read = lru_cache(2)(self._read_part)
        self._count = lru_cache(None)(self._count_rows)

    def _written(self, part: int) -> Path:
        return self.path / f"part-{part:05}.parquet"

    def _collected(self, part: int) -> Path:
        return self.path / f".part-{part:05}.csv"

    @property
    def end(self) -> int:
        """Bytes of the rows of the present part."""
        return self._rows.end

    @property
    def is_open(self) -> bool:
        """As of `CsvTable`."""
        return self._rows.is_open

    def size_on_disk(self) -> float:
        """Unknown: it does not limit where a row can end."""
        return math.inf

    def begin(self) -> None:
        """As of `CsvTable`."""
        for old in [*self.path.glob("part-*.parquet"), *self.path.glob(".part-*.csv")]:
            old.unlink()
        self.appended = 0
        self._rows = CsvTable(self._collected(0), self.columns)
        self._rows.begin()

    def go_on(self, end: int, appended: int) -> None:
        """As of `CsvTable`."""
        self.appended = appended
        following = self._collected(appended // self.PART)
        if not appended % self.PART and following.exists():  # the part before is written
            self._rows = CsvTable(following, self.columns)
            self._rows.begin()  # without a row that was interrupted
        else:
            self._rows = CsvTable(self._collected((appended - 1) // self.PART), self.columns)
            self._rows.go_on(end, appended)
        for old in self.path.glob(".part-*.csv"):
            if old != self._rows.path:
                old.unlink()

    def append(self, rows: Iterable[Sequence[object]]) -> None:
        """As of `CsvTable`."""
        part, more = divmod(self.appended, self.PART)
        if part and not more and self._rows.path != self._collected(part):
            full = self._rows
            full.close()
            self._write_part(part - 1)
            self._rows = CsvTable(self._collected(part), self.columns)
            self._rows.begin()
            full.path.unlink()
        self._rows.append(rows)
        self.appended += 1

    def rows_at(self, place: Place) -> list[list[Any]]:
        """As of `CsvTable`, of a finished table."""
        part = place.number // self.PART
        first = place.first_row - sum(map(self._count, range(part)))
        columns = self._read(part).slice(first, place.rows).to_pydict().values()
        return list(map(list, zip(*columns, strict=True)))

    def _read_part(self, part: int) -> Any:
        """A part as a table of pyarrow."""
        from pyarrow import parquet

        return parquet.read_table(self._written(part))

    def _count_rows(self, part: int) -> int:
        from pyarrow import parquet

        return parquet.read_metadata(self._written(part)).num_rows

    def finish(self) -> None:
        """Write the last part, once."""
        if not self.is_open:
            return
        self._rows.close()
        self._write_part(max(self.appended - 1, 0) // self.PART)

    def _write_part(self, part: int) -> None:
        """Convert the collected rows: text, a whole number, and 64-bit floats."""
        from pyarrow import csv as arrow_csv
        from pyarrow import float64, int32, parquet, string

        kinds = dict.fromkeys(self.columns, float64())
        kinds |= {"photo": string(), "face": int32()}
        options = arrow_csv.ConvertOptions(column_types=kinds, strings_can_be_null=False)
        table = arrow_csv.read_csv(self._collected(part), convert_options=options)
        replace_file(self._written(part), lambda file: parquet.write_table(table, file))

    def close(self) -> None:
        """As of `CsvTable`."""
        self._rows.close()


def append_rows(file: io.FileIO, end: int, rows: Iterable[Sequence[object]]) -> int:
    """Append rows to an unbuffered CSV of `end` bytes; returns how many it has then.

    Raises OSError if the disk is full; the file then ends with its last whole row, as before.
    """
    lines = memoryview(csv_lines(rows))
    written = 0
    try:
        while written < len(lines):  # a nearly full disk takes a part of them
            written += file.write(lines[written:])
    except OSError:
        with contextlib.suppress(OSError):
            file.truncate(end)
        raise
    return end + written


def csv_lines(rows: Iterable[Sequence[object]]) -> bytes:
    """Rows of fields as lines of CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8")
