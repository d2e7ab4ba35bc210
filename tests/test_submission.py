"""results/submission.py: Kaggle's answers, and the rows of few points."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from conftest import SHARED, write_csv

import face_key_points as fkp
import model_builder as mb
from data.batches import epoch_rows
from data.faces import join_faces, synthetic_faces
from data.key_points import COLUMNS, KEY_POINTS, PARTNERS, rmse
from data.split import split_faces
from models import network
from models.storage import Landmarker, load_model
from results import submission
from results.submission import answer, read_lookup_table

NOSE, LIP = KEY_POINTS.index("nose_tip"), KEY_POINTS.index("mouth_center_bottom_lip")


def run(*arguments):
    return fkp.main([str(a) for a in arguments])


@pytest.fixture
def stand_in(monkeypatch):
    """A model that finds the same points in every picture, and its record."""
    points = np.linspace(-5, 110, 30).reshape(15, 2)

    class Model:
        output = {"spread": np.empty((1, 15))}

        def predict_on_batch(self, inputs):
            key_points = np.tile(points.reshape(1, -1), (len(inputs), 1))
            return {"key_points": key_points, "spread": key_points[:, :15]}

    offset = np.zeros((15, 2))
    offset[NOSE] = 0, 7
    record = {"few_points_offset": offset.tolist(), "key_points": KEY_POINTS}
    monkeypatch.setattr(
        submission, "load_landmarker", lambda path: Landmarker(Model(), record, path)
    )
    return points, record


def lookup_table(path, asked):
    """Kaggle's table, its lines as short as Kaggle's; asked: pairs of ImageId and coordinate."""
    lines = [f"{i},{image},{name}" for i, (image, name) in enumerate(asked, 1)]
    path.write_bytes("\r\n".join(["RowId,ImageId,FeatureName,Location", *lines, ""]).encode())
    return path


FOUR = [name for k in (0, 1, NOSE, LIP) for name in COLUMNS[2 * k : 2 * k + 2]]


def test_submission_answers_the_table_and_clips(stand_in, test_csv, tmp_path, capsys):
    points, record = stand_in
    assert len(FOUR) == 8
    # In the test CSV the ImageIds are 3, 10, 17 …; they come in any order.
    asked = [(17, name) for name in COLUMNS[::-1]] + [(3, name) for name in FOUR]
    table = lookup_table(tmp_path / "table.csv", asked)
    arguments = ["--submission", table, "--data", test_csv, "--results", tmp_path, "--no-mirror"]
    expected = [np.clip(points.ravel()[COLUMNS.index(name)], 0, 96) for _, name in asked]
    for offset in (7, 0):
        if not offset:
            record["few_points_offset"] = None
        assert run(*arguments) == 0
        assert ("without rows of few points" in capsys.readouterr().out) == (not offset)
        answers = pd.read_csv(tmp_path / "submission.csv")
        assert answers.columns.tolist() == ["RowId", "Location"]
        assert answers.RowId.tolist() == list(range(1, 39))
        moved = np.array(expected)
        moved[30 + FOUR.index("nose_tip_y")] += offset
        np.testing.assert_allclose(answers.Location, moved, atol=1e-4)
    assert answers.Location.min() == 0 and answers.Location.max() == 96


def test_a_model_whose_left_is_the_viewers_does_not_answer(stand_in, test_csv, tmp_path, capsys):
    places = np.random.default_rng(1).uniform(0, 95, (15, 2))
    places[:2] = (30, 37), (66, 37)  # the left eye left of the right one
    stand_in[1]["mean_face"] = places.tolist()
    table = lookup_table(tmp_path / "table.csv", [(3, name) for name in FOUR])
    flags = ["--submission", table, "--data", test_csv, "--results", tmp_path]
    assert run(*flags) == 2
    assert "trained with left as the viewer's" in capsys.readouterr().err
    stand_in[1]["mean_face"] = places[PARTNERS].tolist()
    assert run(*flags) == 0


BAD_TABLES = {
    "no column": (lambda text: text.replace("FeatureName", "Feature"), "no column named Feature"),
    "coordinate": (lambda text: text.replace("nose_tip_x", "nose_x"), "row 5 .* no coordinate"),
    "twice": (lambda text: text.replace("\r\n3,", "\r\n2,"), "row 3 .* repeats a RowId"),
    "empty": (lambda text: text.replace("\r\n2,3,", "\r\n2,,"), "row 2 .* empty field"),
    "no such face": (
        lambda text: text.replace("\r\n2,3,", "\r\n2,4,"),
        "no test face has the ImageId 4, .*--d",
    ),
    "no rows": (lambda text: text.split("\n")[0] + "\n", "no rows"),
    "nothing": (lambda text: "", "is empty"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_bad_tables_are_one_sentence(case, stand_in, test_csv, tmp_path, capsys):
    change, message = BAD_TABLES[case]
    table = lookup_table(tmp_path / "table.csv", [(3, name) for name in FOUR])
    text = table.read_bytes().decode()
    table.write_bytes(change(text).encode())
    (tmp_path / "submission.csv").write_text("earlier")
    arguments = ["--submission", table, "--data", test_csv, "--results", tmp_path]
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert re.search(message, error) and error.startswith("error: ") and error.count("\n") == 1
    assert (tmp_path / "submission.csv").read_text() == "earlier"
    table.write_bytes(text.encode())
    assert run(*arguments) == 0
    assert (tmp_path / "submission.csv").read_text() != "earlier"


def test_missing_test_faces_and_two_tasks_are_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(submission, "find_data", lambda name: None)
    assert run("--submission", tmp_path / "t.csv", "--results", tmp_path) == 2
    assert "--data" in capsys.readouterr().err
    assert run("--submission", tmp_path / "t.csv", "--data", tmp_path / "x.csv") == 2
    assert "t.csv does not exist" in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        run("--submission", "t.csv", "--export", "onnx")
    assert end.value.code == 2 and "give one of them" in capsys.readouterr().err


def test_an_image_id_that_is_no_key_is_refused(stand_in, faces, tmp_path, capsys):
    """Nobody can tell whose coordinates are asked for; the first file's order decided before."""
    ids = [3, 4, 5, 4]
    test = write_csv(tmp_path / "test.csv", faces.pictures[:4], ImageId=ids)
    table = tmp_path / "table.csv"
    table.write_text("RowId,ImageId ,FeatureName\n1,3,nose_tip_x\n")
    flags = ["--data", test, "--submission", table, "--results", tmp_path / "r"]
    assert run(*flags) == 2
    assert "have the ImageId 4 more than once" in capsys.readouterr().err
    assert not list((tmp_path / "r").iterdir())
    write_csv(test, faces.pictures[:3], ImageId=ids[:3])
    assert run(*flags) == 0


