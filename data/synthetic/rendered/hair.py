"""Hair: painted on the scalp, raised above it, and hanging round the face.

Angles are counted about the head's axis, 0 in front and 180 degrees at the back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data.synthetic.curves import chance, ramp
from data.synthetic.rendered.camera import Scene, sheet
from data.synthetic.rendered.heads import Heads, Person
from data.synthetic.rendered.raster import grain
from data.synthetic.rendered.skin import Look, Pixels

AXIS = -2.5  # z of the head's axis
# The hairline's corners by angle; their heights are Hair's.
ANGLES = np.array([0, 22, 34, 44, 52, 60, 72, 86, 98, 112, 140, 180], np.float32)


@dataclass(frozen=True)
class Hair:
    """A haircut."""

    bald: bool
    long: bool
    heights: np.ndarray  # of the hairline at ANGLES, cm
    parting: float  # x of the parting; the hair falls away from it
    parted: float  # how deep the parting is
    slant: float  # the hairline is higher on one side
    ragged: float
    wave: float
    volume: float  # cm above the scalp
    curl: float  # 0 straight .. 1 curly
    thin: float  # 0 full .. 1 the scalp shows through
    lean: float  # the strands' slope
    contrast: float
    offsets: np.ndarray  # (8, 2)


def draw_hair(person: Person, look: Look, rng: np.random.Generator) -> Hair:
    """Random hair; men lose it with age."""
    n, u = rng.normal, rng.uniform
    man, woman = (person.sex == sex for sex in ("male", "female"))
    old = person.years > 45
    bald = man and person.years > 22 and chance(rng, 0.3 if old else 0.1)
    long = chance(rng, 0.7 if woman else 0.12)
    front = n(6.0, 0.8) + (u(0, 2.5) if man and old else 0)
    fringe = None
    if not bald and chance(rng, 0.24 if woman or person.years < 12 else 0.1):
        fringe = u(1.5, 5.0)
    low = front if fringe is None else fringe
    burns = u(-4.5, 1.5)
    heights = [low, low - 0.1, min(low, front - 0.7), front - 2.2, 2.5, burns + 1, burns + 0.5]
    heights += [2.5, -1.0, -5.0, -9.0, -10.5]
    volume = np.exp(u(np.log(0.25), np.log(2.4)))
    if chance(rng, 0.06 + 0.1 * (look.tone >= 4)):
        volume = u(2.2, 4.5)
    return Hair(
        bald=bald,
        long=long and not bald,
        heights=np.array(heights, np.float32),
        parting=n(0, 2.5),
        parted=u(0, 1) * chance(rng, 0.5),
        slant=n(0, 0.6),
        ragged=u(0.05, 0.5),
        wave=u(0, 0.8),
        volume=float(volume),
        curl=u(0.3, 1) if chance(rng, 0.35) else u(0, 0.2),
        thin=u(0.3, 0.9) if chance(rng, 0.35 if old else 0.06) else u(0, 0.2),
        lean=u(-0.2, 0.2),
        contrast=u(0.12, 0.4),
        offsets=rng.random((8, 2), np.float32),
    )


def angle(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Degrees from the front, 0 .. 180."""
    return np.degrees(np.abs(np.arctan2(x, z - AXIS)))


