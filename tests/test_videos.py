"""face_key_points.py --video: videos of all kinds in, an annotated one and a table out."""

import os
import re
import resource
import signal
import sys
import time

import numpy as np
import pandas as pd
import pytest
from clips import BLUE, GREY, RED, encode, run, write_clip
from killing import end, fork
from PIL import Image
from test_hdr import write_hdr

import face_key_points as fkp
from data.images import video_input
from data.images.aligned_crops import MATRIX_COLUMNS
from data.images.crops import affines_from_points
from data.images.hdr import HLG
from data.images.video_writer import BUFFERED, VideoWriter
from data.images.videos import VideoReader
from data.key_points import COLUMNS, KEY_POINTS
from data.synthetic.video import lively, make_frames
from data.system.signals import STOP_SIGNALS
from models.detect.search import Detections
from models.track.smoothing import LAG
from models.track.tracker import AHEAD
from results import videos as room
from results.face_fields import POSE_COLUMNS
from results.figures.drawing import AXIS

av = pytest.importorskip("av", reason="videos need av (PyAV), which is an extra")


def test_the_answers(tracker, tmp_path, capsys):
    write_clip(tmp_path / "clip.mp4")
    assert run("--video", tmp_path / "clip.mp4", "--results", tmp_path / "r") == 0
    assert sorted(file.name for file in (tmp_path / "r").iterdir()) == [
        "clip_key_points.csv",
        "clip_key_points.mp4",
    ]
    table = pd.read_csv(tmp_path / "r" / "clip_key_points.csv")
    assert table.columns.tolist() == [
        *("frame", "time", "face", "box_x", "box_y", "box_w", "box_h", *COLUMNS),
        *(f"{name}_spread" for name in KEY_POINTS),
        *POSE_COLUMNS,
    ]
    assert table.frame.tolist() == [i for i in range(20) if i % 5 != 4]
    assert (table.face == 1).all()
    found = table[list(COLUMNS)].to_numpy().reshape(-1, 15, 2)
    np.testing.assert_allclose(found, np.repeat(tracker.points[None], 16, 0), atol=1e-3)
    out = capsys.readouterr().out
    assert "1 face(s), seen in 16 of 20 frames" in out and "sound" not in out
    with VideoReader(tmp_path / "r" / "clip_key_points.mp4") as video:
        frames = list(video)
    assert len(frames) == 20 and frames[0].picture.shape == (120, 160, 3)
    plain, drawn = (frames[i].picture.astype(int) for i in (4, 5))
    changed = np.abs(plain - drawn).max(-1) > 60
    x, y, w, h = table.loc[0, ["box_x", "box_y", "box_w", "box_h"]]
    rows, columns = np.nonzero(changed)
    assert changed.sum() > 100  # within the box, or its number above it
    assert columns.min() >= x - 4 and columns.max() <= x + w + 4
    assert rows.max() <= y + 1.15 * h + 4  # down to the chin
    nose = tracker.points[KEY_POINTS.index("nose_tip")].round().astype(int)
    assert changed[nose[1] - 1 : nose[1] + 2, nose[0] - 1 : nose[0] + 2].any()


def test_heads_are_turned_as_the_smoothed_points_say_and_axes_are_drawn(tracker, tmp_path):
    tracker.points = 1.5 * tracker.points - 15
    write_clip(tmp_path / "clip.mp4")
    films = []
    for flags in ((), ("--axes",)):
        tracker.frames = 0
        assert run("--video", tmp_path / "clip.mp4", "--results", tmp_path, *flags) == 0
        with VideoReader(tmp_path / "clip_key_points.mp4") as video:
            films.append(next(iter(video)).picture.astype(int))
    table = pd.read_csv(tmp_path / "clip_key_points.csv")
    spread = np.full((1, 15), 1.1)  # of the first frame
    faces = Detections(tracker.points[None], spread, KEY_POINTS, None)
    expected = np.column_stack(faces.head_poses[:6])
    np.testing.assert_allclose(table.loc[:0, POSE_COLUMNS], expected, atol=0.01)
    changed = np.abs(films[1] - films[0]).max(-1)
    poses = faces.head_poses
    for axis in range(3):
        end = poses.position[0] + 0.9 * AXIS * poses.scale * poses.rotation[0, :2, axis] * [1, -1]
        x, y = end.round().astype(int)
        assert changed[y - 1 : y + 2, x - 1 : x + 2].max() > 50
    assert changed[:8].max() < 30  # far from the face


