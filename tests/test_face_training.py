"""What the small networks learn from, on a few rendered faces."""

import sys

import numpy as np
import pytest
from conftest import ROOT

from data.images.crops import SIZE, transform_points
from data.synthetic.rendered.__main__ import write_csvs
from data.synthetic.rendered.faces import render_faces
from data.system.files import InputError
from models.detect.finder import WINDOW
from models.detect.search import detect
from models.storage import load_landmarker

sys.path.insert(0, str(ROOT / "tests" / "benchmarks"))
import face_backgrounds  # noqa: E402
import face_windows  # noqa: E402
import photo_search  # noqa: E402
import pretrain  # noqa: E402


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rendered")
    faces = render_faces(24, seed=5, points=pretrain.BOTH, workers=1)
    write_csvs(folder, "training", faces, labelled=True)
    return folder, faces


def test_rendered_faces_are_cropped_as_the_network_sees_them(rendered):
    folder, faces = rendered
    pictures, points, affines, aside = face_windows.load_rendered(folder)
    np.testing.assert_allclose(points, faces.key_points[:, :15], atol=1e-3)  # Kaggle's alone
    before, after = (p[:, 16:88, 16:80].std((1, 2)) for p in (faces.pictures, pictures))
    assert (after > 0.95 * before).all() and after.min() > 1.2 * before.min()
    middles = transform_points(np.full((24, 1, 2), (SIZE - 1) / 2), affines)[:, 0]
    assert np.abs(middles - points.mean(1)).max() < 12  # the points' mean is below the middle
    assert aside.tolist() == [abs(d.yaw) > face_windows.PROFILE for d in faces.descriptions]
    assert 0 < aside.sum() < 24
    angles = np.degrees(np.arctan2(affines[:, 1, 0], affines[:, 0, 0]))
    rolls = np.array([d.roll for d in faces.descriptions])
    assert np.abs(angles - rolls)[aside].max() < 1e-2 < np.abs(angles - rolls)[~aside].max() < 25
    (folder / "training_descriptions.csv").rename(folder / "elsewhere.csv")
    with pytest.raises(InputError, match=r"training_descriptions.csv is missing"):
        face_windows.load_rendered(folder)
    (folder / "elsewhere.csv").rename(folder / "training_descriptions.csv")


def test_profiles_are_included_more_often(rendered):
    pictures, _, _, aside = face_windows.load_rendered(rendered[0])
    learned, held_out = face_windows.load_all([rendered[0]])
    kept = [p for p in pictures if not (p == held_out.pictures).all((1, 2)).any()]
    copies = [(p == learned.pictures).all((1, 2)).sum() for p in pictures]
    expected = np.where(aside, face_windows.PROFILE_COPIES, 1)
    assert len(kept) + len(held_out.pictures) == 24
    assert all(
        count == (often if any((p == k).all() for k in kept) else 0)
        for p, count, often in zip(pictures, copies, expected, strict=True)
    )


