"""Remove the inconsistent labels from Kaggle's training file.

    python -m data.labels.kaggle          # data/training.csv or .zip -> data/one_meaning.csv
    python -m data.labels.kaggle training.zip --out one_meaning.csv
    python model_builder.py --data data/one_meaning.csv

Three annotators labelled Kaggle's complete rows, one after the other, and put "eye corner" and
"lip" on different spots (data/README.md has a drawing and the figures). A network trained on all
of them guesses from the picture whose convention it should follow. Here the labels that are on
another spot than in the drawing are removed; nothing else is changed.

The file is recognised by the order of its 2,140 complete rows, of which a few are compared. It may
be the whole file of 7,049 rows or the complete rows alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.faces import FEW_POINTS, Faces, load_faces
from data.key_points import KEY_POINTS, LEFT_EYE
from data.system.command_line import run_script
from data.system.files import HERE, InputError, find_data, make_folder, read_table, replace_file
from data.system.progress import progress_bar

COMPLETE = 2140  # rows of Kaggle's file with all 15 points, in the file's order

# The complete rows at which each annotator begins. Both changes are sharp: from one row to the next
# the eye corners move by a quarter of an eye's width, the lips from the edges to the line between.
FIRST_ROWS = (0, 1163, 1569)

EYE_CORNERS = tuple(name for name in KEY_POINTS if name.endswith("_corner") and "eye" in name)
TOP_LIP, BOTTOM_LIP = "mouth_center_top_lip", "mouth_center_bottom_lip"
# What each annotator put on another spot. Heights and widths in inter-ocular distances, medians.
INCONSISTENT = (
    EYE_CORNERS,  # 0.34 from corner to corner, within the eye; where the lids meet it is 0.45
    (TOP_LIP,),  # a third of the lip below its upper edge
    (TOP_LIP, BOTTOM_LIP),  # the lips' inner edges: 0.03 apart where a mouth is closed, not 0.25
)
# A fourth labelled the whole file's rows of few points: the nose tip lower, the lip at mid-mouth.
INCONSISTENT_FEW = ("nose_tip", BOTTOM_LIP)

# Complete rows that identify the file, and their left eye's centre in pixels.
KNOWN_ROWS = {
    0: (66.0336, 39.0023),
    700: (65.6181, 39.2954),
    1162: (65.9435, 38.8229),
    1163: (63.5549, 37.3177),
    1568: (66.4478, 37.6404),
    1569: (68.9532, 36.5047),
    1900: (63.5753, 38.4815),
    2139: (66.6838, 34.4834),
}
WHOLE_FILE = 7049  # its rows; those of at most FEW_POINTS points are of a second source


def complete_rows(key_points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows of Kaggle's file that have, or had, all 15 points, and who labelled them.

    Args:
        key_points: (N, 15, 2) pixels in the file's order, NaN where not labelled; of the file as
            it comes or as this script writes it.

    Returns:
        The rows, int (2140,), and each one's annotator, 0 .. 2.

    Raises ValueError, saying how the rows differ from Kaggle's.
    """
    labelled = np.isfinite(key_points).all(2)
    complete = labelled.all(1)
    if not complete.any():  # this script's file: rows that lack just what an annotator's rows lack
        kept = [~np.isin(KEY_POINTS, names) for names in INCONSISTENT]
        matches = np.array([(labelled == points).all(1) for points in kept])
        last_of_second = np.flatnonzero(matches[1]).max(initial=-1)
        matches[2, : last_of_second + 1] = False  # the second one's, with a lip missing
        complete = matches.any(0)
    rows = np.flatnonzero(complete)
    if len(key_points) not in (COMPLETE, WHOLE_FILE) or len(rows) != COMPLETE:
        raise ValueError(
            f"has {len(key_points):,} rows, {len(rows):,} of them complete, instead of"
            f" {COMPLETE:,} or {WHOLE_FILE:,} rows, {COMPLETE:,} of them complete"
        )
    for row, place in KNOWN_ROWS.items():
        found = key_points[rows[row], LEFT_EYE]
        if not np.allclose(found, place, rtol=0, atol=0.01):
            raise ValueError(
                f"has its rows in another order: complete row {row + 1} has the left eye's centre"
                f" at {found[0]:.2f}, {found[1]:.2f} instead of {place[0]:.2f}, {place[1]:.2f}"
            )
    return rows, np.searchsorted(FIRST_ROWS, np.arange(COMPLETE), side="right") - 1


