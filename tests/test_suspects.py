"""--suspects and --corrections: wrong labels are found, corrected in LabelMe, and trained on."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, train_in_few_steps, write_csv
from killing import tiny_model

import model_builder as mb
from data.faces import join_faces, load_faces, load_training, mark_second_source
from data.key_points import KEY_POINTS, PARTNERS
from data.labels.corrections import Correction, correct, from_record, read_corrections
from data.split import group_similar, make_folds
from data.system.files import InputError
from models.record import what_must_match
from models.storage import SHIPPED, Checkpoint, Landmarker
from models.training import fit, suspects
from models.training.suspects import explain, find_conventions, judge_labels, predict_unseen
from results.held_out import held_out_faces
from results.suspects import SuspectFiles

NOSE = KEY_POINTS.index("nose_tip")
LEFT, RIGHT = (KEY_POINTS.index(f"{side}_eye_center") for side in ("left", "right"))
BROW = KEY_POINTS.index("left_eyebrow_inner_end")


def run(*arguments):
    return mb.main([str(argument) for argument in arguments])


# --- judge ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def labelled(drawn_once):
    """240 faces' labels by two annotators, a prediction and spread of each; no label is wrong.

    The second annotator puts the nose tip 6 px lower, and is half as exact.
    """
    rng = np.random.default_rng(0)
    predicted = np.repeat(drawn_once(120, seed=5).key_points, 2, 0).astype(float)
    annotator = np.arange(240) % 2
    spread = rng.uniform(0.5, 1.5, (240, 15))
    noise = rng.normal(0, 1, predicted.shape) * spread[..., None] * (1 + annotator[:, None, None])
    labels = predicted + noise
    labels[annotator == 1, NOSE, 1] += 6
    return labels, predicted, spread, annotator


def test_what_each_annotator_does_alike_is_no_error(labelled):
    labels, predicted, spread, annotator = labelled
    judged = judge_labels(*labelled)
    assert judged.suspect.sum() <= 2 and not judged.shift.any()  # of 3,600
    second = annotator == 1
    assert (judged.predicted - predicted)[second, NOSE, 1].mean() == pytest.approx(6, abs=0.5)
    assert (judged.spread / spread)[second].mean() == pytest.approx(2, rel=0.1)
    as_one = judge_labels(labels, predicted, spread, np.zeros(240, int))
    assert np.median(as_one.errors[:, NOSE]) > 1.5 * np.median(judged.errors[:, NOSE])


def test_wrong_labels_are_found_and_explained(labelled):
    labels, predicted, spread, annotator = labelled
    labels = labels.copy()
    labels[3, [LEFT, RIGHT]] = labels[3, [RIGHT, LEFT]]
    labels[10, BROW] = labels[10, LEFT]
    labels[20] = labels[20, PARTNERS]
    labels[30] += [3.0, -3.5]  # each of them within what a single label may be off
    labels[40, NOSE] += [9, 0]
    labels[50:60] = np.nan
    before = judge_labels(*labelled).suspect
    judged = judge_labels(labels, predicted, spread, annotator)
    expected = np.zeros((240, 15), bool)
    expected[3, [LEFT, RIGHT]] = expected[10, BROW] = expected[40, NOSE] = expected[30] = True
    expected[20] = np.arange(15) != PARTNERS
    assert ((judged.suspect ^ expected) & ~before).sum() <= 1
    assert not (expected & ~judged.suspect).any()

    def said(i, k):
        return explain(judged, labels, KEY_POINTS, i, k)

    assert said(3, LEFT) == "swapped with right_eye_center"
    assert said(10, BROW) == "where left_eye_center is"
    assert said(20, 3) == "swapped with right_eye_outer_corner"
    assert said(40, NOSE) == "off"
    x, y = map(float, re.fullmatch(r"whole row shifted by \((.+), (.+)\)", said(30, 0)).groups())
    assert (x, y) == pytest.approx((3, -3.5), abs=1)
    assert judged.shift.any(1).sum() == 1


def test_annotators_are_told_apart_by_file_source_and_part(faces, made, monkeypatch):
    first = mark_second_source(join_faces([faces, made]))
    assert (first.source < 0).sum() == 0
    few = faces._replace(key_points=faces.key_points.copy())
    few.key_points[:10, 4:] = np.nan
    files = [few, made]
    joined = join_faces(files)
    parts = {id(few): [0, 30, 90], id(made): None}
    monkeypatch.setattr(suspects, "first_rows", lambda file: parts[id(file)])
    found = find_conventions(joined, files)
    of_few = found[: len(few.rows)]
    assert len(set(found)) == 5
    for same in (slice(10), slice(10, 30), slice(30, 90), slice(90, None)):
        assert len(set(of_few[same])) == 1
    assert len(set(found[len(few.rows) :])) == 1


# --- predict -------------------------------------------------------------------------------------


def test_folds_are_of_equal_size_and_split_no_group(made, faces, capsys):
    joined = join_faces([faces, made])
    people = np.where(np.arange(192) % 7, np.arange(192), 1000)
    fold = make_folds(joined._replace(identities=people), 2, seed=3)
    assert np.bincount(fold).tolist() == [96, 96]
    groups = group_similar(joined.pictures, people)
    assert all(len(set(fold[groups == group])) == 1 for group in groups)
    assert len(set(fold[people == 1000])) == 1
    assert not capsys.readouterr().out
    film = joined.take(np.zeros(10, int))
    assert make_folds(film, 2, seed=0).tolist() in ([0] * 5 + [1] * 5, [1] * 5 + [0] * 5)
    assert "stretches" in capsys.readouterr().out
    with pytest.raises(InputError, match="1 face"):
        make_folds(film.take([0]), 2, seed=0)


def test_no_face_is_judged_by_a_network_that_saw_it(made, monkeypatch):
    seen = []

    def train(training, validation, settings, precision, initial=None):
        seen.append(set(training.rows))
        assert not seen[-1] & set(validation.rows)
        return suspects.train.outcome

    class Model:
        model = None

    train.outcome = Model()
    monkeypatch.setattr(suspects, "train", train)
    answers = []

    def predict(model, pictures, mirror, names):
        answers.append(len(pictures))
        return np.full((len(pictures), 15, 2), len(answers)), np.ones((len(pictures), 15))

    monkeypatch.setattr(suspects, "predict", predict)
    predicted, spread = predict_unseen(made, mb.Settings())
    by = predicted[:, 0, 0].astype(int)  # which network judged each face
    assert sorted(answers) == [36, 36] and set(by) == {1, 2}
    for number, rows in enumerate(seen, 1):
        assert set(made.rows[by == number]) == set(made.rows) - rows


def test_both_halves_are_judged_by_trained_networks(tiny, made, monkeypatch, capsys):
    train_in_few_steps(monkeypatch)
    settings = mb.Settings(epochs=2, batch_size=18, spread_steps=2)
    predicted, spread = predict_unseen(made, settings)
    assert np.isfinite(predicted).all() and (spread > 0).all()
    assert len(np.unique(predicted[:, 0, 0])) == 72
    said = capsys.readouterr().out
    assert "Part 2 of 2: training on 36 faces" in said and said.count("epoch   2/2") == 2


@pytest.fixture(scope="module")
def spoilt(made):
    """The 72 faces, three of them with wrong labels: the left brow for the eye, a nose, a shift."""
    key_points = made.key_points.copy()
    key_points[5, [LEFT, BROW]] = key_points[5, [BROW, LEFT]]
    key_points[17, NOSE] += [8, -6]
    key_points[40] += [-7, 5]
    return made._replace(key_points=key_points)


def test_the_script_finds_wrong_labels(spoilt, tmp_path, monkeypatch, capsys):
    """By the shipped network, which never saw these faces; it is not trained on."""
    judges = []

    def train(training, validation, settings, precision, initial):
        judges.append(initial)
        return fit.Outcome(initial, [], None)

    monkeypatch.setattr(suspects, "train", train)
    csv = write_csv(tmp_path / "faces.csv", spoilt.pictures, spoilt.key_points)
    command = "--data", csv, "--suspects", "--init", SHIPPED, "--results", tmp_path / "r"
    assert run(*command) == 0 and len(judges) == 2
    said = capsys.readouterr().out
    assert "Part 2 of 2: training on 36 faces" in said and "was trained on" not in said
    table = pd.read_csv(tmp_path / "r" / "suspects" / "suspects.csv")
    assert (table.file == str(csv)).all() and table.error_spreads.is_monotonic_decreasing
    found = set(zip(table.row, table.key_point, strict=True))
    wrong = {(5, KEY_POINTS[LEFT]), (5, KEY_POINTS[BROW]), (17, "nose_tip")}
    wrong |= {(40, name) for name in KEY_POINTS}
    assert wrong <= found and len(found) <= len(wrong) + 4
    reasons = table[table.row == 40].reason
    assert reasons.str.startswith("whole row shifted by (-").all()
    pages = list((tmp_path / "r" / "suspects_pages").iterdir())
    assert [page.name for page in pages] == ["page1.png"] and pages[0].stat().st_size > 20_000
    assert len(list((tmp_path / "r" / "suspects").glob("*.png"))) == len(set(table.row))
    assert run(*command) == 2  # an earlier run's corrections are not overwritten
    assert "may hold corrections" in capsys.readouterr().err
    assert not (tmp_path / "r" / "training_log.csv").exists()


def test_a_start_from_a_model_that_saw_the_file_is_warned_of(made, capsys):
    shipped = Landmarker(None, json.loads(SHIPPED.with_suffix(".json").read_text()), SHIPPED)
    suspects.warn_of_seen_files(shipped, [made])
    assert not capsys.readouterr().out
    seen = replace(shipped, record={"data": [{"sha256": suspects.fingerprint(made)}]})
    suspects.warn_of_seen_files(seen, [made])
    assert "may have learned wrong labels by heart" in capsys.readouterr().out


# --- correct -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def training_files(spoilt, made, tmp_path_factory):
    """Two CSVs: the spoilt faces, the row 17 there twice, and others with four points missing."""
    folder = tmp_path_factory.mktemp("files")
    twice = spoilt.take(np.r_[np.arange(72), 17])
    other = made.key_points[:40] + 0.25
    other[:, :4] = np.nan
    write_csv(folder / "one.csv", twice.pictures, twice.key_points)
    write_csv(folder / "two.csv", made.pictures[::-1][:40], other)
    return folder / "one.csv", folder / "two.csv"


@pytest.fixture
def suspected(training_files, tmp_path, monkeypatch):
    """What --suspects writes for three rows of the two files; no pages are drawn."""
    files = [load_training(path) for path in training_files]
    faces = join_faces(files)
    judged = judge_labels(
        faces.key_points,
        np.where(np.isfinite(faces.key_points), faces.key_points, 48.0),
        np.ones(faces.key_points.shape[:2]),
        np.zeros(len(faces.rows), int),
    )
    judged.suspect[:] = False
    for row, k in ((5, BROW), (17, NOSE), (72 + 3, NOSE)):
        judged.suspect[row, k] = True
        judged.errors[row, k] = 9 - k / 10
    monkeypatch.setattr("results.suspects.plot_against_labels", lambda *_: None)
    SuspectFiles(tmp_path).write(faces, list(training_files), judged)
    return tmp_path / "suspects", files


def edit(path, change):
    """Change LabelMe's shapes in a JSON."""
    document = json.loads(path.read_text())
    document["shapes"] = change(document["shapes"])
    path.write_text(json.dumps(document))


