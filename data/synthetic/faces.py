"""Synthetic grey face pictures, 96x96, with 15 exact key points each.

The pictures stand in for Kaggle's "Facial Keypoints Detection" data where that data is missing.
Every face is a small 3-D head: a surface over a grid of angles around the head and heights along
it, with a nose, lips, eye sockets and so on as bumps, painted with eyes, brows, lips and hair,
turned, lit, projected and then spoilt as cameras spoil pictures. All is drawn at random, so that a
net trained on these faces finds real photographs to be just one more variation.

Head frame: x to the right of the picture (the subject's left), y down, z towards the viewer; the
eyes lie at (+-0.5, 0), so 1 is the distance between the eyes.

    python -m data.synthetic --train 2000 --test 200    # writes training.csv and test.csv
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from data.key_points import COLUMNS, KEY_POINTS, SIZE
from data.system.command_line import natural, run_script
from data.system.files import HERE, InputError, make_folder, replace_file
from data.system.progress import follow

CANVAS = 144  # faces are painted larger and shrunk at the end
ZOOM = CANVAS / SIZE
NOSE = KEY_POINTS.index("nose_tip")

# The surface's rows (heights y) and columns (angles around the head): dense where the face is.
ROWS = np.interp(np.arange(216), [0, 52, 172, 215], [-1.75, -0.5, 1.5, 2.4]).astype(np.float32)
ANGLES = np.interp(
    np.arange(-103, 104), [-103, -54, 54, 103], np.radians([-115, -48, 48, 115])
).astype(np.float32)
SIN, COS = np.sin(ANGLES), np.cos(ANGLES)


# ---------------------------------------------------------------------------- small tools


@lru_cache(maxsize=256)
def _stretch_matrix(out, cells):
    """(out, cells) weights that stretch `cells` values smoothly over `out` places."""
    place = np.linspace(0, cells - 1, out)[:, None] - np.arange(cells)[None]
    weight = np.clip(1 - np.abs(place), 0, 1)
    weight = weight * weight * (3 - 2 * weight)
    return (weight / weight.sum(1, keepdims=True)).astype(np.float32)


def _noise(rng, height, width, cells_y, cells_x):
    """Smooth noise (height, width) of about unit size with the given number of cells."""
    coarse = rng.standard_normal((cells_y, cells_x), dtype=np.float32)
    return _stretch_matrix(height, cells_y) @ coarse @ _stretch_matrix(width, cells_x).T


def _step(distance, width):
    """0 below, 1 above, and a linear ramp `width` wide around distance 0."""
    return np.clip(distance / width + 0.5, 0, 1)


def _bell(distance, width):
    """1 at distance 0, falling off like a Gaussian of standard deviation `width`."""
    return np.exp(-0.5 * np.square(distance / width))


def _mix(below, above, weight):
    return below + (above - below) * weight


def _chance(rng, probability):
    return rng.random() < probability


# ---------------------------------------------------------------------------- who, and how


def _draw_person(rng):
    """Everything about one face that is decided before it is drawn, as a namespace."""
    n, u = rng.normal, rng.uniform
    f = SimpleNamespace()
    # Pose: mostly near frontal, with a tail of strongly turned heads.
    f.yaw = np.radians(np.clip(n(0, 20 if _chance(rng, 0.15) else 6), -50, 50))
    f.pitch = np.radians(np.clip(n(0, 9), -28, 28))
    f.roll = np.radians(np.clip(n(0, 9 if _chance(rng, 0.2) else 2.7), -30, 30))
    # The head, in eye distances.
    f.width, f.jaw, f.depth = n(1.09, 0.05), n(0, 0.06), n(1.3, 0.1)
    f.nose_y, f.nose_height, f.nose_width = n(0.535, 0.05), n(0.4, 0.06), n(1, 0.15)
    f.socket, f.cheek, f.brow_ridge = n(0.1, 0.035), n(0.06, 0.03), n(0.025, 0.02)
    f.skin = u(0.55, 0.9) if _chance(rng, 0.85) else u(0.2, 0.5)
    f.old, f.ala, f.under_lip = max(0, n(0, 0.7)), u(0, 0.4), u(0, 0.3)
    # The mouth: closed, smiling, talking or anything.
    kind = rng.choice(4, p=[0.33, 0.27, 0.25, 0.15])
    f.smile = [n(0, 0.15), u(0.3, 1.1), n(0, 0.25), u(-0.5, 1)][kind]
    f.gap = [0, max(0, u(-0.06, 0.25)), u(0.03, 0.22), u(0, 0.42)][kind]
    f.mouth_x, f.mouth_y, f.mouth_tilt = n(0, 0.015), n(1.05, 0.06), n(0, 0.011)
    f.mouth_width = np.clip(n(0.4, 0.035) + 0.11 * max(f.smile, 0) - 0.18 * f.gap, 0.27, 0.62)
    f.upper_lip = np.clip(n(0.095, 0.025) - 0.03 * f.smile, 0.02, 0.2)
    f.lower_lip = np.clip(n(0.135, 0.03) - 0.02 * f.smile, 0.03, 0.25)
    if _chance(rng, 0.08):  # pouting
        f.mouth_width, f.upper_lip = 0.75 * f.mouth_width, 1.2 * f.upper_lip
    f.lip_shade, f.cavity = u(0.5, 0.97), u(0.03, 0.35)
    f.teeth = u(0.55, 1.0) * f.skin + 0.3 if _chance(rng, 0.4 + 0.5 * (f.smile > 0.3)) else 0
    f.teeth_drop, f.lower_teeth = u(0.06, 0.16), _chance(rng, 0.3)
    f.chin = n(1.85, 0.08) + 0.6 * f.gap
    # Eyes and brows, the left (+x) first; the sides differ a little.
    f.eyes = np.array([[0.5, 0.0], [-0.5, 0.0]]) + n(0, 0.01, (2, 2))
    f.eye_half, f.eye_tilt = n(0.197, 0.022), n(0, 0.012)
    open_ = 1 - (1.15 * u(0.4, 1) if _chance(rng, 0.12) else 0)  # some squint or blink
    f.lid_up = np.clip(n(0.095, 0.022), 0.04, 0.17) * open_ - 0.012 * f.smile
    f.lid_low = np.clip(n(0.06, 0.015), 0.02, 0.11)
    f.gaze = n(0, 0.045), n(0, 0.022) + 0.05 * f.pitch
    f.iris, f.iris_radius, f.sclera = u(0.03, 0.35) * u(0.5, 1), n(0.098, 0.006), u(0.35, 0.8)
    f.lash, f.crease, f.bag = u(0.1, 0.9), u(0, 0.6), u(0, 0.25)
    f.eye_shadow, f.highlight = u(0.1, 0.5), u(0, 0.8)
    ends = np.array([[0.232, -0.225], [0.87, -0.21]])  # inner and outer end, x outwards
    f.brows = ends + n(0, [0.04, 0.02], (2, 2)) + n(0, 0.025, (2, 2, 2)) + [0, n(0, 0.035)]
    f.brow_arch, f.brow_peak, f.brow_taper = n(0.045, 0.04), u(-0.6, 1.6), u(0.2, 0.75)
    f.brow_thick = np.clip(n(0.055, 0.018), 0.02, 0.11)
    f.brow_dark = np.clip(n(0.65, 0.25), 0.1, 0.97)
    # Hair, beard, hat and glasses.
    f.hair = u(0.02, 0.25) if _chance(rng, 0.7) else u(0.2, 0.7)
    f.bald, f.long_hair = _chance(rng, 0.08), _chance(rng, 0.35)
    f.hairline, f.parting = n(-1.08, 0.14), n(0, 0.5)
    f.fringe = n(-0.45, 0.15) if _chance(rng, 0.13) else None
    f.hair_side, f.sideburn, f.hair_volume = np.radians(u(55, 85)), u(-0.1, 0.6), u(0.02, 0.3)
    f.ears = 0 if f.long_hair and _chance(rng, 0.7) else u(0.08, 0.25)
    f.beard = u(0.2, 0.95) if _chance(rng, 0.11) else 0
    f.moustache = u(0.3, 0.95) if _chance(rng, 0.13) else 0
    f.hanging = u(-0.1, 0.1)  # how far the moustache hangs over the upper lip
    f.stubble = u(0, 0.35) if _chance(rng, 0.35) else 0
    f.hat = n(-0.65, 0.12) if _chance(rng, 0.06) else None
    f.glasses = rng.choice(3, p=[0.69, 0.27, 0.04])  # none, clear, dark
    # Plain floats: NumPy's own would turn all the float32 arrays that meet them into float64.
    for name, value in vars(f).items():
        if isinstance(value, np.floating | np.ndarray):
            setattr(f, name, value.tolist())
    return f


def _mouth_lines(f, x):
    """Heights y of the lips' four edges, from the top, at places x, and x in half mouths."""
    beyond = (x - f.mouth_x) / f.mouth_width
    t = np.clip(beyond, -1, 1)
    corner = -0.1 * f.smile + 0.18 * f.gap
    line = f.mouth_y + corner * t * t + f.mouth_tilt * t
    open_ = 1 - np.abs(t) ** 2.4
    upper_in = line - 0.2 * f.gap * open_
    lower_in = line + 0.8 * f.gap * open_
    cupid = 1 + 0.18 * _bell(np.abs(t) - 0.27, 0.15) - 0.06 * _bell(t, 0.15)
    upper_out = upper_in - f.upper_lip * (1 - np.abs(t) ** 1.7) * cupid
    lower_out = lower_in + f.lower_lip * (1 - t * t) ** 0.8
    return upper_out, upper_in, lower_in, lower_out, beyond


