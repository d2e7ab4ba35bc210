"""results/crop_files.py and the names in results/photos.py: nobody's files are lost."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_pixels import rgb_profile

import face_key_points as fkp
from data.images.photos import read_photo
from data.images.pixels import to_srgb
from data.key_points import KEY_POINTS
from data.synthetic.faces import make_faces
from models.detect.search import Detections
from models.storage import Landmarker
from results import photos as photos_module
from results.crop_files import SOURCE, CropFiles, read_png_text, source_id

POINTS = make_faces(1, seed=9)[1][0] + 40.0
AFFINE = np.array([[1.0, 0, 0], [0, 1, 0]])
PICTURE = np.zeros((50, 50, 3), np.uint8)


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    """As many faces as the photo's brightest value says, without a network."""

    def detect(landmarker, photo, *_):
        count = int(np.max(photo)) // 10
        return Detections(np.repeat(POINTS[None], count, 0), np.ones((count, 15)), KEY_POINTS, None)

    model = Landmarker(None, {"key_points": KEY_POINTS}, Path("m.keras"))
    monkeypatch.setattr(photos_module, "load_for_photos", lambda path: model)
    monkeypatch.setattr(photos_module, "detect", detect)


def photo(path, faces):
    """A photo in which `detect` finds so many faces."""
    path.parent.mkdir(exist_ok=True)
    Image.new("L", (160, 160), 10 * faces).save(path)
    return path


def run(tmp_path, *photos):
    flags = "--results", tmp_path / "r", "--crops"
    assert fkp.main([str(a) for a in ("--image", *photos, *flags)]) == 0
    return {file.name for file in (tmp_path / "r" / "crops").iterdir()}


def video(tmp_path, frames, name="clip.mp4", folder="v"):
    """What a video writes: a crop of the frames' face 1; returns the names of all crops."""
    crops = tmp_path / "r" / "crops"
    crops.mkdir(parents=True, exist_ok=True)
    files = CropFiles(crops, Path(name).stem, tmp_path / folder / name, 64, True)
    for frame in frames:
        files.write(PICTURE, AFFINE, 1, frame)
    files.remove_earlier()
    return {file.name for file in crops.iterdir()}


def test_a_video_between_two_photos_of_like_names_deletes_nothing(tmp_path):
    """As in `--video party.mp4`, `--image party_1.jpg party_2.jpg`, and the video again."""
    first = video(tmp_path, [0, 25], "party.mp4")
    photos = [photo(tmp_path / "p" / f"party_{i}.png", 2) for i in (1, 2)]
    both = run(tmp_path, *photos)
    assert len(both) == 6 and first < both
    assert video(tmp_path, [3, 25], "party.mp4") == both - {"party_face1_frame0.png"} | {
        "party_face1_frame3.png"
    }


@pytest.mark.parametrize("name", ["clip_1", "clip", "clip_face1", "clip_face1_frame"])
def test_a_photo_without_a_face_deletes_no_crops_of_a_video(name, tmp_path):
    before = video(tmp_path, range(5))
    assert run(tmp_path, photo(tmp_path / "p" / f"{name}.png", 0)) == before
    assert run(tmp_path, photo(tmp_path / "p" / f"{name}.png", 3)) > before
    assert run(tmp_path, photo(tmp_path / "p" / f"{name}.png", 0)) == before


def test_only_what_the_same_photo_wrote_is_removed(tmp_path):
    one, other = (photo(tmp_path / folder / "a.png", 3) for folder in ("x", "y"))
    assert run(tmp_path, one) == {f"a_{i}.png" for i in (1, 2, 3)}
    pixels = [(tmp_path / "r" / "crops" / f"a_{i}.png").read_bytes() for i in (1, 2, 3)]
    photo(other, 1)
    assert run(tmp_path, other) == {*(f"a_{i}.png" for i in (1, 2, 3)), "a.png_1.png"}
    again = [(tmp_path / "r" / "crops" / f"a_{i}.png").read_bytes() for i in (1, 2, 3)]
    assert again == pixels
    assert (tmp_path / "r" / "a_key_points.png").exists()
    assert (tmp_path / "r" / "a.png_key_points.png").exists()
    photo(other, 0)
    assert run(tmp_path, other) == {f"a_{i}.png" for i in (1, 2, 3)}
    assert not (tmp_path / "r" / "a.png_key_points.png").exists()
    photo(one, 2)
    assert run(tmp_path, one) == {"a_1.png", "a_2.png"}
    assert (tmp_path / "r" / "a_key_points.png").exists()


def test_a_users_own_files_stay(tmp_path):
    results = tmp_path / "r"
    (results / "crops").mkdir(parents=True)
    for path in ("a_key_points.png", "crops/a_2.png", "crops/a_3.png"):
        Image.new("RGB", (9, 9)).save(results / path)
    assert run(tmp_path, photo(tmp_path / "p" / "a.png", 1)) == {
        "a.png_1.png",
        "a_2.png",
        "a_3.png",
    }
    assert Image.open(results / "a_key_points.png").size == (9, 9)
    (results / "crops" / "a_2.png").write_bytes(b"damaged")
    run(tmp_path, photo(tmp_path / "p" / "a.png", 0))
    assert {file.name for file in (results / "crops").iterdir()} == {"a_2.png", "a_3.png"}


def test_a_crop_is_still_a_photo_and_says_its_source(tmp_path):
    path = photo(tmp_path / "p" / "a.png", 1)
    run(tmp_path, path)
    crop = tmp_path / "r" / "crops" / "a_1.png"
    assert read_png_text(crop)[SOURCE] == source_id(path) != source_id(path.with_name("b.png"))
    assert str(path.parent) not in crop.read_bytes().decode("latin-1")  # not where it is
    run(tmp_path, crop)  # not skipped as a picture that this project drew


def test_pictures_and_crops_show_the_colours_of_the_photo(tmp_path):
    """A photo in Display P3 is shown in sRGB, which viewers assume of a PNG without a profile."""
    path = tmp_path / "p3.png"
    red = np.full((300, 300, 3), (18, 4, 4), np.uint8)
    Image.fromarray(red).save(path, icc_profile=rgb_profile("Display P3"))
    run(tmp_path, path)
    expected = np.array(to_srgb(read_photo(path)))[0, 0].astype(int)
    assert np.abs(expected - red[0, 0]).max() > 3
    shown = np.array(Image.open(tmp_path / "r" / "p3_key_points.png"))[-1, -1]
    crop = np.array(Image.open(tmp_path / "r" / "crops" / "p3_1.png"))[56, 56]
    assert np.abs(shown - expected).max() <= 1 and np.abs(crop - expected).max() <= 1


@pytest.mark.parametrize("name", ["caf\udce9", "日本", "a b", "[x]*"])
def test_odd_names_are_told_apart(name, tmp_path):
    first = video(tmp_path, [1, 2], f"{name}.mp4")
    assert len(first) == 2
    both = video(tmp_path, [1, 2], f"{name}.mp4", "other")  # another video of that name
    assert first < both and len(both) == 4
    assert len(video(tmp_path, [5], f"{name}.mp4")) == 3
    assert len(video(tmp_path, [7, 8, 9], f"{name}.mp4", "other")) == 4
