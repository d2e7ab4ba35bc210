"""The benchmark scripts' own arithmetic, on synthetic faces."""

import io
import itertools
import json
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, write_csv
from PIL import Image

import model_builder as mb
from data.batches import batches
from data.faces import fingerprint, join_faces, load_faces, load_training, synthetic_faces
from data.key_points import KEY_POINTS, SIXTY_EIGHT, interocular_distance, rmse
from data.labels import kaggle
from data.split import split_faces
from data.synthetic.rendered import __main__ as rendered
from data.synthetic.rendered.points import FURTHER, read_places
from data.system.command_line import run_script
from data.system.files import InputError
from models.network import build_model, predict
from models.storage import load_landmarker, save_model
from models.training import fit
from results.held_out import held_out_faces

sys.path.insert(0, str(ROOT / "tests" / "benchmarks"))
import ablations  # noqa: E402
import annotation_programs  # noqa: E402
import average_networks  # noqa: E402
import consistency  # noqa: E402
import hard_faces  # noqa: E402
import many_cores  # noqa: E402
import oldest_keras  # noqa: E402
import photos_or_csv  # noqa: E402
import plain_cnn  # noqa: E402
import pretrain  # noqa: E402
import processes  # noqa: E402
import scored_faces  # noqa: E402
import speed  # noqa: E402
import streaming  # noqa: E402
import synthetic_transfer  # noqa: E402
import take_points  # noqa: E402
import turned_faces_csv as turned  # noqa: E402
import wild_faces_csv  # noqa: E402


def test_archive_of_jpegs_becomes_two_csvs(faces, tmp_path):
    jpegs = []
    for picture in faces.pictures[:6]:
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "JPEG", quality=95)
        jpegs.append(buffer.getvalue())
    np.savez(
        tmp_path / "faces.npz",
        jpeg=np.frombuffer(b"".join(jpegs), np.uint8),
        offset=np.cumsum([0, *map(len, jpegs)]),
        key_points=faces.key_points[:6],
        identity=np.array(["ann", "bob", "ann", "cy", "di", "bob"]),
        source=np.array(["lfw", "aflw"] * 3),
    )
    arguments = [str(tmp_path / "faces.npz"), "--out", str(tmp_path)]
    assert run_script(arguments, wild_faces_csv.parse_arguments, wild_faces_csv.run) == 0
    lfw = load_training(tmp_path / "lfw.csv")
    np.testing.assert_allclose(lfw.key_points, faces.key_points[0:6:2], atol=1e-3)
    assert lfw.identities.tolist() == ["ann", "ann", "di"]
    expected = np.array(Image.open(io.BytesIO(jpegs[2])))
    np.testing.assert_array_equal(lfw.pictures[1], expected)
    assert len(load_training(tmp_path / "aflw.csv").rows) == 3


