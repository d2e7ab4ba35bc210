"""How heads are turned: the mean head, the least squares, the columns and the axes drawn."""

import sys

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from PIL import Image
from stand_ins import photos_in, run, stand_in_detect, stand_in_model

from data.images.crops import affines_from_points, similarity_transforms, transform_points
from data.key_points import KEY_POINTS, PARTNERS, SIXTY_EIGHT, mirror_partners
from data.synthetic.rendered.camera import Camera, Pose, draw_pose
from data.synthetic.rendered.faces import render_faces
from models.detect.search import Detections
from models.pose.least_squares import NEARNESS, about_z, estimate_poses, to_angles
from models.pose.make_mean_head import NAMES, draw_heads
from models.pose.mean_head import mean_head
from models.storage import Landmarker, load_landmarker
from results import photos as photos_module
from results.face_fields import POSE_COLUMNS, face_columns
from results.figures.drawing import AXIS, AXIS_COLOURS, draw_axes

sys.path.insert(0, str(ROOT / "tests" / "benchmarks"))
import head_pose  # noqa: E402

UPRIGHT = np.array([[[1.0, 0, 0], [0, 1, 0]]])
SCALE, CENTER = 4.5, np.array([48.0, 47.0])
# Heads whose points the shape of heads, the camera and the turns decide: 60 identities.
HEADS = draw_heads(60, seed=5)


def turned(angles):
    """Rotations (N, 3, 3) by yaw, pitch and roll in degrees (N, 3), as MediaPipe's matrix has them:
    about axes to the right, up and to the viewer, pitch first and roll last."""
    yaw, pitch, roll = np.radians(angles).T
    zero, one = 0 * yaw, 0 * yaw + 1
    (cp, sp), (cy, sy) = ((np.cos(a), np.sin(a)) for a in (pitch, yaw))
    about_x = np.stack([one, zero, zero, zero, cp, -sp, zero, sp, cp], -1).reshape(-1, 3, 3)
    about_y = np.stack([cy, zero, sy, zero, one, zero, -sy, zero, cy], -1).reshape(-1, 3, 3)
    return about_z(roll) @ about_y @ about_x


def seen_by_a_camera(places, rotation, nearness=NEARNESS[0]):
    """The points (N, P, 2) in pixels of the crop of places (P, 3) or (N, P, 3) of heads."""
    seen = places @ rotation.transpose(0, 2, 1)
    return CENTER + SCALE * seen[..., :2] / (1 - nearness * seen[..., 2:]) * [1, -1]


def poses_of(points, spread=0.3, names=KEY_POINTS, affines=UPRIGHT):
    """The poses of points (N, K, 2) in pixels of the crop or, with `affines`, of the photo."""
    affines = np.broadcast_to(affines, (len(points), 2, 3))
    return estimate_poses(points, np.full(points.shape[:2], spread), affines, mean_head(names))


def angles_of(poses):
    return np.column_stack(poses[:3])


@pytest.fixture(scope="module")
def angles():
    """Random yaw, pitch and roll up to 70, 45 and 60 degrees, (40, 3)."""
    return np.random.default_rng(0).uniform(-1, 1, (40, 3)) * [70, 45, 60]


@pytest.mark.parametrize("names", [KEY_POINTS, SIXTY_EIGHT], ids=["15", "68"])
def test_the_mean_head_is_found_exactly(names, angles):
    head = mean_head(names)
    points = np.full((len(angles), len(names), 2), np.nan)
    points[:, head.which] = seen_by_a_camera(head.places, turned(angles))
    poses = poses_of(points, names=names)
    np.testing.assert_allclose(angles_of(poses), angles, atol=0.01)
    np.testing.assert_allclose(poses.rotation, turned(angles), atol=1e-4)
    np.testing.assert_allclose(poses.position, np.repeat(CENTER[None], len(angles), 0), atol=0.01)
    np.testing.assert_allclose(poses.scale, SCALE, rtol=1e-3)