def above_line(hair: Hair, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """How far places of the neutral head lie above the hairline, cm."""
    around = angle(x, z)
    line = np.interp(around, ANGLES, hair.heights).astype(np.float32)
    line = line + hair.slant * np.clip(x / 5, -1, 1)
    if hair.bald:
        line = line + np.where(around < 95, np.float32(1005), np.float32(5))
    return y - line


def hair_cover(
    hair: Hair, x: np.ndarray, y: np.ndarray, z: np.ndarray, ear: np.ndarray, soft: float
) -> np.ndarray:
    """How much hair covers places of the neutral head, 0 .. 1."""
    around = angle(x, z)
    edge = hair.ragged * grain(1, around / 110, y / 60, hair.offsets[0])
    edge += hair.wave * grain(0, x / 40, y / 90, hair.offsets[1])
    cover = ramp(above_line(hair, x, y, z) + edge, soft) * (ear < 0.3)
    scalp = 1 - hair.thin * ramp(grain(1, x / 12, z / 12 + y / 30, hair.offsets[2]) + 0.6, 1)
    return cover * scalp


def strands(hair: Hair, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Light and dark strands about 1, falling away from the parting or curling."""
    away = np.arctan2(x - hair.parting * 0.6 * np.clip(y / 10, 0, 1), z - AXIS)
    slope = hair.lean * y / 10
    thin = grain(2, away * 0.7 + slope, y / 60, hair.offsets[3])
    thick = grain(1, away * 0.4 + slope, y / 80, hair.offsets[4])
    locks = grain(0, away / 3, y / 30, hair.offsets[5])
    value = 1 + hair.contrast * (0.5 * thin + 0.8 * thick) + 0.2 * locks
    if hair.curl > 0.25:
        curls = grain(1, x / 26 + z / 37, y / 26 - z / 49, hair.offsets[6])
        value = value + hair.curl * 0.4 * curls
    if hair.parted:
        seam = np.exp(-np.square((x - hair.parting) / 0.25)) * (y > 4) * (z > -8)
        value = value + hair.parted * seam * 0.8
    return np.clip(value, 0.2, 2.4)


def paint_scalp(p: Pixels, paint: np.ndarray, look: Look, hair: Hair, soft: float) -> np.ndarray:
    """The head's paint with hair on the scalp."""
    near = np.flatnonzero((p.region == 0) & ((p.y > -1) | (p.z < 1)) & (p.y > -12))
    x, y, z = p.x[near], p.y[near], p.z[near]
    cover = hair_cover(hair, x, y, z, p.ear[near], soft)
    paint = paint.copy()
    paint[near] += (look.hair * strands(hair, x, y, z) - paint[near]) * cover
    return paint


def draw_shell(
    scene: Scene, heads: Heads, vertices: np.ndarray, normals: np.ndarray, look: Look, hair: Hair
) -> None:
    """The scalp raised where hair grows."""
    if hair.bald or hair.volume < 0.2:
        return
    x, y, z = heads.neutral.T
    ear = heads.paint[:, 2]
    depth = np.maximum(above_line(hair, x, y, z) + 0.4, 0)
    lift = hair.volume * (1 - np.exp(-depth / (0.5 + 0.6 * hair.volume)))
    lift = lift * (1 + 0.25 * grain(0, x / 40, y / 40 + z / 50, hair.offsets[6]))
    if hair.curl > 0.25:
        lift = lift * (1 + 0.3 * hair.curl * grain(1, x / 30 + z / 30, y / 30, hair.offsets[7]))
    if hair.parted:
        lift = lift * (1 - 0.7 * hair.parted * np.exp(-np.square((x - hair.parting) / 0.7)))
    lift = lift * (ear < 0.3)
    solid = heads.triangles[heads.region == 0]
    solid = solid[(lift[solid] > 0.02).any(1) & (heads.neutral[solid][:, :, 1] > -13).all(1)]
    raised = vertices + lift[:, None] * (normals + np.array([0, 0.25, 0.1], np.float32))
    soft = 0.5 + hair.ragged

    def paint(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        cover = hair_cover(hair, a[:, 0], a[:, 1], a[:, 2], a[:, 3], soft)
        return look.hair * strands(hair, a[:, 0], a[:, 1], a[:, 2]), cover

    attributes = np.column_stack([heads.neutral, ear])
    sheen = 0.25 * (1 - hair.curl)
    scene.layer(raised, solid, attributes, paint, sheen=sheen, normals=normals)


def draw_curtain(
    scene: Scene,
    heads: Heads,
    vertices: np.ndarray,
    look: Look,
    hair: Hair,
    rng: np.random.Generator,
) -> None:
    """Long hair: a curtain round the head, open in front."""
    u = rng.uniform
    opening, reach, flare = u(45, 85), u(-22, -7), u(-0.05, 0.3)
    columns, rows = 90, 24
    turn = np.radians(np.linspace(opening, 360 - opening, columns))
    down = np.linspace(6.5, reach, rows)
    around, y = np.meshgrid(turn, down)
    radius = 1 + flare * np.clip((0.5 - y) / 15, 0, 1)
    radius += 0.05 * np.sin(around * rng.integers(3, 9) + y * u(0.1, 0.5) + u(0, 6))
    radius += hair.curl * 0.05 * np.sin(around * 17 + y * 1.3)
    dome = np.sqrt(np.clip(1 - np.square(np.maximum(y - 1.5, 0) / 9.0), 0.05, 1))
    skin = heads.neutral[:, 1] > -6
    wide = np.percentile(np.abs(vertices[skin, 0]), 98) - 0.3
    high = min(hair.volume, 2.0)
    x = (wide + 0.5 * high) * radius * dome * np.sin(around)
    z = AXIS + (8.6 + 0.5 * high) * radius * dome * np.cos(around)
    z = np.where(z > AXIS + 3, AXIS + 3 + 0.5 * (z - AXIS - 3), z)
    mesh = np.stack([x, y, z], 2).reshape(-1, 3).astype(np.float32)
    fray = u(0.5, 3)

    def paint(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, y, z = a.T
        ends = fray * 0.5 * (1 + grain(2, np.arctan2(x, z), y / 100, hair.offsets[1]))
        front = 3 * grain(1, y / 40, y / 99, hair.offsets[2])
        cover = ramp(y - reach - ends, 0.8) * ramp(angle(x, z) - opening - 2 + front, 6)
        return look.hair * strands(hair, x, y, z) * 0.85, cover

    scene.layer(mesh, sheet(rows, columns), mesh, paint, sheen=0.25 * (1 - hair.curl))
