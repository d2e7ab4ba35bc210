"""The step that all formats share: labelled photos become 96x96 pictures with key points."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from data.formats.labelme import read_embedded
from data.formats.labels import LabelledPhoto, LabelledPhotos
from data.formats.mean_face import affines_from_labels, mean_face_in_crop
from data.images.crops import cut_crop
from data.images.photos import read_photo
from data.key_points import SIZE, Names
from data.system.files import InputError, printable
from data.system.progress import follow

PART = 256  # faces that are yielded at a time

INSIDE = 0.5  # share of a face's points that must be in the photo: some cut by its border have less


class CroppedFaces(NamedTuple):
    """Some faces of labelled photos, in their order."""

    pictures: np.ndarray  # uint8 (N, 96, 96)
    key_points: np.ndarray  # float32 (N, K, 2) in pixels of the crop, NaN = not labelled
    labels: np.ndarray  # text (N,): the photo and the number of the face in it
    photos: np.ndarray  # text (N,): the photo
    first: int  # the number of the first one in the whole, from 0
    names: Names


def crop_faces(labelled: LabelledPhotos) -> Iterator[CroppedFaces]:
    """Crop the faces of labelled photos, a few hundred at a time.

    Each photo is read once and let go: memory does not grow with their size or number. Faces and
    photos that cannot be used are printed and left out. Raises InputError if none is left.
    """
    placed, first, count = place_faces(labelled), 0, 0
    part: list[tuple[np.ndarray, np.ndarray, str, str]] = []  # as from `crop_photo`

    def whole() -> CroppedFaces:
        pictures, points, labels, photos = zip(*part, strict=True)
        return CroppedFaces(
            np.array(pictures),
            np.array(points),
            np.array(labels, object),
            np.array(photos, object),
            count,
            labelled.names,
        )

    without = 0
    for photo in follow(labelled.photos, "cropping faces, photo"):
        own = slice(first, first + len(photo.faces))
        first = own.stop
        faces = labelled.problems.collect(
            crop_photo, photo, labelled.names, placed.affines[own], placed.astray[own]
        )
        if faces is None:
            continue
        without += len(photo.faces) - len(faces)
        part += faces
        if len(part) >= PART:
            yield whole()
            count += len(part)
            part = []
    report(labelled, without, count + len(part))
    if part:
        yield whole()


def report(labelled: LabelledPhotos, without: int, used: int) -> None:
    """Print how much was left out. Raises InputError if there is nothing else."""
    problems = labelled.problems.found
    if not used:
        why = f", the first because: {problems[0]}" if problems else "; label some faces first."
        raise InputError(f"{labelled.path} has no face that can be used{why}")
    if problems:
        total = len(labelled.photos) + len(problems)
        print(
            f"{printable(labelled.path)}: {len(problems)} of at most {total:,} photos are left out,"
            " as said above; fix them, or delete their labels."
        )
    if without:
        print(
            f"{printable(labelled.path)}: {without} face(s) are left out: they have fewer than two"
            " points far enough apart, and no box."
        )


class PlacedFaces(NamedTuple):
    """Where all faces of labelled photos are cropped: at once, because one by one takes longer
    than decoding a small photo."""

    affines: np.ndarray  # (N, 2, 3) of the crops, NaN where nothing says it
    astray: np.ndarray  # int (N,): the key point that is nowhere near the others, -1: none is


def place_faces(labelled: LabelledPhotos) -> PlacedFaces:
    """Where the faces of labelled photos are cropped, by the mean face of all."""
    faces = [face for photo in labelled.photos for face in photo.faces]
    if not faces:
        return PlacedFaces(np.empty((0, 2, 3)), np.empty(0, int))
    points = np.array([face.points for face in faces], np.float64)
    points = points.reshape(len(faces), len(labelled.names), 2)
    none = np.full(4, np.nan)
    boxes = np.array([none if face.box is None else face.box for face in faces], np.float64)
    boxes = boxes.reshape(-1, 4)
    boxes[~(boxes[:, 2:] > 0).all(1)] = np.nan
    mean_face = mean_face_in_crop(points, labelled.names)
    affines = affines_from_labels(points, mean_face, boxes)
    return PlacedFaces(affines, find_astray(points, mean_face, affines, boxes))


def find_astray(
    points: np.ndarray, mean_face: np.ndarray, affines: np.ndarray, boxes: np.ndarray
) -> np.ndarray:
    """The key point of each face that is nowhere near the others, int (N,), or -1.

    Such a point would enlarge the crop until it is in it. So a face's outermost point must lie
    within a crop's side of the crop that the others give.

    Args:
        points, boxes: (N, K, 2) and (N, 4) of the faces.
        mean_face, affines: by which and with which they are cropped.
    """
    astray = np.full(len(points), -1)
    faces = np.flatnonzero(np.isfinite(points).all(2).any(1))
    if not faces.size:
        return astray
    each, others = np.arange(len(faces)), points[faces]
    distance = np.linalg.norm(others - np.nanmedian(others, axis=1, keepdims=True), axis=2)
    outermost = np.nanargmax(distance, axis=1)
    places = others[each, outermost]
    others[each, outermost] = np.nan
    crops = affines_from_labels(others, mean_face, boxes[faces])
    few = ~np.isfinite(crops).all((1, 2))
    crops[few] = affines[faces[few]]
    in_crop = (places - crops[:, :, 2]) / crops[:, 0, :1]
    far = (in_crop <= -SIZE).any(1) | (in_crop >= 2 * SIZE).any(1)
    astray[faces[far]] = outermost[far]
    return astray


def crop_photo(
    photo: LabelledPhoto, names: Names, affines: np.ndarray, astray: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray, str, str]]:
    """Picture, key points, the face's label and its photo for each face of a photo that can be
    cropped.

    Args:
        photo: as it is labelled.
        names: of the K key points.
        affines, astray: as in `PlacedFaces`, of its faces.

    Raises InputError if the photo is not the one that was labelled, or a label cannot be right.
    """
    if not photo.faces:
        return []
    cropped = []
    grey = read_grey(photo)
    points = np.array([face.points for face in photo.faces])
    check_inside(points, grey, photo)
    for face, point in enumerate(astray, 1):
        if point >= 0:
            raise InputError(
                f"{photo.labels}: {names[point]} of face {face} in {photo.name} is far from the"
                " other points; move it to the face."
            )
    where = f"{photo.labels} {photo.name}"
    for i, (face, affine) in enumerate(zip(points, affines, strict=True), 1):
        if not np.isfinite(affine).all() or not np.isfinite(face).any():
            continue
        in_crop = (face - affine[:, 2]) / affine[0, 0]
        crop = np.clip(np.rint(cut_crop(grey, affine)), 0, 255).astype(np.uint8)
        label = f"{printable(photo.name)}, face {i}"
        cropped.append((crop, in_crop.astype(np.float32), label, where))
    return cropped


def read_grey(photo: LabelledPhoto) -> np.ndarray:
    """The grey values of a photo, upright, uint8 (H, W). Raises InputError if it is not there, or
    has another size than when it was labelled."""
    if not photo.embedded and not photo.photo.is_file():
        raise InputError(
            f"{photo.labels}: the photo {photo.name} is not at {photo.photo}; put it there"
            " (for COCO and Label Studio, --images names their folder)."
        )
    picture = read_embedded(photo.labels) if photo.embedded else read_photo(photo.photo, grey=True)
    if photo.size not in (None, picture.size):
        say = "{}x{}".format
        (width, height), now = photo.size, picture.size
        turned = now == (height, width)
        fix = (
            "its EXIF orientation was changed or ignored when it was labelled: restore the photo"
            if turned
            else "it was scaled or cropped since it was labelled: restore the photo"
        )
        raise InputError(
            f"{photo.labels}: the photo {photo.name} was labelled with {say(width, height)} pixels,"
            f" but has {say(*now)} upright; {fix}, or label it again."
        )
    return np.asarray(picture)


def check_inside(points: np.ndarray, grey: np.ndarray, photo: LabelledPhoto) -> None:
    """Raise InputError if most points (N, K, 2) of a face are outside of its photo."""
    height, width = grey.shape
    inside = ((points >= -1) & (points <= (width, height))).all(2)
    labelled = np.isfinite(points).all(2)
    share = inside.sum(1) / np.maximum(labelled.sum(1), 1)
    wrong = np.flatnonzero(labelled.any(1) & (share < INSIDE))
    if wrong.size:
        x, y = points[wrong[0]][labelled[wrong[0]]][0]
        raise InputError(
            f"{photo.labels}: face {wrong[0] + 1} in {photo.name} is outside the photo, which has"
            f" {width}x{height} pixels: a point is at ({x:.0f}, {y:.0f}); label it"
            " again, or restore the photo that was labelled."
        )
