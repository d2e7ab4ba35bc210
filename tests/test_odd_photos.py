"""--image with odd names, odd files, folders and runs; a stand-in finds the faces."""

import os
import struct
import sys
from pathlib import Path
from zlib import compress, crc32

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import face_key_points as fkp
from data.images.photos import OWN_OUTPUT, is_own_output, list_photos, read_photo
from data.key_points import KEY_POINTS
from data.synthetic.faces import make_faces
from data.system.files import InputError
from models.detect.search import Detections
from models.storage import Landmarker
from results import photos as photos_room
from results.photos import output_paths

POINTS = make_faces(1, seed=9)[1][0] + 40.0


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    """A model that needs no TensorFlow, and a face in every photo that is not all of one grey."""

    def detect(landmarker, photo, *_):
        count = int(np.ptp(photo) > 0)
        return faces(np.repeat(POINTS[None], count, 0), np.ones((count, 15)))

    def detect_in_boxes(landmarker, photo, boxes, *_):
        return faces(POINTS[None], np.full((1, 15), 30.0 if np.ptp(photo) == 0 else 1.0))

    def faces(points, spread):
        return Detections(points, spread, KEY_POINTS, None)

    model = Landmarker(None, {"key_points": KEY_POINTS}, Path("m.keras"))
    monkeypatch.setattr(photos_room, "load_for_photos", lambda path: model)
    monkeypatch.setattr(photos_room, "detect", detect)
    monkeypatch.setattr(photos_room, "detect_in_boxes", detect_in_boxes)


def photo(size=160):
    grey = np.random.default_rng(0).integers(0, 255, (size, size), np.uint8)
    return Image.fromarray(grey)


def run(*arguments):
    return fkp.main([os.fspath(a) if isinstance(a, os.PathLike) else str(a) for a in arguments])


def table_of(folder):
    return pd.read_csv(folder / "key_points.csv", encoding="utf-8")


NAMES = [
    *("caf\udce9.png", "b**.png", "[a-b].png", "c" * 236 + ".png", "é" * 120 + ".png", "z.png"),
    *("Łódź.png", "new\nline.png", "two  words.png", "%s{x}.png", "日本.png", "-x.png"),
]


def test_photos_of_any_name_have_their_rows_and_pictures(tmp_path, capsys):
    folder, results = tmp_path / "p", tmp_path / "r"
    folder.mkdir()
    for name in NAMES:
        photo().save(folder / name)
    assert run("--image", folder, "--results", results) == 0
    table = table_of(results)
    assert len(table) == len(NAMES) and table.photo.is_unique
    assert table.photo.str.contains("caf\\xe9.png", regex=False).sum() == 1
    assert table.photo.str.contains("new\\nline.png", regex=False).sum() == 1
    pictures = [file for file in results.iterdir() if file.name.endswith("_key_points.png")]
    assert len(pictures) == len(NAMES) and all(is_own_output(file) for file in pictures)
    assert len({*results.iterdir()}) == len(NAMES) + 1
    printed = capsys.readouterr().out
    assert printed.count("1 face(s), pictured in") == len(NAMES)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_the_table_is_utf8_whatever_the_locale(encoding, tmp_path, monkeypatch):
    import io
    import locale

    monkeypatch.setattr(locale, "getpreferredencoding", lambda *_: encoding)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding))
    photo().save(tmp_path / "Łódź.png")
    assert run("--image", tmp_path / "Łódź.png", "--results", tmp_path / "r") == 0
    assert "Łódź.png" in (tmp_path / "r" / "key_points.csv").read_bytes().decode("utf-8")


