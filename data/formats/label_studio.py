"""Label Studio's export as JSON: a list of tasks, each a photo and its annotations.

A face is a rectangle and the points that were put into it (`parentID`); without rectangles all
points of a photo are one face. Coordinates are percentages of the upright photo's width and height,
counted from its corner. https://labelstud.io/guide/task_format
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from data.formats.labelme import RawFace, group_shapes, with_names
from data.formats.labels import (
    LabelledPhoto,
    LabelledPhotos,
    LabelOptions,
    Problems,
    as_numbers,
    find_photo,
    known_size,
)
from data.images.photos import PHOTO_ENDINGS
from data.system.files import InputError
from data.system.progress import follow

# What is read of a task's results, and what LabelMe calls it.
KINDS = {"keypointlabels": "point", "rectanglelabels": "rectangle"}


def is_label_studio(document: Any) -> bool:
    """Whether a JSON's content is a list of tasks with annotations."""
    return isinstance(document, list) and any(
        isinstance(task, dict) and "annotations" in task for task in document
    )


def read_label_studio(path: Path, tasks: list[Any], options: LabelOptions) -> LabelledPhotos:
    """Read the tasks of a JSON. One that cannot be used is left out, and printed."""
    problems = Problems()
    found: list[tuple[LabelledPhoto, list[RawFace]]] = []
    for number, task in enumerate(follow(tasks, "reading labels"), 1):
        photo = problems.collect(read_task, task, number, path, options)
        found += [photo] if photo else []
    return with_names(path, found, problems)


def read_task(
    task: Any, number: int, path: Path, options: LabelOptions
) -> tuple[LabelledPhoto, list[RawFace]] | None:
    """One task; None if nothing is labelled in it. Of several annotations the last one counts.

    Raises InputError if it cannot be used.
    """
    where = f"{path}: task {number}"
    results = last_results(task, where)
    if not results:
        return None
    name = photo_name(task.get("data"), where)
    sizes = {known_size(r.get("original_width"), r.get("original_height")) for r in results}
    if len(sizes) > 1 or None in sizes:
        raise InputError(f"{where}, {name}, lacks the photo's original_width; export it again.")
    if any(result.get("image_rotation") for result in results):
        raise InputError(f"{where}, {name}, was turned in Label Studio; turn it back there.")
    (size,) = sizes
    assert size is not None
    shapes = [as_shape(result, size, f"{where}, {name},") for result in results]
    folders = [options.images, path.parent]
    photo = find_photo(name, folders)
    if not photo.is_file():  # uploaded photos get a prefix
        photo = find_photo(re.sub(r"^[0-9a-f]{8}-", "", Path(name).name), folders)
    faces = group_shapes(shapes, f"{where}, {name}", options.shift("corner"), "parentID")
    return LabelledPhoto(photo, photo.name, path, [], size), faces


def last_results(task: Any, where: str) -> list[dict[str, Any]]:
    """The points and rectangles of a task's last annotation that was not cancelled."""
    annotations = task.get("annotations") if isinstance(task, dict) else None
    if not isinstance(annotations, list) or not all(isinstance(a, dict) for a in annotations):
        raise InputError(f"{where} has no annotations; export the project as JSON.")
    kept = [a.get("result") for a in annotations if not a.get("was_cancelled")]
    listed = kept[-1] if kept and isinstance(kept[-1], list) else []
    return [r for r in listed if isinstance(r, dict) and r.get("type") in tuple(KINDS)]


def photo_name(data: Any, where: str) -> str:
    """The photo's path as seen from the folder of photos, by a task's data: an address."""
    texts = data.values() if isinstance(data, dict) else ()
    paths = [path_in(text) for text in texts if isinstance(text, str)]
    names = [path for path in paths if path.lower().endswith(PHOTO_ENDINGS)] or paths
    if not names:
        raise InputError(f"{where} does not say which photo it is (data); export it again.")
    return names[0]


def path_in(address: str) -> str:
    """The path in an address, such as /data/local-files/?d=PATH, s3://bucket/PATH, or a path."""
    local = address.split("?d=")[-1].split("?")[0]
    return re.sub(r"^\w+://[^/]*", "", unquote(local)).lstrip("/")


def as_shape(result: dict[str, Any], size: tuple[int, int], where: str) -> dict[str, Any]:
    """A point or rectangle as LabelMe has it, in pixels; a rectangle's group is its own id."""
    kind, value = result["type"], result.get("value")
    value = value if isinstance(value, dict) else {}
    names = value.get(kind)
    if not isinstance(names, list) or len(names) != 1:
        raise InputError(f"{where} has a {KINDS[kind]} without a label, or with two; correct it.")
    keys = ("x", "y", "width", "height") if KINDS[kind] == "rectangle" else ("x", "y")
    numbers = as_numbers([value.get(key) for key in keys], len(keys), where)
    corners = np.cumsum(numbers.reshape(-1, 2), axis=0) / 100 * size
    return {
        "label": names[0],
        "shape_type": KINDS[kind],
        "points": corners.tolist(),
        "group_id": result.get("id" if KINDS[kind] == "rectangle" else "parentID"),
    }
