"""What all formats are read into: the labelled faces of photos, in pixels of the photo."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from data.images.photos import quietly, read_photo
from data.key_points import Names, first_few
from data.system.files import InputError, check_file, one_line, printable

# What a label says of a point's visibility, as COCO counts it.
NOT_LABELLED, HIDDEN, VISIBLE = 0, 1, 2


@dataclass(frozen=True, eq=False)
class LabelledFace:
    """One face in a photo. Pixels are counted from the center of the photo's first one."""

    points: np.ndarray  # float (K, 2): x and y in pixels of the upright photo, NaN: not labelled
    visibility: np.ndarray  # int (K,): NOT_LABELLED, HIDDEN or VISIBLE
    box: np.ndarray | None = None  # (4,): x y w h, counted from the photo's outer edge
    spread: np.ndarray | None = None  # (K,): of a prediction, in pixels of the 96x96 crop


@dataclass(frozen=True, eq=False)
class LabelledPhoto:
    """A photo and the faces labelled in it."""

    photo: Path  # need not exist
    name: str  # as the label file writes it
    labels: Path  # the file that has its labels
    faces: list[LabelledFace]
    size: tuple[int, int] | None = None  # width and height by the label file
    embedded: bool = False  # the picture is inside the label file


@dataclass(frozen=True)
class LabelledPhotos:
    """All labelled photos of one file or folder."""

    path: Path
    names: Names  # of the K key points
    photos: list[LabelledPhoto]
    problems: Problems


@dataclass(frozen=True)
class LabelOptions:
    """What the command line says about labelled photos."""

    images: Path | None = None  # the photos' folder: COCO, Label Studio
    points: Path | None = None  # a file of names of the key points, one a line
    pixel_origin: str | None = None  # "center" or "corner" of the first pixel; None: by the format

    def shift(self, usual: str) -> float:
        """What is added to a file's coordinates so that they count from the first pixel's center.

        `usual`: from where the format counts if nothing else was said, "center" or "corner".
        """
        return -0.5 if (self.pixel_origin or usual) == "corner" else 0.0

    def as_record(self) -> dict[str, str | None]:
        """For a model's record: JSON can hold it."""
        paths = {"images": self.images, "points": self.points}
        named = {key: str(path.resolve()) if path else None for key, path in paths.items()}
        return named | {"pixel_origin": self.pixel_origin}

    def or_recorded(self, record: dict[str, Any]) -> LabelOptions:
        """These options, with unset ones taken from a training's record."""
        before = record.get("labels") or {}
        images, points = (before.get(key) for key in ("images", "points"))
        return LabelOptions(
            self.images or (Path(images) if images else None),
            self.points or (Path(points) if points else None),
            self.pixel_origin or before.get("pixel_origin"),
        )


AS_USUAL = LabelOptions()


def add_label_options(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `LabelOptions` to a command line."""
    parser.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="for COCO's and Label Studio's JSON: the photos' folder (default: the JSON's own)",
    )
    parser.add_argument(
        "--points",
        type=Path,
        metavar="FILE",
        help="for labels that do not name their key points: a text file of names, one a line"
        " (default: p0, p1, ...; for 68 points in .pts files their usual names)",
    )
    parser.add_argument(
        "--pixel-origin",
        choices=("center", "corner"),
        help="for labelled photos: whether coordinates count from the center or the corner of the"
        " first pixel (default: COCO and .pts center, the others corner)",
    )


def label_options(arguments: argparse.Namespace) -> LabelOptions:
    """The `LabelOptions` of a command line. Raises InputError if --images is not a folder."""
    if arguments.images and not arguments.images.is_dir():
        raise InputError(f"--images {arguments.images} is not a folder; name the photos' folder.")
    return LabelOptions(arguments.images, arguments.points, arguments.pixel_origin)


SHOWN = 5  # problems that are printed: a thousand bad files must not fill the terminal


@dataclass
class Problems:
    """The photos that cannot be used. The others are, so each problem is printed, not raised."""

    found: list[str] = field(default_factory=list)

    def add(self, problem: object) -> None:
        """Count a problem, a sentence, and print it if it is one of the first."""
        self.found.append(str(problem))
        if len(self.found) <= SHOWN:
            print(f"left out: {printable(problem)}", flush=True)
        elif len(self.found) == SHOWN + 1:
            print("left out: more of them, counted below.", flush=True)

    def collect(self, read: Callable[..., Any], *arguments: Any) -> Any:
        """What `read` returns, or None if it raises InputError, which is added."""
        try:
            return read(*arguments)
        except InputError as problem:
            self.add(problem)
            return None


def load_json(path: Path) -> Any:
    """What a JSON file holds. Raises InputError if it cannot be read."""
    check_file(path, "check the path")
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path} is not JSON that can be read ({one_line(error)}); save it again."
        ) from None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object. Raises InputError if it cannot be read."""
    document = load_json(path)
    if not isinstance(document, dict):
        raise InputError(f"{path} holds no labels: its JSON is not an object; export it again.")
    return document


def read_names(options: LabelOptions, count: int, path: Path) -> Names | None:
    """The names in the file of --points, or None if it was not given.

    Args:
        count: how many key points the labels at `path` have.

    Raises InputError if there are more or fewer names, or one is there twice.
    """
    if options.points is None:
        return None
    check_file(options.points, "check the path given by --points")
    try:
        lines = options.points.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"{options.points} cannot be read as text ({one_line(error)}).") from None
    names = tuple(line.strip() for line in lines if line.strip())
    if len(names) != count:
        raise InputError(
            f"{options.points} has {len(names)} names, but {path} has {count} key points; write one"
            " name a line, in the order of the points."
        )
    check_unique(names, options.points)
    return names


