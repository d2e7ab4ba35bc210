"""The 3-D head of a synthetic face: its surface, and the 15 exact key points on it.

Head frame: x to the right of the picture (the subject's left), y down, z towards the viewer; the
eyes lie at (+-0.5, 0), so lengths are in eye distances.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data.key_points import KEY_POINTS
from data.synthetic.curves import Numbers, bell
from data.synthetic.person import Person

NOSE = KEY_POINTS.index("nose_tip")

# The surface's rows (heights y) and columns (azimuths around the head): dense where the face is.
ROWS = np.interp(np.arange(216), [0, 52, 172, 215], [-1.75, -0.5, 1.5, 2.4]).astype(np.float32)
AZIMUTHS = np.interp(
    np.arange(-103, 104), [-103, -54, 54, 103], np.radians([-115, -48, 48, 115])
).astype(np.float32)
SIN, COS = np.sin(AZIMUTHS), np.cos(AZIMUTHS)

Window = tuple[slice, slice]  # rows and columns of the surface


class HeadSurface:
    """A person's head as a grid of ROWS x AZIMUTHS, all float32 (216, 207).

    `x` and `z` are its coordinates in the head frame (y is ROWS), `albedo` its paint: the share of
    light that it reflects, at first the skin's everywhere.
    """

    def __init__(self, person: Person) -> None:
        chin = person.chin
        jaw = [-1.75, -1.3, -0.8, -0.3, 0.2, 0.7, 1.1, chin - 0.28, chin - 0.09, chin]
        width = np.array([0.6, 0.95, 1.06, 1.1, 1.1, 1.07, 1.0, 0.8, 0.58, 0.4])
        width = width * person.width / 1.08
        width[6:9] += person.jaw
        self.width = _profile([*jaw, chin + 0.2, 2.8], [*width, 0.62, 0.7])
        front = _profile(
            [-1.75, -1.3, -0.9, -0.35, -0.05, 0.5, 0.9, 1.35, chin - 0.12, chin, chin + 0.15, 2.8],
            [-0.75, -0.3, -0.08, 0.02, -0.01, 0.03, 0.06, 0.02, 0.05, -0.05, -0.55, -0.6],
        )
        self.x = self.width[:, None] * SIN
        depth = person.depth * (0.3 + 0.7 * self.width / person.width)
        self.z = front[:, None] - depth[:, None] * (1 - COS) ** 1.3  # flatter than an ellipse
        self.albedo = np.full(self.x.shape, person.skin, np.float32)
        self._add_nose(person)
        self._add_sides(person)
        self._add_mouth_and_chin(person)

    def _add_nose(self, person: Person) -> None:
        """A ridge that grows towards the tip and falls off under it, and the tip."""
        at, x, y = self.patch(-0.55, 0.55, -0.2, person.nose_y + 0.25)
        along = np.clip((y + 0.15) / (person.nose_y + 0.15), 0, 1)
        under = 0.5 + 0.5 * np.cos(np.pi * np.clip((y - person.nose_y - 0.04) / 0.23, 0, 1))
        ridge = person.nose_width * (0.085 + 0.055 * along)
        self.z[at] += person.nose_height * along**1.4 * under * bell(x, ridge)
        self._bump(0, person.nose_y - 0.01, 0.1 * person.nose_width, 0.1, 0.05)

    def _add_sides(self, person: Person) -> None:
        """What is there twice: the nose's wings, eye sockets, eyeballs, brow ridges, cheeks."""
        smile = max(person.smile, 0)
        for side in (-1, 1):
            self._bump(side * 0.2 * person.nose_width, person.nose_y + 0.06, 0.06, 0.065, 0.1)
            self._bump(side * 0.5, 0.0, 0.24, 0.15, -person.socket)
            self._bump(side * 0.5, 0.0, 0.15, 0.1, 0.06)
            self._bump(side * 0.27, 0.0, 0.08, 0.12, -0.07)
            self._bump(side * 0.45, -0.28, 0.28, 0.09, person.brow_ridge)
            cheek = person.cheek + 0.06 * smile
            self._bump(side * 0.6, 0.5 - 0.06 * smile, 0.26, 0.2, cheek)
            self._bump(side * 0.42, 0.82, 0.1, 0.14, -0.02 - 0.05 * smile)

    def _add_mouth_and_chin(self, person: Person) -> None:
        """The mound of the mouth, both lips, the hollow below them and the chin."""
        self._bump(0, 1.05, 0.36, 0.24, 0.09)
        upper_out, upper_in, lower_in, lower_out, _ = mouth_lines(person, person.mouth_x)
        self._bump(person.mouth_x, (upper_out + upper_in) / 2, 0.2, 0.05, 0.035)
        self._bump(person.mouth_x, (lower_out + lower_in) / 2, 0.18, 0.055, 0.05)
        self._bump(person.mouth_x, lower_out + 0.08, 0.22, 0.06, -0.05)
        self._bump(0, person.chin - 0.22, 0.22, 0.14, 0.07)

    def _bump(self, x: float, y: Numbers, size_x: float, size_y: float, height: float) -> None:
        """Raise (or sink) the surface around x, y by a Gaussian."""
        at, px, py = self.patch(x - 3 * size_x, x + 3 * size_x, y - 3 * size_y, y + 3 * size_y)
        self.z[at] += height * bell(py - y, size_y) * bell(px - x, size_x)

    def patch(
        self, x0: float, x1: float, y0: Numbers, y1: Numbers
    ) -> tuple[Window, np.ndarray, np.ndarray]:
        """A rectangle of the face: its slices, x (rows, columns) and y (rows, 1) inside it."""
        r0, r1 = np.searchsorted(ROWS, np.stack([y0, y1]))
        narrow, wide = self.width[r0 : r1 + 1].min(), self.width[r0 : r1 + 1].max()
        ends = [x0 / (narrow if x0 < 0 else wide), x1 / (narrow if x1 > 0 else wide)]
        c0, c1 = np.searchsorted(AZIMUTHS, np.arcsin(np.clip(ends, -1, 1)))
        at = slice(r0, r1), slice(c0, c1)
        return at, self.x[at], ROWS[at[0], None]

    def side_patch(
        self, side: int, inner: float, outer: float, y0: float, y1: float
    ) -> tuple[Window, np.ndarray, np.ndarray]:
        """`patch` of one half of the face: 1 is the subject's left; inner and outer are > 0."""
        x0, x1 = sorted((side * inner, side * outer))
        return self.patch(x0, x1, y0, y1)

    def lift(self, points: np.ndarray) -> np.ndarray:
        """x, y on the face (N, 2) -> x, y, z on the surface, float32 (N, 3)."""
        row = np.interp(points[:, 1], ROWS, np.arange(len(ROWS)))
        width = np.interp(points[:, 1], ROWS, self.width)
        azimuth = np.arcsin(np.clip(points[:, 0] / width, -1, 1))
        column = np.interp(azimuth, AZIMUTHS, np.arange(len(AZIMUTHS)))
        r, c = row.astype(int), column.astype(int)
        a, b = row - r, column - c
        z = self.z
        z = (1 - a) * ((1 - b) * z[r, c] + b * z[r, c + 1]) + a * (
            (1 - b) * z[r + 1, c] + b * z[r + 1, c + 1]
        )
        return np.column_stack([points, z]).astype(np.float32)

    def key_points(self, person: Person) -> np.ndarray:
        """The 15 points x, y, z (15, 3); the nose tip is the foremost point of the nose."""
        points = _marked_points(person)
        near = np.flatnonzero(np.abs(ROWS - person.nose_y) < 0.12)
        points[NOSE, 1] = ROWS[near[np.argmax(self.z[near, len(AZIMUTHS) // 2])]]
        return self.lift(points)


def _profile(y: Sequence[float], value: Sequence[float]) -> np.ndarray:
    """Values along y, interpolated at ROWS and smoothed."""
    padded = np.interp(ROWS, y, value)
    padded = np.pad(padded, 9, mode="edge")
    return np.convolve(padded, np.hanning(21)[1:-1] / 10, "valid").astype(np.float32)


def pupil_offset(person: Person) -> tuple[float, float]:
    """How far each pupil is from its eye's middle, to the subject's left and down."""
    return person.gaze[0], person.gaze[1] - 0.015


def mouth_lines(person: Person, x: Numbers) -> tuple[np.ndarray, ...]:
    """Heights y of the lips' four edges at x, from the top; last, x in half widths of the mouth."""
    beyond = np.asarray((x - person.mouth_x) / person.mouth_width)
    t = np.clip(beyond, -1, 1)
    corner = -0.1 * person.smile + 0.18 * person.gap
    line = person.mouth_y + corner * t * t + person.mouth_tilt * t
    opening = 1 - np.abs(t) ** 2.4
    upper_in = line - 0.2 * person.gap * opening
    lower_in = line + 0.8 * person.gap * opening
    cupid = 1 + 0.18 * bell(np.abs(t) - 0.27, 0.15) - 0.06 * bell(t, 0.15)
    upper_out = upper_in - person.upper_lip * (1 - np.abs(t) ** 1.7) * cupid
    lower_out = lower_in + person.lower_lip * (1 - t * t) ** 0.8
    return upper_out, upper_in, lower_in, lower_out, beyond


def _marked_points(person: Person) -> np.ndarray:
    """The 15 points as x, y on the face, float32 (15, 2), as an annotator would mark them."""
    opening = (person.lid_low - person.lid_up) / 4  # mean of both corners and of the lids' middles
    (across, down), points = pupil_offset(person), []
    for x, y in person.eyes:  # halfway between the opening's middle and the pupil
        points.append((x + across / 2, y + (opening + down) / 2))
    for side, (x, y) in zip((1, -1), person.eyes, strict=True):
        points.append((x - side * person.eye_half, y + person.eye_tilt))
        points.append((x + side * person.eye_half, y - person.eye_tilt))
    for side, brow in zip((1, -1), person.brows, strict=True):
        points += [(side * x, y) for x, y in brow]
    points.append((0, person.nose_y))
    for side in (1, -1):
        x = person.mouth_x + side * person.mouth_width
        points.append((x, mouth_lines(person, x)[1]))
    upper_out, _, _, lower_out, _ = mouth_lines(person, person.mouth_x)
    points += [(person.mouth_x, upper_out), (person.mouth_x, lower_out)]
    return np.array(points, np.float32)
