"""Train a small Keras network that finds key points on 96x96 grey faces, and save it.

    python model_builder.py                              # data/training.csv, or made-up faces
    python model_builder.py --data training.zip          # Kaggle's file just as it comes
    python model_builder.py --dry-run                    # the whole way in seconds
    python model_builder.py --resume                     # go on after Ctrl-C or a kill

Kaggle's 15 key points are the default; a CSV whose header names others trains those.

The file reads in the order in which the data flows:
key points -> load -> split -> augment -> model -> train -> save.
"""

import argparse
import hashlib
import json
import math
import os
import signal
import sys
import time
import warnings
import zipfile
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

HERE = Path(__file__).resolve().parent
SIZE = 96  # pictures are SIZE x SIZE; pixel centres run 0 .. 95, so a mirrored x is 95 - x


@dataclass(frozen=True)
class Settings:
    """Every knob of a training run and why it stands where it does; saved beside the model."""

    # How long and how fast.
    epochs: int = 75  # 25 core minutes for 2,140 faces; flat over the last five
    batch_size: int = 64  # keeps the cores busy, and leaves 26 steps an epoch on 1,700 faces
    learning_rate: float = 2e-3  # the peak of the cosine; not tuned
    warmup_steps: int = 200  # AdamW's second moments need a while before large steps are safe
    weight_decay: float = 0.02  # decoupled (AdamW); small, the augmentation regularises already
    ema_momentum: float = 0.995  # the saved weights average about the last 200 steps
    huber_px: float = 3.0  # squared error below this, linear above: wrong labels must not rule
    seed: int = 0  # the split, the first weights, the order and every augmentation follow from it
    validation_split: float = 0.2  # share of the rows held out, near-identical pictures together
    # How sure it is: learned afterwards, with the rest of the network frozen.
    spread_epochs: int = 6  # flat after that
    spread_steps: int = 400  # but no more than these: with much data one time through it is plenty
    non_faces: float = 0.15  # share of the pictures then that show no face
    # Where several files are given, the first sets what a point means.
    further_split: float = 0.1  # share held out of each further file: they are there to teach
    first_repeats: int = 10  # times per epoch the first file is gone through, not to be drowned
    alike: tuple[str, ...] = ()  # key points that all files mark at the same spot: no offset
    # Where the pictures come from is where they fail: what the augmentation moves, and how far.
    flip: float = 0.5  # probability of the mirrored picture (left and right points swap)
    rotation: float = 12.0  # degrees, standard deviation; heads in the wild tilt more than Kaggle's
    scale: float = 0.08  # log scale, standard deviation; so much do face detectors' boxes vary
    stretch: float = 0.04  # log aspect ratio and shear, standard deviation: a poor man's yaw
    perspective: float = 0.06  # by how much nearer edges look larger, standard deviation
    shift: float = 4.0  # pixels, standard deviation
    relight: float = 1.0  # strength of the changes in contrast, brightness, gamma, light direction
    noise: float = 8.0  # grey values: the standard deviation is drawn from 0 to this
    low_resolution: float = 0.15  # share of the pictures brought down to 24, 32 or 48 pixels
    cut_out: float = 0.5  # patches per picture: hands, hair, anything before the face
    sunglasses: float = 0.06  # share of the pictures that get dark glasses over the eyes
    hat: float = 0.06  # share of the pictures covered from the brows upwards
    hair: float = 0.06  # share with hair over the forehead or one side
    hand: float = 0.06  # share with a hand before the face
    full_augmentation: int = 16  # epochs; shorter trainings see proportionally milder views


class InputError(Exception):
    """What the user gave cannot be used: one sentence that says what, where and how to mend it."""


# --- key points ----------------------------------------------------------------------------------

KEY_POINTS = (
    "left_eye_center",  # left is the subject's left: the larger x
    "right_eye_center",
    "left_eye_inner_corner",
    "left_eye_outer_corner",
    "right_eye_inner_corner",
    "right_eye_outer_corner",
    "left_eyebrow_inner_end",
    "left_eyebrow_outer_end",
    "right_eyebrow_inner_end",
    "right_eyebrow_outer_end",
    "nose_tip",
    "mouth_left_corner",
    "mouth_right_corner",
    "mouth_center_top_lip",
    "mouth_center_bottom_lip",
)


def columns_of(names):
    """The CSV columns of the key points' coordinates, a tuple."""
    return tuple(f"{name}_{axis}" for name in names for axis in "xy")


COLUMNS = columns_of(KEY_POINTS)
LEFT_EYE, RIGHT_EYE = KEY_POINTS.index("left_eye_center"), KEY_POINTS.index("right_eye_center")


def region_radius(share):
    """Radius of the disc that holds `share` (0 .. 1) of a normal distribution in the plane, in
    standard deviations per axis."""
    return float(np.sqrt(-2 * np.log(1 - share)))


REGION_90 = region_radius(0.9)


def mirror_partners(names=KEY_POINTS):
    """For each key point the index of the one that it becomes in a mirrored picture, (K,) int.

    The words left and right in the names tell; a point with neither is its own partner. None if no
    name has them, as p0 .. p67: then nothing tells what a point becomes.

    Raises ValueError, naming the point, if a partner is missing.
    """
    swap = {"left": "right", "right": "left"}
    partners = ["_".join(swap.get(word, word) for word in name.split("_")) for name in names]
    if partners == list(names):
        return None
    for name, partner in zip(names, partners, strict=True):
        if partner not in names:
            raise ValueError(f"has the key point {name} but no {partner} to be its mirror image")
    return np.array([names.index(partner) for partner in partners])


PARTNERS = mirror_partners()


def mirror_key_points(key_points, partners=PARTNERS):
    """Key points (N, K, 2) in pixels of the mirrored pictures: x becomes 95 - x, sides swap."""
    mirrored = np.array(key_points)[:, partners]
    mirrored[..., 0] = SIZE - 1 - mirrored[..., 0]
    return mirrored


def eye_centres(names=KEY_POINTS):
    """The indices of the left and the right eye's centre, or None where one has no such name."""
    eyes = KEY_POINTS[LEFT_EYE], KEY_POINTS[RIGHT_EYE]
    return tuple(map(names.index, eyes)) if set(eyes) <= set(names) else None


def interocular_distance(key_points, eyes=(LEFT_EYE, RIGHT_EYE)):
    """Distance between the two eye centres in pixels, (N,), from key points (N, K, 2)."""
    left, right = eyes
    return np.linalg.norm(key_points[:, left] - key_points[:, right], axis=-1)


def mean_face(key_points):
    """Each point's mean place over faces (N, K, 2), as K pairs; [None, None] if never labelled."""
    labelled = np.isfinite(key_points)
    mean = np.where(labelled, key_points, 0).sum(0) / np.maximum(labelled.sum(0), 1)
    return np.where(labelled.any(0), mean.round(3).astype(object), None).tolist()


def rmse(predicted, truth):
    """Root mean square error in pixels over all labelled coordinates; NaN in `truth` is masked."""
    return float(np.sqrt(np.nanmean((predicted - truth) ** 2, dtype=np.float64)))


# --- load ----------------------------------------------------------------------------------------


class Faces(NamedTuple):
    """One loaded file. Rows keep the file's order; row 0 is the first below the header."""

    pictures: np.ndarray  # uint8 (N, 96, 96)
    key_points: np.ndarray | None  # float32 (N, K, 2) in pixels, NaN = not labelled; None: test
    image_ids: np.ndarray  # the ImageId column as text, or 1 .. N
    identities: np.ndarray | None  # the optional `identity` column: who is pictured
    rows: np.ndarray  # int (N,): each face's row in its file
    source: np.ndarray  # int (N,): whose habits the labels follow: the file, or -1 (`few_apart`)
    path: Path  # of the first file
    names: tuple[str, ...] = KEY_POINTS  # of the K key points

    @property
    def file(self):
        """Which file each face is from, where several were joined: int (N,)."""
        return np.maximum(self.source, 0)

    def take(self, index):
        """The faces at `index` (any NumPy index) as a new Faces."""
        chosen = {
            name: value[index]
            for name, value in self._asdict().items()
            if isinstance(value, np.ndarray)
        }
        return self._replace(**chosen)


def parse_picture(text):
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


def load_faces(path):
    """Load a CSV in Kaggle's format, plain or as .gz or .zip.

    Args:
        path: the file. Columns are found by name, in any order: `Image` and, in a training file,
            the `<key point>_x` and `<key point>_y` columns; `ImageId` and `identity` are optional,
            others are ignored. Where all key points are among Kaggle's, they are Kaggle's 15 (a
            missing pair counts as not labelled), else those of the header in its order.

    Returns:
        Faces: `pictures` uint8 (N, 96, 96), `key_points` float32 (N, K, 2) in pixels with NaN
        where a point is not labelled (`None` for a test file), and the other columns.

    Raises:
        InputError: the file is missing or is not what it should be; says which row.
    """
    parts = list(read_faces(path))
    whole = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name, value in parts[0]._asdict().items()
        if isinstance(value, np.ndarray)
    }
    return parts[0]._replace(**whole)


def read_faces(path):
    """Yield what `load_faces` returns a few hundred rows at a time: any length fits in memory."""
    for chunk in read_table(path):
        yield _parse_chunk(chunk, Path(path))


def read_table(path):
    """Yield a CSV, plain, .gz or .zip, as pandas data frames of text, a few hundred rows at a time.

    Raises InputError if it cannot be read or has no row below its header.
    """
    import pandas as pd

    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the CSV file in it.")
    if not path.exists():
        raise InputError(f"{path} does not exist; check the path, or see data/README.md.")
    rows = 0
    try:
        # As text: pandas would read True as 1, and guess anew for every few hundred rows.
        with pd.read_csv(path, chunksize=256, dtype=str, encoding="utf-8-sig") as chunks:
            for chunk in chunks:
                if len(chunk):
                    yield chunk
                rows += len(chunk)
    except pd.errors.EmptyDataError:
        raise InputError(f"{path} is empty; it should start with a line of column names.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text; save it as a plain UTF-8 CSV.") from None
    except pd.errors.ParserError as error:
        raise InputError(
            f"{path} is not a CSV that can be read ({one_line(error)}); mend that line, or save"
            " the table as CSV again."
        ) from None
    except Exception as error:  # the decompressors raise a dozen kinds
        raise InputError(
            f"{path} cannot be read ({one_line(error)}); download it again. It must be one CSV,"
            " plain, as .gz or alone in a .zip."
        ) from None
    if not rows:
        raise InputError(f"{path} has a header but no rows; it needs at least one row.")


