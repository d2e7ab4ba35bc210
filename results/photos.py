"""The answers of `--image`: annotated photos, and a table of their faces' key points."""

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

from data.images.aligned_crops import (
    MATRIX_COLUMNS,
    aligned_crops,
    check_names,
    cut_aligned,
    matrix_fields,
)
from data.images.crops import (
    affine_scales,
    affines_from_boxes,
    affines_from_points,
    boxes_from_affines,
    mean_face_of,
)
from data.images.photos import OWN_OUTPUT, is_own_output, list_photos, read_photo
from data.key_points import KEY_POINTS, Names, output_columns
from data.system.files import InputError, make_folder, one_line, printable, replace_file
from data.system.progress import follow
from data.system.signals import acknowledge_stop
from models.detect.search import DOUBTFUL, find_faces, refine
from models.spread import face_spread
from models.storage import describe_model, find_model, knows_mirrored, load_model, names_of
from results.drawing import draw_faces
from results.training_rows import TrainingRows

if TYPE_CHECKING:
    from PIL import Image

# How pictures of photos are packed: a large one takes seconds otherwise. Runs of equal bytes alone
# make smaller files of photos than zlib's quickest search for repetitions.
QUICK_PNG: dict[str, Any] = {"compress_level": 1, "compress_type": zlib.Z_RLE}


def run_photos(arguments: argparse.Namespace) -> None:
    """Find the faces and key points in photos; write annotated pictures and key_points.csv.

    A photo that cannot be read is told, and the run goes on; at the end InputError is raised. The
    rows are kept as they are found, also where Ctrl-C ends the run.
    """
    photos = list_photos(arguments.image)
    if arguments.box and len(photos) > 1:
        raise InputError("--box says where the face is in one photo; give one photo only.")
    make_folder(arguments.results)
    reader = open_reader(arguments)
    answers = open_answers(arguments, reader.names)
    problems: list[InputError] = []
    failed: list[tuple[Path, Path]] = []
    targets = output_paths(photos, arguments.results)
    try:
        for path, target in follow(list(zip(photos, targets, strict=True)), "photos"):
            try:
                look_at(path, target, arguments.box, reader, answers)
            except InputError as problem:
                problems.append(problem)
            except Exception as error:  # what one photo brings must not harm the others
                problems.append(InputError(f"{path} cannot be used ({one_line(error)})."))
            else:
                continue
            failed.append((path, target))
            if len(photos) > 1:
                print(f"error: {printable(problems[-1])}", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        acknowledge_stop()  # or it is raised again while the rows are written
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
            " mend them or leave them out."
        )


class Reader(NamedTuple):
    """What finds the faces and their key points."""

    model: Any  # as from `load_model`
    names: Names  # of its key points
    face: np.ndarray | None  # as from `mean_face_of`
    mirror: bool


def open_reader(arguments: argparse.Namespace) -> Reader:
    """Load the model that the command line asks for, and say which that is."""
    model_path = arguments.model or find_model()
    model, record = load_model(model_path)
    names = names_of(model, record)
    face = mean_face_of(record, names, model_path)
    print(describe_model(model_path, record), flush=True)
    return Reader(model, names, face, arguments.mirror and knows_mirrored(record))


class Table:
    """key_points.csv, written again and again while rows are found: a kill loses few."""

    def __init__(self, path: Path, names: Names, further: Sequence[str] = ()) -> None:
        """`further` columns follow the key points' spreads."""
        self.path = path
        self.columns = ["photo", "face", "box_x", "box_y", "box_w", "box_h", *output_columns(names)]
        self.columns += further
        self.rows: list[list] = []
        self.photos = 0  # looked at
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
    """What is written beside the annotated pictures."""

    table: Table
    training: TrainingRows | None  # with --csv
    crops: int  # pixels of a level crop's side, with --crops; else 0
    folder: Path  # of the level crops

    def write(self) -> None:
        """Write the tables as a whole."""
        self.table.write()
        if self.training:
            self.training.write()


def open_answers(arguments: argparse.Namespace, names: Names) -> Answers:
    """What the command line asks for. Raises InputError where the key points do not allow it."""
    training = TrainingRows(arguments.csv, names) if arguments.csv else None
    folder = arguments.results / "crops"
    if arguments.crops:
        check_names(names)
        make_folder(folder)
    further = MATRIX_COLUMNS if arguments.crops else []
    table = Table(arguments.results / "key_points.csv", names, further)
    return Answers(table, training, arguments.crops or 0, folder)


