"""Where faces are in a photo: candidates, refining them, and which of them are faces.

The finder's network (`models/detect/finder.py`) looks at ever smaller copies of the photo, so that
its windows of 24 pixels see faces of all sizes, turned by any angle. The checker's network
(`models/detect/checker.py`) looks closer at what the finder proposes, and drops most. What is left
is cropped upright; the key point network predicts there, and its spread decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from data.images.crops import (
    affine_centers,
    affine_scales,
    affines_from_points,
    boxes_from_affines,
    cut_crop,
    similarity_transforms,
    transform_points,
)
from data.images.pyramid import STEP, Copy, cut_crops, make_copies
from data.key_points import KEY_POINTS, SIZE, Names
from models.detect.checker import CHECKED, check, load_checker
from models.detect.finder import WINDOW, load_finder, look, look_closely
from models.detect.small_networks import CONTEXT, Weights, normalize_contrast
from models.network import predict
from models.spread import face_spread

if TYPE_CHECKING:
    import keras

# The search.
SEARCHED = 2048  # pixels along the width of the largest copy: a face of 1 % of the width has 20
MOST_PIXELS = 8e6  # of the largest copy, so that a long thin photo takes seconds, not minutes
BORDER = 12  # pixels by which each copy is continued: half a face cut by the border is found
FACE = 0.0  # the finder's logit from which a window counts
APART, ALIKE = 0.35, 0.6  # windows nearer in place (sides of a face) and log size see one face
CANDIDATE = 2.0  # score of a place (windows that see a face there) from which it is checked
MORE_UPRIGHT = 0.2  # by how much the cosine of another turn has to be larger to be tried too
UPRIGHT = -2.5  # the checker's logit plus the score's logarithm from which it is looked at
AT_ONCE = 24  # candidates that are looked at, surest first; where none is a face the search ends
MOST_LOOKS = 200  # a huge photo full of detail must not take minutes; faces are surer than detail

# The decision, by the root mean square of the points' spreads in pixels of the crop.
HOPELESS = 10.0  # after the first look: pictures without a face are at 40
CLEAR, NOTHING = 2.5, 25.0  # between these a first look shows something: the crop may be too small
LARGER = 1.45  # by how much larger the next crop is then
DOUBTFUL = 4.0  # in the end: 99 % of the held-out faces stay below 2.2, covered ones reach 4
SMALL, DOUBTFUL_SMALL = 50, 2.7  # crops of fewer photo pixels are blurred, and deceive more easily
ONE_FACE = 0.5  # crops whose middles are nearer, in means of both sides, show the same face

NONE = np.empty((0, 2, 3))  # no crops


def find_faces(
    model: keras.Model,
    photo: np.ndarray,
    mirror: bool = True,
    names: Names = KEY_POINTS,
    face: np.ndarray | None = None,
    known: np.ndarray = NONE,
    finder: Weights | None = None,
    checker: Weights | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the faces in a photo, turned by any angle, and their key points, left to right.

    Args:
        model: as from `load_model`.
        photo: grey values (H, W) or colours (H, W, 3), uint8.
        mirror: average the last prediction with the one for the mirrored crops.
        names: of the model's key points.
        face: as from `mean_face_of`.
        known: crops (M, 2, 3), as from `affines_from_points`, of faces that need not be found.
        finder, checker: as from `load_finder` and `load_checker`; unset: those that are shipped.

    Returns:
        As `predict_crops`: points (N, K, 2) in photo pixels, spread (N, K) in pixels of the crop.
    """
    grey = to_grey(photo)
    copies = shrink(grey)
    finder, checker = finder or load_finder(), checker or load_checker()
    candidates = find_candidates(finder, copies)
    new = elsewhere(candidates.places, candidates.sides, known)
    candidates = pick(candidates, new & (candidates.scores > CANDIDATE))
    candidates = other_angles(finder, copies, candidates)
    upright = pick(candidates, check_candidates(checker, copies, candidates))
    none = np.empty((0, len(names), 2)), np.empty((0, len(names)))
    if not len(upright.places):
        return none
    crops, doubt = first_look(model, copies, upright, names, face)
    crops = crops[least_doubtful(crops, doubt, np.full(len(crops), HOPELESS))]
    if not len(crops):
        return none
    key_points, spread = predict_crops(model, grey, crops, mirror, names)
    crops = affines_from_points(key_points, face)
    limits = np.where(SIZE * affine_scales(crops) < SMALL, DOUBTFUL_SMALL, DOUBTFUL)
    kept = least_doubtful(crops, face_spread(spread), limits)
    key_points, spread, crops = key_points[kept], spread[kept], crops[kept]
    order = np.argsort(boxes_from_affines(crops)[:, 0])
    return key_points[order], spread[order]


