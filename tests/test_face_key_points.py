"""face_key_points.py: what one run leaves, and how it fails."""

import json
import shutil
import weakref
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import write_csv
from matplotlib.image import imread

import face_key_points as fkp
from data.faces import fingerprint, load_faces, read_faces, synthetic_faces
from data.key_points import COLUMNS, KEY_POINTS
from models.network import predict
from models.storage import Landmarker, load_model
from results import held_out, predictions
from results.figures.plots import plot_faces

pytestmark = pytest.mark.usefixtures("loaded_once")

FILES = {
    "test_result01.png",
    "test_result02.png",
    "worst16_in_validation.png",
    "error_by_key_point.png",
    "calibration.png",
    "validation.json",
    "test_key_points.csv",
}


@pytest.fixture(scope="module")
def pictured(loaded_once, trained, trained_csv, test_csv, tmp_path_factory):
    """The results folder of one run."""
    results = tmp_path_factory.mktemp("pictured")
    status = fkp.main(
        [
            *("--model", str(trained / "models" / "small.keras"), "--data", str(test_csv)),
            *("--training", str(trained_csv), "--results", str(results)),
        ]
    )
    assert status == 0
    return results


def run(*arguments):
    return fkp.main([str(a) for a in arguments])


def test_every_file_is_written(pictured):
    assert {file.name for file in pictured.iterdir()} == FILES
    for name in FILES:
        if name.endswith(".png"):
            picture = imread(pictured / name)
            assert min(picture.shape[:2]) > 400 and picture.std() > 0.1


def test_key_points_of_all_test_faces(pictured, trained, test_csv):
    table = pd.read_csv(pictured / "test_key_points.csv")
    spreads = [f"{name}_spread" for name in KEY_POINTS]
    assert table.columns.tolist() == ["ImageId", *COLUMNS, *spreads]
    test = load_faces(test_csv)
    assert table.ImageId.astype(str).tolist() == test.image_ids.tolist()
    model, _ = load_model(trained / "models" / "small.keras")
    key_points, spread = predict(model, test.pictures, mirror=True)
    expected = key_points.reshape(len(table), -1)
    np.testing.assert_allclose(table[list(COLUMNS)], expected, atol=2e-3)
    np.testing.assert_allclose(table[spreads], spread, atol=2e-3)


def test_validation_figures_are_those_of_the_held_out_faces(pictured, trained, trained_csv):
    report = json.loads((pictured / "validation.json").read_text())
    model, record = load_model(trained / "models" / "small.keras")
    held_out = record["data"][0]["validation_rows"]
    faces = load_faces(trained_csv)
    truth = faces.key_points[held_out]
    found, spread = predict(model, faces.pictures[held_out], mirror=True)
    difference = found - truth
    assert report["faces"] == len(held_out)
    assert report["rmse_px"] == pytest.approx(np.sqrt(np.nanmean(difference**2)), rel=1e-4)
    distance = np.hypot(difference[..., 0], difference[..., 1])
    eyes = np.hypot(*(truth[:, 0] - truth[:, 1]).T)
    nme = np.nanmean(distance, 1) / eyes
    assert report["nme"] == pytest.approx(nme.mean(), rel=1e-4)
    assert report["failure_rate"] == pytest.approx((nme > 0.1).mean())
    for k, name in enumerate(KEY_POINTS):
        point = report["per_key_point"][name]
        assert point["faces"] == np.isfinite(distance[:, k]).sum()
        assert point["mean_distance_px"] == pytest.approx(np.nanmean(distance[:, k]), rel=1e-4)
    inside = distance[np.isfinite(distance)] < 2.146 * spread[np.isfinite(distance)]
    assert report["spread"]["coverage"]["90%"] == pytest.approx(inside.mean(), abs=0.005)


def test_few_test_faces_fill_both_pictures(sketched, trained, faces, tmp_path, monkeypatch):
    monkeypatch.setattr(predictions, "plot_faces", plot_faces)
    few = write_csv(tmp_path / "few.csv", faces.pictures[:3])
    model = trained / "models" / "small.keras"
    assert run("--model", model, "--data", few, "--results", tmp_path / "r") == 0
    assert {file.name for file in (tmp_path / "r").iterdir()} == FILES
    sizes = [(tmp_path / "r" / f"test_result0{i}.png").stat().st_size for i in (1, 2)]
    assert min(sizes) > 10_000