def test_signs_and_order_are_those_of_mediapipe():
    """Its matrix has x to the right, y up, z to the viewer, and turns about them right-handed."""
    nose, eyes = KEY_POINTS.index("nose_tip"), [0, 1]
    for angles, moves in (((30, 0, 0), (1, 0)), ((0, 30, 0), (0, 1))):
        points = seen_by_a_camera(mean_head(KEY_POINTS).places, turned(np.array([angles])))[0]
        shift = points[nose] - points[eyes].mean(0) - [0, SCALE * 3.5]
        assert np.sign(np.round(shift @ moves / 5)) == 1  # to the right, and down
    points = seen_by_a_camera(mean_head(KEY_POINTS).places, turned(np.array([(0, 0, 20)])))[0]
    assert points[0, 1] < points[1, 1]  # counter-clockwise: the subject's left eye is higher
    np.testing.assert_allclose(np.degrees(to_angles(turned(np.array([[70, 40, -30]])))).T[0],
                               [70, 40, -30])  # fmt: skip


def test_a_mirrored_face_has_the_mirrored_pose():
    rotation = turned(np.random.default_rng(1).uniform(-30, 30, (60, 3)))
    points = seen_by_a_camera(HEADS[:, : len(KEY_POINTS)], rotation)
    mirrored = points[:, PARTNERS] * [-1, 1] + [95, 0]
    one, other = poses_of(points), poses_of(mirrored)
    np.testing.assert_allclose(angles_of(other), angles_of(one) * [-1, 1, -1], atol=1e-6)
    np.testing.assert_allclose(np.array(other[3:6]), np.array(one[3:6]), rtol=1e-6)


def test_a_mirrored_picture_has_the_mirrored_pose():
    pytest.importorskip("ai_edge_litert", reason="the shipped model without TensorFlow needs it")
    landmarker = load_landmarker(ROOT / "models" / "pretrained_small.tflite")
    picture = render_faces(1, 3, indices=[3], workers=1).pictures[0]
    points, spread = landmarker.predict(np.array([picture, picture[:, ::-1]]))
    poses = Detections(points, spread, landmarker.names, landmarker.mean_face).head_poses
    assert min(abs(poses.yaw[0]), abs(poses.roll[0])) > 1  # or the test would say nothing
    np.testing.assert_allclose(poses.yaw[1], -poses.yaw[0], atol=0.05)
    np.testing.assert_allclose(poses.pitch[1], poses.pitch[0], atol=0.05)
    np.testing.assert_allclose(poses.roll[1], -poses.roll[0], atol=0.05)


@pytest.mark.parametrize("degrees", [0, 25, 90, 180, -135])
def test_roll_is_that_in_the_photo_however_the_crop_is_turned(degrees, angles):
    """Of the same face, tilted clockwise in a larger photo, whichever crop the network saw."""
    points = seen_by_a_camera(mean_head(KEY_POINTS).places, turned(angles))
    photo = similarity_transforms(
        np.full(40, 3.0), np.full(40, np.radians(degrees)), (0, 0), np.full((40, 2), 500.0)
    )
    tilted = transform_points(points, photo)
    for affines in (photo, affines_from_points(tilted)):
        poses = poses_of(tilted, affines=affines)
        expected = angles - [0, 0, degrees]
        off = (angles_of(poses) - expected + 180) % 360 - 180
        assert np.abs(off).max() < 0.1 and np.abs(poses.roll).max() <= 180
        np.testing.assert_allclose(poses.rotation, turned(expected), atol=2e-3)
        np.testing.assert_allclose(poses.scale, 3 * SCALE, rtol=1e-2)


