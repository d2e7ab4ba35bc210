"""Candidates: where faces may be in a photo, by three small networks.

The finder (`models/detect/finder.py`) scans ever smaller copies of the photo, so that its windows
of 24 pixels see faces of all sizes, at any angle. The checker (`models/detect/checker.py`) rejects
most of its candidates. The refiner (`models/detect/refiner.py`) moves the others onto their faces,
and the checker looks again. Their weights are `models/free_finder` and so on: `.keras` and, with
the same weights, `.npz`, which is what runs here.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.images.crops import similarity_transforms, transform_points
from data.images.pyramid import FACTOR, Level, build_pyramid, cut_crops
from data.system.files import HERE
from models.detect.checker import CHECKED, CHECKER_LAYERS, check
from models.detect.finder import FINDER_LAYERS, WINDOW, scan, score_windows
from models.detect.refiner import AROUND, REFINED, REFINER_LAYERS, refine
from models.detect.settings import DEFAULTS, SearchSettings
from models.detect.small_networks import CONTEXT, Weights, load_weights, normalize_contrast


class Networks(NamedTuple):
    """The weights of the three networks that propose candidates."""

    finder: Weights
    checker: Weights
    refiner: Weights


@cache
def load_networks(folder: Path = HERE / "models") -> Networks:
    """Those of a folder, by default the shipped ones; see `load_weights`."""
    layers = FINDER_LAYERS, CHECKER_LAYERS, REFINER_LAYERS
    pairs = zip(Networks._fields, layers, strict=True)
    return Networks(*(load_weights(some, folder / f"free_{name}.npz") for name, some in pairs))


# --- the image pyramid ---------------------------------------------------------------------------


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
    if not len(candidates.centers):
        return candidates
    upright = normalize_contrast(cut_upright(pyramid, candidates, WINDOW))  # same in each quarter
    windows = upright[:, CONTEXT:-CONTEXT, CONTEXT:-CONTEXT]
    values = np.stack([score_windows(finder, np.rot90(windows, i, (1, 2))) for i in range(4)])
    best = values[..., 2].argmax(0)
    every = np.arange(len(best))
    more_upright = values[best, every, 2] > values[0, every, 2] + settings.rotation_margin
    other = np.flatnonzero(more_upright)
    rotated = candidates.take(other)
    rotated = rotated._replace(angles=rotated.angles + best[other] * np.pi / 2)
    return join(candidates, move(rotated, values[best[other], other, 2:]))


def select_candidates(
    networks: Networks,
    pyramid: list[Level],
    candidates: Candidates,
    settings: SearchSettings = DEFAULTS,
) -> Candidates:
    """The candidates that the checker accepts, refined and as they were, likeliest first.

    The checker looks at each twice: before and after it was refined. How sure it is of one that
    lies well says much more.
    """
    logits = check_candidates(networks.checker, pyramid, candidates)
    some = np.argsort(-logits, kind="stable")[: (logits > settings.first_check).sum()]
    some = some[: settings.max_candidates]
    candidates, logits = candidates.take(some), logits[some]
    refined = refine_candidates(networks.refiner, pyramid, candidates, settings)
    surer = check_candidates(networks.checker, pyramid, refined)
    both, logits = join(refined, candidates), np.append(surer, logits - settings.unrefined)
    order = np.argsort(-logits, kind="stable")[: (logits > settings.min_check).sum()]
    return drop_duplicates(both.take(order), settings)


def check_candidates(checker: Weights, pyramid: list[Level], candidates: Candidates) -> np.ndarray:
    """How sure the checker and the finder are of each candidate, (N,): the checker's logit plus the
    logarithm of the finder's score."""
    return check(checker, cut_upright(pyramid, candidates, CHECKED)) + np.log(candidates.scores)


def refine_candidates(
    refiner: Weights,
    pyramid: list[Level],
    candidates: Candidates,
    settings: SearchSettings = DEFAULTS,
) -> Candidates:
    """The candidates moved, scaled and rotated onto their faces, as far as the refiner can tell,
    `refinements` times. Of those that come to the same place the first is kept."""
    for _ in range(settings.refinements):
        around = candidates._replace(sides=AROUND * candidates.sides)
        moved = move(candidates, refine(refiner, cut_upright(pyramid, around, REFINED)))
        candidates = drop_duplicates(moved, settings)
    return candidates


def move(candidates: Candidates, values: np.ndarray) -> Candidates:
    """The candidates where a network saw their faces.

    values (N, 5): cosine and sine of the face's angle, its centre from the candidate's, x y, in
    sides of the candidate, and the logarithm of its side in these; seen in the upright crop.
    """
    centers, sides, angles, scores = candidates
    cos, sin, x, y, log_growth = values.T
    affines = similarity_transforms(sides, angles, 0.0, centers)
    centers = transform_points(np.stack([x, y], -1)[:, None], affines)[:, 0]
    return Candidates(centers, sides * np.exp(log_growth), angles + np.arctan2(sin, cos), scores)


def join(some: Candidates, others: Candidates) -> Candidates:
    """The candidates of both, in this order."""
    return Candidates(*(np.concatenate(pair) for pair in zip(some, others, strict=True)))


def drop_duplicates(candidates: Candidates, settings: SearchSettings = DEFAULTS) -> Candidates:
    """The candidates without those nearly the same as one before them.

    The finder proposes a face several times, and the refiner moves these to the same place.
    """
    centers, sides, angles, _ = candidates
    kept: list[int] = []
    for i in range(len(centers)):
        reach = settings.duplicate * sides[i]
        same = np.abs(centers[kept] - centers[i]).max(1, initial=0) < reach
        same &= np.abs(np.log(sides[kept] / sides[i])) < 1.5 * settings.duplicate
        same &= np.cos(angles[kept] - angles[i]) > settings.duplicate_angle
        kept += [] if same.any() else [i]
    return candidates.take(np.array(kept, int))


def cut_upright(pyramid: list[Level], candidates: Candidates, side: int) -> np.ndarray:
    """The candidates rotated upright, `side` pixels large, with `CONTEXT` pixels around: float32
    (N, P, P), P = side + 2 * CONTEXT."""
    centers, sides, angles, _ = candidates
    size = side + 2 * CONTEXT
    affines = similarity_transforms(sides / side, angles, (size - 1) / 2, centers)
    return cut_crops(pyramid, affines, size)
