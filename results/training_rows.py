"""The answers of `--image --csv`: faces as rows of the project's own format, to correct and train.

`--data FILE --init models/pretrained.keras` takes them as they are.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from data.images.crops import cut_crop
from data.key_points import Names, output_columns
from data.system.files import InputError, make_folder, printable, replace_file
from models.spread import face_spread


class TrainingRows:
    """Collects faces and writes them as a CSV: `photo`, `face`, the predicted points and their
    spread in pixels of the crop, and `Image`, the 96x96 crop; the least certain face first."""

    def __init__(self, path: Path, names: Names) -> None:
        """Raises InputError if `path` exists, for it may hold corrections, or has no folder."""
        if path.exists():
            raise InputError(
                f"{path} exists and may hold what somebody corrected; name another file by --csv,"
                " or delete that one."
            )
        make_folder(path.parent)
        self.path, self.names = path, names
        self.rows: list[tuple[float, list]] = []

    def add(
        self,
        photo: Path,
        grey: np.ndarray,
        key_points: np.ndarray,
        spread: np.ndarray,
        crops: np.ndarray,
    ) -> None:
        """Take in the faces of a photo of grey values (H, W) uint8.

        `key_points` (N, K, 2) are in its pixels, `spread` (N, K) in the crops', and `crops`
        (N, 2, 3) those round the points.
        """
        for number, (points, unsure, crop, doubt) in enumerate(
            zip(key_points, spread, crops, face_spread(spread), strict=True), 1
        ):
            picture = np.rint(cut_crop(grey, crop)).astype(np.uint8)
            inside = (points - crop[:, 2]) @ np.linalg.inv(crop[:, :2]).T
            numbers = [f"{value:.3f}" for value in (*inside.ravel(), *unsure)]
            image = " ".join(map(str, picture.ravel().tolist()))
            self.rows.append((float(doubt), [printable(photo), number, *numbers, image]))

    def write(self) -> None:
        """Write the file."""
        import pandas as pd

        rows = [row for _, row in sorted(self.rows, key=lambda pair: -pair[0])]
        columns = ["photo", "face", *output_columns(self.names), "Image"]
        table = pd.DataFrame(rows, columns=columns)
        replace_file(self.path, lambda file: table.to_csv(file, index=False, encoding="utf-8"))
        print(f"{len(rows)} face(s) to correct and train on, least certain first, in {self.path}")