def _flat_points(f):
    """The 15 points as x, y on the face, (15, 2)."""
    mid_eye = (f.lid_low - f.lid_up) / 4  # the mean of both corners and of the lids' middles
    points = [(x, y + mid_eye) for x, y in f.eyes]
    for side, (x, y) in zip((1, -1), f.eyes, strict=True):
        points.append((x - side * f.eye_half, y + f.eye_tilt))
        points.append((x + side * f.eye_half, y - f.eye_tilt))
    for side, brow in zip((1, -1), f.brows, strict=True):
        points += [(side * x, y) for x, y in brow]
    points.append((0, f.nose_y))
    for side in (1, -1):
        x = f.mouth_x + side * f.mouth_width
        points.append((x, _mouth_lines(f, x)[1]))
    upper_out, _, _, lower_out, _ = _mouth_lines(f, f.mouth_x)
    points += [(f.mouth_x, upper_out), (f.mouth_x, lower_out)]
    return np.array(points, np.float32)


# ---------------------------------------------------------------------------- the head's surface


class _Surface:
    """The head as arrays over ROWS x ANGLES: x, z (y is ROWS) and albedo, its grey paint."""

    def __init__(self, f):
        chin = f.chin
        jaw = np.array([-1.75, -1.3, -0.8, -0.3, 0.2, 0.7, 1.1, chin - 0.28, chin - 0.09, chin])
        width = np.array([0.6, 0.95, 1.06, 1.1, 1.1, 1.07, 1.0, 0.8, 0.58, 0.4]) * f.width / 1.08
        width[6:9] += f.jaw
        jaw, width = np.append(jaw, [chin + 0.2, 2.8]), np.append(width, [0.62, 0.7])
        self.width = self._profile(jaw, width)
        front = self._profile(
            [-1.75, -1.3, -0.9, -0.35, -0.05, 0.5, 0.9, 1.35, chin - 0.12, chin, chin + 0.15, 2.8],
            [-0.75, -0.3, -0.08, 0.02, -0.01, 0.03, 0.06, 0.02, 0.05, -0.05, -0.55, -0.6],
        )
        self.x = self.width[:, None] * SIN
        depth = f.depth * (0.3 + 0.7 * self.width / f.width)
        self.z = front[:, None] - depth[:, None] * (1 - COS) ** 1.3  # flatter than an ellipse
        self.albedo = np.full(self.x.shape, f.skin, np.float32)

    @staticmethod
    def _profile(y, value):
        """Values along y, interpolated at ROWS and rounded off."""
        padded = np.interp(ROWS, y, value)
        padded = np.pad(padded, 9, mode="edge")
        return np.convolve(padded, np.hanning(21)[1:-1] / 10, "valid").astype(np.float32)

    def window(self, x0, x1, y0, y1):
        """Slices (rows, columns) that hold the given rectangle of the face."""
        r0, r1 = np.searchsorted(ROWS, (y0, y1))
        narrow, wide = self.width[r0 : r1 + 1].min(), self.width[r0 : r1 + 1].max()
        ends = [x0 / (narrow if x0 < 0 else wide), x1 / (narrow if x1 > 0 else wide)]
        c0, c1 = np.searchsorted(ANGLES, np.arcsin(np.clip(ends, -1, 1)))
        return slice(r0, r1), slice(c0, c1)

    def patch(self, x0, x1, y0, y1):
        """The window's slices with x (2-D) and y (a column) inside it."""
        at = self.window(x0, x1, y0, y1)
        return at, self.x[at], ROWS[at[0], None]

    def bump(self, x, y, size_x, size_y, height):
        """Raise (or sink) the surface around x, y in the shape of a bell."""
        at, px, py = self.patch(x - 3 * size_x, x + 3 * size_x, y - 3 * size_y, y + 3 * size_y)
        self.z[at] += height * _bell(py - y, size_y) * _bell(px - x, size_x)

    def lift(self, points):
        """x, y on the face (n, 2) -> x, y, z (n, 3)."""
        row = np.interp(points[:, 1], ROWS, np.arange(len(ROWS)))
        width = np.interp(points[:, 1], ROWS, self.width)
        angle = np.arcsin(np.clip(points[:, 0] / width, -1, 1))
        column = np.interp(angle, ANGLES, np.arange(len(ANGLES)))
        r, c = row.astype(int), column.astype(int)
        a, b = row - r, column - c
        z = self.z
        z = (1 - a) * ((1 - b) * z[r, c] + b * z[r, c + 1]) + a * (
            (1 - b) * z[r + 1, c] + b * z[r + 1, c + 1]
        )
        return np.column_stack([points, z]).astype(np.float32)


