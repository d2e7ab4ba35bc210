"""Faces as arrays: the only place where a CSV's text becomes pictures and key points."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from data.formats.labels import AS_USUAL, LabelOptions
from data.formats.read import has_photos, read_photo_faces
from data.key_points import COLUMNS, KEY_POINTS, SIZE, Names, columns_of, first_few, mirror_partners
from data.synthetic.faces import make_faces
from data.system.files import InputError, columns_in, read_table
from data.system.progress import progress_bar

if TYPE_CHECKING:
    import pandas as pd


class Faces(NamedTuple):
    """One loaded file. Rows keep the file's order; row 0 is the first below the header."""

    pictures: np.ndarray  # uint8 (N, 96, 96)
    key_points: Any  # float32 (N, K, 2) in pixels, NaN = not labelled; None in a test file
    image_ids: np.ndarray  # the ImageId column as text, or 1 .. N
    identities: np.ndarray | None  # the optional `identity` column: who is pictured
    rows: np.ndarray  # int (N,): each face's row in its file
    source: np.ndarray  # int (N,): whose convention the labels follow: the file's number, or -1:
    # the first file's second source (`mark_second_source`)
    path: Path  # of the first file
    names: tuple[str, ...] = KEY_POINTS  # of the K key points
    from_photos: bool = False  # labelled photos, cropped: image_ids say which photo and which face

    def place(self, i: int) -> str:
        """Where the face at index `i` is in its file, for messages."""
        if self.from_photos:
            return str(self.image_ids[i])
        return f"row {self.rows[i] + 1} below the header"

    @property
    def file(self) -> np.ndarray:
        """The number of each face's file, where several were joined: int (N,)."""
        return np.maximum(self.source, 0)

    def take(self, index: Any) -> Faces:
        """The faces at `index` (any NumPy index) as a new Faces."""
        chosen: dict[str, Any] = {
            name: value[index]
            for name, value in self._asdict().items()
            if isinstance(value, np.ndarray)
        }
        return self._replace(**chosen)


def parse_picture(text: str) -> np.ndarray:
    """One `Image` field, 9,216 grey values 0 .. 255 separated by blanks, as uint8 (9216,).

    Raises ValueError saying what is wrong with it. Values are read as 64-bit integers, because
    300 read as uint8 would silently become 44.
    """
    if text.encode().translate(None, b"-0123456789 "):  # NumPy takes tabs, line ends and + as well
        raise ValueError("holds something other than whole numbers and blanks")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # NumPy only warns about text that it could not read
        try:
            values = np.fromstring(text, dtype=np.int64, sep=" ")
        except (DeprecationWarning, ValueError):
            raise ValueError("holds something other than whole numbers and blanks") from None
    if values.size != SIZE * SIZE:
        raise ValueError(f"has {values.size:,} grey values instead of {SIZE * SIZE:,}")
    if values.min() < 0 or values.max() > 255:
        outside = values[(values < 0) | (values > 255)][0]
        raise ValueError(f"has the grey value {outside}, outside 0 to 255")
    return values.astype(np.uint8)


def load_faces(path: Path | str, options: LabelOptions = AS_USUAL) -> Faces:
    """Load a CSV in Kaggle's format, plain or as .gz or .zip, or labelled photos.

    Args:
        path: the file. Columns are found by name, in any order: `Image` and, in a training file,
            the `<key point>_x` and `<key point>_y` columns; `ImageId` and `identity` are optional,
            others are ignored. Where all key points are among Kaggle's, they are Kaggle's 15 (a
            missing pair counts as not labelled), else those of the header in its order.
            Labelled photos: a folder or file as `data.formats.read` reads them; each face is
            cropped, and all faces of a photo have the same identity.
        options: for labelled photos.

    Returns:
        Faces: `pictures` uint8 (N, 96, 96), `key_points` float32 (N, K, 2) in pixels with NaN
        where a point is not labelled (`None` for a test file), and the other columns.

    Raises:
        InputError: the file is missing or is not what it should be; says which row.
    """
    parts = []
    if has_photos(path):  # which have a bar of their own
        parts = list(read_faces(path, options))
    else:
        with progress_bar(f"reading {Path(path).name}, row") as advance:
            for part in read_faces(path):
                parts.append(part)
                advance(len(part.rows))
    whole: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name, value in parts[0]._asdict().items()
        if isinstance(value, np.ndarray)
    }
    return parts[0]._replace(**whole)


