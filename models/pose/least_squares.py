"""How heads are turned and where they are, by weighted least squares from their key points.

A face's points are the mean head's in perspective: turned, scaled and shifted, with the head's own
shape. So the unknowns of a face are its turn, place, size and nearness, and how far its head
differs from the mean one along each principal component; the last two have a normal distribution
(priors). The weight of a point is one over its variance: its spread squared, and what the principal
components leave. A point far from where all the others want it is weighted as under Student's t
distribution. The standard deviations follow from the Jacobian, so they allow for a nose that
looks turned up because it is.

Angles are those of MediaPipe's facial transformation matrix: x to the picture's right, y up, z to
the viewer; the head is first pitched about x, then yawed about y, then rolled about z.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from models.pose.mean_head import MeanHead

# One over the distance from the camera to the head, in 1/cm: mean and standard deviation.
NEARNESS = 1 / 75, 1 / 120
LEAST_SPREAD = 0.3  # pixels of the crop that a point is off at least
FREEDOM = 6.0  # degrees of freedom of Student's t
# Calibrated on rendered heads (tests/benchmarks/head_pose.py --calibrate): the factors of the
# standard deviations of yaw, pitch and roll by which 90 % of the true turns lie within 1.645 of
# them. At a yaw of `TURNED` degrees they are twice as large: the errors of hidden points are
# correlated.
CALIBRATION = np.array([0.81, 0.87, 0.79])
TURNED = 50.0
STEPS, ENOUGH = 8, 5e-3  # at most, and the turn in radians after which no further one is needed
LARGEST_STEP = 0.6  # radians
TINY = 1e-9  # keeps faces without any size, which a useless model finds, from dividing by zero

# The unknowns: turn (3), logarithm of the scale, shift (2), nearness, shape (M).
SCALE, SHIFT, NEAR, SHAPE = 3, 4, 6, 7


class HeadPoses(NamedTuple):
    """How the heads of N faces are turned, in degrees, and where they are.

    Zero is the mean head that looks along the line to the camera. yaw > 0 turns it to the
    picture's right, pitch > 0 down, roll > 0 tilts it counter-clockwise in the picture.
    """

    yaw: np.ndarray  # (N,), -90 .. 90
    pitch: np.ndarray  # (N,), -180 .. 180
    roll: np.ndarray  # (N,), -180 .. 180
    yaw_spread: np.ndarray  # (N,): standard deviations
    pitch_spread: np.ndarray  # (N,)
    roll_spread: np.ndarray  # (N,)
    rotation: np.ndarray  # (N, 3, 3): roll about z @ yaw about y @ pitch about x
    position: np.ndarray  # (N, 2): the middle of the face, x and y in pixels of the photo
    scale: np.ndarray  # (N,): pixels of the photo for a centimetre of the mean head, there


def estimate_poses(
    points: np.ndarray, spread: np.ndarray, affines: np.ndarray, head: MeanHead
) -> HeadPoses:
    """The poses of N faces.

    Args:
        points: (N, K, 2) in pixels of the photo.
        spread: (N, K), standard deviations in pixels of the crop.
        affines: (N, 2, 3) of the faces' crops, from its pixels to the photo's.
        head: as from `mean_head`, for these K key points.
    """
    linear, origin = affines[:, :, :2], affines[:, :, 2]
    area = np.maximum(np.linalg.det(linear), TINY)[:, None, None]
    seen = (points[:, head.which] - origin[:, None]) @ linear / area
    sigma = np.hypot(spread[:, head.which], LEAST_SPREAD)
    rotation, scale, shift, covariance = fit_heads(seen * [1, -1], sigma, head)
    yaw, pitch, roll = angles = to_angles(rotation)
    deviations = np.sqrt(covariance_of_angles(angles, covariance).diagonal(0, 1, 2))
    deviations *= np.degrees(CALIBRATION) * (1 + (np.degrees(yaw) / TURNED) ** 2)[:, None]
    deviations = np.minimum(deviations, 180)
    # The crop is turned clockwise in the photo by this angle.
    turn = np.arctan2(linear[:, 1, 0], linear[:, 0, 0])
    roll = (roll - turn + np.pi) % (2 * np.pi) - np.pi
    position = (linear @ (shift * [1, -1])[..., None])[..., 0] + origin
    place = about_z(-turn) @ rotation, position, scale * np.sqrt(area[:, 0, 0])
    return HeadPoses._make([*np.degrees([yaw, pitch, roll]), *deviations.T, *place])


def fit_heads(
    seen: np.ndarray, sigma: np.ndarray, head: MeanHead
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Fit the mean head to points (N, P, 2), x to the right and y up, with deviations (N, P).

    Gauss and Newton's steps, from `first_guess` on. Returns rotations (N, 3, 3), scales (N,),
    shifts (N, 2), and the covariance of small further turns about x, y and z, (N, 3, 3).
    """
    count, (modes, places) = len(seen), head.modes.shape[:2]
    rotation, scale, shift = first_guess(seen, head)
    nearness, shape = np.full(count, NEARNESS[0]), np.zeros((count, modes))
    prior = np.diag([TINY] * NEAR + [1 / NEARNESS[1] ** 2] + [1.0] * modes)  # precision
    seen = seen.transpose(0, 2, 1)
    jacobian = np.zeros((count, 2, places, SHAPE + modes))
    by_row = count, 2 * places, SHAPE + modes
    for _ in range(STEPS):
        flat = project(head, rotation, scale, nearness, shape, jacobian)
        error = seen - flat - shift[..., None]
        weight = 1 / (sigma**2 + scale[:, None] ** 2 * head.rest)
        weight *= (FREEDOM + 2) / (FREEDOM + (error**2).sum(1) * weight)
        weighted = (jacobian * weight[:, None, :, None]).reshape(by_row).transpose(0, 2, 1)
        information = weighted @ jacobian.reshape(by_row) + prior
        pull = (weighted @ error.reshape(count, 2 * places, 1))[..., 0]
        pull[:, NEAR] -= (nearness - NEARNESS[0]) * prior[NEAR, NEAR]
        pull[:, SHAPE:] -= shape
        step = np.linalg.solve(information, pull[..., None])[..., 0]
        length = np.linalg.norm(step[:, :3], axis=1)
        rotation = small_turns(step[:, :3], length) @ rotation
        scale = scale * np.exp(np.clip(step[:, SCALE], -0.5, 0.5))
        shift = shift + step[:, SHIFT:NEAR]
        nearness = np.clip(nearness + step[:, NEAR], 0, 3 * NEARNESS[0])
        shape = shape + step[:, SHAPE:]
        if (length < ENOUGH).all():
            break
    return rotation, scale, shift, np.linalg.inv(information)[:, :3, :3]


