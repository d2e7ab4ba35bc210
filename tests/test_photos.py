"""face_key_points.py --image: from photos of all kinds to key points in their own pixels."""

import struct
import sys
import zlib

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from PIL import Image

import face_key_points as fkp
from data import key_points
from data.faces import synthetic_faces
from data.images.crops import (
    CENTER,
    RADIUS,
    affines_from_boxes,
    affines_from_points,
    boxes_from_affines,
    cut_crop,
    transform_points,
)
from data.images.photos import read_photo
from data.key_points import KEY_POINTS, LEFT_EYE, RIGHT_EYE
from models.choose import load_for_photos
from models.detect.search import Detections, detect_in_boxes
from models.storage import SHIPPED, load_landmarker
from results import photos as photos_room
from results.face_fields import POSE_COLUMNS
from results.figures.colours import style_of
from results.photos import annotate, output_paths

sys.path.insert(0, str(ROOT / "tests" / "benchmarks"))
import photo_faces  # noqa: E402

COLUMNS = ["photo", "face", "box_x", "box_y", "box_w", "box_h", *key_points.COLUMNS]
COLUMNS += [*(f"{name}_spread" for name in KEY_POINTS), *POSE_COLUMNS]


def run(*arguments):
    return fkp.main([str(a) for a in arguments])


@pytest.fixture(scope="module", autouse=True)
def one_model():
    """The shipped model, loaded once for all tests."""
    patch = pytest.MonkeyPatch()
    loaded = load_landmarker(SHIPPED)
    patch.setattr(photos_room, "load_for_photos", lambda path: loaded)
    yield loaded
    patch.undo()


@pytest.fixture(scope="module")
def hopper():
    """The middle of Matplotlib's public-domain portrait of Grace Hopper, 320x360, from PIL."""
    from matplotlib.cbook import get_sample_data

    with get_sample_data("grace_hopper.jpg") as file, Image.open(file) as photo:
        return photo.convert("RGB").crop((106, 50, 426, 410))


@pytest.fixture(scope="module")
def look(tmp_path_factory):
    """A function that saves a picture, runs the command on it and gives the points (N, 15, 2)."""

    def look(photo, name="photo.png", *arguments, **options):
        folder = tmp_path_factory.mktemp("look")
        photo.save(folder / name, **options)
        assert run("--image", folder / name, "--results", folder, *arguments) == 0
        return points_of(folder / "key_points.csv")

    return look


def points_of(csv_path):
    table = pd.read_csv(csv_path)
    assert table.columns.tolist() == COLUMNS
    return table[list(key_points.COLUMNS)].to_numpy().reshape(-1, 15, 2)


def difference(points, expected):
    """Mean distance of two faces' points (15, 2) in terms of the inter-ocular distance."""
    eyes = np.linalg.norm(expected[0] - expected[1])
    return np.linalg.norm(points - expected, axis=1).mean() / eyes


def largest_distance(points, seen):
    """How far the worst of a face's points (15, 2) is from where `seen` by name, in pixels."""
    found = points[[KEY_POINTS.index(name) for name in seen]]
    return np.linalg.norm(found - list(seen.values()), axis=1).max()


@pytest.fixture(scope="module")
def upright(hopper, look):
    points = look(hopper)
    assert len(points) == 1
    return points[0]


def test_grace_hopper_is_found_where_she_is(upright):
    """Points seen on the portrait enlarged, in its pixels."""
    in_whole_portrait = {
        "left_eye_center": (306, 187),
        "right_eye_center": (223, 190),
        "nose_tip": (269, 232),
        "mouth_left_corner": (311, 281),
        "mouth_right_corner": (226, 282),
    }
    # An eighth of the inter-ocular distance.
    assert largest_distance(upright + (106, 50), in_whole_portrait) < 10


