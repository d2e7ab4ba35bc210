"""Write rendered faces as CSVs in Kaggle's format, and what each of them shows.

python -m data.synthetic.rendered --points 15 --train 2000 --test 200 --seed 1 --out FOLDER

writes training.csv and test.csv, and for each a table with one row per face: age, sex, skin tone,
head pose, accessories (training_descriptions.csv, test_descriptions.csv).

python -m data.synthetic.rendered --coco --train 2000 --test 0 --out FOLDER

writes pictures, FOLDER/training/00001.png and so on, and their labels as COCO, training.json.

python -m data.synthetic.rendered --points places.txt --sheet sheet.png

draws the points on the neutral head, from the front and from the side, and on some faces.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path

import numpy as np

from data.formats.coco import coco_document
from data.formats.labels import NOT_LABELLED, VISIBLE, LabelledFace, LabelledPhoto
from data.key_points import SIZE
from data.synthetic.rendered.faces import (
    Description,
    RenderedFaces,
    draw_neutral,
    render_faces,
)
from data.synthetic.rendered.points import Places, read_places
from data.system.command_line import natural, run_script
from data.system.files import HERE, InputError, make_folder, replace_file, write_text
from data.system.progress import follow
from data.tables import write_faces, write_rows


def write_csvs(folder: Path, name: str, faces: RenderedFaces, labelled: bool) -> None:
    """Write `name`.csv, with key points if `labelled`, and `name`_descriptions.csv.

    Raises InputError if they cannot be written.
    """
    key_points = faces.key_points if labelled else None
    write_faces(folder / f"{name}.csv", faces.pictures, key_points, faces.names)
    write_descriptions(folder / f"{name}_descriptions.csv", faces)


def write_descriptions(path: Path, faces: RenderedFaces) -> None:
    """Write what each face shows, one row per face. Raises InputError if that is not possible."""
    header = [field.name for field in fields(Description)]
    rows = (list(asdict(description).values()) for description in faces.descriptions)
    write_rows(path, header, rows)


def write_coco(folder: Path, name: str, faces: RenderedFaces) -> None:
    """Write the pictures into the folder `name`, their labels into `name`.json, and
    `name`_descriptions.csv. Points outside the picture count as not labelled.

    Raises InputError if they cannot be written.
    """
    from PIL import Image

    make_folder(folder / name)
    photos = []
    digits = len(str(len(faces.pictures)))
    for i in follow(range(len(faces.pictures)), "writing pictures"):
        path, points = folder / name / f"{i + 1:0{digits}}.png", faces.key_points[i]
        picture = Image.fromarray(faces.pictures[i])
        replace_file(path, partial(picture.save, format="PNG"))
        inside = ((points >= -0.5) & (points < SIZE - 0.5)).all(1)
        face = LabelledFace(points, np.where(inside, VISIBLE, NOT_LABELLED))
        photos.append(LabelledPhoto(path, path.name, folder, [face], picture.size))
    document = coco_document(photos, faces.names, folder / name)
    write_text(folder / f"{name}.json", json.dumps(document))
    write_descriptions(folder / f"{name}_descriptions.csv", faces)


def draw_sheet(path: Path, places: Places, seed: int) -> None:
    """Draw the points on the neutral head, twice, and on 12 faces: a picture to check them by.

    Raises InputError if it cannot be written.
    """
    from PIL import Image, ImageDraw

    tile = 4 * SIZE
    sheet = Image.new("RGB", (5 * tile, 4 * tile))
    large = [(0, 0), (2, 0)]
    small = [(4, 0), (4, 1), *((column, row) for row in (2, 3) for column in range(5))]
    faces = render_faces(len(small), seed, places, workers=1)
    views = [draw_neutral(places, turn, 2 * tile) for turn in (0.0, -1.3)]
    views += zip(faces.pictures, faces.key_points, strict=True)
    for (column, row), (picture, points) in zip(large + small, views, strict=True):
        size = tile if len(picture) == SIZE else 2 * tile
        view = Image.fromarray(picture).resize((size, size), Image.Resampling.BICUBIC)
        view = view.convert("RGB")
        draw = ImageDraw.Draw(view)
        for x, y in (points + 0.5) * (size / len(picture)):
            draw.ellipse((x - 2, y - 2, x + 2, y + 2), outline=(255, 60, 60))
        sheet.paste(view, (column * tile, row * tile))
    replace_file(path, lambda temporary: sheet.save(temporary, "PNG"))
    print(f"drew {len(places.names)} points to {path}")


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line as an argparse namespace."""
    parser = argparse.ArgumentParser(
        prog="python -m data.synthetic.rendered",
        description="Write faces rendered from free 3-D heads in Kaggle's CSV format.",
    )
    add = parser.add_argument
    points = "15 (Kaggle's), 68 (300-W's) or a file of places on the head (default: 15)"
    add("--points", default="15", metavar="15|68|FILE", help=points)
    add("--out", default=HERE / "data", type=Path, metavar="DIR", help="folder (default: data)")
    add("--train", type=natural, default=2000, help="faces in training.csv (default: 2000)")
    add("--test", type=natural, default=200, help="faces in test.csv (default: 200)")
    add("--seed", type=natural, default=0, help="another number gives other faces (default: 0)")
    add("--workers", type=natural, help="processes (default: one per core)")
    coco = "write pictures and COCO's key points instead of CSVs"
    add("--coco", action="store_true", help=coco)
    sheet = "only draw the points on the neutral head and on some faces, to check them"
    add("--sheet", type=Path, metavar="FILE", help=sheet)
    add("--force", action="store_true", help="overwrite existing files")
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> None:
    """Write the files."""
    if arguments.sheet:
        if arguments.sheet.exists() and not arguments.force:
            raise InputError(f"{arguments.sheet} exists; give --force to overwrite it.")
        draw_sheet(arguments.sheet, read_places(arguments.points), arguments.seed)
        return
    ending = "json" if arguments.coco else "csv"
    for name in ("training", "test"):
        for path in (
            arguments.out / f"{name}.{ending}",
            arguments.out / f"{name}_descriptions.csv",
        ):
            if path.exists() and not arguments.force:
                raise InputError(f"{path} exists; give --force to overwrite it.")
    places = read_places(arguments.points)
    make_folder(arguments.out)
    count = arguments.train + arguments.test
    faces = render_faces(count, arguments.seed, places, workers=arguments.workers)
    parts = {"training": slice(0, arguments.train), "test": slice(arguments.train, count)}
    for name, part in parts.items():
        if arguments.coco:
            write_coco(arguments.out, name, faces.take(part))
        else:
            write_csvs(arguments.out, name, faces.take(part), labelled=name == "training")
    print(
        f"wrote {arguments.train} faces with {len(places.names)} key points each to"
        f" {arguments.out / f'training.{ending}'} and {arguments.test} to"
        f" {arguments.out / f'test.{ending}'}"
    )


if __name__ == "__main__":
    sys.exit(run_script(None, parse_arguments, run))
