"""Picture what a trained model finds on the test faces, and where it is wrong on held-out ones.

    python face_key_points.py                            # my_model.keras, else the shipped one
    python face_key_points.py --data test.zip            # Kaggle's test file just as it comes
    python face_key_points.py --image photo.jpg holiday/ # the faces in one's own photos
    python face_key_points.py --video clip.mp4           # and in a video, or --video 0: a camera
    python face_key_points.py --submission IdLookupTable.csv # Kaggle's answers
    python face_key_points.py --export litert            # the model for phones, or onnx for servers

The file reads in the order in which the data flows:
model -> test faces -> held-out faces -> pictures and figures; the room `results` does the work.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

# A second thread for NumPy's small matrices takes half as much processor time again, and gains
# nothing: it waits busily.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
import numpy as np

from data.faces import (
    Faces,
    fingerprint,
    load_training,
    mark_second_source,
    read_faces,
    synthetic_faces,
)
from data.images.aligned_crops import TEMPLATE_SIZE
from data.key_points import KEY_POINTS, Names, output_columns
from data.labels.kaggle import drop_inconsistent, first_rows
from data.system.command_line import run_script
from data.system.files import (
    HERE,
    InputError,
    find_data,
    make_folder,
    printable,
    record_path,
    replace_file,
    write_text,
)
from data.system.progress import progress_bar
from models.export.export import EXTRAS, export, import_extras
from models.export.runtimes import RUNTIMES
from models.network import predict
from models.storage import (
    SHIPPED,
    describe_model,
    find_model,
    knows_mirrored,
    load_model,
    names_of,
)
from results.measures import FAILURE, measure, measure_spread, rmse_per_part
from results.photos import run_photos
from results.pictures import (
    PER_PICTURE,
    plot_calibration,
    plot_errors,
    plot_faces,
    plot_worst,
)
from results.submission import run_submission
from results.videos import run_video

if TYPE_CHECKING:
    import keras

SYNTHETIC_TEST = 200  # synthetic test faces where there is no file: enough for a look
SYNTHETIC_SEED = 1  # not the training's default: other faces


def run(arguments: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    if arguments.image:
        run_photos(arguments)
    elif arguments.video is not None:
        run_video(arguments)
    elif arguments.submission:
        run_submission(arguments)
    elif arguments.export:
        run_export(arguments)
    else:
        run_pictures(arguments)


def run_pictures(arguments: argparse.Namespace) -> None:
    """Reload the model, predict the test faces, judge the held-out ones, picture both."""
    results = arguments.results
    make_folder(results)
    parts = test_faces(arguments.data)
    model_path = arguments.model or find_model()
    model, record = load_model(model_path)
    names = names_of(model, record)
    print(describe_model(model_path, record), flush=True)
    mirror = arguments.mirror and knows_mirrored(record)
    # First what may turn out to be unreadable: an error leaves the earlier results whole.
    held_out, missing = None, None
    try:
        held_out = held_out_faces(record, model_path, arguments.training, names)
    except InputError as problem:
        if arguments.training:
            raise
        missing = problem
    count = picture_test_faces(model, parts, results, mirror, names)
    print(f"{count} test faces; pictures, key points and figures are in {printable(results)}")
    if missing:
        leave_out_held_out_faces(results, missing)
        return
    if held_out is None:
        print("The shipped model's training faces are not here: picturing synthetic ones.")
        held_out = synthetic_faces(SYNTHETIC_TEST, SYNTHETIC_SEED + 1)
    predicted, spread = predict(model, held_out.pictures, mirror, names=names)
    if record.get("few_points_offset"):  # such rows mark some points elsewhere
        predicted[held_out.source < 0] += record["few_points_offset"]
    picture_held_out_faces(held_out, predicted, spread, results)
    figures = measure(predicted, held_out.key_points, names)
    for data in record.get("data", []):  # of Kaggle's file: three hands, one after the other
        if data.get("first_rows") and data["validation_rows"] == held_out.rows.tolist():
            figures["per_part"] = rmse_per_part(
                predicted, held_out.key_points, held_out.rows, data["first_rows"]
            )
    figures["spread"] = measure_spread(predicted, spread, held_out.key_points)
    report = {"model": str(model_path), "mirror": mirror, **figures}
    write_text(results / "validation.json", json.dumps(report, indent=2) + "\n")
    if figures["nme"] is not None:
        print(
            f"NME {100 * figures['nme']:.2f} % of the {figures['normalised_by']},"
            f" {100 * figures['failure_rate']:.1f} % of the faces above {100 * FAILURE:.0f} %"
        )
    print(f"validation RMSE {figures['rmse_px']:.3f} px on {figures['faces']} faces")


# --- test faces ----------------------------------------------------------------------------------


def test_faces(path: Path | None) -> Iterable[Faces]:
    """The test faces, part by part: of the CSV, of the one in data/, or else synthetic ones."""
    path = path or find_data("test")
    if path:
        return read_faces(path)
    print(f"{HERE / 'data' / 'test.csv'} is not there: picturing synthetic faces.")
    return [synthetic_faces(SYNTHETIC_TEST, SYNTHETIC_SEED)]


def picture_test_faces(
    model: keras.Model, parts: Iterable[Faces], results: Path, mirror: bool, names: Names
) -> int:
    """Predict the test faces into test_key_points.csv and picture some; returns their number."""
    count, first, last = predict_file(model, parts, results / "test_key_points.csv", mirror, names)
    for name, shown in (("test_result01.png", first), ("test_result02.png", last)):
        pictures, key_points, spread, image_ids = zip(*shown, strict=True)
        titles = [f"ImageId {i}" for i in image_ids]
        plot_faces(results / name, pictures, key_points, spread, titles, names)
    return count


def predict_file(
    model: keras.Model,
    parts: Iterable[Faces],
    path: Path | str,
    mirror: bool,
    names: Names = KEY_POINTS,
) -> tuple[int, list[tuple], list[tuple]]:
    """Predict test faces into a CSV, part by part: memory does not grow with their number.

    Args:
        model: as from `load_model`.
        parts: an iterable of Faces, such as `read_faces` gives.
        path: the CSV to write; an error in a late part leaves an earlier file as it was.
        mirror: test-time flip averaging, as in `predict`.
        names: of the model's key points.

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
                found = predict(model, faces.pictures, mirror, names=names)
                write_key_points(file, faces.image_ids, *found, not count, names)
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
    names: Names = KEY_POINTS,
) -> None:
    """Append `ImageId`, the 2K coordinates and the K points' spread, in pixels, to an open CSV."""
    import pandas as pd

    values = np.concatenate([key_points.reshape(len(key_points), -1), spread], axis=1)
    table = pd.DataFrame(values, columns=output_columns(names))
    table.insert(0, "ImageId", image_ids)
    table.to_csv(file, index=False, header=header, float_format="%.3f")


