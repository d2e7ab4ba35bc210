"""Lamps, shadows and the sky: how bright painted surfaces appear.

Directions are the camera's: x to the right, y up, z towards the viewer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data.synthetic.curves import chance, ramp
from data.synthetic.rendered.heads import Eyeball, on_each_eye
from data.synthetic.rendered.raster import depth_picture, grain, rotate, unit

MAP, REACH = 144, 38.0  # the shadow map's side in pixels, and in centimetres
# The cornea, in centimetres: how far its edge is from the pupil, and its centre from the eyeball's,
# so that its radius is 0.78, as in people.
CORNEA_EDGE, CORNEA_CENTRE = 0.6, 0.9


@dataclass(frozen=True)
class Light:
    """Three lamps and the sky about a head."""

    ways: np.ndarray  # (3, 3) towards the key light, the fill light, a light from behind
    power: np.ndarray  # (3,)
    sky: float  # what comes from everywhere
    tilt: float  # how much darker it is from below
    softness: float  # of the shadow's edge, in pixels of the map
    shadow: float  # how much of the key light it takes away
    hollow: float  # exponent of the ambient occlusion: larger is darker
    gloss: float  # of skin
    shine: float  # how sharp the highlights are
    catch: tuple[float, float]  # the eyes' catchlights: their exponent and strength
    dapple: float  # how much of the key light leaves or blinds keep away, in patches
    patches: np.ndarray  # (3,) where the patches are (2), and their size in cm


def draw_light(rng: np.random.Generator) -> Light:
    """Random light: mostly soft, sometimes one hard lamp."""
    n, u = rng.normal, rng.uniform
    hard = chance(rng, 0.25)
    spread = 1.2 if hard else rng.choice([0.3, 0.8])
    key = np.array([n(0, spread), n(0.65, 0.55), 1.0])
    fill = np.array([n(0, 1.2), n(-0.1, 0.6), 0.6])
    back = np.array([n(0, 1), n(0.3, 0.5), -0.5])
    sky = u(0.04, 0.25) if hard else u(0.15, 0.75)
    power = [
        1 - sky,
        u(0, 0.15) if hard else u(0, 0.4),
        u(0, 0.8) * chance(rng, 0.25),
    ]
    return Light(
        ways=unit(np.stack([key, fill, back])).astype(np.float32),
        power=np.array(power, np.float32),
        sky=float(sky),
        tilt=float(u(0.05, 0.6)),
        softness=float(u(0.4, 1.6)),
        shadow=float(u(0.6, 1)),
        hollow=float(u(1.0, 3.0)),
        gloss=float(u(0, 0.35) ** 1.3),
        shine=float(u(6, 40)),
        catch=(float(np.exp(u(4, 6.5))), float(np.exp(u(-1.2, 1.5)))),
        dapple=float(u(0.3, 0.9)) if chance(rng, 0.1) else 0.0,
        patches=np.array([*rng.random(2), u(80, 300)], np.float32),
    )


class ShadowMap:
    """What the key light sees of the head."""

    def __init__(self, light: Light, vertices: np.ndarray, triangles: np.ndarray) -> None:
        way = light.ways[0]
        across = unit(np.cross([0, 1, 0], way))
        self.frame = np.stack([across, np.cross(way, across), way]).astype(np.float32)
        seen = rotate(vertices, self.frame)
        self.depth = depth_picture(self._place(seen), seen[:, 2], triangles, MAP)
        self.light = light

    @staticmethod
    def _place(seen: np.ndarray) -> np.ndarray:
        """Pixels of the map, (N, 2)."""
        return np.stack([seen[:, 0], -seen[:, 1]], 1) * (MAP / REACH) + MAP / 2

    def cover(self, places: np.ndarray, slack: float = 0.3) -> np.ndarray:
        """How much of the key light is kept from places (N, 3), 0 .. 1: the mean of five rays."""
        seen = rotate(places, self.frame)
        flat, near = self._place(seen), seen[:, 2] + slack
        cover = np.zeros(len(places), np.float32)
        soft = self.light.softness
        for dx, dy in ((-soft, -soft), (soft, -soft), (-soft, soft), (soft, soft), (0, 0)):
            column = np.clip(np.rint(flat[:, 0] + dx), 0, MAP - 1).astype(np.int32)
            row = np.clip(np.rint(flat[:, 1] + dy), 0, MAP - 1).astype(np.int32)
            cover += np.clip((self.depth[row * MAP + column] - near) * 3, 0, 1) / 5
        if self.light.dapple:
            size = self.light.patches[2]
            cloud = grain(0, seen[:, 0] / size, seen[:, 1] / size, self.light.patches)
            cover = np.maximum(cover, self.light.dapple * ramp(cloud, 1.0))
        return cover


def shade(
    light: Light,
    normal: np.ndarray,
    open_sky: np.ndarray | float = 1.0,
    shadow: np.ndarray | float = 0.0,
    wrap: float = 0.12,
) -> np.ndarray:
    """Brightness (N,) of white paint with unit normals (N, 3).

    `open_sky` is the share of directions that nothing covers, `shadow` what the shadow map says.
    `wrap` lets light creep round the edge of the shadow, as it does in skin.
    """
    lamps = np.einsum("lk,nk->ln", light.ways, normal)
    lamps = np.maximum((lamps + wrap) / (1 + wrap), 0)
    key = lamps[0] * (1 - light.shadow * shadow)
    sky = light.sky * open_sky * np.maximum(1 - light.tilt + light.tilt * normal[:, 1], 0)
    return light.power[0] * key + light.power[1] * lamps[1] + light.power[2] * lamps[2] + sky


def highlight(light: Light, normal: np.ndarray, sharpness: float, lamp: int = 0) -> np.ndarray:
    """The specular reflection of a lamp, the key light if not given, (N,)."""
    half = unit(light.ways[lamp] + np.array([0, 0, 1], np.float32))
    toward = np.maximum(np.einsum("nk,k->n", normal, half), 0)
    return toward**sharpness * (0.05 * (lamp == 0) + 0.4 * light.power[lamp])


def catchlights(
    light: Light,
    eyes: dict[str, Eyeball],
    places: np.ndarray,
    turn: np.ndarray,
    shadow: np.ndarray,
) -> np.ndarray:
    """The key and fill lights' reflections in the corneas, (N,).

    They lie in iris and pupil and, when the eye turns, move less than these, because the cornea is
    more curved than the eyeball.

    Args:
        light, eyes: the lamps and both eyeballs.
        places: (N, 3) on the eyeballs, in the head's frame.
        turn: (3, 3), rotates the head into the camera's directions.
        shadow: (N,), as from `ShadowMap.cover`.
    """
    bright = np.zeros(len(places), np.float32)
    exponent, strength = light.catch
    for ball, own, rays, far in on_each_eye(eyes, places):
        cornea, rays = own[far < CORNEA_EDGE], rays[far < CORNEA_EDGE]
        normal = rotate(unit(ball.radius * rays - CORNEA_CENTRE * ball.look), turn)
        key = highlight(light, normal, exponent) * (1 - 0.7 * shadow[cornea])
        bright[cornea] = strength * (key + highlight(light, normal, exponent, 1))
    return bright