@pytest.mark.parametrize("processes", [None, 14])
@pytest.mark.parametrize("weights", pretrain.WEIGHTS)
def test_steps_of_shipped_weights_follow_one_another(tmp_path, weights, processes):
    kaggle_csv, model = tmp_path / "training.zip", tmp_path / "made.keras"
    parsers = {"wild_faces_csv": wild_faces_csv, "turned_faces_csv": turned, "model_builder": mb}
    parsers |= {"kaggle": kaggle, "oldest_keras": oldest_keras, "rendered": rendered}
    parsers |= {"take_points": take_points, "average_networks": average_networks}
    besides = {"wild_faces_csv": "lfw", "turned_faces_csv": "turned_kaggle turned_lfw"}
    if weights == "research":
        there = {str(kaggle_csv), str(tmp_path / "faces.npz")}
        paths = kaggle_csv, tmp_path / "faces.npz", tmp_path, model
        steps = pretrain.research_steps(*paths, processes)
    else:
        there = set()  # nothing: no real face goes into these
        points = pretrain.WEIGHTS[weights]
        steps = pretrain.synthetic_steps(points, tmp_path, model, processes)
    trainings, averages, cut = [], [], None
    for outcome, command in steps:
        _, script, *flags = command
        if script == "-m":  # a module, as seen from the project's folder
            script = ROOT / (flags.pop(0).replace(".", "/") + ".py")
            script = script if script.exists() else script.with_suffix("") / "__main__.py"
        assert script.is_file()
        if script.stem == "many_cores":  # the first argument is its own, all else the training's
            assert flags.pop(0) == processes
            script = script.with_stem("model_builder")
        flags = list(map(str, flags))
        name = script.parent.name if script.stem == "__main__" else script.stem
        if name in parsers:
            parsed = parsers[name].parse_arguments(flags)  # exits if a flag is unknown
        if name == "model_builder":
            trainings.append(parsed)
        elif name == "average_networks":
            averages.append((parsed.earlier, parsed.later, parsed.out))
        elif name == "take_points":
            cut = parsed.model
        inputs = [flag for flag in flags if flag.endswith((".csv", ".zip", ".npz", ".keras"))]
        assert set(inputs) <= there | {str(outcome)}  # made by the steps before
        there.add(str(outcome))
        there |= {str(tmp_path / f"{name}.csv") for name in besides.get(script.stem, "").split()}
    trained = trainings[-1].model
    assert parsed.out == model
    if weights == "research":
        assert parsed.model == trained
        assert len(trainings[-1].data) == 7 and set(trainings[-1].alike) <= set(KEY_POINTS)
    else:  # from random weights, then each goes on from the one before
        assert parsed.model == trained.with_name(f"trained_{points}.keras")
        results = [
            training.model.with_name("averaged.keras") if one.average else training.model
            for one, training in zip(pretrain.RENDERED, trainings, strict=True)
        ]
        assert [training.init for training in trainings] == [None, *results[:-1]]
        assert cut == results[-1]
        before = [None, *results]
        assert averages == [
            (before[number - one.average], training.model, before[number])
            for number, (one, training) in enumerate(
                zip(pretrain.RENDERED, trainings, strict=True), 1
            )
            if one.average
        ]
        assert len({training.model for training in trainings}) == len(trainings)
        # Trainings on the same faces hold out the same ones.
        faces = {(one.seed, one.count, one.points, one.held_out) for one in pretrain.RENDERED}
        assert len(faces) == len({one.seed for one in pretrain.RENDERED})


def test_some_points_of_a_network_are_a_network_of_their_own(tmp_path, capsys):
    both = read_places(pretrain.BOTH).names
    assert set(both) == {*KEY_POINTS, *FURTHER, *SIXTY_EIGHT} and both[:15] == KEY_POINTS
    command = ["--train", "5", "--test", "0", "--points", str(pretrain.BOTH)]
    command += ["--out", str(tmp_path)]
    assert run_script(command, rendered.parse_arguments, rendered.run) == 0
    faces = load_training(tmp_path / "training.csv")
    record = {
        "settings": {"flip": 0.5},
        "key_points": both,
        "mean_face": faces.key_points.mean(0).tolist(),
        "data": [
            {
                "path": str(faces.path),
                "absolute": str(faces.path),
                "sha256": fingerprint(faces),
                "validation_rows": [1, 3],
            }
        ],
        "results": {"epochs": 1},
    }
    model = build_model(count=len(both))
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:  # no zeros and ones, which all points share
        variable.assign(variable + rng.normal(0, 0.02, variable.shape))
    save_model(model, tmp_path / "both.keras", record)
    expected, spread = predict(model, faces.pictures)
    for points in ("68", "15"):
        names, out = read_places(points).names, tmp_path / f"{points}.keras"
        flags = [str(tmp_path / "both.keras"), str(out), "--points", points]
        assert run_script(flags, take_points.parse_arguments, take_points.run) == 0
        some = load_landmarker(out)
        kept = [both.index(name) for name in names]
        assert some.names == names
        for own, whole in zip(predict(some.model, faces.pictures), (expected, spread), strict=True):
            np.testing.assert_allclose(own, whole[:, kept], atol=1e-3)
        # Its record names the same held-out faces, for the points that it has.
        held_out = held_out_faces(some.record, out, names)
        assert held_out.rows.tolist() == [1, 3]
        error = rmse(expected[[1, 3]][:, kept], held_out.key_points)
        assert some.record["results"]["validation"][0]["rmse_px"] == pytest.approx(error, abs=1e-3)
    flags[0], flags[2:] = str(tmp_path / "15.keras"), ["--points", "68"]
    assert run_script(flags, take_points.parse_arguments, take_points.run) == 2
    assert "15.keras does not know jaw_right_8, " in capsys.readouterr().err


