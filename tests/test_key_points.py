"""data/key_points.py: mirror partners and errors."""

import numpy as np
import pytest

from data.key_points import KEY_POINTS, PARTNERS, mirror_key_points, rmse


def test_mirroring_twice_is_the_identity(faces):
    once = mirror_key_points(faces.key_points)
    assert not np.array_equal(once, faces.key_points, equal_nan=True)
    np.testing.assert_allclose(mirror_key_points(once), faces.key_points, atol=1e-5)


def test_mirrored_x_is_95_minus_x_and_sides_swap():
    points = np.zeros((1, 15, 2), np.float32)
    points[0, KEY_POINTS.index("mouth_left_corner")] = 0, 70
    mirrored = mirror_key_points(points)
    assert mirrored[0, KEY_POINTS.index("mouth_right_corner")].tolist() == [95, 70]


def test_every_partner_is_of_the_other_side():
    for name, partner in zip(KEY_POINTS, PARTNERS, strict=True):
        other = KEY_POINTS[partner]
        assert ("left" in name) == ("right" in other)
        assert name.replace("left", "").replace("right", "") == other.replace("left", "").replace(
            "right", ""
        )


def test_rmse_masks_what_is_not_labelled():
    truth = np.array([[[1, np.nan], [2, 2]]], np.float32)
    assert rmse(truth + 3, truth) == pytest.approx(3)
