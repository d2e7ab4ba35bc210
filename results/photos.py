"""The answers of `--image`: annotated photos, and a table of their faces' key points."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data.files import InputError, make_folder, replace_file
from data.key_points import KEY_POINTS, SIZE, Names, output_columns
from data.level_crops import MATRIX_COLUMNS, check_names, cut_level, level_crops, matrix_fields
from data.photos import (
    crop_boxes,
    crop_face,
    crop_scales,
    list_photos,
    point_crops,
    read_photo,
    square_crops,
)
from data.progress import follow
from models.face_finder import find_faces, refine
from models.spread import REGION_90
from models.storage import find_model, load_model, names_of
from results.measures import UNSURE
from results.pictures import style_of
from results.training_rows import TrainingRows

if TYPE_CHECKING:
    from PIL import Image


def output_paths(photos: Sequence[Path], results: Path) -> list[Path]:
    """Where each photo's annotated picture goes: no two the same, none in a photo's own place."""
    taken = {str(photo.resolve()).lower() for photo in photos}
    paths = []
    for photo in photos:
        names = chain([photo.stem, photo.name], (f"{photo.name}_{i}" for i in count(2)))
        candidates = (results / f"{name}_key_points.png" for name in names)
        free = (path for path in candidates if str(path.resolve()).lower() not in taken)
        paths.append(next(free))
        taken.add(str(paths[-1].resolve()).lower())
    return paths


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

    A photo that cannot be read is told, and the run goes on; at the end InputError is raised.
    """
    import pandas as pd

    photos = list_photos(arguments.image)
    if arguments.box and len(photos) > 1:
        raise InputError("--box says where the face is in one photo; give one photo only.")
    make_folder(arguments.results)
    model_path = arguments.model or find_model()
    model, record = load_model(model_path)
    names = names_of(model, record)
    face = crop_face(record, names, model_path)
    training = TrainingRows(arguments.csv, names) if arguments.csv else None
    if arguments.crops:
        check_names(names)
        make_folder(arguments.results / "crops")
    rows, problems = [], []
    targets = output_paths(photos, arguments.results)
    for path, target in follow(list(zip(photos, targets, strict=True)), "photos"):
        try:
            photo = read_photo(path)
            grey = np.array(photo.convert("L"))
            if arguments.box:
                crops = square_crops(box_in_photo(arguments.box, photo, path))
                key_points, spread = refine(model, grey, crops, arguments.mirror, names, face)
            else:
                key_points, spread = find_faces(model, grey, arguments.mirror, names, face)
        except InputError as problem:
            problems.append(problem)
            if len(photos) > 1:
                print(f"error: {problem}", file=sys.stderr)
            continue
        crops = point_crops(key_points, face)
        boxes = crop_boxes(crops)
        if not len(boxes):
            print(f"{path}: no face found; --box X Y W H says where one is.")
            continue
        drawn = annotate(photo, boxes, key_points, spread, names)
        # The least compression: a large photo takes seconds otherwise.
        replace_file(target, partial(drawn.save, compress_level=1))
        print(f"{path}: {len(boxes)} face(s), pictured in {target}", flush=True)
        photo_spread = spread * crop_scales(crops)[:, None]
        values = np.column_stack([boxes, key_points.reshape(len(boxes), -1), photo_spread])
        fields = values.tolist()
        if arguments.crops:
            level = level_crops(key_points, names, arguments.crops)
            save_crops(photo, level, arguments.crops, arguments.results / "crops", target)
            fields = [[*a, *b] for a, b in zip(fields, matrix_fields(level), strict=True)]
        rows += [[path, i, *row] for i, row in enumerate(fields, 1)]
        if training:
            training.add(path, grey, key_points, spread, crops)
    if problems and len(photos) == 1:
        raise problems[0]
    columns = ["photo", "face", "box_x", "box_y", "box_w", "box_h", *output_columns(names)]
    columns += MATRIX_COLUMNS if arguments.crops else []
    table = pd.DataFrame(rows, columns=columns)
    csv_path = arguments.results / "key_points.csv"
    if len(problems) < len(photos):
        replace_file(csv_path, lambda file: table.to_csv(file, index=False, float_format="%.3f"))
        print(f"{len(rows)} face(s) in all; key points are in {csv_path}")
        if training:
            training.write()
    if problems:
        raise InputError(
            f"{len(problems)} of {len(photos)} photos could not be read, as said above;"
            " mend them or leave them out."
        )


