"""data/formats: labelled photos in four formats are read alike; what is wrong is one sentence."""

import base64
import json
import re
import sys
import weakref

import numpy as np
import pytest
from conftest import write_csv
from labels import detections, make_photos, write_pts
from PIL import Image

from data.faces import load_faces, load_training
from data.formats import crop
from data.formats import labels as formats
from data.formats.labels import LabelOptions
from data.formats.mean_face import KAGGLES, affines_from_labels, mean_face_in_crop
from data.formats.read import has_photos, read_labels
from data.images.crops import CENTER, RADIUS, affines_from_points
from data.key_points import KEY_POINTS, PARTNERS, SIXTY_EIGHT, compute_mean_face, mirror_partners
from data.labels.training_files import check_labels, load_files
from data.split import split_faces
from data.system.files import InputError
from results.label_files import FORMATS, LabelFiles


@pytest.fixture(scope="module")
def photos(tmp_path_factory, drawn_once):
    """Six photos of two faces each, in a folder; and each one's key points (2, 15, 2)."""
    faces = drawn_once(72, seed=8).take(np.arange(12))
    return make_photos(tmp_path_factory.mktemp("photos"), faces)


@pytest.fixture
def labelled(photos, tmp_path):
    """A function that writes the photos' labels in a format; returns the folder."""

    def write(kind):
        files = LabelFiles(tmp_path / kind, kind, KEY_POINTS)
        for path, points in zip(*photos, strict=True):
            spread = np.where(np.array(KEY_POINTS) == "nose_tip", 6.0, 1.0)
            files.add(path, Image.open(path).size, detections(points, KEY_POINTS, spread))
        files.write()
        return tmp_path / kind

    return write


def edit(path, change):
    """Change a JSON; returns its path."""
    document = json.loads(path.read_text())
    path.write_text(json.dumps(change(document) or document))
    return path


def refused(path, *words, options=formats.AS_USUAL):
    """Assert that labels are refused in one sentence with these words."""
    with pytest.raises(InputError) as caught:
        load_faces(path, options)
    said = str(caught.value)
    assert "\n" not in said and said.endswith(".")
    for word in words:
        assert str(word) in said


def left_out(path, capsys, used, *words):
    """Assert that so many faces are read, and that one sentence says why others are not."""
    capsys.readouterr()
    assert len(load_faces(path).rows) == used
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("left out")]
    assert len(said) == 1 and said[0].endswith(".")
    for word in words:
        assert str(word) in said[0]


# --- all formats ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FORMATS)
def test_points_names_visibility_and_boxes_come_back_from_each_format(kind, photos, labelled):
    read = read_labels(labelled(kind))
    paths, points = photos
    assert read.names == KEY_POINTS and not read.problems.found
    assert len(read.photos) == len(paths)
    for photo in read.photos:
        index = [path.resolve() for path in paths].index(photo.photo.resolve())
        boxes = detections(points[index], KEY_POINTS).boxes
        for face, truth, box in zip(photo.faces, points[index], boxes, strict=True):
            np.testing.assert_allclose(face.points, truth, atol=0.01)
            assert face.visibility.tolist() == [1 if n == "nose_tip" else 2 for n in KEY_POINTS]
            np.testing.assert_allclose(face.box, box, atol=0.01)
            if kind != "yolo":
                assert face.spread.tolist() == [6.0 if n == "nose_tip" else 1.0 for n in KEY_POINTS]


@pytest.mark.parametrize("kind", FORMATS)
def test_faces_are_cropped_as_the_csv_of_the_same_faces_has_them(kind, drawn_once, labelled):
    """About: the crop is placed by the points, theirs was by the camera."""
    made, faces = drawn_once(72, seed=8).take(np.arange(12)), load_training(labelled(kind))
    points = np.array(compute_mean_face(faces.key_points))
    assert np.abs(points - np.array(list(KAGGLES.values()))).max() < 4
    alike = []
    for picture, label in zip(faces.pictures, faces.image_ids, strict=True):
        photo, face = re.fullmatch(r".*photo_(\d)\.jpg, face (\d)", label).groups()
        other = made.pictures[2 * int(photo) + int(face) - 1]
        alike.append(np.corrcoef(picture.ravel(), other.ravel())[0, 1])
    assert np.median(alike) > 0.6