def test_an_hdr_video_gives_a_film_in_usual_colours(tracker, tmp_path):
    path = write_hdr(tmp_path / "hdr.mp4", [np.full((120, 160, 3), RED, np.uint8)] * 6, HLG)
    assert run("--video", path, "--results", tmp_path / "r") == 0
    with av.open(str(tmp_path / "r" / "hdr_key_points.mp4")) as film:
        frames = list(film.decode(video=0))
    assert {int(frame.color_trc) for frame in frames} == {6} and len(frames) == 6
    np.testing.assert_allclose(frames[4].to_ndarray(format="rgb24")[100, 140], RED, atol=10)


def test_sound_is_left_out_and_that_is_said(tracker, tmp_path, capsys):
    path = encode(tmp_path / "loud.mp4", [GREY] * 10, np.arange(10) / 25, sound=0.4)
    assert run("--video", path, "--results", tmp_path / "r") == 0
    assert "without the sound" in capsys.readouterr().out
    with VideoReader(tmp_path / "r" / "loud_key_points.mp4") as video:
        assert not video.has_sound and len(list(video)) == 10


def test_crops_are_one_a_second_and_their_matrix_leads_back(tracker, tmp_path, capsys):
    write_clip(tmp_path / "clip.mp4", count=60)
    results = tmp_path / "r"
    assert run("--video", tmp_path / "clip.mp4", "--results", results, "--crops", 64) == 0
    table = pd.read_csv(results / "clip_key_points.csv")
    files = sorted((results / "crops").iterdir())
    assert len(files) == 3 and "3 aligned crop(s)" in capsys.readouterr().out
    for second, file in enumerate(sorted(files, key=lambda f: int(f.stem.split("frame")[-1]))):
        name, face, frame = file.stem.rsplit("_", 2)
        frame = frame.removeprefix("frame")
        assert (name, face) == ("clip", "face1") and int(int(frame) / 25) == second
        of_second = table[(table.time >= second) & (table.time < second + 1)]
        spread = of_second.filter(like="_spread").mean(axis=1)
        row = table[table.frame == int(frame)].iloc[0]
        assert row.filter(like="_spread").mean() == pytest.approx(spread.min())  # the surest
        crop = np.array(Image.open(file)).astype(int)
        assert crop.shape == (64, 64, 3)
        # Right and left of the photo's middle are blue and red in the crop too.
        matrix = row[MATRIX_COLUMNS].to_numpy(float).reshape(2, 3)
        for place, colour in (((8, 60), RED), ((56, 60), BLUE)):
            x, _ = matrix @ [*place, 1]
            if abs(x - 80) > 3:
                np.testing.assert_allclose(crop[place[1], place[0]], colour, atol=12)


@pytest.mark.usefixtures("signals_at_default")
@pytest.mark.parametrize(
    "camera, number", [(False, number) for number in STOP_SIGNALS] + [(True, signal.SIGINT)]
)
def test_a_stop_leaves_a_video_that_plays_and_a_whole_table(
    camera, number, tracker, tmp_path, monkeypatch, capsys
):
    before = signal.getsignal(number)
    tracker.stop_at, tracker.stop_by = 12, number
    source = write_clip(tmp_path / "long.mp4", count=40)
    if camera:  # FFmpeg's test picture in its place, which never ends
        source = 0
        monkeypatch.setattr(
            video_input, "camera_input", lambda number: ("testsrc=size=160x120:rate=30", "lavfi")
        )
    status = run("--video", source, "--results", tmp_path / "r")
    name = "camera_0" if camera else "long"
    assert status == (0 if camera else 130)
    told = capsys.readouterr()
    assert camera or "stopped after 12 frames" in told.err
    with VideoReader(tmp_path / "r" / f"{name}_key_points.mp4") as video:
        assert len(list(video)) == 12 and video.trouble is None
    table = pd.read_csv(tmp_path / "r" / f"{name}_key_points.csv")
    assert table.frame.tolist() == [i for i in range(12) if i % 5 != 4]
    assert table.notna().all().all()
    assert signal.getsignal(number) == before
    assert len(list((tmp_path / "r").iterdir())) == 2


