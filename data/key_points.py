"""The key points: their names, CSV columns and mirror images, and the error of a prediction."""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

Names = tuple[str, ...]
SIZE = 96  # pictures are SIZE x SIZE; pixel centres run 0 .. 95, so a mirrored x is 95 - x

KEY_POINTS = (
    "left_eye_center",  # left is the subject's left: the larger x
    "right_eye_center",
    "left_eye_inner_corner",
    "left_eye_outer_corner",
    "right_eye_inner_corner",
    "right_eye_outer_corner",
    "left_eyebrow_inner_end",
    "left_eyebrow_outer_end",
    "right_eyebrow_inner_end",
    "right_eyebrow_outer_end",
    "nose_tip",
    "mouth_left_corner",
    "mouth_right_corner",
    "mouth_center_top_lip",
    "mouth_center_bottom_lip",
)


def columns_of(names: Names) -> Names:
    """The CSV columns of the key points' coordinates, a tuple."""
    return tuple(f"{name}_{axis}" for name in names for axis in "xy")


COLUMNS = columns_of(KEY_POINTS)

LEFT_EYE, RIGHT_EYE = KEY_POINTS.index("left_eye_center"), KEY_POINTS.index("right_eye_center")
MOUTH_CORNERS = [KEY_POINTS.index(f"mouth_{side}_corner") for side in ("left", "right")]


def _sixty_eight() -> Names:
    """The 68 points of 300-W in their order: the jaw, brows, nose, eyes and lips, each from the
    picture's left, where the subject's right is, to its right. Names as Kaggle's where both have
    the point.
    """
    jaw = [f"jaw_right_{i}" for i in range(8, 0, -1)] + ["chin"]
    jaw += [f"jaw_left_{i}" for i in range(1, 9)]
    brow = ["eyebrow_inner_end", "eyebrow_inner", "eyebrow_middle", "eyebrow_outer"]
    brow += ["eyebrow_outer_end"]
    brows = [f"right_{part}" for part in brow[::-1]] + [f"left_{part}" for part in brow]
    nose = ["nose_bridge_top", "nose_bridge_upper", "nose_bridge_lower", "nose_tip"]
    nose += ["right_nostril_outer", "right_nostril_inner", "nose_base"]
    nose += ["left_nostril_inner", "left_nostril_outer"]
    right_eye = ["outer_corner", "upper_lid_outer", "upper_lid_inner", "inner_corner"]
    right_eye += ["lower_lid_inner", "lower_lid_outer"]
    left_eye = [right_eye[i] for i in (3, 2, 1, 0, 5, 4)]
    eyes = [f"right_eye_{part}" for part in right_eye] + [f"left_eye_{part}" for part in left_eye]
    lips = ["mouth_right_corner", "mouth_right_top_lip_outer", "mouth_right_top_lip_inner"]
    lips += ["mouth_center_top_lip", "mouth_left_top_lip_inner", "mouth_left_top_lip_outer"]
    lips += ["mouth_left_corner", "mouth_left_bottom_lip_outer", "mouth_left_bottom_lip_inner"]
    lips += ["mouth_center_bottom_lip", "mouth_right_bottom_lip_inner"]
    lips += ["mouth_right_bottom_lip_outer"]
    inside = ["mouth_right_inside_corner", "mouth_right_inside_top", "mouth_center_inside_top"]
    inside += ["mouth_left_inside_top", "mouth_left_inside_corner", "mouth_left_inside_bottom"]
    inside += ["mouth_center_inside_bottom", "mouth_right_inside_bottom"]
    return tuple([*jaw, *brows, *nose, *eyes, *lips, *inside])


SIXTY_EIGHT = _sixty_eight()
JAW = SIXTY_EIGHT[:17]


def output_columns(names: Names) -> list[str]:
    """The CSV columns of the key points `names` (K,): the 2K coordinates, then the K spreads."""
    return [*columns_of(names), *(f"{name}_spread" for name in names)]


def three_decimals(values: Iterable[float]) -> list[str]:
    """Numbers as fields of a CSV, empty where NaN."""
    return [f"{value:.3f}" if value == value else "" for value in values]


# A name's words: by underscores, blanks and the like, digits, and capitals (eyeLeft, LEyeOuter).
WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^A-Za-z]+")

OTHER_SIDE = {"left": "right", "right": "left", "l": "r", "r": "l", "lt": "rt", "rt": "lt"}


def other_side(word: str) -> str:
    """The word with left, l or lt exchanged for right, r or rt, or vice versa; case is kept."""
    other = OTHER_SIDE.get(word.lower(), word.lower())
    if other == word.lower():
        return word
    return other.upper() if word.isupper() else other.title() if word[0].isupper() else other