def project(
    head: MeanHead,
    rotation: np.ndarray,
    scale: np.ndarray,
    nearness: np.ndarray,
    shape: np.ndarray,
    jacobian: np.ndarray,
) -> np.ndarray:
    """The places of N heads projected into the picture, (N, 2, P), before the shift.

    `jacobian` (N, 2, P, U) is filled in: by how much each of the unknowns would move them.
    """
    count, (modes, places) = len(rotation), head.modes.shape[:2]
    turned = (shape @ head.modes.reshape(modes, -1)).reshape(count, places, 3) + head.places
    turned = rotation @ turned.transpose(0, 2, 1)
    x, y, z = turned[:, 0], turned[:, 1], turned[:, 2]
    closer = 1 / (1 - nearness[:, None] * z)  # perspective
    enlarged = (scale[:, None] * closer)[:, None]
    flat = turned[:, :2] * enlarged
    # By how much turns about x, y and z and the head's shape move its places in 3-D.
    moves = np.zeros((count, 3, places, 3 + modes))
    moves[:, 0, :, 1], moves[:, 0, :, 2], moves[:, 1, :, 2] = z, -y, x
    moves[:, 1, :, 0], moves[:, 2, :, 0], moves[:, 2, :, 1] = -z, y, -x
    along_modes = rotation @ head.modes.transpose(2, 1, 0).reshape(3, -1)
    moves[..., 3:] = along_modes.reshape(count, 3, places, modes)
    nearer = flat * (closer * nearness[:, None])[:, None]
    change = enlarged[..., None] * moves[:, :2] + nearer[..., None] * moves[:, 2:]
    jacobian[..., :SCALE], jacobian[..., SHAPE:] = change[..., :3], change[..., 3:]
    jacobian[..., SCALE] = flat
    jacobian[:, 0, :, SHIFT] = jacobian[:, 1, :, SHIFT + 1] = 1
    jacobian[..., NEAR] = (closer * z)[:, None] * flat
    return flat


