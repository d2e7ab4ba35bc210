"""What leaves the project: LiteRT and ONNX files, the README's code, Kaggle's submission."""

import json
import re
import subprocess
import sys
from functools import partial

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, SHARED, smallest_network, write_csv

import face_key_points as fkp
import model_builder as mb
from data.batches import epoch_rows
from data.faces import join_faces, synthetic_faces
from data.key_points import COLUMNS, KEY_POINTS, PARTNERS, rmse
from data.split import split_faces
from models import export, network
from models.export import EXTRAS, open_litert, open_onnx, to_onnx
from models.storage import load_model
from results import submission
from results.submission import answer, read_lookup_table

NOSE, LIP = KEY_POINTS.index("nose_tip"), KEY_POINTS.index("mouth_center_bottom_lip")


def run(*arguments):
    return fkp.main([str(a) for a in arguments])


# --- exports ---


@pytest.fixture(scope="module")
def extras():
    """Skips where the packages that the exports need are missing."""
    for packages in EXTRAS.values():
        for name in packages:
            pytest.importorskip(name, reason=f"exports need {name}, which is an extra")


@pytest.fixture(scope="module")
def exported(extras, trained, test_csv, tmp_path_factory):
    """The folder with both exports of a model of the real shape, under the shipped one's name."""
    folder = tmp_path_factory.mktemp("exported")
    (folder / "models").mkdir()
    model = folder / "models" / "pretrained.keras"
    model.write_bytes((trained / "models" / "small.keras").read_bytes())
    for kind in EXTRAS:
        results = folder / "results"
        assert (
            run("--export", kind, "--model", model, "--data", test_csv, "--results", results) == 0
        )
    return folder


@pytest.fixture(scope="module")
def expected(trained, faces):
    """What Keras finds on the made-up faces."""
    return network.predict(load_model(trained / "models" / "small.keras")[0], faces.pictures)


OPEN = {".tflite": open_litert, ".onnx": open_onnx}


@pytest.mark.parametrize(
    "name, allowed",
    [("pretrained.tflite", 0.01), ("pretrained.onnx", 0.01), ("pretrained_small.tflite", None)],
)
def test_exports_say_what_keras_says(name, allowed, extras, exported, expected, faces):
    path = exported / "results" / name
    assert path.stat().st_size < (2_000_000 if "small" in name else 8_000_000)
    predict = OPEN[path.suffix](path)
    for count in (1, 120, 7):  # the batch is free
        found = predict(faces.pictures[:count, ..., None].astype(np.float32))
        assert found.keys() == {"key_points", "spread"}
        key_points = found["key_points"].reshape(-1, 15, 2)
        for own, keras in ((key_points, expected[0]), (found["spread"], expected[1])):
            if allowed:
                np.testing.assert_allclose(own, keras[:count], rtol=0, atol=allowed)
            else:  # 8-bit weights: a hidden point may jump, all together hardly move
                assert rmse(own, keras[:count]) < 0.4
    # Small, but not the same: the comparison above would see a difference.
    assert ("small" in name) == (np.abs(key_points - expected[0][:count]).max() > 1e-3)


def test_size_difference_and_time_are_printed(extras, test_csv, tmp_path, monkeypatch, capsys):
    loaded = smallest_network(), {}
    monkeypatch.setattr(fkp, "load_model", lambda path: loaded)
    assert run("--export", "litert", "--data", test_csv, "--results", tmp_path / "r") == 0
    printed = capsys.readouterr().out
    line = (
        r"r/(\w+)\.tflite: [\d.]+ MB; beside Keras on 40 faces, key points [\d.e-]+ px off \(RMS\),"
        r" no value more than [\d.e-]+ px; [\d.]+ ms a face, one at a time, Keras [\d.]+ ms"
    )
    names = re.findall(line, printed)
    assert len(names) == 2 and names[1] == f"{names[0]}_small"
    assert {f"{name}.tflite" for name in names} == {path.name for path in tmp_path.glob("r/*")}


def test_an_export_that_differs_is_refused(extras, test_csv, tmp_path, monkeypatch, capsys):
    loaded = smallest_network(), {}
    made = to_onnx(loaded[0])
    monkeypatch.setattr(fkp, "load_model", lambda path: loaded)
    monkeypatch.setattr(export, "to_onnx", lambda model: made)
    monkeypatch.setattr(export, "TIMED", 2)
    arguments = ["--export", "onnx", "--model", "m.keras", "--data", test_csv]
    arguments += ["--results", tmp_path]
    (tmp_path / "m.onnx").write_text("earlier")

    def refused(message):
        assert run(*arguments) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and message in error and error.count("\n") == 1
        assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]
        assert (tmp_path / "m.onnx").read_text() == "earlier"

    def open_wrong(path, wrong, open_file=open_onnx):
        def predict(pictures):
            found = open_file(path)(pictures)
            found["spread"][0, 3] += wrong * (len(pictures) > 1)
            return found

        return predict

    for wrong in (0.02, np.nan):
        with monkeypatch.context() as patch:
            patch.setattr(export, "open_onnx", partial(open_wrong, wrong=wrong))
            refused("differ from Keras by")
    with monkeypatch.context() as patch:
        patch.setattr(export, "to_onnx", lambda model: b"not a model")
        refused("m.onnx cannot be made (")
    assert run(*arguments) == 0
    assert (tmp_path / "m.onnx").read_bytes() == made


