"""face_key_points.py: what it measures, what it pictures, and how it fails."""

import json
import shutil
import weakref

import numpy as np
import pandas as pd
import pytest
from conftest import write_csv
from matplotlib.image import imread

import face_key_points as fkp
from data.faces import Faces, load_faces, read_faces
from data.key_points import COLUMNS, KEY_POINTS
from models import storage
from models.network import predict
from models.storage import SHIPPED, find_model, load_model
from results import pictures as pictures_room
from results.measures import UNSURE, face_errors, measure, measure_spread
from results.pictures import plot_worst, style_of

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
def pictured(trained, training_csv, test_csv, tmp_path_factory):
    """The results folder of one run."""
    results = tmp_path_factory.mktemp("pictured")
    status = fkp.main(
        [
            *("--model", str(trained / "models" / "small.keras"), "--data", str(test_csv)),
            *("--training", str(training_csv), "--results", str(results)),
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


def test_validation_figures_are_those_of_the_held_out_faces(pictured, trained, training_csv):
    report = json.loads((pictured / "validation.json").read_text())
    model, record = load_model(trained / "models" / "small.keras")
    held_out = record["data"][0]["validation_rows"]
    faces = load_faces(training_csv)
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


def test_measures_of_a_known_error():
    truth = np.full((4, 15, 2), np.nan, np.float32)
    truth[:, KEY_POINTS.index("left_eye_center")] = 60, 40
    truth[:, KEY_POINTS.index("right_eye_center")] = 40, 40
    predicted = np.nan_to_num(truth)
    predicted[0, :2] += (3, 4)  # 5 px from the truth, a quarter of the inter-ocular distance
    report = measure(predicted, truth)
    assert report["rmse_px"] == pytest.approx(np.sqrt((9 + 16) * 2 / 16))
    assert report["nme"] == pytest.approx(0.25 / 4)
    assert report["failure_rate"] == 0.25
    assert report["per_key_point"]["nose_tip"] == {
        "faces": 0,
        "rmse_px": None,
        "mean_distance_px": None,
        "median_distance_px": None,
    }
    assert face_errors(predicted, truth).tolist() == pytest.approx([np.sqrt(12.5), 0, 0, 0])


def test_a_true_spread_covers_what_it_should_and_ranks_the_errors():
    rng = np.random.default_rng(0)
    truth = rng.uniform(20, 70, (3000, 15, 2))
    spread = np.exp(rng.normal(0, 1, (3000, 15)))
    found = truth + rng.standard_normal(truth.shape) * spread[..., None]
    truth[:100, 4] = np.nan
    report = measure_spread(found, spread, truth)
    assert report["coverage"] == pytest.approx(
        {"50%": 0.5, "80%": 0.8, "90%": 0.9, "95%": 0.95}, abs=0.01
    )
    assert report["unsure_points"] == pytest.approx((spread > UNSURE).mean(), abs=0.01)
    lowest = np.sort(spread.ravel())[: int(0.8 * spread.size)]
    expected = np.sqrt((lowest**2).mean())
    assert report["rmse_without_least_certain_fifth_px"] == pytest.approx(expected, rel=0.03)
    assert report["lowered_by"] > 0.3
    # A spread that knows nothing lowers nothing.
    report = measure_spread(found, rng.permutation(spread.ravel()).reshape(3000, 15), truth)
    assert abs(report["lowered_by"]) < 0.05


def test_worst_faces_are_pictured_worst_first(faces, tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr(
        pictures_room, "face_grid", lambda plt, pictures, titles: seen.update(t=titles) or 1
    )
    predicted = np.nan_to_num(faces.key_points) + np.arange(120)[:, None, None] / 10
    with pytest.raises(TypeError):  # the stand-in gives no figure: the titles are enough
        plot_worst(tmp_path / "worst.png", faces, predicted, np.ones((120, 15)))
    rows = [int(title.split()[1].rstrip(":")) for title in seen["t"]]
    assert rows == list(range(119, 103, -1))


def test_marks_stand_where_the_points_are(tmp_path, monkeypatch):
    """Truth, prediction and 90 % region appear at their places on a black picture."""
    black = np.zeros((1, 96, 96), np.uint8)
    truth = np.full((1, 15, 2), 20, np.float32)
    faces = Faces(black, truth, np.ones(1), None, np.array([77]), np.zeros(1, int), None)
    spread = np.full((1, 15), 2.0)
    spread[0, 0] = 50  # sees it coming: the true point is in the 90 % region
    drawn = []
    monkeypatch.setattr(
        pictures_room, "save_figure", lambda plt, figure, path: drawn.append(figure)
    )
    plot_worst(tmp_path / "worst.png", faces, truth + 40, spread)
    axis = drawn[0].axes[0]
    assert axis.get_title() == "row 77: 40.00 px, expected 13.05"
    places = [(line.get_marker(), line.get_xydata().tolist()) for line in axis.get_lines()]
    assert ("o", [[20, 20]] * 15) in places
    predictions = [line for line in axis.get_lines() if line.get_xydata().tolist() == [[60, 60]]]
    assert [line.get_markerfacecolor() == "none" for line in predictions] == [True] + [False] * 14
    between = [line for line in axis.get_lines() if len(line.get_xydata()) == 2]
    assert between[0].get_xydata().tolist() == [[20, 20], [60, 60]]
    assert [line.get_color() for line in between] == ["white"] + ["red"] * 14
    (rings,) = axis.collections
    assert rings.get_offsets().tolist() == [[60, 60]] * 15
    across = rings.get_widths()  # in the units of the axes, pixels
    assert across[1] == rings.get_heights()[1] == pytest.approx(2 * 2 * 2.146, abs=0.01)
    assert across[0] == 25 * across[1]


def test_parts_and_sides_are_told_apart():
    styles = {name: style_of(name)[:2] for name in KEY_POINTS}
    assert styles["left_eye_center"] != styles["right_eye_center"]
    assert styles["left_eye_center"] != styles["left_eyebrow_inner_end"]
    assert len({colour for colour, _ in styles.values()}) == 4
    assert style_of("mouth_center_top_lip")[2] == "mouth"
    assert style_of("mouth_left_corner")[2] == "mouth, left"


def test_few_test_faces_fill_both_pictures(trained, training_csv, faces, tmp_path):
    few = write_csv(tmp_path / "few.csv", faces.pictures[:3])
    model = trained / "models" / "small.keras"
    assert run("--model", model, "--data", few, "--results", tmp_path / "r") == 0
    assert {file.name for file in (tmp_path / "r").iterdir()} == FILES


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
    count, first, last = fkp.predict_file(Model(), parts(), out, mirror=False)
    table = pd.read_csv(out)
    assert count == len(table) == 140 and table.ImageId.tolist() == [*range(7)] * 20
    assert table.nose_tip_x.tolist() == [number for number in range(20) for _ in range(7)]
    for shown, expected in ((first, np.arange(16) // 7), (last, np.arange(124, 140) // 7)):
        assert [int(picture[0, 0]) for picture, *_ in shown] == expected.tolist()
        assert [point[0, 0] for _, point, *_ in shown] == expected.tolist()
        assert [spread[3] for _, _, spread, _ in shown] == (expected / 2).tolist()
        assert len({image_id for *_, image_id in shown}) == 7


def test_no_mirror_is_another_prediction(pictured, trained, training_csv, test_csv, tmp_path):
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


def test_model_without_its_record_is_an_error(trained, test_csv, tmp_path, capsys):
    alone = tmp_path / "alone.keras"
    shutil.copy(trained / "models" / "small.keras", alone)
    assert run("--model", alone, "--data", test_csv, "--results", tmp_path / "r") == 2
    assert "alone.json" in capsys.readouterr().err
    (tmp_path / "alone.json").write_text("{broken")
    assert run("--model", alone, "--data", test_csv, "--results", tmp_path / "r") == 2
    assert "alone.json" in capsys.readouterr().err


def test_own_model_goes_before_the_shipped_one(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "HERE", tmp_path)
    monkeypatch.setattr(storage, "SHIPPED", tmp_path / "models" / "pretrained.keras")
    own = tmp_path / "models" / "my_model.keras"
    assert find_model() == own  # which then is said to be missing
    own.parent.mkdir()
    SHIPPED.touch()
    assert find_model() == SHIPPED
    own.touch()
    assert find_model() == own


def test_shipped_model_does_without_its_data(
    trained, faces, test_csv, tmp_path, monkeypatch, capsys
):
    own = tmp_path / "models" / "own.keras"
    own.parent.mkdir()
    shutil.copy(trained / "models" / "small.keras", own)
    record = json.loads((trained / "models" / "small.json").read_text())
    record["data"][0]["path"] = "data/not_here.csv"
    own.with_suffix(".json").write_text(json.dumps(record))
    monkeypatch.setattr(fkp, "find_data", lambda name: None)
    monkeypatch.setattr(fkp, "SYNTHETIC_TEST", 20)
    monkeypatch.chdir(tmp_path)
    flags = ["--model", "models/own.keras", "--data", test_csv]  # as one types it
    results = tmp_path / "results"
    assert run(*flags, "--results", results) == 2
    assert "what is in data/ is not the data" in capsys.readouterr().err
    assert not list(results.iterdir())
    monkeypatch.setattr(fkp, "SHIPPED", own.resolve())
    assert run(*flags, "--results", results) == 0
    assert "picturing made-up ones" in capsys.readouterr().out
    assert json.loads((results / "validation.json").read_text())["faces"] == 20
    # A file that it was trained on is used where it is there, another one named is an error.
    other = write_csv(tmp_path / "other.csv", faces.pictures[:50], faces.key_points[:50])
    assert run(*flags, "--training", other) == 2
    assert "other.csv is not the data" in capsys.readouterr().err
