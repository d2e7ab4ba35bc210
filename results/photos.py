"""`--image`: annotated photos, and a table of their faces' key points."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import os
import sys
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
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
from results.table import CsvTable
from results.training_rows import TrainingRow, TrainingRows, training_rows

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
    task = open_task(arguments, landmarker)
    training = TrainingRows(arguments.csv, landmarker.names) if arguments.csv else None
    columns = photo_columns(landmarker.names, task.crop_size)
    answers = Answers(
        CsvTable(arguments.results / "key_points.csv", columns), training, len(photos)
    )
    targets = output_paths(photos, arguments.results)
    try:
        for path, target in follow(list(zip(photos, targets, strict=True)), "photos"):
            answers.add(path, target, look_at(path, target, task, landmarker))
    except KeyboardInterrupt:
        acknowledge_stop()  # or it would be raised again while the rows are written
        answers.close()
        raise KeyboardInterrupt(answers.stopped()) from None
    finally:
        answers.close()
    answers.finish()


def photo_columns(names: Names, crop_size: int) -> list[str]:
    """The columns of key_points.csv; with aligned crops their affines follow."""
    columns = ["photo", "face", "box_x", "box_y", "box_w", "box_h", *output_columns(names)]
    return columns + (MATRIX_COLUMNS if crop_size else [])


class Answers:
    """What is written besides the pictures: the table's rows, photo by photo, and the messages."""

    def __init__(self, table: CsvTable, training: TrainingRows | None, photos: int) -> None:
        """`photos`: how many there are."""
        self.table, self.training, self.photos = table, training, photos
        self.done = self.faces = self.failed = 0
        self.first_problem = ""
        self.to_forget: list[tuple[Path, Path]] = []  # photos that failed before the table began

    def add(self, path: Path, target: Path, outcome: Outcome) -> None:
        """Write the rows of one photo, and print what there is to say."""
        if outcome.problem:
            self.failed += 1
            self.first_problem = self.first_problem or outcome.problem
            self.to_forget.append((path, target))
            if self.photos > 1:
                print(f"error: {printable(outcome.problem)}", file=sys.stderr, flush=True)
        else:
            if not self.table.is_open:
                self.table.begin()
            name = printable(path)
            self.table.append([name, i, *row] for i, row in enumerate(outcome.rows, 1))
            self.done += 1
            self.faces += len(outcome.rows)
            if self.training:
                self.training.rows += outcome.training
            print(outcome.said, end="", flush=True)
        while self.done and self.to_forget:
            forget(*self.to_forget.pop())

    def finish(self) -> None:
        """Say what was found. Raises InputError if photos could not be read."""
        if self.failed and self.photos == 1:
            raise InputError(self.first_problem)
        if self.done:
            print(f"{self.faces} face(s) in all; key points are in {printable(self.table.path)}")
        if self.failed:
            raise InputError(
                f"{self.failed} of {self.photos} photos could not be read, as said above;"
                " fix them or leave them out."
            )

    def stopped(self) -> str:
        """What there is to say after Ctrl-C; nothing if no photo was finished."""
        if not self.done:
            return ""
        return (
            f"stopped; the {self.faces} face(s) of {self.done} of {self.photos} photos are in"
            f" {self.table.path}."
        )

    def close(self) -> None:
        """Close the table; write the training rows."""
        if self.table.is_open and self.training:
            self.training.write()
        self.table.close()


# --- one photo -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """What is done with each photo."""

    mirror: bool
    box: list[float] | None
    crop_size: int  # side of the aligned crops in pixels; 0 for none
    crops: Path  # their folder
    training: bool  # whether rows of a training CSV are wanted


class Outcome(NamedTuple):
    """What came of one photo."""

    rows: list[list[str]] = []  # a face each: the fields of the table after `photo` and `face`
    training: list[TrainingRow] = []  # a face each, if wanted
    said: str = ""  # what there is to print
    problem: str = ""  # why it could not be used, a sentence


def open_task(arguments: argparse.Namespace, landmarker: Landmarker) -> Task:
    """The task that the command line sets. Raises InputError where this model's key points do not
    allow crops."""
    crops = arguments.results / "crops"
    if arguments.crops:
        check_names(landmarker.names)
        make_folder(crops)
    box, size = arguments.box, arguments.crops or 0
    return Task(arguments.mirror, box, size, crops, arguments.csv is not None)


def look_at(path: Path, target: Path, task: Task, landmarker: Landmarker) -> Outcome:
    """Process one photo, whatever it holds: one photo must not stop the others."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            rows, training = process_photo(path, target, task, landmarker)
    except InputError as problem:
        return Outcome(problem=str(problem))
    except Exception as error:
        return Outcome(problem=f"{path} cannot be used ({one_line(error)}).")
    return Outcome(rows, training, said.getvalue())


def process_photo(
    path: Path, target: Path, task: Task, landmarker: Landmarker
) -> tuple[list[list[str]], list[TrainingRow]]:
    """Find the faces in one photo, or the one in the box, and draw them.

    Returns their fields in the table, after `photo` and `face`, and their training rows.
    """
    photo = read_photo(path)
    if task.box:
        boxes = box_in_photo(task.box, photo, path)[None]
        faces = detect_in_boxes(landmarker, photo, boxes, task.mirror)
    else:
        faces = detect(landmarker, photo, task.mirror)
    rows = table_fields(faces)
    if task.crop_size:
        save_crops(photo, faces, task.crop_size, task.crops, target)
        fields = matrix_fields(faces.aligned_affines(task.crop_size))
        rows = [[*a, *b] for a, b in zip(rows, fields, strict=True)]
    if not len(faces):
        print(f"{printable(path)}: no face found; --box X Y W H says where one is.")
        forget(path, target)
        return [], []
    training = training_rows(path, photo, faces) if task.training else []
    save_annotated(photo, faces, target)
    found = f"{len(faces)} face(s)"
    spread = float(face_spread(faces.spread)[0])
    if task.box and not spread < DEFAULTS.max_spread:
        found = (
            f"the box hardly shows a face, or not one that this model can handle: its spread is"
            f" {spread:.1f} px, that of faces below {DEFAULTS.max_spread:g}"
        )
    print(f"{printable(path)}: {found}, pictured in {printable(target)}", flush=True)
    return rows, training


def table_fields(faces: Detections) -> list[list[str]]:
    """Box, key points and spread of each face, in pixels of the photo, as fields of a table."""
    points = faces.points.reshape(len(faces), 2 * len(faces.names))
    values = np.column_stack([faces.boxes, points, faces.spread_in_photo])
    return [["" if v != v else f"{v:.3f}" for v in row] for row in values.tolist()]


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