def drag(name, x, y):
    """A change: one point dragged to x, y, counted from the corner."""

    def change(shapes):
        (point,) = (s for s in shapes if s["label"] == name)
        point["points"] = [[x, y]]
        return shapes

    return change


def delete(*names):
    """A change: points deleted."""
    return lambda shapes: [shape for shape in shapes if shape["label"] not in names]


def test_corrections_are_what_was_changed_in_labelme(suspected, capsys):
    folder, files = suspected
    names = sorted(path.name for path in folder.glob("*.json"))
    assert names == ["1_file1_row5.json", "2_file1_row17.json", "3_file2_row3.json"]
    assert read_corrections(folder, files) == []
    edit(folder / names[0], drag(KEY_POINTS[BROW], 40.5, 20.75))
    edit(folder / names[1], delete("nose_tip"))
    added = {"label": KEY_POINTS[0], "shape_type": "point", "group_id": None}
    edit(folder / names[2], lambda shapes: [*shapes, added | {"points": [[33.5, 34.5]]}])
    found = read_corrections(folder, files)
    assert found == [
        Correction(0, 5, KEY_POINTS[BROW], (40.0, 20.25)),
        Correction(0, 17, "nose_tip", None),
        Correction(1, 3, KEY_POINTS[0], (33.0, 34.0)),
    ]
    assert "corrects 3 labels in 3 rows: 1 are masked, 2 are at other" in capsys.readouterr().out

    one, two = (correct(file, i, found) for i, file in enumerate(files))
    assert two.key_points[3, 0].tolist() == [33, 34]
    changed = np.argwhere(~np.isclose(one.key_points, files[0].key_points).all(2))
    # The repeated row is corrected as well.
    assert changed.tolist() == [[5, BROW], [17, NOSE], [72, NOSE]]
    assert np.isnan(one.key_points[72, NOSE]).all()
    record = {"corrections": [correction._asdict() for correction in found]}
    assert from_record(json.loads(json.dumps(record)), 1) == [found[2]._replace(place=[33, 34])]


