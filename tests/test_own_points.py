"""Other key points than Kaggle's: a CSV's header names them, and everything follows it."""

import json
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, refused_table, smallest_network, train_in_few_steps, write_csv
from PIL import Image

import face_key_points as fkp
import model_builder as mb
from data.augment.views import augment
from data.faces import (
    fingerprint,
    join_faces,
    load_faces,
    load_training,
    mark_second_source,
)
from data.images.crops import (
    affines_from_points,
    mean_face_of,
    similarity_transforms,
    transform_points,
)
from data.key_points import (
    KEY_POINTS,
    columns_of,
    compute_mean_face,
    mirror_key_points,
    mirror_partners,
    output_columns,
    without_partner,
)
from data.system.files import InputError
from models.network import POINT_AXIS, build_model, predict, warm_start
from models.storage import SHIPPED, load_model, names_of, save_model, weights_digest
from results import predictions
from results.figures import plots as pictures_room
from results.figures.colours import OTHER, style_of
from results.measures import measure

sys.path.insert(0, str(ROOT / "tests" / "benchmarks"))
from own_points import dense_points, five_points  # noqa: E402


@pytest.fixture(scope="module")
def write(made, tmp_path_factory):
    """A function that writes the synthetic faces with what another one makes of their points."""

    def write(points, **others):
        names, key_points = points(made.key_points)
        path = tmp_path_factory.mktemp("own") / "faces.csv"
        return write_csv(path, made.pictures, key_points, columns_of(names), **others)

    return write


@pytest.fixture(scope="module")
def five_csv(write):
    """Five points; every third face has no nose."""

    def points(key_points):
        names, five = five_points(key_points)
        five[::3, names.index("nose")] = np.nan
        return names, five

    return write(points, box="12 13", ImageId=range(72))


def numbered_points(key_points):
    """The 68 points by names that say nothing."""
    return tuple(f"p{k}" for k in range(68)), dense_points(key_points)[1]


def build(csv_path, folder, *flags):
    paths = ["--data", csv_path, "--model", folder / "m.keras", "--results", folder / "r"]
    flags = ["--dry-run", "--precision", "float32", *paths, *flags]
    return mb.main([str(flag) for flag in flags])


def use(*arguments):
    return fkp.main([str(a) for a in arguments])


def refused(capsys, status):
    """The one sentence that was printed."""
    printed = capsys.readouterr().err
    assert status == 2 and printed.startswith("error: ") and printed.count("\n") == 1, printed
    return printed


# --- names and partners ---


def test_partners_follow_the_words_in_the_names(made):
    assert mirror_partners(five_points(made.key_points)[0]).tolist() == [1, 0, 2, 4, 3]
    names, key_points = dense_points(made.key_points)
    partners = mirror_partners(names)
    assert len(set(names)) == 68 and (partners[partners] == np.arange(68)).all()
    assert [names[k] for k in np.flatnonzero(partners == np.arange(68))] == [
        *("chin", *(f"nose_bridge_{i}" for i in range(4)), "nose_base"),
        *("mouth_top_lip", "mouth_inner_top_lip", "mouth_bottom_lip", "mouth_inner_bottom_lip"),
    ]
    # The points made of the mirrored 15 are the mirrored points.
    _, mirrored = dense_points(mirror_key_points(made.key_points))
    np.testing.assert_allclose(mirrored, mirror_key_points(key_points, partners), atol=1e-4)


def test_names_without_sides_have_no_partners(made):
    names, key_points = numbered_points(made.key_points)
    assert mirror_partners(names) is None and mirror_partners(("upright", "cleft")) is None
    # Nothing is mirrored then: with nothing else to change, the points stay.
    settings = mb.Settings(rotation=0, scale=0, stretch=0, perspective=0, shift=0, flip=1.0)
    _, same = augment(made.pictures, key_points, np.random.default_rng(0), settings, names)
    np.testing.assert_allclose(same, key_points, atol=1e-4)


