"""Corrected labels of a training's files, which themselves stay as they are.

They come from the LabelMe files that `--suspects` writes, one face each, corrected by hand: a point
that was deleted there is masked. Or from its suspects.csv: every label in it is masked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data.faces import Faces
from data.formats.crop import read_grey
from data.formats.labelme import read_document
from data.formats.labels import AS_USUAL, Problems, read_json
from data.key_points import SIZE
from data.system.files import InputError, columns_in, printable, read_table
from data.system.progress import follow

ROW = "training_row"  # key of a LabelMe file: the face's row in its training file, from 0
PICTURE = "picture"  # column of suspects.csv: the picture's digest
COLUMNS = ("row", "key_point", PICTURE)  # those of suspects.csv that are needed

MOVED = 0.01  # pixels: a point that moved less stays as it is in the file


class Correction(NamedTuple):
    """One label that is no longer as its file has it."""

    file: int  # number of the file
    row: int  # of the file, from 0
    key_point: str
    place: tuple[float, float] | None  # in pixels; None: masked


Places = dict[tuple[int, str], tuple[int, int]]  # row and digest: number of the file, and index


def picture_digest(picture: np.ndarray) -> str:
    """What identifies a picture uint8 (96, 96), however it is stored: 16 hexadecimal digits."""
    return hashlib.sha256(np.ascontiguousarray(picture).data).hexdigest()[:16]


# --- reading -------------------------------------------------------------------------------------


def read_corrections(path: Path, files: list[Faces]) -> list[Correction]:
    """Read the corrections of the files of a training, and print how many there are.

    Args:
        path: a folder of LabelMe files, or suspects.csv.
        files: what they correct, in the order of --data.

    Raises InputError if there is nothing to read, or a correction fits no row.
    """
    places = {
        (int(row), picture_digest(picture)): (number, i)
        for number, faces in reversed(list(enumerate(files)))
        for i, (row, picture) in enumerate(zip(faces.rows, faces.pictures, strict=True))
    }
    if path.is_dir():
        found = list(from_labelme(path, files, places))
    else:
        found = list(from_table(path, files, places))
    masked = sum(correction.place is None for correction in found)
    rows = len({(correction.file, correction.row) for correction in found})
    print(
        f"{printable(path)} corrects {len(found)} labels in {rows} rows: {masked} are masked,"
        f" {len(found) - masked} are at other places than in the training files."
    )
    return found


def from_labelme(path: Path, files: list[Faces], places: Places) -> Iterator[Correction]:
    """The corrections in a folder of LabelMe files. One that cannot be read is left out."""
    jsons = sorted(file for file in path.glob("*.json") if not file.name.startswith("."))
    if not jsons:
        raise InputError(
            f"{path} has no .json file of LabelMe; name the folder that --suspects wrote, or its"
            " suspects.csv."
        )
    problems = Problems()
    for file in follow(jsons, "reading corrections"):
        read = problems.collect(read_face, file)
        if read is None:
            continue
        row, digest, points = read
        number, i = find_row(file, places, row, digest)
        yield from differences(file, number, files[number], i, points)
    left_out = len(problems.found)
    if left_out == len(jsons):
        raise InputError(
            f"{path} has no file that can be read, the first because: {problems.found[0]}"
        )
    if left_out:
        print(f"{printable(path)}: {left_out} of {len(jsons)} files are left out.")


def read_face(path: Path) -> tuple[Any, str, dict[str, np.ndarray]]:
    """A LabelMe file's row and digest, and the points of its face. Raises InputError."""
    document = read_json(path)
    photo, faces = read_document(document, path, AS_USUAL)
    if len(faces) > 1:
        raise InputError(f"{path} has {len(faces)} faces; leave one, in one group.")
    grey = read_grey(photo)
    row = document.get(ROW)
    if row is None or grey.shape != (SIZE, SIZE):
        raise InputError(
            f"{path} is not of --suspects: it has no {ROW}, or its picture is not {SIZE}x{SIZE};"
            " photos with labels are trained on by --data."
        )
    listed = faces[0].points if faces else {}
    points = {name: np.array(place) for name, (*place, _, _) in listed.items()}
    return row, picture_digest(grey), points


