"""Synthetic heads that move before a still background: frames, and their exact key points.

The heads of data/synthetic/head.py, drawn again for each frame in another pose: they turn, nod,
talk and blink. No real video comes with exact key points; these do, so that a tracker's error, lag
and jitter can be measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from typing import NamedTuple

import numpy as np

from data.key_points import KEY_POINTS
from data.synthetic.camera import rasterise, rotation_matrix
from data.synthetic.curves import mix, ramp, smooth_noise
from data.synthetic.hair import paint_hair
from data.synthetic.head import HeadSurface
from data.synthetic.light import draw_light, shade
from data.synthetic.paint import paint_brows, paint_eyes, paint_mouth, paint_skin
from data.synthetic.person import Person

TILE = 288  # pixels; a head is painted on such a square, then put into the frame
TILE_EYES = 50.0  # pixels between its eyes: as dense as the surface's grid allows
ANCHOR = np.array([144.0, 118.0])  # where in the tile the middle between the eyes is, unturned
PIVOT = np.array([0.0, 0.35, -1.0])  # what a head turns about, in the head's frame: its middle


class Pose(NamedTuple):
    """One head in one frame. Angles in degrees, positions in pixels of the frame."""

    x: float = 320.0  # the middle between the eyes of the head seen from the front
    y: float = 220.0
    eyes: float = 60.0  # pixels between the eyes, seen from the front
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    mouth: float = 0.0  # how far it is open, 0 .. 1
    lids: float = 1.0  # 1 open, 0 closed


Motion = Callable[[float], Pose | None]  # the pose at a time in seconds; None: not in the picture


def still(seconds: float) -> Pose:
    """A head that does not move."""
    return Pose()


def turning(degrees_a_second: float = 90.0, reach: float = 30.0) -> Motion:
    """A head that turns from side to side at a constant speed, and back."""

    def pose(seconds: float) -> Pose:
        quarter = (seconds * degrees_a_second / reach + 1) % 4  # from the middle to a side is 1
        return Pose(yaw=reach * (1 - abs(quarter - 2)))

    return pose


def lively(seed: int) -> Motion:
    """A head that turns, nods, drifts, talks and blinks, each in a rhythm of its own."""
    rng = np.random.default_rng((seed, 77))
    speed = rng.uniform(0.7, 1.3, 8)
    phase = rng.uniform(0, 2 * np.pi, 8)

    def wave(k: int, hertz: float, seconds: float) -> float:
        return float(np.sin(2 * np.pi * hertz * speed[k] * seconds + phase[k]))

    def pose(seconds: float) -> Pose:
        talking = wave(6, 0.2, seconds) > -0.5
        syllables = abs(wave(4, 2.1, seconds) * wave(5, 0.9, seconds))
        since_blink = (seconds * speed[7] + phase[7]) % 2.5
        return Pose(
            x=320 + 40 * wave(0, 0.3, seconds),
            y=220 + 15 * wave(1, 0.4, seconds),
            eyes=60 * (1 + 0.08 * wave(2, 0.25, seconds)),
            yaw=22 * wave(0, 0.45, seconds),
            pitch=7 * wave(1, 0.55, seconds),
            roll=6 * wave(3, 0.35, seconds),
            mouth=0.8 * syllables if talking else 0.0,
            lids=float(np.clip(abs(since_blink - 0.15) / 0.12, 0, 1)),  # shut for a moment
        )

    return pose


class Head:
    """One person, who can be drawn in any pose; the seed alone decides who."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        rng = np.random.default_rng((seed, 0))
        self.person = Person(rng)
        self.light = draw_light(rng)
        # Nothing that would cover the face, or be painted anew as the jaw moves (a beard's grain).
        self.person.glasses = 0
        self.person.beard = self.person.moustache = self.person.stubble = 0.0
        self.person.fringe = self.person.hat = None
        self.cloth = rng.uniform(0.1, 0.8)
        self.neck = rng.normal(1.75, 0.1)

    def draw(self, pose: Pose) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The head in a pose: on a tile, which `put_head` scales and puts into a frame.

        Returns:
            Grey values 0 .. 1 and opacity 0 .. 1, both (TILE, TILE) float32, and the 15 exact key
            points in the tile's pixels, (15, 2).
        """
        person = self._posed(pose)
        head = HeadSurface(person)
        points = head.key_points(person)
        rotation = rotation_matrix(person)
        # Every part has random numbers of its own, the same in each frame: paint does not crawl.
        streams = [np.random.default_rng((self.seed, part)) for part in range(1, 5)]
        paint_skin(head, person, streams[0])
        paint_eyes(head, person, self.light, streams[1])
        paint_brows(head, person, streams[2])
        paint_mouth(head, person)
        off = paint_hair(head, person, streams[3])
        value, x, y = shade(head, off, rotation, person, self.light)
        moved = ANCHOR + TILE_EYES * (PIVOT - rotation @ PIVOT)[:2]
        x, y = (TILE_EYES * place + shift for place, shift in zip((x, y), moved, strict=True))
        behind, opacity = self._behind(person, rotation, moved)
        drawn = rasterise(value, x, y, person, np.full((TILE, TILE), -1, np.float32))
        covered = drawn >= 0
        flat = TILE_EYES * (points @ rotation[:2].T) + moved
        return np.where(covered, drawn, behind), np.maximum(covered, opacity), flat

    def _posed(self, pose: Pose) -> Person:
        """The person with the pose's angles, mouth and lids."""
        person = copy(self.person)
        person.yaw, person.pitch, person.roll = (
            float(np.radians(angle)) for angle in (pose.yaw, pose.pitch, pose.roll)
        )
        person.gap = 0.35 * pose.mouth
        person.mouth_width = float(np.clip(person.mouth_width - 0.12 * person.gap, 0.27, 0.62))
        person.chin = person.chin + 0.6 * (person.gap - self.person.gap)
        person.lid_up = person.lid_up * (1.15 * pose.lids - 0.15)
        return person

    def _behind(
        self, person: Person, rotation: np.ndarray, moved: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Shoulders, which stay where they are, the crown and long hair: grey values, opacity."""
        place = np.arange(TILE, dtype=np.float32)
        x, y = place[None] - ANCHOR[0], place[:, None] - ANCHOR[1]
        x, y = x / TILE_EYES, y / TILE_EYES
        opacity = ramp(y - self.neck - 0.25 * np.square(x), 0.06)
        value = np.full((TILE, TILE), self.cloth, np.float32)
        shift = (moved - ANCHOR) / TILE_EYES
        # The surface ends below the crown: a dome stands behind it.
        middle = (rotation @ [0, -1.5, -0.7])[:2] + shift
        distance = np.hypot((x - middle[0]) / (0.72 * person.width), (y - middle[1]) / 0.55)
        hair = ramp(1 - distance, 0.05)
        if person.long_hair:
            aside = np.abs(x - 0.3 * shift[0])
            long = ramp(person.width + 0.15 - aside, 0.05) * ramp(1.5 - y, 0.15)
            hair = np.maximum(hair, long * ramp(y + 0.9, 0.5))
        tone = person.skin * 0.6 if person.bald else person.hair * 0.8
        return mix(value, tone, hair), np.maximum(opacity, hair)


def make_background(width: int, height: int, seed: int) -> np.ndarray:
    """A wall with some things on it, float32 (height, width), 0 .. 1."""
    rng = np.random.default_rng((seed, 99))
    wall = rng.uniform(0.3, 0.7) + 0.08 * smooth_noise(rng, (height, width), (3, 4))
    wall = wall + 0.04 * smooth_noise(rng, (height, width), (40, 50))
    for _ in range(8):
        x, y = rng.integers(width), rng.integers(height)
        part = wall[y : y + rng.integers(20, 160), x : x + rng.integers(20, 160)]
        part[:] = mix(part, rng.uniform(0, 1), rng.uniform(0.2, 0.8))
    return np.clip(wall, 0, 1).astype(np.float32)


def put_head(frame: np.ndarray, head: Head, pose: Pose) -> np.ndarray:
    """Draw a head into `frame` (H, W), float32 0 .. 1; returns its key points (15, 2) there."""
    from PIL import Image

    value, opacity, points = head.draw(pose)
    scale = pose.eyes / TILE_EYES
    # Positions from the outer edge of the first pixel: frame = origin + scale * tile.
    origin = np.array([pose.x, pose.y]) + 0.5 - scale * (ANCHOR + 0.5)
    height, width = frame.shape
    x0, y0 = np.ceil(np.maximum(origin, 0)).astype(int)
    x1, y1 = np.floor(np.minimum(origin + scale * TILE, (width, height))).astype(int)
    if x1 > x0 and y1 > y0:
        box = tuple(((np.array([x0, y0, x1, y1]) - [*origin, *origin]) / scale).tolist())
        value, opacity = (
            np.asarray(
                Image.fromarray(part.astype(np.float32)).resize(
                    (x1 - x0, y1 - y0), Image.Resampling.BILINEAR, box=box
                )
            )
            for part in (value * opacity, opacity)
        )
        # Below the tile the clothes go on.
        tile, below = (slice(y0, y1), value, opacity), (slice(y1, None), value[-1], opacity[-1])
        for rows, v, alpha in (tile, below):
            part = frame[rows, x0:x1]
            part[:] = part * (1 - alpha) + v
    return scale * (points + 0.5) + origin - 0.5


def make_frames(
    heads: Sequence[tuple[int, Motion]],
    seconds: float,
    rate: float = 30.0,
    size: tuple[int, int] = (640, 480),
    noise: float = 3.0,
    seed: int = 0,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Frames of moving heads, and where their key points are.

    Args:
        heads: a seed and a motion for each; later ones are nearer and hide earlier ones.
        seconds, rate, size: of the video; frames a second; (width, height) in pixels.
        noise: of the camera, standard deviation in grey values of 255, new in every frame.
        seed: of the background and of the noise.

    Yields:
        A uint8 (H, W) frame and float64 key points (heads, 15, 2) in its pixels, NaN where a head
        is not in the picture. Hidden points are given too.
    """
    people = [(Head(person), motion) for person, motion in heads]
    wall = make_background(*size, seed)
    rng = np.random.default_rng((seed, 98))
    for i in range(round(seconds * rate)):
        frame = wall.copy()
        truth = np.full((len(people), len(KEY_POINTS), 2), np.nan)
        for k, (head, motion) in enumerate(people):
            pose = motion(i / rate)
            if pose is not None:
                truth[k] = put_head(frame, head, pose)
        grain = noise * rng.standard_normal(frame.shape, dtype=np.float32)
        yield np.clip(np.rint(235 * frame + grain), 0, 255).astype(np.uint8), truth
