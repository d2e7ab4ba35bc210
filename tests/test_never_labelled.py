"""Key points that no training face had labelled: no part in decisions, left empty, not drawn."""

import json

import numpy as np
import pandas as pd
import pytest
from conftest import write_csv
from PIL import Image

import face_key_points as fkp
from data.faces import load_training, synthetic_faces
from data.images.crops import affines_from_points
from data.key_points import COLUMNS, KEY_POINTS, columns_of
from data.synthetic.video import lively, make_frames
from data.system.files import InputError
from models.detect.search import Detections, detect
from models.storage import SHIPPED, load_landmarker, load_model, save_model
from models.track.tracker import make_tracker
from results.figures.drawing import draw_faces
from results.measures import measure

FIVE = "left_eye_center", "right_eye_center", "nose_tip", "mouth_left_corner", "mouth_right_corner"
NEVER = [name for name in KEY_POINTS if name not in FIVE]
KNOWN = np.array([name in FIVE for name in KEY_POINTS])


@pytest.fixture(scope="module")
def five(tmp_path_factory):
    """The shipped model as if trained on five of the points only: of the others it knows nothing,
    its spread is 20 times as large. Returns its path."""
    path = tmp_path_factory.mktemp("five") / "five.keras"
    model, record = load_model(SHIPPED)
    last = model.get_layer("spread")
    last.set_weights([last.get_weights()[0] * np.where(KNOWN, 1, 20)])
    # Kaggle's faces: the eyes 26 px to each side of the nose, and so on; nothing of the others.
    mean = dict(zip(FIVE, [[66, 37], [30, 37], [48, 57], [63, 73], [33, 73]], strict=True))
    record |= {"mean_face": [mean.get(name, [None, None]) for name in KEY_POINTS]}
    save_model(model, path, record | {"never_labelled": NEVER})
    return path


@pytest.fixture(scope="module")
def photo():
    from matplotlib.cbook import get_sample_data

    with get_sample_data("grace_hopper.jpg") as file, Image.open(file) as photo:
        return photo.convert("RGB")


@pytest.fixture(scope="module")
def whole(photo):
    """What the model of all points finds there."""
    return detect(load_landmarker(SHIPPED), photo)


def run(*arguments):
    return fkp.main([str(a) for a in arguments])


def test_faces_are_found_by_the_points_that_were_labelled(five, photo, whole):
    landmarker = load_landmarker(five)
    assert landmarker.found_names == FIVE
    faces = detect(landmarker, photo)
    assert faces.points.shape == (1, 15, 2) and np.isnan(faces.points[:, ~KNOWN]).all()
    assert np.isnan(faces.spread[:, ~KNOWN]).all() and np.isfinite(faces.spread[:, KNOWN]).all()
    off = np.linalg.norm(faces.points - whole.points, axis=-1)[:, KNOWN]
    assert off.max() < 0.03 * whole.boxes[0, 2]
    np.testing.assert_allclose(faces.boxes, whole.boxes, rtol=0.1)
    assert faces.aligned_affines().shape == (1, 2, 3)
    # Crops follow the five points alone, wherever the others are.
    mean_face = landmarker.mean_face
    moved = np.where(KNOWN[:, None], faces.points, 1e3)
    np.testing.assert_array_equal(affines_from_points(moved, mean_face), faces.affines)


def test_without_that_record_no_face_is_found(five, photo, tmp_path):
    """So the record's word is what counts; this is how it was for every photo."""
    model, record = load_model(five)
    save_model(model, tmp_path / "m.keras", record | {"never_labelled": []})
    assert not len(detect(load_landmarker(tmp_path / "m.keras"), photo))


def test_photos_leave_them_empty_and_do_not_draw_them(five, photo, tmp_path, capsys):
    photo.save(tmp_path / "photo.png")
    flags = "--results", tmp_path / "r", "--crops", "--csv", tmp_path / "rows.csv"
    assert run("--model", five, "--image", tmp_path / "photo.png", *flags) == 0
    out = capsys.readouterr().out
    assert "1 face(s)" in out and f"so not found: {', '.join(NEVER)}" in out
    table = pd.read_csv(tmp_path / "r" / "key_points.csv")
    empty = [*columns_of(tuple(NEVER)), *(f"{name}_spread" for name in NEVER)]
    assert table[empty].isna().all().all() and table.drop(columns=empty).notna().all().all()
    assert "nan" not in (tmp_path / "r" / "key_points.csv").read_text()
    rows = load_training(tmp_path / "rows.csv")
    assert np.isfinite(rows.key_points[:, KNOWN]).all()
    assert np.isnan(rows.key_points[:, ~KNOWN]).all()
    assert len(list((tmp_path / "r" / "crops").iterdir())) == 1