# --- held-out faces ------------------------------------------------------------------------------


def held_out_faces(
    record: dict[str, Any],
    model_path: Path,
    training: Path | None = None,
    names: Names = KEY_POINTS,
) -> Faces | None:
    """The faces that were held out when the model was trained.

    Args:
        record: the JSON written beside the model.
        model_path: the model's path.
        training: the CSV to find them in; unset: the one that the record names, or training.csv
            in data/, or the synthetic faces made again.
        names: of the model's key points.

    Returns:
        Faces; `rows` are 0-based rows of the file. None for the shipped model, whose data a user
        need not have, where they are not here.

    Raises:
        InputError: there is no record, or the file is another than the one trained on.
    """
    exported_from = record.get("exported_from")
    if not record.get("data"):
        raise InputError(
            f"{record_path(model_path)} is missing, belongs to another model or names no"
            " data, so the held-out faces cannot be found; train the model again with:"
            " python model_builder.py"
        )
    tried, problems = [], []
    for path in [training] if training else recorded_paths(record, model_path):
        if path is None:
            data, seed = record["data"][0], record["settings"]["seed"]
            faces = synthetic_faces(data["faces"], seed, data["validation_rows"])
            if fingerprint(faces) == data.get("validation_sha256"):
                return faces
            faces = synthetic_faces(data["faces"], seed)  # the record is from before that was noted
        else:
            try:
                faces = load_training(path, record.get("complete_only", False), names)
            except InputError as problem:
                problems.append(problem)
                continue
        # Kaggle's file as it comes also stands for what data/labels/kaggle.py makes of it.
        for version in [faces, drop_inconsistent(faces)] if first_rows(faces) else [faces]:
            mark = fingerprint(version)
            for i, data in enumerate(record["data"]):
                if data["sha256"] == mark:
                    version = mark_second_source(version) if i == 0 else version
                    return version.take(np.isin(version.rows, data["validation_rows"]))
        tried.append(str(faces.path))
    if training is None and (model_path.resolve() == SHIPPED or exported_from == SHIPPED.name):
        return None
    if problems and not tried:
        raise problems[0]
    trained_on = ", ".join(data["path"] for data in record["data"])
    if not tried:
        raise InputError(
            f"the data that {model_path} was trained on ({trained_on}) is not found; name that file"
            " by --training."
        )
    raise InputError(
        f"{' and '.join(tried)} is not the data that {model_path} was trained on ({trained_on}),"
        " so its faces may not be held-out ones; name that file by --training."
    )


