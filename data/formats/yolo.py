"""YOLO pose: a data set's YAML, and a .txt of shares of the photo, 0 to 1, for each photo.

The shares count from the photo's left and upper edge. As Ultralytics does, the labels of
images/a.jpg are looked for in labels/a.txt. https://docs.ultralytics.com/datasets/pose/
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from data.formats.labels import (
    LabelledFace,
    LabelledPhoto,
    LabelledPhotos,
    LabelOptions,
    Problems,
    as_numbers,
    check_unique,
    face_from_triples,
    numbered_names,
    photo_size,
    read_names,
)
from data.images.photos import PHOTO_ENDINGS
from data.key_points import Names, mirror_partners
from data.system.files import InputError, check_file, one_line
from data.system.progress import follow

SPLITS = ("train", "val", "test")  # the project makes a split of its own


def read_yolo(path: Path, options: LabelOptions) -> LabelledPhotos:
    """Read a data set by its YAML. Raises InputError if it cannot be read."""
    check_file(path, "check the path")
    settings = read_yaml(path)
    names, values = read_settings(settings, path, options)
    photos = list(dict.fromkeys(find_photos(settings, path)))
    if not photos:
        raise InputError(
            f"{path}: there are no photos where its {', '.join(SPLITS)} say; correct its path."
        )
    problems = Problems()
    read, shift = [], options.shift("corner")
    for photo in follow(photos, "reading labels"):
        found = problems.collect(read_labels, photo, names, values, shift)
        read += [found] if found else []
    for labels in labels_without_photo(photos):
        problems.add(f"{labels} has no photo of its name in images; put it there, or delete this.")
    return LabelledPhotos(path, names, read, problems)


def read_yaml(path: Path) -> dict[Any, Any]:
    """The mapping in a YAML file. Raises InputError if it is something else, or without PyYAML."""
    try:
        import yaml
    except ImportError:
        raise InputError(
            f"{path} is YAML, for which another package is needed; pip install pyyaml."
        ) from None
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
        if not isinstance(settings, dict):
            raise ValueError("it is not a mapping")
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = one_line(error)
        raise InputError(
            f"{path} is not YAML that can be read ({reason}); correct it, or export it again."
        ) from None
    return settings


def read_settings(settings: dict[str, Any], path: Path, options: LabelOptions) -> tuple[Names, int]:
    """The names of the key points, and how many numbers each has: 2, or 3 with its visibility."""
    shape = settings.get("kpt_shape")
    if not (is_whole(shape) and len(shape) == 2 and shape[0] > 0 and shape[1] in (2, 3)):
        raise InputError(
            f"{path} has no kpt_shape such as [15, 3]; give the YAML of a data set for YOLO pose."
        )
    count, values = shape
    listed = settings.get("kpt_names")
    if isinstance(listed, dict):  # of each class
        listed = next(iter(listed.values()), None)
    own = tuple(map(str, listed)) if isinstance(listed, list) and len(listed) == count else None
    names = read_names(options, count, path) or own or numbered_names(count)
    check_unique(names, path)
    flipped = settings.get("flip_idx")
    if is_whole(flipped) and sorted(flipped) == list(range(count)):
        check_partners(names, flipped, path)
    return names, values


def is_whole(value: Any) -> TypeGuard[list[int]]:
    """Whether a setting is a list of whole numbers."""
    return isinstance(value, list) and all(isinstance(number, int) for number in value)


def check_partners(names: Names, flipped: list[int], path: Path) -> None:
    """Compare the mirror partners that the names say with flip_idx; prints what to do."""
    try:
        partners = mirror_partners(names)
    except ValueError:  # the caller says which name has no partner
        return
    if partners is None and flipped != list(range(len(names))):
        print(
            f"{path} has flip_idx, but the points' names do not say which are mirror images: give"
            " names with left and right by --points FILE, so that faces are mirrored in training."
        )
    elif partners is not None and partners.tolist() != flipped:
        k = next(k for k, other in enumerate(flipped) if partners[k] != other)
        print(
            f"warning: {path}: flip_idx says that {names[k]} is the mirror image of"
            f" {names[flipped[k]]}, the names say {names[partners[k]]}; the names are used."
        )


def find_photos(settings: dict[str, Any], path: Path) -> Iterator[Path]:
    """The photos that the YAML names: of its folders, or listed in its text files."""
    base = Path(str(settings.get("path") or "."))
    bases = [path.parent / base, path.parent]
    for split in SPLITS:
        entries = settings.get(split) or []
        for entry in entries if isinstance(entries, list) else [entries]:
            places = [folder / str(entry) for folder in bases]
            place = next((p for p in places if p.exists()), places[0])
            if place.is_dir():
                inside = sorted(Path(root) / f for root, _, files in os.walk(place) for f in files)
                yield from (p for p in inside if p.suffix.lower() in PHOTO_ENDINGS)
            elif place.is_file():
                lines = place.read_text(encoding="utf-8-sig").splitlines()
                yield from (place.parent / line.strip() for line in lines if line.strip())


def labels_of(photo: Path) -> Path:
    """Where a photo's labels are: the last folder `images` in its path is replaced by `labels`."""
    parts = list(photo.parts)
    if "images" in parts[:-1]:
        at = len(parts) - 2 - parts[:-1][::-1].index("images")
        parts[at] = "labels"
    return Path(*parts).with_suffix(".txt")


