"""The files of a training: loading them, and looking them over before hours go into them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.faces import Faces, load_training, unused_columns
from data.key_points import KEY_POINTS, Names, mirror_partners, some_of, without_partner
from data.labels.kaggle import first_rows
from data.labels.sanity import average, look_over, turned_round
from data.system.files import InputError, printable


def load_files(csvs: list[Path], complete_only: bool, alike: Sequence[str] = ()) -> list[Faces]:
    """A training's files, the first of which sets the key points; says what is particular.

    Args:
        csvs: at least one.
        complete_only: drop the rows that lack a key point.
        alike: key points that all of them mark at the same spot.

    Raises InputError if one cannot be trained on, or there is no key point of such a name.
    """
    files = [load_training(csvs[0], complete_only)]
    names = files[0].names
    unused, lacking = unused_columns(csvs[0])
    if lacking:
        print(f"{printable(csvs[0])} has no columns for {some_of(tuple(lacking))}: not labelled.")
    if unused:
        print(f"{printable(csvs[0])}: not used are the columns {some_of(tuple(unused))}")
    files += [load_training(path, complete_only, names) for path in csvs[1:]]
    unknown = [name for name in alike if name not in names]
    if unknown:
        raise InputError(f"--alike {unknown[0]}: {files[0].path} has no key point of that name.")
    if names != KEY_POINTS:
        print(f"{len(names)} key points by the header of {files[0].path}: {some_of(names)}")
    by_hand = first_rows(files[0])
    if by_hand and np.isfinite(files[0].key_points).all((1, 2)).any():
        print(
            f"{files[0].path} follows three conventions, from rows {some_of(by_hand)} on; for one"
            " meaning per point train on what `python data/labels/kaggle.py` makes of it."
        )
    return files


def check_labels(files: list[Faces]) -> bool:
    """Look over the files' key points; say what is odd, and whether faces can be mirrored.

    Raises InputError for what cannot be right, or where a file's left is another one's right.
    """
    looks = [look_over(file) for file in files]
    for text in [text for look in looks for text in look.odd]:
        print(f"warning: {text}", flush=True)
    for other in files[1:]:
        if turned_round(other.names, average(files[0].key_points), average(other.key_points)):
            raise InputError(
                f"{other.path}: left and right are the other way round than in {files[0].path};"
                " swap them in one of the two."
            )
    names = files[0].names
    if mirror_partners(names) is None:
        alone = without_partner(names)
        reason = f"{alone} has no partner" if alone else "No key point has left or right"
        print(f"{reason} in {'the names' if alone else 'its name'}, so faces are not mirrored.")
        return False
    return all(look.mirrors for look in looks)


def check_sides(faces: Faces, path: Path, known: Names, mean_face: Any) -> None:
    """Raise InputError where a model to start from means the opposite by left and right.

    Args:
        faces: the first file to train on.
        path, known, mean_face: the model's, its key points' names and its record's mean face.
    """
    places = np.full((len(faces.names), 2), np.nan)
    there = [k for k, name in enumerate(faces.names) if name in known]
    try:
        mean = np.array(mean_face, float).reshape(len(known), 2)
    except (TypeError, ValueError):  # a record that knows of none
        return
    places[there] = mean[[known.index(faces.names[k]) for k in there]]
    if turned_round(faces.names, average(faces.key_points), places):
        raise InputError(
            f"{faces.path}: left and right are the other way round than in {path}, from which it is"
            " to start; swap them in the table's header, or train without --init."
        )