def test_the_faces_of_a_photo_stay_on_one_side_of_the_split(labelled):
    faces = load_training(labelled("labelme"))
    assert len(set(faces.identities)) == 6
    sides = [set(faces.identities[side]) for side in split_faces(faces, 0.3)]
    assert all(sides) and not sides[0] & sides[1]


def test_labelled_photos_and_csvs_mix(labelled, made, tmp_path):
    csv = write_csv(tmp_path / "more.csv", made.pictures[:20], made.key_points[:20])
    for order in ([labelled("coco"), csv], [csv, labelled("yolo")]):
        files = load_files(order, complete_only=False)
        check_labels(files)
        assert sorted(len(file.rows) for file in files) == [12, 20]
        assert {file.names for file in files} == {KEY_POINTS}


def test_a_message_about_a_label_names_the_photo(labelled):
    folder = labelled("labelme")
    edit(folder / "3_photo_2.json", lambda d: d["shapes"][1].update(points=[[10.0, 10.0]]))
    faces = load_training(folder)
    faces.key_points[4, 0] = (0, 0)
    with pytest.raises(InputError, match="3_photo_2.jpg, face 1 say"):
        check_labels([faces])


def test_only_one_photo_is_in_memory_at_a_time(labelled, monkeypatch):
    read, kept, most = crop.read_photo, [], []

    def watched(path, **options):
        photo = read(path, **options)
        kept.append(weakref.ref(photo))
        most.append(sum(reference() is not None for reference in kept))
        return photo

    monkeypatch.setattr(crop, "read_photo", watched)
    assert len(load_faces(labelled("coco")).rows) == 12
    assert most == [1] * 6


# --- the crop ------------------------------------------------------------------------------------


def test_kaggles_points_are_cropped_as_the_search_crops_them(made):
    photos = made.key_points.astype(float) * 3 + 50
    mean_face = mean_face_in_crop(photos, KEY_POINTS)
    center = mean_face.mean(0)
    radius = np.sqrt(((mean_face - center) ** 2).sum(1).mean())
    np.testing.assert_allclose(center, CENTER, atol=0.6)
    assert abs(radius - RADIUS) < 0.5
    affines = affines_from_labels(photos, mean_face, np.full((len(photos), 4), np.nan))
    assert not affines[:, 0, 1].any() and not affines[:, 1, 0].any()
    searched = affines_from_points(photos)
    scales = np.sqrt(np.linalg.det(searched[:, :, :2]))
    np.testing.assert_allclose(affines[:, 0, 0], scales, rtol=0.02)


def test_faces_that_lack_points_are_cropped_as_if_they_had_them(made):
    photos = made.key_points.astype(float) * 3 + 50
    mean_face = mean_face_in_crop(photos, KEY_POINTS)
    none = np.full((len(photos), 4), np.nan)
    whole = affines_from_labels(photos, mean_face, none)
    photos[::2, 6:10] = np.nan
    np.testing.assert_allclose(mean_face_in_crop(photos, KEY_POINTS), mean_face, atol=2)
    lacking = affines_from_labels(photos, mean_face, none)
    np.testing.assert_allclose(lacking[:, 0, 0], whole[:, 0, 0], rtol=0.2)
    assert np.abs(lacking[:, 0, 0] / whole[:, 0, 0] - 1).mean() < 0.04


def test_too_few_points_are_cropped_by_the_box_and_without_one_left_out(made):
    photos = made.key_points[:3].astype(float)
    mean_face = mean_face_in_crop(photos, KEY_POINTS)
    photos[1:, 1:] = np.nan  # an eye is left
    boxes = np.array([[np.nan] * 4, [10, 20, 192, 192], [np.nan] * 4])
    affines = affines_from_labels(photos, mean_face, boxes)
    np.testing.assert_allclose(affines[1], [[2, 0, 10.5], [0, 2, 20.5]])
    assert np.isfinite(affines[0]).all() and np.isnan(affines[2]).all()


