"""`--image --csv`: faces as rows of a training file, to be corrected and trained on.

`model_builder.py --data FILE --init models/pretrained.keras` trains on such a file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data.images.crops import cut_crop
from data.key_points import Names, output_columns, three_decimals
from data.system.files import InputError, make_folder, printable, replace_file
from models.detect.search import Detections
from models.spread import face_spread

if TYPE_CHECKING:
    from PIL import Image


TrainingRow = tuple[float, list]  # how unsure it is, and its fields


def training_rows(path: Path, photo: Image.Image, faces: Detections) -> list[TrainingRow]:
    """The rows of the faces of a PIL photo, read from `path`."""
    grey = np.array(photo.convert("L"))
    of_faces = face_spread(faces.spread, faces.names)
    rows: list[TrainingRow] = []
    for number, (points, spread, affine, unsure) in enumerate(
        zip(faces.points, faces.spread, faces.affines, of_faces, strict=True), 1
    ):
        crop = np.rint(cut_crop(grey, affine)).astype(np.uint8)
        in_crop = (points - affine[:, 2]) @ np.linalg.inv(affine[:, :2]).T
        numbers = three_decimals([*in_crop.ravel(), *spread])
        image = " ".join(map(str, crop.ravel().tolist()))
        rows.append((float(unsure), [printable(path), number, *numbers, image]))
    return rows


class TrainingRows:
    """Collects faces and writes them to a CSV: `photo`, `face`, the predicted points and their
    spread in pixels of the crop, and `Image`, the 96x96 crop. Least certain face first."""

    def __init__(self, path: Path, names: Names) -> None:
        """Raises InputError if `path` exists, since it may hold corrections, or cannot be made."""
        if path.exists():
            raise InputError(
                f"{path} exists and may hold corrections; name another file by --csv, or delete it."
            )
        make_folder(path.parent)
        self.path, self.names = path, names
        self.rows: list[TrainingRow] = []  # as from `training_rows`

    def write(self) -> None:
        """Write the file."""
        import pandas as pd

        rows = [row for _, row in sorted(self.rows, key=lambda pair: -pair[0])]
        columns = ["photo", "face", *output_columns(self.names), "Image"]
        table = pd.DataFrame(rows, columns=columns)
        replace_file(self.path, lambda file: table.to_csv(file, index=False, encoding="utf-8"))
        print(f"{len(rows)} face(s) to correct and train on, least certain first, in {self.path}")
