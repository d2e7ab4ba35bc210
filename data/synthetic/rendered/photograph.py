"""The background, and the camera: exposure, blur, noise."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from data.key_points import SIZE
from data.synthetic.camera import jpeg
from data.synthetic.curves import bell, chance, mix
from data.synthetic.rendered.raster import box_blur, noise

CANVAS = 192  # faces are painted larger and shrunk at the end
ZOOM = CANVAS / SIZE


def draw_background(rng: np.random.Generator) -> np.ndarray:
    """A background (CANVAS, CANVAS) of brightness: plain, clutter, lines or a lit gradient."""
    u, n = rng.uniform, rng.normal
    canvas = u(0, 0.95) ** 1.5 + n(0, 0.12) * noise(rng, CANVAS, CANVAS, 2, 2)
    cells = rng.integers(3, 14, 2)
    canvas += u(0, 0.25) * noise(rng, CANVAS, CANVAS, int(cells[0]), int(cells[1]))
    if chance(rng, 0.6):
        for _ in range(rng.integers(1, 10)):
            x, y = rng.integers(-40, CANVAS - 5, 2)
            wide, high = rng.integers(5, 110, 2)
            part = canvas[max(y, 0) : max(y + high, 0), max(x, 0) : max(x + wide, 0)]
            part[:] = mix(part, u(0, 1), u(0.2, 1))
    if chance(rng, 0.3):  # stripes: blinds, shelves, tiles, leaves
        row, column = np.mgrid[:CANVAS, :CANVAS].astype(np.float32)
        turn, period = u(0, np.pi), u(6, 50)
        wave = np.sin(2 * np.pi * (np.cos(turn) * row + np.sin(turn) * column) / period)
        canvas += u(0.05, 0.3) * np.clip(wave * u(1, 6), -1, 1)
    if chance(rng, 0.65):
        canvas = box_blur(canvas.astype(np.float32), int(rng.integers(1, 7)))
    return np.clip(canvas, 0.003, 1.2).astype(np.float32)


@lru_cache(maxsize=64)
def _taps(blur: int) -> tuple[np.ndarray, np.ndarray]:
    """Which canvas pixels a picture pixel sees, (SIZE, T), and with what weights, (SIZE, T).

    The lens blurs by `blur` tenths of a picture pixel.
    """
    reach = int(np.ceil(4 * blur / 10 * ZOOM))
    middle = ZOOM * (np.arange(SIZE) + 0.5) - 0.5
    index = np.floor(middle)[:, None].astype(int) + np.arange(1 - reach, reach + 1)
    weight = bell((index - middle[:, None]) / ZOOM, blur / 10)
    weight[(index < 0) | (index >= CANVAS)] = 0
    weight /= weight.sum(1, keepdims=True)
    return np.clip(index, 0, CANVAS - 1), weight.astype(np.float32)


def _shrink(canvas: np.ndarray, blur: int) -> np.ndarray:
    """The canvas's rows (CANVAS, N), blurred and sampled: (SIZE, N)."""
    index, weight = _taps(blur)
    out = np.zeros((SIZE, canvas.shape[1]), np.float32)
    for tap in range(index.shape[1]):
        out += weight[:, tap, None] * canvas[index[:, tap]]
    return out


def photograph(canvas: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Canvas (CANVAS, CANVAS) of brightness -> uint8 picture (96, 96).

    Lens blur, now and then motion; exposure metered on the centre or on the face; a screen's
    gamma, contrast; sharpening, sensor noise and JPEG.
    """
    u = rng.uniform
    blur = int(rng.choice([4, 5, 6, 8, 11, 14], p=[0.22, 0.24, 0.2, 0.17, 0.12, 0.05]))
    # Now and then the camera moved: one way is blurred more than the other.
    across = max(blur, int(rng.integers(10, 20))) if chance(rng, 0.05) else blur
    picture = _shrink(_shrink(np.clip(canvas, 0, 4), blur).T, across).T
    metered = picture[24:88, 20:76] if chance(rng, 0.4) else picture[32:82, 32:64]
    low, high = np.percentile(metered, [2, 96])
    picture = np.clip(picture / (high + 1e-3), 0, 1.5) ** (1 / 2.2)
    low = (low / (high + 1e-3)) ** (1 / 2.2)
    picture = (picture - low * u(0.2, 1)) / (1 - low * u(0.3, 0.7))
    black, white = u(0, 60) * rng.random(), 135 + 115 * rng.beta(1.5, 1.5)
    contrast = np.exp(rng.normal(0, 0.2))
    picture = black + max(white - black, 75) * np.clip(picture, 0, 1.4) ** contrast
    if chance(rng, 0.4):
        picture = picture + u(0.2, 1.5) * (picture - box_blur(picture.astype(np.float32), 1))
    picture = picture + u(0.5, 5) * rng.standard_normal((SIZE, SIZE))
    if chance(rng, 0.7):
        picture = jpeg(picture.astype(np.float32), u(1, 9))
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)