@pytest.mark.parametrize(
    "names", [("left_eye", "right_eye", "nose", "mouth_left", "mouth_right"), tuple("abcde")]
)
def test_points_of_other_names_lie_about_where_kaggles_do(names, made):
    which = [KEY_POINTS.index(f"{side}_eye_center") for side in ("left", "right")]
    which += [KEY_POINTS.index(n) for n in ("nose_tip", "mouth_left_corner", "mouth_right_corner")]
    mean_face = mean_face_in_crop(made.key_points[:, which].astype(float) * 4, names)
    usual = np.array(list(KAGGLES.values()))[which]
    assert np.abs(mean_face - usual).max() < (3 if "nose" in names else 20)


# --- LabelMe -------------------------------------------------------------------------------------


def test_labelme_without_groups_is_one_face_and_backslashes_are_folders(photos, tmp_path):
    paths, points = photos
    folder = tmp_path / "one"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a.jpg").write_bytes(paths[0].read_bytes())
    shapes = [
        {"label": name, "points": [(place + 0.5).tolist()], "shape_type": "point"}
        for name, place in zip(KEY_POINTS, points[0][0], strict=True)
    ]
    document = {"shapes": shapes, "imagePath": "sub\\a.jpg", "imageData": None}
    (folder / "a.json").write_text(json.dumps(document))
    (photo,) = read_labels(folder).photos
    np.testing.assert_allclose(photo.faces[0].points, points[0][0], atol=1e-6)
    assert photo.faces[0].box is None and len(load_faces(folder).rows) == 1
    corner = read_labels(folder, LabelOptions(pixel_origin="center")).photos[0].faces[0].points
    np.testing.assert_allclose(corner, points[0][0] + 0.5, atol=1e-6)


def test_x_anylabelings_own_files_are_read(photos, labelled):
    """Its rectangles have four corners, and `difficult` is what is hidden."""
    folder = labelled("labelme")
    before = read_labels(folder).photos[0]

    def change(document):
        for shape in document["shapes"]:
            if shape["shape_type"] == "rectangle":
                (left, top), (right, bottom) = shape["points"]
                shape["points"] = [[left, top], [right, top], [right, bottom], [left, bottom]]
            shape.update(difficult=shape.pop("flags").pop("hidden", False), flags={})

    edit(before.labels, lambda document: (change(document), None)[1])
    for face, same in zip(before.faces, read_labels(folder).photos[0].faces, strict=True):
        np.testing.assert_allclose(face.box, same.box, atol=1e-9)
        assert face.visibility.tolist() == same.visibility.tolist() and 1 in same.visibility


def test_labelmes_image_data_is_read(photos, labelled):
    folder = labelled("labelme")
    data = base64.b64encode(photos[0][5].read_bytes()).decode()
    for file in folder.glob("*.jpg"):
        file.unlink()
    change = lambda document: document.update(imageData=data)  # noqa: E731
    for file in folder.glob("*.json"):
        edit(file, change)
    assert len(load_faces(folder).rows) == 12
    edit(file, lambda document: document.update(imageData="bm8="))
    assert read_labels(folder).photos[0].embedded


