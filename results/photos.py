"""`--image`: annotated photos, and a table of their faces' key points."""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import sys
import time
import zlib
from collections import Counter
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from data.images.aligned_crops import MATRIX_COLUMNS, check_names, matrix_fields
from data.images.photos import OWN_OUTPUT, is_own_output, list_photos, read_photo
from data.key_points import Names, output_columns
from data.system.files import InputError, make_folder, one_line, printable, replace_file
from data.system.progress import follow
from data.system.signals import acknowledge_stop
from models.detect.search import Detections, detect, detect_in_boxes
from models.detect.settings import DEFAULTS
from models.spread import face_spread
from models.storage import Landmarker, load_for_photos
from results.crop_files import SOURCE, CropFiles, png_text, read_png_text, source_id
from results.drawing import draw_faces, draw_legend
from results.training_rows import TrainingRows

if TYPE_CHECKING:
    from PIL import Image

# How annotated photos are compressed: otherwise a large one takes seconds. For photos, run-length
# encoding gives smaller files than zlib's fastest search for repetitions.
QUICK_PNG: dict[str, Any] = {"compress_level": 1, "compress_type": zlib.Z_RLE}

# How files of videos are called, and how they begin: MP4 and QuickTime, Matroska and WebM, AVI,
# Windows Media, MPEG, Flash. (HEIC photos begin as MP4 does.)
VIDEO_ENDINGS = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".wmv", ".mpg", ".mpeg", ".3gp"),
    *(".mts", ".m2ts", ".ts", ".flv", ".ogv"),
)
VIDEO_START = re.compile(
    rb"....ftyp(?!hei|hev|mif1|msf1|avi[fs])|\x1a\x45\xdf\xa3|RIFF....AVI |\x30\x26\xb2\x75"
    rb"|\x00\x00\x01[\xb3\xba]|FLV\x01",
    re.DOTALL,
)


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
    answers = open_answers(arguments, landmarker)
    problems: list[InputError] = []
    failed: list[Path] = []
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
            failed.append(target)
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
        for target in failed:
            forget(target)
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
    crop_size: int  # side of the aligned crops in pixels; 0 without --crops
    folder: Path  # of the aligned crops

    def write(self) -> None:
        """Write both tables."""
        self.table.write()
        if self.training:
            self.training.write()


def open_answers(arguments: argparse.Namespace, landmarker: Landmarker) -> Answers:
    """The tables and crops that the command line asks for. Raises InputError where this model's key
    points do not allow crops."""
    names = landmarker.names
    training = TrainingRows(arguments.csv, names) if arguments.csv else None
    folder = arguments.results / "crops"
    if arguments.crops:
        check_names(landmarker.found_names)
        make_folder(folder)
    further = MATRIX_COLUMNS if arguments.crops else []
    table = Table(arguments.results / "key_points.csv", names, further)
    return Answers(table, training, arguments.crops or 0, folder)


def process_photo(
    path: Path,
    target: Path,
    landmarker: Landmarker,
    arguments: argparse.Namespace,
    answers: Answers,
) -> None:
    """Find the faces in one photo, or the one in `--box`; draw them, add them to the tables."""
    photo = read_photo_or_advise(path)
    if arguments.box:
        boxes = box_in_photo(arguments.box, photo, path)[None]
        faces = detect_in_boxes(landmarker, photo, boxes, arguments.mirror)
    else:
        faces = detect(landmarker, photo, arguments.mirror)
    points = faces.points.reshape(len(faces), 2 * len(faces.names))
    rows = np.column_stack([faces.boxes, points, faces.spread_in_photo]).tolist()
    if answers.crop_size:
        affines = faces.aligned_affines(answers.crop_size)
        files = CropFiles(answers.folder, stem_of(target), path, answers.crop_size)
        for number, affine in enumerate(affines, 1):
            files.write(np.asarray(photo), affine, number)
        files.remove_earlier()
        fields = matrix_fields(affines)
        rows = [[*a, *b] for a, b in zip(rows, fields, strict=True)]
    answers.table.add(path, rows)
    if not len(faces):
        print(f"{printable(path)}: no face found; --box X Y W H says where one is.")
        forget(target)
        return
    if answers.training:
        answers.training.add(path, photo, faces)
    save_annotated(photo, faces, path, target)
    found = f"{len(faces)} face(s)"
    spread = float(face_spread(faces.spread)[0])
    if arguments.box and not spread < DEFAULTS.max_spread:
        found = (
            f"the box hardly shows a face, or not one that this model can handle: its spread is"
            f" {spread:.1f} px, that of faces below {DEFAULTS.max_spread:g}"
        )
    print(f"{printable(path)}: {found}, pictured in {printable(target)}", flush=True)


def read_photo_or_advise(path: Path) -> Image.Image:
    """`read_photo`, with the flag to use for what another flag takes."""
    try:
        return read_photo(path)
    except InputError:
        if is_video(path):
            raise InputError(f"{path} is a video; use --video instead of --image.") from None
        if path.suffix.lower() == ".csv":
            raise InputError(f"{path} is a table; test faces in a CSV go by --data.") from None
        raise


def is_video(path: Path) -> bool:
    """Whether a file begins, or is called, like a video."""
    with open(path, "rb") as file:
        start = file.read(12)
    return path.suffix.lower() in VIDEO_ENDINGS or bool(VIDEO_START.match(start))


def save_annotated(photo: Image.Image, faces: Detections, path: Path, target: Path) -> None:
    """Write the photo at `path` with its faces drawn on it, as a PNG that names its origin."""
    info = png_text(**OWN_OUTPUT, **{SOURCE: source_id(path)})
    drawn = annotate(photo, faces)
    replace_file(target, lambda file: drawn.save(file, pnginfo=info, **QUICK_PNG))


def forget(target: Path) -> None:
    """Remove the annotated photo of an earlier run, which shows what this run did not find."""
    if is_own_output(target):
        target.unlink()
        print(f"{printable(target)} of an earlier run is removed.")


def stem_of(target: Path) -> str:
    """How the names of a photo's crops begin, by the path of its annotated picture."""
    return target.name.removesuffix("_key_points.png")


def output_paths(photos: Sequence[Path], results: Path) -> list[Path]:
    """The path of each annotated photo: no two are the same, none is a photo's own path, and none
    is taken by a file of the user's or by an earlier run on another photo.

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
        paths.append(
            next(
                path
                for path in candidates
                if str(path.resolve()).lower() not in taken and is_free(path, photo)
            )
        )
        taken.add(str(paths[-1].resolve()).lower())
    return paths


def is_free(target: Path, photo: Path) -> bool:
    """Whether a photo's picture may have that path: no user's file is there, and neither the file
    there nor the first crop of its name was made from another photo."""
    crop, source = target.parent / "crops" / f"{stem_of(target)}_1.png", source_id(photo)
    if target.exists() and not is_own_output(target):
        return False
    # Files of earlier versions do not say what they were made from.
    return all(read_png_text(file).get(SOURCE, source) == source for file in (target, crop))


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
    draw_faces(canvas, faces, numbers)
    draw_legend(canvas, faces)
    return Image.fromarray(canvas)
