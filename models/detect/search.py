"""The face detector: from a photo to its faces' key points.

A cascade of three networks. The finder (`models/detect/finder.py`) scans ever smaller copies of
the photo, so that its windows of 24 pixels see faces of all sizes, at any angle. The checker
(`models/detect/checker.py`) rejects most of its candidates. What is left is cropped upright for
the key point network, whose spread decides what is a face.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from data.images.aligned_crops import TEMPLATE_SIZE, aligned_affines, check_names, cut_aligned
from data.images.crops import (
    affine_centers,
    affine_scales,
    affines_from_boxes,
    affines_from_points,
    boxes_from_affines,
    cut_crop,
    similarity_transforms,
    transform_points,
)
from data.images.pixels import in_eight_bits, to_srgb
from data.images.pyramid import FACTOR, Level, build_pyramid, cut_crops
from data.key_points import SIZE, Names
from models.detect.checker import CHECKED, check, load_checker
from models.detect.finder import WINDOW, load_finder, scan, score_windows
from models.detect.settings import DEFAULTS, SearchSettings, settings_of
from models.detect.small_networks import CONTEXT, Weights, normalize_contrast
from models.pose.least_squares import HeadPoses, estimate_poses
from models.pose.mean_head import mean_head
from models.spread import face_spread
from models.storage import Landmarker

if TYPE_CHECKING:
    from PIL import Image

NO_AFFINES = np.empty((0, 2, 3))


@dataclass(frozen=True, eq=False)
class Detections:
    """The N faces found in a photo, left to right, with K key points each.

    Pixels of the photo are counted from the center of the first one, x to the right, y down.
    """

    # NaN in both: key points that the model's training never saw labelled.
    points: np.ndarray  # (N, K, 2): x and y of each key point, in pixels of the photo
    spread: np.ndarray  # (N, K): each point's standard deviation per axis, in pixels of the crop
    names: Names  # of the key points, (K,)
    mean_face: np.ndarray | None  # as in `Landmarker`

    def __len__(self) -> int:
        return len(self.points)

    @cached_property
    def affines(self) -> np.ndarray:
        """Of each face's 96x96 crop, as trained: (N, 2, 3), from its pixels to the photo's."""
        return affines_from_points(self.points, self.mean_face)

    @cached_property
    def boxes(self) -> np.ndarray:
        """The upright square of each face's crop: (N, 4), x y w h in pixels of the photo, counted
        from the outer edge."""
        return boxes_from_affines(self.affines)

    @property
    def spread_in_photo(self) -> np.ndarray:
        """The points' spread in pixels of the photo, (N, K)."""
        return self.spread * affine_scales(self.affines)[:, None]

    @cached_property
    def head_poses(self) -> HeadPoses | None:
        """How the heads are turned, in degrees, and where they are; None for key points of which
        too few have a known place on the mean head."""
        found = np.isfinite(self.spread).all(0)
        head = mean_head(self.names, self.mean_face, tuple(found.tolist()))
        if head is None:
            return None
        return estimate_poses(self.points, self.spread, self.affines, head)

    def aligned_affines(self, size: int = TEMPLATE_SIZE) -> np.ndarray:
        """Affines (N, 2, 3) of crops as face recognition expects them: `size` pixels a side, eyes,
        nose and mouth at ArcFace's template. Raises InputError if one of these is no key point."""
        found = np.isfinite(self.points).all((0, 2))
        check_names(tuple(name for name, here in zip(self.names, found, strict=True) if here))
        return aligned_affines(self.points, self.names, size, self.mean_face)

    def aligned_crops(
        self, photo: Image.Image | np.ndarray, size: int = TEMPLATE_SIZE
    ) -> np.ndarray:
        """Those crops of the photo, uint8 (N, size, size, 3) RGB; black outside the photo."""
        colours = to_rgb(photo)
        crops = [cut_aligned(colours, affine, size) for affine in self.aligned_affines(size)]
        return np.array(crops, np.uint8).reshape(-1, size, size, 3)


