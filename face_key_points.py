"""Show what a trained model finds: in test faces, photos and videos, and its worst errors.

    python face_key_points.py                            # my_model.keras, else the shipped one
    python face_key_points.py --data test.zip            # Kaggle's test file as it is
    python face_key_points.py --image photo.jpg holiday/ # the faces in your own photos
    python face_key_points.py --video clip.mp4 holiday/  # and in videos, or --video 0: a camera
    python face_key_points.py --submission IdLookupTable.csv # Kaggle's answers
    python face_key_points.py --export litert            # the model for phones, or onnx for servers

The command line, and what it starts; the work is done in the package `results`.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

# A second thread for NumPy's small matrices gains nothing and takes half as much processor time
# again: it waits busily.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
import numpy as np

from data.faces import synthetic_faces
from data.formats.labels import add_label_options, label_options
from data.images.aligned_crops import TEMPLATE_SIZE
from data.system.command_line import positive, run_script
from data.system.files import HERE, InputError, make_folder, printable
from models.choose import find_model
from models.export.export import EXTRAS, export, import_extras
from models.export.runtimes import RUNTIMES
from models.storage import describe_model, load_landmarker
from results.held_out import (
    held_out_faces,
    leave_out_held_out_faces,
    measure_held_out_faces,
)
from results.label_files import FORMATS
from results.photos import run_photos
from results.predictions import (
    SYNTHETIC_SEED,
    SYNTHETIC_TEST,
    load_test_faces,
    picture_test_faces,
)
from results.submission import run_submission
from results.videos import run_videos

# What the flags are about that some modes do not use.
ABOUT = {"data": "test faces", "training": "held-out faces"}
IGNORED = {"image": ABOUT, "video": ABOUT, "submission": ["training"], "export": ["training"]}


def run(arguments: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    for mode, flags in IGNORED.items():
        for flag in flags if getattr(arguments, mode) is not None else ():
            if getattr(arguments, flag) is not None:
                print(f"--{flag} is ignored: it is about {ABOUT[flag]}, --{mode} is not.")
    if arguments.image:
        run_photos(arguments)
    elif arguments.video is not None:
        run_videos(arguments)
    elif arguments.submission:
        run_submission(arguments)
    elif arguments.export:
        run_export(arguments)
    else:
        run_pictures(arguments)


def run_pictures(arguments: argparse.Namespace) -> None:
    """Predict and picture the test faces; measure and picture the held-out ones."""
    results = arguments.results
    make_folder(results)
    options = label_options(arguments)
    parts = load_test_faces(arguments.data, options)
    landmarker = load_landmarker(arguments.model or find_model())
    print(describe_model(landmarker.path, landmarker.record), flush=True)
    # First what may turn out to be unreadable: an error leaves the earlier results whole.
    held_out, missing = None, None
    try:
        held_out = held_out_faces(
            landmarker.record, landmarker.path, landmarker.names, arguments.training, options
        )
    except InputError as problem:
        if arguments.training:
            raise
        missing = problem
    count = picture_test_faces(landmarker, parts, results, arguments.mirror)
    print(f"{count} test faces; pictures, key points and figures are in {printable(results)}")
    if missing:
        leave_out_held_out_faces(results, missing)
        return
    if held_out is None:
        print("The shipped model's training faces are not here: synthetic ones are used instead.")
        held_out = synthetic_faces(SYNTHETIC_TEST, SYNTHETIC_SEED + 1)
    measure_held_out_faces(landmarker, held_out, results, arguments.mirror)


def run_export(arguments: argparse.Namespace) -> None:
    """Write the model for LiteRT or ONNX Runtime, and compare it with Keras on test faces."""
    import_extras(arguments.export)
    make_folder(arguments.results)
    faces = next(iter(load_test_faces(arguments.data, label_options(arguments))))
    path = arguments.model or find_model()
    if path.suffix in RUNTIMES:
        raise InputError(f"{path} is an export already; --export needs the .keras file.")
    landmarker = load_landmarker(path)
    print(describe_model(path, landmarker.record), flush=True)
    kind, results = arguments.export, arguments.results
    export(landmarker.model, landmarker.record, path, kind, faces, results)


# --- command line --------------------------------------------------------------------------------


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line as an argparse namespace."""
    parser = argparse.ArgumentParser(
        description="Show what a trained model finds in test faces, photos and videos, and where it"
        " is wrong on held-out faces."
    )
    add = parser.add_argument
    add(
        "--model",
        type=Path,
        help="the trained model, or an export of it: .tflite and .onnx files need no TensorFlow"
        " (default: models/my_model.keras, else models/pretrained.keras; for --image and --video"
        " my_model.keras only if it was trained on a file, not on synthetic faces)",
    )
    add(
        "--data",
        type=Path,
        metavar="PATH",
        help="test CSV in Kaggle's format, plain, .gz or .zip, or labelled photos (default:"
        " data/test.csv, .csv.gz or .zip, else synthetic faces)",
    )
    add(
        "--training",
        type=Path,
        metavar="PATH",
        help="the file that the model was trained on, which contains the held-out faces (default:"
        " the one that the model's JSON names, else data/training.csv, .csv.gz or .zip)",
    )
    add_label_options(parser)
    add(
        "--results",
        type=Path,
        default=HERE / "results",
        help="folder to write to (default: results)",
    )
    add(
        "--mirror",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="test-time flip averaging: the mean of the predictions for each picture and its"
        " mirror image (default: on)",
    )
    add(
        "--image",
        type=photo_path,
        nargs="+",
        metavar="PHOTO",
        help="photos, or folders of them, to find the faces and their key points in; writes"
        " <name>_key_points.png and key_points.csv (a .txt file, or - for standard input, lists"
        " photos, one per line)",
    )
    add(
        "--box",
        type=float,
        nargs=4,
        metavar=("X", "Y", "W", "H"),
        help="where the face is in the one photo of --image, in its pixels, from the forehead to"
        " the chin: no search",
    )
    add(
        "--video",
        nargs="+",
        metavar="VIDEO",
        help="videos, folders of them, addresses such as rtsp://camera/stream, or a camera's number"
        " such as 0, to track the faces in; for each writes <name>_key_points.mp4 and"
        " <name>_key_points.csv; Ctrl-C ends it (needs av)",
    )
    add(
        "--smooth",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="smooth the points of --video over time; --no-smooth: each frame by itself",
    )
    add(
        "--crops",
        type=crop_size,
        nargs="?",
        const=TEMPLATE_SIZE,
        default=0,
        metavar="SIZE",
        help="with --image or --video: also write aligned colour crops of the faces into crops/,"
        " as face recognition expects them, of a video one per second (default: 112 pixels a side;"
        " multiples of 112 and of 128 are cropped as by insightface, other sizes as 112, scaled)",
    )
    add(
        "--axes",
        action="store_true",
        help="with --image or --video: also draw how each head is turned: from the middle of the"
        " face to the subject's left (red), up (green) and forward (blue)",
    )
    add(
        "--csv",
        type=Path,
        metavar="FILE",
        help="with --image: also write the faces as rows of a training CSV, least certain first,"
        " to be corrected and trained on",
    )
    add(
        "--resume",
        action="store_true",
        help="with --image: go on where a run was stopped; photos that its table holds are skipped",
    )
    add(
        "--jobs",
        type=positive(int),
        metavar="N",
        help="with --image or --video: work in N processes of one thread each (default: one for"
        " a few photos and for videos, as many as there are cores for many photos)",
    )
    add(
        "--cluster",
        metavar="ADDRESS",
        help="with --image: let the workers of the Dask scheduler at ADDRESS find the faces; they"
        " need the photos, --results and this project under the same paths (needs"
        " dask[distributed])",
    )
    add(
        "--no-pictures",
        dest="pictures",
        action="store_false",
        help="with --image: write no annotated photos, only the table",
    )
    add(
        "--table",
        type=table_name,
        metavar="NAME",
        help="with --image: the table's name in --results; NAME.parquet is a folder of Parquet"
        " files (needs pyarrow; default: key_points.csv)",
    )
    add(
        "--labels",
        choices=FORMATS,
        help="with --image: also write the faces into results/labels, as labels to be corrected in"
        " an annotation program and trained on",
    )
    add(
        "--submission",
        type=Path,
        metavar="TABLE",
        help="Kaggle's IdLookupTable.csv: writes submission.csv, the coordinates of the test faces"
        " that it asks for",
    )
    add(
        "--export",
        choices=list(EXTRAS),
        help="write the model for phones (litert: <model>.tflite and <model>_small.tflite, a"
        " quarter as large) or servers (onnx: <model>.onnx), and compare it with Keras on test"
        " faces (needs extra packages: models/README.md)",
    )
    arguments = parser.parse_args(argv)
    modes = arguments.image, arguments.video, arguments.submission, arguments.export
    if sum(mode is not None for mode in modes) > 1:
        parser.error(
            "--image, --video, --submission and --export do different things; give one of them"
        )
    if arguments.crops and arguments.image is None and arguments.video is None:
        parser.error("--crops needs --image or --video")
    if arguments.axes and arguments.image is None and arguments.video is None:
        parser.error("--axes needs --image or --video")
    if arguments.csv and not arguments.image:
        parser.error("--csv needs --image")
    if arguments.axes and not arguments.pictures:
        parser.error("--axes is drawn in pictures: it goes without --no-pictures")
    many = arguments.resume, arguments.cluster, arguments.table
    if arguments.image is None and (any(many) or not arguments.pictures):
        parser.error("--resume, --cluster, --table and --no-pictures need --image")
    if arguments.jobs and arguments.image is None and arguments.video is None:
        parser.error("--jobs needs --image or --video")
    if arguments.resume and arguments.csv:
        parser.error("--csv needs the faces of all photos: it cannot be combined with --resume")
    if arguments.resume and arguments.labels:
        parser.error("--labels needs the faces of all photos: it cannot be combined with --resume")
    if arguments.jobs and arguments.cluster:
        parser.error("--jobs is for this machine, --cluster for others; give one of them")
    if arguments.labels and not arguments.image:
        parser.error("--labels needs --image")
    if not arguments.smooth and arguments.video is None:
        parser.error("--no-smooth needs --video")
    if arguments.box:
        if not arguments.image:
            parser.error("--box needs --image")
        if not (np.isfinite(arguments.box).all() and min(arguments.box[2:]) > 0):
            parser.error("--box: X Y W H must be numbers, W and H above zero")
    return arguments


def photo_path(text: str) -> Path:
    """An argparse type: the path of a photo or a folder."""
    if re.match(r"\w+://", text):
        raise argparse.ArgumentTypeError(f"{text} is an address; download the photo first")
    return Path(text)


def crop_size(text: str) -> int:
    """An argparse type: the side of an aligned crop in pixels."""
    size = int(text)
    if not 16 <= size <= 2048:
        raise argparse.ArgumentTypeError(f"{size} is not from 16 to 2048 pixels")
    return size


def table_name(text: str) -> Path:
    """An argparse type: the path of a table that can be written."""
    if not text.endswith((".csv", ".parquet")):
        raise argparse.ArgumentTypeError(f"{text} does not end in .csv or .parquet")
    return Path(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line asks for; returns the exit status."""
    return run_script(argv, parse_arguments, run)


if __name__ == "__main__":
    sys.exit(main())
