"""What a path of --data holds: a CSV, or labelled photos and in which format."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from data.formats.coco import read_coco
from data.formats.crop import CroppedFaces, crop_faces
from data.formats.label_studio import is_label_studio, read_label_studio
from data.formats.labelme import read_labelme
from data.formats.labels import AS_USUAL, LabelledPhotos, LabelOptions, load_json
from data.formats.pts import read_pts
from data.formats.yolo import read_yolo
from data.system.files import InputError

YAML = (".yaml", ".yml")


def has_photos(path: Path | str) -> bool:
    """Whether a path leads to labelled photos, not to a table: a folder, or a file's ending."""
    path = Path(path)
    return path.is_dir() or path.suffix.lower() in (".json", ".pts", *YAML)


def read_photo_faces(path: Path | str, options: LabelOptions = AS_USUAL) -> Iterator[CroppedFaces]:
    """The faces of labelled photos, cropped, a few hundred at a time.

    Raises InputError if the path holds no labels in a known format, or no face can be used.
    """
    return crop_faces(read_labels(Path(path), options))


def read_labels(path: Path, options: LabelOptions = AS_USUAL) -> LabelledPhotos:
    """The labelled photos of a file or a folder, in whichever format.

    Raises InputError as `read_photo_faces`.
    """
    if path.is_dir():
        return read_folder(path, options)
    ending = path.suffix.lower()
    if ending in YAML:
        return read_yolo(path, options)
    if ending == ".pts":
        return read_pts(path, [path], options)
    document = load_json(path)
    if is_label_studio(document):
        return read_label_studio(path, document, options)
    if isinstance(document, dict) and "shapes" in document:
        return read_labelme(path, [path], options)
    return read_coco(path, options)


def read_folder(path: Path, options: LabelOptions) -> LabelledPhotos:
    """The labelled photos of a folder, by the kinds of files in it."""
    with os.scandir(path) as entries:
        files = [path / entry.name for entry in entries if entry.name[0] != "."]
    jsons = sorted(file for file in files if file.suffix.lower() == ".json")
    yamls = sorted(file for file in files if file.suffix.lower() in YAML)
    points = sorted(file for file in files if file.suffix.lower() == ".pts")
    kinds = [kind for kind in (jsons, yamls, points) if kind]
    if len(kinds) > 1:
        raise InputError(
            f"{path} has labels of several formats, {' and '.join(k[0].name for k in kinds)}; name"
            " the files of one."
        )
    if jsons:
        return read_jsons(path, jsons, options)
    if len(yamls) > 1:
        raise InputError(f"{path} has several YAML files; name the data set's, such as {yamls[0]}.")
    if yamls:
        return read_yolo(yamls[0], options)
    if points:
        return read_pts(path, points, options)
    raise InputError(
        f"{path} is a folder; give the CSV file in it, or a folder of labels: this one has no .json"
        " (COCO, LabelMe, Label Studio), .yaml (YOLO pose) or .pts file."
    )


def read_jsons(path: Path, jsons: list[Path], options: LabelOptions) -> LabelledPhotos:
    """The labelled photos of a folder's JSONs: LabelMe's, or one in COCO's or Label Studio's
    format."""
    for file in jsons:
        try:
            document = load_json(file)
        except InputError:
            continue
        coco = isinstance(document, dict) and "annotations" in document
        if not coco and not is_label_studio(document):
            break
        if len(jsons) > 1:
            whose = "COCO's" if coco else "Label Studio's"
            raise InputError(
                f"{path} has several JSONs, of which {file.name} is {whose}; name the one to read."
            )
        return read_labels(file, options)
    return read_labelme(path, jsons, options)
