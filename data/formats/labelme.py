"""LabelMe (pip install labelme), and X-AnyLabeling's own files: a JSON beside each photo.

A face is a rectangle and its points with one `group_id`; without rectangles and groups all points
of a photo are one face. Coordinates count from the corner of the first pixel of the upright photo.
"""

from __future__ import annotations

import base64
import binascii
import tempfile
from collections.abc import Iterable
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from data.formats.labels import (
    HIDDEN,
    NOT_LABELLED,
    VISIBLE,
    LabelledFace,
    LabelledPhoto,
    LabelledPhotos,
    LabelOptions,
    Problems,
    as_numbers,
    find_photo,
    known_size,
    read_json,
)
from data.images.photos import read_photo
from data.key_points import KEY_POINTS, Names
from data.system.files import InputError
from data.system.progress import follow

if TYPE_CHECKING:
    from PIL import Image

VERSION = "6.3.1"  # of labelme: the format is that of 5 to 7

# The flag of a point that is hidden, or that was predicted with a large spread.
HIDDEN_FLAG = "hidden"
HIDDEN_FLAGS = (HIDDEN_FLAG, "occluded", "invisible")


class RawFace(NamedTuple):
    """A face as a JSON has it, before the names of all files are known."""

    points: dict[str, tuple[float, float, int, float]]  # by name: x, y, visibility, spread
    box: np.ndarray | None


def read_labelme(path: Path, files: Iterable[Path], options: LabelOptions) -> LabelledPhotos:
    """Read LabelMe's JSONs. A file that cannot be used is left out, and printed.

    Args:
        path: the folder, or the one JSON.
        files: the JSONs in it.
    """
    problems = Problems()
    found: list[tuple[LabelledPhoto, list[RawFace]]] = []
    for file in follow(sorted(files), "reading labels"):
        photo = problems.collect(read_file, file, options)
        found += [photo] if photo else []
    return with_names(path, found, problems)


def with_names(
    path: Path, found: list[tuple[LabelledPhoto, list[RawFace]]], problems: Problems
) -> LabelledPhotos:
    """The photos with their faces, all of the same key points: those that any face has."""
    seen = dict.fromkeys(name for _, faces in found for face in faces for name in face.points)
    names = KEY_POINTS if set(seen) <= set(KEY_POINTS) else tuple(seen)
    photos = [
        LabelledPhoto(
            photo.photo,
            photo.name,
            photo.labels,
            [finish(face, names) for face in faces],
            photo.size,
            photo.embedded,
        )
        for photo, faces in found
    ]
    say_rare_names(path, names, photos)
    return LabelledPhotos(path, names, photos, problems)


def say_rare_names(path: Path, names: Names, photos: list[LabelledPhoto]) -> None:
    """Print a warning for a name that hardly any face has: it may be a typo."""
    faces = [face for photo in photos for face in photo.faces]
    labelled = np.sum([face.visibility > 0 for face in faces], axis=0)
    rare = [n for k, n in enumerate(names) if faces and 0 < labelled[k] <= len(faces) / 50]
    if rare and names != KEY_POINTS:
        print(f"warning: {path}: {rare[0]} is labelled in few faces; is the name spelt right?")


def read_file(path: Path, options: LabelOptions) -> tuple[LabelledPhoto, list[RawFace]]:
    """One JSON. Raises InputError if it cannot be used."""
    return read_document(read_json(path), path, options)


def read_document(
    document: dict[str, Any], path: Path, options: LabelOptions
) -> tuple[LabelledPhoto, list[RawFace]]:
    """`read_file` for what the JSON at `path` contains."""
    shapes, name = document.get("shapes"), document.get("imagePath")
    if not isinstance(shapes, list) or not isinstance(name, str):
        raise InputError(f"{path} is not LabelMe's: it has no shapes or no imagePath; remove it.")
    photo = LabelledPhoto(
        find_photo(PureWindowsPath(name).as_posix(), [path.parent, options.images]),
        name,
        path,
        [],
        known_size(document.get("imageWidth"), document.get("imageHeight")),
        bool(document.get("imageData")),
    )
    return photo, group_shapes(shapes, path, options.shift("corner"))


def group_shapes(
    shapes: list[Any], path: Path | str, shift: float, key: str = "group_id"
) -> list[RawFace]:
    """The faces of one photo. Raises InputError if it is not clear which point is whose.

    Args:
        shapes: points and rectangles.
        path, key: for messages: where the shapes are, and what their group is called there.
        shift: as from `LabelOptions.shift`.
    """
    if not all(isinstance(s, dict) and isinstance(s.get("label"), str) for s in shapes):
        raise InputError(f"{path} has a shape without a label; label it again.")
    if not all(isinstance(s.get("group_id"), int | str | None) for s in shapes):
        raise InputError(f"{path} has a {key} that is not a number; give each face its own.")
    points = [shape for shape in shapes if shape.get("shape_type") == "point"]
    boxes = [shape for shape in shapes if shape.get("shape_type") == "rectangle"]
    groups = list(dict.fromkeys(s.get("group_id") for s in [*boxes, *points]))
    if len(boxes) <= 1 and (groups == [None] or len({p.get("group_id") for p in points}) <= 1):
        return [read_group(points, boxes, path, shift, "", key)] if groups else []
    alone = next((shape for shape in points if shape.get("group_id") is None), None)
    if alone:
        raise InputError(
            f"{path}: the point {alone['label']} has no {key}, although there are several faces;"
            f" give it the {key} of its face."
        )
    return [
        read_group(
            [p for p in points if p.get("group_id") == group],
            [b for b in boxes if b.get("group_id") == group],
            path,
            shift,
            f" of the group {group}",
            key,
        )
        for group in groups
        if group is not None
    ]