def one_line(error):
    """An exception's message as part of a sentence."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _parse_chunk(chunk, path):
    """Some rows of `path`, a pandas data frame of text, as Faces."""
    import pandas as pd

    if "Image" not in chunk.columns:
        raise InputError(f"{path} has no column named Image; its first line must name the columns.")
    if not isinstance(chunk.index, pd.RangeIndex):  # pandas took the first fields as row names
        raise InputError(f"{path} has more fields in its rows than names in its header; mend it.")
    present = [name for name in chunk.columns if name[-2:] in ("_x", "_y") and name[:-2]]
    for name in ("Image", *present):
        if f"{name}.1" in chunk.columns:  # so pandas renames it
            raise InputError(f"{path} has two columns named {name}; rename or delete one.")
    pictures = np.empty((len(chunk), SIZE * SIZE), np.uint8)
    for i, text in enumerate(chunk["Image"]):
        try:
            pictures[i] = parse_picture("" if pd.isna(text) else text)
        except ValueError as problem:
            raise InputError(
                f"{path}: the picture in row {chunk.index[i] + 1} below the header {problem};"
                " mend or delete that row."
            ) from None

    names, key_points = tuple(dict.fromkeys(name[:-2] for name in present)), None
    if set(names) <= set(KEY_POINTS):
        names = KEY_POINTS
    if present:
        columns = columns_of(names)
        for name in names:
            if (f"{name}_x" in present) != (f"{name}_y" in present):
                raise InputError(f"{path} has only one of {name}_x and {name}_y; add the other.")
        key_points = np.full((len(chunk), len(columns)), np.nan, np.float32)
        for name in present:
            numbers = pd.to_numeric(chunk[name], errors="coerce").to_numpy(np.float64)
            # A picture's width beyond the border is more than any crop of a face needs.
            wrong = chunk[name].notna() & ~((numbers > -SIZE) & (numbers < 2 * SIZE))
            if wrong.any():
                i = int(np.argmax(wrong))
                raise InputError(
                    f"{path}: {name} in row {chunk.index[i] + 1} below the header is"
                    f" {chunk[name].iloc[i]!r:.40}, not a position in the picture;"
                    " mend it, or leave it empty if the point is not labelled."
                )
            key_points[:, columns.index(name)] = numbers
        key_points = key_points.reshape(-1, len(names), 2)
        # A point counts only with both its coordinates.
        key_points[np.isnan(key_points).any(-1)] = np.nan
    rows = chunk.index.to_numpy()
    identities = None
    if "identity" in chunk.columns:  # whoever has none is somebody else
        unknown = chunk["identity"].isna()
        identities = np.where(
            unknown, [f"row {row}" for row in rows], chunk["identity"].astype(object)
        )
    return Faces(
        pictures=pictures.reshape(-1, SIZE, SIZE),
        key_points=key_points,
        image_ids=chunk["ImageId"].to_numpy(object) if "ImageId" in chunk.columns else rows + 1,
        identities=identities,
        rows=rows,
        source=np.zeros_like(rows),
        path=path,
        names=names,
    )


def load_training(path, complete_only=False, names=None):
    """`load_faces` for training: rows without any labelled key point are left out.

    With `complete_only` so are rows that lack a key point. With `names` the faces get these key
    points and no others. Raises InputError if nothing is left, or a mirror partner is missing.
    """
    faces = load_faces(path)
    if faces.key_points is None:
        raise InputError(f"{path} has no key point columns; training needs {COLUMNS[0]} and so on.")
    if names:
        faces = with_key_points(faces, names)
    try:
        mirror_partners(faces.names)
    except ValueError as problem:
        raise InputError(
            f"{path} {problem}; add that one's columns, empty where it is not labelled, or rename"
            " the point."
        ) from None
    labelled = np.isfinite(faces.key_points[..., 0])
    keep = labelled.all(1) if complete_only else labelled.any(1)
    if not keep.any():
        raise InputError(
            f"{path} has no row with {'every' if complete_only else 'any'} key point labelled;"
            " training needs such rows."
        )
    return faces.take(keep)


def with_key_points(faces, names):
    """Faces with the key points `names`: what they lack is not labelled, others are left out.

    A printed line says which. Raises InputError if the faces have none of them.
    """
    if faces.names == names:
        return faces
    shared = [name for name in names if name in faces.names]
    if not shared:
        raise InputError(
            f"{faces.path} has none of the model's key points ({_some(names)}); give another file,"
            " or rename its columns."
        )
    labelled = np.isfinite(faces.key_points).any((0, 2))
    others = [n for n, known in zip(faces.names, labelled, strict=True) if known and n not in names]
    if others:
        print(f"{faces.path}: the key points {', '.join(others)} are not used.")
    key_points = np.full((len(faces.rows), len(names), 2), np.nan, np.float32)
    there = [faces.names.index(name) for name in shared]
    key_points[:, [names.index(name) for name in shared]] = faces.key_points[:, there]
    return faces._replace(key_points=key_points, names=names)


def _some(names):
    """The first few names as part of a sentence."""
    return ", ".join(map(str, names[:5])) + (", …" if len(names) > 5 else "")


def synthetic_faces(count, seed):
    """Faces made by data/synthetic_faces.py: no file, no licence, 15 exact key points each."""
    sys.path.insert(0, str(HERE / "data"))
    try:
        from synthetic_faces import make_faces
    finally:
        sys.path.pop(0)
    pictures, key_points = make_faces(count, seed=seed)
    rows = np.arange(count)
    path = Path(f"synthetic faces, seed {seed}")
    return Faces(pictures, key_points, rows + 1, None, rows, np.zeros_like(rows), path)


# Kaggle's full training file comes from two sources: besides the rows with all 15 points it has
# more than twice as many that mark 4 at most, the tip of the nose lower and the lip at mid-mouth.
FEW_POINTS = 4


def few_apart(faces):
    """The first file's rows of few points get the source -1, if it has others to go by as well."""
    if faces.names != KEY_POINTS:
        return faces
    few = np.isfinite(faces.key_points[..., 0]).sum(1) <= FEW_POINTS
    few &= faces.source == 0
    if few.sum() == (faces.source == 0).sum():
        return faces
    return faces._replace(source=np.where(few, -1, faces.source))


