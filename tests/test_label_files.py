"""face_key_points.py --image --labels, and the loop: photos, labels, corrections, a model."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT, write_csv
from killing import tiny_model
from labels import detections, make_photos, write_pts
from PIL import Image

import face_key_points as fkp
import model_builder as mb
from data.formats.read import read_labels
from data.key_points import KEY_POINTS
from models import choose, storage
from models.detect import search
from models.detect.search import Detections
from models.detect.settings import DEFAULTS, FREE
from models.storage import Landmarker
from results import photos as searched
from results.held_out import held_out_faces
from results.label_files import FORMATS, LabelFiles
from results.predictions import load_test_faces


def run(module, *arguments):
    return module.main([str(argument) for argument in arguments])


@pytest.fixture
def album(tmp_path, monkeypatch, drawn_once):
    """A folder of 12 photos with two faces each, and a finder that knows them: no network.

    The later a photo, the larger its spread. Returns the folder and each photo's points.
    """
    paths, points = make_photos(tmp_path / "my_photos", drawn_once(72, seed=8).take(np.arange(24)))
    model = Landmarker(None, {"key_points": KEY_POINTS}, tmp_path / "m.keras")
    monkeypatch.setattr(searched, "load_for_photos", lambda path: model)
    monkeypatch.setattr(searched, "save_annotated", lambda *_: None)
    left = dict(zip(sorted(paths), (points[paths.index(p)] for p in sorted(paths)), strict=True))
    answers = iter(enumerate(left.values()))

    def detect(*_):
        i, found = next(answers)
        return detections(found, KEY_POINTS, 0.5 + 0.1 * i)

    monkeypatch.setattr(searched, "detect", detect)
    return tmp_path / "my_photos", left


@pytest.mark.parametrize("kind", FORMATS)
def test_labels_are_written_beside_links_and_not_into_the_photos_folder(
    kind, album, tmp_path, capsys
):
    folder, points = album
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert run(fkp, "--image", folder, "--results", tmp_path / "r", "--labels", kind) == 0
    assert "24 face(s) in 12 photos to correct" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    read = read_labels(tmp_path / "r" / "labels")
    assert {photo.photo.resolve() for photo in read.photos} == {p.resolve() for p in before}
    for photo in read.photos:
        truth = points[photo.photo.resolve()]
        np.testing.assert_allclose([face.points for face in photo.faces], truth, atol=0.01)
    if kind != "yolo":  # least certain first
        assert [p.photo.resolve() for p in read.photos] == list(points)[::-1]


def test_labels_that_may_be_corrected_are_not_overwritten(album, tmp_path, capsys):
    (tmp_path / "r" / "labels").mkdir(parents=True)
    (tmp_path / "r" / "labels" / "a.json").write_text("corrected")
    command = "--image", album[0], "--results", tmp_path / "r", "--labels", "coco"
    assert run(fkp, *command) == 2
    assert "may hold corrections" in capsys.readouterr().err
    assert (tmp_path / "r" / "labels" / "a.json").read_text() == "corrected"
    with pytest.raises(SystemExit):
        run(fkp, "--labels", "coco")
    assert "--labels needs --image" in capsys.readouterr().err


def test_points_above_the_limit_are_marked_and_photos_without_faces_come_last(tmp_path):
    points = np.linspace(10, 90, 30).reshape(1, 15, 2)
    none = Detections(np.empty((0, 15, 2)), np.empty((0, 15)), KEY_POINTS, None)
    found = detections(points, KEY_POINTS, np.where(np.arange(15) == 3, 9.0, 1.0))
    for kind in ("labelme", "coco"):
        files = LabelFiles(tmp_path / kind, kind, KEY_POINTS)
        for name, faces in (("empty", none), ("face", found)):
            Image.new("RGB", (100, 100)).save(tmp_path / f"{name}.png")
            files.add(tmp_path / f"{name}.png", (100, 100), faces)
        files.write()
    (first, last) = sorted((tmp_path / "labelme").glob("*.json"))
    assert (first.name, last.name) == ("1_face.json", "2_empty.json")
    shapes = json.loads(first.read_text())["shapes"]
    hidden = [shape["label"] for shape in shapes if shape["flags"]]
    assert hidden == [KEY_POINTS[3]] and shapes[4]["spread"] == 9.0
    assert json.loads(last.read_text())["shapes"] == []
    coco = json.loads((tmp_path / "coco" / "key_points.json").read_text())
    assert [image["file_name"] for image in coco["images"]] == ["face.png", "empty.png"]
    assert coco["annotations"][0]["keypoints"][2::3].count(1) == 1
    assert coco["annotations"][0]["spread"][3] == 9.0


def test_a_free_models_points_are_marked_by_its_own_limit(tmp_path):
    """With the free weights a face's spread must be lower, and so must a point's."""
    points = np.linspace(10, 90, 30).reshape(1, 15, 2)
    between = (FREE.max_spread + DEFAULTS.max_spread) / 2
    found = detections(points, KEY_POINTS, np.where(np.arange(15) == 3, between, 1.0))
    Image.new("RGB", (100, 100)).save(tmp_path / "face.png")
    marked = {}
    for name, settings in (("research", DEFAULTS), ("free", FREE)):
        files = LabelFiles(tmp_path / name, "coco", KEY_POINTS, settings)
        files.add(tmp_path / "face.png", (100, 100), found)
        files.write()
        coco = json.loads((tmp_path / name / "key_points.json").read_text())
        marked[name] = coco["annotations"][0]["keypoints"][2::3].count(1)
    assert marked == {"research": 0, "free": 1}


def test_a_box_is_judged_by_the_limit_for_the_size_of_its_face():
    """Small faces have a lower limit: between both limits only a large one passes."""
    between = (FREE.max_spread + FREE.max_spread_small) / 2
    points, spread = np.linspace(10, 90, 30).reshape(1, 15, 2), np.full(15, between)
    said = {}
    for name, size in (("small", 0.2), ("large", 2)):
        found = detections(size * points, KEY_POINTS, spread)
        assert (found.boxes[0, 2] < FREE.small_side) == (name == "small")
        said[name] = searched.say_found(found, SimpleNamespace(box=[0, 0, 9, 9]), FREE)
    assert said["large"] == "1 face(s)"
    assert said["small"].endswith(f"faces below {FREE.max_spread_small:g}")


def test_photos_of_one_name_and_of_kinds_that_programs_do_not_read_are_placed(tmp_path):
    points = np.linspace(10, 90, 30).reshape(1, 15, 2)
    for kind in FORMATS:
        files = LabelFiles(tmp_path / kind, kind, KEY_POINTS)
        for folder, ending in (("a", "webp"), ("b", "webp"), ("b", "png")):
            path = tmp_path / folder / f"one.{ending}"
            path.parent.mkdir(exist_ok=True)
            Image.new("RGB", (100, 100)).save(path)
            files.add(path, (100, 100), detections(points, KEY_POINTS))
        files.write()
        read = read_labels(tmp_path / kind)
        assert len({photo.photo for photo in read.photos}) == 3
        assert all(photo.photo.is_file() for photo in read.photos)
        if kind != "coco":
            assert {photo.photo.suffix for photo in read.photos} == {".jpg", ".png"}


def test_the_loop_from_photos_to_a_better_model(
    album, tmp_path, monkeypatch, capsys, sketched, tiny
):
    """Every command of data/README.md but `labelme`, in whose place a JSON is edited.

    With a network of 1,000 weights in the place of the shipped one.
    """
    folder, _ = album
    document = (ROOT / "data" / "README.md").read_text()
    loop = re.search(r"(?:^    .*\n)*^    labelme .*\n(?:^    .*\n)*", document, flags=re.M)[0]
    results, model = tmp_path / "results", tmp_path / "models" / "my_model.keras"
    model.parent.mkdir()
    places = {"my_photos/": folder, "results/labels": results / "labels"}
    initial = tmp_path / "models" / "initial.keras"
    storage.save_model(tiny_model(), initial, {"key_points": KEY_POINTS})
    places["models/pretrained.keras"], places["models/my_model.keras"] = initial, model
    commands = [
        [places.get(word, word) for word in line.split("#")[0].split()]
        for line in loop.strip().splitlines()
    ]
    assert [str(words[0]).split("/")[-1] for words in commands] == ["python", "labelme"] + [
        "python"
    ] * 2
    find, label, train, again = commands
    assert run(fkp, *find[2:], "--results", results) == 0
    assert label[1:] == [results / "labels"]
    corrected = results / "labels" / "01_photo_9.json"
    shapes = json.loads(corrected.read_text())
    shapes["shapes"][1]["points"] = [[111.0, 77.0]]
    corrected.write_text(json.dumps(shapes))
    assert train[1] == "model_builder.py"
    few = "--dry-run", "--epochs", "1", "--precision", "float32"
    assert run(mb, *train[2:], "--model", model, "--results", tmp_path / "t", *few) == 0
    record = json.loads(model.with_suffix(".json").read_text())
    assert record["data"][0]["faces"] == 24 and record["labels"]["images"] is None
    mean_face = np.array(record["mean_face"])
    assert mean_face.shape == (15, 2) and np.abs(mean_face.mean(0) - 48).max() < 3
    for module, name in ((choose, "load_for_photos"), (search, "detect")):
        monkeypatch.setattr(searched, name, getattr(module, name))  # now the real search
    assert again[1] == "face_key_points.py"
    photo = next(iter(folder.iterdir()))
    assert run(fkp, "--image", photo, *again[2:4], "--results", tmp_path / "again") == 0
    assert (tmp_path / "again" / "key_points.csv").exists()
    # The held-out faces are found again in the labels.
    capsys.readouterr()
    assert run(fkp, *again[2:4], "--data", results / "labels", "--results", tmp_path / "held") == 0
    assert f"on {len(record['data'][0]['validation_rows'])} faces" in capsys.readouterr().out
    header, *rows = (tmp_path / "held" / "test_key_points.csv").read_text().splitlines()
    assert len(rows) == 24 and rows[0].startswith('"01_photo_9.jpg, face 1"')


def test_all_formats_and_a_csv_train_one_model(tiny, made, tmp_path, capsys):
    """One command for four formats and a CSV; then the held-out and the test faces are found."""
    data = [write_csv(tmp_path / "a.csv", made.pictures[:12], made.key_points[:12])]
    for kind, first in (("coco", 12), ("labelme", 24), ("yolo", 36)):
        photos, points = make_photos(
            tmp_path / "photos" / kind, made.take(range(first, first + 12))
        )
        files = LabelFiles(tmp_path / kind, kind, KEY_POINTS)
        for path, found in zip(photos, points, strict=True):
            files.add(path, Image.open(path).size, detections(found, KEY_POINTS))
        files.write()
        data.append(tmp_path / kind)
    pts = tmp_path / "pts"
    for path, found in zip(*make_photos(pts, made.take(range(48, 60)), per_photo=1), strict=True):
        write_pts(path.with_suffix(".pts"), found[0])
    names = tmp_path / "names.txt"
    names.write_text("\n".join(KEY_POINTS))
    model = tmp_path / "models" / "m.keras"
    places = "--model", model, "--points", names
    few = "--epochs", "1", "--precision", "float32", "--batch-size", "16"
    command = "--data", *data, pts, *places, "--results", tmp_path / "t", *few
    assert run(mb, *command) == 0, capsys.readouterr().err
    record = json.loads(model.with_suffix(".json").read_text())
    assert [file["faces"] for file in record["data"]] == [12] * 5
    assert record["labels"]["points"] == str(names)
    for path, file in zip(data[1:] + [pts], record["data"][1:], strict=True):
        held_out = held_out_faces(record, model, KEY_POINTS, path)
        assert held_out.rows.tolist() == file["validation_rows"]
    faces = next(iter(load_test_faces(pts)))
    assert faces.pictures.shape == (12, 96, 96) and faces.image_ids[0] == "photo_0.jpg, face 1"
