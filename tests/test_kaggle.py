"""data/labels/kaggle.py: which of Kaggle's labels are inconsistent, and the file without them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import train_in_few_steps, write_csv

import model_builder as mb
from data.faces import Faces, join_faces, load_training, synthetic_faces
from data.key_points import COLUMNS, KEY_POINTS, LEFT_EYE, interocular_distance
from data.labels import kaggle
from data.split import split_faces
from data.system.command_line import run_script
from data.system.files import InputError
from models.training.workers import Worker
from results.held_out import held_out_faces

CORNERS = [KEY_POINTS.index(name) for name in kaggle.EYE_CORNERS]
TOP, BOTTOM, NOSE = (
    KEY_POINTS.index(name) for name in (kaggle.TOP_LIP, kaggle.BOTTOM_LIP, "nose_tip")
)


def standing_in():
    """Made-up labels in the order of Kaggle's complete rows, float32 (2140, 15, 2)."""
    labels = np.random.default_rng(0).uniform(10, 85, (kaggle.COMPLETE, 15, 2)).astype(np.float32)
    for row, place in kaggle.KNOWN_ROWS.items():
        labels[row, LEFT_EYE] = place
    return labels


def first_rows(labels):
    """`kaggle.first_rows` of a file with these labels, (N, 15, 2)."""
    rows = np.arange(len(labels))
    nothing = np.zeros((len(labels), 1, 1), np.uint8)
    return kaggle.first_rows(Faces(nothing, labels, rows, None, rows, 0 * rows, Path("a.csv")))


def whole_file():
    """Labels as of all 7,049 rows, and the rows among them that are complete."""
    labels = np.full((kaggle.WHOLE_FILE, 15, 2), 30, np.float32)
    complete = np.arange(kaggle.COMPLETE) + np.arange(kaggle.COMPLETE) // 20
    labels[complete] = standing_in()
    others = np.setdiff1d(np.arange(kaggle.WHOLE_FILE), complete)
    early = others[others < complete[-1]]
    labels[early, 6] = np.nan  # incomplete rows between them lack a brow's end
    late = others[others > complete[-1]]
    labels[np.ix_(late, np.setdiff1d(np.arange(15), [0, 1, NOSE, BOTTOM]))] = np.nan
    return labels, complete, early, late


def test_each_annotator_loses_the_inconsistent_labels():
    another = kaggle.inconsistent_labels(standing_in())
    first, second, third = another[:1163], another[1163:1569], another[1569:]
    for part, expected in ((first, CORNERS), (second, [TOP]), (third, [TOP, BOTTOM])):
        assert np.flatnonzero(part.all(0)).tolist() == expected
        assert np.flatnonzero(part.any(0)).tolist() == expected


def test_rows_of_the_whole_file_follow_the_complete_ones_around_them():
    labels, complete, early, late = whole_file()
    another = kaggle.inconsistent_labels(labels)
    alone = kaggle.inconsistent_labels(standing_in())
    np.testing.assert_array_equal(another[complete], alone)
    assert np.flatnonzero(another[late].all(0)).tolist() == sorted([NOSE, BOTTOM, TOP])
    assert not another[late][:, [0, 1]].any()
    inside = early[early < complete[1100]]
    assert (another[inside] == alone[0]).all()
    assert first_rows(labels) == complete[list(kaggle.FIRST_ROWS)].tolist()


def test_a_row_between_two_annotators_loses_the_inconsistent_labels_of_both():
    labels = np.insert(whole_file()[0], 0, np.nan, axis=0)[1:]
    complete = np.flatnonzero(np.isfinite(labels).all((1, 2)))
    before, after = complete[1162], complete[1163]
    between = np.insert(labels, after, labels[before], axis=0)[:-1]
    between[after, 6] = np.nan
    lost = np.flatnonzero(kaggle.inconsistent_labels(between)[after])
    assert lost.tolist() == sorted([*CORNERS, TOP])