def partial(results, name="clip"):
    """The table and the film of a run that did not end; none of an ended one may be there."""
    assert not list(results.glob(f"{name}_key_points.[cm]*"))
    film = results / f"{name}_key_points.partial.mp4"
    table = film.with_suffix(".csv")
    with VideoReader(film) as video:
        frames = list(video)
    assert table.read_text().endswith("\n")
    return pd.read_csv(table), frames


@pytest.mark.usefixtures("signals_at_default")
def test_a_killed_run_leaves_its_rows_and_a_film_that_plays(tracker, tmp_path):
    path, results = write_clip(tmp_path / "clip.mp4", count=120), tmp_path / "r"
    tracker.stop_at, tracker.stop_by = 90, signal.SIGKILL
    child = fork(lambda: run("--video", path, "--results", results))
    assert end(child) == -signal.SIGKILL
    table, frames = partial(results)
    assert table.frame.tolist() == [i for i in range(90 - LAG - 1) if i % 5 != 4]
    assert table.notna().all().all() and 90 - 2.5 * 25 < len(frames) < 90
    np.testing.assert_allclose([f.time for f in frames], np.arange(len(frames)) / 25, atol=1e-4)
    tracker.stop_at = None
    assert run("--video", path, "--results", results) == 0
    assert {file.name for file in results.iterdir()} == {
        *("clip_key_points.csv", "clip_key_points.mp4")
    }


def test_a_full_disk_is_one_sentence_and_leaves_what_was_written(tracker, tmp_path, capsys):
    """As with `ulimit -f`; what an earlier run wrote stays."""
    rng = np.random.default_rng(0)
    path = encode(tmp_path / "clip.mp4", rng.integers(0, 255, (120, 120, 160, 3), np.uint8),
                  np.arange(120) / 25)  # fmt: skip
    results = tmp_path / "r"
    results.mkdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (700_000, hard))
    try:
        assert run("--video", path, "--results", results) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    error = capsys.readouterr().err
    assert "File too large" in error and "clip_key_points.partial.mp4" in error
    assert error.count("\n") == 1 and "choose another folder" in error
    table, frames = partial(results)
    assert 25 < len(frames) < 100 and table.frame.max() >= len(frames)


