"""Smoothing the points of a video: a Kalman filter with the spread as its measurement noise.

The state is the positions and velocities of all K points of a face. The model is constant velocity,
disturbed by random accelerations of two kinds: those of the face as a whole (translation, rotation
and scaling in the picture, and the narrowing as a head turns away: an affine motion), which move
all points together, and each point's own. The variance of a measurement is its spread squared. So
an uncertain point follows the others and its past, and a certain one leads.

The filter is Kalman's (1960, https://doi.org/10.1115/1.3662552), the motion model the continuous
white noise acceleration of Bar-Shalom, Li and Kirubarajan (Estimation with Applications to Tracking
and Navigation, 2001, section 6.2.2). A few frames of lookahead are allowed, so the points shown are
those of Rauch, Tung and Striebel's fixed-lag smoother (1965, https://doi.org/10.2514/3.3166) over
the last `LAG` frames: it removes the lag that a filter alone would have.

Points are complex numbers here, x + iy: rotation and scaling are one factor, and isotropic noise
is one number.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from data.images.crops import RADIUS
from data.key_points import Names

# Process noise: square roots of the accelerations' power densities, in pixels of the 96x96 crop per
# second^1.5. Chosen on synthetic heads that turn, talk and blink in good and bad light (other ones
# than tests/benchmarks/video.py measures): smaller ones reduce the jitter of still heads more, but
# lips lag; larger ones leave the jitter in.
SHIFT = 250.0  # translation of the whole face
ROTATION = 60.0  # rotation and scaling in the picture
NARROWING = 60.0  # scaling in one direction, as the head turns away
OWN, OWN_MOUTH = 60.0, 150.0  # of each point by itself; lips are the fastest

LAG = 8  # frames of lookahead: more changes next to nothing
AT_REST = 0.5  # seconds of process noise: the variance of the velocity of a new face


@dataclass
class Face:
    """A face in one frame."""

    number: int  # the same for as long as the face is tracked
    points: np.ndarray  # (K, 2), pixels of the frame; smoothed while later frames come in
    spread: np.ndarray  # (K,), pixels of the crop


class Step(NamedTuple):
    """The filter's result for one frame, kept for the smoother."""

    face: Face
    state: np.ndarray  # (2K,) complex: positions and velocities, filtered
    predicted: np.ndarray  # (2K,) the same, before the frame's measurement
    gain: np.ndarray  # (2K, 2K) the smoother's gain from this frame to the one before


class PointFilter:
    """Filters the points of one face; `spread` is in pixels of the frame in all methods."""

    def __init__(self, face: Face, spread: np.ndarray, time: float, names: Names) -> None:
        """Start with a detected face at a time in seconds, about at rest.

        `names` of the key points, (K,): those of the mouth have more process noise. Points that are
        NaN, which the model never finds, are no part of the state.
        """
        self.found = np.isfinite(face.points).all(1)
        positions = to_complex(face.points[self.found])
        count = len(positions)
        mouth = np.array(["mouth" in name or "lip" in name for name in names])[self.found]
        self.own, self.time = np.where(mouth, OWN_MOUTH, OWN), time
        self.state = np.concatenate([positions, np.zeros(count)])
        self.covariance = np.zeros((2 * count, 2 * count), complex)
        self.covariance[:count, :count] = np.diag(spread[self.found] ** 2)
        self.covariance[count:, count:] = AT_REST * accelerations(positions, self.own)
        self.steps = deque([Step(face, self.state, self.state, self.covariance)], LAG + 1)

    def predict(self, time: float) -> np.ndarray:
        """The points (K, 2) predicted for a later `time` at constant velocity."""
        positions, velocities = np.split(self.state, 2)
        return self._all_points(positions + (time - self.time) * velocities)

    def update(self, face: Face, spread: np.ndarray, time: float) -> None:
        """Add the face's measured points at a later `time`.

        `face.points`, and those of the last `LAG` faces added, become the smoothed ones.
        """
        measured, spread = to_complex(face.points[self.found]), spread[self.found]
        count = len(measured)
        passed = time - self.time
        move = np.eye(2 * count)
        move[:count, count:] = passed * np.eye(count)
        process_noise = np.kron(
            [[passed**3 / 3, passed**2 / 2], [passed**2 / 2, passed]],
            accelerations(self.state[:count], self.own),
        )
        predicted = move @ self.state
        carried = move @ self.covariance
        covariance = carried @ move.T + process_noise
        gain = hermitian(np.linalg.solve(covariance, carried))

        seen = covariance[:count]
        weight = hermitian(np.linalg.solve(seen[:, :count] + np.diag(spread**2), seen))
        self.state = predicted + weight @ (measured - predicted[:count])
        covariance = covariance - weight @ seen
        self.covariance = (covariance + hermitian(covariance)) / 2
        self.time = time
        self.steps.append(Step(face, self.state, predicted, gain))
        self._smooth()

    def _smooth(self) -> None:
        """The smoother's backward pass over the last frames."""
        state = self.state
        for i in range(len(self.steps) - 1, -1, -1):
            if i < len(self.steps) - 1:
                later = self.steps[i + 1]
                state = self.steps[i].state + later.gain @ (state - later.predicted)
            self.steps[i].face.points = self._all_points(state[: len(state) // 2])

    def _all_points(self, positions: np.ndarray) -> np.ndarray:
        """Positions of the state as points (K, 2), NaN where the model finds none."""
        points = np.full((len(self.found), 2), np.nan)
        points[self.found] = np.stack([positions.real, positions.imag], -1)
        return points


def accelerations(positions: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Power densities (K, K) of the random accelerations of points at complex `positions` (K,).

    `own` (K,) is each point's `OWN`.
    """
    offsets = positions - positions.mean()
    radius = np.sqrt((np.abs(offsets) ** 2).mean())
    if radius == 0:
        radius = 1.0
    offsets = offsets / radius
    return (radius / RADIUS) ** 2 * (
        SHIFT**2
        + ROTATION**2 * np.outer(offsets, offsets.conj())
        + NARROWING**2 * np.outer(offsets.conj(), offsets)
        + np.diag(own**2)
    )


def hermitian(matrix: np.ndarray) -> np.ndarray:
    """The conjugate transpose."""
    return matrix.conj().T


def to_complex(points: np.ndarray) -> np.ndarray:
    """Points (K, 2) as x + iy, (K,)."""
    return points @ (1, 1j)