def test_astronaut_is_found_where_she_is(look):
    """Points seen on the enlarged portrait of Eileen Collins (NASA, public domain), in pixels."""
    data = pytest.importorskip("skimage.data", reason="the portrait comes with scikit-image")
    in_portrait = {
        "left_eye_center": (247, 103),
        "right_eye_center": (203, 101),
        "nose_tip": (224, 127),
        "mouth_left_corner": (244, 141),
        "mouth_right_corner": (203, 139),
    }
    points = look(Image.fromarray(data.astronaut()))
    assert len(points) == 1  # and none in the flag, the helmet or the rocket
    assert largest_distance(points[0], in_portrait) < 5.5  # an eighth of the inter-ocular distance


def test_exif_rotation_is_respected(hopper, upright, look):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees before it is looked at
    lying = hopper.transpose(Image.Transpose.ROTATE_90)
    points = look(lying, "lying.png", exif=exif)
    assert len(points) == 1
    np.testing.assert_allclose(points[0], upright, atol=0.01)


def test_twice_the_photo_has_the_points_at_twice_the_place(hopper, upright, look):
    points = look(hopper.resize((640, 720), Image.Resampling.BICUBIC))
    # Pixels are counted from the centre of the first one: its outer edge is at -0.5.
    assert len(points) == 1 and difference(points[0], 2 * (upright + 0.5) - 0.5) < 0.015


def test_kinds_of_pictures_are_read_alike(hopper, tmp_path):
    grey = hopper.convert("L")
    sixteen = Image.fromarray(np.array(grey, np.uint16) * 257)
    for name, photo, expected, tolerance, options in (
        ("grey.png", grey, grey, 0, {}),
        ("sixteen.png", sixteen, grey, 1, {}),
        ("sixteen.tif", sixteen, grey, 1, {}),
        ("grey_alpha.png", grey.convert("LA"), grey, 0, {}),
        ("palette.gif", grey, grey, 0, {}),
        ("photo.webp", hopper, hopper, 0, {"lossless": True}),
        ("lossy.webp", hopper, hopper, 6, {"quality": 95}),
        ("photo.jpg", hopper, hopper, 4, {"quality": 95}),
        ("cmyk.jpg", hopper.convert("CMYK"), hopper, 4, {"quality": 95}),
    ):
        photo.save(tmp_path / name, **options)
        pixels = np.array(read_photo(tmp_path / name), float)
        assert pixels.shape == (360, 320, 3), name
        assert np.abs(pixels - np.array(expected.convert("RGB"))).mean() <= tolerance, name


def test_grey_webp_has_the_points_of_the_colour_photo(hopper, upright, look):
    points = look(hopper.convert("L"), "grey.webp", quality=90)
    assert len(points) == 1 and difference(points[0], upright) < 0.02


def test_transparent_is_white_whatever_lies_below(hopper, upright, look, tmp_path):
    pixels = np.array(hopper.convert("RGBA"))
    pixels[:, :40] = (10, 200, 30, 0)
    Image.fromarray(pixels).save(tmp_path / "hole.png")
    photo = np.array(read_photo(tmp_path / "hole.png"))
    assert (photo[:, :40] == 255).all()
    np.testing.assert_array_equal(photo[:, 40:], np.array(hopper)[:, 40:])
    points = look(Image.fromarray(pixels))
    assert len(points) == 1 and difference(points[0], upright) < 0.02


@pytest.fixture(scope="module")
def group(hopper):
    """Grace Hopper at three sizes on a grey wall; places and sizes."""
    wall = Image.new("RGB", (740, 400), (120, 130, 125))
    places = [(10, 20, 1.0), (350, 10, 0.6), (560, 150, 0.5)]
    for x, y, size in places:
        small = hopper.resize((round(320 * size), round(360 * size)), Image.Resampling.LANCZOS)
        wall.paste(small, (x, y))
    return wall, places


def test_several_faces_each_once_in_reading_order(group, upright, look):
    wall, places = group
    points = look(wall)
    assert len(points) == 3
    for (x, y, size), found in zip(places, points, strict=True):
        assert difference(found, (upright + 0.5) * size - 0.5 + [x, y]) < 0.04