# What people call the points: in one line those of the left, of the right and of the middle.
CONVENTIONS = {
    "CelebA": "lefteye leftmouth | righteye rightmouth | nose",
    "MTCNN": "left_eye mouth_left | right_eye mouth_right | nose",
    "mixed": "left_eye leftmouth | right_eye rightmouth | nose",
    "RetinaFace, short": "le lm | re rm | n",
    "COCO": "left_eye left_ear | right_eye right_ear | nose",
    "MediaPipe": "LEFT_EYE LEFT_EAR_TRAGION | RIGHT_EYE RIGHT_EAR_TRAGION | NOSE_TIP MOUTH_CENTER",
    "OpenPose": "LEye LEar | REye REar | Nose",
    "AWS": "eyeLeft leftEyeBrowLeft leftEyeBrowRight leftEyeBrowUp leftPupil upperJawlineLeft |"
    " eyeRight rightEyeBrowRight rightEyeBrowLeft rightEyeBrowUp rightPupil upperJawlineRight |"
    " nose chinBottom",
    "Azure": "pupilLeft eyebrowLeftOuter noseRootLeft | pupilRight eyebrowRightOuter noseRootRight"
    " | noseTip underLipTop",
    "Google": "LEFT_EYE LEFT_OF_LEFT_EYEBROW LEFT_EYE_LEFT_CORNER |"
    " RIGHT_EYE RIGHT_OF_RIGHT_EYEBROW RIGHT_EYE_RIGHT_CORNER | NOSE_TIP",
    "capitals": "Left_Eye Mouth_Left_Corner | Right_Eye Mouth_Right_Corner | Nose_Tip",
    "letters": "l_eye mouth_l | r_eye mouth_r | nose",
    "glued letters": "leye lbrow1 lbrow2 | reye rbrow1 rbrow2 | nose lower_lip",
    "dashes": "left-eye left-brow-1 | right-eye right-brow-1 | nose",
    "numbers": "left1 left2 | right1 right2 | mid1 mid2",
    "lt and rt": "eye_lt | eye_rt | nose",
}


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_partners_by_the_names_that_people_use(convention):
    left, right, middle = (part.split() for part in CONVENTIONS[convention].split("|"))
    names = (*left, *middle, *right)
    partners = mirror_partners(names)
    pairs = {names[k]: names[partner] for k, partner in enumerate(partners)}
    assert pairs == dict(zip(left, right, strict=True)) | dict(zip(right, left, strict=True)) | {
        name: name for name in middle
    }
    assert without_partner(names) is None


@pytest.mark.parametrize("alone", ["Left_Eye", "lefteye", "rightEyeBrow"])
def test_a_side_without_its_other_one_mirrors_nothing(alone):
    assert mirror_partners((alone, "nose", "left_a", "right_a")) is None
    assert without_partner((alone, "nose")) == alone


def test_a_missing_partner_is_one_sentence(write, tmp_path, capsys):
    path = write(lambda key_points: (("left_eye", "nose"), key_points[:, :2]))
    message = refused(capsys, build(path, tmp_path))
    assert f"{path} has the key point left_eye but no right_eye" in message and "add" in message


# --- load ---


def test_header_sets_the_points(five_csv, made):
    faces = load_training(five_csv)
    names, key_points = five_points(made.key_points)
    assert faces.names == names and faces.key_points.shape == (72, 5, 2)
    assert np.isnan(faces.key_points[::3, 2]).all()
    np.testing.assert_allclose(faces.key_points[1], key_points[1], atol=1e-4)
    # In another order the same columns are another set.
    table = pd.read_csv(five_csv)
    turned = five_csv.with_name("turned.csv")
    table[table.columns[::-1]].to_csv(turned, index=False)
    other = load_training(turned)
    assert other.names == names[::-1] and fingerprint(other) != fingerprint(faces)
    np.testing.assert_array_equal(other.key_points, faces.key_points[:, ::-1])


def test_some_of_kaggles_points_are_kaggles_15(write):
    path = write(lambda key_points: (KEY_POINTS[:3], key_points[:, :3]))
    faces = load_faces(path)
    assert faces.names == KEY_POINTS
    assert np.isfinite(faces.key_points[:, :3]).all() and np.isnan(faces.key_points[:, 3:]).all()
    more = write(lambda key_points: (("chin", *KEY_POINTS[:3]), key_points[:, 10:14]))
    assert load_faces(more).names == ("chin", *KEY_POINTS[:3])


def test_equal_points_by_other_names_are_other_data(made):
    faces = made._replace(names=tuple(f"p{k}" for k in range(15)))
    assert fingerprint(faces) != fingerprint(made)
    assert mark_second_source(faces) is faces  # Kaggle's two sources are Kaggle's only