def read_faces(path: Path | str, options: LabelOptions = AS_USUAL) -> Iterator[Faces]:
    """Yield what `load_faces` returns a few hundred rows at a time: any length fits in memory."""
    if has_photos(path):
        for part in read_photo_faces(path, options):
            rows = np.arange(part.first, part.first + len(part.pictures))
            yield Faces(
                pictures=part.pictures,
                key_points=part.key_points,
                image_ids=part.labels,
                identities=part.photos,
                rows=rows,
                source=np.zeros_like(rows),
                path=Path(path),
                names=part.names,
                from_photos=True,
            )
        return
    for chunk in read_table(path):
        yield _parse_chunk(chunk, Path(path))


def _parse_chunk(chunk: pd.DataFrame, path: Path) -> Faces:
    """Some rows of the file `path`, a pandas data frame of text, as Faces."""
    import pandas as pd

    chunk = chunk.set_axis(tidy_header(chunk.columns), axis=1)
    if "Image" not in chunk.columns:
        raise InputError(
            f"{path} has no column named Image; its first line must name the columns, but says:"
            f" {columns_in(chunk.columns)}."
        )
    if not isinstance(chunk.index, pd.RangeIndex):  # pandas took the first fields as row names
        raise InputError(
            f"{path} has more fields in its rows than names in its header; fix it (if its"
            " decimal numbers have commas, write points)."
        )
    coordinates = [name for name in chunk.columns if name[-2:] in ("_x", "_y") and name[:-2]]
    for name in ("Image", "ImageId", "identity", *coordinates):
        renamed = f"{name}.1" in chunk.columns and name in ("Image", *coordinates)  # by pandas
        if renamed or (chunk.columns == name).sum() > 1:
            raise InputError(f"{path} has two columns named {name}; rename or delete one.")
    pictures = _parse_pictures(chunk, path)
    names: Names = tuple(dict.fromkeys(name[:-2] for name in coordinates))
    if set(names) <= set(KEY_POINTS):
        names = KEY_POINTS
    rows = chunk.index.to_numpy()
    identities = None
    if "identity" in chunk.columns:  # a row without one is a person of its own
        unknown = chunk["identity"].isna()
        identities = np.where(
            unknown, [f"row {row}" for row in rows], chunk["identity"].astype(object)
        )
    return Faces(
        pictures=pictures,
        key_points=_parse_key_points(chunk, path, coordinates, names) if coordinates else None,
        image_ids=chunk["ImageId"].to_numpy(object) if "ImageId" in chunk.columns else rows + 1,
        identities=identities,
        rows=rows,
        source=np.zeros_like(rows),
        path=path,
        names=names,
    )


# Blanks of all kinds, and zero-width characters that web pages and spreadsheets leave in names.
INVISIBLE = r"[\s\u200b\u200e\u200f\u2060\ufeff]+"


def tidy_header(columns: Iterable[str]) -> list[str]:
    """The column names stripped of blanks, with Image, _x and _y in their proper case.

    IMAGE and left_eye_X are accepted where no column has the proper name.
    """
    names = [re.sub(f"^{INVISIBLE}|{INVISIBLE}$", "", str(name)) for name in columns]
    for proper in ("Image", "ImageId", "identity"):
        if proper not in names:
            names = [proper if name.lower() == proper.lower() else name for name in names]
    if not any(name[-2:] in ("_x", "_y") and name[:-2] for name in names):
        names = [n[:-1] + n[-1].lower() if n[-2:] in ("_X", "_Y") and n[:-2] else n for n in names]
    return names


def unused_columns(path: Path | str) -> tuple[list[str], list[str]]:
    """The columns of a training file that are not used, and which of Kaggle's points it lacks.

    Labelled photos have no columns.
    """
    if has_photos(path):
        return [], []
    header = tidy_header(next(read_table(path)).columns)
    points = [name[:-2] for name in header if name[-2:] in ("_x", "_y") and name[:-2]]
    lacking = [p for p in KEY_POINTS if p not in points] if set(points) <= set(KEY_POINTS) else []
    known = {"Image", "ImageId", "identity", *columns_of(tuple(points))}
    return [n for n in header if n not in known and not n.startswith("Unnamed:")], lacking


EXCEL_CELL = 32_767  # characters; a picture takes up to 36,863


