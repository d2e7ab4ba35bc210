"""Lists of many paths: read, sorted, each once, in little memory."""

from __future__ import annotations

import heapq
import os
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, compress, islice
from pathlib import Path
from typing import IO

import numpy as np

from data.system.files import InputError, check_file

BLOCK = 1000  # paths that are compressed together
SORTED_TOGETHER = 10 * BLOCK  # paths in memory at once while a folder is sorted
BYTES = 1 << 16  # of a list that are read at once


class Paths:
    """Many paths in order, in compressed blocks: a million take some 5 MB, not 120."""

    def __init__(self, paths: Iterable[str]) -> None:
        paths = iter(paths)
        self.blocks = list(map(compressed, iter(lambda: list(islice(paths, BLOCK)), [])))

    def __iter__(self) -> Iterator[str]:
        return chain.from_iterable(map(expanded, self.blocks))


def compressed(paths: Sequence[str]) -> bytes:
    """Paths as a block."""
    return zlib.compress(b"\0".join(map(os.fsencode, paths)), 1)


def expanded(block: bytes) -> list[str]:
    """The paths of a block."""
    text = zlib.decompress(block)
    return os.fsdecode(text).split("\0") if text else []


def sorted_paths(paths: Iterable[str]) -> Iterator[str]:
    """The paths by name, of which only some are in memory uncompressed."""
    paths, by = iter(paths), os.path.normcase
    parts = iter(lambda: sorted(islice(paths, SORTED_TOGETHER), key=by), [])
    return heapq.merge(*map(Paths, parts), key=by)


def read_paths(path: Path) -> Paths:
    """The paths in a text file, or the standard input for `-`: one a line, or ended by NULs.

    Raises InputError if there is none.
    """
    if str(path) == "-":
        found, name = Paths(paths_in_text(sys.stdin.buffer)), "the standard input"
    else:
        check_file(path, "check the path of the list")
        name = str(path)
        with open(path, "rb") as file:
            found = Paths(paths_in_text(file))
    if not found.blocks:
        raise InputError(f"{name} holds no paths of photos; write one on each line.")
    return found


def paths_in_text(file: IO[bytes]) -> Iterator[str]:
    """The paths in an open list."""
    part = file.read(BYTES)
    end, rest = b"\0" if b"\0" in part else b"\n", b""
    part = part.removeprefix(b"\xef\xbb\xbf")
    while part or rest:
        *lines, rest = (rest + part).split(end) if part else (rest, b"")
        for line in lines:
            if line.strip():
                yield str(Path(os.fsdecode(line.rstrip(b"\r\n"))))
        part = file.read(BYTES)


def each_once(paths: Iterable[str], links: set[str]) -> Iterator[str]:
    """The paths without those that are there already, maybe by a link or another path.

    `paths` is iterated twice; `links`: those that are symbolic links.
    """
    resolved = lru_cache(1000)(os.path.realpath)

    def key(path: str) -> int:
        folder, name = os.path.split(path)
        own = os.path.realpath(path) if path in links else os.path.join(resolved(folder), name)
        return hash(os.path.normcase(own))  # takes less memory than the path

    keys = np.fromiter(map(key, paths), np.int64)
    kept = np.zeros(len(keys), bool)
    kept[np.unique(keys, return_index=True)[1]] = True
    return compress(paths, kept)
