"""results/figures/: what people see on their photos."""

import numpy as np
import pytest
from PIL import Image

from data.images.crops import similarity_transforms, transform_points
from data.key_points import KEY_POINTS
from models.detect.search import Detections
from results.figures import drawing, fonts
from results.figures.colours import COLOURS, EACH, OTHER, group_of, rgb, style_of, styles_of
from results.figures.drawing import boxes_to_chins, draw_faces, draw_legend
from results.figures.profiles import eyes_of, hidden_points, nose_tip
from results.measures import UNSURE
from results.photos import annotate

# A face as in Kaggle's pictures, the same on both sides.
EYES = [[66, 38], [30, 38], [59, 38], [73, 38], [37, 38], [23, 38]]
BROWS = [[56, 29], [79, 30], [40, 29], [17, 30]]
NOSE_AND_MOUTH = [[48, 63], [63, 76], [33, 76], [48, 73], [48, 79]]
SHAPE = np.array([*EYES, *BROWS, *NOSE_AND_MOUTH], float)
GREY = 90


def faces_of(side, angle=0.0, spread=1.0, names=KEY_POINTS, points=SHAPE, mean_face=None):
    """A face whose crop has that side, in the middle of a photo of four sides."""
    affine = similarity_transforms(
        np.array([side / 96]), np.array([angle]), (47.5, 47.5), np.array([[2 * side, 2 * side]])
    )
    found = transform_points(points[None], affine)
    return Detections(found, np.full((1, len(points)), spread), names, mean_face)


def drawn(faces, size):
    canvas = np.full((size, size, 3), GREY, np.uint8)
    draw_faces(canvas, faces, [1])
    return canvas


def eye_area(canvas, faces, side):
    """The part of a canvas around the left eye."""
    x, y = faces.points[0, 0]
    return canvas[
        round(y - 0.06 * side) : round(y + 0.06 * side) + 1,
        round(x - 0.1 * side) : round(x + 0.1 * side) + 1,
    ]


@pytest.mark.parametrize("side", [30, 40, 60, 80, 100])
def test_dots_do_not_hide_the_eyes_of_small_faces(side):
    faces = faces_of(side, spread=1.5)
    eye = eye_area(drawn(faces, 4 * side), faces, side)
    changed = (np.abs(eye.astype(int) - GREY) > 40).any(-1)
    assert 0.02 < changed.mean() < 0.45


def test_rings_and_outlines_come_with_the_size():
    def colours(side, spread):
        faces = faces_of(side, spread=spread)
        eye = eye_area(drawn(faces, 4 * side), faces, side).reshape(-1, 3).astype(int)
        return (eye.max(1) < 70).sum(), (np.abs(eye - rgb(COLOURS["eye"])).max(1) < 40).sum()

    assert colours(60, 1.0)[0] == 0 < colours(90, 1.0)[0]  # black outlines
    assert colours(100, 1.0)[1] == colours(100, 2.5)[1]  # no rings
    assert colours(300, 0.1)[1] < colours(300, 2.0)[1]  # rings


