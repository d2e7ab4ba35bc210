"""An image pyramid of a photo, and crops cut from it by the hundred."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from data.images.crops import affine_scales

FACTOR = 2**0.5  # from one level's size to the next smaller one's
PIXELS_PER_BATCH = 65536  # of crops that are sampled together: they fit the cache


class Level(NamedTuple):
    """A photo, or a smaller copy of it."""

    grey: np.ndarray  # uint8 (h, w)
    scale: np.ndarray  # (2,): how many photo pixels one of its pixels covers, along x and y
    only_for_crops: bool  # larger than asked for: crops are cut from it, nothing else


def build_pyramid(grey: np.ndarray, width: int, max_pixels: float, min_side: float) -> list[Level]:
    """Smaller and smaller copies of grey values (H, W) uint8, by area averaging, largest first.

    The first level is `width` pixels wide, or smaller where the photo is or where it would have
    more than `max_pixels`. Each further one is smaller by `FACTOR`, as long as one of its sides
    has `min_side` pixels. Where the photo is larger than the first level, the photo itself comes
    before that, then a half of it, a quarter and so on: `only_for_crops`.
    """
    from PIL import Image

    height, across = grey.shape
    first = min(1.0, width / across, (max_pixels / grey.size) ** 0.5)
    halves = [0.5**i for i in range(16) if 0.5**i > first]
    levels: list[Level] = []
    photo = Image.fromarray(grey)
    for zoom in halves + [first / FACTOR**i for i in range(64)]:
        size = [max(1, round(side * zoom)) for side in (across, height)]
        if levels and max(size) < min_side:
            break
        if list(photo.size) != size:
            # From the level before: halving is faster.
            photo = photo.resize(size, Image.Resampling.BOX, reducing_gap=1.0)
        scale = np.array([across, height]) / size
        levels.append(Level(np.asarray(photo), scale, zoom > first))
    return levels


def cut_crops(pyramid: list[Level], affines: np.ndarray, size: int) -> np.ndarray:
    """Crops of a photo, float32 (N, size, size), by the affines (N, 2, 3) from them to the photo.

    Each is sampled from the level whose pixels are just smaller than its own, or from the largest.
    Beyond the photo its border pixels are repeated.
    """
    crops = np.empty((len(affines), size, size), np.float32)
    scales = np.array([level.scale.mean() for level in pyramid])
    best = np.maximum(np.searchsorted(scales, affine_scales(affines) * (1 + 1e-6)) - 1, 0)
    count = max(1, PIXELS_PER_BATCH // size**2)
    for i in np.unique(best):
        grey, scale, _ = pyramid[i]
        here = np.flatnonzero(best == i)
        to_level = affines[here] / scale[:, None]
        to_level[:, :, 2] += 0.5 / scale - 0.5
        for first in range(0, len(here), count):
            part = np.s_[first : first + count]
            crops[here[part]] = _sample(grey, to_level[part], size)
    return crops


def _sample(grey: np.ndarray, affines: np.ndarray, size: int) -> np.ndarray:
    """Bilinear samples (N, size, size) of a picture (h, w), by the affines (N, 2, 3) to it."""
    if min(grey.shape) < 2:
        grey = np.pad(grey, [(0, int(side < 2)) for side in grey.shape], "edge")
    height, width = grey.shape
    across = np.arange(size, dtype=np.float32)
    affines = affines.astype(np.float32)[..., None, None]
    x = affines[:, 0, 0] * across + affines[:, 0, 1] * across[:, None] + affines[:, 0, 2]
    y = affines[:, 1, 0] * across + affines[:, 1, 1] * across[:, None] + affines[:, 1, 2]
    np.clip(x, 0, width - 1, out=x)
    np.clip(y, 0, height - 1, out=y)
    left, top = np.minimum(x.astype(np.intp), width - 2), np.minimum(y.astype(np.intp), height - 2)
    x -= left
    y -= top
    first = top * width + left
    flat = grey.ravel()
    upper, right, lower, last = (
        flat.take(first + more).astype(np.float32) for more in (0, 1, width, width + 1)
    )
    upper += x * (right - upper)
    lower += x * (last - lower)
    return upper + y * (lower - upper)