def recorded_paths(record: dict[str, Any], model_path: Path) -> list[Path | None]:
    """Where the data that the record names may be now: paths, or None for synthetic faces.

    As it was named, seen from here, from the model or from the project, or beside the model.
    """
    if record["data"][0].get("synthetic_faces"):
        return [None]
    candidates: list[Path | None] = []
    for data in record["data"]:
        named = [data.get(key) for key in ("absolute", "path") if data.get(key)]
        candidates += [Path(name) for name in named] + [HERE / data["path"]]
        beside = data.get("from_model") or data["path"], Path(data["path"]).name
        candidates += [model_path.parent / name for name in beside]
    candidates.append(find_data("training"))
    found = {path.resolve(): path for path in candidates if path and path.is_file()}
    return list(found.values())


def leave_out_held_out_faces(results: Path, reason: InputError) -> None:
    """Say why the held-out faces are not judged; what an earlier run says of them is removed."""
    print(
        f"Left out, for want of the held-out faces ({printable(reason).rstrip('.')}):"
        f" {', '.join(ABOUT_HELD_OUT)}."
    )
    for name in ABOUT_HELD_OUT:
        if (results / name).exists():
            (results / name).unlink()
            print(f"{printable(results / name)} of an earlier run is removed.")


# What is written about the held-out faces.
ABOUT_HELD_OUT = (
    "worst16_in_validation.png",
    "error_by_key_point.png",
    "calibration.png",
    "validation.json",
)


def picture_held_out_faces(
    held_out: Faces, predicted: np.ndarray, spread: np.ndarray, results: Path
) -> None:
    """Picture the worst held-out faces, the errors, and whether the spread knows of them."""
    truth = held_out.key_points
    plot_worst(results / "worst16_in_validation.png", held_out, predicted, spread)
    plot_errors(results / "error_by_key_point.png", predicted, truth, held_out.names)
    plot_calibration(results / "calibration.png", predicted, spread, truth)


# --- export --------------------------------------------------------------------------------------


def run_export(arguments: argparse.Namespace) -> None:
    """Write the model for LiteRT or ONNX Runtime, and measure it beside Keras on test faces."""
    import_extras(arguments.export)
    make_folder(arguments.results)
    faces = next(iter(test_faces(arguments.data)))
    model_path = arguments.model or find_model()
    if model_path.suffix in RUNTIMES:
        raise InputError(f"{model_path} is an export already; --export needs the .keras file.")
    model, record = load_model(model_path)
    print(describe_model(model_path, record), flush=True)
    export(model, record, model_path, arguments.export, faces, arguments.results)


