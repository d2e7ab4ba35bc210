"""The answers of `--image`: annotated photos, and a table of their faces' key points."""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data.command_line import stop_heard
from data.files import InputError, make_folder, one_line, printable, replace_file
from data.key_points import KEY_POINTS, Names, output_columns
from data.level_crops import MATRIX_COLUMNS, check_names, cut_level, level_crops, matrix_fields
from data.photos import (
    OWN_OUTPUT,
    crop_boxes,
    crop_face,
    crop_scales,
    is_own_output,
    list_photos,
    point_crops,
    read_photo,
    square_crops,
)
from data.progress import follow
from models.face_finder import DOUBTFUL, find_faces, refine
from models.spread import face_spread
from models.storage import describe_model, find_model, knows_mirrored, load_model, names_of
from results.drawing import draw_faces
from results.training_rows import TrainingRows

if TYPE_CHECKING:
    from PIL import Image


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


def run_photos(arguments: argparse.Namespace) -> None:
    """Find the faces and key points in photos; write annotated pictures and key_points.csv.

    A photo that cannot be read is told, and the run goes on; at the end InputError is raised. The
    rows are kept as they are found, also where Ctrl-C ends the run.
    """
    photos = list_photos(arguments.image)
    if arguments.box and len(photos) > 1:
        raise InputError("--box says where the face is in one photo; give one photo only.")
    make_folder(arguments.results)
    look = Look(arguments)
    table = look.table
    problems: list[InputError] = []
    failed: list[tuple[Path, Path]] = []
    targets = output_paths(photos, arguments.results)
    try:
        for path, target in follow(list(zip(photos, targets, strict=True)), "photos"):
            try:
                look.at(path, target)
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
        stop_heard()
        look.write()
        raise KeyboardInterrupt(
            f"stopped; the {len(table.rows)} face(s) of {table.photos} of {len(photos)} photos are"
            f" in {table.path}."
        ) from None
    if problems and len(photos) == 1:
        raise problems[0]
    if table.photos:
        look.write()
        for path, target in failed:
            forget(path, target)
        print(f"{len(table.rows)} face(s) in all; key points are in {printable(table.path)}")
    if problems:
        raise InputError(
            f"{len(problems)} of {len(photos)} photos could not be read, as said above;"
            " mend them or leave them out."
        )


class Look:
    """How each photo is looked at, and where its answers go."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.box, self.crops, self.results = arguments.box, arguments.crops, arguments.results
        model_path = arguments.model or find_model()
        self.model, record = load_model(model_path)
        self.names = names_of(self.model, record)
        self.face = crop_face(record, self.names, model_path)
        print(describe_model(model_path, record), flush=True)
        self.mirror = arguments.mirror and knows_mirrored(record)
        self.training = TrainingRows(arguments.csv, self.names) if arguments.csv else None
        columns = output_columns(self.names)
        if self.crops:
            check_names(self.names)
            make_folder(self.results / "crops")
            columns = [*columns, *MATRIX_COLUMNS]
        self.table = Table(self.results / "key_points.csv", columns)

    def at(self, path: Path, target: Path) -> None:
        """Find the faces in a photo, or the one in the box; picture them, add them to the table."""
        photo = read_photo(path)
        grey = np.array(photo.convert("L"))
        how = self.mirror, self.names, self.face
        if self.box:
            crops = square_crops(box_in_photo(self.box, photo, path))
            key_points, spread = refine(self.model, grey, crops, *how)
        else:
            key_points, spread = find_faces(self.model, grey, *how)
        crops = point_crops(key_points, self.face)
        boxes = crop_boxes(crops)
        photo_spread = spread * crop_scales(crops)[:, None]
        places = key_points.reshape(len(boxes), 2 * len(self.names))
        fields = np.column_stack([boxes, places, photo_spread]).tolist()
        if self.crops and fields:
            level = level_crops(key_points, self.names, self.crops)
            fields = [[*a, *b] for a, b in zip(fields, matrix_fields(level), strict=True)]
            save_crops(photo, level, self.crops, self.results / "crops", target)
        self.table.add(path, fields)
        if not fields:
            print(f"{printable(path)}: no face found; --box X Y W H says where one is.")
            forget(path, target)
            return
        if self.training:
            self.training.add(path, grey, key_points, spread, crops)
        save_annotated(annotate(photo, boxes, key_points, spread, self.names), target)
        found, doubt = f"{len(boxes)} face(s)", float(face_spread(spread)[0])
        if self.box and not doubt < DOUBTFUL:
            found = (
                f"the box shows hardly a face, or none that this model knows: spread {doubt:.1f}"
                f" px, faces have less than {DOUBTFUL:g}"
            )
        print(f"{printable(path)}: {found}, pictured in {printable(target)}", flush=True)

    def write(self) -> None:
        """Write the tables."""
        self.table.write()
        if self.training:
            self.training.write()


def save_annotated(drawn: Image.Image, target: Path) -> None:
    """Write an annotated photo as a PNG that says whose output it is."""
    from PIL.PngImagePlugin import PngInfo

    own = PngInfo()
    for key, value in OWN_OUTPUT.items():
        own.add_text(key, value)
    # The least compression: a large photo takes seconds otherwise.
    replace_file(target, partial(drawn.save, compress_level=1, pnginfo=own))


class Table:
    """key_points.csv, written again and again while rows are found: a kill loses few."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path = path
        self.columns = ["photo", "face", "box_x", "box_y", "box_w", "box_h", *columns]
        self.rows: list[list] = []
        self.photos = 0  # looked at
        self.written = -np.inf  # when

    def add(self, photo: Path, fields: list[list]) -> None:
        """The faces of one photo, each a list of all columns but the first two."""
        self.rows += [[printable(photo), i, *row] for i, row in enumerate(fields, 1)]
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

    replace_file(path, Image.fromarray(cut_level(picture, crop, size)).save)


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
