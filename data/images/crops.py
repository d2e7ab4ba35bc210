"""Crops of faces: a face in a photo is cropped to 96x96 pixels as the training's faces are.

A crop is described by its affine: the 2x3 matrix that maps its pixels to the photo's. Both are
counted from the center of the first pixel. Here every affine is a similarity transform.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from data.key_points import (
    KEY_POINTS,
    LEFT_EYE,
    MOUTH_CORNERS,
    RIGHT_EYE,
    SIZE,
    Names,
    eye_centres,
)
from data.system.files import InputError, record_path


def affines_from_boxes(boxes: np.ndarray) -> np.ndarray:
    """Affines (N, 2, 3) of upright 96x96 crops with the centers and areas of `boxes` (N, 4).

    A box is x, y, width and height in photo pixels, counted from its outer edge: 0 0 w h is all of
    a w x h photo.
    """
    x, y, w, h = np.asarray(boxes, np.float64).reshape(-1, 4).T
    scales = np.sqrt(w * h) / SIZE
    centers = np.stack([x + (w - 1) / 2, y + (h - 1) / 2], -1)
    return similarity_transforms(scales, 0 * scales, (SIZE - 1) / 2, centers)


# How the training's faces lie in their crops, measured on Kaggle's 2,140 complete faces: the mean
# of the 15 points is at (47.9, 47.3), +-1.2 and +-2.1 px; they are 26.5 px from it (root mean
# square, +-7 %); the line between the eyes is horizontal, +-4 degrees. So the second crop follows
# from the points of the first and hardly depends on the detector's box. For other key points than
# Kaggle's the mean face of their training takes the place of these numbers.
CENTER, RADIUS = np.array([47.9, 47.3]), 26.5


def mean_face_of(record: dict[str, Any], names: Names, model_path: Path) -> np.ndarray | None:
    """The mean face of a model's training, (K, 2) in pixels of the 96x96 crop, NaN where a point
    was never labelled.

    None for Kaggle's key points (with left as the subject's left), if all were labelled: `CENTER`
    and `RADIUS` crop those. Raises InputError if the model's record has no mean face that faces can
    be cropped by.
    """
    try:
        mean_face = np.array(record["mean_face"], np.float64).reshape(len(names), 2)
    except (KeyError, TypeError, ValueError):
        mean_face = np.full((len(names), 2), np.nan)
    never = list(record.get("never_labelled") or ())
    mean_face[[name in never for name in names]] = np.nan
    # Where left is the viewer's, the rule for Kaggle's points would turn every crop upside down.
    if names == KEY_POINTS and not never and not left_is_viewers(names, mean_face):
        return None
    if len(names) - len(never) < 2:
        raise InputError(
            f"{model_path} finds only one point of a face, but --image and --video crop faces by"
            " two or more; choose another model by --model, or train one on labels of more points."
        )
    if len(np.unique(mean_face[np.isfinite(mean_face).all(1)], axis=0)) < 2:
        raise InputError(
            f"{record_path(model_path)} has no mean face of two points or more, by which --image"
            " and --video crop faces; copy the one that was written with the model, or train again."
        )
    return mean_face


def left_is_viewers(names: Names, mean_face: np.ndarray | None) -> bool:
    """Whether the eye centers in a mean face show that "left" in the names is the viewer's left."""
    eyes = eye_centres(names)
    return bool(eyes and mean_face is not None and mean_face[eyes[0], 0] < mean_face[eyes[1], 0])


def affines_from_points(points: np.ndarray, mean_face: np.ndarray | None = None) -> np.ndarray:
    """Affines (N, 2, 3) of crops in which the faces with these points lie as in the training.

    Args:
        points: (N, K, 2) in photo pixels.
        mean_face: as from `mean_face_of`; the crops are those in which it fits the points best
            (least squares), without the points that it lacks; their scale is at least 0.9 times the
            ratio of the radii. None: by the center, radius, eyes and mouth of Kaggle's 15 points.
    """
    if mean_face is not None:
        known = np.isfinite(mean_face).all(1)
        anchor, centers = mean_face[known].mean(0), points[:, known].mean(1)
        template = (mean_face[known] - anchor) @ (1, 1j)
        found = (points[:, known] - centers[:, None]) @ (1, 1j)
        factors = found @ template.conj() / (np.abs(template) ** 2).sum()
        # Profiles fit so poorly that the least-squares scale is little more than half of others'.
        radii = np.linalg.norm(found, axis=1) / np.linalg.norm(template)
        scales = np.maximum(np.abs(factors), 0.9 * radii)
        return similarity_transforms(scales, np.angle(factors), anchor, centers)
    centers = points.mean(1)
    radii = np.sqrt(((points - centers[:, None]) ** 2).sum(-1).mean(1))
    return similarity_transforms(radii / RADIUS, _angles(points), CENTER, centers)


