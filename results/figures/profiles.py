"""Which points a head that is turned away hides: they are drawn hollow, or not at all."""

from __future__ import annotations

import numpy as np

from data.key_points import Names, eye_centres, side_of
from results.figures.colours import part_of

# How far the nose tip is from the middle between the eyes, along the line through them, in halves
# of their distance: 0 from the front. Measured on 2,200 faces of AFLW, where annotators left out
# what they could not see: from 1 on, 84 % of the outer brow ends and 51 % of the outer eye corners
# on the far side are hidden (on the near side 11 and 4 %), but no mouth corner. In the 41 photos
# three-quarter views reach 1.1, profiles 1.7 to 2.7, and in these the whole far half lies beyond
# the head's outline, and the middle of the lips close to it.
THREE_QUARTER, PROFILE = 1.0, 1.4


def hidden_points(points: np.ndarray, names: Names) -> tuple[np.ndarray, np.ndarray]:
    """Which of the faces' points (N, K, 2) may be hidden, and which are, two bool (N, K).

    None are where the names (K,) lack two eyes, a nose tip and sides.
    """
    doubtful = hidden = np.zeros(points.shape[:2], bool)
    nose, eyes = nose_tip(names), eyes_of(names)
    if nose is None or eyes is None:
        return doubtful, hidden
    left, right = (points[:, side].mean(1) for side in eyes)
    across = left - right
    middle = (left + right) / 2
    along = ((points - middle[:, None]) * across[:, None]).sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        along /= (across**2).sum(-1)[:, None] / 2  # in halves of the eyes' distance
    turn = along[:, nose]
    towards = np.array([{"left": 1, "right": -1}.get(side_of(name) or "", 0) for name in names])
    far = towards == np.sign(turn)[:, None]
    profile = (np.abs(turn) >= PROFILE)[:, None]
    hidden = far & profile
    upper = np.array([part_of(name) in ("eye", "eyebrow") for name in names])
    outer = along * np.sign(turn)[:, None] > 1  # farther out than the eye's center
    doubtful = far & upper & outer & (np.abs(turn) >= THREE_QUARTER)[:, None]
    middle_line = (towards == 0) & (np.arange(len(names)) != nose)
    return (doubtful & ~hidden) | (middle_line & profile), hidden


def nose_tip(names: Names) -> int | None:
    """The index of the nose tip: of the only point of the nose, or of the one called a tip."""
    nose = [k for k, name in enumerate(names) if part_of(name) == "nose"]
    tips = [k for k in nose if "tip" in names[k].lower()] or nose
    return tips[0] if len(tips) == 1 else None


def eyes_of(names: Names) -> tuple[list[int], list[int]] | None:
    """The indices of the left and the right eye's center, or else of all points of these eyes."""
    if centers := eye_centres(names):
        return [centers[0]], [centers[1]]
    eyes: dict[str | None, list[int]] = {"left": [], "right": []}
    for k, name in enumerate(names):
        if part_of(name) == "eye":
            eyes.setdefault(side_of(name), []).append(k)
    return (eyes["left"], eyes["right"]) if eyes["left"] and eyes["right"] else None
