"""A face's columns in the tables of photos and videos."""

from __future__ import annotations

import numpy as np

from data.images.aligned_crops import MATRIX_COLUMNS, matrix_fields
from data.key_points import output_columns, three_decimals
from data.system.files import InputError
from models.detect.search import Detections
from models.pose.least_squares import HeadPoses
from models.pose.mean_head import mean_head
from models.storage import Landmarker

BOX_COLUMNS = ["box_x", "box_y", "box_w", "box_h"]
POSE_COLUMNS = list(HeadPoses._fields[:6])  # yaw, pitch, roll, and the spread of each


def finds_poses(landmarker: Landmarker) -> bool:
    """Whether enough of the model's key points have a known place on the mean head."""
    found = tuple(landmarker.labelled.tolist())
    return mean_head(landmarker.names, landmarker.mean_face, found) is not None


def check_poses(landmarker: Landmarker) -> None:
    """Raise InputError if `--axes` has no poses to draw."""
    if not finds_poses(landmarker):
        raise InputError(
            "--axes draws how heads are turned, which needs five of the 15 or 68 key points, not"
            " all in one plane; this model finds fewer: choose another one by --model."
        )


def face_columns(landmarker: Landmarker, crop_size: int) -> list[str]:
    """Box, key points and their spread; with aligned crops their affines follow, last the pose,
    where the model's key points show it."""
    columns = [*BOX_COLUMNS, *output_columns(landmarker.names)]
    columns += MATRIX_COLUMNS if crop_size else []
    return columns + (POSE_COLUMNS if finds_poses(landmarker) else [])


def face_fields(faces: Detections, affines: np.ndarray | None) -> list[list[str]]:
    """The fields of those columns for each face, lengths in pixels of the photo, angles in degrees.

    `affines` (N, 2, 3) of the aligned crops, if wanted.
    """
    points = faces.points.reshape(len(faces), 2 * len(faces.names))
    values = np.column_stack([faces.boxes, points, faces.spread_in_photo])
    rows = [three_decimals(row) for row in values]
    if affines is not None:
        rows = [[*row, *fields] for row, fields in zip(rows, matrix_fields(affines), strict=True)]
    poses = faces.head_poses
    if poses is not None:
        angles = np.column_stack(poses[: len(POSE_COLUMNS)])
        rows = [[*row, *three_decimals(a)] for row, a in zip(rows, angles, strict=True)]
    return rows
