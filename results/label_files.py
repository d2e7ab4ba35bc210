"""`--image --labels`: what was found in photos, as label files for annotation programs.

They are written into a folder of their own, beside links to the photos where a program needs these.
`model_builder.py --data FOLDER --init models/pretrained.keras` trains on what was corrected there.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.formats.coco import coco_document
from data.formats.labelme import labelme_document
from data.formats.labels import HIDDEN, VISIBLE, LabelledFace, LabelledPhoto
from data.formats.yolo import yolo_lines, yolo_settings
from data.images.photos import read_photo
from data.key_points import Names
from data.system.files import (
    InputError,
    make_empty_folder,
    make_folder,
    printable,
    replace_file,
    why,
    write_text,
)
from data.system.progress import follow
from models.detect.search import Detections
from models.detect.settings import DEFAULTS, SearchSettings
from models.spread import face_spread

FORMATS = ("labelme", "coco", "yolo")

# What annotation programs read; photos of other kinds are written as JPEGs for them.
COMMON_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp")


class LabelFiles:
    """Collects the faces found in photos, and writes them into a folder in one of FORMATS.

    LabelMe and COCO have the photos in order of their least certain face, those without a face
    last. Points whose spread is above the search's limit are marked: by the flag `hidden` or v = 1.
    """

    def __init__(
        self, folder: Path, kind: str, names: Names, settings: SearchSettings = DEFAULTS
    ) -> None:
        """Raises InputError if `folder` has files, which may be corrections, or cannot be made."""
        make_empty_folder(folder)
        self.folder, self.kind, self.names, self.settings = folder, kind, names, settings
        self.photos: list[tuple[float, LabelledPhoto]] = []

    def add(self, path: Path, size: tuple[int, int], faces: Detections) -> None:
        """Add the faces of the photo at `path`, `size` its width and height when upright."""
        unsure = float(face_spread(faces.spread, faces.names).max()) if len(faces) else 0.0
        labelled = label_faces(faces, self.settings)
        photo = LabelledPhoto(path.resolve(), path.name, self.folder, labelled, size)
        self.photos.append((unsure, photo))

    def write(self) -> None:
        """Write the files and say where they are."""
        self.photos.sort(key=lambda pair: -pair[0])
        photos = [photo for _, photo in self.photos]
        if not photos:
            return
        {"labelme": write_labelme, "coco": write_coco, "yolo": write_yolo}[self.kind](
            photos, self.names, self.folder
        )
        count = sum(len(photo.faces) for photo in photos)
        order = "" if self.kind == "yolo" else ", least certain first,"
        print(
            f"{count} face(s) in {len(photos)} photos to correct and train on{order}"
            f" are in {self.folder}"
        )


def label_faces(faces: Detections, settings: SearchSettings) -> list[LabelledFace]:
    """The faces that a search with these settings found in a photo, as labels."""
    labelled = []
    for points, spread, box in zip(faces.points, faces.spread, faces.boxes, strict=True):
        unsure = spread > settings.spread_limit(box[2])
        visibility = np.where(unsure, HIDDEN, VISIBLE)
        visibility[~np.isfinite(points).all(1)] = 0
        labelled.append(LabelledFace(points, visibility, box, spread))
    return labelled


def write_labelme(photos: Sequence[LabelledPhoto], names: Names, folder: Path) -> None:
    """A JSON and a link to the photo for each, their names numbered in order: LabelMe opens the
    photos of a folder by name, and looks for each one's JSON beside it."""
    digits = len(str(len(photos)))
    for i, photo in enumerate(follow(photos, "writing labels"), 1):
        link = place_photo(photo.photo, folder / f"{i:0{digits}}_{safe_name(photo.photo)}")
        assert photo.size is not None
        document = labelme_document(link.name, photo.size, photo.faces, names)
        write_text(link.with_suffix(".json"), json.dumps(document, indent=2, ensure_ascii=False))


def write_coco(photos: Sequence[LabelledPhoto], names: Names, folder: Path) -> None:
    """One JSON, key_points.json; it names the photos as seen from the folder that holds all."""
    base = Path(os.path.commonpath([photo.photo.parent for photo in photos]))
    named = [
        LabelledPhoto(
            photo.photo,
            printable(photo.photo.relative_to(base).as_posix()),
            photo.labels,
            photo.faces,
            photo.size,
        )
        for photo in photos
    ]
    document = coco_document(named, names, base)
    write_text(folder / "key_points.json", json.dumps(document, ensure_ascii=False))


def write_yolo(photos: Sequence[LabelledPhoto], names: Names, folder: Path) -> None:
    """A data set: data.yaml, links to the photos in images/, their labels in labels/."""
    for name in ("images", "labels"):
        make_folder(folder / name)
    write_text(folder / "data.yaml", yolo_settings(names))
    taken: set[str] = set()
    for photo in follow(photos, "writing labels"):
        name, number = safe_name(photo.photo), 2
        while Path(name).stem.lower() in taken:
            name, number = f"{number}_{safe_name(photo.photo)}", number + 1
        taken.add(Path(name).stem.lower())
        link = place_photo(photo.photo, folder / "images" / name)
        assert photo.size is not None
        write_text(folder / "labels" / f"{link.stem}.txt", yolo_lines(photo.faces, photo.size))


def safe_name(photo: Path) -> str:
    """A photo's file name, short enough for more in front, and valid in UTF-8."""
    return printable(photo.stem[:60] + photo.suffix).replace("\\", "_")


def place_photo(photo: Path, link: Path) -> Path:
    """Make a photo appear at `link`, as a link or, where that is not possible, a copy.

    Kinds that annotation programs do not read become a JPEG. Returns the path, whose ending may
    differ. Raises InputError if it cannot be written.
    """
    if photo.suffix.lower() not in COMMON_ENDINGS:
        link = link.with_suffix(".jpg")
        picture = read_photo(photo)
        replace_file(link, lambda file: picture.save(file, quality=95))
        return link
    try:
        with contextlib.suppress(OSError, NotImplementedError):
            link.symlink_to(photo)
            return link
        shutil.copyfile(photo, link)
    except OSError as error:
        raise InputError(
            f"{link} cannot be written ({why(error)}); free some space, or choose another folder."
        ) from None
    return link
