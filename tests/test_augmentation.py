"""data/augment/views.py and data/augment/occlusion.py: the points follow the pictures."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from data.augment.occlusion import occlude
from data.augment.views import augment, box_blur, draw_matrices, resizing, warp
from data.key_points import KEY_POINTS, LEFT_EYE, PARTNERS
from data.settings import GEOMETRY, LIGHT, OCCLUSION, Settings, scale_augmentation

BILINEAR = Image.Resampling.BILINEAR
SETTINGS = Settings()
PLAIN = replace(SETTINGS, **dict.fromkeys((*LIGHT, *OCCLUSION), 0.0))


def test_points_land_where_a_painted_pixel_lands():
    rng = np.random.default_rng(3)
    points = rng.uniform(30, 65, (40, 15, 2)).round()
    matrices = draw_matrices(40, rng, SETTINGS)
    assert {1, -1} == set(np.sign(np.linalg.det(matrices)))
    y, x = np.mgrid[:96, :96]
    for k in (0, 3, 10, 12):
        spots = np.exp(-((x - points[:, k, 0, None, None]) ** 2 / 4)) * 255
        spots = spots * np.exp(-((y - points[:, k, 1, None, None]) ** 2 / 4))
        pictures, moved = warp(spots, points, matrices)
        total = pictures.sum((1, 2))
        found = np.stack([(pictures * x).sum((1, 2)), (pictures * y).sum((1, 2))], -1)
        mirrored = np.linalg.det(matrices) < 0
        expected = np.where(mirrored[:, None], moved[:, PARTNERS[k]], moved[:, k])
        np.testing.assert_allclose(found / total[:, None], expected, atol=0.1)


def test_augmenting_keeps_missing_points_missing_and_swaps_them(faces):
    rng = np.random.default_rng(0)
    one_sided = np.zeros((64, 15, 2), np.float32) + 40
    one_sided[:, KEY_POINTS.index("left_eyebrow_outer_end")] = np.nan
    pictures, moved = augment(faces.pictures[:64], one_sided, rng, SETTINGS)
    lost = np.isnan(moved[..., 0])
    assert (lost.sum(1) == 1).all()
    right = lost[:, KEY_POINTS.index("right_eyebrow_outer_end")]
    assert 10 < right.sum() < 54
    assert pictures.shape == (64, 96, 96) and pictures.dtype == np.float32
    assert pictures.min() >= 0 and pictures.max() <= 255 and np.isfinite(pictures).all()


def test_short_trainings_see_milder_views_and_long_ones_do_not():
    default = Settings()
    whole, few = default.full_augmentation, 100  # rows
    assert scale_augmentation(default, whole, few) == default
    assert scale_augmentation(default, 2 * whole, few) == default
    assert scale_augmentation(default, default.epochs, few).rotation < default.rotation
    quarter = scale_augmentation(default, whole // 4, few)
    assert quarter.rotation == default.rotation / 4 and quarter.hand == default.hand / 4
    assert quarter.flip == default.flip and quarter.batch_size == default.batch_size


def test_few_epochs_of_many_faces_are_a_long_training():
    default = Settings()
    assert scale_augmentation(default, 2, default.full_views // 2) == default
    half = scale_augmentation(default, 1, default.full_views // 2)
    assert half.rotation == default.rotation / 2


def test_a_warp_shows_the_picture_where_the_key_points_go(faces):
    """Beside Pillow's, perspective and mirror included."""
    matrices = draw_matrices(12, np.random.default_rng(3), Settings(perspective=0.2))
    warped, _ = warp(faces.pictures[:12], faces.key_points[:12], matrices)
    middle = slice(24, 72)  # beyond its border Pillow's picture is black
    for picture, ours, matrix in zip(faces.pictures, warped, matrices, strict=False):
        back = np.linalg.inv(matrix)
        # Pillow counts from the pixels' outer edges.
        edges = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
        back = edges @ back @ np.linalg.inv(edges)
        its = Image.fromarray(picture).transform(
            (96, 96), Image.Transform.PERSPECTIVE, (back / back[2, 2]).ravel()[:8], BILINEAR
        )
        inside = np.asarray(its)[middle, middle] > 0
        difference = np.abs(np.asarray(its, float) - ours)[middle, middle][inside]
        assert inside.mean() > 0.5 and np.quantile(difference, 0.95) < 1.5


def test_low_resolution_is_pillows(faces):
    small, there = Image.fromarray(faces.pictures[0]).convert("F"), resizing(96, 32)
    ours = there @ faces.pictures[0].astype(np.float32) @ there.T
    np.testing.assert_allclose(ours, np.asarray(small.resize((32, 32), BILINEAR)), atol=1e-2)


def test_no_augmentation_leaves_the_faces_as_they_are(faces):
    still = replace(PLAIN, **dict.fromkeys(("flip", *GEOMETRY), 0.0))
    pictures, moved = augment(faces.pictures, faces.key_points, np.random.default_rng(0), still)
    np.testing.assert_allclose(moved, faces.key_points, atol=1e-4)
    # Only the sharpness changes, which keeps the mean.
    difference = pictures.mean((1, 2)) - faces.pictures.mean((1, 2))
    assert np.abs(difference).max() < 1.5


def test_glasses_darken_the_eyes_and_hats_cover_the_top(faces):
    grey = np.full((50, 96, 96), 128, np.float32)
    points = np.tile(faces.key_points[1:2], (50, 1, 1))
    x, y = points[0, LEFT_EYE].round().astype(int)
    shaded = grey.copy()
    occlude(shaded, points, np.random.default_rng(0), replace(PLAIN, sunglasses=1.0))
    assert (shaded[:, y, x] < 110).all() and (shaded[:, 90] == 128).all()
    topped = grey.copy()
    occlude(topped, points, np.random.default_rng(0), replace(PLAIN, hat=1.0))
    assert (topped[:, 2, 48] != 128).all() and (topped[:, 90] == 128).all()


@pytest.mark.parametrize("what", ["hair", "hand"])
def test_hair_and_hands_cover_some_of_every_face_and_leave_most(faces, what):
    pictures = faces.pictures[:40].astype(np.float32)
    before = pictures.copy()
    points = np.tile(faces.key_points[1:2], (40, 1, 1))
    occlude(pictures, points, np.random.default_rng(0), replace(PLAIN, **{what: 1.0}))
    covered = (np.abs(pictures - before) > 1).mean((1, 2))
    assert covered.min() > 0.01 and np.median(covered) < 0.5
    assert pictures.min() >= 0 and np.isfinite(pictures).all()


def test_unlabelled_eyes_get_no_glasses():
    pictures = np.full((20, 96, 96), 128, np.float32)
    nothing = np.full((20, 15, 2), np.nan, np.float32)
    settings = replace(PLAIN, sunglasses=1.0, hat=1.0, hair=1.0, hand=1.0)
    occlude(pictures, nothing, np.random.default_rng(0), settings)
    assert (pictures == 128).all()


def test_blur_is_the_mean_with_the_neighbours():
    pictures = np.random.default_rng(0).uniform(0, 255, (2, 96, 96)).astype(np.float32)
    blurred = box_blur(pictures)
    assert blurred.dtype == np.float32
    for y, x in [(0, 0), (0, 50), (95, 95), (40, 0), (30, 60)]:
        near = pictures[:, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
        np.testing.assert_allclose(blurred[:, y, x], near.mean((1, 2)), rtol=1e-5)
