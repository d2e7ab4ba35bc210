"""models/track/smoothing.py: steady where nothing moves, prompt where something does."""

import numpy as np
import pytest

from data.images.crops import RADIUS
from data.key_points import KEY_POINTS
from models.track.smoothing import LAG, Face, PointFilter

RATE = 30.0


@pytest.fixture
def shape():
    """15 points round the origin with the size of a face in a crop."""
    points = np.random.default_rng(3).normal(0, 1, (15, 2))
    points -= points.mean(0)
    return points * RADIUS / np.sqrt((points**2).sum(1).mean())


def run(places, spread, noise, seed=0):
    """Measure points (T, K, 2) with that noise; returns the measured and the smoothed ones."""
    rng = np.random.default_rng(seed)
    measured = places + noise[..., None] * rng.standard_normal(places.shape)
    faces = [Face(1, points.copy(), spread) for points in measured]
    follow = PointFilter(faces[0], spread, 0.0, KEY_POINTS)
    for i, face in enumerate(faces[1:], 1):
        follow.update(face, spread, i / RATE)
    return measured, np.array([face.points for face in faces])


def scatter(points):
    """Root mean square step from frame to frame."""
    return np.sqrt((np.diff(points, axis=0) ** 2).mean())


def test_a_still_face_scatters_a_third(shape):
    places = np.repeat(shape[None] + 100, 90, axis=0)
    measured, smoothed = run(places, np.ones(15), np.ones(15))
    assert scatter(smoothed) < scatter(measured) / 3
    assert np.sqrt(((smoothed - places) ** 2).mean()) < 0.6


def test_what_moves_steadily_is_not_late(shape):
    times = np.arange(90) / RATE
    speed = np.array([120.0, -60.0])  # pixels a second: more than a face's width
    places = shape + 100 + times[:, None, None] * speed
    _, smoothed = run(places, np.ones(15), np.full(15, 0.01))
    late = ((places - smoothed) @ speed / (speed @ speed))[LAG:]  # seconds
    assert np.abs(late).max() * RATE < 0.1


def test_a_point_that_is_unsure_is_led_by_the_others(shape):
    times = np.arange(60) / RATE
    places = shape + 100 + 12 * np.sin(2 * np.pi * times)[:, None, None]
    spread = np.ones(15)
    spread[4] = 12.0
    noise = np.where(np.arange(15) == 4, 12.0, 0.3)
    measured, smoothed = run(places, spread, noise)
    error = [np.sqrt(((p - places)[:, 4] ** 2).mean()) for p in (measured, smoothed)]
    assert error[1] < error[0] / 3
    # The sure ones are not led astray by it.
    sure = np.arange(15) != 4
    assert np.sqrt(((smoothed - places)[:, sure] ** 2).mean()) < 1.0


def test_it_does_not_matter_how_large_the_face_is_or_which_way_it_lies(shape):
    places = np.repeat(shape[None], 30, axis=0)
    measured, smoothed = run(places, np.ones(15), np.ones(15))
    turn = 3.0 * np.array([[0.6, 0.8], [-0.8, 0.6]])
    faces = [Face(1, points @ turn + 500, np.ones(15)) for points in measured]
    follow = PointFilter(faces[0], 3 * np.ones(15), 0.0, KEY_POINTS)
    for i, face in enumerate(faces[1:], 1):
        follow.update(face, 3 * np.ones(15), i / RATE)
    again = np.array([face.points for face in faces])
    np.testing.assert_allclose(again, smoothed @ turn + 500, atol=1e-6)


def test_uneven_times_and_gaps_are_taken_as_they_are(shape):
    rng = np.random.default_rng(1)
    times = np.cumsum(rng.choice([0.01, 0.03, 0.2], 60))
    places = shape + 100 + times[:, None, None] * [50.0, 20.0]
    faces = [Face(1, points.copy(), np.ones(15)) for points in places]
    follow = PointFilter(faces[0], np.ones(15), times[0], KEY_POINTS)
    for face, time in zip(faces[1:], times[1:], strict=True):
        follow.update(face, np.ones(15), time)
    late = np.abs(np.array([face.points for face in faces]) - places)[LAG:]
    assert late.max() < 0.5
    heading = follow.predict(times[-1] + 0.5)
    np.testing.assert_allclose(heading, places[-1] + [25.0, 10.0], atol=0.5)


def test_points_in_one_place_do_no_harm():
    faces = [Face(1, np.zeros((2, 2)), np.ones(2)) for _ in range(3)]
    follow = PointFilter(faces[0], np.ones(2), 0.0, KEY_POINTS[:2])
    for i, face in enumerate(faces[1:], 1):
        follow.update(face, np.ones(2), i / RATE)
    assert np.isfinite(faces[-1].points).all()