def glued_side(word: str) -> str:
    """As `other_side` for words such as lefteye, eyeleft, leye or lm, which contain the side."""
    low = word.lower()
    for side in ("left", "right"):
        if low.startswith(side):
            return other_side(word[: len(side)]) + word[len(side) :]
    for side in ("left", "right"):
        if low.endswith(side):
            return word[: -len(side)] + other_side(word[-len(side) :])
    return other_side(word[0]) + word[1:] if low[:1] in ("l", "r") else word


def mirrored_names(name: str) -> Iterator[str]:
    """Candidates for the name of a point's mirror image, likeliest first; none without a side."""
    words = WORDS.findall(name)
    full = [other_side(word) if len(word) > 2 else word for word in words]
    if full == words:
        full = [other_side(word) for word in words]
    if full != words:
        yield "".join(full)
        return
    for i, word in enumerate(words):
        if glued_side(word) != word:
            yield "".join([*words[:i], glued_side(word), *words[i + 1 :]])


def side_of(name: str) -> str | None:
    """left or right, where a key point's name says so; else None."""
    for word in map(str.lower, WORDS.findall(name)):
        for side in ("left", "right"):
            if word.startswith(side) or word in (side[0], f"{side[0]}t"):
                return side
    return None


@lru_cache(maxsize=64)  # asked for every frame of a video
def mirror_partners(names: Names = KEY_POINTS) -> np.ndarray | None:
    """For each key point the index of the one that it becomes in a mirrored picture, (K,) int.

    It follows from left and right in the names, in any usual spelling: left_eye, Left_Eye, lefteye
    (CelebA), eyeLeft (AWS), LEye (OpenPose), l_eye, le. A point with neither is its own partner.
    None where the names do not say it: no name has a side (p0 .. p67), or `without_partner` finds
    one.

    Raises ValueError, naming the point, if a partner is missing (of a name such as left_eye).
    """
    swap = {"left": "right", "right": "left"}
    partners = []
    for name in names:
        partner = "_".join(swap.get(word, word) for word in name.split("_"))
        if partner not in names:
            raise ValueError(f"has the key point {name} but no {partner} to be its mirror image")
        if partner == name:
            others = (other for other in mirrored_names(name) if other in names)
            partner = next(others, name)
        partners.append(partner)
    if partners == list(names) or without_partner(names):
        return None
    index = np.array([names.index(partner) for partner in partners])
    index.flags.writeable = False
    return index if (index[index] == np.arange(len(names))).all() else None


def without_partner(names: Names) -> str | None:
    """The first key point whose name begins with left or right, but whose partner is missing."""
    for name in names:
        if any(word.lower().startswith(("left", "right")) for word in WORDS.findall(name)):
            others = list(mirrored_names(name))
            if not set(others) & set(names):
                return name
    return None


PARTNERS = mirror_partners()


def mirror_key_points(key_points: np.ndarray, partners: np.ndarray | None = PARTNERS) -> np.ndarray:
    """Key points (N, K, 2) in pixels of the mirrored pictures: x becomes 95 - x, sides swap."""
    mirrored = np.array(key_points)[:, partners]
    mirrored[..., 0] = SIZE - 1 - mirrored[..., 0]
    return mirrored


def eye_centres(names: Names = KEY_POINTS) -> tuple[int, int] | None:
    """The indices of the left and the right eye's centre, or None where one has no such name."""
    eyes = KEY_POINTS[LEFT_EYE], KEY_POINTS[RIGHT_EYE]
    return (names.index(eyes[0]), names.index(eyes[1])) if set(eyes) <= set(names) else None


def interocular_distance(
    key_points: np.ndarray, eyes: tuple[int, int] = (LEFT_EYE, RIGHT_EYE)
) -> np.ndarray:
    """Distance between the two eye centres in pixels, (N,), from key points (N, K, 2)."""
    left, right = eyes
    return np.linalg.norm(key_points[:, left] - key_points[:, right], axis=-1)


def compute_mean_face(
    key_points: np.ndarray, partners: np.ndarray | None = None
) -> list[list[float | None]]:
    """The mean face: each point's mean over faces (N, K, 2) in pixels, as K pairs.

    A point that is never labelled gets its partner's place in the mirrored picture, where there
    are `partners` as from `mirror_partners`; else [None, None].
    """
    labelled = np.isfinite(key_points)
    mean = np.where(labelled, key_points, 0).sum(0) / np.maximum(labelled.sum(0), 1)
    known = labelled.any(0)
    if partners is not None:
        mean = np.where(known, mean, mirror_key_points(mean[None], partners)[0])
        known = known | known[partners]
    return np.where(known, mean.round(3).astype(object), None).tolist()  # type: ignore


def rmse(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Root mean square error in pixels over all labelled coordinates; NaN in `truth` is masked."""
    return float(np.sqrt(np.nanmean((predicted - truth) ** 2, dtype=np.float64)))


def first_few(names: Sequence[Any]) -> str:
    """The first five names as part of a sentence."""
    return ", ".join(map(str, names[:5])) + (", …" if len(names) > 5 else "")
