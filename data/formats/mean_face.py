"""Where labelled faces lie in their 96x96 crops: the mean face of their points says it.

A crop is an upright square. It is placed so that its face's points have the center and the size
that they have in the mean face of all labels, and that mean face lies in the crop as Kaggle's faces
do, from the forehead to the chin: that is what the search in photos delivers, whatever the points.
"""

from __future__ import annotations

import re

import numpy as np

from data.images.crops import affines_from_boxes, similarity_transforms
from data.key_points import KEY_POINTS, SIZE, Names

# The mean of Kaggle's 2,140 complete faces, in pixels of the crop.
KAGGLES = dict(
    zip(
        KEY_POINTS,
        [(66.2, 36.8), (29.6, 37.1), (59.3, 37.9), (73.4, 37.6), (36.6, 37.9), (22.4, 38.0)]
        + [(56.1, 29.2), (79.6, 29.7), (39.3, 29.4), (15.8, 30.5), (48.0, 57.3), (63.4, 75.9)]
        + [(33.0, 76.1), (48.1, 72.7), (48.1, 82.6)],
        strict=True,
    )
)
# Other names of some of these points, without their blanks, underscores and capitals.
OTHER_NAMES = {
    "lefteye": "left_eye_center",
    "eyeleft": "left_eye_center",
    "leftpupil": "left_eye_center",
    "righteye": "right_eye_center",
    "eyeright": "right_eye_center",
    "rightpupil": "right_eye_center",
    "nose": "nose_tip",
    "leftmouth": "mouth_left_corner",
    "mouthleft": "mouth_left_corner",
    "leftmouthcorner": "mouth_left_corner",
    "rightmouth": "mouth_right_corner",
    "mouthright": "mouth_right_corner",
    "rightmouthcorner": "mouth_right_corner",
} | {name.replace("_", ""): name for name in KEY_POINTS}

# Where no name says where the points are: the middle of their bounding box in the crop, and its
# longer side, in pixels; as Kaggle's points from the brows to the mouth, or as points along the
# chin and the cheeks as well, which more than CONTOUR points are taken for.
MIDDLE, LONGER_SIDE, WITH_CHIN = np.array([48.0, 56.0]), 64.0, 84.0
CONTOUR = 50

MIN_RADIUS = 8.0  # pixels of the crop: labelled points nearer together do not tell a face's size
SAMPLE = 5000  # faces: more do not change a median
ROUNDS = 10


def known_places(names: Names) -> np.ndarray:
    """Where key points of these names lie in the crop, (K, 2); NaN for names that do not say it."""
    tidy = (re.sub(r"[^a-z0-9]", "", name.lower()) for name in names)
    places = [KAGGLES.get(OTHER_NAMES.get(name, ""), (np.nan, np.nan)) for name in tidy]
    return np.array(places, np.float64).reshape(len(names), 2)


def fit_center_and_radius(
    points: np.ndarray, template: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scale and shift a template so that its points have the faces' center and radius.

    Args:
        points: (N, K, 2), NaN where not labelled.
        template: (K, 2), NaN where not known.

    Returns:
        Scales (N,) and origins (N, 2): points are about `scale * template + origin`. And the
        radius, (N,), of the part of the template that a face has labelled: the root mean square
        distance from the center. NaN where that is not possible.
    """
    shared = np.isfinite(points).all(2) & np.isfinite(template).all(1)
    count = np.where(shared.any(1), shared.sum(1), np.nan)[:, None]
    centers, anchors = (
        np.where(shared[..., None], values, 0).sum(1) / count for values in (points, template)
    )
    radii, template_radii = (
        np.sqrt((np.where(shared[..., None], values - middle[:, None], 0) ** 2).sum((1, 2)))
        / np.sqrt(count[:, 0])
        for values, middle in ((points, centers), (template, anchors))
    )
    usable = (radii > 0) & (template_radii > 0)
    scales = np.divide(radii, template_radii, out=np.full(len(points), np.nan), where=usable)
    return scales, centers - scales[:, None] * anchors, template_radii


def mean_shape(points: np.ndarray) -> np.ndarray:
    """The median shape of faces (N, K, 2), brought to one center and size: (K, 2), NaN where a
    point is never labelled. All NaN if no face has two points.

    It begins with a face that has most points; the others are fitted to it, and it becomes their
    median, a few times.
    """
    points = points[:: max(1, len(points) // SAMPLE)]
    labelled = np.isfinite(points).all(2)
    count = labelled.sum(1)
    low, high = (np.where(labelled[..., None], points, edge) for edge in (np.inf, -np.inf))
    apart = (low.min(1) < high.max(1)).any(1)
    shape = np.full(points.shape[1:], np.nan)
    if not apart.any():
        return shape
    shape = points[np.argmax(np.where(apart, count, 0))]
    for _ in range(ROUNDS):
        scales, origins, _ = fit_center_and_radius(points, shape)
        fitted = (points - origins[:, None]) / scales[:, None, None]
        seen = np.isfinite(fitted).all(2).any(0)
        shape = np.full(points.shape[1:], np.nan)
        shape[seen] = np.nanmedian(fitted[:, seen], 0)
    return shape


def mean_face_in_crop(points: np.ndarray, names: Names) -> np.ndarray:
    """The mean face of labels, (K, 2), placed in the 96x96 crop.

    Args:
        points: (N, K, 2) in pixels of the photos, NaN where not labelled.
        names: of the K key points. Where two of them or more are among Kaggle's, in a usual
            spelling, those lie where Kaggle's do; else the bounding box of all decides.
    """
    shape, places = mean_shape(points), known_places(names)
    scales, origins, _ = fit_center_and_radius(places[None], shape)
    if np.isfinite(scales[0]):
        return scales[0] * shape + origins[0]
    known = shape[np.isfinite(shape).all(1)]
    if len(known) < 2:
        return places
    low, high = known.min(0), known.max(0)
    side = WITH_CHIN if len(names) > CONTOUR else LONGER_SIDE
    return MIDDLE + (shape - (low + high) / 2) * side / (high - low).max()


def affines_from_labels(points: np.ndarray, mean_face: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Affines (N, 2, 3) of the faces' upright crops; NaN where neither points nor box say it.

    Args:
        points: (N, K, 2) in pixels of the photo, NaN where not labelled.
        mean_face: (K, 2) as from `mean_face_in_crop`.
        boxes: (N, 4) x y w h, from the forehead to the chin, NaN where a face has none: they are
            used where a face has too few points.
    """
    scales, origins, radii = fit_center_and_radius(points, mean_face)
    middle = (SIZE - 1) / 2
    affines = similarity_transforms(
        scales, np.zeros(len(scales)), middle, origins + scales[:, None] * middle
    )
    few = ~(radii >= MIN_RADIUS) | ~np.isfinite(scales)
    affines[few] = affines_from_boxes(boxes[few])
    return affines
