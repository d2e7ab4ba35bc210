"""Wrong labels: how many of the spoilt ones `model_builder.py --suspects` finds."""

import common
import numpy as np

from data.faces import load_training, synthetic_faces
from data.key_points import KEY_POINTS, PARTNERS
from data.settings import Settings
from models.training.suspects import predict_unseen

# --- spoiling ------------------------------------------------------------------------------------

EYES = tuple(KEY_POINTS.index(n) for n in KEY_POINTS if n.startswith("left_eye_"))
BROWS = tuple(KEY_POINTS.index(n) for n in KEY_POINTS if n.startswith("left_eyebrow_"))
CORNERS = tuple(KEY_POINTS.index(f"left_eye_{end}_corner") for end in ("inner", "outer"))
SHARE = 0.02  # of the labels


def swap(points, some, others):
    """Exchange two lists of points of one face (15, 2)."""
    points[[*some, *others]] = points[[*others, *some]]


def swap_eyes(points, rng):
    """The left eye's points for the right one's."""
    swap(points, EYES, PARTNERS[list(EYES)])


def swap_brows(points, rng):
    """The left brow for the right one."""
    swap(points, BROWS, PARTNERS[list(BROWS)])


def swap_brow_and_eye(points, rng):
    """One side's ends of the brow for the corners of the eye."""
    sides = (BROWS, CORNERS), (PARTNERS[list(BROWS)], PARTNERS[list(CORNERS)])
    swap(points, *sides[rng.integers(2)])


def swap_sides(points, rng):
    """Left for right in all points."""
    points[:] = points[PARTNERS]


def move_by(rng):
    """4 to 15 pixels in any direction, (2,)."""
    angle = rng.uniform(0, 2 * np.pi)
    return rng.uniform(4, 15) * np.array([np.cos(angle), np.sin(angle)])


def move_point(points, rng):
    """One point 4 to 15 px off."""
    points[rng.integers(len(points))] += move_by(rng)


def move_row(points, rng):
    """All points shifted by the same 4 to 15 px."""
    points += move_by(rng)


# Each kind, and its share of the spoilt labels: half are single points, the hardest to find.
KINDS = {
    "one point 4 to 15 px off": (move_point, 0.5),
    "left eye for right eye": (swap_eyes, 0.1),
    "left brow for right brow": (swap_brows, 0.1),
    "brow for eye": (swap_brow_and_eye, 0.1),
    "left for right, all points": (swap_sides, 0.1),
    "whole row shifted": (move_row, 0.1),
}


def spoil(key_points, seed=0):
    """Spoil SHARE of the labels of (N, 15, 2), each row by one kind at most.

    Returns the spoilt key points, and the kind of each label, int (N, 15): -1 is not spoilt.
    """
    rng = np.random.default_rng(seed)
    spoilt, kind = key_points.copy(), np.full(key_points.shape[:2], -1)
    rows = iter(rng.permutation(np.flatnonzero(np.isfinite(key_points).all((1, 2)))))
    for number, (change, share) in enumerate(KINDS.values()):
        target = share * SHARE * np.isfinite(key_points[..., 0]).sum()
        while (kind == number).sum() < target:
            row = next(rows)
            change(spoilt[row], rng)
            kind[row, (spoilt[row] != key_points[row]).any(1)] = number
    return spoilt, kind


def load(name):
    """The faces of a benchmark: drawn ones, or Kaggle's complete rows."""
    return synthetic_faces(2140, seed=20) if name == "synthetic" else load_training(common.KAGGLE)


def judge(name, folder, epochs, spoiling=True):
    """Faces with spoilt labels, the kinds, and the predictions, which are kept in a file."""
    faces = load(name)
    truth = faces.key_points
    spoilt, kind = spoil(truth) if spoiling else (truth, np.full(truth.shape[:2], -1))
    faces = faces._replace(key_points=spoilt)
    path = folder / f"{name}_{'spoilt' if spoiling else 'asis'}_{epochs}.npz"
    if not path.exists():
        settings = Settings(epochs=epochs, batch_size=32)
        predicted, spread = predict_unseen(faces, settings)
        np.savez(path, predicted=predicted, spread=spread)
    kept = np.load(path)
    return faces, truth, kind, kept["predicted"], kept["spread"]