def test_other_heads_lie_in_their_regions_and_a_stray_point_hardly_matters():
    rng = np.random.default_rng(2)
    angles = rng.uniform(-30, 30, (60, 3))
    points = seen_by_a_camera(HEADS[:, : len(KEY_POINTS)], turned(angles), 1 / 60)
    points += rng.normal(0, 0.8, points.shape)
    poses = poses_of(points, 0.8)
    errors, spread = angles_of(poses) - angles, np.array(poses[3:6]).T
    assert (np.abs(errors).mean(0) < [3, 5, 1.2]).all()
    assert ((np.abs(errors) < 1.645 * spread).mean(0) > 0.75).all()
    assert ((np.abs(errors) < 0.8 * spread).mean(0) < 0.85).all()
    points[:, KEY_POINTS.index("mouth_left_corner")] += 15  # 19 standard deviations
    astray = angles_of(poses_of(points, 0.8)) - angles
    assert (np.abs(astray).mean(0) < np.abs(errors).mean(0) + [1.5, 1.5, 0.7]).all()


def test_less_certain_points_give_less_certain_poses(angles):
    points = seen_by_a_camera(mean_head(KEY_POINTS).places, turned(angles))
    one, other = (np.array(poses_of(points, spread)[3:6]) for spread in (0.5, 2.0))
    assert (other > one).all()


def test_the_file_is_the_mean_of_heads_like_the_rendered_ones():
    stored = mean_head(NAMES)
    around = np.concatenate([HEADS, HEADS[:, mirror_partners(NAMES)] * [-1, 1, 1]])
    assert np.abs(around.mean(0) - stored.places).max() < 0.25
    explained = np.sqrt((stored.modes**2).sum((0, 2)) + 3 * stored.rest)
    ratio = around.std(0) ** 2
    np.testing.assert_allclose(np.sqrt(ratio.sum(1)), explained, rtol=0.4)


def test_the_cameras_turn_is_that_along_the_line_to_the_face():
    rng = np.random.default_rng(3)
    pose = Pose(np.radians(40), np.radians(10), np.radians(-5), (0.0, 0.0, 0.0))
    face = np.array([[0, -1, 7.0]]) + HEADS[0, : len(KEY_POINTS)]
    camera = Camera(pose, face, rng)
    for distance, off in ((1e6, 0.01), (40.0, 15)):
        camera.distance = distance
        seen = np.degrees(camera.seen_turn(face))
        assert np.abs(seen - [40, 10, -5]).max() == pytest.approx(off, abs=off)
    assert seen[0] > 48  # a face that is turned to one side is also seen from the other
    close = seen_by_a_camera(face - face.mean(0), turned(np.array([seen * [1, 1, -1]])))
    np.testing.assert_allclose(angles_of(poses_of(close))[0], seen * [1, 1, -1], atol=12)
    assert draw_pose(rng).body  # as drawn for pictures


# --- which key points ----------------------------------------------------------------------------


def test_too_few_or_flat_points_have_no_pose():
    five = [n for n in KEY_POINTS if n in {"nose_tip"} or n.endswith(("eye_center", "_corner"))]
    eyes = tuple(n for n in KEY_POINTS if "_eye_" in n)
    assert mean_head(eyes) is None  # six, but in one plane
    assert mean_head(("p0", "p1", "p2", "p3", "p4", "nose_tip")) is None
    assert mean_head(tuple(five[:4])) is None
    assert len(mean_head(tuple(five)).which) == len(five)
    found = tuple(name == "nose_tip" or "eye" in name for name in KEY_POINTS)
    assert len(mean_head(KEY_POINTS, None, found).which) == sum(found)
    head = mean_head(SIXTY_EIGHT)
    assert len(head.which) == 51 and not any("jaw" in SIXTY_EIGHT[i] for i in head.which)


def test_where_left_is_the_viewers_the_pose_is_the_same(angles):
    points = seen_by_a_camera(mean_head(KEY_POINTS).places, turned(angles))
    swapped = points[:, PARTNERS]
    spread, mean_face = np.full(swapped.shape[:2], 0.3), seen_by_a_camera(
        mean_head(KEY_POINTS).places, np.eye(3)[None]
    )[0][PARTNERS]  # fmt: skip
    poses = Detections(swapped, spread, KEY_POINTS, mean_face).head_poses
    np.testing.assert_allclose(angles_of(poses), angles, atol=0.05)