def first_guess(seen: np.ndarray, head: MeanHead) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rotations (N, 3, 3), scales (N,) and shifts (N, 2): those nearest to the affine map of the
    mean head that fits the points (N, P, 2) best."""
    center = seen.mean(1)
    affine = (seen - center[:, None]).transpose(0, 2, 1) @ head.inverse
    # Its two rows, made orthogonal and as long as each other: by the root of their products.
    products = affine @ affine.transpose(0, 2, 1)
    area = np.sqrt(np.linalg.det(products))[:, None, None]
    trace = products.trace(0, 1, 2)[:, None, None]
    root = (products + (area + TINY) * np.eye(2)) / np.sqrt(trace + 2 * area + TINY)
    rows = np.linalg.solve(root, affine)
    (a, b, c), (d, e, f) = rows.transpose(1, 2, 0)
    third = np.stack([b * f - c * e, c * d - a * f, a * e - b * d], -1)
    rotation = np.concatenate([rows, third[:, None]], 1)
    scale = root.trace(0, 1, 2) / 2
    return rotation, scale, center - scale[:, None] * (rows @ head.places.mean(0))


def small_turns(turns: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Rotations (N, 3, 3) about vectors (N, 3) by their length (N,), `LARGEST_STEP` at most."""
    angle = np.minimum(length, LARGEST_STEP)
    x, y, z = (turns / np.maximum(length, 1e-12)[:, None]).T
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(-1, 3, 3)
    sine, cosine = np.sin(angle)[:, None, None], np.cos(angle)[:, None, None]
    return np.eye(3) + sine * cross + (1 - cosine) * (cross @ cross)


def about_z(angles: np.ndarray) -> np.ndarray:
    """Rotations (N, 3, 3) about z, counter-clockwise as one sees the picture."""
    cos, sin, zero = np.cos(angles), np.sin(angles), np.zeros_like(angles)
    rows = [cos, -sin, zero, sin, cos, zero, zero, zero, zero + 1]
    return np.stack(rows, -1).reshape(-1, 3, 3)


def to_angles(rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Yaw, pitch and roll in radians, (N,) each, of rotations (N, 3, 3)."""
    yaw = np.arcsin(np.clip(-rotation[:, 2, 0], -1, 1))
    pitch = np.arctan2(rotation[:, 2, 1], rotation[:, 2, 2])
    return yaw, pitch, np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0])


def covariance_of_angles(
    angles: tuple[np.ndarray, np.ndarray, np.ndarray], covariance: np.ndarray
) -> np.ndarray:
    """The covariance (N, 3, 3) of yaw, pitch and roll, by that of small turns about x, y and z."""
    yaw, _, roll = angles
    cy, sy, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(roll), np.sin(roll)
    cy = np.copysign(np.maximum(np.abs(cy), 1e-3), cy)  # pitch and roll are one at 90 degrees
    zero, tangent = np.zeros_like(yaw), sy / cy
    rows = [-sr, cr, zero, cr / cy, sr / cy, zero, cr * tangent, sr * tangent, zero + 1]
    turns = np.stack(rows, -1).reshape(-1, 3, 3)
    return turns @ covariance @ turns.transpose(0, 2, 1)
