"""300-W's .pts files: a text file of points beside each photo, counted from 1.

https://ibug.doc.ic.ac.uk/resources/300-W/
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from data.formats.labels import (
    VISIBLE,
    LabelledFace,
    LabelledPhoto,
    LabelledPhotos,
    LabelOptions,
    Problems,
    as_numbers,
    numbered_names,
    read_names,
)
from data.images.photos import PHOTO_ENDINGS
from data.key_points import SIXTY_EIGHT
from data.system.files import InputError, one_line
from data.system.progress import follow


def read_pts(path: Path, files: Iterable[Path], options: LabelOptions) -> LabelledPhotos:
    """Read .pts files. One that cannot be used is left out, and printed.

    Args:
        path: the folder, or the one file.
        files: the .pts files in it.
    """
    problems = Problems()
    shift = -1.0 if options.pixel_origin is None else options.shift("center")
    found = []
    for file in follow(sorted(files), "reading labels"):
        photo = problems.collect(read_file, file, shift)
        found += [photo] if photo else []
    counts = Counter(len(photo.faces[0].points) for photo in found)
    if len(counts) > 1:
        usual = counts.most_common(1)[0][0]
        odd = next(photo for photo in found if len(photo.faces[0].points) != usual)
        raise InputError(
            f"{path} has two kinds of files: {odd.labels.name} has {len(odd.faces[0].points)}"
            f" points, most have {usual}; put them into folders of their own."
        )
    count = next(iter(counts), 0)
    usual_names = SIXTY_EIGHT if count == len(SIXTY_EIGHT) else numbered_names(count)
    names = (read_names(options, count, path) if count else None) or usual_names
    return LabelledPhotos(path, names, found, problems)


def read_file(path: Path, shift: float) -> LabelledPhoto:
    """One file. Raises InputError if it cannot be used."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as text ({one_line(error)}).") from None
    between = re.search(r"\{([^{}]*)\}", text)
    if not between:
        raise InputError(f"{path} has no points between curly brackets; download it again.")
    rows = [line.split() for line in between[1].strip().splitlines()]
    where = f"{path}"
    if not rows or any(len(row) != 2 for row in rows):
        raise InputError(f"{path} must have two numbers, x and y, in each line of points.")
    points = as_numbers([value for row in rows for value in row], None, where).reshape(-1, 2)
    if not np.isfinite(points).all():
        raise InputError(f"{path} has a point without coordinates; delete the file or label it.")
    counted = re.search(r"n_points:\s*(\d+)", text)
    if counted and int(counted[1]) != len(points):
        raise InputError(
            f"{path} says n_points: {counted[1]}, but has {len(points)} points; download it again."
        )
    face = LabelledFace(points + shift, np.full(len(points), VISIBLE))
    photos = [path.with_suffix(e) for ending in PHOTO_ENDINGS for e in (ending, ending.upper())]
    photo = next((p for p in photos if p.is_file()), photos[0])
    return LabelledPhoto(photo, photo.name, path, [face])