def test_a_row_without_any_label_left_is_dropped(suspected):
    folder, files = suspected
    edit(folder / "1_file1_row5.json", lambda shapes: [])
    found = read_corrections(folder, files)
    assert len(found) == 15 and 5 not in correct(files[0], 0, found).rows


def test_all_labels_in_the_table_can_be_masked(suspected):
    folder, files = suspected
    expected = [(0, 5, KEY_POINTS[BROW]), (0, 17, "nose_tip"), (1, 3, "nose_tip")]
    found = read_corrections(folder / "suspects.csv", files)
    assert sorted(found) == [Correction(*label, None) for label in expected]


def test_corrections_that_fit_no_row_or_no_point_are_refused(suspected, training_files):
    folder, files = suspected
    path = folder / "2_file1_row17.json"
    good = path.read_text()

    def refused(words, where=folder, of=files):
        with pytest.raises(InputError, match=words) as caught:
            read_corrections(where, of)
        assert "\n" not in str(caught.value) and str(caught.value)[-1] in ".?"

    shuffled = files[0]._replace(pictures=files[0].pictures[::-1])
    refused("1_file1_row5.json corrects row 5, but no file", of=[shuffled, files[1]])
    refused("row 1 below the header, corrects row 5", folder / "suspects.csv", [shuffled])
    edit(path, lambda shapes: [*shapes, shapes[0] | {"label": "nose tipp"}])
    refused("2_file1_row17.json has the point nose tipp")
    path.write_text(good)
    table = pd.read_csv(folder / "suspects.csv")
    table.assign(key_point="chin").to_csv(folder / "suspects.csv", index=False)
    refused("names the key point chin", folder / "suspects.csv")
    refused("no column named row", training_files[0])
    refused("no .json file", folder.parent)


