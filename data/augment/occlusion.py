"""Occlusion: random objects painted over faces; the key points below stay where they are."""

from typing import Any, NamedTuple

import numpy as np

from data.key_points import KEY_POINTS, SIZE, Names, eye_centres
from data.settings import Settings


def occlude(
    pictures: np.ndarray,
    key_points: np.ndarray,
    rng: np.random.Generator,
    settings: Settings,
    names: Names = KEY_POINTS,
) -> None:
    """Cover parts of the pictures (N, 96, 96) in place; the key points below stay where they are.

    Patches of grey, of noise and of other pictures lie anywhere. Where the eye centres are
    labelled, dark glasses lie over the eyes, hats from the brows upwards, hair over the forehead
    or down one side, and hands, in the face's own grey, across its lower or outer part.

    Args:
        pictures: float32 (N, 96, 96), 0 .. 255.
        key_points: float32 (N, K, 2) in pixels, NaN where not labelled.
        rng: the same state gives the same occlusion.
        settings: the probabilities.
        names: of the key points; without eye centres among them only patches are painted.
    """
    cover_with_patches(pictures, rng, settings.cut_out)
    eyes = eye_centres(names)
    if not eyes:
        return
    frame = find_frame(key_points, eyes)

    def some(share: float) -> np.ndarray:
        return np.flatnonzero(frame.usable & (rng.random(len(pictures)) < share))

    put_on_sunglasses(pictures, frame, some(settings.sunglasses), rng)
    put_on_hats(pictures, frame, some(settings.hat), rng)
    hang_hair(pictures, frame, some(settings.hair), rng)
    raise_hands(pictures, frame, some(settings.hand), rng)


class Frame(NamedTuple):
    """Each face's coordinate frame, given by its eyes."""

    left: np.ndarray  # (N, 2) pixels, the eyes' centres
    right: np.ndarray
    middle: np.ndarray  # between them
    across: np.ndarray  # (N, 2) from the right eye to the left one
    up: np.ndarray  # (N, 2) towards the forehead, as long as `across`
    distance: np.ndarray  # (N,) between the eyes
    tilt: np.ndarray  # (N,) radians
    usable: np.ndarray  # bool (N,)


def find_frame(key_points: np.ndarray, eyes: tuple[int, int]) -> Frame:
    """The faces' frames, from key points (N, K, 2) and the indices of the eye centres."""
    left, right = (key_points[:, eye] for eye in eyes)
    if np.nansum((left - right)[:, 0]) < 0:  # left is the viewer's: `up` would point down
        left, right = right, left
    across = left - right
    distance = np.linalg.norm(across, axis=-1)
    return Frame(
        left=left,
        right=right,
        middle=(left + right) / 2,
        across=across,
        up=np.stack([across[:, 1], -across[:, 0]], -1),
        distance=distance,
        tilt=np.arctan2(across[:, 1], across[:, 0]),
        # False where the eyes are not labelled, or close to one another in a profile.
        usable=distance > 8,
    )


def paint(
    pictures: np.ndarray,
    rows: np.ndarray,
    centre: np.ndarray,
    half_width: Any,
    half_height: Any,
    angle: Any,
    exponent: Any,
    fill: Any,
    opacity: Any = 1.0,
    round_: float = 0,
) -> None:
    """Paint a superellipse on each of the pictures `rows`: exponent 2 is an ellipse, 4 a box with
    round corners.

    `round_` says how much they darken towards their edge, as a cylinder does.
    """
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    cx, cy, w, h, t, n = (
        np.broadcast_to(v, len(rows)).astype(np.float32)[:, None, None]
        for v in (centre[:, 0], centre[:, 1], half_width, half_height, angle, exponent)
    )
    along = (x - cx) * np.cos(t) + (y - cy) * np.sin(t)
    down = (y - cy) * np.cos(t) - (x - cx) * np.sin(t)
    outwards = np.abs(along / w) ** n + np.abs(down / h) ** n
    covered = opacity * np.clip((1 - outwards) * w / 3, 0, 1)  # soft edges, about a pixel wide
    pictures[rows] += covered * (fill * (1 - round_ * outwards) - pictures[rows])


def uniform(rng: np.random.Generator, rows: np.ndarray, low: float, high: float) -> np.ndarray:
    """A random number for each of the rows, float32 (len(rows),)."""
    return rng.uniform(low, high, len(rows)).astype(np.float32)


def grey(rng: np.random.Generator, rows: np.ndarray, low: float, high: float) -> np.ndarray:
    """As `uniform`, shaped to broadcast with pictures: (len(rows), 1, 1)."""
    return uniform(rng, rows, low, high)[:, None, None]


def cover_with_patches(pictures: np.ndarray, rng: np.random.Generator, per_picture: float) -> None:
    """Two rounds of patches of grey, of noise or of another picture, anywhere."""
    count = len(pictures)
    for _ in range(2):
        rows = np.flatnonzero(rng.random(count) < per_picture / 2)
        shape = (len(rows), SIZE, SIZE)
        kind = rng.random((len(rows), 1, 1))
        noise = rng.uniform(0, 255, shape).astype(np.float32)
        other = np.roll(pictures[rng.permutation(count)[: len(rows)]], rng.integers(SIZE), axis=2)
        paint(
            pictures,
            rows,
            rng.uniform(0, SIZE - 1, (len(rows), 2)),
            uniform(rng, rows, 5, 25),
            uniform(rng, rows, 5, 20),
            uniform(rng, rows, 0, np.pi),
            rng.choice([2, 4], len(rows)),
            np.where(kind < 0.6, grey(rng, rows, 0, 255), np.where(kind < 0.75, noise, other)),
        )


