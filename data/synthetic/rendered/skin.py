"""Paint on the head: skin, lips, brows, beard, mouth and eyes, by albedo.

Places are those of the neutral head (heads.py): the same pore has the same place on every head.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data.synthetic.curves import bell, chance, mix, ramp
from data.synthetic.rendered.heads import Eyeball, Person, on_each_eye
from data.synthetic.rendered.make_heads import REGIONS
from data.synthetic.rendered.points import Brow
from data.synthetic.rendered.raster import grain

# Skin tones from 1 (lightest) to 6, with equal steps between them as the eye sees them.
TONES = 6
TONE_EDGES = np.geomspace(0.62, 0.05, TONES + 1)
EYE = len(REGIONS)  # the number of the eyeballs' region


@dataclass(frozen=True)
class Pixels:
    """What the pixels of the head show, one value (or row) for each of N pixels."""

    x: np.ndarray  # where on the neutral head, cm
    y: np.ndarray
    z: np.ndarray
    lips: np.ndarray  # distance into the lips, cm
    lids: np.ndarray  # distance from the lids' margin, cm
    ear: np.ndarray  # 1 on the ears
    region: np.ndarray

    @property
    def side(self) -> np.ndarray:
        """Distance from the middle line, cm."""
        return np.abs(self.x)


@dataclass(frozen=True)
class Look:
    """A person's colouring and grooming."""

    tone: int  # 1 .. TONES
    skin: float
    hair: float
    age: float  # 0 smooth skin .. 1.5 deeply lined
    make_up: float
    beard: float
    moustache: float
    stubble: float
    brow_density: float
    iris: float
    offsets: np.ndarray  # (10, 2) of the noise


def draw_look(person: Person, rng: np.random.Generator) -> Look:
    """Random colouring: tones come up equally often; hair goes with tone and age."""
    n, u = rng.normal, rng.uniform
    tone = int(rng.integers(1, TONES + 1))
    skin = np.exp(u(np.log(TONE_EDGES[tone]), np.log(TONE_EDGES[tone - 1])))
    dark = tone >= 4 or chance(rng, 0.45)
    hair = np.exp(u(np.log(0.008), np.log(0.05)) if dark else u(np.log(0.04), np.log(0.45)))
    grey = np.clip((person.years - 40) / 35 + n(0, 0.35), 0, 1)
    hair = float(mix(hair, u(0.25, 0.6), grey * chance(rng, 0.85)))
    man = person.sex == "male" and person.years > 17
    beard = u(0.4, 1) if man and chance(rng, 0.26) else 0
    moustache = u(0.4, 1) if man and chance(rng, 0.22) else beard * chance(rng, 0.9)
    woman = person.sex == "female" and person.years > 15
    return Look(
        tone=tone,
        skin=float(skin),
        hair=float(hair),
        age=float(np.clip((person.years - 30) / 40 + n(0, 0.2), 0, 1.5)),
        make_up=float(u(0, 1) if woman and chance(rng, 0.6) else u(0, 0.15)),
        beard=float(beard),
        moustache=float(moustache),
        stubble=float(u(0, 0.45)) if man and chance(rng, 0.5) else 0.0,
        brow_density=float(np.clip(n(0.87, 0.2), 0.15, 1) * (0.8 if person.years < 12 else 1)),
        iris=float(np.exp(u(np.log(0.012), np.log(0.05 if dark else 0.22)))),
        offsets=rng.random((10, 2), np.float32),
    )


def paint_head(
    p: Pixels, look: Look, brows: dict[str, Brow], smile: float, rng: np.random.Generator
) -> np.ndarray:
    """The albedo of each pixel of skin and mouth, (N,); a smile from 0 to 1 deepens folds."""
    skin = _paint_skin(p, look, rng)
    skin = _paint_age(p, skin, look, smile, rng)
    skin = _paint_eye_surroundings(p, skin, look, rng)
    skin = _paint_lips(p, skin, look, rng)
    for side, brow in brows.items():
        skin = _paint_brow(p, skin, look, brow, 1 if side == "left" else -1)
    if look.beard or look.moustache or look.stubble:
        skin = _paint_beard(p, skin, look, rng)
    paint = np.where(p.region == 0, skin, 0)
    inside = np.flatnonzero((p.region > 0) & (p.region < EYE))
    if len(inside):
        paint[inside] = _paint_mouth(p, look, inside, rng)
    return paint