def _angles(points: np.ndarray) -> np.ndarray:
    """Roll angles (N,) from Kaggle's 15 points (N, 15, 2): of the line between the eyes or, in
    profiles, where that line is too short to be reliable, of the line from eyes to mouth."""
    left, right = points[:, LEFT_EYE], points[:, RIGHT_EYE]
    across = (left - right) @ (1, 1j)
    down = (points[:, MOUTH_CORNERS].mean(1) - (left + right) / 2) @ (1, 1j)
    width, height = (np.maximum(np.abs(line), 1e-9) for line in (across, down))
    # Medians of rendered heads: 0.87 from the front, 0.35 at a yaw of 58 degrees, 0.2 at 70.
    share = np.clip((width / height - 0.2) / 0.15, 0, 1)
    both = share * across / width + (1 - share) * down / (1j * height)
    return np.where(share < 1, np.angle(both), np.angle(across))


def similarity_transforms(
    scales: np.ndarray, angles: np.ndarray, anchor: Any, centers: np.ndarray
) -> np.ndarray:
    """Affines (N, 2, 3) that scale by (N,), rotate by (N,) and map `anchor` (2,) to `centers`
    (N, 2). Angles are in radians, clockwise as one sees the photo."""
    cos, sin = scales * np.cos(angles), scales * np.sin(angles)
    linear = np.stack([cos, -sin, sin, cos], -1).reshape(-1, 2, 2)
    offsets = centers - linear @ np.broadcast_to(anchor, 2)
    return np.concatenate([linear, offsets[..., None]], -1)


def transform_points(points: np.ndarray, affines: np.ndarray) -> np.ndarray:
    """Points (N, K, 2) in crops with these affines (N, 2, 3), in photo pixels (N, K, 2)."""
    return points @ affines[:, :, :2].transpose(0, 2, 1) + affines[:, None, :, 2]


def affine_scales(affines: np.ndarray) -> np.ndarray:
    """The side of a pixel of each crop, by its affine (N, 2, 3), in photo pixels, (N,)."""
    return np.sqrt(np.linalg.det(affines[:, :, :2]))


def boxes_from_affines(affines: np.ndarray) -> np.ndarray:
    """Boxes (N, 4), x y w h in photo pixels, of 96x96 crops: undoes `affines_from_boxes`.

    Of a rotated crop: the upright square of its center and side.
    """
    side = SIZE * affine_scales(affines)
    return np.column_stack([affine_centers(affines) - (side[:, None] - 1) / 2, side, side])


def affine_centers(affines: np.ndarray) -> np.ndarray:
    """The center of each 96x96 crop, by its affine (N, 2, 3), in photo pixels, (N, 2)."""
    return transform_points(np.full((len(affines), 1, 2), (SIZE - 1) / 2), affines)[:, 0]


def cut_crop(grey: np.ndarray, affine: np.ndarray, size: int = SIZE) -> np.ndarray:
    """The crop, float32 (size, size), with this affine (2, 3) of grey values (H, W) uint8.

    Large faces are shrunk by area averaging: the photo first to a half, a third and so on, so that
    about two of its pixels are left for each pixel of the crop, then the samples to their mean.
    Beyond the photo its border pixels are repeated.
    """
    from PIL import Image

    linear, origin = affine[:, :2], affine[:, 2]
    scale = float(np.sqrt(np.linalg.det(linear)))
    coarse = max(1, round(scale / 2))
    fine = max(1, round(scale / coarse))
    # From here on counted from pixels' edges, as Pillow does.
    origin = origin + 0.5 - linear.sum(1) / 2
    corners = origin + np.array([(0, 0), (0, 1), (1, 0), (1, 1)]) * size @ linear.T
    first = np.floor(corners.min(0)).astype(int) - 2 * coarse
    last = np.ceil(corners.max(0)).astype(int) + 2 * coarse
    limit = np.array(grey.shape[::-1])
    x0, y0 = start = np.clip(first, 0, limit - 1)
    x1, y1 = stop = np.clip(last, start + 1, limit)
    part = Image.fromarray(np.ascontiguousarray(grey[y0:y1, x0:x1])).reduce(coarse)
    before, after = -(-np.stack([start - first, last - stop]) // coarse)
    padding = [(int(before[axis]), int(after[axis])) for axis in (1, 0)]
    # As floats: of integers Pillow would cut off the fractions of the means.
    part = Image.fromarray(np.pad(np.asarray(part, np.float32), padding, "edge"))
    origin = (origin - start) / coarse + before
    coefficients = np.column_stack([linear / (fine * coarse), origin]).ravel().tolist()
    samples = part.transform(
        (size * fine, size * fine), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR
    )
    return np.array(samples.reduce(fine))
