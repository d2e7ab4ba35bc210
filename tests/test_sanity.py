"""The checks of a training file's key points: impossible, suspicious and good ones."""

import re

import numpy as np
import pytest

from data.faces import Faces, load_training
from data.key_points import KEY_POINTS, PARTNERS, compute_mean_face, mirror_key_points
from data.labels.sanity import check_key_points
from data.labels.training_files import can_mirror, check_labels, check_sides
from data.system.files import InputError


@pytest.fixture(scope="module")
def made(made):
    return made.take(slice(0, 60))


def assert_passes(faces):
    """The checks find nothing, and the faces can be mirrored."""
    assert check_key_points(faces) == [] and can_mirror([faces])


def placeholders(value):
    def change(key_points):
        key_points[3::2, 4:9] = value
        return key_points

    return change


def swapped(key_points):
    return key_points[..., ::-1].copy()


IMPOSSIBLE = {
    "-1 for missing": (placeholders(-1), r"right_eye_inner_corner_x .* row 4 .*\(-1, -1\), as"),
    "0 for missing": (placeholders(0), r"right_eye_inner_corner_x .* row 4 .*\(0, 0\), as 144 mo"),
    "-9 for missing": (placeholders(-9), "leave both fields empty"),
    "one 0": (lambda k: np.where(np.arange(60)[:, None, None] == 7, 0, k), "row 8 below"),
    "0 to 1": (lambda k: (k + 0.5) / 96, r"fractions of the picture, 0 to 1; .* value \* 96 - 0.5"),
    "-1 to 1": (lambda k: (k + 0.5) / 48 - 1, r"-1 to 1; .* \(value \+ 1\) \* 48 - 0.5"),
    "x and y swapped": (swapped, "the mouth lies beside the eyes; x and y look swapped"),
    "y upwards": (
        lambda k: np.array([0, 95]) + k * [1, -1],
        "the mouth lies above the eyes; .* 95 - y",
    ),
}


def point(name, change):
    """A change to one point of all faces."""

    def changed(key_points):
        k = KEY_POINTS.index(name)
        key_points[:, k] = change(key_points[:, k])
        return key_points

    return changed


def exchanged(*names):
    """Two points' columns exchanged."""

    def changed(key_points):
        one, two = map(KEY_POINTS.index, names)
        key_points[:, [one, two]] = key_points[:, [two, one]]
        return key_points

    return changed


