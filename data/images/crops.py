"""Crops of faces: a face in a photo is cropped to 96x96 as the training's faces are.

The network predicts in the crop, a second crop is laid round the points found, and the network
predicts once more. A crop's affine is the 2x3 matrix from its pixels to the photo's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from data.key_points import KEY_POINTS, LEFT_EYE, RIGHT_EYE, SIZE, Names
from data.system.files import InputError, record_path


def affines_from_boxes(boxes: np.ndarray) -> np.ndarray:
    """Crops (N, 2, 3) of the squares with the centres and areas of `boxes` (N, 4): x y w h, pixels.

    A crop maps a place in the 96x96 crop to one in the photo, both counted from the centre of the
    first pixel; a box is counted from its outer edge, so that 0 0 w h is all of a w x h photo.
    """
    x, y, w, h = np.asarray(boxes, np.float64).reshape(-1, 4).T
    scale = np.sqrt(w * h) / SIZE
    middle = np.stack([x + (w - 1) / 2, y + (h - 1) / 2], -1)
    return similarity_transforms(scale, 0 * scale, (SIZE - 1) / 2, middle)


# What "as the training's faces are" means, measured on Kaggle's 2,140 complete faces: the mean of
# the 15 points is at (47.9, 47.3), +-1.2 and +-2.1 px; they are 26.5 px from it (root mean square,
# +-7 %); the eyes are level, +-4 degrees. So the second crop follows from the points of the first
# and hardly depends on the detector's box any more. For other key points than Kaggle's the mean
# face of their training says it.
CENTRE, RADIUS = np.array([47.9, 47.3]), 26.5


def mean_face_of(record: dict[str, Any], names: Names, model_path: Path) -> np.ndarray | None:
    """The mean face of the training, (K, 2) pixels of its crops; None for Kaggle's key points,
    if their left is the subject's.

    Raises InputError if the model's record has none that crops can be laid by.
    """
    try:
        face = np.array(record["mean_face"], np.float64).reshape(len(names), 2)
    except (KeyError, TypeError, ValueError):
        face = np.full((len(names), 2), np.nan)
    # By eyes that stand the other way round, where left is the viewer's, none would be upright.
    if names == KEY_POINTS and not face[LEFT_EYE, 0] < face[RIGHT_EYE, 0]:
        return None
    if len(np.unique(face[np.isfinite(face).all(1)], axis=0)) < 2:
        raise InputError(
            f"{record_path(model_path)} has no mean face of two points or more, by which"
            " --image crops photos; copy the one that was written with the model, or train again."
        )
    return face


def affines_from_points(points: np.ndarray, face: np.ndarray | None = None) -> np.ndarray:
    """Upright crops as trained (N, 2, 3) round predicted points (N, K, 2), in photo pixels.

    `face` as from `mean_face_of`; the crops are those in which it lies best (least squares) on the
    points.
    """
    if face is not None:
        known = np.isfinite(face).all(1)
        anchor, middle = face[known].mean(0), points[:, known].mean(1)
        mean_face = (face[known] - anchor) @ (1, 1j)
        found = (points[:, known] - middle[:, None]) @ (1, 1j)
        turn = found @ mean_face.conj() / (np.abs(mean_face) ** 2).sum()
        return similarity_transforms(np.abs(turn), np.angle(turn), anchor, middle)
    middle = points.mean(1)
    radius = np.sqrt(((points - middle[:, None]) ** 2).sum(-1).mean(1))
    across = points[:, LEFT_EYE] - points[:, RIGHT_EYE]
    angle = np.arctan2(across[:, 1], across[:, 0])
    return similarity_transforms(radius / RADIUS, angle, CENTRE, middle)


def similarity_transforms(
    scale: np.ndarray, angle: np.ndarray, anchor: Any, places: np.ndarray
) -> np.ndarray:
    """Matrices (N, 2, 3) that scale and turn by (N,) and take `anchor` (2,) to `places` (N, 2)."""
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.stack([cos, -sin, sin, cos], -1).reshape(-1, 2, 2)
    offset = places - linear @ np.broadcast_to(anchor, 2)
    return np.concatenate([linear, offset[..., None]], -1)


def transform_points(points: np.ndarray, crops: np.ndarray) -> np.ndarray:
    """Points (N, K, 2) of crops (N, 2, 3) as places in the photo."""
    return points @ crops[:, :, :2].transpose(0, 2, 1) + crops[:, None, :, 2]


def affine_scales(crops: np.ndarray) -> np.ndarray:
    """How many photo pixels wide a pixel of each crop (N, 2, 3) is, (N,)."""
    return np.sqrt(np.linalg.det(crops[:, :, :2]))


def boxes_from_affines(crops: np.ndarray) -> np.ndarray:
    """Boxes (N, 4), x y w h in pixels, of crops: `affines_from_boxes` the other way round."""
    side = SIZE * affine_scales(crops)
    return np.column_stack([affine_centers(crops) - (side[:, None] - 1) / 2, side, side])


def affine_centers(crops: np.ndarray) -> np.ndarray:
    """Where the middle of each crop (N, 2, 3) is in the photo, (N, 2)."""
    return transform_points(np.full((len(crops), 1, 2), (SIZE - 1) / 2), crops)[:, 0]


def cut_crop(grey: np.ndarray, crop: np.ndarray, size: int = SIZE) -> np.ndarray:
    """The crop, float32 (size, size), of a photo's grey values (H, W) uint8.

    Large faces are shrunk by area averaging: to half the photo's pixels, a third and so on where
    that leaves about two for each of the crop's, of which each then is the mean. The photo's border
    is continued.
    """
    from PIL import Image

    linear, origin = crop[:, :2], crop[:, 2]
    scale = float(np.sqrt(np.linalg.det(linear)))
    coarse = max(1, round(scale / 2))
    fine = max(1, round(scale / coarse))
    # Places are counted from pixels' edges from here on, as Pillow counts them.
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
    # As floats: of whole numbers Pillow would cut off the fractions of the means.
    part = Image.fromarray(np.pad(np.asarray(part, np.float32), padding, "edge"))
    origin = (origin - start) / coarse + before
    matrix = np.column_stack([linear / (fine * coarse), origin]).ravel().tolist()
    samples = part.transform(
        (size * fine, size * fine), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
    )
    return np.array(samples.reduce(fine))