def detect(
    landmarker: Landmarker,
    photo: Image.Image | np.ndarray,
    mirror: bool = True,
    known: np.ndarray = NO_AFFINES,
    settings: SearchSettings | None = None,
    finder: Weights | None = None,
    checker: Weights | None = None,
) -> Detections:
    """Find the faces in a photo, at any angle, and their key points.

    Args:
        landmarker: as from `load_landmarker`.
        photo: a PIL image (as from `read_photo`), or uint8 (H, W), (H, W, 1) or (H, W, 3) RGB.
        mirror: average the final prediction with that for the mirrored crops, where the model's
            training saw mirrored faces.
        known: affines (M, 2, 3) of faces already known, which are not searched for again.
        settings: thresholds and limits; default: as `settings_of(landmarker.free)`.
        finder, checker: as from `load_finder` and `load_checker`; default: the free ones if
            `landmarker.free`, else the research ones.

    Returns:
        Detections; empty if no face is found.

    Raises:
        ValueError: `photo` is something else, or empty.
        InputError: the model's record has no mean face by which faces can be cropped.
    """
    grey, mean_face = to_grey(photo), landmarker.mean_face
    settings = settings or settings_of(landmarker.free)
    pyramid = search_pyramid(grey, settings)
    finder = finder or load_finder(landmarker.free)
    checker = checker or load_checker(landmarker.free)
    candidates = find_candidates(finder, pyramid, settings)
    new = far_from(known, candidates.centers, candidates.sides, settings.same_face)
    candidates = candidates.take(new & (candidates.scores > settings.min_score))
    candidates = add_rotations(finder, pyramid, candidates, settings)
    candidates = candidates.take(check_candidates(checker, pyramid, candidates, settings))
    affines, spread = first_predictions(landmarker, pyramid, candidates, settings)
    limits: np.ndarray = np.full(len(affines), settings.reject_spread)
    affines = affines[suppress(affines, spread, limits, settings.same_face)]
    points, spread = predict_crops(landmarker, grey, affines, mirror)
    affines = affines_from_points(points, mean_face)
    limits = np.array([settings.spread_limit(side) for side in SIZE * affine_scales(affines)])
    kept = suppress(affines, face_spread(spread, landmarker.names), limits, settings.same_face)
    kept = sorted(kept, key=lambda i: boxes_from_affines(affines[[i]])[0, 0])
    return Detections(points[kept], spread[kept], landmarker.names, mean_face)


def detect_in_boxes(
    landmarker: Landmarker,
    photo: Image.Image | np.ndarray,
    boxes: np.ndarray | Sequence[Sequence[float]],
    mirror: bool = True,
) -> Detections:
    """The key points of faces in given boxes, one in each, without a search or a decision.

    The network predicts in the box, is given a second crop aligned by the points found, and
    predicts once more. Measured on wild faces, that gains next to nothing where heads are upright;
    heads tilted by 25 degrees come out as accurately as upright ones (mean error 4.47 % of 40 px
    instead of 4.58). A third crop gains nothing.

    Args:
        landmarker, photo, mirror: as in `detect`.
        boxes: (N, 4), x y w h in pixels of the photo, from the forehead to the chin.

    Raises as `detect`.
    """
    grey = to_grey(photo)
    once, _ = predict_crops(landmarker, grey, affines_from_boxes(np.asarray(boxes)), mirror)
    affines = affines_from_points(once, landmarker.mean_face)
    points, spread = predict_crops(landmarker, grey, affines, mirror)
    return Detections(points, spread, landmarker.names, landmarker.mean_face)


# --- photos --------------------------------------------------------------------------------------


def to_pil(photo: Image.Image | np.ndarray) -> Image.Image:
    """A photo, as `detect` takes it, as a PIL image of 8 bits. Raises ValueError."""
    from PIL import Image

    if isinstance(photo, np.ndarray) and photo.dtype == np.uint8:
        planes = photo[..., 0] if photo.ndim == 3 and photo.shape[2] == 1 else photo
        if planes.ndim == 2 or (planes.ndim == 3 and planes.shape[2] == 3):
            if not planes.size:
                raise ValueError(f"the photo has no pixels: its shape is {photo.shape}")
            return Image.fromarray(planes)
    if isinstance(photo, Image.Image):
        if not min(photo.size):
            raise ValueError(f"the photo has no pixels: its size is {photo.size}")
        return in_eight_bits(photo)
    kind = f"{photo.dtype} {photo.shape}" if isinstance(photo, np.ndarray) else type(photo).__name__
    raise ValueError(
        f"a photo must be a PIL image or uint8 (H, W), (H, W, 1) or (H, W, 3), not {kind}"
    )