def find_row(where: object, places: Places, row: Any, digest: str) -> tuple[int, int]:
    """The file's number and the index of a face. Raises InputError if no row has its picture."""
    try:
        return places[int(row), digest]
    except (KeyError, TypeError, ValueError):
        raise InputError(
            f"{where} corrects row {printable(row)}, but no file of --data has its picture in that"
            " row; give the files that --suspects judged, or delete the correction."
        ) from None


def differences(
    path: Path, number: int, faces: Faces, i: int, points: dict[str, np.ndarray]
) -> Iterator[Correction]:
    """How the points in a LabelMe file differ from the labels of the face at index `i`."""
    unknown = [name for name in points if name not in faces.names]
    if unknown:
        raise InputError(
            f"{path} has the point {unknown[0]}, which is not among the training's key points; is"
            " its name spelt right?"
        )
    row = int(faces.rows[i])
    for name, label in zip(faces.names, faces.key_points[i], strict=True):
        place = points.get(name)
        if place is None:
            if np.isfinite(label).all():
                yield Correction(number, row, name, None)
        elif not np.linalg.norm(place - label) <= MOVED:
            yield Correction(number, row, name, (float(place[0]), float(place[1])))


def from_table(path: Path, files: list[Faces], places: Places) -> Iterator[Correction]:
    """The labels in suspects.csv, all masked. Raises InputError if it is another table."""
    for chunk in read_table(path):
        missing = [name for name in COLUMNS if name not in chunk.columns]
        if missing:
            raise InputError(
                f"{path} has no column named {missing[0]}, but {columns_in(chunk.columns)}; name"
                " the suspects.csv that --suspects wrote, or its folder."
            )
        for line, row, name, digest in chunk[list(COLUMNS)].itertuples(name=None):
            where = f"{path}, row {line + 1} below the header,"
            number, i = find_row(where, places, row, str(digest))
            if name not in files[number].names:
                raise InputError(
                    f"{where} names the key point {printable(name)}, which the training does not"
                    " have; delete that row."
                )
            if np.isfinite(files[number].key_points[i, files[number].names.index(name)]).all():
                yield Correction(number, int(row), str(name), None)


# --- applying ------------------------------------------------------------------------------------


def correct(faces: Faces, number: int, corrections: Iterable[Correction]) -> Faces:
    """The file `number` with its corrections; faces without any label left are dropped.

    A row that repeats a corrected one, with the same picture and labels, is corrected as well.
    """
    own = [correction for correction in corrections if correction.file == number]
    if not own:
        return faces
    key_points = faces.key_points.copy()
    at = {int(row): i for i, row in enumerate(faces.rows)}
    repeated: dict[bytes, list[int]] = {}
    for i, face in enumerate(zip(faces.pictures, faces.key_points, strict=True)):
        content = hashlib.sha256(b"".join(part.tobytes() for part in face)).digest()
        repeated.setdefault(content, []).append(i)
    same = {i: rows for rows in repeated.values() for i in rows}
    for _, row, name, place in own:
        if row in at:  # a record's file may lack rows that are not complete
            key_points[same[at[row]], faces.names.index(name)] = np.nan if place is None else place
    corrected = faces._replace(key_points=key_points)
    return corrected.take(np.isfinite(key_points).any((1, 2)))


def as_record(corrections: list[Correction]) -> list[dict[str, Any]]:
    """The corrections for a model's record: JSON can hold them."""
    return [correction._asdict() for correction in corrections]


def from_record(record: dict[str, Any], number: int) -> list[Correction]:
    """The corrections of the file `number`, as the record of a training has them."""
    listed = record.get("corrections") or ()
    return [Correction(**entry) for entry in listed if entry["file"] == number]
