"""Reading and writing videos of all kinds: times, sizes, rotation, damage, addresses."""

import contextlib
import http.server
import re
import socket
import threading
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from clips import BLUE, FILM, GREY, RED, encode, moving, run, spoil, turned, write_clip
from PIL import Image

from data.images.videos import VideoReader
from data.system import progress

av = pytest.importorskip("av", reason="videos need av (PyAV), which is an extra")


def test_what_is_written_is_read_again(tmp_path):
    for size in ((160, 120), (96, 1280)):  # colours are BT.601's and BT.709's
        with VideoReader(write_clip(tmp_path / "a.mp4", size)) as video:
            frames = list(video)
        assert (video.rate, video.count, video.trouble) == (25.0, 20, None)
        assert len(frames) == 20 and not video.has_sound
        np.testing.assert_allclose([frame.time for frame in frames], np.arange(20) / 25, atol=1e-4)
        picture, grey = frames[7][:2]
        assert picture.shape == (size[1], size[0], 3) and grey.shape == picture.shape[:2]
        row = size[1] // 2
        np.testing.assert_allclose(picture[row, size[0] // 4], RED, atol=6)
        np.testing.assert_allclose(picture[row, -size[0] // 4], BLUE, atol=6)
        assert abs(int(grey[row, size[0] // 4]) - 98) < 6


def test_odd_sides_gain_one_pixel(tmp_path):
    with VideoReader(write_clip(tmp_path / "odd.mp4", (161, 121), 3)) as video:
        assert next(iter(video)).picture.shape == (122, 162, 3)


@pytest.mark.parametrize(
    "matrix, shape, corner",
    [
        ((0, 1, -1, 0), (160, 120), (0, -1)),  # held upright: a quarter turn clockwise
        ((-1, 0, 0, -1), (120, 160), (-1, -1)),
        ((0, -1, 1, 0), (160, 120), (-1, 0)),
        ((-1, 0, 0, 1), (120, 160), (0, -1)),  # mirrored, as some cameras turned at oneself
        ((1, 0, 0, -1), (120, 160), (-1, 0)),
        ((0, 1, 1, 0), (160, 120), (0, 0)),
        ((0, -1, -1, 0), (160, 120), (-1, -1)),
    ],
)
def test_a_phones_turn_is_respected(matrix, shape, corner, tmp_path):
    with VideoReader(turned(write_clip(tmp_path / "phone.mp4", count=3), matrix)) as video:
        frame = next(iter(video))
    assert frame.picture.shape[:2] == frame.grey.shape == shape
    corners = {(y, x): frame.picture[y, x].min() for y in (0, -1) for x in (0, -1)}
    assert max(corners, key=corners.get) == corner and corners[corner] > 240


@pytest.mark.parametrize("ending", ["mkv", "mp4"])
def test_a_whole_video_is_not_called_cut_short(ending, tmp_path):
    """Though its rate changes, or its sound goes on for longer."""
    uneven = [i / 60 for i in range(40)] + [1 + i / 5 for i in range(40)]
    longer = [i / 25 for i in range(20)]
    for times, sound in ((uneven, 0), (longer, 4)):
        path = encode(tmp_path / f"whole.{ending}", [GREY] * len(times), times, sound=sound)
        with VideoReader(path) as video:
            assert len(list(video)) == len(times) and video.trouble is None
            assert video.length == pytest.approx(times[-1], abs=0.5)


def test_non_square_pixels_are_resampled(tmp_path):
    for shape, size in ((2, (48, 128)), (Fraction(1, 2), (96, 64))):
        path = encode(tmp_path / "dv.mp4", [GREY] * 3, [0, 0.04, 0.08], shape=shape)
        with VideoReader(path) as video:
            assert all(f.picture.shape[:2] == f.grey.shape == size for f in video)


def test_later_frames_of_another_size_are_made_as_large_as_the_first(tmp_path):
    path = tmp_path / "change.ts"
    parts = [GREY, np.repeat(np.repeat(GREY, 2, 0), 2, 1)]
    with open(path, "wb") as both:
        for i, picture in enumerate(parts):
            part = encode(tmp_path / "part.ts", [picture] * 5, i + np.arange(5) / 25)
            both.write(part.read_bytes())
    with VideoReader(path) as video:
        shapes = [frame.picture.shape for frame in video]
    assert shapes == 10 * [GREY.shape]


def test_frames_keep_their_uneven_times_and_the_length(tracker, tmp_path):
    times = np.cumsum([0.0] + [0.04, 0.1, 0.02, 0.04] * 6)
    write_clip(tmp_path / "uneven.mp4", count=25, times=times)
    assert run("--video", tmp_path / "uneven.mp4", "--results", tmp_path / "r") == 0
    with VideoReader(tmp_path / "r" / "uneven_key_points.mp4") as video:
        again = [frame.time for frame in video]
    np.testing.assert_allclose(again, times, atol=2e-3)
    table = pd.read_csv(tmp_path / "r" / "uneven_key_points.csv")
    np.testing.assert_allclose(table.time, times[table.frame], atol=2e-3)


def test_a_film_is_as_long_as_its_video(tracker, tmp_path):
    """Also where the last frame is shown for longer or shorter than the others."""
    for times in ([0, 10 / 3, 20 / 3, 9.99], [0, 0.04, 0.08, 5], [0, 3600, 7200], [0, 0.5]):
        path = encode(tmp_path / "slides.mp4", [GREY] * len(times), times, options={"bf": "0"})
        assert run("--video", path, "--results", tmp_path / "r") == 0
        with VideoReader(path) as video, VideoReader(tmp_path / "r" / FILM) as film:
            assert film.length == pytest.approx(video.length, abs=0.01)
            for own, annotated in zip(video, film, strict=True):
                assert annotated.time == pytest.approx(own.time, abs=1e-3)


def test_the_progress_of_a_time_lapse_counts_its_frames(tracker, tmp_path, monkeypatch, capsys):
    """Matroska does not say how many there are."""
    monkeypatch.setattr(progress, "FIRST_LINE", -1.0)
    monkeypatch.setattr(progress, "NEXT_LINE", -1.0)
    path = encode(tmp_path / "slides.mkv", [GREY] * 24, 3600.0 * np.arange(24))
    assert run("--video", path, "--results", tmp_path / "r") == 0
    lines = re.findall(r"frame: (\d+) of (\d+),", capsys.readouterr().out, flags=re.M)
    assert len(lines) > 5 and all(22 <= int(total) <= 25 for _, total in lines[1:]), lines


def test_an_animated_webp_is_a_video(tracker, tmp_path):
    colours = [(40 * i, 90, 200 - 40 * i) for i in range(5)]
    pictures = [Image.new("RGBA", (161, 120), (*colour, 255)) for colour in colours]
    for picture in pictures:
        picture.paste((0, 0, 0, 0), (20, 20, 80, 100))  # transparent
    lasting = [100, 40, 500, 100, 100]
    pictures[0].save(tmp_path / "a.webp", save_all=True, append_images=pictures[1:], lossless=True,
                     duration=lasting)  # fmt: skip
    assert run("--video", tmp_path / "a.webp", "--results", tmp_path / "r") == 0
    with VideoReader(tmp_path / "a.webp") as video:
        frames = list(video)
    assert (video.count, video.trouble, video.is_live) == (5, None, False)
    for frame, colour in zip(frames, colours, strict=True):
        np.testing.assert_allclose(frame.picture[60, 120], colour, atol=1)
        assert frame.picture[60, 40].min() == 255  # on white, as photos
    assert pd.read_csv(tmp_path / "r" / "a_key_points.csv").time.tolist() == [0, 0.1, 0.14, 0.64]
    with VideoReader(tmp_path / "r" / "a_key_points.mp4") as film:
        assert film.length == pytest.approx(sum(lasting) / 1000, abs=0.01)
    pictures[0].save(tmp_path / "still.webp")
    assert run("--video", tmp_path / "still.webp") == 2


@pytest.fixture
def server(tmp_path):
    """The address of a server of the files in a folder."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=tmp_path)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_video_at_an_address_is_read(server, tracker, tmp_path, capsys):
    write_clip(tmp_path / "clip.mp4")
    address = f"{server}/clip.mp4?key=secret"
    assert run("--video", address, "--results", tmp_path / "r") == 0
    assert len(pd.read_csv(tmp_path / "r" / "clip_key_points.csv")) == 16
    secret = server.replace("//", "//user:secret@")
    for bad in (f"{secret}/missing.mp4", "rtsp://user:secret@127.0.0.1:1/x", "s3://bucket/x.mp4"):
        capsys.readouterr()
        assert run("--video", bad, "--results", tmp_path / "r") == 2
        error = capsys.readouterr().err
        assert bad.replace("user:secret@", "") in error and "user:secret" not in error
        assert "cannot be opened (" in error and error.count("\n") == 1


@pytest.mark.usefixtures("signals_at_default")
def test_ctrl_c_is_how_a_stream_ends(tracker, tmp_path, capsys):
    data = encode(tmp_path / "live.ts", moving(40), np.arange(40) / 25).read_bytes()
    tracker.stop_at = 12
    with socket.create_server(("127.0.0.1", 0)) as server:

        def send():
            with server.accept()[0] as connection, contextlib.suppress(OSError):
                connection.sendall(data)

        threading.Thread(target=send, daemon=True).start()
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        assert run("--video", address, "--results", tmp_path / "r") == 0
    assert f"Recording {address}; Ctrl-C ends it." in capsys.readouterr().out
    (film,) = (tmp_path / "r").glob("*.mp4")
    with VideoReader(film) as video:
        assert len(list(video)) == 12 and video.trouble is None


@pytest.mark.parametrize("b_frames", [0, 2])
def test_damaged_frames_are_counted_and_have_no_rows(b_frames, tracker, tmp_path, capsys):
    """40 random bytes in some packets: FFmpeg conceals what it cannot decode."""
    options = {"g": "15", "bf": str(b_frames), "crf": "10"}
    times = np.arange(90) / 25
    whole = encode(tmp_path / "whole.mp4", moving(90), times, options=options)
    rng = np.random.default_rng(0)

    def change(data):
        middle = len(data) // 2
        data[middle : middle + 40] = rng.bytes(40)
        return data

    path = spoil(whole, tmp_path / "clip.mp4", lambda number: number % 20 == 5, change)
    assert run("--video", path, "--results", tmp_path / "r") == 2
    told = capsys.readouterr()
    with VideoReader(whole) as video:
        clean = [frame.grey.astype(int) for frame in video]
    with VideoReader(path) as video:
        frames = list(video)
    damaged = {frame.number for frame in frames if frame.damaged}
    for frame in frames:  # those that are not marked are as they were
        assert frame.number == round(frame.time * 25)
        assert frame.damaged or np.abs(frame.grey - clean[frame.number]).max() < 3
    assert 20 < len(damaged) < 70
    missing = 90 - len(frames)
    assert f"clip.mp4: of its 90 frames, {len(damaged)} are damaged" in told.err
    assert (f"and {missing} are missing" in told.err) == bool(missing)
    assert "; the results are of the rest; copy the video again." in told.err
    assert told.err.count("\n") == 1 and tracker.frames == 90 - len(damaged) - missing
    assert tracker.damaged == len(damaged)
    table = pd.read_csv(tmp_path / "r" / "clip_key_points.csv")
    assert len(table) > 10 and not set(table.frame) & damaged
    np.testing.assert_allclose(table.time, table.frame / 25, atol=1e-3)
    with VideoReader(tmp_path / "r" / "clip_key_points.mp4") as video:
        assert len(list(video)) == len(frames)


@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg4"])
def test_frames_after_missing_ones_keep_their_numbers(codec, tracker, tmp_path, capsys):
    options = {"g": "10", "x265-params": "keyint=10:log-level=none"}
    times = np.arange(40) / 25
    ways = {"options": options, "codec": codec, "base": Fraction(1, 25)}
    whole = encode(tmp_path / "a.mp4", moving(40), times, **ways)
    path = spoil(whole, tmp_path / "clip.mp4", lambda number: number in (13, 23),
                 lambda data: bytes(len(data)))  # fmt: skip
    assert run("--video", path, "--results", tmp_path / "r") == 2
    assert re.search(r"of its 40 frames, .*\d+ are missing; ", capsys.readouterr().err)
    table = pd.read_csv(tmp_path / "r" / "clip_key_points.csv")
    assert 5 < len(table) < 30 and table.frame.max() > 30
    np.testing.assert_allclose(table.time, table.frame / 25, atol=1e-3)
    with VideoReader(whole) as video:
        clean = [frame.grey.astype(int) for frame in video]
    with VideoReader(path) as video:
        for frame in video:
            assert frame.damaged or np.abs(frame.grey - clean[frame.number]).max() < 3
        assert video.trouble
