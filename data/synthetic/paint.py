"""What is painted on a synthetic head's skin: folds and wrinkles, eyes, brows and the mouth.

Each function multiplies or replaces `head.albedo` where its feature is. Hair is in
data/synthetic/hair.py.
"""

from __future__ import annotations

import numpy as np

from data.synthetic.curves import bell, mix, ramp, smooth_noise
from data.synthetic.head import HeadSurface, mouth_lines, pupil_offset
from data.synthetic.light import Light
from data.synthetic.person import Person


def paint_skin(head: HeadSurface, person: Person, rng: np.random.Generator) -> None:
    """Blotches, folds, nostrils and wrinkles."""
    shape = head.albedo.shape
    coarse, fine = smooth_noise(rng, shape, (9, 9)), smooth_noise(rng, shape, (70, 70))
    head.albedo *= 1 + 0.05 * coarse + 0.025 * fine
    for side in (-1, 1):
        _paint_fold_and_nostril(head, person, side)
    if person.old > 0.5:
        across, down = smooth_noise(rng, shape, (40, 16)), smooth_noise(rng, shape, (16, 30))
        lines = np.abs(across) + np.abs(down)
        head.albedo *= 1 - 0.1 * person.old * np.clip(1.2 - 3 * lines, 0, 1)
    if person.old > 0.7:  # lines across the forehead
        at, x, y = head.patch(-0.7, 0.7, -0.85, -0.3)
        phase = y * rng.uniform(30, 55) + 0.7 * np.cos(3 * x) + smooth_noise(rng, x.shape, (3, 4))
        wave = np.clip(np.sin(phase), 0, 1) * np.clip(1 - np.square(x / 0.7), 0, 1)
        head.albedo[at] *= 1 - 0.06 * person.old * wave


def _paint_fold_and_nostril(head: HeadSurface, person: Person, side: int) -> None:
    """The fold from the nose to the mouth, the crease around the nose's wing, and the nostril."""
    depth = 0.03 + 0.12 * min(person.old, 1.5) + 0.13 * max(person.smile, 0)
    nose_y = person.nose_y
    at, x, y = head.side_patch(side, 0.12, 0.75, nose_y, 1.25)
    along = np.clip((y - nose_y) / (person.mouth_y - nose_y), 0, 1.3)
    fold = 0.24 + (person.mouth_width - 0.14) * along**1.3
    head.albedo[at] *= 1 - depth * bell(side * x - fold, 0.04) * np.sin(np.pi * along / 1.3)
    at, x, y = head.side_patch(side, 0, 0.45, nose_y - 0.15, nose_y + 0.3)
    wing = np.hypot((side * x - 0.2 * person.nose_width) / 0.085, (y - nose_y - 0.07) / 0.1)
    outward = np.clip((side * x - 0.2 * person.nose_width) / 0.06 + 0.6, 0, 1)
    head.albedo[at] *= 1 - person.ala * bell(wing - 1, 0.25) * outward * (y < nose_y + 0.15)
    middle = side * 0.095 * person.nose_width
    distance = np.square((x - middle) / 0.055) + np.square((y - nose_y - 0.17) / 0.03)
    head.albedo[at] *= 1 - 0.65 * np.exp(-0.5 * distance * distance)


def paint_eyes(head: HeadSurface, person: Person, light: Light, rng: np.random.Generator) -> None:
    """Lids, lashes, eyeballs with iris and pupil, and the lamp's reflection on them."""
    for side, (eye_x, eye_y) in zip((1, -1), person.eyes, strict=True):
        lid_up, lid_low = person.lid_up * rng.normal(1, 0.05), person.lid_low
        at, x, y = head.side_patch(side, 0.15, 0.9, -0.3, 0.35)
        albedo = head.albedo[at]
        t = side * (x - eye_x) / person.eye_half
        line = eye_y - person.eye_tilt * t
        inside = np.clip(1 - np.abs(t) ** 2.2, 0, 1)
        upper = line - lid_up * inside * (1 - 0.12 * t)
        lower = np.maximum(line + lid_low * inside, upper + 0.004)
        near = np.clip(1.35 - np.abs(t), 0, 1)
        # Around the eye: the socket's shade, the lid's crease, bags below.
        albedo *= 1 - person.eye_shadow * bell(y + 0.06, 0.1) * bell(side * x - 0.42, 0.24)
        albedo *= 1 - person.crease * near * bell(y - (upper - 0.055), 0.014)
        albedo *= 1 - person.bag * near * bell(y - (lower + 0.08), 0.03)
        ball = person.sclera * (0.5 + 0.5 * np.clip((y - upper) / 0.05, 0, 1)) * (1 - 0.3 * t * t)
        across, down = pupil_offset(person)
        ball = _with_iris(ball, x - eye_x - across, y - eye_y - down, person, light)
        opening = ramp(y - upper, 0.02) * ramp(lower - y, 0.02) * (np.abs(t) < 1)
        albedo = mix(albedo, ball, opening)
        # Lashes: dark along the upper lid, faint along the lower.
        on_lid = np.clip(1.12 - np.abs(t), 0, 0.12) / 0.12
        albedo *= 1 - 0.85 * person.lash * on_lid * bell(y - upper + 0.008, 0.016)
        albedo *= 1 - 0.35 * person.lash * on_lid * bell(y - lower, 0.013)
        head.albedo[at] = albedo