def test_kaggles_own_table():
    path = SHARED / "IdLookupTable.csv"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    table = read_lookup_table(path)
    assert len(table) == 27_124 and table["ImageId"].nunique() == 1783
    ids = [str(i) for i in range(1, 1784)]
    points = np.full((1783, 15, 2), 50.0)
    plain, moved = (answer(table, ids, points, o) for o in (None, [[-30, -30]] * 15))
    first = table["ImageId"].astype(int) <= 591  # those of which more than four points are asked
    assert (plain == moved)[first].all() and (plain != moved)[~first].all()


@pytest.fixture(scope="module")
def two_sources():
    """Made-up faces; every other one with 4 points, nose 6 px lower, lip 5 px higher."""
    made = synthetic_faces(160, seed=6)
    key_points = made.key_points.copy()
    others = [k for k in range(15) if k not in (0, 1, NOSE, LIP)]
    key_points[::2, others] = np.nan
    key_points[::2, NOSE, 1] += 6
    key_points[::2, LIP, 1] -= 5
    return made._replace(key_points=key_points)


def test_rows_of_few_points_are_a_source_of_their_own(two_sources):
    joined = join_faces([two_sources])
    assert joined.source.tolist() == [-1, 0] * 80 and (joined.file == 0).all()
    # They stay rows of the first file: in the split and in how often an epoch has them.
    plain = two_sources._replace(key_points=np.ones((160, 15, 2), np.float32))
    for a, b in zip(split_faces(joined), split_faces(plain), strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(epoch_rows(joined, mb.Settings())) == 160
    # Nothing is told apart where there is one kind only, nor in further files.
    few = two_sources.take(slice(None, None, 2))
    assert (join_faces([few]).source == 0).all()
    whole = two_sources.take(slice(1, None, 2))
    assert join_faces([whole, few]).source.tolist() == [0] * 80 + [1] * 80
    both = join_faces([two_sources, two_sources.take([0])._replace(pictures=few.pictures[1:2])])
    assert both.source.tolist() == [-1, 0] * 80 + [1]


def test_offset_of_few_points_is_learned_and_used(tiny, sketched, two_sources, test_csv, tmp_path):
    data = write_csv(tmp_path / "training.csv", two_sources.pictures, two_sources.key_points)
    path, results = tmp_path / "m.keras", tmp_path / "r"
    flags = ["--data", data, "--model", path, "--results", results, "--epochs", "15"]
    flags += ["--batch-size", "16", "--learning-rate", "0.15", "--precision", "float32"]
    assert mb.main([str(flag) for flag in flags]) == 0
    model, record = load_model(path)
    offset = np.array(record["few_points_offset"])
    assert offset.shape == (15, 2)
    assert 3 < offset[NOSE, 1] < 9 and -8 < offset[LIP, 1] < -2.5
    assert np.abs(offset[:2]).max() < 1.5 and offset[NOSE, 0] == offset[LIP, 0] == 0
    np.testing.assert_allclose(offset[PARTNERS] * [-1, 1], offset, atol=1e-4)

    held_out = record["data"][0]["validation_rows"]
    some = two_sources.take([row for row in held_out if row % 2 == 0])
    found, _ = network.predict(model, some.pictures)
    without, moved = (rmse(found + o, some.key_points) for o in (0, offset))
    assert moved < without - 0.3
    # The figures of both scripts are with the offset, for such rows only.
    faces = two_sources.take(held_out)
    found, _ = network.predict(model, faces.pictures, mirror=True)
    found[faces.rows % 2 == 0] += offset
    expected = rmse(found, faces.key_points)
    (score,) = record["results"]["validation"]
    assert score["rmse_mirrored_px"] == pytest.approx(expected, rel=1e-4)
    arguments = ["--model", path, "--data", test_csv, "--training", data, "--results", results]
    assert run(*arguments) == 0
    report = json.loads((results / "validation.json").read_text())
    assert report["rmse_px"] == pytest.approx(expected, rel=1e-4)


def test_one_kind_of_rows_leaves_no_offset(trained):
    record = json.loads((trained / "models" / "small.json").read_text())
    assert record["few_points_offset"] is None