@pytest.mark.parametrize("make", [standing_in, lambda: whole_file()[0]])
def test_masked_file_is_still_known_and_loses_nothing_more(make):
    labels = make()
    another = kaggle.inconsistent_labels(labels)
    masked = np.where(another[..., None], np.nan, labels)
    assert first_rows(masked) == first_rows(labels)
    again = kaggle.inconsistent_labels(masked) & np.isfinite(masked[..., 0])
    assert not again.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda labels: labels[:-1], "has 2,139 rows"),
        (lambda labels: labels[::-1], "in another order: complete row 1 has"),
        (lambda labels: np.concatenate([labels[1000:], labels[:1000]]), "in another order"),
        (lambda labels: np.where(labels < 12, np.nan, labels), "of them complete"),
    ],
)
def test_other_rows_are_refused(change, message):
    labels = change(standing_in())
    with pytest.raises(ValueError, match=message):
        kaggle.inconsistent_labels(labels)
    assert first_rows(labels) is None


@pytest.fixture
def small(monkeypatch, faces, tmp_path):
    """A stand-in for Kaggle's file of nine rows, three by each annotator; its path and labels."""
    labels = synthetic_faces(9, seed=8).key_points.round(2)
    monkeypatch.setattr(kaggle, "COMPLETE", 9)
    monkeypatch.setattr(kaggle, "FIRST_ROWS", (0, 3, 6))
    monkeypatch.setattr(kaggle, "KNOWN_ROWS", {0: labels[0, 0], 8: labels[8, 0]})
    path = write_csv(tmp_path / "training.csv", faces.pictures[:9], labels, note=list("abcdefghi"))
    return path, labels


def run(*arguments):
    return run_script([*map(str, arguments)], kaggle.parse_arguments, kaggle.run)


def test_written_file_is_the_same_but_for_the_masked_fields(small, tmp_path, capsys):
    path, labels = small
    out = tmp_path / "new" / "one_meaning.csv"
    assert run(path, "--out", out) == 0
    assert "114 of 135 labels kept" in " ".join(capsys.readouterr().out.split())
    before, after = pd.read_csv(path, dtype=str), pd.read_csv(out, dtype=str)
    emptied = after.isna()
    assert (before.where(~emptied).fillna("") == after.fillna("")).all(axis=None)
    loaded = load_training(out)
    another = kaggle.inconsistent_labels(labels)
    np.testing.assert_array_equal(np.isnan(loaded.key_points[..., 0]), another)
    np.testing.assert_array_equal(loaded.key_points[~another], labels[~another])
    assert [entry.name for entry in out.parent.iterdir()] == ["one_meaning.csv"]
    assert run(path, "--out", out) == 0  # again, over itself


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table[::-1], "another order"),
        (lambda table: table[:-1], "has 8 rows"),
        (lambda table: table.drop(columns=list(COLUMNS)), "other columns"),
        (lambda table: table.rename(columns=lambda name: name.replace("eye", "ear")), "other col"),
        (lambda table: table.assign(Image="1 2 3"), "has 3 grey values"),
    ],
)
def test_another_file_is_refused_in_one_sentence(small, change, message, tmp_path, capsys):
    path, _ = small
    bad, out = tmp_path / "bad.csv", tmp_path / "out.csv"
    change(pd.read_csv(path, dtype=str)).to_csv(bad, index=False)
    out.write_text("what was there before")
    assert run(bad, "--out", out) == 2
    error = capsys.readouterr().err
    assert message in error and str(bad) in error and error.count("\n") == 1
    assert out.read_text() == "what was there before"


