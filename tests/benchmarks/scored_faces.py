"""Real faces that no model here was trained on: which are scored, and in which sets.

The sets are Kaggle test faces labelled by hand, and the held-out faces of Kaggle's training file,
of LFW and of AFLW, the last two also by how far the head is turned and how wide the mouth is open.
Kaggle's file is scored by the labels that mean what data/README.md says, as data/labels/kaggle.py
leaves them: inconsistent labels of lips and eye corners are left out.
"""

import sys
from pathlib import Path
from typing import NamedTuple

import common
import numpy as np
import wild_faces_csv

from data.faces import fingerprint, load_faces
from data.key_points import COLUMNS, KEY_POINTS, LEFT_EYE, RIGHT_EYE, interocular_distance
from data.labels import kaggle
from data.system.files import HERE, InputError

# Hand-labelled test faces left out, by eye, before any method was run on them.
DROPPED = {
    695: "a man's upper half, cut at the eyes: eyes and brows are labelled on the picture's edge",
    782: "cut below the nose: the mouth is labelled on the picture's edge",
    957: "a room with a painting; the small face at the lower edge is cut below the nose",
    662: "drawing of a doll",
    663: "cartoon",
    809: "line drawing",
    1147: "ink drawing",
    1264: "line drawing",
    1370: "cartoon",
}

# Rows of each data file, ImageIds of the hand-labelled one: chosen by eye among the held-out faces,
# from their pictures alone. Tinted glasses with the eyes in plain sight behind them are in neither.
DARK_GLASSES = {
    "kaggle": (1575, 1997),
    "lfw": (156, 331, 519, 1535, 1684, 1841, 2111, 2995, 3132, 3603, 3936, 4333, 4709, 5360, 5664)
    + (5730, 6530, 6768, 8445, 9349, 9375, 9564, 9568, 9918),
    "aflw": (693, 2692, 3855, 4645, 4980, 5833, 5955, 7181, 7389, 7400),
    "hand": (552, 785, 877, 1019, 1068, 1103),
}
# Hair, a hat, a hand, a microphone over an eye, a brow or the mouth.
COVERED = {
    "kaggle": (973, 1249, 1282, 1458, 1492, 1570, 1592, 1651, 2027, 2054, 2097),
    "lfw": (603, 1912, 3288, 4071, 4647, 5229, 7514, 8756, 8874, 9063),
    "aflw": (18, 119, 133, 189, 382, 522, 736, 837, 1103, 1369, 1388, 1542, 1584, 1602, 1759, 1769)
    + (1937, 2181, 2445, 2527, 2657, 2694, 2702, 3446, 3636, 3911, 4478, 4673, 4837, 4846, 5060)
    + (5952, 5981, 6278, 6681, 6897, 7260, 7309, 7462, 7464, 7552, 7711, 7812, 7968, 8143, 8838)
    + (8859, 8956, 9367, 9474, 9990),
    "hand": (636, 944, 1022, 1067, 1111, 1196),
}

# --- faces ---------------------------------------------------------------------------------------


class Scored(NamedTuple):
    """All faces that are scored; a set is a mask over them."""

    pictures: np.ndarray  # uint8 (N, 96, 96)
    truth: np.ndarray  # float32 (N, 15, 2) pixels, NaN where not labelled
    source: np.ndarray  # int (N,): index into FILES
    rows: np.ndarray  # int (N,): 0-based row of that file, or the hand-labelled face's ImageId

    def among(self, chosen):
        """Mask (N,) of the faces whose rows are in `chosen`, {name of the file: rows}."""
        files = [(self.source == i) & np.isin(self.rows, chosen[f]) for i, f in enumerate(FILES)]
        return np.any(files, axis=0)

    @property
    def yaw(self):
        return estimate_yaw(self.truth)

    @property
    def opening(self):
        return mouth_opening(self.truth)


FILES = ("kaggle", "lfw", "aflw", "hand")
KAGGLE, LFW, AFLW, HAND = range(len(FILES))


def estimate_yaw(key_points):
    """How far the head is turned aside, (N,) degrees, from the labelled points alone.

    A nose tip that stands d before the eyes' plane moves along the line through the eyes by
    d * sin(yaw), while their distance e shrinks to e * cos(yaw); the quotient is d / e * tan(yaw).
    d / e = 0.6 as on MediaPipe's canonical face, and the held-out faces agree: the eyes' distance,
    in terms of their height above the mouth, shrinks as a face turned by that angle should, to
    within 4 degrees. Seen by eye, 45 is a three-quarter view, and AFLW's own poses, which go to 75
    here, run higher. NaN where the nose tip is not labelled.
    """
    points = key_points.astype(np.float64)
    between = points[:, LEFT_EYE] - points[:, RIGHT_EYE]
    middle = (points[:, LEFT_EYE] + points[:, RIGHT_EYE]) / 2
    nose = points[:, KEY_POINTS.index("nose_tip")] - middle
    aside = (nose * between).sum(-1) / (between**2).sum(-1)
    return np.degrees(np.arctan(np.abs(aside) / 0.6))


def mouth_opening(key_points):
    """Distance of both lips' centres in inter-ocular distances, (N,); NaN if not labelled."""
    top, bottom = (KEY_POINTS.index(f"mouth_center_{lip}_lip") for lip in ("top", "bottom"))
    lips = np.linalg.norm(key_points[:, top] - key_points[:, bottom], axis=-1)
    return lips / interocular_distance(key_points)


