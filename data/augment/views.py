"""Data augmentation: a new random view of each face, with the key points moved along.

Random numbers are drawn in NumPy from a generator that the caller seeds per epoch, so that a run
can be repeated, with whatever backend Keras trains.
"""

from dataclasses import dataclass, replace
from functools import cache
from typing import TypeVar

import numpy as np

from data.augment.occlusion import Occlusion, occlude
from data.key_points import KEY_POINTS, PARTNERS, SIZE, Names, mirror_partners


@dataclass(frozen=True)
class Augmentation(Occlusion):
    """Where the pictures come from is where they fail: what is moved and relit, and how far."""

    flip: float = 0.5  # probability of the mirrored picture (left and right points swap)
    rotation: float = 12.0  # degrees, standard deviation; heads in the wild tilt more than Kaggle's
    scale: float = 0.08  # log scale, standard deviation; so much do face detectors' boxes vary
    stretch: float = 0.04  # log aspect ratio and shear, standard deviation: a poor man's yaw
    perspective: float = 0.06  # by how much nearer edges look larger, standard deviation
    shift: float = 4.0  # pixels, standard deviation
    relight: float = 1.0  # strength of the changes in contrast, brightness, gamma, light direction
    noise: float = 8.0  # grey values: the standard deviation is drawn from 0 to this
    low_resolution: float = 0.15  # share of the pictures brought down to 24, 32 or 48 pixels
    full_augmentation: int = 64  # epochs; shorter trainings see proportionally milder views: after
    # 32 epochs of Kaggle's faces the error is 1.00 px that way, and 1.10 with full strength


Knobs = TypeVar("Knobs", bound=Augmentation)


def milder(settings: Knobs, epochs: int) -> Knobs:
    """The settings with the augmentation that suits a training of so many epochs.

    Below `full_augmentation` epochs each knob is turned down in proportion: there is no time to
    learn the hard views, and none to learn the faces by heart.
    """
    strength = min(1, epochs / settings.full_augmentation)
    geometry = ("rotation", "scale", "stretch", "perspective", "shift")
    light = ("relight", "noise", "low_resolution")
    occlusion = ("cut_out", "sunglasses", "hat", "hair", "hand")
    knobs = (*geometry, *light, *occlusion)
    return replace(settings, **{knob: strength * getattr(settings, knob) for knob in knobs})


def draw_matrices(count: int, rng: np.random.Generator, settings: Augmentation) -> np.ndarray:
    """Random maps of the picture plane, float64 (count, 3, 3): new point ~ A @ (x, y, 1).

    They turn, scale, stretch, tilt in depth and mirror about the picture's centre, and shift.
    """
    angle = np.radians(np.clip(rng.normal(0, settings.rotation, count), -45, 45))
    size = np.exp(rng.normal(0, settings.scale, count))
    aspect = np.exp(rng.normal(0, settings.stretch, count))
    shear = rng.normal(0, settings.stretch, count)
    flip = np.where(rng.random(count) < settings.flip, -1.0, 1.0)
    zero = np.zeros(count)

    def matrix(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
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


def warp(
    pictures: np.ndarray,
    key_points: np.ndarray,
    matrices: np.ndarray,
    partners: np.ndarray | None = PARTNERS,
) -> tuple[np.ndarray, np.ndarray]:
    """Move pictures and key points together.

    Args:
        pictures: (N, 96, 96) grey values.
        key_points: (N, K, 2) pixels.
        matrices: (N, 3, 3) as from `draw_matrices`; where they mirror, left and right points swap.
        partners: as from `mirror_partners`; None if no matrix mirrors.

    Returns:
        float32 pictures (N, 96, 96), the border continued outwards, and float32 key points.
    """
    moved = key_points @ matrices[:, :, :2].transpose(0, 2, 1) + matrices[:, None, :, 2]
    moved = moved[..., :2] / moved[..., 2:]
    if partners is not None:
        mirrored = np.linalg.det(matrices) < 0
        moved[mirrored] = moved[mirrored][:, partners]
    # The way back, from a pixel of the new picture to its place in the old one.
    back = np.linalg.inv(matrices).astype(np.float32)
    y, x = np.mgrid[:SIZE, :SIZE].reshape(2, -1).astype(np.float32)
    pixels = np.stack([x, y, np.ones_like(x)])
    warped = np.empty((len(pictures), SIZE, SIZE), np.float32)
    for i, picture in enumerate(pictures):  # one by one: what is read and written stays in cache
        x, y, depth = back[i] @ pixels
        warped[i].reshape(-1)[:] = bilinear(picture, x / depth, y / depth)
    return warped, moved.astype(np.float32)


def bilinear(picture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Grey values float32 (M,) of a picture (96, 96) at the places x, y (M,), in pixels.

    Beyond the border it goes on as there. In NumPy: faster than TensorFlow's warp, and the same
    with every backend (JAX's leaves perspective out, silently).
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
    """The matrix (new, old) float32 that resizes a column bilinearly, smoothing where it shrinks:
    triangles as wide as the coarser of the two grids, as Pillow and TensorFlow (antialias) do."""
    centre = (np.arange(new)[:, None] + 0.5) * old / new - 0.5
    away = np.abs(np.arange(old) - centre) / max(old / new, 1)
    weights = np.maximum(1 - away, 0)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def box_blur(pictures: np.ndarray) -> np.ndarray:
    """Each pixel's mean with its neighbours in float32 pictures (N, 96, 96), as many as it has."""
    padded = np.pad(pictures, ((0, 0), (1, 1), (1, 1)))
    columns = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    sums = columns[..., :-2] + columns[..., 1:-1] + columns[..., 2:]
    share = np.full(SIZE, 1 / 3, np.float32)
    share[[0, -1]] = 1 / 2
    return sums * (share[:, None] * share)


def relight(pictures: np.ndarray, rng: np.random.Generator, settings: Augmentation) -> np.ndarray:
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
    settings: Augmentation,
    names: Names = KEY_POINTS,
) -> tuple[np.ndarray, np.ndarray]:
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