def _shape_face(s, f):
    """Nose, sockets, cheeks, lips and chin as bumps."""
    # The nose: a ridge that grows towards the tip and falls off under it.
    at, x, y = s.patch(-0.55, 0.55, -0.2, f.nose_y + 0.25)
    along = np.clip((y + 0.15) / (f.nose_y + 0.15), 0, 1)
    under = 0.5 + 0.5 * np.cos(np.pi * np.clip((y - f.nose_y - 0.04) / 0.23, 0, 1))
    ridge = f.nose_width * (0.085 + 0.055 * along)
    s.z[at] += f.nose_height * along**1.4 * under * _bell(x, ridge)
    s.bump(0, f.nose_y - 0.01, 0.1 * f.nose_width, 0.1, 0.05)
    for side in (-1, 1):
        s.bump(side * 0.2 * f.nose_width, f.nose_y + 0.06, 0.06, 0.065, 0.1)
        s.bump(side * 0.5, 0.0, 0.24, 0.15, -f.socket)
        s.bump(side * 0.5, 0.0, 0.15, 0.1, 0.06)
        s.bump(side * 0.27, 0.0, 0.08, 0.12, -0.07)
        s.bump(side * 0.45, -0.28, 0.28, 0.09, f.brow_ridge)
        smile = max(f.smile, 0)
        s.bump(side * 0.6, 0.5 - 0.06 * smile, 0.26, 0.2, f.cheek + 0.06 * smile)
        s.bump(side * 0.42, 0.82, 0.1, 0.14, -0.02 - 0.05 * smile)
    s.bump(0, 1.05, 0.36, 0.24, 0.09)
    upper_out, upper_in, lower_in, lower_out, _ = _mouth_lines(f, f.mouth_x)
    s.bump(f.mouth_x, (upper_out + upper_in) / 2, 0.2, 0.05, 0.035)
    s.bump(f.mouth_x, (lower_out + lower_in) / 2, 0.18, 0.055, 0.05)
    s.bump(f.mouth_x, lower_out + 0.08, 0.22, 0.06, -0.05)
    s.bump(0, f.chin - 0.22, 0.22, 0.14, 0.07)