def test_labels_belong_to_the_upright_photo(photos, labelled):
    """A photo that its EXIF note turns by 90 degrees gives the same faces as an upright one."""
    folder = labelled("labelme")
    upright = load_faces(folder)
    for file in folder.glob("*.jpg"):
        with Image.open(file) as opened:
            turned = opened.transpose(Image.Transpose.ROTATE_90)
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned clockwise
        file.unlink()
        turned.save(file, quality=95, exif=exif)
    faces = load_faces(folder)
    np.testing.assert_array_equal(faces.key_points, upright.key_points)
    assert np.abs(faces.pictures.astype(int) - upright.pictures).mean() < 2


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda d: d["shapes"][2].update(label=d["shapes"][1]["label"]), ("two points named",)),
        (lambda d: [s.update(group_id=1) for s in d["shapes"]], ("two points named", "group_id")),
        (lambda d: d["shapes"][3].update(group_id=None), ("has no group_id",)),
        (lambda d: d["shapes"][3].update(points=[]), ("has no coordinates",)),
        (lambda d: d["shapes"][3].update(points=[["a", 2]]), ("not numbers",)),
        (lambda d: d["shapes"][3].update(points=[[1e300, 2]]), ("outside any photo",)),
        (lambda d: d["shapes"][3].update(group_id=[1]), ("group_id that is not a number",)),
        (lambda d: d["shapes"][3].update(points=[[5000, 9]]), ("far from the other points",)),
        (lambda d: [s.update(points=[[9e3, 9e3]]) for s in d["shapes"][1:16]], ("is outside",)),
        (lambda d: d.update(imageHeight=d["imageWidth"], imageWidth=d["imageHeight"]), ("EXIF",)),
        (lambda d: d.update(imageHeight=99), ("was labelled with", "scaled or cropped")),
        (lambda d: d.update(imagePath="gone.jpg"), ("gone.jpg is not at",)),
        (lambda d: d.update(imageData="bm8="), ("imageData that is not a picture",)),
        (lambda d: d.pop("shapes"), ("is not LabelMe's",)),
        (lambda d: ["not an object"], ("not an object",)),
    ],
)
def test_a_bad_labelme_file_is_left_out_in_one_sentence(change, words, labelled, capsys):
    folder = labelled("labelme")
    path = edit(folder / "2_photo_1.json", lambda document: (change(document), None)[1])
    if words == ("not an object",):
        path.write_text('["no object"]')
    left_out(folder, capsys, 10, path, *words)


def test_of_many_bad_files_a_few_are_printed(labelled, capsys):
    folder = labelled("labelme")
    for i in range(40):
        (folder / f"broken_{i}.json").write_text("{")
    assert len(load_faces(folder).rows) == 12
    said = capsys.readouterr().out
    assert said.count("is not JSON") == formats.SHOWN
    assert "40 of at most 46 photos are left out" in said


def test_a_folder_of_bad_files_only_is_refused(tmp_path):
    (tmp_path / "a.json").write_text("{")
    refused(tmp_path, tmp_path, "no face that can be used", "is not JSON")


# --- COCO ----------------------------------------------------------------------------------------


@pytest.fixture
def coco(labelled):
    return labelled("coco") / "key_points.json"


def test_photos_may_lie_elsewhere(coco, photos, tmp_path):
    edit(coco, lambda document: document.pop("info") and None)
    refused(coco, "is not at", "--images")
    options = LabelOptions(images=photos[0][0].parent)
    assert len(load_faces(coco, options).rows) == 12
    recorded = LabelOptions().or_recorded({"labels": options.as_record()})
    assert len(load_faces(coco, recorded).rows) == 12


def test_a_point_with_v_0_is_not_labelled(coco):
    def change(document):
        document["annotations"][0]["keypoints"][:3] = [0, 0, 0]

    faces = load_faces(edit(coco, change))
    assert np.isnan(faces.key_points).all(2).sum() == 1