def _paint_skin(p: Pixels, look: Look, rng: np.random.Generator) -> np.ndarray:
    """Tone, blotches, pores, shades round eyes and nose."""
    u, side = rng.uniform, p.side
    blotch = grain(0, p.x / 20, p.y / 20, look.offsets[0])
    pores = grain(2, p.x / 8 + p.z / 9, p.y / 8, look.offsets[1])
    rough = 0.4 + 0.6 * min(look.age + 0.3, 1)
    paint = look.skin * (1 + u(0.02, 0.1) * blotch + u(0.005, 0.05) * rough * pores)
    socket = bell(p.y - 0.4, 0.8) * bell(side - 2.8, 1.6)
    paint *= 1 - u(0, 0.55) * socket
    paint *= 1 - u(0, 0.28) * bell(p.y + 1.2, 0.35) * bell(side - 2.9, 1.3)  # below the eyes
    paint *= 1 + u(-0.12, 0.15) * bell(p.y + 2.8, 1.5) * bell(side - 4, 1.5)  # cheeks
    nostril = np.square((side - 0.95) / 0.42) + np.square((p.y + 4.1) / 0.24)
    paint *= 1 - 0.8 * np.exp(-nostril * nostril) * (p.z > 5)
    wing = np.hypot((side - 1.15) / 0.75, (p.y + 3.75) / 0.8)
    crease = bell(wing - 1, 0.16) * (side > 1.1) * (p.y > -4.4) * (p.z > 4)
    paint *= 1 - u(0.05, 0.4) * crease
    if chance(rng, 0.12):  # freckles, moles
        spots = grain(2, p.x / 5, p.y / 5, look.offsets[2])
        paint *= 1 - 0.25 * np.clip(spots - u(1.0, 2.2), 0, 1)
    return paint


def _paint_age(
    p: Pixels, paint: np.ndarray, look: Look, smile: float, rng: np.random.Generator
) -> np.ndarray:
    """Folds from nose to mouth, deeper with age and smiles; a crease at the corner of the mouth;
    wrinkles with age.
    """
    u, side, old = rng.uniform, p.side, look.age
    fold = 1.95 + 0.33 * (-3.7 - p.y)
    along = ramp(-3.6 - p.y, 0.8) * ramp(p.y + 7.8, 1)
    deep = u(0, 0.12) + 0.22 * min(old, 1.3) + u(0.05, 0.4) * smile
    paint = paint * (1 - min(deep, 0.45) * bell(side - fold, u(0.15, 0.32)) * along)
    # The line between the lips goes on as a crease beyond the corner of the mouth.
    crease = bell(side - 2.6, 0.25) * bell(p.y + 6.7 + u(0, 0.5) * (side - 2.4), u(0.08, 0.2))
    paint = paint * (1 - u(0, 0.45) * crease)
    if old < 0.25:
        return paint
    lines = np.abs(grain(0, p.x / 30, p.y / 12, look.offsets[3]))
    paint = paint * (1 - 0.18 * old * np.clip(1 - 5 * lines, 0, 1))
    wave = p.y * u(5, 8) + 0.6 * grain(0, p.x / 40, p.y / 40, look.offsets[4])
    forehead = np.clip(np.sin(wave), 0, 1) ** 3 * ramp(p.y - 3, 1) * ramp(5 - side, 2)
    paint = paint * (1 - u(0.08, 0.3) * old * forehead * (p.z > 0))
    # Crow's feet: rays from the outer corner of the eye.
    dx, dy = side - 3.9, p.y + 0.1
    ray = np.clip(np.sin(np.arctan2(dy, dx) * u(9, 14)), 0, 1) ** 2
    paint = paint * (1 - u(0.1, 0.35) * old * ray * bell(np.hypot(dx, dy) - 1.1, 0.5) * (dx > 0.2))
    bag = bell(np.hypot((side - 2.9) / 1.5, (p.y + 0.2) / 1.3) - 1, 0.09) * (p.y < -0.6)
    paint = paint * (1 - u(0.08, 0.35) * old * bag)
    mouth = bell(side - 2.7 - 0.1 * (-7 - p.y), 0.16) * ramp(-6.9 - p.y, 0.5) * ramp(p.y + 9, 1)
    return paint * (1 - u(0, 0.3) * old * mouth)