def face_sets(faces):
    """Name and mask of every set, in the order of the table.

    Yaw above 40 is one set, since only two of these faces are turned beyond 60. Lips are labelled
    at their outer edges, so that a closed mouth has an opening of about 0.25; above 0.5 all but a
    few mouths are plainly open (by eye; down to 0.45 there are thick closed lips among them).
    """
    source, yaw, opening = faces.source, faces.yaw, faces.opening
    wild = (source == LFW) | (source == AFLW)
    return {
        "Kaggle test, labelled by hand": source == HAND,
        "Kaggle training file, held out": source == KAGGLE,
        "LFW and AFLW, held out": wild,
        "– LFW": source == LFW,
        "– AFLW": source == AFLW,
        "– turned by less than 20°": wild & (yaw < 20),
        "– turned by 20° to 40°": wild & (yaw >= 20) & (yaw < 40),
        "– turned by 40° or more": wild & (yaw >= 40),
        "– LFW, mouth wide open": (source == LFW) & (opening > 0.5),
        "all, dark glasses": faces.among(DARK_GLASSES),
        "all, hair, hat or hand over the face": faces.among(COVERED),
    }


def require(path, hint):
    """The path if there is a file, else an InputError."""
    if not path.is_file():
        raise InputError(f"{path} does not exist; {hint}.")
    return path


def hand_labelled(folder):
    """Pictures, key points and ImageIds of the hand-labelled test faces not in DROPPED."""
    import pandas as pd

    test = load_faces(folder / "test.csv.gz")
    path = folder / "test_hand_labels.csv"
    labels = pd.read_csv(path, dtype={"ImageId": str})
    missing = [name for name in ("ImageId", *COLUMNS) if name not in labels.columns]
    if missing:
        raise InputError(f"{path} has no column named {missing[0]}.")
    labels = labels[~labels["ImageId"].isin(map(str, DROPPED))]
    position = {image_id: i for i, image_id in enumerate(test.image_ids)}
    unknown = [image_id for image_id in labels["ImageId"] if image_id not in position]
    if unknown:
        raise InputError(f"{path} labels ImageId {unknown[0]}, which is not in the test file.")
    pictures = test.pictures[[position[image_id] for image_id in labels["ImageId"]]]
    points = labels[list(COLUMNS)].to_numpy(np.float32)
    return pictures, points.reshape(-1, len(KEY_POINTS), 2), labels["ImageId"].to_numpy(int)


def with_hand_labelled(held_out, shared):
    """Scored: the held-out Faces of Kaggle's file, LFW and AFLW, and the hand-labelled ones."""
    pictures, points, image_ids = hand_labelled(shared)
    return Scored(
        np.concatenate([held_out.pictures, pictures]),
        np.concatenate([held_out.key_points, points]),
        np.concatenate([held_out.source, np.full(len(points), HAND)]),
        np.concatenate([held_out.rows, image_ids]),
    )


def add_arguments(parser):
    """Add the flags that say where the faces are."""
    files = "folder of training.csv.gz, test.csv.gz and test_hand_labels.csv"
    parser.add_argument("--shared", type=Path, default=common.SHARED, help=files)
    wild = "folder of lfw.csv and aflw.csv"
    parser.add_argument("--wild", type=Path, default=HERE / "data", help=wild)


def mask_inconsistent(faces, masked):
    """Give the faces of Kaggle's file, the first of those joined, only its consistent labels: those
    of `masked`, the whole file as from `kaggle.drop_inconsistent`. In place."""
    of_kaggle = faces.file == 0
    faces.key_points[of_kaggle] = masked.key_points[faces.rows[of_kaggle]]


def load_scored(shared, wild):
    """All scored faces, and what the split held out of each training file.

    Returns:
        Scored, and for kaggle, lfw, aflw, and kaggle as data/labels/kaggle.py leaves it, a dict of
        `path`, `sha256` of the whole file and the sorted held-out `rows`. The split is that of a
        training on these three files with default settings, whatever a model was trained on: all
        models are scored on the same faces.
    """
    paths, files, everything, _, chosen = wild_faces_csv.split_real_faces(
        shared / "training.csv.gz", wild
    )
    masked = kaggle.drop_inconsistent(files[0])
    held_out = everything.take(chosen)
    mask_inconsistent(held_out, masked)
    split = [
        {
            "path": str(path),
            "sha256": fingerprint(file),
            "rows": sorted(held_out.rows[held_out.source == i].tolist()),
        }
        for i, (path, file) in enumerate(zip(paths, files, strict=True))
    ]
    split.append(split[0] | {"sha256": fingerprint(masked)})  # the same faces
    return with_hand_labelled(held_out, shared), split


def check_held_out(path, record, split, any_split):
    """Check that the model was not trained on the faces that it is scored on.

    Raises InputError if its record names other held-out rows of a file; with `any_split`, or
    where the record cannot tell, there is only a warning.
    """
    known = {file["sha256"]: file for file in split}
    problems = []
    if not record.get("data"):
        problems.append(f"{path} has no record of its training beside it, so it is not known")
    for data in record.get("data", []):
        file = known.get(data["sha256"])
        if file is None and not data["synthetic_faces"]:
            problems.append(
                f"{path} was trained on {data['path']}, which is none of the files here"
            )
        elif file and sorted(data["validation_rows"]) != file["rows"]:
            message = (
                f"{path} was trained with other rows of {file['path']} held out than the split's"
            )
            if not any_split:
                raise InputError(f"{message}; train it with default settings.")
            problems.append(message)
    for problem in problems:
        print(f"warning: {problem}: it may have seen faces it is scored on.", file=sys.stderr)