def test_names_of_ones_own_are_the_key_points(coco):
    names = tuple(f"Point {i}, so" for i in range(15))
    edit(coco, lambda document: document["categories"][0].update(keypoints=names))
    assert load_faces(coco).names == names


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda a, d: a["keypoints"].pop(), ("44 numbers instead of 45",)),
        (lambda a, d: a["keypoints"].__setitem__(2, 3), ("v = 3",)),
        (lambda a, d: a["keypoints"].__setitem__(0, None), ("v = 2", "without coordinates")),
        (lambda a, d: a["keypoints"].__setitem__(slice(0, 2), [0, 0]), ("without coordinates",)),
        (lambda a, d: a.update(keypoints=5), ("not numbers",)),
        (lambda a, d: a.update(keypoints=[v + 5000 for v in a["keypoints"]]), ("v = 5002",)),
        (lambda a, d: a.update(keypoints=[5000, 5000, 2] * 15), ("is outside the photo",)),
        (lambda a, d: [b.update(image_id=[1]) for b in d["annotations"][:2]], ("image None",)),
        (lambda a, d: d["images"][0].update(width=77), ("labelled with 77x",)),
        (lambda a, d: d["images"][0].update(file_name="x.jpg"), ("x.jpg is not at",)),
        (lambda a, d: d["images"].pop(0), ("not in the list of images",)),
        (lambda a, d: d["images"][0].pop("file_name"), ("without file_name",)),
    ],
)
def test_a_bad_annotation_is_left_out_in_one_sentence(change, words, coco, capsys):
    edit(coco, lambda document: change(document["annotations"][0], document) and None)
    if words == ("without file_name",):
        edit(coco, lambda d: d.update(annotations=[a for a in d["annotations"] if a["id"] > 2]))
    left_out(coco, capsys, 10, coco, *words)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda d: d["categories"][0].pop("keypoints"), ("does not name", "--points")),
        (lambda d: d["categories"].clear(), ("does not name", "--points")),
        (lambda d: d.update(categories={"id": 1}), ("does not name", "--points")),
        (lambda d: d["annotations"].clear(), ("no annotation with keypoints",)),
        (lambda d: d.pop("images"), ("no lists of images and annotations",)),
        (lambda d: d["categories"][0]["keypoints"].__setitem__(0, "nose_tip"), ("two key points",)),
        (
            lambda d: (
                d["categories"].append({"id": 2, "keypoints": ["a", "b"]}),
                d["annotations"][0].update(category_id=2),
            ),
            ("two skeletons", "2 points (a, b)", "15 points"),
        ),
    ],
)
def test_a_bad_coco_file_is_refused_in_one_sentence(change, words, coco):
    edit(coco, lambda document: (change(document), None)[1])
    refused(coco, coco, *words)


def test_names_from_a_file_take_the_place_of_a_categorys(coco, tmp_path):
    edit(coco, lambda document: document["categories"][0].pop("keypoints") and None)
    (tmp_path / "names.txt").write_text("\n".join(KEY_POINTS) + "\n\n")
    options = LabelOptions(points=tmp_path / "names.txt")
    assert load_faces(coco, options).names == KEY_POINTS
    (tmp_path / "names.txt").write_text("a\nb\n")
    refused(coco, "2 names", "15 key points", options=options)


# --- Label Studio --------------------------------------------------------------------------------


def task_of(path, faces, number):
    """A task of Label Studio's export for a photo with these faces (n, 15, 2)."""
    width, height = Image.open(path).size
    results = []

    def add(kind, label, x, y, **more):
        value = {"x": x / width * 100, "y": y / height * 100, kind: [label], "rotation": 0}
        more["value"] = value | more.get("value", {})
        size = {"original_width": width, "original_height": height, "image_rotation": 0}
        results.append({"type": kind, "id": f"r{len(results)}", "origin": "manual"} | size | more)

    for points in faces:
        x, y, w, h = detections(points[None], KEY_POINTS).boxes[0]
        size = {"width": w / width * 100, "height": h / height * 100}
        add("rectanglelabels", "Face", x, y, value=size)
        parent = results[-1]["id"]
        for name, place in zip(KEY_POINTS, points + 0.5, strict=True):
            add("keypointlabels", name, *place, parentID=parent, value={"width": 0.4})
    results.append({"type": "choices", "value": {"choices": ["sharp"]}})
    address = (f"/data/upload/3/0123abcd-{path.name}", f"/data/local-files/?d=in%20a/{path.name}")
    cancelled = {"result": results[:4], "was_cancelled": True}
    annotations = [{"result": []}, {"result": results, "was_cancelled": False}, cancelled]
    return {"id": number, "annotations": annotations, "data": {"image": address[number % 2]}}


@pytest.fixture
def studio(photos, tmp_path):
    """Label Studio's export of the photos, in a folder of its own."""
    tasks = [task_of(*labelled, i) for i, labelled in enumerate(zip(*photos, strict=True))]
    path = tmp_path / "studio" / "project-3.json"
    path.parent.mkdir()
    path.write_text(json.dumps([*tasks, {"id": 9, "annotations": [], "data": {}}]))
    return path