def test_windows_show_the_face_where_their_placement_says(rendered):
    """A white dot in the middle of each crop comes out where the placement says."""
    _, points, affines, _ = face_windows.load_rendered(rendered[0])
    middles = transform_points(np.full((24, 1, 2), (SIZE - 1) / 2), affines)[:, 0]
    y, x = np.mgrid[:SIZE, :SIZE]
    far = np.hypot(x - middles[:, :1, None], y - middles[:, 1:, None])
    dots = face_windows.Faces(np.where(far < 6, 255, 0).astype(np.uint8), points, affines)
    dots.halves = dots.pictures.reshape(24, SIZE // 2, 2, SIZE // 2, 2).max((2, 4))
    rng = np.random.default_rng(0)
    placements = np.column_stack([np.zeros(40), rng.uniform(-0.13, 0.13, (40, 2)), np.zeros(40)])
    black = [np.zeros((80, 80), np.uint8)]
    windows, placed = dots.windows(
        placements, black, rng, augment=lambda patches, rng: patches.astype(np.uint8)
    )
    # Faces that are continued by reflection may show the dot once more, at the border.
    bright = (windows > windows.max((1, 2), keepdims=True) / 2).astype(float)
    expected = (WINDOW - 1) / 2 + WINDOW * placed[:, 1:3]
    rows, columns = np.mgrid[:WINDOW, :WINDOW]
    near = np.hypot(columns - expected[:, :1, None], rows - expected[:, 1:, None]) < 5
    weight = bright * near
    found = np.stack([(weight * axis).sum((1, 2)) for axis in (columns, rows)], -1)
    found /= weight.sum((1, 2))[:, None]
    assert np.abs(found - expected).max() < 0.7
    assert (np.sign(placed[:, 1]) != np.sign(placements[:, 1])).any()  # some are mirrored


def test_windows_may_show_another_face_beside_the_first(rendered):
    """White faces half as wide as the window: the first on its left, the others on its right."""
    _, points, affines, _ = face_windows.load_rendered(rendered[0])
    white = face_windows.Faces(np.full((24, SIZE, SIZE), 255, np.uint8), points, affines)
    white.halves = white.pictures[:, ::2, ::2]
    placements = np.tile([0, -0.28, 0, np.log(0.5)], (40, 1))
    right, black = placements * [1, -1, 1, 1], [np.zeros((80, 80), np.uint8)]

    def share_lit(beside):
        patches, placed = white.windows(
            placements,
            black,
            np.random.default_rng(0),
            augment=lambda patches, rng: patches.astype(np.uint8),
            reach=(0.7, 0.7),
            beside=beside,
        )
        columns = np.rint(WINDOW / 2 - WINDOW * placed[:, 1]).astype(int)  # opposite the first face
        return (patches[np.arange(40), WINDOW // 2, columns] > 0).mean()

    assert share_lit(lambda part, rng: (np.arange(len(part)), right)) > share_lit(None) + 0.4


def test_pictures_without_a_face_show_none(monkeypatch):
    monkeypatch.setattr(face_backgrounds, "SHEETS", 1)
    monkeypatch.setattr(face_backgrounds, "SHEET", (4, 6))
    (sheet,) = face_backgrounds.render_sheets(3)
    assert sheet.shape == (4 * SIZE, 6 * SIZE) and sheet.std() > 30
    landmarker = load_landmarker(ROOT / "models" / "pretrained_small.tflite")
    assert len(detect(landmarker, sheet)) == 0


def test_marks_rotate_with_their_photo():
    photo = np.zeros((80, 120), np.float32)
    photo[10:13, 99:102] = 200
    rotated, affine = photo_search.rotate(photo)
    (x, y, size), *_ = photo_search.rotate_marks(np.array([[100.0, 11, 30]]), affine)
    rows, columns = np.nonzero(rotated > 150)
    np.testing.assert_allclose([columns.mean(), rows.mean()], [x, y], atol=0.6)
    assert size == 30 and x > rotated.shape[1] / 2 and y > rotated.shape[0] / 2


def test_halves_of_the_photos_share_faces_and_empty_photos_evenly(tmp_path):
    rng = np.random.default_rng(0)
    truth = {
        tmp_path / f"{kind}_{i}.jpg": [np.zeros((count, 3)), np.zeros((0, 3))]
        for kind, most in (("group", 20), ("none", 1), ("turned", 3))
        for i, count in enumerate(rng.integers(0, most, 8))
    }
    one, other = (photo_search.take_half(truth, number) for number in (1, 2))
    assert sorted([*one, *other]) == sorted(truth)
    counts = [[len(faces) for faces, _ in half.values()] for half in (one, other)]
    assert abs(sum(counts[0]) - sum(counts[1])) <= 20
    assert abs(counts[0].count(0) - counts[1].count(0)) <= 1