def test_numbers_can_be_read_in_the_whole_picture_and_are_smaller_than_the_face(monkeypatch):
    sizes = []
    monkeypatch.setattr(
        drawing, "draw_number", lambda canvas, number, box, size: sizes.append(size)
    )
    for photo, side in ((1920, 90), (6000, 200), (640, 30), (500, 300)):
        draw_faces(np.zeros((photo // 2, photo, 3), np.uint8), faces_of(side), [1])
    assert sizes == pytest.approx([24, 70, 10, 33], abs=3)


@pytest.mark.parametrize("degrees", [0, 90, 180, -90, 45])
def test_boxes_reach_from_the_crop_to_the_chin_whatever_the_angle(degrees):
    faces = faces_of(100, np.radians(degrees))
    (box,) = boxes_to_chins(faces.affines)
    chin = transform_points(np.array([[[47.5, 104.0]]]), faces.affines)[0, 0]  # below the crop
    top = transform_points(np.array([[[47.5, 2.0]]]), faces.affines)[0, 0]
    for x, y in (chin, top, *faces.points[0]):
        assert box[0] <= x <= box[0] + box[2] and box[1] <= y <= box[1] + box[3]
    if degrees == 0:
        (crop,) = faces.boxes
        np.testing.assert_allclose(box[:3], crop[:3], atol=0.6)
        assert box[3] == pytest.approx(1.15 * crop[3])
    assert max(box[2:]) < 1.2 * 100


# --- profiles ---


def turned(yaw):
    """The shape of a head turned by so many degrees: the nose stands out, the sides lie back."""
    depth = np.zeros(15)
    depth[KEY_POINTS.index("nose_tip")] = 22
    outer = [i for i, name in enumerate(KEY_POINTS) if "outer" in name]
    depth[outer] = -3
    angle = np.radians(yaw)
    x = (SHAPE[:, 0] - 48) * np.cos(angle) + depth * np.sin(angle) + 48
    return np.stack([x, SHAPE[:, 1]], -1)


@pytest.mark.parametrize("side, sign", [("left", 1), ("right", -1)])
def test_what_a_profile_hides_is_not_drawn(side, sign):
    far = np.array([side in name for name in KEY_POINTS])
    middle = np.array(["left" not in name and "right" not in name for name in KEY_POINTS])
    middle[KEY_POINTS.index("nose_tip")] = False
    for yaw, expected in ((0, None), (20, None), (65, far)):
        doubtful, hidden = hidden_points(turned(sign * yaw)[None], KEY_POINTS)
        assert (hidden[0] == (far if expected is not None else False)).all()
        assert (doubtful[0] == (middle if expected is not None else False)).all()
    points = turned(sign * 65)
    faces = faces_of(400, points=points)
    canvas = drawn(faces, 1600)
    for k, (x, y) in enumerate(faces.points[0].round().astype(int)):
        there = (canvas[y, x] == rgb(style_of(KEY_POINTS[k])[0])).all()
        assert there == (not far[k] and not middle[k]), KEY_POINTS[k]  # hollow in the middle


def test_in_a_three_quarter_view_the_outer_points_of_the_far_eye_are_hollow():
    doubtful, hidden = hidden_points(turned(45)[None], KEY_POINTS)
    assert not hidden.any()
    names = [name for name, here in zip(KEY_POINTS, doubtful[0], strict=True) if here]
    assert set(names) == {"left_eye_outer_corner", "left_eyebrow_outer_end"}


def test_rotated_heads_are_no_profiles_and_names_are_not_needed():
    for angle in (0.5, 2.0, -3.0):
        doubtful, hidden = hidden_points(faces_of(50, angle).points, KEY_POINTS)
        assert not doubtful.any() and not hidden.any()
        profile = faces_of(50, angle, points=turned(65)).points
        assert hidden_points(profile, KEY_POINTS)[1].sum() == 6
    for names in (tuple(f"p{k}" for k in range(15)), tuple(f"nose_{k}" for k in range(15))):
        assert not np.any(hidden_points(turned(65)[None], names))
    assert nose_tip(("nose", "chin")) == 0 and nose_tip(("nose_tip", "nose_root")) == 0
    assert nose_tip(("nose_1", "nose_2")) is None
    assert eyes_of(("LEye", "REye", "nose")) == ([0], [1]) and eyes_of(("eye", "nose")) is None
    with np.errstate(all="raise"):
        hidden_points(np.full((1, 15, 2), 3.0), KEY_POINTS)  # all in one place
        hidden_points(np.full((2, 15, 2), np.nan), KEY_POINTS)


# --- own points ---

OWN = "左眼", "右眼", "nose_tip", "mouth_left", "口の右端"
MEAN = np.array([[66, 37], [30, 37], [48, 57], [63, 73], [33, 73.0]])


def own_faces(names=OWN):
    return faces_of(100, names=names, points=MEAN, mean_face=MEAN)


def test_own_points_have_a_colour_each_and_many_one_by_group():
    assert len({colour for colour, *_ in styles_of(OWN)}) == 5
    assert [label for *_, label in styles_of(OWN)] == list(OWN)
    assert styles_of(KEY_POINTS) == tuple(map(style_of, KEY_POINTS))
    assert styles_of(KEY_POINTS[:5]) == tuple(map(style_of, KEY_POINTS[:5]))
    many = tuple(f"{part}_{k}" for part in ("jaw", "left_ear", "nose", "下顎") for k in range(5))
    styles = styles_of(many)
    assert list(dict.fromkeys(label for *_, label in styles)) == ["jaw", "ear", "nose", "下顎"]
    assert len({colour for colour, *_ in styles}) == 4 and styles[10][0] == COLOURS["nose"]
    assert group_of("p7") == "p" and group_of("7") == "points" and group_of("jawLeft3") == "jaw"
    groups = styles_of(tuple(f"{a}{b}x" for a in "abcdefghijk" for b in "mnopq"))
    assert groups[-1][0] == OTHER  # more groups than colours
    assert len(set(EACH)) == len(EACH) and set(COLOURS.values()) < set(EACH)


def test_their_names_are_on_the_photo_where_no_face_is(monkeypatch):
    monkeypatch.setattr(fonts, "said", set())
    photo = Image.new("RGB", (600, 400), (GREY,) * 3)
    faces = own_faces()
    drawn = np.asarray(annotate(photo, faces)).astype(int)
    for colour in (rgb(colour) for colour, *_ in styles_of(OWN)):
        there = np.abs(drawn - colour).max(-1) < 30
        assert there[:, 400:].any() or there[:90].any()  # away from the face
    plain = drawn.copy()
    draw_faces(plain := np.asarray(photo).copy(), faces, [1])
    legend = (plain != drawn).any(-1)
    x, y, w, h = boxes_to_chins(faces.affines)[0].astype(int)
    assert legend.any() and not legend[y : y + h, x : x + w].any()


def test_kaggles_points_have_no_legend_and_those_never_found_are_not_in_one(monkeypatch):
    canvas = np.full((300, 300, 3), GREY, np.uint8)
    draw_legend(canvas, faces_of(100))
    assert (canvas == GREY).all()
    texts = []
    mask = drawing.text_mask
    monkeypatch.setattr(drawing, "text_mask", lambda *a: [texts.append(a[0]), mask(*a)][1])
    mean_face = np.where(np.arange(5)[:, None] == 1, np.nan, MEAN)
    faces = faces_of(100, names=tuple("abcde"), points=MEAN, mean_face=mean_face)
    faces.spread[:, 1] = faces.points[:, 1] = np.nan
    draw_legend(canvas, faces)
    assert texts == ["a", "c", "d", "e"]


def test_a_font_is_chosen_that_has_the_characters(monkeypatch, capsys):
    """Fonts that are here: pretended is only which characters they have."""
    base, other = fonts.base_file(), fonts.base_file().replace("DejaVuSans", "DejaVuSerif")
    has = {base: set("abc_"), other: set("左眼a"), "damaged": set()}
    monkeypatch.setattr(fonts, "said", set())
    monkeypatch.setattr(fonts, "installed_fonts", lambda: list(has))
    monkeypatch.setattr(fonts, "characters_of", lambda path: frozenset(has[path]))
    assert fonts.files_for(["abc", "a_b"]) == []
    assert fonts.files_for(["左", "眼 a"]) == [other]
    assert fonts.fonts_for(["左"]) == ["DejaVu Sans", "DejaVu Serif"]
    assert fonts.file_of("左眼", [other]) == other and fonts.file_of("abc", [other]) == base
    assert capsys.readouterr().out == ""
    assert fonts.files_for(["左口", "端"]) == [other]
    said = capsys.readouterr().out
    assert "No font on this computer has 口 端: " in said and said.count("\n") == 1
    fonts.files_for(["口"])
    assert capsys.readouterr().out == ""  # once


def test_characters_are_read_off_the_font(tmp_path):
    assert {"a", "é", "Ω", "Ж"} <= fonts.characters_of(fonts.base_file())
    assert "左" not in fonts.characters_of(fonts.base_file())
    (tmp_path / "no.ttf").write_bytes(b"no font")
    assert fonts.characters_of(str(tmp_path / "no.ttf")) == frozenset()


def test_unsure_points_are_hollow():
    faces = faces_of(300, spread=UNSURE + 1)
    x, y = faces.points[0, 10].round().astype(int)
    assert (drawn(faces, 1200)[y, x] == GREY).all()
    assert (drawn(faces_of(300), 1200)[y, x] == rgb(COLOURS["nose"])).all()
