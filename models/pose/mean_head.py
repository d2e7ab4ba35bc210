"""Where key points lie on the mean head in 3-D, and how much heads differ from it.

Head frame: centimetres of the mean head, x to the subject's left, y up, z out of the face, as in
MediaPipe's canonical face model; zero is the mean of Kaggle's 15 points.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from data.images.crops import left_is_viewers
from data.key_points import Names, mirror_partners
from data.system.files import HERE

MEAN_HEAD = HERE / "models" / "pose" / "mean_head.npz"  # written by make_mean_head.py

FEWEST = 5  # points that a pose is estimated from
# Centimetres (root mean square) by which these must deviate from their best-fitting plane: with
# coplanar points, a turn to the left looks like one to the right.
LEAST_DEPTH = 0.4


class MeanHead(NamedTuple):
    """The part of the mean head that some key points show: P places of K key points."""

    which: np.ndarray  # (P,) int: of the key points
    places: np.ndarray  # (P, 3): on the mean head
    modes: np.ndarray  # (M, P, 3): principal components of how heads differ, a standard deviation
    rest: np.ndarray  # (P,): the variance per axis that these leave
    inverse: np.ndarray  # (P, 3): the pseudo-inverse of the places around their mean, transposed


@lru_cache(maxsize=1)
def _load() -> dict[str, np.ndarray]:
    """The arrays of mean_head.npz."""
    with np.load(MEAN_HEAD) as file:
        arrays = {name: file[name] for name in file.files}
    return {k: v.astype(float) if v.dtype == np.float32 else v for k, v in arrays.items()}


def mean_head(
    names: Names, mean_face: np.ndarray | None = None, found: tuple[bool, ...] | None = None
) -> MeanHead | None:
    """The mean head for key points with these names, (K,); None where too few of them are known.

    Known are Kaggle's 15, and of the 68 of 300-W all but the jaw's.

    Args:
        names: of the key points, (K,).
        mean_face: as from `mean_face_of`: where it shows that left is the viewer's, sides swap.
        found: which of them the model finds, (K,), all if None.
    """
    return _known(names, left_is_viewers(names, mean_face), found or (True,) * len(names))


@lru_cache(maxsize=16)  # asked for every frame of a video
def _known(names: Names, viewers: bool, found: tuple[bool, ...]) -> MeanHead | None:
    """As `mean_head`; `viewers`: left in the names is the viewer's."""
    arrays = _load()
    rows = {name: i for i, name in enumerate(arrays["names"].tolist())}
    partners = mirror_partners(names) if viewers else None
    meant = names if partners is None else tuple(names[k] for k in partners)
    index = np.array([i for i, name in enumerate(meant) if name in rows and found[i]], int)
    if len(index) < FEWEST:
        return None
    some = [rows[meant[i]] for i in index]
    places = arrays["places"][some]
    around = places - places.mean(0)
    depth = np.linalg.svd(around, compute_uv=False)[2] / np.sqrt(len(some))
    if depth < LEAST_DEPTH:
        return None
    inverse = np.linalg.pinv(around).T
    return MeanHead(index, places, arrays["modes"][:, some], arrays["rest"][some], inverse)