def test_long_files_are_read_and_forgotten_part_by_part(faces, tmp_path):
    path = write_csv(tmp_path / "long.csv", np.concatenate([faces.pictures] * 3))
    path.write_text(path.read_text() + "not a picture\n")
    assert len(next(read_faces(path)).rows) == 256  # the broken row is further down

    class Model:
        def predict_on_batch(self, inputs):
            key_points = np.full((len(inputs), 30), inputs[0, 0, 0, 0])
            return {"key_points": key_points, "spread": key_points[:, :15] / 2}

    seen = []

    def parts():
        for number in range(20):
            alive = sum(reference() is not None for reference in seen)
            assert alive <= 7  # 3 hold the first 16 faces, 3 the last, one is being predicted
            pictures = np.full((7, 96, 96), number, np.uint8)
            seen.append(weakref.ref(pictures))
            yield faces.take(slice(0, 7))._replace(pictures=pictures, image_ids=np.arange(7))

    out = tmp_path / "out.csv"
    count, first, last = predictions.predict_file(
        Landmarker(Model(), {"key_points": KEY_POINTS}, out), parts(), out, mirror=False
    )
    table = pd.read_csv(out)
    assert count == len(table) == 140 and table.ImageId.tolist() == [*range(7)] * 20
    assert table.nose_tip_x.tolist() == [number for number in range(20) for _ in range(7)]
    for shown, expected in ((first, np.arange(16) // 7), (last, np.arange(124, 140) // 7)):
        assert [int(picture[0, 0]) for picture, *_ in shown] == expected.tolist()
        assert [point[0, 0] for _, point, *_ in shown] == expected.tolist()
        assert [spread[3] for _, _, spread, _ in shown] == (expected / 2).tolist()
        assert len({image_id for *_, image_id in shown}) == 7


@pytest.mark.usefixtures("sketched")
def test_no_mirror_is_another_prediction(pictured, trained, test_csv, tmp_path):
    model = trained / "models" / "small.keras"
    assert run("--model", model, "--data", test_csv, "--results", tmp_path, "--no-mirror") == 0
    with_mirror = pd.read_csv(pictured / "test_key_points.csv")
    without = pd.read_csv(tmp_path / "test_key_points.csv")
    assert not np.allclose(with_mirror, without)
    assert json.loads((tmp_path / "validation.json").read_text())["mirror"] is False


def test_another_training_file_is_an_error_and_nothing_is_lost(
    trained, faces, test_csv, tmp_path, capsys
):
    other = write_csv(tmp_path / "other.csv", faces.pictures[:50], faces.key_points[:50])
    results = tmp_path / "results"
    results.mkdir()
    (results / "validation.json").write_text("earlier")
    model = trained / "models" / "small.keras"
    assert run("--model", model, "--data", test_csv, "--training", other, "--results", results) == 2
    error = capsys.readouterr().err
    assert str(other) in error and "--training" in error and error.count("\n") == 1
    assert [file.name for file in results.iterdir()] == ["validation.json"]
    assert (results / "validation.json").read_text() == "earlier"


@pytest.mark.usefixtures("sketched")
@pytest.mark.parametrize("gone", ["record", "training file", "record of another", "no data in it"])
def test_without_held_out_faces_the_rest_is_done(
    gone, trained, test_csv, tmp_path, capsys, monkeypatch
):
    """And what an earlier run says of held-out faces is removed."""
    monkeypatch.setattr(held_out, "find_data", lambda name: None)
    alone, results = tmp_path / "alone.keras", tmp_path / "r"
    shutil.copy(trained / "models" / "small.keras", alone)
    record = json.loads((trained / "models" / "small.json").read_text())
    if gone == "training file":
        record["data"][0] |= {
            "path": "not_here.csv",
            "absolute": "/not/here.csv",
            "from_model": "x",
        }
    elif gone == "record of another":
        record["weights_sha256"] = "0"
    elif gone == "no data in it":
        record["data"] = []
    if gone != "record":
        alone.with_suffix(".json").write_text(json.dumps(record))
    results.mkdir()
    for name in FILES:
        (results / name).write_text("earlier")
    assert run("--model", alone, "--data", test_csv, "--results", results) == 0
    out = capsys.readouterr().out
    left = [
        line for line in out.splitlines() if line.startswith("The held-out faces were not found")
    ]
    assert len(left) == 1 and str(alone.with_suffix("")) in left[0]
    written = {"test_result01.png", "test_result02.png", "test_key_points.csv"}
    assert {file.name for file in results.iterdir()} == written
    assert all(file.read_bytes() != b"earlier" for file in results.iterdir())


def test_a_broken_record_is_an_error(trained, test_csv, tmp_path, capsys):
    alone = tmp_path / "alone.keras"
    shutil.copy(trained / "models" / "small.keras", alone)
    (tmp_path / "alone.json").write_text("{broken")
    assert run("--model", alone, "--data", test_csv, "--results", tmp_path / "r") == 2
    assert "alone.json" in capsys.readouterr().err


@pytest.mark.parametrize("key", ["absolute", "from_model", "path", "beside the model"])
def test_the_training_file_is_found_from_another_folder(key, training_csv, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    copy = tmp_path / "data" / "t.csv"
    copy.parent.mkdir()
    shutil.copy(training_csv, copy)
    data = {"path": "gone/t.csv", "absolute": "/gone/t.csv", "from_model": "../gone/t.csv"}
    model = tmp_path / "models" / "m.keras"
    model.parent.mkdir()
    if key == "path":
        monkeypatch.chdir(tmp_path)
    if key == "beside the model":
        copy = copy.rename(model.parent / "t.csv")
    else:
        data[key] = {"absolute": str(copy), "from_model": "../data/t.csv", "path": "data/t.csv"}[
            key
        ]
    found = held_out.recorded_paths({"data": [data]}, model)
    assert copy.resolve() in [path.resolve() for path in found]


@pytest.mark.usefixtures("sketched")
def test_shipped_model_does_without_its_data(
    trained, faces, test_csv, tmp_path, monkeypatch, capsys
):
    own = tmp_path / "models" / "own.keras"
    own.parent.mkdir()
    shutil.copy(trained / "models" / "small.keras", own)
    record = json.loads((trained / "models" / "small.json").read_text())
    record["data"][0] |= {"path": "data/not_here.csv", "absolute": "", "from_model": ""}
    own.with_suffix(".json").write_text(json.dumps(record))
    monkeypatch.setattr(held_out, "find_data", lambda name: None)
    monkeypatch.setattr(fkp, "SYNTHETIC_TEST", 20)
    monkeypatch.chdir(tmp_path)
    flags = ["--model", "models/own.keras", "--data", test_csv]  # as one types it
    results = tmp_path / "results"
    assert run(*flags, "--results", results) == 0
    assert (
        "data/not_here.csv) is not found; name that file by --training" in capsys.readouterr().out
    )
    assert not (results / "validation.json").exists()
    monkeypatch.setattr(held_out, "SHIPPED", own.resolve())
    assert run(*flags, "--results", results) == 0
    assert "synthetic ones are used instead" in capsys.readouterr().out
    assert json.loads((results / "validation.json").read_text())["faces"] == 20
    # A file that it was trained on is used where it is there, another one named is an error.
    other = write_csv(tmp_path / "other.csv", faces.pictures[:50], faces.key_points[:50])
    assert run(*flags, "--training", other) == 2
    assert "other.csv is not the data" in capsys.readouterr().err


@pytest.mark.parametrize("noted", [True, False])
def test_only_the_held_out_synthetic_faces_are_drawn_again(noted, monkeypatch):
    """If they come out as noted; the records of earlier versions note nothing, and need all."""
    made, rows = synthetic_faces(12, 3), [1, 7]
    data = {"path": str(made.path), "synthetic_faces": 12, "faces": 12, "validation_rows": rows}
    data |= {"sha256": fingerprint(made)}
    data |= {"validation_sha256": fingerprint(made.take(rows))} if noted else {}
    drawn = []

    def draw(count, seed, rows=None):
        faces = synthetic_faces(count, seed, rows)
        drawn.append(len(faces.rows))
        return faces

    monkeypatch.setattr(held_out, "synthetic_faces", draw)
    record = {"data": [data], "settings": {"seed": 3}}
    found = held_out.held_out_faces(record, Path("m.keras"), KEY_POINTS)
    assert fingerprint(found) == fingerprint(made.take(rows)) and found.rows.tolist() == rows
    assert drawn == ([2] if noted else [2, 12])