def test_the_mean_of_two_networks_is_one_for_the_points_that_both_have(faces, tmp_path, capsys):
    path = write_csv(tmp_path / "training.csv", faces.pictures[:60], faces.key_points[:60])
    loaded, rng = load_training(path), np.random.default_rng(0)
    data = {"path": str(path), "absolute": str(path), "sha256": fingerprint(loaded)}
    data["validation_rows"] = list(range(0, 60, 3))
    for name, points in (("earlier", KEY_POINTS[:10]), ("later", KEY_POINTS)):
        model = build_model(count=len(points))
        for variable in model.trainable_variables:
            variable.assign(variable + rng.normal(0, 0.02, variable.shape))
        mean_face = loaded.key_points[0, : len(points)].tolist()
        record = {"key_points": points, "mean_face": mean_face, "data": [data]}
        save_model(model, tmp_path / f"{name}.keras", record | {"results": {"epochs": 1}})
    files = [str(tmp_path / f"{name}.keras") for name in ("earlier", "later", "mean")]
    assert run_script(files, average_networks.parse_arguments, average_networks.run) == 0
    earlier, later, mean = (load_landmarker(Path(file)) for file in files)
    assert mean.names == KEY_POINTS[:10] and len(mean.record["mean_face"]) == 10
    one, other, made = (each.model.weights[0].numpy() for each in (earlier, later, mean))
    np.testing.assert_allclose(made, (one + other) / 2, atol=1e-6)
    expected = average_networks.average(earlier, later, mean.names)
    found, spread = predict(mean.model, faces.pictures[:5])
    np.testing.assert_allclose(found, predict(expected, faces.pictures[:5])[0], atol=1e-3)
    assert (spread > 0).all() and not np.allclose(spread, predict(expected, faces.pictures[:5])[1])
    (score,) = mean.record["results"]["validation"]
    assert f"validation RMSE {score['rmse_px']:.3f} px" in capsys.readouterr().out


def test_a_step_that_fails_is_said(tmp_path):
    with pytest.raises(InputError, match="the step that makes"):
        pretrain.do(tmp_path / "other", [sys.executable, "-c", "raise SystemExit(3)"])


def test_many_processes_draw_the_same_batches(faces):
    settings = mb.Settings(batch_size=40, seed=4)
    stream = many_cores.drawn_by(2, faces, settings, first_epoch=3)
    for (x, source), y, weights in itertools.islice(batches(faces, settings, 3), 4):
        (x2, source2), y2, weights2 = next(stream)
        for one, other in ((x, x2), (source, source2), (y, y2), (weights, weights2)):
            np.testing.assert_array_equal(one, other)
    stream.close()


@pytest.fixture(scope="module")
def shape():
    return turned.shape_model(people=100)


