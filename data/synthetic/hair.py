"""Hair of a synthetic head: on the head and behind it, beard and moustache; hats and ears too."""

from __future__ import annotations

import numpy as np

from data.synthetic.curves import bell, mix, ramp, smooth_noise
from data.synthetic.head import AZIMUTHS, ROWS, HeadSurface, mouth_lines
from data.synthetic.person import Person


def paint_beard(head: HeadSurface, person: Person, rng: np.random.Generator) -> None:
    """Beard on jaw and chin, moustache under the nose, stubble on both."""
    if not (person.beard or person.moustache or person.stubble):
        return
    at, x, y = head.patch(-1.2, 1.2, person.nose_y + 0.12, person.chin + 0.15)
    upper_out, _, _, lower_out, t = mouth_lines(person, x)
    mouth = ramp(y - upper_out, 0.03) * ramp(lower_out - y, 0.03) * (np.abs(t) < 1)
    grain = 0.85 + 0.22 * smooth_noise(rng, x.shape, (60, 60))
    sides = ramp(np.abs(x) - 0.62 * person.width + 0.45 * (y - person.mouth_y), 0.3)
    sides = sides * ramp(y - 0.75, 0.7)
    under = ramp(y - person.mouth_y - 0.15 - 0.1 * np.abs(x), 0.12)
    lip = ramp(0.46 - np.abs(x) + 0.2 * (y - 1), 0.1) * ramp(y - person.nose_y - 0.2, 0.08)
    edge = upper_out + np.where(np.abs(t) < 1, person.hanging, 0) + 0.3 * np.abs(x)
    lip = lip * ramp(np.maximum(edge, upper_out + person.hanging) - y, 0.08)
    jaw = np.maximum(sides, under) * max(person.beard, person.stubble)
    cover = np.maximum(jaw, lip * person.stubble)
    cover = np.maximum(cover * (1 - mouth), lip * person.moustache) * grain
    head.albedo[at] = mix(head.albedo[at], person.hair * 0.8, np.clip(cover, 0, 1))


def paint_hair(head: HeadSurface, person: Person, rng: np.random.Generator) -> np.ndarray:
    """Paint hair, a hat and ears; returns how far they stand off the head, like `albedo`."""
    ragged = 0.05 * smooth_noise(rng, (2, len(AZIMUTHS)), (2, int(rng.integers(8, 30))))[0]
    ragged = ragged + rng.uniform(0, 0.08) * smooth_noise(rng, (2, len(AZIMUTHS)), (2, 90))[0]
    line, off = _hairline(person)
    cover = ramp(line + ragged - ROWS[:, None], rng.uniform(0.06, 0.25))
    if person.ears:
        cover *= 1 - _ear(0.2)
    strands = smooth_noise(rng, cover.shape, (12, 110)) + smooth_noise(rng, cover.shape, (8, 14))
    strands = 1 + rng.uniform(0.05, 0.3) * strands
    head.albedo[:] = mix(head.albedo, person.hair * np.clip(strands, 0.2, 2.5), cover)
    if person.hat is not None:
        edge = person.hat + 0.1 * person.parting * AZIMUTHS
        cover = ramp(edge[None] - ROWS[:, None], 0.03)
        cloth = rng.uniform(0.05, 0.9) * (1 + 0.15 * smooth_noise(rng, cover.shape, (20, 40)))
        head.albedo[:] = mix(head.albedo, cloth, cover)
        off = mix(off, rng.uniform(0.08, 0.3), cover)
    if person.ears:
        hollow = np.abs(AZIMUTHS) - 1.5
        head.albedo *= 1 - 0.5 * _ear(0.1) * bell(hollow, 0.05)
        off = off + person.ears * _ear(0.4)
    return off.astype(np.float32)


def _hairline(person: Person) -> tuple[np.ndarray, np.ndarray]:
    """Down to which y there is hair, per azimuth, and how far it stands off the whole surface."""
    azimuth = np.abs(AZIMUTHS)
    line = person.hairline + 0.25 * np.square(azimuth) + 0.1 * person.parting * AZIMUTHS
    if person.fringe is not None:
        edge = person.fringe + 0.3 * person.parting * AZIMUTHS
        line = np.where(azimuth < person.hair_side, np.maximum(line, edge), line)
    if person.bald:
        line = line - 1.2
    side = 3.0 if person.long_hair else person.sideburn
    line = mix(line, side, ramp(azimuth - person.hair_side, 0.25))
    back = mix(person.hairline, side, ramp(azimuth - person.hair_side - 0.2, 0.9))
    end = -3.0 if person.bald else back
    return line, person.hair_volume * ramp(end - ROWS[:, None] - 0.2, 0.8)


def _ear(soft: float) -> np.ndarray:
    """How much each place on ROWS x AZIMUTHS belongs to an ear, 0..1."""
    azimuth = np.abs(AZIMUTHS)
    distance = np.square((ROWS[:, None] - 0.18) / 0.38) + np.square((azimuth - 1.52) / 0.17)
    return ramp(1 - distance, soft * 3)


def long_hair_behind(
    canvas: np.ndarray, x: np.ndarray, y: np.ndarray, person: Person, rng: np.random.Generator
) -> np.ndarray:
    """The canvas with long hair behind the head; x (1, N), y (N, 1) relative to its middle."""
    size = canvas.shape
    reach = person.width + rng.uniform(0.05, 0.45) + 0.06 * smooth_noise(rng, size, (14, 5))
    length = rng.uniform(0.6, 2.5)
    wide = ramp(reach - np.abs(x), 0.05) * ramp(length - y, 0.15) * ramp(y + 0.9, 0.5)
    strands = 1 + 0.3 * smooth_noise(rng, size, (8, 90))
    return mix(canvas, person.hair * 0.8 * strands, wide)