# --- command line --------------------------------------------------------------------------------


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line as an argparse namespace."""
    parser = argparse.ArgumentParser(
        description="Picture what a trained model finds on the test faces, and its worst errors."
    )
    add = parser.add_argument
    add(
        "--model",
        type=Path,
        help="the trained model, or an export of it: .tflite and .onnx files need no TensorFlow"
        " (default: models/my_model.keras, else models/pretrained.keras)",
    )
    add(
        "--data",
        type=Path,
        metavar="PATH",
        help="test CSV in Kaggle's format, plain, .gz or .zip (default: data/test.csv, .csv.gz or"
        " .zip, else synthetic faces)",
    )
    add(
        "--training",
        type=Path,
        metavar="PATH",
        help="the CSV that the model was trained on, to find the held-out faces in (default: the"
        " one that the model's JSON names, else data/training.csv, .csv.gz or .zip)",
    )
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
        help="test-time flip averaging: the mean of the predictions for each picture and for its"
        " mirror image (default: on)",
    )
    add(
        "--image",
        type=Path,
        nargs="+",
        metavar="PHOTO",
        help="photos, or folders of them, to find the faces and their key points in; writes"
        " <name>_key_points.png and key_points.csv",
    )
    add(
        "--box",
        type=float,
        nargs=4,
        metavar=("X", "Y", "W", "H"),
        help="where the face is in the one photo of --image, in its pixels, from the forehead to"
        " the chin: no face is searched for",
    )
    add(
        "--video",
        metavar="VIDEO",
        help="a video, or a camera's number such as 0, to follow the faces in; writes"
        " <name>_key_points.mp4 and <name>_key_points.csv; Ctrl-C ends it (needs av)",
    )
    add(
        "--smooth",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="steady the points of --video over time; --no-smooth: each frame by itself",
    )
    add(
        "--crops",
        type=crop_size,
        nargs="?",
        const=TEMPLATE_SIZE,
        default=0,
        metavar="SIZE",
        help="with --image or --video: also write level colour crops of the faces into crops/, as"
        " face recognition expects them (of a video one a second; default: 112 pixels)",
    )
    add(
        "--csv",
        type=Path,
        metavar="FILE",
        help="with --image: also write the faces as rows of a training CSV, least certain first, to"
        " correct and train on",
    )
    add(
        "--submission",
        type=Path,
        metavar="TABLE",
        help="Kaggle's IdLookupTable.csv: writes submission.csv, the test faces' coordinates that"
        " it asks for",
    )
    add(
        "--export",
        choices=list(EXTRAS),
        help="write the model for phones (litert: <model>.tflite and, a quarter as large,"
        " <model>_small.tflite) or servers (onnx: <model>.onnx), and compare it with Keras on test"
        " faces (the packages that this needs are extras: models/README.md)",
    )
    arguments = parser.parse_args(argv)
    modes = arguments.image, arguments.video, arguments.submission, arguments.export
    if sum(mode is not None for mode in modes) > 1:
        parser.error(
            "--image, --video, --submission and --export do different things; give one of them"
        )
    if arguments.crops and arguments.image is None and arguments.video is None:
        parser.error("--crops needs --image or --video")
    if arguments.csv and not arguments.image:
        parser.error("--csv needs --image")
    if not arguments.smooth and arguments.video is None:
        parser.error("--no-smooth needs --video")
    if arguments.box:
        if not arguments.image:
            parser.error("--box needs --image")
        if not (np.isfinite(arguments.box).all() and min(arguments.box[2:]) > 0):
            parser.error("--box: X Y W H must be numbers, W and H above zero")
    return arguments


def crop_size(text: str) -> int:
    """An argparse type: the side of a level crop in pixels."""
    size = int(text)
    if not 16 <= size <= 2048:
        raise argparse.ArgumentTypeError(f"{size} is not from 16 to 2048 pixels")
    return size


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line asks for; returns the exit status."""
    return run_script(argv, parse_arguments, run)


if __name__ == "__main__":
    sys.exit(main())
