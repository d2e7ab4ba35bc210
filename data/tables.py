"""Writing faces as CSVs in Kaggle's format."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.key_points import KEY_POINTS, Names, columns_of
from data.system.files import replace_file
from data.system.progress import follow


def write_faces(
    path: Path,
    pictures: np.ndarray,
    key_points: np.ndarray | None = None,
    names: Names = KEY_POINTS,
) -> None:
    """Write pictures (N, 96, 96) as Kaggle's CSV, whole or not at all.

    With key_points (N, K, 2) of those names it is a training file (2K coordinates and Image),
    without them a test file (ImageId, counted from 1, and Image). Raises InputError if it cannot be
    written.
    """
    columns = ["ImageId"] if key_points is None else columns_of(names)

    def rows() -> Iterable[list[Any]]:
        for i in follow(range(len(pictures)), f"writing {path.name}"):
            image = " ".join(map(str, pictures[i].ravel().tolist()))
            if key_points is None:
                yield [i + 1, image]
            else:
                yield [*(f"{value:.4f}" for value in key_points[i].ravel()), image]

    write_rows(path, [*columns, "Image"], rows())


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV, whole or not at all. Raises InputError if it cannot be written."""

    def write(temporary: Path) -> None:
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(header)
            writer.writerows(rows)

    replace_file(path, write)
