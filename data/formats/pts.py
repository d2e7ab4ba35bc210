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
from data.key_points import Names
from data.system.files import InputError, one_line
from data.system.progress import follow


def sixty_eight_names() -> Names:
    """The 68 points in their order: the jaw, brows, nose, eyes and lips, each from the left of the
    picture, where the subject's right is, to its right. Names as Kaggle's where they are the same.
    """
    jaw = [f"jaw_right_{i}" for i in range(8, 0, -1)] + ["chin"]
    jaw += [f"jaw_left_{i}" for i in range(1, 9)]
    brow = ["eyebrow_inner_end", "eyebrow_inner", "eyebrow_middle", "eyebrow_outer"]
    brow += ["eyebrow_outer_end"]
    brows = [f"right_{part}" for part in brow[::-1]] + [f"left_{part}" for part in brow]
    nose = ["nose_bridge_top", "nose_bridge_upper", "nose_bridge_lower", "nose_tip"]
    nose += ["right_nostril_outer", "right_nostril_inner", "nose_base"]
    nose += ["left_nostril_inner", "left_nostril_outer"]
    right_eye = ["outer_corner", "upper_lid_outer", "upper_lid_inner", "inner_corner"]
    right_eye += ["lower_lid_inner", "lower_lid_outer"]
    left_eye = [right_eye[i] for i in (3, 2, 1, 0, 5, 4)]
    eyes = [f"right_eye_{part}" for part in right_eye] + [f"left_eye_{part}" for part in left_eye]
    lips = ["mouth_right_corner", "mouth_right_top_lip_outer", "mouth_right_top_lip_inner"]
    lips += ["mouth_center_top_lip", "mouth_left_top_lip_inner", "mouth_left_top_lip_outer"]
    lips += ["mouth_left_corner", "mouth_left_bottom_lip_outer", "mouth_left_bottom_lip_inner"]
    lips += ["mouth_center_bottom_lip", "mouth_right_bottom_lip_inner"]
    lips += ["mouth_right_bottom_lip_outer"]
    inside = ["mouth_right_inside_corner", "mouth_right_inside_top", "mouth_center_inside_top"]
    inside += ["mouth_left_inside_top", "mouth_left_inside_corner", "mouth_left_inside_bottom"]
    inside += ["mouth_center_inside_bottom", "mouth_right_inside_bottom"]
    return tuple([*jaw, *brows, *nose, *eyes, *lips, *inside])


SIXTY_EIGHT = sixty_eight_names()


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
