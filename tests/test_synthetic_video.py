"""data/synthetic/video.py: heads that move, with exact points."""

import numpy as np
import pytest

from data.key_points import KEY_POINTS, LEFT_EYE, RIGHT_EYE
from data.synthetic.video import Head, Pose, lively, make_frames, put_head, still, turning

NOSE, TOP, BOTTOM = (
    KEY_POINTS.index(name)
    for name in ("nose_tip", "mouth_center_top_lip", "mouth_center_bottom_lip")
)


@pytest.fixture(scope="module")
def head():
    return Head(3)


def draw(head, **pose):
    frame = np.full((480, 640), 0.5, np.float32)
    return frame, put_head(frame, head, Pose(**pose))


def test_the_eyes_are_where_the_pose_says(head):
    _, points = draw(head, x=300, y=200, eyes=60)
    eyes = points[[LEFT_EYE, RIGHT_EYE]]
    np.testing.assert_allclose(eyes.mean(0), (300, 200), atol=6)
    assert np.linalg.norm(eyes[0] - eyes[1]) == pytest.approx(60, rel=0.08)
    _, moved = draw(head, x=340, y=210, eyes=60)
    np.testing.assert_allclose(moved - points, np.broadcast_to((40, 10), (15, 2)), atol=1e-6)


def test_turning_nodding_talking_and_blinking_move_what_they_should(head):
    frame, points = draw(head)
    turned_frame, turned = draw(head, yaw=20)
    eyes = points[[LEFT_EYE, RIGHT_EYE]].mean(0), turned[[LEFT_EYE, RIGHT_EYE]].mean(0)
    assert (turned[NOSE] - eyes[1])[0] > (points[NOSE] - eyes[0])[0] + 5
    assert np.abs(turned_frame - frame).mean() > 0.005
    _, tilted = draw(head, roll=10)
    slope = tilted[LEFT_EYE] - tilted[RIGHT_EYE]
    assert np.degrees(np.arctan2(slope[1], slope[0])) == pytest.approx(10, abs=2)
    _, talking = draw(head, mouth=1.0)
    assert (talking[BOTTOM] - talking[TOP])[1] > (points[BOTTOM] - points[TOP])[1] + 8
    np.testing.assert_allclose(talking[:11], points[:11], atol=1.5)
    blinking, _ = draw(head, lids=0.0)
    x, y = points[LEFT_EYE].round().astype(int)
    eye = np.s_[y - 6 : y + 7, x - 10 : x + 11]
    assert np.abs(blinking[eye] - frame[eye]).mean() > 0.01


def test_paint_does_not_crawl_and_only_noise_is_new(head):
    frames = list(make_frames([(3, still)], 3 / 30, noise=0))
    np.testing.assert_array_equal(frames[0][0], frames[2][0])
    noisy = [frame.astype(float) for frame, _ in make_frames([(3, still)], 3 / 30, noise=5)]
    assert (noisy[1] - noisy[0]).std() == pytest.approx(5 * np.sqrt(2), rel=0.05)


def test_nearer_heads_hide_others_and_who_is_away_has_no_points():
    nobody = list(make_frames([(3, lambda t: None)], 1 / 30))[0]
    assert np.isnan(nobody[1]).all()
    frame, truth = next(make_frames([(3, still), (4, still)], 1 / 30, noise=0))
    alone, _ = next(make_frames([(4, still)], 1 / 30, noise=0))
    x, y = truth[1, NOSE].round().astype(int)
    assert truth.shape == (2, 15, 2)
    np.testing.assert_array_equal(
        frame[y - 20 : y + 21, x - 20 : x + 21], alone[y - 20 : y + 21, x - 20 : x + 21]
    )


def test_motions_go_on_without_a_jump():
    for motion, fastest in ((turning(90.0, 30.0), 90.0), (lively(5), 150.0)):
        yaw = np.array([motion(i / 100).yaw for i in range(400)])
        assert np.abs(np.diff(yaw)).max() * 100 <= fastest + 1e-6
        assert yaw.min() < -15 and yaw.max() > 15