def save_crops(
    photo: Image.Image, crops: np.ndarray, size: int, folder: Path, pictured: Path
) -> None:
    """Write the level crops (N, 2, 3) of a PIL photo's faces, named as its picture is."""
    name = pictured.name.removesuffix("_key_points.png")
    for number, crop in enumerate(crops, 1):
        save_crop(folder / f"{name}_{number}.png", np.asarray(photo), crop, size)


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
    drawn = photo.copy()
    for number, face in enumerate(zip(boxes, key_points, spread, strict=True), 1):
        draw_face(drawn, number, *face, names)
    return drawn


SMOOTH = 1600  # pixels: a face's surroundings are drawn enlarged up to about this, for smooth edges


def draw_face(
    photo: Image.Image,
    number: int,
    box: np.ndarray,
    points: np.ndarray,
    spread: np.ndarray,
    names: Names,
) -> None:
    """Draw one face on the PIL photo; as `annotate`."""
    from PIL import Image, ImageDraw, ImageFont

    x, y, side, _ = box.tolist()
    width, letters = max(1, round(side / 150)), max(9, side / 8)
    regions = np.maximum(REGION_90 * spread * side / SIZE, side / 50) + width
    # What is drawn on, in photo pixels; the number stands above the box, or in it at the top.
    y_text = y - 2 * width if y - 2 * width - letters > 0 else y + letters + 2 * width
    low = np.minimum((points - regions[:, None]).min(0), (x - width, min(y, y_text - letters)))
    high = np.maximum((points + regions[:, None]).max(0), box[:2] + side + width)
    low = np.clip(np.floor(low) - width - 1, 0, photo.size).astype(int)
    high = np.clip(np.ceil(high) + width + 2, 0, photo.size).astype(int)
    if (high <= low).any():
        return
    fine = int(np.clip(SMOOTH // (high - low).max(), 1, 4))
    # Nearest pixels: what is not drawn on comes back as it was.
    part = photo.crop((*low.tolist(), *high.tolist()))
    large = part.resize((part.width * fine, part.height * fine), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(large)

    def place(where: Any) -> np.ndarray:
        """Of a photo pixel's centre in the enlarged part."""
        return (np.asarray(where) - low + 0.5) * fine - 0.5

    def circle(point: np.ndarray, radius: float, **how: Any) -> None:
        middle = place(point)
        draw.ellipse((*(middle - radius * fine), *(middle + radius * fine)), **how)

    corners = place((x - width / 2, y - width / 2)), place(box[:2] + side - 1 + width / 2)
    draw.rectangle((*corners[0], *corners[1]), outline="white", width=width * fine)
    font = ImageFont.load_default(letters * fine)
    how = {"anchor": "ls", "stroke_width": width * fine, "stroke_fill": "black"}
    draw.text(tuple(place((x, y_text))), str(number), "white", font, **how)
    radius = max(side / 80, 0.7)
    for name, point, unsure in zip(names, points, spread.tolist(), strict=True):
        colour, thin = style_of(name)[0], max(fine, width * fine // 2)
        circle(point, REGION_90 * unsure * side / SIZE + width / 4, outline=colour, width=thin)
        if unsure > UNSURE:
            circle(point, radius + width / 2, outline=colour, width=width * fine)
        else:
            circle(point, 1.5 * radius, fill="black")
            circle(point, radius, fill=colour)
    photo.paste(large.reduce(fine), tuple(low.tolist()))