def _solid_points(s, f):
    """The 15 points on the shaped head, x, y, z (15, 3); the nose tip is its foremost point."""
    points = _flat_points(f)
    near = np.flatnonzero(np.abs(ROWS - f.nose_y) < 0.12)
    points[NOSE, 1] = ROWS[near[np.argmax(s.z[near, len(ANGLES) // 2])]]
    return s.lift(points)


def _paint_skin(s, f, rng):
    """Blotches, folds, nostrils and wrinkles."""
    shape = s.albedo.shape
    s.albedo *= 1 + 0.05 * _noise(rng, *shape, 9, 9) + 0.025 * _noise(rng, *shape, 70, 70)
    # Folds from the nose to the mouth, deeper with age and smiles.
    depth = 0.03 + 0.12 * min(f.old, 1.5) + 0.13 * max(f.smile, 0)
    for side in (-1, 1):
        at, x, y = s.patch(*sorted((side * 0.12, side * 0.75)), f.nose_y, 1.25)
        along = np.clip((y - f.nose_y) / (f.mouth_y - f.nose_y), 0, 1.3)
        fold = 0.24 + (f.mouth_width - 0.14) * along**1.3
        s.albedo[at] *= 1 - depth * _bell(side * x - fold, 0.04) * np.sin(np.pi * along / 1.3)
        at, x, y = s.patch(*sorted((0, side * 0.45)), f.nose_y - 0.15, f.nose_y + 0.3)
        # The wings' outer crease, and the nostrils.
        wing = np.hypot((side * x - 0.2 * f.nose_width) / 0.085, (y - f.nose_y - 0.07) / 0.1)
        outward = np.clip((side * x - 0.2 * f.nose_width) / 0.06 + 0.6, 0, 1)
        s.albedo[at] *= 1 - f.ala * _bell(wing - 1, 0.25) * outward * (y < f.nose_y + 0.15)
        middle = side * 0.095 * f.nose_width
        far = np.square((x - middle) / 0.055) + np.square((y - f.nose_y - 0.17) / 0.03)
        s.albedo[at] *= 1 - 0.65 * np.exp(-0.5 * far * far)
    if f.old > 0.5:
        lines = np.abs(_noise(rng, *shape, 40, 16)) + np.abs(_noise(rng, *shape, 16, 30))
        s.albedo *= 1 - 0.1 * f.old * np.clip(1.2 - 3 * lines, 0, 1)
    if f.old > 0.7:  # lines across the forehead
        at, x, y = s.patch(-0.7, 0.7, -0.85, -0.3)
        wave = np.sin(y * rng.uniform(30, 55) + 0.7 * np.cos(3 * x) + _noise(rng, *x.shape, 3, 4))
        wave = np.clip(wave, 0, 1) * np.clip(1 - np.square(x / 0.7), 0, 1)
        s.albedo[at] *= 1 - 0.06 * f.old * wave


def _paint_eyes(s, f, rng):
    for side, (eye_x, eye_y) in zip((1, -1), f.eyes, strict=True):
        lid_up, lid_low = f.lid_up * rng.normal(1, 0.05), f.lid_low
        at, x, y = s.patch(*sorted((side * 0.15, side * 0.9)), -0.3, 0.35)
        albedo = s.albedo[at]
        t = side * (x - eye_x) / f.eye_half
        line = eye_y - f.eye_tilt * t
        inside = np.clip(1 - np.abs(t) ** 2.2, 0, 1)
        upper = line - lid_up * inside * (1 - 0.12 * t)
        lower = np.maximum(line + lid_low * inside, upper + 0.004)
        near = np.clip(1.35 - np.abs(t), 0, 1)
        # Around the eye: socket's shade, the lid's crease, bags below.
        albedo *= 1 - f.eye_shadow * _bell(y + 0.06, 0.1) * _bell(side * x - 0.42, 0.24)
        albedo *= 1 - f.crease * near * _bell(y - (upper - 0.055), 0.014)
        albedo *= 1 - f.bag * near * _bell(y - (lower + 0.08), 0.03)
        # The eyeball, shaded by the upper lid, and the iris on it.
        ball = f.sclera * (0.5 + 0.5 * np.clip((y - upper) / 0.05, 0, 1)) * (1 - 0.3 * t * t)
        gaze_x, gaze_y = eye_x + f.gaze[0], eye_y - 0.015 + f.gaze[1]
        far = np.hypot(x - gaze_x, y - gaze_y)
        iris = f.iris * (0.7 + 0.6 * np.clip(far / f.iris_radius, 0, 1))
        iris = _mix(iris, 0.02, _step(0.042 - far, 0.015))
        ball = _mix(ball, iris, _step(f.iris_radius - far, 0.02))
        spot = np.hypot(x - gaze_x - f.spot[0], y - gaze_y - f.spot[1])
        ball = ball + f.highlight * _step(0.024 - spot, 0.015)
        open_ = _step(y - upper, 0.02) * _step(lower - y, 0.02) * (np.abs(t) < 1)
        albedo = _mix(albedo, ball, open_)
        # Lashes: dark along the upper lid, faint along the lower.
        on_lid = np.clip(1.12 - np.abs(t), 0, 0.12) / 0.12
        albedo *= 1 - 0.85 * f.lash * on_lid * _bell(y - upper + 0.008, 0.016)
        albedo *= 1 - 0.35 * f.lash * on_lid * _bell(y - lower, 0.013)
        s.albedo[at] = albedo


def _paint_brows(s, f, rng):
    for side, ((inner_x, inner_y), (outer_x, outer_y)) in zip((1, -1), f.brows, strict=True):
        at, x, y = s.patch(*sorted((side * 0.02, side * 1.02)), -0.6, 0.15)
        t = (side * x - inner_x) / (outer_x - inner_x)
        arch = f.brow_arch * 4 * t * (1 - t) * (1 + f.brow_peak * (t - 0.5))
        line = inner_y + (outer_y - inner_y) * t - arch
        thick = f.brow_thick * np.clip(1.05 - f.brow_taper * t * t, 0.2, 1.1)
        ends = _step(t, 0.12) * _step(1 - t, 0.12)
        hairs = 1 + 0.3 * _noise(rng, *x.shape, 16, 30)
        cover = f.brow_dark * ends * np.exp(-(np.abs((y - line) / thick) ** 3)) * hairs
        s.albedo[at] = _mix(s.albedo[at], f.hair * 0.6, np.clip(cover, 0, 1))


def _paint_mouth(s, f):
    reach = f.mouth_width + 0.1
    at, x, y = s.patch(f.mouth_x - reach, f.mouth_x + reach, 0.75, 1.85)
    upper_out, upper_in, lower_in, lower_out, t = _mouth_lines(f, x)
    albedo = s.albedo[at]
    within = np.abs(t) < 1
    lips = _step(y - upper_out, 0.025) * _step(lower_out - y, 0.03) * within
    tint = f.lip_shade * np.where(y < (upper_in + lower_in) / 2, 0.88, 1.0)
    albedo = albedo * (1 - lips * (1 - tint))
    # Inside the mouth: dark, with teeth hanging from the top, sometimes standing at the bottom.
    inside = np.full(x.shape, f.cavity * f.skin, np.float32)
    if f.teeth:
        gaps = 1 - 0.25 * np.square(t) - 0.06 * (np.cos(t * 28) > 0.9)
        rows = _step(upper_in + f.teeth_drop - y, 0.02)
        if f.lower_teeth:
            rows = np.maximum(rows, _step(y - lower_in + 0.05, 0.02) * 0.8)
        inside = _mix(inside, f.teeth * gaps, rows * np.clip(1.4 - 1.1 * np.abs(t), 0, 1))
    cavity = _step(y - upper_in, 0.02) * _step(lower_in - y, 0.02) * within
    albedo = _mix(albedo, inside, cavity * np.clip(f.gap / 0.03, 0, 1))
    albedo *= 1 - f.under_lip * _bell(y - lower_out - 0.035, 0.03) * np.clip(1 - t * t, 0, 1)
    # The line between the lips, and the small dark dimples at the corners.
    albedo *= 1 - 0.55 * _bell(y - upper_in, 0.014) * _step(1.05 - np.abs(t), 0.1)
    for side in (1, -1):
        height = _mouth_lines(f, f.mouth_x + side * f.mouth_width)[1]
        far = np.hypot(x - f.mouth_x - side * f.mouth_width, y - height)
        albedo *= 1 - 0.35 * _bell(far, 0.025)
    s.albedo[at] = albedo


def _paint_beard(s, f, rng):
    """Beard on jaw and chin, moustache under the nose, stubble on both."""
    if not (f.beard or f.moustache or f.stubble):
        return
    at, x, y = s.patch(-1.2, 1.2, f.nose_y + 0.12, f.chin + 0.15)
    upper_out, _, _, lower_out, t = _mouth_lines(f, x)
    mouth = _step(y - upper_out, 0.03) * _step(lower_out - y, 0.03) * (np.abs(t) < 1)
    grain = 0.85 + 0.22 * _noise(rng, *x.shape, 60, 60)
    sides = _step(np.abs(x) - 0.62 * f.width + 0.45 * (y - f.mouth_y), 0.3) * _step(y - 0.75, 0.7)
    under = _step(y - f.mouth_y - 0.15 - 0.1 * np.abs(x), 0.12)
    lip = _step(0.46 - np.abs(x) + 0.2 * (y - 1), 0.1) * _step(y - f.nose_y - 0.2, 0.08)
    edge = upper_out + np.where(np.abs(t) < 1, f.hanging, 0) + 0.3 * np.abs(x)
    lip = lip * _step(np.maximum(edge, upper_out + f.hanging) - y, 0.08)
    cover = np.maximum(np.maximum(sides, under) * max(f.beard, f.stubble), lip * f.stubble)
    cover = np.maximum(cover * (1 - mouth), lip * f.moustache) * grain
    s.albedo[at] = _mix(s.albedo[at], f.hair * 0.8, np.clip(cover, 0, 1))


def _ear(soft):
    """How much each place on ROWS x ANGLES belongs to an ear, 0..1."""
    far = np.square((ROWS[:, None] - 0.18) / 0.38) + np.square((np.abs(ANGLES) - 1.52) / 0.17)
    return _step(1 - far, soft * 3)


def _paint_hair(s, f, rng):
    """Hair and hats: paint, and how far they stand off the head (an array like albedo)."""
    ragged = 0.05 * _noise(rng, 2, len(ANGLES), 2, rng.integers(8, 30))[0]
    ragged = ragged + rng.uniform(0, 0.08) * _noise(rng, 2, len(ANGLES), 2, 90)[0]
    turn = np.abs(ANGLES)
    line = f.hairline + 0.25 * np.square(turn) + 0.1 * f.parting * ANGLES
    if f.fringe is not None:
        edge = f.fringe + 0.3 * f.parting * ANGLES
        line = np.where(turn < f.hair_side, np.maximum(line, edge), line)
    if f.bald:
        line = line - 1.2
    side = 3.0 if f.long_hair else f.sideburn
    line = _mix(line, side, _step(turn - f.hair_side, 0.25))
    off = _mix(f.hairline, side, _step(turn - f.hair_side - 0.2, 0.9)) if not f.bald else -3
    off = f.hair_volume * _step(off - ROWS[:, None] - 0.2, 0.8)
    cover = _step(line + ragged - ROWS[:, None], rng.uniform(0.06, 0.25))
    if f.ears:
        cover *= 1 - _ear(0.2)
    strands = _noise(rng, *cover.shape, 12, 110) + _noise(rng, *cover.shape, 8, 14)
    strands = 1 + rng.uniform(0.05, 0.3) * strands
    s.albedo[:] = _mix(s.albedo, f.hair * np.clip(strands, 0.2, 2.5), cover)
    if f.hat is not None:
        edge = f.hat + 0.1 * f.parting * ANGLES
        cover = _step(edge[None] - ROWS[:, None], 0.03)
        cloth = rng.uniform(0.05, 0.9) * (1 + 0.15 * _noise(rng, *cover.shape, 20, 40))
        s.albedo[:] = _mix(s.albedo, cloth, cover)
        off = _mix(off, rng.uniform(0.08, 0.3), cover)
    if f.ears:
        hollow = np.abs(ANGLES) - 1.5
        s.albedo *= 1 - 0.5 * _ear(0.1) * _bell(hollow, 0.05)
        off = off + f.ears * _ear(0.4)
    return off.astype(np.float32)


# ---------------------------------------------------------------------------- camera and light


def _rotation(f):
    """(3, 3): head frame -> camera frame; yaw, then pitch, then roll."""
    (ca, sa), (cp, sp), (cr, sr) = ((np.cos(a), np.sin(a)) for a in (f.yaw, f.pitch, f.roll))
    yaw = np.array([[ca, 0, sa], [0, 1, 0], [-sa, 0, ca]])
    pitch = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    roll = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return (roll @ pitch @ yaw).astype(np.float32)


def _place(points, rotation, rng):
    """Scale and shift (in picture pixels) that frame the face as Kaggle's faces are framed."""
    flat = points @ rotation[:2].T
    middle = flat.mean(0)
    spread = np.sqrt(np.square(flat - middle).sum(1).mean())
    scale = 26.6 / spread * np.exp(rng.normal(0, 0.06))
    anchor = 0.6 * flat[:2].mean(0) + 0.4 * middle
    target = np.array([48.0, 41.2]) + rng.normal(0, 1.5, 2)
    return float(scale), (target - scale * anchor).astype(np.float32)


def _shade(s, off, rotation, f, rng):
    """Brightness over the grid, and the grid's camera x, y: three arrays (rows, columns)."""
    x = s.x + off * SIN
    y = np.broadcast_to(ROWS[:, None] - 0.35 * off, x.shape)
    z = s.z + off * COS
    place = rotation @ np.stack([x.ravel(), y.ravel(), z.ravel()])
    place = place.reshape(3, *x.shape)
    # Normals from the differences between neighbouring rows and columns.
    down, right = np.zeros_like(place), np.zeros_like(place)
    np.subtract(place[:, 2:], place[:, :-2], out=down[:, 1:-1])
    np.subtract(place[:, :, 2:], place[:, :, :-2], out=right[:, :, 1:-1])
    normal = np.empty_like(place)
    for k in range(3):
        i, j = (k + 1) % 3, (k + 2) % 3
        np.multiply(right[i], down[j], out=normal[k])
        normal[k] -= right[j] * down[i]
    normal /= np.sqrt(np.square(normal).sum(0)) + 1e-9
    place[0][normal[2] < 1e-3] = -1e3  # edges, and what faces away: out of the picture
    half = f.light + np.array([0, 0, 1], np.float32)
    lights = np.stack([f.light, f.fill, half / np.linalg.norm(half)])
    toward, fill, gloss = np.maximum(lights @ normal.reshape(3, -1), 0).reshape(3, *x.shape)
    toward *= 1 - 0.9 * _cast_shadow((x, y, z), rotation.T @ f.light)
    for _ in range(4):
        gloss *= gloss
    bright = (1 - f.ambient) * toward + f.fill_power * fill
    bright += f.ambient * (0.9 - 0.1 * normal[1])
    bright *= 1 - 0.55 * _step(ROWS - f.chin - 0.06, 0.15)[:, None]  # under the chin
    return s.albedo * bright + f.gloss * gloss * (off < 0.01), place[0], place[1]


def _cast_shadow(place, light):
    """Shadow (0..1) that the grid casts on itself, along its rows or along its columns.

    A place lies in shadow when the surface between it and the light rises above the ray of light,
    that is when the highest so far of (height above the ray) exceeds its own.
    """
    k = 0 if abs(light[0]) > abs(light[1]) else 1
    rise = place[2] - place[k] * (light[2] / light[k])
    if light[k] > 0:
        rise = np.flip(rise, 1 - k)
    shadow = np.clip((np.maximum.accumulate(rise, 1 - k) - rise - 0.02) * 12, 0, 1)
    return np.flip(shadow, 1 - k) if light[k] > 0 else shadow


def _draw_light(f, rng):
    """Where the light comes from (unit vectors in the camera frame) and how hard it is."""
    hard = _chance(rng, 0.15)
    side = rng.normal(0, 1.3 if hard else rng.choice([0.25, 0.7]))
    light = np.array([side, rng.normal(-0.28, 0.35), 1.0], np.float32)
    f.light = light / np.linalg.norm(light)
    fill = np.array([rng.normal(0, 1.2), rng.normal(0.5, 0.5), 0.6], np.float32)
    f.fill = fill / np.linalg.norm(fill)
    f.fill_power = rng.uniform(0, 0.15 if hard else 0.5)
    f.ambient = rng.uniform(0.02, 0.3) if hard else rng.uniform(0.25, 0.8)
    f.gloss = rng.uniform(0, 0.2) ** 1.3
    f.spot = 0.035 * f.light[0] + rng.normal(0, 0.01), -0.025 + rng.normal(0, 0.01)


def _rasterise(value, x, y, f, canvas):
    """Draw the grid's values at picture pixels x, y over the canvas (a square), near parts last.

    Seen from azimuth -yaw, of two surface points on one ray the nearer is the one at the angle
    nearer to that azimuth, so that drawing the columns in this order hides what is hidden.
    """
    columns = np.argsort(-np.abs(ANGLES + f.yaw))
    rows = slice(None) if f.pitch > 0 else slice(None, None, -1)
    pixel_x = np.rint(ZOOM * (x + 0.5) - 0.5).astype(np.int32)
    pixel_y = np.rint(ZOOM * (y + 0.5) - 0.5).astype(np.int32)
    side = len(canvas)
    out = (pixel_x < 0) | (pixel_x >= side) | (pixel_y < 0) | (pixel_y >= side)
    pixel = np.where(out, side * side, pixel_y * side + pixel_x)
    drawn = np.full(side * side + 1, -1, np.float32)
    drawn[pixel.T[columns][:, rows].ravel()] = value.T[columns][:, rows].ravel()
    drawn = drawn[:-1].reshape(side, side)
    # Close the one-pixel gaps that are left between neighbouring surface points.
    for axis, way in ((0, 1), (1, 1), (0, -1), (1, -1)):
        drawn = np.where(drawn < 0, np.maximum(np.roll(drawn, way, axis), drawn), drawn)
    return np.where(drawn < 0, canvas, drawn)


# ---------------------------------------------------------------------------- around the face


@lru_cache(maxsize=1)
def _canvas_places():
    """The canvas pixels' x (1, n) and y (n, 1) in pixels of the picture."""
    place = ((np.arange(CANVAS, dtype=np.float32) + 0.5) / ZOOM - 0.5)[None]
    return place, place.T


def _background(rng, f, rotation, scale, shift):
    """Whatever is behind the head: wall, clutter, clothes and long hair, on the canvas."""
    canvas = rng.uniform(0, 0.9) + rng.normal(0, 0.12) * _noise(rng, CANVAS, CANVAS, 2, 2)
    canvas += rng.uniform(0, 0.25) * _noise(rng, CANVAS, CANVAS, *rng.integers(3, 14, 2))
    if _chance(rng, 0.5):
        for _ in range(rng.integers(1, 8)):
            x0, y0 = rng.integers(-30, CANVAS - 4, 2)
            w, h = rng.integers(4, 80, 2)
            part = canvas[max(y0, 0) : y0 + h, max(x0, 0) : x0 + w]
            part[:] = _mix(part, rng.uniform(0, 1), rng.uniform(0.2, 1))
    x, y = _canvas_places()
    # Places relative to the head's middle, which lies behind the eyes.
    x = (x - shift[0]) / scale + 0.6 * rotation[0, 2]
    y = (y - shift[1]) / scale + 0.6 * rotation[1, 2]
    # Shoulders under the head, then the hair behind it.
    shoulders = rng.normal(1.6, 0.15) + rng.uniform(0.1, 0.5) * np.square(x - rng.normal(0, 0.2))
    cloth = rng.uniform(0, 0.9) * (1 + 0.2 * _noise(rng, CANVAS, CANVAS, 12, 12))
    canvas = _mix(canvas, cloth, _step(y - shoulders, 0.06))
    if f.long_hair:
        reach = f.width + rng.uniform(0.05, 0.45) + 0.06 * _noise(rng, CANVAS, CANVAS, 14, 5)
        length = rng.uniform(0.6, 2.5)
        wide = _step(reach - np.abs(x), 0.05) * _step(length - y, 0.15) * _step(y + 0.9, 0.5)
        strands = 1 + 0.3 * _noise(rng, CANVAS, CANVAS, 8, 90)
        canvas = _mix(canvas, f.hair * 0.8 * strands, wide)
    return np.clip(canvas, 0, 1.2)


def _draw_glasses(canvas, f, rotation, scale, shift, depth, rng):
    """Lenses and frame on the canvas: clear lenses shine, dark ones hide."""
    half_w, half_h = rng.uniform(0.32, 0.45), rng.uniform(0.2, 0.42)
    power = rng.uniform(2, 5)
    rim = rng.uniform(0.004, 0.02) if f.glasses == 1 else rng.uniform(0.01, 0.04)
    frame = rng.uniform(0, 0.3) if _chance(rng, 0.7) else rng.uniform(0.4, 1.2)
    cover = rng.uniform(0, 0.12) if f.glasses == 1 else rng.uniform(0.75, 1)
    tone = rng.uniform(0.1, 0.8) if f.glasses == 1 else rng.uniform(0, 0.15)
    shine = rng.uniform(0, 0.5) if _chance(rng, 0.4) else 0
    drop = rng.uniform(-0.06, 0.12)
    x, y = _canvas_places()
    slope = np.array([0, 1, -0.15], np.float32)
    for side in (-1, 1):
        across = np.array([1, 0, -0.25 * side], np.float32)
        centre = rotation @ np.array([side * 0.5, drop, depth + 0.16], np.float32)
        basis = (rotation @ np.stack([across, slope], 1))[:2] * scale
        inverse = np.linalg.inv(basis)
        dx, dy = x - shift[0] - scale * centre[0], y - shift[1] - scale * centre[1]
        u = inverse[0, 0] * dx + inverse[0, 1] * dy
        v = inverse[1, 0] * dx + inverse[1, 1] * dy
        r = (np.abs(u / half_w) ** power + np.abs(v / half_h) ** power) ** (1 / power)
        edge = (r - 1) * half_h
        lens = _step(-edge, 0.02)
        canvas = _mix(canvas, tone, lens * cover)
        glare = _bell(u - rng.normal(0, 0.15) + 0.5 * v, rng.uniform(0.03, 0.25))
        canvas = canvas + shine * lens * glare
        wire = _bell(edge, rim)
        bridge = _bell(v + 0.3 * half_h, rim) * (-side * u > half_w) * (-side * u < 0.51)
        arm = _bell(v + 0.4 * half_h, rim * 1.3) * (side * u > half_w) * (side * u < 0.7)
        canvas = _mix(canvas, frame, np.clip(np.maximum(wire, np.maximum(bridge, arm)), 0, 1))
    return canvas


def _occlude(canvas, f, rng):
    """Now and then a hand, a microphone or a bar in front of the face."""
    x, y = _canvas_places()
    start = np.array([rng.choice([rng.uniform(0, 25), rng.uniform(70, 95)]), 100.0])
    tip = np.array([rng.uniform(20, 75), rng.uniform(45, 95)])
    tone = f.skin * rng.uniform(0.5, 1) if _chance(rng, 0.6) else rng.uniform(0, 0.9)
    for _ in range(rng.integers(1, 5)):
        way = tip - start
        t = np.clip(((x - start[0]) * way[0] + (y - start[1]) * way[1]) / (way @ way), 0, 1)
        far = np.hypot(x - start[0] - t * way[0], y - start[1] - t * way[1])
        radius = rng.uniform(3, 7)
        round_ = np.sqrt(np.clip(1 - np.square(far / radius), 0.15, 1))
        canvas = _mix(canvas, tone * round_, _step(radius - far, 1))
        start, tip = start + rng.normal(0, 6, 2), tip + rng.normal(0, 6, 2)
    return canvas


# ---------------------------------------------------------------------------- camera's faults


@lru_cache(maxsize=64)
def _shrink_matrix(blur):
    """(SIZE, CANVAS): shrinks the canvas, blurring by `blur` tenths of a picture pixel."""
    weight = _bell(_canvas_places()[0] - np.arange(SIZE)[:, None], blur / 10)
    return (weight / weight.sum(1, keepdims=True)).astype(np.float32)


@lru_cache(maxsize=1)
def _cosines():
    k = np.arange(8)
    basis = np.cos(np.pi * (k[None] + 0.5) * k[:, None] / 8) * np.sqrt(2 / 8)
    basis[0] /= np.sqrt(2)
    return basis.astype(np.float32)


def _jpeg(picture, strength):
    """Round the 8x8 cosine coefficients, the high ones more coarsely, as JPEG does."""
    c = _cosines()
    blocks = picture.reshape(12, 8, 12, 8).transpose(0, 2, 1, 3)
    k = np.arange(8)
    table = strength * (1 + 0.7 * (k[:, None] + k[None]))
    blocks = np.rint(c @ blocks @ c.T / table) * table
    return (c.T @ blocks @ c).transpose(0, 2, 1, 3).reshape(SIZE, SIZE)


def _photograph(canvas, rng):
    """Canvas -> uint8 picture (96, 96): blur, exposure, noise, JPEG."""
    blur = int(rng.choice([4, 5, 6, 8, 11], p=[0.35, 0.35, 0.17, 0.09, 0.04]))
    shrink = _shrink_matrix(blur)
    picture = shrink @ canvas.astype(np.float32) @ shrink.T
    middle = picture[24:88, 20:76]
    low, high = np.percentile(middle, [3, 95])
    black, white = rng.uniform(0, 70) * rng.random(), rng.uniform(110, 255)
    gamma = np.exp(rng.normal(0, 0.2))
    picture = np.clip((picture - low * rng.uniform(0.3, 1)) / (high - low * 0.6 + 1e-3), 0, 2)
    picture = black + np.maximum(white - black, 60) * picture**gamma
    picture = picture + rng.uniform(0.5, 5) * rng.standard_normal((SIZE, SIZE))
    if _chance(rng, 0.7):
        picture = _jpeg(picture, rng.uniform(1, 9))
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


# ---------------------------------------------------------------------------- faces


def _make_face(task):
    """(seed, index) -> picture (96, 96) uint8 and key points (15, 2) float32."""
    rng = np.random.default_rng(task)
    f = _draw_person(rng)
    _draw_light(f, rng)
    s = _Surface(f)
    _shape_face(s, f)
    points = _solid_points(s, f)
    rotation = _rotation(f)
    scale, shift = _place(points, rotation, rng)
    _paint_skin(s, f, rng)
    _paint_eyes(s, f, rng)
    _paint_brows(s, f, rng)
    _paint_mouth(s, f)
    _paint_beard(s, f, rng)
    off = _paint_hair(s, f, rng)
    value, x, y = _shade(s, off, rotation, f, rng)
    canvas = _background(rng, f, rotation, scale, shift)
    canvas = _rasterise(value, scale * x + shift[0], scale * y + shift[1], f, canvas)
    if f.glasses:
        canvas = _draw_glasses(canvas, f, rotation, scale, shift, points[:2, 2].mean(), rng)
    if _chance(rng, 0.03):
        canvas = _occlude(canvas, f, rng)
    flat = scale * (points @ rotation[:2].T) + shift
    return _photograph(canvas, rng), flat.astype(np.float32)


def _write_faces(seed: int, indices: Sequence[int]) -> None:
    """Write some faces to standard output, as raw numbers."""
    for index in indices:
        for array in _make_face((seed, index)):
            sys.stdout.buffer.write(array.tobytes())


def make_faces(
    count: int,
    seed: int = 0,
    workers: int | None = None,
    indices: Sequence[int] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Make `count` faces, or only those at `indices` of them, and show how far that is.

    Returns (pictures, key_points): uint8 (count, 96, 96), grey values 0..255, and float32
    (count, 15, 2), x and y in pixels (pixel centres, 0..95, y down) in the order of KEY_POINTS.
    Points that something hides are given where they are all the same. Face i depends on seed and
    i alone; `workers` (processes, default one per core) changes only how long it takes.
    """
    wanted = range(count) if indices is None else indices
    count = len(wanted)
    if workers is None:
        workers = min(os.cpu_count() or 1, count // 32)
    if workers <= 1:
        drawn = (_make_face((seed, index)) for index in wanted)
    else:
        drawn = _drawn_by_workers(wanted, seed, workers)
    pictures = np.empty((count, SIZE, SIZE), np.uint8)
    key_points = np.empty((count, len(KEY_POINTS), 2), np.float32)
    with closing(drawn):
        for i in follow(range(count), "drawing synthetic faces"):
            pictures[i], key_points[i] = next(drawn)
    return pictures, key_points


def _drawn_by_workers(indices: Sequence[int], seed: int, workers: int) -> Generator[tuple]:
    """Yield the faces at `indices` as `_make_face` does, each drawn by one of several processes.

    Fresh interpreters rather than multiprocessing: that would fork a caller with TensorFlow's
    threads in it, or run the caller's main program once more in every worker.
    """
    call = "from data.synthetic.faces import _write_faces; _write_faces{}"
    run = [
        subprocess.Popen(
            [sys.executable, "-c", call.format((seed, indices[first::workers]))],
            stdout=subprocess.PIPE,
            cwd=HERE,  # where `-c` finds the room
            env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        for first in range(workers)
    ]
    shape = (SIZE, SIZE), (len(KEY_POINTS), 2)
    try:
        for i in range(len(indices)):
            worker = run[i % workers]
            face = []
            for side, kind in zip(shape, (np.uint8, np.float32), strict=True):
                size = int(np.prod(side)) * np.dtype(kind).itemsize
                answer = worker.stdout.read(size)  # type: ignore[union-attr]
                if len(answer) < size:
                    status = worker.wait()
                    raise RuntimeError(f"a worker making faces ended with status {status}")
                face.append(np.frombuffer(answer, kind).reshape(side))
            yield tuple(face)
    finally:
        for worker in run:
            worker.kill()  # no harm where it has ended
            worker.communicate()


def write_csv(path: Path | str, pictures: np.ndarray, key_points: np.ndarray | None = None) -> None:
    """Write pictures (N, 96, 96) as Kaggle's CSV, whole or not at all.

    With key_points (N, 15, 2) it is a training file (30 coordinates and Image), without them a
    test file (ImageId, counted from 1, and Image).
    """

    def write(temporary: Path) -> None:
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([*(["ImageId"] if key_points is None else COLUMNS), "Image"])
            for index, picture in enumerate(pictures):
                image = " ".join(map(str, picture.ravel().tolist()))
                if key_points is None:
                    writer.writerow([index + 1, image])
                else:
                    writer.writerow([f"{v:.4f}" for v in key_points[index].ravel()] + [image])

    replace_file(path, write)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line as an argparse namespace."""
    parser = argparse.ArgumentParser(description="Write synthetic faces in Kaggle's CSV format.")
    add = parser.add_argument
    add("--out", default=HERE / "data", type=Path, metavar="DIR", help="folder (default: data)")
    add("--train", type=natural, default=2000, help="faces in training.csv (default: 2000)")
    add("--test", type=natural, default=200, help="faces in test.csv (default: 200)")
    add("--seed", type=natural, default=0, help="other faces by another number (default: 0)")
    add("--force", action="store_true", help="overwrite existing files")
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> None:
    """Write training.csv and test.csv."""
    training, test = (arguments.out / name for name in ("training.csv", "test.csv"))
    for path in (training, test):
        if path.exists() and not arguments.force:
            raise InputError(f"{path} exists; give --force to overwrite it.")
    make_folder(arguments.out)
    pictures, key_points = make_faces(arguments.train + arguments.test, arguments.seed)
    write_csv(training, pictures[: arguments.train], key_points[: arguments.train])
    write_csv(test, pictures[arguments.train :])
    print(f"wrote {arguments.train} faces to {training} and {arguments.test} to {test}")


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line asks for; returns the exit status."""
    return run_script(argv, parse_arguments, run)


if __name__ == "__main__":
    sys.exit(main())