def labels_without_photo(photos: Iterable[Path]) -> Iterator[Path]:
    """The label files whose photo is gone from the folder in which these photos are."""
    for folder in dict.fromkeys(photo.parent for photo in photos):
        labels = labels_of(folder / "photo").parent
        if labels != folder and labels.is_dir():
            there = {os.path.splitext(name)[0] for name in os.listdir(folder)} | {"classes"}
            yield from (file for file in sorted(labels.glob("*.txt")) if file.stem not in there)


def read_labels(photo: Path, names: Names, values: int, shift: float) -> LabelledPhoto | None:
    """One photo's labels; None if it has none. Raises InputError if they cannot be used."""
    labels = labels_of(photo)
    if not labels.is_file():
        return None
    try:
        lines = labels.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"{labels} cannot be read as text ({one_line(error)}).") from None
    rows = [line.split() for line in lines if line.strip()]
    if not rows:
        return None
    size = photo_size(photo)  # without decoding: shares become pixels
    faces = []
    for number, row in enumerate(rows, 1):
        where = f"{labels}: line {number}"
        numbers = as_numbers(row, 5 + values * len(names), where)
        box, triples = numbers[1:5], numbers[5:].reshape(len(names), values)
        if values == 2:  # (0, 0) is a point that is not labelled
            triples = np.column_stack([triples, 2 * (triples != 0).any(1)])
        if not (np.abs(np.append(box, triples[:, :2])) <= 2).all():
            raise InputError(
                f"{where} has coordinates that are not fractions of the photo, 0 to 1; divide them"
                " by its width and height."
            )
        triples[:, :2] *= size
        face = face_from_triples(triples, names, where, shift)
        box = np.concatenate([box[:2] - box[2:] / 2, box[2:]]) * (*size, *size)
        faces.append(LabelledFace(face.points, face.visibility, box if box[2:].all() else None))
    return LabelledPhoto(photo, photo.name, labels, faces)


# --- writing -------------------------------------------------------------------------------------


def yolo_settings(names: Names) -> str:
    """A data set's YAML: photos in images/, labels in labels/."""
    try:
        partners = mirror_partners(names)
    except ValueError:
        partners = None
    flipped = range(len(names)) if partners is None else partners.tolist()
    points = "\n".join(f"    - {quoted(name)}" for name in names)
    return (
        "# path: the folder of this file\n"
        "train: images\n"
        "val: images\n"
        f"kpt_shape: [{len(names)}, 3]\n"
        f"flip_idx: [{', '.join(map(str, flipped))}]\n"
        "names:\n"
        "  0: face\n"
        "kpt_names:\n"
        f"  0:\n{points}\n"
    )


def quoted(name: str) -> str:
    """A name as YAML has it where it may hold anything."""
    return "'" + name.replace("'", "''") + "'"


def yolo_lines(faces: list[LabelledFace], size: tuple[int, int]) -> str:
    """The labels of a photo of this width and height, a line for each face. They need boxes."""
    lines = []
    for face in faces:
        assert face.box is not None
        box = np.concatenate([face.box[:2] + face.box[2:] / 2, face.box[2:]]) / (*size, *size)
        shares = (face.points + 0.5) / size
        fields = ["0", *(f"{value:.8f}" for value in box)]
        for (x, y), visibility in zip(shares, face.visibility, strict=True):
            fields += [f"{x:.8f}", f"{y:.8f}", str(visibility)] if visibility else ["0", "0", "0"]
        lines.append(" ".join(fields) + "\n")
    return "".join(lines)
