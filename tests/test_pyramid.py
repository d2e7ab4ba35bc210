"""Smaller copies of photos, and what is cut from them."""

import numpy as np
import pytest
from PIL import Image

from data.images.crops import cut_crop, similarity_transforms
from data.images.pyramid import FACTOR, build_pyramid, cut_crops


def smooth_photo(height, width, cell=40):
    """Grey values (height, width) uint8 that change slowly, from one cell to the next."""
    coarse = np.random.default_rng(0).integers(0, 256, (height // cell, width // cell), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def test_each_copy_is_smaller_by_a_step_until_both_sides_are_small():
    copies = build_pyramid(smooth_photo(300, 800), 2048, 8e6, 17)
    assert copies[0].grey.shape == (300, 800) and (copies[0].scale == 1).all()
    for before, copy in zip(copies[:-1], copies[1:], strict=True):
        assert copy.scale[0] == pytest.approx(
            FACTOR * before.scale[0], abs=copy.scale[0] ** 2 / 800
        )
        assert copy.grey.dtype == np.uint8 and copy.grey.shape[1] >= 17
    assert copies[-1].grey.shape[1] < FACTOR * 17
    assert build_pyramid(np.zeros((1, 1), np.uint8), 2048, 8e6, 17)[0].grey.shape == (1, 1)


@pytest.mark.parametrize(
    ("shape", "widths"), [((400, 5000), [5000, 2500, 2048, 1448]), ((5000, 400), [400, 283])]
)
def test_before_the_first_of_the_width_come_the_photo_and_halves_of_it(shape, widths):
    copies = build_pyramid(np.zeros(shape, np.uint8), 2048, 8e6, 17)
    assert [copy.grey.shape[1] for copy in copies][: len(widths)] == widths


def test_few_pixels_bound_the_copies_of_a_long_photo():
    copies = build_pyramid(np.zeros((9000, 2000), np.uint8), 2048, 8e6, 17)
    assert [copy.grey.shape[0] for copy in copies][:2] == [9000, 6000]
    assert copies[1].grey.size == pytest.approx(8e6, rel=1e-3)


def test_it_is_known_which_copies_are_larger_than_was_asked_for():
    for shape, larger in (((400, 5000), 2), ((4010, 2000), 1), ((300, 800), 0), ((400, 2048), 0)):
        copies = build_pyramid(np.zeros(shape, np.uint8), 2048, 8e6, 17)
        assert [copy.only_for_crops for copy in copies] == [i < larger for i in range(len(copies))]


@pytest.mark.parametrize("scale", (0.4, 1.0, 1.3, 3.3, 9.0, 30.0))
def test_many_crops_at_once_are_as_one_by_one(scale):
    photo = smooth_photo(1600, 2400, cell=max(40, round(12 * scale)))
    rng = np.random.default_rng(1)
    places = rng.uniform((100, 100), (2300, 1500), (30, 2))  # some reach beyond the border
    crops = similarity_transforms(np.full(30, scale), rng.uniform(-3, 3, 30), 47.5, places)
    cut = cut_crops(build_pyramid(photo, 1024, 8e6, 17), crops, 96)
    assert cut.shape == (30, 96, 96) and cut.dtype == np.float32
    expected = np.array([cut_crop(photo, crop) for crop in crops])
    assert np.abs(cut - expected).mean() < 0.03 * expected.std()
    assert np.corrcoef(cut.ravel(), expected.ravel())[0, 1] > 0.998


def test_crops_of_a_photo_of_one_pixel_and_of_none():
    copies = build_pyramid(np.full((1, 1), 77, np.uint8), 2048, 8e6, 17)
    crops = similarity_transforms(np.ones(2), np.zeros(2), 11.5, np.zeros((2, 2)))
    assert (cut_crops(copies, crops, 24) == 77).all()
    assert cut_crops(copies, crops[:0], 24).shape == (0, 24, 24)