def test_label_studios_json_is_read(studio, photos):
    options = LabelOptions(images=photos[0][0].parent)
    for path in (studio, studio.parent):
        read = read_labels(path, options)
        assert read.names == KEY_POINTS and not read.problems.found
        for photo, points, source in zip(read.photos, photos[1], photos[0], strict=True):
            assert photo.photo == source
            boxes = detections(points, KEY_POINTS).boxes
            for face, truth, box in zip(photo.faces, points, boxes, strict=True):
                np.testing.assert_allclose(face.points, truth, atol=1e-6)
                np.testing.assert_allclose(face.box, box, atol=1e-6)
    assert len(load_faces(studio, options).rows) == 12


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda task, r: task.pop("annotations"), ("has no annotations",)),
        (lambda task, r: task.update(data=["a.jpg"]), ("which photo",)),
        (lambda task, r: task["data"].update(image="gone.jpg"), ("gone.jpg is not at",)),
        (lambda task, r: r[4].update(image_rotation=90), ("was turned",)),
        (lambda task, r: r[4].pop("original_width"), ("original_width",)),
        (lambda task, r: r[4].pop("parentID"), ("left_eye_outer_corner has no parentID",)),
        (lambda task, r: r[4]["value"].update(x=None), ("has no coordinates",)),
        (lambda task, r: r[4]["value"].update(x="left"), ("not numbers",)),
        (lambda task, r: r[4]["value"].update(keypointlabels=[]), ("point without a label",)),
        (lambda task, r: r[4]["value"].update(keypointlabels=[5]), ("without a label",)),
        (lambda task, r: r[5]["value"].update(r[4]["value"]), ("two points named",)),
    ],
)
def test_a_bad_task_is_left_out_in_one_sentence(change, words, studio, photos, capsys):
    tasks = json.loads(studio.read_text())
    change(tasks[2], tasks[2]["annotations"][1]["result"])
    studio.write_text(json.dumps(tasks))
    for path in photos[0]:
        (studio.parent / path.name).write_bytes(path.read_bytes())
    left_out(studio, capsys, 10, studio, *words)


# --- YOLO and .pts -------------------------------------------------------------------------------


def test_yolos_names_may_be_missing_and_flip_idx_says_so(labelled, capsys):
    folder = labelled("yolo")
    text = (folder / "data.yaml").read_text()
    (folder / "data.yaml").write_text(text[: text.index("kpt_names")])
    assert load_faces(folder).names == tuple(f"p{i}" for i in range(15))
    assert "--points FILE" in capsys.readouterr().out


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda text: text.replace("0 ", "1 x ", 1), ("not numbers",)),
        (lambda text: text.replace("0.", "300.", 6), ("not fractions of the photo",)),
        (lambda text: text.rsplit(" ", 1)[0], ("line 2", "49 numbers instead of 50")),
    ],
)
def test_a_bad_yolo_file_is_left_out_in_one_sentence(change, words, labelled, capsys):
    folder = labelled("yolo")
    path = folder / "labels" / "photo_1.txt"
    path.write_text(change(path.read_text()))
    left_out(folder, capsys, 10, path, *words)


def test_a_photo_that_is_gone_from_a_data_set_is_said(labelled, capsys):
    folder = labelled("yolo")
    (folder / "images" / "photo_4.jpg").unlink()
    (folder / "labels" / "classes.txt").write_text("face")
    left_out(folder, capsys, 10, folder / "labels" / "photo_4.txt", "has no photo")


@pytest.mark.parametrize(
    "text, words",
    [
        ("train: images\n", ("kpt_shape",)),
        ("train: nowhere\nkpt_shape: [15, 3]\n", ("there are no photos",)),
        ("train: images\nkpt_shape: ['15', 3]\n", ("kpt_shape",)),
        ("just words", ("not YAML", "not a mapping")),
        ("kpt_shape: [15, 3\n", ("not YAML", "line 2")),
    ],
)
def test_a_bad_data_set_is_refused_in_one_sentence(text, words, tmp_path):
    (tmp_path / "data.yaml").write_text(text)
    refused(tmp_path, tmp_path / "data.yaml", *words)


def test_yaml_without_its_package_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    (tmp_path / "data.yaml").write_text("kpt_shape: [3, 2]")
    refused(tmp_path, tmp_path / "data.yaml", "pip install pyyaml.")