def _parse_pictures(chunk: pd.DataFrame, path: Path) -> np.ndarray:
    """The pictures of some rows, uint8 (N, 96, 96). Raises InputError that names the row."""
    import pandas as pd

    pictures = np.empty((len(chunk), SIZE * SIZE), np.uint8)
    for i, text in enumerate(chunk["Image"]):
        text = "" if pd.isna(text) else text
        try:
            pictures[i] = parse_picture(text)
        except ValueError as problem:
            row = f"{path}: the picture in row {chunk.index[i] + 1} below the header"
            if EXCEL_CELL - 1 <= len(text) <= EXCEL_CELL:  # a blank at its end may be gone
                raise InputError(
                    f"{row} is cut off after {EXCEL_CELL:,} characters, the most that Excel keeps"
                    " in a cell; use the file as it was before Excel saved it."
                ) from None
            raise InputError(f"{row} {problem}; fix or delete that row.") from None
    return pictures.reshape(-1, SIZE, SIZE)


# What a field says for a point that is not labelled.
NOT_LABELLED = ("", "na", "n/a", "nan", "none", "null")


def _parse_key_points(
    chunk: pd.DataFrame, path: Path, coordinates: list[str], names: Names
) -> np.ndarray:
    """The key points of some rows, float32 (N, K, 2), from their `coordinates` columns.

    Raises InputError that names the row and the column.
    """
    import pandas as pd

    columns = columns_of(names)
    for name in names:
        if (f"{name}_x" in coordinates) != (f"{name}_y" in coordinates):
            raise InputError(f"{path} has only one of {name}_x and {name}_y; add the other.")
    values = np.full((len(chunk), len(columns)), np.nan, np.float32)
    for name in coordinates:
        numbers = pd.to_numeric(chunk[name], errors="coerce").to_numpy(np.float64)
        # Up to a picture's width beyond its border: no crop of a face needs more.
        wrong = chunk[name].notna() & ~((numbers > -SIZE) & (numbers < 2 * SIZE))
        if wrong.any():  # pandas reads the words for a missing value, but not with blanks around
            wrong &= ~chunk[name].str.strip().str.lower().isin(NOT_LABELLED)
        if wrong.any():
            i = int(np.argmax(wrong))
            comma = re.fullmatch(r"\s*-?\d+,\d*\s*", str(chunk[name].iloc[i]))
            point = " (decimal numbers are written with a point)" if comma else ""
            raise InputError(
                f"{path}: {name} in row {chunk.index[i] + 1} below the header is"
                f" {chunk[name].iloc[i]!r:.40}, not a position in the {SIZE}x{SIZE} picture{point};"
                " fix it, or leave it empty if the point is not labelled."
            )
        values[:, columns.index(name)] = numbers
    key_points = values.reshape(-1, len(names), 2)
    # A point counts only with both its coordinates.
    key_points[np.isnan(key_points).any(-1)] = np.nan
    return key_points


def load_training(
    path: Path | str,
    complete_only: bool = False,
    names: Names | None = None,
    options: LabelOptions = AS_USUAL,
) -> Faces:
    """`load_faces` for training: rows without any labelled key point are left out.

    Args:
        path: the file.
        complete_only: leave out rows that lack a key point, too.
        names: give the faces these key points and no others.
        options: for labelled photos.

    Raises InputError if nothing is left, or a mirror partner is missing.
    """
    faces = load_faces(path, options)
    if faces.key_points is None:
        raise InputError(
            f"{path} has no key point columns; training needs {COLUMNS[0]}, {COLUMNS[1]} and so on."
            f" Its columns are: {columns_in(next(read_table(path)).columns)}."
        )
    if names:
        faces = with_key_points(faces, names)
    try:
        mirror_partners(faces.names)
    except ValueError as problem:
        raise InputError(
            f"{path} {problem}; add that one"
            + ("" if faces.from_photos else "'s columns, empty where it is not labelled,")
            + " or rename the point."
        ) from None
    labelled = np.isfinite(faces.key_points[..., 0])
    keep = labelled.all(1) if complete_only else labelled.any(1)
    if not keep.any():
        raise InputError(
            f"{path} has no row with {'every' if complete_only else 'any'} key point labelled;"
            " training needs such rows."
        )
    return faces.take(keep)