def test_drawing_skips_them():
    shape = 5 * synthetic_faces(1, seed=4).key_points[0].astype(float)
    points, spread = np.where(KNOWN[:, None], shape, np.nan)[None], np.ones((1, 15))
    spread[:, ~KNOWN] = np.nan
    canvas = np.zeros((500, 500, 3), np.uint8)
    draw_faces(canvas, Detections(points, spread, KEY_POINTS, points[0]), [1])
    for (x, y), known in zip(shape.round().astype(int), KNOWN, strict=True):
        assert canvas[y - 1 : y + 2, x - 1 : x + 2].any() == known


def test_a_video_tracks_by_the_others(five, tmp_path):
    tracker = make_tracker(load_landmarker(five))
    frames = [tracker.step(frame, i / 30) for i, (frame, _) in
              enumerate(make_frames([(12, lively(12))], 0.4, seed=12))]  # fmt: skip
    assert all(len(faces) == 1 and faces[0].number == 1 for faces in frames)
    for (face,) in frames:
        assert np.isfinite(face.points[KNOWN]).all() and np.isnan(face.points[~KNOWN]).all()


def test_test_faces_and_held_out_faces_do_without_them(five, tmp_path, faces, capsys):
    labels = faces.key_points.copy()
    labels[:, ~KNOWN] = np.nan
    test = write_csv(tmp_path / "test.csv", faces.pictures[:20])
    results = tmp_path / "r"
    landmarker = load_landmarker(five)
    assert run("--model", five, "--data", test, "--results", results) == 0
    table = pd.read_csv(results / "test_key_points.csv")
    assert table[list(columns_of(tuple(NEVER)))].isna().all().all()
    assert table[list(columns_of(FIVE))].notna().all().all()
    points, spread = landmarker.predict(faces.pictures)
    report = measure(points, labels)
    never = report["per_key_point"][NEVER[0]]
    assert never.pop("faces") == 0 and len(never) == 3 and not any(never.values())
    assert report["rmse_px"] < 4 and report["nme"] < 0.1
    # Even where the faces at hand have labels of them.
    assert measure(points, faces.key_points)["rmse_px"] == pytest.approx(report["rmse_px"])


def test_a_size_by_the_labelled_points_where_there_are_no_eyes():
    truth = np.zeros((3, 4, 2))
    truth[:, 1], truth[:, 2] = (30, 0), (0, 40)
    truth[:, 3] = np.nan
    report = measure(truth + [3, 4], truth, ("a", "b", "c", "d"))
    assert report["nme"] == pytest.approx(0.1)  # 5 of 50 px


def test_a_submission_leaves_them_empty(five, faces, tmp_path, capsys):
    test = write_csv(tmp_path / "test.csv", faces.pictures[:2], ImageId=[1, 2])
    lines = [f"{i},{1 + i % 2},{name}" for i, name in enumerate(COLUMNS)]
    (tmp_path / "t.csv").write_text("\n".join(["RowId,ImageId,FeatureName", *lines]) + "\n")
    flags = "--submission", tmp_path / "t.csv", "--data", test, "--results", tmp_path
    assert run("--model", five, *flags) == 0
    answers = pd.read_csv(tmp_path / "submission.csv").Location
    assert (answers.isna() == np.repeat(~KNOWN, 2)).all()
    assert "20 answers are left empty" in capsys.readouterr().out


def test_crops_need_points_that_were_labelled(five, photo, tmp_path, capsys):
    model, record = load_model(five)
    path = tmp_path / "m.keras"
    save_model(model, path, record | {"never_labelled": [*NEVER, "nose_tip"]})
    photo.save(tmp_path / "p.png")
    flags = "--image", tmp_path / "p.png", "--results", tmp_path / "r", "--crops"
    assert run("--model", path, *flags) == 2
    assert "does not find nose_tip" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [["no_such_point"], list(KEY_POINTS), 7, [["nose_tip"]]])
def test_a_record_that_makes_no_sense_is_one_sentence(wrong, five, tmp_path):
    model, record = load_model(five)
    save_model(model, tmp_path / "m.keras", {"key_points": KEY_POINTS})
    record = json.loads((tmp_path / "m.json").read_text()) | {"never_labelled": wrong}
    (tmp_path / "m.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="m.json is not the JSON"):
        load_model(tmp_path / "m.keras")


def test_all_labelled_is_as_before(tmp_path):
    shipped = load_landmarker(SHIPPED)
    pictures = synthetic_faces(3, seed=2).pictures
    assert shipped.labelled.all() and shipped.mean_face is None
    assert all(np.isfinite(values).all() for values in shipped.predict(pictures))
