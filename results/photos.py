"""`--image`: annotated photos, and a table of their faces' key points."""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import time
import zlib
from collections import Counter
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from data.images.aligned_crops import MATRIX_COLUMNS, check_names, cut_aligned, matrix_fields
from data.images.photos import OWN_OUTPUT, is_own_output, list_photos, read_photo
from data.key_points import Names, output_columns
from data.system.files import InputError, make_folder, one_line, printable, replace_file
from data.system.progress import follow
from data.system.signals import acknowledge_stop
from models.detect.search import Detections, detect, detect_in_boxes
from models.detect.settings import DEFAULTS
from models.spread import face_spread
from models.storage import Landmarker, load_for_photos
from results.drawing import draw_faces
from results.label_files import LabelFiles
from results.training_rows import TrainingRows

if TYPE_CHECKING:
    from PIL import Image

# How annotated photos are compressed: otherwise a large one takes seconds. For photos, run-length
# encoding gives smaller files than zlib's fastest search for repetitions.
QUICK_PNG: dict[str, Any] = {"compress_level": 1, "compress_type": zlib.Z_RLE}


def run_photos(arguments: argparse.Namespace) -> None:
    """Find the faces and key points in photos; write annotated pictures and key_points.csv.

    A photo that cannot be read is reported, and the run goes on; at the end InputError is raised.
    Rows are written while the run goes on, and are kept when Ctrl-C ends it.
    """
    photos = list_photos(arguments.image)
    if arguments.box and len(photos) > 1:
        raise InputError("--box says where the face is in one photo; give only one photo.")
    make_folder(arguments.results)
    landmarker = load_for_photos(arguments.model)
    answers = open_answers(arguments, landmarker.names)
    problems: list[InputError] = []
    failed: list[tuple[Path, Path]] = []
    targets = output_paths(photos, arguments.results)
    try:
        for path, target in follow(list(zip(photos, targets, strict=True)), "photos"):
            try:
                process_photo(path, target, landmarker, arguments, answers)
            except InputError as problem:
                problems.append(problem)
            except Exception as error:  # one photo must not stop the others
                problems.append(InputError(f"{path} cannot be used ({one_line(error)})."))
            else:
                continue
            failed.append((path, target))
            if len(photos) > 1:
                print(f"error: {printable(problems[-1])}", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        acknowledge_stop()  # or it would be raised again while the rows are written
        answers.write()
        raise KeyboardInterrupt(
            f"stopped; the {len(answers.table.rows)} face(s) of {answers.table.photos} of"
            f" {len(photos)} photos are in {answers.table.path}."
        ) from None
    if problems and len(photos) == 1:
        raise problems[0]
    if answers.table.photos:
        answers.write()
        for path, target in failed:
            forget(path, target)
        found = len(answers.table.rows)
        print(f"{found} face(s) in all; key points are in {printable(answers.table.path)}")
    if problems:
        raise InputError(
            f"{len(problems)} of {len(photos)} photos could not be read, as said above;"
            " fix them or leave them out."
        )


class Table:
    """key_points.csv, written every few seconds, so that a kill loses few rows."""

    def __init__(self, path: Path, names: Names, further: Sequence[str] = ()) -> None:
        """`further` columns follow the key points' spreads."""
        self.path = path
        self.columns = ["photo", "face", "box_x", "box_y", "box_w", "box_h", *output_columns(names)]
        self.columns += further
        self.rows: list[list] = []
        self.photos = 0  # processed
        self.written = -np.inf  # when

    def add(self, photo: Path, rows: list[list]) -> None:
        """The faces of one photo, each a row of the columns without the first two."""
        self.rows += [[printable(photo), i, *row] for i, row in enumerate(rows, 1)]
        self.photos += 1
        if time.monotonic() > self.written + 5:
            self.write()

    def write(self) -> None:
        """Write the file as a whole, in UTF-8."""
        import pandas as pd

        table = pd.DataFrame(self.rows, columns=self.columns)
        options: dict[str, Any] = {"index": False, "float_format": "%.3f", "encoding": "utf-8"}
        replace_file(self.path, lambda file: table.to_csv(file, **options))
        self.written = time.monotonic()


class Answers(NamedTuple):
    """What is written besides the annotated photos."""

    table: Table
    training: TrainingRows | None  # with --csv
    labels: LabelFiles | None  # with --labels
    crop_size: int  # side of the aligned crops in pixels; 0 without --crops
    folder: Path  # of the aligned crops

    def write(self) -> None:
        """Write all of it."""
        self.table.write()
        if self.training:
            self.training.write()
        if self.labels:
            self.labels.write()


def open_answers(arguments: argparse.Namespace, names: Names) -> Answers:
    """The tables and crops that the command line asks for. Raises InputError where this model's key
    points do not allow crops."""
    training = TrainingRows(arguments.csv, names) if arguments.csv else None
    labels = None
    if arguments.labels:
        labels = LabelFiles(arguments.results / "labels", arguments.labels, names)
    folder = arguments.results / "crops"
    if arguments.crops:
        check_names(names)
        make_folder(folder)
    further = MATRIX_COLUMNS if arguments.crops else []
    table = Table(arguments.results / "key_points.csv", names, further)
    return Answers(table, training, labels, arguments.crops or 0, folder)


def process_photo(
    path: Path,
    target: Path,
    landmarker: Landmarker,
    arguments: argparse.Namespace,
    answers: Answers,
) -> None:
    """Find the faces in one photo, or the one in `--box`; draw them, add them to the tables."""
    photo = read_photo(path)
    if arguments.box:
        boxes = box_in_photo(arguments.box, photo, path)[None]
        faces = detect_in_boxes(landmarker, photo, boxes, arguments.mirror)
    else:
        faces = detect(landmarker, photo, arguments.mirror)
    points = faces.points.reshape(len(faces), 2 * len(faces.names))
    rows = np.column_stack([faces.boxes, points, faces.spread_in_photo]).tolist()
    if answers.crop_size:
        save_crops(photo, faces, answers.crop_size, answers.folder, target)
        fields = matrix_fields(faces.aligned_affines(answers.crop_size))
        rows = [[*a, *b] for a, b in zip(rows, fields, strict=True)]
    answers.table.add(path, rows)
    if answers.labels:
        answers.labels.add(path, photo.size, faces)
    if not len(faces):
        print(f"{printable(path)}: no face found; --box X Y W H says where one is.")
        forget(path, target)
        return
    if answers.training:
        answers.training.add(path, photo, faces)
    save_annotated(photo, faces, target)
    found = f"{len(faces)} face(s)"
    spread = float(face_spread(faces.spread)[0])
    if arguments.box and not spread < DEFAULTS.max_spread:
        found = (
            f"the box hardly shows a face, or not one that this model can handle: its spread is"
            f" {spread:.1f} px, that of faces below {DEFAULTS.max_spread:g}"
        )
    print(f"{printable(path)}: {found}, pictured in {printable(target)}", flush=True)


def save_annotated(photo: Image.Image, faces: Detections, target: Path) -> None:
    """Write the photo with its faces drawn on it, as a PNG that says which program made it."""
    from PIL.PngImagePlugin import PngInfo

    own = PngInfo()
    for key, value in OWN_OUTPUT.items():
        own.add_text(key, value)
    drawn = annotate(photo, faces)
    replace_file(target, lambda file: drawn.save(file, pnginfo=own, **QUICK_PNG))


def forget(photo: Path, target: Path) -> None:
    """Remove the annotated photo of an earlier run, which shows what this run did not find."""
    elsewhere = target.resolve().parent != photo.resolve().parent
    if target.exists() and (elsewhere or is_own_output(target)):
        target.unlink()
        print(f"{printable(target)} of an earlier run is removed.")


def save_crops(
    photo: Image.Image, faces: Detections, size: int, folder: Path, pictured: Path
) -> None:
    """Write the aligned crops of a photo's faces, named as its picture is."""
    name = pictured.name.removesuffix("_key_points.png")
    picture = np.asarray(photo)
    for number, affine in enumerate(faces.aligned_affines(size), 1):
        save_crop(folder / f"{name}_{number}.png", picture, affine, size)
    for number in count(len(faces) + 1):  # of an earlier run that found more
        left = folder / f"{name}_{number}.png"
        if not left.exists():
            break
        left.unlink()


def save_crop(path: Path, picture: np.ndarray, affine: np.ndarray, size: int) -> None:
    """Write an aligned crop, by its affine (2, 3), of a picture (H, W, 3), `size` pixels a side."""
    from PIL import Image

    replace_file(path, Image.fromarray(cut_aligned(picture, affine, size)).save)


def output_paths(photos: Sequence[Path], results: Path) -> list[Path]:
    """The path of each annotated photo: no two are the same, and none is a photo's own path.

    Photos of the same name in several folders have the folders' names in front.
    """
    whole = [photo.resolve().parts[1:] for photo in photos]
    ends = Counter(fold(parts[-n:]) for parts in whole for n in range(1, len(parts) + 1))
    taken = {str(photo.resolve()).lower() for photo in photos}
    paths = []
    for photo, parts in zip(photos, whole, strict=True):
        # As many folders as make it unique, more where that name is taken.
        lengths = range(1, len(parts) + 1)
        shown = [parts[-n:] for n in lengths if ends[fold(parts[-n:])] == 1] or [parts]
        folders = ("_".join([*map(printable, some[:-1]), ""]) for some in shown)
        names = chain.from_iterable((f + photo.stem, f + photo.name) for f in folders)
        names = chain(names, (f"{photo.name}_{i}" for i in count(2)))
        candidates = (results / f"{shortened(name)}_key_points.png" for name in names)
        free = (path for path in candidates if str(path.resolve()).lower() not in taken)
        paths.append(next(free))
        taken.add(str(paths[-1].resolve()).lower())
    return paths


def fold(parts: Sequence[str]) -> str:
    """Parts of a path as one text, equal where Windows and macOS take them for the same path."""
    return "/".join(parts).lower()


def shortened(name: str, limit: int = 200) -> str:
    """A file name of at most `limit` bytes: most file systems take 255 with the ending."""
    encoded = os.fsencode(name)
    if len(encoded) <= limit:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:8]
    return encoded[: limit - 9].decode("utf-8", "ignore") + "_" + digest


def box_in_photo(box: list[float], photo: Image.Image, path: Path) -> np.ndarray:
    """`box`, x y w h, as an array (4,). Raises InputError if it cannot be in the photo."""
    x, y, w, h = box
    width, height = photo.size
    if x + w <= 0 or y + h <= 0 or x >= width or y >= height or max(w, h) > 3 * max(photo.size):
        raise InputError(
            f"--box {x:g} {y:g} {w:g} {h:g} is outside the photo {path}, which has"
            f" {width}x{height} pixels, or is far larger."
        )
    return np.array(box)


def annotate(photo: Image.Image, faces: Detections) -> Image.Image:
    """Draw faces on a PIL photo: their boxes, numbers, key points and 90 % regions.

    Returns another photo of the same size.
    """
    from PIL import Image

    canvas = np.array(photo)
    numbers = range(1, len(faces) + 1)
    draw_faces(canvas, faces.boxes, faces.points, faces.spread, numbers, faces.names)
    return Image.fromarray(canvas)
