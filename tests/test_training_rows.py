"""face_key_points.py --image --csv and --crops: faces to correct and train on; aligned crops."""

import json

import numpy as np
import pandas as pd
import pytest
from conftest import train_in_few_steps
from PIL import Image

import face_key_points as fkp
import model_builder as mb
from data.faces import load_faces, load_training, synthetic_faces
from data.images.aligned_crops import MATRIX_COLUMNS, TEMPLATE
from data.images.crops import affine_scales, affines_from_points, cut_crop, transform_points
from data.key_points import COLUMNS, KEY_POINTS
from models.detect.search import Detections
from models.storage import SHIPPED, Landmarker
from results import photos as room


def run(*arguments):
    return fkp.main([str(a) for a in arguments])


@pytest.fixture
def wall(tmp_path, monkeypatch):
    """A photo of three synthetic faces on a wall, and a finder that knows them: no network.

    Its second face is the least certain. Returns the photo's path and the points (3, 15, 2).
    """
    made = synthetic_faces(3, seed=11)
    grey = np.full((220, 760), 120, np.uint8)
    places = [(20, 20), (270, 10), (520, 30)]
    for picture, (x, y) in zip(made.pictures, places, strict=True):
        large = Image.fromarray(picture).resize((192, 192), Image.Resampling.BICUBIC)
        grey[y : y + 180, x : x + 192] = np.asarray(large)[:180]
    points = (made.key_points.astype(float) + 0.5) * 2 - 0.5 + np.array(places)[:, None]
    spread = np.ones((3, 15)) * np.array([[1.0], [2.5], [1.7]])
    model = Landmarker(None, {"key_points": KEY_POINTS}, tmp_path / "m.keras")
    monkeypatch.setattr(room, "load_for_photos", lambda path: model)
    found = Detections(points, spread, KEY_POINTS, None)
    monkeypatch.setattr(room, "detect", lambda *_: found)
    path = tmp_path / "wall.png"
    Image.fromarray(grey).convert("RGB").save(path)
    return path, points


def test_rows_are_the_projects_own_format_least_certain_first(wall, tmp_path, capsys):
    photo, points = wall
    csv = tmp_path / "sub" / "faces.csv"
    assert run("--image", photo, "--results", tmp_path / "r", "--csv", csv) == 0
    assert "3 face(s) to correct and train on" in capsys.readouterr().out
    table = pd.read_csv(csv)
    assert table.columns.tolist() == [
        *("photo", "face", *COLUMNS),
        *(f"{name}_spread" for name in KEY_POINTS),
        "Image",
    ]
    assert table.face.tolist() == [2, 3, 1] and (table.photo == str(photo)).all()
    np.testing.assert_allclose(table.nose_tip_spread, [2.5, 1.7, 1.0])
    # Read as any training file: its pictures are the crops, its points lie in them.
    faces = load_training(csv)
    order = [1, 2, 0]
    crops = affines_from_points(points)[order]
    grey = np.array(Image.open(photo).convert("L"))
    for picture, crop in zip(faces.pictures, crops, strict=True):
        np.testing.assert_allclose(picture, cut_crop(grey, crop), atol=0.51)
    np.testing.assert_allclose(transform_points(faces.key_points, crops), points[order], atol=0.01)


def test_a_file_that_may_hold_corrections_is_not_overwritten(wall, tmp_path, capsys):
    photo, _ = wall
    (tmp_path / "faces.csv").write_text("corrected")
    status = run("--image", photo, "--results", tmp_path / "r", "--csv", tmp_path / "faces.csv")
    error = capsys.readouterr().err
    assert status == 2 and "exists" in error and error.count("\n") == 1
    assert (tmp_path / "faces.csv").read_text() == "corrected"
    assert not (tmp_path / "r" / "key_points.csv").exists()


def test_crops_lie_as_the_template_and_their_matrix_leads_back(wall, tmp_path):
    photo, points = wall
    other = photo.with_name("wall.jpg")  # the same name: its crops must not take the others' place
    Image.open(photo).save(other)
    assert run("--image", photo, other, "--results", tmp_path / "r", "--crops") == 0
    files = sorted(file.name for file in (tmp_path / "r" / "crops").iterdir())
    names = [f"{name}_{i}.png" for name in ("wall", "wall.jpg") for i in (1, 2, 3)]
    assert files == sorted(names)
    table = pd.read_csv(tmp_path / "r" / "key_points.csv")
    matrices = table[MATRIX_COLUMNS].to_numpy(float).reshape(-1, 2, 3)[:3]
    template = np.repeat(np.array(list(TEMPLATE.values()))[None], 3, 0)
    five = points[:, [KEY_POINTS.index(name) for name in TEMPLATE]]
    off = np.linalg.norm(transform_points(template, matrices) - five, axis=-1)
    assert np.median(off / affine_scales(matrices)[:, None]) < 6  # pixels of the crop
    photo_pixels = np.array(Image.open(photo).convert("L"), float)
    for number, matrix in enumerate(matrices, 1):
        crop = np.array(Image.open(tmp_path / "r" / "crops" / f"wall_{number}.png"))
        assert crop.shape == (112, 112, 3)
        x, y = transform_points(np.array([[[56.0, 60.0]]]), matrix[None])[0, 0].round().astype(int)
        around = photo_pixels[y - 2 : y + 3, x - 2 : x + 3]
        assert around.min() - 3 <= crop[60, 56].mean() <= around.max() + 3


def test_one_corrects_and_trains_on(wall, tmp_path, monkeypatch, capsys):
    """The whole way: photos, rows, a correction by hand, training from the shipped model."""
    photo, _ = wall
    csv = tmp_path / "faces.csv"
    for i in range(4):
        Image.open(photo).save(photo.with_name(f"wall_{i}.png"))
    photos = sorted(tmp_path.glob("wall_*.png"))
    assert run("--image", *photos, "--results", tmp_path / "r", "--csv", csv) == 0
    table = pd.read_csv(csv)
    table["nose_tip_y"] += 6  # "the nose tip is lower"
    table.to_csv(csv, index=False)
    train_in_few_steps(monkeypatch)
    before = load_faces(csv)
    assert len(before.rows) == 12 and before.names == KEY_POINTS
    status = mb.main(
        [
            *("--data", str(csv), "--init", str(SHIPPED), "--epochs", "1", "--batch-size", "8"),
            *("--model", str(tmp_path / "mine.keras"), "--results", str(tmp_path / "r")),
            *("--precision", "float32"),
        ]
    )
    assert status == 0, capsys.readouterr().err
    record = json.loads((tmp_path / "mine.json").read_text())
    assert record["data"][0]["path"].endswith("faces.csv")
    # Some of the rows were held out, and what was learned before is still known.
    assert record["results"]["validation"][0]["rmse_px"] < 5