def join_faces(files):
    """Several training Faces as one; a row that repeats an earlier one to the letter is left out.

    `source` tells the file, and the first file's rows of few points (`few_apart`). Where only some
    files name identities, the others' rows stay alone.
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
        joined = joined._replace(
            **{
                name: np.concatenate(value)
                for name, value in parts.items()
                if isinstance(value[0], np.ndarray)
            }
        )
    seen = {}
    for i, face in enumerate(zip(joined.pictures, joined.key_points, strict=True)):
        digest = hashlib.sha256(b"".join(part.tobytes() for part in face)).digest()
        seen.setdefault(digest, i)
    return few_apart(joined.take(np.array(list(seen.values()))))


def fingerprint(faces):
    """SHA-256 over pictures and key points: the same for a CSV and its .gz or .zip."""
    digest = hashlib.sha256(np.ascontiguousarray(faces.pictures))
    if faces.names != KEY_POINTS:
        digest.update("\n".join(faces.names).encode())
    if faces.key_points is not None:
        digest.update(np.ascontiguousarray(faces.key_points))
    return digest.hexdigest()


# --- split ---------------------------------------------------------------------------------------


# Two pictures are near-identical when their thumbnails correlate above 0.95 (checked by eye on
# Kaggle's file: there it finds shots of one session). For vectors of length 1 and mean 0,
# distance^2 = 2 - 2 * correlation.
SIMILAR = float(np.sqrt(2 - 2 * 0.95))


def thumbnails(pictures):
    """16x16 thumbnails as vectors of mean 0 and length 1, float32 (N, 256)."""
    small = pictures.reshape(len(pictures), 16, SIZE // 16, 16, SIZE // 16).mean((2, 4))
    small = small.reshape(len(pictures), -1).astype(np.float32)
    small -= small.mean(1, keepdims=True)
    return small / np.maximum(np.linalg.norm(small, axis=1, keepdims=True), 1e-6)


def group_similar(pictures, identities=None):
    """Number the groups of near-identical pictures, (N,) int; equal identities join as well.

    Groups are connected components: DBSCAN in which every point is a core point.
    """
    from sklearn.cluster import DBSCAN

    groups = DBSCAN(eps=SIMILAR, min_samples=1).fit_predict(thumbnails(pictures))
    if identities is None:
        return groups
    # Join the two partitions: renumber until neither has a group that the other tears apart.
    _, people = np.unique(identities, return_inverse=True)
    while True:
        joined = _lowest_in(people, _lowest_in(groups, groups))
        joined = _lowest_in(groups, joined)
        if np.array_equal(joined, groups):
            return groups
        groups = joined


def _lowest_in(partition, values):
    """For each element the lowest of `values` within its part of `partition`, (N,) int."""
    lowest = np.full(partition.max() + 1, np.iinfo(np.int64).max)
    np.minimum.at(lowest, partition, values)
    return lowest[partition]


def split_faces(faces, fraction=0.2, further_fraction=0.1, seed=0):
    """Split into training and held-out faces, near-identical pictures on the same side.

    The first file's split does not depend on what is joined to it, so that runs with and without
    further files can be compared; a further file's picture that an earlier file has too goes
    where it stands there, with its whole group.

    Args:
        faces: Faces, perhaps joined from several files.
        fraction, further_fraction: share held out of the first file, and of each further one.
        seed: of the draw.

    Returns:
        Two sorted index arrays, training and held-out. Raises InputError if all pictures of the
        first file are near-identical.
    """
    from sklearn.model_selection import GroupShuffleSplit
    from sklearn.neighbors import NearestNeighbors

    held_out = np.zeros(len(faces.rows), bool)
    described = thumbnails(faces.pictures)
    for file in np.unique(faces.file):
        rows = np.flatnonzero(faces.file == file)
        identities = None if faces.identities is None else faces.identities[rows]
        groups = group_similar(faces.pictures[rows], identities)
        free = np.ones(len(rows), bool)
        earlier = np.flatnonzero(faces.file < file)
        if earlier.size:
            nearest = NearestNeighbors(n_neighbors=1).fit(described[earlier])
            distance, index = nearest.kneighbors(described[rows])
            same = distance[:, 0] < SIMILAR
            free = ~np.isin(groups, groups[same])
            known = same & held_out[earlier[index[:, 0]]]
            held_out[rows] = np.isin(groups, groups[known])
        if len(np.unique(groups[free])) < 2:
            if file > 0:
                continue
            raise InputError(
                f"{faces.path}: all {len(rows)} pictures are near-identical, so none can be held"
                " out; more faces are needed."
            )
        share = fraction if file == 0 else further_fraction
        splitter = GroupShuffleSplit(n_splits=1, test_size=share, random_state=seed)
        try:
            _, chosen = next(splitter.split(rows[free], groups=groups[free]))
        except ValueError:  # one side would be empty
            count = len(np.unique(groups[free]))
            raise InputError(
                f"{faces.path}: {count} groups of unlike pictures are too few to hold out a share"
                f" of {share}; give more faces or another --validation-split."
            ) from None
        held_out[rows[free][chosen]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


# --- augment -------------------------------------------------------------------------------------
# Random numbers are drawn in NumPy from a generator that the caller seeds per epoch, so that a
# run can be repeated; the warp, the one costly step, is a single call for the whole batch.


def draw_matrices(count, rng, settings):
    """Random maps of the picture plane, float64 (count, 3, 3): new point ~ A @ (x, y, 1).

    They turn, scale, stretch, tilt in depth and mirror about the picture's centre, and shift.
    """
    angle = np.radians(np.clip(rng.normal(0, settings.rotation, count), -45, 45))
    size = np.exp(rng.normal(0, settings.scale, count))
    aspect = np.exp(rng.normal(0, settings.stretch, count))
    shear = rng.normal(0, settings.stretch, count)
    flip = np.where(rng.random(count) < settings.flip, -1.0, 1.0)
    zero = np.zeros(count)

    def matrix(a, b, c, d):
        return np.stack([a, b, c, d], -1).reshape(count, 2, 2)

    turn = matrix(np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle))
    linear = turn @ matrix(size * aspect, shear, zero, size / aspect)
    linear = linear @ matrix(flip, zero, zero, zero + 1)
    middle = (SIZE - 1) / 2
    about_centre = np.tile(np.eye(3), (count, 1, 1))
    about_centre[:, :2, :2] = linear
    about_centre[:, :2, 2] = rng.normal(0, settings.shift, (count, 2))
    about_centre[:, 2, :2] = rng.normal(0, settings.perspective / middle, (count, 2))
    there = np.array([[1, 0, -middle], [0, 1, -middle], [0, 0, 1]])
    return np.linalg.inv(there) @ about_centre @ there


def warp(pictures, key_points, matrices, partners=PARTNERS):
    """Move pictures and key points together.

    Args:
        pictures: (N, 96, 96) grey values.
        key_points: (N, K, 2) pixels.
        matrices: (N, 3, 3) as from `draw_matrices`; where they mirror, left and right points swap.
        partners: as from `mirror_partners`; None if no matrix mirrors.

    Returns:
        float32 pictures (N, 96, 96), the border continued outwards, and float32 key points.
    """
    from keras import ops

    moved = key_points @ matrices[:, :, :2].transpose(0, 2, 1) + matrices[:, None, :, 2]
    moved = moved[..., :2] / moved[..., 2:]
    if partners is not None:
        mirrored = np.linalg.det(matrices) < 0
        moved[mirrored] = moved[mirrored][:, partners]
    # Keras wants the way back, from a pixel of the new picture to its place in the old one: nine
    # numbers, the last of them made 1 and left out.
    back = np.linalg.inv(matrices).reshape(-1, 9)
    back = (back[:, :8] / back[:, 8:]).astype(np.float32)
    warped = ops.image.affine_transform(
        ops.convert_to_tensor(pictures[..., None].astype(np.float32)),
        ops.convert_to_tensor(back),
        interpolation="bilinear",
        fill_mode="nearest",
        data_format="channels_last",
    )
    return ops.convert_to_numpy(warped)[..., 0], moved.astype(np.float32)


def relight(pictures, rng, settings):
    """Change sharpness, resolution, contrast, brightness, gamma, light and noise; (N, 96, 96)."""
    from keras import ops

    count, strength = len(pictures), settings.relight

    def draw(low, high):
        return rng.uniform(low, high, (count, 1, 1)).astype(np.float32)

    blurred = ops.average_pool(pictures[..., None], 3, 1, "same", data_format="channels_last")
    pictures = pictures + draw(-0.5, 1) * (ops.convert_to_numpy(blurred)[..., 0] - pictures)
    low = np.flatnonzero(rng.random(count) < settings.low_resolution)
    if low.size:
        coarse = int(rng.choice([24, 32, 48]))
        small = ops.image.resize(
            pictures[low][..., None], (coarse, coarse), antialias=True, data_format="channels_last"
        )
        small = ops.image.resize(small, (SIZE, SIZE), data_format="channels_last")
        pictures[low] = ops.convert_to_numpy(small)[..., 0]
    gamma = np.exp(strength * draw(-0.35, 0.35))
    pictures = 255 * (np.clip(pictures, 0, 255) / 255) ** gamma
    mean = pictures.mean((1, 2), keepdims=True)
    pictures = (pictures - mean) * np.exp(strength * draw(-0.5, 0.4)) + mean
    across = np.linspace(-19, 19, SIZE, dtype=np.float32)
    pictures += strength * (draw(-30, 30) + draw(-1, 1) * across + draw(-1, 1) * across[:, None])
    pictures += draw(0, settings.noise) * rng.standard_normal(pictures.shape, np.float32)
    return np.clip(pictures, 0, 255)


def occlude(pictures, key_points, rng, settings, names=KEY_POINTS):
    """Cover parts of the pictures (N, 96, 96) in place; the key points below stay where they are.

    Patches of grey, of noise and of other pictures lie anywhere. Where the eye centres are
    labelled, dark glasses lie over the eyes, hats from the brows upwards, hair over the forehead
    or down one side, and hands, in the face's own grey, across its lower or outer part.
    """
    count = len(pictures)
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)

    def paint(rows, centre, half_width, half_height, angle, exponent, fill, opacity=1.0, round_=0):
        """Superellipses: exponent 2 is an ellipse, 4 a box with round corners.

        `round_` is by how much they darken towards their edge, as a cylinder does.
        """
        cx, cy, w, h, t, n = (
            np.broadcast_to(v, len(rows)).astype(np.float32)[:, None, None]
            for v in (centre[:, 0], centre[:, 1], half_width, half_height, angle, exponent)
        )
        along = (x - cx) * np.cos(t) + (y - cy) * np.sin(t)
        down = (y - cy) * np.cos(t) - (x - cx) * np.sin(t)
        outwards = np.abs(along / w) ** n + np.abs(down / h) ** n
        covered = opacity * np.clip((1 - outwards) * w / 3, 0, 1)  # soft edges, about a pixel wide
        pictures[rows] += covered * (fill * (1 - round_ * outwards) - pictures[rows])

    def uniform(rows, low, high):
        return rng.uniform(low, high, len(rows)).astype(np.float32)

    def grey(rows, low, high):
        return uniform(rows, low, high)[:, None, None]

    for _ in range(2):
        rows = np.flatnonzero(rng.random(count) < settings.cut_out / 2)
        shape = (len(rows), SIZE, SIZE)
        kind = rng.random((len(rows), 1, 1))
        noise = rng.uniform(0, 255, shape).astype(np.float32)
        other = np.roll(pictures[rng.permutation(count)[: len(rows)]], rng.integers(SIZE), axis=2)
        paint(
            rows,
            rng.uniform(0, SIZE - 1, (len(rows), 2)),
            uniform(rows, 5, 25),
            uniform(rows, 5, 20),
            uniform(rows, 0, np.pi),
            rng.choice([2, 4], len(rows)),
            np.where(kind < 0.6, grey(rows, 0, 255), np.where(kind < 0.75, noise, other)),
        )

    eyes = eye_centres(names)
    if not eyes:
        return
    left, right = (key_points[:, eye] for eye in eyes)
    across = left - right
    distance = np.linalg.norm(across, axis=-1)
    tilt = np.arctan2(across[:, 1], across[:, 0])
    # Eyes that are not labelled, or lie on one another in a profile, give nothing to go by.
    usable = distance > 8
    up = np.stack([across[:, 1], -across[:, 0]], -1)  # as long as the eyes are apart
    middle = (left + right) / 2

    def some(share):
        return np.flatnonzero(usable & (rng.random(count) < share))

    rows = some(settings.sunglasses)
    width = distance[rows] * uniform(rows, 0.28, 0.46)
    height = width * uniform(rows, 0.6, 1.0)
    exponent = rng.choice([2, 3, 4], len(rows))
    dark, opacity = grey(rows, 0, 70), grey(rows, 0.75, 1)
    for eye in (left, right):
        paint(rows, eye[rows], width, height, tilt[rows], exponent, dark, opacity)

    rows = some(settings.hat)
    edge = uniform(rows, 0.15, 0.7)[:, None]  # the brim's height above the eyes
    cloth = grey(rows, 0, 255) + rng.normal(0, 12, (len(rows), SIZE, SIZE)).astype(np.float32)
    size = 2 * distance[rows], distance[rows]
    paint(rows, middle[rows] + up[rows] * (edge + 1), *size, tilt[rows], 6, cloth)
    peak = rows[rng.random(len(rows)) < 0.5]
    at = middle[peak] + up[peak] * (edge[np.isin(rows, peak)] + 0.05)
    size = distance[peak] * uniform(peak, 0.8, 1.3), distance[peak] * uniform(peak, 0.1, 0.25)
    paint(peak, at, *size, tilt[peak], 2, grey(peak, 0, 160), 1, 0.4)

    rows = some(settings.hair)
    strands = rng.normal(0, 1, (len(rows), 1, SIZE)) * grey(rows, 5, 35)
    strands = np.abs(grey(rows, 0, 150) + strands).astype(np.float32)
    fringe = rng.random(len(rows)) < 0.5
    aside = np.where(fringe, uniform(rows, -0.5, 0.5), rng.choice([-1, 1], len(rows)))
    aside *= np.where(fringe, 1, uniform(rows, 0.9, 1.6))
    above = np.where(fringe, uniform(rows, 1.05, 1.5), uniform(rows, -0.5, 0.3))
    at = middle[rows] + aside[:, None] * across[rows] + above[:, None] * up[rows]
    half_width = distance[rows] * np.where(fringe, 1.5, uniform(rows, 0.4, 0.7))
    half_height = distance[rows] * np.where(fringe, 1, 2)
    lean = tilt[rows] + uniform(rows, -0.3, 0.3)
    paint(rows, at, half_width, half_height, lean, rng.choice([2, 4], len(rows)), strands)

    rows = some(settings.hand)
    skin = pictures[rows, 24:72, 24:72].mean((1, 2), keepdims=True) * grey(rows, 0.9, 1.3)
    side = rng.choice([-1, 1], len(rows))
    at = middle[rows] + across[rows] * (side * uniform(rows, 0.1, 1.1))[:, None]
    at -= up[rows] * uniform(rows, 0.3, 1.6)[:, None]
    lean = tilt[rows] - side * uniform(rows, 0, 1.5)
    finger = np.stack([-np.sin(lean), np.cos(lean)], -1)  # from the finger tips to the palm
    beside = np.stack([np.cos(lean), np.sin(lean)], -1)
    thick = distance[rows] * uniform(rows, 0.09, 0.14)
    for i in range(4):
        length = thick * uniform(rows, 3.5, 5)
        tip = at + beside * ((2.1 * i - 3.1) * thick)[:, None] + finger * length[:, None]
        paint(rows, tip, thick, length, lean + uniform(rows, -0.06, 0.06), 3, skin, 1, 0.35)
    palm = at + finger * (10 * thick)[:, None]
    paint(rows, palm, 4.4 * thick, 5 * thick, lean, 3, skin, 1, 0.2)


def milder(settings):
    """The settings with the augmentation that suits a training of so many epochs.

    Below `full_augmentation` epochs each knob is turned down in proportion: there is no time to
    learn the hard views, and none to learn the faces by heart.
    """
    strength = min(1, settings.epochs / settings.full_augmentation)
    geometry = ("rotation", "scale", "stretch", "perspective", "shift")
    light = ("relight", "noise", "low_resolution")
    cover = ("cut_out", "sunglasses", "hat", "hair", "hand")
    knobs = (*geometry, *light, *cover)
    return replace(settings, **{knob: strength * getattr(settings, knob) for knob in knobs})


def augment(pictures, key_points, rng, settings, names=KEY_POINTS):
    """A new random view of each face.

    Args:
        pictures: uint8 (N, 96, 96).
        key_points: float32 (N, K, 2) in pixels, NaN where not labelled.
        rng: a numpy.random.Generator; the same state gives the same views.
        settings: Settings.
        names: of the key points; without left and right among them nothing is mirrored.

    Returns:
        float32 pictures (N, 96, 96), 0 .. 255, and float32 key points (N, K, 2).
    """
    partners = mirror_partners(names)
    if partners is None:
        settings = replace(settings, flip=0.0)
    matrices = draw_matrices(len(pictures), rng, settings)
    pictures, key_points = warp(pictures, key_points, matrices, partners)
    occlude(pictures, key_points, rng, settings, names)  # before `relight`: noise covers it too
    return relight(pictures, rng, settings), key_points


def non_faces(pictures, rng):
    """Pictures without a face, float32 (N, 96, 96): faces' own bits and pieces, and made ones.

    Shuffled tiles of the given pictures (N, 96, 96), their corners enlarged, clouds of all
    roughnesses, stripes, and blanks: what a detector's false alarms or a wrong file may hold.
    """
    from keras import ops

    count = len(pictures)
    pictures = np.array(pictures, np.float32)
    kind = rng.choice(5, count, p=[0.3, 0.25, 0.25, 0.1, 0.1])
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    for i in range(count):
        if kind[i] == 0:
            across = rng.choice([3, 4, 6, 8])
            side = SIZE // across
            tiles = pictures[i].reshape(across, side, across, side).transpose(0, 2, 1, 3)
            tiles = rng.permutation(tiles.reshape(-1, side, side)).reshape(across, across, side, -1)
            pictures[i] = tiles.transpose(0, 2, 1, 3).reshape(SIZE, SIZE)
        elif kind[i] == 1:
            side = rng.integers(16, 33)
            rows, columns = (y * side // SIZE).astype(int), (x * side // SIZE).astype(int)
            corner = pictures[i][:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
            pictures[i] = corner[rows, columns]
        elif kind[i] == 2:
            # Noise whose spectrum falls with some power of the frequency looks like clouds, hills.
            frequency = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE)) + 0.5 / SIZE
            noise = np.fft.rfft2(rng.standard_normal((SIZE, SIZE)))
            cloud = np.fft.irfft2(noise / frequency ** rng.uniform(0, 2.2), (SIZE, SIZE))
            pictures[i] = 128 + rng.uniform(10, 70) * cloud / cloud.std()
            pictures[i] += rng.uniform(-80, 80) * (y > rng.uniform(0, SIZE))  # a horizon
        elif kind[i] == 3:
            angle, period = rng.uniform(0, np.pi), rng.uniform(4, 60)
            wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / period)
            pictures[i] = 128 + rng.uniform(20, 110) * (np.sign(wave) if i % 2 else wave)
        else:
            pictures[i] = rng.uniform(0, 255)
    enlarged = np.flatnonzero(kind == 1)
    if enlarged.size:  # no hard blocks
        smooth = ops.average_pool(
            pictures[enlarged][..., None], 5, 1, "same", data_format="channels_last"
        )
        pictures[enlarged] = ops.convert_to_numpy(smooth)[..., 0]
    return np.clip(pictures, 0, 255)


def epoch_rows(faces, settings):
    """The rows gone through in one epoch, each file's as often as it should be; int array."""
    rows = np.arange(len(faces.rows))
    if len(np.unique(faces.file)) == 1:
        return rows
    return np.repeat(rows, np.where(faces.file == 0, settings.first_repeats, 1))


