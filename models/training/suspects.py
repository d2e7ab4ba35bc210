"""Labels that may be wrong: each face is judged by a network that did not train on it.

A label is a suspect if its error is too large for the predicted spread. Annotators differ, so what
is usual for a convention, its median offset and its scatter, is taken out of the errors first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from data.faces import Faces, fingerprint
from data.key_points import Names
from data.labels.kaggle import drop_inconsistent, first_rows
from data.settings import Settings
from data.split import make_folds
from models.network import predict
from models.spread import face_spread, region_radius
from models.storage import Landmarker
from models.training.fit import train

if TYPE_CHECKING:
    import keras

FOLDS = 2  # two take as long as one training on all faces; more folds would see more faces each

# The limits were chosen on synthetic faces with spoilt labels (tests/benchmarks/suspects.py).
LIMIT = 5.0  # spreads: a label that is further off is a suspect, and a row shifted by more
SMALLEST = 2.5  # pixels: smaller errors are never suspects
LEAST = 0.1  # pixels: no label is more exact than that
ENOUGH = 50  # labels of a key point, below which a convention's median says little
SHIFTED = 5  # labels that a row needs for its shift to be judged

MEDIAN = region_radius(0.5)  # of the distance, in standard deviations per axis


# --- predict -------------------------------------------------------------------------------------


def predict_unseen(
    faces: Faces,
    settings: Settings,
    precision: str = "float32",
    initial: keras.Model | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Predict each face by a network that was trained on the other folds.

    Args:
        faces: with key points, perhaps of several files.
        settings, precision, initial: of the trainings, as for `train`.

    Returns key points (N, K, 2) and spread (N, K) in pixels. Raises InputError as `make_folds`.
    """
    fold = make_folds(faces, FOLDS, settings.seed)
    predicted = np.empty(faces.key_points.shape, np.float32)
    spread = np.empty(faces.key_points.shape[:2], np.float32)
    for number in range(FOLDS):
        own, others = faces.take(fold == number), faces.take(fold != number)
        print(
            f"Part {number + 1} of {FOLDS}: training on {len(others.rows)} faces, to judge the"
            f" labels of the other {len(own.rows)}.",
            flush=True,
        )
        outcome = train(others, own, settings, precision, initial=initial)
        assert outcome is not None  # which only the further workers return
        predicted[fold == number], spread[fold == number] = predict(
            outcome.model, own.pictures, settings.flip > 0, names=faces.names
        )
    return predicted, spread


def warn_of_seen_files(initial: Landmarker, files: list[Faces]) -> None:
    """Print a warning for each file that the model to start from was trained on."""
    seen = {data["sha256"] for data in initial.record.get("data", [])}
    for faces in files:
        versions = [faces, drop_inconsistent(faces)] if first_rows(faces) else [faces]
        if seen & {fingerprint(version) for version in versions}:
            print(
                f"warning: {initial.path} was trained on {faces.path}: it may have learned wrong"
                " labels by heart, and miss them; leave out --init to judge without it.",
                flush=True,
            )


# --- judge ---------------------------------------------------------------------------------------


class Judged(NamedTuple):
    """What the networks say of N faces with K key points, in pixels."""

    predicted: np.ndarray  # (N, K, 2): where the face's annotator would put each point
    spread: np.ndarray  # (N, K): σ per axis, scaled to the scatter of the annotator's labels
    errors: np.ndarray  # (N, K): distance of the labels; NaN where not labelled
    shift: np.ndarray  # (N, 2): by how much a row's labels are off on average; 0: not shifted
    suspect: np.ndarray  # bool (N, K)

    @property
    def in_spreads(self) -> np.ndarray:
        """The errors in spreads, (N, K)."""
        return self.errors / self.spread


def find_conventions(faces: Faces, files: list[Faces]) -> np.ndarray:
    """A number for whose convention each face's labels follow, int (N,): equal where it is the
    same file, source and, in Kaggle's file, annotator."""
    part = np.zeros(len(faces.rows), int)
    for number, file in enumerate(files):
        own = faces.file == number
        part[own] = np.searchsorted(first_rows(file) or [0], faces.rows[own], side="right")
    both = np.stack([faces.source, part], 1)
    return np.unique(both, axis=0, return_inverse=True)[1].ravel()


def judge_labels(
    labels: np.ndarray, predicted: np.ndarray, spread: np.ndarray, convention: np.ndarray
) -> Judged:
    """Find the labels whose errors are too large.

    Args:
        labels, predicted, spread: (N, K, 2), (N, K, 2), (N, K) pixels; NaN where not labelled.
        convention: of each face, int (N,), as from `find_conventions`.
    """
    off = labels - predicted
    usual = medians(off, convention, 0.0)
    off = off - usual
    errors = np.linalg.norm(off, axis=-1)
    spread = spread * medians(errors / spread, convention, MEDIAN) / MEDIAN
    spread = np.maximum(spread, LEAST)
    shift = find_shifts(off, spread)
    suspect = errors > np.maximum(LIMIT * spread, SMALLEST)
    suspect |= np.isfinite(errors) & shift.any(1, keepdims=True)
    return Judged(predicted + usual, spread, errors, shift, suspect)


def medians(values: np.ndarray, convention: np.ndarray, otherwise: float) -> np.ndarray:
    """For each face its convention's medians of `values` (N, K, ...), NaN masked.

    `otherwise` where a convention has fewer than ENOUGH values of a key point.
    """
    found = np.full(values.shape, otherwise)
    for number in np.unique(convention):
        rows = np.flatnonzero(convention == number)
        for k in range(values.shape[1]):
            own = values[rows, k]
            own = own[np.isfinite(own).reshape(len(rows), -1).all(1)]
            if len(own) >= ENOUGH:
                found[rows, k] = np.median(own, axis=0)
    return found


def find_shifts(off: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """By how much the labels of whole rows are shifted, (N, 2) pixels; 0 where they are not.

    The median over a row's points, where that is too large for the row's spread: all of its labels
    have about the same error, each of which may be small.

    Args:
        off, spread: (N, K, 2) and (N, K) pixels, NaN where not labelled.
    """
    labelled = np.isfinite(off[..., 0])
    rows = np.flatnonzero(labelled.sum(1) >= SHIFTED)
    shift = np.zeros((len(off), 2))
    if not rows.size:
        return shift
    middle = np.nanmedian(off[rows], axis=1)
    size = np.linalg.norm(middle, axis=1)
    relative = size / face_spread(np.where(labelled[rows], spread[rows], np.nan))
    usual = np.median(relative) / MEDIAN
    large = (relative > LIMIT * usual) & (size > SMALLEST)
    shift[rows[large]] = middle[large]
    return shift


# --- explain -------------------------------------------------------------------------------------


def explain(judged: Judged, labels: np.ndarray, names: Names, i: int, k: int) -> str:
    """What may have happened to the label of key point `k` of face `i`, of labels (N, K, 2)."""
    if judged.shift[i].any():
        x, y = judged.shift[i]
        return f"whole row shifted by ({x:.1f}, {y:.1f})"
    near = np.linalg.norm(judged.predicted[i] - labels[i, k], axis=-1)
    j = int(np.nanargmin(near))
    if j == k or near[j] > max(LIMIT * judged.spread[i, j] / 2, SMALLEST):
        return "off"
    back = np.linalg.norm(judged.predicted[i, k] - labels[i, j])
    swapped = back < max(LIMIT * judged.spread[i, k] / 2, SMALLEST)
    return f"swapped with {names[j]}" if swapped else f"where {names[j]} is"
