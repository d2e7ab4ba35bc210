"""data/batches.py and data/augment/non_faces.py: what a training is fed."""

from dataclasses import replace

import numpy as np
import pytest

from data.augment.non_faces import draw_clouds, draw_shapes, non_faces
from data.batches import batches, batches_with_non_faces, epoch_rows
from data.faces import join_faces
from data.settings import Settings
from data.split import thumbnails

SETTINGS = Settings()


def test_batches_repeat_with_the_seed_and_cover_each_epoch(faces):
    settings = replace(SETTINGS, batch_size=40)
    joined = join_faces([faces])

    def some(count, **changes):
        stream = batches(joined, replace(settings, **changes))
        return [next(stream) for _ in range(count)]

    first, again, other = some(4), some(4), some(1, seed=9)
    for (inputs, y, _), (inputs2, y2, _) in zip(first, again, strict=True):
        np.testing.assert_array_equal(inputs[0], inputs2[0])
        np.testing.assert_array_equal(y, y2)
    assert not np.array_equal(first[0][1], other[0][1], equal_nan=True)
    assert first[0][0][0].shape == (40, 96, 96, 1) and first[0][1].shape == (40, 30)
    later = next(batches(joined, settings, first_epoch=1))
    np.testing.assert_array_equal(later[0][0], first[3][0][0])


def test_no_two_parts_of_a_batch_draw_the_same_views(faces):
    same = faces.take(np.zeros(128, int))
    stream = batches(same, replace(SETTINGS, batch_size=64))
    views = np.concatenate([next(stream)[0][0] for _ in range(3)])  # into the next epoch
    assert len(np.unique(views.reshape(192, -1), axis=0)) == 192


def test_non_faces_are_pictures_that_do_not_look_like_what_they_came_from(faces):
    pictures = faces.pictures[:100].astype(np.float32)
    before = pictures.copy()
    made = non_faces(pictures, np.random.default_rng(0))
    assert made.shape == pictures.shape and made.min() >= 0 and made.max() <= 255
    np.testing.assert_array_equal(pictures, before)
    alike = (thumbnails(made) * thumbnails(pictures)).sum(1)
    assert np.median(alike) < 0.3 and (alike > 0.9).mean() < 0.05


def test_shapes_lie_over_the_clouds():
    for seed in range(20):
        rng, alone = np.random.default_rng(seed), np.random.default_rng(seed)
        assert (draw_shapes(rng) != draw_clouds(alone)).mean() > 0.002


def test_a_share_of_the_spreads_batches_shows_no_face(faces):
    settings = replace(SETTINGS, batch_size=40, non_faces=0.25)
    (pictures, _), truth = next(
        batches_with_non_faces(join_faces([faces]), settings, settings.epochs)
    )
    (again, _), plain, _ = next(batches(faces, settings, first_epoch=settings.epochs))
    np.testing.assert_array_equal(pictures[10:], again[10:])
    np.testing.assert_array_equal(truth[10:], plain[10:])
    assert np.isfinite(truth[:10]).all() and 20 < truth[:10].std() < 35
    assert (pictures[:10] != again[:10]).any((1, 2, 3)).all()


def test_first_file_is_repeated_beside_others(faces):
    joined = join_faces([faces.take(slice(0, 10)), faces.take(slice(10, 30))])
    rows, counts = np.unique(epoch_rows(joined, SETTINGS), return_counts=True)
    assert counts.tolist() == [10] * 10 + [1] * 20 and rows.tolist() == list(range(30))


def test_workers_parts_are_the_batch_of_one(faces):
    settings = Settings(batch_size=64)
    (whole, source), truth, weights = next(batches(faces, settings, first_epoch=3))
    parts = [next(batches(faces, settings, 3, worker, 2)) for worker in (0, 1)]
    np.testing.assert_array_equal(np.concatenate([part[0][0] for part in parts]), whole)
    np.testing.assert_array_equal(np.concatenate([part[0][1] for part in parts]), source)
    np.testing.assert_array_equal(np.concatenate([part[1] for part in parts]), truth)
    np.testing.assert_array_equal(np.concatenate([part[2] for part in parts]), weights)
    assert weights[0] == pytest.approx(truth.size / np.isfinite(truth).sum())