def _paint_eye_surroundings(
    p: Pixels, paint: np.ndarray, look: Look, rng: np.random.Generator
) -> np.ndarray:
    """The lids' dark margins, the fold of the upper lid, make-up."""
    u, side = rng.uniform, p.side
    upper = ramp(p.y + 0.12 - 0.1 * (side - 3), 0.4)
    near = (side > 1.3) & (side < 5)
    margin = np.exp(-np.square(p.lids / u(0.07, 0.13)))
    dark, below = min(u(0.3, 0.95) + 0.35 * look.make_up, 0.97), u(0.2, 0.8)
    paint = paint * (1 - dark * margin * (below + (1 - below) * upper))
    fold = bell(p.lids - u(0.4, 0.6), 0.09) * upper * near
    paint = paint * (1 - u(0, 0.45) * fold)
    shadow = bell(p.lids - 0.5, 0.4) * upper * near
    return paint * (1 - 0.45 * look.make_up * u(0, 1) * shadow)


def _paint_lips(p: Pixels, paint: np.ndarray, look: Look, rng: np.random.Generator) -> np.ndarray:
    """Lips are mostly darker than the skin, the upper one usually more so; make-up darkens both."""
    u = rng.uniform
    painted = 1 - 0.5 * look.make_up * u(0, 1)
    tone = painted * np.where(p.y > -6.54, u(0.45, 0.9), u(0.55, 1.02))
    cover = ramp(p.lips - 0.02, u(0.06, 0.22)) * (p.lips > -1)
    cracks = 1 + 0.12 * grain(2, p.x / 3, p.y / 12, look.offsets[5])
    return mix(paint, paint * tone * cracks, cover)


def _paint_brow(p: Pixels, paint: np.ndarray, look: Look, brow: Brow, sign: int) -> np.ndarray:
    """One brow: hairs along its middle line, ending where its key points are."""
    outward = sign * p.x
    near = np.flatnonzero((outward > 0.2) & (np.abs(p.y - 1.6) < 2.6) & (p.z > -1))
    x, y = outward[near], p.y[near]
    t, line = brow.height(x)
    thick = brow.thickness * np.clip(1.05 - brow.taper * t * t, 0.2, 1.1)
    hairs = 1 + 0.4 * grain(2, x / 14 + 0.5 * y / 14, y / 4, look.offsets[6])
    ends = ramp(t, 0.12) * ramp(1 - t, 0.12)
    cover = look.brow_density * ends * np.exp(-(np.abs((y - line) / thick) ** 3)) * hairs
    paint = paint.copy()
    paint[near] = mix(paint[near], min(0.45 * look.hair, 0.33 * look.skin), np.clip(cover, 0, 1))
    return paint