@pytest.mark.parametrize("trouble", [KeyboardInterrupt, MemoryError, ValueError, OSError])
def test_one_photo_harms_none_of_the_others(trouble, tmp_path, monkeypatch, capsys):
    for i in range(6):
        photo().save(tmp_path / f"{i}.png")
    find, count = photos_room.detect, iter(range(6))

    def sometimes(*arguments):
        if next(count) == 3:
            raise trouble("what it brings")
        return find(*arguments)

    monkeypatch.setattr(photos_room, "detect", sometimes)
    status = run("--image", tmp_path, "--results", tmp_path / "r")
    stopped = trouble is KeyboardInterrupt
    assert status == (130 if stopped else 2)
    done = [path[-5:] for path in table_of(tmp_path / "r").photo]
    assert done == [f"{i}.png" for i in ((0, 1, 2) if stopped else (0, 1, 2, 4, 5))]
    error = capsys.readouterr().err
    assert ("3 of 6 photos are in" if stopped else "1 of 6 photos could not") in error


def test_rows_are_there_while_the_run_goes_on(tmp_path, monkeypatch):
    for i in range(3):
        photo().save(tmp_path / f"{i}.png")
    find, seen = photos_room.detect, []

    def look(*arguments):
        path = tmp_path / "r" / "key_points.csv"
        seen.append(len(pd.read_csv(path)) if path.exists() else 0)
        return find(*arguments)

    monkeypatch.setattr(photos_room, "detect", look)
    assert run("--image", tmp_path, "--results", tmp_path / "r") == 0
    assert seen == [0, 1, 2]


def test_own_pictures_are_no_photos_and_stale_ones_go(tmp_path, capsys):
    photo().save(tmp_path / "a.png")
    for _ in range(3):
        assert run("--image", tmp_path, "--results", tmp_path) == 0
        assert len(table_of(tmp_path)) == 1
    assert "a_key_points.png is a picture that this project drew" in capsys.readouterr().out
    Image.new("L", (90, 90), 90).save(tmp_path / "a.png")
    assert run("--image", tmp_path, "--results", tmp_path) == 0
    out = capsys.readouterr().out
    assert "no face found" in out and "a_key_points.png of an earlier run is removed" in out
    assert {file.name for file in tmp_path.iterdir()} == {"a.png", "key_points.csv"}
    assert table_of(tmp_path).empty
    # A user's own picture of that name stays, and is a photo.
    photo().save(tmp_path / "a_key_points.png")
    assert run("--image", tmp_path / "a.png", "--results", tmp_path) == 0
    assert not is_own_output(tmp_path / "a_key_points.png")
    assert len(list_photos([tmp_path])) == 2


def test_figures_say_whose_they_are(tmp_path):
    from results.figures.plots import plot_training

    plot_training(
        tmp_path / "t.png",
        [{"epoch": 1, "loss": 1.0, "validation_rmse_px": 2.0}],
    )
    assert Image.open(tmp_path / "t.png").info["Software"] == OWN_OUTPUT["Software"]


def test_photos_of_one_name_are_told_apart_by_their_folders(tmp_path):
    photos = [tmp_path / folder / "1.png" for folder in ("x", "y", "z")]
    names = [path.name for path in output_paths(photos, photos, tmp_path / "r")]
    assert names == [f"{folder}_1_key_points.png" for folder in ("x", "y", "z")]
    # Whatever the order and the rest.
    more = [tmp_path / "b.png", *photos[::-1]]
    again = [path.name for path in output_paths(more, more, tmp_path / "r")]
    assert again == ["b_key_points.png", *names[::-1]]
    deep = [tmp_path / a / "s" / "1.png" for a in ("x", "y")]
    names = [path.name for path in output_paths(deep, deep, tmp_path / "r")]
    assert names == ["x_s_1_key_points.png", "y_s_1_key_points.png"]