def first_look(
    model: keras.Model,
    copies: list[Copy],
    upright: Candidates,
    names: Names = KEY_POINTS,
    face: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Crops (N, 2, 3) round the points found at candidates, and how doubtful each is (N,).

    Without mirroring, which drops what is no face at all. The candidates are looked at some at a
    time, as they come, without those that lie at a clear face; where not one of some shows a face,
    the rest is left alone.
    """
    crops, doubt, left = [NONE], [np.empty(0)], upright
    while len(left.places):
        seen, unsure = glance(model, copies, pick(left, np.s_[:AT_ONCE]), names, face)
        crops.append(seen)
        doubt.append(unsure)
        if not (unsure < HOPELESS).any():
            break
        left = pick(left, np.s_[AT_ONCE:])
        left = pick(left, elsewhere(left.places, left.sides, seen[unsure < CLEAR]))
    return np.concatenate(crops), np.concatenate(doubt)


def glance(
    model: keras.Model,
    copies: list[Copy],
    upright: Candidates,
    names: Names,
    face: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Crops (N, 2, 3) and doubts (N,), as from `first_look`, of these candidates.

    Where a crop shows something, but not clearly, a larger one is tried as well: faces seen from
    the side look small to the finder.
    """

    def see(places: np.ndarray, sides: np.ndarray, turns: np.ndarray) -> tuple[np.ndarray, ...]:
        crops = similarity_transforms(sides / SIZE, turns, (SIZE - 1) / 2, places)
        found, spread = predict(model, cut_crops(copies, crops, SIZE), names=names)
        return affines_from_points(transform_points(found, crops), face), face_spread(spread)

    places, sides, turns, _ = upright
    crops, doubt = see(places, sides, turns)
    unclear = (doubt > CLEAR) & (doubt < NOTHING)
    if not unclear.any():
        return crops, doubt
    more, more_doubt = see(places[unclear], LARGER * sides[unclear], turns[unclear])
    return np.concatenate([crops, more]), np.concatenate([doubt, more_doubt])


def least_doubtful(crops: np.ndarray, doubt: np.ndarray, limits: np.ndarray) -> list[int]:
    """Which of the faces in `crops` (N, 2, 3) to keep, by `doubt` (N,) below `limits` (N,).

    Several candidates may lead to the same face: the least doubtful one stays.
    """
    middles, sides = affine_centers(crops), SIZE * affine_scales(crops)
    kept: list[int] = []
    for i in np.argsort(doubt):
        if doubt[i] < limits[i] and elsewhere(middles[[i]], sides[[i]], crops[kept])[0]:
            kept.append(i)
    return kept


def elsewhere(middles: np.ndarray, sides: np.ndarray, crops: np.ndarray) -> np.ndarray:
    """Which squares, by their middles (N, 2) and sides (N,), show another face than each of `crops`
    (M, 2, 3): bool (N,)."""
    distance = np.abs(middles[:, None] - affine_centers(crops)).max(-1)
    return (distance > ONE_FACE * (sides[:, None] + SIZE * affine_scales(crops)) / 2).all(1)


def to_grey(photo: np.ndarray) -> np.ndarray:
    """A photo's grey values (H, W) uint8, from those or from colours (H, W, 3) uint8."""
    from PIL import Image

    if photo.dtype != np.uint8 or photo.ndim not in (2, 3):
        raise ValueError(f"a photo is uint8 (H, W) or (H, W, 3), not {photo.dtype} {photo.shape}")
    return photo if photo.ndim == 2 else np.asarray(Image.fromarray(photo).convert("L"))


class Candidates(NamedTuple):
    """Where faces may be in a photo."""

    places: np.ndarray  # float (N, 2): the middle of the crop as trained, x y in photo pixels
    sides: np.ndarray  # float (N,): of that crop, in photo pixels
    turns: np.ndarray  # float (N,): by how much the face is turned, clockwise, in radians
    scores: np.ndarray  # float (N,): how many windows see it, each counted as far as it is sure


def pick(candidates: Candidates, which: np.ndarray | slice) -> Candidates:
    """Those of the candidates, by indices, a slice or a mask."""
    return Candidates(*(values[which] for values in candidates))


def shrink(grey: np.ndarray) -> list[Copy]:
    """The copies of a photo's grey values (H, W) uint8 in which the search looks.

    From one to the next is a step of √2; the finder's windows know faces of 0.8 to 1.25 of theirs.
    """
    return make_copies(grey, SEARCHED, MOST_PIXELS, WINDOW / STEP)


def searched(copies: list[Copy]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The copies as the finder looks at them, without those that are only cut from.

    Yields each with its light made level and its border continued, float32 (h, w), and its step.
    """
    for grey, step, larger in copies:
        if larger:
            continue
        rest = [-side % 4 for side in grey.shape]  # blocks of 4x4 pixels are made level
        yield (
            normalize_contrast(np.pad(grey, [(BORDER, BORDER + more) for more in rest], "edge")),
            step,
        )


def find_candidates(finder: Weights, copies: list[Copy]) -> Candidates:
    """Look for faces of any turn in a photo, from 20 pixels on; the surest first."""
    rows = []
    for picture, step in searched(copies):
        places, values = look(finder, picture)
        sure = values[:, 1] > FACE
        places, values = places[sure], values[sure]
        middle = places + (WINDOW - 1) / 2 - BORDER + WINDOW * values[:, 4:6]
        middle = (middle + 0.5) * step - 0.5
        side = np.log(WINDOW * step.mean()) + values[:, 6]
        chance = 1 / (1 + np.exp(-values[:, 1]))
        rows.append(np.column_stack([middle, side, values[:, 2:4], chance]))
    return _merged(np.concatenate(rows))


def _merged(rows: np.ndarray) -> Candidates:
    """Candidates from windows (M, 6): place x y, log side, cosine and sine of the turn, chance.

    The surest window takes those near it in place and size, and the mean of all is one candidate.
    """
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    x, size, chance = (np.ascontiguousarray(rows[:, i]) for i in (0, 2, 5))
    left = np.ones(len(rows), bool)
    found = []
    for first in np.argsort(-chance, kind="stable"):
        if not left[first]:
            continue
        # Only these can be near: large photos have ten thousands.
        reach = APART * np.exp(size[first] + ALIKE)
        some = slice(*np.searchsorted(x, [x[first] - reach, x[first] + reach]))
        away = np.abs(rows[some, :2] - rows[first, :2]).max(1)
        away /= np.exp(np.maximum(size[some], size[first]))
        same = left[some] & (away < APART) & (np.abs(size[some] - size[first]) < ALIKE)
        taken = np.flatnonzero(same) + some.start
        weight = rows[taken, 5:]
        found.append([*(rows[taken, :5] * weight).sum(0) / weight.sum(), weight.sum()])
        left[taken] = False
    x, y, side, cos, sin, score = np.reshape(found, (-1, 6)).T
    order = np.argsort(-score)
    places, turns = np.stack([x, y], -1), np.arctan2(sin, cos)
    return Candidates(*(v[order] for v in (places, np.exp(side), turns, score)))


def other_angles(finder: Weights, copies: list[Copy], candidates: Candidates) -> Candidates:
    """The candidates, and second thoughts about them.

    The finder looks again at each candidate, turned as it said and by a quarter, a half and three
    quarters more. Where one of those looks clearly more upright, it is to be tried as well.
    """
    places, sides, turns, scores = candidates
    if not len(places):
        return candidates
    upright = normalize_contrast(cut_upright(copies, candidates, WINDOW))  # alike in every quarter
    size = upright.shape[1]
    windows = upright[:, CONTEXT:-CONTEXT, CONTEXT:-CONTEXT]
    values = np.stack([look_closely(finder, np.rot90(windows, i, (1, 2))) for i in range(4)])
    best = values[..., 2].argmax(0)
    every = np.arange(len(places))
    other = np.flatnonzero(values[best, every, 2] > values[0, every, 2] + MORE_UPRIGHT)
    _, _, cos, sin, x, y, grown = values[best[other], other].T
    turn = turns[other] + best[other] * np.pi / 2
    off = WINDOW * np.stack([x, y], -1)[:, None] + (size - 1) / 2
    ways = similarity_transforms(sides[other] / WINDOW, turn, (size - 1) / 2, places[other])
    second = (
        transform_points(off, ways)[:, 0],
        sides[other] * np.exp(grown),
        turn + np.arctan2(sin, cos),
        scores[other],
    )
    return Candidates(*(np.concatenate(pair) for pair in zip(candidates, second, strict=True)))


def check_candidates(checker: Weights, copies: list[Copy], candidates: Candidates) -> np.ndarray:
    """Indices of the candidates that may show an upright face, by a closer look; the surest first,
    `MOST_LOOKS` at most."""
    sure = check(checker, cut_upright(copies, candidates, CHECKED)) + np.log(candidates.scores)
    return np.argsort(-sure, kind="stable")[: (sure > UPRIGHT).sum()][:MOST_LOOKS]


def cut_upright(copies: list[Copy], candidates: Candidates, window: int) -> np.ndarray:
    """The candidates' faces, upright and `window` pixels large, with what decides how their light
    is made level all round: float32 (N, P, P), P = window + 2 * CONTEXT."""
    places, sides, turns, _ = candidates
    size = window + 2 * CONTEXT
    return cut_crops(
        copies, similarity_transforms(sides / window, turns, (size - 1) / 2, places), size
    )


def predict_crops(
    model: keras.Model,
    grey: np.ndarray,
    crops: np.ndarray,
    mirror: bool = True,
    names: Names = KEY_POINTS,
) -> tuple[np.ndarray, np.ndarray]:
    """Predict the faces in `crops` (N, 2, 3) of a photo's grey values (H, W) uint8.

    Returns the points in photo pixels, (N, K, 2), and their spread in pixels of the crop, (N, K).
    """
    pictures = np.array([cut_crop(grey, crop) for crop in crops]).reshape(-1, SIZE, SIZE)
    found, spread = predict(model, pictures, mirror, names=names)
    return transform_points(found, crops), spread


def refine(
    model: keras.Model,
    grey: np.ndarray,
    crops: np.ndarray,
    mirror: bool = True,
    names: Names = KEY_POINTS,
    face: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Predict in `crops` (N, 2, 3), crop again round the points found, predict once more.

    The second crops are upright: measured on wild faces that gains next to nothing where heads are
    upright, and heads tilted by 25 degrees then come out as exactly as upright ones (mean error
    4.47 % of 40 px instead of 4.58). A third crop gains nothing.

    `names` are the model's key points, `face` as from `mean_face_of`. Returns as `predict_crops`.
    """
    once, _ = predict_crops(model, grey, crops, mirror, names)
    return predict_crops(model, grey, affines_from_points(once, face), mirror, names)