def to_grey(photo: Image.Image | np.ndarray) -> np.ndarray:
    """A photo's grey values, uint8 (H, W). Raises ValueError."""
    picture = to_pil(photo)
    return np.asarray(picture if picture.mode == "L" else picture.convert("RGB").convert("L"))


def to_rgb(photo: Image.Image | np.ndarray) -> np.ndarray:
    """A photo's colours in sRGB, uint8 (H, W, 3). Raises ValueError."""
    return np.asarray(to_srgb(to_pil(photo)).convert("RGB"))


def search_pyramid(grey: np.ndarray, settings: SearchSettings = DEFAULTS) -> list[Level]:
    """The image pyramid, of grey values (H, W) uint8, that the finder scans.

    From one level to the next is a factor of √2; the finder knows faces of 0.8 to 1.25 of its
    window.
    """
    return build_pyramid(grey, settings.width, settings.max_pixels, WINDOW / FACTOR)


def finder_inputs(
    pyramid: list[Level], border: int = DEFAULTS.border
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The levels that the finder scans, padded by `border` pixels, their contrast normalized.

    Yields float32 (h, w) and the level's scale, (2,).
    """
    for grey, scale, only_for_crops in pyramid:
        if only_for_crops:
            continue
        rest = [-side % 4 for side in grey.shape]  # blocks of 4x4 pixels are normalized
        yield (
            normalize_contrast(np.pad(grey, [(border, border + more) for more in rest], "edge")),
            scale,
        )


# --- candidates ----------------------------------------------------------------------------------


class Candidates(NamedTuple):
    """Where faces may be in a photo."""

    centers: np.ndarray  # float (N, 2): of the crop as trained, x y in photo pixels
    sides: np.ndarray  # float (N,): of that crop, in photo pixels
    angles: np.ndarray  # float (N,): of the face, clockwise, in radians
    scores: np.ndarray  # float (N,): the sum of its windows' probabilities of a face

    def take(self, which: np.ndarray | slice) -> Candidates:
        """Some of the candidates, by indices, a slice or a mask."""
        return Candidates(*(values[which] for values in self))


def find_candidates(
    finder: Weights, pyramid: list[Level], settings: SearchSettings = DEFAULTS
) -> Candidates:
    """Scan a photo for faces at any angle, from 20 pixels on; the highest score first."""
    rows = []
    for picture, scale in finder_inputs(pyramid, settings.border):
        positions, values = scan(finder, picture, settings.early_logit)
        faces = values[:, 1] > settings.window_logit
        positions, values = positions[faces], values[faces]
        centers = positions + (WINDOW - 1) / 2 - settings.border + WINDOW * values[:, 4:6]
        centers = (centers + 0.5) * scale - 0.5
        log_sides = np.log(WINDOW * scale.mean()) + values[:, 6]
        probability = 1 / (1 + np.exp(-values[:, 1]))
        rows.append(np.column_stack([centers, log_sides, values[:, 2:4], probability]))
    return _merge(np.concatenate(rows), settings)


def _merge(rows: np.ndarray, settings: SearchSettings) -> Candidates:
    """Candidates from windows (M, 6): center x y, log side, cosine and sine of the angle,
    probability.

    Non-maximum suppression that averages: the most probable window takes those near it in position
    and size, and their weighted mean is one candidate.
    """
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    x, log_side, probability = (np.ascontiguousarray(rows[:, i]) for i in (0, 2, 5))
    remaining = np.ones(len(rows), bool)
    found = []
    for first in np.argsort(-probability, kind="stable"):
        if not remaining[first]:
            continue
        # Only these can be near: large photos have tens of thousands.
        reach = settings.merge_distance * np.exp(log_side[first] + settings.merge_log_size)
        some = slice(*np.searchsorted(x, [x[first] - reach, x[first] + reach]))
        distance = np.abs(rows[some, :2] - rows[first, :2]).max(1)
        distance /= np.exp(np.maximum(log_side[some], log_side[first]))
        same = remaining[some] & (distance < settings.merge_distance)
        same &= np.abs(log_side[some] - log_side[first]) < settings.merge_log_size
        taken = np.flatnonzero(same) + some.start
        weight = rows[taken, 5:]
        found.append([*(rows[taken, :5] * weight).sum(0) / weight.sum(), weight.sum()])
        remaining[taken] = False
    x, y, log_side, cos, sin, score = np.reshape(found, (-1, 6)).T
    order = np.argsort(-score)
    centers, angles = np.stack([x, y], -1), np.arctan2(sin, cos)
    return Candidates(*(v[order] for v in (centers, np.exp(log_side), angles, score)))


def add_rotations(
    finder: Weights,
    pyramid: list[Level],
    candidates: Candidates,
    settings: SearchSettings = DEFAULTS,
) -> Candidates:
    """The candidates, and some of them once more at another angle.

    The finder scores each candidate again, rotated upright by its angle and by a quarter, a half
    and three quarters more. One that looks clearly more upright in another of these is added.
    """
    centers, sides, angles, scores = candidates
    if not len(centers):
        return candidates
    upright = normalize_contrast(cut_upright(pyramid, candidates, WINDOW))  # same in each quarter
    size = upright.shape[1]
    windows = upright[:, CONTEXT:-CONTEXT, CONTEXT:-CONTEXT]
    values = np.stack([score_windows(finder, np.rot90(windows, i, (1, 2))) for i in range(4)])
    best = values[..., 2].argmax(0)
    every = np.arange(len(centers))
    more_upright = values[best, every, 2] > values[0, every, 2] + settings.rotation_margin
    other = np.flatnonzero(more_upright)
    _, _, cos, sin, x, y, log_growth = values[best[other], other].T
    rotated = angles[other] + best[other] * np.pi / 2
    in_crop = WINDOW * np.stack([x, y], -1)[:, None] + (size - 1) / 2
    affines = similarity_transforms(sides[other] / WINDOW, rotated, (size - 1) / 2, centers[other])
    added = (
        transform_points(in_crop, affines)[:, 0],
        sides[other] * np.exp(log_growth),
        rotated + np.arctan2(sin, cos),
        scores[other],
    )
    return Candidates(*(np.concatenate(pair) for pair in zip(candidates, added, strict=True)))


def check_candidates(
    checker: Weights,
    pyramid: list[Level],
    candidates: Candidates,
    settings: SearchSettings = DEFAULTS,
) -> np.ndarray:
    """Indices of the candidates that the checker accepts, most likely first, `max_candidates` at
    most. The higher the finder's score, the lower the logit that suffices."""
    logits = check(checker, cut_upright(pyramid, candidates, CHECKED)) + np.log(candidates.scores)
    accepted = (logits > settings.min_check).sum()
    return np.argsort(-logits, kind="stable")[:accepted][: settings.max_candidates]


def cut_upright(pyramid: list[Level], candidates: Candidates, side: int) -> np.ndarray:
    """The candidates rotated upright, `side` pixels large, with `CONTEXT` pixels around: float32
    (N, P, P), P = side + 2 * CONTEXT."""
    centers, sides, angles, _ = candidates
    size = side + 2 * CONTEXT
    affines = similarity_transforms(sides / side, angles, (size - 1) / 2, centers)
    return cut_crops(pyramid, affines, size)


# --- key points ----------------------------------------------------------------------------------


def first_predictions(
    landmarker: Landmarker,
    pyramid: list[Level],
    candidates: Candidates,
    settings: SearchSettings = DEFAULTS,
) -> tuple[np.ndarray, np.ndarray]:
    """Affines (N, 2, 3) of crops around the points predicted at candidates, and each face's spread
    (N,).

    Without mirroring: this only rejects. Candidates are taken in batches, in their order; those
    near a clear face that was found before are left out, and the search stops when a batch
    contains no face.
    """
    affines, spread, remaining = [NO_AFFINES], [np.empty(0)], candidates
    while len(remaining.centers):
        batch = remaining.take(np.s_[: settings.batch])
        found, found_spread = predict_candidates(landmarker, pyramid, batch, settings)
        affines.append(found)
        spread.append(found_spread)
        if not (found_spread < settings.reject_spread).any():
            break
        remaining = remaining.take(np.s_[settings.batch :])
        clear = found[found_spread < settings.clear_spread]
        far = far_from(clear, remaining.centers, remaining.sides, settings.same_face)
        remaining = remaining.take(far)
    return np.concatenate(affines), np.concatenate(spread)


def predict_candidates(
    landmarker: Landmarker, pyramid: list[Level], candidates: Candidates, settings: SearchSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Affines (N, 2, 3) and spreads (N,), as from `first_predictions`, of one batch.

    Where a crop shows something, but not clearly, a larger one is tried; where neither is clear,
    one aligned by the points found in the clearer of them.
    """
    centers, sides, angles, _ = candidates
    aligned = partial(predict_aligned, landmarker, pyramid)
    affines, spread = aligned(candidate_affines(centers, sides, angles))
    results = [(affines, spread)]
    unclear = np.flatnonzero(is_unclear(spread, settings))
    if len(unclear):
        larger = candidate_affines(
            centers[unclear], settings.enlarge * sides[unclear], angles[unclear]
        )
        more, more_spread = aligned(larger)
        results.append((more, more_spread))
        better = more_spread < spread[unclear]
        affines = np.where(better[:, None, None], more, affines[unclear])
        spread = np.where(better, more_spread, spread[unclear])
        still = is_unclear(spread, settings)
        if still.any():
            results.append(aligned(affines[still]))
    return np.concatenate([a for a, _ in results]), np.concatenate([s for _, s in results])


def candidate_affines(centers: np.ndarray, sides: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Affines (N, 2, 3) of upright crops of candidates."""
    return similarity_transforms(sides / SIZE, angles, (SIZE - 1) / 2, centers)


def is_unclear(spread: np.ndarray, settings: SearchSettings) -> np.ndarray:
    """Where a crop shows something, but not clearly a face: bool, as `spread`."""
    return (spread > settings.clear_spread) & (spread < settings.empty_spread)


def predict_aligned(
    landmarker: Landmarker, pyramid: list[Level], affines: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Predict in crops: the affines (N, 2, 3) of those aligned by the points found, and the spread
    (N,) of each face."""
    points, spread = landmarker.predict(cut_crops(pyramid, affines, SIZE), mirror=False)
    points = transform_points(points, affines)
    affines = affines_from_points(points, landmarker.mean_face)
    return affines, face_spread(spread, landmarker.names)


def suppress(
    affines: np.ndarray, spread: np.ndarray, limits: np.ndarray, same_face: float
) -> list[int]:
    """Non-maximum suppression: indices of the faces, by their crops' affines (N, 2, 3), to keep.

    Those whose spread (N,) is below their limit (N,) are taken in order of spread, each unless it
    lies within `same_face` of one taken before.
    """
    centers, sides = affine_centers(affines), SIZE * affine_scales(affines)
    kept: list[int] = []
    for i in np.argsort(spread):
        if spread[i] < limits[i]:
            apart = far_from(affines[kept], centers[[i]], sides[[i]], same_face)
            kept += [i] if apart[0] else []
    return kept


def far_from(
    affines: np.ndarray, centers: np.ndarray, sides: np.ndarray, same_face: float
) -> np.ndarray:
    """Which squares, by their centers (N, 2) and sides (N,), show none of the faces of the crops
    with the affines (M, 2, 3): bool (N,)."""
    distance = np.abs(centers[:, None] - affine_centers(affines)).max(-1)
    mean_side = (sides[:, None] + SIZE * affine_scales(affines)) / 2
    return (distance > same_face * mean_side).all(1)


def predict_crops(
    landmarker: Landmarker, grey: np.ndarray, affines: np.ndarray, mirror: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Predict in the crops with the affines (N, 2, 3) of a photo's grey values (H, W) uint8.

    Returns the points (N, K, 2) in photo pixels, and their spread (N, K) in pixels of the crop.
    """
    if not len(affines):
        count = len(landmarker.names)
        return np.empty((0, count, 2)), np.empty((0, count))
    crops = np.array([cut_crop(grey, affine) for affine in affines])
    points, spread = landmarker.predict(crops, mirror)
    return transform_points(points, affines), spread