def test_points_that_the_model_never_finds_are_left_out(angles):
    points = seen_by_a_camera(mean_head(KEY_POINTS).places, turned(angles))
    spread = np.full(points.shape[:2], 0.3)
    never = ["eyebrow" in name for name in KEY_POINTS]
    points[:, never], spread[:, never] = np.nan, np.nan
    mean_face = np.where(np.array(never)[:, None], np.nan, points[0])
    poses = Detections(points, spread, KEY_POINTS, mean_face).head_poses
    np.testing.assert_allclose(angles_of(poses), angles, atol=0.05)


def test_no_faces_and_faces_without_a_size_give_no_error():
    none = Detections(np.empty((0, 15, 2)), np.empty((0, 15)), KEY_POINTS, None).head_poses
    assert all(len(values) == 0 for values in none)
    collapsed = Detections(np.full((2, 15, 2), 7.0), np.ones((2, 15)), KEY_POINTS, None).head_poses
    assert np.isfinite(angles_of(collapsed)).all() and collapsed.yaw_spread.tolist() == [180, 180]


# --- the benchmark -------------------------------------------------------------------------------


def test_the_benchmark_reads_mediapipes_matrices_and_takes_offsets_off(monkeypatch, angles):
    matrices = np.full((41, 4, 4), np.nan)
    matrices[:40, :3, :3] = 1.1 * turned(angles)  # they scale too; the last face is not found
    monkeypatch.setattr(head_pose.mediapipe_rival, "find_matrices", lambda *_: matrices)
    turns = head_pose.rival_turns("python", np.zeros((41, 96, 96)))
    np.testing.assert_allclose(turns[:40], angles, atol=1e-9)
    assert np.isnan(turns[40]).all()
    rows = head_pose.error_rows("it", angles + [2, -3, 361], angles)
    assert [row[2:5] for row in rows] == [
        ["2.00", "0.00", "+2.00"],
        ["3.00", "0.00", "-3.00"],
        ["1.00", "0.00", "+1.00"],
    ]
    frontal = (np.abs(angles) <= 45).all(1).sum()
    assert [row[1] for row in rows] == [str(frontal)] * 3
    assert [row[6] for row in rows] == [str(40 - frontal)] * 3
    covered = head_pose.coverage_rows(angles + [1, 2, 3], np.full((40, 3), 1.5), angles)
    assert [row[1] for row in covered] == ["100.0", "100.0", "0.0"]
    descriptions = render_faces(1, 7, workers=1).descriptions
    (yaw, pitch, roll), told = head_pose.true_turns(descriptions)[0], descriptions[0]
    assert (yaw, pitch, roll) == (told.seen_yaw, told.seen_pitch, -told.seen_roll)


# --- tables and pictures -------------------------------------------------------------------------


@pytest.fixture
def stand_in(monkeypatch):
    monkeypatch.setattr(photos_module, "load_for_photos", stand_in_model)
    monkeypatch.setattr(photos_module, "detect", stand_in_detect)


@pytest.mark.usefixtures("stand_in")
def test_photos_have_the_columns_last(tmp_path):
    folder = photos_in(tmp_path / "in", 4)
    assert run("--image", folder, "--results", tmp_path / "r", "--crops") == 0
    table = pd.read_csv(tmp_path / "r" / "key_points.csv")
    assert table.columns.tolist()[-7:] == ["matrix_23", *POSE_COLUMNS]
    assert POSE_COLUMNS == ["yaw", "pitch", "roll", "yaw_spread", "pitch_spread", "roll_spread"]
    faces = stand_in_detect(None, np.full((8, 8), 3))
    expected = np.column_stack(faces.head_poses[:6])
    np.testing.assert_allclose(table[POSE_COLUMNS][-3:], expected, atol=6e-4)
    assert np.abs(expected[:, 0]).max() < 20 and np.abs(expected[:, 2]).max() < 10


