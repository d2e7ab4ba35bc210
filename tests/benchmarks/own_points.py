"""Training on other key points than Kaggle's: 5 and 68 points, from scratch and by a warm start.

    python tests/benchmarks/own_points.py [--count 600] [--epochs 6] [--keep FOLDER]

Makes a CSV of synthetic faces for each set of key points, trains on it as a user would, once from
random weights and once from models/pretrained.keras (which knows 15 points of such faces), and
prints the held-out RMSE beside that of the mean face.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import common
import numpy as np

from data.faces import load_training, synthetic_faces
from data.key_points import KEY_POINTS, columns_of, rmse
from data.system.command_line import positive, run_script
from data.system.files import HERE
from models.storage import SHIPPED

# The points of face detectors such as MTCNN; these names are nobody's standard.
FIVE = {
    "left_eye_center": "left_eye_center",
    "right_eye_center": "right_eye_center",
    "nose": "nose_tip",
    "left_mouth": "mouth_left_corner",
    "right_mouth": "mouth_right_corner",
}


def five_points(key_points):
    """Five of Kaggle's 15 points (N, 15, 2) by other names: the names, (N, 5, 2)."""
    return tuple(FIVE), key_points[:, [KEY_POINTS.index(name) for name in FIVE.values()]]


def dense_points(key_points):
    """68 points along curves through Kaggle's 15 (N, 15, 2), about as in 300-W.

    Returns the names (68,), with left or right in all but those in the middle, and (N, 68, 2).
    """
    at = dict(zip(KEY_POINTS, np.moveaxis(key_points, 1, 0), strict=True))
    made = {}

    def curve(name, start, middle, end, places):
        """Points on a quadratic Bézier curve, numbered."""
        for i, t in enumerate(places):
            made[f"{name}_{i}"] = (1 - t) ** 2 * start + 2 * t * (1 - t) * middle + t**2 * end

    top, bottom = at["mouth_center_top_lip"], at["mouth_center_bottom_lip"]
    nose, lips = at["nose_tip"], (top + bottom) / 2
    eyes = (at["left_eye_center"] + at["right_eye_center"]) / 2
    chin = lips + 0.9 * (lips - nose)
    made["chin"] = chin
    curve("nose_bridge", eyes, (eyes + nose) / 2, nose, np.linspace(0, 0.9, 4))
    made["nose_base"] = nose + 0.2 * (top - nose)
    for lip, outer in (("top", top), ("bottom", bottom)):
        made[f"mouth_{lip}_lip"], made[f"mouth_inner_{lip}_lip"] = (
            outer,
            outer + 0.4 * (lips - outer),
        )
    for side, other in (("left", "right"), ("right", "left")):
        eye, corner = at[f"{side}_eye_center"], at[f"mouth_{side}_corner"]
        brow = [at[f"{side}_eyebrow_{end}_end"] for end in ("inner", "outer")]
        arch = sum(brow) / 2 + 0.3 * (sum(brow) / 2 - eye)
        temple = brow[1] + 0.15 * (brow[1] - at[f"{other}_eyebrow_outer_end"])
        curve(f"{side}_jaw", temple, corner + 0.9 * (temple - eye), chin, np.linspace(0, 0.88, 8))
        curve(f"{side}_eyebrow", brow[0], arch, brow[1], np.linspace(0, 1, 5))
        curve(f"{side}_nose_wing", nose, (nose + lips) / 2, corner, (0.3, 0.45))
        corners = [at[f"{side}_eye_{end}_corner"] for end in ("outer", "inner")]
        made[f"{side}_eye_outer"], made[f"{side}_eye_inner"] = corners
        for lid, up in (("upper", 0.5), ("lower", -0.5)):
            curve(
                f"{side}_eye_{lid}_lid", corners[0], eye + up * (arch - eye), corners[1], (0.3, 0.7)
            )
        made[f"{side}_mouth_corner"] = corner
        made[f"{side}_mouth_inner_corner"] = corner + 0.15 * (lips - corner)
        for lip, outer in (("top", top), ("bottom", bottom)):
            curve(f"{side}_mouth_{lip}_lip", corner, (corner + 2 * outer) / 3, outer, (0.35, 0.7))
            made[f"{side}_mouth_inner_{lip}_lip"] = (corner + outer + 2 * lips) / 4
    return tuple(made), np.stack(list(made.values()), 1).astype(np.float32)


def write_csv(path, pictures, names, key_points):
    """Write faces with key points (N, K, 2) of these names, NaN as an empty field."""
    import pandas as pd

    table = dict(zip(columns_of(names), key_points.reshape(len(pictures), -1).T, strict=True))
    table["Image"] = [" ".join(map(str, picture.ravel())) for picture in pictures]
    pd.DataFrame(table).to_csv(path, index=False)
    return path


def train(folder, csv_path, epochs, *flags):
    """Train by the script; returns the held-out RMSE of model and mean face in pixels."""
    model = folder / "m.keras"
    command = [sys.executable, HERE / "model_builder.py", "--data", csv_path, "--model", model]
    command += ["--results", folder, "--epochs", epochs, "--batch-size", 16, *flags]
    subprocess.run(list(map(str, command)), check=True, stdout=sys.stderr)
    record = json.loads(model.with_suffix(".json").read_text())
    truth = load_training(csv_path).key_points[record["data"][0]["validation_rows"]]
    mean_face = np.array(record["mean_face"], np.float32)
    return record["results"]["validation"][0]["rmse_px"], rmse(mean_face, truth)


def parse_arguments(argv):
    """The command line as an argparse namespace."""
    parser = common.parser("Train on other key points than Kaggle's.")
    parser.add_argument("--count", type=positive(int), default=600, help="faces")
    parser.add_argument("--epochs", type=positive(int), default=6, help="of each training")
    parser.add_argument("--keep", type=Path, help="folder to keep the CSVs and models in")
    return parser.parse_args(argv)


def run(arguments):
    """Train on both sets of points, twice each, and print."""
    faces = synthetic_faces(arguments.count, seed=11)
    with tempfile.TemporaryDirectory() as temporary:
        for name, points in (("5 points", five_points), ("68 points", dense_points)):
            folder = (arguments.keep or Path(temporary)) / name.split()[0]
            for start in ("random", "init"):
                (folder / start).mkdir(parents=True, exist_ok=True)
            path = write_csv(folder / "faces.csv", faces.pictures, *points(faces.key_points))
            init = ("--init", SHIPPED)
            scratch, mean = train(folder / "random", path, arguments.epochs)
            warm, _ = train(folder / "init", path, arguments.epochs, *init)
            print(
                f"{name}: mean face {mean:.2f} px, from random weights {scratch:.2f} px, from"
                f" pretrained.keras {warm:.2f} px (held-out RMSE)",
                flush=True,
            )


if __name__ == "__main__":
    sys.exit(run_script(None, parse_arguments, run))
