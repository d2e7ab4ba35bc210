"""Data augmentation: a random view of each face, with the key points transformed along.

Random numbers come from a NumPy generator that the caller seeds, so that a run can be repeated
with any Keras backend.
"""

from dataclasses import replace
from functools import cache

import numpy as np

from data.augment.occlusion import occlude
from data.key_points import KEY_POINTS, PARTNERS, SIZE, Names, mirror_partners
from data.settings import Settings


def draw_matrices(count: int, rng: np.random.Generator, settings: Settings) -> np.ndarray:
    """Random homographies, float64 (count, 3, 3): new point ~ A @ (x, y, 1).

    They rotate, scale, stretch, tilt in depth and mirror about the picture's centre, and shift.
    """
    angle = np.radians(np.clip(rng.normal(0, settings.rotation, count), -45, 45))
    size = np.exp(rng.normal(0, settings.scale, count))
    aspect = np.exp(rng.normal(0, settings.stretch, count))
    shear = rng.normal(0, settings.stretch, count)
    flip = np.where(rng.random(count) < settings.flip, -1.0, 1.0)
    zero = np.zeros(count)

    def matrix(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
        return np.stack([a, b, c, d], -1).reshape(count, 2, 2)

    rotation = matrix(np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle))
    linear = rotation @ matrix(size * aspect, shear, zero, size / aspect)
    linear = linear @ matrix(flip, zero, zero, zero + 1)
    middle = (SIZE - 1) / 2
    about_centre = np.tile(np.eye(3), (count, 1, 1))
    about_centre[:, :2, :2] = linear
    about_centre[:, :2, 2] = rng.normal(0, settings.shift, (count, 2))
    about_centre[:, 2, :2] = rng.normal(0, settings.perspective / middle, (count, 2))
    there = np.array([[1, 0, -middle], [0, 1, -middle], [0, 0, 1]])
    return np.linalg.inv(there) @ about_centre @ there


def warp(
    pictures: np.ndarray,
    key_points: np.ndarray,
    matrices: np.ndarray,
    partners: np.ndarray | None = PARTNERS,
) -> tuple[np.ndarray, np.ndarray]:
    """Warp pictures and key points by the same homographies.

    Args:
        pictures: (N, 96, 96) grey values.
        key_points: (N, K, 2) pixels.
        matrices: (N, 3, 3) as from `draw_matrices`; where they mirror, left and right points swap.
        partners: as from `mirror_partners`; None if no matrix mirrors.

    Returns:
        float32 pictures (N, 96, 96), their border pixels repeated outwards, and float32 key points.
    """
    moved = key_points @ matrices[:, :, :2].transpose(0, 2, 1) + matrices[:, None, :, 2]
    moved = moved[..., :2] / moved[..., 2:]
    if partners is not None:
        mirrored = np.linalg.det(matrices) < 0
        moved[mirrored] = moved[mirrored][:, partners]
    # From a pixel of the new picture back to its place in the old one.
    back = np.linalg.inv(matrices).astype(np.float32)
    y, x = np.mgrid[:SIZE, :SIZE].reshape(2, -1).astype(np.float32)
    pixels = np.stack([x, y, np.ones_like(x)])
    warped = np.empty((len(pictures), SIZE, SIZE), np.float32)
    for i, picture in enumerate(pictures):  # one by one, to stay in the processor's cache
        x, y, depth = back[i] @ pixels
        warped[i].reshape(-1)[:] = bilinear(picture, x / depth, y / depth)
    return warped, moved.astype(np.float32)


def bilinear(picture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Grey values float32 (M,) of a picture (96, 96) at the places x, y (M,), in pixels.

    Border pixels are repeated outwards. In NumPy: faster than TensorFlow's warp, and the same with
    every backend (JAX's silently ignores perspective).
    """
    x, y = (np.clip(place, 0, np.float32(SIZE - 1)) for place in (x, y))
    column, row = (np.minimum(place.astype(np.intp), SIZE - 2) for place in (x, y))
    x, y = x - column, y - row
    values, at = picture.reshape(-1).astype(np.float32), row * SIZE + column
    left, right, below = values[at], values[at + 1], at + SIZE
    upper = left + x * (right - left)
    left, right = values[below], values[below + 1]
    return upper + y * (left + x * (right - left) - upper)


@cache
def resizing(old: int, new: int) -> np.ndarray:
    """The matrix (new, old) float32 that resizes a column bilinearly, with antialiasing: triangles
    as wide as the coarser of the two grids, as in Pillow and TensorFlow."""
    centre = (np.arange(new)[:, None] + 0.5) * old / new - 0.5
    away = np.abs(np.arange(old) - centre) / max(old / new, 1)
    weights = np.maximum(1 - away, 0)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def box_blur(pictures: np.ndarray) -> np.ndarray:
    """Each pixel's mean with its neighbours, in float32 pictures (N, 96, 96)."""
    padded = np.pad(pictures, ((0, 0), (1, 1), (1, 1)))
    columns = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    sums = columns[..., :-2] + columns[..., 1:-1] + columns[..., 2:]
    share = np.full(SIZE, 1 / 3, np.float32)
    share[[0, -1]] = 1 / 2
    return sums * (share[:, None] * share)


def relight(pictures: np.ndarray, rng: np.random.Generator, settings: Settings) -> np.ndarray:
    """Change sharpness, resolution, contrast, brightness, gamma, light and noise; (N, 96, 96)."""
    count, strength = len(pictures), settings.relight

    def draw(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, (count, 1, 1)).astype(np.float32)

    pictures = pictures + draw(-0.5, 1) * (box_blur(pictures) - pictures)
    low = np.flatnonzero(rng.random(count) < settings.low_resolution)
    if low.size:
        coarse = int(rng.choice([24, 32, 48]))
        there, back = resizing(SIZE, coarse), resizing(coarse, SIZE)
        pictures[low] = back @ (there @ pictures[low] @ there.T) @ back.T
    gamma = np.exp(strength * draw(-0.35, 0.35))
    pictures = 255 * (np.clip(pictures, 0, 255) / 255) ** gamma
    mean = pictures.mean((1, 2), keepdims=True)
    pictures = (pictures - mean) * np.exp(strength * draw(-0.5, 0.4)) + mean
    across = np.linspace(-19, 19, SIZE, dtype=np.float32)
    pictures += strength * (draw(-30, 30) + draw(-1, 1) * across + draw(-1, 1) * across[:, None])
    pictures += draw(0, settings.noise) * rng.standard_normal(pictures.shape, np.float32)
    return np.clip(pictures, 0, 255)


def augment(
    pictures: np.ndarray,
    key_points: np.ndarray,
    rng: np.random.Generator,
    settings: Settings,
    names: Names = KEY_POINTS,
) -> tuple[np.ndarray, np.ndarray]:
    """A new random view of each face.

    Args:
        pictures: uint8 (N, 96, 96).
        key_points: float32 (N, K, 2) in pixels, NaN where not labelled.
        rng: a numpy.random.Generator; the same state gives the same view.
        settings: of the augmentation.
        names: of the key points; without left and right in them no picture is mirrored.

    Returns:
        float32 pictures (N, 96, 96), 0 .. 255, and float32 key points (N, K, 2).
    """
    partners = mirror_partners(names)
    if partners is None:
        settings = replace(settings, flip=0.0)
    matrices = draw_matrices(len(pictures), rng, settings)
    pictures, key_points = warp(pictures, key_points, matrices, partners)
    occlude(pictures, key_points, rng, settings, names)  # before `relight`: noise lies over it too
    return relight(pictures, rng, settings), key_points