PART = 32  # faces augmented from one generator, by whichever worker; fewer would take longer


def batches(faces, settings, first_epoch=0, worker=0, workers=1):
    """Augmented batches of Faces without end, whole batches only.

    Each epoch's order and views depend on nothing but the seed and the epoch's number. Of several
    workers each gets, and augments, its own part of every batch: one after the other they are the
    batch that one worker alone would get.

    Yields ((pictures float32 (N, 96, 96, 1), source int (N, 1)), coordinates float32 (N, 2K),
    weights float32 (N,)): the weights make the mean over the batch's faces of `masked_loss` the
    mean over all coordinates labelled in it.
    """
    every = epoch_rows(faces, settings)
    size = min(settings.batch_size, len(every))
    share = size // workers
    epoch = first_epoch
    while True:
        order = np.random.default_rng((settings.seed, epoch)).permutation(every)
        for start in range(0, len(order) - size + 1, size):
            labelled = np.isfinite(faces.key_points[order[start : start + size]]).sum()
            first = start + worker * share
            parts = []
            for at in range(first, first + share, PART):
                rows = order[at : min(at + PART, first + share)]
                # From 1 up: to NumPy (seed, epoch, 0) is (seed, epoch), the order's generator.
                rng = np.random.default_rng((settings.seed, epoch, 1 + at))
                some = faces.pictures[rows], faces.key_points[rows]
                parts.append(augment(*some, rng, settings, faces.names))
            x, y = map(np.concatenate, zip(*parts, strict=True))
            weight = size * 2 * len(faces.names) / max(labelled, 1)
            weights = np.full(share, weight, np.float32)
            source = faces.source[order[first : first + share], None]
            yield (x[..., None], source), y.reshape(share, -1), weights
        epoch += 1


def batches_with_non_faces(faces, settings):
    """As `batches`, but the first pictures of each batch show no face, and their points may be
    anywhere in the picture: what the spread is to be learned from."""
    rng = np.random.default_rng((settings.seed, 1, 0))
    for (x, source), y, _ in batches(faces, settings, first_epoch=settings.epochs):
        count = round(settings.non_faces * len(x))
        x[:count, ..., 0] = relight(non_faces(x[:count, ..., 0], rng), rng, settings)
        y[:count] = rng.uniform(0, SIZE - 1, y[:count].shape)
        yield (x, source), y


# --- model ---------------------------------------------------------------------------------------


def build_model(dtype="float32", count=15):
    """The network: raw grey values (N, 96, 96, 1) in; out come, in pixels, `key_points` (N, 2K)
    and `spread` (N, K), how far off each point may be (standard deviation per axis).

    A residual encoder goes down to 6x6 to see the whole face and comes back up to a 12x12 grid.
    There each key point has a map of where it is (a softmax) and, at each cell, an offset from
    the cell's centre; the prediction is the expected position. That is soft-argmax ("integral")
    regression, Sun et al. 2018, https://arxiv.org/abs/1711.08229, with the dense offsets of
    Papandreou et al. 2017, https://arxiv.org/abs/1701.01779: the grid can stay coarse, which is
    what makes it fast, and a point can lie outside the picture.

    The spread is read off what the point was read from: how far the cells disagree, how peaked
    the map is, and the features where it looks and of the whole picture.

    Args:
        dtype: Keras dtype policy of the body, such as "float32" or "mixed_bfloat16"; the head
            always computes in float32, because bfloat16 has steps of half a pixel at 95.
        count: K, how many key points.

    Returns:
        keras.Model of built-in layers only, so that plain `keras.saving.load_model` loads it.
    """
    import keras
    from keras import layers, ops

    Conv = partial(layers.Conv2D, padding="same", use_bias=False, dtype=dtype)
    Norm = partial(layers.BatchNormalization, dtype=dtype)
    Relu = partial(layers.Activation, "relu", dtype=dtype)
    Add = partial(layers.Add, dtype=dtype)

    def conv(x, channels, size, stride=1):
        return Relu()(Norm()(Conv(channels, size, strides=stride)(x)))

    def residual(x, channels):
        y = Norm()(Conv(channels, 3)(conv(x, channels, 3)))
        return Relu()(Add()([x, y]))

    picture = keras.Input((SIZE, SIZE, 1), name="picture")
    x = layers.Rescaling(1 / 64, offset=-2, dtype=dtype)(picture)
    x = conv(x, 24, 5, stride=2)  # 48x48: kept thin, high resolution is where the time goes
    x = residual(conv(x, 48, 3, stride=2), 48)  # 24x24
    x = residual(residual(residual(conv(x, 96, 3, stride=2), 96), 96), 96)  # 12x12
    skip = x
    deep = residual(residual(conv(x, 160, 3, stride=2), 160), 160)  # 6x6: sees the whole face
    x = layers.UpSampling2D(2, dtype=dtype)(conv(deep, 96, 1))
    x = residual(Add()([skip, x]), 96)  # 12x12 again

    grid = SIZE // 8
    centre = (np.arange(grid, dtype=np.float32) + 0.5) * 8 - 0.5
    centres = np.stack(np.meshgrid(centre, centre), -1).reshape(1, 1, grid * grid, 2)

    head = partial(layers.Conv2D, kernel_size=1, dtype="float32")
    reshape = partial(layers.Reshape, dtype="float32")
    maps = reshape((grid * grid, count))(head(count, name="maps")(x))
    maps = layers.Softmax(axis=1, name="where", dtype="float32")(maps)
    offsets = head(2 * count, kernel_initializer="zeros", name="offsets")(x)
    offsets = reshape((grid * grid, count, 2))(offsets)
    weights = ops.expand_dims(maps, -1)
    places = ops.transpose(centres, (0, 2, 1, 3)) + 8 * offsets
    means = ops.sum(weights * places, axis=1)
    key_points = reshape((2 * count,), name="key_points")(means)

    apart = ops.sum(weights * (places - ops.expand_dims(means, 1)) ** 2, axis=(1, 3))
    signs = ops.stack([ops.log(apart + 1e-2), ops.log(ops.sum(maps**2, axis=1))], axis=-1)
    features = reshape((grid * grid, x.shape[-1]))(x)
    looked_at = ops.matmul(ops.transpose(maps, (0, 2, 1)), features)  # (N, K, channels)
    whole = [layers.GlobalAveragePooling2D(dtype="float32")(level) for level in (x, deep)]
    whole = layers.RepeatVector(count, dtype="float32")(ops.concatenate(whole, axis=-1))
    signs = ops.concatenate([signs, looked_at, whole], axis=-1)
    signs = layers.LayerNormalization(name="spread_scaled", dtype="float32")(signs)
    signs = layers.Dense(64, "relu", name="spread_signs", dtype="float32")(signs)
    # Weights and a bias of its own for each point, and a factor that `calibrate` sets.
    spread = layers.EinsumDense(
        "nkc,kc->nk",
        count,
        bias_axes="k",
        activation="softplus",
        bias_initializer=keras.initializers.Constant(2.0),
        name="spread_raw",
        dtype="float32",
    )(signs)
    spread = layers.EinsumDense(
        "nk,k->nk", count, kernel_initializer="ones", name="spread", dtype="float32"
    )(spread)
    outputs = {"key_points": key_points, "spread": spread}
    return keras.Model(picture, outputs, name="face_key_points")