def read_group(
    points: list[dict], boxes: list[dict], path: Path | str, shift: float, group: str, key: str
) -> RawFace:
    """One face. Raises InputError if a name, or the rectangle, is there twice."""
    named: dict[str, tuple[float, float, int, float]] = {}
    for point in points:
        name = point["label"].strip()
        if name in named:
            break
        flags = point.get("flags")
        hidden = isinstance(flags, dict) and any(flags.get(flag) is True for flag in HIDDEN_FLAGS)
        hidden |= point.get("difficult") is True  # X-AnyLabeling's
        spread = point.get("spread")
        spread = float(spread) if isinstance(spread, int | float) else np.nan
        (x, y), *_ = coordinates(point, 1, f"{path}: the point {name}{group}")
        named[name] = x + shift, y + shift, HIDDEN if hidden else VISIBLE, spread
    if len(named) < len(points) or len(boxes) > 1:
        what = f"points named {name}" if len(named) < len(points) else "rectangles"
        raise InputError(
            f"{path}: two {what}{group or f' and no {key}'}; give each face a {key} of its own"
            " (or delete one of them)."
        )
    box = None
    if boxes:
        corners = np.array(coordinates(boxes[0], 2, f"{path}: the rectangle{group}"))
        low, high = corners.min(0), corners.max(0)  # of two corners, or X-AnyLabeling's four
        box = np.concatenate([low + shift + 0.5, high - low])
    return RawFace(named, box)


def coordinates(shape: dict, count: int, where: str) -> list[list[float]]:
    """The corners of a shape, x and y. Raises InputError if it has fewer than so many."""
    listed = shape.get("points")
    if not isinstance(listed, list) or len(listed) < count:
        raise InputError(f"{where} has no coordinates; label it again.")
    corners = [as_numbers(corner, 2, where).tolist() for corner in listed]
    if any(value != value for corner in corners for value in corner):  # NaN
        raise InputError(f"{where} has no coordinates; label it again.")
    return corners


def finish(face: RawFace, names: Names) -> LabelledFace:
    """A face with all key points, those that it lacks not labelled."""
    points, visibility = np.full((len(names), 2), np.nan), np.full(len(names), NOT_LABELLED)
    spread = np.full(len(names), np.nan)
    for name, (x, y, seen, unsure) in face.points.items():
        k = names.index(name)
        points[k], visibility[k], spread[k] = (x, y), seen, unsure
    known = np.isfinite(spread).any()
    return LabelledFace(points, visibility, face.box, spread if known else None)


def read_embedded(path: Path) -> Image.Image:
    """The picture in a JSON's imageData, grey, upright. Raises InputError if it cannot be read."""
    try:
        data = base64.b64decode(read_json(path)["imageData"])
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "picture"
            file.write_bytes(data)
            return read_photo(file, grey=True)
    except (binascii.Error, TypeError, ValueError, InputError):
        raise InputError(
            f"{path} has imageData that is not a picture; set it to null, with the photo beside it."
        ) from None


def labelme_document(
    photo: str, size: tuple[int, int], faces: list[LabelledFace], names: Names
) -> dict[str, Any]:
    """The faces of one photo as LabelMe's JSON.

    Args:
        photo: its path as seen from the JSON.
        size: width and height of the upright photo.
        faces: points that are HIDDEN get the flag `hidden`. A `spread`, in pixels of the 96x96
            crop, becomes a key of that name, which LabelMe keeps, and the description, which it
            shows.
        names: of the K key points.
    """
    shapes: list[dict[str, Any]] = []
    for group, face in enumerate(faces, 1):
        if face.box is not None:
            x, y, w, h = face.box.tolist()
            shapes.append(shape("face", "rectangle", [[x, y], [x + w, y + h]], group))
        spread = np.full(len(names), np.nan) if face.spread is None else face.spread
        for name, place, visibility, unsure in zip(
            names, face.points + 0.5, face.visibility, spread, strict=True
        ):
            if visibility == NOT_LABELLED:
                continue
            point = shape(name, "point", [place.tolist()], group)
            point["flags"] = {HIDDEN_FLAG: True} if visibility == HIDDEN else {}
            if np.isfinite(unsure):
                point["description"] = f"spread {unsure:.2f} px"
                point["spread"] = round(float(unsure), 3)
            shapes.append(point)
    return {
        "version": VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": photo,
        "imageData": None,
        "imageHeight": size[1],
        "imageWidth": size[0],
    }


def shape(label: str, kind: str, corners: list[list[float]], group: int) -> dict[str, Any]:
    """One shape of LabelMe's JSON."""
    return {
        "label": label,
        "points": [[round(value, 3) for value in corner] for corner in corners],
        "group_id": group,
        "description": "",
        "shape_type": kind,
        "flags": {},
        "mask": None,
    }