def test_fitted_face_knows_its_pose_and_its_hidden_points(shape):
    mean, modes, _ = shape
    rng = np.random.default_rng(0)
    pose = np.zeros((40, 6 + len(modes)))
    pose[:, 1] = np.radians(np.linspace(-55, 55, 40))  # about the vertical
    pose[:, 3], pose[:, 4:6] = np.log(rng.uniform(33, 42, 40)), rng.uniform(40, 55, (40, 2))
    pose[:, 6:] = rng.normal(0, 0.7, (40, len(modes)))
    truth = turned.project(pose, mean, modes)
    seen = truth + rng.normal(0, 0.5, truth.shape)
    right, left = (
        KEY_POINTS.index("right_eyebrow_outer_end"),
        KEY_POINTS.index("left_eyebrow_outer_end"),
    )
    seen[:20, left], seen[20:, right] = np.nan, np.nan
    found = turned.fit(seen, mean, modes)
    error = np.abs(turned.yaw_of(found) - turned.yaw_of(pose))
    assert np.median(error) < 4 and error.max() < 15
    hidden = np.isnan(seen[..., 0])
    apart = np.linalg.norm(turned.project(found, mean, modes) - truth, axis=-1)[hidden]
    assert np.median(apart) < 2


def test_turning_by_nothing_changes_nothing_and_turning_moves_the_nose(shape, faces):
    mean, _, surface = shape
    matrix, shift = np.eye(3), np.array([47.5, 30.0])
    picture = faces.pictures[1]
    same, points = turned.turn(picture, mean, matrix, 38, shift, matrix, surface)
    np.testing.assert_allclose(points, 38 * mean[:, :2] + shift)
    assert np.abs(same.astype(int) - picture)[10:90, 25:70].mean() < 4
    angle = np.radians(40)
    aside = np.array(
        [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    )
    other, moved = turned.turn(picture, mean, matrix, 38, shift, aside, surface)
    assert np.abs(other.astype(int) - picture).mean() > 5
    nose, eyes = moved[10, 0], moved[:2, 0]
    assert nose > points[10, 0] + 5 and np.ptp(eyes) < 0.85 * np.ptp(points[:2, 0])


def test_transfer_takes_the_median_offset_out():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, (5001, 15, 2))
    shifted = noise + rng.normal(0, 5, (1, 15, 2))
    assert synthetic_transfer.without_offset(shifted) == pytest.approx(1, abs=0.02)


def test_what_two_methods_share_is_the_labels_scatter():
    rng = np.random.default_rng(0)
    face = rng.uniform(20, 75, (2000, 15, 2))
    labels, ours, theirs = (face + rng.normal(0, sd, face.shape) for sd in (0.8, 0.3, 0.6))
    labels[0, 0], theirs[1] = np.nan, np.nan  # not labelled, not found
    ours[2:50, 3] += 30  # mistakes
    found = hard_faces.shared_error(ours, theirs, labels)
    expected = [np.sqrt(2 * (0.64 + own)) for own in (0.09, 0.36, 0)]
    assert found == pytest.approx(expected, rel=0.01)


def test_rows_chosen_by_eye_are_found_in_their_file():
    source, rows = np.array([1, 2, 3, 3, 2]), np.array([156, 156, 552, 156, 693])
    scored = scored_faces.Scored(None, None, source, rows)
    assert scored.among(scored_faces.DARK_GLASSES).tolist() == [True, False, True, False, True]


def test_errors_by_point_are_those_of_their_file():
    truth = np.full((4, 15, 2), 50.0)
    truth[2:, 13:] = np.nan  # the second file marks no lips
    faces = scored_faces.Scored(None, truth, np.array([0, 0, 1, 1]), np.arange(4))
    found = truth + [0, 4]
    found[0, 13] += [3, 0]  # then 5 away
    result = hard_faces.point_errors({"ours": found}, faces)
    lip = result["kaggle", "top lip"]["ours"]
    assert lip == {"points": 2, "mean": pytest.approx(100 / hard_faces.UNIT_PX * 4.5)}
    assert result["lfw", "eye corners"]["ours"]["points"] == 8
    assert ("lfw", "top lip") not in result and ("aflw", "nose tip") not in result


