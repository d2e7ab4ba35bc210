"""The synthetic faces mark what data/README.md says: every point against what is painted."""

import numpy as np
import pytest

from data.key_points import KEY_POINTS
from data.synthetic.head import AZIMUTHS, ROWS, HeadSurface, pupil_offset
from data.synthetic.light import draw_light
from data.synthetic.paint import paint_brows, paint_eyes, paint_mouth
from data.synthetic.person import Person

INDEX = {name: k for k, name in enumerate(KEY_POINTS)}


@pytest.fixture(scope="module")
def people():
    """Some people with brows, lips and lids that show, the light on them, heads and key points."""
    made = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        person = Person(rng)
        light = draw_light(rng)
        person.brow_dark, person.lip_shade, person.gap, person.beard = 0.9, 0.5, 0.0, 0
        person.moustache = person.stubble = person.under_lip = 0
        person.eye_shadow = person.crease = person.bag = person.lash = 0.0
        person.brow_ridge, person.lid_up = 0.02, 0.1
        head = HeadSurface(person)
        made.append((person, light, head, head.key_points(person)))
    return made


def painted(head, paint, *arguments):
    """By which factor painting changes the head's grey, an array like albedo; head stays."""
    before = head.albedo.copy()
    head.albedo = np.ones_like(before)
    paint(head, *arguments)
    changed, head.albedo = head.albedo, before
    return changed


def along_row(head, values, y):
    """x and values along the surface's row nearest to the height y."""
    row = int(np.argmin(np.abs(ROWS - y)))
    return head.x[row], values[row]


def half_way(places, values, start, stop):
    """Where, from one place to another, values first cross the middle between their ends there."""
    x = np.linspace(start, stop, 241)
    order = np.argsort(places)
    v = np.interp(x, places[order], values[order])
    middle = (v[0] + v[-1]) / 2
    return x[np.argmax((v - middle) * np.sign(v[-1] - v[0]) > 0)]


def test_nose_tip_is_the_foremost_point(people):
    for _, _, head, points in people:
        x, y, z = points[INDEX["nose_tip"]]
        middle = head.z[:, len(AZIMUTHS) // 2]
        face = np.abs(ROWS - 0.5) < 0.3
        assert x == 0 and z == pytest.approx(middle[face].max(), abs=1e-3)
        assert y == pytest.approx(ROWS[face][np.argmax(middle[face])], abs=1e-3)


def test_eye_centre_is_halfway_between_the_openings_middle_and_the_pupil(people):
    for person, _, _, points in people:
        for side, (x, y) in zip(("left", "right"), person.eyes, strict=True):
            corners = [points[INDEX[f"{side}_eye_{end}_corner"], :2] for end in ("inner", "outer")]
            lids = [(x, y - person.lid_up), (x, y + person.lid_low)]
            across, down = pupil_offset(person)
            expected = (np.mean([*corners, *lids], axis=0) + [x + across, y + down]) / 2
            np.testing.assert_allclose(points[INDEX[f"{side}_eye_center"], :2], expected, atol=0.01)


def test_eye_corners_are_where_the_lids_meet(people):
    """Between the corners there is eye, beyond them skin."""
    for person, light, head, points in people:
        person.sclera, person.skin = 0.5, 1.0
        changed = painted(head, paint_eyes, person, light, np.random.default_rng(0))
        for side in ("left", "right"):
            for end, inwards in (("inner", 1), ("outer", -1)):
                sign = inwards * (1 if side == "left" else -1)
                x, y = points[INDEX[f"{side}_eye_{end}_corner"], :2]
                places, values = along_row(head, changed, y)
                within = (places - x) * sign
                assert values[(within > 0.04) & (within < 0.07)].max() < 0.95
                assert values[(within < -0.02) & (within > -0.06)].min() > 0.97


def test_brow_ends_are_the_ends_of_the_hair(people):
    for person, _, head, points in people:
        person.brow_arch = 0.0
        changed = np.mean(
            [painted(head, paint_brows, person, np.random.default_rng(i)) for i in range(20)],
            axis=0,
        )
        for side, sign in (("left", 1), ("right", -1)):
            for end, inwards in (("inner", 1), ("outer", -1)):
                x, y = points[INDEX[f"{side}_eyebrow_{end}_end"], :2]
                places, values = along_row(head, changed, y)
                edge = half_way(
                    places, values, x - sign * inwards * 0.06, x + sign * inwards * 0.06
                )
                assert edge == pytest.approx(x, abs=0.015)


def test_lips_are_marked_at_their_outer_edges_and_corners(people):
    for person, _, head, points in people:
        changed = painted(head, paint_mouth, person)
        column = int(np.argmin(np.abs(head.x[len(ROWS) // 2] - person.mouth_x)))
        for lip, way in (("top", 1), ("bottom", -1)):
            y = points[INDEX[f"mouth_center_{lip}_lip"], 1]
            edge = half_way(ROWS, changed[:, column], y - way * 0.03, y + way * 0.03)
            assert edge == pytest.approx(y, abs=0.008)
        for side, sign in (("left", 1), ("right", -1)):
            x, y = points[INDEX[f"mouth_{side}_corner"], :2]
            places, values = along_row(head, changed, y)
            beyond = (places - x) * sign
            assert values[(beyond > -0.06) & (beyond < -0.02)].min() < 0.9
            assert values[(beyond > 0.09) & (beyond < 0.15)].min() > 0.95