def check_unique(names: Names, path: Path) -> None:
    """Raise InputError if two key points have the same name."""
    twice = [name for i, name in enumerate(names) if name in names[:i]]
    if twice:
        raise InputError(f"{path} names two key points {twice[0]}; rename one of them.")


def numbered_names(count: int) -> Names:
    """p0, p1 and so on: for key points that have no names."""
    return tuple(f"p{i}" for i in range(count))


def find_photo(name: str, folders: Iterable[Path | None]) -> Path:
    """The path of a photo that a label file calls `name`, perhaps with backslashes.

    It is looked for in each of the `folders`, with the folders in its name and without. Where it
    is in none of them, the first path at which it was looked for.
    """
    tidy = name if "/" in name else PureWindowsPath(name).as_posix()
    known = [folder for folder in folders if folder is not None]
    candidates = [folder / part for part in (tidy, Path(tidy).name) for folder in known]
    return next((path for path in candidates if path.is_file()), candidates[0])


def known_size(width: Any, height: Any) -> tuple[int, int] | None:
    """The size of a photo by its label file; None where that does not say it."""
    known = isinstance(width, int) and isinstance(height, int) and min(width, height) > 0
    return (width, height) if known else None


def photo_size(path: Path) -> tuple[int, int]:
    """Width and height of a photo, upright; if possible without decoding it.

    Raises InputError if it is not a picture that can be read.
    """
    from PIL import ExifTags, Image

    try:
        with quietly(), Image.open(path) as file:
            turned = file.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
            return (file.height, file.width) if turned else file.size
    except Exception:  # Pillow raises whatever a broken file brings
        return read_photo(path).size


LARGEST = 1e6  # pixels: no photo is wider


def as_numbers(values: Any, count: int | None, where: str) -> np.ndarray:
    """Numbers of a label file as float (count,), NaN for null.

    Raises InputError, beginning with `where`, if they are not numbers, or not positions.
    """
    try:  # without NumPy's functions, which take longer for so few
        numbers = [float("nan" if value is None else value) for value in values]
    except (TypeError, ValueError):
        raise InputError(f"{where} has coordinates that are not numbers; label it again.") from None
    if count is not None and len(numbers) != count:
        raise InputError(f"{where} has {len(numbers)} numbers instead of {count}; label it again.")
    wrong = next((number for number in numbers if abs(number) > LARGEST), None)
    if wrong is not None:
        raise InputError(
            f"{where} has the coordinate {wrong:g}, outside any photo; label it again."
        )
    return np.array(numbers)


def face_from_triples(triples: np.ndarray, names: Names, where: str, shift: float) -> LabelledFace:
    """A face from x, y and v of each key point, (K, 3), as COCO and YOLO have them.

    Raises InputError, beginning with `where`, if v is not 0, 1 or 2, or a point lacks coordinates.
    """
    points, visibility = triples[:, :2] + shift, triples[:, 2]
    if not np.isin(visibility, (NOT_LABELLED, HIDDEN, VISIBLE)).all():
        wrong = visibility[~np.isin(visibility, (NOT_LABELLED, HIDDEN, VISIBLE))][0]
        raise InputError(f"{where} has the visibility v = {wrong:g}; it must be 0, 1 or 2.")
    labelled = visibility > NOT_LABELLED
    missing = labelled & (~np.isfinite(points).all(1) | (triples[:, :2] == 0).all(1))
    if missing.any():
        k = int(np.argmax(missing))
        raise InputError(
            f"{where} has {names[k]} with v = {visibility[k]:g} but without coordinates; set v = 0"
            " if the point is not labelled."
        )
    points[~labelled] = np.nan
    return LabelledFace(points, visibility.astype(int))


def say_names(names: Names) -> str:
    """A skeleton as part of a sentence."""
    return f"{len(names)} points ({first_few(names)})"