@pytest.fixture
def pts(photos, tmp_path):
    """A folder of the photos with a .pts of the first face of each."""
    folder = tmp_path / "pts"
    folder.mkdir()
    for path, points in zip(*photos, strict=True):
        (folder / path.name).write_bytes(path.read_bytes())
        write_pts(folder / f"{path.stem}.pts", points[0])
    return folder


def test_pts_count_from_1(pts, photos):
    read = read_labels(pts)
    for photo, points in zip(read.photos, photos[1], strict=True):
        np.testing.assert_allclose(photo.faces[0].points, points[0], atol=0.01)
    assert read.names == tuple(f"p{i}" for i in range(15)) and len(load_faces(pts).rows) == 6


def test_the_68_points_have_their_usual_names_and_mirror_partners(pts):
    assert len(set(SIXTY_EIGHT)) == 68
    assert (SIXTY_EIGHT[8], SIXTY_EIGHT[30], SIXTY_EIGHT[36]) == (
        "chin",
        "nose_tip",
        "right_eye_outer_corner",
    )
    pairs = {0: 16, 8: 8, 17: 26, 21: 22, 27: 27, 31: 35, 33: 33, 36: 45, 37: 44, 39: 42, 40: 47}
    pairs |= {41: 46, 48: 54, 49: 53, 51: 51, 55: 59, 56: 58, 57: 57, 60: 64, 61: 63, 65: 67}
    partners = mirror_partners(SIXTY_EIGHT)
    for one, other in pairs.items():
        assert partners[one] == other and partners[other] == one
    assert len(set(SIXTY_EIGHT) & set(KEY_POINTS)) == 13 and len(PARTNERS) == 15
    rng = np.random.default_rng(0)
    for path in pts.glob("*.pts"):
        write_pts(path, rng.uniform(20, 90, (68, 2)))
    assert read_labels(pts).names == SIXTY_EIGHT


@pytest.mark.parametrize(
    "text, words",
    [
        ("version: 1\n", ("curly brackets",)),
        ("{\n1 2 3\n}", ("two numbers",)),
        ("n_points: 4\n{\n1 2\n3 4\n}", ("n_points: 4", "2 points")),
        ("{\n1 x\n}", ("not numbers",)),
    ],
)
def test_a_bad_pts_file_is_left_out_in_one_sentence(text, words, pts, capsys):
    (pts / "photo_3.pts").write_text(text)
    left_out(pts, capsys, 5, pts / "photo_3.pts", *words)


def test_pts_of_two_kinds_in_one_folder_are_refused(pts):
    write_pts(pts / "photo_3.pts", np.ones((4, 2)))
    refused(pts, "two kinds", "photo_3.pts has 4", "most have 15")


# --- which format --------------------------------------------------------------------------------


def test_a_path_says_whether_it_holds_photos(tmp_path):
    assert has_photos(tmp_path) and has_photos("a.json") and has_photos("b.YAML")
    assert not has_photos("a.csv") and not has_photos("a.csv.gz") and not has_photos("a")


def test_folders_without_labels_or_with_several_formats_are_refused(labelled, pts):
    refused(pts.parent, "give the CSV file in it, or a folder of labels")
    (pts / "a.json").write_text("{}")
    refused(pts, "several formats", "a.json", "photo_0.pts")
    coco = labelled("coco")
    (coco / "second.json").write_text((coco / "key_points.json").read_text())
    refused(coco, "several JSONs", "name the one to read")


def test_missing_paths_are_refused(tmp_path):
    for name in ("no.json", "no.yaml", "no.pts"):
        refused(tmp_path / name, tmp_path / name)


def test_a_face_without_a_single_point_is_no_training_row(labelled, capsys):
    folder = labelled("labelme")
    edit(
        folder / "1_photo_0.json",
        lambda d: d.update(shapes=[s for s in d["shapes"] if s["shape_type"] == "rectangle"]),
    )
    assert len(load_faces(folder).rows) == 10
    assert "2 face(s) are left out" in capsys.readouterr().out
