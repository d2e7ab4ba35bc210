"""The test faces: their key points in a CSV, and pictures of some of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import IO

import numpy as np

from data.faces import Faces, read_faces, synthetic_faces
from data.formats.labels import AS_USUAL, LabelOptions
from data.key_points import Names, output_columns
from data.system.files import HERE, find_data, replace_file
from data.system.progress import progress_bar
from models.storage import Landmarker
from results.figures.plots import PER_PICTURE, plot_faces

SYNTHETIC_TEST = 200  # synthetic test faces where there is no file: enough to look at
SYNTHETIC_SEED = 1  # not the training's default, so that they are other faces


def load_test_faces(path: Path | None, options: LabelOptions = AS_USUAL) -> Iterable[Faces]:
    """The test faces, part by part: of the file, of the one in data/, or else synthetic ones."""
    path = path or find_data("test")
    if path:
        return read_faces(path, options)
    print(f"{HERE / 'data' / 'test.csv'} does not exist: synthetic faces are used instead.")
    return [synthetic_faces(SYNTHETIC_TEST, SYNTHETIC_SEED)]


def picture_test_faces(
    landmarker: Landmarker, parts: Iterable[Faces], results: Path, mirror: bool
) -> int:
    """Write test_key_points.csv, and pictures of the first and last faces; returns their number."""
    count, first, last = predict_file(landmarker, parts, results / "test_key_points.csv", mirror)
    for name, shown in (("test_result01.png", first), ("test_result02.png", last)):
        pictures, key_points, spread, image_ids = zip(*shown, strict=True)
        titles = [f"ImageId {i}" for i in image_ids]
        plot_faces(results / name, pictures, key_points, spread, titles, landmarker.names)
    return count


def predict_file(
    landmarker: Landmarker, parts: Iterable[Faces], path: Path | str, mirror: bool
) -> tuple[int, list[tuple], list[tuple]]:
    """Predict the key points of test faces and write them to a CSV.

    Args:
        landmarker: as from `load_landmarker`.
        parts: the faces, as from `read_faces`: memory does not grow with their number.
        path: the CSV; an error in a late part leaves an earlier file as it was.
        mirror: test-time flip averaging.

    Returns:
        The number of faces, and the first and the last 16 as lists of (picture, key points,
        spread, ImageId).
    """
    first: list[tuple] = []
    last: list[tuple] = []
    count = 0

    def write(temporary: Path) -> None:
        nonlocal first, last, count
        with (
            open(temporary, "w", newline="", encoding="utf-8") as file,
            progress_bar("predicting test faces") as advance,
        ):
            for faces in parts:
                found = landmarker.predict(faces.pictures, mirror)
                write_key_points(file, faces.image_ids, *found, not count, landmarker.names)
                count += len(faces.rows)
                some = list(zip(faces.pictures, *found, faces.image_ids, strict=True))
                first = (first + some)[:PER_PICTURE]
                last = (last + some)[-PER_PICTURE:]
                advance(len(faces.rows))

    replace_file(path, write)
    return count, first, last


def write_key_points(
    file: IO[str],
    image_ids: np.ndarray,
    key_points: np.ndarray,
    spread: np.ndarray,
    header: bool,
    names: Names,
) -> None:
    """Append `ImageId`, the 2K coordinates and the K points' spread, in pixels, to an open CSV."""
    import pandas as pd

    values = np.concatenate([key_points.reshape(len(key_points), -1), spread], axis=1)
    table = pd.DataFrame(values, columns=output_columns(names))
    table.insert(0, "ImageId", image_ids)
    table.to_csv(file, index=False, header=header, float_format="%.3f")