def _with_iris(
    ball: np.ndarray, x: np.ndarray, y: np.ndarray, person: Person, light: Light
) -> np.ndarray:
    """The eyeball's grey values with iris, pupil and reflection; x, y from the iris' centre."""
    radius = np.hypot(x, y)
    iris = person.iris * (0.7 + 0.6 * np.clip(radius / person.iris_radius, 0, 1))
    iris = mix(iris, 0.02, ramp(0.042 - radius, 0.015))
    ball = mix(ball, iris, ramp(person.iris_radius - radius, 0.02))
    spot = np.hypot(x - light.reflection[0], y - light.reflection[1])
    return ball + person.highlight * ramp(0.024 - spot, 0.015)


def paint_brows(head: HeadSurface, person: Person, rng: np.random.Generator) -> None:
    """Both eyebrows: an arch from the inner to the outer end, of single hairs."""
    for side, ((inner_x, inner_y), (outer_x, outer_y)) in zip((1, -1), person.brows, strict=True):
        at, x, y = head.side_patch(side, 0.02, 1.02, -0.6, 0.15)
        t = (side * x - inner_x) / (outer_x - inner_x)
        arch = person.brow_arch * 4 * t * (1 - t) * (1 + person.brow_peak * (t - 0.5))
        line = inner_y + (outer_y - inner_y) * t - arch
        thick = person.brow_thick * np.clip(1.05 - person.brow_taper * t * t, 0.2, 1.1)
        ends = ramp(t, 0.12) * ramp(1 - t, 0.12)
        hairs = 1 + 0.3 * smooth_noise(rng, x.shape, (16, 30))
        cover = person.brow_dark * ends * np.exp(-(np.abs((y - line) / thick) ** 3)) * hairs
        head.albedo[at] = mix(head.albedo[at], person.hair * 0.6, np.clip(cover, 0, 1))


def paint_mouth(head: HeadSurface, person: Person) -> None:
    """Lips, what is between them, the shadow below, and the corners."""
    reach = person.mouth_width + 0.1
    at, x, y = head.patch(person.mouth_x - reach, person.mouth_x + reach, 0.75, 1.85)
    upper_out, upper_in, lower_in, lower_out, t = mouth_lines(person, x)
    albedo = head.albedo[at]
    within = np.abs(t) < 1
    lips = ramp(y - upper_out, 0.025) * ramp(lower_out - y, 0.03) * within
    tint = person.lip_shade * np.where(y < (upper_in + lower_in) / 2, 0.88, 1.0)
    albedo = albedo * (1 - lips * (1 - tint))
    # Inside the mouth: dark, with teeth hanging from the top, sometimes standing at the bottom.
    inside = np.full(x.shape, person.cavity * person.skin, np.float32)
    if person.teeth:
        gaps = 1 - 0.25 * np.square(t) - 0.06 * (np.cos(t * 28) > 0.9)
        rows = ramp(upper_in + person.teeth_drop - y, 0.02)
        if person.lower_teeth:
            rows = np.maximum(rows, ramp(y - lower_in + 0.05, 0.02) * 0.8)
        inside = mix(inside, person.teeth * gaps, rows * np.clip(1.4 - 1.1 * np.abs(t), 0, 1))
    cavity = ramp(y - upper_in, 0.02) * ramp(lower_in - y, 0.02) * within
    albedo = mix(albedo, inside, cavity * np.clip(person.gap / 0.03, 0, 1))
    albedo *= 1 - person.under_lip * bell(y - lower_out - 0.035, 0.03) * np.clip(1 - t * t, 0, 1)
    # The line between the lips, and the small dark dimples at the corners.
    albedo *= 1 - 0.55 * bell(y - upper_in, 0.014) * ramp(1.05 - np.abs(t), 0.1)
    for side in (1, -1):
        height = mouth_lines(person, person.mouth_x + side * person.mouth_width)[1]
        far = np.hypot(x - person.mouth_x - side * person.mouth_width, y - height)
        albedo *= 1 - 0.35 * bell(far, 0.025)
    head.albedo[at] = albedo