def test_folders_and_other_kinds_are_told(tmp_path, capsys, monkeypatch):
    photo().save(tmp_path / "a.png")
    (tmp_path / "inner").mkdir()
    photo().save(
        tmp_path / "anim.gif",
        save_all=True,
        append_images=[photo().rotate(90), photo().rotate(180)],
    )
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "link.png").symlink_to("nowhere.png")
    os.mkfifo(tmp_path / "pipe.png")
    for name, said in (("link", "it is a link that leads nowhere"), ("pipe", "is a pipe")):
        assert run("--image", tmp_path / f"{name}.png", "--results", tmp_path / "r") == 2
        assert said in capsys.readouterr().err
    assert run("--image", tmp_path, "--results", tmp_path / "r") == 0
    out = capsys.readouterr().out
    assert "link.png is a link that leads nowhere: skipped." in out
    assert "pipe.png is no file: skipped." in out
    assert "inner is a folder, name it as well: skipped." in out
    assert "notes.txt is not a picture: skipped." in out
    assert "anim.gif holds 3 pictures: only the first is used." in out
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 64
    for name in ("p.heic", "p.jpg", "without"):
        (tmp_path / name).write_bytes(heic)
        assert run("--image", tmp_path, "--results", tmp_path / "r") == 2
        error = capsys.readouterr().err
        assert f"{name} is a HEIC photo" in error and "pip install pillow-heif" in error
        assert len(table_of(tmp_path / "r")) == 2
        (tmp_path / name).unlink()
    (tmp_path / "p.cr2").write_bytes(b"II*\0 raw")
    assert run("--image", tmp_path, "--results", tmp_path / "r") == 2
    assert ".cr2) that Pillow does not read" in capsys.readouterr().err


VIDEOS = {
    "clip.mp4": b"not even a video",
    "clip.MOV": b"",
    "renamed.jpg": b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41" + bytes(64),
    "clip": b"\x1aE\xdf\xa3\x9fB\x86\x81\1",  # Matroska
    "clip.dat": b"RIFF\x24\0\0\0AVI LIST",
}


@pytest.mark.parametrize("name", VIDEOS)
def test_a_video_is_sent_to_the_flag_for_videos(name, tmp_path, capsys):
    (tmp_path / name).write_bytes(VIDEOS[name])
    assert run("--image", tmp_path / name, "--results", tmp_path / "r") == 2
    assert f"{name} is a video, not a photo; give it to --video." in capsys.readouterr().err
    photo().save(tmp_path / "a.png")
    assert run("--image", tmp_path, "--results", tmp_path / "r") == 0
    assert f"{name} is a video, give it to --video: skipped." in capsys.readouterr().out


def test_of_an_animated_webp_the_first_picture_is_used(tmp_path, capsys):
    first, second = photo(), Image.new("L", (160, 160))
    path = tmp_path / "moving.webp"
    first.save(path, save_all=True, append_images=[second], lossless=True)
    np.testing.assert_array_equal(np.array(read_photo(path))[..., 0], np.array(first))
    assert "moving.webp holds 2 pictures: only the first is used." in capsys.readouterr().out


def test_other_things_than_photos_are_advised_of_their_flag(tmp_path, capsys):
    (tmp_path / "faces.csv").write_text("ImageId,Image\n")
    (tmp_path / "p.avif").write_bytes(b"\0\0\0\x20ftypavif" + bytes(64))  # no video, only damaged
    assert run("--image", tmp_path / "faces.csv", "--results", tmp_path / "r") == 2
    assert (
        "faces.csv is a table, not a photo; test faces in a CSV go to --data"
        in capsys.readouterr().err
    )
    assert run("--image", tmp_path / "p.avif", "--results", tmp_path / "r") == 2
    assert "video" not in capsys.readouterr().err
    for address in ("https://example.org/a.jpg", "rtsp://camera/1"):
        with pytest.raises(SystemExit) as end:
            run("--image", address)
        assert end.value.code == 2
        assert f"{address} is an address; download the photo first" in capsys.readouterr().err