def put_on_sunglasses(
    pictures: np.ndarray, frame: Frame, rows: np.ndarray, rng: np.random.Generator
) -> None:
    """Glasses, more or less dark, over both eyes of the faces `rows`."""
    width = frame.distance[rows] * uniform(rng, rows, 0.28, 0.46)
    height = width * uniform(rng, rows, 0.6, 1.0)
    exponent = rng.choice([2, 3, 4], len(rows))
    dark, opacity = grey(rng, rows, 0, 70), grey(rng, rows, 0.75, 1)
    for eye in (frame.left, frame.right):
        paint(pictures, rows, eye[rows], width, height, frame.tilt[rows], exponent, dark, opacity)


def put_on_hats(
    pictures: np.ndarray, frame: Frame, rows: np.ndarray, rng: np.random.Generator
) -> None:
    """Cloth from the brows upwards, every other one with a peak."""
    edge = uniform(rng, rows, 0.15, 0.7)[:, None]  # the brim's height above the eyes
    shape = (len(rows), SIZE, SIZE)
    cloth = grey(rng, rows, 0, 255) + rng.normal(0, 12, shape).astype(np.float32)
    at = frame.middle[rows] + frame.up[rows] * (edge + 1)
    size = 2 * frame.distance[rows], frame.distance[rows]
    paint(pictures, rows, at, *size, frame.tilt[rows], 6, cloth)
    peak = rows[rng.random(len(rows)) < 0.5]
    at = frame.middle[peak] + frame.up[peak] * (edge[np.isin(rows, peak)] + 0.05)
    width = frame.distance[peak] * uniform(rng, peak, 0.8, 1.3)
    height = frame.distance[peak] * uniform(rng, peak, 0.1, 0.25)
    paint(
        pictures, peak, at, width, height, frame.tilt[peak], 2, grey(rng, peak, 0, 160), round_=0.4
    )


def hang_hair(
    pictures: np.ndarray, frame: Frame, rows: np.ndarray, rng: np.random.Generator
) -> None:
    """Strands over the forehead or down one side."""
    strands = rng.normal(0, 1, (len(rows), 1, SIZE)) * grey(rng, rows, 5, 35)
    strands = np.abs(grey(rng, rows, 0, 150) + strands).astype(np.float32)
    fringe = rng.random(len(rows)) < 0.5
    aside = np.where(fringe, uniform(rng, rows, -0.5, 0.5), rng.choice([-1, 1], len(rows)))
    aside *= np.where(fringe, 1, uniform(rng, rows, 0.9, 1.6))
    above = np.where(fringe, uniform(rng, rows, 1.05, 1.5), uniform(rng, rows, -0.5, 0.3))
    at = frame.middle[rows] + aside[:, None] * frame.across[rows] + above[:, None] * frame.up[rows]
    half_width = frame.distance[rows] * np.where(fringe, 1.5, uniform(rng, rows, 0.4, 0.7))
    half_height = frame.distance[rows] * np.where(fringe, 1, 2)
    lean = frame.tilt[rows] + uniform(rng, rows, -0.3, 0.3)
    exponent = rng.choice([2, 4], len(rows))
    paint(pictures, rows, at, half_width, half_height, lean, exponent, strands)


def raise_hands(
    pictures: np.ndarray, frame: Frame, rows: np.ndarray, rng: np.random.Generator
) -> None:
    """A palm and four fingers, in the face's own grey, across its lower or outer part."""
    skin = pictures[rows, 24:72, 24:72].mean((1, 2), keepdims=True) * grey(rng, rows, 0.9, 1.3)
    side = rng.choice([-1, 1], len(rows))
    at = frame.middle[rows] + frame.across[rows] * (side * uniform(rng, rows, 0.1, 1.1))[:, None]
    at -= frame.up[rows] * uniform(rng, rows, 0.3, 1.6)[:, None]
    lean = frame.tilt[rows] - side * uniform(rng, rows, 0, 1.5)
    finger = np.stack([-np.sin(lean), np.cos(lean)], -1)  # from the finger tips to the palm
    beside = np.stack([np.cos(lean), np.sin(lean)], -1)
    thick = frame.distance[rows] * uniform(rng, rows, 0.09, 0.14)
    for i in range(4):
        length = thick * uniform(rng, rows, 3.5, 5)
        tip = at + beside * ((2.1 * i - 3.1) * thick)[:, None] + finger * length[:, None]
        angle = lean + uniform(rng, rows, -0.06, 0.06)
        paint(pictures, rows, tip, thick, length, angle, 3, skin, 1, 0.35)
    palm = at + finger * (10 * thick)[:, None]
    paint(pictures, rows, palm, 4.4 * thick, 5 * thick, lean, 3, skin, 1, 0.2)
