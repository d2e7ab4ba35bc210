"""The answers of `--image`: annotated photos, and a table of their faces' key points."""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data.command_line import stop_heard
from data.files import InputError, make_folder, one_line, printable, replace_file
from data.key_points import KEY_POINTS, SIZE, Names, output_columns
from data.photos import (
    OWN_OUTPUT,
    crop_boxes,
    crop_face,
    crop_scales,
    import_cv2,
    is_own_output,
    list_photos,
    point_crops,
    read_photo,
    square_crops,
)
from data.progress import follow
from models.face_finder import DOUBTFUL, find_faces, refine
from models.spread import REGION_90, face_spread
from models.storage import describe_model, find_model, knows_mirrored, load_model, names_of
from results.measures import UNSURE
from results.pictures import style_of

if TYPE_CHECKING:
    import keras
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
    import_cv2()
    photos = list_photos(arguments.image)
    if arguments.box and len(photos) > 1:
        raise InputError("--box says where the face is in one photo; give one photo only.")
    make_folder(arguments.results)
    model_path = arguments.model or find_model()
    model, record = load_model(model_path)
    names = names_of(model, record)
    face = crop_face(record, names, model_path)
    print(describe_model(model_path, record), flush=True)
    mirror = arguments.mirror and knows_mirrored(record)
    table = Table(arguments.results / "key_points.csv", names)
    problems: list[InputError] = []
    failed: list[tuple[Path, Path]] = []
    targets = output_paths(photos, arguments.results)
    try:
        for path, target in follow(list(zip(photos, targets, strict=True)), "photos"):
            try:
                look_at(path, target, arguments.box, model, mirror, names, face, table)
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
        table.write()
        raise KeyboardInterrupt(
            f"stopped; the {len(table.rows)} face(s) of {table.photos} of {len(photos)} photos are"
            f" in {table.path}."
        ) from None
    if problems and len(photos) == 1:
        raise problems[0]
    if table.photos:
        table.write()
        for path, target in failed:
            forget(path, target)
        print(f"{len(table.rows)} face(s) in all; key points are in {printable(table.path)}")
    if problems:
        raise InputError(
            f"{len(problems)} of {len(photos)} photos could not be read, as said above;"
            " mend them or leave them out."
        )


class Table:
    """key_points.csv, written again and again while rows are found: a kill loses few."""

    def __init__(self, path: Path, names: Names) -> None:
        self.path = path
        self.columns = ["photo", "face", "box_x", "box_y", "box_w", "box_h", *output_columns(names)]
        self.rows: list[list] = []
        self.photos = 0  # looked at
        self.written = -np.inf  # when

    def add(self, photo: Path, values: np.ndarray) -> None:
        """The faces (N, columns without the first two) of one photo."""
        self.rows += [[printable(photo), i, *row] for i, row in enumerate(values.tolist(), 1)]
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


def look_at(
    path: Path,
    target: Path,
    box: list[float] | None,
    model: keras.Model,
    mirror: bool,
    names: Names,
    face: np.ndarray | None,
    table: Table,
) -> None:
    """Find the faces in one photo, or the one in `box`; picture them and add them to the table."""
    from PIL.PngImagePlugin import PngInfo

    photo = read_photo(path)
    grey = np.array(photo.convert("L"))
    if box:
        crops = square_crops(box_in_photo(box, photo, path))
        key_points, spread = refine(model, grey, crops, mirror, names, face)
    else:
        key_points, spread = find_faces(model, grey, mirror, names, face)
    crops = point_crops(key_points, face)
    boxes = crop_boxes(crops)
    photo_spread = spread * crop_scales(crops)[:, None]
    table.add(
        path, np.column_stack([boxes, key_points.reshape(len(boxes), 2 * len(names)), photo_spread])
    )
    if not len(boxes):
        print(f"{printable(path)}: no face found; --box X Y W H says where one is.")
        forget(path, target)
        return
    own = PngInfo()
    for key, value in OWN_OUTPUT.items():
        own.add_text(key, value)
    drawn = annotate(photo, boxes, key_points, spread, names)
    replace_file(target, lambda file: drawn.save(file, pnginfo=own))
    found = f"{len(boxes)} face(s)"
    doubt = float(face_spread(spread)[0])
    if box and not doubt < DOUBTFUL:
        found = (
            f"the box shows hardly a face, or none that this model knows: spread {doubt:.1f} px,"
            f" faces have less than {DOUBTFUL:g}"
        )
    print(f"{printable(path)}: {found}, pictured in {printable(target)}", flush=True)


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
    from PIL import Image, ImageColor

    cv2 = import_cv2()
    canvas = np.array(photo)
    fine = {"lineType": cv2.LINE_AA, "shift": 4}  # OpenCV draws at sixteenths of a pixel

    def fixed(values: Any) -> list[int]:
        return [round(16 * value) for value in np.ravel(values).tolist()]

    for number, (box, points, radii) in enumerate(zip(boxes, key_points, spread, strict=True), 1):
        x, y, w, h = box.tolist()
        width, white = max(1, round(w / 150)), (255, 255, 255)
        cv2.rectangle(canvas, fixed((x, y)), fixed((x + w - 1, y + h - 1)), white, width, **fine)
        text = canvas, str(number), (round(x), round(y - 2 * width)), cv2.FONT_HERSHEY_SIMPLEX
        for colour, thickness in (((0, 0, 0), 3 * width), (white, width)):
            cv2.putText(*text, max(0.3, w / 250), colour, thickness, cv2.LINE_AA)
        for name, point, unsure in zip(names, points, radii.tolist(), strict=True):
            radius, colour = max(w / 80, 0.7), ImageColor.getrgb(style_of(name)[0])[:3]
            region = REGION_90 * unsure * w / SIZE
            cv2.circle(canvas, fixed(point), *fixed(region), colour, max(1, width // 2), **fine)
            if unsure > UNSURE:
                cv2.circle(canvas, fixed(point), *fixed(radius), colour, width, **fine)
            else:
                cv2.circle(canvas, fixed(point), *fixed(1.5 * radius), (0, 0, 0), -1, **fine)
                cv2.circle(canvas, fixed(point), *fixed(radius), colour, -1, **fine)
    return Image.fromarray(canvas)
