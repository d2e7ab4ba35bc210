"""Key points that no training face labels: they take no part in the training's figures."""

import numpy as np
import pytest
from conftest import train_in_few_steps, write_csv

import model_builder as mb
from data.batches import batches_with_non_faces
from data.faces import join_faces, labelled_points, load_training
from data.key_points import KEY_POINTS, PARTNERS, columns_of, compute_mean_face, rmse
from data.settings import Settings
from data.split import split_faces
from models.network import predict
from models.storage import load_model, save_model
from models.training.fit import find_sources

FIVE = ("left_eye_center", "right_eye_center", "nose_tip", "mouth_left_corner")
FIVE += ("mouth_right_corner",)
OTHERS = [name for name in KEY_POINTS if name not in FIVE]
NOSE = KEY_POINTS.index("nose_tip")


def write(path, faces, names):
    """Faces as a CSV with the columns of these key points only."""
    some = faces.key_points[:, [KEY_POINTS.index(name) for name in names]]
    return write_csv(path, faces.pictures, some, columns_of(names))


def train(path, folder, *flags):
    """Train the tiny network for an epoch: the model and its record."""
    arguments = ["--data", path, "--model", folder / "m.keras", "--results", folder / "r"]
    arguments += ["--epochs", 1, "--batch-size", 8, "--precision", "float32", *flags]
    assert mb.main([str(argument) for argument in arguments]) == 0
    return load_model(folder / "m.keras")


@pytest.fixture
def few(made, tiny, monkeypatch):
    """Some faces, and a training that takes seconds."""
    train_in_few_steps(monkeypatch)
    return made.take(slice(0, 40))


def test_the_record_says_which_points_were_never_labelled(few, tmp_path, capsys):
    model, record = train(write(tmp_path / "five.csv", few, FIVE), tmp_path)
    assert record["never_labelled"] == OTHERS and record["key_points"] == list(KEY_POINTS)
    assert "10 of the 15 key points are not labelled in any training face" in (
        capsys.readouterr().out
    )
    unknown = [place == [None, None] for place in record["mean_face"]]
    assert unknown == [name in OTHERS for name in KEY_POINTS]
    assert "NaN" not in (tmp_path / "m.json").read_text()
    faces = load_training(tmp_path / "five.csv")
    held_out = faces.take(record["data"][0]["validation_rows"])
    found, _ = predict(model, held_out.pictures)
    score = record["results"]["validation"][0]
    assert score["rmse_px"] == pytest.approx(rmse(found, held_out.key_points))


def test_a_training_with_all_points_labelled_says_nothing_of_it(few, tmp_path, capsys):
    _, record = train(write(tmp_path / "all.csv", few, KEY_POINTS), tmp_path)
    assert "never_labelled" not in record and "labelled in" not in capsys.readouterr().out


def test_labels_of_held_out_faces_alone_do_not_count(few, tmp_path):
    """No face to train on has a nose: however wrong the answer is, no figure knows of it."""
    key_points = few.key_points.copy()
    training, held_out = split_faces(join_faces([few]))
    key_points[training, NOSE] = np.nan
    key_points[held_out, NOSE] = 0, 95
    path = write(tmp_path / "nose.csv", few._replace(key_points=key_points), KEY_POINTS)
    model, record = train(path, tmp_path)
    assert record["never_labelled"] == ["nose_tip"]
    assert record["data"][0]["validation_rows"] == held_out.tolist()
    found, spread = predict(model, few.pictures[held_out])
    others = np.arange(15) != NOSE
    error = rmse(found[:, others], key_points[held_out][:, others])
    assert record["results"]["validation"][0]["rmse_px"] == pytest.approx(error)
    log = np.genfromtxt(tmp_path / "r" / "training_log.csv", delimiter=",", names=True)
    assert log["validation_rmse_px"] == pytest.approx(error, rel=1e-4)
    again = train(write(tmp_path / "none.csv", without_nose(few), KEY_POINTS), tmp_path)[0]
    for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)  # neither does the calibration of the spread


def without_nose(faces):
    """The faces without any label of the nose tip."""
    key_points = faces.key_points.copy()
    key_points[:, NOSE] = np.nan
    return faces._replace(key_points=key_points)


def test_a_point_is_learned_from_its_partner_in_mirrored_pictures(few, tmp_path):
    names = tuple(name for name in FIVE if name != "right_eye_center")
    _, record = train(write(tmp_path / "left.csv", few, names), tmp_path)
    assert record["never_labelled"] == OTHERS
    left, right = record["mean_face"][:2]
    assert right == pytest.approx([95 - left[0], left[1]], abs=1e-3)


def test_without_mirroring_partners_teach_nothing(made):
    key_points = made.key_points.copy()
    key_points[:, 1] = np.nan
    faces = made._replace(key_points=key_points)
    assert labelled_points(faces, mirrored=True).all()
    assert np.flatnonzero(~labelled_points(faces, mirrored=False)).tolist() == [1]
    assert compute_mean_face(key_points)[1] == [None, None]
    left, right = compute_mean_face(key_points, PARTNERS)[:2]
    assert right == pytest.approx([95 - left[0], left[1]], abs=1e-3)


def test_a_warm_start_knows_the_points_that_its_model_knew(few, tmp_path):
    from killing import tiny_model

    path = write(tmp_path / "five.csv", few, FIVE)
    initial = tmp_path / "initial.keras"
    for record, expected in (({}, None), ({"never_labelled": OTHERS[3:]}, OTHERS[3:])):
        save_model(tiny_model(), initial, {"key_points": list(KEY_POINTS)} | record)
        assert train(path, tmp_path, "--init", initial)[1].get("never_labelled") == expected


def test_the_spread_learns_nothing_of_unlabelled_points(faces):
    key_points = faces.key_points.copy()
    key_points[:, 3:] = np.nan
    settings = Settings(batch_size=40)
    stream = batches_with_non_faces(faces._replace(key_points=key_points), settings, 0)
    _, truth = next(stream)
    truth = truth.reshape(40, 15, 2)
    learned = [0, 1, 2, 4]  # 4 is the partner of 2
    assert np.isfinite(truth[:6, learned]).all()  # the pictures without a face
    assert np.isnan(np.delete(truth, learned, axis=1)).all()


def test_points_that_the_first_file_lacks_get_no_offset(made):
    """With an offset of its own a further file would leave the network itself anywhere."""
    first = made.key_points[:40].copy()
    first[:, 6:10] = np.nan
    joined = join_faces(
        [made.take(slice(0, 40))._replace(key_points=first), made.take(slice(40, 72))]
    )
    training, held_out = (joined.take(rows) for rows in split_faces(joined))
    sources = find_sources(training, held_out, Settings())
    assert (sources.count, sources.few_points, sources.alike) == (2, False, [6, 7, 8, 9])
    assert find_sources(training, held_out, Settings(alike=("nose_tip",))).alike == [*range(6, 11)]