def look_at(
    path: Path, target: Path, box: list[float] | None, reader: Reader, answers: Answers
) -> None:
    """Find the faces in one photo, or the one in `box`; picture them and add them to the tables."""
    from PIL.PngImagePlugin import PngInfo

    photo = read_photo(path)
    grey = np.array(photo.convert("L"))
    model, names, face, mirror = reader
    if box:
        crops = affines_from_boxes(box_in_photo(box, photo, path))
        key_points, spread = refine(model, grey, crops, mirror, names, face)
    else:
        key_points, spread = find_faces(model, grey, mirror, names, face)
    crops = affines_from_points(key_points, face)
    boxes = boxes_from_affines(crops)
    photo_spread = spread * affine_scales(crops)[:, None]
    values = [boxes, key_points.reshape(len(boxes), 2 * len(names)), photo_spread]
    rows = np.column_stack(values).tolist()
    if answers.crops:
        level = aligned_crops(key_points, names, answers.crops, face)
        save_crops(photo, level, answers.crops, answers.folder, target)
        rows = [[*a, *b] for a, b in zip(rows, matrix_fields(level), strict=True)]
    answers.table.add(path, rows)
    if not len(boxes):
        print(f"{printable(path)}: no face found; --box X Y W H says where one is.")
        forget(path, target)
        return
    if answers.training:
        answers.training.add(path, grey, key_points, spread, crops)
    own = PngInfo()
    for key, value in OWN_OUTPUT.items():
        own.add_text(key, value)
    drawn = annotate(photo, boxes, key_points, spread, names)
    replace_file(target, lambda file: drawn.save(file, pnginfo=own, **QUICK_PNG))
    found = f"{len(boxes)} face(s)"
    doubt = float(face_spread(spread)[0])
    if box and not doubt < DOUBTFUL:
        found = (
            f"the box shows hardly a face, or none that this model knows: spread {doubt:.1f} px,"
            f" faces have less than {DOUBTFUL:g}"
        )
    print(f"{printable(path)}: {found}, pictured in {printable(target)}", flush=True)


def forget(photo: Path, target: Path) -> None:
    """Remove the picture that an earlier run drew of a photo: it is not what this one found."""
    elsewhere = target.resolve().parent != photo.resolve().parent
    if target.exists() and (elsewhere or is_own_output(target)):
        target.unlink()
        print(f"{printable(target)} of an earlier run is removed.")


def save_crops(
    photo: Image.Image, crops: np.ndarray, size: int, folder: Path, pictured: Path
) -> None:
    """Write the level crops (N, 2, 3) of a PIL photo's faces, named as its picture is."""
    name = pictured.name.removesuffix("_key_points.png")
    for number, crop in enumerate(crops, 1):
        save_crop(folder / f"{name}_{number}.png", np.asarray(photo), crop, size)
    for number in count(len(crops) + 1):  # of an earlier run that found more
        left = folder / f"{name}_{number}.png"
        if not left.exists():
            break
        left.unlink()


def save_crop(path: Path, picture: np.ndarray, crop: np.ndarray, size: int) -> None:
    """Write one level crop (2, 3) of a picture (H, W, 3), `size` pixels a side."""
    from PIL import Image

    replace_file(path, Image.fromarray(cut_aligned(picture, crop, size)).save)


def output_paths(photos: Sequence[Path], results: Path) -> list[Path]:
    """Where each photo's annotated picture goes: no two the same, none in a photo's own place.

    Photos of one name in several folders are told apart by the folders.
    """
    whole = [photo.resolve().parts[1:] for photo in photos]
    ends = Counter(fold(parts[-n:]) for parts in whole for n in range(1, len(parts) + 1))
    taken = {str(photo.resolve()).lower() for photo in photos}
    paths = []
    for photo, parts in zip(photos, whole, strict=True):
        # As many folders as tell it from all the others, more where such a file is there already.
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
    """Parts of a path such that those which are one to Windows and macOS are equal."""
    return "/".join(parts).lower()


def shortened(name: str, room: int = 200) -> str:
    """A file's name that leaves room for an ending: file systems take no more than 255 bytes."""
    encoded = os.fsencode(name)
    if len(encoded) <= room:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:8]
    return encoded[: room - 9].decode("utf-8", "ignore") + "_" + digest


def box_in_photo(box: list[float], photo: Image.Image, path: Path) -> np.ndarray:
    """`box`, x y w h, if it makes sense in the PIL `photo` of that path; else InputError."""
    x, y, w, h = box
    width, height = photo.size
    if x + w <= 0 or y + h <= 0 or x >= width or y >= height or max(w, h) > 3 * max(photo.size):
        raise InputError(
            f"--box {x:g} {y:g} {w:g} {h:g} lies outside the photo {path}, which has"
            f" {width}x{height} pixels, or is far larger."
        )
    return np.array(box)


def annotate(
    photo: Image.Image,
    boxes: np.ndarray,
    key_points: np.ndarray,
    spread: np.ndarray,
    names: Names = KEY_POINTS,
) -> Image.Image:
    """Draw faces on a PIL photo: their boxes (N, 4), key points (N, K, 2) and 90 % regions.

    `spread` (N, K) is in pixels of the crop, as `predict_crops` gives it. Lines and dots grow with
    the face; colours, rings and hollow points are as in the other pictures. Gives another photo of
    the same size.
    """
    from PIL import Image

    canvas = np.array(photo)
    draw_faces(canvas, boxes, key_points, spread, range(1, len(boxes) + 1), names)
    return Image.fromarray(canvas)
