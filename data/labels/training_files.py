"""The files of a training: loading them, and checking their labels before training starts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.faces import Faces, load_training, unused_columns
from data.formats.labels import AS_USUAL, LabelOptions
from data.key_points import KEY_POINTS, Names, first_few, mirror_partners, without_partner
from data.labels.kaggle import first_rows
from data.labels.sanity import check_key_points, median_face, not_mirrored, sides_differ
from data.system.files import InputError, printable


def load_files(
    csvs: list[Path],
    complete_only: bool,
    options: LabelOptions = AS_USUAL,
) -> list[Faces]:
    """Load the files of a training; prints which columns and key points are used.

    Args:
        csvs: at least one CSV, or labelled photos; the first sets the key points.
        complete_only: drop the rows that lack a key point.
        options: for labelled photos.

    Raises InputError if a file cannot be trained on.
    """
    files = [load_training(csvs[0], complete_only, options=options)]
    names = files[0].names
    unused, lacking = unused_columns(csvs[0])
    if lacking:
        print(f"{printable(csvs[0])} has no columns for {first_few(tuple(lacking))}: not labelled.")
    if unused:
        print(f"{printable(csvs[0])}: not used are the columns {first_few(tuple(unused))}")
    files += [load_training(path, complete_only, names, options) for path in csvs[1:]]
    if names != KEY_POINTS:
        by = "the labels" if files[0].from_photos else "the header"
        print(f"{len(names)} key points by {by} of {files[0].path}: {first_few(names)}")
    firsts = first_rows(files[0])
    if firsts and np.isfinite(files[0].key_points).all((1, 2)).any():
        print(
            f"{files[0].path} follows three conventions, from rows {first_few(firsts)} on; for one"
            " meaning per point train on what `python -m data.labels.kaggle` writes."
        )
    return files


def check_named(faces: Faces, named: Mapping[str, Sequence[str]]) -> None:
    """Check that the faces have the key points that each flag names. Raises InputError."""
    for flag, points in named.items():
        for name in points:
            if name not in faces.names:
                raise InputError(f"{flag} {name}: {faces.path} has no key point of that name.")


def check_labels(files: list[Faces]) -> None:
    """Check the files' key points before training starts; anything suspicious prints a warning.

    Raises InputError for labels that cannot be right, or where one file's left is another's right.
    """
    for warning in [text for file in files for text in check_key_points(file)]:
        print(f"warning: {warning}", flush=True)
    for other in files[1:]:
        if sides_differ(
            other.names, median_face(files[0].key_points), median_face(other.key_points)
        ):
            raise InputError(
                f"{other.path}: left and right are the other way round than in {files[0].path};"
                " swap them in one of the two."
            )


def can_mirror(files: list[Faces]) -> bool:
    """Whether mirrored faces can be trained on: the names of the key points say which of them are
    each other's mirror images, and the labels agree. Prints why not where the names do not."""
    names = files[0].names
    if mirror_partners(names) is None:
        alone = without_partner(names)
        reason = f"{alone} has no partner" if alone else "No key point has left or right"
        print(f"{reason} in {'the names' if alone else 'its name'}, so faces are not mirrored.")
        return False
    return not any(not_mirrored(file, median_face(file.key_points)) for file in files)


def check_sides(faces: Faces, path: Path, known: Names, mean_face: Any) -> None:
    """Raise InputError where left and right are the other way round in a model to start from.

    Args:
        faces: the first file to train on.
        path, known, mean_face: of the model: its path, the names of its key points, and the mean
            face in its record.
    """
    places = np.full((len(faces.names), 2), np.nan)
    there = [k for k, name in enumerate(faces.names) if name in known]
    try:
        mean = np.array(mean_face, float).reshape(len(known), 2)
    except (TypeError, ValueError):  # a record without one
        return
    places[there] = mean[[known.index(faces.names[k]) for k in there]]
    if sides_differ(faces.names, median_face(faces.key_points), places):
        raise InputError(
            f"{faces.path}: left and right are the other way round than in {path}, from which it is"
            " to start; swap them in the table's header, or train without --init."
        )
