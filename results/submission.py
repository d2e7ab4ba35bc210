"""`--submission`: the answers to Kaggle's table of coordinates of the test faces."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data.faces import FEW_POINTS, read_faces
from data.images.crops import left_is_viewers
from data.key_points import COLUMNS, KEY_POINTS, SIZE
from data.system.files import (
    InputError,
    find_data,
    make_folder,
    printable,
    read_table,
    replace_file,
)
from data.system.progress import progress_bar
from models.choose import find_model
from models.storage import describe_model, load_landmarker

if TYPE_CHECKING:
    import pandas as pd


def read_lookup_table(path: Path | str) -> pd.DataFrame:
    """Read Kaggle's IdLookupTable.csv: the coordinates of the test faces that it asks for.

    Returns a pandas data frame of text, `RowId`, `ImageId` and `FeatureName`, one row per answer.
    Raises InputError, which names the row, if it is not such a table.
    """
    import pandas as pd

    table = pd.concat(read_table(path))
    table.columns = [name.strip() for name in table.columns]
    names = ["RowId", "ImageId", "FeatureName"]
    for name in names:
        if name not in table.columns:
            raise InputError(f"{path} has no column named {name}; give Kaggle's IdLookupTable.csv.")
    problems = {
        "has an empty field": table[names].isna().any(axis=1),
        "repeats a RowId": table["RowId"].duplicated(),
        "names no coordinate of a key point": ~table["FeatureName"].isin(COLUMNS),
    }
    for problem, rows in problems.items():
        if rows.any():
            raise InputError(
                f"{path}: row {table.index[rows][0] + 1} below the header {problem}; download the"
                " table again."
            )
    return table[names]


def answer(
    table: pd.DataFrame,
    image_ids: list[str],
    key_points: np.ndarray,
    few_points_offset: list[list[float]] | None,
) -> np.ndarray:
    """The coordinates that the table asks for.

    Args:
        table: as from `read_lookup_table`.
        image_ids: the test faces' ImageIds as text, (N,).
        key_points: float (N, 15, 2) pixels.
        few_points_offset: 15 pairs of pixels, or None. Faces of which the table asks at most four
            points are labelled by the annotators who mark only those, and mark some of them
            elsewhere: by this offset.

    Returns:
        (rows of the table,) pixels, clipped to 0 .. 96, NaN where a point was never labelled.
        Raises InputError if a face is missing, or there more than once.
    """
    face = {image_id: i for i, image_id in enumerate(image_ids)}
    if len(face) < len(image_ids):
        repeated = next(i for i, times in Counter(image_ids).items() if times > 1)
        raise InputError(
            f"the test faces have the ImageId {printable(repeated):.40} more than once, so it is"
            " not clear whose coordinates the table asks for; fix it in the test CSV."
        )
    index = table["ImageId"].map(face)
    if index.isna().any():
        missing = table["ImageId"][index.isna()].iloc[0]
        raise InputError(
            f"no test face has the ImageId {missing:.40}, which the table asks for; name the test"
            " CSV that belongs to the table by --data."
        )
    if few_points_offset:
        asked = table.groupby("ImageId")["FeatureName"].transform("count")
        few = index[asked <= 2 * FEW_POINTS].unique().astype(int)
        key_points = key_points.copy()
        key_points[few] += few_points_offset
    column = table["FeatureName"].map(COLUMNS.index)
    return key_points.reshape(-1, len(COLUMNS))[index.astype(int), column].clip(0, SIZE)


def run_submission(arguments: argparse.Namespace) -> None:
    """Write submission.csv: the coordinates of the test faces that Kaggle's table asks for."""
    test_path = arguments.data or find_data("test")
    if not test_path:
        raise InputError("--submission needs Kaggle's test faces: name their CSV by --data.")
    table = read_lookup_table(arguments.submission)
    make_folder(arguments.results)
    landmarker = load_landmarker(arguments.model or find_model())
    path, record = landmarker.path, landmarker.record
    if landmarker.names != KEY_POINTS:
        raise InputError(
            f"{path} finds other key points than Kaggle's 15, which --submission needs; choose"
            " another model by --model."
        )
    if left_is_viewers(KEY_POINTS, landmarker.mean_face):
        raise InputError(
            f"{path} was trained with left as the viewer's, but --submission needs the subject's;"
            " choose another model by --model, or train one with left and right swapped."
        )
    print(describe_model(path, record), flush=True)
    image_ids: list[str] = []
    key_points = []
    with progress_bar("predicting test faces") as advance:
        for faces in read_faces(test_path):
            image_ids += map(str, faces.image_ids)
            key_points.append(landmarker.predict(faces.pictures, arguments.mirror)[0])
            advance(len(faces.rows))
    offset = record.get("few_points_offset")
    if not offset:
        print("The model was trained without rows of few points: such faces get no offset.")
    locations = answer(table, image_ids, np.concatenate(key_points), offset)
    if empty := int(np.isnan(locations).sum()):
        print(f"{empty} answers are left empty: those points were never labelled in the training.")
    path = arguments.results / "submission.csv"
    answers = table[["RowId"]].assign(Location=locations)
    replace_file(path, lambda file: answers.to_csv(file, index=False, float_format="%.4f"))
    print(f"{len(answers)} answers for {len(image_ids)} test faces are in {path}")
