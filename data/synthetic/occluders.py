"""What is in front of a synthetic face: glasses, and a hand, a microphone or a bar."""

from __future__ import annotations

import numpy as np

from data.synthetic.camera import canvas_grid
from data.synthetic.curves import bell, chance, mix, ramp
from data.synthetic.person import Person


def draw_glasses(
    canvas: np.ndarray,
    person: Person,
    rotation: np.ndarray,
    scale: float,
    shift: np.ndarray,
    depth: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """The canvas with glasses `depth` before the head's middle: clear ones shine, dark ones hide.

    rotation (3, 3), scale and shift (2,) are those of the head.
    """
    clear = person.glasses == 1
    half_w, half_h = rng.uniform(0.32, 0.45), rng.uniform(0.2, 0.42)
    power = rng.uniform(2, 5)  # of a superellipse, the lens' shape
    rim = rng.uniform(0.004, 0.02) if clear else rng.uniform(0.01, 0.04)
    frame = rng.uniform(0, 0.3) if chance(rng, 0.7) else rng.uniform(0.4, 1.2)
    cover = rng.uniform(0, 0.12) if clear else rng.uniform(0.75, 1)
    tone = rng.uniform(0.1, 0.8) if clear else rng.uniform(0, 0.15)
    shine = rng.uniform(0, 0.5) if chance(rng, 0.4) else 0
    drop = rng.uniform(-0.06, 0.12)
    x, y = canvas_grid()
    slope = np.array([0, 1, -0.15], np.float32)
    for side in (-1, 1):
        # u, v: positions in the lens' plane, from its centre, in eye distances.
        across = np.array([1, 0, -0.25 * side], np.float32)
        centre = rotation @ np.array([side * 0.5, drop, depth + 0.16], np.float32)
        basis = (rotation @ np.stack([across, slope], 1))[:2] * scale
        inverse = np.linalg.inv(basis)
        dx, dy = x - shift[0] - scale * centre[0], y - shift[1] - scale * centre[1]
        u = inverse[0, 0] * dx + inverse[0, 1] * dy
        v = inverse[1, 0] * dx + inverse[1, 1] * dy
        r = (np.abs(u / half_w) ** power + np.abs(v / half_h) ** power) ** (1 / power)
        edge = (r - 1) * half_h
        lens = ramp(-edge, 0.02)
        canvas = mix(canvas, tone, lens * cover)
        glare = bell(u - rng.normal(0, 0.15) + 0.5 * v, rng.uniform(0.03, 0.25))
        canvas = canvas + shine * lens * glare
        wire = bell(edge, rim)
        bridge = bell(v + 0.3 * half_h, rim) * (-side * u > half_w) * (-side * u < 0.51)
        arm = bell(v + 0.4 * half_h, rim * 1.3) * (side * u > half_w) * (side * u < 0.7)
        canvas = mix(canvas, frame, np.clip(np.maximum(wire, np.maximum(bridge, arm)), 0, 1))
    return canvas


def draw_occluder(canvas: np.ndarray, person: Person, rng: np.random.Generator) -> np.ndarray:
    """The canvas with fingers, a microphone or a bar that reach from below into the face."""
    x, y = canvas_grid()
    start = np.array([rng.choice([rng.uniform(0, 25), rng.uniform(70, 95)]), 100.0])
    tip = np.array([rng.uniform(20, 75), rng.uniform(45, 95)])
    tone = person.skin * rng.uniform(0.5, 1) if chance(rng, 0.6) else rng.uniform(0, 0.9)
    for _ in range(rng.integers(1, 5)):
        way = tip - start
        t = np.clip(((x - start[0]) * way[0] + (y - start[1]) * way[1]) / (way @ way), 0, 1)
        distance = np.hypot(x - start[0] - t * way[0], y - start[1] - t * way[1])
        radius = rng.uniform(3, 7)
        rounding = np.sqrt(np.clip(1 - np.square(distance / radius), 0.15, 1))
        canvas = mix(canvas, tone * rounding, ramp(radius - distance, 1))
        start, tip = start + rng.normal(0, 6, 2), tip + rng.normal(0, 6, 2)
    return canvas
