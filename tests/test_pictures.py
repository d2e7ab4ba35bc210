"""results/pictures.py: what is drawn is where it should be."""

import numpy as np
import pytest

from data.faces import Faces
from data.key_points import KEY_POINTS
from results import pictures as pictures_room
from results.colours import style_of
from results.pictures import plot_worst


def test_worst_faces_are_pictured_worst_first(faces, tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr(
        pictures_room, "face_grid", lambda pictures, titles: seen.update(t=titles) or 1
    )
    predicted = np.nan_to_num(faces.key_points) + np.arange(120)[:, None, None] / 10
    with pytest.raises(TypeError):  # the stand-in gives no figure: the titles are enough
        plot_worst(tmp_path / "worst.png", faces, predicted, np.ones((120, 15)))
    rows = [int(title.split()[1].rstrip(":")) for title in seen["t"]]
    assert rows == list(range(119, 103, -1))


def test_marks_stand_where_the_points_are(tmp_path, monkeypatch):
    """Truth, prediction and 90 % region appear at their places on a black picture."""
    black = np.zeros((1, 96, 96), np.uint8)
    truth = np.full((1, 15, 2), 20, np.float32)
    faces = Faces(black, truth, np.ones(1), None, np.array([77]), np.zeros(1, int), None)
    spread = np.full((1, 15), 2.0)
    spread[0, 0] = 50  # sees it coming: the true point is in the 90 % region
    drawn = []
    monkeypatch.setattr(pictures_room, "save_figure", lambda figure, path: drawn.append(figure))
    plot_worst(tmp_path / "worst.png", faces, truth + 40, spread)
    axis = drawn[0].axes[0]
    assert axis.get_title() == "row 77: 40.00 px, expected 13.05"
    places = [(line.get_marker(), line.get_xydata().tolist()) for line in axis.get_lines()]
    assert ("o", [[20, 20]] * 15) in places
    predictions = [line for line in axis.get_lines() if line.get_xydata().tolist() == [[60, 60]]]
    assert [line.get_markerfacecolor() == "none" for line in predictions] == [True] + [False] * 14
    between = [line for line in axis.get_lines() if len(line.get_xydata()) == 2]
    assert between[0].get_xydata().tolist() == [[20, 20], [60, 60]]
    assert [line.get_color() for line in between] == ["white"] + ["red"] * 14
    (rings,) = axis.collections
    assert rings.get_offsets().tolist() == [[60, 60]] * 15
    across = rings.get_widths()  # in the units of the axes, pixels
    assert across[1] == rings.get_heights()[1] == pytest.approx(2 * 2 * 2.146, abs=0.01)
    assert across[0] == 25 * across[1]


def test_parts_and_sides_are_told_apart():
    styles = {name: style_of(name)[:2] for name in KEY_POINTS}
    assert styles["left_eye_center"] != styles["right_eye_center"]
    assert styles["left_eye_center"] != styles["left_eyebrow_inner_end"]
    assert len({colour for colour, _ in styles.values()}) == 4
    assert style_of("mouth_center_top_lip")[2] == "mouth"
    assert style_of("mouth_left_corner")[2] == "mouth, left"