@pytest.mark.parametrize("many", [0, 500])
def test_a_table_ends_with_a_whole_row_where_the_disk_is_full(many, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    rows = room.Rows(tmp_path / "t.csv", ["a", "b"])
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            for i in range(300):
                rows.add([[i, i]] * (1 + many))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        rows.file.close()
    text = (tmp_path / "t.csv").read_text()
    assert text.endswith("\n") and len(text) > 900 * (not many)
    assert (pd.read_csv(tmp_path / "t.csv").a == pd.read_csv(tmp_path / "t.csv").b).all()


def test_memory_does_not_grow_with_the_length(tracker, tmp_path):
    """At no time are more frames held than are looked ahead."""
    write_clip(tmp_path / "clip.mp4", count=60)
    given = 0
    with VideoReader(tmp_path / "clip.mp4") as video, room.GentleStop() as stop:
        for frame, _ in room.steady_frames(video, tracker, stop):
            assert tracker.frames - frame.number <= LAG + 1
            assert len(tracker.shown) == min(tracker.frames + AHEAD, 60)
            given += 1
    assert given == 60 and tracker.shown == pytest.approx(np.arange(60) / 25, abs=1e-3)


def test_fewer_large_frames_are_read_for_the_search_ahead(tracker, tmp_path, monkeypatch):
    path = write_clip(tmp_path / "clip.mp4", count=12)
    monkeypatch.setattr(room, "AHEAD_BYTES", 2.5 * 160 * 120 * 3)
    with VideoReader(path) as video:
        for i, frame in enumerate(room.shown_ahead(video, tracker)):
            assert frame.time == pytest.approx(i / 25, abs=1e-3)
            assert len(tracker.shown) == min(i + 3, 12)


def test_a_long_name_is_shortened(tracker, tmp_path):
    path = write_clip(tmp_path / "clip.mp4", count=3).rename(tmp_path / f"{'n' * 243}.mp4")
    assert run("--video", path, "--results", tmp_path / "r") == 0
    assert sorted(file.suffix for file in (tmp_path / "r").iterdir()) == [".csv", ".mp4"]


def test_videos_of_one_name_keep_their_results_apart(tracker, tmp_path):
    """In one run and in several, in other folders and with other endings."""
    for folder, ending in (("a", "mp4"), ("b", "mov"), ("c", "mp4"), ("d", "mp4")):
        (tmp_path / folder).mkdir()
        count = 3 + len(list(tmp_path.iterdir()))
        write_clip(tmp_path / folder / f"clip.{ending}", count=count)
    clips, results = sorted(tmp_path.glob("?/clip.*")), tmp_path / "r"
    assert run("--video", *clips[:1], "--results", results) == 0
    assert run("--video", *clips[1:2], "--results", results) == 0
    assert run("--video", *clips[2:], "--results", results) == 0
    for _ in range(2):  # again: each overwrites its own
        films = {film: len(list(VideoReader(film))) for film in results.glob("*_key_points.mp4")}
        assert sorted(films.values()) == [4, 5, 6, 7]
        assert {film.name.removesuffix("_key_points.mp4") for film in films} == {
            *("clip", "clip.mov", "c_clip", "d_clip")
        }
        for film, count in films.items():
            assert pd.read_csv(film.with_suffix(".csv")).frame.max() >= count - 2
        assert run("--video", *clips[1:], "--results", results) == 0
        assert run("--video", clips[0], "--results", results) == 0
    assert len(list(results.iterdir())) == 8


def test_folders_and_lists_of_videos_are_taken(tracker, tmp_path, capsys):
    write_clip(tmp_path / "b.mp4", count=4)
    write_clip(tmp_path / "a.mkv", count=3)
    (tmp_path / "notes.md").write_text("no video")
    Image.new("RGB", (64, 64)).save(tmp_path / "photo.jpg")
    (tmp_path / "list.txt").write_text(f"{tmp_path / 'b.mp4'}\n{tmp_path / 'a.mkv'}\n")
    assert run("--video", tmp_path, tmp_path / "b.mp4", "--results", tmp_path) == 0
    out = capsys.readouterr().out
    assert out.index("a.mkv: 1 face(s)") < out.index("b.mp4: 1 face(s)") and "3 other file" in out
    assert out.count("face(s)") == 2
    assert run("--video", tmp_path, "--results", tmp_path) == 0  # own films are no videos
    assert "7 other file" in capsys.readouterr().out
    assert run("--video", tmp_path / "list.txt", "--results", tmp_path / "r") == 0
    out = capsys.readouterr().out
    assert out.index("b.mp4: 1 face(s)") < out.index("a.mkv: 1 face(s)")
    for flags, said in (
        ([0, tmp_path], "Camera 0 never ends"),
        ([tmp_path / "x.mp4"], "not exist"),
    ):
        assert run("--video", tmp_path / "a.mkv", *flags) == 2
        assert said in capsys.readouterr().err


def test_a_broken_video_does_not_harm_the_others(tracker, tmp_path, capsys):
    for name in ("a", "b", "c"):
        write_clip(tmp_path / f"{name}.mp4", count=5)
    (tmp_path / "b.mp4").write_bytes(b"no video")
    assert run("--video", *sorted(tmp_path.glob("*.mp4")), "--results", tmp_path / "r") == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and "b.mp4 cannot be read" in said[0]
    assert "1 of 3 videos could not be read, or only in part, as said above" in said[1]
    assert {path.name for path in (tmp_path / "r").glob("*.csv")} == {
        *("a_key_points.csv", "c_key_points.csv")
    }


def test_a_video_among_its_results_is_not_overwritten(tracker, tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", count=4)
    own = write_clip(tmp_path / "clip_key_points.mp4", count=6)
    before = own.read_bytes()
    assert run("--video", clip, own, "--results", tmp_path) == 0
    assert own.read_bytes() == before
    counts = {path.name: len(list(VideoReader(path))) for path in tmp_path.glob("*.mp4")}
    assert counts == {
        **{"clip.mp4": 4, "clip_key_points.mp4": 6, "clip.mp4_key_points.mp4": 4},
        **{"clip_key_points_key_points.mp4": 6},
    }


def test_crops_of_an_earlier_run_go_and_all_others_stay(tracker, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_clip(tmp_path / folder / "clip.mp4", count=30)
    crops = tmp_path / "r" / "crops"
    crops.mkdir(parents=True)
    others = {f"{name}.png" for name in ("clip_1", "clip_4_17", "clip_face1_frame999", "clip_x_2")}
    for name in others:  # a photo's, an earlier version's, a user's
        Image.new("RGB", (9, 9)).save(crops / name)
    arguments = "--video", tmp_path / "a" / "clip.mp4", "--results", tmp_path / "r", "--crops"
    assert run(*arguments) == 0
    own = {file.name for file in crops.iterdir()} - others
    assert len(own) == 2 and all("clip_face1_frame" in name for name in own)
    assert run(*arguments) == 0
    left = {file.name for file in crops.iterdir()} - others
    assert len(left) == 2 and not left & own  # the second time other frames are the surest
    assert others <= {file.name for file in crops.iterdir()}
    # Another video's crops stay, though it has the same name.
    assert run("--video", tmp_path / "b" / "clip.mp4", *arguments[2:]) == 0
    assert left <= {file.name for file in crops.iterdir()}


def test_no_name_and_a_pipe_get_a_sentence(tmp_path, capsys):
    assert run("--video", "") == 2
    assert "A name of --video is empty" in capsys.readouterr().err
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.mp4")
        assert run("--video", tmp_path / "pipe.mp4") == 2
        assert "is a pipe or a device" in capsys.readouterr().err


def test_few_frames_are_read_ahead_or_wait_to_be_written(tmp_path, monkeypatch):
    made, read, encode = [], VideoReader._read, VideoWriter._encode

    def noted(self):
        for frame in read(self):
            made.append(frame.time)
            yield frame

    monkeypatch.setattr(VideoReader, "_read", noted)
    with VideoReader(write_clip(tmp_path / "clip.mp4", count=30)) as video:
        next(iter(video))
        time.sleep(0.3)  # all that is read ahead is there
        assert len(made) <= BUFFERED + 1
    before = len(made)
    time.sleep(0.1)
    assert len(made) == before  # what is closed is not read

    written, picture = [], np.zeros((120, 160, 3), np.uint8)

    def slow(self, picture, shown, *rest):
        time.sleep(0.02)
        encode(self, picture, shown, *rest)
        written.append(shown)

    monkeypatch.setattr(VideoWriter, "_encode", slow)
    writer = VideoWriter(tmp_path / "slow.mp4", (160, 120), 25)
    for i in range(12):
        writer.write(picture, i / 25)
        assert i + 1 - len(written) <= BUFFERED + 1
    writer.close()
    assert written == [i / 25 for i in range(12)]


@pytest.mark.parametrize(
    "kind, said",
    [
        ("missing", "does not exist"),
        ("folder", "is a folder"),
        ("empty", "is empty"),
        ("text", "contains no video|cannot be read as a video"),
        ("noise", "cannot be read as a video"),
        ("photo", "contains no video"),
        ("no index", "cannot be read as a video"),
        ("no frames", "no frame that can be read|cannot be read as a video"),
    ],
)
def test_bad_videos_are_one_sentence_and_nothing_is_lost(kind, said, tracker, tmp_path, capsys):
    path, results = tmp_path / "clip.mp4", tmp_path / "r"
    results.mkdir()
    (results / "clip_key_points.csv").write_text("earlier")
    if kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("not a video\n" * 50)
    elif kind == "noise":
        path.write_bytes(np.random.default_rng(0).bytes(20_000))
    elif kind == "photo":
        Image.new("RGB", (64, 64)).save(path, "PNG")
    elif kind == "no index":  # an .mp4 has it at its end
        write_clip(path)
        path.write_bytes(path.read_bytes()[: path.read_bytes().rindex(b"moov") - 4])
    elif kind == "no frames":
        write_clip(path)
        data = path.read_bytes()
        start, end = data.index(b"mdat") + 4, data.rindex(b"moov") - 4
        path.write_bytes(data[:start] + bytes(end - start) + data[end:])
    assert run("--video", path, "--results", results) == 2
    error = capsys.readouterr().err
    assert re.search(said, error), error
    assert str(path) in error and error.count("\n") == 1 and "Traceback" not in error
    assert [file.name for file in results.iterdir()] == ["clip_key_points.csv"]
    assert (results / "clip_key_points.csv").read_text() == "earlier"


def test_a_video_that_is_cut_short_gives_what_it_has_and_says_so(tracker, tmp_path, capsys):
    """Matroska has no index to miss; FFmpeg reads it up to where it ends."""
    path = tmp_path / "short.mkv"
    rng = np.random.default_rng(0)
    writer = VideoWriter(path, (160, 120), 25)
    for i in range(80):
        writer.write(rng.integers(0, 255, (120, 160, 3), np.uint8), i / 25)
    writer.close()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert run("--video", path, "--results", tmp_path / "r") == 2
    error = capsys.readouterr().err
    assert "copy the video again" in error and error.count("\n") == 1
    with VideoReader(tmp_path / "r" / "short_key_points.mp4") as video:
        assert 20 < len(list(video)) < 60


def test_a_missing_camera_is_reported(tracker, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(video_input, "camera_input", lambda n: (str(tmp_path / "video97"), "v4l2"))
    assert run("--video", 97, "--results", tmp_path / "r") == 2
    error = capsys.readouterr().err
    assert "amera 97 cannot be opened" in error and error.count("\n") == 1


def test_a_failing_camera_gets_its_own_advice(tracker, tmp_path, capsys, monkeypatch):
    pictures = np.random.default_rng(0).integers(0, 255, (40, 48, 64, 3), np.uint8)
    path = encode(tmp_path / "clip.mp4", pictures, np.arange(40) / 25)
    data = bytearray(path.read_bytes())
    middle = (data.index(b"mdat") + data.index(b"moov")) // 2
    data[middle : middle + 8000] = bytes(8000)
    path.write_bytes(data)
    monkeypatch.setattr(video_input, "camera_input", lambda number: (str(path), "mp4"))
    assert run("--video", 3, "--results", tmp_path / "r") == 2
    told = capsys.readouterr()
    assert "Camera 3: 1 face(s)" in told.out
    assert "Camera 3: " in told.err and "plugged in" in told.err and "copy" not in told.err
    assert told.err.count("\n") == 1


def test_without_pyav_it_is_said_how_to_install_it(tmp_path, monkeypatch, capsys):
    write_clip(tmp_path / "clip.mp4", count=2)
    monkeypatch.setitem(sys.modules, "av", None)
    assert run("--video", tmp_path / "clip.mp4", "--results", tmp_path / "r") == 2
    error = capsys.readouterr().err
    assert "pip install av" in error and error.count("\n") == 1


def test_too_old_a_pyav_is_reported(tmp_path, monkeypatch, capsys):
    write_clip(tmp_path / "clip.mp4", count=2)
    monkeypatch.setattr("av.__version__", "16.1.0")
    assert run("--video", tmp_path / "clip.mp4", "--results", tmp_path / "r") == 2
    error = capsys.readouterr().err
    assert "16.1.0" in error and "pip install 'av>=17'" in error and error.count("\n") == 1


@pytest.mark.parametrize(
    "flags, said",
    [
        (("--crops",), "--crops needs"),
        (("--csv", "a.csv"), "--csv needs"),
        (("--no-smooth",), "--no-smooth needs"),
        (("--video", "a.mp4", "--image", "b.png"), "different things"),
        (("--video", "a.mp4", "--crops", "5"), "16 to 2048"),
    ],
)
def test_flags_that_do_not_go_together(flags, said, capsys):
    with pytest.raises(SystemExit) as end:
        fkp.main(list(flags))
    assert end.value.code == 2 and said in capsys.readouterr().err


def test_a_head_that_moves_is_followed_by_the_shipped_model(tmp_path):
    """From file to file: the points of each frame are near the exact ones."""
    truth = []
    writer = VideoWriter(tmp_path / "head.mp4", (640, 480), 30)
    for i, (frame, points) in enumerate(make_frames([(12, lively(12))], 0.7, seed=12)):
        writer.write(np.repeat(frame[..., None], 3, -1), i / 30)
        truth.append(points[0])
    writer.close()
    assert run("--video", tmp_path / "head.mp4", "--results", tmp_path / "r") == 0
    table = pd.read_csv(tmp_path / "r" / "head_key_points.csv")
    assert table.frame.tolist() == list(range(21)) and (table.face == 1).all()
    found = table[list(COLUMNS)].to_numpy().reshape(-1, 15, 2)
    eyes = np.linalg.norm(np.array(truth)[:, 0] - np.array(truth)[:, 1], axis=-1)
    error = np.linalg.norm(found - truth, axis=-1).mean(1) / eyes
    assert error.max() < 0.1
    side = affines_from_points(found)[:, 0, 0] * 96
    np.testing.assert_allclose(
        table.box_w, np.hypot(side, affines_from_points(found)[:, 1, 0] * 96), rtol=0.01
    )