def test_styles_are_other_pictures_of_the_same_face(faces):
    picture = faces.pictures[1]
    for name, restyle in consistency.STYLES.items():
        styled = restyle(picture)
        assert styled.shape == picture.shape and styled.dtype == np.uint8
        assert (name == "as it is") == np.array_equal(styled, picture)
        if name != "cropped 10 % wider":
            assert np.corrcoef(styled.ravel(), picture.ravel())[0, 1] > 0.9
    corner = consistency.wider_crop(np.pad(np.full((48, 48), 200, np.uint8), 24))
    assert 38 <= np.count_nonzero(corner[48] > 100) <= 45  # 48 pixels become 44


def test_consistency_tells_two_meanings_from_one():
    rng = np.random.default_rng(0)
    points = synthetic_faces(1, seed=3).key_points.repeat(300, 0).astype(float)
    points += rng.normal(0, 0.2, points.shape)
    hand = np.repeat([0, 1, 2], 100)
    closed = rng.random(300) < 0.5
    two = points.copy()
    top, bottom = (KEY_POINTS.index(f"mouth_center_{lip}_lip") for lip in ("top", "bottom"))
    two[hand == 2, top] = two[hand == 2, bottom]
    styled = points.copy()
    styled[:, bottom, 1] += 0.1 * interocular_distance(points)
    report = consistency.compare(
        {"one": {"as it is": points, "darker": styled}, "two": {"as it is": two}}, hand, closed
    )
    one, other = (report[name]["lips"]["as it is"]["median"] for name in ("one", "two"))
    assert max(one) < 1.1 * min(one) and other[2] < 0.5 * other[0]
    assert report["one"]["lips"]["darker"]["change"] == pytest.approx([0.1] * 3, abs=0.005)
    assert report["one"]["eyes"]["darker"]["change"] == [0, 0, 0]


def test_plain_cnn_is_scored_like_ours(faces, tmp_path, capsys):
    data = write_csv(tmp_path / "faces.csv", faces.pictures, faces.key_points)
    path = tmp_path / "plain.keras"
    arguments = ["--data", str(data), "--model", str(path), "--epochs", "2"]
    assert run_script(arguments, plain_cnn.parse_arguments, plain_cnn.run) == 0

    printed = float(capsys.readouterr().out.split("validation RMSE ")[1].split()[0])
    model = plain_cnn.load(path)
    _, rows = split_faces(join_faces([load_training(data)]))
    error = rmse(plain_cnn.predict(model, faces.pictures[rows]), faces.key_points[rows])
    assert printed == pytest.approx(error, abs=0.01)


def test_ablations_change_what_they_say(faces):
    for _, settings, functions, _ in ablations.VARIANTS.values():
        replace(mb.Settings(), **settings)  # TypeError if there is no such setting
        assert all(hasattr(fit, name) for name in functions)
    truth, predicted = np.array([[5, 5, np.nan, 5]]), np.array([[5, 15, 3, 45]], float)
    bend = 10 * np.log(6)  # at 10 px; linear from there
    assert np.array(ablations.wing_loss(None)(truth, predicted)) == pytest.approx(
        [(bend + bend + 30) / 4]
    )
    model = ablations.dense_head()
    key_points, spread = predict(model, faces.pictures[:2])
    assert key_points.shape == (2, 15, 2) and spread.shape == (2, 15)
    assert key_points.min() > 0 and key_points.max() < 95  # starts about the middle


def test_streaming_writes_test_files(tmp_path):
    streaming.write_test_file(tmp_path / "test.csv", 60)
    faces = load_faces(tmp_path / "test.csv")
    assert faces.image_ids.tolist() == [str(i) for i in range(1, 61)] and faces.key_points is None
    np.testing.assert_array_equal(faces.pictures[:10], faces.pictures[50:])


