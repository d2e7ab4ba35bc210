"""COCO key points: one JSON of images, annotations and categories.

CVAT, Roboflow, FiftyOne and detectron2 write it. Coordinates are taken to count from the center of
the first pixel, as detectron2 takes them. https://cocodataset.org/#format-data
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

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
    find_photo,
    known_size,
    read_json,
    read_names,
    say_names,
)
from data.key_points import Names
from data.system.files import InputError
from data.system.progress import follow


def read_coco(path: Path, options: LabelOptions) -> LabelledPhotos:
    """Read a COCO JSON. A face is an annotation that has key points.

    Raises InputError if it cannot be read, or its key points are of two kinds or not known.
    """
    document = read_json(path)
    if not all(isinstance(document.get(key), list) for key in ("images", "annotations")):
        raise InputError(
            f"{path} has no lists of images and annotations, as COCO's key points have; export the"
            " labels again."
        )
    annotations = [a for a in document["annotations"] if isinstance(a, dict) and a.get("keypoints")]
    if not annotations:
        raise InputError(
            f"{path} has no annotation with keypoints; export the labels as COCO key points."
        )
    names = read_skeleton(document, annotations, path, options)
    by_image = defaultdict(list)
    for annotation in annotations:
        by_image[as_id(annotation.get("image_id"))].append(annotation)
    info = document.get("info")
    own = info.get("photos") if isinstance(info, dict) else None
    folders = [options.images, path.parent, Path(own) if isinstance(own, str) else None]
    problems = Problems()
    photos = []
    for image in follow(document["images"], "reading labels"):
        photo = problems.collect(read_image, image, by_image, names, path, folders, options)
        photos += [photo] if photo else []
    for image_id, lost in by_image.items():  # `read_image` has taken the others out
        problems.add(
            f"{path}: annotation {lost[0].get('id')} belongs to the image {image_id}, which is not"
            " in the list of images; add it, or delete the annotation."
        )
    return LabelledPhotos(path, names, photos, problems)


def read_skeleton(
    document: dict[str, Any], annotations: list[dict], path: Path, options: LabelOptions
) -> Names:
    """The names of the key points, by the categories of the annotations that have some.

    Raises InputError if they are not known, or two categories have different ones.
    """
    categories = {as_id(c.get("id")): c for c in list_of(document, "categories", dict)}
    used = [categories.get(as_id(a.get("category_id")), {}) for a in annotations]
    skeletons = {tuple(list_of(c, "keypoints", str)) for c in used}
    count = max(len(list_of(a, "keypoints")) for a in annotations) // 3
    if len(skeletons) > 1:
        one, other = sorted(skeletons, key=len)[-2:]
        raise InputError(
            f"{path} has two skeletons, {say_names(other)} and"
            f" {say_names(one) if one else 'one without names'}; keep the annotations of one"
            " category in it."
        )
    (names,) = skeletons
    given = read_names(options, len(names) or count, path)
    if not names and given is None:
        category = used[0].get("name", annotations[0].get("category_id"))
        raise InputError(
            f"{path}: the category {category} does not name its key points"
            f" (categories[].keypoints); name all {count} by --points FILE, one a line."
        )
    names = given or names
    check_unique(names, path)
    return names


def as_id(value: Any) -> int | str | None:
    """What a file gives as an id; None for what cannot be one."""
    return value if isinstance(value, int | str) else None


def list_of(mapping: dict[str, Any], key: str, kind: type = object) -> list[Any]:
    """What is of that kind in the list under a key; an empty list where that is no list."""
    listed = mapping.get(key)
    return [item for item in listed if isinstance(item, kind)] if isinstance(listed, list) else []


def read_image(
    image: Any,
    by_image: dict[Any, list[dict]],
    names: Names,
    path: Path,
    folders: list[Path | None],
    options: LabelOptions,
) -> LabelledPhoto | None:
    """One image with its faces; None if it has none. Takes its annotations out of `by_image`."""
    if not isinstance(image, dict) or not isinstance(image.get("file_name"), str):
        raise InputError(f"{path} has an image without file_name; export the labels again.")
    annotations = by_image.pop(as_id(image.get("id")), [])
    name = image["file_name"]
    faces = []
    for number, annotation in enumerate(annotations, 1):
        where = f"{path}: face {number} in {name}"
        values = as_numbers(annotation["keypoints"], 3 * len(names), where)
        face = face_from_triples(values.reshape(-1, 3), names, where, options.shift("center"))
        box, spread = annotation.get("bbox"), annotation.get("spread")
        faces.append(
            LabelledFace(
                face.points,
                face.visibility,
                as_numbers(box, 4, where) if box else None,
                as_numbers(spread, len(names), where) if spread else None,
            )
        )
    if not faces:
        return None
    size = known_size(image.get("width"), image.get("height"))
    return LabelledPhoto(find_photo(name, folders), name, path, faces, size)


def coco_document(photos: list[LabelledPhoto], names: Names, folder: Path) -> dict[str, Any]:
    """Labelled photos as COCO, in their order.

    Args:
        photos: `name` is what the JSON calls a photo, and its `size` is known.
        names: of the K key points.
        folder: in which the photos of these names lie. COCO's programs ignore it.

    Besides COCO's own keys an annotation has `spread`, in pixels of the 96x96 crop, and a `score`
    that falls with it.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, photo in enumerate(photos, 1):
        assert photo.size is not None
        width, height = photo.size
        images.append({"id": image_id, "file_name": photo.name, "width": width, "height": height})
        for face in photo.faces:
            number = len(annotations) + 1
            annotations.append({"id": number, "image_id": image_id} | coco_annotation(face))
    info = {"description": "face_key_points", "photos": str(folder.resolve())}
    category = {"id": 1, "name": "face", "supercategory": "face", "keypoints": list(names)}
    category["skeleton"] = []
    return {
        "info": info,
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": [category],
    }


def coco_annotation(face: LabelledFace) -> dict[str, Any]:
    """A face as an annotation without its ids."""
    box = face.box if face.box is not None else box_of_points(face.points)
    triples = np.column_stack([np.nan_to_num(face.points), face.visibility])
    triples[face.visibility == 0] = 0
    annotation = {
        "category_id": 1,
        "keypoints": [round(v, 3) if i % 3 < 2 else int(v) for i, v in enumerate(triples.ravel())],
        "num_keypoints": int((face.visibility > 0).sum()),
        "segmentation": [],  # some readers miss the key
        "bbox": box.round(3).tolist(),
        "area": round(float(box[2] * box[3]), 3),
        "iscrowd": 0,
    }
    if face.spread is not None:
        annotation["spread"] = face.spread.round(3).tolist()
        annotation["score"] = round(float(1 / (1 + np.sqrt((face.spread**2).mean()))), 4)
    return annotation


def box_of_points(points: np.ndarray) -> np.ndarray:
    """The bounding box, x y w h, of points (K, 2), counted from the outer edge of its pixels."""
    low, high = np.nanmin(points, 0), np.nanmax(points, 0)
    return np.concatenate([low, high - low + 1])
