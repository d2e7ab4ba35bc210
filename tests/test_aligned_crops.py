"""data/images/aligned_crops.py: crops as face recognition expects them, and the way back."""

import numpy as np
import pytest

from data.images.aligned_crops import TEMPLATE, aligned_affines, check_names, cut_aligned
from data.images.crops import transform_points
from data.key_points import KEY_POINTS, PARTNERS
from data.system.files import InputError


@pytest.fixture
def faces():
    """Three faces' key points in a photo: upright, tilted by 30 degrees, small and noisy."""
    rng = np.random.default_rng(2)
    shape = rng.uniform(20, 100, (15, 2))
    for name, place in TEMPLATE.items():
        shape[KEY_POINTS.index(name)] = place
    angle = np.radians(30)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.array(
        [3 * shape + 50, 2 * shape @ turn + [300, 80], 0.5 * (shape + rng.normal(0, 4, (15, 2)))]
    )


def test_the_five_points_lie_where_the_template_has_them(faces):
    crops = aligned_affines(faces, KEY_POINTS)
    five = [KEY_POINTS.index(name) for name in TEMPLATE]
    template = np.array([list(TEMPLATE.values())] * 2)
    np.testing.assert_allclose(transform_points(template, crops[:2]), faces[:2, five], atol=1e-9)


def test_it_is_the_fit_that_those_networks_are_trained_with(faces):
    transform = pytest.importorskip("skimage.transform", reason="scikit-image has that fit")
    for face, crop in zip(faces, aligned_affines(faces, KEY_POINTS), strict=True):
        found = face[[KEY_POINTS.index(name) for name in TEMPLATE]]
        template = np.array(list(TEMPLATE.values()))
        fit = transform.SimilarityTransform.from_estimate(found, template)
        np.testing.assert_allclose(np.linalg.inv(fit.params)[:2], crop, atol=1e-6)


def test_where_left_is_the_viewers_the_crops_are_the_same(faces):
    mean = faces[0]
    viewers = faces[:, PARTNERS]
    for face in (mean[PARTNERS], None):
        crops = aligned_affines(viewers, KEY_POINTS, mean_face=face)
        same = np.allclose(crops, aligned_affines(faces, KEY_POINTS, mean_face=mean))
        assert same == (face is not None)


def test_another_size_is_the_same_crop_finer(faces):
    small, large = (aligned_affines(faces, KEY_POINTS, size) for size in (112, 224))
    corners = np.array([[[-0.5, -0.5], [111.5, 111.5]]])
    twice = 2 * (corners + 0.5) - 0.5
    np.testing.assert_allclose(
        transform_points(corners, small), transform_points(twice, large), atol=1e-9
    )


@pytest.mark.parametrize("size", [112, 128, 224, 256, 384, 512, 896, 100, 160])
def test_sizes_follow_insightface(faces, size):
    """What `estimate_norm` of insightface/utils/face_align.py says of each size that it takes."""
    five = [KEY_POINTS.index(name) for name in TEMPLATE]
    points = np.array(list(TEMPLATE.values()))
    if size % 112 == 0:
        there, slack = points * (size / 112), size / 112 / 2  # counted from the pixel's edge there
    elif size % 128 == 0:
        there, slack = points * (size / 128) + [8 * size / 128, 0], 1e-9
    else:  # it takes no other; here they are as 112, finer
        there, slack = (points + 0.5) * (size / 112) - 0.5, 1e-9
    affines = aligned_affines(faces[:2], KEY_POINTS, size)
    off = transform_points(np.array([there] * 2), affines) - faces[:2, five]
    side = np.sqrt(np.linalg.det(affines[:, :, :2]))[:, None]  # photo pixels of one of the crop
    assert (np.abs(off).max(-1) <= slack * side * 1.5 + 1e-9).all()


def test_the_pixels_are_the_photos(faces):
    """A photo whose red is its x and whose green is its y: each pixel tells where it is from."""
    y, x = np.mgrid[:300, :400]
    photo = np.stack([x / 2, y / 2, np.full_like(x, 200)], -1).astype(np.uint8)
    crop = np.array([[1.2, -0.5, 120.0], [0.5, 1.2, 60.0]])
    cut = cut_aligned(photo, crop, 64).astype(float)
    place = transform_points(np.stack(np.mgrid[:64, :64][::-1], -1).reshape(1, -1, 2), crop[None])
    np.testing.assert_allclose(2 * cut[..., :2].reshape(-1, 2), place[0], atol=2.5)
    assert (cut[..., 2] == 200).all()


def test_large_faces_are_averaged_and_outside_is_black():
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (640, 640, 3), np.uint8)
    crop = np.array([[10.0, 0, 4.5], [0, 10.0, 4.5]])
    means = photo.reshape(64, 10, 64, 10, 3).mean((1, 3))
    np.testing.assert_allclose(cut_aligned(photo, crop, 64)[1:-1, 1:-1], means[1:-1, 1:-1], atol=2)
    outside = cut_aligned(photo, np.array([[1.0, 0, -32], [0, 1.0, 0]]), 64)
    assert not outside[:, :31].any() and outside[:, 33:].any()


def test_other_key_points_are_refused_in_one_sentence():
    check_names(KEY_POINTS)
    with pytest.raises(InputError, match="nose_tip"):
        check_names(tuple(name for name in KEY_POINTS if name != "nose_tip"))