def _paint_beard(p: Pixels, paint: np.ndarray, look: Look, rng: np.random.Generator) -> np.ndarray:
    """Beard, moustache or stubble."""
    u, side = rng.uniform, p.side
    hairs = 0.8 + 0.3 * grain(2, p.x / 6, p.y / 6, look.offsets[7])
    hairs += 0.2 * grain(0, p.x / 18, p.y / 18, look.offsets[8])
    wave = 0.4 * grain(0, p.x / 25, p.y / 25, look.offsets[9])
    soft = u(0.6, 2.2)
    # The sides end above at a line that rises to the ears.
    top = u(-7.0, -5.0) + wave + u(0.35, 0.75) * (side - 3.5)
    sides = ramp(top - p.y, soft) * ramp(side - 2.7 - 0.2 * (p.y + 9.8), 1.3) * ramp(p.z + 3, 4)
    round_ = 1.15 + wave - np.hypot(side / 2.9, (p.y + 9.9) / 2.4)
    chin = ramp(round_, 0.6) * ramp(-8.0 - p.y - 0.1 * side, 0.7)
    jaw = ramp(-9.1 + 0.25 * side - p.y + wave, 1.4)
    goatee = chance(rng, 0.3)
    if not goatee:
        chin = np.maximum(chin, np.maximum(jaw, sides))
    chin = chin * ramp(p.y + 14.5, 3) * (p.z > -8)
    wide, below = u(2.1, 3.3), u(0.3, 0.8)
    lip = ramp(wide - side + 0.3 * wave, u(0.5, 1.3)) * ramp(-4.8 - 0.2 * side - p.y, 0.5)
    lip = lip * ramp(p.y + 7.1 + 0.35 * side, below) * (p.z > 2)
    strength = np.maximum(
        chin * max(look.beard, look.stubble), lip * max(look.moustache, look.stubble)
    )
    cover = strength * (1 - ramp(p.lips + 0.05, 0.2)) * hairs
    return mix(paint, min(look.hair * 0.7, 0.6 * look.skin), np.clip(cover, 0, 1))


def _paint_mouth(p: Pixels, look: Look, inside: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cheeks' inside, tongue and teeth: dark at the back."""
    u, region = rng.uniform, p.region[inside]
    x, y, z = p.x[inside], p.y[inside], p.z[inside]
    back = np.clip((z + 1) / 8, 0.1, 1)
    paint = (0.05 + 0.12 * look.skin) * back**1.5
    tongue = (0.1 + 0.14 * look.skin) * back * (1 - 0.25 * bell(x, 0.12))
    paint = np.where(region == REGIONS.index("tongue"), tongue, paint)
    # Gaps between teeth, at equal steps along the arc.
    arc = np.arctan2(x, z - 2.0) * 4.6
    gaps = 1 - u(0.1, 0.4) * np.clip(np.abs(np.sin(np.pi * arc / 0.8)) * -6 + 1, 0, 1)
    white = u(0.16, 0.45) * (1 - 0.25 * min(look.age, 1)) * gaps * np.clip((z - 1.5) / 5, 0.1, 1)
    gum = (0.1 + 0.3 * look.skin) * np.clip((z - 1.5) / 5, 0.1, 1)
    upper, lower = (region == REGIONS.index(name) for name in ("upper_teeth", "lower_teeth"))
    paint = np.where(upper, np.where(y > -5.85, gum, white), paint)
    return np.where(lower, np.where(y < -7.25, gum, 0.85 * white), paint)


def paint_eyes(
    place: np.ndarray, look: Look, eyes: dict[str, Eyeball], rng: np.random.Generator
) -> np.ndarray:
    """The albedo (N,) of places (N, 3) of the head frame on the eyeballs.

    White, iris and pupil by the angle from where the eye looks; shade under the upper lid.
    """
    u = rng.uniform
    white = u(0.4, 1.05) * (0.22 + 0.45 * look.skin)
    lid, ends = u(0.3, 0.8), u(0.2, 0.7)
    pupil, iris_radius = u(0.12, 0.27), u(0.55, 0.62)
    paint = np.empty(len(place), np.float32)
    for _, own, ray, far in on_each_eye(eyes, place):
        ring = 1 - 0.5 * bell(far - iris_radius + 0.03, 0.05)
        iris = look.iris * np.clip(0.6 + 0.8 * far / iris_radius, 0.2, 1.5) * ring
        eye = mix(white * (1 - 0.3 * ramp(far - 1.1, 0.5)), iris, ramp(iris_radius - far, 0.07))
        eye = mix(eye, 0.004, ramp(pupil - far, 0.05))
        corner = np.abs(ray[:, 0]) - 0.72
        eye = eye * (1 - ends * ramp(corner, 0.3)) * (1 - lid * ramp(ray[:, 1] - 0.2, 0.35))
        paint[own] = eye
    return paint