def with_key_points(faces: Faces, names: Names) -> Faces:
    """Faces with the key points `names`: those they lack are not labelled, others are left out.

    Prints which are left out. Raises InputError if the faces have none of `names`.
    """
    if faces.names == names:
        return faces
    shared = [name for name in names if name in faces.names]
    if not shared:
        raise InputError(
            f"{faces.path} has none of the model's key points ({first_few(names)}); give another"
            " file, or rename its columns."
        )
    labelled = np.isfinite(faces.key_points).any((0, 2))
    others = [n for n, known in zip(faces.names, labelled, strict=True) if known and n not in names]
    if others:
        print(f"{faces.path}: the key points {', '.join(others)} are not used.")
    key_points = np.full((len(faces.rows), len(names), 2), np.nan, np.float32)
    there = [faces.names.index(name) for name in shared]
    key_points[:, [names.index(name) for name in shared]] = faces.key_points[:, there]
    return faces._replace(key_points=key_points, names=names)


def labelled_points(faces: Faces, mirrored: bool) -> np.ndarray:
    """Which key points a training on these faces learns, bool (K,): those that some face labels
    and, with `mirrored`, their mirror partners, which mirrored pictures label."""
    labelled = np.isfinite(faces.key_points).any((0, 2))
    partners = mirror_partners(faces.names) if mirrored else None
    return labelled if partners is None else labelled | labelled[partners]


def without_labels(faces: Faces, names: Names) -> Faces:
    """The faces without the labels of the key points `names`."""
    masked = np.isin(faces.names, names)
    return faces._replace(key_points=np.where(masked[:, None], np.nan, faces.key_points))


def synthetic_faces(count: int, seed: int, rows: Sequence[int] | None = None) -> Faces:
    """Faces drawn by data/synthetic/faces.py, with 15 exact key points each.

    Args:
        count, seed: of the set; the same ones give the same faces.
        rows: draw these of the `count` only.
    """
    pictures, key_points = make_faces(count, seed=seed, indices=rows)
    numbers = np.arange(count) if rows is None else np.array(rows)
    path = Path(f"synthetic faces, seed {seed}")
    return Faces(pictures, key_points, numbers + 1, None, numbers, np.zeros_like(numbers), path)


# Kaggle's full training file comes from two sources: besides the rows with all 15 points it has
# more than twice as many with at most 4, the nose tip labelled lower and the lip at mid-mouth.
FEW_POINTS = 4


def mark_second_source(faces: Faces) -> Faces:
    """Give the first file's rows of few points the source -1, if it has other rows as well."""
    if faces.names != KEY_POINTS:
        return faces
    few = np.isfinite(faces.key_points[..., 0]).sum(1) <= FEW_POINTS
    few &= faces.source == 0
    if few.sum() == (faces.source == 0).sum():
        return faces
    return faces._replace(source=np.where(few, -1, faces.source))


def join_faces(files: list[Faces]) -> Faces:
    """Several training Faces as one; exact repetitions of an earlier row are left out.

    `source` becomes the file's number, -1 for the first file's second source
    (`mark_second_source`). Where only some files have identities, each row of the others is a
    person of its own.
    """
    joined = files[0]
    if len(files) > 1:
        parts = {name: [getattr(faces, name) for faces in files] for name in Faces._fields}
        parts["source"] = [np.full(len(faces.rows), i) for i, faces in enumerate(files)]
        if any(part is not None for part in parts["identities"]):
            parts["identities"] = [
                np.array([f"{i}:{row}" for row in faces.rows])
                if faces.identities is None
                else faces.identities
                for i, faces in enumerate(files)
            ]
        whole: dict[str, Any] = {
            name: np.concatenate(value)
            for name, value in parts.items()
            if isinstance(value[0], np.ndarray)
        }
        joined = joined._replace(**whole)
    seen: dict[bytes, int] = {}
    for i, face in enumerate(zip(joined.pictures, joined.key_points, strict=True)):
        digest = hashlib.sha256(b"".join(part.tobytes() for part in face)).digest()
        seen.setdefault(digest, i)
    return mark_second_source(joined.take(np.array(list(seen.values()))))


def fingerprint(faces: Faces) -> str:
    """SHA-256 of pictures and key points: the same for a CSV and its .gz or .zip."""
    digest = hashlib.sha256(np.ascontiguousarray(faces.pictures).data)
    if faces.names != KEY_POINTS:
        digest.update("\n".join(faces.names).encode())
    if faces.key_points is not None:
        digest.update(np.ascontiguousarray(faces.key_points).data)
    return digest.hexdigest()
