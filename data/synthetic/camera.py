"""The camera that takes a synthetic face: pose, framing, drawing, blur, exposure, noise, JPEG."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from data.key_points import SIZE
from data.synthetic.curves import bell, chance
from data.synthetic.head import AZIMUTHS
from data.synthetic.person import Person

CANVAS = 144  # faces are drawn larger and shrunk at the end
ZOOM = CANVAS / SIZE


def rotation_matrix(person: Person) -> np.ndarray:
    """(3, 3): head frame -> camera frame; yaw, then pitch, then roll."""
    (ca, sa), (cp, sp), (cr, sr) = (
        (np.cos(angle), np.sin(angle)) for angle in (person.yaw, person.pitch, person.roll)
    )
    yaw = np.array([[ca, 0, sa], [0, 1, 0], [-sa, 0, ca]])
    pitch = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    roll = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return (roll @ pitch @ yaw).astype(np.float32)


def frame_face(
    points: np.ndarray, rotation: np.ndarray, rng: np.random.Generator
) -> tuple[float, np.ndarray]:
    """Scale and shift (2,), in picture pixels, that frame the face as Kaggle's faces are framed."""
    flat = points @ rotation[:2].T
    middle = flat.mean(0)
    spread = np.sqrt(np.square(flat - middle).sum(1).mean())
    scale = 26.6 / spread * np.exp(rng.normal(0, 0.06))
    anchor = 0.6 * flat[:2].mean(0) + 0.4 * middle
    target = np.array([48.0, 41.2]) + rng.normal(0, 1.5, 2)
    return float(scale), (target - scale * anchor).astype(np.float32)


@lru_cache(maxsize=1)
def canvas_grid() -> tuple[np.ndarray, np.ndarray]:
    """The canvas pixels' x (1, N) and y (N, 1) in pixels of the picture."""
    place = ((np.arange(CANVAS, dtype=np.float32) + 0.5) / ZOOM - 0.5)[None]
    return place, place.T


def to_canvas(place: np.ndarray) -> np.ndarray:
    """Coordinates in picture pixels -> the same in pixels of the canvas."""
    return ZOOM * (place + 0.5) - 0.5


def rasterise(
    value: np.ndarray, x: np.ndarray, y: np.ndarray, person: Person, canvas: np.ndarray
) -> np.ndarray:
    """Draw the head's values at x, y (pixels of the canvas, a square) over it, near parts last.

    Seen from azimuth -yaw, of two surface points on one ray the nearer is the one at the azimuth
    nearer to that, so that drawing the columns in this order hides what is hidden.
    """
    columns = np.argsort(-np.abs(AZIMUTHS + person.yaw))
    rows = slice(None) if person.pitch > 0 else slice(None, None, -1)
    pixel_x, pixel_y = np.rint(x).astype(np.int32), np.rint(y).astype(np.int32)
    side = len(canvas)
    out = (pixel_x < 0) | (pixel_x >= side) | (pixel_y < 0) | (pixel_y >= side)
    pixel = np.where(out, side * side, pixel_y * side + pixel_x)
    drawn = np.full(side * side + 1, -1, np.float32)
    drawn[pixel.T[columns][:, rows].ravel()] = value.T[columns][:, rows].ravel()
    head: np.ndarray = drawn[:-1].reshape(side, side)
    # Close the one-pixel gaps that are left between neighbouring surface points.
    for axis, way in ((0, 1), (1, 1), (0, -1), (1, -1)):
        head = np.where(head < 0, np.maximum(np.roll(head, way, axis), head), head)
    return np.where(head < 0, canvas, head)


def photograph(canvas: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Canvas -> uint8 picture (96, 96): blur, exposure, noise, JPEG."""
    blur = int(rng.choice([4, 5, 6, 8, 11], p=[0.35, 0.35, 0.17, 0.09, 0.04]))
    shrink = _shrink_matrix(blur)
    picture = shrink @ canvas.astype(np.float32) @ shrink.T
    middle = picture[24:88, 20:76]
    low, high = np.percentile(middle, [3, 95])
    black, white = rng.uniform(0, 70) * rng.random(), rng.uniform(110, 255)
    gamma = np.exp(rng.normal(0, 0.2))
    picture = np.clip((picture - low * rng.uniform(0.3, 1)) / (high - low * 0.6 + 1e-3), 0, 2)
    picture = black + np.maximum(white - black, 60) * picture**gamma
    picture = picture + rng.uniform(0.5, 5) * rng.standard_normal((SIZE, SIZE))
    if chance(rng, 0.7):
        picture = jpeg(picture, rng.uniform(1, 9))
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


@lru_cache(maxsize=64)
def _shrink_matrix(blur: int) -> np.ndarray:
    """(SIZE, CANVAS): shrinks the canvas, blurring by `blur` tenths of a picture pixel."""
    weight = bell(canvas_grid()[0] - np.arange(SIZE)[:, None], blur / 10)
    return (weight / weight.sum(1, keepdims=True)).astype(np.float32)


@lru_cache(maxsize=1)
def _cosines() -> np.ndarray:
    """The basis (8, 8) of the discrete cosine transform."""
    k = np.arange(8)
    basis = np.cos(np.pi * (k[None] + 0.5) * k[:, None] / 8) * np.sqrt(2 / 8)
    basis[0] /= np.sqrt(2)
    return basis.astype(np.float32)


def jpeg(picture: np.ndarray, strength: float) -> np.ndarray:
    """A picture (96, 96) as compressed: its 8x8 cosine coefficients are quantized, the high ones
    more coarsely."""
    c = _cosines()
    blocks = picture.reshape(12, 8, 12, 8).transpose(0, 2, 1, 3)
    k = np.arange(8)
    table = strength * (1 + 0.7 * (k[:, None] + k[None]))
    blocks = np.rint(c @ blocks @ c.T / table) * table
    return (c.T @ blocks @ c).transpose(0, 2, 1, 3).reshape(SIZE, SIZE)