def test_speed_counts_the_multiplications_of_a_network():
    import keras
    from keras import layers

    inputs = keras.Input((8, 6, 2))
    x = layers.Conv2D(5, 3, strides=2, padding="same")(inputs)  # 4x3 places, 3 * 3 * 2 * 5 each
    x = layers.Dense(7)(layers.BatchNormalization()(x))  # 12 places, 5 * 7
    x = layers.Reshape((12, 7))(x)
    x = layers.EinsumDense("npc,pc->np", 12)(x)  # weights of their own for 12 places, 7 each
    assert speed.multiply_adds(keras.Model(inputs, x)) == 12 * (90 + 35 + 7)


def test_speed_reads_processes_and_their_lines():
    ticks = processes.os.sysconf("SC_CLK_TCK")
    stat = f"77 (a name) with) R 1 77 77 0 -1 4194304 9 0 0 0 {3 * ticks} {ticks} 8 8 20 0 1 0 5"
    assert processes.processor_seconds(stat) == 4
    text = "epoch {:3}/9  loss    1.0  held-out RMSE {:6.3f} px    0 min 10 s left"
    errors = (3.5, 1.92, 1.915, 1.7)
    lines = [processes.Line(text.format(i, e), 10 * i, 20 * i) for i, e in enumerate(errors)]
    lines.insert(0, processes.Line("1666 faces to train on, 474 held out", 1, 1))
    assert speed.first_as_good(lines, 1.915) is lines[3]
    assert speed.first_as_good(lines, 1.6) is None
    done = processes.run_timed("-c", "print('here'); print('there')")
    assert [line.text for line in done.lines] == ["here", "there"]
    assert min(done.seconds, done.processor, done.megabytes) > 0
    with pytest.raises(SystemExit, match="in vain"):
        processes.run_timed("-c", "raise SystemExit('in vain')")


def test_photos_and_their_csv_hold_the_same_faces(tmp_path):
    sets = photos_or_csv.make_sets(tmp_path, Namespace(train=4, held_out=2))
    for part, count in (("training", 4), ("held-out", 2)):
        csv, photos = sets[part, "CSV"], sets[part, "photos"]
        assert len(csv.rows) == len(photos.rows) == count
        greys = []
        for faces in (csv, photos):
            x, y = faces.key_points.round().astype(int).clip(0, 95).transpose(2, 0, 1)
            greys.append(faces.pictures[np.arange(count)[:, None], y, x].astype(int))
        assert np.median(np.abs(greys[0] - greys[1])) < 15 < np.std(greys[0])
        one, other = (points - points.mean(1, keepdims=True) for points in
                      (csv.key_points, photos.key_points))  # fmt: skip
        scales = one.std((1, 2)) / other.std((1, 2))
        np.testing.assert_allclose(one, other * scales[:, None, None], atol=0.01)
        assert scales.std() > 0.005  # framed differently


def test_what_a_program_changes_in_labels_is_noticed(made, tmp_path):
    photos, points = annotation_programs.make_photos(tmp_path / "photos", made.take(range(4)))
    folder = tmp_path / "labels"
    annotation_programs.write_labels(folder, "labelme", photos, points)
    before = annotation_programs.faces_of(folder)
    assert annotation_programs.compare(before, annotation_programs.faces_of(folder), True) == 0
    path = folder / "1_photo_0.json"
    document = json.loads(path.read_text())
    point = document["shapes"][3]
    for change, said in (({"points": [[0.5, 0.5]]}, None), ({"spread": 3}, "spread"),
                         ({"flags": {"hidden": True}}, "visibility"),
                         ({"label": "nose"}, "names")):  # fmt: skip
        document["shapes"][3] = point | change
        path.write_text(json.dumps(document))
        after = annotation_programs.faces_of(folder)
        if said is None:
            assert annotation_programs.compare(before, after, True) > 20
        else:
            with pytest.raises(InputError, match=said):
                annotation_programs.compare(before, after, True)