# The layers in which each key point has weights of its own, and along which axis.
POINT_AXIS = {"maps": -1, "offsets": -1, "spread_raw": 0, "spread": 0}


def warm_start(initial, known, names):
    """A new network for the key points `names` that starts with the weights of another.

    Args:
        initial: a model as from `build_model`.
        known: the names of its key points; a point that is not among them starts anew.
        names: those of the new network.

    Returns:
        keras.Model. Raises ValueError if `initial` has another body.
    """
    network = build_model(count=len(names))
    here = [k for k, name in enumerate(names) if name in known]
    there = [known.index(names[k]) for k in here]
    for variable, weights in zip(network.weights, initial.get_weights(), strict=True):
        axis = POINT_AXIS.get(variable.path.split("/")[-2])
        if axis is not None:
            own = np.moveaxis(variable.numpy(), axis, 0)
            parts = own.reshape(len(names), -1)
            parts[here] = np.moveaxis(weights, axis, 0).reshape(len(known), -1)[there]
            weights = np.moveaxis(parts.reshape(own.shape), 0, axis)
        variable.assign(weights)
    return network


def predict(model, pictures, mirror=False, batch_size=256, names=KEY_POINTS):
    """Find the key points, and how far off each may be.

    Args:
        model: as from `load_model`.
        pictures: (N, 96, 96) grey values 0 .. 255.
        mirror: average the prediction with the one for the mirrored picture.
        names: of the model's key points; without left and right among them nothing is mirrored.

    Returns:
        float32 key points (N, K, 2) in pixels, and float32 spread (N, K): the standard
        deviation per axis in pixels; the 90 % region is the disc of radius REGION_90 * spread.
    """
    inputs = np.asarray(pictures, np.float32)[..., None]
    # Not Keras's `predict`, which takes longer to get going than to find a face.
    parts = [
        model.predict_on_batch(inputs[start : start + batch_size])
        for start in range(0, len(inputs), batch_size)
    ]
    key_points, spread = (
        np.concatenate([part[name] for part in parts]) for name in ("key_points", "spread")
    )
    key_points = key_points.reshape(len(inputs), -1, 2)
    partners = mirror_partners(names)
    if mirror and partners is not None:
        flipped, other = predict(model, np.asarray(pictures)[:, :, ::-1], batch_size=batch_size)
        half = (mirror_key_points(flipped, partners) - key_points) / 2
        # The spread of a mixture of two: where they disagree, neither is to be trusted.
        spread = np.sqrt((spread**2 + other[:, partners] ** 2) / 2 + (half**2).mean(-1))
        key_points = key_points + half
    return key_points, spread


# --- train ---------------------------------------------------------------------------------------


def masked_loss(threshold):
    """Huber loss in pixels, a Keras loss function of (N, 2K) coordinates; NaN truth is masked.

    Squared error up to `threshold` pixels, linear beyond; each face's sum (N,), divided by the
    number of coordinates. `batches` gives the weights that make the mean over a batch's faces one
    over its labelled coordinates: over all of them, however many workers share the batch.
    """
    from keras import ops

    def loss(truth, predicted):
        labelled = ops.logical_not(ops.isnan(truth))
        # The inner `where` keeps NaN out of the gradient too: NaN * 0 would still be NaN.
        error = ops.abs(ops.where(labelled, predicted - ops.where(labelled, truth, 0), 0))
        each = ops.where(error < threshold, error**2, threshold * (2 * error - threshold))
        return ops.mean(each, axis=-1)

    return loss


def spread_loss(truth, found):
    """How badly the spread explains the errors, a Keras loss function; NaN truth is masked.

    The negative log likelihood of Student's t distribution in the plane with 4 degrees of
    freedom: its tails keep a few wildly wrong labels from widening all the others' regions.

    Args:
        truth: (N, 2K) coordinates.
        found: (N, K, 3): the predicted x, y and spread.
    """
    from keras import ops

    truth = ops.reshape(truth, (-1, found.shape[1], 2))
    labelled = ops.logical_not(ops.isnan(truth))
    error = ops.where(labelled, found[..., :2] - ops.where(labelled, truth, 0), 0)
    spread = found[..., 2] + 1e-3
    each = 2 * ops.log(spread) + 3 * ops.log(1 + ops.sum(error**2, -1) / (4 * spread**2))
    known = ops.cast(labelled[..., 0], each.dtype)
    return ops.sum(known * each) / ops.maximum(ops.sum(known), 1)