BAD_TABLES = {
    "half a pair": (lambda t: t.drop(columns="nose_y"), "only one of nose_x and nose_y"),
    "twice": (lambda t: t.rename(columns={"nose_y": "nose_x"}), "two columns named nose_x"),
    "inf": (lambda t: t.assign(nose_x="inf"), "nose_x in row 1 .*'inf'"),
    "1e30": (lambda t: t.assign(nose_y="1e30"), "nose_y in row 1 .*1e"),
    "text": (lambda t: t.assign(left_mouth_x="abc"), "left_mouth_x in row 1 .*'abc'"),
    "alone": (lambda t: t.assign(size_x="3"), "only one of size_x and size_y"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_bad_columns_are_one_sentence(case, five_csv, tmp_path):
    refused_table(five_csv, tmp_path, *BAD_TABLES[case])


def test_a_further_file_gives_the_points_that_the_first_has(five_csv, training_csv, capsys):
    names = load_faces(five_csv).names
    faces = load_training(training_csv, names=names)
    assert faces.names == names
    kaggles = load_training(training_csv)
    np.testing.assert_array_equal(faces.key_points[:, :2], kaggles.key_points[:, :2])
    assert np.isnan(faces.key_points[:, 2:]).all()
    assert join_faces([load_training(five_csv), faces]).names == names
    (line,) = capsys.readouterr().out.splitlines()
    assert str(training_csv) in line and "nose_tip, " in line and "left_eye_center" not in line
    with pytest.raises(InputError, match="none of the model's key points .p0, p1.*rename"):
        load_training(training_csv, names=("p0", "p1"))


# --- model ---


def test_warm_start_keeps_the_body_and_the_points_it_knows():
    import keras

    initial = build_model()
    initial.set_weights([np.random.default_rng(0).random(w.shape) for w in initial.get_weights()])
    names = ("chin", "right_eye_center", "left_eye_center")
    keras.utils.set_random_seed(1)
    fresh = build_model(count=3)
    keras.utils.set_random_seed(1)
    started = warm_start(initial, KEY_POINTS, names)
    outputs = {name: tensor.shape for name, tensor in started.output.items()}
    assert outputs == {"key_points": (None, 6), "spread": (None, 3)}

    def weights(model, layer):
        return [np.moveaxis(w, POINT_AXIS[layer], 0) for w in model.get_layer(layer).get_weights()]

    for layer in POINT_AXIS:
        per_point = 2 if layer == "offsets" else 1
        for new, known, own in zip(
            *(weights(model, layer) for model in (started, initial, fresh)), strict=True
        ):
            parts = [part.reshape(-1, per_point, *part.shape[1:]) for part in (new, known, own)]
            np.testing.assert_array_equal(parts[0][1:], parts[1][[1, 0]])
            np.testing.assert_array_equal(parts[0][0], parts[2][0])
    body = [(a, b) for a, b in zip(started.weights, initial.weights, strict=True)]
    same = [np.array_equal(a, b) for a, b in body if a.path.split("/")[-2] not in POINT_AXIS]
    assert len(same) > 50 and all(same)
    # With the same points it is the same network.
    again = warm_start(initial, KEY_POINTS, KEY_POINTS)
    assert weights_digest(again) == weights_digest(initial)


def test_a_model_of_another_body_is_refused(five_csv, tmp_path, capsys):
    save_model(smallest_network(), tmp_path / "other.keras", {})
    status = build(five_csv, tmp_path, "--init", tmp_path / "other.keras")
    assert "other.keras has other layers" in refused(capsys, status)
    assert not (tmp_path / "m.keras").exists()


def test_names_of_a_model(tmp_path):
    from killing import tiny_model

    kaggles, two = tiny_model(), tiny_model(count=2)
    assert names_of(kaggles, {}) == KEY_POINTS
    assert names_of(two, {}) == ("point_1", "point_2")
    path = tmp_path / "m.keras"
    save_model(two, path, {"key_points": ["left_eye", "right_eye"]})
    assert names_of(*load_model(path)) == ("left_eye", "right_eye")
    for wrong in (["a"], ["a", "a"], ["left_eye", "nose"], 5, [1, 2]):
        save_model(two, path, {"key_points": wrong})
        with pytest.raises(InputError, match="m.json is not the JSON"):
            load_model(path)


# --- the scripts ---


@pytest.fixture(scope="module")
def few_csv(five_csv):
    """The first rows of the file of five points: enough for one step."""
    path = five_csv.with_name("few.csv")
    pd.read_csv(five_csv, nrows=30).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def five_model(loaded_once, few_csv, tmp_path_factory):
    """A training on five points that goes on from the shipped model: its folder."""
    folder = tmp_path_factory.mktemp("five")
    with pytest.MonkeyPatch.context() as patch:
        train_in_few_steps(patch)
        assert build(few_csv, folder, "--epochs", "1", "--init", SHIPPED) == 0
    return folder


@pytest.fixture
def two_faces(monkeypatch):
    """In each picture: many points on 48 faces take long to draw."""
    for room in (predictions, pictures_room):
        monkeypatch.setattr(room, "PER_PICTURE", 2)


def test_five_points_from_the_shipped_model(five_model, two_faces, few_csv, test_csv, made, capsys):
    model, record = load_model(five_model / "m.keras")
    names = five_points(made.key_points)[0]
    assert names_of(model, record) == names and record["settings"]["flip"] == 0.5
    outputs = {name: tensor.shape for name, tensor in model.output.items()}
    assert outputs == {"key_points": (None, 10), "spread": (None, 5)}
    held_out = record["data"][0]["validation_rows"]
    training = np.delete(load_training(few_csv).key_points, held_out, axis=0)
    np.testing.assert_allclose(record["mean_face"], np.nanmean(training, 0), atol=1e-3)

    results = five_model / "pictured"
    flags = ["--model", five_model / "m.keras", "--results", results, "--data", test_csv]
    assert use(*flags) == 0
    assert "of the inter-ocular distance" in capsys.readouterr().out
    table = pd.read_csv(results / "test_key_points.csv")
    assert table.columns.tolist() == ["ImageId", *output_columns(names)]
    pictures = load_faces(test_csv).pictures
    found, spread = predict(model, pictures, mirror=True, names=names)
    values = np.concatenate([found.reshape(len(found), -1), spread], 1)
    np.testing.assert_allclose(table[output_columns(names)], values, atol=2e-3)
    turned, _ = predict(model, pictures[:, :, ::-1], mirror=True, names=names)
    expected = mirror_key_points(turned, mirror_partners(names))
    np.testing.assert_allclose(found, expected, atol=1e-3)
    report = json.loads((results / "validation.json").read_text())
    assert list(report["per_key_point"]) == list(names)
    assert report["per_key_point"]["nose"]["faces"] < report["faces"] == len(held_out)
    written = {file.name for file in results.iterdir()}
    assert {"worst16_in_validation.png", "error_by_key_point.png", "calibration.png"} < written


def test_photos_by_another_model(five_model, made, tmp_path, capsys):
    names = five_points(made.key_points)[0]
    photo = Image.fromarray(made.pictures[0]).resize((384, 384), Image.Resampling.BICUBIC)
    photo.save(tmp_path / "face.png")
    flags = ["--image", tmp_path / "face.png", "--results", tmp_path, "--box", 0, 0, 384, 384]
    assert use("--model", five_model / "m.keras", *flags) == 0
    table = pd.read_csv(tmp_path / "key_points.csv")
    assert table.columns.tolist()[6:] == output_columns(names)
    assert Image.open(tmp_path / "face_key_points.png").size == (384, 384)
    # Without its record nobody knows how its faces were cropped.
    shutil.copy(five_model / "m.keras", tmp_path / "alone.keras")
    capsys.readouterr()
    assert "alone.json has no mean face" in refused(
        capsys, use("--model", tmp_path / "alone.keras", *flags)
    )


def test_a_model_of_one_point_says_that_faces_cannot_be_cropped_by_it(tmp_path, capsys):
    """It was told to train again, which never helped."""
    from killing import tiny_model

    Image.new("L", (50, 50)).save(tmp_path / "p.png")
    one, path = tiny_model(count=1), tmp_path / "m.keras"
    records = [{"key_points": ["nose"], "mean_face": [[48, 57]]}, {"key_points": ["nose"]}, {}]
    for record in records:
        save_model(one, path, record)
        message = refused(capsys, use("--model", path, "--image", tmp_path / "p.png"))
        assert "m.keras finds only one point of a face" in message
        assert "choose another model by --model, or train one on labels of more" in message
    # Or of several of which only one was ever labelled.
    record = {"key_points": ["nose", "chin"], "mean_face": [[48, 57], [None, None]]}
    save_model(tiny_model(count=2), path, record | {"never_labelled": ["chin"]})
    message = refused(capsys, use("--model", path, "--image", tmp_path / "p.png"))
    assert "finds only one point of a face" in message


def test_crops_lie_round_the_points_as_in_training(made):
    names, key_points = dense_points(made.key_points)
    record = {"mean_face": compute_mean_face(key_points)}
    mean_face = mean_face_of(record, names, ROOT / "m.keras")
    assert mean_face_of({}, KEY_POINTS, ROOT / "m.keras") is None
    # Moved, turned and scaled as a whole, the mean face lies where it was in the crop.
    crops = similarity_transforms(
        np.array([0.5, 3]), np.array([0.4, -2]), (48, 48), np.array([[7, 9], [300, 200]])
    )
    points = transform_points(np.stack([mean_face, mean_face]), crops)
    np.testing.assert_allclose(affines_from_points(points, mean_face), crops, atol=1e-9)
    # On average the training's own faces are cropped as they are.
    mean = affines_from_points(key_points, mean_face).mean(0)
    np.testing.assert_allclose(mean, [[1, 0, 0], [0, 1, 0]], atol=2e-3)
    # Points that were never labelled are left out.
    key_points[:, 5:9] = np.nan
    some = mean_face_of({"mean_face": compute_mean_face(key_points)}, names, ROOT / "m.keras")
    assert np.isnan(some[5:9]).all()
    points[:, 5:9] = 1e3
    np.testing.assert_allclose(affines_from_points(points, some), crops, atol=1e-9)
    for broken in ({}, {"mean_face": [[1, 2]]}, {"mean_face": [[1, 2]] * 68}):
        with pytest.raises(InputError, match="m.json has no mean face"):
            mean_face_of(broken, names, ROOT / "m.keras")


def test_68_points(tiny, two_faces, write, test_csv, made, tmp_path, capsys):
    path = write(dense_points)
    assert build(path, tmp_path) == 0
    names = dense_points(made.key_points)[0]
    assert f"68 key points by the header of {path}: chin, " in capsys.readouterr().out
    flags = ["--model", tmp_path / "m.keras", "--results", tmp_path, "--data", test_csv]
    assert use(*flags) == 0
    report = json.loads((tmp_path / "validation.json").read_text())
    assert list(report["per_key_point"]) == list(names)
    assert report["normalised_by"] == "bounding box diagonal"
    assert len(pd.read_csv(tmp_path / "test_key_points.csv").columns) == 1 + 3 * 68
    table = tmp_path / "table.csv"
    table.write_text("RowId,ImageId,FeatureName\n1,3,nose_tip_x\n")
    message = refused(capsys, use(*flags, "--submission", table))
    assert "m.keras finds other key points than Kaggle's 15" in message


def test_points_without_sides_are_not_mirrored(tiny, sketched, write, test_csv, tmp_path, capsys):
    path = write(numbered_points)
    assert build(path, tmp_path) == 0
    assert "not mirrored" in capsys.readouterr().out
    record = json.loads((tmp_path / "m.json").read_text())
    assert record["settings"]["flip"] == 0
    score = record["results"]["validation"][0]
    assert score["rmse_px"] == score["rmse_mirrored_px"]
    flags = ["--model", tmp_path / "m.keras", "--results", tmp_path, "--data", test_csv]
    tables = []
    for mirror in ("--mirror", "--no-mirror"):
        assert use(*flags, mirror) == 0
        tables.append((tmp_path / "test_key_points.csv").read_bytes())
    assert tables[0] == tables[1] and tables[0].startswith(b"ImageId,p0_x,p0_y,p1_x")
    # A Kaggle file where the own one was is said not to fit.
    other = write(lambda key_points: (KEY_POINTS, key_points))
    message = refused(capsys, use(*flags, "--training", other))
    assert f"{other} has none of the model's key points (p0, p1, " in message


def test_share_of_the_bounding_box_where_there_are_no_eyes():
    truth = np.array([[[0, 0], [30, 40]], [[5, 5], [5, 5]], [[0, np.nan], [1, 1]]], np.float32)
    report = measure(truth + [3, 4], truth, ("a", "b"))
    assert report["nme"] == pytest.approx(0.1)  # 5 of 50 px; the others have no size
    assert report["normalised_by"] == "bounding box diagonal"


def test_other_parts_have_a_colour_of_their_own():
    assert style_of("left_jaw_3") == (OTHER, ">", "other, left")
    assert style_of("p7") == (OTHER, "o", "other")
    assert (
        style_of("lefteye")[2] == "eye, left" and style_of("RIGHT_EYEBROW")[2] == "eyebrow, right"
    )
    assert style_of("Upper_Lip")[2] == "mouth" and style_of("mouth_l")[2] == "mouth, left"