@pytest.mark.parametrize("kind", list(EXTRAS))
def test_missing_extras_are_one_sentence(kind, test_csv, tmp_path, monkeypatch, capsys):
    name, package = next(iter(EXTRAS[kind].items()))
    monkeypatch.setitem(sys.modules, name, None)
    results = tmp_path / "r"
    assert run("--export", kind, "--data", test_csv, "--results", results) == 2
    error = capsys.readouterr().err
    assert "pip install" in error and f"'{package}'" in error and error.count("\n") == 1
    assert not results.exists()


def snippets():
    """The indented blocks of code in the README's section on Python."""
    section = (ROOT / "README.md").read_text().split("## Using it from Python")[1].split("\n## ")[0]
    blocks = re.findall(r"(?:^    .*\n(?:\n(?=    ))?)+", section, flags=re.M)
    return [block for block in blocks if "import" in block]


@pytest.mark.parametrize("library", ["keras", "ai_edge_litert", "onnxruntime"])
def test_readmes_code_runs_as_it_stands(library, extras, exported, expected, faces):
    (code,) = (block for block in snippets() if f"{library}" in block)
    blank = "np.zeros((96, 96), np.float32)"
    assert code.count(blank) == 1  # stands for the reader's picture
    np.save(exported / "face.npy", faces.pictures[4])
    code = code.replace(blank, "np.load('face.npy').astype(np.float32)").replace("\n    ", "\n")
    code = code.strip() + "\nnp.savez('found.npz', points=points, spread=spread)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=exported, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    with np.load(exported / "found.npz") as found:
        np.testing.assert_allclose(found["points"], expected[0][4], atol=0.01)
        np.testing.assert_allclose(found["spread"], expected[1][4], atol=0.01)


# --- Kaggle's submission ---


@pytest.fixture
def stand_in(monkeypatch):
    """A model that finds the same points in every picture, and its record."""
    points = np.linspace(-5, 110, 30).reshape(15, 2)

    class Model:
        def predict_on_batch(self, inputs):
            key_points = np.tile(points.reshape(1, -1), (len(inputs), 1))
            return {"key_points": key_points, "spread": key_points[:, :15]}

    offset = np.zeros((15, 2))
    offset[NOSE] = 0, 7
    record = {"few_points_offset": offset.tolist(), "key_points": KEY_POINTS}
    monkeypatch.setattr(submission, "load_model", lambda path: (Model(), record))
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


BAD_TABLES = {
    "no column": (lambda text: text.replace("FeatureName", "Feature"), "no column named Feature"),
    "coordinate": (lambda text: text.replace("nose_tip_x", "nose_x"), "row 5 .* no coordinate"),
    "twice": (lambda text: text.replace("\r\n3,", "\r\n2,"), "row 3 .* repeats a RowId"),
    "empty": (lambda text: text.replace("\r\n2,3,", "\r\n2,,"), "row 2 .* empty field"),
    "no such face": (lambda text: text.replace("\r\n2,3,", "\r\n2,4,"), "none of ImageId 4, .*--d"),
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
    monkeypatch.setattr(fkp, "find_data", lambda name: None)
    assert run("--submission", tmp_path / "t.csv", "--results", tmp_path) == 2
    assert "--data" in capsys.readouterr().err
    assert run("--submission", tmp_path / "t.csv", "--data", tmp_path / "x.csv") == 2
    assert "t.csv does not exist" in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        run("--submission", "t.csv", "--export", "onnx")
    assert end.value.code == 2 and "give one of them" in capsys.readouterr().err


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


# --- the two sources of labels in Kaggle's full file ---


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


def test_offset_of_few_points_is_learned_and_used(
    tiny, two_sources, test_csv, tmp_path, capsys, monkeypatch
):
    data = write_csv(tmp_path / "training.csv", two_sources.pictures, two_sources.key_points)
    path, results = tmp_path / "m.keras", tmp_path / "r"
    flags = ["--data", data, "--model", path, "--results", results, "--epochs", "40"]
    flags += ["--batch-size", "16", "--learning-rate", "0.05", "--precision", "float32"]
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
    for name in ("plot_faces", "plot_worst", "plot_errors", "plot_calibration"):
        monkeypatch.setattr(fkp, name, lambda *_: None)
    arguments = ["--model", path, "--data", test_csv, "--training", data, "--results", results]
    assert run(*arguments) == 0
    report = json.loads((results / "validation.json").read_text())
    assert report["rmse_px"] == pytest.approx(expected, rel=1e-4)


def test_one_kind_of_rows_leaves_no_offset(trained):
    record = json.loads((trained / "models" / "small.json").read_text())
    assert record["few_points_offset"] is None