def first_rows(faces: Faces) -> list[int] | None:
    """The rows, counted from 0, at which the annotators begin; None if it is not Kaggle's file."""
    if faces.names != KEY_POINTS:
        return None
    try:
        rows, _ = complete_rows(faces.key_points)
    except ValueError:
        return None
    return [0, *rows[list(FIRST_ROWS[1:])].tolist()]


def find_annotators(key_points: np.ndarray) -> np.ndarray:
    """Which annotators may have labelled each row of Kaggle's file.

    Args, and the ValueError raised, as of `complete_rows`.

    Returns:
        bool (N, 3). A row that lacks a point is taken to be by the annotator of the complete rows
        around it; where those are by two, by either.
    """
    complete, annotator = complete_rows(key_points)
    rows = np.arange(len(key_points))
    before = np.clip(np.searchsorted(complete, rows, side="right") - 1, 0, None)
    after = np.clip(np.searchsorted(complete, rows), None, COMPLETE - 1)
    annotators = np.zeros((len(rows), len(FIRST_ROWS)), bool)
    annotators[rows, annotator[before]] = True
    annotators[rows, annotator[after]] = True
    return annotators


def inconsistent_labels(key_points: np.ndarray) -> np.ndarray:
    """Which labels of Kaggle's file are on another spot than in the drawing of data/README.md.

    Args, and the ValueError raised, as of `complete_rows`. Returns bool (N, 15).
    """
    annotators = find_annotators(key_points)
    few = np.isfinite(key_points[..., 0]).sum(1) <= FEW_POINTS
    inconsistent = np.zeros(key_points.shape[:2], bool)
    for rows, names in zip((*annotators.T, few), (*INCONSISTENT, INCONSISTENT_FEW), strict=True):
        inconsistent[np.ix_(rows, [KEY_POINTS.index(name) for name in names])] = True
    return inconsistent


def drop_inconsistent(faces: Faces) -> Faces:
    """Faces of Kaggle's file, all rows in order, without the inconsistent labels.

    Raises InputError if it is another file.
    """
    try:
        inconsistent = inconsistent_labels(faces.key_points)
    except ValueError as problem:
        raise InputError(
            f"{faces.path} {problem}: it is not Kaggle's training.csv; give that file, as it comes."
        ) from None
    return faces._replace(key_points=np.where(inconsistent[..., None], np.nan, faces.key_points))


def write_without(path: Path, source: Path, dropped: np.ndarray) -> None:
    """Copy the CSV `source` to `path`, with the fields of the labels `dropped` (N, 15) empty."""
    first = 0
    with (
        open(path, "w", newline="", encoding="utf-8") as file,
        progress_bar("writing row", len(dropped)) as advance,
    ):
        for chunk in read_table(source):
            for point, name in enumerate(KEY_POINTS):
                empty = dropped[first : first + len(chunk), point]
                chunk.loc[empty, [f"{name}_x", f"{name}_y"]] = np.nan
            chunk.to_csv(file, index=False, header=first == 0, lineterminator="\n")
            first += len(chunk)
            advance(len(chunk))


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line as an argparse namespace."""
    parser = argparse.ArgumentParser(
        description="Copy Kaggle's training file without its inconsistent labels."
    )
    parser.add_argument(
        "file",
        nargs="?",
        type=Path,
        help="Kaggle's training file, plain, .gz or .zip (default: data/training.csv, .csv.gz or"
        " .zip)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=HERE / "data" / "one_meaning.csv",
        help="the CSV to write (default: %(default)s)",
    )
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> None:
    """Read, recognise, remove, write."""
    source = arguments.file or find_data("training")
    if source is None:
        raise InputError(
            f"{HERE / 'data' / 'training.csv'} does not exist; data/README.md says where to get"
            " it, or give the file's path."
        )
    faces = load_faces(source)
    if faces.key_points is None or faces.names != KEY_POINTS:
        raise InputError(f"{source} has other columns than Kaggle's training.csv; give that.")
    kept = drop_inconsistent(faces)
    labelled, left = (np.isfinite(each.key_points[..., 0]) for each in (faces, kept))
    make_folder(arguments.out.parent)
    replace_file(arguments.out, lambda path: write_without(path, source, labelled & ~left))
    print(
        f"{arguments.out}: {len(faces.rows):,} faces, {left.sum():,} of {labelled.sum():,} labels"
        " kept; the others are inconsistent with them."
    )


if __name__ == "__main__":
    sys.exit(run_script(None, parse_arguments, run))