def with_source_offsets(model, sources, partners=PARTNERS, alike=()):
    """The model that is trained: the network plus, per further source and point, a learned offset.

    Files by other hands mark the nose tip or a brow's end elsewhere. The offset takes that up, so
    that the network itself keeps the first file's convention (offset zero). A mirrored picture
    mirrors it: it is tied to be the same on the left and on the right.

    Args:
        model: as from `build_model`.
        sources: their number; source -1 is the last one.
        partners: as from `mirror_partners`; None ties nothing.
        alike: indices of the key points that all sources mark at the same spot: no offset.

    Returns:
        keras.Model from (picture, source (N, 1)) to the network's outputs so moved.
    """
    import keras
    from keras import layers, ops

    source = keras.Input((1,), dtype="int32", name="source")
    size = model.output["key_points"].shape[1]
    # Not an Embedding: its sparse gradient would be clipped by the sum of its faces' norms.
    table = layers.Dense(
        size, use_bias=False, kernel_initializer="zeros", name="source_offsets", dtype="float32"
    )
    offset = ops.reshape(table(ops.one_hot(source % sources, sources)), (-1, size // 2, 2))
    sides = np.array([-1, 1], np.float32)
    if partners is not None:
        offset = offset + ops.take(offset, partners, axis=1) * sides
    if len(alike):
        offset = offset * np.isin(np.arange(size // 2), alike, invert=True)[:, None]
    further = ops.cast(source != 0, "float32")
    # Times 5: steps of AdamW's size would take long to walk several pixels.
    moved = model.output["key_points"] + 5 * further * ops.reshape(offset, (-1, size))
    return keras.Model([model.input, source], model.output | {"key_points": moved})


def learn_only_spread(network, only):
    """Unfreeze the layers that only the spread depends on and freeze the others, or vice versa."""
    for layer in network.layers:
        layer.trainable = layer.name.startswith("spread") == only
    network.get_layer("spread").trainable = False  # the calibration's


def fit_spread(network, model, training, settings):
    """Learn the spread with all that the key points depend on frozen: they stay as they are.

    Args:
        network, model: the network, and the one `with_source_offsets`.
        training: Faces.
        settings: Settings.
    """
    import keras
    from keras import ops

    learn_only_spread(network, True)
    found = ops.reshape(model.output["key_points"], (-1, len(training.names), 2))
    found = ops.concatenate([found, ops.expand_dims(model.output["spread"], -1)], axis=-1)
    per_epoch = max(len(epoch_rows(training, settings)) // settings.batch_size, 1)
    steps = min(per_epoch * settings.spread_epochs, settings.spread_steps)
    schedule = keras.optimizers.schedules.CosineDecay(1e-2, steps)
    learner = keras.Model(model.inputs, found)
    learner.get_layer("source_offsets").trainable = False
    learner.compile(keras.optimizers.Adam(schedule, clipnorm=10.0), spread_loss)
    learner.fit(
        batches_with_non_faces(training, settings),
        steps_per_epoch=steps,
        shuffle=False,
        verbose=0,
    )


def calibrate(network, key_points, spread, truth):
    """Scale the spread so that 90 % of the true points lie within their 90 % regions.

    One factor per key point, from held-out faces; it becomes part of the network's weights.

    Args:
        network: as from `build_model`; the factors go into its last layer.
        key_points, spread, truth: (N, K, 2), (N, K), (N, K, 2) pixels; NaN truth is masked.

    Returns:
        The factors, (K,).
    """
    if not np.isfinite(truth).any():
        return np.ones(truth.shape[1])
    ratio = np.linalg.norm(key_points - truth, axis=-1) / (REGION_90 * spread)
    few = np.isfinite(ratio).sum(0) < 50  # too few to tell a 90 % point: all points' factor
    ratio[:, few] = np.nanquantile(ratio, 0.9)
    factors = np.nanquantile(ratio, 0.9, axis=0)
    layer = network.get_layer("spread")
    layer.set_weights([layer.get_weights()[0] * factors])
    return factors


def short_memory(steps):
    """Momentum of a running average over a tenth of a training's steps: the most that lets it
    forget the first weights in time."""
    return 1 - 10 / max(steps, 11)


def make_optimizer(schedule, settings, steps):
    """AdamW (Loshchilov & Hutter 2019, https://arxiv.org/abs/1711.05101) with averaged weights.

    Each variable's gradient is clipped after the replicas' are added up, and the learning rate
    evaluated once a step; Keras's own AdamW clips before, and evaluates it for each variable.

    Args:
        schedule: a keras learning rate schedule.
        settings: Settings.
        steps: of the whole training.
    """
    import keras
    from keras import ops

    class AdamW(keras.optimizers.Adam):
        def update_step(self, gradient, variable, learning_rate):
            # Clipped to norm 10: one mislabelled face must not undo a warm-up.
            gradient = gradient * (10 / ops.maximum(ops.sqrt(ops.sum(gradient**2)), 10))
            self.assign_sub(variable, variable * (settings.weight_decay * learning_rate))
            super().update_step(gradient, variable, learning_rate)

    momentum = min(settings.ema_momentum, short_memory(steps))
    return AdamW(schedule, use_ema=True, ema_momentum=momentum)


def find_worker():
    """This process's number and how many there are, by TF_CONFIG: (0, 1) where that is not set.

    It is read as TensorFlow reads it: {"cluster": {"worker": ["host:port", ...]}, "task":
    {"type": "worker", "index": 0}}, perhaps with one "chief", who then comes first. Raises
    InputError if it is something else.
    """
    text = os.environ.get("TF_CONFIG", "")
    if not text.strip():
        return 0, 1
    try:
        config = json.loads(text)
        cluster, kind = config["cluster"], config["task"]["type"]
        index = config["task"]["index"]
        addresses = [*cluster.get("chief", []), *cluster.get("worker", [])]
        if not set(cluster) <= {"chief", "worker"} or not all(":" in each for each in addresses):
            raise ValueError('"cluster" must list the workers as "host:port"')
        if len(set(addresses)) < len(addresses):
            raise ValueError("it names an address twice")
        if not 0 <= index < len(cluster[kind]):
            raise ValueError(f"there is no {kind} {index}, they count from 0")
        first = len(cluster.get("chief", [])) if kind == "worker" else 0
        return first + index, len(addresses)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else one_line(error)
        raise InputError(
            f"the environment variable TF_CONFIG cannot be used ({reason}): {text!r:.300}. README"
            " (Several GPUs or machines) shows how it should look; unset it to train alone."
        ) from None


def join_workers():
    """tf.distribute.Strategy of the workers in TF_CONFIG; waits until all of them are there.

    Raises InputError if they do not find together.
    """
    import tensorflow as tf

    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except (tf.errors.OpError, RuntimeError) as error:
        raise InputError(
            f"the workers in TF_CONFIG do not find together ({one_line(error):.300}); see that"
            " every address can be reached and its port is free, and start all of them again."
        ) from None


def share_among_gpus(batch_size):
    """tf.distribute.Strategy of as many of this machine's GPUs as divide the batch; or None."""
    import tensorflow as tf

    gpus = range(1, len(tf.config.list_logical_devices("GPU")) + 1)
    count = max((number for number in gpus if batch_size % number == 0), default=0)
    if count < 2:
        return None
    return tf.distribute.MirroredStrategy([f"GPU:{i}" for i in range(count)])


def check_share(settings, faces, workers, strategy):
    """Raise InputError if batches cannot be shared among the workers and their replicas."""
    replicas = strategy.num_replicas_in_sync if strategy else 1
    unit = math.lcm(PART * workers, replicas) if workers > 1 else replicas
    if settings.batch_size % unit:
        raise InputError(
            f"--batch-size {settings.batch_size} cannot be shared among {workers} workers with"
            f" {replicas} devices in all; give a multiple of {unit}."
        )
    if replicas > 1 and faces < settings.batch_size:
        raise InputError(
            f"{faces} faces to train on are too few for a batch of {settings.batch_size}, which"
            f" {replicas} devices share; give more faces, or train on one device."
        )


def replicated(model, strategy):
    """A keras.Model with the given model's layers, whose training step is shared by replicas.

    Keras's `fit` cannot train with tf.distribute.MultiWorkerMirroredStrategy by itself (as of
    3.15, https://github.com/keras-team/keras/issues/20585); where it can, with MirroredStrategy, it
    clips each replica's gradient by itself. Here the replicas of this process share the batch that
    this process draws; gradients, and the statistics of batch normalisation, are summed over all
    replicas of all processes.

    Args:
        model: keras.Model made in the strategy's scope.
        strategy: tf.distribute.Strategy.
    """
    import keras
    import tensorflow as tf

    here = len(strategy.extended.worker_devices)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True

    class Replicated(keras.Model):
        def train_step(self, data):
            def on_replica():
                replica = tf.distribute.get_replica_context()
                number = replica.replica_id_in_sync_group % here

                def share(tensor):
                    size = tf.shape(tensor)[0] // here
                    return tensor[number * size : (number + 1) * size]

                x, y, weights = tf.nest.map_structure(share, data)
                with tf.GradientTape() as tape:  # the loss is this replica's part of the sum
                    loss = self.compute_loss(x, y, self(x, training=True), weights)
                gradients = tape.gradient(loss, self.trainable_variables)
                self.optimizer.apply(gradients, self.trainable_variables)  # sums them
                return replica.all_reduce(tf.distribute.ReduceOp.SUM, loss)

            loss = strategy.experimental_local_results(strategy.run(on_replica))[0]
            for metric in self.metrics:
                if metric.name == "loss":
                    metric.update_state(loss)
            return {metric.name: metric.result() for metric in self.metrics}

    return Replicated(model.inputs, model.output)


def has_bfloat16():
    """Whether this CPU multiplies bfloat16 matrices in hardware (AMX or AVX-512 BF16, Linux)."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "amx_bf16" in flags or "avx512_bf16" in flags


@contextmanager
def unwrapped_interrupts():
    """Ctrl-C is a KeyboardInterrupt, also where it comes while TensorFlow draws a batch, which
    makes an error of its own out of it."""
    try:
        yield
    except Exception as error:
        if "KeyboardInterrupt" in str(error):
            raise KeyboardInterrupt from None
        raise


def train(
    training,
    validation,
    settings,
    precision="float32",
    log_path=None,
    initial=None,
    checkpoint=None,
    resume=False,
    strategy=None,
    worker=0,
    workers=1,
):
    """Train on `training`, watch the error on `validation` (both Faces), and return the outcome.

    Args:
        training, validation: Faces with key points; NaN is masked.
        settings: Settings.
        precision: "float32" or "bfloat16" for the body's arithmetic while training.
        log_path: CSV file to which each epoch's line is written as soon as it is known.
        initial: a model of this shape to go on from (warm start); unset: random weights.
        checkpoint: a Checkpoint to write after every epoch. With it Ctrl-C ends the training
            early, with the averaged weights of the last finished epoch; at least one must be.
        resume: go on from what the checkpoint holds.
        strategy: a tf.distribute.Strategy; unset: this machine's GPUs, where there are several.
        worker, workers: as from `find_worker`; only worker 0 writes anything.

    Returns:
        The trained float32 keras.Model with the averaged weights; a list of dicts, one per
        epoch: epoch, loss, validation_rmse_px, learning_rate, seconds (since the start); and by
        how many pixels rows of few points (source -1) are marked elsewhere: 15 pairs, or None.
        All that for worker 0; None for the others.

    Raises InputError if the batch cannot be shared.
    """
    import keras
    from keras import ops

    keras.utils.set_random_seed(settings.seed)
    names = training.names
    alike = [names.index(name) for name in settings.alike]
    if not strategy and keras.backend.backend() == "tensorflow":
        strategy = share_among_gpus(settings.batch_size)
    check_share(settings, len(epoch_rows(training, settings)), workers, strategy)
    everyone = np.append(training.source, validation.source)
    few = bool(everyone.min() < 0)
    sources = int(everyone.max()) + 1 + few

    def build():
        dtype = "mixed_bfloat16" if precision == "bfloat16" else "float32"
        network = build_model(dtype, len(names))
        return network, with_source_offsets(network, sources, mirror_partners(names), alike)

    scope = strategy.scope if strategy else nullcontext
    with scope():
        network, model = build()
        if initial is not None:
            network.set_weights(initial.get_weights())
    learn_only_spread(network, False)
    # A warm start knows the hard views already.
    augmentation = settings if initial is not None else milder(settings)
    per_epoch = max(len(epoch_rows(training, settings)) // settings.batch_size, 1)
    steps = per_epoch * settings.epochs
    warmup = min(settings.warmup_steps, steps // 5)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = min(layer.momentum, short_memory(steps))
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=settings.learning_rate / 100,
        warmup_target=settings.learning_rate,
        warmup_steps=warmup,
        decay_steps=max(steps - warmup, 1),
        alpha=0.01,
    )
    with scope():
        optimizer = make_optimizer(schedule, settings, steps)
        optimizer.build(model.trainable_variables)  # or else the first step is traced twice
    if strategy:
        model = replicated(model, strategy)
    model.compile(optimizer, {"key_points": masked_loss(settings.huber_px), "spread": None})
    history = checkpoint.restore(model) if resume else []
    done = len(history)
    started = time.monotonic() - (history[-1]["seconds"] if history else 0)

    inputs = (validation.pictures[..., None].astype(np.float32), validation.source[:, None])

    def averaged_key_points():
        """Predict with the weights that will be saved, and leave the model as it is.

        (Keras's SwapEMAWeights does not swap back after `predict`, as of Keras 3.15.)
        """
        own = [variable.numpy() for variable in model.trainable_variables]
        optimizer.finalize_variable_values(model.trainable_variables)
        output = model.predict(inputs, batch_size=256, verbose=0)
        for variable, value in zip(model.trainable_variables, own, strict=True):
            variable.assign(value)
        return output["key_points"].reshape(validation.key_points.shape)

    class Progress(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            output = averaged_key_points()
            seconds = time.monotonic() - started
            line = {
                "epoch": epoch + 1,
                "loss": float(logs["loss"]),
                "validation_rmse_px": rmse(output, validation.key_points),
                "learning_rate": float(schedule((epoch + 1) * per_epoch)),
                "seconds": round(seconds, 1),
            }
            if checkpoint:
                checkpoint.save(model, [*history, line])
            history.append(line)
            left = seconds / (epoch + 1) * (settings.epochs - epoch - 1)
            print(
                f"epoch {epoch + 1:3}/{settings.epochs}  loss {line['loss']:8.3f}"
                f"  held-out RMSE {line['validation_rmse_px']:6.3f} px"
                f"  {left // 60:3.0f} min {left % 60:02.0f} s left",
                flush=True,
            )
            if log_path:
                write_log(log_path, history)

    try:
        with unwrapped_interrupts():
            model.fit(
                batches(training, augmentation, done, worker, workers),
                steps_per_epoch=per_epoch,
                initial_epoch=done,
                epochs=settings.epochs,
                shuffle=False,  # `batches` does
                verbose=0,
                callbacks=[] if worker else [Progress()],
            )
    except KeyboardInterrupt:
        if worker or not (checkpoint and history):
            raise
        history = checkpoint.restore(model)
        optimizer.finalize_variable_values(model.trainable_variables)
    if worker:
        return None
    if strategy:  # the rest is small: without the others
        weights = model.get_weights()
        network, model = build()
        model.set_weights(weights)
    try:
        with unwrapped_interrupts():
            fit_spread(network, model, training, settings)
    except KeyboardInterrupt:
        if not checkpoint:
            raise
        raise KeyboardInterrupt(
            "stopped while the spread was learned, before anything was saved; the epochs are kept:"
            " to go on, give the same command with --resume."
        ) from None
    # Saved in float32: it then predicts the same on a machine without bfloat16.
    final = build_model(count=len(names))
    final.set_weights(network.get_weights())
    # By how much each source marks the points elsewhere: its view of one and the same picture.
    judged = with_source_offsets(final, sources, mirror_partners(names), alike)
    judged.get_layer("source_offsets").set_weights(model.get_layer("source_offsets").get_weights())
    views = np.repeat(inputs[0][:1], sources, axis=0), np.arange(sources)[:, None]
    moved = ops.convert_to_numpy(judged(views)["key_points"]).reshape(sources, -1, 2)
    offsets = moved - moved[:1]
    # Calibrated as it will be used: on faces that were held out, with the mirrored picture.
    key_points, spread = predict(final, validation.pictures, mirror=True, names=names)
    calibrate(final, key_points + offsets[validation.source], spread, validation.key_points)
    return final, history, offsets[-1].tolist() if few else None


# --- save ----------------------------------------------------------------------------------------


def replace_file(path, write):
    """Write a file so that a kill at any moment leaves the earlier one or the new one, whole.

    `write(temporary)` writes to a path beside `path` with the same ending; then the name moves.
    Raises InputError if the disk is full or the like.
    """
    path = Path(path)
    for left in path.parent.glob(f".{path.stem}.*{path.suffix}"):  # by a kill, an hour ago or more
        if left.stat().st_mtime < time.time() - 3600:
            left.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        write(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror or one_line(error)}); what was there"
            " before is untouched: make room, or choose another folder."
        ) from None
    finally:
        temporary.unlink(missing_ok=True)


def write_log(path, history):
    """Write the epochs' lines as CSV."""
    import pandas as pd

    replace_file(path, lambda file: pd.DataFrame(history).to_csv(file, index=False))


class Checkpoint:
    """A file from which a training can go on: all weights, the optimizer's state, the history.

    The rest follows from the settings and the number of epochs done: `batches` draws from those,
    the learning rate from the optimizer's step. Arrays and JSON only, nothing pickled.
    """

    def __init__(self, path, run):
        """`run`: what must be the same to go on, a dict that JSON can hold."""
        self.path, self.run = Path(path), json.loads(json.dumps(run))

    def save(self, model, history):
        """Write the state of a compiled model with a built optimizer after these epochs."""
        note = json.dumps({"run": self.run, "history": history})
        state = [np.asarray(variable) for variable in self._variables(model)]
        replace_file(self.path, lambda file: np.savez(file, *state, note=note))

    def restore(self, model):
        """Put the saved state into a compiled model with a built optimizer; return the history.

        Raises InputError if the file is missing, broken, or of another run.
        """
        if not self.path.exists():
            raise InputError(f"{self.path} does not exist: there is no training to resume.")
        try:
            with np.load(self.path, allow_pickle=False) as file:
                note = json.loads(str(file["note"]))
                state = [file[f"arr_{i}"] for i in range(len(file.files) - 1)]
            run, history = note["run"], note["history"]
        except Exception as error:  # NumPy raises a dozen kinds
            raise InputError(
                f"{self.path} is broken ({one_line(error)}); start anew, without --resume."
            ) from None
        different = [
            f"other {name}" if name in ("data", "init") else f"{name} {run.get(name)}, not {value}"
            for name, value in self.run.items()
            if run.get(name) != value
        ]
        if different:
            raise InputError(
                f"{self.path} is of a training with {' and '.join(different)}; resume with the same"
                " flags and data, or start anew, without --resume."
            )
        variables = self._variables(model)
        if [value.shape for value in state] != [tuple(v.shape) for v in variables]:
            raise InputError(f"{self.path} is of another network; start anew, without --resume.")
        for variable, value in zip(variables, state, strict=True):
            variable.assign(value)
        return history

    def _variables(self, model):
        return [*model.variables, *model.optimizer.variables]


def weights_digest(model):
    """SHA-256 over the weights: tells which model a record belongs to."""
    digest = hashlib.sha256()
    for weights in model.get_weights():
        digest.update(np.ascontiguousarray(weights))
    return digest.hexdigest()


def unfinished(path):
    """Whether a model that Ctrl-C cut short, or none, is at `path`."""
    if not path.exists():
        return True
    try:
        record = json.loads(path.with_suffix(".json").read_text())
        return record["results"]["epochs"] < record["settings"]["epochs"]
    except (OSError, ValueError, LookupError, TypeError):
        return False


def save_model(model, path, record):
    """Save the model, and beside it `record` as JSON of the same name."""
    path = Path(path)
    record = record | {"weights_sha256": weights_digest(model)}
    replace_file(path, model.save)
    text = json.dumps(record, indent=2) + "\n"
    replace_file(path.with_suffix(".json"), lambda file: file.write_text(text))


def load_model(path):
    """A saved model and its JSON record (an empty dict where there is none of this model).

    Raises InputError if the file is missing, broken or not one of ours.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist; train it with: python model_builder.py")
    try:
        with zipfile.ZipFile(path) as archive:
            whole = archive.testzip() is None  # before TensorFlow takes its seconds to start
    except Exception:  # zipfile raises a dozen kinds
        whole = False
    if not whole:
        raise InputError(f"{path} is not a whole .keras file; train it again or copy it again.")
    import keras

    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever its layers raise
        reason = one_line(error).split(". ")[0]  # the rest is advice to programmers
        raise InputError(
            f"{path} cannot be loaded as a Keras model ({reason}); train it again or copy it again."
        ) from None
    output = getattr(model, "output", None)  # some models raise AttributeError
    named = output if isinstance(output, dict) else {"output": output}
    named = {name: getattr(tensor, "shape", None) for name, tensor in named.items()}
    shapes = (getattr(model, "input_shape", None), named)
    count = (named.get("spread") or [None])[-1] or 0
    expected = {"key_points": (None, 2 * count), "spread": (None, count)}
    if not count or shapes != ((None, SIZE, SIZE, 1), expected):
        raise InputError(
            f"{path} maps {shapes[0]} to {shapes[1]}; a model of this project maps"
            f" (None, {SIZE}, {SIZE}, 1) to key_points (None, 2 K) and spread (None, K), as"
            f" {len(COLUMNS)} and {len(KEY_POINTS)}."
        )
    file = path.with_suffix(".json")
    try:
        record = json.loads(file.read_text()) if file.exists() else {}
        of_this = record.get("weights_sha256") in (None, weights_digest(model))
        names = names_of(model, record if of_this else {})
        mirror_partners(names)  # ValueError if one is missing
        if not count == len(names) == len(set(names)):
            raise ValueError
    except (OSError, ValueError, AttributeError, TypeError):
        raise InputError(
            f"{file} is not the JSON that model_builder.py wrote; delete it or copy it again."
        ) from None
    # A kill between the two files leaves an earlier model's record beside the new model.
    return model, record if of_this else {}


def names_of(model, record):
    """The names of a loaded model's key points, (K,): its record's, else Kaggle's or numbers."""
    if record.get("key_points"):
        return tuple(record["key_points"])
    count = model.output["spread"].shape[-1]
    return KEY_POINTS if count == len(KEY_POINTS) else tuple(f"point_{k + 1}" for k in range(count))


def plot_training(path, history):
    """Picture the loss and the held-out RMSE in pixels over the epochs."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    epochs = [line["epoch"] for line in history]
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    left.plot(epochs, [line["loss"] for line in history], color="tab:blue")
    left.set(title="Training loss (augmented faces)", xlabel="epoch", ylabel="Huber loss, px²")
    right.plot(epochs, [line["validation_rmse_px"] for line in history], color="tab:red")
    final = history[-1]["validation_rmse_px"]
    right.set(title=f"Held-out RMSE: {final:.3f} px at the end", xlabel="epoch", ylabel="RMSE, px")
    for axes in (left, right):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}")
        axes.grid(alpha=0.3, which="both")
    replace_file(path, lambda file: figure.savefig(file, dpi=110))
    plt.close(figure)


def make_folder(path):
    """Make a folder and see to it that one can write there, before hours of training."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".probe.{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{path} cannot be written to ({reason}); choose another.") from None


def parse_arguments(argv):
    """The command line as an argparse namespace."""
    default = Settings()
    parser = argparse.ArgumentParser(
        description="Train a network that finds key points on 96x96 grey faces, and save it."
    )

    def add(flag, text, **options):
        shown = " (default: %(default)s)" if "default" in options else ""
        parser.add_argument(flag, help=text + shown, **options)

    add(
        "--data",
        "training CSVs in Kaggle's format, or with other key points as <name>_x and <name>_y,"
        " plain, .gz or .zip; the first sets which points there are and what they mean"
        " (default: data/training.csv, .csv.gz or .zip, else made-up faces)",
        nargs="+",
        type=Path,
        metavar="PATH",
    )
    add("--model", "where to save (default: models/my_model.keras)", type=Path)
    add("--results", "folder of the log and its picture (default: results)", type=Path)
    add(
        "--init",
        "warm start: go on from this model's weights; key points that it does not know start anew",
        type=Path,
        metavar="MODEL",
    )
    add(
        "--alike",
        "key points that all files of --data mark at the same spot: they get no offset per file",
        nargs="+",
        default=[],
        metavar="NAME",
    )
    add(
        "--resume",
        "go on with a training that was stopped or killed, from its last finished epoch; give the"
        " same flags as then",
        action="store_true",
    )
    add(
        "--epochs",
        f"times through the data (default: {default.epochs}, on made-up faces {SYNTHETIC_EPOCHS})",
        type=positive(int),
    )
    add("--batch-size", "faces per step", type=positive(int), default=default.batch_size)
    add(
        "--learning-rate",
        "AdamW's step size at its peak",
        type=positive(float),
        default=default.learning_rate,
    )
    add("--seed", "of the split and of all that is random", type=natural, default=default.seed)
    add(
        "--validation-split",
        "share of the rows held out, near-identical pictures kept together",
        type=share,
        default=default.validation_split,
    )
    add(
        "--precision",
        "arithmetic of the training; auto: bfloat16 where the processor has it",
        choices=("auto", "float32", "bfloat16"),
        default="auto",
    )
    add("--complete-only", "drop the rows that lack a key point", action="store_true")
    add(
        "--dry-run",
        "the whole way on 64 rows in seconds; by default into models/dry_run.keras and"
        " results/dry_run, so that no real model is overwritten",
        action="store_true",
    )
    return parser.parse_args(argv)


def positive(kind):
    """An argparse type: a number of that kind, above zero and finite."""

    def number(text):
        value = kind(text)
        if not 0 < value < float("inf"):
            raise ValueError
        return value

    number.__name__ = f"positive {kind.__name__}"
    return number


def natural(text):
    """An argparse type: a whole number from 0."""
    value = int(text)
    if value < 0:
        raise ValueError
    return value


def share(text):
    """An argparse type: a number strictly between 0 and 1."""
    value = float(text)
    if not 0 < value < 1:
        raise ValueError
    return value


# Made-up faces: about as many as Kaggle's complete rows, for so long that all of it, making them
# included, stays well below five minutes on two cores (measured: 3 min 18 s).
SYNTHETIC_COUNT, SYNTHETIC_EPOCHS = 2000, 16


def find_data(name):
    """data/<name>.csv, .csv.gz or, as Kaggle packs it, .zip: the first that is there; else None."""
    endings = (".csv", ".csv.gz", ".zip", ".csv.zip")
    candidates = (HERE / "data" / f"{name}{ending}" for ending in endings)
    return next((path for path in candidates if path.exists()), None)


def run(arguments):
    """Load, split, train, save: what the command line asks for."""
    worker, workers = find_worker()
    if workers == 1:
        train_and_save(arguments)
        return
    import tensorflow as tf

    try:
        with redirect_stdout(None if worker else sys.stdout):  # one of them talking is enough
            train_and_save(arguments, worker, workers)
    except tf.errors.OpError as error:
        raise InputError(
            f"a worker is gone ({type(error).__name__} in TensorFlow), and the others cannot go on"
            " without it; start all of them again, with --resume if an epoch was finished."
        ) from None


def train_and_save(arguments, worker=0, workers=1):
    """`run` for one of several workers; only worker 0 writes anything."""
    folder = "dry_run" if arguments.dry_run else "."
    name = "dry_run.keras" if arguments.dry_run else "my_model.keras"
    model_path = arguments.model or HERE / "models" / name
    results = arguments.results or HERE / "results" / folder
    if model_path.suffix != ".keras":
        raise InputError(f"--model {model_path}: the name must end in .keras.")
    resume_path = model_path.with_suffix(".resume.npz")
    if arguments.resume and not resume_path.exists():
        raise InputError(f"{resume_path} does not exist: there is no training to resume.")
    strategy = join_workers() if workers > 1 else None  # before TensorFlow computes anything
    initial, initial_record = load_model(arguments.init) if arguments.init else (None, {})
    if not worker:
        make_folder(model_path.parent)
        make_folder(results)

    paths = arguments.data or [path for path in [find_data("training")] if path]
    settings = Settings(
        epochs=arguments.epochs or (Settings.epochs if paths else SYNTHETIC_EPOCHS),
        batch_size=arguments.batch_size,
        learning_rate=arguments.learning_rate,
        seed=arguments.seed,
        validation_split=arguments.validation_split,
        alike=tuple(arguments.alike),
    )
    if arguments.dry_run:
        size = 16 if workers == 1 else PART * workers
        settings = replace(settings, epochs=arguments.epochs or 2, batch_size=size)
    if paths:
        files = [load_training(paths[0], arguments.complete_only)]
        of_first = files[0].names
        files += [load_training(path, arguments.complete_only, of_first) for path in paths[1:]]
    else:
        print(
            f"{HERE / 'data' / 'training.csv'} is not there (data/README.md says where to get the"
            " real faces): training on made-up faces."
        )
        count = 64 * workers if arguments.dry_run else SYNTHETIC_COUNT
        files = [synthetic_faces(count, settings.seed)]
    names = files[0].names
    unknown = [name for name in settings.alike if name not in names]
    if unknown:
        raise InputError(f"--alike {unknown[0]}: {files[0].path} has no key point of that name.")
    if names != KEY_POINTS:
        print(f"{len(names)} key points by the header of {files[0].path}: {_some(names)}")
    if mirror_partners(names) is None:
        print("No key point has left or right in its name, so faces are not mirrored.")
        settings = replace(settings, flip=0.0)
    if initial:
        initial = started_from(arguments.init, initial, initial_record, names, settings.seed)
    from data import kaggle

    hands = [
        kaggle.first_rows(file.key_points) if file.names == KEY_POINTS else None for file in files
    ]
    if hands[0] and np.isfinite(files[0].key_points).all((1, 2)).any():
        print(
            f"{files[0].path} follows three conventions, from rows {_some(hands[0])} on; for one"
            " meaning per point train on what `python data/kaggle.py` makes of it."
        )
    faces = join_faces(files)
    repeated = sum(len(file.rows) for file in files) - len(faces.rows)
    if repeated:
        print(f"{repeated} repeated rows left out.")
    if arguments.dry_run:
        some = np.random.default_rng(settings.seed).permutation(len(faces.rows))[: 64 * workers]
        faces = faces.take(np.sort(some))

    training, validation = split_faces(
        faces, settings.validation_split, settings.further_split, settings.seed
    )
    precision = arguments.precision
    if precision == "auto":
        precision = "bfloat16" if has_bfloat16() else "float32"
    print(
        f"{len(training)} faces to train on, {len(validation)} held out; {settings.epochs} epochs"
        f" in {precision}, seed {settings.seed}.",
        flush=True,
    )

    held_out = faces.take(validation)
    record = {
        "settings": asdict(settings),
        "precision": precision,
        "complete_only": arguments.complete_only,
        "key_points": names,
        "mean_face": mean_face(faces.key_points[training]),
        "data": [
            {
                "path": str(file.path),
                "synthetic_faces": None if paths else len(file.rows),
                "faces": len(file.rows),
                "sha256": fingerprint(file),
                "first_rows": hands[i],  # of each hand that marked Kaggle's file
                # 0-based rows below the header, as pandas counts them
                "validation_rows": held_out.rows[held_out.file == i].tolist(),
            }
            for i, file in enumerate(files)
        ],
        "versions": versions(),
    }
    # What has to be the same for a training to be resumed.
    same = asdict(settings) | {
        "precision": precision,
        "init": weights_digest(initial) if initial else None,
        "data": [[data["sha256"], data["validation_rows"]] for data in record["data"]],
    }
    if resume_path.exists() and not arguments.resume:
        print(f"{resume_path} of an unfinished training is there: starting anew, without it.")
    outcome = train(
        faces.take(training),
        held_out,
        settings,
        precision,
        results / "training_log.csv",
        initial,
        Checkpoint(resume_path, same),
        arguments.resume,
        strategy,
        worker,
        workers,
    )
    if outcome is None:
        return
    model, history, few_points_offset = outcome
    finished = len(history) == settings.epochs
    if not finished and not unfinished(model_path):
        model_path = model_path.with_suffix(".stopped.keras")  # the earlier one is worth more
    scores = score_files(model, held_out, files, few_points_offset)
    record["few_points_offset"] = few_points_offset
    record["results"] = {
        "epochs": len(history),
        "validation": scores,
        "training_faces": len(training),
        "seconds": history[-1]["seconds"],
    }
    save_model(model, model_path, record)
    plot_training(results / "training_process.png", history)
    if not finished:
        raise KeyboardInterrupt(
            f"stopped; epoch {len(history)} of {settings.epochs} is saved as {model_path}. To go"
            " on, give the same command with --resume."
        )
    resume_path.unlink(missing_ok=True)
    print(f"saved {model_path} and, beside it, {model_path.with_suffix('.json').name}")
    for score in scores[1:] + scores[:1]:
        if len(scores) > 1:
            print(f"{score['path']}:")
        if score["faces"]:
            print(f"with the mirrored picture averaged in: {score['rmse_mirrored_px']:.3f} px")
            print(f"validation RMSE {score['rmse_px']:.3f} px on {score['faces']} faces")


def started_from(path, initial, record, names, seed):
    """The model at `path` made to fit the key points `names`; says which of them start anew.

    Raises InputError if it has another body than `build_model` gives.
    """
    import keras

    known = names_of(initial, record)
    new = [name for name in names if name not in known]
    if new:
        print(
            f"{path} does not know {len(new)} of the {len(names)} key points, which start anew:"
            f" {_some(new)}"
        )
    keras.utils.set_random_seed(seed)
    try:
        return warm_start(initial, known, names)
    except ValueError:
        raise InputError(
            f"{path} has other layers than the network that is trained; --init needs a model made"
            " by this model_builder.py."
        ) from None


def score_files(model, held_out, files, few_points_offset):
    """Held-out RMSE in pixels per file: each has its own convention, the model speaks the first's.

    The first file's rows of few points are judged with their offset (15 pairs of pixels, or None).

    Returns a list of dicts, one per file: path, faces, rmse_px, rmse_mirrored_px.
    """
    scores = []
    for i, file in enumerate(files):
        part = held_out.take(held_out.file == i)
        score = {"path": str(file.path), "faces": len(part.rows)}
        if score["faces"]:
            for name, mirror in (("rmse_px", False), ("rmse_mirrored_px", True)):
                found, _ = predict(model, part.pictures, mirror, names=part.names)
                if few_points_offset:
                    found[part.source < 0] += few_points_offset
                score[name] = rmse(found, part.key_points)
        scores.append(score)
    return scores


def versions():
    """The versions of Python and of the packages that a result depends on."""
    from importlib.metadata import version

    packages = ("tensorflow", "keras", "numpy", "pandas", "scikit-learn", "matplotlib")
    return {"python": sys.version.split()[0]} | {name: version(name) for name in packages}


def main(argv=None, parse=parse_arguments, work=run):
    """Run a script and turn what can go wrong into an exit status: 2 bad input, 130 Ctrl-C."""
    arguments = parse(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # `kill` is as gentle as Ctrl-C
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's start-up chatter
    try:
        work(arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"\n{str(stop) or 'stopped; the files from before are untouched.'}", file=sys.stderr)
        return 130
    except OSError as error:
        print(f"error: {error}; make room, or choose another folder.", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
