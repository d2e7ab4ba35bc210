"""Make one meaning per point out of Kaggle's training file.

    python -m data.labels.kaggle          # data/training.csv or .zip -> data/one_meaning.csv
    python -m data.labels.kaggle training.zip --out one_meaning.csv
    python model_builder.py --data data/one_meaning.csv

Three hands marked Kaggle's complete rows, one after the other, and by "eye corner" and "lip" they
meant different spots (data/README.md has the drawing and the figures). A network trained on all of
them guesses from a picture's looks whose habit it should follow. Here the labels that mean another
spot than the drawing's are masked, as missing ones are; nothing else is changed.

The file is recognised by its own order: 2,140 complete rows, of which a few are looked at. It may
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

COMPLETE = 2140  # rows of Kaggle's file with all 15 points, in the file's order

# The complete rows at which each hand begins. Both changes are sharp: the eye corners move by a
# quarter of an eye's width from one row to the next, the lips from their edges to the line between.
FIRST_ROWS = (0, 1163, 1569)

EYE_CORNERS = tuple(name for name in KEY_POINTS if name.endswith("_corner") and "eye" in name)
TOP_LIP, BOTTOM_LIP = "mouth_center_top_lip", "mouth_center_bottom_lip"
# What each hand marked elsewhere. Heights and widths in eye distances, medians over its rows.
ELSEWHERE = (
    EYE_CORNERS,  # 0.34 from corner to corner, within the eye; where the lids meet it is 0.45
    (TOP_LIP,),  # a third of the lip below its upper edge
    (TOP_LIP, BOTTOM_LIP),  # the lips' inner edges: 0.03 apart where a mouth is closed, not 0.25
)
# The whole file's rows of a few points are by a fourth: the nose tip lower, the lip at mid-mouth.
ELSEWHERE_FEW = ("nose_tip", BOTTOM_LIP)

# Complete rows by which the file is known, and where their left eye's centre is, in pixels.
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
    """The rows of Kaggle's file that once had all 15 points, int (2140,), and whose hand they are.

    Args:
        key_points: (N, 15, 2) pixels in the file's order, NaN where not labelled; as the file
            comes or as this script leaves it.

    Returns:
        The rows, and for each the hand, 0 .. 2. Raises ValueError saying in which way the rows
        are not Kaggle's.
    """
    labelled = np.isfinite(key_points).all(2)
    complete = labelled.all(1)
    if not complete.any():  # masked: whoever lacks just what one hand's rows lack
        kept = [~np.isin(KEY_POINTS, names) for names in ELSEWHERE]
        matches = np.array([(labelled == points).all(1) for points in kept])
        last_of_second = np.flatnonzero(matches[1]).max(initial=-1)
        matches[2, : last_of_second + 1] = False  # by the second hand, with a lip missing
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
    """The rows, counted from 0, at which the hands begin; None if it is not Kaggle's file."""
    if faces.names != KEY_POINTS:
        return None
    try:
        rows, _ = complete_rows(faces.key_points)
    except ValueError:
        return None
    return [0, *rows[list(FIRST_ROWS[1:])].tolist()]


def find_hands(key_points: np.ndarray) -> np.ndarray:
    """Which hands may have marked each row of Kaggle's file.

    Args, and the ValueError raised, as of `complete_rows`.

    Returns:
        bool (N, 3). A row that lacks a point is by the hand of the complete rows around it; where
        those are by two hands, by either.
    """
    complete, hand = complete_rows(key_points)
    rows = np.arange(len(key_points))
    before = np.clip(np.searchsorted(complete, rows, side="right") - 1, 0, None)
    after = np.clip(np.searchsorted(complete, rows), None, COMPLETE - 1)
    hands = np.zeros((len(rows), len(FIRST_ROWS)), bool)
    hands[rows, hand[before]] = True
    hands[rows, hand[after]] = True
    return hands


def means_another_spot(key_points: np.ndarray) -> np.ndarray:
    """Which labels of Kaggle's file mean another spot than the drawing in data/README.md.

    Args, and the ValueError raised, as of `complete_rows`. Returns bool (N, 15).
    """
    hands = find_hands(key_points)
    few = np.isfinite(key_points[..., 0]).sum(1) <= FEW_POINTS
    another = np.zeros(key_points.shape[:2], bool)
    for rows, names in zip((*hands.T, few), (*ELSEWHERE, ELSEWHERE_FEW), strict=True):
        another[np.ix_(rows, [KEY_POINTS.index(name) for name in names])] = True
    return another


def with_one_meaning(faces: Faces) -> Faces:
    """Faces of Kaggle's file, every row of it in order, without the labels that mean another spot.

    Raises InputError if it is another file.
    """
    try:
        another = means_another_spot(faces.key_points)
    except ValueError as problem:
        raise InputError(
            f"{faces.path} {problem}: it is not Kaggle's training.csv; give that file, as it comes."
        ) from None
    return faces._replace(key_points=np.where(another[..., None], np.nan, faces.key_points))


def write_one_meaning(path: Path, source: Path, another: np.ndarray) -> None:
    """Copy the CSV `source` to `path`, the fields of the labels `another` (N, 15) left empty."""
    first = 0
    with open(path, "w", newline="", encoding="utf-8") as file:
        for chunk in read_table(source):
            for point, name in enumerate(KEY_POINTS):
                empty = another[first : first + len(chunk), point]
                chunk.loc[empty, [f"{name}_x", f"{name}_y"]] = np.nan
            chunk.to_csv(file, index=False, header=first == 0, lineterminator="\n")
            first += len(chunk)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line as an argparse namespace."""
    parser = argparse.ArgumentParser(
        description="Copy Kaggle's training file without the labels that mean another spot."
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
    """Read, recognise, mask, write."""
    source = arguments.file or find_data("training")
    if source is None:
        raise InputError(
            f"{HERE / 'data' / 'training.csv'} does not exist; data/README.md says where to get"
            " it, or give the file's path."
        )
    faces = load_faces(source)
    if faces.key_points is None or faces.names != KEY_POINTS:
        raise InputError(f"{source} has other columns than Kaggle's training.csv; give that.")
    kept = with_one_meaning(faces)
    labelled, left = (np.isfinite(each.key_points[..., 0]) for each in (faces, kept))
    make_folder(arguments.out.parent)
    replace_file(arguments.out, lambda path: write_one_meaning(path, source, labelled & ~left))
    print(
        f"{arguments.out}: {len(faces.rows):,} faces, {left.sum():,} of {labelled.sum():,} labels"
        " kept; the others mean another spot."
    )


if __name__ == "__main__":
    sys.exit(run_script(None, parse_arguments, run))