def test_flags_that_photos_do_not_use_are_said(tmp_path, capsys):
    photo().save(tmp_path / "a.png")
    flags = "--image", tmp_path / "a.png", "--results", tmp_path / "r"
    assert run(*flags) == 0
    assert "ignored" not in capsys.readouterr().out
    assert run(*flags, "--data", "test.csv", "--training", "t.csv") == 0
    out = capsys.readouterr().out
    assert "--data is ignored: it is about test faces, --image is not." in out
    assert "--training is ignored: it is about held-out faces, --image is not." in out


def test_heic_is_read_where_the_package_is(tmp_path):
    heif = pytest.importorskip("pillow_heif", reason="an extra that reads HEIC")
    heif.register_heif_opener()
    photo().save(tmp_path / "p.heic", quality=100)
    assert read_photo(tmp_path / "p.heic").size == (160, 160)


def test_a_box_on_no_face_is_said(tmp_path, capsys):
    for name, picture in (("face", photo()), ("none", Image.new("L", (90, 90), 90))):
        picture.save(tmp_path / f"{name}.png")
        flags = ["--box", 0, 0, 80, 80, "--results", tmp_path / name]
        assert run("--image", tmp_path / f"{name}.png", *flags) == 0
        assert len(table_of(tmp_path / name)) == 1
        out = capsys.readouterr().out
        assert ("1 face(s), pictured" in out) == (name == "face")
        assert ("hardly shows a face" in out and "spread is 30.0 px" in out) == (name == "none")


# --- kinds of pixels -----------------------------------------------------------------------------

GREY = np.linspace(0, 255, 160 * 120).reshape(120, 160).astype(np.uint8)
LAMP = GREY / 255
LAMP[:2, :2] = 5

PIXELS = {
    "float 0 to 1": (GREY / 255, "tif"),
    "float 0 to 255": (GREY * 1.0, "tif"),
    "float 0 to 65535": (GREY * 257.0, "tif"),
    "float -1 to 1": (GREY / 127.5 - 1, "tif"),
    "float 0 to 1 with a lamp": (LAMP, "tif"),
    "float with nan": (np.where(GREY == 7, np.nan, GREY / 255), "tif"),
    "8 bits in 16": (GREY.astype(np.uint16), "png"),
    "10 bits in 16": (GREY.astype(np.uint16) * 4 + 3, "png"),
    "12 bits in 16": (GREY.astype(np.uint16) * 16 + 15, "png"),
    "12 bits in 16, TIFF": (GREY.astype(np.uint16) * 16 + 15, "tif"),
    "14 bits in 16": (GREY.astype(np.uint16) * 64 + 63, "png"),
    "16 bits": (GREY.astype(np.uint16) * 257, "png"),
    "16 bits in 32": (GREY.astype(np.int32) * 257, "tif"),
    "24 bits in 32": (GREY.astype(np.int32) * 65793, "tif"),
}


@pytest.mark.parametrize("case", PIXELS)
def test_all_kinds_of_pixels_keep_their_light(case, tmp_path):
    values, ending = PIXELS[case]
    values = values.astype(np.float32) if values.dtype.kind == "f" else values
    path = tmp_path / f"p.{ending}"
    Image.fromarray(values).save(path)
    read = np.array(read_photo(path))[..., 0].astype(int)
    usual = (GREY != 7) & (LAMP <= 1)
    assert np.abs(read - GREY)[usual].max() <= 1