@pytest.mark.usefixtures("stand_in")
def test_a_table_without_these_columns_is_not_resumed(tmp_path, capsys, monkeypatch):
    folder, results = photos_in(tmp_path / "in", 3), tmp_path / "r"
    flags = "--image", folder, "--results", results, "--no-pictures"
    with monkeypatch.context() as before:
        before.setattr(photos_module, "face_columns", lambda *_: face_columns(*_)[:-6])
        assert run(*flags, "--jobs", 1) == 0
    old = (results / "key_points.csv").read_bytes()
    assert run(*flags, "--resume") == 2
    said = capsys.readouterr().err
    assert "is of a run with other columns; resume with the same model" in said
    assert (results / "key_points.csv").read_bytes() == old


def test_own_points_have_no_such_columns_and_no_axes(tmp_path, monkeypatch, capsys):
    names = ("left_eye_center", "right_eye_center", "dimple")
    record = {"key_points": names, "mean_face": [[66, 38], [30, 38], [48, 70]]}
    model = Landmarker(None, {**record, "weights_sha256": "a"}, tmp_path / "m.keras")
    monkeypatch.setattr(Landmarker, "names", names)
    assert face_columns(model, 0)[-1] == "dimple_spread"
    monkeypatch.setattr(photos_module, "load_for_photos", lambda path: model)
    flags = "--image", photos_in(tmp_path / "in", 1), "--results", tmp_path
    assert run(*flags, "--axes") == 2
    assert "--axes draws how heads are turned, which needs five of" in capsys.readouterr().err


@pytest.mark.parametrize("flags", [("--axes",), ("--image", "a.jpg", "--axes", "--no-pictures")])
def test_axes_need_a_picture(flags, capsys):
    with pytest.raises(SystemExit):
        run(*flags)
    assert "--axes" in capsys.readouterr().err


def test_axes_end_where_the_head_points():
    angles = np.array([[35, 20, -10], [-30, -15, 25.0]])
    points = 3 * seen_by_a_camera(mean_head(KEY_POINTS).places, turned(angles))
    points[1] += [300, 0]
    faces = Detections(points, np.full((2, 15), 0.3), KEY_POINTS, None)
    canvas = np.full((300, 600, 3), 128, np.uint8)
    draw_axes(canvas, faces)
    ends = turned(angles)[:, :2] * [[1], [-1]] * AXIS * 3 * SCALE  # (2, 2, 3)
    starts = 3 * CENTER + [[0, 0], [300, 0]]
    for face in (0, 1):
        for axis, colour in enumerate(AXIS_COLOURS):
            x, y = (starts[face] + 0.97 * ends[face, :, axis]).round().astype(int)
            assert np.abs(canvas[y, x].astype(int) - colour).max() < 30
    outside = canvas[:, [0, 299, 599]]
    assert (outside == 128).all()


@pytest.mark.usefixtures("stand_in")
def test_axes_are_drawn_where_they_are_asked_for(tmp_path, monkeypatch):
    large = tmp_path / "in" / "large.png"
    large.parent.mkdir()
    Image.new("L", (400, 400), 1).save(large)

    def enlarged(*arguments):
        faces = stand_in_detect(*arguments)
        return Detections(2 * faces.points, faces.spread, KEY_POINTS, None)

    monkeypatch.setattr(photos_module, "detect", enlarged)
    pictures = []
    for flags in ((), ("--axes",)):
        assert run("--image", large, "--results", tmp_path, *flags) == 0
        with Image.open(tmp_path / "large_key_points.png") as picture:
            pictures.append(np.asarray(picture.convert("RGB")).astype(int))
    plain, axes = pictures
    for colour in AXIS_COLOURS:
        here, there = ((np.abs(p - colour).max(-1) < 25).sum() for p in (plain, axes))
        assert there > here + 25
