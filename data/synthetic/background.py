"""What is behind a synthetic head: a wall, clutter and clothes."""

from __future__ import annotations

import numpy as np

from data.synthetic.camera import CANVAS, canvas_grid
from data.synthetic.curves import chance, mix, ramp, smooth_noise
from data.synthetic.hair import long_hair_behind
from data.synthetic.person import Person


def draw_background(
    person: Person,
    rotation: np.ndarray,
    scale: float,
    shift: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """A canvas (144, 144), grey values 0 .. 1.2, for a head of this rotation and framing."""
    canvas = _wall(rng)
    x, y = canvas_grid()
    # Positions relative to the head's middle, which lies behind the eyes.
    x = (x - shift[0]) / scale + 0.6 * rotation[0, 2]
    y = (y - shift[1]) / scale + 0.6 * rotation[1, 2]
    shoulders = rng.normal(1.6, 0.15) + rng.uniform(0.1, 0.5) * np.square(x - rng.normal(0, 0.2))
    cloth = rng.uniform(0, 0.9) * (1 + 0.2 * smooth_noise(rng, canvas.shape, (12, 12)))
    canvas = mix(canvas, cloth, ramp(y - shoulders, 0.06))
    if person.long_hair:
        canvas = long_hair_behind(canvas, x, y, person, rng)
    return np.clip(canvas, 0, 1.2)


def _wall(rng: np.random.Generator) -> np.ndarray:
    """A wall with stains, half of the time with up to seven boxes before it."""
    size = CANVAS, CANVAS
    canvas = rng.uniform(0, 0.9) + rng.normal(0, 0.12) * smooth_noise(rng, size, (2, 2))
    canvas += rng.uniform(0, 0.25) * smooth_noise(rng, size, tuple(rng.integers(3, 14, 2)))
    if chance(rng, 0.5):
        for _ in range(rng.integers(1, 8)):
            x0, y0 = rng.integers(-30, CANVAS - 4, 2)
            w, h = rng.integers(4, 80, 2)
            part = canvas[max(y0, 0) : y0 + h, max(x0, 0) : x0 + w]
            part[:] = mix(part, rng.uniform(0, 1), rng.uniform(0.2, 1))
    return canvas