def test_no_face_is_said_and_the_run_goes_on(hopper, tmp_path, capsys):
    noise = np.random.default_rng(0).integers(0, 255, (150, 200, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    Image.new("RGB", (1, 1)).save(tmp_path / "b.png")
    hopper.save(tmp_path / "c.png")
    assert run("--image", *tmp_path.glob("*.png"), "--results", tmp_path / "r") == 0
    out = capsys.readouterr().out
    assert "a.png: no face found" in out and "b.png: no face found" in out
    assert {file.name for file in (tmp_path / "r").iterdir()} == {
        "c_key_points.png",
        "key_points.csv",
    }
    assert len(points_of(tmp_path / "r" / "key_points.csv")) == 1


def test_the_box_hardly_matters(one_model, hopper, upright):
    grey = np.array(hopper.convert("L"))
    x, y, w, h = boxes_from_affines(affines_from_points(upright[None]))[0]
    moved = [
        (x + dx * w - (s - 1) * w / 2, y + dy * h - (s - 1) * h / 2, s * w, s * h)
        for dx, dy, s in [(0.1, 0, 1), (-0.1, 0, 1), (0, 0.1, 1), (0, -0.1, 1), (0, 0, 0.9)]
        + [(0, 0, 1.1), (0.1, -0.1, 1.1)]
    ]
    results = [detect_in_boxes(one_model, grey, [box]).points[0] for box in moved]
    assert np.median([difference(points, upright) for points in results]) < 0.015
    assert max(difference(points, upright) for points in results) < 0.04


def test_box_on_the_command_line(hopper, upright, look):
    x, y, w, h = boxes_from_affines(affines_from_points(upright[None]))[0]
    points = look(hopper, "photo.png", "--box", x - 0.1 * w, y, 1.1 * w, h)
    assert len(points) == 1 and difference(points[0], upright) < 0.02


def test_a_face_is_found_in_a_made_up_scene(look):
    """A crop as trained, enlarged and put on a wall: its exact points come back."""
    made = synthetic_faces(5, seed=21)
    errors = []
    for picture, truth in zip(made.pictures, made.key_points, strict=True):
        wall = Image.new("L", (560, 340), 110)
        wall.paste(Image.fromarray(picture).resize((240, 240), Image.Resampling.BICUBIC), (300, 90))
        box = "--box", 310, 100, 230, 230
        found = look(wall, "wall.png", *box)[0]
        errors.append(difference(found, (truth + 0.5) * 2.5 - 0.5 + [300, 90]))
    assert np.median(errors) < 0.08


def test_crops_and_boxes_are_one_another_the_other_way_round():
    boxes = np.array([[0, 0, 96, 96], [10.5, -20, 300, 300]])
    crops = affines_from_boxes(boxes)
    np.testing.assert_allclose(boxes_from_affines(crops), boxes)
    np.testing.assert_allclose(crops[0], [[1, 0, 0], [0, 1, 0]], atol=1e-12)
    # A face as trained gets its own picture as the crop, and a turned one is turned upright.
    points = np.zeros((1, 15, 2))
    points[0, LEFT_EYE], points[0, RIGHT_EYE] = (1, 0), (-1, 0)
    points *= RADIUS * np.sqrt(7.5)
    upright = points + CENTER
    np.testing.assert_allclose(affines_from_points(upright)[0], crops[0], atol=1e-9)
    lying = points[..., ::-1] * (1, 1) + (300, 200)
    np.testing.assert_allclose(
        transform_points(upright, affines_from_points(lying)), lying, atol=1e-9
    )


def test_crop_is_the_mean_of_the_photos_pixels_and_continues_the_border():
    rng = np.random.default_rng(1)
    photo = rng.integers(0, 256, (960, 960), np.uint8)
    crop = cut_crop(photo, affines_from_boxes([[0, 0, 960, 960]])[0])
    means = photo.reshape(96, 10, 96, 10).mean((1, 3))
    np.testing.assert_allclose(crop, means, atol=1.0)
    same = cut_crop(photo, affines_from_boxes([[100, 200, 96, 96]])[0])
    np.testing.assert_array_equal(same, photo[200:296, 100:196])
    outside = cut_crop(photo, affines_from_boxes([[-48, 400, 96, 96]])[0])
    np.testing.assert_array_equal(outside[:, 48:], photo[400:496, :48])
    np.testing.assert_array_equal(outside[:, :48], np.repeat(photo[400:496, :1], 48, 1))


def test_drawing_is_at_the_photos_own_size_and_near_the_points(hopper, upright):
    faces = Detections(upright[None], np.full((1, 15), 0.1), KEY_POINTS, None)
    drawn = np.array(annotate(hopper, faces))
    assert drawn.shape == (360, 320, 3) and drawn.dtype == np.uint8
    for name, (x, y) in zip(KEY_POINTS, upright, strict=True):
        colour = tuple(int(style_of(name)[0][i : i + 2], 16) for i in (1, 3, 5))
        around = drawn[round(y) - 1 : round(y) + 2, round(x) - 1 : round(x) + 2].astype(int)
        assert np.abs(around - colour).max(-1).min() < 40, name  # lips may lie on one another
    changed = np.flatnonzero((drawn != np.array(hopper)).any(2).any(0))
    x, _, w, _ = faces.boxes[0]
    assert x - 4 < changed.min() < x + 4 and x + w - 6 < changed.max() < x + w + 4


def test_names_never_collide(tmp_path):
    (tmp_path / "other").mkdir()
    names = ["a.jpg", "a.png", "other/a.jpg", "A.JPG", "a_key_points.png", "b.c.jpg"]
    photos = [tmp_path / name for name in names]
    written = list(output_paths(photos, photos, tmp_path))
    assert len({str(path).lower() for path in written}) == len(names)
    assert not {str(path).lower() for path in written} & {str(path).lower() for path in photos}
    assert [path.name for path in written[1:3]] == [
        "a.png_key_points.png",  # a_key_points.png is a photo's own name
        "other_a_key_points.png",
    ]


def test_folder_with_other_files(hopper, tmp_path, capsys):
    folder = tmp_path / "photos"
    folder.mkdir()
    hopper.resize((200, 225)).save(folder / "one.jpg")
    hopper.resize((200, 225)).save(folder / "without_ending", "PNG")
    (folder / "notes.txt").write_text("not a picture")
    (folder / ".hidden").write_text("not looked at")
    (folder / "inner").mkdir()
    assert run("--image", folder, "--results", tmp_path / "r") == 0
    out = capsys.readouterr().out
    assert "notes.txt is not a picture: skipped." in out and ".hidden" not in out
    table = pd.read_csv(tmp_path / "r" / "key_points.csv")
    assert [path.rsplit("/", 1)[1] for path in table.photo] == ["one.jpg", "without_ending"]
    # A broken picture is told too, the others are done, and the status says that it happened.
    (folder / "broken.png").write_bytes((folder / "without_ending").read_bytes()[:5000])
    assert run("--image", folder, "--results", tmp_path / "r2") == 2
    error = capsys.readouterr().err
    assert "broken.png" in error and "1 of 3 photos" in error and "Traceback" not in error
    assert len(pd.read_csv(tmp_path / "r2" / "key_points.csv")) == 2
    assert not (tmp_path / "r2" / "broken_key_points.png").exists()


def test_heic_photos_are_told_what_to_do(tmp_path, capsys):
    (tmp_path / "IMG_0001.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(200))
    assert run("--image", tmp_path, "--results", tmp_path / "r") == 2
    error = capsys.readouterr().err
    assert "save it as a JPEG" in error and "IMG_0001.HEIC" in error


def png_of(width, height):
    """The bytes of a grey PNG that claims this size and holds next to nothing."""

    def chunk(kind, data):
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize(
    "kind, said",
    [
        ("missing", "does not exist"),
        ("empty", "is empty or not a picture"),
        ("text", "is empty or not a picture"),
        ("cut short", "cut short"),
        ("bomb", "million pixels"),
        ("large bomb", "million pixels"),
        ("empty folder", "without pictures"),
        ("folder of text", "without pictures"),
        ("no model", "does not exist"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_lost(kind, said, hopper, tmp_path, capsys):
    photo, results = tmp_path / "photo.jpg", tmp_path / "results"
    results.mkdir()
    (results / "key_points.csv").write_text("earlier")
    arguments = []
    if kind == "empty":
        photo.touch()
    elif kind == "text":
        photo.write_text("not a picture")
    elif kind == "cut short":
        hopper.save(photo)
        photo.write_bytes(photo.read_bytes()[:9000])
    elif kind.endswith("bomb"):
        photo.write_bytes(png_of(10000, 10000) if kind == "bomb" else png_of(60000, 60000))
    elif "folder" in kind:
        photo.mkdir()
        if kind == "folder of text":
            (photo / "notes.txt").write_text("not a picture")
    elif kind == "no model":
        hopper.save(photo)
        arguments = ["--model", tmp_path / "missing.keras"]
    if kind == "no model":
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(photos_room, "load_for_photos", load_for_photos)
            status = run("--image", photo, "--results", results, *arguments)
    else:
        status = run("--image", photo, "--results", results, *arguments)
    assert status == 2
    error = capsys.readouterr().err
    assert said in error and str(tmp_path) in error and error.count("\n") == 1
    assert [file.name for file in results.iterdir()] == ["key_points.csv"]
    assert (results / "key_points.csv").read_text() == "earlier"


@pytest.mark.parametrize(
    "box, said",
    [
        ((0, 0, 0, 10), "above zero"),
        ((0, 0, "nan", 10), "above zero"),
        ((400, 0, 50, 50), "outside the photo"),
        ((0, 0, 1e9, 1e9), "outside the photo"),
    ],
)
def test_bad_boxes(box, said, hopper, tmp_path, capsys):
    hopper.save(tmp_path / "photo.png")
    try:
        status = run("--image", tmp_path / "photo.png", "--results", tmp_path / "r", "--box", *box)
    except SystemExit as end:
        status = end.code
    assert status == 2 and said in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.csv"))


def test_box_goes_with_one_photo(hopper, tmp_path, capsys):
    for name in ("a.png", "b.png"):
        hopper.save(tmp_path / name)
    results = ("--results", tmp_path / "r")
    assert run("--image", tmp_path, *results, "--box", 0, 0, 9, 9) == 2
    assert "one photo" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run("--box", 0, 0, 9, 9)
    assert "--image" in capsys.readouterr().err


def test_photos_need_nothing_more_installed(hopper, tmp_path, monkeypatch):
    hopper.save(tmp_path / "photo.png")
    monkeypatch.setitem(sys.modules, "cv2", None)  # importing it fails
    assert run("--image", tmp_path / "photo.png", "--results", tmp_path / "r") == 0
    assert len(points_of(tmp_path / "r" / "key_points.csv")) == 1


def test_benchmark_counts_faces_and_false_alarms():
    truth = np.full((2, 15, 2), np.nan)
    truth[:, :5] = np.arange(10).reshape(5, 2)
    truth[1] += 500
    squares = np.array([[0, 0, 100], [500, 500, 100]])
    near, far = np.nan_to_num(truth[:1]) + (3, 4), np.full((2, 15, 2), 250.0)
    hit, error, alarms = photo_faces.match(np.concatenate([near, far]), truth, squares)
    assert hit.tolist() == [True, False] and alarms == 2
    assert error[0] == pytest.approx(0.05)
    assert photo_faces.match(far, truth[:0], squares[:0])[2] == 2


def test_benchmark_pastes_faces_where_it_says():
    rng = np.random.default_rng(0)
    flat = [np.full((300, 400), 200, np.uint8)]
    black = np.zeros((4, 96, 96), np.uint8)
    grey, squares = photo_faces.make_scene(flat, black, rng)
    assert grey.shape == (photo_faces.HEIGHT, photo_faces.WIDTH)
    inside = np.zeros(grey.shape, bool)
    for x, y, side in squares[np.isfinite(squares[:, 0])].astype(int):
        assert photo_faces.SMALLEST <= side <= photo_faces.LARGEST
        assert grey[y + side // 2, x + side // 2] == 0
        assert not inside[y : y + side, x : x + side].any()
        inside[y : y + side, x : x + side] = True
    assert inside.any() and (grey[~inside] == 200).all()
