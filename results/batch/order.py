"""A resumed run's table: its rows put in the order of the photos, outdated ones left out."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from data.system.progress import progress_bar
from results.batch.journal import Done, Journal, last_of_each, path_key
from results.batch.table import CsvTable, ParquetTable, Place

INDEX = [("key", np.uint64), ("faces", np.int64), ("end", np.int64), ("line", np.int64)]


def put_in_order(
    table: CsvTable | ParquetTable,
    journal: Journal,
    listed: Iterable[str],
    changed: Iterable[int],
    before: int,
) -> Done:
    """Write a finished table and its journal anew: the `listed` photos, by path, in that order.

    Those that are not listed come first. Of a photo that was looked at twice the later rows stay;
    one that has `changed`, by the key of its path, has none among the first `before` photos. A kill
    leaves the earlier files, or new ones that `finish_replacing` puts in their place. Returns what
    the table holds.
    """
    lines = ((path_key(e.photo), e.faces, e.end, line) for e, line in journal.entries())
    index = np.fromiter(lines, INDEX)
    keys = np.fromiter(map(path_key, listed), np.uint64)
    sequence = in_sequence(index["key"], keys, np.fromiter(changed, np.uint64), before)
    starts = np.concatenate([[table.start], index["end"][:-1]])
    rows = np.cumsum(index["faces"]) - index["faces"]
    new_table = type(table)(beside(table.path), table.columns)
    new_journal = Journal(new_table.path, journal.run)
    new_table.begin()
    new_journal.begin()
    with (
        open(journal.path, "rb") as file,
        progress_bar("rows put in order, photos", len(sequence)) as advance,
    ):
        for number in map(int, sequence):
            _, faces, end, line = index[number].item()
            place = Place(number, int(starts[number]), end, int(rows[number]), faces)
            new_table.append(table.rows_at(place))
            entry = journal.entry_at(file, line)
            new_journal.add(*entry[:4], new_table.end)
            advance(1)
    new_table.finish()
    new_journal.close()
    os.replace(new_journal.path, ready(journal))
    finish_replacing(table.path, journal)
    faces = index["faces"][sequence]
    return Done(len(sequence), int((faces == 0).sum()), int(faces.sum()))


def in_sequence(
    keys: np.ndarray, listed: np.ndarray, changed: np.ndarray, before: int
) -> np.ndarray:
    """The numbers of the photos with these keys, (N,), as `put_in_order` orders them, (M,)."""
    kept = last_of_each(keys)
    kept = kept[~(np.isin(keys[kept], changed) & (kept < before))]
    if not len(kept):
        return kept
    places = np.searchsorted(keys[kept], listed) % len(kept)
    found = kept[places[keys[kept][places] == listed]]
    return np.concatenate([np.setdiff1d(kept, found), found])


def beside(table: Path) -> Path:
    """Where the new table is until it is whole."""
    return table.with_name(f".new.{table.name}")


def ready(journal: Journal) -> Path:
    """Where the new journal is once it and the new table are whole."""
    return journal.path.with_suffix(".ready")


def finish_replacing(table: Path, journal: Journal) -> None:
    """Put a whole new table and journal in the place of the earlier ones, if there are any."""
    new = beside(table)
    if not ready(journal).exists():
        return
    if new.is_dir():
        shutil.rmtree(table, ignore_errors=True)
    if new.exists():
        os.replace(new, table)
    os.replace(ready(journal), journal.path)
