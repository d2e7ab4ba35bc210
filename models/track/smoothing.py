"""Steady points: a Kalman filter whose measurement noise is what the network says of itself.

All K points of a face are one state: their places and their velocities. Constant velocity is
assumed, and disturbed by random accelerations of two kinds: those of the face as a whole (a shift,
a turn and a growth in the picture, and the narrowing as a head turns away: an affine motion), which
move all points together, and each point's own. A measurement's noise is `spread` squared. So a
point that is unsure is led by the others and by its past, and a sure one leads.

The filter is Kalman's (1960, https://doi.org/10.1115/1.3662552), the motion the continuous white
noise acceleration of Bar-Shalom, Li and Kirubarajan (Estimation with Applications to Tracking and
Navigation, 2001, section 6.2.2). A video may be looked at a few frames ahead, so the points shown
are those of Rauch, Tung and Striebel's smoother (1965, https://doi.org/10.2514/3.3166) over the
last `LAG` frames: it takes nothing from later frames' noise and has no delay of its own.

Points are complex numbers here, x + iy: a turn and a growth are one factor, and noise that is alike
in both directions is one number.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from data.images.crops import RADIUS
from data.key_points import Names

# How hard faces and points are pushed about: square roots of the accelerations' power densities, in
# pixels of the 96x96 crop per second^1.5. Chosen on synthetic heads that turn, talk and blink in
# good light and bad (other ones than tests/benchmarks/video.py measures): smaller ones steady still
# heads more and lag behind lips; larger ones leave the noise in.
SHIFT = 250.0  # the face as a whole moves
TURN = 60.0  # it turns in the picture or grows
NARROW = 60.0  # it turns away: its points draw nearer in one direction
OWN, OWN_MOUTH = 60.0, 150.0  # each point by itself; lips are the quickest

LAG = 8  # frames that are looked ahead: more changes next to nothing
AT_REST = 0.5  # seconds of such pushes that a face's velocity may come from when it is first seen


@dataclass
class Face:
    """A face in one frame."""

    number: int  # the same for as long as the face is followed
    points: np.ndarray  # (K, 2), pixels of the frame; smoothed while later frames come in
    spread: np.ndarray  # (K,), pixels of the crop


class Step(NamedTuple):
    """What the filter made of one frame: kept for the smoother."""

    face: Face
    state: np.ndarray  # (2K,) complex: places and velocities, filtered
    predicted: np.ndarray  # (2K,) what was expected
    gain: np.ndarray  # (2K, 2K) the smoother's gain from this frame to the one before


class PointFilter:
    """Follows the points of one face; `spread` in pixels of the frame in all of its methods."""

    def __init__(self, face: Face, spread: np.ndarray, time: float, names: Names) -> None:
        """Start at a face that was found, at a time in seconds, about at rest.

        `names` are the key points', (K,): they tell which move by themselves the most.
        """
        count = len(face.points)
        places = to_complex(face.points)
        mouth = np.array(["mouth" in name or "lip" in name for name in names])
        self.own, self.time = np.where(mouth, OWN_MOUTH, OWN), time
        self.state = np.concatenate([places, np.zeros(count)])
        self.covariance = np.zeros((2 * count, 2 * count), complex)
        self.covariance[:count, :count] = np.diag(spread**2)
        self.covariance[count:, count:] = AT_REST * accelerations(places, self.own)
        self.steps = deque([Step(face, self.state, self.state, self.covariance)], LAG + 1)

    def predict(self, time: float) -> np.ndarray:
        """Where the points will be at a later `time` if the face goes on as it does, (K, 2)."""
        places, velocities = np.split(self.state, 2)
        return to_points(places + (time - self.time) * velocities)

    def update(self, face: Face, spread: np.ndarray, time: float) -> None:
        """Take in the face's measured points at a later `time`.

        `face.points` and those of the last `LAG` faces taken in become the smoothed ones.
        """
        count = len(face.points)
        passed = time - self.time
        move = np.eye(2 * count)
        move[:count, count:] = passed * np.eye(count)
        pushed = np.kron(
            [[passed**3 / 3, passed**2 / 2], [passed**2 / 2, passed]],
            accelerations(self.state[:count], self.own),
        )
        predicted = move @ self.state
        carried = move @ self.covariance
        covariance = carried @ move.T + pushed
        gain = hermitian(np.linalg.solve(covariance, carried))

        seen = covariance[:count]
        weight = hermitian(np.linalg.solve(seen[:, :count] + np.diag(spread**2), seen))
        self.state = predicted + weight @ (to_complex(face.points) - predicted[:count])
        covariance = covariance - weight @ seen
        self.covariance = (covariance + hermitian(covariance)) / 2
        self.time = time
        self.steps.append(Step(face, self.state, predicted, gain))
        self._smooth()

    def _smooth(self) -> None:
        """Go back through the last frames: each learns from the one after it."""
        state = self.state
        for i in range(len(self.steps) - 1, -1, -1):
            if i < len(self.steps) - 1:
                later = self.steps[i + 1]
                state = self.steps[i].state + later.gain @ (state - later.predicted)
            self.steps[i].face.points = to_points(state[: len(state) // 2])


def accelerations(places: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Power densities (K, K) of the random accelerations of points at complex `places` (K,).

    `own` (K,) is what `OWN` is for each of them.
    """
    arms = places - places.mean()
    radius = np.sqrt((np.abs(arms) ** 2).mean())
    if radius == 0:
        radius = 1.0
    arms = arms / radius
    return (radius / RADIUS) ** 2 * (
        SHIFT**2
        + TURN**2 * np.outer(arms, arms.conj())
        + NARROW**2 * np.outer(arms.conj(), arms)
        + np.diag(own**2)
    )


def hermitian(matrix: np.ndarray) -> np.ndarray:
    """The conjugate transpose."""
    return matrix.conj().T


def to_complex(points: np.ndarray) -> np.ndarray:
    """Points (K, 2) as x + iy, (K,)."""
    return points @ (1, 1j)


def to_points(places: np.ndarray) -> np.ndarray:
    """x + iy (K,) as points (K, 2)."""
    return np.stack([places.real, places.imag], -1)