def test_a_broken_file_is_left_out_and_the_others_are_read(suspected, capsys):
    folder, files = suspected
    edit(folder / "3_file2_row3.json", delete("nose_tip"))
    (folder / "2_file1_row17.json").write_text("{")
    (folder / "0_photo.json").write_text(json.dumps({"shapes": [], "imagePath": "no.png"}))
    assert read_corrections(folder, files) == [Correction(1, 3, "nose_tip", None)]
    said = capsys.readouterr().out
    assert said.count("left out:") == 2 and "2 of 4 files are left out" in said
    for path in folder.glob("[13]*.json"):
        path.unlink()
    with pytest.raises(InputError, match="no file that can be read, the first because: .*no.png"):
        read_corrections(folder, files)


def test_a_training_uses_and_records_corrections(
    suspected, training_files, tmp_path, tiny, monkeypatch, capsys
):
    folder, files = suspected
    train_in_few_steps(monkeypatch)
    before = training_files[0].read_bytes()
    used, train = [], mb.train

    def watched(*arguments):
        used.extend(arguments[:2])
        return train(*arguments)

    monkeypatch.setattr(mb, "train", watched)
    model = tmp_path / "corrected.keras"
    edit(folder / "1_file1_row5.json", drag("nose_tip", 11, 12))
    (folder / "3_file2_row3.json").unlink()
    command = "--data", training_files[0], "--model", model, "--results", tmp_path / "r"
    more = "--epochs", 1, "--batch-size", 29, "--precision", "float32", "--corrections", folder
    assert run(*command, *more) == 0, capsys.readouterr().err
    assert training_files[0].read_bytes() == before
    own = [part.key_points[(part.rows == 5) & (part.file == 0), NOSE] for part in used]
    assert np.concatenate(own).tolist() == [[10.5, 11.5]]
    record = json.loads(model.with_suffix(".json").read_text())
    assert record["corrections"] == [
        {"file": 0, "row": 5, "key_point": "nose_tip", "place": [10.5, 11.5]}
    ]
    without = record | {"corrections": None}
    checkpoint = Checkpoint(tmp_path / "c.npz", what_must_match(record, None))
    network = tiny_model()
    network.compile("sgd")
    network.optimizer.build(network.trainable_variables)
    checkpoint.save(network, [])
    with pytest.raises(InputError, match="of a training with other corrections; resume"):
        Checkpoint(checkpoint.path, what_must_match(without, None)).restore(network)
    # The held-out faces are found in the files, and measured by the corrected labels.
    record["data"][0]["validation_rows"] = [4, 5]
    held_out = held_out_faces(record, model, KEY_POINTS, training_files[0])
    assert held_out.rows.tolist() == [4, 5]
    assert held_out.key_points[1, NOSE].tolist() == [10.5, 11.5]
    assert load_faces(training_files[0]).key_points[5, NOSE].tolist() != [10.5, 11.5]


def test_flags_that_make_no_sense_together_are_refused(capsys):
    for flags in (("--resume",), ("--model", "a.keras")):
        with pytest.raises(SystemExit):
            run("--suspects", *flags)
        assert "--suspects trains no model" in capsys.readouterr().err


def test_the_document_names_the_limits():
    text = re.sub(r"\s+", " ", (ROOT / "data" / "README.md").read_text())
    assert f"more than {suspects.SMALLEST:g} px and {suspects.LIMIT:g} spreads from" in text
