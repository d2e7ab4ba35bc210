"""The light on a synthetic head: where it comes from, and how bright each place of the head is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data.synthetic.curves import chance, ramp
from data.synthetic.head import COS, ROWS, SIN, HeadSurface
from data.synthetic.person import Person


@dataclass(frozen=True)
class Light:
    """A lamp, a fill light and ambient light."""

    lamp: np.ndarray  # unit vector (3,) towards it, camera frame
    fill: np.ndarray  # likewise
    fill_power: float  # beside the lamp's 1 - ambient
    ambient: float
    gloss: float  # how brightly the skin reflects the lamp
    reflection: tuple[float, float]  # of the lamp in the eyes, x y from the iris' centre


def draw_light(rng: np.random.Generator) -> Light:
    """Random light: mostly soft and from the front, now and then a hard lamp from the side."""
    hard = chance(rng, 0.15)
    side = rng.normal(0, 1.3 if hard else rng.choice([0.25, 0.7]))
    lamp = _unit([side, rng.normal(-0.28, 0.35), 1.0])
    fill = _unit([rng.normal(0, 1.2), rng.normal(0.5, 0.5), 0.6])
    fill_power = rng.uniform(0, 0.15 if hard else 0.5)
    ambient = rng.uniform(0.02, 0.3) if hard else rng.uniform(0.25, 0.8)
    gloss = rng.uniform(0, 0.2) ** 1.3
    reflection = 0.035 * lamp[0] + rng.normal(0, 0.01), -0.025 + rng.normal(0, 0.01)
    return Light(lamp, fill, fill_power, ambient, gloss, reflection)


def _unit(vector: list[float]) -> np.ndarray:
    """The vector (3,) at length 1, float32."""
    array = np.array(vector, np.float32)
    return array / np.linalg.norm(array)


def shade(
    head: HeadSurface, off: np.ndarray, rotation: np.ndarray, person: Person, light: Light
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How bright the painted head is, and where the camera sees it.

    Args:
        off: how far hair, hat and ears stand off the head, like `head.albedo`.
        rotation: (3, 3), head frame -> camera frame.

    Returns:
        Brightness, camera x and camera y, each (rows, columns). Lambert's diffuse reflection of
        three lights, and Blinn and Phong's gloss of the lamp.
    """
    x = head.x + off * SIN
    y = np.broadcast_to(ROWS[:, None] - 0.35 * off, x.shape)
    z = head.z + off * COS
    place = rotation @ np.stack([x.ravel(), y.ravel(), z.ravel()])
    place = place.reshape(3, *x.shape)
    normal = _normals(place)
    place[0][normal[2] < 1e-3] = -1e3  # edges, and what faces away: out of the picture
    half = light.lamp + np.array([0, 0, 1], np.float32)
    lights = np.stack([light.lamp, light.fill, half / np.linalg.norm(half)])
    lamp, fill, gloss = np.maximum(lights @ normal.reshape(3, -1), 0).reshape(3, *x.shape)
    lamp *= 1 - 0.9 * _cast_shadow((x, y, z), rotation.T @ light.lamp)
    for _ in range(4):
        gloss *= gloss
    bright = (1 - light.ambient) * lamp + light.fill_power * fill
    bright += light.ambient * (0.9 - 0.1 * normal[1])
    bright *= 1 - 0.55 * ramp(ROWS - person.chin - 0.06, 0.15)[:, None]  # under the chin
    return head.albedo * bright + light.gloss * gloss * (off < 0.01), place[0], place[1]


def _normals(place: np.ndarray) -> np.ndarray:
    """Unit normals (3, rows, columns), from the differences between neighbouring grid points."""
    down, right = np.zeros_like(place), np.zeros_like(place)
    np.subtract(place[:, 2:], place[:, :-2], out=down[:, 1:-1])
    np.subtract(place[:, :, 2:], place[:, :, :-2], out=right[:, :, 1:-1])
    normal = np.empty_like(place)
    for k in range(3):
        i, j = (k + 1) % 3, (k + 2) % 3
        np.multiply(right[i], down[j], out=normal[k])
        normal[k] -= right[j] * down[i]
    normal /= np.sqrt(np.square(normal).sum(0)) + 1e-9
    return normal


def _cast_shadow(place: tuple[np.ndarray, np.ndarray, np.ndarray], lamp: np.ndarray) -> np.ndarray:
    """Shadow (0..1) that the grid casts on itself, along its rows or along its columns.

    A place lies in shadow when the surface between it and the lamp rises above the ray of light,
    that is when the highest so far of (height above the ray) exceeds its own.
    """
    k = 0 if abs(lamp[0]) > abs(lamp[1]) else 1
    rise = place[2] - place[k] * (lamp[2] / lamp[k])
    if lamp[k] > 0:
        rise = np.flip(rise, 1 - k)
    shadow = np.clip((np.maximum.accumulate(rise, 1 - k) - rise - 0.02) * 12, 0, 1)
    return np.flip(shadow, 1 - k) if lamp[k] > 0 else shadow