def png(values):
    """The bytes of a PNG of 16 bits per value (H, W, 3 or 4), which Pillow does not write."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc32(kind + data))

    height, width, bands = values.shape
    head = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[bands], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def tif(values, order="<"):
    """The bytes of a TIFF of 16 or 32 bits per value (H, W, 3)."""
    height, width, bands = values.shape
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()
    bits, kind = 8 * values.dtype.itemsize, {"u": 1, "f": 3}[values.dtype.kind]
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, 8), (259, 3, 1, 1), (262, 3, 1, 2)]
    tags += [(273, 4, 1, 26), (277, 3, 1, bands), (278, 4, 1, height), (279, 4, 1, len(data))]
    tags += [(339, 3, 3, 14)]
    start = struct.pack(f"{order}2sHI", {"<": b"II", ">": b"MM"}[order], 42, 26 + len(data))
    start += struct.pack(f"{order}9H", *[bits] * 3, *[kind] * 3, 0, 0, 0)
    fields = b"".join(
        struct.pack(f"{order}HHI", *tag[:3])
        + struct.pack(f"{order}I" if tag[1] == 4 or tag[2] > 1 else f"{order}HH", *tag[3:], *extra)
        for tag in tags
        for extra in [() if tag[1] == 4 or tag[2] > 1 else (0,)]
    )
    return start + data + struct.pack(f"{order}H", len(tags)) + fields + bytes(4)


COLOUR = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], -1)
WIDE = {
    "png": png,
    "tif": tif,
    "big-endian tif": lambda values: tif(values, ">"),
}


@pytest.mark.parametrize("kind", WIDE)
@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_colour_keeps_its_light_and_its_order(bits, kind, tmp_path, capsys):
    """Of 16 bits per colour the upper 8 are read: 2 to 6 of the 10 to 14 that cameras have."""
    values = COLOUR.astype(np.uint16) * 257 >> (16 - bits)
    path = tmp_path / f"p.{kind[-3:]}"
    path.write_bytes(WIDE[kind](values))
    read = np.array(read_photo(path)).astype(int)
    step = {10: 85, 12: 17, 14: 4, 16: 1}[bits]  # between two values that are told apart
    assert np.abs(read - COLOUR).max() <= step and read.max() == 255
    assert ("save it with 8 bits per colour" in capsys.readouterr().out) == (bits < 16)


def test_dark_colour_on_glass_keeps_what_is_transparent(tmp_path):
    alpha = np.full_like(GREY, 255)
    alpha[:, :20] = 0
    values = np.concatenate([COLOUR, alpha[..., None]], -1).astype(np.uint16) * 257
    values[..., :3] >>= 4
    (tmp_path / "p.png").write_bytes(png(values))
    read = np.array(read_photo(tmp_path / "p.png")).astype(int)
    assert (read[:, :20] == 255).all()
    assert np.abs(read - COLOUR)[:, 20:].max() <= 17


def test_a_dark_photo_of_eight_bits_stays_dark(tmp_path):
    """Also where the number 16 stands in its size."""
    Image.fromarray(COLOUR // 5).save(tmp_path / "p.png")
    assert np.array_equal(np.array(read_photo(tmp_path / "p.png")), COLOUR // 5)


def test_a_kind_of_tiff_that_pillow_does_not_read_is_named(tmp_path):
    (tmp_path / "f.tif").write_bytes(tif(COLOUR / np.float32(255)))
    with pytest.raises(InputError, match="TIFF that Pillow does not read .such as colours of 32"):
        read_photo(tmp_path / "f.tif")


def test_a_picture_without_light_stays_black(tmp_path):
    for name, values in (
        ("f.tif", np.zeros((9, 9), np.float32)),
        ("i.png", np.zeros((9, 9), "u2")),
    ):
        Image.fromarray(values).save(tmp_path / name)
        assert not np.array(read_photo(tmp_path / name)).any()


def test_a_broken_exif_entry_harms_nothing(tmp_path, monkeypatch):
    from PIL import ImageOps

    def refuse(*_, **__):
        raise TypeError("an entry of a wrong type, as Pillow 11.0 says")

    monkeypatch.setattr(ImageOps, "exif_transpose", refuse)
    photo().save(tmp_path / "p.jpg")
    assert read_photo(tmp_path / "p.jpg").size == (160, 160)
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "p.jpg").read_bytes()[:2000])
    with pytest.raises(Exception, match="cut short"):
        read_photo(tmp_path / "cut.jpg")
