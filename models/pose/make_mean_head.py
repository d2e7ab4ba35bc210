"""Write mean_head.npz: the mean head of many rendered people, and how heads differ from it.

python -m models.pose.make_mean_head

Each person is as in `data.synthetic.rendered`: of any age, sex and ancestry, with any expression.
The heads are MakeHuman's (CC0, see data/synthetic/rendered/LICENSE.heads.md).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from data.key_points import JAW, KEY_POINTS, SIXTY_EIGHT, Names, mirror_partners
from data.synthetic.rendered.points import Places, draw_head, find_points
from data.system.files import replace_file
from data.system.progress import follow
from models.pose.mean_head import MEAN_HEAD

HEADS, SEED = 6000, 77
MODES = 24  # what they leave is below 0.05 cm a point, less than brows of one head differ

# Where the jaw's 17 points are labelled depends on the turn (300-W marks the outline), and on the
# mouth: they say little about the head.
NAMES: Names = (*KEY_POINTS, *(n for n in SIXTY_EIGHT if n not in (*KEY_POINTS, *JAW)))


def draw_heads(count: int, seed: int) -> np.ndarray:
    """The points `NAMES` of random heads, float64 (count, P, 3), as of `MeanHead.places`."""
    heads = np.empty((count, len(NAMES), 3))
    for i in follow(range(count), "drawing heads"):
        who, does = np.random.default_rng((seed, i)).spawn(2)
        heads[i] = find_points(Places(NAMES, {}), *draw_head(who, does))
    # A face's place and size in the picture say nothing about its turn: they are fitted freely.
    heads -= heads[:, : len(KEY_POINTS)].mean(1, keepdims=True)
    sizes = np.sqrt((heads[:, : len(KEY_POINTS)] ** 2).sum(2).mean(1))
    return heads / (sizes / sizes.mean())[:, None, None]


def summarize(heads: np.ndarray, modes: int) -> dict[str, Any]:
    """Mean, principal components and residual variance of heads (N, P, 3) and their mirror
    images: the arrays of mean_head.npz."""
    heads = np.concatenate([heads, heads[:, mirror_partners(NAMES)] * [-1, 1, 1]])
    mean = heads.mean(0)
    differences = (heads - mean).reshape(len(heads), -1)
    variances, components = np.linalg.eigh(differences.T @ differences / len(heads))
    scaled = (components * np.sqrt(np.maximum(variances, 0)))[:, ::-1][:, :modes]
    left = (differences**2).mean(0) - (scaled**2).sum(1)
    return {
        "names": np.array(NAMES),
        "places": mean.astype(np.float32),
        "modes": scaled.T.reshape(modes, -1, 3).astype(np.float32),
        "rest": left.reshape(-1, 3).mean(1).astype(np.float32),
    }


def main() -> None:
    """Write the file."""
    arrays = summarize(draw_heads(HEADS, SEED), MODES)
    replace_file(MEAN_HEAD, lambda path: np.savez_compressed(path, **arrays))
    print(f"wrote {MEAN_HEAD}: {len(NAMES)} points of {HEADS} heads")


if __name__ == "__main__":
    main()