IMPOSSIBLE |= {
    f"{name} with x and y swapped": (
        point(name, lambda place: place[:, ::-1]),
        f"{name}_x and {name}_y are .* on average, .* its x and y look swapped: swap the two",
    )
    for name in ("left_eye_center", "left_eyebrow_outer_end", "mouth_center_top_lip")
}
IMPOSSIBLE |= {
    "an eye and a mouth's corner": (
        exchanged("left_eye_center", "mouth_right_corner"),
        "that is where (mouth_right_corner|left_eye_center) belongs: put the columns right",
    ),
    "the eyes' centres alone": (
        exchanged("left_eye_center", "right_eye_center"),
        # Either of the two may be named: both are as wrong.
        "(left_eye_center_x and .*that is where right|right_eye_center_x and .*that is where left)"
        "_eye_center belongs: put the columns right",
    ),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_what_cannot_be_right_is_one_sentence(case, made):
    change, message = IMPOSSIBLE[case]
    key_points = change(made.key_points.copy()).astype(np.float32)
    with pytest.raises(InputError, match=message) as caught:
        check_key_points(made._replace(key_points=key_points))
    assert "\n" not in str(caught.value) and str(made.path) in str(caught.value)


def viewers(key_points):
    return key_points[:, PARTNERS]


def one_crossed(key_points):
    key_points[7] = key_points[7, PARTNERS]
    return key_points


def far(key_points):
    key_points[11, KEY_POINTS.index("nose_tip")] = 90, 10
    return key_points


def as_the_row_before(key_points):
    for i in range(1, 60):
        if i % 3:
            key_points[i, 2:10] = key_points[i - 1, 2:10]
    return key_points


def by_the_mean(key_points):
    key_points[::2, 3] = key_points[:, 3].mean(0)
    return key_points


SUSPICIOUS = {
    "viewer's left": (viewers, "left_eyebrow_outer_end_x is smaller .* in 60 rows, .* row 1 below"),
    "one row crossed": (one_crossed, "left_eye_center_x .* row 8 below.*mixed up"),
    "far off": (far, r"nose_tip_x and nose_tip_y in row 12 .*\(90, 10\), more than 35 px"),
    "filled from the row before": (as_the_row_before, "left_eye_inner_corner_x .*were they filled"),
    "filled by the mean": (by_the_mean, "left_eye_outer_corner_x .*were they filled in"),
    "filled in whole pixels": (
        lambda k: by_the_mean(k.round()).round(),
        "left_eye_outer_corner_x .*were they filled in",
    ),
    "nose and lip exchanged": (
        exchanged("nose_tip", "mouth_center_top_lip"),
        "nose_tip_x and .*that is where mouth_center_top_lip belongs",
    ),
    "a nose's y upwards": (
        point("nose_tip", lambda place: place * (1, -1) + (0, 95)),
        "nose_tip_x and nose_tip_y are .* usual; is it right",
    ),
    "shares across only": (
        lambda k: k * (1 / 96, 1),
        "at x = 0 on average.*fractions of the picture",
    ),
    "counted from the middle": (lambda k: k - 47.5, "x = 0 on average.*counted from its middle"),
    "of 64x64 pictures": (lambda k: (k + 0.5) * 64 / 96 - 0.5, "another size .*about 6[3-5] wide"),
    "of 128x128 pictures": (lambda k: (k + 0.5) * 4 / 3 - 0.5, "another size .*about 12[6-9] wide"),
    "of small pictures": (lambda k: k / 5, "all points lie within"),
    "of large pictures": (lambda k: k * 1.9 + 60, "outside of the 96x96 picture"),
}


@pytest.mark.parametrize("case", SUSPICIOUS)
def test_what_is_suspicious_is_warned_of(case, made):
    change, message = SUSPICIOUS[case]
    key_points = change(made.key_points.copy()).astype(np.float32)
    suspicious = made._replace(key_points=key_points)
    warnings = check_key_points(suspicious)
    matching = [text for text in warnings if re.search(message, text)]
    assert len(matching) == 1 and matching[0].startswith(f"{made.path}: "), warnings
    assert can_mirror([suspicious])


def test_a_point_of_ones_own_with_x_and_y_swapped(made):
    own = points_by(made, **FIVE, mouth_l="mouth_left_corner", mouth_r="mouth_right_corner")
    own.key_points[:, 0] = own.key_points[:, 0, ::-1]
    (warning,) = check_key_points(own)
    assert re.search("left_eye_x and .* x and y look swapped beside right_eye: swap", warning)
    assert not can_mirror([own])


@pytest.mark.parametrize("name", ["nose tip", "Nose_Tip", "nose-tip", "nosetip", "nose_tipp"])
def test_a_name_that_is_nearly_kaggles_is_said(name, made):
    names = tuple(name if known == "nose_tip" else known for known in KEY_POINTS)
    (said,) = check_key_points(made._replace(names=names))
    assert f"{name} is none of Kaggle's 15 key points, but most others are: is nose_tip" in said


def test_points_that_nobody_labelled_bring_no_warning_of_numpys(made, recwarn):
    key_points = made.key_points.copy()
    key_points[:, 6:10] = np.nan
    assert_passes(made._replace(key_points=key_points))
    # A file that an earlier test left open may be found just now.
    assert not [str(w.message) for w in recwarn.list if w.category is not ResourceWarning]


def test_faces_as_they_should_be_pass_in_silence(made):
    assert_passes(made)
    key_points = made.key_points.copy()
    key_points[::2, 2:10] = np.nan
    assert_passes(made._replace(key_points=key_points))
    assert_passes(made.take(slice(0, 2)))
    flipped = mirror_key_points(made.key_points)
    assert_passes(made._replace(key_points=flipped))


def test_real_faces_pass_in_silence(real_training_csv):
    assert_passes(load_training(real_training_csv))


def points_by(made, **columns):
    """Faces with the named points, each at the place of one of Kaggle's."""
    index = [KEY_POINTS.index(name) for name in columns.values()]
    return made._replace(key_points=made.key_points[:, index], names=tuple(columns))


FIVE = {"left_eye": "left_eye_center", "right_eye": "right_eye_center", "nose": "nose_tip"}


@pytest.mark.parametrize("mouth", [("leftmouth", "rightmouth"), ("mouth_l", "mouth_r")])
def test_names_that_are_understood_mirror(made, mouth):
    corners = dict(zip(mouth, ("mouth_left_corner", "mouth_right_corner"), strict=True))
    assert_passes(points_by(made, **FIVE, **corners))


@pytest.mark.parametrize(
    "points, message",
    [
        (FIVE | {"mouth1": "mouth_left_corner", "mouth2": "mouth_right_corner"}, "mouth1 has no p"),
        (
            {  # dlib counts both eyes from the left of the picture
                "right_eye_0": "right_eye_outer_corner",
                "right_eye_1": "right_eye_inner_corner",
                "left_eye_0": "left_eye_inner_corner",
                "left_eye_1": "left_eye_outer_corner",
                "nose": "nose_tip",
            },
            "right_eye_0 has the partner left_eye_0, but .* where left_eye_1 does",
        ),
    ],
)
def test_names_that_mislead_are_said_and_nothing_is_mirrored(made, points, message):
    faces = points_by(made, **points)
    assert re.search(message, check_key_points(faces)[0])
    assert not can_mirror([faces])


def test_turned_heads_are_not_taken_for_wrong_names(made):
    turned = points_by(made, **FIVE)
    turned.key_points[:, 2] += (9, 0)  # all noses point the same way
    assert_passes(turned)
    assert isinstance(turned, Faces)


def test_files_and_models_must_mean_the_same_by_left_and_right(made):
    """Other files, and a model to start from; a consistent file alone is only warned of."""
    turned = made._replace(key_points=viewers(made.key_points), path="turned.csv")
    for files in ([made, made], [turned]):
        check_labels(files)
        assert can_mirror(files)
    with pytest.raises(InputError, match="turned.csv: left and right are the other way round than"):
        check_labels([made, turned])
    own = points_by(turned, **FIVE)
    for faces in (turned, own):
        known = tuple(faces.names[::-1])
        mean = [compute_mean_face(made.key_points)[KEY_POINTS.index(FIVE.get(n, n))] for n in known]
        with pytest.raises(InputError, match="turned.csv: left .* than in m.keras, from which"):
            check_sides(faces, "m.keras", known, mean)
        for none in (
            None,
            [],
            [[None, None]] * len(known),
            compute_mean_face(faces.key_points)[::-1],
        ):
            check_sides(faces, "m.keras", known, none)
        check_sides(faces, "m.keras", ("p1", "p2"), mean[:2])
