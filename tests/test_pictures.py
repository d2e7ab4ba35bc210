"""results/figures/plots.py: what is drawn is where it should be."""

import warnings

import numpy as np
import pytest

from data.faces import Faces
from data.key_points import KEY_POINTS
from results.figures import plots as pictures_room
from results.figures.colours import style_of
from results.figures.plots import (
    plot_calibration,
    plot_errors,
    plot_faces,
    plot_training,
    plot_worst,
)


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


@pytest.fixture
def saved(monkeypatch):
    """The figures that were drawn, with their texts where a file would have them."""
    figures = []

    def keep(figure, path):
        figure.canvas.draw()
        figures.append(figure)

    monkeypatch.setattr(pictures_room, "save_figure", keep)
    return figures


def overlaps(texts):
    """Pairs of texts that lie on one another."""
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts if text.get_text()]
    return [
        (a, b) for i, (a, one) in enumerate(boxes) for b, other in boxes[:i] if one.overlaps(other)
    ]


HISTORIES = {
    "long": (75, 30.0, 1.2, 6.0, 1.4),
    "short": (2, 3.0, 2.9, 1.93, 1.88),
    "one epoch": (1, 300.0, 300.0, 19.3, 19.3),
    "flat": (30, 2.0, 1.99, 1.001, 1.0),
    "steep": (40, 3e4, 0.7, 45.0, 0.9),
}


@pytest.mark.parametrize("kind", HISTORIES)
def test_tick_labels_of_a_training_can_be_read(kind, saved, tmp_path):
    epochs, *ends = HISTORIES[kind]
    lines = [np.geomspace(a, b, epochs) for a, b in (ends[:2], ends[2:])]
    history = [
        {"epoch": i + 1, "loss": loss, "validation_rmse_px": error}
        for i, (loss, error) in enumerate(zip(*lines, strict=True))
    ]
    plot_training(tmp_path / "t.png", history)
    for axis in saved[0].axes:
        ticks = [label for label in axis.get_yticklabels() if label.get_text()]
        low, high = axis.get_ylim()
        shown = [y for y in axis.get_yticks() if low <= y <= high]
        assert 2 <= len(shown) <= 12 and not overlaps(ticks)
        low, high = axis.get_xlim()
        assert all(x == round(x) for x in axis.get_xticks() if low <= x <= high)
        (line,) = axis.get_lines()
        assert epochs > 2 or line.get_marker() == "o"  # one epoch is no line


def errors_of(size, made):
    """Key points of synthetic faces, and predictions that are about so many pixels off."""
    rng = np.random.default_rng(0)
    truth = made.key_points[:40].astype(float)
    return truth, truth + rng.normal(0, size, truth.shape)


@pytest.mark.parametrize("size, line", [(0.5, False), (1.0, False), (4.5, True), (9.0, True)])
def test_no_legend_lies_on_the_curves_and_none_names_a_line_that_is_not_there(
    size, line, saved, made, tmp_path
):
    truth, predicted = errors_of(size, made)
    plot_errors(tmp_path / "e.png", predicted, truth)
    (figure,) = saved
    *_, right = figure.axes
    assert all(axis.get_legend() is None for axis in figure.axes)
    vertical = [x for x in right.get_lines() if len(x.get_xdata()) == 2]
    assert len(vertical) == len(figure.legends) == int(line)
    assert right.get_xlim()[0] == 0
    for legend in figure.legends:
        assert not any(legend.get_window_extent().overlaps(a.bbox) for a in figure.axes)


@pytest.mark.parametrize("factor", [0.2, 0.5, 1.0, 3.0])
def test_no_number_of_the_calibration_is_struck_through(factor, saved, made, tmp_path):
    truth, predicted = errors_of(1.0, made)
    spread = np.full(truth.shape[:2], factor)
    plot_calibration(tmp_path / "c.png", predicted, spread, truth)
    left, middle, _ = saved[0].axes
    numbers = [text for text in middle.texts if text.get_text()]
    assert len(numbers) == 4
    (lines,) = middle.collections
    to_pixels = middle.transData.transform
    for (_, y), _ in lines.get_segments():
        for text in numbers:
            box = text.get_window_extent()
            assert not box.y0 - 1 <= to_pixels((0, y))[1] <= box.y1 + 1
    legend = middle.get_legend().get_window_extent()
    assert not any(legend.overlaps(bar.get_window_extent()) for bar in middle.patches)
    assert not overlaps(left.get_yticklabels()) and not overlaps(left.get_xticklabels())


def test_names_in_any_script_bring_no_warnings(tmp_path, faces):
    names = ("左眼", "右眼", "鼻", "ปาก", "a$b_c$")
    points, spread = faces.key_points[1:3, :5] + 0.0, np.ones((2, 5))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        titles = ["ImageId 顔_1", "ImageId $x$"]
        plot_faces(tmp_path / "f.png", faces.pictures[1:3], points, spread, titles, names)
        plot_errors(tmp_path / "e.png", points, points + 1, names)
    assert (tmp_path / "f.png").stat().st_size > 10_000