def test_training_tells_of_the_conventions_and_validation_tells_them_apart(
    small, tiny, sketched, test_csv, tmp_path, monkeypatch, capsys
):
    import face_key_points as fkp

    train_in_few_steps(monkeypatch)
    path, _ = small
    flags = ["--epochs", "1", "--batch-size", "4", "--validation-split", "0.4"]

    def train(data):
        model = tmp_path / "m.keras"
        place = ["--model", str(model), "--results", str(tmp_path / "r")]
        assert mb.main(["--data", str(data), *place, *flags]) == 0
        told = "follows three conventions, from rows 0, 3, 6 on" in capsys.readouterr().out
        files = ["--training", str(data), "--data", str(test_csv)]
        arguments = fkp.parse_arguments([*place, *files])
        fkp.run(arguments)
        return told, json.loads((tmp_path / "r" / "validation.json").read_text())

    out = tmp_path / "one_meaning.csv"
    assert run(path, "--out", out) == 0
    for data, expected in ((path, True), (out, False)):
        told, report = train(data)
        assert told == expected
        parts = report["per_part"]
        assert [part["first_row"] for part in parts] == [0, 3, 6]
        assert sum(part["faces"] for part in parts) == report["faces"]
    # Kaggle's file as it comes stands for the masked one that the model was trained on.
    record = json.loads((tmp_path / "m.json").read_text())
    found = held_out_faces(record, tmp_path / "m.keras", KEY_POINTS, path)
    assert found.rows.tolist() == record["data"][0]["validation_rows"]
    assert np.isnan(found.key_points).any()
    again = np.array([part["rmse_px"] or 0 for part in parts])
    assert again.min() <= report["rmse_px"] <= again.max()


@pytest.mark.parametrize("flag", ["--alike", "--emphasize"])
def test_a_flag_that_names_an_unknown_point_is_refused(training_csv, tmp_path, capsys, flag):
    arguments = ["--data", str(training_csv), flag, "nose_tip", "chin", "--model"]
    assert mb.main([*arguments, str(tmp_path / "m.keras"), "--results", str(tmp_path)]) == 2
    assert f"{flag} chin: " in capsys.readouterr().err
    arguments = mb.parse_arguments(["--dry-run", flag, "nose_tip", "chin"])
    settings = mb.choose_settings(arguments, real=False, worker=Worker())
    with pytest.raises(InputError, match=f"{flag} chin: synthetic faces"):
        mb.load([], arguments, settings, Worker())


def test_missing_file_is_said(tmp_path, capsys):
    assert run(tmp_path / "nowhere.csv", "--out", tmp_path / "out.csv") == 2
    assert "nowhere.csv does not exist" in capsys.readouterr().err


def test_real_file_keeps_its_split(real_training_csv):
    """The labels kept are those counted in data/README.md; faces held out stay held out."""
    faces = load_training(real_training_csv)
    masked = kaggle.drop_inconsistent(faces)
    assert np.isfinite(masked.key_points[..., 0]).sum() == 25_900
    splits = [split_faces(join_faces([each]))[1] for each in (faces, masked)]
    np.testing.assert_array_equal(*splits)
    assert kaggle.first_rows(faces) == kaggle.first_rows(masked)


def test_annotators_of_the_real_file_label_other_spots(real_training_csv):
    """What the masks rest on: medians in the eyes' frame, part by part."""
    labels = load_training(real_training_csv).key_points.astype(float)
    eyes = interocular_distance(labels)
    inner, outer = (
        labels[:, KEY_POINTS.index(f"left_eye_{end}_corner")] for end in ("inner", "outer")
    )
    width = np.linalg.norm(inner - outer, axis=1) / eyes
    lips = np.linalg.norm(labels[:, TOP] - labels[:, BOTTOM], axis=1) / eyes
    parts = np.split(np.arange(len(labels)), kaggle.FIRST_ROWS[1:])
    assert [np.median(width[part]) < 0.38 for part in parts] == [True, False, False]
    assert [np.median(lips[part]) < 0.15 for part in parts] == [False, False, True]
    # Sharp: the rows on both sides of each change already belong to their part.
    assert (width[1153:1163] < 0.4).mean() > 0.8 > 0.2 > (width[1163:1173] < 0.4).mean()
    assert (lips[1559:1569] > 0.17).all() and np.median(lips[1569:1579]) < 0.12
